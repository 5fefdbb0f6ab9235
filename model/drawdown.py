"""How far a balance has fallen from its recent peak."""

from collections import deque
from typing import Final

_ROUNDING: Final = 1e-9


class Drawdown:
    """The opening balances of the steps within a window.

    Args:
        window: hours for which a balance counts.
        allowed: part of the peak that may be lost; 1 means that no loss is too large.
    """

    def __init__(self, window: float, allowed: float) -> None:
        self.window, self.allowed = window, allowed
        self._clock = 0.0
        self._seen: deque[tuple[float, float]] = deque()

    def observe(self, balance: float, hours: float) -> None:
        """A step of `hours` opens with this balance, USD."""
        self._seen.append((self._clock, balance))
        while self._clock - self._seen[0][0] > self.window * (1.0 + _ROUNDING):
            self._seen.popleft()
        self._clock += hours

    def exceeded(self, balance: float) -> bool:
        """Whether a balance, USD, is that far below the highest within the window."""
        peak = max((seen for _, seen in self._seen), default=0.0)
        return self.allowed < 1.0 and peak > 0.0 and balance <= (1.0 - self.allowed) * peak * (1.0 + _ROUNDING)
