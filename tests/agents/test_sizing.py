"""Sizing rules against closed forms, hand arithmetic and plain loops."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.stats import norm

from agents.clearinghouse import stress
from agents.clearinghouse.sizing import Cover, Newsvendor, SizingView, TailLoss, sizing_rules
from agents.clearinghouse.stress import Books
from model.ecosystem import Ecosystem
from model.scenario import Scenario


def books(position: Any, equity: Any, price: Any = (1.0,), margin: float = 0.0, depth: float = 1e12) -> Books:
    held, prices = np.array(position, dtype=float), np.array(price, dtype=float)
    gross = prices @ np.abs(held)
    n = gross.size
    return Books(
        held,
        np.array(equity, dtype=float),
        0.5 * margin * gross,
        margin * gross,
        np.ones(n),
        np.zeros(n, dtype=bool),
        prices,
        np.full(prices.size, depth),
        lambda returns: returns * prices,
    )


def view(one: Books, hours: float = 8.0, volatility: float = 0.8, returns: float = 0.0) -> SizingView:
    markets = one.unit.size
    return SizingView(np.zeros(markets), hours, np.full(markets, returns), np.full(markets, volatility), lambda: one)


def test_one_account_and_normal_returns_give_the_closed_forms() -> None:
    # A long of 1 m with 20,000 of equity. With r = e^(s Z) - 1 its loss beyond equity at confidence q is 1 m (1 - e^(-s z)) - 20,000; the
    # mean beyond it is 1 m (1 - e^(s^2 / 2) Phi(-z - s) / (1 - q)) - 20,000.
    one, level = books([[1e6]], [20e3]), 0.99
    s, z = 0.8 * math.sqrt(8.0 / 8760.0), norm.ppf(level)
    settings = {"count": 400_000, "tail": 1e6, "level": level}
    var = TailLoss(TailLoss.Parameters(**settings, measure="value_at_risk")).rule(view(one), None, None)[0]
    es = TailLoss(TailLoss.Parameters(**settings)).rule(view(one), None, None)[0]
    assert var == pytest.approx(1e6 * (1.0 - math.exp(-s * z)) - 20e3, rel=0.01)
    assert es == pytest.approx(1e6 * (1.0 - math.exp(s**2 / 2) * norm.cdf(-z - s) / (1.0 - level)) - 20e3, rel=0.01)


def test_value_at_risk_and_expected_shortfall_of_a_hundred_losses() -> None:
    # Of 1, ..., 100 the 95th is not exceeded with 95 %; the worst 5 % are 96 to 100, on average 98; at 94.5 % half of 95 counts too.
    losses = np.arange(100, 0, -1.0)
    assert stress.value_at_risk(losses, 0.95) == 95.0
    assert stress.expected_shortfall(losses, 0.95) == pytest.approx(98.0)
    assert stress.expected_shortfall(losses, 0.945) == pytest.approx((490.0 + 0.5 * 95.0) / 5.5)


def test_the_newsvendors_fund_costs_least() -> None:
    # r K + kappa E[(D - K)+] is least at the quantile 1 - r / kappa (Chitra 2025).
    one = books([[1e6]], [1e4])
    rule = Newsvendor(Newsvendor.Parameters(cost=2.0, penalty=40.0, tail=3.0))
    best, _ = rule.rule(view(one), None, None)
    losses = stress.losses(one, stress.simulated(1000, np.array([0.8]), 8.0, 0.7, 3.0, 0))
    cost = {k: 2.0 * k + 40.0 * float(np.maximum(losses - k, 0.0).mean()) for k in (0.9 * best, best, 1.1 * best)}
    assert best > 0.0
    assert min(cost, key=cost.__getitem__) == best
    with pytest.raises(ValidationError, match="found 2, more than the loss that a dollar saves, expected less than the penalty, 1"):
        Newsvendor.Parameters(cost=2.0, penalty=1.0)


def test_cover_two_by_hand() -> None:
    # Initial margin 10 %. A falling market, -30 %: longs of 1,000 and 500 lose 20 % beyond margin, 200 and 100. A rising one, +50 %: shorts
    # of 600 and 400 lose 40 %, 240 and 160. Cover-1 is 240, Cover-2 is 400: equity does not count, only margin does.
    one = books([[1000.0, 500.0, -600.0, -400.0]], [1e6] * 4, margin=0.1)
    changes = np.array([[-0.3], [0.5]])
    assert [stress.cover(one, changes, n) for n in (1, 2, 3, 9)] == pytest.approx([240.0, 400.0, 400.0, 400.0])
    few = one.only(np.array([True, True, False, False]))
    assert stress.cover(few, changes, 2) == pytest.approx(300.0)


def test_emirs_default_fund_covers_the_largest_or_the_two_after_it() -> None:
    # EMIR, Art. 42(3). Longs of 1,000, 700 and 600 lose 20 % beyond margin at -30 %: 200, 140, 120. The second and third come to 260.
    three, falls = books([[1000.0, 700.0, 600.0]], [1e6] * 3, margin=0.1), np.array([[-0.3]])
    assert stress.cover(three, falls, 1, or_next_two=True) == pytest.approx(260.0)
    # Where they are less it is the largest alone: 200 against 60 + 40. Of two defaulters both count once: 200 against 60.
    for rest, accounts in (([300.0, 200.0], 3), ([300.0], 2)):
        assert stress.cover(books([[1000.0, *rest]], [1e6] * accounts, margin=0.1), falls, 1, or_next_two=True) == pytest.approx(200.0)
    # Nobody is missed where accounts come in blocks.
    one, changes = drawn(3 * stress.BLOCK)
    loss = np.sort(np.maximum(-(changes @ one.position) - one.initial, 0.0), axis=1)
    expected = max(loss[:, -1].max(), loss[:, -3:-1].sum(axis=1).max())
    assert stress.cover(one, changes, 1, or_next_two=True) == pytest.approx(expected, rel=1e-12)


def test_a_members_capital_is_its_part_of_the_clearing_houses_and_at_least_a_floor() -> None:
    # EMIR, Art. 50a and Basel CRE54 (formula recalled). Exposures of 400, 150 and 90, margin of 250, 120 and 85, contributions of 60, 25
    # and 15: max(400 - 250 - 60, 0) + max(150 - 120 - 25, 0) + max(90 - 85 - 15, 0) = 90 + 5 + 0 = 95, times 20 % times 8 % = 1.52.
    contribution = np.array([60.0, 25.0, 15.0])
    hypothetical = stress.hypothetical_capital(np.array([400.0, 150.0, 90.0]), np.array([250.0, 120.0, 85.0]), contribution)
    assert hypothetical == pytest.approx(1.52)
    # Own funds of 20 beside 100 of contributions: 1.52 x 60 / 120 = 0.76, 0.3167, 0.19; the floor is 0.16 % of each: 0.096, 0.04, 0.024.
    assert stress.member_capital(hypothetical, contribution, 20.0) == pytest.approx([0.76, 1.52 * 25 / 120, 0.19])
    assert stress.member_capital(0.0, contribution, 20.0) == pytest.approx([0.096, 0.04, 0.024])


def test_a_pool_covers_its_part_of_what_each_account_would_lose() -> None:
    # 100 and 60 of loss beyond 10 and 6 of margin, of which the pool stands for a fifth and for all.
    one = replace(books([[100.0, 60.0]], [0.0, 0.0], margin=0.1), part=np.array([0.2, 1.0]))
    assert [stress.cover(one, np.array([[-1.0]]), n) for n in (1, 2)] == pytest.approx([54.0, 72.0])


def drawn(accounts: int, markets: int = 3) -> tuple[Books, Any]:
    rng = np.random.default_rng(5)
    price = rng.uniform(1.0, 1e4, markets)
    position = rng.standard_normal((markets, accounts)) * 10.0 ** rng.normal(4.0, 1.0, accounts) / price[:, None]
    one = books(position, price @ np.abs(position) * rng.uniform(-0.01, 0.5, accounts), price, margin=0.02, depth=1e6)
    return one, one.revalue(stress.simulated(60, np.full(markets, 1.5), 24.0, 0.5, 3.0, 1))


def test_losses_of_everybody_are_what_plain_loops_find() -> None:
    one, changes = drawn(stress.BLOCK + 188)
    for scenario, found in zip(changes.tolist(), stress.losses(one, changes).tolist(), strict=True):
        total = 0.0
        for account, equity in enumerate(one.equity.tolist()):
            total += max(-equity - sum(change * one.position[m, account] for m, change in enumerate(scenario)), 0.0)
        assert found == pytest.approx(total, rel=1e-9)


def test_cover_stops_early_and_misses_nobody() -> None:
    one, changes = drawn(3 * stress.BLOCK)
    loss = np.sort(np.maximum(-(changes @ one.position) - one.initial, 0.0), axis=1)
    for n in (1, 2, 5):
        assert stress.cover(one, changes, n) == pytest.approx(loss[:, -n:].sum(axis=1).max(), rel=1e-12)


def test_a_forced_sale_moves_the_price_along_the_depth_curve() -> None:
    # A long of 1 m with 6 % of equity and 5 % of maintenance margin: -2 % breaches it, +2 % does not. 1 m into 2 x 0.25 m of depth:
    # 10 bp x 2^(1 / 0.67); a second round finds nobody else and changes nothing.
    one = books([[1e6]], [60e3], margin=0.1, depth=0.25e6)
    returns = np.array([[-0.02], [0.02]])
    moved = stress.with_liquidations(one, returns, 1, 0.67, 2.0)
    assert moved[:, 0] == pytest.approx([0.98 * math.exp(-1e-3 * 2.0 ** (1 / 0.67)) - 1.0, 0.02])
    assert np.array_equal(stress.with_liquidations(one, returns, 9, 0.67, 2.0), moved)


def test_what_is_sold_of_any_contract_on_an_underlying_meets_the_depth_of_its_perpetual() -> None:
    # As above, but for half of the position in a dated contract of its own, empty book.
    one = books([[0.5e6], [0.5e6]], [60e3], (1.0, 1.0), margin=0.1)
    one = replace(one, depth=np.array([0.25e6, 1.0]), onto=np.ones((2, 1)), revalue=lambda returns: returns[:, [0, 0]])
    moved = stress.with_liquidations(one, np.array([[-0.02]]), 1, 0.67, 2.0)
    assert moved[:, 0] == pytest.approx([0.98 * math.exp(-1e-3 * 2.0 ** (1 / 0.67)) - 1.0])


def test_feedback_takes_down_those_whom_the_first_fall_left_standing() -> None:
    # The second account stands the fall of 2 % and not what the first one's sale adds to it.
    one = books([[1e6, 1e6]], [60e3, 71e3], margin=0.1, depth=1e4)
    fall = np.array([[-0.02]])
    once, twice = (stress.with_liquidations(one, fall, n, 0.67, 1.0)[0, 0] for n in (1, 2))
    assert twice < once < -0.02
    assert stress.losses(one, np.array([[twice]]))[0] > stress.losses(one, fall)[0]


def test_the_fund_is_sized_on_schedule_and_not_in_between() -> None:
    rule, state, found = TailLoss(TailLoss.Parameters(every=24.0)), None, []
    for step in range(7):
        target, state = rule.rule(view(books([[1e6]], [1e3 * step])), state, None)
        found.append(target)
    assert found[0] == found[1] == found[2] > found[3] == found[4] == found[5] > found[6]


def test_history_is_used_once_there_is_enough_of_it_and_rescaled_to_present_volatility_if_filtered() -> None:
    # Twenty returns of -10 % seen at a volatility of 0.8, then 1.6 is measured: filtered, log(0.9) counts twice.
    for kind, expected in (("historical", 1e6 * 0.1), ("filtered", 1e6 * (1.0 - 0.9**2))):
        rule, state = TailLoss(TailLoss.Parameters(scenarios=kind, least=20, every=8.0)), None
        one = books([[1e6]], [0.0])
        for step in range(20):
            _, state = rule.rule(view(one, returns=0.5 if step == 0 else -0.1), state, None)
        target, state = rule.rule(view(one, returns=-0.1, volatility=0.8), state, None)
        assert target == pytest.approx(1e5, rel=1e-9)
        target, _ = rule.rule(view(one, returns=-0.1, volatility=1.6), state, None)
        assert target == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("kind", sorted(sizing_rules.members))
@pytest.mark.parametrize("divided", ["all", "market"])
def test_every_rule_sizes_a_world_and_pools_are_not_larger_than_it(kind: str, divided: str) -> None:
    world = Scenario().model_dump(mode="json", by_alias=True)
    world["traders"]["groups"] = [{"count": 60, "equity": 6e7, "leverage": 15.0}]
    stressed = {"horizon": 72.0, "feedback": 2} if kind not in ("fixed", "open_interest") else {}
    world["venues"][0]["clearinghouse"] |= {"sizing": {"type": kind, **stressed}, "pools": {"by": divided}}
    eco = Ecosystem(Scenario.model_validate(world), rng=1, check_laws=True, record_events=False)
    eco.run_for(3)
    assert eco.venue.target > 0.0
    assert eco.observation["adequacy"] == eco.venue.ledger.fund / eco.venue.target


def test_cover_of_institutions_looks_at_them_alone() -> None:
    one = books([[1000.0, 500.0]], [0.0, 0.0])
    one.institution[1] = True
    settings = {"number": 1, "tail": 1e6, "count": 100}
    everybody = Cover(Cover.Parameters(**settings)).rule(view(one), None, None)[0]
    some = Cover(Cover.Parameters(**settings, of="institutions")).rule(view(one), None, None)[0]
    assert some == pytest.approx(0.5 * everybody)


def test_a_market_that_has_lost_everything_and_one_without_a_book_are_sized_like_any_other() -> None:
    # All of the history is losses of everything, of which the feedback leaves 1 %: a long of 1 m with 0.2 m of equity is short of 0.79 m.
    one = books([[1e6]], [2e5], depth=0.0)
    rule = TailLoss(TailLoss.Parameters(scenarios="filtered", count=10, horizon=8.0, every=8.0, feedback=2, least=10, level=0.9))
    target, state = 0.0, None
    with np.errstate(all="raise", under="ignore"):
        for _ in range(11):
            target, state = rule.rule(view(one, returns=-1.0), state, None)
    assert target == pytest.approx(7.9e5)


def test_a_quantile_without_an_observation_beyond_it_is_refused() -> None:
    with pytest.raises(ValidationError, match="found 999, none of them beyond the quantile, expected at least 1000 scenarios"):
        TailLoss.Parameters(count=999)
    with pytest.raises(ValidationError, match="found 500, none of them beyond the quantile, expected at least 1000 scenarios"):
        Newsvendor.Parameters(count=500)
    assert Cover.Parameters(count=10).beyond == 1.0  # the worst scenario is one of any number
    with pytest.raises(ValidationError, match="found 250 returns needed and 100 remembered, expected at most `count`"):
        Cover.Parameters(scenarios="historical", count=100)


def test_each_account_s_worst_loss_is_in_its_own_worst_scenario() -> None:
    # 3 long in the first market lose 30 in the first scenario; the short gains there and loses 10 in the second; a hedge never loses more
    # than 5; who has nothing loses nothing.
    position, changes = np.array([[3.0, -1.0, 1.0, 0.0], [0.0, 0.0, -0.5, 0.0]]), np.array([[-10.0, -10.0], [10.0, 20.0], [0.0, 0.0]])
    assert stress.worst_losses(position, changes).tolist() == [30.0, 10.0, 5.0, 0.0]
    many = np.tile(position, stress.BLOCK)
    assert stress.worst_losses(many, changes).tolist() == [30.0, 10.0, 5.0, 0.0] * stress.BLOCK
