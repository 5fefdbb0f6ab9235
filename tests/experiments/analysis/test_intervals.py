"""Intervals against closed forms and published numbers."""

import numpy as np
import pytest
from scipy import stats

from experiments.analysis.intervals import UNKNOWN, bootstrap, paired_probabilities, stream, wilson


def test_wilson_is_wilsons():
    # 0 of 10: z² / (n + z²) = 3.8415 / 13.8415 = 0.2775. 5 of 10: 0.5 ± z sqrt(n/4 + z²/4 ...) = 0.2366 to 0.7634.
    assert wilson(0, 10)[:2] == pytest.approx((0.0, 0.27753), abs=1e-5)
    assert wilson(5, 10)[:2] == pytest.approx((0.23659, 0.76341), abs=1e-5)
    assert wilson(0, 0) == UNKNOWN


def test_agresti_min_is_the_wald_interval_of_half_a_pair_more_a_cell():
    # b = 12.5, c = 4.5, n = 102: d = 8/102 = 0.078431, se = sqrt(17/102 − d²) / sqrt(102) = 0.039678; ± 1.959964 se.
    low, high, method = paired_probabilities(12, 4, 100)
    assert (low, high) == pytest.approx((0.078431 - 0.077767, 0.078431 + 0.077767), abs=2e-5)
    assert method == "Agresti-Min"
    assert paired_probabilities(0, 0, 10)[:2] == pytest.approx((-paired_probabilities(0, 0, 10).high, paired_probabilities(0, 0, 10).high))


@pytest.mark.parametrize("values", [[], [3.0], [3.0, 3.0, 3.0]])
def test_a_sample_that_does_not_vary_tells_nothing_about_its_spread(values):
    assert np.isnan(bootstrap(np.array(values), stream(0))[:2]).all()


def test_the_bootstrap_interval_of_a_large_normal_sample_is_students():
    values = np.random.default_rng(1).normal(5.0, 2.0, 2_000)
    low, high, method = bootstrap(values, stream(0, "a"))
    expected = stats.t.interval(0.95, values.size - 1, values.mean(), stats.sem(values))
    assert (low, high) == pytest.approx(expected, abs=0.06 * (expected[1] - expected[0]))
    assert method == "BCa bootstrap"


def test_the_same_seed_and_name_give_the_same_interval_and_another_name_another():
    values = np.random.default_rng(1).exponential(size=40)
    assert bootstrap(values, stream(3, "a")) == bootstrap(values, stream(3, "a"))
    assert bootstrap(values, stream(3, "a")) != bootstrap(values, stream(3, "b"))


def test_a_skewed_sample_has_its_interval_moved_to_the_long_tail():
    values = np.random.default_rng(2).exponential(size=60)
    low, high, _ = bootstrap(values, stream(0))
    assert high - values.mean() > values.mean() - low > 0.0
