"""A rare-event study on the model itself, small."""

import numpy as np
import pandas as pd
import pytest

from experiments import rare_study
from experiments.plan import make
from experiments.rare_events import StudentT
from experiments.rare_study import RareStudy, Shock, as_study, estimated, load_rare, told
from experiments.sweep import Where
from model.errors import ScenarioError

TEXT = """
schema: 1
name: small
base: crash
set: {steps: 4, shocks: [], traders.groups.0.count: 60}
shock: {at: 1, law: {type: student_t, scale: 0.05, degrees: 3}, loading: [1.0, 1.2], limit: 1.5}
proposal: {widen: 4, share: 0.8}
runs: 20
plain: 20
"""


@pytest.fixture
def given(tmp_path):
    (tmp_path / "small.yaml").write_text(TEXT)
    return load_rare(tmp_path / "small.yaml")


def test_markets_move_by_their_loadings_within_the_limit():
    shock = Shock(at=0.0, law=StudentT(scale=0.1, degrees=3.0), loading=(1.0, 2.0), limit=1.0)
    # log returns −0.1 and 0.8: loaded 1, 2, 2; 1.6 is cut to 1.
    sizes = shock.sizes(np.array([-0.1, 0.8]), 3)
    assert sizes == pytest.approx(np.expm1(np.array([[-0.1, -0.2, -0.2], [0.8, 1.0, 1.0]])))


def test_every_draw_is_a_point_with_a_seed_of_its_own_and_the_shock_last(given, tmp_path):
    values = np.array([-0.2, 0.1, 0.0])
    study = as_study(given, "tilted", values, tmp_path / "t.csv")
    plan = make(study).table
    assert plan["seed"].nunique() == 3
    assert plan["move_1"].tolist() == pytest.approx(np.expm1(values).tolist(), rel=1e-15)
    world = study.world("base", plan.iloc[0].to_dict())
    assert world.shocks[-1].size == pytest.approx(np.expm1([-0.2, -0.24, -0.24]))
    assert as_study(given, "plain", values, tmp_path / "p.csv").seed != study.seed


def test_the_whole_study_runs_resumes_and_tells(given, tmp_path):
    table = estimated(given, tmp_path / "out", Where(workers=0))
    assert table["method"].tolist() == ["tilted", "plain"]
    assert table["runs"].tolist() == [20, 20]
    draws = pd.read_csv(tmp_path / "out" / "draws.csv")
    tilted, plain = (draws[draws["method"] == method] for method in ("tilted", "plain"))
    assert (plain["weight"] == 1.0).all()
    row = table.set_index("method").loc["tilted"]
    assert row["probability"] == pytest.approx((tilted["weight"] * tilted["breach"]).mean())
    assert row["weight"] == pytest.approx(tilted["weight"].mean())
    pd.testing.assert_frame_equal(estimated(given, tmp_path / "out", Where(workers=0)), table)
    lines = told(table)
    assert lines[0].startswith("P(breach), tilted: ")
    assert any(line.startswith("P(breach), plain: ") for line in lines)


@pytest.mark.parametrize(
    "change",
    [
        {"runs": 25},
        {"plain": 25},
        {"seed": 1},
        {"set": {"steps": 5, "shocks": [], "traders.groups.0.count": 60}},
        {"share": 0.5, "runs": 21},
    ],
    ids=["runs", "plain", "seed", "set", "share"],
)
def test_another_study_is_refused_before_anything_in_the_folder_is_written_over(given, tmp_path, monkeypatch, change):
    def nothing(study, folder, **_):
        count = len(pd.read_csv(study.design.file))
        return pd.DataFrame({"run_id": range(count), "point": range(count), "seed": 0, "status": "complete", "breach": 1.0})

    monkeypatch.setattr(rare_study, "sweep", nothing)
    out = tmp_path / "out"
    estimated(given, out, Where(workers=0))
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(ScenarioError, match="a new folder"):
        estimated(given.model_copy(update=change), out, Where(workers=0))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_a_folder_of_other_files_is_refused_and_plain_runs_can_be_added_later(given, tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ScenarioError, match="other files"):
        estimated(given, tmp_path / "mine", Where(workers=0))
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["letter.txt"]
    first = given.model_copy(update={"plain": 0, "runs": 20})
    assert estimated(first, tmp_path / "out", Where(workers=0))["method"].tolist() == ["tilted"]
    assert estimated(given, tmp_path / "out", Where(workers=0))["method"].tolist() == ["tilted", "plain"]
    assert "plain: 20" in (tmp_path / "out" / "rare.yaml").read_text()


def test_a_pilot_without_events_says_what_to_do(given, tmp_path, monkeypatch):
    def nothing(study, folder, **_):
        count = len(pd.read_csv(study.design.file))
        return pd.DataFrame({"run_id": range(count), "point": range(count), "seed": 0, "status": "complete", "breach": 0.0})

    monkeypatch.setattr(rare_study, "sweep", nothing)
    with pytest.raises(ValueError, match="found 0 runs with the event, expected 10 or more: widen it"):
        estimated(given.model_copy(update={"proposal": None}), tmp_path / "out", Where(workers=0))


def test_faults_are_told_with_their_line(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text(TEXT.replace("runs: 20", "runs: 2\nevents: [{name: breach, of: residual_los}]", 1).replace("degrees: 3", "degrees: -3"))
    with pytest.raises(ScenarioError) as told_faults:
        load_rare(file)
    assert len(told_faults.value.faults) == 2
    file.write_text(TEXT.replace("plain: 20", "events: [{name: breach, of: residual_los}]"))
    with pytest.raises(ScenarioError, match="did you mean residual_loss"):
        load_rare(file)
    assert RareStudy.model_fields["share"].default == 0.9
