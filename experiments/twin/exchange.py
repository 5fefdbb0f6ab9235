"""The exchange and its step: open, walk the price path, close."""

import math
from typing import TYPE_CHECKING, Any, ClassVar

import mesa

from agents.clock import HOURS_PER_YEAR
from experiments.twin import accrual, coins, dated, deferral, deleveraging, liquidation, members, waterfall
from experiments.twin.accounts import CENT, TIE, Account, Balance, Fund, Liquidator, MarketMaker, Outside, Trader, Vault
from experiments.twin.accrual import Levies
from experiments.twin.inputs import Inputs, Opening, Visits, fund_number
from experiments.twin.margin import Margin
from experiments.twin.market import Market, clamp
from experiments.twin.option_vault import OptionVault
from experiments.twin.options import Option
from experiments.twin.pools import Pools
from experiments.twin.series import Series
from experiments.twin.surface import Surface
from experiments.twin.token import Token

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from model.scenario import Scenario


class Exchange(mesa.Model[mesa.Agent[Any], Any]):
    """One exchange.

    Attributes:
        accounts: by number; makers, liquidators, traders: the same by role. All are Mesa agents.
        pools, funds: how the backstop fund is divided, and its pools; treasury: the exchange's own capital, USD.
        levies: what the fund takes in the step, by pool.
        interest: open interest at the step's start, USD by market, where losses of no market in particular need it.
        homes: by market, the number of its underlying.
        counted: by market, the markets whose contracts its book counts as inventory: a perpetual's, all in dollars on its underlying.
        surfaces: of implied volatility, by underlying; nothing where no options are listed.
        settled: by market, the number of the underlying in which it is settled, None for dollars; rates: USD a coin by underlying, at which
            settlement balances count, nothing where everything is settled in dollars.
        marks: USD, to which contracts are settled; funding: what longs paid in the last step, on notional.
        sizes: USD of notional that one contract is, by market, and deltas, units of the underlying that it moves like for each of its
            notional, where contracts were marked last; straight: whether contracts are all worth their notional.
        watched: accounts that the walk settles and checks: all of them.
        closed: log index of each market at the last close.
        haircuts: share of equity that accounts lost in the step to deleveraging and socialised loss; given: USD, to deleveraging alone.
        openings: hour and fund, USD, at which each step's walk began; opened: the hour of the latest; clock: of the next.
        channels: of contagion, which may be closed; outside: who then takes the other side or pays.
        token: the venue's, if it has one; target: USD that the fund should then be, as of the last close.
        vault: backstop vault, if there is one; option_vault: the one that sells options, likewise.
        now: hour at the end of the increment; sliced: hour of accounts' latest partial liquidation.
        allowance: USD by market that may still be liquidated in the increment; empty without a speed limit.
        luck: the exchange's draws, uniform on 0 to 1.
        deficits: USD of losses beyond accounts' equity in the step; absorbed: the same by the layer that bore it.
        insolvent: whether claims on the exchange have been written down.
        members: clearing members; calling_since: hour of the first assessment that counts.
        skins: by layer, the hour from which on the exchange's own capital counts as used, and USD that it may still pay.
        outstanding: USD of losses that account holders are yet to bear; since_settlement: hours since the last clawback.
    """

    kinds: ClassVar[dict[str, type[Account]]] = {
        "market_maker": MarketMaker,
        "liquidator": Liquidator,
        "trader": Trader,
        "vault": Vault,
        "option_vault": OptionVault,
    }

    openings: list[tuple[float, float]]
    sliced: dict[Account, float]
    allowance: list[float]
    vault: Vault | None = None
    option_vault: OptionVault | None = None
    target: float

    def __init__(self, scenario: "Scenario", opening: Opening, *, rng: Any = None) -> None:
        super().__init__(rng=rng)
        self.world, self.channels = scenario, scenario.channels
        venue = scenario.venues[0]
        self.rules, self.maker_rules, self.liquidator_rules = venue.clearinghouse, venue.market_makers, venue.liquidators
        self._open_markets(opening)
        self.margin = Margin(self.rules.margin, [market.volatility for market in opening.markets], self.homes)
        self._open_marks(opening)
        self.outside = Outside(self, self.marks)
        self.accounts: dict[int, Account] = {}
        self.makers: list[MarketMaker] = []
        self.liquidators: list[Liquidator] = []
        self.traders: list[Trader] = []
        self.pools = Pools(self.rules.pools, list(scenario.markets))
        indices = [market.index for market in self.markets]
        self.funds = [Fund(self, fund_number(at), self.marks, balance, indices) for at, balance in enumerate(opening.funds)]
        self.token: Token | None = None
        self.treasury, self.levies = opening.treasury, [Levies() for _ in range(self.pools.own)]
        for number, balance in opening.accounts.items():
            self.enter(number, balance)
        self.members = [members.Member(self.accounts[number], usd, usd) for number, usd in opening.members.items()]
        self.calling_since: float | None = None
        self.skins: dict[str, tuple[float, float]] = {}
        self.watched = list(self.accounts.values())
        self.depth, self.funding = [1.0] * len(self.markets), [0.0] * len(self.markets)
        self.insolvent = False
        self.closed = [market.log_index for market in self.markets]
        if self.rules.token is not None:
            self._open_token(Token(self.rules.token, self.closed[0]))
        self.margin.observe([0.0] * len(self.markets), 0.0, accrual.open_interest(self))
        self.paused_until = -math.inf
        self.outstanding = self.since_settlement = 0.0
        self.clock = self.opened = self.now = 0.0
        self.openings, self.sliced, self.allowance = [], {}, []
        self.luck: Callable[[], float] = self.rng.random
        self.begin()

    def _open_markets(self, opening: Opening) -> None:
        """Perpetuals, then what else is listed, as they open."""
        scenario, venue = self.world, self.world.venues[0]
        replayed = scenario.news.type == "replay"
        assets = [asset.name for asset in scenario.assets]
        self.markets = [Market(venue.market, m.index, m.depth, m.volatility, replayed=replayed) for m in opening.markets[: len(assets)]]
        self.settled: list[int | None] = [None] * len(assets)
        self.rates = list(opening.rates)
        self.counted, self.homes = [[at] for at in range(len(opening.markets))], list(range(len(assets)))
        optional = any(terms.type in ("call", "put") for terms in venue.instruments)
        self.surfaces = [Surface(venue.surface, m.volatility, m.log_index) for m in self.markets] if optional else []
        self.straight = all(terms.type == "future" for terms in venue.instruments)
        for terms, m in zip(venue.instruments, opening.markets[len(assets) :], strict=True):
            home, inverse = assets.index(terms.asset), terms.type == "inverse"
            if not inverse:
                self.counted[home].append(len(self.markets))
            self.homes.append(home)
            self.settled.append(home if inverse else None)
            more: Any = {"replayed": replayed, "perpetual": self.markets[home], "inverse": inverse}
            if terms.type in ("call", "put"):
                more["series"] = Option(terms, self.surfaces[home], m.strike)
            else:
                more["series"] = None if inverse else Series(terms)
            self.markets.append(Market(venue.market, m.index, m.depth, m.volatility, **more))
        for market, quoting in zip(self.markets, opening.markets, strict=True):
            market.basis, market.pressure = quoting.basis, quoting.pressure
            market.momentum, market.average_premium = quoting.momentum, quoting.average_premium

    def _open_marks(self, opening: Opening) -> None:
        """Contracts were marked where the indices stood then: before a fund that is held in coins had bought them."""
        for market, m in zip(self.markets, opening.markets, strict=True):
            if market.perpetual is None:
                market.log_index = math.log(m.mark / (1.0 + m.basis))
        self.mark([m.mark for m in opening.markets])
        self.rates = list(opening.rates)
        for market, m in zip(self.markets, opening.markets, strict=True):
            market.log_index = math.log(m.index)

    def _open_token(self, token: Token) -> None:
        """The fund has exchanged a part of its balance for tokens, at the price that its shortfall leaves."""
        self.token = self.funds[0].token = token
        usd = self.rules.fund * token.parameters.fund_share
        self.target = accrual.target(self, accrual.open_interest(self))
        token.see(self.fund + usd, self.target)
        token.held = usd / token.price
        self.funds[0].token_price = token.price

    def mark(self, marks: list[float] | None = None) -> None:
        """Contracts, and settlement coins, are worth what the markets say now, or as told; accounts are not settled yet."""
        self.marks = [market.mark for market in self.markets] if marks is None else marks
        self.rates = [self.markets[at].rate for at in range(len(self.rates))]
        self.sizes = [market.unit(mark) for market, mark in zip(self.markets, self.marks, strict=True)]
        self.deltas = [1.0 if market.option is None else market.pinned().delta for market in self.markets]
        if self.margin.portfolio is not None and not self.straight:
            self.margin.portfolio.mark([market.gain(mark) for market, mark in zip(self.markets, self.marks, strict=True)])

    @property
    def fund(self) -> float:
        """USD: all pools."""
        return sum(pool.worth for pool in self.funds)

    def enter(self, number: int, balance: Balance) -> Account:
        """Opens an account."""
        account = self.kinds[balance.role](self, number, self.marks, balance)
        self.accounts[number] = account
        match account:
            case MarketMaker():
                self.makers.append(account)
            case Liquidator():
                self.liquidators.append(account)
            case Vault():
                self.vault = account
            case OptionVault():
                self.option_vault = account
            case Trader():
                self.traders.append(account)
        return account

    # -- the step -------------------------------------------------------------------------------------------------------------------

    def clear(self, inputs: Inputs) -> None:
        """One step of the clearing core, from the auction to the levies."""
        self.begin(inputs)
        if not self.insolvent:
            self.requote()
            self.auction(self.ordered(inputs), inputs.hours)
            self.trade_spot(self.spot_orders(inputs), silent=inputs.silent)
        self.walk(inputs.path, inputs.outages)
        if not self.insolvent:
            dated.settle_expired(self)
        if not self.insolvent:
            accrual.pay_funding(self, inputs.hours)
            deferral.settle(self, inputs.hours)
        if not self.insolvent:
            members.restore(self, inputs.hours)
            accrual.charge_open_interest(self, inputs.hours)
            if self.option_vault is not None:
                self.option_vault.close()

    def begin(self, inputs: Inputs | None = None) -> None:
        """Clears what is counted by step, and takes in what the exchange is told."""
        self.interest = accrual.open_interest(self)
        for fund in self.funds:
            fund.statement.flows.clear()
        self.outside.begin_step()
        self.deficits = self.write_down = self.fees = self.liquidated = 0.0
        self.absorbed: dict[str, float] = {}
        self.haircuts: dict[Account, float] = {}
        self.given: dict[Account, float] = {}
        for market in self.markets:
            market.begin_step()
            if self.insolvent:
                market.flow = 0.0
        for at, surface in enumerate(self.surfaces):
            surface.begin_step(self.markets[at].log_index, inputs.implied[at] if inputs is not None and inputs.implied else 1.0)
        if self.option_vault is not None:
            self.option_vault.begin_step()
        if inputs is not None:
            self.depth, self.levies, self.margin.factors = inputs.depth, inputs.levies, inputs.margin
            self.luck = inputs.luck or self.rng.random
            for at, (market, volatility) in enumerate(zip(self.markets, inputs.volatility, strict=True)):
                market.volatility = volatility
                market.mispricing = inputs.mispricing[at] if inputs.mispricing else 0.0
                if market.series is not None:
                    market.series.carry = inputs.carry[at]

    def visit(self, visits: Visits) -> None:
        """The fund's coins; then what comes from elsewhere after the close."""
        if not self.insolvent:
            coins.settle_currencies(self, [*self.funds, *self.accounts.values()])
            coins.balance(self)
            if self.token is not None:
                self.target = accrual.target(self, accrual.open_interest(self))
        self.refill(visits)
        self.spread_defaults(visits)
        self.enter_and_leave(visits)
        self.treasury += visits.treasury
        for fund, usd in zip(self.funds, visits.released, strict=False):
            fund.receive("release", -usd)
        if self.token is not None and visits.bought_back:
            self.token.buy_back(visits.bought_back)
        self.learn(visits.volatility)

    def spread_defaults(self, visits: Visits) -> None:
        """Loans are served; who fails on them is closed at mark, and what it has is divided among its creditors."""
        for number, usd in visits.served.items():
            self.accounts[number].cash += usd
        if visits.ended and not self.insolvent:
            ended = [self.accounts[number] for number in visits.ended]
            deleveraging.close_out(self, [(account, deleveraging.margin_weights(self, account)) for account in ended])
            everyone = self.everyone()
            waterfall.settle_flat(self)
            if not self.insolvent:
                coins.settle_flat(self, [*self.funds, *everyone])
        for number, usd in visits.left.items():
            self.accounts[number].cash = usd

    def enter_and_leave(self, visits: Visits) -> None:
        """Traders pay in and out, come and go; withdrawals bear of outstanding losses."""
        for market, moved in zip(self.markets, visits.moved, strict=False):
            market.log_index += moved
        for number, usd in visits.money.items():
            self.accounts[number].cash += usd
            coins.into_own_currency(self, self.accounts[number])
        for number, balance in visits.entered.items():
            self.enter(number, balance)
        for number, status in visits.status.items():
            self.accounts[number].status = status
        for number, usd in visits.paid_in.items():
            self.accounts[number].paid_in = usd
        if visits.withheld:
            self.outstanding -= visits.withheld
            self.absorbed["withdrawal_factor"] = self.absorbed.get("withdrawal_factor", 0.0) + visits.withheld

    def refill(self, visits: Visits) -> None:
        """The exchange pays into its fund out of its capital, then its owners do."""
        for fund, wanted in zip(self.funds, visits.injections, strict=False):
            injection = min(wanted, max(self.treasury, 0.0))
            self.treasury -= injection
            fund.receive("injection", injection)
        for fund, usd in zip(self.funds, visits.recapitalised, strict=False):
            fund.receive("recapitalisation", usd)

    def learn(self, volatility: list[float] | None = None) -> None:
        """The close of a step: the margin rule sees how far indices have moved since the last one, and open interest; the token's price.

        Implied volatility is drawn towards what the exchange measures from now on, `volatility` by market.
        """
        for surface, market, realised in zip(self.surfaces, self.markets, volatility or [], strict=False):
            surface.close(market.log_index, realised, self.world.hours_per_step)
        if self.token is not None:
            self.token.close(self.world.hours_per_step, self.fees, self.fund, self.target)
            self.funds[0].revalue(self.funds[0].indices)
        moved = [market.log_index - before for market, before in zip(self.markets, self.closed, strict=True)]
        self.closed = [market.log_index for market in self.markets]
        if self.channels.margin_spiral:
            self.margin.observe(moved, self.world.hours_per_step, accrual.open_interest(self))

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
            inventory = sum(maker.inventory(at) for maker in self.makers) / equity
            skew = clamp(-p.risk_aversion * market.alarm**2 * (24.0 / HOURS_PER_YEAR) * inventory, -0.02, 0.02)
            market.quote(sum(maker.bids[at] for maker in self.makers), sum(maker.asks[at] for maker in self.makers), skew)

    def _calmness(self, market: Market) -> float:
        if market.alarm <= 0.0:
            return 1.0
        return min(math.pow(market.calm_volatility / market.alarm, self.maker_rules.volatility_exponent), 1.0)

    def ordered(self, inputs: Inputs) -> list[tuple[int, list[float]]]:
        """Orders by number; who closes all that it has orders that."""
        return [
            (
                number,
                [-self._holder(number).position[at] if (number, at) in inputs.closing else wanted for at, wanted in enumerate(contracts)],
            )
            for number, contracts in inputs.orders
        ]

    def auction(self, orders: list[tuple[int, list[float]]], hours: float) -> None:
        """Orders clear at one price a market; makers take the rest in proportion to the depth they show. Then fees."""
        ordered = {number: [0.0] * len(self.markets) for number, _ in orders}
        made: dict[Account, list[float]] = {maker: [0.0] * len(self.markets) for maker in self.makers}
        bought = []
        for at, market in enumerate(self.markets):
            buys = sum(max(contracts[at], 0.0) for _, contracts in orders)
            sells = sum(max(-contracts[at], 0.0) for _, contracts in orders)
            price, filled_buys, filled_sells, taken = market.auction(buys, sells, hours)
            worth = coins.worth(self, at, price)
            face = market.face(price) if market.option is None else self.sizes[at]
            bought.append(-taken)
            for number, contracts in orders:
                quantity = contracts[at] * (filled_buys if contracts[at] > 0.0 else filled_sells)
                if quantity:
                    self._holder(number).trade(at, quantity, worth)
                    ordered[number][at] += abs(quantity) * face
            shown = sum(maker.bids[at] if taken > 0.0 else maker.asks[at] for maker in self.makers)
            if taken and shown > 0.0:
                for maker in self.makers:
                    quantity = taken * (maker.bids[at] if taken > 0.0 else maker.asks[at]) / shown
                    if quantity:
                        maker.trade(at, quantity, worth)
                        made[maker][at] += abs(quantity) * face
        traders = {self.accounts[number]: usd for number, usd in ordered.items() if number in self.accounts}
        self.note_vega(bought)
        if self.option_vault is not None:
            self.option_vault.traded()
        accrual.charge_trading(self, traders, made)
        coins.settle_flat(self, [self._holder(number) for number, _ in orders])

    def note_vega(self, bought: list[float]) -> None:
        """Contracts that the auction bought from the books press on implied volatility: their vega, over that of the depth in calm."""
        for asset, surface in enumerate(self.surfaces):
            vega = shown = 0.0
            for market, contracts, home in zip(self.markets, bought, self.homes, strict=True):
                if market.option is not None and home == asset:
                    each = market.pinned().vega
                    vega, shown = vega + each * contracts, shown + each * market.calm_depth / market.index
            surface.bought = vega / shown if shown > 0.0 else 0.0

    def _holder(self, number: int) -> Account:
        return self.accounts.get(number) or next(fund for fund in self.funds if fund.number == number)

    def spot_orders(self, inputs: Inputs) -> list[tuple[int, int, float]]:
        """What holders of spot trade after the auction."""
        return inputs.spot_orders

    def trade_spot(self, orders: list[tuple[int, int, float]], *, silent: "Collection[int]" = ()) -> None:
        """Holders of spot trade at the index, which moves asset by asset with the sum of what they did, `silent` numbers left out."""
        indices = [market.index for market in self.markets]
        totals = [0.0] * len(self.markets)
        for asset, number, units in orders:
            self.accounts[number].trade_spot(asset, units, indices[asset])
            totals[asset] += units * indices[asset] if number not in silent else 0.0
        for market, usd in zip(self.markets, totals, strict=True):
            market.trade_spot(usd)

    # -- walk -----------------------------------------------------------------------------------------------------------------------

    def walk(self, path: list[tuple[list[float], float]], outages: list[tuple[float, float]]) -> None:
        """The price path, increment by increment; nobody is liquidated while the exchange stands still."""
        clock = self.opened = self.clock
        self.openings.append((self.opened, self.fund))
        self.clock += sum(hours for _, hours in path)
        self.watched = self.watch(path)
        for news, hours in path:
            clock += hours
            for market, moved in zip(self.markets, news, strict=True):
                market.advance(moved, hours)
            for market in self.markets:
                if market.series is not None:
                    market.series.note(hours, market.index)
            if self.insolvent:
                continue
            self.mark()
            self.settle()
            coins.revalue(self)
            if not self.paused(clock) and not any(begin < clock <= end for begin, end in outages):
                self.now = clock
                limits = self.rules.speed_limit
                self.allowance = [limits[min(at, len(limits) - 1)] * 60.0 * hours for at in range(len(self.markets) if limits else 0)]
                self.increment()
        self.mark()
        self.everyone()
        coins.revalue(self)

    def paused(self, clock: float) -> bool:
        """Whether the circuit breaker holds; it trips when a market's last hour has moved too far."""
        breaker = self.rules.circuit_breaker
        if breaker is None:
            return False
        if clock >= self.paused_until and max(abs(market.momentum) for market in self.markets) >= breaker.move:
            self.paused_until = clock + breaker.pause
        return clock < self.paused_until

    def watch(self, path: list[tuple[list[float], float]]) -> list[Account]:
        """Accounts to be settled and checked in every increment of `path`: all."""
        return list(self.accounts.values())

    def settle(self) -> None:
        """Variation margin at a new mark."""
        for account in (*self.funds, self.outside, *self.watched):
            account.settle(self.marks)

    def holders(self) -> list[Account]:
        """All who may hold contracts: the fund's pools and the outside world too."""
        return [*self.funds, self.outside, *self.accounts.values()]

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
            if breached and (at == 0 or self.rules.coin_haircuts) and liquidation.call_margin(self, breached):
                breached = self.breached()
            if not breached:
                break
            if not liquidation.one_round(self, breached):
                break
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
            if account.status == "closing" or coins.means(self, account) < required - TIE * abs(required) - CENT:
                found.append(account)
        return found
