"""The array engine and the slow twin agree in every account, every position and every flow of the fund, step by step."""

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import experiments.twin
from experiments.twin.accrual import open_interest, set_levies
from experiments.twin.record import RecordedEcosystem, run_both
from model.channels import CHANNELS
from model.ecosystem import Ecosystem
from model.ledger import FUND as LEDGER_FUND
from model.ledger import OUTSIDE, Flow
from model.scenario import Scenario
from tests.reference.worlds import (
    CAPITAL,
    CCP,
    CHOICES,
    FEES,
    FUND,
    SCORES,
    SHARES,
    SLICES,
    SURPLUS,
    VAULT,
    WRITE_DOWN,
    deleveraging,
    in_coin,
    losses,
    socialised,
    world,
)


def test_the_default_scenario_agrees_for_two_days() -> None:
    assert losses(world(leverage=5.0, house={"fund": 6e7, "capital": 6e7}), steps=48) == {}


@pytest.mark.parametrize(
    ("move", "lasts"),
    [((-0.3, -0.4, -0.5), 3.0), ((-0.6,), 5.0), ((-0.5, -0.5, -0.7), 0.0), ((-0.9, -0.95, -0.99), 2.0), ((0.5, 0.6, 0.8), 0.0)],
    ids=["a fall in hours", "a deep fall", "a jump through bankruptcy", "a collapse", "a jump upwards"],
)
def test_a_crash_agrees_down_to_the_layers_that_bear_it(move: tuple[float, ...], lasts: float) -> None:
    assert sum(losses(world(move=move, lasts=lasts)).values()) > 0.0


@pytest.mark.parametrize(
    ("shock", "house"),
    [
        ({"type": "outage", "at": 5.5, "lasts": 2.0}, {}),
        ({"type": "oracle_error", "at": 6.0, "lasts": 2.0, "size": [-0.3, 0.2]}, {}),
        ({"type": "depth_withdrawal", "at": 6.0, "lasts": 3.0, "remains": [0.1]}, {}),
        ({"type": "price_move", "at": 6.5, "size": [-0.1]}, {"circuit_breaker": {"move": 0.08, "pause": 0.7}}),
    ],
    ids=["outage", "wrong index", "thin book", "circuit breaker"],
)
def test_every_trouble_of_the_venue_agrees(shock: dict[str, Any], house: dict[str, Any]) -> None:
    fall = {"type": "price_move", "at": 6.0, "lasts": 2.0, "size": [-0.3, -0.4, -0.5]}
    scenario = world(house={"fund": 1e6, **house}, shocks=[fall, shock])
    assert sum(losses(scenario).values()) > 0.0


@pytest.mark.parametrize("fund", [0.0, 3e6], ids=["empty fund", "small fund"])
@pytest.mark.parametrize(
    "rule",
    [
        *({"type": "deleveraging", "rule": choice, "price": "bankruptcy"} for choice in CHOICES),
        deleveraging("queue", "bitmex", "mark"),
        deleveraging("queue", "hyperliquid", "index"),
    ],
    ids=[*SCORES, *SHARES, "linear", "power", "threshold", "random", "largest", "at mark", "at index"],
)
def test_every_deleveraging_rule_agrees(rule: dict[str, Any], fund: float) -> None:
    layers = [FUND, CAPITAL, rule, socialised(), WRITE_DOWN]
    borne = losses(world(move=(-0.5, -0.5, -0.7), house={"fund": fund, "waterfall": layers}))
    assert (borne.get("deleveraging", 0.0) > 0.0) == (rule["price"] == "bankruptcy")


@pytest.mark.parametrize("change", [{"severity": 0.4}, {"drawdown": 0.3}, {"drawdown": 0.01, "window": 1.0}])
def test_severity_and_drawdown_agree(change: dict[str, Any]) -> None:
    layers = [FUND, {**deleveraging("queue", "bitmex"), **change}, socialised(), WRITE_DOWN]
    borne = losses(world(move=(-0.5, -0.5, -0.7), house={"fund": 1e7, "waterfall": layers}))
    assert borne["deleveraging"] > 0.0


@pytest.mark.parametrize("fee", FEES, ids=lambda fee: fee["type"])
@pytest.mark.parametrize("order", [["liquidators", "book"], ["book", "liquidators", "takeover"]], ids=["liquidators first", "book first"])
def test_every_liquidation_fee_agrees(fee: dict[str, Any], order: list[str]) -> None:
    house = {"fees": {"liquidation": fee}, "route": {"order": order}, "accrual": [{"type": "liquidation_fees"}, {"type": "surplus"}]}
    assert sum(losses(world(move=(-0.3, -0.4, -0.5), lasts=3.0, house=house)).values()) > 0.0


def drawn_out(**house: Any) -> dict[str, float]:
    return losses(world(move=(-0.3, -0.4, -0.5), lasts=3.0, house=house))


@pytest.mark.parametrize("rule", SLICES, ids=lambda rule: "-".join(str(value) for value in rule.values()))
def test_every_liquidation_rule_agrees(rule: dict[str, Any]) -> None:
    assert sum(drawn_out(liquidation=rule, rounds=3).values()) > 0.0


@pytest.mark.parametrize(
    "route",
    [{"order": ["book"], "backstop": ["vault"]}, {"order": ["vault", "book"]}, {"order": ["book"], "backstop": ["liquidators", "vault"]}],
)
@pytest.mark.parametrize("layers", [["vault", "fund"], ["fund", "vault"]], ids=["vault first", "fund first"])
def test_a_backstop_vault_agrees(route: dict[str, Any], layers: list[str]) -> None:
    fee = {"liquidation": {"type": "remaining_equity", "bounty": 1.0}}
    order = [*({"type": name} for name in layers), deleveraging("queue", "hyperliquid", "mark"), socialised(), WRITE_DOWN]
    borne = drawn_out(vault=VAULT, route=route, fees=fee, waterfall=order, fund=1e3, accrual=[])
    assert borne["vault"] > 0.0


def test_a_speed_limit_agrees() -> None:
    assert sum(drawn_out(speed_limit=[2e4, 1e3]).values()) > 0.0


WATERFALLS = {
    "claims alone": [WRITE_DOWN],
    "stakers first": [{"type": "stakers"}, FUND, CAPITAL, deleveraging("queue", "bitmex"), WRITE_DOWN],
    "half the fund, then claims": [{"type": "fund", "share": 0.5}, WRITE_DOWN],
    "open positions first": [socialised("open_interest", 0.05), FUND, CAPITAL, WRITE_DOWN],
    "through the funding index": [FUND, socialised("funding_index", 0.5), WRITE_DOWN],
    "when they withdraw": [FUND, {"type": "withdrawal_factor"}, WRITE_DOWN],
    "at the end of the day": [FUND, CAPITAL, {"type": "clawback", "period": 8.0}, WRITE_DOWN],
    "a torn up book": [FUND, {"type": "tear_up"}, WRITE_DOWN],
    "gains, then balances": [FUND, socialised("gains", 0.5), socialised("equity", 0.2), WRITE_DOWN],
    "winners before the fund": [deleveraging("queue", "bitmex"), FUND, CAPITAL, socialised("equity"), WRITE_DOWN],
    "fund after winners": [CAPITAL, deleveraging("pro_rata", "profit"), FUND, socialised("open_interest", 0.5), WRITE_DOWN],
}


@pytest.mark.parametrize("layers", WATERFALLS.values(), ids=WATERFALLS.keys())
@pytest.mark.parametrize("move", [(-0.5, -0.5, -0.7), (0.5, 0.6, 0.8)], ids=["down", "up"])
def test_every_order_of_the_waterfall_agrees(layers: list[dict[str, Any]], move: tuple[float, ...]) -> None:
    token = {"depth": 1e-4} if {"type": "stakers"} in layers else None
    borne = losses(world(move=move, house={"waterfall": layers, "token": token}), steps=20)
    assert sum(borne.values()) > 0.0
    assert token is None or borne["stakers"] > 0.0


POOLS = {
    "by market": {"by": "market"},
    "two groups": {"by": "group", "groups": [{"name": "majors", "markets": ["BTC", "ETH"]}]},
    "a shared pool behind": {"by": "market", "shared": 0.4},
    "claims by tier": {"claims": [2e5, "C", "isolated"]},
    "in coins": {"currency": "underlying"},
    "each in its own coins": {"by": "market", "shared": 0.4, "currency": "underlying"},
    "groups with limits": {"by": "group", "groups": [{"name": "small", "markets": ["ALT"]}], "claims": [1e6, 1e5], "shares": [0.2, 0.8]},
}


@pytest.mark.parametrize("divided", POOLS.values(), ids=POOLS.keys())
@pytest.mark.parametrize("move", [(-0.5, -0.5, -0.7), (0.1, -0.3, -0.8)], ids=["together", "one of them most"])
def test_every_division_of_the_fund_agrees(divided: dict[str, Any], move: tuple[float, ...]) -> None:
    behind = [{"type": "shared_fund"}] if "shared" in divided else []
    layers = [FUND, *behind, CAPITAL, deleveraging("queue", "bitmex"), socialised(), WRITE_DOWN]
    borne = losses(world(move=move, house={"fund": 8e6, "pools": divided, "waterfall": layers}))
    assert borne["fund"] > 0.0


def test_a_shared_pool_that_its_own_coins_have_left_short_agrees() -> None:
    # Nobody trades: the pools give away all that they are worth, and the coins that they are then to sell have fallen in the meantime.
    divided = {"by": "market", "shared": 0.3, "currency": "underlying"}
    layers = [{"type": "shared_fund"}, {"type": "stakers"}, WRITE_DOWN]
    house = {"fund": 1e5, "pools": divided, "release": 1.0, "token": {"depth": 1e-4}, "waterfall": layers}
    venue = {"market_makers": {"count": 0}, "liquidators": {"count": 0}}
    assert losses(world(traders=0, house=house, venue=venue), steps=10, seed=0)["stakers"] > 0.0


@pytest.mark.parametrize(
    ("token", "layers"),
    [
        ({"fund_share": 0.5, "depth": 1e-2}, [FUND, CAPITAL, deleveraging("queue", "bitmex"), WRITE_DOWN]),
        ({"fund_share": 0.5, "depth": 1e-4}, [FUND, {"type": "withdrawal_factor"}, WRITE_DOWN]),
        ({"fund_share": 0.9, "depth": 1e-2}, [FUND, WRITE_DOWN]),
        ({"depth": 1e-2}, [{"type": "stakers"}, FUND, WRITE_DOWN]),
    ],
    ids=["deep", "thin", "nearly all", "staked alone"],
)
@pytest.mark.parametrize("move", [(-0.3, -0.4, -0.5), (-0.5, -0.5, -0.7), (0.5, 0.6, 0.8)])
def test_the_venues_token_agrees_in_price_stake_and_what_the_fund_has_of_it(
    token: dict[str, float], layers: list[dict[str, Any]], move: tuple[float, ...]
) -> None:
    quick = {"staked": 0.3, "memory": 24.0, "recovery": 3.0, "restake_hours": 5.0, "beta": 1.5}
    house = {"fund": 6e6, "sizing": {"type": "fixed", "amount": 5e6}, "release": 1.1, "value_accrual": SURPLUS, "waterfall": layers}
    assert sum(losses(world(move=move, lasts=2.0, house={**house, "token": {**quick, **token}}), steps=16).values()) > 0.0


@pytest.mark.parametrize("move", [(-0.3, -0.4, -0.5), (-0.5, -0.5, -0.7), (-0.9, -0.95, -0.99), (0.5, 0.6, 0.8)])
def test_a_central_counterpartys_layers_agree(move: tuple[float, ...]) -> None:
    members = {"traders": 5, "share": 0.1, "restore_hours": 24.0}
    borne = losses(world(move=move, house={"fund": 0.0, "members": members, "waterfall": CCP}), steps=20)
    assert borne["members_fund"] > 0.0


FUTURES = [
    {"type": "future", "asset": "BTC", "days": 0.3, "settlement_hours": 0.5},
    {"type": "future", "asset": "ETH", "days": 0.5, "settlement_hours": 3.0, "depth": 1.0},
    {"type": "future", "asset": "BTC", "days": 2.0},
]


ALL_CLOSED = dict.fromkeys(CHANNELS, False)


@pytest.mark.parametrize(
    "layers",
    [CCP, [FUND, deleveraging("queue", "bitmex"), WRITE_DOWN], [FUND, {"type": "withdrawal_factor"}, WRITE_DOWN]],
    ids=["central counterparty", "deleveraging", "when they withdraw"],
)
@pytest.mark.parametrize("channel", CHANNELS)
def test_every_closed_channel_agrees(channel: str, layers: list[dict[str, Any]]) -> None:
    house = {"fund": 1e5, "rounds": 3, "members": {"traders": 5, "share": 0.1}, "waterfall": layers}
    hedges = {"lost_hedges": {"share": 0.8, "rate": 0.5}}
    borne = losses(world(move=(-0.5, -0.5, -0.7), house=house, traders_too=hedges, channels={channel: False}))
    assert ("rescue" in borne) >= (channel == "socialised_loss")
    assert ("rescue" in borne) <= (channel in ("socialised_loss", "exchange_failure"))
    assert sum(borne.values()) > 0.0


@pytest.mark.parametrize("move", [(-0.3, -0.4, -0.5), (-0.5, -0.5, -0.7), (0.5, 0.6, 0.8)])
@pytest.mark.parametrize("layers", [CCP, [FUND, WRITE_DOWN]], ids=["central counterparty", "claims"])
def test_a_world_without_contagion_agrees(layers: list[dict[str, Any]], move: tuple[float, ...]) -> None:
    # Coins are collateral and the fund is held in them, futures expire while the outside has them, and hedgers sell what they cannot hold.
    house = {"fund": 1e5, "coin_haircuts": [0.1], "members": {"traders": 5, "share": 0.1}, "waterfall": layers}
    house |= {"pools": {"currency": "underlying"}, "liquidation": {"type": "partial_then_full", "small": 1e4}}
    block = world(move=move, lasts=2.0, house=house, traders_too={"lost_hedges": {}}, channels=ALL_CLOSED).model_dump(by_alias=True)
    block["venues"][0]["instruments"] = FUTURES
    losses(Scenario.model_validate(block), steps=20)


@pytest.mark.parametrize(
    "missing",
    [{"market_makers": {"count": 0}}, {"liquidators": {"count": 0}}, {"market_makers": {"count": 0}, "liquidators": {"count": 0}}],
    ids=["no market makers", "no liquidators", "neither"],
)
def test_empty_roles_agree(missing: dict[str, dict[str, Any]]) -> None:
    losses(world(move=(-0.5, -0.6, -0.7), venue=missing))


def test_one_trader_agrees() -> None:
    losses(world(traders=1, move=(-0.7,)))


@pytest.mark.parametrize("order", [("takeover",), ("liquidators", "takeover", "book"), ("takeover", "book"), ("book",)])
def test_every_route_agrees(order: tuple[str, ...]) -> None:
    route = {"order": order, "takeover_limit": 3.0}
    losses(world(move=(-0.4, -0.5, -0.6), lasts=2.0, house={"route": route, "fund": 2e7}))


@pytest.mark.parametrize(
    "margin",
    [
        {"type": "tiered", "schedules": ("binance_btc_2021", "dydx_mid"), "leverage_cap": 10.0},
        {"type": "linear_ramp", "slope": (1e-4, 1e-5, 1e-5)},
        {"type": "fixed_leverage", "initial": 0.1, "maintenance": 0.08},
        {"type": "open_interest_scaled", "lower": (1e6,), "upper": (1e8,)},
        {"type": "square_root", "factor": (0.01, 0.001, 0.001)},
        {"type": "skew_impact", "position_margin": 1e4, "leverage_cap": 15.0},
        {"type": "portfolio_scenarios", "netting": "all", "tables": ("deribit",)},
        {"type": "ewma", "every": 1.0, "measure": "expected_shortfall"},
        {"type": "historical", "every": 1.0, "look_back": 100, "add_ons": {"interest_from": (1e6,), "interest_to": (1e8,)}},
        {
            "type": "filtered_historical",
            "every": 2.0,
            "look_back": 30,
            "confidence": 0.9,
            "anti_procyclicality": {"buffer": 0.25, "floor": True},
        },
    ],
    ids=["tiers with a cap", "ramp", "fixed", "open interest", "square root", "skew", "scenarios", "ewma", "historical", "filtered"],
)
def test_every_margin_rule_agrees(margin: dict[str, Any]) -> None:
    losses(world(move=(-0.4, -0.5, -0.6), lasts=1.0, house={"margin": margin, "liquidation": {"type": "full", "keeps": 0.3}}))


def test_rebates_a_funding_share_and_an_injection_agree() -> None:
    scenario = world(house={"fees": {"taker": 5e-4, "maker": -2e-4}, "capital": 1e5})
    runs = run_both(scenario, 12, 3)
    for engine, _, lines in runs:
        assert not lines, lines[:8]
        engine.venue.levies = replace(engine.venue.levies, funding=0.2)


def test_the_fund_takes_its_share_of_the_funding_that_is_received_and_not_of_what_is_due() -> None:
    # Nobody takes liquidated contracts, so bankrupt payers keep them and owe funding that they do not pay.
    house = {"route": {"order": ("takeover",), "takeover_limit": 0.0}, "waterfall": [FUND, WRITE_DOWN]}
    shared = 0.0
    for engine, _, lines in run_both(world(move=(-0.5, -0.6, -0.7), house=house), 10, 1):
        assert not lines, lines[:8]
        shared += engine.venue.ledger.statement.get(Flow.FUNDING_SHARE, 0.0)
        engine.venue.levies = replace(engine.venue.levies, funding=0.5)
    assert shared > 0.0


def test_a_fund_below_zero_is_made_good_by_the_layers_after_it() -> None:
    for at, (engine, twin, lines) in enumerate(run_both(world(), 6, 1)):
        assert not lines, lines[:8]
        if at == 2:
            usd = engine.venue.ledger.fund + 1e5
            engine.venue.ledger.transfer(Flow.DISTRIBUTION, LEDGER_FUND, OUTSIDE, usd)
            twin.funds[0].cash -= usd
        if at == 3:
            assert engine.venue.tally.absorbed["exchange_capital"] == pytest.approx(1e5, rel=0.1)


def test_accounts_that_must_close_are_closed_alike() -> None:
    for at, (engine, twin, lines) in enumerate(run_both(world(), 6, 2)):
        assert not lines, lines[:8]
        if at == 2:
            row = engine.venue.institutions + 5
            assert engine.venue.ledger.exposure[:, row].any()
            engine.venue.ledger.status[row], twin.accounts[row].status = 3, "closing"
    assert not engine.venue.ledger.exposure[:, row].any()


def test_accrual_rules_set_the_same_levies() -> None:
    rules = [
        {"type": "trading_fees", "share": 0.4},
        {"type": "open_interest", "rate": 0.01, "exponent": 1.5},
        {"type": "liquidation_fees", "share": 0.7},
        {"type": "surplus", "share": 0.3},
        {"type": "surplus", "share": 0.7},
        {"type": "volume", "basis_points": 3.0},
        {"type": "target_seeking", "levies": {"type": "funding", "share": 0.8}, "exponent": 0.5},
        {"type": "open_interest", "rate": 0.01, "exposure_exponent": 1.0},
    ]
    for engine, twin, lines in run_both(world(house={"accrual": rules}), 5, 2):
        assert not lines
        (levies,), expected = set_levies(twin, open_interest(twin)), engine.venue.levies
        # The array engine sets levies before lenders and traders pay in and out, which moves no contracts.
        assert levies.open_interest == pytest.approx(expected.open_interest, rel=1e-3)
        assert (levies.trading_fees, levies.liquidation_fees, levies.surplus) == (0.4, 0.7, 1.0)
        assert (levies.volume, expected.volume) == (pytest.approx(3e-4), pytest.approx(3e-4))
        assert levies.funding == pytest.approx(expected.funding, rel=1e-3)
        assert 0.0 < levies.funding < 0.8


def test_the_twin_borrows_no_rule_from_the_array_engine() -> None:
    # Hours in a year, and the published tiers and scenario tables that presets name.
    allowed = {"agents.clock", "agents.clearinghouse.margin", "agents.clearinghouse.margin_portfolio"}
    folder = Path(experiments.twin.__file__).parent
    for file in sorted(folder.glob("*.py")):
        if file.name == "record.py":
            continue
        tree = ast.parse(file.read_text())
        typing_only = {id(node) for part in tree.body if isinstance(part, ast.If) for node in ast.walk(part)}
        modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and id(node) not in typing_only}
        ours = {module for module in modules if module.split(".")[0] in ("model", "agents")}
        assert ours <= allowed, f"{file.name} imports {ours - allowed}"


def test_a_twin_that_forgets_a_fee_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.twin.accrual.charge_trading", lambda *_: None)
    assert any(lines for _, _, lines in run_both(world(), 3, 1))


def test_liquidators_who_wait_agree_and_a_premium_keeps_them_from_it() -> None:
    def cleared(anticipation: float, premium: float) -> float:
        house = {"route": {"order": ("liquidators", "takeover"), "absorption_premium": premium}, "fund": 1e8}
        venue = {"liquidators": {"count": 1, "capital": 1e9, "appetite": 20.0, "anticipation": anticipation}}
        scenario = world(move=(-0.3, -0.4, -0.5), lasts=1.0, house=house, venue=venue)
        assert losses(scenario, steps=12)
        eco = Ecosystem(scenario, rng=0)
        eco.run_for(12)
        return float(eco.series()["takeovers"].sum())

    assert cleared(0.0, 0.0) == cleared(3.0, 0.05) == 0.0
    assert cleared(3.0, 0.0) > 1e5


@pytest.mark.parametrize(
    ("move", "lasts"),
    [((), 0.0), ((-0.3, -0.4, -0.5), 3.0), ((-0.5, -0.5, -0.7), 0.0), ((0.5, 0.6, 0.8), 0.0)],
    ids=["calm", "a fall in hours", "a jump through bankruptcy", "a jump upwards"],
)
def test_dated_futures_agree_through_their_expiries(move: tuple[float, ...], lasts: float) -> None:
    block = world(move=move, lasts=lasts, house={"fees": {"delivery": 1e-3}}).model_dump(by_alias=True)
    block["venues"][0]["instruments"] = FUTURES
    assert bool(losses(Scenario.model_validate(block), steps=20)) == bool(move)


@pytest.mark.parametrize("haircuts", [(0.1,), (0.5, 0.2)])
@pytest.mark.parametrize("move", [(0.5, 0.6, 0.8), (-0.5, -0.5, -0.7), (0.9, -0.3, 0.0)], ids=["up", "down", "apart"])
def test_coins_as_collateral_agree_where_hedges_are_stretched(haircuts: tuple[float, ...], move: tuple[float, ...]) -> None:
    block = world(move=move, lasts=2.0, house={"coin_haircuts": haircuts, "fund": 1e5}).model_dump(by_alias=True)
    hedgers = block["traders"]["groups"][1]
    hedgers.update({"leverage": 0.97, "leverage_max": 0.97, "count": 6, "strategies": [{"type": "hedger", "hurdle": -1.0}]})
    assert sum(losses(Scenario.model_validate(block), steps=16).values()) > 0.0


INVERSE = ({"type": "inverse", "asset": "BTC", "depth": 1.0}, {"type": "inverse", "asset": "ETH", "depth": 0.3})


@pytest.mark.parametrize(
    ("move", "lasts", "house"),
    [
        ((), 0.0, {}),
        ((-0.3, -0.4, -0.5), 3.0, {}),
        ((-0.5, -0.5, -0.7), 0.0, {"pools": {"by": "market", "currency": "underlying"}}),
        ((-0.5, -0.5, -0.7), 0.0, {"waterfall": [deleveraging("queue", "hyperliquid", "index"), {"type": "write_down"}]}),
        ((0.5, 0.6, 0.8), 0.0, {"waterfall": [{"type": "fund"}, deleveraging("queue", "bitmex"), socialised(), {"type": "write_down"}]}),
    ],
    ids=["calm", "a fall in hours", "a fund in coin", "an exchange that fails", "a jump upwards"],
)
def test_settlement_in_coin_agrees(move: tuple[float, ...], lasts: float, house: dict[str, Any]) -> None:
    scenario = in_coin(world(move=move, lasts=lasts, house=house).model_dump(mode="json", by_alias=True), *INVERSE)
    assert bool(losses(scenario, steps=14)) == bool(move)


def test_a_recorded_run_is_the_run_itself() -> None:
    recorded, plain = RecordedEcosystem(world(), rng=4), Ecosystem(world(), rng=4)
    for _ in range(5):
        recorded.step()
        plain.step()
    assert recorded.series().equals(plain.series())
