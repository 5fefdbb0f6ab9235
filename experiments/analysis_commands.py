"""What the commands that analyse do. Everything heavy is imported inside, as in `experiments.commands`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from experiments.commands import whole
from experiments.study_commands import DEFAULTS, Options, carried_on

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


def attribute(  # noqa: PLR0913 - one an option
    scenario: str,
    /,
    *,
    channels: str | None = None,
    seeds: Annotated[int, Parameter(validator=Number(gte=1), converter=whole)] = 8,
    seed: Annotated[int, Parameter(validator=Number(gte=0), converter=whole)] = 0,
    steps: Annotated[int | None, Parameter(validator=Number(gte=1), converter=whole)] = None,
    set_: Annotated[list[str] | None, Parameter(name="--set", negative=())] = None,
    out: Path | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    options: Options = DEFAULTS,
) -> int:
    """Divide losses and defaults over the channels of contagion: Shapley shares from runs with every set of them open.

    Args:
        scenario: A scenario file, or the name of a shipped scenario.
        channels: Which, with commas: price_impact,credit_loss; all of them by default. Runs double with each.
        seeds: Runs of each set of channels, with the same draws in every set.
        seed: From which those are made.
        steps: How many; the scenario's own number by default.
        set_: A setting to change, such as venues.0.clearinghouse.fund=5e7; can be given again.
        out: A folder, new or carried on; results/attribute-<scenario>-<id> by default.
        dry_run: Say how many runs, hours and megabytes it would take, from one run that is timed; write nothing.
    """
    from experiments.analysis.blocks import Incomplete  # noqa: PLC0415
    from experiments.budget import estimated  # noqa: PLC0415
    from experiments.channel_study import asked, divided, told, write  # noqa: PLC0415
    from experiments.report_figures import save_attribution  # noqa: PLC0415
    from experiments.study_store import create, folder_name  # noqa: PLC0415

    settings = [*(set_ or []), *([] if steps is None else [f"steps={steps}"])]
    study = asked(scenario, settings, channels, seeds, seed)
    if dry_run:
        _say(*estimated(study, options.where()))
        return 0
    home = create(study, out or Path("results") / folder_name(study))
    code = carried_on(home, options.where(), options)
    if code:
        return code
    summary = home.summary()
    try:
        found = divided(study, summary)
    except Incomplete as error:
        _say(str(error))
        return 3
    write(study, summary, found, home.path)
    save_attribution(study, found, home.path)
    if not options.quiet:
        _say(*told(study, found), f"look at {home.path / 'figures'}; the tables are in {home.path / 'analysis'}")
    return 0


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
