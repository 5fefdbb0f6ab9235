"""Channels of contagion: ways in which one participant's failure reaches others, each of which a scenario can close.

A channel that is closed is closed by the outside world, in the ledger: it takes the other side or pays the bill, and what that costs is an
output. Nothing is drawn or left undrawn because a channel is closed, so that runs with and without it differ by the channel alone.
"""

from typing import TYPE_CHECKING, Annotated, Final

from pydantic import Field

from agents.families import Parameters

if TYPE_CHECKING:
    from agents.clearinghouse.waterfall import Layer


class Channels(Parameters):
    """Which channels of contagion are open; all of them, unless a study asks what each has done."""

    price_impact: Annotated[
        bool,
        Field(
            description="liquidations sell into the market: at a discount, moving its price, and loading those who take them; "
            "false: the outside takes liquidated contracts at the mark, and forced sales of coins leave the index where it is"
        ),
    ] = True
    margin_spiral: Annotated[
        bool,
        Field(
            description="margin requirements answer to volatility, past returns, open interest and the fund's adequacy; "
            "false: they stay what these made them at the opening, and who bears the losses beyond them is the waterfall's to say"
        ),
    ] = True
    credit_loss: Annotated[
        bool,
        Field(description="creditors of a defaulting institution get what it can pay; false: the outside pays them what it lacks"),
    ] = True
    funding_withdrawal: Annotated[
        bool,
        Field(description="lenders call loans beyond their limit and withdraw their lines; false: they do neither, and carry the risk"),
    ] = True
    socialised_loss: Annotated[
        bool,
        Field(
            description="clearing members and account holders bear what the exchange's layers do not: deleveraging, haircuts, assessments; "
            "false: the outside pays what would be asked of them, and takes contracts that would be closed against them, at the mark"
        ),
    ] = True
    exchange_failure: Annotated[
        bool,
        Field(
            description="claims on an exchange that cannot pay are written down, it closes, and holders who fear it run; "
            "false: the outside pays what it lacks, so that nobody need run"
        ),
    ] = True

    lost_hedges: Annotated[
        bool,
        Field(
            description="hedgers whose contracts are deleveraged sell their naked spot into the market, where the scenario lets them "
            "(`traders.lost_hedges`); false: the outside buys it and the index stays where it is"
        ),
    ] = True

    def closed(self) -> tuple[str, ...]:
        """Names of the channels that are closed."""
        return tuple(name for name in CHANNELS if not getattr(self, name))

    def spares(self, layer: "Layer") -> str | None:
        """The closed channel because of which the outside pays what a layer would take; None if the layer takes it."""
        if layer.name == "write_down":
            return None if self.exchange_failure else "exchange_failure"
        falls_on_others = layer.reaches in ("accounts", "later") or layer.name == "members_fund"
        return "socialised_loss" if falls_on_others and not self.socialised_loss else None


CHANNELS: Final = tuple(Channels.model_fields)
"""All channels, in order."""
PAID_FOR: Final = ("credit_loss", "socialised_loss", "exchange_failure")
"""Those among them in place of which the outside pays cash; of `price_impact` it takes contracts."""
OPEN: Final = Channels()
"""Every channel open."""
