"""A venue's surplus and its token, booked."""

import math
from typing import Any

import numpy as np
import pytest

from agents.clearinghouse.value import TokenParameters
from model.ecosystem import Ecosystem
from model.errors import LawViolation
from model.ledger import FUND, OUTSIDE, TREASURY, Flow
from model.scenario import Scenario
from model.token import Token
from tests.validation.handmade import FIRST, MAKER, Handmade, handmade

PLAIN = {"supply": 1e6, "staked": 0.2, "multiple": 2.0, "revenue": 1e6, "fear": 1.0, "beta": 0.5, "depth": 0.1}


def token(**changes: Any) -> Token:
    """2 USD a token of 1 m, of which 200,000 are staked, with a depth of 100,000."""
    return Token(TokenParameters.model_validate({**PLAIN, **changes}), np.log([100.0]))


def test_the_price_follows_revenue_fear_the_market_and_what_is_sold() -> None:
    one = token(memory=1e-6, recovery=1.0)
    assert one.price == pytest.approx(2.0)
    one.follow(np.log([81.0]))
    assert one.price == pytest.approx(2.0 * 0.9)  # beta 1/2
    one.move(-1e5 * math.log(2.0))
    assert one.price == pytest.approx(0.9)
    # At the close: 100 USD of fees an hour are 876,000 a year, no return is remembered, half of its target is fear of a half, an hour
    # of recovery leaves 1/e of the sale.
    one.close(1.0, 100.0, 5.0, 10.0, 0.0)
    assert one.price == pytest.approx(2.0 * 0.876 * math.exp(-0.5 - math.log(2.0) / math.e))


def test_fear_is_of_the_target_missed_or_of_the_peak_lost_whichever_is_more() -> None:
    one = token(memory=87_840.0)
    for fund, target, fear in ((8.0, 0.0, 0.0), (6.0, 0.0, 0.25), (6.0, 5.0, 0.25), (6.0, 12.0, 0.5), (9.0, 9.0, 0.0), (-3.0, 9.0, 1.0)):
        one.close(1.0, 0.0, fund, target, 0.0)
        assert one.fear == pytest.approx(fear, abs=1e-4)


def test_what_is_destroyed_makes_the_rest_dearer_and_a_stake_that_was_slashed_comes_back() -> None:
    one = token(restake_hours=2.0)
    one.buy_back(2e5, 0.0)  # 200,000 USD at a depth of 100,000 tokens worth as much: ln 2 x 100,000 tokens, and the price doubles
    assert one.destroyed == pytest.approx(1e5 * math.log(2.0))
    one.pressure = 0.0
    assert one.price == pytest.approx(2.0 / (1.0 - 0.1 * math.log(2.0)))
    one.staked = 0.0
    one.close(2.0, 0.0, 1.0, 1.0, 0.0)
    assert one.staked == pytest.approx(0.2 * one.supply * (1.0 - 1.0 / math.e))
    assert sum(one.holdings(3.0)) == pytest.approx(one.supply)


def test_once_all_tokens_have_been_bought_back_there_is_no_price_and_nothing_to_buy() -> None:
    one = token(staked=0.0)
    one.buy_back(1e12, 0.0)  # more than ever buys a million tokens of a depth of 100,000: 200,000 x (e^10 - 1) USD is 4.4 bn
    assert (one.supply, one.price) == (0.0, 0.0)
    one.buy_back(1e12, 0.0)
    one.close(1.0, 1.0, 0.0, 1.0, 0.0)
    assert (one.supply, one.price, one.staked) == (0.0, 0.0, 0.0)


RULES = [{"type": "treasury", "share": 0.1}, {"type": "buy_back", "share": 0.2}, {"type": "stakers", "share": 0.3}]


def test_the_surplus_is_divided_to_the_cent_and_what_stays_is_not_surplus_again() -> None:
    house = handmade([1e6], fund=500.0, token=PLAIN, value_accrual=RULES)
    venue = house.venue
    venue.targets = np.array([500.0])
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, venue.parameters.capital + 100.0)
    before = venue.ledger.cash.copy()
    venue.distribute()
    moved = {Flow.BUY_BACK: 20.0, Flow.STAKING_REWARD: 30.0, Flow.DISTRIBUTION: 40.0}
    assert {kind: venue.ledger.flows[kind] for kind in moved} == pytest.approx(moved)
    assert (venue.ledger.cash - before)[[TREASURY, OUTSIDE]] == pytest.approx([-90.0, 90.0])
    assert venue.value.token is not None
    assert (venue.value.token.bought_back, venue.value.token.paid) == (pytest.approx(20.0), pytest.approx(30.0))
    assert venue.value.token.destroyed == pytest.approx(1e5 * math.log1p(20.0 / 2e5))
    venue.distribute()
    assert venue.ledger.cash[TREASURY] == pytest.approx(venue.parameters.capital + 10.0)


def test_nothing_is_paid_but_to_owners_while_the_fund_is_short_and_a_fund_that_has_too_much_releases_it() -> None:
    house = handmade([1e6], fund=499.0, token=PLAIN, value_accrual=RULES, release=1.2)
    venue = house.venue
    venue.targets = np.array([500.0])
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, venue.parameters.capital + 100.0)
    venue.distribute()
    # 60 of the 100 stay; the owners have the 40 that no rule takes.
    assert (venue.value.retained, venue.ledger.flows[Flow.DISTRIBUTION]) == (pytest.approx(60.0), pytest.approx(40.0))
    venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, FUND, 201.0)
    venue.distribute()  # 700 is 100 more than 1.2 x 500
    assert venue.ledger.fund == pytest.approx(600.0)
    assert venue.ledger.flows[Flow.RELEASE] == pytest.approx(100.0)
    assert venue.value.retained == pytest.approx(70.0)


def test_stakers_are_slashed_into_their_own_falling_market() -> None:
    # A long of 10 at 100 with 100 USD: at 80 it lacks 100. Tokens cost 2 x (80 / 100)^(1/2); 100 USD are n with p N (1 - e^(-n / N)) = 100.
    one = handmade([100.0], waterfall=[{"type": "stakers"}, {"type": "write_down"}], token={**PLAIN, "depth": 1e-4})
    one.position(one.venue.institutions, MAKER, 10.0, 100.0)
    custody = one.venue.ledger.custody
    one.move(80.0)
    price = 2.0 * math.sqrt(0.8)
    units = -100.0 * math.log(1.0 - 100.0 / (100.0 * price))
    staked = one.venue.value.token
    assert staked is not None
    assert one.absorbed == {"stakers": pytest.approx(100.0)}
    assert staked.staked == pytest.approx(2e5 - units)
    assert staked.slashed == pytest.approx(units * price)  # 82 tokens worth 146 brought 100
    assert staked.price == pytest.approx(price - 100.0 / 100.0)
    assert one.venue.ledger.custody == pytest.approx(custody + 100.0)
    one.venue.ledger.check(0)


def in_tokens(**house: Any) -> Handmade:
    """A fund of 1,000 USD, 800 of them 400 tokens at 2, and one trader with 100 USD. 100 tokens sold divide the price by e."""
    one = handmade([100.0], fund=1_000.0, **{"token": {**PLAIN, "depth": 1e-4, "beta": 0.0}, **house})
    held = one.venue.value.token
    assert held is not None
    held.parameters = held.parameters.model_copy(update={"fund_share": 0.8})
    one.venue.parameters = one.venue.parameters.model_copy(update={"fund": 1_000.0})
    one.venue.value.open(one.venue)
    return one


def test_a_fund_in_tokens_pays_for_immediacy_out_of_what_they_bring() -> None:
    # Liquidators take 20 at 95.5 and are paid a fifth of 1,910 = 382: all of the dollars, 200 and 10 that the slice leaves, and what 400
    # tokens, of which 100 divide the price by e, bring of the 172 that lack: -100 ln(1 - 172 / 200).
    route = {"order": ("liquidators",), "absorption_premium": 0.2}
    one = in_tokens(liquidator=1e4, discount=0.0, route=route)
    one.position(one.venue.institutions, MAKER, 20.0, 100.0)
    one.move(95.5)
    left = 100.0 - 20.0 * 4.5
    ledger = one.venue.ledger
    assert one.statement[Flow.ABSORPTION_PREMIUM] == pytest.approx(-0.2 * 1_910.0)
    lacking = 0.2 * 1_910.0 - 200.0 - left
    assert ledger.tokens == pytest.approx(400.0 + 100.0 * math.log1p(-lacking / 200.0))
    assert ledger.cash[FUND] == pytest.approx(0.0, abs=1e-9)


def test_a_fund_in_tokens_is_worth_what_they_cost_and_pays_what_they_bring() -> None:
    # 1,000 USD of fund, 800 of them 400 tokens at 2. With a depth of 100 tokens they bring at most 200 x (1 - e^-4) = 196.3.
    one = in_tokens()
    venue, ledger = one.venue, one.venue.ledger
    assert (ledger.tokens, ledger.cash[FUND], ledger.fund) == (pytest.approx(400.0), pytest.approx(200.0), pytest.approx(1_000.0))
    assert venue.value.payable(ledger) == pytest.approx([200.0 + 200.0 * (1.0 - math.exp(-4.0))])
    # A long of 20 at 100 with 100 USD lacks 250 at 82.5: 200 in dollars, and 50 from 100 x ln(4 / 3) tokens, which leaves 1.5 USD each.
    one.position(venue.institutions, MAKER, 20.0, 100.0)
    one.move(82.5)
    left = 400.0 - 100.0 * math.log(4.0 / 3.0)
    assert (ledger.tokens, ledger.cash[FUND]) == (pytest.approx(left), pytest.approx(0.0, abs=1e-9))
    assert ledger.fund == pytest.approx(1.5 * left)
    assert one.statement[Flow.DRAW_EXECUTION] == pytest.approx(-250.0)
    assert one.statement[Flow.REVALUATION] == pytest.approx(1.5 * left - 750.0)
    ledger.check(0)


def crash(**house: Any) -> Ecosystem:
    base = Scenario().model_dump(mode="json", by_alias=True)
    base |= {"news": {"type": "constant"}, "shocks": [{"type": "price_move", "at": 6.0, "lasts": 1.0, "size": [-0.45]}]}
    base["traders"]["groups"] = [{"count": 80, "equity": 8e7, "leverage": 15.0}]
    base["venues"][0]["clearinghouse"] |= {"fund": 2e7, **house}
    eco = Ecosystem(Scenario.model_validate(base), rng=5, check_laws=True, record_events=False)
    eco.run_for(14)
    return eco


def test_a_fund_in_its_own_token_falls_further_and_pays_less_than_one_in_dollars() -> None:
    # The same crash: the token follows the market and the fund's own shortfall, and selling it brings less than it cost.
    layers = [{"type": "fund"}, {"type": "socialised_loss", "by": "equity"}, {"type": "write_down"}]
    plain, wrong = (crash(waterfall=layers, token={"fund_share": share, "depth": 1e-4}) for share in (0.0, 0.9))
    lost = [1.0 - float(eco.series()["fund"].min()) / 2e7 for eco in (plain, wrong)]
    assert lost[1] > lost[0]
    assert wrong.series()["residual_loss"].sum() > plain.series()["residual_loss"].sum()
    assert wrong.observation["token_price"] < 0.5 * wrong.series()["token_price"].iloc[5]


def test_a_fund_of_coins_reconciles_to_the_rounding_of_what_they_are_worth_and_no_worse() -> None:
    # A billion in coins beside accounts of a few dollars: its last bit alone is worth more than a billionth of those.
    house = {"fund": 1e9, "capital": 0.0, "pools": {"currency": "underlying"}}
    block = {"clearinghouse": house, "market_makers": {"count": 1, "capital": 10.0}, "liquidators": {"count": 0}}
    world = Scenario.model_validate({"venues": [block], "traders": {"groups": []}, "lenders": {"count": 0}, "hours_per_step": 8.0})
    for seed in range(5):
        eco = Ecosystem(world, rng=seed, check_laws=True)
        eco.run_for(5)
    eco.venue.ledger.statements[0][Flow.REVALUATION] += 10.0
    with pytest.raises(LawViolation, match="the fund reconciles"):
        eco.assert_laws()


def test_one_loss_slashes_no_more_than_its_share_of_the_stake_however_thin_the_market_is() -> None:
    # 200,000 staked: one loss may use 30 % of them, 60,000, or a thousandth, 200. With a depth of 100 tokens no sale brings more than 200
    # USD, and 100 x ln 1e9 = 2,072 tokens bring that but for a billionth; 200 tokens bring 200 x (1 - e^-2).
    for share, usd, sold in ((0.3, 200.0, 900.0 * math.log(10.0)), (1e-3, 200.0 * (1.0 - math.exp(-2.0)), 200.0)):
        thin = {**PLAIN, "depth": 1e-4, "beta": 0.0}
        one = handmade([60.0], token=thin, waterfall=[{"type": "stakers", "share": share}, {"type": "write_down"}])
        one.position(FIRST, MAKER, 100.0, 100.0)
        one.move(90.0)
        assert one.absorbed["stakers"] == pytest.approx(usd)
        assert one.venue.value.token is not None
        assert one.venue.value.token.staked == pytest.approx(2e5 - sold)


def test_what_the_fund_buys_at_the_opening_is_no_return_that_the_token_follows() -> None:
    # The fund buys coins for its 100 m before the first step, which moves the index; the token opens at 5 x 300 m / 100 m all the same.
    house = {"fund": 1e8, "pools": {"currency": "underlying"}, "token": {"beta": 2.0}, "sizing": {"type": "fixed", "amount": 1e8}}
    block = {"clearinghouse": house, "market": {"pass_through": 1.0}}
    eco = Ecosystem(Scenario.model_validate({"venues": [block]}), rng=1)
    assert eco.venue.market.index[0] > 1.01 * 60_000.0
    assert eco.venue.value.token is not None
    assert eco.venue.value.token.price == pytest.approx(15.0 * math.exp(-eco.venue.value.token.fear))


def test_no_more_is_bought_back_than_the_public_has_and_what_is_raises_the_price() -> None:
    # 200,000 USD would buy ln 2 x 100,000 tokens. With 900,000 staked and 60,000 the fund's, the public has 40,000 to sell.
    one = token(staked=0.9)
    one.buy_back(2e5, 6e4)
    assert (one.destroyed, one.bought_back) == (pytest.approx(4e4), 2e5)
    assert one.pressure == pytest.approx(0.4)  # 40,000 of a depth of 100,000 tokens, which is of the supply at the opening
    assert one.price == pytest.approx(2.0 / 0.96 * math.exp(0.4))
    assert one.book.depth == pytest.approx(1e5)


def test_revenue_is_what_fees_are_a_year_however_long_a_step_is() -> None:
    one = token(memory=1e-6)
    one.close(4.0, 100.0, 1.0, 1.0, 0.0)  # 100 USD in four hours: 25 an hour, 219,000 a year
    assert one.revenue == pytest.approx(219_000.0)


def test_a_peak_of_the_fund_fades_and_nobody_takes_a_stake_back() -> None:
    one = token(memory=1.0 / math.log(2.0))
    one.open(np.log([100.0]), 8.0, 0.0)
    one.close(1.0, 0.0, 5.0, 0.0, 0.0)  # an hour halves the memory of 8: 5 is above it
    assert one.fear == 0.0
    one.destroyed = 5e5  # 100,000 would be a fifth of what is left; the 200,000 that are staked stay
    one.close(1.0, 0.0, 5.0, 0.0, 0.0)
    assert one.staked == pytest.approx(2e5)


def test_what_is_counted_by_step_begins_anew() -> None:
    one = token()
    one.slashed = one.bought_back = one.paid = 1.0
    one.begin_step()
    assert (one.slashed, one.bought_back, one.paid) == (0.0, 0.0, 0.0)


def test_no_surplus_is_paid_that_custody_cannot_pay() -> None:
    house = handmade([0.0])
    ledger = house.venue.ledger
    ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, house.venue.parameters.capital + 100.0)
    ledger.transfer(Flow.WITHDRAWAL, MAKER, OUTSIDE, ledger.custody - 25.0)
    house.venue.distribute()
    assert ledger.flows[Flow.DISTRIBUTION] == pytest.approx(25.0)
    assert ledger.custody == pytest.approx(0.0, abs=1e-6)


def test_the_market_sees_at_the_opening_what_the_fund_is_short_of() -> None:
    one = handmade([100.0], fund=500.0, token=PLAIN)
    one.venue.targets = np.array([1_000.0])
    one.venue.value.open(one.venue)
    assert one.venue.value.token is not None
    assert one.venue.value.token.price == pytest.approx(2.0 * math.exp(-0.5))


def test_a_fund_that_has_too_much_releases_its_dollars_and_keeps_its_tokens() -> None:
    one = in_tokens(release=1.0)
    one.venue.targets = np.array([100.0])
    one.venue.distribute()
    assert one.venue.ledger.flows[Flow.RELEASE] == pytest.approx(200.0)
    assert (one.venue.ledger.cash[FUND], one.venue.ledger.tokens) == (pytest.approx(0.0), pytest.approx(400.0))


def test_the_public_sells_for_a_buy_back_none_of_the_tokens_that_the_fund_has() -> None:
    # 1,000 tokens, 200 staked and 400 the fund's: the public has 400, and a depth of 1,000 at 2 asks 2,000 x (e^0.4 - 1) = 984 for them.
    thin = {**PLAIN, "supply": 1e3, "revenue": 1e3, "beta": 0.0, "depth": 1.0}
    one = in_tokens(token=thin, value_accrual=[{"type": "buy_back", "share": 1.0}])
    one.venue.ledger.transfer(Flow.DEPOSIT, OUTSIDE, TREASURY, one.venue.parameters.capital + 2_000.0)
    one.venue.distribute()
    assert one.venue.value.token is not None
    assert one.venue.value.token.destroyed == pytest.approx(400.0)


def test_at_the_close_the_token_follows_all_fees_of_the_step_and_the_fund_has_it_at_that_price() -> None:
    one = in_tokens(token={**PLAIN, "beta": 0.0, "memory": 1e-6})
    one.venue.tally.fees = 100.0
    one.venue.value.close(one.venue, 1.0)  # 100 USD an hour are 876,000 a year, where a million was expected: 1.752 USD each
    assert one.venue.ledger.token_price == pytest.approx(1.752)
    assert one.venue.ledger.fund == pytest.approx(200.0 + 400.0 * 1.752)
