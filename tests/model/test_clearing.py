"""The walk with known answers: one leveraged account, a fall, and who pays."""

import copy
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from agents.clearinghouse.accrual import Levies
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.liquidator import LiquidatorParameters
from agents.market_maker import MarketMakerParameters
from model import quoting
from model.clearing import Walk, terminate, walk
from model.ecosystem import Ecosystem
from model.events import Events
from model.ledger import FUND, OUTSIDE, TREASURY, Flow, Role, Rows, Status
from model.market import Market, MarketParameters
from model.path import Path
from model.scenario import Scenario
from model.venue import Venue
from tests.laws.strategies import scenarios

QUICK = settings(deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
DEEP = 1e15
"""Depth at which an order moves nothing."""
FULL: dict[str, Any] = {"type": "full", "keeps": 0.0}
FIXED = {"type": "fixed_leverage", "initial": 0.1, "maintenance": 0.05}
FUND_FIRST = [{"type": "fund"}, {"type": "write_down"}]
DELEVERAGE = [{"type": "fund"}, {"type": "deleveraging", "rule": {"type": "pro_rata"}}, {"type": "write_down"}]


def rows(*given: int) -> Rows:
    return np.array(given, dtype=np.intp)


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


class Exchange(NamedTuple):
    """One market at 100 USD, a market maker (row 4) with 10,000 USD, a liquidator (row 5) with 1,000, and traders from row 6."""

    venue: Venue

    def position(self, buyer: int, seller: int, quantity: float, price: float = 100.0) -> None:
        self.venue.ledger.trade(0, rows(buyer), of(quantity), price, rows(seller), of(-quantity), price)

    def move(self, *prices: float, hours: float = 0.0) -> None:
        """Walks the index through these prices, each a jump."""
        steps = np.diff(np.log(of(float(self.venue.market.index[0]), *prices)))
        walk([Walk(self.venue, Path(steps[None, :], np.full(steps.size, hours)))])
        self.venue.ledger.check(1, outstanding=self.venue.outstanding)

    def equity(self, *who: int) -> list[float]:
        return self.venue.ledger.equity(rows(*who)).tolist()

    def held(self, *who: int) -> list[float]:
        return self.venue.ledger.position[0, list(who)].tolist()

    @property
    def statement(self) -> dict[Flow, float]:
        return {kind: amount for kind, amount in self.venue.ledger.statement.items() if amount}

    @property
    def absorbed(self) -> dict[str, float]:
        return {layer: amount for layer, amount in self.venue.tally.absorbed.items() if amount}


def exchange(deposits: tuple[float, ...], fund: float = 0.0, depth: float = DEEP, capital: float = 0.0, **house: Any) -> Exchange:
    block = {"margin": FIXED, "liquidation": FULL, "waterfall": FUND_FIRST, "fees": {"liquidation": 0.005}, **house}
    market = Market(MarketParameters(pass_through=0.0), of(100.0), of(depth), of(0.5))
    venue = Venue(
        "test",
        ClearinghouseParameters.model_validate(block),
        MarketMakerParameters(count=1, risk_aversion=0.0, inventory_limit=1e9, stress_floor=1.0),
        LiquidatorParameters(count=1, discount=0.02, volatility_loading=0.0, inventory_loading=0.0, appetite=20.0),
        market,
        Events(True, ("BTC",)),
    )
    ledger = venue.ledger
    for row, amount in ((FUND, fund), (TREASURY, capital), (4, 10_000.0), (5, 1_000.0)):
        ledger.transfer(Flow.DEPOSIT, OUTSIDE, row, amount)
    venue.maker_capital = ledger.equity(venue.makers)
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, ledger.open(len(deposits), Role.TRADER), of(*deposits))
    venue.levies = Levies(surplus=1.0, liquidation_fees=1.0)
    venue.begin_step(np.random.default_rng(1))
    venue.levies = Levies(surplus=1.0, liquidation_fees=1.0)
    quoting.requote(venue, ledger)
    return Exchange(venue)


LONG, SHORT, OTHER = 6, 7, 8


def test_a_tenfold_long_is_liquidated_where_equity_meets_maintenance_and_not_before() -> None:
    # 100 + 10 (p - 100) = 5 % x 10 p at p = 900 / 9.5 = 94.7368.
    one = exchange((100.0,))
    one.position(LONG, 4, 10.0)
    one.move(94.74)
    assert one.held(LONG) == [10.0]
    assert one.equity(LONG) == pytest.approx([47.4])
    assert one.venue.tally.liquidations == 0
    one.move(94.73)
    assert one.held(LONG, 4) == [0.0, 0.0]
    assert one.venue.tally.liquidations == 1


def test_what_is_left_above_bankruptcy_price_goes_to_the_fund_as_fee_and_surplus() -> None:
    # At 94.5: equity 100 - 55 = 45; fee 0.5 % of 945 = 4.725; surplus 40.275. The maker has gained 10 x 5.5.
    one = exchange((100.0,))
    one.position(LONG, 4, 10.0)
    one.move(94.5)
    assert one.statement == {Flow.LIQUIDATION_FEE: pytest.approx(4.725), Flow.SURPLUS: pytest.approx(40.275)}
    assert one.equity(LONG, 4, FUND) == pytest.approx([0.0, 10_055.0, 45.0], abs=1e-9)
    # Exactly zero is not a default.
    assert one.venue.ledger.status[LONG] == Status.ACTIVE
    assert (one.venue.tally.deficits, one.venue.tally.bankruptcies) == (0.0, 0)


def test_fee_and_surplus_are_shared_between_fund_and_exchange_as_the_levies_say() -> None:
    # The same 4.725 and 40.275: the fund gets 40 % of the fee and a quarter of the surplus, the exchange the rest.
    one = exchange((100.0,))
    one.position(LONG, 4, 10.0)
    one.venue.levies = Levies(liquidation_fees=0.4, surplus=0.25)
    one.move(94.5)
    assert one.statement == {Flow.LIQUIDATION_FEE: pytest.approx(1.89), Flow.SURPLUS: pytest.approx(10.06875)}
    assert one.equity(LONG, TREASURY) == pytest.approx([0.0, 2.835 + 30.20625], abs=1e-9)


def test_a_partial_round_leaves_the_account_what_its_slice_leaves() -> None:
    # At 94.5 equity is 45, maintenance 47.25: 95 %, above two thirds. A fifth: 2 contracts at mark; fee 0.5 % of 189 = 0.945.
    # Then maintenance is 37.8, equity 44.055: margin restored.
    one = exchange((100.0,), liquidation={"type": "partial_then_full", "small": 0.0})
    one.position(LONG, 4, 10.0)
    one.move(94.5)
    assert one.held(LONG, 4) == [8.0, -8.0]
    assert one.equity(LONG, FUND) == pytest.approx([44.055, 0.945])
    assert one.venue.tally.rounds == 1


def test_the_fund_pays_a_deficit_and_the_account_is_bankrupt() -> None:
    # At 85: 100 - 150 = -50.
    one = exchange((100.0,), fund=80.0)
    one.position(LONG, 4, 10.0)
    one.move(85.0)
    assert one.statement == {Flow.DRAW_EXECUTION: pytest.approx(-50.0)}
    assert one.equity(LONG, 4, FUND) == pytest.approx([0.0, 10_150.0, 30.0], abs=1e-9)
    assert one.venue.ledger.status[LONG] == Status.BANKRUPT
    assert (one.venue.tally.deficits, one.venue.tally.bankruptcies) == (pytest.approx(50.0), 1)
    assert one.absorbed == {"fund": pytest.approx(50.0)}


def test_a_short_is_liquidated_by_a_rise_in_the_same_way() -> None:
    # Short 10 on 100: -50 at 115. Bankruptcy price 110.
    one = exchange((100.0,), fund=80.0)
    one.position(4, LONG, 10.0)
    one.move(115.0)
    assert one.statement == {Flow.DRAW_EXECUTION: pytest.approx(-50.0)}
    assert one.equity(4) == pytest.approx([10_150.0])


def test_a_deficit_is_counted_at_execution_price_not_at_mark() -> None:
    # Liquidators pay 2 % less than 85: 83.3. Deficit 50 + 10 x 1.7; the liquidator holds a contract it got 1.7 below mark.
    one = exchange((100.0,), fund=80.0, route={"order": ["liquidators"]})
    one.position(LONG, 4, 10.0)
    one.move(85.0)
    assert one.venue.tally.deficits == pytest.approx(67.0)
    assert one.held(5) == [10.0]
    assert one.equity(5, FUND) == pytest.approx([1_017.0, 13.0])


def test_a_shallow_book_fills_what_it_can_and_the_next_stage_takes_the_rest() -> None:
    # The maker's margin use is 94.5 / 10,055 of at most 80 %: it shows 20 (1 - 0.0117) USD within 10 bp, and 20 ** 0.67 times that
    # within 2 %. The liquidator takes what is left of the 945.
    one = exchange((100.0,), fund=500.0, depth=20.0, route={"order": ["book", "liquidators"]})
    one.position(LONG, 4, 10.0)
    one.move(94.5)
    book = 20.0 * (1.0 - 94.5 / 10_055.0 / 0.8) * 20.0**0.67 / 94.5
    assert one.held(LONG, 4, 5) == pytest.approx([0.0, -10.0 + book, 10.0 - book])
    # The displacement grows as q ** (1 / 0.67): on average 0.67 / 1.67 of its 2 %.
    price = 94.5 * (book * (1.0 - 0.02 * 0.67 / 1.67) + (10.0 - book) * 0.98) / 10.0
    left = 45.0 - 10.0 * (94.5 - price)
    assert one.equity(FUND) == pytest.approx([500.0 + left])


def test_a_takeover_is_booked_at_mark_and_its_later_result_is_the_funds() -> None:
    # Taken over at 85 with equity -50: a draw for the takeover. Then the mark falls to 80: 10 x -5.
    one = exchange((100.0,), fund=2_000.0, route={"order": ["takeover"]})
    one.position(LONG, 4, 10.0)
    one.move(85.0, 80.0)
    assert one.statement == {Flow.DRAW_TAKEOVER: pytest.approx(-50.0), Flow.INVENTORY_RESULT: pytest.approx(-50.0)}
    assert one.held(LONG, FUND, 4) == [0.0, 10.0, -10.0]
    assert one.equity(FUND) == pytest.approx([1_900.0])


def test_the_fund_takes_over_no_more_than_its_limit() -> None:
    # 425 USD of fund, limit one fund: 5 contracts at 85. The others stay where they are: half of the loss is realised.
    one = exchange((100.0,), fund=425.0, route={"order": ["takeover"]}, rounds=1)
    one.position(LONG, 4, 10.0)
    one.move(85.0)
    assert one.held(LONG, FUND) == pytest.approx([5.0, 5.0])
    assert one.venue.tally.deficits == pytest.approx(25.0)
    assert one.venue.tally.unfinished == 1


def test_a_fund_that_its_inventory_brings_below_zero_is_made_good_by_the_layers_after_it() -> None:
    # 900 USD of fund, 10 contracts at 90 (equity 0): at the limit. At -95 a contract it is 50 short: exchange capital pays.
    one = exchange((100.0,), fund=900.0, capital=1_000.0, route={"order": ["takeover"]},
                   waterfall=[{"type": "fund"}, {"type": "exchange_capital", "share": 1.0}, {"type": "write_down"}])  # fmt: skip
    one.position(LONG, 4, 10.0)
    one.move(90.0)
    assert one.held(FUND) == [10.0]
    one.venue.ledger.transfer(Flow.DISTRIBUTION, FUND, OUTSIDE, 850.0)
    one.move(80.0)
    # 50 + 10 x -10 = -50.
    assert one.equity(FUND, TREASURY) == pytest.approx([0.0, 950.0], abs=1e-9)
    assert one.absorbed == {"exchange_capital": pytest.approx(50.0)}


def two_shorts(fund: float, first_entry: float = 100.0, **house: Any) -> Exchange:
    """A long of 10 at 100 on 100 USD; shorts of 6 (SHORT) and 4 (OTHER) on 500 each; no book. SHORT may have its 6 from row 9."""
    one = exchange((100.0, 500.0, 500.0, 500.0), fund=fund, depth=0.0, waterfall=DELEVERAGE, route={"order": ["book"]}, **house)
    one.position(LONG, 9 if first_entry != 100.0 else SHORT, 6.0)
    one.position(LONG, OTHER, 4.0)
    if first_entry != 100.0:
        one.position(9, SHORT, 6.0, first_entry)
    return one


def test_without_a_fund_winners_close_at_bankruptcy_price_and_their_haircuts_are_the_deficit() -> None:
    # Mark 85, bankruptcy price 90: shorts give 5 a contract: 30 and 20 of gains of 90 and 60.
    one = two_shorts(fund=0.0)
    one.move(85.0)
    assert one.equity(LONG, SHORT, OTHER) == pytest.approx([0.0, 560.0, 540.0], abs=1e-9)
    assert one.held(LONG, SHORT, OTHER) == [0.0, 0.0, 0.0]
    assert one.absorbed == {"deleveraging": pytest.approx(50.0)}
    assert one.venue.haircut[[SHORT, OTHER]] == pytest.approx([30.0 / 590.0, 20.0 / 560.0])
    assert not one.venue.insolvent


def test_only_contracts_that_the_fund_has_not_covered_are_deleveraged_at_bankruptcy_price() -> None:
    # A fund of 20 covers 40 % of the 50: six contracts leave at 90, four at mark 85, whose 20 the fund pays.
    one = two_shorts(fund=20.0)
    one.move(85.0)
    assert one.absorbed == {"deleveraging": pytest.approx(30.0), "fund": pytest.approx(20.0)}
    assert one.statement == {Flow.DRAW_CLOSE_OUT: pytest.approx(-20.0)}
    assert one.equity(LONG, FUND) == pytest.approx([0.0, 0.0], abs=1e-9)
    # Gains of 150 less haircuts of 30.
    assert sum(one.equity(SHORT, OTHER)) == pytest.approx(1_120.0)


def test_nobody_gives_more_than_its_gain_and_the_rest_passes_to_the_next_layer() -> None:
    # SHORT came in at 86: its gain is 6 USD, 1.2 contracts' worth of 5. OTHER gives 4 x 5 = 20. The other 4.8 contracts leave at mark,
    # and their 24 are written off claims of 500 + 540 + 584 + the institutions' 11,000.
    one = two_shorts(fund=0.0, first_entry=86.0)
    one.move(85.0)
    assert one.absorbed == {"deleveraging": pytest.approx(26.0), "write_down": pytest.approx(24.0)}
    keeps = 1.0 - 24.0 / (500.0 + 540.0 + 584.0 + 11_000.0)
    assert one.equity(SHORT, OTHER, 9, 4) == pytest.approx([500.0 * keeps, 540.0 * keeps, 584.0 * keeps, 10_000.0 * keeps])
    assert one.venue.insolvent


def test_deleveraging_at_mark_moves_contracts_and_absorbs_no_loss() -> None:
    at_mark = [
        {"type": "fund"},
        {"type": "deleveraging", "price": "mark"},
        {"type": "socialised_loss", "by": "equity"},
        {"type": "write_down"},
    ]
    one = exchange((100.0, 500.0), depth=0.0, waterfall=at_mark, route={"order": ["book"]})
    one.position(LONG, SHORT, 10.0)
    one.move(85.0)
    # 50 over equities of 650, 10,000 and 1,000.
    assert one.absorbed == {"socialised_loss": pytest.approx(50.0)}
    assert one.equity(LONG, SHORT) == pytest.approx([0.0, 650.0 * (1.0 - 50.0 / 11_650.0)], abs=1e-9)
    assert one.held(LONG, SHORT) == [0.0, 0.0]


def test_a_loss_socialised_by_gains_moves_the_entry_price_by_what_was_given() -> None:
    # OTHER is short 5 at 100 against row 9: a gain of 75 at 85, of which 50 are taken: entry 100 - 15 x 2/3 = 90.
    by_gains = [{"type": "fund"}, {"type": "socialised_loss", "by": "gains"}, {"type": "write_down"}]
    one = exchange((100.0, 500.0, 500.0, 500.0), waterfall=by_gains)
    one.position(LONG, 4, 10.0)
    one.position(9, OTHER, 5.0)
    one.move(85.0)
    assert one.absorbed == {"socialised_loss": pytest.approx(50.0)}
    assert one.equity(OTHER, 9, 4) == pytest.approx([525.0, 425.0, 10_150.0])
    assert one.venue.ledger.entry[0, OTHER] == pytest.approx(90.0)
    assert one.venue.ledger.entry[0, 9] == 100.0


def test_a_written_down_exchange_is_insolvent_and_what_it_owes_is_what_custody_holds() -> None:
    one = exchange((100.0, 500.0, 500.0), waterfall=[{"type": "write_down"}], capital=30.0, fund=40.0)
    one.position(LONG, 4, 10.0)
    one.position(SHORT, OTHER, 2.0)
    one.move(85.0)
    # Deficit 50 over claims of 10,150 + 1,000 + 470 + 530.
    keeps = 1.0 - 50.0 / 12_150.0
    assert one.equity(4, 5, SHORT, OTHER) == pytest.approx([10_150.0 * keeps, 1_000.0 * keeps, 470.0 * keeps, 530.0 * keeps])
    assert one.venue.insolvent
    assert one.venue.write_down == pytest.approx(50.0)
    ledger = one.venue.ledger
    assert not ledger.exposure.any()
    assert ledger.cash[FUND:].sum() == pytest.approx(ledger.custody)
    assert ledger.cash[[FUND, TREASURY]].tolist() == [40.0, 30.0]


def test_a_loss_beyond_all_claims_falls_on_what_the_exchange_kept_back() -> None:
    # Long 100 at 100 on 100 USD: -900 at 90, taken over by the fund. The winner took 10,400 home, the institutions all they had: the only
    # claim is 600. It goes, then 300 of exchange capital. Custody holds what is left: fund 500, capital 300.
    one = exchange((100.0, 10_000.0), waterfall=[{"type": "write_down"}], capital=600.0, fund=500.0,
                   route={"order": ["takeover"], "takeover_limit": 20.0})  # fmt: skip
    one.position(LONG, SHORT, 100.0)
    ledger = one.venue.ledger
    ledger.transfer(Flow.WITHDRAWAL, rows(4, 5, SHORT), OUTSIDE, of(10_000.0, 1_000.0, 10_400.0))
    one.move(90.0)
    assert one.absorbed == {"write_down": pytest.approx(600.0), "exchange_capital": pytest.approx(300.0)}
    assert ledger.cash[[SHORT, FUND, TREASURY]] == pytest.approx([0.0, 500.0, 300.0], abs=1e-9)
    assert ledger.custody == pytest.approx(800.0)


def test_an_account_that_closed_at_a_loss_beyond_its_equity_leaves_a_deficit() -> None:
    # It sells its last contract to the maker itself, at 80 with mark 100: 100 - 200.
    one = exchange((100.0,), fund=500.0)
    one.position(LONG, 4, 10.0)
    one.position(4, LONG, 10.0, 80.0)
    one.move(100.0)
    assert one.statement == {Flow.DRAW_EXECUTION: pytest.approx(-100.0)}
    assert one.equity(LONG) == [0.0]
    assert one.venue.ledger.status[LONG] == Status.BANKRUPT


def test_a_margin_call_sells_spot_before_contracts_are_touched() -> None:
    # Short 10 with 10 of spot: at 106 equity is 40, maintenance 53. Spot worth 2 x 53 - 40 = 66 is sold: equity 106.
    one = exchange((1_100.0,), fund=0.0)
    one.position(4, LONG, 10.0)
    one.venue.ledger.trade_spot(0, rows(LONG), of(10.0), 100.0)
    one.move(106.0)
    assert one.equity(LONG) == pytest.approx([106.0])
    assert one.held(LONG) == [-10.0]
    assert one.venue.ledger.spot[0, LONG] == pytest.approx(10.0 - 66.0 / 106.0)
    assert (one.venue.tally.margin_calls, one.venue.tally.liquidations) == (1, 0)


def test_two_markets_share_one_equity_in_proportion_to_maintenance() -> None:
    # 100 USD, long 5 of each of two markets at 100; one falls to 85: equity 25, maintenance 21.25 + 25.
    market = Market(MarketParameters(pass_through=0.0), of(100.0, 100.0), of(DEEP, DEEP), of(0.5, 0.5))
    free = {"margin": FIXED, "liquidation": FULL, "waterfall": FUND_FIRST, "fees": {"liquidation": 0.0}}
    house, nobody = ClearinghouseParameters.model_validate(free), LiquidatorParameters(count=0)
    venue = Venue("test", house, MarketMakerParameters(count=1, risk_aversion=0.0), nobody, market, Events(True, ("BTC", "ETH")))
    ledger = venue.ledger
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, 4, 10_000.0)
    venue.maker_capital = ledger.equity(venue.makers)
    (row,) = ledger.open(1, Role.TRADER).tolist()
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, row, 100.0)
    for at in (0, 1):
        ledger.trade(at, rows(row), of(5.0), 100.0, rows(4), of(-5.0), 100.0)
    venue.begin_step(np.random.default_rng(1))
    venue.levies = Levies(surplus=1.0)
    walk([Walk(venue, Path(np.array([[np.log(0.85)], [0.0]]), of(0.0)))])
    ledger.check(1)
    assert not ledger.position[:, row].any()
    assert ledger.statement == {Flow.SURPLUS: pytest.approx(25.0)}


def test_terminating_an_account_below_zero_sends_its_loss_down_the_waterfall() -> None:
    # The liquidator is long 20 on 1,000 and the mark at 40: 1,000 - 1,200, and nobody liquidates it as there is no book.
    one = exchange((5_000.0,), fund=500.0, depth=0.0, route={"order": ["book"]})
    one.position(5, LONG, 20.0)
    one.move(40.0)
    assert one.equity(5) == pytest.approx([-200.0])
    terminate(one.venue, rows(5))
    one.venue.ledger.check(1)
    assert one.equity(5, FUND, LONG) == pytest.approx([0.0, 300.0, 6_200.0], abs=1e-9)
    assert one.statement == {Flow.DRAW_CLOSE_OUT: pytest.approx(-200.0)}


def test_who_loses_its_last_contracts_with_those_of_a_defaulter_elsewhere_has_its_deficit_covered() -> None:
    # Short ten at 100 with 60 USD, worth -40 at 110: nobody has liquidated it yet when the liquidator on the other side ends.
    one = exchange((60.0,), fund=100.0)
    one.position(5, LONG, 10.0)
    one.venue.ledger.mark(of(110.0))
    assert one.equity(LONG) == pytest.approx([-40.0])
    terminate(one.venue, rows(5))
    assert one.held(5, LONG) == [0.0, 0.0]
    assert one.equity(5, LONG) == pytest.approx([1_100.0, 0.0])
    assert one.absorbed == {"fund": pytest.approx(40.0)}
    assert one.venue.ledger.status[LONG] == Status.BANKRUPT
    one.venue.ledger.check(1)


# -- one clearing with exposures frozen ---------------------------------------------------------------------------------------------------


def cleared(eco: Ecosystem, jump: float, further: float) -> float:
    """Residual loss of one clearing of a jump of all indices, the fund having `further` USD more. Leaves `eco` as it is.

    What nobody on the route would take stays open: its loss has fallen on nobody yet, but it is no less a loss.
    """
    venue = copy.deepcopy(eco.venue)
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, further)
    venue.begin_step(np.random.default_rng(1))
    walk([Walk(venue, Path(np.full((venue.ledger.markets, 1), jump), np.zeros(1)))])
    venue.ledger.check(1, outstanding=venue.outstanding)
    still_open = -np.minimum(venue.ledger.equity()[venue.ledger.house :], 0.0).sum()
    borne = sum(paid for layer, paid in venue.tally.absorbed.items() if layer != "fund")
    return float(still_open) + borne + venue.tally.deferred - venue.tally.settled


def with_fund_first(scenario: Scenario) -> Scenario:
    """One fund in dollars bears losses first and whole and is never spared: one outside the waterfall only changes who takes over."""
    given = scenario.model_dump(mode="json", by_alias=True)
    house = given["venues"][0]["clearinghouse"]
    others = [{**layer, "drawdown": 1.0} if layer["type"] == "deleveraging" else layer for layer in house["waterfall"]]
    house["waterfall"] = [{"type": "fund"}, *(layer for layer in others if layer["type"] not in ("fund", "shared_fund"))]
    house["pools"] = {}
    return Scenario.model_validate(given)


@given(scenarios(), st.integers(0, 2**32 - 1), st.integers(1, 4), st.floats(-1.5, 1.0), st.floats(-6.0, 3.0))
@settings(QUICK, max_examples=80)
def test_with_exposures_frozen_a_larger_fund_never_leaves_a_larger_residual_loss(scenario, seed, steps, jump, power) -> None:
    eco = Ecosystem(with_fund_first(scenario), rng=seed)
    for _ in range(steps):
        eco.step()
    assume(not eco.venue.insolvent)
    gross = float(np.abs(eco.venue.ledger.cash).sum()) + 1.0
    less, more = cleared(eco, jump, 0.0), cleared(eco, jump, gross * 10.0**power)
    assert more <= less + 1e-9 * gross


@pytest.mark.parametrize(
    "margin",
    [
        {"type": "tiered"},
        {"type": "skew_impact", "position_margin": 500.0},
        {"type": "portfolio_scenarios", "netting": "all"},
        {"type": "ewma", "add_ons": {"concentration": 0.02, "concentration_size": [1e6]}},
        {"type": "historical", "measure": "expected_shortfall", "every": 1.0},
        {"type": "filtered_historical", "every": 1.0, "anti_procyclicality": {"buffer": 0.25, "stress_weight": 0.25, "floor": True}},
    ],
    ids=lambda margin: margin["type"],
)
def test_screening_accounts_changes_nothing_against_walking_all(margin, monkeypatch) -> None:
    crash = Scenario.model_validate(
        {
            "schema": 1,
            "traders": {"groups": [{"count": 150, "equity": 2e8, "leverage": 15.0}]},
            "shocks": [
                {"type": "price_move", "at": 6.0, "lasts": 3.0, "size": [-0.3, -0.35, -0.5]},
                {"type": "price_move", "at": 12.2, "size": [0.2]},
            ],
            "venues": [{"clearinghouse": {"fund": 3e6, "margin": margin}}],
        }
    )

    def run() -> Ecosystem:
        eco = Ecosystem(crash, rng=4, check_laws=True)
        for _ in range(20):
            eco.step()
        return eco

    screened = run()
    monkeypatch.setattr(Venue, "at_risk", lambda venue, *_: np.arange(venue.ledger.house, venue.ledger.rows))
    monkeypatch.setattr(Venue, "ceiling", lambda _, position, *__: np.full(position.shape[1], 1e30))
    everybody = run()
    one, other = screened.venue.ledger, everybody.venue.ledger
    scale = float(np.abs(other.cash).max())
    np.testing.assert_allclose(one.cash, other.cash, rtol=1e-9, atol=1e-9 * scale)
    np.testing.assert_allclose(one.position, other.position, rtol=1e-9, atol=1e-9 * float(other.exposure.max()))
    assert one.status.tolist() == other.status.tolist()
    assert screened.series()["liquidations"].tolist() == everybody.series()["liquidations"].tolist()
    # There was something to screen.
    assert screened.series()["liquidations"].sum() > 50
