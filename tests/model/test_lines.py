"""Credit lines: when lenders withdraw them, what then runs off, when estates pay, and what it does to the market."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from agents.lender import FundingView, LostCapital, ShortOfCash, StatedHours, WildMarkets
from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow
from model.scenario import Scenario


def one_maker(lenders: dict[str, Any], **settings: Any) -> Ecosystem:
    """One market maker with 1,000 USD of its own and 600 of loans, no trader."""
    world = {
        "traders": {"groups": []},
        "venues": [{"market_makers": {"count": 1, "capital": 1_000.0}, "liquidators": {"count": 0}}],
        "lenders": {"count": 1, "capital": 10_000.0, "interbank": 0.0, "loan_to_capital": 0.6, "rate": 0.0, **lenders},
        **settings,
    }
    eco = Ecosystem(Scenario.model_validate(world), rng=1)
    eco.venue.ledger.begin_step()
    return eco


NOW = {"withdrawal": [{"type": "stated_hours", "at": 2.0, "lasts": 3.0}], "term": 10.0, "withdrawn_for": 0.0}


def test_each_rule_withdraws_for_its_reason() -> None:
    view = FundingView(
        equity=np.array([50.0, 80.0]),
        capital=np.array([100.0, 100.0]),
        cash=np.array([10.0, 30.0]),
        deposits=np.array([100.0, 100.0]),
        stress=2.0,
        clock=5.0,
    )
    wild = [WildMarkets(WildMarkets.Parameters(above=above)).rule(view, None, None)[0].tolist() for above in (1.9, 2.0)]
    assert wild == [[True, True], [False, False]]
    for below in (0.6, 0.8):  # who has just as much as that has not lost it
        assert LostCapital(LostCapital.Parameters(below=below)).rule(view, None, None)[0].tolist() == [True, False]
    assert ShortOfCash(ShortOfCash.Parameters(below=0.2)).rule(view, None, None)[0].tolist() == [True, False]
    owes_more = replace(view, deposits=np.array([100.0, 200.0]))  # 30 are less than a fifth of 200
    assert ShortOfCash(ShortOfCash.Parameters(below=0.2)).rule(owes_more, None, None)[0].tolist() == [True, True]
    stated = [StatedHours(StatedHours.Parameters(at=at, lasts=2.0)).rule(view, None, None)[0].all() for at in (2.0, 3.0, 4.9, 5.0)]
    assert stated == [False, True, True, False]


def test_a_withdrawn_loan_runs_off_as_it_matures_and_is_lent_again_afterwards() -> None:
    eco = one_maker(NOW)
    credit, venue = eco.credit, eco.venue
    debts = []
    for hour in (2.0, 3.0, 4.0, 5.0, 6.0):
        venue.hours = hour
        credit.serve(1.0)
        debts.append(float(credit.debt()[0]))
    runs_off = 600.0 * np.exp(-np.array([0.0, 0.1, 0.2, 0.3]))
    assert debts[:4] == pytest.approx(runs_off)
    # Half a percent an hour of what is missing is lent again.
    assert debts[4] == pytest.approx(debts[3] + (600.0 - debts[3]) * -np.expm1(-0.005))
    assert credit.cash.sum() + credit.outside == pytest.approx(0.0, abs=1e-6)
    venue.ledger.check(1)


def test_lines_stay_withdrawn_for_a_while() -> None:
    eco = one_maker({**NOW, "withdrawn_for": 4.0})
    states = []
    for hour in range(1, 12):
        eco.venue.hours = float(hour)
        eco.credit.serve(1.0)
        states.append(bool(eco.credit.withdrawn[0]))
    assert states == [False, False, True, True, True, True, True, True, False, False, False]  # reasons end at 5; 4 hours more


def test_loans_among_lenders_run_off_as_far_as_cash_goes() -> None:
    eco = one_maker({**NOW, "count": 2, "loan_to_capital": 0.0})
    credit = eco.credit
    credit.owed[0, 1], credit.cash[0] = 1_000.0, 50.0
    eco.venue.hours, before = 3.0, credit.cash.copy()
    credit.serve(1.0)
    assert 1_000.0 * -np.expm1(-0.1) > 50.0
    assert (credit.cash - before).tolist() == pytest.approx([-50.0, 50.0])
    assert credit.owed[0, 1] == pytest.approx(950.0)


def test_a_line_beyond_the_opening_loan_is_drawn_as_far_as_the_haircut_allows() -> None:
    # Worth 1,000 against 600 of debt: a haircut of 0.4 would allow 1,500, the line of 1.5 only 900.
    eco = one_maker({"line": 1.5})
    eco.credit.serve(1_000.0)
    assert eco.credit.debt()[0] == pytest.approx(600.0 + 300.0 * -np.expm1(-5.0))


def test_an_estate_pays_after_the_delay_and_counts_as_an_asset_until_then() -> None:
    eco = one_maker({}, payments={"delay": 2.5}, hours_per_step=1.0)
    credit, venue = eco.credit, eco.venue
    venue.ledger.transfer(Flow.WITHDRAWAL, int(venue.makers[0]), OUTSIDE, 1_300.0)
    cash, worth = float(credit.cash[0]), float(credit.lender_equity()[0])
    assert credit.clear(7, eco.events).loss == pytest.approx(300.0)
    assert (credit.cash[0], credit.pending[0]) == (pytest.approx(cash), pytest.approx(300.0))
    assert worth - credit.lender_equity()[0] == pytest.approx(300.0)
    paid = []
    for step in (8, 9, 10, 11):
        assert credit.clear(step, eco.events).defaults == 0
        assert credit.cash.sum() + credit.outside == pytest.approx(0.0, abs=1e-6)
        paid.append(float(credit.cash[0]) - cash)
    assert paid == pytest.approx([0.0, 0.0, 300.0, 300.0])


def test_what_estates_owe_a_lender_that_fails_is_paid_to_its_own_creditors() -> None:
    eco = one_maker({"count": 2, "loan_to_capital": 0.0}, payments={"delay": 2.0})
    credit = eco.credit
    credit.owed[0, 1] = 100.0
    credit.cash[:], credit.deposits[:] = (20.0, 500.0), (60.0, 100.0)
    credit.estates, credit.outside = [(9, np.array([60.0, 5.0]))], -520.0 + 65.0
    # The first has 20 and 60 to come for debts of 160: half. The second gets 50 two steps later, and its own 5 when they are due.
    assert credit.clear(8, eco.events).loss == pytest.approx(80.0)
    assert credit.pending.tolist() == pytest.approx([0.0, 55.0])
    for _ in (credit.clear(step, eco.events) for step in (9, 10)):
        pass
    assert credit.cash.tolist() == pytest.approx([0.0, 555.0])


def world(**lenders: Any) -> Scenario:
    return Scenario.model_validate(
        {
            "steps": 24,
            "traders": {"groups": [{"name": "retail", "count": 100}]},
            "lenders": {"loan_to_capital": 3.0, "capital": 500e6, **lenders},
        }
    )


def test_withdrawn_lines_become_thin_markets() -> None:
    """With the same luck, depth and what liquidators can take are less in every later hour once lines are withdrawn, not before."""
    withdrawal = [{"type": "stated_hours", "at": 4.0, "lasts": 20.0}]
    runs = {}
    for name, rules in (("as it is", []), ("withdrawn", withdrawal)):
        eco = Ecosystem(world(withdrawal=rules, term=12.0), rng=3, check_laws=True)
        for _ in range(24):
            eco.step()
        runs[name] = eco.series()
    calm, dry = runs["as it is"], runs["withdrawn"]
    assert (dry["lines_withdrawn"] > 0).tolist() == [hour > 4 for hour in dry["hours"]]
    for output in ("depth_BTC", "liquidator_equity", "borrowed"):
        assert (dry[output][:5] == calm[output][:5]).all()
        assert (dry[output][7:] < calm[output][7:]).all(), output
    assert dry["depth_BTC"].iloc[-1] < 0.7 * calm["depth_BTC"].iloc[-1]
    assert dry["spread_BTC"].iloc[-1] > calm["spread_BTC"].iloc[-1]
