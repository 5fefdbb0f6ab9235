"""Losses that account holders bear later: when they withdraw, or at the end of the week. The layer before the write-down.

Until then the loss is outstanding: claims on the exchange are larger than what backs them, and nobody has been charged.
"""

from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from agents.clearinghouse.waterfall import Charge, Layer, LayerView, layers
from agents.families import RuleParameters

type Floats = NDArray[np.float64]


def withdrawal_factor(outstanding: float, fund: float, claims: float) -> float:
    """Part of a withdrawal that is kept: EBA / (USD held + EBA) with EBA = (outstanding - fund)+ (Paradex, "Socialized losses").

    What is held and EBA together are the claims of account holders, USD, so that the factor is their solvency-exact haircut: who
    withdraws leaves the factor of those who stay as it is.
    """
    short = max(outstanding - max(fund, 0.0), 0.0)
    return min(short / claims, 1.0) if claims > 0.0 else 0.0


def clawback_rate(loss: float, fund: float, profits: float) -> float:
    """Part of its profit of the week that each winner pays: (loss - fund)+ / profits, at most 1 (OKEx 2018, "full account clawback")."""
    short = max(loss - max(fund, 0.0), 0.0)
    return min(short / profits, 1.0) if profits > 0.0 else 0.0


class Deferral(Layer):
    """Base of these layers: what is left of a loss becomes outstanding, as long as claims are there to bear it."""

    reaches: ClassVar[Literal["house", "accounts", "contracts", "later"]] = "later"

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        return Charge(deferred=min(view.loss, max(float(view.equity.sum()) - view.outstanding, 0.0))), state


@layers.member
class WithdrawalFactor(Deferral):
    """A haircut on withdrawals alone, while a loss is outstanding; the fund pays of it what it takes in (Paradex).

    Holders who see the factor rise may leave: with probability 1 - exp(-churn x rise), as after a haircut.
    """

    name = "withdrawal_factor"

    class Parameters(RuleParameters):
        type: Literal["withdrawal_factor"] = "withdrawal_factor"


@layers.member
class Clawback(Deferral):
    """At the end of the week the fund pays, then winners in proportion to the week's net profit over all markets (OKEx until 2018).

    Who has withdrawn a profit by then is not reached, nobody pays more than it has, and what profits cannot bear is written down.
    """

    name = "clawback"

    class Parameters(RuleParameters):
        type: Literal["clawback"] = "clawback"
        period: float = Field(
            default=168.0, gt=0, le=8784, description="time between settlements", json_schema_extra={"unit": "h", "source": "OKEx"}
        )
