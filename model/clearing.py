"""The walk: a step's price path in increments, and at each of them margin calls, rounds of liquidation, the waterfall and deleveraging.

Within an increment the mark stands still; what liquidations do to the book shows in the next increment's mark. A round closes slices of
every
breached account at once, by the venue's route; then deficits go down the waterfall. What is not executed carries on in the next increment.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.deleveraging import DeleveragingView, fill_by_score, fill_pro_rata
from agents.clearinghouse.liquidation import LiquidationView, Slices, maintenance_shares, settle
from agents.clearinghouse.waterfall import LayerView
from model.ledger import FUND, HOUSE_ROWS, SETTLEMENT, TREASURY, Flow, Ledger, Rows, Status
from model.market import FULL
from model.news import Path
from model.venue import DUST, Venue

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]

TIE = 1e-9
"""Relative tolerance of every threshold: an account is breached when its equity is below maintenance by more than this share of it."""
BOX = 0.002
"""Marks are screened this far beyond the path that they take if nobody is liquidated."""
_NOBODY = np.empty(0, dtype=np.intp)


@dataclass(slots=True)
class Side:
    """All slices of one market on one side, and who takes them: filled pro rata at one average price.

    Attributes:
        market: index.
        selling: whether the slices are sold (their accounts are long).
        quantity: contracts to close, unsigned; ratio: part of it that is filled; price: USD, average.
        rows, contracts, prices: counterparties' rows, unsigned contracts and prices.
        book, taken: contracts that went to the market makers and to the fund.
    """

    market: int
    selling: bool
    quantity: float
    ratio: float
    price: float
    rows: Rows
    contracts: Floats
    prices: Floats
    book: float
    taken: float


class Walk:
    """One venue's walk along one step's path.

    The walk works on a compact ledger of the institutions and of the accounts that the screen says could breach. Once a loss reaches
    other account
    holders it goes on with the whole ledger.
    """

    def __init__(self, venue: Venue, path: Path) -> None:
        self.venue, self.path = venue, path
        self.rows: Rows = _NOBODY
        self.part: Ledger | None = None
        self.whole = False
        ledger = venue.ledger
        marks, self._undisturbed = venue.market.project(path.dlog, path.hours)
        self.low = np.minimum(marks.min(axis=1), ledger.marks) * (1.0 - BOX)
        self.high = np.maximum(marks.max(axis=1), ledger.marks) * (1.0 + BOX)
        rows = venue.at_risk(self.low, self.high)
        self.first = self._first_breach(rows, marks)
        if self.first < path.hours.size:
            self._admit(rows)

    # -- who is walked --------------------------------------------------------------------------------------------------------------

    def _first_breach(self, rows: Rows, marks: Floats) -> int:
        """The first increment, K if none, at which one of `rows` is breached or the fund below zero while nobody is liquidated.

        Up to there nothing happens but that marks, (M, K), move.
        """
        venue, ledger = self.venue, self.venue.ledger
        increments = marks.shape[1]
        holding = bool(ledger.exposure[:, FUND].any())
        if not rows.size and not holding:
            return increments
        cash, position, exposure, status = ledger.cash[rows], ledger.position[:, rows], ledger.exposure[:, rows], ledger.status[rows]
        if ((cash < -DUST) & ~exposure.any(axis=0)).any() or (status == Status.CLOSING).any():
            return 0
        below = ledger.cash[FUND] + ledger.position[:, FUND] @ marks < 0.0
        for k in range(increments):
            required = venue.requirement(position, exposure, marks[:, k]).by_market.sum(axis=0)
            if below[k] or is_breached(cash + marks[:, k] @ position, required).any():
                return k
        return increments

    def _admit(self, rows: Rows) -> None:
        """Takes rows into the walk; the institutions are always in it."""
        ledger = self.venue.ledger
        if self.part is not None:
            ledger.put(self.rows, self.part)
        everyone = np.union1d(np.union1d(np.arange(self.venue.institutions), self.rows), rows)
        self.rows, self.part = everyone, ledger.take(everyone)

    def _widen(self) -> Ledger:
        """Goes on with the whole ledger; returns it."""
        if not self.whole:
            ledger = self.venue.ledger
            if self.part is not None:
                ledger.put(self.rows, self.part)
            self.rows, self.part, self.whole = np.arange(ledger.rows), ledger, True
        assert self.part is not None
        return self.part

    def _rescreen(self, marks: Floats) -> None:
        """Marks have left the screened box: widen the box and screen again."""
        if self.whole or not ((marks < self.low).any() or (marks > self.high).any()):
            return
        self.low = np.minimum(self.low, marks * (1.0 - 5 * BOX))
        self.high = np.maximum(self.high, marks * (1.0 + 5 * BOX))
        ledger = self.venue.ledger
        if self.part is not None:
            ledger.put(self.rows, self.part)
        fresh = np.setdiff1d(self.venue.at_risk(self.low, self.high), self.rows)
        if fresh.size:
            self._admit(fresh)

    # -- the walk -------------------------------------------------------------------------------------------------------------------

    def increment(self, k: int) -> None:
        """One increment: the mark moves, breached accounts are liquidated, losses are absorbed."""
        venue = self.venue
        if self.part is None:
            return
        marks = venue.market.advance(self.path.dlog[:, k], float(self.path.hours[k]))
        if k < self.first or venue.insolvent:
            return
        self.part.mark(marks)
        self._rescreen(marks)
        venue.events.increment = k
        self.settle_flat()
        for at in range(venue.parameters.rounds):
            breached, equity, margin = self._breached()
            if not breached.any():
                break
            venue.events.round = at
            venue.tally.rounds += 1
            if at == 0 and self._call(breached, equity, margin):
                breached, equity, margin = self._breached()
            if breached.any():
                self._round(np.flatnonzero(breached), equity, margin)
            if venue.insolvent:
                return
        else:
            venue.tally.unfinished += 1
        self._recover_fund()

    def finish(self) -> None:
        """Writes the walked accounts back and leaves the ledger at the step's last marks."""
        ledger = self.venue.ledger
        if self.part is None:
            self.venue.market.adopt(self._undisturbed)
        elif not self.whole:
            ledger.put(self.rows, self.part)
        ledger.mark(self.venue.market.marks)
        self.venue.events.increment = self.venue.events.round = -1

    def settle_flat(self) -> None:
        """Accounts that have closed their last contract at a loss beyond their equity: the waterfall pays."""
        part = self.part
        if part is None:
            return
        below = part.cash < -DUST
        below[:HOUSE_ROWS] = False
        rows = np.flatnonzero(below)
        rows = rows[~part.exposure[:, rows].any(axis=0)]
        self._cover(rows, -part.cash[rows], 0.0, Flow.DRAW_EXECUTION)

    def _breached(self) -> tuple[Flags, Floats, Floats]:
        """Flags (n,), equity (n,) and maintenance margin by market (M, n) of the walked accounts."""
        part = self.part
        assert part is not None
        equity = part.equity()
        margin = self.venue.requirement(part.position, part.exposure, part.marks).by_market
        required = margin.sum(axis=0)
        breached = is_breached(equity, required)
        breached |= part.status == Status.CLOSING
        breached &= part.exposure.any(axis=0)
        breached[:HOUSE_ROWS] = False
        return breached, equity, margin

    def _call(self, breached: Flags, equity: Floats, margin: Floats) -> bool:
        """Margin calls: those who hold spot sell of it what restores maintenance twice over; the sale moves the index. True if any did."""
        part, market = self.part, self.venue.market
        assert part is not None
        rows = np.flatnonzero(breached & (part.spot > 0.0).any(axis=0) & (part.status == Status.ACTIVE))
        if not rows.size:
            return False
        index = market.index
        value = part.spot[:, rows] * index[:, None]
        needed = np.maximum(2.0 * margin[:, rows].sum(axis=0) - equity[rows], 0.0)
        share = np.minimum(needed / value.sum(axis=0), 1.0)
        for asset in range(part.markets):
            sold = part.spot[asset, rows] * share
            if sold.any():
                part.trade_spot(asset, rows, -sold, float(index[asset]))
                market.trade_spot(asset, -float(sold.sum()) * float(index[asset]))
        self.venue.tally.margin_calls += rows.size
        self.venue.events.add("margin_call", self.venue.name, account=self.rows[rows], amount=share * value.sum(axis=0))
        return True

    # -- one round ------------------------------------------------------------------------------------------------------------------

    def _round(self, accounts: Rows, equity: Floats, margin: Floats) -> None:
        """Liquidates slices of the breached `accounts` (indices into the walked rows), then absorbs their deficits."""
        venue, part = self.venue, self.part
        assert part is not None
        breached = np.zeros(part.rows, dtype=bool)
        breached[accounts] = True
        venue.requote(part, breached)
        held, notional = part.position[:, accounts], part.exposure[:, accounts] * part.marks[:, None]
        view = LiquidationView(equity[accounts], margin[:, accounts], notional)
        slices, venue.states["liquidation"] = venue.liquidation.rule(view, venue.states["liquidation"], venue.rng)
        closing = part.status[accounts] == Status.CLOSING
        if closing.any():
            slices = Slices(np.where(closing, 1.0, slices.fraction), slices.keeps)
        shares = maintenance_shares(margin[:, accounts], notional)
        before = venue.market.snapshot()
        sides = self._route(held, slices.fraction, breached)
        if venue.deleveraging is not None:
            capacity = self._house_capacity()
            if self._projected(equity[accounts], held, slices, shares, sides) > capacity * (1.0 + TIE) + TIE:
                venue.market.restore(before)
                self._exhausted(accounts, equity, margin, slices, breached)
                return
        chosen, bankrupt = self.rows[accounts], equity[accounts] < 0.0
        self._commit(accounts, held, slices, shares, sides)
        if venue.deleveraging is not None and not venue.insolvent:
            self._close_stranded(chosen[bankrupt])

    def _route(self, held: Floats, fraction: Floats, breached: Flags) -> list[Side]:
        """Asks each stage of the route in turn to take the slices of each market and side. Moves the book, not the ledger."""
        venue, part = self.venue, self.part
        assert part is not None
        sides: list[Side] = []
        quantity = held * fraction
        inventory = float(part.marks @ part.exposure[:, FUND])
        bids = venue.bids(part, breached)
        capacity = bids.capacity.copy()
        for market in range(part.markets):
            for selling in (True, False):
                wanted = float(np.maximum(quantity[market] if selling else -quantity[market], 0.0).sum())
                if wanted <= 0.0 or part.marks[market] <= 0.0:
                    continue
                side = Side(market, selling, wanted, 0.0, 0.0, _NOBODY, np.empty(0), np.empty(0), 0.0, 0.0)
                for stage in venue.parameters.route.order:
                    left = wanted - float(side.contracts.sum())
                    if left <= wanted * (1.0 - FULL):
                        break
                    if stage == "book":
                        self._to_book(side, left)
                    elif stage == "liquidators":
                        self._to_liquidators(side, left, capacity, bids.discount[market])
                    else:
                        inventory += self._to_fund(side, left, inventory)
                filled = float(side.contracts.sum())
                if filled > 0.0:
                    side.ratio = 1.0 if filled >= FULL * wanted else filled / wanted
                    side.price = float(side.contracts @ side.prices) / filled
                    sides.append(side)
        return sides

    def _add(self, side: Side, rows: Rows, contracts: Floats, price: float | Floats) -> None:
        took = contracts > 0.0
        prices = np.broadcast_to(np.asarray(price, dtype=float), contracts.shape)
        side.rows = np.concatenate((side.rows, rows[took]))
        side.contracts = np.concatenate((side.contracts, contracts[took]))
        side.prices = np.concatenate((side.prices, prices[took]))

    def _to_book(self, side: Side, left: float) -> None:
        venue = self.venue
        shown = venue.quotes.depth[0 if side.selling else 1, side.market]
        total = float(shown.sum())
        if total <= 0.0:
            return
        filled, price = venue.market.execute(side.market, -left if side.selling else left, venue.parameters.route.book_slippage)
        self._add(side, venue.makers, abs(filled) * shown / total, max(price, 0.0))
        side.book = abs(filled)

    def _to_liquidators(self, side: Side, left: float, capacity: Floats, discount: Floats) -> None:
        rows = self.venue.liquidators
        if not rows.size:
            return
        assert self.part is not None
        mark = float(self.part.marks[side.market])
        took = fill_by_score(-discount, capacity / mark, left)
        capacity -= took * mark
        self._add(side, rows, took, mark * (1.0 - discount if side.selling else 1.0 + discount))

    def _to_fund(self, side: Side, left: float, inventory: float) -> float:
        part = self.part
        assert part is not None
        mark = float(part.marks[side.market])
        room = self.venue.parameters.route.takeover_limit * max(part.fund, 0.0) - inventory
        took = min(left, max(room, 0.0) / mark)
        self._add(side, np.array([FUND]), np.array([took]), mark)
        side.taken = took
        return took * mark

    def _house_capacity(self) -> float:
        """USD that the layers before deleveraging would pay for an unlimited loss."""
        part = self.part
        assert part is not None
        nothing = np.zeros(0)
        fund, treasury, total = max(part.fund, 0.0), max(part.treasury, 0.0), 0.0
        for at, layer in enumerate(self.venue.waterfall):
            if layer.reaches == "contracts":
                break
            view = LayerView(np.inf, fund, treasury, nothing, nothing, nothing)
            charge, _ = layer.rule(view, self.venue.states[f"layer {at}"], self.venue.rng)
            fund, treasury, total = fund - charge.fund, treasury - charge.treasury, total + charge.fund + charge.treasury
        return total

    def _projected(self, equity: Floats, held: Floats, slices: Slices, shares: Floats, sides: list[Side]) -> float:
        """USD of deficits if `sides` were executed and bankrupt contracts that nobody takes were closed at mark."""
        assert self.part is not None
        after, left = equity.copy(), np.zeros_like(equity)
        for side in sides:
            closed = self._closed(side, held, slices.fraction)
            after -= np.abs(closed) * (self.part.marks[side.market] - side.price) * (1.0 if side.selling else -1.0)
            left += np.where(closed != 0.0, shares[side.market] * slices.fraction[side.market] * side.ratio, 0.0)
        executed = np.minimum(left, 1.0)
        deficits = np.where(equity < 0.0, np.maximum(-after, 0.0), executed * np.maximum(-after, 0.0))
        return float(deficits.sum())

    def _closed(self, side: Side, held: Floats, fraction: Floats) -> Floats:
        """Shape (n,): contracts of each account that leave on this side, signed as held."""
        position = held[side.market]
        mine = position > 0.0 if side.selling else position < 0.0
        closed: Floats = np.where(mine, position * fraction[side.market] * side.ratio, 0.0)
        return closed

    def _commit(self, accounts: Rows, held: Floats, slices: Slices, shares: Floats, sides: list[Side]) -> None:
        """Books the executed slices: contracts, fees, surplus, deficits; then the waterfall."""
        venue, part = self.venue, self.part
        assert part is not None
        parameters, levies, tally = venue.parameters, venue.levies, venue.tally
        left, notional, taken = np.zeros(accounts.size), np.zeros(accounts.size), np.zeros(accounts.size)
        for side in sides:
            closed = self._closed(side, held, slices.fraction)
            sign = 1.0 if side.selling else -1.0
            part.trade(side.market, accounts, -closed, side.price, side.rows, sign * side.contracts, side.prices)
            size = np.abs(closed) * part.marks[side.market]
            left += np.where(closed != 0.0, shares[side.market] * slices.fraction[side.market] * side.ratio, 0.0)
            notional += size
            taken += size * (side.taken / float(side.contracts.sum()))
            tally.liquidated[side.market] += float(size.sum())
            tally.takeovers += side.taken * float(part.marks[side.market])
            self._tell(side, accounts, closed)
        flat = ~part.exposure[:, accounts].any(axis=0)
        share = np.where(flat, 1.0, np.minimum(left, 1.0))
        outcome = settle(part.equity(accounts), share, slices.keeps, notional, parameters.fees.liquidation)
        rows = accounts
        tally.liquidations += int((notional > 0.0).sum())
        tally.surplus += float(outcome.surplus.sum())
        for kind, amount, part_of_fund in (
            (Flow.LIQUIDATION_FEE, outcome.fee, levies.liquidation_fees),
            (Flow.SURPLUS, outcome.surplus, levies.surplus),
        ):
            if amount.any():
                part.transfer(kind, rows, FUND, part_of_fund * amount)
                part.transfer(kind, rows, TREASURY, (1.0 - part_of_fund) * amount)
        venue.events.add("liquidation_fee", venue.name, account=self.rows[rows[outcome.fee > 0]], amount=outcome.fee[outcome.fee > 0])
        with np.errstate(invalid="ignore", divide="ignore"):
            by_fund = np.where(notional > 0.0, taken / notional, 0.0)
        self._cover(rows, outcome.deficit, float(outcome.deficit @ by_fund), Flow.DRAW_EXECUTION)

    def _tell(self, side: Side, accounts: Rows, closed: Floats) -> None:
        events, some = self.venue.events, np.flatnonzero(closed)
        if not events.recording or not some.size:
            return
        taker = (
            "book"
            if side.book >= side.contracts.sum() - side.book
            else ("fund" if side.taken >= 0.5 * side.contracts.sum() else "liquidators")
        )
        rows = self.rows[accounts[some]]
        events.add(
            "liquidation",
            self.venue.name,
            account=rows,
            market=side.market,
            counterparty=taker,
            quantity=-closed[some],
            price=side.price,
            amount=np.abs(closed[some]) * side.price,
        )
        if side.taken > 0.0:
            signed = side.taken if side.selling else -side.taken
            mark = float(self.venue.ledger.marks[side.market]) if self.part is None else float(self.part.marks[side.market])
            events.add("takeover", self.venue.name, account=FUND, market=side.market, quantity=signed, price=mark, amount=side.taken * mark)

    # -- losses ---------------------------------------------------------------------------------------------------------------------

    def _cover(self, rows: Rows, deficit: Floats, taken_over: float, kind: Flow) -> None:
        """Brings accounts with a deficit to zero and sends the sum down the waterfall; accounts left flat by it are bankrupt."""
        part, venue = self.part, self.venue
        assert part is not None
        some = deficit > 0.0
        if not some.any():
            return
        rows, deficit = rows[some], deficit[some]
        total = part.transfer(Flow.DEFICIT, SETTLEMENT, rows, deficit)
        venue.tally.deficits += total
        flat = rows[~part.exposure[:, rows].any(axis=0)]
        venue.tally.bankruptcies += int((part.status[flat] != Status.BANKRUPT).sum())
        part.status[flat] = Status.BANKRUPT
        venue.events.add("deficit", venue.name, account=self.rows[rows], amount=deficit)
        self._absorb(total, min(taken_over / total, 1.0), kind)

    def _absorb(self, loss: float, taken_over: float, kind: Flow, *, after_fund: bool = False) -> None:
        """Sends a loss standing on the settlement row down the waterfall; `taken_over` is the part of it that takeovers caused."""
        venue, cause = self.venue, loss
        for at, layer in enumerate(venue.waterfall):
            if loss <= TIE * cause:
                break
            if layer.reaches == "contracts" or (after_fund and layer.name == "fund"):
                continue
            part = self._widen() if layer.reaches == "accounts" else self.part
            assert part is not None
            view = self._layer_view(loss, part, layer.reaches == "accounts")
            charge, venue.states[f"layer {at}"] = layer.rule(view, venue.states[f"layer {at}"], venue.rng)
            paid = 0.0
            if charge.fund > 0.0:
                paid += part.transfer(Flow.DRAW_TAKEOVER, FUND, SETTLEMENT, charge.fund * taken_over)
                paid += part.transfer(kind, FUND, SETTLEMENT, charge.fund * (1.0 - taken_over))
            if charge.treasury > 0.0:
                paid += part.transfer(Flow.EXCHANGE_CAPITAL, TREASURY, SETTLEMENT, charge.treasury)
            if charge.accounts is not None and charge.accounts.any():
                paid += self._charge_accounts(part, layer.name, charge.accounts, view)
            loss -= paid
            venue.tally.absorbed[layer.name] = venue.tally.absorbed.get(layer.name, 0.0) + paid
            venue.events.add("absorbed", venue.name, account=SETTLEMENT, amount=paid, layer=layer.name)
        if loss > TIE * cause:
            self._exhaust(loss, kind)
        if venue.write_down > 0.0 and not venue.insolvent:
            self._fail()

    def _exhaust(self, loss: float, kind: Flow) -> None:
        """What claims cannot bear is borne by what the exchange still has, whatever its waterfall keeps back."""
        part, absorbed = self.part, self.venue.tally.absorbed
        assert part is not None
        own = min(loss, max(part.treasury, 0.0))
        drawn = min(loss - own, max(part.fund, 0.0))
        for layer, flow, row, paid in (("exchange_capital", Flow.EXCHANGE_CAPITAL, TREASURY, own), ("fund", kind, FUND, drawn)):
            if paid > 0.0:
                part.transfer(flow, row, SETTLEMENT, paid)
                absorbed[layer] = absorbed.get(layer, 0.0) + paid
                self.venue.events.add("absorbed", self.venue.name, account=SETTLEMENT, amount=paid, layer=layer)

    def _layer_view(self, loss: float, part: Ledger, accounts: bool) -> LayerView:
        fund, treasury = max(part.fund, 0.0), max(part.treasury, 0.0)
        if not accounts:
            return LayerView(loss, fund, treasury, np.zeros(0), np.zeros(0), np.zeros(0))
        equity = np.maximum(part.equity(), 0.0)
        equity[:HOUSE_ROWS] = 0.0
        gains = np.maximum(part.position * (part.marks[:, None] - part.entry), 0.0).sum(axis=0)
        notional = part.marks @ part.exposure
        notional[:HOUSE_ROWS] = 0.0
        return LayerView(loss, fund, treasury, equity, np.minimum(gains, equity), notional)

    def _charge_accounts(self, part: Ledger, layer: str, charged: Floats, view: LayerView) -> float:
        """Takes a layer's charges from account holders. Gains that are given are gains no longer: their entry prices move towards the mark."""
        venue = self.venue
        kind = Flow.WRITE_DOWN if layer == "write_down" else Flow.SOCIALISED_LOSS
        charged = np.minimum(charged, view.equity)
        rows = np.flatnonzero(charged > 0.0)
        paid = part.transfer(kind, rows, SETTLEMENT, charged[rows])
        profit = np.maximum(part.position[:, rows] * (part.marks[:, None] - part.entry[:, rows]), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            given = np.minimum(np.where(profit.sum(axis=0) > 0.0, charged[rows] / profit.sum(axis=0), 0.0), 1.0)
        part.entry[:, rows] += np.where(profit > 0.0, given * (part.marks[:, None] - part.entry[:, rows]), 0.0)
        self._note_haircut(part, rows, charged[rows] / np.maximum(view.equity[rows], 1e-300))
        if layer == "write_down":
            venue.write_down += paid
            venue.written_down = charged if venue.written_down is None else venue.written_down + charged
        venue.events.add(kind.value, venue.name, account=rows, amount=charged[rows], layer=layer)
        return paid

    def _note_haircut(self, part: Ledger, rows: Rows, share: Floats) -> None:
        if self.venue.haircut is None:
            self.venue.haircut = np.zeros(part.rows)
        self.venue.haircut[rows] = 1.0 - (1.0 - self.venue.haircut[rows]) * (1.0 - np.minimum(share, 1.0))

    def _fail(self) -> None:
        """The exchange is insolvent: contracts are torn up at mark, deficits still open are written down too, trading ends."""
        venue, part = self.venue, self._widen()
        venue.insolvent = True
        part.tear_up()
        below = np.flatnonzero(part.cash < 0.0)
        below = below[below >= HOUSE_ROWS]
        short = np.concatenate((below, np.flatnonzero(part.cash[FUND : TREASURY + 1] < 0.0) + FUND)).astype(np.intp)
        if short.size:
            deficit = -part.cash[short]
            for row, amount in zip(short.tolist(), deficit.tolist(), strict=True):
                part.transfer(Flow.DEFICIT, SETTLEMENT, int(row), float(amount))
            venue.tally.deficits += float(deficit.sum())
            part.status[below] = Status.BANKRUPT
            self._absorb(float(deficit.sum()), 0.0, Flow.DRAW_CLOSE_OUT)
        venue.events.add("insolvency", venue.name, account=TREASURY, amount=venue.write_down, layer="write_down")

    def _recover_fund(self) -> None:
        """A fund that its own inventory has brought below zero: the layers after it pay, and the inventory is closed at mark."""
        part, venue = self.part, self.venue
        assert part is not None
        short = -part.fund
        if short <= TIE * (abs(float(part.cash[FUND])) + 1.0):
            return
        if venue.deleveraging is not None:
            part = self._widen()
            close_at_mark(venue, part, np.array([FUND]))
            short = -part.fund
        venue.tally.deficits += part.transfer(Flow.DEFICIT, SETTLEMENT, FUND, short)
        self._absorb(short, 0.0, Flow.DRAW_CLOSE_OUT, after_fund=True)

    # -- deleveraging ---------------------------------------------------------------------------------------------------------------

    def _exhausted(self, accounts: Rows, equity: Floats, margin: Floats, slices: Slices, breached: Flags) -> None:
        """The layers before deleveraging cannot cover this round.

        Solvent accounts go the usual route first. Bankrupt accounts' contracts are then closed against the other side: the part that the
        layers
        before can still pay for at mark, the rest at bankruptcy price.
        """
        chosen = self.rows[accounts]
        part = self._widen()
        if part.rows != breached.size:
            breached = np.zeros(part.rows, dtype=bool)
            breached[chosen] = True
        solvent = equity[accounts] >= 0.0
        if solvent.any():
            some = np.flatnonzero(solvent)
            rows = chosen[some]
            held = part.position[:, rows]
            kept = Slices(slices.fraction[:, some], slices.keeps[some])
            shares = maintenance_shares(margin[:, accounts[some]], np.abs(held) * part.marks[:, None])
            sides = self._route(held, kept.fraction, breached)
            self._commit(rows, held, kept, shares, sides)
        bankrupt = chosen[~solvent]
        if bankrupt.size and not self.venue.insolvent:
            self._deleverage(bankrupt, margin[:, accounts[~solvent]], breached)

    def _deleverage(self, bankrupt: Rows, margin: Floats, breached: Flags) -> None:
        """Closes all contracts of bankrupt accounts against the other side, uncovered ones at bankruptcy price."""
        venue, part = self.venue, self.part
        assert part is not None
        lost = -part.equity(bankrupt)
        total = float(lost.sum())
        covered = 1.0 if venue.deleverages_at_mark else min(self._house_capacity() / total, 1.0)
        shares = maintenance_shares(margin, part.exposure[:, bankrupt] * part.marks[:, None])
        if covered < 1.0 - TIE:
            for market in range(part.markets):
                for selling in (True, False):
                    self._against_winners(market, selling, bankrupt, shares[market] * lost, 1.0 - covered, breached)
        close_at_mark(self.venue, part, bankrupt)
        self._cover(bankrupt, np.maximum(-part.equity(bankrupt), 0.0), 0.0, Flow.DRAW_CLOSE_OUT)

    def _against_winners(self, market: int, selling: bool, bankrupt: Rows, lost: Floats, part_left: float, breached: Flags) -> None:
        """Deleverages one market and side at bankruptcy price.

        Args:
            market, selling: whose contracts: `selling` for bankrupt longs.
            bankrupt: their rows.
            lost: shape (n,), USD of each one's loss that belongs to this market.
            part_left: part of their contracts that nobody covers.
            breached: rows that cannot be asked.
        """
        venue, part = self.venue, self.part
        assert part is not None and venue.deleveraging is not None
        position = part.position[market, bankrupt]
        mine = position > 0.0 if selling else position < 0.0
        quantity = np.where(mine, np.abs(position) * part_left, 0.0)
        wanted = float(quantity.sum())
        if wanted <= 0.0:
            return
        given = float((lost * mine).sum()) * part_left
        haircut = given / wanted
        view, rows = self._winners(market, selling, wanted, haircut, breached)
        contracts, venue.states["deleveraging"] = venue.deleveraging.rule(view, venue.states["deleveraging"], venue.rng)
        contracts = np.minimum(contracts, view.room)
        placed = float(contracts.sum())
        if placed <= 0.0:
            return
        filled = 1.0 if placed >= FULL * wanted else placed / wanted
        sign, mark = (1.0 if selling else -1.0), float(part.marks[market])
        with np.errstate(invalid="ignore", divide="ignore"):
            better = np.where(quantity > 0.0, lost * part_left / quantity, 0.0)
        took = contracts > 0.0
        contracts = contracts * (wanted * filled / placed)
        equity = np.maximum(part.equity(rows[took]), 1e-300)
        part.trade(
            market, bankrupt, -sign * quantity * filled, mark + sign * better, rows[took], sign * contracts[took], mark + sign * haircut
        )
        paid = given * filled
        venue.tally.absorbed["deleveraging"] = venue.tally.absorbed.get("deleveraging", 0.0) + paid
        venue.tally.deficits += paid
        venue.tally.deleveraged += placed * mark
        self._note_haircut(part, rows[took], contracts[took] * haircut / equity)
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

    def _winners(self, market: int, selling: bool, wanted: float, haircut: float, breached: Flags) -> tuple[DeleveragingView, Rows]:
        """Those on the other side of bankrupt contracts who can be asked, and what each can give: at most min(profit since entry, equity)."""
        part = self.part
        assert part is not None
        position = part.position[market]
        other = (position < 0.0) if selling else (position > 0.0)
        other &= ~breached
        other[:HOUSE_ROWS] = False
        rows: Rows = np.flatnonzero(other)
        equity, entry, size = part.equity(rows), part.entry[market, rows], part.exposure[market, rows]
        profit = position[rows] * (part.marks[market] - entry)
        room = np.minimum(size, np.maximum(np.minimum(profit, equity), 0.0) / haircut) if haircut > 0.0 else size
        maintenance = self.venue.requirement(part.position[:, rows], part.exposure[:, rows], part.marks).by_market.sum(axis=0)
        view = DeleveragingView(wanted, room, size, profit, equity, maintenance, float(part.marks[market]), entry, not selling)
        return view, rows

    def _close_stranded(self, bankrupt: Rows) -> None:
        """Contracts of bankrupt accounts (rows of the whole ledger) that nobody on the route took leave at mark against the other side."""
        part = self.part
        assert part is not None
        if not bankrupt.size or not part.exposure[:, np.searchsorted(self.rows, bankrupt)].any():
            return
        part = self._widen()
        close_at_mark(self.venue, part, bankrupt)
        self._cover(bankrupt, np.maximum(-part.equity(bankrupt), 0.0), 0.0, Flow.DRAW_CLOSE_OUT)


def is_breached(equity: Floats, required: Floats) -> Flags:
    """Whether equity, (n,), is below maintenance margin, (n,), by more than a tie."""
    breached: Flags = equity < required - TIE * np.abs(required)
    return breached


def walk(walks: list[Walk]) -> None:
    """Walks venues side by side: every venue takes an increment before any takes the next."""
    for k in range(max((one.path.hours.size for one in walks), default=0)):
        for one in walks:
            one.increment(k)
    for one in walks:
        one.finish()


def close_at_mark(venue: Venue, ledger: Ledger, rows: Rows) -> None:
    """Closes all contracts of `rows` at mark against everybody on the other side, in proportion to size; `ledger` is the venue's whole ledger."""
    for market in range(ledger.markets):
        for sign in (1.0, -1.0):
            mine = rows[ledger.position[market, rows] * sign > 0.0]
            position = ledger.position[market, mine]
            wanted = float(np.abs(position).sum())
            if wanted <= 0.0:
                continue
            room = np.where(ledger.position[market] * sign < 0.0, ledger.exposure[market], 0.0)
            contracts = fill_pro_rata(room, room, wanted)
            others = np.flatnonzero(contracts)
            filled = float(contracts.sum()) / wanted
            filled = 1.0 if filled >= FULL else filled
            mark = float(ledger.marks[market])
            ledger.trade(market, mine, -position * filled, mark, others, sign * contracts[others], mark)
            venue.tally.deleveraged += wanted * filled * mark
            venue.events.add(
                "closed_at_mark",
                venue.name,
                account=mine,
                market=market,
                counterparty="other side",
                quantity=-position * filled,
                price=mark,
            )


def terminate(venue: Venue, rows: Rows) -> None:
    """Ends the contracts of participants in default elsewhere, at mark against the other side: what they have is cash, what they lack is a deficit."""
    if rows.size and not venue.insolvent:
        close_at_mark(venue, venue.ledger, rows)
        still = Walk(venue, Path(np.zeros((venue.ledger.markets, 1)), np.zeros(1)))
        still.settle_flat()
        still.finish()
