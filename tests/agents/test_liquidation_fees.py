"""Liquidation fees: published worked examples, the adaptive fee's form, and the bound that protects what remains."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from agents.clearinghouse.fees import FeeParameters
from agents.clearinghouse.liquidation import settle
from agents.clearinghouse.liquidation_fees import (
    Adaptive,
    Fee,
    FeeView,
    FlatFee,
    Headroom,
    RemainingEquity,
    ShareOfMargin,
    liquidation_fees,
)


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def view(**other: Any) -> FeeView:
    """10,000 USD of 20,000 executed, 400 of 600 USD maintenance still there: half of it, 200, is what the slices leave."""
    usual = FeeView(
        of(10_000.0),
        of(10_000.0)[:, None],
        of(200.0),
        of(1.0),
        of(400.0),
        of(600.0),
        of(0.5),
        of(20_000.0),
        of(0.6),
        of(0.0)[:, None],
        1e4,
        4e4,
    )
    return replace(usual, **other)


def fee(rule: Any, **other: Any) -> tuple[float, float]:
    found: Fee = rule.rule(view(**other), None, None)[0]
    return found.usd.item(), found.bounty.item()


def test_a_number_is_a_flat_rate() -> None:
    parameters = FeeParameters.model_validate({"liquidation": 0.0075})
    assert parameters.liquidation == FlatFee.Parameters(rate=0.0075)
    assert fee(liquidation_fees.build(parameters.liquidation)) == (75.0, 0.0)
    assert FeeParameters() == FeeParameters.model_validate({"liquidation": 5e-3})


def test_mcdex_divides_two_and_a_half_per_cent_between_fund_and_keeper() -> None:
    usd, bounty = fee(FlatFee(FlatFee.Parameters(rate=0.025, bounty=0.6)))
    assert (usd, bounty * usd) == (250.0, pytest.approx(150.0))


def test_paradexs_penalty_is_half_of_the_margin_that_is_closed_in_its_example() -> None:
    rule = ShareOfMargin(ShareOfMargin.Parameters(share=0.5))
    assert fee(rule, share=of(0.4), required=of(88.8))[0] == pytest.approx(17.76)


def test_ftx_gives_two_thirds_of_what_is_left_to_who_takes_it_and_nothing_of_a_slice_that_the_account_keeps() -> None:
    usd, bounty = fee(RemainingEquity(), keeps=of(0.0))
    assert (usd, bounty * usd) == (200.0, pytest.approx(400.0 / 3.0))
    assert fee(RemainingEquity(), keeps=of(1.0))[0] == 0.0


@pytest.mark.parametrize(
    ("equity", "rate"),
    [
        (400.0, 0.01 + 0.0095),  # 2 % are left; less the liquidator's 1 % and 5 % for safety
        (600.0, 0.01 + 0.015),  # 3 % would give 1.9 %: at most 1.5 %
        (150.0, 0.01),  # 0.75 % do not even pay the liquidator
    ],
)
def test_drifts_fund_takes_of_the_margin_ratio_that_is_left(equity: float, rate: float) -> None:
    usd, bounty = fee(Headroom(Headroom.Parameters(largest=0.015)), equity=of(equity))
    assert usd == pytest.approx(rate * 10_000.0)
    assert bounty * usd == pytest.approx(100.0)


def test_the_adaptive_fee_by_hand() -> None:
    # A third of margin is missing: 1 + 1/9. Volatility at four times its reference: 4^1.5 = 8. Half of the depth is taken: 1 + 2 x 0.5.
    rule = Adaptive(Adaptive.Parameters(base=0.001, largest=0.1, crowding=2.0, bounty=0.2, bounty_slope=0.4, bounty_largest=0.9))
    usd, bounty = fee(rule, volatility=of(2.4), crowding=of(0.5)[:, None])
    assert usd == pytest.approx(0.001 * 8.0 * (10.0 / 9.0) * 2.0 * 10_000.0)
    assert bounty == pytest.approx(0.2 + 0.4 * 0.25)
    assert fee(rule, capacity=0.0)[1] == 0.9
    assert fee(rule, crowding=of(np.inf)[:, None])[0] == 0.1 * 10_000.0
    # Below zero no more margin is missing than all of it.
    assert fee(rule, equity=of(-300.0))[0] == fee(rule, equity=of(0.0))[0] == pytest.approx(2.0 * 0.001 * 10_000.0)


@given(st.floats(0.05, 2.0), st.floats(0.01, 0.5), st.floats(0.0, 0.9), st.floats(0.01, 0.1))
@settings(max_examples=100, deadline=None)
def test_the_adaptive_fee_is_convex_in_volatility_and_in_the_shortage_of_margin(
    sigma: float, more: float, short: float, worse: float
) -> None:
    rule = Adaptive(Adaptive.Parameters(base=1e-6, largest=0.1))
    by_volatility = [fee(rule, volatility=of(sigma + k * more))[0] for k in range(3)]
    by_shortage = [fee(rule, equity=of(600.0 * (1.0 - min(short + k * worse / 2, 1.0))))[0] for k in range(3)]
    for low, middle, high in (by_volatility, by_shortage):
        assert low < middle < high or short + worse > 1.0
        assert high - middle >= (middle - low) * (1.0 - 1e-6)


PARAMETERS = st.one_of(
    st.builds(lambda rate: {"type": "flat", "rate": rate}, st.floats(0.0, 0.1)),
    st.builds(
        lambda kind, share: {"type": kind, "share": share}, st.sampled_from(["margin_share", "remaining_equity"]), st.floats(0.0, 1.0)
    ),
    st.builds(lambda a, b: {"type": "headroom", "liquidator": a, "largest": b}, st.floats(0.0, 0.1), st.floats(0.0, 0.1)),
    st.builds(
        lambda base, d: {"type": "adaptive", "base": base, "largest": 0.1, "crowding": d}, st.floats(0.0, 0.1), st.floats(0.0, 100.0)
    ),
)


@given(PARAMETERS, st.floats(0.0, 1e6), st.floats(0.0, 1e6), st.floats(1.0, 1e8), st.floats(1e-3, 0.999), st.floats(0.0, 5.0))
@settings(max_examples=300, deadline=None)
def test_no_fee_lowers_the_margin_ratio_of_what_remains(
    parameters: dict[str, Any], equity: float, required: float, held: float, share: float, crowding: float
) -> None:
    """A slice that takes `share` of the margin with it leaves (1 - share) of it; equity must not fall by more than `share` of itself."""
    rule = liquidation_fees.build(FeeParameters.model_validate({"liquidation": parameters}).liquidation)
    seen = view(
        notional=of(share * held), by_market=of(share * held)[:, None], left=of(share * equity), equity=of(equity), required=of(required),
        share=of(share), held=of(held), crowding=of(crowding)[:, None],
    )  # fmt: skip
    asked: Fee = rule.rule(seen, None, None)[0]
    assert 0.0 <= asked.bounty.item() <= 1.0
    charged = settle(of(equity), of(share), of(1.0), asked.usd).fee.item()
    assert charged >= 0.0
    assert equity - charged >= (1.0 - share) * equity * (1.0 - 1e-12)


@pytest.mark.parametrize(
    ("block", "word"),
    [
        (-0.01, "greater"),
        (0.5, "less"),
        (True, "mapping"),
        ({"type": "adaptive", "exponent": 0.5}, "exponent"),
        ({"type": "adaptive", "least": 0.05, "largest": 0.01}, "found 0.05, expected at most the largest fee, 0.01"),
        ({"type": "adaptive", "bounty": 0.2, "bounty_least": 0.5}, "bounty"),
        ({"type": "flat", "rate": 0.01, "share": 1.0}, "share"),
        ({"type": "tiered"}, "expected one of"),
    ],
)
def test_impossible_fees_are_refused(block: Any, word: str) -> None:
    with pytest.raises(ValidationError, match=word):
        FeeParameters.model_validate({"liquidation": block})
