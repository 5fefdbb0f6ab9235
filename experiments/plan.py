"""The plan of a study: which runs there are, fixed before the first of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd

from experiments.designs import count, points
from experiments.provenance import run_ids, scenario_files, source_digest
from experiments.study import DUMMY, Study
from model.errors import ScenarioError, fault
from model.scenario import Scenario

KEYS: Final = ("run_id", "point", "arm", "replication", "seed")
MOST: Final = 1_000_000
"""Rows of a plan at most (our choice): a design with more is a slip, and would fill the memory before anything could be said of it."""
TOLD: Final = 12
"""More faulty scenarios than these are counted, not listed."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a worker needs to know of a run, beside the study.

    Attributes:
        run_id: 32 hexadecimal digits.
        arm: name of the arm.
        seed: of all its draws.
        point: the factors' values as they stand in the plan.
    """

    run_id: str
    arm: str
    seed: int
    point: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """The runs of a study.

    Attributes:
        table: a row for every point, arm and replication, in the design's order: `run_id, point, arm, replication, seed`, then a column a
            factor. Rows of equal scenarios and seeds share a run, as those that differ in `dummy` alone do.
    """

    table: pd.DataFrame

    def tasks(self) -> list[Task]:
        """Every run once, in the plan's order."""
        once = self.table.drop_duplicates("run_id")
        factors = [name for name in self.table.columns if name not in (*KEYS, DUMMY)]
        rows: list[dict[str, Any]] = once[["run_id", "arm", "seed", *factors]].to_dict("records")  # type: ignore[assignment]
        return [Task(row["run_id"], row["arm"], int(row["seed"]), {name: row[name] for name in factors}) for row in rows]

    def told(self, study: Study) -> str:
        """How many points and runs, in words."""
        rows, runs = len(self.table), self.table["run_id"].nunique()
        counts = {"point": self.table["point"].nunique(), "arm": len(study.arms), "replication": study.replications}
        product = " x ".join(f"{count:,} {name}{'' if count == 1 else 's'}" for name, count in counts.items())
        said = f"{product} = {rows:,} runs"
        return f"{said} of {study.scenario.steps:,} steps" + (f", {runs:,} of them different" if runs < rows else "")


def make(study: Study, source: str | None = None) -> Plan:
    """The plan of a study: every point's and arm's scenario is built and tried.

    Args:
        study: the study.
        source: digest of the model's source, taken now if None.

    Raises:
        ScenarioError: scenarios that contradict themselves, a line each; more rows than `MOST`.
    """
    each = len(study.arms) * study.replications
    if (many := (count(study) or 1) * each) > MOST:
        raise ScenarioError([fault(study.name, None, "design", f"{many:,} runs", f"at most {MOST:,}")])
    source = source or source_digest()
    faults: list[str] = []
    rows: list[tuple[Any, ...]] = []
    design = points(study)
    for at, point in enumerate(design.to_dict("records")):
        seeds = [study.seed_of(replication, at) for replication in range(study.replications)]
        for arm in study.arms:
            try:
                world = _tried(study, arm, point)  # type: ignore[arg-type]
            except ScenarioError as error:
                faults += [f"{study.name}: point {at}, arm {arm}: {line}" for line in error.faults]
                continue
            ids = run_ids(world, seeds, source=source)
            rows += [(run, at, arm, number, seed, *point.values()) for number, (run, seed) in enumerate(zip(ids, seeds, strict=True))]
    if faults:
        raise ScenarioError([*faults[:TOLD], *([f"{study.name}: {len(faults) - TOLD:,} more such faults"] if len(faults) > TOLD else [])])
    return Plan(pd.DataFrame(rows, columns=[*KEYS, *design.columns]))


def _tried(study: Study, arm: str, point: Mapping[str, Any]) -> Scenario:
    """The scenario of a point; files come from the base alone, for a study's folder keeps a copy of them, and some steps are kept."""
    world = study.world(arm, point)
    added = set(scenario_files(world)) - (set(scenario_files(study.base)) if isinstance(study.base, Scenario) else set())
    if added:
        raise ScenarioError([fault("scenario", None, "files", ", ".join(sorted(path.name for path in added)), "files in the base only")])
    if study.burn_in >= world.steps:
        raise ScenarioError([fault("study", None, "burn_in", study.burn_in, f"less than the {world.steps} steps of a run")])
    return world
