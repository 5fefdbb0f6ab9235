"""What defaulters pay, given who they are: y = clip(affordable(y), 0, 1) on them, 1 on everybody else, as large as it can be."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import LinearOperator, SuperLU, bicgstab, splu

from model.contagion.debts import Debts, Flags, Floats, Sparse

type Index = NDArray[np.int64]

_DENSE: Final = 300
"""Up to this many unknowns a dense factorisation beats every sparse method."""
_SWEEPS: Final = 5
"""Plain iterations, cheap and on the right side of the solution, before equations are solved."""
_SETTLED: Final = 1e-13
"""Largest relative residual accepted from the iterative solver."""
_PATIENCE: Final = 100_000
"""Plain iterations after which a problem that has to be solved by them is given up."""


def paid_shares(debts: Debts, fractions: Floats, failed: Flags) -> Floats:
    """Shares of debts within the network that are paid if exactly `failed` are in default, coming down from `fractions`; shape (n,)."""
    if debts.amplifies or (debts.rising and debts.margins is not None):
        return _descended(debts, fractions, failed)
    return _solved(debts, fractions, failed)


def _solved(debts: Debts, fractions: Floats, failed: Flags) -> Floats:
    """Where nobody passes on more than it lacks, the kinks are resolved by policy iteration.

    Solve the linear equations of the nodes strictly between the bounds, see which others move now, repeat. Where interbank debts are junior
    (a kink at 0, convex) it rises from nothing: seen from above, a closed group that owes more outside than it has makes the equations
    singular. Else (a kink at 1, concave) it falls from the last shares. The set only grows.
    """
    shares = fractions.copy()
    if debts.rising:
        shares[failed & (debts.base > 0)] = 0.0
    for _ in range(_SWEEPS):
        shares[failed] = np.clip(debts.affordable(shares)[failed], 0.0, 1.0)
    moving = failed & (shares > 0) & (shares < 1)
    while moving.any():
        index = np.flatnonzero(moving)
        if index.size <= _DENSE or not _iterate(debts, shares, index):
            shares[index] = _factorised(debts, shares, index)
        wanted = debts.affordable(shares)
        more = failed & ~moving & (wanted > 0) & (wanted < 1)
        if not more.any():
            break
        moving |= more
    return np.clip(shares, 0.0, 1.0)


def _descended(debts: Debts, fractions: Floats, failed: Flags) -> Floats:
    """Where equations may have several solutions: plain iteration from above, which finds the greatest.

    They may if losses are amplified, or if margin feeds a closed group that pays outsiders first.
    Every so often, if they are few, the linear equations of the moving nodes are solved. That solution is the greatest too if amplification
    dies out among them (spectral radius below 1), if it lies below the iterates, and if nobody else moves at it.
    """
    shares = fractions.copy()
    for sweep in range(1, _PATIENCE):
        before = shares.copy()
        shares[failed] = np.minimum(np.clip(debts.affordable(shares)[failed], 0.0, 1.0), shares[failed])
        if np.array_equal(shares, before):
            return shares
        if sweep % 16 == 0 and (polished := _polished(debts, shares, failed)) is not None:
            return polished
    raise ArithmeticError(f"clearing: payments did not settle within {_PATIENCE} iterations")


def _polished(debts: Debts, shares: Floats, failed: Flags) -> Floats | None:
    """The exact end of the descent, if it can be told from here; else None."""
    index = np.flatnonzero(failed & (shares > 0) & (shares < 1))
    if not 0 < index.size <= _DENSE or not _dies_out(debts, index):
        return None
    trial = shares.copy()
    trial[index] = _factorised(debts, shares, index)
    wanted = np.clip(debts.affordable(trial), 0.0, 1.0)
    below = (trial[index] > 0).all() and (trial[index] <= shares[index] + 1e-12).all()
    return trial if below and np.allclose(trial[failed], wanted[failed], rtol=0.0, atol=1e-14) else None


def _dies_out(debts: Debts, index: Index) -> bool:
    """Whether the slopes among the nodes `index` have a spectral radius below 1: then, and only then, z = slope z + 1 has a positive z."""
    inward = debts.slope[index][:, index].toarray()
    try:
        z = np.linalg.solve(np.eye(index.size) - inward, np.ones(index.size))
    except np.linalg.LinAlgError:  # singular
        return False
    return bool((np.isfinite(z) & (z > 0)).all() and (z > inward @ z).all())


def _equations(debts: Debts, shares: Floats, index: Index) -> tuple[Sparse, Floats]:
    """M and c such that y = affordable(y) on the nodes `index`, the others held, is y = M y + c."""
    held = shares.copy()
    held[index] = 0.0
    return debts.slope[index][:, index], debts.affordable(held)[index]


def _factorised(debts: Debts, shares: Floats, index: Index) -> Floats:
    """Solves y = affordable(y) on the nodes `index`, the others held."""
    inward, rest = _equations(debts, shares, index)
    if index.size > _DENSE:
        solution: Floats = _lu(inward).solve(rest)
        return solution
    return np.linalg.solve(np.eye(index.size) - inward.toarray(), rest)


def _lu(inward: Sparse) -> SuperLU:
    return splu(sparse.csc_array(sparse.eye_array(inward.shape[0]) - inward))


def _iterate(debts: Debts, shares: Floats, index: Index) -> bool:
    """The same in place by BiCGSTAB with iterative refinement, never factorising: random networks fill in.

    Returns False, without touching `shares`, if the residual does not come down to rounding error.
    """
    inward, rest = _equations(debts, shares, index)
    operator = LinearOperator(inward.shape, matvec=lambda x: x - inward @ x, dtype=np.float64)
    scale = 1.0 + np.abs(debts.affordable(np.ones_like(shares))[index]) + 2.0 * debts.senior[index] / debts.base[index]
    trial = best = shares[index]
    least = np.inf
    while True:
        gap = trial - inward @ trial - rest
        size = float(np.max(np.abs(gap) / scale))
        if not size < 0.5 * least:  # rounding error is reached, or the iteration does not converge
            break
        best, least = trial, size
        step, _ = bicgstab(operator, gap, rtol=1e-6, maxiter=100)
        trial = trial - step
    if least <= _SETTLED:
        shares[index] = best
    return least <= _SETTLED
