"""Demand: how much and how large traders trade at what it costs them. Without it more backstop would be a free lunch."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Parameters

type Floats = NDArray[np.float64]

CHEAPEST = 0.1
"""Costs below this part of the reference count as this part, so that a rebate does not make demand infinite."""


class DemandParameters(Parameters):
    """How volume and positions respond to costs: factor = (cost / reference) ^ -elasticity."""

    volume_elasticity: Annotated[
        float,
        Field(
            ge=0,
            le=5,
            description="fall of log trading activity for each unit of the log cost of a trade",
            json_schema_extra={
                "unit": "1",
                "source": "Chou & Wang 2006 (Taiwan futures), Baltagi, Li & Li 2006: 1; estimates range from 0.1 to 2.7 (Matheson 2011)",
            },
        ),
    ] = 1.0
    position_elasticity: Annotated[
        float,
        Field(
            ge=0,
            le=5,
            description="fall of log leverage for each unit of the log cost of holding a position (our choice)",
            json_schema_extra={"unit": "1", "source": "Hedegaard 2014 has the direction: margin increases reduce open positions"},
        ),
    ] = 0.3
    other_cost: Annotated[
        float,
        Field(ge=0, le=0.05, description="spread and impact of a trade beside its fee (our choice)", json_schema_extra={"unit": "1"}),
    ] = 1.5e-4
    reference_cost: Annotated[
        float,
        Field(
            gt=0,
            le=0.1,
            description="cost of a trade, share of notional, at which traders are as active as their groups say (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 6e-4
    capital_cost: Annotated[
        float,
        Field(
            ge=0,
            le=2,
            description="what capital that stands as margin costs its owner (our choice)",
            json_schema_extra={"unit": "per year"},
        ),
    ] = 0.1
    reference_holding: Annotated[
        float,
        Field(
            gt=0,
            le=2,
            description="cost of holding a position, share of notional, at which traders take the leverage their groups say (our choice)",
            json_schema_extra={"unit": "per year"},
        ),
    ] = 6.075e-3


@dataclass(frozen=True, slots=True)
class DemandView:
    """What trading costs G groups of traders.

    Attributes:
        fee: charged on a trade, share of notional.
        levy: charged on a position, share of notional, per year.
        margin: shape (G,), initial margin over notional of a group's typical position.
    """

    fee: float
    levy: float
    margin: Floats


class Demand(NamedTuple):
    """Factors on the rate at which traders act, and on each group's leverage, (G,)."""

    activity: float
    leverage: Floats


def demand(p: DemandParameters, view: DemandView) -> Demand:
    """Constant elasticities: activity by the cost of a trade, leverage by what a position costs a year, its margin's capital included."""
    trade = max((view.fee + p.other_cost) / p.reference_cost, CHEAPEST)
    holding = np.maximum((view.levy + p.capital_cost * view.margin) / p.reference_holding, CHEAPEST)
    return Demand(trade**-p.volume_elasticity, holding**-p.position_elasticity)
