"""What the exchange and its fund take: fees, funding, the levy on open interest; and what they will take in the coming step."""

from dataclasses import dataclass
from operator import mul
from typing import TYPE_CHECKING, Any

from agents.clock import HOURS_PER_YEAR
from experiments.twin.accounts import Account

if TYPE_CHECKING:
    from collections.abc import Mapping

    from experiments.twin.exchange import Exchange


@dataclass
class Levies:
    """What the fund takes: shares of fees, of surplus and of funding; a charge on open positions, share of notional an hour."""

    trading_fees: float = 0.0
    liquidation_fees: float = 0.0
    surplus: float = 0.0
    open_interest: float = 0.0
    funding: float = 0.0


def charge_trading(exchange: "Exchange", ordered: "Mapping[Account, float]", made: "Mapping[Account, float]") -> None:
    """Fees on USD ordered and made, at most what an account has, shared by fund and exchange; rebates come out of exchange capital."""
    fees, share = exchange.rules.fees, exchange.levies.trading_fees
    for rate, traded in ((fees.taker, ordered), (fees.maker, made)):
        for account, usd in traded.items():
            fee = min(max(rate, 0.0) * usd, max(account.cash, 0.0))
            account.cash -= fee
            exchange.fund.receive("trading_fee", share * fee)
            exchange.treasury += (1.0 - share) * fee
            exchange.fees += fee
    owed = max(-fees.maker, 0.0) * sum(made.values())
    if owed > 0.0:
        able = min(1.0, max(exchange.treasury, 0.0) / owed)
        exchange.treasury -= owed * able
        for account, usd in made.items():
            account.cash += -fees.maker * usd * able
        exchange.fees -= owed * able


def pay_funding(exchange: "Exchange", hours: float) -> None:
    """Longs pay shorts, or the other way round; the fund takes its share of what receivers get."""
    rates = exchange.funding = [market.funding_rate(hours) for market in exchange.markets]
    a_contract = [rate * mark for rate, mark in zip(rates, exchange.marks, strict=True)]
    due: dict[Account, float] = {}
    for account in (exchange.fund, *exchange.accounts.values()):
        usd = sum(map(mul, a_contract, account.position))
        if usd:
            due[account] = usd
    share = collect(exchange, "funding", due)
    if exchange.levies.funding <= 0.0:
        return
    for account, usd in due.items():
        if usd < 0.0 and account is not exchange.fund:
            part = min(-usd * share * exchange.levies.funding, max(account.cash, 0.0))
            account.cash -= part
            exchange.fund.receive("funding_share", part)


def charge_open_interest(exchange: "Exchange", hours: float) -> None:
    """Every open position pays the fund by its size."""
    a_contract = [exchange.levies.open_interest * hours * mark for mark in exchange.marks]
    due: dict[Account, float] = {}
    for account in exchange.accounts.values():
        usd = sum(map(mul, a_contract, map(abs, account.position)))
        if usd:
            due[account] = usd
    due[exchange.fund] = -sum(due.values())
    collect(exchange, "open_interest_levy", due)


def collect(exchange: "Exchange", kind: str, due: dict[Account, float]) -> float:
    """Charges (> 0) and credits (< 0), USD: nobody pays more than it has, receivers share what was paid. Returns that share."""
    share = 1.0
    short = [(account, max(account.cash, 0.0)) for account, usd in due.items() if usd > 0.0 and usd > account.cash]
    if short:
        due.update(short)
        owed = -sum(usd for usd in due.values() if usd < 0.0)
        share = sum(usd for usd in due.values() if usd > 0.0) / owed if owed > 0.0 else 1.0
    for account, usd in due.items():
        paid = usd if usd > 0.0 else usd * share
        if account is exchange.fund:
            exchange.fund.receive(kind, -paid)
        else:
            account.cash -= paid
    return share


def set_levies(exchange: "Exchange", interest: list[float]) -> Levies:
    """What the scenario's accrual rules take in the coming step; several add up. `interest` is `open_interest`."""
    total = Levies()
    for p in exchange.rules.accrual:
        rule: Any = p
        match rule.type:
            case "trading_fees":
                total.trading_fees = min(total.trading_fees + rule.share, 1.0)
            case "liquidation_fees":
                total.liquidation_fees = min(total.liquidation_fees + rule.share, 1.0)
            case "surplus":
                total.surplus = min(total.surplus + rule.share, 1.0)
            case "open_interest":
                total.open_interest += (
                    rule.rate / HOURS_PER_YEAR * (_volatility(exchange, interest, rule.reference) / rule.reference) ** rule.exponent
                )
            case unknown:
                raise NotImplementedError(f"the twin has no accrual rule {unknown!r}")
    return total


def open_interest(exchange: "Exchange") -> list[float]:
    """USD by market, one side."""
    contracts = [0.0] * len(exchange.markets)
    for account in (exchange.fund, *exchange.accounts.values()):
        for market, held in enumerate(account.position):
            contracts[market] += abs(held)
    return [0.5 * total * mark for total, mark in zip(contracts, exchange.marks, strict=True)]


def _volatility(exchange: "Exchange", interest: list[float], otherwise: float) -> float:
    """Weighted by open interest."""
    weight = sum(interest)
    if weight <= 0.0:
        return otherwise
    return sum(usd * market.volatility for usd, market in zip(interest, exchange.markets, strict=True)) / weight
