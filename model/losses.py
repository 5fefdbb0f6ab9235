"""Losses on their way down the waterfall: from the account that cannot bear them to the layer that does."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.waterfall import Charge, LayerView
from model.ledger import FUND, HOUSE_ROWS, SETTLEMENT, TREASURY, Flow, Ledger, Role, Rows, Status
from model.venue import DUST, TIE
from model.walked import Walked

type Floats = NDArray[np.float64]
type Defaulters = tuple[Rows, Floats]


class Losses:
    """The waterfall of one walk."""

    def __init__(self, walked: Walked) -> None:
        self.walked, self.venue = walked, walked.venue

    def cover(self, rows: Rows, deficit: Floats, taken_over: float, kind: Flow) -> None:
        """Brings accounts with a deficit to zero and sends the sum down the waterfall; accounts left flat by it are bankrupt."""
        part, venue = self.walked.ledger, self.venue
        some = deficit > DUST
        if not some.any():
            return
        rows, deficit = rows[some], deficit[some]
        total = part.transfer(Flow.DEFICIT, SETTLEMENT, rows, deficit)
        venue.tally.deficits += total
        self.bankrupt(rows)
        venue.events.add("deficit", venue.name, account=self.walked.rows[rows], amount=deficit)
        self.absorb(total, min(taken_over / total, 1.0), kind, defaulters=(self.walked.rows[rows], deficit))

    def bankrupt(self, rows: Rows) -> None:
        """Accounts among `rows` without contracts are bankrupt from now on."""
        status = self.walked.ledger.status
        flat = rows[~self.walked.ledger.exposure[:, rows].any(axis=0)]
        self.venue.tally.bankruptcies += int((status[flat] != Status.BANKRUPT).sum())
        status[flat] = Status.BANKRUPT

    def absorb(
        self, loss: float, taken_over: float, kind: Flow, *, skip: frozenset[str] = frozenset(), defaulters: Defaulters | None = None
    ) -> None:
        """Sends a loss standing on the settlement row down the waterfall.

        Args:
            loss: USD.
            taken_over: part of it that takeovers caused.
            kind: of draw on the fund, for the rest.
            skip: layers that are not asked.
            defaulters: whose loss it is: rows of the whole ledger and USD, (n,) each.
        """
        venue, cause = self.venue, loss
        for at, layer in enumerate(venue.waterfall):
            if loss <= TIE * cause:
                break
            if layer.reaches == "contracts" or layer.name in skip or (layer.reaches == "later" and venue.insolvent):
                continue
            everybody = layer.reaches in ("accounts", "later")
            part = self.walked.widen() if everybody else self.walked.ledger
            view = self._layer_view(loss, part, everybody, defaulters)
            charge, venue.states[f"layer {at}"] = layer.rule(view, venue.states[f"layer {at}"], venue.rng)
            paid = self._take(part, layer.name, charge, view, {Flow.DRAW_TAKEOVER: taken_over, kind: 1.0 - taken_over})
            if charge.deferred > 0.0:
                loss -= charge.deferred
                venue.outstanding += charge.deferred
                venue.tally.deferred += charge.deferred
                venue.events.add("deferred", venue.name, account=SETTLEMENT, amount=charge.deferred, layer=layer.name)
            if paid > 0.0:
                loss -= paid
                venue.tally.absorb(layer.name, paid)
                venue.events.add("absorbed", venue.name, account=SETTLEMENT, amount=paid, layer=layer.name)
            if charge.tears_up and not venue.insolvent:
                self.end_contracts()
        if loss > TIE * cause:
            self._exhaust(loss, kind)
        if venue.write_down > 0.0 and not venue.insolvent:
            self._fail()

    def _take(self, part: Ledger, layer: str, charge: Charge, view: LayerView, draws: dict[Flow, float]) -> float:
        """Books a layer's charge; `draws` says which part of what the fund pays goes under which name. Returns USD paid."""
        paid = 0.0
        for draw, share in draws.items():
            if charge.fund * share > 0.0:
                paid += part.transfer(draw, FUND, SETTLEMENT, charge.fund * share)
        if charge.treasury > 0.0:
            paid += part.transfer(Flow.EXCHANGE_CAPITAL, TREASURY, SETTLEMENT, charge.treasury)
        if charge.contributions is not None and charge.contributions.any():
            assert self.venue.members is not None
            paid += self.venue.members.use(part, SETTLEMENT, charge.contributions)
        if charge.accounts is not None and charge.accounts.any():
            paid += self._charge_accounts(part, layer, charge.accounts, view)
        return paid

    def _exhaust(self, loss: float, kind: Flow) -> None:
        """What claims cannot bear is borne by what the exchange still has, whatever its waterfall keeps back."""
        part = self.walked.ledger
        own = min(loss, max(part.treasury, 0.0))
        drawn = min(loss - own, max(part.fund, 0.0))
        for layer, flow, row, paid in (("exchange_capital", Flow.EXCHANGE_CAPITAL, TREASURY, own), ("fund", kind, FUND, drawn)):
            if paid > 0.0:
                part.transfer(flow, row, SETTLEMENT, paid)
                self.venue.tally.absorb(layer, paid)
                self.venue.events.add("absorbed", self.venue.name, account=SETTLEMENT, amount=paid, layer=layer)

    def _layer_view(self, loss: float, part: Ledger, everybody: bool, defaulters: Defaulters | None = None) -> LayerView:
        venue, fund, treasury = self.venue, max(part.fund, 0.0), max(part.treasury, 0.0)
        members = venue.members.view(defaulters, venue.hours) if venue.members is not None else None
        if not everybody:
            return LayerView(loss, fund, treasury, np.zeros(0), np.zeros(0), np.zeros(0), venue.outstanding, members)
        equity = np.maximum(part.equity(), 0.0)
        equity[part.role == Role.HOUSE] = 0.0
        gains = np.maximum(part.position * (part.marks[:, None] - part.entry), 0.0).sum(axis=0)
        notional = part.marks @ part.exposure
        notional[:HOUSE_ROWS] = 0.0
        return LayerView(loss, fund, treasury, equity, np.minimum(gains, equity), notional, venue.outstanding, members)

    def _charge_accounts(self, part: Ledger, layer: str, charged: Floats, view: LayerView) -> float:
        """Takes a layer's charges from account holders.

        Gains that are given are gains no longer: their entry prices move towards the mark.
        """
        venue = self.venue
        kind = {"write_down": Flow.WRITE_DOWN, "assessment": Flow.ASSESSMENT}.get(layer, Flow.SOCIALISED_LOSS)
        charged = np.minimum(charged, view.equity)
        rows = np.flatnonzero(charged > 0.0)
        paid = part.transfer(kind, rows, SETTLEMENT, charged[rows])
        profit = np.maximum(part.position[:, rows] * (part.marks[:, None] - part.entry[:, rows]), 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            given = np.minimum(np.where(profit.sum(axis=0) > 0.0, charged[rows] / profit.sum(axis=0), 0.0), 1.0)
        part.entry[:, rows] += np.where(profit > 0.0, given * (part.marks[:, None] - part.entry[:, rows]), 0.0)
        self.note_haircut(part, rows, charged[rows] / np.maximum(view.equity[rows], 1e-300))
        if layer == "write_down":
            venue.write_down += paid
            venue.written_down = charged if venue.written_down is None else venue.written_down + charged
        venue.events.add(kind.value, venue.name, account=rows, amount=charged[rows], layer=layer)
        return paid

    def note_haircut(self, part: Ledger, rows: Rows, share: Floats) -> None:
        """Remembers which share of their equity accounts, (n,), have lost in this step: some of them will leave."""
        if self.venue.haircut is None:
            self.venue.haircut = np.zeros(part.rows)
        self.venue.haircut[rows] = 1.0 - (1.0 - self.venue.haircut[rows]) * (1.0 - np.minimum(share, 1.0))

    def house_capacity(self) -> float:
        """USD that the layers before deleveraging would pay for an unlimited loss; nothing while winners come before the fund."""
        return 0.0 if self.fund_spared() else self._house_holds()

    def fund_spared(self) -> bool:
        """Whether the fund has lost so much of late that winners are asked before it, and it takes no positions over."""
        return self.venue.drawdown.exceeded(self.walked.ledger.fund)

    def house_lacks(self, loss: float) -> float:
        """USD of a loss that the layers before deleveraging could not pay, whether they are asked or not."""
        return max(loss - self._house_holds(), 0.0)

    def _house_holds(self) -> float:
        part = self.walked.ledger
        fund, treasury, total = max(part.fund, 0.0), max(part.treasury, 0.0), 0.0
        for at, layer in enumerate(self.venue.waterfall):
            if layer.reaches == "contracts":
                break
            view = replace(self._layer_view(np.inf, part, everybody=False), fund=fund, treasury=treasury)
            charge, _ = layer.rule(view, self.venue.states[f"layer {at}"], self.venue.rng)
            fund, treasury, total = fund - charge.fund, treasury - charge.treasury, total + charge.fund + charge.treasury
            total += float(charge.contributions.sum()) if charge.contributions is not None else 0.0
        return total

    def _fail(self) -> None:
        """The exchange is insolvent: contracts are torn up at mark, deficits still open are written down too, trading ends."""
        venue = self.venue
        venue.insolvent = True
        self.end_contracts()
        self.write_down_outstanding()
        venue.events.add("insolvency", venue.name, account=TREASURY, amount=venue.write_down, layer="write_down")

    def end_contracts(self) -> None:
        """All contracts end at mark; what accounts, the fund included, are then short of goes down the waterfall."""
        venue, part = self.venue, self.walked.widen()
        part.tear_up()
        below = np.flatnonzero(part.cash < -DUST)
        below = below[below >= HOUSE_ROWS]
        short = np.concatenate((below, np.flatnonzero(part.cash[FUND : TREASURY + 1] < 0.0) + FUND)).astype(np.intp)
        if short.size:
            deficit = -part.cash[short]
            for row, amount in zip(short.tolist(), deficit.tolist(), strict=True):
                part.transfer(Flow.DEFICIT, SETTLEMENT, int(row), float(amount))
            venue.tally.deficits += float(deficit.sum())
            self.bankrupt(below)
            self.absorb(float(deficit.sum()), 0.0, Flow.DRAW_CLOSE_OUT)

    def write_down_outstanding(self) -> None:
        """Losses that are still outstanding are written down: nobody else will bear them."""
        left, self.venue.outstanding = self.venue.outstanding, 0.0
        self.venue.tally.settled += left
        self.absorb(left, 0.0, Flow.DRAW_CLOSE_OUT, skip=frozenset(layer.name for layer in self.venue.waterfall) - {"write_down"})

    def recover_fund(self) -> None:
        """A fund that its own inventory has brought below zero: the layers after it pay, and the inventory is closed at mark."""
        part, venue = self.walked.ledger, self.venue
        short = -part.fund
        if short <= TIE * (abs(float(part.cash[FUND])) + 1.0):
            return
        if venue.deleveraging is not None:
            self.walked.close_at_mark(np.array([FUND]))
            part = self.walked.ledger
            short = -part.fund
        venue.tally.deficits += part.transfer(Flow.DEFICIT, SETTLEMENT, FUND, short)
        self.absorb(short, 0.0, Flow.DRAW_CLOSE_OUT, skip=frozenset({"fund"}))
