"""The two ways a run can be refused: a scenario that makes no sense, a step that breaks a law."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray


class ScenarioError(Exception):
    """Input that cannot be run.

    Attributes:
        faults: one line each, see `fault`.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__(list(faults))
        self.faults = list(faults)

    def __str__(self) -> str:
        return "\n".join(self.faults)


class LawViolation(Exception):
    """A law that did not hold at the end of a step.

    Attributes:
        step: the step in which it was found.
        law: what should have held, and what was found.
        rows: ledger rows concerned, empty if the law is about a sum.
    """

    def __init__(self, step: int, law: str, rows: ArrayLike = ()) -> None:
        self.step = step
        self.law = law
        self.rows: NDArray[np.int64] = np.atleast_1d(np.asarray(rows, dtype=np.int64))
        super().__init__(step, law, self.rows.tolist())

    def __str__(self) -> str:
        where = f" (rows {', '.join(map(str, self.rows[:10]))}{' …' if self.rows.size > 10 else ''})" if self.rows.size else ""
        return f"step {self.step}: {self.law}{where}"


def fault(file: object, line: int | None, field: str, found: object, expected: str) -> str:
    """One line for one fault: `file:line: field: found …, expected …`. `line` counts from 1, None for the file as a whole."""
    where = str(file) if line is None else f"{file}:{line}"
    return f"{where}: {field}: found {found}, expected {expected}"
