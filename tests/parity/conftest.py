"""The parity runner's option, and its last line."""

from __future__ import annotations

import pytest

from tests.parity.golden import TOTALS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-dir", default=None, help="run every file of this folder of recorded decisions")


@pytest.hookimpl(trylast=True)
def pytest_unconfigure() -> None:
    """After pytest's own last words: what was compared."""
    for line in TOTALS.report():
        print(line, flush=True)
