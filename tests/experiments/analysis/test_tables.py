"""A study's analyses as a whole: which tables come of it, and what is refused."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.tables import analyse, coded, longer, measures
from experiments.designs import points
from experiments.study import Study
from tests.experiments.analysis.tabled import broken, summary

FUND = {"name": "fund", "path": "venues.0.clearinghouse.fund", "scale": "log", "low": 1e6, "high": 1e8, "unit": "USD"}
RULE = {"name": "rule", "path": "x", "scale": "choice", "values": [{"type": "queue"}, {"type": "pro_rata"}]}


def study(analyses, design=None, factors=(FUND, RULE), **more):
    return Study.model_validate({
        "name": "made-up",
        "base": "crash",
        "factors": factors,
        "design": design or {"type": "factorial", "levels": {"fund": 3}},
        "replications": 4,
        "outputs": [{"name": "loss", "of": "residual_loss", "over": "sum"}, {"name": "hit", "of": "residual_loss", "over": "any"}],
        "analyses": analyses,
        **more,
    })  # fmt: skip


def swept(of):
    return summary(points(of), of.replications, of.arms, loss=lambda p, _a, r: p["fund"] / 1e6 + r, hit=lambda _p, _a, r: r == 0)


def test_outputs_have_the_models_units_and_any_is_a_probability():
    assert [tuple(measure) for measure in measures(study([]))] == [("loss", "USD", False), ("hit", "probability", True)]


def test_a_study_that_asks_for_nothing_gets_means():
    of = study([])
    done = analyse(of, swept(of))
    assert list(done.tables) == ["means"]
    assert done.tables["means"].groupby("output")["mean"].first().to_dict() == {"hit": 0.25, "loss": 2.5}


def test_a_refusal_names_the_run_and_stops_nothing_else():
    pytest.importorskip("SALib", reason="needs the extra `analysis`")
    of = study([{"type": "sobol"}, {"type": "means"}], {"type": "saltelli", "points": 8}, replications=1)
    table = swept(of)
    assert len(analyse(of, broken(table, "3-base-0")).refused) == 2  # a failed run has neither output
    table.loc[3, "loss"] = np.nan
    done = analyse(of, table)
    assert len(done.refused) == 1
    assert "sobol of loss" in done.refused[0]
    assert "3-base-0" in done.refused[0]
    assert set(done.tables) == {"means", "sobol"}
    assert set(done.tables["sobol"]["output"]) == {"hit"}
    assert set(done.tables["sobol"]["factor"]) == {"fund", "rule", "dummy"}


def test_every_arm_has_its_own_drivers():
    pytest.importorskip("SALib", reason="needs the extra `analysis`")
    of = study([{"type": "morris"}], {"type": "morris", "trajectories": 4}, arms={"flat": {}, "more": {"y": 1}})
    table = analyse(of, swept(of)).tables["morris"]
    assert table[["arm", "output"]].drop_duplicates().to_numpy().tolist() == [[a, o] for a in ("flat", "more") for o in ("loss", "hit")]
    # loss = fund / 1e6 + r, on a log scale from 1 to 100: every step raises it; nothing else does.
    rows = table[(table["arm"] == "more") & (table["output"] == "loss")].set_index("factor")
    assert rows.loc["fund", "mu_star"] == rows.loc["fund", "mu"] > 0
    assert rows.loc[["rule", "dummy"], "mu_star"].tolist() == [0.0, 0.0]


def test_labels_are_coded_by_their_place():
    of = study([])
    assert coded(swept(of), of.factors)["rule"].tolist() == [0.0, 1.0] * 3
    assert coded(swept(of), of.factors)["fund"].tolist() == pytest.approx([1e6, 1e6, 1e7, 1e7, 1e8, 1e8])


def test_series_are_asked_for_by_run_and_burn_in_is_compared():
    of = study([{"type": "opening"}], steps=48, burn_in=12)
    asked = []

    def series(run):
        asked.append(run)
        return pd.DataFrame({"residual_loss": np.arange(49.0) * (1 + len(asked))})

    table = analyse(of, swept(of), series).tables["opening_burn_in"]
    assert set(asked) == {f"0-base-{r}" for r in range(4)}
    assert sorted(set(table["burn_in"])) == longer(12, 48) == [0, 6, 12, 18, 24]
    assert set(table["unit"]) == {"USD per step", "probability"}


def test_the_opening_is_not_judged_by_the_runs_that_survived():
    of = study([{"type": "opening"}], steps=48, burn_in=12)
    done = analyse(of, broken(swept(of), "0-base-1"), lambda _run: pd.DataFrame({"residual_loss": np.arange(49.0)}))
    assert "opening_burn_in" not in done.tables
    assert done.refused[0].startswith("opening by burn-in of ")
    assert done.refused[0].endswith(": 0-base-1")


def test_an_unknown_arm_is_a_refusal_in_one_line():
    of = study([{"type": "paired", "against": "other"}])
    assert analyse(of, swept(of)).refused == ["paired: against: found 'other', expected one of base"]
