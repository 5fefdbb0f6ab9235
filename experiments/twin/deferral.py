"""Losses that account holders bear later: when they withdraw, or at the end of the week."""

from typing import TYPE_CHECKING, Final

from experiments.twin import coins, waterfall
from experiments.twin.accounts import CENT, TIE

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange

LATER: Final = ("withdrawal_factor", "clawback")


def bearable(exchange: "Exchange", loss: float) -> float:
    """What of a loss may become outstanding: as much as claims can bear; nothing once they have been written down."""
    if exchange.insolvent:
        return 0.0
    claims = sum(max(account.cash, 0.0) for account in exchange.everyone())
    return min(loss, max(claims - exchange.outstanding, 0.0))


def settle(exchange: "Exchange", hours: float) -> None:
    """Close of a step: the fund pays what it can, at the end of the week if it is a week's clawback; then winners of the week pay."""
    layer = exchange.rules.waterfall[-2] if len(exchange.rules.waterfall) > 1 else None
    if layer is None or layer.type not in LATER:
        return
    if layer.type == "clawback":
        exchange.since_settlement += hours
        if exchange.since_settlement < layer.period * (1.0 - 1e-9):  # type: ignore[attr-defined]
            return
        exchange.since_settlement = 0.0
    (fund,) = exchange.funds
    paid = min(exchange.outstanding, max(fund.payable, 0.0))
    if paid > 0.0 and any(one.type == "fund" for one in exchange.rules.waterfall):
        coins.sell_tokens(fund, paid - max(fund.cash, 0.0))
        fund.receive("draw_close_out", -paid)
        bear(exchange, "fund", paid)
    if layer.type == "clawback":
        claw_back(exchange)
        for account in exchange.accounts.values():
            account.paid_in = account.cash


def bear(exchange: "Exchange", layer: str, usd: float) -> None:
    """Part of what is outstanding has been paid."""
    exchange.outstanding -= usd
    exchange.absorbed[layer] = exchange.absorbed.get(layer, 0.0) + usd


def claw_back(exchange: "Exchange") -> None:
    """Each winner pays the same part of its profit of the week, at most what it has; what is then left is written down."""
    owed = exchange.outstanding
    if owed <= CENT:
        return
    profits = {one: min(max(one.cash - one.paid_in, 0.0), max(one.cash, 0.0)) for one in exchange.accounts.values()}
    total = sum(profits.values())
    rate = min(exchange.outstanding / total, 1.0) if total > 0.0 else 0.0
    for account, profit in profits.items():
        if profit > 0.0:
            waterfall.note_haircut(exchange, account, rate * profit / account.cash)
            account.cash -= rate * profit
    if total > 0.0:
        bear(exchange, "clawback", rate * total)
    if exchange.outstanding > TIE * owed + CENT:
        write_down(exchange)


def write_down(exchange: "Exchange") -> None:
    """Nobody else will bear what is outstanding."""
    left, exchange.outstanding = exchange.outstanding, 0.0
    others = tuple(layer.type for layer in exchange.rules.waterfall if layer.type != "write_down")
    losses = waterfall.by_claimant(exchange, [(left, exchange.interest)])
    waterfall.absorb(exchange, losses, [0.0] * len(losses), "draw_close_out", skip=others)
