"""Margin that learns from prices: value at risk and expected shortfall, by EWMA, history or filtered history.

Observations are log returns of the underlyings over bars of `every` hours; over the margin period of risk they grow with the square root
of time. The exchange opens without a history of its own: it assumes normal returns at its opening estimate of volatility, each pair of
underlyings correlated alike, and forgets them as it sees real ones. Tools against procyclicality are applied to what a rule asks for.
"""

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy import stats
from scipy.stats import qmc

from agents.clearinghouse.margin import MarginView, MarketSeen, margin_rules, per_market
from agents.clearinghouse.margin_portfolio import PortfolioParameters, PortfolioRule, deltas
from agents.clock import HOURS_PER_YEAR
from agents.families import Parameters, misfit

type Floats = NDArray[np.float64]

LARGEST_RISE = 50.0
"""Log: a return that is stretched beyond it is no number any more."""
FULL_BAR = 1.0 - 1e-9
"""A bar this close to its length is complete: steps add up to it with rounding."""


# -- tools against procyclicality -------------------------------------------------------------------------------------------------------


class AntiProcyclicality(Parameters):
    """EMIR's tools (Commission Delegated Regulation 153/2013, Article 28(1)); applied in this order if there are several."""

    stress_weight: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="weight of the margin under stressed moves, tool (b); 0.25 or more, or 0 for none",
        json_schema_extra={"unit": "1", "source": "RTS 153/2013 Art. 28(1)(b)"},
    )
    buffer: float = Field(
        default=0.0,
        ge=0,
        le=2,
        description="buffer on margin, tool (a), exhausted as margin rises above what long-run volatility asks for; 0 for none",
        json_schema_extra={"unit": "1", "source": "RTS 153/2013 Art. 28(1)(a)"},
    )
    floor: bool = Field(
        default=False,
        description="whether margin is no lower than long-run volatility asks for, tool (c)",
        json_schema_extra={"source": "RTS 153/2013 Art. 28(1)(c)"},
    )
    long_volatility: tuple[Annotated[float, Field(gt=0, le=10)], ...] = Field(
        default=(0.6, 0.8, 1.0),
        min_length=1,
        description="volatility over ten years, an asset (BTC: about 0.59 in 2020-2026; others our choice)",
        json_schema_extra={"unit": "annualised"},
    )
    stress_move: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(0.39, 0.43, 0.5),
        min_length=1,
        description="move under stress, an asset, either way (BTC on 12 March 2020; others our choice)",
        json_schema_extra={"unit": "1"},
    )


def stressed(margin: Floats, stress: Floats, weight: float) -> Floats:
    """(1 - weight) x margin + weight x margin under stress."""
    mixed: Floats = (1.0 - weight) * margin + weight * stress
    return mixed


def buffered(margin: Floats, calm: Floats, buffer: float) -> Floats:
    """(1 + buffer) x margin in calm, that is up to the margin `calm`; beyond, the buffer is used up before margin rises."""
    held: Floats = np.maximum(margin, (1.0 + buffer) * np.minimum(margin, calm))
    return held


def floored(margin: Floats, floor: Floats) -> Floats:
    """No lower than the floor."""
    return np.maximum(margin, floor)


# -- tails ------------------------------------------------------------------------------------------------------------------------------


def tail(observations: int, confidence: float) -> tuple[int, float]:
    """How many observations lie wholly beyond a quantile, and the part of the next one that does."""
    beyond = round(observations * (1.0 - confidence), 9)
    return int(beyond), beyond - int(beyond)


def value_at_risk(gains: Floats, confidence: float) -> Floats:
    """Shape (n,): the least loss that no more than a share 1 - confidence of the results, (S, n), exceeds; at least 0."""
    whole, _ = tail(gains.shape[0], confidence)
    loss: Floats = np.maximum(-np.partition(gains, whole, axis=0)[whole], 0.0)
    return loss


def expected_shortfall(gains: Floats, confidence: float) -> Floats:
    """Shape (n,): the mean loss over the worst share 1 - confidence of the results, (S, n), one of them in part; at least 0.

    Coherent: of two portfolios together it is at most the sum of both (Acerbi & Tasche 2002).
    """
    whole, part = tail(gains.shape[0], confidence)
    ordered = np.partition(gains, whole, axis=0)
    loss: Floats = -(ordered[:whole].sum(axis=0) + part * ordered[whole]) / (whole + part)
    return np.maximum(loss, 0.0)


def normal_multiple(measure: str, confidence: float) -> float:
    """Value at risk or expected shortfall of a normal loss, in standard deviations."""
    quantile = float(stats.norm.ppf(confidence))
    return quantile if measure == "value_at_risk" else float(stats.norm.pdf(quantile)) / (1.0 - confidence)


# -- what the exchange has seen ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class History:
    """What a rule remembers.

    Attributes:
        returns: shape (L, A), log returns of complete bars, the latest last.
        standardised: shape (L, A), the same over the volatility that was estimated before each.
        covariance: shape (A, A), of a bar's log returns, exponentially weighted.
        open_returns, open_hours: shape (A,) and hours: of the bar that is not complete.
    """

    returns: Floats
    standardised: Floats
    covariance: Floats
    open_returns: Floats
    open_hours: float

    def __post_init__(self) -> None:
        if self.returns.shape != self.standardised.shape:
            raise ValueError("expected as many standardised returns as returns")


def assumed(volatility: Floats, bars: int, every: float, correlation: float) -> History:
    """The history of an exchange that has none: normal returns at these volatilities, (A,), annualised, one common factor.

    The points are Halton's, without the first, so that the history is the same in every run.
    """
    sd = volatility * np.sqrt(every / HOURS_PER_YEAR)
    source = qmc.Halton(sd.size + 1, scramble=False)
    source.fast_forward(1)
    normal = stats.norm.ppf(source.random(bars))
    z = np.sqrt(correlation) * normal[:, :1] + np.sqrt(1.0 - correlation) * normal[:, 1:]
    alike = correlation + (1.0 - correlation) * np.eye(sd.size)
    return History(z * sd, z, alike * np.outer(sd, sd), np.zeros(sd.size), 0.0)


def lengthened(history: History, seen: MarketSeen, every: float, decay: float) -> History:
    """The history after a step. A bar is complete once it is `every` hours long; one that is longer is scaled to that by root of time."""
    returns, hours = history.open_returns + seen.returns, history.open_hours + seen.hours
    if hours < FULL_BAR * every:
        return replace(history, open_returns=returns, open_hours=hours)
    bar = returns * np.sqrt(every / hours)
    sd = np.sqrt(np.diag(history.covariance))
    z = np.divide(bar, sd, out=np.zeros_like(bar), where=sd > 0.0)
    return History(
        np.vstack((history.returns[1:], bar)),
        np.vstack((history.standardised[1:], z)),
        decay * history.covariance + (1.0 - decay) * np.outer(bar, bar),
        np.zeros_like(bar),
        0.0,
    )


# -- rules ------------------------------------------------------------------------------------------------------------------------------


class HistoryParameters(PortfolioParameters):
    """What every rule that learns from prices is told."""

    measure: Literal["value_at_risk", "expected_shortfall"] = Field(default="value_at_risk", description="of the loss")
    confidence: float = Field(
        default=0.99,
        ge=0.5,
        lt=1,
        description="of the measure",
        json_schema_extra={"unit": "1", "source": "EMIR RTS 153/2013 Art. 24: 99 %, 99.5 % for over-the-counter derivatives"},
    )
    period: float = Field(
        default=24.0,
        gt=0,
        le=720,
        description="margin period of risk; losses grow with its square root",
        json_schema_extra={"unit": "h", "source": "EMIR RTS 153/2013 Art. 26: 1, 2 or 5 days"},
    )
    every: float = Field(
        default=24.0, gt=0, le=720, description="length of a bar, an observation (our choice)", json_schema_extra={"unit": "h"}
    )
    look_back: int = Field(
        default=365,
        ge=10,
        le=10_000,
        description="bars remembered",
        json_schema_extra={"unit": "bars", "source": "EMIR RTS 153/2013 Art. 25: at least twelve months"},
    )
    decay: float = Field(
        default=0.94,
        gt=0,
        lt=1,
        description="weight of the past in the exponentially weighted variance, a bar",
        json_schema_extra={"unit": "1", "source": "RiskMetrics 1996"},
    )
    opening_correlation: float = Field(
        default=0.7,
        ge=0,
        lt=1,
        description="of each pair of assets, assumed before the opening (our choice)",
        json_schema_extra={"unit": "1"},
    )
    anti_procyclicality: AntiProcyclicality = Field(default=AntiProcyclicality(), description="tools against procyclical margin")

    @model_validator(mode="after")
    def _tail(self) -> "HistoryParameters":
        if self.look_back * (1.0 - self.confidence) < 1.0 - 1e-9:
            found = f"{self.look_back}, no observation beyond the quantile"
            raise misfit(("look_back",), found, f"at least {1.0 / (1.0 - self.confidence):.0f} bars")
        return self


class HistoryRule(PortfolioRule):
    """Base of the rules that learn from prices; the state is a `History`."""

    Parameters = HistoryParameters

    def opened(self, seen: MarketSeen) -> History:
        p = self.parameters
        return assumed(seen.volatility, p.look_back, p.every, p.opening_correlation)

    def observe(self, seen: MarketSeen, state: Any) -> History:
        return lengthened(state, seen, self.parameters.every, self.parameters.decay)

    @property
    def root_of_time(self) -> float:
        """From a bar to the margin period of risk."""
        return float(np.sqrt(self.parameters.period / self.parameters.every))

    def measure(self, gains: Floats, state: Any) -> Floats:
        p = self.parameters
        return value_at_risk(gains, p.confidence) if p.measure == "value_at_risk" else expected_shortfall(gains, p.confidence)

    def bound(self, gains: Floats, state: Any) -> Floats:
        return expected_shortfall(gains, self.parameters.confidence)

    def net(self, view: MarginView, state: Any) -> Floats:
        tools = self.parameters.anti_procyclicality
        margin = super().net(view, state)
        if tools.stress_weight:
            margin = stressed(margin, self._together(view, self._stress(view)), tools.stress_weight)
        if tools.buffer or tools.floor:
            long = self._together(view, self._long(view))
            margin = buffered(margin, long, tools.buffer)
            margin = floored(margin, long) if tools.floor else margin
        return margin

    def rates(self, view: MarginView, state: Any) -> Floats:
        tools = self.parameters.anti_procyclicality
        rates = super().rates(view, state)
        if tools.stress_weight:
            rates = stressed(rates, self._together_alone(view, self._stress(view)), tools.stress_weight)
        rates = (1.0 + tools.buffer) * rates
        return floored(rates, self._together_alone(view, self._long(view))) if tools.floor else rates

    # -- all underlyings moving together ----------------------------------------------------------------------------------------------

    def _stress(self, view: MarginView) -> Floats:
        """Shape (A,): stressed moves."""
        return per_market(self.parameters.anti_procyclicality.stress_move, view.underlyings)[:, 0]

    def _long(self, view: MarginView) -> Floats:
        """Shape (A,): moves over the margin period of risk that the measure asks for at long-run volatility, normally distributed."""
        p = self.parameters
        sd = per_market(p.anti_procyclicality.long_volatility, view.underlyings)[:, 0] * np.sqrt(p.period / HOURS_PER_YEAR)
        moves: Floats = normal_multiple(p.measure, p.confidence) * sd
        return moves

    def _both_ways(self, view: MarginView, moves: Floats) -> Floats:
        """Shape (2, M), USD: one contract when all underlyings rise, or fall, by `moves`; none falls to nothing."""
        return view.revalue(np.stack((moves, -np.minimum(moves, 1.0))), np.zeros((2, moves.size)))

    def _together(self, view: MarginView, moves: Floats) -> Floats:
        """Shape (n,), USD: loss of accounts in the worse direction, netted as the rule nets."""
        return _Worst(self.parameters).netted(view, self._both_ways(view, moves), None)

    def _together_alone(self, view: MarginView, moves: Floats) -> Floats:
        """Shape (M,): the same of one market for each USD of its notional."""
        return _Worst(self.parameters).alone(view, self._both_ways(view, moves), None)


class _Worst(PortfolioRule):
    """The largest loss over scenarios."""

    def measure(self, gains: Floats, state: Any) -> Floats:
        worst: Floats = np.maximum(-gains.min(axis=0), 0.0)
        return worst


@margin_rules.member
class Ewma(HistoryRule):
    """A multiple of the portfolio's standard deviation, from exponentially weighted covariances (RiskMetrics 1996); delta-normal.

    s2[t] = decay x s2[t-1] + (1 - decay) x r[t]^2, and so each covariance.
    """

    name = "ewma"

    class Parameters(HistoryParameters):
        type: Literal["ewma"] = "ewma"

    def table(self, view: MarginView, state: Any) -> Floats:
        return deltas(view)

    def measure(self, gains: Floats, state: Any) -> Floats:
        """Of deltas, (A, n), USD for each unit of simple return."""
        p = self.parameters
        variance = np.maximum((gains * (state.covariance @ gains)).sum(axis=0), 0.0)
        loss: Floats = normal_multiple(p.measure, p.confidence) * self.root_of_time * np.sqrt(variance)
        return loss

    def bound(self, gains: Floats, state: Any) -> Floats:
        return self.measure(gains, state)


@margin_rules.member
class Historical(HistoryRule):
    """A quantile, or the mean beyond it, of what the portfolio would have lost over the look-back (historical simulation)."""

    name = "historical"

    class Parameters(HistoryParameters):
        type: Literal["historical"] = "historical"

    def table(self, view: MarginView, state: Any) -> Floats:
        return self._under(view, state.returns)

    def _under(self, view: MarginView, returns: Floats) -> Floats:
        """Shape (L, M), USD: one contract under log returns of a bar, (L, A), stretched to the margin period of risk."""
        return view.revalue(np.expm1(np.minimum(self.root_of_time * returns, LARGEST_RISE)), np.zeros_like(returns))


@margin_rules.member
class FilteredHistorical(Historical):
    """Historical simulation of returns rescaled from their day's volatility to today's (Hull & White 1998; Barone-Adesi et al. 1999)."""

    name = "filtered_historical"

    class Parameters(HistoryParameters):
        type: Literal["filtered_historical"] = "filtered_historical"

    def table(self, view: MarginView, state: Any) -> Floats:
        return self._under(view, state.standardised * np.sqrt(np.diag(state.covariance)))
