"""Balance sheets and exposures, read off an ecosystem whose every account is known."""

from typing import Any

import numpy as np
import pytest

from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow
from model.scenario import Scenario


def small(**changes: Any) -> Ecosystem:
    """Two lenders with 800 and 400 USD of their own and as much of deposits; one market maker with 1,000 and 200 of loans; an exchange."""
    lenders = {"count": 2, "capital": 1_200.0, "deposits": 1.0, "interbank": 0.25, "loan_to_capital": 0.2, "rate": 0.0}
    house = {"fund": 300.0, "capital": 200.0}
    block = {"market_makers": {"count": 1, "capital": 1_000.0}, "liquidators": {"count": 0}, "clearinghouse": house}
    return Ecosystem(Scenario.model_validate({"traders": {"groups": []}, "venues": [block], "lenders": lenders, **changes}), rng=1)


def test_a_sheet_says_what_a_node_has_and_owes() -> None:
    eco = small()
    credit = eco.credit
    credit.estates = [(9, np.array([7.0, 0.0]))]  # what an estate is yet to pay the first lender
    sheets = eco.balance_sheets().set_index("node")
    assert sheets["kind"].tolist() == ["lender", "lender", "market_maker", "exchange"]
    owed, lent = credit.owed[:2].sum(axis=1), credit.owed[:, :2].sum(axis=0)
    assert lent.sum() > 200.0  # there are loans among lenders, too
    assert sheets["assets"].tolist() == pytest.approx([*(credit.cash + lent + np.array([7.0, 0.0])), 1_200.0, 1_700.0])
    assert sheets["liabilities"].tolist() == pytest.approx([*(owed + np.array([800.0, 400.0])), 200.0, 1_200.0])
    # Nobody has lost anything: equity is what each brought, and the exchange's its fund and its capital.
    assert sheets["equity"].tolist() == pytest.approx([807.0, 400.0, 1_000.0, 500.0])


def test_what_became_of_a_node_is_in_its_sheet() -> None:
    eco = small()
    eco.credit.wave[:], eco.credit.defaulted_at[:] = [-1, 2, 1, -1], [-1, 5, 4, -1]
    sheets = eco.balance_sheets()
    assert sheets["status"].tolist() == ["active", "defaulted", "defaulted", "active"]
    assert sheets["wave"].tolist() == [-1, 2, 1, -1]
    assert sheets["step_of_default"].tolist() == [-1, 5, 4, -1]


def test_an_exchanges_failure_costs_firms_what_they_have_there_and_lenders_what_firms_then_lack() -> None:
    # The maker has 1,200 at the exchange and 1,000 of its own: all of its equity goes, and with it the loans to it.
    eco = small()
    ranks = eco.balance_sheets().set_index("node")["debtrank"]
    credit = eco.credit
    loans = credit.loans[0]
    # In linear DebtRank each lender loses what it has lent the maker over its own equity, and what the other then costs it.
    impact = credit.owed[:2, :2].T / np.array([800.0, 400.0])[:, None]
    lost = np.linalg.solve(np.eye(2) - impact, loans / np.array([800.0, 400.0]))
    assert (lost < 1.0).all()
    assert ranks["exchange"] == pytest.approx((1_000.0 + lost @ [800.0, 400.0]) / 2_200.0)


def test_an_edge_runs_from_who_owes_to_whom() -> None:
    eco = small()
    graph = eco.exposures()
    loans = {name: loan for name, loan in zip(("lender 1", "lender 2"), eco.credit.loans[0].tolist(), strict=True) if loan}
    assert {who: edge["amount"] for _, who, edge in graph.out_edges("maker 1", data=True)} == pytest.approx(loans)
    assert {who: edge["amount"] for _, who, edge in graph.out_edges("exchange", data=True)} == pytest.approx({"maker 1": 1_200.0})


def test_the_ten_largest_traders_that_have_anything_are_nodes_with_a_claim_on_the_exchange() -> None:
    group = {"count": 12, "equity": 12e6, "tail": 2.0}
    eco = small(traders={"groups": [group]})
    ledger, first = eco.venue.ledger, eco.venue.institutions
    equity = ledger.equity()[first:]
    sheets = eco.balance_sheets().query("kind == 'large_trader'")
    largest = np.sort(equity)[::-1][:10]
    assert sheets["assets"].tolist() == pytest.approx(largest.tolist())
    assert sheets["node"].iloc[0] == f"account {first + int(equity.argmax())}"
    graph = eco.exposures()
    assert [graph.edges["exchange", name]["amount"] for name in sheets["node"]] == pytest.approx(largest.tolist())
    # Once all but three owe a dollar, three are left.
    rest = first + np.argsort(equity)[:9]
    ledger.transfer(Flow.WITHDRAWAL, rest, OUTSIDE, ledger.equity(rest) + 1.0)
    assert len(eco.balance_sheets().query("kind == 'large_trader'")) == 3
