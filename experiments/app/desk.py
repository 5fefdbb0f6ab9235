"""What one browser tab keeps: the levers as they stand, the gate, and what was last refused. Tabs share nothing."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import solara
import solara.lab

from experiments import shipped
from experiments.app.controls import Setting, resolved
from experiments.app.gate import Gate
from model.errors import ScenarioError
from model.scenario import Scenario

if TYPE_CHECKING:
    import threading


@dataclass(frozen=True)
class Opened:
    """What the open model was built from: the scenario's name, what it says without levers and with them, and the levers."""

    source: str
    base: Scenario
    resolved: Scenario
    setting: Setting


class Desk:
    """The state of a page beside its model.

    Attributes:
        setting: levers that have been moved.
        open: what the open model was built from.
        fall: the size of the next shock, per cent.
        dark: whether the browser's page is.
        refused: why the last reset did not open what was set; empty if it did.
        gate, player, frames: see `experiments.app.gate`.
    """

    def __init__(self) -> None:
        base = shipped.load("baseline")
        self.setting: solara.Reactive[Setting] = solara.reactive({})
        self.open = solara.reactive(Opened("baseline", base, base, {}))
        self.fall = solara.reactive(30)
        self.refused = solara.reactive("")
        self.dark = solara.reactive(bool(solara.lab.theme.dark_effective))
        self.gate = Gate()
        self.player: threading.Thread | None = None
        self.frames = 0

    @property
    def source(self) -> str:
        """Name of the open scenario."""
        return str(self.open.value.source)

    def opened(self, world: str) -> Scenario:
        """The scenario of that name with the levers that have been moved."""
        return resolved(world, self.setting.value)

    def accept(self, world: str, scenario: Scenario) -> None:
        """It has been opened."""
        self.refused.set("")
        self.open.set(Opened(world, shipped.load(world), scenario, self.setting.value))

    def refuse(self, reason: str) -> Scenario:
        """Keeps the reason for the page to tell; the last scenario that could be opened."""
        self.refused.set(reason)
        last: Scenario = self.open.value.resolved
        return last

    def faults(self) -> str:
        """What is wrong with the levers as they stand; empty if nothing is."""
        try:
            resolved(self.source, self.setting.value)
        except ScenarioError as error:
            return str(error)
        return ""
