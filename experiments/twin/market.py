"""One market: an index that news moves, a book that order flow empties and market makers refill, and the mark that follows."""

import math
from typing import TYPE_CHECKING

from agents.clock import HOURS_PER_YEAR
from experiments.twin.options import Option

if TYPE_CHECKING:
    from collections.abc import Callable

    from experiments.twin.options import Pinned
    from experiments.twin.series import Series
    from model.market import MarketParameters

TEN_BASIS_POINTS = 0.001
FULL = 1.0 - 1e-9
"""A fill this close to the whole order is the whole order."""

# Gauss-Legendre abscissas and weights for n = 8 on [-1, 1] (Abramowitz & Stegun, table 25.4), moved to [0, 1].
_HALF = (
    (0.1834346424956498, 0.3626837833783620),
    (0.5255324099163290, 0.3137066458778873),
    (0.7966664774136267, 0.2223810344533745),
    (0.9602898564975363, 0.1012285362903763),
)
GAUSS = tuple((0.5 * (1.0 + sign * x), 0.5 * w) for x, w in _HALF for sign in (-1.0, 1.0))


def clamp(value: float, low: float, high: float) -> float:
    """`value`, not below `low` nor above `high`."""
    return min(max(value, low), high)


class Market:
    """One contract's index, book and mark.

    Attributes:
        series: of a dated contract; None of a perpetual. What is listed beside the perpetual on its underlying, `perpetual`, has its index.
        option: the series again, if it is an option's.
        inverse: whether contracts are of one dollar and settled in coin.
        log_index: log of the index price, USD.
        pressure: USD of net buying that the book has taken and not yet replenished.
        bids, asks: USD resting within ten basis points.
        skew: where makers centre their quotes against the index, log.
        basis: averaged premium of the book over the index.
        flow: USD an hour of net buying that arrives evenly over the step.
        calm_depth: USD within ten basis points in calm; Kyle's lambda is stated against it.
        volatility, calm_volatility: annualised, as the exchange measures it, and at the start.
        momentum: log, how far news has moved the index of late, with an hour's memory.
        mispricing: log error of the index by which contracts are marked.
        average_premium: of the last eight hours, exponentially weighted, for funding.
    """

    def __init__(
        self,
        parameters: "MarketParameters",
        price: float,
        depth: float,
        volatility: float,
        *,
        replayed: bool = False,
        series: "Series | None" = None,
        perpetual: "Market | None" = None,
        inverse: bool = False,
    ) -> None:
        self.parameters, self.inverse = parameters, inverse
        self.option = series if isinstance(series, Option) else None
        self.series, self.perpetual = series, perpetual
        self._log_index = math.log(price)
        self.calm_depth = self.bids = self.asks = depth
        self.volatility = self.calm_volatility = volatility
        self.pressure = self.skew = self.basis = self.flow = 0.0
        self.momentum = self.average_premium = self.mispricing = 0.0
        self.premium_hours = self.hours = 0.0
        self.replenish = parameters.replenish_seconds / 3600.0
        self.averaging = parameters.mark_seconds / 3600.0
        # A recorded path already contains what order flow did to the index.
        pass_through = 0.0 if replayed else parameters.pass_through
        self.impact = pass_through * TEN_BASIS_POINTS / depth if depth > 0.0 else 0.0
        if perpetual is not None:
            self.impact = perpetual.impact if self.option is None else 0.0

    @property
    def log_index(self) -> float:
        """Log of the index price, USD: one for all contracts on an underlying."""
        return self._log_index if self.perpetual is None else self.perpetual.log_index

    @log_index.setter
    def log_index(self, value: float) -> None:
        if self.perpetual is None:
            self._log_index = value
        else:
            self.perpetual.log_index = value

    @property
    def fair(self) -> float:
        """Fair price over the index, of which the book knows no errors."""
        if self.option is not None:
            return self.option.pinned(self.log_index, self.index, 0.0).worth() / self.index
        return 1.0 if self.series is None else self.series.fair

    @property
    def index(self) -> float:
        """USD."""
        return math.exp(self.log_index)

    @property
    def mark(self) -> float:
        """USD: the index, as the exchange has it, times one plus the averaged premium; of one that is settled in coin, its worth.

        An option is worth what Black's formula says and the premium on the index, and nothing at least.
        """
        if self.option is not None:
            return self.pinned().worth()
        premium = self.basis if self.series is None else self.series.fading * self.basis
        price = self.rate * (self.fair + premium)
        return self.worth(price, self.rate) if self.inverse else price

    def pinned(self) -> "Pinned":
        """An option as the exchange would mark it now."""
        assert self.option is not None
        return self.option.pinned(self.log_index, self.rate, self.basis)

    def unit(self, mark: float) -> float:
        """USD of notional that a contract is at a mark: the mark; a dollar if it is settled in coin, the index of an option."""
        if self.option is not None:
            return self.rate
        return 1.0 if self.inverse else mark

    def gain(self, mark: float) -> "Callable[[float, float], float]":
        """What a dollar of notional, marked like this, gains when the index returns so much and implied volatility changes by a part.

        One that is settled in coin gains r / (p (1 + r)) coins on a dollar bought at p, which count at today's index.
        """
        if self.option is not None:
            return self.pinned().gain
        if self.inverse:
            return lambda spot, _: -mark * spot / (1.0 + spot)
        return lambda spot, _: spot

    @property
    def rate(self) -> float:
        """USD: the index as the exchange has it."""
        return math.exp(self.log_index + self.mispricing)

    def worth(self, price: float, rate: float) -> float:
        """USD that a contract bought at `price` is worth: 1 / price coins are owed for each dollar that is settled in coin."""
        return -rate / price if self.inverse else price

    def face(self, price: float) -> float:
        """USD of notional that a contract is at a price."""
        return 1.0 if self.inverse else price

    @property
    def alarm(self) -> float:
        """Annualised: measured volatility, or the last hour's move as if it were one standard deviation, whichever is larger."""
        return max(self.volatility, abs(self.momentum) * math.sqrt(HOURS_PER_YEAR))

    # -- the book -------------------------------------------------------------------------------------------------------------------

    def depth(self, sign: float) -> float:
        """USD within ten basis points on the side that buying (`sign` > 0) or selling meets."""
        return self.asks if sign > 0.0 else self.bids

    def displacement(self, pressure: float) -> float:
        """Depth grows as distance ** exponent, so pressure Q moves the price by 10 bp x (|Q| / depth) ** (1 / exponent), in the band."""
        depth = self.depth(pressure)
        if depth <= 0.0 or pressure == 0.0:
            return 0.0
        distance = TEN_BASIS_POINTS * math.pow(abs(pressure) / depth, 1.0 / self.parameters.depth_exponent)
        return math.copysign(min(distance, self.parameters.price_band), pressure)

    def limit(self, sign: float, distance: float) -> float:
        """USD of pressure at which the displacement is `distance`."""
        return self.depth(sign) * math.pow(distance / TEN_BASIS_POINTS, self.parameters.depth_exponent)

    def quote(self, bids: float, asks: float, skew: float) -> None:
        """Makers' new quotes; the displacement that there is stays, so the pressure scales with the depth."""
        before = self.depth(self.pressure)
        self.bids, self.asks, self.skew = bids, asks, skew
        self.pressure *= self.depth(self.pressure) / before if before > 0.0 else 0.0

    def auction(self, buys: float, sells: float, hours: float) -> tuple[float, float, float, float]:
        """Clears a step's orders, `buys` and `sells` in contracts: orders meet each other, the rest meets the book, evenly over the step.

        Returns:
            Price, shares of the buys and of the sells that are filled, contracts the makers take (signed).
        """
        index, net = self.index, buys - sells
        room = 0.0
        if net != 0.0 and self.depth(net) > 0.0 and index > 0.0:
            decay = math.exp(-hours / self.replenish)
            left = max(self.limit(net, self.parameters.price_band) - math.copysign(1.0, net) * self.pressure * decay, 0.0)
            room = left / (self.replenish / hours * (1.0 - decay)) / self.face(index)
        taken = clamp(net, -room, room)
        short = abs(net) - abs(taken)
        filled_buys = 1.0 - short / buys if net > 0.0 else 1.0
        filled_sells = 1.0 - short / sells if net < 0.0 else 1.0
        self.flow = taken * self.face(index) / hours
        ultimate, average = self.flow * self.replenish, 0.0
        for node, weight in GAUSS:
            decay = math.exp(-node * hours / self.replenish)
            average += weight * self.displacement(self.pressure * decay + ultimate * (1.0 - decay))
        price = index * (self.fair + self.skew + average)
        return (price if self.option is None else max(price, 0.0)), filled_buys, filled_sells, -taken

    def execute(self, quantity: float, band: float) -> tuple[float, float]:
        """Trades `quantity` contracts (buy > 0) at once, as far as the price is within `band` of the quotes' centre.

        Returns:
            Contracts filled, signed, and their average price: the integral of the depth curve over the flow.
        """
        sign, index = math.copysign(1.0, quantity), self.index
        if self.depth(sign) <= 0.0 or index <= 0.0:
            return 0.0, index
        whole = abs(quantity) * self.face(index)
        size = min(whole, max(self.limit(sign, min(band, self.parameters.price_band)) - sign * self.pressure, 0.0))
        if size <= 0.0:
            return 0.0, index
        if size >= FULL * whole:
            size = whole
        start, stop = self.pressure, self.pressure + sign * size
        if abs(stop - start) > 1e-6 * abs(start):
            average = (self._integral(stop) - self._integral(start)) / (stop - start)
        else:  # the difference of the integrals would be all rounding
            average = self.displacement(0.5 * (start + stop))
        self.pressure = stop
        self.log_index += self.impact * sign * size
        return (quantity if size == whole else sign * size / self.face(index)), index * (self.fair + self.skew + average)

    def _integral(self, pressure: float) -> float:
        """Of the displacement, from 0 to `pressure`: 10 bp x depth x (|Q| / depth) ** (1 / e + 1) / (1 / e + 1), the band beyond."""
        depth = self.depth(pressure)
        if depth <= 0.0:
            return 0.0
        power = 1.0 / self.parameters.depth_exponent + 1.0
        within = min(abs(pressure), self.limit(pressure, self.parameters.price_band))
        curve = TEN_BASIS_POINTS * depth * math.pow(within / depth, power) / power
        return curve + self.parameters.price_band * (abs(pressure) - within)

    def trade_spot(self, usd: float) -> None:
        """Buying (> 0) or selling of the underlying moves the index, linearly and for good, at once by no more than the price band."""
        self.log_index += clamp(self.impact * usd, -self.parameters.price_band, self.parameters.price_band)

    # -- time -----------------------------------------------------------------------------------------------------------------------

    def begin_step(self) -> None:
        """Starts the averaging of the premium for funding."""
        self.premium_hours = self.hours = 0.0

    def advance(self, news: float, hours: float) -> None:
        """One increment: a log return from outside, order flow, replenishing, the mark. A jump takes no time."""
        if self.perpetual is None:  # news reaches an index once
            self.log_index += news
        self.momentum = self.momentum * math.exp(-hours) + news
        if hours <= 0.0:
            return
        self.log_index += self.impact * self.flow * hours
        decay = math.exp(-hours / self.replenish)
        self.pressure = self.pressure * decay + self.flow * self.replenish * (1.0 - decay)
        premium = self.skew + self.displacement(self.pressure)
        self.basis += (1.0 - math.exp(-hours / self.averaging)) * (premium - self.basis)
        self.premium_hours += premium * hours
        self.hours += hours

    def funding_rate(self, hours: float) -> float:
        """What longs pay on notional for `hours`: F = P + clamp(I - P, +-0.05 %) per eight hours, capped; to be called once a step."""
        p = self.parameters
        latest = self.premium_hours / self.hours if self.hours > 0.0 else self.basis
        self.average_premium += (1.0 - math.exp(-hours / 8.0)) * (latest - self.average_premium)
        premium = self.average_premium
        if self.series is not None:
            return 0.0
        rate = premium + clamp(p.interest_rate - premium, -p.funding_clamp, p.funding_clamp)
        return clamp(rate, -p.funding_cap, p.funding_cap) * hours / 8.0

    def snapshot(self) -> tuple[float, float]:
        """Book and index, to come back to."""
        return self.pressure, self.log_index

    def restore(self, snapshot: tuple[float, float]) -> None:
        """Undoes what was executed since."""
        self.pressure, self.log_index = snapshot
