"""Importance sampling against tails known in closed form."""

import numpy as np
import pytest
from scipy import stats

from experiments.rare_events import Normal, Proposal, StudentT, estimate, fit

NORMAL, STUDENT = Normal(scale=1.0), StudentT(scale=1.0, degrees=3.0)


def sampled(law, proposal, threshold, count, seed):
    values, weights = proposal.draw(law, count, np.random.default_rng(seed))
    return (values > threshold).astype(float), weights


@pytest.mark.parametrize(
    ("law", "threshold", "proposal"),
    [
        (NORMAL, 4.0, Proposal(shift=4.0, share=1.0)),
        (NORMAL, 4.0, Proposal(shift=3.0, widen=1.5, share=0.5)),
        (STUDENT, 10.0, Proposal(shift=12.0, widen=4.0, share=0.9)),
        (STUDENT, 10.0, Proposal(widen=8.0, share=0.8)),
    ],
)
def test_repeated_estimates_are_unbiased_and_their_intervals_hold_the_truth(law, threshold, proposal):
    truth = float(law.frozen.sf(threshold))
    found = [estimate(*sampled(law, proposal, threshold, 300, seed), seed=0) for seed in range(40)]
    mean = np.mean([one.probability for one in found])
    error = np.sqrt(np.mean([one.error**2 for one in found]) / len(found))
    assert abs(mean - truth) < 3.5 * error
    held = sum(one.low <= truth <= one.high for one in found)
    assert held >= stats.binom.ppf(0.001, 40, 0.93)  # 95 %, a little less in small samples
    assert all(one.reduction > 20 for one in found)


def test_the_normals_move_is_its_exponential_tilt():
    # f(x) / g(x) = exp(−θ x + θ² / 2) for a standard normal moved by θ = 2.5.
    values, weights = Proposal(shift=2.5, share=1.0).draw(NORMAL, 50, np.random.default_rng(1))
    assert weights == pytest.approx(np.exp(-2.5 * values + 2.5**2 / 2), rel=1e-12)


def test_a_defensive_share_bounds_every_weight():
    values = np.linspace(-60.0, 60.0, 10_001)
    for law in (NORMAL, STUDENT):
        assert Proposal(shift=8.0, widen=0.5, share=0.9).weights(law, values).max() <= 10.0 * (1 + 1e-12)


def test_mean_weight_is_one_but_for_chance():
    found = estimate(*sampled(STUDENT, Proposal(shift=5.0, widen=3.0, share=0.8), 10.0, 4_000, 3), seed=0)
    assert abs(found.weight - 1.0) < 4.0 * found.weight_error
    assert found.effective < found.runs


def test_weights_of_one_are_plain_monte_carlo_with_wilsons_interval():
    # 3 of 20: p = 0.15; both variances are p (1 − p) / 19, so that their ratio is 1.
    found = estimate(np.array([1.0] * 3 + [0.0] * 17), np.ones(20), 0)
    assert found.probability == pytest.approx(0.15)
    assert found.interval == "Wilson"
    assert (found.effective, found.effective_events, found.events) == (20.0, 3.0, 3)
    assert found.reduction == pytest.approx(1.0)


def test_without_an_event_nothing_is_known_of_the_reduction():
    found = estimate(np.zeros(10), np.full(10, 0.5), 0)
    assert found.probability == 0.0
    assert np.isnan(found.reduction)
    assert np.isnan(found.high)


def test_cross_entropy_moves_the_law_to_where_the_event_is():
    # Given X > 4, a standard normal has mean φ(4) / Φ̄(4) = 4.2256 and standard deviation 0.2160; the scale is held at 0.25 or more.
    events, weights = sampled(NORMAL, Proposal(widen=5.0, share=1.0), 4.0, 20_000, 0)
    values = Proposal(widen=5.0, share=1.0).draw(NORMAL, 20_000, np.random.default_rng(0))[0]
    found = fit(NORMAL, values, weights, events, 0.9)
    assert found.shift == pytest.approx(4.2256, abs=0.02)
    assert found.widen == 0.25
    with pytest.raises(ValueError, match="found 0 runs with the event"):
        fit(NORMAL, values, weights, np.zeros(20_000), 0.9)


def test_events_are_zero_or_one():
    with pytest.raises(ValueError, match="each 0 or 1"):
        estimate(np.array([0.0, 0.5]), np.ones(2), 0)
