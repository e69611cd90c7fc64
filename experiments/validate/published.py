"""Published figures of control planes."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

NAME = "published"


def compare(seed: int = 1) -> pd.DataFrame | None:
    """None yet."""
    return None
