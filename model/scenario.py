"""A scenario: one world, as typed, validated, frozen data. Every field says what it means, in which unit, and where its default is from."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, model_validator

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.pools import Pools
from agents.families import Parameters, RuleParameters, misfit, within
from agents.lender import LenderParameters
from agents.liquidator import LiquidatorParameters
from agents.market_maker import MarketMakerParameters
from agents.option_vault import OptionVaultParameters
from agents.trader import OptionStrategy, TraderParameters, strategy_rules
from model.channels import Channels
from model.instruments import InstrumentParameters
from model.market import MarketParameters
from model.network import CorePeriphery, topologies
from model.news import DEFAULT_ASSETS, Asset, FactorModel, fits, news_rules
from model.payments import PaymentParameters
from model.sharing import ALL, Sharing
from model.shocks import shock_rules
from model.surface import SurfaceParameters


class VenueParameters(Parameters):
    """One exchange: its clearinghouse, its markets and those who make them."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[a-z][a-z0-9]*(_[a-z0-9]+)*$", description="its name")] = "exchange"
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
        for at, one in enumerate(self.instruments):
            if one.type == "perpetual":
                raise misfit(("instruments", at, "type"), "'perpetual', which every asset has", "`inverse`, `future`, `call` or `put`")
        options = any(one.type in {"call", "put"} for one in self.instruments)
        if self.option_vault is not None:
            sells = getattr(self.option_vault.rule, "sells", ())
            unlisted = [kind for kind in sells if kind not in {one.type for one in self.instruments}]
            if unlisted:
                found = f"a vault that sells a {unlisted[0]} where none is listed"
                raise misfit(("option_vault",), found, f"`instruments` with a `{unlisted[0]}`")
        if options and self.clearinghouse.margin.type not in ("portfolio_scenarios", "standard_options"):
            found = f"`{self.clearinghouse.margin.type}` where there are options, which it does not reprice"
            raise misfit(("clearinghouse", "margin", "type"), found, "`portfolio_scenarios` or `standard_options`")
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
            place = "recovery" if self.recovery < 1.0 else "interbank_recovery"
            found = f"costs of bankruptcy under `{self.payments.rule.type}`, a rule without any"
            raise misfit((place,), found, "1, or `payments.rule` of type `rogers_veraart`")
        names = [asset.name for asset in self.assets]
        for at, name in enumerate(names):
            if name in names[:at]:
                raise misfit(("assets", at, "name"), f"{name!r} again", "every asset's name once")
        if isinstance(self.news, FactorModel.Parameters):
            fits(self.news, self.assets)
        self._distinct()
        self._tradable_by_all()
        for at, venue in enumerate(self.venues):
            with within("venues", at):
                self._listed(venue, names)
            self._held_in_coin(at, names)
        return self

    def _listed(self, venue: VenueParameters, names: list[str]) -> None:
        """What a venue lists is on assets that there are, and each is one thing; its pools are for what it lists."""
        markets = list(names)
        for at, one in enumerate(venue.instruments):
            if one.asset not in names:
                raise misfit(("instruments", at, "asset"), repr(one.asset), f"one of the assets {', '.join(names)}")
            if one.name in markets:
                raise misfit(("instruments", at), f"`{one.name}` again", "every instrument once")
            markets.append(one.name)
        with within("clearinghouse", "pools"):
            Pools.of(venue.clearinghouse.pools, markets)

    def _tradable_by_all(self) -> None:
        """Who trades options has some to trade, at one of the venues where it is."""
        listed = [any(one.type in {"call", "put"} for one in venue.instruments) for venue in self.venues]
        shared = [options for venue, options in zip(self.venues, listed, strict=True) if venue.traders is None]
        own: list[tuple[tuple[str | int, ...], TraderParameters, bool]] = [((), self.traders, any(shared) or not shared)]
        own += [(("venues", at), v.traders, listed[at]) for at, v in enumerate(self.venues) if v.traders is not None]
        for place, traders, options in own:
            for at, group in enumerate(traders.groups):
                for number, strategy in enumerate(group.strategies):
                    if not options and issubclass(strategy_rules.find(strategy.type), OptionStrategy):
                        where = (*place, "traders", "groups", at, "strategies", number)
                        raise misfit(where, f"`{strategy.type}` where no option is listed", "a call or a put among the `instruments`")

    def _held_in_coin(self, at: int, names: list[str]) -> None:
        """Somebody has the coins that inverse contracts are margined in, and whoever has coins has something to trade."""
        venue = self.venues[at]
        traders = venue.traders or self.traders
        inverse = {
            one.asset: ("venues", at, "instruments", number) for number, one in enumerate(venue.instruments) if one.type == "inverse"
        }
        holders = [number for number, group in enumerate(traders.groups) if group.margin == "coin"]
        traded = {name for name, weight in zip(names, self.spread(traders.markets), strict=True) if weight > 0.0}
        for asset, place in inverse.items():
            if not holders:
                raise misfit(place, "an inverse perpetual that nobody has the coin for", "a group of traders with `margin: coin`")
            if asset not in traded:
                raise misfit(place, f"an inverse perpetual on `{asset}`", "a weight above 0 for it in the traders' `markets`")
        if holders and not inverse:
            place = (*(("venues", at, "traders") if venue.traders else ("traders",)), "groups", holders[0], "margin")
            raise misfit(place, "margin in coin where nothing is settled in it", f"an `inverse` instrument at `{venue.name}`")

    def _distinct(self) -> None:
        """Several exchanges can be told apart, and what is said of one is of one that there is."""
        called = [venue.name for venue in self.venues]
        for at, shock in enumerate(self.shocks):
            where = getattr(shock, "venue", None)
            if where not in (None, *called):
                raise misfit(("shocks", at, "venue"), repr(where), f"one of {', '.join(called)}")
        for at, name in enumerate(called):
            if name in called[:at]:
                raise misfit(("venues", at, "name"), f"{name!r} again", "every venue's name once")
            if len(called) > 1 and name == ALL:
                raise misfit(("venues", at, "name"), repr(name), "another name, for that one ends the names of totals over venues")
        if len(called) > 1:
            self._shareable()

    def _shareable(self) -> None:
        """What exchanges share they have."""
        sharing = self.sharing
        for role in ("market_makers", "liquidators"):
            counts = [getattr(venue, role).count for venue in self.venues]
            if getattr(sharing, role) and len(set(counts)) > 1:
                at = next(at for at, count in enumerate(counts) if count != counts[0])
                expected = f"{counts[0]}, as at `{self.venues[0].name}`, for venues share them, or `sharing.{role}: false`"
                raise misfit(("venues", at, role, "count"), str(counts[at]), expected)
        if (sharing.market_makers or sharing.liquidators) and not sharing.lenders:
            raise misfit(("sharing", "lenders"), "false, but firms that venues share", "true, for a firm has one balance sheet")
        for at, venue in enumerate(self.venues if sharing.funds == "pooled" else ()):
            pools, token = venue.clearinghouse.pools, venue.clearinghouse.token
            expected = "one pool in usd, for `sharing.funds` is pooled"
            for name, found in (("by", pools.by), ("currency", pools.currency)):
                if found not in ("all", "usd"):
                    raise misfit(("venues", at, "clearinghouse", "pools", name), repr(found), expected)
            if token is not None and token.fund_share > 0.0:
                raise misfit(("venues", at, "clearinghouse", "token", "fund_share"), f"{token.fund_share:g}", expected)

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
