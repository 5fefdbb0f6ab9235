"""Value accrual: who has the surplus, what a token costs, and what a stake brings when it is needed."""

import math
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.value import Book, BuyBack, Payout, PayStakers, Retain, Stake, Stakers, SurplusView
from agents.clearinghouse.waterfall import LayerView

NOTHING = np.zeros(0)


@pytest.mark.parametrize(
    ("rule", "paid"), [(Retain, Payout(retained=20.0)), (BuyBack, Payout(bought_back=20.0)), (PayStakers, Payout(stakers=20.0))]
)
def test_a_rule_takes_its_share_and_the_exchange_keeps_it_until_the_fund_has_what_it_should(rule: Any, paid: Payout) -> None:
    one = rule(rule.Parameters(share=0.2, above=1.5))
    assert one.rule(SurplusView(100.0, 15.0, 10.0), None, None)[0] == paid
    assert one.rule(SurplusView(100.0, 14.9, 10.0), None, None)[0] == Payout(retained=20.0)


def test_a_sale_of_tokens_brings_less_the_more_of_them_there_are() -> None:
    # 2 USD a token and a depth of 1 m: selling 1 m x ln 2 halves the price and brings 2 x 1 m x (1 - 1/2) = 1 m; no sale brings 2 m.
    book = Book(2.0, 1e6)
    assert book.raises(1e6 * math.log(2.0)) == pytest.approx(1e6)
    assert book.units_for(1e6, 1e12) == pytest.approx(1e6 * math.log(2.0))
    assert book.raises(1e12) == pytest.approx(2e6)
    # To bring all but a billionth of that takes 1 m x ln 1e9 tokens; nobody sells more, nor anything for less than a millionth of a dollar.
    assert book.units_for(2e6, 3e7) == book.units_for(2e6 * (1.0 - 1e-15), 3e7) == pytest.approx(1e6 * 9.0 * math.log(10.0))
    assert book.units_for(1e6, 1e3) == 1e3
    assert Book(1e-13, 1e6).units_for(1.0, 1e9) == 0.0
    assert Book(1e-22, 1e6).bought_for(1.0) == 0.0
    # Buying for as much as all is worth at depth: 1 m x ln 2 tokens, and the price doubles.
    assert book.bought_for(2e6) == pytest.approx(1e6 * math.log(2.0))


def test_stakers_bear_what_a_part_of_their_tokens_brings() -> None:
    stake = Stake(2e6 * math.log(2.0), Book(2.0, 1e6))
    layer = Stakers(Stakers.Parameters(share=0.5))
    for loss, borne in ((3e6, 1e6), (4e5, 4e5)):
        view = LayerView(loss, 0.0, 0.0, NOTHING, NOTHING, NOTHING, stake=stake)
        assert layer.rule(view, None, None)[0].stakers == pytest.approx(borne)


FIRST = [{"type": "stakers"}, {"type": "fund"}, {"type": "write_down"}]


@pytest.mark.parametrize(
    ("house", "fault"),
    [
        ({"waterfall": FIRST}, "found `stakers` in an impossible waterfall, expected `token` to be set"),
        ({"value_accrual": [{"type": "buy_back"}]}, "found `buy_back` without a token"),
        (
            {"value_accrual": [{"type": "treasury", "share": 0.7}, {"type": "treasury", "share": 0.4}]},
            r"found 1\.1 times the surplus with those before, expected at most all of it",
        ),
        ({"token": {"fund_share": 0.5}, "pools": {"currency": "underlying"}}, "fund partly in tokens, expected it pooled"),
        ({"token": {"fund_share": 0.5}, "waterfall": FIRST}, "to be sold for one loss, expected one or the other"),
        (
            {"token": {"fund_share": 0.5, "revenue": 1e6}},
            r"found 3e\+07 USD of the fund in tokens, expected at most 1\.28758e\+06, what others hold",
        ),
    ],
)
def test_what_cannot_be_is_refused(house: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        ClearinghouseParameters.model_validate(house)


def test_what_rules_take_adds_up() -> None:
    assert Payout(1.0, 2.0, 3.0) + Payout(10.0, 20.0, 30.0) == Payout(11.0, 22.0, 33.0)
