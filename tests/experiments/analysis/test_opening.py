"""Does the answer depend on the opening? On series and tables whose answers are known."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.blocks import Incomplete, Measure
from experiments.analysis.opening import by_burn_in, by_lever
from tests.experiments.analysis.tabled import broken, summary

LOSS = Measure("loss", "USD")


def runs(count=6, steps=40):
    """A loss of 100 in the first step, then 1 a step with a little luck."""
    for at in range(count):
        yield "base", pd.DataFrame({"residual_loss": [999.0, 100.0 + at, *([1.0 + at / 10] * (steps - 1))]})


def test_a_sum_is_told_per_step_and_the_opening_row_never_counts():
    # Without burn-in: (100 + at + 39 (1 + at / 10)) / 40, mean over at = 0 ... 5: (102.5 + 39 × 1.25) / 40 = 3.78125; with: 1.25.
    rows = by_burn_in(runs(), "residual_loss", "sum", LOSS, [0, 1, 10, 50], 0)
    assert rows["burn_in"].tolist() == [0, 1, 10]
    assert rows["mean"].tolist() == pytest.approx([3.78125, 1.25, 1.25])
    assert rows["unit"].tolist() == ["USD per step"] * 3
    assert ((rows["low"] < rows["mean"]) & (rows["mean"] < rows["high"])).all()


def test_a_maximum_is_a_maximum_whatever_is_left_out():
    rows = by_burn_in(runs(), "residual_loss", "max", LOSS, [0, 1], 0)
    assert rows["mean"].tolist() == pytest.approx([102.5, 1.25])


GRID = pd.DataFrame([(fund, makers) for fund in (1.0, 2.0, 4.0) for makers in (5, 9)], columns=["fund", "makers"])


def test_levels_of_an_opening_lever_are_compared_all_else_equal():
    # loss = 10 makers − fund + luck r: against fund 1, fund 2 has −1 and fund 4 has −3, at both numbers of makers, luck cancelled.
    table = summary(GRID, 5, loss=lambda point, _arm, r: 10 * point["makers"] - point["fund"] + 100 * r)
    rows = by_lever(table, [LOSS], ["fund", "makers"], "fund", 0)
    assert rows["makers"].tolist() == [5, 5, 9, 9]
    assert rows["fund"].tolist() == [2.0, 4.0, 2.0, 4.0]
    assert rows["difference"].tolist() == pytest.approx([-1.0, -3.0, -1.0, -3.0])
    assert rows["arm"].tolist() == ["base"] * 4


def test_a_lever_that_never_varies_alone_and_a_failed_run_are_refused():
    scattered = summary(pd.DataFrame({"fund": [1.0, 2.0], "makers": [5, 6]}), 2, loss=lambda _point, _arm, r: r)
    with pytest.raises(ValueError, match="no points that differ by fund alone"):
        by_lever(scattered, [LOSS], ["fund", "makers"], "fund", 0)
    table = summary(GRID, 2, loss=lambda _point, _arm, r: r)
    with pytest.raises(Incomplete, match="0-base-1"):
        by_lever(broken(table, "0-base-1"), [LOSS], ["fund", "makers"], "fund", 0)
    assert np.isfinite(by_lever(table, [LOSS], ["fund", "makers"], "fund", 0)["difference"]).all()


def test_a_probability_by_burn_in_has_wilsons_interval_and_undefined_steps_are_left_out():
    series = [pd.DataFrame({"residual_loss": [0.0, float(at == 0), 0.0, 0.0]}) for at in range(4)]
    rows = by_burn_in((("base", one) for one in series), "residual_loss", "any", Measure("hit", "probability", binary=True), [0, 1], 0)
    assert rows["mean"].tolist() == [0.25, 0.0]
    assert rows["interval"].tolist() == ["Wilson", "Wilson"]
    assert rows["high"].iloc[1] == pytest.approx(1.96**2 / (4 + 1.96**2), abs=1e-3)  # no event in four


def test_a_value_that_is_no_number_leaves_no_interval():
    series = pd.DataFrame({"residual_loss": [0.0, 1.0, float("nan"), 1.0]})
    rows = by_burn_in([("base", series)] * 3, "residual_loss", "sum", LOSS, [0, 2], 0)
    assert np.isnan(rows[["mean", "low", "high"]].iloc[0].to_numpy(dtype=float)).all()
    assert rows["mean"].iloc[1] == 1.0
