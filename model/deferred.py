"""Losses that are outstanding: what of them is settled at the close of a step, and what is kept of withdrawals for them."""

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.deferral import Clawback, WithdrawalFactor, clawback_rate, withdrawal_factor
from model.currencies import settle_currencies
from model.ledger import SETTLEMENT, Flow, Rows
from model.losses import Losses
from model.venue import DUST, TIE, Venue
from model.walked import Walked

type Floats = NDArray[np.float64]


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
    factor = withheld(venue)
    venue.factor_rise = max(factor - venue.factor_seen, 0.0)
    venue.factor_seen = max(factor, venue.factor_seen) if factor > 0.0 else 0.0


def pay_out(venue: Venue, kind: Flow, rows: Rows, wanted: Floats) -> Floats:
    """Pays account holders (n,) what they want to take out, USD, less the withdrawal factor, as far as custody goes; what they get."""
    factor = withheld(venue)
    if factor > 0.0:
        kept = wanted * min(factor, venue.outstanding / max(float(wanted.sum()), DUST))
        _settle(venue, "withdrawal_factor", venue.ledger.transfer(Flow.SOCIALISED_LOSS, rows, SETTLEMENT, kept))
        wanted = wanted - kept
        # It was kept in dollars: who has none pays for them in coin, before taking the rest of it out.
        settle_currencies(venue, venue.ledger, rows[venue.ledger.currency[rows] > 0])
    paid = wanted * venue.within_custody(float(wanted.sum()))
    venue.ledger.take_out(kind, rows, paid)
    return paid


def withheld(venue: Venue) -> float:
    """Part of withdrawals that is kept now, while losses are outstanding under that rule."""
    if venue.outstanding <= DUST or not isinstance(venue.deferral, WithdrawalFactor):
        return 0.0
    return withdrawal_factor(venue.outstanding, venue.ledger.fund, float(venue.ledger.claims().sum()))


def _fund_pays(venue: Venue) -> None:
    """The fund pays outstanding losses, with what its tokens bring once its dollars are gone."""
    ledger = venue.ledger
    row, paid = int(ledger.funds[0]), min(venue.outstanding, max(sum(venue.value.payable(ledger)), 0.0))
    if paid > 0.0 and any(layer.name == "fund" for layer in venue.waterfall):
        venue.value.raise_cash(venue, ledger, row, paid)
        ledger.transfer(Flow.DRAW_CLOSE_OUT, row, SETTLEMENT, paid)
        _settle(venue, "fund", paid)


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
        _settle(venue, "clawback", ledger.transfer(Flow.SOCIALISED_LOSS, rows, SETTLEMENT, charged[rows]))
        losses.note_haircut(ledger, rows, charged[rows] / equity[rows])
        venue.events.add("clawback", venue.name, account=rows, amount=charged[rows], layer="clawback")
    if venue.outstanding > TIE * owed + DUST:  # what rounding leaves is nobody's loss
        losses.write_down_outstanding()


def _settle(venue: Venue, layer: str, usd: float) -> None:
    """Notes that a layer has borne USD of outstanding losses."""
    venue.outstanding -= usd
    venue.tally.absorb(layer, usd)
    venue.tally.settled += usd if layer != "fund" else 0.0
