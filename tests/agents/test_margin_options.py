"""Options taken one by one, against the venues' published formulas worked by hand."""

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.margin import Margin, MarginView
from agents.clearinghouse.margin_options import StandardOptions

INDEX = 50_000.0


def asked(held: float, strike: float, sign: float, mark: float, index: float = INDEX, **settings: float) -> Margin:
    """Margin of an account with options of one kind."""
    rule = StandardOptions(StandardOptions.Parameters(**settings))  # type: ignore[arg-type]
    view = MarginView(
        np.array([[held]]),
        np.array([[abs(held) * index]]),
        np.array([mark]),
        np.array([index]),
        strike=np.array([strike]),
        sign=np.array([sign]),
    )
    return rule.rule(view, None, None)[0]


@pytest.mark.parametrize(
    ("strike", "sign", "mark", "initial", "maintenance"),
    [
        # Calls. At the money 15 % of 50,000; 2,000 out of it 7,500 - 2,000; further out at least 10 %. Kept with 7.5 %.
        (50_000.0, 1.0, 2_000.0, 7_500.0 + 2_000.0, 3_750.0 + 2_000.0),
        (52_000.0, 1.0, 1_100.0, 5_500.0 + 1_100.0, 3_750.0 + 1_100.0),
        (60_000.0, 1.0, 300.0, 5_000.0 + 300.0, 3_750.0 + 300.0),
        # Puts: the same, 1,000 out of the money.
        (49_000.0, -1.0, 1_500.0, 6_500.0 + 1_500.0, 3_750.0 + 1_500.0),
        # Far in the money 7.5 % of the mark are more than 7.5 % of the index, and than 15 % of it: 0.075 x 150,000 = 11,250.
        (200_000.0, -1.0, 150_000.0, 11_250.0 + 150_000.0, 11_250.0 + 150_000.0),
    ],
)
def test_deribits_standard_margin_of_a_short_option(strike: float, sign: float, mark: float, initial: float, maintenance: float) -> None:
    # Published (the formulas at second hand): the mark included, of a balance that does not count it. Equity has paid the mark already.
    margin = asked(-3.0, strike, sign, mark)
    assert margin.initial.item() + 3.0 * mark == pytest.approx(3.0 * initial)
    assert margin.by_market.item() + 3.0 * mark == pytest.approx(3.0 * maintenance)


def test_aevo_keeps_short_options_with_a_tenth() -> None:
    margin = asked(-2.0, 51_000.0, 1.0, 1_400.0, short_maintenance=0.10)
    assert margin.initial.item() == pytest.approx(2.0 * (7_500.0 - 1_000.0))
    assert margin.by_market.item() == pytest.approx(2.0 * 5_000.0)


def test_a_long_option_is_paid_in_full_and_margins_nothing_else() -> None:
    margin = asked(2.0, 52_000.0, 1.0, 1_100.0)
    assert (margin.initial.item(), margin.by_market.item()) == (2_200.0, 2_200.0)


def test_other_contracts_are_margined_by_the_ramp() -> None:
    # 100 BTC of perpetual at 50,000: 2.5 % and 1.5 %; the calls beside them add their own.
    position = np.array([[100.0], [-1.0]])
    view = MarginView(
        position,
        np.array([[5e6], [50e3]]),
        np.array([INDEX, 2_000.0]),
        np.array([INDEX, INDEX]),
        strike=np.array([0.0, 50_000.0]),
        sign=np.array([0.0, 1.0]),
    )
    margin, _ = StandardOptions().rule(view, None, None)
    assert margin.initial.item() == pytest.approx(125e3 + 7_500.0)
    assert margin.by_market[:, 0].tolist() == pytest.approx([75e3, 3_750.0])


def test_rates_out_of_order_are_refused() -> None:
    with pytest.raises(ValidationError, match="short_maintenance"):
        StandardOptions.Parameters(short_maintenance=0.2)
