"""A study: a base scenario, what is varied in it and how, and what is asked of the runs; typed, validated, frozen.

A study file holds what a study says; `load_study` reads it strictly and tells every fault with its line before anything runs.

```python
from experiments.study import load_study
from experiments.sweep import sweep

table = sweep(load_study("fund-size"))
```
"""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import numpy as np
from pydantic import Discriminator, Field, Tag, model_validator

from agents.families import Parameters
from experiments import shipped
from model.errors import ScenarioError, fault
from model.observables import declared
from model.randomness import seed_from
from model.scenario import Scenario
from model.scenario_faults import did_you_mean, schema_of, settings_at, validate_as
from model.scenario_file import Override, apply, by_line, in_file, locate, read_settings, resolve_scenario_files

if TYPE_CHECKING:
    from model.strict_yaml import Place

FOLDER: Final = shipped.FOLDER.parent / "studies"
"""The studies that come with the project."""
DUMMY: Final = "dummy"
"""A factor that sets nothing: what a sensitivity index of nothing looks like."""

REST: Final = "rest"
"""What the parts of a composition leave of its whole."""

type Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
type Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
type Power = Annotated[int, Field(ge=2, le=2**20)]
type Scale = Literal["linear", "log", "integer", "choice"]
type Over = Literal["sum", "mean", "max", "min", "last", "any"]


class Factor(Parameters):
    """What is varied: a setting of the scenario, over a range or over stated values."""

    name: Annotated[Name, Field(description="its column in plan and summary")]
    path: Annotated[str, Field(min_length=1, description="the setting, dotted: venues.0.clearinghouse.fund")]
    scale: Annotated[Scale, Field(description="how values are spread; integer includes both ends")] = "linear"
    low: Annotated[float | None, Field(description="lowest value, in the setting's unit")] = None
    high: Annotated[float | None, Field(description="highest value, in the setting's unit")] = None
    values: Annotated[tuple[Any, ...], Field(description="for scale choice: the values")] = ()
    labels: Annotated[tuple[str, ...], Field(description="for scale choice: what to call the values; made from them if not given")] = ()
    unit: Annotated[str, Field(description="of the values, for axes and tables")] = ""

    @model_validator(mode="after")
    def _ranged(self) -> "Factor":
        if self.scale == "choice":
            self._check_values()
            object.__setattr__(self, "labels", self.labels or _labels(self.values))
        else:
            self._check_range()
        return self

    def _check_values(self) -> None:
        if self.low is not None or self.high is not None:
            raise ValueError("low or high beside scale choice: expected values instead")
        if len(self.values) < 2:
            raise ValueError(f"{len(self.values)} values: expected at least 2 for scale choice")
        if self.labels and (len(self.labels) != len(self.values) or len(set(self.labels)) != len(self.labels)):
            raise ValueError(f"labels {', '.join(self.labels)}: expected a different one for each of the {len(self.values)} values")

    def _check_range(self) -> None:
        if self.values or self.labels:
            raise ValueError(f"values or labels beside scale {self.scale}: expected low and high, or scale choice")
        if self.low is None or self.high is None:
            raise ValueError(f"no {'low' if self.low is None else 'high'}: expected low and high for scale {self.scale}")
        if not self.low < self.high:
            raise ValueError(f"low {self.low:g} and high {self.high:g}: expected low below high")
        if self.scale == "log" and self.low <= 0.0:
            raise ValueError(f"low {self.low:g}: expected more than 0 for scale log")
        if self.scale == "integer" and not (self.low.is_integer() and self.high.is_integer()):
            raise ValueError(f"low {self.low:g} and high {self.high:g}: expected whole numbers for scale integer")

    @property
    def range(self) -> tuple[float, float]:
        """Lowest and highest value; not for scale choice."""
        assert self.low is not None
        assert self.high is not None
        return self.low, self.high

    def at(self, quantiles: "np.ndarray[Any, np.dtype[np.float64]]") -> list[float] | list[int] | list[str]:
        """Values at `quantiles` in the unit interval, as they stand in the plan: labels for scale choice."""
        if self.scale == "choice":
            return [self.labels[min(int(u * len(self.values)), len(self.values) - 1)] for u in quantiles]
        low, high = self.range
        if self.scale == "integer":  # each whole number has an equal part of the interval
            return [min(int(low) + int(u * (high - low + 1.0)), int(high)) for u in quantiles]
        if self.scale == "log":
            return [min(low * (high / low) ** float(u), high) for u in quantiles]
        return [min(low + (high - low) * float(u), high) for u in quantiles]

    def setting(self, planned: Any) -> Any:
        """What a value in the plan sets in the scenario."""
        if self.scale == "choice":
            return self.values[self.labels.index(planned)]
        return int(planned) if self.scale == "integer" else float(planned)

    def ends(self) -> list[float] | list[int] | list[str]:
        """The extreme values as they stand in the plan; all of them for scale choice."""
        return list(self.labels) if self.scale == "choice" else self.at(np.array([0.0, 1.0]))


def _labels(values: tuple[Any, ...]) -> tuple[str, ...]:
    """Rules are called by their type, other values by how they are written; what would repeat is numbered."""
    named = [str(value["type"]) if isinstance(value, dict) and "type" in value else _written(value) for value in values]
    return tuple(named) if len(set(named)) == len(named) else tuple(f"{at}: {name}" for at, name in enumerate(named, 1))


def _written(value: Any) -> str:
    match value:
        case bool() | None:
            return {True: "true", False: "false", None: "none"}[value]
        case dict() | list():
            return "value"
        case float():
            return f"{value:g}"
        case _:
            return str(value)


class Factorial(Parameters):
    """Every combination of equally spaced values; choice factors take all their values."""

    type: Literal["factorial"]
    levels: Annotated[
        Annotated[int, Field(ge=2)] | dict[str, Annotated[int, Field(ge=2)]],
        Field(description="how many values: one number for all factors, or one for each by name"),
    ] = 2


class LatinHypercube(Parameters):
    """Points of which each factor's values are spread evenly (McKay, Beckman & Conover 1979)."""

    type: Literal["latin_hypercube"]
    points: Annotated[int, Field(ge=2, description="how many points")]
    scramble: Annotated[bool, Field(description="random places within cells, rather than their centres")] = True


class SobolPoints(Parameters):
    """The first points of a Sobol sequence (Sobol 1967), scrambled as by Owen (1998)."""

    type: Literal["sobol"]
    points: Annotated[Power, Field(description="how many points, a power of two")]
    scramble: Annotated[bool, Field(description="randomised by the seed")] = True

    @model_validator(mode="after")
    def _balanced(self) -> "SobolPoints":
        _check_power(self.points)
        return self


class Morris(Parameters):
    """Trajectories that change one factor at a time, for elementary effects (Morris 1991). Adds the factor `dummy`."""

    type: Literal["morris"]
    trajectories: Annotated[int, Field(ge=2, description="how many trajectories, of one point more than factors each")]
    levels: Annotated[int, Field(ge=2, multiple_of=2, description="levels of the grid, an even number")] = 4


class Saltelli(Parameters):
    """Sobol points recombined for variance-based indices (Saltelli 2002). Adds the factor `dummy`."""

    type: Literal["saltelli"]
    points: Annotated[Power, Field(description="base points, a power of two; runs are a multiple of them")]
    second_order: Annotated[bool, Field(description="allows indices of pairs, for nearly twice the runs")] = False

    @model_validator(mode="after")
    def _balanced(self) -> "Saltelli":
        _check_power(self.points)
        return self


class Table(Parameters):
    """Points of one's own: a CSV file with a column for each factor, labels for choices."""

    type: Literal["table"]
    file: Annotated[str, Field(min_length=1, description="the CSV file, relative to the study's folder")]


type Design = Annotated[Factorial | LatinHypercube | SobolPoints | Morris | Saltelli | Table, Field(discriminator="type")]


def _check_power(points: int) -> None:
    if points & (points - 1):
        below = 1 << (points.bit_length() - 1)
        raise ValueError(f"{points} points: expected a power of two, such as {below} or {2 * below}")


class Output(Parameters):
    """A column of the summary: an output of the model, taken over the kept steps."""

    name: Annotated[Name, Field(description="its column in the summary")]
    of: Annotated[str, Field(description="a declared output of the model, see model/observables.py")]
    over: Annotated[Over, Field(description="how it is taken over the kept steps; any is 1 if it was ever above 0, else 0")]
    unit: Annotated[str, Field(description="for axes and tables; the output's own if not given")] = ""


class Every(Parameters):
    """A row of a run's series stands for `every` steps, each output aggregated as it declares."""

    every: Annotated[int, Field(ge=1, description="steps in a row")]


class Means(Parameters):
    """Mean and interval for each point and arm."""

    type: Literal["means"]


class Paired(Parameters):
    """Differences between arms under the same draws."""

    type: Literal["paired"]
    against: Annotated[str, Field(description="the arm that others are compared with")]


class Convergence(Parameters):
    """Half-width of intervals against the number of replications."""

    type: Literal["convergence"]


class Composition(Parameters):
    """What a whole is made of at each point and arm, such as deficits by who paid them: stacked bars and one table."""

    type: Literal["composition"]
    name: Annotated[Name, Field(description="what to call it, in the figure's title and in names of files: who_paid")]
    whole: Annotated[str, Field(description="an output of the study: what the parts make up")]
    parts: Annotated[
        tuple[str, ...],
        Field(min_length=2, description="outputs of the study in the order of the bars; what they leave of the whole is told as `rest`"),
    ]


class Opening(Parameters):
    """Whether the answer hangs on the opening: by burn-in where full series are kept, and by a factor that sets an opening value."""

    type: Literal["opening"]
    lever: Annotated[str | None, Field(description="a factor that sets an opening value, such as the fund's")] = None


class SobolIndices(Parameters):
    """First-order and total indices; wants design saltelli."""

    type: Literal["sobol"]


class MorrisEffects(Parameters):
    """Elementary effects; wants design morris."""

    type: Literal["morris"]


class Pawn(Parameters):
    """Density-based indices from given data."""

    type: Literal["pawn"]


class RbdFast(Parameters):
    """First-order indices from given data."""

    type: Literal["rbd_fast"]


class Prim(Parameters):
    """Scenario discovery: boxes of factors in which an output exceeds a threshold."""

    type: Literal["prim"]
    output: Annotated[str, Field(description="an output of the study")]
    threshold: Annotated[float, Field(description="what counts as found is above it")]


type Analysis = Annotated[
    Means | Paired | Convergence | Composition | Opening | SobolIndices | MorrisEffects | Pawn | RbdFast | Prim,
    Field(discriminator="type"),
]

type Settings = dict[str, Any]
"""Dotted path of a scenario's setting: value."""


def _kind_of_base(value: Any) -> str:
    return "scenario" if isinstance(value, dict | Scenario) else "name"


class Study(Parameters):
    """A question, and the runs that are to answer it."""

    schema_version: Annotated[Literal[1], Field(alias="schema", description="version of this format")] = 1
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="what to call it; its folder begins with it")]
    question: Annotated[str, Field(description="what it asks, shown on the report")] = ""
    description: Annotated[str, Field(description="what is varied, why, and what to look at")] = ""
    base: Annotated[
        Annotated[str, Tag("name")] | Annotated[Scenario, Tag("scenario")],
        Discriminator(_kind_of_base),
        Field(description="a shipped scenario's name, a file relative to the study's folder, or a whole scenario"),
    ]
    set: Settings = Field(default={}, description="settings changed in the base before everything else, by dotted path")
    factors: Annotated[tuple[Factor, ...], Field(min_length=1, description="what is varied")]
    design: Annotated[Design, Field(description="at which points")]
    replications: Annotated[int, Field(ge=1, description="runs of each point and arm, with other draws each")] = 1
    seed: Annotated[int, Field(ge=0, description="of the design and of every run")] = 0
    draws: Annotated[
        Literal["common", "own"],
        Field(description="common: the same at every point; own: each point has its own, for a mean over points that were drawn at random"),
    ] = "common"
    arms: dict[Label, Settings] = Field(
        default={"base": {}}, min_length=1, description="policies compared at every point under the same draws: settings by dotted path"
    )
    steps: Annotated[
        int | None, Field(ge=1, description="length of each run; the scenario's if not given", json_schema_extra={"unit": "steps"})
    ] = None
    burn_in: Annotated[int, Field(ge=0, description="first steps left out of the outputs", json_schema_extra={"unit": "steps"})] = 0
    outputs: Annotated[tuple[Output, ...], Field(min_length=1, description="columns of the summary")]
    series: Annotated[
        Annotated[Literal["summary", "full"], Tag("word")] | Annotated[Every, Tag("every")],
        Discriminator(lambda value: "every" if isinstance(value, dict | Every) else "word"),
        Field(description="what of each run's series is kept on disk: nothing, all of it, or a row for every k steps"),
    ] = "summary"
    analyses: Annotated[tuple[Analysis, ...], Field(description="what `backstop analyse` does")] = ()

    @cached_property
    def scenario(self) -> Scenario:
        """The base with `set` and `steps` applied.

        Raises:
            ScenarioError: no such scenario, or settings that it does not have.
        """
        base = self.base if isinstance(self.base, Scenario) else shipped.load(self.base)
        return apply(base, overrides(self.common, lambda path: f"set.{path}"))

    @property
    def common(self) -> Settings:
        """Settings of every run."""
        return {**self.set, **({} if self.steps is None else {"steps": self.steps})}

    def world(self, arm: str, point: Mapping[str, Any]) -> Scenario:
        """The scenario of one arm at one point of the plan; the arm's settings first, then the factors'.

        Raises:
            ScenarioError: settings that contradict each other there.
        """
        varied = {factor.path: factor.setting(point[factor.name]) for factor in self.factors}
        settings = [*overrides(self.arms[arm], lambda path: f"arms.{arm}.{path}"), *overrides(varied, lambda path: f"factor {path}")]
        return apply(self.scenario, settings)

    def seed_of(self, replication: int, point: int = 0) -> int:
        """Of all draws of a replication (from 0), the same for every arm and, unless draws are its own, at every point (from 0)."""
        return seed_from(np.random.SeedSequence(self.seed, spawn_key=(replication,) if self.draws == "common" else (replication, point)))


def overrides(settings: Settings, label: Any) -> list[Override]:
    """Settings by dotted path as overrides, each called what `label` of its path says."""
    return [Override(tuple(path.split(".")), value, label(path)) for path, value in settings.items()]


def study_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a study file."""
    return schema_of(Study)


def studies() -> list[str]:
    """Names of the shipped studies."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_study(path_or_name: str | Path) -> Study:
    """A study file, or a shipped study by its name; its base scenario read, its files relative to the working folder.

    Raises:
        ScenarioError: every fault of the file, and of the scenarios that it describes.
    """
    from experiments.study_faults import inconsistencies  # noqa: PLC0415 - it judges what this module defines

    path = locate(path_or_name, FOLDER, "study")
    document = read_settings(path)
    data = document.data
    resolve_files(data, path.parent)
    study, findings = validate_as(Study, data)
    faults = [*document.faults, *(in_file(path, document.lines, finding) for finding in findings)]
    faults += inconsistencies(data, findings, path, document.lines)
    if study is None or faults:
        raise ScenarioError(by_line(faults))
    return resolved(study)


def resolved(study: Study) -> Study:
    """The study with its base scenario read, and the units that the model declares where it names none.

    Raises:
        ScenarioError: no such base, settings that it does not have, or outputs that the model does not have.
    """
    study = study.model_copy(update={"base": study.base if isinstance(study.base, Scenario) else shipped.load(study.base)})
    scenario = study.scenario
    units = {output.name: output.unit for output in declared(scenario)}
    unknown = [output.of for output in study.outputs if output.of not in units]
    if unknown:
        raise ScenarioError(
            [fault(study.name, None, "outputs", name, f"a declared output{did_you_mean(name, list(units))}") for name in unknown]
        )
    outputs = [o.model_copy(update={"unit": o.unit or ("0/1" if o.over == "any" else units[o.of])}) for o in study.outputs]
    factors = [f.model_copy(update={"unit": f.unit or _unit_of(f.path, scenario)}) for f in study.factors]
    return study.model_copy(update={"outputs": tuple(outputs), "factors": tuple(factors)})


def _unit_of(path: str, scenario: Scenario) -> str:
    """The unit that a setting of the scenario declares, if it declares one."""
    *steps, last = path.split(".")
    place: Place = tuple(int(step) if step.isdigit() else step for step in steps)
    settings = settings_at(place, scenario.model_dump(mode="json", by_alias=True), schema_of(Scenario))
    return str(settings.get(last, {}).get("unit", ""))


def resolve_files(data: dict[str, Any], folder: Path) -> None:
    """Makes files that the study names relative to the working folder."""
    base, design = data.get("base"), data.get("design")
    if isinstance(base, str) and (Path(base).suffix or len(Path(base).parts) != 1):
        data["base"] = str(folder / base)
    elif isinstance(base, dict):
        resolve_scenario_files(base, folder)
    if isinstance(design, dict) and isinstance(design.get("file"), str):
        design["file"] = str(folder / design["file"])
