"""`backstop bench`: how fast a step is, against the same rules as one plain Mesa agent a trader, in one process."""

import itertools
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Table

from agents.clearinghouse.sizing import SizingView, TailLoss
from agents.clearinghouse.stress import Books
from experiments.twin.person import Character
from experiments.twin.record import RecordedEcosystem
from experiments.twin.world import Increments, World
from model.ecosystem import Ecosystem
from model.news import NewsSource
from model.randomness import Streams
from model.scenario import Scenario
from model.shocks import ShockView, shock_rules

BURN_IN = 24
"""Steps before the clock starts."""
SECONDS = 2.0
"""A measurement goes on for at least this long, or for the steps asked for."""


@dataclass(frozen=True)
class Timing:
    """Steps taken and the seconds of processor time that they took: what else the machine does is not counted."""

    engine: str
    traders: int
    steps: int
    seconds: float

    @property
    def rate(self) -> float:
        """Account-steps per second."""
        return self.traders * self.steps / self.seconds


def calm(traders: int, *, crash: bool = False) -> Scenario:
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
    people = {"traders": {**base["traders"], "groups": groups}, "lenders": lenders, "venues": [{**block, **scaled}]}
    return Scenario.model_validate({**base, **people, "news": news, "shocks": shocks})


def array_engine(scenario: Scenario, seed: int) -> Ecosystem:
    """The array engine as `backstop run` uses it, laws unchecked, without events."""
    return Ecosystem(scenario, rng=seed, record_events=False)


def plain_engine(scenario: Scenario, seed: int, *, screen: bool = True) -> World:
    """The same world as one plain Mesa agent a trader: same opening accounts, same news."""
    opened = RecordedEcosystem(scenario, rng=seed, record_events=False)
    characters = {}
    for group in opened.population.groups:
        members = zip(group.rows.tolist(), group.strategy.tolist(), group.leverage.tolist(), group.stake.tolist(), strict=True)
        for row, strategy, leverage, stake in members:
            characters[row] = Character(group.parameters, strategy, leverage, stake)
    return World(opened.world, opened.opening(), characters, _news(opened.world, seed), screen=screen, rng=seed)


def _news(scenario: Scenario, seed: int) -> Callable[[], Increments]:
    source = NewsSource(scenario.news, scenario.assets, Streams(seed), scenario.hours_per_step)
    steps = itertools.count()
    rules = [shock_rules.build(p) for p in scenario.shocks]

    def following() -> Increments:
        step = next(steps)
        path = source.next(step)
        view = ShockView(step * scenario.hours_per_step, (step + 1) * scenario.hours_per_step, len(scenario.assets))
        for rule in rules:
            effect, _ = rule.rule(view, None, None)
            path = path.with_shock(effect.drift, effect.jump)
        return list(zip(path.dlog.T.tolist(), path.hours.tolist(), strict=True))

    return following


def measure(engine: str, traders: int, step: Callable[[], object], steps: int | None = None, burn_in: int = BURN_IN) -> Timing:
    """Times steps after a burn-in: `steps` of them, or at least three and as many as fill `SECONDS`."""
    for _ in range(burn_in):
        step()
    taken, started = 0, time.process_time()
    while True:
        step()
        taken += 1
        seconds = time.process_time() - started
        if taken >= steps if steps else (taken >= 3 and seconds >= SECONDS):
            return Timing(engine, traders, taken, seconds)


def memory(traders: int, seed: int) -> float:
    """Bytes a trader that the array engine holds at its peak, opening and a step included."""
    tracemalloc.start()
    array_engine(calm(traders), seed).step()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return peak / traders


def sizing(seed: int, accounts: int = 100_000, markets: int = 10, scenarios: int = 1000) -> tuple[float, int]:
    """Processor seconds that a fund's expected shortfall takes, and its peak of memory in bytes; hardly anybody is screened out."""
    rng = np.random.default_rng(seed)
    position = rng.standard_normal((markets, accounts)) * 10.0 ** rng.normal(3.0, 1.0, accounts)
    gross = np.abs(position).sum(axis=0)
    books = Books(
        position, gross / 10.0, 0.01 * gross, 0.02 * gross, np.ones(accounts), np.zeros(accounts, dtype=bool), np.ones(markets),
        np.full(markets, 1e7), lambda returns: returns,
    )  # fmt: skip
    rule = TailLoss(TailLoss.Parameters(count=scenarios, horizon=24.0))
    view = SizingView(np.zeros(markets), 1.0, np.zeros(markets), np.full(markets, 0.8), lambda: books)
    start = time.process_time()
    rule.rule(view, None, None)
    took = time.process_time() - start
    tracemalloc.start()
    rule.rule(view, None, None)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return took, peak


def main(
    *,
    traders: Annotated[list[int], Parameter(consume_multiple=True, negative=(), validator=Number(gte=100))] | None = None,
    steps: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    agents_limit: Annotated[int, Parameter(validator=Number(gte=0))] = 100_000,
    seed: Annotated[int, Parameter(validator=Number(gte=0))] = 0,
) -> None:
    """Time a whole step in account-steps per second, against the same rules as one plain Mesa agent a trader, in this process.

    Both engines open with the same accounts and hear the same news: three markets, hourly steps, usual volatility without jumps, laws
    unchecked, no events. The plain engine draws, decides, settles and checks one trader at a time; it is timed twice: leaving accounts out
    of the walk that cannot breach within the step, and, as the rules are written, settling and checking every account in every increment.

    Args:
        traders: How many; 1000 and 100000 by default, 10000 between them and 1000000 to see that cost is linear.
        steps: To time; by default as many as fill two seconds.
        agents_limit: The plain engine is left out above so many traders.
        seed: Of all draws.
    """
    sizes, console = traders or [1_000, 10_000, 100_000], Console()
    console.print("processor time, three markets, hourly steps in calm; account-steps are traders x steps", highlight=False)
    table = _table("engine", "traders", "steps", "ms/step", "account-steps/s", "slower by", "us/trader")
    for size in sizes:
        with console.status(f"{size:,} traders"):
            timings = [measure("array", size, array_engine(calm(size), seed).step, steps)]
            if size <= agents_limit:
                timings += [_plain(size, seed, steps, screen=screen) for screen in (True, False)]
        for timing in timings:
            _row(table, timing, timings[0])
    console.print(table)
    _crash(console, min(sizes), seed, agents_limit)
    size = max(min(max(sizes), 100_000), min(sizes))
    took, peak = sizing(seed)
    console.print(
        f"expected shortfall of 100,000 accounts in 10 markets under 1,000 scenarios: {took:.2f} s, {peak / 1e6:,.0f} MB", highlight=False
    )
    console.print(f"the array engine at its peak: {memory(size, seed):,.0f} bytes a trader, with {size:,} traders", highlight=False)


def _plain(traders: int, seed: int, steps: int | None, *, screen: bool, crash: bool = False) -> Timing:
    name = "plain agents" if screen else "plain agents, unscreened"
    world = plain_engine(calm(traders, crash=crash), seed, screen=screen)
    burn_in = 0 if crash else (BURN_IN if traders <= 1000 else 2)
    return measure(name, traders, world.step, steps, burn_in)


def _crash(console: Console, traders: int, seed: int, agents_limit: int) -> None:
    """The eight hours around a fall by 30 % and more, walked increment by increment."""
    timings = [measure("array", traders, array_engine(calm(traders, crash=True), seed).step, 8, burn_in=0)]
    if traders <= agents_limit:
        timings.append(_plain(traders, seed, 8, screen=True, crash=True))
    table = _table("engine, in a crash", "traders", "steps", "ms/step", "account-steps/s", "slower by", "us/trader")
    for timing in timings:
        _row(table, timing, timings[0])
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for at, column in enumerate(columns):
        table.add_column(column, justify="left" if at == 0 else "right")
    return table


def _row(table: Table, timing: Timing, against: Timing) -> None:
    step = timing.seconds / timing.steps
    factor = f"{against.rate / timing.rate:,.1f}x" if timing is not against else ""
    table.add_row(
        timing.engine,
        f"{timing.traders:,}",
        f"{timing.steps:,}",
        f"{1e3 * step:,.2f}",
        f"{timing.rate:,.0f}",
        factor,
        f"{1e6 * step / timing.traders:,.3f}",
    )
