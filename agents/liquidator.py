"""Liquidators: what they bid for a liquidated position, and how fast they get rid of it."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clock import HOURS_PER_YEAR
from agents.families import Parameters

type Floats = NDArray[np.float64]


TIE = 1e-9
"""Who gains by waiting no more than this part of what it earns at once does not wait."""
LARGEST_DISCOUNT = 0.5
"""However wild the market, nobody is paid more than this part of mark to take a position."""


class LiquidatorParameters(Parameters):
    """The liquidators of a venue: backstop liquidity providers."""

    count: Annotated[int, Field(ge=0, le=10_000, description="number of liquidators", json_schema_extra={"unit": "participants"})] = 5
    capital: Annotated[
        float, Field(ge=0, le=1e15, description="own capital of all together; shares fall as 1 / rank", json_schema_extra={"unit": "USD"})
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
    anticipation: Annotated[
        float,
        Field(
            ge=0,
            le=100,
            description="rise of the discount that they expect by the next round, over hourly volatility, where a queue is all that they "
            "would take; 0: nobody waits (our choice)",
            json_schema_extra={"unit": "1", "source": "the no-wait condition: Chitra 2025"},
        ),
    ] = 0.0
    unwind_rate: Annotated[
        float,
        Field(
            ge=0,
            description="share of inventory sold in auctions (our choice; optimal without a deadline at Almgren and Chriss's kappa)",
            json_schema_extra={"unit": "per hour"},
        ),
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


def waiting(p: LiquidatorParameters, bids: Floats, discount: Floats, queue: float, volatility: float, premium: float) -> NDArray[np.bool_]:
    """Who holds back, (L,), because waiting pays by more than the venue pays for taking a position at once.

    The no-wait condition of Chitra (2025), "Autodeleveraging: impossibilities and optimization", as we read it: who provides the backstop
    takes a size D now at its discount theta only if what that earns, with the premium that the venue pays, is no less than what it
    expects to earn by waiting: (theta + premium) D >= E[theta' D']. How the expectation is formed is our choice: the discount rises with
    hourly volatility in proportion to the queue over what all would take, and who waits finds what the others have left.

    Args:
        p: of all liquidators.
        bids: shape (L,), USD that each would take; discount: shape (L,), that each asks of mark.
        queue: USD that they are asked to take.
        volatility: of the market, annualised.
        premium: USD that the venue pays for each USD taken at once.
    """
    total = float(bids.sum())
    if p.anticipation == 0.0 or total <= 0.0:
        return np.zeros(bids.size, dtype=bool)
    rise = p.anticipation * volatility / np.sqrt(HOURS_PER_YEAR) * (queue / total)
    later = np.minimum(discount + rise, LARGEST_DISCOUNT) * np.minimum(bids, np.maximum(queue - (total - bids), 0.0))
    now = (discount + premium) * np.minimum(bids, queue)
    waits: NDArray[np.bool_] = later > now * (1.0 + TIE)
    return waits
