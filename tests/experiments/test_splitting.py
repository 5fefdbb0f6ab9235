"""Splitting against chains whose probabilities are known, and on the model itself."""

import copy

import numpy as np
import pytest

from experiments import shipped
from experiments.splitting import BREACH, Chain, split, to_breach
from model.ecosystem import Ecosystem
from model.news import Jumps


class Gambler:
    """A fair game of ±1, started at 1; ruin at 0 is absorbing. P(reaches n before ruin) = 1 / n without horizon."""

    def __init__(self, seed):
        self.rng, self.wealth = np.random.default_rng(seed), 1

    def continued(self, seed):
        other = copy.copy(self)
        other.rng = np.random.default_rng(seed)
        return other

    def play(self):
        if self.wealth > 0:
            self.wealth += int(self.rng.integers(2)) * 2 - 1
        return float(self.wealth)


def test_the_gamblers_ruin():
    # To 16: 1/16. What a horizon of 600 rounds cuts off is nothing (the game's relaxation time is 2 × 16² / π² = 52 rounds).
    chain = Chain(Gambler, Gambler.continued, Gambler.play, 600)
    found = split(chain, [2.0, 4.0, 8.0, 16.0], effort=40, repetitions=40, seed=1)
    assert abs(found.probability - 1 / 16) < 3.5 * found.error
    assert found.stages == pytest.approx([0.5] * 4, abs=0.1)
    assert found.low < found.probability < found.high


def test_a_jump_over_several_levels_counts_for_all():
    class Jumper(Gambler):
        def play(self):
            return 10.0 if self.rng.random() < 0.02 else 0.0

    chain = Chain(Jumper, Jumper.continued, Jumper.play, 5)
    found = split(chain, [1.0, 5.0, 10.0], effort=200, repetitions=30, seed=0)
    assert found.stages[1:] == (1.0, 1.0)
    assert abs(found.probability - (1 - 0.98**5)) < 3.5 * found.error


def test_a_level_that_nobody_reaches_is_probability_zero_and_says_nothing_of_the_reduction():
    found = split(Chain(Gambler, Gambler.continued, Gambler.play, 3), [2.0, 100.0], effort=10, repetitions=3, seed=0)
    assert found.probability == 0.0
    assert np.isnan(found.reduction)


def test_levels_must_rise():
    with pytest.raises(ValueError, match="found 3, 2"):
        split(Chain(Gambler, Gambler.continued, Gambler.play, 3), [3.0, 2.0], effort=1, repetitions=2, seed=0)


def calm(steps=6, **news):
    """A small world in which prices move a lot."""
    scenario = shipped.load("crash")
    groups = tuple(g.model_copy(update={"count": min(g.count, 60), "span": min(g.span, 50.0)}) for g in scenario.traders.groups)
    house = scenario.venues[0].clearinghouse.model_copy(update={"fund": 1e6})
    changes = {
        "steps": steps,
        "shocks": (),
        "traders": scenario.traders.model_copy(update={"groups": groups}),
        "venues": (scenario.venues[0].model_copy(update={"clearinghouse": house}),),
        "news": scenario.news.model_copy(update=news),
    }
    return scenario.model_copy(update=changes)


def test_a_branch_has_the_same_state_and_draws_of_its_own():
    world = Ecosystem(calm(), rng=3)
    world.run_for(2)
    same, other, third = world.branched(3), world.branched(8), world.branched(8)
    np.testing.assert_equal(other.observation, world.observation)
    for each in (world, same, other, third):
        each.step()
    np.testing.assert_equal(same.observation, world.observation)
    np.testing.assert_equal(other.observation, third.observation)
    assert other.observation["index_BTC"] != world.observation["index_BTC"]


@pytest.mark.slow
def test_splitting_agrees_with_plain_monte_carlo_on_the_model():
    scenario = calm(steps=8, common_jumps=Jumps(intensity=3_000.0, mean=-0.03, sd=0.03))  # three jumps in the eight hours
    plain = []
    for seed in range(100):
        world = Ecosystem(scenario, rng=seed, record_events=False)
        plain.append(any(world.step() or world.observation["residual_loss"] > 0.0 for _ in range(scenario.steps)))
    share = float(np.mean(plain))
    found = split(to_breach(scenario), [0.3, BREACH], effort=15, repetitions=6, seed=1)
    assert 0.05 < share < 0.5
    assert abs(found.probability - share) < 3.5 * np.hypot(found.error, np.sqrt(share * (1 - share) / len(plain)))
