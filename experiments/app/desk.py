"""What one browser tab keeps: the levers as they stand, the gate, and what was last refused. Tabs share nothing."""

from typing import TYPE_CHECKING

import solara

from experiments import shipped
from experiments.app.controls import Setting, resolved
from experiments.app.gate import Gate
from model.errors import ScenarioError
from model.scenario import Scenario

if TYPE_CHECKING:
    import threading


class Desk:
    """The state of a page beside its model.

    Attributes:
        setting: levers that have been moved.
        applied: levers that the open model was built with.
        source, base: name of the open scenario, and what it says without levers.
        fall: the size of the next shock, per cent.
        refused: why the last reset did not open what was set; empty if it did.
        gate, player, frames: see `experiments.app.gate`.
    """

    def __init__(self) -> None:
        self.setting: solara.Reactive[Setting] = solara.reactive({})
        self.fall = solara.reactive(30)
        self.refused = solara.reactive("")
        self.applied: Setting = {}
        self.gate = Gate()
        self.player: threading.Thread | None = None
        self.frames = 0
        self.source = "baseline"
        self.base = self._sound = shipped.load(self.source)

    def opened(self, world: str) -> Scenario:
        """The scenario of that name with the levers that have been moved."""
        return resolved(world, self.setting.value)

    def accept(self, world: str, scenario: Scenario) -> None:
        """It has been opened."""
        self.refused.set("")
        self._sound, self.applied = scenario, self.setting.value
        self.source, self.base = world, shipped.load(world)

    def refuse(self, reason: str) -> Scenario:
        """Keeps the reason for the page to tell; the last scenario that could be opened."""
        self.refused.set(reason)
        return self._sound

    def faults(self) -> str:
        """What is wrong with the levers as they stand; empty if nothing is."""
        try:
            resolved(self.source, self.setting.value)
        except ScenarioError as error:
            return str(error)
        return ""
