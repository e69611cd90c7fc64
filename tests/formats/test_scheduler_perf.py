"""scheduler_perf: its files are read, its workloads are played step by step, and answered in its own data items."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import sim
from experiments.scheduler_perf import (
    Window,
    as_perf_data,
    bucket_quantile,
    data_items,
    samples_per_s,
    unfinished,
    window_of,
)
from sim.base.errors import InputError
from sim.result.exports.perfdata import PerfData
from sim.result.record import RunRecord
from sim.state.pods import Phase
from sim.tenancy.script import Churn, Delete, Post, Sleep, Wait
from workloads.kinds.scheduler_perf import SchedulerPerf
from workloads.traces.go_templates import render
from workloads.traces.scheduler_perf import OPERATIONS, read_config
from workloads.traces.scheduler_perf_plan import NOT_PLAYED, Plan, make_plan

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tests" / "workloads" / "data" / "scheduler_perf" / "performance-config.yaml"
SHARED = Path(os.environ.get("KUBEDES_SHARED", ROOT.parent / "shared"))


def played(case: str, config: Path = CONFIG, **sets: Any) -> tuple[RunRecord, Plan]:
    values = {"workload.config": str(config), "workload.case": case, "horizon_s": 60}
    scenario = sim.Scenario.load("scheduler-perf", {**values, **sets})
    assert isinstance(scenario.workload, SchedulerPerf)
    return sim.simulate(scenario).record, scenario.workload.plan(".")


@pytest.fixture(scope="module")
def everything() -> tuple[RunRecord, Plan]:
    return played("Everything/4Nodes")


def times(record: RunRecord, plan: Plan, namespace: str, column: str) -> np.ndarray:
    apps = [index for index, app in enumerate(plan.apps) if app.template.namespace == namespace]
    return record.pods[column][np.isin(record.pods["app"], apps)]


# --- reading


def test_a_plan_holds_what_the_file_says() -> None:
    plan = make_plan(read_config(CONFIG), "")
    assert plan.name == "Everything/4Nodes"
    assert [node.name for node in plan.nodes] == ["bench-0", "bench-1", "bench-2", "bench-3"]
    labels = [dict(node.labels) for node in plan.nodes]
    assert [each["topology.kubernetes.io/zone"] for each in labels] == ["east", "west", "east", "west"]
    assert labels[1]["kubernetes.io/hostname"] == "bench-1"
    allocatable = dict(plan.nodes[0].allocatable)
    assert (allocatable["cpu"], allocatable["memory"], allocatable["example.com/device"]) == (4000, 32 << 30, 2)
    assert [(app.template.namespace, app.pods) for app in plan.apps] == [
        ("team-0", 3), ("team-1", 3), ("namespace-5", 1), ("late", 3), ("namespace-9", 40), ("more", 2), ("more", 2),
    ]  # fmt: skip
    assert dict(plan.namespaces)["team-1"] == (("kind", "team"), ("kubernetes.io/metadata.name", "team-1"))
    assert plan.steps == (
        Post((0,), 30), Wait((0,), 3), Post((1,), 30), Wait((1,), 3), Churn((2,), 0.25, 2, True), Post((3,), 30), Sleep(2.5),
        Wait((3,), 3), Post((4,), 30), Wait((4,), 40), Post((5, 6), 30), Wait((5, 6), 4), Delete((3,), 10.0, False),
    )  # fmt: skip
    assert [(each.name, each.posted, each.counted, each.enough) for each in plan.measurements] == [
        ("namespace-9", (4,), (4,), 40),
        ("more", (5, 6), (5, 6), 4),
    ]
    assert {dict(app.template.labels)["number"] for app in plan.apps[5:]} == {"0", "1"}
    assert [each.where.rsplit(".", 1)[-1] for each in plan.left_out] == [
        "SchedulerQueueingHints", "workloadTemplate[2]: Service", "templatePaths[1]: Service",
    ]  # fmt: skip
    assert plan.workload.labels == ("integration-test", "short")


def test_everything_that_cannot_be_played_is_named_at_once() -> None:
    with pytest.raises(InputError) as raised:
        make_plan(read_config(CONFIG), "Unsimulated/small")
    text = str(raised.value)
    for said in (
        "6 problems",
        "workloadTemplate[1].opcode: 'updateAny' cannot be played; objects that change are not simulated",
        "workloadTemplate[2].opcode: 'createPod' is no operation of scheduler_perf; did you mean 'createPods'?",
        "colectMetrics: True is no field of createPods; did you mean 'collectMetrics'?",
        "'createNodes' comes after pods were created",
        "'$many' is no parameter of small; known: spare",
        "params.spare: 1 is used by no operation",
    ):
        assert said in text, said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"opcode": "createPods", "collectMetrics": True, "skipWaitToCompletion": True}, "must not stand beside"),
        ({"opcode": "createPods", "steadyState": True}, "steadyState: True cannot be played"),
        ({"opcode": "createPods", "podTemplatePath": "none.yaml"}, "'none.yaml' is not a file"),
        ({"opcode": "createPods", "podTemplatePath": "templates/node.yaml"}, "must hold Pod, not Node"),
        ({"opcode": "createPods", "count": -1}, "must be a number of at least 0"),
        ({"opcode": "barrier", "stageRequirement": "Bound"}, "must be Scheduled or Attempted"),
        ({"opcode": "barrier", "namespaces": ["tam-0"]}, "is no namespace so far"),
        ({"opcode": "sleep", "duration": "soon"}, "duration: 'soon'"),
        (
            {"opcode": "churn", "mode": "recreate", "templatePaths": ["templates/pod.yaml"]},
            "must be at least 1 in the mode",
        ),
        ({"opcode": "churn", "mode": "often", "templatePaths": []}, "must be create or recreate"),
        ({"opcode": "stopCollectingMetrics"}, "stops what was not started"),
        ({"opcode": "startCollectingMetrics", "namespaces": ["x"]}, "while another collection is not"),
        ({"opcode": "createResourceDriver"}, "dynamic resources are not simulated"),
        ({"opcode": "createAny", "templatePath": "templates/node.yaml"}, "kind: 'Node' cannot be created"),
    ],
)
def test_an_operation_that_makes_no_sense_is_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    operations = [
        {"opcode": "createNodes", "count": 1},
        change,
        {"opcode": "createPods", "count": 1, "collectMetrics": True},
    ]
    content = [{"name": "Case", "workloadTemplate": operations, "workloads": [{"name": "one"}]}]
    (tmp_path / "templates").symlink_to(CONFIG.parent / "templates")
    path = tmp_path / "performance-config.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as raised:
        make_plan(read_config(path), "")
    assert said in str(raised.value)


def test_files_that_are_no_configuration_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "performance-config.yaml"
    for text, said in (
        ("name: x", "must be one list of test cases"),
        ("- {name: A, workloads: [{name: x}, {name: x}]}", "workloadTemplate: None must have at least one entry"),
        ("- {name: A, workloads: [{name: x}, {name: x}]}", "'x' is the name of two workloads"),
        ("- {workloadTemplate: [{}], workloads: [{name: x, threshold: -1}]}", "threshold: -1 must be a number"),
        ("- [", "performance-config.yaml:2:1:"),
    ):
        path.write_text(text)
        with pytest.raises(InputError) as raised:
            read_config(path)
        assert said in str(raised.value), text
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_config(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="did you mean 'Preemption/2Nodes'"):
        read_config(CONFIG).find("Preemption/2Node")


def test_thresholds_may_differ_by_topic(tmp_path: Path) -> None:
    path = tmp_path / "performance-config.yaml"
    path.write_text(
        "- {name: A, workloadTemplate: [{opcode: barrier}], workloads: [{name: x, threshold: {fast: 300, slow: 90}}]}"
    )
    assert read_config(path).cases[0].workloads[0].threshold == 300


def test_templates_are_go_s() -> None:
    values = {"Index": 7, "Count": 10, "step": 2.5, "on": True}
    for text, said in {
        "node-{{.Index}}-of-{{ .Count -}}": "node-7-of-10",
        "{{AddInt .Index 1}} {{Mod .Index 4}} {{DivideInt .Index 2}}": "8 3 3",
        "{{MultiplyInt 2 (AddInt .Index (SubtractInt .Count 3))}}": "28",
        "{{AddFloat .step 1}} {{MultiplyFloat .step 2}}": "3.5 5",
        "{{.on}}": "true",
    }.items():
        assert render(text, values) == said
    for text in (
        "{{range .Index}}",
        "{{.None}}",
        "{{AddInt .Index | printf}}",
        "{{DivideInt 1 0}}",
        "{{AddInt (.Index}}",
    ):
        with pytest.raises(ValueError, match="template"):
            render(text, values)


def test_operations_are_played_or_refused_for_a_reason() -> None:
    assert not OPERATIONS.keys() & NOT_PLAYED.keys()


# --- playing


def test_steps_wait_for_each_other(everything: tuple[RunRecord, Plan]) -> None:
    record, plan = everything
    asked = {
        name: times(record, plan, name, "requested_s").min()
        for name in ("team-0", "team-1", "late", "namespace-9", "more")
    }
    bound = {name: times(record, plan, name, "bound_s").max() for name in asked}
    assert asked["team-0"] == 0
    assert asked["team-1"] >= bound["team-0"]
    assert asked["late"] >= bound["team-1"]
    late = times(record, plan, "late", "created_s").max()
    assert asked["namespace-9"] == pytest.approx(late + 2.5)  # the sleep; by then the barrier is open
    assert asked["more"] >= bound["namespace-9"]
    assert asked["more"] - times(record, plan, "namespace-9", "created_s").max() == pytest.approx(1.0)  # one look


def test_pods_are_posted_thirty_at_a_time(everything: tuple[RunRecord, Plan]) -> None:
    record, plan = everything
    sent, created = (np.sort(times(record, plan, "namespace-9", name)) for name in ("post_sent_s", "created_s"))
    under_way = [int((sent <= at).sum() - (created <= at).sum()) for at in sent]
    assert max(under_way) == 30
    assert np.all(sent[:30] == sent[0])
    assert sent[30] >= created[0]


def test_pods_are_scheduled_and_never_run(everything: tuple[RunRecord, Plan]) -> None:
    record, _ = everything
    assert np.isnan(record.pods["kubelet_seen_s"]).all()
    assert not any(kind.resource == "leases" for kind in record.request_kinds)


def test_deleted_pods_stay_unless_they_have_no_grace_period(everything: tuple[RunRecord, Plan]) -> None:
    record, plan = everything
    asked = np.sort(times(record, plan, "late", "delete_requested_s"))
    assert np.diff(asked) == pytest.approx([0.1, 0.1], abs=1e-9)
    assert set(times(record, plan, "late", "phase").tolist()) == {Phase.SCHEDULED}
    preempting, plan = played("Preemption/2Nodes")
    phases = preempting.pods["phase"].tolist()
    assert phases[8:] == [Phase.SCHEDULED] * 2
    assert sorted(set(phases[:8])) == [Phase.SCHEDULED, Phase.DELETED]


def test_churn_creates_and_deletes_by_turns(everything: tuple[RunRecord, Plan]) -> None:
    record, plan = everything
    asked, gone = (times(record, plan, "namespace-5", name) for name in ("requested_s", "gone_s"))
    begun = times(record, plan, "team-1", "created_s").max()
    assert len(asked) >= 6
    assert (np.isnan(gone)).sum() <= 2
    assert asked.min() > begun
    # Two are created, a quarter of a second apart, then both deleted in the same rhythm.
    assert np.diff(np.sort(asked))[:3] == pytest.approx([0.25, 0.75, 0.25], abs=0.02)
    assert (
        times(record, plan, "namespace-5", "bound_s").size
        == np.isnan(times(record, plan, "namespace-5", "bound_s")).sum()
    )


def test_churn_without_a_number_goes_on_until_the_end(tmp_path: Path) -> None:
    operations = [
        {"opcode": "createNodes", "count": 1},
        {
            "opcode": "churn",
            "mode": "create",
            "templatePaths": ["templates/pod-large.yaml"],
            "intervalMilliseconds": 200,
        },
        {"opcode": "createPods", "count": 1, "collectMetrics": True},
        {"opcode": "sleep", "duration": "3s"},
    ]
    (tmp_path / "templates").symlink_to(CONFIG.parent / "templates")
    (tmp_path / "p.yaml").write_text(
        yaml.safe_dump([{"name": "C", "workloadTemplate": operations, "workloads": [{"name": "w"}]}])
    )
    record, plan = played("C/w", tmp_path / "p.yaml")
    assert 15 <= len(times(record, plan, "namespace-1", "requested_s")) <= 21


# --- answering


def test_items_are_the_benchmarks(everything: tuple[RunRecord, Plan]) -> None:
    record, plan = everything
    assert unfinished(record, plan) == []
    items = data_items(record, plan)
    throughput = next(item for item in items if item.labels["Metric"] == "SchedulingThroughput")
    assert throughput.labels["Name"] == "BenchmarkPerfScheduling/Everything/4Nodes/namespace-9"
    assert throughput.unit == "pods/s"
    assert throughput.data == {
        "Average": 40,
        "Perc50": 40,
        "Perc90": 40,
        "Perc95": 40,
        "Perc99": 40,
        "AverageThreshold": 5,
    }
    binding = next(item for item in items if item.labels["Metric"] == "scheduler_binding_duration_seconds")
    bound = times(record, plan, "namespace-9", "bound_s") - times(record, plan, "namespace-9", "scheduled_s")
    assert binding.data["Average"] == pytest.approx(bound.mean() * 1000)
    attempt = next(item for item in items if item.labels.get("result") == "scheduled")
    assert attempt.unit == "ms"
    data = as_perf_data(items)
    assert data.version == "v1"
    assert PerfData.loads(data.dumps()) == data


def test_metrics_are_those_of_the_version() -> None:
    record, plan = played("Preemption/2Nodes", kubernetes="1.34")
    names = {item.labels["Metric"] for item in data_items(record, plan)}
    assert "scheduler_scheduling_attempt_duration_seconds" in names
    assert "scheduler_e2e_scheduling_duration_seconds" not in names


def test_a_workload_cut_short_says_what_it_waited_for() -> None:
    record, plan = played("Everything/4Nodes", horizon_s=4)
    assert data_items(record, plan) == []
    assert unfinished(record, plan) == [
        "Everything/4Nodes/namespace-9: 0 of 40 pods were scheduled at the end",
        "Everything/4Nodes/more: 0 of 4 pods were scheduled at the end",
    ]
    assert window_of(record, plan.measurements[0]) is None


def test_throughput_is_sampled_as_the_benchmark_does() -> None:
    bound = np.array([0.1, 0.2, 0.9, 1.5, 4.5, 4.6])
    window = Window(0.0, 5.0)
    assert samples_per_s(bound, window, skipping=False).tolist() == [3, 1, 0, 0, 2]
    # Later versions: the first second is not counted, and three seconds share the two pods of the last.
    assert samples_per_s(bound, window, skipping=True).tolist() == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3])
    assert samples_per_s(np.array([0.1]), Window(0.0, 0.5), skipping=False).tolist() == []


def test_quantiles_of_buckets_are_prometheus_own() -> None:
    bounds = (1.0, 2.0, 4.0)
    cumulative = np.array([10, 30, 40, 40])
    assert bucket_quantile(bounds, cumulative, 0.5) == pytest.approx(1.5)
    assert bucket_quantile(bounds, cumulative, 0.125) == pytest.approx(0.5)
    assert bucket_quantile(bounds, cumulative, 0.99) == pytest.approx(2 + 2 * 0.96)
    assert bucket_quantile(bounds, np.array([0, 0, 0, 5]), 0.5) == 4.0


# --- the real file


def test_every_workload_of_1_20_can_be_played() -> None:
    path = SHARED / "data" / "scheduler_perf_1_20" / "performance-config.yaml"
    if not path.is_file():
        pytest.skip(f"the benchmark's files are not there: {path}; set KUBEDES_SHARED")
    config = read_config(path)
    assert len(config.names()) == 31
    assert not config.hosts_are_labelled
    for name in config.names():
        plan = make_plan(config, name)
        assert len(plan.measurements) == 1
        assert len(plan.nodes) == int(plan.workload.params["initNodes"])  # type: ignore[call-overload]
    record, plan = played("TopologySpreading/500Nodes", path, **{"machines.control-plane.cores": 2})
    assert unfinished(record, plan) == []
    assert (
        data_items(record, plan)[0].labels["Name"] == "BenchmarkPerfScheduling/TopologySpreading/500Nodes/namespace-2"
    )


# --- a file of a later version

LATER = """
- name: SchedulingRequiredPodAntiAffinityWithNSSelector
  labels: [performance]
  defaultPodTemplatePath: ../templates/anti-affinity.yaml
  defaultThresholdMetricSelector:
    name: scheduler_scheduling_attempt_duration_seconds
    labels: {result: scheduled}
    dataBucket: Perc99
    expectLower: true
  workloadTemplate:
  - opcode: createNodes
    countParam: $initNodes
  - opcode: churn
    mode: recreate
    number: 1
    templatePaths: [../templates/node.yaml]
    intervalMilliseconds: 1000
  - opcode: createNamespaces
    prefix: init-ns
    countParam: $initNamespaces
    namespaceTemplatePath: ../templates/namespace.yaml
  - opcode: createNamespaces
    prefix: measure-ns
    count: 1
    namespaceTemplatePath: ../templates/namespace.yaml
  - opcode: createPodSets
    countParam: $initNamespaces
    namespacePrefix: init-ns
    createPodsOp:
      opcode: createPods
      countParam: $initPodsPerNamespace
  - opcode: createPods
    countParam: $measurePods
    collectMetrics: true
    namespace: measure-ns-0
  workloads:
  - name: 12Nodes
    threshold: 20
    featureGates: {SchedulerAsyncPreemption: false}
    params: {initNodes: 12, initPodsPerNamespace: 2, initNamespaces: 3, measurePods: 6}
"""
ANTI_AFFINITY = """
apiVersion: v1
kind: Pod
metadata:
  generateName: anti-affinity-
  labels: {color: green}
spec:
  affinity:
    podAntiAffinity:
      requiredDuringSchedulingIgnoredDuringExecution:
      - labelSelector: {matchLabels: {color: green}}
        topologyKey: kubernetes.io/hostname
        namespaceSelector: {matchLabels: {kind: team}}
  containers:
  - name: pause
    image: registry.k8s.io/pause:3.10
    resources: {requests: {cpu: 100m, memory: 500Mi}}
"""


def test_a_later_file_is_played_with_its_namespace_labels_and_its_threshold(tmp_path: Path) -> None:
    (tmp_path / "affinity").mkdir()
    (tmp_path / "templates").mkdir()
    for name in ("node.yaml", "namespace.yaml"):
        (tmp_path / "templates" / name).write_text((CONFIG.parent / "templates" / name).read_text())
    (tmp_path / "templates" / "anti-affinity.yaml").write_text(ANTI_AFFINITY)
    path = tmp_path / "affinity" / "performance-config.yaml"
    path.write_text(LATER)
    record, plan = played("SchedulingRequiredPodAntiAffinityWithNSSelector/12Nodes", path, kubernetes="1.34")
    assert unfinished(record, plan) == []
    nodes = record.pods["node"].tolist()
    assert sorted(nodes) == list(range(12))  # one pod a node, across namespaces
    assert [each.where.rpartition(".")[2] for each in plan.left_out] == ["SchedulerAsyncPreemption", "templatePaths[0]"]
    items = {item.labels["Metric"]: item for item in data_items(record, plan)}
    assert items["scheduler_scheduling_attempt_duration_seconds"].data["Perc99Threshold"] == 20
    assert "AverageThreshold" not in items["scheduler_pod_scheduling_sli_duration_seconds"].data


def test_a_step_waits_for_so_many_pods_of_its_namespace_whoever_asked_for_them(tmp_path: Path) -> None:
    """Pods that never fit do not hold up the benchmark where others of their namespace are enough."""
    operations: list[dict[str, Any]] = [
        {"opcode": "createNodes", "count": 1},
        {"opcode": "createPods", "count": 2, "namespace": "setup"},
        {"opcode": "createPods", "count": 2, "namespace": "setup", "podTemplatePath": "templates/pod-large.yaml"},
        {"opcode": "createPods", "count": 3, "collectMetrics": True},
    ]
    (tmp_path / "templates").symlink_to(CONFIG.parent / "templates")
    path = tmp_path / "p.yaml"
    path.write_text(yaml.safe_dump([{"name": "C", "workloadTemplate": operations, "workloads": [{"name": "w"}]}]))
    record, plan = played("C/w", path)
    assert np.isnan(record.pods["bound_s"][2:4]).all()
    assert unfinished(record, plan) == []
    assert record.pods["requested_s"][4] == record.pods["created_s"][2:4].max()
