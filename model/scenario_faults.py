"""What validation found in a scenario or another settings file, in words: place, found, expected."""

import difflib
import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from agents.families import MISFIT
from model.scenario import Scenario
from model.strict_yaml import Place

_EXPECTED: Final = {  # by pydantic's type of error; others carry their own words
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "greater_than": "more than {gt:g}",
    "greater_than_equal": "at least {ge:g}",
    "less_than": "less than {lt:g}",
    "less_than_equal": "at most {le:g}",
    "literal_error": "{expected}",
    "string_pattern_mismatch": "text that matches {pattern}",
    "string_too_short": "at least {min_length} character(s)",
    "too_short": "at least {min_length} item(s)",
    "too_long": "at most {max_length} item(s)",
}
_WRONG_KIND: Final = re.compile(r"^(int|float|bool)_(type|parsing|from_float)$")
_OTHER_SHAPE: Final = re.compile(r"_type$|^literal_error$")


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault: where, what was found there and what was expected."""

    place: Place
    found: str
    expected: str


def validate(data: dict[str, Any]) -> tuple[Scenario | None, list[Finding]]:
    """A scenario from plain data, or everything that is wrong with it; see `validate_as`."""
    return validate_as(Scenario, data)


def validate_as[M: BaseModel](kind: type[M], data: dict[str, Any]) -> tuple[M | None, list[Finding]]:
    """Settings of one kind from plain data, or everything that is wrong with them.

    Text is never taken for a number or a truth value, nor a truth value for a number, as pydantic would by default.
    """
    sound, errors = _attempt(kind, data)
    known = {_place(error, data) for error in errors}
    # Rules validate their own settings, out of reach of pydantic's strict mode: values that it would convert are disguised instead.
    errors += [e for e in _attempt(kind, _disguised(data))[1] if _WRONG_KIND.match(e["type"]) and _place(e, data) not in known]
    deeper = {_place(error, data)[:n] for error in errors for n in range(len(_place(error, data)))}
    found: dict[Place, Finding] = {}
    for error in errors:
        if _OTHER_SHAPE.search(error["type"]) and _place(error, data) in deeper:
            continue  # a member of a union that it was not meant for: another one says what is wrong inside
        if error["type"] == "too_short" and len(error["input"]) >= error["ctx"]["min_length"]:
            continue  # its items are faulty, and are told of
        finding = _finding(error, data, schema_of(kind))
        same = found.get(finding.place)
        if same is None:
            found[finding.place] = finding
        elif finding.expected not in same.expected.split(" or "):  # members of a union
            found[finding.place] = Finding(same.place, same.found, f"{same.expected} or {finding.expected}")
    return (None if found else sound), list(found.values())


def scenario_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a scenario file."""
    return schema_of(Scenario)


@cache
def schema_of(kind: type[BaseModel]) -> dict[str, Any]:
    """JSON Schema (2020-12) of a file of settings of one kind."""
    schema = kind.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": f"Backstop {kind.__name__.lower()}"}


def settings_at(place: Place, data: Any, root: dict[str, Any]) -> dict[str, Any]:
    """JSON Schema of each setting that the mapping at `place` of `data` may have, by name; empty if it may have any.

    `root` is the schema of all of `data`.
    """
    schema = _chosen(root, data, root)
    for step in place:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            data = None
        schema = schema.get("items", {}) if isinstance(step, int) else schema.get("properties", {}).get(step, {})
        schema = _chosen(schema, data, root)
    settings: dict[str, Any] = schema.get("properties", {})
    return settings


def _chosen(schema: dict[str, Any], data: Any, root: dict[str, Any]) -> dict[str, Any]:
    """References followed; of alternatives, the one that `data` names by its `type`, else the only mapping among them if it is one."""
    if "$ref" in schema:
        return _chosen(root["$defs"][schema["$ref"].rpartition("/")[2]], data, root)
    if not isinstance(data, dict):
        return schema
    options = [_chosen(option, None, root) for option in (*schema.get("anyOf", ()), *schema.get("oneOf", ()))]
    mappings = [option for option in options if "properties" in option]
    for option in mappings:
        if option["properties"].get("type", {}).get("const", "") == data.get("type"):
            return option
    return mappings[0] if len(mappings) == 1 else schema


def _attempt[M: BaseModel](kind: type[M], data: Any) -> tuple[M | None, list[ErrorDetails]]:
    try:
        return kind.model_validate(data), []
    except ValidationError as error:
        return None, error.errors(include_url=False)


def _disguised(data: Any) -> Any:
    """Truth values as text, and text that reads as a number or a truth value as text that does not."""
    match data:
        case dict():
            return {key: _disguised(value) for key, value in data.items()}
        case list():
            return [_disguised(value) for value in data]
        case bool():
            return str(data).lower()
        case str() if _convertible(data):
            return data + "\N{WORD JOINER}"
        case _:
            return data


def _convertible(text: str) -> bool:
    if text.strip().lower() in {"f", "n", "no", "off", "on", "t", "y", "yes", "true", "false"}:
        return True
    try:
        return math.isfinite(float(text)) or True
    except ValueError:
        return False


def _place(error: ErrorDetails, data: Any) -> Place:
    """Where in the data an error lies; names of a union's members are left out of its location."""
    place: Place = ()
    here: Any = data
    steps = error["loc"]
    for at, step in enumerate(steps):
        inside = (isinstance(here, dict) and step in here) or (isinstance(here, list) and isinstance(step, int) and step < len(here))
        if inside:
            here = here[step]
            place = (*place, step)
        elif error["type"] == MISFIT:  # where the setting would be that is not given, or what would hold the list that is not
            missing = itertools.takewhile(lambda name: isinstance(name, str), steps[at:])
            return (*place, *missing) if isinstance(here, dict) else place
        elif at == len(steps) - 1 and isinstance(here, dict) and re.fullmatch(r"\w+", str(step)) and error["type"] != "value_error":
            place = (*place, step)
    return place


def _value(place: Place, data: Any) -> Any:
    for step in place:
        data = data[step]
    return data


def _finding(error: ErrorDetails, data: dict[str, Any], schema: dict[str, Any]) -> Finding:
    place, kind = _place(error, data), error["type"]
    if kind == MISFIT:
        return Finding(place, **error["ctx"])
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_kind(error, place)
    if kind == "missing" or (error["input"] is None and kind == "rule"):
        about = settings_at(place[:-1], data, schema).get(str(place[-1]), {}).get("description")
        expected = error["msg"].removeprefix("expected ") if kind == "rule" else (f"a value: {about}" if about else "a value")
        return Finding(place, "nothing", expected)
    if kind == "extra_forbidden":
        return Finding(place, "an unknown setting", known_settings(str(place[-1]), list(settings_at(place[:-1], data, schema))))
    shown = _shown(error["input"] if error["loc"][-1:] == ("[key]",) else _value(place, data))
    if kind in _EXPECTED:
        return Finding(place, shown, _EXPECTED[kind].format(**error.get("ctx", {})))
    said = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    before, says, after = said.partition("expected ")
    before = before.removeprefix("found ").rstrip(":, ")
    return Finding(place, before or shown, after) if says else Finding(place, shown, said)


def _unknown_kind(error: ErrorDetails, place: Place) -> Finding:
    """A mapping whose `type` is missing or is none of those there are."""
    context = error.get("ctx", {})
    if "expected_tags" not in context:
        return Finding((*place, "type"), "nothing", "a type")
    known = [tag.strip("' ") for tag in context["expected_tags"].split(",")]
    return Finding((*place, "type"), repr(context["tag"]), f"one of {', '.join(known)}{did_you_mean(context['tag'], known)}")


def did_you_mean(name: str, known: Sequence[str]) -> str:
    """`; did you mean …?`, or nothing if nothing is close."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""


def known_settings(name: str, known: Sequence[str]) -> str:
    """What was expected where `name` is unknown."""
    meant = did_you_mean(name, known)
    return f"a known one{meant}" if meant or not known else f"one of {', '.join(known)}"


def _shown(value: Any) -> str:
    """A value as a person would write it, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return str(value).lower()
        case str():
            return repr(value) if len(value) <= 40 else repr(value[:37] + "…")
        case dict():
            return "a mapping"
        case list():
            return f"a list of {len(value)}"
        case _:
            return f"{value}"[:40]
