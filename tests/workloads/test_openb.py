"""The openb reader: a small trace of our own by hand, every kind of bad input, and the real one where it is there."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sim.base.errors import InputError, Problems
from sim.base.rand import Streams
from sim.state.objects import Requirement
from sim.workload import AppKind, Load, Setting
from workloads import Openb
from workloads.traces.csv_table import SHOWN

MakeSetting = Callable[..., Setting]
HEADER = "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time"
GOOD = "pod-x,1000,1024,0,0,,LS,Running,0,100,0"
INF = float("inf")


def build(setting: Setting, folder: Path, pods: str = "pods.csv", **fields: Any) -> Load:
    workload = Openb(nodes_csv=str(folder / "nodes.csv"), pods_csv=str(folder / pods), **fields)
    return workload.build(setting, Streams(1))


def column(load: Load, values: np.ndarray) -> dict[str, float]:
    return dict(zip(load.app_name, values.tolist(), strict=True))


def test_times_of_the_small_trace(setting: MakeSetting, data: Path) -> None:
    """Compressed twofold. Recording ends at 1000: pod-early and pod-cpu, deleted then, were still running."""
    load = build(setting(horizon_s=1000.0), data, time_compression=2.0)
    assert (load.rows_read, load.refused, load.pods) == (6, (), 6)
    assert load.app_name == ("pod-early", "pod-done", "pod-failed", "pod-multi", "pod-gave-up", "pod-cpu")
    assert load.app_time_s.tolist() == [0, 50, 100, 150, 175, 250]
    assert load.pod_duration_s.tolist() == [INF, (400 - 150) / 2, (260 - 200) / 2, (900 - 320) / 2, INF, INF]
    assert load.app_end_s.tolist() == [INF, INF, INF, INF, 500 / 2, INF]  # only the one that waited is given up
    assert set(load.app_kind.tolist()) == {AppKind.POD}
    assert load.app_pods.tolist() == [1] * 6


def test_running_pods_may_be_deleted_as_recorded(setting: MakeSetting, data: Path) -> None:
    load = build(setting(horizon_s=1000.0), data, running_pods="deleted", duration_compression=10.0)
    assert column(load, load.app_end_s)["pod-multi"] == 900
    assert column(load, load.pod_duration_s)["pod-multi"] == INF
    assert column(load, load.pod_duration_s)["pod-done"] == 25.0  # its arrival is not compressed, its run time is
    assert column(load, load.app_end_s)["pod-cpu"] == INF  # still running when the recording ended


def test_a_window_of_the_trace(setting: MakeSetting, data: Path) -> None:
    """From 270 on, for 200 s: pod-failed is gone; pod-early, pod-done run on; pod-cpu comes too late."""
    load = build(setting(horizon_s=200.0), data, from_s=270.0)
    assert column(load, load.app_time_s) == {"pod-early": 0, "pod-done": 0, "pod-multi": 30, "pod-gave-up": 80}
    assert column(load, load.pod_duration_s)["pod-done"] == 400 - 270
    assert column(load, load.pod_duration_s)["pod-multi"] == 900 - 320
    assert column(load, load.app_end_s)["pod-gave-up"] == 500 - 270
    assert sorted((refusal.where.rpartition(":")[2], refusal.reason) for refusal in load.refused) == [
        ("4", "was gone before from_s"),
        ("7", "arrives after the horizon"),
    ]


def test_pods_and_nodes_of_the_small_trace(setting: MakeSetting, data: Path) -> None:
    load = build(setting(), data, max_pods_per_node=64)
    spec = {name: load.templates[row] for name, row in zip(load.app_name, load.app_template.tolist(), strict=True)}
    container = spec["pod-done"].containers[0]
    assert container.requests == (("cpu", 8000), ("memory", 30517 * 2**20), ("nvidia.com/gpu", 1))
    assert container.limits == (("nvidia.com/gpu", 1),)  # extended resources: limits equal requests
    assert container.image in ("pause", "web", "worker")
    affinity = spec["pod-done"].affinity
    assert affinity is not None
    assert affinity.node_required is not None
    wanted = Requirement("alibabacloud.com/gpu-card-model", "In", ("P100", "T4"))
    assert affinity.node_required[0].match_expressions == (wanted,)
    assert dict(spec["pod-multi"].containers[0].requests)["nvidia.com/gpu"] == 8
    assert spec["pod-cpu"].affinity is None
    names = ("pod-cpu", "pod-early", "pod-multi", "pod-done")
    assert [spec[name].priority for name in names] == [9000, 9000, 7000, 5000]
    assert spec["pod-done"].labels == (("qos", "BE"),)
    node = load.nodes[1]
    assert dict(node.allocatable) == {"cpu": 96000, "memory": 393216 * 2**20, "nvidia.com/gpu": 8, "pods": 64}
    assert dict(node.labels) == {"alibabacloud.com/gpu-card-model": "G2", "kubernetes.io/hostname": "node-b"}
    assert "nvidia.com/gpu" not in dict(load.nodes[0].allocatable)


def test_shares_of_gpus_counted_in_thousandths(setting: MakeSetting, data: Path) -> None:
    load = build(setting(), data, gpus="milli")
    asked = {
        name: dict(load.templates[row].containers[0].requests).get("alibabacloud.com/gpu-milli", 0)
        for name, row in zip(load.app_name, load.app_template.tolist(), strict=True)
    }
    assert asked == {
        "pod-early": 1000,
        "pod-done": 470,
        "pod-failed": 810,
        "pod-multi": 8000,
        "pod-gave-up": 1000,
        "pod-cpu": 0,
    }
    assert dict(load.nodes[3].allocatable)["alibabacloud.com/gpu-milli"] == 2000


def test_lists_without_times_take_a_rate(setting: MakeSetting, data: Path) -> None:
    load = build(setting(), data, "pods_untimed.csv", untimed_rate_per_s=4.0)
    assert load.app_time_s.tolist() == [0, 0.25, 0.5]
    assert np.all(np.isinf(load.pod_duration_s))
    assert [spec.priority for spec in load.templates] == [0, 0, 0]
    with pytest.raises(InputError, match=r"workload\.untimed_rate_per_s: None must be given"):
        build(setting(), data, "pods_untimed.csv")


def test_a_rate_for_a_list_with_times_is_refused(setting: MakeSetting, data: Path) -> None:
    with pytest.raises(InputError, match=r"untimed_rate_per_s: 1\.0 does nothing: this pod list has times"):
        build(setting(), data, untimed_rate_per_s=1)


def test_the_image_of_a_pod_is_drawn_from_its_own_stream(setting: MakeSetting, data: Path) -> None:
    load = build(setting(), data, image="base")
    assert {spec.containers[0].image for spec in load.templates} == {"base"}
    problems = Problems("scenario")
    Openb(nodes_csv=str(data / "nodes.csv"), pods_csv=str(data / "pods.csv"), image="bass").check(
        setting(), "workload", problems
    )
    assert [str(problem) for problem in problems.found] == [
        "workload.image: 'bass' is no image of the scenario; did you mean 'base'?"
    ]


def faults(setting: Setting, tmp_path: Path, text: str, *, nodes: str | None = None, **fields: Any) -> str:
    """What is said of a pod list (and node list) with this text."""
    (tmp_path / "p.csv").write_text(text)
    (tmp_path / "n.csv").write_text(nodes or "sn,cpu_milli,memory_mib,gpu,model\nn,1,1,0,\n")
    problems = Problems("scenario")
    Openb(nodes_csv="n.csv", pods_csv="p.csv", **fields).check(setting, "workload", problems)
    return "\n".join(str(problem).replace(f"{tmp_path}/", "") for problem in problems.found)


def test_missing_files_say_where_to_get_them(setting: MakeSetting, tmp_path: Path) -> None:
    problems = Problems("scenario")
    Openb().check(setting(base_dir=str(tmp_path)), "workload", problems)
    text = [str(problem) for problem in problems.found]
    assert text[0].startswith("workload.nodes_csv:")
    assert text[1].startswith("workload.pods_csv:")
    assert all("does not exist; the lists are in github.com/alibaba/clusterdata" in line for line in text)


def test_relative_paths_are_those_of_the_scenario(setting: MakeSetting, data: Path) -> None:
    load = Openb(nodes_csv="nodes.csv", pods_csv="pods.csv").build(setting(base_dir=str(data)), Streams(1))
    assert len(load.nodes) == 4


def test_every_bad_cell_is_named_at_once(setting: MakeSetting, tmp_path: Path) -> None:
    text = "\n".join(
        [
            HEADER,
            "pod-a,1000,1024,0,0,,LS,Running,0,100,0",
            "pod-b,12O00,1024,0,0,,LS,Running,0,100,0",
            "pod-c,1000,-5,0,0,,LS,Runing,0,100,0",
            "",
            "pod-d,1000,1024,1.5,0,,LS,Running,,100,0",
            "pod-a,1000,1024,1,1001,,XX,Running,0,100,0",
            "Pod_E,1000,1024,0,0,,LS,Running,0,100",
        ]
    )
    assert faults(setting(base_dir=str(tmp_path)), tmp_path, text).splitlines() == [
        "p.csv:3:2: '12O00' (cpu_milli) must be a number",
        "p.csv:4:3: '-5' (memory_mib) must not be negative",
        "p.csv:4:8: 'Runing' (pod_phase) must be one of Succeeded, Failed, Running, Pending; did you mean 'Running'?",
        "p.csv:6:4: '1.5' (num_gpu) must be a whole number",
        "p.csv:6:9: '' (creation_time) must not be empty",
        "p.csv:7:5: '1001' (gpu_milli) must be at most 1000",
        "p.csv:7:7: 'XX' (qos) must be one of LS, BE, Burstable, Guaranteed; known: BE, Burstable, Guaranteed, LS",
        "p.csv:7:1: 'pod-a' (name) must be unique: line 2 has this name",
        "p.csv:8:10: 'Pod_E,1000,1024,0,0,,LS,Running,0,100' has 10 cells, but the header has 11",
        "p.csv:8:1: 'Pod_E' (name) must be 1 to 253 lower-case letters, digits, '-' or '.', each part starting and "
        "ending with a letter or digit",
    ]


def test_bad_rows_may_be_left_out_and_are_counted(setting: MakeSetting, tmp_path: Path) -> None:
    rows = [HEADER, GOOD, "pod-b,x,y,0,0,,LS,Running,0,100,0", "pod-c,1000,1024,0,0,,LS,Running,1,100,1"]
    assert faults(setting(base_dir=str(tmp_path)), tmp_path, "\n".join(rows), bad_rows="refuse") == ""
    load = Openb(nodes_csv="n.csv", pods_csv="p.csv", bad_rows="refuse").build(
        setting(base_dir=str(tmp_path)), Streams(1)
    )
    assert load.app_name == ("pod-x", "pod-c")
    assert [(refusal.where.rpartition("/")[2], refusal.reason) for refusal in load.refused] == [
        ("p.csv:3:2", "'x' (cpu_milli) must be a number")  # one row, one refusal: its first fault
    ]
    assert load.rows_read == 3


def test_a_long_list_of_faults_is_cut_and_counted(setting: MakeSetting, tmp_path: Path) -> None:
    rows = [HEADER, *(f"pod-{i},x,1024,0,0,,LS,Running,0,100,0" for i in range(SHOWN + 7))]
    lines = faults(setting(base_dir=str(tmp_path)), tmp_path, "\n".join(rows)).splitlines()
    assert len(lines) == SHOWN + 1
    assert lines[-1] == "p.csv: '7 more faults' are not shown, only the first 20 are"


def test_contradictory_rows_are_refused_with_their_reason(setting: MakeSetting, tmp_path: Path) -> None:
    rows = [
        HEADER,
        GOOD,
        "a,1,1,0,0,,LS,Running,50,40,50",
        "b,1,1,0,0,,LS,Running,50,90,40",
        "c,1,1,0,0,,LS,Failed,50,60,70",
        "d,1,1,0,0,,LS,Succeeded,50,60,",
        "e,1,1,0,0,,LS,Failed,50,,50",
        "f,1,1,1,0,,LS,Running,50,60,50",
        "g,1,1,0,500,,LS,Running,50,60,50",
    ]
    assert faults(setting(base_dir=str(tmp_path)), tmp_path, "\n".join(rows)) == ""
    load = Openb(nodes_csv="n.csv", pods_csv="p.csv").build(setting(base_dir=str(tmp_path)), Streams(1))
    assert load.app_name == ("pod-x",)
    found = {refusal.where.split(":", 1)[1]: refusal.reason for refusal in load.refused}
    assert found == {
        "3:10": "was deleted before it was created",
        "4:11": "was scheduled before it was created",
        "5:10": "was deleted before it was scheduled",
        "6:11": "ran, but was never scheduled",
        "7:10": "ended at an unknown time",
        "8:5": "asks for GPUs, but for none of them",
        "9:5": "asks for a share of no GPU",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "p.csv:1: '' must begin with a line of column names; the file is empty"),
        ("name,cpu\n", "p.csv:1: 'cpu_milli' is a column that is missing; the header has: name, cpu"),
        (HEADER.replace("cpu_milli", "cpu_mili"), "'cpu_milli' is a column that is missing; did you mean 'cpu_mili'?"),
        (HEADER.replace("qos,", "") + "\n", "p.csv:1: 'qos' is a column that is missing"),
        (HEADER.replace("num_gpu", "name") + "\n", "p.csv:1:4: 'name' must not be a column twice"),
        (HEADER + '\npod-a,"1', "p.csv:2: 'unexpected end of data' is no row of comma-separated values"),
        (HEADER + "\n" + GOOD.replace(",,", ",T4|-x,"), "'T4|-x' (gpu_spec) each model must be empty or at most 63"),
    ],
)
def test_files_that_are_no_pod_list(setting: MakeSetting, tmp_path: Path, text: str, told: str) -> None:
    assert told in faults(setting(base_dir=str(tmp_path)), tmp_path, text)


def test_a_file_that_is_no_text(setting: MakeSetting, tmp_path: Path) -> None:
    (tmp_path / "p.csv").write_bytes(HEADER.encode() + b"\n\xff\xfe\n")
    (tmp_path / "n.csv").write_text("sn,cpu_milli,memory_mib,gpu,model\nn,1,1,0,\n")
    problems = Problems("scenario")
    Openb(nodes_csv="n.csv", pods_csv="p.csv").check(setting(base_dir=str(tmp_path)), "workload", problems)
    assert "is no UTF-8 text" in str(problems.found[0])


def test_bad_node_lists(setting: MakeSetting, tmp_path: Path) -> None:
    nodes = "sn,cpu_milli,memory_mib,gpu,model\nn,1,1,0,\nn,1,1,1,V 100\nm,x,1,0,\n"
    said = faults(setting(base_dir=str(tmp_path)), tmp_path, f"{HEADER}\n{GOOD}\n", nodes=nodes)
    assert "n.csv:3:1: 'n' (sn) must be unique: line 2 has this name" in said
    assert "n.csv:3:5: 'V 100' (model) must be empty or at most 63" in said
    assert "n.csv:4:2: 'x' (cpu_milli) must be a number" in said


def test_spellings_of_data_frames(setting: MakeSetting, tmp_path: Path) -> None:
    """A byte-order mark, Windows line ends, whole numbers as floats, nan for an empty text, a further column."""
    rows = ["pod-a,1000.0,1024.0,1,500,nan,LS,Running,5.0,100.0,6.0,?", "pod-b,1,1,0,0,,LS,Pending,6.0,nan,nan,", ""]
    text = "\r\n".join(["\ufeff" + HEADER + ",extra", *rows])
    assert faults(setting(base_dir=str(tmp_path)), tmp_path, text) == ""
    load = Openb(nodes_csv="n.csv", pods_csv="p.csv").build(setting(base_dir=str(tmp_path)), Streams(1))
    assert load.templates[0].affinity is None
    assert load.app_time_s.tolist() == [5.0, 6.0]
    assert load.app_end_s.tolist() == [INF, INF]


def test_unsorted_rows_arrive_in_order(setting: MakeSetting, tmp_path: Path) -> None:
    rows = [
        HEADER,
        "late,1,1,0,0,,LS,Failed,9,10,9",
        "early,1,1,0,0,,LS,Failed,3,10,4",
        "middle,1,1,0,0,,BE,Failed,5,10,6",
    ]
    assert faults(setting(base_dir=str(tmp_path)), tmp_path, "\n".join(rows)) == ""
    load = Openb(nodes_csv="n.csv", pods_csv="p.csv").build(setting(base_dir=str(tmp_path)), Streams(1))
    assert load.app_name == ("early", "middle", "late")
    assert load.pod_duration_s.tolist() == [6.0, 4.0, 1.0]
    assert [load.templates[row].priority for row in load.app_template.tolist()] == [9000, 5000, 9000]


def test_the_real_trace(setting: MakeSetting, openb: Path) -> None:
    """Counts of the published files (Alibaba GPU cluster trace 2023): nothing is refused."""
    load = Openb(
        nodes_csv=str(openb / "openb_node_list_all_node.csv"),
        pods_csv=str(openb / "openb_pod_list_default.csv"),
        time_compression=5000.0,
    ).build(setting(horizon_s=2600.0), Streams(7))
    assert (len(load.nodes), load.rows_read, load.pods, load.refused) == (1523, 8152, 8152, ())
    amounts = [dict(node.allocatable) for node in load.nodes]
    assert sum(each.get("nvidia.com/gpu", 0) for each in amounts) == 6212
    assert sum("nvidia.com/gpu" in each for each in amounts) == 1213
    assert sum(each["cpu"] for each in amounts) == 125_514_000
    assert int(np.isfinite(load.app_end_s).sum()) == 897  # the pods that were still pending when their users gave up
    asked = [dict(load.templates[row].containers[0].requests).get("nvidia.com/gpu", 0) for row in load.app_template]
    assert {count: asked.count(count) for count in set(asked)} == {0: 1088, 1: 6989, 2: 16, 4: 15, 8: 44}
    ran = np.isfinite(load.pod_duration_s)
    assert float(np.median(load.pod_duration_s[ran])) * 5000 == pytest.approx(612, abs=5)
