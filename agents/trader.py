"""Traders: who they are, what they want to hold, and when they pay in, take out and leave.

A trader's stance in a market is a number from -1 (as short as its leverage allows) to 1 (as long). Strategies turn what is seen and a
trader's
own draws into stances; who acts in a step is drawn first, at a rate that depends on nobody's state.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.contracts import Contracts
from agents.demand import DemandParameters
from agents.families import Family, Parameters, Rule, RuleParameters, misfit

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TraderView:
    """What n acting traders see.

    Attributes:
        misalignment: shape (A,), log of the perpetual's mark over fundamental value.
        trend: shape (A,), log return of the last day, exponentially weighted.
        funding: shape (A,), what shorts earn, annualised; of several contracts on an underlying, the best.
        daily: shape (A,), daily volatility.
        luck: shape (A, n), standard normal draws of each trader's own.
        contracts: what can be traded if it is not perpetuals alone.
    """

    misalignment: Floats
    trend: Floats
    funding: Floats
    daily: Floats
    luck: Floats
    contracts: Contracts | None = None


class StrategyParameters(RuleParameters):
    """What every strategy has."""

    weight: float = Field(
        default=1.0, ge=0, description="share of the group that starts with it, relative to the others", json_schema_extra={"unit": "1"}
    )


def checked_stance(stance: Floats) -> Floats:
    """A strategy's decision, refused where it is beyond full size, or not a number."""
    largest = float(np.abs(stance).max(initial=0.0))
    if not largest <= 1.0 + 1e-9:
        raise ValueError(f"found a stance of {largest:g}, expected stances between -1 and 1")
    return stance


class Strategy(Rule):
    """Base of the family. `rule(TraderView, state, rng) -> (stance (A, n) in [-1, 1], state)`.

    Attributes:
        speculates: whether traders switch between this strategy and the others that do.
        hedges: whether short positions and long puts are matched by spot.
        chooses: whether stances are in contracts, (M, n); otherwise they are in underlyings and divided over perpetual and futures.
        neutral: whether the perpetual is held against the options' deltas.
    """

    Parameters = StrategyParameters
    speculates: ClassVar[bool] = False
    hedges: ClassVar[bool] = False
    chooses: ClassVar[bool] = False
    neutral: ClassVar[bool] = False

    def rule(self, view: TraderView, state: Any, rng: Any) -> tuple[Floats, Any]:
        raise NotImplementedError


strategy_rules = Family("trader strategy", Strategy)


@strategy_rules.member
class Fundamentalist(Strategy):
    """Trades towards value: demand phi (p* - p) + noise (Franke & Westerhoff 2012), in units of daily volatility."""

    name = "fundamentalist"
    speculates = True

    class Parameters(StrategyParameters):
        type: Literal["fundamentalist"] = "fundamentalist"
        reaction: float = Field(
            default=0.15,
            ge=0,
            description="phi: stance for each daily standard deviation of misalignment (our choice)",
            json_schema_extra={"unit": "1"},
        )
        noise: float = Field(
            default=0.40, ge=0, description="standard deviation of a trader's own view (our choice)", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: TraderView, state: Any, rng: Any) -> tuple[Floats, Any]:
        p = self.parameters
        signal = np.where(view.daily > 0, -view.misalignment / np.maximum(view.daily, 1e-12), 0.0)
        return np.clip((p.reaction * signal)[:, None] + p.noise * view.luck, -1.0, 1.0), state


@strategy_rules.member
class Chartist(Strategy):
    """Extrapolates: demand chi (p_t - p_{t-1}) + noise (Franke & Westerhoff 2012), over a day, in units of daily volatility."""

    name = "chartist"
    speculates = True

    class Parameters(StrategyParameters):
        type: Literal["chartist"] = "chartist"
        reaction: float = Field(
            default=0.20,
            ge=0,
            description="chi: stance for each daily standard deviation of trend (our choice)",
            json_schema_extra={"unit": "1"},
        )
        noise: float = Field(
            default=0.60, ge=0, description="standard deviation of a trader's own view (our choice)", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: TraderView, state: Any, rng: Any) -> tuple[Floats, Any]:
        p = self.parameters
        signal = np.where(view.daily > 0, view.trend / np.maximum(view.daily, 1e-12), 0.0)
        return np.clip((p.reaction * signal)[:, None] + p.noise * view.luck, -1.0, 1.0), state


@strategy_rules.member
class Noise(Strategy):
    """Trades on whims, with a taste for being long."""

    name = "noise"

    class Parameters(StrategyParameters):
        type: Literal["noise"] = "noise"
        bias: float = Field(default=0.15, ge=-1, le=1, description="mean stance (our choice)", json_schema_extra={"unit": "1"})
        noise: float = Field(default=0.6, ge=0, description="standard deviation of stance (our choice)", json_schema_extra={"unit": "1"})

    def rule(self, view: TraderView, state: Any, rng: Any) -> tuple[Floats, Any]:
        return np.clip(self.parameters.bias + self.parameters.noise * view.luck, -1.0, 1.0), state


@strategy_rules.member
class Hedger(Strategy):
    """Basis trader: long spot, short perpetual, as far as funding pays for it. A deleveraged hedge leaves spot that is sold."""

    name = "hedger"
    hedges = True

    class Parameters(StrategyParameters):
        type: Literal["hedger"] = "hedger"
        hurdle: float = Field(
            default=0.02, description="funding at which the trade starts to pay (our choice)", json_schema_extra={"unit": "annualised"}
        )
        saturation: float = Field(
            default=0.15,
            gt=0,
            description="funding above the hurdle at which all capital is in (our choice)",
            json_schema_extra={"unit": "annualised"},
        )

    def rule(self, view: TraderView, state: Any, rng: Any) -> tuple[Floats, Any]:
        p = self.parameters
        stance = -np.clip((view.funding - p.hurdle) / p.saturation, 0.0, 1.0)
        return np.broadcast_to(stance[:, None], view.luck.shape), state


class OptionStrategy(Strategy):
    """Base of the strategies that trade options. A member writes `stances`, (M, n), of what is listed."""

    chooses = True

    def stances(self, view: TraderView, contracts: Contracts) -> Floats:
        """Shape (M, n)."""
        raise NotImplementedError

    def rule(self, view: TraderView, state: Any, rng: Any) -> tuple[Floats, Any]:
        if view.contracts is None:
            return np.zeros_like(view.luck), state
        return self.stances(view, view.contracts), state


@strategy_rules.member
class Protected(OptionStrategy):
    """Holds the underlying, as much of it as it holds puts on: the fall is insured, as far as the premium does not exceed a budget."""

    name = "protected"
    hedges = True

    class Parameters(StrategyParameters):
        type: Literal["protected"] = "protected"
        budget: float = Field(
            default=0.04,
            gt=0,
            le=1,
            description="premium for thirty days, over what is insured, up to which everything is insured (our choice)",
            json_schema_extra={"unit": "1"},
        )

    def stances(self, view: TraderView, contracts: Contracts) -> Floats:
        monthly = contracts.price * (30.0 / np.maximum(contracts.days, 1.0))
        affordable = np.minimum(self.parameters.budget / np.maximum(monthly, 1e-9), 1.0)
        stance = contracts.each(contracts.put) * affordable
        return np.broadcast_to(stance[:, None], (stance.size, view.luck.shape[1]))


@strategy_rules.member
class CallBuyer(OptionStrategy):
    """Seeks leverage that cannot be liquidated: buys calls, the more of them the more prices have risen in units of daily volatility."""

    name = "call_buyer"

    class Parameters(StrategyParameters):
        type: Literal["call_buyer"] = "call_buyer"
        bias: float = Field(default=0.1, ge=-1, le=1, description="stance without a trend (our choice)", json_schema_extra={"unit": "1"})
        reaction: float = Field(
            default=0.15,
            ge=0,
            description="stance for each daily standard deviation of trend (our choice)",
            json_schema_extra={"unit": "1"},
        )
        noise: float = Field(
            default=0.3, ge=0, description="standard deviation of a trader's own view (our choice)", json_schema_extra={"unit": "1"}
        )

    def stances(self, view: TraderView, contracts: Contracts) -> Floats:
        p = self.parameters
        signal = np.where(view.daily > 0, view.trend / np.maximum(view.daily, 1e-12), 0.0)
        wanted = np.clip((p.bias + p.reaction * signal)[:, None] + p.noise * view.luck, 0.0, 1.0)
        stances: Floats = contracts.each(contracts.call)[:, None] * wanted[contracts.asset]
        return stances


@strategy_rules.member
class VolatilitySeller(Strategy):
    """Sells options while they imply more volatility than is realised, the variance premium, and hedges their deltas in the perpetual.

    Its hedges are market orders: short of options, it buys when prices rise and sells when they fall.
    """

    name = "volatility_seller"
    chooses = True
    neutral = True

    class Parameters(StrategyParameters):
        type: Literal["volatility_seller"] = "volatility_seller"
        hurdle: float = Field(
            default=0.0,
            ge=-0.5,
            le=2,
            description="implied over realised volatility, less one, at which selling starts to pay (our choice)",
            json_schema_extra={"unit": "1"},
        )
        saturation: float = Field(
            default=0.5,
            gt=0,
            description="excess over the hurdle at which all capital is in (our choice)",
            json_schema_extra={"unit": "1"},
        )
        least: float = Field(
            default=0.001,
            ge=0,
            le=1,
            description="price over notional below which there is nothing left to earn, and options are bought back (our choice)",
            json_schema_extra={"unit": "1"},
        )
        pace: float = Field(
            default=0.1,
            gt=0,
            le=1,
            description="part of the way to what they want that they go in a step: large positions are built slowly (our choice)",
            json_schema_extra={"unit": "1"},
        )

    def rule(self, view: TraderView, state: Any, rng: Any) -> tuple[Floats, Any]:
        p, contracts = self.parameters, view.contracts
        if contracts is None:
            return np.zeros_like(view.luck), state
        dear = np.clip((contracts.richness - 1.0 - p.hurdle) / p.saturation, 0.0, 1.0)
        wanted = -contracts.each(contracts.call | contracts.put) * dear * (contracts.price > p.least)
        stance = wanted if state is None else state + p.pace * (wanted - state)
        return np.broadcast_to(stance[:, None], (stance.size, view.luck.shape[1])), stance


class TraderGroup(Parameters):
    """A group of traders that are alike but for wealth, leverage and luck."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[a-z][a-z0-9_]*$", description="its name; its draws depend on it")] = "retail"
    count: Annotated[
        int,
        Field(
            ge=0,
            le=10_000_000,
            description="traders at the start, and towards which entries tend",
            json_schema_extra={"unit": "participants"},
        ),
    ] = 1000
    equity: Annotated[
        float, Field(gt=0, le=1e15, description="expected deposits of the whole group at the start", json_schema_extra={"unit": "USD"})
    ] = 1.0e9
    tail: Annotated[
        float,
        Field(
            gt=0,
            le=10,
            description="Pareto index of deposits (our choice; accounts on Hyperliquid: 0.7 to 0.9)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.2
    span: Annotated[
        float,
        Field(gt=1, description="largest deposit over smallest: the Pareto law is truncated (our choice)", json_schema_extra={"unit": "1"}),
    ] = 3000.0
    leverage: Annotated[
        float, Field(gt=0, le=500, description="median of the traders' largest leverage (our choice)", json_schema_extra={"unit": "1"})
    ] = 5.0
    leverage_spread: Annotated[
        float, Field(ge=0, le=3, description="standard deviation of its logarithm (our choice)", json_schema_extra={"unit": "1"})
    ] = 0.8
    leverage_max: Annotated[float, Field(gt=0, le=500, description="cap on it", json_schema_extra={"unit": "1"})] = 50.0
    leverage_by_size: Annotated[
        float,
        Field(
            ge=0, le=1, description="leverage falls as deposits above the mean to this power (our choice)", json_schema_extra={"unit": "1"}
        ),
    ] = 0.25
    isolated: Annotated[
        bool,
        Field(
            description="isolated margin: the group's rows are margin books of one underlying each, drawn by `markets`; what a participant "
            "has in one book never backs another. false: cross margin, one account for all markets"
        ),
    ] = False
    margin: Annotated[
        Literal["usd", "coin"],
        Field(
            description="what they deposit, and what their margin is in. coin: rows are accounts in one coin each, drawn by `markets`, "
            "that trade what is settled in it, as on BitMEX and in Bybit's inverse and Binance's COIN-M accounts"
        ),
    ] = "usd"
    activity: Annotated[float, Field(ge=0, description="rate at which a trader reconsiders", json_schema_extra={"unit": "per hour"})] = (
        1 / 48
    )
    strategies: Annotated[tuple[Annotated[RuleParameters, strategy_rules], ...], Field(min_length=1, description="what they do")] = (
        Fundamentalist.Parameters(weight=0.3),
        Chartist.Parameters(weight=0.3),
        Noise.Parameters(weight=0.4),
    )
    redeposit: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="probability that an acting trader who has lost its deposit pays in again (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.25
    deposit_below: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="part of its deposit below which a trader counts its deposit as lost (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.5
    withdraw_above: Annotated[
        float,
        Field(
            gt=1, description="multiple of its deposit above which a trader takes gains out (our choice)", json_schema_extra={"unit": "1"}
        ),
    ] = 3.0
    exit_rate: Annotated[
        float, Field(ge=0, description="rate at which traders leave for good (our choice)", json_schema_extra={"unit": "per year"})
    ] = 0.1
    entry_rate: Annotated[
        float,
        Field(
            ge=0, description="rate at which a missing trader is replaced by a new one (our choice)", json_schema_extra={"unit": "per year"}
        ),
    ] = 6.0
    churn: Annotated[
        float,
        Field(
            ge=0,
            description="beta in P(exit) = 1 - exp(-beta x haircut) after deleveraging or socialised loss",
            json_schema_extra={"unit": "1", "source": "Chitra 2025"},
        ),
    ] = 5.0

    churn_closed: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="probability that a trader leaves for good whose contracts deleveraging has all closed; less where part of them"
            " (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.0

    @model_validator(mode="after")
    def _weighted(self) -> "TraderGroup":
        if sum(s.weight for s in self.strategies) <= 0:  # type: ignore[attr-defined]
            raise misfit(("strategies",), "strategies without weight", "at least one weight above 0")
        if self.margin == "coin":
            for at, s in enumerate(self.strategies):
                if strategy_rules.find(s.type).chooses:  # type: ignore[attr-defined]
                    raise misfit(("strategies", at), f"`{s.type}` with margin in coin", "a strategy that trades no options")
        return self


class RunParameters(Parameters):
    """How account holders run from an exchange that they fear will fail."""

    watch: Annotated[
        Literal["adequacy", "equity"],
        Field(
            description="what they look at: the fund over its target, or the exchange's fund and capital over what they were at the start"
        ),
    ] = "adequacy"
    calm: Annotated[
        float,
        Field(
            gt=0, description="level at which nobody fears; fear rises to 1 as it falls to 0 (our choice)", json_schema_extra={"unit": "1"}
        ),
    ] = 0.5
    rate: Annotated[
        float,
        Field(
            ge=0, description="share of free collateral that is withdrawn at full fear (our choice)", json_schema_extra={"unit": "per hour"}
        ),
    ] = 0.1


def run_fear(p: RunParameters, level: float) -> float:
    """Fear of the exchange's failure, 0 to 1, at a level of what is watched; none where that is not defined."""
    return min(max(1.0 - level / p.calm, 0.0), 1.0) if level == level else 0.0  # noqa: PLR0124 - not a number


class LostHedgeParameters(Parameters):
    """What a hedger does with spot that is naked because deleveraging has closed the contracts against it."""

    share: Annotated[
        float, Field(ge=0, le=1, description="part of the naked spot that is sold outright (our choice)", json_schema_extra={"unit": "1"})
    ] = 1.0
    rate: Annotated[
        float,
        Field(
            gt=0,
            description="share of what is left to sell that is sold; the hedger trades nothing else until all is (our choice)",
            json_schema_extra={"unit": "per hour"},
        ),
    ] = 2.0


class TraderParameters(Parameters):
    """All traders of the world."""

    groups: Annotated[tuple[TraderGroup, ...], Field(description="groups of traders")] = (
        TraderGroup(),
        TraderGroup(
            name="basis_funds",
            count=20,
            equity=400e6,
            tail=2.0,
            span=20.0,
            leverage=0.6,
            leverage_spread=0.0,
            leverage_max=0.6,
            activity=1.0,
            strategies=(Hedger.Parameters(),),
            exit_rate=0.0,
        ),
    )
    markets: Annotated[
        tuple[Annotated[float, Field(ge=0)], ...],
        Field(
            min_length=1,
            description="how traders divide their capital over markets, relative weights (the last serves any further market; our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = (0.55, 0.3, 0.15)
    run: Annotated[RunParameters | None, Field(description="how they run from an exchange that they fear will fail; null: they do not")] = (
        None
    )
    lost_hedges: Annotated[
        LostHedgeParameters | None,
        Field(description="what hedgers do with naked spot; null: they restore the hedge, or sell, when it is their turn to trade"),
    ] = None
    demand: Annotated[DemandParameters, Field(description="how volume and leverage respond to fees, levies and margin")] = (
        DemandParameters()
    )
    carry_tolerance: Annotated[
        float,
        Field(
            gt=0,
            le=10,
            description="excess carry that moves the odds between perpetual and future by a factor of e (our choice)",
            json_schema_extra={"unit": "per year"},
        ),
    ] = 0.25
    attractiveness_bias: Annotated[
        float, Field(description="alpha_0 of switching", json_schema_extra={"unit": "1", "source": "Franke & Westerhoff 2012, DCA-HPM"})
    ] = -0.327
    herding: Annotated[
        float, Field(description="alpha_n of switching", json_schema_extra={"unit": "1", "source": "Franke & Westerhoff 2012, DCA-HPM"})
    ] = 1.79
    misalignment: Annotated[
        float, Field(description="alpha_p of switching", json_schema_extra={"unit": "1", "source": "Franke & Westerhoff 2012, DCA-HPM"})
    ] = 18.43
    fear_memory: Annotated[
        float, Field(gt=0, description="time in which all but 1/e of a shock's memory fades (our choice)", json_schema_extra={"unit": "h"})
    ] = 168.0
    fear: Annotated[
        float,
        Field(
            ge=0,
            description="fall of log readiness to pay in, for each share of open interest liquidated (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 4.0

    @model_validator(mode="after")
    def _named_once(self) -> "TraderParameters":
        names = [g.name for g in self.groups]
        for at, name in enumerate(names):
            if name in names[:at]:
                raise misfit(("groups", at, "name"), f"{name!r} again", "every group's name once")
        if sum(self.markets) <= 0:
            raise misfit(("markets",), "no weight above 0", "weights of at least 0 that are not all 0")
        return self


def fundamentalist_share(p: TraderParameters, share: float, misalignment: Floats, weights: Floats) -> float:
    """Probability that a speculator who reconsiders is a fundamentalist: 1 / (1 + exp(-a)).

    a = alpha_0 + alpha_n (n_f - n_c) + alpha_p (p - p*)^2 (Franke & Westerhoff 2012, discrete choice with herding, predisposition and
    misalignment),
    the square averaged over markets.

    Args:
        p: parameters.
        share: present share n_f of fundamentalists among speculators.
        misalignment: shape (M,), log.
        weights: shape (M,), summing to one.
    """
    a = p.attractiveness_bias + p.herding * (2.0 * share - 1.0) + p.misalignment * float(weights @ misalignment**2)
    return float(1.0 / (1.0 + np.exp(-a)))


def truncated_pareto(u: Floats, tail: float, span: float) -> Floats:
    """Deposits relative to their mean, from uniform draws: Pareto with index `tail` on [1, span], scaled to expectation one."""
    floor = span**-tail
    draws = (1.0 - u * (1.0 - floor)) ** (-1.0 / tail)
    integral = np.log(span) if tail == 1.0 else (1.0 - span ** (1.0 - tail)) / (tail - 1.0)
    mean = tail * integral / (1.0 - floor)
    scaled: Floats = draws / mean
    return scaled


@dataclass(frozen=True, slots=True)
class CashView:
    """What n acting traders see when they think of paying in or taking out; each (n,).

    Attributes:
        equity: USD on the account.
        free: USD that margin does not hold.
        stake: USD, what a trader pays in when it starts.
        luck: uniform draws.
    """

    equity: Floats
    free: Floats
    stake: Floats
    luck: Floats


def pay_in_or_out(group: TraderGroup, view: CashView, confidence: float) -> Floats:
    """USD that each pays in (> 0) or takes out (< 0), (n,): losers come back as far as confidence goes, winners take gains home."""
    lost = view.equity < group.deposit_below * view.stake
    returns = lost & (view.luck < group.redeposit * confidence)
    rich = view.equity > group.withdraw_above * view.stake
    taken = np.minimum(view.equity - 0.5 * (1.0 + group.withdraw_above) * view.stake, np.maximum(view.free, 0.0))
    moved: Floats = np.where(returns, view.stake - np.maximum(view.equity, 0.0), 0.0) - np.where(rich, np.maximum(taken, 0.0), 0.0)
    return moved


def leaves(group: TraderGroup, haircut: Floats, luck: Floats) -> NDArray[np.bool_]:
    """Who leaves after a haircut, (n,): P = 1 - exp(-beta x haircut) (Chitra 2025, with beta = 5)."""
    return luck < -np.expm1(-group.churn * haircut)
