"""The model: an exchange and those around it, and the order in which things happen."""

from functools import partial
from typing import TYPE_CHECKING, Any

import mesa
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agents.clock import HOURS_PER_YEAR
from agents.participants import Accounts, Clearinghouse, Lender, Liquidator, MarketMaker, Trader
from agents.trader import TraderView
from model.clearing import Walk, walk
from model.credit import Credit, Outcome, by_rank
from model.errors import LawViolation
from model.events import Events
from model.ledger import FUND, OUTSIDE, TREASURY, Flow, Rows, Status
from model.market import Cleared, Market
from model.news import NewsSource
from model.observables import observables, observe
from model.path import Path
from model.population import Orders, Population
from model.randomness import SeedLike, Streams, seed_from
from model.scenario import Scenario
from model.sheets import balance_sheets, exposures
from model.shocks import Shock, ShockView, shock_rules
from model.statement import Statement
from model.venue import Venue

if TYPE_CHECKING:
    import networkx as nx

type Floats = NDArray[np.float64]

TREND_HOURS = 24.0
"""Chartists look at a day."""
FUNDING_HOURS = 72.0
"""Basis traders look at funding over three days."""
VOLATILITY_HOURS = 168.0
"""The exchange's volatility estimate remembers a week."""


class Ecosystem(mesa.Model[mesa.Agent[Any], Any]):
    """An exchange, its traders, market makers and liquidators, and the lenders behind them.

    Args:
        scenario: the world; the default scenario if none is given.
        rng: the seed.
        fund, leverage_cap, depth_scale: levers; given, they override what the scenario says: the fund's opening balance in USD, the
        highest leverage
            at opening, a factor on the market makers' depth.
        check_laws: asserts the laws of the ledger and of losses after every step.
        record_events: keeps one row for each liquidation, draw, haircut and default.

    Attributes:
        world: the scenario, levers applied.
        observation: the last step's outputs by name.
        hours: model time, hours.
        seed: the seed in use.
    """

    def __init__(
        self,
        scenario: Scenario | None = None,
        *,
        rng: SeedLike = None,
        fund: float | None = None,
        leverage_cap: float | None = None,
        depth_scale: float | None = None,
        check_laws: bool = False,
        record_events: bool = True,
    ) -> None:
        self.seed = seed_from(0 if rng is None else rng)
        super().__init__(rng=self.seed)
        self.world = with_levers(scenario or Scenario(), fund, leverage_cap, depth_scale)
        self.check_laws = check_laws
        self.hours_per_step = self.world.hours_per_step
        self.tick = 0
        self.names = tuple(asset.name for asset in self.world.assets)
        self.outputs = [output.name for output in observables(self.names)]
        self._streams = Streams(self.seed)
        self.news = NewsSource(self.world.news, self.world.assets, self._streams, self.hours_per_step)
        self.shocks: list[Shock] = [shock_rules.build(p) for p in self.world.shocks]
        self.events = Events(record_events, self.names)
        self._open_venue()
        self._open_credit()
        self.population = Population(
            self.world.traders, self.venue, self._streams, self.names, self.world.spread(self.world.traders.markets)
        )
        self.funding: Floats = np.zeros(len(self.names))
        self.defaults = Outcome()
        self._trend: Floats = np.zeros(len(self.names))
        self._funding_trend: Floats = np.zeros(len(self.names))
        self._value: Floats = self.news.log_value.copy()
        self._log_index: Floats = self.venue.market.log_index.copy()
        self._create_agents(0)
        self.venue.ledger.begin_step()
        self._open_positions()
        self.venue.requote(self.venue.ledger)
        self.venue.size_and_levy(self.hours_per_step)
        self.venue.ledger.begin_step()
        self.statement = Statement(self.venue.ledger.fund)
        self.observation: dict[str, float] = observe(self)
        self.datacollector = mesa.DataCollector(model_reporters={name: partial(_output, name) for name in self.outputs})
        self.datacollector.collect(self)

    # -- opening --------------------------------------------------------------------------------------------------------------------

    def _open_venue(self) -> None:
        block, world = self.world.venues[0], self.world
        depth = world.spread(block.market_makers.depth)
        prices = np.exp(self.news.log_value)
        if world.news.type == "replay":
            block = block.model_copy(update={"market": block.market.model_copy(update={"pass_through": 0.0})})
        market = Market(block.market, prices, depth, self.news.volatility)
        self.venue = Venue(block.name, block.clearinghouse, block.market_makers, block.liquidators, market, self.events)
        ledger = self.venue.ledger
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, block.clearinghouse.fund)
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, block.clearinghouse.capital)
        self._own = np.concatenate(
            (by_rank(block.market_makers.capital, self.venue.makers.size), by_rank(block.liquidators.capital, self.venue.liquidators.size))
        )
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, np.concatenate((self.venue.makers, self.venue.liquidators)), self._own)

    def _open_credit(self) -> None:
        world = self.world
        rng = self._streams.generator("network")
        self.credit = Credit.opened(world.lenders, world.network, self.venue, self._own, rng, (world.recovery, world.interbank_recovery))
        self.venue.maker_capital = self.venue.ledger.equity(self.venue.makers)

    def _open_positions(self) -> None:
        """Traders open with positions, at the index and without fees: longs and shorts against each other, the rest against makers.

        The heavier side is cut until the makers, in proportion to their capital, need to take no more than their opening capital over
        all markets.
        """
        venue, ledger = self.venue, self.venue.ledger
        orders, index = self.population.opening(), self.venue.market.index
        buys, sells = np.maximum(orders.contracts, 0.0), np.maximum(-orders.contracts, 0.0)
        room = venue.maker_capital.sum() * self.population.weights / index * 0.5
        lighter = np.minimum(buys.sum(axis=1), sells.sum(axis=1)) + room
        buys, sells = _cut(buys, lighter), _cut(sells, lighter)
        net = (buys - sells).sum(axis=1)
        capital = venue.maker_capital.sum()
        shares = venue.maker_capital / capital if capital > 0.0 else venue.maker_capital
        for market in range(len(self.names)):
            price = float(index[market])
            ledger.trade(market, orders.rows, (buys - sells)[market], price, venue.makers, -net[market] * shares, price)

    def _create_agents(self, first: int) -> None:
        """Handles for rows from `first` on."""
        venue = self.venue
        if first == 0:
            Clearinghouse(self, TREASURY)
            for node in range(self.credit.lenders):
                Lender(self, node)
            for row in venue.makers.tolist():
                MarketMaker(self, row)
            for row in venue.liquidators.tolist():
                Liquidator(self, row)
            first = venue.institutions
        for row in range(first, venue.ledger.rows):
            Trader(self, row)

    # -- the step -------------------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One step: open, walk, close."""
        path = self._begin()
        if not self.venue.insolvent:
            orders = self._decide()
            self._trade(orders)
        walk([Walk(self.venue, path)])
        if not self.venue.insolvent:
            self._fund()
            self._levy()
            self.venue.size_and_levy(self.hours_per_step)
            self.credit.serve(self.venue, self.hours_per_step)
        self._spread_defaults()
        if not self.venue.insolvent:
            self._come_and_go()
            self._distribute()
        self._record()

    # -- open -----------------------------------------------------------------------------------------------------------------------

    def _begin(self) -> Path:
        """News and shocks: the step's path."""
        self.events.step = self.tick + 1
        self.venue.begin_step(self._streams.generator("venue", self.tick))
        path = self.news.next(self.tick)
        self._value = self.news.log_value
        self._log_index = self.venue.market.log_index.copy()
        self.venue.depth_multiplier = np.ones(len(self.names))
        view = ShockView(self.hours, self.hours_per_step, len(self.names))
        for shock in self.shocks:
            effect, _ = shock.rule(view, None, None)
            self.venue.depth_multiplier = self.venue.depth_multiplier * effect.depth
            path = path.with_shock(effect.drift, effect.jump)
        return path

    def _decide(self) -> Orders:
        """Traders decide; institutions add what they want to get rid of."""
        venue, market = self.venue, self.venue.market
        daily = market.volatility * np.sqrt(24.0 / HOURS_PER_YEAR)
        misalignment = np.log(np.maximum(market.marks, 1e-300)) - self._value
        view = TraderView(
            misalignment, self._trend, self._funding_trend * (HOURS_PER_YEAR / self.hours_per_step), daily, np.empty((len(self.names), 0))
        )
        orders = self.population.decide(self.tick, self.hours_per_step, view)
        unwinding, quantity = self._unwind()
        venue.requote(venue.ledger)
        return Orders(np.concatenate((orders.rows, unwinding)), np.concatenate((orders.contracts, quantity), axis=1))

    def _unwind(self) -> tuple[Rows, Floats]:
        """Liquidators and the fund sell what they have taken over."""
        venue = self.venue
        rows = np.concatenate(([FUND], venue.liquidators)).astype(np.intp)
        rates = np.full(rows.size, venue.liquidator_parameters.unwind_rate)
        rates[0] = venue.parameters.route.unwind_rate
        position = venue.ledger.position[:, rows]
        small = venue.ledger.exposure[:, rows] * venue.ledger.marks[:, None] < 1000.0
        share = -np.expm1(-rates * self.hours_per_step)
        return rows, np.where(small, -position, -position * share)

    def _trade(self, orders: Orders) -> None:
        """The auction clears orders against the market makers; fees."""
        venue, ledger = self.venue, self.venue.ledger
        buys, sells = np.maximum(orders.contracts, 0.0), np.maximum(-orders.contracts, 0.0)
        cleared = venue.market.auction(buys.sum(axis=1), sells.sum(axis=1), self.hours_per_step)
        filled = buys * cleared.buys[:, None] - sells * cleared.sells[:, None]
        taken = np.zeros((len(self.names), venue.makers.size))
        for market in range(len(self.names)):
            rows = np.flatnonzero(filled[market])
            if rows.size:
                taken[market] = self._to_makers(market, cleared)
                price = float(cleared.price[market])
                ledger.trade(market, orders.rows[rows], filled[market, rows], price, venue.makers, taken[market], price)
        venue.tally.volume += np.abs(filled).sum(axis=1) * cleared.price
        self._charge(orders.rows, cleared.price @ np.abs(filled), cleared.price @ np.abs(taken))
        self.population.balance_spot(orders.rows)

    def _to_makers(self, market: int, cleared: Cleared) -> Floats:
        """Shape (K,): contracts each maker takes, in proportion to the depth it shows on that side."""
        quantity = float(cleared.makers[market])
        shown = self.venue.quotes.depth[0 if quantity > 0 else 1, market]
        total = float(shown.sum())
        shares: Floats = quantity * shown / total if total > 0.0 else np.zeros_like(shown)
        return shares

    def _charge(self, rows: Rows, ordered: Floats, made: Floats) -> None:
        """Trading fees, at most what an account has; the fund's share goes straight to it, rebates come out of exchange capital."""
        venue, ledger, fees = self.venue, self.venue.ledger, self.venue.parameters.fees
        paying = rows != FUND
        taker = np.where(paying, np.minimum(fees.taker * ordered, np.maximum(ledger.equity(rows), 0.0)), 0.0)
        maker = np.minimum(fees.maker * made, np.maximum(ledger.equity(venue.makers), 0.0))
        share = venue.levies.trading_fees
        for who, fee in ((rows, taker), (venue.makers, np.maximum(maker, 0.0))):
            if fee.any():
                ledger.transfer(Flow.TRADING_FEE, who, FUND, share * fee)
                ledger.transfer(Flow.TRADING_FEE, who, TREASURY, (1.0 - share) * fee)
        rebate = np.maximum(-maker, 0.0)
        owed = float(rebate.sum())
        if owed > 0.0:
            able = min(1.0, max(ledger.treasury, 0.0) / owed)
            ledger.transfer(Flow.TRADING_FEE, TREASURY, venue.makers, rebate * able)
            rebate = rebate * able
        venue.tally.fees += float(taker.sum() + np.maximum(maker, 0.0).sum() - rebate.sum())

    # -- close ----------------------------------------------------------------------------------------------------------------------

    def _fund(self) -> None:
        """Funding between longs and shorts; a share of what receivers get may go to the fund."""
        venue, ledger = self.venue, self.venue.ledger
        self.funding = venue.market.funding_rate(self.hours_per_step)
        due = (self.funding * ledger.marks) @ ledger.position
        venue.collect(Flow.FUNDING, due)
        share = venue.levies.funding
        if share > 0.0:
            received = np.maximum(-due, 0.0) * share
            received[FUND] = 0.0
            ledger.transfer(Flow.FUNDING_SHARE, slice(None), FUND, np.minimum(received, np.maximum(ledger.equity(), 0.0)))

    def _levy(self) -> None:
        """The open-interest levy, from every open position to the fund."""
        venue, ledger = self.venue, self.venue.ledger
        rate = venue.levies.open_interest * self.hours_per_step
        if rate > 0.0:
            due = (rate * ledger.marks) @ ledger.exposure
            due[FUND] = 0.0
            due[FUND] = -due.sum()
            venue.collect(Flow.OPEN_INTEREST_LEVY, due)

    def _spread_defaults(self) -> None:
        """Defaults spread through the network of loans and claims."""
        self.defaults = self.credit.clear(self.venue, self.tick + 1, self.events)

    def _come_and_go(self) -> None:
        """Entries, exits, deposits, withdrawals, runs."""
        before = self.venue.ledger.rows
        self.population.settle_cash(self.tick, self.hours_per_step)
        self._create_agents(before)

    def _distribute(self) -> None:
        """The exchange and the market makers pay out what they have earned beyond their opening capital."""
        venue, ledger = self.venue, self.venue.ledger
        excess = ledger.treasury - venue.parameters.capital
        if excess > 0.0:
            ledger.transfer(Flow.DISTRIBUTION, TREASURY, OUTSIDE, excess * venue.within_custody(excess))
        rows = self.credit.rows
        worth = ledger.equity(rows) - self.credit.debt()
        margin = venue.requirement(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks)
        free = ledger.equity(rows) - 2.0 * margin.initial
        paid = np.maximum(np.minimum(worth - self._own, free), 0.0) * (ledger.status[rows] == Status.ACTIVE)
        total = float(paid.sum())
        if total > 0.0:
            ledger.transfer(Flow.DISTRIBUTION, rows, OUTSIDE, paid * venue.within_custody(total))

    def _record(self) -> None:
        """Signals for the next step, the statement, the outputs, the laws."""
        market = self.venue.market
        moved = market.log_index - self._log_index
        self._trend += moved - (1.0 - np.exp(-self.hours_per_step / TREND_HOURS)) * self._trend
        self._funding_trend += (1.0 - np.exp(-self.hours_per_step / FUNDING_HOURS)) * (self.funding - self._funding_trend)
        fresh = moved**2 * (HOURS_PER_YEAR / self.hours_per_step)
        weight = 1.0 - float(np.exp(-self.hours_per_step / VOLATILITY_HOURS))
        market.volatility = np.sqrt((1.0 - weight) * market.volatility**2 + weight * fresh)
        self.tick += 1
        self.statement.add(self.venue.ledger.statement, self.venue.ledger.fund)
        self.observation = observe(self)
        self.datacollector.collect(self)
        if self.check_laws:
            self.assert_laws()

    # -- laws -----------------------------------------------------------------------------------------------------------------------

    def assert_laws(self) -> None:
        """Asserts the laws on the state as the last step left it.

        Raises:
            LawViolation: with the step, the law and the rows.
        """
        ledger, tally = self.venue.ledger, self.venue.tally
        ledger.check(self.tick)
        gross = float(np.abs(ledger.cash).sum()) + 1.0
        absorbed = sum(tally.absorbed.values())
        if abs(tally.deficits - absorbed) > 1e-9 * (gross + tally.deficits):
            raise LawViolation(self.tick, f"losses are conserved (deficits {tally.deficits:g} USD, absorbed {absorbed:g} USD)", [])
        off = self.statement.discrepancy()
        if abs(off) > 1e-9 * gross:
            raise LawViolation(self.tick, f"the fund reconciles (off by {off:g} USD)", [FUND])
        if ledger.custody < -1e-9 * gross:
            raise LawViolation(self.tick, f"withdrawals stay within custody ({ledger.custody:g} USD)", [OUTSIDE])
        if ledger.treasury < -1e-9 * gross:
            raise LawViolation(self.tick, "a layer never absorbs more than it holds", [TREASURY])

    # -- what others see ------------------------------------------------------------------------------------------------------------

    @property
    def hours(self) -> float:
        """Hours since the start."""
        return self.tick * self.hours_per_step

    @property
    def accounts(self) -> Accounts:
        """The venue's accounts, as participants see them."""
        return self.venue.ledger

    def behaviour(self, row: int) -> dict[str, Any]:
        """A trader's group, strategy and leverage."""
        group, at = self._member(row)
        return {"group": group.parameters.name, "strategy": group.rules[group.strategy[at]].name, "leverage": float(group.leverage[at])}

    def behave(self, row: int, name: str, value: Any) -> None:
        """Assigns a trader's strategy (one of its group's) or leverage."""
        group, at = self._member(row)
        if name == "leverage":
            group.leverage[at] = float(value)
            return
        known = [rule.name for rule in group.rules]
        if value not in known:
            raise ValueError(f"unknown strategy {value!r}: expected one of {', '.join(known)}")
        group.strategy[at] = known.index(value)

    def _member(self, row: int) -> tuple[Any, int]:
        for group in self.population.groups:
            at = int(np.searchsorted(group.rows, row))
            if at < group.rows.size and group.rows[at] == row:
                return group, at
        raise KeyError(row)

    def lender_sheet(self, node: int) -> tuple[float, float, int]:
        """A lender's cash, equity and wave of default."""
        return float(self.credit.cash[node]), float(self.credit.lender_equity()[node]), int(self.credit.wave[node])

    def series(self) -> pd.DataFrame:
        """One row a step, the opening first: every output, with its step."""
        frame: pd.DataFrame = self.datacollector.get_model_vars_dataframe()
        frame.insert(0, "step", np.arange(len(frame)))
        return frame.reset_index(drop=True)

    def statement_table(self) -> pd.DataFrame:
        """The fund's itemised flows: step, hours, flow, amount."""
        return self.statement.table(self.hours_per_step)

    def balance_sheets(self) -> pd.DataFrame:
        """One row an institution: what it has, owes and is worth, and whether and when it failed."""
        return balance_sheets(self)

    def exposures(self) -> "nx.DiGraph[str]":
        """Who owes whom: an edge from debtor to creditor with its amount in USD."""
        return exposures(self)


def _output(name: str, model: Ecosystem) -> float:
    """Reports one output of the last step."""
    return model.observation[name]


def _cut(side: Floats, most: Floats) -> Floats:
    """Orders of one side, (M, n), cut in proportion to at most `most`, (M,), contracts."""
    total = side.sum(axis=1)
    kept: Floats = side * np.where(total > most, most / np.where(total > 0.0, total, 1.0), 1.0)[:, None]
    return kept


def with_levers(scenario: Scenario, fund: float | None, leverage_cap: float | None, depth_scale: float | None) -> Scenario:
    """The scenario with levers applied to its first venue."""
    venue = scenario.venues[0]
    house, makers = venue.clearinghouse, venue.market_makers
    if fund is not None:
        house = house.model_copy(update={"fund": float(fund)})
    if leverage_cap is not None:
        margin = type(house.margin).model_validate({**house.margin.model_dump(), "leverage_cap": leverage_cap})
        house = house.model_copy(update={"margin": margin})
    if depth_scale is not None:
        makers = makers.model_copy(update={"depth": tuple(depth_scale * d for d in makers.depth)})
    if house is venue.clearinghouse and makers is venue.market_makers:
        return scenario
    changed = venue.model_copy(update={"clearinghouse": house, "market_makers": makers})
    return scenario.model_copy(update={"venues": (changed, *scenario.venues[1:])})
