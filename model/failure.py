"""The exchange's own bankruptcy: its estate is divided when it has failed, and paid out in time."""

import numpy as np

from agents.clearinghouse.failure import estate_payments
from model.ledger import OUTSIDE, Flow, Role, Status
from model.venue import Venue


def open_estate(venue: Venue) -> None:
    """Close of the step in which the exchange has failed: costs leave, and what is left is divided anew by seniority.

    The waterfall has written all claims down in proportion; here senior ones are restored at the expense of the others.
    """
    if not venue.insolvent or venue.failed_at is not None:
        return
    venue.failed_at = venue.hours
    p, ledger = venue.parameters.failure, venue.ledger
    if p.recovery == 1.0 and p.seniority == "pari_passu":
        return
    held = ledger.claims()
    written = np.zeros(ledger.rows) if venue.written_down is None else venue.written_down
    estate = p.recovery * float(held.sum())
    if p.seniority == "pari_passu":
        paid = p.recovery * held
    else:
        traders = ledger.role == Role.TRADER
        paid = estate_payments(held + written, traders if p.seniority == "traders_senior" else ~traders, estate)
    venue.written_down = held + written - paid
    venue.tally.bankruptcy_costs += float(held.sum()) - float(paid.sum())
    ledger.pay(Flow.ESTATE, paid - held)
    rows = np.flatnonzero(paid != held)
    venue.events.add("estate", venue.name, account=rows, amount=(paid - held)[rows], layer="write_down")


def pay_estate(venue: Venue) -> None:
    """The delay is over: account holders get what is theirs, and traders are gone with it."""
    ledger = venue.ledger
    rows = np.flatnonzero(ledger.claims())
    if rows.size:
        due = ledger.equity(rows)
        ledger.transfer(Flow.WITHDRAWAL, rows, OUTSIDE, due * venue.within_custody(float(due.sum())))
    traders = (ledger.role == Role.TRADER) & (ledger.status == Status.ACTIVE)
    ledger.status[traders] = Status.GONE


def waiting(venue: Venue) -> float | None:
    """Hours until the estate of a failed exchange pays out; None if it has not failed, or does not pay out while one watches."""
    delay = venue.parameters.failure.delay
    if venue.failed_at is None or delay is None:
        return None
    left = venue.failed_at + delay - venue.hours
    return left if left > 1e-9 else 0.0
