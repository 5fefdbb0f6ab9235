"""Traders: what they want to hold, how they switch, pay in, take out and leave."""

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import quad

from agents.trader import (
    CashView,
    Chartist,
    Fundamentalist,
    Hedger,
    Noise,
    Strategy,
    TraderGroup,
    TraderParameters,
    TraderView,
    fundamentalist_share,
    leaves,
    pay_in_or_out,
    truncated_pareto,
)


def of(*given: float) -> np.ndarray:
    return np.array(given, dtype=float)


def stance(rule: Strategy, misalignment=0.0, trend=0.0, funding=0.0, daily=0.04, luck=0.0) -> float:
    seen = TraderView(of(misalignment), of(trend), of(funding), of(daily), of(luck)[:, None])
    decision, _ = rule.rule(seen, rule.initial_state(), None)
    assert decision.shape == (1, 1)
    return float(decision[0, 0])


def test_fundamentalists_trade_towards_value() -> None:
    rule = Fundamentalist(Fundamentalist.Parameters(reaction=0.15, noise=0.4))
    # 8 % above value is two daily standard deviations: -0.3; own view of one standard deviation: +0.4.
    assert stance(rule, misalignment=0.08) == pytest.approx(-0.3)
    assert stance(rule, misalignment=0.08, luck=1.0) == pytest.approx(0.1)
    assert stance(rule, misalignment=-4.0) == 1.0
    assert stance(rule, misalignment=0.08, daily=0.0) == 0.0


def test_chartists_follow_the_trend() -> None:
    rule = Chartist(Chartist.Parameters(reaction=0.2, noise=0.6))
    assert stance(rule, trend=-0.08) == pytest.approx(-0.4)
    assert stance(rule, trend=-0.08, luck=-2.0) == -1.0


def test_noise_traders_like_to_be_long() -> None:
    assert stance(Noise(Noise.Parameters(bias=0.15, noise=0.6))) == pytest.approx(0.15)


def test_hedgers_go_short_as_far_as_funding_pays() -> None:
    rule = Hedger(Hedger.Parameters(hurdle=0.02, saturation=0.15))
    assert stance(rule, funding=0.01) == 0.0
    assert stance(rule, funding=0.08) == pytest.approx(-0.4)
    assert stance(rule, funding=0.5) == -1.0


def test_switching_follows_franke_and_westerhoff() -> None:
    p = TraderParameters(attractiveness_bias=-0.327, herding=1.79, misalignment=18.43)
    # a = -0.327 at equal shares and no misalignment; + 1.79 x 0.5 with three quarters; + 18.43 x 0.04 at 20 % of misalignment.
    for share, gap, a in ((0.5, 0.0, -0.327), (0.75, 0.0, 0.568), (0.5, 0.2, 0.4102)):
        assert fundamentalist_share(p, share, of(gap, 0.0), of(1.0, 0.0)) == pytest.approx(1.0 / (1.0 + np.exp(-a)))


@pytest.mark.parametrize("tail", [0.7, 1.0, 1.2, 3.0])
def test_deposits_have_the_stated_mean_and_span(tail: float) -> None:
    mean, _ = quad(lambda u: truncated_pareto(of(u), tail, 3000.0)[0], 0.0, 1.0, limit=500, points=[0.9, 0.99, 0.999, 0.9999])
    assert mean == pytest.approx(1.0, rel=1e-6)
    least, most = truncated_pareto(of(0.0, 1.0), tail, 3000.0)
    assert most / least == pytest.approx(3000.0)


def moved(equity: float, free: float, luck: float = 0.0, confidence: float = 1.0) -> float:
    group = TraderGroup(redeposit=0.25, deposit_below=0.5, withdraw_above=3.0)
    return float(pay_in_or_out(group, CashView(of(equity), of(free), of(1000.0), of(luck)), confidence)[0])


def test_losers_pay_their_stake_in_again_as_far_as_confidence_goes() -> None:
    assert moved(400.0, 400.0) == 600.0
    assert moved(-50.0, 0.0) == 1000.0
    assert moved(600.0, 600.0) == 0.0
    # Probability 25 % in calm, half of it at half the confidence.
    assert moved(400.0, 400.0, luck=0.24) == 600.0
    assert moved(400.0, 400.0, luck=0.26) == 0.0
    assert moved(400.0, 400.0, luck=0.24, confidence=0.5) == 0.0


def test_winners_take_gains_home_down_to_twice_their_stake_as_margin_allows() -> None:
    assert moved(3500.0, 3500.0) == -1500.0
    assert moved(3500.0, 700.0) == -700.0
    assert moved(3500.0, -10.0) == 0.0
    assert moved(2900.0, 2900.0) == 0.0


def test_a_haircut_of_ten_percent_drives_four_in_ten_away() -> None:
    # P = 1 - e^(-5h): 39 % at 10 %, 63 % at 20 %.
    group = TraderGroup(churn=5.0)
    luck = (np.arange(1000) + 0.5) / 1000
    assert leaves(group, np.full(1000, 0.1), luck).sum() == 393
    assert leaves(group, np.full(1000, 0.2), luck).sum() == 632
    assert not leaves(group, np.zeros(1000), luck).any()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: TraderGroup.model_validate({"strategies": [{"type": "noise", "weight": 0}]}), "expected at least one weight above 0"),
        (
            lambda: TraderGroup.model_validate({"strategies": [{"type": "astrologer"}]}),
            "expected one of call_buyer, chartist, fundamentalist, hedger, noise, protected, volatility_seller",
        ),
        (lambda: TraderGroup(name="Big Fish"), "pattern"),
        (lambda: TraderParameters(groups=(TraderGroup(), TraderGroup())), "expected every group's name once"),
        (lambda: TraderParameters(markets=(0.0,)), "expected weights of at least 0 that are not all 0"),
    ],
)
def test_impossible_traders_are_refused(build, message) -> None:
    with pytest.raises(ValidationError, match=message):
        build()
