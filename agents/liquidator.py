"""Liquidators: what they bid for a liquidated position, and how fast they get rid of it."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clock import HOURS_PER_YEAR
from agents.families import Parameters

type Floats = NDArray[np.float64]


LARGEST_DISCOUNT = 0.5
"""However wild the market, nobody is paid more than this part of mark to take a position."""


class LiquidatorParameters(Parameters):
    """The liquidators of a venue: backstop liquidity providers."""

    count: Annotated[int, Field(ge=0, le=10_000, description="number of liquidators", json_schema_extra={"unit": "participants"})] = 5
    capital: Annotated[
        float, Field(ge=0, description="own capital of all together; shares fall as 1 / rank", json_schema_extra={"unit": "USD"})
    ] = 40e6
    appetite: Annotated[
        float, Field(ge=0, le=20, description="largest gross position over equity (our choice)", json_schema_extra={"unit": "1"})
    ] = 2.0
    discount: Annotated[
        float,
        Field(
            ge=0, le=0.2, description="discount to mark that an idle liquidator asks in calm (our choice)", json_schema_extra={"unit": "1"}
        ),
    ] = 0.004
    volatility_loading: Annotated[
        float,
        Field(ge=0, le=10, description="further discount for each unit of hourly volatility (our choice)", json_schema_extra={"unit": "1"}),
    ] = 0.15
    inventory_loading: Annotated[
        float, Field(ge=0, le=1, description="further discount when capacity is used up (our choice)", json_schema_extra={"unit": "1"})
    ] = 0.01
    unwind_rate: Annotated[
        float, Field(ge=0, description="share of inventory sold in auctions (our choice)", json_schema_extra={"unit": "per hour"})
    ] = 0.25


@dataclass(frozen=True, slots=True)
class LiquidatorView:
    """What L liquidators see.

    Attributes:
        equity: shape (L,), USD.
        gross: shape (L,), USD, positions in all markets.
        able: shape (L,), whether a liquidator may bid at all.
        volatility: shape (M,), annualised.
    """

    equity: Floats
    gross: Floats
    able: NDArray[np.bool_]
    volatility: Floats


class Bids(NamedTuple):
    """USD that each will still take, (L,), and the discount to mark it asks in each market, (M, L)."""

    capacity: Floats
    discount: Floats


def bid(p: LiquidatorParameters, view: LiquidatorView) -> Bids:
    """Finite appetite; the discount rises with volatility and with how much of the appetite is used."""
    limit = p.appetite * np.maximum(view.equity, 0.0) * view.able
    capacity = np.maximum(limit - view.gross, 0.0)
    used = np.clip(view.gross / np.maximum(limit, 1e-9), 0.0, 1.0)
    hourly = view.volatility / np.sqrt(HOURS_PER_YEAR)
    discount = p.discount + p.volatility_loading * hourly[:, None] + p.inventory_loading * used
    return Bids(capacity, np.minimum(discount, LARGEST_DISCOUNT))
