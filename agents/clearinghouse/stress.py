"""What accounts would lose beyond their margin if prices moved together: scenarios, shortfalls, and the prices that liquidations move.

P&L of every account under every scenario is one matrix product, taken block by block so that memory stays small.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

BLOCK = 512
"""Accounts at a time: a block of a thousand scenarios stays within a processor's cache."""
TEN_BASIS_POINTS = 1e-3
NEARLY_ALL = -1.0 + 1e-12
"""A return that loses all is counted as one that leaves a trace: it has a logarithm."""
NO_DEPTH = 1e-9
"""USD: a book that shows less moves as far as one that shows this much."""
LARGEST_MOVE = 0.99
"""A price loses no more than this part of itself, however much is liquidated."""


@dataclass(frozen=True, slots=True)
class Books:
    """What an exchange knows of its n accounts and M markets.

    Attributes:
        position: shape (M, n), contracts, long > 0.
        equity: shape (n,), USD.
        maintenance, initial: shape (n,), USD of margin.
        part: shape (n,), part of each account's loss that a pool stands for.
        institution: shape (n,), whether it is a market maker's or liquidator's.
        unit: shape (M,), USD of notional that one contract is.
        depth: shape (M,), USD resting within ten basis points.
        revalue: USD change of one contract, (S, M), when underlyings move by simple returns (S, A).
        onto: shape (M, A), USD of each underlying that the sale of one contract puts on sale; perpetuals alone if not given.
    """

    position: Floats
    equity: Floats
    maintenance: Floats
    initial: Floats
    part: Floats
    institution: NDArray[np.bool_]
    unit: Floats
    depth: Floats
    revalue: Callable[[Floats], Floats]
    onto: Floats | None = None

    def only(self, some: NDArray[np.bool_]) -> "Books":
        """The books of some accounts."""
        columns = (self.position[:, some], self.equity[some], self.maintenance[some], self.initial[some], self.part[some])
        return Books(*columns, self.institution[some], self.unit, self.depth, self.revalue, self.onto)


def simulated(scenarios: int, volatility: Floats, hours: float, correlation: float, tail: float, seed: int) -> Floats:
    """Joint simple returns, (S, M), over `hours`: Student-t with `tail` degrees of freedom, scaled to `volatility`, one common factor.

    All markets share the mixing variable, so that they jump together. The draws depend on `seed` alone: a target follows exposures and
    volatility, never luck.
    """
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((scenarios, 1)), rng.standard_normal((scenarios, volatility.size))
    normal = np.sqrt(correlation) * common + np.sqrt(1.0 - correlation) * own
    mixing = np.sqrt((tail - 2.0) / rng.chisquare(tail, (scenarios, 1))) if np.isfinite(tail) else 1.0
    returns: Floats = np.expm1(normal * mixing * volatility * np.sqrt(hours / 8760.0))
    return returns


def blocks(books: Books, changes: Floats, margin: Floats) -> Iterator[tuple[slice, Floats]]:
    """Accounts, and what equity, (S, B), they would have beyond `margin`, (n,), after `changes` of one contract, (S, M)."""
    values = np.column_stack((changes, np.ones(len(changes))))
    held = np.vstack((books.position, books.equity - margin))
    room = np.empty((len(changes), BLOCK))
    for first in range(0, margin.size, BLOCK):
        some = slice(first, min(first + BLOCK, margin.size))
        size = some.stop - first
        yield some, np.matmul(values, held[:, some], out=room[:, :size] if size == BLOCK else None)


def exposed(books: Books, changes: Floats, margin: Floats) -> Books:
    """Those who could be short of `margin` in some scenario: each market at its worst for them. Nobody who is short in any is left out."""
    low, high = changes.min(axis=0), changes.max(axis=0)
    worst = np.minimum(books.position * low[:, None], books.position * high[:, None]).sum(axis=0)
    return books.only(books.equity - margin + worst < 0.0)


def losses(books: Books, changes: Floats) -> Floats:
    """Shape (S,), USD: losses beyond equity of all accounts, as far as they are the pool's."""
    books = exposed(books, changes, np.zeros_like(books.equity))
    total = np.zeros(len(changes))
    for some, room in blocks(books, changes, np.zeros_like(books.equity)):
        np.minimum(room, 0.0, out=room)
        total -= room @ books.part[some]
    return total


def cover(books: Books, changes: Floats, count: int, *, or_next_two: bool = False) -> float:
    """USD: the largest sum, over scenarios, of the `count` largest stress losses over initial margin (SLOIM; BoE FSP 30, 2014).

    With `or_next_two` it is the sum of the second and third largest where that is more (EMIR, Art. 42(3), with a count of one). Accounts
    come in the order of the most that they could lose; once nobody who is left can change the largest sum, it is found.
    """
    books = replace(books, equity=np.zeros_like(books.equity))
    low, high = changes.min(axis=0), changes.max(axis=0)
    worst = np.minimum(books.position * low[:, None], books.position * high[:, None]).sum(axis=0)
    bound = np.maximum(-worst - books.initial, 0.0) * books.part
    order = np.argsort(-bound, kind="stable")[: np.count_nonzero(bound)]
    kept = max(count, 3) if or_next_two else count

    def largest(top: Floats) -> float:
        """USD, of the largest losses by scenario, (S, kept)."""
        ordered = np.sort(top, axis=1)
        found = float(ordered[:, -count:].sum(axis=1).max())
        return max(found, float(ordered[:, -3:-1].sum(axis=1).max())) if or_next_two else found

    top = np.zeros((len(changes), kept))
    for first in range(0, order.size, BLOCK):
        some = order[first : first + BLOCK]
        if largest(np.maximum(top, bound[some[0]])) <= largest(top):
            break
        room = changes @ books.position[:, some] + books.initial[some]
        both = np.concatenate((top, np.maximum(-room, 0.0) * books.part[some]), axis=1)
        top = np.partition(both, both.shape[1] - kept, axis=1)[:, -kept:]
    return largest(top)


def worst_losses(position: Floats, changes: Floats) -> Floats:
    """Shape (n,), USD: the most that accounts with these positions, (M, n), lose in any scenario, each in its own, before any margin."""
    worst = np.zeros(position.shape[1])
    for first in range(0, worst.size, BLOCK):
        some = slice(first, first + BLOCK)
        worst[some] = np.maximum(-(changes @ position[:, some]).min(axis=0), 0.0)
    return worst


def with_liquidations(books: Books, returns: Floats, rounds: int, exponent: float, refilled: float) -> Floats:
    """Simple returns, (S, M), after the sales that they force, `rounds` times over or until nobody else is liquidated.

    In each round all who are below maintenance margin are closed; their net notional Q goes into the book and moves the price by
    10 bp x (|Q| / (refilled x depth))^(1 / exponent) beyond the scenario's own return.
    """
    moved, before = returns, np.full((1, 1), np.nan)
    for _ in range(rounds):
        changes = books.revalue(moved)
        some = exposed(books, changes, books.maintenance)
        sold = np.zeros_like(changes)
        for rows, room in blocks(some, changes, some.maintenance):
            sold += (room < 0.0).astype(float) @ some.position[:, rows].T
        if np.array_equal(sold, before):
            break
        before = sold
        depth, unit = np.maximum(refilled * books.depth, NO_DEPTH), books.unit
        if books.onto is not None:
            sold, depth, unit = sold @ books.onto, depth[: returns.shape[1]], np.ones(returns.shape[1])
        push = TEN_BASIS_POINTS * np.minimum(np.abs(sold) * unit / depth, 1e9) ** (1.0 / exponent)
        moved = np.maximum((1.0 + returns) * np.exp(-np.sign(sold) * np.minimum(push, 5.0)) - 1.0, -LARGEST_MOVE)
    return moved


def hypothetical_capital(exposure: Floats, margin: Floats, contribution: Floats) -> float:
    """K_CCP, USD: the sum of max(EBRM - IM - DF, 0) over members, (n,) each, times 20 % risk weight times 8 % (EMIR, Art. 50a)."""
    return float(np.maximum(exposure - margin - contribution, 0.0).sum()) * 0.20 * 0.08


def member_capital(hypothetical: float, contribution: Floats, own_funds: float) -> Floats:
    """K_CM, (n,) USD, what each member holds against its contribution, (n,) USD: its part of K_CCP, at least 8 % x 2 % of it.

    max(K_CCP x DF_i / (DF_CCP + DF_CM), 8 % x 2 % x DF_i), DF_CCP being the clearing house's own prefunded resources, `own_funds`, and
    DF_CM all members' contributions (Basel Committee, CRE54).
    """
    total = own_funds + float(contribution.sum())
    return np.maximum(hypothetical * contribution / total if total > 0.0 else 0.0 * contribution, 0.08 * 0.02 * contribution)


def value_at_risk(losses: Floats, level: float) -> float:
    """The smallest of the losses, (S,), that is not exceeded with probability `level`."""
    return float(np.quantile(losses, level, method="inverted_cdf"))


def expected_shortfall(losses: Floats, level: float) -> float:
    """Mean of the worst 1 - level of the losses, (S,), the one at the border counted in part (Rockafellar & Uryasev 2002)."""
    border = value_at_risk(losses, level)
    return border + float(np.maximum(losses - border, 0.0).mean()) / (1.0 - level)
