"""The accounts that a walk has before it: a compact ledger of those at risk, or the whole one."""

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.deleveraging import fill_pro_rata
from model.ledger import OUTSIDE, Ledger, Rows
from model.market import FULL
from model.venue import Venue

type Floats = NDArray[np.float64]


class Walked:
    """Accounts of one venue under liquidation.

    Attributes:
        venue: whose accounts they are.
        rows: shape (n,), their rows in the venue's ledger, ascending; the house and the institutions come first.
        ledger: their accounts; the venue's own ledger once a loss has reached other account holders.
    """

    def __init__(self, venue: Venue, rows: Rows) -> None:
        self.venue = venue
        self.rows: Rows = np.union1d(np.arange(venue.institutions), rows)
        self.ledger: Ledger = venue.ledger.take(self.rows)

    @property
    def whole(self) -> bool:
        """Whether every account of the venue is before the walk."""
        return self.ledger is self.venue.ledger

    def write_back(self) -> None:
        """Brings the venue's ledger up to date."""
        if not self.whole:
            self.venue.ledger.put(self.rows, self.ledger)

    def admit(self, rows: Rows) -> None:
        """Takes further rows in."""
        if not self.whole:
            self.write_back()
            self.rows = np.union1d(self.rows, rows)
            self.ledger = self.venue.ledger.take(self.rows)

    def widen(self) -> Ledger:
        """Goes on with the whole ledger; returns it."""
        if not self.whole:
            self.write_back()
            self.rows, self.ledger = np.arange(self.venue.ledger.rows), self.venue.ledger
        return self.ledger

    def close_at_mark(self, rows: Rows) -> None:
        """Closes all contracts of `rows`, of the whole ledger, at mark against everybody on the other side, in proportion to size.

        The outside takes them over instead if losses are not socialised.
        """
        venue, ledger = self.venue, self.widen()
        for market in range(ledger.markets):
            for sign in (1.0, -1.0):
                mine = rows[ledger.position[market, rows] * sign > 0.0]
                position = ledger.position[market, mine]
                wanted = float(np.abs(position).sum())
                if wanted <= 0.0:
                    continue
                if venue.channels.socialised_loss:
                    room = np.where(ledger.position[market] * sign < 0.0, ledger.exposure[market], 0.0)
                else:
                    room = np.where(np.arange(ledger.rows) == OUTSIDE, wanted, 0.0)
                contracts = fill_pro_rata(room, room, wanted)
                others = np.flatnonzero(contracts)
                filled = float(contracts.sum()) / wanted
                filled = 1.0 if filled >= FULL else filled
                mark = float(ledger.marks[market])
                closed = -position * filled
                ledger.trade(market, mine, closed, mark, others, sign * contracts[others], mark)
                venue.note_deleveraged(market, others, contracts[others])
                venue.tally.deleveraged += wanted * filled * float(ledger.units[market])
                venue.events.add(
                    "closed_at_mark",
                    venue.name,
                    account=mine,
                    market=market,
                    counterparty="other side",
                    quantity=closed,
                    price=ledger.quoted(market, mark),
                )
