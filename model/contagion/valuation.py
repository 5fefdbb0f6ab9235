"""What interbank claims are worth before anybody has to pay: the network valuation of Barucca et al. (2020, Mathematical Finance 30(4)).

Node i's equity is E_i = e_i − b_i − Σ_j L_ij + Σ_j L_ji V_j, where V_j in [0, 1] is what a unit of j's debt is worth given j's equity.
The greatest solution is found by coming down from face value. A valuation is a function of equities; those below are made for a book.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from model.contagion.debts import Floats, Sparse, column, square

type Valuation = Callable[[Floats], Floats]
"""Values of a unit of each node's debts, (n,) in [0, 1], given their equities, (n,); must not rise where an equity falls."""

_SETTLED: Final = 1e-15
_PATIENCE: Final = 100_000


@dataclass(frozen=True, eq=False)
class Book:
    """Balance sheets in money, arrays of shape (n,) but for `liabilities`, (n, n), [i, j] what i owes to j."""

    liabilities: Sparse
    external_assets: Floats
    external_liabilities: Floats

    @classmethod
    def of(cls, liabilities: Any, external_assets: ArrayLike, external_liabilities: ArrayLike) -> "Book":
        """Checks the arguments.

        Raises:
            ValueError: a wrong shape, kind or entry.
        """
        owed = square("liabilities", liabilities)
        nodes = owed.shape[0]
        return cls(owed, column("external_assets", external_assets, nodes), column("external_liabilities", external_liabilities, nodes))

    @property
    def debts(self) -> Floats:
        """All that each node owes."""
        within: Floats = self.liabilities @ np.ones(self.external_assets.size)
        return within + self.external_liabilities

    def equity(self, values: Floats) -> Floats:
        """Equities if a unit of each node's debts within the network is worth `values`."""
        own: Floats = self.external_assets - self.debts + self.liabilities.T @ values
        return own

    def after(self, loss: ArrayLike) -> "Book":
        """The same debts after a loss of external assets, (n,) or a number; assets do not fall below 0."""
        return Book(self.liabilities, np.maximum(self.external_assets - np.asarray(loss, dtype=np.float64), 0.0), self.external_liabilities)


@dataclass(frozen=True, eq=False)
class Valued:
    """The greatest solution: equities and values of a unit of debt, (n,), and iterations taken."""

    equity: Floats
    values: Floats
    rounds: int


def value(book: Book, valuation: Valuation) -> Valued:
    """Equities at which claims are worth what their debtors' equities say.

    Raises:
        ArithmeticError: values that do not settle.
    """
    values = np.ones_like(book.external_assets)
    for rounds in range(1, _PATIENCE):
        equity = book.equity(values)
        lower = np.minimum(valuation(equity), values)
        if np.abs(lower - values).max(initial=0.0) <= _SETTLED:
            return Valued(book.equity(lower), lower, rounds)
        values = lower
    raise ArithmeticError(f"valuation: values did not settle within {_PATIENCE} iterations")


def eisenberg_noe_value(book: Book) -> Valuation:
    """At face value if solvent, else the debtor's assets over its debts; all creditors alike."""
    return rogers_veraart_value(book, 1.0, 1.0)


def rogers_veraart_value(book: Book, alpha: float, beta: float) -> Valuation:
    """As Eisenberg and Noe's, but an insolvent debtor's external assets count α and its claims β."""
    debts = book.debts

    def rule(equity: Floats) -> Floats:
        estate = (alpha - beta) * book.external_assets + beta * np.maximum(equity + debts, 0.0)
        share = np.divide(estate, debts, out=np.ones_like(debts), where=debts > 0)
        return np.where(equity >= 0.0, 1.0, np.clip(share, 0.0, 1.0))

    return rule


def furfine_value(recovery: float) -> Valuation:
    """At face value while equity is positive, at a fixed recovery after (Furfine 2003, J. Money, Credit and Banking 35(1))."""
    return lambda equity: np.where(equity > 0.0, 1.0, recovery)


def linear_value(equity_before: ArrayLike) -> Valuation:
    """As much of face value as is left of the debtor's opening equity: linear DebtRank (Bardoscia et al. 2015, PLoS ONE 10(6))."""
    before = np.asarray(equity_before, dtype=np.float64)
    return lambda equity: np.where(
        before > 0.0, np.clip(np.divide(equity, before, out=np.zeros_like(before), where=before > 0.0), 0.0, 1.0), 0.0
    )


def black_cox_value(book: Book, deviation: float, recovery: float) -> Valuation:
    """1 − (1 − R) PD, the debtor defaulting when its external assets first fall by its equity (Black and Cox 1976, J. Finance 31(2)).

    Args:
        book: its external assets A follow a geometric Brownian motion without drift.
        deviation: s = σ √T, of the logarithm of external assets over the horizon, > 0.
        recovery: R.
    """
    return lambda equity: 1.0 - (1.0 - recovery) * default_probability(equity, book.external_assets, deviation)


def default_probability(equity: Floats, assets: Floats, deviation: float) -> Floats:
    """P(a driftless geometric Brownian motion of deviation s falls from A to A − E within the horizon), (n,).

    N((ln(1 − E/A) + s²/2)/s) + A/(A − E) N((ln(1 − E/A) − s²/2)/s); 1 where E ≤ 0 and 0 where E ≥ A.
    """
    inside = (equity > 0.0) & (equity < assets)
    left = np.where(inside, 1.0 - np.divide(equity, assets, out=np.zeros_like(assets), where=inside), 1.0)
    half = 0.5 * deviation**2
    chance: Floats = ndtr((np.log(left) + half) / deviation) + ndtr((np.log(left) - half) / deviation) / left
    return np.where(inside, np.minimum(chance, 1.0), np.where(equity <= 0.0, 1.0, 0.0))


def merton_value(book: Book, deviation: float) -> Valuation:
    """Expected recovery at the horizon, before external assets are known (Merton 1974, J. Finance 29(2); ex-ante Eisenberg and Noe).

    With A_T lognormal of mean A and deviation s, a unit of debt pays min(1, (A_T − A + E + D)⁺/D), D the debtor's debts: a spread of two
    calls, (C(A − E − D) − C(A − E))/D, valued without interest.
    """
    assets, debts = book.external_assets, book.debts

    def rule(equity: Floats) -> Floats:
        spread = _call(assets, assets - equity - debts, deviation) - _call(assets, assets - equity, deviation)
        share = np.divide(spread, debts, out=np.ones_like(debts), where=debts > 0)
        return np.clip(share, 0.0, 1.0)

    return rule


def _call(assets: Floats, strike: Floats, deviation: float) -> Floats:
    """E[(A_T − K)⁺] for a lognormal A_T of mean A; A − K where K ≤ 0."""
    inside = (strike > 0.0) & (assets > 0.0)
    ratio = np.where(inside, np.divide(assets, strike, out=np.ones_like(assets), where=inside), 1.0)
    upper = (np.log(ratio) + 0.5 * deviation**2) / deviation
    worth: Floats = assets * ndtr(upper) - strike * ndtr(upper - deviation)
    return np.where(inside, worth, np.maximum(assets - strike, 0.0))
