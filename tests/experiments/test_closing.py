"""An exchange's books at the end of a run: what is held, by what, and who would lose most, against arithmetic by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from experiments.closing import as_table, closing, scenarios
from model.ecosystem import Ecosystem
from model.ledger import FUND
from model.scenario import Scenario
from tests.model.test_expiry import accounts, world

MEMBERS = {
    "members": {"market_makers": True, "traders": 0, "share": 0.1},
    "waterfall": [
        {"type": "exchange_capital", "share": 0.25},
        {"type": "members_fund"},
        {"type": "second_skin", "share": 0.25},
        {"type": "assessment", "cap": 2.0},
        {"type": "write_down"},
    ],
}


def opened(**house: Any) -> Ecosystem:
    """No traders yet, a fiftieth of a position as initial margin, makers and liquidators as they come; 1m in the fund and 1m of capital."""
    base = world(margin="fixed_leverage").model_dump(by_alias=True)
    block = base["venues"][0]
    margin = {"type": "fixed_leverage", "initial": 0.02, "maintenance": 0.01}
    block = {**block, "clearinghouse": {**block["clearinghouse"], "margin": margin, **house}}
    return Ecosystem(Scenario.model_validate({**base, "venues": [block]}), rng=0)


def trade(eco: Ecosystem, buyer: int, seller: int, contracts: float) -> None:
    ledger = eco.venue.ledger
    mark = float(ledger.marks[0])
    ledger.trade(0, np.array([buyer]), np.array([contracts]), mark, np.array([seller]), np.array([-contracts]), mark)


def figures(eco: Ecosystem) -> dict[tuple[str, str], float]:
    table = closing(eco.places[0])
    return {(figure, asset): amount for figure, asset, amount in table.itertuples(index=False)}


def test_stress_losses_are_those_of_the_worst_scenario_beyond_initial_margin() -> None:
    eco = opened()
    one, two, three = accounts(eco, 1e8, 1e8, 1e8)
    trade(eco, one, three, 30.0)
    trade(eco, two, three, 20.0)
    found, mark, returns = figures(eco), float(eco.venue.ledger.marks[0]), scenarios(eco.venue)[:, 0]
    fall, rise = -float(returns.min()), float(returns.max())
    assert min(fall, rise) > 0.02
    # Longs of 30 and 20 and a short of 50, each asked for a fiftieth: the short loses in the largest rise, the longs in the largest fall.
    long, both = 30.0 * mark * (fall - 0.02), 50.0 * mark * (fall - 0.02)
    short = 50.0 * mark * (rise - 0.02)
    assert found["cover_1", ""] == pytest.approx(max(long, short))
    assert found["cover_2", ""] == pytest.approx(max(both, short))


def test_initial_margin_is_the_firms_or_the_traders() -> None:
    eco = opened()
    one, two = accounts(eco, 1e8, 1e8)
    trade(eco, one, int(eco.venue.makers[0]), 30.0)
    trade(eco, one, two, 10.0)
    found, mark = figures(eco), float(eco.venue.ledger.marks[0])
    assert found["initial_margin_house", ""] == pytest.approx(0.6 * mark)
    assert found["initial_margin_client", ""] == pytest.approx(1.0 * mark)


def test_margin_is_told_by_what_it_is_held_in_before_and_after_haircuts() -> None:
    eco = opened(coin_haircuts=(0.2,))
    ledger, index = eco.venue.ledger, float(eco.venue.market.index[0])
    before = float(ledger.claims().sum())
    (one,) = accounts(eco, 15.0 * index)
    ledger.trade_spot(0, np.array([one]), np.array([10.0]), index)
    found = figures(eco)
    assert found["margin_held", "dollars"] == found["margin_counted", "dollars"] == pytest.approx(before + 5.0 * index)
    assert found["margin_held", "BTC"] == pytest.approx(10.0 * index)
    assert found["margin_counted", "BTC"] == pytest.approx(8.0 * index)
    # Where no coin counts until it is sold, it is no margin.
    plain = opened()
    (other,) = accounts(plain, 15.0 * index)
    plain.venue.ledger.trade_spot(0, np.array([other]), np.array([10.0]), index)
    assert ("margin_held", "BTC") not in figures(plain)


def test_the_fund_is_told_by_what_it_holds() -> None:
    eco = opened()
    assert figures(eco)["fund", "dollars"] == pytest.approx(1e6)
    eco.venue.ledger.trade_spot(0, np.array([FUND]), np.array([2.0]), float(eco.venue.market.index[0]))
    found = figures(eco)
    assert found["fund", "BTC"] == pytest.approx(2.0 * float(eco.venue.market.index[0]))
    assert found["fund", "dollars"] + found["fund", "BTC"] == pytest.approx(eco.venue.ledger.fund)


def test_members_have_k_ccp_and_what_they_may_be_called_for_and_others_have_none() -> None:
    eco = opened(**MEMBERS)
    members = eco.venue.members
    assert members is not None
    (one,) = accounts(eco, 1e10)
    maker = int(eco.venue.makers[0])
    trade(eco, maker, one, 10_000.0)
    found, mark = figures(eco), float(eco.venue.ledger.marks[0])
    worst = -10_000.0 * mark * float(scenarios(eco.venue).min())
    lacks = max(worst - 200.0 * mark - float(members.held[0]), 0.0)
    assert lacks > 0.0
    assert found["hypothetical_capital", ""] == pytest.approx(0.2 * 0.08 * lacks)
    assert found["participants", ""] == members.rows.size == eco.venue.makers.size
    assert found["assessments", ""] == pytest.approx(2.0 * members.required.sum())
    # A quarter of 1m comes before the members' fund; the second quarter after it.
    assert found["own_capital_before", ""] == pytest.approx(0.25e6)
    plain = figures(opened(waterfall=[{"type": "fund"}, {"type": "exchange_capital", "share": 0.5}, {"type": "write_down"}]))
    assert plain["own_capital_before", ""] == pytest.approx(0.5e6)
    assert not {figure for figure, _ in plain} & {"participants", "hypothetical_capital", "assessments"}


def test_nobody_in_the_market_has_nothing_to_lose() -> None:
    found = figures(opened())
    assert found["cover_1", ""] == found["cover_2", ""] == found["initial_margin_client", ""] == 0.0


def test_a_table_without_rows_has_the_columns_of_one_with_rows() -> None:
    pd.testing.assert_series_equal(as_table().dtypes, as_table((("fund", "dollars", 1.0),)).dtypes)
