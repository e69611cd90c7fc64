"""The part of Go's text/template that Kubernetes' test manifests use: values and arithmetic, no control flow.

`{{.Index}}`, `{{AddInt .Index 1}}`, `{{Mod .Index (DivideInt .Count 2)}}`. Source: scheduler_perf, operations.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from math import fmod, prod
from typing import Any

_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_TOKEN = re.compile(r"""\s*(\(|\)|"[^"]*"|[^\s()"]+)""")

Number = int | float


def _whole(function: Callable[..., Number]) -> Callable[..., int]:
    return lambda *numbers: int(function(*numbers))


FUNCTIONS: Mapping[str, Callable[..., Number]] = {
    "AddFloat": lambda *numbers: sum(numbers),
    "AddInt": _whole(lambda *numbers: sum(numbers)),
    "SubtractFloat": lambda a, b: a - b,
    "SubtractInt": _whole(lambda a, b: a - b),
    "MultiplyFloat": lambda *numbers: prod(numbers),
    "MultiplyInt": _whole(lambda *numbers: prod(numbers)),
    "DivideFloat": lambda a, b: a / b,
    "DivideInt": _whole(lambda a, b: a / b),
    "Mod": _whole(lambda a, b: fmod(int(a), int(b))),
}


def has_actions(text: str) -> bool:
    """Whether `render` would change anything."""
    return "{{" in text


def render(text: str, values: Mapping[str, Any]) -> str:
    """`text` with its actions replaced. Raises `ValueError` with a sentence about an action that cannot be."""
    return _ACTION.sub(lambda found: _shown(_evaluate(found[1], values)), text)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if isinstance(value, float) and value == int(value) else str(value)


def _evaluate(action: str, values: Mapping[str, Any]) -> Any:
    tokens = _TOKEN.findall(action)
    try:
        value, rest = _call(tokens, values)
    except (IndexError, TypeError, ZeroDivisionError) as error:
        raise ValueError(f"the template action '{action}' cannot be worked out: {error}") from None
    if rest:
        raise ValueError(f"the template action '{action}' is not understood; known: {', '.join(FUNCTIONS)}")
    return value


def _call(tokens: list[str], values: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """A function with its arguments, or one value; and the tokens after it."""
    if tokens[0] not in FUNCTIONS:
        return _value(tokens, values)
    name, rest = tokens[0], tokens[1:]
    arguments = []
    while rest and rest[0] != ")":
        value, rest = _value(rest, values)
        arguments.append(float(value) if isinstance(value, str) else value)
    return FUNCTIONS[name](*arguments), rest


def _value(tokens: list[str], values: Mapping[str, Any]) -> tuple[Any, list[str]]:
    first, rest = tokens[0], tokens[1:]
    if first == "(":
        value, rest = _call(rest, values)
        if rest[0] != ")":
            raise TypeError("a ) is missing")
        return value, rest[1:]
    if first.startswith('"'):
        return first[1:-1], rest
    if first.startswith("."):
        if first[1:] not in values:
            raise ValueError(f"the template asks for {first}; known: {', '.join(f'.{name}' for name in values)}")
        return values[first[1:]], rest
    try:
        return (float(first) if "." in first else int(first)), rest
    except ValueError:
        raise ValueError(f"the template action '{first}' is not understood; known: {', '.join(FUNCTIONS)}") from None
