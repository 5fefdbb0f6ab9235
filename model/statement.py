"""The fund's statement: opening balance, itemised flows, closing balance, step by step."""

import numpy as np
import pandas as pd

from model.ledger import Flow


class Statement:
    """Itemised flows of the backstop fund over a run.

    Args:
        opening: USD, the fund at the start.
    """

    def __init__(self, opening: float) -> None:
        self.opening = opening
        self._closing = opening
        self._before = opening
        self._flows: list[dict[Flow, float]] = []

    def add(self, flows: dict[Flow, float], closing: float) -> None:
        """Appends a step: its flows by kind and the fund's equity at its end, USD."""
        self._flows.append(flows)
        self._before, self._closing = self._closing, closing

    def discrepancy(self) -> float:
        """USD by which the last step's flows miss the fund's change."""
        return self._closing - self._before - sum(self._flows[-1].values())

    def totals(self) -> dict[str, float]:
        """USD by kind over the whole run."""
        out: dict[str, float] = {}
        for flows in self._flows:
            for kind, amount in flows.items():
                out[kind.value] = out.get(kind.value, 0.0) + amount
        return out

    def table(self, hours_per_step: float) -> pd.DataFrame:
        """Columns step, hours, flow, amount (USD); steps without a flow of a kind are absent."""
        steps = [(step, kind.value, amount) for step, flows in enumerate(self._flows, start=1) for kind, amount in flows.items() if amount]
        frame = pd.DataFrame(steps, columns=["step", "flow", "amount"]).astype({"step": np.int64, "amount": np.float64})
        frame.insert(1, "hours", frame["step"] * hours_per_step)
        return frame
