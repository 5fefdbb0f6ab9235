"""Markets whose answer is known in closed form: the whole engine must give it."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from scipy.stats import linregress

from model import trading
from model.ecosystem import Ecosystem
from model.ledger import FUND, TREASURY, Flow, Status
from model.market import Market, MarketParameters
from model.news import DEFAULT_ASSETS
from model.scenario import Scenario
from tests.validation.handmade import DEEP, FIRST, MAKER, handmade

P = 100.0
"""Opening price of the only market, USD."""


def holder(name: str, stance: float, equity: float, leverage: float) -> dict[str, Any]:
    """One trader who opens with stance x equity x leverage and never acts again."""
    return {
        "name": name, "count": 1, "equity": equity, "tail": 1.0, "span": 1.0 + 1e-12, "leverage": leverage, "leverage_spread": 0.0,
        "leverage_by_size": 0.0, "leverage_max": 500.0, "activity": 0.0, "exit_rate": 0.0, "entry_rate": 0.0,
        "strategies": [{"type": "noise", "bias": stance, "noise": 0.0}],
    }  # fmt: skip


def world(
    *groups: dict[str, Any],
    house: dict[str, Any] | None = None,
    market: dict[str, Any] | None = None,
    maker: dict[str, Any] | None = None,
    **changes: Any,
) -> Scenario:
    """One market at 100 USD, infinitely deep, one maker with 10m USD, nobody else; no fees, no funding, no levies unless asked for."""
    clearinghouse = {
        "fund": 1e6,
        "capital": 0.0,
        "fees": {"taker": 0.0, "maker": 0.0, "liquidation": 0.0},
        "margin": {"type": "fixed_leverage", "initial": 0.05, "maintenance": 0.05},
        "liquidation": {"type": "full", "keeps": 0.0},
        "route": {"order": ["book"]},
        "accrual": [{"type": "surplus"}, {"type": "liquidation_fees"}],
        "waterfall": [{"type": "fund"}, {"type": "write_down"}],
        **(house or {}),
    }
    prices = {"pass_through": 0.0, "interest_rate": 0.0, **(market or {})}
    makers = {"count": 1, "capital": 1e7, "depth": [DEEP], "risk_aversion": 0.0, "inventory_limit": 1e9, "stress_floor": 1.0}
    makers.update(maker or {})
    return Scenario.model_validate(
        {
            "schema": 1,
            "assets": [{"name": "BTC", "price": P, "volatility": 0.6}],
            "news": {"type": "constant"},
            # Positions in these markets are stated, whatever holding them costs.
            "traders": {"groups": list(groups), "demand": {"volume_elasticity": 0.0, "position_elasticity": 0.0}},
            "lenders": {"count": 0, "loan_to_capital": 0.0},
            "venues": [
                {
                    "clearinghouse": clearinghouse,
                    "market": prices,
                    "market_makers": makers,
                    "liquidators": {"count": 0},
                }
            ],
            **changes,
        }
    )


def falls(size: float, at: float, lasts: float = 0.0) -> dict[str, Any]:
    return {"shocks": [{"type": "price_move", "at": at, "lasts": lasts, "size": [size]}]}


def statement(eco: Ecosystem) -> dict[Flow, float]:
    """What has changed the fund since the start, by kind."""
    return {kind: usd for kind, usd in eco.statement.totals().items() if usd}


def run(scenario: Scenario, steps: int, seed: int = 1) -> Ecosystem:
    eco = Ecosystem(scenario, rng=seed, check_laws=True)
    eco.run_for(steps)
    return eco


# -- one leveraged long and its market maker ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("leverage", "fall"), [(5.0, 0.3), (10.0, 0.1), (10.0, 0.2), (18.0, 0.05)])
def test_a_long_walked_through_its_margin_leaves_the_fund_what_it_had_at_the_first_increment_beyond(leverage: float, fall: float) -> None:
    # Equity E (1 + L (r - 1)) meets 5 % of E L r at r* = (1 - 1 / L) / 0.95. An hour's fall by a factor of 1 - x is walked in
    # n = ceil(-ln(1 - x) / 0.0025) even log increments of d; the first with k d < ln r* liquidates at r = e^(k d).
    # Example L = 10, x = 0.1: r* = 0.947368, n = 43, d = -0.00245025; 23 d = -0.056356 < ln r* = -0.054067: r = 0.945203, and of
    # 1m USD 10 x 0.945203 - 9 = 45.2 % is left: a fee of 0.5 % of 9.452m, and the rest as surplus.
    equity, total = 1e6, float(np.log1p(-fall))
    pieces = int(np.ceil(-total / 0.0025))
    trigger = np.log((1.0 - 1.0 / leverage) / 0.95)
    r = float(np.exp(next(k * total / pieces for k in range(1, pieces + 1) if k * total / pieces < trigger)))
    left, fee = equity * (1.0 + leverage * (r - 1.0)), 0.005 * equity * leverage * r
    assert left > fee

    house = {"fees": {"taker": 0.0, "maker": 0.0, "liquidation": 0.005}}
    eco = run(world(holder("long", 1.0, equity, leverage), house=house, maker={"capital": 1e9}, **falls(-fall, at=2.0, lasts=1.0)), 2)
    ledger, (row,) = eco.venue.ledger, eco.population.groups[0].rows.tolist()
    assert ledger.position[0, row] == pytest.approx(equity * leverage / P)
    eco.step()
    assert statement(eco) == {Flow.LIQUIDATION_FEE: pytest.approx(fee), Flow.SURPLUS: pytest.approx(left - fee)}
    assert ledger.cash[row] == pytest.approx(0.0, abs=1e-6)
    assert ledger.fund == pytest.approx(1e6 + left)
    # The maker has gained what the long has lost, and pays out what exceeds its opening capital; nothing else left the exchange.
    assert ledger.flows[Flow.DISTRIBUTION] == pytest.approx(equity * leverage * (1.0 - r))
    assert ledger.custody == pytest.approx(1e6 + 1e9 + equity - equity * leverage * (1.0 - r))
    assert (eco.observation["liquidations"], eco.observation["bankruptcies"]) == (1.0, 0.0)


@pytest.mark.parametrize(("leverage", "fall"), [(5.0, 0.3), (10.0, 0.2), (15.0, 0.7)])
def test_a_long_that_jumps_through_its_bankruptcy_price_costs_the_fund_its_leverage_times_the_rest(leverage: float, fall: float) -> None:
    # E (L x - 1): 10x and 20 % is once the equity.
    eco = run(world(holder("long", 1.0, 0.2e6, leverage), house={"fund": 5e6}, **falls(-fall, at=2.0)), 3)
    deficit = 0.2e6 * (leverage * fall - 1.0)
    assert eco.observation["deficits"] == pytest.approx(deficit)
    assert eco.venue.ledger.fund == pytest.approx(5e6 - deficit)
    assert eco.venue.ledger.flows[Flow.DISTRIBUTION] == pytest.approx(0.2e6 * leverage * fall)
    assert eco.venue.ledger.status[eco.population.groups[0].rows].tolist() == [Status.BANKRUPT]


# -- two symmetric traders ----------------------------------------------------------------------------------------------------------------


def test_what_one_of_two_symmetric_traders_gains_the_other_loses_at_every_step() -> None:
    # Long and short 1.5 times 1m USD: 15,000 contracts each way, none for the maker. At index p: 1m +- 15,000 (p - 100).
    news = {"type": "factor_model", "common_jumps": {}, "own_jumps": {}, "factor_volatility": 0.5}
    eco = Ecosystem(world(holder("long", 1.0, 1e6, 1.5), holder("short", -1.0, 1e6, 1.5), news=news), rng=5, check_laws=True)
    ledger, rows = eco.venue.ledger, [int(group.rows[0]) for group in eco.population.groups]
    prices = []
    for _ in range(100):
        eco.step()
        prices.append(float(eco.venue.market.index[0]))
        gain = 15_000.0 * (prices[-1] - P)
        assert ledger.equity(np.array(rows)).tolist() == pytest.approx([1e6 + gain, 1e6 - gain])
    assert np.ptp(prices) > 1.0
    assert ledger.position[0, MAKER] == pytest.approx(0.0, abs=1e-6)
    assert statement(eco) == {}


@pytest.mark.parametrize("move", [0.12, 0.2, 0.5])
@pytest.mark.parametrize("rule", ["fund", "pro_rata", "gains", "equity"])
def test_a_long_in_a_fall_is_a_short_in_the_same_rise(move: float, rule: str) -> None:
    # Ten times its deposit of 100, at 100: both lose 1,000 times the move, 1,000 x move - 100 of it not their own. The book is flat, so
    # price levels do not matter, and everybody has mirrored contracts.
    layers = {
        "fund": [{"type": "fund"}],
        "pro_rata": [{"type": "fund", "share": 0.5}, {"type": "deleveraging", "rule": {"type": "pro_rata"}}],
        "gains": [{"type": "fund", "share": 0.5}, {"type": "socialised_loss", "by": "gains"}],
        "equity": [{"type": "fund", "share": 0.5}, {"type": "socialised_loss", "by": "equity"}],
    }[rule]

    def outcome(side: float) -> tuple[list[float], list[float], dict[str, float]]:
        one = handmade([100.0, 700.0, 2000.0, 900.0], fund=15.0, waterfall=[*layers, {"type": "write_down"}])
        for other, size in ((FIRST + 1, 3.0), (FIRST + 2, 5.0), (MAKER, 2.0)):
            one.position(*((FIRST, other) if side > 0 else (other, FIRST)), size, P)
        one.move(P * (1.0 - side * move))
        everybody = [MAKER, FUND, *range(FIRST, FIRST + 4)]
        return one.equity(*everybody), [side * held for held in one.held(*everybody)], one.absorbed

    long, short = outcome(1.0), outcome(-1.0)
    assert short[0] == pytest.approx(long[0], rel=1e-12, abs=1e-9)
    assert short[1] == pytest.approx(long[1], rel=1e-12, abs=1e-9)
    assert short[2] == pytest.approx(long[2])
    assert sum(long[2].values()) == pytest.approx(1_000.0 * move - 100.0)


# -- the fund -----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hours", [1.0, 4.0])
def test_a_fund_is_its_opening_and_a_known_inflow_less_one_known_draw(hours: float) -> None:
    # A long of 2m USD (5 x 0.4m) against the maker; both pay 8.76 % a year on their side: 1e-5 an hour, 20 USD each. After 32 hours at a
    # still price the fund has 64 x 20 = 1,280 more, the long 640 less. Then the price jumps by -30 %: -600,000 on 399,360.
    accrual = [{"type": "open_interest", "rate": 0.0876}, {"type": "surplus"}]
    still = 32
    scenario = world(holder("long", 1.0, 0.4e6, 5.0), house={"accrual": accrual}, hours_per_step=hours, **falls(-0.3, at=still + 0.5))
    eco = run(scenario, round(still / hours) + 2)
    each = 20.0 * still
    deficit = 600_000.0 - (400_000.0 - each)
    assert statement(eco) == {
        Flow.OPEN_INTEREST_LEVY: pytest.approx(2.0 * each),
        Flow.DRAW_EXECUTION: pytest.approx(-deficit),
    }
    assert eco.venue.ledger.fund == pytest.approx(1e6 + 2.0 * each - deficit)


def test_a_lossless_market_grows_its_fund_by_exactly_its_levies() -> None:
    # Takers pay 5 bp, a quarter of it to the fund; both sides of open interest pay 1 % a year. Nothing is cleared but this:
    # step t adds 0.25 x 0.0005 x volume(t) + 0.01 / 8,760 x 2 x open interest(t), from the run's own table.
    calm = {"count": 60, "equity": 6e6, "leverage": 1.0, "leverage_spread": 0.3, "leverage_max": 1.5, "activity": 0.1}
    house = {
        "fees": {"taker": 5e-4, "maker": 0.0},
        "accrual": [{"type": "trading_fees", "share": 0.25}, {"type": "open_interest", "rate": 0.01}],
    }
    eco = run(world(calm, house=house), 150)
    table = eco.series()
    step = 0.25 * 5e-4 * table["volume"] + 0.01 / 8760.0 * 2.0 * table["open_interest"]
    step.iloc[0] = 0.0
    np.testing.assert_allclose(table["fund"], 1e6 + step.cumsum(), rtol=1e-12)
    np.testing.assert_allclose(table["fees"].iloc[1:], 5e-4 * table["volume"].iloc[1:], rtol=1e-12)
    np.testing.assert_allclose(table["levies"].iloc[1:], 0.01 / 8760.0 * 2.0 * table["open_interest"].iloc[1:], rtol=1e-12)
    assert table["fund"].iloc[-1] - 1e6 > 100.0
    assert table[["liquidations", "deficits", "bankruptcies"]].to_numpy().sum() == 0.0
    # The exchange's three quarters have gone to its owners, whose capital was nothing.
    assert eco.venue.ledger.cash[TREASURY] == pytest.approx(0.0, abs=1e-9)


def test_a_trade_s_fee_is_split_between_fund_exchange_and_the_maker_s_rebate() -> None:
    # 1,000 contracts at 100: the taker pays 10 bp, 100 USD, a fifth of it to the fund and the rest to the exchange, which gives the maker
    # a rebate of 4 bp, 40 USD.
    one = handmade([1e6], fund=0.0, capital=1e6, maker=1e6, fees={"taker": 1e-3, "maker": -4e-4})
    venue = one.venue
    venue.levies = type(venue.levies)(trading_fees=0.2)
    trading.trade(venue, np.array([FIRST]), np.array([[1_000.0]]), 1.0)
    assert one.statement == {Flow.TRADING_FEE: pytest.approx(20.0)}
    assert one.equity(FIRST, MAKER, TREASURY) == pytest.approx([1e6 - 100.0, 1e6 + 40.0, 1e6 + 80.0 - 40.0])
    assert (venue.tally.fees, venue.tally.volume[0]) == (pytest.approx(60.0), pytest.approx(100_000.0))


# -- news ---------------------------------------------------------------------------------------------------------------------------------

GEOMETRIC = {"type": "factor_model", "volatility_components": [], "common_jumps": {}, "own_jumps": {}}


def nobody(news: dict[str, Any], hours: float) -> Scenario:
    assets = [asset.model_dump() for asset in DEFAULT_ASSETS]
    return world(assets=assets, news=news, hours_per_step=hours)


def test_geometric_news_without_flow_gives_marks_its_own_moments() -> None:
    # n days: the mean's standard error is sd / sqrt(n), the variance's sqrt(2 / n) of it, the correlation's (1 - rho^2) / sqrt(n).
    # Volatilities 0.55, 0.70, 1.00; betas 1, 1.15, 1.4 on a factor of 0.53: rho(BTC, ETH) = 1.15 x 0.53^2 / (0.55 x 0.70), and so on.
    n = 1_500
    table = run(nobody({**GEOMETRIC, "drift": 1.5}, 24.0), n, seed=11).series()
    marks = table[["mark_BTC", "mark_ETH", "mark_ALT"]].to_numpy()
    np.testing.assert_allclose(marks, table[["index_BTC", "index_ETH", "index_ALT"]], rtol=1e-12)
    returns = np.diff(np.log(marks), axis=0)
    volatility, beta = np.array([0.55, 0.70, 1.00]), np.array([1.0, 1.15, 1.4])
    variance = volatility**2 / 365.0
    np.testing.assert_array_less(np.abs(returns.mean(axis=0) - 1.5 / 365.0), 4.0 * np.sqrt(variance / n))
    np.testing.assert_array_less(np.abs(returns.var(axis=0) / variance - 1.0), 4.0 * np.sqrt(2.0 / n))
    rho = np.outer(beta, beta) * 0.53**2 / np.outer(volatility, volatility)
    found, pairs = np.corrcoef(returns.T), np.triu_indices(3, 1)
    np.testing.assert_array_less(np.abs(found - rho)[pairs], (4.0 * (1.0 - rho**2) / np.sqrt(n))[pairs])
    # A test that would pass without drift says nothing about drift.
    assert (4.0 * np.sqrt(variance / n) < 1.5 / 365.0)[0]


def test_news_without_volatility_is_an_exponential_line() -> None:
    table = run(nobody({**GEOMETRIC, "volatility_scale": 0.0, "drift": 0.876}, 1.0), 24).series()
    # 0.876 a year is 1e-4 an hour.
    np.testing.assert_allclose(table["mark_ETH"], 3_000.0 * np.exp(1e-4 * np.arange(25)), rtol=1e-12)


# -- price impact -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "depth"), [(0.1, 2e5), (0.4, 3e6)])
def test_index_moves_regress_on_net_flow_with_kyles_lambda_for_a_slope(share: float, depth: float) -> None:
    # lambda = pass-through x 10 bp / calm depth: 0.1 x 1e-3 / 0.2m = 5e-10 a dollar. Net flow is what the maker had to take, at the index
    # at which the step opened; nothing else moves the index.
    crowd = {"count": 80, "equity": 4e6, "leverage": 1.0, "leverage_spread": 0.3, "leverage_max": 1.5, "activity": 0.2}
    eco = Ecosystem(world(crowd, market={"pass_through": share}, maker={"depth": [depth]}), rng=2)
    index, inventory = [float(eco.venue.market.index[0])], [float(eco.venue.ledger.position[0, MAKER])]
    for _ in range(60):
        eco.step()
        index.append(float(eco.venue.market.index[0]))
        inventory.append(float(eco.venue.ledger.position[0, MAKER]))
    assert eco.series()["liquidations"].sum() == 0.0
    flow = [-(after - before) * price for (before, after), price in zip(pairwise(inventory), index[:-1], strict=True)]
    line = linregress(flow, np.diff(np.log(index)))
    assert line.slope * depth / (share * 1e-3) == pytest.approx(1.0, rel=1e-9)
    assert line.intercept == pytest.approx(0.0, abs=1e-12)
    assert line.rvalue == pytest.approx(1.0, abs=1e-12)


def test_a_market_with_kyles_impact_is_as_kyles_equilibrium_says() -> None:
    # Kyle (1985), exact: prior variance 4, noise of deviation 10: lambda = sqrt(4) / (2 x 10) = 0.1, beta = 10 / sqrt(4) = 5, and the price
    # leaves a variance of 2. In thousandths of the log index: lambda is 1e-4 a dollar, all of 10 bp for each 10 USD. Expectations of
    # quadratic forms of normals are exact by quadrature.
    z, weight = np.polynomial.hermite_e.hermegauss(6)
    value, noise = (axis.ravel() for axis in np.meshgrid(2.0 * z, 10.0 * z))
    chance = np.outer(weight, weight).ravel() / weight.sum() ** 2

    def price(beta: float) -> np.ndarray:
        moved = []
        for flow in (beta * value + noise).tolist():
            market = Market(MarketParameters(pass_through=1.0, price_band=1.0), np.array([1.0]), np.array([10.0]), np.array([0.5]))
            market.trade_spot(0, flow)
            moved.append(1e3 * float(market.log_index[0]))
        return np.array(moved)

    at = price(5.0)
    assert chance @ (value - at) ** 2 == pytest.approx(2.0)
    assert chance @ ((value - at) * (5.0 * value + noise)) == pytest.approx(0.0, abs=1e-9)
    # The informed trader gains beta (1 - lambda beta) x 4: 10 at beta = 5, 9.6 a step to either side.
    gains = [float(chance @ ((value - price(beta)) * beta * value)) for beta in (4.0, 5.0, 6.0)]
    assert gains == pytest.approx([9.6, 10.0, 9.6])
