"""Those who have an account: what they own, and what market makers and liquidators decide."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import mesa

from agents.clock import HOURS_PER_YEAR
from experiments.twin.market import clamp

if TYPE_CHECKING:
    from agents.clearinghouse.vault import VaultParameters
    from agents.liquidator import LiquidatorParameters
    from agents.market_maker import MarketMakerParameters
    from experiments.twin.margin import Margin
    from experiments.twin.token import Token

TIE = 1e-9
"""Relative tolerance of thresholds: an account is breached, or bankrupt, when it is short by more than this share of what is asked."""
CENT = 1e-6
"""USD, its least: an account may be short, and a quote may be left, by so much through rounding."""
DUST = 1e-12
"""A position that a trade leaves this small against the trade is closed: what is left is rounding."""

HALF = 0.5
"""The largest discount that a liquidator asks."""

type Status = Literal["active", "bankrupt", "gone", "closing"]
type Role = Literal["market_maker", "liquidator", "trader", "vault", "option_vault"]


@dataclass
class Balance:
    """An account as it stands: USD after variation margin, contracts, entry prices and units of the underlying by market."""

    cash: float
    position: list[float]
    entry: list[float]
    spot: list[float]
    status: Status = "active"
    role: Role = "trader"
    opening: float = 0.0
    """USD, a market maker's own and borrowed capital at the start."""
    paid_in: float = 0.0
    """USD of equity when profits were last settled, and what has been paid in since."""
    coins: list[float] = field(default_factory=list)
    """Part of the cash that is in coin, units by underlying, contracts settled in it up to the mark; nothing where there are none."""
    currency: int | None = None
    """The underlying in which its margin is; None for dollars."""


class Account(mesa.Agent[Any]):
    """A margin account.

    Attributes:
        number: in the exchange's books.
        cash: USD, after variation margin up to `marks`; with contracts settled at every mark it is all that the account is worth. Options
            are not settled but paid for: here they count at mark (see `options.money`).
        position: contracts by market, long > 0; entry: USD, average price of the open contracts.
        spot: units of the underlying by market, outside the margin account's equity.
        coins: units by underlying, the part of the cash that is in coin; empty on an exchange that settles everything in dollars.
        rates: USD a coin at which that part counts; currency: the underlying in which its margin is, None for dollars.
        marks: prices at which the contracts were settled last, worth of one contract where they are settled in coin.
        paid_in: USD of equity when profits were last settled, and what has been paid in since.
    """

    def __init__(self, model: Any, number: int, marks: list[float], balance: Balance) -> None:
        super().__init__(model)
        self.paid_in = balance.paid_in
        self.number, self.marks = number, marks
        self.cash, self.status = balance.cash, balance.status
        self.position, self.entry, self.spot = list(balance.position), list(balance.entry), list(balance.spot)
        self.coins, self.currency = list(balance.coins), balance.currency
        self.rates: list[float] = model.rates

    def settle(self, marks: list[float]) -> None:
        """Variation margin: gains and losses since the last mark are paid in cash."""
        for market, held in enumerate(self.position):
            if held and (not self.coins or self.model.settled[market] is None):
                self.cash += held * (marks[market] - self.marks[market])
        if self.coins:
            self.settle_in_coin(marks, self.model.rates)
        self.marks = marks

    def settle_in_coin(self, marks: list[float], rates: list[float]) -> None:
        """Contracts of one dollar gain 1 / price before - 1 / price now, in coin; coins are worth what the index says."""
        before = sum(units * rate for units, rate in zip(self.coins, self.rates, strict=True))
        for market, home in enumerate(self.model.settled):
            if home is not None and self.position[market]:
                earlier, now = -self.rates[home] / self.marks[market], -rates[home] / marks[market]
                self.coins[home] += self.position[market] * (1.0 / earlier - 1.0 / now)
        self.rates = rates
        self.cash += sum(units * rate for units, rate in zip(self.coins, rates, strict=True)) - before

    def trade(self, market: int, quantity: float, price: float) -> None:
        """Buys (> 0) or sells contracts at `price`, settled to the mark. Entry: average on adding, kept on reducing, new on turning."""
        old, settled = self.position[market], price
        home = self.model.settled[market] if self.coins else None
        if home is not None:
            settled = abs(price) / self.rates[home]
            self.coins[home] += quantity * (self.marks[market] - price) / self.rates[home]
        new = old + quantity
        if abs(new) <= DUST * abs(quantity):
            new = self.entry[market] = 0.0
        elif old * quantity >= 0.0:
            self.entry[market] = (self.entry[market] * abs(old) + settled * abs(quantity)) / abs(new)
        elif old * new < 0.0:
            self.entry[market] = settled
        self.position[market] = new
        self.cash += quantity * (self.marks[market] - price)

    def trade_spot(self, asset: int, units: float, price: float) -> None:
        """Buys (> 0) or sells the underlying."""
        self.spot[asset] += units
        self.cash -= units * price
        self.paid_in -= units * price

    def tear_up(self) -> None:
        """Ends all contracts at the last mark, to which they are settled."""
        self.position = [0.0] * len(self.position)
        self.entry = [0.0] * len(self.entry)

    @property
    def flat(self) -> bool:
        """Whether it holds no contracts."""
        return not any(self.position)

    @property
    def notional(self) -> float:
        """USD, gross."""
        return sum(abs(held) * size for held, size in zip(self.position, self.sizes, strict=True))

    def notional_in(self, markets: list[int]) -> float:
        """USD, gross, in some markets."""
        sizes = self.sizes
        return sum(abs(self.position[market]) * sizes[market] for market in markets)

    @property
    def sizes(self) -> list[float]:
        """USD of notional that one contract is, by market: what it is worth, but for options and what is settled in coin."""
        sizes: list[float] = self.marks if self.model.straight else self.model.sizes
        return sizes

    @property
    def dollars(self) -> float:
        """USD, the part of the cash that is not in coin."""
        return self.cash - sum(units * rate for units, rate in zip(self.coins, self.rates, strict=True))

    def cost(self, market: int) -> float:
        """USD, what a contract of one market cost at entry; in coin, at today's rate, and below zero as its worth is."""
        home = self.model.settled[market] if self.coins else None
        return self.entry[market] if home is None else -self.entry[market] * self.rates[home]

    def profit(self, market: int) -> float:
        """USD gained since entry in one market."""
        return self.position[market] * (self.marks[market] - self.cost(market))

    def concede(self, market: int, part: float) -> None:
        """The entry price moves towards the mark by a part of the way."""
        home = self.model.settled[market] if self.coins else None
        mark = self.marks[market] if home is None else -self.marks[market] / self.rates[home]
        self.entry[market] += part * (mark - self.entry[market])

    def gains(self) -> float:
        """USD of gains since entry, losing markets left out."""
        return sum(max(self.profit(market), 0.0) for market in range(len(self.position)))

    def initial(self, margin: "Margin") -> float:
        """USD of initial margin."""
        return margin.initial(self.position, self.sizes)

    def maintenance(self, margin: "Margin") -> list[float]:
        """USD of maintenance margin by market."""
        return margin.maintenance(self.position, self.sizes)


@dataclass
class Statement:
    """The fund's itemised flows of a step: USD by kind."""

    flows: dict[str, float] = field(default_factory=dict)

    def add(self, kind: str, usd: float) -> None:
        """Adds to a kind."""
        self.flows[kind] = self.flows.get(kind, 0.0) + usd


class Fund(Account):
    """A pool of the backstop fund; what it gains or loses on contracts it has taken over is its inventory result.

    Attributes:
        indices: USD at which its coins are valued, by market.
        token: the venue's, of which it may hold some; token_price: USD at which they are valued.
    """

    token: "Token | None" = None
    token_price = 0.0

    def __init__(self, model: Any, number: int, marks: list[float], balance: Balance, indices: list[float]) -> None:
        super().__init__(model, number, marks, balance)
        self.statement, self.indices = Statement(), indices

    @property
    def worth(self) -> float:
        """USD: dollars, coins and tokens."""
        return self.without_tokens + self.token_price * self.tokens

    @property
    def tokens(self) -> float:
        """How many it holds."""
        return self.token.held if self.token is not None else 0.0

    @property
    def without_tokens(self) -> float:
        """USD: dollars and coins."""
        return self.cash + sum(units * price for units, price in zip(self.spot, self.indices, strict=True))

    @property
    def payable(self) -> float:
        """USD that it could pay now: what its tokens would bring, not what they are worth."""
        return self.without_tokens + (self.token.brings(self.tokens) if self.token is not None else 0.0)

    def revalue(self, indices: list[float]) -> None:
        """Coins and tokens gain or lose, itemised."""
        before, self.indices = self.worth, indices
        if self.token is not None:
            self.token_price = self.token.price
        if any(self.spot) or self.tokens:
            self.statement.add("revaluation", self.worth - before)

    def settle(self, marks: list[float]) -> None:
        """Variation margin, itemised."""
        before = self.cash
        super().settle(marks)
        self.statement.add("inventory_result", self.cash - before)

    def trade(self, market: int, quantity: float, price: float) -> None:
        """A trade, its gap to the mark itemised."""
        before = self.cash
        super().trade(market, quantity, price)
        self.statement.add("inventory_result", self.cash - before)

    def receive(self, kind: str, usd: float) -> None:
        """Money in (> 0) or out."""
        self.cash += usd
        self.statement.add(kind, usd)


class MarketMaker(Account):
    """A market maker.

    Attributes:
        opening: USD, own and borrowed capital at the start.
        bids, asks: USD it shows within ten basis points, by market.
    """

    def __init__(self, model: Any, number: int, marks: list[float], balance: Balance) -> None:
        super().__init__(model, number, marks, balance)
        self.opening = balance.opening
        self.bids, self.asks = [0.0] * len(marks), [0.0] * len(marks)

    def inventory(self, market: int) -> float:
        """USD that a market's book counts as inventory: its own contracts, a perpetual's also what all on its underlying move like."""
        sizes, deltas = self.sizes, self.model.deltas
        held: float = sum(self.position[at] * sizes[at] * (deltas[at] if at != market else 1.0) for at in self.model.counted[market])
        for at, home in enumerate(self.model.settled if self.coins else ()):
            if home == market:  # the coins that stand against contracts settled in them
                held -= self.position[at] * self.marks[at]
        return held + (self.coins[market] * self.rates[market] if self.coins and market < len(self.coins) else 0.0)

    def quote(self, p: "MarketMakerParameters", margin: "Margin", calm: list[float], capital: float, *, able: bool) -> None:
        """Shows depth in proportion to the capital it has left, less with margin use, and less on the side that adds to its inventory.

        Args:
            p: of all market makers.
            margin: the exchange's rule.
            calm: USD that all show together in each market at present volatility if nobody has lost anything.
            capital: USD, all makers' opening capital.
            able: whether it may quote.
        """
        equity = max(self.cash, 0.0)
        use = self.initial(margin) / max(equity, 1e-9)
        room = clamp(1.0 - use / p.margin_use_limit, 0.0, 1.0) * min(equity, self.opening) if able else 0.0
        for market, depth in enumerate(calm):
            stretch = self.inventory(market) / max(p.inventory_limit * equity, 1e-9)
            bids = depth / capital * room * clamp(1.0 - stretch, 0.0, 1.0)
            asks = depth / capital * room * clamp(1.0 + stretch, 0.0, 1.0)
            self.bids[market] = bids if bids >= CENT else 0.0
            self.asks[market] = asks if asks >= CENT else 0.0


class Liquidator(Account):
    """A liquidator."""

    def capacity(self, p: "LiquidatorParameters", *, able: bool) -> float:
        """USD that it will still take: appetite x equity, less what it holds."""
        return max(p.appetite * max(self.cash, 0.0) - self.notional, 0.0) if able else 0.0

    def discount(self, p: "LiquidatorParameters", volatility: float) -> float:
        """What it asks below mark, at most half of it: more with volatility and with how much of its appetite is used."""
        used = clamp(self.notional / max(p.appetite * max(self.cash, 0.0), 1e-9), 0.0, 1.0)
        return min(p.discount + p.volatility_loading * volatility / math.sqrt(HOURS_PER_YEAR) + p.inventory_loading * used, HALF)

    def waits(self, p: "LiquidatorParameters", offers: tuple[float, float], queue: float, volatility: float, premium: float) -> bool:
        """Whether it expects to earn more by waiting for a round than now. `offers`: USD that it, and all of them, would take."""
        mine, everybody = offers
        if everybody <= 0.0:
            return False
        asked = self.discount(p, volatility)
        expected = min(asked + p.anticipation * volatility / math.sqrt(HOURS_PER_YEAR) * queue / everybody, HALF)
        left = max(queue - (everybody - mine), 0.0)
        return expected * min(mine, left) > (asked + premium) * min(mine, queue) * (1.0 + TIE)


class Vault(Account):
    """The backstop vault."""

    def may_lose(self, p: "VaultParameters") -> float:
        """USD, once it has lost no more than its depositors allow; nothing after it has defaulted."""
        return max(self.cash - (1.0 - p.stop_loss) * p.capital, 0.0) if self.status == "active" else 0.0

    def room(self, p: "VaultParameters") -> float:
        """USD of positions that it will still take."""
        return max(p.appetite * self.cash - self.notional, 0.0) if self.may_lose(p) > 0.0 else 0.0


class Outside(Account):
    """The outside world where channels of contagion are closed: it takes contracts at mark, and pays, in place of others.

    Attributes:
        earned: USD from mark to mark in the step; rescued: USD paid in the step by the channel because of which it was.
    """

    def __init__(self, model: Any, marks: list[float]) -> None:
        nothing = [0.0] * len(marks)
        super().__init__(model, 0, marks, Balance(0.0, nothing, nothing, nothing, coins=[0.0] * len(model.rates)))
        self.begin_step()

    def trade(self, market: int, quantity: float, price: float) -> None:
        """A trade; of the coins only what open contracts have gained is still its own to win or lose."""
        super().trade(market, quantity, price)
        home = self.model.settled[market] if self.coins else None
        if home is not None:
            self.coins[home] = self.profit(market) / self.rates[home]

    def begin_step(self) -> None:
        """Clears what is counted by step."""
        self.earned, self.rescued = 0.0, dict[str, float]()

    def settle(self, marks: list[float]) -> None:
        """Variation margin, counted."""
        before = self.cash
        super().settle(marks)
        self.earned += self.cash - before

    def pay(self, channel: str, usd: float) -> None:
        """Pays in place of those whom a closed channel spares."""
        self.cash -= usd
        self.rescued[channel] = self.rescued.get(channel, 0.0) + usd


class Trader(Account):
    """A trader. It decides outside the clearing core; see `world`."""
