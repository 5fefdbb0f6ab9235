"""The members' default fund of a venue: real contributions on a row of the ledger, paid in, used and restored."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.members import MemberParameters, MemberView
from model.ledger import OUTSIDE, Flow, Ledger, Rows, Status

if TYPE_CHECKING:
    from model.venue import Venue

type Floats = NDArray[np.float64]


class Members:
    """Clearing members.

    Attributes:
        row: of the fund in the ledger.
        rows: shape (K,), of the members.
        held, required: shape (K,), USD, contributions as they stand, and as they should be.
    """

    def __init__(self, parameters: MemberParameters, row: int) -> None:
        self.parameters, self.row = parameters, row
        self.rows: Rows = np.empty(0, dtype=np.intp)
        self.held: Floats = np.empty(0)
        self.required: Floats = np.empty(0)

    def join(self, venue: "Venue") -> None:
        """At the opening: makers, and the traders that have most, pay their contributions in."""
        p, ledger = self.parameters, venue.ledger
        traders = np.arange(venue.institutions, ledger.rows)
        largest = np.sort(traders[np.argsort(-ledger.balance(traders), kind="stable")[: p.traders]])
        self.rows = np.concatenate((venue.makers if p.market_makers else np.empty(0, dtype=np.intp), largest)).astype(np.intp)
        self.required = p.share * np.maximum(ledger.balance(self.rows), 0.0)
        self.held = self.required.copy()
        ledger.transfer(Flow.CONTRIBUTION, self.rows, self.row, self.required)

    def view(self, defaulters: tuple[Rows, Floats] | None, hours: float) -> MemberView:
        """What layers see: `defaulters` are rows of the ledger and USD of deficits."""
        caused = np.zeros(self.rows.size)
        if defaulters is not None:
            _, mine, theirs = np.intersect1d(self.rows, defaulters[0], return_indices=True)
            caused[mine] = defaulters[1][theirs]
        return MemberView(self.rows, self.held, self.required, caused, hours)

    def use(self, ledger: Ledger, target: int, contributions: Floats) -> float:
        """Moves USD of contributions, (K,), to a row; returns their sum."""
        self.held = self.held - contributions
        return ledger.transfer(Flow.MEMBERS_FUND, self.row, target, float(contributions.sum()))

    def give(self, ledger: Ledger, target: int, wanted: float) -> float:
        """Moves up to `wanted` USD of contributions, in proportion to what is left of them, to a row; returns what there was."""
        total = float(self.held.sum())
        return self.use(ledger, target, self.held * min(wanted / total, 1.0)) if total > 0.0 and wanted > 0.0 else 0.0

    def restore(self, venue: "Venue", hours: float) -> None:
        """Close of a step: members pay in what free margin and time allow of what is missing; those who have left get theirs back.

        Like every withdrawal that is as much as custody pays for; the rest stays in the fund until then.
        """
        ledger, rows = venue.ledger, self.rows
        gone = ledger.status[rows] == Status.GONE
        back = np.where(gone, self.held, 0.0)
        if back.any():
            back = back * venue.within_custody(float(back.sum()))
            ledger.transfer(Flow.CONTRIBUTION, self.row, OUTSIDE, float(back.sum()))
        self.required = np.where(gone, 0.0, self.required)
        self.held = self.held - back
        missing = np.maximum(self.required - self.held, 0.0)
        if not missing.any():
            return
        margin = venue.margin_of(ledger, rows).initial
        free = np.where(ledger.status[rows] == Status.ACTIVE, np.maximum(ledger.equity(rows) - margin, 0.0), 0.0)
        paid = np.minimum(np.minimum(missing, self.required * (hours / self.parameters.restore_hours)), free)
        ledger.transfer(Flow.CONTRIBUTION, rows, self.row, paid)
        self.held = self.held + paid
