"""Funds that stand in for each other: a loss beyond one exchange's fund draws on those of the others.

What is called moves from fund to fund, at once, by a pair of flows through the outside world, and is not paid back (our choice). Whoever
loses first calls first; among exchanges that lose in the same increment of the walk the order is the scenario's.
"""

from typing import TYPE_CHECKING

from model.ledger import FUND, OUTSIDE, Flow, Ledger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from model.venue import Venue


class Guarantee:
    """The exchanges whose funds are pooled; each fund is one pool, in dollars."""

    def __init__(self, venues: "Sequence[Venue]") -> None:
        self._venues = tuple(venues)

    def _others(self, venue: "Venue") -> "list[tuple[Ledger, float]]":
        """The other funds that could pay something now: the accounts they are in, and USD, as far as their exchange's custody goes."""
        able = []
        for other in self._venues:
            if other is venue or not other.is_open():
                continue
            ledger = other.walked.ledger if other.walked is not None else other.ledger
            usd = min(other.value.payable(ledger)[0], ledger.custody)
            if usd > 0.0:
                able.append((ledger, usd))
        return able

    def stands_by(self, venue: "Venue") -> float:
        """USD that the other funds could pay now for losses of an exchange."""
        return sum((usd for _, usd in self._others(venue)), 0.0)

    def call(self, venue: "Venue", ledger: Ledger, wanted: float) -> float:
        """The other funds pay USD into the exchange's fund, in `ledger`, each in proportion to what it has. Returns what they paid."""
        others = self._others(venue)
        total = sum(usd for _, usd in others)
        part = min(wanted / total, 1.0) if total > 0.0 and wanted > 0.0 else 0.0
        paid = sum((theirs.transfer(Flow.GUARANTEE, FUND, OUTSIDE, part * usd) for theirs, usd in others if part > 0.0), 0.0)
        if paid > 0.0:
            ledger.transfer(Flow.GUARANTEE, OUTSIDE, FUND, paid)
            venue.events.add("guarantee", venue.name, account=FUND, amount=paid, layer="fund")
        return paid
