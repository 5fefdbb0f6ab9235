"""What the commands that analyse do. Everything heavy is imported inside, as in `experiments.commands`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

if TYPE_CHECKING:
    from experiments.analysis.tables import Analysed


def analyse(folder: Path, /, *, quiet: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Make a study's analyses and write them to its folder as tidy CSV.

    Args:
        folder: A folder that `backstop sweep` has made.
        quiet: Print nothing but refusals.
    """
    from experiments.report import analysed  # noqa: PLC0415
    from experiments.study_store import StudyFolder  # noqa: PLC0415

    done = analysed(StudyFolder(folder))
    if not quiet:
        _say(*(f"{folder / 'analysis' / name}.csv: {len(table):,} rows" for name, table in done.tables.items()))
    return _refused(done)


def report(folder: Path, /, *, quiet: Annotated[bool, Parameter(negative=())] = False) -> int:
    """Make a study's analyses, figures and tables, and one HTML page that shows them all.

    Args:
        folder: A folder that `backstop sweep` has made.
        quiet: Print nothing but refusals.
    """
    from experiments.report import report as write  # noqa: PLC0415

    page, done = write(folder)
    if not quiet:
        _say(f"look at {page}")
    return _refused(done)


def _refused(done: "Analysed") -> int:
    """Says which analyses were refused; 3 if any was."""
    _say(*(f"refused: {line}" for line in done.refused))
    return 3 if done.refused else 0


def _say(*lines: str) -> None:
    for line in lines:
        print(line)  # noqa: T201 - a command prints
