"""Shocks: what happens at stated hours, on top of the news."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, override

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Family, Rule, RuleParameters

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ShockView:
    """What a shock sees.

    Attributes:
        start, end: hours since the run began, at the step's start and at the next step's.
        markets: number of markets.
    """

    start: float
    end: float
    markets: int


@dataclass(frozen=True, slots=True)
class Effect:
    """What a shock does in a step; what it leaves out does not happen.

    Attributes:
        drift: shape (M,), log return spread evenly over the step.
        jump: shape (M,), log return at once, at the step's start.
        depth: shape (M,), factor on the depth that market makers show.
        mispricing: shape (M,), log error of the index that the exchange marks by; the book trades at the right one.
        level: shape (M,), factor on implied volatility at once, at the step's start.
        outages: from and until, hours since the run began: neither orders nor liquidations then.
    """

    drift: Floats | float = 0.0
    jump: Floats | float = 0.0
    depth: Floats | float = 1.0
    mispricing: Floats | float = 0.0
    level: Floats | float = 1.0
    outages: tuple[tuple[float, float], ...] = field(default=())


class Shock(Rule):
    """Base of the family. `rule(ShockView, state, rng) -> (Effect, state)`; no shock is an empty list."""

    def rule(self, view: ShockView, state: Any, rng: Any) -> tuple[Effect, Any]:
        """What happens in the step that is seen."""
        raise NotImplementedError


shock_rules = Family("shock", Shock)


Place = Annotated[str | None, Field(description="the exchange that it happens to; all of them if it does not say")]
Change = Annotated[float, Field(gt=-1, le=100)]
"""Of a price or a volatility, which stay above zero."""


def _column(values: tuple[float, ...], markets: int) -> Floats:
    return np.array([values[min(at, len(values) - 1)] for at in range(markets)], dtype=float)


def overlap(view: ShockView, at: float, lasts: float) -> float:
    """Hours of the step that lie within [at, at + lasts)."""
    return max(0.0, min(view.end, at + lasts) - max(view.start, at))


def holds(view: ShockView, at: float, lasts: float) -> bool:
    """Whether a state that lasts over [at, at + lasts) is the step's: for most of it, or of itself; of equal halves, the earlier one's."""
    hours, half = overlap(view, at, lasts), 0.5 * min(view.end - view.start, lasts)
    return hours > half * (1.0 + 1e-9) or (hours >= half * (1.0 - 1e-9) and at >= view.start)


@shock_rules.member
class PriceMove(Shock):
    """Indices move by a stated simple return, evenly in log over some hours, or at once if it lasts none."""

    name = "price_move"

    class Parameters(RuleParameters):
        type: Literal["price_move"] = "price_move"
        at: float = Field(ge=0, description="when it starts", json_schema_extra={"unit": "h"})
        lasts: float = Field(default=0.0, ge=0, description="how long it takes; 0 is a jump", json_schema_extra={"unit": "h"})
        size: tuple[Change, ...] = Field(
            min_length=1, description="simple return of each market (the last serves any further market)", json_schema_extra={"unit": "1"}
        )

    @override
    def rule(self, view: ShockView, state: Any, rng: Any) -> tuple[Effect, Any]:
        p = self.parameters
        move = np.log1p(_column(p.size, view.markets))
        if p.lasts == 0.0:
            now = view.start <= p.at < view.end
            return Effect(jump=move) if now else Effect(), state
        return Effect(drift=move * (overlap(view, p.at, p.lasts) / p.lasts)), state


@shock_rules.member
class DepthWithdrawal(Shock):
    """Market makers show a stated part of their depth for some hours."""

    name = "depth_withdrawal"

    class Parameters(RuleParameters):
        type: Literal["depth_withdrawal"] = "depth_withdrawal"
        venue: Place = None
        at: float = Field(ge=0, description="when it starts", json_schema_extra={"unit": "h"})
        lasts: float = Field(gt=0, description="how long it lasts", json_schema_extra={"unit": "h"})
        remains: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
            min_length=1, description="part of depth that remains in each market", json_schema_extra={"unit": "1"}
        )

    @override
    def rule(self, view: ShockView, state: Any, rng: Any) -> tuple[Effect, Any]:
        p = self.parameters
        return Effect(depth=_column(p.remains, view.markets)) if holds(view, p.at, p.lasts) else Effect(), state


@shock_rules.member
class Outage(Shock):
    """The exchange takes no orders and liquidates nobody (BitMEX, 13 March 2020: 25 minutes; Binance, 19 May 2021: hours)."""

    name = "outage"

    class Parameters(RuleParameters):
        type: Literal["outage"] = "outage"
        venue: Place = None
        at: float = Field(ge=0, description="when it starts", json_schema_extra={"unit": "h"})
        lasts: float = Field(gt=0, description="how long it lasts", json_schema_extra={"unit": "h"})

    @override
    def rule(self, view: ShockView, state: Any, rng: Any) -> tuple[Effect, Any]:
        p = self.parameters
        return Effect(outages=((p.at, p.at + p.lasts),)) if overlap(view, p.at, p.lasts) > 0.0 else Effect(), state


@shock_rules.member
class OracleError(Shock):
    """The index by which the exchange marks is wrong for some hours, while the book trades at the right one.

    Binance marked USDe near 0.65 USD on 10 October 2025 while it traded near 1 elsewhere.
    """

    name = "oracle_error"

    class Parameters(RuleParameters):
        type: Literal["oracle_error"] = "oracle_error"
        venue: Place = None
        at: float = Field(ge=0, description="when it starts", json_schema_extra={"unit": "h"})
        lasts: float = Field(gt=0, description="how long it lasts", json_schema_extra={"unit": "h"})
        size: tuple[Change, ...] = Field(
            min_length=1,
            description="error of each market's index (the last serves any further market)",
            json_schema_extra={"unit": "1", "source": "Binance, USDe, 10 October 2025: -0.35"},
        )

    @override
    def rule(self, view: ShockView, state: Any, rng: Any) -> tuple[Effect, Any]:
        p = self.parameters
        return Effect(mispricing=np.log1p(_column(p.size, view.markets))) if holds(view, p.at, p.lasts) else Effect(), state


@shock_rules.member
class VolatilityMove(Shock):
    """Implied volatility moves at once by a stated part of itself, prices standing still; it finds back as its surface says."""

    name = "volatility_move"

    class Parameters(RuleParameters):
        type: Literal["volatility_move"] = "volatility_move"
        venue: Place = None
        at: float = Field(ge=0, description="when it happens", json_schema_extra={"unit": "h"})
        size: tuple[Change, ...] = Field(
            min_length=1,
            description="relative change of each asset's implied volatility (the last serves any further asset)",
            json_schema_extra={"unit": "1"},
        )

    @override
    def rule(self, view: ShockView, state: Any, rng: Any) -> tuple[Effect, Any]:
        p = self.parameters
        now = view.start <= p.at < view.end
        return Effect(level=1.0 + _column(p.size, view.markets)) if now else Effect(), state
