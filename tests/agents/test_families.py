"""Families of rules: members by name, a user's own by module and class, everything else refused in words."""

from typing import Annotated, Any, Literal

import numpy as np
import pytest
from jsonschema import Draft202012Validator
from pydantic import Field, TypeAdapter, ValidationError

from agents.clearinghouse.liquidation import Slices, checked_slices
from agents.clearinghouse.margin import Margin, checked_margin
from agents.clearinghouse.sizing import FixedAmount, checked_target, sizing_rules
from agents.clearinghouse.value import Payout, checked_payout, value_rules
from agents.clearinghouse.waterfall import Charge, checked_charge
from agents.families import Family, Parameters, Rule, RuleParameters
from agents.trader import checked_stance, strategy_rules


class Shape(Rule):
    """Base."""


shapes = Family("shape", Shape)


@shapes.member
class Square(Shape):
    """A square."""

    name = "square"

    class Parameters(RuleParameters):
        type: Literal["square"] = "square"
        side: float = Field(default=1.0, gt=0)

    def rule(self, view: Any, state: Any, rng: Any) -> tuple[float, Any]:
        return self.parameters.side**2, state


class Holder(Parameters):
    shape: Annotated[RuleParameters, shapes] = Field(default=Square.Parameters())


def test_a_member_is_built_from_its_settings_by_name() -> None:
    built = shapes.build(Holder.model_validate({"shape": {"type": "square", "side": 3}}).shape)
    assert isinstance(built, Square)
    assert built.rule(None, built.initial_state(), None) == (9.0, None)
    assert Square().rule(None, None, None) == (1.0, None)


def test_settings_are_frozen_and_survive_a_round_trip() -> None:
    holder = Holder.model_validate({"shape": {"type": "square", "side": 3}})
    assert Holder.model_validate(holder.model_dump(mode="json")) == holder
    with pytest.raises(ValidationError, match="frozen"):
        holder.shape.side = 4.0  # type: ignore[attr-defined]


def test_a_users_own_class_is_found_by_module_and_name(tmp_path, monkeypatch) -> None:
    own = "from agents.clearinghouse.sizing import FixedAmount\n\n\nclass Own(FixedAmount):\n    pass\n"
    (tmp_path / "own_sizing_for_a_test.py").write_text(own)
    monkeypatch.syspath_prepend(tmp_path)
    found = sizing_rules.find("own_sizing_for_a_test:Own")
    assert issubclass(found, FixedAmount)
    with pytest.raises(ValueError, match=r"expected a subclass of .*Shape"):
        shapes.find("own_sizing_for_a_test:Own")


@pytest.mark.parametrize(
    ("shape", "place", "message"),
    [
        ({"type": "circle"}, ("shape", "type"), "expected one of square, or package.module:Class"),
        ({"type": 4}, ("shape", "type"), "expected one of square, or package.module:Class"),
        ({}, ("shape", "type"), "expected one of square, or package.module:Class"),
        ("square", ("shape",), "expected a mapping with `type`"),
        ({"type": "no_such_package:Thing"}, ("shape", "type"), "expected an importable package.module:Class"),
        ({"type": "agents.families:Nothing"}, ("shape", "type"), "expected an importable package.module:Class"),
        ({"type": "agents.families:Rule"}, ("shape", "type"), "expected a subclass of .*Shape"),
        ({"type": "square", "side": -1}, ("shape", "side"), "greater than 0"),
        ({"type": "square", "size": 1}, ("shape", "size"), "Extra inputs are not permitted"),
        ({"type": "square", "side": float("inf")}, ("shape", "side"), "finite"),
    ],
)
def test_a_fault_says_where_it_is_and_what_was_expected(shape, place, message) -> None:
    with pytest.raises(ValidationError, match=message) as caught:
        Holder.model_validate({"shape": shape})
    assert [fault["loc"] for fault in caught.value.errors()] == [place]


def test_the_schema_accepts_members_and_own_classes_and_nothing_else() -> None:
    validator = Draft202012Validator(Holder.model_json_schema())
    assert validator.is_valid({"shape": {"type": "square", "side": 2.0}})
    assert validator.is_valid({"shape": {"type": "my.rules:Circle", "radius": 1}})
    assert not validator.is_valid({"shape": {"type": "circle"}})
    assert not validator.is_valid({"shape": {"type": "square", "side": 0}})


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("raise RuntimeError('one\\ntwo')", r"an importable package.module:Class \(RuntimeError: one two\)"),
        ("raise SystemExit(3)", r"an importable package.module:Class \(SystemExit: 3\)"),
        ("class Own(FixedAmount):\n    Parameters = dict", r"its Parameters to be a subclass of agents.families.RuleParameters"),
    ],
)
def test_a_users_module_that_fails_is_told_in_one_line(tmp_path, monkeypatch, source, expected) -> None:
    name = f"own_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(f"from agents.clearinghouse.sizing import FixedAmount\n\n{source}\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=expected) as caught:
        sizing_rules.find(f"{name}:Own")
    assert "\n" not in str(caught.value)


def test_a_users_own_settings_that_cannot_be_judged_are_a_fault_of_its_rule(tmp_path, monkeypatch) -> None:
    (tmp_path / "own_settings_for_a_test.py").write_text(
        "from pydantic import model_validator\nfrom agents.clearinghouse.sizing import SizingRule\n"
        "from agents.families import RuleParameters\n"
        "class Own(SizingRule):\n    class Parameters(RuleParameters):\n        @model_validator(mode='after')\n"
        "        def _fails(self):\n            raise KeyError('x')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValidationError, match=r"type\s+found 'own_settings_for_a_test:Own', expected settings that .* \(KeyError: 'x'\)"):
        TypeAdapter(Annotated[RuleParameters, sizing_rules]).validate_python({"type": "own_settings_for_a_test:Own"})


@pytest.mark.parametrize(("family", "setting"), [(value_rules, "share"), (strategy_rules, "weight")])
def test_a_users_own_rule_has_the_settings_of_its_family(tmp_path, monkeypatch, family, setting) -> None:
    name = f"own_{setting}_for_a_test"
    base = family.base
    (tmp_path / f"{name}.py").write_text(f"from {base.__module__} import {base.__name__}\n\n\nclass Own({base.__name__}):\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    given = TypeAdapter(Annotated[RuleParameters, family]).validate_python({"type": f"{name}:Own"})
    assert getattr(given, setting) > 0.0


@pytest.mark.parametrize(
    ("check", "decision"),
    [
        (checked_target, -1.0),
        (checked_target, np.nan),
        (checked_margin, Margin(np.array([-1.0]), np.zeros((1, 1)))),
        (checked_margin, Margin(np.zeros(1), np.array([[np.nan]]))),
        (checked_slices, Slices(np.array([[1.5]]), np.zeros(1))),
        (checked_slices, Slices(np.array([[np.nan]]), np.zeros(1))),
        (checked_slices, Slices(np.ones((1, 1)), np.array([-0.1]))),
        (checked_stance, np.array([[1.1]])),
        (checked_stance, np.array([[np.nan]])),
        (lambda charge: checked_charge(charge, 10.0), Charge(fund=11.0)),
        (lambda charge: checked_charge(charge, 10.0), Charge(treasury=-1.0)),
        (lambda charge: checked_charge(charge, 10.0), Charge(accounts=np.array([6.0, 6.0]))),
        (lambda payout: checked_payout(payout, 10.0), Payout(retained=6.0, stakers=6.0)),
        (lambda payout: checked_payout(payout, 10.0), Payout(bought_back=-1.0)),
    ],
)
def test_a_decision_that_cannot_be_carried_out_is_refused(check, decision) -> None:
    with pytest.raises(ValueError, match=r"found .*, expected"):
        check(decision)
