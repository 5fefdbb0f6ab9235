"""What an account must hold against its contracts."""

from itertools import pairwise
from typing import Any

from agents.clearinghouse.margin import PRESETS

type Brackets = list[tuple[float, float, float]]
"""From notional, to notional, rate."""


class Margin:
    """A scenario's margin rule, for one market at a time.

    Args:
        parameters: of `tiered`, `linear_ramp` or `fixed_leverage`.
        markets: how many there are; the last setting serves any further market.
    """

    def __init__(self, parameters: Any, markets: int) -> None:
        self.parameters = parameters
        self.cap: float | None = getattr(parameters, "leverage_cap", None)
        self.rates: list[tuple[float, float, float]] = []
        self.initial_brackets: list[Brackets] = []
        self.maintenance_brackets: list[Brackets] = []
        match parameters.type:
            case "tiered":
                for market in range(markets):
                    tiers = _at(parameters.schedules, market)
                    tiers = PRESETS[tiers] if isinstance(tiers, str) else tiers
                    self.initial_brackets.append(_brackets([(tier.notional, tier.initial) for tier in tiers]))
                    self.maintenance_brackets.append(_brackets([(tier.notional, tier.maintenance) for tier in tiers]))
            case "linear_ramp":
                p = parameters
                self.rates = [(_at(p.initial, market), _at(p.maintenance, market), _at(p.slope, market)) for market in range(markets)]
            case "fixed_leverage":
                self.rates = [(parameters.initial, parameters.maintenance, 0.0)] * markets
            case unknown:
                raise NotImplementedError(f"the twin has no margin rule {unknown!r}")

    def initial(self, market: int, contracts: float, mark: float) -> float:
        """USD to open a position of so many contracts."""
        notional = abs(contracts) * mark
        if self.initial_brackets:
            needed = _progressive(notional, self.initial_brackets[market])
        else:
            base, _, slope = self.rates[market]
            needed = min(base + slope * abs(contracts), 1.0) * notional
        return needed if self.cap is None else max(needed, notional / self.cap)

    def maintenance(self, market: int, contracts: float, mark: float) -> float:
        """USD below which a position of so many contracts is liquidated."""
        notional = abs(contracts) * mark
        if self.maintenance_brackets:
            return _progressive(notional, self.maintenance_brackets[market])
        _, base, slope = self.rates[market]
        return min(base + slope * abs(contracts), 1.0) * notional


def _at(values: Any, market: int) -> Any:
    return values[min(market, len(values) - 1)]


def _brackets(steps: list[tuple[float, float]]) -> Brackets:
    return [(low, high, rate) for (low, rate), (high, _) in pairwise([*steps, (float("inf"), 0.0)])]


def _progressive(notional: float, brackets: Brackets) -> float:
    """Each bracket's rate on the part of the notional inside it, as an income tax: continuous, and equal to rate x notional - deduction."""
    owed = 0.0
    for low, high, rate in brackets:
        if notional <= high:
            return owed + rate * (notional - low)
        owed += rate * (high - low)
    return owed
