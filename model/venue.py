"""A venue: one exchange with its ledger, its markets and the rules it clears by; margin, the screen, what accounts can pay.

Nothing about a venue is a global. What happens at one is in modules of functions that take it.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.accrual import Accrual, Levies, accrual_rules
from agents.clearinghouse.adequacy import Action, AdequacyRule, adequacy_rules
from agents.clearinghouse.deferral import Deferral
from agents.clearinghouse.deleveraging import DeleveragingRule, deleveraging_rules
from agents.clearinghouse.liquidation import LiquidationRule, liquidation_rules, maintenance_shares
from agents.clearinghouse.liquidation_fees import FeeRule, liquidation_fees
from agents.clearinghouse.margin import Margin, MarginRule, MarginView, MarketSeen, checked_margin, margin_rules
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.pools import Pools
from agents.clearinghouse.sizing import SizingRule, sizing_rules
from agents.clearinghouse.waterfall import Deleveraging, Layer, layers
from agents.liquidator import LiquidatorParameters
from agents.market_maker import MarketMakerParameters, Quotes
from agents.option_vault import OptionVaultParameters
from model.channels import OPEN, Channels
from model.drawdown import Drawdown
from model.events import Events
from model.halts import Halts
from model.instruments import Fixing, coin_gains
from model.ledger import OUTSIDE, Flow, Ledger, Role, Rows, RowsLike, Status
from model.market import Market
from model.members import Members
from model.option_vault import OptionVault
from model.tally import Tally
from model.value import Value

if TYPE_CHECKING:
    from model.guarantee import Guarantee
    from model.haircuts import Haircuts
    from model.walked import Walked

type Floats = NDArray[np.float64]

TIE = 1e-9
"""Relative tolerance of every threshold: an account is breached when its equity is below maintenance by more than this share of it."""
DUST = 1e-6
"""USD that an account without contracts may be below zero by rounding."""


def is_bankrupt(equity: Floats, notional: Floats) -> NDArray[np.bool_]:
    """Whether equity, (n,), is below zero by more than a tie of what is held, (M, n), USD: exactly zero is not a default."""
    below: NDArray[np.bool_] = equity < -TIE * notional.sum(axis=0) - DUST
    return below


class Venue:
    """State of one exchange and the rules built from its scenario block.

    Attributes:
        ledger: its accounts; house rows first, then market makers, then liquidators, then traders.
        option_vault: the vault that sells options, if there is one.
        makers, liquidators, vault: rows; members: clearing members and their fund, if there are any.
        hours: at the end of the step's walk, since the start; clock: at the end of the increment.
        allowance: shape (M,), USD that may still be liquidated in the increment; None without a speed limit.
        pools: how the fund is divided; claimed: shape (G,), USD that each claimant has had from it.
        action: what the exchange does because the fund is short; recapitalised: shape (P,), USD that its owners paid in for that.
        levied: by pool that has markets, what it takes in the current step; funding: shape (M,), the step's rate that longs pay.
        target: USD, what the fund should be; targets: shape (P,), its pools.
        closing_index: log indices at the last close.
        interest: shape (M,), USD, one side, open interest at the last close, by which margin is asked for and losses of no market in
            particular are divided; opening_interest: at the opening.
        channels: which channels of contagion are open.
        insolvent: whether claims on the exchange have been written down; trading has ended then.
        failed_at: hours at the close of the step in which that happened.
        write_down: USD of claims written down in the step; written_down: shape (R,) or None, of whom.
        haircut: shape (R,) or None, share of equity that each account lost to deleveraging or socialised loss in the step.
        deleveraged: shape (M, R) or None, contracts of solvent accounts, unsigned, that were closed against bankrupt ones in the step.
        outstanding: USD of losses that account holders are yet to bear, minus what stands on the settlement row; brought_forward: the same
            when the step began; deferral: the layer that lets them.
        factor_seen, factor_rise: highest withdrawal factor while losses have been outstanding, and its rise in the step;
            since_settlement: hours since the last clawback.
        value: what becomes of the exchange's surplus, and its token.
        guarantee: other exchanges' funds that stand in for this one's; walked: its accounts that a walk has before it.
        haircuts: of the step's deleveraging, None if there was none; drawdown: how far the fund has fallen from its recent peak.
    """

    written_down: Floats | None
    haircut: Floats | None
    deleveraged: Floats | None
    haircuts: "Haircuts | None"
    failed_at: float | None
    allowance: Floats | None = None
    option_vault: OptionVault | None = None
    guarantee: "Guarantee | None" = None
    walked: "Walked | None" = None

    def __init__(
        self,
        name: str,
        parameters: ClearinghouseParameters,
        makers: MarketMakerParameters,
        liquidators: LiquidatorParameters,
        market: Market,
        events: Events,
        names: Sequence[str] | None = None,
        channels: Channels = OPEN,
    ) -> None:
        self.name, self.parameters, self.market, self.events, self.channels = name, parameters, market, events, channels
        self.maker_parameters, self.liquidator_parameters = makers, liquidators
        self.pools = Pools.of(parameters.pools, names or [str(at) for at in range(market.marks.size)])
        settled = None if market.listed is None else market.listed.settled_in()
        self.ledger = Ledger(market.marks, np.full(market.assets, 1e9), self.pools.market, len(self.pools.names), settled)
        self.claimed = np.zeros(self.pools.pool.size)
        self.makers, self.liquidators = (
            self.ledger.open(one.count, role) for one, role in ((makers, Role.MARKET_MAKER), (liquidators, Role.LIQUIDATOR))
        )
        self.members = Members(parameters.members, int(self.ledger.open(1, Role.HOUSE)[0])) if parameters.members is not None else None
        self.vault: Rows = self.ledger.open(0 if parameters.vault is None else 1, Role.VAULT)
        self.institutions = self.ledger.rows
        self.maker_capital = np.zeros(makers.count)
        self.reference_volatility = market.volatility.copy()
        self.depth_multiplier = np.ones(market.marks.size)
        self.mark(self.ledger, market.marks)
        self.halts = Halts(parameters.circuit_breaker)
        self.margin: MarginRule = margin_rules.build(parameters.margin)
        self.liquidation: LiquidationRule = liquidation_rules.build(parameters.liquidation)
        self.liquidation_fee: FeeRule = liquidation_fees.build(parameters.fees.liquidation)
        self.sizing: SizingRule = sizing_rules.build(parameters.sizing)
        self.accrual = [Accrual([accrual_rules.build(p) for p in parameters.accrual]) for _ in range(self.pools.own)]
        self.adequacy: list[AdequacyRule] = [adequacy_rules.build(p) for p in parameters.adequacy]
        self.value = Value(parameters, market.log_index)
        self.waterfall: list[Layer] = [layers.build(p) for p in parameters.waterfall]
        self.deleveraging: DeleveragingRule | None = None
        self.deleverages = Deleveraging.Parameters()
        for layer in self.waterfall:
            if layer.reaches == "contracts":
                self.deleveraging = deleveraging_rules.build(layer.parameters.rule)
                self.deleverages = layer.parameters
        self.deferral = next((layer for layer in self.waterfall if isinstance(layer, Deferral)), None)
        self.hours = self.start = self.clock = 0.0
        self.outstanding = self.brought_forward = self.factor_seen = self.factor_rise = self.since_settlement = 0.0
        self.drawdown = Drawdown(self.deleverages.window, self.deleverages.drawdown)
        self.states: dict[str, Any] = {
            "margin": self.margin.opened(MarketSeen(0.0, np.zeros(market.assets), market.volatility[: market.assets])),
            "liquidation": self.liquidation.initial_state(),
            "liquidation_fee": self.liquidation_fee.initial_state(),
            "sizing": [self.sizing.initial_state() for _ in range(self.pools.own)],
            "deleveraging": self.deleveraging.initial_state() if self.deleveraging else None,
            "adequacy": [rule.initial_state() for rule in self.adequacy],
            **{f"layer {at}": [layer.initial_state() for _ in self.pools.names] for at, layer in enumerate(self.waterfall)},
        }
        self.rng: np.random.Generator = np.random.default_rng(0)
        self.levied = [Levies()] * self.pools.own
        self.action = Action()
        self.recapitalised: Floats = np.zeros(len(self.pools.names))
        self.funding: Floats = np.zeros(market.marks.size)
        self.closing_index: Floats = market.log_index.copy()
        self.targets: Floats = np.zeros(len(self.pools.names))
        self.interest = self.opening_interest = np.zeros(market.marks.size)
        self.insolvent, self.write_down = False, 0.0
        self.haircut = self.written_down = self.haircuts = self.deleveraged = self.failed_at = None
        self.quotes = Quotes(np.zeros((2, market.marks.size, makers.count)), np.zeros(market.marks.size))
        self.tally = Tally(np.zeros(market.marks.size), np.zeros(market.marks.size))

    @property
    def levies(self) -> Levies:
        """What the fund takes in the current step; of several pools, the first. Assigning it sets them all alike."""
        return self.levied[0]

    @levies.setter
    def levies(self, levies: Levies) -> None:
        self.levied = [levies] * self.pools.own

    @property
    def target(self) -> float:
        """USD, what the fund should be, all pools together."""
        return float(self.targets.sum())

    def is_open(self) -> bool:
        """Whether trading goes on: not once claims on the exchange have been written down."""
        return not self.insolvent

    def begin_step(self, rng: np.random.Generator, start: float = 0.0) -> None:
        """Clears the tallies for a step that starts `start` hours after the run did."""
        self.rng, self.start = rng, start
        self.ledger.begin_step()
        self.market.begin_step()
        if self.insolvent:
            self.market.flow = np.zeros(self.ledger.markets)
        self.haircut = self.written_down = self.haircuts = self.deleveraged = None
        self.write_down = self.factor_rise = 0.0
        self.brought_forward = self.outstanding
        if self.option_vault is not None:
            self.option_vault.begin_step(self.ledger)
        if self.value.token is not None:
            self.value.token.begin_step()
        self.tally = Tally(np.zeros(self.ledger.markets), np.zeros(self.ledger.markets))

    def open_option_vault(self, parameters: OptionVaultParameters | None) -> None:
        """Opens the account of the vault that sells options, the last of the institutions'."""
        if parameters is not None:
            self.option_vault = OptionVault(parameters, self)
            self.institutions = self.ledger.rows

    def distribute(self) -> None:
        """What the exchange has earned beyond its opening capital goes where it should."""
        self.value.distribute(self)

    def revalue(self, ledger: Ledger) -> None:
        """What the fund holds in coins and tokens is worth what the market says now."""
        ledger.revalue(self.market.underlying)
        self.value.revalue(ledger, self.market.log_index)

    def open_interest(self) -> Floats:
        """Shape (M,), USD, one side."""
        half: Floats = 0.5 * self.ledger.units * self.ledger.exposure.sum(axis=1)
        return half

    # -- margin ---------------------------------------------------------------------------------------------------------------------

    def margined(self, position: Floats, exposure: Floats, marks: Floats) -> MarginView:
        """What the margin rule sees of accounts with these positions, (M, n) each, at these marks, (M,).

        Where there are options, it is what contracts were worth when they were last fixed that counts.
        """
        market, fixing = self.market, self.fixing
        calm = not self.channels.margin_spiral
        volatility = (self.reference_volatility if calm else market.volatility)[: market.assets]
        interest = self.opening_interest if calm else self.interest
        if fixing is None and market.inverse is not None:
            face, gains = market.face(marks), partial(self.coin_gains, marks)
            return MarginView(position, exposure * face[:, None], marks, face, market.asset, interest, volatility, gains)
        if fixing is None:
            return MarginView(
                position, exposure * marks[:, None], marks, assets=market.asset, open_interest=interest, volatility=volatility
            )
        notional = exposure * fixing.units[:, None]
        assert market.listed is not None
        terms = market.listed.strike, market.listed.sign
        return MarginView(position, notional, fixing.marks, fixing.units, market.asset, interest, volatility, fixing.reprice, *terms)

    def fix(self) -> Floats | None:
        """Fixes what contracts are worth, for margin, where there are options; notionals, (M,), USD, where they are not marks."""
        self.fixing: Fixing | None = self.market.fixing()
        return None if self.fixing is None else self.fixing.units

    def mark(self, ledger: Ledger, marks: Floats) -> None:
        """Marks accounts to `marks`, (M,), and to what contracts and settlement coins are worth now."""
        units = self.fix()
        if self.market.inverse is None:
            ledger.mark(marks, units)
            return
        ledger.mark(marks, self.market.face(marks) if units is None else units, self.market.rates)

    def coin_gains(self, marks: Floats, spot: Floats, volatility: Floats) -> Floats:
        """Shape (S, M), USD: change of one contract at `marks`, (M,), when underlyings return `spot`, (S, A); there are no options."""
        market, returns = self.market, spot[:, self.market.asset]
        assert market.inverse is not None
        return coin_gains(marks * returns, marks, returns, market.inverse)

    def requirement(self, position: Floats, exposure: Floats, marks: Floats) -> Margin:
        """Margin of accounts with these positions, (M, n) each, at these marks, (M,)."""
        view = self.margined(position, exposure, marks)
        margin, self.states["margin"] = self.margin.rule(view, self.states["margin"], self.rng)
        return checked_margin(margin).times(self.action.initial, self.action.maintenance)

    def margin_of(self, ledger: Ledger, rows: RowsLike) -> Margin:
        """Margin of accounts, (n,), as they stand."""
        return self.requirement(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks)

    def ceiling(self, position: Floats, exposure: Floats, marks: Floats) -> Floats:
        """Shape (n,): the most maintenance margin of accounts with these positions, (M, n) each, while marks are at most these, (M,)."""
        return self.margin.ceiling(self.margined(position, exposure, marks), self.states["margin"]) * self.action.maintenance

    def learn(self, moved: Floats, hours: float) -> None:
        """Close of a step in which indices moved by `moved`, (M,), log: open interest is noted, and the margin rule learns."""
        self.interest = self.open_interest()
        self.value.close(self, hours)
        if not self.channels.margin_spiral:
            return
        self.states["margin"] = self.margin.observe(
            MarketSeen(hours, moved[: self.market.assets], self.market.volatility[: self.market.assets]), self.states["margin"]
        )

    def margin_shares(self, ledger: Ledger, rows: Rows) -> Floats:
        """Shape (M, n): each position's part of its account's maintenance margin."""
        position, exposure = ledger.position[:, rows], ledger.exposure[:, rows]
        margin = self.requirement(position, exposure, ledger.marks).by_market
        return maintenance_shares(margin, exposure * ledger.units[:, None])

    def at_risk(self, low: Floats, high: Floats) -> Rows:
        """The screen: rows that could breach while every mark stays within [low, high], (M,) each; also closed accounts below zero.

        Where there are settlement coins, their rates come after the marks.

        Conservative: each account is valued at the worst corner of the box for it and margined at the box's highest marks; every
        account that could breach is in, some that could not are too.
        """
        ledger = self.ledger
        first = ledger.house
        cash, position, exposure = ledger.cash[first:], ledger.position[:, first:], ledger.exposure[:, first:]
        if ledger.currencies:
            low, high, cash = low[: ledger.markets], high[: ledger.markets], self._least_cash(low[ledger.markets :], high[ledger.markets :])
        top = self.market.face(high)
        rate, limit = self.margin.flat_region(self.margined(position[:, :0], exposure[:, :0], high), self.states["margin"])
        rate = rate * self.action.maintenance
        slack = cash + 0.5 * (low + high) @ position - (0.5 * (high - low) + rate * top) @ exposure
        flagged = slack < 0.0
        if self.fixing is not None and self.market.listed is not None:  # the rate holds where prices stand, not at the box's corners
            flagged |= exposure[self.market.listed.option].any(axis=0)
        finite = np.isfinite(limit)
        if finite.any():
            large = np.flatnonzero((top[finite] @ exposure[finite] > limit[finite].min()) & ~flagged)
            if large.size:
                held = exposure[:, large]
                worst = cash[large] + 0.5 * (low + high) @ position[:, large] - 0.5 * (high - low) @ held
                flagged[large] = worst < self.ceiling(position[:, large], held, high)
        flagged |= ledger.status[first:] == Status.CLOSING
        holds = (exposure[0] > 0.0) | exposure[1:].any(axis=0)
        flagged = np.where(holds, flagged, cash < -DUST)
        rows: Rows = np.flatnonzero(flagged) + first
        return rows

    def _least_cash(self, low: Floats, high: Floats) -> Floats:
        """Shape (n,), USD: the least that balances of account holders are worth while rates stay within [low, high], (A,) each."""
        ledger = self.ledger
        coins = ledger.coins[:, ledger.house :]
        least: Floats = ledger.cash[ledger.house :] + 0.5 * (low + high) @ coins - 0.5 * (high - low) @ np.abs(coins)
        return least

    # -- accounts -------------------------------------------------------------------------------------------------------------------

    def collect(self, kind: Flow, due: Floats) -> Floats:
        """Charges (`due` > 0) and credits (< 0) every row, (R,), zero in sum; nobody pays more than its equity.

        Returns what was charged and credited.
        """
        ledger = self.ledger
        equity = self.means(ledger)
        if self.parameters.pools.currency != "usd":
            equity[ledger.funds] = ledger.pools
        short = due > np.maximum(equity, 0.0)
        short[OUTSIDE] = False
        if short.any():
            due = np.where(short, np.maximum(equity, 0.0), due)
            paid, owed = float(due[due > 0.0].sum()), -float(due[due < 0.0].sum())
            due = np.where(due < 0.0, due * (paid / owed if owed > 0.0 else 0.0), due)
        ledger.pay(kind, -due)
        return due

    def payable(self, ledger: Ledger) -> list[float]:
        """USD by pool that the fund could pay now for losses, with what other exchanges' funds would for it."""
        held = self.value.payable(ledger)
        if self.guarantee is not None:
            held[0] += self.guarantee.stands_by(self)
        return held

    def note_deleveraged(self, market: int, rows: Rows, contracts: Floats) -> None:
        """Remembers contracts, (n,), unsigned, of accounts that were closed against bankrupt ones."""
        if self.deleveraged is None:
            self.deleveraged = np.zeros((self.ledger.markets, self.ledger.rows))
        self.deleveraged[market, rows] += contracts

    def within_custody(self, wanted: float) -> float:
        """Part of what account holders want to take out that custody cash can pay."""
        return min(1.0, max(self.ledger.custody, 0.0) / wanted) if wanted > 0.0 else 1.0

    def lent(self, ledger: Ledger, rows: RowsLike = slice(None)) -> Floats | float:
        """Shape (n,), USD: what coins of account holders count for as collateral: at the exchange's index, haircut taken off."""
        haircuts = self.parameters.coin_haircuts
        if not haircuts:
            return 0.0
        market, assets = self.market, range(self.market.assets)
        counts = 1.0 - np.array([haircuts[min(at, len(haircuts) - 1)] for at in assets])
        price = counts * market.underlying * np.exp(market.mispricing[: market.assets])
        value: Floats = price @ ledger.spot[:, rows]
        return np.where(np.arange(ledger.rows)[rows] < ledger.house, 0.0, value)

    def means(self, ledger: Ledger, rows: RowsLike = slice(None)) -> Floats:
        """Shape (n,), USD: equity, and what coins count for; at most that is taken for fees, funding and levies."""
        means: Floats = ledger.equity(rows) + self.lent(ledger, rows)
        return means
