"""How far a run has come: a bar on a terminal, otherwise a plain line now and then."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

type Report = Callable[[int, int], None]
"""Called with steps done and steps in all."""

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
