"""European options: what they are worth, what they would be worth elsewhere, and what they pay at their end.

They are paid for when they are traded: an account has its money and its options, equity = money + options at mark. `Account.cash` is that
sum; an option's gains and losses from mark to mark are in it as those of a future are, but nobody has paid them yet (`money`).
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from agents.clock import HOURS_PER_YEAR
from experiments.twin.series import Series
from experiments.twin.surface import Surface, total_variance

if TYPE_CHECKING:
    from experiments.twin.accounts import Account

BUMP = 1e-4
"""Relative move of an index, or of implied volatility, either way, by which a delta or a vega is measured."""

NO_VEGA = 1e-12
"""Of the index: what gains less for a relative rise of implied volatility has no vega."""


def normal(x: float) -> float:
    """The normal distribution function, exact to the last digits in its lower tail too."""
    return 0.5 * math.erfc(-x / math.sqrt(2.0))


def black(forward: float, strike: float, variance: float, sign: float) -> float:
    """USD: an option without discounting (Black 1976), `sign` 1 for calls and -1 for puts, `variance` total; at none it is intrinsic.

    sign x (F N(sign d1) - K N(sign d2)), d1 = ln(F / K) / s + s / 2, d2 = d1 - s, s the root of total variance.
    """
    intrinsic = max(sign * (forward - strike), 0.0)
    if variance <= 0.0 or forward <= 0.0:
        return intrinsic
    deviation = math.sqrt(variance)
    d1 = math.log(forward / strike) / deviation + deviation / 2.0
    d2 = d1 - deviation
    return max(sign * (forward * normal(sign * d1) - strike * normal(sign * d2)), intrinsic)


def money(account: "Account") -> float:
    """USD that an account has beside its options: what it is worth less what they are worth at mark."""
    markets = account.model.markets
    held = zip(account.position, account.marks, markets, strict=True)
    return account.cash - sum(contracts * mark for contracts, mark, market in held if market.option is not None)


@dataclass(frozen=True)
class Pinned:
    """An option as it stood at one moment; until it is marked again margin and hedges are reckoned from it.

    Attributes:
        strike: USD; sign: 1 for a call, -1 for a put; years: until expiry.
        index: USD; level: of implied volatility, annualised; premium: the book's part of the mark, as a share of the index.
    """

    surface: Surface
    strike: float
    sign: float
    years: float
    index: float
    level: float
    premium: float

    def worth(self, spot: float = 0.0, shock: float = 0.0) -> float:
        """USD, at least nothing, if the index returned `spot` and its own implied volatility changed by a part `shock` of itself."""
        index = self.index * (1.0 + spot)
        variance = self.variance(index) * max(1.0 + shock, 0.0) ** 2
        return max(black(index, self.strike, variance, self.sign) + self.premium * index, 0.0)

    def variance(self, index: float, moved: float = 0.0) -> float:
        """Total variance until expiry with the index there, and the level of implied volatility moved by a part of itself."""
        if self.years <= 0.0:
            return 0.0
        level = self.surface.within(self.level * (1.0 + moved))
        return total_variance(self.surface.parameters, level, self.years, math.log(self.strike / index))

    def gain(self, spot: float, volatility: float) -> float:
        """What a dollar of notional, which is of the index, gains then; `volatility`: relative change of implied volatility at thirty days.

        An option of another life feels (30 / max(1, days))^p of it, p = 0.30 before thirty days and 0.13 from there on (Paradex).
        """
        days = max(self.years * HOURS_PER_YEAR / 24.0, 1.0)
        felt = volatility * math.pow(30.0 / days, 0.30 if days < 30.0 else 0.13)
        return (self.worth(spot, felt) - self.worth()) / self.index

    @property
    def delta(self) -> float:
        """Units of the underlying that it moves like."""
        return (self.worth(BUMP) - self.worth(-BUMP)) / (2.0 * BUMP * self.index)

    @property
    def vega(self) -> float:
        """USD that it gains for a relative rise of implied volatility, as long as it is worth anything.

        Measured out of the money: by put-call parity call and put have the same.
        """
        out = 1.0 if self.strike >= self.index else -1.0
        up, down = (black(self.index, self.strike, self.variance(self.index, by), out) for by in (BUMP, -BUMP))
        vega = (up - down) / (2.0 * BUMP)
        return vega if self.worth() > 0.0 and vega >= NO_VEGA * self.index else 0.0


class Option(Series):
    """The series of an option that is listed now.

    Args:
        terms: of the scenario.
        surface: of its underlying.
        strike: USD, of the first series.
    """

    def __init__(self, terms: Any, surface: Surface, strike: float) -> None:
        super().__init__(terms)
        self.sign = 1.0 if terms.type == "call" else -1.0
        self.surface, self.strike, self.moneyness = surface, strike, float(terms.moneyness)

    def pinned(self, log_index: float, index: float, premium: float) -> Pinned:
        """As it stands with the underlying at `log_index`, which the exchange takes to be `index`, USD; the premium fades as a future's."""
        level = self.surface.now(log_index)
        return Pinned(self.surface, self.strike, self.sign, self.left / HOURS_PER_YEAR, index, level, self.fading * premium)

    def pays(self, average: float) -> float:
        """USD: what it is in the money by."""
        return max(self.sign * (average - self.strike), 0.0)

    def renew(self, index: float) -> None:
        """The next series, whose strike is set by the index."""
        super().renew(index)
        self.strike = self.moneyness * index
