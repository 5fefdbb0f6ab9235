"""A scenario: one world, as typed, validated, frozen data. Every field says what it means, in which unit, and where its default is from."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.pools import Pools
from agents.families import Parameters, RuleParameters
from agents.lender import LenderParameters
from agents.liquidator import LiquidatorParameters
from agents.market_maker import MarketMakerParameters
from agents.option_vault import OptionVaultParameters
from agents.trader import TraderParameters
from model.channels import Channels
from model.instruments import InstrumentParameters
from model.market import MarketParameters
from model.network import CorePeriphery, topologies
from model.news import DEFAULT_ASSETS, Asset, FactorModel, news_rules
from model.payments import PaymentParameters
from model.sharing import ALL, Sharing
from model.shocks import shock_rules
from model.surface import SurfaceParameters


class VenueParameters(Parameters):
    """One exchange: its clearinghouse, its markets and those who make them."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[a-z][a-z0-9_]*$", description="its name")] = "exchange"
    clearinghouse: Annotated[ClearinghouseParameters, Field(description="what the exchange decides")] = ClearinghouseParameters()
    market: Annotated[MarketParameters, Field(description="how its markets form prices")] = MarketParameters()
    market_makers: Annotated[MarketMakerParameters, Field(description="who makes its markets")] = MarketMakerParameters()
    liquidators: Annotated[LiquidatorParameters, Field(description="who takes liquidated positions")] = LiquidatorParameters()
    option_vault: Annotated[
        OptionVaultParameters | None,
        Field(description="a vault that sells options and pays a share of its profit into the fund; null: none"),
    ] = None
    instruments: Annotated[
        tuple[InstrumentParameters, ...],
        Field(description="what is traded beside each asset's perpetual: inverse perpetuals, dated futures, European calls and puts"),
    ] = ()
    surface: Annotated[SurfaceParameters, Field(description="implied volatility of its options")] = SurfaceParameters()
    traders: Annotated[TraderParameters | None, Field(description="who trades there; those of the scenario if it does not say")] = None
    stream: Annotated[
        str | None,
        Field(
            description="what the names of its random streams begin with: exchanges of one name are dealt the same luck; if not given, "
            "nothing for the first exchange, and an exchange's own name for any other"
        ),
    ] = None

    @model_validator(mode="after")
    def _tradable(self) -> "VenueParameters":
        for one in self.instruments:
            if one.type == "perpetual":
                raise ValueError("an instrument of type `perpetual`: expected `inverse`, `future`, `call` or `put`")
        options = any(one.type in {"call", "put"} for one in self.instruments)
        if self.option_vault is not None:
            sells = getattr(self.option_vault.rule, "sells", ())
            unlisted = [kind for kind in sells if kind not in {one.type for one in self.instruments}]
            if unlisted:
                raise ValueError(
                    f"`option_vault` sells a {unlisted[0]} where none is listed: expected `instruments` with a `{unlisted[0]}`"
                )
        if options and self.clearinghouse.margin.type not in ("portfolio_scenarios", "standard_options"):
            raise ValueError(
                "options under a margin rule that does not know them: expected `margin` of type `portfolio_scenarios` or `standard_options`"
            )
        return self

    def contracts(self, assets: tuple[str, ...]) -> tuple[InstrumentParameters, ...]:
        """Its markets: a perpetual on each asset, then what else it lists."""
        return (*(InstrumentParameters(asset=asset) for asset in assets), *self.instruments)


class Scenario(Parameters):
    """A world and how long to watch it."""

    schema_version: Annotated[Literal[1], Field(alias="schema", description="version of this format")] = 1
    name: Annotated[str, Field(min_length=1, description="what to call it")] = "default"
    description: Annotated[str, Field(description="what it shows and what to look at")] = ""
    steps: Annotated[int, Field(ge=1, le=10_000_000, description="length of a run", json_schema_extra={"unit": "steps"})] = 336
    hours_per_step: Annotated[
        float, Field(gt=0, le=24, description="length of a step; every rate scales with it", json_schema_extra={"unit": "h"})
    ] = 1.0
    assets: Annotated[tuple[Asset, ...], Field(min_length=1, description="underlyings; every venue has a perpetual on each")] = (
        DEFAULT_ASSETS
    )
    news: Annotated[RuleParameters, news_rules] = Field(default=FactorModel.Parameters(), description="what moves the indices from outside")
    shocks: Annotated[tuple[Annotated[RuleParameters, shock_rules], ...], Field(description="what happens at stated hours")] = ()
    venues: Annotated[
        tuple[VenueParameters, ...], Field(min_length=1, max_length=8, description="the exchanges; outputs without a name are the first's")
    ] = (VenueParameters(),)
    sharing: Annotated[Sharing, Field(description="what several exchanges have in common")] = Sharing()
    traders: Annotated[TraderParameters, Field(description="who trades")] = TraderParameters()
    lenders: Annotated[LenderParameters, Field(description="who lends to market makers and liquidators")] = LenderParameters()
    network: Annotated[RuleParameters, topologies] = Field(default=CorePeriphery.Parameters(), description="who lends to whom")
    channels: Annotated[Channels, Field(description="which channels of contagion are open")] = Channels()
    recovery: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="part of a defaulter's outside assets that reaches its creditors (Rogers & Veraart's alpha)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0
    interbank_recovery: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="part of what a defaulter is owed that reaches its creditors (Rogers & Veraart's beta)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 1.0

    payments: Annotated[PaymentParameters, Field(description="what defaulters on the network of loans pay, and to whom first")] = (
        PaymentParameters()
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Scenario":
        if self.payments.rule.type != "rogers_veraart" and min(self.recovery, self.interbank_recovery) < 1.0:
            raise ValueError("costs of bankruptcy under a rule without any: expected `recovery` and `interbank_recovery` of 1")
        names = [asset.name for asset in self.assets]
        if len(set(names)) != len(names):
            raise ValueError("two assets of one name: expected every asset's name once")
        self._distinct()
        for venue in self.venues:
            for one in venue.instruments:
                if one.asset not in names:
                    raise ValueError(f"instrument on `{one.asset}`: expected one of the assets {', '.join(names)}")
            markets = [one.name for one in venue.contracts(tuple(names))]
            if len(set(markets)) != len(markets):
                raise ValueError("two instruments that are alike: expected every one of them once")
            Pools.of(venue.clearinghouse.pools, markets)
            self._held_in_coin({one.asset for one in venue.instruments if one.type == "inverse"}, names, venue.traders or self.traders)
        return self

    def _held_in_coin(self, settled: set[str], names: list[str], traders: TraderParameters) -> None:
        """Somebody has the coins that inverse contracts are margined in, and whoever has coins has something to trade."""
        holders = [group.name for group in traders.groups if group.margin == "coin"]
        traded = {name for name, weight in zip(names, self.spread(traders.markets), strict=True) if weight > 0.0}
        if settled and not holders:
            raise ValueError("an inverse perpetual that nobody has the coin for: expected a group of traders with `margin: coin`")
        if holders and not settled & traded:
            raise ValueError(f"group `{holders[0]}` with margin in coin: expected an `inverse` instrument on an asset that traders trade")
        for asset in sorted(settled - traded):
            raise ValueError(f"an inverse perpetual on `{asset}`: expected a weight above 0 for it in the traders' `markets`")

    def _distinct(self) -> None:
        """Several exchanges can be told apart, and what is said of one is of one that there is."""
        called = [venue.name for venue in self.venues]
        for shock in self.shocks:
            where = getattr(shock, "venue", None)
            if where not in (None, *called):
                raise ValueError(f"a shock at venue `{where}`: expected one of {', '.join(called)}")
        if len(set(called)) != len(called):
            raise ValueError("two venues of one name: expected every venue's name once")
        if len(called) > 1:
            if ALL in called:
                raise ValueError(f"a venue called `{ALL}`: expected another name, for that one ends the names of totals over venues")
            self._shareable()

    def _shareable(self) -> None:
        """What exchanges share they have."""
        sharing = self.sharing
        for role in ("market_makers", "liquidators"):
            counts = [getattr(venue, role).count for venue in self.venues]
            if getattr(sharing, role) and len(set(counts)) > 1:
                found = ", ".join(map(str, counts))
                raise ValueError(f"{role} that venues share, {found} of them: expected one `count`, or `sharing.{role}: false`")
        if (sharing.market_makers or sharing.liquidators) and not sharing.lenders:
            raise ValueError(
                "firms that venues share, but lenders that they do not: expected `sharing.lenders: true`, for a firm has one balance sheet"
            )
        for venue in self.venues if sharing.funds == "pooled" else ():
            pools, token = venue.clearinghouse.pools, venue.clearinghouse.token
            if pools.by != "all" or pools.currency != "usd" or (token is not None and token.fund_share > 0.0):
                raise ValueError(f"a fund of `{venue.name}` that is divided, or not in dollars: expected one pool in usd to be pooled")

    @property
    def markets(self) -> tuple[str, ...]:
        """Names of its markets, of the first venue if there are several: perpetuals by their assets, then what else is listed."""
        return self.markets_of(0)

    def markets_of(self, venue: int) -> tuple[str, ...]:
        """Names of the markets of one of its venues."""
        return tuple(one.name for one in self.venues[venue].contracts(tuple(asset.name for asset in self.assets)))

    def settled_in(self, venue: int) -> tuple[str, ...]:
        """Names of the assets in which inverse contracts of one of its venues are settled."""
        return self._with(venue, {"inverse"})

    def quoted_in(self, venue: int) -> tuple[str, ...]:
        """Names of the assets on which one of its venues lists options."""
        return self._with(venue, {"call", "put"})

    def _with(self, venue: int, types: set[str]) -> tuple[str, ...]:
        """Names of the assets on which one of its venues lists instruments of these types, in the assets' order."""
        listed = {one.asset for one in self.venues[venue].instruments if one.type in types}
        return tuple(asset.name for asset in self.assets if asset.name in listed)

    def spread(self, values: tuple[float, ...]) -> "np.ndarray[Any, np.dtype[np.float64]]":
        """A per-market setting as a column, (M,): its last value serves any further market."""
        return np.array([values[min(at, len(values) - 1)] for at in range(len(self.assets))], dtype=float)
