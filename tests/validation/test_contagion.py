"""What theory and published studies say of contagion, asked of the clearing engine on networks that nobody tuned."""

from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from experiments.validation.contagion import exhaustion, members
from model.contagion import clear, debtrank, paddrik_rajan_young
from model.contagion.measures import importance

type Floats = NDArray[np.float64]


class Banks(NamedTuple):
    """Debts, outside assets and outside debts in calm, and what follows from them."""

    L: Floats
    c: Floats
    b: Floats

    @property
    def worth(self) -> Floats:
        """Net worth w_i in calm."""
        return self.c + self.L.sum(axis=0) - self.L.sum(axis=1) - self.b

    @property
    def connectivity(self) -> Floats:
        """β_i, the part of its debts that a bank owes to banks."""
        nominal = self.L.sum(axis=1) + self.b
        return np.divide(self.L.sum(axis=1), nominal, out=np.zeros_like(nominal), where=nominal > 0)


@st.composite
def banks(draw: st.DrawFn) -> Banks:
    """Three to seven banks, all solvent in calm."""
    n = draw(st.integers(3, 7))
    flat = np.array(draw(st.lists(st.sampled_from([0, 0, 1, 2, 5]), min_size=n * n, max_size=n * n)), dtype=np.float64)
    L = flat.reshape(n, n)
    np.fill_diagonal(L, 0.0)
    b = np.array(draw(st.lists(st.floats(1, 20), min_size=n, max_size=n)))
    w = np.array(draw(st.lists(st.floats(0.1, 3), min_size=n, max_size=n)))
    c = w + L.sum(axis=1) + b - L.sum(axis=0)
    assume((c > w).all())
    return Banks(L, c, b)


# ----------------------------------------------------------------------------------------------- Glasserman and Young (2015, JBF 50)


@given(banks(), st.floats(0, 1))
@settings(max_examples=200, deadline=None)
def test_a_bank_cannot_bring_down_others_with_more_net_worth_than_it_can_pass_on(net: Banks, part: float) -> None:
    """Contagion from i alone to all of D is impossible if Σ_D w_j > w_i β_i (λ_i − 1), with λ_i = c_i/w_i: that is all it can pass on."""
    for i in range(len(net.c)):
        shocked = net.c.copy()
        shocked[i] *= 1 - part
        others = clear(net.L, shocked, net.b).defaulted
        others[i] = False
        most = net.worth[i] * net.connectivity[i] * (net.c[i] / net.worth[i] - 1)
        assert net.worth[others].sum() <= most + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_a_network_without_costs_adds_little_to_losses_and_no_more_than_the_bound(seed: int) -> None:
    """E[L]/E[L0] ≤ 1 + Σ δ_i c_i / ((1 − β_max) Σ c_i), each bank losing an independent uniform part of its outside assets.

    L counts the shocks and what creditors are not paid; L0 the same with each claim on a bank replaced by one of the same size that is
    always paid. δ_i = P(shock ≥ w_i) = 1 − w_i/c_i. A uniform shock has an increasing failure rate, as the theorem asks.
    """
    rng = np.random.default_rng(seed)
    n = 12
    L = rng.exponential(1, (n, n)) * (rng.random((n, n)) < 0.3)
    np.fill_diagonal(L, 0.0)
    b, w = rng.uniform(10, 20, n), rng.uniform(1, 3, n)
    net = Banks(L, w + L.sum(axis=1) + b - L.sum(axis=0), b)
    assert (net.c > net.worth).all()
    shocks = net.c * rng.uniform(size=(2000, n))
    alone = shocks.sum(axis=1) + np.maximum(shocks - net.worth, 0.0).sum(axis=1)
    linked = shocks.sum(axis=1) + np.array([clear(net.L, net.c - shock, net.b).deficiency for shock in shocks])
    bound = 1 + ((1 - net.worth / net.c) * net.c).sum() / ((1 - net.connectivity.max()) * net.c.sum())
    assert 1.0 <= linked.mean() / alone.mean() <= bound


# ------------------------------------------------------------------------------------------------------------ extra capital, once more


@given(banks(), st.floats(0, 1), st.floats(0.5, 1.5), st.floats(0, 10))
@settings(max_examples=200, deadline=None)
def test_with_exposures_held_fixed_capital_of_the_hub_never_adds_a_default_or_a_loss(
    net: Banks, part: float, tau: float, more: float
) -> None:
    """The bank most owed and owing is the exchange, what it has is its fund: an increase of the fund alone, under PRY at any τ."""
    hub = int((net.L.sum(axis=0) + net.L.sum(axis=1)).argmax())
    held = net.c * (1 - part)
    richer = held + more * (np.arange(len(held)) == hub)
    before, after = (clear(net.L, assets, net.b, rule=paddrik_rajan_young(tau)) for assets in (held, richer))
    assert not (after.defaulted & ~before.defaulted).any()
    assert after.deficiency <= before.deficiency + 1e-9


# -------------------------------------------------------------------------------- Paddrik, Rajan and Young (2020, Management Science 66(8))


def test_the_funds_exhaustion_has_a_threshold_in_transmission() -> None:
    """6 τ² − 2 τ − 3 = 0 at τ = (2 + √76)/12 = 0.8932: below it the fund is enough, above it the more is lacking the higher τ."""
    threshold = (2 + np.sqrt(76)) / 12
    assert max(exhaustion(tau) for tau in (0.0, 0.5, threshold - 1e-9)) <= 0
    assert exhaustion(threshold + 1e-6) > 0
    assert exhaustion(1.2) == pytest.approx(1.2 * (7.2 - 2) - 3)


def test_expected_defaults_and_losses_rise_with_transmission() -> None:
    """Whoever is owed more than it owes within passes the rest on to clients, so that every book is flat."""
    L, _, draws = members(0, 100)
    clients = np.maximum(L.sum(axis=0) - L.sum(axis=1), 0.0)
    losses, defaults = [], []
    for tau in (0.25, 0.5, 0.75, 1.0, 1.25, 1.5):
        found = [clear(L, held, clients, rule=paddrik_rajan_young(tau)) for held in draws]
        losses.append(np.mean([one.deficiency for one in found]))
        defaults.append(np.mean([one.defaulted.sum() for one in found]))
    assert (np.diff(losses) > 0).all()
    assert (np.diff(defaults) >= 0).all()
    assert defaults[-1] > defaults[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_most_central_node_need_not_contribute_most(seed: int) -> None:
    """Its shocks are the largest, but it is owed more than it owes, as a clearing dealer is; peripheral net payers pass on more."""
    L, margin, draws = members(seed, 300)
    _, vectors = np.linalg.eigh(L + L.T)
    central = int(np.abs(vectors[:, -1]).argmax())
    found = importance(L, draws, tau=1.0, margin=margin)
    most = int(found.mean.argmax())
    assert central < 4, "the core"
    assert most >= 4, "the periphery"
    assert found.mean[most] - found.mean[central] > 2 * np.hypot(found.error[most], found.error[central])


# ------------------------------------------------------------------------------------------------------------------------- amplification


def test_linear_debtrank_amplifies_more_the_more_leveraged_the_banks() -> None:
    """Bardoscia et al. (2015) find a multiple of small shocks; here on one network, leverage on interbank claims 0.3, 0.6, 0.9.

    With every bank exposed by λ of its equity in all, a shock of s to everybody ends at s/(1 − λ): 1.43, 2.5 and 10 times.
    """
    rng = np.random.default_rng(0)
    L = rng.exponential(size=(15, 15))
    np.fill_diagonal(L, 0.0)
    L /= L.sum(axis=0)
    for leverage in (0.3, 0.6, 0.9):
        found = debtrank.linear(leverage * L, np.ones(15), np.full(15, 0.005))
        np.testing.assert_allclose(found.closing / 0.005, 1 / (1 - leverage), rtol=1e-9)
