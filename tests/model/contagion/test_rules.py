"""Payment rules: Paddrik, Rajan and Young's in hand-worked cases, against an independent iteration, and beside Eisenberg and Noe's."""

from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

from model.contagion import Clearing, PaymentRule, Seniority, clear, eisenberg_noe, paddrik_rajan_young, rogers_veraart

type Floats = NDArray[np.float64]

SENIORITIES: tuple[Seniority, ...] = ("pari_passu", "external_senior", "interbank_senior")


def exactly(found: Any, expected: Any) -> None:
    """Equal to 1e-9."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-9)


class Net(NamedTuple):
    """A clearing problem with margin."""

    L: Floats
    e: Floats
    b: Floats
    c: Floats
    tau: Floats
    seniority: Seniority = "pari_passu"

    def clear(self, **changes: Any) -> Clearing:
        net = self._replace(**changes)
        return clear(net.L, net.e, net.b, rule=paddrik_rajan_young(net.tau), seniority=net.seniority, margin=net.c)

    def slowly(self, rounds: int) -> tuple[Floats, float]:
        """Paid shares after so many rounds of plain iteration from full payment, an edge at a time, and the last round's change.

        An independent writing of p_ij = (p̄_ij − τ_i a_ij s_i)⁺ with s_i = (p̄_i − b_i − Σ_k min(p̄_ki, c_ki + p_ki))⁺; where external
        creditors are not alike with those within, of p_i = (p̄_i − τ_i s_i)⁺ what they leave.
        """
        n = len(self.e)
        y, change = np.ones(n), np.inf
        for _ in range(rounds):
            nxt = np.ones(n)
            for i in range(n):
                within = sum(self.L[i])
                nominal = within + self.b[i]
                got = sum(min(self.L[k][i], self.c[k][i] + self.L[k][i] * y[k]) for k in range(n))
                stress = max(nominal - self.e[i] - got, 0.0)
                if stress <= 1e-12 * nominal or within == 0:
                    continue
                pays = max(nominal - self.tau[i] * stress, 0.0)
                mine = {"pari_passu": pays * within / nominal, "external_senior": pays - self.b[i], "interbank_senior": pays}
                nxt[i] = min(max(mine[self.seniority] / within, 0.0), 1.0)
            change = float(np.abs(nxt - y).max())
            y = nxt
        return y, change


@st.composite
def nets(draw: st.DrawFn, *, taus: tuple[float, ...] = (0.0, 0.5, 0.9, 1.0, 1.25, 1.5)) -> Net:
    """Two to five nodes, amounts in halves, so that ties come up."""
    n = draw(st.integers(2, 5))
    half = st.sampled_from([0, 0, 0, 1, 2, 3, 5, 8])
    flat = np.array(draw(st.lists(half, min_size=2 * n * n + 2 * n, max_size=2 * n * n + 2 * n)), dtype=np.float64) / 2
    L, c = flat[: n * n].reshape(n, n), flat[n * n : 2 * n * n].reshape(n, n) / 2
    np.fill_diagonal(L, 0.0)
    np.fill_diagonal(c, 0.0)
    tau = np.array(draw(st.lists(st.sampled_from(taus), min_size=n, max_size=n)))
    return Net(L, flat[2 * n * n : 2 * n * n + n], flat[2 * n * n + n :], c, tau, draw(st.sampled_from(SENIORITIES)))


# ------------------------------------------------------------------------------------------------------------------ hand-worked cases


@pytest.mark.parametrize(("tau", "paid", "received"), [(0.5, 8.5, 10.0), (1.0, 7.0, 9.0), (1.5, 5.5, 7.5)])
def test_a_chain_of_variation_margin_passes_on_tau_times_the_shortage(tau: float, paid: float, received: float) -> None:
    """X owes A 10 and pays nothing, A owes B 10. A holds 3 of X's margin and 4 of cash: short by 10 - 3 - 4 = 3, it pays 10 - 3 tau.

    B gets that and draws up to 2 of A's margin: 8.5 + 1.5, 7 + 2, 5.5 + 2.
    """
    L, c = np.zeros((3, 3)), np.zeros((3, 3))
    L[0, 1], L[1, 2], c[0, 1], c[1, 2] = 10, 10, 3, 2
    found = clear(L, [0, 4, 0], rule=paddrik_rajan_young([1.0, tau, 1.0]), margin=c)
    exactly(found.payments, [0, paid, 0])
    exactly(found.receipts, [0, 3, received])
    exactly(found.equity, [-10, -3, received])
    exactly(found.margin_drawn, [3, received - paid, 0])
    # A has 7: at tau = 0.5 a reserve adds 1.5, at 1.5 it holds 1.5 back
    exactly(found.reserve, [0, max(paid - 7, 0), 0])
    exactly(found.costs, [0, max(7 - paid, 0), 0])
    exactly(found.deficiency, 7 + (10 - received))
    assert found.waves.tolist() == [1, 2, -1]


def test_without_transmission_everybody_is_paid_from_the_reserve() -> None:
    found = clear([[0, 10, 0], [0, 0, 10], [0, 0, 0]], [2, 0, 0], rule=paddrik_rajan_young(0.0))
    exactly(found.payments, [10, 10, 0])
    exactly(found.reserve, [8, 0, 0])
    assert found.defaulted.tolist() == [True, False, False]


def test_margin_that_covers_a_debt_stops_the_cascade() -> None:
    """X owes 10, has nothing, and has posted 10: A is paid in full. With 6 it lacks 4, of which its own 3 bear three."""
    L = np.zeros((3, 3))
    L[0, 1] = L[1, 2] = 10
    for posted, passed_on in ((10.0, 10.0), (6.0, 9.0)):
        c = np.zeros((3, 3))
        c[0, 1] = posted
        found = clear(L, [0, 3, 0], margin=c)
        exactly(found.receipts, [0, posted, passed_on])


def test_margin_is_drawn_only_as_far_as_a_payment_falls_short() -> None:
    """A owes 4 and 8 and has 9, three quarters: 3 and 6. Each creditor holds 1.5 against it: one draws 1, the other 1.5 of its 2."""
    found = clear([[0, 4, 8], [0, 0, 0], [0, 0, 0]], [9, 0, 0], margin=[[0, 1.5, 1.5], [0, 0, 0], [0, 0, 0]])
    exactly(found.receipts, [0, 4, 7.5])
    exactly(found.margin_drawn, [2.5, 0, 0])


def test_two_that_hold_back_from_each_other_run_down_to_what_margin_covers() -> None:
    """Each owes the other 10 and outsiders 1, has 0.9, tau = 1.5. Short by 0.1 of 11 at first, each passes 0.15 of 11 on, and so forth.

    Without margin nothing is left. With 4 of margin each gets at least 4: s = 11 - 0.9 - 4 - 10 y if it is drawn whole, 11 - 0.9 - 10 while
    it covers what is missing. The first shortage of 0.1 costs the other 10 (1 - 0.15/11) + 4 > 10: nothing at all. So y = 1 - 0.15/11.
    """
    L = np.array([[0.0, 10.0], [10.0, 0.0]])
    rule = paddrik_rajan_young(1.5)
    bare = clear(L, [0.9, 0.9], [1, 1], rule=rule)
    exactly(bare.payments, [0, 0])
    held = clear(L, [0.9, 0.9], [1, 1], rule=rule, margin=0.4 * L)
    exactly(held.recovery, [1 - 0.15 / 11] * 2)


def test_margin_that_feeds_a_closed_group_whose_outsiders_come_first_leaves_the_greatest_of_its_solutions() -> None:
    """All four fail and owe outsiders 0, 3, 3, 3 first. The shares 23/60, 9/10, 2/75, 1/6 clear, and so do lower ones.

    Node 0 gets 18 and 0.5 + 25/3, of 70. Node 1 has 2, gets 115/6 and 3 + 4/3, pays 3: 22.5 of 25. Node 2 gets 0.5 + 23/6, pays 3: 4/3 of
    50. Node 3 has 2, gets 0.5 + 23/6 and 0.5 + 4.5, pays 3: 25/3 of 50.
    """
    L = [[0, 50, 10, 10], [20, 0, 0, 5], [0, 50, 0, 0], [50, 0, 0, 0]]
    c = [[0, 0, 0.5, 0.5], [0, 0, 0, 0.5], [0, 3, 0, 0], [0.5, 0, 0, 0]]
    found = clear(L, [0, 2, 0, 2], [0, 3, 3, 3], seniority="external_senior", margin=c)
    exactly(found.interbank_recovery, [23 / 60, 9 / 10, 2 / 75, 1 / 6])


def test_amplified_losses_that_die_out_are_solved_to_the_last_digit() -> None:
    """Each owes the other 2 and outsiders 8, has 7.9, tau = 1.5: s = 10 - 7.9 - 2 y, y = 1 - 0.15 s = 1 - 0.315 + 0.3 y = 0.685/0.7."""
    found = clear([[0, 2], [2, 0]], [7.9, 7.9], [8, 8], rule=paddrik_rajan_young(1.5))
    np.testing.assert_allclose(found.recovery, 0.685 / 0.7, rtol=1e-14)


@pytest.mark.parametrize("tau", [1.2, 0.6])
def test_large_networks_agree_with_plain_iteration_whether_losses_are_amplified_or_not(tau: float) -> None:
    """Independent writing in whole matrices: 3,000 nodes, margin of up to a fifth of each debt."""
    rng = np.random.default_rng(2)
    n, size = 3000, 18_000
    owes, to = rng.integers(n, size=size), rng.integers(n, size=size)
    L = sparse.csr_array((np.where(owes == to, 0.0, rng.lognormal(0, 1, size)), (owes, to)), shape=(n, n))
    L.sum_duplicates()
    c = L.copy()
    c.data *= rng.uniform(0, 0.2, c.nnz)
    e, b = np.maximum(1.3 * L.sum(axis=1) - L.sum(axis=0), 0.0) * rng.uniform(0.5, 1.2, n), 0.5 * L.sum(axis=1)
    found = clear(L, e, b, rule=paddrik_rajan_young(tau), margin=c)
    assert 600 < found.defaulted.sum() < n
    edges, margins = L.tocoo(), c.tocoo()
    nominal = L.sum(axis=1) + b
    y = np.ones(n)
    for _ in range(2000):
        brought = np.minimum(edges.data, margins.data + edges.data * y[edges.row])
        stress = np.maximum(nominal - e - np.bincount(edges.col, weights=brought, minlength=n), 0.0)
        y = np.maximum(1.0 - tau * np.divide(stress, nominal, out=np.zeros(n), where=nominal > 0), 0.0)
    np.testing.assert_allclose(found.recovery, y, atol=1e-10)


# ---------------------------------------------------------------------------------------------------------------------- what must hold


@given(nets())
@settings(max_examples=300, deadline=None)
def test_clearing_agrees_with_an_independent_iteration_from_full_payment(net: Net) -> None:
    slow, change = net.slowly(120)
    found = net.clear()
    assert (found.interbank_recovery <= slow + 1e-9).all()
    assume(change < 1e-13)
    exactly(found.interbank_recovery, slow)


@given(nets())
@settings(max_examples=300, deadline=None)
def test_money_paid_is_money_received_with_margin_and_reserve_booked(net: Net) -> None:
    found = net.clear()
    paid = found.matrix().toarray()
    drawn = np.minimum(net.c, net.L - paid)
    exactly(found.margin_drawn, drawn.sum(axis=1))
    exactly(found.receipts, (paid + drawn).sum(axis=0))
    there_was = net.e.sum() + found.reserve.sum() + found.margin_drawn.sum()
    exactly(there_was, found.equity_limited.sum() + found.external_payments.sum() + found.costs.sum())
    assert (found.payments >= 0).all()
    assert (found.payments <= found.nominal + 1e-12).all()
    assert (found.reserve[net.tau >= 1] <= 1e-9).all()


@given(nets(taus=(1.0,)))
@settings(max_examples=200, deadline=None)
def test_at_tau_one_without_margin_the_rule_is_eisenberg_and_noes(net: Net) -> None:
    mine = net.clear(c=None)
    theirs = clear(net.L, net.e, net.b, rule=eisenberg_noe(), seniority=net.seniority)
    np.testing.assert_allclose(mine.payments, theirs.payments, rtol=0.0, atol=1e-12)
    np.testing.assert_array_equal(mine.waves, theirs.waves)
    exactly(mine.reserve, 0.0)


@given(nets(), st.integers(0, 4), st.sampled_from([0.25, 1.0]))
@settings(max_examples=200, deadline=None)
def test_neither_more_cash_nor_more_margin_lowers_a_payment_or_adds_a_default(net: Net, who: int, gift: float) -> None:
    """With exposures held fixed extra resources never enlarge the set of defaults nor the shortfall, wherever they are put."""
    richer, safer = net.e.copy(), net.c.copy()
    richer[who % len(richer)] += gift
    safer[who % len(richer)] += gift * (net.L[who % len(richer)] > 0)
    before = net.clear()
    for after in (net.clear(e=richer), net.clear(c=safer)):
        assert (after.payments >= before.payments - 1e-9).all()
        assert not (after.defaulted & ~before.defaulted).any()
        assert after.deficiency <= before.deficiency + 1e-9


@given(nets(), st.sampled_from([0.1, 0.5]))
@settings(max_examples=200, deadline=None)
def test_contagion_rises_with_tau(net: Net, more: float) -> None:
    """Paddrik, Rajan and Young's finding, in every network: higher transmission never leaves anybody better paid."""
    low, high = net.clear(), net.clear(tau=net.tau + more)
    assert (high.payments <= low.payments + 1e-9).all()
    assert not (low.defaulted & ~high.defaulted).any()


@given(nets(), st.permutations(range(5)))
@settings(max_examples=100, deadline=None)
def test_renumbering_the_nodes_renumbers_the_answer(net: Net, numbers: list[int]) -> None:
    order = [node for node in numbers if node < len(net.e)]
    grid = np.ix_(order, order)
    found, moved = net.clear(), net.clear(L=net.L[grid], c=net.c[grid], e=net.e[order], b=net.b[order], tau=net.tau[order])
    exactly(moved.payments, found.payments[order])
    np.testing.assert_array_equal(moved.waves, found.waves[order])


def test_rogers_and_veraarts_costs_and_margin_go_together() -> None:
    """X has 2 of 10 and pays half of it, 1; A draws 4 of margin, has 5 of 8, and pays half of that."""
    L, c = np.zeros((3, 3)), np.zeros((3, 3))
    L[0, 1], L[1, 2], c[0, 1] = 10, 8, 4
    found = clear(L, [2, 0, 0], rule=rogers_veraart(0.5, 0.5), margin=c)
    exactly(found.payments, [1, 2.5, 0])
    exactly(found.costs, [1, 2.5, 0])


# ------------------------------------------------------------------------------------------------------------------------- bad inputs


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: clear([[0, 1], [0, 0]], [0, 0], rule=paddrik_rajan_young(-0.1)), "tau: expected finite factors of at least 0, found -0.1"),
        (lambda: clear([[0, 1], [0, 0]], [0, 0], rule=paddrik_rajan_young([1, 1, 1])), r"expected a number or shape \(2,\), found shape"),
        (lambda: clear([[0, 1], [0, 0]], [0, 0], rule=PaymentRule(0.5, 0.6, 0.1)), "expected nominal"),
        (lambda: clear([[0, 1], [0, 0]], [0, 0], rule=PaymentRule(0.5, -0.1, 0.1)), "expected weights of assets and receipts"),
        (lambda: clear([[0, 1], [0, 0]], [0, 0], rule=PaymentRule(float("nan"))), "expected finite weights"),
        (lambda: clear([[0, 1], [0, 0]], [0, 0], margin=[[0]]), r"margin: expected shape \(2, 2\), found \(1, 1\)"),
        (lambda: clear([[0, 1], [0, 0]], [0, 0], margin=[[0, -1], [0, 0]]), r"margin: expected finite amounts of at least 0, found -1.0"),
    ],
)
def test_a_faulty_rule_or_margin_is_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
