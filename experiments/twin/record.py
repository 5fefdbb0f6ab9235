"""Runs the array engine, records what reached its exchange in each step, plays it to the twin, and compares them account by account."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.twin.accounts import Balance, Role, Status
from experiments.twin.accrual import Levies
from experiments.twin.exchange import Exchange, Inputs, Opening, Quoting, Visits
from model.ecosystem import Ecosystem
from model.ledger import FUND, HOUSE_ROWS
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
    """The array engine's accounts, a column each, (R,) or (M, R), and what it counted in the step. `gross` is what rounding is measured against, USD."""

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
    insolvent: bool


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
            {kind.value: usd for kind, usd in ledger.statement.items()},
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
        columns = (market.index, market.reference_depth, self.venue.reference_volatility, market.basis, market.pressure)
        columns = (*columns, market.momentum, market.average_premium)
        quoting = [Quoting(*values) for values in zip(*(column.tolist() for column in columns), strict=True)]
        return Opening(quoting, self.balances(range(HOUSE_ROWS, ledger.rows)), self.balances(range(FUND, FUND + 1))[FUND], ledger.treasury)

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
        ended = np.flatnonzero(
            core.position[:, : self.venue.institutions].any(axis=0) & ~ledger.exposure[:, : self.venue.institutions].any(axis=0)
        )
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
        )


def compare(exchange: Exchange, state: State, before: State, tolerance: float = TOLERANCE) -> list[str]:
    """What the twin sees otherwise than the array engine: one line each, nothing if they agree to `tolerance`.

    Args:
        exchange: the twin.
        state: of the array engine.
        before: as the step began; what accounts have now is a difference of what they had then.
        tolerance: relative.
    """
    out: list[str] = []
    gross = state.gross.copy()
    gross[: before.gross.size] = np.maximum(gross[: before.gross.size], before.gross)
    held = np.abs(state.position)
    held[:, : before.gross.size] = np.maximum(held[:, : before.gross.size], np.abs(before.position))

    def check(what: str, engine: float, twin: float, scale: float) -> None:
        if not abs(engine - twin) <= tolerance * scale:
            out.append(f"{what}: engine {engine!r}, twin {twin!r}")

    total = float(gross[FUND:].sum())
    for market, mark in enumerate(state.marks.tolist()):
        check(f"mark of market {market}", mark, exchange.marks[market], abs(mark))
    for number, account in [(FUND, exchange.fund), *exchange.accounts.items()]:
        check(f"equity of account {number}", float(state.equity[number]), account.cash, float(gross[number]))
        for market in range(len(exchange.markets)):
            position, entry = float(state.position[market, number]), float(state.entry[market, number])
            least = FLOOR / max(float(state.marks[market]), 1e-300)
            check(
                f"position of account {number} in market {market}", position, account.position[market], float(held[market, number]) + least
            )
            if abs(position) > tolerance * least:
                check(f"entry of account {number} in market {market}", entry, account.entry[market], abs(entry))
            check(f"spot of account {number}, asset {market}", float(state.spot[market, number]), account.spot[market], 1.0)
        if number != FUND and state.status[number] != account.status:
            out.append(f"status of account {number}: engine {state.status[number]}, twin {account.status}")
    check("exchange capital", state.treasury, exchange.treasury, total)
    for kind in sorted(state.statement.keys() | exchange.fund.statement.flows.keys()):
        check(
            f"fund: {kind}",
            state.statement.get(kind, 0.0),
            exchange.fund.statement.flows.get(kind, 0.0),
            float(gross[FUND]) + state.deficits,
        )
    check("deficits", state.deficits, exchange.deficits, total)
    for layer in sorted(state.absorbed.keys() | exchange.absorbed.keys()):
        check(f"absorbed by {layer}", state.absorbed.get(layer, 0.0), exchange.absorbed.get(layer, 0.0), total)
    if state.insolvent != exchange.insolvent:
        out.append(f"insolvent: engine {state.insolvent}, twin {exchange.insolvent}")
    return out


def run_both(scenario: Any, steps: int, seed: int = 0) -> Iterator[tuple[RecordedEcosystem, Exchange, list[str]]]:
    """Steps both engines side by side; yields them and their disagreements, after the clearing and after what comes from elsewhere.

    A disagreement does not correct itself: whoever compares stops at the first.
    """
    engine = RecordedEcosystem(scenario, rng=seed, record_events=False)
    twin = Exchange(engine.world, engine.opening(), rng=seed)
    for _ in range(steps):
        before = engine.state()
        engine.step()
        twin.clear(engine.inputs)
        assert engine.core is not None
        lines = compare(twin, engine.core, before)
        if not lines:
            twin.visit(engine.visits())
            lines = compare(twin, engine.state(), before)
        yield engine, twin, lines
