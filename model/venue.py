"""A venue: one exchange with its ledger, its markets and the rules it clears by. Nothing about a venue is a global."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.clearinghouse.accrual import Accrual, AccrualView, Levies, accrual_rules
from agents.clearinghouse.adequacy import Action, AdequacyRule, AdequacyView, adequacy_rules
from agents.clearinghouse.deferral import Deferral, WithdrawalFactor, withdrawal_factor
from agents.clearinghouse.deleveraging import DeleveragingRule, deleveraging_rules
from agents.clearinghouse.liquidation import LiquidationRule, liquidation_rules, maintenance_shares
from agents.clearinghouse.liquidation_fees import FeeRule, liquidation_fees
from agents.clearinghouse.margin import Margin, MarginRule, MarginView, MarketSeen, checked_margin, margin_rules
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.pools import Pools
from agents.clearinghouse.sizing import SizingRule, SizingView, checked_target, sizing_rules
from agents.clearinghouse.stress import Books
from agents.clearinghouse.waterfall import Deleveraging, Layer, layers
from agents.contracts import Contracts
from agents.liquidator import Bids, LiquidatorParameters, LiquidatorView, bid
from agents.market_maker import MakerView, MarketMakerParameters, Quotes, quote
from agents.option_vault import OptionVaultParameters
from model.channels import OPEN, Channels
from model.drawdown import Drawdown
from model.events import Events
from model.halts import Halts
from model.instruments import Fixing, Kind, coin_gains
from model.ledger import OUTSIDE, SETTLEMENT, TREASURY, Flow, Ledger, Role, Rows, RowsLike, Status
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
CRUMB = 1_000.0
"""USD: what is sold off little by little, positions taken over or naked spot, is sold whole once it is worth less."""
LEAST_VEGA = 0.02
"""Of the index, for a relative change of volatility: what is less sensitive does not say what volatility it implies (our choice)."""
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
        self._closed: Floats = market.log_index.copy()
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
            face, gains = market.face(marks), partial(self._coin_gains, marks)
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

    def _coin_gains(self, marks: Floats, spot: Floats, volatility: Floats) -> Floats:
        """Shape (S, M), USD: change of one contract at `marks`, (M,), when underlyings return `spot`, (S, A); there are no options."""
        market, returns = self.market, spot[:, self.market.asset]
        assert market.inverse is not None
        return coin_gains(marks * returns, marks, returns, market.inverse)

    def requirement(self, position: Floats, exposure: Floats, marks: Floats) -> Margin:
        """Margin of accounts with these positions, (M, n) each, at these marks, (M,)."""
        view = self.margined(position, exposure, marks)
        margin, self.states["margin"] = self.margin.rule(view, self.states["margin"], self.rng)
        return checked_margin(margin).times(self.action.initial, self.action.maintenance)

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
            inventory=self._inventory(position, ledger, span),
            able=self.able(ledger, rows, breached),
            volatility=market.alarm,
            reference=self.reference_volatility,
            depth=market.reference_depth * self.depth_multiplier,
        )
        self.quotes = quote(self.maker_parameters, view)
        market.quote(self.quotes.depth.sum(axis=2), self.quotes.skew)

    def _inventory(self, position: Floats, ledger: Ledger, makers: slice) -> Floats:
        """Shape (M, K), USD: what makers hold, (M, K) contracts, by market; a perpetual's counts the deltas of all on its underlying.

        What is settled in coin has its delta in the coins that stand against it, and those that it has gained or lost.
        """
        held, market = position * ledger.units[:, None], self.market
        if market.listed is None:
            return held
        delta = held if self.fixing is None else held * self.fixing.deltas[:, None]
        if market.inverse is not None:
            delta = np.where(market.inverse[:, None], 0.0, delta)
            held[: market.assets] += ledger.rates[:, None] * ledger.coins[:, makers]
        for further in range(market.assets, held.shape[0]):
            held[market.asset[further]] += delta[further]
        return held

    def traded(self, funding: Floats) -> Contracts | None:
        """What traders know of contracts, beyond what perpetuals are; `funding`, (M,), annualised, is what they expect of perpetuals."""
        market, listed = self.market, self.market.listed
        if listed is None:
            return None
        days = listed.left(market.clock) / 24.0
        index = np.maximum(market.index, 1e-300)
        # A future's premium is earned by its expiry; nobody expects to earn it over again sooner than in a week.
        beyond = np.where(np.isfinite(days), market.wedge * (365.0 / np.maximum(days, 7.0)), 0.0)
        carry = np.where(listed.option, 0.0, np.where(listed.coin_settled, funding, funding[market.asset]) + beyond)
        delta, richness = np.ones(index.size), np.ones(index.size)
        if self.fixing is not None:
            delta = self.fixing.deltas
            # By how much a premium over the surface's price raises implied volatility, to first order.
            raised = np.clip(market.basis * index / np.maximum(self.fixing.vegas, LEAST_VEGA * index), -0.5, 1.0)
            surface = market.level[market.asset] / np.maximum(market.volatility, 1e-12)
            richness = np.where(listed.option, surface * (1.0 + raised), 1.0)
        kinds = listed.kind
        return Contracts(
            market.asset,
            listed.linear,
            listed.coin_settled,
            kinds == Kind.CALL,
            kinds == Kind.PUT,
            days,
            carry,
            self.ledger.marks / np.maximum(self.ledger.units, 1e-300),
            richness,
            delta,
        )

    def bids(self, ledger: Ledger, breached: NDArray[np.bool_]) -> Bids:
        """What liquidators bid now."""
        rows = self.liquidators
        view = LiquidatorView(
            ledger.equity(rows), ledger.units @ ledger.exposure[:, rows], self.able(ledger, rows, breached), self.market.alarm
        )
        return bid(self.liquidator_parameters, view)

    def unwinding(self, hours: float) -> tuple[Rows, Floats]:
        """Orders, rows (n,) and contracts (M, n), with which the fund and liquidators sell what they have taken over."""
        funds = self.ledger.funds
        rows = np.concatenate((funds, self.liquidators, self.vault))
        rates = np.full(rows.size, self.liquidator_parameters.unwind_rate)
        rates[: funds.size] = self.parameters.route.unwind_rate
        if self.parameters.vault is not None:
            rates[-1] = self.parameters.vault.unwind_rate
        position = self.ledger.position[:, rows]
        small = self.ledger.exposure[:, rows] * self.ledger.units[:, None] < CRUMB
        return rows, np.where(small, -position, position * np.expm1(-rates * hours))

    # -- trading --------------------------------------------------------------------------------------------------------------------

    def open_positions(self, rows: Rows, contracts: Floats, weights: Floats) -> None:
        """Traders open with positions, at the index and without fees: longs and shorts against each other, the rest against makers.

        The heavier side is cut until the makers need to take no more than half their capital over all markets, divided by `weights`, (M,).
        """
        index = self.market.index if self.market.listed is None else self.market.marks
        capital = float(self.maker_capital.sum())
        buys, sells = np.maximum(contracts, 0.0), np.maximum(-contracts, 0.0)
        most = np.minimum(buys.sum(axis=1), sells.sum(axis=1)) + 0.5 * capital * weights / self.market.face(self.market.index)
        quantity = _cut(buys, most) - _cut(sells, most)
        shares = self.maker_capital / capital if capital > 0.0 else self.maker_capital
        self.ledger.trade_all(rows, quantity, index, self.makers, -quantity.sum(axis=1)[:, None] * shares)
        self.interest = self.opening_interest = self.open_interest()

    def trade(self, rows: Rows, contracts: Floats, hours: float) -> None:
        """The auction clears orders, contracts (M, n) of distinct rows (n,), against the market makers; fees."""
        buys, sells = np.maximum(contracts, 0.0), np.maximum(-contracts, 0.0)
        cleared = self.market.auction(buys.sum(axis=1), sells.sum(axis=1), hours)
        filled = buys * cleared.buys[:, None] - sells * cleared.sells[:, None]
        taken = self._to_makers(cleared.makers)
        worth = self.market.worth(cleared.price, self.ledger.rates)
        self.ledger.trade_all(rows, filled, worth, self.makers, taken)
        if self.option_vault is not None:
            self.option_vault.traded(self, worth)
        # Fees are on notional, which is the price only of what is linear.
        price = self.market.face(cleared.price)
        if self.market.listed is not None:
            price = np.where(self.market.listed.option, self.ledger.units, price)
        self.tally.volume += np.abs(filled).sum(axis=1) * price
        self._charge(rows, np.abs(filled), np.abs(taken), price)
        self.settle_flat(self.ledger, rows)

    def _to_makers(self, contracts: Floats) -> Floats:
        """Shape (M, K): what each maker takes of `contracts`, (M,), in proportion to the depth it shows on that side."""
        shown = np.where(contracts[:, None] > 0.0, self.quotes.depth[0], self.quotes.depth[1])
        total = shown.sum(axis=1)
        taken: Floats = shown * (contracts / np.where(total > 0.0, total, 1.0))[:, None]
        return taken

    def _charge(self, rows: Rows, ordered: Floats, made: Floats, price: Floats) -> None:
        """Trading fees on contracts (M, n) and (M, K) at `price`, (M,), at most what an account has; rebates come out of capital."""
        ledger, fees = self.ledger, self.parameters.fees
        taker = np.where(rows >= ledger.house, np.minimum(fees.taker * (price @ ordered), np.maximum(self.means(ledger, rows), 0.0)), 0.0)
        maker = np.minimum(fees.maker * (price @ made), np.maximum(ledger.equity(self.makers), 0.0))
        for who, fee, traded in ((rows, taker, ordered), (self.makers, np.maximum(maker, 0.0), made)):
            for usd in self.accrue(ledger, Flow.TRADING_FEE, "trading_fees", who, fee, self.pools.parts(traded, price)):
                self.tally.fees += usd
        self._levy_volume(rows, ordered, price)
        rebate = np.maximum(-maker, 0.0)
        owed = float(rebate.sum())
        if owed > 0.0:
            able = min(1.0, max(ledger.treasury, 0.0) / owed)
            self.tally.fees -= ledger.transfer(Flow.TRADING_FEE, TREASURY, self.makers, rebate * able)

    def charge_delivery(self, rows: Rows, delivered: Floats, price: Floats) -> None:
        """The delivery fee of accounts, (n,), on contracts that have expired, (M, R), at `price`, (M,); at most what an account has."""
        ledger, rate = self.ledger, self.parameters.fees.delivery
        rows = rows[rows >= ledger.house]
        if rate <= 0.0 or not rows.size:
            return
        fee = np.minimum(rate * (price @ delivered[:, rows]), np.maximum(self.means(ledger, rows), 0.0))
        for usd in self.accrue(ledger, Flow.TRADING_FEE, "trading_fees", rows, fee, self.pools.parts(delivered[:, rows], price)):
            self.tally.fees += usd

    def _levy_volume(self, rows: Rows, ordered: Floats, price: Floats) -> None:
        """The volume levy on contracts ordered, (M, n) at `price`, (M,), to their markets' pools; at most what an account has."""
        ledger, pools = self.ledger, self.pools
        rate = np.array([levies.volume for levies in self.levied])[pools.market]
        if not rate.any():
            return
        due = np.where(rows >= ledger.house, np.minimum((rate * price) @ ordered, np.maximum(self.means(ledger, rows), 0.0)), 0.0)
        for pool, part in enumerate(pools.parts(ordered, rate * price)):
            self._to_pool(ledger, Flow.VOLUME_LEVY, rows, pool, part * due)

    def exchange_funding(self, hours: float) -> None:
        """Funding between longs and shorts; a share of what receivers get may go to the fund, to the pools of the legs that receive."""
        ledger = self.ledger
        self.funding = self.market.funding_rate(hours)
        due = (self.funding * ledger.units) @ ledger.position
        due = self.collect(Flow.FUNDING, due)
        if any(levies.funding for levies in self.levied):
            received = np.maximum(-due, 0.0)
            received[ledger.funds] = 0.0
            parts = self.pools.parts(np.maximum(-self.funding[:, None] * ledger.position, 0.0), ledger.units)
            for pool, part in enumerate(parts):
                share = np.minimum(self.levied[pool].funding * part * received, np.maximum(self.means(ledger), 0.0))
                self._to_pool(ledger, Flow.FUNDING_SHARE, slice(None), pool, share)

    def open_interest_levies(self) -> Floats:
        """Shape (M,): charge on each market's open positions, share of notional per hour, by its pool."""
        return np.array([levies.open_interest for levies in self.levied])[self.pools.market]

    def levy_open_interest(self, hours: float) -> None:
        """The open-interest levy, from every open position to its market's pool."""
        ledger, pools = self.ledger, self.pools
        rate = self.open_interest_levies() * hours
        if not rate.any():
            return
        charge = rate * ledger.units
        due = charge @ ledger.exposure
        due[ledger.funds] = 0.0
        owed = [float(due.sum())]
        if pools.own > 1:
            by_market = charge * (ledger.exposure[:, ledger.house :].sum(axis=1) + ledger.exposure[:, OUTSIDE])
            owed = [float(by_market[pools.market == pool].sum()) for pool in range(pools.own)]
        for pool, usd in enumerate(owed):
            due[ledger.funds[pool]] = -(1.0 - pools.shared) * usd
            due[ledger.funds[-1]] -= pools.shared * usd
        self.collect(Flow.OPEN_INTEREST_LEVY, due)

    def accrue(self, ledger: Ledger, kind: Flow, levy: str, rows: Rows, usd: Floats, parts: list[Floats]) -> list[float]:
        """What the exchange takes from accounts, (n,), goes to the pools and to its own capital, as the levies say.

        Args:
            ledger: whose accounts they are.
            kind: of flow.
            levy: the share in `Levies` that is the fund's.
            rows, usd: whose, and how much; parts: (n,) by pool, what part of it comes from the pool's markets.

        Returns:
            What was moved, USD.
        """
        moved: list[float] = []
        if usd.any():
            for pool, part in enumerate(parts):
                share = getattr(self.levied[pool], levy)
                moved += self._to_pool(ledger, kind, rows, pool, share * (part * usd))
                moved.append(ledger.transfer(kind, rows, TREASURY, (1.0 - share) * (part * usd)))
        return moved

    def _to_pool(self, ledger: Ledger, kind: Flow, rows: RowsLike, pool: int, usd: Floats) -> list[float]:
        """An inflow, (n,) USD from `rows`, to a pool; the shared pool has its part of it. Returns what was moved."""
        shared = self.pools.shared
        moved = [ledger.transfer(kind, rows, int(ledger.funds[-1]), shared * usd)] if shared else []
        return [*moved, ledger.transfer(kind, rows, int(ledger.funds[pool]), (1.0 - shared) * usd)]

    def contribute(self, kind: Flow, row: int, usd: float, contracts: Floats) -> None:
        """USD from an account to the pools of the markets in which it holds or held `contracts`, (M,), in proportion to notional."""
        for pool, part in enumerate(self.pools.parts(np.abs(contracts)[:, None], self.ledger.units)):
            self._to_pool(self.ledger, kind, np.array([row]), pool, part * usd)

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

    def withdrawal_factor(self) -> float:
        """Part of withdrawals that is kept now, while losses are outstanding under that rule."""
        if self.outstanding <= DUST or not isinstance(self.deferral, WithdrawalFactor):
            return 0.0
        return withdrawal_factor(self.outstanding, self.ledger.fund, float(self.ledger.claims().sum()))

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

    def settle(self, layer: str, usd: float) -> None:
        """Notes that a layer has borne USD of outstanding losses."""
        self.outstanding -= usd
        self.tally.absorb(layer, usd)
        self.tally.settled += usd if layer != "fund" else 0.0

    def pay_out(self, kind: Flow, rows: Rows, wanted: Floats) -> Floats:
        """Pays account holders (n,) what they want to take out, USD, less the withdrawal factor, as far as custody goes; what they get."""
        factor = self.withdrawal_factor()
        if factor > 0.0:
            kept = wanted * min(factor, self.outstanding / max(float(wanted.sum()), DUST))
            self.settle("withdrawal_factor", self.ledger.transfer(Flow.SOCIALISED_LOSS, rows, SETTLEMENT, kept))
            wanted = wanted - kept
            # It was kept in dollars: who has none pays for them in coin, before taking the rest of it out.
            self.settle_currencies(self.ledger, rows[self.ledger.currency[rows] > 0])
        paid = wanted * self.within_custody(float(wanted.sum()))
        self.ledger.take_out(kind, rows, paid)
        return paid

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

    def open_interest(self) -> Floats:
        """Shape (M,), USD, one side."""
        half: Floats = 0.5 * self.ledger.units * self.ledger.exposure.sum(axis=1)
        return half

    def books(self, pool: int) -> Books:
        """What the exchange knows of its accounts when it sizes a pool."""
        ledger, market = self.ledger, self.market
        rows = np.arange(ledger.house, ledger.rows)
        rows = rows[ledger.exposure[:, rows].any(axis=0)]
        position, exposure, marks = ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks
        margin = self.requirement(position, exposure, marks)
        return Books(
            position,
            ledger.equity(rows),
            margin.by_market.sum(axis=0),
            margin.initial,
            self.pools.parts(exposure, ledger.units)[pool],
            rows < self.institutions,
            ledger.units,
            market.depth.mean(axis=0),
            self._stressed(marks),
            self._onto(),
        )

    def _stressed(self, marks: Floats) -> Callable[[Floats], Floats]:
        """USD change of one contract, (S, M), when underlyings return (S, A); implied volatilities answer as their surface says."""
        market, fixing = self.market, self.fixing
        if fixing is not None:
            return fixing.stressed
        if market.inverse is not None:
            return lambda returns: self._coin_gains(marks, returns, returns)
        return (lambda returns: returns * marks) if market.listed is None else (lambda returns: returns[:, market.asset] * marks)

    def _onto(self) -> Floats | None:
        """Shape (M, A): USD of each underlying that one contract sold puts on sale; None for perpetuals alone."""
        market = self.market
        if market.listed is None:
            return None
        delta = self.ledger.units * (self.fixing.deltas if self.fixing is not None else 1.0)
        onto: Floats = delta[:, None] * (market.asset[:, None] == np.arange(market.assets))
        return onto

    def divide_fund(self) -> None:
        """The opening balance, held by the first pool so far, is divided: by given shares, or by open interest."""
        pools, ledger = self.pools, self.ledger
        if len(pools.names) == 1:
            return
        shares = pools.shares
        if shares is None:
            own = np.array([float(part[0]) for part in pools.parts(self.open_interest()[:, None])])
            shares = np.append((1.0 - pools.shared) * own, pools.shared) if pools.shared else own
        for row, usd in zip(ledger.funds[1:].tolist(), (shares[1:] * ledger.fund).tolist(), strict=True):
            ledger.transfer(Flow.DEPOSIT, int(ledger.funds[0]), row, usd)

    def trade_coins(self, ledger: Ledger, rows: Rows, units: Floats, *, moves: bool = True) -> None:
        """Coins, (A, n) units, change hands with the outside at the index, which then moves, unless the outside keeps it up."""
        index = self.market.underlying
        for asset in np.flatnonzero(units.any(axis=1)).tolist():
            ledger.trade_spot(asset, rows, units[asset], float(index[asset]))
            if moves:
                self.market.trade_spot(asset, float(units[asset].sum()) * float(index[asset]))

    def change_coins(self, ledger: Ledger, rows: Rows, units: Floats) -> None:
        """Settlement coins, (A, n), change hands with the outside at the exchange's index, which then moves as far as impact goes."""
        if not units.any():
            return
        for asset, usd in enumerate(ledger.change(rows, units).tolist()):
            if usd and self.channels.price_impact:
                self.market.trade_spot(asset, usd)

    def settle_currencies(self, ledger: Ledger, rows: Rows) -> None:
        """Accounts, (n,), come to hold the money that their margin is in: at the close of a step, and once they have no contracts left.

        Whose margin is in coin has been charged and paid in dollars, and changes them into coin; others, who have no contracts left that
        are settled in a coin, change what has become of them into dollars.
        """
        rows = rows[rows != OUTSIDE]
        if not ledger.currencies or not rows.size:
            return
        currency, coins = ledger.currency[rows], ledger.coins[:, rows]
        dollars = ledger.cash[rows] + np.where(ledger.settled < 0, ledger.marks, 0.0) @ ledger.position[:, rows]
        units = np.zeros_like(coins)
        for asset, rate in enumerate(ledger.rates.tolist()):
            open_still = ledger.exposure[np.ix_(ledger.settled == asset, rows)].any(axis=0)
            units[asset] = np.where(currency == asset + 1, dollars / max(rate, 1e-300), np.where(open_still, 0.0, -coins[asset]))
        self.change_coins(ledger, rows, units)

    def settle_flat(self, ledger: Ledger, rows: Rows) -> None:
        """Those among accounts, (n,), who have no contracts left hold the money that their margin is in, before its rate moves on."""
        if ledger.currencies:
            self.settle_currencies(ledger, rows[~ledger.exposure[:, rows].any(axis=0)])

    def margin_of(self, ledger: Ledger, rows: RowsLike) -> Margin:
        """Margin of accounts, (n,), as they stand."""
        return self.requirement(ledger.position[:, rows], ledger.exposure[:, rows], ledger.marks)

    def balance_coins(self) -> None:
        """A fund that is held in coins buys them with its dollars, and sells what its debts in dollars need; both move the index."""
        if self.parameters.pools.currency == "usd":
            return
        ledger, market = self.ledger, self.market
        for pool, row in enumerate(ledger.funds.tolist()):
            asset = int(market.asset[np.argmax(self.pools.market == pool)])  # the shared pool has no market: it holds the first of all
            index = market.underlying
            ledger.revalue(index)
            money, price = float(ledger.equity(row)), float(index[asset])
            if price <= 0.0:
                continue
            money = money * self.within_custody(money) if money > 0.0 else max(money, -price * float(ledger.spot[asset, row]))
            if money:
                ledger.trade_spot(asset, np.array([row]), np.array([money / price]), price)
                market.trade_spot(asset, money)
        self.revalue(ledger)

    def size_and_levy(self, hours: float) -> None:
        """Close of a step: each pool's target, and what accrues to it in the next step; an injection moves at once."""
        market, tally, ledger, pools = self.market, self.tally, self.ledger, self.pools
        interest, traded = self.open_interest(), pools.parts(tally.volume[:, None])
        returns = np.expm1(market.log_index - self._closed)[: market.assets]
        self._closed = market.log_index.copy()
        targets = np.zeros(len(pools.names))
        levied = []
        for pool in range(pools.own):
            mine = pools.market == pool
            seen = SizingView(interest[mine], hours, returns, market.volatility[: market.assets], partial(self.books, pool))
            target, self.states["sizing"][pool] = self.sizing.rule(seen, self.states["sizing"][pool], self.rng)
            target = checked_target(target)
            targets[pool] = (1.0 - pools.shared) * target
            targets[-1] += pools.shared * target
            view = AccrualView(
                hours,
                ledger.pools[pool],
                float(targets[pool]),
                interest[mine],
                market.volatility[mine],
                tally.volume[mine],
                tally.fees * float(traded[pool][0]),
                float(tally.liquidated[mine].sum()),
            )
            levies = self.accrual[pool].levies(view, self.rng)
            levied.append(levies)
            if levies.injection > 0.0:
                ledger.transfer(Flow.INJECTION, TREASURY, int(ledger.funds[pool]), min(levies.injection, max(ledger.treasury, 0.0)))
        self.targets, self.levied = targets, levied
        self._act()

    def _act(self) -> None:
        """What the exchange does if the fund is short of its target; its owners fill the pools up in proportion to what they lack."""
        ledger, action = self.ledger, Action()
        self.recapitalised = np.zeros_like(self.targets)
        for at, rule in enumerate(self.adequacy):
            more, self.states["adequacy"][at] = rule.rule(AdequacyView(ledger.fund, self.target), self.states["adequacy"][at], self.rng)
            action = action + more
        if action.levies != 1.0:
            self.levied = [replace(levies.times(action.levies), injection=levies.injection) for levies in self.levied]
        lacks = np.maximum(self.targets - np.array(ledger.pools), 0.0)
        if action.recapitalisation > 0.0:
            weights = lacks if lacks.any() else self.targets
            self.recapitalised = action.recapitalisation * weights / weights.sum()
            for row, usd in zip(ledger.funds.tolist(), self.recapitalised.tolist(), strict=True):
                ledger.transfer(Flow.RECAPITALISATION, OUTSIDE, row, usd)
        self.action = action if self.channels.margin_spiral else replace(action, initial=1.0, maintenance=1.0)

    def permitted(self, rows: Rows, contracts: Floats) -> Floats:
        """Orders, (M, n) of distinct rows (n,), as far as the exchange takes them: all, those that reduce positions, or none."""
        if self.action.suspended:
            return np.zeros_like(contracts)
        if not self.action.capped:
            return contracts
        closing = -self.ledger.position[:, rows]
        return np.clip(contracts, np.minimum(closing, 0.0), np.maximum(closing, 0.0))

    def announce_levies(self, hours: float) -> None:
        """Before anything is open, the levies that the accrual rules ask of an empty market; nothing moves, no rule remembers it."""
        nothing = np.zeros(self.ledger.markets)
        view = AccrualView(hours, self.ledger.fund, 0.0, nothing, self.market.volatility, nothing, 0.0, 0.0)
        self.levied = [accrual.levies(view, self.rng) for accrual in copy.deepcopy(self.accrual)]

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


def _cut(side: Floats, most: Floats) -> Floats:
    """Orders of one side, (M, n), cut in proportion to at most `most`, (M,), contracts."""
    total = side.sum(axis=1)
    kept: Floats = side * np.where(total > most, most / np.where(total > 0.0, total, 1.0), 1.0)[:, None]
    return kept
