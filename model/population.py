"""The traders of a venue as columns: who they are, who acts, who pays in and out, who comes and goes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.clock import HOURS_PER_YEAR
from agents.contracts import divide
from agents.demand import Demand, DemandView, demand
from agents.trader import (
    CashView,
    Strategy,
    TraderGroup,
    TraderParameters,
    TraderView,
    checked_stance,
    fundamentalist_share,
    leaves,
    pay_in_or_out,
    run_fear,
    strategy_rules,
    truncated_pareto,
)
from model import trading
from model.currencies import trade_coins
from model.deferred import pay_out
from model.hedges import NakedSpot
from model.instruments import Kind
from model.ledger import Flow, Ledger, Role, Rows, Status
from model.levies import open_interest_levies
from model.randomness import Streams
from model.venue import Venue

type Floats = NDArray[np.float64]

_BLOCK = 1024
"""Members of a group are drawn in blocks of this many, so that the n-th member is the same whoever came before it and whenever it comes."""
OPENING = 2**62
"""The step to which the draws before the first step belong."""
DUST = 1e-6
"""A market below this part of its opening price is worthless: nobody trades it."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What acting traders want to trade: rows (n,), contracts (M, n)."""

    rows: Rows
    contracts: Floats


class Group:
    """One group of traders.

    Attributes:
        rows: shape (n,), ledger rows, oldest member first; who: those (indices) who act in the step.
        strategy: shape (n,), index into `rules`; stake: shape (n,), deposits, in USD or in the coin that margin is in.
        taste: shape (n,), leverage a member would take with an average deposit; leverage: shape (n,), what it takes.
        book: shape (n,), the one underlying that a member's margin is for, and in if it is in coin; -1 with cross margin in dollars.
        leaving: shape (n,), whether a member closes what it has and goes; succeeded: whether a newcomer has taken its place.
    """

    def __init__(self, parameters: TraderGroup, streams: Streams, weights: Floats) -> None:
        self.parameters, self._streams = parameters, streams
        self.in_coin = parameters.margin == "coin"
        self._books = np.cumsum(weights / weights.sum())
        self.rules: list[Strategy] = [strategy_rules.build(p) for p in parameters.strategies]
        self.states = [rule.initial_state() for rule in self.rules]
        self.hedges = any(rule.hedges for rule in self.rules)
        weights = np.array([p.weight for p in parameters.strategies])  # type: ignore[attr-defined]
        self._cumulative = np.cumsum(weights / weights.sum())
        self._fundamentalist = next((at for at, rule in enumerate(self.rules) if rule.name == "fundamentalist"), None)
        self._speculative = np.array([rule.speculates for rule in self.rules])
        self.neutral = np.array([rule.neutral for rule in self.rules])
        self.who: Rows = np.empty(0, dtype=np.intp)
        self.rows: Rows = np.empty(0, dtype=np.intp)
        self.strategy: NDArray[np.int8] = np.empty(0, dtype=np.int8)
        self.taste: Floats = np.empty(0)
        self.leverage: Floats = np.empty(0)
        self.stake: Floats = np.empty(0)
        self.book: NDArray[np.int8] = np.empty(0, dtype=np.int8)
        self.leaving: NDArray[np.bool_] = np.empty(0, dtype=bool)
        self.succeeded: NDArray[np.bool_] = np.empty(0, dtype=bool)

    def draw(self, name: str, step: int) -> np.random.Generator:
        """This group's own stream for one purpose."""
        return self._streams.generator(f"traders/{self.parameters.name}/{name}", step)

    def admit(self, ledger: Ledger, count: int, successors: Rows | None = None) -> Rows:
        """Adds `count` members with their deposits paid in; returns their rows.

        Deposits are the newcomers' own. So are taste for leverage and strategy, unless they succeed others: `successors`, (count,),
        names the members (indices) whose place they take, so that a population that loses its boldest does not grow timid.
        """
        if count <= 0:
            return np.empty(0, dtype=np.intp)
        p, born = self.parameters, self.rows.size
        blocks = range(born // _BLOCK, (born + count - 1) // _BLOCK + 1)
        draws = np.concatenate([self.draw("birth", block).random((_BLOCK, 2)) for block in blocks])[born % _BLOCK :][:count]
        normal = np.concatenate([self.draw("leverage", block).standard_normal(_BLOCK) for block in blocks])[born % _BLOCK :][:count]
        stake = p.equity / max(p.count, 1) * truncated_pareto(draws[:, 0], p.tail, p.span)
        if successors is None:
            taste = np.minimum(p.leverage * np.exp(p.leverage_spread * normal), p.leverage_max)
            kind = np.minimum(np.searchsorted(self._cumulative, draws[:, 1], side="right"), len(self.rules) - 1).astype(np.int8)
        else:
            taste, kind = self.taste[successors], self.strategy[successors]
            self.succeeded[successors] = True
        book = np.full(count, -1, dtype=np.int8)
        if (p.isolated or self.in_coin) and successors is not None:
            book = self.book[successors]
        elif p.isolated or self.in_coin:
            luck = np.concatenate([self.draw("book", block).random(_BLOCK) for block in blocks])[born % _BLOCK :][:count]
            book = np.minimum(np.searchsorted(self._books, luck, side="right"), self._books.size - 1).astype(np.int8)
        modest = np.maximum(stake * max(p.count, 1) / p.equity, 1.0) ** -p.leverage_by_size
        rows = ledger.open(count, Role.TRADER)
        if self.in_coin:
            ledger.currency[rows] = book + 1
        self.rows = np.concatenate((self.rows, rows))
        self.stake = np.concatenate((self.stake, stake / ledger.rates[book] if self.in_coin else stake))
        self.taste = np.concatenate((self.taste, taste))
        self.leverage = np.concatenate((self.leverage, taste * modest))
        self.strategy = np.concatenate((self.strategy, kind))
        self.book = np.concatenate((self.book, book))
        self.leaving = np.concatenate((self.leaving, np.zeros(count, dtype=bool)))
        self.succeeded = np.concatenate((self.succeeded, np.zeros(count, dtype=bool)))
        ledger.pay_in(Flow.DEPOSIT, rows, stake)
        return rows

    def deposits(self, ledger: Ledger, who: Rows) -> Floats:
        """Shape (n,), USD: what members (indices) paid in when they started, as much of it as coin at today's rate."""
        stake = self.stake[who]
        return stake * ledger.rates[self.book[who]] if self.in_coin else stake

    def spread(self, rows: Rows, over: Floats, asset: Rows) -> Floats:
        """How members divide their capital over markets, (M, 1) or (M, n): as everybody, `over`, (M,), or all to their book's underlying.

        Args:
            rows: of the members, ascending.
            over: shares by market; markets of one underlying have the same.
            asset: shape (M,), underlying of each market.
        """
        if not (self.parameters.isolated or self.in_coin):
            return over[:, None]
        own: Floats = (asset[:, None] == self.book[np.searchsorted(self.rows, rows)]).astype(float) * (over > 0.0)[:, None]
        return own

    def acting(self, step: int, hours: float, activity: float) -> Rows:
        """Members (indices) who act in this step: drawn for everyone ever admitted, at a rate that depends on nobody's state.

        `activity` is the factor that the cost of trading puts on the rate; the draws are the same whatever it is.
        """
        chance = -np.expm1(-self.parameters.activity * activity * hours)
        who: Rows = np.flatnonzero(self.draw("acts", step).random(self.rows.size) < chance)
        return who

    def reconsider(self, who: Rows, step: int, p: TraderParameters, misalignment: Floats, weights: Floats) -> None:
        """Speculators among the acting choose between fundamentalism and the other speculative strategies afresh."""
        luck = self.draw("switch", step).random((who.size, 2))
        if self._fundamentalist is None or self._speculative.sum() < 2 or not who.size:
            return
        speculators = self._speculative[self.strategy]
        share = float((self.strategy[speculators] == self._fundamentalist).mean()) if speculators.any() else 0.5
        chance = fundamentalist_share(p, share, misalignment, weights)
        others = np.flatnonzero(self._speculative)
        others = others[others != self._fundamentalist]
        pick = others[np.minimum((luck[:, 1] * others.size).astype(np.intp), others.size - 1)]
        choice = np.where(luck[:, 0] < chance, self._fundamentalist, pick)
        mine = speculators[who]
        self.strategy[who[mine]] = choice[mine]

    def stances(self, who: Rows, step: int, names: tuple[str, ...], view: TraderView, tolerance: float) -> Floats:
        """Shape (M, n): what the acting want to hold, as a part of what leverage allows; those who leave want nothing."""
        luck = np.empty((len(names), who.size))
        for market, name in enumerate(names):
            luck[market] = self.draw(name, step).standard_normal(who.size)
        stance = np.zeros_like(luck) if view.contracts is None else np.zeros((view.contracts.asset.size, who.size))
        for at, rule in enumerate(self.rules):
            mine = np.flatnonzero(self.strategy[who] == at)
            if mine.size:
                funding = view.funding
                if self.in_coin and view.contracts is not None:
                    funding = view.contracts.best_carry(len(names), in_coin=True)
                seen = TraderView(view.misalignment, view.trend, funding, view.daily, luck[:, mine], view.contracts)
                decision, self.states[at] = rule.rule(seen, self.states[at], None)
                checked_stance(decision)
                if view.contracts is not None and not rule.chooses:
                    decision = divide(decision, view.contracts, tolerance, in_coin=self.in_coin)
                stance[:, mine] = decision
        stance[:, self.leaving[who]] = 0.0
        return stance


class Population:
    """All traders of one venue.

    Attributes:
        groups: by scenario order.
        demand: how what the exchange charges and asks for in margin moves activity and leverage, as of the last decision.
        confidence: readiness to pay in, 0 to 1; it falls with liquidations and comes back.
        run_fear: of the exchange's failure, 0 to 1.
        naked: spot that hedgers are selling because its hedge is lost.
    """

    def __init__(self, parameters: TraderParameters, venue: Venue, streams: Streams, names: tuple[str, ...], weights: Floats) -> None:
        self.parameters, self.venue, self.names = parameters, venue, names
        weights = weights / weights.sum()
        self.spread: Floats = weights[venue.market.asset]
        self.weights: Floats = np.where(np.arange(self.spread.size) < weights.size, self.spread, 0.0)
        settled = weights * np.isin(np.arange(weights.size), venue.ledger.settled)
        self.groups = [Group(p, streams, settled if p.margin == "coin" else weights) for p in parameters.groups]
        self._fear = 0.0
        self.run_fear = 0.0
        self._backing = venue.ledger.fund + venue.ledger.treasury
        self.naked = NakedSpot(parameters.lost_hedges, len(names))
        self._floor = venue.market.index * DUST
        for group in self.groups:
            group.admit(venue.ledger, group.parameters.count)
        self.demand: Demand = self._demand()

    def _demand(self) -> Demand:
        """What the venue's fees, levies and margins leave of activity and leverage."""
        venue, p = self.venue, self.parameters.demand
        typical = np.array([g.parameters.equity / max(g.parameters.count, 1) * g.parameters.leverage for g in self.groups])
        index = np.maximum(venue.market.index, self._floor)
        contracts = (self.weights / index)[:, None] * typical
        margin = venue.requirement(contracts, contracts, index).initial / typical
        levy = HOURS_PER_YEAR * float(self.weights @ open_interest_levies(venue))
        return demand(p, DemandView(venue.parameters.fees.taker, levy, margin))

    @property
    def appetite(self) -> float:
        """What levies and margin leave of leverage, mean over groups by deposits."""
        deposits = [group.parameters.equity for group in self.groups]
        return float(np.average(self.demand.leverage, weights=deposits)) if deposits else 1.0

    @property
    def confidence(self) -> float:
        """Readiness to pay in, 0 to 1."""
        return float(np.exp(-self.parameters.fear * self._fear))

    def opening(self) -> Orders:
        """What everybody would hold in calm at the opening marks: the orders of a market that has been open for a while."""
        calm, first = np.zeros(len(self.names)), slice(len(self.names))
        contracts = trading.known_contracts(self.venue, np.zeros(self.spread.size))
        parts: list[tuple[Rows, Floats]] = []
        for group, taste in zip(self.groups, self.demand.leverage.tolist(), strict=True):
            who = np.arange(group.rows.size)
            daily = self.venue.market.volatility[first] * np.sqrt(24.0 / HOURS_PER_YEAR)
            view = TraderView(calm, calm, calm, daily, np.empty((calm.size, 0)), contracts)
            stance = group.stances(who, OPENING, self.names, view, self.parameters.carry_tolerance)
            parts.append((group.rows, self._orders(group, group.rows, stance, group.leverage * taste)))
        if not parts:
            return self.nothing()
        return Orders(np.concatenate([r for r, _ in parts]), np.concatenate([q for _, q in parts], axis=1))

    def nothing(self) -> Orders:
        """No orders."""
        return Orders(np.empty(0, dtype=np.intp), np.empty((self.spread.size, 0)))

    def decide(self, step: int, hours: float, view: TraderView) -> Orders:
        """Who acts, and the orders that take them to their stances within initial margin."""
        parts: list[tuple[Rows, Floats]] = []
        self.demand = self._demand()
        for group, taste in zip(self.groups, self.demand.leverage.tolist(), strict=True):
            who = group.who = group.acting(step, hours, self.demand.activity)
            group.reconsider(who, step, self.parameters, view.misalignment, self.weights[: len(self.names)])
            stance = group.stances(who, step, self.names, view, self.parameters.carry_tolerance)
            rows = group.rows[who]
            able = (self.venue.ledger.status[rows] == Status.ACTIVE) & ~self.naked.sells(rows)
            parts.append((rows[able], self._orders(group, rows[able], stance[:, able], group.leverage[who[able]] * taste)))
            if group.leaving.any():
                parts.append(self._closing(group, who))
        if not parts:
            return self.nothing()
        return Orders(np.concatenate([r for r, _ in parts]), np.ascontiguousarray(np.concatenate([q for _, q in parts], axis=1)))

    def _closing(self, group: Group, who: Rows) -> tuple[Rows, Floats]:
        """Those who leave close what they have, whether it is their turn to act or not."""
        rows = group.rows[np.setdiff1d(np.flatnonzero(group.leaving), who)]
        tradable = self.venue.market.index > self._floor
        return rows, np.where(tradable[:, None], -self.venue.ledger.position[:, rows], 0.0)

    def _orders(self, group: Group, rows: Rows, stance: Floats, leverage: Floats) -> Floats:
        """Contracts (M, n) from present to wanted positions; wanted positions are cut to what initial margin allows."""
        ledger = self.venue.ledger
        marks = ledger.marks
        position = ledger.position[:, rows]
        equity = ledger.balance(rows) + marks @ position
        wealth = equity + (marks[: ledger.assets] @ ledger.spot[:, rows] if group.hedges else 0.0)
        tradable = self.venue.market.index > self._floor
        notional = (
            stance * (np.maximum(wealth, 0.0) * leverage) * (group.spread(rows, self.spread, self.venue.market.asset) * tradable[:, None])
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            wanted = np.where(tradable[:, None], notional / ledger.units[:, None], position)
            if group.neutral.any():
                self._neutralise(group, rows, wanted, position)
            initial = self.venue.requirement(wanted, np.abs(wanted), marks).initial
            means = equity + self.venue.lent(ledger, rows)
            allowed = np.where(initial > 0.0, np.minimum(np.maximum(means, 0.0) * 0.95 / initial, 1.0), 1.0)
        return np.where(tradable[:, None], wanted * allowed - position, 0.0)

    def _neutralise(self, group: Group, rows: Rows, wanted: Floats, position: Floats) -> None:
        """Perpetuals that the delta-neutral among `rows` want, in place, (M, n): against the deltas of the options that they have."""
        market, fixing = self.venue.market, self.venue.fixing
        if fixing is None or market.listed is None:
            return
        mine = np.flatnonzero(group.neutral[group.strategy[np.searchsorted(group.rows, rows)]])
        delta = np.where(market.listed.option, fixing.deltas, 0.0)[:, None] * position[:, mine]
        onto = market.asset == np.arange(market.assets)[:, None]
        wanted[: market.assets, mine] = -(onto @ delta)

    def _matched(self, rows: Rows) -> Floats:
        """Shape (A, n): units of each underlying that hedgers are short of, in perpetuals and futures, or have puts on."""
        position, listed = self.venue.ledger.position[:, rows], self.venue.market.listed
        if listed is None:
            return np.maximum(-position, 0.0)
        onto = (listed.asset == np.arange(self.venue.market.assets)[:, None]).astype(float)
        short = np.maximum(-(onto @ np.where(listed.linear[:, None], position, 0.0)), 0.0)
        puts = onto @ np.where((listed.kind == Kind.PUT)[:, None], np.maximum(position, 0.0), 0.0)
        matched: Floats = short + puts
        return matched

    def balance_spot(self, rows: Rows, hours: float) -> None:
        """Hedgers among `rows` hold spot against shorts and puts, as far as free cash goes; lost hedges are sold; both move the index."""
        venue, ledger, market = self.venue, self.venue.ledger, self.venue.market
        hedgers = [np.intersect1d(rows, group.rows, assume_unique=True) for group in self.groups if group.hedges]
        rows = np.concatenate(hedgers) if hedgers else np.empty(0, dtype=np.intp)
        rows = rows[(ledger.status[rows] == Status.ACTIVE) & ~self.naked.sells(rows)]
        sellers, sold = self.naked.sale(ledger, market.underlying, hours)
        if sellers.size:
            venue.tally.lost_hedges += float(market.underlying @ sold.sum(axis=1))
            if venue.channels.lost_hedges:
                trade_coins(venue, ledger, np.concatenate((rows, sellers)), np.concatenate((self._rehedging(rows), -sold), axis=1))
                return
            trade_coins(venue, ledger, sellers, -sold, moves=False)
        if rows.size:
            trade_coins(venue, ledger, rows, self._rehedging(rows))

    def _rehedging(self, rows: Rows) -> Floats:
        """Units, (A, n), that hedgers buy or sell so as to hold spot against shorts and puts, as far as free cash goes."""
        ledger, index = self.venue.ledger, self.venue.market.underlying
        change = self._matched(rows) - ledger.spot[:, rows]
        held = self.venue.margin_of(ledger, rows).initial
        free = np.maximum(ledger.equity(rows) - 2.0 * held, 0.0)
        cost = (np.maximum(change, 0.0) * index[:, None]).sum(axis=0)
        affordable = np.where(cost > 0.0, np.minimum(free / np.where(cost > 0.0, cost, 1.0), 1.0), 1.0)
        within = self.venue.within_custody(float((cost * affordable).sum()))
        rehedged: Floats = np.where(change > 0.0, change * affordable * within, change)
        return rehedged

    def settle_cash(self, step: int, hours: float) -> None:
        """Entries, exits, deposits, withdrawals and runs, all against the outside world."""
        venue = self.venue
        self._remember(hours)
        self._run(hours)
        for group in self.groups:
            who = group.who
            if venue.deleveraged is not None:
                self._lose_contracts(group, step)
            if venue.haircut is not None or venue.factor_rise > 0.0:
                self._churn(group, step)
            self._pay(group, who, step, hours)
            self._depart(group)
            self._arrive(group, step, hours)

    def _remember(self, hours: float) -> None:
        """Fear: the share of open interest that was liquidated or taken in haircuts, fading with time."""
        venue = self.venue
        interest = float(venue.open_interest().sum())
        shock = float(venue.tally.liquidated.sum()) / interest if interest > 0.0 else 0.0
        self._fear = self._fear * float(np.exp(-hours / self.parameters.fear_memory)) + min(shock, 1.0)

    def _run(self, hours: float) -> None:
        """Traders who fear that the exchange will fail withdraw free collateral."""
        p, venue = self.parameters.run, self.venue
        if p is None:
            return
        ledger = venue.ledger
        if p.watch == "adequacy":
            level = ledger.fund / venue.target if venue.target > 0.0 else np.nan
        else:
            level = (ledger.fund + ledger.treasury - venue.outstanding) / self._backing if self._backing > 0.0 else np.nan
        self.run_fear = run_fear(p, level) if self.venue.channels.exchange_failure else 0.0
        if self.run_fear <= 0.0:
            return
        rows = np.flatnonzero((ledger.role == Role.TRADER) & (ledger.status == Status.ACTIVE))
        margin = venue.margin_of(ledger, rows).initial
        wanted = np.maximum(ledger.equity(rows) - margin, 0.0) * -np.expm1(-p.rate * self.run_fear * hours)
        before = ledger.custody
        pay_out(venue, Flow.WITHDRAWAL, rows, wanted)
        venue.tally.run += before - ledger.custody

    def _lose_contracts(self, group: Group, step: int) -> None:
        """What deleveraging does to those whose contracts it has closed: hedgers are left with naked spot, some traders leave for good."""
        ledger, contracts = self.venue.ledger, self.venue.deleveraged
        assert contracts is not None
        known = group.rows[group.rows < contracts.shape[1]]
        if group.hedges:
            hit = known[contracts[:, known].any(axis=0)]
            hit = hit[ledger.status[hit] == Status.ACTIVE]
            self.naked.note(ledger, hit, self._matched(hit))
        if group.parameters.churn_closed > 0.0:
            closed = (ledger.units @ contracts[:, known]) / np.maximum(
                ledger.units @ (contracts[:, known] + ledger.exposure[:, known]), 1e-300
            )
            luck = group.draw("closed", step).random(group.rows.size)[: known.size]
            group.leaving[: known.size] |= luck < group.parameters.churn_closed * closed

    def _churn(self, group: Group, step: int) -> None:
        """Some of those whom a haircut has cost a share of their equity, or who see the withdrawal factor rise, leave."""
        haircut = np.full(group.rows.size, self.venue.factor_rise)
        if self.venue.haircut is not None:
            known = group.rows < self.venue.haircut.size
            haircut[known] = np.maximum(haircut[known], self.venue.haircut[group.rows[known]])
        group.leaving |= leaves(group.parameters, haircut, group.draw("churn", step).random(group.rows.size))

    def _pay(self, group: Group, who: Rows, step: int, hours: float) -> None:
        luck = group.draw("cash", step).random((who.size, 2))
        if not who.size:
            return
        ledger, rows = self.venue.ledger, group.rows[who]
        active = ledger.status[rows] == Status.ACTIVE
        acts = -np.expm1(-group.parameters.activity * self.demand.activity * hours)
        chance = -np.expm1(-group.parameters.exit_rate * hours / HOURS_PER_YEAR) / max(acts, 1e-12)
        group.leaving[who] |= active & (luck[:, 1] < chance)
        equity = ledger.equity(rows)
        margin = self.venue.margin_of(ledger, rows)
        wealth = equity + ledger.marks[: ledger.assets] @ ledger.spot[:, rows] if group.hedges else equity
        seen = CashView(wealth, equity - margin.initial, group.deposits(ledger, who), luck[:, 0])
        moved = pay_in_or_out(group.parameters, seen, self.confidence)
        moved = np.where(active & ~group.leaving[who], moved, 0.0)
        self._move(rows, moved)

    def _move(self, rows: Rows, moved: Floats) -> None:
        ledger = self.venue.ledger
        paid_in, taken = np.maximum(moved, 0.0), np.maximum(-moved, 0.0)
        if paid_in.any():
            ledger.pay_in(Flow.DEPOSIT, rows, paid_in)
        if taken.any():
            pay_out(self.venue, Flow.WITHDRAWAL, rows, taken)

    def _depart(self, group: Group) -> None:
        """Members who want to leave and hold nothing take what they have and go."""
        if not group.leaving.any():
            return
        ledger = self.venue.ledger
        who = np.flatnonzero(group.leaving)
        rows = group.rows[who]
        free = (ledger.status[rows] == Status.ACTIVE) & ~ledger.exposure[:, rows].any(axis=0) & ~ledger.spot[:, rows].any(axis=0)
        gone = rows[free]
        self._move(gone, -np.maximum(ledger.balance(gone), 0.0))
        ledger.status[gone] = Status.GONE
        group.leaving[who[ledger.status[rows] != Status.ACTIVE]] = False

    def _arrive(self, group: Group, step: int, hours: float) -> None:
        """New members take the places of bankrupt and departed ones, the faster the more confident the market is."""
        p, ledger = group.parameters, self.venue.ledger
        draw = group.draw("entries", step)
        empty = np.flatnonzero((ledger.status[group.rows] != Status.ACTIVE) & ~group.succeeded)
        if empty.size and p.entry_rate > 0.0:
            expected = empty.size * -np.expm1(-p.entry_rate * hours / HOURS_PER_YEAR) * self.confidence
            places = empty[: int(draw.poisson(expected))]
            group.admit(ledger, places.size, places)
