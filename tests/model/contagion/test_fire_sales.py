"""Fire sales: Cont and Schaanning's rounds, Greenwood, Landier and Thesmar's sums, and impacts that are handed in."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from model.contagion.fire_sales import Holders, Sale, deleverage, depth_of, finite_depth, target_leverage, threshold_shares

type Floats = NDArray[np.float64]

DEPTH = float(depth_of(50.0, 0.02, days=20, factor=0.4))
BANKS = Holders(np.array([[90.0], [70.0]]), np.array([8.0, 20.0]), np.array([2.0, 4.5]))
"""Two banks after a shock to their illiquid assets, from the tests of the Julia package FinNetValu; one asset at 1, floor 0.5."""


def exactly(found: Any, expected: Any) -> None:
    """Equal to 1e-8: expected values are given to ten digits."""
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=1e-8)


def cont_schaanning() -> list[Sale]:
    return deleverage(BANKS, [1.0], finite_depth(0.5 * DEPTH, 0.5), limit=33.3)


def test_market_depth_is_volume_over_deviation_times_root_time() -> None:
    """0.4 x 50 / 0.02 x root 20 = 4472.14; the floor halves it."""
    exactly(DEPTH, 4472.13595499958)
    exactly(0.5 * DEPTH, 2236.06797749979)


def test_rounds_of_cont_and_schaanning() -> None:
    """Bank 1 has leverage 98/2 = 49 > 33.3 and sells (98 - 0.95 x 33.3 x 2)/90 of its asset; bank 2 has 90/4.5 = 20 and never does."""
    rounds = cont_schaanning()
    exactly([sale.shares[0] for sale in rounds], [0.3858888889, 0.3150876963, 0.1453511944, 0.0])
    assert not any(sale.shares[1] for sale in rounds)
    exactly([sale.prices[0] for sale in rounds], [0.99229413, 0.98850427, 0.98731747, 0.98731747])
    exactly(rounds[0].losses, [0.5597156107, 0.5394106525])
    exactly(
        [sale.holders.capital for sale in rounds[:3]],
        [[1.4402843893, 3.9605893475], [1.2638185308, 3.6952986858], [1.222157215, 3.6122228152]],
    )
    exactly(rounds[-1].holders.holdings[:, 0], [31.9425029552, 69.1122228152])
    exactly(rounds[0].sold, 90 * 0.3858888889)


def test_at_its_limit_a_holder_is_not_above_it() -> None:
    assert threshold_shares(Holders(np.array([[100.0]]), np.array([0.0]), np.array([5.0])), 20.0, 10.0).tolist() == [0.0]


def test_a_shock_within_the_buffer_causes_no_sale_at_all() -> None:
    """Leverage 98/3 = 32.7 after the shock, 33.3 allowed: one round in which nothing happens."""
    calm = Holders(BANKS.holdings, BANKS.illiquid, np.array([3.0, 4.5]))
    (only,) = deleverage(calm, [1.0], finite_depth(0.5 * DEPTH, 0.5), limit=33.3)
    assert not only.sold.any()
    assert only.holders.capital.tolist() == [3.0, 4.5]


def test_what_is_sold_loses_the_part_of_the_fall_at_which_it_is_executed_and_what_is_kept_all_of_it() -> None:
    """(100 - 10 x 5) / 100 is sold, half. Prices fall by a tenth: 5 on what is kept, and a fifth of 5 on what is sold."""
    holder = Holders(np.array([[100.0]]), np.array([0.0]), np.array([5.0]))
    (first,) = deleverage(holder, [1.0], lambda *_: np.array([0.1]), limit=12.0, target=10.0, execution=0.2, rounds=1)
    exactly(first.shares, 0.5)
    exactly(first.losses, 6.0)
    exactly(first.holders.capital, -1.0)


def test_a_holder_without_capital_sells_everything_once() -> None:
    broke = Holders(np.array([[10.0, 30.0]]), np.array([0.0]), np.array([-1.0]))
    first, second = deleverage(broke, [1.0, 1.0], lambda *_: np.array([0.1, 0.2]), limit=20)
    assert first.shares.tolist() == [1.0]
    # sold at half of the fall: 10 x 0.05 + 30 x 0.1
    exactly(first.losses, [3.5])
    assert not first.holders.holdings.any()
    assert not second.sold.any()


def test_the_impact_handed_in_sees_dollars_sold_and_present_prices() -> None:
    seen: list[tuple[Floats, Floats]] = []

    def market(sold: Floats, prices: Floats) -> Floats:
        seen.append((sold.copy(), prices.copy()))
        return np.array([0.01])

    rounds = deleverage(BANKS, [50.0], market, limit=33.3, rounds=2)
    exactly(seen[0][0], [34.73])
    exactly([prices[0] for _, prices in seen], [50.0, 49.5])
    assert len(rounds) == 2


def test_marking_to_market_moves_holdings_and_capital_alike() -> None:
    after = BANKS.after([-0.1], [1.0, 0.0])
    exactly(after.holdings[:, 0], [81, 63])
    exactly(after.capital, [2 - 9 - 1, 4.5 - 7])
    exactly(after.assets - after.capital, BANKS.assets - BANKS.capital)


@given(st.floats(1.0, 1e5), st.floats(0.0, 0.9), st.floats(0.0, 1e7))
@settings(max_examples=100, deadline=None)
def test_finite_depth_never_takes_a_price_below_its_floor(depth: float, floor: float, sold: float) -> None:
    fall = finite_depth(depth, floor)(np.array([sold]), np.array([1.0]))
    assert 0.0 <= fall[0] <= 1.0 - floor + 1e-12


def test_the_first_dollar_moves_the_opening_price_by_one_over_depth() -> None:
    fall = finite_depth(0.5 * DEPTH, 0.5)(np.array([1e-3]), np.array([1.0]))
    assert fall[0] == pytest.approx(1e-3 / DEPTH, rel=1e-6)


# --------------------------------------------------------------------------------------------------------------------------- targeting


def test_one_holder_of_one_asset_sells_its_loss_times_leverage() -> None:
    """Assets 100, capital 20, leverage 80/20 = 4. A return of -5 % costs 5; it sells 20, which at 0.0004 a dollar takes 0.8 % off: 0.8."""
    found = target_leverage(Holders(np.array([[100.0]]), np.zeros(1), np.array([20.0])), [-0.05], [1.0], lambda sold, _: 4e-4 * sold)
    exactly(found.sales, [20])
    exactly(found.falls, [0.008])
    exactly(found.losses, [0.8])
    exactly(found.aggregate, 0.04)
    exactly(found.systemicness, [0.04])
    exactly(found.vulnerability, [0.04])
    # leverage on the marked book is back at 4: assets 95 - 20 = 75, capital 15
    assert (95 - 20 - 15) / 15 == 4


@given(st.integers(0, 10_000))
@settings(max_examples=60, deadline=None)
def test_with_linear_impact_systemicness_adds_up_to_aggregate_vulnerability(seed: int) -> None:
    """Greenwood, Landier and Thesmar: AV = 1'A M L M' B A M f / E, in whole matrices as they write it, and the sum over banks."""
    rng = np.random.default_rng(seed)
    n, k = int(rng.integers(1, 8)), int(rng.integers(1, 5))
    holdings = rng.exponential(10, (n, k)) + 1
    assets = holdings.sum(axis=1)
    capital = assets * rng.uniform(0.1, 0.5, n)
    f, per = -rng.uniform(0, 0.05, k), rng.exponential(1e-4, k)
    found = target_leverage(Holders(holdings, np.zeros(n), capital), f, np.ones(k), lambda sold, _: per * sold)
    M, A, B, L = holdings / assets[:, None], np.diag(assets), np.diag((assets - capital) / capital), np.diag(per)
    losses = -A @ M @ L @ M.T @ B @ A @ M @ f
    exactly(found.losses, losses)
    exactly(found.aggregate, losses.sum() / capital.sum())
    exactly(found.systemicness.sum(), found.aggregate)
    exactly(found.vulnerability @ capital / capital.sum(), found.aggregate)


def test_nobody_sells_more_than_it_holds() -> None:
    """Leverage 9, a loss of 20 % asks for sales of 180 % of assets; 80 % are there."""
    found = target_leverage(Holders(np.array([[10.0]]), np.zeros(1), np.array([1.0])), [-0.2], [1.0], lambda sold, _: 0 * sold)
    exactly(found.sales, [8])


def test_without_capital_there_is_no_leverage_to_target() -> None:
    with pytest.raises(ValueError, match="capital: expected positive amounts"):
        target_leverage(Holders(np.ones((1, 1)), np.zeros(1), np.zeros(1)), [0.0], [1.0], lambda sold, _: sold)
