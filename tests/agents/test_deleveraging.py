"""Deleveraging rules against published examples; ties and orders that must not matter."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.clearinghouse.deleveraging import (
    DeleveragingView,
    Largest,
    ProRata,
    Queue,
    RandomStart,
    RiskAware,
    fill_by_score,
    fill_pro_rata,
)


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def view(quantity: float, size, entry, equity, mark=100.0, long=True, room=None, maintenance=None) -> DeleveragingView:
    size, entry, equity = of(*size), of(*entry), of(*equity)
    profit = size * (mark - entry) * (1.0 if long else -1.0)
    room = size if room is None else of(*room)
    maintenance = 0.01 * size * mark if maintenance is None else of(*maintenance)
    return DeleveragingView(quantity, room, size, profit, equity, maintenance, mark, entry, long)


def test_bitmexs_example_closes_the_highest_rank_first() -> None:
    # A bankrupt short of 20 at 650: account 2 holds 10 contracts at rank 6, account 5 holds 20 at rank 5: 10 each.
    assert fill_by_score(of(6.0, 5.0), of(10.0, 20.0), 20.0).tolist() == [10.0, 10.0]
    assert fill_by_score(of(5.0, 6.0), of(20.0, 10.0), 20.0).tolist() == [10.0, 10.0]


def test_a_queue_by_contracts_takes_the_front_whole() -> None:
    # A bankrupt short of 2 contracts with a deficit of 1,500 USD, longs of 1, 3 and 1: the first two give one each, 750 USD each.
    contracts = fill_by_score(of(3.0, 2.0, 1.0), of(1.0, 3.0, 1.0), 2.0)
    assert (contracts * 750.0).tolist() == [750.0, 750.0, 0.0]


def test_pro_rata_by_contracts_shares_the_deficit_by_size() -> None:
    # 1,500 USD over 2 contracts; longs of 1, 3 and 1 give 2/5 of each: 300, 900, 300 USD.
    rule = ProRata(ProRata.Parameters(by="contracts"))
    contracts, _ = rule.rule(view(2.0, (1, 3, 1), (50, 50, 50), (1500, 3000, 6000)), None, None)
    assert contracts * 750.0 == pytest.approx([300.0, 900.0, 300.0])


def test_pro_rata_by_equity_is_capped_at_what_each_holds() -> None:
    # Two contracts by equity 1 : 2 : 4 would ask 8/7 of the last, who holds 1; the other one is shared 1 : 2.
    rule = ProRata(ProRata.Parameters(by="equity"))
    contracts, _ = rule.rule(view(2.0, (1, 3, 1), (50, 50, 50), (1500, 3000, 6000)), None, None)
    assert contracts == pytest.approx([1 / 3, 2 / 3, 1.0])


def test_chitras_five_accounts_by_profit_and_by_queue() -> None:
    # Endowments 8, 4, 0.5 and a budget of 7.5: pro rata haircut 0.6; in the order 2, 1, 3 account 2 gives all, account 1 0.4375.
    endowment = of(8.0, 4.0, 0.5, 0.0, 0.0)
    assert fill_pro_rata(endowment, endowment, 7.5) == pytest.approx([4.8, 2.4, 0.3, 0.0, 0.0])
    assert fill_by_score(of(2.0, 3.0, 1.0, 0.0, 0.0), endowment, 7.5) / np.maximum(endowment, 1.0) == pytest.approx([0.4375, 1.0, 0, 0, 0])
    rule = ProRata(ProRata.Parameters(by="profit"))
    contracts, _ = rule.rule(view(2.0, (10, 10), (90, 70), (500, 500)), None, None)
    # Gains of 100 and 300.
    assert contracts == pytest.approx([0.5, 1.5])


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ({"g": "linear"}, (100 * 4, 100 * 1, 100 * 0.25)),
        ({"g": "power", "exponent": 0.0}, (100 * 2, 100 * 1, 100 * 0.5)),
        ({"g": "power", "exponent": 2.0}, (100 * 8, 100 * 1, 100 * 0.125)),
        ({"g": "threshold", "threshold": 0.75}, (100 * 2 * 1.25, 100 * 1 * 0.25, 0.0)),
    ],
)
def test_the_risk_aware_rule_takes_by_profit_times_leverage_times_g(settings, weights) -> None:
    # Mark 100, 10 long contracts each from 90: gains of 100, notional 1,000, equity 500, 1,000, 2,000: leverage 2, 1, 1/2.
    rule = RiskAware(RiskAware.Parameters(**settings))
    contracts, _ = rule.rule(view(3.0, (10, 10, 10), (90, 90, 90), (500, 1000, 2000)), None, None)
    assert contracts == pytest.approx(3.0 * of(*weights) / sum(weights))


def test_the_risk_aware_rule_takes_no_more_than_all_of_a_profit() -> None:
    # Weights 4 : 1 would ask 2.4 and 0.6 of 3; the first can give one: the second gives two. Losers give nothing.
    rule = RiskAware(RiskAware.Parameters())
    seen = view(3.0, (10, 10, 10), (90, 90, 110), (500, 1000, 100), room=(1, 10, 10))
    assert rule.rule(seen, None, None)[0] == pytest.approx([1.0, 2.0, 0.0])


class Luck:
    """A generator whose next draw is known."""

    def __init__(self, draw: float) -> None:
        self.draw = draw

    def random(self) -> float:
        return self.draw


@pytest.mark.parametrize(("draw", "expected"), [(0.0, (4, 3, 0, 0)), (0.3, (0, 4, 3, 0)), (0.74, (0, 0, 4, 3)), (0.999, (3, 0, 0, 4))])
def test_a_random_start_goes_round_from_the_account_drawn(draw, expected) -> None:
    # Four accounts of four contracts, seven to close: of who is drawn four, of the next three; after the last comes the first.
    seen = view(7.0, (4, 4, 4, 4), (90,) * 4, (500,) * 4)
    assert RandomStart().rule(seen, None, Luck(draw))[0].tolist() == list(expected)


def test_a_random_start_among_nobody_closes_nothing() -> None:
    assert RandomStart().rule(view(7.0, (), (), ()), None, Luck(0.5))[0].size == 0


def test_ftxs_ten_largest_share_by_size_and_the_eleventh_gives_nothing() -> None:
    # Sizes 1 to 12: 3 to 12 sum to 75, so that 15 contracts are a fifth of each.
    sizes = tuple(range(1, 13))
    contracts, _ = Largest().rule(view(15.0, sizes, (90,) * 12, (500,) * 12), None, None)
    assert contracts == pytest.approx([0, 0, *(size / 5 for size in range(3, 13))])
    # Equals of the last one asked are asked too.
    two = Largest(Largest.Parameters(count=2))
    assert two.rule(view(3.0, (5, 5, 5, 1), (90,) * 4, (500,) * 4), None, None)[0] == pytest.approx([1, 1, 1, 0])
    # What they cannot give is left.
    assert two.rule(view(30.0, (5, 4, 3, 1), (90,) * 4, (500,) * 4), None, None)[0] == pytest.approx([5, 4, 0, 0])
    # Who can give nothing is not among the largest; nobody may be there at all.
    assert two.rule(view(3.0, (5, 4, 2, 1), (90,) * 4, (500,) * 4, room=(0, 4, 2, 1)), None, None)[0] == pytest.approx([0, 2, 1, 0])
    assert two.rule(view(3.0, (), (), ()), None, None)[0].size == 0


def first(score: str, **seen) -> int:
    """Who is asked for the first contract."""
    contracts, _ = Queue(Queue.Parameters(score=score)).rule(view(1.0, **seen), None, None)
    assert contracts.sum() == pytest.approx(1.0)
    return int(np.argmax(contracts))


def test_each_venue_ranks_the_same_longs_differently() -> None:
    # Mark 100; a: 10 at 50, equity 2,000; b: 10 at 90, equity 400; c: 100 at 98, equity 9,000.
    #                return   leverage   gain     bitmex        binance                      hyperliquid     dydx v3
    # a              1.000    0.5        500      0.500         500 / 1,500 x 5 / 2,000      2.000 x 0.5     250
    # b              0.111    2.5        100      0.278         100 / 300 x 300 / 400        1.111 x 2.5     250 - 0
    # c              0.020    1.11       200      0.023         200 / 8,800 x 100 / 9,000    1.020 x 1.11    222
    longs = {"size": (10, 10, 100), "entry": (50, 90, 98), "equity": (2000, 400, 9000), "maintenance": (5, 300, 100)}
    assert first("bitmex", **longs) == 0
    assert first("binance", **longs) == 1
    assert first("hyperliquid", **longs) == 1
    assert first("profit_leverage", **{**longs, "equity": (2000, 401, 9000)}) == 0


def test_binances_wallet_is_equity_less_the_gains_of_all_positions() -> None:
    # LeveragePnL = max(0, uPnL) / max(1, wallet) x maintenance margin / (wallet + uPnL). Two longs of 10 gain 300 each at 100.
    # a: equity 900, nothing else open: 300 / 600 x 90 / 900 = 0.0500; with a gain of 200 elsewhere 300 / 400 x 90 / 900 = 0.0750.
    # b: equity 600: 300 / 300 x 36 / 600 = 0.0600. So b comes before the first a and after the second.
    longs = {"size": (10, 10), "entry": (70, 70), "equity": (900, 600), "maintenance": (90, 36)}
    rule = Queue(Queue.Parameters(score="binance"))
    for elsewhere, front in ((0.0, 1), (200.0, 0)):
        seen = replace(view(1.0, **longs), unrealised=of(300.0 + elsewhere, 300.0))
        assert int(np.argmax(rule.rule(seen, None, None)[0])) == front


def test_hyperliquid_ranks_by_price_ratio_times_leverage_either_way() -> None:
    # Mark 80, 10 contracts, equity 400: leverage 2. Shorts at 100 and 60: 100 / 80 x 2 = 2.5 and 60 / 80 x 2 = 1.5; longs the other way.
    for long, front in ((False, 0), (True, 1)):
        assert first("hyperliquid", size=(10, 10), entry=(100, 60), equity=(400, 400), mark=80.0, long=long) == front
    # A loser at leverage 4 comes before a winner at 2: 60 / 80 x 4 = 3.0 against 2.5.
    assert first("hyperliquid", size=(10, 10), entry=(100, 60), equity=(400, 200), mark=80.0, long=False) == 1


def test_binance_counts_a_gain_against_what_the_wallet_held_without_it() -> None:
    # 50 / (150 - 50) x 45 / 150 = 0.15 comes after 40 / (60 - 40) x 6 / 60 = 0.2.
    assert first("binance", size=(10, 10), entry=(95, 96), equity=(150, 60), maintenance=(45, 6)) == 1


def test_bitmex_ranks_losers_by_loss_over_leverage() -> None:
    # Both lose 10 %; the one with leverage 5 is -0.02, before -0.10 of leverage 1.
    assert first("bitmex", size=(10, 10), entry=(111.1, 111.1), equity=(1000, 200)) == 1
    # Any gain comes before any loss.
    assert first("bitmex", size=(10, 10), entry=(99.9, 101.0), equity=(10_000, 100)) == 0


def test_shorts_gain_when_the_mark_is_below_entry() -> None:
    # Short at 200 has doubled its money over mark 100; short at 110 has not.
    for score in ("bitmex", "binance", "hyperliquid", "profit_leverage"):
        assert first(score, size=(10, 10), entry=(200, 110), equity=(2000, 2000), long=False) == 0


usd = st.integers(0, 10**6).map(lambda cents: cents / 7.0)
amounts = st.lists(st.tuples(st.integers(0, 5), usd, usd), min_size=1, max_size=12)


@given(amounts, usd.map(lambda one: 5.0 * one), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_the_order_of_accounts_never_decides_ties_included(accounts, quantity, random) -> None:
    order = list(range(len(accounts)))
    random.shuffle(order)
    score, weight, room = (np.array(column, dtype=float) for column in zip(*accounts, strict=True))
    for fill in (lambda at: fill_by_score(score[at], room[at], quantity), lambda at: fill_pro_rata(weight[at], room[at], quantity)):
        one, other = fill(np.arange(len(order))), fill(np.array(order))
        np.testing.assert_allclose(one[order], other, rtol=1e-9, atol=1e-6)


@given(amounts, usd.map(lambda one: 5.0 * one))
@settings(max_examples=200, deadline=None)
def test_water_fills_to_one_level_and_never_above_the_rim(accounts, quantity) -> None:
    _, weight, room = (np.array(column, dtype=float) for column in zip(*accounts, strict=True))
    filled = fill_pro_rata(weight, room, quantity)
    able = (weight > 0.0) & (room > 0.0)
    assert (filled <= room).all()
    assert filled.sum() == pytest.approx(min(quantity, room[able].sum()), rel=1e-9, abs=1e-6)
    # Who still has room stands at the highest level of all.
    level = np.divide(filled, weight, out=np.zeros_like(filled), where=able)
    for one in np.flatnonzero(able & (filled < room * (1.0 - 1e-9))):
        assert level[one] >= level.max() * (1.0 - 1e-9)


@given(amounts, usd.map(lambda one: 5.0 * one))
@settings(max_examples=200, deadline=None)
def test_a_queue_serves_nobody_before_those_ahead_are_served_whole(accounts, quantity) -> None:
    score, _, room = (np.array(column, dtype=float) for column in zip(*accounts, strict=True))
    filled = fill_by_score(score, room, quantity)
    assert filled.sum() == pytest.approx(min(quantity, room.sum()), rel=1e-9, abs=1e-6)
    for one in np.flatnonzero(filled > 1e-6):
        ahead = score > score[one]
        np.testing.assert_allclose(filled[ahead], room[ahead], rtol=1e-9, atol=1e-6)


def test_scores_equal_but_for_rounding_are_one_rank() -> None:
    # 0.1 + 0.2 is not 0.3 in binary.
    assert fill_by_score(of(0.1 + 0.2, 0.3), of(3.0, 1.0), 2.0).tolist() == [1.5, 0.5]


def test_nobody_to_ask_gives_nothing() -> None:
    assert fill_pro_rata(of(0.0, 1.0), of(5.0, 0.0), 3.0).tolist() == [0.0, 0.0]
    assert fill_by_score(of(1.0), of(0.0), 3.0).tolist() == [0.0]
    assert fill_pro_rata(np.empty(0), np.empty(0), 3.0).size == 0


@pytest.mark.parametrize("settings", [{"score": "okx"}, {"by": "contracts"}])
def test_unknown_scores_are_refused(settings) -> None:
    with pytest.raises(ValidationError):
        Queue.Parameters(**settings)


def test_leverage_is_notional_over_equity_also_where_a_contract_is_worth_less_than_its_notional() -> None:
    # Options on an index of 100, worth 10: with 4 and 2 contracts on 200 USD each leverage is 2 and 1, not 0.2 and 0.1. The threshold of
    # 1.5 lets the first give alone: weights are profit x leverage x (leverage - threshold)+ = 20 x 2 x 0.5 and nothing.
    asked = replace(view(3.0, (4, 2), (5, 5), (200, 200), mark=10.0), unit=100.0)
    assert asked.leverage.tolist() == [2.0, 1.0]
    rule = RiskAware(RiskAware.Parameters(g="threshold", threshold=1.5))
    contracts, _ = rule.rule(asked, None, None)
    assert contracts.tolist() == [3.0, 0.0]
    assert rule.rule(replace(asked, unit=None), None, None)[0].tolist() == [0.0, 0.0]
