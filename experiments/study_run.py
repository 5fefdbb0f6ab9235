"""One run of a study, as a worker does it: simulate, keep what is to be kept, then say so in the journal."""

import os
import time
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from experiments.plan import Task
from experiments.provenance import THREADS, now, run_id, source_digest, version
from experiments.runner import RunFailed, simulate
from experiments.study import Every, Output, Study
from experiments.study_store import COMPLETE, FAILED, Record, StudyFolder, append, write_series
from model.errors import ScenarioError
from model.observables import PARTIAL, declared
from model.scenario import Scenario

NUMERICAL: Final = ("mesa", "numpy", "scipy", "networkx", "pandas", "pyarrow")
"""Packages whose version may change the bits of a result."""


class OtherSource(Exception):
    """The model's source here is not that of the sweep, or the study in the folder is not the plan's."""


def run_task(root: str, task: Task, source: str, planned: str) -> str:
    """Simulate a run, write its series, then its journal line; how it ended: complete or failed.

    Args:
        root: the study's folder.
        task: the run.
        source: digest of the model's source that the sweep runs with.
        planned: digest that the plan was made with, which the run's id is a hash of; empty if the code may have changed since.

    Raises:
        OtherSource: this process has other code, or the folder another study.
        OSError: the result could not be written; nothing is said of the run.
    """
    folder = Path(root)
    if _source() != source:
        raise OtherSource(f"model source here {_source()[:8]}, of the sweep {source[:8]}")
    study = _study(root, (folder / "resolved.yaml").stat().st_mtime_ns)
    world = study.world(task.arm, task.point)
    if planned and run_id(world, task.seed, source=planned) != task.run_id:
        raise OtherSource(f"run {task.run_id} is not what the plan says: was a rule of your own, or the folder, changed?")
    start = time.perf_counter()
    try:
        series = simulate(world, task.seed, record_events=False).series()
        outputs = taken(series, study.outputs, study.burn_in)
    except (RunFailed, ScenarioError, KeyError) as error:
        record = Record(task.run_id, FAILED, error=_one_line(error), source=source, seconds=_since(start), at=now())
    else:
        digest = "" if study.series == "summary" else write_series(folder, task.run_id, kept(series, study, world))
        record = Record(task.run_id, COMPLETE, outputs, series=digest, source=source, seconds=_since(start), at=now())
    append(folder, record.line())
    return record.status


def taken(series: pd.DataFrame, outputs: tuple[Output, ...], burn_in: int) -> dict[str, float]:
    """Outputs over the kept steps: those after the opening (step 0) and the first `burn_in`.

    Steps in which an output is not defined (`model.observables.PARTIAL`) are left out; of any other, one NaN makes it NaN.
    """
    rows = series.iloc[1 + burn_in :]
    return {output.name: _over(output.over, _defined(output.of, rows[output.of].to_numpy(np.float64))) for output in outputs}


def _defined(name: str, values: Any) -> Any:
    return values[~np.isnan(values)] if name.startswith(PARTIAL) else values


def _over(how: str, values: Any) -> float:
    if not values.size or (np.isnan(values).any() and how != "last"):
        return float("nan")
    match how:
        case "last":
            return float(values[-1])
        case "any":
            return float((values > 0.0).any())
        case _:
            return float(getattr(np, how)(values))


def kept(series: pd.DataFrame, study: Study, world: Scenario) -> pd.DataFrame:
    """The rows that the study keeps: all, or the opening and one for `every` steps, aggregated as each output declares."""
    if not isinstance(study.series, Every):
        return series
    how = {output.name: output.aggregate for output in declared(world)}
    block = (series["step"] + study.series.every - 1) // study.series.every
    rows: pd.DataFrame = series.groupby(block).agg({"step": "last", **how})
    return rows.reset_index(drop=True)


def sight(root: str) -> dict[str, Any]:
    """What decides numbers where this is called, and whether the study's folder is seen there."""
    return {
        "model source": source_digest(),
        **{name: version(name) for name in NUMERICAL},
        **{name: os.environ.get(name) for name in THREADS},
        "the study's folder": (Path(root) / "plan.parquet").is_file(),
    }


@cache
def _source() -> str:
    """Taken once a process, for a process imports the model once."""
    return source_digest()


@lru_cache(maxsize=4)
def _study(root: str, _changed: int) -> Study:
    return StudyFolder(root).study


def _since(start: float) -> float:
    return round(time.perf_counter() - start, 4)


def _one_line(error: Exception) -> str:
    text = f"output {error} does not exist" if isinstance(error, KeyError) else str(error)
    return " ".join(text.split())
