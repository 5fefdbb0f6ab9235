"""Prices of a venue's markets: the order book as a stock of depth that replenishes, the index, and the mark.

A perpetual's price is index x (1 + premium), that of any other contract of one unit of the underlying index x (fair + premium). Order
flow takes depth from the book and so moves the premium along the measured curve of cumulative depth; makers' replenishing lets it decay;
a small, linear part of the flow passes into the index for good. Quotes are thus anchored on the index and not on the last trade.
"""

from typing import Annotated, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clock import HOURS_PER_YEAR
from agents.families import Parameters
from model.instruments import Fixing, Instruments, Moment
from model.surface import along_path, next_level

type Floats = NDArray[np.float64]

REFERENCE_DISTANCE = 1e-3
"""Depth is stated as USD resting within ten basis points of the mid price."""
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_NODES, _WEIGHTS = 0.5 * (_NODES + 1.0), 0.5 * _WEIGHTS
_NO_DEPTH = 1e-300
FULL = 1.0 - 1e-9
"""A fill this close to the whole order is the whole order, so that no dust is left in a position."""
WEDGE_HOURS = 72.0
"""Traders look at a dated contract's premium over three days, as they do at funding."""
REFERENCE_ORDER = 100e3
"""USD of the order whose round trip is stated as the spread (our choice)."""


class MarketParameters(Parameters):
    """How the markets of a venue form prices."""

    depth_exponent: Annotated[
        float,
        Field(
            gt=0.2,
            le=2,
            description="cumulative depth within a distance grows as distance to this power",
            json_schema_extra={"unit": "1", "source": "Amberdata 2025"},
        ),
    ] = 0.67
    replenish_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=86400,
            description="time in which all but 1/e of the depth taken comes back (our choice)",
            json_schema_extra={"unit": "s"},
        ),
    ] = 60.0
    mark_seconds: Annotated[
        float,
        Field(
            gt=0,
            le=86400,
            description="averaging time of the premium in the mark price",
            json_schema_extra={"unit": "s", "source": "Hyperliquid, robust price indices"},
        ),
    ] = 150.0
    pass_through: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="share of a flow's first-order impact that stays in the index (our choice; zero for replayed prices)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.1
    price_band: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="displacement of the price beyond which orders are not filled (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.03
    interest_rate: Annotated[
        float,
        Field(
            ge=-0.01,
            le=0.01,
            description="interest component of funding",
            json_schema_extra={"unit": "per 8 h", "source": "Binance, BitMEX"},
        ),
    ] = 1e-4
    funding_clamp: Annotated[
        float,
        Field(
            ge=0, le=0.01, description="clamp on interest less premium", json_schema_extra={"unit": "per 8 h", "source": "Binance, BitMEX"}
        ),
    ] = 5e-4
    funding_cap: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="largest funding rate (our choice; dYdX v4: 600 % of initial less maintenance rate; Paradex: 2 % on BTC, ETH, SOL)",
            json_schema_extra={"unit": "per 8 h"},
        ),
    ] = 0.0075


class Cleared(NamedTuple):
    """What an auction decided, each (M,): USD a contract; shares of the buy and of the sell orders filled; contracts the makers take."""

    price: Floats
    buys: Floats
    sells: Floats
    makers: Floats


class Projection(NamedTuple):
    """A market at the end of a step in which nobody is liquidated: its state, and what is added to the premium's average."""

    log_index: Floats
    pressure: Floats
    basis: Floats
    momentum: Floats
    premium_time: Floats
    hours: float
    path: Floats
    durations: Floats


class Market:
    """Books, index and mark of M markets, of which the first A are the perpetuals of A underlyings.

    Attributes:
        listed: what is traded if it is not perpetuals alone; inverse: shape (M,), which of it is settled in coin, None if nothing.
        assets: number of underlyings, A; asset: shape (M,), each market's.
        clock: hours of model time; level: shape (A,), annualised, implied volatility when the step began; carry: shape (A,), annualised.
        wedge: shape (M,), averaged premium of the last three days, exponentially weighted, as traders see a dated contract's.
        bought: shape (A,), net vega bought in the step's auction over that of the depth in calm; what is liquidated does not count.
        log_index: shape (M,), log USD, of each market's underlying.
        pressure: shape (M,), USD, net buying taken from the book and not yet replenished.
        skew: shape (M,), log, makers' quotes against the index, from their inventory.
        basis: shape (M,), log, averaged premium in the mark.
        impact: shape (M,), Kyle's lambda: log index move for each USD of net buying, pass-through x 10 bp / calm depth.
        depth: shape (2, M), USD within ten basis points: bids, asks.
        volatility: shape (M,), annualised, exponentially weighted from the index.
        average_premium: shape (M,), premium of the last eight hours, exponentially weighted, for funding.
        momentum: shape (M,), log, how far news has moved the index of late, with an hour's memory.
        mispricing: shape (M,), log error of the index by which contracts are marked; the book trades at the right one.
    """

    def __init__(
        self, parameters: MarketParameters, prices: Floats, depth: Floats, volatility: Floats, listed: Instruments | None = None
    ) -> None:
        self.parameters, self.listed = parameters, listed
        self.asset: NDArray[np.intp] = np.arange(prices.size) if listed is None else listed.asset
        self.assets = int(self.asset.max(initial=-1)) + 1
        self.inverse: NDArray[np.bool_] | None = listed.coin_settled if listed is not None and listed.coin_settled.any() else None
        self.log_index: Floats = np.log(prices)
        self.reference_depth: Floats = np.array(depth, dtype=float)
        zero = np.zeros(prices.size)
        self.pressure, self.skew, self.basis, self.flow = zero.copy(), zero.copy(), zero.copy(), zero.copy()
        self.depth: Floats = np.vstack([depth, depth]).astype(float)
        self.volatility: Floats = np.array(volatility, dtype=float)
        self.momentum: Floats = zero.copy()
        self.average_premium: Floats = zero.copy()
        self.mispricing: Floats = zero.copy()
        self._curve = 1.0 / parameters.depth_exponent
        self._replenish = parameters.replenish_seconds / 3600.0
        self._averaging = parameters.mark_seconds / 3600.0
        slope = REFERENCE_DISTANCE / np.maximum(self.reference_depth, _NO_DEPTH) * (self.reference_depth > 0.0)
        self.impact: Floats = parameters.pass_through * slope
        if listed is not None:
            self.impact = np.where(listed.option, 0.0, self.impact[self.asset])
        self._premium_time = np.zeros(prices.size)
        self._hours = 0.0
        self.clock = 0.0
        self.wedge: Floats = zero.copy()
        self.carry, self.bought = zero[: self.assets].copy(), zero[: self.assets].copy()
        self.level: Floats = self.volatility[: self.assets] * (1.0 if listed is None else listed.surface.premium)
        self._opened: Floats = self.log_index[: self.assets].copy()
        self._trail: list[tuple[float, float, Floats]] = []

    # -- prices ---------------------------------------------------------------------------------------------------------------------

    @property
    def index(self) -> Floats:
        """Shape (M,), USD."""
        index: Floats = np.exp(self.log_index)
        return index

    @property
    def marks(self) -> Floats:
        """Shape (M,), USD, what a contract is worth: of a perpetual index x (1 + averaged premium), as BitMEX's and Hyperliquid's marks."""
        if self.listed is not None:
            return self.listed.worth(self.moment(self.log_index, self.clock), self.basis)
        marks: Floats = np.exp(self.log_index + self.mispricing) * (1.0 + self.basis)
        return marks

    @property
    def underlying(self) -> Floats:
        """Shape (A,), USD: the index of each underlying."""
        return self.index[: self.assets]

    @property
    def rates(self) -> Floats:
        """Shape (A,), USD a coin: the index as the exchange has it, its errors included, at which settlement balances count."""
        rates: Floats = np.exp(self.log_index + self.mispricing)[: self.assets]
        return rates

    @property
    def quoted_marks(self) -> Floats:
        """Shape (M,), USD: marks as the book quotes them, those of inverse contracts in USD a coin."""
        marks = self.marks
        if self.inverse is None:
            return marks
        return np.where(self.inverse, self.rates[self.asset] / np.where(self.inverse, -marks, 1.0), marks)

    def rates_along(self, log_index: Floats) -> Floats:
        """Shape (A, K), USD a coin along a path of log indices, (M, K); (0, K) where nothing is settled in coin."""
        if self.inverse is None:
            return np.empty((0, log_index.shape[1]))
        rates: Floats = np.exp(log_index + self.mispricing[:, None])[: self.assets]
        return rates

    def face(self, index: Floats) -> Floats:
        """Shape (M,), USD of order flow that one contract is: the index, 1 of an inverse contract."""
        return index if self.inverse is None else np.where(self.inverse, 1.0, index)

    def worth(self, price: Floats, rates: Floats) -> Floats:
        """Shape (M,), USD: what contracts at `price`, (M,), as the book quotes them, are worth at `rates`, (A,), of settlement coins.

        The book quotes an inverse contract at p USD a coin; it is worth -1 / p coins.
        """
        if self.inverse is None:
            return price
        return np.where(self.inverse, -rates[self.asset] / np.maximum(price, _NO_DEPTH), price)

    def worth_of(self, market: int, price: float, rates: Floats) -> float:
        """USD: see `worth`, of one market; nothing is worth less than nothing but what is settled in coin."""
        if self.inverse is not None and self.inverse[market]:
            return -float(rates[self.asset[market]]) / max(price, _NO_DEPTH)
        return max(price, 0.0)

    def moment(self, log_index: Floats, hours: Floats | float, *, marked: bool = True) -> Moment:
        """Where underlyings stand at indices (M, ...), log, and times; `marked`: as the exchange has them, its errors included."""
        log_index = log_index[: self.assets]
        wide = (slice(None), *([None] * (log_index.ndim - 1)))
        assert self.listed is not None
        level = along_path(self.listed.surface, self.level[wide], log_index - self._opened[wide])
        seen = log_index + self.mispricing[: self.assets][wide] if marked else log_index
        return Moment(np.exp(seen), level, hours, self.carry)

    def fixing(self) -> Fixing | None:
        """What contracts are worth now, where there are options; without them marks say it all."""
        if self.listed is None or not self.listed.option.any():
            return None
        return Fixing(self.listed, self.moment(self.log_index, self.clock), self.basis.copy())

    @property
    def fair(self) -> Floats | float:
        """Shape (M,), or 1 for perpetuals alone: fair price, as the book quotes it, over the index."""
        if self.listed is None:
            return 1.0
        at = self.moment(self.log_index, self.clock, marked=False)
        fair: Floats = self.listed.worth(at, np.zeros(self.asset.size)) / np.maximum(self.index, _NO_DEPTH)
        return fair if self.inverse is None else np.where(self.inverse, 1.0, fair)

    def _side(self, pressure: Floats) -> Floats:
        shown: Floats = np.where(pressure > 0.0, self.depth[1], self.depth[0])
        return shown

    def displacement(self, pressure: Floats) -> Floats:
        """Log distance from the quotes' centre: 10 bp x (|Q| / depth)^(1 / exponent), signed, inside the price band."""
        depth = self._side(pressure)
        ratio = np.abs(pressure) / np.where(depth > _NO_DEPTH, depth, np.inf)
        moved: Floats = np.sign(pressure) * np.minimum(REFERENCE_DISTANCE * ratio**self._curve, self.parameters.price_band)
        return moved

    @property
    def premium(self) -> Floats:
        """Shape (M,): the book's price over the index, less one."""
        premium: Floats = self.skew + self.displacement(self.pressure)
        return premium

    @property
    def spread(self) -> Floats:
        """Shape (M,): what buying and selling 100,000 USD at once costs, over that amount.

        The average of the depth curve over the order, asks and bids together, on the book as makers quote it; like `depth`, and unlike the
        premium, it does not know what flow has just taken. What no depth inside the price band can fill counts at the band, so that a book
        without quotes has a spread of twice the band.
        """
        band, power = self.parameters.price_band, self._curve
        edge = self.depth * (band / REFERENCE_DISTANCE) ** self.parameters.depth_exponent
        inside = np.minimum(REFERENCE_ORDER, edge)
        ratio = inside / np.where(self.depth > _NO_DEPTH, self.depth, np.inf)
        cost = REFERENCE_DISTANCE * inside * ratio**power / (power + 1.0) + band * (REFERENCE_ORDER - inside)
        spread: Floats = cost.sum(axis=0) / REFERENCE_ORDER
        return spread

    @property
    def alarm(self) -> Floats:
        """Shape (M,), annualised: the larger of measured volatility and the last hour's move as if it were one standard deviation."""
        alarm: Floats = np.maximum(self.volatility, np.abs(self.momentum) * np.sqrt(HOURS_PER_YEAR))
        return alarm

    def fair_of(self, market: int) -> float:
        """Fair price of one market over its index."""
        return 1.0 if self.listed is None else float(np.asarray(self.fair)[market])

    # -- order flow -----------------------------------------------------------------------------------------------------------------

    def quote(self, depth: Floats, skew: Floats) -> None:
        """Makers' new quotes: depth (2, M) in USD within ten basis points, skew (M,). What displacement there is stays."""
        old = self._side(self.pressure)
        self.depth, self.skew = depth, skew
        new = self._side(self.pressure)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.pressure = np.where(old > 0.0, self.pressure * (new / old), 0.0)

    def auction(self, buys: Floats, sells: Floats, hours: float) -> Cleared:
        """Clears a step's market orders, spread evenly over the step, at one price a market.

        Orders meet each other first; the net flow q is taken from the book at the rate q / hours while depth replenishes, dQ/dt = q /
        hours - Q / tau,
        and trades at the time average of the curve (Gauss-Legendre). What would leave the price band is not filled.

        Args:
            buys, sells: shape (M,), contracts, unsigned.
            hours: the step's length.
        """
        index = self.index
        face = self.face(index)
        net = buys - sells
        capacity = self._capacity(np.sign(net), self.parameters.price_band, hours) / face
        makers = np.clip(net, -capacity, capacity)
        short = np.abs(net) - np.abs(makers)
        with np.errstate(divide="ignore", invalid="ignore"):
            filled_buys = np.where(buys > 0.0, 1.0 - np.where(net > 0.0, short, 0.0) / buys, 1.0)
            filled_sells = np.where(sells > 0.0, 1.0 - np.where(net < 0.0, short, 0.0) / sells, 1.0)
        self.flow = makers * face / hours
        start, ultimate = self.pressure, self.flow * self._replenish
        at = np.exp(-_NODES[:, None] * hours / self._replenish)
        average = _WEIGHTS @ self.displacement(start * at + ultimate * (1.0 - at))
        price = index * (self.fair + self.skew + average)
        if self.listed is not None:
            price = np.maximum(price, 0.0)
            self.bought = self._vega_bought(makers)
        return Cleared(price, filled_buys, filled_sells, -makers)

    def _vega_bought(self, contracts: Floats) -> Floats:
        """Shape (A,): vega of contracts bought from the book, (M,), over that of the depth shown in calm, by underlying."""
        assert self.listed is not None
        vega = self.listed.vegas(self.moment(self.log_index, self.clock), self.basis)
        shown = self.reference_depth / np.maximum(self.index, _NO_DEPTH)
        bought, depth = (np.bincount(self.asset, vega * size, self.assets) for size in (contracts, shown))
        share: Floats = np.divide(bought, depth, out=np.zeros_like(bought), where=depth > 0.0)
        return share

    def _capacity(self, sign: Floats, band: float, hours: float) -> Floats:
        """USD that can still flow in the direction of `sign` over `hours` (0: at once) before the displacement reaches `band`."""
        depth = np.where(sign > 0.0, self.depth[1], self.depth[0])
        limit = depth * (band / REFERENCE_DISTANCE) ** self.parameters.depth_exponent
        decay, gain = 1.0, 1.0
        if hours > 0.0:
            decay = float(np.exp(-hours / self._replenish))
            gain = self._replenish / hours * (1.0 - decay)
        room: Floats = np.maximum(limit - sign * self.pressure * decay, 0.0) / gain
        return np.where(depth > 0.0, room, 0.0)

    def execute(self, market: int, quantity: float, band: float) -> tuple[float, float]:
        """Executes a market order at once against the resting depth.

        Args:
            market: which market.
            quantity: signed contracts, buy > 0.
            band: displacement at which the order stops.

        Returns:
            Contracts filled (signed) and their average price as quoted, USD: the integral of the depth curve over the flow.
        """
        sign = float(np.sign(quantity))
        index = float(np.exp(self.log_index[market]))
        face = 1.0 if self.inverse is not None and self.inverse[market] else index
        depth = float(self.depth[1 if sign > 0 else 0, market])
        if depth <= 0.0 or index <= 0.0:
            return 0.0, index
        power = self.parameters.depth_exponent
        start = float(self.pressure[market])
        limit = depth * (min(band, self.parameters.price_band) / REFERENCE_DISTANCE) ** power
        size = min(abs(quantity) * face, max(limit - sign * start, 0.0))
        if size <= 0.0:
            return 0.0, index
        if size >= FULL * abs(quantity) * face:
            size = abs(quantity) * face
        stop = start + sign * size
        average = self._average(market, start, stop)
        self.pressure[market] = stop
        self._impact(market, sign * size)
        filled = quantity if size == abs(quantity) * face else sign * size / face
        return filled, index * (self.fair_of(market) + float(self.skew[market]) + average)

    def _average(self, market: int, start: float, stop: float) -> float:
        """Displacement on average from one pressure to another; at their middle where the integral's difference would be all rounding."""
        if abs(stop - start) > 1e-6 * abs(start):
            return (self._integral(market, stop) - self._integral(market, start)) / (stop - start)
        middle = self.pressure.copy()
        middle[market] = 0.5 * (start + stop)
        return float(self.displacement(middle)[market])

    def _integral(self, market: int, pressure: float) -> float:
        """Antiderivative of the displacement in the pressure; depth differs by side, so each side integrates from zero.

        Flow can press beyond the price band when depth is withdrawn; the displacement stays at the band there.
        """
        depth = float(self.depth[1 if pressure > 0 else 0, market])
        if depth <= 0.0 or pressure == 0.0:
            return 0.0
        power, band = self._curve, self.parameters.price_band
        edge = depth * (band / REFERENCE_DISTANCE) ** self.parameters.depth_exponent
        inside = min(abs(pressure), edge)
        curve = REFERENCE_DISTANCE * depth * (inside / depth) ** (power + 1.0) / (power + 1.0)
        return float(curve + band * (abs(pressure) - inside))

    def _impact(self, market: int, usd: float) -> None:
        if self.listed is None:
            self.log_index[market] += self.impact[market] * usd
        else:
            self.log_index[self.asset == self.asset[market]] += self.impact[market] * usd

    # -- time -----------------------------------------------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Starts the averaging of the premium for funding."""
        self._premium_time = np.zeros_like(self.basis)
        self._hours = 0.0
        self._opened = self.log_index[: self.assets].copy()
        self.bought = np.zeros(self.assets)

    def flowing(self) -> Floats:
        """Shape (M,): log moves of the indices an hour that the step's flow causes."""
        moved: Floats = self.impact * self.flow
        return moved if self.listed is None else self.listed.shared(moved)

    def advance(self, dlog: Floats, hours: float) -> Floats:
        """One increment: news moves the index, flow and replenishing move the book, the mark follows. Returns the marks, (M,)."""
        self.momentum = self.momentum * float(np.exp(-hours)) + dlog
        if hours > 0.0:
            decay = float(np.exp(-hours / self._replenish))
            self.pressure = self.pressure * decay + self.flow * (self._replenish * (1.0 - decay))
            self.log_index = self.log_index + dlog + self.flowing() * hours
            premium = self.premium
            self.basis = self.basis + (1.0 - float(np.exp(-hours / self._averaging))) * (premium - self.basis)
            self._premium_time += premium * hours
            self._hours += hours
            self.clock += hours
            self._note(self.clock, hours, self.log_index)
        else:
            self.log_index = self.log_index + dlog
        return self.marks

    def project(self, dlog: Floats, hours: Floats) -> tuple[Floats, "Projection"]:
        """Marks at the end of each increment, (M, K), if nobody is liquidated, and the state in which that would leave the market.

        Constant flow makes every increment's pressure a point on one exponential; only the mark's averaging is a recursion.
        """
        clock = np.cumsum(hours)
        decay = np.exp(-clock / self._replenish)
        ultimate = self.flow * self._replenish
        pressure = self.pressure[:, None] * decay + ultimate[:, None] * (1.0 - decay)
        log_index = self.log_index[:, None] + np.cumsum(dlog, axis=1) + self.flowing()[:, None] * clock
        premium = (self.skew[:, None] + self.displacement(pressure.T).T).T
        weights = -np.expm1(-hours / self._averaging)
        basis, at = np.empty_like(premium), self.basis
        for k, weight in enumerate(weights.tolist()):
            at = basis[k] = at + weight * (premium[k] - at)
        if self.listed is None:
            marks = np.exp(log_index + self.mispricing[:, None]) * (1.0 + basis.T)
        else:
            marks = self.listed.worth(self.moment(log_index, self.clock + clock), basis.T)
        total = float(clock[-1])
        momentum = self.momentum * float(np.exp(-total)) + dlog @ np.exp(clock - total)
        return marks, Projection(log_index[:, -1], pressure[:, -1], at, momentum, hours @ premium, total, log_index, hours)

    def adopt(self, projection: "Projection") -> None:
        """Moves to the end of a step in which nobody was liquidated."""
        self.log_index, self.pressure, self.basis, self.momentum = projection[:4]
        self._premium_time = self._premium_time + projection.premium_time
        self._hours += projection.hours
        if self.listed is None:
            self.clock += projection.hours
            return
        for k, hours in enumerate(projection.durations.tolist()):
            self.clock += hours
            self._note(self.clock, hours, projection.path[:, k])

    def _note(self, clock: float, hours: float, log_index: Floats) -> None:
        """Remembers the indices at the end of an increment for as long as a settlement may ask for them."""
        if self.listed is None or not self.listed.settlement_hours.any() or hours <= 0.0:
            return
        self._trail.append((clock, hours, np.exp(log_index[: self.assets])))
        while self._trail[0][0] <= clock - 24.0:
            self._trail.pop(0)

    def average_index(self, window: Floats) -> Floats:
        """Shape (M,), USD: each market's index averaged over the last `window`, (M,), hours, by time; the last index over none."""
        total, covered = np.zeros(window.size), np.zeros(window.size)
        for clock, hours, index in self._trail:
            within = np.clip(clock - np.maximum(clock - hours, self.clock - window), 0.0, hours)
            total, covered = total + within * index[self.asset], covered + within
        average: Floats = np.divide(total, covered, out=self.index, where=covered > 1e-12)
        return average

    def list_anew(self, which: NDArray[np.bool_]) -> None:
        """New series in markets `which`, (M,): their strikes are set by the index and their books are fresh."""
        assert self.listed is not None
        self.listed.list_series(which, self.clock, self.underlying)
        for column in (self.pressure, self.skew, self.basis, self.flow, self.wedge):
            column[which] = 0.0

    def learn(self, hours: float, carry: Floats) -> None:
        """The close of a step: implied volatility has answered to prices, flow and what was realised; `carry`, (A,), of futures is new."""
        if self.listed is None:
            return
        self.carry = carry
        self.wedge = self.wedge - np.expm1(-hours / WEDGE_HOURS) * (self.basis - self.wedge)
        if self.listed.option.any():
            reached = self.moment(self.log_index, self.clock).level
            self.level = next_level(self.listed.surface, reached, self.volatility[: self.assets], self.bought, hours)

    def funding_rate(self, hours: float) -> Floats:
        """Shape (M,): what longs pay shorts on their notional for `hours`; called once a step, at its close.

        F = P + clamp(I - P, -0.05 %, +0.05 %) per eight hours, P the average premium of the last eight hours, exponentially weighted
        (BitMEX, Binance;
        Hyperliquid pays F / 8 each hour), accrued in proportion to time and capped.
        """
        p = self.parameters
        latest = self._premium_time / self._hours if self._hours > 0.0 else self.basis
        self.average_premium = self.average_premium + (1.0 - float(np.exp(-hours / 8.0))) * (latest - self.average_premium)
        rate = self.average_premium + np.clip(p.interest_rate - self.average_premium, -p.funding_clamp, p.funding_clamp)
        capped: Floats = np.clip(rate, -p.funding_cap, p.funding_cap)
        if self.listed is not None:
            capped = np.where(np.isfinite(self.listed.expiry), 0.0, capped)
        return capped * (hours / 8.0)

    def trade_spot(self, asset: int, usd: float) -> None:
        """Buying (> 0) or selling of the underlying, USD: it moves the index as order flow does, at once by no more than the price band."""
        band, slope = self.parameters.price_band, float(self.impact[asset])
        moved = min(max(slope * usd, -band), band)
        if self.listed is None:
            self.log_index[asset] += moved
        else:
            self.log_index[self.asset == asset] += moved

    def snapshot(self) -> tuple[Floats, Floats]:
        """Book and index, to come back to."""
        return self.pressure.copy(), self.log_index.copy()

    def restore(self, snapshot: tuple[Floats, Floats]) -> None:
        """Undoes what was executed since `snapshot`."""
        self.pressure, self.log_index = snapshot[0].copy(), snapshot[1].copy()
