"""What the exchange charges for trading and for liquidating."""

from typing import Annotated

from pydantic import Field, model_validator

from agents.families import Parameters


class FeeParameters(Parameters):
    """Fees as shares of notional."""

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
    liquidation: Annotated[
        float,
        Field(
            ge=0,
            le=0.1,
            description="charged on liquidated notional, at most what the slice has left",
            json_schema_extra={"unit": "1", "source": "Binance, up to 0.5 % (2019)"},
        ),
    ] = 5e-3

    @model_validator(mode="after")
    def _covered(self) -> "FeeParameters":
        if self.maker + self.taker < 0:
            raise ValueError("maker rebate above the taker fee: expected maker + taker of at least 0")
        return self
