"""What an account must hold against all its contracts together: scenario tables, and rules that learn from prices.

A holding is USD of notional, signed; contracts on one asset move with it, each as it does (`Gain`).
"""

import math
from collections.abc import Callable
from functools import cached_property
from statistics import NormalDist
from typing import Any

from agents.clearinghouse.margin_portfolio import TABLES
from agents.clock import HOURS_PER_YEAR

BUMP = 1e-4
"""Relative move of an asset by which a contract's delta is measured."""

type Moves = list[list[float]]
"""A row a scenario."""
type Gain = Callable[[float, float], float]
"""What a dollar of notional held long gains when its asset returns so much and implied volatility changes by such a part of itself."""


class Portfolio:
    """A portfolio rule and what it has seen.

    Args:
        parameters: of `portfolio_scenarios`, `ewma`, `historical` or `filtered_historical`.
        volatility: annualised, by asset, at the opening.
        homes: asset of each market.

    Attributes:
        gains: of each market, where contracts were marked last.
        returns: of assets by scenario; volatilities: changes of implied volatility by asset; weights: part that counts of what is lost.
    """

    def __init__(self, parameters: Any, volatility: list[float], homes: list[int]) -> None:
        self.parameters, self.count, self.homes = parameters, len(volatility), homes
        self.interest = [0.0] * len(homes)
        self.volatilities: Moves = []
        self.weights: Moves = []
        if parameters.type == "portfolio_scenarios":
            tables = [_at(parameters.tables, asset) for asset in range(self.count)]
            rows = list(zip(*(TABLES[table] if isinstance(table, str) else table for table in tables), strict=True))
            self.returns = [[scenario.spot for scenario in row] for row in rows]
            self.volatilities = [[scenario.volatility for scenario in row] for row in rows]
            self.weights = [[scenario.weight for scenario in row] for row in rows]
        else:
            self._assume(volatility)
        self.mark([lambda spot, _: spot] * len(homes))

    def mark(self, gains: list[Gain]) -> None:
        """Contracts are marked anew: what each gains in which scenario is to be asked again."""
        self.gains = gains
        self._forget()

    def _forget(self) -> None:
        for known in ("moves", "deltas", "rates"):
            self.__dict__.pop(known, None)

    @cached_property
    def moves(self) -> Moves:
        """What a dollar held long in each market gains, by scenario, as far as it counts."""
        if self.weights:
            rows = zip(self.returns, self.volatilities, self.weights, strict=True)
            return [[w[a] * gain(r[a], v[a]) for gain, a in zip(self.gains, self.homes, strict=True)] for r, v, w in rows]
        return [[gain(row[a], 0.0) for gain, a in zip(self.gains, self.homes, strict=True)] for row in self.stretched]

    @cached_property
    def deltas(self) -> list[float]:
        """What a dollar in each market gains for a unit of its asset's return."""
        return [gain(BUMP, 0.0) / BUMP for gain in self.gains]

    @cached_property
    def rates(self) -> list[float]:
        """What a dollar in each market can need at most, held alone."""
        return [self._rate(market) for market in range(len(self.homes))]

    # -- what it has seen -----------------------------------------------------------------------------------------------------------

    def _assume(self, volatility: list[float]) -> None:
        """A history of normal returns with a common factor: Halton's points 2, 3, ... in the first primes."""
        p = self.parameters
        self.deviation = [sigma * math.sqrt(p.every / HOURS_PER_YEAR) for sigma in volatility]
        primes = _primes(self.count + 1)
        rho, normal = p.opening_correlation, NormalDist().inv_cdf
        self.standardised = [
            [
                math.sqrt(rho) * normal(_radical_inverse(k, primes[0])) + math.sqrt(1.0 - rho) * normal(_radical_inverse(k, prime))
                for prime in primes[1:]
            ]
            for k in range(1, p.look_back + 1)
        ]
        self.bars = [[z * sd for z, sd in zip(row, self.deviation, strict=True)] for row in self.standardised]
        self.covariance = [
            [(1.0 if a == b else rho) * self.deviation[a] * self.deviation[b] for b in range(self.count)] for a in range(self.count)
        ]
        self.bar, self.bar_hours = [0.0] * self.count, 0.0
        self._stretch()

    def observe(self, moved: list[float], hours: float) -> None:
        """A step's log returns, of assets; a bar is complete when it is as long as the rule says."""
        if self.parameters.type == "portfolio_scenarios":
            return
        p = self.parameters
        self.bar = [before + now for before, now in zip(self.bar, moved[: self.count], strict=True)]
        self.bar_hours += hours
        if self.bar_hours < p.every * (1.0 - 1e-9):
            return
        bar = [move * math.sqrt(p.every / self.bar_hours) for move in self.bar]
        deviations = [math.sqrt(self.covariance[a][a]) for a in range(self.count)]
        self.standardised = [*self.standardised[1:], [r / sd if sd > 0.0 else 0.0 for r, sd in zip(bar, deviations, strict=True)]]
        self.bars = [*self.bars[1:], bar]
        for a in range(self.count):
            for b in range(self.count):
                self.covariance[a][b] = p.decay * self.covariance[a][b] + (1.0 - p.decay) * bar[a] * bar[b]
        self.bar, self.bar_hours = [0.0] * self.count, 0.0
        self._stretch()

    def _stretch(self) -> None:
        """Returns of a bar as they would be over the margin period of risk; filtered ones at the volatility of today."""
        self._forget()
        p, rows = self.parameters, self.bars
        root = math.sqrt(p.period / p.every)
        if p.type == "filtered_historical":
            today = [math.sqrt(self.covariance[a][a]) for a in range(self.count)]
            rows = [[z * sd for z, sd in zip(row, today, strict=True)] for row in self.standardised]
        self.stretched = [[math.exp(min(root * value, 50.0)) - 1.0 for value in row] for row in rows] if p.type != "ewma" else []

    # -- losses ---------------------------------------------------------------------------------------------------------------------

    def loss(self, held: list[float], *, bound: bool = False) -> float:
        """USD that the rule's measure says accounts with these holdings, USD signed, may lose; `bound`: expected shortfall in any case."""
        p = self.parameters
        if p.type == "portfolio_scenarios":
            return max(_worst(self.moves, held), self._on_deltas(held))
        if p.type == "ewma":
            moved = [sum(leg for leg, home in zip(self._legs(held), self.homes, strict=True) if home == a) for a in range(self.count)]
            variance = sum(moved[a] * self.covariance[a][b] * moved[b] for a in range(self.count) for b in range(self.count))
            deviation: float = math.sqrt(max(variance, 0.0) * p.period / p.every)
            return _normal(p) * deviation
        losses: list[float] = sorted((-sum(usd * move for usd, move in zip(held, row, strict=True)) for row in self.moves), reverse=True)
        beyond: float = round(len(losses) * (1.0 - p.confidence), 9)
        whole = int(beyond)
        if p.measure == "value_at_risk" and not bound:
            return max(losses[whole], 0.0)
        return max((sum(losses[:whole]) + (beyond - whole) * losses[whole]) / beyond, 0.0)

    def _legs(self, held: list[float]) -> list[float]:
        """USD that holdings gain for a unit of their asset's return."""
        return [usd * delta for usd, delta in zip(held, self.deltas, strict=True)]

    def _on_deltas(self, held: list[float]) -> float:
        """USD charged on what holdings move like: so much of the net delta in an asset, and so much of what is hedged in it."""
        p, charged = self.parameters, 0.0
        for asset in range(self.count):
            legs = [leg for leg, home in zip(self._legs(held), self.homes, strict=True) if home == asset]
            net = abs(sum(legs))
            hedged = (sum(abs(leg) for leg in legs) - net) / 2.0
            charged += _at(p.unhedged, asset) * net + _at(p.hedged, asset) * hedged
        return charged

    def _groups(self, held: list[float]) -> list[list[float]]:
        """Holdings that net against each other: all of them, those in one asset, or none."""
        if self.parameters.netting == "all":
            return [held]
        groups = self.homes if self.parameters.netting == "assets" else list(range(len(held)))
        return [[usd if home == group else 0.0 for usd, home in zip(held, groups, strict=True)] for group in sorted(set(groups))]

    def _together(self, moves: list[float], held: list[float]) -> float:
        """USD lost when all assets rise, or all fall, whichever is worse."""
        ways = (moves, [-min(move, 1.0) for move in moves])
        both = [[gain(way[home], 0.0) for gain, home in zip(self.gains, self.homes, strict=True)] for way in ways]
        return sum(_worst(both, group) for group in self._groups(held))

    def _net(self, held: list[float]) -> float:
        """USD after netting and tools against procyclicality."""
        net: float = sum(self.loss(group) for group in self._groups(held))
        if self.parameters.type == "portfolio_scenarios":
            return net
        tools, long, stress = self._tools()
        if tools.stress_weight:
            net = (1.0 - tools.stress_weight) * net + tools.stress_weight * self._together(stress, held)
        calm = self._together(long, held) if tools.buffer or tools.floor else 0.0
        if tools.buffer:
            net = max(net, min((1.0 + tools.buffer) * net, (1.0 + tools.buffer) * calm))
        return max(net, calm) if tools.floor else net

    def _tools(self) -> tuple[Any, list[float], list[float]]:
        """The tools, and the moves of each asset at long-run volatility and under stress."""
        p = self.parameters
        tools = p.anti_procyclicality
        root = math.sqrt(p.period / HOURS_PER_YEAR)
        long = [_normal(p) * root * _at(tools.long_volatility, at) for at in range(self.count)]
        return tools, long, [_at(tools.stress_move, at) for at in range(self.count)]

    def _rate(self, market: int) -> float:
        sides = [[sign if at == market else 0.0 for at in range(len(self.homes))] for sign in (1.0, -1.0)]
        rate = max(self.loss(side, bound=True) for side in sides)
        if self.parameters.type == "portfolio_scenarios":
            return rate
        tools, long, stress = self._tools()
        if tools.stress_weight:
            rate = (1.0 - tools.stress_weight) * rate + tools.stress_weight * max(self._together(stress, side) for side in sides)
        rate *= 1.0 + tools.buffer
        highest: float = max(rate, *(self._together(long, side) for side in sides)) if tools.floor else rate
        return highest

    # -- margin ---------------------------------------------------------------------------------------------------------------------

    def _required(self, held: list[float]) -> list[float]:
        """USD by market, provision left out: the netted sum in the proportions that markets would need alone, and concentration."""
        p = self.parameters
        alone = [max(rate, p.minimum) * abs(usd) for rate, usd in zip(self.rates, held, strict=True)]
        net = max(self._net(held), p.minimum * sum(abs(usd) for usd in held))
        share = net / sum(alone) if sum(alone) > 0.0 else 0.0
        add = p.add_ons
        crowded = [
            add.concentration * abs(usd) * math.sqrt(abs(usd) / _at(add.concentration_size, market)) for market, usd in enumerate(held)
        ]
        return [usd * share + charge for usd, charge in zip(alone, crowded, strict=True)]

    def initial(self, contracts: list[float], sizes: list[float]) -> float:
        """USD to open these positions, a contract being `sizes` USD of notional."""
        p, held = self.parameters, [number * size for number, size in zip(contracts, sizes, strict=True)]
        gross: float = sum(abs(usd) for usd in held)
        total: float = p.provision * gross
        for market, required in enumerate(self._required(held)):
            full = 0.0
            if p.add_ons.interest_to:
                low, high = _at(p.add_ons.interest_from, market), _at(p.add_ons.interest_to, market)
                full = min(max((self.interest[market] - low) / (high - low), 0.0), 1.0)
            total += required + full * max(abs(held[market]) - required, 0.0)
        return total if p.leverage_cap is None else max(total, (1.0 / p.leverage_cap + p.provision) * gross)

    def maintenance(self, contracts: list[float], sizes: list[float]) -> list[float]:
        """USD by market below which these positions are liquidated."""
        p, held = self.parameters, [number * size for number, size in zip(contracts, sizes, strict=True)]
        if not any(held):
            return [0.0] * len(held)
        return [p.maintenance * usd + p.provision * abs(size) for usd, size in zip(self._required(held), held, strict=True)]


def _at(values: Any, market: int) -> Any:
    return values[min(market, len(values) - 1)]


def _worst(moves: Moves, held: list[float]) -> float:
    """The largest loss over scenarios, at least 0."""
    some = [(at, usd) for at, usd in enumerate(held) if usd]
    return max(0.0, *(-sum(usd * row[at] for at, usd in some) for row in moves))


def _normal(p: Any) -> float:
    """Value at risk or expected shortfall of a normal loss, in standard deviations."""
    normal = NormalDist()
    confidence: float = p.confidence
    quantile = normal.inv_cdf(confidence)
    return quantile if p.measure == "value_at_risk" else normal.pdf(quantile) / (1.0 - confidence)


def _primes(count: int) -> list[int]:
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def _radical_inverse(number: int, base: int) -> float:
    """The digits of a number in a base, mirrored at the point (van der Corput)."""
    mirrored, place = 0.0, 1.0 / base
    while number:
        number, digit = divmod(number, base)
        mirrored += digit * place
        place /= base
    return mirrored
