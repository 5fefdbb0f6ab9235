import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from model.instruments import black
from model.surface import REFERENCE_YEARS, SurfaceParameters, along_path, implied_volatility, next_level, total_variance

YEARS = np.array([1, 7, 30, 90, 365]) / 365.0
MONEYNESS = np.linspace(-1.0, 1.0, 401)


@st.composite
def surfaces(draw):
    skew = draw(st.floats(-0.95, 0.95))
    return SurfaceParameters(
        skew=skew,
        curvature=draw(st.floats(0.01, 1.0)) * 2.0 / (1.0 + abs(skew)),
        decay=draw(st.floats(0.0, 0.5)),
        term=draw(st.floats(-0.49, 0.49)),
    )


def test_the_level_is_at_the_money_volatility_at_thirty_days():
    p = SurfaceParameters()
    assert implied_volatility(p, 0.6, np.array(REFERENCE_YEARS), np.array(0.0)) == pytest.approx(0.6, rel=1e-12)


@given(surfaces(), st.floats(0.05, 3.0))
def test_no_calendar_arbitrage_total_variance_rises_with_time_at_every_moneyness(p, level):
    variance = total_variance(p, level, YEARS[:, None], MONEYNESS[None])
    assert (np.diff(variance, axis=0) > -1e-12 * variance[1:]).all()


@given(surfaces(), st.floats(0.05, 2.0), st.sampled_from(YEARS.tolist()))
def test_no_butterfly_arbitrage_call_prices_are_convex_in_strike(p, level, years):
    strike = np.exp(MONEYNESS)
    price = black(np.ones(1), strike, total_variance(p, level, np.array(years), MONEYNESS), np.ones(1))
    slopes = np.diff(price) / np.diff(strike)
    assert (slopes >= -1.0 - 1e-9).all()
    assert (slopes <= 1e-9).all()
    assert (np.diff(slopes) >= -1e-9).all()


def test_a_surface_with_butterfly_arbitrage_is_refused():
    with pytest.raises(ValidationError, match="butterfly arbitrage"):
        SurfaceParameters(skew=-0.5, curvature=1.5)


def test_a_term_structure_with_calendar_arbitrage_is_refused():
    with pytest.raises(ValidationError, match=r"less than 0\.5"):
        SurfaceParameters(term=0.5)


def test_below_the_money_costs_more_where_skew_is_negative():
    p = SurfaceParameters(skew=-0.3)
    low, high = implied_volatility(p, 0.6, np.array(REFERENCE_YEARS), np.array([-0.2, 0.2]))
    assert low > high


def test_the_level_rises_when_the_index_falls_and_stays_within_bounds():
    p = SurfaceParameters(response=2.0, ceiling=1.0)
    # 0.6 x exp(2 x 0.1) = 0.7328
    assert along_path(p, np.array([0.6]), np.array([-0.1])) == pytest.approx(0.6 * np.exp(0.2))
    assert along_path(p, np.array([0.6]), np.array([-1.0])) == 1.0


def test_the_level_finds_back_to_realised_volatility_times_the_premium():
    p = SurfaceParameters(premium=1.1, memory=72.0)
    level = np.array([1.2])
    for _ in range(2000):
        level = next_level(p, level, np.array([0.5]), np.zeros(1), 1.0)
    assert level == pytest.approx(0.55, rel=1e-6)


def test_bought_vega_raises_the_level():
    p = SurfaceParameters(flow_impact=0.02)
    # One depth of net vega: exp(0.02) before the pull of a step of no length.
    assert next_level(p, np.array([0.5]), np.array([0.5]), np.ones(1), 0.0) == pytest.approx(0.5 * np.exp(0.02))
