"""PRIM finds a box that was put there."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.blocks import Measure
from experiments.analysis.discovery import prim
from experiments.analysis.indices import TooFew
from tests.experiments.analysis.tabled import broken, summary

HIT = Measure("hit", "probability", binary=True)


@pytest.fixture(scope="module")
def table():
    x = np.random.default_rng(0).random((600, 3))
    points = pd.DataFrame({"margin": x[:, 0], "leverage": x[:, 1], "rule": np.where(x[:, 2] < 0.5, "queue", "pro rata")})
    return summary(points, hit=lambda p, _arm, _r: p["margin"] < 0.3 and p["leverage"] > 0.6 and p["rule"] == "queue")


def test_the_box_is_found_with_its_labels(table):
    pytest.importorskip("ema_workbench", reason="needs the extra `explore`")
    box = prim(table, HIT, ["margin", "leverage", "rule"], 0.5).set_index("factor")
    assert box.loc["margin", "high"] == pytest.approx(0.3, abs=0.08)
    assert box.loc["leverage", "low"] == pytest.approx(0.6, abs=0.15)
    assert box.loc["rule", "labels"] == "queue"
    assert (box["density"] >= 0.8).all()
    assert (box["coverage"] > 0.7).all()
    assert box["bad"].unique().tolist() == [int(table["hit"].sum())]


def test_failed_points_are_left_out_and_counted(table):
    pytest.importorskip("ema_workbench", reason="needs the extra `explore`")
    box = prim(broken(table, "5-base-0", "hit"), HIT, ["margin", "leverage", "rule"], 0.5)
    assert box["left_out"].unique().tolist() == [1]
    assert box["points"].unique().tolist() == [599]


def test_nothing_bad_has_no_box(table):
    with pytest.raises(TooFew, match="0 of 600 points above 2"):
        prim(table, HIT, ["margin"], 2.0)
