"""What a study will take, from one run that is timed."""

import time
from dataclasses import dataclass
from typing import Final

from experiments.plan import Plan, Task, make
from experiments.study import Study
from experiments.study_run import kept, taken
from experiments.study_store import COMPLETE, Record, as_parquet
from experiments.sweep import Where
from model.ecosystem import Ecosystem

EVERYTHING: Final = Where()
ENOUGH: Final = 10.0
"""Seconds after which a timed run is broken off and the rest of it reckoned."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Of a run: wall seconds, and bytes on disk."""

    seconds: float
    size: float


def probe(study: Study, task: Task) -> Cost:
    """Times a run; of a long one the first steps.

    Raises:
        Exception: whatever the run fails with.
    """
    world = study.world(task.arm, task.point)
    start = time.perf_counter()
    eco = Ecosystem(world, rng=task.seed, record_events=False)
    opened = time.perf_counter()
    while eco.tick < world.steps and time.perf_counter() - opened < ENOUGH:
        eco.step()
    share = world.steps / eco.tick
    seconds = opened - start + (time.perf_counter() - opened) * share
    series = eco.series()
    outputs = taken(series, study.outputs, min(study.burn_in, eco.tick - 1))
    line = len(Record(task.run_id, COMPLETE, outputs, source=task.run_id, at=task.run_id).line())
    stored = 0 if study.series == "summary" else len(as_parquet(kept(series, study, world))) * share
    return Cost(seconds, line + stored)


def estimated(study: Study, where: Where = EVERYTHING) -> list[str]:
    """Lines for a person: runs, hours, disk; of a shard, its own."""
    from dask.system import CPU_COUNT  # noqa: PLC0415

    plan: Plan = make(study)
    whole = plan.tasks()
    tasks = [task for task in whole if where.takes(task)]
    shard = [f"shard {where.shard[0]}/{where.shard[1]}: {len(tasks):,} of these {len(whole):,} runs"] if where.shard else []
    if not tasks:
        return [f"{study.name}: {plan.told(study)}", *shard, "nothing was written"]
    cost = probe(study, tasks[len(tasks) // 2])
    hours = cost.seconds * len(tasks) / 3600.0
    count = 1 if where.here else max(1, where.workers or CPU_COUNT)
    return [
        f"{study.name}: {plan.told(study)}",
        *shard,
        f"one run takes {cost.seconds:.2g} seconds here: {hours:.2g} processor hours, {hours / count:.2g} hours on {count}",
        f"disk: {cost.size * len(tasks) / 1e6:.2g} MB",
        "nothing was written",
    ]
