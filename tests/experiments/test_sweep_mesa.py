"""Mesa 3's own batch runner takes the model, too."""

import mesa
import pytest

from model.ecosystem import Ecosystem
from model.scenario import Scenario

pytestmark = pytest.mark.skipif(not hasattr(mesa, "batch_run"), reason="Mesa 4 has no batch_run")


def test_mesas_batch_runner_runs_the_model() -> None:
    world = Scenario.model_validate({"traders": {"groups": [{"name": "few", "count": 20, "equity": 2e7}]}})
    rows = mesa.batch_run(
        Ecosystem, {"scenario": [world], "fund": [1e6, 5e6]}, rng=[1, 2], max_steps=2, data_collection_period=1, display_progress=False
    )
    # Two funds, two seeds, the opening and two steps of each.
    assert len(rows) == 2 * 2 * 3
    assert {row["fund"] for row in rows if row["Step"] == 0} == {1e6, 5e6}
