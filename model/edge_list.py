"""A network of one's own: a list of debts from a CSV or GraphML file, checked line by line.

A debt runs from `source`, who owes, to `target`, who is owed, and has an `amount`. A CSV file has these three columns, others are passed
over; a GraphML file has the amount as an attribute of its edges. Nodes are named as in a run's tables: `lender 1`, `maker 1`,
`liquidator 1`.
"""

import csv
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Final, NamedTuple, override
from xml import sax

from model.errors import ScenarioError, fault

COLUMNS: Final = ("source", "target", "amount")
SHOWN: Final = 20
"""Faults shown of one file; the rest are counted."""


class Debt(NamedTuple):
    """What `source` owes `target`; `amount` in any unit, the same for all."""

    source: str
    target: str
    amount: float


class _Row(NamedTuple):
    """A debt as it is written, and where."""

    line: int
    source: str
    target: str
    amount: str


def read_edges(path: str | Path, debtors: Container[str], creditors: Container[str]) -> list[Debt]:
    """The debts of a file, in order.

    Args:
        path: a file that ends in `.csv` or `.graphml`.
        debtors, creditors: names that may owe, and that may be owed.

    Raises:
        ScenarioError: every fault found, a line each.
    """
    file = Path(path)
    readers = {".csv": _csv_rows, ".graphml": _graphml_rows}
    if file.suffix.lower() not in readers:
        raise ScenarioError([fault(path, None, "file", file.suffix or "no suffix", "a file that ends in .csv or .graphml")])
    try:
        rows = list(readers[file.suffix.lower()](file))
    except OSError as error:
        raise ScenarioError([fault(path, None, "file", (error.strerror or "an error").lower(), "a readable file")]) from None
    except UnicodeDecodeError as error:
        raise ScenarioError([fault(path, None, "file", f"bytes that are not UTF-8 at {error.start}", "UTF-8 text")]) from None
    faults: list[str] = []
    seen: dict[tuple[str, str], int] = {}
    debts = []
    for row in rows:
        faults += _faults(path, row, debtors, creditors)
        if first := seen.get((row.source, row.target)):
            faults.append(fault(path, row.line, "target", f"{row.source} to {row.target} again", f"each pair once (also in line {first})"))
        seen.setdefault((row.source, row.target), row.line)
        if not faults:
            debts.append(Debt(row.source, row.target, float(row.amount)))
    if not rows:
        faults.append(fault(path, None, "edges", "none", "at least one debt"))
    if faults:
        more = [f"{path}: {len(faults) - SHOWN} more faults"] if len(faults) > SHOWN else []
        raise ScenarioError([*faults[:SHOWN], *more])
    return debts


def _faults(path: str | Path, row: _Row, debtors: Container[str], creditors: Container[str]) -> Iterator[str]:
    """What is wrong with one row."""
    for field, name, known, who in (
        ("source", row.source, debtors, "a lender, maker or liquidator of the scenario, as in `lender 1`"),
        ("target", row.target, creditors, "a lender of the scenario, as in `lender 1`"),
    ):
        if name not in known:
            yield fault(path, row.line, field, name or "nothing", who)
    if row.source == row.target:
        yield fault(path, row.line, "target", row.target, "somebody else than its source")
    try:
        amount = float(row.amount)
    except ValueError:
        amount = float("nan")
    if not 0.0 < amount < float("inf"):
        yield fault(path, row.line, "amount", row.amount or "nothing", "a finite number above 0")


def _csv_rows(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8-sig", newline="") as text:
        reader = csv.DictReader(text, restval="")
        header = [name.strip().lower() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        missing = [name for name in COLUMNS if name not in header]
        if missing:
            raise ScenarioError([fault(path, 1, "header", ", ".join(header) or "nothing", f"columns {', '.join(COLUMNS)}")])
        for row in reader:
            yield _Row(reader.line_num, *(row[name].strip() for name in COLUMNS))


class _Edges(sax.ContentHandler):
    """Collects a GraphML file's edges with the lines they start in; `amount` is found by the name that its key declares."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[_Row] = []
        self.amount_keys: set[str] = set()
        self.line = 0
        self.reading = False

    @override
    def setDocumentLocator(self, locator: "sax.xmlreader.Locator") -> None:
        super().setDocumentLocator(locator)
        self.locator = locator

    @override
    def startElement(self, name: str, attrs: "sax.xmlreader.AttributesImpl") -> None:
        if name == "key" and attrs.get("for", "edge") in {"edge", "all"} and attrs.get("attr.name") == "amount":
            self.amount_keys.add(attrs.get("id", ""))
        elif name == "edge":
            self.rows.append(_Row(self.locator.getLineNumber() or 0, attrs.get("source", ""), attrs.get("target", ""), ""))
        self.reading = name == "data" and bool(self.rows) and attrs.get("key") in self.amount_keys

    @override
    def characters(self, content: str) -> None:
        if self.reading:
            self.rows[-1] = self.rows[-1]._replace(amount=(self.rows[-1].amount + content).strip())

    @override
    def endElement(self, name: str) -> None:
        self.reading = False


def _graphml_rows(path: Path) -> list[_Row]:
    edges = _Edges()
    try:
        with path.open("rb") as content:
            sax.parse(content, edges)  # noqa: S317 - expat bounds expansion, and external entities are off
    except sax.SAXParseException as error:
        raise ScenarioError([fault(path, error.getLineNumber(), "file", error.getMessage(), "well-formed GraphML")]) from None
    return edges.rows
