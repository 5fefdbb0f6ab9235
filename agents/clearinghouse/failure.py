"""When the exchange has failed: what of its estate reaches account holders, who is paid first, and when."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Parameters

type Floats = NDArray[np.float64]


class FailureParameters(Parameters):
    """The estate of an exchange that has written claims on it down."""

    recovery: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="part of what is left for account holders that reaches them; the rest is the cost of bankruptcy (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0
    seniority: Annotated[
        Literal["pari_passu", "traders_senior", "institutions_senior"],
        Field(description="whose claims are paid first: everybody's alike, traders', or market makers' and liquidators'"),
    ] = "pari_passu"
    delay: Annotated[
        float | None,
        Field(
            ge=0,
            description="time after which the estate pays out; null: not while one watches, but lenders of those who fail are paid at once",
            json_schema_extra={"unit": "h"},
        ),
    ] = None


def estate_payments(claims: Floats, senior: NDArray[np.bool_], estate: float) -> Floats:
    """USD that each holder of `claims`, (n,), gets of an estate: `senior` ones first, each class in proportion."""
    paid = np.zeros_like(claims)
    for mine in (senior, ~senior):
        total = float(claims[mine].sum())
        share = min(1.0, estate / total) if total > 0.0 else 0.0
        paid[mine] = share * claims[mine]
        estate = max(estate - share * total, 0.0)
    return paid
