"""Coins: held as collateral or for hedges, settled in, or held by the fund; how they change hands with the outside."""

import numpy as np
from numpy.typing import NDArray

from model.ledger import OUTSIDE, Ledger, Rows
from model.venue import Venue

type Floats = NDArray[np.float64]


def trade_coins(venue: Venue, ledger: Ledger, rows: Rows, units: Floats, *, moves: bool = True) -> None:
    """Coins, (A, n) units, change hands with the outside at the index, which then moves, unless the outside keeps it up."""
    index = venue.market.underlying
    for asset in np.flatnonzero(units.any(axis=1)).tolist():
        ledger.trade_spot(asset, rows, units[asset], float(index[asset]))
        if moves:
            venue.market.trade_spot(asset, float(units[asset].sum()) * float(index[asset]))


def change_coins(venue: Venue, ledger: Ledger, rows: Rows, units: Floats) -> None:
    """Settlement coins, (A, n), change hands with the outside at the exchange's index, which then moves as far as impact goes."""
    if not units.any():
        return
    for asset, usd in enumerate(ledger.change(rows, units).tolist()):
        if usd and venue.channels.price_impact:
            venue.market.trade_spot(asset, usd)


def settle_currencies(venue: Venue, ledger: Ledger, rows: Rows) -> None:
    """Accounts, (n,), come to hold the money that their margin is in: at the close of a step, and once they have no contracts left.

    Whose margin is in coin has been charged and paid in dollars, and changes them into coin; others, who have no contracts left that
    are settled in a coin, change what has become of them into dollars.
    """
    rows = rows[rows != OUTSIDE]
    if not ledger.currencies or not rows.size:
        return
    currency, coins = ledger.currency[rows], ledger.coins[:, rows]
    dollars = ledger.cash[rows] + np.where(ledger.settled < 0, ledger.marks, 0.0) @ ledger.position[:, rows]
    units = np.zeros_like(coins)
    for asset, rate in enumerate(ledger.rates.tolist()):
        open_still = ledger.exposure[np.ix_(ledger.settled == asset, rows)].any(axis=0)
        units[asset] = np.where(currency == asset + 1, dollars / max(rate, 1e-300), np.where(open_still, 0.0, -coins[asset]))
    change_coins(venue, ledger, rows, units)


def settle_flat(venue: Venue, ledger: Ledger, rows: Rows) -> None:
    """Those among accounts, (n,), who have no contracts left hold the money that their margin is in, before its rate moves on."""
    if ledger.currencies:
        settle_currencies(venue, ledger, rows[~ledger.exposure[:, rows].any(axis=0)])


def balance_coins(venue: Venue) -> None:
    """A fund that is held in coins buys them with its dollars, and sells what its debts in dollars need; both move the index."""
    if venue.parameters.pools.currency == "usd":
        return
    ledger, market = venue.ledger, venue.market
    for pool, row in enumerate(ledger.funds.tolist()):
        asset = int(market.asset[np.argmax(venue.pools.market == pool)])  # the shared pool has no market: it holds the first of all
        index = market.underlying
        ledger.revalue(index)
        money, price = float(ledger.equity(row)), float(index[asset])
        if price <= 0.0:
            continue
        money = money * venue.within_custody(money) if money > 0.0 else max(money, -price * float(ledger.spot[asset, row]))
        if money:
            ledger.trade_spot(asset, np.array([row]), np.array([money / price]), price)
            market.trade_spot(asset, money)
    venue.revalue(ledger)
