"""Funding and the levy on open positions, and what of them is the fund's, with the arithmetic worked by hand."""

import pytest

from model.ledger import FUND, Flow
from model.levies import exchange_funding, levy_open_interest
from tests.validation.handmade import FIRST, MAKER, Handmade, flows, handmade, levied, of, owing

A, B, C = FIRST, FIRST + 1, FIRST + 2


def at_premium(one: Handmade, *premium: float) -> Handmade:
    """Books and their eight-hour averages stand at this premium; contracts stay marked at 100."""
    one.venue.market.basis, one.venue.market.average_premium = of(*premium), of(*premium)
    return one


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
