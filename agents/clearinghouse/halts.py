"""When the exchange halts its own trading."""

from typing import Annotated

from pydantic import Field

from agents.families import Parameters


class CircuitBreakerParameters(Parameters):
    """A pause of orders and liquidations in all markets once one of them has moved too far."""

    move: Annotated[
        float,
        Field(
            gt=0,
            le=2,
            description="log move of an index, with an hour's exponential memory, that trips it (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.1
    pause: Annotated[float, Field(gt=0, le=720, description="how long it lasts (our choice)", json_schema_extra={"unit": "h"})] = 0.25
