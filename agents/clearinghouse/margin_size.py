"""Margin that rises with the size of a position or of a market, as named venues publish it."""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.clearinghouse.margin import Margin, MarginRule, MarginView, ascending, maintained, margin_rules, per_market
from agents.clearinghouse.margin_portfolio import towards_full
from agents.families import RuleParameters

type Floats = NDArray[np.float64]
type Rates = tuple[Annotated[float, Field(gt=0, le=1)], ...]

CAP: Any = Field(default=None, ge=1, le=1000, description="highest leverage at opening", json_schema_extra={"unit": "1"})


def _capped(initial: Floats, notional: Floats, cap: float | None) -> Floats:
    """Shape (n,): initial margin by market, (M, n), added up, no position above the leverage cap."""
    opened: Floats = (initial if cap is None else np.maximum(initial, notional / cap)).sum(axis=0)
    return opened


@margin_rules.member
class OpenInterestScaled(MarginRule):
    """Initial margin rises to all of the notional as a market's open interest nears its cap; maintenance does not (dYdX v4).

    Rate = min(base + max(0, (OI - lower) / (upper - lower)) x (1 - base), 1).
    """

    name = "open_interest_scaled"

    class Parameters(RuleParameters):
        type: Literal["open_interest_scaled"] = "open_interest_scaled"
        initial: Rates = Field(
            default=(0.10, 0.10, 0.20),
            min_length=1,
            description="initial margin rate at small open interest, a market",
            json_schema_extra={"unit": "1", "source": "dYdX v4 genesis: mid-cap, long-tail"},
        )
        maintenance: Rates = Field(
            default=(0.05, 0.05, 0.10),
            min_length=1,
            description="maintenance margin rate, a market",
            json_schema_extra={"unit": "1", "source": "dYdX v4 genesis: mid-cap, long-tail"},
        )
        lower: tuple[Annotated[float, Field(ge=0)], ...] = Field(
            default=(20e6, 20e6, 5e6),
            min_length=1,
            description="open interest, one side, at which the rate begins to rise, a market",
            json_schema_extra={"unit": "USD", "source": "dYdX v4-chain, upgrade v5.0.0"},
        )
        upper: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            default=(50e6, 50e6, 10e6),
            min_length=1,
            description="open interest at which it is one",
            json_schema_extra={"unit": "USD", "source": "dYdX v4-chain, upgrade v5.0.0"},
        )
        leverage_cap: float | None = CAP

        @model_validator(mode="after")
        def _consistent(self) -> "OpenInterestScaled.Parameters":
            maintained(self.initial, self.maintenance)
            ascending("lower", self.lower, "upper", self.upper)
            return self

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        p, markets = self.parameters, view.units.size
        low, high = per_market(p.lower, markets)[:, 0], per_market(p.upper, markets)[:, 0]
        initial = towards_full(per_market(p.initial, markets) * view.notional, view.notional, view.open_interest, low, high)
        return Margin(_capped(initial, view.notional, p.leverage_cap), per_market(p.maintenance, markets) * view.notional), state

    def flat_region(self, view: MarginView, state: Any) -> tuple[Floats, Floats]:
        markets = view.units.size
        return per_market(self.parameters.maintenance, markets)[:, 0], np.full(markets, np.inf)


@margin_rules.member
class SquareRootPremium(MarginRule):
    """Rates rise with the square root of a position's contracts once that exceeds a fifth of them (Drift, size premium).

    Rate = max(base, 0.8 x base + factor x sqrt(contracts)), at most 1, for initial and for maintenance margin.
    """

    name = "square_root"

    class Parameters(RuleParameters):
        type: Literal["square_root"] = "square_root"
        initial: Rates = Field(
            default=(0.05, 0.05, 0.10),
            min_length=1,
            description="initial margin rate of a small position, a market (our choice; Drift's least is 1.25 %)",
            json_schema_extra={"unit": "1"},
        )
        maintenance: Rates = Field(
            default=(0.03, 0.03, 0.05),
            min_length=1,
            description="maintenance margin rate of a small position (our choice)",
            json_schema_extra={"unit": "1"},
        )
        factor: tuple[Annotated[float, Field(ge=0)], ...] = Field(
            default=(1e-3, 2e-4, 1e-4),
            min_length=1,
            description="rise of the rate for each root of a contract, a market (our choice)",
            json_schema_extra={"unit": "1 per root of a contract", "source": "Drift, imf_factor"},
        )
        leverage_cap: float | None = CAP

        @model_validator(mode="after")
        def _consistent(self) -> "SquareRootPremium.Parameters":
            maintained(self.initial, self.maintenance)
            return self

    def _rate(self, base: tuple[float, ...], view: MarginView) -> Floats:
        rate, factor = (per_market(values, view.units.size) for values in (base, self.parameters.factor))
        at_size: Floats = np.minimum(np.maximum(rate, 0.8 * rate + factor * np.sqrt(np.abs(view.position))), 1.0)
        return at_size

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        p = self.parameters
        initial = self._rate(p.initial, view) * view.notional
        return Margin(_capped(initial, view.notional, p.leverage_cap), self._rate(p.maintenance, view) * view.notional), state

    def flat_region(self, view: MarginView, state: Any) -> tuple[Floats, Floats]:
        """The rate is base up to (0.2 x base / factor) squared contracts."""
        base, factor = (per_market(v, view.units.size)[:, 0] for v in (self.parameters.maintenance, self.parameters.factor))
        with np.errstate(divide="ignore"):
            return base, (0.2 * base / factor) ** 2 * view.units


@margin_rules.member
class SkewImpact(MarginRule):
    """Initial rate = contracts / skew scale x impact + minimum, maintenance a part of it, a constant a position (Synthetix v3)."""

    name = "skew_impact"

    class Parameters(RuleParameters):
        type: Literal["skew_impact"] = "skew_impact"
        skew_scale: tuple[Annotated[float, Field(gt=0)], ...] = Field(
            default=(1e5, 1e6, 1e7),
            min_length=1,
            description="contracts against which a position's size is measured, a market (our choice)",
            json_schema_extra={"unit": "contracts"},
        )
        impact: float = Field(
            default=1.0, ge=0, le=100, description="initial rate at skew scale (our choice)", json_schema_extra={"unit": "1"}
        )
        minimum: float = Field(
            default=0.02, gt=0, le=1, description="initial rate of a small position (our choice)", json_schema_extra={"unit": "1"}
        )
        scalar: float = Field(
            default=0.5, gt=0, le=1, description="maintenance over initial rate (our choice)", json_schema_extra={"unit": "1"}
        )
        position_margin: float = Field(
            default=50.0, ge=0, le=1e6, description="added for each open position (our choice)", json_schema_extra={"unit": "USD"}
        )
        leverage_cap: float | None = CAP

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        p = self.parameters
        size = np.abs(view.position) / per_market(p.skew_scale, view.units.size)
        rate = np.minimum(size * p.impact + p.minimum, 1.0)
        constant = np.where(view.notional > 0.0, p.position_margin, 0.0)
        initial = rate * view.notional + constant
        return Margin(_capped(initial, view.notional, p.leverage_cap), p.scalar * rate * view.notional + constant), state
