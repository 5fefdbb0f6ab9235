"""The walk: a step's price path in increments, and at each of them margin calls, rounds of liquidation, the waterfall and deleveraging.

Within an increment the mark stands still; what liquidations do to the book shows in the next increment's mark. A round closes slices of
every breached account at once, by the venue's route; then deficits go down the waterfall. What is not executed carries on in the next
increment.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.currencies import settle_flat, trade_coins
from model.deleveraging import Deleverager
from model.ledger import Flow, Rows, Status
from model.losses import Losses
from model.path import Path
from model.rounds import Liquidator
from model.venue import DUST, TIE, Venue
from model.walked import Walked

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]

BOX = 0.002
"""Marks are screened this far beyond the path that they take if nobody is liquidated."""


@dataclass(frozen=True, eq=False)
class Alone:
    """Accounts as the step found them, and the marks that news alone would have made.

    Attributes:
        rows, cash, position, coins: (n,), (n,), (M, n) and (A, n), of those at risk.
        marks, rates: (M, K) and (A, K), from the first breach on.
    """

    rows: Rows
    cash: Floats
    position: Floats
    coins: Floats
    marks: Floats
    rates: Floats

    def breached(self, venue: Venue, who: Rows) -> int:
        """How many of `who`, rows, these marks alone bring below maintenance margin."""
        mine = np.isin(self.rows, who)
        cash, position, kept = self.cash[mine], self.position[:, mine], venue.states["margin"]
        found, coins = np.zeros(cash.size, dtype=bool), self.coins[:, mine]
        for marks, rates in zip(self.marks.T, self.rates.T, strict=True):
            required = venue.requirement(position, np.abs(position), marks).by_market.sum(axis=0)
            balance = cash + rates @ coins if rates.size else cash
            found |= is_breached(balance + marks @ position, required)
        venue.states["margin"] = kept
        return int(found.sum())


class Walk:
    """One venue's walk along one step's path.

    It works on a compact ledger of the institutions and of the accounts that the screen says could breach. Once a loss reaches other
    account holders it goes on with the whole ledger.

    Attributes:
        first: the first increment at which anything but prices happens; K if none, and then nothing is walked.
        moved: shape (M,), log, by how much liquidations of the last increment moved the indices; empty if there were none.
        stopped: shape (K,), increments in which the exchange stands still and liquidates nobody.
    """

    def __init__(self, venue: Venue, path: Path) -> None:
        self.venue, self.path = venue, path
        hours = float(path.hours.sum())
        self.stopped = venue.halts.liquidations_stop(path, venue.start, venue.market.momentum)
        venue.tally.halted = float(path.hours[self.stopped].sum())
        venue.drawdown.observe(venue.ledger.fund, hours)
        venue.hours += hours
        self._news, self._undisturbed = venue.market.project(path.dlog, path.hours)
        self._rates = venue.market.rates_along(self._undisturbed.path)
        seen = self._priced(self._news, self._rates)
        self.low, self.high = widened(seen.min(axis=1), seen.max(axis=1), self._priced(venue.ledger.marks, venue.ledger.rates), BOX)
        self._at, self.moved = 0, np.zeros(0)
        self._screen(0, self._news, self._rates)

    def _screen(self, k: int, marks: Floats, rates: Floats) -> None:
        """Finds out who is at risk from increment `k` on, at marks, (M, K - k), and rates, (A, K - k), and when they are to be walked."""
        venue = self.venue
        rows = venue.at_risk(self.low, self.high)
        self.first = k + self._first_breach(rows, marks, rates)
        if venue.walked is not None:
            venue.walked.write_back()
            venue.walked = None
        if self.first < self.path.hours.size:
            self.walked = venue.walked = Walked(venue, rows)
            self.losses = Losses(self.walked)
            self.liquidator = Liquidator(self.walked, self.losses, Deleverager(self.walked, self.losses))
            held = (venue.ledger.cash[rows], venue.ledger.position[:, rows], venue.ledger.coins[:, rows])
            self._alone = Alone(rows, *held, self._news[:, self.first :], self._rates[:, self.first :])
            self._liquidated: list[Rows] = []

    def hear(self, k: int, moved: Floats) -> None:
        """Trading elsewhere has moved the indices by `moved`, (M,), log: increment `k` brings it, whatever else it brings.

        Who was not at risk may be now.
        """
        dlog, market = self.path.dlog.copy(), self.venue.market
        dlog[:, k] += moved
        self.path = Path(dlog, self.path.hours)
        if self.first < k:
            return
        for at in range(self._at, k):
            market.advance(dlog[:, at], float(self.path.hours[at]))
        self._at = k
        marks, self._undisturbed = market.project(dlog[:, k:], self.path.hours[k:])
        rates = market.rates_along(self._undisturbed.path)
        seen = self._priced(marks, rates)
        low, high = widened(seen.min(axis=1), seen.max(axis=1), seen[:, 0], BOX)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self._screen(k, marks, rates)

    # -- who is walked --------------------------------------------------------------------------------------------------------------

    def _priced(self, marks: Floats, rates: Floats) -> Floats:
        """Marks, (M, ...), and where there are settlement coins their rates, (A, ...), one below the other."""
        return np.concatenate((marks, rates)) if self.venue.ledger.currencies else marks

    def _first_breach(self, rows: Rows, marks: Floats, rates: Floats) -> int:
        """The first of the increments of `marks`, (M, K), at which one of `rows` is breached or the fund below zero; K if none.

        Up to there nothing happens but that marks and rates, (A, K), move, while nobody is liquidated.
        """
        venue, ledger = self.venue, self.venue.ledger
        increments = int(marks.shape[1])
        funds = ledger.funds
        holding = bool(ledger.exposure[:, funds].any())
        if not rows.size and not holding and (ledger.cash[funds] >= 0.0).all():
            return increments
        if venue.fixing is not None:  # what options need must be asked where they stand
            return 0
        cash, position, exposure, status = ledger.cash[rows], ledger.position[:, rows], ledger.exposure[:, rows], ledger.status[rows]
        # Without contracts an account is overdrawn or not; with settlement coins that depends on their rates.
        overdrawn = (cash < -DUST) | (ledger.currencies > 0)
        if (overdrawn & ~exposure.any(axis=0)).any() or (status == Status.CLOSING).any():
            return 0
        equity = self._along(rows, marks, rates)
        below = (self._along(funds, marks, rates) < 0.0).any(axis=0)
        most = venue.ceiling(position, exposure, marks.max(axis=1))
        if not below.any() and not is_breached(equity.min(axis=1), most).any():
            return increments
        for k in range(increments):
            required = venue.requirement(position, exposure, marks[:, k]).by_market.sum(axis=0)
            balance = cash + rates[:, k] @ ledger.coins[:, rows] if ledger.currencies else cash
            if below[k] or is_breached(balance + marks[:, k] @ position, required).any():
                return k
        return increments

    def _along(self, rows: Rows, marks: Floats, rates: Floats) -> Floats:
        """Shape (n, K), USD: equity of rows at marks, (M, K), and rates, (A, K)."""
        ledger = self.venue.ledger
        equity: Floats = ledger.cash[rows][:, None] + ledger.position[:, rows].T @ marks
        return equity + ledger.coins[:, rows].T @ rates if ledger.currencies else equity

    def _rescreen(self, marks: Floats) -> None:
        """Marks have left the screened box: widen the box and screen again."""
        if self.walked.whole:
            return
        seen = self._priced(marks, self.walked.ledger.rates)
        if not ((seen < self.low).any() or (seen > self.high).any()):
            return
        low, high = widened(seen, seen, seen, 5 * BOX)
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        self.walked.write_back()
        fresh = np.setdiff1d(self.venue.at_risk(self.low, self.high), self.walked.rows)
        if fresh.size:
            self.walked.admit(fresh)

    # -- the walk -------------------------------------------------------------------------------------------------------------------

    def increment(self, k: int) -> None:
        """One increment: the mark moves, breached accounts are liquidated, losses are absorbed."""
        market, self.moved = self.venue.market, np.zeros(0)
        if self.first == self.path.hours.size:
            return
        marks = market.advance(self.path.dlog[:, k], float(self.path.hours[k]))
        self._at = k + 1
        if k < self.first or not self.venue.is_open():
            return
        before = market.log_index.copy()
        self._clear(k, marks)
        self.moved = market.log_index - before

    def _clear(self, k: int, marks: Floats) -> None:
        """Liquidations and losses of increment `k` at marks, (M,)."""
        venue = self.venue
        venue.mark(self.walked.ledger, marks)
        venue.revalue(self.walked.ledger)
        self._rescreen(marks)
        if self.stopped[k]:
            return
        venue.events.increment = k
        self.settle_flat()
        self._begin(k)
        unfinished = True
        for at in range(venue.parameters.rounds):
            breached, equity, margin = self._breached()
            if not breached.any():
                unfinished = False
                break
            venue.events.round = at
            venue.tally.rounds += 1
            if (at == 0 or venue.parameters.coin_haircuts) and self._call(breached, equity, margin):
                breached, equity, margin = self._breached()
            if breached.any() and not self._liquidate(breached, equity, margin):
                break
            if not venue.is_open():
                return
        if unfinished:
            venue.tally.unfinished += 1
        self.losses.recover_fund()

    def _begin(self, k: int) -> None:
        """What the rules of liquidation know of time: the clock, and how much may be liquidated before it moves on."""
        venue = self.venue
        hours = self.path.hours[: k + 1]
        venue.clock = venue.start + float(hours.sum())
        limits = venue.parameters.speed_limit
        if limits:
            rate = np.array([limits[min(market, len(limits) - 1)] for market in range(venue.ledger.markets)])
            venue.allowance = rate * 60.0 * float(hours[-1])

    def _liquidate(self, breached: Flags, equity: Floats, margin: Floats) -> bool:
        """A round of those breached, who are noted; whether it did anything."""
        self._liquidated.append(self.walked.rows[breached])
        return self.liquidator.round(np.flatnonzero(breached), equity, margin)

    def finish(self) -> None:
        """Writes the walked accounts back and leaves the ledger at the step's last marks."""
        venue = self.venue
        if self.first == self.path.hours.size:
            venue.market.adopt(self._undisturbed)
        else:
            self.walked.write_back()
            self._count_spread()
        venue.walked = None
        venue.mark(venue.ledger, venue.market.marks)
        venue.revalue(venue.ledger)
        venue.events.increment = venue.events.round = -1

    def _count_spread(self) -> None:
        """Counts who was liquidated, and who of them would have been had nobody else been."""
        if self._liquidated:
            who = np.unique(np.concatenate(self._liquidated))
            self.venue.tally.liquidated_accounts = who.size
            self.venue.tally.liquidated_alone = self._alone.breached(self.venue, who)

    def settle_flat(self) -> None:
        """Accounts that have closed their last contract at a loss beyond their equity: the waterfall pays."""
        self.losses.cover_overdrawn(self.venue.interest[:, None], Flow.DRAW_EXECUTION)

    def _breached(self) -> tuple[Flags, Floats, Floats]:
        """Flags (n,), equity (n,) and maintenance margin by market (M, n) of the walked accounts."""
        part = self.walked.ledger
        equity = self.venue.means(part)
        margin = self.venue.requirement(part.position, part.exposure, part.marks).by_market
        required = margin.sum(axis=0)
        breached = is_breached(equity, required)
        breached |= part.status == Status.CLOSING
        breached &= part.exposure.any(axis=0)
        breached[: part.house] = False
        return breached, equity, margin

    def _call(self, breached: Flags, equity: Floats, margin: Floats) -> bool:
        """Margin calls: those who hold spot sell of it what restores maintenance twice over; the sale moves the index. True if any did."""
        part = self.walked.ledger
        rows = np.flatnonzero(breached & (part.spot > 0.0).any(axis=0) & (part.status == Status.ACTIVE))
        if not rows.size:
            return False
        value = part.spot[:, rows] * self.venue.market.underlying[:, None]
        counted = self.venue.lent(part, rows)  # what coins count for is not there to be restored
        needed = np.maximum(2.0 * margin[:, rows].sum(axis=0) - (equity[rows] - counted), 0.0)
        share = np.minimum(needed / value.sum(axis=0), 1.0)
        trade_coins(self.venue, part, rows, -part.spot[:, rows] * share, moves=self.venue.channels.price_impact)
        self.venue.tally.margin_calls += rows.size
        self.venue.events.add("margin_call", self.venue.name, account=self.walked.rows[rows], amount=share * value.sum(axis=0))
        return True


def widened(low: Floats, high: Floats, now: Floats, by: float) -> tuple[Floats, Floats]:
    """The box that holds `low`, `high` and what stands `now`, (M,) each, a part `by` of each wider; inverse contracts are below zero."""
    low, high = np.minimum(low, now), np.maximum(high, now)
    return low * np.where(low < 0.0, 1.0 + by, 1.0 - by), high * np.where(high < 0.0, 1.0 - by, 1.0 + by)


def is_breached(equity: Floats, required: Floats) -> Flags:
    """Whether equity, (n,), is below maintenance margin, (n,), by more than a tie."""
    breached: Flags = equity < required - TIE * np.abs(required) - DUST
    return breached


def walk(walks: list[Walk], follow: float = 0.0) -> Floats:
    """Walks venues side by side: every venue takes an increment before any takes the next.

    Args:
        walks: one a venue, in increments of the same lengths.
        follow: part of what liquidations at one venue move its index by that the others' indices follow in the next increment.

    Returns:
        Shape (V, A), log: what liquidations of the last increment have moved, which others have not followed.
    """
    last = max((one.path.hours.size for one in walks), default=0) - 1
    moved = np.zeros((len(walks), walks[0].venue.market.assets if walks else 0))
    for k in range(last + 1):
        for one in walks:
            one.increment(k)
        if follow > 0.0 and len(walks) > 1:
            moved = np.array([one.moved[: moved.shape[1]] if one.moved.size else np.zeros(moved.shape[1]) for one in walks])
            for one, others in zip(walks, follow * (moved.sum(axis=0) - moved), strict=True):
                if k < last and others.any():
                    one.hear(k + 1, others[one.venue.market.asset])
    for one in walks:
        one.finish()
    return moved


def terminate(venue: Venue, rows: Rows) -> None:
    """Ends the contracts of participants in default elsewhere, at mark against the other side.

    What they then lack is a deficit, and so is what those lack whose last contracts went with theirs.
    """
    if not rows.size or venue.insolvent:
        return
    shares = venue.margin_shares(venue.ledger, rows)
    walked = Walked(venue, rows)
    walked.close_at_mark(rows)
    ledger = walked.ledger
    losses = Losses(walked)
    losses.cover(rows, np.maximum(-ledger.balance(rows), 0.0), shares, Flow.DRAW_CLOSE_OUT)
    losses.cover_overdrawn(venue.interest[:, None], Flow.DRAW_EXECUTION, but=rows)
    if not venue.insolvent:
        settle_flat(venue, ledger, np.arange(ledger.rows))
