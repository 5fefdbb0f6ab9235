"""The backstop vault: depositors' capital that takes over what is liquidated below the backstop threshold, with a cap of its own."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from agents.clearinghouse.waterfall import Charge, Layer, LayerView, layers
from agents.families import Parameters, RuleParameters


class VaultParameters(Parameters):
    """A liquidator vault (Hyperliquid documentation, "liquidations"; its statement after JELLY, March 2025).

    Its capital is a part of the venue's vault set aside for that; what it may hold and lose is not published.
    """

    capital: Annotated[
        float, Field(ge=0, le=1e15, description="depositors' capital at the opening (our choice)", json_schema_extra={"unit": "USD"})
    ] = 10e6
    appetite: Annotated[
        float, Field(ge=0, le=20, description="largest gross position over equity (our choice)", json_schema_extra={"unit": "1"})
    ] = 5.0
    stop_loss: Annotated[
        float,
        Field(
            gt=0,
            le=1,
            description="part of the opening capital that it may lose: then it takes and pays nothing more (our choice)",
            json_schema_extra={"unit": "1"},
        ),
    ] = 0.5
    unwind_rate: Annotated[
        float, Field(ge=0, description="share of inventory sold in auctions (our choice)", json_schema_extra={"unit": "per hour"})
    ] = 0.25


def may_lose(p: VaultParameters, equity: float) -> float:
    """USD that a vault with this equity may still lose."""
    return max(equity - (1.0 - p.stop_loss) * p.capital, 0.0)


def may_take(p: VaultParameters, equity: float, gross: float) -> float:
    """USD of positions that a vault with this equity and these positions will still take."""
    return max(p.appetite * equity - gross, 0.0) if may_lose(p, equity) > 0.0 else 0.0


@layers.member
class VaultLayer(Layer):
    """The backstop vault, up to what it may lose: depositors pay before the fund, or in its stead."""

    name = "vault"
    reaches: ClassVar[Literal["house", "accounts", "contracts", "later"]] = "house"

    class Parameters(RuleParameters):
        type: Literal["vault"] = "vault"

    def rule(self, view: LayerView, state: Any, rng: Any) -> tuple[Charge, Any]:
        return Charge(vault=min(view.loss, view.vault)), state
