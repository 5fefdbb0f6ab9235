"""Margin on a portfolio: what a whole account would lose, its markets netted as the rule says, and the scenario tables of named venues.

A portfolio rule is a table of gains and losses of one contract of each market, (S, M), and a measure of what an account loses on it: the
accounts' results are one matrix product, (S, M) @ (M, n). Margin is asked of the account as a whole (it is cross-margined); for the
liquidation of slices it is attributed to markets in proportion to what each would need alone, which is never negative and adds up.
"""

from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.clearinghouse.margin import Margin, MarginRule, MarginView, ascending, margin_rules, per_market
from agents.families import Parameters, RuleParameters, misfit

type Floats = NDArray[np.float64]

CELLS = 4_000_000
"""Results of accounts under scenarios that are held at a time."""
BUMP = 1e-4
"""Relative move of an underlying by which a contract's delta is measured."""


# -- add-ons ----------------------------------------------------------------------------------------------------------------------------


class AddOns(Parameters):
    """What is asked on top, market by market."""

    concentration: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="added margin rate at the reference size; it grows with the square root of size, so that the charge is N ** 1.5",
        json_schema_extra={"unit": "1", "source": "Drift's square-root premium, as an add-on (our choice)"},
    )
    concentration_size: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(10e6,), min_length=1, description="reference size, a market (our choice)", json_schema_extra={"unit": "USD"}
    )
    interest_from: tuple[Annotated[float, Field(ge=0)], ...] = Field(
        default=(),
        description="open interest above which the initial margin rate rises, a market; none, and it does not",
        json_schema_extra={"unit": "USD", "source": "dYdX v4"},
    )
    interest_to: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(),
        description="open interest at which the initial margin rate is one",
        json_schema_extra={"unit": "USD", "source": "dYdX v4"},
    )

    @model_validator(mode="after")
    def _ordered(self) -> "AddOns":
        ascending("interest_from", self.interest_from, "interest_to", self.interest_to)
        return self


def concentration(add_ons: AddOns, notional: Floats) -> Floats:
    """Shape (M, n), USD: rate x N x sqrt(N / size)."""
    if add_ons.concentration == 0.0:
        return np.zeros_like(notional)
    size = per_market(add_ons.concentration_size, notional.shape[0])
    charge: Floats = add_ons.concentration * notional * np.sqrt(notional / size)
    return charge


def towards_full(initial: Floats, notional: Floats, interest: Floats, low: Floats, high: Floats) -> Floats:
    """Initial margin, (M, n), moved towards all of the notional, (M, n), as open interest, (M,), goes from `low` to `high`, (M,).

    The rate is base + (interest - low) / (high - low) x (1 - base), at least base and at most one (dYdX v4, open-interest margin fraction).
    """
    part = np.clip((interest - low) / (high - low), 0.0, 1.0)[:, None]
    raised: Floats = initial + part * np.maximum(notional - initial, 0.0)
    return raised


# -- portfolio rules --------------------------------------------------------------------------------------------------------------------


class PortfolioParameters(RuleParameters):
    """What every portfolio rule is told."""

    netting: Literal["none", "assets", "all"] = Field(
        default="all",
        description="whose gains count against whose losses: none (markets add up), markets on one asset, or all of an account's",
    )
    maintenance: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="maintenance over initial margin; 1 for a clearing house that calls for what is missing",
        json_schema_extra={"unit": "1", "source": "Hyperliquid, Paradex: one half"},
    )
    minimum: float = Field(
        default=0.01,
        ge=0,
        le=1,
        description="least initial margin rate on gross notional (our choice)",
        json_schema_extra={"unit": "1"},
    )
    provision: float = Field(
        default=0.0,
        ge=0,
        le=0.1,
        description="provision for fees and funding on gross notional, added in full to initial and to maintenance margin",
        json_schema_extra={"unit": "1", "source": "Paradex, portfolio margin (its size is our choice)"},
    )
    leverage_cap: float | None = Field(
        default=None, ge=1, le=1000, description="highest leverage at opening", json_schema_extra={"unit": "1"}
    )
    add_ons: AddOns = Field(default=AddOns(), description="for open interest and concentration")


class PortfolioRule(MarginRule):
    """Base of the rules that look at an account's result under scenarios.

    A member writes `table` and `measure`; if its measure of two portfolios together can exceed the sum of both, also `bound`.
    """

    Parameters = PortfolioParameters

    def table(self, view: MarginView, state: Any) -> Floats:
        """Shape (S, M), USD: what one contract gains in each scenario."""
        raise NotImplementedError

    def measure(self, gains: Floats, state: Any) -> Floats:
        """Shape (n,), USD, at least 0: the loss that margin must cover, of accounts that gain (S, n); positively homogeneous."""
        raise NotImplementedError

    def bound(self, gains: Floats, state: Any) -> Floats:
        """As `measure`, not below it, and subadditive."""
        return self.measure(gains, state)

    def net(self, view: MarginView, state: Any) -> Floats:
        """Shape (n,), USD: what accounts must cover, netted."""
        return self.netted(view, self.table(view, state), state)

    def rates(self, view: MarginView, state: Any) -> Floats:
        """Shape (M,): at most what a market adds to `net` for each USD of its notional, long or short."""
        return self.alone(view, self.table(view, state), state)

    def alone(self, view: MarginView, table: Floats, state: Any) -> Floats:
        """Shape (M,): the bound of one contract held alone, on its worse side, over its notional."""
        worst = np.maximum(self.bound(table, state), self.bound(-table, state))
        return np.divide(worst, view.units, out=np.zeros_like(worst), where=view.units > 0.0)

    def netted(self, view: MarginView, table: Floats, state: Any) -> Floats:
        """Shape (n,), USD: the measure of the accounts' results, a netting group at a time."""
        total = np.zeros(view.position.shape[1])
        for markets in netting_groups(self.parameters.netting, view.assets):
            held = view.position[markets]
            if len(markets) == 1:
                per_contract = self.measure(table[:, markets] * [1.0, -1.0], state)
                total += np.where(held[0] > 0.0, held[0] * per_contract[0], -held[0] * per_contract[1])
                continue
            columns = max(CELLS // max(table.shape[0], 1), 1)
            for first in range(0, total.size, columns):
                some = slice(first, first + columns)
                total[some] += self.measure(table[:, markets] @ held[:, some], state)
        return total

    def rule(self, view: MarginView, state: Any, rng: Any) -> tuple[Margin, Any]:
        p, notional = self.parameters, view.notional
        alone = self._alone(view, state)
        total = alone.sum(axis=0)
        net = np.maximum(self.net(view, state), p.minimum * notional.sum(axis=0))
        share = np.divide(net, total, out=np.zeros_like(total), where=total > 0.0)
        required = alone * share + concentration(p.add_ons, notional)
        provision = p.provision * notional
        return Margin(self._initial(view, required) + provision.sum(axis=0), p.maintenance * required + provision), state

    def _alone(self, view: MarginView, state: Any) -> Floats:
        """Shape (M, n), USD: what markets would need alone, add-ons and provision left out."""
        alone: Floats = np.maximum(self.rates(view, state), self.parameters.minimum)[:, None] * view.notional
        return alone

    def _initial(self, view: MarginView, required: Floats) -> Floats:
        p, markets = self.parameters, view.units.size
        if p.add_ons.interest_to:
            low, high = (per_market(values, markets)[:, 0] for values in (p.add_ons.interest_from, p.add_ons.interest_to))
            required = towards_full(required, view.notional, view.open_interest, low, high)
        initial: Floats = required.sum(axis=0)
        return initial if p.leverage_cap is None else np.maximum(initial, view.notional.sum(axis=0) / p.leverage_cap)

    def ceiling(self, view: MarginView, state: Any) -> Floats:
        p = self.parameters
        most = p.maintenance * (self._alone(view, state) + concentration(p.add_ons, view.notional)) + p.provision * view.notional
        highest: Floats = most.sum(axis=0)
        return highest

    def flat_region(self, view: MarginView, state: Any) -> tuple[Floats, Floats]:
        p = self.parameters
        rate = np.maximum(self.rates(view, state), p.minimum) + p.add_ons.concentration
        limit = per_market(p.add_ons.concentration_size, rate.size)[:, 0] if p.add_ons.concentration else np.full(rate.size, np.inf)
        return p.maintenance * rate + p.provision, limit


def netting_groups(netting: str, assets: NDArray[np.intp]) -> list[list[int]]:
    """Markets, by index, whose gains count against each other's losses."""
    if netting == "all":
        return [list(range(assets.size))]
    if netting == "none":
        return [[market] for market in range(assets.size)]
    return [np.flatnonzero(assets == asset).tolist() for asset in np.unique(assets)]


# -- scenario tables --------------------------------------------------------------------------------------------------------------------


class Shift(Parameters):
    """One scenario: an underlying and its implied volatility move, and the loss counts with a weight."""

    spot: float = Field(gt=-1, le=100, description="simple return of the underlying", json_schema_extra={"unit": "1"})
    volatility: float = Field(
        default=0.0, gt=-1, le=10, description="relative change of implied volatility at thirty days", json_schema_extra={"unit": "1"}
    )
    weight: float = Field(default=1.0, gt=0, le=1, description="part of the loss that counts", json_schema_extra={"unit": "1"})


FAR = (-0.66, -0.33, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0)
"""Far moves of the underlying, in Deribit's table and in Paradex's."""


def _paradex(span: float, up: float, down: float, tails: tuple[float, ...]) -> tuple[Shift, ...]:
    """Paradex's 24: quarters of the span either way under a rise and a fall of volatility, its ends under a rise; eight weighted tails."""
    spots = [span * quarter / 4 for quarter in (4, 3, 3, 2, 2, 1, 1, 0, 0, -1, -1, -2, -2, -3, -3, -4)]
    vols = [up, *([up, down] * 7), up]
    return (
        *(Shift(spot=spot, volatility=vol) for spot, vol in zip(spots, vols, strict=True)),
        *(Shift(spot=spot, volatility=up, weight=weight) for spot, weight in zip(FAR, tails, strict=True)),
    )


FIRST_TAILS = (0.18, 0.36, 0.24, 0.12, 0.06, 0.04, 0.03, 0.024)
"""Weights of far moves in Paradex's first table: about 12 % over their size."""


def _deribit() -> tuple[Shift, ...]:
    """Nine buckets over +-16 % under a rise, no change and a fall of volatility; far moves under a rise."""
    grid = [Shift(spot=0.04 * bucket, volatility=vol) for bucket in range(-4, 5) for vol in (0.38, 0.0, -0.38)]
    return (*grid, *(Shift(spot=far, volatility=0.38, weight=weight) for far, weight in zip(FAR, FIRST_TAILS, strict=True)))


TABLES: dict[str, tuple[Shift, ...]] = {
    # Paradex documentation, "portfolio margin", scenario tables by asset.
    "paradex_btc": _paradex(0.14, 0.40, -0.22, (0.1061, 0.2121, 0.14, 0.07, 0.0175, 0.0078, 0.0044, 0.0028)),
    "paradex_eth": _paradex(0.16, 0.40, -0.22, (0.1212, 0.2424, 0.16, 0.08, 0.02, 0.0089, 0.005, 0.0032)),
    "paradex_sol": _paradex(0.24, 0.64, -0.352, (0.1818, 0.3636, 0.24, 0.12, 0.03, 0.0133, 0.0075, 0.0048)),
    "paradex_hype": _paradex(0.28, 0.64, -0.352, (0.21, 0.42, 0.28, 0.14, 0.035, 0.0156, 0.0088, 0.0056)),
    "paradex_first": _paradex(0.16, 0.40, -0.22, FIRST_TAILS),
    # Deribit, "portfolio margin": +-16 % in nine buckets, its list of far moves; 38 % is an older version's change of volatility at
    # thirty days, and the weights of far moves are Paradex's first (our choice).
    "deribit": _deribit(),
}


@margin_rules.member
class PortfolioScenarios(PortfolioRule):
    """The largest weighted loss over a table of scenarios, and no less than a charge on deltas (Paradex, Deribit: portfolio margin).

    Initial = max(largest loss, unhedged x |net delta| + hedged x hedged delta) + provision, hedged delta = (gross - |net|) / 2 by
    underlying;
    maintenance = part of the first term + provision. A change of volatility v is that at thirty days; an option of another life sees
    v (30 / max(1, days))^p, p = 0.30 below thirty days and 0.13 from there on.
    """

    name = "portfolio_scenarios"

    class Parameters(PortfolioParameters):
        type: Literal["portfolio_scenarios"] = "portfolio_scenarios"
        netting: Literal["none", "assets", "all"] = Field(
            default="assets", description="whose gains count against whose losses: none, markets on one asset, or all of an account's"
        )
        tables: tuple[str | tuple[Shift, ...], ...] = Field(
            default=("paradex_btc", "paradex_eth", "paradex_sol"),
            min_length=1,
            description=f"one an asset, in their order (the last serves any further asset): scenarios, or one of {', '.join(TABLES)}",
            json_schema_extra={"source": "Paradex documentation, portfolio margin"},
        )
        unhedged: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
            default=(0.002, 0.002, 0.003),
            min_length=1,
            description="charge on net delta, an asset",
            json_schema_extra={"unit": "1", "source": "Paradex documentation, portfolio margin"},
        )
        hedged: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
            default=(0.001, 0.001, 0.0015),
            min_length=1,
            description="charge on hedged delta, an asset",
            json_schema_extra={"unit": "1", "source": "Paradex documentation, portfolio margin"},
        )
        minimum: float = Field(
            default=0.0, ge=0, le=1, description="least initial margin rate on gross notional", json_schema_extra={"unit": "1"}
        )
        provision: float = Field(
            default=5e-4,
            ge=0,
            le=0.1,
            description="provision for fees and funding on gross notional, added in full to initial and to maintenance margin",
            json_schema_extra={"unit": "1", "source": "Paradex, portfolio margin (its size, a taker fee, is our choice)"},
        )

        @model_validator(mode="after")
        def _sound(self) -> "PortfolioScenarios.Parameters":
            for at, table in enumerate(self.tables):
                if isinstance(table, str) and table not in TABLES:
                    raise misfit(("tables", at), f"unknown table {table!r}", f"scenarios or one of {', '.join(TABLES)}")
                count, first = len(_shifts(table)), len(_shifts(self.tables[0]))
                if count != first or not count:
                    raise misfit(("tables", at), f"{count} scenarios", f"{first or 'at least one'}, as many for each asset")
            if len(self.hedged) != len(self.unhedged):
                raise misfit(("hedged",), f"{len(self.hedged)} of them", f"{len(self.unhedged)}, as many as unhedged charges")
            for at, (hedged, unhedged) in enumerate(zip(self.hedged, self.unhedged, strict=True)):
                if hedged > 2.0 * unhedged:
                    raise misfit(("hedged", at), f"{hedged:g}", f"at most twice the unhedged charge, {2.0 * unhedged:g}")
            return self

    def _spread(self, name: str, assets: int) -> Floats:
        """Shape (S, A): one column of the tables."""
        tables = self.parameters.tables
        return np.array([[getattr(s, name) for s in _shifts(tables[min(a, len(tables) - 1)])] for a in range(assets)]).T

    def table(self, view: MarginView, state: Any) -> Floats:
        count = view.underlyings
        gains = view.revalue(self._spread("spot", count), self._spread("volatility", count))
        weighted: Floats = gains * self._spread("weight", count)[:, view.assets]
        return weighted

    def measure(self, gains: Floats, state: Any) -> Floats:
        worst: Floats = np.maximum(-gains.min(axis=0), 0.0)
        return worst

    def net(self, view: MarginView, state: Any) -> Floats:
        table = self.table(view, state)
        total = np.zeros(view.position.shape[1])
        for markets in netting_groups(self.parameters.netting, view.assets):
            some = np.array(markets)
            part = MarginView(view.position[some], view.notional[some], view.marks[some], view.units[some], view.assets[some])
            total += np.maximum(self.netted(part, table[:, some], state), self._on_deltas(view, some))
        return total

    def _on_deltas(self, view: MarginView, markets: NDArray[np.intp]) -> Floats:
        """Shape (n,), USD: the charge on net and hedged deltas of some markets, an underlying at a time."""
        p, count = self.parameters, view.underlyings
        held = deltas(view)[:, markets, None] * view.position[markets]
        net, gross = np.abs(held.sum(axis=1)), np.abs(held).sum(axis=1)
        charge: Floats = (per_market(p.unhedged, count) * net + per_market(p.hedged, count) * 0.5 * (gross - net)).sum(axis=0)
        return charge

    def rates(self, view: MarginView, state: Any) -> Floats:
        unhedged = per_market(self.parameters.unhedged, view.underlyings)
        delta = (unhedged * np.abs(deltas(view))).sum(axis=0)
        charge = np.divide(delta, view.units, out=np.zeros_like(delta), where=view.units > 0.0)
        return np.maximum(super().rates(view, state), charge)


def _shifts(table: str | tuple[Shift, ...]) -> tuple[Shift, ...]:
    return TABLES[table] if isinstance(table, str) else table


def deltas(view: MarginView) -> Floats:
    """Shape (A, M), USD: what one contract gains for each unit of an underlying's simple return."""
    count = view.underlyings
    gained: Floats = view.revalue(BUMP * np.eye(count), np.zeros((count, count))) / BUMP
    return gained
