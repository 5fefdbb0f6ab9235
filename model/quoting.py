"""What institutions offer: market makers' quotes, liquidators' bids, and orders that sell what has been taken over."""

import numpy as np
from numpy.typing import NDArray

from agents.liquidator import Bids, LiquidatorView, bid
from agents.market_maker import MakerView, quote
from model.ledger import Ledger, Rows, Status
from model.venue import Venue

type Floats = NDArray[np.float64]

CRUMB = 1_000.0
"""USD: what is sold off little by little, positions taken over or naked spot, is sold whole once it is worth less."""


def able(ledger: Ledger, rows: Rows, breached: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    """Whether institutions may trade: active and not being liquidated."""
    active: NDArray[np.bool_] = ledger.status[rows] == Status.ACTIVE
    return active if breached is None else active & ~breached[rows]


def requote(venue: Venue, ledger: Ledger, breached: NDArray[np.bool_] | None = None) -> None:
    """Market makers quote afresh from their accounts in `ledger`, whose first rows are the venue's institutions."""
    market, rows = venue.market, venue.makers
    if not rows.size:
        market.quote(np.zeros_like(market.depth), np.zeros_like(market.skew))
        return
    span = slice(int(rows[0]), int(rows[-1]) + 1)
    position, exposure = ledger.position[:, span], ledger.exposure[:, span]
    view = MakerView(
        equity=ledger.equity(span),
        opening=venue.maker_capital,
        initial_margin=venue.requirement(position, exposure, ledger.marks).initial,
        inventory=inventory(venue, position, ledger, span),
        able=able(ledger, rows, breached),
        volatility=market.alarm,
        reference=venue.reference_volatility,
        depth=market.reference_depth * venue.depth_multiplier,
    )
    venue.quotes = quote(venue.maker_parameters, view)
    market.quote(venue.quotes.depth.sum(axis=2), venue.quotes.skew)


def inventory(venue: Venue, position: Floats, ledger: Ledger, makers: slice) -> Floats:
    """Shape (M, K), USD: what makers hold, (M, K) contracts, by market; a perpetual's counts the deltas of all on its underlying.

    What is settled in coin has its delta in the coins that stand against it, and those that it has gained or lost.
    """
    held, market = position * ledger.units[:, None], venue.market
    if market.listed is None:
        return held
    delta = held if venue.fixing is None else held * venue.fixing.deltas[:, None]
    if market.inverse is not None:
        delta = np.where(market.inverse[:, None], 0.0, delta)
        held[: market.assets] += ledger.rates[:, None] * ledger.coins[:, makers]
    for further in range(market.assets, held.shape[0]):
        held[market.asset[further]] += delta[further]
    return held


def bids(venue: Venue, ledger: Ledger, breached: NDArray[np.bool_]) -> Bids:
    """What liquidators bid now."""
    rows = venue.liquidators
    view = LiquidatorView(ledger.equity(rows), ledger.units @ ledger.exposure[:, rows], able(ledger, rows, breached), venue.market.alarm)
    return bid(venue.liquidator_parameters, view)


def unwinding(venue: Venue, hours: float) -> tuple[Rows, Floats]:
    """Orders, rows (n,) and contracts (M, n), with which the fund and liquidators sell what they have taken over."""
    funds = venue.ledger.funds
    rows = np.concatenate((funds, venue.liquidators, venue.vault))
    rates = np.full(rows.size, venue.liquidator_parameters.unwind_rate)
    rates[: funds.size] = venue.parameters.route.unwind_rate
    if venue.parameters.vault is not None:
        rates[-1] = venue.parameters.vault.unwind_rate
    position = venue.ledger.position[:, rows]
    small = venue.ledger.exposure[:, rows] * venue.ledger.units[:, None] < CRUMB
    return rows, np.where(small, -position, position * np.expm1(-rates * hours))
