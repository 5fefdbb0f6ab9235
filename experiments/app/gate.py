"""Mesa's model as the browser UI runs it: it waits for the browser, publishes snapshots, and stops where a step fails.

SolaraViz plays a model in a thread of its own, and the page is rendered from that thread and from the browser's events. Unless the model
waits until the browser has drawn, frames pile up until the page is lost; so each step waits for the last frame that was sent.
"""

import math
import threading
from typing import Final, Protocol

from experiments.app import snapshot
from experiments.app.history import Floats, History
from experiments.runner import RunFailed, advance
from model.ecosystem import Ecosystem
from model.scenario import Scenario

PATIENCE: Final = 2.0
"""Seconds that a step waits for a browser that says nothing, for example because its tab is hidden."""


class Gate:
    """Holds a step back until the browser has drawn the last frame that it was sent."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._sent = 0
        self._drawn = 0
        self.closed = False

    def send(self, frame: int) -> None:
        """The page is rendered with this frame."""
        with self._change:
            self._sent = max(self._sent, frame)

    def drawn(self, frame: int) -> None:
        """The browser has drawn this frame."""
        with self._change:
            self._drawn = max(self._drawn, frame)
            self._change.notify_all()

    def close(self) -> None:
        """The page has gone: nobody is waited for, and no step is taken."""
        with self._change:
            self.closed = True
            self._change.notify_all()

    def wait(self) -> bool:
        """Whether a step may be taken; returns when the browser has drawn, when patience ends, or when the page has gone."""
        with self._change:
            self._change.wait_for(lambda: self.closed or self._drawn >= self._sent, PATIENCE)
            return not self.closed


class Desk(Protocol):
    """What a watched model needs of the page that shows it."""

    gate: Gate
    player: threading.Thread | None
    frames: int

    @property
    def source(self) -> str:
        """Name of the scenario that is open."""
        ...

    def opened(self, world: str) -> Scenario:
        """The scenario of that name, with the policy that is set on the page."""
        ...

    def accept(self, world: str, scenario: Scenario) -> None:
        """That scenario has been opened."""
        ...

    def refuse(self, reason: str) -> Scenario:
        """Tells that what is set cannot be opened; a scenario that can."""
        ...


class Watched(Ecosystem):
    """An ecosystem that SolaraViz can play, pause, step and reset without the page losing itself.

    SolaraViz builds one at each reset, with these keywords.

    Args:
        desk: the page's own state; each browser tab has one.
        world: the scenario's name.
        rng: the seed.

    Attributes:
        snapshot: what the pages show.
    """

    def __init__(self, desk: Desk, world: str, rng: int = 0) -> None:
        try:
            scenario = desk.opened(world)
            super().__init__(scenario, rng=int(rng), record_events=False)
            desk.accept(world, scenario)
        except Exception as error:  # noqa: BLE001 - a user's own rules and files may fail in any way; the page tells it
            vars(self).clear()  # what half an opening has left behind
            super().__init__(desk.refuse(str(error) or type(error).__name__), rng=int(rng), record_events=False)
        self._desk, self._source = desk, desk.source
        # A play loop that a reset has just ended takes one more turn, which is not this model's.
        here = threading.current_thread()
        self._left_over = desk.player if desk.player is not here else None
        self._lock = threading.Lock()
        self._moves: list[tuple[float, ...]] = []
        self._history = History(snapshot.columns(self))
        self._stress: snapshot.Stress | None = None
        self._whole: snapshot.Stress | None = None
        self._opening: Floats | None = None
        self._failure: str | None = None
        self._publish()
        self._take = self.step  # Mesa's own, which also keeps Mesa's clock
        self.step = self._turn  # type: ignore[method-assign]

    def strike(self, moves: tuple[float, ...]) -> None:
        """A shock at the start of the next step: simple return of each market."""
        with self._lock:
            self._moves.append(moves)

    @property
    def pending(self) -> int:
        """Shocks that wait for the next step."""
        return len(self._moves)

    def _turn(self) -> None:
        """One step, when the browser is ready for it and there is one to take."""
        here = threading.current_thread()
        if here is self._left_over or not self.running:
            return
        self._desk.player = here
        if not self._desk.gate.wait():
            self.running = False
            return
        try:
            self._strike()
            advance(self._take, self.tick + 1)
        except RunFailed as error:
            self._failure = str(error)
        self.running = self._failure is None and self.tick < self.last
        self._publish()

    def _strike(self) -> None:
        with self._lock:
            moves, self._moves = self._moves, []
        for each in moves:
            self.shock(each)

    @property
    def last(self) -> int:
        """The step at which the run is over."""
        return self.world.steps if self.news.steps is None else min(self.world.steps, self.news.steps)

    def _publish(self) -> None:
        """The snapshot of this moment. What the model itself keeps of earlier steps is dropped: the history has it."""
        if self._failure is None:
            self._history.append(snapshot.row(self, self.statement))
            self._stress = snapshot.stressed(self._stress, self)
            self._whole = snapshot.stressed(self._whole, self, lull=math.inf)
            self.restate()
            for values in self.datacollector.model_vars.values():
                del values[:-1]
        institutions = snapshot.institutions(self, self._opening)
        self._opening = institutions.opening
        self._desk.frames += 1
        self.snapshot = snapshot.Snapshot(
            frame=self._desk.frames,
            source=self._source,
            world=self.world,
            seed=self.seed,
            step=self.tick,
            hours=self.hours,
            last=self.last,
            markets=self.names,
            table=self._history.table(),
            layers=tuple(layer.name for layer in self.venue.waterfall),
            pools=self.venue.pools.names,
            stress=self._stress,
            whole=self._whole,
            institutions=institutions,
            accounts=snapshot.accounts(self),
            failure=self._failure,
        )
