"""The model: an exchange and those around it, and the order in which things happen."""

import copy
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import mesa
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agents.clearinghouse.pools import Pools
from agents.clock import HOURS_PER_YEAR
from agents.participants import Accounts, Clearinghouse, Lender, Liquidator, MarketMaker, Trader
from agents.trader import TraderView
from model.clearing import Walk, walk
from model.credit import Credit, Outcome, by_rank
from model.deferred import settle_outstanding
from model.errors import LawViolation
from model.events import Events
from model.expiry import settle_expired
from model.failure import open_estate, pay_estate, waiting
from model.instruments import Instruments
from model.ledger import FUND, OUTSIDE, TREASURY, Flow
from model.market import Market
from model.news import NewsSource
from model.observables import observables, observe
from model.path import Path
from model.payments import Payments
from model.population import Orders, Population
from model.randomness import SeedLike, Streams, seed_from
from model.recovery import Recovery
from model.scenario import Scenario
from model.sheets import balance_sheets, exposures
from model.shocks import PriceMove, Shock, ShockView, shock_rules
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
        self.assets = tuple(asset.name for asset in self.world.assets)
        self.names = self.world.markets
        options = {one.asset for one in self.world.venues[0].instruments if one.type in {"call", "put"}}
        self.quoted = tuple(asset for asset in self.assets if asset in options)
        pools = Pools.of(self.world.venues[0].clearinghouse.pools, self.names)
        house, closes = self.world.venues[0].clearinghouse, bool(self.world.channels.closed())
        acts, token = bool(house.adequacy), house.token is not None
        declared = observables(self.names, pools.names, acts=acts, quoted=self.quoted, token=token, closes=closes)
        self.outputs = [output.name for output in declared]
        self._streams = Streams(self.seed)
        self.news = NewsSource(self.world.news, self.world.assets, self._streams, self.hours_per_step)
        self.shocks: list[Shock] = [shock_rules.build(p) for p in self.world.shocks]
        self.events = Events(record_events, self.names)
        self._open_venue()
        self._open_credit()
        self.venue.announce_levies(self.hours_per_step)  # traders look at what a position costs before they open it
        self.population = Population(
            self.world.traders, self.venue, self._streams, self.assets, self.world.spread(self.world.traders.markets)
        )
        self.defaults = Outcome()
        self._trend: Floats = np.zeros(len(self.assets))
        self._funding_trend: Floats = np.zeros(len(self.assets))
        self._value: Floats = self.news.log_value.copy()
        self._log_index: Floats = self.venue.market.log_index.copy()
        self._create_agents(0)
        self.venue.ledger.begin_step()
        if self.venue.members is not None:
            self.venue.members.join(self.venue)
        opening = self.population.opening()
        self.venue.open_positions(opening.rows, opening.contracts, self.population.weights)
        self.venue.divide_fund()
        self.venue.balance_coins()
        self.venue.requote(self.venue.ledger)
        self.venue.size_and_levy(self.hours_per_step)
        self.venue.value.open(self.venue)
        self.venue.ledger.begin_step()
        self.statement = Statement(self.venue.pools.names, self.venue.ledger.pools)
        self.fund_recovery, self.depth_recovery = Recovery(self.venue.ledger.fund), Recovery(float(self.venue.market.depth.sum()))
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
        volatility, listed = self.news.volatility, None
        if block.instruments:
            listed = Instruments(block.contracts(self.assets), self.assets, block.surface)
            listed.list_series(~np.isinf(listed.settlement_hours) & (np.arange(len(self.names)) >= len(self.assets)), 0.0, prices)
            prices, volatility = prices[listed.asset], volatility[listed.asset]
            depth = depth[listed.asset] * np.array([one.depth if one.type != "perpetual" else 1.0 for one in listed.terms])
        market = Market(block.market, prices, depth, volatility, listed)
        self.venue = Venue(
            block.name, block.clearinghouse, block.market_makers, block.liquidators, market, self.events, self.names, world.channels
        )
        ledger = self.venue.ledger
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, block.clearinghouse.fund)
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, block.clearinghouse.capital)
        self._own = np.concatenate(
            (by_rank(block.market_makers.capital, self.venue.makers.size), by_rank(block.liquidators.capital, self.venue.liquidators.size))
        )
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, np.concatenate((self.venue.makers, self.venue.liquidators)), self._own)
        if block.clearinghouse.vault is not None:
            ledger.transfer(Flow.DEPOSIT, OUTSIDE, self.venue.vault, np.array([block.clearinghouse.vault.capital]))

    def _open_credit(self) -> None:
        world = self.world
        rng = self._streams.generator("network")
        costs, in_full = (world.recovery, world.interbank_recovery), not world.channels.credit_loss
        payments = Payments(world.payments, costs, self.hours_per_step, in_full=in_full)
        self.credit = Credit.opened(world.lenders, world.network, self.venue, self._own, rng, payments)
        self.venue.maker_capital = self.venue.ledger.equity(self.venue.makers)

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
            self._trade(orders if not self.venue.halts.orders_stop(self.hours, self.hours_per_step) else self.population.nothing())
        walk([Walk(self.venue, path)])
        if not self.venue.insolvent:
            settle_expired(self.venue)
        if not self.venue.insolvent:
            self._fund()
            settle_outstanding(self.venue, self.hours_per_step)
        if not self.venue.insolvent:
            self._restore()
            self._levy()
            self.venue.balance_coins()
            self.venue.size_and_levy(self.hours_per_step)
            self.credit.serve(self.venue, self.hours_per_step)
        self._open_estate()
        self._spread_defaults()
        self._pay_estate()
        if not self.venue.insolvent:
            self._come_and_go()
            self._distribute()
        self._record()

    # -- open -----------------------------------------------------------------------------------------------------------------------

    def _begin(self) -> Path:
        """News and shocks: the step's path."""
        self.events.step = self.tick + 1
        self.venue.begin_step(self._streams.generator("venue", self.tick), self.hours)
        path = self.news.next(self.tick)
        self._value = self.news.log_value
        self._log_index = self.venue.market.log_index.copy()
        venue, count, asset = self.venue, len(self.assets), self.venue.market.asset
        venue.depth_multiplier, venue.market.mispricing = np.ones(len(self.names)), np.zeros(len(self.names))
        venue.halts.windows = []
        view = ShockView(self.hours, (self.tick + 1) * self.hours_per_step, count)
        for shock in self.shocks:
            effect, _ = shock.rule(view, None, None)
            venue.depth_multiplier = venue.depth_multiplier * np.broadcast_to(effect.depth, count)[asset]
            venue.market.mispricing = venue.market.mispricing + np.broadcast_to(effect.mispricing, count)[asset]
            venue.market.level = venue.market.level * effect.level
            venue.halts.windows.extend(effect.outages)
            path = path.with_shock(effect.drift, effect.jump)
        return path if venue.market.listed is None else Path(path.dlog[asset], path.hours)

    def _decide(self) -> Orders:
        """Traders decide; institutions add what they want to get rid of."""
        venue, market, first = self.venue, self.venue.market, slice(len(self.assets))
        daily = market.volatility[first] * np.sqrt(24.0 / HOURS_PER_YEAR)
        misalignment = np.log(np.maximum(market.marks[first], 1e-300)) - market.mispricing[first] - self._value
        funding = self._funding_trend * (HOURS_PER_YEAR / self.hours_per_step)
        contracts = venue.traded(funding)
        funding = funding if contracts is None else contracts.best_carry(len(self.assets))
        view = TraderView(misalignment, self._trend, funding, daily, np.empty((len(self.assets), 0)), contracts)
        orders = self.population.decide(self.tick, self.hours_per_step, view)
        unwinding, quantity = venue.unwinding(self.hours_per_step)
        venue.requote(venue.ledger)
        rows = np.concatenate((orders.rows, unwinding))
        return Orders(rows, venue.permitted(rows, np.concatenate((orders.contracts, quantity), axis=1)))

    def _trade(self, orders: Orders) -> None:
        """The auction clears orders against the market makers; hedgers bring their spot into line."""
        self.venue.trade(orders.rows, orders.contracts, self.hours_per_step)
        self.population.balance_spot(orders.rows, self.hours_per_step)

    # -- close ----------------------------------------------------------------------------------------------------------------------

    def _fund(self) -> None:
        """Funding between longs and shorts."""
        self.venue.exchange_funding(self.hours_per_step)

    def _restore(self) -> None:
        """Clearing members pay in again what has been used of their contributions."""
        if self.venue.members is not None:
            self.venue.members.restore(self.venue, self.hours_per_step)

    def _levy(self) -> None:
        """The open-interest levy, from every open position to the fund."""
        self.venue.levy_open_interest(self.hours_per_step)

    def _open_estate(self) -> None:
        """An exchange that has failed is divided among its creditors."""
        open_estate(self.venue)

    def _pay_estate(self) -> None:
        """Its estate pays what it owes, borrowers their lenders first."""
        if waiting(self.venue) == 0.0:
            self.credit.redeem(self.venue)
            pay_estate(self.venue)

    def _spread_defaults(self) -> None:
        """Defaults spread through the network of loans and claims."""
        self.defaults = self.credit.clear(self.venue, self.tick + 1, self.events)

    def _come_and_go(self) -> None:
        """Entries, exits, deposits, withdrawals, runs."""
        before = self.venue.ledger.rows
        self.population.settle_cash(self.tick, self.hours_per_step)
        self._create_agents(before)

    def _distribute(self) -> None:
        """The exchange pays out what it has earned beyond its opening capital."""
        self.venue.distribute()

    def _record(self) -> None:
        """Signals for the next step, the statement, the outputs, the laws."""
        market = self.venue.market
        moved = market.log_index - self._log_index
        first = slice(len(self.assets))
        self._trend += moved[first] - (1.0 - np.exp(-self.hours_per_step / TREND_HOURS)) * self._trend
        self._funding_trend += (1.0 - np.exp(-self.hours_per_step / FUNDING_HOURS)) * (self.venue.funding[first] - self._funding_trend)
        fresh = moved**2 * (HOURS_PER_YEAR / self.hours_per_step)
        weight = 1.0 - float(np.exp(-self.hours_per_step / VOLATILITY_HOURS))
        market.volatility = np.sqrt((1.0 - weight) * market.volatility**2 + weight * fresh)
        self.venue.learn(moved, self.hours_per_step)
        market.learn(self.hours_per_step, self._funding_trend * (HOURS_PER_YEAR / self.hours_per_step))
        self.tick += 1
        self.statement.add(self.venue.ledger.statements, self.venue.ledger.pools)
        self.fund_recovery.observe(self.venue.ledger.fund, self.hours_per_step)
        self.depth_recovery.observe(float(market.depth.sum()), self.hours_per_step)
        self.observation = observe(self)
        self.datacollector.collect(self)
        if self.check_laws:
            self.assert_laws()

    # -- from outside ---------------------------------------------------------------------------------------------------------------

    def shock(self, moves: Sequence[float]) -> None:
        """Indices jump at the start of the next step; the jump joins the scenario, so that running `world` gives the same again.

        Args:
            moves: simple return of each market; the last serves any further market.

        Raises:
            pydantic.ValidationError: no move, or one at which a price would fall to zero or below.
        """
        jump = PriceMove.Parameters(at=self.hours, size=tuple(moves))
        self.world = self.world.model_copy(update={"shocks": (*self.world.shocks, jump)})
        self.shocks = [*self.shocks, PriceMove(jump)]

    def branched(self, seed: int) -> "Ecosystem":
        """A copy of the world as it stands, whose later draws are those of another seed: what else might have come of it."""
        other = copy.deepcopy(self)
        other._streams.reseed(seed)  # noqa: SLF001 - its own kind
        other.seed = seed
        return other

    # -- laws -----------------------------------------------------------------------------------------------------------------------

    def assert_laws(self) -> None:
        """Asserts the laws on the state as the last step left it.

        Raises:
            LawViolation: with the step, the law and the rows.
        """
        ledger, tally = self.venue.ledger, self.venue.tally
        ledger.check(self.tick, outstanding=self.venue.outstanding)
        gross = float(np.abs(ledger.cash).sum()) + 1.0
        absorbed = sum(tally.absorbed.values())
        later = self.venue.outstanding - self.venue.brought_forward
        if abs(tally.deficits - absorbed - later) > 1e-9 * (gross + tally.deficits):
            raise LawViolation(
                self.tick, f"losses are conserved (deficits {tally.deficits:g} USD, absorbed {absorbed:g}, more outstanding {later:g})", []
            )
        for row, name, off in zip(ledger.funds.tolist(), self.venue.pools.names, self.statement.discrepancies(), strict=True):
            if abs(off) > 1e-9 * gross:
                raise LawViolation(self.tick, f"the fund reconciles (pool {name} off by {off:g} USD)", [row])
        token = self.venue.value.token
        if token is not None and min(token.holdings(ledger.tokens)) < -1e-9 * token.supply:
            raise LawViolation(self.tick, "tokens are closed: nobody holds fewer than none", [])
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
