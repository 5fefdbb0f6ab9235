"""Losses on their way down the waterfall: from the account that cannot bear them to the layer that does."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.value import Stake
from agents.clearinghouse.vault import may_lose
from agents.clearinghouse.waterfall import Charge, Layer, LayerView, checked_charge
from model.currencies import change_coins, settle_flat, trade_coins
from model.ledger import OUTSIDE, SETTLEMENT, TREASURY, Flow, Ledger, Rows, Status
from model.venue import DUST, TIE
from model.walked import Walked

type Floats = NDArray[np.float64]
type Defaulters = tuple[Rows, Floats]


class Losses:
    """The waterfall of one walk."""

    def __init__(self, walked: Walked) -> None:
        self.walked, self.venue = walked, walked.venue

    def cover(self, rows: Rows, deficit: Floats, weights: Floats, kind: Flow, by_fund: Floats | None = None) -> None:
        """Brings accounts with a deficit to zero and sends the sum down the waterfall; accounts left flat by it are bankrupt.

        Args:
            rows: accounts.
            deficit: shape (n,), USD.
            weights: shape (M, n) or (M, 1), how each deficit divides over the markets that it comes from.
            kind: of draw on the fund.
            by_fund: shape (n,), part of each deficit that the fund's takeovers caused; none if not given.
        """
        part, venue = self.walked.ledger, self.venue
        self._to_dollars(part, rows[deficit > DUST])
        deficit = deficit - self._convert(part, rows, deficit)
        some = deficit > DUST
        if not some.any():
            return
        parts = venue.pools.claims(np.broadcast_to(weights, (weights.shape[0], deficit.size)))
        taken_over = np.array([0.0 if by_fund is None else float((one * deficit) @ by_fund) for one in parts])
        rows, deficit = rows[some], deficit[some]
        total = part.transfer(Flow.DEFICIT, SETTLEMENT, rows, deficit)
        venue.tally.deficits += total
        self.bankrupt(rows)
        venue.events.add("deficit", venue.name, account=self.walked.rows[rows], amount=deficit)
        losses = np.array([float((one[some] * deficit).sum()) for one in parts])
        taken_over = np.divide(taken_over, losses, out=np.zeros_like(losses), where=losses > 0.0)
        self.absorb(losses, np.minimum(taken_over, 1.0), kind, defaulters=(self.walked.rows[rows], deficit))

    def _convert(self, part: Ledger, rows: Rows, short: Floats) -> Floats | float:
        """Accounts, (n,), sell of the coins that stood as collateral what they are short of, USD. Returns what that brings, (n,).

        They sell at the index, which the sale moves.
        """
        venue = self.venue
        if not venue.parameters.coin_haircuts or not rows.size or not part.spot[:, rows].any():
            return 0.0
        value = venue.market.underlying @ part.spot[:, rows]
        share = np.where(value > 0.0, np.clip(short / np.where(value > 0.0, value, 1.0), 0.0, 1.0), 0.0)
        trade_coins(venue, part, rows, -part.spot[:, rows] * share, moves=venue.channels.price_impact)
        brought: Floats = share * value
        return brought

    def _to_dollars(self, part: Ledger, rows: Rows) -> None:
        """Accounts among `rows` without contracts settle what they have, or owe, in coin: they change it at the exchange's index."""
        if not part.currencies:
            return
        flat = rows[~part.exposure[:, rows].any(axis=0)]
        change_coins(self.venue, part, flat, -part.coins[:, flat])

    def cover_overdrawn(self, weights: Floats, kind: Flow, *, but: Rows | None = None) -> None:
        """Covers accounts below zero that have no contracts left, `but` some; `weights`, (M, 1), and `kind` as in `cover`."""
        rows = overdrawn(self.walked.ledger)
        rows = rows if but is None else np.setdiff1d(rows, but)
        self.cover(rows, -self.walked.ledger.balance(rows), weights, kind)

    def bankrupt(self, rows: Rows) -> None:
        """Accounts among `rows` without contracts are bankrupt from now on."""
        status = self.walked.ledger.status
        flat = rows[~self.walked.ledger.exposure[:, rows].any(axis=0)]
        self.venue.tally.bankruptcies += int((status[flat] != Status.BANKRUPT).sum())
        status[flat] = Status.BANKRUPT

    def absorb(
        self, losses: Floats, taken_over: Floats, kind: Flow, *, skip: frozenset[str] = frozenset(), defaulters: Defaulters | None = None
    ) -> None:
        """Sends losses standing on the settlement row, (G,) USD by claimant, down the waterfall.

        Args:
            losses: by claimant.
            taken_over: shape (G,), part of each that takeovers caused.
            kind: of draw on the fund, for the rest.
            skip: layers that are not asked.
            defaulters: whose loss it is: rows of the whole ledger and USD, (n,) each.
        """
        venue, left, cause = self.venue, losses.copy(), float(losses.sum())
        venue.revalue(self.walked.ledger)
        for at, layer in enumerate(venue.waterfall):
            if left.sum() <= TIE * cause:
                break
            if layer.reaches == "contracts" or layer.name in skip or (layer.reaches == "later" and venue.insolvent):
                continue
            everybody = layer.reaches in ("accounts", "later")
            for pool, claims in self._asked(layer, left):
                offered, state = float(claims.sum()), venue.states[f"layer {at}"]
                part = self.walked.widen() if everybody else self.walked.ledger
                view = self._layer_view(offered, pool, part, everybody, defaulters)
                if layer.by_claimant:
                    view = replace(view, notional=self._open_positions(part, claims))
                charge, state[pool or 0] = layer.rule(view, state[pool or 0], venue.rng)
                checked_charge(charge, offered)
                channel = venue.channels.spares(layer)
                if channel is not None:
                    due = offered if channel == "exchange_failure" else asked_of_others(charge)
                    left = left - self._spare(part, channel, due) * (claims / offered)
                    continue
                taken = float((claims / offered) @ taken_over)
                paid = self._take(part, layer, pool, charge, view, {Flow.DRAW_TAKEOVER: taken, kind: 1.0 - taken})
                left = left - (paid + charge.deferred) * (claims / offered)
                self._note(layer, charge, paid, claims / offered)
                if charge.tears_up and not venue.insolvent:
                    self.end_contracts()
        if left.sum() > TIE * cause:
            self._exhaust(float(left.sum()), kind)
        if venue.write_down > 0.0 and not venue.insolvent:
            self._fail()

    def _note(self, layer: Layer, charge: Charge, paid: float, shares: Floats) -> None:
        """Notes what a layer has borne, USD, or put off; `shares`, (G,), says of whose losses."""
        venue = self.venue
        if charge.deferred > 0.0:
            venue.outstanding += charge.deferred
            venue.tally.deferred += charge.deferred
            venue.events.add("deferred", venue.name, account=SETTLEMENT, amount=charge.deferred, layer=layer.name)
        if paid > 0.0:
            if layer.draws == "own":
                venue.claimed += paid * shares
            name = "fund" if layer.draws else layer.name
            venue.tally.absorb(name, paid)
            venue.events.add("absorbed", venue.name, account=SETTLEMENT, amount=paid, layer=name)

    def _spare(self, part: Ledger, channel: str, usd: float) -> float:
        """The outside pays USD of a loss in place of those whom a closed channel spares. Returns USD paid."""
        if usd > 0.0:
            part.transfer(Flow.RESCUE, OUTSIDE, SETTLEMENT, usd)
            self.venue.tally.absorb("rescue", usd)
            self.venue.tally.rescue(channel, usd)
            self.venue.events.add("rescue", self.venue.name, account=SETTLEMENT, amount=usd, layer=channel)
        return usd

    def _asked(self, layer: Layer, left: Floats) -> list[tuple[int | None, Floats]]:
        """Which pools a layer asks, None for none in particular, and for what part, (G,) USD, of the losses that are left."""
        pools = self.venue.pools
        if layer.by_claimant:
            return [(None, np.where(np.arange(left.size) == one, left, 0.0)) for one in np.flatnonzero(left > 0.0)]
        if layer.draws is None:
            return [(None, left)]
        if layer.draws == "shared":
            return [(len(pools.names) - 1, left)]
        claims = np.minimum(left, np.maximum(pools.limits - self.venue.claimed, 0.0))
        by_pool = [(pool, np.where(pools.pool == pool, claims, 0.0)) for pool in range(pools.own)]
        return [(pool, claims) for pool, claims in by_pool if claims.any()]

    def _draw(self, part: Ledger, kind: Flow, pool: int | None, usd: float) -> float:
        """A draw on a pool, or on all of them in proportion to what they hold. Returns USD paid."""
        funds = part.funds if pool is None else part.funds[pool : pool + 1]
        held = np.maximum(part.pools, 0.0) if funds.size > 1 else np.ones(1)
        shares = held / held.sum() if held.any() else held
        if self.venue.guarantee is not None:
            self.venue.guarantee.call(self.venue, part, usd - max(self.venue.value.payable(part)[0], 0.0))
        for row, share in zip(funds.tolist(), shares.tolist(), strict=True):
            self.venue.value.raise_cash(self.venue, part, row, usd * share)
        return sum(part.transfer(kind, row, SETTLEMENT, usd * share) for row, share in zip(funds.tolist(), shares.tolist(), strict=True))

    def _stake(self) -> Stake | None:
        """What may be slashed."""
        token = self.venue.value.token
        return Stake(token.staked, token.book) if token is not None else None

    def _take(self, part: Ledger, layer: Layer, pool: int | None, charge: Charge, view: LayerView, draws: dict[Flow, float]) -> float:
        """Books a layer's charge; `draws` says which part of what the fund pays goes under which name. Returns USD paid."""
        paid = 0.0
        for draw, share in draws.items():
            if charge.fund * share > 0.0:
                paid += self._draw(part, draw, pool, charge.fund * share)
        if charge.treasury > 0.0:
            paid += part.transfer(Flow.EXCHANGE_CAPITAL, TREASURY, SETTLEMENT, charge.treasury)
        if charge.stakers > 0.0:
            paid += self.venue.value.slash(part, SETTLEMENT, charge.stakers, layer.parameters.share)
        if charge.vault > 0.0:
            paid += part.transfer(Flow.VAULT, int(self.venue.vault[0]), SETTLEMENT, charge.vault)
        if charge.contributions is not None and charge.contributions.any():
            assert self.venue.members is not None
            paid += self.venue.members.use(part, SETTLEMENT, charge.contributions)
        if charge.accounts is not None and charge.accounts.any():
            paid += self._charge_accounts(part, layer.name, charge.accounts, view)
        return paid

    def _exhaust(self, loss: float, kind: Flow) -> None:
        """What claims cannot bear is borne by what the exchange and its members' fund still have, whatever the waterfall keeps back."""
        part = self.walked.ledger
        own = min(loss, max(part.treasury, 0.0))
        drawn = min(loss - own, sum(max(usd, 0.0) for usd in self.venue.payable(part)))
        if own > 0.0:
            part.transfer(Flow.EXCHANGE_CAPITAL, TREASURY, SETTLEMENT, own)
        if drawn > 0.0:
            self._draw(part, kind, None, drawn)
        given = self._members_give(part, loss - own - drawn)
        for layer, paid in (("exchange_capital", own), ("fund", drawn), ("members_fund", given)):
            if paid > 0.0:
                self.venue.tally.absorb(layer, paid)
                self.venue.events.add("absorbed", self.venue.name, account=SETTLEMENT, amount=paid, layer=layer)

    def _members_give(self, part: Ledger, wanted: float) -> float:
        """What members' contributions pay of USD; the outside does in their place if losses are not socialised."""
        members = self.venue.members
        if members is None:
            return 0.0
        if self.venue.channels.socialised_loss:
            return members.give(part, SETTLEMENT, wanted)
        self._spare(part, "socialised_loss", min(wanted, float(members.held.sum())))
        return 0.0

    def _layer_view(self, loss: float, pool: int | None, part: Ledger, everybody: bool, defaulters: Defaulters | None) -> LayerView:
        venue = self.venue
        pools = venue.payable(part)
        held = pools if pool is None else [pools[pool]]
        fund, treasury = sum(max(usd, 0.0) for usd in held), max(part.treasury, 0.0)
        members = venue.members.view(defaulters, venue.hours) if venue.members is not None else None
        if not everybody:
            nobody = (np.zeros(0), np.zeros(0), np.zeros(0))
            vault = self.vault_may_lose()
            return LayerView(loss, fund, treasury, *nobody, members=members, stake=self._stake(), vault=vault, hours=venue.hours)
        equity = part.claims()
        gains = np.maximum(part.position * (part.marks[:, None] - part.cost()), 0.0).sum(axis=0)
        notional = self._open_positions(part, np.ones(venue.pools.pool.size))
        return LayerView(loss, fund, treasury, equity, np.minimum(gains, equity), notional, venue.outstanding, members, hours=venue.hours)

    def _open_positions(self, part: Ledger, claims: Floats) -> Floats:
        """Shape (R,), USD: account holders' open positions in the markets of claimants with `claims`, (G,)."""
        notional: Floats = np.where(claims[self.venue.pools.claimant] > 0.0, part.units, 0.0) @ part.exposure
        notional[: part.house] = 0.0
        return notional

    def vault_may_lose(self) -> float:
        """USD that the backstop vault may still lose; 0 without one, and once it has defaulted."""
        p, part = self.venue.parameters.vault, self.walked.ledger
        if p is None or part.status[self.venue.vault[0]] != Status.ACTIVE:
            return 0.0
        return may_lose(p, float(part.equity(self.venue.vault)[0]))

    def _charge_accounts(self, part: Ledger, layer: str, charged: Floats, view: LayerView) -> float:
        """Takes a layer's charges from account holders.

        Gains that are given are gains no longer: their entry prices move towards the mark.
        """
        venue = self.venue
        kind = {"write_down": Flow.WRITE_DOWN, "assessment": Flow.ASSESSMENT}.get(layer, Flow.SOCIALISED_LOSS)
        charged = np.minimum(charged, view.equity)
        rows = np.flatnonzero(charged > 0.0)
        paid = part.transfer(kind, rows, SETTLEMENT, charged[rows])
        above = part.marks[:, None] - part.cost(rows)
        profit = np.maximum(part.position[:, rows] * above, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            given = np.minimum(np.where(profit.sum(axis=0) > 0.0, charged[rows] / profit.sum(axis=0), 0.0), 1.0)
        part.entry[:, rows] += np.where(profit > 0.0, given * (above / part.scale[:, None]), 0.0)
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

    def fund_spared(self) -> bool:
        """Whether the fund has lost so much of late that winners are asked before it, and it takes no positions over."""
        return self.venue.drawdown.exceeded(self.walked.ledger.fund)

    def house_lacks(self, losses: Floats) -> float:
        """USD of losses, (G,) by claimant, that the layers before deleveraging could not pay, whether they are asked or not."""
        return float(np.maximum(losses - self._house_holds(losses), 0.0).sum())

    def house_pays(self, losses: Floats) -> Floats:
        """USD, (G,), that the layers before deleveraging would pay of `losses`, (G,) by claimant; nothing while the fund is spared."""
        return np.zeros_like(losses) if self.fund_spared() else self._house_holds(losses)

    def _house_holds(self, losses: Floats) -> Floats:
        part = self.walked.ledger
        nobody = (np.zeros(0), np.zeros(0), np.zeros(0))
        funds, treasury, paid = np.maximum(self.venue.payable(part), 0.0), max(part.treasury, 0.0), np.zeros_like(losses)
        vault = self.vault_may_lose()
        members = self.venue.members.view(None, self.venue.hours) if self.venue.members is not None else None
        for at, layer in enumerate(self.venue.waterfall):
            if layer.reaches == "contracts":
                break
            for pool, claims in self._asked(layer, losses - paid):
                offered = float(claims.sum())
                if offered <= 0.0:
                    continue
                held = slice(None) if pool is None else slice(pool, pool + 1)
                fund = float(funds[held].sum())
                stake, hours = self._stake(), self.venue.hours
                view = LayerView(offered, fund, treasury, *nobody, members=members, stake=stake, vault=vault, hours=hours)
                charge, _ = layer.rule(view, self.venue.states[f"layer {at}"][pool or 0], self.venue.rng)
                funds[held] *= 1.0 - charge.fund / fund if fund > 0.0 else 1.0
                treasury -= charge.treasury
                vault -= charge.vault
                usd = charge.fund + charge.treasury + charge.stakers + charge.vault
                if members is not None and charge.contributions is not None:
                    members = replace(members, held=members.held - charge.contributions)
                    usd += float(charge.contributions.sum())
                paid = paid + usd * (claims / offered)
        return paid

    def _fail(self) -> None:
        """The exchange is insolvent: contracts are torn up at mark, deficits still open are written down too, trading ends."""
        venue, part = self.venue, self.walked.widen()
        venue.insolvent = True
        for row in part.funds.tolist():
            venue.value.raise_cash(venue, part, row, np.inf)
        self.end_contracts()
        self.write_down_outstanding()
        venue.events.add("insolvency", venue.name, account=TREASURY, amount=venue.write_down, layer="write_down")

    def end_contracts(self) -> None:
        """All contracts end at mark; what accounts, the fund included, are then short of goes down the waterfall."""
        venue, part = self.venue, self.walked.widen()
        part.tear_up()
        if venue.insolvent:
            part.turn_into_dollars()
        self._to_dollars(part, part.funds)
        for row in part.funds.tolist():
            venue.value.raise_cash(venue, part, row, max(-float(part.cash[row]), 0.0))
        below = np.flatnonzero(part.balance() < -DUST)
        below = below[below >= part.house]
        self._to_dollars(part, below)
        self._convert(part, below, -part.cash[below])
        below = below[part.cash[below] < -DUST]
        house = np.append(part.funds, TREASURY)
        short = np.concatenate((below, house[part.cash[house] < 0.0]))
        if short.size:
            deficit = -part.cash[short]
            for row, amount in zip(short.tolist(), deficit.tolist(), strict=True):
                part.transfer(Flow.DEFICIT, SETTLEMENT, int(row), float(amount))
            venue.tally.deficits += float(deficit.sum())
            self.bankrupt(below)
            self.absorb(self._of_no_market(float(deficit.sum())), np.zeros(venue.pools.pool.size), Flow.DRAW_CLOSE_OUT)
        if not venue.insolvent:
            settle_flat(venue, part, np.arange(part.rows))

    def write_down_outstanding(self) -> None:
        """Losses that are still outstanding are written down: nobody else will bear them."""
        left, self.venue.outstanding = self.venue.outstanding, 0.0
        self.venue.tally.settled += left
        others = frozenset(layer.name for layer in self.venue.waterfall) - {"write_down"}
        self.absorb(self._of_no_market(left), np.zeros(self.venue.pools.pool.size), Flow.DRAW_CLOSE_OUT, skip=others)

    def _of_no_market(self, loss: float) -> Floats:
        """A loss that is of no market in particular, by claimant, (G,): by open interest."""
        return np.array([loss * float(part[0]) for part in self.venue.pools.claims(self.venue.interest[:, None])])

    def recover_fund(self) -> None:
        """A pool that its own inventory has brought below zero: the layers after it pay, and the inventory is closed at mark."""
        venue = self.venue
        for pool, row in enumerate(venue.ledger.funds.tolist()):
            part = self.walked.ledger
            short = -part.pools[pool]
            if short <= TIE * (abs(float(part.balance(row))) + 1.0) or not venue.is_open():
                continue
            if venue.deleveraging is not None:
                self.walked.close_at_mark(np.array([row]))
                part = self.walked.ledger
                short = -part.pools[pool]
            if venue.guarantee is not None:
                short -= venue.guarantee.call(venue, part, short)
                if short <= TIE * (abs(float(part.balance(row))) + 1.0):
                    continue
            venue.tally.deficits += part.transfer(Flow.DEFICIT, SETTLEMENT, row, short)
            mine = venue.pools.pool == pool
            mine = mine if mine.any() else np.ones_like(mine)  # a shared pool is nobody's in particular
            losses = short * (mine / mine.sum())
            self.absorb(losses, np.zeros_like(losses), Flow.DRAW_CLOSE_OUT, skip=frozenset({"fund"}))


def overdrawn(ledger: Ledger) -> Rows:
    """Rows of account holders below zero that have no contracts left."""
    below = np.flatnonzero(ledger.balance() < -DUST)
    rows: Rows = below[(below >= ledger.house) & ~ledger.exposure[:, below].any(axis=0)]
    return rows


def asked_of_others(charge: Charge) -> float:
    """USD that a charge takes from account holders, now or later, and from members' contributions."""
    taken = sum(float(part.sum()) for part in (charge.accounts, charge.contributions) if part is not None)
    return taken + charge.deferred
