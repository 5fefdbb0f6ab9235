"""`backstop validate`: its comparisons, and the published models it holds."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from experiments.validation import avellaneda_stoikov, duffie_zhu, franke_westerhoff, known_answers, leveraged_funds, oracles, published
from experiments.validation.almgren_chriss import Sale
from experiments.validation.check import Check, Validation, between
from experiments.validation.table import checks, main
from model import quoting
from tests.validation.handmade import LIQUIDATOR, MAKER, handmade


def test_a_comparison_passes_only_if_every_number_is_within_its_tolerance() -> None:
    assert Check("", "", (1.0, 2.0), (1.1, 2.0), 0.11).verdict == "ok"
    assert Check("", "", (1.0, 2.0), (1.1, 2.0), (0.2, 0.0)).verdict == "ok"
    assert Check("", "", (1.0, 2.0), (1.1, 2.0), (0.0, 0.2)).verdict == "OFF"
    assert Check("", "", (1.0, 2.0), (1.0,), 1.0).verdict == "OFF"
    assert Check("", "", (1.0,), (float("nan"),), 1.0).verdict == "OFF"


def test_a_known_miss_is_a_miss_until_it_is_met() -> None:
    assert Check("", "", (1.0,), (2.0,), 0.1, "we differ").verdict == "miss"
    assert Check("", "", (1.0,), (1.0,), 0.1, "we differ").verdict == "ok"


def test_a_range_is_its_middle_and_half_its_width() -> None:
    assert between(2.5, 4.5) == (3.5, 1.0)


def test_an_experiment_that_fails_is_a_row_that_is_off_and_the_others_still_run() -> None:
    def broken(_full: bool) -> Iterator[Check]:
        yield Check("first", "", (1.0,), (1.0,), 0.0)
        raise ZeroDivisionError("by zero")

    def sound(full: bool) -> Iterator[Check]:
        yield Check("second", "", (1.0,), (float(full),), 0.0)

    rows = list(checks([Validation("broken", broken), Validation("sound", sound)], full=True))
    assert [(row.what, row.verdict) for row in rows] == [("first", "ok"), ("broken", "OFF"), ("second", "ok")]
    assert rows[1].source == "failed: ZeroDivisionError: by zero"


def test_experiments_are_asked_for_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(only=["netting", "square_root_impact"]) == 0
    said = capsys.readouterr().out
    assert "Duffie & Zhu 2011" in said
    assert "2 within tolerance, 1 known to miss, 0 off, 0 skipped" in said
    assert main(only=["nothing"]) == 2
    assert "unknown: nothing; expected some of oracles" in capsys.readouterr().out


def test_prices_that_are_not_here_are_a_comparison_skipped_and_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BACKSTOP_DATA", str(tmp_path))
    assert main(only=["procyclicality"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "skipped. Set BACKSTOP_DATA to a folder that holds sp500_1d.csv or btcusdt_1d.csv" in said
    assert "0 within tolerance, 0 known to miss, 0 off, 1 skipped" in said


def test_margin_rules_are_compared_on_the_prices_that_are_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Eight hundred days of a percent up and a percent down, but for three falls by a tenth.
    moves = np.tile([0.01, -0.01], 400)
    moves[400:403] = -0.1
    close = 100.0 * np.exp(np.cumsum(moves))
    times = pd.date_range("2020-01-01", periods=close.size, freq="D").strftime("%Y-%m-%dT%H:%M:%S")
    columns = dict.fromkeys(("open", "high", "low", "close"), close)
    pd.DataFrame({"timestamp": times, **columns}).to_csv(tmp_path / "sp500_1d.csv", index=False)
    monkeypatch.setenv("BACKSTOP_DATA", str(tmp_path))
    levels, order, floor = published.procyclicality(False)
    assert len(levels.found) == 4
    assert min(levels.found) > 1.0
    assert order.found == (float(list(levels.found) == sorted(levels.found)),)
    assert floor.verdict == "ok"


def test_every_oracle_is_met() -> None:
    assert [check.what for check in oracles.examples(False) if check.verdict != "ok"] == []


def test_every_known_answer_is_met() -> None:
    assert [check.what for check in known_answers.markets(False) if check.verdict != "ok"] == []


# -- published models -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dealers", "classes", "bilateral", "cleared"),
    [(12, 2, 6.206085, 5.711507), (12, 3, 7.600871, 7.529227), (12, 4, 8.776730, 8.924013), (16, 6, 14.658075, 14.926028)],
)
def test_clearing_one_class_helps_only_with_few_classes(dealers: int, classes: int, bilateral: float, cleared: float) -> None:
    """Duffie and Zhu (2011), computed from their formulas: it helps where K < N^2 / (4 (N - 1)), which is 3.27 and 4.27 here."""
    assert duffie_zhu.exact(dealers, classes) == pytest.approx((bilateral, cleared), abs=5e-7)
    assert (cleared < bilateral) == (classes < dealers**2 / (4 * (dealers - 1)))
    found = duffie_zhu.simulated(dealers, classes, 20_000, np.random.default_rng(3))
    assert found == pytest.approx((bilateral, cleared), rel=0.02)


@pytest.mark.parametrize(
    ("gamma", "quotes"),
    [
        (0.01, ((68.39, 8.95, 5.22), (68.72, 13.64, 8.70))),
        (0.1, ((64.89, 6.55, 2.93), (68.30, 13.43, 8.39))),
        (0.5, ((48.56, 5.90, 1.96), (60.04, 12.30, 6.92))),
    ],
)
def test_a_maker_that_minds_its_inventory_earns_a_little_less_with_half_the_risk(gamma: float, quotes: tuple) -> None:
    """Avellaneda and Stoikov (2008); means and deviations of 200,000 paths computed apart: four standard errors of 4,000."""
    for symmetric, (mean, deviation, inventory) in zip((False, True), quotes, strict=True):
        found = avellaneda_stoikov.simulate(4_000, gamma, np.random.default_rng(2), symmetric=symmetric)
        assert found.profit == pytest.approx(mean, abs=4.0 * deviation / np.sqrt(4_000))
        assert found.deviation == pytest.approx(deviation, abs=4.0 * deviation / np.sqrt(8_000))
        assert found.inventory == pytest.approx(inventory, abs=4.0 * inventory / np.sqrt(8_000))


BLOCK = Sale(quantity=1e6, horizon=5.0, step=1.0, deviation=0.95, permanent=2.5e-7, temporary=2.5e-6, spread=0.0625)
"""A million shares in five days: the example of Almgren and Chriss (2000), as a package's documentation repeats it."""


def test_almgren_and_chriss_sell_faster_the_more_they_mind_risk() -> None:
    """Their schedule, its expected cost and its deviation (numbers computed from the formulas, apart from this code).

    Evenly sold, 200,000 a day: 0.125 x 10^6 + 0.0625 x 10^6 + 2.375 x 10^-6 x 5 x (2 x 10^5)^2 = 662,500, and
    sqrt(0.9025 (64 + 36 + 16 + 4) x 10^10) = sqrt(1.083 x 10^12).
    """
    held = BLOCK.held(2e-6)
    assert held == pytest.approx([1e6, 428598.84574702, 182932.81426177, 76295.72161546, 27643.37739691, 0.0], rel=1e-9)
    assert BLOCK.cost(held) == pytest.approx((1140715.1670497851, 449367.65254135116), rel=1e-9)
    assert [BLOCK.urgency(aversion) for aversion in (2e-6, 1e-6)] == pytest.approx([0.8462971345, 0.6070761632], rel=1e-9)
    assert BLOCK.cost(BLOCK.held(0.0)) == pytest.approx((662_500.0, 1.083e12**0.5), rel=1e-12)


def test_liquidators_sell_what_they_took_as_is_optimal_without_a_deadline() -> None:
    """Almgren and Chriss far from the horizon: what is left falls by exp(-kappa tau) a trade; ours sells that much an hour at kappa."""
    patient = replace(BLOCK, horizon=200.0)
    held, kappa = patient.held(2e-6), patient.urgency(2e-6)
    one = handmade([], liquidator=1e6)
    one.venue.liquidator_parameters = one.venue.liquidator_parameters.model_copy(update={"unwind_rate": kappa})
    one.position(LIQUIDATOR, MAKER, 1_000.0, 100.0)
    for before, after in pairwise(held[:4]):
        rows, orders = quoting.unwinding(one.venue, 1.0)
        mine = float(orders[0, rows.tolist().index(LIQUIDATOR)])
        assert mine / one.held(LIQUIDATOR)[0] == pytest.approx(after / before - 1.0, rel=1e-9)
        one.position(MAKER, LIQUIDATOR, -mine, 100.0)


def test_leveraged_funds_clear_where_arithmetic_says() -> None:
    """Thurner, Farmer and Geanakoplos (2012), derived: ten funds of 2 and noise of 950; a margin call of half a fund.

    Demand is (5 + ... + 50) x 2 (1 - p) = 550 (1 - p): 950 + 550 - 550 p = 1,000 p at 1,500 / 1,550. A fund with 10 shares and -8 in cash
    at its limit of 5 wants 5 (10 p - 8): 880 + 50 p - 40 = 1,000 p at 840 / 950, where it keeps 4.7619 shares.
    """
    nothing = np.zeros((1, 10))
    price = leveraged_funds.clear(np.array([950.0]), nothing, nothing + 2.0, np.array([1e9]))
    assert price == pytest.approx([1500.0 / 1550.0], rel=1e-12)
    shares, cash = nothing.copy(), nothing.copy()
    shares[0, -1], cash[0, -1] = 10.0, -8.0
    (price,) = leveraged_funds.clear(np.array([880.0]), shares, cash, np.array([5.0]))
    assert price == pytest.approx(840.0 / 950.0, rel=1e-12)
    assert 5.0 * (10.0 * price - 8.0) / price == pytest.approx(4.761904761904702)
    # With noise traders alone who want more than there is at its value, the price is theirs.
    assert leveraged_funds.clear(np.array([1_100.0]), nothing, nothing + 2.0, np.array([5.0])) == pytest.approx([1.1])


def test_without_leverage_prices_are_the_noise_traders() -> None:
    # Log cash follows 0.99 of itself: returns are nearly normal with a deviation of 3.5 %.
    returns = leveraged_funds.log_returns(np.array([0.0]), 2_000, np.random.default_rng(1))
    assert returns.std() == pytest.approx(0.035, rel=0.05)


def test_the_hill_estimate_of_a_pareto_sample_is_its_exponent() -> None:
    # n = 2,000 in the tail: a standard error of 3 / sqrt(2,000) = 0.07.
    sample = np.random.default_rng(1).pareto(3.0, 200_000) + 1.0
    assert leveraged_funds.hill(sample) == pytest.approx(3.0, abs=0.28)


def test_franke_and_westerhoffs_market_has_the_moments_that_others_found() -> None:
    """Means over 1,000 runs, computed apart, with one standard deviation of a run; 40 runs: four standard errors."""
    expected = np.array([0.006, 0.258, 0.740, 0.155, 0.151, 0.142, 0.118, 0.088, 0.053])
    spread = np.array([0.015, 0.016, 0.050, 0.023, 0.022, 0.022, 0.022, 0.022, 0.023])
    _, found = franke_westerhoff.joint_coverage(40, seed=5)
    np.testing.assert_array_less(np.abs(found - expected), 4.0 * spread / np.sqrt(40) + 0.0005)


def test_moments_follow_their_definitions() -> None:
    # 5 % of 200 are 10: log 2 each against the next one. Alternating signs: the autocorrelation of r at one day is -199 / 200.
    size = np.ones(200)
    size[:10] = 2.0
    hill = franke_westerhoff.moments(size[:, None])[1]
    assert hill == pytest.approx([np.log(2.0)])
    signs = (-1.0) ** np.arange(200)
    assert franke_westerhoff.moments((signs * (1.0 + 1e-9 * np.arange(200)))[:, None])[0] == pytest.approx([-199 / 200], abs=1e-6)
