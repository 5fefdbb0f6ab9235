"""The model: an exchange and those around it, and the order in which things happen."""

import copy
import math
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import mesa
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from agents.participants import Accounts, Clearinghouse, Lender, Liquidator, MarketMaker, Participant, Trader
from model.clearing import Walk, walk
from model.credit import Credit, Outcome
from model.currencies import balance_coins, settle_currencies
from model.deferred import settle_outstanding
from model.errors import LawViolation
from model.events import Events
from model.expiry import settle_expired
from model.failure import open_estate, pay_estate, waiting
from model.firms import Firms
from model.guarantee import Guarantee
from model.index import CommonIndex
from model.ledger import TREASURY, Flow
from model.levies import exchange_funding, levy_open_interest
from model.marketplace import Marketplace
from model.news import NewsSource
from model.observables import declared, observe
from model.path import Path
from model.payments import Payments
from model.population import Orders, Population
from model.randomness import SeedLike, Streams, seed_from
from model.scenario import Scenario
from model.sheets import balance_sheets, exposures
from model.shocks import PriceMove, Shock, ShockView, shock_rules
from model.sizing import size_and_levy
from model.statement import Statement
from model.venue import Venue

if TYPE_CHECKING:
    import networkx as nx

type Floats = NDArray[np.float64]


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
        self._streams = Streams(self.seed)
        self.news = NewsSource(self.world.news, self.world.assets, self._streams, self.hours_per_step)
        self.shocks: list[Shock] = [shock_rules.build(p) for p in self.world.shocks]
        self.places = [Marketplace(self.world, at, self.news, self._streams, record_events) for at in range(len(self.world.venues))]
        self._open_credit()
        shared = self.world.sharing.index if len(self.places) > 1 else 0.0
        self.index = CommonIndex([place.venue.market for place in self.places], shared) if shared else None
        if len(self.places) > 1 and self.world.sharing.funds == "pooled":
            guarantee = Guarantee([place.venue for place in self.places])
            for place in self.places:
                place.venue.guarantee = guarantee
        for place in self.places:
            place.populate()
        self._create_agents()
        for place in self.places:
            place.open()
        self.outputs = [output.name for output in declared(self.world)]
        self.observation: dict[str, float] = observe(self.places, self.tick)
        self.datacollector = mesa.DataCollector(model_reporters={name: partial(_output, name) for name in self.outputs})
        self.datacollector.collect(self)

    # -- opening --------------------------------------------------------------------------------------------------------------------

    def _open_credit(self) -> None:
        """Who lends to whom: lenders that all exchanges share, or as many for each exchange."""
        world = self.world
        costs, in_full = (world.recovery, world.interbank_recovery), not world.channels.credit_loss
        together = [self.places] if world.sharing.lenders else [[place] for place in self.places]
        for places in together:
            payments = Payments(world.payments, costs, self.hours_per_step, in_full=in_full)
            firms = Firms([place.venue for place in places], [place.own for place in places], world.sharing)
            rng = places[0].streams.generator("network")
            credit = Credit.opened(world.lenders, world.network, firms, rng, payments)
            for place in places:
                place.credit = credit

    @property
    def credits(self) -> list[Credit]:
        """One for each set of lenders."""
        return list({id(place.credit): place.credit for place in self.places}.values())

    def _create_agents(self) -> None:
        """Handles for everybody there is."""
        for at, place in enumerate(self.places):
            Clearinghouse(self, TREASURY, at)
            if place.lends:
                for node in range(place.credit.lenders):
                    Lender(self, node, at)
            for kind, rows, shared in (
                (MarketMaker, place.venue.makers, self.world.sharing.market_makers),
                (Liquidator, place.venue.liquidators, self.world.sharing.liquidators),
            ):
                everywhere = shared and len(self.places) > 1
                for row in rows.tolist() if not (everywhere and at) else []:
                    kind(self, row, at, shared=everywhere)
            self._greet(at, place.venue.institutions)

    def _greet(self, at: int, first: int) -> None:
        """Handles for an exchange's traders from row `first` on."""
        for row in range(first, self.places[at].venue.ledger.rows):
            Trader(self, row, at)

    # -- the step -------------------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One step: open, walk, close."""
        paths = self._begin()
        for place in self._trading():
            orders = self._decide(place)
            stops = place.venue.halts.orders_stop(self.hours, self.hours_per_step)
            self._trade(place, place.population.nothing() if stops else orders)
        self._walk(paths)
        for place in self._trading():
            settle_expired(place.venue)
        for place in self._trading():
            self._fund(place)
            settle_outstanding(place.venue, self.hours_per_step)
        for place in self._trading():
            self._restore(place)
            self._levy(place)
            self._share_option_income(place)
            settle_currencies(place.venue, place.venue.ledger, np.arange(place.venue.ledger.rows))
            balance_coins(place.venue)
            size_and_levy(place.venue, self.hours_per_step)
        for credit in self.credits:
            credit.serve(self.hours_per_step)
        self._bring_margin()
        self._open_estates()
        self._spread_defaults()
        self._pay_estates()
        for place in self._trading():
            self._come_and_go(place)
            self._distribute(place)
        self._record()

    def _trading(self) -> list[Marketplace]:
        """Where trading goes on."""
        return [place for place in self.places if place.venue.is_open()]

    # -- open -----------------------------------------------------------------------------------------------------------------------

    def _begin(self) -> list[Path]:
        """News and shocks: the step's path at each exchange."""
        path = self.news.next(self.tick)
        view = ShockView(self.hours, (self.tick + 1) * self.hours_per_step, len(self.assets))
        effects = [(getattr(shock.parameters, "venue", None), shock.rule(view, None, None)[0]) for shock in self.shocks]
        paths = []
        for place in self.places:
            here = [effect for where, effect in effects if where in (None, place.venue.name)]
            paths.append(place.begin(self.tick, self.hours, path, here))
        return paths

    def _decide(self, place: Marketplace) -> Orders:
        """Traders decide; institutions add what they want to get rid of."""
        return place.decide(self.tick, self.news.log_value)

    def _trade(self, place: Marketplace, orders: Orders) -> None:
        """The auction clears orders against the market makers; hedgers bring their spot into line."""
        place.trade(orders)

    def _walk(self, paths: list[Path]) -> None:
        """All exchanges walk their paths together; where they share an index, each follows what trading elsewhere does to it.

        Margin that was asked for at the last close is compared with what the walk took.
        """
        if self.index is not None:
            paths = self.index.paths(paths)
        moved = walk([Walk(place.venue, path) for place, path in zip(self.places, paths, strict=True)], self.world.sharing.index)
        if self.index is not None:
            self.index.walked(moved)
        for place in self.places:
            place.back_test.walked(place.venue)

    # -- close ----------------------------------------------------------------------------------------------------------------------

    def _fund(self, place: Marketplace) -> None:
        """Funding between longs and shorts."""
        exchange_funding(place.venue, self.hours_per_step)

    def _restore(self, place: Marketplace) -> None:
        """Clearing members pay in again what has been used of their contributions."""
        if place.venue.members is not None:
            place.venue.members.restore(place.venue, self.hours_per_step)

    def _levy(self, place: Marketplace) -> None:
        """The open-interest levy, from every open position to the fund."""
        levy_open_interest(place.venue, self.hours_per_step)

    def _share_option_income(self, place: Marketplace) -> None:
        """The option vault's step is done; when series have ended, part of what it has earned goes to the fund."""
        if place.venue.option_vault is not None:
            place.venue.option_vault.close(place.venue, self.tick + 1)

    def _bring_margin(self) -> None:
        """Firms bring free margin to those of their accounts that have little."""
        hours = self.world.sharing.margin_hours
        if len(self.places) > 1 and hours is not None:
            for credit in self.credits:
                self._note_brought(credit, credit.firms.balance(-math.expm1(-self.hours_per_step / hours)))

    def _note_brought(self, credit: Credit, usd: Floats) -> None:
        """Notes what firms have brought to each exchange on balance, (V,) USD."""
        for venue, brought in zip(credit.firms.venues, usd.tolist(), strict=True):
            venue.tally.brought += brought

    def _open_estates(self) -> None:
        """Exchanges that have failed are divided among their creditors."""
        for place in self.places:
            open_estate(place.venue)

    def _pay_estates(self) -> None:
        """Their estates pay what they owe, borrowers their lenders first; what other firms get they bring to where trading goes on."""
        for place in self.places:
            if waiting(place.venue) == 0.0:
                place.credit.redeem(place.venue)
                if len(self.places) > 1 and self.world.sharing.margin_hours is not None:
                    self._note_brought(place.credit, place.credit.firms.carry(place.venue))
                pay_estate(place.venue)

    def _spread_defaults(self) -> None:
        """Defaults spread through the networks of loans and claims."""
        for place in self.places:
            place.defaults = Outcome()
            if place.lends:
                place.defaults = place.credit.clear(self.tick + 1, place.events)

    def _come_and_go(self, place: Marketplace) -> None:
        """Entries, exits, deposits, withdrawals, runs."""
        before = place.venue.ledger.rows
        place.population.settle_cash(self.tick, self.hours_per_step)
        self._greet(self.places.index(place), before)

    def _distribute(self, place: Marketplace) -> None:
        """The exchange pays out what it has earned beyond its opening capital."""
        place.venue.distribute()

    def _record(self) -> None:
        """Signals for the next step, the statement, the outputs, the laws."""
        for place in self.places:
            place.learn()
        self.tick += 1
        self.observation = observe(self.places, self.tick)
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
        for place in other.places:
            place.streams.reseed(seed)
        other.seed = seed
        return other

    # -- laws -----------------------------------------------------------------------------------------------------------------------

    def assert_laws(self) -> None:
        """Asserts the laws on the state as the last step left it.

        Raises:
            LawViolation: with the step, the law and the rows.
        """
        for place in self.places:
            place.assert_laws(self.tick)
        gross = sum(float(np.abs(place.venue.ledger.cash).sum()) for place in self.places)
        brought = sum(place.venue.tally.brought for place in self.places)
        if abs(brought) > 1e-9 * gross:
            raise LawViolation(self.tick, f"what firms take from one exchange they bring to others (off by {brought:g} USD)", [])
        called = sum(place.venue.ledger.statement.get(Flow.GUARANTEE, 0.0) for place in self.places)
        if abs(called) > 1e-9 * gross:
            raise LawViolation(self.tick, f"what one fund is paid for its losses another pays (off by {called:g} USD)", [])

    # -- what others see ------------------------------------------------------------------------------------------------------------

    @property
    def hours(self) -> float:
        """Hours since the start."""
        return self.tick * self.hours_per_step

    @property
    def venue(self) -> Venue:
        """The exchange; of several, the first."""
        return self.places[0].venue

    @property
    def population(self) -> Population:
        """Its traders."""
        return self.places[0].population

    @property
    def credit(self) -> Credit:
        """Who lends to its market makers and liquidators."""
        return self.places[0].credit

    @property
    def defaults(self) -> Outcome:
        """What became of these loans in the last step."""
        return self.places[0].defaults

    @property
    def events(self) -> Events:
        """What has happened there."""
        return self.places[0].events

    @property
    def statement(self) -> Statement:
        """The fund's itemised flows."""
        return self.places[0].statement

    def restate(self) -> None:
        """Begins the funds' statements anew, from where they are."""
        for place in self.places:
            place.statement = place.statement.continued()

    def holdings(self, holder: Participant) -> list[tuple[Accounts, int, tuple[str, ...]]]:
        """Where a participant has accounts: the exchange's accounts, the row, names of markets."""
        places = self.places if holder.shared else [self.places[holder.place]]
        return [(place.venue.ledger, self._row(place, holder), place.names) for place in places]

    def _row(self, place: Marketplace, holder: Participant) -> int:
        """The row of a participant at an exchange: that of a firm has the same place among those of its kind everywhere."""
        if not holder.shared:
            return holder.row
        home, here = self.places[holder.place].venue, place.venue
        if isinstance(holder, MarketMaker):
            return int(here.makers[holder.row - int(home.makers[0])])
        return int(here.liquidators[holder.row - int(home.liquidators[0])])

    def behaviour(self, place: int, row: int) -> dict[str, Any]:
        """A trader's group, strategy and leverage."""
        group, at = self._member(place, row)
        return {"group": group.parameters.name, "strategy": group.rules[group.strategy[at]].name, "leverage": float(group.leverage[at])}

    def behave(self, place: int, row: int, name: str, value: Any) -> None:
        """Assigns a trader's strategy (one of its group's) or leverage."""
        group, at = self._member(place, row)
        if name == "leverage":
            group.leverage[at] = float(value)
            return
        known = [rule.name for rule in group.rules]
        if value not in known:
            raise ValueError(f"unknown strategy {value!r}: expected one of {', '.join(known)}")
        group.strategy[at] = known.index(value)

    def _member(self, place: int, row: int) -> tuple[Any, int]:
        for group in self.places[place].population.groups:
            at = int(np.searchsorted(group.rows, row))
            if at < group.rows.size and group.rows[at] == row:
                return group, at
        raise KeyError(row)

    def lender_sheet(self, network: int, node: int) -> tuple[float, float, int]:
        """A lender's cash, equity and wave of default; `network` is the first exchange that its set of lenders lends at."""
        credit = self.places[network].credit
        return float(credit.cash[node]), float(credit.lender_equity()[node]), int(credit.wave[node])

    def series(self) -> pd.DataFrame:
        """One row a step, the opening first: every output, with its step."""
        frame: pd.DataFrame = self.datacollector.get_model_vars_dataframe()
        frame.insert(0, "step", np.arange(len(frame)))
        return frame.reset_index(drop=True)

    def statement_table(self) -> pd.DataFrame:
        """The funds' itemised flows: step, hours, pool, flow, amount; of several exchanges also which: venue."""
        tables = [place.statement.table(self.hours_per_step) for place in self.places]
        if len(tables) == 1:
            return tables[0]
        for place, table in zip(self.places, tables, strict=True):
            table.insert(2, "venue", place.venue.name)
        return pd.concat(tables, ignore_index=True)

    def event_table(self) -> pd.DataFrame:
        """What has happened: one row an event, step by step, exchange by exchange."""
        tables = [pd.DataFrame(place.events.columns()) for place in self.places]
        return tables[0] if len(tables) == 1 else pd.concat(tables, ignore_index=True).sort_values("step", kind="stable", ignore_index=True)

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
