"""What the exchange and its fund take: fees, funding, the levy on open interest; and what they will take in the coming step."""

from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any

from agents.clock import HOURS_PER_YEAR
from experiments.twin import coins, sizing
from experiments.twin.accounts import Account, Fund

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.twin.exchange import Exchange


@dataclass
class Levies:
    """What the fund takes: shares of fees, of surplus and of funding; charges on open positions, an hour, and on trades, of notional."""

    trading_fees: float = 0.0
    liquidation_fees: float = 0.0
    surplus: float = 0.0
    open_interest: float = 0.0
    funding: float = 0.0
    volume: float = 0.0
    injection: float = 0.0


type Traded = Mapping[Account, list[float]]
"""USD by account and market."""


def charge_trading(exchange: "Exchange", ordered: "Traded", made: "Traded") -> None:
    """Fees on USD ordered and made, at most what an account has, shared by fund and exchange; rebates come out of exchange capital."""
    fees = exchange.rules.fees
    for rate, traded in ((fees.taker, ordered), (fees.maker, made)):
        for account, usd in traded.items():
            fee = min(max(rate, 0.0) * sum(usd), max(coins.means(exchange, account), 0.0))
            account.cash -= fee
            share_out(exchange, "trading_fee", "trading_fees", fee, usd)
            exchange.fees += fee
    for account, usd in ordered.items():
        rates = [exchange.levies[pool].volume for pool in exchange.pools.of]
        due = list(map(mul, rates, usd))
        levy = min(sum(due), max(coins.means(exchange, account), 0.0))
        account.cash -= levy
        for pool, part in enumerate(exchange.pools.by_pool(due)):
            to_pool(exchange, "volume_levy", pool, part * levy)
    owed = max(-fees.maker, 0.0) * sum(sum(usd) for usd in made.values())
    if owed > 0.0:
        able = min(1.0, max(exchange.treasury, 0.0) / owed)
        exchange.treasury -= owed * able
        for account, usd in made.items():
            account.cash += -fees.maker * sum(usd) * able
        exchange.fees -= owed * able


def share_out(exchange: "Exchange", kind: str, levy: str, usd: float, weights: list[float]) -> None:
    """What the exchange has taken, from markets with these weights, goes to their pools and to its own capital."""
    for pool, part in enumerate(exchange.pools.by_pool(weights)):
        share = getattr(exchange.levies[pool], levy)
        to_pool(exchange, kind, pool, share * part * usd)
        exchange.treasury += (1.0 - share) * part * usd


def to_pool(exchange: "Exchange", kind: str, pool: int, usd: float) -> None:
    """An inflow to a pool; the shared pool, if there is one, has its part of it."""
    shared = exchange.pools.shared
    exchange.funds[pool].receive(kind, (1.0 - shared) * usd)
    if shared:
        exchange.funds[-1].receive(kind, shared * usd)


def pay_funding(exchange: "Exchange", hours: float) -> None:
    """Longs pay shorts, or the other way round; the pools take their share of what receivers get in their markets."""
    rates = exchange.funding = [market.funding_rate(hours) for market in exchange.markets]
    a_contract = [rate * size for rate, size in zip(rates, exchange.sizes, strict=True)]
    due: dict[Account, float] = {}
    for account in exchange.holders():
        usd = sum(map(mul, a_contract, account.position))
        if usd:
            due[account] = usd
    share = collect(exchange, "funding", due)
    for account, usd in due.items():
        if usd >= 0.0 or account in exchange.funds or account is exchange.outside:
            continue
        legs = [max(-rate * held, 0.0) for rate, held in zip(a_contract, account.position, strict=True)]
        for pool, part in enumerate(exchange.pools.by_pool(legs)):
            taken = min(-usd * share * part * exchange.levies[pool].funding, max(coins.means(exchange, account), 0.0))
            account.cash -= taken
            to_pool(exchange, "funding_share", pool, taken)


def charge_open_interest(exchange: "Exchange", hours: float) -> None:
    """Every open position pays its market's pool by its size."""
    pools = exchange.pools
    a_contract = [exchange.levies[pools.of[at]].open_interest * hours * size for at, size in enumerate(exchange.sizes)]
    due: dict[Account, float] = {}
    owed = [0.0] * pools.own
    for account in (exchange.outside, *exchange.accounts.values()):
        usd = list(map(mul, a_contract, map(abs, account.position)))
        if any(usd):
            due[account] = sum(usd)
        for market, one in enumerate(usd):
            owed[pools.of[market]] += one
    for fund, total in zip(exchange.funds, owed, strict=False):
        due[fund] = -(1.0 - pools.shared) * total
    if pools.shared:
        due[exchange.funds[-1]] = -pools.shared * sum(owed)
    collect(exchange, "open_interest_levy", due)


def collect(exchange: "Exchange", kind: str, due: dict[Account, float]) -> float:
    """Charges (> 0) and credits (< 0), USD: nobody pays more than it has, receivers share what was paid. Returns that share.

    The outside has all that it is asked for.
    """
    share = 1.0
    has = {account: account.without_tokens if isinstance(account, Fund) else coins.means(exchange, account) for account in due}
    has[exchange.outside] = float("inf")
    short = [(account, max(has[account], 0.0)) for account, usd in due.items() if usd > 0.0 and usd > has[account]]
    if short:
        due.update(short)
        owed = -sum(usd for usd in due.values() if usd < 0.0)
        share = sum(usd for usd in due.values() if usd > 0.0) / owed if owed > 0.0 else 1.0
    for account, usd in due.items():
        paid = usd if usd > 0.0 else usd * share
        if isinstance(account, Fund):
            account.receive(kind, -paid)
        else:
            account.cash -= paid
    return share


def target(exchange: "Exchange", interest: list[float]) -> float:
    """USD that the fund should be, all pools together. `interest` is `open_interest`."""
    pools = exchange.pools
    by_pool = [[usd if home == pool else 0.0 for usd, home in zip(interest, pools.of, strict=True)] for pool in range(pools.own)]
    return sum(sizing.target(exchange, mine) for mine in by_pool)


def set_levies(exchange: "Exchange", interest: list[float]) -> list[Levies]:
    """What the scenario's accrual rules take in the coming step, by pool. `interest` is `open_interest`."""
    pools = exchange.pools
    markets = list(zip(interest, pools.of, strict=True))
    levied = []
    for pool, fund in enumerate(exchange.funds[: pools.own]):
        mine = [usd if home == pool else 0.0 for usd, home in markets]
        total = Levies()
        target = (1.0 - pools.shared) * sizing.target(exchange, mine)
        for p in exchange.rules.accrual:
            add_levies(exchange, total, p, Pool(mine, fund.worth, target))
        levied.append(total)
    return levied


@dataclass
class Pool:
    """What a rule sees of a pool, USD: open interest in its markets, 0 in others; what it holds and what it should."""

    interest: list[float]
    fund: float
    target: float


def add_levies(exchange: "Exchange", total: Levies, rule: Any, pool: Pool, factor: float = 1.0) -> None:
    """Adds what one rule takes, times `factor`, to `total`; shares are at most 1."""
    match rule.type:
        case "trading_fees" | "liquidation_fees" | "surplus" | "funding":
            setattr(total, rule.type, min(getattr(total, rule.type) + min(factor * rule.share, 1.0), 1.0))
        case "open_interest":
            levy = rule.rate / HOURS_PER_YEAR * (_volatility(exchange, pool.interest, rule.reference) / rule.reference) ** rule.exponent
            if rule.exposure_exponent > 0.0:
                exposure = rule.exposure_reference * sum(pool.interest) / pool.fund if pool.fund > 0.0 else 10.0
                levy *= min(exposure, 10.0) ** rule.exposure_exponent
            total.open_interest += factor * levy
        case "volume":
            total.volume += factor * rule.basis_points / 10_000.0
        case "injection_on_adequacy":
            if pool.fund < rule.below * pool.target:
                total.injection += factor * max(rule.to * pool.target - pool.fund, 0.0)
        case "target_seeking":
            gap = max(1.0 - pool.fund / pool.target, 0.0) if pool.target > 0.0 else 0.0
            add_levies(exchange, total, rule.levies, pool, factor * gap**rule.exponent)
        case unknown:
            raise NotImplementedError(f"the twin has no accrual rule {unknown!r}")


def open_interest(exchange: "Exchange") -> list[float]:
    """USD by market, one side."""
    contracts = [0.0] * len(exchange.markets)
    for account in exchange.holders():
        for market, held in enumerate(account.position):
            contracts[market] += abs(held)
    return [0.5 * total * size for total, size in zip(contracts, exchange.sizes, strict=True)]


def _volatility(exchange: "Exchange", interest: list[float], otherwise: float) -> float:
    """Weighted by open interest."""
    weight = sum(interest)
    if weight <= 0.0:
        return otherwise
    return sum(usd * market.volatility for usd, market in zip(interest, exchange.markets, strict=True)) / weight
