"""What the exchange charges for trading and for liquidating."""

from typing import Annotated

from pydantic import Field, model_validator

from agents.clearinghouse.liquidation_fees import FlatFee, liquidation_fees
from agents.families import Parameters, RuleParameters, misfit


class FeeParameters(Parameters):
    """Fees: shares of notional, and a rule for liquidation."""

    taker: Annotated[
        float, Field(ge=0, le=0.05, description="charged on orders", json_schema_extra={"unit": "1", "source": "Hyperliquid, tier 0"})
    ] = 4.5e-4
    maker: Annotated[
        float,
        Field(
            ge=-0.01,
            le=0.05,
            description="charged to market makers; negative is a rebate",
            json_schema_extra={"unit": "1", "source": "Hyperliquid, tier 0"},
        ),
    ] = 1.5e-4
    delivery: Annotated[
        float,
        Field(
            ge=0,
            le=0.05,
            description="charged on what is held of a dated contract when it expires, on notional at the averaged index",
            json_schema_extra={"unit": "1", "source": "Deribit: 0.025 % on futures (its early contract specification); none by default"},
        ),
    ] = 0.0
    liquidation: Annotated[RuleParameters, liquidation_fees] = Field(
        default=FlatFee.Parameters(), description="charged on liquidated positions, at most what they leave; a number is a flat rate"
    )

    @model_validator(mode="after")
    def _covered(self) -> "FeeParameters":
        if self.maker + self.taker < 0:
            raise misfit(("maker",), f"a rebate of {-self.maker:g} above the taker fee", "maker + taker of at least 0")
        return self
