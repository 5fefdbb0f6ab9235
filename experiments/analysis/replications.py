"""What replications say at each point and arm: means and tails, paired differences between arms, and how intervals narrow."""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from experiments.analysis.blocks import Floats, Measure, usable
from experiments.analysis.intervals import Interval, bootstrap, paired_probabilities, stream, wilson

TAILS: Final = (0.95, 0.99)
LEAST: Final = 4
"""Replications below which an interval's width is not worth drawing."""
BEYOND: Final = 5
"""Values that must lie beyond a quantile before the mean of what lies there is told."""


def means(table: pd.DataFrame, measures: Sequence[Measure], factors: Sequence[str], seed: int) -> pd.DataFrame:
    """Mean of each output at each point and arm, with its interval; the mean of a 0/1 output is a probability.

    A point with an unusable run has counts and no mean: `n` of `runs` were usable.

    Returns:
        One row a point, arm and output: `point`, `arm`, the factors, `output`, `unit`, `runs`, `n`, `mean`, `sd`, `low`, `high`,
        `interval`.
    """
    rows = []
    for where, group in _cells(table, factors):
        for measure in measures:
            values = _values(group, measure)
            said = {"output": measure.name, "unit": measure.unit, "runs": len(group), "n": values.size}
            rows.append({**where, **said, **_estimate(values, len(group), measure, seed, where)})
    return pd.DataFrame(rows)


def tails(table: pd.DataFrame, measures: Sequence[Measure], factors: Sequence[str], seed: int) -> pd.DataFrame:
    """Quantile and expected shortfall (mean of the worst part) of each output at each point and arm: large values are the bad ones.

    A level is told only where `BEYOND` values lie beyond it: 95 % takes 100 replications, 99 % takes 500. Intervals of expected shortfall
    by BCa bootstrap.

    Returns:
        Columns of `means`, with `level`, `quantile` and `expected_shortfall` for `mean` and `sd`.
    """
    rows = []
    for where, group in _cells(table, factors):
        for measure in (m for m in measures if not m.binary):
            values = _values(group, measure)
            said = {**where, "output": measure.name, "unit": measure.unit, "n": values.size}
            told = [level for level in TAILS if values.size == len(group) and worst(values.size, level) >= BEYOND]
            rows += [{**said, **_tail(values, level, seed, where, measure)} for level in told]
    names = ["point", "arm", *factors, "output", "unit", "n", "level", "quantile", "expected_shortfall", "low", "high", "interval"]
    return pd.DataFrame(rows, columns=names)


def paired(table: pd.DataFrame, measures: Sequence[Measure], factors: Sequence[str], against: str, seed: int) -> pd.DataFrame:
    """Each arm less the arm `against`, replication by replication under the same draws.

    Returns:
        One row a point, other arm and output: as `means`, `difference` for `mean`, and `narrowing`: by what factor common draws have
        lowered the variance of the difference, against independent draws (not a number where the differences do not vary).

    Raises:
        ValueError: no such arm.
    """
    if against not in set(table["arm"]):
        raise ValueError(f"paired: against: found {against!r}, expected one of {', '.join(sorted(set(table['arm'])))}")
    rows: list[dict[str, Any]] = []
    base = table[table["arm"] == against].set_index(["point", "replication"])
    for where, group in _cells(table[table["arm"] != against], factors):
        one = group.set_index(["point", "replication"])
        other = base.reindex(one.index)
        for measure in measures:
            both = usable(one, measure.name) & usable(other, measure.name)
            a, b = (side.loc[both, measure.name].to_numpy(dtype=float) for side in (one, other))
            said = {"against": against, "output": measure.name, "unit": measure.unit, "runs": len(one), "n": a.size}
            rows.append({**where, **said, **_difference(a, b, len(one), measure, seed, where)})
    return pd.DataFrame(rows)


def convergence(table: pd.DataFrame, measures: Sequence[Measure], factors: Sequence[str], seed: int) -> pd.DataFrame:
    """Mean and interval from the first N/8, N/4, N/2 and N replications of each point and arm.

    Returns:
        Rows of `means` for each `n`, with `half_width`: half the interval's width.
    """
    found = int(table["replication"].nunique())
    rows = []
    for count in sorted({count for part in (8, 4, 2, 1) if (count := found // part) >= LEAST}):
        first = table[table.groupby(["point", "arm"], sort=False)["replication"].rank(method="first") <= count]
        rows.append(means(first, measures, factors, seed))
    if not rows:
        return means(table, measures, factors, seed).iloc[:0].assign(half_width=[])
    out = pd.concat(rows, ignore_index=True)
    return out.assign(half_width=(out["high"] - out["low"]) / 2.0)


def worst(count: int, level: float) -> int:
    """How many of `count` values lie wholly beyond a quantile; at least one."""
    return max(1, int(count * (1.0 - level) + 1e-9))


def expected_shortfall(values: Floats, level: float, axis: int = -1) -> Floats:
    """Mean of the largest (1 − level) of the values along an axis (Acerbi & Tasche, J. Banking & Finance 26, 2002)."""
    beyond = worst(values.shape[axis], level)
    top = np.sort(values, axis=axis)
    return np.asarray(np.mean(np.take(top, range(-beyond, 0), axis=axis), axis=axis))


def _cells(table: pd.DataFrame, factors: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each point and arm, in the plan's order, with the values of its factors."""
    for (point, arm), group in table.groupby(["point", "arm"], sort=False):
        yield {"point": point, "arm": arm, **{name: group[name].iloc[0] for name in factors}}, group


def _values(group: pd.DataFrame, measure: Measure) -> Floats:
    """Usable values of an output."""
    return group.loc[usable(group, measure.name), measure.name].to_numpy(dtype=float)


def _estimate(values: Floats, runs: int, measure: Measure, seed: int, where: dict[str, Any]) -> dict[str, Any]:
    """Mean, spread and interval; nothing where a run is unusable."""
    if values.size < runs or not values.size:
        return _row("mean", np.empty(0), Interval(np.nan, np.nan, "none: unusable runs"))
    if measure.binary:
        return _row("mean", values, wilson(int(values.sum()), values.size))
    return _row("mean", values, bootstrap(values, stream(seed, "means", where["point"], where["arm"], measure.name)))


def _difference(a: Floats, b: Floats, pairs: int, measure: Measure, seed: int, where: dict[str, Any]) -> dict[str, Any]:
    """Mean difference, its interval, and what pairing has won."""
    if a.size < pairs or not a.size:
        return {**_row("difference", np.empty(0), Interval(np.nan, np.nan, "none: unusable runs")), "narrowing": np.nan}
    change = a - b
    if measure.binary:
        interval = paired_probabilities(int((change > 0).sum()), int((change < 0).sum()), a.size)
    else:
        interval = bootstrap(change, stream(seed, "paired", where["point"], where["arm"], measure.name))
    left = float(change.var())
    return {**_row("difference", change, interval), "narrowing": (a.var() + b.var()) / left if left > 0.0 else np.nan}


def _tail(values: Floats, level: float, seed: int, where: dict[str, Any], measure: Measure) -> dict[str, Any]:
    """Quantile, and expected shortfall with its interval."""

    def shortfall(sample: Floats, axis: int = -1) -> Floats:
        return expected_shortfall(sample, level, axis)

    interval = bootstrap(values, stream(seed, "tails", where["point"], where["arm"], measure.name, level), shortfall)
    told = {"level": level, "quantile": float(np.quantile(values, level)), "expected_shortfall": float(shortfall(values))}
    return {**told, "low": interval.low, "high": interval.high, "interval": interval.method}


def _row(what: str, values: Floats, interval: Interval) -> dict[str, Any]:
    middle = float(values.mean()) if values.size else np.nan
    spread = float(values.std(ddof=1)) if values.size > 1 else np.nan
    return {what: middle, "sd": spread, "low": interval.low, "high": interval.high, "interval": interval.method}
