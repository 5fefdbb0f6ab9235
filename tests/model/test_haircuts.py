"""The measures of deleveraging on cases worked by hand."""

import numpy as np
import pytest

from model.haircuts import NOTHING, Haircuts, gini


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def chitra(*given: float) -> Haircuts:
    """Chitra's five accounts: endowments 8, 4, 0.5; bankrupt accounts 3 and 12 short; severity one half, a budget of 7.5."""
    step = Haircuts(5)
    step.ask(of(1.5, 6.0), 15.0)
    step.give(np.arange(3), of(8.0, 4.0, 0.5), of(*given))
    return step


def test_chitras_pro_rata_leaves_the_top_winner_less_than_half_the_budget() -> None:
    # Haircut 0.6: 3.2 of 8 stay. PTSR 3.2 / 7.5, PMR 3.2 / (0.5 x 12). 7.5 given where 15 were needed.
    ptsr, pmr, overshoot, _, top = chitra(4.8, 2.4, 0.3).measures()
    assert (ptsr, pmr, overshoot, top) == pytest.approx((3.2 / 7.5, 3.2 / 6.0, -7.5, 4.8 / 7.5))


def test_chitras_queue_leaves_the_top_winner_more() -> None:
    # In the order 2, 1, 3 account 1 gives 3.5 of 8 and account 2 all of its 4: 4.5 stay.
    ptsr, pmr, overshoot, even, top = chitra(3.5, 4.0, 0.0).measures()
    assert (ptsr, pmr, overshoot, top) == pytest.approx((0.6, 0.75, -7.5, 4.0 / 7.5))
    # Sorted 0, 3.5, 4 over 3 accounts: (-2 x 0 + 0 x 3.5 + 2 x 4) / (3 x 7.5).
    assert even == pytest.approx(8.0 / 22.5)


@pytest.mark.parametrize(
    ("given", "even", "top"),
    [
        ((750.0, 750.0, 0.0), 1 / 3, 0.5),  # queue by contracts: (-2 x 0 + 0 + 2 x 750) / (3 x 1,500)
        ((1500.0, 0.0, 0.0), 2 / 3, 1.0),  # queue by equity: one gives all
        ((300.0, 900.0, 300.0), 4 / 15, 0.6),  # pro rata by contracts 1 : 3 : 1: 2 x (900 - 300) / 4,500
        ((1500 / 7, 3000 / 7, 6000 / 7), 2 / 7, 4 / 7),  # pro rata by equity 1 : 2 : 4: 2 x (4 - 1) / (3 x 7)
    ],
)
def test_a_deficit_of_1500_over_three_winners(given: tuple[float, ...], even: float, top: float) -> None:
    step = Haircuts(3)
    step.ask(of(1500.0), 1500.0)
    step.give(np.arange(3), of(2000.0, 3000.0, 6000.0), of(*given))
    assert step.measures()[2:] == pytest.approx((0.0, even, top))


def test_what_was_given_while_the_fund_was_spared_is_overshoot() -> None:
    step = Haircuts(1)
    step.ask(of(100.0), 30.0)  # the fund could have paid 70
    step.give(np.array([0]), of(500.0), of(100.0))
    assert step.measures()[2] == 70.0


def test_those_who_can_give_and_do_not_are_counted_and_those_who_cannot_are_not() -> None:
    step = Haircuts(6)
    step.ask(of(10.0), 10.0)
    step.give(np.array([1, 3, 5]), of(10.0, 30.0, 0.0), of(10.0, 0.0, 0.0))
    assert step.measures() == pytest.approx((3.0, 3.0, 0.0, 0.5, 1.0))


def test_an_account_asked_twice_has_what_it_could_have_given_at_first() -> None:
    step = Haircuts(1)
    step.ask(of(5.0), 5.0)
    step.give(np.array([0]), of(8.0), of(3.0))
    step.give(np.array([0]), of(5.0), of(2.0))  # 5 of 8 were left
    assert (step.endowment[0], step.given[0]) == (8.0, 5.0)
    assert step.measures()[0] == pytest.approx(3.0 / 5.0)


def test_nothing_is_measured_where_nobody_was_asked() -> None:
    assert np.isnan(Haircuts(3).measures()).all()
    assert np.isnan(NOTHING).all()
    assert np.isnan(gini(of(0.0, 0.0)))


@pytest.mark.parametrize(("amounts", "expected"), [((1, 1, 1, 1), 0.0), ((0, 0, 0, 1), 0.75), ((1, 2, 3), 2 / 9), ((3, 1, 2), 2 / 9)])
def test_gini_coefficients_worked_by_hand(amounts: tuple[float, ...], expected: float) -> None:
    # Mean absolute difference over twice the mean: of 1, 2, 3 it is (1 + 2 + 1 + 1 + 2 + 1) / 9 over 4.
    assert gini(of(*amounts)) == pytest.approx(expected)
