"""Liquidation rules, and the bankruptcy-price accounting of a round."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.clearinghouse.liquidation import FullAtBankruptcy, LiquidationView, PartialThenFull, Slices, maintenance_shares, settle


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


def test_large_is_an_account_not_a_market() -> None:
    assert sliced(PartialThenFull(), 900.0, [500.0, 500.0], [60e3, 60e3]).fraction[:, 0].tolist() == [0.2, 0.2]


def test_bitmex_closes_everything_and_keeps_what_is_left() -> None:
    slices = sliced(FullAtBankruptcy(), 900.0, [500.0, 500.0], [60e3, 0.0])
    assert (slices.fraction.min(), slices.keeps.item()) == (1.0, 0.0)


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
