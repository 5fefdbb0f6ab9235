"""Everything an exchange decides, as one block of a scenario."""

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from agents.clearinghouse import margin_history, margin_options, margin_size  # noqa: F401 - their rules are members of the family
from agents.clearinghouse.accrual import OpenInterestLevy, ShareOfLiquidationFees, ShareOfTradingFees, Surplus, accrual_rules
from agents.clearinghouse.adequacy import adequacy_rules
from agents.clearinghouse.deferral import Deferral
from agents.clearinghouse.failure import FailureParameters
from agents.clearinghouse.fees import FeeParameters
from agents.clearinghouse.halts import CircuitBreakerParameters
from agents.clearinghouse.liquidation import PartialThenFull, liquidation_rules
from agents.clearinghouse.margin import Tiered, margin_rules
from agents.clearinghouse.members import MemberLayer, MemberParameters
from agents.clearinghouse.pools import PoolParameters
from agents.clearinghouse.presets import Name, expanded
from agents.clearinghouse.sizing import ShareOfOpenInterest, sizing_rules
from agents.clearinghouse.value import Stakers, TokenParameters, value_rules
from agents.clearinghouse.vault import VaultParameters
from agents.clearinghouse.waterfall import BackstopFund, Deleveraging, ExchangeCapital, SocialisedLoss, WriteDown, layers
from agents.families import Parameters, RuleParameters

type Stage = Literal["book", "liquidators", "vault", "takeover"]


class RouteParameters(Parameters):
    """How liquidated positions are executed."""

    order: Annotated[
        tuple[Stage, ...],
        Field(min_length=1, description="who is asked first, second, third: book, liquidators, vault, takeover by the fund"),
    ] = ("book", "liquidators", "takeover")
    backstop: Annotated[
        tuple[Stage, ...] | None,
        Field(
            min_length=1,
            description="who is asked for slices of which the account keeps nothing; null: the same",
            json_schema_extra={"source": "Hyperliquid: the vault; FTX: backstop liquidity providers"},
        ),
    ] = None
    book_slippage: Annotated[
        float,
        Field(
            gt=0,
            le=0.5,
            description="displacement of the price at which the engine stops selling into the book (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.02
    takeover_limit: Annotated[
        float,
        Field(
            ge=0,
            le=20,
            description="largest inventory of the fund over the fund",
            json_schema_extra={"unit": "1", "source": "Binance: 20 % (2019), 100 % (2020)"},
        ),
    ] = 1.0
    absorption_premium: Annotated[
        float,
        Field(
            ge=0,
            le=0.5,
            description="paid by the fund for each USD of positions that liquidators take, as far as it goes after the round's "
            "deficits, so that they do not wait",
            json_schema_extra={"unit": "1", "source": "the premium of the no-wait condition: Chitra 2025"},
        ),
    ] = 0.0
    unwind_rate: Annotated[
        float,
        Field(ge=0, description="share of the fund's inventory sold in auctions (our choice)", json_schema_extra={"unit": "per hour"}),
    ] = 0.2

    @model_validator(mode="after")
    def _once(self) -> "RouteParameters":
        for order in (self.order, self.backstop or ()):
            if len(set(order)) != len(order):
                raise ValueError("a stage appears twice: expected each of book, liquidators, vault, takeover at most once")
        return self


class ClearinghouseParameters(Parameters):
    """The exchange clearinghouse of a venue."""

    preset: Annotated[
        Name | None,
        Field(
            description="a named venue whose published rules fill in what is not given: `backstop scenario show` prints them, with sources"
        ),
    ] = None
    fund: Annotated[float, Field(ge=0, description="opening balance of the backstop fund", json_schema_extra={"unit": "USD"})] = 60e6
    pools: Annotated[PoolParameters, Field(description="how the fund is divided over markets")] = PoolParameters()
    capital: Annotated[float, Field(ge=0, description="opening capital of the exchange", json_schema_extra={"unit": "USD"})] = 60e6
    fees: Annotated[FeeParameters, Field(description="what it charges")] = FeeParameters()
    margin: Annotated[RuleParameters, margin_rules] = Field(default=Tiered.Parameters(), description="what accounts must hold")
    liquidation: Annotated[RuleParameters, liquidation_rules] = Field(
        default=PartialThenFull.Parameters(), description="what is closed in a round"
    )
    coin_haircuts: Annotated[
        tuple[Annotated[float, Field(ge=0, le=1)], ...],
        Field(
            description="taken off coins that count as collateral, an asset (the last serves any further asset); none: no coin counts "
            "until it is sold on a margin call",
            json_schema_extra={"unit": "1", "source": "the venue's collateral rates; our choice"},
        ),
    ] = ()
    rounds: Annotated[
        int,
        Field(
            ge=1,
            le=100,
            description="rounds of liquidation in each increment of the price path: the engine's speed limit",
            json_schema_extra={"unit": "rounds"},
        ),
    ] = 4
    speed_limit: Annotated[
        tuple[Annotated[float, Field(gt=0)], ...],
        Field(
            description="most of each market that is sent the route in a minute; the last serves any further market; no limit if none is "
            "given. Contracts of bankrupt accounts beyond it leave as those that nobody takes",
            json_schema_extra={"unit": "USD per minute", "source": "Synthetix v3, dYdX v4 and FTX have such limits"},
        ),
    ] = ()
    circuit_breaker: Annotated[
        CircuitBreakerParameters | None, Field(description="when all trading and liquidation pauses; null: never")
    ] = None
    route: Annotated[RouteParameters, Field(description="who takes liquidated positions")] = RouteParameters()
    accrual: Annotated[
        tuple[Annotated[RuleParameters, accrual_rules], ...], Field(description="what flows into the fund; several add up")
    ] = (
        ShareOfTradingFees.Parameters(),
        OpenInterestLevy.Parameters(),
        ShareOfLiquidationFees.Parameters(),
        Surplus.Parameters(),
    )
    sizing: Annotated[RuleParameters, sizing_rules] = Field(
        default=ShareOfOpenInterest.Parameters(), description="how large the fund should be"
    )
    adequacy: Annotated[
        tuple[Annotated[RuleParameters, adequacy_rules], ...], Field(description="what happens when the fund is short of its target")
    ] = ()
    value_accrual: Annotated[
        tuple[Annotated[RuleParameters, value_rules], ...],
        Field(description="who has what the exchange's capital exceeds its opening balance by; its owners have what no rule takes"),
    ] = ()
    release: Annotated[
        float | None,
        Field(
            ge=1,
            le=100,
            description="fund over target beyond which it gives to the exchange's capital what it has too much; null: never, as at BitMEX",
            json_schema_extra={"unit": "1"},
        ),
    ] = None
    token: Annotated[TokenParameters | None, Field(description="the venue's token; null: it has none")] = None
    vault: Annotated[VaultParameters | None, Field(description="backstop vault; none on most venues")] = None
    members: Annotated[
        MemberParameters | None, Field(description="clearing members with a default fund of their own; none on most crypto venues")
    ] = None
    failure: Annotated[FailureParameters, Field(description="what becomes of claims on it once they have been written down")] = (
        FailureParameters()
    )
    waterfall: Annotated[
        tuple[Annotated[RuleParameters, layers], ...], Field(min_length=1, description="who bears a deficit, in order")
    ] = (
        BackstopFund.Parameters(),
        ExchangeCapital.Parameters(),
        Deleveraging.Parameters(),
        SocialisedLoss.Parameters(),
        WriteDown.Parameters(),
    )

    @model_validator(mode="before")
    @classmethod
    def _preset(cls, given: Any) -> Any:
        return expanded(given) if isinstance(given, dict) else given

    @model_validator(mode="after")
    def _order(self) -> "ClearinghouseParameters":
        kinds = [layer.type for layer in self.waterfall]
        if kinds[-1] != "write_down" or "write_down" in kinds[:-1]:
            raise ValueError(
                "impossible waterfall: expected `write_down` as its last layer and nowhere else, for somebody bears what is left"
            )
        for once in (
            "fund",
            "shared_fund",
            "stakers",
            "vault",
            "exchange_capital",
            "deleveraging",
            "defaulter_contribution",
            "members_fund",
            "assessment",
        ):
            if kinds.count(once) > 1:
                raise ValueError(f"impossible waterfall: expected `{once}` at most once")
        if ("shared_fund" in kinds) != (self.pools.shared > 0.0):
            raise ValueError("impossible waterfall: expected `shared_fund` if the fund has a shared pool (`pools.shared`), and only then")
        reaches = [layers.find(kind).reaches for kind in kinds]  # type: ignore[attr-defined]
        if self.pools.by != "all" and any(issubclass(layers.find(kind), Deferral) for kind in kinds):
            raise ValueError(
                "impossible waterfall: expected one pooled fund, for losses that are borne later are of no market in particular"
            )
        for kind in kinds[:-2]:
            if issubclass(layers.find(kind), Deferral):
                raise ValueError(f"impossible waterfall: expected `{kind}` next to last, for only the write-down ends what it leaves open")
        if "contracts" in reaches and "accounts" in reaches[: reaches.index("contracts")]:
            raise ValueError(
                "impossible waterfall: expected `deleveraging` before layers that take from accounts, for it decides which contracts leave"
            )
        return self

    @model_validator(mode="after")
    def _value(self) -> "ClearinghouseParameters":
        shares = sum(rule.share for rule in self.value_accrual)  # type: ignore[attr-defined]
        if shares > 1.0 + 1e-9:
            raise ValueError(f"found value accrual of {shares:g} times the surplus: expected shares that sum to at most 1")
        kinds = [rule.type for rule in (*self.value_accrual, *self.waterfall)]
        if self.token is None:
            for kind in kinds:
                if kind in ("buy_back", Stakers.name):
                    raise ValueError(f"found `{kind}` without a token: expected `token` to be set")
            return self
        if self.token.fund_share > 0.0 and (self.pools.by != "all" or self.pools.currency != "usd"):
            raise ValueError("found a fund partly in tokens: expected it pooled, and the rest of it in dollars")
        if self.token.fund_share > 0.0 and Stakers.name in [layer.type for layer in self.waterfall]:
            raise ValueError("found tokens of the fund and of stakers to be sold for one loss: expected one or the other")
        free = (1.0 - self.token.staked) * self.token.multiple * self.token.revenue * math.exp(-self.token.fear)
        if self.token.fund_share * self.fund > free:
            raise ValueError(
                f"found {self.token.fund_share * self.fund:g} USD of the fund in tokens: expected at most {free:g}, what others hold"
            )
        return self

    @model_validator(mode="after")
    def _members(self) -> "ClearinghouseParameters":
        kinds = [layer.type for layer in self.waterfall]
        if "members_fund" in kinds and "defaulter_contribution" in kinds[kinds.index("members_fund") :]:
            raise ValueError("impossible waterfall: expected `defaulter_contribution` before `members_fund` (EMIR, Art. 45)")
        for kind in kinds:
            if self.members is None and issubclass(layers.find(kind), MemberLayer):
                raise ValueError(f"impossible waterfall: expected `members` to be set, for `{kind}` is theirs")
        return self

    @model_validator(mode="after")
    def _vault(self) -> "ClearinghouseParameters":
        if self.vault is None and any(layer.type == "vault" for layer in self.waterfall):
            raise ValueError("impossible waterfall: expected `vault` to be set, for the layer `vault` is its depositors' capital")
        if self.vault is None and "vault" in (*self.route.order, *(self.route.backstop or ())):
            raise ValueError("impossible route: expected `vault` to be set, for the stage `vault` takes positions over")
        return self
