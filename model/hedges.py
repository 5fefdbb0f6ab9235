"""Lost hedges: spot that hedgers are left with when deleveraging closes the contracts against it, and how they sell it."""

import numpy as np
from numpy.typing import NDArray

from agents.trader import LostHedgeParameters
from model.ledger import Ledger, Rows, Status
from model.quoting import CRUMB

type Floats = NDArray[np.float64]


class NakedSpot:
    """Spot of a venue's hedgers that is to be sold.

    Attributes:
        rows: shape (k,), whose.
        units: shape (A, k), how much of it is still to be sold.
    """

    def __init__(self, parameters: LostHedgeParameters | None, assets: int) -> None:
        self.parameters = parameters
        self.rows: Rows = np.empty(0, dtype=np.intp)
        self.units: Floats = np.empty((assets, 0))

    def sells(self, rows: Rows) -> NDArray[np.bool_]:
        """Whether accounts, (n,), are selling."""
        return np.isin(rows, self.rows) if self.rows.size else np.zeros(rows.size, dtype=bool)

    def note(self, ledger: Ledger, rows: Rows, matched: Floats) -> None:
        """Hedgers, (n,), whose contracts were closed: what they hold beyond what is `matched`, (A, n), is to be sold, in part or whole."""
        if self.parameters is None:
            return
        units = self.parameters.share * np.maximum(ledger.spot[:, rows] - matched, 0.0)
        kept = ~np.isin(self.rows, rows)
        some = units.any(axis=0)
        self.rows = np.concatenate((self.rows[kept], rows[some]))
        self.units = np.concatenate((self.units[:, kept], units[:, some]), axis=1)

    def sale(self, ledger: Ledger, index: Floats, hours: float) -> tuple[Rows, Floats]:
        """Who sells in a step of `hours`, and units, (A, n): what a margin call has sold meanwhile is no longer to be sold."""
        if self.parameters is None or not self.rows.size:
            return self.rows, self.units
        active = ledger.status[self.rows] == Status.ACTIVE
        rows = self.rows[active]
        units = np.minimum(self.units[:, active], ledger.spot[:, rows])
        small = units * index[:, None] < CRUMB
        sold = np.where(small, units, units * -np.expm1(-self.parameters.rate * hours))
        left = units - sold
        still = left.any(axis=0)
        self.rows, self.units = rows[still], left[:, still]
        return rows, sold
