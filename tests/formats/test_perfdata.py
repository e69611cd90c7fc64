"""ClusterLoader2's files: what they hold against the tables, and there and back."""

from __future__ import annotations

import json

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.result.exports.perfdata import DataItem, PerfData, api_responsiveness, order_statistics, pod_startup_latency
from sim.result.record import RequestKind, RunRecord
from sim.result.result import Result
from tests.result.synthetic import bare_record, log_of, started_pods


def test_pod_startup_is_the_order_statistic_of_the_pods() -> None:
    startup = np.arange(1, 201) / 100  # 10 ms to 2 s
    record = bare_record(started_pods(np.linspace(0, 100, 200), startup))
    items = {item.labels["Metric"]: item for item in pod_startup_latency(record).items}
    assert items["pod_startup"].data == pytest.approx({"Perc50": 1000.0, "Perc90": 1800.0, "Perc99": 1980.0})
    assert items["pod_startup"].unit == "ms"
    assert "create_to_schedule" not in items  # these pods were never bound


@pytest.mark.parametrize(("count", "percent", "place"), [(1, 50, 0), (1, 99, 0), (2, 50, 0), (3, 50, 1), (100, 99, 98)])
def test_order_statistics_are_go_s(count: int, percent: int, place: int) -> None:
    assert order_statistics(np.arange(count, dtype=float), (percent,)) == {f"Perc{percent}": place}


def test_responsiveness_counts_slow_calls_by_scope() -> None:
    kinds = [
        RequestKind("LIST", "pods", "cluster", "user", 200),
        RequestKind("LIST", "pods", "namespace", "user", 200),
        RequestKind("GET", "pods", "resource", "user", 200),
        RequestKind("GET", "pods", "resource", "kubelet", 404),
        RequestKind("WATCH", "pods", "cluster", "user", 200),
    ]
    rows = [(1.0, 6.0, kind, 2) for kind in range(5)] + [(2.0, 31.0, 0, 1), (0.5, 99.0, 2, 1)]
    record = bare_record(requests=log_of(rows), request_kinds=kinds, warm_up_s=0.75)
    items = api_responsiveness(record).items
    found = {(item.labels["Verb"], item.labels["Scope"]): item for item in items}
    assert len(found) == len(items) == 3
    assert {key: (item.labels["Count"], item.labels["SlowCount"]) for key, item in found.items()} == {
        ("LIST", "cluster"): ("3", "1"),
        ("LIST", "namespace"): ("2", "2"),
        ("GET", "resource"): ("4", "4"),
    }
    assert items[0].labels["Scope"] == "cluster"  # the slowest first


def test_a_run_s_files_agree_with_its_tables_and_round_trip(quick: RunRecord) -> None:
    startup, calls = pod_startup_latency(quick), api_responsiveness(quick)
    result = Result(quick)
    binding = next(item for item in calls.items if item.labels["Subresource"] == "binding")
    row = result.requests[result.requests.resource == "pods/binding"].iloc[0]
    assert binding.data["Perc99"] == pytest.approx(row.p99_s * 1000)
    assert binding.labels["Count"] == str(row["count"])
    assert {item.labels["Metric"] for item in startup.items} >= {"pod_startup", "create_to_schedule", "run_to_watch"}
    for data in (startup, calls, PerfData("v1", (DataItem({"Average": 1.5}, "pods/s"),), {"run": "é"})):
        assert PerfData.loads(data.dumps()) == data
        assert PerfData.loads(data.dumps()).dumps() == data.dumps()


def test_a_file_as_clusterloader2_writes_it_is_read(tmp_path) -> None:
    content = {
        "version": "1.0",
        "dataItems": [{"data": {"Perc50": 893, "Perc90": 1, "Perc99": 2}, "unit": "ms", "labels": {"Metric": "x"}}],
    }
    path = tmp_path / "PodStartupLatency_density.json"
    path.write_text(json.dumps(content))
    assert PerfData.load(path).items == (DataItem({"Perc50": 893, "Perc90": 1, "Perc99": 2}, "ms", {"Metric": "x"}),)


def test_everything_wrong_is_said_at_once(tmp_path) -> None:
    text = json.dumps(
        {"dataItems": [{"data": {"Perc50": "fast"}, "unit": 3}, {"data": {}, "unit": "ms", "labels": [1]}]}
    )
    with pytest.raises(InputError) as raised:
        PerfData.loads(text, "file.json")
    assert str(raised.value).startswith("file.json: 3 problems")
    with pytest.raises(InputError, match="is not JSON"):
        PerfData.loads("{")
    with pytest.raises(InputError, match="dataItems: None must be a list"):
        PerfData.loads("[]")
    with pytest.raises(InputError, match="cannot be read: No such file"):
        PerfData.load(tmp_path / "none.json")
