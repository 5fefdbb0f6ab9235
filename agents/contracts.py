"""What traders know of the contracts they can choose from, and how they divide a view of an underlying over them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Contracts:
    """The M contracts of a venue, as traders see them.

    Attributes:
        asset: shape (M,), underlying of each; linear: whether it is a perpetual or a future in dollars; inverse: whether it is a perpetual
            settled in coin; call, put: whether it is an option.
        days: shape (M,), until expiry, infinite for perpetuals.
        carry: shape (M,), annualised, what a short position in a perpetual or future earns over the index: funding, and the premium.
        price: shape (M,), mark over notional.
        richness: shape (M,), implied volatility at which it trades, over realised; 1 for what has none.
        delta: shape (M,), units of the underlying that a contract moves like.
    """

    asset: NDArray[np.intp]
    linear: Flags
    inverse: Flags
    call: Flags
    put: Flags
    days: Floats
    carry: Floats
    price: Floats
    richness: Floats
    delta: Floats

    def best_carry(self, assets: int, *, in_coin: bool = False) -> Floats:
        """Shape (A,), annualised: what a short position earns at most, by underlying, in what is settled in dollars, or in coin."""
        best, some = np.full(assets, -np.inf), self.inverse if in_coin else self.linear
        np.maximum.at(best, self.asset[some], self.carry[some])
        return best

    def each(self, kind: Flags) -> Floats:
        """Shape (M,): one over the number of contracts of a kind on the same underlying, 0 for other kinds."""
        count = np.bincount(self.asset, kind)[self.asset]
        share: Floats = np.divide(kind, count, out=np.zeros(kind.size), where=count > 0)
        return share


def divide(stance: Floats, contracts: Contracts, tolerance: float, *, in_coin: bool = False) -> Floats:
    """Stances on underlyings, (A, n), as stances in contracts, (M, n): logit shares by what each side earns or pays for holding them.

    A short position earns a contract's carry and a long one pays it; a contract that is dearer to hold by `tolerance`, annualised, is
    chosen less often by a factor of e (McFadden 1974). Whose margin is `in_coin` chooses among what is settled in it, all others among
    what is settled in dollars.
    """
    among = contracts.inverse if in_coin else contracts.linear
    out = np.zeros((contracts.asset.size, stance.shape[1]))
    for side in (1.0, -1.0):
        merit = np.where(among, -side * contracts.carry / tolerance, -np.inf)
        best = np.full(stance.shape[0], -np.inf)
        np.maximum.at(best, contracts.asset, merit)
        weight = np.where(among, np.exp(merit - np.where(np.isfinite(best), best, 0.0)[contracts.asset]), 0.0)
        total = np.bincount(contracts.asset, weight)[contracts.asset]
        share = np.divide(weight, total, out=np.zeros_like(weight), where=total > 0.0)
        out += share[:, None] * (side * np.maximum(side * stance, 0.0))[contracts.asset]
    return out
