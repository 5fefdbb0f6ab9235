"""Sizing rules: how large the fund should be."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Family, Rule, RuleParameters

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SizingView:
    """What a sizing rule sees at the close of a step.

    Attributes:
        open_interest: shape (M,), USD, one side.
        volatility: shape (M,), annualised.
    """

    open_interest: Floats
    volatility: Floats


class SizingRule(Rule):
    """Base of the family. `rule(SizingView, state, rng) -> (USD, state)`."""

    def rule(self, view: SizingView, state: Any, rng: Any) -> tuple[float, Any]:
        raise NotImplementedError


sizing_rules = Family("sizing rule", SizingRule)


@sizing_rules.member
class ShareOfOpenInterest(SizingRule):
    """A share of open interest; observed funds were 1.5 % to 21 % of it (BitMEX, February 2020: about 21 %)."""

    name = "open_interest"

    class Parameters(RuleParameters):
        type: Literal["open_interest"] = "open_interest"
        share: float = Field(
            default=0.05, ge=0, le=1, description="target over open interest (our choice)", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: SizingView, state: Any, rng: Any) -> tuple[float, Any]:
        return self.parameters.share * float(view.open_interest.sum()), state


@sizing_rules.member
class FixedAmount(SizingRule):
    """A fixed target."""

    name = "fixed"

    class Parameters(RuleParameters):
        type: Literal["fixed"] = "fixed"
        amount: float = Field(default=100e6, ge=0, description="target", json_schema_extra={"unit": "USD"})

    def rule(self, view: SizingView, state: Any, rng: Any) -> tuple[float, Any]:
        return self.parameters.amount, state
