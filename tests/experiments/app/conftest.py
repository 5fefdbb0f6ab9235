"""What the tests of the browser UI share: a small world, and a page's desk without a page."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from experiments import shipped
from experiments.app import gate
from experiments.app.gate import Gate, Watched
from model.scenario import Scenario

if TYPE_CHECKING:
    import threading

SMALL = "name: small\nsteps: 12\ntraders: {groups: [{name: few, count: 40, equity: 4e7}]}\n"
SHOCKED = SMALL.replace("steps: 12", "steps: 40") + (
    "shocks: [{type: price_move, at: 3, size: [-0.4, -0.5, -0.6]}]\n"
    "venues: [{clearinghouse: {fund: 1e4, capital: 1e5}, market_makers: {depth: [1e5, 1e5, 1e4]}}]\n"
)


class Desk:
    """A page's state, as far as a model needs it."""

    def __init__(self, sound: str) -> None:
        self.gate = Gate()
        self.player: threading.Thread | None = None
        self.frames = 0
        self.source = sound
        self.refused = ""

    def opened(self, world: str) -> Scenario:
        return shipped.load(world)

    def accept(self, world: str, scenario: Scenario) -> None:
        self.source, self.refused = world, ""

    def refuse(self, reason: str) -> Scenario:
        self.refused = reason
        return shipped.load(self.source)


@pytest.fixture
def small(tmp_path: Path) -> str:
    """A scenario file of forty traders and twelve steps."""
    (tmp_path / "small.yaml").write_text(SMALL)
    return str(tmp_path / "small.yaml")


@pytest.fixture
def shocked(tmp_path: Path) -> str:
    """The same with a crash in its fourth hour, a fund of 10,000 USD and thin books."""
    (tmp_path / "shocked.yaml").write_text(SHOCKED)
    return str(tmp_path / "shocked.yaml")


@pytest.fixture
def early_crash(tmp_path: Path) -> str:
    """The shipped crash, which strikes after four hours instead of three days."""
    (tmp_path / "early.yaml").write_text((shipped.FOLDER / "crash.yaml").read_text().replace("at: 72", "at: 4").replace("at: 76", "at: 8"))
    return str(tmp_path / "early.yaml")


@pytest.fixture
def divided(tmp_path: Path) -> str:
    """The shocked world with a fund for each market: the first's is ample, the others' are nearly empty."""
    pools = "pools: {by: market, shares: [0.998, 0.001, 0.001]}, fund: 1e7"
    (tmp_path / "divided.yaml").write_text(SHOCKED.replace("fund: 1e4", pools))
    return str(tmp_path / "divided.yaml")


@pytest.fixture
def deferring(tmp_path: Path) -> str:
    """The shocked world with a clawback after a day instead of deleveraging and socialised loss."""
    layers = "waterfall: [{type: fund}, {type: exchange_capital}, {type: clawback, period: 24}, {type: write_down}]"
    (tmp_path / "deferring.yaml").write_text(SHOCKED.replace("clearinghouse: {", f"clearinghouse: {{{layers}, "))
    return str(tmp_path / "deferring.yaml")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is no browser that could say that it has drawn."""
    monkeypatch.setattr(gate, "PATIENCE", 0.0)


@pytest.fixture
def watch(impatient: None, small: str) -> Callable[..., Watched]:
    """Opens a scenario as the page does, and takes some steps."""

    def opened(world: str = small, *, seed: int = 0, steps: int = 0, desk: Desk | None = None) -> Watched:
        model = Watched(desk or Desk(small), world, seed)
        for _ in range(steps):
            model.step()
        return model

    return opened
