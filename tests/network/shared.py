"""Where the measurements and samples lie that are not part of the repository."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.validate.truth import shared_folder


def shared() -> Path:
    """The folder of shared data; skips the test where there is none."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("no shared data: set KUBEDES_SHARED or put it beside the repository")
    return folder
