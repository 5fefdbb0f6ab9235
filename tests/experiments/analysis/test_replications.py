"""Means, tails, paired differences and convergence, on tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.blocks import Measure
from experiments.analysis.replications import convergence, expected_shortfall, means, paired, tails
from tests.experiments.analysis.tabled import broken, one_point, summary

LOSS = Measure("loss", "USD")
HIT = Measure("hit", "probability", binary=True)


def test_means_carry_counts_spread_and_an_interval_around_them():
    row = means(one_point([1.0, 2.0, 3.0, 6.0]), [LOSS], ["fund"], 0).iloc[0]
    assert (row["runs"], row["n"], row["mean"], row["unit"], row["fund"]) == (4, 4, 3.0, "USD", 1.0)
    assert row["sd"] == pytest.approx(np.sqrt((4 + 1 + 0 + 9) / 3))
    assert row["low"] < 3.0 < row["high"]


def test_the_mean_of_a_0_1_output_is_a_probability_with_wilsons_interval():
    row = means(one_point([0, 0, 0, 1, 1, 0, 0, 0, 0, 0], name="hit"), [HIT], ["fund"], 0).iloc[0]
    assert row["mean"] == pytest.approx(0.2)
    assert (row["low"], row["high"]) == pytest.approx((0.05668, 0.50984), abs=1e-5)
    assert row["interval"] == "Wilson"


def test_a_point_with_a_failed_run_has_counts_and_no_mean_of_survivors():
    table = summary(pd.DataFrame({"fund": [1.0, 2.0]}), 3, loss=lambda _point, _arm, r: r)
    rows = means(broken(table, "0-base-2"), [LOSS], ["fund"], 0)
    assert rows["n"].tolist() == [2, 3]
    assert np.isnan(rows["mean"].iloc[0])
    assert rows["mean"].iloc[1] == 1.0
    assert rows["interval"].iloc[0] == "none: unusable runs"


def test_adding_a_point_changes_no_other_points_interval():
    small, large = (summary(pd.DataFrame({"fund": f}), 9, loss=lambda _point, _arm, r: r**2) for f in ([1.0], [1.0, 2.0]))
    assert means(large, [LOSS], ["fund"], 0).iloc[0].equals(means(small, [LOSS], ["fund"], 0).iloc[0])


def test_expected_shortfall_is_the_mean_of_the_worst():
    # Of 1 ... 100 the worst 5 %: (96 + 97 + 98 + 99 + 100) / 5 = 98.
    assert float(expected_shortfall(np.arange(1.0, 101.0), 0.95)) == 98.0


def test_tails_are_told_only_where_enough_lies_beyond():
    # 100 replications: five lie beyond 95 %, one beyond 99 %.
    table = one_point(np.arange(1.0, 101.0))
    rows = tails(table, [LOSS], ["fund"], 0)
    assert rows["level"].tolist() == [0.95]
    assert rows["expected_shortfall"].tolist() == [98.0]
    assert rows["quantile"].tolist() == pytest.approx([95.05])
    assert rows["low"].iloc[0] < 98.0 <= rows["high"].iloc[0]
    assert tails(one_point(np.arange(99.0)), [LOSS], ["fund"], 0).empty
    assert tails(broken(table, "0-base-7"), [LOSS], ["fund"], 0).empty


def test_a_paired_difference_is_taken_under_the_same_draws():
    # Luck 100 r is common, the arm adds 1 + r mod 2: differences 1, 2, 1, 2 ...; variance falls from 2 × 1e4 × var(r) to 1/4.
    table = summary(
        pd.DataFrame({"fund": [1.0]}), 10, ("flat", "more"), loss=lambda _point, arm, r: 100.0 * r + (arm == "more") * (1 + r % 2)
    )
    row = paired(table, [LOSS], ["fund"], "flat", 0).iloc[0]
    assert (row["arm"], row["against"], row["n"]) == ("more", "flat", 10)
    assert row["difference"] == pytest.approx(1.5)
    assert 1.0 < row["low"] < 1.5 < row["high"] < 2.0
    a = 100.0 * np.arange(10)
    b = a + 1 + np.arange(10) % 2
    assert row["narrowing"] == pytest.approx((a.var() + b.var()) / 0.25)


def test_pairs_are_matched_by_replication_whatever_the_order_of_rows():
    table = summary(pd.DataFrame({"fund": [1.0]}), 6, ("flat", "more"), loss=lambda _point, arm, r: r**2 + (arm == "more"))
    mixed = table.sample(frac=1.0, random_state=4)
    assert paired(mixed, [LOSS], ["fund"], "flat", 0)["difference"].tolist() == pytest.approx([1.0])


def test_a_failed_run_of_either_arm_leaves_the_difference_out():
    table = summary(pd.DataFrame({"fund": [1.0]}), 4, ("flat", "more"), loss=lambda _point, _arm, r: r)
    for run in ("0-flat-2", "0-more-1"):
        row = paired(broken(table, run), [LOSS], ["fund"], "flat", 0).iloc[0]
        assert row["n"] == 3
        assert np.isnan(row["difference"])
    with pytest.raises(ValueError, match="found 'flatt', expected one of flat, more"):
        paired(table, [LOSS], ["fund"], "flatt", 0)


def test_a_paired_difference_of_probabilities_has_an_interval_that_holds_it():
    table = summary(pd.DataFrame({"fund": [1.0]}), 20, ("flat", "more"), hit=lambda _point, arm, r: r < (5 if arm == "flat" else 2))
    row = paired(table, [HIT], ["fund"], "flat", 0).iloc[0]
    assert row["difference"] == pytest.approx(-0.15)  # 3 of 20 pairs go from 1 to 0
    assert row["interval"] == "Agresti-Min"
    assert row["low"] < -0.15 < row["high"]


def test_convergence_uses_the_first_replications_and_narrows():
    values = np.random.default_rng(0).normal(size=160)
    rows = convergence(one_point(values), [LOSS], ["fund"], 0)
    assert rows["n"].tolist() == [20, 40, 80, 160]
    assert rows["mean"].tolist() == pytest.approx([values[:n].mean() for n in (20, 40, 80, 160)])
    # Half-widths go like 1 / sqrt(n): 1.96 / sqrt(20) = 0.44, 1.96 / sqrt(160) = 0.155, but for chance in the sample's spread.
    assert rows["half_width"].iloc[-1] == pytest.approx(1.96 / np.sqrt(160), rel=0.15)
    assert rows["half_width"].is_monotonic_decreasing
    assert convergence(one_point([1.0, 2.0, 3.0]), [LOSS], ["fund"], 0).empty
