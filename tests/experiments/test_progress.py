"""Progress: a bar for a person, a line now and then for a log."""

import io

import pytest
from rich.console import Console

from experiments import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_at_most_every_thirty_seconds(clock: list[float]) -> None:
    out = io.StringIO()
    with progress.reported(Console(file=out), "crash") as report:
        for step in range(101):
            report(step, 1000)
            clock[0] += 1.0
    # Steps 0 … 100 at one a second: lines at 30, 60 and 90.
    assert out.getvalue().splitlines() == [f"crash: {step} of 1,000 steps" for step in (30, 60, 90)]


def test_a_terminal_gets_a_bar_that_goes(clock: list[float]) -> None:
    out = io.StringIO()
    with progress.reported(Console(file=out, force_terminal=True, width=80), "crash") as report:
        report(0, 10)
        clock[0] += 1.0
        report(5, 10)
    assert " 5/10" in out.getvalue()
    assert out.getvalue().endswith("\x1b[1A\x1b[2K"), "the last thing written is the bar's erasure"


def test_a_quiet_run_reports_nothing(clock: list[float]) -> None:
    out = io.StringIO()
    with progress.reported(Console(file=out, force_terminal=True), "crash", quiet=True) as report:
        report(1, 2)
    assert out.getvalue() == ""
