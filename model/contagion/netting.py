"""Netting across counterparties against netting across asset classes: what central clearing of some classes does to exposures."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

type Floats = NDArray[np.float64]

_MEAN_POSITIVE: Final = 1.0 / np.sqrt(2.0 * np.pi)
"""E[max(Z, 0)] of a standard normal Z."""


def exposures(positions: Floats, cleared: ArrayLike) -> Floats:
    """What each participant stands to lose if all its counterparties fail, shape (..., N).

    Args:
        positions: (..., K, N, N), antisymmetric in the last two: [k, i, j] is what j would owe i in class k.
        cleared: (K,) flags of classes whose contracts have one clearinghouse as counterparty, each class of its own.
    """
    central = np.asarray(cleared, dtype=np.bool_)
    bilateral = np.maximum(positions[..., ~central, :, :].sum(axis=-3), 0.0).sum(axis=-1)
    through: Floats = np.maximum(positions[..., central, :, :].sum(axis=-1), 0.0).sum(axis=-2)
    total: Floats = bilateral + through
    return total


def expected_exposure(participants: int, classes: int, *, cleared: bool, deviation: float = 1.0) -> float:
    """A participant's expected exposure if positions are independent normal (Duffie and Zhu 2011, Review of Asset Pricing Studies 1(1)).

    (N − 1) σ √(K/2π) without clearing; with one class cleared (N − 1) σ √((K − 1)/2π) + σ √((N − 1)/2π). Clearing helps if and only if
    K < N²/(4(N − 1)).
    """
    others = participants - 1
    if not cleared:
        return float(_MEAN_POSITIVE * deviation * others * np.sqrt(classes))
    return float(_MEAN_POSITIVE * deviation * (others * np.sqrt(classes - 1) + np.sqrt(others)))


def clearing_helps_below(participants: int) -> float:
    """Number of classes below which clearing one of them lowers expected exposures."""
    return participants**2 / (4.0 * (participants - 1))
