"""What the workload tests share: a setting, and where the real traces are when they are there."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sim.workload import Setting
from workloads import zipf_weights

HERE = Path(__file__).parent
SHARED = Path(os.environ.get("KUBEDES_SHARED", HERE.parents[2] / "shared"))


@pytest.fixture
def data() -> Path:
    """Small files of our own making."""
    return HERE / "data"


@pytest.fixture
def openb() -> Path:
    """The real openb trace."""
    folder = SHARED / "data" / "openb"
    if not folder.is_dir():
        pytest.skip(f"the openb trace is not there: {folder}; set KUBEDES_SHARED")
    return folder


@pytest.fixture
def setting() -> Callable[..., Setting]:
    """A setting of 5 tenants with 2 namespaces each, 4 images and 20 nodes; keywords change it."""

    def make(**changes: Any) -> Setting:
        names = tuple(f"tenant-{i}" for i in range(1, 6))
        standard = Setting(
            horizon_s=600.0,
            tenants=names,
            namespaces=tuple((f"{name}-a", f"{name}-b") for name in names),
            tenant_weight=zipf_weights(5, 1.0),
            images=(("pause", 1.0), ("web", 4.0), ("worker", 2.0), ("base", 0.0)),
            nodes=20,
        )
        return replace(standard, **changes)

    return make
