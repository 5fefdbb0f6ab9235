"""Value accrual: where the exchange's surplus goes once the fund has reached its target; and the venue's token, whose price follows.

Surplus is what the exchange's capital exceeds its opening balance by, with what the fund releases. Each rule takes a share of it, and the
owners have the rest.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
from pydantic import Field

from agents.clearinghouse.waterfall import Charge, Layer, LayerView, layers
from agents.families import Family, Parameters, Rule, RuleParameters


@dataclass(frozen=True, slots=True)
class SurplusView:
    """What a rule sees at the close of a step, USD: the surplus, the fund and what it should be."""

    surplus: float
    fund: float
    target: float


@dataclass(frozen=True, slots=True)
class Payout:
    """Where surplus goes, USD: into the exchange's capital, to buying tokens that are destroyed, to stakers."""

    retained: float = 0.0
    bought_back: float = 0.0
    stakers: float = 0.0

    def __add__(self, other: "Payout") -> "Payout":
        return Payout(self.retained + other.retained, self.bought_back + other.bought_back, self.stakers + other.stakers)


def checked_payout(payout: Payout, surplus: float) -> Payout:
    """What rules decide together, refused if it is more than there is, or less than nothing."""
    parts = (payout.retained, payout.bought_back, payout.stakers)
    if not (min(parts) >= 0.0 and sum(parts) <= surplus * (1.0 + 1e-9)):
        raise ValueError(f"found {payout}, expected parts of at least 0 that sum to at most the surplus, {surplus:g}")
    return payout


class Share(RuleParameters):
    """Part of the surplus that a rule takes, and when."""

    share: Annotated[float, Field(ge=0, le=1, description="part of the surplus (our choice)", json_schema_extra={"unit": "1"})] = 0.5
    above: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="fund over target from which on it is paid; below, the exchange keeps it (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0


class ValueRule(Rule):
    """Base of the family. `rule(SurplusView, state, rng) -> (Payout, state)`."""

    Parameters = Share

    def rule(self, view: SurplusView, state: Any, rng: Any) -> tuple[Payout, Any]:
        usd = self.parameters.share * view.surplus
        return (self.paid(usd) if view.fund >= self.parameters.above * view.target else Payout(retained=usd)), state

    def paid(self, usd: float) -> Payout:
        """What becomes of the rule's share once the fund has what it should."""
        raise NotImplementedError


value_rules = Family("value accrual rule", ValueRule)


@value_rules.member
class Retain(ValueRule):
    """A share stays in the exchange's capital, where the waterfall's `exchange_capital` finds it."""

    name = "treasury"

    class Parameters(Share):
        type: Literal["treasury"] = "treasury"

    def paid(self, usd: float) -> Payout:
        return Payout(retained=usd)


@value_rules.member
class BuyBack(ValueRule):
    """A share buys tokens, which are destroyed."""

    name = "buy_back"

    class Parameters(Share):
        type: Literal["buy_back"] = "buy_back"

    def paid(self, usd: float) -> Payout:
        return Payout(bought_back=usd)


@value_rules.member
class PayStakers(ValueRule):
    """A share is paid to those who have staked tokens."""

    name = "stakers"

    class Parameters(Share):
        type: Literal["stakers"] = "stakers"

    def paid(self, usd: float) -> Payout:
        return Payout(stakers=usd)


class TokenParameters(Parameters):
    """A venue's token.

    Its price is what revenue is worth, less fear, moved with the market and by those who trade it; every equation is our choice:

        log p = log(multiple x revenue / supply) - fear x f + beta x y + x

    `revenue` is what trading fees have been a year of late, exponentially weighted over `memory`; f = max(0, 1 - fund / target,
    1 - fund / its peak of late), at the last close; y, the first market's log return of late, fades with `memory`; and x is what trades
    have moved the price by, which fades with `recovery`. Trading units q moves x by q / (depth x supply), so that selling n units raises

        p N (1 - exp(-n / N)),    N = depth x supply:

    however many are sold, never more than p N.
    """

    supply: Annotated[float, Field(ge=1, le=1e18, description="tokens in existence (our choice)", json_schema_extra={"unit": "tokens"})] = (
        1e8
    )
    staked: Annotated[
        float, Field(ge=0, le=1, description="part of the supply that is staked (our choice)", json_schema_extra={"unit": "1"})
    ] = 0.3
    restake_hours: Annotated[
        float,
        Field(
            gt=0,
            le=87840,
            description="time in which the stake goes back to that part of the supply after a loss (our choice)",
            json_schema_extra={"unit": "h"},
        ),
    ] = 2160.0
    fund_share: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="part of the fund's opening balance that is held in tokens, sold only once its dollars are gone",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.0
    multiple: Annotated[
        float,
        Field(gt=0, le=1000, description="the whole supply's price over a year's revenue (our choice)", json_schema_extra={"unit": "1"}),
    ] = 5.0
    revenue: Annotated[
        float,
        Field(
            ge=1,
            le=1e15,
            description="a year's trading fees as the market expects them at the opening (our choice)",
            json_schema_extra={"unit": "USD"},
        ),
    ] = 300e6
    memory: Annotated[
        float,
        Field(
            gt=0,
            le=87840,
            description="of revenue, of the fund's peak and of the market's return (our choice)",
            json_schema_extra={"unit": "h"},
        ),
    ] = 720.0
    fear: Annotated[
        float,
        Field(ge=0, le=10, description="log price that an empty fund costs (our choice)", json_schema_extra={"unit": "1"}),
    ] = 1.0
    beta: Annotated[
        float, Field(ge=0, le=5, description="of the price to the first market (our choice)", json_schema_extra={"unit": "1"})
    ] = 1.0
    depth: Annotated[
        float,
        Field(gt=0, le=1, description="part of the supply whose sale divides the price by e (our choice)", json_schema_extra={"unit": "1"}),
    ] = 0.01
    recovery: Annotated[
        float,
        Field(gt=0, le=87840, description="time in which what trades did to the price fades (our choice)", json_schema_extra={"unit": "h"}),
    ] = 72.0


TIE: Final = 1e-9
"""A sale that brings all but this part of what it could brings all of it."""
CENT: Final = 1e-6
"""USD: for less nothing is sold or bought."""


@dataclass(frozen=True, slots=True)
class Book:
    """The token's market as it stands: USD a token; `depth`: tokens whose sale divides the price by e."""

    price: float
    depth: float

    def raises(self, units: float) -> float:
        """USD that selling so many tokens brings: the price falls by exp(-units / depth) on the way."""
        return self.price * self.depth * -float(np.expm1(-units / self.depth))

    def units_for(self, usd: float, most: float) -> float:
        """Tokens, of `most`, whose sale brings USD; if they bring no more, as many as bring nearly all: the rest would bring nothing."""
        if self.raises(most) <= CENT:
            return 0.0
        if usd >= self.raises(most) * (1.0 - TIE):
            return min(most, -self.depth * float(np.log(TIE)))
        return -self.depth * float(np.log1p(-usd / (self.price * self.depth)))

    def bought_for(self, usd: float) -> float:
        """Tokens that USD buys."""
        worth = self.price * self.depth
        return self.depth * float(np.log1p(usd / worth)) if worth > TIE * CENT else 0.0


class Stake(NamedTuple):
    """Tokens that are staked, and the market in which they would be sold."""

    units: float
    book: Book


@layers.member
class Stakers(Layer):
    """Staked tokens are slashed and sold into their own falling market: a junior layer that brings less the more of it is needed."""

    name = "stakers"
    reaches = "house"

    class Parameters(RuleParameters):
        type: Literal["stakers"] = "stakers"
        share: float = Field(
            default=0.3,
            gt=0,
            le=1,
            description="part of the staked tokens that one loss may use (our choice)",
            json_schema_extra={"unit": "1"},
        )

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        assert view.stake is not None
        most = view.stake.book.raises(self.parameters.share * view.stake.units)
        return Charge(stakers=min(view.loss, most)), state
