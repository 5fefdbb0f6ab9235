"""Levies and funding: what the exchange takes, which pool of the fund or whose capital it goes to, and what longs pay shorts."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from model.ledger import OUTSIDE, TREASURY, Flow, Ledger, Rows, RowsLike

if TYPE_CHECKING:
    from model.venue import Venue

type Floats = NDArray[np.float64]


def accrue(venue: "Venue", ledger: Ledger, kind: Flow, levy: str, rows: Rows, usd: Floats, parts: list[Floats]) -> list[float]:
    """What the exchange takes from accounts, (n,), goes to the pools and to its own capital, as the levies say.

    Args:
        venue: the exchange.
        ledger: whose accounts they are.
        kind: of flow.
        levy: the share in `Levies` that is the fund's.
        rows, usd: whose, and how much; parts: (n,) by pool, what part of it comes from the pool's markets.

    Returns:
        What was moved, USD.
    """
    moved: list[float] = []
    if usd.any():
        for pool, part in enumerate(parts):
            share = getattr(venue.levied[pool], levy)
            moved += _to_pool(venue, ledger, kind, rows, pool, share * (part * usd))
            moved.append(ledger.transfer(kind, rows, TREASURY, (1.0 - share) * (part * usd)))
    return moved


def contribute(venue: "Venue", kind: Flow, row: int, usd: float, contracts: Floats) -> None:
    """USD from an account to the pools of the markets in which it holds or held `contracts`, (M,), in proportion to notional."""
    for pool, part in enumerate(venue.pools.parts(np.abs(contracts)[:, None], venue.ledger.units)):
        _to_pool(venue, venue.ledger, kind, np.array([row]), pool, part * usd)


def _to_pool(venue: "Venue", ledger: Ledger, kind: Flow, rows: RowsLike, pool: int, usd: Floats) -> list[float]:
    """An inflow, (n,) USD from `rows`, to a pool; the shared pool has its part of it. Returns what was moved."""
    shared = venue.pools.shared
    moved = [ledger.transfer(kind, rows, int(ledger.funds[-1]), shared * usd)] if shared else []
    return [*moved, ledger.transfer(kind, rows, int(ledger.funds[pool]), (1.0 - shared) * usd)]


def levy_volume(venue: "Venue", rows: Rows, ordered: Floats, price: Floats) -> None:
    """The volume levy on contracts ordered, (M, n) at `price`, (M,), to their markets' pools; at most what an account has."""
    ledger, pools = venue.ledger, venue.pools
    rate = np.array([levies.volume for levies in venue.levied])[pools.market]
    if not rate.any():
        return
    due = np.where(rows >= ledger.house, np.minimum((rate * price) @ ordered, np.maximum(venue.means(ledger, rows), 0.0)), 0.0)
    for pool, part in enumerate(pools.parts(ordered, rate * price)):
        _to_pool(venue, ledger, Flow.VOLUME_LEVY, rows, pool, part * due)


def open_interest_levies(venue: "Venue") -> Floats:
    """Shape (M,): charge on each market's open positions, share of notional per hour, by its pool."""
    return np.array([levies.open_interest for levies in venue.levied])[venue.pools.market]


def levy_open_interest(venue: "Venue", hours: float) -> None:
    """The open-interest levy, from every open position to its market's pool."""
    ledger, pools = venue.ledger, venue.pools
    rate = open_interest_levies(venue) * hours
    if not rate.any():
        return
    charge = rate * ledger.units
    due = charge @ ledger.exposure
    due[ledger.funds] = 0.0
    owed = [float(due.sum())]
    if pools.own > 1:
        by_market = charge * (ledger.exposure[:, ledger.house :].sum(axis=1) + ledger.exposure[:, OUTSIDE])
        owed = [float(by_market[pools.market == pool].sum()) for pool in range(pools.own)]
    for pool, usd in enumerate(owed):
        due[ledger.funds[pool]] = -(1.0 - pools.shared) * usd
        due[ledger.funds[-1]] -= pools.shared * usd
    venue.collect(Flow.OPEN_INTEREST_LEVY, due)


def exchange_funding(venue: "Venue", hours: float) -> None:
    """Funding between longs and shorts; a share of what receivers get may go to the fund, to the pools of the legs that receive."""
    ledger = venue.ledger
    venue.funding = venue.market.funding_rate(hours)
    due = (venue.funding * ledger.units) @ ledger.position
    due = venue.collect(Flow.FUNDING, due)
    if any(levies.funding for levies in venue.levied):
        received = np.maximum(-due, 0.0)
        received[ledger.funds] = 0.0
        parts = venue.pools.parts(np.maximum(-venue.funding[:, None] * ledger.position, 0.0), ledger.units)
        for pool, part in enumerate(parts):
            share = np.minimum(venue.levied[pool].funding * part * received, np.maximum(venue.means(ledger), 0.0))
            _to_pool(venue, ledger, Flow.FUNDING_SHARE, slice(None), pool, share)
