"""Reads files of Kubernetes objects."""

from __future__ import annotations

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
    return parse_kubernetes_documents(text, str(path))
