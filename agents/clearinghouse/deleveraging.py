"""Auto-deleveraging rules: whose contracts are closed against a bankrupt account's, and how many."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.families import Family, Rule, RuleParameters

type Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class DeleveragingView:
    """What a deleveraging rule sees: the n accounts on the other side of one market.

    Attributes:
        quantity: contracts to close.
        room: shape (n,), contracts each account can give.
        size: shape (n,), contracts it holds, unsigned.
        profit: shape (n,), USD, gain since entry on this market's position.
        equity: shape (n,), USD.
        maintenance: shape (n,), USD.
        mark: USD that a contract is worth; its size where it is settled in coin.
        entry: shape (n,), USD a contract.
        long: whether these accounts are long.
        inverse: whether the contract is of one dollar and settled in coin, so that mark and entry fall as the price rises.
        unrealised: shape (n,), USD, gain since entry on all of an account's positions; `profit` if not given.
        unit: USD of notional that a contract is, if that is not its mark.
    """

    quantity: float
    room: Floats
    size: Floats
    profit: Floats
    equity: Floats
    maintenance: Floats
    mark: float
    entry: Floats
    long: bool
    inverse: bool = False
    unrealised: Floats | None = None
    unit: float | None = None

    @property
    def leverage(self) -> Floats:
        """Shape (n,): notional over equity."""
        leverage: Floats = self.size * (self.mark if self.unit is None else self.unit) / np.maximum(self.equity, 1e-9)
        return leverage


class DeleveragingRule(Rule):
    """Base of the family. `rule(DeleveragingView, state, rng) -> (contracts (n,), state)`, at most `room`, at most `quantity` in all."""

    def rule(self, view: DeleveragingView, state: Any, rng: Any) -> tuple[Floats, Any]:
        raise NotImplementedError


deleveraging_rules = Family("deleveraging rule", DeleveragingRule)


def fill_by_score(score: Floats, room: Floats, quantity: float) -> Floats:
    """Fills the highest score first, (n,); equal scores (to ten digits) share by room, so that order never decides."""
    mantissa, exponent = np.frexp(score)
    _, group = np.unique(-np.ldexp(np.round(mantissa, 10), exponent), return_inverse=True)
    rooms = np.bincount(group, weights=room)
    before = np.concatenate(([0.0], np.cumsum(rooms)[:-1]))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(rooms > 0.0, np.clip((quantity - before) / rooms, 0.0, 1.0), 0.0)
    filled: Floats = share[group] * room
    return filled


def fill_pro_rata(weight: Floats, room: Floats, quantity: float) -> Floats:
    """min(room, level x weight), shape (n,), with the level at which it sums to `quantity` or all room is used: water-filling."""
    able = (weight > 0.0) & (room > 0.0)
    filled = np.zeros_like(room)
    if not able.any():
        return filled
    w, r = weight[able], room[able]
    order = np.argsort(r / w, kind="stable")
    w, r = w[order], r[order]
    full = np.concatenate(([0.0], np.cumsum(r)[:-1]))
    rest = np.cumsum(w[::-1])[::-1]
    levels = (quantity - full) / rest
    capped = r / w < levels
    level = levels[np.argmin(capped)] if not capped.all() else np.inf
    filled[able] = np.minimum(room[able], max(level, 0.0) * weight[able])
    return filled


@deleveraging_rules.member
class Queue(DeleveragingRule):
    """By rank, highest first, with leverage = notional / equity and return = gain since entry / entry value.

    - `bitmex` (BitMEX, Bybit): return x leverage if the position is in profit, return / leverage if not.
    - `binance`: gain / wallet balance x maintenance margin / equity; the wallet is equity less the gains of all open positions.
    - `hyperliquid`: (mark / entry) x (notional / equity) for longs, entry / mark for shorts (our choice: the documentation speaks of
      mark / entry alone, which would put losing shorts first).
    - `profit_leverage` (dYdX v3): gain x leverage.
    """

    name = "queue"

    class Parameters(RuleParameters):
        type: Literal["queue"] = "queue"
        score: Literal["bitmex", "binance", "hyperliquid", "profit_leverage"] = Field(
            default="bitmex", description="the venue's ranking formula"
        )

    def rule(self, view: DeleveragingView, state: Any, rng: Any) -> tuple[Floats, Any]:
        equity, leverage = np.maximum(view.equity, 1e-9), view.leverage
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(view.entry > 0, view.profit / (view.size * view.entry), 0.0)
            ratio = view.mark / view.entry if view.long != view.inverse else view.entry / max(view.mark, 1e-300)
        match self.parameters.score:
            case "bitmex":
                score = np.where(gain > 0, gain * leverage, gain / np.maximum(leverage, 1e-12))
            case "binance":
                wallet = np.maximum(view.equity - (view.profit if view.unrealised is None else view.unrealised), 1.0)
                score = np.maximum(view.profit, 0.0) / wallet * np.where(view.equity > 0, view.maintenance / equity, 0.0)
            case "hyperliquid":
                score = np.where(view.entry > 0, ratio, 1.0) * leverage
            case _:
                score = view.profit * leverage
        return fill_by_score(score, view.room, view.quantity), state


@deleveraging_rules.member
class ProRata(DeleveragingRule):
    """In proportion to contracts held, equity or profit, capped at what each can give (Chitra 2025, "capped pro rata")."""

    name = "pro_rata"

    class Parameters(RuleParameters):
        type: Literal["pro_rata"] = "pro_rata"
        by: Literal["contracts", "equity", "profit"] = Field(default="contracts", description="what a share is proportional to")

    def rule(self, view: DeleveragingView, state: Any, rng: Any) -> tuple[Floats, Any]:
        weight = {"contracts": view.size, "equity": view.equity, "profit": view.profit}[self.parameters.by]
        return fill_pro_rata(np.maximum(weight, 0.0), view.room, view.quantity), state


@deleveraging_rules.member
class RiskAware(DeleveragingRule):
    """In proportion to profit x leverage x g(leverage), capped at what each can give: the riskiest winners give most.

    Chitra 2025 (arXiv 2512.01112), risk-aware pro rata: the haircut on a winner's profit is min(cap, tau lambda g(lambda)), tau the level
    at which haircuts sum to the budget; lambda is notional over equity.

    - `linear`: g = lambda; `power`: g = lambda^exponent; `threshold`: g = (lambda - threshold)+, so that less leverage gives nothing.
    """

    name = "risk_aware"

    class Parameters(RuleParameters):
        type: Literal["risk_aware"] = "risk_aware"
        g: Literal["linear", "power", "threshold"] = Field(default="linear", description="how the haircut grows with leverage")
        exponent: float = Field(default=2.0, ge=0, le=8, description="of `power` (our choice)", json_schema_extra={"unit": "1"})
        threshold: float = Field(
            default=1.0,
            ge=0,
            le=200,
            description="of `threshold`: leverage that gives nothing (our choice)",
            json_schema_extra={"unit": "1"},
        )

    def rule(self, view: DeleveragingView, state: Any, rng: Any) -> tuple[Floats, Any]:
        p, leverage = self.parameters, view.leverage
        match p.g:
            case "linear":
                g = leverage
            case "power":
                g = leverage**p.exponent
            case _:
                g = np.maximum(leverage - p.threshold, 0.0)
        weight = np.maximum(view.profit, 0.0) * leverage * g
        return fill_pro_rata(weight, view.room, view.quantity), state


@deleveraging_rules.member
class RandomStart(DeleveragingRule):
    """From an account drawn at random on through the others in turn, each giving all it can (dYdX v4, `keeper/deleveraging.go`)."""

    name = "random"

    class Parameters(RuleParameters):
        type: Literal["random"] = "random"

    def rule(self, view: DeleveragingView, state: Any, rng: Any) -> tuple[Floats, Any]:
        first = int(rng.random() * view.room.size)
        order = np.roll(np.arange(view.room.size), -first)
        before = np.cumsum(view.room[order]) - view.room[order]
        filled = np.empty_like(view.room)
        filled[order] = np.clip(view.quantity - before, 0.0, view.room[order])
        return filled, state


@deleveraging_rules.member
class Largest(DeleveragingRule):
    """The largest positions alone, in proportion to size (FTX help centre, "Backstop liquidity provider program": the ten largest).

    Positions as large as the last of them, to ten digits, are asked too: order never decides. What they cannot give stays to be placed.
    """

    name = "largest"

    class Parameters(RuleParameters):
        type: Literal["largest"] = "largest"
        count: int = Field(
            default=10, ge=1, le=100_000, description="how many are asked", json_schema_extra={"unit": "accounts", "source": "FTX"}
        )

    def rule(self, view: DeleveragingView, state: Any, rng: Any) -> tuple[Floats, Any]:
        able = np.where(view.room > 0.0, view.size, 0.0)
        count = min(self.parameters.count, able.size)
        least = float(np.partition(able, able.size - count)[able.size - count]) if count else 0.0
        asked = np.where(able >= least * (1.0 - 1e-10), able, 0.0)
        return fill_pro_rata(asked, view.room, view.quantity), state
