import numpy as np
import pytest
from pydantic import ValidationError
from scipy.integrate import quad
from scipy.stats import norm

from model.instruments import InstrumentParameters, Instruments, Moment, black
from model.surface import SurfaceParameters, implied_volatility

TERMS = (
    InstrumentParameters(type="perpetual", asset="BTC"),
    InstrumentParameters(type="inverse", asset="BTC"),
    InstrumentParameters(type="future", asset="ETH", days=7),
    InstrumentParameters(type="call", asset="BTC", days=30, moneyness=1.1),
    InstrumentParameters(type="put", asset="BTC", days=30, moneyness=0.9),
)
INDEX = np.array([50_000.0, 2_500.0])
LEVEL = np.array([0.6, 0.8])


def listed() -> Instruments:
    venue = Instruments(TERMS, ("BTC", "ETH"), SurfaceParameters())
    venue.list_series(np.isfinite([np.inf, np.inf, 1, 1, 1]), 0.0, INDEX)
    return venue


NONE = np.zeros(5)


def test_black_prices_hulls_example():
    # Hull, Options, Futures and Other Derivatives, example 15.6: S = 42, K = 40, r = 10 %, sigma = 20 %, six months: call 4.76, put 0.81.
    # Discounted prices; the forward is 42 exp(0.05).
    forward, growth = 42.0 * np.exp(0.05), np.exp(0.05)
    call = black(np.array(forward), np.array(40.0), np.array(0.2**2 * 0.5), np.array(1.0)) / growth
    put = black(np.array(forward), np.array(40.0), np.array(0.2**2 * 0.5), np.array(-1.0)) / growth
    assert round(float(call), 2) == 4.76
    assert round(float(put), 2) == 0.81


def test_black_is_the_expected_pay_off_under_the_lognormal():
    forward, strike, variance = 100.0, 120.0, 0.09

    def pay_off(z: float) -> float:
        return max(forward * np.exp(-0.5 * variance + np.sqrt(variance) * z) - strike, 0.0) * norm.pdf(z)

    assert black(np.array(forward), np.array(strike), np.array(variance), np.array(1.0)) == pytest.approx(
        quad(pay_off, -10, 10, limit=400)[0], rel=1e-6
    )


def test_put_and_call_at_one_strike_differ_by_the_forward():
    terms = tuple(InstrumentParameters(type=kind, asset="BTC", days=30, moneyness=1.05) for kind in ("call", "put"))
    venue = Instruments(terms, ("BTC",), SurfaceParameters())
    venue.list_series(np.array([True, True]), 0.0, INDEX[:1])
    call, put = venue.worth(Moment(INDEX[:1], LEVEL[:1], 100.0), np.zeros(2))
    assert call - put == pytest.approx(50_000.0 - 1.05 * 50_000.0, rel=1e-9)


def test_an_inverse_contract_with_its_coins_gains_what_the_published_formula_says():
    # N (1/entry - 1/P) coins: 5,000 contracts bought at 50,000, mark 40,000: 5,000 (1/50,000 - 1/40,000) = -0.025 BTC.
    venue = listed()
    bought, entry, mark = 5_000.0, 50_000.0, 40_000.0
    coins = bought / entry
    there = Moment(np.array([mark, 2_500.0]), LEVEL, 0.0)
    usd = coins * mark + bought * venue.worth(there, NONE)[1]
    assert usd / mark == pytest.approx(bought * (1 / entry - 1 / mark))
    assert usd / mark == pytest.approx(-0.025)


def test_units_are_the_notional_of_one_contract():
    units = listed().units(Moment(INDEX, LEVEL, 0.0), np.array([0.01, 0.01, 0.0, 0.02, 0.0]))
    assert units == pytest.approx([50_500.0, 1.0, 2_500.0, 50_000.0, 50_000.0])


def test_revaluing_agrees_with_being_there():
    venue, here = listed(), Moment(INDEX, LEVEL, 24.0)
    spot, vol = np.array([[-0.16, -0.3], [0.08, 0.1]]), np.array([[0.4, 0.4], [-0.22, -0.22]])
    change = venue.revalue(here, NONE, spot, vol)
    for scenario in range(2):
        there = Moment(INDEX * (1 + spot[scenario]), LEVEL * (1 + vol[scenario]), 24.0)
        gained = venue.worth(there, NONE) - venue.worth(here, NONE)
        gained[1] = spot[scenario, 0] / (1 + spot[scenario, 0])  # in coin, at today's index: a fall of 16 % costs 0.16 / 0.84 of a dollar
        assert change[scenario] == pytest.approx(gained)


def test_a_hedged_option_loses_only_what_its_curvature_costs():
    venue, here = listed(), Moment(INDEX, LEVEL, 0.0)
    delta = venue.deltas(here, NONE)[3]
    move = np.array([[0.001, 0.0], [-0.001, 0.0]])
    change = venue.revalue(here, NONE, move, np.zeros_like(move))
    hedged = change[:, 3] - delta * change[:, 0]
    assert 0.0 < delta < 1.0
    assert (hedged > 0.0).all()
    assert np.abs(hedged).max() < 0.02 * np.abs(change[:, 3]).max()


def test_deltas_of_futures_are_one_and_of_a_put_negative():
    deltas = listed().deltas(Moment(INDEX, LEVEL, 0.0), NONE)
    assert deltas[:3] == pytest.approx(1.0)
    assert -1.0 < deltas[4] < 0.0


def test_vega_is_blacks_vega_times_the_level_where_the_surface_is_flat():
    # rho = 0 and a vanishing curvature leave theta: dC/dlog(level) = F n(d1) sigma sqrt(T).
    flat = SurfaceParameters(skew=0.0, curvature=1e-9, term=0.0)
    venue = Instruments((InstrumentParameters(type="call", asset="BTC", days=30, moneyness=1.0),), ("BTC",), flat)
    venue.list_series(np.array([True]), 0.0, INDEX[:1])
    years = 30 / 365
    vega = venue.vegas(Moment(INDEX[:1], LEVEL[:1], 0.0), np.zeros(1))
    d1 = 0.5 * 0.6 * np.sqrt(years)
    assert vega == pytest.approx(50_000 * norm.pdf(d1) * 0.6 * np.sqrt(years), rel=1e-5)


def test_the_vega_deep_in_the_money_is_that_of_the_other_kind_at_its_strike():
    # Put-call parity. A put at one and a half times the index is worth 25,000; a vega of a cent is lost in the last digits of that.
    terms = tuple(InstrumentParameters(type=kind, asset="BTC", days=3, moneyness=1.5) for kind in ("call", "put"))
    venue = Instruments(terms, ("BTC",), SurfaceParameters())
    venue.list_series(np.array([True, True]), 0.0, INDEX[:1])
    moment = Moment(INDEX[:1], LEVEL[:1], 0.0)
    call, put = venue.vegas(moment, np.zeros(2))
    assert 0.0 < put < 0.02
    assert put == call
    # By the definition: the call's prices at a ten-thousandth more and less.
    up, down = (venue.worth(Moment(INDEX[:1], LEVEL[:1] * factor, 0.0), np.zeros(2))[0] for factor in (1.0001, 0.9999))
    assert call == pytest.approx((up - down) / 2e-4, rel=1e-9)


def test_what_is_worth_nothing_or_hardly_moves_with_volatility_has_no_vega():
    terms = tuple(InstrumentParameters(type=kind, asset="BTC", days=0.1, moneyness=3.0) for kind in ("call", "put"))
    venue = Instruments(terms, ("BTC",), SurfaceParameters())
    venue.list_series(np.array([True, True]), 0.0, INDEX[:1])
    assert venue.vegas(Moment(INDEX[:1], LEVEL[:1], 0.0), np.zeros(2)).tolist() == [0.0, 0.0]
    near = Instruments((TERMS[3],), ("BTC",), SurfaceParameters())
    near.list_series(np.array([True]), 0.0, INDEX[:1])
    # The book's discount of 10 % of the index is more than the option is worth.
    assert near.vegas(Moment(INDEX[:1], LEVEL[:1], 0.0), np.array([-0.1])).tolist() == [0.0]
    assert near.vegas(Moment(INDEX[:1], LEVEL[:1], 0.0), np.array([0.1]))[0] > 0.0


def test_options_settle_at_their_intrinsic_value_and_futures_at_the_averaged_index():
    venue = listed()
    paid = venue.settlement_value(np.array([0.0, 0.0, 2_600.0, 60_000.0, 60_000.0]))
    # The call was struck at 55,000, the put at 45,000.
    assert paid == pytest.approx([0.0, 0.0, 2_600.0, 5_000.0, 0.0])


def test_series_expire_and_new_ones_are_listed_at_the_index():
    venue = listed()
    assert venue.expiring(167.0).tolist() == [False] * 5
    assert venue.expiring(168.0).tolist() == [False, False, True, False, False]
    venue.list_series(venue.expiring(720.0), 720.0, np.array([40_000.0, 2_000.0]))
    assert venue.strike[3] == pytest.approx(44_000.0)
    assert venue.expiry.tolist() == [np.inf, np.inf, 888.0, 1440.0, 1440.0]


def test_an_option_is_worth_its_implied_volatility():
    venue = listed()
    sigma = implied_volatility(SurfaceParameters(), 0.6, np.array(30 / 365), np.log(np.array(1.1)))
    price = black(np.array(50_000.0), np.array(55_000.0), sigma**2 * 30 / 365, np.array(1.0))
    assert venue.worth(Moment(INDEX, LEVEL, 0.0), NONE)[3] == pytest.approx(float(price))


def test_an_options_premium_is_a_share_of_the_index_that_fades_over_its_last_day_and_takes_its_price_to_nothing_at_most():
    venue, dear, cheap = listed(), np.array([0.0, 0.0, 0.0, 0.01, 0.0]), np.array([0.0, 0.0, 0.0, 0.0, -0.5])
    for hours, premium in ((0.0, 500.0), (708.0, 250.0), (720.0, 0.0)):  # 1 % of 50,000, by half twelve hours before the end
        here = Moment(INDEX, LEVEL, hours)
        assert venue.worth(here, dear)[3] - venue.worth(here, NONE)[3] == pytest.approx(premium)
    assert venue.worth(Moment(INDEX, LEVEL, 0.0), cheap)[4] == 0.0


def test_an_inverse_contract_is_worth_a_dollar_over_the_books_price_in_coin():
    # At a premium of a quarter a coin costs 62,500 USD in the book: a contract is 1 / 62,500 coins, 0.8 USD at the index.
    assert listed().worth(Moment(INDEX, LEVEL, 0.0), np.full(5, 0.25))[1] == pytest.approx(-0.8)


def test_a_contract_in_coin_is_settled_in_the_coin_of_its_own_underlying():
    terms = tuple(
        InstrumentParameters(type=kind, asset=asset) for kind, asset in (("perpetual", "BTC"), ("inverse", "ETH"), ("inverse", "BTC"))
    )
    assert Instruments(terms, ("BTC", "ETH"), SurfaceParameters()).settled_in().tolist() == [-1, 1, 0]


def test_elsewhere_a_future_costs_its_carry_too_and_its_delta_is_of_what_it_costs():
    # Seven days at 36.5 % a year are 0.7 %: it falls by a tenth of 2,500 x 1.007 where the index falls by a tenth.
    venue, here = listed(), Moment(INDEX, LEVEL, 0.0, np.array([0.0, 0.365]))
    change = venue.revalue(here, NONE, np.array([[0.0, -0.1]]), np.zeros((1, 2)))
    assert change[0, 2] == pytest.approx(-250.0 * 1.007)
    assert venue.deltas(here, np.full(5, 0.02))[2] == pytest.approx(1.0)


def test_no_scenario_takes_volatility_beyond_the_surfaces_bounds():
    venue, here, still = listed(), Moment(INDEX, LEVEL, 0.0), np.zeros((1, 2))
    at_most = Moment(INDEX, np.full(2, 5.0), 0.0)
    change = venue.revalue(here, NONE, still, np.full((1, 2), 9.0))  # 0.6 and 0.8 would be 6 and 8
    assert change[0, 3:] == pytest.approx(venue.worth(at_most, NONE)[3:] - venue.worth(here, NONE)[3:])


def test_a_series_keeps_its_strike_while_others_are_listed_anew():
    venue = listed()
    venue.list_series(venue.expiring(168.0), 168.0, 2.0 * INDEX)
    assert venue.strike[3:] == pytest.approx([55_000.0, 45_000.0])


def test_a_contract_may_live_for_hours_if_that_is_longer_than_its_settlement():
    assert InstrumentParameters(type="future", asset="BTC", days=0.1, settlement_hours=2.4).settlement_hours == 2.4


@pytest.mark.parametrize("fraction", [1.0, 1e-9, 0.0])
def test_a_worthless_underlying_leaves_finite_worths(fraction):
    worth = listed().worth(Moment(INDEX * fraction, LEVEL, 0.0), NONE)
    assert np.isfinite(worth).all()


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"type": "future", "asset": "BTC"}, "expected a life in days"),
        ({"type": "perpetual", "asset": "BTC", "days": 7}, "never expires"),
        ({"type": "call", "asset": "BTC", "days": 7}, "expected strike over index"),
        (
            {"type": "future", "asset": "BTC", "days": 0.01, "settlement_hours": 1.0},
            "found 1, expected at most the life of the series, 0.24 hours",
        ),
    ],
)
def test_terms_that_do_not_fit_are_refused(fields, says):
    with pytest.raises(ValidationError, match=says):
        InstrumentParameters(**fields)


@pytest.mark.parametrize(
    ("days", "factor"),
    [
        (0.5, 30.0**0.30),  # less than a day counts as one: 2.774
        (6, 5.0**0.30),  # 1.621
        (30, 1.0),
        (120, 0.25**0.13),  # 0.835
    ],
)
def test_margins_shock_of_volatility_is_larger_for_short_lives_and_smaller_for_long_ones(days: float, factor: float) -> None:
    # Paradex, "portfolio margin": shocked IV = IV (1 + v (30 / max(1, days))^p), p = 0.30 before 30 days, then 0.13.
    terms = (InstrumentParameters(type="call", asset="BTC", days=days, moneyness=1.05, settlement_hours=0.5),)
    venue, index, level = Instruments(terms, ("BTC",), SurfaceParameters()), np.array([50_000.0]), np.array([0.7])
    venue.list_series(np.array([True]), 0.0, index)
    here, strike, years = Moment(index, level, 0.0), np.array(52_500.0), np.array(days / 365.0)
    sigma = implied_volatility(SurfaceParameters(), level[0], years, np.log(strike / index[0]))
    changes = venue.revalue_by_tenor(here, np.zeros(1), np.zeros((2, 1)), np.array([[-0.22], [0.64]]))[:, 0]
    for found, v in zip(changes, (-0.22, 0.64), strict=True):
        shocked = sigma * (1.0 + v * factor)
        expected = black(index[0], strike, shocked**2 * years, 1.0) - black(index[0], strike, sigma**2 * years, 1.0)
        assert found == pytest.approx(float(expected), rel=1e-9)


def test_a_fall_of_volatility_takes_none_below_zero() -> None:
    # 38 % at thirty days are 105 % at a day: the option is worth what it would pay now.
    terms = (InstrumentParameters(type="call", asset="BTC", days=1, moneyness=0.9),)
    venue, index = Instruments(terms, ("BTC",), SurfaceParameters()), np.array([100.0])
    venue.list_series(np.array([True]), 0.0, index)
    here = Moment(index, np.array([0.7]), 0.0)
    left = venue.worth(here, np.zeros(1))[0] + venue.revalue_by_tenor(here, np.zeros(1), np.zeros((1, 1)), np.array([[-0.38]]))[0, 0]
    assert left == pytest.approx(10.0)
