"""Coins as collateral: what they count for, when they are sold, and that nobody leaves a deficit who still has some."""

from typing import Any

import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.ledger import FUND, OUTSIDE, Flow, Status
from model.scenario import Scenario
from tests.model.test_expiry import accounts, moved, world


def opened(*haircuts: float, margin: str = "fixed_leverage") -> Ecosystem:
    block = world(margin=margin).model_dump(by_alias=True)
    block["venues"][0]["clearinghouse"]["coin_haircuts"] = haircuts
    return Ecosystem(Scenario.model_validate(block), rng=0, check_laws=True)


def hedged(eco: Ecosystem, deposit: float, coins: float, contracts: float) -> tuple[int, int]:
    """An account with coins and contracts, and the one on the other side."""
    ledger, index = eco.venue.ledger, float(eco.venue.market.index[0])
    one, other = accounts(eco, deposit, 1e8)
    ledger.trade_spot(0, np.array([one]), np.array([coins]), index)
    mark = float(ledger.marks[0])
    ledger.trade(0, np.array([one]), np.array([contracts]), mark, np.array([other]), np.array([-contracts]), mark)
    return one, other


def test_coins_count_at_the_index_less_their_haircut():
    eco = opened(0.2)
    one, _ = hedged(eco, 1e6, 10.0, 0.0)
    index = float(eco.venue.market.index[0])
    assert eco.venue.means(eco.venue.ledger, np.array([one])) == pytest.approx([1e6 - 10.0 * index + 0.8 * 10.0 * index])
    eco.venue.market.mispricing[:] = np.log(0.65)
    assert eco.venue.lent(eco.venue.ledger, np.array([one])) == pytest.approx([0.8 * 0.65 * 10.0 * index])
    assert np.asarray(eco.venue.lent(eco.venue.ledger))[OUTSIDE] == 0.0


def test_a_hedge_whose_contracts_lose_is_carried_by_its_coins_and_sold_without_that():
    # Short 10 against 10 coins, 5 % of their worth in cash; the index rises by a tenth, half of which the cash bears.
    def after(*haircuts: float) -> tuple[Ecosystem, int]:
        eco = opened(*haircuts)
        index = float(eco.venue.market.index[0])
        one, _ = hedged(eco, 10.5 * index, 10.0, -10.0)
        moved(eco, np.log(1.1))
        return eco, one

    carried, one = after(0.1)
    assert float(carried.venue.ledger.spot[0, one]) == 10.0
    assert float(carried.venue.ledger.equity(np.array([one]))[0]) < 0.0
    assert carried.venue.tally.margin_calls == 0
    called, one = after()
    assert 0.0 < float(called.venue.ledger.spot[0, one]) < 10.0
    assert called.venue.tally.margin_calls == 1
    for eco in (carried, called):
        assert eco.venue.tally.liquidations == 0
        eco.venue.ledger.check(1)


def test_collateral_that_falls_is_sold_on_a_margin_call_before_contracts_are_closed():
    # Long 10 contracts against 10 coins at a haircut of a half, maintenance 5 %: cash and half the coins, 0.2 + 5, bear a fall by x until
    # 0.2 + 5 (1 - x) - 10 x = 0.5 (1 - x), which is x = 0.324.
    eco = opened(0.5)
    index = float(eco.venue.market.index[0])
    one, _ = hedged(eco, 10.2 * index, 10.0, 10.0)
    moved(eco, np.log(0.70))
    assert float(eco.venue.ledger.spot[0, one]) == 10.0
    moved(eco, np.log(0.66 / 0.70))
    assert float(eco.venue.ledger.spot[0, one]) < 10.0
    assert float(eco.venue.ledger.position[0, one]) == 10.0
    assert eco.venue.tally.margin_calls == 1


def test_who_goes_bankrupt_has_no_coins_left():
    eco = opened(0.5)
    venue, ledger = eco.venue, eco.venue.ledger
    index = float(venue.market.index[0])
    one, _ = hedged(eco, 10.2 * index, 10.0, 20.0)
    moved(eco, np.log(0.5))
    assert float(ledger.spot[0, one]) == pytest.approx(0.0, abs=1e-9)
    assert venue.tally.deficits > 0.0
    assert float(ledger.cash[one]) == pytest.approx(0.0, abs=1e-6)
    assert ledger.status[one] == Status.BANKRUPT
    ledger.check(1)


def test_an_account_that_closes_below_zero_pays_with_its_coins():
    eco = opened(0.1)
    venue, ledger = eco.venue, eco.venue.ledger
    index = float(venue.market.index[0])
    one, other = hedged(eco, 10.5 * index, 10.0, -10.0)
    moved(eco, np.log(1.1))
    mark, fund = float(ledger.marks[0]), float(ledger.cash[FUND])
    ledger.trade(0, np.array([one]), np.array([10.0]), mark, np.array([other]), np.array([-10.0]), mark)
    owed = -float(ledger.cash[one])
    assert owed > 0.0
    moved(eco, 0.0)
    assert float(ledger.spot[0, one]) == pytest.approx(10.0 - owed / (1.1 * index), rel=1e-9)
    assert float(ledger.cash[one]) == pytest.approx(0.0, abs=1e-6)
    assert (venue.tally.deficits, float(ledger.cash[FUND])) == (0.0, fund)


def test_funding_is_paid_out_of_what_coins_count_for():
    eco = opened(0.1)
    venue, ledger = eco.venue, eco.venue.ledger
    one, other = hedged(eco, 1e6, 10.0, -1.0)
    ledger.transfer(Flow.WITHDRAWAL, one, OUTSIDE, float(ledger.equity(np.array([one]))[0]) + 1e4)
    due: np.ndarray[Any, np.dtype[np.float64]] = np.zeros(ledger.rows)
    due[one], due[other] = 100.0, -100.0
    assert venue.collect(Flow.FUNDING, due)[one] == 100.0
    ledger.check(1)
