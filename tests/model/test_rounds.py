"""Who takes what a round sells, and what that leaves, with the arithmetic worked by hand."""

import numpy as np
import pytest

from model.clearing import Walk, walk
from model.ledger import FUND, OUTSIDE, Flow
from model.path import Path
from tests.validation.handmade import FIRST, LIQUIDATOR, MAKER, Handmade, handmade, of

A, B, C = FIRST, FIRST + 1, FIRST + 2
LIQUIDATORS = {"order": ["liquidators"]}


def test_a_liquidator_s_appetite_is_one_over_all_markets() -> None:
    # Twenty times 100 USD is 2,000: 15 at 90 in the first market, and 650 / 9 of the 100 at 9 in the second.
    one = handmade([140.0], [100.0, 9.0], liquidator=100.0, discount=0.0, route=LIQUIDATORS, fund=1e4)
    one.position(A, MAKER, 15.0, 100.0)
    one.position(A, MAKER, 100.0, 9.0, market=1)
    one.move(90.0)
    assert one.held(LIQUIDATOR, A) == pytest.approx([15.0, 0.0])
    assert one.held(LIQUIDATOR, A, market=1) == pytest.approx([650.0 / 9.0, 100.0 - 650.0 / 9.0])


def test_the_fund_s_room_is_one_over_all_markets_and_what_it_holds_uses_it_up() -> None:
    # Twice a fund of 1,000 is 2,000, of which 300 are held: 15 at 90 leave 350, which are 35 of 100 at 10.
    route = {"order": ["takeover"], "takeover_limit": 2.0}
    one = handmade([150.0], [100.0, 10.0], fund=1_000.0, route=route)
    one.position(FUND, MAKER, 30.0, 10.0, market=1)
    one.position(A, MAKER, 15.0, 100.0)
    one.position(A, MAKER, 100.0, 10.0, market=1)
    one.move(90.0)
    assert one.held(FUND, A) == pytest.approx([15.0, 0.0])
    assert one.held(FUND, A, market=1) == pytest.approx([65.0, 65.0])
    assert one.venue.tally.takeovers == pytest.approx(1_700.0)


def test_shorts_are_bought_back_above_the_mark_from_liquidators_and_longs_sold_below_it() -> None:
    # 1 % off the mark of 106 and of 94: the slice of 10 leaves the account 100 - 60 less 10 x 1.06 or 0.94.
    for side, mark in ((1.0, 94.0), (-1.0, 106.0)):
        one = handmade([100.0], liquidator=1e4, discount=0.01, route=LIQUIDATORS)
        one.position(*((A, MAKER) if side > 0 else (MAKER, A)), 10.0, 100.0)
        one.move(mark)
        assert one.held(LIQUIDATOR) == pytest.approx([side * 10.0])
        assert one.equity(LIQUIDATOR) == pytest.approx([1e4 + 0.1 * mark])
        assert one.equity(A, FUND) == pytest.approx([0.0, 40.0 - 0.1 * mark], abs=1e-9)


def test_a_bounty_is_paid_for_what_liquidators_take_and_the_rest_of_the_fee_is_the_fund_s() -> None:
    # Ten at 94 leave 40; the liquidator takes four of them. 2 % of 940 are 18.8, of which it has half of its 40 %: 3.76; 21.2 are surplus.
    order = {"order": ["liquidators", "book"]}
    one = handmade([100.0], liquidator=18.8, discount=0.0, route=order, fees={"liquidation": {"type": "flat", "rate": 0.02, "bounty": 0.5}})
    one.position(A, MAKER, 10.0, 100.0)
    one.move(94.0)
    assert one.held(LIQUIDATOR) == pytest.approx([4.0])
    assert one.equity(LIQUIDATOR) == pytest.approx([18.8 + 3.76])
    assert one.statement[Flow.LIQUIDATION_FEE] == pytest.approx(18.8 - 3.76)
    assert one.venue.tally.bounties == pytest.approx(3.76)


def test_the_adaptive_fee_follows_measured_volatility_and_not_a_jump_that_it_has_not_seen_yet() -> None:
    # 10 % of margin is asked, 10 % is left after the jump through nothing: at the reference volatility the fee is the base, 1 % of 900.
    fee = {"type": "adaptive", "base": 0.01, "reference": 0.5, "largest": 0.1, "shortage": 0.0}
    for measured, rate in ((0.5, 0.01), (2.0, 0.08)):
        one = handmade([200.0], fees={"liquidation": fee}, margin={"type": "fixed_leverage", "initial": 0.2, "maintenance": 0.2})
        one.venue.market.volatility[:] = measured
        one.position(A, MAKER, 10.0, 100.0)
        one.move(90.0)
        assert one.statement[Flow.LIQUIDATION_FEE] == pytest.approx(rate * 900.0)


def test_longs_and_shorts_of_one_market_are_liquidated_in_one_round_without_meeting() -> None:
    # The long has 1 left of 101 at 90; the short, from which money is taken, 10 of 250. Each sells or buys 900 USD in the deep book.
    one = handmade([101.0, 150.0], rounds=1, fees={"liquidation": 0.0})
    one.position(A, MAKER, 10.0, 100.0)
    one.position(MAKER, B, 10.0, 100.0)
    one.venue.ledger.transfer(Flow.WITHDRAWAL, B, OUTSIDE, 240.0)
    one.move(90.0)
    assert one.held(A, B, MAKER) == [0.0, 0.0, 0.0]
    assert one.statement == {Flow.SURPLUS: pytest.approx(11.0)}
    assert one.venue.tally.liquidated == pytest.approx([1_800.0])


def test_accounts_beyond_the_screened_range_come_in_when_liquidations_push_the_mark_there() -> None:
    # At 94.8 a long of 40 with 395.7 is below its 5 %. Selling it displaces a thin book by 3 %, which the mark follows to 94.43 within two
    # minutes, while the screen looked no further than 94.61. There the next long, with 257 on 25, is below its own from 94.44 on.
    route = {"order": ["book", "takeover"], "book_slippage": 0.03}
    one = handmade([395.7, 257.0], depth=300.0, fund=1e4, route=route)
    one.position(A, MAKER, 40.0, 100.0)
    one.position(B, MAKER, 25.0, 100.0)
    one.move(94.9)
    assert one.held(A, B) == [40.0, 25.0]
    walked = Walk(one.venue, Path(np.array([[np.log(94.8 / 94.9), *[0.0] * 8]]), of(0.0, *[0.005] * 8)))
    assert B not in walked.walked.rows
    walk([walked])
    assert one.held(A, B) == [0.0, 0.0]
    one.venue.ledger.check(1)


def test_a_liquidation_fee_is_on_what_the_slice_is_worth_at_mark_and_not_on_what_it_fetches() -> None:
    # 10 at a mark of 94 sold 2 % below it: 100 - 60 - 18.8 = 21.2 are left, of which 0.5 % of 940 is the fee; a part of the round's 940.
    one = handmade([100.0], liquidator=1e4, discount=0.02, route=LIQUIDATORS, fees={"liquidation": 0.005})
    one.position(A, MAKER, 10.0, 100.0)
    one.move(94.0)
    assert one.statement == {Flow.LIQUIDATION_FEE: pytest.approx(4.7), Flow.SURPLUS: pytest.approx(16.5)}
    assert one.venue.tally.liquidated == pytest.approx([940.0])


def test_a_slice_that_is_all_but_filled_leaves_what_nobody_took() -> None:
    # A liquidator of 44.65 takes 20 times as much, 893 of the 940: 9.5 of 10.
    one = handmade([100.0], liquidator=44.65, discount=0.0, route=LIQUIDATORS, fees={"liquidation": 0.0}, rounds=1)
    one.position(A, MAKER, 10.0, 100.0)
    one.move(94.0)
    assert one.held(A, LIQUIDATOR) == pytest.approx([0.5, 9.5])


def test_a_loss_that_fund_and_capital_pay_at_the_mark_closes_nobody_else_s_contracts() -> None:
    # At 85 the long lacks 100, as much as fund and exchange have. The deep book takes its contracts at the mark; the short keeps its own.
    layers = [{"type": "fund"}, {"type": "exchange_capital", "share": 1.0}, PRO_RATA, {"type": "write_down"}]
    one = handmade([50.0, 1_000.0], fund=50.0, capital=50.0, waterfall=layers)
    one.position(A, B, 10.0, 100.0)
    one.move(85.0)
    assert one.absorbed == pytest.approx({"fund": 50.0, "exchange_capital": 50.0})
    assert one.held(A, B, MAKER) == pytest.approx([0.0, -10.0, 10.0])


def test_a_fee_leaves_the_margin_ratio_where_it_was_though_half_a_position_is_not_half_its_margin() -> None:
    # 10 at 92 with 60 left are asked 5 % and 50: 96. Half of them sold, 73 is asked, so that 23 / 96 of the 60 may be charged, and not the
    # half that would be the slice's part, nor 10 % of its 460.
    margin = {"type": "skew_impact", "skew_scale": [1e9], "minimum": 0.05, "scalar": 1.0, "position_margin": 50.0}
    half = {"type": "partial_then_full", "slice": 0.5, "small": 0.0, "full_below": 0.0}
    one = handmade([140.0], margin=margin, liquidation=half, rounds=1, fees={"liquidation": {"type": "flat", "rate": 0.1}})
    one.position(A, MAKER, 10.0, 100.0)
    one.move(92.0)
    assert one.held(A) == pytest.approx([5.0])
    assert one.statement == {Flow.LIQUIDATION_FEE: pytest.approx(60.0 * 23.0 / 96.0)}
    assert one.equity(A)[0] / 73.0 == pytest.approx(60.0 / 96.0)


def test_haircuts_of_one_step_compound() -> None:
    # At 90 one long is 20 short of 100 lost, at 70 another is 22.5 short of 67.5 lost. The short that has gained both bears them: 20 of
    # its 500 + 122.5, then 22.5 of the 602.5 that were left and 245 more.
    one = handmade([80.0, 500.0, 45.0], waterfall=[{"type": "socialised_loss", "by": "gains"}, {"type": "write_down"}])
    one.position(A, B, 10.0, 100.0)
    one.position(C, B, 2.25, 100.0)
    one.move(90.0)
    assert one.venue.haircut is not None
    assert one.venue.haircut[B] == pytest.approx(20.0 / 622.5)
    one.move(70.0)
    assert one.venue.haircut[B] == pytest.approx(1.0 - (1.0 - 20.0 / 622.5) * (1.0 - 22.5 / 847.5))
    assert one.equity(B) == pytest.approx([825.0])


NOBODY = {"order": ["liquidators"]}
"""The liquidator has nothing, so that nobody takes liquidated contracts."""
PRO_RATA = {"type": "deleveraging", "rule": {"type": "pro_rata"}}


def test_a_fund_below_zero_is_rid_of_its_inventory_where_the_exchange_deleverages() -> None:
    # 10 at 100 with 50 behind them: at 90 they are closed against the maker at mark, and the exchange's capital pays the 50.
    layers = [{"type": "fund"}, {"type": "exchange_capital", "share": 1.0}, PRO_RATA, {"type": "write_down"}]
    one = handmade([], fund=50.0, capital=200.0, waterfall=layers, route=NOBODY)
    one.position(FUND, MAKER, 10.0, 100.0)
    one.move(90.0)
    assert one.held(FUND, MAKER) == [0.0, 0.0]
    assert one.absorbed == {"exchange_capital": pytest.approx(50.0)}
    assert one.equity(FUND, MAKER) == pytest.approx([0.0, 10_100.0], abs=1e-9)


def test_the_fund_is_no_winner_to_be_deleveraged() -> None:
    # At 90 a long of 10 is 50 short, 5 a contract. The only other winner gives its 5 contracts at 95, which is 25; the rest is closed at
    # mark against the fund's 5, and the fund pays 25 as a draw and not out of what its contracts have gained.
    layers = [PRO_RATA, {"type": "fund"}, {"type": "write_down"}]
    one = handmade([50.0, 500.0], fund=1_000.0, waterfall=layers, route=NOBODY)
    one.position(A, B, 5.0, 100.0)
    one.position(A, FUND, 5.0, 100.0)
    one.move(90.0)
    assert one.absorbed == {"deleveraging": pytest.approx(25.0), "fund": pytest.approx(25.0)}
    assert one.equity(A, B, FUND) == pytest.approx([0.0, 525.0, 1_025.0], abs=1e-9)
    assert one.held(A, B, FUND) == [0.0, 0.0, 0.0]


def patient(anticipation: float, premium: float, fund: float = 100.0, order: tuple[str, ...] = ("liquidators",)) -> Handmade:
    """Ten bought at 100 with 100 stand at 94: 40 are left, and a liquidator who would take 940 many times over asks 1 %."""
    route = {"order": order, "absorption_premium": premium, "takeover_limit": 20.0}
    one = handmade([100.0], liquidator=1e4, discount=0.01, route=route, fund=fund)
    one.venue.liquidator_parameters = one.venue.liquidator_parameters.model_copy(update={"anticipation": anticipation})
    one.position(A, MAKER, 10.0, 100.0)
    one.move(94.0)
    return one


def test_who_expects_a_larger_discount_waits_and_the_account_keeps_its_contracts() -> None:
    assert patient(1.0, 0.0).held(LIQUIDATOR, A) == [0.0, 10.0]
    assert patient(0.0, 0.0).held(LIQUIDATOR, A) == [10.0, 0.0]


def test_what_liquidators_wait_for_the_fund_takes_over() -> None:
    order = ("liquidators", "takeover")
    assert patient(0.0, 0.0, order=order).venue.tally.takeovers == 0.0
    one = patient(1.0, 0.0, order=order)
    assert one.venue.tally.takeovers == pytest.approx(940.0)
    assert one.held(FUND, LIQUIDATOR, A) == [10.0, 0.0, 0.0]


def test_a_premium_buys_immediacy_from_the_fund_and_changes_nothing_else() -> None:
    # The last hour's move of ln 0.94 as one hour's volatility, and a queue of 940 of 200,000, raise 1 % by 0.0003: 0.04 % is enough.
    at_once, paid = patient(0.0, 0.0), patient(1.0, 4e-4)
    assert paid.held(LIQUIDATOR, A) == at_once.held(LIQUIDATOR, A)
    premium = 4e-4 * 940.0
    assert paid.statement[Flow.ABSORPTION_PREMIUM] == pytest.approx(-premium)
    assert paid.equity(LIQUIDATOR, FUND, A) == pytest.approx(
        [at_once.equity(LIQUIDATOR)[0] + premium, at_once.equity(FUND)[0] - premium, at_once.equity(A)[0]]
    )
    assert patient(1.0, 2e-4).held(LIQUIDATOR, A) == [0.0, 10.0]


def test_the_fund_pays_the_premium_only_as_far_as_it_goes() -> None:
    # What the slice leaves, 40 less the discount of 9.4, is all that a fund of nothing has, 4.7 of it as fee; half of 940 is more.
    one = patient(0.0, 0.5, fund=0.0)
    fee, surplus = 0.005 * 940.0, 30.6 - 0.005 * 940.0
    found = {Flow.LIQUIDATION_FEE: fee, Flow.SURPLUS: surplus, Flow.ABSORPTION_PREMIUM: -30.6}
    assert one.statement == {kind: pytest.approx(usd) for kind, usd in found.items()}
    assert one.equity(FUND) == pytest.approx([0.0], abs=1e-9)


def test_whom_nobody_takes_anything_from_is_not_counted_as_liquidated() -> None:
    one = handmade([100.0], route=NOBODY, rounds=1)
    one.position(A, MAKER, 10.0, 100.0)
    one.move(94.0)
    assert one.held(A) == [10.0]
    assert (one.venue.tally.liquidations, one.venue.tally.liquidated.tolist()) == (0, [0.0])
