import numpy as np
import pytest

from agents.demand import CHEAPEST, DemandParameters, DemandView, demand
from model.ecosystem import Ecosystem
from model.scenario import Scenario

P = DemandParameters(
    volume_elasticity=1.0, position_elasticity=0.5, other_cost=1e-4, reference_cost=6e-4, capital_cost=0.1, reference_holding=0.01
)


def test_at_the_reference_costs_demand_is_what_the_groups_say():
    # 5 bp fee + 1 bp = 6 bp; 0.5 % levy + 10 % of a margin of 5 % = 1 %.
    answer = demand(P, DemandView(5e-4, 0.005, np.array([0.05])))
    assert answer.activity == pytest.approx(1.0)
    assert answer.leverage == pytest.approx([1.0])


def test_twice_the_cost_halves_activity_at_an_elasticity_of_one():
    assert demand(P, DemandView(11e-4, 0.005, np.array([0.05]))).activity == pytest.approx(0.5)


def test_leverage_falls_with_levy_and_with_margin():
    # A levy of 3.5 % + 0.5 % is four times the reference: 4 ^ -0.5 = 1/2. So is a margin of 35 % with a levy of 0.5 %.
    answer = demand(P, DemandView(5e-4, 0.035, np.array([0.05]))), demand(P, DemandView(5e-4, 0.005, np.array([0.35])))
    assert answer[0].leverage == pytest.approx([0.5])
    assert answer[1].leverage == pytest.approx([0.5])


def test_a_rebate_does_not_make_demand_infinite():
    assert demand(P, DemandView(-1.0, 0.0, np.zeros(1))).activity == pytest.approx(1.0 / CHEAPEST)


def test_an_elasticity_of_zero_is_a_market_that_does_not_care():
    indifferent = P.model_copy(update={"volume_elasticity": 0.0, "position_elasticity": 0.0})
    answer = demand(indifferent, DemandView(0.01, 0.5, np.array([0.5, 1.0])))
    assert answer.activity == 1.0
    assert answer.leverage.tolist() == [1.0, 1.0]


def world(block: dict, **demand_block: float) -> Scenario:
    groups = [{"count": 300, "equity": 3e8}]
    return Scenario.model_validate(
        {"venues": [{"clearinghouse": block}], "traders": {"groups": groups, "demand": demand_block}, "news": {"type": "constant"}}
    )


def totals(scenario: Scenario) -> tuple[float, float]:
    eco = Ecosystem(scenario, rng=3)
    volume = 0.0
    for _ in range(48):
        eco.step()
        volume += eco.observation["volume"]
    return volume, eco.observation["open_interest"]


def test_dearer_trading_is_traded_less_and_only_then():
    cheap, dear = {"fees": {"taker": 4.5e-4}}, {"fees": {"taker": 10.5e-4}}
    assert totals(world(dear))[0] < 0.75 * totals(world(cheap))[0]


def test_a_levy_on_positions_makes_them_smaller():
    free, dear = ({"accrual": [{"type": "open_interest", "rate": rate}]} for rate in (0.0, 0.05))
    assert totals(world(dear))[1] < 0.8 * totals(world(free))[1]
