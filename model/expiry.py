"""Expiry: dated contracts end at the index averaged over their last hours, and new series are listed in their place."""

import numpy as np

from model.ledger import Flow
from model.losses import Losses
from model.venue import DUST, Venue
from model.walked import Walked


def settle_expired(venue: Venue) -> None:
    """Ends series that have expired by now: positions are paid in cash, what accounts cannot pay goes down the waterfall.

    A future pays the average index and an option what it is in the money by it; no fee is charged for it (our choice). A series of the
    same life and moneyness takes the place of each that has ended.
    """
    market, ledger = venue.market, venue.ledger
    if market.listed is None:
        return
    expired = market.listed.expiring(market.clock)
    if not expired.any():
        return
    prices = market.listed.settlement_value(market.average_index(market.listed.settlement_hours))
    for at in np.flatnonzero(expired).tolist():
        rows = np.flatnonzero(ledger.exposure[at])
        venue.events.add("expiry", venue.name, account=rows, market=at, quantity=-ledger.position[at, rows], price=prices[at], layer="")
        ledger.settle(at, float(prices[at]))
    market.list_anew(expired)
    ledger.mark(market.marks, venue.fix())
    below = np.flatnonzero(ledger.cash < -DUST)
    below = below[(below >= ledger.house) & ~ledger.exposure[:, below].any(axis=0)]
    if below.size:
        walked = Walked(venue, below)
        losses = Losses(walked)
        at_fault = np.searchsorted(walked.rows, below)
        losses.cover(at_fault, -walked.ledger.cash[at_fault], expired[:, None].astype(float), Flow.DRAW_CLOSE_OUT)
        walked.write_back()
