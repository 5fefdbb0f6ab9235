"""The waterfall: who bears a deficit, layer by layer. The last layer writes claims on the exchange down to what backs them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from agents.clearinghouse.deleveraging import Queue, deleveraging_rules, fill_pro_rata
from agents.families import Family, Rule, RuleParameters, misfit

if TYPE_CHECKING:
    from agents.clearinghouse.members import MemberView
    from agents.clearinghouse.value import Stake

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerView:
    """What a layer sees.

    Attributes:
        loss: USD still to be absorbed.
        fund: USD in the backstop fund, or in the pool that is asked, at least 0.
        treasury: USD of exchange capital, at least 0.
        equity: shape (R,), USD, claims of account holders, 0 for the house and for accounts below zero.
        gains: shape (R,), USD, gain since entry of account holders' open positions, at least 0 and at most their equity.
        notional: shape (R,), USD, account holders' open positions, in the markets of the claimant if a layer is asked for one at a time.
        outstanding: USD of earlier losses that account holders are yet to bear.
        members: clearing members, if there are any.
        stake: tokens that may be slashed, if there are any.
        vault: USD that the backstop vault may still lose, at least 0.
        hours: since the start.
    """

    loss: float
    fund: float
    treasury: float
    equity: Floats
    gains: Floats
    notional: Floats
    outstanding: float = 0.0
    members: "MemberView | None" = None
    stake: "Stake | None" = None
    vault: float = 0.0
    hours: float = 0.0


class Charge(NamedTuple):
    """A layer's decision, USD: what it takes from fund, exchange capital and vault, from accounts, (R,) or None, or from them later.

    Also what it takes from members' contributions, (K,) or None, whether it ends all contracts at mark, and what the sale of staked tokens
    is to bring.
    """

    fund: float = 0.0
    treasury: float = 0.0
    accounts: Floats | None = None
    deferred: float = 0.0
    contributions: Floats | None = None
    tears_up: bool = False
    stakers: float = 0.0
    vault: float = 0.0


def checked_charge(charge: Charge, loss: float) -> Charge:
    """A layer's decision, refused if it takes what is nobody's to give, or more than the loss."""
    amounts = [charge.fund, charge.treasury, charge.deferred, charge.stakers, charge.vault]
    for held in (charge.accounts, charge.contributions):
        if held is not None and held.size:
            amounts += [float(held.min()), float(held.sum())]
    for usd in amounts:
        if not 0.0 <= usd <= loss * (1.0 + 1e-9):
            raise ValueError(f"found a charge of {usd:g} USD, expected 0 to the loss, {loss:g}")
    return charge


class Layer(Rule):
    """Base of the family. `rule(LayerView, state, rng) -> (Charge, state)`; a charge never exceeds the loss nor what its bearers hold.

    Attributes:
        reaches: "house" if it takes from fund and exchange capital alone, "accounts" if from account holders, "later" if from them at
            another time, "contracts" if it closes contracts.
        draws: "own" if it is asked pool by pool, each for its markets' losses; "shared" if for all of them, of the shared pool; None if
            it sees the fund as one.
    """

    reaches: ClassVar[Literal["house", "accounts", "contracts", "later"]] = "accounts"
    draws: ClassVar[Literal["own", "shared"] | None] = None

    @property
    def by_claimant(self) -> bool:
        """Whether it is asked for the losses of one claimant on the fund at a time, and sees the open positions in its markets alone."""
        return False

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        raise NotImplementedError


layers = Family("waterfall layer", Layer)


@layers.member
class BackstopFund(Layer):
    """The backstop fund, to its last dollar or to a share of it."""

    name = "fund"
    reaches = "house"
    draws: ClassVar[Literal["own", "shared"] | None] = "own"

    class Parameters(RuleParameters):
        type: Literal["fund"] = "fund"
        share: float = Field(
            default=1.0, gt=0, le=1, description="part of the fund's balance that one loss may use", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        return Charge(fund=min(view.loss, self.parameters.share * view.fund)), state


@layers.member
class SharedFund(BackstopFund):
    """The pool behind all others, when a market's own is empty; what it pays counts as the fund's."""

    name = "shared_fund"
    draws = "shared"

    class Parameters(BackstopFund.Parameters):
        type: Literal["shared_fund"] = "shared_fund"  # type: ignore[assignment]


@layers.member
class ExchangeCapital(Layer):
    """The exchange's own capital: skin in the game (EMIR, RTS 153/2013 Art. 35: 25 % of minimum capital).

    Art. 36: it is made good within a month, and a further default before that may use no more than what is left of it.
    """

    name = "exchange_capital"
    reaches = "house"

    class Parameters(RuleParameters):
        type: Literal["exchange_capital"] = "exchange_capital"
        share: float = Field(
            default=0.25,
            gt=0,
            le=1,
            description="part of the exchange's capital that one loss may use",
            json_schema_extra={"unit": "1", "source": "EMIR RTS 153/2013, Art. 35"},
        )
        restore_hours: float | None = Field(
            default=None,
            gt=0,
            le=8784,
            description="time from a first loss on within which all losses together may use no more than that part; null: each loss may",
            json_schema_extra={"unit": "h", "source": "EMIR RTS 153/2013, Art. 36: one month"},
        )

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        p = self.parameters
        allowed = p.share * view.treasury
        if p.restore_hours is None:
            return Charge(treasury=min(view.loss, allowed)), state
        since, left = (view.hours, allowed) if state is None or view.hours - state[0] >= p.restore_hours else state
        paid = min(view.loss, left, view.treasury)
        return Charge(treasury=paid), (since, left - paid)


@layers.member
class Deleveraging(Layer):
    """Auto-deleveraging. The contracts that the layers before cannot cover are closed against winners.

    At bankruptcy price the haircuts sum to the loss that is left times the severity (Chitra 2025, budget balance), and nobody gives more
    than the lesser of its profit since entry and its equity; at mark (OKX, Hyperliquid) or index (dYdX v4's oracle price, Hyperliquid's
    older documentation), contracts move and no loss is absorbed. What cannot be placed leaves at mark against everybody on the other side,
    and its loss passes to the next layer.
    """

    name = "deleveraging"
    reaches = "contracts"

    class Parameters(RuleParameters):
        type: Literal["deleveraging"] = "deleveraging"
        rule: Annotated[RuleParameters, deleveraging_rules] = Field(default=Queue.Parameters(), description="whose contracts are closed")
        price: Literal["bankruptcy", "mark", "index"] = Field(
            default="bankruptcy", description="price at which they are closed (BitMEX and Binance: bankruptcy)"
        )
        severity: float = Field(
            default=1.0,
            ge=0,
            le=1,
            description="part of the loss that winners are asked for, at bankruptcy price; the rest passes on",
            json_schema_extra={"unit": "1", "source": "Chitra 2025, theta"},
        )
        drawdown: float = Field(
            default=1.0,
            gt=0,
            le=1,
            description="winners come before the fund while it has lost this part of its highest opening balance in `window`",
            json_schema_extra={"unit": "1", "source": "OKX, Bybit: 30 %; Binance (2019): 7.5 %"},
        )
        window: float = Field(
            default=8.0,
            gt=0,
            le=720,
            description="how long a balance counts",
            json_schema_extra={"unit": "h", "source": "OKX, Bybit, Binance"},
        )

        @model_validator(mode="after")
        def _sensible(self) -> "Deleveraging.Parameters":
            if self.severity < 1.0 and self.price != "bankruptcy":
                expected = "1, for only bankruptcy price absorbs a loss"
                raise misfit(("severity",), f"{self.severity:g} at {self.price} price", expected)
            return self

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        return Charge(), state


@layers.member
class SocialisedLoss(Layer):
    """Everybody pays in proportion to gains, equity or open positions.

    - `gains`: h = min(1, L / sum of gains), as in variation-margin gains haircutting (ISDA 2013) and Deribit's daily socialisation among
    winners.
    - `equity`: a haircut on balances (Paradex's socialised loss factor, applied at once).
    - `open_interest`: every open position pays by size, and who has less than its part leaves the rest to the others.
    - `funding_index`: one payment a unit of open interest, loss / (longs + shorts), through the funding index (Drift, Vertex); what holders
    cannot pay stays open. The index is a market's own: where markets claim on the fund each for itself (`pools`), each bears its own loss.
    """

    name = "socialised_loss"
    reaches = "accounts"

    class Parameters(RuleParameters):
        type: Literal["socialised_loss"] = "socialised_loss"
        by: Literal["gains", "equity", "open_interest", "funding_index"] = Field(
            default="gains", description="what a share is proportional to"
        )
        cap: float = Field(
            default=1.0,
            gt=0,
            le=1,
            description="largest share of its base (gains, else equity) that an account loses at once",
            json_schema_extra={"unit": "1"},
        )

    @property
    def by_claimant(self) -> bool:
        return bool(self.parameters.by == "funding_index")

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        p = self.parameters
        if p.by == "open_interest":
            return Charge(accounts=fill_pro_rata(view.notional, p.cap * view.equity, view.loss)), state
        if p.by == "funding_index":
            total = float(view.notional.sum())
            payment = view.loss / total if total > 0.0 else 0.0
            return Charge(accounts=np.minimum(payment * view.notional, p.cap * view.equity)), state
        base = view.gains if p.by == "gains" else view.equity
        total = float(base.sum())
        haircut = min(p.cap, view.loss / total) if total > 0 else 0.0
        return Charge(accounts=haircut * base), state


@layers.member
class WriteDown(Layer):
    """Claims on the exchange are written down in proportion: it is insolvent. Always the last layer."""

    name = "write_down"
    reaches = "accounts"

    class Parameters(RuleParameters):
        type: Literal["write_down"] = "write_down"

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        total = float(view.equity.sum())
        return Charge(accounts=(min(1.0, view.loss / total) if total > 0 else 0.0) * view.equity), state
