"""Margin against losses from close to close, with the arithmetic worked by hand."""

import math

import numpy as np
import pytest

from model.back_test import BackTest
from model.ecosystem import Ecosystem
from model.observables import of_venue
from model.scenario import Scenario
from tests.model.test_inverse import LONG, SHORT, Exchange
from tests.validation.handmade import FIRST, MAKER, Handmade, handmade

SMALL = Scenario.model_validate({"traders": {"groups": [{"count": 40, "equity": 4e7, "leverage": 8.0}]}})


@pytest.fixture
def two_longs() -> Handmade:
    """Longs of 40 and 5 at 100, a tenth of it asked: 400 and 50, and 450 of the maker on the other side; an account has none."""
    one = handmade([500.0, 1_000.0, 1_000.0], fund=1e4)
    one.position(FIRST, MAKER, 40.0, 100.0)
    one.position(FIRST + 1, MAKER, 5.0, 100.0)
    return one


def test_losses_at_marks_are_told_with_those_among_them_that_margin_did_not_cover(two_longs: Handmade) -> None:
    # A fall by 15 takes 600 of the one who has 500, for whom 400 was asked, and 75 of the other, for whom 50 was: 200 and 25 beyond.
    # That the first is liquidated on the way changes neither. The maker's gain of 675 is not taken off.
    test = BackTest(two_longs.venue)
    assert [test.required, test.variation, test.accounts] == pytest.approx([900.0, 0.0, 0])
    two_longs.move(85.0)
    test.walked(two_longs.venue)
    assert two_longs.held(FIRST, FIRST + 1) == [0.0, 5.0]
    assert test.variation == pytest.approx(675.0)
    assert (test.accounts, test.breaches) == (3, 2)
    assert [test.uncovered, test.largest] == pytest.approx([225.0, 200.0])
    # At the next close there is a long of 5 at 85, and the fund or the maker against it: what the exchange holds itself asks for nothing.
    test.close(two_longs.venue)
    assert test.required == pytest.approx(2 * 5.0 * 8.5)


def test_a_loss_as_large_as_margin_is_covered_and_a_rise_asks_the_other_side(two_longs: Handmade) -> None:
    test = BackTest(two_longs.venue)
    two_longs.move(90.0)
    test.walked(two_longs.venue)
    assert [test.variation, test.breaches, test.uncovered] == pytest.approx([450.0, 0, 0.0])
    test.close(two_longs.venue)
    two_longs.move(101.0)
    test.walked(two_longs.venue)
    # The first long was closed at 90, where it had 100 left and needed 180. Who is short of the other's 5 loses 55 and was asked for 45.
    assert test.variation == pytest.approx(11.0 * 5.0)
    assert [test.breaches, test.largest] == pytest.approx([1, 10.0])


def test_losses_in_one_market_are_netted_against_gains_in_another() -> None:
    one = handmade([1_000.0], prices=(100.0, 100.0))
    one.position(FIRST, MAKER, 10.0, 100.0)
    one.position(MAKER, FIRST, 4.0, 100.0, market=1)
    test = BackTest(one.venue)
    one.walk(np.log(np.array([[0.9], [0.95]])), np.zeros(1))
    test.walked(one.venue)
    # 10 a contract on ten, less 5 on each of four sold: 100 - 20.
    assert test.variation == pytest.approx(80.0)


def test_the_share_of_the_largest_five_is_of_positions_and_of_margin() -> None:
    one = handmade([1e5] * 6)
    for row, contracts in enumerate((1.0, 2.0, 3.0, 4.0, 5.0, 6.0)):
        one.position(FIRST + row, MAKER, contracts, 100.0)
    # The maker has 21, the largest four others 6, 5, 4 and 3: 39 of 42.
    test = BackTest(one.venue)
    assert [test.position_share, test.margin_share] == pytest.approx([39.0 / 42.0] * 2)
    nobody = BackTest(handmade([1.0]).venue)
    assert math.isnan(nobody.position_share)
    assert math.isnan(nobody.margin_share)
    assert nobody.required == 0.0


def test_what_is_settled_in_coin_loses_coins_at_the_rate_of_now() -> None:
    # A long of 1,000 dollars at 100: at 80 it has lost 1000 (1 / 80 - 1 / 100) = 2.5 coins, 200 dollars by then; its margin coins are
    # worth less too, but that is no variation margin. The short has gained as much.
    one = Exchange(100.0, (10.0, 10.0))
    one.buy(LONG, SHORT, 1_000.0)
    test = BackTest(one.venue)
    assert test.required == pytest.approx(200.0)
    one.move(80.0)
    test.walked(one.venue)
    assert test.variation == pytest.approx(200.0)


def test_the_outputs_are_those_of_the_test_and_begin_with_what_the_opening_asks() -> None:
    eco = Ecosystem(SMALL, rng=1)
    test, names = eco.places[0].back_test, [one.name for one in of_venue(SMALL, 0)]
    assert names[-8:-2] == ["initial_margin", "variation_margin", "margined_accounts", "margin_breaches", "uncovered", "uncovered_largest"]
    assert eco.observation["initial_margin"] == pytest.approx(test.required)
    assert [eco.observation[name] for name in names[-7:-2]] == [0.0] * 5
    holders = eco.venue.ledger.exposure[:, eco.venue.ledger.house :].any(axis=0).sum()
    eco.step()
    assert eco.observation["margined_accounts"] == holders
    assert eco.observation["variation_margin"] == test.variation > 0.0
    assert eco.observation["initial_margin"] == pytest.approx(eco.venue.margin_of(eco.venue.ledger, slice(None)).initial.sum())
