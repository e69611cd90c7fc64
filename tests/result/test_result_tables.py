"""Tables, schema, summary and totals of a result."""

from __future__ import annotations

import numpy as np
import pytest

from sim.result.record import RequestKind
from sim.result.result import Result
from sim.result.schema import TABLES, stage_column
from sim.state.pods import STAGES
from tests.result.synthetic import bare_record, log_of, make_record, started_pods


@pytest.fixture(scope="module")
def result() -> Result:
    return Result(make_record())


def test_every_column_of_every_table_is_declared_and_nothing_else_is(result: Result) -> None:
    schema = result.schema
    for table in TABLES:
        declared = schema.column[schema.table == table].tolist()
        assert getattr(result, table).columns.tolist() == declared
    assert (schema.unit != "").all()
    assert (schema.meaning != "").all()


def test_units_are_in_the_names(result: Result) -> None:
    """A column that ends in a unit has it; every time and duration is in seconds and says so."""
    for column, unit in zip(result.schema.column, result.schema.unit, strict=True):
        assert column.endswith("_s") == (unit == "s"), column
        assert not column.endswith("_bytes") or unit == "bytes"
        assert not column.endswith("_millicores") or unit == "millicores"


def test_derived_pod_columns(result: Result) -> None:
    pods = result.pods
    seen = pods[pods.watched_s.notna()]
    assert len(seen) > 1000
    assert np.array_equal(seen.startup_s, seen.watched_s - seen.created_s)
    without = seen.startup_s - (seen.pull_ready_s - seen.pull_started_s)
    assert np.array_equal(seen.startup_without_pull_s, without)
    assert pods.startup_s.notna().sum() == len(seen)
    for stage in STAGES:
        assert np.array_equal(pods[stage_column(stage)], pods[stage.end] - pods[stage.start], equal_nan=True)


def test_names_stand_for_rows(result: Result) -> None:
    record, pods = result.record, result.pods
    for row in (0, 17, len(pods) - 1):
        assert pods.tenant[row] == record.tenants[record.pods["tenant"][row]]
        template = record.templates[record.pods["template"][row]]
        assert pods.namespace[row] == template["namespace"]
        assert pods.cpu_millicores[row] == template["cpu_millicores"]
        assert pods.images[row] == " ".join(template["images"])
    unbound = record.pods["node"] < 0
    assert pods.node[unbound].isna().all()
    assert pods.node[~unbound].iloc[0] == record.nodes["name"][record.pods["node"][~unbound][0]]


def test_requests_are_grouped_by_kind_with_counts_as_weights() -> None:
    kinds = [
        RequestKind("GET", "nodes", "resource", "kubelet", 200),
        RequestKind("POST", "pods", "resource", "user", 201),
    ]
    log = log_of([(5.0, 9.0, 0, 1), (20.0, 0.25, 0, 99), (21.0, 1.25, 0, 1), (22.0, 0.5, 1, 1)])
    table = Result(bare_record(requests=log, request_kinds=kinds, warm_up_s=10.0)).requests
    assert table["count"].tolist() == [100, 1]
    assert table.mean_s[0] == pytest.approx(0.26)
    assert table.p50_s.tolist() == [0.25, 0.5]
    assert table.p99_s[0] == pytest.approx(0.26), (
        "between the 99th and the 100th of 100 requests, a hundredth of the way"
    )
    assert table.max_s.tolist() == [1.25, 0.5]


def test_the_log_spells_out_its_kinds(result: Result) -> None:
    log, table = result.request_log, result.requests
    for row in (0, len(log) // 2, len(log) - 1):
        kind = table.loc[log.kind[row]]
        assert [log[name][row] for name in ("verb", "resource", "scope", "client", "code")] == kind.iloc[:5].tolist()


def test_fill_is_requested_of_allocatable_and_missing_without_any(result: Result) -> None:
    nodes = result.nodes
    assert np.allclose(nodes.fill_cpu, nodes.requested_cpu / nodes.allocatable_cpu)
    assert nodes.fill_gpu.isna().all()


def test_summary_has_units_and_agrees_with_the_tables(result: Result) -> None:
    summary = result.summary()
    assert set(summary.unit) == {"s", "pods/s", "pods", "share"}
    measured = result.pods[result.pods.measured]
    for row, column in (("pod_startup", "startup_s"), ("pod_startup_without_pull", "startup_without_pull_s")):
        assert summary.p99[row] == pytest.approx(measured[column].quantile(0.99))
        assert summary["mean"][row] == pytest.approx(measured[column].mean())
        assert summary["count"][row] == measured[column].notna().sum()
    assert summary.objective["pod_startup_without_pull"] == "p99 ≤ 5 s"
    assert summary.verdict["pod_startup_without_pull"] == result.slo().verdict[0]
    assert summary.verdict["mutating_api_call"] == "met"
    assert summary.unit["pods_started"] == "pods/s"


def test_pods_before_the_warm_ups_end_are_left_out_of_summaries() -> None:
    record = bare_record(
        started_pods(np.array([10.0, 200.0]), np.array([90.0, 1.0])), warm_up_s=100.0, nodes={"name": ["node-0"]}
    )
    result = Result(record)
    assert result.summary()["max"]["pod_startup"] == 1.0
    assert result.pods.startup_s.max() == 90.0
    assert result.pods.measured.tolist() == [False, True]


def test_totals_add_up(result: Result) -> None:
    totals = result.totals
    assert sum(totals[key] for key in ("pending", "starting", "running", "succeeded", "deleted", "refused")) == 2000
    assert totals["requested"] >= totals["created"] >= totals["scheduled"] >= totals["started"]


def test_tenants_add_up(result: Result) -> None:
    tenants = result.tenants()
    assert tenants.pods.sum() == result.pods.measured.sum()
    assert tenants.pods.is_monotonic_decreasing
    assert (tenants.started <= tenants.pods).all()


def test_an_empty_run_has_empty_tables_and_no_verdict() -> None:
    result = Result(bare_record())
    for table in TABLES:
        assert len(getattr(result, table)) == 0
    assert result.summary()["count"].sum() == 600, "600 seconds without a start"
    assert "No pod" in result.limits()
    assert len(result.bottlenecks()) == 0


def test_it_shows_itself(result: Result) -> None:
    assert "2,000 pods requested" in repr(result)
    assert "partial" in repr(Result(make_record(pods=10, partial=True)))
    assert "<table" in result._repr_html_()
