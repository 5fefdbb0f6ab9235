"""`python -m experiments.mutations`: breaks the engine in listed ways, one at a time, and reports which tests notice.

Each mutation is one textual change of a copy of the source. A suite that passes on a broken engine proves nothing about a whole one, so
every listed mutation must be noticed. Exit codes: 0 all noticed, 2 bad input, 3 a mutation survived or could not be tried.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import App, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.table import Column, Table

from experiments.mutation_list import MUTATIONS, Mutation

ROOT: Final = Path(__file__).parent.parent
COPIED: Final = ("model", "agents", "experiments", "tests", "pyproject.toml")
FIRST: Final = (
    "tests/reference",
    "tests/model/test_clearing.py",
    "tests/model/test_ledger.py",
    "tests/model/test_market.py",
    "tests/agents",
    "tests/laws",
    "tests",
)
"""Fast and telling tests first; the rest after them."""
LEFT_OUT: Final = ("tests/experiments", "tests/browser", "tests/test_packaging.py", "tests/test_readme.py")
"""Tests of what is built around the engine."""
PATIENCE: Final = 4.0
"""A mutated suite may take this many times as long as the whole one; if it takes longer, that is noticed."""
CONFTEST: Final = """from hypothesis import Phase, settings

settings.register_profile("mutations", phases=[Phase.explicit, Phase.reuse, Phase.generate])
settings.load_profile("mutations")
"""
"""That a test fails is all that is asked: no time goes into the smallest example."""


@dataclass(frozen=True)
class Verdict:
    """What came of a mutation: the first test that failed, None if none did; whether it could be tried; seconds that took."""

    mutation: Mutation
    noticed_by: str | None
    seconds: float
    tried: bool = True

    @property
    def as_expected(self) -> bool:
        """Whether one of the tests that should notice was the first to do so."""
        return self.noticed_by is not None and self.noticed_by.startswith((*self.mutation.expected, "timeout"))


def copy_source(source: Path, target: Path) -> None:
    """Copies what the tests need into `target`."""
    target.mkdir(parents=True)
    for name in COPIED:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source / name, target / name)
    (target / "conftest.py").write_text(CONFTEST)


def mutated(mutation: Mutation, root: Path = ROOT) -> str:
    """The text of the mutation's file under `root` after it.

    Raises:
        ValueError: what it replaces is not there exactly once.
    """
    text = (root / mutation.file).read_text()
    if text.count(mutation.before) != 1:
        raise ValueError(f"{mutation.name}: found {text.count(mutation.before)} times in {mutation.file}, expected once: {mutation.before}")
    return text.replace(mutation.before, mutation.after)


def suite(root: Path, expected: Sequence[str]) -> list[str]:
    """Test files under `root`, each once: `expected` first, then fast and telling ones, then the rest."""
    found: dict[str, None] = {}
    for place in (*expected, *FIRST):
        path = root / place
        for file in sorted(path.rglob("test_*.py")) if path.is_dir() else [path]:
            name = file.relative_to(root).as_posix()
            if not name.startswith(LEFT_OUT):
                found[name] = None
    return list(found)


def first_failure(root: Path, expected: Sequence[str], timeout: float | None) -> tuple[bool, str | None]:
    """Runs the suite under `root`: whether it could be run, and the first test that failed or "timeout"."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--tb=no", "-p", "no:cacheprovider", *suite(root, expected)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = {**os.environ, **threads, "PYTHONPATH": str(root)}
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=timeout
        )
    except subprocess.TimeoutExpired:
        return True, "timeout"
    failed = [line.split(" - ")[0].split(maxsplit=1)[1] for line in done.stdout.splitlines() if line.startswith(("FAILED ", "ERROR "))]
    if done.returncode == 0 or failed:
        return True, failed[0] if failed else None
    return False, f"pytest ended with {done.returncode}: {(done.stdout + done.stderr).strip()[-500:]}"


def attempt(mutation: Mutation, whole: Path, timeout: float | None) -> Verdict:
    """Applies a mutation to a copy of `whole` and runs the suite there."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        broken = Path(folder) / "broken"
        shutil.copytree(whole, broken, ignore=shutil.ignore_patterns("__pycache__", ".hypothesis"))
        (broken / mutation.file).write_text(mutated(mutation, broken))
        tried, noticed_by = first_failure(broken, mutation.expected, timeout)
    return Verdict(mutation, noticed_by, time.monotonic() - started, tried)


def attempts(mutations: Sequence[Mutation], whole: Path, timeout: float | None, workers: int) -> Iterator[Verdict]:
    """Tries mutations side by side; verdicts as they come."""
    with ThreadPoolExecutor(workers) as pool:
        for done in as_completed([pool.submit(attempt, mutation, whole, timeout) for mutation in mutations]):
            yield done.result()


def main(
    *,
    only: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=())] = None,
    workers: Annotated[int, Parameter(validator=Number(gte=1))] = 1,
) -> int:
    """Break the engine in listed ways, one at a time, and report which tests notice.

    Args:
        only: Names of the mutations to try; all by default.
        workers: Mutations to try side by side.
    """
    console = Console()
    known = {mutation.name: mutation for mutation in MUTATIONS}
    unknown = [name for name in only or () if name not in known]
    if unknown or not (ROOT / "tests").is_dir():
        console.print(f"unknown mutations: {', '.join(unknown)}" if unknown else "no tests here: expected a source tree", style="red")
        return 2
    chosen = [known[name] for name in only] if only else list(MUTATIONS)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        copy_source(ROOT, whole)
        started = time.monotonic()
        with console.status("the whole engine"):
            tried, failure = first_failure(whole, (), None)
        if failure or not tried:
            console.print(f"the whole engine fails: {failure}", style="red", markup=False)
            return 3
        patience = PATIENCE * workers * (time.monotonic() - started)
        verdicts = {}
        with console.status("mutations") as status:
            for verdict in attempts(chosen, whole, patience, workers):
                verdicts[verdict.mutation.name] = verdict
                status.update(f"{len(verdicts)} of {len(chosen)} mutations")
    return _report([verdicts[mutation.name] for mutation in chosen], console)


def _report(verdicts: Sequence[Verdict], console: Console) -> int:
    table = Table("mutation", Column("noticed by", overflow="fold"), "s", caption="*: not by the tests that were expected to")
    for verdict in verdicts:
        mark = "" if verdict.as_expected else "* "
        table.add_row(verdict.mutation.name, mark + verdict.noticed_by if verdict.noticed_by else "NOTHING", f"{verdict.seconds:.0f}")
    console.print(table, markup=False)
    open_ends = [verdict for verdict in verdicts if verdict.noticed_by is None or not verdict.tried]
    for verdict in open_ends:
        console.print(
            f"{verdict.mutation.name}: {verdict.mutation.says} {verdict.noticed_by or 'No test notices.'}", style="red", markup=False
        )
    console.print(f"{len(verdicts) - len(open_ends)} of {len(verdicts)} noticed", highlight=False)
    return 3 if open_ends else 0


if __name__ == "__main__":
    app = App(name="mutations", help_format="plaintext", result_action="return_value")
    app.default(main)
    sys.exit(app())
