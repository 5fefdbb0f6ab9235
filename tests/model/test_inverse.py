"""Inverse perpetuals: one dollar a contract, settled in coin. Known answers in coin, by hand."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from agents.clearinghouse.accrual import Levies
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.liquidator import LiquidatorParameters
from agents.market_maker import MarketMakerParameters
from experiments import shipped
from model import quoting, trading
from model.clearing import Walk, terminate, walk
from model.currencies import balance_coins, settle_currencies
from model.deferred import pay_out, withheld
from model.ecosystem import Ecosystem
from model.events import Events
from model.instruments import InstrumentParameters, Instruments
from model.ledger import FUND, OUTSIDE, SETTLEMENT, TREASURY, Flow, Ledger, Role
from model.levies import exchange_funding
from model.losses import Losses
from model.market import Market, MarketParameters
from model.path import Path
from model.scenario import Scenario
from model.surface import SurfaceParameters
from model.venue import Venue
from model.walked import Walked

type Floats = NDArray[np.float64]

DEEP = 1e15
"""Depth at which an order moves nothing."""
MAKER, LONG, SHORT = 4, 6, 7
"""Rows: the market maker, and the first two traders; row 5 is the liquidator's."""
PERPETUAL, INVERSE = 0, 1
FULL = {"type": "full", "keeps": 0.0}
FIXED = {"type": "fixed_leverage", "initial": 0.1, "maintenance": 0.05}
FUND_FIRST = [{"type": "fund"}, {"type": "write_down"}]
DELEVERAGE = [{"type": "fund"}, {"type": "deleveraging", "rule": {"type": "queue"}}, {"type": "write_down"}]


def of(*given: float) -> Floats:
    return np.array(given, dtype=float)


def rows(*given: int) -> NDArray[np.intp]:
    return np.array(given, dtype=np.intp)


class Exchange:
    """A perpetual and an inverse perpetual on BTC, a maker and a liquidator with dollars, and traders with `coins` BTC each from row 6."""

    def __init__(self, index: float, coins: tuple[float, ...], fund: float = 0.0, pass_through: float = 0.0, **house: Any) -> None:
        terms = (InstrumentParameters(asset="BTC"), InstrumentParameters(type="inverse", asset="BTC"))
        listed = Instruments(terms, ("BTC",), SurfaceParameters())
        market = Market(MarketParameters(pass_through=pass_through), of(index, index), of(DEEP, DEEP), of(0.5, 0.5), listed)
        block = {"margin": FIXED, "liquidation": FULL, "waterfall": FUND_FIRST, "fees": {"liquidation": 0.0}, **house}
        self.venue = Venue(
            "test",
            ClearinghouseParameters.model_validate(block),
            MarketMakerParameters(count=1, risk_aversion=0.0, inventory_limit=1e9, stress_floor=1.0),
            LiquidatorParameters(count=1),
            market,
            Events(True, ("BTC", "BTC_inverse")),
            ("BTC", "BTC_inverse"),
        )
        self.ledger: Ledger = self.venue.ledger
        for row, amount in ((FUND, fund), (TREASURY, 0.0), (MAKER, 1e9), (5, 1e6)):
            self.ledger.transfer(Flow.DEPOSIT, OUTSIDE, row, amount)
        self.venue.maker_capital = self.ledger.equity(self.venue.makers)
        traders = self.ledger.open(len(coins), Role.TRADER)
        self.ledger.currency[traders] = 1
        self.ledger.pay_in(Flow.DEPOSIT, traders, of(*coins) * index)
        self.venue.begin_step(np.random.default_rng(1))
        self.venue.levies = Levies(surplus=1.0, liquidation_fees=1.0)
        quoting.requote(self.venue, self.ledger)

    def buy(self, buyer: int, seller: int, contracts: float, price: float | None = None) -> None:
        """At a price in USD a coin; at the mark if none is given."""
        worth = float(self.ledger.marks[INVERSE]) if price is None else -float(self.ledger.rates[0]) / price
        self.ledger.trade(INVERSE, rows(buyer), of(contracts), worth, rows(seller), of(-contracts), worth)

    def move(self, *prices: float) -> None:
        """Walks the index through these prices, each a jump."""
        steps = np.diff(np.log(of(float(self.venue.market.index[0]), *prices)))
        walk([Walk(self.venue, Path(np.vstack((steps, steps)), np.zeros(steps.size)))])
        self.ledger.check(1, outstanding=self.venue.outstanding)

    def close(self) -> None:
        """The close of a step, as far as money is concerned."""
        settle_currencies(self.venue, self.ledger, np.arange(self.ledger.rows))

    def coins(self, row: int) -> float:
        """What an account is worth, in coin."""
        return float(self.ledger.equity(row)) / float(self.ledger.rates[0])

    def events(self, kind: str) -> dict[str, NDArray[Any]]:
        columns = self.venue.events.columns()
        return {name: column[columns["kind"] == kind] for name, column in columns.items()}


def test_a_position_gains_its_dollars_over_entry_less_its_dollars_over_mark() -> None:
    # 5,000 USD from 50,000 to 40,000: 5,000 (1 / 50,000 - 1 / 40,000) = -0.025 BTC; to 62,500: +0.02 BTC.
    one = Exchange(50_000.0, (1.0, 1.0))
    one.buy(LONG, SHORT, 5_000.0)
    one.move(40_000.0)
    assert one.coins(LONG) == pytest.approx(1.0 - 0.025, rel=1e-12)
    assert one.coins(SHORT) == pytest.approx(1.0 + 0.025, rel=1e-12)
    one.move(62_500.0)
    assert one.coins(LONG) == pytest.approx(1.0 + 0.02, rel=1e-12)
    assert one.coins(SHORT) == pytest.approx(1.0 - 0.02, rel=1e-12)


def test_the_average_entry_price_is_harmonic_and_what_is_closed_is_realised_in_coin() -> None:
    # 1,000 at 10,000 and 1,000 at 8,000: 0.1 + 0.125 BTC, 8,888.89 on average. 500 sold at 12,500: 500 / 8,888.89 - 500 / 12,500.
    one = Exchange(10_000.0, (1.0, 1.0))
    one.buy(LONG, SHORT, 1_000.0)
    one.move(8_000.0)
    one.buy(LONG, SHORT, 1_000.0)
    assert 1.0 / one.ledger.entry[INVERSE, LONG] == pytest.approx(2_000.0 / 0.225)
    one.move(12_500.0)
    one.buy(SHORT, LONG, 500.0)
    assert 1.0 / one.ledger.entry[INVERSE, LONG] == pytest.approx(2_000.0 / 0.225)
    one.buy(SHORT, LONG, 1_500.0)
    assert one.ledger.coins[0, LONG] == pytest.approx(1.0 + 0.225 - 2_000.0 / 12_500.0)
    assert one.ledger.cash[LONG] == 0.0
    assert one.ledger.entry[INVERSE, LONG] == 0.0


@pytest.mark.parametrize(
    ("contracts", "entry", "margin", "bankruptcy"),
    [
        (5_000.0, 7_890.08, 5_000.0 / 7_890.08 / 50.0, 7_735.37),  # Bybit, inverse contracts, isolated margin: entry x L / (L + 1)
        (1_000.0, 8_000.0, 0.01, 7_407.4),  # Kraken, inverse contracts: a position of 0.125 BTC on 0.01 BTC of margin
    ],
)
def test_winners_are_deleveraged_at_the_published_bankruptcy_price(
    contracts: float, entry: float, margin: float, bankruptcy: float
) -> None:
    one = Exchange(entry, (margin, 10.0), waterfall=DELEVERAGE, margin={"type": "fixed_leverage", "initial": 0.01, "maintenance": 0.005})
    one.buy(LONG, SHORT, contracts)
    one.move(0.9 * entry)
    told = one.events("deleveraging")
    assert told["price"] == pytest.approx(bankruptcy, abs=0.05)
    assert told["quantity"].tolist() == [contracts]
    assert one.coins(LONG) == pytest.approx(0.0, abs=1e-12)
    assert one.coins(SHORT) == pytest.approx(10.0 + margin, rel=1e-12)
    assert one.venue.tally.absorbed["deleveraging"] == pytest.approx(0.9 * entry * (contracts / (0.9 * entry) - contracts / entry - margin))


def test_a_long_in_coin_is_liquidated_sooner_than_one_in_dollars() -> None:
    # In coin: 0.1 + 1 - 10,000 / p = 5 % x 10,000 / p at p = 10,500 / 1.1 = 9,545.45; in dollars 1,000 + p - 10,000 = 5 % p at 9,473.68.
    one = Exchange(10_000.0, (0.1,))
    one.buy(LONG, MAKER, 10_000.0)
    one.move(9_545.5)
    assert one.ledger.position[INVERSE, LONG] == 10_000.0
    one.move(9_545.4)
    assert one.ledger.position[INVERSE, LONG] == 0.0


def test_the_deficit_in_coin_grows_as_the_price_falls() -> None:
    # Ten times long on 0.1 BTC from 10,000: at 8,000, 0.1 + 1 - 1.25 = -0.15 BTC, 1,200 USD; at 5,000, 0.1 + 1 - 2 = -0.9 BTC, 4,500 USD.
    # In dollars it would be 1,000 - 2,000 = -1,000 and 1,000 - 5,000 = -4,000.
    for price, coins in ((8_000.0, 0.15), (5_000.0, 0.9)):
        one = Exchange(10_000.0, (0.1,), fund=10_000.0)
        one.buy(LONG, MAKER, 10_000.0)
        one.move(price)
        assert one.venue.tally.deficits == pytest.approx(coins * price, rel=1e-9)
        assert one.ledger.fund == pytest.approx(10_000.0 - coins * price)
        assert one.ledger.equity(LONG) == pytest.approx(0.0, abs=1e-9)
        assert one.ledger.coins[0, LONG] == pytest.approx(0.0, abs=1e-15)
        assert one.coins(MAKER) - 1e9 / price == pytest.approx(coins + 0.1)


def test_a_fund_in_coin_pays_in_coin_and_loses_more_of_its_dollars() -> None:
    # 1 BTC in the fund; the deficit of 0.15 BTC leaves 0.85: 15 % of its coins, 32 % of its dollars.
    one = Exchange(10_000.0, (0.1,), fund=10_000.0, pools={"currency": "underlying"})
    balance_coins(one.venue)
    assert one.ledger.spot[0, FUND] == pytest.approx(1.0)
    one.buy(LONG, MAKER, 10_000.0)
    one.move(8_000.0)
    assert one.ledger.spot[0, FUND] == pytest.approx(0.85)
    assert one.ledger.fund == pytest.approx(6_800.0)


@pytest.mark.parametrize("seed", range(4))
def test_who_holds_coins_and_is_short_of_as_many_dollars_has_synthetic_dollars(seed: int) -> None:
    one = Exchange(10_000.0, (3.0,))
    one.buy(MAKER, LONG, 30_000.0)
    for price in 10_000.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.5, 40))):
        one.move(float(price))
        assert one.ledger.equity(LONG) == pytest.approx(30_000.0, rel=1e-9)
    assert one.ledger.position[INVERSE, LONG] == -30_000.0


def test_an_index_that_is_wrong_values_coins_and_contracts_alike() -> None:
    # Fully hedged, an error of the index changes nothing; what is traded meanwhile is settled at the price of the book.
    one = Exchange(10_000.0, (3.0, 1.0))
    one.buy(MAKER, LONG, 30_000.0)
    one.venue.market.mispricing = of(-0.1, -0.1)
    one.move(10_000.0)
    assert one.ledger.rates[0] == pytest.approx(10_000.0 * np.exp(-0.1))
    assert one.ledger.equity(LONG) == pytest.approx(30_000.0, rel=1e-9)
    assert one.ledger.equity(SHORT) == pytest.approx(10_000.0 * np.exp(-0.1))
    trading.trade(one.venue, rows(SHORT), np.array([[0.0], [1_000.0]]), 1.0)
    assert one.ledger.coins[0, SHORT] == pytest.approx(1.0 + 1_000.0 / 10_000.0, rel=1e-6)


def test_an_order_takes_as_much_of_the_book_as_its_dollars() -> None:
    one = Exchange(10_000.0, (100.0,))
    one.venue.market.depth[:] = one.venue.market.reference_depth[:] = 1e6
    one.venue.quotes.depth[:] = 1e6
    contracts = 500_000.0
    filled, price = one.venue.market.execute(INVERSE, contracts, 0.02)
    dollars, same = one.venue.market.execute(PERPETUAL, contracts / 10_000.0, 0.02)
    assert filled == contracts
    assert dollars * 10_000.0 == pytest.approx(contracts)
    assert price == pytest.approx(same)
    assert price > 10_000.0


def test_fees_are_on_the_dollars_traded_and_leave_as_coin_at_the_close() -> None:
    one = Exchange(10_000.0, (1.0,), fees={"taker": 5e-4, "maker": 0.0, "liquidation": 0.0})
    trading.trade(one.venue, rows(LONG), np.array([[0.0], [20_000.0]]), 1.0)
    assert one.venue.tally.fees == pytest.approx(10.0)
    assert one.venue.tally.volume.tolist() == pytest.approx([0.0, 20_000.0])
    assert one.ledger.cash[LONG] == pytest.approx(-10.0)
    before = one.ledger.equity(LONG)
    one.close()
    assert one.ledger.cash[LONG] == 0.0
    assert one.ledger.equity(LONG) == pytest.approx(before)
    assert one.ledger.coins[0, LONG] == pytest.approx(1.0 + 2.0 - 0.001, rel=1e-6)
    one.ledger.check(1)


def test_what_is_kept_of_a_withdrawal_in_coin_is_kept_in_coin() -> None:
    # Ten coins are 1,000 USD, claims are 1,001,001,000, and a tenth of that is outstanding: a tenth of what is taken out is kept, one coin.
    one = Exchange(100.0, (10.0,), waterfall=[{"type": "withdrawal_factor"}, {"type": "write_down"}])
    venue, ledger = one.venue, one.ledger
    owed = 0.1 * float(ledger.claims().sum())
    ledger.transfer(Flow.DEFICIT, SETTLEMENT, MAKER, owed)
    ledger.transfer(Flow.WITHDRAWAL, MAKER, OUTSIDE, owed)
    venue.outstanding = owed
    assert withheld(venue) == pytest.approx(0.1)
    pay_out(venue, Flow.WITHDRAWAL, rows(LONG), of(1_000.0))
    assert venue.tally.absorbed["withdrawal_factor"] == pytest.approx(100.0)
    assert ledger.flows[Flow.WITHDRAWAL] == pytest.approx(owed + 900.0)
    # Who has taken out all that it had has nothing left, neither coins nor debts in dollars against them, which part as the price moves.
    assert ledger.coins[0, LONG] == pytest.approx(0.0, abs=1e-12)
    assert ledger.cash[LONG] == pytest.approx(0.0, abs=1e-9)


def test_funding_is_paid_by_longs_to_shorts_and_moves_no_coin_between_them_and_the_market() -> None:
    one = Exchange(10_000.0, (1.0, 1.0), pass_through=0.5)
    one.buy(LONG, SHORT, 5_000.0)
    one.venue.market.average_premium[:] = 0.01
    one.move(10_000.0)
    before = float(one.venue.market.index[0])
    exchange_funding(one.venue, 8.0)
    rate = float(one.venue.funding[INVERSE])
    assert rate > 0.0
    one.close()
    assert one.coins(LONG) == pytest.approx(1.0 - rate * 5_000.0 / before)
    assert one.coins(SHORT) == pytest.approx(1.0 + rate * 5_000.0 / before)
    assert float(one.venue.market.index[0]) == pytest.approx(before, rel=1e-12)
    assert one.ledger.coins[0, OUTSIDE] == pytest.approx(-2.0)


def test_what_a_maker_has_gained_in_coin_is_dollars_once_it_holds_nothing_that_is_settled_in_it() -> None:
    one = Exchange(10_000.0, (1.0,))
    one.buy(LONG, MAKER, 5_000.0)
    one.move(8_000.0)
    one.close()
    assert one.ledger.coins[0, MAKER] == pytest.approx(-0.5)
    one.buy(MAKER, LONG, 5_000.0)
    one.close()
    assert one.ledger.coins[0, MAKER] == 0.0
    assert one.ledger.cash[MAKER] == pytest.approx(1e9 + 0.125 * 8_000.0)


def test_a_makers_inventory_is_the_coins_that_it_has_or_owes() -> None:
    one = Exchange(10_000.0, (1.0,))
    one.buy(LONG, MAKER, 5_000.0)
    ledger = one.ledger
    assert quoting.inventory(one.venue, ledger.position[:, 4:5], ledger, slice(4, 5))[:, 0].tolist() == pytest.approx([-5_000.0, -5_000.0])
    one.move(8_000.0)  # -0.5 BTC now count for 4,000 USD; the inverse book still sees its 5,000 contracts
    assert quoting.inventory(one.venue, ledger.position[:, 4:5], ledger, slice(4, 5))[:, 0].tolist() == pytest.approx([-4_000.0, -5_000.0])


@pytest.mark.parametrize("rule", ["fixed_leverage", "portfolio_scenarios"])
def test_margin_is_asked_for_on_dollars_whatever_the_price(rule: str) -> None:
    terms = {"type": rule, "initial": 0.1, "maintenance": 0.05} if rule == "fixed_leverage" else {"type": rule, "provision": 0.0}
    one = Exchange(10_000.0, (1.0, 1.0), margin=terms)
    one.buy(LONG, SHORT, 1_000.0)
    at_first = one.venue.margin_of(one.ledger, rows(LONG, SHORT)).initial
    one.move(9_900.0)
    assert one.venue.margin_of(one.ledger, rows(LONG, SHORT)).initial == pytest.approx(at_first, rel=1e-9)
    if rule == "fixed_leverage":
        assert at_first == pytest.approx([100.0, 100.0])
    else:
        # Paradex's table for BTC, +-14 % and weighted tails, in coin: a long loses 0.14 / 0.86 of its dollars, at -66 % with weight 0.1061
        # 0.66 / 0.34; at -33 % with weight 0.2121 0.33 / 0.67. A short loses less: 0.14 / 1.14.
        assert at_first[0] == pytest.approx(1_000.0 * max(0.14 / 0.86, 0.1061 * 0.66 / 0.34, 0.2121 * 0.33 / 0.67))
        assert at_first[1] == pytest.approx(1_000.0 * max(0.14 / 1.14, 0.14 * 0.5 / 1.5))


def test_the_screen_lets_nobody_through_who_could_breach() -> None:
    one = Exchange(10_000.0, tuple(0.02 + 0.02 * k for k in range(20)))
    for k in range(20):
        one.buy(LONG + k, MAKER, 1_000.0 if k % 2 else -1_000.0)
    for low, high in ((0.9, 1.0), (0.7, 1.05), (1.0, 1.4)):
        marks = one.ledger.marks
        box = (of(marks[0] * low, -1.001, 10_000.0 * low), of(marks[0] * high, -0.999, 10_000.0 * high))
        flagged = set(one.venue.at_risk(*box).tolist())
        assert len(flagged) < 20
        for price in np.linspace(10_000.0 * low, 10_000.0 * high, 7):
            held = one.ledger.coins[0] * price - one.ledger.position[INVERSE]
            required = 0.05 * np.abs(one.ledger.position[INVERSE])
            assert set((np.flatnonzero(held[LONG:] < required[LONG:]) + LONG).tolist()) <= flagged


def test_when_the_exchange_fails_coins_are_dollars_at_the_days_rate() -> None:
    one = Exchange(10_000.0, (0.1, 5.0))
    one.buy(LONG, MAKER, 10_000.0)
    one.move(8_000.0)
    assert one.venue.insolvent
    assert not one.ledger.coins.any()
    lost = one.venue.write_down
    assert lost == pytest.approx(1_200.0)
    assert one.ledger.equity(SHORT) == pytest.approx(40_000.0 * (1.0 - lost / (40_000.0 + 1e9 + 1e6 + 2_000.0)), rel=1e-9)


# -- in the world -----------------------------------------------------------------------------------------------------------------------

HOLDERS: dict[str, Any] = {"name": "holders", "count": 60, "equity": 60e6, "margin": "coin", "activity": 0.2}
SYNTHETIC: dict[str, Any] = {
    "name": "synthetic",
    "count": 5,
    "equity": 20e6,
    "margin": "coin",
    "leverage": 1.0,
    "leverage_spread": 0.0,
    "activity": 1.0,
    "strategies": [{"type": "hedger", "hurdle": -0.05}],
}


def world(**more: Any) -> Scenario:
    base: dict[str, Any] = {
        "schema": 1,
        "assets": [
            {"name": "BTC", "price": 8_000.0, "volatility": 0.7},
            {"name": "ETH", "price": 200.0, "volatility": 0.9},
        ],
        "venues": [{"instruments": [{"type": "inverse", "asset": "BTC", "depth": 1.0}]}],
        "traders": {"groups": [{"name": "retail", "count": 60, "equity": 30e6, "activity": 0.2}, HOLDERS, SYNTHETIC]},
    }
    return Scenario.model_validate({**base, **more})


def lived(steps: int, **more: Any) -> Ecosystem:
    eco = Ecosystem(world(**more), rng=3, check_laws=True)
    for _ in range(steps):
        eco.step()
    return eco


def test_holders_of_coin_trade_what_is_settled_in_it_and_others_what_is_settled_in_dollars() -> None:
    eco = lived(8, shocks=[{"type": "price_move", "at": 4, "size": [-0.2]}])
    ledger = eco.venue.ledger
    in_coin = ledger.currency > 0
    assert ledger.position[2, in_coin].any()
    assert not ledger.position[:2, in_coin].any()
    assert not ledger.position[2, (ledger.role == Role.TRADER) & ~in_coin].any()
    assert ledger.cash[in_coin] == pytest.approx(0.0, abs=1e-6)
    assert (ledger.currency[in_coin] == 1).all()
    assert not ledger.coins[1].any()
    assert ledger.coins.sum(axis=1) == pytest.approx(0.0, abs=1e-6)


def test_the_synthetic_dollar_keeps_its_dollars_through_a_crash() -> None:
    crash = [{"type": "price_move", "at": 30, "size": [-0.3]}]
    eco = lived(30, shocks=crash)
    group = eco.population.groups[2]
    before, held = eco.venue.ledger.equity(group.rows), eco.venue.ledger.position[2, group.rows].copy()
    assert (held < 0.0).all()
    eco.step()
    fell = eco.venue.ledger.rates[0] / 8_000.0
    assert fell < 0.8
    unhedged = 1.0 + held / before  # the part of the deposit that is in coin and not sold short
    assert eco.venue.ledger.equity(group.rows) == pytest.approx(before * (1.0 - 0.3 * unhedged), rel=0.05)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"traders": {"groups": [{"name": "retail"}]}}, "nobody has the coin for, expected a group of traders with `margin: coin`"),
        ({"venues": [{}]}, "margin in coin where nothing is settled in it, expected an `inverse` instrument at `exchange`"),
        ({"venues": [{"instruments": [{"type": "inverse", "asset": "BTC", "days": 7}]}]}, "expected none, for it never expires"),
        (
            {"traders": {"groups": [{**HOLDERS, "strategies": [{"type": "call_buyer"}]}]}},
            "found `call_buyer` with margin in coin, expected a strategy that trades no options",
        ),
        (
            {
                "venues": [{"instruments": [{"type": "inverse", "asset": "BTC"}, {"type": "inverse", "asset": "ETH"}]}],
                "traders": {"groups": [HOLDERS], "markets": [1.0, 0.0]},
            },
            "an inverse perpetual on `ETH`, expected a weight above 0",
        ),
    ],
)
def test_what_nobody_can_margin_is_refused(more: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        world(**more)


def test_outputs_quote_what_is_settled_in_coin_and_count_the_coins_that_are_its_margin() -> None:
    eco = lived(2)
    seen = eco.observation
    assert seen["mark_BTC_inverse"] == pytest.approx(seen["index_BTC"], rel=0.05)
    ledger = eco.venue.ledger
    assert seen["coin_margin_BTC"] == pytest.approx(ledger.equity()[ledger.currency == 1].sum() / seen["index_BTC"])
    assert "coin_margin_ETH" not in seen


def test_who_is_liquidated_and_has_something_left_has_it_in_coin() -> None:
    # 0.1 + 1 - 10,000 / 9,500 = 0.0474 BTC, below 5 % of 10,000 USD, stay; only who is short has to change money, and moves the index.
    one = Exchange(10_000.0, (0.1,), liquidation={"type": "full", "keeps": 1.0}, pass_through=1.0)
    one.buy(LONG, MAKER, 10_000.0)
    one.venue.begin_step(np.random.default_rng(1))
    one.move(9_500.0)
    assert one.ledger.position[INVERSE, LONG] == 0.0
    assert one.ledger.coins[0, LONG] == pytest.approx(1.1 - 10_000.0 / 9_500.0)
    assert one.ledger.cash[LONG] == 0.0


def test_who_is_closed_at_bankruptcy_price_has_no_coins_left_to_lose() -> None:
    # 0.0474 BTC are left at 9,500 and go to the fund, 450 USD; nothing is long of coin and short of dollars when the price falls on.
    one = Exchange(10_000.0, (0.1,))
    one.buy(LONG, MAKER, 10_000.0)
    one.move(9_500.0, 5_000.0)
    assert one.ledger.coins[0, LONG] == pytest.approx(0.0, abs=1e-15)
    assert one.ledger.cash[LONG] == pytest.approx(0.0, abs=1e-9)
    assert one.ledger.fund == pytest.approx(9_500.0 * 1.1 - 10_000.0)
    assert one.venue.tally.deficits == 0.0


def test_who_closes_its_last_contract_pays_the_fee_in_coin_at_once() -> None:
    one = Exchange(10_000.0, (1.0,), fees={"taker": 1e-3, "maker": 0.0, "liquidation": 0.0})
    one.buy(LONG, MAKER, 5_000.0)
    trading.trade(one.venue, rows(LONG), np.array([[0.0], [-5_000.0]]), 1.0)
    assert one.ledger.cash[LONG] == 0.0
    assert one.ledger.coins[0, LONG] == pytest.approx(1.0 - 5.0 / 10_000.0)


def test_in_the_shipped_crash_the_fund_loses_far_more_of_its_dollars_than_of_its_coins() -> None:
    eco = Ecosystem(shipped.load("inverse"), rng=1)
    eco.run_for(72)
    seen = eco.series().iloc[[47, 72]]
    coins, dollars = (np.diff(column)[0] / column[0] for column in ((seen["fund"] / seen["index_BTC"]).to_numpy(), seen["fund"].to_numpy()))
    # BitMEX, 12 to 13 March 2020: 4.6 % of its coins and about 42 % of its dollars.
    assert -0.15 < coins < 0.0
    assert dollars < -0.4


def test_whose_contracts_end_with_anothers_holds_coin_and_nothing_that_moves_with_its_price_once_it_has_left() -> None:
    # A short of 40,000 USD in default elsewhere is ended at mark against LONG, which was charged 500 USD in dollars in the meantime.
    one = Exchange(40_000.0, (1.0, 1.0))
    one.buy(LONG, SHORT, 40_000.0)
    one.ledger.transfer(Flow.FUNDING, LONG, MAKER, 500.0)
    terminate(one.venue, rows(SHORT))
    # All of it is in coin: 1 BTC less 500 / 40,000. It takes that out, and what the coin costs next is nothing to it.
    assert one.ledger.coins[0, LONG] == pytest.approx(1.0 - 0.0125)
    assert one.ledger.cash[LONG] == pytest.approx(0.0, abs=1e-9)
    pay_out(one.venue, Flow.WITHDRAWAL, rows(LONG), one.ledger.equity(rows(LONG)))
    one.move(20_000.0)
    assert one.ledger.equity(LONG) == pytest.approx(0.0, abs=1e-9)


def test_torn_up_contracts_leave_each_with_the_money_of_its_margin() -> None:
    # Half of LONG's coin is lost at 40,000 USD in dollars; a maker has gained it in dollars.
    one = Exchange(40_000.0, (1.0, 1.0))
    one.buy(LONG, SHORT, 40_000.0)
    one.ledger.transfer(Flow.FUNDING, LONG, MAKER, 20_000.0)
    Losses(Walked(one.venue, rows(LONG, SHORT))).end_contracts()
    assert one.ledger.coins[0, [LONG, SHORT]] == pytest.approx([0.5, 1.0])
    assert one.ledger.cash[[LONG, SHORT]] == pytest.approx([0.0, 0.0], abs=1e-9)


def test_liquidators_buy_an_inverse_contract_below_the_price_at_which_it_is_marked() -> None:
    # 2 % below the mark a dollar is 1 / 0.98 dollars' worth of coins: the liquidator gains 2 / 98 on each of 40,000 contracts.
    one = Exchange(50_000.0, (0.1,), route={"order": ["liquidators"]})
    one.venue.liquidator_parameters = LiquidatorParameters(count=1, discount=0.02, volatility_loading=0.0, inventory_loading=0.0)
    one.buy(LONG, MAKER, 40_000.0)
    one.move(45_500.0)
    assert one.ledger.position[INVERSE, 5] == pytest.approx(40_000.0)
    assert one.events("liquidation")["price"] == pytest.approx([0.98 * 45_500.0])
    assert float(one.ledger.equity(5)) == pytest.approx(1e6 + 40_000.0 * 2.0 / 98.0)
