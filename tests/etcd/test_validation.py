"""The benchmark's rows in simulation: what was calibrated is met, and counts and CPU of the others are predicted."""

from __future__ import annotations

import pytest

from experiments.validate.control_plane import calibration, compare_etcd, outage_table
from experiments.validate.etcd_bench import Setup, run
from experiments.validate.truth import shared_folder

needs_measurements = pytest.mark.skipif(shared_folder() is None, reason="the measurements are not beside the repository")


@pytest.mark.parametrize("members", [1, 3])
def test_one_client_makes_one_fsync_a_write(members):
    costs = calibration("measured-1.20-2core")
    outcome = run(Setup("put", 1, members, 256), costs.etcd, costs.fsync_s, costs.client, seconds=0.5)
    assert outcome.fsyncs_per_op == pytest.approx(1.0, abs=0.01)


def test_the_cores_are_never_more_than_busy():
    """CPU an operation times operations a second is what the machine has, at most: the accounts of programs and cores agree."""
    costs = calibration("measured-1.20-2core")
    for members, clients in ((1, 8), (3, 8), (3, 64)):
        outcome = run(Setup("put", clients, members, 256), costs.etcd, costs.fsync_s, costs.client, seconds=0.5)
        assert (outcome.etcd_cpu_s + outcome.client_cpu_s) * outcome.ops_per_s <= 2.0 * 1.01


@needs_measurements
def test_calibrated_rows_are_met_and_cpu_is_predicted():
    table, outcomes = compare_etcd("measured-1.20-2core", seconds=1.5)
    assert len(outcomes) == 4
    means = table[(table.verdict == "calibrated") & table.metric.isin(["throughput", "latency mean", "etcd CPU an operation"])]
    assert means.error_percent.abs().max() < 15
    predicted = table[table.metric.eq("etcd CPU an operation") & table.row.str.contains("8 clients")]
    assert predicted.verdict.eq("within").all()


def test_verdicts_of_outages():
    import numpy as np

    from experiments.validate.control_plane import Outage

    table = outage_table([Outage("a", np.ones(3), np.ones(3), 0.5), Outage("b", np.ones(3), np.zeros(3), 0.01)])
    assert list(table.verdict) == ["not to be told apart", "MISSED"]
