"""Sizing rules: how large the fund should be, from what the exchange can observe."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.clearinghouse import stress
from agents.clearinghouse.stress import Books
from agents.families import Family, Rule, RuleParameters, misfit

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SizingView:
    """What a sizing rule sees at the close of a step.

    Attributes:
        open_interest: shape (m,), USD, one side, in the markets of the pool.
        hours: length of a step.
        returns: shape (M,), simple returns of all indices in the step.
        volatility: shape (M,), annualised, of all markets.
        books: what the exchange knows of its accounts; made when it is asked for.
    """

    open_interest: Floats
    hours: float
    returns: Floats
    volatility: Floats
    books: Callable[[], Books]


class SizingRule(Rule):
    """Base of the family. `rule(SizingView, state, rng) -> (USD, state)`."""

    def rule(self, view: SizingView, state: Any, rng: Any) -> tuple[float, Any]:
        raise NotImplementedError


sizing_rules = Family("sizing rule", SizingRule)


def checked_target(target: float) -> float:
    """A rule's decision, refused if no fund can be of that size."""
    if not 0.0 <= target < np.inf:
        raise ValueError(f"found a target of {target}, expected USD of at least 0")
    return target


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
        amount: float = Field(default=100e6, ge=0, le=1e15, description="target", json_schema_extra={"unit": "USD"})

    def rule(self, view: SizingView, state: Any, rng: Any) -> tuple[float, Any]:
        return self.parameters.amount, state


class StressParameters(RuleParameters):
    """How prices may move together, and how often the fund is sized by it."""

    scenarios: Annotated[
        Literal["historical", "filtered", "simulated"],
        Field(
            description="joint returns: those seen, those seen rescaled to present volatility, or drawn; drawn ones as long as fewer "
            "than `least` have been seen"
        ),
    ] = "simulated"
    count: Annotated[
        int, Field(ge=10, le=1_000_000, description="drawn scenarios, or returns remembered", json_schema_extra={"unit": "1"})
    ] = 1000
    least: Annotated[int, Field(ge=10, description="returns that history needs (our choice)", json_schema_extra={"unit": "1"})] = 250
    horizon: Annotated[
        float, Field(gt=0, le=720, description="time in which prices move and nobody can act (our choice)", json_schema_extra={"unit": "h"})
    ] = 8.0
    tail: Annotated[
        float,
        Field(gt=2, le=1e6, description="degrees of freedom of drawn returns (our choice; 1e6: normal)", json_schema_extra={"unit": "1"}),
    ] = 4.0
    correlation: Annotated[
        float, Field(ge=0, le=1, description="of drawn returns, between any two markets (our choice)", json_schema_extra={"unit": "1"})
    ] = 0.7
    seed: Annotated[int, Field(ge=0, description="of the drawn scenarios, which stay the same from one sizing to the next")] = 0
    feedback: Annotated[
        int,
        Field(
            ge=0,
            le=100,
            description="rounds in which forced sales move prices further, or fewer if they end",
            json_schema_extra={"unit": "rounds"},
        ),
    ] = 0
    depth_exponent: Annotated[
        float,
        Field(
            gt=0.2, le=2, description="depth grows as distance to this power", json_schema_extra={"unit": "1", "source": "Amberdata 2025"}
        ),
    ] = 0.67
    refilled: Annotated[
        float, Field(gt=0, description="times that depth is refilled within the horizon (our choice)", json_schema_extra={"unit": "1"})
    ] = 10.0
    every: Annotated[float, Field(gt=0, le=8760, description="time between two sizings", json_schema_extra={"unit": "h"})] = 24.0

    @model_validator(mode="after")
    def _enough(self) -> "StressParameters":
        if self.scenarios != "simulated" and self.least > self.count:
            raise misfit(("least",), f"{self.least} returns needed and {self.count} remembered", "at most `count`")
        if self.count * self.beyond < 1.0 - 1e-9:
            raise misfit(("count",), f"{self.count}, none of them beyond the quantile", f"at least {1.0 / self.beyond:.0f} scenarios")
        return self

    @property
    def beyond(self) -> float:
        """Probability of the losses that the measure leaves beyond it; 1 if it has no quantile."""
        return 1.0


@dataclass(frozen=True, slots=True)
class _Memory:
    """What a rule remembers: its last target, USD, hours since it was set, returns and the volatility they came in, (S, M) each."""

    target: float
    hours: float
    returns: Floats
    volatility: Floats


class StressRule(SizingRule):
    """Base of the rules that ask what accounts would lose if prices moved together."""

    Parameters = StressParameters

    def measure(self, books: Books, changes: Floats) -> float:
        """USD, from changes of one contract, (S, M)."""
        raise NotImplementedError

    def rule(self, view: SizingView, state: Any, rng: Any) -> tuple[float, Any]:
        p, memory = self.parameters, state
        if memory is None:
            nothing = np.empty((0, view.volatility.size))
            memory = _Memory(0.0, p.every, nothing, nothing)
        elif p.scenarios != "simulated":
            returns = np.vstack((memory.returns, view.returns))[-p.count :]
            volatility = np.vstack((memory.volatility, view.volatility))[-p.count :]
            memory = _Memory(memory.target, memory.hours, returns, volatility)
        hours = memory.hours + view.hours
        if hours < p.every * (1.0 - 1e-12):
            return memory.target, _Memory(memory.target, hours, memory.returns, memory.volatility)
        books, returns = view.books(), self._returns(memory, view)
        if p.feedback:
            returns = stress.with_liquidations(books, returns, p.feedback, p.depth_exponent, p.refilled)
        target = self.measure(books, books.revalue(returns))
        return target, _Memory(target, 0.0, memory.returns, memory.volatility)

    def _returns(self, memory: _Memory, view: SizingView) -> Floats:
        """Joint simple returns over the horizon, (S, M). History is of steps: it is stretched to the horizon by the root of time."""
        p = self.parameters
        if p.scenarios == "simulated" or len(memory.returns) < p.least:
            return stress.simulated(p.count, view.volatility, p.horizon, p.correlation, p.tail, p.seed)
        logs = np.log1p(np.maximum(memory.returns, stress.NEARLY_ALL))
        if p.scenarios == "filtered":
            logs = logs * (view.volatility / np.maximum(memory.volatility, 1e-12))
        returns: Floats = np.expm1(logs * np.sqrt(p.horizon / view.hours))
        return returns


@sizing_rules.member
class TailLoss(StressRule):
    """Value at risk or expected shortfall of the losses beyond equity of all accounts together (Binance: calibrated at 99.9 %)."""

    name = "tail_loss"

    class Parameters(StressParameters):
        type: Literal["tail_loss"] = "tail_loss"
        measure: Literal["value_at_risk", "expected_shortfall"] = Field(default="expected_shortfall", description="of the losses")
        level: float = Field(
            default=0.999,
            gt=0.5,
            lt=1,
            description="confidence",
            json_schema_extra={"unit": "1", "source": "Binance, insurance funds (2024)"},
        )

        @property
        def beyond(self) -> float:
            return 1.0 - self.level

    def measure(self, books: Books, changes: Floats) -> float:
        p, losses = self.parameters, stress.losses(books, changes)
        if p.measure == "value_at_risk":
            return stress.value_at_risk(losses, p.level)
        return stress.expected_shortfall(losses, p.level)


@sizing_rules.member
class Newsvendor(StressRule):
    """Where a further dollar costs what it saves: K* = VaR of the losses at 1 - cost / penalty (Chitra 2025, arXiv 2512.01112)."""

    name = "newsvendor"

    class Parameters(StressParameters):
        type: Literal["newsvendor"] = "newsvendor"
        cost: float = Field(default=0.05, gt=0, le=10, description="of holding a dollar", json_schema_extra={"unit": "per year"})
        penalty: float = Field(
            default=50.0, gt=0, description="of a dollar of residual loss; 5 % and 50 make 99.9 %", json_schema_extra={"unit": "1"}
        )

        @model_validator(mode="after")
        def _worth_it(self) -> "Newsvendor.Parameters":
            if self.cost >= self.penalty:
                raise misfit(
                    ("cost",), f"{self.cost:g}, more than the loss that a dollar saves", f"less than the penalty, {self.penalty:g}"
                )
            return self

        @property
        def beyond(self) -> float:
            return self.cost / self.penalty

    def measure(self, books: Books, changes: Floats) -> float:
        p = self.parameters
        return stress.value_at_risk(stress.losses(books, changes), 1.0 - p.cost / p.penalty)


@sizing_rules.member
class Cover(StressRule):
    """The n largest stress losses over initial margin together, in the worst scenario: Cover-1, Cover-2 (PFMI, principle 4).

    EMIR asks two things: a default fund for the largest, or for the second and third if they are more (Art. 42(3): `number: 1` with
    `or_next_two`), and with all other prefunded resources for the two largest (Art. 43(2): `number: 2`).
    """

    name = "cover"

    class Parameters(StressParameters):
        type: Literal["cover"] = "cover"
        number: int = Field(default=2, ge=1, le=1000, description="how many defaulters", json_schema_extra={"unit": "accounts"})
        of: Literal["accounts", "institutions"] = Field(
            default="accounts", description="whose losses; institutions: makers and liquidators"
        )
        or_next_two: bool = Field(
            default=False,
            description="whether the second and third largest count together where they are more",
            json_schema_extra={"source": "EMIR, Art. 42(3)"},
        )

    def measure(self, books: Books, changes: Floats) -> float:
        p = self.parameters
        whose = books if p.of == "accounts" else books.only(books.institution)
        return stress.cover(whose, changes, p.number, or_next_two=p.or_next_two)
