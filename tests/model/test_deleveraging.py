"""Who is asked when contracts are deleveraged, and for how much."""

import pytest

from model.ledger import FUND, OUTSIDE, Flow
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


def layers(**settings: object) -> list[dict[str, object]]:
    return [{"type": "fund"}, {"type": "deleveraging", "rule": {"type": "pro_rata"}, **settings}, {"type": "write_down"}]


def test_half_the_severity_asks_winners_for_half_the_loss_and_passes_the_rest_on() -> None:
    # At 90 the long of 10 at 100 on 30 USD is 70 short; the fund has 20. Winners are asked for 25 of the other 50.
    one = exchange((30.0, 500.0), depth=0.0, fund=20.0, waterfall=layers(severity=0.5), route={"order": ["book"]})
    one.position(LONG, SHORT, 10.0)
    one.move(90.0)
    assert one.absorbed == {"fund": pytest.approx(20.0), "deleveraging": pytest.approx(25.0), "write_down": pytest.approx(25.0)}
    assert one.venue.haircuts is not None
    # The only winner gained 100 and keeps 75: over 25, over 25, and 25 less than was needed.
    assert one.venue.haircuts.measures() == pytest.approx((3.0, 3.0, -25.0, 0.0, 1.0))


def test_at_the_index_winners_trade_at_the_index_and_the_loss_goes_down_the_waterfall() -> None:
    # The mark stands 2 % below the index: at 90 it is 88.2. The long of 10 is 88 short at mark and 70 short at the index, which is what
    # it gets: the fund pays 70, and SHORT buys back 1.8 above mark.
    one = exchange((30.0, 500.0), depth=0.0, fund=80.0, waterfall=layers(price="index"), route={"order": ["book"]})
    one.position(LONG, SHORT, 10.0)
    one.venue.market.basis[:] = -0.02
    one.move(90.0)
    assert float(one.venue.ledger.marks[0]) == pytest.approx(88.2)
    assert one.absorbed == {"fund": pytest.approx(70.0)}
    assert one.equity(LONG, SHORT) == pytest.approx([0.0, 600.0])
    assert one.venue.haircuts is not None
    assert one.venue.haircuts.given[SHORT] == pytest.approx(18.0)


def test_who_gains_by_a_deleveraging_at_the_index_gives_nothing() -> None:
    # The mark stands 2 % above the index: at 90 it is 91.8, at which the long of 10 lacks 52, more than the fund has. SHORT buys back 1.8
    # below the mark, and the long lacks 70 then.
    one = exchange((30.0, 500.0), depth=0.0, fund=50.0, waterfall=layers(price="index"), route={"order": ["book"]})
    one.position(LONG, SHORT, 10.0)
    one.venue.market.basis[:] = 0.02
    one.move(90.0)
    assert sum(one.absorbed.values()) == pytest.approx(70.0)
    assert one.venue.haircuts is not None
    assert one.venue.haircuts.given[SHORT] == 0.0


def test_while_the_fund_has_lost_too_much_of_late_winners_pay_before_it() -> None:
    # A fund of 1,000 that stands at 690 has lost 31 %: the loss of 70 is the winner's though the fund could pay it ten times.
    for balance, bearer in ((690.0, "deleveraging"), (710.0, "fund")):
        one = exchange((30.0, 500.0), depth=0.0, fund=balance, waterfall=layers(drawdown=0.3), route={"order": ["book"]})
        one.position(LONG, SHORT, 10.0)
        one.venue.drawdown.observe(1_000.0, 1.0)
        one.move(90.0)
        assert one.absorbed == {bearer: pytest.approx(70.0)}
        if bearer == "deleveraging":
            assert one.venue.haircuts is not None
            assert one.venue.haircuts.measures()[2] == pytest.approx(70.0)  # none of it was needed


def test_a_spared_fund_takes_nothing_over() -> None:
    # At 96 the long is breached and not bankrupt: the fund takes its contracts over, unless it has lost too much.
    for peak, held in ((1_000.0, 10.0), (2_000.0, 0.0)):
        one = exchange((60.0, 500.0), depth=0.0, fund=1_000.0, waterfall=layers(drawdown=0.3), route={"order": ["takeover"]})
        one.position(LONG, SHORT, 10.0)
        one.venue.drawdown.observe(peak, 1.0)
        one.move(96.0)
        assert one.held(FUND) == [held]
