"""A fund's fall from its recent peak."""

from model.drawdown import Drawdown


def test_thirty_percent_within_eight_hours_is_exceeded_and_a_dollar_less_is_not() -> None:
    fund = Drawdown(8.0, 0.3)
    for balance in (90.0, 100.0, 95.0):
        fund.observe(balance, 1.0)
    assert fund.exceeded(70.0)
    assert not fund.exceeded(71.0)


def test_a_peak_is_forgotten_after_the_window() -> None:
    fund = Drawdown(8.0, 0.3)
    fund.observe(100.0, 1.0)
    for _ in range(8):
        fund.observe(65.0, 1.0)
    assert fund.exceeded(65.0)  # the peak is eight hours old
    fund.observe(65.0, 1.0)
    assert not fund.exceeded(65.0)


def test_no_fall_is_too_large_where_all_of_it_is_allowed_nor_any_of_an_empty_fund() -> None:
    fund = Drawdown(8.0, 1.0)
    fund.observe(100.0, 1.0)
    assert not fund.exceeded(0.0)
    empty = Drawdown(8.0, 0.3)
    assert not empty.exceeded(0.0)
    empty.observe(0.0, 1.0)
    assert not empty.exceeded(0.0)
