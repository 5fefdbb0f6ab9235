"""Lenders: what they call and lend again as haircuts move."""

import numpy as np
import pytest

from agents.lender import LenderParameters, LenderView, reconsider

RULES = LenderParameters(haircut=0.4, haircut_loading=0.5, call_rate=0.05, extend_rate=0.005)


def change(worth: float, debt: float, opening: float = 10e6, stress: float = 1.0, hours: float = 1.0) -> float:
    return float(reconsider(RULES, LenderView(np.array([worth]), np.array([debt]), np.array([opening]), stress, hours))[0])


def test_in_calm_a_borrower_may_owe_one_and_a_half_times_its_worth() -> None:
    # Limit 4m x 0.6 / 0.4 = 6m; of 2m too much 1 - e^-0.05 is called each hour.
    assert change(4e6, 6e6, opening=6e6) == 0.0
    assert change(4e6, 8e6) == pytest.approx(-2e6 * -np.expm1(-0.05))


def test_haircuts_rise_with_the_root_of_volatility() -> None:
    # Four times calm: haircut 0.8, limit 4m x 0.2 / 0.8 = 1m. 6.25 times: haircut 1, everything is called.
    assert change(4e6, 6e6, stress=4.0) == pytest.approx(-5e6 * -np.expm1(-0.05))
    assert change(4e6, 6e6, stress=6.25) == pytest.approx(-6e6 * -np.expm1(-0.05))
    # Calmer than calm makes no haircut smaller: of 8m, 2m are too much. Nor is one ever above 1: nobody is called for more than it owes.
    assert change(4e6, 8e6, stress=0.1) == pytest.approx(-2e6 * -np.expm1(-0.05))
    assert change(4e6, 6e6, stress=100.0) == pytest.approx(-6e6 * -np.expm1(-0.05))


def test_what_was_called_is_lent_again_up_to_what_it_was() -> None:
    # Limit 6m, opening 10m: of the missing 4m; limit 15m: of what is missing to the opening 10m.
    assert change(4e6, 2e6) == pytest.approx(4e6 * -np.expm1(-0.005))
    assert change(10e6, 2e6) == pytest.approx(8e6 * -np.expm1(-0.005))


def test_an_insolvent_borrower_is_called_for_all_of_it() -> None:
    assert change(-1e6, 3e6, hours=1e9) == pytest.approx(-3e6)


def test_a_rate_is_the_same_in_one_step_of_two_hours_and_two_of_one() -> None:
    once = change(4e6, 8e6, hours=2.0)
    first = change(4e6, 8e6)
    second = change(4e6, 8e6 + first)
    assert first + second == pytest.approx(once)
