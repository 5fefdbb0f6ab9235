"""Runs the array engine, records what reached its exchange in each step, plays it to the twin, and compares them account by account."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.twin.accounts import Balance, Status
from experiments.twin.accounts import Role as Holder
from experiments.twin.accrual import Levies
from experiments.twin.exchange import Exchange
from experiments.twin.inputs import Inputs, Opening, Quoting, Visits
from model.ecosystem import Ecosystem
from model.ledger import FUND, HOUSE_ROWS, Role
from model.path import Path
from model.population import Orders
from model.randomness import Streams

type Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Relative: of an account's equity and of the gross sums that make it up."""
FLOOR = 1e3
"""USD against which the tolerance is taken at least: a millionth of a dollar."""
STATUS: tuple[Status, ...] = ("active", "bankrupt", "gone", "closing")
ROLES: dict[int, Holder] = {1: "market_maker", 2: "liquidator", 3: "trader"}


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
    statement: dict[str, float]
    deficits: float
    absorbed: dict[str, float]
    given: dict[int, float]
    outstanding: float
    contributions: dict[int, float]
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
        ledger, tally, haircuts = self.venue.ledger, self.venue.tally, self.venue.haircuts
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
            {kind.value: usd for kind, usd in ledger.statement.items()},
            tally.deficits,
            dict(tally.absorbed),
            {int(row): float(haircuts.given[row]) for row in np.flatnonzero(haircuts.given)} if haircuts is not None else {},
            self.venue.outstanding,
            dict(zip(members.rows.tolist(), members.held.tolist(), strict=True)) if (members := self.venue.members) is not None else {},
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
                float(ledger.paid_in[row]),
            )
            for row in rows
            if row == FUND or ledger.role[row] != Role.HOUSE
        }

    def opening(self) -> Opening:
        """The state from which the twin starts."""
        market, ledger = self.venue.market, self.venue.ledger
        kept = (market.basis, market.pressure, market.momentum, market.average_premium)
        columns = [column.tolist() for column in (market.index, market.reference_depth, self.venue.reference_volatility, *kept)]
        quoting = [Quoting(*values) for values in zip(*columns, strict=True)]
        members = self.venue.members
        return Opening(
            quoting,
            self.balances(range(HOUSE_ROWS, ledger.rows)),
            self.balances(range(FUND, FUND + 1))[FUND],
            ledger.treasury,
            dict(zip(members.rows.tolist(), members.held.tolist(), strict=True)) if members is not None else {},
        )

    # -- what goes in ---------------------------------------------------------------------------------------------------------------

    def _begin(self) -> Path:
        self.core = None
        levies = self.venue.levies
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
            Levies(levies.trading_fees, levies.liquidation_fees, levies.surplus, levies.open_interest, levies.funding),
            Streams(self.seed).generator("venue", self.tick).random,
        )
        return path

    def _trade(self, orders: Orders) -> None:
        spot = self.venue.ledger.spot.copy()
        super()._trade(orders)
        bought = self.venue.ledger.spot - spot
        bought[:, :HOUSE_ROWS] = 0.0
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
        before = core.equity.size
        moved = ledger.equity()[HOUSE_ROWS:before] - core.equity[HOUSE_ROWS:]
        money = {HOUSE_ROWS + at: usd for at, usd in enumerate(moved.tolist()) if usd}
        held, holds = (columns[:, : self.venue.institutions].any(axis=0) for columns in (core.position, ledger.position))
        ended = np.flatnonzero(held & ~holds)
        status = [STATUS[code] for code in ledger.status.tolist()]
        changed = {row: status[row] for row in range(HOUSE_ROWS, before) if status[row] != core.status[row]}
        injection = min(self.venue.levies.injection, max(core.treasury, 0.0)) if not core.insolvent else 0.0
        return Visits(
            money,
            self.balances(range(before, ledger.rows)),
            ended[ended >= HOUSE_ROWS].tolist(),
            changed,
            ledger.treasury - core.treasury + injection,
            injection,
            {row: float(ledger.paid_in[row]) for row in range(HOUSE_ROWS, ledger.rows) if ledger.role[row] != Role.HOUSE},
            self.venue.tally.absorbed.get("withdrawal_factor", 0.0) - core.absorbed.get("withdrawal_factor", 0.0),
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
    for number, account in [(FUND, exchange.fund), *exchange.accounts.items()]:
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
    yield "outstanding losses", state.outstanding, exchange.outstanding, total
    for member in exchange.members:
        number = member.account.number
        yield f"contribution of {number}", state.contributions[number], member.held, tolerance * (float(gross[number]) + member.required)
    yield "deficits", state.deficits, exchange.deficits, total
    flows = exchange.fund.statement.flows
    for kind in sorted(state.statement.keys() | flows.keys()):
        within = tolerance * (float(gross[FUND]) + state.deficits)
        yield f"fund: {kind}", state.statement.get(kind, 0.0), flows.get(kind, 0.0), within
    given = {account.number: usd for account, usd in exchange.given.items()}
    for number in sorted(state.given.keys() | given.keys()):
        yield (
            f"given by {number}",
            state.given.get(number, 0.0),
            given.get(number, 0.0),
            tolerance * (float(gross[number]) + state.deficits),
        )
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
