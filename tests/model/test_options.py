"""Options in the world: who is margined how, who hedges, what moves implied volatility, and what is refused."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from experiments import shipped
from experiments.app import snapshot
from model import quoting, trading
from model.clearing import Walk, walk
from model.ecosystem import Ecosystem
from model.expiry import settle_expired
from model.instruments import InstrumentParameters
from model.path import Path
from model.scenario import Scenario
from model.sizing import books
from model.surface import SurfaceParameters, next_level
from tests.model.test_expiry import CALL, FUTURE, accounts, moved, opened

MONTHLY = {"type": "call", "asset": "BTC", "days": 30.0, "moneyness": 1.1}


def traded(seed: int, steps: int, **shock: Any) -> Ecosystem:
    """The shipped scenario, with few traders and at most one shock."""
    base = shipped.load("options").model_dump(mode="json", by_alias=True)
    groups = [{**group, "count": min(group["count"], 40)} for group in base["traders"]["groups"]]
    for group in groups:
        group["activity"] = max(group["activity"], 0.2)
    world = Scenario.model_validate({**base, "traders": {**base["traders"], "groups": groups}, "shocks": [shock] if shock else []})
    eco = Ecosystem(world, rng=seed, check_laws=True)
    for _ in range(steps):
        eco.step()
    return eco


def test_a_short_call_is_margined_by_its_worst_scenario_and_a_long_one_by_what_it_can_lose():
    eco = opened(MONTHLY)
    venue, ledger = eco.venue, eco.venue.ledger
    long, short = accounts(eco, 1e6, 1e6)
    mark = float(ledger.marks[1])
    ledger.trade(1, np.array([long]), np.array([2.0]), mark, np.array([short]), np.array([-2.0]), mark)
    rows = np.array([long, short])
    margin = venue.requirement(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks)
    assert venue.fixing is not None
    # The table that the rule states, repriced one scenario at a time.
    table = venue.margin.table(venue.margined(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks), None)[:, 1]
    provision = 5e-4 * 2.0 * float(venue.market.index[0])
    assert margin.initial - provision == pytest.approx([2.0 * -table.min(), 2.0 * table.max()], rel=1e-9)
    assert margin.by_market[1] - provision == pytest.approx([-table.min(), table.max()], rel=1e-9)
    # The holder of an option loses at most what it is worth, and has paid it already.
    assert -table.min() <= mark
    assert table.max() > mark


def test_under_standard_margin_a_short_call_needs_a_tenth_of_the_index_and_a_long_one_its_premium():
    # 10 % out of the money: max(0.15 - 0.10, 0.10) of the index beyond the mark, 0.075 of it to be kept.
    eco = opened(MONTHLY, margin="standard_options")
    ledger, index = eco.venue.ledger, float(eco.venue.market.index[0])
    long, short = accounts(eco, 1e6, 1e6)
    mark = float(ledger.marks[1])
    ledger.trade(1, np.array([long]), np.array([2.0]), mark, np.array([short]), np.array([-2.0]), mark)
    rows = np.array([long, short])
    margin = eco.venue.requirement(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks)
    assert margin.initial == pytest.approx([2.0 * mark, 0.2 * index])
    assert margin.by_market[1] == pytest.approx([2.0 * mark, 0.15 * index])
    # Equity is what was paid in: the published sum, premium and all, of a balance that holds the premium.
    assert ledger.equity(rows) == pytest.approx([1e6, 1e6])


def test_the_premium_is_paid_at_the_trade_and_the_option_is_worth_its_mark():
    eco = opened(MONTHLY)
    ledger = eco.venue.ledger
    (buyer,) = accounts(eco, 1e6)
    quoting.requote(eco.venue, ledger)
    trading.trade(eco.venue, np.array([buyer]), np.array([[0.0], [1.0]]), 1.0)
    fee = eco.venue.parameters.fees.taker * float(ledger.units[1])
    paid = 1e6 - float(ledger.cash[buyer]) - fee
    assert paid == pytest.approx(float(ledger.entry[1, buyer]))
    assert paid > float(ledger.marks[1])
    assert float(ledger.units[1]) == pytest.approx(float(eco.venue.market.index[0]))


def test_a_writer_that_a_jump_ruins_is_liquidated_and_its_deficit_borne():
    eco = opened(MONTHLY)
    venue, ledger = eco.venue, eco.venue.ledger
    writer, buyer = accounts(eco, 2e5, 1e7)
    mark = float(ledger.marks[1])
    ledger.trade(1, np.array([buyer]), np.array([20.0]), mark, np.array([writer]), np.array([-20.0]), mark)
    moved(eco, 0.0, np.log(1.6), 0.0)
    assert not ledger.position[1, writer]
    assert venue.tally.deficits > 0.0
    assert venue.tally.deficits == pytest.approx(sum(venue.tally.absorbed.values()), rel=1e-9)
    assert float(ledger.equity()[writer]) == pytest.approx(0.0, abs=1e-3)
    ledger.check(1)


def test_the_walk_of_those_at_risk_is_the_walk_of_all():
    def walked(*, whole: bool) -> np.ndarray[Any, np.dtype[np.float64]]:
        eco = traded(3, 12)
        venue = eco.venue
        venue.begin_step(np.random.default_rng(0), eco.hours)
        dlog = np.tile([-0.05, -0.1, 0.0, 0.12], (venue.ledger.markets, 1))
        one = Walk(venue, Path(dlog, np.full(4, 0.25)))
        if whole:
            one.first = 0
            one.walked.admit(np.arange(venue.institutions, venue.ledger.rows))
        walk([one])
        settle_expired(venue)
        assert venue.tally.liquidations > 0
        return venue.ledger.equity()

    assert walked(whole=False) == pytest.approx(walked(whole=True), rel=1e-9, abs=1e-3)


def test_whoever_holds_options_is_walked_for_rates_do_not_bound_them():
    eco = opened(MONTHLY)
    ledger = eco.venue.ledger
    buyer, writer, other = accounts(eco, 1e9, 1e9, 1e9)
    mark, perpetual = float(ledger.marks[1]), float(ledger.marks[0])
    ledger.trade(1, np.array([buyer]), np.array([1.0]), mark, np.array([writer]), np.array([-1.0]), mark)
    ledger.trade(0, np.array([other]), np.array([1.0]), perpetual, np.array([writer]), np.array([-1.0]), perpetual)
    assert eco.venue.at_risk(ledger.marks, ledger.marks).tolist() == [buyer, writer]


def test_the_app_sees_the_margin_that_is_asked_of_options():
    eco = traded(1, 6)
    venue, seen = eco.venue, snapshot.accounts(eco)
    position, exposure = venue.ledger.position[:, seen.rows], venue.ledger.exposure[:, seen.rows]
    assert exposure[venue.market.asset.size - 1].any()
    assert seen.maintenance == pytest.approx(venue.requirement(position, exposure, venue.ledger.marks).by_market.sum(axis=0))


def test_sellers_hold_the_perpetual_against_the_deltas_of_what_they_have_sold():
    eco = traded(1, 30)
    venue = eco.venue
    rows = next(group.rows for group in eco.population.groups if group.parameters.name == "volatility_funds")
    before = venue.ledger.position[:, rows].sum(axis=1)
    assert venue.fixing is not None
    assert venue.market.listed is not None
    option = venue.market.listed.option
    deltas = venue.fixing.deltas
    wanted = -float((deltas * before * (venue.market.asset == 0))[option].sum())
    assert before[option].min() < 0.0
    eco.step()
    assert float(venue.ledger.position[0, rows].sum()) == pytest.approx(wanted, rel=0.25)


def test_holders_of_coins_have_as_many_puts():
    eco = traded(1, 30)
    ledger = eco.venue.ledger
    rows = next(group.rows for group in eco.population.groups if group.parameters.name == "holders")
    puts, coins = ledger.position[6, rows], ledger.spot[0, rows]
    assert puts.sum() > 0.0
    assert float(coins.sum()) == pytest.approx(float(puts.sum()), rel=0.2)


def test_implied_volatility_jumps_by_its_shock_and_finds_back():
    calm, shocked = traded(2, 8), traded(2, 8, type="volatility_move", at=5.0, size=[0.5])
    name = "implied_volatility_BTC"
    before, after = calm.series()[name], shocked.series()[name]
    assert after[5] == before[5]
    assert after[6] / before[6] > 1.3
    # Sellers answer, and what is left fades with a memory of three days.
    assert after[8] < after[6]


def test_a_fall_raises_the_level_and_buyers_do_too():
    p = SurfaceParameters(response=2.0, flow_impact=0.01, memory=72.0, premium=1.0)
    of = np.array([0.6])
    eco = opened(MONTHLY)
    market = eco.venue.market
    start = float(market.level[0])
    market.begin_step()
    market.log_index = market.log_index - 0.1
    assert market.moment(market.log_index, 1.0).level[0] == pytest.approx(start * np.exp(0.2))
    market.learn(1.0, np.zeros(1))  # the next step begins where the fall has left it, drawn towards what was realised
    assert market.level == pytest.approx(
        next_level(market.listed.surface, start * np.exp(np.array([0.2])), market.volatility[:1], of * 0, 1.0)
    )
    assert next_level(p, of, of, np.array([10.0]), 1e-9) == pytest.approx(0.6 * np.exp(0.1))
    assert next_level(p, of, of, np.array([-10.0]), 1e-9) == pytest.approx(0.6 * np.exp(-0.1))


def test_sizing_reprices_options_with_volatility_that_answers_the_fall():
    eco = opened(MONTHLY, CALL)
    fixing = eco.venue.fixing
    assert fixing is not None
    returns = np.array([[-0.2], [0.3]])
    answered = np.exp(-2.0 * np.log1p(returns)) - 1.0
    market = eco.venue.market
    assert market.listed is not None
    levels = market.listed.revalue(market.moment(market.log_index, market.clock), market.basis, returns, answered)
    assert fixing.stressed(returns) == pytest.approx(levels, rel=1e-9)
    assert not np.allclose(fixing.stressed(returns), fixing.reprice(returns, np.zeros_like(returns)))
    onto = books(eco.venue, 0).onto
    assert onto is not None
    assert onto[0, 0] == pytest.approx(float(eco.venue.ledger.units[0]))
    assert 0.0 < onto[1, 0] < 0.5 * onto[0, 0]


def test_richness_is_implied_over_measured_volatility_and_rises_with_the_books_premium():
    eco = opened(MONTHLY)
    venue, market = eco.venue, eco.venue.market
    market.level[:], market.volatility[:] = 0.6, 0.8
    venue.mark(venue.ledger, market.marks)
    assert trading.known_contracts(venue, np.zeros(2)).richness == pytest.approx([1.0, 0.75])
    market.basis[1] = 0.001
    venue.mark(venue.ledger, market.marks)
    # A dollar over the surface's price is a dollar over vega of more implied volatility, to first order.
    raised = 0.001 * float(market.index[0]) / float(venue.fixing.vegas[1])
    assert trading.known_contracts(venue, np.zeros(2)).richness[1] == pytest.approx(0.75 * (1.0 + raised))


def test_a_futures_premium_is_earned_by_its_expiry_and_no_sooner_than_in_a_week():
    for days, earned in ((73.0, 0.005), (1.0, 0.001 * 365.0 / 7.0)):  # 0.1 % over a fifth of a year; over a day as over a week
        eco = opened({**FUTURE, "days": days})
        eco.venue.market.wedge[1] = 0.001
        assert trading.known_contracts(eco.venue, np.array([0.1, 0.0])).carry == pytest.approx([0.1, 0.1 + earned])


def test_fees_are_on_notional_and_not_on_the_premium():
    eco = opened(MONTHLY)
    venue = eco.venue
    (buyer,) = accounts(eco, 1e6)
    quoting.requote(venue, venue.ledger)
    trading.trade(venue, np.array([buyer]), np.array([[0.0], [2.0]]), 1.0)
    assert venue.tally.volume[1] == pytest.approx(2.0 * float(venue.ledger.units[1]))


def test_a_perpetuals_fee_is_on_the_price_that_was_paid_whatever_else_is_listed():
    # A buyer of ten pays the book's premium of a per cent over the mark, and the taker's fee on what that comes to.
    fees = []
    for listed in ((FUTURE,), (FUTURE, MONTHLY)):
        eco = opened(*listed)
        venue, ledger = eco.venue, eco.venue.ledger
        (buyer,) = accounts(eco, 1e7)
        quoting.requote(venue, ledger)
        venue.market.skew[0] = 0.01
        trading.trade(venue, np.array([buyer]), np.array([[10.0], *([[0.0]] * len(listed))]), 1.0)
        price = float(ledger.entry[0, buyer])
        assert price > 1.01 * float(ledger.marks[0])
        assert venue.tally.volume[0] == pytest.approx(10.0 * price, rel=1e-12)
        fees.append(1e7 - 10.0 * price - float(ledger.cash[buyer]))
        assert fees[-1] == pytest.approx(venue.parameters.fees.taker * 10.0 * price, rel=1e-9)
    assert fees[0] == pytest.approx(fees[1], rel=1e-9)


@pytest.mark.parametrize(
    ("instrument", "says"),
    [
        ({"type": "perpetual", "asset": "BTC"}, "expected `inverse`, `future`, `call` or `put`"),
        ({"type": "inverse", "asset": "BTC"}, "a group of traders with `margin: coin`"),
        ({"type": "future", "asset": "DOGE", "days": 7}, "expected one of the assets"),
        ({"type": "future", "asset": "BTC"}, "expected a life in days"),
        ({"type": "call", "asset": "BTC", "days": 7}, "expected strike over index"),
    ],
)
def test_what_cannot_be_listed_is_refused(instrument: dict[str, Any], says: str):
    with pytest.raises(ValidationError, match=says):
        opened(instrument)


def test_options_need_a_margin_rule_that_reprices_them():
    with pytest.raises(ValidationError, match="portfolio_scenarios"):
        opened(MONTHLY, margin="tiered")
    assert opened(FUTURE, margin="tiered").venue.fixing is None


def test_two_instruments_that_are_alike_are_refused():
    with pytest.raises(ValidationError, match="once"):
        opened(FUTURE, FUTURE)


def test_an_option_is_named_by_what_it_is():
    assert InstrumentParameters.model_validate(MONTHLY).name == "BTC_call_30d_1.1"
