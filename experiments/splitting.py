"""The probability of a rare event by multilevel splitting: worlds that come closer to it are carried on more than once.

A run is a Markov chain: its state at the end of a step, and draws of later steps that do not depend on it. Let levels
l1 < … < lk of a score lead to the event. From each stage's entrance states, `effort` continuations are drawn at random with replacement
and given fresh draws; the part of them that enters the next level before the horizon estimates the conditional probability. The product
over stages is unbiased for any score and any levels (fixed effort: Garvels 2000, The Splitting Method in Rare Event Simulation;
L'Ecuyer, Demers & Tuffin, ACM TOMACS 17, 2007). Stages share ancestors, so a spread within one product says little: the whole
is repeated independently, and the interval is that of the mean over repetitions.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from experiments.analysis.intervals import Interval, bootstrap, stream
from model.ecosystem import Ecosystem
from model.scenario import Scenario

__all__ = ["BREACH", "Chain", "Split", "split", "to_breach"]

BREACH = 2.0
"""The score of a step with residual loss: the last level of the way to a breach."""


@dataclass(frozen=True, slots=True)
class Chain[W]:
    """A world that can be opened, continued with other draws, and stepped.

    Attributes:
        opened: a new world from a seed.
        branched: a copy of a world whose later draws come from another seed.
        advanced: carries a world on by one step, in place, and says how close it came in that step: its score.
        horizon: steps in a run.
    """

    opened: Callable[[int], W]
    branched: Callable[[W, int], W]
    advanced: Callable[[W], float]
    horizon: int


@dataclass(frozen=True, slots=True)
class Split:
    """A probability by splitting.

    Attributes:
        probability: mean over repetitions; error: its standard error; low, high, interval: of the mean, 95 %.
        repetitions: independent products; steps: model steps made in all.
        stages: mean conditional probability of each level.
        reduction: variance of plain Monte Carlo runs of as many steps over this estimate's; not a number where none had the event.
    """

    probability: float
    error: float
    low: float
    high: float
    interval: str
    repetitions: int
    steps: int
    stages: tuple[float, ...]
    reduction: float


def split[W](chain: Chain[W], levels: Sequence[float], effort: int, repetitions: int, seed: int) -> Split:
    """Estimates P(score reaches the last level within the horizon).

    Args:
        chain: the world.
        levels: rising; the last one is the event.
        effort: worlds carried on in each stage.
        repetitions: independent repetitions, two or more.
        seed: of everything.

    Raises:
        ValueError: levels that do not rise.
    """
    if list(levels) != sorted(set(levels)) or not levels:
        raise ValueError(f"levels: found {', '.join(f'{level:g}' for level in levels) or 'none'}, expected one or more, rising")
    products, shares, steps = np.empty(repetitions), np.full((repetitions, len(levels)), np.nan), 0
    for at in range(repetitions):
        passed, made = _once(chain, levels, effort, stream(seed, "splitting", at))
        shares[at, : len(passed)] = passed
        products[at] = np.prod(passed) if len(passed) == len(levels) else 0.0
        steps += made
    probability, error = float(products.mean()), float(products.std(ddof=1) / np.sqrt(repetitions))
    found = bootstrap(products, stream(seed, "splitting interval"))
    interval = Interval(max(found.low, 0.0), min(found.high, 1.0), found.method) if np.isfinite(found.low) else found
    runs = steps / chain.horizon
    reached = ~np.isnan(shares)
    stages = tuple(float(shares[rows, level].mean()) if rows.any() else 0.0 for level, rows in enumerate(reached.T))
    reduction = probability * (1.0 - probability) / runs / error**2 if error > 0.0 else float("nan")
    return Split(probability, error, *interval, repetitions=repetitions, steps=steps, stages=stages, reduction=reduction)


def to_breach(scenario: Scenario) -> Chain[Ecosystem]:
    """A scenario's world on its way to a breach; the score is the part of the opening fund that is gone, and `BREACH` in a breach.

    Of several exchanges it is the first one's fund and breach.

    Levels such as (0.25, 0.5, 0.75, BREACH). All state of a world is copied, the draws of later steps come from another seed, and a step's
    draws depend on nothing but seed, component and step, so that continuations are independent given the state.
    """
    opening = scenario.venues[0].clearinghouse.fund

    def advanced(world: Ecosystem) -> float:
        world.step()
        gone = 1.0 - world.observation["fund"] / opening if opening > 0.0 else 1.0
        return BREACH if world.observation["residual_loss"] > 0.0 else min(gone, 1.0)

    return Chain(lambda seed: Ecosystem(scenario, rng=seed, record_events=False), Ecosystem.branched, advanced, scenario.steps)


def _once[W](chain: Chain[W], levels: Sequence[float], effort: int, rng: np.random.Generator) -> tuple[list[float], int]:
    """Conditional probabilities of one repetition, up to the first stage that nobody passes, and the steps made."""
    entries: list[tuple[W, int, float]] = []
    passed: list[float] = []
    made = 0
    for level in levels:
        ahead = []
        picks = rng.integers(len(entries), size=effort) if entries else [-1] * effort
        for pick in picks:
            world, step, score = entries[pick] if pick >= 0 else (chain.opened(_seed(rng)), 0, -np.inf)
            if score < level:
                world = chain.branched(world, _seed(rng)) if pick >= 0 else world
                before = step
                while score < level and step < chain.horizon:
                    score = max(score, chain.advanced(world))
                    step += 1
                made += step - before
            if score >= level:
                ahead.append((world, step, score))
        passed.append(len(ahead) / effort)
        if not ahead:
            break
        entries = ahead
    return passed, made


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**63))
