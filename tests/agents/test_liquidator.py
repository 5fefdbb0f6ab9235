"""Liquidators: finite appetite, and a discount that rises with volatility and with what they hold."""

import numpy as np
import pytest

from agents.liquidator import Bids, LiquidatorParameters, LiquidatorView, bid, waiting

RULES = LiquidatorParameters(appetite=2.0, discount=0.004, volatility_loading=0.5, inventory_loading=0.01)


def bids(equity, gross, able=(True,), volatility=(0.0,)) -> Bids:
    return bid(RULES, LiquidatorView(np.array([equity]), np.array([gross]), np.array(able), np.array(volatility)))


def test_an_idle_liquidator_takes_twice_its_equity_at_its_base_discount() -> None:
    offer = bids(5e6, 0.0)
    assert (offer.capacity.item(), offer.discount.item()) == (10e6, 0.004)


def test_what_is_held_uses_capacity_up_and_raises_the_discount() -> None:
    # 7.5m of 10m used: 2.5m left, 0.4 % + 0.75 x 1 %.
    offer = bids(5e6, 7.5e6)
    assert (offer.capacity.item(), offer.discount.item()) == (2.5e6, pytest.approx(0.0115))
    assert bids(5e6, 50e6).capacity.item() == 0.0
    assert bids(5e6, 50e6).discount.item() == pytest.approx(0.014)


def test_the_discount_rises_with_hourly_volatility_market_by_market() -> None:
    # 93.59 % a year is 1 % an hour: half of it on top.
    offer = bids(5e6, 0.0, volatility=(0.0, 0.01 * np.sqrt(8760.0)))
    assert offer.discount[:, 0].tolist() == pytest.approx([0.004, 0.009])


def test_who_is_liquidated_or_below_zero_takes_nothing() -> None:
    assert bids(5e6, 0.0, able=(False,)).capacity.item() == 0.0
    assert bids(-5e6, 1e6).capacity.item() == 0.0


def test_however_wild_the_market_nobody_asks_more_than_half_of_mark() -> None:
    # 9,359 % a year is 100 % an hour: 0.4 % + 50 % would be asked.
    assert bids(5e6, 0.0, volatility=(np.sqrt(8760.0),)).discount.item() == 0.5


ONE_PER_CENT_AN_HOUR = 0.01 * np.sqrt(8760.0)


def waits(*capacity, discount=0.02, queue=10.0, anticipation=1.0, premium=0.0, volatility=ONE_PER_CENT_AN_HOUR) -> list[bool]:
    rules = RULES.model_copy(update={"anticipation": anticipation})
    return waiting(rules, np.array(capacity), np.full(len(capacity), discount), queue, volatility, premium).tolist()


def test_a_lone_liquidator_waits_for_a_discount_that_rises() -> None:
    # A queue of 10 where 20 would be taken: 2 % are expected to become 2.5 %, of the same 10. No premium below 0.5 % keeps it from waiting.
    assert waits(20.0) == [True]
    assert waits(20.0, premium=0.0049) == [True]
    assert waits(20.0, premium=0.0051) == [False]
    assert waits(20.0, volatility=0.0) == [False]


def test_nobody_waits_for_what_others_take_meanwhile() -> None:
    # Another takes 8 of the 10: 2 are left to who waits, at 3 % at most, where 8 could be had at 2 %.
    assert waits(8.0, 8.0, anticipation=1.6) == [False, False]
    # Of a queue of 20 nothing is lost by waiting: 8 at 2 % now, or 8 at 2 % + 1 % x 20 / 16.
    assert waits(8.0, 8.0, queue=20.0) == [True, True]
    assert waits(8.0, 8.0, queue=20.0, premium=0.0126) == [False, False]


def test_nobody_waits_for_more_than_is_ever_asked_or_without_anticipation() -> None:
    assert waits(20.0, discount=0.5) == [False]
    assert waits(20.0, anticipation=0.0) == [False]
    assert waits(0.0) == [False]
