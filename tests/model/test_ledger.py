"""The ledger: every verb closes, every law is noticed when it is broken."""

import copy

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from model.errors import LawViolation
from model.ledger import FUND, OUTSIDE, SETTLEMENT, TREASURY, Flow, Ledger, Role, Status

MARKS = np.array([100.0, 10.0])


def rows(*given: int) -> np.ndarray:
    return np.array(given, dtype=np.intp)


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


@pytest.fixture
def ledger() -> Ledger:
    """Two markets, three traders (rows 4, 5, 6) with 1,000 USD each, 500 USD in the fund."""
    ledger = Ledger(MARKS, supply=of(50.0, 70.0))
    traders = ledger.open(3, Role.TRADER)
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, traders, np.full(3, 1000.0))
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, 500.0)
    ledger.begin_step()
    return ledger


def swap(ledger: Ledger, market: int, buyer: int, seller: int, quantity: float, price: float) -> None:
    ledger.trade(market, rows(buyer), of(quantity), price, rows(seller), of(-quantity), price)


def test_deposits_are_what_the_outside_world_owes_and_what_custody_holds(ledger: Ledger) -> None:
    # 3 x 1,000 + 500
    assert ledger.cash[OUTSIDE] == -3500.0
    assert ledger.custody == 3500.0
    assert ledger.fund == 500.0
    assert ledger.treasury == 0.0
    ledger.check(0)


def test_a_transfer_from_many_to_one_moves_each_amount_and_itemises_the_funds_part(ledger: Ledger) -> None:
    moved = ledger.transfer(Flow.LIQUIDATION_FEE, rows(4, 5), FUND, of(10.0, 20.0))
    assert moved == 30.0
    assert ledger.cash[[4, 5, 6, FUND]].tolist() == [990.0, 980.0, 1000.0, 530.0]
    assert ledger.transfer(Flow.DRAW_EXECUTION, FUND, SETTLEMENT, 7.0) == 7.0
    assert ledger.statement == {Flow.LIQUIDATION_FEE: 30.0, Flow.DRAW_EXECUTION: -7.0}
    assert ledger.flows == {Flow.LIQUIDATION_FEE: 30.0, Flow.DRAW_EXECUTION: 7.0}


def test_one_payment_among_all_rows_sums_to_zero_and_itemises_the_funds_part(ledger: Ledger) -> None:
    amounts = np.zeros(ledger.rows)
    amounts[[4, 5, FUND]] = [-30.0, 20.0, 10.0]
    ledger.pay(Flow.FUNDING, amounts)
    assert ledger.cash[[4, 5, FUND, OUTSIDE]].tolist() == [970.0, 1020.0, 510.0, -3500.0]
    # 30 USD changed hands
    assert ledger.flows == {Flow.FUNDING: 30.0}
    assert ledger.statement == {Flow.FUNDING: 10.0}
    ledger.check(0)


def test_a_trade_at_mark_changes_nobodys_equity_and_one_off_mark_moves_the_difference(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 5, 2.0, 100.0)
    assert ledger.equity(rows(4, 5)).tolist() == [1000.0, 1000.0]
    # Two contracts bought 3 USD above mark: 6 USD from buyer to seller.
    swap(ledger, 0, 4, 5, 2.0, 103.0)
    assert ledger.equity(rows(4, 5)).tolist() == [994.0, 1006.0]
    assert ledger.exposure[0, 4:6].tolist() == [4.0, 4.0]
    ledger.check(0)


def test_entry_prices_are_averaged_on_increase_kept_on_reduction_reset_on_a_flip(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 5, 1.0, 100.0)
    swap(ledger, 0, 4, 5, 3.0, 120.0)
    # (1 x 100 + 3 x 120) / 4
    assert ledger.entry[0, [4, 5]].tolist() == [115.0, 115.0]
    swap(ledger, 0, 5, 4, 2.0, 90.0)
    assert ledger.entry[0, [4, 5]].tolist() == [115.0, 115.0]
    swap(ledger, 0, 5, 4, 5.0, 80.0)
    assert ledger.position[0, [4, 5]].tolist() == [-3.0, 3.0]
    assert ledger.entry[0, [4, 5]].tolist() == [80.0, 80.0]
    swap(ledger, 0, 4, 5, 3.0, 70.0)
    assert ledger.entry[0, [4, 5]].tolist() == [0.0, 0.0]
    assert not ledger.exposure.any()


def test_closing_the_merest_dust_leaves_no_entry_price_behind(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 5, 1e-200, 100.0)
    swap(ledger, 0, 5, 4, 1e-200, 100.0)
    assert ledger.entry[0, [4, 5]].tolist() == [0.0, 0.0]
    swap(ledger, 0, 4, 5, 1e9, 100.0)
    with np.errstate(all="raise"):
        swap(ledger, 0, 5, 4, 1e9, 100.0)


def test_a_trade_that_leaves_rounding_alone_closes_the_position(ledger: Ledger) -> None:
    # 20.23 less two parts in 10^15 of it: nothing is held, at no price. A millionth part is a position like any other.
    swap(ledger, 0, 4, 5, 20.23, 100.0)
    swap(ledger, 0, 5, 4, 20.23 * (1.0 - 2e-15), 100.0)
    assert not ledger.position.any()
    assert not ledger.exposure.any()
    assert not ledger.entry.any()
    swap(ledger, 0, 4, 5, 20.23, 100.0)
    swap(ledger, 0, 5, 4, 20.23 * (1.0 - 1e-6), 90.0)
    assert ledger.position[0, [4, 5]] == pytest.approx([20.23e-6, -20.23e-6])
    assert ledger.entry[0, [4, 5]].tolist() == [100.0, 100.0]


def test_marks_move_equity_between_accounts_but_not_its_sum(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 5, 2.0, 100.0)
    swap(ledger, 1, 6, 4, 5.0, 10.0)
    before = ledger.equity()
    ledger.mark(of(90.0, 13.0))
    # Row 4: 2 x -10 and -5 x 3; row 5: -2 x -10; row 6: 5 x 3.
    assert (ledger.equity() - before)[4:].tolist() == [-35.0, 20.0, 15.0]
    assert ledger.equity().sum() == pytest.approx(0.0, abs=1e-9)
    ledger.mark(MARKS)
    assert ledger.equity().tolist() == before.tolist()


def test_the_statement_is_the_change_of_the_funds_equity_inventory_included(ledger: Ledger) -> None:
    opening = ledger.fund
    # Taken over at mark: no result. Then the mark falls: 2 x -10. Sold 4 USD below mark: 2 x -4.
    swap(ledger, 0, FUND, 4, 2.0, 100.0)
    ledger.mark(of(90.0, 10.0))
    swap(ledger, 0, 5, FUND, 2.0, 86.0)
    ledger.transfer(Flow.SURPLUS, 6, FUND, 11.0)
    assert ledger.statement == {Flow.INVENTORY_RESULT: -28.0, Flow.SURPLUS: 11.0}
    assert ledger.fund - opening == -17.0


def test_spot_is_bought_from_the_outside_world_at_its_price(ledger: Ledger) -> None:
    ledger.trade_spot(1, rows(4, 5), of(3.0, -1.0), 20.0)
    assert ledger.cash[[4, 5, OUTSIDE]].tolist() == [940.0, 1020.0, -3460.0]
    assert ledger.spot[1, [4, 5, OUTSIDE]].tolist() == [3.0, -1.0, 68.0]
    ledger.check(0)


def test_a_tear_up_turns_contracts_into_cash_at_mark(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 5, 2.0, 100.0)
    ledger.mark(of(130.0, 10.0))
    ledger.tear_up()
    # 1,000 +- 2 x 30
    assert ledger.cash[[4, 5]].tolist() == [1060.0, 940.0]
    assert not ledger.position.any()
    assert not ledger.entry.any()
    ledger.check(0)


def test_a_compact_ledger_put_back_unchanged_changes_nothing_and_its_trades_arrive(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 6, 2.0, 100.0)
    walked = rows(0, 1, 2, 3, 4, 6)
    before = ledger.cash.copy(), ledger.position.copy(), ledger.entry.copy()
    ledger.put(walked, ledger.take(walked))
    assert all((now == then).all() for now, then in zip((ledger.cash, ledger.position, ledger.entry), before, strict=True))
    part = ledger.take(walked)
    part.mark(of(110.0, 10.0))
    # In the compact ledger rows 4 and 6 are 4 and 5.
    swap(part, 0, 5, 4, 2.0, 110.0)
    part.transfer(Flow.SURPLUS, 4, FUND, 20.0)
    ledger.put(walked, part)
    assert ledger.cash[4:].tolist() == [1000.0, 1000.0, 980.0]
    assert ledger.marks.tolist() == [110.0, 10.0]
    assert ledger.statement == {Flow.SURPLUS: 20.0}
    ledger.check(0)


def test_rows_are_appended_for_ever_and_keep_what_they_hold(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 5, 1.0, 100.0)
    fresh = ledger.open(1000, Role.LIQUIDATOR)
    assert fresh.tolist() == list(range(7, 1007))
    assert ledger.cash[4] == 900.0
    assert ledger.position[0, [4, 5]].tolist() == [1.0, -1.0]
    assert set(ledger.role[fresh].tolist()) == {Role.LIQUIDATOR}
    assert set(ledger.status.tolist()) == {Status.ACTIVE}
    ledger.check(0)


def test_a_deep_copy_is_a_ledger_of_its_own_whose_walked_rows_arrive(ledger: Ledger) -> None:
    twin = copy.deepcopy(ledger)
    part = twin.take(rows(0, 1, 2, 3, 4))
    part.transfer(Flow.SURPLUS, 4, FUND, 20.0)
    twin.put(rows(0, 1, 2, 3, 4), part)
    assert twin.cash[[4, FUND]].tolist() == [980.0, 520.0]
    assert ledger.cash[[4, FUND]].tolist() == [1000.0, 500.0]
    twin.check(0)


def _cash(ledger: Ledger) -> None:
    ledger.cash[4] += 1.0


def _contracts(ledger: Ledger) -> None:
    ledger.position[1, 4] += 1.0


def _spot(ledger: Ledger) -> None:
    ledger.spot[0, 4] += 1.0


def _finite(ledger: Ledger) -> None:
    ledger.cash[5] = np.nan


def _settlement(ledger: Ledger) -> None:
    ledger.transfer(Flow.DEFICIT, SETTLEMENT, 4, 3.0)


def _below(ledger: Ledger) -> None:
    ledger.transfer(Flow.WITHDRAWAL, rows(6), OUTSIDE, of(1001.0))


@pytest.mark.parametrize(
    ("broken", "law", "who"),
    [
        (_cash, "cash is closed", []),
        (_contracts, r"contracts are closed \(markets \[1\]\)", []),
        (_spot, r"spot are closed \(markets \[0\]\)", []),
        (_finite, "every balance is finite", [5]),
        (_settlement, "losses are conserved", [SETTLEMENT]),
        (_below, "no closed account is below zero", [6]),
    ],
)
def test_a_broken_law_is_named_with_its_step_and_rows(ledger, broken, law, who) -> None:
    ledger.check(12)
    broken(ledger)
    with pytest.raises(LawViolation, match=f"^step 12: .*{law}") as caught:
        ledger.check(12)
    assert (caught.value.step, caught.value.rows.tolist()) == (12, who)


def test_an_open_account_may_be_below_zero_until_it_is_closed(ledger: Ledger) -> None:
    swap(ledger, 0, 4, 5, 1.0, 100.0)
    ledger.transfer(Flow.WITHDRAWAL, rows(4), OUTSIDE, of(1200.0))
    ledger.check(1)
    swap(ledger, 0, 5, 4, 1.0, 100.0)
    with pytest.raises(LawViolation, match="no closed account is below zero"):
        ledger.check(1)


usd = st.floats(0.0, 1e6)
units = st.integers(-8000, 8000).map(lambda eighths: eighths / 8.0)
prices = st.floats(0.01, 1e5)


class AnyVerbs(RuleBasedStateMachine):
    """Any verbs in any order: what is closed stays closed, and the statement explains the fund."""

    @initialize(count=st.integers(2, 5))
    def begin(self, count: int) -> None:
        self.ledger = Ledger(MARKS, supply=of(1e3, 1e3))
        self.ledger.open(count, Role.TRADER)
        self.opening = self.ledger.fund

    def _row(self, number: int) -> int:
        return number % self.ledger.rows

    @rule(kind=st.sampled_from(Flow), payer=st.integers(0, 99), payee=st.integers(0, 99), amount=usd)
    def transfer(self, kind: Flow, payer: int, payee: int, amount: float) -> None:
        self.ledger.transfer(kind, self._row(payer), self._row(payee), amount)

    @rule(kind=st.sampled_from(Flow), house=st.sampled_from([OUTSIDE, FUND, TREASURY, SETTLEMENT]), amount=usd, inward=st.booleans())
    def transfer_many(self, kind: Flow, house: int, amount: float, inward: bool) -> None:
        many = np.arange(self.ledger.house, self.ledger.rows)
        amounts = amount / np.arange(1, many.size + 1)
        self.ledger.transfer(kind, *((many, house) if inward else (house, many)), amounts)

    @rule(kind=st.sampled_from(Flow), values=st.lists(units, min_size=1, max_size=8))
    def pay(self, kind: Flow, values: list[float]) -> None:
        amounts = np.resize(np.array(values), self.ledger.rows)
        self.ledger.pay(kind, amounts - amounts.mean())

    @rule(market=st.integers(0, 1), one=st.integers(0, 99), other=st.integers(1, 98), quantity=units, price=prices)
    def trade(self, market: int, one: int, other: int, quantity: float, price: float) -> None:
        buyer, seller = self._row(one), self._row(one + 1 + other % (self.ledger.rows - 1))
        swap(self.ledger, market, buyer, seller, quantity, price)

    @rule(market=st.integers(0, 1), quantities=st.lists(units, min_size=2, max_size=2), price=st.lists(prices, min_size=2, max_size=2))
    def trade_at_several_prices(self, market: int, quantities: list[float], price: list[float]) -> None:
        # The fund takes over from two accounts, each at its own price; it pays their average.
        quantity, at = np.abs(quantities), np.array(price)
        total = quantity.sum()
        if total < 1e-3:
            return
        self.ledger.trade(market, rows(4, 5), quantity, at, rows(FUND), of(-total), float(quantity @ at / total))

    @rule(market=st.integers(0, 1), quantity=st.lists(units, min_size=2, max_size=2), price=prices)
    def trade_spot(self, market: int, quantity: list[float], price: float) -> None:
        self.ledger.trade_spot(market, rows(4, 5), np.array(quantity), price)

    @rule(marks=st.lists(prices, min_size=2, max_size=2))
    def mark(self, marks: list[float]) -> None:
        before = self.ledger.equity().sum()
        self.ledger.mark(np.array(marks))
        assert self.ledger.equity().sum() == pytest.approx(before, abs=1e-9 * self._gross())

    @rule(count=st.integers(0, 40))
    def open(self, count: int) -> None:
        fresh = self.ledger.open(count, Role.TRADER)
        assert not self.ledger.cash[fresh].any()

    @rule(chosen=st.lists(st.integers(4, 99), max_size=4))
    def walk_some(self, chosen: list[int]) -> None:
        walked = np.unique(np.concatenate((np.arange(self.ledger.house), [self._row(c) for c in chosen]))).astype(np.intp)
        part = self.ledger.take(walked)
        part.mark(part.marks * 1.01)
        part.transfer(Flow.SURPLUS, walked.size - 1, FUND, 1.0)
        self.ledger.put(walked, part)

    @rule()
    def tear_up(self) -> None:
        self.ledger.tear_up()

    @rule()
    def begin_step(self) -> None:
        self.ledger.begin_step()
        self.opening = self.ledger.fund

    def _gross(self) -> float:
        ledger = self.ledger
        return float(np.abs(ledger.cash).sum() + (ledger.marks @ ledger.exposure).sum() + 1e8)

    @invariant()
    def closed(self) -> None:
        ledger = self.ledger
        assert abs(ledger.cash.sum()) <= 1e-9 * self._gross()
        assert np.abs(ledger.position.sum(axis=1)).max() <= 1e-6
        assert np.abs(ledger.spot.sum(axis=1) - 1e3).max() <= 1e-6
        assert (ledger.exposure == np.abs(ledger.position)).all()
        assert ((ledger.entry > 0.0) == (ledger.exposure > 0.0)).all()

    @invariant()
    def explained(self) -> None:
        assert self.opening + sum(self.ledger.statement.values()) == pytest.approx(self.ledger.fund, abs=1e-9 * self._gross())


TestAnyVerbs = AnyVerbs.TestCase
TestAnyVerbs.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True, database=None)
