"""Families of rules: members by name, a user's own by module and class, everything else refused in words."""

from typing import Annotated, Any, Literal

import pytest
from jsonschema import Draft202012Validator
from pydantic import Field, ValidationError

from agents.clearinghouse.sizing import FixedAmount, sizing_rules
from agents.families import Family, Parameters, Rule, RuleParameters


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
