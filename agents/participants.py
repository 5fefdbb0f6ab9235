"""Participants as Mesa agents: handles on rows of the model's columns.

A participant holds one number. What it owns is read from the model as Python scalars and cannot be assigned; behaviour can.
"""

from typing import Any, Protocol

import mesa
import numpy as np
from numpy.typing import NDArray


class Accounts(Protocol):
    """What a participant needs of a ledger."""

    marks: NDArray[np.float64]
    units: NDArray[np.float64]
    cash: NDArray[np.float64]
    position: NDArray[np.float64]
    spot: NDArray[np.float64]
    status: NDArray[np.int8]

    def equity(self, rows: int) -> NDArray[np.float64]: ...


class World(Protocol):
    """What a participant needs of the model."""

    names: tuple[str, ...]
    assets: tuple[str, ...]

    @property
    def accounts(self) -> Accounts: ...

    def behaviour(self, row: int) -> dict[str, Any]: ...

    def behave(self, row: int, name: str, value: Any) -> None: ...

    def lender_sheet(self, node: int) -> tuple[float, float, int]: ...


class Participant(mesa.Agent[Any]):
    """Somebody with a margin account.

    Attributes:
        row: its row in the venue's ledger.
    """

    def __init__(self, model: Any, row: int) -> None:
        super().__init__(model)
        self.row = row

    @property
    def _world(self) -> World:
        world: World = self.model
        return world

    @property
    def equity(self) -> float:
        """USD: cash and open contracts at mark."""
        return float(self._world.accounts.equity(self.row))

    @property
    def cash(self) -> float:
        """USD: balance after variation margin; perpetuals settle at every mark, so it equals equity."""
        return self.equity

    @property
    def positions(self) -> dict[str, float]:
        """Contracts by market, long > 0."""
        world = self._world
        return dict(zip(world.names, world.accounts.position[:, self.row].tolist(), strict=True))

    @property
    def spot(self) -> dict[str, float]:
        """Units of the underlying by market."""
        world = self._world
        return dict(zip(world.assets, world.accounts.spot[:, self.row].tolist(), strict=True))

    @property
    def notional(self) -> float:
        """USD: gross size of positions at mark."""
        accounts = self._world.accounts
        return float(accounts.units @ np.abs(accounts.position[:, self.row]))

    @property
    def leverage(self) -> float:
        """Gross notional over equity; 0 without equity."""
        equity = self.equity
        return self.notional / equity if equity > 0.0 else 0.0

    @property
    def status(self) -> str:
        """One of active, bankrupt, gone, closing."""
        return ("active", "bankrupt", "gone", "closing")[int(self._world.accounts.status[self.row])]


class Trader(Participant):
    """A trader; its strategy and target leverage can be assigned."""

    @property
    def strategy(self) -> str:
        """Name of what it does."""
        return str(self._world.behaviour(self.row)["strategy"])

    @strategy.setter
    def strategy(self, name: str) -> None:
        self._world.behave(self.row, "strategy", name)

    @property
    def target_leverage(self) -> float:
        """Largest leverage that it goes for."""
        return float(self._world.behaviour(self.row)["leverage"])

    @target_leverage.setter
    def target_leverage(self, value: float) -> None:
        self._world.behave(self.row, "leverage", value)

    @property
    def group(self) -> str:
        """Name of the group it belongs to."""
        return str(self._world.behaviour(self.row)["group"])


class MarketMaker(Participant):
    """A market maker."""


class Liquidator(Participant):
    """A liquidator."""


class Clearinghouse(Participant):
    """The exchange; its row is that of its own capital."""


class Lender(mesa.Agent[Any]):
    """A lender; it has no account on the venue.

    Attributes:
        node: its place in the credit network.
    """

    def __init__(self, model: Any, node: int) -> None:
        super().__init__(model)
        self.node = node

    @property
    def _sheet(self) -> tuple[float, float, int]:
        world: World = self.model
        return world.lender_sheet(self.node)

    @property
    def cash(self) -> float:
        """USD: liquid assets outside the venue."""
        return self._sheet[0]

    @property
    def equity(self) -> float:
        """USD: cash and loans, less deposits and debts."""
        return self._sheet[1]

    @property
    def status(self) -> str:
        """One of active, defaulted."""
        return "active" if self._sheet[2] < 0 else "defaulted"
