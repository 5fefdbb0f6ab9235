"""Runs that cannot be used are named, never averaged over."""

import numpy as np
import pandas as pd
import pytest

from experiments.analysis.blocks import Incomplete, replication_means, require_complete, usable
from tests.experiments.analysis.tabled import broken, one_point, summary


def test_a_failed_run_and_one_without_a_number_are_refused_by_name():
    table = broken(one_point([1.0, 2.0, 3.0, 4.0]), "0-base-1")
    table.loc[table["run_id"] == "0-base-3", "loss"] = np.inf
    assert usable(table, "loss").tolist() == [True, False, True, False]
    with pytest.raises(Incomplete) as refused:
        require_complete(table, "loss", "sobol")
    assert refused.value.run_ids == ["0-base-1", "0-base-3"]
    assert str(refused.value) == (
        "sobol of loss: needs every run of its design; 2 runs failed, missing or without a number: 0-base-1, 0-base-3"
    )


def test_a_long_list_is_cut_in_words_and_whole_in_the_exception():
    table = one_point(np.full(30, np.nan))
    with pytest.raises(Incomplete, match=r"30 runs .*: 0-base-0, .* and 20 more") as refused:
        require_complete(table, "loss", "morris")
    assert len(refused.value.run_ids) == 30


def test_replications_are_averaged_point_by_point_in_the_order_of_the_plan():
    # loss = 10 point + replication: means 0.5, 10.5, 20.5.
    table = summary(pd.DataFrame({"fund": [3.0, 1.0, 2.0]}), 2, loss=lambda point, _arm, r: 10 * [3.0, 1.0, 2.0].index(point["fund"]) + r)
    assert replication_means(table, "loss", "sobol").tolist() == [0.5, 10.5, 20.5]
    with pytest.raises(ValueError, match="1 to 2 replications"):
        replication_means(table.iloc[:-1], "loss", "sobol")
