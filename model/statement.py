"""The fund's statement: opening balance, itemised flows, closing balance, step by step and pool by pool."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from model.ledger import Flow


class Statement:
    """Itemised flows of the backstop fund over a run.

    Args:
        pools: names of the fund's pools.
        opening: USD, each pool at the start.
    """

    def __init__(self, pools: Sequence[str], opening: Sequence[float]) -> None:
        self.pools = tuple(pools)
        self.openings = list(opening)
        self._closing = self._before = list(opening)
        self._flows: list[list[dict[Flow, float]]] = []

    @property
    def opening(self) -> float:
        """USD, the fund at the start, all pools together."""
        return sum(self.openings, 0.0)

    def continued(self) -> "Statement":
        """An empty statement that opens where this one closes."""
        return Statement(self.pools, self._closing)

    def add(self, flows: list[dict[Flow, float]], closing: Sequence[float]) -> None:
        """Appends a step: by pool, its flows by kind and its equity at the step's end, USD."""
        self._flows.append(flows)
        self._before, self._closing = self._closing, list(closing)

    def discrepancies(self) -> list[float]:
        """By pool, USD by which the last step's flows miss its change."""
        steps = zip(self._closing, self._before, self._flows[-1], strict=True)
        return [closing - before - sum(flows.values()) for closing, before, flows in steps]

    def totals(self, pool: str | None = None) -> dict[str, float]:
        """USD by kind over the whole run: of one pool, or of all together."""
        out: dict[str, float] = {}
        for step in self._flows:
            for name, flows in zip(self.pools, step, strict=True):
                for kind, amount in flows.items() if pool in (None, name) else ():
                    out[kind.value] = out.get(kind.value, 0.0) + amount
        return out

    def table(self, hours_per_step: float) -> pd.DataFrame:
        """Columns step, hours, pool, flow, amount (USD); steps without a flow of a kind are absent."""
        lines = [
            (step, name, kind.value, amount)
            for step, pools in enumerate(self._flows, start=1)
            for name, flows in zip(self.pools, pools, strict=True)
            for kind, amount in flows.items()
            if amount
        ]
        frame = pd.DataFrame(lines, columns=["step", "pool", "flow", "amount"]).astype({"step": np.int64, "amount": np.float64})
        frame.insert(1, "hours", frame["step"] * hours_per_step)
        return frame
