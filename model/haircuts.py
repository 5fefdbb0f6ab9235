"""Who gave what in a step's deleveraging, and how evenly: the measures of Chitra 2025 (arXiv 2512.01112) and of concentration."""

import numpy as np
from numpy.typing import NDArray

from model.ledger import Rows

type Floats = NDArray[np.float64]


def gini(amounts: Floats) -> float:
    """Gini coefficient of amounts of at least 0, (n,): 0 if all are equal, 1 - 1/n if one has all; not a number if there is nothing."""
    total = float(amounts.sum())
    if total <= 0.0:
        return np.nan
    n, rank = amounts.size, np.arange(1, amounts.size + 1)
    return float((2.0 * rank - n - 1.0) @ np.sort(amounts)) / (n * total)


class Haircuts:
    """A step's deleveraging.

    Args:
        rows: of the ledger, R.

    Attributes:
        asked: shape (R,), whether an account could have given anything.
        given: shape (R,), USD that it gave.
        endowment: shape (R,), USD, the most that it could have given at any one time, with what it had given before in the step: profit
            since entry, at most equity.
        loss: USD of bankrupt accounts' losses that winners were asked for (theta x D); largest: of one account (theta x Delta).
        needed: USD of bankrupt accounts' losses that the layers before deleveraging could not have paid.
    """

    def __init__(self, rows: int) -> None:
        self.asked: NDArray[np.bool_] = np.zeros(rows, dtype=bool)
        self.given: Floats = np.zeros(rows)
        self.endowment: Floats = np.zeros(rows)
        self.loss = self.largest = self.needed = 0.0

    def ask(self, losses: Floats, needed: float) -> None:
        """Winners are asked for this of bankrupt accounts' losses, (n,), USD; the house could not have paid `needed` of them."""
        self.loss += float(losses.sum())
        self.largest = max(self.largest, float(losses.max(initial=0.0)))
        self.needed += needed

    def give(self, rows: Rows, endowment: Floats, given: Floats) -> None:
        """Accounts, (n,), that can give `endowment` now give `given`, USD."""
        self.asked[rows] |= endowment > 0.0
        self.endowment[rows] = np.maximum(self.endowment[rows], self.given[rows] + endowment)
        self.given[rows] += given

    def measures(self) -> tuple[float, float, float, float, float]:
        """Top winner over loss (PTSR) and over the largest loss (PMR); overshoot, USD; Gini and top share of what was given.

        PTSR = max (w - h w)+ / (theta D) and PMR = max (w - h w)+ / (theta Delta), w being endowments and h haircuts; overshoot is what was
        given beyond what was needed; Gini over all who could have given. Not a number where winners were not asked, Gini and top share also
        where nobody gave.
        """
        if self.loss <= 0.0:
            return NOTHING
        given = self.given[self.asked]
        top, total = float((self.endowment - self.given).max(initial=0.0)), float(given.sum())
        share = float(given.max()) / total if total > 0.0 else np.nan
        return top / self.loss, top / self.largest, total - self.needed, gini(given), share


NOTHING = (np.nan,) * 5
"""The measures of a step without deleveraging."""
