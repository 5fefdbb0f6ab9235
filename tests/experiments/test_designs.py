"""Designs: known properties of each, and values on each scale."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.designs import count, points
from experiments.study import Factor, Study
from model.errors import ScenarioError

RECOVERY = {"name": "recovery", "path": "recovery", "low": 0.5, "high": 1.0}
FUND = {"name": "fund", "path": "venues.0.clearinghouse.fund", "scale": "log", "low": 1e6, "high": 1e9}
MAKERS = {"name": "makers", "path": "venues.0.market_makers.count", "scale": "integer", "low": 2, "high": 5}
STEPS = {"name": "steps", "path": "steps", "scale": "choice", "values": [24, 48, 96], "labels": ["a day", "two", "four"]}


def design(*factors: dict[str, Any], seed: int = 0, **settings: Any) -> pd.DataFrame:
    """Points of a study with these factors."""
    outputs = [{"name": "volume", "of": "volume", "over": "sum"}]
    return points(
        Study.model_validate({"name": "x", "base": "crash", "factors": factors, "design": settings, "outputs": outputs, "seed": seed})
    )


def test_a_factorial_design_is_every_combination_the_last_factor_fastest() -> None:
    table = design(FUND, STEPS, type="factorial", levels={"fund": 4})
    assert table["fund"].tolist() == pytest.approx([value for value in (1e6, 1e7, 1e8, 1e9) for _ in range(3)], rel=1e-12)
    assert table["steps"].tolist() == ["a day", "two", "four"] * 4


def test_levels_are_equally_spaced_on_each_scale() -> None:
    table = design(RECOVERY, MAKERS, type="factorial", levels={"recovery": 3, "makers": 4})
    assert sorted(set(table["recovery"])) == [0.5, 0.75, 1.0]
    assert sorted(set(table["makers"])) == [2, 3, 4, 5]
    assert table["makers"].dtype == np.int64


def test_a_latin_hypercube_has_one_point_in_each_row_and_column() -> None:
    table = design(RECOVERY, FUND, type="latin_hypercube", points=10)
    cells = np.floor((table["recovery"] - 0.5) / 0.5 * 10), np.floor(np.log10(table["fund"] / 1e6) / 3.0 * 10)
    assert all(sorted(column) == list(range(10)) for column in cells)


def test_sobol_points_fill_every_dyadic_box_once() -> None:
    # 16 points of a (0, 4, 2)-net: each box of 4 x 4 holds one of them, and so does each of 2 x 8 and 8 x 2 (Niederreiter 1987).
    table = design(RECOVERY, FUND, type="sobol", points=16)
    u, v = (table["recovery"].to_numpy() - 0.5) / 0.5, np.log10(table["fund"].to_numpy() / 1e6) / 3.0
    for rows, columns in ((4, 4), (2, 8), (8, 2)):
        assert len(set(zip((u * rows).astype(int), (v * columns).astype(int), strict=True))) == 16


def test_morris_trajectories_change_one_factor_a_step_and_have_a_dummy() -> None:
    pytest.importorskip("SALib")
    table = design(RECOVERY, FUND, type="morris", trajectories=5, levels=4)
    assert list(table.columns) == ["recovery", "fund", "dummy"]
    assert len(table) == 5 * (3 + 1)
    for start in range(0, len(table), 4):
        changed = (table.iloc[start : start + 4].diff().iloc[1:] != 0.0).sum(axis=1)
        assert changed.tolist() == [1, 1, 1]
    assert set(np.round(table["dummy"] * 3)) <= {0, 1, 2, 3}


@pytest.mark.parametrize(("second_order", "blocks"), [(False, 3 + 2), (True, 2 * 3 + 2)])
def test_saltellis_blocks_exchange_one_column_each(second_order: bool, blocks: int) -> None:
    # N (d + 2) points, N (2 d + 2) with pairs; d = 3 factors, the dummy among them. A block: A, A with a column of B (d times), …, B.
    pytest.importorskip("SALib")
    table = design(RECOVERY, FUND, type="saltelli", points=8, second_order=second_order)
    assert len(table) == 8 * blocks
    first = table.iloc[:blocks].to_numpy()
    a, b = first[0], first[-1]
    for factor in range(3):
        expected = a.copy()
        expected[factor] = b[factor]
        assert first[1 + factor].tolist() == expected.tolist()


def test_each_whole_number_and_each_choice_has_an_equal_part_of_the_interval() -> None:
    table = design(MAKERS, STEPS, type="sobol", points=256)
    assert table["makers"].value_counts().to_dict() == {2: 64, 3: 64, 4: 64, 5: 64}
    assert table["steps"].value_counts().between(84, 87).all()  # 256 / 3 = 85.3


@pytest.mark.parametrize("kind", ["latin_hypercube", "sobol"])
def test_the_seed_decides_the_points_and_nothing_else_does(kind: str) -> None:
    first = design(RECOVERY, FUND, type=kind, points=8, seed=3)
    np.random.default_rng().random()
    assert first.equals(design(RECOVERY, FUND, type=kind, points=8, seed=3))
    assert not first.equals(design(RECOVERY, FUND, type=kind, points=8, seed=4))


def test_without_scrambling_sobol_begins_at_the_lower_corner() -> None:
    table = design(RECOVERY, type="sobol", points=4, scramble=False)
    assert table["recovery"].tolist() == [0.5, 0.75, 0.875, 0.625]


def test_a_table_gives_points_as_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("steps,fund,makers\ntwo,2e6,3\na day,5e8,2\n")
    table = design(FUND, MAKERS, STEPS, type="table", file=str(path))
    assert table.to_dict("list") == {"fund": [2e6, 5e8], "makers": [3, 2], "steps": ["two", "a day"]}


def test_a_faulty_table_gets_a_line_for_each_fault(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("fund,makers,steps\n2e6,3,three\n1e3,2.5,two\n,9\n")
    with pytest.raises(ScenarioError) as error:
        design(FUND, MAKERS, STEPS, type="table", file=str(path))
    assert [line.partition("points.csv:")[2] for line in error.value.faults] == [
        "2: steps: found 'three', expected one of a day, two, four",
        "3: fund: found 1e3, expected between 1e+06 and 1e+09",
        "3: makers: found '2.5', expected a whole number",
        "4: fund: found '', expected a number",
        "4: makers: found 9, expected between 2 and 5",
        "4: steps: found '', expected one of a day, two, four",
    ]


def test_a_table_has_a_column_for_each_factor(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("fnd\n2e6\n")
    with pytest.raises(ScenarioError, match=r"points.csv:1: columns: found fnd, expected fund"):
        design(FUND, type="table", file=str(path))
    with pytest.raises(ScenarioError, match="found no such file"):
        design(FUND, type="table", file=str(tmp_path / "none.csv"))
    path.write_text("fund\nnan\n")
    with pytest.raises(ScenarioError, match="found nan, expected between"):
        design(FUND, type="table", file=str(path))


def test_a_row_with_more_values_than_columns_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "points.csv"
    path.write_text("x\n1\n1,5\n")  # a decimal comma would be read as 1
    with pytest.raises(ScenarioError) as error:
        design({**RECOVERY, "name": "x"}, type="table", file=str(path))
    assert error.value.faults == [f"{path}:3: row: found 2 values, expected 1, one a column"]


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "factorial", "levels": 3},
        {"type": "latin_hypercube", "points": 5},
        {"type": "sobol", "points": 4},
        {"type": "morris", "trajectories": 2},
        {"type": "saltelli", "points": 4},
        {"type": "saltelli", "points": 4, "second_order": True},
    ],
)
def test_points_are_counted_without_making_them(kind: dict[str, Any]) -> None:
    factors = [{"name": "x", "path": "x", "low": 0, "high": 1}, {"name": "y", "path": "y", "scale": "choice", "values": [1, 2]}]
    whole = {"name": "x", "base": "crash", "factors": factors, "outputs": [{"name": "loss", "of": "residual_loss", "over": "sum"}]}
    study = Study.model_validate({**whole, "design": kind})
    assert count(study) == len(points(study))


def test_no_value_lies_above_its_range() -> None:
    factor = Factor(name="x", path="x", low=-0.3, high=0.1)
    assert -0.3 + (0.1 + 0.3) * 1.0 > 0.1
    assert factor.at(np.array([1.0])) == [0.1]
