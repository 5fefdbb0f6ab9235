"""The model as a Mesa user meets it: smoke, agents, data collection."""

import warnings
from pathlib import Path
from typing import Any

import mesa
import numpy as np
import pandas as pd
import pytest

from agents.participants import Clearinghouse, Lender, Liquidator, MarketMaker, Trader
from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow
from model.news import Constant
from model.scenario import Scenario
from model.scenario_file import dump_scenario, load_scenario

SMALL = Scenario.model_validate({"schema": 1, "traders": {"groups": [{"count": 40, "equity": 4e7}]}})


@pytest.fixture
def eco() -> Ecosystem:
    return Ecosystem(SMALL, rng=3, check_laws=True)


def test_it_works_without_arguments_and_without_a_warning_that_something_goes() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        eco = Ecosystem()
        eco.run_for(10)
    assert eco.time == 10
    assert eco.hours == 10 * eco.hours_per_step
    assert len(eco.series()) == 11


def test_there_is_an_agent_for_every_participant(eco: Ecosystem) -> None:
    venue = SMALL.venues[0]
    counts = {kind: len(agents) for kind, agents in eco.agents_by_type.items()}
    assert counts == {
        Clearinghouse: 1,
        Lender: SMALL.lenders.count,
        MarketMaker: venue.market_makers.count,
        Liquidator: venue.liquidators.count,
        Trader: 40,
    }
    eco.run_for(5)
    assert len(eco.agents_by_type[Trader]) == eco.venue.ledger.rows - eco.venue.institutions


def test_what_agents_own_is_read_as_python_numbers_and_adds_up(eco: Ecosystem) -> None:
    eco.run_for(5)
    traders = eco.agents_by_type[Trader]
    one = traders[0]
    for value in (one.equity, one.cash, one.notional, one.leverage, one.target_leverage, *one.positions.values(), *one.spot.values()):
        assert type(value) is float
    assert set(one.positions) == {"BTC", "ETH", "ALT"}
    ledger = eco.venue.ledger
    assert sum(traders.get("equity")) == pytest.approx(ledger.equity()[eco.venue.institutions :].sum())
    # Contracts of all participants and of the fund sum to zero.
    held = sum(agent.positions["BTC"] for agent in eco.agents if not isinstance(agent, Lender))
    assert held + ledger.position[0, 1] == pytest.approx(0.0, abs=1e-9 * ledger.exposure[0].sum())
    assert {type(lender.cash) for lender in eco.agents_by_type[Lender]} == {float}
    assert set(traders.get("status")) <= {"active", "bankrupt", "gone", "closing"}


@pytest.mark.parametrize("name", ["equity", "cash", "positions", "spot", "notional", "leverage", "status", "group"])
def test_money_and_positions_cannot_be_assigned(eco: Ecosystem, name: str) -> None:
    trader = eco.agents_by_type[Trader][0]
    with pytest.raises(AttributeError):
        setattr(trader, name, 1.0)


def test_behaviour_can_be_assigned_and_is_followed(eco: Ecosystem) -> None:
    traders = eco.agents_by_type[Trader]
    for trader in traders:
        trader.strategy = "noise"
        trader.target_leverage = 0.0
    assert set(traders.get("strategy")) == {"noise"}
    with pytest.raises(ValueError, match="unknown strategy 'astrologer': expected one of fundamentalist, chartist, noise"):
        traders[0].strategy = "astrologer"
    # With no leverage at all everybody who acts closes what it has: nobody is left with a position after a month.
    eco.run_for(720)
    active = traders.select(lambda trader: trader.status == "active")
    assert max(active.get("notional")) < 1.0


def test_agent_reporters_work_on_request(eco: Ecosystem) -> None:
    fund = {"fund": lambda model: model.venue.ledger.fund}
    collector = mesa.DataCollector(model_reporters=fund, agenttype_reporters={Trader: {"equity": "equity"}})
    collector.collect(eco)
    eco.run_for(2)
    collector.collect(eco)
    frame = collector.get_agenttype_vars_dataframe(Trader)
    assert isinstance(frame, pd.DataFrame)
    assert len(frame) >= 80
    assert frame["equity"].dtype == np.float64
    assert len(collector.get_model_vars_dataframe()) == 2


def test_model_reporters_hold_every_output_at_every_step(eco: Ecosystem) -> None:
    eco.run_for(3)
    frame = eco.series()
    assert frame["step"].tolist() == [0, 1, 2, 3]
    assert frame["hours"].tolist() == [0.0, 1.0, 2.0, 3.0]
    assert set(eco.outputs) | {"step"} == set(frame.columns)
    assert frame["custody"].iloc[-1] == pytest.approx(eco.venue.ledger.custody)


def test_the_fund_is_its_opening_and_its_itemised_flows() -> None:
    # An accrual rule may inject at once: what comes in before the first step is in the statement or in the opening, not beside both.
    eco = Ecosystem(SMALL, rng=3)
    eco.run_for(48)
    assert eco.statement.opening + sum(eco.statement.totals().values()) == pytest.approx(eco.venue.ledger.fund)
    table = eco.statement_table()
    assert table["amount"].sum() == pytest.approx(eco.venue.ledger.fund - eco.statement.opening)
    assert list(table.columns) == ["step", "hours", "pool", "flow", "amount"]


def test_levers_override_the_scenario_and_leave_it_as_it_was() -> None:
    eco = Ecosystem(SMALL, rng=3, fund=1e5, leverage_cap=2.0, depth_scale=3.0)
    assert eco.venue.ledger.fund == 1e5
    assert eco.world.venues[0].market_makers.depth == tuple(3.0 * depth for depth in SMALL.venues[0].market_makers.depth)
    assert max(agent.leverage for agent in eco.agents_by_type[Trader]) <= 2.0
    assert SMALL.venues[0].clearinghouse.fund != 1e5


def test_with_constant_prices_no_debt_and_no_leverage_nobody_defaults() -> None:
    calm = Scenario.model_validate(
        {
            "schema": 1,
            "news": {"type": "constant"},
            "assets": [{"name": "BTC", "price": 60_000, "volatility": 0.0}],
            "traders": {"groups": [{"count": 200, "equity": 1e8, "leverage": 1.0, "leverage_spread": 0.0, "leverage_max": 1.0}]},
            "lenders": {"loan_to_capital": 0.0},
            "venues": [{"market": {"pass_through": 0.0}}],
        }
    )
    eco = Ecosystem(calm, rng=1, check_laws=True)
    eco.run_for(200)
    series = eco.series()
    assert series["volume"].sum() > 0.0
    for name in ("deficits", "bankruptcies", "defaults", "liquidations", "network_loss", "residual_loss"):
        assert series[name].sum() == 0.0, name


def test_spot_is_bought_with_cash_that_custody_holds() -> None:
    # One fund owns a gain that the other cannot pay: custody has 0.5m USD. Its short of 10 BTC asks for 0.6m of spot; it gets 0.5m.
    group = {"name": "funds", "count": 2, "equity": 2e6, "tail": 10.0, "span": 1.01, "activity": 0.0, "strategies": [{"type": "hedger"}]}
    nobody = {"clearinghouse": {"fund": 0.0, "capital": 0.0}, "market_makers": {"count": 0}, "liquidators": {"count": 0}}
    eco = Ecosystem(
        Scenario.model_validate({"schema": 1, "traders": {"groups": [group]}, "lenders": {"count": 0}, "venues": [nobody]}), rng=1
    )
    ledger, (winner, loser) = eco.venue.ledger, eco.population.groups[0].rows.tolist()
    ten = np.array([10.0])
    ledger.trade(0, np.array([winner]), -ten, 160_000.0, np.array([loser]), ten, 160_000.0)
    ledger.transfer(Flow.WITHDRAWAL, loser, OUTSIDE, ledger.custody - 0.5e6)
    eco.population.balance_spot(np.array([winner]), 1.0)
    assert ledger.spot[0, winner] == pytest.approx(0.5e6 / 60_000.0)
    assert ledger.custody == pytest.approx(0.0, abs=1e-3)


def test_house_rows_are_nobodys(eco: Ecosystem) -> None:
    assert min(agent.row for agent in eco.agents if isinstance(agent, Trader | MarketMaker | Liquidator)) == eco.venue.ledger.house


def insolvent(waterfall: list[dict[str, Any]], **house: float) -> Ecosystem:
    """A venue that a fall by 40 % breaks, 24 steps on."""
    block = {"fund": 1e6, "capital": 5e6, "waterfall": waterfall, **house}
    shocks = [{"type": "price_move", "at": 20, "size": [-0.4]}]
    eco = Ecosystem(Scenario.model_validate({"shocks": shocks, "venues": [{"clearinghouse": block}]}), rng=0, check_laws=True)
    eco.run_for(24)
    return eco


def test_an_insolvent_exchange_is_a_default_even_if_it_keeps_capital_back() -> None:
    # The waterfall leaves exchange capital out, so the exchange is worth more than nothing when claims are written down.
    eco = insolvent([{"type": "fund"}, {"type": "write_down"}])
    outputs = eco.series()
    assert outputs["insolvent"].max() == 1.0
    exchange = eco.balance_sheets().set_index("kind").loc["exchange"]
    assert exchange["status"] == "defaulted"
    assert outputs["defaults"].sum() >= 1.0
    assert outputs["bankruptcies"].sum() > 0.0


def test_what_stands_before_the_fund_is_no_residual_loss() -> None:
    # The order of a clearing house: exchange capital first. It bears everything, the fund is untouched, so nothing is breached.
    order = [{"type": "exchange_capital", "share": 1.0}, {"type": "fund"}, {"type": "write_down"}]
    outputs = insolvent(order, capital=5e9, fund=5e8).series()
    assert outputs["absorbed_exchange_capital"].sum() > 0.0
    assert outputs["absorbed_fund"].sum() == 0.0
    assert outputs["residual_loss"].sum() == 0.0


def test_a_shock_from_outside_strikes_once_in_the_next_step_and_joins_the_scenario(tmp_path: Path) -> None:
    calm = SMALL.model_copy(update={"news": Constant.Parameters()})
    eco = Ecosystem(calm, rng=3, check_laws=True)
    eco.run_for(2)
    before = eco.observation["index_BTC"]
    eco.shock([-0.2, -0.3])
    eco.step()
    after = eco.observation["index_BTC"]
    assert after / before - 1.0 == pytest.approx(-0.2, abs=0.02)  # order flow and liquidations move the index a little further
    eco.run_for(3)
    assert calm.shocks == ()
    assert [shock.model_dump() for shock in eco.world.shocks] == [{"type": "price_move", "at": 2.0, "lasts": 0.0, "size": (-0.2, -0.3)}]
    assert eco.observation["index_BTC"] / after - 1.0 == pytest.approx(0.0, abs=0.05)


def test_running_the_scenario_that_a_shock_has_joined_gives_the_same_again(tmp_path: Path) -> None:
    thirds = SMALL.model_copy(update={"hours_per_step": 1.0 / 3.0})
    eco = Ecosystem(thirds, rng=3)
    eco.run_for(7)
    eco.shock([-0.25])
    eco.run_for(5)
    eco.shock([0.1, -0.1])
    eco.run_for(4)
    file = tmp_path / "seen.yaml"
    file.write_text(dump_scenario(eco.world), encoding="utf-8")
    again = Ecosystem(load_scenario(file), rng=3)
    again.run_for(16)
    pd.testing.assert_frame_equal(again.series(), eco.series(), check_exact=True)


def test_a_shock_that_no_price_survives_is_refused_and_leaves_no_trace(eco: Ecosystem) -> None:
    with pytest.raises(ValueError, match="greater than -1"):
        eco.shock([-1.0])
    assert (eco.world.shocks, eco.shocks) == ((), [])


def test_what_traders_expect_of_funding_follows_it_over_three_days() -> None:
    eco = Ecosystem(Scenario.model_validate({"traders": {"groups": []}}), rng=1)
    place = eco.places[0]
    place.venue.funding = np.array([1e-4, 0.0, 0.0])
    place.learn()
    place.learn()
    assert place._funding_trend == pytest.approx([1e-4 * -np.expm1(-2.0 / 72.0), 0.0, 0.0])
