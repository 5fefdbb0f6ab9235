"""Back-tests of margin rules: what is set against what, and what holds whatever prices do."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.clearinghouse.margin import FixedLeverage
from agents.clearinghouse.margin_history import Historical
from experiments import backtest, coverage
from experiments.backtest import Prices, Procyclicality, hold, margin_of, statistics
from model.errors import ScenarioError

BTC = Path(os.environ.get("BACKSTOP_DATA", Path(__file__).parents[3] / "shared" / "data")) / "btcusdt_1d.csv"


def daily(*close: float) -> Prices:
    return Prices(("BTC",), np.array(close)[:, None], 24.0)


def walked(seed: int, days: int = 160) -> Prices:
    """Daily prices whose volatility jumps about."""
    rng = np.random.default_rng(seed)
    sd = np.repeat(10.0 ** rng.uniform(-3.0, -1.0, days // 20), 20)
    return Prices(("BTC",), np.exp(np.cumsum(sd * rng.standard_t(4, sd.size)))[:, None], 24.0)


def test_margin_set_at_a_close_is_held_against_the_loss_after_it() -> None:
    held = hold(FixedLeverage.Parameters(initial=0.1, maintenance=0.05), daily(100.0, 80.0, 100.0, 99.0))
    assert held["long"].margin.tolist() == [0.1] * 3
    assert held["long"].loss.tolist() == pytest.approx([0.2, -0.25, 0.01])
    assert held["short"].loss.tolist() == pytest.approx([-0.2, 0.25, -0.01])
    # One exception of three, long: the fall by a fifth.
    found = statistics(FixedLeverage.Parameters(initial=0.1, maintenance=0.05), daily(100.0, 80.0, 100.0, 99.0), held)
    long = found[found["side"] == "long"].set_index("statistic")["value"]
    assert (long["exceptions"], long["coverage"], long["peak_to_trough"]) == (1.0, pytest.approx(2 / 3), 1.0)


def test_what_was_assumed_is_not_scored_and_margin_does_not_see_the_loss_that_it_is_held_against() -> None:
    # Look-back 10 at 90 %: one result lies beyond, so that margin is the second largest fall of the ten days before.
    falls = [0.01, 0.05, 0.02, 0.04, 0.03, 0.01, 0.02, 0.01, 0.02, 0.01, 0.2, 0.06]
    prices = daily(*np.concatenate(([1.0], np.cumprod(1.0 - np.array(falls)))))
    held = hold(Historical.Parameters(look_back=10, confidence=0.9, minimum=0.0), prices)["long"]
    assert held.row.tolist() == [10, 11]
    assert held.margin.tolist() == pytest.approx([0.04, 0.05])
    assert held.loss.tolist() == pytest.approx([0.2, 0.06])


def test_longer_periods_of_risk_do_not_overlap() -> None:
    parameters = Historical.Parameters(look_back=10, confidence=0.9, period=72.0)
    held = hold(parameters, walked(0, 40))["long"]
    assert held.row.tolist() == list(range(10, 37, 3))


@given(
    st.integers(0, 10_000),
    st.sampled_from(["ewma", "historical", "filtered_historical"]),
    st.floats(0.01, 3.0),
    st.sampled_from([0.0, 0.25]),
)
@settings(max_examples=40, deadline=None)
def test_a_floored_rule_is_never_more_procyclical_than_itself_unfloored(seed: int, rule: str, long: float, buffer: float) -> None:
    # A constant floor F: max(M, F) peaks at max(max M, F), its trough is max(min M, F), and their ratio is at most max M / min M.
    ratio = {}
    for floor in (False, True):
        tools = f"{{floor: {str(floor).lower()}, buffer: {buffer}, long_volatility: [{long}]}}"
        text = f"{{type: {rule}, look_back: 20, confidence: 0.9, anti_procyclicality: {tools}}}"
        ratio[floor] = [coverage.peak_to_trough(one.daily) for one in hold(margin_of(text), walked(seed)).values()]
    assert all(floored <= plain * (1.0 + 1e-12) for floored, plain in zip(ratio[True], ratio[False], strict=True))


def test_normal_losses_are_covered_as_often_as_the_rule_says() -> None:
    rng = np.random.default_rng(1)
    prices = Prices(("BTC",), np.exp(np.cumsum(0.02 * rng.standard_normal(1500)))[:, None], 24.0)
    parameters = margin_of("{type: historical, look_back: 500, confidence: 0.95}")
    found = statistics(parameters, prices, hold(parameters, prices)).set_index(["side", "statistic"])
    for side in ("long", "short"):
        assert found.loc[(side, "kupiec"), "p_value"] > 0.01
        assert found.loc[(side, "z2"), "value"] > found.loc[(side, "z2_critical_normal"), "value"]


@pytest.mark.skipif(not BTC.exists(), reason="daily BTC prices are not here: set BACKSTOP_DATA to the folder that holds btcusdt_1d.csv")
def test_the_floor_lowers_procyclicality_on_bitcoins_prices() -> None:
    # Only the theorem is asserted: the order published for equities need not hold for Bitcoin.
    found = Procyclicality.on(backtest.from_files([str(BTC)], ["BTC"])).found
    assert found["floored ewma"] <= found["ewma"]
    assert set(found) == {name for name, _ in Procyclicality.published}
    assert min(found.values()) > 1.0


def test_the_command_prints_a_table_and_writes_numbers_and_a_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    close = walked(3, 80).close[:, 0]
    times = pd.date_range("2024-01-01", periods=close.size, freq="D").strftime("%Y-%m-%dT%H:%M:%S")
    file = tmp_path / "btc.csv"
    pd.DataFrame({"timestamp": times, **dict.fromkeys(("open", "high", "low", "close"), close)}).to_csv(file, index=False)
    rules = ["tiered", "{type: ewma, look_back: 20, confidence: 0.9}"]
    backtest.main(prices=[str(file)], margin=rules, out=tmp_path / "out")
    said = capsys.readouterr().out
    assert "kupiec" in said
    assert "peak_to_trough" in said
    table = pd.read_csv(tmp_path / "out" / "statistics.csv")
    assert list(table.columns) == ["side", "statistic", "value", "p_value", "rule"]
    assert set(table["rule"]) == set(rules)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "statistics.csv",
        "margin.csv",
        "margin.pdf",
        "margin.png",
        "margin.svg",
    }


def test_too_few_prices_and_both_sources_are_refused() -> None:
    with pytest.raises(ScenarioError, match="at least 368 for historical"):
        hold(margin_of("historical"), daily(1.0, 2.0, 3.0))
    with pytest.raises(ScenarioError, match="a run's folder or --prices"):
        backtest.main()
    with pytest.raises(ScenarioError, match="expected one of"):
        margin_of("ewmaa")
