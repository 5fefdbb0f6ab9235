"""Shipped results are compared number by number, and are what the model gives."""

import shutil

import pandas as pd
import pytest

from experiments import reference
from experiments.plan import make
from experiments.runner import simulate
from experiments.study import load_study, resolved
from experiments.study_run import taken
from experiments.study_store import StudyFolder
from experiments.sweep import sweep

STUDY = """
schema: 1
name: tiny
question: Does a larger fund leave less residual loss?
base: crash
factors: [{name: fund, path: venues.0.clearinghouse.fund, scale: log, low: 1.0e+6, high: 1.0e+8}]
design: {type: factorial, levels: 2}
replications: 2
steps: 2
outputs: [{name: left, of: fund, over: last}]
analyses: [{type: means}]
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    folder = tmp_path_factory.mktemp("reference")
    (folder / "tiny.yaml").write_text(STUDY)
    sweep(folder / "tiny.yaml", folder / "tiny", workers=0)
    reference.report(folder / "tiny")
    return StudyFolder(folder / "tiny")


def test_results_that_were_kept_are_found_again_and_one_that_moved_is_told(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(reference, "KEPT", tmp_path)
    place = reference.keep(home)
    assert sorted(path.name for path in place.iterdir()) == ["means.csv", "report.html", "summary.csv"]
    assert list(reference.differences(home)) == []
    table = pd.read_csv(place / "summary.csv")
    assert "run_id" not in table
    table.loc[3, "left"] *= 1.0 + 1e-6
    table.to_csv(place / "summary.csv", index=False)
    (line,) = reference.differences(home)
    assert line.startswith("tiny/summary.csv, left: 1 differ; row 3: ")


def test_a_table_that_is_not_shipped_is_told(home, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(reference, "KEPT", tmp_path)
    (reference.keep(home) / "means.csv").unlink()
    assert list(reference.differences(home)) == ["tiny/means.csv: not shipped"]
    shutil.rmtree(tmp_path / "tiny")
    assert len(list(reference.differences(home))) == 2


KEPT = sorted(path.name for path in reference.KEPT.iterdir()) if reference.KEPT.is_dir() else []


def rows_of(name: str, rows: list[int]) -> None:
    """Rows of a shipped summary are what their runs give now."""
    study = resolved(load_study(name))
    kept = pd.read_csv(reference.KEPT / name / "summary.csv")
    plan = make(study)
    assert plan.table["seed"].tolist() == kept["seed"].tolist()
    tasks, outputs = {task.run_id: task for task in plan.tasks()}, [output.name for output in study.outputs]
    for row in rows:
        task = tasks[plan.table["run_id"].iloc[row]]
        found = taken(simulate(study.world(task.arm, task.point), task.seed, record_events=False).series(), study.outputs, study.burn_in)
        assert found == pytest.approx(kept[outputs].iloc[row].to_dict(), rel=10.0 ** (1 - reference.DIGITS), nan_ok=True)


@pytest.mark.skipif(not KEPT, reason="this installation has no results folder")
@pytest.mark.parametrize("name", KEPT)
def test_the_last_run_of_every_shipped_study_is_what_its_results_say(name: str) -> None:
    rows_of(name, [-1])


@pytest.mark.slow
@pytest.mark.parametrize("name", KEPT)
def test_runs_from_all_over_a_shipped_study_are_what_its_results_say(name: str) -> None:
    count = len(pd.read_csv(reference.KEPT / name / "summary.csv"))
    rows_of(name, list(range(0, count, max(count // 20, 1))))
