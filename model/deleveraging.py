"""Deleveraging: contracts of bankrupt accounts that nobody covers are closed against winners."""

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.deleveraging import DeleveragingView
from agents.clearinghouse.liquidation import maintenance_shares
from model.ledger import Flow, Rows
from model.losses import Losses
from model.market import FULL
from model.venue import TIE
from model.walked import Walked

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]


class Deleverager:
    """Deleveraging of one walk; rows are those of the whole ledger."""

    def __init__(self, walked: Walked, losses: Losses) -> None:
        self.walked, self.losses, self.venue = walked, losses, walked.venue

    def close(self, bankrupt: Rows, margin: Floats, breached: Flags) -> None:
        """Closes all contracts of bankrupt accounts against the other side, uncovered ones at bankruptcy price."""
        venue, part = self.venue, self.walked.ledger
        lost = -part.equity(bankrupt)
        shares = maintenance_shares(margin, part.exposure[:, bankrupt] * part.marks[:, None])
        covered = np.ones(part.markets) if venue.deleverages_at_mark else self._covered(lost, shares)
        left = shares * lost
        for market in range(part.markets):
            if covered[market] < 1.0 - TIE:
                for selling in (True, False):
                    left[market] -= self._against_winners(market, selling, bankrupt, shares[market] * lost, 1.0 - covered[market], breached)
        self.walked.close_at_mark(bankrupt)
        self.losses.cover(bankrupt, np.maximum(-part.equity(bankrupt), 0.0), np.maximum(left, 0.0), Flow.DRAW_CLOSE_OUT)
        # Also where winners have borne all of a deficit, and nothing was left to cover.
        self.losses.bankrupt(bankrupt)

    def _covered(self, lost: Floats, shares: Floats) -> Floats:
        """Shape (M,): part of losses `lost`, (n,), USD, that the layers before pay, market by market; `shares`: (M, n) of each loss."""
        pools = self.venue.pools
        losses = np.array([float((part * lost).sum()) for part in pools.claims(shares)])
        paid = self.losses.house_pays(losses)
        covered = np.divide(paid, losses, out=np.ones_like(losses), where=losses > 0.0)
        by_market: Floats = np.minimum(covered, 1.0)[pools.claimant]
        return by_market

    def _against_winners(self, market: int, selling: bool, bankrupt: Rows, lost: Floats, part_left: float, breached: Flags) -> Floats:
        """Deleverages one market and side at bankruptcy price. Returns what of `lost`, (n,), winners have borne.

        Args:
            market, selling: whose contracts: `selling` for bankrupt longs.
            bankrupt: their rows.
            lost: shape (n,), USD of each one's loss that belongs to this market.
            part_left: part of their contracts that nobody covers.
            breached: rows that cannot be asked.
        """
        venue, part = self.venue, self.walked.ledger
        assert venue.deleveraging is not None
        position = part.position[market, bankrupt]
        mine = position > 0.0 if selling else position < 0.0
        quantity = np.where(mine, np.abs(position) * part_left, 0.0)
        wanted, nothing = float(quantity.sum()), np.zeros(bankrupt.size)
        if wanted <= 0.0:
            return nothing
        given = float((lost * mine).sum()) * part_left
        haircut = given / wanted
        view, rows = self._winners(market, selling, wanted, haircut, breached)
        contracts, venue.states["deleveraging"] = venue.deleveraging.rule(view, venue.states["deleveraging"], venue.rng)
        contracts = np.minimum(contracts, view.room)
        placed = float(contracts.sum())
        if placed <= 0.0:
            return nothing
        filled = 1.0 if placed >= FULL * wanted else placed / wanted
        sign, mark = (1.0 if selling else -1.0), float(part.marks[market])
        with np.errstate(invalid="ignore", divide="ignore"):
            better = np.where(quantity > 0.0, lost * part_left / quantity, 0.0)
        took = contracts > 0.0
        contracts = contracts * (wanted * filled / placed)
        contracts = np.where(contracts >= (1.0 - 1e-12) * view.size, view.size, contracts)  # closed whole, to the last bit
        equity = np.maximum(part.equity(rows[took]), 1e-300)
        part.trade(
            market, bankrupt, -sign * quantity * filled, mark + sign * better, rows[took], sign * contracts[took], mark + sign * haircut
        )
        paid = given * filled
        venue.tally.absorb("deleveraging", paid)
        venue.tally.deficits += paid
        venue.tally.deleveraged += placed * mark
        self.losses.note_haircut(part, rows[took], contracts[took] * haircut / equity)
        venue.events.add(
            "deleveraging",
            venue.name,
            account=rows[took],
            market=market,
            counterparty="bankrupt",
            quantity=sign * contracts[took],
            price=mark + sign * haircut,
            amount=contracts[took] * haircut,
            layer="deleveraging",
        )
        borne: Floats = lost * mine * (part_left * filled)
        return borne

    def _winners(self, market: int, selling: bool, wanted: float, haircut: float, breached: Flags) -> tuple[DeleveragingView, Rows]:
        """Those on the other side who can be asked, and what each can give: at most min(profit since entry, equity)."""
        part = self.walked.ledger
        position = part.position[market]
        other = (position < 0.0) if selling else (position > 0.0)
        other &= ~breached
        other[: part.house] = False
        rows: Rows = np.flatnonzero(other)
        equity, entry, size = part.equity(rows), part.entry[market, rows], part.exposure[market, rows]
        profit = position[rows] * (part.marks[market] - entry)
        room = np.minimum(size, np.maximum(np.minimum(profit, equity), 0.0) / haircut) if haircut > 0.0 else size
        maintenance = self.venue.requirement(part.position[:, rows], part.exposure[:, rows], part.marks).by_market.sum(axis=0)
        view = DeleveragingView(wanted, room, size, profit, equity, maintenance, float(part.marks[market]), entry, not selling)
        return view, rows

    def close_stranded(self, bankrupt: Rows) -> None:
        """Contracts of bankrupt accounts that nobody on the route took leave at mark against the other side."""
        part = self.walked.ledger
        if not bankrupt.size or not part.exposure[:, np.searchsorted(self.walked.rows, bankrupt)].any():
            return
        shares = self.venue.margin_shares(part, np.searchsorted(self.walked.rows, bankrupt))
        self.walked.close_at_mark(bankrupt)
        part = self.walked.ledger
        self.losses.cover(bankrupt, np.maximum(-part.equity(bankrupt), 0.0), shares, Flow.DRAW_CLOSE_OUT)
