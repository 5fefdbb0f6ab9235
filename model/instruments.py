"""What is traded: perpetuals, inverse perpetuals, dated futures and European options, as columns; their worth and its scenario changes.

A contract's *worth* is what one contract adds to its holder's equity, in USD. Contracts settled in coin are carried at cost like all
others: a long inverse contract bought at price e has put 1 / e coins into its holder's balance and is worth -1 / p coins at mark p.
Its *unit* is its notional in USD, positive, in which size, open interest and margin rates are meant. Futures prices carry no interest
and options are priced on them without discounting (Black 1976), since collateral earns nothing here.
"""

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import ndtr

from agents.clearinghouse.stress import NEARLY_ALL
from agents.clock import HOURS_PER_YEAR
from agents.families import Parameters, misfit
from model.surface import SurfaceParameters, along_path, tenor_factor, total_variance

FADING_HOURS = 24.0
"""Over its last day a dated contract's mark leaves the book's premium behind, so that it converges to the index (our choice)."""

NO_VEGA = 1e-12
"""Of the index, for a relative change of volatility: an option that gains less than this has no vega (our choice)."""

type Floats = NDArray[np.float64]
type Integers = NDArray[np.intp]


class Kind(IntEnum):
    """Pay-off of an instrument."""

    PERPETUAL = 0
    INVERSE = 1
    """A perpetual of 1 USD face, margined and settled in the underlying (BitMEX XBTUSD, Bybit inverse)."""
    FUTURE = 2
    CALL = 3
    PUT = 4


class InstrumentParameters(Parameters):
    """One market of a venue."""

    type: Annotated[Literal["perpetual", "inverse", "future", "call", "put"], Field(description="pay-off")] = "perpetual"
    asset: Annotated[str, Field(min_length=1, description="name of the underlying")]
    days: Annotated[
        float | None,
        Field(
            gt=0, le=3650, description="life of a series from listing to expiry (futures and options)", json_schema_extra={"unit": "days"}
        ),
    ] = None
    moneyness: Annotated[
        float | None,
        Field(gt=0, le=10, description="strike over index when a series is listed (options)", json_schema_extra={"unit": "1"}),
    ] = None
    settlement_hours: Annotated[
        float,
        Field(
            ge=0,
            le=24,
            description="the settlement price is the index averaged over this long before expiry",
            json_schema_extra={"unit": "h", "source": "Deribit: 30 minutes"},
        ),
    ] = 0.5
    depth: Annotated[
        float,
        Field(gt=0, le=10, description="depth over that of the asset's perpetual (our choice)", json_schema_extra={"unit": "1"}),
    ] = 0.25

    @model_validator(mode="after")
    def _terms(self) -> "InstrumentParameters":
        dated, option = self.type in {"future", "call", "put"}, self.type in {"call", "put"}
        if dated != (self.days is not None):
            found = f"none with `type: {self.type}`" if dated else f"{self.days:g} with `type: {self.type}`"
            raise misfit(("days",), found, "a life in days" if dated else "none, for it never expires")
        if option != (self.moneyness is not None):
            found = f"none with `type: {self.type}`" if option else f"{self.moneyness:g} with `type: {self.type}`"
            raise misfit(("moneyness",), found, "strike over index at listing" if option else "none")
        if dated and self.days is not None and self.settlement_hours > 24.0 * self.days:
            raise misfit(("settlement_hours",), f"{self.settlement_hours:g}", f"at most the life of the series, {24.0 * self.days:g} hours")
        return self

    @property
    def name(self) -> str:
        """How tables call it: the asset's own name for its perpetual."""
        match self.type:
            case "perpetual":
                return self.asset
            case "inverse":
                return f"{self.asset}_inverse"
            case "future":
                return f"{self.asset}_future_{self.days:g}d"
            case _:
                return f"{self.asset}_{self.type}_{self.days:g}d_{self.moneyness:g}"


def black(forward: Floats, strike: Floats, variance: Floats, sign: Floats) -> Floats:
    """Undiscounted European option price, USD (Black 1976); `sign` 1 for calls, -1 for puts; `variance` total; shapes broadcast.

    At zero variance, or a forward of zero, it is the intrinsic value.
    """
    deviation = np.sqrt(np.maximum(variance, 0.0))
    alive = (deviation > 0.0) & (forward > 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        d1 = np.where(
            alive, np.log(np.where(forward > 0.0, forward, 1.0) / strike) / np.where(alive, deviation, 1.0) + 0.5 * deviation, 0.0
        )
    priced = sign * (forward * ndtr(sign * d1) - strike * ndtr(sign * (d1 - deviation)))
    intrinsic = np.maximum(sign * (forward - strike), 0.0)
    price: Floats = np.where(alive, np.maximum(priced, intrinsic), intrinsic)
    return price


@dataclass(frozen=True, slots=True)
class Moment:
    """Where the underlyings stand.

    Attributes:
        index: shape (A, ...), USD.
        level: shape (A, ...), annualised, at-the-money implied volatility at thirty days.
        hours: model time; scalar or shape (...).
        carry: shape (A,) or nothing: what a future costs above the index, annualised, until it expires.
    """

    index: Floats
    level: Floats
    hours: Floats | float
    carry: Floats | None = None


class Instruments:
    """The markets of one venue as columns, (M,).

    Attributes:
        names: how tables call them.
        kind: `Kind` of each; asset: index of its underlying.
        expiry: hours of model time, infinite for perpetuals; strike: USD, 0 where there is none.
        coin_settled: whether they are settled in the underlying; linear: whether worth is mark price and unit alike (perpetual, future).
    """

    def __init__(self, terms: tuple[InstrumentParameters, ...], assets: tuple[str, ...], surface: SurfaceParameters) -> None:
        self.terms, self.surface = terms, surface
        self.names = tuple(one.name for one in terms)
        self.kind: Integers = np.array([Kind[one.type.upper()] for one in terms], dtype=np.intp)
        self.asset: Integers = np.array([assets.index(one.asset) for one in terms], dtype=np.intp)
        self.coin_settled: NDArray[np.bool_] = self.kind == Kind.INVERSE
        self.linear: NDArray[np.bool_] = (self.kind == Kind.PERPETUAL) | (self.kind == Kind.FUTURE)
        self.option: NDArray[np.bool_] = self.kind >= Kind.CALL
        self.plain = bool((self.kind == Kind.PERPETUAL).all())
        self._life = np.array([np.inf if one.days is None else 24.0 * one.days for one in terms])
        self._moneyness = np.array([one.moneyness or 0.0 for one in terms])
        self.settlement_hours: Floats = np.array([0.0 if one.days is None else one.settlement_hours for one in terms])
        self.expiry: Floats = np.full(len(terms), np.inf)
        self.strike: Floats = np.zeros(len(terms))

    @property
    def sign(self) -> Floats:
        """Shape (M,): 1 for calls, -1 for puts, 0 for others."""
        sign: Floats = np.where(self.kind == Kind.CALL, 1.0, np.where(self.kind == Kind.PUT, -1.0, 0.0))
        return sign

    # -- series ---------------------------------------------------------------------------------------------------------------------

    def list_series(self, which: NDArray[np.bool_], hours: float, index: Floats) -> None:
        """Lists new series in markets `which`, (M,), at this time and index, (A,)."""
        self.expiry = np.where(which, hours + self._life, self.expiry)
        self.strike = np.where(which, self._moneyness * index[self.asset], self.strike)

    def expiring(self, hours: float) -> NDArray[np.bool_]:
        """Shape (M,): series that have expired by this time."""
        expired: NDArray[np.bool_] = self.expiry <= hours + 1e-9
        return expired

    def settlement_value(self, average: Floats) -> Floats:
        """Shape (M,), USD a contract, of dated markets at the index averaged over the settlement window, (M,)."""
        paid = np.where(self.option, np.maximum(self.sign * (average - self.strike), 0.0), average)
        return np.where(np.isfinite(self.expiry), paid, 0.0)

    # -- worth ----------------------------------------------------------------------------------------------------------------------

    def left(self, hours: Floats | float) -> Floats:
        """Shape (M, ...), hours until expiry, at least 0; infinite for perpetuals."""
        now = np.asarray(hours)
        remaining: Floats = np.maximum(self.expiry.reshape(-1, *([1] * now.ndim)) - now, 0.0)
        return remaining

    def shared(self, moved: Floats) -> Floats:
        """Shape (M,): moves of underlyings that are caused market by market, (M,), as every market of the same underlying sees them."""
        total: Floats = np.bincount(self.asset, moved)[self.asset]
        return total

    def _straight(self, moment: Moment, premium: Floats) -> Floats:
        """Shape (M, ...), USD: index x (1 + carry x time to expiry + premium), the premium fading over a future's last day."""
        index, left = moment.index[self.asset], self.left(moment.hours)
        dated = np.isfinite(left)
        carry = np.zeros(self.kind.size) if moment.carry is None else moment.carry[self.asset]
        ahead = np.where(dated, left, 0.0) * (carry.reshape(-1, *([1] * (left.ndim - 1))) / HOURS_PER_YEAR)
        fading = np.where(dated, np.minimum(left / FADING_HOURS, 1.0), 1.0)
        if index.ndim > left.ndim:
            ahead, fading = ahead[:, None], fading[:, None]
        straight: Floats = index * (1.0 + ahead + fading * premium)
        return straight

    def units(self, moment: Moment, premium: Floats) -> Floats:
        """Shape (M, ...), USD: notional of one contract: its mark price; 1 USD for inverse contracts; the index for options."""
        index = moment.index[self.asset]
        if self.plain:
            return index * (1.0 + premium)
        linear, inverse = _across(self.linear, index), _across(self.coin_settled, index)
        return np.where(linear, self._straight(moment, premium), np.where(inverse, 1.0, index))

    def worth(self, moment: Moment, premium: Floats, shock: Floats | None = None) -> Floats:
        """Shape (M, ...), USD: what one contract adds to its holder's equity.

        Args:
            moment: where the underlyings stand.
            premium: shape (M, ...): mark price over fair price as a share of the index.
            shock: shape (M, ...): relative change of options' own implied volatilities; none if not given.
        """
        index = moment.index[self.asset]
        if self.plain:
            return index * (1.0 + premium)
        worth = np.where(_across(self.linear, index), self._straight(moment, premium), -1.0 / np.maximum(1.0 + premium, 1e-12))
        for market in np.flatnonzero(self.option):
            moved = 0.0 if shock is None else shock[market]
            fair = self._fair(int(market), index[market], moment.level[self.asset[market]], moment.hours, self.sign[market], moved)
            fading = np.minimum(np.maximum(self.expiry[market] - np.asarray(moment.hours), 0.0) / FADING_HOURS, 1.0)
            worth[market] = np.maximum(fair + fading * premium[market] * index[market], 0.0)
        return worth

    def _fair(self, market: int, index: Floats, level: Floats, hours: Floats | float, sign: Floats, shock: Floats | float = 0.0) -> Floats:
        """Fair price of an option of one market's strike and expiry, call or put by `sign`, USD, shape of `index` or `level`.

        `shock`: relative change of its implied volatility.
        """
        years = np.maximum(self.expiry[market] - np.asarray(hours), 0.0) / HOURS_PER_YEAR
        strike = self.strike[market]
        with np.errstate(divide="ignore"):
            moneyness = np.clip(np.log(strike / np.maximum(index, 1e-300)), -20.0, 20.0)
        variance = np.where(years > 0.0, total_variance(self.surface, level, np.asarray(years), moneyness), 0.0)
        return black(index, strike, variance * np.maximum(1.0 + shock, 0.0) ** 2, sign)

    def revalue(self, moment: Moment, premium: Floats, spot: Floats, vol: Floats) -> Floats:
        """Shape (S, M), USD: change of one contract's worth when indices move by `spot` and levels by `vol`, simple and relative, (S, A).

        Accounts' profits under all scenarios are (S, M) @ (M, n), and (S, A) @ (A, n) for the spot that they hold. An inverse contract
        gains what it gains in coin, at today's index: see `coin_gains`.
        """
        level = np.clip(moment.level[:, None] * (1.0 + vol.T), self.surface.floor, self.surface.ceiling)
        return self._changes(moment, premium, spot, level, None)

    def revalue_by_tenor(self, moment: Moment, premium: Floats, spot: Floats, vol: Floats) -> Floats:
        """As `revalue`, `vol` being shocks at thirty days, which options of another life feel more or less of: see `tenor_factor`."""
        level = np.broadcast_to(moment.level[:, None], (moment.level.size, spot.shape[0]))
        years = np.maximum(self.expiry - float(moment.hours), 0.0) / HOURS_PER_YEAR
        factor = np.where(self.option, tenor_factor(np.where(self.option, years, 1.0)), 0.0)
        return self._changes(moment, premium, spot, level, factor[:, None] * vol.T[self.asset])

    def _changes(self, moment: Moment, premium: Floats, spot: Floats, level: Floats, shock: Floats | None) -> Floats:
        index = moment.index[:, None] * (1.0 + spot.T)
        premiums = np.broadcast_to(premium[:, None], (premium.size, spot.shape[0]))
        there = self.worth(Moment(index, level, moment.hours, moment.carry), premiums, shock)
        here = self.worth(moment, premium)
        changed: Floats = (there - here[:, None]).T
        return coin_gains(changed, here, spot[:, self.asset], self.coin_settled) if self.coin_settled.any() else changed

    def deltas(self, moment: Moment, premium: Floats, bump: float = 1e-4) -> Floats:
        """Shape (M,): USD change of one contract for a relative change of its index, over its unit; coin balances apart.

        1 for perpetuals, futures and, with the coins that stand against them, inverse contracts; an option's Black delta on the surface.
        """
        both = np.array([[1.0], [-1.0]]) * np.full((2, moment.index.size), bump)
        change = self.revalue(moment, premium, both, np.zeros_like(both))
        delta: Floats = (change[0] - change[1]) / (2.0 * bump * self.units(moment, premium))
        return np.where(self.coin_settled, 1.0, delta)

    def vegas(self, moment: Moment, premium: Floats, bump: float = 1e-4) -> Floats:
        """Shape (M,): USD change of one contract for a relative change of its underlying's volatility level; 0 if it is worth nothing.

        Call and put of one strike have the same vega (put-call parity), and that of the one out of the money is not lost in what the other
        is in the money by. What is less than `NO_VEGA` counts as none.
        """
        vega, worth = np.zeros(self.kind.size), self.worth(moment, premium)
        for market in np.flatnonzero(self.option & (worth > 0.0)).tolist():
            index, level = moment.index[self.asset[market]], moment.level[self.asset[market]]
            both = np.clip(level * np.array([1.0 + bump, 1.0 - bump]), self.surface.floor, self.surface.ceiling)
            outside = np.where(self.strike[market] >= index, 1.0, -1.0)
            up, down = self._fair(market, index, both, moment.hours, outside)
            vega[market] = (up - down) / (2.0 * bump)
        return np.where(vega >= NO_VEGA * moment.index[self.asset], vega, 0.0)

    def settled_in(self) -> Integers:
        """Shape (M,): the underlying in which each market is settled, -1 for dollars."""
        return np.where(self.coin_settled, self.asset, -1)

    def levels_along(self, level: Floats, moved: Floats) -> Floats:
        """Shape (A, K): volatility levels along a path of cumulative log moves, (A, K), from `level`, (A,)."""
        return along_path(self.surface, level[:, None], moved)


def coin_gains(gains: Floats, worth: Floats, returns: Floats, coin_settled: NDArray[np.bool_]) -> Floats:
    """Gains of one contract, (S, M) USD, with those of inverse contracts put in: what they gain in coin, at today's index.

    One dollar bought at price p gains 1 / p - 1 / (p (1 + r)) = r / (p (1 + r)) coins if the index returns r, so that a long position
    loses the more in coin the further the price falls. For an account whose margin is coin, covering that loss and staying above zero
    come to the same (Deribit, portfolio margin: profit and loss in coin).

    Args:
        gains: those of the others.
        worth: shape (M,), USD, of one contract.
        returns: shape (S, M), simple returns of the underlyings.
        coin_settled: shape (M,).
    """
    in_coin: Floats = np.where(coin_settled, -worth * (returns / np.maximum(1.0 + returns, 1e-12)), gains)
    return in_coin


def _across(flags: NDArray[np.bool_], like: Floats) -> NDArray[np.bool_]:
    """Flags (M,) shaped to broadcast against (M, ...)."""
    return flags.reshape(-1, *([1] * (like.ndim - 1)))


class Fixing:
    """What contracts are worth at one moment, and what they would be worth elsewhere; asked twice, it answers from memory.

    Attributes:
        marks, units: shape (M,), USD, worth and notional of one contract.
    """

    def __init__(self, listed: Instruments, moment: Moment, premium: Floats) -> None:
        self._listed, self._moment, self._premium = listed, moment, premium
        self.marks, self.units = listed.worth(moment, premium), listed.units(moment, premium)
        self._known: dict[tuple[bytes, bytes], Floats] = {}

    def reprice(self, spot: Floats, volatility: Floats) -> Floats:
        """Shape (S, M), USD: see `Instruments.revalue_by_tenor`; (S, A) each."""
        key = (spot.tobytes(), volatility.tobytes())
        if key not in self._known:
            self._known[key] = self._listed.revalue_by_tenor(self._moment, self._premium, spot, volatility)
        return self._known[key]

    def stressed(self, returns: Floats) -> Floats:
        """Shape (S, M), USD: change of one contract when underlyings return (S, A), implied volatility answering as its surface says."""
        before = self._moment.level[:, None]
        answered = self._listed.levels_along(self._moment.level, np.log1p(np.maximum(returns.T, NEARLY_ALL))) / before - 1.0
        return self._listed.revalue(self._moment, self._premium, returns, answered.T)

    @cached_property
    def deltas(self) -> Floats:
        """Shape (M,): see `Instruments.deltas`."""
        return self._listed.deltas(self._moment, self._premium)

    @cached_property
    def vegas(self) -> Floats:
        """Shape (M,), USD: see `Instruments.vegas`."""
        return self._listed.vegas(self._moment, self._premium)
