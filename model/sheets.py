"""Balance sheets and exposures of the institutions, as tables and as a graph."""

from typing import TYPE_CHECKING

import networkx as nx
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from model.contagion.debtrank import by_node

if TYPE_CHECKING:
    from model.credit import Credit
    from model.ecosystem import Ecosystem
    from model.marketplace import Marketplace

type Floats = NDArray[np.float64]
type Sheet = tuple[str, str, float, float, float, str, int, int, float]
"""Node, kind, assets, liabilities, equity, status, wave, step of default, DebtRank."""

MOST_RANKED = 500
"""Institutions that are ranked at most: each one's failure is worked out."""
LARGE_TRADERS = 10
"""The largest trading accounts are shown as nodes, for their claims on the exchange."""


def _names(eco: "Ecosystem", credit: "Credit") -> list[tuple[str, str]]:
    """Names and kinds of a network's nodes; those of any network but the first say where they are."""
    firms, where = credit.firms, "" if credit is eco.credit else f" at {credit.firms.venues[0].name}"
    out = [(f"lender {n + 1}{where}", "lender") for n in range(credit.lenders)]
    out += [(f"maker {n + 1}{where}", "market_maker") for n in range(firms.makers)]
    out += [(f"liquidator {n + 1}{where}", "liquidator") for n in range(firms.count - firms.makers)]
    return [*out, *((venue.name, "exchange") for venue in firms.venues)]


def _large(place: "Marketplace", first: bool) -> list[tuple[str, float]]:
    """Names of an exchange's largest traders and what they have there, USD."""
    venue = place.venue
    equity = venue.ledger.equity()[venue.institutions :]
    top = np.argsort(-equity, kind="stable")[:LARGE_TRADERS]
    top = top[equity[top] > 0.0]
    where = "" if first else f" at {venue.name}"
    return [(f"account {row + venue.institutions}{where}", float(equity[row])) for row in top.tolist()]


def _large_traders(eco: "Ecosystem") -> list[tuple[str, str, float]]:
    """Exchange, name and USD of each exchange's largest traders."""
    return [(place.venue.name, *one) for at, place in enumerate(eco.places) for one in _large(place, at == 0)]


def balance_sheets(eco: "Ecosystem") -> pd.DataFrame:
    """Columns node, kind, assets, liabilities, equity (USD), status, wave, step_of_default, debtrank.

    The last is the share of the others' equity that a node's failure would cost them as things stand, an exchange's that of its fund and
    capital; not a number for traders, and for networks too large to rank.
    """
    rows = [row for credit in eco.credits for row in _sheets(eco, credit)]
    rows += [sheet for _, sheet in _option_vaults(eco)]
    for _, name, equity in _large_traders(eco):
        rows.append((name, "large_trader", equity, 0.0, equity, "active", -1, -1, float("nan")))
    columns = ["node", "kind", "assets", "liabilities", "equity", "status", "wave", "step_of_default", "debtrank"]
    return pd.DataFrame(rows, columns=columns)


def _option_vaults(eco: "Ecosystem") -> list[tuple[str, Sheet]]:
    """Exchanges that have an option vault, and its row: it owes its depositors its equity and nobody else anything."""
    found: list[tuple[str, Sheet]] = []
    for at, place in enumerate(eco.places):
        vault, ledger = place.venue.option_vault, place.venue.ledger
        if vault is not None:
            name = "option vault" if at == 0 else f"option vault at {place.venue.name}"
            claim = max(vault.equity(ledger), 0.0)
            fate = ("defaulted", 1) if vault.failed_in >= 0 else ("active", -1)
            found.append((place.venue.name, (name, "option_vault", claim, 0.0, claim, *fate, vault.failed_in, float("nan"))))
    return found


def _sheets(eco: "Ecosystem", credit: "Credit") -> list[Sheet]:
    """One row a node of a network."""
    venues = credit.firms.venues
    held = np.maximum(credit.firms.equity(), 0.0)
    claims = [float(np.maximum(venue.ledger.equity()[venue.ledger.house :], 0.0).sum()) for venue in venues]
    lenders = credit.cash + credit.pending + credit.owed[:, : credit.lenders].sum(axis=0)
    assets = np.concatenate((lenders, held.sum(axis=0), [venue.ledger.custody for venue in venues]))
    owed = credit.owed.sum(axis=1)
    owed[: credit.lenders] += credit.deposits
    owed[credit.nodes :] = claims
    ranks = _ranks(credit, held)
    return [
        (node, kind, a, o, a - o, "active" if wave < 0 else "defaulted", int(wave), int(when), rank)
        for (node, kind), a, o, wave, when, rank in zip(
            _names(eco, credit), assets.tolist(), owed.tolist(), credit.wave, credit.defaulted_at, ranks.tolist(), strict=True
        )
    ]


def _ranks(credit: "Credit", held: Floats) -> Floats:
    """Linear DebtRank of each institution, (N,), of loans and of what borrowers hold, (V, B) USD, on exchanges."""
    liabilities = credit.owed.copy()
    liabilities[credit.nodes :, credit.lenders : credit.nodes] = held
    if liabilities.shape[0] > MOST_RANKED:
        return np.full(liabilities.shape[0], np.nan)
    return by_node(liabilities, credit.worths())


def exposures(eco: "Ecosystem") -> "nx.DiGraph[str]":
    """Edges from debtor to creditor with `amount`, USD; nodes carry what their balance sheets say."""
    sheets = balance_sheets(eco)
    graph: nx.DiGraph[str] = nx.DiGraph()
    for sheet in sheets.to_dict("records"):
        graph.add_node(str(sheet["node"]), **{key: sheet[key] for key in ("kind", "assets", "liabilities", "equity", "status", "wave")})
    for credit in eco.credits:
        names = [name for name, _ in _names(eco, credit)]
        for debtor, creditor in zip(*np.nonzero(credit.owed), strict=True):
            graph.add_edge(names[debtor], names[creditor], amount=float(credit.owed[debtor, creditor]))
        for exchange, held in zip(names[credit.nodes :], credit.firms.equity().tolist(), strict=True):
            for name, claim in zip(names[credit.lenders : credit.nodes], held, strict=True):
                if claim > 0.0:
                    graph.add_edge(exchange, name, amount=claim)
    for exchange, (name, _, claim, *_) in _option_vaults(eco):
        if claim > 0.0:
            graph.add_edge(exchange, name, amount=claim)
    for exchange, name, usd in _large_traders(eco):
        graph.add_edge(exchange, name, amount=usd)
    return graph
