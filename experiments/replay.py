"""Recorded prices given on the command line."""

from collections.abc import Sequence

from model.news import NewsSource
from model.randomness import Streams
from model.scenario import Scenario
from model.scenario_file import Override


def replayed(files: Sequence[str]) -> Override:
    """What `--prices` changes in a scenario: its news are these files."""
    return Override(("news",), {"type": "replay", "files": list(files)}, f"--prices {' '.join(files)}")


def rows(scenario: Scenario) -> int | None:
    """How many steps the scenario's news can serve; None if without end.

    Raises:
        ScenarioError: faulty price files, or files that do not fit the scenario.
    """
    source = NewsSource(scenario.news, scenario.assets, Streams(0), scenario.hours_per_step)
    steps: int | None = source.steps
    return steps
