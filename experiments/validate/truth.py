"""Where measurements lie that are compared with: a folder beside the repository, or the one that KUBEDES_SHARED names."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from sim.base.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]


def shared_folder() -> Path | None:
    """The folder of measurements, or None when there is none."""
    given = os.environ.get("KUBEDES_SHARED")
    folder = Path(given) if given else REPOSITORY.parent / "shared"
    return folder if folder.is_dir() else None


def truth(name: str) -> Any:
    """One JSON file of measurements by its path in that folder. InputError when it is not there."""
    folder = shared_folder()
    path = (folder or Path("shared")) / name
    if not path.is_file():
        raise InputError(f"measurements: {path} is not there; set KUBEDES_SHARED to the folder that holds {name}")
    return json.loads(path.read_text())
