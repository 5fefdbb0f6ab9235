"""Published and worked examples that the engine as a whole must give, and independent packages it must agree with.

What a rule alone must give stands beside the rule (tests/agents); networks of debts in tests/model/contagion/test_clearing.py.
"""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.stats import truncpareto

from agents.clearinghouse.deleveraging import fill_by_score, fill_pro_rata
from agents.trader import Chartist, Fundamentalist, TraderParameters, TraderView, fundamentalist_share, truncated_pareto
from model.ecosystem import Ecosystem
from model.ledger import FUND, TREASURY, Flow, Status
from model.scenario import Scenario
from tests.validation.handmade import FIRST, LIQUIDATOR, MAKER, handmade, of

WEEK = 168.0
"""Hours in which all but 1/e of a squared return fades from the exchange's measured volatility."""
NO_BOOK = {"order": ["liquidators"]}
"""With a liquidator that has nothing: nobody takes liquidated contracts."""


def deleveraging(rule: str, **choice: str) -> list[dict]:
    return [{"type": "fund"}, {"type": "deleveraging", "rule": {"type": rule, **choice}}, {"type": "write_down"}]


def percent(*maintenance: float) -> dict:
    """Flat maintenance rates, one a market."""
    return {"type": "tiered", "schedules": [[{"notional": 0.0, "initial": rate, "maintenance": rate}] for rate in maintenance]}


# -- venues' own examples -----------------------------------------------------------------------------------------------------------------


def test_dydxs_short_is_liquidated_at_its_published_price_and_not_a_cent_before() -> None:
    """dYdX documentation, "Isolated Liquidation Price": 1,000 USD, short 3 ETH at 3,000, 5 %: 10,000 / 3.15 = 3,174.60."""
    one = handmade([1_000.0], [3_000.0], maker=1e6, margin=percent(0.05))
    one.position(MAKER, FIRST, 3.0, 3_000.0)
    one.move(3_174.60)
    assert one.held(FIRST) == [-3.0]
    one.move(3_174.61)
    assert one.held(FIRST) == [0.0]


def test_dydxs_cross_margined_short_is_liquidated_at_its_published_price_and_not_a_cent_before() -> None:
    """dYdX documentation, "Cross Liquidation Price": 1,000 USD, short 1.5 ETH at 3,000 (5 %), long 1,000 STRK at 1.75 (10 %).

    (1,000 + 4,500 - 175) / 1.575 = 3,380.952.
    """
    one = handmade([1_000.0], [3_000.0, 1.75], maker=1e6, margin=percent(0.05, 0.10))
    one.position(MAKER, FIRST, 1.5, 3_000.0)
    one.position(FIRST, MAKER, 1_000.0, 1.75, market=1)
    one.move(3_380.95)
    assert one.venue.tally.liquidations == 0
    one.move(3_380.96)
    assert one.venue.tally.liquidations == 1
    assert one.held(FIRST, market=0) == one.held(FIRST, market=1) == [0.0]


@pytest.mark.parametrize(
    ("tiers", "deposit", "contracts", "price"),
    [
        # Hyperliquid: liq = P - side x available / |s| / (1 - l x side), available = 6,000 - l x 0.8 x 50,000, l = 1.25 %:
        # 50,000 - 5,500 / 0.8 / 0.9875 = 43,037.97 for a long, 50,000 + 5,500 / 0.8 / 1.0125 = 56,790.12 for a short.
        ("hyperliquid_btc", 6_000.0, 0.8, 43_037.97),
        ("hyperliquid_btc", 6_000.0, -0.8, 56_790.12),
        # Binance: (wallet + cum - s x entry) / (|s| x (mmr - side)): 10 BTC at 50,000 on 30,000 are 473,434 USD there, in the bracket
        # of 1 % less 1,300: (31,300 - 500,000) / (10 x -0.99) = 47,343.43. A short: (31,300 + 500,000) / (10 x 1.01) = 52,603.96.
        ("binance_btc_2021", 30_000.0, 10.0, 47_343.43),
        ("binance_btc_2021", 30_000.0, -10.0, 52_603.96),
    ],
)
def test_a_position_is_liquidated_at_its_venues_published_price(tiers: str, deposit: float, contracts: float, price: float) -> None:
    """Hyperliquid documentation, "Liquidations"; Binance's formula with the maintenance amount. The numbers are ours."""
    one = handmade([deposit], [50_000.0], maker=1e8, margin={"type": "tiered", "schedules": [tiers]})
    one.position(FIRST, MAKER, contracts, 50_000.0)
    worse = -0.01 if contracts > 0.0 else 0.01
    one.move(price - worse)
    assert one.venue.tally.liquidations == 0
    one.move(price + worse)
    assert one.venue.tally.liquidations == 1


def test_ftxs_backstop_provider_buys_a_third_of_the_way_from_zero_price_to_mark() -> None:
    """FTX help centre, "Backstop liquidity provider program": the account is closed at zero price, the provider pays 2/3 ZP + 1/3 MP.

    Constructed: a long of 10 at 100 on 60 USD at 95 has 10 USD left, zero price 94. The provider pays 283 / 3 = 94.33 and so has 6.67 at
    mark; 3.33 are the fund's.
    """
    house = {"fees": {"liquidation": {"type": "remaining_equity", "share": 1.0, "bounty": 2.0 / 3.0}}, "route": NO_BOOK}
    one = handmade([60.0], liquidator=1e4, discount=0.0, **house)
    one.position(FIRST, MAKER, 10.0, 100.0)
    one.move(95.0)
    assert one.equity(FIRST, LIQUIDATOR, FUND) == pytest.approx([0.0, 1e4 + 10.0 * (95.0 - 283.0 / 3.0), 10.0 / 3.0])


def test_vertexs_liquidator_and_insurance_have_half_each_of_a_fifth_of_the_maintenance_haircut() -> None:
    """Vertex contracts, `ClearinghouseLiq`: liquidated at P (1 + (w - 1) / 5), w the maintenance weight; insurance has half of it.

    Constructed: a long of 10 at 100 on 90 USD at 95, w = 0.95: sold at 95 x 0.99 = 94.05. Of 9.50 the liquidator has 4.75 and the fund
    4.75; the account keeps 40 - 9.50.
    """
    house = {"fees": {"liquidation": {"type": "margin_share", "share": 0.2, "bounty": 0.5}}, "liquidation": {"type": "full", "keeps": 1.0}}
    one = handmade([90.0], liquidator=1e4, discount=0.0, route=NO_BOOK, margin=percent(0.05), **house)
    one.position(FIRST, MAKER, 10.0, 100.0)
    one.move(95.0)
    assert one.equity(FIRST, LIQUIDATOR, FUND) == pytest.approx([90.0 - 10.0 * (100.0 - 94.05), 1e4 + 4.75, 4.75])


def test_dydxs_winner_is_closed_at_the_losers_bankruptcy_price() -> None:
    """dYdX documentation, "Contract Loss Mechanisms": 100 USD each, 500 ABC at 1; at 2 the short is worth -400.

    Its bankruptcy price is 1 + 100 / 500 = 1.2, so the long books 100 of the 500 it expected.
    """
    one = handmade([100.0, 100.0], [1.0], waterfall=deleveraging("pro_rata"), route=NO_BOOK)
    one.position(FIRST, FIRST + 1, 500.0, 1.0)
    one.move(2.0)
    assert one.equity(FIRST, FIRST + 1) == pytest.approx([200.0, 0.0], abs=1e-9)
    assert one.held(FIRST, FIRST + 1) == [0.0, 0.0]
    closed = one.venue.events.columns()
    assert closed["price"][closed["kind"] == "deleveraging"].tolist() == [pytest.approx(1.2)]
    assert one.absorbed == {"deleveraging": pytest.approx(400.0)}


def test_dydxs_fund_pays_fifteen_dollars_for_a_fill_below_bankruptcy_price() -> None:
    """dYdX documentation, "Contract Loss Mechanisms": 100 USD, long 500 at 1 (3 %); at 0.801 it has 0.50 and is sold at 0.77.

    500 x 0.23 = 115 of losses on 100: the fund pays 15. Its bankruptcy price was 0.80.
    """
    one = handmade([100.0], [1.0], fund=50.0, liquidator=1e6, discount=1.0 - 0.77 / 0.801, margin=percent(0.03), route=NO_BOOK)
    one.position(FIRST, MAKER, 500.0, 1.0)
    one.move(0.801)
    assert one.statement == {Flow.DRAW_EXECUTION: pytest.approx(-15.0)}
    assert one.equity(FIRST, FUND) == pytest.approx([0.0, 35.0], abs=1e-9)
    # The liquidator bought 3.1 cents a contract below the mark.
    assert one.equity(LIQUIDATOR) == pytest.approx([1e6 + 15.5])


def test_paradexs_partial_liquidation_costs_its_penalty_and_restores_the_margin_ratio() -> None:
    """Paradex documentation, "Liquidations": margin 88.80 on 80 USD, 40 % closed, penalty 17.76: then 62.24 and 85.6 %.

    The example implies half of the closed margin as penalty (the page's text says 70 %): 0.4 x 0.5 x 88.8 = 17.76. Margin after:
    0.6 x 88.8 = 53.28, and 53.28 / 62.24 = 85.6 %. With 8.88 % of maintenance on 10 contracts at 100 the fee is 4.44 % of notional.
    """
    house = {"liquidation": {"type": "partial_then_full", "slice": 0.4, "small": 0.0}, "fees": {"liquidation": 0.0444}}
    one = handmade([180.0], margin=percent(0.0888), rounds=1, **house)
    one.position(FIRST, MAKER, 10.0, 110.0)
    one.move(100.0)
    assert one.statement == {Flow.LIQUIDATION_FEE: pytest.approx(17.76)}
    assert one.equity(FIRST) == pytest.approx([62.24])
    margin = 0.0888 * one.held(FIRST)[0] * 100.0
    assert margin / one.equity(FIRST)[0] == pytest.approx(0.856, abs=5e-4)


# -- who bears it -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["profit", "contracts", "equity"])
def test_chitras_five_accounts_after_deleveraging_half_of_their_deficit(by: str) -> None:
    """Chitra (2025), five accounts: equities 10, 5, 1, -3, -12, gains 8, 4, 0.5; the fund covers half of the 15.

    Pro rata by gain everybody gives 7.5 / 12.5 = 60 % of it: 5.2, 2.6, 0.7. Here the mark falls from 100 to 99, so gains of 8, 4, 0.5 are
    8, 4, 0.5 contracts short and those who hold 2.5 and 10 long have lost 2.5 and 10 (and 0.5 and 2 before that).
    By contracts held it is the same, since a contract gained a dollar; by equity, 10 : 5 : 1, all are below their gains: 4.69, 2.34, 0.47.
    """
    house = {"waterfall": deleveraging("pro_rata", by=by), "margin": percent(0.001), "route": NO_BOOK}
    one = handmade([2.0, 1.0, 0.5, 0.0, 0.0], fund=7.5, **house)
    winners, losers = range(FIRST, FIRST + 3), (FIRST + 3, FIRST + 4)
    for winner, gain in zip(winners, (8.0, 4.0, 0.5), strict=True):
        for loser, part in zip(losers, (0.2, 0.8), strict=True):
            one.position(loser, winner, part * gain, 100.0)
    # What takes them from -2.5 and -10 to -3 and -12: paid to the outside world before the fall.
    for loser, debt in zip(losers, (0.5, 2.0), strict=True):
        one.venue.ledger.transfer(Flow.WITHDRAWAL, loser, 0, debt)
    one.move(99.0)
    weights = of(10.0, 5.0, 1.0) if by == "equity" else of(8.0, 4.0, 0.5)
    expected = of(10.0, 5.0, 1.0) - 7.5 * weights / weights.sum()
    assert one.equity(*winners) == pytest.approx(expected.tolist(), abs=1e-9)
    if by != "equity":
        assert one.equity(*winners) == pytest.approx([5.2, 2.6, 0.7], abs=1e-9)
    assert one.equity(*losers, FUND) == pytest.approx([0.0, 0.0, 0.0], abs=1e-9)
    assert one.absorbed == {"deleveraging": pytest.approx(7.5), "fund": pytest.approx(7.5)}


@pytest.mark.parametrize(
    ("loss", "uses"),
    [
        (62.0, {"exchange_capital": 2.0}),
        (80.0, {"exchange_capital": 5.0, "fund": 15.0}),
        (107.0, {"exchange_capital": 5.0, "fund": 40.0, "socialised_loss": 2.0}),
        (130.0, {"exchange_capital": 5.0, "fund": 40.0, "socialised_loss": 25.0}),
        (160.0, {"exchange_capital": 5.0, "fund": 40.0, "socialised_loss": 43.0, "write_down": 12.0}),
    ],
)
def test_a_default_goes_down_a_ccps_layers_in_order(loss: float, uses: dict[str, float]) -> None:
    """Constructed: the defaulter's 60 first, then skin in the game 5, a default fund of 40, at most 43 of the others, then claims.

    A long of one contract at 1,000 on 60 USD falls by `loss`; the maker, with 10,000, has gained it, and 43 is a share of that.
    """
    layers = [
        {"type": "exchange_capital", "share": 0.25},
        {"type": "fund"},
        {"type": "socialised_loss", "by": "equity", "cap": 43.0 / (10_000.0 + loss)},
        {"type": "write_down"},
    ]
    one = handmade([60.0], [1_000.0], fund=40.0, capital=20.0, waterfall=layers)
    one.position(FIRST, MAKER, 1.0, 1_000.0)
    one.move(1_000.0 - loss)
    assert one.absorbed == {layer: pytest.approx(usd) for layer, usd in uses.items()}
    borne = uses.get("socialised_loss", 0.0) + uses.get("write_down", 0.0)
    assert one.equity(FIRST, MAKER) == pytest.approx([0.0, 10_000.0 + loss - borne], abs=1e-9)
    assert one.equity(FUND, TREASURY) == pytest.approx([40.0 - uses.get("fund", 0.0), 20.0 - uses["exchange_capital"]], abs=1e-9)
    assert one.venue.insolvent == ("write_down" in uses)


def test_winners_are_paid_four_fifths_of_their_gains() -> None:
    """Variation-margin gains haircut (formula of ISDA 2013, recalled): gains 60, 30, 10 and 20 short: paid 48, 24, 8.

    A long of 10 at 100 on 80 USD at 90: 100 lost, 20 of them not its own.
    """
    layers = [{"type": "fund"}, {"type": "socialised_loss", "by": "gains"}, {"type": "write_down"}]
    one = handmade([80.0, 500.0, 500.0, 500.0], waterfall=layers)
    for winner, size in ((FIRST + 1, 6.0), (FIRST + 2, 3.0), (FIRST + 3, 1.0)):
        one.position(FIRST, winner, size, 100.0)
    one.move(90.0)
    assert one.equity(FIRST + 1, FIRST + 2, FIRST + 3) == pytest.approx([548.0, 524.0, 508.0])
    assert one.venue.ledger.status[FIRST] == Status.BANKRUPT


def test_a_funding_index_charges_the_open_positions_of_the_market_that_made_the_loss_and_no_others() -> None:
    """Drift protocol v2, `resolve_perp_bankruptcy`: the market's cumulative funding moves by loss / (longs + shorts).

    Constructed: a long of 10 at 100 on 100 USD is sold at 85, 50 short. Open then in its market: a short of 10 and the maker's long
    of 10, a payment of 2.50 a contract; the pair with 4 contracts each of another market pays nothing. No market may claim on the fund.
    """
    layers = [{"type": "fund"}, {"type": "socialised_loss", "by": "funding_index"}, {"type": "write_down"}]
    one = handmade([100.0, 500.0, 300.0, 300.0], [100.0, 50.0], fund=1_000.0, pools={"claims": ["speculative"]}, waterfall=layers)
    one.position(FIRST, FIRST + 1, 10.0, 100.0)
    one.position(FIRST + 2, FIRST + 3, 4.0, 50.0, market=1)
    one.move(85.0)
    assert one.absorbed == {"socialised_loss": pytest.approx(50.0)}
    assert one.equity(FIRST, FIRST + 1, MAKER, FIRST + 2, FIRST + 3) == pytest.approx([0.0, 650.0 - 25.0, 10_000.0 - 25.0, 300.0, 300.0])
    assert one.equity(FUND) == [1_000.0]


def test_a_queue_by_equity_takes_the_first_account_whole() -> None:
    """Constructed: 1,500 USD from equities of 1,500, 3,000 and 6,000 in the order of their rank."""
    assert fill_by_score(of(3.0, 2.0, 1.0), of(1500.0, 3000.0, 6000.0), 1500.0).tolist() == [1500.0, 0.0, 0.0]


# -- volatility ---------------------------------------------------------------------------------------------------------------------------


def still(hours: float, **changes: object) -> Scenario:
    """One market with nobody in it, whose index moves by what `shocks` say."""
    return Scenario.model_validate(
        {
            "schema": 1,
            "hours_per_step": hours,
            "news": {"type": "constant"},
            "assets": [{"name": "BTC", "price": 100.0, "volatility": 0.6}],
            "traders": {"groups": []},
            "lenders": {"count": 0},
            "venues": [{"market_makers": {"count": 0}, "liquidators": {"count": 0}}],
            **changes,
        }
    )


def shocked(returns: np.ndarray, hours: float) -> Scenario:
    """A log return at each step's start."""
    moves = [{"type": "price_move", "at": (k + 0.5) * hours, "size": [float(np.expm1(r))]} for k, r in enumerate(returns)]
    return still(hours, shocks=moves)


def test_a_tenfold_day_multiplies_riskmetrics_volatility_by_two_and_a_half() -> None:
    """EWMA with lambda = 0.94 (RiskMetrics): constructed, |r| = 1 % until steady, then one day of 10 %.

    sqrt(0.94 + 0.06 x 100) = 2.6344. The exchange remembers a week of 168 hours, so lambda is 0.94 with steps of -168 ln 0.94 hours.
    """
    hours = -WEEK * np.log(0.94)
    returns = np.append(0.01 * (-1.0) ** np.arange(400), 0.1)
    eco = Ecosystem(shocked(returns, hours), rng=0)
    eco.run_for(returns.size)
    volatility = eco.series()["volatility_BTC"].to_numpy()
    assert volatility[-2] == pytest.approx(0.01 * np.sqrt(8760.0 / hours), rel=1e-6)
    assert volatility[-1] / volatility[-2] == pytest.approx(2.634387974463898, rel=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_measured_volatility_is_pandas_exponentially_weighted_mean_of_squares(seed: int) -> None:
    rng = np.random.default_rng(seed)
    returns, hours = rng.standard_t(3, 120) * 0.01, float(rng.uniform(0.2, 24.0))
    eco = Ecosystem(shocked(returns, hours), rng=seed)
    eco.run_for(returns.size)
    squares = pd.Series(np.append(0.6**2, returns**2 * 8760.0 / hours))
    expected = squares.ewm(alpha=-np.expm1(-hours / WEEK), adjust=False).mean() ** 0.5
    np.testing.assert_allclose(eco.series()["volatility_BTC"], expected, rtol=1e-9)


# -- traders ------------------------------------------------------------------------------------------------------------------------------

FW_NOISE = (
    (0.71644, 0.81998), (0.3054, -1.7705), (1.0924, 0.21398), (-1.5359, 0.42999), (1.2741, 0.37233), (1.3091, 0.82096),
    (-0.50282, -0.91001), (0.18428, 0.29615), (-1.3247, 1.1064), (-0.34661, 0.98025), (0.65055, 0.71614), (1.5398, 0.06624),
    (-1.4455, 0.14455), (1.6998, -0.51321),
)  # fmt: skip
FW_PRICES = (
    1.0, 1.0076821, 0.99873766244, 1.0038712902, 1.00238455494, 1.00842237347, 1.01783674875, 1.00972741043, 1.01235680923,
    1.01851647963, 1.02573803846, 1.03284991622, 1.03651884632, 1.0348176015, 1.03411933484,
)  # fmt: skip


def test_franke_and_westerhoffs_market_walks_the_published_path() -> None:
    """Franke and Westerhoff (2012), DCA-HPM, on the fixed noise of the unit test of SABCEMM (C++): fifteen prices to 1e-6.

    d_f = phi (p* - p) + e_f, d_c = chi (p_t - p_(t-1)) + e_c, p' = p + mu (n_f d_f + n_c d_c), n_f by discrete choice. Demands are taken
    from our strategies in units of a hundredth, where they are within their bounds.
    """
    p, unit = TraderParameters(attractiveness_bias=-0.327, herding=1.79, misalignment=18.43), 100.0
    fundamentalist = Fundamentalist(Fundamentalist.Parameters(reaction=0.12 / unit, noise=1.0 / unit))
    chartist = Chartist(Chartist.Parameters(reaction=1.5 / unit, noise=1.0 / unit))
    prices, share, one = [1.0], 0.5, of(1.0)
    for e_f, e_c in FW_NOISE:
        gap, trend = of(prices[-1] - 1.0), of(prices[-1] - prices[max(len(prices) - 2, 0)])
        demands = [
            unit * float(rule.rule(TraderView(gap, trend, of(0.0), one, of(luck)[:, None]), None, None)[0][0, 0])
            for rule, luck in ((fundamentalist, e_f), (chartist, e_c))
        ]
        following = prices[-1] + 0.01 * (share * demands[0] + (1.0 - share) * demands[1])
        share = fundamentalist_share(p, share, gap, one)
        prices.append(following)
    assert prices == pytest.approx(FW_PRICES, abs=1e-6)


@given(st.floats(0.0, 0.999999), st.floats(0.3, 5.0), st.floats(1.5, 1e4))
@settings(max_examples=200, deadline=None)
def test_deposits_are_scipys_truncated_pareto_over_its_mean(u: float, tail: float, span: float) -> None:
    law = truncpareto(tail, span)
    assert truncated_pareto(of(u), tail, span)[0] == pytest.approx(law.ppf(u) / law.mean(), rel=1e-6)


# -- filling ------------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0.01, 100.0), st.floats(0.01, 100.0)), min_size=1, max_size=8), st.floats(0.01, 0.99))
@settings(max_examples=150, deadline=None)
def test_the_water_level_is_the_root_that_scipy_finds(accounts: list[tuple[float, float]], part: float) -> None:
    weight, room = (np.array(column) for column in zip(*accounts, strict=True))
    wanted = part * float(room.sum())
    level = brentq(lambda at: float(np.minimum(room, at * weight).sum()) - wanted, 0.0, float((room / weight).max()), xtol=1e-14)
    np.testing.assert_allclose(fill_pro_rata(weight, room, wanted), np.minimum(room, level * weight), rtol=1e-7, atol=1e-9)
