"""What a venue charges and credits between clearings, with the arithmetic worked by hand."""

from typing import Any

import numpy as np
import pytest

from agents.clearinghouse.accrual import Accrual, AccrualRule, AccrualView, Levies
from agents.families import RuleParameters
from model import quoting, trading
from model.ledger import FUND, OUTSIDE, TREASURY, Flow
from model.levies import exchange_funding, levy_open_interest
from model.quoting import CRUMB
from model.sizing import books, size_and_levy
from tests.validation.handmade import FIRST, LIQUIDATOR, MAKER, Handmade, handmade, of

A, B, C = FIRST, FIRST + 1, FIRST + 2


def rows(*given: int) -> np.ndarray:
    return np.array(given, dtype=np.intp)


def levied(one: Handmade, **levies: float) -> Handmade:
    one.venue.levies = Levies(**levies)
    return one


def at_premium(one: Handmade, *premium: float) -> Handmade:
    """Books and their eight-hour averages stand at this premium; contracts stay marked at 100."""
    one.venue.market.basis, one.venue.market.average_premium = of(*premium), of(*premium)
    return one


def flows(one: Handmade) -> dict[Flow, float]:
    """What has changed the fund; an index of 100 is 100 but for the last bit, and so is what an inventory gains."""
    return {kind: usd for kind, usd in one.statement.items() if abs(usd) > 1e-9}


def owing(one: Handmade, row: int, usd: float) -> Handmade:
    """Takes USD from an account, which may bring it below zero."""
    one.venue.ledger.transfer(Flow.WITHDRAWAL, row, OUTSIDE, usd)
    return one


# -- trading fees -------------------------------------------------------------------------------------------------------------------


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


# -- funding ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("premium", "hours", "paid"), [(0.002, 8.0, 1.5), (0.002, 2.0, 0.375), (-0.002, 8.0, -1.5)])
def test_longs_pay_shorts_where_the_premium_is_positive_and_the_other_way_round(premium: float, hours: float, paid: float) -> None:
    # Premium 0.2 %: 0.2 % + clamp(0.01 % - 0.2 %, 0.05 %) = 0.15 % per eight hours of 10 x 100 USD; -0.2 %: -0.2 % + 0.05 %.
    one = at_premium(handmade([500.0]), premium)
    one.position(A, MAKER, 10.0, 100.0)
    exchange_funding(one.venue, hours)
    assert one.equity(A, MAKER) == pytest.approx([500.0 - paid, 10_000.0 + paid])
    assert flows(one) == {}
    assert one.venue.ledger.flows[Flow.FUNDING] == pytest.approx(abs(paid))


def test_each_market_has_its_own_rate_and_an_account_pays_the_sum() -> None:
    # Long 10 at 100 pays 0.15 % of 1,000 = 1.5; short 50 at 10 pays 0.15 % of 500 = 0.75 where the premium is negative.
    one = at_premium(handmade([500.0], [100.0, 10.0]), 0.002, -0.002)
    one.position(A, MAKER, 10.0, 100.0)
    one.position(MAKER, A, 50.0, 10.0, market=1)
    exchange_funding(one.venue, 8.0)
    assert one.venue.funding == pytest.approx([0.0015, -0.0015])
    assert one.equity(A) == pytest.approx([500.0 - 2.25])


def test_receivers_share_what_payers_could_pay() -> None:
    # Due are 1.5 each from two longs, one of whom has 0.9 left: 2.4 is paid, and the shorts, due 2 and 1, get 1.6 and 0.8.
    one = at_premium(handmade([100.0, 100.0, 100.0]), 0.002)
    one.position(A, C, 10.0, 100.0)
    one.position(B, C, 10.0 / 3.0, 100.0)
    one.position(B, MAKER, 20.0 / 3.0, 100.0)
    owing(one, A, 99.1)
    exchange_funding(one.venue, 8.0)
    assert one.equity(A, B) == pytest.approx([0.0, 98.5], abs=1e-9)
    assert one.equity(C, MAKER) == pytest.approx([101.6, 10_000.8])
    one.venue.ledger.check(1)


def test_the_fund_pays_and_receives_funding_on_what_it_holds() -> None:
    one = at_premium(handmade([], fund=1_000.0), 0.002)
    one.position(FUND, MAKER, 10.0, 100.0)
    exchange_funding(one.venue, 8.0)
    assert flows(one) == {Flow.FUNDING: pytest.approx(-1.5)}


def test_the_fund_s_share_of_funding_is_the_receivers_and_its_own_receipts_are_not_shared() -> None:
    # The long pays 3; the maker and the fund, short 10 each, get 1.5 each; a fifth of the maker's is the fund's: 0.3.
    one = levied(at_premium(handmade([500.0], fund=1_000.0), 0.002), funding=0.2)
    one.position(A, MAKER, 10.0, 100.0)
    one.position(A, FUND, 10.0, 100.0)
    exchange_funding(one.venue, 8.0)
    assert one.equity(A, MAKER) == pytest.approx([497.0, 10_001.2])
    assert flows(one) == {Flow.FUNDING: pytest.approx(1.5), Flow.FUNDING_SHARE: pytest.approx(0.3)}


def test_who_is_below_zero_after_receiving_funding_gives_the_fund_no_share_of_it() -> None:
    # 1.5 brings one account from -1 to 0.5, of which it gives all, for half of 1.5 is more; the other stays below zero.
    one = levied(at_premium(handmade([500.0, 10.0, 10.0]), 0.002), funding=0.5)
    one.position(A, B, 10.0, 100.0)
    one.position(A, C, 10.0, 100.0)
    owing(one, B, 11.0)
    owing(one, C, 20.0)
    exchange_funding(one.venue, 8.0)
    assert one.equity(A, B, C) == pytest.approx([497.0, 0.0, -8.5], abs=1e-9)
    assert flows(one) == {Flow.FUNDING_SHARE: pytest.approx(0.5)}


# -- the levy on open positions -----------------------------------------------------------------------------------------------------


def test_every_open_position_pays_the_levy_on_its_size_for_the_hours_that_pass() -> None:
    # 1e-4 an hour for 5 hours: 0.05 % of the long's 1,000 and of the maker's 1,000, 0.5 each, all of it the fund's.
    one = levied(handmade([500.0]), open_interest=1e-4)
    one.position(A, MAKER, 10.0, 100.0)
    levy_open_interest(one.venue, 5.0)
    assert one.equity(A, MAKER, FUND) == pytest.approx([499.5, 9_999.5, 1.0])
    assert flows(one) == {Flow.OPEN_INTEREST_LEVY: pytest.approx(1.0)}


def test_the_fund_does_not_tax_itself_and_nobody_is_taxed_below_zero() -> None:
    # 0.1 % of 1,000 is 1 each: the fund's own 10 contracts are free, one short has 0.4, another is below zero.
    one = levied(handmade([50.0, 50.0], fund=1_000.0), open_interest=1e-3)
    one.position(FUND, A, 10.0, 100.0)
    one.position(MAKER, B, 10.0, 100.0)
    owing(one, A, 49.6)
    owing(one, B, 53.0)
    levy_open_interest(one.venue, 1.0)
    assert one.equity(A, B, MAKER) == pytest.approx([0.0, -3.0, 9_999.0], abs=1e-9)
    assert flows(one) == {Flow.OPEN_INTEREST_LEVY: pytest.approx(1.4)}


# -- collecting ---------------------------------------------------------------------------------------------------------------------


def due(one: Handmade, **who: float) -> np.ndarray:
    """Charges (> 0) and credits (< 0) of rows by letter; the outside world balances them."""
    amounts = np.zeros(one.venue.ledger.rows)
    for letter, usd in who.items():
        amounts[{"a": A, "b": B, "c": C, "fund": FUND}[letter]] = usd
    amounts[OUTSIDE] = -amounts.sum()
    return amounts


@pytest.mark.parametrize(
    ("asked", "moved"),
    [
        ({"a": 30.0, "b": -20.0, "c": -10.0}, {"a": 30.0, "b": -20.0, "c": -10.0}),
        # 100 are there of the 150 asked: two thirds of 100 and of 50.
        ({"a": 150.0, "b": -100.0, "c": -50.0}, {"a": 100.0, "b": -200.0 / 3.0, "c": -100.0 / 3.0}),
        # Who can pay pays in full: 100 of 120 and 80 of 80, for 200.
        ({"a": 120.0, "b": 80.0, "c": -200.0}, {"a": 100.0, "b": 80.0, "c": -180.0}),
    ],
)
def test_nobody_pays_more_than_its_equity_and_receivers_share_what_is_paid(asked: dict[str, float], moved: dict[str, float]) -> None:
    one = handmade([100.0, 100.0, 100.0])
    found = one.venue.collect(Flow.FUNDING, due(one, **asked))
    expected = [moved.get(letter, 0.0) for letter in "abc"]
    assert found[[A, B, C]] == pytest.approx(expected)
    assert one.equity(A, B, C) == pytest.approx([100.0 - usd for usd in expected], abs=1e-9)
    one.venue.ledger.check(1)


def test_nothing_is_credited_that_nobody_can_pay() -> None:
    one = owing(handmade([10.0, 10.0]), A, 12.0)
    assert not one.venue.collect(Flow.FUNDING, due(one, a=5.0, b=-5.0))[[A, B]].any()
    assert one.equity(A, B) == pytest.approx([-2.0, 10.0])


def test_equity_at_mark_and_not_cash_is_what_an_account_can_pay() -> None:
    # Bought 10 at 100 on 50: cash of -950, worth 50.
    one = handmade([50.0])
    one.position(A, MAKER, 10.0, 100.0)
    assert one.venue.ledger.cash[A] == pytest.approx(-950.0)
    one.venue.collect(Flow.FUNDING, due(one, a=20.0, fund=-20.0))
    assert one.equity(A, FUND) == pytest.approx([30.0, 20.0])


# -- custody, capital, inventory ----------------------------------------------------------------------------------------------------


def test_no_more_is_paid_out_than_custody_holds() -> None:
    # 10,000 of the maker's and 200: of 12,750 wanted 10,200 / 12,750 = 80 % can be paid.
    one = handmade([200.0])
    assert [one.venue.within_custody(usd) for usd in (0.0, 10_200.0, 12_750.0)] == pytest.approx([1.0, 1.0, 0.8])
    owing(one, A, 10_300.0)
    assert one.venue.within_custody(50.0) == 0.0


def test_what_the_exchange_earns_beyond_its_capital_goes_to_its_owners_as_far_as_custody_goes() -> None:
    one = handmade([], capital=1_000.0, maker=0.0)
    one.venue.parameters = one.venue.parameters.model_copy(update={"capital": 400.0})
    one.venue.distribute()
    assert one.equity(TREASURY) == pytest.approx([400.0])
    one.venue.distribute()
    assert one.equity(TREASURY) == pytest.approx([400.0])
    # 600 beyond, and 240 in custody: 600 x 240 / 600.
    one.venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, 600.0)
    owing(one, A - 1, 760.0)
    one.venue.distribute()
    assert one.equity(TREASURY) == pytest.approx([760.0])
    assert one.venue.ledger.custody == pytest.approx(0.0)


class Injects(AccrualRule):
    """Wants 300 USD of exchange capital for the fund and a tenth of funding."""

    class Parameters(RuleParameters):
        type: str = "injects"

    def rule(self, view: AccrualView, state: Any, rng: Any) -> tuple[Levies, Any]:
        return Levies(funding=0.1, injection=300.0), state


@pytest.mark.parametrize(("capital", "moved"), [(1_000.0, 300.0), (120.0, 120.0), (0.0, 0.0)])
def test_an_injection_is_at_most_what_the_exchange_has(capital: float, moved: float) -> None:
    one = handmade([], capital=capital)
    one.venue.accrual = [Accrual([Injects(Injects.Parameters())])]
    size_and_levy(one.venue, 1.0)
    assert one.equity(FUND, TREASURY) == pytest.approx([moved, capital - moved])
    assert one.venue.levies.funding == 0.1


def test_what_was_taken_over_is_sold_at_its_rate_and_crumbs_whole() -> None:
    # The fund's rate an hour is in its route, liquidators have their own; a crumb is less than 1,000 USD.
    one = handmade([], [100.0, 10.0], fund=1e6, liquidator=1e6, route={"order": ["book"], "unwind_rate": 0.1})
    one.position(FUND, MAKER, 40.0, 100.0)
    one.position(MAKER, LIQUIDATOR, 40.0, 100.0)
    one.position(LIQUIDATOR, MAKER, 99.0, 10.0, market=1)
    who, orders = quoting.unwinding(one.venue, 2.0)
    assert who.tolist() == [FUND, LIQUIDATOR]
    assert 40.0 * 100.0 > CRUMB > 99.0 * 10.0
    rate = one.venue.liquidator_parameters.unwind_rate
    assert rate != 0.1
    assert orders[0] == pytest.approx([-40.0 * (1.0 - np.exp(-0.2)), 40.0 * (1.0 - np.exp(-2.0 * rate))])
    assert orders[1].tolist() == [0.0, -99.0]


def test_a_market_s_depth_multiplier_is_a_factor_on_what_makers_show() -> None:
    # Still markets: 0.3m within ten basis points, and a quarter of 0.3m.
    one = handmade([], [100.0, 10.0], depth=3e5, maker=1e6)
    one.venue.depth_multiplier = of(1.0, 0.25)
    quoting.requote(one.venue, one.venue.ledger)
    assert one.venue.market.depth.tolist() == [pytest.approx([3e5, 0.75e5])] * 2


def test_who_sizes_the_fund_sees_the_depth_of_one_side() -> None:
    one = handmade([500.0])
    one.venue.market.depth = np.array([[100.0], [300.0]])
    assert books(one.venue, 0).depth.tolist() == [200.0]


def test_open_interest_is_one_side_at_mark() -> None:
    # 10 and 5 long against 15 short at 100; the fund's contracts count too.
    one = handmade([500.0, 500.0], fund=1_000.0)
    one.position(A, MAKER, 10.0, 100.0)
    one.position(FUND, B, 5.0, 100.0)
    assert one.venue.open_interest() == pytest.approx([1_500.0])


def test_traders_open_so_that_makers_take_no_more_than_half_their_capital() -> None:
    # Makers have 10,000: 5,000 over markets weighted 0.6 and 0.4: 30 at 100 and 200 at 10. Longs want 90 against 10: 40 stay, in
    # proportion: 40 / 90 of 60 and of 30. In the other market 100 of shorts fit whole.
    one = handmade([1e5, 1e5, 1e5], [100.0, 10.0])
    trading.open_positions(one.venue, rows(A, B, C), np.array([[60.0, 30.0, -10.0], [0.0, 0.0, -100.0]]), of(0.6, 0.4))
    assert one.held(A, B, C, MAKER) == pytest.approx([60.0 * 4 / 9, 30.0 * 4 / 9, -10.0, -30.0])
    assert one.held(A, B, C, MAKER, market=1) == pytest.approx([0.0, 0.0, -100.0, 100.0])
    assert one.equity(A, B, C) == pytest.approx([1e5] * 3)
