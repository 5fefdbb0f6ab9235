"""What a run has shown so far, as columns that only grow: a reader's view never changes under its eyes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray

type Floats = NDArray[np.float64]

ROWS: Final = 10_000
"""Steps kept at most; of a longer run the latest are kept, so that memory stays flat."""


@dataclass(frozen=True, slots=True)
class Table:
    """Columns by name, read-only; `values` has shape (steps, columns)."""

    columns: dict[str, int]
    values: Floats

    def __getitem__(self, name: str) -> Floats:
        """Shape (steps,)."""
        column: Floats = self.values[:, self.columns[name]]
        return column

    def __len__(self) -> int:
        return len(self.values)

    def last(self, name: str) -> float:
        """A column's latest value."""
        return float(self.values[-1, self.columns[name]])

    def frame(self) -> pd.DataFrame:
        """The same as pandas has it."""
        return pd.DataFrame(self.values, columns=list(self.columns))


class History:
    """Rows appended step by step.

    Args:
        columns: their names.
        rows: how many to keep, at least 2.
    """

    def __init__(self, columns: Sequence[str], rows: int = ROWS) -> None:
        self._columns = {name: at for at, name in enumerate(columns)}
        self._rows = rows
        self._values = np.empty((min(rows, 512), len(self._columns)))
        self._filled = 0

    def append(self, row: Sequence[float]) -> None:
        """One step's values, in the order of the columns."""
        if self._filled == len(self._values):
            self._make_room()
        self._values[self._filled] = row
        self._filled += 1

    def table(self) -> Table:
        """What there is now; rows that come later do not change it."""
        view = self._values[: self._filled]
        view.flags.writeable = False
        return Table(self._columns, view)

    def _make_room(self) -> None:
        """A new block, for earlier tables look at the old one: twice as large, or without the older half."""
        kept = self._values[-(self._rows // 2) :] if self._filled >= self._rows else self._values
        self._values = np.empty((min(self._rows, max(2 * len(kept), 2)), len(self._columns)))
        self._filled = len(kept)
        self._values[: self._filled] = kept
