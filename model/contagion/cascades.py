"""Defaults by threshold: a node fails once what its failed debtors cost it reaches what it can bear.

No default is ever undone and no payment is solved for, which is what tells these from clearing: losses are a fixed part of each exposure.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import sparse

from model.contagion.debts import Flags, Floats, numbers, square


@dataclass(frozen=True, eq=False)
class Cascade:
    """Who failed, and in which wave; arrays of shape (n,).

    Attributes:
        waves: 1 for those that fail alone, 2 for those that they bring down, …; −1 for survivors.
        losses: what each node has lost on failed debtors, in the unit of the weights.
    """

    waves: NDArray[np.int64]
    losses: Floats

    @property
    def failed(self) -> Flags:
        """Whether each node has failed."""
        return self.waves > 0

    @property
    def generations(self) -> list[int]:
        """Failures wave by wave, from the first."""
        counts: list[int] = np.bincount(self.waves[self.failed])[1:].tolist()
        return counts


def cascade(weights: Any, thresholds: ArrayLike, initial: ArrayLike | None = None) -> Cascade:
    """Failures spread until nobody else is at its threshold (Watts 2002, PNAS 99(9), with weights).

    Args:
        weights: (n, n), [i, j] is what i's failure costs j.
        thresholds: (n,): j fails once its losses are at least this; at or below zero it fails alone.
        initial: (n,) flags of nodes that fail whatever they can bear; nobody by default.

    Raises:
        ValueError: an input of the wrong shape, range or kind.
    """
    costs = square("weights", weights)
    nodes = costs.shape[0]
    bear = numbers("thresholds", thresholds)
    first = np.zeros(nodes, dtype=np.bool_) if initial is None else np.asarray(initial, dtype=np.bool_)
    if bear.shape != (nodes,) or first.shape != (nodes,):
        raise ValueError(f"thresholds and initial: expected shape ({nodes},), found {bear.shape} and {first.shape}")
    losses: Floats = np.zeros(nodes)
    waves = np.full(nodes, -1, dtype=np.int64)
    new, wave = first | (bear <= 0.0), 0
    while new.any():
        wave += 1
        waves[new] = wave
        losses = costs.T @ (waves > 0).astype(np.float64)
        new = (losses >= bear) & (waves < 0)
    return Cascade(waves, losses)


def furfine(liabilities: Any, capital: ArrayLike, initial: ArrayLike | None = None, *, recovery: float = 0.0) -> Cascade:
    """Sequential default: a failed node's creditors lose 1 − recovery of their claims (Furfine 2003, J. Money, Credit and Banking 35(1)).

    Args:
        liabilities: (n, n), [i, j] is what i owes to j; money.
        capital: (n,), money, after the shock; a node without capital fails.
        initial: (n,) flags of nodes that fail anyway.
        recovery: share of its claim that a creditor gets back, in [0, 1].
    """
    if not 0.0 <= recovery <= 1.0:
        raise ValueError(f"recovery: expected a share in [0, 1], found {recovery}")
    return cascade((1.0 - recovery) * square("liabilities", liabilities), capital, initial)


def gai_kapadia(debts: Any, capital: ArrayLike, interbank_assets: ArrayLike, initial: ArrayLike) -> Cascade:
    """Interbank assets spread evenly over a bank's debtors, nothing recovered (Gai and Kapadia 2010, Proc. R. Soc. A 466).

    Args:
        debts: (n, n), anything but zero at [i, j] means that i owes to j.
        capital, interbank_assets: (n,) or numbers, as shares of a bank's assets.
        initial: (n,) flags of banks that fail at first.
    """
    links = square("debts", debts)
    links.data = (links.data > 0.0).astype(np.float64)
    debtors: Floats = links.T @ np.ones(links.shape[0])
    each = np.divide(np.broadcast_to(interbank_assets, debtors.shape), debtors, out=np.zeros(debtors.shape), where=debtors > 0)
    weights = sparse.csr_array(links.multiply(each[None, :]))
    return cascade(weights, np.broadcast_to(capital, debtors.shape), initial)
