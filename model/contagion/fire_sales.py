"""Forced sales: who must sell when prices fall, and what their sales do to the prices.

Rules of deleveraging are here; what sales do to a price is a function handed in, so that sales can meet a market of the model's own:
`impact(sold, prices) -> falls` with USD sold of each of k assets and present prices, to the fractions by which prices fall; all of shape
(k,).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from model.contagion.debts import Flags, Floats

type Impact = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, eq=False)
class Holders:
    """n leveraged holders of k assets.

    Attributes:
        holdings: (n, k), USD at present prices.
        illiquid: (n,), USD, assets that cannot be sold.
        capital: (n,), USD.
    """

    holdings: Floats
    illiquid: Floats
    capital: Floats

    @property
    def assets(self) -> Floats:
        """All assets, (n,), USD."""
        total: Floats = self.holdings.sum(axis=1) + self.illiquid
        return total

    def after(self, returns: ArrayLike, illiquid_loss: ArrayLike = 0.0) -> "Holders":
        """Marked to market after returns of the assets, (k,), and a loss of illiquid assets, (n,) or a number, USD."""
        gains = self.holdings * np.asarray(returns, dtype=np.float64)
        lost = np.asarray(illiquid_loss, dtype=np.float64)
        capital = self.capital + gains.sum(axis=1) - lost
        return Holders(self.holdings + gains, self.illiquid - lost, capital)


@dataclass(frozen=True, eq=False)
class Sale:
    """One round of sales.

    Attributes:
        shares: (n,), part of its holdings that each holder sells.
        sold: (k,), USD; falls: (k,), fractions by which prices fall; prices: (k,), after the round.
        losses: (n,), USD, of holders, on what they sell and on what they keep.
        holders: after the round.
    """

    shares: Floats
    sold: Floats
    falls: Floats
    prices: Floats
    losses: Floats
    holders: Holders


def threshold_shares(holders: Holders, limit: float, target: float) -> Floats:
    """Part of its holdings that each must sell, (n,): none up to leverage `limit`, beyond it down to `target` (Cont and Schaanning 2017).

    Γ = min(1, (assets − target · capital) / holdings). Nobody without capital is below the limit: it sells everything.
    """
    value = holders.holdings.sum(axis=1)
    excess = holders.assets - target * holders.capital
    wanted = np.divide(excess, value, out=np.zeros_like(value), where=value > 0.0)
    return np.where(above(holders, limit), np.clip(wanted, 0.0, 1.0), 0.0)


def above(holders: Holders, limit: float) -> Flags:
    """Whether leverage, assets over capital, is above `limit`, (n,); so it is without capital."""
    flags: Flags = holders.assets > limit * holders.capital
    return flags


def deleverage(
    holders: Holders,
    prices: ArrayLike,
    impact: Impact,
    *,
    limit: float,
    target: float | None = None,
    execution: float = 0.5,
    rounds: int = 1000,
) -> list[Sale]:
    """Threshold deleveraging, round by round until nobody has to sell (Cont and Schaanning 2017, Norges Bank working paper 2/2017).

    Args:
        holders: after the first shock.
        prices: (k,), USD.
        impact: see the module.
        limit: leverage beyond which a holder must sell; small shocks therefore cause no sales at all.
        target: leverage that it then sells down to; 0.95 of the limit by default.
        execution: α, the part of a round's fall at which sales are done: they lose α of it, what is kept loses all of it.
        rounds: at most so many, the last one included that sells nothing.

    Returns:
        One entry a round; the last sells nothing unless `rounds` binds.
    """
    goal = 0.95 * limit if target is None else target
    now = np.asarray(prices, dtype=np.float64)
    out: list[Sale] = []
    for _ in range(rounds):
        shares = threshold_shares(holders, limit, goal)
        sale = _sale(holders, shares, now, impact, execution)
        out.append(sale)
        if not sale.sold.any():
            break
        holders, now = sale.holders, sale.prices
    return out


def _sale(holders: Holders, shares: Floats, prices: Floats, impact: Impact, execution: float) -> Sale:
    """Holders sell `shares` of each of their assets."""
    sold = shares @ holders.holdings
    falls = impact(sold, prices) if sold.any() else np.zeros_like(sold)
    losses = (1.0 - (1.0 - execution) * shares) * (holders.holdings @ falls)
    kept = holders.holdings * (1.0 - shares)[:, None] * (1.0 - falls)
    after = replace(holders, holdings=kept, capital=holders.capital - losses)
    return Sale(shares, sold, falls, prices * (1.0 - falls), losses, after)


def finite_depth(depth: ArrayLike, floor: ArrayLike) -> Impact:
    """Cont and Schaanning's impact: Ψ(q, S) = (1 − B/S)(1 − exp(−q/δ)), so that no sale takes a price below its floor B.

    Args:
        depth: δ = (1 − B/S₀) D, (k,) or a number, USD, with D of `depth_of`: the first dollar then moves the opening price by 1/D.
        floor: B, (k,) or a number, USD.
    """
    size, bottom = np.asarray(depth, dtype=np.float64), np.asarray(floor, dtype=np.float64)
    return lambda sold, prices: (1.0 - bottom / prices) * -np.expm1(-sold / size)


def depth_of(daily_volume: ArrayLike, daily_deviation: ArrayLike, *, days: float, factor: float) -> Floats:
    """Market depth D = c ADV/σ √τ, USD: sales over τ days move a price by their size over this."""
    volume, deviation = np.asarray(daily_volume, dtype=np.float64), np.asarray(daily_deviation, dtype=np.float64)
    depth: Floats = factor * volume / deviation * np.sqrt(days)
    return depth


@dataclass(frozen=True, eq=False)
class Targeting:
    """What one round of leverage targeting does.

    Attributes:
        sales: (n,), USD that each holder sells (negative: buys).
        falls: (k,), fractions by which prices fall.
        losses: (n,), USD, of holders to those falls; what the first shock cost them is not in it.
        aggregate: losses over all holders' capital: aggregate vulnerability.
        systemicness: (n,), the losses that a holder's own sales alone would cause, over all holders' capital.
        vulnerability: (n,), a holder's losses over its own capital.
    """

    sales: Floats
    falls: Floats
    losses: Floats
    aggregate: float
    systemicness: Floats
    vulnerability: Floats


def target_leverage(holders: Holders, returns: ArrayLike, prices: ArrayLike, impact: Impact) -> Targeting:
    """Holders that lose sell until leverage is what it was, in the mix they hold (Greenwood, Landier and Thesmar 2015, JFE 115(3)).

    With assets A, capital E and leverage D/E = (A − E)/E, a return R on assets is answered by selling −(D/E) A R; nobody sells more than it
    holds (our choice). With a linear impact a part L of the price for a dollar sold, losses are A M L M' (D/E) A R and systemicness adds up
    to aggregate vulnerability.

    Args:
        holders: before the shock, all with positive capital.
        returns: of the assets, (k,).
        prices: (k,), USD, handed on to `impact`.
        impact: see the module.

    Raises:
        ValueError: a holder without capital has no leverage to return to.
    """
    if not (holders.capital > 0.0).all():
        raise ValueError("capital: expected positive amounts, leverage is targeted by the solvent")
    now = np.asarray(prices, dtype=np.float64)
    value = holders.holdings.sum(axis=1)
    gains = holders.holdings @ np.asarray(returns, dtype=np.float64)
    leverage = (holders.assets - holders.capital) / holders.capital
    sales = np.minimum(-leverage * gains, value + gains)
    mix = np.divide(holders.holdings, value[:, None], out=np.zeros_like(holders.holdings), where=value[:, None] > 0.0)
    falls = impact(sales @ mix, now)
    losses = holders.holdings @ falls
    total = float(holders.capital.sum())
    alone = np.array([float((holders.holdings @ impact(size * part, now)).sum()) for size, part in zip(sales, mix, strict=True)])
    return Targeting(sales, falls, losses, float(losses.sum()) / total, alone / total, losses / holders.capital)
