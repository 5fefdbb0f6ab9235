"""The fund's size: its division at the opening, its target and what it takes at each close, and what is done if it is short."""

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.accrual import AccrualView
from agents.clearinghouse.adequacy import Action, AdequacyView
from agents.clearinghouse.sizing import SizingView, checked_target
from agents.clearinghouse.stress import Books
from model.ledger import OUTSIDE, TREASURY, Flow
from model.venue import Venue

type Floats = NDArray[np.float64]


def divide_fund(venue: Venue) -> None:
    """The opening balance, held by the first pool so far, is divided: by given shares, or by open interest."""
    pools, ledger = venue.pools, venue.ledger
    if len(pools.names) == 1:
        return
    shares = pools.shares
    if shares is None:
        own = np.array([float(part[0]) for part in pools.parts(venue.open_interest()[:, None])])
        shares = np.append((1.0 - pools.shared) * own, pools.shared) if pools.shared else own
    for row, usd in zip(ledger.funds[1:].tolist(), (shares[1:] * ledger.fund).tolist(), strict=True):
        ledger.transfer(Flow.DEPOSIT, int(ledger.funds[0]), row, usd)


def announce_levies(venue: Venue, hours: float) -> None:
    """Before anything is open, the levies that the accrual rules ask of an empty market; nothing moves, no rule remembers it."""
    nothing = np.zeros(venue.ledger.markets)
    view = AccrualView(hours, venue.ledger.fund, 0.0, nothing, venue.market.volatility, nothing, 0.0, 0.0)
    venue.levied = [accrual.levies(view, venue.rng) for accrual in copy.deepcopy(venue.accrual)]


def size_and_levy(venue: Venue, hours: float) -> None:
    """Close of a step: each pool's target, and what accrues to it in the next step; an injection moves at once."""
    market, tally, ledger, pools = venue.market, venue.tally, venue.ledger, venue.pools
    interest, traded = venue.open_interest(), pools.parts(tally.volume[:, None])
    returns = np.expm1(market.log_index - venue.closing_index)[: market.assets]
    venue.closing_index = market.log_index.copy()
    targets = np.zeros(len(pools.names))
    levied = []
    for pool in range(pools.own):
        mine = pools.market == pool
        seen = SizingView(interest[mine], hours, returns, market.volatility[: market.assets], partial(books, venue, pool))
        target, venue.states["sizing"][pool] = venue.sizing.rule(seen, venue.states["sizing"][pool], venue.rng)
        target = checked_target(target)
        targets[pool] = (1.0 - pools.shared) * target
        targets[-1] += pools.shared * target
        view = AccrualView(
            hours,
            ledger.pools[pool],
            float(targets[pool]),
            interest[mine],
            market.volatility[mine],
            tally.volume[mine],
            tally.fees * float(traded[pool][0]),
            float(tally.liquidated[mine].sum()),
        )
        levies = venue.accrual[pool].levies(view, venue.rng)
        levied.append(levies)
        if levies.injection > 0.0:
            ledger.transfer(Flow.INJECTION, TREASURY, int(ledger.funds[pool]), min(levies.injection, max(ledger.treasury, 0.0)))
    venue.targets, venue.levied = targets, levied
    _act(venue)


def _act(venue: Venue) -> None:
    """What the exchange does if the fund is short of its target; its owners fill the pools up in proportion to what they lack."""
    ledger, action = venue.ledger, Action()
    venue.recapitalised = np.zeros_like(venue.targets)
    for at, rule in enumerate(venue.adequacy):
        more, venue.states["adequacy"][at] = rule.rule(AdequacyView(ledger.fund, venue.target), venue.states["adequacy"][at], venue.rng)
        action = action + more
    if action.levies != 1.0:
        venue.levied = [replace(levies.times(action.levies), injection=levies.injection) for levies in venue.levied]
    lacks = np.maximum(venue.targets - np.array(ledger.pools), 0.0)
    if action.recapitalisation > 0.0:
        weights = lacks if lacks.any() else venue.targets
        venue.recapitalised = action.recapitalisation * weights / weights.sum()
        for row, usd in zip(ledger.funds.tolist(), venue.recapitalised.tolist(), strict=True):
            ledger.transfer(Flow.RECAPITALISATION, OUTSIDE, row, usd)
    venue.action = action if venue.channels.margin_spiral else replace(action, initial=1.0, maintenance=1.0)


def books(venue: Venue, pool: int) -> Books:
    """What the exchange knows of its accounts when it sizes a pool."""
    ledger, market = venue.ledger, venue.market
    rows = np.arange(ledger.house, ledger.rows)
    rows = rows[ledger.exposure[:, rows].any(axis=0)]
    position, exposure, marks = ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks
    margin = venue.requirement(position, exposure, marks)
    return Books(
        position,
        ledger.equity(rows),
        margin.by_market.sum(axis=0),
        margin.initial,
        venue.pools.parts(exposure, ledger.units)[pool],
        rows < venue.institutions,
        ledger.units,
        market.depth.mean(axis=0),
        _stressed(venue, marks),
        _onto(venue),
    )


def _stressed(venue: Venue, marks: Floats) -> Callable[[Floats], Floats]:
    """USD change of one contract, (S, M), when underlyings return (S, A); implied volatilities answer as their surface says."""
    market, fixing = venue.market, venue.fixing
    if fixing is not None:
        return fixing.stressed
    if market.inverse is not None:
        return lambda returns: venue.coin_gains(marks, returns, returns)
    return (lambda returns: returns * marks) if market.listed is None else (lambda returns: returns[:, market.asset] * marks)


def _onto(venue: Venue) -> Floats | None:
    """Shape (M, A): USD of each underlying that one contract sold puts on sale; None for perpetuals alone."""
    market = venue.market
    if market.listed is None:
        return None
    delta = venue.ledger.units * (venue.fixing.deltas if venue.fixing is not None else 1.0)
    onto: Floats = delta[:, None] * (market.asset[:, None] == np.arange(market.assets))
    return onto
