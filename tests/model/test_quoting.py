"""What makers show, and how what was taken over is sold, with the arithmetic worked by hand."""

import numpy as np
import pytest

from model import quoting
from model.ledger import FUND
from model.quoting import CRUMB
from tests.validation.handmade import LIQUIDATOR, MAKER, handmade, of


def test_a_market_s_depth_multiplier_is_a_factor_on_what_makers_show() -> None:
    # Still markets: 0.3m within ten basis points, and a quarter of 0.3m.
    one = handmade([], [100.0, 10.0], depth=3e5, maker=1e6)
    one.venue.depth_multiplier = of(1.0, 0.25)
    quoting.requote(one.venue, one.venue.ledger)
    assert one.venue.market.depth.tolist() == [pytest.approx([3e5, 0.75e5])] * 2


def test_what_was_taken_over_is_sold_at_its_rate_and_crumbs_whole() -> None:
    # The fund's rate an hour is in its route, liquidators have their own; a crumb is less than 1,000 USD.
    one = handmade([], [100.0, 10.0], fund=1e6, liquidator=1e6, route={"order": ["book"], "unwind_rate": 0.1})
    one.position(FUND, MAKER, 40.0, 100.0)
    one.position(MAKER, LIQUIDATOR, 40.0, 100.0)
    one.position(LIQUIDATOR, MAKER, 99.0, 10.0, market=1)
    who, orders = quoting.unwinding(one.venue, 2.0)
    assert who.tolist() == [FUND, LIQUIDATOR]
    assert 40.0 * 100.0 > CRUMB > 99.0 * 10.0
    rate = one.venue.liquidator_parameters.unwind_rate
    assert rate != 0.1
    assert orders[0] == pytest.approx([-40.0 * (1.0 - np.exp(-0.2)), 40.0 * (1.0 - np.exp(-2.0 * rate))])
    assert orders[1].tolist() == [0.0, -99.0]
