"""Networks from totals alone: what each node lends and borrows is known, to whom is not.

Two ends of what is possible: everybody deals with everybody as evenly as can be (maximum entropy), or as few deal as can be (minimum
density). Contagion on the true network tends to lie between.
"""

from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

type Floats = NDArray[np.float64]

_SETTLED: Final = 1e-13
_PATIENCE: Final = 100_000
_DUST: Final = 1e-12
"""Part of all lending that counts as nothing left."""


def checked_totals(lent: ArrayLike, borrowed: ArrayLike) -> tuple[Floats, Floats]:
    """Totals as columns, (n,) each, those of borrowing scaled to add up to those of lending.

    Raises:
        ValueError: totals that no network without loans to oneself can have.
    """
    out, into = np.asarray(lent, dtype=np.float64), np.asarray(borrowed, dtype=np.float64)
    if out.ndim != 1 or out.shape != into.shape:
        raise ValueError(f"totals: expected as many lent as borrowed, found shapes {out.shape} and {into.shape}")
    if not ((np.isfinite(out) & (out >= 0)).all() and (np.isfinite(into) & (into >= 0)).all()):
        raise ValueError("totals: expected finite amounts of at least 0")
    total = out.sum()
    if (total > 0) != (into.sum() > 0):
        raise ValueError("totals: expected somebody to borrow what is lent, and to lend what is borrowed")
    if total > 0:
        into = into * (total / into.sum())
    most = int((out + into).argmax()) if out.size else 0
    if out.size and out[most] + into[most] > total * (1.0 + _DUST):
        raise ValueError(
            f"totals: node {most} lends {out[most] / total:.3g} and borrows {into[most] / total:.3g} of the total, in all above 1"
        )
    return out, into


def maximum_entropy(lent: ArrayLike, borrowed: ArrayLike) -> Floats:
    """The most even network, (n, n), [i, j] what i lends to j: r_i c_j off the diagonal, by iterative proportional fitting.

    (Upper and Worms 2004, European Economic Review 48(4); the algorithm is Deming and Stephan's, 1940, in economics RAS.)

    Raises:
        ValueError: see `checked_totals`.
        ArithmeticError: totals so close to the edge of what is possible that fitting does not settle.
    """
    rows, columns = checked_totals(lent, borrowed)
    fitted: Floats = np.outer(rows, columns)
    np.fill_diagonal(fitted, 0.0)
    scale = max(float(rows.sum()), 1e-300)
    for _ in range(_PATIENCE):
        fitted *= _ratio(columns, fitted.sum(axis=0))
        across = fitted.sum(axis=1)
        if np.abs(across - rows).max(initial=0.0) <= _SETTLED * scale:
            return fitted
        fitted *= _ratio(rows, across)[:, None]
    raise ArithmeticError(f"maximum entropy: totals were not met within {_PATIENCE} iterations")


def minimum_density(lent: ArrayLike, borrowed: ArrayLike, rng: Generator) -> Floats:
    """A network of few large loans, (n, n), [i, j] what i lends to j, after Anand, Craig and von Peter (2015, Quantitative Finance 15(4)).

    Loans are added one by one, each as large as both totals allow, drawn as in the paper with probability in proportion to
    max(a_i / l_j, l_j / a_i) of what is left to lend and to borrow, so that small nodes deal with large ones. Two choices are ours: a loan
    once made stays, and where one node is left with itself, a loan between two others is rerouted through it. There are at most 2n links.

    Raises:
        ValueError: see `checked_totals`.
    """
    rows, columns = (values.copy() for values in checked_totals(lent, borrowed))
    loans = np.zeros((rows.size, rows.size))
    dust = _DUST * rows.sum()
    while True:
        lenders, borrowers = np.flatnonzero(rows > dust), np.flatnonzero(columns > dust)
        ratio = rows[lenders][:, None] / columns[borrowers][None, :]
        chance = np.maximum(ratio, 1.0 / ratio) * (lenders[:, None] != borrowers[None, :])
        if not chance.any():
            break
        pick = int(rng.choice(chance.size, p=(chance / chance.sum()).ravel()))
        i, j = int(lenders[pick // borrowers.size]), int(borrowers[pick % borrowers.size])
        amount = min(rows[i], columns[j])
        loans[i, j] += amount
        rows[i], columns[j] = rows[i] - amount, columns[j] - amount
    for node in np.flatnonzero((rows > dust) & (columns > dust)):
        _reroute(loans, int(node), float(rows[node]))
    return loans


def _reroute(loans: Floats, node: int, amount: float) -> None:
    """`node` comes to lend and to borrow `amount` more: loans between others, the largest first, go through it."""
    others = loans.copy()
    others[node], others[:, node] = 0.0, 0.0
    for flat in np.argsort(-others, axis=None, kind="stable"):
        i, j = divmod(int(flat), len(loans))
        part = min(amount, float(others[i, j]))
        loans[i, j] -= part
        loans[i, node] += part
        loans[node, j] += part
        amount -= part
        if amount <= 0.0:
            return


def _ratio(wanted: Floats, found: Floats) -> Floats:
    return np.divide(wanted, found, out=np.zeros_like(wanted), where=found > 0)
