"""YAML without surprises, both ways.

Scalars follow YAML 1.2's core rules (https://yaml.org/spec/1.2.2/#103-core-schema): `yes` and `12:30` are text and
`1e6` is a number, unlike in YAML 1.1. A key that stands twice in a mapping is refused instead of silently winning.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import yaml

from sim.base.errors import InputError

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_SCALARS: tuple[tuple[str, str, str], ...] = (
    ("tag:yaml.org,2002:null", r"~|null|Null|NULL|", "~nN"),
    ("tag:yaml.org,2002:bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("tag:yaml.org,2002:int", r"[-+]?[0-9]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("tag:yaml.org,2002:merge", r"<<", "<"),
)
"""Tag, what a plain scalar of it looks like, and its first characters (the empty scalar is null)."""


class _UniqueKeyLoader(_Loader):  # type: ignore[misc, valid-type]
    """Safe, YAML 1.2 scalars, every key once."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  the name and shape are PyYAML's

    def unique_mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        """A mapping, built in full at once, so that an anchor that holds itself is refused."""
        seen: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            mark = key_node.start_mark
            if isinstance(key, dict | list):
                raise yaml.constructor.ConstructorError(None, None, "a key must be a plain name", mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"the key '{key}' stands twice", mark)
            seen.add(key)
        self.flatten_mapping(node)
        read = self.construct_object
        return {read(key, deep=True): read(value, deep=True) for key, value in node.value}

    def unique_sequence(self, node: yaml.SequenceNode) -> list[Any]:
        """A list, built in full at once."""
        return [self.construct_object(item, deep=True) for item in node.value]

    def whole_number(self, node: yaml.ScalarNode) -> int:
        """Decimal (a leading zero means nothing), or hexadecimal after 0x."""
        text = node.value
        return int(text, 16) if text.startswith("0x") else int(text)


class _Dumper(yaml.SafeDumper):
    """Quotes exactly the text that `_UniqueKeyLoader` would not read back as text; no anchors."""

    yaml_implicit_resolvers: dict[str, list[Any]] = {}  # noqa: RUF012  the name and shape are PyYAML's

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, _pattern, _first in _SCALARS:
    for _class in (_UniqueKeyLoader, _Dumper):
        _class.add_implicit_resolver(_tag, re.compile(rf"^(?:{_pattern})$"), list(_first) + [""] * ("null" in _tag))
_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:map", _UniqueKeyLoader.unique_mapping)
_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:seq", _UniqueKeyLoader.unique_sequence)
_UniqueKeyLoader.add_constructor("tag:yaml.org,2002:int", _UniqueKeyLoader.whole_number)


class _KubernetesLoader(_UniqueKeyLoader):
    """The same with YAML 1.1's booleans, which Go's YAML reader keeps."""


_BOOLEANS = "|".join(form for word in ("yes", "no", "on", "off") for form in (word, word.title(), word.upper()))
_KubernetesLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(f"^(?:{_BOOLEANS})$"), list("yYnNoO"))

_Dumper.add_representer(tuple, yaml.SafeDumper.represent_list)


def parse_yaml(text: str, subject: str) -> Any:
    """The one document in `text`. `InputError` names `subject`, line and column of what cannot be read."""
    return _parse(lambda: yaml.load(text, Loader=_UniqueKeyLoader), subject)


def parse_kubernetes_documents(text: str, subject: str) -> list[Any]:
    """The documents in `text` as kubectl reads them, empty ones left out. Errors as in `parse_yaml`.

    The only difference to our own files: `yes`, `no`, `on` and `off` are booleans, which Kubernetes refuses where it
    wants text.
    """
    return _parse(lambda: [doc for doc in yaml.load_all(text, Loader=_KubernetesLoader) if doc is not None], subject)


def _parse(parse: Callable[[], Any], subject: str) -> Any:
    try:
        return parse()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        raise InputError(f"{subject}{where}: {_sentence(error)}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{subject}: is not YAML: {error}") from None


def dump_yaml(data: Any) -> str:
    """Block style, in the order of `data`; `parse_yaml` reads the same values back."""
    text = _dump(data, allow_unicode=True)
    if any(mark in text for mark in _LINE_BREAKS):
        return _dump(data, allow_unicode=False)
    return text


def _dump(data: Any, allow_unicode: bool) -> str:
    return yaml.dump(
        data, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, default_flow_style=False, width=120
    )


_LINE_BREAKS = "\x85\u2028\u2029"
"""What PyYAML takes for line breaks but writes out as it is; escaped instead."""


def _sentence(error: yaml.MarkedYAMLError) -> str:
    """PyYAML's problem with its context, and the usual cause where there is one."""
    problem = str(error.problem or error.context or "is not YAML")
    if error.context and error.problem:
        problem = f"{problem} ({error.context})"
    if "cannot start any token" in problem:
        problem += "; indent with spaces, not tabs, and quote text that begins with a special character"
    if "mapping values are not allowed" in problem:
        problem += "; is there a colon in unquoted text, or a wrong indent?"
    if "undefined alias" in problem:
        problem += "; quote text that begins with *"
    return problem
