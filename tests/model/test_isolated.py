"""Isolated margin: books of one underlying each, none of which backs another."""

from typing import Any

import numpy as np
import pytest

from experiments.twin.record import run_both
from model.ecosystem import Ecosystem
from model.scenario import Scenario


def world(*, isolated: bool, size: tuple[float, ...] = (0.0, 0.0, -0.8), markets: tuple[float, ...] = (0.5, 0.3, 0.2)) -> Scenario:
    """Retail traders at high leverage; at hour four the altcoin falls by four fifths, the others stand still."""
    base = Scenario().model_dump(by_alias=True)
    retail: dict[str, Any] = {**base["traders"]["groups"][0], "count": 150, "equity": 1.5e8, "leverage": 15.0, "entry_rate": 0.0}
    shocks = [{"type": "price_move", "at": 4.0, "size": list(size)}]
    traders = {**base["traders"], "groups": [{**retail, "isolated": isolated}], "markets": list(markets)}
    assets = base["assets"][: len(markets)]
    return Scenario.model_validate({**base, "assets": assets, "news": {"type": "constant"}, "shocks": shocks, "traders": traders})


def crashed(scenario: Scenario) -> tuple[Ecosystem, np.ndarray]:
    """The world after the fall, and what every row had just before it, USD."""
    eco = Ecosystem(scenario, rng=3, check_laws=True)
    eco.run_for(4)
    before = eco.venue.ledger.equity()
    eco.step()
    return eco, before


def test_a_book_holds_its_own_underlying_and_no_other() -> None:
    eco, _ = crashed(world(isolated=True))
    (group,) = eco.population.groups
    held = eco.venue.ledger.exposure[:, group.rows] > 0.0
    assert held.any(axis=1).all()
    assert not held[np.arange(3)[:, None] != group.book].any()
    # Drawn by the weights of the markets: 75, 45 and 30 of 150, give or take three standard deviations.
    assert np.abs(np.bincount(group.book, minlength=3) - [75.0, 45.0, 30.0]).max() <= 19.0


@pytest.mark.parametrize("isolated", [True, False], ids=["isolated", "cross"])
def test_a_loss_in_one_book_touches_no_other(isolated: bool) -> None:
    """With cross margin, bitcoin is sold for what the altcoin lost; with isolated margin, none of it is."""
    eco, before = crashed(world(isolated=isolated))
    liquidated = eco.venue.tally.liquidated
    assert liquidated[2] > 0.0
    assert (liquidated[0] > 0.0) == (not isolated)
    if isolated:
        (group,) = eco.population.groups
        ruined = eco.venue.ledger.status[group.rows] == 1
        assert ruined.any()
        assert (group.book[ruined] == 2).all()
        # No book loses more than the margin that is in it.
        assert (eco.venue.ledger.equity(group.rows) >= -1e-6).all()
        assert (before[group.rows] > 0.0).all()


def test_a_single_market_is_the_same_world_with_isolated_and_with_cross_margin() -> None:
    first, second = (crashed(world(isolated=isolated, size=(-0.5,), markets=(1.0,)))[0].observation for isolated in (True, False))
    assert first["deficits"] > 0.0
    np.testing.assert_equal(first, second)


def test_isolated_books_agree_with_the_twin() -> None:
    borne = 0.0
    for engine, _, lines in run_both(world(isolated=True), 7, 1):
        assert not lines
        borne += sum(engine.venue.tally.absorbed.values())
    assert borne > 0.0
