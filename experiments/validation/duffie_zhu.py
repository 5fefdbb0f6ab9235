"""Netting in Duffie and Zhu (2011): does clearing one class of derivatives centrally lower expected exposures?"""

import numpy as np


def exact(dealers: int, classes: int) -> tuple[float, float]:
    """A dealer's expected exposure, in standard deviations of a position: all netted bilaterally, and with one class cleared.

    (N - 1) sqrt(K / 2 pi); (N - 1) sqrt((K - 1) / 2 pi) + sqrt((N - 1) / 2 pi).
    """
    others = dealers - 1
    bilateral = others * np.sqrt(classes / (2.0 * np.pi))
    return float(bilateral), float(others * np.sqrt((classes - 1) / (2.0 * np.pi)) + np.sqrt(others / (2.0 * np.pi)))


def simulated(dealers: int, classes: int, draws: int, rng: np.random.Generator) -> tuple[float, float]:
    """The same by drawing one dealer's positions against each of the others in each class."""
    bilateral, cleared = np.empty(draws), np.empty(draws)
    for first in range(0, draws, 10_000):
        rows = slice(first, min(first + 10_000, draws))
        position = rng.standard_normal((bilateral[rows].size, dealers - 1, classes))
        bilateral[rows] = np.maximum(position.sum(axis=2), 0.0).sum(axis=1)
        central = np.maximum(position[:, :, 0].sum(axis=1), 0.0)
        cleared[rows] = np.maximum(position[:, :, 1:].sum(axis=2), 0.0).sum(axis=1) + central
    return float(bilateral.mean()), float(cleared.mean())
