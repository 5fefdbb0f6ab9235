"""DebtRank in both versions, by hand and in general; and paths of vulnerability."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.contagion import debtrank
from model.contagion.vulnerability import brings_down, diffusion, fluidity, impacts, susceptibility

type Floats = NDArray[np.float64]

RING = np.array([[0.0, 0.5, 0.0], [0.0, 0.0, 0.5], [0.5, 0.0, 0.0]])
"""Each of three owes half of its creditor's equity to the next."""


def exactly(found: Any, expected: Any) -> None:
    """Equal to 1e-9."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)


def test_in_a_ring_losses_come_back_once_under_single_hit_and_for_ever_under_the_linear_rule() -> None:
    """0.1, a half of it, a quarter. A single hit ends at 0.1 + 0.025/2; the linear rule goes round: 0.1 (1 + 1/8 + 1/64 + ...) = 0.8/7."""
    exactly(debtrank.linear(RING, [1, 1, 1], [0.1, 0, 0]).closing, [0.8 / 7, 0.4 / 7, 0.2 / 7])
    exactly(debtrank.single_hit(RING, [1, 1, 1], [0.1, 0, 0]).closing, [0.1125, 0.05, 0.025])


def test_debtrank_is_what_spreading_adds_by_weight() -> None:
    """Weights 1, 2, 1 over 4: (0.0125 + 2 x 0.05 + 0.025)/4."""
    exactly(debtrank.single_hit(RING, [1, 1, 1], [0.1, 0, 0]).rank([1, 2, 1]), 0.1375 / 4)


def test_several_shocks_side_by_side_are_the_shocks_one_by_one() -> None:
    shocks = np.array([[0.1, 0.0], [0.0, 0.7], [0.2, 1.0]])
    for rule in (debtrank.linear, debtrank.single_hit):
        together = rule(RING, [1, 0.8, 0.6], shocks).closing
        for at in range(2):
            exactly(together[:, at], rule(RING, [1, 0.8, 0.6], shocks[:, at]).closing)


def test_a_node_is_ranked_by_what_its_failure_costs_the_others() -> None:
    """Equities 1, 2, 4. A's failure costs B 0.5 of 2, a quarter, B's costs C 0.125 of 4: 0.5 of B's and 0.125 of C's 6 in all: 0.625/6.

    B's: C loses 0.5 of 4, an eighth, of which A loses 0.5/8: 0.5 + 0.0625 of 5. C's: A loses half, B a quarter of that: 0.5 + 0.25 of 3.
    """
    exactly(debtrank.by_node(RING, [1, 2, 4]), [0.625 / 6, 0.5625 / 5, 0.75 / 3])


def test_a_node_without_equity_is_in_full_distress_from_the_start() -> None:
    found = debtrank.linear(RING, [0, 1, -2], [0, 0, 0])
    exactly(found.opening, [1, 0, 1])
    exactly(found.closing, [1, 0.5, 1])


@st.composite
def shocked(draw: st.DrawFn) -> tuple[Floats, Floats, Floats]:
    n = draw(st.integers(2, 6))
    amounts = np.array(draw(st.lists(st.floats(0, 1), min_size=n * n + 2 * n, max_size=n * n + 2 * n)))
    L = amounts[: n * n].reshape(n, n)
    np.fill_diagonal(L, 0.0)
    return L, 0.1 + 2 * amounts[n * n : n * n + n], amounts[n * n + n :]


@given(shocked())
@settings(max_examples=150, deadline=None)
def test_the_linear_rule_finds_a_fixed_point_at_least_as_bad_as_a_single_hit(case: tuple[Floats, Floats, Floats]) -> None:
    L, equity, shock = case
    found = debtrank.linear(L, equity, shock)
    exactly(found.closing, np.minimum(shock + (L / equity).T @ found.closing, 1.0))
    assert (found.closing >= debtrank.single_hit(L, equity, shock).closing - 1e-12).all()
    assert (found.closing >= shock).all()


@given(shocked())
@settings(max_examples=100, deadline=None)
def test_without_defaults_the_linear_rule_is_a_matrix_inverse(case: tuple[Floats, Floats, Floats]) -> None:
    """h = (I - Lambda')^-1 h(1); debts and shock are scaled down until nobody is wiped out."""
    L, equity, shock = case
    lam = (L / equity).T
    lam = lam / (2 * max(lam.sum(axis=1).max(), 1.0))
    shock = 0.4 * shock
    expected = np.linalg.solve(np.eye(len(lam)) - lam, shock)
    exactly(debtrank.linear(lam.T, np.ones(len(lam)), shock).closing, expected)


def test_a_debtor_costs_its_lender_no_more_than_its_own_distress_where_the_lender_is_hit_once() -> None:
    """Owed twice its equity, a lender loses 0.3 of it to a distress of 0.3, not 0.6; under the linear rule it loses 0.6."""
    owed = np.array([[0.0, 2.0], [0.0, 0.0]])
    exactly(debtrank.single_hit(owed, [1, 1], [0.3, 0]).closing, [0.3, 0.3])
    exactly(debtrank.linear(owed, [1, 1], [0.3, 0]).closing, [0.3, 0.6])


@pytest.mark.parametrize(
    ("equity", "shock", "message"),
    [([1, 1], [0, 0, 0], "expected 3 nodes"), ([1, 1, 1], [0, 0, 2], "shocks in"), ([1, 1, np.nan], [0, 0, 0], "finite equities")],
)
def test_faulty_inputs_are_refused(equity: Any, shock: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        debtrank.linear(RING, equity, shock)


# ---------------------------------------------------------------------------------------------------------------------- vulnerability


def test_susceptibility_fluidity_and_diffusion_of_three_banks() -> None:
    """Example in the tests of the R package NetworkRiskMeasures (Cinelli), and by hand.

    A's default costs B 10 of 5 and C 3 of 2, B's costs C 2 of 2; others bear what they lose. Paths to C: A-C, B-C, and A-B-C, which
    counts 1/2!: 2.5 over 2 direct. Silence A and C keeps one path, B none: (1 + 1.5)/2. Silence B and C loses B-C and half of A-B-C.
    """
    matrix = brings_down([[0, 10, 3], [1, 0, 2], [0, 3, 0]], [2, 5, 2])
    assert matrix.tolist() == [[0, 1, 1], [0, 0, 1], [0, 0, 0]]
    exactly(susceptibility(matrix), [0, 1, 1.25])
    exactly(fluidity(matrix), 0.75)
    found = diffusion(matrix)
    exactly(found.start, [1.25, 1, 0])
    exactly(found.intermediate, [0, 0.5, 0])
    exactly(found.total, [1.25, 1.5, 0])


def test_weights_count_paths_by_the_node_they_reach() -> None:
    """Weights 10, 100, 30: one path to B, 2.5 to C. A starts B's and 1.5 of C's; B starts one of C's, half of one passes it."""
    matrix, weights = brings_down([[0, 10, 3], [1, 0, 2], [0, 3, 0]], [2, 5, 2]), [10, 100, 30]
    exactly(susceptibility(matrix, weights), [0, 100, 75])
    exactly(fluidity(matrix, weights), 175 / 3)
    exactly(diffusion(matrix, weights).start, [145, 30, 0])
    exactly(diffusion(matrix, weights).intermediate, [0, 15, 0])


def test_impacts_are_parts_of_buffers_and_at_most_one() -> None:
    exactly(impacts([[0, 10, 3], [1, 0, 2], [0, 3, 0]], [2, 5, 2]), [[0, 1, 1], [0.5, 0, 1], [0, 0.6, 0]])
