"""What the pages are given to draw: the numbers of the snapshot, thin enough, in waterfall order."""

import json
import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("solara", reason="the browser UI's packages are not installed: pip install 'backstop[app]'")

from experiments import shipped
from experiments.app import backstop, compare, market, network
from experiments.app.chart import BARS, POINTS, Bars, Line, Panel, option
from experiments.app.controls import resolved
from experiments.app.gate import Watched
from experiments.app.snapshot import Accounts, Snapshot
from experiments.drawing import usd

type Watch = Callable[..., Watched]


@pytest.fixture
def crashed(watch: Watch, shocked: str) -> Snapshot:
    return watch(shocked, steps=8).snapshot


def test_lines_are_thinned_and_keep_their_extremes() -> None:
    hours = np.arange(20_000.0)
    values = np.sin(hours / 300.0)
    values[12_345] = -9.0
    drawn = option([Panel("p", (0, 0, 1, 1), (Line("x", values, "#000"),))], hours, 300, dark=False)
    points = drawn["series"][0]["data"]
    assert len(points) <= POINTS + 2
    assert -9.0 in {y for _, y in points}


@pytest.mark.parametrize("steps", [1, 59, 60, 61, 1_000, 8_761])
def test_bars_add_up_to_what_was_seen(steps: int) -> None:
    values = np.ones(steps)
    drawn = option([Panel("p", (0, 0, 1, 1), bars=(Bars("x", values, "#000"),))], np.arange(float(steps)), 300, dark=False)
    heights = [y for _, y in drawn["series"][0]["data"]]
    assert len(heights) <= BARS
    assert sum(heights) == steps


@pytest.mark.parametrize("dark", [False, True])
def test_figures_are_plain_data_in_light_and_dark(crashed: Snapshot, dark: bool) -> None:
    for drawn in (backstop.drawn(crashed, dark=dark), market.drawn(crashed, dark=dark)):
        assert json.loads(json.dumps(drawn, allow_nan=False)) is not None
        if dark:
            assert "#000000" not in json.dumps(drawn)


def test_the_opening_alone_can_be_drawn(watch: Watch) -> None:
    seen = watch().snapshot
    assert len(backstop.drawn(seen, dark=False)["grid"]) == 4
    assert len(market.drawn(seen, dark=False)["grid"]) == 7
    assert backstop.who_paid(seen, dark=False)["waiting"]


def test_the_waterfall_begins_each_bar_where_the_one_before_ended(crashed: Snapshot) -> None:
    stress = crashed.stress
    assert stress is not None
    told = backstop.who_paid(crashed, dark=False)
    rows = told["rows"]
    assert [row["layer"] for row in rows] == list(crashed.layers)
    assert sum(row["usd"] for row in rows) == pytest.approx(stress.deficits, rel=1e-9)
    start = 0.0
    for row in rows:
        assert row["start"] == pytest.approx(100.0 * start, abs=0.01)
        start += row["usd"] / stress.deficits
    assert start == pytest.approx(1.0, rel=1e-9)


def test_a_target_far_above_the_fund_is_told_and_does_not_flatten_it(crashed: Snapshot) -> None:
    title = backstop.drawn(crashed, dark=False)["title"][0]["text"]
    assert float(crashed.table["fund_target"].max()) > backstop.FAR * float(crashed.table["fund"].max())
    assert "above this scale" in title


def test_pools_are_drawn_one_by_one(watch: Watch, divided: str) -> None:
    seen = watch(divided, steps=6).snapshot
    figure = backstop.drawn(seen, dark=False)
    lines = [(line["name"], line["yAxisIndex"]) for line in figure["series"] if line["type"] == "line"]
    assert lines == [("BTC", 0), ("ETH", 0), ("ALT", 0), ("BTC", 3), ("ETH", 3), ("ALT", 3)]
    assert sum(seen.table.last(f"fund_pool_{pool}") for pool in seen.pools) == pytest.approx(seen.table.last("fund"), rel=1e-9)
    (fund,) = [row for row in backstop.who_paid(seen, dark=False)["rows"] if row["layer"] == "fund"]
    assert fund["note"].startswith(f"left: BTC {usd(max(seen.table.last('fund_pool_BTC'), 0.0))} · ETH ")


def test_institutions_stand_apart_from_one_another(crashed: Snapshot) -> None:
    places = [tuple(node["at"]) for node in network.placed(crashed.institutions)]
    assert len(set(places)) == len(places) == len(crashed.institutions.names)
    assert all(np.hypot(*place) <= 1.0 + 1e-4 for place in places)  # places are rounded to four digits


def test_a_sheet_is_assets_less_liabilities(crashed: Snapshot) -> None:
    it = crashed.institutions
    assert it.equity == pytest.approx(it.assets - it.liabilities, rel=1e-9, abs=1.0)
    rows = dict(network.sheet(crashed, 0))
    assert rows["lender 1"].startswith(("active", "defaulted"))
    assert set(rows) >= {"assets", "liabilities", "equity"}
    assert network.sheet(crashed, None) == []
    account = dict(network.sheet(crashed, -1))
    assert f"account {crashed.accounts.rows[0]}" in account


def test_of_many_accounts_two_thousand_are_drawn_and_a_frame_stays_small(crashed: Snapshot) -> None:
    n = 5_000
    crowd = Accounts(np.arange(n), np.full(n, 123_456.7), np.full(n, 1e6), np.full(n, 1e4), np.zeros(n, dtype=np.int8))
    state = network.state(replace(crashed, accounts=crowd), 1, with_accounts=True)
    assert len(state["accounts"]) == len(state["states"]) == network.DOTS == 2_000
    assert len(json.dumps(state)) < 60_000


def test_accounts_are_coloured_by_what_has_become_of_them(crashed: Snapshot) -> None:
    crowd = Accounts(
        rows=np.arange(4),
        equity=np.array([100.0, 100.0, 0.0, 0.0]),
        notional=np.array([500.0, 4_000.0, 0.0, 0.0]),
        maintenance=np.array([10.0, 80.0, 0.0, 0.0]),  # 10 % and 80 % of equity: calm, and near liquidation
        status=np.array([0, 0, 1, 2], dtype=np.int8),
    )
    assert network.state(replace(crashed, accounts=crowd), 1, with_accounts=True)["states"] == "0123"


def test_the_same_policy_twice_differs_in_nothing(shocked: str) -> None:
    world, pairs = shipped.load(shocked), []
    compare.paired((world, world), 3, 6, threading.Event(), pairs.append)
    assert pairs[-1].done == 6
    assert (compare.difference(pairs[-1])["b_minus_a"] == 0.0).all()


def test_a_larger_fund_bears_what_others_bore(shocked: str) -> None:
    pairs: list[compare.Pair] = []
    compare.paired((resolved(shocked, {}), resolved(shocked, {"fund": 100.0})), 3, 6, threading.Event(), pairs.append)
    table = compare.difference(pairs[-1]).set_index("output")
    residual = table.loc["Residual loss: beyond the fund"]
    assert residual["a"] > 0.0
    assert residual["b"] == 0.0
    assert residual["b_minus_a"] == -residual["a"]
    json.dumps(compare.drawn(pairs[-1], dark=False), allow_nan=False)


def test_a_comparison_that_nobody_waits_for_ends_without_a_word(shocked: str) -> None:
    world, cancel, pairs = shipped.load(shocked), threading.Event(), []
    cancel.set()
    compare.paired((world, world), 3, 10_000, cancel, pairs.append)
    assert pairs == []
