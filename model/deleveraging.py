"""Deleveraging: contracts of bankrupt accounts that nobody covers are closed against winners."""

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.deleveraging import DeleveragingView
from agents.clearinghouse.liquidation import maintenance_shares
from model.haircuts import Haircuts
from model.ledger import OUTSIDE, Flow, Rows
from model.losses import Losses
from model.market import FULL
from model.venue import DUST, TIE
from model.walked import Walked

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]


class Deleverager:
    """Deleveraging of one walk; rows are those of the whole ledger."""

    def __init__(self, walked: Walked, losses: Losses) -> None:
        self.walked, self.losses, self.venue = walked, losses, walked.venue

    def close(self, bankrupt: Rows, margin: Floats, breached: Flags) -> None:
        """Closes all contracts of bankrupt accounts against the other side.

        At bankruptcy price winners are asked for those whose loss nobody covers, at mark or index for all; the rest leaves at mark.
        """
        venue, part = self.venue, self.walked.ledger
        assert venue.deleveraging is not None
        at, lost = venue.deleverages.price, -part.equity(bankrupt)
        notional = part.exposure[:, bankrupt] * part.units[:, None]
        shares = maintenance_shares(margin, notional)
        left, asked = shares * lost, np.ones(part.markets)
        losses = np.array([float((one * lost).sum()) for one in venue.pools.claims(shares)])
        if at == "bankruptcy":
            asked = venue.deleverages.severity * (1.0 - self._covered(losses))
        if not venue.channels.socialised_loss:
            left -= self._spare(bankrupt, asked[:, None] * left) if at == "bankruptcy" else 0.0
        elif (asked > TIE).any():
            venue.haircuts = venue.haircuts or Haircuts(part.rows)
            venue.haircuts.ask(asked @ left, self.losses.house_lacks(losses))
            for market in np.flatnonzero(asked > TIE).tolist():
                owed = shares[market] * lost if at == "bankruptcy" else self._above_mark(market, at, bankrupt)
                for selling in (True, False):
                    left[market] -= self._against_winners(market, selling, bankrupt, owed, float(asked[market]), breached)
        self.walked.close_at_mark(bankrupt)
        self.losses.cover(bankrupt, np.maximum(-part.equity(bankrupt), 0.0), np.maximum(left, 0.0), Flow.DRAW_CLOSE_OUT)
        # Also where winners have borne all of a deficit, and nothing was left to cover. The index may leave an account something.
        solvent = part.equity(bankrupt) > TIE * notional.sum(axis=0) + DUST
        self.losses.bankrupt(bankrupt[~solvent] if at == "index" else bankrupt)

    def _spare(self, bankrupt: Rows, given: Floats) -> Floats:
        """The outside pays what winners would be asked for, (M, n) USD, whether they could or not. Returns it."""
        usd, tally = given.sum(axis=0), self.venue.tally
        total = self.walked.ledger.transfer(Flow.RESCUE, OUTSIDE, bankrupt, usd)
        tally.absorb("rescue", total)
        tally.rescue("socialised_loss", total)
        tally.deficits += total
        self.venue.events.add("rescue", self.venue.name, account=bankrupt, amount=usd, layer="socialised_loss")
        return given

    def _covered(self, losses: Floats) -> Floats:
        """Shape (M,): part that the layers before pay of losses, (G,), USD by claimant, market by market."""
        paid = self.losses.house_pays(losses)
        covered = np.divide(paid, losses, out=np.ones_like(losses), where=losses > 0.0)
        by_market: Floats = np.minimum(covered, 1.0)[self.venue.pools.claimant]
        return by_market

    def _above_mark(self, market: int, price: str, rows: Rows) -> Floats:
        """Shape (n,): USD by which a market's positions are worth more at `price`, mark or index, than at mark."""
        part = self.walked.ledger
        book = self.venue.market
        fair = book.worth_of(market, float(book.index[market]) * book.fair_of(market), part.rates)
        gap = fair - float(part.marks[market]) if price == "index" else 0.0
        above: Floats = gap * part.position[market, rows]
        return above

    def _against_winners(self, market: int, selling: bool, bankrupt: Rows, owed: Floats, part_left: float, breached: Flags) -> Floats:
        """Deleverages one market and side. Returns USD, (n,), that winners have borne of the bankrupt accounts' losses.

        Args:
            market, selling: whose contracts: `selling` for bankrupt longs.
            bankrupt: their rows.
            owed: shape (n,), USD that each one's whole position is to bring above mark, below if negative.
            part_left: part of their contracts that winners are asked to close.
            breached: rows that cannot be asked.
        """
        venue, part = self.venue, self.walked.ledger
        assert venue.deleveraging is not None
        assert venue.haircuts is not None
        position = part.position[market, bankrupt]
        mine = position > 0.0 if selling else position < 0.0
        quantity = np.where(mine, np.abs(position) * part_left, 0.0)
        wanted, nothing = float(quantity.sum()), np.zeros(bankrupt.size)
        if wanted <= 0.0:
            return nothing
        given = float((owed * mine).sum()) * part_left
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
            better = np.where(quantity > 0.0, owed * part_left / quantity, 0.0)
        took = contracts > 0.0
        contracts = contracts * (wanted * filled / placed)
        equity = np.maximum(part.equity(rows[took]), 1e-300)
        part.trade(
            market, bankrupt, -sign * quantity * filled, mark + sign * better, rows[took], sign * contracts[took], mark + sign * haircut
        )
        borne = nothing
        if venue.deleverages.price == "bankruptcy":
            venue.tally.absorb("deleveraging", given * filled)
            venue.tally.deficits += given * filled
            borne = owed * mine * (part_left * filled)
        venue.tally.deleveraged += placed * float(part.units[market])
        lost = contracts * max(haircut, 0.0)
        self.losses.note_haircut(part, rows[took], lost[took] / equity)
        venue.note_deleveraged(market, rows[took], contracts[took])
        venue.haircuts.give(rows, np.maximum(np.minimum(view.profit, view.equity), 0.0), lost)
        venue.events.add(
            "deleveraging",
            venue.name,
            account=rows[took],
            market=market,
            counterparty="bankrupt",
            quantity=sign * contracts[took],
            price=part.quoted(market, mark + sign * haircut),
            amount=contracts[took] * haircut,
            layer="deleveraging",
        )
        return borne

    def _winners(self, market: int, selling: bool, wanted: float, haircut: float, breached: Flags) -> tuple[DeleveragingView, Rows]:
        """Those on the other side who can be asked, and what each can give.

        At bankruptcy price that is at most min(profit since entry, equity), at any other price at most equity.
        """
        part = self.walked.ledger
        position = part.position[market]
        other = (position < 0.0) if selling else (position > 0.0)
        other &= ~breached
        other[: part.house] = False
        rows: Rows = np.flatnonzero(other)
        equity, entry, size = part.equity(rows), part.scale[market] * part.entry[market, rows], part.exposure[market, rows]
        profit = position[rows] * (part.marks[market] - entry)
        endowment = np.maximum(np.minimum(profit, equity), 0.0) if self.venue.deleverages.price == "bankruptcy" else np.maximum(equity, 0.0)
        room = np.minimum(size, endowment / haircut) if haircut > 0.0 else size
        maintenance = self.venue.margin_of(part, rows).by_market.sum(axis=0)
        mark, inverse, unit = float(part.marks[market]), bool(part.settled[market] >= 0), float(part.units[market])
        gains = (part.position[:, rows] * (part.marks[:, None] - part.cost(rows))).sum(axis=0)
        view = DeleveragingView(
            wanted, room, size, profit, equity, maintenance, abs(mark), np.abs(entry), not selling, inverse, gains, unit
        )
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
