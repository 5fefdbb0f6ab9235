"""What an underlying's implied volatility is: a shape over strikes and lives that stands still, and a level that moves.

The shape is SVI's without arbitrage (Gatheral & Jacquier 2014, section 4). The level is annualised volatility at the money at thirty days.
"""

import math
from typing import Any

from agents.clock import HOURS_PER_YEAR

THIRTY_DAYS = 30.0 * 24.0 / HOURS_PER_YEAR
"""Years."""


def at_the_money(p: Any, level: float, years: float) -> float:
    """Total variance theta at the money: level^2 T (T / 30 days)^(-2 term)."""
    theta: float = level * level * years * math.pow(years / THIRTY_DAYS, -2.0 * p.term)
    return theta


def total_variance(p: Any, level: float, years: float, moneyness: float) -> float:
    """Total variance at log-moneyness k = ln(strike / forward) (Gatheral & Jacquier 2014, eqs 4.1 and 4.5).

    w = theta / 2 (1 + rho phi k + sqrt((phi k + rho)^2 + 1 - rho^2)), phi = eta / (theta^gamma (1 + theta)^(1 - gamma)).
    """
    rho, theta = p.skew, at_the_money(p, level, years)
    phi = p.curvature / (math.pow(theta, p.decay) * math.pow(1.0 + theta, 1.0 - p.decay))
    stretched = phi * moneyness
    variance: float = theta / 2.0 * (1.0 + rho * stretched + math.sqrt((stretched + rho) ** 2 + 1.0 - rho * rho))
    return variance


class Surface:
    """Implied volatility of one underlying.

    Args:
        parameters: shape and dynamics, of the scenario.
        realised: annualised, as the exchange measures it at the opening; in calm the level is above it by the variance premium.
        log_index: at the opening.

    Attributes:
        level: annualised, when the step began; opened: log index then.
        bought: vega bought from the book in the step's auction over that of the depth that is shown in calm.
    """

    def __init__(self, parameters: Any, realised: float, log_index: float) -> None:
        self.parameters = parameters
        self.level: float = parameters.premium * realised
        self.opened, self.bought = log_index, 0.0

    def begin_step(self, log_index: float, factor: float) -> None:
        """A step begins at this index, and with a shock's factor on the level."""
        self.opened, self.bought = log_index, 0.0
        self.level *= factor

    def within(self, level: float) -> float:
        """A level, inside its bounds."""
        return float(min(max(level, self.parameters.floor), self.parameters.ceiling))

    def now(self, log_index: float) -> float:
        """The level once the index has moved here in the step: it rises by `response` for each unit of log fall."""
        return self.within(self.level * math.exp(-self.parameters.response * (log_index - self.opened)))

    def close(self, log_index: float, realised: float, hours: float) -> None:
        """The close of a step: buyers of options have pushed the level, and it finds back to realised volatility and the premium on it."""
        p = self.parameters
        pushed = self.now(log_index) * math.exp(p.flow_impact * self.bought)
        part = 1.0 - math.exp(-hours / p.memory)
        self.level = self.within(pushed + part * (p.premium * realised - pushed))
