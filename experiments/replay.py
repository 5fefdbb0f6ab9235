"""Recorded prices given on the command line."""

from collections.abc import Sequence

from model.prices import read_prices
from model.scenario import Scenario
from model.scenario_file import Override


def replayed(files: Sequence[str]) -> Override:
    """What `--prices` changes in a scenario: its news are these files."""
    return Override(("news",), {"type": "replay", "files": list(files)}, f"--prices {' '.join(files)}")


def periods(files: Sequence[str], scenario: Scenario) -> int:
    """How many steps these files can serve in a scenario.

    Raises:
        ScenarioError: faulty files, or markets that the scenario does not have.
    """
    return len(read_prices(files, [asset.name for asset in scenario.assets]).time)
