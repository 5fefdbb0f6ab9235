"""What a defaulter on the network of loans pays, and in which order: the scenario's choice among the rules of `model.contagion`.

The exchange pays its account holders all it has under any rule: what its failure costs them is the waterfall's write-down.
"""

import math
from dataclasses import dataclass
from typing import Annotated, Any, Literal, override

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Family, Parameters, Rule, RuleParameters
from model.contagion import Clearing, PaymentRule, Seniority, clear, eisenberg_noe, paddrik_rajan_young, rogers_veraart

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bankruptcy:
    """What a payment rule sees.

    Attributes:
        recovery, interbank_recovery: parts of a defaulter's outside assets and of what it is owed that reach its creditors.
    """

    recovery: float
    interbank_recovery: float


class Payment(Rule):
    """Base of the family. `rule(Bankruptcy, state, rng) -> (PaymentRule, state)`."""

    def rule(self, view: Bankruptcy, state: Any, rng: Any) -> tuple[PaymentRule, Any]:
        """What a defaulter sets aside for its creditors."""
        raise NotImplementedError


payment_rules = Family("payment rule", Payment)


@payment_rules.member
class EisenbergNoe(Payment):
    """All it has, and no more (Eisenberg and Noe 2001, Management Science 47(2))."""

    name = "eisenberg_noe"

    class Parameters(RuleParameters):
        type: Literal["eisenberg_noe"] = "eisenberg_noe"

    @override
    def rule(self, view: Bankruptcy, state: Any, rng: Any) -> tuple[PaymentRule, Any]:
        return eisenberg_noe(), state


@payment_rules.member
class RogersVeraart(Payment):
    """Bankruptcy has a cost: `recovery` of the scenario is alpha, `interbank_recovery` beta (Rogers and Veraart 2013, Definition 3.6)."""

    name = "rogers_veraart"

    class Parameters(RuleParameters):
        type: Literal["rogers_veraart"] = "rogers_veraart"

    @override
    def rule(self, view: Bankruptcy, state: Any, rng: Any) -> tuple[PaymentRule, Any]:
        return rogers_veraart(view.recovery, view.interbank_recovery), state


@payment_rules.member
class PaddrikRajanYoung(Payment):
    """All but tau times what it lacks (Paddrik, Rajan and Young 2020, Management Science 66(8)).

    Below 1, a reserve outside the model pays part of what is missing; above 1, a defaulter holds back money that it has.
    """

    name = "paddrik_rajan_young"

    class Parameters(RuleParameters):
        type: Literal["paddrik_rajan_young"] = "paddrik_rajan_young"
        tau: float = Field(
            default=1.0,
            ge=0,
            le=3,
            description="transmission: what a defaulter does not pay, over what it lacks; 1 is `eisenberg_noe`",
            json_schema_extra={"unit": "1", "source": "Paddrik, Rajan and Young 2020: 0 to 1.5"},
        )

    @override
    def rule(self, view: Bankruptcy, state: Any, rng: Any) -> tuple[PaymentRule, Any]:
        return paddrik_rajan_young(self.parameters.tau), state


class PaymentParameters(Parameters):
    """Payments on loans after a default."""

    rule: Annotated[RuleParameters, payment_rules] = Field(
        default=RogersVeraart.Parameters(), description="what a defaulter pays of its debts"
    )
    seniority: Annotated[
        Seniority,
        Field(
            description="who is paid first: pari_passu (all alike), external_senior (lenders' depositors before other lenders) or"
            " interbank_senior (the other way round)"
        ),
    ] = "pari_passu"
    margin: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="initial margin over each loan, posted by the borrower's owners with a custodian outside the model; a lender draws"
            " it where a defaulter pays less than it owes (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.0
    delay: Annotated[
        float,
        Field(
            ge=0,
            description="time until the estate of a defaulter pays its creditors; their claims on it are certain, but no cash (our choice)",
            json_schema_extra={"unit": "h"},
        ),
    ] = 0.0


class Payments:
    """The scenario's choice, ready to clear a network.

    Attributes:
        parameters: the choice.
        in_full: whether, whatever the rule, a reserve pays all that defaulters but the exchange lack: Paddrik, Rajan and Young's tau of 0.
    """

    def __init__(
        self, parameters: PaymentParameters, recoveries: tuple[float, float] = (1.0, 1.0), hours: float = 1.0, *, in_full: bool = False
    ) -> None:
        self.parameters, self._recoveries, self.in_full = parameters, recoveries, in_full
        self._hours = hours
        self._rule: Payment = payment_rules.build(parameters.rule)

    def steps(self, hours: float = 0.0) -> int:
        """Steps until an estate pays that waits for `hours` at least."""
        return math.ceil(max(0.0 if self.in_full else self.parameters.delay, hours) / self._hours - 1e-9)

    def clear(self, liabilities: Floats, assets: Floats, external: Floats, margin: Floats, exchanges: int = 1) -> Clearing:
        """The clearing of debts (n, n), those of exchanges last, given assets and debts outside the network, (n,), and margin, (n, n)."""
        rule, _ = self._rule.rule(Bankruptcy(*self._recoveries), None, None)
        rule = paddrik_rajan_young(0.0) if self.in_full else rule
        weights = np.array(rule.weights(assets.size))
        weights[:, -exchanges:] = [[0.0], [1.0], [1.0]]
        held = margin if margin.any() else None
        return clear(liabilities, assets, external, rule=PaymentRule(*weights), seniority=self.parameters.seniority, margin=held)
