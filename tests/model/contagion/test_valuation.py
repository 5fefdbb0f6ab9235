"""Network valuation: published equities, clearing as a valuation, and closed forms against simulation."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.integrate import quad

from model.contagion import clear, rogers_veraart
from model.contagion.debtrank import linear
from model.contagion.valuation import (
    Book,
    Valuation,
    black_cox_value,
    default_probability,
    eisenberg_noe_value,
    furfine_value,
    linear_value,
    merton_value,
    rogers_veraart_value,
    value,
)

type Floats = NDArray[np.float64]

LENT = np.array([[0, 0.5, 0], [0, 0, 0.5], [0.5, 0, 0]])
BOOK = Book.of(LENT.T, [10, 5, 3], [9, 4, 2])
"""Three banks from the data of the package neva (Barucca et al. 2020), each with equity 1."""


def exactly(found: Any, expected: Any) -> None:
    """Equal to 1e-9."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)


PUBLISHED: list[tuple[float, list[float], list[float], list[float]]] = [
    # shock; equities of Eisenberg and Noe, Furfine (nothing recovered), linear DebtRank
    (0.02, [0.8, 0.9, 0.94], [0.8, 0.9, 0.94], [0.6971428571, 0.7942857143, 0.7885714286]),
    (0.05, [0.5, 0.75, 0.85], [0.5, 0.75, 0.85], [0.2428571429, 0.4857142857, 0.4714285714]),
    (0.15, [-0.5, 0.25, 0.5236842105], [-0.5, 0.25, 0.05], [-1.0, -0.225, 0.05]),
    (0.30, [-2.0557377049, -0.5016393443, -0.0081967213], [-2.5, -1.0, -0.4], [-2.5, -1.0, -0.4]),
    (0.50, [-4.1826697892, -1.644028103, -0.7201405152], [-4.5, -2.0, -1.0], [-4.5, -2.0, -1.0]),
]
"""Computed apart, to ten digits, with neva agreeing to its own tolerance. At shocks 0.1 and 0.2 Furfine stands on a knife's edge."""


@pytest.mark.parametrize(("shock", "noe", "furfine", "debtrank"), PUBLISHED)
def test_ring_of_barucca_et_al_under_three_valuations(shock: float, noe: list[float], furfine: list[float], debtrank: list[float]) -> None:
    after = BOOK.after(shock * BOOK.external_assets)
    exactly(value(after, eisenberg_noe_value(after)).equity, noe)
    exactly(value(after, furfine_value(0.0)).equity, furfine)
    exactly(value(after, linear_value([1, 1, 1])).equity, debtrank)


@pytest.mark.parametrize(
    ("shock", "noe", "debtrank"),
    [(0.10, [0.0, 0.5, 0.7], [-0.45, 0.1, 0.2]), (0.20, [-1.0, 0.0, 0.3473684211], [-1.5, -0.5, -0.1])],
)
def test_continuous_valuations_do_not_mind_an_equity_of_exactly_zero(shock: float, noe: list[float], debtrank: list[float]) -> None:
    after = BOOK.after(shock * BOOK.external_assets)
    exactly(value(after, eisenberg_noe_value(after)).equity, noe)
    exactly(value(after, linear_value([1, 1, 1])).equity, debtrank)


def test_linear_valuation_and_debtrank_tell_the_same_story() -> None:
    """1 - E/E(0) where equity is left, 1 where it is not."""
    loss = 0.15 * BOOK.external_assets
    equity = value(BOOK.after(loss), linear_value([1, 1, 1])).equity
    distress = linear(LENT.T, [1, 1, 1], np.minimum(loss, 1.0)).closing
    exactly(distress, np.minimum(1 - equity, 1))


@st.composite
def books(draw: st.DrawFn) -> Book:
    n = draw(st.integers(2, 6))
    amounts = np.array(draw(st.lists(st.integers(0, 8), min_size=n * n + 2 * n, max_size=n * n + 2 * n)), dtype=np.float64) / 2
    L = amounts[: n * n].reshape(n, n)
    np.fill_diagonal(L, 0.0)
    return Book.of(L, amounts[n * n : n * n + n], amounts[n * n + n :] + 0.5)


@given(books(), st.sampled_from([(1.0, 1.0), (0.5, 0.7)]))
@settings(max_examples=200, deadline=None)
def test_valuation_and_clearing_find_the_same_equities(book: Book, rates: tuple[float, float]) -> None:
    """Two independent ways to the greatest solution: down by valuation, and by the fictitious default algorithm."""
    cleared = clear(book.liabilities, book.external_assets, book.external_liabilities, rule=rogers_veraart(*rates))
    margins = np.abs(cleared.equity)
    if ((margins > 0) & (margins < 1e-9)).any() and rates != (1.0, 1.0):
        return  # with costs, solvency by a rounding error is a knife's edge
    valued = value(book, rogers_veraart_value(book, *rates))
    np.testing.assert_allclose(valued.equity, cleared.equity, atol=1e-8)


@given(books(), st.floats(0.01, 1.0), st.floats(0.0, 1.0))
@settings(max_examples=100, deadline=None)
def test_no_valuation_is_above_face_value_and_each_is_a_fixed_point(book: Book, deviation: float, recovery: float) -> None:
    make: list[Valuation] = [eisenberg_noe_value(book), black_cox_value(book, deviation, recovery), merton_value(book, deviation)]
    for valuation in make:
        found = value(book, valuation)
        assert (found.values <= 1.0).all()
        assert (found.values >= 0.0).all()
        assert (valuation(found.equity) >= found.values - 1e-9).all()
        exactly(np.minimum(valuation(found.equity), 1.0), found.values)


def test_probability_of_default_is_that_of_a_path_that_touches_its_barrier() -> None:
    """200,000 paths of a driftless geometric Brownian motion from 10, deviation 0.3; equity 2 is gone when it touches 8.

    Between 50 points the chance of a touch is that of a Brownian bridge, exp(-2 a b / variance), a and b the distances from the barrier.
    """
    rng, steps, s = np.random.default_rng(5), 50, 0.3
    walk = np.cumsum(rng.standard_normal((200_000, steps)) * s / np.sqrt(steps) - s**2 / 2 / steps, axis=1)
    above = np.maximum(np.hstack([np.zeros((len(walk), 1)), walk]) - np.log(0.8), 0.0)
    survival = np.prod(-np.expm1(-2 * above[:, :-1] * above[:, 1:] / (s**2 / steps)), axis=1)
    error = survival.std() / np.sqrt(len(walk))
    found = float(default_probability(np.array([2.0]), np.array([10.0]), s)[0])
    assert 1 - found == pytest.approx(survival.mean(), abs=5 * error)


@pytest.mark.parametrize(("equity", "expected"), [(-1.0, 1.0), (0.0, 1.0), (10.0, 0.0), (12.0, 0.0)])
def test_probability_of_default_at_its_ends(equity: float, expected: float) -> None:
    assert default_probability(np.array([equity]), np.array([10.0]), 0.2)[0] == expected


@pytest.mark.parametrize("equity", [-3.0, -0.5, 0.0, 1.0, 6.0, 11.0])
def test_expected_recovery_is_the_integral_over_what_assets_may_come_to(equity: float) -> None:
    """Assets 10, debts 7, deviation 0.4: E[min(1, max(0, (A_T - 10 + E + 7)/7))] by quadrature over a standard normal."""
    book = Book.of([[0, 3], [0, 0]], [10, 1], [4, 1])
    found = merton_value(book, 0.4)(np.array([equity, 1.0]))[0]

    def recovered(z: float) -> float:
        assets = 10 * np.exp(0.4 * z - 0.08)
        return float(np.clip((assets - 10 + equity + 7) / 7, 0, 1) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi))

    kinks = [(np.log(k / 10) + 0.08) / 0.4 for k in (3 - equity, 10 - equity) if k > 0]
    expected, _ = quad(recovered, -12, 12, points=kinks, epsabs=1e-12, limit=200)
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("make", [lambda book: merton_value(book, 1e-9), eisenberg_noe_value])
def test_without_uncertainty_expected_recovery_is_eisenberg_and_noes(make: Callable[[Book], Valuation]) -> None:
    after = BOOK.after(0.3 * BOOK.external_assets)
    np.testing.assert_allclose(value(after, make(after)).equity, PUBLISHED[3][1], atol=1e-7)


def test_uncertainty_makes_claims_worth_less_before_anybody_defaults() -> None:
    calm, wild = (value(BOOK, black_cox_value(BOOK, s, 0.4)).equity for s in (0.02, 0.2))
    assert (wild < calm).all()
    assert (value(BOOK, merton_value(BOOK, 0.2)).equity < 1.0).all()


def test_a_loss_beyond_all_assets_leaves_none() -> None:
    assert Book.of(np.zeros((2, 2)), [10.0, 5.0], [1.0, 1.0]).after([12.0, 2.0]).external_assets.tolist() == [0.0, 3.0]


def test_under_furfines_rule_a_debtor_without_equity_has_failed() -> None:
    assert furfine_value(0.4)(np.array([-1.0, 0.0, 1e-9])).tolist() == [0.4, 0.4, 1.0]
