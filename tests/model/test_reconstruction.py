"""Networks from totals: what every reconstruction meets, the two ends of density, and totals that no network has."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.reconstruction import checked_totals, maximum_entropy, minimum_density

type Floats = NDArray[np.float64]


@st.composite
def totals(draw: st.DrawFn) -> tuple[Floats, Floats]:
    """Totals of a network drawn at random, so that there is one."""
    n = draw(st.integers(2, 8))
    flat = np.array(draw(st.lists(st.sampled_from([0, 0, 1, 2, 5, 40]), min_size=n * n, max_size=n * n)), dtype=np.float64)
    loans = flat.reshape(n, n)
    np.fill_diagonal(loans, 0.0)
    return loans.sum(axis=1), loans.sum(axis=0)


@given(totals(), st.integers(0, 100))
@settings(max_examples=200, deadline=None)
def test_minimum_density_meets_its_totals_with_few_loans_and_none_to_oneself(case: tuple[Floats, Floats], seed: int) -> None:
    lent, borrowed = case
    loans = minimum_density(lent, borrowed, np.random.default_rng(seed))
    np.testing.assert_allclose(loans.sum(axis=1), lent, atol=1e-9)
    np.testing.assert_allclose(loans.sum(axis=0), borrowed, atol=1e-9)
    assert (loans >= 0).all()
    assert not loans.diagonal().any()
    assert (loans > 1e-9).sum() <= 2 * lent.size


@given(st.integers(3, 10), st.integers(0, 1000))
@settings(max_examples=100, deadline=None)
def test_maximum_entropy_meets_its_totals_and_is_a_product_off_the_diagonal(n: int, seed: int) -> None:
    """x_ij = u_i v_j for i ≠ j: then x_ij x_kl = x_il x_kj for any four different nodes."""
    rng = np.random.default_rng(seed)
    truth = rng.exponential(size=(n, n)) + 0.1
    np.fill_diagonal(truth, 0.0)
    lent, borrowed = truth.sum(axis=1), truth.sum(axis=0)
    loans = maximum_entropy(lent, borrowed)
    np.testing.assert_allclose(loans.sum(axis=1), lent, rtol=1e-9)
    np.testing.assert_allclose(loans.sum(axis=0), borrowed, rtol=1e-9)
    assert not loans.diagonal().any()
    assert (loans[~np.eye(n, dtype=bool)] > 0).all()
    if n > 3:
        assert loans[0, 2] * loans[1, 3] == pytest.approx(loans[0, 3] * loans[1, 2], rel=1e-9)


def test_equal_totals_are_shared_equally() -> None:
    """Four that lend and borrow 3 each: 1 to each of the others."""
    np.testing.assert_allclose(maximum_entropy([3, 3, 3, 3], [3, 3, 3, 3]), 1 - np.eye(4), atol=1e-12)


def test_three_nodes_leave_no_choice_but_one_loan_and_its_return() -> None:
    """A lends 3 and borrows nothing, B lends 1 and borrows 2, C borrows 2: A to B 2, A to C 1, B to C 1 is the only network."""
    only = [[0, 2, 1], [0, 0, 1], [0, 0, 0]]
    np.testing.assert_allclose(maximum_entropy([3, 1, 0], [0, 2, 2]), only, atol=1e-9)
    np.testing.assert_allclose(minimum_density([3, 1, 0], [0, 2, 2], np.random.default_rng(0)), only, atol=1e-12)


def test_the_sparse_network_has_far_fewer_loans_than_the_even_one() -> None:
    """30 nodes: 870 loans, and at most 60."""
    lent, borrowed = np.random.default_rng(0).lognormal(size=(2, 30))
    assert (maximum_entropy(lent, borrowed) > 0).sum() == 870
    assert (minimum_density(lent, borrowed, np.random.default_rng(1)) > 0).sum() <= 60


def test_a_node_left_with_itself_gets_a_loan_of_others_rerouted_through_it() -> None:
    """A and B must trade with C, which lends 2 and borrows 2 of 4: whatever is drawn, A to C, B to C, C to A, C to B."""
    for seed in range(20):
        loans = minimum_density([1, 1, 2], [1, 1, 2], np.random.default_rng(seed))
        np.testing.assert_allclose(loans, [[0, 0, 1], [0, 0, 1], [1, 1, 0]], atol=1e-12)


def test_borrowing_is_scaled_to_what_is_lent() -> None:
    _, borrowed = checked_totals([2, 2, 2], [1, 1, 1])
    assert borrowed.tolist() == [2, 2, 2]
    assert not maximum_entropy([0, 0], [0, 0]).any()


@pytest.mark.parametrize(
    ("lent", "borrowed", "message"),
    [
        ([3, 1], [3, 1], "node 0 lends 0.75 and borrows 0.75 of the total, in all above 1"),
        ([1, 1], [1], "as many lent as borrowed"),
        ([1, -1], [1, 1], "finite amounts of at least 0"),
        ([0, 0], [1, 1], "to lend what is borrowed"),
    ],
)
def test_totals_that_no_network_has_are_refused(lent: Any, borrowed: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        maximum_entropy(lent, borrowed)
    with pytest.raises(ValueError, match=message):
        minimum_density(lent, borrowed, np.random.default_rng(0))
