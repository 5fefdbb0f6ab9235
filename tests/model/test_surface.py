import math

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


def test_total_variance_is_the_published_surface_at_a_strike_and_a_time_of_its_own():
    # Four times thirty days at a term of 0.1: theta = 0.5^2 x T x 4^-0.2. Eqs 4.1 and 4.5 of Gatheral & Jacquier at k = 0.3.
    p = SurfaceParameters(skew=-0.3, curvature=0.9, decay=0.4, term=0.1)
    years = 4.0 * REFERENCE_YEARS
    theta = 0.25 * years * 4.0**-0.2
    phi = 0.9 / (theta**0.4 * (1.0 + theta) ** 0.6)
    w = 0.5 * theta * (1.0 - 0.3 * phi * 0.3 + math.sqrt((phi * 0.3 - 0.3) ** 2 + 1.0 - 0.09))
    assert total_variance(p, np.array(0.5), np.array(years), np.array(0.3)) == pytest.approx(w, rel=1e-12)


def test_the_level_is_drawn_from_where_flow_has_pushed_it_and_stays_within_bounds():
    p = SurfaceParameters(flow_impact=0.2, premium=1.2, memory=1.0, ceiling=1.0)
    pushed = 0.5 * math.exp(0.2)
    drawn = next_level(p, np.array([0.5]), np.array([0.5]), np.ones(1), 1.0)
    assert drawn == pytest.approx(0.6 + (pushed - 0.6) / math.e)  # towards 1.2 x 0.5, by all but 1/e
    assert next_level(p, np.array([0.9]), np.array([2.0]), np.ones(1), 9.0) == 1.0
    assert along_path(p, np.array([0.6]), np.array([9.0])) == p.floor
