"""Accrual rules: what flows into the backstop fund in the coming step.

Rules are read at the close of each step from what the exchange has seen in it; a venue may have several, and their levies add up.
"""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.clock import HOURS_PER_YEAR
from agents.families import Family, Rule, RuleParameters, misfit

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AccrualView:
    """What an accrual rule sees at the close of a step.

    Attributes:
        hours: length of a step.
        fund: USD, the fund's equity.
        target: USD, what the sizing rule asks for.
        open_interest: shape (M,), USD, one side.
        volatility: shape (M,), annualised, as the exchange measures it.
        volume: shape (M,), USD traded in the step.
        fees: USD, trading fees charged in the step.
        liquidated: USD, notional liquidated in the step.
    """

    hours: float
    fund: float
    target: float
    open_interest: Floats
    volatility: Floats
    volume: Floats
    fees: float
    liquidated: float


@dataclass(frozen=True, slots=True)
class Levies:
    """An accrual rule's decision: what the fund takes in the coming step.

    Attributes:
        trading_fees: share of trading fees.
        liquidation_fees: share of liquidation fees.
        surplus: share of what liquidations leave beyond bankruptcy price.
        open_interest: charge on every open position, share of notional for each hour.
        funding: share of what funding's receivers receive.
        volume: charge on notional that orders trade, on top of fees, share of notional.
        injection: USD from the exchange's capital.
    """

    trading_fees: float = 0.0
    liquidation_fees: float = 0.0
    surplus: float = 0.0
    open_interest: float = 0.0
    funding: float = 0.0
    volume: float = 0.0
    injection: float = 0.0

    def times(self, factor: float) -> "Levies":
        """Every levy times a factor of at least 0; shares are at most 1."""
        return Levies(
            min(self.trading_fees * factor, 1.0),
            min(self.liquidation_fees * factor, 1.0),
            min(self.surplus * factor, 1.0),
            self.open_interest * factor,
            min(self.funding * factor, 1.0),
            self.volume * factor,
            self.injection * factor,
        )

    def __add__(self, other: "Levies") -> "Levies":
        return Levies(
            min(self.trading_fees + other.trading_fees, 1.0),
            min(self.liquidation_fees + other.liquidation_fees, 1.0),
            min(self.surplus + other.surplus, 1.0),
            self.open_interest + other.open_interest,
            min(self.funding + other.funding, 1.0),
            self.volume + other.volume,
            self.injection + other.injection,
        )


class AccrualRule(Rule):
    """Base of the family. `rule(AccrualView, state, rng) -> (Levies, state)`."""

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        raise NotImplementedError


accrual_rules = Family("accrual rule", AccrualRule)

LARGEST_EXPOSURE = 10.0
"""However little the fund holds, a levy that follows exposure sees no more than ten times the reference."""


def _checked(levies: Levies) -> Levies:
    """A rule's decision, refused if it takes what is not there to take."""
    shares = (levies.trading_fees, levies.liquidation_fees, levies.surplus, levies.funding)
    if not all(0.0 <= share <= 1.0 for share in shares) or not min(levies.open_interest, levies.volume, levies.injection) >= 0.0:
        raise ValueError(f"found {levies}, expected shares between 0 and 1, and levies and an injection of at least 0")
    return levies


@dataclass
class Accrual:
    """A venue's accrual rules and what they remember."""

    rules: list[AccrualRule]
    states: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.states = [rule.initial_state() for rule in self.rules]

    def levies(self, view: AccrualView, rng: Any) -> Levies:
        """The sum of what the rules decide."""
        total = Levies()
        for at, rule in enumerate(self.rules):
            levies, self.states[at] = rule.rule(view, self.states[at], rng)
            total = total + _checked(levies)
        return total


@accrual_rules.member
class ShareOfTradingFees(AccrualRule):
    """A share of trading fees, hence of volume (Coinbase International: "a portion of transaction fees")."""

    name = "trading_fees"

    class Parameters(RuleParameters):
        type: Literal["trading_fees"] = "trading_fees"
        share: float = Field(default=0.1, ge=0, le=1, description="share of trading fees", json_schema_extra={"unit": "1"})

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        return Levies(trading_fees=self.parameters.share), state


@accrual_rules.member
class OpenInterestLevy(AccrualRule):
    """A charge on open positions that may follow volatility and exposure.

    rate x (sigma / reference)^exponent x min(exposure, 10)^exposure_exponent, with sigma weighted by open interest and exposure =
    exposure_reference x open interest / fund: what the fund stands for against what it should, our reading of an accrual "dynamically
    adjusting to reflect prevailing market volatility and exposure levels" (greeks.live glossary, which gives no formula).
    """

    name = "open_interest"

    class Parameters(RuleParameters):
        type: Literal["open_interest"] = "open_interest"
        rate: float = Field(
            default=0.002, ge=0, le=1, description="levy on each position's notional (our choice)", json_schema_extra={"unit": "per year"}
        )
        reference: float = Field(
            default=0.6, gt=0, le=10, description="volatility at which the levy is `rate`", json_schema_extra={"unit": "annualised"}
        )
        exponent: float = Field(
            default=0.0, ge=0, le=4, description="0: the levy does not follow volatility", json_schema_extra={"unit": "1"}
        )
        exposure_reference: float = Field(
            default=0.05, gt=0, le=1, description="fund over open interest at which the levy is `rate`", json_schema_extra={"unit": "1"}
        )
        exposure_exponent: float = Field(
            default=0.0, ge=0, le=4, description="0: the levy does not follow exposure (our choice)", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        p, weight = self.parameters, float(view.open_interest.sum())
        sigma = float(view.open_interest @ view.volatility) / weight if weight > 0 else p.reference
        rate = p.rate / HOURS_PER_YEAR * (sigma / p.reference) ** p.exponent
        if p.exposure_exponent > 0.0:
            exposure = p.exposure_reference * weight / view.fund if view.fund > 0.0 else LARGEST_EXPOSURE
            rate *= min(exposure, LARGEST_EXPOSURE) ** p.exposure_exponent
        return Levies(open_interest=rate), state


@accrual_rules.member
class ShareOfLiquidationFees(AccrualRule):
    """A share of liquidation fees (dYdX v4 and Deribit: all of it)."""

    name = "liquidation_fees"

    class Parameters(RuleParameters):
        type: Literal["liquidation_fees"] = "liquidation_fees"
        share: float = Field(
            default=1.0, ge=0, le=1, description="share of liquidation fees", json_schema_extra={"unit": "1", "source": "dYdX v4, Deribit"}
        )

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        return Levies(liquidation_fees=self.parameters.share), state


@accrual_rules.member
class Surplus(AccrualRule):
    """A share of what liquidations leave beyond bankruptcy price (BitMEX, Bybit, OKX: all of it)."""

    name = "surplus"

    class Parameters(RuleParameters):
        type: Literal["surplus"] = "surplus"
        share: float = Field(
            default=1.0, ge=0, le=1, description="share of the surplus", json_schema_extra={"unit": "1", "source": "BitMEX, Bybit, OKX"}
        )

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        return Levies(surplus=self.parameters.share), state


@accrual_rules.member
class VolumeLevy(AccrualRule):
    """A levy of its own on the notional that orders trade: eta in the accrual law of Chitra (2025, arXiv 2512.01112)."""

    name = "volume"

    class Parameters(RuleParameters):
        type: Literal["volume"] = "volume"
        basis_points: float = Field(
            default=0.5, ge=0, le=100, description="levy on notional, charged to who orders (our choice)", json_schema_extra={"unit": "bp"}
        )

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        return Levies(volume=1e-4 * self.parameters.basis_points), state


@accrual_rules.member
class ShareOfFunding(AccrualRule):
    """A share of what funding's receivers receive: beta in the accrual law of Chitra (2025, arXiv 2512.01112)."""

    name = "funding"

    class Parameters(RuleParameters):
        type: Literal["funding"] = "funding"
        share: float = Field(
            default=0.05, ge=0, le=1, description="share of funding received (our choice)", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        return Levies(funding=self.parameters.share), state


@accrual_rules.member
class ScheduledInjection(AccrualRule):
    """The exchange pays in a fixed amount out of its own capital at fixed intervals, as far as its capital goes."""

    name = "scheduled_injection"

    class Parameters(RuleParameters):
        type: Literal["scheduled_injection"] = "scheduled_injection"
        amount: float = Field(default=1e6, ge=0, le=1e15, description="paid in each time, to each pool", json_schema_extra={"unit": "USD"})
        every: float = Field(default=720.0, gt=0, description="interval", json_schema_extra={"unit": "h"})

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        hours = 0.0 if state is None else state + view.hours  # since the last payment; the first call is the opening
        due = int(hours / self.parameters.every * (1.0 + 1e-12))
        return Levies(injection=due * self.parameters.amount), hours - due * self.parameters.every


@accrual_rules.member
class InjectionOnAdequacy(AccrualRule):
    """The exchange fills the fund up out of its own capital once it is short of its target (Binance, May 2020: 30 m after 13 m lost)."""

    name = "injection_on_adequacy"

    class Parameters(RuleParameters):
        type: Literal["injection_on_adequacy"] = "injection_on_adequacy"
        below: float = Field(
            default=0.5, ge=0, le=1, description="fund over target below which it pays in (our choice)", json_schema_extra={"unit": "1"}
        )
        to: float = Field(
            default=1.0, ge=0, le=2, description="fund over target that it pays up to (our choice)", json_schema_extra={"unit": "1"}
        )

        @model_validator(mode="after")
        def _up(self) -> "InjectionOnAdequacy.Parameters":
            if self.to < self.below:
                raise misfit(("to",), f"{self.to:g}", f"at least `below`, {self.below:g}")
            return self

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        p = self.parameters
        short = view.fund < p.below * view.target
        return Levies(injection=max(p.to * view.target - view.fund, 0.0) if short else 0.0), state


steady_rules = Family("accrual rule", AccrualRule)
"""Those that a target-seeking rule may scale: all but itself."""
steady_rules.members.update(accrual_rules.members)


@accrual_rules.member
class TargetSeeking(AccrualRule):
    """Another rule's levies, less the nearer the fund is to its target: times max(0, 1 - fund / target)^exponent (our choice).

    With exponent 1 and constant flows the gap closes exponentially, F(t) = T - (T - F(0)) e^(-a t / T), and never overshoots.
    """

    name = "target_seeking"

    class Parameters(RuleParameters):
        type: Literal["target_seeking"] = "target_seeking"
        levies: Annotated[RuleParameters, steady_rules] = Field(
            default=OpenInterestLevy.Parameters(rate=0.02), description="what an empty fund takes"
        )
        exponent: float = Field(default=1.0, gt=0, le=4, description="how the levy falls with the gap", json_schema_extra={"unit": "1"})

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)
        self.inner: AccrualRule = steady_rules.build(self.parameters.levies)

    def initial_state(self) -> Any:
        """The other rule's."""
        return self.inner.initial_state()

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        levies, state = self.inner.rule(view, state, rng)
        gap = max(1.0 - view.fund / view.target, 0.0) if view.target > 0.0 else 0.0
        return levies.times(gap**self.parameters.exponent), state
