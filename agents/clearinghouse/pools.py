"""How the backstop fund is divided: one pool for all markets, or pools that pay for markets of their own and no others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.families import Parameters, misfit

type Floats = NDArray[np.float64]
type Indices = NDArray[np.intp]
type ContractTier = Literal["A", "B", "C", "speculative", "isolated"]

TIERS: Final[dict[str, float]] = {"A": 100e6, "B": 1e6, "C": 100e3, "speculative": 0.0, "isolated": 0.0}
"""USD that a market may claim from the fund in all, by contract tier (Drift protocol v2, constants.rs, INSURANCE_*_MAX)."""
POOLED: Final = "fund"
OTHERS: Final = "others"
SHARED: Final = "shared"


class GroupParameters(Parameters):
    """A pool and the markets it pays for."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", description="its name")]
    markets: Annotated[tuple[str, ...], Field(min_length=1, description="names of its markets")]


class PoolParameters(Parameters):
    """Pooled, or ring-fenced by market or by group of markets."""

    by: Annotated[
        Literal["all", "market", "group"],
        Field(
            description="all: one fund pays for every market; market: a pool for each; group: a pool for each of `groups`",
            json_schema_extra={"source": "market: BitMEX; group: Bybit since 19 December 2025, Binance since 2020"},
        ),
    ] = "all"
    groups: Annotated[
        tuple[GroupParameters, ...], Field(description="pools by name, for `by: group`; markets that none names share a pool `others`")
    ] = ()
    shares: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...],
        Field(description="of the opening balance, pool by pool; by open interest if none are given", json_schema_extra={"unit": "1"}),
    ] = ()
    shared: Annotated[
        float,
        Field(
            ge=0,
            lt=1,
            description="part of the opening balance, of the target and of every inflow that goes to a pool behind all others, "
            "which the waterfall's layer `shared_fund` draws on",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.0
    currency: Annotated[
        Literal["usd", "underlying"],
        Field(
            description="what the fund is held in; underlying: each pool's first market's, bought with what comes in when a step closes "
            "and sold for each draw, at the index, which that moves",
            json_schema_extra={"source": "underlying: BitMEX and Deribit, in BTC"},
        ),
    ] = "usd"
    claims: Annotated[
        tuple[ContractTier | Annotated[float, Field(ge=0)], ...],
        Field(
            description="what each market may claim from the fund in all: USD, or a tier (A 100m, B 1m, C 100k, others 0); "
            "the last serves any further market; no limit if none is given",
            json_schema_extra={"unit": "USD", "source": "Drift"},
        ),
    ] = ()

    @model_validator(mode="after")
    def _sound(self) -> "PoolParameters":
        if (self.by == "group") != bool(self.groups):
            found = f"`by: {self.by}`" if self.groups else "no groups"
            raise misfit(("groups",), found, "groups with `by: group`, and only with it")
        self._named_once()
        for name in ("shares", "shared"):
            if self.by == "all" and getattr(self, name):
                raise misfit((name,), "it in a fund of one pool", "it with `by: market` or `by: group` only")
        if self.shares and abs(sum(self.shares) - 1.0) > 1e-9:
            raise misfit(("shares",), f"shares that sum to {sum(self.shares):g}", "a sum of 1")
        return self

    def _named_once(self) -> None:
        names, markets = [OTHERS, SHARED], set[str]()
        for at, group in enumerate(self.groups):
            if group.name in names:
                raise misfit(("groups", at, "name"), f"{group.name!r} again", f"every name once, none of them `{OTHERS}` or `{SHARED}`")
            names.append(group.name)
            for of, market in enumerate(group.markets):
                if market in markets:
                    raise misfit(("groups", at, "markets", of), f"{market!r} a second time", "every market in one pool")
                markets.add(market)


@dataclass(frozen=True, slots=True)
class Pools:
    """The pools of a venue's fund.

    A *claimant* is what meets a pool's money with one loss: the markets of a pool together, or each market where claims are limited.

    Attributes:
        names: of P pools; the shared pool, if there is one, is the last and has no markets.
        market: shape (M,), pool of each market.
        claimant: shape (M,), of each market; pool: shape (G,), of each claimant; limits: shape (G,), USD, what it may claim in all.
        shares: shape (P,), of the opening balance; None: by open interest.
        shared: part of every inflow that goes to the shared pool.
    """

    names: tuple[str, ...]
    market: Indices
    claimant: Indices
    pool: Indices
    limits: Floats
    shares: Floats | None
    shared: float

    @classmethod
    def of(cls, p: PoolParameters, markets: Sequence[str]) -> "Pools":
        """The pools that settings describe, for markets of these names.

        Raises:
            ValidationError: a group names a market that there is not; shares are not as many as pools.
        """
        count = len(markets)
        names, market = _named(p, markets)
        if p.shares and len(p.shares) != len(names):
            raise misfit(("shares",), f"{len(p.shares)} of them", f"{len(names)}, one for each of {', '.join(names)}")
        shares = (1.0 - p.shared) * np.array(p.shares) if p.shares else None
        if p.claims:
            limits = [p.claims[min(at, len(p.claims) - 1)] for at in range(count)]
            claimant, pool = np.arange(count), market
            most = np.array([TIERS[limit] if isinstance(limit, str) else float(limit) for limit in limits])
        else:
            claimant, pool, most = market, np.arange(len(names)), np.full(len(names), np.inf)
        if p.shared:
            names = (*names, SHARED)
            shares = None if shares is None else np.append(shares, p.shared)
        return cls(names, market, claimant, pool, most, shares, p.shared)

    @property
    def own(self) -> int:
        """Number of pools that have markets."""
        return len(self.names) - (1 if self.shared else 0)

    def parts(self, weights: Floats, unit: Floats | None = None) -> list[Floats]:
        """By pool that has markets, the part, (n,), of each account's weight that is in its markets.

        Args:
            weights: shape (M, n), at least 0; unit: shape (M,), what one of them counts, 1 if not given.
        """
        return _parts(self.market, self.own, weights, unit)

    def claims(self, weights: Floats) -> list[Floats]:
        """By claimant, the part, (n,), of each account's weight, (M, n), that is in its markets."""
        return _parts(self.claimant, self.pool.size, weights, None)


def _named(p: PoolParameters, markets: Sequence[str]) -> tuple[tuple[str, ...], Indices]:
    """Names of the pools that have markets, and the pool of each market."""
    if p.by == "all":
        return (POOLED,), np.zeros(len(markets), dtype=np.intp)
    if p.by == "market":
        return tuple(markets), np.arange(len(markets))
    home = {market: at for at, group in enumerate(p.groups) for market in group.markets}
    for at, group in enumerate(p.groups):
        for of, market in enumerate(group.markets):
            if market not in markets:
                raise misfit(("groups", at, "markets", of), repr(market), f"one of the markets {', '.join(markets)}")
    others = len(p.groups)
    pool = np.array([home.get(market, others) for market in markets])
    names = tuple(group.name for group in p.groups)
    return (*names, OTHERS) if (pool == others).any() else names, pool


def _parts(group: Indices, groups: int, weights: Floats, unit: Floats | None) -> list[Floats]:
    """Each group's part of the columns' sums; where a column is all zero, every market counts the same."""
    if groups == 1:
        return [np.ones(weights.shape[1])]
    weights = weights if unit is None else weights * unit[:, None]
    weights = np.where(weights.sum(axis=0) > 0.0, weights, 1.0)
    total = weights.sum(axis=0)
    return [weights[group == at].sum(axis=0) / total for at in range(groups)]
