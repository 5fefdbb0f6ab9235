"""Presets of named venues: what they say, what prevails over them, and that every one of them can be run."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from agents.clearinghouse.parameters import ClearinghouseParameters
from agents.clearinghouse.presets import PRESETS
from experiments import shipped
from experiments.runner import run
from experiments.twin.record import run_both
from model.errors import ScenarioError
from model.scenario_file import dump_scenario, load_scenario

PRESET = "venues.0.clearinghouse.preset"


def house(*settings: str, base: str = "crash") -> ClearinghouseParameters:
    return shipped.load(base, settings).venues[0].clearinghouse


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_setting_of_a_preset_is_there_and_its_sources_are_of_settings_that_it_has(name: str) -> None:
    found = house(f"{PRESET}={name}").model_dump(mode="json")
    for setting, value in PRESETS[name].settings.items():
        if setting == "waterfall":
            assert [layer["type"] for layer in found[setting]] == [layer["type"] for layer in value]
        elif isinstance(value, dict) and "type" in value:
            assert {key: found[setting][key] for key in value} == value
    for settings in PRESETS[name].sources:
        assert {one.split(".")[0] for one in settings.split(", ")} <= set(PRESETS[name].settings)


def test_what_a_file_says_prevails_over_its_preset() -> None:
    given = {"preset": "binance_2019", "route": {"unwind_rate": 0.7}, "fees": {"liquidation": 0.001}, "waterfall": [{"type": "write_down"}]}
    found = ClearinghouseParameters.model_validate(given)
    assert (found.route.unwind_rate, found.route.takeover_limit, found.route.order) == (0.7, 0.2, ("book", "takeover"))
    assert found.fees.liquidation.model_dump() == {"type": "flat", "rate": 0.001, "bounty": 0.0}
    assert [layer.type for layer in found.waterfall] == ["write_down"]
    assert found.liquidation.type == "smallest_slice"


def test_a_new_preset_takes_the_place_of_the_old_one_and_leaves_all_else() -> None:
    found = house(f"{PRESET}=hyperliquid", f"{PRESET}=bitmex")
    assert found == house(f"{PRESET}=bitmex")
    assert (found.fund, found.vault, found.route.takeover_limit) == (1e7, None, 1.0)
    assert house(f"{PRESET}=ftx", f"{PRESET}=null") == house()


def test_a_resolved_scenario_reads_back_as_itself(tmp_path: Path) -> None:
    world = shipped.load("crash", [f"{PRESET}=okx", "venues.0.clearinghouse.liquidation.down=1"])
    file = tmp_path / "resolved.yaml"
    file.write_text(dump_scenario(world))
    assert load_scenario(file) == world


def test_an_order_that_a_preset_cannot_have_is_refused() -> None:
    with pytest.raises(ValidationError, match="deleveraging"):
        ClearinghouseParameters.model_validate(
            {"preset": "bitmex", "waterfall": [{"type": "socialised_loss"}, {"type": "deleveraging"}, {"type": "write_down"}]}
        )
    with pytest.raises(ScenarioError, match="preset"):
        house(f"{PRESET}=mtgox")


def test_presets_say_what_is_published() -> None:
    assert house(f"{PRESET}=binance_2019").waterfall[1].drawdown == 0.075  # type: ignore[attr-defined]
    assert house(f"{PRESET}=okx").waterfall[1].price == "mark"  # type: ignore[attr-defined]
    assert house(f"{PRESET}=drift").pools.claims == ("A", "B", "C")
    assert house(f"{PRESET}=hyperliquid").liquidation.cool_down == 30.0  # type: ignore[attr-defined]


PUBLISHED = {
    "bitmex": {
        "pools": {"by": "market", "currency": "underlying"},
        "liquidation": {"keeps": 0.0},
        "waterfall": {1: {"price": "bankruptcy"}},
    },
    "binance_2019": {
        "fees": {"liquidation": {"rate": 0.005}},
        "route": {"takeover_limit": 0.2},
        "waterfall": {1: {"rule": {"score": "binance"}, "drawdown": 0.075, "window": 8.0}},
    },
    "bybit": {"liquidation": {"keeps": 0.0}, "waterfall": {1: {"rule": {"score": "bitmex"}, "drawdown": 0.3, "window": 8.0}}},
    "okx": {"liquidation": {"down": 2}, "waterfall": {1: {"price": "mark", "drawdown": 0.3, "window": 8.0}}},
    "deribit": {"pools": {"currency": "underlying"}, "fees": {"liquidation": {"rate": 0.0075}}, "waterfall": {1: {"by": "gains"}}},
    "dydx_v4": {
        "fees": {"liquidation": {"rate": 0.015}},
        "liquidation": {"most": 0.1, "least": 1_000.0},
        "waterfall": {1: {"rule": {"type": "random"}, "price": "bankruptcy"}},
    },
    "hyperliquid": {
        "fees": {"liquidation": {"share": 1.0, "bounty": 1.0}},
        "liquidation": {"slice": 0.2, "small": 100_000.0, "full_below": 2 / 3, "cool_down": 30.0},
        "waterfall": {1: {"rule": {"score": "hyperliquid"}, "price": "mark"}},
    },
    "ftx": {
        "fees": {"liquidation": {"bounty": 2 / 3}},
        "liquidation": {"slice": 0.1, "auto_close": 0.5},
        "waterfall": {1: {"rule": {"count": 10}}},
    },
    "drift": {
        "pools": {"claims": ["A", "B", "C"]},
        "fees": {"liquidation": {"type": "headroom", "safety": 0.95}},
        "liquidation": {"buffer": 0.02},
        "waterfall": {1: {"by": "funding_index"}},
    },
    "paradex": {"fees": {"liquidation": {"share": 0.7}}, "liquidation": {"ratio": pytest.approx(1.0 / 0.9), "step": 0.2}},
    "emir_ccp": {"waterfall": {1: {"share": 0.25}, 3: {"share": 0.25}, 4: {"cap": 1.0}}},
}
"""Numbers that the sources give; layers by their place."""


def within(found: Any, expected: Any) -> Any:
    """What there is where something is expected."""
    return {key: within(found[key], value) for key, value in expected.items()} if isinstance(expected, dict) else found


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_number_that_a_source_gives_is_its_presets(name: str) -> None:
    assert within(house(f"{PRESET}={name}").model_dump(mode="json"), PUBLISHED[name]) == PUBLISHED[name]


@pytest.mark.parametrize("name", ["hyperliquid", "drift"])
def test_a_venue_and_its_slow_twin_agree_in_the_crash(name: str) -> None:
    few = [f"{PRESET}={name}", "traders.groups.0.count=40", "venues.0.clearinghouse.fund=1e5"]
    few += ["shocks.0.at=2", "shocks.1.at=2", "shocks.2.at=4", "shocks.3.at=4", "shocks.4.at=2"]
    borne = 0.0
    for engine, _, lines in run_both(shipped.load("crash", few), 7, 1):
        assert not lines
        borne += sum(engine.venue.tally.absorbed.values())
    assert borne > 0.0


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_keeps_the_laws_in_the_crash(name: str) -> None:
    series = run(shipped.load("crash", [f"{PRESET}={name}"]), seed=1, steps=90, check_laws=True).series
    assert series["deficits"].sum() > 0.0
