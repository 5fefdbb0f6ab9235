"""Does safety buy safety? Paired runs of one stress under levers that should help, over many seeds, signs reported as they come."""

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

import pandas as pd
from scipy import stats

from experiments import shipped
from model.ecosystem import Ecosystem
from model.scenario import Scenario
from model.shocks import PriceMove

START: Final = 72
"""Hour at which the stress of scenario `crash` begins."""
WINDOW: Final = 12
"""Hours of the first stress that are looked at."""
TRADERS: Final = 300
"""Traders in a run, so that hundreds of seeds take minutes."""
SPAN: Final = 100.0
"""Largest over smallest deposit, so that no single trader decides a run."""
LEVERS: Final[dict[str, dict[str, float]]] = {
    "fund 20 m USD": {"fund": 20e6},
    "leverage cap 5": {"leverage_cap": 5.0},
    "leverage cap 3": {"leverage_cap": 3.0},
    "depth x 3": {"depth_scale": 3.0},
}
OUTPUTS: Final = {"residual_loss": "USD", "deficits": "USD", "rounds": "rounds"}
"""Residual loss, deficits, and cascade length in rounds of liquidation, in the window."""


class Effect(NamedTuple):
    """The paired effect of a lever on an output: mean difference over seeds with its 95 % interval (Student's t)."""

    lever: str
    output: str
    unit: str
    base: float
    difference: float
    low: float
    high: float
    seeds: int

    @property
    def verdict(self) -> str:
        """lower, higher, or unresolved if the interval holds zero."""
        return "lower" if self.high < 0.0 else "higher" if self.low > 0.0 else "unresolved"


def stress(scenario: Scenario, seed: int) -> list[dict[str, float]]:
    """Outputs of the first stress, summed over its window: the base arm first, then each lever, all with one seed."""
    rows = []
    for levers in ({}, *LEVERS.values()):
        eco = Ecosystem(scenario, rng=seed, record_events=False, **levers)  # type: ignore[arg-type]
        eco.run_for(START)
        totals = dict.fromkeys(OUTPUTS, 0.0)
        for _ in range(WINDOW):
            eco.step()
            for name in totals:
                totals[name] += eco.observation[name]
        rows.append(totals)
    return rows


def documented_scenario() -> Scenario:
    """Scenario `crash` with 300 less unequal traders, a fund of half a million and one slide without gaps: BTC -25 % in an hour."""
    scenario = shipped.load("crash")
    slide = PriceMove.Parameters(at=START, lasts=1.0, size=(-0.25, -0.3, -0.45))
    groups = tuple(g.model_copy(update={"count": min(g.count, TRADERS), "span": min(g.span, SPAN)}) for g in scenario.traders.groups)
    venue = scenario.venues[0]
    thin = venue.clearinghouse.model_copy(update={"fund": 0.5e6, "capital": 0.5e6})
    changes = {
        "shocks": (slide,),
        "traders": scenario.traders.model_copy(update={"groups": groups}),
        "venues": (venue.model_copy(update={"clearinghouse": thin}),),
    }
    return scenario.model_copy(update=changes)


def measure(seeds: Iterable[int], *, progress: Callable[[], None] | None = None) -> list[Effect]:
    """Paired effects of every lever on every output over `seeds`."""
    scenario = documented_scenario()
    arms: list[list[dict[str, float]]] = []
    for seed in seeds:
        arms.append(stress(scenario, seed))
        if progress is not None:
            progress()
    effects = []
    for at, lever in enumerate(LEVERS, start=1):
        for output, unit in OUTPUTS.items():
            base = pd.Series([rows[0][output] for rows in arms])
            difference = pd.Series([rows[at][output] for rows in arms]) - base
            mean, error, count = difference.mean(), float(stats.sem(difference)), len(difference)
            low, high = stats.t.interval(0.95, count - 1, mean, error) if error > 0.0 else (mean, mean)
            effects.append(Effect(lever, output, unit, float(base.mean()), mean, float(low), float(high), count))
    return effects
