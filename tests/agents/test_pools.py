from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.pools import PoolParameters, Pools
from model.currencies import balance_coins
from model.ecosystem import Ecosystem
from model.ledger import FUND, OUTSIDE, Flow
from model.scenario import Scenario
from tests.validation.handmade import FIRST, MAKER, Handmade, handmade

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
        ({"by": "group"}, "no groups, expected groups with `by: group`"),
        ({"by": "market", "shares": [0.5, 0.2, 0.2]}, "shares that sum to 0.9, expected a sum of 1"),
        ({"by": "all", "shared": 0.2}, "in a fund of one pool"),
        (
            {"by": "group", "groups": [{"name": "a", "markets": ["BTC"]}, {"name": "b", "markets": ["BTC"]}]},
            "'BTC' a second time, expected every market in one pool",
        ),
        ({"by": "group", "groups": [{"name": "shared", "markets": ["BTC"]}]}, "'shared' again, expected every name once"),
    ],
)
def test_divisions_that_cannot_be_are_refused(settings: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        PoolParameters.model_validate(settings)


def test_a_pool_for_a_market_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"groups\.0\.markets\.0\s+found 'DOGE', expected one of the markets BTC, ETH, ALT"):
        world(by="group", groups=[{"name": "dogs", "markets": ["DOGE"]}])
    with pytest.raises(ValidationError, match="found 2 of them, expected 3, one for each of BTC, ETH, ALT"):
        world(by="market", shares=[0.5, 0.5])


def test_a_shared_pool_and_the_layer_that_draws_on_it_come_together() -> None:
    with pytest.raises(ValidationError, match=r"found 0\.5, but no layer that pays with it, expected `shared_fund`"):
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


def held_in_coins(units: float, deposit: float, contracts: float, **house: Any) -> Handmade:
    """A fund of so many coins at 100 USD, and one long."""
    one = handmade((deposit,), (100.0,), fund=100.0 * units, maker=1e9, pools={"currency": "underlying"}, **house)
    balance_coins(one.venue)
    one.position(one.venue.institutions, MAKER, contracts, 100.0)
    return one


def test_the_dollars_of_a_fund_in_coins_fall_further_than_its_coins() -> None:
    # BitMEX, 11-13 March 2020: 35,508 XBT less 1,627 is 33,881, a fall by 4.6 %. With bitcoin at 61 % of its price the dollars fall by
    # 1 - 33,881 x 0.61 / 35,508 = 41.8 %. Here a long of 10,000 contracts loses 390,000 at 61, 1,627 x 61 = 99,247 more than it has.
    one = held_in_coins(35_508.0, 390_000.0 - 99_247.0, 10_000.0)
    ledger = one.venue.ledger
    assert (ledger.spot[0, FUND], ledger.cash[FUND]) == (pytest.approx(35_508.0), pytest.approx(0.0, abs=1e-6))
    one.move(61.0)
    coins, dollars = ledger.spot[0, FUND] / 35_508.0 - 1.0, ledger.fund / 3_550_800.0 - 1.0
    assert ledger.spot[0, FUND] == pytest.approx(33_881.0)
    assert (coins, dollars) == (pytest.approx(-0.0458, abs=5e-5), pytest.approx(-0.418, abs=5e-4))
    assert one.statement == {Flow.REVALUATION: pytest.approx(-39.0 * 35_508.0), Flow.DRAW_EXECUTION: pytest.approx(-99_247.0)}


def test_a_fund_in_coins_loses_more_dollars_than_coins_in_a_fall_like_march_2020_and_one_in_dollars_does_not() -> None:
    # Bitcoin falls by 39 % within 16 hours. Dollars now over dollars then are coins now over coins then, times 0.61 or less: draws sell
    # coins, and that moves the index.
    def shaken(currency: str) -> tuple[Ecosystem, float, float]:
        base = Scenario().model_dump(mode="json", by_alias=True)
        base |= {"news": {"type": "constant"}, "shocks": [{"type": "price_move", "at": 4.0, "lasts": 16.0, "size": [-0.39]}]}
        base["traders"]["groups"] = [{"count": 150, "equity": 1.5e8, "leverage": 5.0}]
        base["venues"][0]["clearinghouse"] |= {"pools": {"currency": currency}, "accrual": [{"type": "surplus"}]}
        eco = Ecosystem(Scenario.model_validate(base), rng=3, check_laws=True, record_events=False)
        eco.run_for(4)
        coins, price = float(eco.venue.ledger.spot[0, FUND]), float(eco.venue.market.index[0])
        before = eco.venue.ledger.fund
        eco.run_for(20)
        ledger = eco.venue.ledger
        fell = ledger.fund / before
        if coins:
            assert fell == pytest.approx(ledger.spot[0, FUND] / coins * float(eco.venue.market.index[0]) / price, rel=1e-9)
        return eco, fell, ledger.spot[0, FUND] / coins if coins else 1.0

    eco, dollars, coins = shaken("underlying")
    assert dollars < coins * 0.62
    assert eco.statement.totals()["revaluation"] < 0.0
    plain, steady, _ = shaken("usd")
    assert steady > dollars + 0.3
    assert "revaluation" not in plain.statement.totals()


def test_a_draw_on_coins_sells_them_into_the_falling_market() -> None:
    # Pass-through 1 and 1 m USD within ten basis points: selling 61,000 USD moves the index by 61,000 x 1e-3 / 1e6 = 6.1e-5.
    one = held_in_coins(35_508.0, 390_000.0 - 61_000.0, 10_000.0)
    one.venue.market.impact = np.array([1e-9])
    one.venue.market.pressure[:] = 0.0
    one.move(61.0)
    sold = float(one.venue.ledger.spot[0, FUND]) - 35_508.0
    assert sold == pytest.approx(-1000.0, rel=1e-3)
    # The book takes 10,000 contracts at 61 first, then come the fund's coins.
    assert np.log(one.venue.market.index[0] / 61.0) == pytest.approx(-1e-9 * (610_000.0 + 61_000.0), rel=2e-3)


def test_a_fund_in_coins_pays_with_the_dollars_that_it_has_before_it_sells_any() -> None:
    # 61,000 are lacking at 61, half of which have come in as dollars since the last close: 500 coins bring the rest.
    one = held_in_coins(35_508.0, 390_000.0 - 61_000.0, 10_000.0)
    one.venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, 30_500.0)
    one.move(61.0)
    assert one.venue.ledger.spot[0, FUND] - 35_508.0 == pytest.approx(-500.0)


def test_what_one_market_has_claimed_is_not_what_another_has() -> None:
    # 80 USD for each market. A long of 20 at 100 with 100 lacks 100 at 90; then one of 150 at 10 with 100 lacks 50 at 9.
    layers = [{"type": "fund"}, {"type": "socialised_loss", "by": "equity"}, {"type": "write_down"}]
    house = handmade([100.0, 100.0], [100.0, 10.0], fund=1_000.0, pools={"claims": [80.0]}, waterfall=layers)
    house.position(FIRST, MAKER, 20.0, 100.0)
    house.position(FIRST + 1, MAKER, 150.0, 10.0, market=1)
    for market in (0, 1):
        dlog = np.zeros((2, 1))
        dlog[market] = np.log(0.9)
        house.walk(dlog, np.zeros(1))
    # The 20 that the fund does not pay are borne by 10,300 of claims, 100 of them the second trader's, which then lacks as much more.
    assert house.absorbed == pytest.approx({"fund": 80.0 + 50.0 + 20.0 * 100.0 / 10_300.0, "socialised_loss": 20.0})
