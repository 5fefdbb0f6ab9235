"""What a validation experiment is: a name, and a function that yields comparisons."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np


class Check(NamedTuple):
    """One comparison.

    Attributes:
        what, source: what is compared, and whose number it is.
        target, found: the numbers.
        tolerance: largest absolute difference, one for all or one each.
        why_missed: where we know that the model does not meet the target, the reason. Such a miss is shown and is no fault of the
            installation.
        skipped: what is missing here for a comparison, if it is not made.
    """

    what: str
    source: str
    target: tuple[float, ...]
    found: tuple[float, ...]
    tolerance: float | tuple[float, ...]
    why_missed: str = ""
    skipped: str = ""

    @property
    def passed(self) -> bool:
        """Whether every number is within tolerance."""
        if len(self.target) != len(self.found):
            return False
        return bool((np.abs(np.subtract(self.found, self.target)) <= self.tolerance).all())

    @property
    def verdict(self) -> str:
        """In a word: ok; OFF; miss, where that is known; or skipped."""
        if self.skipped:
            return "skipped"
        return "ok" if self.passed else "miss" if self.why_missed else "OFF"


class Validation(NamedTuple):
    """A validation experiment.

    Attributes:
        name: by which it can be asked for.
        run: yields comparisons; its argument says whether to take the longer form, with smaller errors.
    """

    name: str
    run: Callable[[bool], Iterable[Check]]


def between(low: float, high: float) -> tuple[float, float]:
    """Target and tolerance of a number that must lie between two."""
    return 0.5 * (low + high), 0.5 * (high - low)
