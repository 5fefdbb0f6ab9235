"""YAML in which a value means what it looks like, and every value knows its line.

Plain scalars follow the core schema of YAML 1.2.2 (section 10.3): `no`, `on` and `9:30` are text, `1e-4` and `5e3` are numbers. Where the
versions of YAML disagree (`010`), and where a key is given twice, the text is refused rather than guessed at.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, override

import yaml

from model.errors import fault

type Place = tuple[str | int, ...]
"""Keys and indices that lead to a value."""

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = (  # tag, what it looks like, what it may begin with
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "float",
        r"^[-+]?(?:(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+.0123456789"),
    ),
)
_VALUES: Final[dict[str, Callable[[str], Any]]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() == "true",
    "int": lambda text: int(text, 0),
    "float": lambda text: float(re.sub(r"\.(?=inf|nan)", "", text.lower())),
    "str": str,
}


class _Loader(yaml.SafeLoader):
    """Composes nodes; nothing is constructed by it."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 - PyYAML's own class attribute, emptied


class _Dumper(yaml.SafeDumper):
    """Quotes whatever YAML 1.1 or 1.2 would not read as text."""

    @override
    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(_TAG + _tag, re.compile(_pattern), _first)
    _Dumper.add_implicit_resolver(_TAG + _tag, re.compile(_pattern), _first)


_BREAKS = "\r\x85\u2028\u2029"
"""Line breaks that a reader would fold into a space or a newline: written as escapes."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Several lines of text as they stand."""
    foreign = not set(text).isdisjoint(_BREAKS)
    return dumper.represent_scalar(_TAG + "str", text, style='"' if foreign else "|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


@dataclass(frozen=True, slots=True)
class Document:
    """What a text says.

    Attributes:
        data: mappings, lists and scalars.
        lines: line of every value, a mapping's by its key; the text as a whole is `()`.
        faults: a line each; `data` then holds what could be read.
    """

    data: Any
    lines: dict[Place, int]
    faults: list[str]


def read_yaml(text: str, file: str) -> Document:
    """Read one YAML document; `file` is what faults call it. Never raises: what is wrong is in `faults`."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else None
        return Document(None, {}, [fault(file, line, "YAML", *_found_and_expected(error.problem))])
    except yaml.reader.ReaderError as error:
        return Document(None, {}, [fault(file, None, "YAML", f"character {error.character!r} at {error.position}", "printable text")])
    except RecursionError:
        return Document(None, {}, [fault(file, None, "YAML", "lists or mappings hundreds deep", "a few levels")])
    if node is None:
        return Document(None, {}, [])
    builder = _Builder(file)
    return Document(builder.build(node, (), ()), builder.lines, builder.faults)


def read_scalar(text: str, file: str) -> Document:
    """Read a value given on a command line: a scalar, or a list or mapping on one line."""
    document = read_yaml(text, file)
    return Document(document.data, {}, [re.sub(rf"^{re.escape(file)}:\d+", lambda _: file, line) for line in document.faults])


def write_yaml(data: Any) -> str:
    """Text that `read_yaml` reads back as `data`."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def dotted(place: Place) -> str:
    """`venues.0.name`."""
    return ".".join(map(str, place))


@dataclass(slots=True)
class _Builder:
    """Turns nodes into values and keeps lines and faults."""

    file: str
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def build(self, node: yaml.Node, place: Place, within: tuple[yaml.Node, ...]) -> Any:
        self.lines.setdefault(place, node.start_mark.line + 1)
        if any(node is parent for parent in within):
            self.refuse(node, place, "an alias to what contains it", "a value of its own")
            return None
        inside = (*within, node)
        if isinstance(node, yaml.SequenceNode):
            return [self.build(item, (*place, at), inside) for at, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, place, inside)
        return self.scalar(node, place)

    def mapping(self, node: yaml.MappingNode, place: Place, within: tuple[yaml.Node, ...]) -> dict[str, Any]:
        """A repeated key is refused; the first stands."""
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self.scalar(key_node, place) if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                self.refuse(key_node, place, f"key {getattr(key_node, 'value', '')!r}", "a name, or a name in quotes")
                continue
            here = (*place, key)
            if key in out:
                self.refuse(key_node, here, f"it a second time (first in line {self.lines[here]})", "each setting once")
                continue
            self.lines[here] = key_node.start_mark.line + 1
            out[key] = self.build(value_node, here, within)
        return out

    def scalar(self, node: yaml.Node, place: Place) -> Any:
        kind = node.tag.removeprefix(_TAG)
        if kind not in _VALUES or (kind == "bool" and node.value.lower() not in ("true", "false")):
            self.refuse(node, place, f"tag {node.tag}", "a plain value")
            return None
        try:
            return _VALUES[kind](node.value)
        except ValueError:
            clean = re.fullmatch(r"([-+]?)0+(\d+)", node.value)
            self.refuse(
                node, place, node.value[:40], f"{clean[1]}{clean[2]}, without leading zeros, or text in quotes" if clean else "a number"
            )
            return int(clean[1] + clean[2]) if clean and len(clean[2]) < 19 else None

    def refuse(self, node: yaml.Node, place: Place, found: str, expected: str) -> None:
        self.faults.append(fault(self.file, node.start_mark.line + 1, dotted(place) or "file", found, expected))


def _found_and_expected(problem: str | None) -> tuple[str, str]:
    """What PyYAML says is wrong, on one line."""
    text = " ".join((problem or "a fault").split())
    both = re.fullmatch(r"expected (.+), but (?:got|found) (.+)", text)
    return (both[2], both[1]) if both else (re.sub(r"^(but )?found ", "", text), "a well-formed document")
