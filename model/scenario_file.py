"""Scenario files: read strictly, every fault told at once with its line, written back so that they read the same.

A file holds what differs from the defaults. `--set` overrides are applied to the resolved scenario, in order, and validated again.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.clearinghouse.presets import expanded, withdrawn
from model.errors import ScenarioError, fault
from model.prices import named_path
from model.scenario import Scenario
from model.scenario_faults import Finding, did_you_mean, known_settings, scenario_schema, settings_at, validate
from model.strict_yaml import Document, Place, dotted, read_scalar, read_yaml, write_yaml

__all__ = [
    "Override",
    "apply",
    "by_line",
    "dump_scenario",
    "in_file",
    "load_scenario",
    "locate",
    "parse_override",
    "read_settings",
    "resolve_scenario_files",
    "scenario_schema",
]


@dataclass(frozen=True, slots=True)
class Override:
    """A value for one place of a scenario.

    Attributes:
        path: names and indices, as written.
        value: what goes there.
        text: how faults call it, e.g. `--set steps=0`.
    """

    path: tuple[str, ...]
    value: Any
    text: str


def parse_override(text: str) -> Override:
    """`a.b.0.c=value` taken apart; the value is read as in a file.

    Raises:
        ScenarioError: no `=`, an empty name, a value that is not YAML.
    """
    label = f"--set {text}"
    path, equals, value = text.partition("=")
    names = tuple(path.strip().split("."))
    if not equals or not all(names):
        raise ScenarioError([fault(label, None, "setting", repr(text), "path=value, such as venues.0.clearinghouse.fund=5e7")])
    document = read_scalar(value, label)
    if document.faults:
        raise ScenarioError(document.faults)
    return Override(names, document.data, label)


def load_scenario(path_or_name: str | Path, overrides: Sequence[str | Override] = (), *, shipped: Path | None = None) -> Scenario:
    """Read, override and validate a scenario.

    Args:
        path_or_name: a file; or a name without suffix, looked up in `shipped`. Price files named in it are relative to its folder.
        overrides: `a.b.0.c=value`, applied in order; paths in them are relative to the working folder. A new `type` of a rule drops the old
            rule's settings.
        shipped: folder of scenarios that have names.

    Raises:
        ScenarioError: every fault of the file or, if the file has none, of the overrides.
    """
    parsed, faults = _parse(overrides)
    path = locate(path_or_name, shipped, "scenario")
    data, lines = _read(path)
    scenario, findings = validate(data)
    if scenario is None or findings:
        raise ScenarioError([*by_line([in_file(path, lines, finding) for finding in findings]), *faults])
    return _overridden(scenario, parsed, faults) if overrides else scenario


def dump_scenario(scenario: Scenario) -> str:
    """The scenario with every setting written out, as YAML that loads back as an equal scenario."""
    return write_yaml(scenario.model_dump(mode="json", by_alias=True))


def _parse(overrides: Sequence[str | Override]) -> tuple[list[Override], list[str]]:
    parsed: list[Override] = []
    faults: list[str] = []
    for entry in overrides:
        try:
            parsed.append(parse_override(entry) if isinstance(entry, str) else entry)
        except ScenarioError as error:
            faults += error.faults
    return parsed, faults


def apply(base: Scenario, overrides: Sequence[Override]) -> Scenario:
    """The scenario with overrides applied, in order, and validated again; a new `type` of a rule drops the old rule's settings.

    Raises:
        ScenarioError: every fault, in the name of the override it is blamed on.
    """
    return _overridden(base, overrides, []) if overrides else base


def locate(path_or_name: str | Path, shipped: Path | None, what: str) -> Path:
    """The file itself, or the shipped one of that name; `what` is what faults call it.

    Raises:
        ScenarioError: no shipped one of that name.
    """
    path = Path(path_or_name)
    if path.suffix or len(path.parts) != 1:
        return path
    known = sorted(file.stem for file in shipped.glob("*.yaml")) if shipped else []
    if shipped is None or path.name not in known:
        expected = f"one of {', '.join(known)}, or a file with a suffix" if known else "a file with a suffix"
        raise ScenarioError([fault(path_or_name, None, what, f"no {what} of that name", expected + did_you_mean(path.name, known))])
    return shipped / f"{path.name}.yaml"


def _read(path: Path) -> tuple[dict[str, Any], dict[Place, int]]:
    """The file's mapping, paths of its files made relative to the working folder, and the line of each value."""
    document = read_settings(path)
    resolve_scenario_files(document.data, path.parent)
    if document.faults:
        findings = validate(document.data)[1]
        raise ScenarioError(by_line([*document.faults, *(in_file(path, document.lines, finding) for finding in findings)]))
    return document.data, document.lines


def read_settings(path: Path) -> Document:
    """A file that holds a mapping of settings; faults of single values are left in the document, to be told with others.

    Raises:
        ScenarioError: a file that cannot be read, or that does not hold a mapping.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise ScenarioError([fault(path, None, "file", (error.strerror or "an error").lower(), "a readable file")]) from None
    except UnicodeDecodeError as error:
        raise ScenarioError([fault(path, None, "file", f"bytes that are not UTF-8 at {error.start}", "UTF-8 text")]) from None
    document = read_yaml(text, str(path))
    if isinstance(document.data, dict):
        return document
    found = {type(None): "nothing", list: "a list"}.get(type(document.data), "a single value")
    raise ScenarioError(document.faults or [fault(path, None, "file", found, "a mapping of settings")])


def resolve_scenario_files(data: dict[str, Any], folder: Path) -> None:
    """Makes the files that a scenario names relative to its folder; what is not a path is left for validation to refuse."""
    _resolve_prices(data, folder)
    _resolve_edges(data, folder)


def _resolve_prices(data: dict[str, Any], folder: Path) -> None:
    """Price files of a replay."""
    news = data.get("news")
    if not isinstance(news, dict) or news.get("type") != "replay":
        return
    files = news.get("files")
    if isinstance(files, dict):
        news["files"] = {name: str(folder / path) if isinstance(path, str) else path for name, path in files.items()}
    elif isinstance(files, list):
        news["files"] = [_beside(folder, entry) if isinstance(entry, str) else entry for entry in files]


def _resolve_edges(data: dict[str, Any], folder: Path) -> None:
    """The file of a given network."""
    network = data.get("network")
    if isinstance(network, dict) and network.get("type") == "edge_list" and isinstance(network.get("file"), str):
        network["file"] = str(folder / network["file"])


def _beside(folder: Path, entry: str) -> str:
    name, path = named_path(entry)
    return str(folder / path) if name is None else f"{name}={folder / path}"


def in_file(path: Path, lines: dict[Place, int], finding: Finding) -> str:
    """A finding with the line of the nearest value that stands in the file."""
    nearest = next((finding.place[:n] for n in range(len(finding.place), -1, -1) if finding.place[:n] in lines), ())
    return fault(path, lines.get(nearest, 1), dotted(finding.place) or "scenario", finding.found, finding.expected)


def by_line(faults: list[str]) -> list[str]:
    """In the order of the file."""
    return sorted(faults, key=lambda text: int(digits) if (digits := text.partition(": ")[0].rpartition(":")[2]).isdigit() else 0)


def _overridden(base: Scenario, overrides: Sequence[Override], faults: list[str]) -> Scenario:
    """The scenario with overrides applied and validated; the base being sound, every fault is an override's."""
    data = base.model_dump(mode="json", by_alias=True)
    placed: list[tuple[Place, str]] = []
    for override in overrides:
        try:
            placed.append((_put(data, override), override.text))
        except ScenarioError as error:
            faults += error.faults
    scenario, findings = validate(data)
    for finding in findings:
        faults.append(fault(_culprit(finding.place, placed), None, dotted(finding.place) or "scenario", finding.found, finding.expected))
    if scenario is None or faults:
        raise ScenarioError(faults)
    return scenario


def _put(data: dict[str, Any], override: Override) -> Place:
    """Sets the value in `data`; the place it went to."""
    here: Any = data
    place: Place = ()
    for at, name in enumerate(override.path):
        step = _step(here, name, place, override, last=at == len(override.path) - 1)
        place = (*place, step)
        if at < len(override.path) - 1:
            here = here[step]
    if place[-1] == "type" and isinstance(here, dict) and here.get("type") != override.value and _of_a_rule(place, data):
        here.clear()  # another rule's settings mean nothing to this one
    if place[-1] == "preset" and isinstance(here, dict):  # what either preset says is for the new one to say
        withdrawn(here, here.get("preset"))
        withdrawn(here, override.value)
        here.update(copy.deepcopy(expanded({**here, "preset": override.value})))
        return place
    here[place[-1]] = copy.deepcopy(override.value)
    return place


def _of_a_rule(place: Place, data: dict[str, Any]) -> bool:
    """Whether a `type` says which member of a family it is, which has settings of its own, and not what kind of one thing."""
    return "enum" not in settings_at(place[:-1], data, scenario_schema()).get("type", {})


def _step(here: Any, name: str, place: Place, override: Override, *, last: bool) -> str | int:
    """One name of a path as a key or index of `here`. A new last name is left for validation to judge."""
    field = dotted((*place, name))
    if isinstance(here, list):
        expected = f"an index from 0 to {len(here) - 1}, as in {dotted((*place, 0))}" if here else "another setting, for the list is empty"
        if not (name.isascii() and name.isdigit() and int(name) < len(here)):
            raise ScenarioError([fault(override.text, None, field, f"{name!r} in a list", expected)])
        return int(name)
    if not isinstance(here, dict):
        raise ScenarioError([fault(override.text, None, field, f"{name!r} in a single value", f"{dotted(place)} itself")])
    if name not in here and not last:
        raise ScenarioError([fault(override.text, None, field, "an unknown setting", known_settings(name, list(here)))])
    return name


def _culprit(place: Place, placed: Sequence[tuple[Place, str]]) -> str:
    """The override to blame for a fault at `place`: the last one above, at or below it, else the last beside it, else the last of all."""
    for where, text in reversed(placed):
        shared = min(len(where), len(place))
        if where[:shared] == place[:shared]:
            return text
    return next((text for where, text in reversed(placed) if where[:-1] == place[:-1]), placed[-1][1])
