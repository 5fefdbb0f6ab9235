"""DebtRank: distress that spreads before anybody defaults, in shares of each node's equity.

A node's distress h is the share of its equity that is lost, at most 1. Lender j's equity falls by Λ_ij = L_ij / E_j for a unit of borrower
i's distress. Nodes without equity to lose are in full distress from the start.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike

from model.contagion.debts import Floats, Sparse, numbers, square

_SETTLED: Final = 1e-16
_PATIENCE: Final = 100_000


@dataclass(frozen=True, eq=False)
class Distress:
    """Distress before anything has spread and after, shape (n,) or (n, m) for m shocks side by side; rounds it took."""

    opening: Floats
    closing: Floats
    rounds: int

    def rank(self, weights: ArrayLike) -> Any:
        """DebtRank: what spreading adds, Σ_i w_i (closing − opening), weights summing to 1; a number, or shape (m,)."""
        shares = np.asarray(weights, dtype=np.float64)
        return (shares / shares.sum()) @ (self.closing - self.opening)


def linear(liabilities: Any, equity: ArrayLike, shock: ArrayLike) -> Distress:
    """Linear DebtRank: every loss is passed on, as often as it comes back (Bardoscia et al. 2015, PLoS ONE 10(6)).

    h(t+1) = min(1, h(1) + Λ' h(t)), which sums up the published increments. If nobody defaults, h = (I − Λ')⁻¹ h(1).

    Args:
        liabilities: (n, n), [i, j] is what i owes to j; money.
        equity: (n,), money.
        shock: (n,) or (n, m), shares of equity lost at first, in [0, 1].

    Raises:
        ValueError: an input of the wrong shape, range or kind.
        ArithmeticError: distress that does not settle (a spectral radius of exactly 1 and a tiny shock).
    """
    impact, opening = _read(liabilities, equity, shock)
    level = opening
    for rounds in range(_PATIENCE):
        higher = np.maximum(np.minimum(opening + impact @ level, 1.0), level)
        if np.abs(higher - level).max(initial=0.0) <= _SETTLED:
            return Distress(opening, higher, rounds)
        level = higher
    raise ArithmeticError(f"DebtRank: distress did not settle within {_PATIENCE} rounds")


def single_hit(liabilities: Any, equity: ArrayLike, shock: ArrayLike) -> Distress:
    """The first DebtRank: a node passes distress on once, the round after it is hit, and is inactive then (Battiston et al. 2012).

    h_j(t) = min(1, h_j(t−1) + Σ_(i distressed) W_ij h_i(t−1)) with W_ij = min(1, L_ij / E_j) (Scientific Reports 2, 541).
    Arguments and errors as for `linear`.
    """
    impact, opening = _read(liabilities, equity, shock)
    impact.data = np.minimum(impact.data, 1.0)
    level, distressed, rounds = opening, opening > 0.0, 0
    inactive = np.zeros_like(distressed)
    while distressed.any():
        rounds += 1
        higher = np.minimum(level + impact @ np.where(distressed, level, 0.0), 1.0)
        inactive |= distressed
        level, distressed = higher, (higher > 0.0) & ~inactive
    return Distress(opening, level, rounds)


def by_node(liabilities: Any, equity: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Linear DebtRank of each node, shape (n,): the share of the others' value that its own complete failure costs them.

    Args:
        liabilities: (n, n), [i, j] is what i owes to j; an exchange's fund is ranked as the equity of the exchange's node.
        equity: (n,), money.
        weights: (n,), a node's economic value; its equity by default.
    """
    own = numbers("equity", equity)
    value = np.maximum(own, 0.0) if weights is None else numbers("weights", weights)
    closing = linear(liabilities, own, np.eye(own.size)).closing
    others = value.sum() - value
    lost = value @ closing - value * closing.diagonal()
    return np.divide(lost, others, out=np.zeros_like(lost), where=others > 0.0)


def _read(liabilities: Any, equity: ArrayLike, shock: ArrayLike) -> tuple[Sparse, Floats]:
    """Λ' as sparse rows, [j, i] the share of j's equity that a unit of i's distress costs; and opening distress."""
    owed = square("liabilities", liabilities)
    own, opening = numbers("equity", equity), numbers("shock", shock)
    if own.shape != (owed.shape[0],) or opening.shape[:1] != own.shape:
        raise ValueError(f"equity and shock: expected {owed.shape[0]} nodes, found shapes {own.shape} and {opening.shape}")
    if not (np.isfinite(own).all() and ((opening >= 0.0) & (opening <= 1.0)).all()):
        raise ValueError("equity and shock: expected finite equities and shocks in [0, 1]")
    broke = own <= 0.0
    opening[broke] = 1.0
    impact: Sparse = owed.T.tocsr()
    impact.data /= np.repeat(np.where(broke, np.inf, own), np.diff(impact.indptr))
    return impact, opening
