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

    assets: tuple[str, ...]

    def holdings(self, holder: "Participant") -> "list[tuple[Accounts, int, tuple[str, ...]]]": ...

    def behaviour(self, place: int, row: int) -> dict[str, Any]: ...

    def behave(self, place: int, row: int, name: str, value: Any) -> None: ...

    def lender_sheet(self, network: int, node: int) -> tuple[float, float, int]: ...


class Participant(mesa.Agent[Any]):
    """Somebody with a margin account, or, a firm, with one at each of several exchanges: what it has is their sum.

    Attributes:
        row: its row in its exchange's ledger; place: which exchange that is, of a firm's the first.
        shared: whether it is a firm that has its row at every exchange.
    """

    place = 0
    shared = False

    def __init__(self, model: Any, row: int, place: int = 0, *, shared: bool = False) -> None:
        super().__init__(model)
        self.row = row
        if place:
            self.place = place
        if shared:
            self.shared = shared

    @property
    def _world(self) -> World:
        world: World = self.model
        return world

    @property
    def equity(self) -> float:
        """USD: cash and open contracts at mark."""
        return sum(float(at.equity(row)) for at, row, _ in self._world.holdings(self))

    @property
    def cash(self) -> float:
        """USD: balance after variation margin; perpetuals settle at every mark, so it equals equity."""
        return self.equity

    @property
    def positions(self) -> dict[str, float]:
        """Contracts by market, long > 0."""
        out: dict[str, float] = {}
        for at, row, names in self._world.holdings(self):
            for name, contracts in zip(names, at.position[:, row].tolist(), strict=True):
                out[name] = out.get(name, 0.0) + contracts
        return out

    @property
    def spot(self) -> dict[str, float]:
        """Units of the underlying by market."""
        world = self._world
        held = sum(at.spot[:, row] for at, row, _ in world.holdings(self))
        return dict(zip(world.assets, np.asarray(held).tolist(), strict=True))

    @property
    def notional(self) -> float:
        """USD: gross size of positions at mark."""
        return sum(float(at.units @ np.abs(at.position[:, row])) for at, row, _ in self._world.holdings(self))

    @property
    def leverage(self) -> float:
        """Gross notional over equity; 0 without equity."""
        equity = self.equity
        return self.notional / equity if equity > 0.0 else 0.0

    @property
    def status(self) -> str:
        """One of active, bankrupt, gone, closing; of a firm, of its first account."""
        accounts, row, _ = self._world.holdings(self)[0]
        return ("active", "bankrupt", "gone", "closing")[int(accounts.status[row])]


class Trader(Participant):
    """A trader; its strategy and target leverage can be assigned."""

    @property
    def strategy(self) -> str:
        """Name of what it does."""
        return str(self._world.behaviour(self.place, self.row)["strategy"])

    @strategy.setter
    def strategy(self, name: str) -> None:
        self._world.behave(self.place, self.row, "strategy", name)

    @property
    def target_leverage(self) -> float:
        """Largest leverage that it goes for."""
        return float(self._world.behaviour(self.place, self.row)["leverage"])

    @target_leverage.setter
    def target_leverage(self, value: float) -> None:
        self._world.behave(self.place, self.row, "leverage", value)

    @property
    def group(self) -> str:
        """Name of the group it belongs to."""
        return str(self._world.behaviour(self.place, self.row)["group"])


class MarketMaker(Participant):
    """A market maker."""


class Liquidator(Participant):
    """A liquidator."""


class Clearinghouse(Participant):
    """The exchange; its row is that of its own capital."""


class Lender(mesa.Agent[Any]):
    """A lender; it has no account at an exchange.

    Attributes:
        node: its place in the network of loans; network: which network that is.
    """

    network = 0

    def __init__(self, model: Any, node: int, network: int = 0) -> None:
        super().__init__(model)
        self.node = node
        if network:
            self.network = network

    @property
    def _sheet(self) -> tuple[float, float, int]:
        world: World = self.model
        return world.lender_sheet(self.network, self.node)

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
