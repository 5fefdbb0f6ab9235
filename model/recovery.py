"""How long something has been down: the time since it last stood near the highest it has been."""

from dataclasses import dataclass
from typing import Final

SHARE: Final = 0.9
"""Part of the highest level so far that counts as recovered (our choice)."""


@dataclass
class Recovery:
    """Attributes: highest: level so far; hours: since the level last stood at `SHARE` of it, 0 while it does."""

    highest: float
    hours: float = 0.0

    def observe(self, level: float, hours: float) -> None:
        """The level at the close of a step of `hours`."""
        self.highest = max(self.highest, level)
        self.hours = 0.0 if level >= SHARE * self.highest else self.hours + hours
