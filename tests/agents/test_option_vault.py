"""What an option vault sells and how it hedges, by hand."""

from dataclasses import replace

import numpy as np
import pytest

from agents.contracts import Contracts
from agents.option_vault import BookView, OptionVaultParameters, Steady, VariancePremium, hedges, sales

CALM = 1.0
"""Implied over realised volatility of a perpetual, which has none."""


def contracts(call: float = 1.2, put: float = 1.2, days: float = 7.0) -> Contracts:
    """A perpetual, a call and a put on one underlying, at these richnesses; deltas of 0.5 and -0.4."""
    kinds = np.eye(3, dtype=bool)
    return Contracts(
        asset=np.zeros(3, dtype=np.intp),
        linear=kinds[0],
        inverse=np.zeros(3, dtype=bool),
        call=kinds[1],
        put=kinds[2],
        days=np.array([np.inf, days, days]),
        carry=np.zeros(3),
        price=np.zeros(3),
        richness=np.array([CALM, call, put]),
        delta=np.array([1.0, 0.5, -0.4]),
    )


def book(*position: float, equity: float = 1e6, hours: float = 1.0) -> BookView:
    """A vault's book: a contract's notional is 100 USD, an option's vega 5 USD."""
    return BookView(equity, np.array(position), np.full(3, 100.0), np.array([0.0, 5.0, 5.0]), contracts(), hours)


def parts(rule, seen):
    return rule.rule(seen, None, None)[0].tolist()


def test_capacity_is_divided_over_the_options_that_are_rich_enough():
    rule = VariancePremium(VariancePremium.Parameters(threshold=0.1, share=0.8))
    assert parts(rule, contracts(call=1.2, put=1.2)) == [0.0, 0.4, 0.4]
    assert parts(rule, contracts(call=1.09, put=1.2)) == [0.0, 0.0, 0.4]
    assert parts(rule, contracts(call=1.1, put=0.9)) == [0.0, pytest.approx(0.4), 0.0]


def test_who_sells_steadily_asks_for_no_premium_but_for_a_life_worth_selling():
    rule = Steady(Steady.Parameters(sells=("put",)))
    assert parts(rule, contracts(put=0.5)) == [0.0, 0.0, 1.0]
    assert parts(rule, contracts(days=0.9)) == [0.0, 0.0, 0.0]


def test_it_sells_some_of_what_is_lacking_to_the_lesser_of_its_limits():
    # Half of capacity: 2 x 0.5m USD are 10,000 contracts by notional; 0.5 x 0.5m USD of vega are 50,000 by vega.
    p = OptionVaultParameters(notional_limit=2.0, vega_limit=0.5, pace=np.log(2.0))
    assert sales(p, book(0.0, 0.0, 0.0), np.array([0.0, 0.5, 0.0])).tolist() == pytest.approx([0.0, -5_000.0, 0.0])
    assert sales(p, book(0.0, -4_000.0, 0.0), np.array([0.0, 0.5, 0.0])).tolist() == pytest.approx([0.0, -3_000.0, 0.0])
    # A vega limit of 0.02: 0.02 x 0.5m / 5 are 2,000 contracts.
    tight = p.model_copy(update={"vega_limit": 0.02})
    assert sales(tight, book(0.0, 0.0, 0.0), np.array([0.0, 0.5, 0.0])).tolist() == pytest.approx([0.0, -1_000.0, 0.0])


def test_what_it_has_sold_it_holds_and_without_equity_it_sells_nothing():
    p = OptionVaultParameters()
    assert not sales(p, book(0.0, -50_000.0, -50_000.0), np.array([0.0, 0.5, 0.0])).any()
    assert not sales(p, book(0.0, 0.0, 0.0, equity=-1.0), np.array([0.0, 0.5, 0.5])).any()


def test_the_hedge_is_the_options_delta_in_perpetuals():
    # Short of 10 calls of delta 0.5 and of 5 puts of delta -0.4: five contracts long for the calls, two short for the puts.
    p = OptionVaultParameters(band=0.0)
    position = np.array([1.0, -10.0, -5.0])
    assert hedges(p, book(*position), position).tolist() == pytest.approx([2.0])
    half = p.model_copy(update={"hedge": 0.5})
    assert hedges(half, book(*position), position).tolist() == pytest.approx([0.5])


def test_within_the_band_the_hedge_is_left_alone_and_without_options_it_is_closed():
    # 15 contracts of options are 1,500 USD of notional: up to 10 % of it, 150 USD or 1.5 contracts, may be unhedged.
    p = OptionVaultParameters(band=0.1)
    assert hedges(p, book(1.5, -10.0, -5.0), np.array([1.5, -10.0, -5.0])).tolist() == [0.0]
    assert hedges(p, book(1.4, -10.0, -5.0), np.array([1.4, -10.0, -5.0])).tolist() == pytest.approx([1.6])
    assert hedges(p, book(1.4, 0.0, 0.0), np.array([1.4, 0.0, 0.0])).tolist() == pytest.approx([-1.4])


def test_what_an_option_too_near_its_end_is_not_sold_of_no_other_option_is_sold_for_it():
    rule = Steady(Steady.Parameters(least_days=1.0))
    assert parts(rule, contracts(days=1.0)) == [0.0, 0.5, 0.5]  # a day is enough
    assert parts(rule, replace(contracts(), days=np.array([np.inf, 7.0, 0.5]))) == [0.0, 0.5, 0.0]


def test_a_premium_of_just_the_threshold_is_enough():
    rule = VariancePremium(VariancePremium.Parameters(threshold=0.25))
    assert parts(rule, contracts(call=1.25, put=1.2)) == [0.0, 0.5, 0.0]
