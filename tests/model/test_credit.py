"""Loans to institutions: what a default leaves of them."""

import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow, Status
from model.scenario import Scenario


@pytest.fixture
def eco() -> Ecosystem:
    """One market maker with 1,000 USD of its own and 600 from the only lender, nobody else. A default costs half of what is received."""
    return Ecosystem(
        Scenario.model_validate(
            {
                "schema": 1,
                "traders": {"groups": []},
                "venues": [{"market_makers": {"count": 1, "capital": 1_000.0}, "liquidators": {"count": 0}}],
                "lenders": {"count": 1, "capital": 10_000.0, "interbank": 0.0, "loan_to_capital": 0.6},
                "interbank_recovery": 0.5,
            }
        ),
        rng=1,
    )


def test_a_defaulters_loan_is_settled_by_its_estate_and_written_off(eco: Ecosystem) -> None:
    credit, ledger, (maker,) = eco.credit, eco.venue.ledger, eco.venue.makers.tolist()
    assert credit.debt().tolist() == [pytest.approx(600.0)]
    cash, worth = float(credit.cash[0]), float(credit.lender_equity()[0])
    # It has 1,600 and loses 1,300 of them: 300 for 600, of which half reaches the lender; 450 are lost.
    ledger.transfer(Flow.WITHDRAWAL, maker, OUTSIDE, 1_300.0)
    outcome = credit.clear(eco.venue, 1, eco.events)
    assert (outcome.defaults, outcome.contagious, outcome.loss) == (1, 0, pytest.approx(450.0))
    assert credit.cash[0] - cash == pytest.approx(150.0)
    assert worth - credit.lender_equity()[0] == pytest.approx(450.0)
    assert not credit.owed.any()
    assert ledger.status[maker] == Status.BANKRUPT
    assert ledger.equity(np.array([maker])).tolist() == [pytest.approx(0.0, abs=1e-9)]


def test_what_has_defaulted_once_does_not_default_again(eco: Ecosystem) -> None:
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 1_300.0)
    eco.credit.clear(eco.venue, 1, eco.events)
    cash = eco.credit.cash.copy()
    assert eco.credit.clear(eco.venue, 2, eco.events).defaults == 0
    assert eco.credit.cash.tolist() == cash.tolist()
    assert eco.credit.defaulted_at.tolist() == [-1, 1, -1]
