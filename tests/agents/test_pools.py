import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.pools import PoolParameters, Pools
from model.ecosystem import Ecosystem
from model.ledger import OUTSIDE, Flow
from model.scenario import Scenario
from tests.validation.handmade import handmade

MARKETS = ("BTC", "ETH", "ALT")


def pools(**settings: object) -> Pools:
    return Pools.of(PoolParameters.model_validate(settings), MARKETS)


def test_one_pool_pays_for_everything_unless_the_scenario_says_otherwise() -> None:
    one = pools()
    assert (one.names, one.market.tolist(), one.pool.tolist(), one.limits.tolist()) == (("fund",), [0, 0, 0], [0], [np.inf])


def test_markets_that_no_group_names_share_a_pool() -> None:
    one = pools(by="group", groups=[{"name": "alt", "markets": ["ALT"]}])
    assert (one.names, one.market.tolist()) == (("alt", "others"), [1, 1, 0])


def test_an_amount_divides_over_pools_as_its_weights_do() -> None:
    # 10 and 30 in the first group's markets, 60 in the other: 40 % and 60 %. Without any weight every market counts the same.
    one = pools(by="group", groups=[{"name": "majors", "markets": ["BTC", "ETH"]}])
    first, second = one.parts(np.array([[10.0, 0.0], [30.0, 0.0], [60.0, 0.0]]))
    assert first == pytest.approx([0.4, 2 / 3])
    assert second == pytest.approx([0.6, 1 / 3])


def test_tiers_limit_what_a_market_may_claim() -> None:
    # Drift protocol v2: tier A 100 m, B 1 m, C 100 k, speculative and isolated nothing.
    assert pools(claims=["A", "B", "C"]).limits.tolist() == [100e6, 1e6, 100e3]
    assert pools(claims=[5e6, "isolated"]).limits.tolist() == [5e6, 0.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"by": "group"}, "`groups` without"),
        ({"by": "market", "shares": [0.5, 0.2, 0.2]}, "sum to 0.9: expected 1"),
        ({"by": "all", "shared": 0.2}, "in a pooled fund"),
        ({"by": "group", "groups": [{"name": "a", "markets": ["BTC"]}, {"name": "b", "markets": ["BTC"]}]}, "a market in two pools"),
        ({"by": "group", "groups": [{"name": "shared", "markets": ["BTC"]}]}, "two pools of one name"),
    ],
)
def test_divisions_that_cannot_be_are_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        PoolParameters.model_validate(settings)


def test_a_pool_for_a_market_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match="found a pool for DOGE: expected one of the markets BTC, ETH, ALT"):
        world(by="group", groups=[{"name": "dogs", "markets": ["DOGE"]}])
    with pytest.raises(ValidationError, match="found 2 shares of the opening balance: expected 3"):
        world(by="market", shares=[0.5, 0.5])


def test_a_shared_pool_and_the_layer_that_draws_on_it_come_together() -> None:
    with pytest.raises(ValidationError, match="expected `shared_fund` if the fund has a shared pool"):
        ClearinghouseParameters.model_validate({"pools": {"by": "market", "shared": 0.5}})


def world(**settings: object) -> Scenario:
    base = Scenario().model_dump(mode="json", by_alias=True)
    base["venues"][0]["clearinghouse"]["pools"] = settings
    return Scenario.model_validate(base)


def test_the_opening_balance_is_divided_by_open_interest_or_as_given() -> None:
    eco = Ecosystem(world(by="market"), rng=1)
    assert eco.venue.ledger.pools == pytest.approx(60e6 * eco.venue.open_interest() / eco.venue.open_interest().sum())
    assert eco.venue.ledger.fund == pytest.approx(60e6)
    given = Ecosystem(world(by="market", shares=[0.5, 0.3, 0.2]), rng=1)
    assert given.venue.ledger.pools == pytest.approx([30e6, 18e6, 12e6])
    assert given.observation["fund_pool_ETH"] == pytest.approx(18e6)


def test_an_empty_pool_leaves_its_market_to_the_next_layer_however_full_the_others_are() -> None:
    # Longs of ten contracts with 100 USD each, in market 0 and 1; both fall to 85: each lacks 50. The pool of market 0 has nothing.
    # Compare BitMEX, 2 April 2019: XBTU19 was deleveraged while the fund as a whole was full.
    one = handmade((100.0, 100.0), (100.0, 100.0), pools={"by": "market"}, capital=1e3, waterfall=WATERFALL)
    ledger = one.venue.ledger
    maker, first = int(one.venue.makers[0]), one.venue.institutions
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, ledger.fund_of(1), 1e3)
    for market in (0, 1):
        one.position(first + market, maker, 10.0, 100.0, market)
    one.walk(np.log(np.full((2, 1), 0.85)), np.zeros(1))
    assert ledger.pools == pytest.approx([0.0, 950.0])
    assert one.absorbed == {"fund": pytest.approx(50.0), "exchange_capital": pytest.approx(50.0)}


WATERFALL = [{"type": "fund"}, {"type": "exchange_capital", "share": 1.0}, {"type": "write_down"}]
