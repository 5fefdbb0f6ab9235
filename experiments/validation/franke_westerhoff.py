"""The structural stochastic volatility market of Franke and Westerhoff (2012), DCA-HPM, and the moments it was estimated on."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

PHI, CHI, SIGMA_F, SIGMA_C = 0.12, 1.50, 0.758, 2.087
BIAS, HERDING, MISALIGNMENT, MU = -0.327, 1.79, 18.43, 0.01
LENGTH: Final = 6_750
"""Days in a run, as in their simulations."""
LAGS: Final = (1, 5, 10, 25, 50, 100)
NAMES: Final = ("AC r", "1/Hill", "mean |r|", *(f"AC |r| {lag}" for lag in LAGS))
INTERVALS: Final = (
    (-0.042, 0.027), (0.269, 0.334), (0.672, 0.754),
    (0.106, 0.280), (0.142, 0.231), (0.118, 0.200), (0.095, 0.162), (0.078, 0.148), (0.041, 0.105),
)  # fmt: skip
"""95 % intervals of the S&P 500's moments, 1980 to 2007, returns in percent (their Table A1); order as in `NAMES`."""


def returns(runs: int, length: int, rng: np.random.Generator) -> Floats:
    """Shape (length, runs), percent a day: p' = p + mu (n_f d_f + n_c d_c), n_f by discrete choice, fundamental value zero."""
    price, before, share = np.zeros(runs), np.zeros(runs), np.full(runs, 0.5)
    found = np.empty((length, runs))
    for day in range(length):
        luck = rng.standard_normal((2, runs))
        demand = share * (-PHI * price + SIGMA_F * luck[0]) + (1.0 - share) * (CHI * (price - before) + SIGMA_C * luck[1])
        share = 1.0 / (1.0 + np.exp(-(BIAS + HERDING * (2.0 * share - 1.0) + MISALIGNMENT * price**2)))
        price, before = price + MU * demand, price
        found[day] = 100.0 * (price - before)
    return found


def moments(r: Floats) -> Floats:
    """Shape (9, runs), in the order of `NAMES`, of returns (length, runs).

    The Hill estimator takes the largest 5 % of |r| against the next one; autocorrelations of |r| are averages over three neighbouring
    lags (the first: over lags 1 and 2).
    """
    size = np.abs(r)
    top = int(0.05 * r.shape[0])
    tail = np.sort(np.partition(size, r.shape[0] - top - 1, axis=0)[-top - 1 :], axis=0)
    hill = (np.log(tail[1:]) - np.log(tail[0])).mean(axis=0)
    smoothed = [np.mean([_autocorrelation(size, near) for near in (lag - 1, lag, lag + 1) if near > 0], axis=0) for lag in LAGS]
    return np.array([_autocorrelation(r, 1), hill, size.mean(axis=0), *smoothed])


def _autocorrelation(x: Floats, lag: int) -> Floats:
    centred = x - x.mean(axis=0)
    found: Floats = (centred[lag:] * centred[:-lag]).sum(axis=0) / (centred**2).sum(axis=0)
    return found


def joint_coverage(runs: int, seed: int, batch: int = 250) -> tuple[float, Floats]:
    """Share of runs whose nine moments all lie in the S&P's intervals, and the moments' means, (9,)."""
    rng = np.random.default_rng(seed)
    low, high = np.array(INTERVALS).T[:, :, None]
    found = np.concatenate([moments(returns(min(batch, runs - done), LENGTH, rng)) for done in range(0, runs, batch)], axis=1)
    return float(((found >= low) & (found <= high)).all(axis=0).mean()), found.mean(axis=1)
