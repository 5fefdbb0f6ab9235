"""The watched model: it waits for the browser, stops where a step fails, and is the model that `backstop run` runs."""

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from experiments.app import gate
from experiments.app.gate import Gate, Watched
from experiments.runner import run
from model.scenario_file import dump_scenario

from .conftest import SMALL, Desk

type Watch = Callable[..., Watched]


def test_nobody_waits_for_a_frame_that_was_never_sent() -> None:
    assert Gate().wait()


def test_a_step_waits_until_the_browser_has_drawn() -> None:
    held, passed = Gate(), threading.Event()
    held.send(3)
    waiting = threading.Thread(target=lambda: held.wait() and passed.set())
    waiting.start()
    held.drawn(2)
    assert not passed.wait(0.2)
    held.drawn(3)
    waiting.join(timeout=10)
    assert passed.is_set()


def test_a_browser_that_says_nothing_is_waited_for_a_while_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "PATIENCE", 0.05)
    held = Gate()
    held.send(1)
    assert held.wait()


def test_a_page_that_has_gone_ends_the_play(watch: Watch) -> None:
    desk = Desk("")
    model = watch(steps=1, desk=desk)
    desk.gate.close()
    model.step()
    assert (model.snapshot.step, model.running) == (1, False)


def test_watching_does_not_change_the_run(watch: Watch, shocked: str) -> None:
    model = watch(shocked, seed=5, steps=9)
    plain = run(shocked, seed=5, steps=9)
    seen = model.snapshot.table.frame()
    pd.testing.assert_frame_equal(seen[list(plain.series.columns)], plain.series.astype({"step": float}), check_exact=True)
    flows = plain.statement.groupby("flow")["amount"].sum()
    for flow, usd in flows.items():
        assert seen[f"fund_flow_{flow}"].sum() == pytest.approx(usd, rel=1e-12)


def test_what_the_fund_holds_is_its_opening_and_the_flows_that_are_shown(watch: Watch, shocked: str) -> None:
    seen = watch(shocked, steps=20).snapshot.table.frame()
    flows = seen[[name for name in seen if str(name).startswith("fund_flow_")]].to_numpy().sum(axis=1).cumsum()
    assert flows + seen["fund"].iloc[0] == pytest.approx(seen["fund"].to_numpy(), rel=1e-9, abs=1e-3)


def test_a_snapshot_does_not_change_when_the_model_goes_on(watch: Watch, shocked: str) -> None:
    model = watch(shocked, steps=3)
    before = model.snapshot
    equity, fund = before.accounts.equity.copy(), before.table["fund"].copy()
    for _ in range(5):
        model.step()
    assert (before.step, model.snapshot.step) == (3, 8)
    assert (before.accounts.equity == equity).all()
    assert (before.table["fund"] == fund).all()
    assert (model.snapshot.accounts.equity != equity).any()


def test_the_model_keeps_no_past_of_its_own(watch: Watch) -> None:
    model = watch(steps=10)
    assert {len(values) for values in model.datacollector.model_vars.values()} == {1}
    assert len(model.snapshot.table) == 11


def test_the_run_ends_with_the_scenario(watch: Watch) -> None:
    model = watch(steps=12)
    assert (model.running, model.snapshot.over, model.time) == (False, True, 12)
    model.step()
    assert (model.snapshot.step, model.time) == (12, 12)


def test_shocks_strike_in_the_next_step_and_the_scenario_gives_what_was_seen(watch: Watch, tmp_path: Path) -> None:
    model = watch(seed=2, steps=4)
    model.strike((-0.3, -0.4, -0.5))
    assert model.pending == 1
    for _ in range(4):
        model.step()
    assert model.pending == 0
    (tmp_path / "seen.yaml").write_text(dump_scenario(model.world))
    again = run(tmp_path / "seen.yaml", seed=2, steps=8)
    seen = model.snapshot.table.frame()[list(again.series.columns)]
    pd.testing.assert_frame_equal(seen, again.series.astype({"step": float}), check_exact=True)
    assert seen["index_BTC"].iloc[5] / seen["index_BTC"].iloc[4] < 0.8


def failing_news(folder: Path, when: int) -> str:
    """A scenario whose news fail in a step (-1: when they are made)."""
    (folder / "failing_news_of_this_test.py").write_text(
        "from model.news import Constant\n\n\n"
        "class Bad(Constant):\n"
        "    def __init__(self, parameters=None):\n"
        "        super().__init__(parameters)\n"
        f"        if {when} == -1:\n"
        "            raise OverflowError('too much news')\n\n"
        "    def rule(self, view, state, streams):\n"
        f"        if view.step == {when}:\n"
        "            raise OverflowError('too much news')\n"
        "        return super().rule(view, state, streams)\n"
    )
    (folder / "bad.yaml").write_text(SMALL + "news: {type: 'failing_news_of_this_test:Bad'}\n")
    return str(folder / "bad.yaml")


@pytest.fixture
def own_rules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "failing_news_of_this_test", raising=False)
    return tmp_path


def test_a_step_that_fails_stops_the_run_and_says_why(watch: Watch, own_rules: Path) -> None:
    model = watch(failing_news(own_rules, 2), steps=4)
    seen = model.snapshot
    assert (model.running, seen.step, len(seen.table)) == (False, 2, 3)
    assert seen.failure == "step 3: OverflowError: too much news (failing_news_of_this_test.py:12)"


def test_what_cannot_be_opened_is_refused_and_the_last_scenario_opened_anew(watch: Watch, own_rules: Path, small: str) -> None:
    desk = Desk(small)
    model = watch(failing_news(own_rules, -1), desk=desk, steps=2)
    assert (desk.refused, model.snapshot.world.name, model.snapshot.step) == ("too much news", "small", 2)
    model = watch(str(own_rules / "none.yaml"), desk=desk, steps=1)
    assert "none.yaml: file: found no such file" in desk.refused
    assert (model.snapshot.world.name, model.snapshot.step) == ("small", 1)


def test_a_play_loop_that_reset_has_ended_does_not_step_the_new_model(small: str, impatient: None) -> None:
    desk = Desk(small)
    models = [Watched(desk, small)]
    reset = threading.Event()

    def play() -> None:
        models[-1].step()
        reset.wait(10)
        models[-1].step()  # as SolaraViz does: it looks for `playing` only afterwards

    loop = threading.Thread(target=play)
    loop.start()
    while models[0].snapshot.step == 0:
        time.sleep(0.01)
    models.append(Watched(desk, small))
    reset.set()
    loop.join(timeout=10)
    assert [model.snapshot.step for model in models] == [1, 0]
    models[1].step()
    assert (models[1].snapshot.step, models[1].time) == (1, 1)
