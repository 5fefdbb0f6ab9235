"""Trading: what traders know of contracts, which of their orders are taken, the auction's settlement, and fees."""

import numpy as np
from numpy.typing import NDArray

from agents.contracts import Contracts
from model.currencies import settle_flat
from model.instruments import Kind
from model.ledger import TREASURY, Flow, Rows
from model.levies import accrue, levy_volume
from model.venue import Venue

type Floats = NDArray[np.float64]

LEAST_VEGA = 0.02
"""Of the index, for a relative change of volatility: what is less sensitive does not say what volatility it implies (our choice)."""


def known_contracts(venue: Venue, funding: Floats) -> Contracts | None:
    """What traders know of contracts, beyond what perpetuals are; `funding`, (M,), annualised, is what they expect of perpetuals."""
    market, listed = venue.market, venue.market.listed
    if listed is None:
        return None
    days = listed.left(market.clock) / 24.0
    index = np.maximum(market.index, 1e-300)
    # A future's premium is earned by its expiry; nobody expects to earn it over again sooner than in a week.
    beyond = np.where(np.isfinite(days), market.wedge * (365.0 / np.maximum(days, 7.0)), 0.0)
    carry = np.where(listed.option, 0.0, np.where(listed.coin_settled, funding, funding[market.asset]) + beyond)
    delta, richness = np.ones(index.size), np.ones(index.size)
    if venue.fixing is not None:
        delta = venue.fixing.deltas
        # By how much a premium over the surface's price raises implied volatility, to first order.
        raised = np.clip(market.basis * index / np.maximum(venue.fixing.vegas, LEAST_VEGA * index), -0.5, 1.0)
        surface = market.level[market.asset] / np.maximum(market.volatility, 1e-12)
        richness = np.where(listed.option, surface * (1.0 + raised), 1.0)
    kinds = listed.kind
    return Contracts(
        market.asset,
        listed.linear,
        listed.coin_settled,
        kinds == Kind.CALL,
        kinds == Kind.PUT,
        days,
        carry,
        venue.ledger.marks / np.maximum(venue.ledger.units, 1e-300),
        richness,
        delta,
    )


def permitted(venue: Venue, rows: Rows, contracts: Floats) -> Floats:
    """Orders, (M, n) of distinct rows (n,), as far as the exchange takes them: all, those that reduce positions, or none."""
    if venue.action.suspended:
        return np.zeros_like(contracts)
    if not venue.action.capped:
        return contracts
    closing = -venue.ledger.position[:, rows]
    return np.clip(contracts, np.minimum(closing, 0.0), np.maximum(closing, 0.0))


def open_positions(venue: Venue, rows: Rows, contracts: Floats, weights: Floats) -> None:
    """Traders open with positions, at the index and without fees: longs and shorts against each other, the rest against makers.

    The heavier side is cut until the makers need to take no more than half their capital over all markets, divided by `weights`, (M,).
    """
    index = venue.market.index if venue.market.listed is None else venue.market.marks
    capital = float(venue.maker_capital.sum())
    buys, sells = np.maximum(contracts, 0.0), np.maximum(-contracts, 0.0)
    most = np.minimum(buys.sum(axis=1), sells.sum(axis=1)) + 0.5 * capital * weights / venue.market.face(venue.market.index)
    quantity = _cut(buys, most) - _cut(sells, most)
    shares = venue.maker_capital / capital if capital > 0.0 else venue.maker_capital
    venue.ledger.trade_all(rows, quantity, index, venue.makers, -quantity.sum(axis=1)[:, None] * shares)
    venue.interest = venue.opening_interest = venue.open_interest()


def _cut(side: Floats, most: Floats) -> Floats:
    """Orders of one side, (M, n), cut in proportion to at most `most`, (M,), contracts."""
    total = side.sum(axis=1)
    kept: Floats = side * np.where(total > most, most / np.where(total > 0.0, total, 1.0), 1.0)[:, None]
    return kept


def trade(venue: Venue, rows: Rows, contracts: Floats, hours: float) -> None:
    """The auction clears orders, contracts (M, n) of distinct rows (n,), against the market makers; fees."""
    buys, sells = np.maximum(contracts, 0.0), np.maximum(-contracts, 0.0)
    cleared = venue.market.auction(buys.sum(axis=1), sells.sum(axis=1), hours)
    filled = buys * cleared.buys[:, None] - sells * cleared.sells[:, None]
    taken = _to_makers(venue, cleared.makers)
    worth = venue.market.worth(cleared.price, venue.ledger.rates)
    venue.ledger.trade_all(rows, filled, worth, venue.makers, taken)
    if venue.option_vault is not None:
        venue.option_vault.traded(venue, worth)
    # Fees are on notional, which is the price only of what is linear.
    price = venue.market.face(cleared.price)
    if venue.market.listed is not None:
        price = np.where(venue.market.listed.option, venue.ledger.units, price)
    venue.tally.volume += np.abs(filled).sum(axis=1) * price
    _charge(venue, rows, np.abs(filled), np.abs(taken), price)
    settle_flat(venue, venue.ledger, rows)


def _to_makers(venue: Venue, contracts: Floats) -> Floats:
    """Shape (M, K): what each maker takes of `contracts`, (M,), in proportion to the depth it shows on that side."""
    shown = np.where(contracts[:, None] > 0.0, venue.quotes.depth[0], venue.quotes.depth[1])
    total = shown.sum(axis=1)
    taken: Floats = shown * (contracts / np.where(total > 0.0, total, 1.0))[:, None]
    return taken


def _charge(venue: Venue, rows: Rows, ordered: Floats, made: Floats, price: Floats) -> None:
    """Trading fees on contracts (M, n) and (M, K) at `price`, (M,), at most what an account has; rebates come out of capital."""
    ledger, fees = venue.ledger, venue.parameters.fees
    taker = np.where(rows >= ledger.house, np.minimum(fees.taker * (price @ ordered), np.maximum(venue.means(ledger, rows), 0.0)), 0.0)
    maker = np.minimum(fees.maker * (price @ made), np.maximum(ledger.equity(venue.makers), 0.0))
    for who, fee, traded in ((rows, taker, ordered), (venue.makers, np.maximum(maker, 0.0), made)):
        for usd in accrue(venue, ledger, Flow.TRADING_FEE, "trading_fees", who, fee, venue.pools.parts(traded, price)):
            venue.tally.fees += usd
    levy_volume(venue, rows, ordered, price)
    rebate = np.maximum(-maker, 0.0)
    owed = float(rebate.sum())
    if owed > 0.0:
        able = min(1.0, max(ledger.treasury, 0.0) / owed)
        venue.tally.fees -= ledger.transfer(Flow.TRADING_FEE, TREASURY, venue.makers, rebate * able)


def charge_delivery(venue: Venue, rows: Rows, delivered: Floats, price: Floats) -> None:
    """The delivery fee of accounts, (n,), on contracts that have expired, (M, R), at `price`, (M,); at most what an account has."""
    ledger, rate = venue.ledger, venue.parameters.fees.delivery
    rows = rows[rows >= ledger.house]
    if rate <= 0.0 or not rows.size:
        return
    fee = np.minimum(rate * (price @ delivered[:, rows]), np.maximum(venue.means(ledger, rows), 0.0))
    for usd in accrue(venue, ledger, Flow.TRADING_FEE, "trading_fees", rows, fee, venue.pools.parts(delivered[:, rows], price)):
        venue.tally.fees += usd
