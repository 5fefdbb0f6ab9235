"""Margin that learns from prices, against worked numbers."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.margin import Margin, MarginView, MarketSeen
from agents.clearinghouse.margin_history import (
    Ewma,
    FilteredHistorical,
    Historical,
    HistoryRule,
    buffered,
    expected_shortfall,
    floored,
    normal_multiple,
    stressed,
    tail,
    value_at_risk,
)
from agents.clock import HOURS_PER_YEAR

BARE: dict[str, Any] = {"minimum": 0.0, "maintenance": 1.0}


def fed(rule: HistoryRule, *returns: float | tuple[float, ...], sd: float = 0.01, hours: float = 24.0) -> Any:
    """The state after these daily log returns, opened at a daily standard deviation."""
    assets = len(np.atleast_1d(returns[0])) if returns else 1
    state = rule.opened(MarketSeen(0.0, np.zeros(assets), np.full(assets, sd * np.sqrt(HOURS_PER_YEAR / 24.0))))
    for seen in returns:
        state = rule.observe(MarketSeen(hours, np.atleast_1d(np.array(seen)), np.ones(assets)), state)
    return state


def asked(rule: HistoryRule, state: Any, *usd: float) -> Margin:
    """Margin of an account with these USD in markets at 100, one an asset."""
    column, marks = np.array(usd)[:, None], np.full(len(usd), 100.0)
    return rule.rule(MarginView(column / 100.0, np.abs(column), marks, volatility=np.ones(len(usd))), state, None)[0]


def test_normal_constants() -> None:
    assert normal_multiple("value_at_risk", 0.99) == pytest.approx(2.3263478740408408, rel=1e-12)
    assert normal_multiple("value_at_risk", 0.995) == pytest.approx(2.5758293035489004, rel=1e-12)
    assert normal_multiple("expected_shortfall", 0.975) == pytest.approx(2.337802792201415, rel=1e-12)
    assert normal_multiple("expected_shortfall", 0.99) == pytest.approx(2.665214220345808, rel=1e-12)


def test_one_day_of_ten_per_cent_after_steady_ones_multiplies_ewma_margin_by_2_634() -> None:
    # sqrt(0.94 + 0.06 x 100); the margin before is 2.326 x 1 % of what is held.
    rule = Ewma(Ewma.Parameters(**BARE))
    calm, after = fed(rule, 0.01, -0.01, 0.01), fed(rule, 0.01, -0.01, 0.01, -0.10)
    before = asked(rule, calm, 1e6).initial.item()
    assert before == pytest.approx(1e4 * 2.3263478740408408, rel=1e-9)
    assert asked(rule, after, 1e6).initial.item() / before == pytest.approx(2.634387974463898, rel=1e-9)


def test_ewma_nets_what_moves_together_and_adds_what_does_not_net() -> None:
    # Two assets that have moved alike for long: long against short needs nothing, long and long twice as much as one.
    same = [(0.01, 0.01), (-0.01, -0.01)] * 400
    rule, apart = Ewma(Ewma.Parameters(**BARE)), Ewma(Ewma.Parameters(**BARE, netting="none"))
    state = fed(rule, *same)
    one = asked(rule, state, 1e6, 0.0).initial.item()
    assert asked(rule, state, 1e6, -1e6).initial.item() == pytest.approx(0.0, abs=1e-3 * one)
    assert asked(rule, state, 1e6, 1e6).initial.item() == pytest.approx(2.0 * one, rel=1e-9)
    assert asked(apart, state, 1e6, -1e6).initial.item() == pytest.approx(2.0 * one, rel=1e-9)


def test_quantile_and_shortfall_of_ten_results() -> None:
    # Losses 10, 9, ..., 1. At 85 %, one and a half results lie beyond: the quantile is the second largest loss, and the mean beyond it
    # (10 + 9 / 2) / 1.5 = 9.6667.
    gains = -np.arange(1.0, 11.0)[:, None]
    assert tail(10, 0.85) == (1, 0.5)
    assert tail(100, 0.99) == (1, 0.0)
    assert value_at_risk(gains, 0.85).item() == 9.0
    assert expected_shortfall(gains, 0.85).item() == pytest.approx(29.0 / 3.0)
    assert value_at_risk(-gains, 0.85).item() == expected_shortfall(-gains, 0.85).item() == 0.0


def test_historical_margin_is_the_worst_but_some_of_the_look_back_and_forgets_what_was_assumed() -> None:
    # Twenty days: falls of 1 % to 20 %, at 90 % two lie beyond: the third largest fall, as a simple return.
    rule = Historical(Historical.Parameters(**BARE, look_back=20, confidence=0.9))
    state = fed(rule, *(-0.01 * day for day in range(1, 21)))
    assert asked(rule, state, 1e6).initial.item() == pytest.approx(-1e6 * np.expm1(-0.18), rel=1e-12)
    # A short loses nothing when all days fall.
    assert asked(rule, state, -1e6).initial.item() == 0.0
    # Twice the margin period of risk: the root of two.
    longer = Historical(Historical.Parameters(**BARE, look_back=20, confidence=0.9, period=48.0))
    assert asked(longer, state, 1e6).initial.item() == pytest.approx(-1e6 * np.expm1(-0.18 * np.sqrt(2.0)), rel=1e-12)


def test_filtered_returns_are_rescaled_to_the_volatility_of_today() -> None:
    # After a turbulent day filtered margin rises with the volatility estimate; plain history barely moves.
    settings = {**BARE, "look_back": 100, "confidence": 0.95}
    plain, filtered = Historical(Historical.Parameters(**settings)), FilteredHistorical(FilteredHistorical.Parameters(**settings))
    days = [0.01, -0.01] * 60
    ratio = {}
    for rule in (plain, filtered):
        calm, after = fed(rule, *days), fed(rule, *days, -0.10)
        ratio[rule.name] = asked(rule, after, -1e6).initial.item() / asked(rule, calm, -1e6).initial.item()
    assert ratio["historical"] == pytest.approx(1.0, rel=1e-9)
    # Every standardised return is 1 or -1 times 1 %: exp(2.634 %) - 1 over exp(1 %) - 1.
    assert ratio["filtered_historical"] == pytest.approx(np.expm1(0.02634387974463898) / np.expm1(0.01), rel=1e-3)


def test_steps_make_bars_and_long_steps_are_scaled_to_a_bar() -> None:
    rule = Historical(Historical.Parameters(**BARE, look_back=20, confidence=0.9))
    hourly = fed(rule, *[0.001] * 47, hours=1.0)
    assert hourly.returns[-1].item() == pytest.approx(0.024)
    assert (hourly.open_returns.item(), hourly.open_hours) == (pytest.approx(0.023), 23.0)
    # Two days in one step: over the root of two.
    assert fed(rule, 0.04, hours=48.0).returns[-1].item() == pytest.approx(0.04 / np.sqrt(2.0))


def test_an_exchange_without_history_assumes_normal_returns_at_opening_volatility() -> None:
    rule = Historical(Historical.Parameters(**BARE, look_back=5000))
    state = fed(rule, sd=0.02)
    assert asked(rule, state, 1e6).initial.item() == pytest.approx(-1e6 * np.expm1(-0.02 * 2.3263), rel=0.02)
    both = Historical(Historical.Parameters(**BARE, look_back=5000)).opened(MarketSeen(0.0, np.zeros(2), np.ones(2)))
    assert np.corrcoef(both.returns.T)[0, 1] == pytest.approx(0.7, abs=0.02)


# -- against procyclicality -------------------------------------------------------------------------------------------------------------


def test_emirs_three_tools_on_one_margin() -> None:
    # Margin 8, under stress 20, over ten years 10: 1.25 x 8 = 10; 0.75 x 8 + 0.25 x 20 = 11; 10.
    margin, stress, long = np.array([8.0]), np.array([20.0]), np.array([10.0])
    assert buffered(margin, long, 0.25).item() == 10.0
    assert stressed(margin, stress, 0.25).item() == 11.0
    assert floored(margin, long).item() == 10.0


def test_the_buffer_is_used_up_as_margin_rises() -> None:
    # Calm up to 10: 1.25 m; then 12.5 stands while margin rises through it; beyond, margin.
    margin = np.array([4.0, 10.0, 11.0, 12.5, 14.0])
    assert buffered(margin, np.full(5, 10.0), 0.25).tolist() == [5.0, 12.5, 12.5, 12.5, 14.0]


@pytest.mark.parametrize("rule", [Ewma, Historical, FilteredHistorical])
def test_each_tool_does_in_a_rule_what_it_says(rule: type[HistoryRule]) -> None:
    # A daily deviation of 1 %; over ten years 2 %, so that the floor is 2.326 x 2 %; stress 30 %.
    long = 0.02 * np.sqrt(HOURS_PER_YEAR / 24.0)
    state = None
    found = {}
    for name, tools in {"none": {}, "weight": {"stress_weight": 0.25}, "buffer": {"buffer": 0.25}, "floor": {"floor": True}}.items():
        given = {**tools, "long_volatility": [long], "stress_move": [0.3]}
        one = rule(rule.Parameters(**BARE, look_back=1000, anti_procyclicality=given))  # type: ignore[call-arg]
        state = fed(one) if state is None else state
        found[name] = asked(one, state, 1e6).initial.item()
    assert found["weight"] == pytest.approx(0.75 * found["none"] + 0.25 * 3e5, rel=1e-9)
    assert found["buffer"] == pytest.approx(1.25 * found["none"], rel=1e-9)
    assert found["floor"] == pytest.approx(2e4 * 2.3263478740408408, rel=1e-9)
    assert found["none"] < found["floor"]


def test_a_tail_without_an_observation_is_refused() -> None:
    with pytest.raises(ValidationError, match="no observation beyond the quantile, expected at least 200 bars"):
        Historical.Parameters(confidence=0.995, look_back=150)


def test_margin_is_a_number_whatever_prices_have_done() -> None:
    # A price times e^400 on each of twenty days, and e^800 over a margin period of four, is beyond what a number can say: e^50 is asked.
    rule = Historical(Historical.Parameters(**BARE, look_back=20, confidence=0.9, period=96.0))
    with np.errstate(over="raise", invalid="raise"):
        margin = asked(rule, fed(rule, *[400.0] * 20), -1e6)
    assert margin.initial.item() == pytest.approx(1e6 * np.expm1(50.0))
