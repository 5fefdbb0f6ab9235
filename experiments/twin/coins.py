"""A fund that is held in coins: it buys them with what comes in, and sells them for what it must pay; both move the index."""

from typing import TYPE_CHECKING

from experiments.twin.accounts import Fund

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange


def revalue(exchange: "Exchange") -> None:
    """Coins, and the venue's token, are worth what the index says from now on."""
    indices = [market.index for market in exchange.markets]
    for fund in exchange.funds:
        fund.revalue(indices)
    if exchange.token is not None:
        exchange.token.log_index = exchange.markets[0].log_index


def draw(exchange: "Exchange", fund: Fund, kind: str, usd: float) -> None:
    """A pool pays, out of its dollars and then out of coins."""
    sell_for(exchange, fund, usd)
    fund.receive(kind, -usd)


def sell_for(exchange: "Exchange", fund: Fund, usd: float) -> None:
    """A pool sells, of its coins, what its dollars lack to pay `usd`."""
    for asset, units in enumerate(fund.spot):
        price = fund.indices[asset]
        if units and price > 0.0:
            trade(exchange, fund, asset, -min(max(usd - max(fund.cash, 0.0), 0.0) / price, units))


def trade(exchange: "Exchange", fund: Fund, asset: int, units: float) -> None:
    """Buys (> 0) or sells coins at the price at which they are valued; the index moves."""
    if units:
        fund.trade_spot(asset, units, fund.indices[asset])
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


def custody(exchange: "Exchange") -> float:
    """USD that back all balances: what contracts have gained for some they have cost others."""
    balances = sum(account.cash for account in (*exchange.funds, *exchange.accounts.values()))
    contributions = sum(member.held for member in exchange.members)
    return balances + exchange.treasury + contributions - exchange.outstanding
