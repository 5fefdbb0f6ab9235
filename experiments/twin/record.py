"""Runs the array engine, records what reached its exchange in each step, plays it to the twin, and compares them account by account."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.twin.accounts import Balance, Role, Status
from experiments.twin.accrual import Levies
from experiments.twin.exchange import Exchange
from experiments.twin.inputs import Inputs, Opening, Quoting, Visits
from model.ecosystem import Ecosystem
from model.ledger import FUND
from model.path import Path
from model.population import Orders

type Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Relative: of an account's equity and of the gross sums that make it up."""
FLOOR = 1e3
"""USD against which the tolerance is taken at least: a millionth of a dollar."""
STATUS: tuple[Status, ...] = ("active", "bankrupt", "gone", "closing")
ROLES: dict[int, Role] = {1: "market_maker", 2: "liquidator", 3: "trader"}


@dataclass
class State:
    """The array engine's accounts, a column each, (R,) or (M, R), and what it counted; rounding is measured against `gross`, USD."""

    equity: Floats
    gross: Floats
    position: Floats
    entry: Floats
    spot: Floats
    status: list[Status]
    marks: Floats
    treasury: float
    statements: list[dict[str, float]]
    deficits: float
    absorbed: dict[str, float]
    insolvent: bool


@dataclass
class Largest:
    """The most that accounts were made of so far, gross USD (R,) and contracts (M, R): what they have now is a difference of that."""

    gross: Floats
    held: Floats

    @classmethod
    def of(cls, state: State) -> "Largest":
        """In one state."""
        return cls(state.gross.copy(), np.abs(state.position))

    def and_of(self, state: State) -> "Largest":
        """In a later state too; there may be more accounts by then."""
        now, known = Largest.of(state), self.gross.size
        now.gross[:known] = np.maximum(now.gross[:known], self.gross)
        now.held[:, :known] = np.maximum(now.held[:, :known], self.held)
        return now


class RecordedEcosystem(Ecosystem):
    """The array engine, unchanged, with notes on what went in and what came out of its clearing core.

    Attributes:
        inputs: of the latest step.
        core: state after its clearing, before lenders and those who come and go.
    """

    inputs: Inputs
    core: State | None

    def state(self) -> State:
        """Accounts as they stand."""
        ledger, tally = self.venue.ledger, self.venue.tally
        equity = ledger.equity()
        gross = np.abs(ledger.cash) + ledger.marks @ ledger.exposure + FLOOR
        return State(
            equity,
            gross,
            ledger.position.copy(),
            ledger.entry.copy(),
            ledger.spot.copy(),
            [STATUS[code] for code in ledger.status.tolist()],
            ledger.marks.copy(),
            ledger.treasury,
            [{kind.value: usd for kind, usd in statement.items()} for statement in ledger.statements],
            tally.deficits,
            dict(tally.absorbed),
            self.venue.insolvent,
        )

    def balances(self, rows: range) -> dict[int, Balance]:
        """Accounts as the twin takes them in."""
        ledger, venue = self.venue.ledger, self.venue
        equity = ledger.equity()
        opening = dict(zip(venue.makers.tolist(), venue.maker_capital.tolist(), strict=True))
        return {
            row: Balance(
                float(equity[row]),
                ledger.position[:, row].tolist(),
                ledger.entry[:, row].tolist(),
                ledger.spot[:, row].tolist(),
                STATUS[ledger.status[row]],
                ROLES.get(int(ledger.role[row]), "trader"),
                opening.get(row, 0.0),
            )
            for row in rows
        }

    def opening(self) -> Opening:
        """The state from which the twin starts."""
        market, ledger = self.venue.market, self.venue.ledger
        kept = (market.basis, market.pressure, market.momentum, market.average_premium)
        columns = [column.tolist() for column in (market.index, market.reference_depth, self.venue.reference_volatility, *kept)]
        quoting = [Quoting(*values) for values in zip(*columns, strict=True)]
        funds = [self.balances(range(row, row + 1))[row] for row in ledger.funds.tolist()]
        return Opening(quoting, self.balances(range(ledger.house, ledger.rows)), funds, ledger.treasury)

    # -- what goes in ---------------------------------------------------------------------------------------------------------------

    def _begin(self) -> Path:
        self.core = None
        levied = self.venue.levied
        volatility = self.venue.market.volatility.tolist()
        path = super()._begin()
        increments = list(zip(path.dlog.T.tolist(), path.hours.tolist(), strict=True))
        self.inputs = Inputs(
            [],
            [],
            increments,
            self.hours_per_step,
            volatility,
            self.venue.depth_multiplier.tolist(),
            [Levies(**dataclasses.asdict(one)) for one in levied],
        )
        return path

    def _trade(self, orders: Orders) -> None:
        spot = self.venue.ledger.spot.copy()
        super()._trade(orders)
        bought = self.venue.ledger.spot - spot
        bought[:, : self.venue.ledger.house] = 0.0
        self.inputs.orders = list(zip(orders.rows.tolist(), orders.contracts.T.tolist(), strict=True))
        self.inputs.spot_orders = [(int(asset), int(row), float(bought[asset, row])) for asset, row in np.argwhere(bought)]

    # -- what comes out -------------------------------------------------------------------------------------------------------------

    def _levy(self) -> None:
        super()._levy()
        self.core = self.state()

    def _spread_defaults(self) -> None:
        if self.core is None:
            self.core = self.state()
        super()._spread_defaults()

    def visits(self) -> Visits:
        """What happened between the clearing and the end of the step."""
        assert self.core is not None
        core, ledger = self.core, self.venue.ledger
        before, first = core.equity.size, ledger.house
        moved = ledger.equity()[first:before] - core.equity[first:]
        money = {first + at: usd for at, usd in enumerate(moved.tolist()) if usd}
        held, holds = (columns[:, : self.venue.institutions].any(axis=0) for columns in (core.position, ledger.position))
        ended = np.flatnonzero(held & ~holds)
        status = [STATUS[code] for code in ledger.status.tolist()]
        changed = {row: status[row] for row in range(first, before) if status[row] != core.status[row]}
        injections, capital = [], max(core.treasury, 0.0)
        for levies in self.venue.levied:
            injections.append(min(levies.injection, capital) if not core.insolvent else 0.0)
            capital -= injections[-1]
        return Visits(
            money,
            self.balances(range(before, ledger.rows)),
            ended[ended >= first].tolist(),
            changed,
            ledger.treasury - core.treasury + sum(injections),
            injections,
            self.venue.recapitalised.tolist() if not core.insolvent else [],
        )


def compare(exchange: Exchange, state: State, largest: Largest, tolerance: float = TOLERANCE) -> list[str]:
    """What the twin sees otherwise than the array engine: one line each, nothing if they agree to `tolerance`.

    Args:
        exchange: the twin.
        state: of the array engine.
        largest: what rounding is measured against, up to now.
        tolerance: relative.
    """
    largest = largest.and_of(state)
    gross, held = largest.gross, largest.held
    found = [*_accounts(exchange, state, gross, held, tolerance), *_sums(exchange, state, gross, tolerance)]
    lines = [f"{what}: engine {engine!r}, twin {twin!r}" for what, engine, twin, within in found if not abs(engine - twin) <= within]
    for number, account in exchange.accounts.items():
        if state.status[number] != account.status:
            lines.append(f"status of account {number}: engine {state.status[number]}, twin {account.status}")
    if state.insolvent != exchange.insolvent:
        lines.append(f"insolvent: engine {state.insolvent}, twin {exchange.insolvent}")
    return lines


def _accounts(exchange: Exchange, state: State, gross: Floats, held: Floats, tolerance: float) -> Iterator[tuple[str, float, float, float]]:
    """What each account has: name, what the engine says, what the twin says, how far apart they may be."""
    for number, account in [*((fund.number, fund) for fund in exchange.funds), *exchange.accounts.items()]:
        yield f"equity of account {number}", float(state.equity[number]), account.cash, tolerance * float(gross[number])
        for at, mark in enumerate(state.marks.tolist()):
            where = f"of account {number} in market {at}"
            position, entry = float(state.position[at, number]), float(state.entry[at, number])
            least = FLOOR / max(mark, 1e-300)
            yield f"position {where}", position, account.position[at], tolerance * (float(held[at, number]) + least)
            if abs(position) > tolerance * least:
                yield f"entry {where}", entry, account.entry[at], tolerance * entry
            yield f"spot {where}", float(state.spot[at, number]), account.spot[at], tolerance * (float(state.spot[at, number]) + least)


def _sums(exchange: Exchange, state: State, gross: Floats, tolerance: float) -> Iterator[tuple[str, float, float, float]]:
    """Marks, exchange capital, the fund's flows, deficits and who bore them: as `_accounts`."""
    total = tolerance * float(gross[FUND:].sum())
    for at, mark in enumerate(state.marks.tolist()):
        yield f"mark of market {at}", mark, exchange.marks[at], tolerance * abs(mark)
    yield "exchange capital", state.treasury, exchange.treasury, total
    yield "deficits", state.deficits, exchange.deficits, total
    for fund, statement in zip(exchange.funds, state.statements, strict=True):
        flows = fund.statement.flows
        for kind in sorted(statement.keys() | flows.keys()):
            within = tolerance * (float(gross[fund.number]) + state.deficits)
            yield f"fund {fund.number}: {kind}", statement.get(kind, 0.0), flows.get(kind, 0.0), within
    for layer in sorted(state.absorbed.keys() | exchange.absorbed.keys()):
        yield f"absorbed by {layer}", state.absorbed.get(layer, 0.0), exchange.absorbed.get(layer, 0.0), total


def run_both(scenario: Any, steps: int, seed: int = 0) -> Iterator[tuple[RecordedEcosystem, Exchange, list[str]]]:
    """Steps both engines side by side; yields them and their disagreements, after the clearing and after what comes from elsewhere.

    A disagreement does not correct itself: whoever compares stops at the first.
    """
    engine = RecordedEcosystem(scenario, rng=seed, record_events=False)
    twin = Exchange(engine.world, engine.opening(), rng=seed)
    largest = Largest.of(engine.state())
    for _ in range(steps):
        engine.step()
        twin.clear(engine.inputs)
        assert engine.core is not None
        lines = compare(twin, engine.core, largest)
        if not lines:
            twin.visit(engine.visits())
            lines = compare(twin, engine.state(), largest)
        yield engine, twin, lines
        largest = largest.and_of(engine.state())
