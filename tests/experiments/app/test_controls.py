"""Levers: each changes the field that it names and no other, and nonsense gets a line."""

from pathlib import Path

import pytest

from experiments import shipped
from experiments.app.controls import LEVERS, NO_DELEVERAGING, RANKINGS, Select, Slider, moved, resolved, shown
from model.errors import ScenarioError


def changed(name: str, setting: dict[str, float | str]) -> dict[str, object]:
    """What differs from the scenario, by dotted path."""

    def flat(data: object, path: str = "") -> dict[str, object]:
        if isinstance(data, dict):
            return {key: value for name, part in data.items() for key, value in flat(part, f"{path}.{name}".strip(".")).items()}
        return {path: data}

    before, after = (flat(scenario.model_dump(mode="json")["venues"][0]) for scenario in (shipped.load(name), resolved(name, setting)))
    return {path: value for path, value in after.items() if before.get(path) != value}


def test_without_a_lever_moved_it_is_the_scenario() -> None:
    for name in shipped.scenarios():
        assert resolved(name, {}) == shipped.load(name)


def test_every_lever_has_a_sentence_and_every_slider_a_unit() -> None:
    assert all(lever.says.endswith(".") for lever in LEVERS)
    assert all(lever.unit for lever in LEVERS if isinstance(lever, Slider))


def test_sliders_set_their_field_in_its_unit() -> None:
    assert changed("crash", {"fund": 25.0}) == {"clearinghouse.fund": 25e6}
    assert changed("crash", {"leverage_cap": 3.0}) == {"clearinghouse.margin.leverage_cap": 3.0}


def test_what_a_slider_shows_is_what_the_scenario_says() -> None:
    by_name = {lever.name: lever for lever in LEVERS if isinstance(lever, Slider)}
    assert shown(shipped.load("crash"), by_name["fund"]) == 10.0
    assert shown(shipped.load("crash"), by_name["leverage_cap"]) is None
    assert shown(resolved("crash", {"leverage_cap": 7.0}), by_name["leverage_cap"]) == 7.0


def test_an_accrual_rule_replaces_levies_and_leaves_what_liquidations_bring() -> None:
    (accrual,) = changed("crash", {"accrual": "levy on open interest", "rate": 2.0}).values()
    levy, *others = accrual  # type: ignore[misc]
    assert {name: levy[name] for name in ("type", "rate", "exponent")} == {"type": "open_interest", "rate": 0.02, "exponent": 0.0}
    assert others == [{"type": "liquidation_fees", "share": 1.0}, {"type": "surplus", "share": 1.0}]
    (accrual,) = changed("crash", {"accrual": "nothing levied", "rate": 2.0}).values()
    assert [rule["type"] for rule in accrual] == ["liquidation_fees", "surplus"]  # type: ignore[attr-defined]


def test_every_option_of_every_lever_can_be_opened() -> None:
    for lever in LEVERS:
        if isinstance(lever, Select):
            for option in lever.options:
                assert resolved("crash", {lever.name: option}).name == "crash"


def test_deleveraging_takes_another_ranking_or_goes() -> None:
    for ranking, rule in RANKINGS.items():
        layers = resolved("crash", {"deleveraging": ranking}).venues[0].clearinghouse.waterfall
        assert [layer.rule for layer in layers if layer.type == "deleveraging"] == [rule]  # type: ignore[attr-defined]
    layers = resolved("crash", {"deleveraging": NO_DELEVERAGING}).venues[0].clearinghouse.waterfall
    assert [layer.type for layer in layers] == ["fund", "exchange_capital", "socialised_loss", "write_down"]


def test_the_fund_is_one_or_divided_by_market() -> None:
    assert changed("crash", {"pools": "one for each market"}) == {"clearinghouse.pools.by": "market"}
    assert changed("crash", {"pools": "one fund for all markets"}) == {}


def test_a_lever_for_pools_and_one_for_deleveraging_take_a_shared_pool_out_together(tmp_path: Path) -> None:
    file = tmp_path / "shared.yaml"
    layers = "[{type: fund}, {type: shared_fund}, {type: deleveraging}, {type: write_down}]"
    file.write_text(f"venues: [{{clearinghouse: {{pools: {{by: market, shared: 0.25}}, waterfall: {layers}}}}}]\n")
    for option in ("one fund for all markets", "one for each market"):
        house = resolved(str(file), {"pools": option}).venues[0].clearinghouse
        assert house.pools.shared == 0.0
        assert [layer.type for layer in house.waterfall] == ["fund", "deleveraging", "write_down"]
        for setting in ({"deleveraging": NO_DELEVERAGING, "pools": option}, {"pools": option, "deleveraging": NO_DELEVERAGING}):
            assert [layer.type for layer in resolved(str(file), setting).venues[0].clearinghouse.waterfall] == ["fund", "write_down"]


def test_nonsense_gets_a_line_that_names_the_lever() -> None:
    with pytest.raises(ScenarioError) as caught:
        resolved("crash", {"fund": -1.0, "leverage_cap": 0.5})
    assert [line.partition(":")[0] for line in caught.value.faults] == ["Opening fund", "Leverage cap"]


def test_a_ranking_for_a_waterfall_without_deleveraging_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bare.yaml"
    file.write_text("venues: [{clearinghouse: {waterfall: [{type: fund}, {type: write_down}]}}]\n")
    with pytest.raises(ScenarioError, match="Deleveraging: waterfall: found no layer `deleveraging`"):
        resolved(str(file), {"deleveraging": next(iter(RANKINGS))})


def test_a_shock_moves_other_markets_by_their_jump_loading() -> None:
    # 0.7 ** 1.25 = 0.6403, 0.7 ** 1.8 = 0.5262
    assert moved(shipped.load("crash"), 0.3) == pytest.approx((-0.3, -0.35969, -0.47378), abs=1e-4)
