"""A venue: one exchange with its ledger, its markets and the rules it clears by. Nothing about a venue is a global."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.accrual import Accrual, AccrualView, Levies, accrual_rules
from agents.clearinghouse.deferral import Deferral, WithdrawalFactor, withdrawal_factor
from agents.clearinghouse.deleveraging import DeleveragingRule, deleveraging_rules
from agents.clearinghouse.liquidation import LiquidationRule, liquidation_rules
from agents.clearinghouse.margin import Margin, MarginRule, MarginView, margin_rules
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.sizing import SizingRule, SizingView, sizing_rules
from agents.clearinghouse.waterfall import Deleveraging, Layer, layers
from agents.liquidator import Bids, LiquidatorParameters, LiquidatorView, bid
from agents.market_maker import MakerView, MarketMakerParameters, Quotes, quote
from model.drawdown import Drawdown
from model.events import Events
from model.ledger import FUND, HOUSE_ROWS, OUTSIDE, SETTLEMENT, TREASURY, Flow, Ledger, Role, Rows, Status
from model.market import Market
from model.members import Members

if TYPE_CHECKING:
    from model.haircuts import Haircuts

type Floats = NDArray[np.float64]

TIE = 1e-9
"""Relative tolerance of every threshold: an account is breached when its equity is below maintenance by more than this share of it."""
CRUMB = 1_000.0
"""USD: taken-over positions smaller than this are sold whole."""
DUST = 1e-6
"""USD that an account without contracts may be below zero by rounding."""


def is_bankrupt(equity: Floats, notional: Floats) -> NDArray[np.bool_]:
    """Whether equity, (n,), is below zero by more than a tie of what is held, (M, n), USD: exactly zero is not a default."""
    below: NDArray[np.bool_] = equity < -TIE * notional.sum(axis=0) - DUST
    return below


@dataclass
class Tally:
    """What happened in a step, for the record; shape (M,) where it says so.

    Attributes:
        volume: (M,) USD traded by orders.
        liquidated: (M,) USD of positions liquidated, by any route.
        deferred: USD of deficits that became outstanding; settled: of outstanding losses that others than the fund have borne.
        absorbed: USD of deficits borne by each layer, by name.
    """

    volume: Floats
    liquidated: Floats
    fees: float = 0.0
    liquidations: int = 0
    takeovers: float = 0.0
    deleveraged: float = 0.0
    deficits: float = 0.0
    surplus: float = 0.0
    bankruptcies: int = 0
    rounds: int = 0
    unfinished: int = 0
    margin_calls: int = 0
    deferred: float = 0.0
    settled: float = 0.0
    absorbed: dict[str, float] = field(default_factory=dict)

    def absorb(self, layer: str, usd: float) -> None:
        """Notes what a layer has borne."""
        self.absorbed[layer] = self.absorbed.get(layer, 0.0) + usd


class Venue:
    """State of one exchange and the rules built from its scenario block.

    Attributes:
        ledger: its accounts; house rows first, then market makers, then liquidators, then traders.
        makers, liquidators: rows; members: clearing members and their fund, if there are any.
        hours: at the end of the step's walk, since the start.
        levies: what the fund takes in the current step; funding: shape (M,), the step's rate that longs pay.
        insolvent: whether claims on the exchange have been written down; trading has ended then.
        write_down: USD of claims written down in the step; written_down: shape (R,) or None, of whom.
        haircut: shape (R,) or None, share of equity that each account lost to deleveraging or socialised loss in the step.
        outstanding: USD of losses that account holders are yet to bear, minus what stands on the settlement row; brought_forward: the same
            when the step began; deferral: the layer that lets them.
        factor_seen, factor_rise: highest withdrawal factor while losses have been outstanding, and its rise in the step;
            since_settlement: hours since the last clawback.
        haircuts: of the step's deleveraging, None if there was none; drawdown: how far the fund has fallen from its recent peak.
    """

    def __init__(
        self,
        name: str,
        parameters: ClearinghouseParameters,
        makers: MarketMakerParameters,
        liquidators: LiquidatorParameters,
        market: Market,
        events: Events,
    ) -> None:
        self.name, self.parameters, self.market, self.events = name, parameters, market, events
        self.maker_parameters, self.liquidator_parameters = makers, liquidators
        self.ledger = Ledger(market.marks, supply=np.full(market.marks.size, 1e9))
        self.makers = self.ledger.open(makers.count, Role.MARKET_MAKER)
        self.liquidators = self.ledger.open(liquidators.count, Role.LIQUIDATOR)
        self.members = Members(parameters.members, int(self.ledger.open(1, Role.HOUSE)[0])) if parameters.members is not None else None
        self.institutions = self.ledger.rows
        self.maker_capital = np.zeros(makers.count)
        self.reference_volatility = market.volatility.copy()
        self.depth_multiplier = np.ones(market.marks.size)
        self.margin: MarginRule = margin_rules.build(parameters.margin)
        self.liquidation: LiquidationRule = liquidation_rules.build(parameters.liquidation)
        self.sizing: SizingRule = sizing_rules.build(parameters.sizing)
        self.accrual = Accrual([accrual_rules.build(p) for p in parameters.accrual])
        self.waterfall: list[Layer] = [layers.build(p) for p in parameters.waterfall]
        self.deleveraging: DeleveragingRule | None = None
        self.deleverages = Deleveraging.Parameters()
        for layer in self.waterfall:
            if layer.reaches == "contracts":
                self.deleveraging = deleveraging_rules.build(layer.parameters.rule)
                self.deleverages = layer.parameters
        self.deferral = next((layer for layer in self.waterfall if isinstance(layer, Deferral)), None)
        self.hours = 0.0
        self.outstanding = self.brought_forward = self.factor_seen = self.factor_rise = self.since_settlement = 0.0
        self.drawdown = Drawdown(self.deleverages.window, self.deleverages.drawdown)
        self.states: dict[str, Any] = {
            "margin": self.margin.initial_state(),
            "liquidation": self.liquidation.initial_state(),
            "sizing": self.sizing.initial_state(),
            "deleveraging": self.deleveraging.initial_state() if self.deleveraging else None,
            **{f"layer {at}": layer.initial_state() for at, layer in enumerate(self.waterfall)},
        }
        self.rng: np.random.Generator = np.random.default_rng(0)
        self.levies = Levies()
        self.funding: Floats = np.zeros(market.marks.size)
        self.target = 0.0
        self.insolvent = False
        self.write_down = 0.0
        self.written_down: Floats | None = None
        self.haircut: Floats | None = None
        self.haircuts: Haircuts | None = None
        self.quotes = Quotes(np.zeros((2, market.marks.size, makers.count)), np.zeros(market.marks.size))
        self.tally = Tally(np.zeros(market.marks.size), np.zeros(market.marks.size))

    def is_open(self) -> bool:
        """Whether trading goes on: not once claims on the exchange have been written down."""
        return not self.insolvent

    # -- margin ---------------------------------------------------------------------------------------------------------------------

    def requirement(self, position: Floats, exposure: Floats, marks: Floats) -> Margin:
        """Margin of accounts with these positions, (M, n) each, at these marks, (M,)."""
        view = MarginView(position, exposure * marks[:, None], marks)
        margin, self.states["margin"] = self.margin.rule(view, self.states["margin"], self.rng)
        return margin

    def at_risk(self, low: Floats, high: Floats) -> Rows:
        """The screen: rows that could breach while every mark stays within [low, high], (M,) each; also closed accounts below zero.

        Conservative: each account is valued at the worst corner of the box for it and margined at the box's highest marks; every
        account that could breach is in, some that could not are too.
        """
        ledger = self.ledger
        cash, position, exposure = ledger.cash[HOUSE_ROWS:], ledger.position[:, HOUSE_ROWS:], ledger.exposure[:, HOUSE_ROWS:]
        rate, limit = self.margin.flat_region(high)
        slack = cash + 0.5 * (low + high) @ position - (0.5 * (high - low) + rate * high) @ exposure
        flagged = slack < 0.0
        finite = np.isfinite(limit)
        if finite.any():
            large = np.flatnonzero((high[finite] @ exposure[finite] > limit[finite].min()) & ~flagged)
            if large.size:
                held = exposure[:, large]
                worst = cash[large] + 0.5 * (low + high) @ position[:, large] - 0.5 * (high - low) @ held
                exact = self.requirement(position[:, large], held, high).by_market.sum(axis=0)
                flagged[large] = worst < exact
        flagged |= ledger.status[HOUSE_ROWS:] == Status.CLOSING
        holds = (exposure[0] > 0.0) | exposure[1:].any(axis=0)
        flagged = np.where(holds, flagged, cash < -DUST)
        rows: Rows = np.flatnonzero(flagged) + HOUSE_ROWS
        return rows

    # -- institutions ---------------------------------------------------------------------------------------------------------------

    def able(self, ledger: Ledger, rows: Rows, breached: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
        """Whether institutions may trade: active and not being liquidated."""
        able: NDArray[np.bool_] = ledger.status[rows] == Status.ACTIVE
        return able if breached is None else able & ~breached[rows]

    def requote(self, ledger: Ledger, breached: NDArray[np.bool_] | None = None) -> None:
        """Market makers quote afresh from their accounts in `ledger`, whose first rows are the venue's institutions."""
        market, rows = self.market, self.makers
        if not rows.size:
            market.quote(np.zeros_like(market.depth), np.zeros_like(market.skew))
            return
        span = slice(int(rows[0]), int(rows[-1]) + 1)
        position, exposure = ledger.position[:, span], ledger.exposure[:, span]
        view = MakerView(
            equity=ledger.equity(span),
            opening=self.maker_capital,
            initial_margin=self.requirement(position, exposure, ledger.marks).initial,
            inventory=position * ledger.marks[:, None],
            able=self.able(ledger, rows, breached),
            volatility=market.alarm,
            reference=self.reference_volatility,
            depth=market.reference_depth * self.depth_multiplier,
        )
        self.quotes = quote(self.maker_parameters, view)
        market.quote(self.quotes.depth.sum(axis=2), self.quotes.skew)

    def bids(self, ledger: Ledger, breached: NDArray[np.bool_]) -> Bids:
        """What liquidators bid now."""
        rows = self.liquidators
        view = LiquidatorView(
            ledger.equity(rows), ledger.marks @ ledger.exposure[:, rows], self.able(ledger, rows, breached), self.market.alarm
        )
        return bid(self.liquidator_parameters, view)

    def unwinding(self, hours: float) -> tuple[Rows, Floats]:
        """Orders, rows (n,) and contracts (M, n), with which the fund and liquidators sell what they have taken over."""
        rows = np.concatenate(([FUND], self.liquidators)).astype(np.intp)
        rates = np.full(rows.size, self.liquidator_parameters.unwind_rate)
        rates[0] = self.parameters.route.unwind_rate
        position = self.ledger.position[:, rows]
        small = self.ledger.exposure[:, rows] * self.ledger.marks[:, None] < CRUMB
        return rows, np.where(small, -position, position * np.expm1(-rates * hours))

    # -- trading --------------------------------------------------------------------------------------------------------------------

    def open_positions(self, rows: Rows, contracts: Floats, weights: Floats) -> None:
        """Traders open with positions, at the index and without fees: longs and shorts against each other, the rest against makers.

        The heavier side is cut until the makers need to take no more than half their capital over all markets, divided by `weights`, (M,).
        """
        index, capital = self.market.index, float(self.maker_capital.sum())
        buys, sells = np.maximum(contracts, 0.0), np.maximum(-contracts, 0.0)
        most = np.minimum(buys.sum(axis=1), sells.sum(axis=1)) + 0.5 * capital * weights / index
        quantity = _cut(buys, most) - _cut(sells, most)
        shares = self.maker_capital / capital if capital > 0.0 else self.maker_capital
        self.ledger.trade_all(rows, quantity, index, self.makers, -quantity.sum(axis=1)[:, None] * shares)

    def trade(self, rows: Rows, contracts: Floats, hours: float) -> None:
        """The auction clears orders, contracts (M, n) of distinct rows (n,), against the market makers; fees."""
        buys, sells = np.maximum(contracts, 0.0), np.maximum(-contracts, 0.0)
        cleared = self.market.auction(buys.sum(axis=1), sells.sum(axis=1), hours)
        filled = buys * cleared.buys[:, None] - sells * cleared.sells[:, None]
        taken = self._to_makers(cleared.makers)
        self.ledger.trade_all(rows, filled, cleared.price, self.makers, taken)
        self.tally.volume += np.abs(filled).sum(axis=1) * cleared.price
        self._charge(rows, cleared.price @ np.abs(filled), cleared.price @ np.abs(taken))

    def _to_makers(self, contracts: Floats) -> Floats:
        """Shape (M, K): what each maker takes of `contracts`, (M,), in proportion to the depth it shows on that side."""
        shown = np.where(contracts[:, None] > 0.0, self.quotes.depth[0], self.quotes.depth[1])
        total = shown.sum(axis=1)
        taken: Floats = shown * (contracts / np.where(total > 0.0, total, 1.0))[:, None]
        return taken

    def _charge(self, rows: Rows, ordered: Floats, made: Floats) -> None:
        """Trading fees on notionals (n,) and (K,), at most what an account has; rebates come out of exchange capital."""
        ledger, fees, share = self.ledger, self.parameters.fees, self.levies.trading_fees
        taker = np.where(rows != FUND, np.minimum(fees.taker * ordered, np.maximum(ledger.equity(rows), 0.0)), 0.0)
        maker = np.minimum(fees.maker * made, np.maximum(ledger.equity(self.makers), 0.0))
        for who, fee in ((rows, taker), (self.makers, np.maximum(maker, 0.0))):
            if fee.any():
                self.tally.fees += ledger.transfer(Flow.TRADING_FEE, who, FUND, share * fee)
                self.tally.fees += ledger.transfer(Flow.TRADING_FEE, who, TREASURY, (1.0 - share) * fee)
        rebate = np.maximum(-maker, 0.0)
        owed = float(rebate.sum())
        if owed > 0.0:
            able = min(1.0, max(ledger.treasury, 0.0) / owed)
            self.tally.fees -= ledger.transfer(Flow.TRADING_FEE, TREASURY, self.makers, rebate * able)

    def exchange_funding(self, hours: float) -> None:
        """Funding between longs and shorts; a share of what receivers get may go to the fund."""
        ledger, share = self.ledger, self.levies.funding
        self.funding = self.market.funding_rate(hours)
        due = (self.funding * ledger.marks) @ ledger.position
        due = self.collect(Flow.FUNDING, due)
        if share > 0.0:
            received = np.maximum(-due, 0.0) * share
            received[FUND] = 0.0
            ledger.transfer(Flow.FUNDING_SHARE, slice(None), FUND, np.minimum(received, np.maximum(ledger.equity(), 0.0)))

    def levy_open_interest(self, hours: float) -> None:
        """The open-interest levy, from every open position to the fund."""
        rate = self.levies.open_interest * hours
        if rate > 0.0:
            due = (rate * self.ledger.marks) @ self.ledger.exposure
            due[FUND] = 0.0
            due[FUND] = -due.sum()
            self.collect(Flow.OPEN_INTEREST_LEVY, due)

    def distribute(self) -> None:
        """What the exchange has earned beyond its opening capital goes to its owners."""
        excess = self.ledger.treasury - self.parameters.capital
        if excess > 0.0:
            self.ledger.transfer(Flow.DISTRIBUTION, TREASURY, OUTSIDE, excess * self.within_custody(excess))

    # -- accounts -------------------------------------------------------------------------------------------------------------------

    def collect(self, kind: Flow, due: Floats) -> Floats:
        """Charges (`due` > 0) and credits (< 0) every row, (R,), zero in sum; nobody pays more than its equity.

        Returns what was charged and credited.
        """
        ledger = self.ledger
        equity = ledger.equity()
        short = due > np.maximum(equity, 0.0)
        short[OUTSIDE] = False
        if short.any():
            due = np.where(short, np.maximum(equity, 0.0), due)
            paid, owed = float(due[due > 0.0].sum()), -float(due[due < 0.0].sum())
            due = np.where(due < 0.0, due * (paid / owed if owed > 0.0 else 0.0), due)
        ledger.pay(kind, -due)
        return due

    def withdrawal_factor(self) -> float:
        """Part of withdrawals that is kept now, while losses are outstanding under that rule."""
        if self.outstanding <= DUST or not isinstance(self.deferral, WithdrawalFactor):
            return 0.0
        claims = np.where(self.ledger.role != Role.HOUSE, np.maximum(self.ledger.equity(), 0.0), 0.0)
        return withdrawal_factor(self.outstanding, self.ledger.fund, float(claims.sum()))

    def settle(self, layer: str, usd: float) -> None:
        """Notes that a layer has borne USD of outstanding losses."""
        self.outstanding -= usd
        self.tally.absorb(layer, usd)
        self.tally.settled += usd if layer != "fund" else 0.0

    def pay_out(self, kind: Flow, rows: Rows, wanted: Floats) -> None:
        """Pays account holders (n,) what they want to take out, USD, less the withdrawal factor, as far as custody goes."""
        factor = self.withdrawal_factor()
        if factor > 0.0:
            kept = wanted * min(factor, self.outstanding / max(float(wanted.sum()), DUST))
            self.settle("withdrawal_factor", self.ledger.transfer(Flow.SOCIALISED_LOSS, rows, SETTLEMENT, kept))
            wanted = wanted - kept
        self.ledger.transfer(kind, rows, OUTSIDE, wanted * self.within_custody(float(wanted.sum())))

    def within_custody(self, wanted: float) -> float:
        """Part of what account holders want to take out that custody cash can pay."""
        return min(1.0, max(self.ledger.custody, 0.0) / wanted) if wanted > 0.0 else 1.0

    def open_interest(self) -> Floats:
        """Shape (M,), USD, one side."""
        half: Floats = 0.5 * self.ledger.marks * self.ledger.exposure.sum(axis=1)
        return half

    def size_and_levy(self, hours: float) -> None:
        """Close of a step: the fund's target, and what accrues in the next step; an injection moves at once."""
        market, tally = self.market, self.tally
        interest = self.open_interest()
        target, self.states["sizing"] = self.sizing.rule(SizingView(interest, market.volatility), self.states["sizing"], self.rng)
        self.target = target
        view = AccrualView(
            hours, self.ledger.fund, target, interest, market.volatility, tally.volume, tally.fees, float(tally.liquidated.sum())
        )
        self.levies = self.accrual.levies(view, self.rng)
        if self.levies.injection > 0.0:
            self.ledger.transfer(Flow.INJECTION, TREASURY, FUND, min(self.levies.injection, max(self.ledger.treasury, 0.0)))

    def begin_step(self, rng: np.random.Generator) -> None:
        """Clears the step's tallies."""
        self.rng = rng
        self.ledger.begin_step()
        self.market.begin_step()
        if self.insolvent:
            self.market.flow = np.zeros(self.ledger.markets)
        self.haircut = self.written_down = self.haircuts = None
        self.write_down = self.factor_rise = 0.0
        self.brought_forward = self.outstanding
        self.tally = Tally(np.zeros(self.ledger.markets), np.zeros(self.ledger.markets))


def _cut(side: Floats, most: Floats) -> Floats:
    """Orders of one side, (M, n), cut in proportion to at most `most`, (M,), contracts."""
    total = side.sum(axis=1)
    kept: Floats = side * np.where(total > most, most / np.where(total > 0.0, total, 1.0), 1.0)[:, None]
    return kept
