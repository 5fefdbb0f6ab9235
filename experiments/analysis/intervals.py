"""Intervals: bias-corrected and accelerated bootstrap for means and tails, Wilson for probabilities. All are 95 %."""

import warnings
from collections.abc import Callable
from typing import Final, NamedTuple
from zlib import crc32

import numpy as np
from scipy import stats

from experiments.analysis.blocks import Floats

LEVEL: Final = 0.95
RESAMPLES: Final = 4_999
FEW: Final = 10
"""Values below which a mean's interval is Student's: resamples of a few values are too much alike (our choice of the number)."""

NONE: Final = "none"
BCA: Final = "BCa bootstrap"
PERCENTILE: Final = "percentile bootstrap"
WILSON: Final = "Wilson"
STUDENT: Final = "Student's t"
AGRESTI_MIN: Final = "Agresti-Min"


class Interval(NamedTuple):
    """A 95 % interval and how it was made; not a number where the sample does not tell."""

    low: float
    high: float
    method: str


UNKNOWN: Final = Interval(float("nan"), float("nan"), NONE)


def stream(seed: int, *names: object) -> np.random.Generator:
    """The generator of one estimate: it depends on what is estimated and not on what was estimated before."""
    return np.random.default_rng([seed, crc32("/".join(map(str, names)).encode())])


def mean(values: Floats, axis: int = -1) -> Floats:
    """The mean along an axis."""
    return np.asarray(np.mean(values, axis=axis))


def bootstrap(values: Floats, rng: np.random.Generator, statistic: Callable[..., Floats] = mean) -> Interval:
    """BCa interval of a statistic of independent values (Efron, J. American Statistical Association 82, 1987).

    Where BCa is not defined (all resamples on one side of the estimate) the percentile interval is given and named so; the mean of fewer
    than `FEW` values has Student's. Fewer than two values, or values that are all equal, say nothing about their spread: the interval is
    unknown, not of width zero.
    """
    if values.size < 2 or np.ptp(values) == 0.0:
        return UNKNOWN
    if values.size < FEW and statistic is mean:
        low, high = stats.t.interval(LEVEL, values.size - 1, values.mean(), stats.sem(values))
        return Interval(float(low), float(high), STUDENT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        with np.errstate(invalid="ignore", divide="ignore"):
            result = stats.bootstrap((values,), statistic, confidence_level=LEVEL, n_resamples=RESAMPLES, method="BCa", rng=rng, batch=500)
    low, high = map(float, result.confidence_interval)
    if np.isfinite(low) and np.isfinite(high):
        return Interval(low, high, BCA)
    tail = (1.0 - LEVEL) / 2.0
    low, high = np.quantile(result.bootstrap_distribution, [tail, 1.0 - tail]).tolist()
    return Interval(low, high, PERCENTILE)


def wilson(events: int, trials: int) -> Interval:
    """Wilson's score interval of a probability (J. American Statistical Association 22, 1927)."""
    if trials == 0:
        return UNKNOWN
    low, high = stats.binomtest(events, trials).proportion_ci(LEVEL, method="wilson")
    return Interval(float(low), float(high), WILSON)


def paired_probabilities(more: int, fewer: int, pairs: int) -> Interval:
    """Difference of two probabilities seen in matched pairs: `more` pairs go 0 to 1, `fewer` 1 to 0.

    The Wald interval after half a pair is added to each of the four cells (Agresti & Min, Statistics in Medicine 24, 2005, 729-740).
    """
    if pairs == 0:
        return UNKNOWN
    b, c, n = more + 0.5, fewer + 0.5, pairs + 2.0
    middle = (b - c) / n
    reach = float(stats.norm.ppf(0.5 + LEVEL / 2.0)) * np.sqrt((b + c) / n - middle**2) / np.sqrt(n)
    return Interval(float(max(middle - reach, -1.0)), float(min(middle + reach, 1.0)), AGRESTI_MIN)
