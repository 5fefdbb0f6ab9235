"""The levers on the page: each with its unit, a sentence, and what the scenario itself says."""

from collections.abc import Callable

import solara

from experiments.app.controls import ACCRUALS, AS_IT_IS, LEVERS, Select, Setting, Slider, Value, shown
from experiments.app.desk import Desk
from model.scenario import Scenario


@solara.component
def Policy(desk: Desk) -> None:
    """The levers, below Mesa's own controls in the side bar: what lies deeper on the page comes later there."""
    with solara.Div():
        Lower(desk)


@solara.component
def Lower(desk: Desk) -> None:
    """One layer down."""
    Card(desk)


@solara.component
def Card(desk: Desk) -> None:
    """What is set here is opened by Reset."""
    setting = desk.setting.value
    with solara.Sidebar(), solara.Card("Policy (opened by RESET)", margin=0, elevation=1, classes=["policy"]):
        if setting != desk.open.value.setting:
            with solara.Div(classes=["notice"]):
                solara.Text("Changed. Press RESET to open the scenario with it.")
        Levers(setting, desk.setting.set, desk.open.value.base)
        if setting:
            solara.Button("as in the scenario", on_click=lambda: desk.setting.set({}), text=True, small=True)
        faults = desk.faults()
        if faults:
            solara.Error(faults, dense=True, text=True)


@solara.component
def Levers(setting: Setting, on_change: Callable[[Setting], None], base: Scenario, sentences: bool = True) -> None:
    """All levers."""

    def move(name: str, value: Value) -> None:
        rest = {other: kept for other, kept in setting.items() if other != name}
        on_change(rest if value == AS_IT_IS else {**rest, name: value})

    for lever in LEVERS:
        if lever.name == "rate" and setting.get("accrual") not in {rule for rule, unit in ACCRUALS.items() if unit}:
            continue
        with solara.Div(classes=["lever"]):
            if isinstance(lever, Slider):
                _slider(lever, setting, base, move)
            else:
                _select(lever, setting, move)
            if sentences:
                solara.Text(lever.says, classes=["says"])


def _slider(lever: Slider, setting: Setting, base: Scenario, move: Callable[[str, Value], None]) -> None:
    own = shown(base, lever)
    start = own if own is not None else 10.0 if lever.name == "rate" else lever.high
    value = float(setting.get(lever.name, start))
    unit = ACCRUALS.get(str(setting.get("accrual")), lever.unit) if lever.name == "rate" else lever.unit
    told = "tiers alone" if own is None and lever.path and lever.name not in setting else f"{value:g} {unit}"
    solara.SliderFloat(
        f"{lever.label}: {told}",
        value=min(max(value, lever.low), lever.high),
        min=lever.low,
        max=lever.high,
        step=lever.step,
        on_value=lambda new, name=lever.name: move(name, new),
    )


def _select(lever: Select, setting: Setting, move: Callable[[str, Value], None]) -> None:
    solara.Select(
        lever.label,
        values=list(lever.options),
        value=str(setting.get(lever.name, AS_IT_IS)),
        on_value=lambda new, name=lever.name: move(name, new),
        dense=True,
    )
