"""How far a run or a sweep has come: a bar on a terminal, otherwise a plain line now and then."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from experiments.summary import span

type Report = Callable[[int, int], None]
"""Called with steps done and steps in all."""
type Tally = Callable[[int, int, int], None]
"""Called with runs done, those among them that failed, and runs in all."""

REFRESH = 0.1
"""Seconds between two updates of a bar."""
EVERY = 30.0
"""Seconds between two plain lines, at least."""


@contextmanager
def reported(console: Console, name: str, *, quiet: bool = False) -> Iterator[Report]:
    """A function to report with; the bar goes when the block ends."""
    if quiet:
        yield silent
    elif not console.is_terminal:
        yield plain(console, name)
    else:
        left = (TextColumn("steps,"), TimeRemainingColumn(), TextColumn("left"))
        with Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), *left, console=console, transient=True, auto_refresh=False
        ) as bar:
            task = bar.add_task(name, total=None)
            yield _at_most_every(REFRESH, lambda done, steps: bar.update(task, completed=done, total=steps, refresh=True))


@contextmanager
def tallied(console: Console, name: str, *, quiet: bool = False) -> Iterator[Tally]:
    """A function to report runs with: done, failed, rate and time left, counted from the first report."""
    if quiet:
        yield lambda _done, _failed, _runs: None
    elif not console.is_terminal:
        yield _lines(console, name)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("runs{task.fields[said]}"))
        with Progress(*columns, console=console, transient=True, auto_refresh=False) as bar:
            task = bar.add_task(name, total=None, said="")
            pace = _Pace()

            def show(done: int, failed: int, runs: int) -> None:
                bar.update(task, completed=done, total=runs, said=pace.said(done, failed, runs), refresh=True)

            yield show


def _lines(console: Console, name: str) -> Tally:
    """Lines such as `fund-size: 120 of 500 runs, 2 failed, 3.1 a second, 2 minutes left`; the first at once, the last at the end."""
    pace = _Pace()
    last = -math.inf

    def line(done: int, failed: int, runs: int) -> None:
        nonlocal last
        if time.monotonic() - last >= EVERY or done == runs:
            last = time.monotonic()
            console.print(
                f"{name}: {done:,} of {runs:,} runs{pace.said(done, failed, runs)}", highlight=False, markup=False, soft_wrap=True
            )

    return line


class _Pace:
    """Runs a second since the first report."""

    def __init__(self) -> None:
        self._first: tuple[float, int] | None = None

    def said(self, done: int, failed: int, runs: int) -> str:
        now = time.monotonic()
        began, before = self._first = self._first or (now, done)
        words = [f"{failed:,} failed"] if failed else []
        if done > before and now > began:
            rate = (done - before) / (now - began)
            words.append(
                f"{rate:.3g} a second" if rate >= 1.0 else f"{rate * 60:.3g} a minute" if rate >= 1 / 60 else f"{rate * 3600:.3g} an hour"
            )
            if done < runs:
                words.append(f"{span((runs - done) / rate / 3600.0)} left")
        return "".join(f", {word}" for word in words)


def silent(_done: int, _steps: int) -> None:
    """Says nothing."""


def plain(console: Console, name: str) -> Report:
    """Lines such as `crash: 120 of 336 steps`; none in the first half minute."""

    def line(done: int, steps: int) -> None:
        console.print(f"{name}: {done:,} of {steps:,} steps", highlight=False, markup=False)

    return _at_most_every(EVERY, line, at_once=False)


def _at_most_every(seconds: float, report: Report, *, at_once: bool = True) -> Report:
    last = time.monotonic() - (seconds if at_once else 0.0)

    def throttled(done: int, steps: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= seconds:
            last = now
            report(done, steps)

    return throttled
