"""Rules of payment on the network of loans: what defaulters pay, to whom first, and what comes of it in whole worlds."""

from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow
from model.payments import PaymentParameters, Payments
from model.scenario import Scenario

PRY = "paddrik_rajan_young"


def alone(**settings: Any) -> Ecosystem:
    """One market maker with 1,000 USD of its own and 600 from the only lender; it loses 1,300 of its 1,600."""
    world = {
        "traders": {"groups": []},
        "venues": [{"market_makers": {"count": 1, "capital": 1_000.0}, "liquidators": {"count": 0}}],
        "lenders": {"count": 1, "capital": 10_000.0, "interbank": 0.0, "loan_to_capital": 0.6},
        **settings,
    }
    eco = Ecosystem(Scenario.model_validate(world), rng=1)
    eco.venue.ledger.begin_step()
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 1_300.0)
    return eco


@pytest.mark.parametrize(
    ("rule", "gets", "from_reserve"),
    [
        ({"type": "eisenberg_noe"}, 300.0, 0.0),
        ({"type": PRY, "tau": 1.0}, 300.0, 0.0),
        ({"type": PRY, "tau": 0.5}, 600.0 - 0.5 * 300.0, 150.0),  # half of what is missing comes from the reserve
        ({"type": PRY, "tau": 0.0}, 600.0, 300.0),
        ({"type": PRY, "tau": 1.5}, 600.0 - 1.5 * 300.0, 0.0),  # 150 are held back
    ],
)
def test_a_lender_gets_what_the_rule_says_and_the_reserve_is_booked(rule: dict[str, Any], gets: float, from_reserve: float) -> None:
    eco = alone(payments={"rule": rule})
    credit, ledger = eco.credit, eco.venue.ledger
    cash, closed = float(credit.cash[0]), float(credit.cash.sum() + credit.outside)
    outcome = credit.clear(1, eco.events)
    assert credit.cash[0] - cash == pytest.approx(gets)
    assert outcome.loss == pytest.approx(600.0 - gets)
    assert outcome.reserve == pytest.approx(from_reserve)
    assert ledger.flows.get(Flow.RESERVE, 0.0) == pytest.approx(from_reserve)
    assert credit.cash.sum() + credit.outside == pytest.approx(closed)
    ledger.check(1)


def test_margin_is_drawn_for_what_is_missing_and_no_more() -> None:
    # A quarter of 600 is held. 300 are missing: all of the 150 are drawn. With tau = 1/3 only 100 are missing, and 50 go back.
    for rule, missing in (({"type": "eisenberg_noe"}, 300.0), ({"type": PRY, "tau": 1 / 3}, 100.0)):
        eco = alone(payments={"rule": rule, "margin": 0.25})
        cash, closed = float(eco.credit.cash[0]), float(eco.credit.cash.sum() + eco.credit.outside)
        outcome = eco.credit.clear(1, eco.events)
        assert outcome.margin == pytest.approx(min(150.0, missing))
        assert outcome.loss == pytest.approx(missing - min(150.0, missing))
        assert eco.credit.cash[0] - cash == pytest.approx(600.0 - outcome.loss)
        assert eco.credit.cash.sum() + eco.credit.outside == pytest.approx(closed)


@pytest.mark.parametrize(("seniority", "gets"), [("pari_passu", 40.0), ("external_senior", 0.0), ("interbank_senior", 100.0)])
def test_who_is_paid_first_is_the_scenarios_choice(seniority: str, gets: float) -> None:
    """A lender with 100 in cash owes depositors 150 and another lender 100."""
    lending = {"count": 2, "capital": 1_000.0, "interbank": 0.0}
    eco = alone(lenders=lending, payments={"seniority": seniority})
    credit = eco.credit
    credit.owed[:] = 0.0
    credit.owed[0, 1] = 100.0
    credit.cash[:], credit.deposits[:] = (100.0, 500.0), (150.0, 100.0)
    assert credit.clear(1, eco.events).loss == pytest.approx(150.0)
    assert credit.cash.tolist() == [0.0, pytest.approx(500.0 + gets)]


def test_costs_of_bankruptcy_belong_to_the_rule_that_has_them() -> None:
    with pytest.raises(ValidationError, match=r"a rule without any, expected 1, or `payments\.rule` of type `rogers_veraart`"):
        Scenario.model_validate({"recovery": 0.5, "payments": {"rule": {"type": "eisenberg_noe"}}})


def crash(**payments: Any) -> Scenario:
    """Markets fall by half at once; makers and liquidators borrow heavily from lenders with little capital."""
    return Scenario.model_validate(
        {
            "steps": 8,
            "shocks": [
                {"type": "price_move", "at": 2, "size": [-0.3, -0.35, -0.5]},
                {"type": "depth_withdrawal", "at": 2, "lasts": 4, "remains": [0.1]},
            ],
            "venues": [
                {
                    "clearinghouse": {"fund": 1e7, "capital": 1e7},
                    "market_makers": {"capital": 40e6, "inventory_limit": 2.0, "margin_use_limit": 0.95},
                    "liquidators": {"capital": 25e6, "appetite": 12.0},
                }
            ],
            "traders": {"groups": [{"name": "retail", "count": 200, "equity": 1e9, "tail": 1.5, "span": 300.0, "leverage": 8.0}]},
            "lenders": {"capital": 8e6, "deposits": 12.0, "interbank": 2.0, "loan_to_capital": 1.2, "haircut": 0.2, "call_rate": 0.01},
            "payments": payments,
        }
    )


def spread(scenario: Scenario, seed: int) -> tuple[float, float]:
    """Contagious defaults and USD that creditors of defaulters lost, of one run with its laws checked."""
    eco = Ecosystem(scenario, rng=seed, check_laws=True, record_events=False)
    for _ in range(scenario.steps):
        eco.step()
    series = eco.series()
    return float(series["contagious_defaults"].sum()), float(series["network_loss"].sum())


def test_contagion_rises_with_transmission_in_whole_worlds() -> None:
    """Published direction (Paddrik, Rajan and Young 2020): with the same luck, more transmission spreads more; margin spreads less."""
    taus = (0.0, 0.5, 1.0, 1.5)
    found = np.array([[spread(crash(rule={"type": PRY, "tau": tau}), seed) for seed in range(3)] for tau in taus])
    defaults, losses = found[..., 0].sum(axis=1), found[..., 1].sum(axis=1)
    assert losses[0] == 0.0
    assert (np.diff(losses) > 0.0).all(), losses
    assert (np.diff(defaults) >= 0.0).all(), defaults
    assert defaults[-1] > defaults[0] == 0.0, defaults
    held = np.array([spread(crash(rule={"type": PRY, "tau": 1.5}, margin=0.5), seed) for seed in range(3)])
    assert held[:, 1].sum() < losses[-1]


def test_an_estate_waits_for_the_longer_of_two_delays_and_not_a_step_for_rounding() -> None:
    waits = Payments(PaymentParameters(delay=3.0))
    assert [waits.steps(hours) for hours in (0.0, 2.0, 4.5)] == [3, 3, 5]
    assert Payments(PaymentParameters(delay=3 * 0.1), hours=0.1).steps() == 3
    # Where a reserve pays all that is lacking, nobody waits for it but with the exchange that it is at.
    in_full = Payments(PaymentParameters(delay=3.0), in_full=True)
    assert [in_full.steps(hours) for hours in (0.0, 2.0)] == [0, 2]


def test_every_exchange_pays_all_it_has_whatever_bankruptcy_costs_others() -> None:
    # A firm has 10 at each of two exchanges, of which each has 4, and owes 10: half of the 8 that it gets reaches its creditors.
    owed = np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [10.0, 0.0, 0.0]])
    cleared = Payments(PaymentParameters(), (0.5, 0.5)).clear(
        owed, np.array([0.0, 4.0, 4.0]), np.array([10.0, 0.0, 0.0]), np.zeros((3, 3)), 2
    )
    assert cleared.payments.tolist() == pytest.approx([4.0, 4.0, 4.0])
