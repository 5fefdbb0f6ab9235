"""Lost hedges: hedgers whose contracts are deleveraged are left with naked spot and sell it; some whom deleveraging closes leave."""

import numpy as np
import pytest

from agents.trader import LostHedgeParameters
from experiments.twin.record import RecordedEcosystem, run_both
from model.ecosystem import Ecosystem
from model.hedges import NakedSpot
from model.ledger import Ledger, Role, Status
from model.scenario import Scenario


def test_naked_spot_is_sold_in_part_and_in_time() -> None:
    # Ten units against four that are still short: six are naked, half of them, three, are to be sold, and half of what is left an hour.
    ledger = Ledger(np.array([50_000.0]), np.array([1e6]))
    rows = ledger.open(2, Role.TRADER)
    for row, spot, held in ((int(rows[0]), 10.0, -4.0), (int(rows[1]), 3.0, -5.0)):
        ledger.spot[0, row], ledger.position[0, row] = spot, held
    naked = NakedSpot(LostHedgeParameters(share=0.5, rate=float(np.log(2.0))), 1)
    naked.note(ledger, rows, np.array([[4.0, 5.0]]))
    assert naked.sells(rows).tolist() == [True, False]
    sold = []
    for hours in (1.0, 1.0, 2.0, 10.0):
        who, units = naked.sale(ledger, np.array([50_000.0]), hours)
        assert who.tolist() == [rows[0]]
        sold.append(float(units[0, 0]))
    # After all but 3 / 2^14 units are sold the rest is worth less than a thousand dollars.
    assert sold == pytest.approx([1.5, 0.75, 0.5625, 0.1875 * (1 - 2**-10)])
    assert naked.sale(ledger, np.array([50_000.0]), 1.0)[1].tolist() == [[pytest.approx(3.0 / 2**14)]]
    assert not naked.rows.size


def crash(lost_hedges: dict[str, float] | None) -> Scenario:
    """Longs at high leverage against a few hedgers; the market falls by a third, and the fund holds next to nothing."""
    return Scenario.model_validate(
        {
            "assets": [{"name": "BTC", "price": 60_000.0, "volatility": 0.6, "beta": 1.0}],
            "shocks": [{"type": "price_move", "at": 2, "size": [-0.35]}],
            "venues": [
                {
                    "clearinghouse": {"fund": 1e4, "capital": 1e4},
                    "market_makers": {"capital": 5e6, "depth": [20e6]},
                    "liquidators": {"capital": 1e5},
                }
            ],
            "traders": {
                "groups": [
                    {"name": "longs", "count": 40, "equity": 1e8, "leverage": 12.0, "strategies": [{"type": "noise", "bias": 1.0}]},
                    {
                        "name": "basis_funds", "count": 5, "equity": 8e8, "tail": 2.0, "span": 3.0, "leverage": 0.5, "leverage_spread": 0.0,
                        "activity": 1.0, "churn": 0.0, "strategies": [{"type": "hedger", "hurdle": -1.0}],
                    },
                ],
                "lost_hedges": lost_hedges,
            },
            "lenders": {"count": 0},
        }
    )  # fmt: skip


def test_both_engines_agree_on_worlds_with_lost_hedges() -> None:
    sold = 0.0
    for engine, _, lines in run_both(crash({"share": 0.8, "rate": 1.0}), 12, seed=1):
        assert lines == []
        assert isinstance(engine, RecordedEcosystem)
        engine.assert_laws()
        sold += engine.observation["lost_hedges"]
    assert sold > 1e6


def test_lost_hedges_push_the_index_down_and_their_holders_do_not_trade_until_all_is_sold() -> None:
    worlds = {rate: Ecosystem(crash(rate and {"rate": rate}), rng=1, check_laws=True) for rate in (None, 1.0, 20.0)}
    for eco in worlds.values():
        for _ in range(3):
            eco.step()
    fast = worlds[20.0]
    rows = fast.population.naked.rows
    assert rows.size
    short = fast.venue.ledger.position[0, rows].copy()
    naked = fast.population.naked.units.sum()
    held = fast.venue.ledger.spot[0, rows].sum()
    assert len({eco.observation["index_BTC"] for eco in worlds.values()}) == 1
    for eco in worlds.values():
        eco.step()
    assert held - fast.venue.ledger.spot[0, rows].sum() == pytest.approx(naked, rel=1e-6)
    assert (fast.venue.ledger.position[0, rows] == short).all()
    assert fast.observation["index_BTC"] < worlds[1.0].observation["index_BTC"]
    assert worlds[None].observation["lost_hedges"] == 0.0 < worlds[1.0].observation["lost_hedges"] < fast.observation["lost_hedges"]


def test_some_whom_deleveraging_closes_leave_for_good() -> None:
    leaving = {}
    for chance in (0.0, 0.5, 1.0):
        world = crash(None)
        groups = tuple(group.model_copy(update={"churn_closed": chance, "churn": 0.0}) for group in world.traders.groups)
        eco = Ecosystem(world.model_copy(update={"traders": world.traders.model_copy(update={"groups": groups})}), rng=1, check_laws=True)
        for _ in range(3):
            eco.step()
        contracts, funds = eco.venue.deleveraged, eco.population.groups[1]
        assert contracts is not None
        hit = contracts[0, funds.rows] > 0.0
        assert hit.any()
        gone = funds.leaving | (eco.venue.ledger.status[funds.rows] == Status.GONE)
        assert not gone[~hit].any()
        leaving[chance] = int(gone.sum())
    assert leaving[0.0] == 0
    assert leaving[0.0] <= leaving[0.5] <= leaving[1.0]
    assert leaving[1.0] > 0
