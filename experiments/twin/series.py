"""A series of a dated contract: its life, what its future costs above the index, and the index averaged over its last hours."""

from typing import Any

from agents.clock import HOURS_PER_YEAR

LAST_DAY = 24.0
"""Hours before expiry in which the book's premium fades out of the mark."""


class Series:
    """The series of a dated contract that is listed now: of a future, unless it is an `options.Option`.

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

    def pays(self, average: float) -> float:
        """USD a contract at its end, the index having been `average` over the window."""
        return average

    def renew(self, index: float) -> None:
        """A series of the same life takes its place; `index`, USD, is where it is listed."""
        self.expiry = self.clock + self.life

    def average(self, last: float) -> float:
        """USD: the index over the window, by time; `last` if the window is nothing."""
        total = covered = 0.0
        for clock, hours, index in self.seen:
            within = min(max(clock - max(clock - hours, self.clock - self.window), 0.0), hours)
            total, covered = total + within * index, covered + within
        return total / covered if covered > 1e-12 else last
