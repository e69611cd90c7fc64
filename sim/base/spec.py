"""Specs: the frozen, checked parameters of a component, declared once beside its process.

A field's name carries its unit (`_s`, `_bytes`, `_millicores`, `_per_s`), `param` its bounds, meaning and
source. `Choice(CATALOG)` marks a field that names a plugin: `cni: bridge` or `cni: {type: bridge, mtu_bytes: 1450}`.
Where the unit is one that people write out, text with a unit is taken too: `size_bytes: 64Mi`, `period_s: 1m30s`,
`bandwidth_bytes_per_s: 10Gbit/s`. A bare number is always in the field's own unit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from sim.base.errors import near_miss
from sim.base.plugin import Catalog
from sim.base.units import parse_bandwidth_bit_per_s, parse_bytes, parse_duration_s, parse_millicores


class Unit(NamedTuple):
    """What the end of a field's name says about its values."""

    symbol: str
    """As tables show it."""
    wording: str
    """As errors say it: what a value may look like."""
    read: Callable[[str], float] | None = None
    """Reads text with a unit; `ValueError` when it is none."""


UNITS: dict[str, Unit] = {
    "_bytes_per_s": Unit(
        "bytes/s", "bytes a second, or text such as 10Gbit/s", lambda text: parse_bandwidth_bit_per_s(text) / 8
    ),
    "_bit_per_s": Unit("bit/s", "bits a second, or text such as 10Gbit/s", parse_bandwidth_bit_per_s),
    "_per_s": Unit("1/s", "per second"),
    "_bytes": Unit("bytes", "bytes, or text such as 64Mi", parse_bytes),
    "_millicores": Unit("millicores", "millicores, or text such as 250m", parse_millicores),
    "_s": Unit("s", "seconds, or text such as 1m30s", parse_duration_s),
}
"""By the end of a field's name; the first that fits."""

NO_UNIT = Unit("", "")


def unit_of(field: str) -> Unit:
    """The unit that a field's name carries; `NO_UNIT` when it carries none of `UNITS`."""
    return next((unit for suffix, unit in UNITS.items() if field.endswith(suffix)), NO_UNIT)


class Spec(BaseModel):
    """Base of every spec: immutable, refuses unknown fields, keeps the order of declaration."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _spelled_out(cls, data: Any) -> Any:
        """Texts with units become numbers, and a plugin's parameters alone belong to the default plugin."""
        if not isinstance(data, dict):
            return data
        return {
            key: with_default_plugin(cls.model_fields.get(key), _amounts(unit_of(str(key)).read, value))
            for key, value in data.items()
        }


def with_default_plugin(field: FieldInfo | None, value: Any) -> Any:
    """Parameters without `type`, in a field that names a plugin by default."""
    if field is None or not isinstance(value, dict) or "type" in value or not isinstance(field.default, str):
        return value
    return {"type": field.default, **value} if any(isinstance(mark, Choice) for mark in field.metadata) else value


def _amounts(read: Callable[[str], float] | None, value: Any) -> Any:
    """`value` with its texts read as amounts; a distribution's parameters carry the unit of their field.

    Text that cannot be read stays, for the field itself to refuse.
    """
    if read is None:
        return value
    if isinstance(value, str) and not _is_number(value):
        try:
            return read(value)
        except ValueError:
            return value
    if isinstance(value, list | tuple):
        return [_amounts(read, item) for item in value]
    if isinstance(value, dict) and "dist" in value:
        return {key: item if key == "dist" else _amounts(read, item) for key, item in value.items()}
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def param(
    default: Any = ..., description: str = "", *, source: str = "", unverified: bool = False, **bounds: Any
) -> Any:
    """A model parameter: default, meaning, where its value comes from, and bounds (`ge`, `gt`, `le`, `lt`).

    unverified: the value is remembered, not measured or read; reports mark it so.
    """
    extra: dict[str, Any] = {}
    if source:
        extra["source"] = source
    if unverified:
        extra["unverified"] = True
    return Field(default=default, description=description, json_schema_extra=extra or None, **bounds)


class Choice:
    """`Annotated[Base, Choice(CATALOG)]`: a field that holds one plugin spec of the family `CATALOG`.

    Takes a spec, a name, or a mapping with `type` and the plugin's own parameters; without `type` they are those of the
    plugin that is the field's default. named_by_key: in a mapping of plugins by name, a plugin without `type` is of the type
    that its key names.
    """

    def __init__(self, catalog: Catalog, named_by_key: bool = False) -> None:
        self.catalog = catalog
        self.named_by_key = named_by_key

    def name_of(self, value: Any) -> str:
        """The catalog's name of a plugin spec."""
        return next(name for name in self.catalog if self.catalog[name] is type(value))

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: _choose(self.catalog, value),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, info: {
                    "type": self.name_of(value),
                    **value.model_dump(mode=info.mode, by_alias=info.by_alias, exclude_unset=info.exclude_unset),
                },
                info_arg=True,
            ),
        )

    def __get_pydantic_json_schema__(self, schema: Any, handler: Any) -> dict[str, Any]:
        variants: list[dict[str, Any]] = [{"enum": list(self.catalog)}]
        for name in self.catalog:
            variant = handler(self.catalog[name].__pydantic_core_schema__)
            body = handler.resolve_ref_schema(variant)
            body["properties"] = {"type": {"const": name}, **body.get("properties", {})}
            variants.append(variant)
        return {"anyOf": variants, "description": f"one of the {self.catalog.family}: {', '.join(self.catalog)}"}


def _choose(catalog: Catalog, value: Any) -> Any:
    if isinstance(value, Spec):
        return value
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise PydanticCustomError(
            "choice",
            "must be the name of one of the {family}, or a mapping with 'type'; {hint}",
            {"family": catalog.family, "hint": "known: " + ", ".join(catalog)},
        )
    name = value["type"]
    if name not in catalog:
        fault = PydanticCustomError(
            "choice", "is none of the {family}; {hint}", {"family": catalog.family, "hint": near_miss(name, catalog)}
        )
        raise ValidationError.from_exception_data(
            catalog.family, [InitErrorDetails(type=fault, loc=("type",), input=name)]
        )
    return catalog[name].model_validate({key: item for key, item in value.items() if key != "type"})
