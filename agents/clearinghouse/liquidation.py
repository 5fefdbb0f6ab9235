"""Liquidation rules: which slices of a breached account's positions the exchange closes in a round."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Family, Rule, RuleParameters

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LiquidationView:
    """What a liquidation rule sees of n accounts whose equity is below maintenance margin.

    Attributes:
        equity: shape (n,), USD.
        maintenance: shape (M, n), USD, by market.
        notional: shape (M, n), USD, unsigned, at mark.
    """

    equity: Floats
    maintenance: Floats
    notional: Floats


class Slices(NamedTuple):
    """A liquidation rule's decision.

    Attributes:
        fraction: shape (M, n), share of each position to close now, 0 to 1.
        keeps: shape (n,), share of what remains of a slice's equity that stays with the account (0: all beyond bankruptcy price is
        surplus).
    """

    fraction: Floats
    keeps: Floats


class LiquidationRule(Rule):
    """Base of the family. `rule(LiquidationView, state, rng) -> (Slices, state)`."""

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        raise NotImplementedError


liquidation_rules = Family("liquidation rule", LiquidationRule)


@liquidation_rules.member
class PartialThenFull(LiquidationRule):
    """A fifth of a large position first, all of it once equity is below two thirds of maintenance margin.

    Hyperliquid documentation, "liquidations". In the partial stage the account keeps what its slices leave, in the full stage the
    exchange does.
    """

    name = "partial_then_full"

    class Parameters(RuleParameters):
        type: Literal["partial_then_full"] = "partial_then_full"
        slice: float = Field(
            default=0.2,
            gt=0,
            le=1,
            description="share of each position closed in a partial round",
            json_schema_extra={"unit": "1", "source": "Hyperliquid"},
        )
        small: float = Field(
            default=100e3,
            ge=0,
            description="accounts of at most this notional are closed whole",
            json_schema_extra={"unit": "USD", "source": "Hyperliquid"},
        )
        full_below: float = Field(
            default=2 / 3,
            ge=0,
            le=1,
            description="equity over maintenance margin below which everything is closed",
            json_schema_extra={"unit": "1", "source": "Hyperliquid"},
        )

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        p = self.parameters
        whole = view.equity < p.full_below * view.maintenance.sum(axis=0)
        small = view.notional.sum(axis=0) <= p.small
        share = np.where(whole | small, 1.0, p.slice)
        return Slices(np.broadcast_to(share, view.notional.shape), np.where(whole, 0.0, 1.0)), state


@liquidation_rules.member
class FullAtBankruptcy(LiquidationRule):
    """Everything at once, and all that is better than bankruptcy price is the exchange's (BitMEX, Bybit)."""

    name = "full"

    class Parameters(RuleParameters):
        type: Literal["full"] = "full"
        keeps: float = Field(
            default=0.0, ge=0, le=1, description="share of what remains that stays with the account", json_schema_extra={"unit": "1"}
        )

    def rule(self, view: LiquidationView, state: Any, rng: Any) -> tuple[Slices, Any]:
        n = view.equity.size
        return Slices(np.ones_like(view.notional), np.full(n, self.parameters.keeps)), state


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a round of liquidation leaves of each account, (n,), USD.

    Attributes:
        fee: liquidation fee charged.
        surplus: what the exchange keeps beyond bankruptcy price.
        deficit: loss beyond the account's equity on the contracts that left it.
    """

    fee: Floats
    surplus: Floats
    deficit: Floats


def settle(equity: Floats, share: Floats, keeps: Floats, asked: Floats) -> Outcome:
    """Bankruptcy-price accounting of a round.

    A slice's part of the account's equity is its part of the account's maintenance margin (dYdX v4,
    `GetBankruptcyPriceInQuoteQuantums`); its
    bankruptcy price is where that part is used up. The fee is at most the slices' part of what equity is left, so that it neither makes
    a deficit nor
    lowers the margin of what remains (Drift's bound). Slices of one account net: there is a deficit only where its equity is below zero.

    Args:
        equity: shape (n,), USD, after execution, at mark.
        share: shape (n,), part of the account's maintenance margin that left with the round's slices.
        keeps: shape (n,), part of a slice's remaining equity that stays with the account.
        asked: shape (n,), USD, liquidation fee that the exchange would charge.
    """
    positive = share * np.maximum(equity, 0.0)
    fee = np.minimum(asked, positive)
    return Outcome(fee, (1.0 - keeps) * (positive - fee), share * np.maximum(-equity, 0.0))


def maintenance_shares(maintenance: Floats, notional: Floats) -> Floats:
    """Shape (M, n): each position's part of its account's maintenance margin; by notional, then equally, where there is none."""
    weight = np.ones_like(notional)
    for better in (notional, maintenance):
        weight = np.where(better.sum(axis=0) > 0.0, better, weight)
    shares: Floats = weight / weight.sum(axis=0)
    return shares
