"""Margin rules against the venues' published schedules and worked examples."""

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.margin import PRESETS, FixedLeverage, LinearRamp, Margin, MarginRule, MarginView, Tiered


def required(rule: MarginRule, *notional: float, marks: tuple[float, ...] | None = None) -> Margin:
    """Margin of one account with these notionals, one a market."""
    column = np.array(notional)[:, None]
    at = np.ones(len(notional)) if marks is None else np.array(marks)
    position = np.divide(column, at[:, None], out=np.zeros_like(column), where=at[:, None] > 0.0)
    return rule.rule(MarginView(position, column, at), rule.initial_state(), None)[0]


def tiered(*schedules, **settings) -> Tiered:
    return Tiered(Tiered.Parameters(schedules=schedules, **settings))


def test_margin_is_continuous_across_a_tier_of_hyperliquid() -> None:
    # BTC: 40x up to 150m USD, 20x above; maintenance is half of initial: 1.25 % and 2.5 %, deduction 150m x 1.25 % = 1.875m.
    rule = tiered("hyperliquid_btc")
    for notional, maintenance in ((100e6, 1.25e6), (150e6, 1.875e6), (150e6 + 1.0, 1.875e6 + 0.025), (200e6, 200e6 * 0.025 - 1.875e6)):
        margin = required(rule, notional)
        assert margin.by_market.item() == pytest.approx(maintenance, rel=1e-12)
        assert margin.initial.item() == pytest.approx(2.0 * maintenance, rel=1e-12)


@pytest.mark.parametrize(
    ("notional", "rate", "amount"),
    [  # Binance BTCUSDT, March 2021: bracket, maintenance rate, "maintenance amount" deducted
        (30e3, 0.004, 0.0),
        (200e3, 0.005, 50.0),
        (900e3, 0.01, 1_300.0),
        (9e6, 0.025, 16_300.0),
        (15e6, 0.05, 266_300.0),
        (40e6, 0.10, 1_266_300.0),
        (90e6, 0.125, 2_516_300.0),
        (150e6, 0.15, 5_016_300.0),
        (250e6, 0.25, 25_016_300.0),
        (400e6, 0.50, 100_016_300.0),
    ],
)
def test_deductions_are_binances_published_maintenance_amounts(notional: float, rate: float, amount: float) -> None:
    assert required(tiered("binance_btc_2021"), notional).by_market.item() == pytest.approx(notional * rate - amount, rel=1e-12)


def test_deribits_rates_rise_with_size_in_the_underlying() -> None:
    # 100 BTC at 50,000: maintenance 1 % + 100 x 0.005 % = 1.5 %, initial 2.5 % of 5m USD; never beyond all of it.
    rule = LinearRamp()
    margin = required(rule, 5e6, marks=(50_000.0,))
    assert (margin.by_market.item(), margin.initial.item()) == (pytest.approx(75e3), pytest.approx(125e3))
    assert required(rule, 50_000.0 * 1e6, marks=(50_000.0,)).by_market.item() == pytest.approx(50_000.0 * 1e6)
    assert required(rule, 0.0, marks=(0.0,)).initial.item() == 0.0


def test_the_price_at_which_dydx_liquidates_is_where_equity_meets_maintenance() -> None:
    # Equity 1,000 USD, short 3 at 3,000, 5 %: p' = 10,000 / 3.15 = 3,174.60.
    rule = FixedLeverage(FixedLeverage.Parameters(initial=0.1, maintenance=0.05))
    price = 10_000.0 / 3.15
    assert required(rule, 3.0 * price, marks=(price,)).by_market.item() == pytest.approx(1000.0 - 3.0 * (price - 3000.0))


def test_ftxs_example_is_liquidated_after_a_fall_of_a_sixth() -> None:
    # Long 5m USD on 1m of collateral, maintenance 4 %: (1 - 5x) / (5 (1 - x)) = 4 % at x = 0.8 / 4.8 (the chart says 16.5 %).
    rule = FixedLeverage(FixedLeverage.Parameters(initial=0.1, maintenance=0.04))
    fall = 0.8 / 4.8
    assert fall == pytest.approx(0.165, abs=0.002)
    assert required(rule, 5e6 * (1.0 - fall)).by_market.item() == pytest.approx(1e6 - 5e6 * fall)


def test_markets_add_up_and_the_last_schedule_serves_further_ones() -> None:
    # dYdX: 3 % of 1,000, 5 % of 2,000, 5 % of 4,000.
    margin = required(tiered("dydx_large", "dydx_mid"), 1000.0, 2000.0, 4000.0)
    assert margin.by_market[:, 0].tolist() == pytest.approx([30.0, 100.0, 200.0])
    assert margin.initial.item() == pytest.approx(50.0 + 200.0 + 400.0)


def test_a_leverage_cap_raises_initial_and_leaves_maintenance() -> None:
    margin = required(tiered("hyperliquid_btc", leverage_cap=10.0), 1e6)
    assert (margin.initial.item(), margin.by_market.item()) == (100e3, 12.5e3)
    # A cap above the tier's leverage does nothing.
    assert required(tiered("hyperliquid_btc", leverage_cap=100.0), 1e6).initial.item() == 25e3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedules": ["nasdaq"]}, "unknown preset 'nasdaq', expected tiers or one of hyperliquid_btc"),
        ({"schedules": [[{"notional": 5, "initial": 0.1, "maintenance": 0.1}]]}, "found 5, expected bounds that start at 0 and increase"),
        ({"schedules": [[]]}, "found no tiers, expected at least one"),
        (
            {"schedules": [[{"notional": 0, "initial": 0.2, "maintenance": 0.1}, {"notional": 5, "initial": 0.1, "maintenance": 0.1}]]},
            "expected rates that do not fall with notional",
        ),
        (
            {"schedules": [[{"notional": 0, "initial": 0.1, "maintenance": 0.2}]]},
            "found 0.2, expected at most the initial rate of the tier, 0.1",
        ),
        ({"leverage_cap": 0.5}, "greater than or equal to 1"),
    ],
)
def test_impossible_tiers_are_refused(settings, message) -> None:
    with pytest.raises(ValidationError, match=message):
        Tiered.Parameters(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"initial": [0.1], "maintenance": [0.1, 0.2], "slope": [0.0]}, "found 2 of them, expected 1, as many as initial rates"),
        ({"initial": [0.1], "maintenance": [0.2], "slope": [0.0]}, "found 0.2, expected at most the initial rate of the market, 0.1"),
        ({"initial": [0.1], "maintenance": [0.05], "slope": [-1.0]}, "greater than or equal to 0"),
    ],
)
def test_impossible_ramps_are_refused(settings, message) -> None:
    with pytest.raises(ValidationError, match=message):
        LinearRamp.Parameters(**settings)


def test_maintenance_above_initial_is_refused() -> None:
    with pytest.raises(ValidationError, match="expected at most the initial rate"):
        FixedLeverage.Parameters(initial=0.05, maintenance=0.1)


def test_every_preset_is_a_sound_schedule() -> None:
    for name in PRESETS:
        assert required(tiered(name), 1e9).initial.item() > 0.0
        assert Tiered.Parameters(schedules=(PRESETS[name],)).schedules[0] == PRESETS[name]


def test_a_ramp_counts_contracts_by_their_notional_whatever_they_are_worth() -> None:
    # 1,000 inverse contracts of a dollar each, carried at minus a dollar: 1 % and 1e-5 for each of them.
    rule = LinearRamp(LinearRamp.Parameters(initial=(0.02,), maintenance=(0.01,), slope=(1e-5,)))
    held = np.array([[1_000.0]])
    view = MarginView(held, held, np.array([-1.0]), np.array([1.0]), np.zeros(1, dtype=np.intp))
    assert rule.rule(view, None, None)[0].by_market.tolist() == [[pytest.approx(20.0)]]
