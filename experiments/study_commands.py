"""What the commands about studies do. Everything heavy is imported inside, as in `experiments.commands`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from experiments.commands import whole

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from experiments.study_store import StudyFolder
    from experiments.sweep import Where

LISTED = 10
"""Failed runs are told one by one up to so many."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Options:
    """Who does the runs.

    Attributes:
        workers: Processes on this machine, one for each processor by default, or SLURM jobs; 0: in this process.
        scheduler: Address of a Dask scheduler, tcp://… or tls://…; its workers must see the study's folder.
        slurm: A YAML file of SLURMCluster settings (dask-jobqueue): queue, account, walltime, memory.
        shard: i/n, from 0/n to n-1/n: the i-th of n parts, for job arrays; in this process unless --workers is given.
        allow_code_change: Carry on although the model's source is not what the study was planned with.
        quiet: Print nothing but faults.
    """

    workers: Annotated[int | None, Parameter(validator=Number(gte=0), converter=whole)] = None
    scheduler: str | None = None
    slurm: Path | None = None
    shard: str | None = None
    allow_code_change: Annotated[bool, Parameter(negative=())] = False
    quiet: Annotated[bool, Parameter(negative=())] = False

    def where(self) -> "Where":
        """Who does the runs, as a sweep wants it said."""
        from experiments.sweep import Where, parsed_shard  # noqa: PLC0415

        return Where(self.workers, self.scheduler, self.slurm, parsed_shard(self.shard) if self.shard else None)


DEFAULTS = Options()


def sweep(
    study: str,
    /,
    *,
    out: Path | None = None,
    dry_run: Annotated[bool, Parameter(negative=())] = False,
    options: Options = DEFAULTS,
) -> int:
    """Run a study, or carry on with it.

    Args:
        study: A study file, or the name of a shipped study.
        out: The study's folder, new or carried on; results/<name>-<id> by default.
        dry_run: Say how many runs, hours and megabytes it would take, from one run that is timed; write nothing.
    """
    from experiments.study import FOLDER, load_study  # noqa: PLC0415
    from experiments.study_store import create, folder_name  # noqa: PLC0415
    from model.scenario_file import locate  # noqa: PLC0415

    where = options.where()
    loaded = load_study(study)
    if dry_run:
        from experiments.budget import estimated  # noqa: PLC0415

        _say(*estimated(loaded, where))
        return 0
    home = create(loaded, out or Path("results") / folder_name(loaded), locate(study, FOLDER, "study").read_text(encoding="utf-8-sig"))
    return carried_on(home, where, options)


def resume(folder: Path, /, *, options: Options = DEFAULTS) -> int:
    """Run what a study's folder lacks; failed runs are left as they are.

    Args:
        folder: A folder that `backstop sweep` has made.
    """
    from experiments.study_store import StudyFolder  # noqa: PLC0415

    return carried_on(StudyFolder(folder), options.where(), options)


def retry(folder: Path, /, *, options: Options = DEFAULTS) -> int:
    """Run what a study's folder lacks, and what failed.

    Args:
        folder: A folder that `backstop sweep` has made.
    """
    from experiments.study_store import StudyFolder  # noqa: PLC0415

    return carried_on(StudyFolder(folder), options.where(), options, retry=True)


def status(folder: Path, /) -> int:
    """Say how far a study is; reads its folder only, also while it is worked on.

    Args:
        folder: A folder that `backstop sweep` has made.
    """
    from experiments.study_store import COMPLETE, FAILED, StudyFolder  # noqa: PLC0415

    home = StudyFolder(folder)
    journal = home.journal()
    runs = [task.run_id for task in home.tasks()]
    ended = [journal.runs[run] for run in runs if run in journal.runs]
    counts = {state: sum(record.status == state for record in ended) for state in (COMPLETE, FAILED)}
    missing = len(runs) - sum(counts.values())
    _say(
        f"{home.study.name}: {counts[COMPLETE]:,} of {len(runs):,} runs complete, {counts[FAILED]:,} failed, {missing:,} missing",
        f"a sweep is {'' if home.at_work() else 'not '}at work on it",
    )
    if counts[COMPLETE]:
        each = sum(record.seconds for record in ended if record.status == COMPLETE) / counts[COMPLETE]
        _say(f"a run takes {each:.3g} seconds; what is missing, {missing * each / 3600.0:.3g} processor hours")
    if journal.damaged:
        _say(f"{journal.damaged} damaged lines in the journal; their runs are missing")
    lacking = home.failed()
    _tell_of(lacking[lacking["error"] != ""])
    return 0 if counts[COMPLETE] == len(runs) else 3


def check(file: str, /) -> None:
    """Say what is wrong with a study file, a line a fault.

    Args:
        file: A study file, or the name of a shipped study.
    """
    from experiments.plan import make  # noqa: PLC0415
    from experiments.study import load_study  # noqa: PLC0415
    from model.news import NewsSource  # noqa: PLC0415
    from model.randomness import Streams  # noqa: PLC0415

    study = load_study(file)
    world = study.scenario
    NewsSource(world.news, world.assets, Streams(0), world.hours_per_step)  # reads price files
    plan = make(study)
    _say(f"{file}: sound; {plan.told(study)}")


def schema() -> None:
    """Print the JSON Schema of study files."""
    import json  # noqa: PLC0415

    from experiments.study import study_schema  # noqa: PLC0415

    _say(json.dumps(study_schema(), indent=2, ensure_ascii=False))


def listing() -> None:
    """List the studies that come with the project."""
    from experiments.study import load_study, studies  # noqa: PLC0415

    known = {name: load_study(name) for name in studies()}
    width = max(map(len, known), default=0)
    _say(*(f"{name:<{width}}  {study.question}".rstrip() for name, study in known.items()))


def carried_on(home: "StudyFolder", where: "Where", options: Options, *, retry: bool = False) -> int:
    """Runs what the folder lacks, with progress; how it ended."""
    import logging  # noqa: PLC0415

    from rich.console import Console  # noqa: PLC0415

    from experiments.progress import tallied  # noqa: PLC0415
    from experiments.sweep import carry_on, lacking  # noqa: PLC0415

    logging.basicConfig(format="%(message)s", level=logging.ERROR if options.quiet else logging.WARNING)
    console = Console(stderr=True)
    try:
        with tallied(console, home.study.name, quiet=options.quiet) as progress:
            change = options.allow_code_change
            summary = carry_on(home, where, retry=retry, allow_code_change=change, progress=progress)
    except KeyboardInterrupt:
        _warn(console, f"stopped; what has run is kept: backstop resume {home.path}")
        return 130
    rest = lacking(summary, where)
    if not rest.empty:
        _tell_of(rest)
        failed = int((rest["status"] == "failed").sum())
        _warn(console, f"{failed:,} rows failed, {len(rest) - failed:,} missing: backstop {'retry' if failed else 'resume'} {home.path}")
        return 3
    if not options.quiet:
        _say(f"{home.study.name}: all {'runs' if where.shard is None else 'runs of the shard'} complete; the numbers are in {home.path}")
    return 0


def _tell_of(rows: "pd.DataFrame") -> None:
    """A line for each of the first failed runs."""
    for row in rows.head(LISTED).itertuples():
        _say(f"run {row.run_id} (point {row.point}, arm {row.arm}, replication {row.replication}): {row.status} {row.error}".rstrip())
    if len(rows) > LISTED:
        _say(f"and {len(rows) - LISTED:,} more; `status` and `error` in summary.csv")


def _say(*lines: str) -> None:
    for line in lines:
        print(line)  # noqa: T201 - a command prints


def _warn(console: "Console", line: str) -> None:
    console.print(f"backstop: {line}", highlight=False, markup=False, soft_wrap=True)
