"""News: the law of generated paths, the order of replayed ones."""

import math
import os
from pathlib import Path as File
from typing import Annotated

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from agents.clock import HOURS_PER_YEAR
from agents.families import RuleParameters
from model.errors import ScenarioError
from model.news import DEFAULT_ASSETS, Asset, Constant, FactorModel, Jumps, NewsSource, Replay, news_rules
from model.randomness import Streams
from model.scenario import Scenario

NO_JUMPS = {"common_jumps": Jumps(), "own_jumps": Jumps()}
PLAIN = {**NO_JUMPS, "volatility_components": ()}


def factor(seed=1, assets=DEFAULT_ASSETS, hours=1.0, **settings):
    return NewsSource(FactorModel.Parameters(**settings), assets, Streams(seed), hours)


def returns(source, steps):
    return np.array([source.next(step).dlog.sum(axis=1) for step in range(steps)])


def year(variance, hours=1.0):
    """Annualised."""
    return variance * HOURS_PER_YEAR / hours


# --- generated -------------------------------------------------------------------------------------------------------


def test_without_volatility_and_jumps_paths_are_exactly_flat():
    source = factor(volatility_scale=0.0, **NO_JUMPS)
    paths = [source.next(step) for step in range(50)]
    assert all((path.dlog == 0.0).all() for path in paths)
    assert (source.volatility == 0.0).all()
    assert source.log_value.tolist() == np.log([60_000.0, 3_000.0, 100.0]).tolist()


def test_no_news_is_one_still_increment():
    path = NewsSource(Constant.Parameters(), DEFAULT_ASSETS, Streams(1), 8.0).next(0)
    assert path.dlog.tolist() == [[0.0]] * 3
    assert path.hours.tolist() == [8.0]


def test_volatilities_and_correlations_are_the_stated_ones():
    r = returns(factor(**PLAIN), 20_000)
    # A standard deviation over n draws has relative error 1/sqrt(2n) = 0.5 %; four of them 2 %.
    assert np.sqrt(year(r.var(axis=0))) == pytest.approx([0.55, 0.70, 1.00], rel=0.02)
    # s = 0.53: corr(BTC, ETH) = 1 × 1.15 × 0.53² / (0.55 × 0.70) = 0.839; (BTC, ALT) 1.4 × 0.53² / 0.55 = 0.715;
    # (ETH, ALT) 1.15 × 1.4 × 0.53² / 0.70 = 0.646. Standard error (1 − ρ²)/sqrt(n) < 0.005.
    c = np.corrcoef(r.T)
    assert [c[0, 1], c[0, 2], c[1, 2]] == pytest.approx([0.839, 0.715, 0.646], abs=0.02)


def test_stochastic_volatility_keeps_the_stated_variance_and_reports_the_state():
    # A short half-life, so that 20,000 hours hold thousands of independent spells: log-variance sd 0.8, half-life 2 h.
    source = factor(volatility_components=({"sd": 0.8, "half_life": 2.0},), **NO_JUMPS)
    r, told = np.empty(20_000), np.empty(20_000)
    for step in range(20_000):
        r[step] = source.next(step).dlog[0].sum()
        told[step] = source.volatility[0]
    assert year(r.var()) == pytest.approx(0.55**2, rel=0.06)
    assert (told**2).mean() == pytest.approx(0.55**2, rel=0.06)
    # log volatility has half the sd of log-variance.
    assert np.log(told).std() == pytest.approx(0.4, rel=0.05)
    # Its autocorrelation over the half-life is a half.
    h = np.log(told)
    assert np.corrcoef(h[:-2], h[2:])[0, 1] == pytest.approx(0.5, abs=0.04)
    # Told at the step's opening, it ranks what follows.
    assert np.abs(r[told > np.median(told)]).mean() > 1.2 * np.abs(r[told <= np.median(told)]).mean()


def test_volatility_is_told_as_the_step_opens_not_as_it_ends():
    # One opening state, one step of an hour or of a day: only what has happened since could differ.
    components = ({"sd": 0.8, "half_life": 2.0},)
    hour, day = (factor(hours=hours, volatility_components=components) for hours in (1.0, 24.0))
    hour.next(0)
    day.next(0)
    assert np.array_equal(hour.volatility, day.volatility)


def test_halving_the_step_leaves_the_variance_of_an_hour():
    # A daily, hourly and half-hourly clock: variance a year must agree (each ±4 × sqrt(2/n)), increments stay as long.
    variances = []
    for hours, steps in [(24.0, 2_000), (1.0, 10_000), (0.5, 10_000)]:
        source = factor(hours=hours, **PLAIN)
        variances.append(year(returns(source, steps)[:, 0].var(), hours))
        path = factor(hours=hours, max_move=10.0, **PLAIN).next(0)
        assert path.hours == pytest.approx(np.full(round(6 * hours), 1 / 6))
    assert variances == pytest.approx([0.55**2] * 3, rel=0.13)
    assert variances[1:] == pytest.approx([0.55**2] * 2, rel=0.06)


def test_a_step_below_one_increment_is_one_increment():
    path = factor(hours=1 / 360, max_move=1.0, **PLAIN).next(0)
    assert path.hours == pytest.approx([1 / 360])


def test_diffusion_is_cut_to_the_largest_move_and_keeps_the_time():
    source = factor(**NO_JUMPS, max_move=0.001)
    for step in range(300):
        path = source.next(step)
        assert np.abs(path.dlog).max() <= 0.001 * (1 + 1e-8)
        assert path.hours.sum() == pytest.approx(1.0)
        assert (path.hours > 0).all()


def test_cutting_finer_moves_nothing():
    coarse, fine = returns(factor(max_move=1.0), 200), returns(factor(max_move=0.0005), 200)
    assert np.allclose(coarse, fine, rtol=0, atol=1e-14)


def test_common_jumps_hit_all_by_loading_and_come_whole():
    # One an hour expected, each −5 %, nothing else: a jump increment is −0.05 × (1, 1.25, 1.8) and takes no time.
    source = factor(volatility_scale=0.0, common_jumps=Jumps(intensity=8_760, mean=-0.05), own_jumps=Jumps(), compensated=False)
    paths = [source.next(step) for step in range(4_000)]
    jumps = np.concatenate([path.dlog[:, path.hours == 0.0] for path in paths], axis=1)
    assert np.allclose(jumps, np.array([[-0.05], [-0.0625], [-0.09]]))
    # Poisson(1): 4,000 ± 4 × sqrt(4,000).
    assert jumps.shape[1] == pytest.approx(4_000, abs=253)
    # Places are uniform: a first-place jump has probability 1/7 where one jump falls among six increments.
    single = [path for path in paths if (path.hours == 0.0).sum() == 1]
    first = np.mean([path.hours[0] == 0.0 for path in single])
    assert first == pytest.approx(1 / 7, abs=4 * math.sqrt(6 / 49 / len(single)))


def test_own_jumps_hit_one_asset_at_a_time():
    source = factor(volatility_scale=0.0, common_jumps=Jumps(), own_jumps=Jumps(intensity=2_000, sd=0.02))
    paths = [source.next(step) for step in range(2_000)]
    jumps = np.concatenate([path.dlog[:, path.hours == 0.0] for path in paths], axis=1)
    assert ((jumps != 0.0).sum(axis=0) == 1).all()
    # 2,000 h × 2,000/8,760 an hour = 457 ± 4 × 21 an asset.
    assert (jumps != 0.0).sum(axis=1) == pytest.approx([457] * 3, abs=86)


def test_compensated_jumps_leave_the_expected_log_price():
    jumps = Jumps(intensity=876, mean=-0.02, sd=0.01)
    # 0.1 an hour × −0.02 = −0.002 an hour; over 20,000 h the mean's error is sqrt(0.1 × (0.02² + 0.01²)/20,000) = 5e-5.
    settings = {"volatility_scale": 0.0, "common_jumps": jumps, "own_jumps": Jumps()}
    assert returns(factor(**settings), 20_000)[:, 0].mean() == pytest.approx(0.0, abs=2e-4)
    assert returns(factor(**settings, compensated=False), 20_000)[:, 0].mean() == pytest.approx(-0.002, abs=2e-4)


def test_volatility_counts_jumps():
    # BTC: no diffusion, common jumps 10 × (0.03² + 0.04²) = 0.025, own jumps 4 × 0.05² = 0.01: sqrt(0.035).
    source = factor(volatility_scale=0.0, common_jumps=Jumps(intensity=10, mean=0.03, sd=0.04), own_jumps=Jumps(intensity=4, mean=0.05))
    source.next(0)
    assert source.volatility[0] == pytest.approx(math.sqrt(0.035))
    # ALT's common jumps are 1.8 times as large: sqrt(0.025 × 3.24 + 0.01).
    assert source.volatility[2] == pytest.approx(math.sqrt(0.091))


def test_drift_is_a_year_s_log_return():
    source = factor(volatility_scale=0.0, drift=0.876, **NO_JUMPS)
    assert returns(source, 10) == pytest.approx(np.full((10, 3), 1e-4))


def test_the_log_value_adds_up_the_news():
    source = factor()
    news = returns(source, 100).sum(axis=0)
    assert source.log_value == pytest.approx(np.log([60_000.0, 3_000.0, 100.0]) + news, rel=1e-12)
    assert np.abs(news).min() > 1e-3


def test_the_same_seed_gives_the_same_news_and_another_asset_changes_none_of_it():
    assert np.array_equal(returns(factor(5), 300), returns(factor(5), 300))
    assert not np.array_equal(returns(factor(5), 3), returns(factor(6), 3))
    more = (Asset(name="SOL", price=150.0, volatility=1.1, beta=1.3), *DEFAULT_ASSETS)
    # Sums of finer or coarser cuts of the same moves: equal to rounding.
    assert np.allclose(returns(factor(5, more), 300)[:, 1:], returns(factor(5), 300), rtol=0, atol=1e-14)


def test_default_news_looks_like_bitcoin_by_the_hour():
    r = returns(factor(3), 26_280)[:, 0]
    z, a = (r - r.mean()) / r.std(), np.abs(r)

    def memory(lag):
        return np.corrcoef(a[:-lag], a[lag:])[0, 1]

    # Measured Apr 2021 to Dec 2025: sd 0.60 %, excess kurtosis 14.4, |r| autocorrelation 0.28 (1 h), 0.11 (120 h). Bounds
    # are what single calendar years of the same data span, and no more than three sds of three-year simulations.
    assert 0.0045 < r.std() < 0.0084
    assert 6 < (z**4).mean() - 3 < 27
    assert 0.2 < memory(1) < 0.36
    assert 0.04 < memory(120) < 0.19
    assert abs(np.corrcoef(r[:-1], r[1:])[0, 1]) < 0.03


def test_a_beta_beyond_an_asset_s_volatility_is_refused_by_name():
    with pytest.raises(ValidationError, match=r"volatility\s+found 0.1 of USDX, expected at least .beta. x news.factor_volatility, 0.53"):
        Scenario(assets=(Asset(name="USDX", price=1.0, volatility=0.1, beta=1.0),))


def test_settings_survive_a_scenario_file():
    adapter = TypeAdapter(Annotated[RuleParameters, news_rules])
    given = adapter.validate_python({"type": "factor_model", "common_jumps": {"intensity": 3.0, "mean": -0.1}})
    assert given.common_jumps == Jumps(intensity=3.0, mean=-0.1)
    assert adapter.validate_python(adapter.dump_python(given, mode="json")) == given
    with pytest.raises(ValidationError, match="half_life"):
        adapter.validate_python({"type": "factor_model", "volatility_components": [{"sd": 1.0, "half_life": 0.0}]})
    kinds = [one["properties"]["type"].get("const") for one in adapter.json_schema()["anyOf"]]
    assert set(kinds) >= {"constant", "factor_model", "replay"}


# --- replayed --------------------------------------------------------------------------------------------------------

BARS = """timestamp,open,high,low,close
2024-01-01T00:00:00Z,100,102,90,95
2024-01-01T01:00:00Z,95,96,94,95
2024-01-01T04:00:00Z,80,88,79,85
2024-01-01T05:00:00Z,85,85,85,85
"""


@pytest.fixture
def bars(tmp_path):
    file = tmp_path / "bars.csv"
    file.write_text(BARS)
    return str(file)


def replay(file, assets=DEFAULT_ASSETS[:1], hours=1.0, seed=1, **settings):
    return NewsSource(Replay.Parameters(files=(file,), **settings), assets, Streams(seed), hours)


def test_a_replay_opens_at_the_first_open_and_walks_each_bar(bars):
    source = replay(bars, max_move=0.01)
    assert source.steps == 4
    assert np.exp(source.log_value) == pytest.approx([100.0])
    path = source.next(0)
    # 100 → 102 → 90 → 95: ln moves 0.0198, −0.1252, 0.0541, in pieces of at most 0.01: 2 + 13 + 6.
    level = 100 * np.exp(path.dlog[0].cumsum())
    assert level.size == 21
    assert level[[1, 14, 20]] == pytest.approx([102.0, 90.0, 95.0])
    # Evenly fast throughout: 0.1991 in an hour.
    assert np.abs(path.dlog[0]) / path.hours == pytest.approx(np.full(21, np.log(1.02) + np.log(102 / 90) + np.log(95 / 90)))


def test_a_gap_is_one_jump_before_the_bar(bars, caplog):
    source = replay(bars)
    assert "2 of 6 periods missing" in caplog.text
    source.next(0)
    assert (source.next(1).hours > 0).all()
    path = source.next(2)
    assert path.hours[0] == 0.0
    assert path.dlog[0, 0] == pytest.approx(np.log(80 / 95))
    assert (path.hours[1:] > 0).all()
    assert np.exp(source.log_value) == pytest.approx([85.0])


def test_a_still_bar_is_still_and_the_end_is_said(bars):
    source = replay(bars)
    paths = [source.next(step) for step in range(4)]
    assert (paths[3].dlog == 0.0).all()
    assert paths[3].hours.sum() == pytest.approx(1.0)
    with pytest.raises(ScenarioError, match="rows: found 4, expected one a step, and step 5 was asked for"):
        source.next(4)


def test_volatility_is_an_average_of_what_has_been(bars):
    source = replay(bars, volatility_half_life=1.0)
    source.next(0)
    assert source.volatility == pytest.approx([0.55])
    source.next(1)
    # Half-life one step: ½ × 0.55² + ½ × ln(95/100)² × 8,760.
    assert source.volatility == pytest.approx([math.sqrt(0.5 * 0.55**2 + 0.5 * math.log(0.95) ** 2 * 8_760)])


def test_assets_without_prices_follow_by_beta_with_noise_of_their_own(tmp_path):
    rows = 5_000
    walk = 100 * np.exp(np.random.default_rng(0).standard_normal(rows + 1).cumsum() * 0.55 / math.sqrt(8_760))
    stamps = np.datetime64("2020-01-01T00", "h") + np.arange(rows)
    lines = [f"{t},{a},{max(a, b)},{min(a, b)},{b}" for t, a, b in zip(stamps, walk[:-1], walk[1:], strict=True)]
    file = tmp_path / "walk.csv"
    file.write_text("timestamp,open,high,low,close\n" + "\n".join(line.replace(",", ":00:00,", 1) for line in lines))
    assets = (Asset(name="BTC", price=1.0, volatility=0.55, beta=0.8), Asset(name="ALT", price=2.0, volatility=1.0, beta=1.2))
    source = replay(str(file), assets)
    assert np.exp(source.log_value) == pytest.approx([walk[0], 2.0])
    r = returns(source, rows)
    # Relative beta 1.2/0.8 = 1.5; own volatility sqrt(1 − (1.5 × 0.55)²) = 0.565.
    own = r[:, 1] - 1.5 * r[:, 0]
    assert math.sqrt(year(own.var())) == pytest.approx(0.565, rel=0.04)
    assert abs(np.corrcoef(own, r[:, 0])[0, 1]) < 0.06
    assert np.array_equal(returns(replay(str(file), assets), 20), r[:20])


def test_a_follower_too_calm_for_its_beta_and_a_wrong_step_are_refused(bars):
    assets = (DEFAULT_ASSETS[0], Asset(name="CALM", price=1.0, volatility=0.2, beta=1.0))
    with pytest.raises(ScenarioError) as caught:
        replay(bars, assets, hours=0.5)
    assert caught.value.faults == [
        "asset CALM: volatility: found 0.2, expected at least relative beta × volatility of BTC = 0.55",
        "prices: hours between rows: found 1, expected the step's 0.5",
    ]


def test_recorded_bitcoin_hours_replay_to_the_cent():
    folder = File(os.environ.get("BACKSTOP_DATA", File(__file__).parents[3] / "shared" / "data"))
    file = folder / "btcusdt_1h.csv"
    if not file.exists():
        pytest.skip("hourly BTC prices are not here: set BACKSTOP_DATA to the folder that holds btcusdt_1h.csv")
    source = replay(str(file))
    assert source.steps > 40_000
    worst, lowest = 0.0, 0.0
    for step in range(6_000):
        path = source.next(step)
        moving = path.hours > 0.0
        worst = max(worst, float(np.abs(path.dlog[0, moving]).max()))
        lowest = min(lowest, float(path.dlog[0].cumsum().min()))
        assert abs(path.hours.sum() - 1.0) < 1e-12
    assert worst <= 0.0025 * (1 + 1e-8)
    # 19 May and 4 December 2021 are among these hours: one of them fell 16.4 % from its open, ln 0.836 = −0.179.
    assert lowest == pytest.approx(math.log(1 - 0.164), abs=0.002)
    expected = float(file.read_text().splitlines()[6_000].split(",")[4])
    assert np.exp(source.log_value[0]) == pytest.approx(expected, abs=0.005)
