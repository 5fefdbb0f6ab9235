"""Contracts that leave against the other side: by rule at bankruptcy price, index or mark, or pro rata at mark."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from experiments.twin import coins, waterfall
from experiments.twin.accounts import CENT, TIE, Account
from experiments.twin.market import FULL

if TYPE_CHECKING:
    from collections.abc import Callable

    from experiments.twin.exchange import Exchange
    from experiments.twin.liquidation import Case


@dataclass
class Winner:
    """Somebody on the other side of bankrupt contracts.

    Attributes:
        room: contracts that it can give and lose at most min(profit since entry, equity); profit: in this market; unrealised: in all.
    """

    account: Account
    room: float
    size: float
    profit: float
    unrealised: float
    equity: float
    maintenance: float
    entry: float


def deleverage(exchange: "Exchange", bankrupt: list["Case"], excluded: set[Account]) -> None:
    """Closes all contracts of bankrupt accounts: against winners those whose loss the house cannot pay (all, unless at bankruptcy price).

    The rest leaves at mark.
    """
    markets = range(len(exchange.markets))
    layer: Any = waterfall.deleveraging_layer(exchange)
    left = [[case.shares[market] * -case.account.cash for market in markets] for case in bankrupt]
    asked = asked_of_winners(exchange, bankrupt)
    if not exchange.channels.socialised_loss:
        if layer.price == "bankruptcy":
            spare(exchange, bankrupt, left, asked)
        asked = [0.0] * len(asked)
    accounts, gross = [case.account for case in bankrupt], {id(case): case.account.notional for case in bankrupt}
    owed = [list(mine) for mine in left]
    for market in markets:
        part = asked[exchange.pools.claimant[market]]
        if part <= TIE:
            continue
        fair = coins.worth(exchange, market, exchange.markets[market].index * exchange.markets[market].fair)
        gap = fair - exchange.marks[market] if layer.price == "index" else 0.0
        above = [gap * account.position[market] for account in accounts]
        if layer.price == "bankruptcy":
            above = [mine[market] for mine in owed]
        for sign in (1.0, -1.0):
            borne = against_winners(exchange, market, sign, accounts, above, part, excluded)
            for mine, usd in zip(left, borne, strict=True):
                mine[market] = max(mine[market] - usd, 0.0)
    close_out(exchange, [(case.account, mine) for case, mine in zip(bankrupt, left, strict=True)])
    for case in bankrupt:
        solvent = layer.price == "index" and case.account.cash > TIE * gross[id(case)] + CENT
        if case.account.flat and not solvent:
            case.account.status = "bankrupt"  # also where winners have borne all of its deficit


def asked_of_winners(exchange: "Exchange", bankrupt: list["Case"]) -> list[float]:
    """By claimant, the part of bankrupt contracts that winners are to close: all, at bankruptcy price what the house cannot pay for."""
    layer: Any = waterfall.deleveraging_layer(exchange)
    if layer.price != "bankruptcy":
        return [1.0] * len(exchange.pools.pool_of)
    losses = waterfall.by_claimant(exchange, [(-case.account.cash, case.shares) for case in bankrupt])
    paid = waterfall.house_pays(exchange, losses)
    covered = [min(usd / loss, 1.0) if loss > 0.0 else 1.0 for usd, loss in zip(paid, losses, strict=True)]
    return [layer.severity * (1.0 - part) for part in covered]


def spare(exchange: "Exchange", bankrupt: list["Case"], left: list[list[float]], asked: list[float]) -> None:
    """The outside pays what winners would be asked for, `asked` by claimant of what is `left` by account and market, USD."""
    for case, mine in zip(bankrupt, left, strict=True):
        for market, usd in enumerate(mine):
            paid = asked[exchange.pools.claimant[market]] * usd
            mine[market] -= paid
            case.account.cash += paid
            exchange.deficits += paid
            waterfall.rescue(exchange, "socialised_loss", paid)


def against_winners(
    exchange: "Exchange", market: int, sign: float, bankrupt: list[Account], owed: list[float], part: float, excluded: set[Account]
) -> list[float]:
    """Part of the bankrupt longs (`sign` 1) or shorts (-1) of a market against winners; `owed`: USD above mark for each one's position.

    A bankrupt account trades at the price that brings it that, winners all at the average of those prices. Returns what winners have
    borne of each account's loss, USD.
    """
    mine = [(account, usd) for account, usd in zip(bankrupt, owed, strict=True) if account.position[market] * sign > 0.0]
    wanted = sum(abs(account.position[market]) for account, _ in mine) * part
    if wanted <= 0.0:
        return [0.0] * len(bankrupt)
    layer: Any = waterfall.deleveraging_layer(exchange)
    given = sum(usd for _, usd in mine) * part
    haircut, mark = given / wanted, exchange.marks[market]
    winners = find_winners(exchange, market, sign, haircut, excluded)
    upwards = (sign < 0.0) == (exchange.settled[market] is None)  # whether they gain as the worth of a contract rises, taken unsigned
    contracts = choose(exchange, winners, wanted, (abs(mark), exchange.sizes[market]), long=upwards)
    contracts = [min(contract, winner.room) for contract, winner in zip(contracts, winners, strict=True)]
    placed = sum(contracts)
    if placed <= 0.0:
        return [0.0] * len(bankrupt)
    filled = 1.0 if placed >= FULL * wanted else placed / wanted
    theirs, borne = {id(account) for account, _ in mine}, [0.0] * len(bankrupt)
    if layer.price == "bankruptcy":
        borne = [usd * part * filled if id(account) in theirs else 0.0 for account, usd in zip(bankrupt, owed, strict=True)]
    for account, usd in mine:
        quantity = abs(account.position[market]) * part
        account.trade(market, -sign * quantity * filled, mark + sign * usd * part / quantity)
    for winner, contract in zip(winners, contracts, strict=True):
        if contract > 0.0:
            quantity = contract * wanted * filled / placed
            winner.account.trade(market, sign * quantity, mark + sign * haircut)
            lost = quantity * max(haircut, 0.0)
            waterfall.note_haircut(exchange, winner.account, lost / max(winner.equity, 1e-300))
            exchange.given[winner.account] = exchange.given.get(winner.account, 0.0) + lost
    if layer.price == "bankruptcy":
        exchange.deficits += given * filled
        exchange.absorbed["deleveraging"] = exchange.absorbed.get("deleveraging", 0.0) + given * filled
    return borne


def find_winners(exchange: "Exchange", market: int, sign: float, haircut: float, excluded: set[Account]) -> list[Winner]:
    """Those on the other side who are not being liquidated themselves."""
    winners = []
    layer: Any = waterfall.deleveraging_layer(exchange)
    for account in exchange.everyone():
        if account.position[market] * sign >= 0.0 or account in excluded:
            continue
        size, profit = abs(account.position[market]), account.profit(market)
        most = min(profit, account.cash) if layer.price == "bankruptcy" else account.cash
        room = min(size, max(most, 0.0) / haircut) if haircut > 0.0 else size
        unrealised = sum(account.profit(at) for at in range(len(account.position)))
        maintenance = sum(account.maintenance(exchange.margin))
        winners.append(Winner(account, room, size, profit, unrealised, account.cash, maintenance, abs(account.cost(market))))
    return winners


def choose(exchange: "Exchange", winners: list[Winner], wanted: float, contract: tuple[float, float], *, long: bool) -> list[float]:
    """Contracts each winner gives, by the exchange's rule; `contract`: USD that one is worth, unsigned, and of notional that it is."""
    layer: Any = waterfall.deleveraging_layer(exchange)
    rule, rooms = layer.rule, [winner.room for winner in winners]
    match rule.type:
        case "queue":
            return fill_by_score([score(rule.score, winner, contract, long=long) for winner in winners], rooms, wanted)
        case "pro_rata":
            weigh: dict[str, Callable[[Winner], float]] = {
                "contracts": lambda w: w.size,
                "equity": lambda w: w.equity,
                "profit": lambda w: w.profit,
            }
            return fill_pro_rata([max(weigh[rule.by](winner), 0.0) for winner in winners], rooms, wanted)
        case "risk_aware":
            return fill_pro_rata([max(winner.profit, 0.0) * riskiness(rule, winner, contract[1]) for winner in winners], rooms, wanted)
        case "random":
            return fill_in_turn(int(exchange.luck() * len(winners)), rooms, wanted)
        case "largest":
            sizes = sorted((winner.size for winner in winners if winner.room > 0.0), reverse=True)
            least = sizes[min(rule.count, len(sizes)) - 1] if sizes else 0.0
            return fill_pro_rata([w.size if w.size >= least * (1.0 - 1e-10) else 0.0 for w in winners], rooms, wanted)
        case unknown:
            raise NotImplementedError(f"the twin has no deleveraging rule {unknown!r}")


def riskiness(rule: Any, winner: Winner, unit: float) -> float:
    """Chitra's lambda g(lambda), lambda being notional over equity; a contract is of `unit` USD of notional."""
    leverage = winner.size * unit / max(winner.equity, 1e-9)
    g: float = {"linear": leverage, "power": leverage**rule.exponent, "threshold": max(leverage - rule.threshold, 0.0)}[rule.g]
    return leverage * g


def fill_in_turn(first: int, rooms: list[float], quantity: float) -> list[float]:
    """Everybody gives all it can, from number `first` on and round again from the beginning, until there is enough."""
    filled = [0.0] * len(rooms)
    for at in [*range(first, len(rooms)), *range(first)]:
        filled[at] = min(rooms[at], quantity)
        quantity -= filled[at]
    return filled


def score(formula: str, w: Winner, contract: tuple[float, float], *, long: bool) -> float:
    """A venue's ranking: with leverage = notional / equity and return = gain since entry / entry value; `contract` as for `choose`."""
    (mark, unit), equity = contract, max(w.equity, 1e-9)
    leverage = w.size * unit / equity
    match formula:
        case "bitmex":
            gain = w.profit / (w.size * w.entry) if w.entry > 0.0 else 0.0
            return gain * leverage if gain > 0.0 else gain / max(leverage, 1e-12)
        case "binance":
            return max(w.profit, 0.0) / max(w.equity - w.unrealised, 1.0) * (w.maintenance / equity if w.equity > 0.0 else 0.0)
        case "hyperliquid":
            if w.entry <= 0.0:
                return leverage
            return (mark / w.entry if long else w.entry / max(mark, 1e-300)) * leverage
        case _:
            return w.profit * leverage


def fill_by_score(scores: list[float], rooms: list[float], quantity: float) -> list[float]:
    """The highest score gives first; equal scores (to ten digits) share in proportion to their room."""
    groups: dict[tuple[float, int], list[int]] = {}
    for at, value in enumerate(scores):
        mantissa, exponent = math.frexp(value)
        groups.setdefault((round(mantissa, 10), exponent), []).append(at)
    filled, left = [0.0] * len(rooms), quantity
    for mantissa, exponent in sorted(groups, key=lambda key: math.ldexp(*key), reverse=True):
        members = groups[mantissa, exponent]
        room = sum(rooms[at] for at in members)
        share = min(max(left / room, 0.0), 1.0) if room > 0.0 else 0.0
        for at in members:
            filled[at] = share * rooms[at]
        left -= room
    return filled


def fill_pro_rata(weights: list[float], rooms: list[float], quantity: float) -> list[float]:
    """In proportion to weight; who reaches its room gives all of it, and the others share what is left, again in proportion."""
    filled, left = [0.0] * len(rooms), quantity
    sharing = [at for at, weight in enumerate(weights) if weight > 0.0 and rooms[at] > 0.0]
    while sharing and left > 0.0:
        total = sum(weights[at] for at in sharing)
        full = [at for at in sharing if rooms[at] < left * weights[at] / total]
        if not full:
            for at in sharing:
                filled[at] = left * weights[at] / total
            break
        for at in full:
            filled[at] = rooms[at]
        left -= sum(rooms[at] for at in full)
        sharing = [at for at in sharing if at not in full]
    return filled


def close_at_mark(exchange: "Exchange", accounts: list[Account]) -> None:
    """Ends contracts of `accounts` at mark against everybody on the other side, the fund included, in proportion to size.

    The outside takes them all if losses are not socialised.
    """
    exchange.everyone()
    for market, mark in enumerate(exchange.marks):
        for sign in (1.0, -1.0):
            mine = [account for account in accounts if account.position[market] * sign > 0.0]
            wanted = sum(abs(account.position[market]) for account in mine)
            if wanted <= 0.0:
                continue
            others = [account for account in exchange.holders() if account.position[market] * sign < 0.0]
            sizes = [abs(account.position[market]) for account in others]
            if not exchange.channels.socialised_loss:
                others, sizes = [exchange.outside], [wanted]
            contracts = fill_pro_rata(sizes, sizes, wanted)
            filled = sum(contracts) / wanted
            filled = 1.0 if filled >= FULL else filled
            for account in mine:
                account.trade(market, -account.position[market] * filled, mark)
            for account, quantity in zip(others, contracts, strict=True):
                account.trade(market, sign * quantity, mark)


def close_out(exchange: "Exchange", bankrupt: list[tuple[Account, list[float]]]) -> None:
    """Closes bankrupt accounts at mark; what they are then short of, from markets with these weights, goes down the waterfall."""
    close_at_mark(exchange, [account for account, _ in bankrupt])
    short = [waterfall.Deficit(account, -account.cash, weights) for account, weights in bankrupt if account.cash < 0.0]
    waterfall.cover(exchange, short, "draw_close_out")


def margin_weights(exchange: "Exchange", account: Account) -> list[float]:
    """Its maintenance margin by market; where there is none, its open positions."""
    maintenance = account.maintenance(exchange.margin)
    return maintenance if any(maintenance) else [abs(held) * size for held, size in zip(account.position, exchange.sizes, strict=True)]
