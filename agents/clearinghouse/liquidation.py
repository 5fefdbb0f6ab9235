"""Liquidation rules: which slices of a breached account's positions the exchange closes in a round."""

import itertools
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.families import Family, Rule, RuleParameters, misfit

type Floats = NDArray[np.float64]

TIE = 1e-9
"""Relative: a share this close to a bound is at it."""


@dataclass(frozen=True, slots=True)
class LiquidationView:
    """What a liquidation rule sees of n accounts whose equity is below maintenance margin.

    Attributes:
        equity: shape (n,), USD.
        maintenance: shape (M, n), USD, by market.
        notional: shape (M, n), USD, unsigned, at mark.
        accounts: shape (n,), their numbers; hours: since the start.
    """

    equity: Floats
    maintenance: Floats
    notional: Floats
    accounts: NDArray[np.intp] = field(default_factory=lambda: np.zeros(0, dtype=np.intp))
    hours: float = 0.0


class Slices(NamedTuple):
    """A liquidation rule's decision.

    Attributes:
        fraction: shape (M, n), share of each position to close now, 0 to 1; not 0 for all of an account whose equity is below zero.
        keeps: shape (n,), share of what remains of a slice's equity that stays with the account (0: all beyond bankruptcy price is
        surplus).
    """

    fraction: Floats
    keeps: Floats


def checked_slices(slices: Slices) -> Slices:
    """A rule's decision, refused if it closes or leaves to accounts less than nothing or more than all."""
    for share in slices:
        if not (share.min(initial=0.0) >= 0.0 and share.max(initial=0.0) <= 1.0 + TIE):
            raise ValueError(f"found shares from {share.min():g} to {share.max():g}, expected them between 0 and 1")
    return slices


class LiquidationRule(Rule):
    """Base of the family. `rule(LiquidationView, state, rng) -> (Slices, state)`."""

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        raise NotImplementedError


liquidation_rules = Family("liquidation rule", LiquidationRule)


def _cooling(state: dict[int, float] | None, hours: float, seconds: float) -> dict[int, float]:
    """Accounts that have been cut within so many seconds, and when, in hours."""
    return {account: at for account, at in (state or {}).items() if hours - at < seconds / 3600.0 * (1.0 - TIE)}


@liquidation_rules.member
class PartialThenFull(LiquidationRule):
    """A fifth of a large position first, all of it once equity is below two thirds of maintenance margin.

    Hyperliquid documentation, "liquidations"; what is large is a position, not its account. In the partial stage the account keeps what
    its slices leave, in the full stage the exchange does. After a partial liquidation there may be a cool-down: Hyperliquid then closes
    all of what is still in breach within 30 s (announcement of partial liquidations); other venues leave the account alone until they
    check again (OKX: about a minute).
    """

    name = "partial_then_full"

    class Parameters(RuleParameters):
        type: Literal["partial_then_full"] = "partial_then_full"
        slice: float = Field(
            default=0.2,
            gt=0,
            le=1,
            description="share of each position closed in a partial round",
            json_schema_extra={"unit": "1", "source": "Hyperliquid"},
        )
        small: float = Field(
            default=100e3,
            ge=0,
            description="positions of at most this notional are closed whole",
            json_schema_extra={"unit": "USD", "source": "Hyperliquid"},
        )
        full_below: float = Field(
            default=2 / 3,
            ge=0,
            le=1,
            description="equity over maintenance margin below which everything is closed",
            json_schema_extra={"unit": "1", "source": "Hyperliquid"},
        )
        cool_down: float = Field(
            default=0.0,
            ge=0,
            le=86400,
            description="time after a partial liquidation in which `meanwhile` holds; 0: none",
            json_schema_extra={"unit": "s", "source": "Hyperliquid: 30 s"},
        )
        meanwhile: Literal["full", "nothing"] = Field(
            default="full", description="what is closed of an account in its cool-down that is above `full_below`"
        )

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        p = self.parameters
        whole = view.equity < p.full_below * view.maintenance.sum(axis=0)
        share = np.where(whole | (view.notional <= p.small), 1.0, p.slice)
        if p.cool_down > 0.0:
            lately = _cooling(state, view.hours, p.cool_down)
            cooling = np.isin(view.accounts, np.fromiter(lately, dtype=np.intp)) & ~whole
            share = np.where(cooling, 1.0 if p.meanwhile == "full" else 0.0, share)
            state = lately | dict.fromkeys(view.accounts[~cooling & (share < 1.0).any(axis=0)].tolist(), view.hours)
        return Slices(share, np.where(whole, 0.0, 1.0)), state


@liquidation_rules.member
class FullAtBankruptcy(LiquidationRule):
    """Everything at once, and all that is better than bankruptcy price is the exchange's (BitMEX, Bybit)."""

    name = "full"

    class Parameters(RuleParameters):
        type: Literal["full"] = "full"
        keeps: float = Field(
            default=0.0, ge=0, le=1, description="share of what remains that stays with the account", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        n = view.equity.size
        return Slices(np.ones_like(view.notional), np.full(n, self.parameters.keeps)), state


@liquidation_rules.member
class SmallestSlice(LiquidationRule):
    """The smallest common share of all positions that restores the margin; all of them, at bankruptcy price, below `full_below`.

    f = (target - equity) / (target - cost x notional - margin cost x maintenance), target = ratio x maintenance + buffer x notional, for
    margin that falls in proportion (Chitra 2025, greedy liquidation, with linear cost). Paradex: multiples of 20 % up to a margin ratio of
    90 %; dYdX v4: at most 10 % of a position a block, at least 1,000 USD, and 100,000 USD of an account; Drift: maintenance and 2 % more;
    Binance: one order back to margin compliance.
    """

    name = "smallest_slice"

    class Parameters(RuleParameters):
        type: Literal["smallest_slice"] = "smallest_slice"
        ratio: float = Field(
            default=1.0,
            ge=1,
            le=10,
            description="equity over maintenance margin to be restored",
            json_schema_extra={"unit": "1", "source": "Paradex: 1 / 0.9"},
        )
        buffer: float = Field(
            default=0.0, ge=0, le=1, description="margin beyond that, on notional", json_schema_extra={"unit": "1", "source": "Drift: 2 %"}
        )
        cost: float = Field(
            default=0.005,
            ge=0,
            le=0.5,
            description="what closing is expected to cost, on notional (our choice)",
            json_schema_extra={"unit": "1"},
        )
        margin_cost: float = Field(
            default=0.0,
            ge=0,
            le=1,
            description="what it costs besides, on the maintenance margin of what is closed",
            json_schema_extra={"unit": "1", "source": "Paradex: its penalty"},
        )
        step: float = Field(
            default=0.0,
            ge=0,
            le=1,
            description="the share is a multiple of this; 0: any",
            json_schema_extra={"unit": "1", "source": "Paradex: 20 %"},
        )
        most: float = Field(
            default=1.0,
            gt=0,
            le=1,
            description="largest share in a round",
            json_schema_extra={"unit": "1", "source": "dYdX v4: 10 % a block"},
        )
        least: float = Field(
            default=0.0,
            ge=0,
            description="smallest slice of a position, if there is so much, whatever `most` says",
            json_schema_extra={"unit": "USD", "source": "dYdX v4: 1,000"},
        )
        account: float | None = Field(
            default=None,
            gt=0,
            description="most of an account that is closed in a round; null: no limit",
            json_schema_extra={"unit": "USD", "source": "dYdX v4: 100,000 a block"},
        )
        full_below: float = Field(
            default=0.0,
            ge=0,
            le=1,
            description="equity over maintenance margin below which everything is closed and the account keeps nothing",
            json_schema_extra={"unit": "1"},
        )

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        p, required, notional = self.parameters, view.maintenance.sum(axis=0), view.notional.sum(axis=0)
        target = p.ratio * required + p.buffer * notional
        gained = target - p.cost * notional - p.margin_cost * required
        share = np.divide(target - view.equity, gained, out=np.ones_like(target), where=gained > 0.0)
        if p.step > 0.0:
            share = np.ceil(share / p.step * (1.0 - TIE)) * p.step
        floor = np.divide(p.least, view.notional, out=np.ones_like(view.notional), where=view.notional > p.least)
        share = np.clip(np.minimum(np.maximum(share, floor), np.maximum(p.most, floor)), 0.0, 1.0)
        if p.account is not None:
            closed = (share * view.notional).sum(axis=0)
            share *= np.divide(p.account, closed, out=np.ones_like(closed), where=closed > p.account)
        whole = view.equity < p.full_below * required
        return Slices(np.where(whole, 1.0, share), np.where(whole, 0.0, 1.0)), state


@liquidation_rules.member
class ByTier(LiquidationRule):
    """Large positions are cut to a lower tier of size; an account with none left is closed whole, and keeps nothing.

    OKX: in tier three and above two tiers down, in the two lowest all at bankruptcy price; after a cut it looks again in about a minute.
    """

    name = "by_tier"

    class Parameters(RuleParameters):
        type: Literal["by_tier"] = "by_tier"
        tiers: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            default=(1e6, 2e6, 5e6, 10e6, 20e6),
            min_length=1,
            description="upper bounds of all tiers but the last (our choice)",
            json_schema_extra={"unit": "USD"},
        )
        down: int = Field(
            default=2, ge=1, le=100, description="tiers by which a position is cut", json_schema_extra={"unit": "tiers", "source": "OKX"}
        )
        cool_down: float = Field(
            default=0.0,
            ge=0,
            le=86400,
            description="time after a cut in which an account is left alone while it is above bankruptcy; 0: none",
            json_schema_extra={"unit": "s", "source": "OKX: about a minute"},
        )

        @model_validator(mode="after")
        def _ascending(self) -> "ByTier.Parameters":
            for at, (low, high) in enumerate(itertools.pairwise(self.tiers)):
                if low >= high:
                    raise misfit(("tiers", at + 1), f"{high:g} after {low:g}, tiers out of order", "each above the one before")
            return self

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        bounds, down = np.array(self.parameters.tiers), self.parameters.down
        tier = np.searchsorted(bounds * (1.0 + TIE), view.notional)
        kept = np.where(tier >= down, bounds[np.maximum(tier - down, 0)], view.notional)
        whole = (view.equity < 0.0) | (tier < down).all(axis=0)
        cut = 1.0 - np.divide(kept, view.notional, out=np.ones_like(kept), where=view.notional > 0.0)
        cut = np.where(whole, 1.0, cut)
        if self.parameters.cool_down > 0.0:
            lately = _cooling(state, view.hours, self.parameters.cool_down)
            waits = np.isin(view.accounts, np.fromiter(lately, dtype=np.intp)) & (view.equity >= 0.0)
            cut = np.where(waits, 0.0, cut)
            state = lately | dict.fromkeys(view.accounts[~waits & ~whole].tolist(), view.hours)
        return Slices(cut, np.where(whole, 0.0, 1.0)), state


@liquidation_rules.member
class AutoClose(LiquidationRule):
    """A tenth at a time on the market; below an auto-close margin, what is missing of that margin goes to backstop liquidity providers.

    FTX help centre, "Liquidations": below the auto-close margin fraction ACMF a share 1 - MF / ACMF of the position is closed each
    second. A round stands for FTX's second (our choice), and the account keeps nothing of what is closed that way.
    """

    name = "auto_close"

    class Parameters(RuleParameters):
        type: Literal["auto_close"] = "auto_close"
        slice: float = Field(
            default=0.1,
            gt=0,
            le=1,
            description="share of each position closed in a round",
            json_schema_extra={"unit": "1", "source": "FTX"},
        )
        auto_close: float = Field(
            default=0.5,
            gt=0,
            le=1,
            description="auto-close margin over maintenance margin",
            json_schema_extra={"unit": "1", "source": "FTX: 1.5 % and 3 %"},
        )

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        p = self.parameters
        margin = p.auto_close * view.maintenance.sum(axis=0)
        closes = view.equity < margin
        missing = 1.0 - np.divide(np.maximum(view.equity, 0.0), margin, out=np.zeros_like(margin), where=margin > 0.0)
        share = np.where(closes, missing, p.slice)
        return Slices(np.broadcast_to(share, view.notional.shape), np.where(closes, 0.0, 1.0)), state


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round of liquidation leaves of each account, (n,), USD.

    Attributes:
        fee: liquidation fee charged.
        surplus: what the exchange keeps beyond bankruptcy price.
        deficit: loss beyond the account's equity on the contracts that left it.
    """

    fee: Floats
    surplus: Floats
    deficit: Floats


def settle(equity: Floats, share: Floats, keeps: Floats, asked: Floats) -> Outcome:
    """Bankruptcy-price accounting of a round.

    A slice's part of the account's equity is its part of the account's maintenance margin (dYdX v4,
    `GetBankruptcyPriceInQuoteQuantums`); its
    bankruptcy price is where that part is used up. The fee is at most the slices' part of what equity is left, so that it neither makes
    a deficit nor
    lowers the margin of what remains (Drift's bound). Slices of one account net: there is a deficit only where its equity is below zero.

    Args:
        equity: shape (n,), USD, after execution, at mark.
        share: shape (n,), part of the account's maintenance margin that left with the round's slices.
        keeps: shape (n,), part of a slice's remaining equity that stays with the account.
        asked: shape (n,), USD, liquidation fee that the exchange would charge.
    """
    positive = share * np.maximum(equity, 0.0)
    fee = np.minimum(asked, positive)
    return Outcome(fee, (1.0 - keeps) * (positive - fee), share * np.maximum(-equity, 0.0))


def maintenance_shares(maintenance: Floats, notional: Floats) -> Floats:
    """Shape (M, n): each position's part of its account's maintenance margin; by notional, then equally, where there is none."""
    weight = np.ones_like(notional)
    for better in (notional, maintenance):
        weight = np.where(better.sum(axis=0) > 0.0, better, weight)
    shares: Floats = weight / weight.sum(axis=0)
    return shares
