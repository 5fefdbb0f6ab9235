"""What an account must hold against its contracts."""

import math
from itertools import pairwise
from typing import Any

from agents.clearinghouse.margin import PRESETS
from experiments.twin.portfolio import Portfolio

type Brackets = list[tuple[float, float, float]]
"""From notional, to notional, rate."""


PORTFOLIO = ("portfolio_scenarios", "ewma", "historical", "filtered_historical")


class Margin:
    """A scenario's margin rule.

    Args:
        parameters: of the rule.
        volatility: annualised, by market, at the opening; the last setting by market serves any further one.
        homes: underlying of each market, whose perpetuals are the first markets; one a market if not given.

    Attributes:
        portfolio: the rule, if it looks at all of an account's markets together.
        interest: open interest at the last close, USD by market, one side.
        factors: on initial and on maintenance margin, while the fund is short.
    """

    def __init__(self, parameters: Any, volatility: list[float], homes: list[int] | None = None) -> None:
        markets = len(volatility)
        homes = homes or list(range(markets))
        self.parameters = parameters
        self.cap: float | None = getattr(parameters, "leverage_cap", None)
        self.interest, self.factors = [0.0] * markets, (1.0, 1.0)
        self.portfolio = Portfolio(parameters, volatility[: max(homes) + 1], homes) if parameters.type in PORTFOLIO else None
        self.rates: list[tuple[float, float, float]] = []
        self.initial_brackets: list[Brackets] = []
        self.maintenance_brackets: list[Brackets] = []
        p = parameters
        match p.type:
            case "tiered":
                for market in range(markets):
                    tiers = _at(p.schedules, market)
                    tiers = PRESETS[tiers] if isinstance(tiers, str) else tiers
                    self.initial_brackets.append(_brackets([(tier.notional, tier.initial) for tier in tiers]))
                    self.maintenance_brackets.append(_brackets([(tier.notional, tier.maintenance) for tier in tiers]))
            case "linear_ramp":
                self.rates = [(_at(p.initial, market), _at(p.maintenance, market), _at(p.slope, market)) for market in range(markets)]
            case "square_root":
                self.rates = [(_at(p.initial, market), _at(p.maintenance, market), _at(p.factor, market)) for market in range(markets)]
            case "open_interest_scaled":
                self.rates = [(_at(p.initial, market), _at(p.maintenance, market), 0.0) for market in range(markets)]
            case "skew_impact":
                self.rates = [(p.minimum, p.minimum, p.impact / _at(p.skew_scale, market)) for market in range(markets)]
            case "fixed_leverage":
                self.rates = [(p.initial, p.maintenance, 0.0)] * markets
            case unknown if self.portfolio is None:
                raise NotImplementedError(f"the twin has no margin rule {unknown!r}")

    def observe(self, moved: list[float], hours: float, interest: list[float]) -> None:
        """The close of a step: log returns of the indices, and open interest."""
        self.interest = interest
        if self.portfolio is not None:
            self.portfolio.interest = interest
            self.portfolio.observe(moved, hours)

    def initial(self, contracts: list[float], marks: list[float]) -> float:
        """USD to open these positions."""
        if self.portfolio is not None:
            return self.factors[0] * self.portfolio.initial(contracts, marks)
        return self.factors[0] * sum(self._initial(market, held, marks[market]) for market, held in enumerate(contracts) if held)

    def maintenance(self, contracts: list[float], marks: list[float]) -> list[float]:
        """USD by market below which these positions are liquidated."""
        if self.portfolio is not None:
            return [self.factors[1] * usd for usd in self.portfolio.maintenance(contracts, marks)]
        return [self.factors[1] * self._maintenance(market, held, marks[market]) for market, held in enumerate(contracts)]

    def _initial(self, market: int, contracts: float, mark: float) -> float:
        notional = abs(contracts) * mark
        if self.initial_brackets:
            needed = _progressive(notional, self.initial_brackets[market])
        else:
            needed = self._rate(self.rates[market][0], market, contracts) * notional
        if self.parameters.type == "open_interest_scaled":
            low, high = _at(self.parameters.lower, market), _at(self.parameters.upper, market)
            needed += min(max((self.interest[market] - low) / (high - low), 0.0), 1.0) * (notional - needed)
        return self._constant(contracts) + (needed if self.cap is None else max(needed, notional / self.cap - self._constant(contracts)))

    def _maintenance(self, market: int, contracts: float, mark: float) -> float:
        notional = abs(contracts) * mark
        if self.maintenance_brackets:
            return _progressive(notional, self.maintenance_brackets[market])
        rate = self._rate(self.rates[market][1], market, contracts)
        if self.parameters.type == "skew_impact":
            rate *= self.parameters.scalar
        return rate * notional + self._constant(contracts)

    def _rate(self, base: float, market: int, contracts: float) -> float:
        """The rate at a size, at most one."""
        slope = self.rates[market][2]
        if self.parameters.type == "square_root":
            return min(max(base, base - 0.2 * base + slope * math.sqrt(abs(contracts))), 1.0)
        return min(base + slope * abs(contracts), 1.0)

    def _constant(self, contracts: float) -> float:
        """USD for a position of any size."""
        return self.parameters.position_margin if contracts and self.parameters.type == "skew_impact" else 0.0


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
