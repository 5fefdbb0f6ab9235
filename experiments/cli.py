"""The command line: `backstop run crash --seed 1`. Nothing heavy is imported before a command needs it.

Exit codes: 0 complete, 2 bad input, 3 a run failed, 130 interrupted.
"""

import os
import signal
import sys
import traceback
from importlib import metadata
from typing import Any, Final, NoReturn

from cyclopts import App, CycloptsError

COMPLETE: Final = 0
BAD_INPUT: Final = 2
FAILED: Final = 3
INTERRUPTED: Final = 130

THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Linear algebra on one thread: more are slower here, and change the last bits of a sum."""


def _version() -> str:
    try:
        return metadata.version("backstop")
    except metadata.PackageNotFoundError:
        return "not installed: run from its source"


app = App(
    name="backstop",
    help="An agent-based model of a derivatives exchange, its backstop fund and the defaults that follow when it runs out.",
    version=_version,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,
)
app.command("experiments.commands:run", name="run", help="Run a scenario and write what came of it into a folder.")
app.command("experiments.app.serve:main", name="app", help="Watch a scenario in the browser.")
app.command("experiments.bench:main", name="bench", help="Time a step in account-steps per second.")
app.command("experiments.backtest:main", name="backtest", help="Back-test margin rules on recorded prices or on a run.")
app.command("experiments.validation.table:main", name="validate", help="Compare the model with published results and recorded events.")
app.command(
    "experiments.study_commands:sweep", name="sweep", help="Run a study: every point, arm and replication; carries on where it was."
)
app.command("experiments.study_commands:resume", name="resume", help="Run what a study's folder lacks.")
app.command("experiments.study_commands:retry", name="retry", help="Run what a study's folder lacks, and what failed.")
app.command("experiments.study_commands:status", name="status", help="Say how far a study is.")
app.command("experiments.analysis_commands:analyse", name="analyse", help="Make a study's analyses: tables with intervals.")
app.command("experiments.analysis_commands:report", name="report", help="Write a study's figures, tables and one HTML page.")
app.command("experiments.analysis_commands:attribute", name="attribute", help="Divide losses and defaults over channels of contagion.")
app.command("experiments.analysis_commands:rare", name="rare", help="Estimate the probability of rare events, weighting drawn shocks.")
app.command("experiments.analysis_commands:search", name="search", help="Search the frontier of safety against its cost.")
scenario = App(name="scenario", help="Check scenario files, list the shipped ones, print their schema.", help_format="plaintext")
scenario.command("experiments.commands:check", name="check", help="Say what is wrong with a scenario file, a line a fault.")
scenario.command("experiments.commands:schema", name="schema", help="Print the JSON Schema of scenario files.")
scenario.command("experiments.commands:show", name="show", help="Print every setting of a scenario, presets expanded.")
scenario.command("experiments.commands:listing", name="list", help="List the scenarios that come with the project.")
app.command(scenario)
study = App(name="study", help="Check study files, list the shipped ones, print their schema.", help_format="plaintext")
study.command("experiments.study_commands:check", name="check", help="Say what is wrong with a study file, a line a fault.")
study.command("experiments.study_commands:schema", name="schema", help="Print the JSON Schema of study files.")
study.command("experiments.study_commands:listing", name="list", help="List the studies that come with the project.")
app.command(study)


def main(words: list[str] | None = None) -> NoReturn:
    """Entry point of the console command; `words` default to the command line's."""
    for name in THREADS:
        os.environ[name] = "1"
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(_code(words))


def _code(words: list[str] | None) -> int:
    """Runs a command, tells what went wrong in plain lines, and says how it ended."""
    try:
        answer: Any = app(words, exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except CycloptsError as error:
        return _tell(BAD_INPUT, _said(error))
    except KeyboardInterrupt:
        return _tell(INTERRUPTED, "interrupted; nothing was written")
    except BrokenPipeError:  # whoever read our output has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return COMPLETE
    except Exception as error:  # noqa: BLE001 - our own errors cannot be named here without importing what defines them
        return _told(error)
    return answer if isinstance(answer, int) else COMPLETE


def _told(error: Exception) -> int:
    """Errors of ours in their own words; any other shows where it was raised, for it is our fault."""
    from experiments.runner import RunFailed  # noqa: PLC0415 - heavy, and loaded already if a command got far enough to fail
    from experiments.study_run import OtherSource  # noqa: PLC0415
    from experiments.study_store import NonDeterminism  # noqa: PLC0415
    from model.errors import ScenarioError  # noqa: PLC0415

    if isinstance(error, ScenarioError):
        return _tell(BAD_INPUT, *error.faults)
    if isinstance(error, RunFailed | NonDeterminism | OtherSource):
        return _tell(FAILED, str(error))
    if isinstance(error, OSError):
        return _tell(FAILED, f"{error.filename or 'output'}: {error.strerror or error}")
    traceback.print_exception(error)
    return FAILED


def _tell(code: int, *lines: str) -> int:
    for line in lines:
        print(f"backstop: {line}" if code != BAD_INPUT else line, file=sys.stderr)  # noqa: T201 - the command line prints
    return code


def _said(error: CycloptsError) -> str:
    """The error on one line."""
    try:
        return " ".join(str(error).split())
    except ImportError:  # its suggestions need every command's module, and one of them wants a package that is not installed
        return " ".join(("unknown:", *(error.unused_tokens or ())))
