"""Rounds of liquidation: who takes the slices of breached accounts, at what price, and what that leaves of the accounts."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.deleveraging import fill_by_score
from agents.clearinghouse.liquidation import LiquidationView, Slices, checked_slices, maintenance_shares, settle
from agents.clearinghouse.vault import may_take
from agents.liquidator import waiting
from model import quoting
from model.charges import Charges
from model.currencies import settle_flat
from model.deleveraging import Deleverager
from model.ledger import OUTSIDE, Flow, Rows, Status
from model.levies import accrue
from model.losses import Losses
from model.market import FULL
from model.venue import DUST, TIE, is_bankrupt
from model.walked import Walked

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]


@dataclass(slots=True)
class Side:
    """All slices of one market on one side, and who takes them: filled pro rata at one average price.

    Attributes:
        market: index.
        selling: whether the slices are sold (their accounts are long).
        who: shape (n,), whose slices are on this side; all that are held that way round if not given.
        quantity: contracts to close, unsigned; filled: those that somebody takes; ratio: the part.
        price: USD, average.
        rows, contracts, prices: counterparties' rows, unsigned contracts and prices, stage by stage.
        book, taken: contracts that went to the market makers and to the fund.
        bids: rows and contracts of liquidators and the vault, who may be paid a bounty; bought: contracts that went to them.
    """

    market: int
    selling: bool
    quantity: float
    who: Flags | None = None
    filled: float = 0.0
    ratio: float = 0.0
    price: float = 0.0
    rows: list[Rows] = field(default_factory=list)
    contracts: list[Floats] = field(default_factory=list)
    prices: list[Floats] = field(default_factory=list)
    book: float = 0.0
    taken: float = 0.0
    bought: float = 0.0
    bids: list[tuple[Rows, Floats]] = field(default_factory=list)

    @property
    def sign(self) -> float:
        """What counterparties do: 1 if they buy."""
        return 1.0 if self.selling else -1.0

    def add(self, rows: Rows, contracts: Floats, prices: Floats) -> None:
        """Notes what a stage takes, (k,) each."""
        self.rows.append(rows)
        self.contracts.append(contracts)
        self.prices.append(prices)
        self.filled += float(contracts.sum())
        self.price += float(contracts @ prices)

    def close(self) -> None:
        """After the last stage: the part that is filled and the average price."""
        if self.filled > 0.0:
            self.price /= self.filled
            self.ratio = 1.0 if self.filled >= FULL * self.quantity else self.filled / self.quantity


class Liquidator:
    """The liquidation engine of one walk; accounts are indices into the walked rows.

    Attributes:
        capacity: USD that liquidators would take when the latest slices were routed; vault_room: USD that the vault still does.
    """

    def __init__(self, walked: Walked, losses: Losses, deleverager: Deleverager) -> None:
        self.walked, self.losses, self.deleverager, self.venue = walked, losses, deleverager, walked.venue
        self.capacity = self.vault_room = 0.0

    def round(self, accounts: Rows, equity: Floats, margin: Floats) -> bool:
        """Liquidates slices of the breached `accounts` (indices into the walked rows), then absorbs their deficits.

        Returns whether there were any slices: cool-downs and speed limits may leave none.
        """
        venue, part = self.venue, self.walked.ledger
        breached = np.zeros(part.rows, dtype=bool)
        breached[accounts] = True
        quoting.requote(venue, part, breached)
        held, notional = part.position[:, accounts], part.exposure[:, accounts] * part.units[:, None]
        view = LiquidationView(equity[accounts], margin[:, accounts], notional, self.walked.rows[accounts], venue.clock)
        slices, venue.states["liquidation"] = venue.liquidation.rule(view, venue.states["liquidation"], venue.rng)
        checked_slices(slices)
        closing = part.status[accounts] == Status.CLOSING
        if closing.any():
            slices = Slices(np.where(closing, 1.0, slices.fraction), slices.keeps)
        slices = self._within_speed(slices, notional)
        if not (slices.fraction * notional).any():
            return False
        shares = maintenance_shares(margin[:, accounts], notional)
        beyond = is_bankrupt(equity[accounts], notional)
        before = venue.market.snapshot()
        sides = self._route(held, slices, breached)
        if venue.deleveraging is not None:
            short = self._short(self._projected(equity[accounts], beyond, held, slices, shares, sides), equity[accounts], beyond, shares)
            if short.any():
                venue.market.restore(before)
                touched = (shares[short[venue.pools.claimant]] > 0.0).any(axis=0)
                self._exhausted(accounts, ~(beyond & touched), beyond, margin, slices, breached)
                return True
        chosen, bankrupt = self.walked.rows[accounts], beyond
        self._commit(Charges(self.walked, accounts, equity[accounts], margin[:, accounts], held, slices), held, shares, sides)
        if venue.deleveraging is not None and not venue.insolvent:
            self.deleverager.close_stranded(chosen[bankrupt])
        return True

    def _within_speed(self, slices: Slices, notional: Floats) -> Slices:
        """Slices cut, market by market, to what the engine may still liquidate in this increment."""
        allowance = self.venue.allowance
        if allowance is None:
            return slices
        wanted = (slices.fraction * notional).sum(axis=1)
        part = np.divide(allowance, wanted, out=np.ones_like(wanted), where=wanted > allowance)
        left = np.where(wanted > allowance, 0.0, allowance - wanted)
        self.venue.allowance = np.where(left > DUST, left, 0.0)  # rounding is no room for another round
        return Slices(slices.fraction * part[:, None], slices.keeps)

    def _short(self, losses: Floats, equity: Floats, bankrupt: Flags, shares: Floats) -> Flags:
        """Claimants, (G,), whose `losses`, USD, the layers before deleveraging do not pay, or should not.

        The market's price is worth paying only while a pool alone bears it: a larger fund must not mean a larger loss beyond it.
        """
        pools, lost = self.venue.pools, np.maximum(-equity, 0.0)
        at_mark = np.array([float((part * lost)[bankrupt].sum()) for part in pools.claims(shares)])
        held = np.array(self.venue.payable(self.walked.ledger))
        alone = np.zeros_like(losses, dtype=bool)
        for pool in range(pools.own):
            mine = pools.pool == pool
            alone[mine] = losses[mine].sum() > max(held[pool], at_mark[mine].sum()) * (1.0 + TIE) + TIE
        short: Flags = alone | (losses > self.losses.house_pays(losses) * (1.0 + TIE) + TIE)
        return short

    def _route(self, held: Floats, slices: Slices, breached: Flags) -> list[Side]:
        """Asks each stage of the route in turn to take the slices of each market and side. Moves the book, not the ledger."""
        venue, part = self.venue, self.walked.ledger
        sides: list[Side] = []
        order = venue.parameters.route.order
        orders: list[tuple[tuple[str, ...], Flags | None]] = [(order, None)]
        if venue.parameters.route.backstop is not None:
            orders = [(order, slices.keeps > 0.0), (venue.parameters.route.backstop, slices.keeps <= 0.0)]
        quantity = held * slices.fraction
        inventory = [float(part.units @ part.exposure[:, row]) for row in part.funds.tolist()]
        bids = quoting.bids(venue, part, breached)
        capacity = bids.capacity.copy()
        self.capacity = float(capacity.sum())
        self.vault_room = self._vault_room(breached)
        for market in range(part.markets):
            for selling in (True, False):
                for stages, who in orders:
                    mine = quantity[market] if who is None else np.where(who, quantity[market], 0.0)
                    wanted = float(np.maximum(mine if selling else -mine, 0.0).sum())
                    if wanted <= 0.0 or part.units[market] <= 0.0:
                        continue
                    side = Side(market, selling, wanted, who)
                    self._ask(side, stages, capacity, bids.discount[market], inventory)
                    side.close()
                    if side.filled > 0.0:
                        sides.append(side)
        return sides

    def _ask(self, side: Side, stages: tuple[str, ...], capacity: Floats, discount: Floats, inventory: list[float]) -> None:
        """Asks stage after stage to take a side, until it is filled."""
        if not self.venue.channels.price_impact:
            side.add(np.array([OUTSIDE]), np.array([side.quantity]), self.walked.ledger.marks[side.market : side.market + 1])
        for stage in stages:
            left = side.quantity - side.filled
            if left <= side.quantity * (1.0 - FULL):
                break
            if stage == "book":
                self._to_book(side, left)
            elif stage == "liquidators":
                self._to_liquidators(side, left, capacity, discount)
            elif stage == "vault":
                self._to_vault(side, left)
            else:
                pool = int(self.venue.pools.market[side.market])
                inventory[pool] += self._to_fund(side, left, pool, inventory[pool])

    def _vault_room(self, breached: Flags) -> float:
        """USD of positions that the vault will still take."""
        venue, part = self.venue, self.walked.ledger
        p, row = venue.parameters.vault, venue.vault
        if p is None or not quoting.able(part, row, breached)[0]:
            return 0.0
        return may_take(p, float(part.equity(row)[0]), float((part.units @ part.exposure[:, row])[0]))

    def _to_vault(self, side: Side, left: float) -> None:
        mark, unit = float(self.walked.ledger.marks[side.market]), float(self.walked.ledger.units[side.market])
        took = min(left, self.vault_room / unit)
        self.vault_room -= took * unit
        if took > 0.0:
            side.add(self.venue.vault, np.array([took]), np.array([mark]))
            side.bids.append((self.venue.vault, np.array([took])))
            side.bought += took

    def _to_book(self, side: Side, left: float) -> None:
        venue = self.venue
        shown = venue.quotes.depth[0 if side.selling else 1, side.market]
        total = float(shown.sum())
        if total <= 0.0:
            return
        filled, price = venue.market.execute(side.market, -left if side.selling else left, venue.parameters.route.book_slippage)
        worth = venue.market.worth_of(side.market, price, self.walked.ledger.rates)
        side.add(venue.makers, abs(filled) * shown / total, np.full(shown.size, worth))
        side.book = abs(filled)

    def _to_liquidators(self, side: Side, left: float, capacity: Floats, discount: Floats) -> None:
        rows = self.venue.liquidators
        if not rows.size:
            return
        mark, unit = float(self.walked.ledger.marks[side.market]), float(self.walked.ledger.units[side.market])
        rules, premium = self.venue.liquidator_parameters, self.venue.parameters.route.absorption_premium
        ready = capacity
        if rules.anticipation > 0.0:
            volatility = float(self.venue.market.alarm[side.market])
            ready = np.where(waiting(rules, capacity, discount, left * unit, volatility, premium), 0.0, capacity)
        took = fill_by_score(-discount, ready / unit, left)
        capacity -= took * unit
        asked = 1.0 - discount if side.selling else 1.0 + discount
        inverse = self.walked.ledger.settled[side.market] >= 0
        side.add(rows, took, mark / asked if inverse else np.maximum((mark - unit) + unit * asked, 0.0))
        if took.any():
            side.bids.append((rows, took))
            side.bought += float(took.sum())

    def _to_fund(self, side: Side, left: float, pool: int, inventory: float) -> float:
        part = self.walked.ledger
        if self.losses.fund_spared():
            return 0.0
        mark, unit = float(part.marks[side.market]), float(part.units[side.market])
        room = self.venue.parameters.route.takeover_limit * max(part.pools[pool], 0.0) - inventory
        took = min(left, max(room, 0.0) / unit)
        side.add(part.funds[pool : pool + 1], np.array([took]), np.array([mark]))
        side.taken = took
        return took * unit

    def _projected(self, equity: Floats, bankrupt: Flags, held: Floats, slices: Slices, shares: Floats, sides: list[Side]) -> Floats:
        """USD, (G,), of deficits by claimant if `sides` were executed and bankrupt contracts that nobody takes were closed at mark."""
        after, left, weights = equity.copy(), np.zeros_like(equity), np.zeros_like(shares)
        for side in sides:
            closed = self._closed(side, held, slices.fraction)
            after -= np.abs(closed) * (self.walked.ledger.marks[side.market] - side.price) * side.sign
            leaves = self._margin_left(side, closed, slices, shares)
            left += leaves
            weights[side.market] += leaves
        executed = np.minimum(left, 1.0)
        deficits = np.where(bankrupt, np.maximum(-after, 0.0), executed * np.maximum(-after, 0.0))
        parts = self.venue.pools.claims(np.where(bankrupt, shares, weights))
        return np.array([float((part * deficits).sum()) for part in parts])

    def _closed(self, side: Side, held: Floats, fraction: Floats) -> Floats:
        """Shape (n,): contracts of each account that leave on this side, signed as held."""
        position = held[side.market]
        mine = position > 0.0 if side.selling else position < 0.0
        mine = mine if side.who is None else mine & side.who
        closed: Floats = np.where(mine, position * fraction[side.market] * side.ratio, 0.0)
        return closed

    def _margin_left(self, side: Side, closed: Floats, slices: Slices, shares: Floats) -> Floats:
        """Shape (n,): part of each account's maintenance margin that leaves with `closed`, (n,), contracts."""
        left: Floats = np.where(closed != 0.0, shares[side.market] * slices.fraction[side.market] * side.ratio, 0.0)
        return left

    def _commit(self, charges: Charges, held: Floats, shares: Floats, sides: list[Side]) -> None:
        """Books the executed slices: contracts, fees, surplus, deficits; then the waterfall."""
        venue, part = self.venue, self.walked.ledger
        accounts, slices, tally = charges.accounts, charges.slices, venue.tally
        left, notional, taken = np.zeros(accounts.size), np.zeros(accounts.size), np.zeros(accounts.size)
        weights = np.zeros_like(shares)
        for side in sides:
            closed = self._closed(side, held, slices.fraction)
            self._exchange(side, accounts, closed)
            size = np.abs(closed) * part.units[side.market]
            leaves = self._margin_left(side, closed, slices, shares)
            left += leaves
            weights[side.market] += leaves
            notional += size
            charges.add(side, size)
            taken += size * (side.taken / side.filled)
            tally.liquidated[side.market] += float(size.sum())
            tally.takeovers += side.taken * float(part.units[side.market])
            self._tell(side, accounts, closed)
        flat = ~part.exposure[:, accounts].any(axis=0)
        share = np.where(flat, 1.0, np.minimum(left, 1.0))
        after, rows = part.equity(accounts), accounts
        asked = charges.asked(venue, notional, share * np.maximum(after, 0.0), share, self.capacity)
        affordable = charges.freed(venue, share) * np.maximum(after, 0.0)
        outcome = settle(after, share, slices.keeps, np.minimum(asked.usd, affordable))
        tally.liquidations += int((notional > 0.0).sum())
        tally.surplus += float(outcome.surplus.sum())
        parts = venue.pools.parts(weights)
        fee = charges.pay(venue, outcome.fee, asked.bounty)
        accrue(venue, part, Flow.LIQUIDATION_FEE, "liquidation_fees", rows, fee, parts)
        accrue(venue, part, Flow.SURPLUS, "surplus", rows, outcome.surplus, parts)
        venue.events.add(
            "liquidation_fee", venue.name, account=self.walked.rows[rows[outcome.fee > 0]], amount=outcome.fee[outcome.fee > 0]
        )
        with np.errstate(invalid="ignore", divide="ignore"):
            by_fund = np.where(notional > 0.0, taken / notional, 0.0)
        settle_flat(venue, part, rows[outcome.deficit <= 0.0])
        self.losses.cover(rows, outcome.deficit, weights, Flow.DRAW_EXECUTION, by_fund)
        if venue.parameters.route.absorption_premium > 0.0 and not venue.insolvent:
            for side in sides:
                self._pay_premium(side)

    def _pay_premium(self, side: Side) -> None:
        """The market's pool pays liquidators for what they have taken at once, as far as it goes."""
        part, venue = self.walked.ledger, self.venue
        for rows, contracts in side.bids:
            if rows is venue.liquidators:
                due = venue.parameters.route.absorption_premium * float(part.units[side.market]) * contracts
                has = max(venue.value.payable(part)[int(venue.pools.market[side.market])], 0.0)
                paid = due * min(1.0, has / float(due.sum()))
                pool = part.fund_of(side.market)
                venue.value.raise_cash(venue, part, pool, float(paid.sum()))
                part.transfer(Flow.ABSORPTION_PREMIUM, pool, rows, paid)

    def _exchange(self, side: Side, accounts: Rows, closed: Floats) -> None:
        """The side's contracts change hands."""
        takers: Rows = np.concatenate(side.rows)
        contracts: Floats = np.concatenate(side.contracts)
        prices: Floats = np.concatenate(side.prices)
        self.walked.ledger.trade(side.market, accounts, -closed, side.price, takers, side.sign * contracts, prices)

    def _tell(self, side: Side, accounts: Rows, closed: Floats) -> None:
        events, some = self.venue.events, np.flatnonzero(closed)
        if not events.recording or not some.size:
            return
        taker = "book" if side.book >= side.filled - side.book else ("fund" if side.taken >= 0.5 * side.filled else "liquidators")
        taker = taker if self.venue.channels.price_impact else "outside"
        rows = self.walked.rows[accounts[some]]
        events.add(
            "liquidation",
            self.venue.name,
            account=rows,
            market=side.market,
            counterparty=taker,
            quantity=-closed[some],
            price=self.walked.ledger.quoted(side.market, side.price),
            amount=np.abs(closed[some] * side.price),
        )
        if side.taken > 0.0:
            mark = float(self.walked.ledger.marks[side.market])
            events.add(
                "takeover",
                self.venue.name,
                account=self.walked.ledger.fund_of(side.market),
                market=side.market,
                quantity=side.sign * side.taken,
                price=self.walked.ledger.quoted(side.market, mark),
                amount=side.taken * abs(mark),
            )

    def _exhausted(self, accounts: Rows, usual: Flags, beyond: Flags, margin: Floats, slices: Slices, breached: Flags) -> None:
        """The layers before deleveraging cannot cover this round.

        Solvent accounts, and those that lose where the fund still pays, go the `usual` route first. Other bankrupt accounts' contracts are
        then closed against the other side: the part that the layers before can still pay for at mark, the rest at bankruptcy price.
        """
        chosen = self.walked.rows[accounts]
        part = self.walked.widen()
        if part.rows != breached.size:
            breached = np.zeros(part.rows, dtype=bool)
            breached[chosen] = True
        if usual.any():
            some = np.flatnonzero(usual)
            rows = chosen[some]
            held = part.position[:, rows]
            kept = Slices(slices.fraction[:, some], slices.keeps[some])
            shares = maintenance_shares(margin[:, accounts[some]], np.abs(held) * part.units[:, None])
            sides = self._route(held, kept, breached)
            required = margin[:, accounts[some]]
            self._commit(Charges(self.walked, rows, part.equity(rows), required, held, kept), held, shares, sides)
            if not self.venue.insolvent:
                self.deleverager.close_stranded(chosen[usual & beyond])
        bankrupt = chosen[~usual]
        if bankrupt.size and self.walked.ledger.exposure[:, bankrupt].any() and not self.venue.insolvent:
            self.deleverager.close(bankrupt, margin[:, accounts[~usual]], breached)
