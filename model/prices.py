"""Recorded prices: files of open, high, low and close, checked line by line.

A file has the columns timestamp, open, high, low, close (USD per unit) and, if known, volume; others are passed over. Timestamps are
ISO 8601, UTC unless they say otherwise, and open the period that the row stands for. Either each market has a file of its own, or one
file has them all and a column market.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.errors import ScenarioError, fault

Floats = NDArray[np.float64]

PRICES = ("open", "high", "low", "close")
REQUIRED = ("timestamp", *PRICES)
SHOWN = 20
"""Faults shown of one file; the rest are counted."""


@dataclass(frozen=True, slots=True)
class PriceTable:
    """Prices of D markets over T periods.

    Attributes:
        markets: D names, in the order of the scenario's markets.
        time: (T,) UTC, datetime64[ns], increasing; a period is left out if a file has no row for it.
        open, high, low, close: (D, T) USD.
        hours: length of a period.
        missing: periods between first and last for which at least one market has no row.
    """

    markets: tuple[str, ...]
    time: NDArray[np.datetime64]
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    hours: float
    missing: int


def read_prices(files: Mapping[str | None, str | Path] | Sequence[str | Path], markets: Sequence[str]) -> PriceTable:
    """Read and check price files.

    Args:
        files: path by market name, or a list of `NAME=path`; a path without name (or under None) is the first market's, or all
            markets' if it has a column market.
        markets: names known to the scenario, in order.

    Raises:
        ScenarioError: every fault found, a line each. Markets must cover the same span at the same spacing; inside it, a period that
            one of them lacks is left out for all, and counted in `missing`.
    """
    faults: list[str] = []
    frames: dict[str, tuple[str, pd.DataFrame]] = {}
    named = list(files.items()) if isinstance(files, Mapping) else [named_path(entry) for entry in files]
    if not named:
        raise ScenarioError([fault("prices", None, "files", "none", "at least one file")])
    for name, path in named:
        table = _read(path, faults)
        for market, rows in _by_market(path, name, table, markets, faults) if table is not None else ():
            if market in frames:
                faults.append(fault(path, None, "market", f"{market} again", f"each market once (also in {frames[market][0]})"))
            frames.setdefault(market, (str(path), rows))
    checked = {market: (path, _checked(path, rows, faults)) for market, (path, rows) in frames.items()}
    if not faults:
        _same_span(checked, faults)
    if faults:
        raise ScenarioError(faults)
    return _table({market: checked[market][1] for market in markets if market in checked})


def named_path(entry: str | Path) -> tuple[str | None, str | Path]:
    """`NAME=path` taken apart; what stands before `=` is no name if it reads as part of a path."""
    name, equals, path = str(entry).partition("=")
    return (name, path) if equals and not re.search(r"[/\\.]", name) else (None, entry)


def _read(path: str | Path, faults: list[str]) -> pd.DataFrame | None:
    """The file as text, indexed by line number; None if it cannot be read or lacks columns."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            # Text, blank lines kept: so that a fault can be shown as it stands, in its line.
            table = pd.read_csv(path, dtype=str, keep_default_na=False, skip_blank_lines=False, index_col=False)
    except pd.errors.ParserWarning:
        faults.append(fault(path, 2, "fields", "more than the header has", "a value for each column"))
    except pd.errors.ParserError as error:
        found = re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", str(error))
        expected, line, saw = found.groups() if found else ("comma-separated values", None, "something else")
        faults.append(fault(path, int(line) if line else None, "fields", saw, expected))
    except pd.errors.EmptyDataError:
        faults.append(fault(path, None, "columns", "an empty file", f"columns {', '.join(REQUIRED)}"))
    except UnicodeDecodeError:
        faults.append(fault(path, None, "text", "bytes that are not UTF-8", "a UTF-8 text file"))
    except OSError as error:
        faults.append(fault(path, None, "file", (error.strerror or "an error").lower(), "a readable file"))
    else:
        table = table.fillna("").rename(columns=lambda name: str(name).strip().lower())
        table.index = table.index + 2
        absent = [name for name in REQUIRED if name not in table.columns]
        again = [name for name in REQUIRED if f"{name}.1" in table.columns]  # pandas numbers what stands there again
        if again:
            faults.append(fault(path, 1, "columns", f"{', '.join(again)} again", "each column once"))
        elif not absent:
            return table[(table != "").any(axis=1)]
        else:
            faults.append(fault(path, 1, "columns", ", ".join(table.columns), f"also {', '.join(absent)}"))
    return None


def _by_market(
    path: str | Path, name: str | None, table: pd.DataFrame, markets: Sequence[str], faults: list[str]
) -> list[tuple[str, pd.DataFrame]]:
    """The rows of each known market in one file."""
    known = f"one of {', '.join(markets)}"
    if "market" not in table.columns:
        if name is None:
            return [(markets[0], table)]
        if name in markets:
            return [(name, table)]
        faults.append(fault(path, None, "market", name, known))
        return []
    if name is not None:
        faults.append(fault(path, 1, "columns", f"market in a file given for {name}", "a file of one market, or a path without a name"))
        return []
    groups = table.groupby(table["market"].str.strip(), sort=False)
    for market, rows in groups:
        if market not in markets:
            faults.append(fault(path, rows.index[0], "market", market or "nothing", known))
    return [(str(market), rows) for market, rows in groups if market in markets]


class _Faults:
    """Faults of one market's rows, kept by line."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[tuple[int, str]] = []

    def add(self, bad: "pd.Series[bool]", field: str, shown: "pd.Series[str]", expected: str) -> None:
        """A fault for each row of `bad`, showing what stands there."""
        for line, text in shown[bad].items():
            self.found.append((int(str(line)), fault(self.path, int(str(line)), field, text or "nothing", expected)))

    def lines(self) -> list[str]:
        """In the order of the file, the first few in full."""
        ordered = [text for _, text in sorted(self.found, key=lambda item: item[0])]
        more = len(ordered) - SHOWN
        return ordered[:SHOWN] + ([f"{self.path}: {more} further faults"] if more > 0 else [])


def _checked(path: str, rows: pd.DataFrame, faults: list[str]) -> pd.DataFrame:
    """One market's rows as numbers, indexed by time."""
    if len(rows) < 2:
        faults.append(fault(path, None, "rows", len(rows), "at least 2"))
        return pd.DataFrame()
    found = _Faults(path)
    time = _check_times(rows["timestamp"].str.strip(), found)
    values = _check_values(rows, found)
    faults += found.lines()
    return values.set_index(pd.DatetimeIndex(time))


def _check_times(text: "pd.Series[str]", found: _Faults) -> "pd.Series[pd.Timestamp]":
    """Timestamps must parse, increase, and differ by whole multiples of their most common difference."""
    time = pd.to_datetime(text, errors="coerce", utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
    found.add(time.isna(), "timestamp", text, "ISO 8601, e.g. 2021-04-03T00:00:00")
    if time.isna().any():
        return time
    step = time.diff()
    zero = pd.Timedelta(0)
    found.add(step == zero, "timestamp", text + " again", "each timestamp once")
    found.add(step < zero, "timestamp", text + " after " + text.shift(fill_value=""), "timestamps in increasing order")
    later = step[step > zero]
    if not later.empty:
        spacing = later.mode()[0]
        odd = (step > zero) & (step.div(spacing) % 1 != 0)
        found.add(odd, "timestamp", step.astype(str) + " after the row before", f"a whole multiple of {spacing}")
    return time


def _check_values(rows: pd.DataFrame, found: _Faults) -> pd.DataFrame:
    """Prices must be positive numbers, open and close between low and high."""
    names = [*PRICES, "volume"] if "volume" in rows.columns else list(PRICES)
    values = pd.DataFrame({name: pd.to_numeric(rows[name], errors="coerce") for name in names}).astype(np.float64)
    values = values.where(np.isfinite(values))
    for name in names:
        found.add(values[name].isna(), name, rows[name], "a number")
    for name in PRICES:
        found.add(values[name] <= 0, name, rows[name], "more than 0")
    if "volume" in names:
        found.add(values["volume"] < 0, "volume", rows["volume"], "0 or more")
    prices = values[list(PRICES)]
    sound = (prices > 0).all(axis=1)
    ordered = prices["low"] <= prices["high"]
    found.add(sound & ~ordered, "low", rows["low"] + " above high " + rows["high"], "at most high")
    for name in ("open", "close"):
        outside = ~prices[name].between(prices["low"], prices["high"])
        shown = rows[name] + " outside " + rows["low"] + " to " + rows["high"]
        found.add(sound & ordered & outside, name, shown, "a price from low to high")
    return prices


def _same_span(frames: Mapping[str, tuple[str, pd.DataFrame]], faults: list[str]) -> None:
    """Markets must start, end and be spaced alike."""
    (path, first), *others = frames.values()
    for other, rows in others:
        if (rows.index[0], rows.index[-1]) != (first.index[0], first.index[-1]):
            expected = f"the span of {path}, {_span(first)}" if path != other else f"the span of the first market, {_span(first)}"
            faults.append(fault(other, None, "timestamp", _span(rows), expected))
        elif _spacing(rows) != _spacing(first):
            faults.append(fault(other, None, "timestamp", f"rows {_spacing(rows)} apart", f"{_spacing(first)} as in {path}"))


def _span(rows: pd.DataFrame) -> str:
    return f"{rows.index[0].isoformat()} to {rows.index[-1].isoformat()}"


def _spacing(rows: pd.DataFrame) -> pd.Timedelta:
    spacing: pd.Timedelta = pd.Series(rows.index).diff().mode()[0]
    return spacing


def _table(frames: Mapping[str, pd.DataFrame]) -> PriceTable:
    """Sound markets side by side, over the periods that all of them have."""
    joined = pd.concat(frames, axis=1, join="inner").sort_index()
    time = pd.DatetimeIndex(joined.index)
    spacing = min(_spacing(rows) for rows in frames.values())
    columns = {name: np.ascontiguousarray(joined.xs(name, axis=1, level=1).to_numpy(np.float64).T) for name in PRICES}
    return PriceTable(
        markets=tuple(frames),
        time=time.tz_localize(None).to_numpy(),
        hours=spacing / pd.Timedelta(hours=1),
        missing=int((time[-1] - time[0]) / spacing) + 1 - len(time),
        **columns,
    )
