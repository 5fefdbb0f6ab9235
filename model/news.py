"""News: what moves the indices from outside, as increments a margin engine can keep up with.

A source answers each step with a `Path`. Diffusion is walked in increments of at most `max_move`, each standing for its share of the
step's time; a jump is one increment that takes no time. `factor_model` draws news, `replay` walks recorded prices, `constant` brings
none.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clock import HOURS_PER_YEAR
from agents.families import Family, Parameters, Rule, RuleParameters, misfit
from model.errors import ScenarioError
from model.path import Path, insert_jumps, ohlc_walk, subdivide
from model.prices import PriceTable, read_prices
from model.randomness import Streams

Floats = NDArray[np.float64]


logger = logging.getLogger(__name__)


class Asset(Parameters):
    """What a market's index follows. Default values of the shipped assets are the project's own choices."""

    name: str = Field(pattern=r"^[A-Za-z0-9]+([._-][A-Za-z0-9]+)*$", description="symbol, e.g. BTC")
    price: float = Field(ge=1e-12, le=1e12, description="opening index price, USD")
    volatility: float = Field(ge=0, le=20, description="diffusive volatility, annualised, log returns; jumps come on top")
    beta: float = Field(1.0, ge=-100, le=100, description="log return per unit log return of the common factor's diffusion")
    jump_loading: float = Field(1.0, ge=-100, le=100, description="log return per unit of a common jump")


DEFAULT_ASSETS = (
    Asset(name="BTC", price=60_000.0, volatility=0.55, beta=1.0, jump_loading=1.0),
    Asset(name="ETH", price=3_000.0, volatility=0.70, beta=1.15, jump_loading=1.25),
    Asset(name="ALT", price=100.0, volatility=1.00, beta=1.4, jump_loading=1.8),
)


@dataclass(frozen=True, slots=True)
class Assets:
    """The assets' parameters as (M,) columns, in market order."""

    names: tuple[str, ...]
    price: Floats
    volatility: Floats
    beta: Floats
    jump_loading: Floats

    @classmethod
    def columns(cls, assets: Sequence[Asset]) -> "Assets":
        """One row an asset turned into one column a parameter."""
        names = tuple(asset.name for asset in assets)
        table = np.array([(a.price, a.volatility, a.beta, a.jump_loading) for a in assets], dtype=np.float64).reshape(-1, 4)
        return cls(names, *np.ascontiguousarray(table.T))


@dataclass(frozen=True, slots=True)
class NewsView:
    """What a news source sees: the step's number, its length in hours, the assets."""

    step: int
    hours: float
    assets: Assets


@dataclass(frozen=True, slots=True)
class News:
    """What a news source says: the step's path, and each asset's annualised volatility (M,) as the step opened."""

    path: Path
    volatility: Floats


@dataclass(frozen=True, slots=True)
class Opening:
    """Where a news source starts.

    Attributes:
        state: what `rule` is given at its first call.
        price: (M,) opening index prices, USD.
        steps: how many steps it can serve; None if without end.
    """

    state: Any
    price: Floats
    steps: int | None = None


class NewsRule(Rule):
    """Base of the news family: write `rule`, and `opening` if the state is drawn or the prices are read."""

    def opening(self, assets: Assets, streams: Streams, hours: float) -> Opening:
        """The state before the first step of `hours`.

        Raises:
            ScenarioError: settings that do not fit the assets.
        """
        return Opening(self.initial_state(), assets.price)

    def rule(self, view: NewsView, state: Any, streams: Streams) -> tuple[News, Any]:
        """The step's news and the state after it. Streams are named "news" and "news of <asset>"."""
        raise NotImplementedError


news_rules = Family("news source", NewsRule)


class NewsSource:
    """A news rule with its state, one a world.

    Args:
        parameters: settings of a member of `news_rules`.
        assets: in market order.
        streams: of the run.
        hours: length of a step.

    Attributes:
        log_value: (M,) log fundamental values, USD: opening prices plus all news so far. Before the first step, the opening prices.
        volatility: (M,) annualised volatility, log returns, as the latest step opened.
        steps: how many steps the source can serve; None if without end.

    Raises:
        ScenarioError: settings that do not fit the assets, faulty price files.
    """

    def __init__(self, parameters: RuleParameters, assets: Sequence[Asset], streams: Streams, hours: float) -> None:
        self.assets = Assets.columns(assets)
        self.hours = hours
        self._rule: NewsRule = news_rules.build(parameters)
        self._streams = streams
        opening = self._rule.opening(self.assets, streams, hours)
        self._state = opening.state
        self.steps = opening.steps
        self.log_value: Floats = np.log(opening.price)
        self.volatility: Floats = self.assets.volatility.copy()

    def next(self, step: int) -> Path:
        """The path of `step`; call once a step, in order.

        Raises:
            ScenarioError: recorded prices are at their end.
        """
        news, self._state = self._rule.rule(NewsView(step, self.hours, self.assets), self._state, self._streams)
        self.volatility = news.volatility
        self.log_value = self.log_value + news.path.dlog.sum(axis=1)
        return news.path


class Jumps(Parameters):
    """Poisson jumps of the log index, of normal size (Merton, J. Financial Economics 3, 1976)."""

    intensity: float = Field(0.0, ge=0, le=1e5, description="expected jumps a year")
    mean: float = Field(0.0, ge=-2, le=2, description="mean log jump")
    sd: float = Field(0.0, ge=0, le=2, description="standard deviation of the log jump")

    @property
    def variance(self) -> float:
        """Variance a year: intensity × (mean² + sd²)."""
        return self.intensity * (self.mean**2 + self.sd**2)

    def draw(self, rng: np.random.Generator, hours: float) -> Floats:
        """(J,) log jumps of `hours`."""
        count = rng.poisson(self.intensity * hours / HOURS_PER_YEAR)
        return rng.normal(self.mean, self.sd, count)


class VolatilityComponent(Parameters):
    """One Ornstein–Uhlenbeck part of the log-variance."""

    sd: float = Field(ge=0, le=5, description="vol-of-vol: stationary standard deviation of this part of the log-variance")
    half_life: float = Field(gt=0, le=1e6, description="hours until half of a deviation has died out")


@news_rules.member
class FactorModel(NewsRule):
    """A common factor with stochastic volatility, own noise for each asset, and jumps.

    Over an increment dt (years), with v = exp(h) the state of volatility and F, e_i independent Brownian motions,

        dlog_i = drift dt + sqrt(v) (beta_i s dF + sqrt(volatility_i² − beta_i² s²) de_i) + jumps,

    s the factor's volatility. h is a sum of independent exponential Ornstein–Uhlenbeck processes (Scott, JFQA 22, 1987; several
    half-lives: Alizadeh, Brandt & Diebold, J. Finance 57, 2002) centred so that E[v] = 1: each asset's diffusive volatility is the one
    stated for it, and corr(i, j) = beta_i beta_j s² / (volatility_i volatility_j). v moves each increment by the exact transition,
    so that the law of the path does not depend on how long a step is. Common jumps hit asset i with its jump loading, own jumps one
    asset alone; each is one increment without duration at a place drawn uniformly among the step's increments. `compensated` takes
    intensity × mean size out of the drift, so that jumps leave the expected log price where it is.
    """

    name = "factor_model"

    class Parameters(RuleParameters):
        """Defaults are calibrated on BTC's hourly returns, Apr 2021 to Dec 2025 (moments, not likelihood)."""

        type: str = "factor_model"
        factor_volatility: float = Field(0.53, ge=0, le=20, description="diffusive volatility of the common factor, annualised")
        volatility_scale: float = Field(1.0, ge=0, le=20, description="multiplies every diffusive volatility, the factor's and the assets'")
        volatility_components: tuple[VolatilityComponent, ...] = Field(
            (VolatilityComponent(sd=0.9, half_life=340.0), VolatilityComponent(sd=1.0, half_life=1.3)),
            description="parts of the log-variance; an empty list keeps volatility constant",
        )
        common_jumps: Jumps = Field(Jumps(intensity=12.0, mean=-0.02, sd=0.025), description="jumps of all assets at once")
        own_jumps: Jumps = Field(Jumps(intensity=6.0, mean=0.0, sd=0.015), description="jumps of one asset alone, each asset its own")
        compensated: bool = Field(True, description="take the jumps' mean out of the drift")
        drift: float = Field(0.0, ge=-100, le=100, description="expected log return a year, every asset")
        increments_per_hour: float = Field(6.0, gt=0, le=3600, description="increments of diffusion an hour; at least one a step")
        max_move: float = Field(0.0025, ge=1e-5, le=1000, description="largest log move of an increment of diffusion, any asset")

    def opening(self, assets: Assets, streams: Streams, hours: float) -> Opening:
        """Draws the log-variance from its stationary law."""
        p = self.parameters
        draws = streams.generator("opening of the news").standard_normal(len(p.volatility_components))
        state = tuple(part.sd * z for part, z in zip(p.volatility_components, draws.tolist(), strict=True))
        return Opening(state, assets.price)

    def rule(self, view: NewsView, state: tuple[float, ...], streams: Streams) -> tuple[News, tuple[float, ...]]:
        """One step of the equation above; the state is the log-variance's parts, before centring."""
        p, assets = self.parameters, view.assets
        n = max(1, math.ceil(view.hours * p.increments_per_hour - 1e-9))
        common = streams.generator("news", view.step)
        shocks = common.standard_normal((1 + len(state), n))
        roots, after = self._root_variance(state, shocks[1:], view.hours / n)
        jumps = [(assets.jump_loading, size, common.random()) for size in p.common_jumps.draw(common, view.hours).tolist()]
        own = np.empty((len(assets.names), n))
        for i, name in enumerate(assets.names):
            rng = streams.generator(f"news of {name}", view.step)
            rng.standard_normal(out=own[i])
            jumps += [(np.eye(len(assets.names))[i], size, rng.random()) for size in p.own_jumps.draw(rng, view.hours).tolist()]

        unit = roots * (p.volatility_scale * math.sqrt(view.hours / n / HOURS_PER_YEAR))
        factor = assets.beta * p.factor_volatility
        idiosyncratic = np.sqrt(np.maximum(assets.volatility**2 - factor**2, 0.0))
        dlog = (factor[:, None] * shocks[0] + idiosyncratic[:, None] * own) * unit + self._drift(assets)[:, None] * (view.hours / n)
        path = Path(dlog, np.full(n, view.hours / n))
        diffusive = p.volatility_scale * assets.volatility * roots[0]
        volatility = np.sqrt(diffusive**2 + assets.jump_loading**2 * p.common_jumps.variance + p.own_jumps.variance)
        return News(subdivide(insert_jumps(path, jumps), p.max_move), volatility), after

    def _root_variance(self, state: tuple[float, ...], shocks: Floats, hours: float) -> tuple[Floats, tuple[float, ...]]:
        """sqrt(v) (n,) at each increment's start, and the log-variance's parts after the last."""
        total = np.zeros(shocks.shape[1])
        after = []
        for part, value, draws in zip(self.parameters.volatility_components, state, shocks.tolist(), strict=True):
            keep = 0.5 ** (hours / part.half_life)
            spread = part.sd * math.sqrt(1.0 - keep * keep)
            values = []
            current = value
            for z in draws:
                values.append(current)
                current = keep * current + spread * z
            total += values
            total -= part.sd**2 / 2  # E[exp(h)] = 1
            after.append(current)
        return np.exp(0.5 * total), tuple(after)

    def _drift(self, assets: Assets) -> Floats:
        """(M,) log drift an hour."""
        p = self.parameters
        if not p.compensated:
            return np.full(len(assets.names), p.drift / HOURS_PER_YEAR)
        jumps = assets.jump_loading * (p.common_jumps.intensity * p.common_jumps.mean) + p.own_jumps.intensity * p.own_jumps.mean
        drift: Floats = (p.drift - jumps) / HOURS_PER_YEAR
        return drift


@dataclass(frozen=True, slots=True)
class Replayed:
    """Where a replay stands: the table, the asset of each of its D markets, the next row, (M,) variance a year so far."""

    table: PriceTable
    columns: NDArray[np.int64]
    row: int
    variance: Floats


def fits(p: FactorModel.Parameters, assets: Sequence[Asset]) -> None:
    """Refuses assets that the common factor alone would move by more than their stated volatility, at their places in a scenario."""
    for at, asset in enumerate(assets):
        least = abs(asset.beta) * p.factor_volatility
        if least > asset.volatility * (1 + 1e-12):
            expected = f"at least |beta| x news.factor_volatility, {least:g}"
            raise misfit(("assets", at, "volatility"), f"{asset.volatility:g} of {asset.name}", expected)


@news_rules.member
class Replay(NewsRule):
    """Recorded prices, one row a step: open → nearer extreme → farther extreme → close.

    The nearer extreme is the one closer to the open in logs, the low if both are as close. The step's time is shared among the three
    legs in proportion to their |log move| (evenly if the price stood still), market by market; the path is linear in between and is
    cut where any market turns and so that none moves by more than `max_move` an increment. What lies between the last close and this
    open, a missing period included, is one jump at the start of the step.

    An asset that has no prices follows the first that has: its beta relative to that asset's times each of the increments, plus own
    diffusion of volatility² − (relative beta × the other's stated volatility)² a year. Volatility is the root of an exponentially
    weighted mean of squared returns up to the step's opening; it starts at the assets' stated volatilities.
    """

    name = "replay"

    class Parameters(RuleParameters):
        """Which files, and how finely they are walked."""

        type: str = "replay"
        files: dict[str, str] | tuple[str, ...] = Field(
            min_length=1, description="CSV files: path by market, or a list of NAME=path or of a path that has a market column"
        )
        max_move: float = Field(0.0025, ge=1e-5, le=1000, description="largest log move of an increment other than a gap, any asset")
        volatility_half_life: float = Field(24.0, gt=0, le=1e6, description="half-life of the volatility estimate, hours")

    def opening(self, assets: Assets, streams: Streams, hours: float) -> Opening:
        """Reads the files; the first opens are the opening prices."""
        p = self.parameters
        table = read_prices(p.files, assets.names)
        if table.missing:
            logger.warning(
                "prices: %d of %d periods missing, each stretch applied as a jump", table.missing, len(table.time) + table.missing
            )
        columns = np.array([assets.names.index(market) for market in table.markets])
        faults = _misfits(assets, columns)
        if not math.isclose(table.hours, hours, rel_tol=1e-9):
            faults.append(f"prices: hours between rows: found {table.hours:g}, expected the step's {hours:g}")
        if faults:
            raise ScenarioError(faults)
        price = assets.price.copy()
        price[columns] = table.open[:, 0]
        return Opening(Replayed(table, columns, 0, assets.volatility**2), price, len(table.time))

    def rule(self, view: NewsView, state: Replayed, streams: Streams) -> tuple[News, Replayed]:
        """The next row's path.

        Raises:
            ScenarioError: there is no next row.
        """
        table, row = state.table, state.row
        if row >= len(table.time):
            raise ScenarioError([f"prices: rows: found {len(table.time)}, expected one a step, and step {row + 1} was asked for"])
        start = table.open[:, row]
        gap = np.log(start / table.close[:, row - 1]) if row else np.zeros(len(start))
        recorded = ohlc_walk(start, table.high[:, row], table.low[:, row], table.close[:, row], view.hours)
        if gap.any():
            recorded = Path(np.column_stack([gap, recorded.dlog]), np.concatenate([[0.0], recorded.hours]))
        path = subdivide(_with_followers(recorded, view, state.columns, streams), self.parameters.max_move)
        keep = 0.5 ** (view.hours / self.parameters.volatility_half_life)
        realised = path.dlog.sum(axis=1) ** 2 * (HOURS_PER_YEAR / view.hours)
        after = replace(state, row=row + 1, variance=keep * state.variance + (1.0 - keep) * realised)
        return News(path, np.sqrt(state.variance)), after


@news_rules.member
class Constant(NewsRule):
    """No news: indices stay where they open unless trading moves them."""

    name = "constant"

    class Parameters(RuleParameters):
        """Nothing to set."""

        type: str = "constant"

    def rule(self, view: NewsView, state: Any, streams: Streams) -> tuple[News, Any]:
        """One still increment."""
        m = len(view.assets.names)
        return News(Path(np.zeros((m, 1)), np.full(1, view.hours)), np.zeros(m)), state


def _with_followers(recorded: Path, view: NewsView, columns: NDArray[np.int64], streams: Streams) -> Path:
    """(D, K) increments of the recorded markets, extended to all M."""
    assets = view.assets
    if len(columns) == len(assets.names):
        dlog = np.empty_like(recorded.dlog)
    else:
        relative, idiosyncratic = _following(assets, columns[0])
        dlog = relative[:, None] * recorded.dlog[0]
        unit = np.sqrt(recorded.hours / HOURS_PER_YEAR)
        for i, name in enumerate(assets.names):
            if i in columns:
                continue
            rng = streams.generator(f"news of {name}", view.step)
            dlog[i] += idiosyncratic[i] * unit * rng.standard_normal(unit.size)
    dlog[columns] = recorded.dlog
    return Path(dlog, recorded.hours)


def _following(assets: Assets, reference: int) -> tuple[Floats, Floats]:
    """Each asset's (M,) beta relative to the reference's, and own volatility beside it (nan if none is left)."""
    relative = assets.beta / assets.beta[reference]
    left = assets.volatility**2 - (relative * assets.volatility[reference]) ** 2
    left[np.abs(left) < 1e-12 * assets.volatility**2] = 0.0
    return relative, np.sqrt(np.where(left < 0.0, np.nan, left))


def _misfits(assets: Assets, columns: NDArray[np.int64]) -> list[str]:
    """A fault for each asset without prices that cannot follow the first that has them."""
    reference = columns[0]
    followers = np.setdiff1d(np.arange(len(assets.names)), columns)
    if followers.size and assets.beta[reference] == 0.0:
        return [f"asset {assets.names[reference]}: beta: found 0, expected another value, since assets without prices follow it"]
    if not followers.size:
        return []
    relative, idiosyncratic = _following(assets, reference)
    least = np.abs(relative) * assets.volatility[reference]
    return [
        f"asset {assets.names[i]}: volatility: found {assets.volatility[i]:g}, expected at least relative beta × volatility of"
        f" {assets.names[reference]} = {least[i]:g}"
        for i in followers[np.isnan(idiosyncratic[followers])]
    ]
