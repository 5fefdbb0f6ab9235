"""The record of what happened to whom: one row for each liquidation, takeover, deleveraging, draw and default."""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

COLUMNS: Final = (
    "step",
    "increment",
    "round",
    "venue",
    "market",
    "account",
    "counterparty",
    "kind",
    "quantity",
    "price",
    "amount",
    "layer",
)
_TEXT: Final = ("venue", "market", "counterparty", "kind", "layer")


class Events:
    """Events as columns; append in blocks, read as a mapping of arrays.

    Args:
        recording: with False every call is free and nothing is kept.
        markets: names of the markets.
    """

    def __init__(self, recording: bool, markets: tuple[str, ...]) -> None:
        self.recording = recording
        self.markets = markets
        self.step, self.increment, self.round = 0, -1, -1
        self._blocks: list[tuple[int, tuple[object, ...]]] = []

    def add(  # noqa: PLR0913 - one a column
        self,
        kind: str,
        venue: str,
        *,
        account: ArrayLike = -1,
        market: int | None = None,
        counterparty: str = "",
        quantity: ArrayLike = 0.0,
        price: ArrayLike = np.nan,
        amount: ArrayLike = 0.0,
        layer: str = "",
    ) -> None:
        """Appends one event for each account; scalars apply to all.

        Args:
            kind: what happened.
            venue: where.
            account: ledger rows, or participants where `venue` is empty.
            market: index of the market.
            counterparty: who took the other side: book, liquidators, fund, winners.
            quantity: contracts, signed as the account traded them.
            price: USD a contract.
            amount: USD: fee, deficit, haircut or payment.
            layer: which layer of the waterfall paid.
        """
        if not self.recording:
            return
        accounts = np.atleast_1d(np.asarray(account))
        if not accounts.size:
            return
        name = "" if market is None else self.markets[market]
        block = (self.step, self.increment, self.round, venue, name, accounts, counterparty, kind, quantity, price, amount, layer)
        self._blocks.append((accounts.size, block))

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """Every column by name, one entry an event."""
        sizes = [size for size, _ in self._blocks]
        out: dict[str, NDArray[np.generic]] = {}
        for at, name in enumerate(COLUMNS):
            dtype = object if name in _TEXT else (np.float64 if name in ("quantity", "price", "amount") else np.int64)
            parts = [np.broadcast_to(np.asarray(block[at], dtype=dtype), size) for size, block in self._blocks]
            out[name] = np.concatenate(parts) if sizes else np.empty(0, dtype=dtype)
        return out
