"""What is wrong with a study beyond its single values: names, paths, and the scenarios it would run.

Each part is judged as far as it is sound itself, so that a file with a dozen faults gets a dozen lines at once.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from experiments import shipped
from experiments.designs import table
from experiments.provenance import scenario_files
from experiments.study import (
    DUMMY,
    REST,
    Analysis,
    Composition,
    Design,
    Factor,
    Factorial,
    Morris,
    Opening,
    Output,
    Paired,
    Prim,
    Saltelli,
    Settings,
    Table,
    overrides,
)
from model.errors import ScenarioError, fault
from model.observables import declared
from model.scenario import Scenario
from model.scenario_faults import Finding, did_you_mean
from model.scenario_file import Override, apply, in_file
from model.strict_yaml import Place

RESERVED: Final = ("run_id", "point", "arm", "replication", "seed", "status", "error", DUMMY)
"""Columns that plan and summary have anyway."""
CORNERS: Final = 512
"""More combinations of extremes than these are not all tried; the plan tries every point in any case."""
ADDING: Final = ("sum", "mean", "last")
"""Ways to take outputs over steps in which parts add up to their whole."""
WANTS: Final = {"sobol": Saltelli, "morris": Morris}
"""Analyses that need a design of their own."""


def inconsistencies(data: Mapping[str, Any], findings: Sequence[Finding], path: Path, lines: dict[Place, int]) -> list[str]:
    """Faults of a study file beyond those that validation has found.

    Args:
        data: the file's mapping.
        findings: what validation has found in it; what they lie in is not judged again.
        path, lines: the file, and the line of every value in it.
    """
    parts = _Parts.of(data, findings)

    def where(place: Place) -> str:
        nearest = next((place[:n] for n in range(len(place), -1, -1) if place[:n] in lines), ())
        return f"{path}:{lines.get(nearest, 1)}"

    named = [in_file(path, lines, finding) for finding in _names(parts)]
    return [*named, *_points(parts), *_worlds(parts, where)]


@dataclass(slots=True)
class _Parts:
    """What is sound in a study, by its place in the file."""

    data: Mapping[str, Any]
    base: Scenario | str | None = None
    design: Any = None
    set: Settings = field(default_factory=dict)
    arms: dict[str, Settings] = field(default_factory=dict)
    factors: dict[int, Factor] = field(default_factory=dict)
    outputs: dict[int, Output] = field(default_factory=dict)
    analyses: dict[int, Any] = field(default_factory=dict)
    steps: int | None = None
    burn_in: int = 0
    whole: frozenset[str] = frozenset()

    @classmethod
    def of(cls, data: Mapping[str, Any], findings: Sequence[Finding]) -> "_Parts":
        broken = {finding.place[:2] for finding in findings}
        faulty = {place[0] for place in broken if place}

        def sound(key: str, default: Any) -> Any:
            return default if key in faulty else data.get(key, default)

        def entries(key: str, kind: Any) -> dict[int, Any]:
            found = data.get(key)
            if not isinstance(found, list) or (key,) in broken:
                return {}
            adapter = TypeAdapter[Any](kind)
            return {at: adapter.validate_python(entry) for at, entry in enumerate(found) if (key, at) not in broken}

        base = sound("base", None)
        design = sound("design", None)
        arms = data.get("arms", {"base": {}})
        return cls(
            data=data,
            base=Scenario.model_validate(base) if isinstance(base, dict) else base,
            design=None if design is None else TypeAdapter[Any](Design).validate_python(design),
            set=sound("set", {}),
            arms={name: arm for name, arm in arms.items() if ("arms", name) not in broken} if isinstance(arms, dict) else {},
            factors=entries("factors", Factor),
            outputs=entries("outputs", Output),
            analyses=entries("analyses", Analysis),
            steps=sound("steps", None),
            burn_in=sound("burn_in", 0),
            whole=frozenset(data.keys() - faulty),
        )


# -- names ------------------------------------------------------------------------------------------------------------------------------


def _names(parts: _Parts) -> Iterator[Finding]:
    yield from _columns(parts)
    yield from _paths(parts)
    if isinstance(parts.design, Factorial) and "factors" in parts.whole:
        yield from _levels(parts.design, list(parts.factors.values()))
    for at, analysis in parts.analyses.items():
        yield from _analysis(("analyses", at), analysis, parts)
    if parts.steps is not None and "steps" in parts.set:
        yield Finding(("steps",), "it beside set.steps", "one of them")


def _columns(parts: _Parts) -> Iterator[Finding]:
    """A column's name stands for one thing."""
    taken = dict.fromkeys(RESERVED, "a column of the plan")
    for key, entries in (("factors", parts.factors), ("outputs", parts.outputs)):
        for at, entry in entries.items():
            if entry.name in taken:
                yield Finding((key, at, "name"), repr(entry.name), f"a name of its own ({entry.name} is {taken[entry.name]})")
            taken.setdefault(entry.name, f"{key}.{at}")


def _paths(parts: _Parts) -> Iterator[Finding]:
    """A factor overwrites neither another factor, nor what distinguishes an arm, nor what `set` states."""
    seen: dict[tuple[str, ...], str] = {}
    for at, factor in parts.factors.items():
        steps = tuple(factor.path.split("."))
        for other, name in seen.items():
            if _within(steps, other) or _within(other, steps):
                yield Finding(("factors", at, "path"), factor.path, f"a setting that factor {name} does not vary")
        seen[steps] = factor.name
        hidden = [path for path in parts.set if _within(tuple(path.split(".")), steps)]
        if hidden:
            yield Finding(("factors", at, "path"), factor.path, f"a setting that `set` does not set ({hidden[0]})")
        for arm, settings in parts.arms.items():
            hidden = [path for path in settings if _within(tuple(path.split(".")), steps)]
            if hidden:
                yield Finding(("factors", at, "path"), factor.path, f"a setting that arm {arm} does not set ({hidden[0]})")


def _within(inner: tuple[str, ...], outer: tuple[str, ...]) -> bool:
    return inner[: len(outer)] == outer


def _levels(design: Factorial, factors: Sequence[Factor]) -> Iterator[Finding]:
    """Every factor with a range has a number of levels, and a whole-numbered one no more than it has values."""
    ranged = {factor.name: factor for factor in factors if factor.scale != "choice"}
    levels = design.levels if isinstance(design.levels, dict) else dict.fromkeys(ranged, design.levels)
    for name in levels.keys() - ranged.keys():
        yield Finding(("design", "levels", name), "an unknown factor", _one_of(name, list(ranged), "a factor that has a range"))
    for name in ranged.keys() - levels.keys():
        yield Finding(("design", "levels", name), "nothing", "a number of levels for each factor that has a range")
    for name, factor in ranged.items():
        if factor.scale == "integer" and name in levels:
            low, high = factor.range
            if levels[name] > high - low + 1:
                yield Finding(("design", "levels"), f"{levels[name]} levels of {name}", f"at most {high - low + 1:.0f}, its whole numbers")


def _analysis(place: Place, analysis: Any, parts: _Parts) -> Iterator[Finding]:
    design = WANTS.get(analysis.type)
    if design is not None and parts.design is not None and not isinstance(parts.design, design):
        wanted = design.__name__.lower()
        yield Finding((*place, "type"), f"{analysis.type} with design {parts.design.type}", f"design {wanted}")
    if isinstance(analysis, Paired):
        arms = list(parts.data.get("arms") or parts.arms)
        if analysis.against not in arms:
            yield Finding((*place, "against"), repr(analysis.against), _one_of(analysis.against, arms, "an arm"))
        elif len(arms) < 2:
            yield Finding((*place, "against"), "a single arm", "at least 2 arms")
    if isinstance(analysis, Opening) and analysis.lever is not None and "factors" in parts.whole:
        known = [factor.name for factor in parts.factors.values()]
        if analysis.lever not in known:
            yield Finding((*place, "lever"), repr(analysis.lever), _one_of(analysis.lever, known, "a factor"))
    if isinstance(analysis, Composition) and "outputs" in parts.whole:
        yield from _composition(place, analysis, parts)
    if isinstance(analysis, Prim) and "outputs" in parts.whole:
        known = [output.name for output in parts.outputs.values()]
        if analysis.output not in known:
            yield Finding((*place, "output"), repr(analysis.output), _one_of(analysis.output, known, "an output"))


def _composition(place: Place, analysis: Composition, parts: _Parts) -> Iterator[Finding]:
    """Parts add up to a whole if each is told once, and taken over the steps in a way that adds up."""
    outputs = {output.name: output for output in parts.outputs.values()}
    told: set[str] = set()
    named = {(*place, "whole"): analysis.whole, **{(*place, "parts", at): name for at, name in enumerate(analysis.parts)}}
    for where, name in named.items():
        if name not in outputs:
            yield Finding(where, repr(name), _one_of(name, list(outputs), "an output"))
        elif name in told:
            yield Finding(where, f"{name} again", "the whole and each part once")
        elif name == REST:
            yield Finding(where, repr(name), f"an output of another name ({REST} is what the parts leave of the whole)")
        elif outputs[name].over not in ADDING:
            yield Finding(where, f"{name} over {outputs[name].over}", f"an output over {', '.join(ADDING)}: others do not add up")
        told.add(name)
    others = [other for at, other in parts.analyses.items() if ("analyses", at) < place and isinstance(other, Composition)]
    if analysis.name in {other.name for other in others}:
        yield Finding((*place, "name"), f"{analysis.name} again", "another name for each composition")


def _one_of(name: str, known: Sequence[str], what: str) -> str:
    return f"{what}: {', '.join(known)}{did_you_mean(name, known)}" if known else what


# -- points -----------------------------------------------------------------------------------------------------------------------------


def _points(parts: _Parts) -> list[str]:
    """Faults of a table of points, as far as the factors that it is judged by are sound."""
    names = [factor.name for factor in parts.factors.values()]
    if not isinstance(parts.design, Table) or len(set(names)) < len(names):
        return []
    try:
        table(Path(parts.design.file), list(parts.factors.values()), others="factors" not in parts.whole)
    except ScenarioError as error:
        return error.faults
    return []


# -- scenarios --------------------------------------------------------------------------------------------------------------------------


def _worlds(parts: _Parts, where: Callable[[Place], str]) -> list[str]:
    """Faults of the scenarios that the study describes: the base, its arms, and the corners of the factors' ranges."""
    if parts.base is None:
        return []
    try:
        base = shipped.load(parts.base) if isinstance(parts.base, str) else parts.base
    except ScenarioError as error:
        return [f"{where(('base',))}: base: {line}" for line in error.faults]
    faults: list[str] = []
    length = {} if parts.steps is None else {"steps": parts.steps}
    common = [*overrides(parts.set, lambda path: where(("set", path))), *overrides(length, lambda path: where((path,)))]
    world = _grown(base, common, base, faults)
    arms = {
        name: _grown(world, overrides(arm, lambda path, name=name: where(("arms", name, path))), base, faults)
        for name, arm in parts.arms.items()
    }
    faults += _undeclared(parts, where, world, arms)
    if parts.burn_in >= world.steps:
        faults.append(fault(where(("burn_in",)), None, "burn_in", parts.burn_in, f"less than the {world.steps} steps of a run"))
    sound = [(f, where(("factors", at, "path"))) for at, f in parts.factors.items() if _alone(f, where, at, list(arms.values()), faults)]
    return list(dict.fromkeys([*faults, *_corners(list(arms.values()), sound)]))


def _undeclared(parts: _Parts, where: Callable[[Place], str], world: Scenario, arms: Mapping[str, Scenario]) -> Iterator[str]:
    """Outputs that the base, or an arm, does not have: some come with pools, options, a token or a vault."""
    told = {name: [output.name for output in declared(one)] for name, one in [("", world), *arms.items()]}
    for at, output in parts.outputs.items():
        lacks = [name for name, known in told.items() if output.of not in known]
        if lacks:
            expected = (
                f"an output of every arm (not of `{lacks[0]}`)" if lacks[0] else f"a declared output{did_you_mean(output.of, told[''])}"
            )
            yield fault(where(("outputs", at, "of")), None, f"outputs.{at}.of", repr(output.of), expected)


def _grown(world: Scenario, settings: Sequence[Override], base: Scenario, faults: list[str]) -> Scenario:
    """The world with settings applied; if some are faulty, with those that are sound, so that what builds on them can be judged."""
    try:
        grown = apply(world, settings)
    except ScenarioError as error:
        faults += error.faults
        for setting in settings:
            try:
                world = apply(world, [setting])
            except ScenarioError:
                continue
        return world
    added = set(scenario_files(grown)) - set(scenario_files(base))
    if added:
        named = ", ".join(sorted(path.name for path in added))
        faults.append(fault(settings[-1].text, None, "files", named, "price and network files in the base scenario only"))
    return grown


def _alone(factor: Factor, where: Callable[[Place], str], at: int, arms: Sequence[Scenario], faults: list[str]) -> bool:
    """Whether each extreme of a factor can be set, everything else being as it is."""
    before = len(faults)
    for value in factor.ends():
        blamed = _blamed(factor, value)
        label = where(("factors", at, blamed))
        for world in arms:
            try:
                apply(world, overrides({factor.path: factor.setting(value)}, lambda _path, label=label: label))
            except ScenarioError as error:
                faults += error.faults
                break
    return len(faults) == before


def _blamed(factor: Factor, value: Any) -> str:
    """The field of a factor that holds a value."""
    if factor.scale == "choice":
        return "values"
    return "low" if value == factor.ends()[0] else "high"


def _corners(arms: Sequence[Scenario], factors: Sequence[tuple[Factor, str]]) -> list[str]:
    """Faults of combinations of extremes, each told once a pair of line and field."""
    faults: dict[str, str] = {}
    for world in arms:
        corners = itertools.product(*(factor.ends() for factor, _ in factors))
        for corner in itertools.islice(corners, CORNERS):
            settings = [
                Override(tuple(factor.path.split(".")), factor.setting(value), label)
                for (factor, label), value in zip(factors, corner, strict=True)
            ]
            try:
                apply(world, settings)
            except ScenarioError as error:
                for line in error.faults:
                    faults.setdefault(line.partition(": found")[0], line)
    return list(faults.values())
