import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.halts import CircuitBreakerParameters
from model.ecosystem import Ecosystem
from model.halts import Halts
from model.path import Path
from model.scenario import Scenario

QUIET = np.zeros(1)


def quarter_hours(*moves: float) -> Path:
    return Path(np.array([moves]), np.full(len(moves), 0.25))


def test_an_exchange_without_breaker_or_outage_never_stands_still():
    halts = Halts(None)
    assert not halts.liquidations_stop(quarter_hours(-0.5, -0.5), 0.0, QUIET).any()
    assert not halts.orders_stop(0.0, 1.0)


def test_nobody_is_liquidated_at_the_end_of_an_increment_within_an_outage():
    halts = Halts(None)
    halts.windows = [(10.25, 10.75)]
    # Increments end at 10.25, 10.5, 10.75 and 11: the second and third lie within.
    assert halts.liquidations_stop(quarter_hours(0, 0, 0, 0), 10.0, QUIET).tolist() == [False, True, True, False]


@pytest.mark.parametrize(("window", "stops"), [((10.0, 10.1), True), ((10.3, 10.7), False), ((10.3, 11.0), True), ((9.0, 10.0), False)])
def test_the_auction_is_left_out_when_the_step_opens_or_mostly_lies_in_an_outage(window, stops):
    halts = Halts(None)
    halts.windows = [window]
    assert halts.orders_stop(10.0, 1.0) is stops


def test_the_breaker_trips_on_the_last_hours_move_and_pauses_for_its_time():
    halts = Halts(CircuitBreakerParameters(move=0.1, pause=0.5))
    # -6 % twice a quarter of an hour apart: 0.06 exp(-1/4) + 0.06 = 0.107 at 0.5 h; the pause ends at 1 h.
    assert halts.liquidations_stop(quarter_hours(-0.06, -0.06, 0.0, 0.0), 0.0, QUIET).tolist() == [False, True, True, False]
    assert halts.until == pytest.approx(1.0)


def test_a_pause_reaches_into_the_next_step_and_its_auction():
    halts = Halts(CircuitBreakerParameters(move=0.1, pause=2.0))
    halts.liquidations_stop(Path(np.array([[-0.2]]), np.array([0.0])), 5.0, QUIET)
    assert halts.orders_stop(6.0, 1.0)
    assert not halts.orders_stop(7.0, 1.0)


def test_a_breaker_that_never_ends_or_never_starts_is_refused():
    with pytest.raises(ValidationError, match="greater than 0"):
        CircuitBreakerParameters(pause=0.0)


def crash(*shocks: dict, **house: object) -> Ecosystem:
    scenario = Scenario.model_validate(
        {
            "shocks": [{"type": "price_move", "at": 6.0, "lasts": 3.0, "size": [-0.25]}, *shocks],
            "traders": {"groups": [{"count": 200, "equity": 2e8, "leverage": 10.0}]},
            "venues": [{"clearinghouse": {"fund": 1e6, "capital": 1e6, **house}, "market_makers": {"capital": 2e7}}],
        }
    )
    eco = Ecosystem(scenario, rng=2, check_laws=True)
    for _ in range(12):
        eco.step()
    return eco


def total(eco: Ecosystem, name: str) -> float:
    return float(eco.series()[name].sum())


def test_an_outage_in_the_fall_leaves_larger_deficits_and_trades_nothing_meanwhile():
    open_, out = crash(), crash({"type": "outage", "at": 6.0, "lasts": 3.0})
    assert total(out, "deficits") > 1.2 * total(open_, "deficits")
    assert total(out, "halted") == pytest.approx(3.0)
    assert out.series()["volume"][7:10].tolist() == [0.0, 0.0, 0.0]
    assert out.series()["liquidated"][7:9].tolist() == [0.0, 0.0]


def test_a_tripped_breaker_is_told_in_hours():
    paused = crash(circuit_breaker={"move": 0.05, "pause": 1.0})
    assert total(paused, "halted") > 0.9
    assert total(crash(circuit_breaker={"move": 1.0, "pause": 1.0}), "halted") == 0.0


def test_a_wrong_index_liquidates_accounts_that_the_right_one_leaves_alone():
    calm = {"type": "price_move", "at": 6.0, "size": [0.0]}
    wrong = {"type": "oracle_error", "at": 4.0, "lasts": 1.0, "size": [-0.2]}
    shocks = [[calm], [calm, wrong]]
    found = []
    for these in shocks:
        scenario = Scenario.model_validate({"shocks": these, "traders": {"groups": [{"count": 200, "equity": 2e8, "leverage": 10.0}]}})
        eco = Ecosystem(scenario, rng=2, check_laws=True)
        for _ in range(7):
            eco.step()
        found.append((total(eco, "liquidated"), eco.observation["mark_BTC"] / eco.observation["index_BTC"]))
    assert found[1][0] > 10.0 * max(found[0][0], 1e6)
    assert found[1][1] == pytest.approx(1.0, abs=0.02)
