"""Markets whose answer is known in closed form: the whole engine must give it."""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from experiments.validation.check import Check, Validation
from model.ecosystem import Ecosystem
from model.scenario import Scenario

DEEP: Final = 1e15
"""USD of depth at which an order moves nothing."""


def market(*groups: dict[str, Any], maker: dict[str, Any] | None = None, **changes: Any) -> Scenario:
    """One market at 100 USD, one maker, no fees, no funding and no levies."""
    house = {
        "fund": 1e6,
        "capital": 0.0,
        "fees": {"taker": 0.0, "maker": 0.0, "liquidation": 0.005},
        "margin": {"type": "fixed_leverage", "initial": 0.05, "maintenance": 0.05},
        "liquidation": {"type": "full", "keeps": 0.0},
        "route": {"order": ["book"]},
        "accrual": [{"type": "surplus"}, {"type": "liquidation_fees"}],
        "waterfall": [{"type": "fund"}, {"type": "write_down"}],
        **changes.pop("house", {}),
    }
    makers = {"count": 1, "capital": 1e9, "depth": [DEEP], "risk_aversion": 0.0, "inventory_limit": 1e9, "stress_floor": 1.0}
    venue = {
        "clearinghouse": house,
        "market": {"pass_through": 0.0, "interest_rate": 0.0, **changes.pop("book", {})},
        "market_makers": {**makers, **(maker or {})},
        "liquidators": {"count": 0},
    }
    still = {
        "schema": 1,
        "assets": [{"name": "BTC", "price": 100.0, "volatility": 0.6}],
        "news": {"type": "constant"},
        "traders": {"groups": list(groups), "demand": {"volume_elasticity": 0.0, "position_elasticity": 0.0}},
        "lenders": {"count": 0, "loan_to_capital": 0.0},
        "venues": [venue],
    }
    return Scenario.model_validate({**still, **changes})


def holder(equity: float, leverage: float) -> dict[str, Any]:
    """One trader who opens long with equity x leverage and never acts again."""
    return {
        "name": "long", "count": 1, "equity": equity, "tail": 1.0, "span": 1.0 + 1e-12, "leverage": leverage, "leverage_spread": 0.0,
        "leverage_by_size": 0.0, "leverage_max": 500.0, "activity": 0.0, "exit_rate": 0.0, "entry_rate": 0.0,
        "strategies": [{"type": "noise", "bias": 1.0, "noise": 0.0}],
    }  # fmt: skip


def run(scenario: Scenario, steps: int, seed: int = 1) -> Ecosystem:
    """A run with the laws asserted after every step."""
    eco = Ecosystem(scenario, rng=seed, check_laws=True)
    eco.run_for(steps)
    return eco


def crowd(**changes: Any) -> dict[str, Any]:
    """Traders with little leverage."""
    return {"count": 80, "equity": 4e6, "leverage": 1.0, "leverage_spread": 0.3, "leverage_max": 1.5, "activity": 0.2, **changes}


def walked_through_margin() -> Check:
    """10x long of 1m USD, -10 % in an hour: liquidated at e^(k d) with d = ln 0.9 / 43 and k = 23, where 10 r - 9 is left of 1m."""
    shock = {"type": "price_move", "at": 2.0, "lasts": 1.0, "size": [-0.1]}
    eco = run(market(holder(1e6, 10.0), shocks=[shock]), 3)
    left = 1e6 * (10.0 * np.exp(23.0 * np.log(0.9) / 43.0) - 9.0)
    return Check("a long walked through its margin: gain of the fund, USD", "closed form", (left,), (eco.venue.ledger.fund - 1e6,), 1e-3)


def jumped_through_bankruptcy() -> Check:
    """10x long of 0.2m USD, -20 % at once: a deficit of its equity once more."""
    shock = {"type": "price_move", "at": 2.0, "lasts": 0.0, "size": [-0.2]}
    eco = run(market(holder(0.2e6, 10.0), shocks=[shock]), 3)
    found = (eco.observation["deficits"], 1e6 - eco.venue.ledger.fund)
    return Check("a jump through bankruptcy price: deficit, draw, USD", "closed form", (2e5, 2e5), found, 1e-3)


def known_inflow() -> Check:
    """Both sides of 2m USD of open interest pay 8.76 % a year, 20 USD an hour each, for 32 hours."""
    eco = run(market(holder(0.4e6, 5.0), house={"accrual": [{"type": "open_interest", "rate": 0.0876}]}), 32)
    return Check("a known levy for 32 hours: the fund, USD", "closed form", (1e6 + 1_280.0,), (eco.venue.ledger.fund,), 1e-3)


def lossless() -> Check:
    """The fund grows by a quarter of 5 bp of volume and by 1 % a year of both sides of open interest, of the run's own table."""
    accrual = [{"type": "trading_fees", "share": 0.25}, {"type": "open_interest", "rate": 0.01}]
    table = run(market(crowd(), house={"fees": {"taker": 5e-4, "maker": 0.0}, "accrual": accrual}), 100).series().iloc[1:]
    expected = 1e6 + float((0.25 * 5e-4 * table["volume"] + 0.02 / 8760.0 * table["open_interest"]).sum())
    target, found = (expected, 0.0), (float(table["fund"].iloc[-1]), float(table["deficits"].sum()))
    return Check("a market without losses: fund, deficits, USD", "accounting", target, found, 1e-3)


def kyles_lambda() -> Check:
    """Index moves on net flow: pass-through x 10 bp / depth, 0.4 x 0.001 / 3m, here in units of itself."""
    eco = Ecosystem(market(crowd(), maker={"depth": [3e6]}, book={"pass_through": 0.4}), rng=2)
    index, held = [float(eco.venue.market.log_index[0])], [float(eco.venue.ledger.position[0, eco.venue.makers[0]])]
    for _ in range(60):
        eco.step()
        index.append(float(eco.venue.market.log_index[0]))
        held.append(float(eco.venue.ledger.position[0, eco.venue.makers[0]]))
    flow = -np.diff(held) * np.exp(index[:-1])
    slope = float(np.polyfit(flow, np.diff(index), 1)[0])
    return Check("Kyle's lambda, share of what was set", "Kyle 1985 (linear impact)", (1.0,), (slope * 3e6 / (0.4 * 1e-3),), 1e-9)


def geometric_news(days: int) -> Check:
    """Without agents marks have the news' drift and volatility: 150 % and 60 % a year, here by day, within four standard errors."""
    news = {"type": "factor_model", "volatility_components": [], "common_jumps": {}, "own_jumps": {}, "drift": 1.5}
    marks = run(market(news=news, hours_per_step=24.0), days, seed=11).series()["mark_BTC"].to_numpy()
    returns, sd = np.diff(np.log(marks)), 0.6 / np.sqrt(365.0)
    errors = (float(4.0 * sd / np.sqrt(days)), float(4.0 * sd / np.sqrt(2.0 * days)))
    return Check("news without agents: mean, deviation", "closed form", (1.5 / 365.0, sd), (returns.mean(), returns.std(ddof=1)), errors)


def markets(full: bool) -> Iterator[Check]:
    """All of them; the longer form takes more days of news."""
    for known in (walked_through_margin, jumped_through_bankruptcy, known_inflow, lossless, kyles_lambda):
        yield known()
    yield geometric_news(10_000 if full else 1_500)


VALIDATIONS: Final = (Validation("known_answers", markets),)
