"""Markets: the book as a stock of depth that replenishes, impact, mark and funding, against integrals and worked numbers."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from model.market import Market, MarketParameters

TAU = 120.0 / 3600.0
"""Hours in which all but 1/e of the depth taken comes back, here."""


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def market(price=100.0, depth=1e6, pressure=0.0, **settings) -> Market:
    """One market with 1m USD within ten basis points a side."""
    rules = MarketParameters(**{"price_band": BAND, "replenish_seconds": 120.0, "pass_through": 0.1, **settings})
    one = Market(rules, of(price), of(depth), of(0.5))
    one.pressure = of(pressure)
    return one


BAND = 0.1
"""Displacement at which the price stops, here."""


def away(pressure: float, depth: float = 1e6, exponent: float = 0.67) -> float:
    """Log distance from the centre, written independently: 10 bp at `depth`, growing with the power 1 / exponent up to the band."""
    return float(np.sign(pressure)) * min(1e-3 * (abs(pressure) / depth) ** (1.0 / exponent), BAND)


def test_the_spread_is_what_a_round_trip_of_100_000_usd_costs() -> None:
    one = market(depth=1e6)
    one.depth = np.array([[1e6], [5e5]])  # bids, asks
    bought, sold = (quad(away, 0.0, 1e5, args=(depth,))[0] / 1e5 for depth in (5e5, 1e6))
    assert one.spread[0] == pytest.approx(bought + sold, rel=1e-6)
    # 10 bp x 0.1 ** (1 / 0.67) / (1 + 1 / 0.67) = 0.129 bp a side.
    assert market(depth=1e6).spread[0] == pytest.approx(2 * 0.129e-4, rel=1e-2)


def test_what_no_quotes_fill_counts_at_the_price_band_in_the_spread() -> None:
    thin = market(depth=2e3)  # the band holds 2,000 x 100 ** 0.67 = 43,750 USD
    assert thin.spread[0] == pytest.approx(2 * quad(away, 0.0, 1e5, args=(2e3,), points=[2e3 * 100**0.67])[0] / 1e5, rel=1e-6)
    gone = market(depth=1e6)
    gone.depth = np.array([[0.0], [1e6]])
    assert gone.spread[0] == pytest.approx(BAND + market(depth=1e6).spread[0] / 2, rel=1e-9)


def test_the_depth_within_a_hundred_basis_points_is_what_was_measured() -> None:
    # Amberdata 2025: 3.50m USD within 10 bp and 16.53m within 100 bp, 4.7 times as much: 10 ** 0.67 = 4.68.
    assert market(depth=3.5e6).displacement(of(3.5e6))[0] == pytest.approx(1e-3)
    assert market(depth=3.5e6).displacement(of(16.53e6))[0] == pytest.approx(1e-2, rel=0.02)
    assert market(depth=3.5e6).displacement(of(-3.5e6))[0] == pytest.approx(-1e-3)


@given(st.floats(-5e6, 5e6), st.floats(-5e6, 5e6), st.floats(0.01, 8.0))
@settings(max_examples=60, deadline=None)
def test_the_auctions_price_is_the_time_average_of_the_curve(flow: float, start: float, hours: float) -> None:
    one = market(pressure=start)
    cleared = one.auction(of(max(flow, 0.0) / 100.0), of(max(-flow, 0.0) / 100.0), hours)
    rate = -float(cleared.makers[0]) * 100.0 / hours

    def path(share: float) -> float:
        # dQ/dt = rate - Q / tau
        pressure = rate * TAU + (start - rate * TAU) * np.exp(-share * hours / TAU)
        return away(pressure)

    turn = np.linspace(0.0, 1.0, 9)[1:-1] ** 4
    average = quad(path, 0.0, 1.0, points=turn, limit=400)[0]
    # Eight nodes: to a tenth of the largest displacement where the book empties within minutes of a long step, far better where not.
    coarse = 0.1 if hours > 20 * TAU else 0.01
    assert cleared.price[0] / 100.0 - 1.0 == pytest.approx(average, abs=coarse * max(abs(path(0.0)), abs(path(1.0))) + 1e-12)


def test_orders_meet_each_other_before_they_meet_the_book() -> None:
    cleared = market().auction(of(70.0), of(50.0), 1.0)
    assert cleared.makers[0] == -20.0
    assert (cleared.buys[0], cleared.sells[0]) == (1.0, 1.0)
    # Balanced orders trade at the centre of the quotes.
    assert market().auction(of(50.0), of(50.0), 1.0).price[0] == pytest.approx(100.0, rel=1e-12)


def test_prices_are_centred_on_the_makers_quotes() -> None:
    # Quotes 30 bp below the index: auction and liquidations trade there.
    one = market()
    one.quote(one.depth, of(-0.003))
    assert one.auction(of(50.0), of(50.0), 1.0).price[0] == pytest.approx(99.7)
    assert one.execute(0, -1e-6, 0.1)[1] == pytest.approx(99.7)
    assert one.premium == pytest.approx([-0.003], rel=1e-3)


def test_what_would_leave_the_price_band_is_not_filled() -> None:
    # Band 1 %: the book holds 1m x 10 ** 0.67 = 4.677m USD; over an hour (30 tau, all but e-30 comes back) it serves 30 times that.
    one = market(price_band=0.01)
    cleared = one.auction(of(1e7), of(1e5), 1.0)
    assert -cleared.makers[0] * 100.0 == pytest.approx(30.0 * 1e6 * 10.0**0.67)
    # Sellers are filled; buyers share what sellers and the book give.
    assert cleared.sells[0] == 1.0
    assert cleared.buys[0] * 1e7 == pytest.approx(1e5 - cleared.makers[0])
    assert one.displacement(one.flow * TAU)[0] == pytest.approx(0.01)


def test_without_depth_orders_meet_each_other_only_and_nothing_moves() -> None:
    one = market(depth=0.0)
    cleared = one.auction(of(30.0), of(50.0), 1.0)
    assert (cleared.makers[0], cleared.buys[0]) == (0.0, 1.0)
    assert cleared.price[0] == pytest.approx(100.0, rel=1e-12)
    assert cleared.sells[0] == pytest.approx(0.6)
    assert one.execute(0, -5.0, 0.02) == (0.0, pytest.approx(100.0))
    one.advance(of(0.0), 1.0)
    one.trade_spot(0, 1e6)
    assert one.marks[0] == pytest.approx(100.0)
    assert one.pressure[0] == 0.0


def test_pressure_on_a_side_without_depth_displaces_nothing_however_large() -> None:
    one = market()
    one.depth = np.array([[0.0], [1e6]])
    assert one.displacement(of(-1e12)).tolist() == [0.0]
    assert one.displacement(of(1e12)).tolist() == [0.1]


@pytest.mark.parametrize("pieces", [1, 2, 7, 50])
def test_cutting_the_time_of_a_constant_flow_changes_neither_book_nor_index(pieces: int) -> None:
    one = market()
    one.auction(of(3e4), of(0.0), 0.5)
    for _ in range(pieces):
        one.advance(of(0.01 / pieces), 0.5 / pieces)
    # Q = flow tau (1 - e^(-t / tau)); the index moves by news and by Kyle's lambda times the flow.
    flow = 3e6 / 0.5
    assert one.pressure[0] == pytest.approx(flow * TAU * (1.0 - np.exp(-0.5 / TAU)), rel=1e-12)
    assert one.log_index[0] == pytest.approx(np.log(100.0) + 0.01 + 0.1 * 1e-3 / 1e6 * 3e6, rel=1e-12)


def test_halving_the_increments_of_a_steady_premium_leaves_the_mark_where_it_is() -> None:
    def marked(pieces: int) -> float:
        one = market(pressure=2e6, replenish_seconds=150.0)
        one.flow = one.pressure / (150.0 / 3600.0)
        for _ in range(pieces):
            one.advance(of(0.0), 0.1 / pieces)
        return float(one.marks[0] / one.index[0])

    # A flow that keeps the book where it is: the averaged premium tends to it as 1 - e^(-t / tau).
    expected = 1.0 + away(2e6) * (1.0 - np.exp(-0.1 * 3600.0 / 150.0))
    assert marked(1) == pytest.approx(expected, rel=1e-12)
    assert marked(64) == pytest.approx(expected, rel=1e-12)


@given(st.floats(-4e6, 4e6), st.floats(-4e6, 4e6), st.floats(1e5, 1e7), st.floats(1e5, 1e7))
@settings(max_examples=80, deadline=None)
def test_an_order_trades_at_the_integral_of_the_curve(start: float, order: float, bids: float, asks: float) -> None:
    one = market(pass_through=0.0, pressure=start)
    one.depth = np.array([[bids], [asks]])
    filled, price = one.execute(0, order / 100.0, 0.1)
    stop = start + filled * 100.0
    assert one.pressure[0] == pytest.approx(stop, rel=1e-9, abs=1e-6)
    if abs(stop - start) < 1.0:
        return
    kinks = [0.0, asks * 100.0**0.67, -bids * 100.0**0.67]
    average = quad(lambda q: away(q, asks if q > 0 else bids), start, stop, points=kinks, limit=200)[0] / (stop - start)
    assert price / 100.0 - 1.0 == pytest.approx(average, rel=1e-6, abs=1e-9)


def test_two_halves_of_an_order_cost_what_the_whole_costs() -> None:
    whole, halves = market(pass_through=0.0), market(pass_through=0.0)
    filled, price = whole.execute(0, 2e4, 0.1)
    first, second = halves.execute(0, 1e4, 0.1), halves.execute(0, 1e4, 0.1)
    assert filled == first[0] + second[0] == 2e4
    assert 0.5 * (first[1] + second[1]) == pytest.approx(price, rel=1e-12)


def test_a_sliver_of_an_order_trades_where_the_book_stands() -> None:
    # 1e-10 USD on top of a million: too little to see in the difference of two integrals.
    filled, price = market(pressure=1e6).execute(0, 1e-12, 0.1)
    assert filled == 1e-12
    assert price == pytest.approx(100.1, rel=1e-9)
    assert market(pressure=1e6).execute(0, 1e-20, 0.1)[1] == pytest.approx(100.1, rel=1e-9)


def test_an_order_stops_at_its_band_and_the_rest_stays() -> None:
    # 1 % away lie 1m x 10 ** 0.67 = 4.677m USD.
    one = market()
    filled, _ = one.execute(0, -1e6, 0.01)
    assert -filled * 100.0 == pytest.approx(1e6 * 10.0**0.67)
    assert one.displacement(one.pressure)[0] == pytest.approx(-0.01)
    assert one.execute(0, -1e6, 0.01)[0] == 0.0
    assert one.execute(0, -1e6, 0.02)[0] < 0.0


def test_impact_on_the_index_is_kyles_lambda_times_the_flow() -> None:
    # lambda = pass-through x 10 bp / depth = 0.2 x 1e-3 / 2m = 1e-10 a dollar.
    one = market(depth=2e6, pass_through=0.2)
    assert one.impact[0] == pytest.approx(1e-10)
    one.execute(0, 5e4, 0.1)
    assert one.log_index[0] - np.log(100.0) == pytest.approx(5e-4)
    one.trade_spot(0, -5e6)
    assert one.index[0] == pytest.approx(100.0)
    # Calm depth counts, whatever makers show now.
    one.quote(np.array([[1e3], [1e3]]), of(0.0))
    assert one.impact[0] == pytest.approx(1e-10)


def test_a_spot_trade_beyond_all_depth_moves_the_index_by_the_band_at_most() -> None:
    one = market(depth=1.0, price_band=0.1)
    one.trade_spot(0, -1e12)
    assert one.index[0] == pytest.approx(100.0 * np.exp(-0.1))


@pytest.mark.parametrize("pressure", [5e5, -5e5])
def test_new_quotes_keep_the_price_where_it_is(pressure: float) -> None:
    one = market(pressure=pressure)
    before = one.premium.copy()
    one.quote(np.array([[2e5], [4e5]]), of(0.0))
    assert one.premium == pytest.approx(before)
    # Depth fell to 0.4 or 0.2 of a million, and pressure with it.
    assert one.pressure[0] == pytest.approx(pressure * (0.4 if pressure > 0 else 0.2))


def test_quotes_withdrawn_and_shown_again_start_from_their_centre() -> None:
    one = market(pressure=5e5)
    one.quote(np.zeros((2, 1)), of(0.001))
    assert one.premium == pytest.approx([0.001])
    one.quote(np.full((2, 1), 1e6), of(0.0))
    assert (one.pressure[0], one.premium[0]) == (0.0, 0.0)


def test_the_mark_follows_the_premium_with_its_averaging_time() -> None:
    # Skew of 1 % for one averaging time: 1 - 1/e of it is in the mark.
    one = market(mark_seconds=360.0)
    one.skew = of(0.01)
    assert one.advance(of(0.0), 0.1)[0] == pytest.approx(100.0 * (1.0 + 0.01 * (1.0 - np.exp(-1.0))))


def test_a_jump_takes_no_time_and_leaves_the_premium_alone() -> None:
    one = market(pressure=1e6)
    marks = one.advance(of(-0.2), 0.0)
    assert marks[0] == pytest.approx(100.0 * np.exp(-0.2))
    assert (one.pressure[0], one.basis[0]) == (1e6, 0.0)


@pytest.mark.parametrize(
    ("premium", "rate"),
    [
        (0.0, 1e-4),  # interest alone: clamp(0.01 %) = 0.01 %
        (4e-4, 1e-4),  # 0.04 % + clamp(0.01 % - 0.04 %) = 0.01 %: within the clamp funding is interest
        (2e-3, 1.5e-3),  # 0.2 % + clamp(0.01 % - 0.2 %, -0.05 %) = 0.15 %
        (-2e-3, -1.5e-3),  # -0.2 % + clamp(0.01 % + 0.2 %, 0.05 %) = -0.15 %
        (2e-2, 7.5e-3),  # 1.95 % is above the cap of 0.75 %
        (-2e-2, -7.5e-3),
    ],
)
def test_funding_is_the_premium_and_clamped_interest_an_eighth_of_it_each_hour(premium: float, rate: float) -> None:
    one = market()
    one.begin_step()
    one.skew = of(premium)
    one.average_premium = of(premium)
    one.advance(of(0.0), 0.25)
    one.advance(of(0.0), 0.75)
    assert one.funding_rate(8.0)[0] == pytest.approx(rate)
    assert one.funding_rate(1.0)[0] == pytest.approx(rate / 8.0)


def test_funding_can_be_capped_where_dydx_caps_it() -> None:
    # dYdX v4: 600 % of initial less maintenance rate in eight hours, 6 x (5 % - 3 %) = 12 %; a premium of 14 % would be 13.95 %.
    one = market(funding_cap=6.0 * (0.05 - 0.03))
    one.begin_step()
    one.skew = one.average_premium = of(0.14)
    one.advance(of(0.0), 2.0)
    assert one.funding_rate(2.0)[0] == pytest.approx(0.12 / 4.0)


def test_funding_averages_the_premium_over_the_steps_time_and_then_over_eight_hours() -> None:
    one = market(funding_clamp=0.0)
    one.begin_step()
    for premium, hours in ((8e-3, 0.25), (0.0, 0.75)):
        one.skew = of(premium)
        one.advance(of(0.0), hours)
    # A quarter of 0.8 % is 0.2 %; one hour of eight weighs 1 - e^(-1/8).
    weight = 1.0 - np.exp(-0.125)
    assert one.funding_rate(1.0)[0] * 8.0 == pytest.approx(2e-3 * weight)
    # A second such hour: 1 - e^(-2/8) in all.
    one.begin_step()
    one.skew = of(2e-3)
    one.advance(of(0.0), 1.0)
    assert one.funding_rate(1.0)[0] * 8.0 == pytest.approx(2e-3 * (1.0 - np.exp(-0.25)))


def test_looking_ahead_changes_nothing_and_sees_what_comes_if_nobody_else_trades() -> None:
    one = market(pressure=1e6)
    one.begin_step()
    one.auction(of(2e4), of(0.0), 1.0)
    before = copy.deepcopy(one.__dict__)
    dlog, hours = np.array([[0.01, -0.3, 0.02]]), of(0.5, 0.0, 0.5)
    seen, end = one.project(dlog, hours)
    assert all(np.array_equal(before[name], value) for name, value in one.__dict__.items() if isinstance(value, np.ndarray))
    jumped = copy.deepcopy(one)
    jumped.adopt(end)
    came = [float(one.advance(dlog[:, k], float(hours[k]))[0]) for k in range(3)]
    assert seen[0].tolist() == pytest.approx(came, rel=1e-12)
    for name in ("log_index", "pressure", "basis", "momentum"):
        assert getattr(jumped, name) == pytest.approx(getattr(one, name), rel=1e-12)
    assert jumped.funding_rate(1.0) == pytest.approx(one.funding_rate(1.0), rel=1e-12)


def test_a_snapshot_undoes_what_was_executed() -> None:
    one = market(pressure=1e5)
    before = one.snapshot()
    one.execute(0, 5e3, 0.1)
    one.restore(before)
    assert one.pressure[0] == 1e5
    assert one.index[0] == pytest.approx(100.0)
