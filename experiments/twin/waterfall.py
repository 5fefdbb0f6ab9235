"""Who bears a deficit, layer by layer, down to the write-down of claims on the exchange."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.twin import coins, deferral, deleveraging, members
from experiments.twin.accounts import CENT, TIE, Account, Fund

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange

type Caused = dict[Account, float]

ON_OTHERS = ("members_fund", "assessment", "socialised_loss", "tear_up")
"""Layers that take from account holders and clearing members, beside those that let them bear it later."""


def deleveraging_layer(exchange: "Exchange") -> Any:
    """The scenario's deleveraging layer; None if the exchange does not deleverage."""
    return next((layer for layer in exchange.rules.waterfall if layer.type == "deleveraging"), None)


def fund_spared(exchange: "Exchange") -> bool:
    """Whether the fund has lost so much of its highest opening balance within the window that winners come before it."""
    layer = deleveraging_layer(exchange)
    if layer is None or layer.drawdown >= 1.0:
        return False
    peak = max(balance for opened, balance in exchange.openings if exchange.opened - opened <= layer.window + 1e-9)
    return bool(peak > 0.0 and exchange.fund <= (1.0 - layer.drawdown) * peak * (1.0 + TIE))


@dataclass
class Deficit:
    """What an account is short of, USD; `weights` by market say where from; `by_fund`: part that the fund's takeovers at mark caused."""

    account: Account
    usd: float
    weights: list[float]
    by_fund: float = 0.0


def by_claimant(exchange: "Exchange", losses: list[tuple[float, list[float]]]) -> list[float]:
    """USD by claimant of losses, each with its weights by market."""
    total = [0.0] * len(exchange.pools.pool_of)
    for usd, weights in losses:
        for at, part in enumerate(exchange.pools.by_claimant(weights)):
            total[at] += part * usd
    return total


def house_pays(exchange: "Exchange", losses: list[float]) -> list[float]:
    """USD by claimant that the layers before deleveraging would pay of `losses`; nothing while winners come before the fund."""
    pools, paid = exchange.pools, [0.0] * len(losses)
    if fund_spared(exchange):
        return paid
    held = [max(fund.payable, 0.0) for fund in exchange.funds]
    treasury = max(exchange.treasury, 0.0)
    for layer in exchange.rules.waterfall:
        left = [loss - usd for loss, usd in zip(losses, paid, strict=True)]
        match layer.type:
            case "deleveraging":
                break
            case "fund":
                for pool in range(pools.own):
                    claims = may_claim(exchange, pool, left)
                    _share(paid, claims, min(sum(claims), layer.share * held[pool]))  # type: ignore[attr-defined]
            case "shared_fund":
                _share(paid, left, min(sum(left), layer.share * held[-1]))  # type: ignore[attr-defined]
            case "defaulter_contribution":
                continue  # that is known only once somebody has defaulted
            case "vault" | "members_fund" | "stakers":
                _share(paid, left, min(sum(left), standing_ready(exchange, layer)))
            case _:
                usd = min(sum(left), skin(exchange, layer, treasury)[1], treasury)
                treasury -= usd
                _share(paid, left, usd)
    return paid


def standing_ready(exchange: "Exchange", layer: Any) -> float:
    """USD that the vault, the members' fund or the stakers could pay."""
    if layer.type == "vault":
        return exchange.vault.may_lose(exchange.rules.vault) if exchange.vault is not None else 0.0  # type: ignore[arg-type]
    return stake(exchange, layer) if layer.type == "stakers" else sum(member.held for member in exchange.members)


def may_claim(exchange: "Exchange", pool: int, left: list[float]) -> list[float]:
    """USD by claimant of what is left of their losses that they may ask of a pool."""
    pools = exchange.pools
    return [min(usd, pools.left[at]) if pools.pool_of[at] == pool else 0.0 for at, usd in enumerate(left)]


def _share(paid: list[float], claims: list[float], usd: float) -> None:
    """Adds `usd` to what is paid, in proportion to claims."""
    total = sum(claims)
    for at, claim in enumerate(claims):
        paid[at] += usd * claim / total if total > 0.0 else 0.0


def cover(exchange: "Exchange", deficits: list[Deficit], kind: str) -> None:
    """Brings accounts with a deficit, rounding apart, to zero; the sum goes down the waterfall. Who has no contracts left is bankrupt.

    Args:
        exchange: whose accounts they are.
        deficits: what they are short of.
        kind: of draw on the fund, for what takeovers did not cause.
    """
    into = [deficit.account for deficit in deficits if deficit.usd > CENT]
    coins.into_dollars(exchange, into)
    held = {deficit.account: deficit.account.cash for deficit in deficits}
    coins.convert(exchange, [(deficit.account, deficit.usd) for deficit in deficits])
    for deficit in deficits:
        deficit.usd -= deficit.account.cash - held[deficit.account]
    deficits = [deficit for deficit in deficits if deficit.usd > CENT]
    if not deficits:
        return
    for deficit in deficits:
        deficit.account.cash += deficit.usd
        if deficit.account.flat:
            deficit.account.status = "bankrupt"
        exchange.deficits += deficit.usd
    losses = by_claimant(exchange, [(deficit.usd, deficit.weights) for deficit in deficits])
    by_fund = by_claimant(exchange, [(deficit.usd * deficit.by_fund, deficit.weights) for deficit in deficits])
    parts = [min(usd / loss, 1.0) if loss > 0.0 else 0.0 for usd, loss in zip(by_fund, losses, strict=True)]
    absorb(exchange, losses, parts, kind, caused={deficit.account: deficit.usd for deficit in deficits})


def absorb(
    exchange: "Exchange",
    losses: list[float],
    by_takeover: list[float],
    kind: str,
    *,
    skip: tuple[str, ...] = (),
    caused: Caused | None = None,
) -> None:
    """Sends losses by claimant, USD, down the layers. Deleveraging has had its turn before.

    Args:
        exchange: whose waterfall it is.
        losses: by claimant.
        by_takeover: part of each that takeovers caused.
        kind: of draw on the fund, for the rest.
        skip: layers that are not asked.
        caused: USD by defaulter.
    """
    left, whole = list(losses), sum(losses)
    coins.revalue(exchange)
    for layer in exchange.rules.waterfall:
        if sum(left) <= TIE * whole:
            break
        if layer.type == "deleveraging" or layer.type in skip:
            continue
        paid = [0.0] * len(left)
        if layer.type in deferral.LATER or spared_by(exchange, layer) is not None:
            ask(exchange, layer, left, paid, caused or {}, spared=True)
            left = [loss - usd for loss, usd in zip(left, paid, strict=True)]
            continue
        if layer.type in ("fund", "shared_fund"):
            draw(exchange, layer, left, paid, by_takeover, kind)
        elif layer.type in members.LAYERS:
            _share(paid, left, charge_members(exchange, layer, sum(left), caused or {}))
        else:
            ask(exchange, layer, left, paid, caused or {}, spared=False)
        left = [loss - usd for loss, usd in zip(left, paid, strict=True)]
        name = "fund" if layer.type == "shared_fund" else layer.type
        exchange.absorbed[name] = exchange.absorbed.get(name, 0.0) + sum(paid)
        if layer.type == "tear_up" and not exchange.insolvent:
            end_contracts(exchange)
    if sum(left) > TIE * whole:
        pay_with_everything(exchange, sum(left), kind)
    if exchange.write_down > 0.0 and not exchange.insolvent:
        fail(exchange)


def spared_by(exchange: "Exchange", layer: Any) -> str | None:
    """The closed channel because of which the outside pays what a layer would take; None if the layer takes it."""
    if layer.type == "write_down":
        return None if exchange.channels.exchange_failure else "exchange_failure"
    if layer.type not in (*ON_OTHERS, *deferral.LATER):
        return None
    return None if exchange.channels.socialised_loss else "socialised_loss"


def as_asked(exchange: "Exchange", layer: Any, left: list[float]) -> list[tuple[list[float], list[int]]]:
    """Losses by claimant as a layer is asked for them, with the markets whose positions count: a funding index is of one claimant's."""
    markets = list(range(len(exchange.markets)))
    if getattr(layer, "by", None) != "funding_index":
        return [(left, markets)]
    homes = exchange.pools.claimant
    return [
        ([usd if at == one else 0.0 for at, usd in enumerate(left)], [market for market in markets if homes[market] == one])
        for one, loss in enumerate(left)
        if loss > 0.0
    ]


def ask(exchange: "Exchange", layer: Any, left: list[float], paid: list[float], caused: Caused, *, spared: bool) -> None:
    """Adds to `paid`, USD by claimant, what a layer pays, or if it is `spared` what it would."""
    for part, markets in as_asked(exchange, layer, left):
        loss = sum(part)
        _share(paid, part, defer_or_rescue(exchange, layer, loss, caused, markets) if spared else charge(exchange, layer, loss, markets))


def defer_or_rescue(exchange: "Exchange", layer: Any, loss: float, caused: Caused, markets: list[int]) -> float:
    """What of a loss, USD, account holders are to bear later, or the outside bears in place of those whom a layer would ask."""
    channel = spared_by(exchange, layer)
    if channel == "exchange_failure":
        usd = loss
    elif layer.type in deferral.LATER:
        usd = deferral.bearable(exchange, loss)
    elif layer.type in members.LAYERS:
        usd = sum(part for _, part in members.charge(exchange, layer, loss, caused))
    else:
        usd = sum(part for _, part in asked_of_holders(exchange, layer, loss, markets))
    if channel is None:
        exchange.outstanding += usd
    else:
        rescue(exchange, channel, usd)
    return usd


def rescue(exchange: "Exchange", channel: str, usd: float) -> None:
    """The outside pays of a loss."""
    exchange.outside.pay(channel, usd)
    exchange.absorbed["rescue"] = exchange.absorbed.get("rescue", 0.0) + usd


def pay_with_everything(exchange: "Exchange", loss: float, kind: str) -> None:
    """What claims cannot bear is borne by what is still there, whatever the waterfall keeps back: capital, fund, contributions."""
    held = [max(fund.payable, 0.0) for fund in exchange.funds]
    own = min(loss, max(exchange.treasury, 0.0))
    drawn = min(loss - own, sum(held))
    exchange.treasury -= own
    for fund, usd in zip(exchange.funds, held, strict=True):
        coins.draw(exchange, fund, kind, drawn * usd / sum(held) if usd > 0.0 else 0.0)
    contributions = sum(member.held for member in exchange.members)
    given = min(max(loss - own - drawn, 0.0), contributions)
    if not exchange.channels.socialised_loss:
        rescue(exchange, "socialised_loss", given)
        given = 0.0
    for member in exchange.members:
        member.held -= given * member.held / contributions if contributions > 0.0 else 0.0
    for layer, paid in (("exchange_capital", own), ("fund", drawn), ("members_fund", given)):
        exchange.absorbed[layer] = exchange.absorbed.get(layer, 0.0) + paid


def settle_flat(exchange: "Exchange") -> None:
    """Accounts that have closed their last contract at a loss beyond their equity: the waterfall pays."""
    below = [Deficit(account, -account.cash, exchange.interest) for account in exchange.watched if account.cash < 0.0 and account.flat]
    cover(exchange, below, "draw_execution")


def draw(exchange: "Exchange", layer: Any, left: list[float], paid: list[float], by_takeover: list[float], kind: str) -> None:
    """Each pool pays for its claimants, or the shared pool for all; adds what is paid to `paid`, USD by claimant."""
    pools = exchange.pools
    asked = range(pools.own) if layer.type == "fund" else [pools.count - 1]
    for pool in asked:
        fund = exchange.funds[pool]
        claims = may_claim(exchange, pool, left) if layer.type == "fund" else left
        usd = min(sum(claims), layer.share * max(fund.payable, 0.0))
        if usd <= 0.0:
            continue
        _share(paid, claims, usd)
        taken = sum(claim * part for claim, part in zip(claims, by_takeover, strict=True)) / sum(claims)
        coins.draw(exchange, fund, "draw_takeover", usd * taken)
        coins.draw(exchange, fund, kind, usd * (1.0 - taken))
        for at, claim in enumerate(claims if layer.type == "fund" else []):
            pools.left[at] -= usd * claim / sum(claims)


def skin(exchange: "Exchange", layer: Any, treasury: float) -> tuple[float, float]:
    """Since when the exchange's own capital counts as used, and USD that it may still pay: a part of it, or what earlier losses left."""
    since, left = exchange.skins.get(layer.type, (-math.inf, 0.0))
    if layer.restore_hours is None or exchange.clock - since >= layer.restore_hours:
        return exchange.clock, layer.share * treasury
    return since, left


def charge_members(exchange: "Exchange", layer: Any, loss: float, caused: Caused) -> float:
    """What clearing members pay, USD: out of their contributions, or when called, out of their accounts."""
    charges = members.charge(exchange, layer, loss, caused)
    for member, usd in charges:
        if layer.type != "assessment":
            member.held -= usd
        elif usd > 0.0:
            take(exchange, member.account, usd)
    return sum(usd for _, usd in charges)


def charge(exchange: "Exchange", layer: Any, loss: float, markets: list[int]) -> float:
    """What one layer other than the fund and the members' pays, USD; positions in `markets` count."""
    if layer.type == "stakers" and exchange.token is not None:
        slashed = min(loss, stake(exchange, layer))
        exchange.token.slash(slashed, layer.share)
        return slashed
    if layer.type == "vault" and exchange.vault is not None:
        borne = min(loss, exchange.vault.may_lose(exchange.rules.vault))  # type: ignore[arg-type]
        exchange.vault.cash -= borne
        return borne
    if layer.type in ("exchange_capital", "second_skin"):
        since, allowed = skin(exchange, layer, max(exchange.treasury, 0.0))
        paid = min(loss, allowed, max(exchange.treasury, 0.0))
        exchange.treasury -= paid
        exchange.skins[layer.type] = (since, allowed - paid)
        return paid
    charges = asked_of_holders(exchange, layer, loss, markets)
    for account, usd in charges:
        if usd > 0.0:
            take(exchange, account, usd)
    total = sum(usd for _, usd in charges)
    if layer.type == "write_down":
        exchange.write_down += total
    return total


def asked_of_holders(exchange: "Exchange", layer: Any, loss: float, markets: list[int]) -> list[tuple[Account, float]]:
    """What a layer asks of account holders, USD; positions in `markets` count."""
    holders = [account for account in exchange.everyone() if account.cash > 0.0]
    open_positions = sum(account.notional_in(markets) for account in exchange.everyone())
    asked = _charges(layer, holders, [account.notional_in(markets) for account in holders], open_positions, loss)
    return [(account, min(usd, account.cash)) for account, usd in zip(holders, asked, strict=True)]


def stake(exchange: "Exchange", layer: Any) -> float:
    """USD that selling the part of the staked tokens which one loss may use would bring."""
    return exchange.token.brings(layer.share * exchange.token.staked) if exchange.token is not None else 0.0


def _charges(layer: Any, holders: list[Account], notionals: list[float], open_positions: float, loss: float) -> list[float]:
    """USD by holder: in proportion to gains since entry, to balances, or to open positions (USD of all), each up to the layer's cap."""
    by = {"write_down": "equity", "tear_up": "gains"}.get(layer.type) or layer.by
    cap = 1.0 if layer.type in ("write_down", "tear_up") else layer.cap
    if by == "funding_index":
        payment = loss / open_positions if open_positions > 0.0 else 0.0
        return [min(payment * usd, cap * one.cash) for usd, one in zip(notionals, holders, strict=True)]
    if by == "open_interest":
        return deleveraging.fill_pro_rata(notionals, [cap * one.cash for one in holders], loss)
    base = [min(one.gains(), one.cash) if by == "gains" else one.cash for one in holders]
    haircut = min(cap, loss / sum(base)) if sum(base) > 0.0 else 0.0
    return [haircut * usd for usd in base]


def take(exchange: "Exchange", account: Account, usd: float) -> None:
    """Takes from an account. Gains that are given are gains no longer: entry prices of winning positions move towards the mark."""
    gains = account.gains()
    given = min(usd / gains, 1.0) if gains > 0.0 else 0.0
    for market in range(len(account.marks)):
        if account.profit(market) > 0.0:
            account.concede(market, given)
    note_haircut(exchange, account, usd / account.cash)
    account.cash -= usd


def note_haircut(exchange: "Exchange", account: Account, share: float) -> None:
    """Notes that an account has lost a share of its equity to deleveraging or socialised loss."""
    kept = 1.0 - exchange.haircuts.get(account, 0.0)
    exchange.haircuts[account] = 1.0 - kept * (1.0 - min(share, 1.0))


def fail(exchange: "Exchange") -> None:
    """The exchange is insolvent: contracts are torn up at mark, deficits still open are written down too, trading ends."""
    exchange.insolvent = True
    for fund in exchange.funds:
        coins.sell_for(exchange, fund, math.inf)
    end_contracts(exchange)
    deferral.write_down(exchange)


def end_contracts(exchange: "Exchange") -> None:
    """All contracts end at mark; what accounts, the fund included, are then short of goes down the waterfall."""
    everyone: list[Account] = [*exchange.funds, *exchange.everyone()]
    deficit = max(-exchange.treasury, 0.0)
    exchange.treasury += deficit
    for account in exchange.holders():
        account.tear_up()
        if exchange.insolvent:
            account.coins = [0.0] * len(account.coins)  # all claims are in dollars from now on
    coins.into_dollars(exchange, [account for account in everyone if isinstance(account, Fund) or account.cash < -CENT])
    coins.convert(exchange, [(account, -account.cash) for account in everyone if account.cash < -CENT and not isinstance(account, Fund)])
    for account in everyone:
        if isinstance(account, Fund):
            coins.sell_for(exchange, account, max(-account.cash, 0.0))
        if account.cash >= -CENT:
            continue
        deficit -= account.cash
        if isinstance(account, Fund):
            account.receive("deficit", -account.cash)
        else:
            account.cash, account.status = 0.0, "bankrupt"
    if deficit > 0.0:
        exchange.deficits += deficit
        losses = by_claimant(exchange, [(deficit, exchange.interest)])
        absorb(exchange, losses, [0.0] * len(losses), "draw_close_out")


def recover_fund(exchange: "Exchange") -> None:
    """A pool that its own contracts have brought below zero: they are closed at mark, and the layers after it pay."""
    for pool, fund in enumerate(exchange.funds):
        if -fund.worth <= TIE * (abs(fund.cash) + fund.notional + 1.0) or exchange.insolvent:
            continue
        if deleveraging_layer(exchange) is not None:
            deleveraging.close_at_mark(exchange, [fund])
        short = -fund.worth
        exchange.deficits += short
        fund.receive("deficit", short)
        mine = [home == pool or pool >= exchange.pools.own for home in exchange.pools.pool_of]  # a shared pool's loss is of all markets
        losses = [short / sum(mine) if home else 0.0 for home in mine]
        absorb(exchange, losses, [0.0] * len(losses), "draw_close_out", skip=("fund",))
