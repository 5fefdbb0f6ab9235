"""Both engines agree where options are listed, and under portfolio margin beside other instruments; the twin's formulas by hand."""

import math
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from experiments import shipped
from experiments.twin import options
from experiments.twin.options import Option, Pinned, black, money
from experiments.twin.portfolio import Portfolio
from experiments.twin.record import run_both
from experiments.twin.surface import THIRTY_DAYS, Surface, at_the_money, total_variance
from model.instruments import InstrumentParameters
from model.scenario import Scenario
from model.surface import SurfaceParameters
from tests.reference.test_twin_drawn import QUIET, scenarios
from tests.reference.worlds import CAPITAL, CCP, FUND, WRITE_DOWN, deleveraging, in_coin, losses, socialised, world

OPTIONS: list[dict[str, Any]] = [
    {"type": "call", "asset": "BTC", "days": 0.3, "moneyness": 1.02, "settlement_hours": 0.5, "depth": 1.0},
    {"type": "put", "asset": "BTC", "days": 2.0, "moneyness": 0.95, "depth": 1.0},
    {"type": "put", "asset": "ETH", "days": 0.3, "moneyness": 1.0, "settlement_hours": 3.0, "depth": 0.5},
]
"""Two of them end in the eighth hour."""
FUTURE = {"type": "future", "asset": "BTC", "days": 0.3, "settlement_hours": 0.5}
SELLER = {"type": "volatility_seller", "hurdle": -0.5, "saturation": 0.1, "least": 0.0, "pace": 0.5}
TRADERS: list[dict[str, Any]] = [
    {"name": "insured", "equity": 2e7, "leverage": 0.8, "leverage_max": 0.8, "strategies": [{"type": "protected"}]},
    {"name": "call_buyers", "equity": 5e6, "leverage": 2.0, "strategies": [{"type": "call_buyer"}]},
    {"name": "volatility_funds", "equity": 1e7, "leverage": 10.0, "leverage_max": 20.0, "strategies": [SELLER]},
]
FALL: dict[str, Any] = {"move": (-0.2, -0.25), "lasts": 0.5}
JUMP: dict[str, Any] = {"move": (-0.5, -0.6)}
RISE: dict[str, Any] = {"move": (0.5, 0.6)}


def listed(base: Scenario, *instruments: dict[str, Any], vault: dict[str, Any] | None = None, **group: Any) -> Scenario:
    """The same world where these are listed too, margined by scenarios, with a few who trade options."""
    block = base.model_dump(mode="json", by_alias=True)
    venue, retail = block["venues"][0], block["traders"]["groups"][0]
    venue["instruments"], venue["option_vault"] = list(instruments), vault
    if venue["clearinghouse"]["margin"]["type"] != "portfolio_scenarios":
        venue["clearinghouse"]["margin"] = {"type": "portfolio_scenarios"}
    if venue["clearinghouse"]["pools"]["shares"]:
        venue["clearinghouse"]["pools"]["shares"] = []  # there are more pools now
    more = [{**retail, "count": 5, "activity": 0.5, **one, **group} for one in TRADERS]
    for one in more:
        one["leverage_max"] = max(one["leverage_max"], one["leverage"])
    block["traders"]["groups"] = [*block["traders"]["groups"], *more]
    return Scenario.model_validate(block)


def small(**more: Any) -> Scenario:
    """Two assets and few traders."""
    return world(**{"traders": 12, "assets": Scenario().model_dump(by_alias=True)["assets"][:2], **more})


def cleared(scenario: Scenario, steps: int = 8, seed: int = 1) -> Counter[str]:
    """Runs both engines, which must agree; USD and contracts of options that were liquidated and deleveraged, USD borne by layer."""
    seen: Counter[str] = Counter()
    for at, (engine, _, lines) in enumerate(run_both(scenario, steps, seed), start=1):
        assert not lines, f"step {at}: " + "; ".join(lines[:8])
        venue = engine.venue
        option = venue.market.listed.option if venue.market.listed is not None else slice(0)
        seen["liquidated"] += float(venue.tally.liquidated[option].sum())
        seen["deleveraged"] += float(venue.deleveraged[option].sum()) if venue.deleveraged is not None else 0.0
        for layer, usd in venue.tally.absorbed.items():
            seen[layer] += usd
    return seen


# -- the twin's formulas, by hand ---------------------------------------------------------------------------------------------------


def test_blacks_formula() -> None:
    # At the money with a standard deviation of 0.2: 100 (2 N(0.1) - 1) = 7.9656. A put differs by the forward less the strike.
    assert black(100.0, 100.0, 0.04, 1.0) == pytest.approx(100.0 * math.erf(0.1 / math.sqrt(2.0)), rel=1e-12)
    assert black(100.0, 80.0, 0.04, 1.0) - black(100.0, 80.0, 0.04, -1.0) == pytest.approx(20.0, rel=1e-12)
    assert (black(100.0, 80.0, 0.0, 1.0), black(100.0, 80.0, 0.0, -1.0), black(0.0, 80.0, 0.04, -1.0)) == (20.0, 0.0, 80.0)


def test_the_surface_says_the_level_at_thirty_days_and_slopes_by_its_skew() -> None:
    p = SurfaceParameters(skew=-0.5, curvature=1.0, decay=0.5, term=0.1)
    theta = 0.36 * THIRTY_DAYS
    assert at_the_money(p, 0.6, THIRTY_DAYS) == pytest.approx(theta)
    assert at_the_money(p, 0.6, 4.0 * THIRTY_DAYS) == pytest.approx(4.0 * theta * 4.0**-0.2)
    assert total_variance(p, 0.6, THIRTY_DAYS, 0.0) == pytest.approx(theta)
    # Where phi k = 1: theta / 2 (1 - 1/2 + sqrt(1/4 + 3/4)) = 3/4 theta; where it is -1, theta / 2 (3/2 + sqrt(9/4 + 3/4)).
    k = math.sqrt(theta * (1.0 + theta))
    assert total_variance(p, 0.6, THIRTY_DAYS, k) == pytest.approx(0.75 * theta)
    assert total_variance(p, 0.6, THIRTY_DAYS, -k) == pytest.approx(theta / 2.0 * (1.5 + math.sqrt(3.0)))


def test_implied_volatility_answers_a_fall_and_buyers_and_finds_back() -> None:
    surface = Surface(SurfaceParameters(premium=1.2, response=2.0, flow_impact=0.01, memory=10.0), 0.5, 5.0)
    assert surface.level == pytest.approx(0.6)
    surface.begin_step(5.0, 1.5)
    assert surface.now(4.9) == pytest.approx(0.9 * math.exp(0.2))
    assert surface.now(-100.0) == surface.parameters.ceiling
    surface.bought = 20.0
    surface.close(4.9, 0.5, 10.0)
    pushed = 0.9 * math.exp(0.2) * math.exp(0.2)
    assert surface.level == pytest.approx(pushed + (1.0 - math.exp(-1.0)) * (0.6 - pushed))


def test_an_option_pays_what_it_is_in_the_money_by_and_the_next_is_struck_at_the_index() -> None:
    terms = InstrumentParameters(type="put", asset="BTC", days=1.0, moneyness=0.9)
    series = Option(terms, Surface(SurfaceParameters(), 0.5, math.log(100.0)), 90.0)
    assert (series.pays(80.0), series.pays(95.0)) == (10.0, 0.0)
    # Halfway through its last day half of the book's premium is left in its mark: 0.01 x 100 / 2 over the fair price.
    series.clock = 12.0
    fair, marked = (series.pinned(math.log(100.0), 100.0, premium).worth() for premium in (0.0, 0.01))
    assert marked - fair == pytest.approx(0.5)
    assert series.pinned(math.log(100.0), 100.0, -1.0).worth() == 0.0
    series.clock = 24.0
    assert series.pinned(math.log(80.0), 80.0, 0.01).worth() == pytest.approx(10.0)
    series.renew(80.0)
    assert (series.left, series.strike) == (24.0, pytest.approx(72.0))


def test_the_margin_of_a_book_of_several_instruments() -> None:
    def portfolio(netting: str) -> Portfolio:
        shifts = ({"spot": 0.1}, {"spot": -0.2, "volatility": 0.5, "weight": 0.5})
        p = {"netting": netting, "tables": [shifts], "unhedged": [0.01], "hedged": [0.004], "provision": 0.001}
        margin = Scenario().venues[0].clearinghouse.model_validate({"margin": {"type": "portfolio_scenarios", **p}}).margin
        book = Portfolio(margin, [0.5], [0, 0, 0])
        # An option that gains a third of what the index does, and a tenth of what implied volatility does.
        book.mark([lambda spot, _: spot, lambda spot, _: spot, lambda spot, volatility: spot / 3.0 + 0.1 * volatility])
        return book

    # Long 300 of the perpetual, short 100 of the future and 200 of the option. A rise of 10 % brings 30 - 10 - 6.67 = 13.33; a fall of 20 %
    # with volatility half as much again -60 + 20 + 13.33 - 10 = -36.67, of which half counts: 18.33. Deltas are 300, -100 and -66.67: net
    # 133.33, hedged (466.67 - 133.33) / 2 = 166.67: 1.33 + 0.67 = 2.00. Provision 0.6.
    held, units = [3.0, -1.0, -2.0], [100.0, 100.0, 100.0]
    assert portfolio("assets").initial(held, units) == pytest.approx(55.0 / 3.0 + 0.6)
    assert sum(portfolio("all").maintenance(held, units)) == pytest.approx(55.0 / 6.0 + 0.6)
    # Alone the perpetual needs 30, the future 10, the option 6.67 on a rise. A fall loses the option's buyers, not its sellers.
    assert portfolio("none").initial(held, units) == pytest.approx(30.0 + 10.0 + 20.0 / 3.0 + 0.6)
    # Hedged to the last cent, what is asked for is the charge on what is hedged: 0.004 x 100, and the provision on 200.
    assert portfolio("assets").initial([1.0, -1.0, 0.0], units) == pytest.approx(0.4 + 0.2)


def test_premiums_are_paid_at_the_trade_and_marks_move_nobodys_money() -> None:
    held: Counter[int] = Counter()
    for engine, twin, lines in run_both(listed(small(), OPTIONS[1]), 3, 1):
        assert not lines
        ledger = engine.venue.ledger
        others = ledger.marks[:2] @ ledger.position[:2]
        for number, account in twin.accounts.items():
            # The array engine carries all contracts at cost: without perpetuals' it is what has been paid for options.
            assert money(account) == pytest.approx(float(ledger.cash[number] + others[number]), rel=1e-9, abs=1e-3)
            held[number] += account.position[2] > 0.0
    account = twin.accounts[max(held, key=lambda number: held[number])]
    assert account.position[2] > 0.0
    before, worth = money(account), account.cash
    account.settle([*twin.marks[:2], 1.5 * twin.marks[2]])
    assert money(account) == pytest.approx(before, rel=1e-12)
    assert account.cash - worth == pytest.approx(0.5 * twin.marks[2] * account.position[2], rel=1e-9)
    account.trade(2, 2.0, 7.0)
    assert money(account) == pytest.approx(before - 14.0, rel=1e-12)


# -- agreement ----------------------------------------------------------------------------------------------------------------------


def test_the_shipped_scenario_of_options_agrees_in_small() -> None:
    base = shipped.load("options").model_dump(mode="json", by_alias=True)
    base["traders"]["groups"] = [{**group, "count": min(group["count"], 10)} for group in base["traders"]["groups"]]
    shocks = [{"type": "volatility_move", "at": 3.0, "size": [0.3]}, {"type": "price_move", "at": 4.0, "size": [-0.15, -0.2, -0.3]}]
    assert cleared(Scenario.model_validate({**base, "shocks": shocks}), steps=6)


@pytest.mark.slow
def test_the_shipped_scenario_of_options_agrees_through_its_expiries() -> None:
    base = shipped.load("options").model_dump(mode="json", by_alias=True)
    base["traders"]["groups"] = [{**group, "count": min(group["count"], 10)} for group in base["traders"]["groups"]]
    assert cleared(Scenario.model_validate(base), steps=400)


@pytest.mark.parametrize(
    ("shock", "netting"),
    [(FALL, "assets"), (JUMP, "assets"), (RISE, "assets"), (JUMP, "none"), (RISE, "all")],
    ids=["a fall", "a jump through bankruptcy", "a jump upwards", "nothing nets", "all nets"],
)
def test_a_crash_agrees_with_options_and_futures_in_the_book(shock: dict[str, Any], netting: str) -> None:
    house = {"margin": {"type": "portfolio_scenarios", "netting": netting}}
    seen = cleared(listed(small(**shock, house=house), *OPTIONS, FUTURE, leverage=15.0))
    assert seen["liquidated"] + seen["deleveraged"] > 0.0


@pytest.mark.parametrize("size", [(0.8, 0.5), (-0.6,), (30.0,)], ids=["up", "down", "to the ceiling"])
def test_a_jump_of_implied_volatility_agrees(size: tuple[float, ...]) -> None:
    shocks = [{"type": "volatility_move", "at": 4.0, "size": list(size)}]
    assert bool(cleared(listed(small(traders=4, shocks=shocks), *OPTIONS, leverage=15.0), steps=6)["liquidated"]) == (size[0] > 1.0)


@pytest.mark.parametrize("move", [(0.06, -0.05), (-0.04, 0.05)], ids=["in the money", "out of the money"])
def test_expiry_agrees(move: tuple[float, ...]) -> None:
    cleared(listed(small(traders=4, move=move, lasts=1.0), *OPTIONS, FUTURE), steps=9)


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "queue", "score": "bitmex"},
        {"type": "queue", "score": "hyperliquid"},
        {"type": "pro_rata", "by": "profit"},
        {"type": "risk_aware", "g": "threshold", "threshold": 0.3},
    ],
    ids=["bitmex", "hyperliquid", "profit", "threshold"],
)
def test_deleveraging_agrees_with_options_in_the_book(rule: dict[str, Any]) -> None:
    layers = [FUND, CAPITAL, {"type": "deleveraging", "rule": rule}, socialised(), WRITE_DOWN]
    seen = cleared(listed(small(**RISE, house={"fund": 0.0, "waterfall": layers}), *OPTIONS, leverage=15.0), steps=7)
    assert min(seen["deleveraging"], seen["deleveraged"]) > 0.0


@pytest.mark.parametrize(
    "layers",
    [
        [deleveraging("queue", "hyperliquid", "index"), socialised("open_interest"), WRITE_DOWN],
        [socialised("gains", 0.5), socialised("equity", 0.2), WRITE_DOWN],
        CCP,
        [WRITE_DOWN],
    ],
    ids=["at the index", "socialised", "central counterparty", "claims"],
)
def test_losses_agree_with_options_in_the_book(layers: list[dict[str, Any]]) -> None:
    house = {"fund": 0.0, "capital": 1e5, "waterfall": layers, "members": {"traders": 3, "share": 0.1}}
    seen = cleared(listed(small(**JUMP, house=house), *OPTIONS, leverage=15.0), steps=8)
    assert sum(usd for name, usd in seen.items() if name not in ("liquidated", "deleveraged")) > 0.0


@pytest.mark.parametrize("kind", ["portfolio_scenarios", "ewma", "historical", "filtered_historical"])
def test_portfolio_margin_agrees_beside_futures(kind: str) -> None:
    learns = {"every": 1.0, "look_back": 30, "confidence": 0.9, "anti_procyclicality": {"stress_weight": 0.25, "floor": True}}
    margin = {"type": kind, "netting": "assets", **({} if kind == "portfolio_scenarios" else learns)}
    block = small(**JUMP, house={"margin": margin}).model_dump(mode="json", by_alias=True)
    block["venues"][0]["instruments"] = [FUTURE, {**FUTURE, "asset": "ETH", "days": 2.0}]
    assert sum(losses(Scenario.model_validate(block), steps=9).values()) > 0.0


def test_an_option_vault_agrees_and_pays_its_share_of_what_it_earns() -> None:
    series = [OPTIONS[0], {**OPTIONS[2], "asset": "BTC", "moneyness": 0.98}]
    vault = {"capital": 5e6, "rule": {"type": "steady", "least_days": 0.0}}
    paid = 0.0
    for engine, twin, lines in run_both(listed(small(traders=4), *series, vault=vault), 9, 2):
        assert not lines, lines[:8]
        assert engine.venue.option_vault is not None
        paid += engine.venue.option_vault.paid
        assert twin.funds[0].statement.flows.get("option_vault_income", 0.0) == pytest.approx(engine.venue.option_vault.paid)
    assert paid > 0.0


@pytest.mark.parametrize(
    ("where", "instead"),
    [
        ((Option, "pays"), lambda *_: 0.0),
        ((Surface, "now"), lambda surface, _: surface.level),
        ((Pinned, "delta"), 0.0),
        ((options, "normal"), lambda x: 0.5 + x / 6.0),
    ],
    ids=["expiry for nothing", "volatility that stands still", "no deltas", "another distribution"],
)
def test_a_twin_that_errs_is_noticed(where: tuple[Any, str], instead: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario = listed(small(traders=4, move=(0.06, -0.05), lasts=1.0), *OPTIONS)
    monkeypatch.setattr(*where, instead)
    assert any(lines for _, _, lines in run_both(scenario, 8, 1))


# -- drawn scenarios ----------------------------------------------------------------------------------------------------------------


@st.composite
def with_options(draw: st.DrawFn) -> Scenario:
    """A drawn scenario whose exchange lists options, and maybe more, some of which end within the run."""
    base = draw(scenarios())
    block = base.model_dump(mode="json", by_alias=True)
    venue, house, step = block["venues"][0], block["venues"][0]["clearinghouse"], base.hours_per_step / 24.0
    names = [asset.name for asset in base.assets]
    house["margin"] = {
        "type": "portfolio_scenarios",
        "netting": draw(st.sampled_from(["none", "assets", "all"])),
        "tables": [draw(st.sampled_from(["paradex_btc", "paradex_hype"])), "paradex_eth"],
        "maintenance": draw(st.sampled_from([0.5, 1.0])),
        "minimum": draw(st.sampled_from([0.0, 0.02])),
        "leverage_cap": draw(st.sampled_from([None, 5.0])),
        "add_ons": {"concentration": draw(st.sampled_from([0.0, 0.05]))},
    }
    house["coin_haircuts"] = draw(st.sampled_from([[], [], [0.2, 0.6]]))
    venue["surface"] = {
        "response": draw(st.sampled_from([0.0, 2.0])),
        "flow_impact": draw(st.sampled_from([0.002, 0.1])),
        "memory": draw(st.sampled_from([2.0, 72.0])),
        "skew": draw(st.sampled_from([-0.25, 0.5])),
    }
    life = st.sampled_from([1.0, 4.0, 7.5, 40.0, 100.0])
    dated = {
        "depth": st.sampled_from([0.05, 1.0]),
        "settlement_hours": st.sampled_from([0.0, 0.1, 0.7]).map(lambda part: part * 24.0 * step),
    }
    future = {"type": st.just("future"), "asset": st.sampled_from(names), "days": life.map(lambda steps: steps * step), **dated}
    option = {**future, "type": st.sampled_from(["call", "put"]), "moneyness": st.sampled_from([0.7, 0.97, 1.0, 1.05, 1.5])}

    def several(kind: dict[str, Any], least: int) -> list[dict[str, Any]]:
        def same(one: dict[str, Any]) -> Any:
            return one["type"], one["asset"], one["days"]

        return draw(st.lists(st.fixed_dictionaries(kind), min_size=least, max_size=3, unique_by=same))

    instruments = [*several(option, 1), *(several(future, 0) if draw(st.booleans()) else [])]
    sold = sorted({one["type"] for one in instruments} & {"call", "put"})
    vault = {"capital": 3e6, "rule": {"type": "steady", "sells": sold, "least_days": 0.0}} if draw(st.booleans()) else None
    if draw(st.booleans()):
        size = [draw(st.sampled_from([-0.5, 0.4, 2.0]))]
        block["shocks"].append({"type": "volatility_move", "at": draw(st.sampled_from([3.0, 6.0])), "size": size})
    if draw(st.booleans()):
        block["shocks"].append({"type": "oracle_error", "at": 6.0, "lasts": 3.0, "size": [draw(st.sampled_from([-0.3, 0.2]))]})
    if draw(st.integers(0, 3)) == 0:
        holders = {"leverage": draw(st.sampled_from([1.0, 20.0])), "count": draw(st.integers(1, 5))}
        instruments.append({"type": "inverse", "asset": draw(st.sampled_from(names)), "depth": 0.3})
        block = in_coin(block, instruments[-1], holders=holders).model_dump(mode="json", by_alias=True)
    activity = {"activity": draw(st.sampled_from([0.1, 1.0])), "leverage": draw(st.sampled_from([3.0, 10.0, 30.0])), "leverage_max": 50.0}
    return listed(Scenario.model_validate(block), *instruments, vault=vault, **activity)


@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=QUIET)
@given(with_options(), st.integers(0, 1000))
def test_drawn_scenarios_with_options_agree(scenario: Scenario, seed: int) -> None:
    losses(scenario, steps=max(8, min(int(6 / scenario.hours_per_step) + 4, 28)), seed=seed, drawn=True)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=QUIET)
@given(with_options(), st.integers(0, 1000))
def test_many_drawn_scenarios_with_options_agree(scenario: Scenario, seed: int) -> None:
    losses(scenario, steps=max(8, min(int(6 / scenario.hours_per_step) + 4, 28)), seed=seed, drawn=True)
