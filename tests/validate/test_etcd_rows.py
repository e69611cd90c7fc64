"""The etcd benchmark in simulation: what was calibrated is met, and counts and CPU of other rows are predicted."""

from __future__ import annotations

import pytest

from experiments.validate import control_plane
from experiments.validate.beds import bed, calibrated
from experiments.validate.etcd_bench import Setup, run
from experiments.validate.truth import find, shared_folder

needs_measurements = pytest.mark.skipif(
    shared_folder() is None, reason="the measurements are not beside the repository"
)
QUIET = "measured-1.20-2core"


def _run(setup):
    etcd, fsync_s, cores = calibrated(QUIET)
    return run(setup, etcd, fsync_s, bed(QUIET).etcd_client, cores=cores, seconds=0.5)


@pytest.mark.parametrize("members", [1, 3])
def test_one_client_makes_one_fsync_a_write(members):
    assert _run(Setup("put", 1, members, 256)).fsyncs_per_op == pytest.approx(1.0, abs=0.01)


def test_the_cores_are_never_more_than_busy():
    """CPU an operation times operations a second is what the machine has, at most: the accounts of programs and cores agree."""
    for members, clients in ((1, 8), (3, 8), (3, 64)):
        outcome = _run(Setup("put", clients, members, 256))
        assert (outcome.etcd_cpu_s + outcome.client_cpu_s) * outcome.ops_per_s <= 2.0 * 1.01
        assert outcome.cores_busy <= 2.0 + 1e-9


@needs_measurements
def test_calibrated_rows_are_met_and_cpu_is_predicted():
    (compared,) = control_plane.compare(find(None, [QUIET]), ["etcd"], seconds=1.5, workers=1)
    table = compared.table
    means = table[
        (table.verdict == "calibrated") & table.metric.isin(["throughput", "latency mean", "etcd CPU an operation"])
    ]
    assert len(means) == 6
    assert means.error_percent.abs().max() < 15
    predicted = table[
        table.metric.isin(["etcd CPU an operation", "fsyncs a write"]) & table.row.str.contains("8 clients")
    ]
    assert len(predicted) == 4
    assert predicted.error_percent.abs().max() < 25  # the floors of repetitions: 8 to 22 %
