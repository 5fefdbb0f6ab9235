"""Threshold cascades: Furfine's and Gai and Kapadia's, by hand and beside clearing."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.contagion import clear
from model.contagion.cascades import cascade, furfine, gai_kapadia

type Floats = NDArray[np.float64]


def test_a_chain_falls_one_wave_at_a_time_until_somebody_can_bear_it() -> None:
    """0 fails; 1 loses 3 of 2; 2 loses 4 of 4, which is all it has; 3 loses 5 of 6."""
    L = np.zeros((4, 4))
    L[0, 1], L[1, 2], L[2, 3] = 3, 4, 5
    found = furfine(L, [1, 2, 4, 6], [True, False, False, False])
    assert found.waves.tolist() == [1, 2, 3, -1]
    assert found.losses.tolist() == [0, 3, 4, 5]
    assert found.generations == [1, 1, 1]
    # a quarter recovered: 1 loses 2.25 of 2, 2 loses 3 of 4
    assert furfine(L, [1, 2, 4, 6], [True, False, False, False], recovery=0.25).waves.tolist() == [1, 2, -1, -1]


@pytest.mark.parametrize("recovery", [0.0, 0.4])
def test_all_three_banks_of_gandy_and_veraart_fall_in_sequence(recovery: float) -> None:
    """Equities at face value -1, 1/8, 1/4 (systemicrisk's manual): bank 1 fails alone, the others lose 0.6 of a half or more of it."""
    L = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]
    assert furfine(L, [-1, 0.125, 0.25], recovery=recovery).waves.tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("shock", "equity"),
    [
        (0.02, [0.8, 0.9, 0.94]),
        (0.05, [0.5, 0.75, 0.85]),
        (0.15, [-0.5, 0.25, 0.05]),
        (0.30, [-2.5, -1.0, -0.4]),
        (0.50, [-4.5, -2.0, -1.0]),
    ],
)
def test_ring_of_barucca_et_al_has_furfines_equities(shock: float, equity: list[float]) -> None:
    """Data of the package neva; equities computed apart. At 0.1 and 0.2 an equity is exactly zero, a knife's edge: left out."""
    lent = np.array([[0, 0.5, 0], [0, 0, 0.5], [0.5, 0, 0]])
    before = np.array([1.0, 1.0, 1.0]) - shock * np.array([10, 5, 3])
    found = furfine(lent.T, before)
    np.testing.assert_allclose(before - found.losses, equity, atol=1e-9)


def test_a_bank_with_few_debtors_is_more_fragile() -> None:
    """Capital 4 %, interbank assets 20 %: one failed debtor of four costs 5 %, one of six 3.3 %, two of six 6.7 %."""
    debts = np.zeros((8, 8))
    debts[0:4, 6] = 1
    debts[0:6, 7] = 1
    assert gai_kapadia(debts, 0.04, 0.2, np.arange(8) < 1).waves[6:].tolist() == [2, -1]
    assert gai_kapadia(debts, 0.04, 0.2, np.arange(8) < 2).waves[6:].tolist() == [2, 2]


@given(
    st.integers(2, 7).flatmap(
        lambda n: st.tuples(
            st.lists(st.floats(0, 4), min_size=n * n, max_size=n * n),
            st.lists(st.floats(0.125, 8), min_size=n, max_size=n),
            st.lists(st.floats(0, 6), min_size=n, max_size=n),
        )
    )
)
@settings(max_examples=200, deadline=None)
def test_sequential_default_without_recovery_is_at_least_as_bad_as_clearing(case: tuple[list[float], list[float], list[float]]) -> None:
    """Whoever clearing finds in default has lost no more than whole claims on others in default, all of which Furfine takes from it."""
    flat, capital, shock = (np.array(values) for values in case)
    n = capital.size
    L = flat.reshape(n, n)
    np.fill_diagonal(L, 0.0)
    gap = L.sum(axis=1) - L.sum(axis=0)
    e = np.maximum(gap + capital, 0.0)
    b = np.maximum(-gap - capital, 0.0)
    after = np.maximum(e - shock, 0.0)
    left = after + L.sum(axis=0) - L.sum(axis=1) - b
    cleared = clear(L, after, b)
    assert not (cleared.defaulted & ~furfine(L, left).failed & (left < -1e-9)).any()
    assert not (cleared.defaulted & ~furfine(L, left - 1e-9).failed).any()


def test_more_capital_never_adds_a_failure() -> None:
    rng = np.random.default_rng(3)
    L = rng.exponential(size=(30, 30)) * (rng.random((30, 30)) < 0.2)
    np.fill_diagonal(L, 0.0)
    capital = rng.exponential(2.0, 30)
    first = np.arange(30) < 2
    before = furfine(L, capital, first).failed
    assert 2 < before.sum() < 30
    for node in range(30):
        richer = capital + 3.0 * (np.arange(30) == node)
        assert not (furfine(L, richer, first).failed & ~before).any()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: furfine([[0, 1], [0, 0]], [1, 1], recovery=1.5), "recovery: expected a share"),
        (lambda: cascade([[0, 1], [0, 0]], [1]), r"expected shape \(2,\)"),
        (lambda: cascade([[0, -1], [0, 0]], [1, 1]), "weights: expected finite amounts"),
    ],
)
def test_faulty_inputs_are_refused(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_who_can_bear_nothing_fails_alone_and_not_because_of_others() -> None:
    assert cascade(np.zeros((3, 3)), [0.0, 1.0, 1.0], [False, True, False]).waves.tolist() == [1, 1, -1]
