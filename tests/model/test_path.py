"""Increments: cutting and jumping change how prices get there, not where."""

import numpy as np

from model.path import Path, insert_jumps, ohlc_walk, subdivide


def test_moves_are_cut_evenly_to_the_largest_market():
    # Market 0 moves 0.7, market 1 moves -0.2; at most 0.25: three pieces (0.7/3 = 0.233), a third of the hour each.
    path = subdivide(Path(np.array([[0.7], [-0.2]]), np.array([1.0])), 0.25)
    assert np.allclose(path.dlog, [[0.7 / 3] * 3, [-0.2 / 3] * 3])
    assert np.allclose(path.hours, 1 / 3)


def test_a_move_of_exactly_so_many_pieces_is_not_cut_further():
    # In floating point 0.07 / 0.01 is a little more than 7.
    assert subdivide(Path(np.array([[0.07]]), np.array([1.0])), 0.01).hours.size == 7


def test_jumps_are_never_cut():
    path = subdivide(Path(np.array([[-0.5, 0.1]]), np.array([0.0, 1.0])), 0.05)
    assert np.allclose(path.dlog, [[-0.5, 0.05, 0.05]])
    assert np.allclose(path.hours, [0.0, 0.5, 0.5])


def test_jumps_go_where_they_were_drawn():
    # Two increments leave three places: 0.0 is before both, 0.4 × 3 = 1.2 between, 0.99 × 3 = 2.97 after.
    path = Path(np.array([[1.0, 2.0]]), np.array([0.5, 0.5]))
    one = np.ones(1)
    jumped = insert_jumps(path, [(one, 30.0, 0.99), (one, 10.0, 0.0), (2 * one, 10.0, 0.4)])
    assert jumped.dlog.tolist() == [[10.0, 1.0, 20.0, 2.0, 30.0]]
    assert jumped.hours.tolist() == [0.0, 0.5, 0.0, 0.5, 0.0]


def bar(*prices: float, hours: float = 1.0) -> Path:
    return ohlc_walk(*(np.array([price]) for price in prices), hours)


def test_the_nearer_extreme_comes_first():
    # Up 2 %, down 10 %: high first. Legs ln 1.02, ln(90/102), ln(95/90); the clock runs with their lengths.
    path = bar(100.0, 102.0, 90.0, 95.0)
    legs = np.log([1.02, 90 / 102, 95 / 90])
    assert np.allclose(path.dlog, legs, rtol=0, atol=1e-15)
    assert np.allclose(path.hours, np.abs(legs) / np.abs(legs).sum())
    # Up 10 %, down 2 %: low first.
    assert np.allclose(bar(100.0, 110.0, 98.0, 105.0).dlog, np.log([0.98, 110 / 98, 105 / 110]))
    # Equally far in logs (×2, ÷2): low first.
    assert np.allclose(bar(1.0, 2.0, 0.5, 1.0).dlog, np.log([0.5, 4.0, 0.5]))


def test_a_price_that_stands_still_shares_time_evenly():
    path = bar(5.0, 5.0, 5.0, 5.0, hours=3.0)
    assert path.dlog.tolist() == [[0.0, 0.0, 0.0]]
    assert np.allclose(path.hours, 1.0)


def test_legs_of_no_length_take_no_increment():
    # Opens at its low and closes at its high: one leg.
    path = bar(100.0, 110.0, 100.0, 110.0)
    assert np.allclose(path.dlog, [[np.log(1.1)]])
    assert path.hours.tolist() == [1.0]


def test_markets_turn_at_their_own_times_on_one_clock():
    # Logs: A goes -1, +3, -1: turns at 1/5 and 4/5. B goes +2, -4.5, +4.5: turns at 2/11 and 6.5/11.
    # Four turns cut the step into five increments.
    e = np.exp
    path = ohlc_walk(np.ones(2), e([2.0, 2.0]), e([-1.0, -2.5]), e([1.0, 2.0]), 1.0)
    grid = np.concatenate([[0.0], path.hours.cumsum()])
    level = np.concatenate([np.zeros((2, 1)), path.dlog.cumsum(axis=1)], axis=1)
    assert np.allclose(level[:, -1], [1.0, 2.0])
    assert np.allclose(level[0, np.isclose(grid, 1 / 5)], -1.0)
    assert np.allclose(level[0, np.isclose(grid, 4 / 5)], 2.0)
    assert np.allclose(level[1, np.isclose(grid, 2 / 11)], 2.0)
    assert np.allclose(level[1, np.isclose(grid, 6.5 / 11)], -2.5)
    assert path.hours.size == 5


def test_a_shock_that_comes_at_once_takes_no_time_and_comes_first():
    # Spread over the hour a fall of 0.3 would leave a margin engine time that a jump does not.
    path = Path(np.array([[0.01, 0.02], [0.0, -0.01]]), np.array([0.25, 0.75]))
    shocked = path.with_shock(np.zeros(2), np.array([-0.3, -0.4]))
    assert shocked.dlog.tolist() == [[-0.3, 0.01, 0.02], [-0.4, 0.0, -0.01]]
    assert shocked.hours.tolist() == [0.0, 0.25, 0.75]


def test_a_shock_with_time_is_spread_evenly_over_it_in_small_moves():
    # 0.06 and 0.02 of 0.08, by time; cut to at most 0.01: six and two pieces of an eighth of an hour.
    shocked = Path(np.zeros((1, 2)), np.array([0.75, 0.25])).with_shock(np.array([0.08]), np.zeros(1), 0.01)
    assert np.allclose(shocked.dlog, [[0.01] * 8])
    assert np.allclose(shocked.hours, 1 / 8)


def test_of_jumps_in_one_place_the_earlier_comes_first() -> None:
    later, earlier = (np.ones(1), 0.3, 0.2), (np.ones(1), -0.1, 0.1)
    path = insert_jumps(Path(np.array([[0.01]]), np.ones(1)), [later, earlier])
    assert path.dlog.tolist() == [[-0.1, 0.3, 0.01]]
    assert path.hours.tolist() == [0.0, 0.0, 1.0]
