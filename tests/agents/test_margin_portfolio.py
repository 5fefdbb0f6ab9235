"""Scenario tables, netting and add-ons, against published examples and worked numbers."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.margin import Margin, MarginView
from agents.clearinghouse.margin_portfolio import TABLES, AddOns, PortfolioScenarios, Shift
from agents.clearinghouse.margin_size import OpenInterestScaled, SkewImpact, SquareRootPremium


def asked(rule: Any, *usd: float, marks: float = 100.0, interest: float = 0.0, **view: Any) -> Margin:
    """Margin of an account with these USD, a market each."""
    column, at = np.array(usd)[:, None], np.full(len(usd), marks)
    here = MarginView(column / marks, np.abs(column), at, open_interest=np.full(len(usd), interest), **view)
    return rule.rule(here, rule.initial_state(), None)[0]


def scenarios(**settings: Any) -> PortfolioScenarios:
    return PortfolioScenarios(PortfolioScenarios.Parameters(**{"provision": 0.0, **settings}))


def test_paradexs_table_of_24() -> None:
    table = TABLES["paradex_eth"]
    assert len(table) == 24
    assert sorted({shift.spot for shift in table[:16]}) == pytest.approx([-0.16, -0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12, 0.16])
    assert [shift.volatility for shift in table[:16]].count(-0.22) == 7
    assert (table[16].spot, table[16].weight) == (-0.66, 0.1212)
    # Every move but the two ends comes under a rise and a fall of volatility; the ends under a rise.
    ends, between = table[:1] + table[15:16], table[1:15]
    assert [(shift.spot, shift.volatility > 0) for shift in ends] == [(pytest.approx(0.16), True), (pytest.approx(-0.16), True)]
    rises, falls = ([shift.spot for shift in between if (shift.volatility > 0) is up] for up in (True, False))
    assert rises == falls == pytest.approx([0.12, 0.08, 0.04, 0.0, -0.04, -0.08, -0.12])


def test_deribits_table_has_nine_buckets_three_volatilities_and_eight_far_moves() -> None:
    # Deribit, "portfolio margin": +-16 % in nine buckets under volatility up, same and down; -66 % to +500 % under volatility up.
    table = TABLES["deribit"]
    assert len(table) == 9 * 3 + 8
    assert sorted({shift.spot for shift in table[:27]}) == pytest.approx([0.04 * bucket for bucket in range(-4, 5)])
    assert sorted({np.sign(shift.volatility) for shift in table[:27]}) == [-1.0, 0.0, 1.0]
    assert [shift.spot for shift in table[27:]] == [-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0]
    # Weighted as in Paradex's first table: a long loses 16 %, a short of the same size 24 % x 50 % = 12 %, so that it too needs 16 %.
    for side in (1e6, -1e6):
        assert asked(scenarios(tables=("deribit",)), side).initial.item() == pytest.approx(160e3)


def test_a_perpetual_needs_the_span_of_its_table_and_half_of_it_to_be_kept() -> None:
    # BTC: 14 % either way; the tail of -66 % counts as 10.61 %, 7 % of notional.
    rule = scenarios(provision=5e-4)
    for side in (1e6, -1e6):
        margin = asked(rule, side)
        assert margin.initial.item() == pytest.approx(140_000.0 + 500.0)
        assert margin.by_market.item() == pytest.approx(70_000.0 + 500.0)


def test_markets_on_one_asset_net_and_are_charged_on_hedged_delta() -> None:
    # A perpetual against a future: no loss under any move; hedged delta 1m x 0.1 %.
    hedged = asked(scenarios(), 1e6, -1e6, assets=np.array([0, 0]), volatility=np.ones(1))
    assert hedged.initial.item() == pytest.approx(1000.0)
    # By market in proportion to what each would need alone: halves.
    assert hedged.by_market[:, 0].tolist() == pytest.approx([250.0, 250.0])
    assert asked(scenarios(netting="none"), 1e6, -1e6, assets=np.array([0, 0]), volatility=np.ones(1)).initial.item() == pytest.approx(
        280e3
    )


def test_paradexs_example_of_the_charge_on_deltas() -> None:
    # Long one perpetual, short five calls with a delta of 0.3, BTC at 70,000: (0.2 % x 0.5 + 0.1 % x 1.0) x 70,000 = 140 USD.
    def reprice(spot: np.ndarray, volatility: np.ndarray) -> np.ndarray:
        return 70_000.0 * spot[:, [0]] * np.array([1.0, 0.3])

    position = np.array([[1.0], [-5.0]])
    view = MarginView(
        position,
        np.array([[70e3], [350e3]]),
        np.array([70e3, 2e3]),
        np.full(2, 70e3),
        np.zeros(2, int),
        volatility=np.ones(1),
        reprice=reprice,
    )
    nothing = ((Shift(spot=0.0),),)
    margin, _ = scenarios(tables=nothing).rule(view, None, None)
    assert margin.initial.item() == pytest.approx(140.0)


def test_assets_net_only_where_the_rule_says_so() -> None:
    table = ((Shift(spot=-0.1), Shift(spot=0.2)),)
    assert asked(scenarios(tables=table, netting="all"), 1e6, -1e6).initial.item() == pytest.approx(2 * 2000.0)
    assert asked(scenarios(tables=table, netting="assets"), 1e6, -1e6).initial.item() == pytest.approx(1e5 + 2e5)


def test_concentration_grows_with_size_to_one_and_a_half() -> None:
    rule = scenarios(add_ons={"concentration": 0.02, "concentration_size": [1e6]})
    # At the reference size 2 %; at four times that, 2 % x 2 of four times as much.
    assert asked(rule, 1e6).initial.item() - 0.14e6 == pytest.approx(20_000.0)
    assert asked(rule, 4e6).initial.item() - 0.56e6 == pytest.approx(160_000.0)


def test_initial_margin_goes_to_all_of_the_notional_with_open_interest_and_maintenance_does_not() -> None:
    # dYdX: 10 % at 20m of open interest; half of the way to 50m it is 10 % + 90 % / 2; from 50m on all.
    rule = OpenInterestScaled()
    for interest, rate in ((0.0, 0.1), (20e6, 0.1), (35e6, 0.55), (50e6, 1.0), (90e6, 1.0)):
        margin = asked(rule, 1e6, interest=interest)
        assert (margin.initial.item(), margin.by_market.item()) == (pytest.approx(rate * 1e6), pytest.approx(5e4))
    # As an add-on of a portfolio rule the same: 14 % and half of the way to one.
    crowded = scenarios(add_ons={"interest_from": [20e6], "interest_to": [50e6]})
    margin = asked(crowded, 1e6, interest=35e6)
    assert (margin.initial.item(), margin.by_market.item()) == (pytest.approx(0.57e6), pytest.approx(0.07e6))


def test_drifts_premium_starts_where_it_exceeds_a_fifth_of_the_rate() -> None:
    # 3 %: 0.8 x 3 % + 0.1 % x sqrt(36 contracts) = 3 %; at 100 contracts 2.4 % + 1 %.
    rule = SquareRootPremium()
    assert asked(rule, 3600.0).by_market.item() == pytest.approx(0.03 * 3600.0)
    assert asked(rule, 10_000.0).by_market.item() == pytest.approx(0.034 * 10_000.0)
    assert asked(rule, 10_000.0).initial.item() == pytest.approx(0.05 * 10_000.0)


def test_synthetixs_margin_rises_with_size_over_skew_scale() -> None:
    # 1,000 contracts of a skew scale of 100,000: 1 % + 2 %; maintenance half; 50 USD for the position either way.
    margin = asked(SkewImpact(), 100_000.0)
    assert (margin.initial.item(), margin.by_market.item()) == (pytest.approx(3050.0), pytest.approx(1550.0))
    assert asked(SkewImpact(), 0.0).by_market.item() == 0.0


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: scenarios(tables=["nasdaq"]), "unknown table 'nasdaq', expected scenarios or one of paradex_btc"),
        (lambda: scenarios(tables=["deribit", "paradex_btc"]), "expected 35, as many for each asset"),
        (lambda: scenarios(tables=[[]]), "at least one"),
        (lambda: scenarios(hedged=[0.01], unhedged=[0.001]), "found 0.01, expected at most twice the unhedged charge, 0.002"),
        (lambda: Shift(spot=-1.0), "greater than -1"),
        (lambda: AddOns(interest_from=(1.0,)), "found 1 of them, expected 0, as many as of `interest_to`"),
        (lambda: AddOns(interest_from=(2.0,), interest_to=(1.0,)), "found 2, expected less than 1, the `interest_to` of its market"),
        (lambda: OpenInterestScaled.Parameters(lower=(5.0,), upper=(5.0,)), "found 5, expected less than 5, the `upper` of its market"),
        (lambda: OpenInterestScaled.Parameters(initial=(0.1,), maintenance=(0.2,)), "expected at most the initial rate"),
        (
            lambda: SquareRootPremium.Parameters(initial=(0.1,), maintenance=(0.1, 0.1)),
            "found 2 of them, expected 1, as many as initial rates",
        ),
    ],
)
def test_impossible_settings_are_refused(build: Any, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        build()
