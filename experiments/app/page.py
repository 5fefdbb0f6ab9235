"""The root of the UI: Mesa's SolaraViz for time and parameters, our pages beside it."""

import os
from pathlib import Path
from typing import Any, Final

import ipyvuetify
import solara
import solara.lab
import traitlets
from mesa.visualization import SolaraViz
from mesa.visualization.utils import update_counter

from experiments import shipped
from experiments.app import story, theme
from experiments.app.backstop import BackstopPage
from experiments.app.compare import ComparePage
from experiments.app.controls import SHOCK, moved
from experiments.app.desk import Desk
from experiments.app.gate import Watched
from experiments.app.market import MarketPage
from experiments.app.network import NetworkPage
from experiments.app.policy import Policy
from experiments.app.snapshot import Snapshot
from model.scenario_file import dump_scenario

OPENING: Final = ("BACKSTOP_APP_SCENARIO", "BACKSTOP_APP_SEED")
"""Where the command line leaves what to open first."""
STYLE: Final = Path(__file__).with_name("page.css")
PAGES: Final = ("Backstop", "Market", "Network", "Compare")
INTERVAL: Final = 100
"""Milliseconds between two steps of play, at first."""
MOODS: Final = {"calm": theme.BLUE, "stress": theme.ORANGE, "empty": theme.RED, "insolvent": theme.RED, "failed": theme.RED}


class Frame(ipyvuetify.VuetifyTemplate):
    """Tells which frame the browser has drawn, and whether the page is dark. It stands last: what is above it has been drawn before.

    Solara knows a theme that the reader has chosen, and not one that the page takes from the reader's desktop.
    """

    template_file = (__file__, "frame.vue")
    frame = traitlets.Int(0).tag(sync=True)
    on_drawn = traitlets.Callable(None, allow_none=True)
    on_look = traitlets.Callable(None, allow_none=True)

    def vue_drawn(self, frame: int) -> None:
        """From the browser."""
        if self.on_drawn is not None:
            self.on_drawn(frame)

    def vue_look(self, dark: bool) -> None:
        """From the browser."""
        if self.on_look is not None:
            self.on_look(dark)


@solara.component
def Page() -> None:
    """One browser tab."""
    desk = solara.use_memo(Desk, [])
    world, seed = os.environ.get(OPENING[0], "crash"), int(os.environ.get(OPENING[1], "0"))
    model = solara.use_memo(lambda: solara.reactive(Watched(desk, world, seed)), [])
    solara.use_effect(lambda: desk.gate.close, [])
    solara.Style(STYLE)
    solara.Title("Backstop")
    with solara.Div(classes=["backstop"]):
        SolaraViz(
            model,
            components=[],
            model_params=parameters(desk, world, seed),
            name="Backstop: who pays when the fund is empty?",
            play_interval=INTERVAL,
        )
        Policy(desk)
        Stage(desk, model.value)


def parameters(desk: Desk, world: str, seed: int) -> dict[str, Any]:
    """What SolaraViz builds the model with at Reset."""
    known = list(dict.fromkeys([*shipped.scenarios(), world]))
    return {
        "desk": desk,
        "world": {"type": "Select", "label": "Scenario (opened by RESET)", "value": world, "values": known},
        "rng": {"type": "SliderInt", "label": "Seed (used by RESET)", "value": seed, "min": 0, "max": max(100, seed), "step": 1},
    }


@solara.component
def Stage(desk: Desk, model: Watched) -> None:
    """Everything that changes with a step."""
    update_counter.get()
    seen = model.snapshot
    desk.gate.send(seen.frame)
    dark = desk.dark.value
    page, set_page = solara.use_state(0)
    with solara.Div(classes=["stage"]):
        Story(desk, model, seen, dark)
        with solara.Div(classes=["bar"]):
            with solara.lab.Tabs(value=page, on_value=set_page):
                for name in PAGES:
                    solara.lab.Tab(name)
            solara.Text(f"{seen.world.name}, seed {seen.seed}: {story.clock(seen)}", classes=["clock"])
            Downloads(seen)
        if page == 0:
            BackstopPage(seen, dark)
        elif page == 1:
            MarketPage(seen, dark)
        elif page == 2:
            NetworkPage(seen, dark, id(model))
        else:
            ComparePage(seen, dark, desk.open.value.setting)
        Frame.element(frame=seen.frame, on_drawn=desk.gate.drawn, on_look=desk.dark.set)


@solara.component
def Story(desk: Desk, model: Watched, seen: Snapshot, dark: bool) -> None:
    """The headline, the shock button, and the figures that matter."""
    told = story.headline(seen)
    struck, set_struck = solara.use_state(-1)

    def shock() -> None:
        model.strike(moved(seen.world, desk.fall.value / 100.0))
        set_struck(seen.step)

    with solara.Div():
        if desk.refused.value:
            solara.Error(f"This could not be opened, so the scenario before it has been opened anew. {desk.refused.value}", dense=True)
        with solara.Div(classes=["story", told.mood], style={"border-color": theme.ink(MOODS[told.mood], dark=dark)}):
            solara.Text(told.text, classes=["words"])
            with solara.Div(classes=["shock"]):
                first = seen.markets[0]
                waiting = struck == seen.step and model.pending
                says = "strikes in the next step" if waiting else f"Shock now: {first} −{desk.fall.value} %"
                with solara.Tooltip(SHOCK.says):
                    solara.Button(says, on_click=shock, color="error", small=True, disabled=seen.over or seen.failure is not None)
                solara.SliderInt(SHOCK.label, value=desk.fall, min=int(SHOCK.low), max=int(SHOCK.high))
        with solara.Div(classes=["cards"]):
            for figure in story.figures(seen):
                with solara.Div(classes=["card"]):
                    solara.Text(figure.label, classes=["what"])
                    solara.Text(figure.amount, classes=["much"], style={"color": theme.ink(theme.RED, dark=dark)} if figure.bad else {})
                    solara.Text(figure.remark, classes=["remark"])


@solara.component
def Downloads(seen: Snapshot) -> None:
    """What is shown as CSV, and the scenario that shows it again."""
    name = f"{seen.world.name}-seed{seen.seed}"
    with solara.Div(classes=["downloads"]):
        with solara.FileDownload(lambda: seen.table.frame().to_csv(index=False), filename=f"{name}.csv", mime_type="text/csv"):
            solara.Button("CSV", icon_name="mdi-download", text=True, small=True)
        with solara.FileDownload(lambda: as_run(seen), filename=f"{name}.yaml", mime_type="application/yaml"):
            solara.Button("YAML", icon_name="mdi-download", text=True, small=True)


def as_run(seen: Snapshot) -> str:
    """The scenario as it was seen: levers, shocks from outside, and as many steps as were taken."""
    world = seen.world.model_copy(update={"steps": seen.step or seen.world.steps})
    return f"# backstop run {seen.world.name}-seed{seen.seed}.yaml --seed {seen.seed}\n{dump_scenario(world)}"
