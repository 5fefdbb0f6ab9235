"""Leveraged value investors of Thurner, Farmer and Geanakoplos (2012): leverage makes fat tails.

Noise traders spend xi on N shares, log xi = rho log xi' + sigma chi + (1 - rho) log(N V). A fund h with wealth W = D p + M wants
min(beta_h (V - p), lambda_max) W of shares when they are below their value V, and none when they are not. The price clears the market,
xi + sum of demands = N p. A fund below a tenth of its opening wealth fails, and comes back after a hundred steps. Investors' money
follows performance: b (r - r_b) W a step, r an exponential average. The rate of that average is not published: our choice.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

SHARES, VALUE, RHO, SIGMA = 1_000.0, 1.0, 0.99, 0.035
OPENING, FAILS, RETURNS_AFTER = 2.0, 0.1, 100
FLOW, BENCHMARK, MEMORY = 0.15, 0.005, 0.1
BETAS: Final = np.arange(5.0, 51.0, 5.0)


@dataclass
class Funds:
    """Many markets side by side; arrays are (markets,) or (markets, funds)."""

    most: Floats
    shares: Floats = field(init=False)
    cash: Floats = field(init=False)
    performance: Floats = field(init=False)
    away: Floats = field(init=False)

    def __post_init__(self) -> None:
        shape = (self.most.size, BETAS.size)
        self.shares, self.cash = np.zeros(shape), np.full(shape, OPENING)
        self.performance, self.away = np.zeros(shape), np.zeros(shape)


def clear(xi: Floats, shares: Floats, cash: Floats, most: Floats) -> Floats:
    """The highest market-clearing prices, (markets,): between the prices at which funds reach their limit demand is quadratic."""
    beta = np.broadcast_to(BETAS, shares.shape)
    reached = np.maximum(VALUE - most[:, None] / beta, 0.0)
    edges = np.concatenate((np.full((most.size, 1), VALUE), -np.sort(-reached, axis=1), np.zeros((most.size, 1))), axis=1)
    at = edges[:, :, None]
    wanted = np.minimum(beta[:, None, :] * (VALUE - at), most[:, None, None]) * (shares[:, None, :] * at + cash[:, None, :])
    excess = xi[:, None] + wanted.sum(axis=2) - SHARES * edges
    first = np.argmax(excess >= 0.0, axis=1)
    rows = np.arange(most.size)
    high, low = edges[rows, np.maximum(first - 1, 0)], edges[rows, first]
    limited = 0.5 * (high + low)[:, None] <= reached
    free = beta * ~limited
    a = -(free * shares).sum(axis=1)
    b = (free * (VALUE * shares - cash)).sum(axis=1) + most * (limited * shares).sum(axis=1) - SHARES
    c = xi + VALUE * (free * cash).sum(axis=1) + most * (limited * cash).sum(axis=1)
    root = np.sqrt(np.maximum(b**2 - 4.0 * a * c, 0.0))
    # Both roots, without the difference of nearly equal numbers; the one within the segment is the price.
    stable = -0.5 * (b + np.where(b < 0.0, -root, root))
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = np.stack((stable / a, c / stable))
    miss = np.where(np.isfinite(roots), np.maximum(np.maximum(low - roots, roots - high), 0.0), np.inf)
    price: Floats = np.where(first == 0, xi / SHARES, roots[np.argmin(miss, axis=0), rows])
    return price


def log_returns(most: Floats, steps: int, rng: np.random.Generator) -> Floats:
    """Shape (steps, markets): log returns of markets with largest leverages `most`, (markets,), all on the same noise."""
    funds, log_xi, before = Funds(most), np.log(SHARES * VALUE), np.full(most.size, VALUE)
    found = np.empty((steps, most.size))
    for step in range(steps):
        log_xi = RHO * log_xi + SIGMA * rng.standard_normal() + (1.0 - RHO) * np.log(SHARES * VALUE)
        price = _step(funds, np.full(most.size, np.exp(log_xi)), before)
        found[step], before = np.log(price / before), price
    return found


def _step(funds: Funds, xi: Floats, before: Floats) -> Floats:
    """One step: prices, who fails, holdings, investors' money."""
    back = funds.away == 1
    funds.away = np.maximum(funds.away - 1, 0)
    funds.cash[back], funds.performance[back] = OPENING, 0.0
    price = clear(xi, funds.shares, funds.cash, funds.most)
    while (failing := (funds.away == 0) & (funds.shares * price[:, None] + funds.cash <= FAILS * OPENING)).any():
        # What a failed fund held is sold: it wants nothing from here on.
        funds.shares[failing], funds.cash[failing], funds.away[failing] = 0.0, 0.0, RETURNS_AFTER
        price = clear(xi, funds.shares, funds.cash, funds.most)
    wealth = funds.shares * price[:, None] + funds.cash
    earlier = funds.shares * before[:, None] + funds.cash
    demand = np.clip(BETAS * (VALUE - price[:, None]), 0.0, funds.most[:, None]) * wealth
    with np.errstate(divide="ignore", invalid="ignore"):
        earned = np.where(earlier > 0.0, wealth / earlier - 1.0, 0.0)
    funds.performance += MEMORY * (earned - funds.performance)
    flow = FLOW * (funds.performance - BENCHMARK) * wealth
    funds.shares = demand / price[:, None]
    funds.cash = wealth - demand + flow
    return price


def hill(losses: Floats, share: float = 0.01) -> float:
    """The Hill estimate of the tail exponent from the largest `share` of losses (> 0)."""
    tail = np.sort(losses)[-int(share * losses.size) - 1 :]
    return float(1.0 / np.log(tail[1:] / tail[0]).mean())
