"""Who comes and who goes: haircuts drive members away, newcomers take places that are free once."""

from typing import Any

import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.ledger import Status
from model.scenario import Scenario


def world(**group: Any) -> Ecosystem:
    """Thirty traders who do nothing of their own accord."""
    idle = {"count": 30, "equity": 3e7, "activity": 0.0, "exit_rate": 0.0, "entry_rate": 0.0, "fear": 0.0, **group}
    fear = idle.pop("fear")
    return Ecosystem(Scenario.model_validate({"schema": 1, "traders": {"groups": [idle], "fear": fear}}), rng=2)


def test_those_who_lost_all_in_a_haircut_leave_and_nobody_else() -> None:
    # P(exit) = 1 - exp(-50 x 1): one in 10 ** 22 stays. Without a haircut it is 0.
    eco = world(churn=50.0)
    venue, (group,) = eco.venue, eco.population.groups
    venue.haircut = np.zeros(venue.ledger.rows)
    venue.haircut[group.rows[[2, 7, 11]]] = 1.0
    eco.population.settle_cash(0, 1.0)
    leaving = group.leaving | (venue.ledger.status[group.rows] == Status.GONE)
    assert np.flatnonzero(leaving).tolist() == [2, 7, 11]


@pytest.mark.parametrize("gone", [Status.BANKRUPT, Status.GONE])
def test_a_place_is_taken_once_by_a_newcomer_with_its_holders_taste(gone: Status) -> None:
    # 1 - exp(-10 ** 9 / 8760) of the empty places are expected to fill each hour: after a hundred hours all are, and none twice.
    eco = world(entry_rate=1e9)
    ledger, (group,) = eco.venue.ledger, eco.population.groups
    ledger.status[group.rows[[3, 5, 20]]] = gone
    for step in range(100):
        eco.population.settle_cash(step, 1.0)
    assert group.rows.size == 33
    assert group.taste[30:].tolist() == group.taste[[3, 5, 20]].tolist()
    assert group.strategy[30:].tolist() == group.strategy[[3, 5, 20]].tolist()
    assert np.flatnonzero(group.succeeded).tolist() == [3, 5, 20]
