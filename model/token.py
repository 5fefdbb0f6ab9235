"""The venue's token: who holds it, and what it costs."""

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.value import TIE, Book, TokenParameters
from agents.clock import HOURS_PER_YEAR

type Floats = NDArray[np.float64]


class Token:
    """A token as it stands.

    Attributes:
        staked, destroyed: tokens; the fund's own are in the ledger, all others with the public.
        revenue: USD a year, as of late; fear: shortfall of the fund at the last close, from 0 to 1; peak: USD, the fund's, fading.
        trend: log return of the first market of late; pressure: what trades have moved the log price by.
        slashed, bought_back, paid: of the step, USD: what slashed tokens were worth, what bought others back, what stakers were paid.
    """

    def __init__(self, parameters: TokenParameters, log_index: Floats) -> None:
        self.parameters = parameters
        self.staked, self.destroyed = parameters.staked * parameters.supply, 0.0
        self.revenue, self.fear, self.peak = parameters.revenue, 0.0, 0.0
        self.trend = self.pressure = 0.0
        self.slashed = self.bought_back = self.paid = 0.0
        self._closed = self._index = float(log_index[0])

    @property
    def supply(self) -> float:
        """Tokens in existence."""
        return self.parameters.supply - self.destroyed

    def holdings(self, of_fund: float) -> tuple[float, float, float]:
        """Tokens that are staked, the fund's, and the public's, which has the rest of the supply."""
        return self.staked, of_fund, self.supply - self.staked - of_fund

    @property
    def price(self) -> float:
        """USD; nothing once buy-backs have left nothing of the supply but rounding."""
        p = self.parameters
        if self.supply <= TIE * p.supply:
            return 0.0
        level = p.multiple * self.revenue / self.supply
        return level * float(np.exp(p.beta * (self.trend + self._index - self._closed) - p.fear * self.fear + self.pressure))

    @property
    def book(self) -> Book:
        """Its market."""
        return Book(self.price, self.parameters.depth * self.parameters.supply)

    def open(self, log_index: Floats, fund: float, target: float) -> None:
        """Before the first step the market has not moved from where it stands; what the fund, USD, is short of its target it sees."""
        self._closed = self._index = float(log_index[0])
        self.take_fright(fund, target)

    def follow(self, log_index: Floats) -> None:
        """The market has moved to these log indices, (M,)."""
        self._index = float(log_index[0])

    def begin_step(self) -> None:
        """Clears what is counted by step."""
        self.slashed = self.bought_back = self.paid = 0.0

    def move(self, units: float) -> None:
        """Tokens were bought (> 0) or sold on the market."""
        self.pressure += units / self.book.depth

    def slash(self, usd: float, share: float) -> None:
        """So many staked tokens, at most a share of them, are sold as bring USD; the price falls."""
        book = self.book
        units = book.units_for(usd, share * self.staked)
        self.staked -= units
        self.slashed += units * book.price
        self.move(-units)

    def buy_back(self, usd: float, of_fund: float) -> None:
        """Tokens are bought for USD from the public, which has what is neither staked nor the fund's, and destroyed."""
        units = min(self.book.bought_for(usd), max(self.holdings(of_fund)[2], 0.0))
        self.destroyed += units
        self.bought_back += usd
        self.move(units)

    def close(self, hours: float, fees: float, fund: float, target: float, of_fund: float) -> None:
        """The close of a step in which trading fees of `fees`, USD, were charged: expectations, fear, what has faded; the public stakes."""
        p = self.parameters
        kept = float(np.exp(-hours / p.memory))
        self.revenue = kept * self.revenue + (1.0 - kept) * max(fees, 0.0) * HOURS_PER_YEAR / hours
        self.trend, self._closed = kept * (self.trend + self._index - self._closed), self._index
        self.pressure *= float(np.exp(-hours / p.recovery))
        self.peak *= kept
        self.take_fright(fund, target)
        wanted = min(p.staked * self.supply, self.supply - of_fund)
        self.staked += max(wanted - self.staked, 0.0) * -float(np.expm1(-hours / p.restake_hours))

    def take_fright(self, fund: float, target: float) -> None:
        """Fear is what the fund is short of its target, or of its peak of late, whichever is more; from 0 to 1."""
        self.peak = max(fund, self.peak)
        short = 1.0 - fund / target if target > 0.0 else 0.0
        fallen = 1.0 - fund / self.peak if self.peak > 0.0 else 0.0
        self.fear = min(max(short, fallen, 0.0), 1.0)
