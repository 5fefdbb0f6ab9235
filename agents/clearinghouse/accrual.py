"""Accrual rules: what flows into the backstop fund in the coming step.

Rules are read at the close of each step from what the exchange has seen in it; a venue may have several, and their levies add up.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clock import HOURS_PER_YEAR
from agents.families import Family, Rule, RuleParameters

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
        injection: USD from the exchange's capital.
    """

    trading_fees: float = 0.0
    liquidation_fees: float = 0.0
    surplus: float = 0.0
    open_interest: float = 0.0
    funding: float = 0.0
    injection: float = 0.0

    def __add__(self, other: "Levies") -> "Levies":
        return Levies(
            min(self.trading_fees + other.trading_fees, 1.0),
            min(self.liquidation_fees + other.liquidation_fees, 1.0),
            min(self.surplus + other.surplus, 1.0),
            self.open_interest + other.open_interest,
            min(self.funding + other.funding, 1.0),
            self.injection + other.injection,
        )


class AccrualRule(Rule):
    """Base of the family. `rule(AccrualView, state, rng) -> (Levies, state)`."""

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        raise NotImplementedError


accrual_rules = Family("accrual rule", AccrualRule)


def _checked(levies: Levies) -> Levies:
    """A rule's decision, refused if it takes what is not there to take."""
    shares = (levies.trading_fees, levies.liquidation_fees, levies.surplus, levies.funding)
    if not all(0.0 <= share <= 1.0 for share in shares) or not (levies.open_interest >= 0.0 and levies.injection >= 0.0):
        raise ValueError(f"found {levies}, expected shares between 0 and 1, and a levy and an injection of at least 0")
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
    """A charge on open positions that may follow volatility: rate x (sigma / reference)^exponent, sigma weighted by open interest."""

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

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        p, weight = self.parameters, float(view.open_interest.sum())
        sigma = float(view.open_interest @ view.volatility) / weight if weight > 0 else p.reference
        return Levies(open_interest=p.rate / HOURS_PER_YEAR * (sigma / p.reference) ** p.exponent), state


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
