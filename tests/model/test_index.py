"""What trading at one exchange moves, and when the others' indices follow it."""

import numpy as np
import pytest

from model.index import CommonIndex
from model.market import Market, MarketParameters
from model.path import Path

STILL = Path(np.zeros((1, 2)), np.full(2, 0.5))


def three(share: float) -> tuple[list[Market], CommonIndex]:
    """Exchanges at which 1,000 USD move the index by 10 bp."""
    markets = [Market(MarketParameters(pass_through=1.0), np.array([100.0]), np.array([1e3]), np.array([0.5])) for _ in range(3)]
    return markets, CommonIndex(markets, share)


def moves(index: CommonIndex) -> list[float]:
    """Log moves of each exchange's index in a step without news."""
    return [float(path.dlog.sum()) for path in index.paths([STILL] * 3)]


def test_what_is_bought_outside_the_walk_the_others_follow_at_once_when_the_next_step_opens_and_never_again() -> None:
    markets, index = three(share=0.5)
    markets[0].trade_spot(0, 1_000.0)
    paths = index.paths([STILL] * 3)
    assert np.vstack([path.dlog for path in paths]) == pytest.approx(np.array([[0.0] * 3, [0.0005, 0.0, 0.0], [0.0005, 0.0, 0.0]]))
    assert paths[1].hours.tolist() == [0.0, 0.5, 0.5]
    for market, path in zip(markets, paths, strict=True):
        for dlog, hours in zip(path.dlog.T, path.hours.tolist(), strict=True):
            market.advance(dlog, hours)
    index.walked(np.zeros((3, 1)))
    assert moves(index) == [0.0, 0.0, 0.0]


def test_what_the_last_increment_moved_and_what_was_traded_after_it_come_together() -> None:
    markets, index = three(share=1.0)
    markets[1].trade_spot(0, 200.0)
    index.traded()
    index.walked(np.array([[0.0], [0.001], [0.0]]))
    markets[2].trade_spot(0, -500.0)
    assert moves(index) == pytest.approx([0.0002 + 0.001 - 0.0005, -0.0005, 0.0002 + 0.001])


def test_order_flow_drifts_into_the_others_paths_over_the_step() -> None:
    markets, index = three(share=0.5)
    markets[0].flow = np.array([1_000.0])  # USD an hour: 10 bp
    paths = index.paths([STILL] * 3)
    assert np.vstack([path.dlog for path in paths]) == pytest.approx(np.array([[0.0, 0.0], [0.00025, 0.00025], [0.00025, 0.00025]]))
