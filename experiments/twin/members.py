"""Clearing members: their default fund, and the layers that rest on it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from experiments.twin import coins, deleveraging
from experiments.twin.accounts import Account
from experiments.twin.market import clamp

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange

LAYERS: Final = ("defaulter_contribution", "members_fund", "assessment")


@dataclass
class Member:
    """A clearing member; USD that it has in the default fund, that it should have, and that it has been called for beyond."""

    account: Account
    held: float
    required: float
    called: float = 0.0


def charge(exchange: "Exchange", layer: Any, loss: float, caused: dict[Account, float]) -> list[tuple[Member, float]]:
    """What each member pays to a layer, USD; `caused` says who left which part of the loss."""
    mine = [(member, caused.get(member.account, 0.0)) for member in exchange.members]
    if layer.type == "defaulter_contribution":
        able = [min(usd, member.held) for member, usd in mine]
    elif layer.type == "members_fund":
        able = [0.0 if usd > 0.0 else member.held for member, usd in mine]
    else:
        return call(exchange, layer, loss, mine)
    part = min(loss / sum(able), 1.0) if sum(able) > 0.0 else 0.0
    return [(member, part * usd) for (member, _), usd in zip(mine, able, strict=True)]


def call(exchange: "Exchange", layer: Any, loss: float, mine: list[tuple[Member, float]]) -> list[tuple[Member, float]]:
    """Cash calls on those who have not defaulted, in proportion to what they should have paid in, up to a multiple of it."""
    if exchange.calling_since is None or exchange.clock - exchange.calling_since >= layer.cooling_off:
        exchange.calling_since = exchange.clock
        for member in exchange.members:
            member.called = 0.0
    weights = [0.0 if usd > 0.0 else member.required for member, usd in mine]
    rooms = [min(max(layer.cap * member.required - member.called, 0.0), max(member.account.cash, 0.0)) for member, _ in mine]
    paid = deleveraging.fill_pro_rata(weights, rooms, loss)
    for (member, _), usd in zip(mine, paid, strict=True):
        member.called += usd
    return [(member, usd) for (member, _), usd in zip(mine, paid, strict=True)]


def restore(exchange: "Exchange", hours: float) -> None:
    """Members pay in what free margin and time allow of what is missing; who has left gets back what custody pays for."""
    leaving = sum(member.held for member in exchange.members if member.account.status == "gone")
    returned = clamp(coins.custody(exchange) / leaving, 0.0, 1.0) if leaving > 0.0 else 0.0
    for member in exchange.members:
        account = member.account
        if account.status == "gone":
            member.held, member.required = (1.0 - returned) * member.held, 0.0
        free = max(account.cash - account.initial(exchange.margin), 0.0) if account.status == "active" else 0.0
        paid = min(max(member.required - member.held, 0.0), member.required * hours / exchange.rules.members.restore_hours, free)  # type: ignore[union-attr]
        account.cash -= paid
        member.held += paid
