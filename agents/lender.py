"""Lenders: prime brokers with bilateral loans and credit lines to market makers and liquidators, and loans to each other."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Family, Parameters, Rule, RuleParameters

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class FundingView:
    """What L lenders see of themselves and of the market when they think of withdrawing.

    Attributes:
        equity: shape (L,), USD; capital: the same at the start.
        cash: shape (L,), USD; deposits: shape (L,), USD, what they owe outside the model.
        stress: volatility over calm.
        clock: hours since the start.
    """

    equity: Floats
    capital: Floats
    cash: Floats
    deposits: Floats
    stress: float
    clock: float


class Withdrawal(Rule):
    """Base of the family. `rule(FundingView, state, rng) -> (who withdraws now, (L,), state)`."""

    def rule(self, view: FundingView, state: Any, rng: Any) -> tuple[Flags, Any]:
        """Which lenders have a reason to withdraw their lines."""
        raise NotImplementedError


withdrawal_rules = Family("withdrawal rule", Withdrawal)


@withdrawal_rules.member
class WildMarkets(Withdrawal):
    """All lenders withdraw while markets are wild."""

    name = "volatility"

    class Parameters(RuleParameters):
        type: Literal["volatility"] = "volatility"
        above: float = Field(
            default=3.0,
            ge=0,
            description="volatility over calm beyond which lines are withdrawn (our choice)",
            json_schema_extra={"unit": "1"},
        )

    def rule(self, view: FundingView, state: Any, rng: Any) -> tuple[Flags, Any]:
        return np.full(view.cash.size, view.stress > self.parameters.above), state


@withdrawal_rules.member
class LostCapital(Withdrawal):
    """A lender withdraws that has lost much of its own capital."""

    name = "capital"

    class Parameters(RuleParameters):
        type: Literal["capital"] = "capital"
        below: float = Field(
            default=0.7,
            ge=0,
            le=1,
            description="equity over what it was at the start, below which a lender withdraws (our choice)",
            json_schema_extra={"unit": "1"},
        )

    def rule(self, view: FundingView, state: Any, rng: Any) -> tuple[Flags, Any]:
        return view.equity < self.parameters.below * view.capital, state


@withdrawal_rules.member
class ShortOfCash(Withdrawal):
    """A lender withdraws that has little cash against its deposits: it hoards."""

    name = "cash"

    class Parameters(RuleParameters):
        type: Literal["cash"] = "cash"
        below: float = Field(
            default=0.2,
            ge=0,
            le=1,
            description="cash over deposits below which a lender withdraws (our choice)",
            json_schema_extra={"unit": "1"},
        )

    def rule(self, view: FundingView, state: Any, rng: Any) -> tuple[Flags, Any]:
        return view.cash < self.parameters.below * view.deposits, state


@withdrawal_rules.member
class StatedHours(Withdrawal):
    """All lenders withdraw at a stated hour: a funding shock from outside."""

    name = "stated_hours"

    class Parameters(RuleParameters):
        type: Literal["stated_hours"] = "stated_hours"
        at: float = Field(default=24.0, ge=0, description="when it starts", json_schema_extra={"unit": "h"})
        lasts: float = Field(default=24.0, gt=0, description="how long it lasts", json_schema_extra={"unit": "h"})

    def rule(self, view: FundingView, state: Any, rng: Any) -> tuple[Flags, Any]:
        p = self.parameters
        return np.full(view.cash.size, p.at < view.clock <= p.at + p.lasts), state


class LenderParameters(Parameters):
    """The lenders of the world."""

    count: Annotated[int, Field(ge=0, le=10_000, description="number of lenders", json_schema_extra={"unit": "participants"})] = 6
    capital: Annotated[
        float, Field(ge=0, le=1e15, description="own capital of all together; shares fall as 1 / rank", json_schema_extra={"unit": "USD"})
    ] = 120e6
    deposits: Annotated[
        float,
        Field(
            ge=0, le=50, description="what lenders owe outside the model, over their capital (our choice)", json_schema_extra={"unit": "1"}
        ),
    ] = 3.0
    interbank: Annotated[
        float, Field(ge=0, le=5, description="loans among lenders over their capital (our choice)", json_schema_extra={"unit": "1"})
    ] = 0.5
    loan_to_capital: Annotated[
        float,
        Field(
            ge=0,
            le=20,
            description="opening loans to market makers and liquidators over their own capital (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.6
    rate: Annotated[float, Field(ge=0, le=1, description="interest on loans (our choice)", json_schema_extra={"unit": "per year"})] = 0.08
    haircut: Annotated[
        float, Field(gt=0, lt=1, description="borrower's own part of what it holds, in calm (our choice)", json_schema_extra={"unit": "1"})
    ] = 0.4
    haircut_loading: Annotated[
        float,
        Field(
            ge=0,
            le=4,
            description="power of volatility over calm with which the haircut rises (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.5
    call_rate: Annotated[
        float, Field(ge=0, description="share of an excess that is called (our choice)", json_schema_extra={"unit": "per hour"})
    ] = 0.05
    extend_rate: Annotated[
        float, Field(ge=0, description="share of a shortfall that is lent again (our choice)", json_schema_extra={"unit": "per hour"})
    ] = 0.005
    line: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="credit line over the opening loan: no borrower is lent more than this (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0
    withdrawal: Annotated[
        tuple[Annotated[RuleParameters, withdrawal_rules], ...],
        Field(description="when lenders withdraw their lines: they lend nothing and do not roll loans over; any of several will do"),
    ] = ()
    withdrawn_for: Annotated[
        float,
        Field(ge=0, description="least time for which a line that is withdrawn stays so (our choice)", json_schema_extra={"unit": "h"}),
    ] = 24.0
    term: Annotated[
        float,
        Field(
            gt=0,
            description="mean time to the maturity of loans, which are rolled over unless lines are withdrawn (our choice)",
            json_schema_extra={"unit": "h"},
        ),
    ] = 48.0


@dataclass(frozen=True, slots=True)
class LenderView:
    """What lenders see of B borrowers.

    Attributes:
        worth: shape (B,), USD, a borrower's equity less its debt.
        debt: shape (B,), USD.
        opening: shape (B,), USD, debt at the start.
        stress: volatility over calm.
        hours: length of a step.
    """

    worth: Floats
    debt: Floats
    opening: Floats
    stress: float
    hours: float


def reconsider(p: LenderParameters, view: LenderView) -> Floats:
    """USD by which lenders change each borrower's debt, (B,): called above the limit, lent again below it, never beyond the line.

    The limit is worth x (1 - h) / h with a haircut h = haircut x (volatility over calm) ^ loading.
    """
    haircut = min(p.haircut * max(view.stress, 1.0) ** p.haircut_loading, 1.0)
    limit = np.maximum(view.worth, 0.0) * (1.0 - haircut) / haircut
    excess = np.maximum(view.debt - limit, 0.0) * -np.expm1(-p.call_rate * view.hours)
    room = np.maximum(np.minimum(limit, p.line * view.opening) - view.debt, 0.0) * -np.expm1(-p.extend_rate * view.hours)
    change: Floats = room - excess
    return change
