"""What a venue collects from accounts and pays out, with the arithmetic worked by hand."""

import numpy as np
import pytest

from model.ledger import FUND, OUTSIDE, TREASURY, Flow
from tests.validation.handmade import FIRST, MAKER, Handmade, handmade, owing

A, B, C = FIRST, FIRST + 1, FIRST + 2


# -- collecting ---------------------------------------------------------------------------------------------------------------------


def due(one: Handmade, **who: float) -> np.ndarray:
    """Charges (> 0) and credits (< 0) of rows by letter; the outside world balances them."""
    amounts = np.zeros(one.venue.ledger.rows)
    for letter, usd in who.items():
        amounts[{"a": A, "b": B, "c": C, "fund": FUND}[letter]] = usd
    amounts[OUTSIDE] = -amounts.sum()
    return amounts


@pytest.mark.parametrize(
    ("asked", "moved"),
    [
        ({"a": 30.0, "b": -20.0, "c": -10.0}, {"a": 30.0, "b": -20.0, "c": -10.0}),
        # 100 are there of the 150 asked: two thirds of 100 and of 50.
        ({"a": 150.0, "b": -100.0, "c": -50.0}, {"a": 100.0, "b": -200.0 / 3.0, "c": -100.0 / 3.0}),
        # Who can pay pays in full: 100 of 120 and 80 of 80, for 200.
        ({"a": 120.0, "b": 80.0, "c": -200.0}, {"a": 100.0, "b": 80.0, "c": -180.0}),
    ],
)
def test_nobody_pays_more_than_its_equity_and_receivers_share_what_is_paid(asked: dict[str, float], moved: dict[str, float]) -> None:
    one = handmade([100.0, 100.0, 100.0])
    found = one.venue.collect(Flow.FUNDING, due(one, **asked))
    expected = [moved.get(letter, 0.0) for letter in "abc"]
    assert found[[A, B, C]] == pytest.approx(expected)
    assert one.equity(A, B, C) == pytest.approx([100.0 - usd for usd in expected], abs=1e-9)
    one.venue.ledger.check(1)


def test_nothing_is_credited_that_nobody_can_pay() -> None:
    one = owing(handmade([10.0, 10.0]), A, 12.0)
    assert not one.venue.collect(Flow.FUNDING, due(one, a=5.0, b=-5.0))[[A, B]].any()
    assert one.equity(A, B) == pytest.approx([-2.0, 10.0])


def test_equity_at_mark_and_not_cash_is_what_an_account_can_pay() -> None:
    # Bought 10 at 100 on 50: cash of -950, worth 50.
    one = handmade([50.0])
    one.position(A, MAKER, 10.0, 100.0)
    assert one.venue.ledger.cash[A] == pytest.approx(-950.0)
    one.venue.collect(Flow.FUNDING, due(one, a=20.0, fund=-20.0))
    assert one.equity(A, FUND) == pytest.approx([30.0, 20.0])


# -- custody, capital, open interest ------------------------------------------------------------------------------------------------


def test_no_more_is_paid_out_than_custody_holds() -> None:
    # 10,000 of the maker's and 200: of 12,750 wanted 10,200 / 12,750 = 80 % can be paid.
    one = handmade([200.0])
    assert [one.venue.within_custody(usd) for usd in (0.0, 10_200.0, 12_750.0)] == pytest.approx([1.0, 1.0, 0.8])
    owing(one, A, 10_300.0)
    assert one.venue.within_custody(50.0) == 0.0


def test_what_the_exchange_earns_beyond_its_capital_goes_to_its_owners_as_far_as_custody_goes() -> None:
    one = handmade([], capital=1_000.0, maker=0.0)
    one.venue.parameters = one.venue.parameters.model_copy(update={"capital": 400.0})
    one.venue.distribute()
    assert one.equity(TREASURY) == pytest.approx([400.0])
    one.venue.distribute()
    assert one.equity(TREASURY) == pytest.approx([400.0])
    # 600 beyond, and 240 in custody: 600 x 240 / 600.
    one.venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, 600.0)
    owing(one, A - 1, 760.0)
    one.venue.distribute()
    assert one.equity(TREASURY) == pytest.approx([760.0])
    assert one.venue.ledger.custody == pytest.approx(0.0)


def test_open_interest_is_one_side_at_mark() -> None:
    # 10 and 5 long against 15 short at 100; the fund's contracts count too.
    one = handmade([500.0, 500.0], fund=1_000.0)
    one.position(A, MAKER, 10.0, 100.0)
    one.position(FUND, B, 5.0, 100.0)
    assert one.venue.open_interest() == pytest.approx([1_500.0])
