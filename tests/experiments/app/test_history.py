"""History: columns that only grow, and stay flat in memory."""

import numpy as np
import pytest

from experiments.app.history import History


def test_a_table_does_not_change_when_rows_are_added() -> None:
    history = History(["step", "fund"])
    history.append([0.0, 10.0])
    before = history.table()
    for step in range(1, 2_000):
        history.append([float(step), 10.0 + step])
    assert (len(before), before.last("fund")) == (1, 10.0)
    after = history.table()
    assert (len(after), after.last("step"), after.last("fund")) == (2_000, 1_999.0, 2_009.0)
    assert np.array_equal(after["step"], np.arange(2_000.0))


def test_a_table_cannot_be_written() -> None:
    history = History(["fund"])
    history.append([1.0])
    with pytest.raises(ValueError, match="read-only"):
        history.table().values[0, 0] = 2.0


def test_of_a_long_run_the_latest_rows_are_kept() -> None:
    history = History(["step"], rows=100)
    for step in range(1_001):
        history.append([float(step)])
        assert len(history.table()) <= 100
    kept = history.table()["step"]
    # Whenever 100 rows are full, the older 50 go: 0 ... 1000 leaves those from 950 at least.
    assert kept[-1] == 1_000.0
    assert len(kept) >= 50
    assert np.array_equal(np.diff(kept), np.ones(len(kept) - 1))


def test_a_table_becomes_a_frame_with_the_same_names() -> None:
    history = History(["step", "fund"])
    history.append([0.0, 7.0])
    assert history.table().frame().to_dict("list") == {"step": [0.0], "fund": [7.0]}
