"""The plan: every run, its id and its draws, the same each time."""

from typing import Any

import pytest

from experiments import plan
from experiments.provenance import run_id
from experiments.study import Study
from model.errors import ScenarioError

FUND = {"name": "fund", "path": "venues.0.clearinghouse.fund", "scale": "log", "low": 1e6, "high": 1e8}
SMALL = {"name": "small", "steps": 3, "traders": {"groups": [{"name": "few", "count": 20, "equity": 2e7}]}}
SOURCE = "0" * 32


def study(**changes: Any) -> Study:
    """Three points, two arms, two replications."""
    whole = {
        "name": "x", "base": SMALL, "factors": [FUND], "design": {"type": "factorial", "levels": 3}, "replications": 2,
        "arms": {"as_is": {}, "kind": {"recovery": 0.5}}, "outputs": [{"name": "volume", "of": "volume", "over": "sum"}],
    }  # fmt: skip
    return Study.model_validate({**whole, **changes})


def test_a_plan_has_a_row_for_every_point_arm_and_replication_in_that_order() -> None:
    table = plan.make(study(), SOURCE).table
    assert list(table.columns) == ["run_id", "point", "arm", "replication", "seed", "fund"]
    expected = [(point, arm, replication) for point in range(3) for arm in ("as_is", "kind") for replication in range(2)]
    assert list(table[["point", "arm", "replication"]].itertuples(index=False, name=None)) == expected
    assert table["run_id"].is_unique


def test_a_replication_has_the_same_draws_at_every_point_and_for_every_arm() -> None:
    table = plan.make(study(), SOURCE).table
    assert table.groupby("replication")["seed"].nunique().tolist() == [1, 1]
    assert table["seed"].nunique() == 2


def test_the_same_study_gives_the_same_plan_and_a_changed_one_other_runs() -> None:
    table = plan.make(study(), SOURCE).table
    assert table.equals(plan.make(study(), SOURCE).table)
    for changes in ({"seed": 1}, {"steps": 4}, {"set": {"recovery": 0.75}}):
        other = plan.make(study(**changes), SOURCE).table
        # `set` is overwritten by arm `kind`, whose runs stay what they were.
        shared = set(table["run_id"]) & set(other["run_id"])
        assert shared == (set(table.loc[table["arm"] == "kind", "run_id"]) if "set" in changes else set())
    assert not set(table["run_id"]) & set(plan.make(study(), "1" * 32).table["run_id"])


def test_more_replications_or_another_burn_in_leave_the_runs_there_are_what_they_are() -> None:
    few, many = plan.make(study(), SOURCE).table, plan.make(study(replications=3, burn_in=1), SOURCE).table
    assert set(few["run_id"]) < set(many["run_id"])


def test_a_runs_id_is_that_of_the_same_run_made_alone() -> None:
    one = study()
    row = plan.make(one).table.iloc[5]
    assert row["run_id"] == run_id(one.world(row["arm"], {"fund": row["fund"]}), int(row["seed"]))


def test_equal_runs_are_planned_as_rows_and_done_once() -> None:
    pytest.importorskip("SALib")
    whole = plan.make(study(design={"type": "saltelli", "points": 4}, replications=1, arms={"as_is": {}}), SOURCE)
    # Four blocks of d + 2 = 4 points: A, A with B's fund, A with B's dummy, B. The third is the world of the first, the second of the last.
    assert len(whole.table) == 16
    assert len(whole.tasks()) == 8
    assert list(whole.table.columns[-2:]) == ["fund", "dummy"]
    assert all(set(task.point) == {"fund"} for task in whole.tasks())


def test_every_point_is_tried_before_anything_runs() -> None:
    with pytest.raises(ScenarioError) as error:
        plan.make(study(arms={"bad": {"venues.0.clearinghouse.waterfall": []}}))
    assert len(error.value.faults) == 3
    assert error.value.faults[0].startswith(
        "x: point 0, arm bad: arms.bad.venues.0.clearinghouse.waterfall: venues.0.clearinghouse.waterfall:"
    )


def test_many_faults_are_counted() -> None:
    with pytest.raises(ScenarioError) as error:
        plan.make(study(arms={"bad": {"recovery": 2}}, design={"type": "factorial", "levels": 30}))
    assert len(error.value.faults) == plan.TOLD + 1
    assert error.value.faults[-1] == "x: 18 more such faults"


def test_price_files_stand_in_the_base_alone() -> None:
    replay = {"news": {"type": "replay", "files": ["btc.csv"]}}
    with pytest.raises(ScenarioError, match=r"found btc\.csv, expected files in the base only"):
        plan.make(study(arms={"recorded": replay}))


def test_a_design_of_more_runs_than_fit_is_refused_before_any_is_made() -> None:
    factors = [FUND, {"name": "recovery", "path": "recovery", "low": 0.0, "high": 1.0}]
    with pytest.raises(
        ScenarioError, match="found 40,000,000 runs, expected at most 1,000,000"
    ):  # 10,000 points of each of 2 arms, 2000 times
        plan.make(study(factors=factors, design={"type": "factorial", "levels": 100}, replications=2_000))


def test_every_run_has_steps_left_after_the_burn_in() -> None:
    with pytest.raises(ScenarioError, match="found 2, expected less than the 2 steps of a run"):
        plan.make(study(arms={"as_is": {}, "short": {"steps": 2}}, burn_in=2))
