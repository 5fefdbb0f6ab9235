"""Liquidation rules, and the bankruptcy-price accounting of a round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.clearinghouse.liquidation import (
    AutoClose,
    ByTier,
    FullAtBankruptcy,
    LiquidationView,
    PartialThenFull,
    Slices,
    SmallestSlice,
    maintenance_shares,
    settle,
)


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def sliced(rule, equity: float, maintenance: list[float], notional: list[float]) -> Slices:
    return rule.rule(LiquidationView(of(equity), of(*maintenance)[:, None], of(*notional)[:, None]), None, None)[0]


@pytest.mark.parametrize(
    ("equity", "notional", "fraction", "keeps"),
    [
        (9_000.0, 1e6, 0.2, 1.0),  # 90 % of 10,000 maintenance: a fifth, and the account keeps what is left
        (6_700.0, 1e6, 0.2, 1.0),  # 67 % is above two thirds
        (6_600.0, 1e6, 1.0, 0.0),  # 66 % is below: all of it, the exchange keeps the rest
        (-100.0, 1e6, 1.0, 0.0),
        (9_000.0, 100e3, 1.0, 1.0),  # at most 100,000 USD: whole at once
        (9_000.0, 100.1e3, 0.2, 1.0),
    ],
)
def test_hyperliquid_closes_a_fifth_of_a_large_position_first(equity, notional, fraction, keeps) -> None:
    slices = sliced(PartialThenFull(), equity, [10_000.0], [notional])
    assert (slices.fraction.item(), slices.keeps.item()) == (fraction, keeps)


def test_large_is_a_position_not_an_account() -> None:
    # Hyperliquid: "for liquidatable positions larger than 100k USD only 20 % of the position".
    assert sliced(PartialThenFull(), 900.0, [500.0, 500.0], [60e3, 60e3]).fraction[:, 0].tolist() == [1.0, 1.0]
    assert sliced(PartialThenFull(), 900.0, [500.0, 500.0], [60e3, 160e3]).fraction[:, 0].tolist() == [1.0, 0.2]


def test_bitmex_closes_everything_and_keeps_what_is_left() -> None:
    slices = sliced(FullAtBankruptcy(), 900.0, [500.0, 500.0], [60e3, 0.0])
    assert (slices.fraction.min(), slices.keeps.item()) == (1.0, 0.0)


def test_within_hyperliquid_s_cool_down_all_is_closed_and_after_it_a_fifth_again() -> None:
    rule, state, found = PartialThenFull(PartialThenFull.Parameters(cool_down=30.0)), None, []
    for seconds in (0.0, 10.0, 29.0, 31.0):
        seen = LiquidationView(of(9_000.0), of(10_000.0)[:, None], of(1e6)[:, None], np.array([7]), seconds / 3600.0)
        slices, state = rule.rule(seen, state, None)
        found.append(slices.fraction.item())
    assert found == [0.2, 1.0, 1.0, 0.2]


def test_an_account_that_waits_is_closed_whole_once_it_is_below_the_backstop_threshold() -> None:
    rule = PartialThenFull(PartialThenFull.Parameters(cool_down=60.0, meanwhile="nothing"))
    views = [LiquidationView(of(usd), of(10_000.0)[:, None], of(1e6)[:, None], np.array([7]), 0.01) for usd in (9_000.0, 6_000.0)]
    assert [rule.rule(one, {7: 0.0}, None)[0].fraction.item() for one in views] == [0.0, 1.0]


def test_the_smallest_slice_restores_the_margin_at_its_expected_cost() -> None:
    # (10,000 - 9,000) / (10,000 - 0.002 x 1m) = 1 / 8: equity falls by 250 to 8,750, and so does maintenance.
    rule = SmallestSlice(SmallestSlice.Parameters(cost=0.002))
    assert sliced(rule, 9_000.0, [10_000.0], [1e6]).fraction.item() == 0.125
    # Closing costs more than it frees: all of it.
    assert sliced(SmallestSlice(SmallestSlice.Parameters(cost=0.02)), 9_000.0, [10_000.0], [1e6]).fraction.item() == 1.0
    assert (sliced(rule, -1.0, [10_000.0], [1e6]).fraction.item(), sliced(rule, -1.0, [10_000.0], [1e6]).keeps.item()) == (1.0, 0.0)


def test_paradex_cuts_in_fifths_until_the_margin_ratio_is_ninety_per_cent() -> None:
    # 88.8 / 80 = 111 %. (88.8 / 0.9 - 80) / (88.8 / 0.9) = 18.9 %: a fifth would do but for the penalty; at a cost of 4.44 % it takes two.
    ratio = 1.0 / 0.9
    free = SmallestSlice(SmallestSlice.Parameters(ratio=ratio, step=0.2, cost=0.0))
    dear = SmallestSlice(SmallestSlice.Parameters(ratio=ratio, step=0.2, cost=0.0444))
    assert sliced(free, 80.0, [88.8], [1_000.0]).fraction.item() == pytest.approx(0.2)
    assert sliced(dear, 80.0, [88.8], [1_000.0]).fraction.item() == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("penalty", "equity", "share"),
    [
        (0.5, 80.0, 0.4),  # the documentation's example: 53.28 of margin on 80 - 17.76 = 62.24, 85.6 %; a fifth would leave 71.04 on 71.12
        (0.7, 80.0, 0.6),  # 35.52 on 80 - 37.30 = 42.70, 83.2 %; two fifths would leave 53.28 on 55.14, 96.6 %
        (0.7, 95.0, 0.2),  # 71.04 on 95 - 12.43 = 82.57, 86.0 %
        (0.7, 62.0, 1.0),  # four fifths would leave 17.76 on 62 - 49.73 = 12.27
    ],
)
def test_paradex_takes_the_smallest_number_of_fifths_that_its_penalty_leaves_enough(penalty: float, equity: float, share: float) -> None:
    rule = SmallestSlice(SmallestSlice.Parameters(ratio=1.0 / 0.9, step=0.2, cost=0.0, margin_cost=penalty))
    assert sliced(rule, equity, [88.8], [1e3]).fraction.item() == pytest.approx(share)
    left = equity - share * penalty * 88.8
    assert (1.0 - share) * 88.8 <= 0.9 * left or share == 1.0


@pytest.mark.parametrize(("notional", "share"), [(5e4, 0.1), (5e3, 0.2), (500.0, 1.0)])
def test_dydx_closes_at_most_a_tenth_or_a_thousand_dollars_at_once(notional: float, share: float) -> None:
    rule = SmallestSlice(SmallestSlice.Parameters(most=0.1, least=1e3, cost=0.0))
    assert sliced(rule, 0.005 * notional, [0.03 * notional], [notional]).fraction.item() == pytest.approx(share)


def test_dydxs_limits_are_of_a_position_and_of_an_account() -> None:
    # A tenth of 2m and of 500,000, and 1,000 of 4,000: 251,000 USD in all, of which 100,000 may go in a block.
    rule = SmallestSlice(SmallestSlice.Parameters(most=0.1, least=1e3, cost=0.0))
    sizes = of(2e6, 5e5, 4e3)
    assert sliced(rule, 1e3, [60e3, 15e3, 120.0], sizes.tolist()).fraction[:, 0] == pytest.approx([0.1, 0.1, 0.25])
    limited = SmallestSlice(SmallestSlice.Parameters(most=0.1, least=1e3, cost=0.0, account=100e3))
    fraction = sliced(limited, 1e3, [60e3, 15e3, 120.0], sizes.tolist()).fraction[:, 0]
    assert fraction == pytest.approx(of(0.1, 0.1, 0.25) * 100.0 / 251.0)
    assert float(fraction @ sizes) == pytest.approx(100e3)


def test_okx_cuts_two_tiers_down_and_the_two_lowest_tiers_at_once() -> None:
    rule = ByTier(ByTier.Parameters(tiers=(100.0, 200.0, 400.0)))
    # The fourth tier goes to the top of the second, the third to the top of the first; a position in the second waits.
    slices = sliced(rule, 1.0, [10.0, 10.0, 10.0], [500.0, 250.0, 150.0])
    assert slices.fraction[:, 0].tolist() == [pytest.approx(0.6), pytest.approx(0.6), 0.0]
    assert slices.keeps.item() == 1.0
    low = sliced(rule, 1.0, [10.0, 10.0], [200.0, 50.0])
    assert (low.fraction.min(), low.keeps.item()) == (1.0, 0.0)
    assert sliced(rule, -1.0, [10.0], [500.0]).fraction.item() == 1.0


def test_okx_looks_again_about_a_minute_after_a_cut_unless_the_account_is_bankrupt() -> None:
    # 500 is cut to 200, the top of the second tier; half a minute later nothing more, after a minute all of the 200 at bankruptcy price.
    rule, state, found = ByTier(ByTier.Parameters(tiers=(100.0, 200.0, 400.0), cool_down=60.0)), None, []
    for seconds, equity, notional in ((0.0, 1.0, 500.0), (30.0, 1.0, 200.0), (60.0, 1.0, 200.0), (61.0, 1.0, 500.0), (62.0, -1.0, 200.0)):
        seen = LiquidationView(of(equity), of(10.0)[:, None], of(notional)[:, None], np.array([7]), seconds / 3600.0)
        slices, state = rule.rule(seen, state, None)
        found.append((slices.fraction.item(), slices.keeps.item()))
    assert found == [(pytest.approx(0.6), 1.0), (0.0, 0.0), (1.0, 0.0), (pytest.approx(0.6), 1.0), (1.0, 0.0)]


@pytest.mark.parametrize(("equity", "share", "keeps"), [(60.0, 0.1, 1.0), (49.0, 0.02, 0.0), (20.0, 0.6, 0.0), (-5.0, 1.0, 0.0)])
def test_ftx_closes_what_is_missing_of_the_auto_close_margin(equity: float, share: float, keeps: float) -> None:
    # 1 - MF / ACMF, auto-close at half of 100: with 20 left 60 % are missing, with 49 left 2 %.
    slices = sliced(AutoClose(), equity, [100.0], [1e4])
    assert (slices.fraction.item(), slices.keeps.item()) == (pytest.approx(share), keeps)


@pytest.mark.parametrize("tiers", [(), (2.0, 1.0), (1.0, 1.0), (0.0, 1.0)])
def test_tiers_out_of_order_are_refused(tiers: tuple[float, ...]) -> None:
    with pytest.raises(ValidationError):
        ByTier.Parameters(tiers=tiers)


def settled(equity, share=1.0, keeps=0.0, notional=10_000.0, rate=0.005) -> tuple[float, float, float]:
    outcome = settle(of(equity), of(share), of(keeps), rate * of(notional))
    return outcome.fee.item(), outcome.surplus.item(), outcome.deficit.item()


def test_better_than_bankruptcy_price_is_a_fee_and_a_surplus() -> None:
    # 200 USD left on 10,000 closed at 0.5 %: fee 50, surplus 150.
    assert settled(200.0) == (50.0, 150.0, 0.0)
    # The account keeps what is left where the rule says so, and half of it where it says half.
    assert settled(200.0, keeps=1.0) == (50.0, 0.0, 0.0)
    assert settled(200.0, keeps=0.5) == (50.0, 75.0, 0.0)


def test_at_bankruptcy_price_nothing_is_left_to_take() -> None:
    assert settled(0.0) == (0.0, 0.0, 0.0)


def test_worse_than_bankruptcy_price_is_a_deficit_without_a_fee() -> None:
    assert settled(-30.0) == (0.0, 0.0, 30.0)
    # A slice that carried 40 % of maintenance carries 40 % of the loss.
    assert settled(-30.0, share=0.4) == (0.0, 0.0, 12.0)


def test_the_fee_is_at_most_what_the_slice_has_left() -> None:
    # A slice with 10 % of 200 USD: the 50 USD fee is cut to 20.
    assert settled(200.0, share=0.1, keeps=1.0) == (20.0, 0.0, 0.0)


@given(st.floats(-1e6, 1e6), st.floats(0.0, 1.0), st.floats(0.0, 1.0), st.floats(0.0, 1e7), st.floats(0.0, 0.1))
@settings(max_examples=200, deadline=None)
def test_a_round_never_makes_a_deficit_by_charging(equity, share, keeps, notional, rate) -> None:
    fee, surplus, deficit = settled(equity, share, keeps, notional, rate)
    assert min(fee, surplus, deficit) >= 0.0
    assert fee + surplus <= share * max(equity, 0.0) * (1.0 + 1e-12)
    assert (deficit > 0.0) == (equity < 0.0 and share * -equity > 0.0)


def test_equity_is_split_over_positions_by_maintenance_margin_as_dydx_does() -> None:
    # 3 % of 1,000 and 5 % of 600: 30 each, half each, whatever the notionals.
    assert maintenance_shares(of(30.0, 30.0)[:, None], of(1000.0, 600.0)[:, None])[:, 0].tolist() == [0.5, 0.5]
    assert maintenance_shares(of(30.0, 10.0)[:, None], of(1000.0, 600.0)[:, None])[:, 0].tolist() == [0.75, 0.25]


def test_without_maintenance_equity_is_split_by_notional_then_equally() -> None:
    assert maintenance_shares(of(0.0, 0.0)[:, None], of(900.0, 100.0)[:, None])[:, 0].tolist() == [0.9, 0.1]
    # One account with maintenance beside one without: each by its own.
    shares = maintenance_shares(np.array([[30.0, 0.0], [10.0, 0.0]]), np.array([[1.0, 900.0], [1.0, 100.0]]))
    assert shares.tolist() == [[0.75, 0.9], [0.25, 0.1]]


@pytest.mark.parametrize("settings", [{"slice": 0.0}, {"slice": 1.5}, {"small": -1.0}, {"full_below": 2.0}, {"speed": 1.0}])
def test_impossible_settings_are_refused(settings) -> None:
    with pytest.raises(ValidationError):
        PartialThenFull.Parameters(**settings)
