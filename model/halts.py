"""When an exchange stands still: outages that happen to it, and pauses that its circuit breaker orders."""

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.halts import CircuitBreakerParameters
from model.path import Path

type Floats = NDArray[np.float64]
type Flags = NDArray[np.bool_]
type Window = tuple[float, float]
"""From and until, hours since the run began."""


class Halts:
    """A venue's interruptions.

    Attributes:
        breaker: its circuit breaker, if it has one.
        windows: outages of the coming step.
        until: hours since the run began up to which the breaker pauses.
    """

    def __init__(self, breaker: CircuitBreakerParameters | None) -> None:
        self.breaker = breaker
        self.windows: list[Window] = []
        self.until = -np.inf

    def orders_stop(self, start: float, hours: float) -> bool:
        """Whether the step's auction does not take place: the venue stands still at its start, or for most of it."""
        paused = [*self.windows, (-np.inf, self.until)]
        return any(begin <= start < end or min(start + hours, end) - max(start, begin) > 0.5 * hours for begin, end in paused)

    def liquidations_stop(self, path: Path, start: float, momentum: Floats) -> Flags:
        """Shape (K,): increments at whose end nobody is liquidated; remembers when the breaker trips.

        Args:
            path: of the step.
            start: hours since the run began.
            momentum: shape (M,), log moves of the indices with an hour's memory, at the step's start.
        """
        clock = start + np.cumsum(path.hours)
        stopped = np.zeros(clock.size, dtype=bool)
        for begin, end in self.windows:
            stopped |= (clock > begin) & (clock <= end)
        if self.breaker is not None:
            for k, (now, hours) in enumerate(zip(clock.tolist(), path.hours.tolist(), strict=True)):
                momentum = momentum * float(np.exp(-hours)) + path.dlog[:, k]
                if now >= self.until and np.abs(momentum).max() >= self.breaker.move:
                    self.until = now + self.breaker.pause
                stopped[k] |= now < self.until
        return stopped
