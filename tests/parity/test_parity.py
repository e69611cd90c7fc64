"""Every recorded decision of the real kube-scheduler, answered by the core."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.parity.golden import (
    SAMPLE,
    TOTALS,
    compare_eval,
    compare_preemption,
    compare_sampling,
    compare_trace,
    read,
)

SHOWN = 20
"""Differences of one file that a failure lists."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One test a file of the folder: the given one, else the sample that comes with the tests."""
    folder = metafunc.config.getoption("--golden-dir", default=None)
    files = sorted(Path(folder or SAMPLE).rglob("*.json.gz"))
    if not files:
        raise pytest.UsageError(f"--golden-dir {folder}: no *.json.gz file in it")
    metafunc.parametrize("path", files, ids=[f"{path.parent.name}/{path.name}" for path in files])


def test_recording(path: Path) -> None:
    """All scenarios of a file, without a difference."""
    recording = read(path)
    shown: list[str] = []
    for scenario in recording.scenarios:
        differences: list[str] = []
        if recording.kind in ("eval", "preemption"):
            compare_all = compare_eval if recording.kind == "eval" else compare_preemption
            found = list(compare_all(scenario, recording.kubernetes))
            TOTALS.by_plugin.update(f"{what} ({recording.kubernetes})" for what, _ in found)
            differences = [f"{what}: {detail}" for what, detail in found]
            TOTALS.decisions += 1
            TOTALS.decision_mismatches += bool(found)
        elif recording.kind in ("trace", "sampling"):
            compare = compare_trace if recording.kind == "trace" else compare_sampling
            wrong = list(compare(scenario, recording.kubernetes))
            differences = [detail for _, detail in wrong]
            TOTALS.decisions += len(scenario["expect"]["decisions"])
            TOTALS.decision_mismatches += len({position for position, _ in wrong})
        else:
            pytest.fail(f"{path}: kind {recording.kind!r} is not known")
        TOTALS.scenarios += 1
        TOTALS.scenario_mismatches += bool(differences)
        shown += [f"{scenario['id']}: {each}" for each in differences]
    assert not shown, "\n".join([f"{len(shown)} differences", *shown[:SHOWN]])
