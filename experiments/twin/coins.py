"""Coins: of a fund that is held in them, of account holders who borrow on them, and those that contracts are settled in.

A fund buys them with what comes in, and sells them for what it must pay; both move the index.
"""

import math
from typing import TYPE_CHECKING

from experiments.twin.accounts import Account, Fund

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange


def revalue(exchange: "Exchange") -> None:
    """Coins, and the venue's token, are worth what the index says from now on."""
    indices = [market.index for market in exchange.markets]
    if exchange.token is not None:
        exchange.token.log_index = exchange.markets[0].log_index
    for fund in exchange.funds:
        fund.revalue(indices)


def lent(exchange: "Exchange", account: Account) -> float:
    """USD that an account holder's coins count for: at the index as the exchange has it, haircut taken off."""
    haircuts, counts = exchange.rules.coin_haircuts, 0.0
    if not haircuts or isinstance(account, Fund):
        return 0.0
    for asset, units in enumerate(account.spot):
        if units:
            market = exchange.markets[asset]
            counts += (1.0 - haircuts[min(asset, len(haircuts) - 1)]) * units * math.exp(market.log_index + market.mispricing)
    return counts


def means(exchange: "Exchange", account: Account) -> float:
    """USD that may be taken from an account: its cash, and what its coins count for."""
    return account.cash + lent(exchange, account)


def convert(exchange: "Exchange", short: list[tuple[Account, float]]) -> None:
    """Accounts sell of the coins that stood as collateral what they are short of, USD, all at once."""
    if not exchange.rules.coin_haircuts:
        return
    orders = []
    for account, usd in short:
        value = sum(units * market.index for units, market in zip(account.spot, exchange.markets, strict=True))
        if value > 0.0 and usd > 0.0:
            orders += [(asset, account.number, -units * min(usd / value, 1.0)) for asset, units in enumerate(account.spot)]
    force(exchange, orders)


def force(exchange: "Exchange", orders: list[tuple[int, int, float]]) -> None:
    """Sales that somebody is forced to: asset, number, units. The outside keeps the index where it is if prices know no impact."""
    exchange.trade_spot(orders, silent=() if exchange.channels.price_impact else {number for _, number, _ in orders})


def draw(exchange: "Exchange", fund: Fund, kind: str, usd: float) -> None:
    """A pool pays, out of its dollars, then out of coins, then out of tokens."""
    sell_for(exchange, fund, usd)
    fund.receive(kind, -usd)


def sell_for(exchange: "Exchange", fund: Fund, usd: float) -> None:
    """A pool sells, of its coins and then of its tokens, what its dollars lack to pay `usd`."""
    for asset, units in enumerate(fund.spot):
        price = fund.indices[asset]
        if units and price > 0.0:
            sold = min(max(usd - max(fund.cash, 0.0), 0.0) / price, units)
            trade(exchange, fund, asset, -sold, moves=exchange.channels.price_impact)
    sell_tokens(fund, usd - max(fund.cash, 0.0))


def sell_tokens(fund: Fund, usd: float) -> None:
    """A pool sells tokens for USD, or all that it has; their price falls."""
    token = fund.token
    if token is None or not token.held or usd <= 0.0:
        return
    before, units = fund.worth, token.needed_for(usd, token.held)
    fund.cash += token.brings(units)
    token.held -= units
    token.trade(-units)
    fund.token_price = token.price
    fund.statement.add("revaluation", fund.worth - before)


def trade(exchange: "Exchange", fund: Fund, asset: int, units: float, *, moves: bool = True) -> None:
    """Buys (> 0) or sells coins at the price at which they are valued; the index moves."""
    if units:
        fund.trade_spot(asset, units, fund.indices[asset])
        if moves:
            exchange.markets[asset].trade_spot(units * fund.indices[asset])


def balance(exchange: "Exchange") -> None:
    """Close of a step: dollars become coins as far as custody cash pays for them; coins become the dollars that are owed."""
    if exchange.rules.pools.currency == "usd":
        return
    for pool, fund in enumerate(exchange.funds):
        revalue(exchange)
        asset = exchange.homes[exchange.pools.of.index(pool)] if pool in exchange.pools.of else 0
        price, money = fund.indices[asset], fund.cash
        if price > 0.0:
            if money > 0.0:
                money = min(money, max(custody(exchange), 0.0))
            trade(exchange, fund, asset, max(money / price, -fund.spot[asset]))
    revalue(exchange)


def worth(exchange: "Exchange", market: int, price: float) -> float:
    """USD that a contract bought at `price` is worth, by the rate at which settlement coins count now."""
    home = exchange.settled[market]
    return price if home is None else exchange.markets[market].worth(price, exchange.rates[home])


def into_own_currency(exchange: "Exchange", account: Account) -> float:
    """Dollars of an account whose margin is in coin become coin; all claims on a failed exchange are in dollars. Returns USD."""
    if account.currency is None or not account.coins or exchange.insolvent:
        return 0.0
    dollars = account.dollars
    account.coins[account.currency] += dollars / account.rates[account.currency]
    return dollars


def into_dollars(exchange: "Exchange", accounts: "list[Account]") -> None:
    """Settlement coins of accounts without contracts become dollars; their sale moves the index."""
    totals = [0.0] * len(exchange.rates)
    for account in accounts:
        for asset, units in enumerate(account.coins if account.flat else ()):
            totals[asset] -= units * exchange.rates[asset]
            account.coins[asset] = 0.0
    change(exchange, totals)


def settle_flat(exchange: "Exchange", accounts: "list[Account]") -> None:
    """Those who have no contracts left settle at once."""
    settle_currencies(exchange, [account for account in accounts if account.flat])


def settle_currencies(exchange: "Exchange", accounts: "list[Account]") -> None:
    """Dollars of those whose margin is in coin become coin; others keep no coin in which they have no contracts."""
    totals = [0.0] * len(exchange.rates)
    for account in accounts if exchange.rates else ():
        for asset, rate in enumerate(exchange.rates):
            if account.currency == asset:
                totals[asset] += into_own_currency(exchange, account)
            elif not any(account.position[at] for at, home in enumerate(exchange.settled) if home == asset):
                totals[asset] -= account.coins[asset] * rate
                account.coins[asset] = 0.0
    change(exchange, totals)


def change(exchange: "Exchange", totals: list[float]) -> None:
    """Coins were bought (> 0) or sold for so many USD, by underlying, at the exchange's rates: the index moves."""
    for asset, usd in enumerate(totals):
        if usd and exchange.channels.price_impact:
            exchange.markets[asset].trade_spot(usd)


def custody(exchange: "Exchange") -> float:
    """USD that back all balances: what contracts have gained for some they have cost others.

    What the outside has gained on contracts is in custody until they are closed; what it has lost is there already.
    """
    balances = sum(account.cash for account in (*exchange.funds, *exchange.accounts.values()))
    contributions = sum(member.held for member in exchange.members)
    gained = sum(exchange.outside.profit(market) for market in range(len(exchange.markets)))
    return balances + max(gained, 0.0) + exchange.treasury + contributions - exchange.outstanding
