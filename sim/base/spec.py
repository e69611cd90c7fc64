"""Specs: the frozen, checked parameters of a component, declared once beside its process.

A field's name carries its unit (`_s`, `_bytes`, `_millicores`, `_per_s`), `param` its bounds, meaning and
source. `Choice(CATALOG)` marks a field that names a plugin: `cni: bridge` or `cni: {type: bridge, mtu_bytes: 1450}`.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError, core_schema

from sim.base.errors import near_miss
from sim.base.plugin import Catalog


class Spec(BaseModel):
    """Base of every spec: immutable, refuses unknown fields, keeps the order of declaration."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, validate_default=True)


def param(default: Any = ..., description: str = "", *, source: str = "", unverified: bool = False, **bounds: Any) -> Any:
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

    Takes a spec, a name, or a mapping with `type` and the plugin's own parameters.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(
            lambda value: _choose(self.catalog, value),
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value, info: {"type": _name_of(self.catalog, value), **value.model_dump(mode=info.mode)},
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


def _name_of(catalog: Catalog, value: Any) -> str:
    return next(name for name in catalog if catalog[name] is type(value))


def _choose(catalog: Catalog, value: Any) -> Any:
    if isinstance(value, Spec):
        return value
    if isinstance(value, str):
        value = {"type": value}
    if not isinstance(value, dict) or not isinstance(value.get("type"), str):
        raise PydanticCustomError(
            "choice", "must be the name of one of the {family}, or a mapping with 'type'; {hint}",
            {"family": catalog.family, "hint": "known: " + ", ".join(catalog)},
        )
    name = value["type"]
    if name not in catalog:
        raise ValidationError.from_exception_data(catalog.family, [InitErrorDetails(
            type=PydanticCustomError(
                "choice", "is none of the {family}; {hint}", {"family": catalog.family, "hint": near_miss(name, catalog)}
            ),
            loc=("type",), input=name,
        )])
    return catalog[name].model_validate({key: item for key, item in value.items() if key != "type"})
