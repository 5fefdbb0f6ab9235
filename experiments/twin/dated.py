"""Dated futures: what they cost above the index, and their end at the index averaged over their last hours."""

from typing import TYPE_CHECKING, Any

from agents.clock import HOURS_PER_YEAR
from experiments.twin import accrual, coins, waterfall
from experiments.twin.accounts import CENT

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange

LAST_DAY = 24.0
"""Hours before expiry in which the book's premium fades out of the mark."""


class Series:
    """The series of a future that is listed now.

    Attributes:
        life: hours from listing to expiry; window: hours over which the settlement price is averaged.
        expiry, clock: hours since the run began; carry: annualised, what the future costs above the index.
        seen: clock, hours and index, USD, of increments.
    """

    def __init__(self, terms: Any) -> None:
        self.life, self.window = 24.0 * terms.days, terms.settlement_hours
        self.expiry, self.clock, self.carry = self.life, 0.0, 0.0
        self.seen: list[tuple[float, float, float]] = []

    @property
    def left(self) -> float:
        """Hours until expiry."""
        hours: float = max(self.expiry - self.clock, 0.0)
        return hours

    @property
    def fair(self) -> float:
        """Fair price over the index."""
        return 1.0 + self.carry * self.left / HOURS_PER_YEAR

    @property
    def fading(self) -> float:
        """Part of the book's premium that is in the mark."""
        return min(self.left / LAST_DAY, 1.0)

    def note(self, hours: float, index: float) -> None:
        """An increment has ended."""
        if hours > 0.0:
            self.clock += hours
            self.seen.append((self.clock, hours, index))

    def average(self, last: float) -> float:
        """USD: the index over the window, by time; `last` if the window is nothing."""
        total = covered = 0.0
        for clock, hours, index in self.seen:
            within = min(max(clock - max(clock - hours, self.clock - self.window), 0.0), hours)
            total, covered = total + within * index, covered + within
        return total / covered if covered > 1e-12 else last


def settle_expired(exchange: "Exchange") -> None:
    """Positions in series that have expired end in cash at the averaged index; new series are listed; deficits go down the waterfall."""
    ended = [at for at, market in enumerate(exchange.markets) if market.series is not None and market.series.left <= 1e-9]
    if not ended:
        return
    everyone = exchange.everyone()
    before = exchange.outside.cash
    delivered = {account: [0.0] * len(exchange.markets) for account in everyone}
    for at in ended:
        market = exchange.markets[at]
        assert market.series is not None
        price = market.series.average(market.index)
        for account in exchange.holders():
            if account.position[at]:
                if account in delivered:
                    delivered[account][at] = abs(account.position[at]) * price
                account.trade(at, -account.position[at], price)
        market.series.expiry = market.series.clock + market.series.life
        market.pressure = market.skew = market.basis = market.flow = 0.0
    exchange.outside.earned += exchange.outside.cash - before
    exchange.mark()
    exchange.settle()
    for account, usd in delivered.items():
        fee = min(exchange.rules.fees.delivery * sum(usd), max(coins.means(exchange, account), 0.0))
        account.cash -= fee
        accrual.share_out(exchange, "trading_fee", "trading_fees", fee, usd)
        exchange.fees += fee
    weights = [1.0 if at in ended else 0.0 for at in range(len(exchange.markets))]
    short = [account for account in everyone if account.flat and account.cash < -CENT]
    waterfall.cover(exchange, [waterfall.Deficit(account, -account.cash, weights) for account in short], "draw_close_out")
