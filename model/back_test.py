"""Margin put to the test, step by step: what the exchange asks for at a close against what accounts lose by prices until the next.

Contracts are those of the first close throughout, as in a clearing house's back-test of a static portfolio: what is traded, liquidated or
delivered between two closes changes neither what was asked for nor what it is compared with.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.venue import DUST, Venue

type Floats = NDArray[np.float64]

LARGEST: Final = 5
"""Accounts whose share of positions and of margin is told: the largest five (CPMI-IOSCO 2015, sections 18.2 and 18.3)."""


class BackTest:
    """The margin of account holders, everybody but the exchange itself.

    Attributes:
        initial: shape (n,), USD of initial margin asked for at the last close, by row of the ledger from the first account holder on;
            required: their sum.
        position_share, margin_share: the five largest accounts' share of open positions and of that margin; not a number without any.
        variation: USD that accounts lost in the step by the change of marks, each over all its markets; gains of others not taken off.
        accounts: that had contracts at the last close; breaches: those among them that lost more than was asked of them.
        uncovered, largest: USD of such losses beyond margin, all together and the largest one.
    """

    initial: Floats
    required: float
    position_share: float
    margin_share: float

    def __init__(self, venue: Venue) -> None:
        self.variation = self.uncovered = self.largest = 0.0
        self.accounts = self.breaches = 0
        self.close(venue)

    def close(self, venue: Venue) -> None:
        """The close: what is asked of accounts as they stand. A rule that is asked here remembers nothing of it."""
        ledger = venue.ledger
        position, exposure = ledger.position[:, ledger.house :], ledger.exposure[:, ledger.house :]
        asked, _ = venue.margin.rule(venue.margined(position, exposure, ledger.marks), venue.states["margin"], venue.rng)
        self.initial = asked.initial * venue.action.initial
        self.required = float(self.initial.sum())
        self.position_share = _top_share(ledger.units @ exposure)
        self.margin_share = _top_share(self.initial)
        self._position, self._marks, self._scale = position.copy(), ledger.marks.copy(), ledger.scale.copy()

    def walked(self, venue: Venue) -> None:
        """Marks have gone where the step takes them, and no contract has expired yet: who lost how much on what it had at the close.

        What a contract that is settled in coin gains is coins, (marks / rate) now less then, and counts at the rate of now.
        """
        ledger, before = venue.ledger, self._marks
        if ledger.currencies:
            before = before * np.divide(ledger.scale, self._scale, out=np.ones_like(before), where=self._scale != 0.0)
        loss = (before - ledger.marks) @ self._position
        self.variation = float(loss[loss > 0.0].sum())
        self.accounts = int(np.count_nonzero(self._position.any(axis=0)))
        beyond = loss - self.initial
        beyond = beyond[beyond > DUST]  # less is rounding
        self.breaches, self.uncovered, self.largest = beyond.size, float(beyond.sum()), float(beyond.max(initial=0.0))


def _top_share(held: Floats) -> float:
    """The largest five's part of what accounts, (n,), have; not a number if nobody has any."""
    total = float(held.sum())
    if total <= 0.0:
        return float("nan")
    return float(np.partition(held, held.size - LARGEST)[-LARGEST:].sum()) / total if held.size > LARGEST else 1.0
