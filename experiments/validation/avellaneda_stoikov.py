"""The market maker of Avellaneda and Stoikov (2008) in its own market: quoting around inventory, and around the price alone."""

from typing import NamedTuple

import numpy as np

PRICE, HORIZON, SIGMA, STEP, DECAY, RATE = 100.0, 1.0, 2.0, 0.005, 1.5, 140.0
"""Opening price, horizon, volatility, time step, and the arrival of orders at distance d from the price: 140 exp(-1.5 d) a unit of time."""


class Result(NamedTuple):
    """Of many paths: mean and standard deviation of the profit, and standard deviation of the final inventory."""

    profit: float
    deviation: float
    inventory: float


def simulate(paths: int, gamma: float, rng: np.random.Generator, *, symmetric: bool) -> Result:
    """Quotes half the spread gamma sigma^2 (T - t) + (2 / gamma) ln(1 + gamma / k) on both sides of r = s - q gamma sigma^2 (T - t).

    `symmetric` quotes the same spread, averaged over time, around s.
    """
    s, q, cash = np.full(paths, PRICE), np.zeros(paths), np.zeros(paths)
    steps = round(HORIZON / STEP)
    constant = 2.0 / gamma * np.log1p(gamma / DECAY)
    for step in range(steps):
        left = gamma * SIGMA**2 * (HORIZON - step * STEP)
        centre = s if symmetric else s - q * left
        half = 0.5 * (constant + (0.5 * gamma * SIGMA**2 * HORIZON if symmetric else left))
        bid, ask = centre - half, centre + half
        bought = rng.random(paths) < RATE * STEP * np.exp(-DECAY * (s - bid))
        sold = rng.random(paths) < RATE * STEP * np.exp(-DECAY * (ask - s))
        q = q + bought - sold
        cash = cash - bought * bid + sold * ask
        s = s + SIGMA * np.sqrt(STEP) * np.where(rng.random(paths) < 0.5, 1.0, -1.0)
    profit = cash + q * s
    return Result(float(profit.mean()), float(profit.std(ddof=1)), float(q.std(ddof=1)))
