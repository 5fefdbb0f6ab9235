"""Loans to institutions: what a default leaves of them."""

import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.ledger import FUND, OUTSIDE, TREASURY, Flow, Status
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
    outcome = credit.clear(1, eco.events)
    assert (outcome.defaults, outcome.contagious, outcome.loss) == (1, 0, pytest.approx(450.0))
    assert credit.cash[0] - cash == pytest.approx(150.0)
    assert worth - credit.lender_equity()[0] == pytest.approx(450.0)
    assert not credit.owed.any()
    assert ledger.status[maker] == Status.BANKRUPT
    assert ledger.equity(np.array([maker])).tolist() == [pytest.approx(0.0, abs=1e-9)]


def test_an_estate_pays_no_more_than_custody_does(eco: Ecosystem) -> None:
    # 300 are left of the maker, of which 150 would reach the lender; but the fund has lost all and 200 more: custody holds 100.
    credit, ledger, (maker,) = eco.credit, eco.venue.ledger, eco.venue.makers.tolist()
    cash = float(credit.cash[0])
    ledger.transfer(Flow.WITHDRAWAL, maker, OUTSIDE, 1_300.0)
    ledger.transfer(Flow.WITHDRAWAL, TREASURY, OUTSIDE, ledger.treasury)
    ledger.transfer(Flow.WITHDRAWAL, FUND, OUTSIDE, ledger.fund + 200.0)
    assert ledger.custody == pytest.approx(100.0)
    credit.clear(1, eco.events)
    assert credit.cash[0] - cash == pytest.approx(100.0)
    assert ledger.custody == pytest.approx(0.0, abs=1e-9)
    assert ledger.equity(np.array([maker])).tolist() == [pytest.approx(200.0)]
    assert credit.outside == pytest.approx(-float(credit.cash[0]))


def test_what_has_defaulted_once_does_not_default_again(eco: Ecosystem) -> None:
    eco.venue.ledger.transfer(Flow.WITHDRAWAL, int(eco.venue.makers[0]), OUTSIDE, 1_300.0)
    eco.credit.clear(1, eco.events)
    cash = eco.credit.cash.copy()
    assert eco.credit.clear(2, eco.events).defaults == 0
    assert eco.credit.cash.tolist() == cash.tolist()
    assert eco.credit.defaulted_at.tolist() == [-1, 1, -1]


def test_lenders_keep_a_fifth_of_their_funds_and_cut_all_loans_alike_where_more_is_wanted() -> None:
    # 1,000 and deposits of four times that are 5,000: 4,000 may be lent, and two makers want 10,000 each.
    makers = {"market_makers": {"count": 2, "capital": 20_000.0}, "liquidators": {"count": 0}}
    lenders = {"count": 1, "capital": 1_000.0, "deposits": 4.0, "interbank": 0.0, "loan_to_capital": 1.0}
    eco = Ecosystem(Scenario.model_validate({"schema": 1, "traders": {"groups": []}, "venues": [makers], "lenders": lenders}), rng=1)
    wanted = 2.0 * float(eco.credit.own.sum() / 2.0)
    assert wanted > 4_000.0
    assert eco.credit.debt().sum() == pytest.approx(4_000.0)
    assert eco.credit.debt() / eco.credit.own == pytest.approx(np.full(2, 4_000.0 / eco.credit.own.sum()))
    assert eco.credit.cash[0] == pytest.approx(1_000.0)


YEAR = 8_760.0


def test_interest_is_on_what_is_owed_and_what_is_earned_beyond_debt_and_capital_is_paid_out(eco: Ecosystem) -> None:
    # Half the loan is forgiven: 300 owed at 8 % for a year are 300 (e^0.08 - 1) = 24.99; the other 300 are lent again. Then it has
    # 1,600 - 24.99 + 300, owes 600 and opened with 1,000 of its own: 275.01 are paid out.
    credit, venue = eco.credit, eco.venue
    credit.owed[1, 0] = 300.0
    venue.ledger.begin_step()
    credit.serve(YEAR)
    interest = 300.0 * np.expm1(0.08)
    assert venue.ledger.flows[Flow.INTEREST] == pytest.approx(interest)
    assert venue.ledger.flows[Flow.LOAN] == pytest.approx(300.0)
    assert venue.ledger.flows[Flow.DISTRIBUTION] == pytest.approx(300.0 - interest)
    assert credit.debt().tolist() == [pytest.approx(600.0)]


def test_a_borrower_repays_no_more_than_interest_leaves_it(eco: Ecosystem) -> None:
    # With 610 against 600 it may owe 10 x 0.6 / 0.4 = 15 and is called for 585 of it in time; 610 less interest is less than that.
    credit, ledger, (maker,) = eco.credit, eco.venue.ledger, eco.venue.makers.tolist()
    ledger.transfer(Flow.WITHDRAWAL, maker, OUTSIDE, 990.0)
    credit.serve(YEAR)
    assert ledger.equity(np.array([maker])).tolist() == [pytest.approx(0.0, abs=1e-9)]
    assert credit.debt().tolist() == [pytest.approx(600.0 - (610.0 - 600.0 * np.expm1(0.08)))]


def test_a_lender_in_default_lends_nothing_more(eco: Ecosystem) -> None:
    eco.credit.owed[1, 0] = 300.0
    eco.credit.wave[0] = 1
    eco.credit.serve(YEAR)
    assert eco.credit.debt().tolist() == [pytest.approx(300.0)]


def test_an_exchange_is_worth_its_fund_and_its_capital_less_what_it_has_written_down(eco: Ecosystem) -> None:
    venue = eco.venue
    venue.write_down = 7.0
    assert venue.ledger.fund > 0.0
    assert eco.credit.worths()[-1] == pytest.approx(venue.ledger.fund + venue.ledger.treasury - 7.0)


def test_what_lenders_have_left_they_have_given_to_borrowers_and_the_rest_stands_outside(eco: Ecosystem) -> None:
    # 10,000 and deposits, less a loan of 600: in cash; the outside's side of it is its negative, and stays that as loans are served.
    credit = eco.credit
    assert credit.cash.tolist() == [pytest.approx(10_000.0 * (1.0 + credit.parameters.deposits) - 600.0)]
    assert credit.outside == -float(credit.cash[0])
    for _ in range(3):
        eco.step()
    assert credit.cash[0] > 10_000.0 * (1.0 + credit.parameters.deposits) - 600.0
    assert credit.outside == pytest.approx(-float(credit.cash[0]))


def test_a_failed_exchange_that_owes_institutions_alone_owes_others_nothing_whatever_sums_round_to() -> None:
    # Claims of 0.1, 0.2 and 0.3 were written down, 0.6 in all; in floating point the three sum to more.
    makers = {"market_makers": {"count": 3, "capital": 6.0}, "liquidators": {"count": 0}}
    eco = Ecosystem(Scenario.model_validate({"schema": 1, "traders": {"groups": []}, "venues": [makers]}), rng=1)
    venue, written = eco.venue, np.array([0.1, 0.2, 0.3])
    assert float(written.sum()) > 0.6
    venue.insolvent, venue.write_down, venue.written_down = True, 0.6, np.zeros(venue.ledger.rows)
    venue.written_down[venue.makers] = written
    assert eco.credit.clear(1, eco.events).defaults >= 1
    assert eco.credit.wave[-1] == 1


def test_a_lender_that_must_repay_more_than_its_cash_borrows_it_outside_and_is_worth_what_it_was() -> None:
    # The first lender has 300 from the second and 400 of deposits, and fails; the second has 100 of cash and 250 lent: 200 are missing.
    lenders = {"count": 2, "capital": 1_200.0, "interbank": 0.0, "loan_to_capital": 0.1}
    block = {"market_makers": {"count": 1, "capital": 1_000.0}, "liquidators": {"count": 0}}
    eco = Ecosystem(Scenario.model_validate({"traders": {"groups": []}, "venues": [block], "lenders": lenders}), rng=1)
    credit = eco.credit
    credit.owed[:] = 0.0
    credit.owed[1, 0], credit.owed[2, 1] = 300.0, 250.0
    credit.cash, credit.deposits, credit.outside = np.array([0.0, 100.0]), np.array([400.0, 0.0]), -100.0
    assert credit.clear(1, eco.events).defaults == 1
    assert (credit.cash[1], credit.deposits[1], credit.lender_equity()[1]) == (0.0, pytest.approx(200.0), pytest.approx(50.0))
    assert credit.cash.sum() + credit.outside == pytest.approx(0.0, abs=1e-9)
