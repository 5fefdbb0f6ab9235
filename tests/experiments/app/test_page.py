"""The page as SolaraViz builds it, without a browser: buttons, levers, tabs, downloads."""

import contextlib
import threading
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pytest.importorskip("solara", reason="the opened UI's packages are not installed: pip install 'backstop[app]'")

import ipyvue
import ipyvuetify as v
import solara

from experiments.app import page
from experiments.app.backstop import Waterfall
from experiments.app.chart import Chart
from experiments.app.network import NetworkCanvas
from experiments.runner import run


class Browser:
    """A rendered page and what a reader does on it."""

    def __init__(self) -> None:
        @solara.component
        def Root() -> Any:  # noqa: N802
            return solara.AppLayout(children=[page.Page()])

        self.box, self.rc = solara.render(Root(), handle_error=False)

    def button(self, label: str) -> Any:
        (found,) = [
            widget for widget in self.rc.find(v.Btn).widgets if label in [text for text in widget.children if isinstance(text, str)]
        ]
        return found

    def press(self, label: str) -> None:
        self.button(label).click()

    def await_button(self, label: str) -> None:
        """A play loop that has been ended says so from its own thread."""
        for _ in range(200):
            with contextlib.suppress(ValueError):
                self.button(label)
                return
            time.sleep(0.05)
        raise TimeoutError(label)

    def texts(self, name: str) -> list[str]:
        return [" ".join(map(str, widget.children)) for widget in self.rc.find(ipyvue.Html, class_=name).widgets]

    @property
    def headline(self) -> str:
        return self.texts("words")[0]

    @property
    def clock(self) -> str:
        return self.texts("clock")[0]

    def open(self, name: str) -> None:
        (tabs,) = self.rc.find(v.Tabs).widgets
        tabs.v_model = page.PAGES.index(name)

    def slider(self, label: str) -> Any:
        (found,) = [widget for widget in self.rc.find(v.Slider).widgets if str(widget.label).startswith(label)]
        return found


@pytest.fixture
def opened(small: str, impatient: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("BACKSTOP_APP_SCENARIO", small)
    there = Browser()
    yield there
    there.rc.close()


def test_the_page_opens_with_a_sentence_and_the_waterfall(opened: Browser) -> None:
    assert "Press ▶" in opened.headline
    (waterfall,) = opened.rc.find(Waterfall).widgets
    assert [row["layer"] for row in waterfall.rows] == ["fund", "exchange_capital", "deleveraging", "socialised_loss", "write_down"]
    assert len(opened.rc.find(Chart).widgets) == 1


def test_step_takes_one_step_and_reset_goes_back(opened: Browser) -> None:
    opened.press("Step")
    opened.press("Step")
    assert "step 2 of 12" in opened.clock
    opened.press("Reset")
    assert "step 0 of 12" in opened.clock


def test_every_page_can_be_opened_at_any_time(opened: Browser) -> None:
    for _ in range(2):
        for name in page.PAGES:
            opened.open(name)
        opened.press("Step")
    opened.open("Network")
    (canvas,) = opened.rc.find(NetworkCanvas).widgets
    assert len(canvas.nodes) == len(canvas.state["radius"]) == 6 + 8 + 5 + 1
    canvas.vue_pick(0)
    assert "lender 1" in str(opened.rc.find(ipyvue.Html, class_="sheet-row sheet-name").widgets[0].children[0].children)


def test_a_lever_is_announced_and_opened_by_reset(opened: Browser) -> None:
    assert opened.texts("notice") == []
    opened.slider("Opening fund").v_model = 25.0
    assert len(opened.texts("notice")) == 1
    assert "$60.0m" in opened.headline
    opened.press("Reset")
    assert "$25.0m" in opened.headline
    assert opened.texts("notice") == []


def test_a_shock_strikes_in_the_next_step(opened: Browser) -> None:
    opened.slider("Size").v_model = 50
    opened.press("Shock now: BTC −50 %")
    assert opened.button("strikes in the next step") is not None
    opened.press("Step")
    assert float(opened.texts("much")[0].strip("−%")) > 40.0


def test_ten_resets_leave_no_thread_behind(opened: Browser) -> None:
    opened.press("▶")
    opened.press("❚❚")
    opened.press("Reset")
    before = threading.active_count()
    for _ in range(10):
        opened.await_button("▶")
        opened.press("▶")
        opened.press("Reset")
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(timeout=5)
    assert threading.active_count() <= before


def test_levers_that_do_not_go_together_are_told_and_reset_keeps_what_was_open(
    impatient: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("steps: 12\nvenues: [{clearinghouse: {waterfall: [{type: fund}, {type: write_down}]}}]\n")
    monkeypatch.setenv(page.OPENING[0], str(file))
    bare = Browser()
    (select,) = [widget for widget in bare.rc.find(v.Select).widgets if widget.label == "Deleveraging"]
    select.v_model = 1
    told = [str(widget.children) for widget in bare.rc.find(v.Alert).widgets]
    assert any("Deleveraging: waterfall: found no layer `deleveraging`" in text for text in told)
    bare.press("Step")
    bare.press("Reset")
    told = [str(widget.children) for widget in bare.rc.find(v.Alert).widgets]
    assert any("could not be opened" in text for text in told)
    assert "step 0 of 12" in bare.clock
    bare.rc.close()


def test_two_pages_do_not_disturb_each_other(opened: Browser) -> None:
    other = Browser()
    other.press("Step")
    other.slider("Opening fund").v_model = 25.0
    assert "step 0 of 12" in opened.clock
    assert opened.texts("notice") == []
    other.rc.close()


def test_what_is_downloaded_runs_and_shows_the_same(opened: Browser, tmp_path: Path, watch: Any) -> None:
    model = watch(seed=4, steps=3)
    model.strike((-0.3,))
    for _ in range(3):
        model.step()
    file = tmp_path / "seen.yaml"
    file.write_text(page.as_run(model.snapshot))
    assert file.read_text().startswith("# backstop run small-seed4.yaml --seed 4\n")
    again = run(file, seed=4)
    seen = model.snapshot.table.frame()[list(again.series.columns)]
    pd.testing.assert_frame_equal(seen, again.series.astype({"step": float}), check_exact=True)
