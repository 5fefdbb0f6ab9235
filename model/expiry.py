"""Expiry: dated contracts end at the index averaged over their last hours, and new series are listed in their place."""

import numpy as np

from model.ledger import Flow
from model.losses import Losses, overdrawn
from model.trading import charge_delivery
from model.venue import Venue
from model.walked import Walked


def settle_expired(venue: Venue) -> None:
    """Ends series that have expired by now: positions are paid in cash, what accounts cannot pay goes down the waterfall.

    A future pays the average index and an option what it is in the money by it, less the delivery fee. A series of the same life and
    moneyness takes the place of each that has ended.
    """
    market, ledger = venue.market, venue.ledger
    if market.listed is None:
        return
    expired = market.listed.expiring(market.clock)
    if not expired.any():
        return
    average = market.average_index(market.listed.settlement_hours)
    prices, delivered = market.listed.settlement_value(average), ledger.exposure * expired[:, None]
    if venue.option_vault is not None:
        venue.option_vault.settled(venue, expired, prices)
    for at in np.flatnonzero(expired).tolist():
        rows = np.flatnonzero(ledger.exposure[at])
        venue.events.add("expiry", venue.name, account=rows, market=at, quantity=-ledger.position[at, rows], price=prices[at], layer="")
        ledger.settle(at, float(prices[at]))
    market.list_anew(expired)
    venue.mark(ledger, market.marks)
    charge_delivery(venue, np.flatnonzero(delivered.any(axis=0)), delivered, average)
    below = overdrawn(ledger)
    if below.size:
        walked = Walked(venue, below)
        Losses(walked).cover_overdrawn(expired[:, None].astype(float), Flow.DRAW_CLOSE_OUT)
        walked.write_back()
