"""Losses borne later: published formulas with numbers put in."""

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.deferral import WithdrawalFactor, clawback_rate, withdrawal_factor
from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.waterfall import LayerView


def test_paradexs_claims_are_cut_to_what_backs_them_and_not_by_what_its_example_prints() -> None:
    # 4,000 USD held against claims of 4,000 and 1,000: 1,000 / (4,000 + 1,000) = 20 %, at which all can be paid. The 25 % that the
    # documentation's example prints would leave 250 over.
    factor = withdrawal_factor(1_000.0, 0.0, 5_000.0)
    assert factor == 0.2
    assert (1.0 - factor) * 5_000.0 == 4_000.0


def test_the_factor_ends_with_the_shortfall_beyond_the_fund() -> None:
    assert withdrawal_factor(1_000.0, 400.0, 5_000.0) == 0.12
    assert withdrawal_factor(1_000.0, 1_000.0, 5_000.0) == 0.0
    assert withdrawal_factor(1_000.0, -5.0, 5_000.0) == 0.2
    assert withdrawal_factor(6_000.0, 0.0, 5_000.0) == 1.0
    assert withdrawal_factor(0.0, 0.0, 0.0) == 0.0


def test_who_withdraws_at_the_factor_leaves_it_as_it_is_for_the_others() -> None:
    # 1,000 of 5,000 are withdrawn and 200 of them kept: 800 / 4,000.
    assert withdrawal_factor(1_000.0 - 200.0, 0.0, 4_000.0) == 0.2


def test_okexs_winners_of_the_week_pay_what_the_fund_does_not() -> None:
    # August 2018: 2,500 BTC put in, some 1,200 left, 17-18 % of the week's net profits, which were then 6,700 to 7,100 BTC.
    assert clawback_rate(3_700.0, 2_500.0, 6_857.0) == pytest.approx(0.175, abs=5e-4)
    assert clawback_rate(3_700.0, 0.0, 3_000.0) == 1.0
    assert clawback_rate(2_000.0, 2_500.0, 6_857.0) == 0.0
    assert clawback_rate(2_000.0, 0.0, 0.0) == 0.0


def test_no_more_is_put_off_than_claims_are_there_to_bear_beyond_what_is_put_off_already() -> None:
    # 100 of claims, of which 70 are to bear an earlier loss: 30 are left.
    for loss, deferred in ((20.0, 20.0), (50.0, 30.0)):
        equity = np.array([60.0, 40.0])
        charge, _ = WithdrawalFactor().rule(LayerView(loss, 0.0, 0.0, equity, equity, equity, outstanding=70.0), None, None)
        assert charge.deferred == deferred


@pytest.mark.parametrize("kinds", [["withdrawal_factor", "fund"], ["clawback", "socialised_loss"], ["clawback", "withdrawal_factor"]])
def test_a_loss_left_open_is_the_last_thing_before_the_write_down(kinds: list[str]) -> None:
    with pytest.raises(ValidationError, match=f"expected `{kinds[0]}` next to last"):
        ClearinghouseParameters.model_validate({"waterfall": [{"type": kind} for kind in [*kinds, "write_down"]]})
