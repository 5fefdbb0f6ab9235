"""One run: a scenario, a seed, and everything that came of them.

```python
from experiments.runner import run

crash = run("crash", seed=1)
crash.series.plot(x="hours", y=["fund", "fund_target"])
```
"""

import sysconfig
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pandas as pd

from experiments import shipped, store
from experiments.closing import closing
from experiments.progress import Report, silent
from experiments.store import Run
from model.ecosystem import Ecosystem
from model.errors import LawViolation, ScenarioError, fault
from model.scenario import Scenario

__all__ = ["Run", "RunFailed", "run", "simulate"]

ROOT: Final = Path(__file__).parent.parent
PACKAGES: Final = tuple(str(ROOT / name) for name in ("agents", "experiments", "model"))
OTHERS: Final = tuple(sysconfig.get_path(name) for name in ("stdlib", "purelib", "platlib"))


class RunFailed(Exception):
    """A run that did not get to its end; the cause is its `__cause__`.

    Attributes:
        step: the step that failed, counting from 1.
        reason: one line: the law that did not hold, or the error and where in the source it was raised.
    """

    def __init__(self, step: int, reason: str) -> None:
        super().__init__(step, reason)
        self.step = step
        self.reason = reason

    def __str__(self) -> str:
        return f"step {self.step}: {self.reason}"


def run(
    scenario: Scenario | str | Path,
    *,
    seed: int,
    steps: int | None = None,
    out: str | Path | None = None,
    check_laws: bool = False,
    progress: Report | None = None,
) -> Run:
    """Run a scenario from its opening.

    Args:
        scenario: a scenario, a scenario file, or the name of a shipped one.
        seed: 0 or more; same seed, same scenario, same numbers.
        steps: how many; the scenario's own number if None.
        out: a new folder to write the run to, see `experiments.store.write`; nothing is written if None.
        check_laws: assert the model's laws after every step.
        progress: called with steps done and steps in all, before the first step and after each.

    Raises:
        ScenarioError: input that cannot be run, told before the first step; or a folder that cannot be written to.
        RunFailed: a step that failed; nothing is written.
    """
    if seed < 0:
        raise ScenarioError([fault("run", None, "seed", seed, "0 or more")])
    if out is not None:
        store.check_target(Path(out))
    world = scenario if isinstance(scenario, Scenario) else shipped.load(scenario)
    done = _complete(_for_steps(world, steps), seed, check_laws, progress or silent)
    if out is not None:
        store.write(done, Path(out))
    return done


def _for_steps(scenario: Scenario, steps: int | None) -> Scenario:
    """The scenario with the length it is run for: what is stored of it then says all there is to say."""
    if steps is None:
        return scenario
    if steps < 1:
        raise ScenarioError([fault("run", None, "steps", steps, "at least 1")])
    return scenario.model_copy(update={"steps": steps})


def _complete(scenario: Scenario, seed: int, check_laws: bool, progress: Report) -> Run:
    """All steps, and the tables of what came of them."""
    start = time.perf_counter()
    eco = simulate(scenario, seed, check_laws=check_laws, progress=progress)
    edges: list[tuple[str, str, float]] = list(eco.exposures().edges(data="amount"))
    return Run(
        scenario=scenario,
        seed=seed,
        series=eco.series(),
        events=eco.event_table(),
        statement=eco.statement_table(),
        balance_sheets=eco.balance_sheets(),
        edges=pd.DataFrame(edges, columns=["source", "target", "amount"]).astype({"amount": float}),
        closing=closing(eco.places[0]),
        seconds=time.perf_counter() - start,
    )


def simulate(
    scenario: Scenario, seed: int, *, check_laws: bool = False, record_events: bool = True, progress: Report = silent
) -> Ecosystem:
    """The world after its last step.

    Raises:
        ScenarioError, RunFailed: see `run`.
    """
    eco = _opened(scenario, seed, check_laws, record_events)
    if eco.news.steps is not None and scenario.steps > eco.news.steps:
        raise ScenarioError([fault("prices", None, "steps", scenario.steps, f"at most {eco.news.steps}, one for each row")])
    progress(0, scenario.steps)
    for step in range(1, scenario.steps + 1):
        advance(eco.step, step)
        progress(step, scenario.steps)
    return eco


def _opened(scenario: Scenario, seed: int, check_laws: bool, record_events: bool) -> Ecosystem:
    """The world before its first step; a rule of a user's own may fail here already."""
    try:
        return Ecosystem(scenario, rng=seed, check_laws=check_laws, record_events=record_events)
    except ScenarioError:
        raise
    except Exception as error:
        raise RunFailed(0, _reason(error)) from error


def advance(take: Callable[[], None], step: int) -> None:
    """Takes a step; whatever goes wrong in it is told with its number.

    Raises:
        RunFailed: it failed.
    """
    try:
        take()
    except LawViolation as error:
        raise RunFailed(step, f"a law does not hold: {str(error).partition(': ')[2]}") from error
    except Exception as error:
        raise RunFailed(step, _reason(error)) from error


def _reason(error: Exception) -> str:
    """What was raised and where, on one line."""
    return " ".join(f"{type(error).__name__}: {error} ({_where(error)})".split())


def _where(error: Exception) -> str:
    """The innermost line of this project, or of a user's own rule, that the error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename.startswith(PACKAGES) or not frame.filename.startswith(OTHERS)]
    frame = (own or frames)[-1]
    path = Path(frame.filename)
    return f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}:{frame.lineno}"
