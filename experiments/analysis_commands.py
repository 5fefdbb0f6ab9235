"""What the commands that analyse do. Everything heavy is imported inside, as in `experiments.commands`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from experiments.study_commands import DEFAULTS, Options

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from experiments.analysis.tables import Analysed
    from experiments.progress import Tally


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


def rare(study: Path, /, *, out: Path | None = None, options: Options = DEFAULTS) -> int:
    """Estimate the probability of rare events by drawing a shock where it matters and weighting each run.

    Args:
        study: A rare-event study file.
        out: Its folder, new or carried on; results/<name> by default.
    """
    from experiments.analysis.blocks import Incomplete  # noqa: PLC0415
    from experiments.rare_study import estimated, load_rare, told  # noqa: PLC0415
    from experiments.report_figures import save_probabilities  # noqa: PLC0415

    loaded = load_rare(study)
    folder = out or Path("results") / loaded.name
    with _progress(loaded.name, options) as progress:
        try:
            table = estimated(loaded, folder, options.where(), progress)
        except (Incomplete, ValueError) as error:
            _say(str(error))
            return 3
    save_probabilities(loaded.name, table, folder)
    if not options.quiet:
        _say(*told(table), f"all digits and draws are in {folder}")
    return 0


def search(file: Path, /, *, out: Path | None = None, options: Options = DEFAULTS) -> int:
    """Search the frontier of safety against its cost, and simulate it again with other seeds.

    Args:
        file: A policy search file.
        out: Its folder, new or carried on; results/<name> by default.
    """
    from experiments.analysis.blocks import Incomplete  # noqa: PLC0415
    from experiments.analysis.discovery import MissingExtra  # noqa: PLC0415
    from experiments.policy_search import load_search  # noqa: PLC0415
    from experiments.policy_search import search as searched  # noqa: PLC0415
    from experiments.report_figures import save_frontier  # noqa: PLC0415

    given, study = load_search(file)
    folder = out or Path("results") / given.name
    with _progress(given.name, options) as progress:
        try:
            found = searched(given, study, folder, options.where(), progress)
        except (Incomplete, MissingExtra) as error:
            _say(str(error))
            return 3
    save_frontier(given, study, folder)
    if not options.quiet:
        kept = int(found["efficient"].sum())
        _say(f"{kept} of {len(found)} points simulated again are efficient; look at {folder / 'figures'} and frontier.csv")
    return 0


def _progress(name: str, options: Options) -> "AbstractContextManager[Tally]":
    """Where progress is told."""
    import logging  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from experiments.progress import tallied  # noqa: PLC0415

    logging.basicConfig(format="%(message)s", level=logging.ERROR if options.quiet else logging.WARNING)
    return tallied(Console(stderr=True), name, quiet=options.quiet)


def _refused(done: "Analysed") -> int:
    """Says which analyses were refused; 3 if any was."""
    _say(*(f"refused: {line}" for line in done.refused))
    return 3 if done.refused else 0


def _say(*lines: str) -> None:
    for line in lines:
        print(line)  # noqa: T201 - a command prints
