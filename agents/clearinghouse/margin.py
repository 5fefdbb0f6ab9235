"""Margin rules: what an account must hold against its positions, at opening (initial) and at any time (maintenance)."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.families import Family, Parameters, Rule, RuleParameters, misfit

type Floats = NDArray[np.float64]

_NOTHING: Floats = np.zeros(0)
_NOBODY: NDArray[np.intp] = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True, slots=True)
class MarginView:
    """What a margin rule sees. What is left out is that of linear perpetuals, one an underlying, nothing being open.

    Attributes:
        position: shape (M, n), contracts of n accounts, long > 0.
        notional: shape (M, n), USD, unsigned, at mark.
        marks: shape (M,), USD, value of a contract at mark.
        units: shape (M,), USD, notional of a contract.
        assets: shape (M,), each market's underlying.
        open_interest: shape (M,), USD, one side, at the last close.
        volatility: shape (A,), annualised, of the underlyings, at the last close.
        reprice: what `revalue` does where contracts are not linear.
        strike, sign: shape (M,), USD and 1 for calls, -1 for puts, 0 for what is no option.
    """

    position: Floats
    notional: Floats
    marks: Floats
    units: Floats = field(default_factory=lambda: _NOTHING)
    assets: NDArray[np.intp] = field(default_factory=lambda: _NOBODY)
    open_interest: Floats = field(default_factory=lambda: _NOTHING)
    volatility: Floats = field(default_factory=lambda: _NOTHING)
    reprice: Callable[[Floats, Floats], Floats] | None = None
    strike: Floats = field(default_factory=lambda: _NOTHING)
    sign: Floats = field(default_factory=lambda: _NOTHING)

    def __post_init__(self) -> None:
        markets = self.marks.size
        if not self.sign.size:
            object.__setattr__(self, "strike", np.zeros(markets))
            object.__setattr__(self, "sign", np.zeros(markets))
        if not self.units.size:
            object.__setattr__(self, "units", self.marks)
        if not self.assets.size:
            object.__setattr__(self, "assets", np.arange(markets))
        if not self.open_interest.size:
            object.__setattr__(self, "open_interest", np.zeros(markets))

    @property
    def underlyings(self) -> int:
        """How many underlyings there are, A."""
        return self.volatility.size or int(self.assets.max(initial=-1)) + 1

    def revalue(self, spot: Floats, volatility: Floats) -> Floats:
        """Shape (S, M), USD: change of the value of one contract when underlyings and their implied volatilities move.

        Args:
            spot: shape (S, A), simple returns of the underlyings.
            volatility: shape (S, A), relative changes of implied volatility at thirty days.
        """
        if self.reprice is not None:
            return self.reprice(spot, volatility)
        change: Floats = self.marks * spot[:, self.assets]
        return change


class MarketSeen(NamedTuple):
    """What a margin rule may learn from at the close of a step.

    Attributes:
        hours: the step's length; 0 at the opening.
        returns: shape (A,), log returns of the underlyings in the step.
        volatility: shape (A,), annualised, as the exchange measures it.
    """

    hours: float
    returns: Floats
    volatility: Floats


class Margin(NamedTuple):
    """A margin rule's decision.

    Attributes:
        initial: shape (n,), USD.
        by_market: shape (M, n), USD, maintenance margin; an account's requirement is its sum over markets.
    """

    initial: Floats
    by_market: Floats

    def times(self, initial: float, maintenance: float) -> "Margin":
        """Both margins times factors."""
        if initial == maintenance == 1.0:
            return self
        return Margin(self.initial * initial, self.by_market * maintenance)


def checked_margin(margin: Margin) -> Margin:
    """A rule's decision, refused if it asks for less than nothing, or for what is not a number."""
    for usd in margin:
        least = float(usd.min(initial=0.0))
        if not least >= 0.0:
            raise ValueError(f"found margin of {least:g} USD, expected at least 0")
    return margin


class MarginRule(Rule):
    """Base of the family. `rule(MarginView, state, rng) -> (Margin, state)`.

    A rule that learns from prices also writes `opened` and `observe`; one that nets markets against each other, `ceiling`.
    """

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        raise NotImplementedError

    def opened(self, seen: MarketSeen) -> Any:
        """The state at the opening, when nothing has been seen but volatility."""
        return self.initial_state()

    def observe(self, seen: MarketSeen, state: Any) -> Any:
        """The state after the close of a step."""
        return state

    def ceiling(self, view: MarginView, state: Any) -> Floats:
        """Shape (n,), USD: the most that maintenance can be while marks are at most the view's; the screen of accounts uses it.

        That is maintenance itself where markets add up and no market's margin falls with its notional.
        """
        most: Floats = self.rule(view, state, None)[0].by_market.sum(axis=0)
        return most

    def flat_region(self, view: MarginView, state: Any) -> tuple[Floats, Floats]:
        """A rate and a notional, each (M,): up to that notional, maintenance is at most rate x notional, markets added up.

        The screen of accounts that could breach uses it; a limit of zero makes it ask for the ceiling of everybody.
        """
        return np.zeros_like(view.marks), np.zeros_like(view.marks)


def per_market(values: tuple[float, ...], markets: int) -> Floats:
    """Shape (M, 1): a setting that is given by market, the last value serving any further one."""
    return np.array([values[min(m, len(values) - 1)] for m in range(markets)])[:, None]


def maintained(initial: tuple[float, ...], maintenance: tuple[float, ...]) -> None:
    """Refuses rates of which one of maintenance is above the initial one of its market, or that are not as many."""
    if len(initial) != len(maintenance):
        raise misfit(("maintenance",), f"{len(maintenance)} of them", f"{len(initial)}, as many as initial rates")
    for at, (low, high) in enumerate(zip(maintenance, initial, strict=True)):
        if low > high:
            raise misfit(("maintenance", at), f"{low:g}", f"at most the initial rate of the market, {high:g}")


def ascending(low: str, lower: tuple[float, ...], high: str, upper: tuple[float, ...]) -> None:
    """Refuses two settings by market of which the lower one is not below the upper one everywhere, or that are not as many."""
    if len(lower) != len(upper):
        raise misfit((low,), f"{len(lower)} of them", f"{len(upper)}, as many as of `{high}`")
    for at, (first, second) in enumerate(zip(lower, upper, strict=True)):
        if first >= second:
            raise misfit((low, at), f"{first:g}", f"less than {second:g}, the `{high}` of its market")


margin_rules = Family("margin rule", MarginRule)


class Tier(Parameters):
    """One step of a margin schedule."""

    notional: Annotated[float, Field(ge=0, description="lower bound of the tier", json_schema_extra={"unit": "USD"})]
    initial: Annotated[float, Field(gt=0, le=1, description="initial margin rate", json_schema_extra={"unit": "1"})]
    maintenance: Annotated[float, Field(gt=0, le=1, description="maintenance margin rate", json_schema_extra={"unit": "1"})]


def _leverage_tiers(*steps: tuple[float, float]) -> tuple[Tier, ...]:
    """Tiers from (lower bound, maximum leverage), maintenance being half of initial margin."""
    return tuple(Tier(notional=bound, initial=1 / lever, maintenance=0.5 / lever) for bound, lever in steps)


PRESETS: dict[str, tuple[Tier, ...]] = {
    # Hyperliquid documentation, "margin tiers": maintenance is half of the initial margin at maximum leverage.
    "hyperliquid_btc": _leverage_tiers((0, 40), (150e6, 20)),
    "hyperliquid_eth": _leverage_tiers((0, 25), (100e6, 15)),
    "hyperliquid_sol": _leverage_tiers((0, 20), (70e6, 10)),
    "hyperliquid_xrp": _leverage_tiers((0, 20), (40e6, 10)),
    "hyperliquid_mid": _leverage_tiers((0, 10), (20e6, 5)),
    "hyperliquid_small": _leverage_tiers((0, 10), (3e6, 5)),
    # dYdX v4 mainnet genesis: large-cap 5 % / 3 %, mid 10 % / 5 %, long-tail 20 % / 10 %, safety 100 % / 20 %.
    "dydx_large": (Tier(notional=0, initial=0.05, maintenance=0.03),),
    "dydx_mid": (Tier(notional=0, initial=0.10, maintenance=0.05),),
    "dydx_long_tail": (Tier(notional=0, initial=0.20, maintenance=0.10),),
    "dydx_safety": (Tier(notional=0, initial=1.0, maintenance=0.20),),
    # Binance BTCUSDT brackets of March 2021 (maintenance as published; initial from the bracket's maximum leverage).
    "binance_btc_2021": tuple(
        Tier(notional=bound, initial=initial, maintenance=rate)
        for bound, initial, rate in (
            (0, 1 / 125, 0.004),
            (50e3, 1 / 100, 0.005),
            (250e3, 1 / 50, 0.01),
            (1e6, 1 / 20, 0.025),
            (10e6, 1 / 10, 0.05),
            (20e6, 1 / 5, 0.10),
            (50e6, 1 / 4, 0.125),
            (100e6, 1 / 3, 0.15),
            (200e6, 1 / 2, 0.25),
            (300e6, 1.0, 0.50),
        )
    ),
}


def _in_order(place: tuple[str | int, ...], schedule: tuple[Tier, ...]) -> None:
    """Refuses tiers out of order."""
    if not schedule:
        raise misfit(place, "no tiers", "at least one")
    for at, tier in enumerate(schedule):
        before = schedule[at - 1] if at else None
        if tier.notional != 0.0 if before is None else tier.notional <= before.notional:
            found = f"{tier.notional:g}" + (f" after {before.notional:g}, tiers out of order" if before else "")
            raise misfit((*place, at, "notional"), found, "bounds that start at 0 and increase")
        for name in ("initial", "maintenance"):
            rate, lower = getattr(tier, name), getattr(before, name, 0.0)
            if rate < lower:
                raise misfit((*place, at, name), f"{rate:g} after {lower:g}, tiers out of order", "rates that do not fall with notional")
        if tier.maintenance > tier.initial:
            raise misfit((*place, at, "maintenance"), f"{tier.maintenance:g}", f"at most the initial rate of the tier, {tier.initial:g}")


class _Schedule:
    """Tiered schedules of several markets, each the maximum of straight lines, rate x notional - deduction: continuous and convex.

    Args:
        tiers: each market's tiers as (bounds, rates).
    """

    def __init__(self, tiers: list[tuple[Floats, Floats]]) -> None:
        lines = max(bounds.size for bounds, _ in tiers)
        self.rates = np.zeros((lines, len(tiers), 1))
        self.deductions = np.zeros_like(self.rates)
        for market, (bounds, rates) in enumerate(tiers):
            self.rates[: rates.size, market, 0] = rates
            self.deductions[1 : rates.size, market, 0] = np.cumsum(bounds[1:] * np.diff(rates))

    def __call__(self, notional: Floats) -> Floats:
        """Shape (M, n), USD, of notionals of that shape; the last schedule serves any further market."""
        rates, deductions = self.rates, self.deductions
        if rates.shape[1] != notional.shape[0]:
            at = np.minimum(np.arange(notional.shape[0]), rates.shape[1] - 1)
            rates, deductions = rates[:, at], deductions[:, at]
        required: Floats = rates[0] * notional
        for rate, deduction in zip(rates[1:], deductions[1:], strict=True):
            np.maximum(required, rate * notional - deduction, out=required)
        return required


@margin_rules.member
class Tiered(MarginRule):
    """Published tiers by notional, a schedule for each market.

    Maintenance = N * rate_k - deduction_k with deduction_k = deduction_{k-1} + bound_k * (rate_k - rate_{k-1}), so that margin is
    continuous
    across a tier's bound (Hyperliquid documentation, "margin tiers"; Binance's "maintenance amount").
    """

    name = "tiered"

    class Parameters(RuleParameters):
        type: Literal["tiered"] = "tiered"
        schedules: tuple[str | tuple[Tier, ...], ...] = Field(
            default=("hyperliquid_btc", "hyperliquid_eth", "hyperliquid_mid"),
            min_length=1,
            description=f"one a market, in their order (the last serves any further market): tiers, or one of {', '.join(PRESETS)}",
            json_schema_extra={"source": "Hyperliquid documentation, margin tiers"},
        )
        leverage_cap: float | None = Field(
            default=None,
            ge=1,
            le=1000,
            description="no position may be opened above this leverage, whatever the tier",
            json_schema_extra={"unit": "1"},
        )

        @model_validator(mode="after")
        def _ordered(self) -> "Tiered.Parameters":
            for market, schedule in enumerate(self.schedules):
                if not isinstance(schedule, str):
                    _in_order(("schedules", market), schedule)
                elif schedule not in PRESETS:
                    raise misfit(("schedules", market), f"unknown preset {schedule!r}", f"tiers or one of {', '.join(PRESETS)}")
            return self

    def __init__(self, parameters: Any = None) -> None:
        super().__init__(parameters)
        given = [PRESETS[s] if isinstance(s, str) else s for s in self.parameters.schedules]
        bounds = [np.array([t.notional for t in tiers]) for tiers in given]
        self._limits = np.array([b[1] if b.size > 1 else np.inf for b in bounds])
        self._initial = _Schedule([(b, np.array([t.initial for t in g])) for b, g in zip(bounds, given, strict=True)])
        self._maintenance = _Schedule([(b, np.array([t.maintenance for t in g])) for b, g in zip(bounds, given, strict=True)])

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        cap = self.parameters.leverage_cap
        initial = self._initial(view.notional)
        if cap is not None:
            np.maximum(initial, view.notional / cap, out=initial)
        return Margin(initial.sum(axis=0), self._maintenance(view.notional)), state

    def flat_region(self, view: MarginView, state: Any) -> tuple[Floats, Floats]:
        at = np.minimum(np.arange(view.marks.size), self._limits.size - 1)
        return self._maintenance.rates[0, at, 0], self._limits[at]


@margin_rules.member
class LinearRamp(MarginRule):
    """Margin rates that rise linearly with a position's size in units of the underlying (Deribit, "initial and maintenance margin")."""

    name = "linear_ramp"

    class Parameters(RuleParameters):
        type: Literal["linear_ramp"] = "linear_ramp"
        initial: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
            default=(0.02, 0.02, 0.04),
            min_length=1,
            description="initial margin rate at size zero, a market",
            json_schema_extra={"unit": "1", "source": "Deribit"},
        )
        maintenance: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
            default=(0.01, 0.01, 0.02),
            min_length=1,
            description="maintenance margin rate at size zero",
            json_schema_extra={"unit": "1", "source": "Deribit"},
        )
        slope: tuple[Annotated[float, Field(ge=0)], ...] = Field(
            default=(5e-5, 4e-6, 5e-6),
            min_length=1,
            description="rise of both rates for each unit of the underlying",
            json_schema_extra={"unit": "1 per unit", "source": "Deribit"},
        )
        leverage_cap: float | None = Field(
            default=None, ge=1, le=1000, description="highest leverage at opening", json_schema_extra={"unit": "1"}
        )

        @model_validator(mode="after")
        def _consistent(self) -> "LinearRamp.Parameters":
            maintained(self.initial, self.maintenance)
            if len(self.slope) != len(self.initial):
                raise misfit(("slope",), f"{len(self.slope)} of them", f"{len(self.initial)}, as many as rates")
            return self

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        p, markets = self.parameters, view.marks.size
        with np.errstate(divide="ignore", invalid="ignore"):
            units = np.where(view.units[:, None] > 0, view.notional / view.units[:, None], 0.0)
        ramp = per_market(p.slope, markets) * units
        initial = np.minimum(per_market(p.initial, markets) + ramp, 1.0)
        if p.leverage_cap is not None:
            initial = np.maximum(initial, 1.0 / p.leverage_cap)
        maintenance = np.minimum(per_market(p.maintenance, markets) + ramp, 1.0)
        return Margin((initial * view.notional).sum(axis=0), maintenance * view.notional), state

    def flat_region(self, view: MarginView, state: Any) -> tuple[Floats, Floats]:
        rate = 2.0 * per_market(self.parameters.maintenance, view.units.size)[:, 0]
        slope = per_market(self.parameters.slope, view.units.size)[:, 0]
        with np.errstate(divide="ignore"):
            return rate, 0.5 * rate / slope * view.units


@margin_rules.member
class FixedLeverage(MarginRule):
    """One initial and one maintenance rate for every market and size (CFD-style; ESMA's 2018 measures set 50 % for crypto-assets)."""

    name = "fixed_leverage"

    class Parameters(RuleParameters):
        type: Literal["fixed_leverage"] = "fixed_leverage"
        initial: float = Field(default=0.1, gt=0, le=1, description="initial margin rate", json_schema_extra={"unit": "1"})
        maintenance: float = Field(default=0.05, gt=0, le=1, description="maintenance margin rate", json_schema_extra={"unit": "1"})

        @model_validator(mode="after")
        def _ordered(self) -> "FixedLeverage.Parameters":
            if self.maintenance > self.initial:
                raise misfit(("maintenance",), f"{self.maintenance:g}", f"at most the initial rate, {self.initial:g}")
            return self

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        return Margin(self.parameters.initial * view.notional.sum(axis=0), self.parameters.maintenance * view.notional), state

    def flat_region(self, view: MarginView, state: Any) -> tuple[Floats, Floats]:
        return np.full(view.marks.size, self.parameters.maintenance), np.full(view.marks.size, np.inf)
