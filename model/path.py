"""The increments in which a step's prices move."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Path:
    """A step's exogenous index increments, in order, synchronised across markets.

    Attributes:
        dlog: (M, K) log increments.
        hours: (K,) time each stands for, hours; 0 marks a jump. They sum to the step's length.
    """

    dlog: Floats
    hours: Floats

    def with_shock(self, drift: Floats | float, jump: Floats | float, max_move: float = 0.0025) -> "Path":
        """The same path with a log return `drift`, (M,), spread evenly over its time and a log return `jump`, (M,), before it."""
        dlog, hours = self.dlog, self.hours
        drift, jump = np.broadcast_to(drift, dlog.shape[:1]), np.broadcast_to(jump, dlog.shape[:1])
        if drift.any():
            drifted = Path(dlog + drift[:, None] * (hours / hours.sum()), hours)
            cut = subdivide(drifted, max_move)
            dlog, hours = cut.dlog, cut.hours
        if jump.any():
            dlog, hours = np.column_stack((jump, dlog)), np.concatenate(([0.0], hours))
        return Path(dlog, hours)


def subdivide(path: Path, max_move: float) -> Path:
    """The same path with every increment that takes time cut evenly until no market moves by more than `max_move` (log)."""
    largest = np.abs(path.dlog).max(axis=0, initial=0.0)
    largest[path.hours == 0.0] = 0.0
    if largest.size == 0 or largest.max() <= max_move:
        return path
    # The rounding error of a division must not cost a whole further increment.
    pieces = np.maximum(np.ceil(largest / max_move - 1e-9), 1.0).astype(np.int64)
    return Path(np.repeat(path.dlog / pieces, pieces, axis=1), np.repeat(path.hours / pieces, pieces))


def insert_jumps(path: Path, jumps: Sequence[tuple[Floats, float, float]]) -> Path:
    """`path` with each jump (loading (M,), log size, place in [0, 1)) as an increment of its own without duration."""
    if not jumps:
        return path
    ordered = sorted(jumps, key=lambda jump: jump[2])
    places = [int(place * (path.hours.size + 1)) for _, _, place in ordered]
    columns = np.stack([loading * size for loading, size, _ in ordered], axis=1)
    return Path(np.insert(path.dlog, places, columns, axis=1), np.insert(path.hours, places, 0.0))


def ohlc_walk(start: Floats, high: Floats, low: Floats, close: Floats, hours: float) -> Path:
    """(D,) prices of one period as a path that turns where a market reaches an extreme."""
    up, down, end = np.log(high / start), np.log(low / start), np.log(close / start)
    low_first = -down <= up
    levels = np.stack([np.zeros_like(up), np.where(low_first, down, up), np.where(low_first, up, down), end], axis=1)
    length = np.abs(np.diff(levels, axis=1)).cumsum(axis=1)
    total = length[:, -1:]
    length = np.where(total > 0.0, length, [1.0, 2.0, 3.0])
    clock = np.concatenate([np.zeros((len(start), 1)), length / length[:, -1:]], axis=1)
    grid = np.unique(clock)
    walked = np.stack([np.interp(grid, times, level) for times, level in zip(clock, levels, strict=True)])
    return Path(np.diff(walked, axis=1), np.diff(grid) * hours)
