"""Market makers: how much depth they show, and where they centre it."""

from dataclasses import dataclass
from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clock import HOURS_PER_YEAR
from agents.families import Parameters

type Floats = NDArray[np.float64]

LEAST = 1e-6
"""USD within ten basis points: a quote smaller than that is none.

It is the rounding that is left of a maker without capital; orders that met it would clear at the edge of the price band.
"""


class MarketMakerParameters(Parameters):
    """The market makers of a venue."""

    count: Annotated[int, Field(ge=0, le=10_000, description="number of market makers", json_schema_extra={"unit": "participants"})] = 8
    capital: Annotated[
        float, Field(ge=0, le=1e15, description="own capital of all together; shares fall as 1 / rank", json_schema_extra={"unit": "USD"})
    ] = 250e6
    depth: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1e15)], ...],
        Field(
            min_length=1,
            description="depth that all show within ten basis points in calm, a side, a market (the last serves any further one)",
            json_schema_extra={"unit": "USD", "source": "Amberdata 2025: 3.5m for BTC on a larger venue; scaled down (our choice)"},
        ),
    ] = (1.5e6, 1.0e6, 0.25e6)
    risk_aversion: Annotated[
        float,
        Field(ge=0, le=100, description="gamma in the reservation price (our choice)", json_schema_extra={"unit": "1"}),
    ] = 0.5
    margin_use_limit: Annotated[
        float,
        Field(gt=0, le=1, description="initial margin over equity at which quoting stops (our choice)", json_schema_extra={"unit": "1"}),
    ] = 0.8
    inventory_limit: Annotated[
        float,
        Field(
            gt=0,
            description="inventory of a market over equity at which the side that adds to it stops (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0
    volatility_exponent: Annotated[
        float, Field(ge=0, le=4, description="depth falls as volatility rises, to this power (our choice)", json_schema_extra={"unit": "1"})
    ] = 1.0
    stress_floor: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="least share of depth that volatility leaves",
            json_schema_extra={"unit": "1", "source": "FTI on 10 October 2025: -90 % and more"},
        ),
    ] = 0.05


@dataclass(frozen=True, slots=True)
class MakerView:
    """What K market makers see.

    Attributes:
        equity: shape (K,), USD.
        opening: shape (K,), USD, own and borrowed capital at the start.
        initial_margin: shape (K,), USD.
        inventory: shape (M, K), USD, signed, at mark.
        able: shape (K,), whether a maker may quote at all.
        volatility: shape (M,), annualised.
        reference: shape (M,), annualised volatility in calm.
        depth: shape (M,), USD within ten basis points that all show in calm.
    """

    equity: Floats
    opening: Floats
    initial_margin: Floats
    inventory: Floats
    able: NDArray[np.bool_]
    volatility: Floats
    reference: Floats
    depth: Floats


class Quotes(NamedTuple):
    """Depth of each maker, (2, M, K), USD within ten basis points, bids then asks; the quotes' centre against the index, (M,), log."""

    depth: Floats
    skew: Floats


def quote(p: MarketMakerParameters, view: MakerView) -> Quotes:
    """Depth in proportion to capital that is left, withdrawn with margin use, volatility and inventory; centre by inventory.

    The centre is the reservation price of Avellaneda & Stoikov (2008), r = s - q gamma sigma^2 (T - t), with a day's horizon and
    inventory q as a
    multiple of the makers' capital. A quote below `LEAST` is none.
    """
    opening = float(view.opening.sum())
    equity = np.maximum(view.equity, 0.0)
    if opening <= 0.0:
        empty = np.zeros((2, *view.inventory.shape))
        return Quotes(empty, np.zeros(view.volatility.size))
    use = view.initial_margin / np.maximum(equity, 1e-9)
    room = np.clip(1.0 - use / p.margin_use_limit, 0.0, 1.0) * np.minimum(equity, view.opening) * view.able
    wild = view.volatility > view.reference
    calm = np.where(wild, (view.reference / np.where(wild, view.volatility, 1.0)) ** p.volatility_exponent, 1.0)
    scale = (view.depth * np.maximum(calm, p.stress_floor) / opening)[:, None] * room
    stretch = view.inventory / np.maximum(p.inventory_limit * equity, 1e-9)
    depth = np.stack([scale * np.clip(1.0 - stretch, 0.0, 1.0), scale * np.clip(1.0 + stretch, 0.0, 1.0)])
    daily_variance = view.volatility**2 * (24.0 / HOURS_PER_YEAR)
    held = view.inventory.sum(axis=1) / max(float(equity.sum()), 0.01 * opening)
    return Quotes(np.where(depth < LEAST, 0.0, depth), np.clip(-p.risk_aversion * daily_variance * held, -0.02, 0.02))
