"""Dated contracts: marks that converge, settlement by the averaged index, new series, and who pays what accounts cannot."""

from typing import Any

import numpy as np
import pytest

from model.clearing import Walk, walk
from model.ecosystem import Ecosystem
from model.expiry import settle_expired
from model.instruments import InstrumentParameters, Instruments
from model.ledger import FUND, OUTSIDE, TREASURY, Flow, Status
from model.market import Market, MarketParameters
from model.path import Path
from model.scenario import Scenario
from model.surface import SurfaceParameters

FUTURE = {"type": "future", "asset": "BTC", "days": 1.0, "settlement_hours": 0.5}
CALL = {"type": "call", "asset": "BTC", "days": 1.0, "moneyness": 1.0, "settlement_hours": 0.5}
PUT = {**CALL, "type": "put"}


def world(*instruments: dict[str, Any], margin: str = "portfolio_scenarios", **other: Any) -> Scenario:
    """One asset, no traders: what happens is what the test does."""
    base = Scenario().model_dump(by_alias=True)
    block = base["venues"][0]
    house = {**block["clearinghouse"], "margin": {"type": margin}, "fund": 1e6, "capital": 1e6}
    return Scenario.model_validate(
        {
            **base,
            "assets": base["assets"][:1],
            "traders": {**base["traders"], "groups": []},
            "venues": [{**block, "clearinghouse": house, "market": {"pass_through": 0.0}, "instruments": list(instruments)}],
            **other,
        }
    )


def opened(*instruments: dict[str, Any], **other: Any) -> Ecosystem:
    return Ecosystem(world(*instruments, **other), rng=0, check_laws=True)


def accounts(eco: Ecosystem, *deposits: float) -> list[int]:
    ledger = eco.venue.ledger
    rows = ledger.open(len(deposits), 3)
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, rows, np.array(deposits))
    return rows.tolist()


def moved(eco: Ecosystem, *logs: float) -> None:
    """A step in which the index moves by these log returns at equal distances."""
    venue = eco.venue
    venue.begin_step(np.random.default_rng(0), venue.hours)
    dlog = np.repeat(np.array([logs]), venue.ledger.markets, axis=0)
    walk([Walk(venue, Path(dlog, np.full(len(logs), 1.0 / len(logs))))])
    settle_expired(venue)


def test_a_future_is_worth_the_index_and_its_carry_and_meets_the_index_at_expiry():
    terms = (InstrumentParameters(asset="BTC"), InstrumentParameters(type="future", asset="BTC", days=10))
    listed = Instruments(terms, ("BTC",), SurfaceParameters())
    listed.list_series(np.array([False, True]), 0.0, np.array([100.0]))
    market = Market(MarketParameters(), np.full(2, 100.0), np.full(2, 1e6), np.full(2, 0.5), listed)
    market.carry, market.basis = np.array([0.365]), np.array([0.0, 0.002])
    # Ten days at 36.5 % a year are 1 %; the book's premium of 0.2 % counts in full until the last day, and by half in its middle.
    assert market.marks == pytest.approx([100.0, 101.2])
    market.clock = 9.5 * 24.0
    assert market.marks == pytest.approx([100.0, 100.0 * (1.0 + 0.0005 + 0.001)])
    market.clock = 240.0
    assert market.marks.tolist() == pytest.approx([100.0, 100.0])


def test_an_index_that_is_wrong_marks_a_future_wrong_while_the_book_trades_it_at_the_right_one():
    terms = (InstrumentParameters(asset="BTC"), InstrumentParameters(type="future", asset="BTC", days=10))
    listed = Instruments(terms, ("BTC",), SurfaceParameters())
    listed.list_series(np.array([False, True]), 0.0, np.array([100.0]))
    market = Market(MarketParameters(), np.full(2, 100.0), np.full(2, 1e6), np.full(2, 0.5), listed)
    market.mispricing = np.log([0.65, 0.65])
    assert market.marks == pytest.approx([65.0, 65.0])
    assert market.fair == pytest.approx([1.0, 1.0])


def test_whatever_moves_an_index_moves_it_for_every_contract_on_it():
    terms = tuple(InstrumentParameters(asset=name) for name in ("BTC", "ETH"))
    terms = (*terms, InstrumentParameters(type="future", asset="BTC", days=10, depth=0.5))
    listed = Instruments(terms, ("BTC", "ETH"), SurfaceParameters())
    listed.list_series(np.array([False, False, True]), 0.0, np.array([100.0, 10.0]))
    market = Market(MarketParameters(pass_through=0.1), np.array([100.0, 10.0, 100.0]), np.array([1e6, 1e6, 5e5]), np.full(3, 0.5), listed)
    start = market.log_index.copy()
    market.quote(np.vstack([market.reference_depth] * 2), np.zeros(3))
    # A dollar moves the index by a tenth of ten basis points over the perpetual's depth, wherever it is spent.
    market.execute(2, 100.0, 0.03)
    assert market.log_index - start == pytest.approx([1e-6, 0.0, 1e-6], rel=1e-9)
    market.trade_spot(0, 1e4)
    assert market.log_index - start == pytest.approx([2e-6, 0.0, 2e-6], rel=1e-9)
    market.auction(np.array([0.0, 0.0, 100.0]), np.zeros(3), 1.0)
    market.advance(np.array([0.01, 0.02, 0.01]), 1.0)
    assert market.log_index - start == pytest.approx([0.010003, 0.02, 0.010003], rel=1e-9)


def test_orders_in_options_leave_the_index_where_it_is():
    terms = (InstrumentParameters(asset="BTC"), *(InstrumentParameters.model_validate(one) for one in (FUTURE, CALL)))
    listed = Instruments(terms, ("BTC",), SurfaceParameters())
    listed.list_series(np.array([False, True, True]), 0.0, np.array([100.0]))
    market = Market(MarketParameters(pass_through=0.1), np.full(3, 100.0), np.full(3, 1e6), np.full(3, 0.5), listed)
    assert market.impact == pytest.approx([1e-10, 1e-10, 0.0])


def test_a_step_taken_at_once_or_by_increments_leaves_the_same_market():
    terms = (InstrumentParameters(asset="BTC"), *(InstrumentParameters.model_validate(one) for one in (FUTURE, CALL)))
    listed = Instruments(terms, ("BTC",), SurfaceParameters())
    listed.list_series(np.array([False, True, True]), 0.0, np.array([100.0]))

    def made() -> Market:
        one = Market(MarketParameters(), np.full(3, 100.0), np.full(3, 1e6), np.full(3, 0.5), listed)
        one.quote(np.full((2, 3), 1e6), np.zeros(3))
        one.auction(np.array([50.0, 80.0, 20.0]), np.zeros(3), 1.0)
        return one

    dlog, hours = np.repeat([[0.01, -0.02, 0.03]], 3, axis=0), np.array([0.25, 0.25, 0.5])
    whole, stepwise = made(), made()
    marks, end = whole.project(dlog, hours)
    whole.adopt(end)
    walked = np.column_stack([stepwise.advance(dlog[:, k], hours[k]) for k in range(3)])
    assert walked == pytest.approx(marks, rel=1e-12)
    assert stepwise.marks == pytest.approx(whole.marks, rel=1e-12)
    assert stepwise.clock == whole.clock
    assert stepwise.average_index(np.array([0.0, 0.6, 0.6])) == pytest.approx(whole.average_index(np.array([0.0, 0.6, 0.6])), rel=1e-12)


def test_settlement_is_by_the_index_averaged_over_its_last_half_hour():
    eco = opened(FUTURE, CALL, PUT)
    venue, ledger = eco.venue, eco.venue.ledger
    long, short = accounts(eco, 1e6, 1e6)
    start = float(venue.market.index[0])
    for at in (1, 2, 3):
        ledger.trade(
            at, np.array([long]), np.array([2.0]), float(ledger.marks[at]), np.array([short]), np.array([-2.0]), float(ledger.marks[at])
        )
    paid = 2.0 * ledger.marks[1:].sum()
    venue.market.clock = venue.hours = 23.0
    # Quarters of an hour at +1 %, +1 %, +3 %, +5 %: over the last two the index is 1.04 of the start on average.
    levels = np.array([1.01, 1.01, 1.03, 1.05])
    moved(eco, *np.diff(np.log(np.concatenate(([1.0], levels)))).tolist())
    average = 1.04 * start
    assert venue.market.clock == pytest.approx(24.0)
    assert not ledger.position[1:].any()
    # The future pays the average, the call what it is above the strike, the put nothing.
    assert ledger.cash[long] == pytest.approx(1e6 - paid + 2.0 * (average + (average - start)), rel=1e-12)
    assert ledger.cash[long] + ledger.cash[short] == pytest.approx(2e6, rel=1e-12)
    ledger.check(1)


def test_delivery_costs_what_deribit_charged_for_it_at_the_averaged_index():
    # Deribit's early contract specification: 0.025 % of what is delivered. Two futures at an average of 1.02 of the start, either side.
    eco = opened(FUTURE)
    venue, ledger = eco.venue, eco.venue.ledger
    venue.parameters = venue.parameters.model_copy(update={"fees": venue.parameters.fees.model_copy(update={"delivery": 2.5e-4})})
    long, short = accounts(eco, 1e6, 1e6)
    start, mark = float(venue.market.index[0]), float(ledger.marks[1])
    ledger.trade(1, np.array([long]), np.array([2.0]), mark, np.array([short]), np.array([-2.0]), mark)
    venue.market.clock = venue.hours = 23.0
    house = ledger.fund + ledger.treasury
    moved(eco, np.log(1.02), 0.0)
    fee, gain = 2.5e-4 * 2.0 * 1.02 * start, 2.0 * (1.02 * start - mark)
    assert ledger.cash[[long, short]] == pytest.approx([1e6 + gain - fee, 1e6 - gain - fee], rel=1e-12)
    assert ledger.fund + ledger.treasury - house == pytest.approx(2.0 * fee, rel=1e-9)
    assert venue.tally.fees == pytest.approx(2.0 * fee)


def test_a_new_series_is_listed_where_one_has_expired():
    eco = opened(FUTURE, {**CALL, "days": 2.0})
    market = eco.venue.market
    assert market.listed is not None
    market.clock = eco.venue.hours = 23.0
    market.basis[:] = market.wedge[:] = 0.001
    moved(eco, 0.02)
    assert market.listed.expiry.tolist() == pytest.approx([np.inf, 48.0, 48.0])
    assert (market.basis[1], market.wedge.tolist()) == (0.0, [0.001, 0.0, 0.001])
    assert market.basis[2] != 0.0
    market.clock = eco.venue.hours = 47.0
    moved(eco, 0.02)
    assert market.listed.strike[2] == pytest.approx(float(market.index[0]))
    assert eco.venue.ledger.marks == pytest.approx(market.marks)  # what is new is marked at once


def test_what_an_account_cannot_pay_at_expiry_goes_down_the_waterfall():
    eco = opened(FUTURE)
    venue, ledger = eco.venue, eco.venue.ledger
    long, short = accounts(eco, 1e6, 1e4)
    mark = float(ledger.marks[1])
    ledger.trade(1, np.array([long]), np.array([10.0]), mark, np.array([short]), np.array([-10.0]), mark)
    start, average = float(venue.market.index[0]), 1.2 * float(venue.market.index[0])
    # Nobody could liquidate it: the exchange stood still.
    venue.market.clock = venue.hours = 23.0
    venue.begin_step(np.random.default_rng(0), 23.0)
    venue.halts.windows = [(0.0, 25.0)]
    walk([Walk(venue, Path(np.full((2, 1), np.log(1.2)), np.ones(1)))])
    settle_expired(venue)
    owed = 10.0 * (average - start) - 1e4
    assert venue.tally.deficits == pytest.approx(owed, rel=1e-9)
    assert venue.tally.absorbed == pytest.approx({"fund": owed}, rel=1e-9)
    assert ledger.fund == pytest.approx(1e6 - owed, rel=1e-9)
    assert ledger.statement == {Flow.DRAW_CLOSE_OUT: pytest.approx(-owed, rel=1e-9)}
    assert ledger.status[short] == Status.BANKRUPT
    ended = eco.event_table().query("kind == 'expiry'")
    assert dict(zip(ended["account"], ended["quantity"], strict=True)) == {long: -10.0, short: 10.0}  # each sells or buys what it held
    ledger.check(1)


def test_a_loss_at_expiry_is_the_pools_of_the_markets_that_expire() -> None:
    # 0.2 m USD in each market's own pool. The short of 10 lacks 10 x 0.1 x 60,000 - 10,000 = 50,000 USD.
    given = world(FUTURE).model_dump(mode="json", by_alias=True)
    given["venues"][0]["clearinghouse"] |= {"fund": 4e5, "pools": {"by": "market", "shares": [0.5, 0.5]}}
    eco = Ecosystem(Scenario.model_validate(given), rng=0, check_laws=True)
    venue, ledger = eco.venue, eco.venue.ledger
    long, short = accounts(eco, 1e6, 1e4)
    mark = float(ledger.marks[1])
    ledger.trade(1, np.array([long]), np.array([10.0]), mark, np.array([short]), np.array([-10.0]), mark)
    lacks = 0.1 * 10.0 * float(venue.market.index[0]) - 1e4
    venue.market.clock = venue.hours = 23.0
    venue.begin_step(np.random.default_rng(0), 23.0)
    venue.halts.windows = [(0.0, 25.0)]
    walk([Walk(venue, Path(np.full((2, 1), np.log(1.1)), np.ones(1)))])
    settle_expired(venue)
    assert ledger.pools == pytest.approx([2e5, 2e5 - lacks], rel=1e-9)


def test_the_funds_inventory_that_expires_is_in_its_statement():
    eco = opened(FUTURE)
    venue, ledger = eco.venue, eco.venue.ledger
    (other,) = accounts(eco, 1e6)
    mark = float(ledger.marks[1])
    ledger.trade(1, np.array([FUND]), np.array([3.0]), mark, np.array([other]), np.array([-3.0]), mark)
    before = ledger.fund
    venue.market.clock = venue.hours = 23.0
    moved(eco, 0.01, 0.01)
    assert ledger.fund - before == pytest.approx(sum(ledger.statement.values()), rel=1e-9)
    assert ledger.fund != before
    assert not ledger.position[1].any()


def test_dated_contracts_pay_no_funding():
    eco = opened(FUTURE, CALL)
    eco.venue.market.basis[:] = 0.01
    rates = eco.venue.market.funding_rate(8.0)
    assert rates[0] > 0.0
    assert rates[1:].tolist() == [0.0, 0.0]


def test_capital_of_the_exchange_is_left_alone_by_expiry():
    eco = opened(FUTURE)
    for _ in range(25):
        eco.step()
    assert float(eco.venue.ledger.cash[TREASURY]) == pytest.approx(1e6)
    assert eco.venue.market.listed is not None
    assert eco.venue.market.listed.expiry[1] == pytest.approx(48.0)
