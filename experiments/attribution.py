"""Which channel did it: an outcome divided over the channels of contagion by Shapley values, under common random numbers.

A channel's share is its mean effect when it is switched on, over all orders in which the channels could be switched on (Shapley 1953; in
computer experiments Owen 2014, SIAM/ASA J. Uncertainty Quantification 2(1)). Shares and the outcome with every channel off add up to the
outcome with all on, seed by seed. With k channels a model is run 2^k times a seed; no coalition is sampled or left out.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import factorial
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import stats

type Floats = NDArray[np.float64]
type Coalition = frozenset[str]

MOST: Final = 12
"""Channels at most: 4,096 coalitions."""


@dataclass(frozen=True, eq=False)
class Attribution:
    """Outcomes divided over channels.

    Attributes:
        shares: one row an output and channel: `output`, `channel`, `mean`, `low`, `high` (interval of the mean), `part` (of the mean total
            less baseline; not a number if that is 0).
        totals: one row an output: `baseline` (all off) and `total` (all on), means over seeds.
        by_seed: for each output shape (S, k), the shares seed by seed, channels in order.
    """

    shares: pd.DataFrame
    totals: pd.DataFrame
    by_seed: Mapping[str, Floats]


def coalitions(channels: Sequence[str]) -> list[Coalition]:
    """Every set of channels, the smaller ones first: the runs that an attribution needs."""
    return [frozenset(chosen) for size in range(len(channels) + 1) for chosen in combinations(channels, size)]


def attribute(
    channels: Sequence[str],
    outcome: Callable[[Coalition], Mapping[str, ArrayLike]],
    *,
    level: float = 0.95,
    resamples: int = 2000,
    rng: np.random.Generator | None = None,
) -> Attribution:
    """Divide outcomes over `channels`.

    Args:
        channels: names, each once, at most `MOST`.
        outcome: outputs by name, (S,) each, with only the channels of the coalition on; the same S seeds in the same order every time.
        level: of the intervals: percentile bootstrap over seeds, all channels and coalitions of a seed together.
        resamples: of the bootstrap.
        rng: draws the resamples; `default_rng(0)` by default, so that a table is the same wherever it is made.

    Raises:
        ValueError: channels twice or too many, or outputs that differ in name, number of seeds, or are not finite.
    """
    if len(set(channels)) != len(channels) or len(channels) > MOST:
        raise ValueError(f"channels: expected at most {MOST} different names, found {list(channels)}")
    worth = {chosen: _columns(chosen, outcome(chosen)) for chosen in coalitions(channels)}
    outputs = list(worth[frozenset()])
    for chosen, found in worth.items():
        if list(found) != outputs or any(found[name].shape != worth[frozenset()][name].shape for name in outputs):
            raise ValueError(f"outcome: {_named(chosen)}: expected the outputs and seeds of the other coalitions")
    generator = np.random.default_rng(0) if rng is None else rng
    by_seed = {name: shapley(channels, {chosen: found[name] for chosen, found in worth.items()}) for name in outputs}
    rows, totals = [], []
    for name in outputs:
        baseline, total = (float(worth[chosen][name].mean()) for chosen in (frozenset(), frozenset(channels)))
        low, high = interval(by_seed[name], level, resamples, generator)
        means = by_seed[name].mean(axis=0)
        parts = means / (total - baseline) if total != baseline else np.full_like(means, np.nan)
        rows += list(zip([name] * len(channels), channels, means, low, high, parts, strict=True))
        totals.append((name, baseline, total))
    shares = pd.DataFrame(rows, columns=["output", "channel", "mean", "low", "high", "part"])
    return Attribution(shares, pd.DataFrame(totals, columns=["output", "baseline", "total"]), by_seed)


def shapley(channels: Sequence[str], worth: Mapping[Coalition, Floats]) -> Floats:
    """Shapley values, shape (S, k), of a game given by the worth, (S,), of all 2^k coalitions."""
    count = len(channels)
    values = []
    for channel in channels:
        others = [name for name in channels if name != channel]
        share = np.zeros_like(worth[frozenset()])
        for without in coalitions(others):
            weight = factorial(len(without)) * factorial(count - len(without) - 1) / factorial(count)
            share = share + weight * (worth[without | {channel}] - worth[without])
        values.append(share)
    return np.stack(values, axis=-1) if values else np.zeros((*worth[frozenset()].shape, 0))


def interval(by_seed: Floats, level: float, resamples: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Percentile bootstrap interval of the mean of each column of (S, k), rows resampled whole; not numbers for a single seed."""
    seeds, columns = by_seed.shape
    if seeds < 2 or columns == 0:
        return np.full(columns, np.nan), np.full(columns, np.nan)
    found = stats.bootstrap(
        (by_seed,), np.mean, axis=0, vectorized=True, confidence_level=level, n_resamples=resamples, method="percentile", rng=rng
    ).confidence_interval
    return np.asarray(found.low), np.asarray(found.high)


def _columns(chosen: Coalition, outcome: Mapping[str, ArrayLike]) -> dict[str, Floats]:
    """Outputs as columns of floats."""
    columns = {name: np.atleast_1d(np.asarray(values, dtype=np.float64)) for name, values in outcome.items()}
    for name, values in columns.items():
        if values.ndim != 1 or not values.size or not np.isfinite(values).all():
            raise ValueError(f"outcome: {_named(chosen)}: {name}: expected one finite number a seed")
    return columns


def _named(chosen: Iterable[str]) -> str:
    return " + ".join(sorted(chosen)) or "no channel"
