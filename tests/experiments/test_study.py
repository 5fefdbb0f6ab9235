"""Study files: what is read, and what is refused with which line."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from experiments.study import FOLDER, Factor, Study, load_study, studies, study_schema
from model.errors import ScenarioError

SCENARIO = "schema: 1\nname: small\nsteps: 3\ntraders: {groups: [{name: few, count: 20, equity: 2e7}]}\n"
STUDY = """\
name: small-study
base: small.yaml
factors:
  - {name: fund, path: venues.0.clearinghouse.fund, scale: log, low: 1.0e+5, high: 1.0e+8}
design: {type: factorial, levels: 3}
outputs:
  - {name: volume, of: volume, over: sum}
"""

type Load = Callable[..., Study]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Reads a study: the small one with settings changed, a line each."""

    def read(**changes: Any) -> Study:
        (tmp_path / "small.yaml").write_text(SCENARIO)
        data = {**yaml.safe_load(STUDY), **changes}
        (tmp_path / "study.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in data.items()))
        return load_study(tmp_path / "study.yaml")

    return read


def faults(load: Load, **changes: Any) -> list[str]:
    """What is said of a faulty study, without the file's name."""
    with pytest.raises(ScenarioError) as error:
        load(**changes)
    return [line.rpartition("study.yaml:")[2] for line in error.value.faults]


FUND = {"name": "fund", "path": "venues.0.clearinghouse.fund", "scale": "log", "low": 1e5, "high": 1e8}
OUTPUT = {"name": "volume", "of": "volume", "over": "sum"}
SUMS = [OUTPUT, {"name": "fees", "of": "fees", "over": "sum"}, {"name": "most", "of": "volume", "over": "max"}]
WHO = {"type": "composition", "name": "who", "whole": "volume", "parts": ["fees", "most"]}

# -- sound ------------------------------------------------------------------------------------------------------------------------------


def test_a_study_says_only_what_differs_from_the_defaults(load: Load) -> None:
    study = load()
    assert (study.replications, study.seed, study.burn_in, study.series, study.arms) == (1, 0, 0, "summary", {"base": {}})
    assert study.scenario.name == "small"


def test_units_that_are_not_given_are_the_ones_that_the_model_declares(load: Load) -> None:
    study = load(outputs=[OUTPUT, {"name": "ever", "of": "deficits", "over": "any"}, {**OUTPUT, "name": "mine", "unit": "m USD"}])
    assert [output.unit for output in study.outputs] == ["USD", "0/1", "m USD"]
    assert study.factors[0].unit == "USD"


def test_settings_apply_to_the_base_then_the_arm_then_the_factors(load: Load) -> None:
    study = load(set={"recovery": 0.5, "interbank_recovery": 0.5}, steps=7, arms={"kind": {"recovery": 0.75}, "as_is": {}}, factors=[FUND])
    world = study.world("kind", {"fund": 2e6})
    assert (world.steps, world.recovery, world.interbank_recovery, world.venues[0].clearinghouse.fund) == (7, 0.75, 0.5, 2e6)
    assert study.world("as_is", {"fund": 2e6}).recovery == 0.5


def test_a_choice_sets_whole_rules_and_is_called_by_their_types(load: Load) -> None:
    rules = [{"type": "open_interest"}, {"type": "fixed", "amount": 5e6}]
    study = load(factors=[{"name": "target", "path": "venues.0.clearinghouse.sizing", "scale": "choice", "values": rules}])
    assert study.factors[0].labels == ("open_interest", "fixed")
    assert study.world("base", {"target": "fixed"}).venues[0].clearinghouse.sizing.model_dump() == rules[1]


def test_values_that_would_be_called_the_same_are_numbered() -> None:
    factor = Factor(name="x", path="x", scale="choice", values=({"type": "flat", "rate": 1}, {"type": "flat", "rate": 2}))
    assert factor.labels == ("1: flat", "2: flat")
    assert Factor(name="x", path="x", scale="choice", values=(3, 0.5, True, None)).labels == ("3", "0.5", "true", "none")


def test_seeds_of_replications_depend_on_nothing_but_the_seed_and_their_number(load: Load) -> None:
    one, other = load(seed=5), load(seed=5, replications=9, set={"recovery": 0.5}, arms={"a": {}, "b": {}})
    assert [one.seed_of(number) for number in range(4)] == [other.seed_of(number) for number in range(4)]
    assert len({one.seed_of(0), one.seed_of(1), load(seed=6).seed_of(0)}) == 3


def test_a_shipped_study_is_known_by_name_and_is_sound() -> None:
    assert {"fund-size", "fund-size-small", "leverage-fund"} <= set(studies())
    for name in studies():
        study = load_study(name)
        assert study.name == name
        assert study.question.endswith("?")
        assert len(study.description) > 100


def test_the_committed_schema_is_current_and_accepts_what_ships() -> None:
    schema = json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))
    assert schema == study_schema(), "backstop study schema > experiments/studies/schema.json"
    validator = Draft202012Validator(schema)
    for name in studies():
        validator.validate(yaml.load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"), Loader=yaml.CSafeLoader))
    assert not validator.is_valid({"name": "x"})


# -- refused ----------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "Fund Size"}, "1: name: found 'Fund Size', expected text that matches ^[a-z0-9][a-z0-9-]*$"),
        ({"base": "crsh"}, "2: base: crsh: scenario: found no scenario of that name, expected "),
        ({"base": "none.yaml"}, "no such file"),
        ({"set": {"stepz": 3}}, "6: stepz: found an unknown setting, expected a known one; did you mean steps?"),
        ({"set": {"venues.3.name": "x"}}, "6: venues.3: found '3' in a list, expected an index from 0 to 0"),
        ({"set": {"steps": 0}}, "6: steps: found 0, expected at least 1"),
        ({"set": {"steps": 2}, "steps": 2}, "7: steps: found it beside set.steps, expected one of them"),
        ({"steps": 0}, "6: steps: found 0, expected at least 1"),
        (
            {"factors": [{**FUND, "path": "venues.0.clearinghouse.fnd"}]},
            "3: venues.0.clearinghouse.fnd: found an unknown setting, expected",
        ),
        ({"factors": [{**FUND, "scale": "linear", "low": -1}]}, "3: venues.0.clearinghouse.fund: found -1.0, expected at least 0"),
        ({"factors": [{**FUND, "low": 0}]}, "3: factors.0: found low 0, expected more than 0 for scale log"),
        ({"factors": [{**FUND, "low": 1e9}]}, "3: factors.0: found low 1e+09 and high 1e+08, expected low below high"),
        ({"factors": [{**FUND, "values": [1, 2]}]}, "3: factors.0: found values or labels beside scale log, expected low and high"),
        ({"factors": [{**FUND, "scale": "integer", "low": 1.5}]}, "3: factors.0: found low 1.5 and high 1e+08, expected whole numbers"),
        ({"factors": [{**FUND, "scale": "choice"}]}, "3: factors.0: found low or high beside scale choice, expected values instead"),
        ({"factors": [{**FUND, "scale": "logg"}]}, "3: factors.0.scale: found 'logg', expected 'linear', 'log', 'integer' or 'choice'"),
        (
            {"factors": [FUND, {**FUND, "path": "recovery", "low": 0.1, "high": 1}]},
            "3: factors.1.name: found 'fund', expected a name of its",
        ),
        ({"factors": [FUND, {**FUND, "name": "again"}]}, "3: factors.1.path: found venues.0.clearinghouse.fund, expected a setting that f"),
        ({"factors": [{**FUND, "name": "seed"}]}, "3: factors.0.name: found 'seed', expected a name of its own (seed is a column of the p"),
        (
            {"arms": {"rich": {"venues.0.clearinghouse.fund": 1e9}}},
            "3: factors.0.path: found venues.0.clearinghouse.fund, expected a setti",
        ),
        (
            {"set": {"venues.0.clearinghouse.fund": 1e7}},
            "3: factors.0.path: found venues.0.clearinghouse.fund, expected a setting that `set` does not set",
        ),
        ({"arms": {"odd one": {}}}, "6: arms.odd one: found 'odd one', expected text that matches"),
        ({"arms": {"bad": {"recovery": 2}}}, "6: recovery: found 2, expected at most 1"),
        ({"design": {"type": "sobl", "points": 4}}, "4: design.type: found 'sobl', expected one of factorial, latin_hypercube, sobol, mo"),
        ({"design": {"type": "sobol", "points": 100}}, "4: design: found 100 points, expected a power of two, such as 64 or 128"),
        ({"design": {"type": "saltelli", "points": 3}}, "4: design: found 3 points, expected a power of two, such as 2 or 4"),
        (
            {"design": {"type": "factorial", "levels": {"fund": 3, "funds": 3}}},
            "4: design.levels.funds: found an unknown factor, expected a factor",
        ),
        ({"design": {"points": 3}}, "4: design.type: found nothing, expected a type"),
        ({"burn_in": 3}, "6: burn_in: found 3, expected less than the 3 steps of a run"),
        ({"outputs": [{**OUTPUT, "of": "volum"}]}, "5: outputs.0.of: found 'volum', expected a declared output; did you mean volume?"),
        ({"outputs": [{**OUTPUT, "over": "median"}]}, "5: outputs.0.over: found 'median', expected 'sum', 'mean', 'max', 'min', 'last' or"),
        ({"outputs": [OUTPUT, OUTPUT]}, "5: outputs.1.name: found 'volume', expected a name of its own (volume is outputs.0)"),
        ({"series": {"every": 0}}, "6: series.every: found 0, expected at least 1"),
        ({"series": "some"}, "6: series: found 'some', expected 'summary' or 'full'"),
        ({"analyses": [{"type": "sobol"}]}, "6: analyses.0.type: found sobol with design factorial, expected design saltelli"),
        ({"analyses": [{"type": "paired", "against": "flt"}], "arms": {"flat": {}, "up": {}}}, "6: analyses.0.against: found 'flt', expe"),
        (
            {"analyses": [{**WHO, "whole": "fee", "parts": ["volume", "fees"]}], "outputs": SUMS},
            "6: analyses.0.whole: found 'fee', expected an output: volume, fees, most; did you mean fees?",
        ),
        (
            {"analyses": [{**WHO, "parts": ["fees", "fees"]}], "outputs": SUMS},
            "6: analyses.0.parts.1: found fees again, expected the whole and each part once",
        ),
        (
            {"analyses": [{**WHO, "parts": ["fees", "most"]}], "outputs": SUMS},
            "6: analyses.0.parts.1: found most over max, expected an output over sum, mean, last: others do not add up",
        ),
        ({"analyses": [{"type": "prim", "output": "volum", "threshold": 1}]}, "6: analyses.0.output: found 'volum', expected an output: v"),
        ({"seed": "1"}, "6: seed: found '1', expected a whole number"),
        ({"replicates": 3}, "6: replicates: found an unknown setting, expected a known one; did you mean replications?"),
    ],
)
def test_a_fault_is_one_line_with_its_line_in_the_file(load: Load, changes: dict[str, Any], said: str) -> None:
    (line,) = faults(load, **changes)
    assert line.startswith(said) or said in line, line


def test_an_output_that_comes_with_a_rule_can_be_named_where_every_arm_has_the_rule(load: Load) -> None:
    paid = {"name": "paid", "of": "option_vault_paid", "over": "sum"}
    assert load(base="option_vault", outputs=[paid]).outputs[0].unit == "USD"
    without = {"with_it": {}, "without": {"venues.0.option_vault": None}}
    said = faults(load, base="option_vault", outputs=[paid], arms=without)
    assert len(said) == 1
    assert "outputs.0.of: found 'option_vault_paid', expected an output of every arm (not of `without`)" in said[0]


def test_a_whole_numbered_factor_has_no_more_levels_than_values(load: Load) -> None:
    integer = {"name": "makers", "path": "venues.0.market_makers.count", "scale": "integer", "low": 2, "high": 4}
    (line,) = faults(load, factors=[integer], design={"type": "factorial", "levels": 5})
    assert line == "4: design.levels: found 5 levels of makers, expected at most 3, its whole numbers"


def test_faults_of_a_table_of_points_are_told_beside_those_of_the_study(load: Load, tmp_path: Path) -> None:
    (tmp_path / "points.csv").write_text("fund,other\n1e6,1\n1e12,2\nmuch,3\n")
    changes: dict[str, Any] = {"design": {"type": "table", "file": "points.csv"}, "replications": 0}
    told = faults(load, **changes)
    assert len(told) == 2
    assert any("columns: found fund, other, expected fund" in line for line in told)
    (tmp_path / "points.csv").write_text("fund\n1e6\n1e12\nmuch\n")
    told = faults(load, **changes)
    assert len(told) == 3
    assert sum("points.csv" in line for line in told) == 2
    assert sum("replications" in line for line in told) == 1


def test_a_dozen_faults_get_a_dozen_lines_in_the_order_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text(
        "name: Bad Name\n"  # 1
        "base: crash\n"
        "set: {venues.0.clearinghouse.fnd: 3}\n"  # 3
        "factors:\n"
        "  - {name: fund, path: venues.0.clearinghouse.fundd, scale: log, low: 1e6, high: 1e9}\n"  # 5
        "  - {name: makers, path: venues.0.market_makers.count, scale: integer, low: 20, high: 2}\n"  # 6
        "  - {name: recovery, path: recovery, low: 0.5, high: 1.5}\n"  # 7
        "design: {type: sobbol, points: 12}\n"  # 8
        "replications: no\n"  # 9
        "seed: 010\n"  # 10
        "arms:\n"
        "  worse: {venues.0.clearinghouse.accrual.0.type: x}\n"  # 12
        "burn_in: 4000\n"  # 13
        "outputs:\n"
        "  - {name: loss, of: residual_los, over: sum}\n"  # 15
        "  - {name: end, of: fund, over: median}\n"  # 16
        "unknown: 3\n"  # 17
    )
    with pytest.raises(ScenarioError) as error:
        load_study(tmp_path / "bad.yaml")
    assert [int(line.split(":")[1]) for line in error.value.faults] == [1, 3, 5, 6, 7, 8, 9, 10, 12, 13, 15, 16, 17]


def test_a_study_made_in_python_is_judged_too() -> None:
    with pytest.raises(ValueError, match="low below high"):
        Factor(name="x", path="recovery", low=1.0, high=0.5)
