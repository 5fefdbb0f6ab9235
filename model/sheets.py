"""Balance sheets and exposures of the institutions, as tables and as a graph."""

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.contagion.debtrank import by_node

if TYPE_CHECKING:
    from model.ecosystem import Ecosystem
    from model.ledger import Rows

type Floats = NDArray[np.float64]
MOST_RANKED = 500
"""Institutions that are ranked at most: each one's failure is worked out."""
LARGE_TRADERS = 10
"""The largest trading accounts are shown as nodes, for their claims on the exchange."""


def _names(eco: "Ecosystem") -> list[tuple[str, str]]:
    venue = eco.venue
    out = [(f"lender {n + 1}", "lender") for n in range(eco.credit.lenders)]
    out += [(f"maker {n + 1}", "market_maker") for n in range(venue.makers.size)]
    out += [(f"liquidator {n + 1}", "liquidator") for n in range(venue.liquidators.size)]
    return [*out, (venue.name, "exchange")]


def _large(eco: "Ecosystem") -> "tuple[Rows, Floats]":
    equity = eco.venue.ledger.equity()[eco.venue.institutions :]
    top = np.argsort(-equity, kind="stable")[:LARGE_TRADERS]
    top = top[equity[top] > 0.0]
    return top + eco.venue.institutions, equity[top]


def balance_sheets(eco: "Ecosystem") -> pd.DataFrame:
    """Columns node, kind, assets, liabilities, equity (USD), status, wave, step_of_default, debtrank.

    The last is the share of the others' equity that a node's failure would cost them as things stand, the exchange's that of its fund and
    capital; not a number for traders, and for networks too large to rank.
    """
    credit, venue = eco.credit, eco.venue
    held = np.maximum(venue.ledger.equity(credit.rows), 0.0)
    claims = float(np.maximum(venue.ledger.equity()[venue.ledger.house :], 0.0).sum())
    lenders = credit.cash + credit.pending + credit.owed[:, : credit.lenders].sum(axis=0)
    assets = np.concatenate((lenders, held, [venue.ledger.custody]))
    owed = credit.owed.sum(axis=1)
    owed[: credit.lenders] += credit.deposits
    owed[-1] = claims
    rows = [
        (node, kind, a, o, a - o, "active" if wave < 0 else "defaulted", int(wave), int(when), rank)
        for (node, kind), a, o, wave, when, rank in zip(
            _names(eco), assets.tolist(), owed.tolist(), credit.wave, credit.defaulted_at, _ranks(eco, held).tolist(), strict=True
        )
    ]
    for row, equity in zip(*_large(eco), strict=True):
        rows.append((f"account {row}", "large_trader", float(equity), 0.0, float(equity), "active", -1, -1, float("nan")))
    columns = ["node", "kind", "assets", "liabilities", "equity", "status", "wave", "step_of_default", "debtrank"]
    return pd.DataFrame(rows, columns=columns)


def _ranks(eco: "Ecosystem", held: Floats) -> Floats:
    """Linear DebtRank of each institution, (N,), of loans and of what borrowers hold, (B,) USD, on the exchange."""
    credit = eco.credit
    liabilities = credit.owed.copy()
    liabilities[-1, credit.lenders : -1] = held
    if liabilities.shape[0] > MOST_RANKED:
        return np.full(liabilities.shape[0], np.nan)
    return by_node(liabilities, credit.worths(eco.venue))


def exposures(eco: "Ecosystem") -> "nx.DiGraph[str]":
    """Edges from debtor to creditor with `amount`, USD; nodes carry what their balance sheets say."""
    sheets = balance_sheets(eco)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for sheet in sheets.to_dict("records"):
        graph.add_node(str(sheet["node"]), **{key: sheet[key] for key in ("kind", "assets", "liabilities", "equity", "status", "wave")})
    names = [name for name, _ in _names(eco)]
    for debtor, creditor in zip(*np.nonzero(eco.credit.owed), strict=True):
        graph.add_edge(names[debtor], names[creditor], amount=float(eco.credit.owed[debtor, creditor]))
    claims = np.maximum(eco.venue.ledger.equity(eco.credit.rows), 0.0).tolist()
    for name, claim in zip(names[eco.credit.lenders : -1], claims, strict=True):
        if claim > 0.0:
            graph.add_edge(names[-1], name, amount=claim)
    for row, equity in zip(*_large(eco), strict=True):
        graph.add_edge(names[-1], f"account {row}", amount=float(equity))
    return graph
