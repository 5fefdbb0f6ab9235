"""What a family of rules is: one small base, one method, members chosen by `type:` in a scenario.

A rule is a pure function of what it sees: `rule(view, state, rng) -> (decision, state)`. Its parameters are a frozen pydantic class
nested beside it; its state, if it has any, is a value that the venue keeps. A member of one's own is named `package.module:Class`.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

MISFIT: Final = "misfit"
"""What pydantic calls a fault of settings that do not fit each other."""


class Parameters(BaseModel):
    """Frozen settings; an unknown name is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class RuleParameters(Parameters):
    """Settings of one member of a family: `type` says which member."""

    type: str


class Rule:
    """Base of every family. A member nests its own `Parameters`, a subclass of those of its family's base, and writes `rule`."""

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
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a user's module may fail in any way when it is imported
            raise ValueError(f"expected an importable package.module:Class ({_in_a_line(error)})") from None
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise ValueError(f"expected a subclass of {self.base.__module__}.{self.base.__qualname__}")
        own: Any = found.Parameters
        wanted = self.base.Parameters
        if not (isinstance(own, type) and issubclass(own, wanted)):
            raise ValueError(f"expected its Parameters to be a subclass of {wanted.__module__}.{wanted.__qualname__}")
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
            wanted = "a mapping with `type`" if self.number is None else "a number, or a mapping with `type`"
            raise PydanticCustomError("mapping", "expected {wanted}", {"wanted": wanted})
        kind = value.get("type")
        if not isinstance(kind, str):
            raise _at("type", kind, f"expected one of {', '.join(sorted(self.members))}, or package.module:Class")
        try:
            cls = self.find(kind)
        except ValueError as error:
            raise _at("type", kind, str(error)) from None
        try:
            return cls.Parameters.model_validate(value)
        except ValidationError:
            raise
        except Exception as error:  # noqa: BLE001 - so may a user's own validation
            expected = f"settings that {cls.Parameters.__qualname__} can validate ({_in_a_line(error)})"
            raise misfit(("type",), repr(kind), expected) from None

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


def _in_a_line(error: BaseException) -> str:
    """What a user's code has raised."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def misfit(place: tuple[str | int, ...], found: str, expected: str) -> ValidationError:
    """A fault of settings that do not fit each other, to be raised by whoever validates them all.

    Args:
        place: of the one that is to blame, from there; the last step may be a setting that is missing.
        found, expected: as a person would say it.
    """
    kind = PydanticCustomError(MISFIT, "found {found}, expected {expected}", {"found": found, "expected": expected})
    return ValidationError.from_exception_data(MISFIT, [InitErrorDetails(type=kind, loc=place, input=None)])


@contextmanager
def within(*place: str | int) -> Iterator[None]:
    """A misfit that is raised within lies at `place`."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        raise misfit((*place, *first["loc"]), **first["ctx"]) from None


def _at(field: str, found: Any, message: str) -> ValidationError:
    """A fault at one field of a rule's settings."""
    detail = InitErrorDetails(type=PydanticCustomError("rule", message), loc=(field,), input=found)
    return ValidationError.from_exception_data("rule", [detail])
