"""Which part of its positions a breached account must close in a round, by the exchange's rule."""

import math
from typing import TYPE_CHECKING, Any

from experiments.twin.accounts import TIE, Account
from experiments.twin.market import clamp

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange


def slices(exchange: "Exchange", account: Account) -> tuple[list[float], float]:
    """The part of each position, and the part of what it leaves that stays with the account."""
    p: Any = exchange.rules.liquidation
    required, markets = sum(account.maintenance(exchange.margin)), len(exchange.marks)
    if p.type == "by_tier":
        return cut_by_tier(exchange, account)
    if p.type == "partial_then_full":
        return partial(exchange, account, required)
    if p.type == "smallest_slice":
        return smallest(p, account, required)
    if p.type == "full":
        share, keeps = 1.0, p.keeps
    else:
        closes = account.cash < p.auto_close * required
        missing = 1.0 - max(account.cash, 0.0) / (p.auto_close * required) if required > 0.0 else 1.0
        share, keeps = (missing, 0.0) if closes else (p.slice, 1.0)
    return [share] * markets, keeps


def partial(exchange: "Exchange", account: Account, required: float) -> tuple[list[float], float]:
    """A slice of large positions, all of small ones and of an account that has lost much of its margin; a cool-down after a slice."""
    p: Any = exchange.rules.liquidation
    markets = len(account.position)
    if account.cash < p.full_below * required:
        return [1.0] * markets, 0.0
    if cooling(exchange, account):
        return [1.0 if p.meanwhile == "full" else 0.0] * markets, 1.0
    shares = [1.0 if abs(held) * size <= p.small else p.slice for held, size in zip(account.position, account.sizes, strict=True)]
    if min(shares) < 1.0:
        exchange.sliced[account] = exchange.now
    return shares, 1.0


def cooling(exchange: "Exchange", account: Account) -> bool:
    """Whether an account has been cut so short a time ago that it is in its cool-down."""
    seconds: float = exchange.rules.liquidation.cool_down  # type: ignore[attr-defined]
    return seconds > 0.0 and exchange.now - exchange.sliced.get(account, -math.inf) < seconds / 3600.0 * (1.0 - TIE)


def smallest(p: Any, account: Account, required: float) -> tuple[list[float], float]:
    """The share f with equity - f x cost = (1 - f) x target, in steps, within what a round may close."""
    if account.cash < p.full_below * required:
        return [1.0] * len(account.position), 0.0
    target = p.ratio * required + p.buffer * account.notional
    gained = target - p.cost * account.notional - p.margin_cost * required
    share = (target - account.cash) / gained if gained > 0.0 else 1.0
    if p.step > 0.0:
        share = math.ceil(share / p.step * (1.0 - TIE)) * p.step
    notionals = [abs(held) * size for held, size in zip(account.position, account.sizes, strict=True)]
    floors = [p.least / usd if usd > p.least else 1.0 for usd in notionals]
    shares = [clamp(min(max(share, floor), max(p.most, floor)), 0.0, 1.0) for floor in floors]
    closed = sum(part * usd for part, usd in zip(shares, notionals, strict=True))
    cut = p.account / closed if p.account is not None and closed > p.account else 1.0
    return [cut * part for part in shares], 1.0


def cut_by_tier(exchange: "Exchange", account: Account) -> tuple[list[float], float]:
    """Positions in higher tiers are cut by some tiers; where there are none, all goes. After a cut there may be a cool-down."""
    p: Any = exchange.rules.liquidation
    sizes = [abs(held) * size for held, size in zip(account.position, account.sizes, strict=True)]
    tiers = [sum(usd > bound * (1.0 + TIE) for bound in p.tiers) for usd in sizes]
    whole = account.cash < 0.0 or all(tier < p.down for tier in tiers)
    keeps = 0.0 if whole else 1.0
    if account.cash >= 0.0 and cooling(exchange, account):
        return [0.0] * len(sizes), keeps
    if whole:
        return [1.0] * len(sizes), keeps
    exchange.sliced[account] = exchange.now
    return [1.0 - p.tiers[tier - p.down] / usd if tier >= p.down else 0.0 for tier, usd in zip(tiers, sizes, strict=True)], keeps
