"""Staked tokens of the venue, as far as the waterfall needs them: what they cost now, and what selling them brings."""

import math
from typing import Any


class Token:
    """A token.

    Args:
        parameters: of the scenario.
        price: USD at the step's start.
        staked: tokens.
        log_index: of the first market at the step's start.

    Attributes:
        log_index: of the first market, when the price was last looked at.
    """

    def __init__(self, parameters: Any, price: float, staked: float, log_index: float) -> None:
        self.beta: float = parameters.beta
        self.depth: float = parameters.depth * parameters.supply
        self.staked, self.log_index = staked, log_index
        self._price, self._from, self._sold = price, log_index, 0.0

    @property
    def price(self) -> float:
        """USD: with the market, and lower by a factor e for every `depth` tokens that have been sold."""
        return self._price * math.exp(self.beta * (self.log_index - self._from) - self._sold / self.depth)

    def brings(self, units: float) -> float:
        """USD that selling so many raises: the integral of the price over what is sold."""
        return self.price * self.depth * (1.0 - math.exp(-units / self.depth))

    def slash(self, usd: float) -> None:
        """Sells as many as bring `usd`."""
        most = self.price * self.depth
        units = min(-self.depth * math.log(1.0 - usd / most), self.staked) if usd < most else self.staked
        self.staked -= units
        self._sold += units
