"""Reads files of Kubernetes objects."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sim.base.errors import InputError
from sim.base.yamltext import parse_kubernetes_documents


def read_documents(path: Path | str) -> list[Any]:
    """The YAML or JSON documents of a file. Raises `InputError` that names the file, and for bad syntax the line and
    column."""
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from None
    if path.suffix == ".json":  # YAML holds JSON, but reads it ten times slower
        return _parse_json(text, str(path))
    return parse_kubernetes_documents(text, str(path))


def _parse_json(text: str, subject: str) -> list[Any]:
    def unique(members: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(members)
        if len(found) < len(members):
            names = [name for name, _ in members]
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise InputError(f"{subject}: the key '{twice}' stands twice in one object")
        return found

    try:
        document = json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise InputError(f"{subject}:{error.lineno}:{error.colno}: is not JSON: {error.msg}") from None
    return [] if document is None else [document]
