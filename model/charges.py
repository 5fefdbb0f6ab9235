"""What a round of liquidation costs the accounts: the fee that the exchange asks, and liquidators' part of it."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.liquidation import TIE, Slices
from agents.clearinghouse.liquidation_fees import Fee, FeeView
from model.ledger import Flow, Rows
from model.venue import Venue
from model.walked import Walked

if TYPE_CHECKING:
    from model.rounds import Side

type Floats = NDArray[np.float64]


class Charges:
    """Liquidation fees of one round, of n accounts.

    Args:
        walked: accounts before the walk.
        accounts: shape (n,), indices into them.
        equity: shape (n,), USD, before the round; margin: shape (M, n), USD, maintenance margin then.
        held: shape (M, n), contracts before the round; slices: what was to be closed of them.

    Attributes:
        by_market: shape (M, n), USD, executed at mark.
        bought: shape (n,), USD of it that liquidators and the vault took.
    """

    def __init__(self, walked: Walked, accounts: Rows, equity: Floats, margin: Floats, held: Floats, slices: Slices) -> None:
        self.walked, self.accounts, self.equity = walked, accounts, equity
        self.required, self.slices = margin.sum(axis=0), slices
        notional = np.abs(held) * walked.ledger.units[:, None]
        self.held: Floats = notional.sum(axis=0)
        self.backlog = float((notional * slices.fraction).sum())
        self.by_market: Floats = np.zeros_like(notional)
        self.crowding: Floats = np.zeros_like(notional)
        self.bought: Floats = np.zeros(accounts.size)
        self._sides: list[tuple[Side, Floats]] = []

    def add(self, side: "Side", size: Floats) -> None:
        """Notes what one side has executed, (n,) USD at mark."""
        shown = float(self.walked.venue.market.depth[0 if side.selling else 1, side.market])
        executed = float(size.sum())
        self.by_market[side.market] += size
        self.crowding[side.market] += np.where(size > 0.0, executed / shown if shown > 0.0 else np.inf, 0.0)
        if side.bought > 0.0:
            part = size * (side.bought / side.filled)
            self.bought += part
            self._sides.append((side, part))

    def asked(self, venue: Venue, notional: Floats, left: Floats, share: Floats, capacity: float) -> Fee:
        """What the exchange asks of slices, `notional` USD (n,), that leave `left` and had `share` of the margin before."""
        view = FeeView(
            notional,
            self.by_market,
            left,
            self.slices.keeps,
            self.equity,
            self.required,
            share,
            self.held,
            venue.market.volatility,
            self.crowding,
            self.backlog,
            capacity,
        )
        fee: Fee
        fee, venue.states["liquidation_fee"] = venue.liquidation_fee.rule(view, venue.states["liquidation_fee"], venue.rng)
        return fee

    def freed(self, venue: Venue, share: Floats) -> Floats:
        """Part of the margin, (n,), that is no longer asked for: `share`, what was the slices' of it, or less.

        It is less where positions net, for a slice may have been the hedge of another, and where margin has a constant part. A fee within
        that part of equity leaves the margin ratio of what remains no lower than it was.
        """
        part = self.walked.ledger
        held, exposure = part.position[:, self.accounts], part.exposure[:, self.accounts]
        now = venue.requirement(held, exposure, part.marks).by_market.sum(axis=0)
        freed = 1.0 - np.divide(now, self.required, out=1.0 - share, where=self.required > 0.0)
        least: Floats = np.where(freed >= share - TIE, share, np.maximum(freed, 0.0))
        return least

    def pay(self, venue: Venue, fee: Floats, bounty: Floats) -> Floats:
        """Pays liquidators `bounty`, (n,), of the fees, (n,) USD, for the part that they took. Returns what is left of the fees."""
        notional = self.by_market.sum(axis=0)
        due = fee * bounty * np.divide(self.bought, notional, out=np.zeros_like(notional), where=notional > 0.0)
        if not due.any():
            return fee
        part = self.walked.ledger
        paid = np.zeros(part.rows)
        paid[self.accounts] = -due
        for side, bought in self._sides:
            usd = float((due * np.divide(bought, self.bought, out=np.zeros_like(bought), where=self.bought > 0.0)).sum())
            for rows, contracts in side.bids:
                paid[rows] += usd * contracts / side.bought
        part.pay(Flow.BOUNTY, paid)
        some = np.flatnonzero(paid > 0.0)
        venue.tally.bounties += float(due.sum())
        venue.events.add("bounty", venue.name, account=some, amount=paid[some])
        rest: Floats = fee - due
        return rest
