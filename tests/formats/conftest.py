"""What the format tests share: one small run, and a record made by hand."""

from __future__ import annotations

import pytest

import sim
from sim.result.record import RunRecord


@pytest.fixture(scope="session")
def quick() -> RunRecord:
    """The built-in quick scenario, half a minute of it."""
    return sim.simulate(sim.Scenario.load("quick", {"horizon_s": 30, "warm_up_s": 0})).record
