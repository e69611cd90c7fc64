"""Paths into nested data, as people write them: `nodes.pools.gpu.labels.'example.com/gpu'`, `workload.streams[0]`."""

from __future__ import annotations

import re
from collections.abc import Sequence

Key = str | int
"""A name in a mapping, or a position in a list."""
Path = tuple[Key, ...]

_PART = re.compile(r"""\.?(?:'(?P<single>[^']*)'|"(?P<double>[^"]*)"|(?P<plain>[^.\[\]'"]+))|\[(?P<index>\d+)\]""")
_PLAIN = re.compile(r"[^.\[\]'\"=\s]+")


def parse_path(text: str) -> Path:
    """The keys of a path. Names with dots go in quotes. Raises `ValueError` with a plain sentence."""
    keys: list[Key] = []
    at = 0
    while part := _PART.match(text, at):
        if at == 0 and text[0] == ".":
            break
        if part["index"] is not None:
            keys.append(int(part["index"]))
        else:
            keys.append(next(name for name in part.group("single", "double", "plain") if name is not None))
        at = part.end()
        if at < len(text) and text[at] not in ".[":
            break
    if at != len(text) or not keys:
        raise ValueError("is not a path: write names with dots between, such as nodes.pools.general.count")
    return tuple(keys)


def format_path(path: Sequence[Key]) -> str:
    """The text of a path; reads back to the same keys."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += ("." if text else "") + (key if _PLAIN.fullmatch(key) else f"'{key}'")
    return text
