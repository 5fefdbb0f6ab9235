"""Duffie and Zhu's netting: their formula, the positions themselves, and the threshold by simulation."""

import numpy as np
import pytest

from model.contagion.netting import clearing_helps_below, expected_exposure, exposures


@pytest.mark.parametrize(
    ("participants", "classes", "bilateral", "central", "threshold"),
    [
        (12, 2, 6.206085, 5.711507, 3.272727),
        (12, 3, 7.600871, 7.529227, 3.272727),
        (12, 4, 8.776730, 8.924013, 3.272727),
        (16, 6, 14.658075, 14.926028, 4.266667),
        (100, 10, 124.89506, 122.455283, 25.252525),
    ],
)
def test_exposures_with_and_without_a_clearinghouse(
    participants: int, classes: int, bilateral: float, central: float, threshold: float
) -> None:
    """Numbers computed apart from the formula of Duffie and Zhu (2011)."""
    assert expected_exposure(participants, classes, cleared=False) == pytest.approx(bilateral, abs=5e-7)
    assert expected_exposure(participants, classes, cleared=True) == pytest.approx(central, abs=5e-7)
    assert clearing_helps_below(participants) == pytest.approx(threshold, abs=5e-7)
    assert (central < bilateral) == (classes < threshold)


def test_netting_of_three_participants_by_hand() -> None:
    """Class 0: A is owed 5 by B and owes C 3. Class 1: A owes B 4, is owed 1 by C.

    Bilaterally A nets 5 - 4 = 1 with B and -3 + 1 with C: 1. With class 0 cleared it is owed 2 there, and 1 by C in class 1: 3.
    """
    positions = np.zeros((2, 3, 3))
    positions[0, 0, 1], positions[0, 0, 2], positions[1, 0, 1], positions[1, 0, 2] = 5, -3, -4, 1
    positions -= positions.transpose(0, 2, 1)
    assert exposures(positions, [False, False]).tolist() == [1, 0, 2]
    assert exposures(positions, [True, False]).tolist() == [3, 4, 3]


@pytest.mark.parametrize("classes", [3, 4])
def test_simulated_positions_show_on_which_side_of_the_threshold_clearing_helps(classes: int) -> None:
    """12 participants, threshold 3.27: clearing one of 3 classes helps, one of 4 hurts; both means within five standard errors."""
    draws = np.random.default_rng(1).standard_normal((4000, classes, 12, 12))
    upper = np.triu(draws, 1)
    positions = upper - upper.transpose(0, 1, 3, 2)
    first = np.arange(classes) == 0
    found = [exposures(positions, flags).mean(axis=-1) for flags in (~first & False, first)]
    for sample, cleared in zip(found, (False, True), strict=True):
        error = sample.std(ddof=1) / np.sqrt(sample.size)
        assert sample.mean() == pytest.approx(expected_exposure(12, classes, cleared=cleared), abs=5 * error)
    difference = found[1] - found[0]
    error = difference.std(ddof=1) / np.sqrt(difference.size)
    assert (difference.mean() < -5 * error) if classes < clearing_helps_below(12) else (difference.mean() > 5 * error)
