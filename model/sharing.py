"""What the exchanges of one ecosystem share: firms, lenders, the index, and the losses of their funds."""

from typing import Annotated, Final, Literal

from pydantic import Field

from agents.families import Parameters

ALL: Final = "all"
"""Ends the names of totals over several exchanges."""


class Sharing(Parameters):
    """What several exchanges have in common; for one alone nothing of it matters."""

    market_makers: Annotated[
        bool,
        Field(
            description="the market makers of all exchanges are the same firms, each with an account and capital at every one; "
            "false: every exchange has firms of its own"
        ),
    ] = True
    liquidators: Annotated[bool, Field(description="the same of liquidators")] = True
    lenders: Annotated[
        bool,
        Field(description="one set of lenders lends to the firms of all exchanges; false: every exchange has a set like it of its own"),
    ] = True
    index: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="part of what trading at one exchange moves its index by, beyond news, that the others' indices follow; 0: none "
            "(our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0
    margin_hours: Annotated[
        float | None,
        Field(
            gt=0,
            description="mean time in which firms bring free margin from one exchange to another; null: never (our choice)",
            json_schema_extra={"unit": "h"},
        ),
    ] = 4.0
    funds: Annotated[
        Literal["separate", "pooled"],
        Field(description="separate: every exchange's fund is for its own losses; pooled: the others' funds pay what it cannot"),
    ] = "separate"
