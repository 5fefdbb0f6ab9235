"""A rare-event study: a shock of random size, the events it may bring, and how their probabilities are estimated.

One draw a run: the log return of the first market at a stated hour; other markets move by their loadings. Pilot, tilted and plain runs
are sweeps of their own in one folder, each point with draws of its own, so that all can be interrupted and resumed.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator

from agents.families import Parameters
from experiments import shipped
from experiments.analysis.blocks import Floats, require_complete
from experiments.analysis.intervals import stream
from experiments.progress import Tally
from experiments.rare_events import EVENTS_NEEDED, Estimate, Law, Proposal, estimate, fit
from experiments.study import Factor, Output, Study, Table, overrides, resolved
from experiments.study_store import create, replace_file
from experiments.sweep import Where, sweep
from model.errors import ScenarioError, fault
from model.observables import declared
from model.scenario import Scenario
from model.scenario_faults import did_you_mean, validate_as
from model.scenario_file import apply, by_line, in_file, locate, read_settings
from model.shocks import PriceMove
from model.strict_yaml import write_yaml

TILTED: Final = "tilted"
PLAIN: Final = "plain"
PILOT: Final = "pilot"


class Shock(Parameters):
    """A move of all markets, its size drawn once a run."""

    at: float = Field(ge=0, description="when it starts", json_schema_extra={"unit": "h"})
    lasts: float = Field(0.0, ge=0, description="how long it takes; 0 is a jump", json_schema_extra={"unit": "h"})
    law: Law = Field(description="law of the first market's log return")
    loading: tuple[float, ...] = Field(
        (1.0,), min_length=1, description="each market's log return over the first one's; the last serves all further"
    )
    limit: float = Field(2.0, gt=0, le=10, description="no log return goes beyond this, either way; what is drawn beyond it is set to it")

    def sizes(self, values: Floats, markets: int) -> Floats:
        """(n, M) simple returns of these draws."""
        loading = np.array([self.loading[min(at, len(self.loading) - 1)] for at in range(markets)])
        return np.asarray(np.expm1(np.clip(values[:, None] * loading, -self.limit, self.limit)))


class Pilot(Parameters):
    """Runs that say where the event is; they are no part of the estimate."""

    runs: int = Field(200, ge=20, description="how many")
    widen: float = Field(3.0, ge=1, description="by what factor the law is widened in them")
    event: str | None = Field(None, description="the event they look for; the first if not given")


class Event(Parameters):
    """What may happen: an output of the model that is ever above 0."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$", description="what to call it")]
    of: str = Field(description="a declared output of the model: residual_loss above 0 is a breach")


class RareStudy(Parameters):
    """A rare-event study file."""

    schema_version: Literal[1] = Field(1, alias="schema", description="version of this format")
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="what to call it")
    question: str = Field("", description="what it asks")
    base: str = Field(description="a shipped scenario's name, or a file relative to the study's folder")
    set: dict[str, Any] = Field(default={}, description="settings changed in the base, by dotted path")
    shock: Shock
    events: tuple[Event, ...] = Field((Event(name="breach", of="residual_loss"),), min_length=1)
    proposal: Proposal | None = Field(None, description="where the shock is drawn instead; fitted to the pilot if not given")
    share: float = Field(0.9, ge=0, lt=1, description="part of the tilted runs drawn from the fitted law")
    pilot: Pilot = Pilot()
    runs: int = Field(ge=20, description="tilted runs")
    plain: int = Field(0, ge=0, description="plain Monte Carlo runs, to compare with where that is affordable")
    seed: int = Field(0, ge=0, description="of everything")

    @model_validator(mode="after")
    def _known(self) -> "RareStudy":
        if self.pilot.event is not None and self.pilot.event not in [event.name for event in self.events]:
            raise ValueError(f"pilot.event {self.pilot.event!r}: expected one of {', '.join(event.name for event in self.events)}")
        return self

    @property
    def scenario(self) -> Scenario:
        """The base with `set` applied, and the shock, of no size yet, as its last.

        Raises:
            ScenarioError: no such base, or settings that it does not have.
        """
        world = apply(shipped.load(self.base), overrides(self.set, lambda path: f"set.{path}"))
        shock = PriceMove.Parameters(at=self.shock.at, lasts=self.shock.lasts, size=(0.0,) * len(world.assets))
        return world.model_copy(update={"shocks": (*world.shocks, shock)})


def load_rare(path: str | Path) -> RareStudy:
    """A rare-event study file, read as strictly as a study.

    Raises:
        ScenarioError: every fault of the file.
    """
    file = locate(path, None, "study")
    document = read_settings(file)
    data = document.data
    base = data.get("base")
    if isinstance(base, str) and (Path(base).suffix or len(Path(base).parts) != 1):
        data["base"] = str(file.parent / base)
    study, findings = validate_as(RareStudy, data)
    faults = [*document.faults, *(in_file(file, document.lines, finding) for finding in findings)]
    if study is None or faults:
        raise ScenarioError(by_line(faults))
    known = [output.name for output in declared(study.scenario)]
    unknown = [event.of for event in study.events if event.of not in known]
    if unknown:
        raise ScenarioError([fault(file, None, "events", of, f"a declared output{did_you_mean(of, known)}") for of in unknown])
    return study


def estimated(rare: RareStudy, folder: Path, where: Where, progress: Tally | None = None) -> pd.DataFrame:
    """Makes the runs that the folder lacks, and writes `estimates.csv`, `draws.csv` and `rare.yaml`.

    A folder that holds other runs is refused before anything in it is written over.

    Returns:
        A row an event and method (`tilted`, `plain`): the fields of `Estimate`, `proposal`, and `apart`: how many standard errors the two
        methods are apart, not a number without plain runs.

    Raises:
        Incomplete: a run failed.
        ScenarioError: a folder that holds something else.
        ValueError: a pilot without enough events.
    """
    text = write_yaml(rare.model_dump(mode="json", by_alias=True)).encode()
    _new_or_own(folder, text)
    proposal = rare.proposal or _fitted(rare, folder, where, progress)
    chosen = {TILTED: proposal} | ({PLAIN: Proposal(share=0.0)} if rare.plain else {})
    planned = [_planned(rare, method, law, rare.runs if method == TILTED else rare.plain, folder) for method, law in chosen.items()]
    replace_file(folder / "rare.yaml", text)
    rows, draws = [], []
    for (method, law), (study, values, weights) in zip(chosen.items(), planned, strict=True):
        found = _made(rare, study, folder / method, where, progress)
        rows += [_row(rare, event.name, method, law, found, weights) for event in rare.events]
        names = [event.name for event in rare.events]
        draws.append(found[["run_id", "seed", *names]].assign(method=method, log_return=values, weight=weights))
    table = _apart(pd.DataFrame(rows))
    replace_file(folder / "estimates.csv", table.to_csv(index=False, lineterminator="\n").encode())
    replace_file(folder / "draws.csv", pd.concat(draws, ignore_index=True).to_csv(index=False, lineterminator="\n").encode())
    return table


def _new_or_own(folder: Path, text: bytes) -> None:
    """Makes a folder with `rare.yaml`, or finds one there.

    Raises:
        ScenarioError: a folder that holds other files.
    """
    if (folder / "rare.yaml").is_file():
        return
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ScenarioError([fault(folder, None, "out", "other files", "a new or an empty folder, or this study's own")])
    replace_file(folder / "rare.yaml", text)


def as_study(rare: RareStudy, label: str, values: Floats, table: Path) -> Study:
    """The study of these draws: a point a draw, the shock's size in each market the factors.

    Raises:
        ScenarioError: the table is there and holds other draws.
    """
    world = rare.scenario
    sizes = rare.shock.sizes(values, len(world.assets))
    names = [f"move_{at + 1}" for at in range(sizes.shape[1])]
    content = pd.DataFrame(sizes, columns=names).to_csv(index=False, lineterminator="\n").encode()
    if table.is_file() and table.read_bytes() != content:
        raise ScenarioError([fault(table, None, "draws", "those of another study", "this study's, or a new folder")])
    replace_file(table, content)
    ends = np.expm1(np.array([-rare.shock.limit, rare.shock.limit]) * (1.0 + 1e-12)).tolist()
    place = f"shocks.{len(world.shocks) - 1}.size"
    return Study(
        name=f"{rare.name}-{label}",
        question=rare.question,
        base=world,
        factors=tuple(Factor(name=name, path=f"{place}.{at}", low=ends[0], high=ends[1], unit="1") for at, name in enumerate(names)),
        design=Table(type="table", file=str(table)),
        seed=int(stream(rare.seed, "runs", label).integers(2**31)),
        draws="own",
        outputs=tuple(Output(name=event.name, of=event.of, over="any") for event in rare.events),
    )


def _fitted(rare: RareStudy, folder: Path, where: Where, progress: Tally | None) -> Proposal:
    """The proposal that the pilot finds."""
    wide = Proposal(widen=rare.pilot.widen, share=rare.share)
    study, values, weights = _planned(rare, PILOT, wide, rare.pilot.runs, folder)
    found = _made(rare, study, folder / PILOT, where, progress)
    event = rare.pilot.event or rare.events[0].name
    return fit(rare.shock.law, values, weights, found[event].to_numpy(dtype=float), rare.share)


def _planned(rare: RareStudy, label: str, proposal: Proposal, count: int, folder: Path) -> tuple[Study, Floats, Floats]:
    """The study of these runs, whose plan is in its folder now; draws and weights.

    Raises:
        ScenarioError: another plan is there.
    """
    values, weights = proposal.draw(rare.shock.law, count, stream(rare.seed, "draws", label))
    study = resolved(as_study(rare, label, values, folder / f"{label}.csv"))
    create(study, folder / label)
    return study, values, weights


def _made(rare: RareStudy, study: Study, folder: Path, where: Where, progress: Tally | None) -> pd.DataFrame:
    """What came of each run."""
    found = sweep(study, folder, where=where, progress=progress)
    for event in rare.events:
        require_complete(found, event.name, f"{folder.name} runs")
    return found


def _row(rare: RareStudy, event: str, method: str, proposal: Proposal, found: pd.DataFrame, weights: Floats) -> dict[str, Any]:
    said: Estimate = estimate(found[event].to_numpy(dtype=float), weights, rare.seed)
    told = {name: getattr(said, name) for name in Estimate.__slots__}
    law = f"shift {proposal.shift:.4g}, widen {proposal.widen:.4g}, share {proposal.share:.4g}" if method == TILTED else "none"
    return {"event": event, "method": method, "proposal": law, **told}


def _apart(table: pd.DataFrame) -> pd.DataFrame:
    """How far the two methods are apart, in standard errors of their difference."""
    if len(set(table["method"])) < 2:
        return table.assign(apart=np.nan)
    tilted, plain = (table[table["method"] == method].set_index("event") for method in (TILTED, PLAIN))
    variance = tilted["error"] ** 2 + plain["error"] ** 2
    gap = (tilted["probability"] - plain["probability"]) / variance.where(variance > 0.0) ** 0.5
    return table.assign(apart=table["event"].map(gap))


def told(table: pd.DataFrame) -> list[str]:
    """Lines for a person."""
    lines = []
    for row in table.to_dict("records"):
        known = np.isfinite(row["low"])
        interval = f"95 % interval {row['low']:.3g} to {row['high']:.3g}, {row['interval']}" if known else "no interval"
        lines.append(
            f"P({row['event']}), {row['method']}: {row['probability']:.3g} ({interval}); {row['events']} events in {row['runs']:,} runs"
        )
        if row["method"] == PLAIN:
            continue
        lines.append(
            f"  {row['proposal']}; effective runs {row['effective']:.0f}, with the event {row['effective_events']:.0f};"
            f" mean weight {row['weight']:.3f} ± {row['weight_error']:.3f}; as good as {row['reduction']:.3g} times as many plain runs"
        )
        if row["effective_events"] < EVENTS_NEEDED:
            lines.append(f"  fewer than {EVENTS_NEEDED} effective runs with the event: make more runs, or another proposal")
        if np.isfinite(row["apart"]):
            lines.append(f"  tilted and plain are {abs(row['apart']):.1f} standard errors apart")
    return lines
