"""Back-test statistics against worked numbers."""

import numpy as np
import pytest

from experiments import coverage


@pytest.mark.parametrize(
    ("exceptions", "observations", "ratio"),
    [
        # No exception in 250 at 1 %: -2 x 250 ln 0.99 = 5.0252.
        (0, 250, 5.0252),
        (2, 250, 0.1084),
        (4, 250, 0.7691),
        (5, 250, 1.9568),
        (7, 250, 5.4970),
        (9, 250, 10.2290),
        (10, 250, 12.9555),
        (4, 1000, 4.7060),
        (17, 1000, 4.0910),
        (18, 1000, 5.2251),
    ],
)
def test_kupiecs_ratio_of_worked_counts(exceptions: int, observations: int, ratio: float) -> None:
    found = coverage.kupiec(exceptions, observations, 0.01)
    assert found.statistic == pytest.approx(ratio, abs=5e-5)
    # Five per cent of chi-squared with one degree of freedom lie beyond 3.8415.
    assert (found.p_value < 0.05) == (ratio > 3.8415)


def flags(*at: int, observations: int = 250) -> np.ndarray:
    hit = np.zeros(observations, dtype=bool)
    hit[list(at)] = True
    return hit


def test_clustered_exceptions_are_not_independent_and_spread_ones_are() -> None:
    # Three in a row and two alone: n01 = 3, n11 = 2, n10 = 3, n00 = 241.
    clustered = flags(50, 51, 52, 120, 200)
    assert coverage.independence(clustered).statistic == pytest.approx(9.8947, abs=5e-5)
    # Five apart: n01 = n10 = 5, n11 = 0, n00 = 239.
    spread = flags(10, 60, 110, 160, 210)
    assert coverage.independence(spread).statistic == pytest.approx(0.2049, abs=5e-5)
    together = coverage.conditional_coverage(clustered, 0.01)
    assert together.statistic == pytest.approx(1.9568 + 9.8947, abs=1e-4)
    assert together.p_value < 0.05 < coverage.conditional_coverage(spread, 0.01).p_value


def test_no_exceptions_at_all_and_nothing_but_exceptions_are_independent() -> None:
    assert coverage.independence(flags()).statistic == 0.0
    assert coverage.independence(~flags()).statistic == 0.0


def test_basels_zones_begin_at_five_and_at_ten_exceptions() -> None:
    zones = [coverage.traffic_light(count) for count in range(12)]
    assert zones == ["green"] * 5 + ["yellow"] * 5 + ["red"] * 2


def test_shortfall_statistics_of_three_days() -> None:
    # Losses 3 and 1 beyond a quantile of 0.5, shortfall 2: Z1 = 1 - (1.5 + 0.5) / 2 = 0; Z2 = 1 - 2 / (3 x 0.5) = -1/3.
    losses, quantile, shortfall = np.array([3.0, 1.0, -4.0]), np.full(3, 0.5), np.full(3, 2.0)
    assert coverage.shortfall_conditional(losses, quantile, shortfall) == pytest.approx(0.0)
    assert coverage.shortfall_unconditional(losses, quantile, shortfall, 0.5) == pytest.approx(-1.0 / 3.0)
    assert np.isnan(coverage.shortfall_conditional(-losses - 5.0, quantile, shortfall))
    assert coverage.shortfall_unconditional(-losses - 5.0, quantile, shortfall, 0.5) == 1.0


def test_simulated_critical_values_are_those_of_acerbi_and_szekely() -> None:
    # 250 days, 2.5 %: -0.70 for a normal law; Student's with five degrees -0.73, with three -0.81. 10,000 draws are good to 0.02.
    assert coverage.critical_values(250, 0.025).z2 == pytest.approx(-0.70, abs=0.03)
    assert coverage.critical_values(250, 0.025, degrees=5.0).z2 == pytest.approx(-0.73, abs=0.03)
    assert coverage.critical_values(250, 0.025, degrees=3.0).z2 == pytest.approx(-0.81, abs=0.04)


def test_peak_to_trough_and_calls_of_a_short_path() -> None:
    margin = np.array([4.0, 2.0, 3.0, 8.0, 6.0])
    assert coverage.peak_to_trough(margin) == 4.0
    # Over one row 8 - 3; over two 8 - 2; over four 6 - 4.
    assert [coverage.largest_call(margin, rows) for rows in (1, 2, 4)] == [5.0, 6.0, 2.0]
    assert coverage.largest_call(margin[::-1][:2], 1) == 2.0
    assert coverage.largest_call(np.array([2.0, 1.0]), 1) == 0.0
    assert np.isnan(coverage.largest_call(margin, 5))
