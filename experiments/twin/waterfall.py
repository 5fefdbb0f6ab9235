"""Who bears a deficit, layer by layer, down to the write-down of claims on the exchange."""

from typing import TYPE_CHECKING, Any

from experiments.twin import deferral, deleveraging, members
from experiments.twin.accounts import CENT, TIE, Account

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange

type Caused = dict[Account, float]


def deleveraging_layer(exchange: "Exchange") -> Any:
    """The scenario's deleveraging layer; None if the exchange does not deleverage."""
    return next((layer for layer in exchange.rules.waterfall if layer.type == "deleveraging"), None)


def house_capacity(exchange: "Exchange") -> float:
    """USD that the layers before deleveraging would pay; nothing while winners come before the fund."""
    total, left = 0.0, {"fund": max(exchange.fund.cash, 0.0), "capital": max(exchange.treasury, 0.0)}
    if fund_spared(exchange):
        return total
    for layer in exchange.rules.waterfall:
        if layer.type == "deleveraging":
            break
        if layer.type == "members_fund":
            total += sum(member.held for member in exchange.members)
        elif layer.type != "defaulter_contribution":  # that is known only once somebody has defaulted
            held = left["fund" if layer.type == "fund" else "capital"]
            total += layer.share * held  # type: ignore[attr-defined]
            left["fund" if layer.type == "fund" else "capital"] -= layer.share * held  # type: ignore[attr-defined]
    return total


def fund_spared(exchange: "Exchange") -> bool:
    """Whether the fund has lost so much of its highest opening balance within the window that winners come before it."""
    layer = deleveraging_layer(exchange)
    if layer is None or layer.drawdown >= 1.0:
        return False
    peak = max(balance for opened, balance in exchange.openings if exchange.opened - opened <= layer.window + 1e-9)
    return bool(peak > 0.0 and exchange.fund.cash <= (1.0 - layer.drawdown) * peak * (1.0 + TIE))


def cover(exchange: "Exchange", deficits: list[tuple[Account, float]], by_takeover: float, kind: str) -> None:
    """Brings accounts with a deficit, rounding apart, to zero; the sum goes down the waterfall. Who has no contracts left is bankrupt.

    Args:
        exchange: whose accounts they are.
        deficits: accounts and USD.
        by_takeover: USD of it that the fund's takeovers at mark caused.
        kind: of draw on the fund, for the rest.
    """
    deficits = [(account, usd) for account, usd in deficits if usd > CENT]
    total = sum(usd for _, usd in deficits)
    if total <= 0.0:
        return
    for account, usd in deficits:
        account.cash += usd
        if account.flat:
            account.status = "bankrupt"
    exchange.deficits += total
    absorb(exchange, total, min(by_takeover / total, 1.0), kind, caused=dict(deficits))


def absorb(
    exchange: "Exchange", loss: float, by_takeover: float, kind: str, *, skip: tuple[str, ...] = (), caused: Caused | None = None
) -> None:
    """Sends a loss, USD, down the layers; `by_takeover` is the part of it that takeovers caused, `caused` what each defaulter did.

    Deleveraging has had its turn before.
    """
    whole = loss
    for layer in exchange.rules.waterfall:
        if loss <= TIE * whole:
            break
        if layer.type == "deleveraging" or layer.type in skip:
            continue
        if layer.type in deferral.LATER:
            loss -= deferral.defer(exchange, loss)
            continue
        if layer.type in members.LAYERS:
            paid = charge_members(exchange, layer, loss, caused or {})
        else:
            paid = charge(exchange, layer, loss, by_takeover, kind)
        loss -= paid
        exchange.absorbed[layer.type] = exchange.absorbed.get(layer.type, 0.0) + paid
        if layer.type == "tear_up" and not exchange.insolvent:
            end_contracts(exchange)
    if loss > TIE * whole:
        pay_with_everything(exchange, loss, kind)
    if exchange.write_down > 0.0 and not exchange.insolvent:
        fail(exchange)


def pay_with_everything(exchange: "Exchange", loss: float, kind: str) -> None:
    """What claims cannot bear is borne by what the exchange still has, whatever its waterfall keeps back: capital, then fund."""
    own = min(loss, max(exchange.treasury, 0.0))
    drawn = min(loss - own, max(exchange.fund.cash, 0.0))
    exchange.treasury -= own
    exchange.fund.receive(kind, -drawn)
    for layer, paid in (("exchange_capital", own), ("fund", drawn)):
        exchange.absorbed[layer] = exchange.absorbed.get(layer, 0.0) + paid


def settle_flat(exchange: "Exchange") -> None:
    """Accounts that have closed their last contract at a loss beyond their equity: the waterfall pays."""
    below = [(account, -account.cash) for account in exchange.watched if account.cash < 0.0 and account.flat]
    cover(exchange, below, 0.0, "draw_execution")


def charge_members(exchange: "Exchange", layer: Any, loss: float, caused: Caused) -> float:
    """What clearing members pay, USD: out of their contributions, or when called, out of their accounts."""
    charges = members.charge(exchange, layer, loss, caused)
    for member, usd in charges:
        if layer.type != "assessment":
            member.held -= usd
        elif usd > 0.0:
            take(exchange, member.account, usd)
    return sum(usd for _, usd in charges)


def charge(exchange: "Exchange", layer: Any, loss: float, by_takeover: float, kind: str) -> float:
    """What one layer pays, USD."""
    if layer.type == "fund":
        paid: float = min(loss, layer.share * max(exchange.fund.cash, 0.0))
        exchange.fund.receive("draw_takeover", -paid * by_takeover)
        exchange.fund.receive(kind, -paid * (1.0 - by_takeover))
        return paid
    if layer.type in ("exchange_capital", "second_skin"):
        paid = min(loss, layer.share * max(exchange.treasury, 0.0))
        exchange.treasury -= paid
        return paid
    holders = [account for account in exchange.everyone() if account.cash > 0.0]
    open_positions = sum(account.notional for account in exchange.everyone())
    asked = _charges(layer, holders, open_positions, loss)
    charges = [min(usd, account.cash) for account, usd in zip(holders, asked, strict=True)]
    for account, usd in zip(holders, charges, strict=True):
        if usd > 0.0:
            take(exchange, account, usd)
    if layer.type == "write_down":
        exchange.write_down += sum(charges)
    return sum(charges)


def _charges(layer: Any, holders: list[Account], open_positions: float, loss: float) -> list[float]:
    """USD by holder: in proportion to gains since entry, to balances, or to open positions (USD of all), each up to the layer's cap."""
    by = {"write_down": "equity", "tear_up": "gains"}.get(layer.type) or layer.by
    cap = 1.0 if layer.type in ("write_down", "tear_up") else layer.cap
    if by == "funding_index":
        return [min(loss * one.notional / open_positions, cap * one.cash) if open_positions > 0.0 else 0.0 for one in holders]
    if by == "open_interest":
        return deleveraging.fill_pro_rata([one.notional for one in holders], [cap * one.cash for one in holders], loss)
    base = [min(one.gains(), one.cash) if by == "gains" else one.cash for one in holders]
    haircut = min(cap, loss / sum(base)) if sum(base) > 0.0 else 0.0
    return [haircut * usd for usd in base]


def take(exchange: "Exchange", account: Account, usd: float) -> None:
    """Takes from an account. Gains that are given are gains no longer: entry prices of winning positions move towards the mark."""
    gains = account.gains()
    given = min(usd / gains, 1.0) if gains > 0.0 else 0.0
    for market, mark in enumerate(account.marks):
        if account.profit(market) > 0.0:
            account.entry[market] += given * (mark - account.entry[market])
    note_haircut(exchange, account, usd / account.cash)
    account.cash -= usd


def note_haircut(exchange: "Exchange", account: Account, share: float) -> None:
    """Notes that an account has lost a share of its equity to deleveraging or socialised loss."""
    kept = 1.0 - exchange.haircuts.get(account, 0.0)
    exchange.haircuts[account] = 1.0 - kept * (1.0 - min(share, 1.0))


def fail(exchange: "Exchange") -> None:
    """The exchange is insolvent: contracts are torn up at mark, deficits still open are written down too, trading ends."""
    exchange.insolvent = True
    end_contracts(exchange)
    deferral.write_down(exchange)


def end_contracts(exchange: "Exchange") -> None:
    """All contracts end at mark; what accounts, the fund included, are then short of goes down the waterfall."""
    everyone: list[Account] = [exchange.fund, *exchange.everyone()]
    deficit = max(-exchange.treasury, 0.0)
    exchange.treasury += deficit
    for account in everyone:
        account.tear_up()
        if account.cash >= -CENT:
            continue
        deficit -= account.cash
        if account is exchange.fund:
            exchange.fund.receive("deficit", -account.cash)
        else:
            account.cash, account.status = 0.0, "bankrupt"
    if deficit > 0.0:
        exchange.deficits += deficit
        absorb(exchange, deficit, 0.0, "draw_close_out")


def recover_fund(exchange: "Exchange") -> None:
    """A fund that its own contracts have brought below zero: they are closed at mark, and the layers after it pay."""
    fund = exchange.fund
    if -fund.cash <= TIE * (abs(fund.cash) + fund.notional + 1.0):
        return
    if deleveraging_layer(exchange) is not None:
        deleveraging.close_at_mark(exchange, [fund])
    short = -fund.cash
    exchange.deficits += short
    fund.receive("deficit", short)
    absorb(exchange, short, 0.0, "draw_close_out", skip=("fund",))
