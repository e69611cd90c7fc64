"""The simulator's own regression guard: exact counters of small runs, equal to a file that is committed with the change.

A change of the model or of the engine changes them: say why in the same change, and write them anew with

    kubedes gate --baseline tests/bench/own_counters.json --update
"""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.regression.baseline import ask, load
from experiments.regression.gate import compare

BASELINE = Path(__file__).parent / "own_counters.json"


@pytest.mark.bench
def test_exact_counters_are_those_that_were_committed() -> None:
    known = load(BASELINE)
    assert set(known.answer.counters) >= {"events", "scheduling_attempts", "nodes_filtered", "nodes_scored", "etcd_batches"}
    found = compare(known, ask(known.question, BASELINE.parent), exact=True)
    assert found.passed, found.text()
