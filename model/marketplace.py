"""A marketplace: one exchange of the ecosystem, those who trade there, and what they have learned of its markets."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from agents.clock import HOURS_PER_YEAR
from agents.trader import TraderView
from model import quoting, trading
from model.back_test import BackTest
from model.credit import Credit, Outcome, by_rank
from model.currencies import balance_coins
from model.errors import LawViolation
from model.events import Events
from model.instruments import Instruments
from model.ledger import FUND, OUTSIDE, TREASURY, Flow
from model.market import Market
from model.news import NewsSource
from model.observables import of_venue
from model.path import Path
from model.population import Orders, Population
from model.randomness import Streams
from model.recovery import Recovery
from model.scenario import Scenario
from model.shocks import Effect
from model.sizing import announce_levies, divide_fund, size_and_levy
from model.statement import Statement
from model.venue import DUST, Venue

type Floats = NDArray[np.float64]

TREND_HOURS = 24.0
"""Chartists look at a day."""
FUNDING_HOURS = 72.0
"""Basis traders look at funding over three days."""
VOLATILITY_HOURS = 168.0
"""The exchange's volatility estimate remembers a week."""


class Marketplace:
    """One exchange with its traders.

    Args:
        world: the scenario; at: which of its exchanges this is.
        news: where indices start.
        streams: of the run.
        record_events: keeps what happens.

    Attributes:
        venue: the exchange; population: its traders; streams: what they draw from; events: what happens here.
        names: of its markets; assets: of the underlyings; quoted: of those among them on which it lists options; settled: in
            which it settles inverse contracts.
        outputs: names of what is observed of it.
        own: shape (b,), USD, what its market makers and liquidators brought of their own; credit: who lends to them, and, in `defaults`,
            what came of that in the step.
        statement: of the fund; fund_recovery, depth_recovery: how long fund and depth have been down; back_test: of margin.
    """

    credit: Credit
    population: Population
    statement: Statement
    fund_recovery: Recovery
    depth_recovery: Recovery
    back_test: BackTest

    def __init__(self, world: Scenario, at: int, news: NewsSource, streams: Streams, record_events: bool) -> None:
        block = self.block = world.venues[at]
        self.world, self.streams = world, streams.within((block.name if at else "") if block.stream is None else block.stream)
        self.hours_per_step = world.hours_per_step
        self.assets = tuple(asset.name for asset in world.assets)
        self.names = world.markets_of(at)
        self.quoted = world.quoted_in(at)
        self.settled = world.settled_in(at)
        self.outputs = [output.name for output in of_venue(world, at)]
        self.events = Events(record_events, self.names)
        self.venue = self._opened(news)
        self.own: Floats = self._endow()
        self.defaults = Outcome()
        self._trend: Floats = np.zeros(len(self.assets))
        self._funding_trend: Floats = np.zeros(len(self.names))
        self._log_index: Floats = self.venue.market.log_index.copy()

    # -- opening --------------------------------------------------------------------------------------------------------------------

    def _opened(self, news: NewsSource) -> Venue:
        """The exchange before anybody has an account."""
        block, world = self.block, self.world
        depth = world.spread(block.market_makers.depth)
        prices = np.exp(news.log_value)
        if world.news.type == "replay":
            block = block.model_copy(update={"market": block.market.model_copy(update={"pass_through": 0.0})})
        volatility, listed = news.volatility, None
        if block.instruments:
            listed = Instruments(block.contracts(self.assets), self.assets, block.surface)
            listed.list_series(~np.isinf(listed.settlement_hours) & (np.arange(len(self.names)) >= len(self.assets)), 0.0, prices)
            prices, volatility = prices[listed.asset], volatility[listed.asset]
            depth = depth[listed.asset] * np.array([one.depth if one.type != "perpetual" else 1.0 for one in listed.terms])
        market = Market(block.market, prices, depth, volatility, listed)
        return Venue(
            block.name, block.clearinghouse, block.market_makers, block.liquidators, market, self.events, self.names, world.channels
        )

    def _endow(self) -> Floats:
        """The exchange, its market makers, liquidators and vaults pay in what they have of their own; that of the first two, (b,), USD."""
        block, venue, ledger = self.block, self.venue, self.venue.ledger
        venue.open_option_vault(block.option_vault)
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, block.clearinghouse.fund)
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, block.clearinghouse.capital)
        own = np.concatenate(
            (by_rank(block.market_makers.capital, venue.makers.size), by_rank(block.liquidators.capital, venue.liquidators.size))
        )
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, np.concatenate((venue.makers, venue.liquidators)), own)
        if block.clearinghouse.vault is not None:
            ledger.transfer(Flow.DEPOSIT, OUTSIDE, venue.vault, np.array([block.clearinghouse.vault.capital]))
        return own

    def populate(self) -> None:
        """Traders arrive, now that loans are paid out."""
        venue, traders = self.venue, self.block.traders or self.world.traders
        venue.maker_capital = venue.ledger.equity(venue.makers)
        announce_levies(venue, self.hours_per_step)  # traders look at what a position costs before they open it
        self.population = Population(traders, venue, self.streams, self.assets, self.world.spread(traders.markets))

    def open(self) -> None:
        """Traders take their opening positions, and the exchange decides on the first step's levies."""
        venue, ledger, hours = self.venue, self.venue.ledger, self.hours_per_step
        ledger.begin_step()
        if venue.members is not None:
            venue.members.join(venue)
        opening = self.population.opening()
        trading.open_positions(venue, opening.rows, opening.contracts, self.population.weights)
        divide_fund(venue)
        balance_coins(venue)
        quoting.requote(venue, ledger)
        size_and_levy(venue, hours)
        venue.value.open(venue)
        ledger.begin_step()
        self.statement = Statement(venue.pools.names, ledger.pools)
        self.fund_recovery, self.depth_recovery = Recovery(ledger.fund), Recovery(float(venue.market.depth.sum()))
        self.back_test = BackTest(venue)

    @property
    def lends(self) -> bool:
        """Whether its lenders, which other exchanges may share, are reported with it: they are with the first of these exchanges."""
        return self.credit.firms.venues[0] is self.venue

    # -- the step -------------------------------------------------------------------------------------------------------------------

    def begin(self, step: int, hours: float, path: Path, effects: Sequence[Effect]) -> Path:
        """Opens step `step`, `hours` after the start: what shocks do to the exchange, and the path of its markets."""
        venue, count, asset = self.venue, len(self.assets), self.venue.market.asset
        self.events.step = step + 1
        venue.begin_step(self.streams.generator("venue", step), hours)
        self._log_index = venue.market.log_index.copy()
        venue.depth_multiplier, venue.market.mispricing = np.ones(len(self.names)), np.zeros(len(self.names))
        venue.halts.windows = []
        for effect in effects:
            venue.depth_multiplier = venue.depth_multiplier * np.broadcast_to(effect.depth, count)[asset]
            venue.market.mispricing = venue.market.mispricing + np.broadcast_to(effect.mispricing, count)[asset]
            venue.market.level = venue.market.level * effect.level
            venue.halts.windows.extend(effect.outages)
            path = path.with_shock(effect.drift, effect.jump)
        return path if venue.market.listed is None else Path(path.dlog[asset], path.hours)

    def decide(self, step: int, value: Floats) -> Orders:
        """Traders decide, knowing the fundamental `value`, (A,), log; institutions add what they want to get rid of."""
        venue, market, first = self.venue, self.venue.market, slice(len(self.assets))
        daily = market.volatility[first] * np.sqrt(24.0 / HOURS_PER_YEAR)
        misalignment = np.log(np.maximum(market.marks[first], 1e-300)) - market.mispricing[first] - value
        funding = self._funding_trend * (HOURS_PER_YEAR / self.hours_per_step)
        contracts = trading.known_contracts(venue, funding)
        funding = funding[first] if contracts is None else contracts.best_carry(len(self.assets))
        view = TraderView(misalignment, self._trend, funding, daily, np.empty((len(self.assets), 0)), contracts)
        orders = self.population.decide(step, self.hours_per_step, view)
        unwinding, quantity = quoting.unwinding(venue, self.hours_per_step)
        if venue.option_vault is not None:
            sold = venue.option_vault.orders(venue, contracts, self.hours_per_step)
            unwinding, quantity = np.append(unwinding, venue.option_vault.row), np.concatenate((quantity, sold), axis=1)
        quoting.requote(venue, venue.ledger)
        rows = np.concatenate((orders.rows, unwinding))
        return Orders(rows, trading.permitted(venue, rows, np.concatenate((orders.contracts, quantity), axis=1)))

    def trade(self, orders: Orders) -> None:
        """The auction clears orders against the market makers; hedgers bring their spot into line."""
        trading.trade(self.venue, orders.rows, orders.contracts, self.hours_per_step)
        self.population.balance_spot(orders.rows, self.hours_per_step)

    def learn(self) -> None:
        """Signals for the next step, the statement."""
        market, hours = self.venue.market, self.hours_per_step
        moved = market.log_index - self._log_index
        first = slice(len(self.assets))
        self._trend += moved[first] - (1.0 - np.exp(-hours / TREND_HOURS)) * self._trend
        self._funding_trend += (1.0 - np.exp(-hours / FUNDING_HOURS)) * (self.venue.funding - self._funding_trend)
        fresh = moved**2 * (HOURS_PER_YEAR / hours)
        weight = 1.0 - float(np.exp(-hours / VOLATILITY_HOURS))
        market.volatility = np.sqrt((1.0 - weight) * market.volatility**2 + weight * fresh)
        self.venue.learn(moved, hours)
        market.learn(hours, self._funding_trend[first] * (HOURS_PER_YEAR / hours))
        self.statement.add(self.venue.ledger.statements, self.venue.ledger.pools)
        self.fund_recovery.observe(self.venue.ledger.fund, hours)
        self.depth_recovery.observe(float(market.depth.sum()), hours)
        self.back_test.close(self.venue)

    # -- laws -----------------------------------------------------------------------------------------------------------------------

    def assert_laws(self, step: int) -> None:
        """Asserts the laws on the state as the last step left it.

        Raises:
            LawViolation: with the step, the law and the rows.
        """
        ledger, tally = self.venue.ledger, self.venue.tally
        ledger.check(step, outstanding=self.venue.outstanding)
        gross = float(np.abs(ledger.cash).sum() + ledger.rates[: ledger.currencies] @ np.abs(ledger.coins).sum(axis=1)) + 1.0
        absorbed = sum(tally.absorbed.values())
        later = self.venue.outstanding - self.venue.brought_forward
        if abs(tally.deficits - absorbed - later) > 1e-9 * (gross + tally.deficits):
            raise LawViolation(
                step, f"losses are conserved (deficits {tally.deficits:g} USD, absorbed {absorbed:g}, more outstanding {later:g})", []
            )
        pools = zip(ledger.funds.tolist(), self.venue.pools.names, ledger.pools, ledger.statements, strict=True)
        for (row, name, held, flows), off in zip(pools, self.statement.discrepancies(), strict=True):
            # Coins and tokens are no cash: what they are worth, and what that has changed by, is rounded too.
            if abs(off) > 1e-9 * (gross + abs(held) + sum(map(abs, flows.values()))):
                raise LawViolation(step, f"the fund reconciles (pool {name} off by {off:g} USD)", [row])
        token = self.venue.value.token
        if token is not None and min(token.holdings(ledger.tokens)) < -1e-9 * token.supply:
            raise LawViolation(step, "tokens are closed: nobody holds fewer than none", [])
        # Where more of a coin, or more dollars, have left than came in, what it would cost to have them back moves with the coin's price.
        mismatch = float(ledger.rates[: ledger.currencies] @ np.abs(ledger.coins[:, OUTSIDE]))
        if ledger.custody < -1e-9 * gross - mismatch - DUST:
            raise LawViolation(step, f"withdrawals stay within custody ({ledger.custody:g} USD)", [OUTSIDE])
        if ledger.treasury < -1e-9 * gross:
            raise LawViolation(step, "a layer never absorbs more than it holds", [TREASURY])
