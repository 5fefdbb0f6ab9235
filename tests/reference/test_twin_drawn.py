"""The engines agree in scenarios that nobody tuned."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model.scenario import Scenario
from tests.laws.strategies import masks
from tests.reference.worlds import (
    CAPITAL,
    CHOICES,
    FEES,
    SLICES,
    SURPLUS,
    VAULT,
    WRITE_DOWN,
    in_coin,
    losses,
    socialised,
    world,
)


@st.composite
def waterfalls(draw: st.DrawFn) -> list[dict[str, Any]]:
    house = draw(st.permutations([{"type": "fund", "share": draw(st.sampled_from([0.3, 1.0]))}, CAPITAL, {"type": "vault"}]))
    house = house[: draw(st.integers(0, 3))]
    price = draw(st.sampled_from(["bankruptcy", "mark", "index"]))
    severity = draw(st.sampled_from([0.5, 1.0])) if price == "bankruptcy" else 1.0
    drawdown = draw(st.sampled_from([0.1, 1.0, 1.0]))
    asked = {"rule": draw(st.sampled_from(CHOICES)), "price": price, "severity": severity, "drawdown": drawdown}
    winners = [{"type": "deleveraging", **asked}] if draw(st.booleans()) else []
    bases = draw(st.lists(st.sampled_from(["gains", "equity", "open_interest", "funding_index"]), max_size=2, unique=True))
    everybody = [socialised(by, draw(st.sampled_from([0.1, 1.0]))) for by in bases]
    later = draw(st.sampled_from([[], [], [{"type": "withdrawal_factor"}], [{"type": "clawback", "period": 4.0}]]))
    if draw(st.booleans()):
        house += [{"type": "defaulter_contribution"}, {"type": "members_fund"}, {"type": "second_skin"}]
        everybody = [
            {"type": "assessment", "cap": draw(st.sampled_from([0.2, 2.0]))},
            *everybody,
            *draw(st.sampled_from([[], [{"type": "tear_up"}]])),
        ]
    if draw(st.booleans()):
        house.insert(draw(st.integers(0, len(house))), {"type": "stakers", "share": draw(st.sampled_from([0.3, 1.0]))})
        house.sort(key=lambda layer: layer["type"] != "defaulter_contribution")
    before = draw(st.integers(0, len(house)))
    return [*house[:before], *winners, *house[before:], *everybody, *later, WRITE_DOWN]


@st.composite
def portfolio_margins(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["portfolio_scenarios", "ewma", "historical", "filtered_historical"]))
    block = {
        "type": kind,
        "netting": draw(st.sampled_from(["none", "assets", "all"])),
        "maintenance": draw(st.sampled_from([0.5, 1.0])),
        "minimum": draw(st.sampled_from([0.0, 0.02])),
        "provision": draw(st.sampled_from([0.0, 1e-3])),
        "leverage_cap": draw(st.sampled_from([None, 5.0])),
        "add_ons": {
            "concentration": draw(st.sampled_from([0.0, 0.05])),
            "concentration_size": (draw(st.sampled_from([1e5, 1e7])),),
            **draw(st.sampled_from([{}, {"interest_from": (1e6,), "interest_to": (1e8,)}])),
        },
    }
    if kind == "portfolio_scenarios":
        return {**block, "tables": (draw(st.sampled_from(["paradex_btc", "paradex_hype"])), "paradex_eth")}
    return {
        **block,
        "measure": draw(st.sampled_from(["value_at_risk", "expected_shortfall"])),
        "confidence": draw(st.sampled_from([0.9, 0.95])),
        "period": draw(st.sampled_from([4.0, 48.0])),
        "every": draw(st.sampled_from([1.0, 5.0])),
        "look_back": draw(st.integers(20, 40)),
        "decay": draw(st.sampled_from([0.5, 0.94])),
        "anti_procyclicality": {
            "stress_weight": draw(st.sampled_from([0.0, 0.25])),
            "buffer": draw(st.sampled_from([0.0, 0.25])),
            "floor": draw(st.booleans()),
        },
    }


@st.composite
def pools(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    by = draw(st.sampled_from(["all", "market", "group"]))
    return {
        "by": by,
        "groups": [{"name": "majors", "markets": names[:2]}] if by == "group" else [],
        "shared": draw(st.sampled_from([0.0, 0.3])) if by != "all" else 0.0,
        "claims": draw(st.sampled_from([[], ["A", "B", "C"], [5e4, 0.0, 1e6]])),
        "currency": draw(st.sampled_from(["usd", "underlying"])),
    }


@st.composite
def margins(draw: st.DrawFn) -> dict[str, Any]:
    if draw(st.booleans()):
        return draw(portfolio_margins())
    kind = draw(st.sampled_from(["tiered", "linear_ramp", "fixed_leverage", "open_interest_scaled", "square_root", "skew_impact"]))
    if kind in {"open_interest_scaled", "square_root", "skew_impact"}:
        return {"type": kind, "leverage_cap": draw(st.sampled_from([None, 5.0]))}
    if kind == "fixed_leverage":
        return {"type": kind, "initial": 0.05, "maintenance": draw(st.sampled_from([0.01, 0.05]))}
    cap = draw(st.sampled_from([None, 5.0, 25.0]))
    if kind == "linear_ramp":
        return {"type": kind, "slope": (draw(st.sampled_from([0.0, 1e-4])), 1e-5, 1e-6), "leverage_cap": cap}
    presets = st.sampled_from(["hyperliquid_btc", "hyperliquid_small", "dydx_mid", "binance_btc_2021"])
    return {"type": kind, "schedules": tuple(draw(st.lists(presets, min_size=1, max_size=3))), "leverage_cap": cap}


@st.composite
def scenarios(draw: st.DrawFn) -> Scenario:
    assets = Scenario().model_dump(by_alias=True)["assets"][: draw(st.integers(1, 3))]
    stages = draw(st.permutations(["book", "liquidators", "vault", "takeover"]))[: draw(st.integers(1, 4))]
    liquidation = draw(
        st.sampled_from(
            [
                {"type": "full"},
                {"type": "full", "keeps": 0.5},
                {"type": "partial_then_full"},
                {"type": "partial_then_full", "small": 1e7},
                *SLICES,
            ]
        )
    )
    divided, order = draw(pools([asset["name"] for asset in assets])), draw(waterfalls())
    if any(layer["type"] in ("withdrawal_factor", "clawback") for layer in order):
        divided = {"by": "all", "shared": 0.0, "currency": divided["currency"]}  # what is borne later is of no market in particular
    if divided["shared"]:
        order.insert(draw(st.integers(0, len(order) - 1)), {"type": "shared_fund"})
    levies = [{"type": "funding", "share": 0.3}, {"type": "volume", "basis_points": 5.0}, {"type": "injection_on_adequacy"}]
    steady = [*levies, {"type": "surplus"}, {"type": "open_interest", "rate": 0.5, "exponent": 1.0, "exposure_exponent": 0.5}]
    seeking = [{"type": "target_seeking", "levies": one} for one in levies]
    actions = [{"type": kind, "below": 0.5} for kind in ("raise_levies", "recapitalise", "cap_open_interest", "halt")]
    actions.append({"type": "raise_margin", "below": 0.5, "initial": 3.0, "maintenance": draw(st.sampled_from([1.0, 2.0]))})
    token = {"depth": draw(st.sampled_from([1e-6, 1e-4, 1e-2])), "beta": draw(st.sampled_from([0.0, 1.5])), "memory": 6.0}
    if divided["by"] == "all" and divided["currency"] == "usd" and not any(layer["type"] == "stakers" for layer in order):
        token["fund_share"] = draw(st.sampled_from([0.0, 0.3, 0.8]))
    house = {
        "token": token,
        "value_accrual": draw(st.lists(st.sampled_from(SURPLUS), max_size=3)),
        "release": draw(st.sampled_from([None, 1.0])),
        "adequacy": draw(st.lists(st.sampled_from(actions), max_size=2)),
        "accrual": draw(st.lists(st.sampled_from([*steady, *seeking, {"type": "liquidation_fees"}]), max_size=4, unique_by=str)),
        "fund": draw(st.sampled_from([0.0, 1e5, 3e6, 1e8])),
        "pools": divided,
        "capital": draw(st.sampled_from([0.0, 1e5, 5e6])),
        "fees": {
            "taker": 5e-4,
            "maker": draw(st.sampled_from([-1e-4, 0.0, 2e-4])),
            "delivery": draw(st.sampled_from([0.0, 2.5e-4])),
            "liquidation": draw(st.sampled_from([0.0, 5e-3, 0.05, *FEES])),
        },
        "margin": draw(margins()),
        "liquidation": liquidation,
        "vault": VAULT,
        "speed_limit": draw(st.sampled_from([[], [], [1e5, 1e3]])),
        "rounds": draw(st.integers(1, 5)),
        "route": {
            "order": stages,
            "backstop": draw(st.sampled_from([None, ["vault"], ["liquidators", "takeover"]])),
            "takeover_limit": draw(st.sampled_from([0.0, 1.0, 5.0])),
            "book_slippage": draw(st.sampled_from([0.005, 0.02, 0.1])),
            "absorption_premium": draw(st.sampled_from([0.0, 0.0, 1e-3, 0.05])),
        },
        "waterfall": order,
        "members": {"traders": draw(st.integers(0, 5)), "share": draw(st.sampled_from([0.01, 0.3])), "restore_hours": 8.0},
    }
    venue = {
        "market_makers": {
            "count": draw(st.integers(0, 4)),
            "capital": draw(st.sampled_from([1e6, 2e7])),
            "depth": (draw(st.sampled_from([5e4, 1.5e6])), 1e6),
        },
        "liquidators": {
            "count": draw(st.integers(0, 3)),
            "capital": draw(st.sampled_from([1e5, 4e6])),
            "anticipation": draw(st.sampled_from([0.0, 0.3, 3.0])),
        },
        "market": {"price_band": draw(st.sampled_from([0.01, 0.03, 0.3])), "pass_through": draw(st.sampled_from([0.0, 0.1, 1.0]))},
    }
    move = tuple(draw(st.lists(st.floats(-0.99, 1.5), max_size=3)))
    return world(
        traders=draw(st.integers(0, 30)),
        leverage=draw(st.sampled_from([3.0, 10.0, 50.0])),
        move=move,
        lasts=draw(st.sampled_from([0.0, 0.5, 3.0])),
        house=house,
        venue=venue,
        assets=assets,
        hours_per_step=draw(st.sampled_from([0.25, 1.0, 8.0])),
        lenders={"count": draw(st.integers(0, 2)), "capital": draw(st.sampled_from([1e6, 1e8]))},
        traders_too={"lost_hedges": draw(st.sampled_from([None, {"share": 0.8, "rate": 0.5}]))},
        channels=draw(st.one_of(st.just({}), masks)),
    )


QUIET = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=QUIET)
@given(scenarios(), st.integers(0, 1000))
def test_drawn_scenarios_agree(scenario: Scenario, seed: int) -> None:
    losses(scenario, steps=max(10, min(int(6 / scenario.hours_per_step) + 6, 32)), seed=seed, drawn=True)


@pytest.mark.slow
@settings(max_examples=1000, deadline=None, suppress_health_check=QUIET)
@given(scenarios(), st.integers(0, 1000))
def test_many_drawn_scenarios_agree(scenario: Scenario, seed: int) -> None:
    losses(scenario, steps=max(10, min(int(6 / scenario.hours_per_step) + 6, 32)), seed=seed, drawn=True)


@st.composite
def with_futures(draw: st.DrawFn) -> Scenario:
    """A drawn scenario whose exchange lists futures too, whose series end within the run, and may take coins as collateral."""
    block = draw(scenarios()).model_dump(mode="json", by_alias=True)
    venue, step = block["venues"][0], block["hours_per_step"] / 24.0
    names = [asset["name"] for asset in block["assets"]]
    lives = draw(st.lists(st.sampled_from([0.7, 1.0, 2.5, 4.0, 40.0]), min_size=1, max_size=3, unique=True))
    venue["instruments"] = [
        {
            "type": "future",
            "asset": draw(st.sampled_from(names)),
            "days": life * step,
            "settlement_hours": draw(st.sampled_from([0.0, 0.1, 0.7])) * 24.0 * step,
            "depth": draw(st.sampled_from([0.05, 0.25, 2.0])),
        }
        for life in lives
    ]
    if venue["clearinghouse"]["margin"]["type"] in ("portfolio_scenarios", "ewma", "historical", "filtered_historical"):
        venue["clearinghouse"]["margin"] = {"type": "tiered"}
    if venue["clearinghouse"]["pools"]["shares"]:
        venue["clearinghouse"]["pools"]["shares"] = []  # there are more pools now
    venue["clearinghouse"]["coin_haircuts"] = draw(st.sampled_from([[], [0.0], [0.2, 0.6]]))
    return Scenario.model_validate(block)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=QUIET)
@given(with_futures(), st.integers(0, 1000))
def test_drawn_scenarios_with_futures_agree(scenario: Scenario, seed: int) -> None:
    losses(scenario, steps=max(10, min(int(6 / scenario.hours_per_step) + 6, 32)), seed=seed, drawn=True)


@st.composite
def settled_in_coin(draw: st.DrawFn) -> Scenario:
    """A drawn scenario whose exchange lists inverse perpetuals, perhaps a future too, and whose index may be wrong for a while."""
    block = draw(with_futures()).model_dump(mode="json", by_alias=True)
    listed, names = block["venues"][0]["instruments"], [asset["name"] for asset in block["assets"]]
    coins = draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))
    inverse = [{"type": "inverse", "asset": name, "depth": draw(st.sampled_from([0.1, 1.0]))} for name in coins]
    if draw(st.booleans()):
        block["shocks"].append({"type": "oracle_error", "at": 6.0, "lasts": 3.0, "size": [draw(st.sampled_from([-0.3, 0.2]))]})
    holders = {"leverage": draw(st.sampled_from([1.0, 10.0, 50.0])), "count": draw(st.integers(1, 30))}
    return in_coin(block, *inverse, *draw(st.sampled_from([[], listed])), holders=holders)


@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=QUIET)
@given(settled_in_coin(), st.integers(0, 1000))
def test_drawn_scenarios_settled_in_coin_agree(scenario: Scenario, seed: int) -> None:
    losses(scenario, steps=max(10, min(int(6 / scenario.hours_per_step) + 6, 32)), seed=seed, drawn=True)


@pytest.mark.slow
@settings(max_examples=500, deadline=None, suppress_health_check=QUIET)
@given(settled_in_coin(), st.integers(0, 1000))
def test_many_drawn_scenarios_settled_in_coin_agree(scenario: Scenario, seed: int) -> None:
    losses(scenario, steps=max(10, min(int(6 / scenario.hours_per_step) + 6, 32)), seed=seed, drawn=True)
