"""What liquidation costs: how much is charged on executed slices, and which part of it those who took them are paid."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.families import Family, Rule, RuleParameters, misfit

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeeView:
    """What a fee rule sees of n accounts of which slices have been executed in a round.

    Attributes:
        notional: shape (n,), USD, executed, over all markets.
        by_market: shape (M, n), USD, the same by market.
        left: shape (n,), USD, the slices' part of what equity is left; no fee is more.
        keeps: shape (n,), part of that which stays with the account.
        equity: shape (n,), USD, before the round.
        required: shape (n,), USD, maintenance margin before the round; share: shape (n,), the slices' part of it.
        held: shape (n,), USD, open positions before the round.
        volatility: shape (M,), annualised, as the exchange measures it.
        crowding: shape (M, n), what the round executed on the account's side of a market over the book's depth there within ten basis
            points; infinite where there is no depth.
        backlog: USD of all slices that the round was to execute; capacity: USD that liquidators would take when it began.
    """

    notional: Floats
    by_market: Floats
    left: Floats
    keeps: Floats
    equity: Floats
    required: Floats
    share: Floats
    held: Floats
    volatility: Floats
    crowding: Floats
    backlog: float
    capacity: float


class Fee(NamedTuple):
    """A fee rule's decision: USD, (n,), to be cut to what the slices leave; liquidators' part, (n,), for contracts that they take."""

    usd: Floats
    bounty: Floats


class FeeRule(Rule):
    """Base of the family. `rule(FeeView, state, rng) -> (Fee, state)`."""

    def rule(self, view: FeeView, state: Any, rng: Any) -> tuple[Fee, Any]:
        raise NotImplementedError


liquidation_fees = Family("liquidation fee", FeeRule, number=("flat", "rate"))

BOUNTY = Field(
    default=0.0,
    ge=0,
    le=1,
    description="part of the fee that liquidators are paid for what they take; the rest is the fund's and the exchange's",
    json_schema_extra={"unit": "1"},
)


@liquidation_fees.member
class FlatFee(FeeRule):
    """A share of notional.

    Published rates: Binance up to 0.5 % (2019), dYdX v4 at most 1.5 %, Deribit 0.75 % on BTC, Lighter at most 1 %, GMX 0.2 to 0.3 %;
    MCDEX 2.5 %, of which 1.5 % are the keeper's (bounty 0.6). A number alone is this rule with that rate.
    """

    name = "flat"

    class Parameters(RuleParameters):
        type: Literal["flat"] = "flat"
        rate: float = Field(
            default=5e-3,
            ge=0,
            le=0.1,
            description="charged on liquidated notional",
            json_schema_extra={"unit": "1", "source": "Binance, up to 0.5 % (2019)"},
        )
        bounty: float = BOUNTY

    def rule(self, view: FeeView, state: Any, rng: Any) -> tuple[Fee, Any]:
        p = self.parameters
        return Fee(p.rate * view.notional, np.full_like(view.notional, p.bounty)), state


@liquidation_fees.member
class ShareOfMargin(FeeRule):
    """A share of the slices' maintenance margin.

    Paradex: 70 % in the text of its documentation, 50 % in its worked example; Vertex: 20 %, of which the liquidator has half.
    """

    name = "margin_share"

    class Parameters(RuleParameters):
        type: Literal["margin_share"] = "margin_share"
        share: float = Field(
            default=0.7,
            ge=0,
            le=1,
            description="part of the maintenance margin of what is closed",
            json_schema_extra={"unit": "1", "source": "Paradex"},
        )
        bounty: float = BOUNTY

    def rule(self, view: FeeView, state: Any, rng: Any) -> tuple[Fee, Any]:
        p = self.parameters
        return Fee(p.share * view.share * view.required, np.full_like(view.notional, p.bounty)), state


@liquidation_fees.member
class RemainingEquity(FeeRule):
    """All that slices leave where the account keeps nothing of it, and nothing elsewhere.

    FTX's auto-close (help centre, "Backstop liquidity provider program"): a third to the fund, two thirds to who takes the position.
    Hyperliquid: the liquidator vault keeps the margin of backstop liquidations (bounty 1).
    """

    name = "remaining_equity"

    class Parameters(RuleParameters):
        type: Literal["remaining_equity"] = "remaining_equity"
        share: float = Field(default=1.0, ge=0, le=1, description="part of what is left that is charged", json_schema_extra={"unit": "1"})
        bounty: float = Field(
            default=2 / 3,
            ge=0,
            le=1,
            description="part of the fee that liquidators are paid for what they take",
            json_schema_extra={"unit": "1", "source": "FTX"},
        )

    def rule(self, view: FeeView, state: Any, rng: Any) -> tuple[Fee, Any]:
        p = self.parameters
        return Fee(p.share * (1.0 - view.keeps) * view.left, np.full_like(view.notional, p.bounty)), state


@liquidation_fees.member
class Headroom(FeeRule):
    """A fee for liquidators, and one for the fund out of the margin ratio that is left beyond it.

    f_fund = min(f_max, 0.95 x max(0, MMR - f_liquidator - shortage / notional)) (Drift protocol v2, math/liquidation.rs): 0.95, so that
    the fee itself does not bankrupt. Drift's liquidator fee grows while nobody comes; here it stands still (our choice).
    """

    name = "headroom"

    class Parameters(RuleParameters):
        type: Literal["headroom"] = "headroom"
        liquidator: float = Field(
            default=0.01, ge=0, le=0.1, description="liquidators' fee on notional (our choice)", json_schema_extra={"unit": "1"}
        )
        largest: float = Field(
            default=0.01, ge=0, le=0.1, description="largest fee for the fund, on notional (our choice)", json_schema_extra={"unit": "1"}
        )
        safety: float = Field(
            default=0.95,
            ge=0,
            le=1,
            description="part of the margin ratio left that the fund may take",
            json_schema_extra={"unit": "1", "source": "Drift"},
        )

    def rule(self, view: FeeView, state: Any, rng: Any) -> tuple[Fee, Any]:
        p = self.parameters
        ratio = np.divide(np.minimum(view.equity, view.required), view.held, out=np.zeros_like(view.held), where=view.held > 0.0)
        fund = np.minimum(p.largest, p.safety * np.maximum(ratio - p.liquidator, 0.0))
        rate = p.liquidator + fund
        return Fee(rate * view.notional, np.divide(p.liquidator, rate, out=np.zeros_like(rate), where=rate > 0.0)), state


@liquidation_fees.member
class Adaptive(FeeRule):
    """Convex and indexed to volatility: it rises with measured volatility, with the account's shortage of margin and with crowding.

    By market f = clip(f0 (sigma / sigma_ref)^gamma (1 + a x^2) (1 + d (Q / depth)^zeta), f_min, f_max) with x = 1 - equity / maintenance
    margin within 0 and 1; liquidators' part phi = clip(phi0 + k backlog / capacity, phi_min, phi_max). The glossary of greeks.live defines
    the adaptive liquidation fee as a convex, volatility-indexed cost function that adjusts bounty and fund contribution, without a
    formula: form and values are our choice, the bound by what is left is Drift's.
    """

    name = "adaptive"

    class Parameters(RuleParameters):
        type: Literal["adaptive"] = "adaptive"
        base: float = Field(default=5e-3, ge=0, le=0.1, description="f0, on notional (our choice)", json_schema_extra={"unit": "1"})
        reference: float = Field(
            default=0.6,
            gt=0,
            le=10,
            description="sigma_ref, at which the base holds (our choice)",
            json_schema_extra={"unit": "per sqrt(year)"},
        )
        exponent: float = Field(
            default=1.5, ge=1, le=4, description="gamma, convex from 1 on (our choice)", json_schema_extra={"unit": "1"}
        )
        shortage: float = Field(
            default=1.0, ge=0, le=100, description="a, weight of the margin shortage squared (our choice)", json_schema_extra={"unit": "1"}
        )
        crowding: float = Field(
            default=0.0,
            ge=0,
            le=100,
            description="d, weight of what is liquidated over depth (our choice)",
            json_schema_extra={"unit": "1"},
        )
        crowding_exponent: float = Field(default=1.0, gt=0, le=4, description="zeta (our choice)", json_schema_extra={"unit": "1"})
        least: float = Field(default=0.0, ge=0, le=0.1, description="f_min, on notional", json_schema_extra={"unit": "1"})
        largest: float = Field(
            default=0.015, ge=0, le=0.1, description="f_max, on notional", json_schema_extra={"unit": "1", "source": "dYdX v4, 1.5 %"}
        )
        bounty: float = Field(default=0.5, ge=0, le=1, description="phi0 (our choice)", json_schema_extra={"unit": "1"})
        bounty_slope: float = Field(
            default=0.0,
            ge=0,
            le=100,
            description="k, for slices over what liquidators would take (our choice)",
            json_schema_extra={"unit": "1"},
        )
        bounty_least: float = Field(default=0.0, ge=0, le=1, description="phi_min", json_schema_extra={"unit": "1"})
        bounty_largest: float = Field(default=1.0, ge=0, le=1, description="phi_max", json_schema_extra={"unit": "1"})

        @model_validator(mode="after")
        def _sound(self) -> "Adaptive.Parameters":
            if self.least > self.largest:
                raise misfit(("least",), f"{self.least:g}", f"at most the largest fee, {self.largest:g}")
            if not self.bounty_least <= self.bounty <= self.bounty_largest:
                expected = f"a share from {self.bounty_least:g} (`bounty_least`) to {self.bounty_largest:g} (`bounty_largest`)"
                raise misfit(("bounty",), f"{self.bounty:g}", expected)
            return self

    def rule(self, view: FeeView, state: Any, rng: Any) -> tuple[Fee, Any]:
        p = self.parameters
        covered = np.divide(view.equity, view.required, out=np.zeros_like(view.equity), where=view.required > 0.0)
        factor = (
            p.base * (view.volatility / p.reference)[:, None] ** p.exponent * (1.0 + p.shortage * np.clip(1.0 - covered, 0.0, 1.0) ** 2)
        )
        if p.crowding > 0.0:
            factor = np.where(factor > 0.0, factor * (1.0 + p.crowding * view.crowding**p.crowding_exponent), 0.0)
        usd = (np.clip(factor, p.least, p.largest) * view.by_market).sum(axis=0)
        load = view.backlog / view.capacity if view.capacity > 0.0 else np.inf
        more = p.bounty_slope * load if p.bounty_slope > 0.0 else 0.0
        return Fee(usd, np.full_like(usd, min(max(p.bounty + more, p.bounty_least), p.bounty_largest))), state
