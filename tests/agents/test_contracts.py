from dataclasses import replace

import numpy as np
import pytest

from agents.contracts import Contracts, divide
from agents.trader import CallBuyer, Chartist, Protected, TraderView, VolatilitySeller

ASSET = np.array([0, 1, 0, 0, 0, 0])
"""Perpetuals on two underlyings; a future, two puts and a call on the first."""
LINEAR = np.array([True, True, True, False, False, False])
INVERSE = np.zeros(6, dtype=bool)
PUT = np.array([False, False, False, True, True, False])
CALL = np.array([False, False, False, False, False, True])


def contracts(carry: float = 0.0, price: float = 0.02, richness: float = 1.0) -> Contracts:
    option = ~LINEAR
    return Contracts(
        ASSET,
        LINEAR,
        INVERSE,
        CALL,
        PUT,
        np.array([np.inf, np.inf, 7.0, 30.0, 30.0, 30.0]),
        np.array([0.1, 0.3, 0.1 + carry, 0.0, 0.0, 0.0]),
        np.where(option, price, 1.0),
        np.where(option, richness, 1.0),
        np.ones(6),
    )


def view(listed: Contracts | None, luck: float = 0.0, trend: float = 0.0) -> TraderView:
    zero = np.zeros(2)
    return TraderView(zero, np.array([trend, 0.0]), zero, np.array([0.02, 0.02]), np.full((2, 1), luck), listed)


def test_longs_take_what_costs_least_and_shorts_what_pays_most():
    # The future carries 0.25 more, as much as the tolerance: e times as many shorts choose it, and e times as few longs.
    dearer = np.e / (1.0 + np.e)
    long = divide(np.array([[0.5], [0.2]]), contracts(carry=0.25), 0.25)
    short = divide(np.array([[-0.5], [-0.2]]), contracts(carry=0.25), 0.25)
    assert long[:, 0] == pytest.approx([0.5 * dearer, 0.2, 0.5 * (1.0 - dearer), 0.0, 0.0, 0.0])
    assert short[:, 0] == pytest.approx([-0.5 * (1.0 - dearer), -0.2, -0.5 * dearer, 0.0, 0.0, 0.0])


def test_who_has_dollars_trades_what_is_settled_in_dollars_and_who_has_coin_what_is_settled_in_it():
    listed, stance = replace(contracts(), inverse=PUT), np.array([[0.6], [0.4]])
    in_dollars, in_coin = divide(stance, listed, 0.25), divide(stance, listed, 0.25, in_coin=True)
    assert in_dollars[:, 0] == pytest.approx([0.3, 0.4, 0.3, 0.0, 0.0, 0.0])
    assert in_coin[:, 0] == pytest.approx([0.0, 0.0, 0.0, 0.3, 0.3, 0.0])  # on the second underlying nothing is


def test_a_view_is_neither_lost_nor_doubled_however_far_carries_are_apart():
    stances = np.array([[0.7, -0.3], [0.1, -0.9]])
    for carry in (-50.0, 0.0, 3.0):
        out = divide(stances, contracts(carry=carry), 0.01)
        assert out[0] + out[2] == pytest.approx(stances[0])
        assert out[1] == pytest.approx(stances[1])


def test_the_best_carry_is_that_of_the_contract_that_pays_most():
    assert contracts(carry=0.2).best_carry(2) == pytest.approx([0.3, 0.3])
    assert contracts(carry=-0.2).best_carry(2) == pytest.approx([0.1, 0.3])


def test_capacity_is_divided_over_the_contracts_of_a_kind_on_the_same_underlying():
    # A put on the second underlying is none of the two on the first.
    kinds = np.array([False, True, False, True, True, False])
    assert contracts().each(kinds) == pytest.approx([0.0, 1.0, 0.0, 0.5, 0.5, 0.0])


def test_holders_insure_everything_while_the_premium_is_within_their_budget():
    # Thirty days at 2 % of what is insured, budget 4 %: everything, over two puts; at 8 %, half of it.
    rule = Protected(Protected.Parameters(budget=0.04))
    cheap, _ = rule.rule(view(contracts(price=0.02)), None, None)
    dear, _ = rule.rule(view(contracts(price=0.08)), None, None)
    assert cheap[:, 0] == pytest.approx([0.0, 0.0, 0.0, 0.5, 0.5, 0.0])
    assert dear[:, 0] == pytest.approx([0.0, 0.0, 0.0, 0.25, 0.25, 0.0])


def test_call_buyers_want_more_calls_after_a_rise_and_never_fewer_than_none():
    # A rise of one daily standard deviation: 0.1 + 0.15.
    rule = CallBuyer(CallBuyer.Parameters(bias=0.1, reaction=0.15, noise=0.3))
    assert rule.rule(view(contracts(), trend=0.02), None, None)[0][:, 0] == pytest.approx([0, 0, 0, 0, 0, 0.25])
    assert rule.rule(view(contracts(), luck=-1.0), None, None)[0].any() == np.False_


def test_volatility_is_sold_while_it_is_dear_and_bought_back_when_it_is_not_or_nothing_is_left_to_earn():
    # Implied 1.25 times realised, saturation 0.5: half of capital, over three options.
    rule = VolatilitySeller(VolatilitySeller.Parameters(hurdle=0.0, saturation=0.5, least=0.001))
    assert rule.rule(view(contracts(richness=1.25)), None, None)[0][:, 0] == pytest.approx([0, 0, 0, -1 / 6, -1 / 6, -1 / 6])
    assert not rule.rule(view(contracts(richness=0.9)), None, None)[0].any()
    assert not rule.rule(view(contracts(richness=1.25, price=0.0005)), None, None)[0].any()


def test_large_positions_in_volatility_are_built_step_by_step():
    # From nothing towards half of capital over three options, a tenth of the way at a time: 0.1, then 0.19 of it.
    rule = VolatilitySeller(VolatilitySeller.Parameters(hurdle=0.0, saturation=0.5, pace=0.1))
    _, state = rule.rule(view(contracts(richness=1.0)), None, None)
    first, state = rule.rule(view(contracts(richness=1.25)), state, None)
    second, _ = rule.rule(view(contracts(richness=1.25)), state, None)
    assert first[3, 0] == pytest.approx(-0.1 / 6.0)
    assert second[3, 0] == pytest.approx(-0.19 / 6.0)


@pytest.mark.parametrize("rule", [Protected(), CallBuyer(), VolatilitySeller()])
def test_without_options_nobody_trades_them(rule: Protected):
    assert rule.rule(view(None), None, None)[0].tolist() == [[0.0], [0.0]]


def test_others_see_underlyings_and_not_contracts():
    assert Chartist().rule(view(contracts()), None, None)[0].shape == (2, 1)
