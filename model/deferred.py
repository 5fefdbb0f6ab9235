"""Losses that are outstanding: what of them is settled at the close of a step, and who sees it."""

import numpy as np

from agents.clearinghouse.deferral import Clawback, clawback_rate
from model.ledger import SETTLEMENT, Flow
from model.losses import Losses
from model.venue import DUST, TIE, Venue
from model.walked import Walked


def settle_outstanding(venue: Venue, hours: float) -> None:
    """Close of a step of `hours`: the fund pays what it can of outstanding losses; at the end of a week's clawback winners do."""
    if venue.deferral is None:
        return
    if isinstance(venue.deferral, Clawback):
        venue.since_settlement += hours
        if venue.since_settlement >= venue.deferral.parameters.period * (1.0 - 1e-9):
            venue.since_settlement = 0.0
            _fund_pays(venue)
            _claw_back(venue)
            venue.ledger.paid_in[:] = venue.ledger.equity()
        return
    _fund_pays(venue)
    factor = venue.withdrawal_factor()
    venue.factor_rise = max(factor - venue.factor_seen, 0.0)
    venue.factor_seen = max(factor, venue.factor_seen) if factor > 0.0 else 0.0


def _fund_pays(venue: Venue) -> None:
    """The fund pays outstanding losses, with what its tokens bring once its dollars are gone."""
    ledger = venue.ledger
    row, paid = int(ledger.funds[0]), min(venue.outstanding, max(sum(venue.value.payable(ledger)), 0.0))
    if paid > 0.0 and any(layer.name == "fund" for layer in venue.waterfall):
        venue.value.raise_cash(venue, ledger, row, paid)
        ledger.transfer(Flow.DRAW_CLOSE_OUT, row, SETTLEMENT, paid)
        venue.settle("fund", paid)


def _claw_back(venue: Venue) -> None:
    """Winners of the week pay; what their profits cannot bear is written down."""
    ledger, owed = venue.ledger, venue.outstanding
    if owed <= DUST:
        return
    equity = ledger.claims()
    profit = np.clip(equity - ledger.paid_in, 0.0, equity)
    charged = clawback_rate(venue.outstanding, 0.0, float(profit.sum())) * profit
    rows = np.flatnonzero(charged)
    losses = Losses(Walked(venue, rows))
    losses.walked.widen()
    if rows.size:
        venue.settle("clawback", ledger.transfer(Flow.SOCIALISED_LOSS, rows, SETTLEMENT, charged[rows]))
        losses.note_haircut(ledger, rows, charged[rows] / equity[rows])
        venue.events.add("clawback", venue.name, account=rows, amount=charged[rows], layer="clawback")
    if venue.outstanding > TIE * owed + DUST:  # what rounding leaves is nobody's loss
        losses.write_down_outstanding()
