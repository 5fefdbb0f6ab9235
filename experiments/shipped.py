"""The scenarios that come with the project, by name."""

import importlib.resources
from collections.abc import Sequence
from pathlib import Path

from model.scenario import Scenario
from model.scenario_file import Override, load_scenario

FOLDER = Path(str(importlib.resources.files("experiments"))) / "scenarios"


def load(path_or_name: str | Path, overrides: Sequence[str | Override] = ()) -> Scenario:
    """A scenario file, or a shipped scenario by its name; see `model.scenario_file.load_scenario`."""
    return load_scenario(path_or_name, overrides, shipped=FOLDER)


def scenarios() -> dict[str, Scenario]:
    """Every shipped scenario by name, in order of name."""
    return {path.stem: load(path.stem) for path in sorted(FOLDER.glob("*.yaml"))}
