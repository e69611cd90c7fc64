"""What all tests share: kernels compiled once before parallel workers start, and the folder of measurements."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.validate.truth import shared_folder

pytest_plugins = ["pytester"]
"""The gate's tests run tests of tests."""


def pytest_configure(config: pytest.Config) -> None:
    """Compile the kernels in the parent: workers that compile at the same time would race for the cache's files."""
    if not hasattr(config, "workerinput") and getattr(config.option, "numprocesses", None):
        import sim.simulate  # noqa: F401  imports the rooms that register kernels
        from sim import kernels

        kernels.warm()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of traces and measurements beside the checkout, or where KUBEDES_SHARED says."""
    folder = shared_folder()
    if folder is None:
        pytest.skip("needs the folder of measurements; say where it is with KUBEDES_SHARED")
    return folder
