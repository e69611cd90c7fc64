"""The parity runner's option, and its last line."""

from __future__ import annotations

import pytest

from tests.parity.golden import TOTALS


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--golden-dir", default=None, help="run every file of this folder of recorded decisions")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in TOTALS.report():
        terminalreporter.write_line(line)
