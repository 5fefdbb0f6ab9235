"""A round of liquidation: which slices, who takes them, and what they leave."""

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.twin import accrual, coins, deleveraging, fees, slices, waterfall
from experiments.twin.accounts import CENT, TIE, Account, Liquidator
from experiments.twin.market import FULL

if TYPE_CHECKING:
    from experiments.twin.exchange import Exchange


@dataclass
class Case:
    """A breached account in a round.

    Attributes:
        held: contracts by market at the round's start; equity: USD then.
        shares: each market's part of its maintenance margin.
        fraction: part of each position to close, by market; keeps: part of what a slice leaves that stays with the account.
        required: USD, its maintenance margin at the round's start, by market.
        bankrupt: whether equity is below zero, by more than rounding: exactly zero is not a default.
    """

    account: Account
    held: list[float]
    equity: float
    shares: list[float]
    fraction: list[float]
    keeps: float
    bankrupt: bool
    required: list[float]


@dataclass
class Side:
    """All slices of one market on one side, filled pro rata at one average price. `sign` is 1 when longs are sold.

    Attributes:
        wanted: contracts; whose: ids of the cases whose slices are on this side; ratio: part of them filled; price: USD, average.
        fills: who takes how many contracts at what price; taken: contracts among them that the fund takes over.
    """

    market: int
    sign: float
    wanted: float
    whose: set[int]
    ratio: float = 0.0
    price: float = 0.0
    fills: list[tuple[Account, float, float]] = field(default_factory=list)
    taken: float = 0.0

    @property
    def filled(self) -> float:
        """Contracts."""
        return sum(contracts for _, contracts, _ in self.fills)

    def closes(self, case: Case) -> float:
        """Contracts of an account that leave here, signed as held."""
        held = case.held[self.market]
        return held * case.fraction[self.market] * self.ratio if held * self.sign > 0.0 and id(case) in self.whose else 0.0


def call_margin(exchange: "Exchange", breached: list[Account]) -> bool:
    """Margin calls: who holds spot sells of it what restores maintenance twice over; the sales move the index. True if anybody did."""
    orders = []
    for account in breached:
        if account.status != "active" or not any(units > 0.0 for units in account.spot):
            continue
        value = sum(units * market.index for units, market in zip(account.spot, exchange.markets, strict=True))
        needed = max(2.0 * sum(account.maintenance(exchange.margin)) - account.cash, 0.0)
        share = min(needed / value, 1.0)
        orders += [(asset, account.number, -units * share) for asset, units in enumerate(account.spot)]
    coins.force(exchange, orders)
    return bool(orders)


def one_round(exchange: "Exchange", breached: list[Account]) -> bool:
    """Liquidates slices of all breached accounts at once; what the house cannot pay for is deleveraged, if the exchange does that.

    Returns whether there was anything to close: cool-downs and speed limits may leave nothing.
    """
    excluded = set(breached)
    exchange.requote(excluded)
    cases = [make_case(exchange, account) for account in breached]
    keep_speed(exchange, cases)
    if not any(held and part > 0.0 for case in cases for held, part in zip(case.held, case.fraction, strict=True)):
        return False
    before = [market.snapshot() for market in exchange.markets]
    sides = route(exchange, cases, excluded)
    deleverages = waterfall.deleveraging_layer(exchange) is not None
    if deleverages:
        short = short_claimants(exchange, cases, sides)
        if short:
            for market, snapshot in zip(exchange.markets, before, strict=True):
                market.restore(snapshot)
            exhausted(exchange, cases, short, excluded)
            return True
    commit(exchange, cases, sides, excluded)
    if deleverages:
        close_stranded(exchange, cases)
    return True


def close_stranded(exchange: "Exchange", cases: list[Case]) -> None:
    """Contracts of bankrupt accounts that nobody took leave at mark."""
    stranded = [case.account for case in cases if case.bankrupt]
    if not exchange.insolvent and any(not account.flat for account in stranded):
        deleveraging.close_out(exchange, [(account, deleveraging.margin_weights(exchange, account)) for account in stranded])


def short_claimants(exchange: "Exchange", cases: list[Case], sides: list[Side]) -> set[int]:
    """Claimants whose losses the house does not pay, or should not: the market's price is worth paying only while a pool alone bears it."""
    pools = exchange.pools
    losses = projected(exchange, cases, sides)
    at_mark = waterfall.by_claimant(exchange, [(max(-case.account.cash, 0.0), case.shares) for case in cases if case.bankrupt])
    paid = waterfall.house_pays(exchange, losses)
    short = {at for at, (loss, usd) in enumerate(zip(losses, paid, strict=True)) if loss > usd * (1.0 + TIE) + TIE}
    for pool in range(pools.own):
        mine = [at for at, home in enumerate(pools.pool_of) if home == pool]
        limit = max(exchange.funds[pool].payable, sum(at_mark[at] for at in mine))  # what closing at mark would cost
        if sum(losses[at] for at in mine) > limit * (1.0 + TIE) + TIE:
            short.update(mine)
    return short


def make_case(exchange: "Exchange", account: Account) -> Case:
    """Which part of its positions a breached account must close now, by the exchange's rule."""
    maintenance = account.maintenance(exchange.margin)
    required = sum(maintenance)
    fraction, keeps = slices.slices(exchange, account)
    if account.status == "closing":
        fraction = [1.0] * len(fraction)
    weights = maintenance if required > 0.0 else [1.0] * len(maintenance)
    shares = [weight / sum(weights) for weight in weights]
    bankrupt = account.cash < -TIE * account.notional - CENT
    return Case(account, list(account.position), account.cash, shares, fraction, keeps, bankrupt, maintenance)


def keep_speed(exchange: "Exchange", cases: list[Case]) -> None:
    """Cuts slices to what may still be liquidated of each market in this increment."""
    for at, left in enumerate(exchange.allowance):
        wanted = sum(abs(case.held[at]) * exchange.sizes[at] * case.fraction[at] for case in cases)
        part = left / wanted if wanted > left else 1.0
        exchange.allowance[at] = left - wanted if left - wanted > CENT else 0.0
        for case in cases:
            case.fraction[at] *= part


# -- who takes it -------------------------------------------------------------------------------------------------------------------


def route(exchange: "Exchange", cases: list[Case], excluded: set[Account]) -> list[Side]:
    """Asks book, liquidators and fund in the scenario's order to take the slices. The book moves, accounts do not yet."""
    rules = exchange.liquidator_rules
    capacity: dict[Account, float] = {one: one.capacity(rules, able=exchange.able(one, excluded)) for one in exchange.liquidators}
    limit = exchange.rules.route.takeover_limit
    rooms = [limit * max(fund.worth, 0.0) - fund.notional for fund in exchange.funds]
    vault, p = exchange.vault, exchange.rules.vault
    vault_room = [vault.room(p) if vault is not None and p is not None and exchange.able(vault, excluded) else 0.0]
    sides = []
    for at, size in enumerate(exchange.sizes):
        for sign in (1.0, -1.0):
            for stages, mine in who_asks_whom(exchange, cases):
                wanted = sum(max(case.held[at] * sign, 0.0) * case.fraction[at] for case in mine)
                if wanted <= 0.0 or size <= 0.0:
                    continue
                side = Side(at, sign, wanted, {id(case) for case in mine})
                ask(exchange, side, stages, capacity, vault_room, rooms)
                if side.filled > 0.0:
                    sides.append(side)
    return sides


def ask(
    exchange: "Exchange", side: Side, stages: tuple[str, ...], capacity: dict[Account, float], vault_room: list[float], rooms: list[float]
) -> None:
    """Asks stage after stage to take a side, until it is filled; what has room for it then has less.

    The outside takes it all if liquidations have no impact on prices.
    """
    if not exchange.channels.price_impact:
        side.fills.append((exchange.outside, side.wanted, exchange.marks[side.market]))
    for stage in stages:
        left = side.wanted - side.filled
        if left <= side.wanted * (1.0 - FULL):
            break
        match stage:
            case "book":
                to_book(exchange, side, left)
            case "liquidators":
                to_liquidators(exchange, side, left, capacity)
            case "vault":
                to_vault(exchange, side, left, vault_room)
            case _:
                to_fund(exchange, side, left, rooms)
    if side.filled > 0.0:
        side.ratio = 1.0 if side.filled >= FULL * side.wanted else side.filled / side.wanted
        side.price = sum(contracts * price for _, contracts, price in side.fills) / side.filled


def who_asks_whom(exchange: "Exchange", cases: list[Case]) -> list[tuple[tuple[str, ...], list[Case]]]:
    """The stages in order, and whose slices they are asked to take: those of which the account keeps nothing may go another way."""
    p = exchange.rules.route
    if p.backstop is None:
        return [(p.order, cases)]
    return [(p.order, [case for case in cases if case.keeps > 0.0]), (p.backstop, [case for case in cases if case.keeps <= 0.0])]


def to_fund(exchange: "Exchange", side: Side, left: float, rooms: list[float]) -> None:
    """The market's pool takes over at mark, as far as it has room and is not spared."""
    pool, mark, size = exchange.pools.of[side.market], exchange.marks[side.market], exchange.sizes[side.market]
    if rooms[pool] > 0.0 and not waterfall.fund_spared(exchange):
        side.taken = min(left, rooms[pool] / size)
        side.fills.append((exchange.funds[pool], side.taken, mark))
        rooms[pool] -= side.taken * size


def to_vault(exchange: "Exchange", side: Side, left: float, room: list[float]) -> None:
    """The vault takes over at mark; `room`, USD, is what it will still take in this round."""
    mark, size = exchange.marks[side.market], exchange.sizes[side.market]
    took = min(left, room[0] / size)
    if took > 0.0 and exchange.vault is not None:
        room[0] -= took * size
        side.fills.append((exchange.vault, took, mark))


def to_book(exchange: "Exchange", side: Side, left: float) -> None:
    """A market order against the makers, who share it by the depth they show."""
    shown = [(maker, maker.bids[side.market] if side.sign > 0.0 else maker.asks[side.market]) for maker in exchange.makers]
    total = sum(depth for _, depth in shown)
    if total <= 0.0:
        return
    filled, price = exchange.markets[side.market].execute(-side.sign * left, exchange.rules.route.book_slippage)
    worth = coins.worth(exchange, side.market, max(price, 0.0))
    side.fills += [(maker, abs(filled) * depth / total, worth) for maker, depth in shown if filled and depth > 0.0]


def to_liquidators(exchange: "Exchange", side: Side, left: float, capacity: dict["Account", float]) -> None:
    """The cheapest bids first, each as far as its capacity goes."""
    size, volatility = exchange.sizes[side.market], exchange.markets[side.market].alarm
    discounts = [one.discount(exchange.liquidator_rules, volatility) for one in exchange.liquidators]
    rooms = [capacity[one] / size for one in exchange.liquidators]
    if exchange.liquidator_rules.anticipation > 0.0:
        everybody, premium = sum(capacity.values()), exchange.rules.route.absorption_premium
        for at, one in enumerate(exchange.liquidators):
            if one.waits(exchange.liquidator_rules, (capacity[one], everybody), left * size, volatility, premium):
                rooms[at] = 0.0
    took = deleveraging.fill_by_score([-discount for discount in discounts], rooms, left)
    for one, contracts, discount in zip(exchange.liquidators, took, discounts, strict=True):
        if contracts > 0.0:
            capacity[one] -= contracts * size
            side.fills.append((one, contracts, discounted(exchange, side, discount)))


def discounted(exchange: "Exchange", side: Side, discount: float) -> float:
    """USD a contract at which a liquidator that asks for a discount takes a side: of the price, of notional where that is something else.

    An option, which may be worth next to nothing, is taken at a discount on its notional, but for nothing at least.
    """
    mark, part = exchange.marks[side.market], 1.0 - side.sign * discount
    if exchange.markets[side.market].option is not None:
        return max(mark - side.sign * discount * exchange.sizes[side.market], 0.0)
    return mark * part if exchange.settled[side.market] is None else mark / part


# -- what it leaves -----------------------------------------------------------------------------------------------------------------


def projected(exchange: "Exchange", cases: list[Case], sides: list[Side]) -> list[float]:
    """USD of deficits by claimant if `sides` were executed, and bankrupt contracts that nobody takes were closed at mark."""
    deficits = []
    for case in cases:
        after, left, leaves = case.equity, 0.0, [0.0] * len(exchange.markets)
        for side in sides:
            closed = side.closes(case)
            if closed:
                after -= closed * (exchange.marks[side.market] - side.price)
                leaves[side.market] += case.shares[side.market] * case.fraction[side.market] * side.ratio
                left += case.shares[side.market] * case.fraction[side.market] * side.ratio
        if case.bankrupt:
            deficits.append((max(-after, 0.0), case.shares))
        else:
            deficits.append((max(-after, 0.0) * min(left, 1.0), leaves))
    return waterfall.by_claimant(exchange, deficits)


def commit(exchange: "Exchange", cases: list[Case], sides: list[Side], excluded: set[Account]) -> None:
    """Books the executed slices with bankruptcy-price accounting: fee, surplus, deficit of each account; then the waterfall."""
    none = [0.0] * len(exchange.markets)
    load = backlog_over_capacity(exchange, cases, excluded)
    executed = {id(case): fees.Executed(list(none), list(none)) for case in cases}
    taken_over = {id(case): 0.0 for case in cases}
    left = {id(case): list(none) for case in cases}
    for side in sides:
        one = exchange.sizes[side.market]
        closed = [(case, side.closes(case)) for case in cases]
        all_of_it = sum(abs(contracts) * one for _, contracts in closed)
        for case, contracts in closed:
            if contracts:
                case.account.trade(side.market, -contracts, side.price)
                size = abs(contracts) * one
                executed[id(case)].add(exchange, side, size, all_of_it)
                taken_over[id(case)] += size * side.taken / side.filled
                left[id(case)][side.market] += case.shares[side.market] * case.fraction[side.market] * side.ratio
                exchange.liquidated += size
        for taker, contracts, price in side.fills:
            taker.trade(side.market, side.sign * contracts, price)
    deficits = []
    for case in cases:
        deficit = settle_slices(exchange, case, executed[id(case)], left[id(case)], load)
        if deficit > 0.0:
            by_fund = taken_over[id(case)] / executed[id(case)].total
            deficits.append(waterfall.Deficit(case.account, deficit, left[id(case)], by_fund))
    short = [deficit.account for deficit in deficits]
    coins.settle_flat(exchange, [case.account for case in cases if case.account not in short])
    waterfall.cover(exchange, deficits, "draw_execution")
    pay_premiums(exchange, sides)


def pay_premiums(exchange: "Exchange", sides: list[Side]) -> None:
    """Liquidators are paid for having taken positions at once, by the market's pool, as far as it goes."""
    for side in sides if not exchange.insolvent else []:
        fund = exchange.funds[exchange.pools.of[side.market]]
        a_contract = exchange.rules.route.absorption_premium * exchange.sizes[side.market]
        takers = [(taker, contracts * a_contract) for taker, contracts, _ in side.fills if isinstance(taker, Liquidator)]
        due = sum(usd for _, usd in takers)
        if due > 0.0:
            paid = min(due, max(fund.payable, 0.0))
            coins.draw(exchange, fund, "absorption_premium", paid)
            for taker, usd in takers:
                taker.cash += usd * paid / due


def backlog_over_capacity(exchange: "Exchange", cases: list[Case], excluded: set[Account]) -> float:
    """What the round was to execute over what liquidators would take, both USD."""
    rows = [zip(case.held, case.fraction, exchange.sizes, strict=True) for case in cases]
    backlog = sum(abs(held) * part * size for row in rows for held, part, size in row)
    capacity = sum(one.capacity(exchange.liquidator_rules, able=exchange.able(one, excluded)) for one in exchange.liquidators)
    return backlog / capacity if capacity > 0.0 else math.inf


def settle_slices(exchange: "Exchange", case: Case, executed: fees.Executed, left: list[float], load: float) -> float:
    """Slices have the part of the account's equity that they have of its maintenance margin; at their bankruptcy price it is used up.

    The fee is at most what they leave, and lowers the margin ratio of what remains no further than it was before the round; of the rest
    the exchange takes what the account does not keep. `left`: the slices' part, by market. Returns the deficit, USD.
    """
    account = case.account
    share = 1.0 if account.flat else min(sum(left), 1.0)
    leaves = share * max(account.cash, 0.0)
    deficit = share * max(-account.cash, 0.0)
    usd, bounty = fees.asked(exchange, case, executed, share, leaves, load)
    fee = min(usd, leaves, fees.affordable(exchange, case, share))
    surplus = (1.0 - case.keeps) * (leaves - fee)
    account.cash -= fee + surplus
    accrual.share_out(exchange, "liquidation_fee", "liquidation_fees", fees.pay_bounty(fee, bounty, executed), left)
    accrual.share_out(exchange, "surplus", "surplus", surplus, left)
    return deficit


def exhausted(exchange: "Exchange", cases: list[Case], short: set[int], excluded: set[Account]) -> None:
    """The house cannot pay for these claimants: bankrupt accounts with positions there are deleveraged, others go the usual route."""
    exchange.everyone()
    homes = exchange.pools.claimant
    bankrupt = [case for case in cases if case.bankrupt and any(homes[at] in short for at, share in enumerate(case.shares) if share > 0.0)]
    usual = [case for case in cases if case not in bankrupt]
    if usual:
        commit(exchange, usual, route(exchange, usual, excluded), excluded)
        close_stranded(exchange, usual)
    if any(not case.account.flat for case in bankrupt) and not exchange.insolvent:
        deleveraging.deleverage(exchange, bankrupt, excluded)
