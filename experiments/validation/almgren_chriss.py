"""Optimal liquidation of Almgren and Chriss (2000, Journal of Risk 3): how fast to sell where speed costs and waiting is risky."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sale:
    """What is to be sold, and what it does to the price.

    Attributes:
        quantity: units, X; horizon: time, T; step: between two trades, tau.
        deviation: of the price, money a unit and root of time, sigma.
        permanent: price move a unit sold, gamma; temporary: a unit and time, eta; spread: half of it, epsilon.
    """

    quantity: float
    horizon: float
    step: float
    deviation: float
    permanent: float
    temporary: float
    spread: float

    @property
    def adjusted(self) -> float:
        """Temporary impact less what permanent impact has of it: eta - gamma tau / 2."""
        return self.temporary - 0.5 * self.permanent * self.step

    @property
    def times(self) -> Floats:
        """Of trades, from 0 to the horizon."""
        return np.linspace(0.0, self.horizon, round(self.horizon / self.step) + 1)

    def urgency(self, aversion: float) -> float:
        """Kappa, per time: arccosh(1 + lambda sigma^2 tau^2 / (2 (eta - gamma tau / 2))) / tau.

        Without a deadline what is left falls by exp(-kappa) in a unit of time, as liquidators' inventory does at `unwind_rate` kappa.
        """
        return float(np.arccosh(1.0 + 0.5 * aversion * (self.deviation * self.step) ** 2 / self.adjusted)) / self.step

    def held(self, aversion: float) -> Floats:
        """Units left at each time, X sinh(kappa (T - t)) / sinh(kappa T); evenly sold where risk does not matter."""
        left = self.horizon - self.times
        if aversion == 0.0:
            return self.quantity * left / self.horizon
        kappa = self.urgency(aversion)
        schedule: Floats = self.quantity * np.sinh(kappa * left) / np.sinh(kappa * self.horizon)
        return schedule

    def cost(self, held: Floats) -> tuple[float, float]:
        """Expected cost of a schedule, gamma X^2 / 2 + epsilon sum |n| + (eta - gamma tau / 2) / tau sum n^2, and its deviation."""
        sold = -np.diff(held)
        mean = 0.5 * self.permanent * self.quantity**2 + self.spread * np.abs(sold).sum() + self.adjusted / self.step * (sold**2).sum()
        return float(mean), float(self.deviation * np.sqrt(self.step * (held[1:] ** 2).sum()))
