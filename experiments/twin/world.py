"""The twin with traders that decide for themselves: the whole step as one plain Mesa agent a trader, for the benchmark.

The rules are the array engine's; draws are scalar, one trader at a time; the outputs that need a pass over the agents are collected as
Mesa's model reporters. Lenders, and what institutions pay out, are left out: they cost next to nothing either way. With `screen`, two
shortcuts that a careful author would take are taken: only accounts that could breach within the step's range of prices are settled and
checked in every increment, and everybody else is settled once at its end. Without it every account is, in every increment.
"""

import copy
import math
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import mesa

from agents.clock import HOURS_PER_YEAR
from experiments.twin import coins
from experiments.twin.accounts import CENT, Account, Balance, Liquidator, MarketMaker
from experiments.twin.accrual import open_interest, set_levies
from experiments.twin.exchange import Exchange
from experiments.twin.inputs import Inputs, Opening
from experiments.twin.person import Character, Person, Signals

if TYPE_CHECKING:
    from agents.trader import TraderGroup
    from model.scenario import Scenario

type Increments = list[tuple[list[float], float]]

TREND_HOURS, FUNDING_HOURS, VOLATILITY_HOURS = 24.0, 72.0, 168.0
SLACK = 0.002
"""Marks may end up this far beyond the path that they take if nobody is liquidated."""
CHEAPEST = 0.1
"""Part of the reference that costs count as at least."""
WORTHLESS = 1e-6
"""Nobody trades a market below this part of its opening price."""


class World(Exchange):
    """An exchange and its traders, stepping by themselves.

    Args:
        scenario, opening, rng: see `Exchange`.
        characters: of the traders, by number.
        news: increments of the coming step.
        screen: whether accounts out of danger are left out of the walk.
    """

    kinds: ClassVar[dict[str, type[Account]]] = {"market_maker": MarketMaker, "liquidator": Liquidator, "trader": Person}
    traders: list[Person]  # type: ignore[assignment]

    def __init__(
        self,
        scenario: "Scenario",
        opening: Opening,
        characters: dict[int, Character],
        news: Callable[[], Increments],
        *,
        screen: bool = True,
        rng: Any = None,
    ) -> None:
        super().__init__(scenario, opening, rng=rng)
        if self.surfaces:
            raise NotImplementedError("the twin's own traders trade no options")
        if any(group.isolated for group in scenario.traders.groups):
            raise NotImplementedError("the twin's own traders have cross margin")
        self.screen = screen
        self.news, self.hours = news, scenario.hours_per_step
        for person in self.traders:
            person.character = characters[person.number]
        count = len(self.markets)
        weights = [scenario.traders.markets[min(at, len(scenario.traders.markets) - 1)] for at in range(count)]
        self.weights = [weight / sum(weights) for weight in weights]
        self.floors = [market.index * WORTHLESS for market in self.markets]
        self.value = [market.log_index for market in self.markets]
        self.trend, self.funding_trend = [0.0] * count, [0.0] * count
        self.leavers: set[Person] = set()
        self.fear = 0.0
        self.acting: list[Person] = []
        self.low, self.high = list(self.marks), list(self.marks)
        self.levies = set_levies(self, open_interest(self))
        self.strategies: Counter[tuple[str, str]] = Counter(
            (person.character.group.name, person.parameters.type) for person in self.traders
        )
        self.collector = mesa.DataCollector(
            model_reporters={
                "open_interest": lambda world: [side * mark for side, mark in zip(world.sides(), world.marks, strict=True)],
                "trader_equity": lambda world: sum(person.cash for person in world.traders),
                "notional": lambda world: sum(person.notional for person in world.traders),
                "active_traders": lambda world: sum(person.status == "active" for person in world.traders),
                "maker_equity": lambda world: sum(maker.cash for maker in world.makers),
                "liquidator_equity": lambda world: sum(one.cash for one in world.liquidators),
            }
        )

    # -- the step -------------------------------------------------------------------------------------------------------------------

    def step(self) -> None:
        """One step."""
        path = self.news()
        start = [market.log_index for market in self.markets]
        orders = [] if self.insolvent else [*self.decide(), *self.unwind()]
        volatility = [market.volatility for market in self.markets]
        self.clear(Inputs(orders, [], path, self.hours, volatility, [1.0] * len(self.markets), self.levies))
        self.value = [value + sum(moves[at] for moves, _ in path) for at, value in enumerate(self.value)]
        if not self.insolvent:
            coins.balance(self)
            interest = open_interest(self)
            self.levies = set_levies(self, interest)
            self.come_and_go(sum(interest))
        self.remember(start)
        self.collector.collect(self)

    def sides(self) -> list[float]:
        """Contracts held long, by market."""
        everybody = (*self.traders, *self.makers, *self.liquidators)
        return [sum(max(account.position[market], 0.0) for account in everybody) for market in range(len(self.markets))]

    def decide(self) -> list[tuple[int, list[float]]]:
        """Who acts is drawn for everybody; the acting, and those who leave, send orders."""
        luck, activity = self.rng.random, self.activity()
        chances = {group.name: 1.0 - math.exp(-group.activity * activity * self.hours) for group in self.world.traders.groups}
        tastes = {group.name: self.taste(group) for group in self.world.traders.groups}
        self.acting = [person for person in self.traders if luck() < chances[person.character.group.name]]
        signals = self.signals()
        orders = []
        for person in self.acting:
            group, before = person.character.group.name, person.parameters.type
            person.reconsider(signals.switching[group])
            self.strategies[group, before] -= 1
            self.strategies[group, person.parameters.type] += 1
            if person.status == "active":
                orders.append((person.number, person.order(signals, self.margin, tastes[group])))
        busy = set(self.acting)
        orders += [(person.number, [-held for held in person.position]) for person in self.leavers if person not in busy]
        return orders

    def activity(self) -> float:
        """What the cost of a trade leaves of activity."""
        p = self.world.traders.demand
        cost = max((self.rules.fees.taker + p.other_cost) / p.reference_cost, CHEAPEST)
        return float(cost**-p.volume_elasticity)

    def taste(self, group: "TraderGroup") -> float:
        """What levies and margin leave of a group's leverage."""
        p, typical = self.world.traders.demand, group.equity / max(group.count, 1) * group.leverage
        indices = [market.index for market in self.markets]
        margin = self.margin.initial([weight * typical / index for weight, index in zip(self.weights, indices, strict=True)], indices)
        levy = sum(weight * self.levies[self.pools.of[at]].open_interest for at, weight in enumerate(self.weights))
        cost = levy * HOURS_PER_YEAR + p.capital_cost * margin / typical
        return float(max(cost / p.reference_holding, CHEAPEST) ** -p.position_elasticity)

    def signals(self) -> Signals:
        """What everybody sees."""
        daily = [market.volatility * math.sqrt(24.0 / HOURS_PER_YEAR) for market in self.markets]
        misalignment = [math.log(max(mark, 1e-300)) - value for mark, value in zip(self.marks, self.value, strict=True)]
        funding = [rate * HOURS_PER_YEAR / self.hours for rate in self.funding_trend]
        tradable = [market.index > floor for market, floor in zip(self.markets, self.floors, strict=True)]
        p, seen = self.world.traders, sum(w * m**2 for w, m in zip(self.weights, misalignment, strict=True))
        switching = {}
        for group in p.groups:
            share = self.fundamentalists(group.name)
            switching[group.name] = 1.0 / (
                1.0 + math.exp(-(p.attractiveness_bias + p.herding * (2.0 * share - 1.0) + p.misalignment * seen))
            )
        return Signals(misalignment, self.trend, funding, daily, tradable, self.weights, switching)

    def fundamentalists(self, group: str) -> float:
        """Share among a group's speculators."""
        believers, chartists = self.strategies[group, "fundamentalist"], self.strategies[group, "chartist"]
        return believers / (believers + chartists) if believers + chartists else 0.5

    def unwind(self) -> list[tuple[int, list[float]]]:
        """Liquidators and the fund sell what they have taken over."""
        orders = []
        holders: list[tuple[int, Account, float]] = [(fund.number, fund, self.rules.route.unwind_rate) for fund in self.funds]
        holders += [(one.number, one, self.liquidator_rules.unwind_rate) for one in self.liquidators]
        for number, account, rate in holders:
            share = 1.0 - math.exp(-rate * self.hours)
            small = [abs(held) * mark < 1000.0 for held, mark in zip(account.position, self.marks, strict=True)]
            orders.append((number, [-held * (1.0 if all_ else share) for held, all_ in zip(account.position, small, strict=True)]))
        return orders

    def spot_orders(self, inputs: Inputs) -> list[tuple[int, int, float]]:
        """Acting hedgers hold as much spot as they are short, as far as their free cash pays for it."""
        orders, indices = [], [market.index for market in self.markets]
        for person in self.acting:
            if not person.hedges or person.status != "active":
                continue
            change = [max(-held, 0.0) - units for held, units in zip(person.position, person.spot, strict=True)]
            cost = sum(max(units, 0.0) * index for units, index in zip(change, indices, strict=True))
            free = max(person.cash - 2.0 * person.initial(self.margin), 0.0)
            part = min(free / cost, 1.0) if cost > 0.0 else 1.0
            orders += [(asset, person.number, units * part if units > 0.0 else units) for asset, units in enumerate(change) if units]
        return orders

    # -- who is walked --------------------------------------------------------------------------------------------------------------

    def watch(self, path: Increments) -> list[Account]:
        """Accounts that could breach within the range of prices that the path spans if nobody is liquidated."""
        if not self.screen:
            return super().watch(path)
        self.low, self.high = list(self.marks), list(self.marks)
        for at, market in enumerate(self.markets):
            ahead = copy.copy(market)
            for moves, hours in path:
                ahead.advance(moves[at], hours)
                self.low[at], self.high[at] = min(self.low[at], ahead.mark), max(self.high[at], ahead.mark)
            self.low[at], self.high[at] = self.low[at] * (1.0 - SLACK), self.high[at] * (1.0 + SLACK)
        return [*self.makers, *self.liquidators, *(person for person in self.traders if self.in_danger(person))]

    def in_danger(self, person: Person) -> bool:
        """Whether an account, at the worst price for each of its positions, could be below the most margin it may need."""
        if self.margin.portfolio is not None:  # what nets can need more at lower prices
            return True
        worst = person.cash
        for market, held in enumerate(person.position):
            if held:
                worst += held * ((self.low[market] if held > 0.0 else self.high[market]) - self.marks[market])
        required = sum(self.margin.maintenance(person.position, self.high))
        return worst < required - CENT or person.status == "closing"

    def settle(self) -> None:
        """Variation margin of those who are watched; of everybody once marks leave the range."""
        outside = any(not low <= mark <= high for low, mark, high in zip(self.low, self.marks, self.high, strict=True))
        if outside and self.screen:
            self.watched = list(self.accounts.values())
        super().settle()

    # -- comings and goings ---------------------------------------------------------------------------------------------------------

    def come_and_go(self, interest: float) -> None:
        """Deposits, withdrawals, exits after haircuts or for good, entries; `interest` is open interest, USD."""
        shock = min(self.liquidated / interest, 1.0) if interest > 0.0 else 0.0
        self.fear = self.fear * math.exp(-self.hours / self.world.traders.fear_memory) + shock
        confidence = math.exp(-self.world.traders.fear * self.fear)
        for account, share in self.haircuts.items():
            if isinstance(account, Person) and self.rng.random() < 1.0 - math.exp(-account.character.group.churn * share):
                account.leaving = True
                self.leavers.add(account)
        for person in self.acting:
            group = person.character.group
            if person.status == "active" and self.rng.random() < group.exit_rate / max(group.activity * HOURS_PER_YEAR, 1e-9):
                person.leaving = True
                self.leavers.add(person)
            if person.status == "active" and not person.leaving:
                person.cash += person.pay(confidence, self.margin)
        for person in [one for one in self.leavers if one.status != "active" or (one.flat and not any(one.spot))]:
            self.leavers.discard(person)
            if person.status == "active":
                person.cash, person.status = 0.0, "gone"
        active = Counter(person.character.group.name for person in self.traders if person.status == "active")
        for group in self.world.traders.groups:
            missing = max(group.count - active[group.name], 0)
            expected = missing * (1.0 - math.exp(-group.entry_rate * self.hours / HOURS_PER_YEAR)) * confidence
            for _ in range(min(int(self.rng.poisson(expected)), missing)):
                self.admit(group)

    def admit(self, group: "TraderGroup") -> None:
        """A new trader, its deposit drawn from a truncated Pareto law."""
        floor, tail = group.span**-group.tail, group.tail
        size = (1.0 - self.rng.random() * (1.0 - floor)) ** (-1.0 / tail)
        if tail == 1.0:
            mean = math.log(group.span) / (1.0 - 1.0 / group.span)
        else:
            mean = tail / (tail - 1.0) * (1.0 - group.span ** (1.0 - tail)) / (1.0 - floor)
        stake = group.equity / max(group.count, 1) * size / mean
        leverage = min(group.leverage * math.exp(group.leverage_spread * self.rng.standard_normal()), group.leverage_max)
        modest = max(size / mean, 1.0) ** -getattr(group, "leverage_by_size", 0.0)
        strategy = self._born_with(group)
        nothing = [0.0] * len(self.markets)
        person = self.enter(next(reversed(self.accounts)) + 1, Balance(stake, nothing, nothing, nothing))
        assert isinstance(person, Person)
        person.character = Character(group, strategy, leverage * modest, stake)
        self.strategies[group.name, person.parameters.type] += 1

    def _born_with(self, group: "TraderGroup") -> int:
        parameters: Any = group.strategies
        pick = self.rng.random() * sum(p.weight for p in parameters)
        for at, p in enumerate(parameters):
            pick -= p.weight
            if pick < 0.0:
                return at
        return len(parameters) - 1

    def remember(self, start: list[float]) -> None:
        """Signals for the next step."""
        hours = self.hours
        for at, market in enumerate(self.markets):
            moved = market.log_index - start[at]
            self.trend[at] += moved - (1.0 - math.exp(-hours / TREND_HOURS)) * self.trend[at]
            self.funding_trend[at] += (1.0 - math.exp(-hours / FUNDING_HOURS)) * (self.funding[at] - self.funding_trend[at])
            weight = 1.0 - math.exp(-hours / VOLATILITY_HOURS)
            fresh = moved**2 * HOURS_PER_YEAR / hours
            market.volatility = math.sqrt((1.0 - weight) * market.volatility**2 + weight * fresh)
        self.learn()
