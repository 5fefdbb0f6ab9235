"""Clearing vectors: published examples, an independent linear programme, and what must hold on any network."""

from typing import Any, NamedTuple, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog

from model.contagion import Clearing, Seniority, clearing_vector

type Floats = NDArray[np.float64]

SENIORITIES: tuple[Seniority, ...] = ("pari_passu", "external_senior", "interbank_senior")


def exactly(found: Any, expected: Any) -> None:
    """Equal to 1e-9."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)


class Net(NamedTuple):
    """One clearing problem."""

    L: Floats
    e: Floats
    b: Floats
    alpha: float = 1.0
    beta: float = 1.0
    seniority: Seniority = "pari_passu"

    def clear(self, **changes: Any) -> Clearing:
        net = self._replace(**changes)
        return clearing_vector(net.L, net.e, net.b, alpha=net.alpha, beta=net.beta, seniority=net.seniority)

    def step(self, y: Floats, external: Floats) -> tuple[Floats, Floats]:
        """One application of the payment rule, written independently: shares paid within the network, and amounts paid outside."""
        within, receipts = self.L.sum(axis=1), self.L.T @ y
        nominal = within + self.b
        failed = self.e + receipts < nominal * (1 - 1e-12)
        estate = self.alpha * self.e + self.beta * receipts
        if self.seniority == "pari_passu":
            inside = estate * np.divide(within, nominal, out=np.zeros_like(within), where=nominal > 0)
        elif self.seniority == "external_senior":
            inside = np.maximum(estate - self.b, 0)
        else:
            inside = np.minimum(estate, within)
        share = np.divide(inside, within, out=np.ones_like(within), where=within > 0)
        return np.where(failed, share, 1.0), np.where(failed, estate - inside, self.b)


@st.composite
def nets(draw: st.DrawFn, *, costs: bool = True) -> Net:
    """Two to six nodes, amounts in halves so that exact ties (equity of zero, closed groups without assets) come up often."""
    n = draw(st.integers(2, 6))
    half = st.sampled_from([0, 0, 0, 1, 2, 3, 5, 8])
    amounts = np.array(draw(st.lists(half, min_size=n * n + 2 * n, max_size=n * n + 2 * n)), dtype=np.float64) / 2
    L = amounts[: n * n].reshape(n, n)
    np.fill_diagonal(L, 0.0)
    rate = st.sampled_from([1.0, 0.9, 0.5]) if costs else st.just(1.0)
    return Net(L, amounts[n * n : n * n + n], amounts[n * n + n :], draw(rate), draw(rate), draw(st.sampled_from(SENIORITIES)))


def random_net(n: int, degree: float, seed: int) -> tuple[sparse.csr_array[np.float64], Floats, Floats]:
    """A sparse network in which about half of the nodes default, with heavy-tailed debts."""
    rng = np.random.default_rng(seed)
    size = int(degree * n)
    owes, to = rng.integers(n, size=size), rng.integers(n, size=size)
    owed = sparse.csr_array((np.where(owes == to, 0.0, rng.lognormal(0, 1.5, size)), (owes, to)), shape=(n, n))
    out, due = owed.sum(axis=1), owed.sum(axis=0)
    return owed, np.maximum(1.3 * out - due, 0.0) * rng.uniform(0.5, 1.2, n), 0.2 * out


# ---------------------------------------------------------------------------------------------------------------- published examples

GANDY_VERAART = Net(np.array([[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]]), np.array([0.5, 0.625, 0.75]), np.array([1.5, 0.5, 0.5]))
"""The network in the manual of the R package systemicrisk (Gandy and Veraart), function default_clearing, with x = 0.5."""


def test_gandy_veraart_without_costs_two_banks_fail_in_two_waves() -> None:
    """Network from systemicrisk's manual; the clearing vector was worked out by hand.

    Bank 3 pays 3/2, a third of it to each other bank. p1 = 1/2 + p2/3 + 1/2 and p2 = 5/8 + p1/5 + 1/2, hence
    p1 = 1 + 3/8 + p1/15 = (11/8)(15/14) = 165/112 and p2 = 9/8 + 33/112 = 159/112. Equity of bank 3 is 3/4 + 33/112 + 53/112 - 3/2 = 1/56.
    At full payment bank 1 has 1.5 of 2.5 and fails; banks 2 and 3 have 1.625 and 1.75 of 1.5. Then bank 2 fails.
    """
    found = GANDY_VERAART.clear()
    exactly(found.payments, [165 / 112, 159 / 112, 3 / 2])
    exactly(found.equity, [-115 / 112, -9 / 112, 1 / 56])
    exactly(found.equity_limited, [0, 0, 1 / 56])
    assert found.defaulted.tolist() == [True, True, False]
    assert found.waves.tolist() == [1, 2, -1]
    # 165/112 of 5/2 is 33/56; 3/5 of what bank 1 pays goes outside
    exactly(found.recovery, [33 / 56, 53 / 56, 1])
    exactly(found.external_payments, [99 / 112, 53 / 112, 1 / 2])


def test_gandy_veraart_with_costs_all_fail_in_two_waves() -> None:
    """systemicrisk's own second example, alpha = 0.5 and beta = 0.7; its result was computed apart, as the solution of three equations.

    p1 = 0.25 + 0.7 (p2 + p3)/3, p2 = 0.3125 + 0.7 (p1/5 + p3/3), p3 = 0.375 + 0.7 (p1/5 + p2/3).
    """
    found = GANDY_VERAART.clear(alpha=0.5, beta=0.7)
    exactly(found.payments, [0.5020199620, 0.5147049378, 0.5653806135])
    assert found.defaulted.all()
    assert found.waves.tolist() == [1, 2, 2]


@pytest.mark.parametrize(
    ("first", "alpha", "beta", "payments"),
    [(2.0, 0.5, 0.5, [2.0, 2.2]), (2.2, 0.5, 0.5, [2.2, 2.2]), (2.2, 1.0, 1.0, [2.2, 2.2])],
)
def test_rogers_veraart_example_3_3_pays_in_full_where_iteration_from_zero_would_not(
    first: float, alpha: float, beta: float, payments: list[float]
) -> None:
    """Rogers and Veraart (2013), Example 3.3: each bank has 1 and the debts cross.

    With 2.2 each, assets are 1 + 2.2 > 2.2: full payment clears. So does (1, 1) with costs: 0.5 + 0.5 x 1 = 1. The greatest is asked for.
    """
    found = clearing_vector([[0, first], [2.2, 0]], [1, 1], alpha=alpha, beta=beta)
    exactly(found.payments, payments)
    assert not found.defaulted.any()


def test_rogers_veraart_ring_of_section_5_1_fails_in_two_waves() -> None:
    """Rogers and Veraart (2013), section 5.1, six banks in a ring, a = 2, epsilon = 1, gamma = 0.4, alpha = beta = 1/2.

    Odd banks have 0 and owe 2, even banks have 0.8 and owe 3. Even: 0.8 + 2 < 3, wave 1. Then they pay x = 0.4 + 1 = 1.4 and odd banks,
    with 1.4 < 2, are wave 2. All failed: odd = even/2, even = 0.4 + odd/2, so even = 0.4/(1 - 1/4) = 8/15, odd = 4/15.
    """
    L = np.zeros((6, 6))
    for bank in range(6):
        L[bank, (bank + 1) % 6] = 2.0 + bank % 2
    found = clearing_vector(L, [0, 0.8] * 3, alpha=0.5, beta=0.5)
    exactly(found.payments, [4 / 15, 8 / 15] * 3)
    assert found.waves.tolist() == [2, 1] * 3
    exactly(found.costs, [4 / 15, 0.4 + 2 / 15] * 3)  # half of what an odd bank gets; 0.8/2 + (4/15)/2


def test_mutual_debt_without_assets_is_paid_in_full_as_the_greatest_solution() -> None:
    """Eisenberg and Noe (2001), appendix 2: on mere promises every t (1, 1) clears; a cent makes (1, 1) the only one."""
    for assets in ([0.0, 0.0], [0.01, 0.0]):
        found = clearing_vector([[0, 1], [1, 0]], assets)
        exactly(found.payments, [1, 1])
        assert not found.defaulted.any()


@pytest.mark.parametrize(
    ("shock", "equity"),
    [
        (0.02, [0.8, 0.9, 0.94]),
        (0.05, [0.5, 0.75, 0.85]),
        (0.10, [0.0, 0.5, 0.7]),
        (0.15, [-0.5, 0.25, 0.05 + 9 / 19]),  # bank 1 has 9 of 9.5, so bank 3 gets 9/19 of its half
        (0.20, [-1.0, 0.0, 0.3473684211]),  # bank 2 has exactly what it owes: no default
        (0.30, [-2.0557377049, -0.5016393443, -0.0081967213]),
        (0.50, [-4.1826697892, -1.6440281030, -0.7201405152]),
    ],
)
def test_ring_of_barucca_et_al_has_their_eisenberg_noe_equities(shock: float, equity: list[float]) -> None:
    """Three banks from the data of the package neva (Barucca et al. 2020, Mathematical Finance 30(4)); equities computed apart."""
    lent = np.array([[0, 0.5, 0], [0, 0, 0.5], [0.5, 0, 0]])
    found = clearing_vector(lent.T, np.array([10, 5, 3]) * (1 - shock), [9, 4, 2])
    exactly(found.equity, equity)
    assert found.defaulted.tolist() == [value < 0 for value in equity]


@pytest.mark.parametrize(
    ("seniority", "equity", "payments", "external"),
    [
        # Bank 1 has 18 + 2 of 21. Shared alike, bank 2 gets 20/21 of 4: 18 + 80/21 - 21 = 17/21.
        ("pari_passu", [-1, 17 / 21, 2], [20, 21, 10], [17 * 20 / 21, 18, 8]),
        # Outsiders take 17 of the 20, so bank 2 gets 3: 18 + 3 - 21 = 0, which is not a default.
        ("external_senior", [-1, 0, 2], [20, 21, 10], [17, 18, 8]),
        # Bank 2 gets its 4: 18 + 4 - 21 = 1; outsiders get 16 of 17.
        ("interbank_senior", [-1, 1, 2], [20, 21, 10], [16, 18, 8]),
    ],
)
def test_seniority_decides_who_bears_bank_1s_shortfall(
    seniority: Seniority, equity: list[float], payments: list[float], external: list[float]
) -> None:
    """The ring of P. Barucca's exercise on Eisenberg and Noe, shocked by 10 %; its code treats interbank debt as junior."""
    found = clearing_vector([[0, 4, 0], [0, 0, 3], [2, 0, 0]], [18, 18, 9], [17, 18, 8], seniority=seniority)
    exactly(found.equity, equity)
    exactly(found.payments, payments)
    exactly(found.external_payments, external)
    assert found.defaulted.tolist() == [True, False, False]


def test_a_closed_pair_with_more_senior_debt_than_assets_runs_down_to_nothing() -> None:
    """Constructed. Each has 1 and owes 10 to the other; outsiders are owed 1.5 and 0.8 first, 2.3 of 2 in the pair.

    Were both to pay something, x1 = 1 + x2 - 1.5 and x2 = 1 + x1 - 0.8 would need 0 = -0.3. So x1 = 0, x2 = 1 + 0 - 0.8 = 0.2, and bank 1
    has 1.2 for its outsiders.
    """
    found = clearing_vector([[0, 10], [10, 0]], [1, 1], [1.5, 0.8], seniority="external_senior")
    exactly(found.payments, [1.2, 1.0])
    exactly(found.matrix().toarray(), [[0, 0], [0.2, 0]])


def test_a_node_that_owes_nothing_never_defaults_and_one_with_nothing_pays_nothing() -> None:
    """Constructed. Node 1 owes 2 and 1 to outsiders and has nothing; node 2 owes nothing."""
    found = clearing_vector([[0, 2], [0, 0]], [0, 0], [1, 0])
    assert found.payments.tolist() == [0, 0]
    assert found.recovery.tolist() == [0, 1]
    assert found.waves.tolist() == [1, -1]


# --------------------------------------------------------------------------------------------------------------- independent solutions


@pytest.mark.parametrize("seed", range(8))
def test_eisenberg_noe_equals_their_linear_programme(seed: int) -> None:
    """Maximise total payments under p <= e + Pi' p and 0 <= p <= nominal (Eisenberg and Noe 2001, Lemma 4)."""
    owed, e, b = random_net(40, 5, seed)
    nominal = owed.sum(axis=1) + b
    share = np.divide(owed.toarray(), nominal[:, None], out=np.zeros(owed.shape), where=nominal[:, None] > 0)
    best = linprog(-np.ones(40), A_ub=np.eye(40) - share.T, b_ub=e, bounds=[(0.0, float(most)) for most in nominal])
    found = clearing_vector(owed, e, b)
    assert best.x is not None
    assert found.defaulted.any()
    assert not found.defaulted.all()
    np.testing.assert_allclose(found.payments, best.x, atol=1e-6)


@pytest.mark.parametrize("seniority", SENIORITIES)
@pytest.mark.parametrize("rate", [1.0, 0.7])
def test_large_networks_solved_iteratively_agree_with_plain_iteration(seniority: Seniority, rate: float) -> None:
    owed, e, b = random_net(3000, 6, 1)
    found = clearing_vector(owed, e, b, alpha=rate, beta=rate, seniority=seniority)
    assert 600 < found.defaulted.sum() < 3000  # more than are solved densely
    net = Net(cast("Floats", owed), e, b, rate, rate, seniority)
    y, outside = np.ones(3000), b
    for _ in range(400):
        y, outside = net.step(y, outside)
    exactly(found.interbank_recovery, y)
    np.testing.assert_allclose(found.external_payments, outside, rtol=1e-9)


def test_a_hundred_thousand_nodes_with_a_million_debts_clear_to_a_fixed_point() -> None:
    owed, e, b = random_net(100_000, 10, 0)
    found = clearing_vector(owed, e, b)
    assert 20_000 < found.defaulted.sum() < 100_000
    share, outside = Net(cast("Floats", owed), e, b).step(found.interbank_recovery, found.external_payments)
    np.testing.assert_allclose(found.interbank_recovery, share, atol=1e-10)
    np.testing.assert_allclose(found.external_payments, outside, rtol=1e-9)


def test_a_long_ring_fed_at_one_node_decays_geometrically() -> None:
    """Constructed. Everyone owes 1 to the next and c = 0.001 outside; only node 0 has assets, 0.5: all fail at once.

    y_i (1 + c) = y_(i-1), so y_i = y_0 q^i with q = 1/(1 + c), and y_0 (1 + c) = 0.5 + y_(n-1) gives y_0 = 0.5 q / (1 - q^n).
    """
    n, c = 2000, 0.001
    q = 1 / (1 + c)
    ring = sparse.csr_array((np.ones(n), (np.arange(n), (np.arange(n) + 1) % n)), shape=(n, n))
    assets = np.zeros(n)
    assets[0] = 0.5
    found = clearing_vector(ring, assets, np.full(n, c))
    assert set(found.waves[1:]) == {1}
    exactly(found.recovery, 0.5 * q / (1 - q**n) * q ** np.arange(n))


# ---------------------------------------------------------------------------------------------------------------------- what must hold


@given(nets())
@settings(max_examples=200, deadline=None)
def test_payments_are_a_fixed_point_under_limited_liability(net: Net) -> None:
    found = net.clear()
    share, outside = net.step(found.interbank_recovery, found.external_payments)
    exactly(found.interbank_recovery, share)
    exactly(found.external_payments, outside)
    assets = net.e + found.receipts
    assert (found.payments >= 0).all()
    assert (found.payments <= np.minimum(assets, found.nominal) + 1e-9).all()
    np.testing.assert_array_equal(found.defaulted, found.payments < found.nominal * (1 - 1e-12))
    np.testing.assert_array_equal(found.defaulted, found.waves > 0)


@given(nets())
@settings(max_examples=200, deadline=None)
def test_money_paid_is_money_received(net: Net) -> None:
    found = net.clear()
    paid = found.matrix().toarray()
    exactly(paid.sum(axis=1) + found.external_payments, found.payments)
    exactly(paid.sum(axis=0), found.receipts)
    assert (paid <= net.L + 1e-12).all()
    # what there was = what is left + what left the network + what bankruptcy destroyed
    exactly(net.e.sum(), found.equity_limited.sum() + found.external_payments.sum() + found.costs.sum())


@given(nets())
@settings(max_examples=200, deadline=None)
def test_no_iteration_from_zero_comes_out_above_the_greatest_solution(net: Net) -> None:
    """Where several vectors clear, iteration from zero finds the least; from full payment it comes down to the greatest."""
    found = net.clear()
    low, outside_low = np.zeros(len(net.e)), np.zeros(len(net.e))
    high, outside_high = np.ones(len(net.e)), net.b
    for _ in range(300):
        low, outside_low = net.step(low, outside_low)
        high, outside_high = net.step(high, outside_high)
    assert (low <= found.interbank_recovery + 1e-9).all()
    assert (found.interbank_recovery <= high + 1e-9).all()
    settled = np.abs(net.step(high, outside_high)[0] - high).max() < 1e-13
    if settled:
        exactly(found.interbank_recovery, high)


@given(nets(), st.integers(0, 5), st.sampled_from([0.5, 1.0, 4.0]))
@settings(max_examples=200, deadline=None)
def test_more_assets_never_lower_a_payment_nor_add_a_default(net: Net, who: int, gift: float) -> None:
    richer = net.e.copy()
    richer[who % len(richer)] += gift
    before, after = net.clear(), net.clear(e=richer)
    assert (after.payments >= before.payments - 1e-9).all()
    assert not (after.defaulted & ~before.defaulted).any()


@given(nets(), st.sampled_from([0.9, 0.5]))
@settings(max_examples=100, deadline=None)
def test_costs_of_bankruptcy_never_help(net: Net, rate: float) -> None:
    costly = net.clear(alpha=net.alpha * rate, beta=net.beta * rate)
    assert (costly.payments <= net.clear().payments + 1e-9).all()


@given(nets(costs=False))
@settings(max_examples=100, deadline=None)
def test_rogers_veraart_tends_to_eisenberg_noe_without_costs(net: Net) -> None:
    """At alpha = beta = 1 nothing is destroyed; first-wave defaults do not depend on either rate."""
    plain, costly = net.clear(), net.clear(alpha=0.5, beta=0.5)
    exactly(plain.costs, 0.0)
    np.testing.assert_array_equal(plain.waves == 1, costly.waves == 1)


@given(nets(), st.permutations(range(6)))
@settings(max_examples=100, deadline=None)
def test_renumbering_the_nodes_renumbers_the_answer(net: Net, numbers: list[int]) -> None:
    order = [node for node in numbers if node < len(net.e)]
    found, moved = net.clear(), net.clear(L=net.L[np.ix_(order, order)], e=net.e[order], b=net.b[order])
    exactly(moved.payments, found.payments[order])
    np.testing.assert_array_equal(moved.waves, found.waves[order])


@given(nets(), st.sampled_from([1e-6, 1e9]))
@settings(max_examples=50, deadline=None)
def test_the_unit_of_money_does_not_matter(net: Net, unit: float) -> None:
    found, scaled = net.clear(), net.clear(L=net.L * unit, e=net.e * unit, b=net.b * unit)
    exactly(scaled.payments / unit, found.payments)
    np.testing.assert_array_equal(scaled.waves, found.waves)


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"])
@pytest.mark.parametrize("wrap", [sparse.coo_array, sparse.coo_matrix])
def test_any_sparse_matrix_gives_what_the_dense_one_gives_and_is_left_alone(kind: Any, wrap: Any) -> None:
    given_matrix = wrap(GANDY_VERAART.L).asformat(kind)
    found = clearing_vector(given_matrix, GANDY_VERAART.e, GANDY_VERAART.b)
    np.testing.assert_array_equal(found.payments, GANDY_VERAART.clear().payments)
    np.testing.assert_array_equal(given_matrix.toarray(), GANDY_VERAART.L)


def test_an_empty_network_clears() -> None:
    assert clearing_vector(np.zeros((0, 0)), []).payments.shape == (0,)


# ------------------------------------------------------------------------------------------------------------------------- bad inputs

PAIR = [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"liabilities": [[0, 1, 2], [1, 0, 2]]}, r"liabilities: expected a square matrix, found shape \(2, 3\)"),
        ({"liabilities": [0, 1]}, "liabilities: expected a square matrix"),
        ({"liabilities": [[0, 1], [1]]}, "liabilities: expected numbers, found rows of different lengths"),
        ({"liabilities": [[0, "a"], [1, 0]]}, "liabilities: expected numbers"),
        ({"liabilities": [[0, 1j], [1, 0]]}, "liabilities: expected numbers, found complex128"),
        ({"liabilities": sparse.csr_array(np.array([[0, 1j], [1, 0]]))}, "liabilities: expected numbers, found complex128"),
        ({"liabilities": [[0, -1], [1, 0]]}, r"liabilities: expected finite amounts of at least 0, found -1.0 at \(0, 1\)"),
        ({"liabilities": sparse.csr_array(np.array([[0, 1], [np.nan, 0]]))}, r"found nan at \(1, 0\)"),
        ({"liabilities": [[0, np.inf], [1, 0]]}, r"found inf at \(0, 1\)"),
        ({"liabilities": [[0, 1], [1, 3]]}, r"liabilities: expected a zero diagonal, found that node 1 owes itself 3.0"),
        ({"liabilities": [[0, 1.5e308, 1.5e308], [0, 0, 0], [0, 0, 0]], "external_assets": [1, 1, 1]}, "totals are finite"),
        ({"external_assets": [1]}, r"external_assets: expected shape \(2,\), found \(1,\)"),
        ({"external_assets": [[1], [1]]}, "external_assets: expected shape"),
        ({"external_assets": [1, -0.5]}, "external_assets: expected finite amounts of at least 0, found -0.5 at node 1"),
        ({"external_assets": [np.nan, 1]}, "external_assets: .* found nan at node 0"),
        ({"external_liabilities": [1, 2, 3]}, "external_liabilities: expected shape"),
        ({"external_liabilities": [-1, 2]}, "external_liabilities: expected finite amounts"),
        ({"alpha": 0.0}, r"alpha: expected a share in \(0, 1\], found 0.0"),
        ({"beta": 1.1}, r"beta: expected a share in \(0, 1\]"),
        ({"alpha": float("nan")}, "alpha: expected a share"),
        ({"seniority": "junior"}, "seniority: expected one of pari_passu, external_senior, interbank_senior, found 'junior'"),
    ],
)
def test_a_faulty_input_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {"liabilities": PAIR, "external_assets": [1, 1], **changes}
    with pytest.raises(ValueError, match=message):
        clearing_vector(**arguments)
