"""When shocks act, and by how much."""

from typing import Any

import numpy as np
import pytest

from model.shocks import DepthWithdrawal, Effect, OracleError, Outage, PriceMove, ShockView, VolatilityMove


def effects(shock: type, hours: float = 1.0, steps: int = 6, **settings: Any) -> list[Effect]:
    """What a shock does in each of some steps, in two markets."""
    rule = shock(shock.Parameters(**settings))
    return [rule.rule(ShockView(at * hours, (at + 1) * hours, 2), None, None)[0] for at in range(steps)]


def test_a_jump_happens_once_in_the_step_in_which_it_falls() -> None:
    found = effects(PriceMove, at=2.5, size=(-0.2, -0.5))
    assert [np.any(effect.jump) for effect in found] == [False, False, True, False, False, False]
    assert found[2].jump == pytest.approx(np.log([0.8, 0.5]))
    assert not any(np.any(effect.drift) for effect in found)


@pytest.mark.parametrize("hours", [0.25, 1.0, 2.0])
def test_a_slow_move_is_spread_evenly_over_its_hours_and_is_whole_whatever_the_step(hours: float) -> None:
    # Four hours from 1.5 on: half the move by hour 3.5.
    found = effects(PriceMove, hours, steps=int(8 / hours), at=1.5, lasts=4.0, size=(-0.5,))
    drift = np.array([np.broadcast_to(effect.drift, 2) for effect in found])
    assert drift.sum(axis=0) == pytest.approx([np.log(0.5)] * 2)
    ends = hours * np.arange(1, len(found) + 1)
    expected = np.log(0.5) * np.clip((ends - 1.5) / 4.0, 0.0, 1.0)
    assert drift[:, 0].cumsum() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("at", "lasts", "steps"),
    [
        (2.0, 2.0, [2, 3]),
        (2.4, 2.0, [2, 3]),
        (2.6, 2.0, [3, 4]),
        (2.3, 1.0, [2]),
        (2.5, 1.0, [2]),
        (2.8, 0.4, [2]),
        (2.9, 0.4, [3]),
        (2.9, 1.2, [3]),
    ],
)
def test_a_state_that_lasts_holds_in_the_steps_it_covers_for_the_most_part_and_always_in_some(
    at: float, lasts: float, steps: list[int]
) -> None:
    """Steps are whole: less than half of one is left out, but a short shock is never lost; of equal halves the first counts."""
    thin = effects(DepthWithdrawal, at=at, lasts=lasts, remains=(0.1,))
    wrong = effects(OracleError, at=at, lasts=lasts, size=(-0.35, 0.0))
    assert [number for number, effect in enumerate(thin) if np.any(effect.depth != np.ones(2))] == steps
    assert [number for number, effect in enumerate(wrong) if np.any(effect.mispricing)] == steps
    assert np.broadcast_to(thin[steps[0]].depth, 2).tolist() == [0.1, 0.1]
    assert wrong[steps[0]].mispricing == pytest.approx([np.log(0.65), 0.0])


def test_implied_volatility_moves_once_by_a_part_of_itself() -> None:
    found = effects(VolatilityMove, at=2.5, size=(0.5, -0.2))
    assert [np.any(effect.level != np.ones(2)) for effect in found] == [False, False, True, False, False, False]
    assert np.broadcast_to(found[2].level, 2).tolist() == [1.5, 0.8]


def test_an_outage_is_told_in_every_step_it_touches_with_its_own_hours() -> None:
    found = effects(Outage, at=1.9, lasts=1.3)
    assert [effect.outages for effect in found] == [(), *[((1.9, pytest.approx(3.2)),)] * 3, (), ()]
