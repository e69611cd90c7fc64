"""Prometheus text: read back by the official client, and equal to the tables it was made from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from sim.base.errors import InputError
from sim.result.exports.metrics import METRICS, Metric, Observed, exponential, metrics_of
from sim.result.exports.prometheus import history, moments_of, points, scrape
from sim.result.record import RequestKind, RunRecord
from tests.result.synthetic import bare_record, log_of, started_pods


def at(families: Iterator[Family], name: str) -> dict[tuple[tuple[str, str], ...], float]:
    """Samples of one name by their labels."""
    found = [sample for family in families for sample in family.samples if sample.name == name]
    return {tuple(sorted(sample.labels.items())): sample.value for sample in found}


def total(record: RunRecord, name: str, **labels: str) -> float:
    samples = at(read_text(scrape(record)), name)
    return sum(value for have, value in samples.items() if labels.items() <= dict(have).items())


def test_a_scrape_says_what_the_tables_say(quick: RunRecord) -> None:
    log = quick.requests
    kind = next(i for i, kind in enumerate(quick.request_kinds) if kind.resource == "pods/binding")
    rows = log["kind"] == kind
    name = "apiserver_request_duration_seconds"
    which = {"verb": "POST", "resource": "pods", "subresource": "binding", "scope": "resource"}
    assert total(quick, f"{name}_count", **which) == rows.sum() > 10
    assert total(quick, f"{name}_sum", **which) == pytest.approx(log["latency_s"][rows].astype(float).sum(), rel=1e-9)
    assert total(quick, f"{name}_bucket", le="0.025", **which) == (log["latency_s"][rows] <= 0.025).sum()
    assert total(quick, "apiserver_request_total", code="201", **which) == rows.sum()
    assert total(quick, "apiserver_request_total") == log["count"].sum()
    started = quick.pods["watched_s"][~np.isnan(quick.pods["watched_s"])]
    assert total(quick, "kubelet_pod_start_sli_duration_seconds_count") == len(started) > 10
    assert total(quick, "scheduler_schedule_attempts_total", result="scheduled") == (quick.pods["bound_s"] > 0).sum()
    assert total(quick, "etcd_disk_wal_fsync_duration_seconds_count") == len(quick.fsyncs["time_s"]) > 10
    inside = (quick.pods["sandbox_ready_s"] > 0) & np.isnan(quick.pods["gone_s"])
    assert total(quick, "kubelet_running_pods") == inside.sum() > 10


def test_a_scrape_is_what_the_official_client_writes_for_the_same_observations() -> None:
    latency = [0.004, 0.005, 0.0051, 0.3, 61.0]
    kinds = [RequestKind("GET", "nodes", "resource", "kubelet", 200)]
    log = log_of([(float(i), value, 0, 1) for i, value in enumerate(latency)])
    log["latency_s"] = np.array(latency)  # not rounded to single precision, so that the sums agree
    record = bare_record(scenario={"kubernetes": "1.34"}, requests=log, request_kinds=kinds)
    registry = CollectorRegistry()
    names = ["verb", "group", "version", "resource", "subresource", "scope", "component"]
    values = ["GET", "", "v1", "nodes", "", "resource", "apiserver"]
    metric = next(each for each in metrics_of(record) if each.name == "apiserver_request_duration_seconds")
    theirs = Histogram(metric.name, metric.help, names, registry=registry, buckets=metric.buckets).labels(*values)
    for value in latency:
        theirs.observe(value)
    Counter("apiserver_request", "x", [*names, "code"], registry=registry).labels(*values, "200").inc(len(latency))
    expected = list(read_text(generate_latest(registry).decode()))
    for name in (f"{metric.name}_bucket", f"{metric.name}_sum", f"{metric.name}_count", "apiserver_request_total"):
        mine = at(read_text(scrape(record)), name)
        want = {
            tuple((k, f"{float(v):g}" if k == "le" and v != "+Inf" else v) for k, v in key): value
            for key, value in at(iter(expected), name).items()
        }
        assert mine == pytest.approx(want), name


def test_a_history_is_the_scrapes_one_after_the_other(quick: RunRecord) -> None:
    text = history(quick, period_s=7, start_unix_s=1000)
    lines = text.splitlines()
    assert lines[-1] == "# EOF"
    stamps = {line.rsplit(" ", 1)[1] for line in lines if not line.startswith("#")}
    assert stamps == {"1007", "1014", "1021", "1028", "1030"}
    for stamp in sorted(stamps):
        # The client's parser takes a group's second time stamp for a repetition, so it is given one at a time.
        then = "\n".join([line for line in lines if line.startswith("#") or line.endswith(f" {stamp}")])
        families = list(read_openmetrics(f"{then}\n"))
        once = list(read_text(scrape(quick, float(stamp) - 1000)))
        for name in ("apiserver_request_total", "kubelet_pod_start_sli_duration_seconds_count", "kubelet_running_pods"):
            mine = {tuple(p for p in key if p[0] != "job"): value for key, value in at(iter(families), name).items()}
            assert {key: value for key, value in mine.items() if value} == {
                key: value for key, value in at(iter(once), name).items() if value
            }, (stamp, name)
    jobs = {sample.labels["job"] for family in read_text(text) for sample in family.samples}
    assert jobs == {"apiserver", "etcd", "kube-scheduler", "kubelet"}


def test_everything_counts_up_and_buckets_cumulate(quick: RunRecord) -> None:
    moments = moments_of(quick.end_s, 3)
    seen = 0
    for metric in metrics_of(quick):
        for observed in metric.read(quick):
            found = points(metric, observed, moments)
            if metric.kind != "gauge":
                assert np.all(np.diff(found.value) >= 0), metric.name
            if found.buckets is not None:
                assert np.all(np.diff(found.buckets, axis=0) >= 0), metric.name
                assert np.all(np.diff(found.buckets, axis=1) >= 0), metric.name
                counts = np.ones(len(observed.value)) if observed.count is None else observed.count
                assert found.buckets[-1, -1] == counts[observed.time_s <= quick.end_s].sum()
                seen += 1
    assert seen > 15


def test_points_against_a_count_by_hand() -> None:
    metric = Metric("x_seconds", "histogram", "x", "x", lambda record: iter(()), (0.1, 1.0))
    observed = Observed((), np.array([1.0, 2.0, 2.0, 5.0]), np.array([0.1, 0.5, 3.0, 0.05]), np.array([1, 2, 1, 10]))
    found = points(metric, observed, np.array([0.5, 2.0, 4.0, 5.0]))
    assert found.buckets is not None
    assert found.buckets.tolist() == [[0, 0, 0], [1, 3, 4], [1, 3, 4], [11, 13, 14]]
    assert found.value.tolist() == pytest.approx([0, 4.1, 4.1, 4.6])
    level = points(replace(metric, kind="gauge", buckets=()), observed, np.array([0.5, 2.0]))
    assert np.isnan(level.value[0])
    assert level.value[1] == 3.0


@pytest.mark.parametrize(
    ("version", "there", "not_there"),
    [
        ("1.12", "apiserver_request_latencies", "apiserver_request_total"),
        ("1.20", "scheduler_e2e_scheduling_duration_seconds", "scheduler_scheduling_attempt_duration_seconds"),
        ("1.34", "scheduler_pod_scheduling_sli_duration_seconds", "scheduler_pod_scheduling_duration_seconds"),
    ],
)
def test_metrics_are_those_of_the_simulated_version(version: str, there: str, not_there: str) -> None:
    pods = started_pods(np.array([1.0, 2.0]), np.array([1.0, 3.0]))
    pods["bound_s"][:] = pods["scheduled_s"] + 0.01
    log = log_of([(1.0, 0.2, 0, 1)])
    kinds = [RequestKind("POST", "pods", "resource", "tenant", 201)]
    record = bare_record(pods, scenario={"kubernetes": version}, requests=log, request_kinds=kinds)
    names = {line.split()[2] for line in scrape(record).splitlines() if line.startswith("# TYPE")}
    assert there in names
    assert not_there not in names


def test_a_version_has_each_metric_once() -> None:
    for version in ("1.12", "1.14", "1.20", "1.23", "1.27", "1.30", "1.34"):
        names = [metric.name for metric in METRICS if metric.exists_in(version)]
        assert len(names) == len(set(names)) > 5, version
    for metric in METRICS:
        assert bool(metric.buckets) == (metric.kind == "histogram"), metric.name
        assert list(metric.buckets) == sorted(metric.buckets)


def test_exponential_buckets_are_kubernetes_own() -> None:
    assert exponential(0.001, 2, 15)[:5] == (0.001, 0.002, 0.004, 0.008, 0.016)
    assert exponential(0.001, 2, 15)[-1] == 16.384
    assert exponential(0.01, 2, 20)[-1] == 5242.88


def test_labels_are_escaped() -> None:
    kinds = [RequestKind("GET", 'odd"\\\nname', "resource", "x", 200)]
    record = bare_record(scenario={"kubernetes": "1.20"}, requests=log_of([(1.0, 0.2, 0, 1)]), request_kinds=kinds)
    samples = at(read_text(scrape(record)), "apiserver_request_total")
    assert dict(next(iter(samples)))["resource"] == 'odd"\\\nname'


def test_a_moment_outside_the_run_and_a_period_of_nothing_are_refused(quick: RunRecord) -> None:
    with pytest.raises(InputError, match="outside the run; it must be from 0 to 30"):
        scrape(quick, 31)
    with pytest.raises(InputError, match="must be above 0"):
        history(quick, 0)
    with pytest.raises(InputError, match="give a longer one"):
        history(quick, 1e-6)
