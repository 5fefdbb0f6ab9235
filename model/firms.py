"""Market makers and liquidators as firms: each has one balance sheet, and an account at one exchange or at several.

An exchange has no claim on what a firm holds elsewhere beyond its account (our choice, as on venues that cannot sue); a firm that leaves a
deficit behind at one exchange is in default at all of them.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from model.clearing import terminate
from model.deferred import pay_out
from model.ledger import OUTSIDE, Flow, Rows, Status
from model.sharing import Sharing
from model.venue import Venue

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]


class Firms:
    """Those who borrow: B firms, market makers first, and their accounts at V exchanges.

    What firms have by exchange is (V, B), nothing where they have no account.

    Args:
        venues: the exchanges.
        own: for each exchange, (b,) USD, what its market makers and then its liquidators brought of their own.
        sharing: which of them are the same firms everywhere.

    Attributes:
        makers: how many of the firms are market makers.
        own: shape (B,), USD, own capital at the start.
        rows: by exchange, the ledger rows of its market makers and then its liquidators; who: which firm each belongs to.
        division: shape (V, B), how each firm's own capital was divided over its accounts at the start.
    """

    def __init__(self, venues: Sequence[Venue], own: Sequence[Floats], sharing: Sharing) -> None:
        self.venues = tuple(venues)
        makers, self.makers = _numbered([venue.makers.size for venue in venues], sharing.market_makers, 0)
        liquidators, self.count = _numbered([venue.liquidators.size for venue in venues], sharing.liquidators, self.makers)
        self.rows: list[Rows] = [np.concatenate((venue.makers, venue.liquidators)) for venue in venues]
        self.who: list[Rows] = [np.concatenate(both) for both in zip(makers, liquidators, strict=True)]
        self._present = self._spread([np.ones(who.size) for who in self.who]) > 0.0
        self._first = np.zeros(self._present.shape)
        self._first[self._present.argmax(axis=0), np.arange(self.count)] = 1.0
        capital = self._spread(own)
        self.own: Floats = capital.sum(axis=0)
        self.division = self.split(capital)

    def _spread(self, values: Sequence[Floats]) -> Floats:
        """What each exchange's accounts have, (b,) each, by exchange and firm, (V, B)."""
        if len(values) == 1:  # then firms have the order of the ledger's rows
            return values[0][None, :]
        out = np.zeros((len(self.who), self.count))
        for at, (who, value) in enumerate(zip(self.who, values, strict=True)):
            out[at, who] = value
        return out

    def split(self, weights: Floats) -> Floats:
        """Shape (V, B): parts in proportion to weights, (V, B); all at a firm's first exchange where it has no weight anywhere."""
        total = weights.sum(axis=0)
        parts: Floats = np.divide(weights, total, out=self._first.copy(), where=total > 0.0)
        return parts

    @property
    def open(self) -> Flags:
        """Shape (V, 1): exchanges where trading goes on."""
        return np.array([[venue.is_open()] for venue in self.venues])

    def equity(self) -> Floats:
        """Shape (V, B), USD."""
        return self._spread([venue.ledger.equity(rows) for venue, rows in zip(self.venues, self.rows, strict=True)])

    def initial(self) -> Floats:
        """Shape (V, B), USD: initial margin; none at an exchange that has failed."""
        found = [
            venue.margin_of(venue.ledger, rows).initial if venue.is_open() else np.zeros(rows.size)
            for venue, rows in zip(self.venues, self.rows, strict=True)
        ]
        return self._spread(found)

    def active(self) -> Flags:
        """Shape (V, B): accounts in use."""
        found = [(venue.ledger.status[rows] == Status.ACTIVE).astype(float) for venue, rows in zip(self.venues, self.rows, strict=True)]
        return self._spread(found) > 0.0

    def sound(self) -> Flags:
        """Shape (B,): firms none of whose accounts has been closed for good."""
        sound: Flags = (self.active() == self._present).all(axis=0)
        return sound

    def broken(self) -> Flags:
        """Shape (B,): firms that have an account closed for good and others elsewhere."""
        if len(self.venues) == 1:
            return np.zeros(self.count, dtype=bool)
        return ~self.sound() & (self._present.sum(axis=0) > 1)

    def written_down(self) -> Floats:
        """Shape (V, B), USD: claims on exchanges that were written down in the step."""
        found = [
            venue.written_down[rows] if venue.written_down is not None else np.zeros(rows.size)
            for venue, rows in zip(self.venues, self.rows, strict=True)
        ]
        return self._spread(found)

    def within_custody(self, *wanted: Floats) -> Floats:
        """Shape (V, 1): part of what firms want to take out, (V, B) USD each, that exchanges' custody cash can pay."""
        return np.array(
            [[venue.within_custody(sum(float(usd[at].sum()) for usd in wanted))] for at, venue in enumerate(self.venues)], dtype=float
        ).reshape(-1, 1)

    def receive(self, kind: Flow, usd: Floats) -> None:
        """Pays USD, (V, B), into accounts."""
        for venue, rows, who, paid in zip(self.venues, self.rows, self.who, usd, strict=True):
            if paid.any():
                venue.ledger.transfer(kind, OUTSIDE, rows, paid[who])

    def pay(self, kind: Flow, usd: Floats) -> None:
        """Takes USD, (V, B), out of accounts."""
        for venue, rows, who, paid in zip(self.venues, self.rows, self.who, usd, strict=True):
            if paid.any():
                venue.ledger.transfer(kind, rows, OUTSIDE, paid[who])

    def take_out(self, kind: Flow, usd: Floats) -> Floats:
        """Takes USD, (V, B), out of accounts as account holders do; what was paid, (V, B)."""
        found = [
            pay_out(venue, kind, rows, wanted[who]) if wanted.any() else np.zeros(rows.size)
            for venue, rows, who, wanted in zip(self.venues, self.rows, self.who, usd, strict=True)
        ]
        return self._spread(found)

    def terminate(self, failed: Flags) -> None:
        """Ends the contracts of firms in default, (B,), everywhere."""
        for venue, rows, who in zip(self.venues, self.rows, self.who, strict=True):
            terminate(venue, rows[failed[who]])

    def dissolve(self, failed: Flags) -> None:
        """Owners of firms in default, (B,), get what is left in their accounts, as far as custody goes, and the accounts are closed."""
        for venue, rows, who in zip(self.venues, self.rows, self.who, strict=True):
            theirs = rows[failed[who]]
            rest = venue.ledger.equity(theirs)
            if (rest > 0.0).any():
                rest = np.maximum(rest, 0.0)
                venue.ledger.transfer(Flow.WITHDRAWAL, theirs, OUTSIDE, rest * venue.within_custody(float(rest.sum())))
            venue.ledger.status[theirs] = Status.BANKRUPT

    # -- between exchanges ----------------------------------------------------------------------------------------------------------

    def balance(self, part: float) -> Floats:
        """Firms bring free margin from where they have much of it to where they have little.

        They aim at free margin, equity less initial margin, that is divided over their accounts as their capital was at the start, and
        take `part` of the way; what they lack nobody lends them. It leaves one exchange as a withdrawal does.

        Returns:
            Shape (V,), USD, what each exchange has received on balance; the sum is zero.
        """
        before = self._outside()
        usable = self.active() & self.open & self.sound()
        free = np.where(usable, self.equity() - self.initial(), 0.0)
        gap = self.split(self.division * usable) * free.sum(axis=0) - free
        wanted = np.where(usable, part * np.clip(np.minimum(-gap, free), 0.0, None), 0.0)
        paid = self.take_out(Flow.MARGIN_TRANSFER, wanted)
        self._bring(paid, np.maximum(gap, 0.0) * usable)
        return before - self._outside()

    def carry(self, failed: Venue) -> Floats:
        """What sound firms get from an exchange that has failed they bring to where trading goes on; as `balance` otherwise."""
        usable = self.active() & self.open & self.sound()
        there = np.array([[venue is failed] for venue in self.venues])
        due = np.where(there & usable.any(axis=0), np.maximum(self.equity(), 0.0), 0.0)
        paid = due * self.within_custody(due)
        before = self._outside()
        self.pay(Flow.MARGIN_TRANSFER, paid)
        self._bring(paid, self.division * usable)
        return before - self._outside()

    def _bring(self, paid: Floats, weights: Floats) -> None:
        """Pays in, in proportion to weights, what was taken out, (V, B) each."""
        self.receive(Flow.MARGIN_TRANSFER, self.split(weights) * paid.sum(axis=0))

    def _outside(self) -> Floats:
        """Shape (V,), USD: the outside world's balance with each exchange."""
        return np.array([venue.ledger.cash[OUTSIDE] for venue in self.venues])


def _numbered(counts: Sequence[int], shared: bool, first: int) -> tuple[list[Rows], int]:
    """Which firm each exchange's accounts belong to, numbered from `first`, and the next number."""
    if shared:
        return [first + np.arange(count) for count in counts], first + max(counts)
    starts = first + np.concatenate(([0], np.cumsum(counts))).astype(np.intp)
    return [np.arange(start, start + count) for start, count in zip(starts[:-1].tolist(), counts, strict=True)], int(starts[-1])
