"""Orders that are filled, fees and rebates, and how traders open, with the arithmetic worked by hand."""

import numpy as np
import pytest

from model import trading
from model.ledger import FUND, TREASURY, Flow
from tests.validation.handmade import FIRST, MAKER, flows, handmade, levied, of, owing

A, B, C = FIRST, FIRST + 1, FIRST + 2


def rows(*given: int) -> np.ndarray:
    return np.array(given, dtype=np.intp)


def test_taker_and_maker_each_pay_their_rate_on_what_they_traded_and_the_fund_gets_its_share() -> None:
    # 300 bought and 100 sold at 100, in a book that nothing moves: takers pay 10 bp of 30,000 and of 10,000, 30 and 10; the maker has
    # taken the net 200 and pays 2 bp of 20,000, 4. A quarter is the fund's: 7.5, 2.5 and 1.
    one = levied(handmade([1e5, 1e5], fees={"taker": 1e-3, "maker": 2e-4}), trading_fees=0.25)
    trading.trade(one.venue, rows(A, B), np.array([[300.0, -100.0]]), 1.0)
    assert one.held(A, B, MAKER) == pytest.approx([300.0, -100.0, -200.0])
    assert one.equity(A, B, MAKER) == pytest.approx([1e5 - 30.0, 1e5 - 10.0, 10_000.0 - 4.0])
    assert flows(one) == {Flow.TRADING_FEE: pytest.approx(11.0)}
    assert one.equity(TREASURY) == pytest.approx([33.0])
    assert one.venue.tally.fees == pytest.approx(44.0)
    assert one.venue.tally.volume == pytest.approx([40_000.0])


def test_fees_are_on_the_notional_of_all_markets() -> None:
    # 2 at 100 and -5 at 40: 200 + 200 USD, not their difference; 1 % of it.
    one = levied(handmade([1e3], [100.0, 40.0], fees={"taker": 1e-2, "maker": 0.0}), trading_fees=1.0)
    trading.trade(one.venue, rows(A), np.array([[2.0], [-5.0]]), 1.0)
    assert one.equity(A) == pytest.approx([1e3 - 4.0])
    assert one.venue.tally.volume == pytest.approx([200.0, 200.0])


def test_nobody_pays_a_fee_that_it_does_not_have() -> None:
    # 1,000 at 100, 10 bp: 100 USD asked of an account with 60, and of one that is 5 below zero; the maker, with 7, is asked for 40.
    one = levied(handmade([60.0, 10.0], maker=7.0, fees={"taker": 1e-3, "maker": 2e-4}), trading_fees=0.5)
    owing(one, B, 15.0)
    trading.trade(one.venue, rows(A, B), np.array([[1_000.0, 1_000.0]]), 1.0)
    assert one.equity(A, B, MAKER) == pytest.approx([0.0, -5.0, 0.0], abs=1e-9)
    assert one.equity(FUND, TREASURY) == pytest.approx([33.5, 33.5])


def test_the_fund_pays_no_fee_for_unwinding_what_it_took_over() -> None:
    one = levied(handmade([], fund=5_000.0, fees={"taker": 1e-3, "maker": 0.0}), trading_fees=0.3)
    one.position(FUND, MAKER, 10.0, 100.0)
    trading.trade(one.venue, rows(FUND), np.array([[-10.0]]), 1.0)
    assert one.held(FUND) == [0.0]
    assert one.equity(FUND, TREASURY) == pytest.approx([5_000.0, 0.0])
    assert one.venue.tally.fees == 0.0


@pytest.mark.parametrize(("capital", "rebate"), [(100.0, 40.0), (40.0, 40.0), (15.0, 15.0), (0.0, 0.0)])
def test_a_maker_s_rebate_is_paid_by_the_exchange_as_far_as_its_capital_goes(capital: float, rebate: float) -> None:
    # 1,000 at 100 and 4 bp: 40 USD. What the taker pays is the fund's, so exchange capital is all there is for rebates.
    one = levied(handmade([1e5], fund=500.0, capital=capital, fees={"taker": 4e-4, "maker": -4e-4}), trading_fees=1.0)
    trading.trade(one.venue, rows(A), np.array([[1_000.0]]), 1.0)
    expected = [1e5 - 40.0, 10_000.0 + rebate, capital - rebate, 540.0]
    assert one.equity(A, MAKER, TREASURY, FUND) == pytest.approx(expected)
    assert one.venue.tally.fees == pytest.approx(40.0 - rebate)


def test_orders_that_cancel_but_for_rounding_leave_nobody_with_a_trace_of_a_contract() -> None:
    # 0.1 + 0.2 is not 0.3 in binary: sold and bought back among three without a book to take 5.6e-17 contracts, which nobody keeps.
    one = handmade([100.0, 100.0, 100.0], depth=0.0)
    for buyer, quantity in ((A, 0.1), (B, 0.2)):
        one.position(buyer, C, quantity, 100.0)
    trading.trade(one.venue, rows(A, B, C), np.array([[-0.1, -0.2, 0.1 + 0.2]]), 1.0)
    assert not one.venue.ledger.exposure.any()
    trading.trade(one.venue, rows(A, B, C), np.array([[0.1, 0.2, -0.3]]), 1.0)
    trading.trade(one.venue, rows(A, B, C), -one.venue.ledger.position[:, [A, B, C]], 1.0)
    assert not one.venue.ledger.exposure.any()


def test_traders_open_so_that_makers_take_no_more_than_half_their_capital() -> None:
    # Makers have 10,000: 5,000 over markets weighted 0.6 and 0.4: 30 at 100 and 200 at 10. Longs want 90 against 10: 40 stay, in
    # proportion: 40 / 90 of 60 and of 30. In the other market 100 of shorts fit whole.
    one = handmade([1e5, 1e5, 1e5], [100.0, 10.0])
    trading.open_positions(one.venue, rows(A, B, C), np.array([[60.0, 30.0, -10.0], [0.0, 0.0, -100.0]]), of(0.6, 0.4))
    assert one.held(A, B, C, MAKER) == pytest.approx([60.0 * 4 / 9, 30.0 * 4 / 9, -10.0, -30.0])
    assert one.held(A, B, C, MAKER, market=1) == pytest.approx([0.0, 0.0, -100.0, 100.0])
    assert one.equity(A, B, C) == pytest.approx([1e5] * 3)
