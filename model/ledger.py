"""The one closed ledger of a venue: margin accounts as columns, and the only code that moves money.

Futures are carried at cost: a trade of `q` contracts at price `p` takes `q * p` from cash and adds `q` to the position, so that

    equity = cash + marks @ position

holds at every mark. Variation margin is thereby settled at every mark without a pass over the accounts, entry prices survive it, and
cash over all rows, the outside world's included, sums to zero as long as every movement has two ends.

There is a cash column for each settlement currency. A contract that is settled in coin is carried at cost in coins: who buys `q` contracts
of one dollar at price `p` has `q / p` coins more and contracts that are worth -`q / p` coins at that price, so that

    equity = cash + rates @ coins + marks @ position

and what it gains is q (1 / entry - 1 / mark) coins (BitMEX, Bybit and Deribit: inverse contracts). Coins sum to zero as cash does.
"""

from enum import IntEnum, StrEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from model.errors import LawViolation

type Floats = NDArray[np.float64]
type Rows = NDArray[np.intp]
type RowsLike = int | Rows | slice

OUTSIDE: Final = 0
"""The outside world: what it has paid in, negative, is the custody cash that backs the venue's balances."""
FUND: Final = 1
"""The backstop fund, with the contracts it has taken over; its first pool if it has several."""
TREASURY: Final = 2
"""The exchange's own capital."""
SETTLEMENT: Final = 3
"""Deficits pass through here on their way to the layers that absorb them; zero after every waterfall."""
DUST: Final = 1e-12
"""A position that a trade leaves this small against the trade is closed: what is left is rounding, and its holder has no contracts."""
LAST_DIGITS: Final = 1e-15
"""Relative: what rounding may have left of sums that once were larger."""
_FURTHER: Final = 4
"""Further pools of the fund have the rows from here on; the accounts of others follow."""


class Role(IntEnum):
    """Who holds a row."""

    HOUSE = 0
    MARKET_MAKER = 1
    LIQUIDATOR = 2
    TRADER = 3
    VAULT = 4
    """The backstop vault, which takes over what is liquidated."""
    OPTION_VAULT = 5
    """The vault that sells options."""


class Status(IntEnum):
    """What has become of a row's holder. Rows are never removed."""

    ACTIVE = 0
    BANKRUPT = 1
    """Left a deficit behind; does not come back."""
    GONE = 2
    """Left of its own will with what it had."""
    CLOSING = 3
    """In default elsewhere: its positions are being closed whatever its margin."""


class Flow(StrEnum):
    """Every kind of movement of money."""

    DEPOSIT = "deposit"
    WITHDRAWAL = "withdrawal"
    MARGIN_TRANSFER = "margin_transfer"
    """What firms bring from their accounts at one exchange to those at another."""
    GUARANTEE = "guarantee"
    """What a fund pays into another exchange's for losses beyond it."""
    LOAN = "loan"
    REPAYMENT = "repayment"
    INTEREST = "interest"
    ESTATE = "estate"
    RESERVE = "reserve"
    """What creditors of a defaulter get beyond all it has, from outside."""
    TRADING_FEE = "trading_fee"
    FUNDING = "funding"
    FUNDING_SHARE = "funding_share"
    OPEN_INTEREST_LEVY = "open_interest_levy"
    VOLUME_LEVY = "volume_levy"
    LIQUIDATION_FEE = "liquidation_fee"
    BOUNTY = "bounty"
    """The part of liquidation fees that liquidators are paid."""
    SURPLUS = "surplus"
    INJECTION = "injection"
    RECAPITALISATION = "recapitalisation"
    DISTRIBUTION = "distribution"
    RELEASE = "release"
    """What the fund has beyond what it needs, to the exchange's capital."""
    BUY_BACK = "buy_back"
    STAKING_REWARD = "staking_reward"
    SLASHED = "slashed"
    """What staked tokens bring when they are sold for a loss."""
    ABSORPTION_PREMIUM = "absorption_premium"
    """What the fund pays liquidators for taking positions at once."""
    OPTION_VAULT_INCOME = "option_vault_income"
    """The fund's share of what the option vault has earned."""
    DEFICIT = "deficit"
    DRAW_EXECUTION = "draw_execution"
    DRAW_TAKEOVER = "draw_takeover"
    DRAW_CLOSE_OUT = "draw_close_out"
    EXCHANGE_CAPITAL = "exchange_capital"
    VAULT = "vault"
    """What the backstop vault pays for deficits."""
    CONTRIBUTION = "contribution"
    """Members' payments into their default fund, and back."""
    MEMBERS_FUND = "members_fund"
    ASSESSMENT = "assessment"
    SOCIALISED_LOSS = "socialised_loss"
    WRITE_DOWN = "write_down"
    RESCUE = "rescue"
    """What the outside world pays because a channel of contagion is closed."""
    OUTSIDE_RESULT = "outside_result"
    """The outside world's gain or loss, from mark to mark, on contracts that it has taken over because a channel is closed."""
    REVALUATION = "revaluation"
    """The fund's gain or loss on coins and tokens that it holds, from price to price."""
    INVENTORY_RESULT = "inventory_result"
    """The fund's gain or loss on contracts it has taken over, from mark to mark and on the trade that closes them."""


DRAWS: Final = (Flow.DRAW_EXECUTION, Flow.DRAW_TAKEOVER, Flow.DRAW_CLOSE_OUT)
"""What the fund pays for deficits, by cause."""
LEVIES: Final = (Flow.OPEN_INTEREST_LEVY, Flow.VOLUME_LEVY, Flow.FUNDING_SHARE)
"""What account holders pay to the fund for trading and holding, beyond trading fees."""


class Ledger:
    """Margin accounts of one venue as columns.

    Args:
        markets: number of derivative markets, M.
        marks: shape (M,), USD, opening mark prices.
        supply: shape (A,), units of each underlying in existence, held by the outside world at first; none, a market each, if not given.
        pool: shape (M,), the fund's pool that pays for each market; one for all of them if not given.
        pools: how many there are.
        settled: shape (M,), the underlying in which each market is settled, -1 for dollars; all in dollars if not given.

    Attributes:
        marks: shape (M,), USD, what one contract adds to its holder's equity.
        units: shape (M,), USD, above 0, notional of one contract, in which size and open interest are meant.
        house: number of rows that are the exchange's own, the outside world's included; the first row of anybody else.
        funds: shape (P,), rows of the fund's pools.
        cash: shape (R,), USD, contracts carried at cost.
        position: shape (M, R), contracts of one unit of the underlying, long > 0.
        exposure: shape (M, R), the position's absolute value.
        entry: shape (M, R), average price of the open contracts, in what they are settled in: USD, or coins for each contract.
        spot: shape (A, R), units of the underlying held.
        coins: shape (A, R), settlement balances in coin, contracts carried at cost; (0, R) where everything is settled in dollars.
        rates: shape (A,), USD a coin by the exchange's index, at which settlement balances count.
        scale: shape (M,), worth of a contract over its price in what it is settled in: 1, or minus the rate.
        currency: shape (R,), int8, in what a row's margin is: 0 for dollars, else 1 + the underlying.
        paid_in: shape (R,), USD, equity when profits were last settled, with what has been paid in since and less what was taken out:
            equity beyond it is net profit since then.
        assets: number of underlyings, A, whose perpetuals are the first markets.
        index: shape (A,), USD, at which the fund's coins are valued.
        tokens: of the venue's own that the fund's first pool holds; token_price: USD at which they are valued.
        role, status: shape (R,), int8.
        flows: USD moved in the step, by kind.
        statements: by pool, USD by kind that changed it in the step; the total is the change of its equity.
    """

    _COLUMNS = (("cash", 0), ("position", 1), ("exposure", 1), ("entry", 1), ("spot", 2), ("coins", 3), ("paid_in", 0))

    cash: Floats
    position: Floats
    exposure: Floats
    entry: Floats
    spot: Floats
    coins: Floats
    paid_in: Floats
    currency: NDArray[np.int8]
    role: NDArray[np.int8]
    status: NDArray[np.int8]

    def __init__(
        self, marks: Floats, supply: Floats | None = None, pool: Rows | None = None, pools: int = 1, settled: Rows | None = None
    ) -> None:
        self.marks: Floats = np.array(marks, dtype=float)
        self.units: Floats = self.marks
        self.markets = self.marks.size
        self.assets = self.markets if supply is None else supply.size
        self.index: Floats = self.marks[: self.assets].copy()
        self.settled: Rows = np.full(self.markets, -1, dtype=np.intp) if settled is None else settled
        self.currencies = self.assets if (self.settled >= 0).any() else 0
        self.rates: Floats = self.index
        self.scale: Floats = np.ones(self.markets)
        if self.currencies:
            self.scale = np.where(self.settled >= 0, -self.rates[self.settled], 1.0)
        self.rows = 0
        self.funds: Rows = np.concatenate(([FUND], np.arange(_FURTHER, _FURTHER + pools - 1))).astype(np.intp)
        self._pool_of_row = {row: at for at, row in enumerate(self.funds.tolist())}
        self._fund_of_market = self.funds[np.zeros(self.markets, dtype=np.intp) if pool is None else pool]
        self.flows: dict[Flow, float] = {}
        self.statements: list[dict[Flow, float]] = [{} for _ in range(pools)]
        self._store: dict[str, NDArray[np.generic]] = {}
        self.house = _FURTHER + pools - 1
        self.open(self.house, Role.HOUSE)
        if supply is not None:
            self.spot[:, OUTSIDE] = supply
        self._supply = self.spot.sum(axis=1)
        self.tokens = self.token_price = 0.0
        self._largest = 0.0

    # -- rows -----------------------------------------------------------------------------------------------------------------------

    def open(self, count: int, role: Role) -> Rows:
        """Appends `count` empty accounts; returns their rows. Amortised O(count)."""
        first, last = self.rows, self.rows + count
        if not self._store or last > self._store["cash"].size:
            self._grow(max(last, 2 * first))
        self.rows = last
        self._bind()
        self.role[first:last] = role
        return np.arange(first, last)

    def _grow(self, capacity: int) -> None:
        for name, dims in (*self._COLUMNS, ("currency", -1), ("role", -1), ("status", -1)):
            lines = {1: self.markets, 2: self.assets, 3: self.currencies}.get(dims)
            shape = (capacity,) if lines is None else (lines, capacity)
            fresh = np.zeros(shape, dtype=np.int8 if dims < 0 else np.float64)
            if name in self._store:
                fresh[..., : self.rows] = self._store[name][..., : self.rows]
            self._store[name] = fresh

    def _bind(self) -> None:
        for name, column in self._store.items():
            setattr(self, name, column[..., : self.rows])

    def __setstate__(self, state: dict[str, object]) -> None:
        """A copy's columns are views of its own store, not of copies of their own."""
        self.__dict__.update(state)
        self._bind()

    def take(self, rows: Rows) -> "Ledger":
        """A compact ledger of some rows, the house first; it books its flows where this one does."""
        part = object.__new__(Ledger)
        part.markets, part.assets, part.rows = self.markets, self.assets, rows.size
        part.marks, part.units, part.index, part._supply = self.marks, self.units, self.index, self._supply
        part.settled, part.currencies, part.rates, part.scale = self.settled, self.currencies, self.rates, self.scale
        part.house, part.funds = self.house, self.funds
        part._pool_of_row, part._fund_of_market = self._pool_of_row, self._fund_of_market
        part.flows, part.statements = self.flows, self.statements
        part.tokens, part.token_price = self.tokens, self.token_price
        part._store = {name: column[..., rows] for name, column in self._store.items()}
        part._bind()
        return part

    def put(self, rows: Rows, part: "Ledger") -> None:
        """Writes a compact ledger's rows back and takes over its marks."""
        for name, column in part._store.items():  # noqa: SLF001 - of our own kind
            self._store[name][..., rows] = column
        self.marks, self.units, self.index = part.marks, part.units, part.index
        self.rates, self.scale = part.rates, part.scale
        self.tokens, self.token_price = part.tokens, part.token_price

    # -- what is held ---------------------------------------------------------------------------------------------------------------

    def balance(self, rows: RowsLike = slice(None)) -> Floats:
        """Shape (rows,), USD: cash of every currency, contracts carried at cost; all that a row without contracts has."""
        if not self.currencies:
            return self.cash[rows]
        held: Floats = self.cash[rows] + self.rates @ self.coins[:, rows]
        return held

    def equity(self, rows: RowsLike = slice(None)) -> Floats:
        """Shape (rows,), USD: cash plus open contracts at mark."""
        held: Floats = self.balance(rows) + self.marks @ self.position[:, rows]
        return held

    def cost(self, rows: RowsLike = slice(None)) -> Floats:
        """Shape (M, rows), USD: what the open contracts cost at entry, coins at today's rate."""
        entry = self.entry[:, rows]
        return entry * self.scale[:, None] if self.currencies else entry

    def claims(self) -> Floats:
        """Shape (R,), USD: what account holders are owed: equity above zero, of everybody but the house."""
        return np.where(self.role != Role.HOUSE, np.maximum(self.equity(), 0.0), 0.0)

    def fund_of(self, market: int) -> int:
        """The row of the pool that pays for a market."""
        return int(self._fund_of_market[market])

    def quoted(self, market: int, price: float | Floats) -> float | Floats:
        """A contract's worth, USD, as its market quotes it: USD a coin where it is settled in coin."""
        return price if self.settled[market] < 0 else self.scale[market] / price

    @property
    def pools(self) -> list[float]:
        """USD by pool of the backstop fund, its inventory at mark, its coins at the index."""
        rows = self.funds.tolist()
        held = [float(self.balance(row) + self.marks @ self.position[:, row] + self.index @ self.spot[:, row]) for row in rows]
        if self.tokens:
            held[0] += self.tokens * self.token_price
        return held

    @property
    def fund(self) -> float:
        """USD: the backstop fund, its inventory at mark, all pools together."""
        return sum(self.pools, 0.0)

    @property
    def statement(self) -> dict[Flow, float]:
        """USD by kind that changed the fund in the step, all pools together."""
        total: dict[Flow, float] = {}
        for statement in self.statements:
            for kind, usd in statement.items():
                total[kind] = total.get(kind, 0.0) + usd
        return total

    @property
    def treasury(self) -> float:
        """USD: the exchange's own capital."""
        return float(self.cash[TREASURY])

    @property
    def custody(self) -> float:
        """USD: cash, coins at their rate, that the outside world has paid in and not taken out; it backs every balance.

        What it loses on contracts that it has taken over it pays in; what it gains it takes when they are closed.
        """
        held = self.position[:, OUTSIDE]
        if not held.any():
            return -float(self.balance(OUTSIDE))
        return -float(self.balance(OUTSIDE) + min(self.marks @ held, (self.scale * self.entry[:, OUTSIDE]) @ held))

    # -- movements ------------------------------------------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Starts a new step's flows and fund statement."""
        self.flows, self.statements = {}, [{} for _ in self.statements]

    def _itemise(self, pool: int, kind: Flow, usd: float) -> None:
        statement = self.statements[pool]
        statement[kind] = statement.get(kind, 0.0) + usd

    def _earned_outside(self, usd: float) -> None:
        self.flows[Flow.OUTSIDE_RESULT] = self.flows.get(Flow.OUTSIDE_RESULT, 0.0) + usd

    def transfer(self, kind: Flow, source: RowsLike, target: RowsLike, amount: float | Floats) -> float:
        """Moves USD from `source` to `target`; at least one of them is a single row. Returns the total moved."""
        total = float(amount) if isinstance(amount, float | int) else float(amount.sum())
        self.cash[source] -= amount if not isinstance(source, int) else total
        self.cash[target] += amount if not isinstance(target, int) else total
        self.flows[kind] = self.flows.get(kind, 0.0) + total
        if isinstance(source, int) and source == OUTSIDE:
            self.paid_in[target] += amount if not isinstance(target, int) else total
        elif isinstance(target, int) and target == OUTSIDE:
            self.paid_in[source] -= amount if not isinstance(source, int) else total
        if isinstance(target, int) and target in self._pool_of_row:
            self._itemise(self._pool_of_row[target], kind, total)
        if isinstance(source, int) and source in self._pool_of_row:
            self._itemise(self._pool_of_row[source], kind, -total)
        return total

    def pay(self, kind: Flow, amounts: Floats) -> None:
        """A transfer among all rows at once: `amounts`, shape (R,), is what each row receives and sums to zero.

        The fund's part is itemised, whatever rounding leaves goes to the outside world.
        """
        self.cash += amounts
        self.cash[OUTSIDE] -= amounts.sum()
        self.flows[kind] = self.flows.get(kind, 0.0) + 0.5 * float(np.abs(amounts).sum())
        for row, pool in self._pool_of_row.items():
            if amounts[row]:
                self._itemise(pool, kind, float(amounts[row]))

    def trade(
        self, market: int, rows: Rows, quantity: Floats, price: float | Floats, others: Rows, taken: Floats, at: float | Floats
    ) -> None:
        """Exchanges contracts between two groups of distinct rows.

        Args:
            market: which market.
            rows, quantity, price: one side: rows, signed contracts, USD a contract.
            others, taken, at: the other side; `quantity` and `taken` sum to zero together, and so do the cash legs.
        """
        self._fill(slice(market, market + 1), rows, quantity[None], np.asarray(price)[None])
        self._fill(slice(market, market + 1), others, taken[None], np.asarray(at)[None])

    def trade_all(self, rows: Rows, quantity: Floats, price: Floats, others: Rows, taken: Floats) -> None:
        """Trades in every market at once, contracts (M, n) of rows (n,) against (M, k) of others (k,), at one price a market, (M,)."""
        self._fill(slice(None), rows, quantity, price)
        self._fill(slice(None), others, taken, price)

    def _fill(self, markets: slice, rows: Rows, quantity: Floats, price: Floats) -> None:
        """Contracts (m, n) for rows (n,) at prices (m,) or (m, n)."""
        price = price if price.ndim == 2 else price[:, None]
        positions, entries = self.position[markets], self.entry[markets]
        old = positions[:, rows]
        new = old + quantity
        new = np.where(np.abs(new) <= DUST * np.abs(quantity), 0.0, new)
        size = np.abs(new)
        cost = quantity * price
        self.cash[rows] -= self._dollars(markets, rows, cost).sum(axis=0)
        own = cost
        if self.currencies:
            price, own = price / self.scale[markets, None], cost / self.scale[markets, None]
        entry = entries[:, rows]
        average = (entry * np.abs(old) + np.abs(own)) / np.where(size > 0.0, size, 1.0)
        entry = np.where(old * quantity >= 0.0, average, np.where(old * new < 0.0, price, entry))
        entries[:, rows] = entry * (size > 0.0)
        positions[:, rows] = new
        self.exposure[markets, rows] = size
        if not (rows < self.house).any():
            return
        for row, pool in self._pool_of_row.items():
            mine = rows == row
            if mine.any():
                gain = (quantity[:, mine] * self.marks[markets, None] - cost[:, mine]).sum()
                self._itemise(pool, Flow.INVENTORY_RESULT, float(gain))

    def _dollars(self, markets: slice, rows: Rows, cost: Floats) -> Floats:
        """Takes the cost, (m, n) USD, of what is settled in coin from coins; returns what is left to be paid in dollars, (m, n)."""
        if not self.currencies:
            return cost
        settled = self.settled[markets]
        for line, asset in enumerate(settled.tolist()):
            if asset >= 0:
                self.coins[asset, rows] -= cost[line] / self.rates[asset]
        dollars: Floats = np.where(settled[:, None] < 0, cost, 0.0)
        return dollars

    def change(self, rows: Rows, units: Floats) -> Floats:
        """Rows (n,) buy (> 0) or sell settlement coins, (A, n), at their rates against the outside world. Returns USD bought, (A,)."""
        self.coins[:, rows] += units
        self.coins[:, OUTSIDE] -= units.sum(axis=1)
        cost = self.rates @ units
        self.cash[rows] -= cost
        self.cash[OUTSIDE] += cost.sum()
        bought: Floats = self.rates * units.sum(axis=1)
        return bought

    def pay_in(self, kind: Flow, rows: Rows, usd: Floats) -> None:
        """Account holders, (n,), pay in USD, or as much of the coin that their margin is in."""
        rows, usd = self._move_coins(kind, rows, usd, 1.0)
        self.transfer(kind, OUTSIDE, rows, usd)

    def take_out(self, kind: Flow, rows: Rows, usd: Floats) -> None:
        """Account holders, (n,), take out USD, or as much of the coin that their margin is in."""
        rows, usd = self._move_coins(kind, rows, usd, -1.0)
        self.transfer(kind, rows, OUTSIDE, usd)

    def _move_coins(self, kind: Flow, rows: Rows, usd: Floats, sign: float) -> tuple[Rows, Floats]:
        """The part in coin of what comes in (`sign` 1) or goes out (-1); returns the part in dollars, rows and USD."""
        if not self.currencies:
            return rows, usd
        mine = self.currency[rows] > 0
        holders, asset = rows[mine], self.currency[rows[mine]] - 1
        units = sign * usd[mine] / self.rates[asset]
        self.coins[asset, holders] += units
        self.coins[:, OUTSIDE] -= np.bincount(asset, units, self.currencies)
        self.paid_in[holders] += sign * usd[mine]
        self.flows[kind] = self.flows.get(kind, 0.0) + float(usd[mine].sum())
        return rows[~mine], usd[~mine]

    def trade_spot(self, asset: int, rows: Rows, quantity: Floats, price: float) -> None:
        """Buys (> 0) or sells units of the underlying against the outside world at `price`, USD."""
        self.spot[asset, rows] += quantity
        self.spot[asset, OUTSIDE] -= quantity.sum()
        cost = quantity * price
        self.cash[rows] -= cost
        self.paid_in[rows] -= cost
        self.cash[OUTSIDE] += cost.sum()

    def mark(self, marks: Floats, units: Floats | None = None, rates: Floats | None = None) -> None:
        """Moves what a contract is worth and, if they differ, its notional, (M,), USD, and what settlement coins are worth, (A,), USD.

        The fund's inventory gains or loses at once.
        """
        for row, pool in self._pool_of_row.items():
            held = self.position[:, row]
            if held.any():
                self._itemise(pool, Flow.INVENTORY_RESULT, float((marks - self.marks) @ held))
        if self.currencies and rates is not None:
            self._rate(rates)
        rescued = self.position[:, OUTSIDE]
        if rescued.any():
            self._earned_outside(float((marks - self.marks) @ rescued))
        self.marks, self.units = marks, marks if units is None else units

    def _rate(self, rates: Floats) -> None:
        """Moves the rates of settlement coins, (A,), USD: those that the fund's inventory has brought gain or lose at once."""
        for row, pool in self._pool_of_row.items():
            coins = self.coins[:, row]
            if coins.any():
                self._itemise(pool, Flow.INVENTORY_RESULT, float((rates - self.rates) @ coins))
        before, self.rates = self.scale, rates
        self.scale = np.where(self.settled >= 0, -rates[self.settled], 1.0)
        gained = float(((before - self.scale) * self.entry[:, OUTSIDE]) @ self.position[:, OUTSIDE])
        if gained:
            self.flows[Flow.OUTSIDE_RESULT] = self.flows.get(Flow.OUTSIDE_RESULT, 0.0) + gained

    def revalue(self, index: Floats) -> None:
        """Moves the index prices, shape (A,), USD, at which the fund's coins are valued: they gain or lose at once."""
        for row, pool in self._pool_of_row.items():
            coins = self.spot[:, row]
            if coins.any():
                self._itemise(pool, Flow.REVALUATION, float((index - self.index) @ coins))
        self.index = index

    def settle(self, market: int, price: float) -> None:
        """All contracts of a market end at `price`, USD, in cash."""
        held = self.position[market]
        for row, pool in self._pool_of_row.items():
            if held[row]:
                self._itemise(pool, Flow.INVENTORY_RESULT, float((price - self.marks[market]) * held[row]))
        if held[OUTSIDE]:
            self._earned_outside(float((price - self.marks[market]) * held[OUTSIDE]))
        self.cash += price * held
        for column in (self.position, self.exposure, self.entry):
            column[market] = 0.0

    def trade_tokens(self, units: float, usd: float) -> None:
        """The fund's first pool buys (> 0) or sells tokens for USD, from or to the outside world."""
        self.tokens += units
        self.cash[FUND] -= usd
        self.cash[OUTSIDE] += usd
        self._itemise(0, Flow.REVALUATION, units * self.token_price - usd)

    def revalue_tokens(self, price: float) -> None:
        """Moves the price, USD, at which the fund's tokens are valued: they gain or lose at once."""
        if self.tokens:
            self._itemise(0, Flow.REVALUATION, (price - self.token_price) * self.tokens)
        self.token_price = price

    def tear_up(self) -> None:
        """Ends every contract at mark: what accounts have is cash of what it was settled in."""
        for market, asset in enumerate(self.settled.tolist()):
            if asset >= 0:
                self.coins[asset] += self.marks[market] * self.position[market] / self.rates[asset]
                self.position[market] = 0.0
        self.cash[:] = self.cash + self.marks @ self.position
        self.position[:] = 0.0
        self.exposure[:] = 0.0
        self.entry[:] = 0.0

    def turn_into_dollars(self) -> None:
        """What accounts have in coin becomes dollars at the day's rate, as the claims on FTX's estate did."""
        self.cash[:] = self.balance()
        self.coins[:] = 0.0

    # -- laws -----------------------------------------------------------------------------------------------------------------------

    def check(self, step: int, tolerance: float = 1e-9, outstanding: float = 0.0) -> None:
        """Asserts the laws of the ledger, `outstanding` USD of losses being yet to be borne.

        Raises:
            LawViolation: cash, contracts or spot not closed; a column not finite; settlement not empty; a closed account below zero.
        """
        if not (np.isfinite(self.cash).all() and np.isfinite(self.position).all() and np.isfinite(self.marks).all()):
            raise LawViolation(step, "every balance is finite", np.flatnonzero(~np.isfinite(self.cash)))
        # Whatever the accounts hold now, a millionth of a dollar is rounding.
        gross = float(np.abs(self.cash).sum()) + 1e-6 / tolerance
        if self.currencies:
            gross += float(self.rates @ np.abs(self.coins).sum(axis=1))
        # Sums that once were large have left rounding of their own behind.
        self._largest = max(self._largest, gross)
        gross += LAST_DIGITS / tolerance * self._largest
        if abs(self.cash.sum()) > tolerance * gross:
            raise LawViolation(step, f"cash is closed (off by {self.cash.sum():g} USD of {gross:g} gross)", [])
        for name, column, target in (("contracts", self.position, 0.0), ("spot", self.spot, self._supply), ("coins", self.coins, 0.0)):
            open_ends = np.abs(column.sum(axis=1) - target)
            off = open_ends > tolerance * (np.abs(column).sum(axis=1) + 1.0)
            # What is left of large positions that have been closed is rounding if it is worth nothing.
            off &= open_ends * self.units[: off.size] > tolerance * gross
            if off.any():
                raise LawViolation(step, f"{name} are closed (markets {np.flatnonzero(off).tolist()})", [])
        if abs(self.cash[SETTLEMENT] + outstanding) > tolerance * gross:
            raise LawViolation(step, f"losses are conserved (settlement holds {self.cash[SETTLEMENT]:g} USD)", [SETTLEMENT])
        flat = ~self.exposure.any(axis=0)
        flat[: self.house] = False
        below = np.flatnonzero(flat & (self.balance() < -tolerance * gross))
        if below.size:
            raise LawViolation(step, "no closed account is below zero", below)
