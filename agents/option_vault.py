"""The option vault: depositors' capital that sells options by rule and hedges their deltas, to harvest the variance premium.

What is paid for options exceeds, on average, what is realised (Carr & Wu 2009, "Variance risk premiums"; Bollerslev, Tauchen & Zhou
2009, "Expected stock returns and variance risk premia"): sellers earn it as insurers do, and lose when everybody else does. It is not
the backstop vault, which takes over liquidated positions (`agents/clearinghouse/vault.py`).
"""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.contracts import Contracts
from agents.families import Family, Parameters, Rule, RuleParameters

type Floats = NDArray[np.float64]


class SellingParameters(RuleParameters):
    """What every rule has."""

    sells: Annotated[
        tuple[Literal["call", "put"], ...], Field(min_length=1, description="which options; it divides its capacity evenly over them")
    ] = (
        "call",
        "put",
    )
    share: Annotated[
        float, Field(gt=0, le=1, description="part of its capacity that it sells (our choice)", json_schema_extra={"unit": "1"})
    ] = 1.0
    least_days: Annotated[
        float,
        Field(ge=0, description="life that an option has left at least when it is sold (our choice)", json_schema_extra={"unit": "days"}),
    ] = 1.0


class SellingRule(Rule):
    """Base of the family. `rule(Contracts, state, rng) -> (parts of capacity to be short of each contract, (M,), state)`.

    The parts sum to at most one. What has been sold already is held until it expires, whatever the rule says later.
    """

    Parameters = SellingParameters

    def rule(self, view: Contracts, state: Any, rng: Any) -> tuple[Floats, Any]:
        raise NotImplementedError

    def listed(self, contracts: Contracts) -> Floats:
        """Shape (M,): capacity divided evenly over the options that it sells."""
        p = self.parameters
        wanted = (contracts.call if "call" in p.sells else False) | (contracts.put if "put" in p.sells else False)
        part: Floats = p.share * (wanted & (contracts.days >= p.least_days)) / max(int(np.sum(wanted)), 1)
        return part


selling_rules = Family("rule of an option vault", SellingRule)


@selling_rules.member
class VariancePremium(SellingRule):
    """Sells while options imply more volatility than is realised by a stated margin: while the variance premium pays for the risk."""

    name = "variance_premium"

    class Parameters(SellingParameters):
        type: Literal["variance_premium"] = "variance_premium"
        threshold: Annotated[
            float,
            Field(
                ge=-0.5,
                le=5,
                description="implied over realised volatility, less one, from which on it sells (our choice)",
                json_schema_extra={"unit": "1"},
            ),
        ] = 0.05

    def rule(self, view: Contracts, state: Any, rng: Any) -> tuple[Floats, Any]:
        return self.listed(view) * (view.richness - 1.0 >= self.parameters.threshold), state


@selling_rules.member
class Steady(SellingRule):
    """Sells whatever the premium, as vaults do that auction one series after the other."""

    name = "steady"

    class Parameters(SellingParameters):
        type: Literal["steady"] = "steady"

    def rule(self, view: Contracts, state: Any, rng: Any) -> tuple[Floats, Any]:
        return self.listed(view), state


class OptionVaultParameters(Parameters):
    """An option vault that trades on a venue; its depositors' claim is its equity."""

    capital: Annotated[
        float, Field(gt=0, le=1e15, description="depositors' capital at the opening (our choice)", json_schema_extra={"unit": "USD"})
    ] = 20e6
    rule: Annotated[RuleParameters, selling_rules] = Field(default=VariancePremium.Parameters(), description="what it sells, and when")
    notional_limit: Annotated[
        float,
        Field(
            gt=0,
            le=100,
            description="notional of options that it is short of over its equity, at most (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 2.0
    vega_limit: Annotated[
        float,
        Field(
            gt=0,
            le=100,
            description="loss over its equity if implied volatility doubled, to first order, at most (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.5
    margin_use: Annotated[
        float,
        Field(
            gt=0, le=1, description="initial margin over equity beyond which it sells no more (our choice)", json_schema_extra={"unit": "1"}
        ),
    ] = 0.5
    pace: Annotated[
        float, Field(gt=0, description="share sold of what it has yet to sell (our choice)", json_schema_extra={"unit": "per hour"})
    ] = 0.1
    hedge: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="part of its options' delta that it hedges in the perpetual at the open of a step, and no finer than that; 0: none",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0
    band: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="what is unhedged over the options' notional, up to which it leaves the hedge alone (our choice)",
            json_schema_extra={"unit": "1", "source": "a band: Whalley & Wilmott 1997"},
        ),
    ] = 0.02
    income_share: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="part of realised profit above the highest before that it pays into the fund when series end that it was short of "
            "(our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.2


@dataclass(frozen=True, slots=True)
class BookView:
    """What the vault sees of its own book.

    Attributes:
        equity: USD; position: shape (M,), contracts; units: shape (M,), USD, notional of one; vegas: shape (M,), USD a contract for a
            relative change of implied volatility.
        contracts: what is listed; hours: length of the step.
    """

    equity: float
    position: Floats
    units: Floats
    vegas: Floats
    contracts: Contracts
    hours: float


def sales(p: OptionVaultParameters, view: BookView, parts: Floats) -> Floats:
    """Contracts, (M,), at most 0, to sell in the step: some of what is lacking to `parts` of capacity, (M,).

    Capacity is what the limits on notional and on vega leave of equity, whichever is less.
    """
    money = parts * max(view.equity, 0.0)
    by_notional = p.notional_limit * money / np.maximum(view.units, 1e-100)
    by_vega = p.vega_limit * money / np.maximum(view.vegas, 1e-100)
    lacking = np.maximum(np.minimum(by_notional, by_vega) + np.minimum(view.position, 0.0), 0.0)
    sold: Floats = np.where(parts > 0.0, lacking, 0.0) * np.expm1(-p.pace * view.hours)
    return sold


def hedges(p: OptionVaultParameters, view: BookView, position: Floats) -> Floats:
    """Contracts, (A,), of the perpetuals to trade so as to hedge the options in `position`, (M,); none within the band."""
    contracts = view.contracts
    option = contracts.call | contracts.put
    assets = int(contracts.asset.max()) + 1
    size = np.where(option, position, 0.0) * view.units
    delta = np.bincount(contracts.asset, size * contracts.delta, assets)
    notional = np.bincount(contracts.asset, np.abs(size), assets)
    held = position[:assets] * view.units[:assets]
    off = -p.hedge * delta - held
    traded: Floats = np.where(np.abs(off) > p.band * notional, off, 0.0) / np.maximum(view.units[:assets], 1e-300)
    return traded
