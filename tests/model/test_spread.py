"""How far it went: outputs that say who failed alone and who because of others, with the arithmetic worked by hand."""

from typing import Any

import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow
from model.observables import observe
from model.scenario import Scenario
from tests.validation.handmade import FIRST, MAKER, handmade

A, B = FIRST, FIRST + 1

LOANS: dict[str, Any] = {
    "schema": 1,
    "traders": {"groups": []},
    "venues": [{"market_makers": {"count": 1, "capital": 1_000.0}, "liquidators": {"count": 0}}],
    "lenders": {"count": 1, "capital": 400.0, "interbank": 0.0, "loan_to_capital": 0.6},
    "interbank_recovery": 0.5,
}


def test_a_lender_that_its_borrower_brings_down_is_contagious_and_the_loss_is_told_over_the_first_one() -> None:
    # The maker has 300 for 600: it lacks 300. Half of that reaches the lender, 150, which with its 1,000 has 1,150 for 1,200.
    eco = Ecosystem(Scenario.model_validate(LOANS), rng=1)
    assert eco.credit.cash.tolist() == [pytest.approx(1_000.0)]
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 1_300.0)
    eco.tick = 1
    eco.places[0].defaults = eco.credit.clear(1, eco.events)
    seen = observe(eco.places, eco.tick)
    assert (seen["initial_defaults_market_maker"], seen["contagious_defaults_lender"]) == (1.0, 1.0)
    assert sum(value for name, value in seen.items() if name.startswith(("initial_defaults_", "contagious_defaults_"))) == 2.0
    # The lender loses 450 of 600. Half of its 150 is lost on the way to depositors, who lose 1,200 - 1,075 = 125.
    assert seen["network_loss"] == pytest.approx(575.0)
    assert seen["amplification"] == pytest.approx(575.0 / 300.0)


def test_amplification_and_branching_are_no_numbers_where_nothing_happens() -> None:
    seen = observe(Ecosystem(Scenario.model_validate(LOANS), rng=1).places, 0)
    assert np.isnan([seen["amplification"], seen["branching_ratio"]]).all()
    assert (seen["liquidated_accounts"], seen["fund_recovery"], seen["depth_recovery"]) == (0.0, 0.0, 0.0)


def test_who_is_liquidated_because_of_others_is_who_news_alone_would_have_left() -> None:
    # At 94.8 a long of 40 with 395.7 is below its 5 %. Selling it displaces a thin book by 3 %, and the mark follows: the next long, with
    # 257 on 25, is below its own from 94.44 on, which news alone does not reach.
    route = {"order": ["book", "takeover"], "book_slippage": 0.03}
    one = handmade([395.7, 257.0], depth=300.0, fund=1e4, route=route)
    one.position(A, MAKER, 40.0, 100.0)
    one.position(B, MAKER, 25.0, 100.0)
    one.move(94.9)
    assert one.venue.tally.liquidated_accounts == 0
    one.walk(np.array([[np.log(94.8 / 94.9), *[0.0] * 8]]), np.array([0.0, *[0.005] * 8]))
    assert one.held(A, B) == [0.0, 0.0]
    assert (one.venue.tally.liquidated_accounts, one.venue.tally.liquidated_alone) == (2, 1)


def test_each_node_s_debtrank_stands_on_its_balance_sheet() -> None:
    # The maker has 1,600 and owes the lender 600; lender 400 of its own, maker 1,000. Its failure takes 600 of the lender's 400: all of it.
    # The exchange's takes the maker's 1,600, more than its 1,000, and with it the lender. Others' equity is all there is beside one's own.
    eco = Ecosystem(Scenario.model_validate(LOANS), rng=1)
    ranks = eco.balance_sheets().set_index("node")["debtrank"]
    house = eco.venue.ledger.fund + eco.venue.ledger.treasury
    assert ranks.to_dict() == {
        "lender 1": 0.0,
        "maker 1": pytest.approx(400.0 / (400.0 + house)),
        "exchange": pytest.approx(1.0),
    }
