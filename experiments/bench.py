"""`backstop bench`: how fast a step is, against the same rules as one plain Mesa agent a trader, in one process."""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.table import Table

from experiments.twin.record import RecordedEcosystem
from experiments.twin.world import Character, Increments, World
from model.ecosystem import Ecosystem
from model.ledger import Role
from model.news import NewsSource
from model.randomness import Streams
from model.scenario import Scenario

BURN_IN = 24
"""Steps before the clock starts."""
SECONDS = 2.0
"""A measurement goes on for at least this long, or for the steps asked for."""


@dataclass(frozen=True)
class Timing:
    """Steps taken, wall-clock seconds they took, accounts with traders behind them."""

    engine: str
    traders: int
    steps: int
    seconds: float

    @property
    def rate(self) -> float:
        """Account-steps per second."""
        return self.traders * self.steps / self.seconds


def calm(traders: int, crash: bool = False) -> Scenario:
    """The default world with so many traders, money in proportion, volatility as usual and no jumps; or a fall by 30 % within six hours."""
    base = Scenario().model_dump(by_alias=True)
    scale = traders / 1000
    groups = [{**group, "count": round(group["count"] * scale), "equity": group["equity"] * scale} for group in base["traders"]["groups"]]
    groups[0]["count"] = traders - sum(group["count"] for group in groups[1:])
    block = base["venues"][0]
    house, makers, liquidators = block["clearinghouse"], block["market_makers"], block["liquidators"]
    scaled = {
        "clearinghouse": {**house, "fund": house["fund"] * scale, "capital": house["capital"] * scale},
        "market_makers": {**makers, "capital": makers["capital"] * scale, "depth": [depth * scale for depth in makers["depth"]]},
        "liquidators": {**liquidators, "capital": liquidators["capital"] * scale},
    }
    lenders = {**base["lenders"], "capital": base["lenders"]["capital"] * scale}
    still = {"intensity": 0.0, "mean": 0.0, "sd": 0.0}
    news = {**base["news"], "common_jumps": still, "own_jumps": still, "volatility_components": []}
    shocks = [{"type": "price_move", "at": 1.0, "lasts": 6.0, "size": [-0.3, -0.35, -0.45]}] if crash else []
    changed = {"traders": {**base["traders"], "groups": groups}, "venues": [{**block, **scaled}], "lenders": lenders, "news": news, "shocks": shocks}
    return Scenario.model_validate({**base, **changed})


def array_engine(scenario: Scenario, seed: int) -> Ecosystem:
    """The array engine as `backstop run` uses it, laws unchecked, without events."""
    return Ecosystem(scenario, rng=seed, record_events=False)


def plain_engine(scenario: Scenario, seed: int) -> World:
    """The same world as one plain Mesa agent a trader: same opening accounts, same news."""
    opened = RecordedEcosystem(scenario, rng=seed, record_events=False)
    characters = {}
    for group in opened.population.groups:
        members = zip(group.rows.tolist(), group.strategy.tolist(), group.leverage.tolist(), group.stake.tolist(), strict=True)
        for row, strategy, leverage, stake in members:
            characters[row] = Character(group.parameters, strategy, leverage, stake)
    return World(opened.world, opened.opening(), characters, _news(opened.world, seed), rng=seed)


def _news(scenario: Scenario, seed: int) -> Callable[[], Increments]:
    source = NewsSource(scenario.news, scenario.assets, Streams(seed), scenario.hours_per_step)

    def following() -> Increments:
        path = source.next(following.step)  # type: ignore[attr-defined]
        following.step += 1  # type: ignore[attr-defined]
        return list(zip(path.dlog.T.tolist(), path.hours.tolist(), strict=True))

    following.step = 0  # type: ignore[attr-defined]
    return following


def measure(name: str, traders: int, step: Callable[[], object], steps: int | None, burn_in: int) -> Timing:
    """Times steps after a burn-in: `steps` of them, or as many as fill `SECONDS`."""
    for _ in range(burn_in):
        step()
    taken, started = 0, time.perf_counter()
    while True:
        step()
        taken += 1
        seconds = time.perf_counter() - started
        if taken >= (steps or 2) and (steps is not None or seconds >= SECONDS):
            return Timing(name, traders, taken, seconds)
