"""Everything an exchange decides, as one block of a scenario."""

import math
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

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
from agents.clearinghouse.value import BuyBack, PayStakers, Stakers, TokenParameters, value_rules
from agents.clearinghouse.vault import VaultLayer, VaultParameters
from agents.clearinghouse.waterfall import BackstopFund, Deleveraging, ExchangeCapital, SharedFund, SocialisedLoss, WriteDown, layers
from agents.families import Parameters, RuleParameters, misfit

type Stage = Literal["book", "liquidators", "vault", "takeover"]

ONCE: Final = (
    "fund",
    "shared_fund",
    "stakers",
    "vault",
    "exchange_capital",
    "deleveraging",
    "defaulter_contribution",
    "members_fund",
    "assessment",
)
"""Layers that stand for one purse, or end one thing: a second of them would find it empty."""
PRECEDENCE: Final = (
    ("defaulter_contribution", "members_fund", "EMIR, Art. 45"),
    ("members_fund", "assessment", "EMIR, Art. 43: members are called once what they have paid in is used"),
)
"""Layers of which the first never comes after the second."""
SHARES: Final = ("trading_fees", "liquidation_fees", "surplus", "funding")
"""Accrual rules that take a share of what there is: together no more than all of it."""


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
        for name, order in (("order", self.order), ("backstop", self.backstop or ())):
            for at, stage in enumerate(order):
                if stage in order[:at]:
                    raise misfit((name, at), f"`{stage}` again", "each of book, liquidators, vault, takeover at most once")
        return self


class ClearinghouseParameters(Parameters):
    """The exchange clearinghouse of a venue."""

    preset: Annotated[
        Name | None,
        Field(
            description="a named venue whose published rules fill in what is not given: `backstop scenario show` prints them, with sources"
        ),
    ] = None
    fund: Annotated[float, Field(ge=0, le=1e15, description="opening balance of the backstop fund", json_schema_extra={"unit": "USD"})] = (
        60e6
    )
    pools: Annotated[PoolParameters, Field(description="how the fund is divided over markets")] = PoolParameters()
    capital: Annotated[float, Field(ge=0, le=1e15, description="opening capital of the exchange", json_schema_extra={"unit": "USD"})] = 60e6
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
    def _ends(self) -> "ClearinghouseParameters":
        """Somebody bears what is left, once."""
        last = len(self.waterfall) - 1
        for at, layer in enumerate(self.waterfall):
            if (layer.type == WriteDown.name) != (at == last):
                expected = "`write_down` as the last layer and nowhere else, for somebody bears what is left"
                raise _impossible(self, at, expected)
            if layer.type in ONCE and layer.type in [before.type for before in self.waterfall[:at]]:
                raise _impossible(self, at, f"`{layer.type}` at most once")
        return self

    @model_validator(mode="after")
    def _order(self) -> "ClearinghouseParameters":
        """Each layer comes where it can do what it does."""
        members = [layers.find(layer.type) for layer in self.waterfall]
        kinds = [layer.type for layer in self.waterfall]
        for at, member in enumerate(members):
            if issubclass(member, Deferral):
                if self.pools.by != "all":
                    raise _impossible(self, at, "one pooled fund, for losses that are borne later are of no market in particular")
                if at < len(members) - 2:
                    raise _impossible(self, at, f"`{kinds[at]}` next to last, for only the write-down ends what it leaves open")
            if member.reaches == "contracts" and any(before.reaches == "accounts" for before in members[:at]):  # type: ignore[attr-defined]
                expected = f"`{kinds[at]}` before layers that take from accounts, for it decides which contracts leave"
                raise _impossible(self, at, expected)
            for first, then, source in PRECEDENCE:
                if kinds[at] == first and then in kinds[:at]:
                    raise _impossible(self, at, f"`{first}` before `{then}` ({source})")
        return self

    @model_validator(mode="after")
    def _there(self) -> "ClearinghouseParameters":
        """What a layer, a stage or a rule rests on is there."""
        kinds = [layer.type for layer in self.waterfall]
        for at, kind in enumerate(kinds):
            missing = self._missing(kind)
            if missing is not None:
                raise _impossible(self, at, missing)
        if self.pools.shared and SharedFund.name not in kinds:
            raise misfit(("pools", "shared"), f"{self.pools.shared:g}, but no layer that pays with it", "`shared_fund` in the `waterfall`")
        for name, order in (("order", self.route.order), ("backstop", self.route.backstop or ())):
            if self.vault is None and "vault" in order:
                raise misfit(("route", name, order.index("vault")), "`vault`, but there is none", "`vault` of the clearinghouse to be set")
        for at, rule in enumerate(self.value_accrual):
            if self.token is None and rule.type in (BuyBack.name, PayStakers.name):
                raise misfit(("value_accrual", at), f"`{rule.type}` without a token", "`token` to be set")
        return self

    def _missing(self, kind: str) -> str | None:
        """What a layer of this kind rests on, if that is not there."""
        if kind == SharedFund.name and not self.pools.shared:
            return "`pools.shared` above 0, for the layer is the pool behind all others"
        if self.members is None and issubclass(layers.find(kind), MemberLayer):
            return f"`members` to be set, for `{kind}` is theirs"
        if self.vault is None and kind == VaultLayer.name:
            return "`vault` to be set, for the layer is its depositors' capital"
        if self.token is None and kind == Stakers.name:
            return "`token` to be set, for the layer is what has been staked of it"
        return None

    @model_validator(mode="after")
    def _shared_out(self) -> "ClearinghouseParameters":
        """Nothing is given away twice."""
        total = 0.0
        for at, rule in enumerate(self.value_accrual):
            total += rule.share  # type: ignore[attr-defined]
            if total > 1.0 + 1e-9:
                raise misfit(("value_accrual", at, "share"), f"{total:g} times the surplus with those before", "at most all of it")
        taken: dict[str, float] = {}
        for at, outer in enumerate(self.accrual):
            inner = getattr(outer, "levies", None)
            rule = inner if isinstance(inner, RuleParameters) else outer
            share = getattr(rule, "share", None)
            if rule.type in SHARES and share is not None:
                taken[rule.type] = taken.get(rule.type, 0.0) + share
                if taken[rule.type] > 1.0 + 1e-9:
                    place = ("accrual", at, *(("levies",) if rule is inner else ()), "share")
                    raise misfit(place, f"{taken[rule.type]:g} of what there is with those before", "at most all of it")
        return self

    @model_validator(mode="after")
    def _in_tokens(self) -> "ClearinghouseParameters":
        """A fund that is partly in tokens has them from somebody, and can sell them."""
        token = self.token
        if token is None or token.fund_share == 0.0:
            return self
        place = ("token", "fund_share")
        if self.pools.by != "all" or self.pools.currency != "usd":
            raise misfit(place, "a fund partly in tokens", "it pooled, and the rest of it in dollars")
        if Stakers.name in [layer.type for layer in self.waterfall]:
            raise misfit(place, "tokens of the fund and of stakers to be sold for one loss", "one or the other")
        free = (1.0 - token.staked) * token.multiple * token.revenue * math.exp(-token.fear)
        if token.fund_share * self.fund > free:
            raise misfit(place, f"{token.fund_share * self.fund:g} USD of the fund in tokens", f"at most {free:g}, what others hold")
        return self


def _impossible(given: ClearinghouseParameters, at: int, expected: str) -> ValidationError:
    """A layer that cannot be where it is."""
    return misfit(("waterfall", at), f"`{given.waterfall[at].type}` in an impossible waterfall", expected)
