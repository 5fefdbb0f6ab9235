"""The page in a real browser: the story of a crash, from the opening to the defaults."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from experiments.app import theme
from experiments.app.picture import served
from experiments.runner import run

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]  # one worker: one server, one browser

PAGES = ("Backstop", "Market", "Network", "Compare")


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_crash_is_told_from_the_opening_to_the_defaults(new_tab: Any, shoot: Any, look: str) -> None:
    tab = new_tab(look=look)
    assert "opens with $10.0m in its backstop fund" in tab.headline
    shoot(tab, f"{look}-opening")
    tab.take(2)
    tab.play_to(11)
    assert "The fund is exhausted" in tab.headline or "insolvent" in tab.headline
    rows = tab.page.locator(".wf-row")
    paid = {row.get_attribute("data-layer"): float(row.get_attribute("data-usd")) for row in rows.all()}
    assert list(paid)[:2] == ["fund", "exchange_capital"]
    assert paid["fund"] > 10e6 * 0.9
    assert paid["exchange_capital"] > 0
    assert "defaulted" in tab.headline
    for name in PAGES:
        tab.open(name)
        shoot(tab, f"{look}-{name.lower()}")
    # Nothing of the page stands outside a window of 1280 x 720 to the right.
    assert tab.page.evaluate("() => document.documentElement.scrollWidth") <= 1280


def test_charts_can_be_read_on_a_dark_desktop_and_follow_it_when_it_grows_light(new_tab: Any, shoot: Any) -> None:
    tab = new_tab(look="night")
    ink = """() => requirejs(`${solara.cdn}/echarts@5.4.0/dist/echarts.js`)
        .getInstanceByDom(document.querySelector("[role=img]")).getOption().textStyle.color"""
    tab.until(f"() => ({ink})() === '{theme.text(dark=True)}'")
    shoot(tab, "night-opening")
    tab.page.emulate_media(color_scheme="light")
    tab.until(f"() => ({ink})() === '{theme.text(dark=False)}'")


def test_a_node_is_clicked_for_its_balance_sheet(tab: Any) -> None:
    tab.open("Network")
    box = tab.page.locator(".net canvas").bounding_box()
    tab.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert "exchange" in tab.page.locator(".net-tip").inner_text()
    tab.page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.page.locator(".sheet-name", has_text="exchange").wait_for()
    assert "liabilities" in tab.page.locator(".sheet").inner_text()


def test_a_slider_is_moved_and_opened_by_reset(tab: Any) -> None:
    slider = tab.page.get_by_role("slider", name="Opening fund")
    slider.focus()
    tab.page.keyboard.press("End")
    tab.page.locator(".notice").wait_for()
    tab.press("Reset")
    tab.page.locator(".words", has_text="opens with $200m").wait_for()
    assert tab.page.locator(".notice").count() == 0


def test_a_lever_that_does_not_fit_the_scenario_gives_a_message_and_the_page_lives_on(new_tab: Any, shoot: Any, tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("name: bare\nvenues: [{clearinghouse: {waterfall: [{type: fund}, {type: write_down}]}}]\n")
    with served(str(file)) as address:
        tab = new_tab(address=address)
        tab.page.get_by_role("button", name="Deleveraging").click()
        tab.page.get_by_role("option", name="pro rata to profit").click()
        tab.page.locator(".policy .v-alert", has_text="found no layer `deleveraging`").wait_for()
        tab.press("Reset")
        tab.page.locator(".stage .v-alert", has_text="This could not be opened").wait_for()
        shoot(tab, "refused")
        tab.take(1)
        assert tab.page.evaluate("() => document.documentElement.scrollWidth") <= 1280


def test_a_shock_strikes_and_what_is_downloaded_gives_it_again(tab: Any, tmp_path: Path) -> None:
    tab.take(1)
    tab.page.get_by_role("button", name="Shock now").click()
    tab.page.get_by_role("button", name="strikes in the next step").wait_for()
    tab.take(2)
    fallen = tab.page.locator(".card .much").first.inner_text()
    assert fallen.startswith("−")
    assert float(fallen.strip("−%")) > 25.0
    files = {}
    for label, suffix in (("CSV", "csv"), ("YAML", "yaml")):
        with tab.page.expect_download() as waiting:
            tab.press(label)
        files[suffix] = tmp_path / waiting.value.suggested_filename
        waiting.value.save_as(files[suffix])
    assert files["yaml"].name == "short-seed0.yaml"
    again = run(files["yaml"], seed=0)
    seen = pd.read_csv(files["csv"], dtype=str).astype(float)[list(again.series.columns)]
    pd.testing.assert_frame_equal(seen, again.series.astype({"step": float}), check_exact=True)


def test_fast_play_with_clicks_and_sliders_does_not_lose_the_page(tab: Any) -> None:
    speed = tab.page.get_by_role("slider", name="Play Interval")
    speed.focus()
    tab.page.keyboard.press("Home")
    tab.press("▶")
    for _ in range(3):
        for name in PAGES:
            tab.open(name)
        tab.page.get_by_role("slider", name="Leverage cap").first.focus()
        tab.page.keyboard.press("ArrowLeft")
        before = tab.step
        tab.until(f"() => parseInt(document.querySelector('.clock').innerText.split('step ')[1].replace(',', '')) > {before}")
    tab.press("❚❚")
    tab.page.get_by_role("button", name="▶").wait_for()
    tab.press("Reset")
    tab.page.locator(".clock", has_text="step 0 ").wait_for()


def test_two_tabs_do_not_disturb_each_other_and_reloading_begins_anew(new_tab: Any) -> None:
    one, other = new_tab(), new_tab()
    one.take(3)
    assert (one.step, other.step) == (3, 0)
    other.take(1)
    assert (one.step, other.step) == (3, 1)
    one.load()
    assert (one.step, other.step) == (0, 1)


def test_two_policies_are_compared(tab: Any, shoot: Any) -> None:
    tab.open("Compare")
    tab.press("Compare A with B")
    tab.page.locator("text=168 steps:").wait_for(timeout=120_000)
    table = tab.page.locator("table.compare").inner_text()
    residual = next(line for line in table.splitlines() if line.startswith("Residual loss")).split("\t")
    assert residual[1] != "$0"
    assert residual[2] != residual[1]
    shoot(tab, "compared")
