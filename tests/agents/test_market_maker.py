"""Market makers: depth that follows capital, and a centre that follows inventory."""

import numpy as np
import pytest

from agents.market_maker import MakerView, MarketMakerParameters, quote

RULES = MarketMakerParameters(risk_aversion=1.0, margin_use_limit=0.8, inventory_limit=4.0, volatility_exponent=1.0, stress_floor=0.05)


def view(**changes) -> MakerView:
    """Two makers with 3m and 1m USD, one market at 73 % volatility, 2m USD of depth in calm."""
    seen = {
        "equity": [3e6, 1e6], "opening": [3e6, 1e6], "initial_margin": [0.0, 0.0], "inventory": [[0.0, 0.0]],
        "able": [True, True], "volatility": [0.73], "reference": [0.73], "depth": [2e6],
    } | changes  # fmt: skip
    return MakerView(**{name: np.array(value) for name, value in seen.items()})


def bids(**changes) -> list[float]:
    return quote(RULES, view(**changes)).depth[0, 0].tolist()


def test_in_calm_makers_show_all_depth_in_proportion_to_capital() -> None:
    quotes = quote(RULES, view())
    assert quotes.depth[:, 0].tolist() == [[1.5e6, 0.5e6], [1.5e6, 0.5e6]]
    assert quotes.skew.tolist() == [0.0]


def test_lost_capital_is_lost_depth_and_gains_do_not_add_any() -> None:
    assert bids(equity=[1.5e6, 9e6]) == [0.75e6, 0.5e6]
    assert bids(equity=[-1.0, 1e6]) == [0.0, 0.5e6]


def test_what_rounding_leaves_of_a_makers_capital_is_no_quote() -> None:
    # 2m of depth over 4m of capital: half of what a maker has left.
    assert bids(equity=[4.0, 4e-6]) == [2.0, 2e-6]
    assert bids(equity=[3.6e-12, 1e-6]) == [0.0, 0.0]


def test_depth_shrinks_with_margin_use_and_is_gone_at_the_limit() -> None:
    # Use of 40 % is half of the limit of 80 %.
    assert bids(initial_margin=[1.2e6, 0.8e6]) == [pytest.approx(0.75e6), pytest.approx(0.0, abs=1e-6)]


def test_depth_falls_as_volatility_rises_to_a_floor() -> None:
    assert sum(bids(volatility=[1.46])) == pytest.approx(1e6)
    # A hundred times calm would leave 1 %; at least 5 % stays. Calm below the reference adds nothing.
    assert sum(bids(volatility=[73.0])) == pytest.approx(0.1e6)
    assert sum(bids(volatility=[0.3])) == pytest.approx(2e6)


def test_the_side_that_adds_to_inventory_is_withdrawn() -> None:
    # Long 6m on 3m of equity: half of the limit of 4. Bids halve, asks stay.
    quotes = quote(RULES, view(inventory=[[6e6, 0.0]]))
    assert quotes.depth[0, 0].tolist() == [0.75e6, 0.5e6]
    assert quotes.depth[1, 0].tolist() == [1.5e6, 0.5e6]
    assert quote(RULES, view(inventory=[[-12e6, 0.0]])).depth[1, 0].tolist() == [0.0, 0.5e6]


def test_the_limit_is_of_what_a_maker_has_left() -> None:
    # Long 3m on 1.5m of the 3m it began with: half of four times 1.5m. Half its capital shows half its depth, and half of that is bid.
    quotes = quote(RULES, view(equity=[1.5e6, 1e6], inventory=[[3e6, 0.0]]))
    assert quotes.depth[:, 0, 0].tolist() == [0.375e6, 0.75e6]


def test_the_centre_is_avellanedas_and_stoikovs_reservation_price() -> None:
    # -gamma sigma^2 T q: 0.73^2 / 365 = 0.00146 a day, 2m over 4m of capital: 7.3 basis points below the index.
    assert quote(RULES, view(inventory=[[2e6, 0.0]])).skew[0] == pytest.approx(-0.00073)
    assert quote(RULES, view(inventory=[[-2e6, 0.0]])).skew[0] == pytest.approx(0.00073)
    # Never by more than 2 %.
    assert quote(RULES, view(inventory=[[-2e9, 0.0]])).skew[0] == 0.02


def test_who_is_not_able_shows_nothing_and_without_capital_nobody_does() -> None:
    assert bids(able=[False, True]) == [0.0, 0.5e6]
    nothing = quote(RULES, view(opening=[0.0, 0.0], equity=[0.0, 0.0]))
    assert not nothing.depth.any()
    assert nothing.skew.tolist() == [0.0]
    assert nothing.depth.shape == (2, 1, 2)
