"""What a family of rules is: one small base, one method, members chosen by `type:` in a scenario.

A rule is a pure function of what it sees: `rule(view, state, rng) -> (decision, state)`. Its parameters are a frozen pydantic class
nested beside it; its state, if it has any, is a value that the venue keeps. A member of one's own is named `package.module:Class`.
"""

import importlib
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema


class Parameters(BaseModel):
    """Frozen settings; an unknown name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RuleParameters(Parameters):
    """Settings of one member of a family: `type` says which member."""

    type: str


class Rule:
    """Base of every family. A member nests its own `Parameters` and writes `rule`."""

    Parameters: ClassVar[type[RuleParameters]] = RuleParameters
    name: ClassVar[str] = ""

    def __init__(self, parameters: Any = None) -> None:
        self.parameters: Any = self.Parameters(type=self.name) if parameters is None else parameters

    def initial_state(self) -> Any:
        """What the rule remembers before its first call; None if it remembers nothing."""
        return None


class Family:
    """A family's members by name. Use as `Annotated[RuleParameters, family]` in a scenario's fields.

    Args:
        name: what a message calls it.
        base: of its members.
        number: the member, and its field, that a number in place of a mapping means; none if not given.
    """

    def __init__(self, name: str, base: type[Rule], *, number: tuple[str, str] | None = None) -> None:
        self.name = name
        self.base = base
        self.number = number
        self.members: dict[str, type[Rule]] = {}

    def member[R: type[Rule]](self, cls: R) -> R:
        """Class decorator: registers a member under its `name`."""
        self.members[cls.name] = cls
        return cls

    def find(self, kind: str) -> type[Rule]:
        """The member called `kind`, or a user's own class `package.module:Class`.

        Raises:
            ValueError: no such member, no such class, or a class of another family.
        """
        if ":" not in kind:
            if kind not in self.members:
                raise ValueError(f"expected one of {', '.join(sorted(self.members))}, or package.module:Class")
            return self.members[kind]
        module, _, attribute = kind.partition(":")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except Exception as error:  # noqa: BLE001 - a user's module may fail in any way when it is imported
            raise ValueError(f"expected an importable package.module:Class ({error})") from None
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise ValueError(f"expected a subclass of {self.base.__module__}.{self.base.__qualname__}")
        return found

    def build(self, parameters: RuleParameters) -> Any:
        """The rule that these validated settings describe."""
        return self.find(parameters.type)(parameters)

    def _validate(self, value: Any) -> RuleParameters:
        if isinstance(value, RuleParameters):
            value = value.model_dump()
        if self.number is not None and isinstance(value, int | float) and not isinstance(value, bool):
            value = {"type": self.number[0], self.number[1]: value}
        if not isinstance(value, dict):
            raise PydanticCustomError("mapping", "expected a mapping with `type`")
        kind = value.get("type")
        if not isinstance(kind, str):
            raise _at("type", kind, f"expected one of {', '.join(sorted(self.members))}, or package.module:Class")
        try:
            cls = self.find(kind)
        except ValueError as error:
            raise _at("type", kind, str(error)) from None
        return cls.Parameters.model_validate(value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(lambda p: p.model_dump(mode="json")),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        options: list[dict[str, Any]] = []
        for name, cls in sorted(self.members.items()):
            one = dict(handler(cls.Parameters.__pydantic_core_schema__))
            one = dict(handler.resolve_ref_schema(one))
            properties = dict(one.get("properties", {}))
            properties["type"] = {"const": name, "description": (cls.__doc__ or "").strip().split("\n")[0]}
            required = sorted({*one.get("required", []), "type"})
            options.append({**one, "properties": properties, "required": required})
        own = {"type": "object", "properties": {"type": {"type": "string", "pattern": "^[\\w.]+:\\w+$"}}, "required": ["type"]}
        options += [{"type": "number"}] if self.number is not None else []
        return {"anyOf": [*options, own], "description": f"a {self.name}, chosen by `type`"}


def _at(field: str, found: Any, message: str) -> ValidationError:
    """A fault at one field of a rule's settings."""
    detail = InitErrorDetails(type=PydanticCustomError("rule", message), loc=(field,), input=found)
    return ValidationError.from_exception_data("rule", [detail])
