"""Statistics of margin: whether it covers what it says, and how much it moves with the market.

`losses` are those of a portfolio over successive margin periods of risk, USD for each USD of notional, gains below zero; margin is what
was held against each, set before it.
"""

from functools import cache
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import xlog1py, xlogy

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]

BASEL_DAYS: Final = 250
YELLOW, RED = 0.95, 0.9999
"""Cumulative probabilities at which the Basel Committee's zones begin (Supervisory framework for backtesting, 1996)."""
DRAWS: Final = 10_000
"""Simulated samples behind a critical value."""


class Test(NamedTuple):
    """A test's statistic and the probability of one as extreme if margin is right."""

    statistic: float
    p_value: float


def _log_likelihood(hits: float, misses: float, probability: float) -> float:
    return float(xlogy(hits, probability) + xlog1py(misses, -probability))


def kupiec(exceptions: int, observations: int, probability: float) -> Test:
    """Proportion of failures: LR = -2 ln[p^x (1-p)^(n-x) / ((x/n)^x (1-x/n)^(n-x))], chi-squared with one degree (Kupiec 1995)."""
    misses = observations - exceptions
    null = _log_likelihood(exceptions, misses, probability)
    ratio = max(-2.0 * (null - _log_likelihood(exceptions, misses, exceptions / observations)), 0.0)
    return Test(ratio, float(stats.chi2.sf(ratio, 1)))


def independence(exceptions: Flags) -> Test:
    """Whether an exception makes another the next day likelier: Markov likelihood ratio, one degree (Christoffersen 1998)."""
    before, after = exceptions[:-1], exceptions[1:]
    n00, n01 = int((~before & ~after).sum()), int((~before & after).sum())
    n10, n11 = int((before & ~after).sum()), int((before & after).sum())
    apart = _log_likelihood(n01, n00, n01 / max(n00 + n01, 1)) + _log_likelihood(n11, n10, n11 / max(n10 + n11, 1))
    together = _log_likelihood(n01 + n11, n00 + n10, (n01 + n11) / max(after.size, 1))
    ratio = max(-2.0 * (together - apart), 0.0)
    return Test(ratio, float(stats.chi2.sf(ratio, 1)))


def conditional_coverage(exceptions: Flags, probability: float) -> Test:
    """Both at once: the sum of the two ratios, chi-squared with two degrees (Christoffersen 1998)."""
    ratio = kupiec(int(exceptions.sum()), exceptions.size, probability).statistic + independence(exceptions).statistic
    return Test(ratio, float(stats.chi2.sf(ratio, 2)))


def traffic_light(exceptions: int, observations: int = BASEL_DAYS, probability: float = 0.01) -> str:
    """The Basel zone: yellow where as many exceptions or fewer have a probability of 95 %, red where it is 99.99 %."""
    cumulative = float(stats.binom.cdf(exceptions, observations, probability))
    return "red" if cumulative >= RED else "yellow" if cumulative >= YELLOW else "green"


def shortfall_conditional(losses: Floats, quantile: Floats, shortfall: Floats) -> float:
    """Z1 = mean over exceptions of (-loss / ES) + 1: 0 if shortfall is right, below if it is too low (Acerbi & Szekely 2014)."""
    beyond = losses > quantile
    return float(1.0 - (losses[beyond] / shortfall[beyond]).mean()) if beyond.any() else float("nan")


def shortfall_unconditional(losses: Floats, quantile: Floats, shortfall: Floats, tail: float) -> float:
    """Z2 = sum over exceptions of (-loss / ES) / (T x tail) + 1, which counts exceptions too (Acerbi & Szekely 2014)."""
    beyond = losses > quantile
    return float(1.0 - (losses[beyond] / shortfall[beyond]).sum() / (losses.size * tail))


class Critical(NamedTuple):
    """Five-per-cent quantiles of Z1 and Z2 where losses are as the margin assumes them."""

    z1: float
    z2: float


@cache
def critical_values(observations: int, tail: float, degrees: float = np.inf, draws: int = DRAWS, seed: int = 0) -> Critical:
    """By simulation of independent Student losses (normal by default), margin knowing their quantile and shortfall exactly.

    Only the count and the size of exceptions matter: counts are binomial, sizes are drawn from the tail.
    """
    rng = np.random.default_rng(seed)
    law = stats.norm() if np.isinf(degrees) else stats.t(degrees)
    quantile = float(law.ppf(1.0 - tail))
    shortfall = float(law.pdf(quantile)) / tail * (1.0 if np.isinf(degrees) else (degrees + quantile**2) / (degrees - 1.0))
    counts = rng.binomial(observations, tail, draws)
    sizes = law.isf(tail * (1.0 - rng.random(int(counts.sum())))) / shortfall
    sums = np.bincount(np.repeat(np.arange(draws), counts), sizes, minlength=draws)
    z1 = 1.0 - sums[counts > 0] / counts[counts > 0]
    z2 = 1.0 - sums / (observations * tail)
    return Critical(float(np.quantile(z1, 0.05)), float(np.quantile(z2, 0.05)))


# -- procyclicality ---------------------------------------------------------------------------------------------------------------------


def peak_to_trough(margin: Floats) -> float:
    """Largest over smallest margin of an unchanged portfolio (Murphy, Vasios & Vause 2014)."""
    return float(margin.max() / margin.min()) if margin.min() > 0.0 else float("inf")


def largest_call(margin: Floats, rows: int) -> float:
    """The largest rise of margin over so many rows, USD for each USD of notional; 0 if it only falls (Murphy, Vasios & Vause 2014)."""
    if margin.size <= rows:
        return float("nan")
    return max(float((margin[rows:] - margin[:-rows]).max()), 0.0)
