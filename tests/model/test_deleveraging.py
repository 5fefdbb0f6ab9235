"""Who is asked when contracts are deleveraged, and for how much."""

import pytest

from model.ledger import OUTSIDE, Flow
from tests.model.test_clearing import DELEVERAGE, LONG, OTHER, SHORT, exchange


def test_winners_below_their_own_margin_are_not_deleveraged() -> None:
    # At 96 the long of 10 at 100 on 30 USD is 10 short: 1 a contract. SHORT has gained 24 on its 6, but 26 of equity are below the
    # maintenance of 28.8: only OTHER's 4 leave at 97. The other 6 leave at mark, and their 6 USD are written off.
    one = exchange((30.0, 2.0, 500.0), depth=0.0, waterfall=DELEVERAGE, route={"order": ["book"]})
    one.position(LONG, SHORT, 6.0)
    one.position(LONG, OTHER, 4.0)
    one.move(96.0)
    assert one.absorbed == {"deleveraging": pytest.approx(4.0), "write_down": pytest.approx(6.0)}
    keeps = 1.0 - 6.0 / (26.0 + 512.0 + 11_000.0)
    assert one.equity(SHORT, OTHER) == pytest.approx([26.0 * keeps, 512.0 * keeps])


def test_nobody_gives_more_than_its_equity_whatever_it_has_gained() -> None:
    # At 94 the long of 10 at 100 on 30 USD is 30 short: 3 a contract. SHORT has gained 36 on its 6 but has taken 30 of them out: its
    # equity of 12 pays for 4 contracts; a maintenance of 0.1 % of 564 leaves it unbreached. OTHER gives 4 x 3. The two contracts
    # that are left leave at mark: 6.
    slim = {"type": "fixed_leverage", "initial": 0.01, "maintenance": 0.001}
    one = exchange((30.0, 6.0, 500.0), depth=0.0, waterfall=DELEVERAGE, route={"order": ["book"]}, margin=slim)
    one.position(LONG, SHORT, 6.0)
    one.position(LONG, OTHER, 4.0)
    one.venue.ledger.transfer(Flow.WITHDRAWAL, SHORT, OUTSIDE, 30.0)
    one.move(94.0)
    assert one.absorbed == {"deleveraging": pytest.approx(24.0), "write_down": pytest.approx(6.0)}
    keeps = 1.0 - 6.0 / (512.0 + 11_000.0)
    assert one.equity(SHORT, OTHER) == pytest.approx([0.0, 512.0 * keeps], abs=1e-9)
