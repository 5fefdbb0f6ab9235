"""Losses that stay outstanding, worked by hand: a run on withdrawals, a week's clawback."""

import numpy as np
import pytest

from agents.clearinghouse.value import TokenParameters
from model.deferred import pay_out, settle_outstanding, withheld
from model.ecosystem import Ecosystem
from model.ledger import FUND, OUTSIDE, SETTLEMENT, Flow
from model.scenario import Scenario
from model.token import Token
from tests.model.test_clearing import LONG, OTHER, SHORT, Exchange, exchange, of, rows

FACTOR = [{"type": "fund"}, {"type": "withdrawal_factor"}, {"type": "write_down"}]
WEEK = [{"type": "fund"}, {"type": "clawback"}, {"type": "write_down"}]


def short_by_fifty(waterfall: list[dict[str, str]]) -> Exchange:
    """At 90 the long of 10 at 100 on 30 USD is 70 short; the fund has 20. SHORT has 600 and OTHER 400; makers and liquidators 11,000."""
    one = exchange((30.0, 500.0, 400.0), fund=20.0, waterfall=waterfall)
    one.venue.ledger.paid_in[:] = one.venue.ledger.equity()
    one.position(LONG, SHORT, 10.0)
    one.move(90.0)
    assert one.absorbed == {"fund": pytest.approx(20.0)}
    assert one.venue.outstanding == pytest.approx(50.0)
    assert one.venue.ledger.cash[SETTLEMENT] == pytest.approx(-50.0)
    assert not one.venue.insolvent
    return one


def test_withdrawals_bear_the_loss_and_nobody_gains_by_being_first() -> None:
    one = short_by_fifty(FACTOR)
    venue = one.venue
    assert withheld(venue) == pytest.approx(50.0 / 12_000.0)
    pay_out(venue, Flow.WITHDRAWAL, rows(OTHER), of(400.0))
    # 400 x 50 / 12,000 = 1.667 are kept; 48.333 of 11,600 claims are the same part.
    assert venue.ledger.flows[Flow.WITHDRAWAL] == pytest.approx(400.0 - 5.0 / 3.0)
    assert venue.tally.absorbed["withdrawal_factor"] == pytest.approx(5.0 / 3.0)
    assert withheld(venue) == pytest.approx(50.0 / 12_000.0)
    venue.ledger.check(1, outstanding=venue.outstanding)


def test_the_fund_pays_what_it_takes_in_and_a_rise_of_the_factor_is_news_once() -> None:
    one = short_by_fifty(FACTOR)
    venue = one.venue
    settle_outstanding(venue, 1.0)
    assert venue.factor_rise == pytest.approx(50.0 / 12_000.0)
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, 30.0)
    settle_outstanding(venue, 1.0)
    assert venue.outstanding == pytest.approx(20.0)
    assert venue.factor_rise == 0.0
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, 30.0)
    settle_outstanding(venue, 1.0)
    assert (venue.outstanding, withheld(venue), venue.factor_seen) == (pytest.approx(0.0), 0.0, 0.0)
    assert venue.ledger.fund == pytest.approx(10.0)
    venue.ledger.check(1, outstanding=venue.outstanding)


def test_a_factor_that_has_fallen_and_rises_again_is_no_news_until_it_is_higher_than_it_was() -> None:
    venue = short_by_fifty(FACTOR).venue
    rises = []
    for outstanding in (50.0, 40.0, 45.0, 60.0):
        venue.outstanding = outstanding
        settle_outstanding(venue, 1.0)
        rises.append(venue.factor_rise * 12_000.0)
    assert rises == pytest.approx([50.0, 0.0, 0.0, 10.0], abs=1e-9)


def test_winners_of_the_week_pay_in_proportion_to_its_profit_and_not_before_its_end() -> None:
    # SHORT has gained 100 in the week. OTHER's deposit and the maker's opening are no profit.
    one = short_by_fifty(WEEK)
    venue = one.venue
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, OTHER, 1_000.0)
    settle_outstanding(venue, 167.0)
    assert venue.outstanding == pytest.approx(50.0)
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, 10.0)
    settle_outstanding(venue, 1.0)
    # (50 - 10) / 100 = 40 % of the profit.
    assert venue.outstanding == pytest.approx(0.0, abs=1e-9)
    assert not venue.insolvent
    assert one.equity(SHORT, OTHER) == pytest.approx([560.0, 1_400.0])
    assert one.absorbed == {"fund": pytest.approx(30.0), "clawback": pytest.approx(40.0)}
    assert venue.haircut is not None
    assert venue.haircut[SHORT] == pytest.approx(40.0 / 600.0)
    # A new week: nobody has gained anything in it yet.
    assert venue.ledger.paid_in[[SHORT, OTHER]] == pytest.approx([560.0, 1_400.0])
    venue.ledger.check(1)


def test_what_the_weeks_profits_cannot_bear_is_written_down() -> None:
    # SHORT withdraws all but 20 of what it has: no more than those can be taken.
    one = short_by_fifty(WEEK)
    one.venue.ledger.trade(0, rows(SHORT), of(10.0), 90.0, rows(4), of(-10.0), 90.0)
    one.venue.ledger.transfer(Flow.WITHDRAWAL, SHORT, OUTSIDE, 580.0)
    settle_outstanding(one.venue, 168.0)
    assert one.absorbed == {"fund": pytest.approx(20.0), "clawback": pytest.approx(20.0), "write_down": pytest.approx(30.0)}
    assert one.venue.insolvent
    assert one.venue.outstanding == 0.0
    # All 50 that were put off are borne now, and none of them twice: what the step leaves beyond the fund is what the week began with.
    assert (one.venue.tally.deferred, one.venue.tally.settled) == (pytest.approx(50.0), pytest.approx(50.0))
    one.venue.ledger.check(1)


def run_on_withdrawals(churn: float) -> Ecosystem:
    base = Scenario().model_dump(by_alias=True)
    for group in base["traders"]["groups"]:
        group.update(count=40, equity=4e7, leverage=10.0, leverage_max=100.0, churn=churn)
    house = base["venues"][0]["clearinghouse"]
    house.update(fund=0.0, waterfall=FACTOR, accrual=[])
    base["shocks"] = [{"type": "price_move", "at": 3.0, "size": [-0.5]}]
    eco = Ecosystem(Scenario.model_validate(base), rng=1, check_laws=True)
    for _ in range(30):
        eco.step()
    return eco


def test_holders_run_when_they_see_the_factor_rise() -> None:
    calm, scared = run_on_withdrawals(0.0), run_on_withdrawals(50.0)
    factor = scared.series()["withdrawal_factor"].to_numpy()
    assert factor.max() > 0.0
    assert scared.series()["absorbed_withdrawal_factor"].sum() > calm.series()["absorbed_withdrawal_factor"].sum()
    assert scared.series()["withdrawals"].sum() > 2.0 * calm.series()["withdrawals"].sum()
    # What was residual loss is borne by those who left, or outstanding still.
    series = scared.series()
    left = float(series["outstanding"].iloc[-1])
    assert series["residual_loss"].sum() == pytest.approx(series["absorbed_withdrawal_factor"].sum() + left)
    assert np.diff(series["outstanding"]).min() < 0.0


def test_a_fund_in_tokens_sells_them_for_an_outstanding_loss_once_its_dollars_are_gone() -> None:
    # 50 USD are outstanding. The fund has 10 USD and 400 tokens at 2 USD, with a depth of 100 tokens: they bring at most
    # 200 x (1 - e^-4). For the 40 USD that dollars do not pay it sells 100 x ln(200 / 160) of them, which leaves 1.6 USD each.
    one = short_by_fifty(FACTOR)
    venue, ledger = one.venue, one.venue.ledger
    p = TokenParameters(supply=1e6, multiple=2.0, revenue=1e6, fear=0.0, beta=0.0, depth=1e-4)
    venue.value.token = Token(p, venue.market.log_index)
    ledger.revalue_tokens(2.0)
    ledger.trade_tokens(400.0, 0.0)
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, 10.0)
    settle_outstanding(venue, 1.0)
    assert venue.outstanding == pytest.approx(0.0, abs=1e-9)
    assert ledger.cash[FUND] == pytest.approx(0.0, abs=1e-9)
    assert ledger.tokens == pytest.approx(400.0 - 100.0 * np.log(1.25))
    assert ledger.token_price == pytest.approx(1.6)
    ledger.check(1, outstanding=venue.outstanding)
