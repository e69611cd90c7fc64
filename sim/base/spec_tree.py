"""Walks trees of specs: what is wrong where, in words for people, and which parameters there are."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from sim.base.errors import Problems, near_miss
from sim.base.paths import Path, format_path
from sim.base.spec import Choice, Spec, unit_of, with_default_plugin


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value of a spec with what is declared about it."""

    path: Path
    value: Any
    """The plain value; a distribution as a mapping."""
    unit: str
    bounds: str
    """`>= 0, <= 1`; empty: none declared."""
    description: str
    source: str
    unverified: bool


_BOUNDS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def parameters(spec: Spec, path: Path = ()) -> Iterator[Parameter]:
    """Every parameter of `spec` and of the specs inside it, in the order of declaration."""
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        here = (*path, field.alias or name)
        choice = _choice_of(field)
        inner = list(_inner_specs(value, here))
        if choice is not None and isinstance(value, Spec):
            yield _parameter((*here, "type"), choice.name_of(value), field)
        if inner:
            for place, item in inner:
                yield from parameters(item, place)
        elif choice is None and not isinstance(value, Spec):
            yield _parameter(here, value, field)
        elif _is_distribution(value):
            yield _parameter(here, value.model_dump(by_alias=True, exclude_none=True), field)


def _is_distribution(value: Any) -> bool:
    return isinstance(value, Spec) and "dist" in type(value).model_fields


def _inner_specs(value: Any, path: Path) -> Iterator[tuple[Path, Spec]]:
    if isinstance(value, Spec) and not _is_distribution(value):
        yield path, value
    elif isinstance(value, dict):
        yield from (((*path, key), item) for key, item in value.items() if isinstance(item, Spec))
    elif isinstance(value, tuple | list):
        yield from (((*path, index), item) for index, item in enumerate(value) if isinstance(item, Spec))


def _parameter(path: Path, value: Any, field: FieldInfo) -> Parameter:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    bounds = [
        f"{sign} {getattr(mark, name):g}"
        for mark in field.metadata
        for name, sign in _BOUNDS.items()
        if isinstance(getattr(mark, name, None), int | float)
    ]
    return Parameter(
        path,
        value,
        unit_of(str(path[-1])).symbol,
        ", ".join(bounds),
        field.description or "",
        str(extra.get("source", "")),
        bool(extra.get("unverified", False)),
    )


def add_problems(error: ValidationError, spec: type[Spec], data: Any, problems: Problems) -> None:
    """Add what `spec` found wrong in `data`, in words for people: one problem a path."""
    seen: dict[str, set[str]] = {}
    for detail in error.errors(include_url=False):
        place = _place(spec, data, detail["loc"])
        path, value, rule, hint = _explain(detail, place)
        rules = seen.setdefault(path, set())
        if rule not in rules:
            rules.add(rule)
            problems.add(path, value, rule, hint)


@dataclass
class _Place:
    """Where pydantic's error location leads."""

    path: list[Any]
    """The location without the names of union members."""
    field: FieldInfo | None
    """The field that holds the value, if the value is one of a spec."""
    siblings: list[str]
    """The fields beside the last key, if it belongs to a spec."""


def _place(spec: type[Spec], data: Any, location: tuple[int | str, ...]) -> _Place:
    """Follow `location` through the types of `spec` and the values of `data`."""
    place = _Place([], None, [])
    kind: Any = spec
    for key in location:
        kind = _resolved(kind, data)
        origin = get_origin(kind)
        if origin in (Union, types.UnionType):
            kind = next((member for member in get_args(kind) if _is_tagged(member, key)), None)
            continue  # the name of a member of the union, which is not in the data
        if inspect.isclass(kind) and issubclass(kind, Spec):
            place.field = next((f for n, f in kind.model_fields.items() if key in (n, f.alias)), None)
            place.siblings = [f.alias or n for n, f in kind.model_fields.items()]
            kind = _typed(place.field) if place.field else None
        elif origin in (dict, tuple, list):
            place.field, place.siblings = None, []
            kind = get_args(kind)[1 if origin is dict else 0]
            if key == "[key]":
                continue
        elif kind is not None and isinstance(key, str):
            continue  # the name of a member of a union of plain types
        place.path.append(key)
        data = data.get(key) if isinstance(data, dict) else _item(data, key)
        data = _named_by_key(kind, key, with_default_plugin(place.field, data))
    return place


def _named_by_key(kind: Any, key: Any, data: Any) -> Any:
    """A plugin of a mapping whose keys name types, with its type."""
    choices = (mark for mark in get_args(kind)[1:] if isinstance(mark, Choice)) if get_origin(kind) is Annotated else ()
    if isinstance(data, dict) and "type" not in data and any(choice.named_by_key for choice in choices):
        return {"type": key, **data}
    return data


def _resolved(kind: Any, data: Any) -> Any:
    """The type behind annotations, `| None` and choices of plugins."""
    while True:
        if isinstance(data, Spec) and not (inspect.isclass(kind) and issubclass(kind, Spec)):
            return type(data)
        origin = get_origin(kind)
        if origin is Annotated:
            choice = next((mark for mark in get_args(kind)[1:] if isinstance(mark, Choice)), None)
            kind = get_args(kind)[0]
            if choice is not None:
                name = data.get("type") if isinstance(data, dict) else data
                return choice.catalog[name] if isinstance(name, str) and name in choice.catalog else kind
        elif origin in (Union, types.UnionType) and type(None) in get_args(kind):
            members = tuple(member for member in get_args(kind) if member is not type(None))
            kind = members[0] if len(members) == 1 else Union[members]  # noqa: UP007  built at run time
        else:
            return kind


def _typed(field: FieldInfo) -> Any:
    """The field's annotation with the choice that pydantic has taken off it; a default plugin is named by the data."""
    choice = _choice_of(field)
    return field.annotation if choice is None else Annotated[field.annotation, choice]


def _choice_of(field: FieldInfo) -> Choice | None:
    return next((mark for mark in field.metadata if isinstance(mark, Choice)), None)


def _is_tagged(member: Any, tag: Any) -> bool:
    """Whether a member of a tagged union carries this tag."""
    if not (inspect.isclass(member) and issubclass(member, Spec)):
        return False
    kinds = [field.annotation for field in member.model_fields.values()]
    return any(get_origin(kind) is Literal and tag in get_args(kind) for kind in kinds)


def _item(data: Any, key: Any) -> Any:
    if isinstance(data, list | tuple) and isinstance(key, int) and key < len(data):
        return data[key]
    return getattr(data, key, None) if isinstance(data, Spec) and isinstance(key, str) else None


_COMPARED = {
    "greater_than_equal": ("must be at least", "ge"),
    "greater_than": ("must be more than", "gt"),
    "less_than_equal": ("must be at most", "le"),
    "less_than": ("must be less than", "lt"),
}
_KINDS = {
    "int": "must be a whole number",
    "float": "must be a number",
    "string": "must be text",
    "bool": "must be true or false",
    "dict": "must be a mapping of names to values",
    "model": "must be a mapping of fields to values",
    "tuple": "must be a list",
    "list": "must be a list",
}


def _explain(detail: ErrorDetails, place: _Place) -> tuple[str, Any, str, str]:
    """Path, value, rule and hint of one pydantic error."""
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    path = format_path(place.path)
    name = str(place.path[-1]) if place.path else ""
    if kind == "missing":
        meaning = place.field.description if place.field else ""
        rule = f"lacks the field '{name}'" + (f" ({meaning})" if meaning else "")
        return format_path(place.path[:-1]) or name, value, rule, ""
    if kind == "extra_forbidden":
        return path, value, "is not a field here", near_miss(name, place.siblings)
    if kind in _COMPARED:
        words, bound = _COMPARED[kind]
        return path, value, f"{words} {context[bound]:g}{_with_unit(name)}", ""
    if kind in ("too_short", "too_long"):
        words = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return path, value, f"must have {words} entries, not {context['actual_length']}", ""
    if kind in ("literal_error", "enum"):
        known = re.findall(r"'([^']*)'", str(context.get("expected", "")))
        return path, value, "must be one of " + ", ".join(known), near_miss(str(value), known)
    if kind == "union_tag_invalid":
        known = re.findall(r"'([^']*)'", str(context["expected_tags"]))
        tag = str(context["discriminator"]).strip("'")
        return f"{path}.{tag}", context["tag"], "is none of " + ", ".join(known), near_miss(str(context["tag"]), known)
    if kind in ("union_tag_not_found", "model_attributes_type"):
        rule = f"must be a number{_with_unit(name)}, or a distribution"
        return path, value, rule, "such as {dist: exponential, mean: 1}"
    if kind == "value_error":
        return path, value, str(context["error"]), ""
    if kind == "int_from_float":
        return path, value, _KINDS["int"] + _with_unit(name), ""
    family = kind.split("_")[0]
    if family in _KINDS and kind not in ("string_pattern_mismatch", "string_too_short", "string_too_long"):
        quoted = family == "string" and isinstance(value, bool | int | float)
        return path, value, _KINDS[family] + _with_unit(name), f'write it in quotes: "{value}"' if quoted else ""
    return path, value, detail["msg"].replace("Input should be", "must be").removeprefix("Value error, "), ""


def _with_unit(field: str) -> str:
    wording = unit_of(field).wording
    return f" of {wording}" if wording and not wording.startswith("per") else f" {wording}" if wording else ""
