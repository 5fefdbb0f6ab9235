"""The implied-volatility surface of an underlying: its shape, which no arbitrage can be made of, and how its level moves.

The shape is the surface SVI of Gatheral & Jacquier (2014), "Arbitrage-free SVI volatility surfaces", with their power-law curvature.
One number moves in time, the level: at-the-money volatility at thirty days. At every level the surface is free of static arbitrage.
"""

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.clock import HOURS_PER_YEAR
from agents.families import Parameters, misfit

type Floats = NDArray[np.float64]

REFERENCE_YEARS = 30.0 * 24.0 / HOURS_PER_YEAR
"""The level is quoted at thirty days."""
SHORT, LONG = 0.30, 0.13
"""Powers of thirty days over time to expiry by which margin's shocks of volatility grow before, and shrink after, thirty days."""


class SurfaceParameters(Parameters):
    """Shape and dynamics of implied volatility, the same for every underlying."""

    skew: Annotated[
        float,
        Field(gt=-1, lt=1, description="rho: below 0, puts cost more than calls (our choice)", json_schema_extra={"unit": "1"}),
    ] = -0.25
    curvature: Annotated[
        float,
        Field(gt=0, le=2, description="eta: how much the wings cost (our choice)", json_schema_extra={"unit": "1"}),
    ] = 1.0
    decay: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            description="gamma: how fast the smile flattens with total variance",
            json_schema_extra={"unit": "1", "source": "Gatheral & Jacquier 2014: at most 1/2"},
        ),
    ] = 0.4
    term: Annotated[
        float,
        Field(
            gt=-0.5,
            lt=0.5,
            description="at-the-money volatility falls with time to expiry to this power; from 1/2 on calendars could be arbitraged",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.05
    premium: Annotated[
        float,
        Field(
            gt=0,
            le=3,
            description="level over realised volatility in calm: the variance premium (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.1
    memory: Annotated[
        float, Field(gt=0, le=10_000, description="time in which the level finds back to it (our choice)", json_schema_extra={"unit": "h"})
    ] = 72.0
    response: Annotated[
        float,
        Field(
            ge=0,
            le=10,
            description="relative rise of the level for each unit of the index's log fall: the leverage effect (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 2.0
    flow_impact: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="relative rise of the level when net buying of vega equals the depth shown in calm (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.002
    floor: Annotated[float, Field(gt=0, description="least level", json_schema_extra={"unit": "annualised"})] = 0.05
    ceiling: Annotated[float, Field(le=10, description="largest level", json_schema_extra={"unit": "annualised"})] = 5.0

    @model_validator(mode="after")
    def _no_arbitrage(self) -> "SurfaceParameters":
        if self.curvature * (1.0 + abs(self.skew)) > 2.0:
            found = self.curvature * (1.0 + abs(self.skew))
            raise misfit(("curvature",), f"butterfly arbitrage at curvature x (1 + |skew|) of {found:.3g}", "at most 2")
        if self.floor >= self.ceiling:
            raise misfit(("floor",), f"{self.floor:g}", f"less than the ceiling, {self.ceiling:g}")
        return self


def at_the_money(p: SurfaceParameters, level: Floats, years: Floats) -> Floats:
    """Total variance theta at the money: level^2 T (T / 30 d)^(-2 term), increasing in T; shapes broadcast."""
    time = np.maximum(years, 1e-12)
    theta: Floats = np.asarray(level) ** 2 * time * (time / REFERENCE_YEARS) ** (-2.0 * p.term)
    return theta


def total_variance(p: SurfaceParameters, level: Floats, years: Floats, moneyness: Floats) -> Floats:
    """Total implied variance w(k, T) of log-moneyness k = ln(strike / forward) (Gatheral & Jacquier 2014, eqs 4.1 and 4.5).

    w = theta / 2 (1 + rho phi k + sqrt((phi k + rho)^2 + 1 - rho^2)), phi = eta / (theta^gamma (1 + theta)^(1 - gamma)).
    """
    theta = at_the_money(p, level, years)
    phi = p.curvature / (theta**p.decay * (1.0 + theta) ** (1.0 - p.decay))
    stretched = phi * moneyness
    variance: Floats = 0.5 * theta * (1.0 + p.skew * stretched + np.sqrt((stretched + p.skew) ** 2 + 1.0 - p.skew**2))
    return variance


def implied_volatility(p: SurfaceParameters, level: Floats, years: Floats, moneyness: Floats) -> Floats:
    """Annualised implied volatility; shapes broadcast."""
    volatility: Floats = np.sqrt(total_variance(p, level, years, moneyness) / np.maximum(years, 1e-12))
    return volatility


def tenor_factor(years: Floats) -> Floats:
    """A shock of implied volatility over that at thirty days: (30 / max(1, days))^p, p = 0.30 before thirty days and 0.13 from there on.

    Paradex documentation, "portfolio margin"; Deribit's has the first power.
    """
    days = np.maximum(np.asarray(years) * HOURS_PER_YEAR / 24.0, 1.0)
    factor: Floats = (30.0 / days) ** np.where(days < 30.0, SHORT, LONG)
    return factor


def along_path(p: SurfaceParameters, level: Floats, moved: Floats) -> Floats:
    """The level after the index has moved by `moved`, log, since the level was `level`; shapes broadcast."""
    answered: Floats = np.clip(level * np.exp(-p.response * moved), p.floor, p.ceiling)
    return answered


def next_level(p: SurfaceParameters, level: Floats, realised: Floats, flow: Floats, hours: float) -> Floats:
    """The level at the close of a step: pushed by option flow, drawn towards realised volatility times the variance premium.

    Args:
        p: shape and dynamics.
        level: shape (A,), annualised, after the step's path.
        realised: shape (A,), annualised, as the exchange measures it.
        flow: shape (A,), net vega bought over that of the depth in calm, 1.
        hours: length of the step.
    """
    weight = -np.expm1(-hours / p.memory)
    pushed = level * np.exp(p.flow_impact * flow)
    moved: Floats = np.clip(pushed + weight * (p.premium * realised - pushed), p.floor, p.ceiling)
    return moved
