"""Lenders: prime brokers with bilateral loans to market makers and liquidators, and to each other."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Parameters

type Floats = NDArray[np.float64]


class LenderParameters(Parameters):
    """The lenders of the world."""

    count: Annotated[int, Field(ge=0, le=10_000, description="number of lenders", json_schema_extra={"unit": "participants"})] = 6
    capital: Annotated[
        float, Field(ge=0, description="own capital of all together; shares fall as 1 / rank", json_schema_extra={"unit": "USD"})
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
    """USD by which lenders change each borrower's debt, (B,): called above the limit, lent again below it, never beyond what it was.

    The limit is worth x (1 - h) / h with a haircut h = haircut x (volatility over calm) ^ loading.
    """
    haircut = min(p.haircut * max(view.stress, 1.0) ** p.haircut_loading, 1.0)
    limit = np.maximum(view.worth, 0.0) * (1.0 - haircut) / haircut
    excess = np.maximum(view.debt - limit, 0.0) * -np.expm1(-p.call_rate * view.hours)
    room = np.maximum(np.minimum(limit, view.opening) - view.debt, 0.0) * -np.expm1(-p.extend_rate * view.hours)
    change: Floats = room - excess
    return change
