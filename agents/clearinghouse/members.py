"""Clearing members: who they are, what they pay in, and the layers of a central counterparty that rest on them."""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clearinghouse.deleveraging import fill_pro_rata
from agents.clearinghouse.waterfall import Charge, ExchangeCapital, Layer, LayerView, layers
from agents.families import Parameters, RuleParameters

type Floats = NDArray[np.float64]


class MemberParameters(Parameters):
    """Who the clearing members are and what each has in the members' default fund."""

    market_makers: Annotated[bool, Field(description="whether market makers are members")] = True
    traders: Annotated[
        int,
        Field(
            ge=0,
            le=100_000,
            description="traders that are members: those with most at the opening",
            json_schema_extra={"unit": "participants"},
        ),
    ] = 0
    share: Annotated[
        float, Field(gt=0, le=0.5, description="contribution over balance at the opening (our choice)", json_schema_extra={"unit": "1"})
    ] = 0.05
    restore_hours: Annotated[
        float,
        Field(
            gt=0, le=8784, description="time in which a used contribution is paid in again (our choice)", json_schema_extra={"unit": "h"}
        ),
    ] = 720.0


@dataclass(frozen=True, slots=True)
class MemberView:
    """What a layer sees of K members.

    Attributes:
        rows: shape (K,), in the ledger.
        held: shape (K,), USD, contributions as they stand.
        required: shape (K,), USD, contributions as they should be.
        caused: shape (K,), USD of the loss that each one's own default caused.
        hours: since the start.
    """

    rows: NDArray[np.intp]
    held: Floats
    required: Floats
    caused: Floats
    hours: float


class MemberLayer(Layer):
    """Base of the layers that need members."""

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        assert view.members is not None
        return self.charge(view, view.members, state)

    def charge(self, view: LayerView, members: MemberView, state: Any) -> tuple[Charge, Any]:
        """The decision, given that there are members."""
        raise NotImplementedError


@layers.member
class DefaulterContribution(MemberLayer):
    """The defaulters' own contributions, each for what its own default caused (EMIR, Art. 45(2); FinMIA, Art. 53)."""

    name = "defaulter_contribution"
    reaches: ClassVar[Literal["house", "accounts", "contracts", "later"]] = "house"

    class Parameters(RuleParameters):
        type: Literal["defaulter_contribution"] = "defaulter_contribution"

    def charge(self, view: LayerView, members: MemberView, state: Any) -> tuple[Charge, Any]:
        able = np.minimum(members.caused, members.held)
        total = float(able.sum())
        return Charge(contributions=able * min(view.loss / total, 1.0) if total > 0.0 else able), state


@layers.member
class MembersFund(MemberLayer):
    """The other members' contributions, in proportion (EMIR, Art. 45(3); the proportion is the usual rule)."""

    name = "members_fund"
    reaches: ClassVar[Literal["house", "accounts", "contracts", "later"]] = "house"

    class Parameters(RuleParameters):
        type: Literal["members_fund"] = "members_fund"

    def charge(self, view: LayerView, members: MemberView, state: Any) -> tuple[Charge, Any]:
        able = np.where(members.caused > 0.0, 0.0, members.held)
        total = float(able.sum())
        return Charge(contributions=able * min(view.loss / total, 1.0) if total > 0.0 else able), state


@layers.member
class SecondSkin(ExchangeCapital):
    """A second part of the exchange's capital, after the members' fund (Regulation (EU) 2021/23, Art. 9(14): 10 to 25 %)."""

    name = "second_skin"

    class Parameters(ExchangeCapital.Parameters):
        type: Literal["second_skin"] = "second_skin"  # type: ignore[assignment]


@layers.member
class Assessment(MemberLayer):
    """Members that have not defaulted are called for more, in proportion to required contributions and up to a multiple of them.

    EMIR asks that members' exposures be limited (Arts. 43(3), 48(2)): what has been called within the cooling-off period counts.
    """

    name = "assessment"

    class Parameters(RuleParameters):
        type: Literal["assessment"] = "assessment"
        cap: float = Field(
            default=1.0,
            gt=0,
            le=10,
            description="most that is called over required contributions (usual: 1 to 2)",
            json_schema_extra={"unit": "1"},
        )
        cooling_off: float = Field(
            default=720.0, gt=0, le=8784, description="time in which the cap holds (our choice)", json_schema_extra={"unit": "h"}
        )

    def charge(self, view: LayerView, members: MemberView, state: Any) -> tuple[Charge, Any]:
        p = self.parameters
        since, called = (
            (members.hours, np.zeros_like(members.held)) if state is None or members.hours - state[0] >= p.cooling_off else state
        )
        room = np.clip(p.cap * members.required - called, 0.0, view.equity[members.rows])
        paid = fill_pro_rata(np.where(members.caused > 0.0, 0.0, members.required), room, view.loss)
        accounts = np.zeros_like(view.equity)
        accounts[members.rows] = paid
        return Charge(accounts=accounts), (since, called + paid)


@layers.member
class TearUp(Layer):
    """All contracts end, at prices that leave winners' gains since entry to bear what they can of the loss, each the same part.

    Full tear-up after variation-margin gains haircutting (ISDA 2013, "CCP loss allocation at the end of the waterfall"; Elliott 2013).
    """

    name = "tear_up"

    class Parameters(RuleParameters):
        type: Literal["tear_up"] = "tear_up"

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        total = float(view.gains.sum())
        return Charge(accounts=(min(1.0, view.loss / total) if total > 0.0 else 0.0) * view.gains, tears_up=True), state
