"""The laws under scenarios nobody tuned: asserted after every step of every run."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.ecosystem import Ecosystem
from model.ledger import FUND, LAST_DIGITS, Flow
from model.marketplace import Marketplace
from model.observables import PARTIAL
from model.scenario import Scenario
from model.venue import DUST
from tests.laws.strategies import ecosystems, listings, scenarios, settled_in_coin

SEEDS = st.integers(0, 2**32 - 1)

DRAWS = (Flow.DRAW_EXECUTION, Flow.DRAW_TAKEOVER, Flow.DRAW_CLOSE_OUT)
# The quick tests try the same scenarios at every call; the slow one tries new ones.
QUICK = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow])


def run(scenario: Scenario, seed: int, steps: int, *, check_laws: bool = True) -> Ecosystem:
    eco = Ecosystem(scenario, rng=seed, check_laws=check_laws)
    for _ in range(steps):
        eco.step()
    return eco


def obey(scenario: Scenario, seed: int, steps: int) -> None:
    """Runs step by step and asserts on top of the model's own checks what it does not look at."""
    eco = Ecosystem(scenario, rng=seed, check_laws=True)
    openings = [place.venue.ledger.pools for place in eco.places]
    lent = [float(np.abs(credit.owed).sum() + credit.deposits.sum()) + 1.0 for credit in eco.credits]
    for _ in range(steps):
        eco.step()
        for place, pools in zip(eco.places, openings, strict=True):
            obeys(place, pools)
        # What lenders have and what has left them: cash outside exchanges is closed too.
        for credit, most in zip(eco.credits, lent, strict=True):
            assert credit.cash.sum() + credit.outside == pytest.approx(0.0, abs=1e-9 * most)
            assert (credit.owed >= -1e-9 * most).all()
        # The fund over its target is undefined where the target is nothing, and how evenly winners gave where nobody was asked.
        assert [name for name, value in eco.observation.items() if not (math.isfinite(value) or name.startswith(PARTIAL))] == []


def obeys(place: Marketplace, openings: list[float]) -> None:
    """What the laws ask of one exchange."""
    venue = place.venue
    ledger, tally = venue.ledger, venue.tally
    gross = float(np.abs(ledger.cash).sum() + ledger.rates[: ledger.currencies] @ np.abs(ledger.coins).sum(axis=1)) + 1.0
    drawn = -sum(min(ledger.statement.get(kind, 0.0), 0.0) for kind in DRAWS)
    assert drawn == pytest.approx(tally.absorbed.get("fund", 0.0), abs=1e-9 * gross)
    assert min(tally.absorbed.values(), default=0.0) >= 0.0
    for name, start, pool in zip(venue.pools.names, openings, ledger.pools, strict=True):
        flows = place.statement.totals(name).values()
        rounding = 1e-13 * sum(abs(usd) for usd in flows)  # a pool in coins that are worth nothing any more has lost all by revaluation
        assert start + sum(flows) == pytest.approx(pool, abs=1e-8 * gross + rounding)
    assert venue.walked is None
    assert (venue.claimed <= venue.pools.limits * (1.0 + 1e-9)).all()
    if venue.insolvent:
        assert not ledger.exposure.any()
        assert ledger.cash[FUND:].min() >= -1e-9 * gross - DUST - LAST_DIGITS * ledger._largest


@settings(QUICK, max_examples=60)
@given(scenarios(), SEEDS, st.integers(6, 30))
def test_the_laws_hold_at_every_step_of_scenarios_nobody_tuned(scenario: Scenario, seed: int, steps: int) -> None:
    obey(scenario, seed, steps)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(scenarios(), SEEDS, st.integers(6, 60))
def test_the_laws_hold_in_thousands_of_scenarios_nobody_tuned(scenario: Scenario, seed: int, steps: int) -> None:
    obey(scenario, seed, steps)


@settings(QUICK, max_examples=30)
@given(listings(), SEEDS, st.integers(6, 30))
def test_the_laws_hold_where_futures_and_options_are_listed(scenario: Scenario, seed: int, steps: int) -> None:
    obey(scenario, seed, steps)


@settings(QUICK, max_examples=12)
@given(ecosystems(), SEEDS, st.integers(6, 20))
def test_the_laws_hold_where_there_are_two_exchanges(scenario: Scenario, seed: int, steps: int) -> None:
    obey(scenario, seed, steps)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ecosystems(), SEEDS, st.integers(6, 60))
def test_the_laws_hold_in_a_thousand_ecosystems_of_two_exchanges(scenario: Scenario, seed: int, steps: int) -> None:
    obey(scenario, seed, steps)


@settings(QUICK, max_examples=12)
@given(settled_in_coin(), SEEDS, st.integers(6, 16))
def test_the_laws_hold_where_contracts_are_settled_in_coin(scenario: Scenario, seed: int, steps: int) -> None:
    obey(scenario, seed, steps)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(settled_in_coin(), SEEDS, st.integers(6, 60))
def test_the_laws_hold_in_many_scenarios_settled_in_coin(scenario: Scenario, seed: int, steps: int) -> None:
    obey(scenario, seed, steps)


@settings(QUICK, max_examples=15)
@given(scenarios(), SEEDS)
def test_the_same_seed_gives_the_same_numbers_bit_for_bit(scenario: Scenario, seed: int) -> None:
    one, two = run(scenario, seed, 8, check_laws=False), run(scenario, seed, 8, check_laws=True)
    for name in ("cash", "position", "entry", "spot", "status"):
        assert getattr(one.venue.ledger, name).tobytes() == getattr(two.venue.ledger, name).tobytes()
    assert one.credit.owed.tobytes() == two.credit.owed.tobytes()
    assert repr(one.observation) == repr(two.observation)


def test_an_unchecked_run_of_the_default_world_repeats_too() -> None:
    one, two = run(Scenario(), 5, 48, check_laws=False), run(Scenario(), 5, 48, check_laws=False)
    assert one.series().to_numpy().tobytes() == two.series().to_numpy().tobytes()
    assert run(Scenario(), 6, 48, check_laws=False).series().to_numpy().tobytes() != one.series().to_numpy().tobytes()


IDLE = {"name": "idle", "count": 7, "equity": 1e6, "activity": 0.0, "exit_rate": 0.0, "entry_rate": 0.0, "strategies": [{"type": "hedger"}]}


@settings(QUICK, max_examples=20)
@given(scenarios(), SEEDS)
def test_a_group_that_does_nothing_changes_nothing_for_others(scenario: Scenario, seed: int) -> None:
    # Losses stop at the fund: a haircut on balances would be shared with the idle.
    given = scenario.model_dump(mode="json", by_alias=True)
    house = given["venues"][0]["clearinghouse"]
    house["fund"] = 1e12
    house["members"] = None  # the idle might be members
    given["traders"]["run"] = None  # the idle might run
    house["waterfall"] = [{"type": "fund"}, {"type": "write_down"}]
    house["pools"] = {}
    house |= {"token": None, "value_accrual": [], "release": None}  # a fund so large neither holds tokens nor gives anything back
    alone = Scenario.model_validate(given)
    given["traders"]["groups"].append(IDLE)
    with_idle = Scenario.model_validate(given)
    one, two = run(alone, seed, 6), run(with_idle, seed, 6)
    close = {"rtol": 1e-9, "atol": 1e-3}
    np.testing.assert_allclose(one.venue.ledger.marks, two.venue.ledger.marks, rtol=1e-9)
    np.testing.assert_allclose(one.venue.market.pressure, two.venue.market.pressure, **close)
    np.testing.assert_allclose(
        one.venue.ledger.cash[FUND : one.venue.institutions], two.venue.ledger.cash[FUND : one.venue.institutions], **close
    )
    for first, second in zip(one.population.groups, two.population.groups[:-1], strict=True):
        np.testing.assert_allclose(one.venue.ledger.cash[first.rows], two.venue.ledger.cash[second.rows], **close)
        np.testing.assert_allclose(one.venue.ledger.position[:, first.rows], two.venue.ledger.position[:, second.rows], **close)
    # The idle hold what they paid in, but for what a haircut took.
    idle = two.population.groups[-1]
    assert two.venue.insolvent or two.venue.ledger.cash[idle.rows] == pytest.approx(idle.stake)
