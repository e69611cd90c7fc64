"""Where measurements lie that are compared with: a folder beside the repository, or the one that KUBEDES_SHARED names."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.base.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]
MEASUREMENTS = "ground_truth"
"""Folder of the control plane's measurements in the shared one."""
SECOND = "series_2"
"""Folder of the second series in the folder of the first."""
SERIES = {"measured-1.20-2core": SECOND, "measured-1.20-2core-noisy": "."}
"""Calibration -> folder of the series that it was found from and is compared with."""


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


@dataclass(frozen=True, slots=True)
class Truth:
    """Measurements of one series: a folder of JSON files in the recorded format; those that it lacks are no rows."""

    calibration: str
    folder: Path

    def rows(self, name: str, part: str = "rows") -> list[dict[str, Any]]:
        """The rows of one file; none when it is not there. `InputError` when it is no such file."""
        return list(self.read(name).get(part) or [])

    def read(self, name: str) -> dict[str, Any]:
        """One file; empty when it is not there."""
        path = self.folder / name
        if not path.is_file():
            return {}
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: is not readable as JSON: {error}") from None
        if not isinstance(found, dict):
            raise InputError(f"{path}: must be a mapping with `setup` and `rows`, not {type(found).__name__}")
        return found


def find(folder: Path | None, calibrations: list[str]) -> list[Truth]:
    """The series to compare, one a calibration. folder: in place of the shared one.

    A folder without a second series is compared with whichever single calibration is asked for, and else with the first's.
    """
    if folder is None:
        shared = shared_folder()
        if shared is None:
            raise InputError("measurements: none are here; give --truth-dir DIR, or set KUBEDES_SHARED to their folder")
        folder = shared / MEASUREMENTS
    if not folder.is_dir():
        raise InputError(f"--truth-dir: {folder} is no folder")
    both = (folder / SECOND).is_dir()
    if not both and len(calibrations) > 1:
        calibrations = [name for name in calibrations if SERIES[name] == "."]
    return [Truth(name, folder / SERIES[name] if both else folder) for name in calibrations]
