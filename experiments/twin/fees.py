"""What a round of liquidation costs an account: the fee that is asked, and what liquidators have of it."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from experiments.twin.accounts import TIE, Liquidator, Vault
from experiments.twin.market import clamp

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange
    from experiments.twin.liquidation import Case, Side


@dataclass
class Executed:
    """What a round has executed of an account's positions, USD at mark by market, and with whom.

    Attributes:
        crowding: by market, what all executed on its side over what the book showed there.
        bought: what liquidators and the vault took of it, by side.
    """

    usd: list[float]
    crowding: list[float]
    bought: list[tuple["Side", float]] = field(default_factory=list)

    @property
    def total(self) -> float:
        """USD."""
        return sum(self.usd)

    def add(self, exchange: "Exchange", side: "Side", usd: float, all_of_it: float) -> None:
        """One side's part of it, `all_of_it` being what the side executed of everybody's, USD."""
        market = exchange.markets[side.market]
        shown = market.bids if side.sign > 0.0 else market.asks
        self.usd[side.market] += usd
        self.crowding[side.market] = all_of_it / shown if shown > 0.0 else math.inf
        bought = sum(contracts for taker, contracts, _ in side.fills if isinstance(taker, Liquidator | Vault))
        if bought > 0.0:
            self.bought.append((side, usd * bought / side.filled))


def asked(exchange: "Exchange", case: "Case", executed: Executed, share: float, leaves: float, load: float) -> tuple[float, float]:
    """USD asked of slices with `share` of the margin that leave `leaves` USD, and liquidators' part; `load`: backlog over capacity."""
    p: Any = exchange.rules.fees.liquidation
    required = sum(case.required)
    match p.type:
        case "flat":
            return p.rate * executed.total, p.bounty
        case "margin_share":
            return p.share * share * required, p.bounty
        case "remaining_equity":
            return p.share * (1.0 - case.keeps) * leaves, p.bounty
        case "headroom":
            held = sum(abs(contracts) * size for contracts, size in zip(case.held, exchange.sizes, strict=True))
            left_over = min(case.equity, required) / held - p.liquidator if held > 0.0 else 0.0
            rate = p.liquidator + min(p.largest, p.safety * max(left_over, 0.0))
            return rate * executed.total, p.liquidator / rate if rate > 0.0 else 0.0
        case "adaptive":
            short = clamp(1.0 - case.equity / required, 0.0, 1.0) if required > 0.0 else 1.0
            usd = 0.0
            for at, market in enumerate(exchange.markets):
                rate = p.base * math.pow(market.volatility / p.reference, p.exponent) * (1.0 + p.shortage * short * short)
                if p.crowding > 0.0 and rate > 0.0:
                    rate *= 1.0 + p.crowding * math.pow(executed.crowding[at], p.crowding_exponent)
                usd += clamp(rate, p.least, p.largest) * executed.usd[at]
            more = p.bounty_slope * load if p.bounty_slope > 0.0 else 0.0
            return usd, clamp(p.bounty + more, p.bounty_least, p.bounty_largest)
    raise NotImplementedError(f"the twin has no liquidation fee {p.type!r}")


def affordable(exchange: "Exchange", case: "Case", share: float) -> float:
    """USD of fee that leaves the account's margin ratio no lower than before the round, in which `share` of its margin was the slices'."""
    required, now = sum(case.required), sum(case.account.maintenance(exchange.margin))
    freed = max(1.0 - now / required, 0.0) if required > 0.0 else share
    return (share if freed >= share - TIE else freed) * max(case.account.cash, 0.0)


def pay_bounty(fee: float, bounty: float, executed: Executed) -> float:
    """Liquidators have their part of the fee, for as much of the slices as they took. Returns what is left of it."""
    paid = 0.0
    for side, usd in executed.bought:
        due = fee * bounty * usd / executed.total
        paid += due
        takers = [(taker, contracts) for taker, contracts, _ in side.fills if isinstance(taker, Liquidator | Vault)]
        for taker, contracts in takers:
            taker.cash += due * contracts / sum(size for _, size in takers)
    return fee - paid
