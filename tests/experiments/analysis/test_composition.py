"""What a whole is made of: parts, what they leave, shares, and what is refused; the figure and the table of it."""

import numpy as np
import pandas as pd
import pytest

from experiments import drawing as d
from experiments.analysis.blocks import Measure
from experiments.analysis.composition import composed
from experiments.figures import LAYERS
from experiments.report import shown_table
from experiments.report_figures import _part_looks, composition
from experiments.study import Study
from tests.experiments.analysis.tabled import broken, summary

WHOLE, FUND, WINNERS = Measure("deficits", "USD"), Measure("by_fund", "USD"), Measure("by_winners", "USD")
BOOK = pd.DataFrame({"book": ["thin", "deep"]})


def swept(winners=lambda _p, _a, r: 6e6 + r * 2e6):
    """Two replications: the fund bears 4m, winners 6m and 8m, of 12m and 14m in the arm `short` and of all that they bear in `whole`."""
    return summary(
        BOOK,
        2,
        ("whole", "short"),
        by_fund=lambda *_: 4e6,
        by_winners=winners,
        deficits=lambda _p, a, r: 10e6 + r * 2e6 + 2e6 * (a == "short"),
    )


def made(table, parts=(FUND, WINNERS)):
    return composed(table, WHOLE, parts, ["book"], 0)


def test_parts_and_what_they_leave_add_up_to_the_whole():
    rows = made(swept()).set_index("output").groupby(["point", "arm"])
    assert rows.get_group((0, "whole"))["mean"].to_dict() == {"by_fund": 4e6, "by_winners": 7e6, "rest": 0.0, "deficits": 11e6}
    assert rows.get_group((1, "short"))["mean"].to_dict() == {"by_fund": 4e6, "by_winners": 7e6, "rest": 2e6, "deficits": 13e6}
    assert rows.get_group((1, "short"))["share"].tolist() == [4 / 13, 7 / 13, 2 / 13, 1.0]


def test_nothing_is_left_where_parts_make_up_the_whole_but_for_rounding():
    table = swept()
    table["deficits"] = (table["by_fund"] + table["by_winners"]) * (1.0 + 1e-12)
    assert made(table)["output"].drop_duplicates().tolist() == ["by_fund", "by_winners", "deficits"]


def test_a_point_with_a_run_that_failed_tells_of_no_part():
    rows = made(broken(swept(), "0-short-1", "by_winners")).set_index(["point", "arm"])
    assert rows.loc[(0, "short")]["mean"].isna().all()
    assert rows.loc[(0, "short")]["n"].tolist() == [1, 1, 1, 1]
    assert rows.loc[(1, "short")]["mean"].notna().all()


def test_a_whole_of_zero_has_no_shares():
    table = swept().assign(by_fund=0.0, by_winners=0.0, deficits=0.0)
    assert made(table)["share"].isna().all()


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ((FUND, Measure("by_winners", "h")), "by_winners is in another unit, expected USD"),
        ((FUND, WINNERS), "by_winners is below zero on average"),
    ],
)
def test_what_does_not_stack_is_refused(parts, said):
    with pytest.raises(ValueError, match=said):
        made(swept(winners=lambda *_: -1.0), parts)


STUDY = Study.model_validate({
    "name": "made-up",
    "base": "crash",
    "factors": [{"name": "book", "path": "x", "scale": "choice", "values": [1, 2], "labels": ["thin", "deep"]}],
    "design": {"type": "factorial"},
    "replications": 2,
    "arms": {"whole": {}, "short": {"y": 1}},
    "outputs": [
        {"name": "deficits", "of": "deficits", "over": "sum"},
        {"name": "by_fund", "of": "absorbed_fund", "over": "sum"},
        {"name": "by_winners", "of": "fees", "over": "sum"},
    ],
    "analyses": [{"type": "composition", "name": "who_paid", "whole": "deficits", "parts": ["by_fund", "by_winners"]}],
})  # fmt: skip


def test_the_bars_are_as_long_as_their_parts_and_begin_where_the_one_before_ends():
    with d.style():
        figure, tables = composition(STUDY, STUDY.analyses[0], made(swept()))
    thin, deep = figure.axes
    widths = [[bar.get_width() for bar in bars] for bars in thin.containers]
    assert widths == [[4.0, 4.0], [7.0, 7.0], [0.0, 2.0]]  # millions: fund, winners, rest; arms whole, short
    assert [bar.get_x() for bar in thin.containers[2]] == [11.0, 11.0]
    assert thin.get_xlim() == deep.get_xlim()
    assert [text.get_text().split()[0] for text in thin.texts] == ["11", "13"]
    assert [label.get_text() for label in thin.get_yticklabels()] == ["whole", "short"]
    assert list(tables[""]["output"].unique()) == ["by_fund", "by_winners", "rest", "deficits"]


def test_no_two_parts_look_alike_and_layers_look_as_in_a_run():
    parts = [f"part_{at}" for at in range(28)]
    analysis = STUDY.analyses[0].model_copy(update={"parts": ("by_fund", *parts)})
    table = pd.DataFrame({"output": ["by_fund", *parts, "rest"], "mean": np.ones(30)})
    looks = _part_looks(STUDY, analysis, table)
    assert looks["by_fund"] == LAYERS["fund"]
    assert len(set(looks.values())) == 30


def test_the_table_has_a_row_a_point_and_arm_and_no_column_for_what_is_nowhere():
    table = shown_table(made(swept().assign(by_fund=0.0)), [WHOLE], STUDY)
    assert list(table.columns) == ["book", "arm", "n", "by winners", "rest", "deficits (95 % interval)"]
    row = table.iloc[3]
    assert (row["book"], row["arm"], row["by winners"], row["rest"]) == ("deep", "short", "$7.00m", "$6.00m")
    assert row["deficits (95 % interval)"].startswith("$13.0m (")
