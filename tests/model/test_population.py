"""Who comes and who goes: haircuts drive members away, newcomers take places that are free once."""

from typing import Any

import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow, Status
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


def test_who_acts_is_drawn_for_the_hours_that_pass() -> None:
    # Once in a hundred hours: in ten thousand hours all but e^-100 of them, in the hundredth part of an hour one in ten thousand.
    (group,) = world(activity=0.01).population.groups
    assert group.acting(0, 10_000.0, 1.0).size == 30
    assert group.acting(0, 0.01, 1.0).size == 0


def test_fear_fades_with_hours_and_frightened_markets_get_no_newcomers() -> None:
    eco = world(entry_rate=1e9, fear=4.0)
    population, ledger, (group,) = eco.population, eco.venue.ledger, eco.population.groups
    population._fear = 1.0
    population._remember(2.0 * population.parameters.fear_memory)
    assert population.confidence == pytest.approx(np.exp(-4.0 * np.exp(-2.0)))
    ledger.status[group.rows[3]] = Status.GONE
    population._fear = 100.0
    population.settle_cash(0, 1.0)
    assert group.rows.size == 30


def test_orders_are_cut_to_what_initial_margin_allows_of_nineteen_twentieths_of_equity() -> None:
    eco = world(
        leverage=100.0,
        leverage_max=100.0,
        leverage_spread=0.0,
        leverage_by_size=0.0,
        strategies=[{"type": "noise", "bias": 1.0, "noise": 0.0}],
    )
    venue, orders = eco.venue, eco.population.opening()
    wanted = orders.contracts + venue.ledger.position[:, orders.rows]
    initial = venue.requirement(wanted, np.abs(wanted), venue.ledger.marks).initial
    # Tiers make margin convex: what is cut in proportion needs less of it.
    used = initial / venue.ledger.equity(orders.rows)
    assert used.max() == pytest.approx(0.95)
    assert np.median(used) == pytest.approx(0.95)


def hedger() -> tuple[Ecosystem, int]:
    """One hedger with 1m USD in a market at 100 USD where initial margin is a tenth, and nothing done yet."""
    group = {
        "count": 1, "equity": 1e6, "tail": 1.0, "span": 1.0 + 1e-12, "activity": 0.0, "exit_rate": 0.0, "entry_rate": 0.0,
        "strategies": [{"type": "hedger"}], "redeposit": 1.0,
    }  # fmt: skip
    scenario = {
        "schema": 1,
        "assets": [{"name": "BTC", "price": 100.0, "volatility": 0.6}],
        "traders": {"groups": [group]},
        "venues": [{"clearinghouse": {"margin": {"type": "fixed_leverage", "initial": 0.1, "maintenance": 0.05}}}],
    }
    eco = Ecosystem(Scenario.model_validate(scenario), rng=1)
    return eco, int(eco.population.groups[0].rows[0])


def short(eco: Ecosystem, row: int, contracts: float) -> None:
    sold, bought = np.array([row], dtype=np.intp), eco.venue.makers[:1]
    mark = float(eco.venue.ledger.marks[0])
    eco.venue.ledger.trade(0, sold, np.array([-contracts]), mark, bought, np.array([contracts]), mark)


def test_a_hedger_buys_spot_with_what_twice_its_margin_leaves() -> None:
    # Short 15,000 at 100: 150,000 of margin, twice that of 1m leaves 700,000, which are 7,000 units.
    eco, row = hedger()
    short(eco, row, 15_000.0)
    eco.population.balance_spot(np.array([row]), 1.0)
    assert eco.venue.ledger.spot[0, row] == pytest.approx(7_000.0)


@pytest.mark.parametrize(("holds", "ends"), [(1_000.0, 3_000.0), (5_000.0, 3_000.0)])
def test_a_hedger_buys_what_it_lacks_of_its_short_and_sells_what_is_beyond_it(holds: float, ends: float) -> None:
    eco, row = hedger()
    ledger = eco.venue.ledger
    ledger.trade_spot(0, np.array([row]), np.array([holds]), 100.0)
    short(eco, row, ends)
    before = float(eco.venue.market.index[0])
    eco.population.balance_spot(np.array([row]), 1.0)
    assert ledger.spot[0, row] == pytest.approx(ends)
    assert np.sign(eco.venue.market.index[0] - before) == np.sign(ends - holds), "its trade moves the index"


def test_a_hedgers_spot_is_its_own_when_it_decides_whether_to_pay_in() -> None:
    # 0.3m on the account and 0.7m in spot is all of its stake; without the spot it would have lost more than half and pay in.
    eco, row = hedger()
    ledger, (group,) = eco.venue.ledger, eco.population.groups
    ledger.trade_spot(0, np.array([row]), np.array([7_000.0]), 100.0)
    eco.population._pay(group, np.array([0]), 0, 1.0)
    assert ledger.equity(np.array([row])) == pytest.approx([0.3e6])


def test_a_winner_takes_home_what_margin_does_not_hold() -> None:
    # 4m of a stake of 1m: 2m would go home, but 2.5m are the margin of 25m short: 1.5m are free.
    eco, row = hedger()
    ledger, (group,) = eco.venue.ledger, eco.population.groups
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, row, 3e6)
    short(eco, row, 250_000.0)
    eco.population._pay(group, np.array([0]), 0, 1.0)
    assert ledger.equity(np.array([row])) == pytest.approx([2.5e6])


def test_speculators_who_act_choose_afresh_and_nobody_else_does() -> None:
    # A bias of +50 makes everybody who reconsiders a fundamentalist, one of -50 nobody: 1 / (1 + exp(-50)).
    eco = world()
    (group,), weights = eco.population.groups, eco.population.weights
    fundamentalist, speculators = group._fundamentalist, np.flatnonzero(group._speculative[group.strategy])
    others = np.flatnonzero(~group._speculative[group.strategy])
    assert speculators.size > 3
    before = group.strategy.copy()
    who = np.sort(np.concatenate((speculators[::2], others)))
    for bias, everybody in ((50.0, True), (-50.0, False)):
        p = eco.population.parameters.model_copy(update={"attractiveness_bias": bias, "herding": 0.0, "misalignment": 0.0})
        group.reconsider(who, 0, p, np.zeros(weights.size), weights)
        assert (group.strategy[speculators[::2]] == fundamentalist).tolist() == [everybody] * speculators[::2].size
        assert group.strategy[speculators[1::2]].tolist() == before[speculators[1::2]].tolist()
        assert group.strategy[others].tolist() == before[others].tolist()
    assert group._speculative[group.strategy[speculators]].all()
