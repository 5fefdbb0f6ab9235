"""Scenario files: what a value means, what a fault says, and that a resolved file reads back the same."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from model.errors import ScenarioError
from model.scenario import Scenario
from model.scenario_file import dump_scenario, load_scenario, scenario_schema
from model.strict_yaml import read_scalar, read_yaml, write_yaml

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "experiments" / "scenarios").glob("*.yaml"))

FAULTY = """\
schema: 1
name: faulty
steps: many
hours_per_step: 0
stepz: 3
assets:
  - {name: BTC, price: -1, volatility: 0.5}
  - {name: ETH, price: 10, volatility: "0.5"}
  - {name: ALT, price: 10}
news:
  type: factor_model
  compensated: no
  max_mov: 1e-4
venues:
  - clearinghouse:
      fund: true
      waterfall:
        - type: fund
          cap: 3
        - type: fnd
        - share: 0.5
      accrual: 3
      capital: 010
traders:
  groups:
    - name: A B
      count: 1.5
      equity: .inf
steps: 4
recovery: 1.5
network: [core]
"""

# Line, field, what was found, part of what was expected: one for each fault of the text above, in the order of its lines.
FAULTS = (
    (3, "steps", "'many'", "a whole number"),
    (4, "hours_per_step", "0", "more than 0"),
    (5, "stepz", "an unknown setting", "did you mean steps?"),
    (7, "assets.0.price", "-1", "at least 1e-12"),
    (8, "assets.1.volatility", "'0.5'", "a number"),
    (9, "assets.2.volatility", "nothing", "a value: diffusive volatility"),
    (12, "news.compensated", "'no'", "true or false"),
    (13, "news.max_mov", "an unknown setting", "did you mean max_move?"),
    (16, "venues.0.clearinghouse.fund", "true", "a number"),
    (19, "venues.0.clearinghouse.waterfall.0.cap", "an unknown setting", "one of type, share"),
    (20, "venues.0.clearinghouse.waterfall.1.type", "'fnd'", "deleveraging, exchange_capital, fund"),
    (21, "venues.0.clearinghouse.waterfall.2.type", "nothing", "deleveraging, exchange_capital, fund"),
    (22, "venues.0.clearinghouse.accrual", "3", "a list"),
    (23, "venues.0.clearinghouse.capital", "010", "10, without leading zeros"),
    (26, "traders.groups.0.name", "'A B'", "text that matches"),
    (27, "traders.groups.0.count", "1.5", "a whole number"),
    (28, "traders.groups.0.equity", "inf", "a finite number"),
    (29, "steps", "it a second time (first in line 3)", "each setting once"),
    (30, "recovery", "1.5", "at most 1"),
    (31, "network", "a list of 1", "a mapping"),
)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def file(text: str | bytes, name: str = "world.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return file


def faults_of(path: Path, *overrides: str, **options: Any) -> list[str]:
    with pytest.raises(ScenarioError) as raised:
        load_scenario(path, overrides, **options)
    assert all("\n" not in line for line in raised.value.faults)
    return raised.value.faults


# -- faults -----------------------------------------------------------------------------------------------------------------------------


def test_every_fault_of_a_file_is_one_line_with_file_line_field_found_and_expected(write: Any) -> None:
    path = write(FAULTY)
    found = faults_of(path)
    assert len(found) == len(FAULTS)
    for text, (line, field, value, expected) in zip(found, FAULTS, strict=True):
        assert text.startswith(f"{path}:{line}: {field}: found {value}, expected "), text
        assert expected in text.partition(", expected ")[2], text


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        # what a layer, a stage or a rule rests on
        (
            "venues:\n  - clearinghouse:\n      waterfall:\n        - type: fund\n        - type: vault\n        - type: write_down\n",
            (
                ":5: venues.0.clearinghouse.waterfall.1: found `vault` in an impossible waterfall, expected `vault` to be set, "
                "for the layer is its depositors' capital"
            ),
        ),
        (
            (
                "venues:\n  - clearinghouse:\n      members: {}\n      waterfall:\n"
                "        - type: assessment\n        - type: members_fund\n"
                "        - type: write_down\n"
            ),
            (
                ":6: venues.0.clearinghouse.waterfall.1: found `members_fund` in an impossible waterfall, expected `members_fund` before "
                "`assessment` (EMIR, Art. 43: members are called once what they have paid in is used)"
            ),
        ),
        # a preset's layers do not stand in the file
        (
            "venues:\n  - clearinghouse:\n      preset: paradex\n      pools: {by: market}\n",
            (
                ":2: venues.0.clearinghouse.waterfall: found `withdrawal_factor` in an impossible waterfall, expected one pooled fund, "
                "for losses that are borne later are of no market in particular"
            ),
        ),
        # nothing is given away twice
        (
            (
                "venues:\n  - clearinghouse:\n      accrual:\n        - {type: surplus, share: 0.7}\n"
                "        - {type: target_seeking, levies: {type: surplus, share: 0.7}}\n"
            ),
            ":5: venues.0.clearinghouse.accrual.1.levies.share: found 1.4 of what there is with those before, expected at most all of it",
        ),
        # a member of a union that was not meant says nothing
        (
            (
                "venues:\n  - clearinghouse:\n      margin:\n        type: tiered\n        schedules:\n          - hyperliquid_btc\n"
                "          - - {notional: 0, initial: 0.1, maintenance: 0.05}\n"
                "            - {notional: 1e6, initial: 1.5, maintenance: 0.05}\n"
            ),
            ":8: venues.0.clearinghouse.margin.schedules.1.1.initial: found 1.5, expected at most 1",
        ),
        (
            (
                "venues:\n  - clearinghouse:\n      margin:\n        type: tiered\n        schedules:\n"
                "          - - {notional: 0, initial: 0.1, maintenance: 0.05}\n"
                "            - {notional: 0, initial: 0.2, maintenance: 0.1}\n"
            ),
            (
                ":7: venues.0.clearinghouse.margin.schedules.0.1.notional: found 0 after 0, tiers out of order, "
                "expected bounds that start at 0 and increase"
            ),
        ),
        (
            "assets:\n  - {name: BTC, price: 1, volatility: 0.6}\n  - {name: BTC, price: 1, volatility: 0.6}\n",
            ":3: assets.1.name: found 'BTC' again, expected every asset's name once",
        ),
        (
            "assets:\n  - {name: BTC, price: 1, volatility: 0.1}\n",
            ":2: assets.0.volatility: found 0.1 of BTC, expected at least |beta| x news.factor_volatility, 0.53",
        ),
        (
            "traders:\n  groups:\n    - strategies: [{type: call_buyer}]\n",
            (
                ":3: traders.groups.0.strategies.0: found `call_buyer` where no option is listed, "
                "expected a call or a put among the `instruments`"
            ),
        ),
        (
            "venues:\n  - name: a\n  - name: b\n    market_makers: {count: 3}\n",
            ":4: venues.1.market_makers.count: found 3, expected 8, as at `a`, for venues share them, or `sharing.market_makers: false`",
        ),
        ("venues:\n  - surface: {curvature: 2, skew: 0.9}\n", "butterfly arbitrage at curvature x (1 + |skew|) of 3.8, expected at most 2"),
        ("assets:\n\t- name: BTC\n", ":2: YAML: found character '\\t' that cannot start any token, expected a well-formed document"),
    ],
)
def test_settings_that_do_not_fit_are_one_line_at_the_one_to_blame(write: Any, text: str, fault: str) -> None:
    found = faults_of(write(text))
    assert len(found) == 1
    assert found[0].endswith(fault), found[0]


def test_the_faults_of_a_file_come_in_the_order_of_its_lines(write: Any) -> None:
    found = faults_of(write("steps: 0\nvenues:\n  - clearinghouse:\n      waterfall: [{type: fnd}]\n      accrual: 3\n    name: A\n"))
    assert [line.partition(": ")[0].rpartition(":")[2] for line in found] == ["1", "4", "5", "6"]


def test_another_pay_off_keeps_an_instruments_other_terms_and_another_rule_does_not(write: Any) -> None:
    path = write("venues:\n  - instruments: [{type: future, asset: BTC, days: 14, depth: 0.5}]\n    clearinghouse:\n"
                 "      margin: {type: portfolio_scenarios, minimum: 0.1}\n")  # fmt: skip
    call = load_scenario(path, ["venues.0.instruments.0.moneyness=1.1", "venues.0.instruments.0.type=call"]).venues[0].instruments[0]
    assert (call.name, call.depth) == ("BTC_call_14d_1.1", 0.5)
    margin = load_scenario(path, ["venues.0.clearinghouse.margin.type=fixed_leverage"]).venues[0].clearinghouse.margin
    assert margin.model_dump() == {"type": "fixed_leverage", "initial": 0.1, "maintenance": 0.05}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "file: found nothing, expected a mapping of settings"),
        ("# only a remark\n", "file: found nothing, expected a mapping of settings"),
        ("- a\n- b\n", "file: found a list, expected a mapping of settings"),
        ("baseline\n", "file: found a single value, expected a mapping of settings"),
        (b"name: \xff\n", "file: found bytes that are not UTF-8 at 6, expected UTF-8 text"),
        ("name: [1, 2\nsteps: 3\n", ":2: YAML: found ':', expected ',' or ']'"),
        ("a: 1\n---\nb: 2\n", ":2: YAML: found another document, expected a well-formed document"),
        ("name: a\x07b\n", "YAML: found character 7 at 7, expected printable text"),
        ("name: &a [*a]\n", ":1: name.0: found an alias to what contains it, expected a value of its own"),
        ("steps: !!python/object/apply:os.system [ls]\n", "steps: found a list of 1, expected a whole number"),
        ("steps: !!python/name:os.system x\n", ":1: steps: found tag tag:yaml.org,2002:python/name:os.system, expected a plain value"),
        ("1: x\n", ":1: file: found key '1', expected a name, or a name in quotes"),
        ("[" * 3000, "YAML: found lists or mappings hundreds deep, expected a few levels"),
    ],
)
def test_a_file_that_is_no_scenario_gets_one_line(write: Any, text: str | bytes, said: str) -> None:
    found = faults_of(write(text))
    assert said in found[0]
    assert len([line for line in found if said in line]) == 1


def test_a_file_that_is_not_there_and_a_folder_get_one_line(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    assert faults_of(missing) == [f"{missing}: file: found no such file or directory, expected a readable file"]
    (tmp_path / "folder.d").mkdir()
    assert faults_of(tmp_path / "folder.d") == [f"{tmp_path / 'folder.d'}: file: found is a directory, expected a readable file"]


def test_an_unknown_name_is_told_the_names_there_are(tmp_path: Path) -> None:
    (tmp_path / "crash.yaml").write_text("name: crash")
    (tmp_path / "calm.yaml").write_text("name: calm")
    assert load_scenario("crash", shipped=tmp_path).name == "crash"
    expected = "one of calm, crash, or a file with a suffix; did you mean crash?"
    assert faults_of(Path("crsh"), shipped=tmp_path) == [f"crsh: scenario: found no scenario of that name, expected {expected}"]


# -- what a value means -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("9:30", "9:30"),
        ("2025-10-10", "2025-10-10"),
        ("1_000", "1_000"),
        ("=", "="),
        ("<<", "<<"),
        ("1e-4", 1e-4),
        ("5e3", 5000.0),
        ("-.5", -0.5),
        ("+7", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("true", True),
        ("FALSE", False),
        ("~", None),
        ("", None),
        ("'1'", "1"),
        ("[1, 2.5, no]", [1, 2.5, "no"]),
        ("{a: 1e3}", {"a": 1000.0}),
    ],
)
def test_a_plain_value_means_what_yaml_1_2_says(text: str, value: Any) -> None:
    document = read_scalar(text, "here")
    assert document.faults == []
    assert document.data == value
    assert type(document.data) is type(value)


def test_infinities_and_nan_are_floats() -> None:
    values = [read_scalar(text, "here").data for text in (".inf", "-.Inf", ".nan")]
    assert values[:2] == [math.inf, -math.inf]
    assert math.isnan(values[2])


def test_a_number_with_leading_zeros_is_refused_for_it_was_octal_once() -> None:
    assert read_scalar("010", "here").faults == ["here: file: found 010, expected 10, without leading zeros, or text in quotes"]
    assert read_scalar("0", "here").data == 0


def test_text_is_never_taken_for_a_number_nor_a_truth_value_for_one(write: Any) -> None:
    assert len(faults_of(write("steps: '5'"))) == 1
    assert len(faults_of(write("recovery: true"))) == 1
    assert len(faults_of(write("news: {type: factor_model, compensated: 'true'}"))) == 1
    assert load_scenario(write("news: {type: factor_model, compensated: true}\nname: '5'\ndescription: no")).description == "no"


LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(st.characters(exclude_categories=["Cs"]))
WORDS = st.sampled_from(
    ["no", "on", "9:30", "1e-4", "010", "1_000", "~", "null", "0x1F", ".5", "=", "2025-10-10", "a\nb\n", " a", "# a", "-"]
)


@given(
    st.recursive(
        LEAVES | WORDS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc no", max_size=5), inner, max_size=4)
    )
)
def test_what_is_written_reads_back_the_same(data: Any) -> None:
    document = read_yaml(write_yaml({"root": data}), "here")
    assert document.faults == []
    assert document.data == {"root": data}


@pytest.mark.parametrize("text", ["a\x85b", "\x85", "x\u2028y\n", "\u2029", "a\rb", "\r\n"])
def test_unusual_line_breaks_survive(text: str) -> None:
    assert read_yaml(write_yaml({"root": text}), "here").data == {"root": text}


def test_text_that_older_readers_take_for_something_else_is_quoted() -> None:
    assert write_yaml({"a": "no", "b": "9:30", "c": "1e-4", "d": "plain"}) == "a: 'no'\nb: '9:30'\nc: '1e-4'\nd: plain\n"


def test_the_resolved_scenario_loads_back_identically(write: Any) -> None:
    scenario = Scenario(name="a world", description="two\nlines", recovery=1e-5)
    path = write(dump_scenario(scenario))
    assert load_scenario(path) == scenario
    assert dump_scenario(load_scenario(path)) == dump_scenario(scenario)
    assert yaml.safe_load(path.read_text())["recovery"] == 1e-5, "other readers see the same numbers"


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_scenario_is_sound_and_loads_back_identically(path: Path, write: Any) -> None:
    scenario = load_scenario(path)
    assert scenario.name == path.stem
    assert len(scenario.description) > 80, "a paragraph on what to look at"
    assert load_scenario(write(dump_scenario(scenario))) == scenario


# -- price files ------------------------------------------------------------------------------------------------------------------------


def test_price_files_are_relative_to_the_scenario_and_overrides_to_the_working_folder(tmp_path: Path) -> None:
    path = tmp_path / "world.yaml"
    path.write_text("news: {type: replay, files: [BTC=data/btc.csv, all.csv, /abs.csv]}")
    assert load_scenario(path).news.files == (f"BTC={tmp_path}/data/btc.csv", f"{tmp_path}/all.csv", "/abs.csv")  # type: ignore[attr-defined]
    assert load_scenario(path, ["news.files.1=other.csv"]).news.files[1] == "other.csv"  # type: ignore[attr-defined]
    path.write_text("news: {type: replay, files: {BTC: btc.csv}}")
    assert load_scenario(path).news.files == {"BTC": f"{tmp_path}/btc.csv"}  # type: ignore[attr-defined]


def test_a_faulty_list_of_price_files_is_one_line(write: Any) -> None:
    path = write("news: {type: replay, files: 3}")
    assert faults_of(path) == [f"{path}:1: news.files: found 3, expected a mapping or a list"]


# -- overrides --------------------------------------------------------------------------------------------------------------------------


def test_overrides_reach_any_setting_also_of_defaults_that_the_file_leaves_out(write: Any) -> None:
    settings = ["steps=7", "venues.0.clearinghouse.fund=5e7", "traders.groups.0.count=3", "traders.markets=[0.5, 0.5]", "name=no"]
    changed = load_scenario(write("name: a"), settings)
    assert (changed.steps, changed.name, changed.traders.markets) == (7, "no", (0.5, 0.5))
    assert changed.venues[0].clearinghouse.fund == 5e7
    assert changed.traders.groups[0].count == 3
    assert changed.traders.groups[1] == Scenario().traders.groups[1]


def test_a_new_type_drops_the_old_rules_settings(write: Any) -> None:
    changed = load_scenario(
        write("news: {type: factor_model, drift: 0.1}"), ["news.type=replay", "news.files=[a.csv]", "news.max_move=0.01"]
    )
    assert changed.news.model_dump() == {"type": "replay", "files": ("a.csv",), "max_move": 0.01, "volatility_half_life": 24.0}


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("steps", "setting: found 'steps', expected path=value, such as venues.0.clearinghouse.fund=5e7"),
        ("=3", "setting: found '=3', expected path=value, such as venues.0.clearinghouse.fund=5e7"),
        ("a..b=3", "setting: found 'a..b=3', expected path=value, such as venues.0.clearinghouse.fund=5e7"),
        ("steps=1.5", "steps: found 1.5, expected a whole number"),
        ("steps=010", "file: found 010, expected 10, without leading zeros, or text in quotes"),
        ("steps=[1", "YAML: found '<stream end>', expected ',' or ']'"),
        ("stepz=1", "stepz: found an unknown setting, expected a known one; did you mean steps?"),
        ("trader.fear=1", "trader: found an unknown setting, expected a known one; did you mean traders?"),
        (
            "venues.clearinghouse.fund=3",
            "venues.clearinghouse: found 'clearinghouse' in a list, expected an index from 0 to 0, as in venues.0",
        ),
        ("venues.-1.name=a", "venues.-1: found '-1' in a list, expected an index from 0 to 0, as in venues.0"),
        ("venues.1.name=a", "venues.1: found '1' in a list, expected an index from 0 to 0, as in venues.0"),
        ("shocks.0.at=1", "shocks.0: found '0' in a list, expected another setting, for the list is empty"),
        ("steps.a=1", "steps.a: found 'a' in a single value, expected steps itself"),
        ("traders=3", "traders: found 3, expected a mapping"),
    ],
)
def test_a_faulty_override_is_one_line_that_repeats_it(write: Any, setting: str, said: str) -> None:
    assert faults_of(write("name: a"), setting) == [f"--set {setting}: {said}"]


def test_all_faulty_overrides_are_told_and_a_faulty_file_first(write: Any) -> None:
    sound, faulty = write("name: a"), write("steps: 0", "faulty.yaml")
    assert len(faults_of(sound, "steps", "steps=0", "trader.fear=1", "recovery=2")) == 4
    assert [line.partition(": ")[0] for line in faults_of(faulty, "steps=1", "b")] == [f"{faulty}:1", "--set b"]


def test_a_fault_of_a_block_is_blamed_on_the_override_inside_it(write: Any) -> None:
    (said,) = faults_of(write("name: a"), "steps=3", "venues.0.clearinghouse.waterfall.4.type=fund", "recovery=0.5")
    assert said.startswith(
        "--set venues.0.clearinghouse.waterfall.4.type=fund: venues.0.clearinghouse.waterfall.4: found `fund` in an impossible "
    )


# -- schema -----------------------------------------------------------------------------------------------------------------------------


def properties(schema: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every property of every object in a schema, with where it stands."""
    if isinstance(schema, dict):
        for name, value in schema.get("properties", {}).items():
            yield f"{where}/{name}", value
        for key, value in schema.items():
            yield from properties(value, f"{where}/{key}")
    elif isinstance(schema, list):
        for at, value in enumerate(schema):
            yield from properties(value, f"{where}/{at}")


def test_every_setting_in_the_schema_has_a_description() -> None:
    listed = [(where, value) for where, value in properties(scenario_schema()) if "pattern" not in value]
    assert len(listed) > 100
    assert [where for where, value in listed if not value.get("description")] == []


def test_the_schema_is_sound_and_accepts_the_defaults_and_every_shipped_scenario() -> None:
    schema = scenario_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    check = jsonschema.Draft202012Validator(schema)
    check.validate(Scenario().model_dump(mode="json", by_alias=True))
    for path in SHIPPED:
        check.validate(read_yaml(path.read_text(encoding="utf-8"), path.name).data)


@pytest.mark.parametrize(
    "text", ["stepz: 3", "steps: 0", "shocks: [{type: price_move, at: 1}]", "news: {type: factor_model, drft: 1}", "assets: []"]
)
def test_the_schema_refuses_what_the_loader_refuses(write: Any, text: str) -> None:
    assert faults_of(write(text))
    assert not jsonschema.Draft202012Validator(scenario_schema()).is_valid(read_yaml(text, "here").data)


def test_the_committed_schema_is_current() -> None:
    committed = ROOT / "experiments" / "scenarios" / "schema.json"
    assert json.loads(committed.read_text(encoding="utf-8")) == scenario_schema()
