"""Runs the array engine, records what reached its exchange in each step, plays it to the twin, and compares them account by account."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.twin.accounts import Balance, Status
from experiments.twin.accounts import Role as Holder
from experiments.twin.accrual import Levies
from experiments.twin.exchange import Exchange
from experiments.twin.inputs import Inputs, Opening, Quoting, Visits
from model.ecosystem import Ecosystem
from model.ledger import FUND, Flow, Ledger, Role
from model.marketplace import Marketplace
from model.path import Path
from model.population import Orders
from model.randomness import Streams

type Floats = NDArray[np.float64]

TOLERANCE = 1e-9
"""Relative: of an account's equity and of the gross sums that make it up."""
FLOOR = 1e3
"""USD against which the tolerance is taken at least: a millionth of a dollar."""
LEAST_MARK = 1e-6
"""USD against which marks and entry prices are compared at least: an option worth less is tail of the normal distribution, and rounding."""
NUDGE = 1e-13
"""Relative: what a step starts from is moved by so much to see what the market makes of it; some hundred times the last bit."""
STATUS: tuple[Status, ...] = ("active", "bankrupt", "gone", "closing")
PAID_IN_CLEARING = ("socialised_loss", "exchange_failure")
"""Closed channels because of which the outside pays within the clearing."""
ROLES: dict[int, Holder] = {1: "market_maker", 2: "liquidator", 3: "trader", 4: "vault", 5: "option_vault"}


@dataclass
class State:
    """The array engine's accounts, a column each, (R,) or (M, R), and what it counted; rounding is measured against `gross`, USD.

    `coins`, (A, R), are settlement balances with contracts settled in them at mark.

    `haircut` is the share of equity lost in the step to deleveraging and socialised loss, `counted` are sums of the step by name, USD;
    `implied` is what implied volatility was when the step began, by underlying, or will be when the next one does.
    """

    equity: Floats
    gross: Floats
    position: Floats
    entry: Floats
    spot: Floats
    coins: Floats
    status: list[Status]
    marks: Floats
    treasury: float
    statements: list[dict[str, float]]
    haircut: Floats
    counted: dict[str, float]
    absorbed: dict[str, float]
    given: dict[int, float]
    outstanding: float
    contributions: dict[int, float]
    insolvent: bool
    token: dict[str, float]
    implied: list[float]


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
        served, cleared: state before and after defaults spread.
        failed: market makers and liquidators that defaulted, in the step, on what they owe.
        moved: (A,), log, what those who came and went have moved the indices by.
    """

    inputs: Inputs
    core: State | None
    served: State
    cleared: State
    failed: list[int]
    moved: Floats

    def state(self) -> State:
        """Accounts as they stand."""
        ledger, tally, haircuts = self.venue.ledger, self.venue.tally, self.venue.haircuts
        equity = ledger.equity()
        gross = np.abs(ledger.cash) + ledger.units @ ledger.exposure + FLOOR
        if ledger.currencies:
            gross += ledger.rates @ np.abs(ledger.coins)
        gross[ledger.funds] += ledger.index @ ledger.spot[:, ledger.funds]  # out of coins it pays, and out of tokens
        gross[FUND] += ledger.tokens * ledger.token_price
        haircut = np.zeros(ledger.rows)
        if self.venue.haircut is not None:
            haircut[: self.venue.haircut.size] = self.venue.haircut
        return State(
            equity,
            gross,
            ledger.position.copy(),
            ledger.entry.copy(),
            _by_market(ledger.spot, ledger.markets),
            _in_coin(ledger),
            [STATUS[code] for code in ledger.status.tolist()],
            ledger.marks.copy(),
            ledger.treasury,
            [{kind.value: usd for kind, usd in statement.items()} for statement in ledger.statements],
            haircut,
            {
                "deficits": tally.deficits,
                "trading fees": tally.fees,
                "liquidated": float(tally.liquidated.sum()),
                "claims written down": self.venue.write_down,
                **{f"rescued from {channel}": tally.rescued.get(channel, 0.0) for channel in PAID_IN_CLEARING},
                "what the outside earned": ledger.flows.get(Flow.OUTSIDE_RESULT, 0.0),
            },
            dict(tally.absorbed),
            {int(row): float(haircuts.given[row]) for row in np.flatnonzero(haircuts.given)} if haircuts is not None else {},
            self.venue.outstanding,
            _contributions(self),
            self.venue.insolvent,
            _token(self.venue.value.token, ledger.tokens),
            self.venue.market.level.tolist() if self.venue.fixing is not None else [],
        )

    def balances(self, rows: range) -> dict[int, Balance]:
        """Accounts as the twin takes them in."""
        ledger, venue = self.venue.ledger, self.venue
        equity, coins = ledger.equity(), _in_coin(ledger)
        opening = dict(zip(venue.makers.tolist(), venue.maker_capital.tolist(), strict=True))
        return {
            row: Balance(
                float(equity[row]),
                ledger.position[:, row].tolist(),
                ledger.entry[:, row].tolist(),
                _by_market(ledger.spot[:, row : row + 1], ledger.markets)[:, 0].tolist(),
                STATUS[ledger.status[row]],
                ROLES.get(int(ledger.role[row]), "trader"),
                opening.get(row, 0.0),
                float(ledger.paid_in[row]),
                coins[:, row].tolist(),
                int(ledger.currency[row]) - 1 if ledger.currency[row] else None,
            )
            for row in rows
            if row in ledger.funds or ledger.role[row] != Role.HOUSE
        }

    def opening(self) -> Opening:
        """The state from which the twin starts."""
        market, ledger = self.venue.market, self.venue.ledger
        kept = (market.basis, market.pressure, market.momentum, market.average_premium)
        columns = [
            column.tolist() for column in (market.index, ledger.marks, market.reference_depth, self.venue.reference_volatility, *kept)
        ]
        columns.append(market.listed.strike.tolist() if market.listed is not None else [0.0] * ledger.markets)
        quoting = [Quoting(*values) for values in zip(*columns, strict=True)]
        funds = [self.balances(range(row, row + 1))[row] for row in ledger.funds.tolist()]
        members = _contributions(self)
        rates = ledger.rates[: ledger.currencies].tolist()
        return Opening(quoting, self.balances(range(ledger.house, ledger.rows)), funds, ledger.treasury, members, rates)

    # -- what goes in ---------------------------------------------------------------------------------------------------------------

    def _begin(self) -> list[Path]:
        self.core = None
        levied = self.venue.levied
        volatility, level = self.venue.market.volatility.tolist(), self.venue.market.level
        paths = super()._begin()
        path = paths[0]
        increments = list(zip(path.dlog.T.tolist(), path.hours.tolist(), strict=True))
        self.inputs = Inputs(
            [],
            [],
            increments,
            self.hours_per_step,
            volatility,
            self.venue.depth_multiplier.tolist(),
            [Levies(**asdict(one)) for one in levied],
            (self.venue.action.initial, self.venue.action.maintenance),
            self.venue.market.mispricing.tolist(),
            list(self.venue.halts.windows),
            Streams(self.seed).generator("venue", self.tick).random,
            self.venue.market.carry[self.venue.market.asset].tolist(),
            implied=(self.venue.market.level / level).tolist(),
        )
        return paths

    def _trade(self, place: Marketplace, orders: Orders) -> None:
        spot = self.venue.ledger.spot.copy()
        if not self.venue.channels.lost_hedges:
            self.inputs.silent = set(self.population.naked.rows.tolist())
        closing = orders.contracts == -self.venue.ledger.position[:, orders.rows]
        super()._trade(place, orders)
        bought = self.venue.ledger.spot - spot
        bought[:, : self.venue.ledger.house] = 0.0
        self.inputs.orders = list(zip(orders.rows.tolist(), orders.contracts.T.tolist(), strict=True))
        self.inputs.closing = {(int(orders.rows[at]), int(market)) for market, at in np.argwhere(closing)}
        self.inputs.spot_orders = [(int(asset), int(row), float(bought[asset, row])) for asset, row in np.argwhere(bought)]

    # -- what comes out -------------------------------------------------------------------------------------------------------------

    def _share_option_income(self, place: Marketplace) -> None:
        super()._share_option_income(place)
        self.core = self.state()

    def _open_estates(self) -> None:
        if self.core is None:
            self.core = self.state()
        super()._open_estates()

    def _spread_defaults(self) -> None:
        self.served = self.state()
        credit = self.credit
        sound = credit.wave < 0
        super()._spread_defaults()
        self.failed = credit.rows[(sound & (credit.wave >= 0))[credit.lenders : -1]].tolist()
        self.cleared = self.state()

    def _come_and_go(self, place: Marketplace) -> None:
        before = self.venue.market.log_index.copy()
        super()._come_and_go(place)
        self.moved = (self.venue.market.log_index - before)[: self.venue.market.assets]

    def visits(self) -> Visits:
        """What happened between the clearing and the end of the step."""
        assert self.core is not None
        core, now, ledger = self.core, self.state(), self.venue.ledger
        first, before = ledger.house, core.equity.size
        spread = bool((self.served.equity != self.cleared.equity).any())
        institutions = np.concatenate((self.venue.makers, self.venue.liquidators))
        injections, capital = [], max(core.treasury, 0.0)
        for levies in self.venue.levied:
            injections.append(min(levies.injection, capital) if not core.insolvent else 0.0)
            capital -= injections[-1]
        return Visits(
            _moved(core, self.served, first),
            {row: float(self.cleared.equity[row]) for row in institutions.tolist()} if spread else {},
            _moved(self.cleared, now, first),
            self.balances(range(before, ledger.rows)),
            self.failed,
            {row: now.status[row] for row in range(first, before) if now.status[row] != core.status[row]},
            now.treasury - self.cleared.treasury,
            injections,
            self.venue.recapitalised.tolist() if not core.insolvent else [],
            [-statement.get(Flow.RELEASE, 0.0) for statement in ledger.statements],
            self.venue.value.token.bought_back if self.venue.value.token is not None else 0.0,
            {row: float(ledger.paid_in[row]) for row in range(first, ledger.rows) if ledger.role[row] != Role.HOUSE},
            self.venue.tally.absorbed.get("withdrawal_factor", 0.0) - core.absorbed.get("withdrawal_factor", 0.0),
            self.venue.market.volatility.tolist(),
            self.moved.tolist() if self.venue.is_open() else [],
        )


def _by_market(spot: Floats, markets: int) -> Floats:
    """Coins, (A, n), by market, (M, n): an underlying's stand with its perpetual."""
    return np.vstack((spot, np.zeros((markets - spot.shape[0], spot.shape[1]))))


def _token(token: Any, of_fund: float) -> dict[str, float]:
    """What either engine knows of the venue's token, by name; nothing where there is none."""
    if token is None:
        return {}
    counted = {"tokens staked": token.staked, "tokens of the fund": of_fund, "tokens destroyed": token.destroyed}
    return {"the token's price": token.price, **counted}


def _in_coin(ledger: Ledger) -> Floats:
    """Settlement coins, (A, R), with the contracts that are settled in them at mark."""
    held = ledger.coins.copy()
    for market, asset in enumerate(ledger.settled.tolist()):
        if asset >= 0:
            held[asset] += ledger.marks[market] * ledger.position[market] / ledger.rates[asset]
    return held


def _contributions(eco: Ecosystem) -> dict[int, float]:
    """USD that each clearing member has in the members' default fund, by number."""
    members = eco.venue.members
    return dict(zip(members.rows.tolist(), members.held.tolist(), strict=True)) if members is not None else {}


def _moved(before: State, after: State, first: int) -> dict[int, float]:
    """USD by which accounts from number `first` on that were there before have changed, by number."""
    moved = after.equity[first : before.equity.size] - before.equity[first:]
    return {first + at: usd for at, usd in enumerate(moved.tolist()) if usd}


def compare(exchange: Exchange, state: State, largest: Largest, tolerance: float = TOLERANCE) -> list[str]:
    """What the twin sees otherwise than the array engine: one line each, nothing if they agree to `tolerance`.

    Args:
        exchange: the twin.
        state: of the array engine.
        largest: what rounding is measured against, up to now.
        tolerance: relative.
    """
    found = _numbers(exchange, state, largest, tolerance)
    lines = [f"{what}: engine {engine!r}, twin {twin!r}" for what, engine, twin, within in found if not abs(engine - twin) <= within]
    for number, account in exchange.accounts.items():
        if state.status[number] != account.status:
            lines.append(f"status of account {number}: engine {state.status[number]}, twin {account.status}")
    if state.insolvent != exchange.insolvent:
        lines.append(f"insolvent: engine {state.insolvent}, twin {exchange.insolvent}")
    return lines


def apart(exchange: Exchange, state: State, largest: Largest) -> float:
    """How far the engines are apart where they are furthest, in units of the tolerance."""
    found = _numbers(exchange, state, largest, TOLERANCE)
    return max((abs(engine - twin) / within for _, engine, twin, within in found if within > 0.0), default=0.0)


def _numbers(exchange: Exchange, state: State, largest: Largest, tolerance: float) -> Iterator[tuple[str, float, float, float]]:
    largest = largest.and_of(state)
    yield from _accounts(exchange, state, largest.gross, largest.held, tolerance)
    yield from _sums(exchange, state, largest.gross, tolerance)


def _accounts(exchange: Exchange, state: State, gross: Floats, held: Floats, tolerance: float) -> Iterator[tuple[str, float, float, float]]:
    """What each account has: name, what the engine says, what the twin says, how far apart they may be."""
    for account in exchange.holders():
        number = account.number
        within = tolerance * float(gross[number])
        if account is not exchange.outside:  # what the outside has, others have paid
            yield f"equity of account {number}", float(state.equity[number]), account.cash, within
        # A share of equity: rounding of what is left, against what is left.
        haircut, left = exchange.haircuts.get(account, 0.0), max(float(state.equity[number]), 1e-300)
        yield f"haircut of account {number}", float(state.haircut[number]), haircut, min(within / left, 1.0)
        for at, rate in enumerate(exchange.rates if account is not exchange.outside else ()):
            yield f"coins of account {number} on {at}", float(state.coins[at, number]), account.coins[at], within / max(rate, 1e-300)
        for at, mark in enumerate(exchange.sizes):
            where = f"of account {number} in market {at}"
            position, entry = float(state.position[at, number]), float(state.entry[at, number])
            least = FLOOR / max(mark, 1e-300)
            yield f"position {where}", position, account.position[at], tolerance * (float(held[at, number]) + least)
            if abs(position) > tolerance * least:
                yield f"entry {where}", entry, account.entry[at], tolerance * max(entry, LEAST_MARK)
            if account is not exchange.outside:
                yield f"spot {where}", float(state.spot[at, number]), account.spot[at], tolerance * (float(state.spot[at, number]) + least)


def _sums(exchange: Exchange, state: State, gross: Floats, tolerance: float) -> Iterator[tuple[str, float, float, float]]:
    """Marks, exchange capital, the fund's flows, deficits and who bore them: as `_accounts`."""
    total = tolerance * float(gross[FUND:].sum())
    for at, mark in enumerate(state.marks.tolist()):
        yield f"mark of market {at}", mark, exchange.marks[at], tolerance * max(abs(mark), LEAST_MARK)
    for at, surface in enumerate(exchange.surfaces):
        yield f"implied volatility of {at}", state.implied[at], surface.level, tolerance * state.implied[at]
    yield "exchange capital", state.treasury, exchange.treasury, total
    yield "outstanding losses", state.outstanding, exchange.outstanding, total
    supply = exchange.token.supply if exchange.token is not None else 0.0
    for name, value in _token(exchange.token, exchange.funds[0].tokens).items():
        yield name, state.token[name], value, tolerance * (state.token[name] + (supply if name.startswith("tokens") else 0.0))
    for member in exchange.members:
        number = member.account.number
        yield f"contribution of {number}", state.contributions[number], member.held, tolerance * (float(gross[number]) + member.required)
    for name, usd in _counted(exchange).items():
        yield name, state.counted[name], usd, total + tolerance * usd
    deficits = state.counted["deficits"]
    for fund, statement in zip(exchange.funds, state.statements, strict=True):
        flows = fund.statement.flows
        for kind in sorted(statement.keys() | flows.keys()):
            within = tolerance * (float(gross[fund.number]) + deficits)
            yield f"fund {fund.number}: {kind}", statement.get(kind, 0.0), flows.get(kind, 0.0), within
    given = {account.number: usd for account, usd in exchange.given.items()}
    for number in sorted(state.given.keys() | given.keys()):
        within = tolerance * (float(gross[number]) + deficits)
        yield f"given by {number}", state.given.get(number, 0.0), given.get(number, 0.0), within
    for layer in sorted(state.absorbed.keys() | exchange.absorbed.keys()):
        yield f"absorbed by {layer}", state.absorbed.get(layer, 0.0), exchange.absorbed.get(layer, 0.0), total


def run_both(scenario: Any, steps: int, seed: int = 0) -> Iterator[tuple[RecordedEcosystem, Exchange, list[str]]]:
    """Steps both engines side by side; yields them and their disagreements, after the clearing and after what comes from elsewhere.

    A disagreement does not correct itself: whoever compares stops at the first.
    """
    for engine, (twin,), _, _, lines in _side_by_side(scenario, steps, seed, (0.0,)):
        yield engine, twin, lines


def amplified(scenario: Any, steps: int, seed: int = 0) -> bool:
    """Whether the first disagreement within `steps` is rounding that the market itself has blown up, so that it says nothing.

    A second twin runs along that is given a nudge before every step: log indices, and each account's cash against what it is made of, are
    moved by `NUDGE`. If that carries it at least half as far from the first twin as the first twin is from the array engine, then the
    condition number of what was computed (change of output by change of input, both relative) is disagreement / (2 x `NUDGE`) or more:
    two orders of addition cannot be expected to agree any better. Cascades in which market makers' last dollars of depth come and go do
    this: makers share what is sold by room that is the small difference of large numbers, take more than that room, and a difference in
    rooms grows tenfold a round. A rule that is another in one engine is the same in both twins, and moves neither from the other.
    """
    for _, (twin, nudged), state, largest, lines in _side_by_side(scenario, steps, seed, (0.0, NUDGE)):
        if lines:
            return apart(nudged, _state_of(twin, state), largest) >= 0.5 * apart(twin, state, largest)
    return False


def _nudge(exchange: Exchange, by: float) -> None:
    """Moves log indices and cash, the fund's too, accounts to different degrees: makers who are moved alike share as before."""
    for market in exchange.markets:
        if market.perpetual is None:
            market.log_index += by
    for account in (*exchange.funds, *exchange.accounts.values()):
        account.cash += by * math.cos(account.number) * (abs(account.cash) + account.notional)


def _counted(exchange: Exchange) -> dict[str, float]:
    """The twin's sums of the step, by the names of `State.counted`."""
    return {
        "deficits": exchange.deficits,
        "trading fees": exchange.fees,
        "liquidated": exchange.liquidated,
        "claims written down": exchange.write_down,
        **{f"rescued from {channel}": exchange.outside.rescued.get(channel, 0.0) for channel in PAID_IN_CLEARING},
        "what the outside earned": exchange.outside.earned,
    }


def _state_of(exchange: Exchange, like: State) -> State:
    """The twin's accounts as the array engine would keep them; rounding is measured as in `like`."""
    everyone = {account.number: account for account in exchange.holders()}
    (equity, haircut), (position, entry, spot) = np.zeros((2, like.equity.size)), np.zeros((3, *like.position.shape))
    coins = np.zeros_like(like.coins)
    for number, account in everyone.items():
        equity[number], haircut[number] = account.cash, exchange.haircuts.get(account, 0.0)
        position[:, number], entry[:, number], spot[:, number] = account.position, account.entry, account.spot
        coins[:, number] = account.coins
    return replace(
        like,
        equity=equity,
        position=position,
        entry=entry,
        spot=spot,
        coins=coins,
        marks=np.array(exchange.marks),
        treasury=exchange.treasury,
        statements=[dict(fund.statement.flows) for fund in exchange.funds],
        haircut=haircut,
        counted=_counted(exchange),
        absorbed=dict(exchange.absorbed),
        contributions={member.account.number: member.held for member in exchange.members},
        token=_token(exchange.token, exchange.funds[0].tokens),
        implied=[surface.level for surface in exchange.surfaces],
    )


def _side_by_side(
    scenario: Any, steps: int, seed: int, nudges: Sequence[float]
) -> Iterator[tuple[RecordedEcosystem, list[Exchange], State, Largest, list[str]]]:
    """The array engine, a twin for each of `nudges`, the engine's state where the first twin was compared with it, and what was found."""
    engine = RecordedEcosystem(scenario, rng=seed, record_events=False)
    twins = [Exchange(engine.world, engine.opening(), rng=seed) for _ in nudges]
    largest = Largest.of(engine.state())
    for _ in range(steps):
        engine.step()
        assert engine.core is not None
        for twin, nudge in zip(twins, nudges, strict=True):
            if nudge:
                _nudge(twin, nudge)
            twin.clear(engine.inputs)
        state = engine.core
        lines = compare(twins[0], state, largest)
        if not lines:
            for twin in twins:
                twin.visit(engine.visits())
            state = engine.state()
            lines = compare(twins[0], state, largest)
        yield engine, twins, state, largest, lines
        largest = largest.and_of(engine.state())
