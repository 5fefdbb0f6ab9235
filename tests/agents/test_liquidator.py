"""Liquidators: finite appetite, and a discount that rises with volatility and with what they hold."""

import numpy as np
import pytest

from agents.liquidator import Bids, LiquidatorParameters, LiquidatorView, bid

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
