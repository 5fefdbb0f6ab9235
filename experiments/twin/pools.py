"""How the fund is divided: which pool pays for which market, and how much a market may claim."""

from typing import Any

TIERS = {"A": 100e6, "B": 1e6, "C": 100e3, "speculative": 0.0, "isolated": 0.0}


class Pools:
    """A scenario's pools.

    Attributes:
        of: pool of each market; own: how many have markets; count: the shared pool included, which is the last.
        claimant: of each market; a claimant is a pool's markets together, or each market where claims are limited.
        pool_of: pool of each claimant; left: USD that each may still claim.
    """

    def __init__(self, parameters: Any, markets: list[str]) -> None:
        match parameters.by:
            case "all":
                self.of = [0] * len(markets)
            case "market":
                self.of = list(range(len(markets)))
            case _:
                self.of = [self._group(parameters.groups, market) for market in markets]
        # Markets that no group names share a pool of their own; groups keep theirs even if they are all there is.
        self.own = max(max(self.of) + 1, len(parameters.groups))
        self.shared = parameters.shared
        self.count = self.own + (1 if self.shared else 0)
        if parameters.claims:
            self.claimant, self.pool_of = list(range(len(markets))), list(self.of)
            limits = [parameters.claims[min(at, len(parameters.claims) - 1)] for at in range(len(markets))]
            self.left = [TIERS[limit] if isinstance(limit, str) else limit for limit in limits]
        else:
            self.claimant, self.pool_of = list(self.of), list(range(self.own))
            self.left = [float("inf")] * self.own

    @staticmethod
    def _group(groups: Any, market: str) -> int:
        for at, group in enumerate(groups):
            if market in group.markets:
                return at
        return len(groups)

    def by_pool(self, weights: list[float]) -> list[float]:
        """By pool that has markets, its part of an amount that comes from markets with these weights."""
        return self._parts(weights, self.of, self.own)

    def by_claimant(self, weights: list[float]) -> list[float]:
        """By claimant, its part of an amount that comes from markets with these weights."""
        return self._parts(weights, self.claimant, len(self.pool_of))

    @staticmethod
    def _parts(weights: list[float], homes: list[int], count: int) -> list[float]:
        if sum(weights) <= 0.0:
            weights = [1.0] * len(weights)
        parts = [0.0] * count
        for home, weight in zip(homes, weights, strict=True):
            parts[home] += weight / sum(weights)
        return parts
