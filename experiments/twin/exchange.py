"""The exchange and its step: open, walk the price path, close."""

import math
from typing import TYPE_CHECKING, Any, ClassVar

import mesa

from agents.clock import HOURS_PER_YEAR
from experiments.twin import accrual, deferral, deleveraging, liquidation, members, waterfall
from experiments.twin.accounts import CENT, TIE, Account, Balance, Fund, Liquidator, MarketMaker, Trader
from experiments.twin.accrual import Levies
from experiments.twin.inputs import FUND, Inputs, Opening, Visits
from experiments.twin.margin import Margin
from experiments.twin.market import Market, clamp

if TYPE_CHECKING:
    from collections.abc import Callable

    from model.scenario import Scenario


class Exchange(mesa.Model[mesa.Agent[Any], Any]):
    """One exchange.

    Attributes:
        accounts: by number; makers, liquidators, traders: the same by role. All are Mesa agents.
        fund, treasury: the backstop fund and the exchange's own capital, USD.
        marks: USD, to which contracts are settled; funding: what longs paid in the last step, on notional.
        watched: accounts that the walk settles and checks: all of them.
        haircuts: share of equity that accounts lost in the step to deleveraging and socialised loss; given: USD, to deleveraging alone.
        openings: hour and fund, USD, at which each step's walk began; opened: the hour of the latest; clock: of the next.
        luck: the exchange's draws, uniform on 0 to 1.
        deficits: USD of losses beyond accounts' equity in the step; absorbed: the same by the layer that bore it.
        insolvent: whether claims on the exchange have been written down.
        members: clearing members; calling_since: hour of the first assessment that counts.
        outstanding: USD of losses that account holders are yet to bear; since_settlement: hours since the last clawback.
    """

    kinds: ClassVar[dict[str, type[Account]]] = {"market_maker": MarketMaker, "liquidator": Liquidator, "trader": Trader}

    def __init__(self, scenario: "Scenario", opening: Opening, *, rng: Any = None) -> None:
        super().__init__(rng=rng)
        self.world = scenario
        venue = scenario.venues[0]
        self.rules, self.maker_rules, self.liquidator_rules = venue.clearinghouse, venue.market_makers, venue.liquidators
        replayed = scenario.news.type == "replay"
        self.markets = [Market(venue.market, m.index, m.depth, m.volatility, replayed=replayed) for m in opening.markets]
        for market, quoting in zip(self.markets, opening.markets, strict=True):
            market.basis, market.pressure = quoting.basis, quoting.pressure
            market.momentum, market.average_premium = quoting.momentum, quoting.average_premium
        self.marks = [market.mark for market in self.markets]
        self.margin = Margin(self.rules.margin, len(self.markets))
        self.accounts: dict[int, Account] = {}
        self.makers: list[MarketMaker] = []
        self.liquidators: list[Liquidator] = []
        self.traders: list[Trader] = []
        self.fund = Fund(self, FUND, self.marks, opening.fund)
        self.treasury, self.levies = opening.treasury, Levies()
        for number, balance in opening.accounts.items():
            self.enter(number, balance)
        self.members = [members.Member(self.accounts[number], usd, usd) for number, usd in opening.members.items()]
        self.calling_since: float | None = None
        self.watched = list(self.accounts.values())
        self.depth, self.funding = [1.0] * len(self.markets), [0.0] * len(self.markets)
        self.insolvent = False
        self.outstanding = self.since_settlement = 0.0
        self.clock = self.opened = 0.0
        self.openings: list[tuple[float, float]] = []
        self.luck: Callable[[], float] = self.rng.random
        self.begin()

    def enter(self, number: int, balance: Balance) -> Account:
        """Opens an account."""
        account = self.kinds[balance.role](self, number, self.marks, balance)
        self.accounts[number] = account
        match account:
            case MarketMaker():
                self.makers.append(account)
            case Liquidator():
                self.liquidators.append(account)
            case Trader():
                self.traders.append(account)
        return account

    # -- the step -------------------------------------------------------------------------------------------------------------------

    def clear(self, inputs: Inputs) -> None:
        """One step of the clearing core, from the auction to the levies."""
        self.begin(inputs)
        if not self.insolvent:
            self.requote()
            self.auction(inputs.orders, inputs.hours)
            self.trade_spot(self.spot_orders(inputs))
        self.walk(inputs.path)
        if not self.insolvent:
            accrual.pay_funding(self, inputs.hours)
            deferral.settle(self, inputs.hours)
            members.restore(self, inputs.hours)
        if not self.insolvent:
            accrual.charge_open_interest(self, inputs.hours)

    def begin(self, inputs: Inputs | None = None) -> None:
        """Clears what is counted by step, and takes in what the exchange is told."""
        self.fund.statement.flows.clear()
        self.deficits = self.write_down = self.fees = self.liquidated = 0.0
        self.absorbed: dict[str, float] = {}
        self.haircuts: dict[Account, float] = {}
        self.given: dict[Account, float] = {}
        for market in self.markets:
            market.begin_step()
            if self.insolvent:
                market.flow = 0.0
        if inputs is not None:
            self.depth, self.levies = inputs.depth, inputs.levies
            self.luck = inputs.luck or self.rng.random
            for market, volatility in zip(self.markets, inputs.volatility, strict=True):
                market.volatility = volatility

    def visit(self, visits: Visits) -> None:
        """What comes from elsewhere after the close."""
        injection = min(visits.injection, max(self.treasury, 0.0))
        self.treasury -= injection
        self.fund.receive("injection", injection)
        before, capital = {number: account.cash for number, account in self.accounts.items()}, self.treasury
        if visits.ended and not self.insolvent:
            deleveraging.close_out(self, [self.accounts[number] for number in visits.ended])
        for number, cash in before.items():
            self.accounts[number].cash = cash + visits.money.get(number, 0.0)
        self.treasury = capital + visits.treasury
        for number, balance in visits.entered.items():
            self.enter(number, balance)
        for number, status in visits.status.items():
            self.accounts[number].status = status
        for number, usd in visits.paid_in.items():
            self.accounts[number].paid_in = usd
        if visits.withheld:
            self.outstanding -= visits.withheld
            self.absorbed["withdrawal_factor"] = self.absorbed.get("withdrawal_factor", 0.0) + visits.withheld

    # -- open -----------------------------------------------------------------------------------------------------------------------

    def able(self, account: Account, breached: set[Account] | None) -> bool:
        """Whether a market maker or liquidator may trade: active, and not being liquidated."""
        return account.status == "active" and (breached is None or account not in breached)

    def requote(self, breached: set[Account] | None = None) -> None:
        """Market makers quote. Depth falls with volatility; the centre is r = s - q gamma sigma^2 (a day) (Avellaneda & Stoikov)."""
        p, capital = self.maker_rules, sum(maker.opening for maker in self.makers)
        if capital <= 0.0:
            for market in self.markets:
                market.quote(0.0, 0.0, 0.0)
            return
        calm = [m.calm_depth * more * max(self._calmness(m), p.stress_floor) for m, more in zip(self.markets, self.depth, strict=True)]
        for maker in self.makers:
            maker.quote(p, self.margin, calm, capital, able=self.able(maker, breached))
        equity = max(sum(max(maker.cash, 0.0) for maker in self.makers), 0.01 * capital)
        for at, market in enumerate(self.markets):
            inventory = sum(maker.position[at] * self.marks[at] for maker in self.makers) / equity
            skew = clamp(-p.risk_aversion * market.alarm**2 * (24.0 / HOURS_PER_YEAR) * inventory, -0.02, 0.02)
            market.quote(sum(maker.bids[at] for maker in self.makers), sum(maker.asks[at] for maker in self.makers), skew)

    def _calmness(self, market: Market) -> float:
        if market.alarm <= 0.0:
            return 1.0
        return min(math.pow(market.calm_volatility / market.alarm, self.maker_rules.volatility_exponent), 1.0)

    def auction(self, orders: list[tuple[int, list[float]]], hours: float) -> None:
        """Orders clear at one price a market; makers take the rest in proportion to the depth they show. Then fees."""
        ordered = {number: 0.0 for number, _ in orders}
        made: dict[Account, float] = dict.fromkeys(self.makers, 0.0)
        for at, market in enumerate(self.markets):
            buys = sum(max(contracts[at], 0.0) for _, contracts in orders)
            sells = sum(max(-contracts[at], 0.0) for _, contracts in orders)
            price, filled_buys, filled_sells, taken = market.auction(buys, sells, hours)
            for number, contracts in orders:
                quantity = contracts[at] * (filled_buys if contracts[at] > 0.0 else filled_sells)
                if quantity:
                    self._holder(number).trade(at, quantity, price)
                    ordered[number] += abs(quantity) * price
            shown = sum(maker.bids[at] if taken > 0.0 else maker.asks[at] for maker in self.makers)
            if taken and shown > 0.0:
                for maker in self.makers:
                    quantity = taken * (maker.bids[at] if taken > 0.0 else maker.asks[at]) / shown
                    if quantity:
                        maker.trade(at, quantity, price)
                        made[maker] += abs(quantity) * price
        accrual.charge_trading(self, {self._holder(number): usd for number, usd in ordered.items() if number != FUND}, made)

    def _holder(self, number: int) -> Account:
        return self.fund if number == FUND else self.accounts[number]

    def spot_orders(self, inputs: Inputs) -> list[tuple[int, int, float]]:
        """What holders of spot trade after the auction."""
        return inputs.spot_orders

    def trade_spot(self, orders: list[tuple[int, int, float]]) -> None:
        """Holders of spot trade at the index, which moves asset by asset with the sum of what they did."""
        indices = [market.index for market in self.markets]
        totals = [0.0] * len(self.markets)
        for asset, number, units in orders:
            self.accounts[number].trade_spot(asset, units, indices[asset])
            totals[asset] += units * indices[asset]
        for market, usd in zip(self.markets, totals, strict=True):
            market.trade_spot(usd)

    # -- walk -----------------------------------------------------------------------------------------------------------------------

    def walk(self, path: list[tuple[list[float], float]]) -> None:
        """The price path, increment by increment."""
        self.opened = self.clock
        self.openings.append((self.opened, self.fund.cash))
        self.clock += sum(hours for _, hours in path)
        self.watched = self.watch(path)
        for news, hours in path:
            for market, moved in zip(self.markets, news, strict=True):
                market.advance(moved, hours)
            if self.insolvent:
                continue
            self.marks = [market.mark for market in self.markets]
            self.settle()
            self.increment()
        self.marks = [market.mark for market in self.markets]
        self.everyone()

    def watch(self, path: list[tuple[list[float], float]]) -> list[Account]:
        """Accounts to be settled and checked in every increment of `path`: all."""
        return list(self.accounts.values())

    def settle(self) -> None:
        """Variation margin at a new mark."""
        self.fund.settle(self.marks)
        for account in self.watched:
            account.settle(self.marks)

    def everyone(self) -> list[Account]:
        """All accounts, settled to the mark; all are watched from here on."""
        self.watched = list(self.accounts.values())
        self.settle()
        return self.watched

    def increment(self) -> None:
        """Deficits without contracts, margin calls, rounds of liquidation, the fund's own deficit; the mark stands still."""
        waterfall.settle_flat(self)
        for at in range(self.rules.rounds):
            breached = self.breached()
            if breached and at == 0 and liquidation.call_margin(self, breached):
                breached = self.breached()
            if not breached:
                break
            liquidation.one_round(self, breached)
            if self.insolvent:
                return
        waterfall.recover_fund(self)

    def breached(self) -> list[Account]:
        """Accounts with contracts whose equity is below maintenance margin."""
        found = []
        for account in self.watched:
            if account.flat:
                continue
            required = sum(account.maintenance(self.margin))
            if account.status == "closing" or account.cash < required - TIE * abs(required) - CENT:
                found.append(account)
        return found
