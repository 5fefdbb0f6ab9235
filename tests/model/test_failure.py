"""The exchange's own failure: who gets what of its estate and when, and who runs from it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.clearinghouse.failure import estate_payments
from agents.trader import RunParameters, run_fear
from experiments.twin.record import run_both
from model.ecosystem import Ecosystem
from model.failure import open_estate
from model.ledger import OUTSIDE, TREASURY, Flow, Role, Status
from model.scenario import Scenario
from tests.validation.handmade import FIRST, MAKER, handmade


def test_senior_claims_are_paid_before_others() -> None:
    # 60 and 40 are senior to 200 and 100; an estate of 190 pays the senior ones, and 90 of 300 to the others.
    claims, senior = np.array([60.0, 200.0, 40.0, 100.0]), np.array([True, False, True, False])
    assert estate_payments(claims, senior, 190.0).tolist() == pytest.approx([60.0, 60.0, 40.0, 30.0])
    assert estate_payments(claims, senior, 50.0).tolist() == pytest.approx([30.0, 0.0, 20.0, 0.0])


@given(st.lists(st.tuples(st.floats(0, 1e9), st.booleans()), min_size=1, max_size=20), st.floats(0, 1))
def test_an_estate_is_paid_out_whole_and_nobody_gets_more_than_its_claim(holders: list[tuple[float, bool]], share: float) -> None:
    claims, senior = np.array([usd for usd, _ in holders]), np.array([first for _, first in holders])
    paid = estate_payments(claims, senior, share * float(claims.sum()))
    assert paid.sum() == pytest.approx(share * claims.sum(), abs=1e-6)
    assert (paid <= claims * (1.0 + 1e-12)).all()


def broken(failure: dict[str, Any], **settings: Any) -> Scenario:
    """A fall by 40 % breaks an exchange that has next to no fund in its third hour."""
    return Scenario.model_validate(
        {
            "news": {"type": "constant"},
            "shocks": [{"type": "price_move", "at": 2, "size": [-0.4]}],
            "venues": [
                {
                    "clearinghouse": {
                        "fund": 1e5,
                        "capital": 1e5,
                        "waterfall": [{"type": "fund"}, {"type": "write_down"}],
                        "failure": failure,
                    },
                    "market_makers": {"count": 2},
                    "liquidators": {"count": 1},
                }
            ],
            "traders": {"groups": [{"name": "retail", "count": 60, "leverage": 12.0}]},
            "lenders": {"count": 2, "loan_to_capital": 0.5, "rate": 0.0},
            **settings,
        }
    )  # fmt: skip


def after(steps: int, failure: dict[str, Any], **settings: Any) -> Ecosystem:
    eco = Ecosystem(broken(failure, **settings), rng=1, check_laws=True)
    for _ in range(steps):
        eco.step()
    assert eco.venue.insolvent
    return eco


def test_costs_of_its_bankruptcy_leave_everybody_with_less() -> None:
    whole, costly = after(3, {}), after(3, {"recovery": 0.6})
    held = whole.venue.ledger.equity()
    holders = whole.venue.ledger.role != Role.HOUSE
    assert costly.venue.ledger.equity()[holders] == pytest.approx(0.6 * held[holders])
    assert costly.observation["bankruptcy_costs"] == pytest.approx(0.4 * held[holders].sum())


def test_seniority_divides_what_is_left_between_traders_and_institutions() -> None:
    kept = {
        name: after(3, {"seniority": name, "recovery": 0.5}).observation for name in ("pari_passu", "traders_senior", "institutions_senior")
    }
    traders = {name: seen["trader_equity"] for name, seen in kept.items()}
    makers = {name: seen["maker_equity"] for name, seen in kept.items()}
    assert traders["traders_senior"] > traders["pari_passu"] > traders["institutions_senior"]
    assert makers["traders_senior"] < makers["pari_passu"] < makers["institutions_senior"]
    totals = [traders[name] + makers[name] + kept[name]["liquidator_equity"] for name in kept]
    assert totals == pytest.approx([totals[0]] * 3)


@pytest.mark.parametrize(("senior", "kept"), [("traders_senior", [100.0, 20.0]), ("institutions_senior", [20.0, 100.0])])
def test_what_was_written_down_is_claimed_again_by_those_who_are_senior(senior: str, kept: list[float]) -> None:
    # A trader and a maker have 60 each of 100 that they had: of 120 the senior one gets its 100, the other the rest.
    one = handmade([60.0], maker=60.0, failure={"seniority": senior})
    venue = one.venue
    venue.insolvent, venue.written_down = True, np.zeros(venue.ledger.rows)
    venue.written_down[[FIRST, MAKER]] = 40.0
    open_estate(venue)
    assert one.equity(FIRST, MAKER) == pytest.approx(kept)
    assert venue.written_down[[FIRST, MAKER]] == pytest.approx(100.0 - np.array(kept))
    venue.ledger.check(1)


def test_what_lenders_lose_by_a_failed_exchange_depends_on_whose_claims_are_senior() -> None:
    """Borrowers that get nothing of a failed exchange default on their lenders."""
    lost = {
        name: after(3, {"seniority": name, "recovery": 0.2}).observation["network_loss"]
        for name in ("traders_senior", "institutions_senior")
    }
    assert lost["traders_senior"] > lost["institutions_senior"]


@pytest.mark.parametrize(
    "failure",
    [{}, {"recovery": 0.6}, {"recovery": 0.5, "seniority": "traders_senior"}, {"recovery": 0.5, "seniority": "institutions_senior"}],
)
def test_the_network_sees_firms_paid_what_their_accounts_are_left_with(failure: dict[str, Any]) -> None:
    eco = after(3, failure, lenders={"count": 0})
    credit, ledger = eco.credit, eco.venue.ledger
    ledger.transfer(Flow.WITHDRAWAL, TREASURY, OUTSIDE, ledger.treasury)  # what the exchange has taken since it failed
    left = np.maximum(credit.firms.equity()[0], 0.0)
    assert credit._solve().matrix().toarray()[credit.nodes, : credit.nodes] == pytest.approx(left, rel=1e-9, abs=1e-6)


def test_an_estate_pays_everybody_out_after_the_delay_and_borrowers_repay_first() -> None:
    waiting, paid = after(5, {"delay": 3.0}), after(6, {"delay": 3.0})
    ledger = waiting.venue.ledger
    holders = np.flatnonzero(ledger.role != Role.HOUSE)
    assert ledger.equity(holders).sum() > 1e6
    debt, cash = float(waiting.credit.debt().sum()), float(waiting.credit.cash.sum())
    assert debt > 0.0
    assert paid.venue.ledger.equity(holders) == pytest.approx(0.0, abs=1e-3)
    assert paid.credit.debt().sum() == pytest.approx(0.0, abs=1e-3)
    assert paid.credit.cash.sum() - cash == pytest.approx(debt)
    assert not (paid.venue.ledger.status[paid.venue.institutions :] == Status.ACTIVE).any()


def test_lenders_of_borrowers_that_fail_with_the_exchange_wait_for_it() -> None:
    poor = {"lenders": {"count": 2, "loan_to_capital": 5.0, "capital": 1e9, "rate": 0.0}}
    at_once, later = after(3, {"recovery": 0.3}, **poor), after(3, {"recovery": 0.3, "delay": 2.0}, **poor)
    assert at_once.observation["defaults"] > 1.0
    assert later.observation["network_loss"] == pytest.approx(at_once.observation["network_loss"])
    assert at_once.credit.pending.sum() == 0.0
    assert later.credit.pending.sum() == pytest.approx(at_once.credit.cash.sum() - later.credit.cash.sum())
    for _ in range(2):
        later.step()
    assert later.credit.pending.sum() == 0.0


def test_both_engines_agree_when_an_estate_is_divided_and_paid_out() -> None:
    for engine, _, lines in run_both(broken({"recovery": 0.5, "seniority": "traders_senior", "delay": 1.0}), 6, seed=1):
        assert lines == []
        engine.assert_laws()


@pytest.mark.parametrize(("level", "fear"), [(2.0, 0.0), (0.5, 0.0), (0.25, 0.5), (0.0, 1.0), (-1.0, 1.0), (float("nan"), 0.0)])
def test_fear_rises_as_backing_falls_below_what_calms(level: float, fear: float) -> None:
    assert run_fear(RunParameters(calm=0.5), level) == fear


def test_holders_withdraw_a_share_of_free_collateral_an_hour_when_they_fear() -> None:
    """The fund is nothing against its target: fear is 1, and half of what margin does not hold leaves in an hour."""
    world = {
        "news": {"type": "constant"},
        "venues": [{"clearinghouse": {"fund": 0.0, "accrual": [{"type": "surplus"}], "sizing": {"type": "fixed", "amount": 1e9}}}],
        "traders": {"groups": [{"name": "retail", "count": 50, "activity": 0.0, "entry_rate": 0.0}]},
    }
    free = {}
    for name, run in (("calm", None), ("afraid", {"rate": float(np.log(2.0))})):
        eco = Ecosystem(Scenario.model_validate({**world, "traders": {**world["traders"], "run": run}}), rng=1, check_laws=True)  # type: ignore[dict-item]
        eco.step()
        ledger, rows = eco.venue.ledger, eco.population.groups[0].rows
        margin = eco.venue.requirement(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks).initial
        free[name] = np.maximum(ledger.equity(rows) - margin, 0.0)
        assert eco.observation["run_fear"] == (1.0 if run else 0.0)
    assert free["calm"].sum() > 0.0
    assert free["afraid"] == pytest.approx(0.5 * free["calm"])
    assert eco.observation["run"] == pytest.approx(free["calm"].sum() - free["afraid"].sum())
