"""Policy search: a frontier that is known is found, and what is told is simulated again."""

import numpy as np
import pandas as pd
import pytest

from experiments import policy_search as searching
from experiments.policy_search import Search, efficient, hypervolume, load_search, propose, search
from experiments.study import Study
from experiments.sweep import Where
from model.errors import ScenarioError

FACTORS = [{"name": name, "path": name, "low": 0.0, "high": 1.0} for name in ("fund", "levy", "noise")]
GIVEN = {
    "name": "found",
    "study": "made-up",
    "safety": {"output": "loss"},
    "cost": {"output": "fees", "plus": ["levies"]},
    "initial": 8,
    "batch": 4,
    "batches": 2,
}


def objectives(x):
    """Cost is the fund; loss falls with it and is least where the levy is a half: the frontier is loss = (1 − fund)², levy 1/2."""
    return np.column_stack([(1.0 - x[:, 0]) ** 2 + 2.0 * (x[:, 1] - 0.5) ** 2, x[:, 0]])


def test_efficient_points_are_those_that_no_other_beats():
    points = np.array([[1.0, 5.0], [2.0, 2.0], [3.0, 3.0], [5.0, 1.0], [2.0, 2.0], [1.0, 6.0]])
    assert efficient(points).tolist() == [True, True, False, True, True, False]


def test_hypervolume_is_an_area():
    # Under (4, 4): from (1, 3) a strip 1 wide and 1 high, from (2, 1) a strip 2 wide and 3 high: 1 + 6 = 7; (5, 0) lies outside.
    assert hypervolume(np.array([[1.0, 3.0], [2.0, 1.0], [3.0, 2.0], [5.0, 0.0]]), (4.0, 4.0)) == pytest.approx(7.0)


def test_the_search_closes_in_on_a_known_frontier():
    pytest.importorskip("sklearn", reason="needs the extra `search`")
    # How far a point's loss lies above the frontier at its cost: 2 (levy − 1/2)², over points spread evenly 2 / 12 on average.
    rng = np.random.default_rng(0)
    points = searching.qmc.Sobol(3, rng=rng).random(8)
    for _ in range(4):
        found = objectives(points)
        new = propose(points, found + rng.normal(0.0, 0.01, found.shape), 8, rng)
        assert new.shape == (8, 3)
        assert ((new >= 0.0) & (new <= 1.0)).all()
        points = np.vstack([points, new])
    above = 2.0 * (points[:, 1] - 0.5) ** 2
    assert above[-8:].mean() < (2 / 12) / 10
    assert np.ptp(points[-16:, 0]) > 0.5  # along the frontier, not at one place of it
    assert hypervolume(objectives(points), (1.2, 1.2)) > hypervolume(objectives(points[:8]), (1.2, 1.2))


@pytest.fixture
def made(monkeypatch):
    """Sweeps that nobody makes: the objectives with a little luck of the seed, and a note of each."""
    calls = []

    def sweep(study, folder, *, where, progress):
        calls.append((folder.name, study.seed, study.replications))
        points = pd.read_csv(study.design.file)
        rng = np.random.default_rng(study.seed)
        luck = rng.normal(0.0, 0.02, (len(points), study.replications))
        values = objectives(points.to_numpy())
        rows = [
            {"run_id": f"{p}-{r}", "point": p, "arm": "base", "replication": r, "status": "complete",
             "loss": values[p, 0] + luck[p, r], "fees": 6e5 * values[p, 1], "levies": 4e5 * values[p, 1]}
            for p in range(len(points)) for r in range(study.replications)
        ]  # fmt: skip
        return pd.DataFrame(rows)

    monkeypatch.setattr(searching, "sweep", sweep)
    outputs = [{"name": name, "of": of, "over": "sum"} for name, of in (("loss", "residual_loss"), ("fees", "fees"), ("levies", "levies"))]
    study = Study.model_validate({
        "name": "made-up", "base": "crash", "factors": FACTORS, "design": {"type": "factorial"}, "outputs": outputs,
        "replications": 3, "seed": 5,
    })  # fmt: skip
    return study, calls


def test_the_frontier_is_simulated_again_with_other_seeds_and_intervals(made, tmp_path):
    pytest.importorskip("sklearn", reason="needs the extra `search`")
    study, calls = made
    found = search(Search.model_validate(GIVEN), study, tmp_path, Where(workers=0))
    assert [name for name, _, _ in calls] == ["batch-00", "batch-01", "batch-02", "frontier"]
    assert [replications for _, _, replications in calls] == [3, 3, 3, 40]
    assert len({seed for _, seed, _ in calls}) == 2
    assert ((found["safety_low"] < found["safety"]) & (found["safety"] < found["safety_high"])).all()
    assert found["cost"].is_monotonic_increasing
    assert found["efficient"].any()
    assert (found["replications"] == 40).all()
    assert len(pd.read_csv(tmp_path / "evaluations.csv")) == 8 + 4 + 4


def test_a_resumed_search_tries_the_same_points(made, tmp_path):
    pytest.importorskip("sklearn", reason="needs the extra `search`")
    study, _ = made
    given = Search.model_validate(GIVEN)
    first = search(given, study, tmp_path, Where(workers=0))
    before = (tmp_path / "batch-02-points.csv").read_bytes()
    (tmp_path / "frontier.csv").unlink()
    pd.testing.assert_frame_equal(search(given, study, tmp_path, Where(workers=0)), first)
    assert (tmp_path / "batch-02-points.csv").read_bytes() == before


def test_batches_proposed_for_another_question_are_not_taken_over(made, tmp_path):
    pytest.importorskip("sklearn", reason="needs the extra `search`")
    study, _ = made
    search(Search.model_validate({**GIVEN, "batches": 0}), study, tmp_path, Where(workers=0))
    for changes, of in (({"safety": {"output": "fees"}}, study), ({}, study.model_copy(update={"seed": 6}))):
        with pytest.raises(ScenarioError, match=r"search\.yaml: search: found another search, expected this one, or a new folder"):
            search(Search.model_validate({**GIVEN, "batches": 0, **changes}), of, tmp_path, Where(workers=0))


def test_the_expected_shortfall_of_a_0_or_1_output_has_no_interval_of_a_probability(monkeypatch, made, tmp_path):
    pytest.importorskip("sklearn", reason="needs the extra `search`")
    study, _ = made
    table = pd.DataFrame({"point": 0, "run_id": [str(r) for r in range(40)], "status": "complete", "loss": [1.0] + [0.0] * 39})
    table = table.assign(fees=range(40), levies=2.0)
    monkeypatch.setattr(searching, "sweep", lambda *_, **__: table)
    any_loss = study.model_copy(update={"outputs": (study.outputs[0].model_copy(update={"over": "any"}), *study.outputs[1:])})
    given = Search.model_validate({**GIVEN, "safety": {"output": "loss", "statistic": "expected_shortfall", "level": 0.875}})
    batch = pd.DataFrame([dict.fromkeys(("fund", "levy", "noise"), 0.5)])
    found = searching._evaluated(given, any_loss, batch, tmp_path / "batch", 40, 0, Where(workers=0), None)
    assert found["safety"].iloc[0] == 0.2  # one of the worst five
    assert found["safety_high"].iloc[0] > 0.2 > found["safety_low"].iloc[0] >= 0.0
    assert found["cost"].iloc[0] == pytest.approx(39.0 / 2.0 + 2.0)  # the mean of 0 to 39, and levies on top


def test_faults_of_a_search_file_are_told_in_a_line(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("schema: 1\nname: x\nstudy: fund-size-small\nsafety: {output: losses}\ncost: {output: breached}\n")
    with pytest.raises(ScenarioError, match=r"safety\.output: found 'losses', expected one of"):
        load_search(file)
    cost = "{output: residual_loss, plus: [exhausted]}"
    file.write_text(f"schema: 1\nname: x\nstudy: fund-size-small\nsafety: {{output: exhausted}}\ncost: {cost}\n")
    with pytest.raises(ScenarioError, match=r"cost\.plus: found 'exhausted' in 0/1, expected USD, as 'residual_loss'"):
        load_search(file)
    shortfall = "{output: residual_loss, statistic: expected_shortfall}"
    file.write_text(f"schema: 1\nname: x\nstudy: fund-size-small\nsafety: {shortfall}\ncost: {{output: breached}}\n")
    with pytest.raises(ScenarioError, match=r"\d+ replications, expected 100 or more"):
        load_search(file)
