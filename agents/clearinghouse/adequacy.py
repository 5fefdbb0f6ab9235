"""Adequacy rules: what the exchange does when the fund is short of its target."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from agents.families import Family, Rule, RuleParameters, misfit


@dataclass(frozen=True, slots=True)
class AdequacyView:
    """What an adequacy rule sees at the close of a step, USD: the fund and what it should be, all pools together."""

    fund: float
    target: float

    def short(self, below: float) -> bool:
        """Whether fund over target is less than `below`."""
        return self.fund < below * self.target


@dataclass(frozen=True, slots=True)
class Action:
    """An adequacy rule's decision for the coming step.

    Attributes:
        levies: factor on what the fund takes, at least 1; shares are at most 1 all the same.
        recapitalisation: USD that the exchange's owners pay into the fund, at once.
        capped: whether orders may only reduce positions; suspended: whether there is no trading at all.
        initial, maintenance: factors on margin, at least 1.
    """

    levies: float = 1.0
    recapitalisation: float = 0.0
    capped: bool = False
    suspended: bool = False
    initial: float = 1.0
    maintenance: float = 1.0

    def __add__(self, other: "Action") -> "Action":
        return Action(
            self.levies * other.levies,
            self.recapitalisation + other.recapitalisation,
            self.capped or other.capped,
            self.suspended or other.suspended,
            self.initial * other.initial,
            self.maintenance * other.maintenance,
        )


class AdequacyRule(Rule):
    """Base of the family. `rule(AdequacyView, state, rng) -> (Action, state)`."""

    def rule(self, view: AdequacyView, state: Any, rng: Any) -> tuple[Action, Any]:
        raise NotImplementedError


adequacy_rules = Family("adequacy rule", AdequacyRule)


class Threshold(RuleParameters):
    """Fund over target below which a rule acts."""

    below: Annotated[
        float, Field(gt=0, le=1, description="fund over target below which it acts (our choice)", json_schema_extra={"unit": "1"})
    ] = 1.0


@adequacy_rules.member
class RaiseLevies(AdequacyRule):
    """Levies are multiplied as long as the fund is short."""

    name = "raise_levies"

    class Parameters(Threshold):
        type: Literal["raise_levies"] = "raise_levies"
        factor: float = Field(default=2.0, ge=1, le=100, description="on every levy (our choice)", json_schema_extra={"unit": "1"})

    def rule(self, view: AdequacyView, state: Any, rng: Any) -> tuple[Action, Any]:
        return Action(levies=self.parameters.factor if view.short(self.parameters.below) else 1.0), state


@adequacy_rules.member
class RaiseMargin(AdequacyRule):
    """Margin is multiplied as long as the fund is short: what opens positions, and if asked for, what keeps them open."""

    name = "raise_margin"

    class Parameters(Threshold):
        type: Literal["raise_margin"] = "raise_margin"
        initial: float = Field(default=1.5, ge=1, le=10, description="on initial margin (our choice)", json_schema_extra={"unit": "1"})
        maintenance: float = Field(
            default=1.0,
            ge=1,
            le=10,
            description="on maintenance margin, at most that on initial margin; above 1 it liquidates who was safe before (our choice)",
            json_schema_extra={"unit": "1"},
        )

        @model_validator(mode="after")
        def _ordered(self) -> "RaiseMargin.Parameters":
            if self.maintenance > self.initial:
                raise misfit(("maintenance",), f"{self.maintenance:g}", f"at most the factor on initial margin, {self.initial:g}")
            return self

    def rule(self, view: AdequacyView, state: Any, rng: Any) -> tuple[Action, Any]:
        p = self.parameters
        return (Action(initial=p.initial, maintenance=p.maintenance) if view.short(p.below) else Action()), state


@adequacy_rules.member
class Recapitalise(AdequacyRule):
    """The exchange's owners pay in what the fund lacks; out of the exchange's own capital, `injection_on_adequacy` does."""

    name = "recapitalise"

    class Parameters(Threshold):
        type: Literal["recapitalise"] = "recapitalise"
        to: float = Field(default=1.0, gt=0, le=2, description="fund over target that they pay up to", json_schema_extra={"unit": "1"})
        most: float = Field(
            default=30e6, ge=0, le=1e15, description="paid in each time (Binance, May 2020)", json_schema_extra={"unit": "USD"}
        )

    def rule(self, view: AdequacyView, state: Any, rng: Any) -> tuple[Action, Any]:
        p = self.parameters
        lacks = max(p.to * view.target - view.fund, 0.0) if view.short(p.below) else 0.0
        return Action(recapitalisation=min(lacks, p.most)), state


@adequacy_rules.member
class CapOpenInterest(AdequacyRule):
    """Orders may only reduce positions as long as the fund is short: open interest cannot rise."""

    name = "cap_open_interest"

    class Parameters(Threshold):
        type: Literal["cap_open_interest"] = "cap_open_interest"

    def rule(self, view: AdequacyView, state: Any, rng: Any) -> tuple[Action, Any]:
        return Action(capped=view.short(self.parameters.below)), state


@adequacy_rules.member
class Halt(AdequacyRule):
    """No orders are taken as long as the fund is short; liquidation goes on."""

    name = "halt"

    class Parameters(Threshold):
        type: Literal["halt"] = "halt"
        below: Annotated[
            float, Field(gt=0, le=1, description="fund over target below which it acts (our choice)", json_schema_extra={"unit": "1"})
        ] = 0.05

    def rule(self, view: AdequacyView, state: Any, rng: Any) -> tuple[Action, Any]:
        return Action(suspended=view.short(self.parameters.below)), state
