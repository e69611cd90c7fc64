"""Bottlenecks on records built so that one thing limits."""

from __future__ import annotations

import numpy as np
import pytest

from sim.result.bottlenecks import LEANS_ON, seconds_text
from sim.result.record import ResourceStat, RunRecord
from sim.result.result import Result
from sim.state.pods import POD_TIMES, STAGES, Phase
from tests.result.synthetic import bare_record, empty_pods

START = {"requested_s"} | {name for stage in STAGES for name in (stage.start, stage.end)}


def walk(durations: dict[str, float], count: int = 100, **changes: object) -> RunRecord:
    """`count` equal pods, a second apart, that spend `durations` in the named stages and nothing elsewhere."""
    pods = empty_pods(count)
    clock = np.arange(count, dtype=np.float64)
    by_end = {stage.end: stage.name for stage in STAGES}
    for column in POD_TIMES:
        if column.name in START:
            clock = clock + durations.get(by_end.get(column.name, ""), 0.0)
            pods[column.name][:] = clock
    pods["phase"][:] = Phase.RUNNING
    pods["attempts"][:] = 1
    return bare_record(pods, **changes)


def stat(name: str, room: str, utilisation: float = 0.1, served: int = 100, mean_wait_s: float = 0.0) -> ResourceStat:
    return ResourceStat(name, room, 1.0, utilisation, utilisation, served, mean_wait_s, 5)


def test_every_stage_leans_on_something() -> None:
    assert set(LEANS_ON) == {stage.name for stage in STAGES}


def test_stages_share_the_whole_time() -> None:
    stages = Result(walk({"image pull": 3.0, "PLEG relist": 1.0})).stages().set_index("stage")
    assert stages.share["image pull"] == pytest.approx(0.75)
    assert stages.share["PLEG relist"] == pytest.approx(0.25)
    assert stages.share.sum() == pytest.approx(1.0)
    assert stages.mean_s["image pull"] == stages.p99_s["image pull"] == pytest.approx(3.0)


def test_the_slowest_hundredth_explains_the_p99() -> None:
    record = walk({"image pull": 1.0})
    late = [column.name for column in POD_TIMES if column.name in START][
        [c.name for c in POD_TIMES if c.name in START].index("pull_ready_s") :
    ]
    for name in late:
        record.pods[name][7] += 9.0
    stages = Result(record).stages().set_index("stage")
    assert stages.slowest_mean_s["image pull"] == pytest.approx(10.0)
    assert stages.mean_s["image pull"] == pytest.approx(1.09)


def test_the_rate_limiter_that_pods_wait_for_comes_before_a_busier_core() -> None:
    resources = [
        stat("control-plane cores", "apiserver", utilisation=0.9, served=1000, mean_wait_s=0.0001),
        stat("scheduler client", "scheduler", utilisation=0.6, mean_wait_s=2.0),
    ]
    result = Result(walk({"bind rate limit": 2.0, "scheduling queue": 2.5, "PLEG relist": 0.5}, resources=resources))
    table = result.bottlenecks()
    assert table.resource.tolist() == ["scheduler client", "control-plane cores"]
    assert table.verdict.tolist() == ["limits", "near its limit"]
    assert table.critical_path_share[1] == pytest.approx(0.4)
    assert table.wait_per_pod_s[1] == pytest.approx(2.0)
    assert table.stage[1] == "bind rate limit"
    assert "What limits is the scheduler client" in result.limits()


def test_waiting_explains_no_more_than_the_stages_that_lean_on_it() -> None:
    """The registry's link kept other transfers waiting for 100 s a pod; the pull itself took 1 s of 4 s."""
    record = walk(
        {"image pull": 1.0, "volumes": 3.0},
        resources=[stat("registry uplink", "images", served=10_000, mean_wait_s=1.0)],
    )
    assert Result(record).bottlenecks().critical_path_share[1] == pytest.approx(0.25)


def test_a_lock_held_by_those_who_wait_for_a_full_link_is_not_the_cause() -> None:
    """Each node pulls one image at a time, and each pull waits for the registry's link: the link comes first."""
    resources = [
        stat("node image pulls", "images", utilisation=0.9, mean_wait_s=30.0),
        stat("registry uplink", "images", utilisation=0.998, mean_wait_s=20.0),
    ]
    result = Result(walk({"image pull": 40.0, "PLEG relist": 1.0}, resources=resources))
    assert result.bottlenecks().resource.tolist() == ["registry uplink", "node image pulls"]
    assert "What limits is the registry uplink" in result.limits()


def test_without_waiting_the_busiest_comes_first() -> None:
    resources = [stat("a", "etcd", 0.2), stat("b", "apiserver", 0.7), stat("c", "kubelet", 0.5)]
    result = Result(walk({"PLEG relist": 1.0}, resources=resources))
    assert result.bottlenecks().resource.tolist() == ["b", "c", "a"]
    assert set(result.bottlenecks().verdict) == {"has room"}
    assert "Nothing is short" in result.limits()


def test_cores_can_explain_any_stage_of_the_control_plane() -> None:
    resources = [
        stat("control-plane cores", "apiserver", 0.95, mean_wait_s=1.0),
        stat("etcd log", "etcd", 0.3, mean_wait_s=1.0),
    ]
    table = Result(walk({"scheduling cycle": 1.0}, resources=resources)).bottlenecks().set_index("resource")
    assert table.critical_path_share["control-plane cores"] == pytest.approx(1.0)
    assert table.critical_path_share["etcd log"] == 0.0


def test_pods_inside_a_stage_at_the_end_are_counted_and_told() -> None:
    record = walk({"bind rate limit": 1.0})
    for column in POD_TIMES[[c.name for c in POD_TIMES].index("bind_sent_s") :]:
        record.pods[column.name][60:] = np.nan
    record.pods["phase"][60:] = Phase.PENDING
    result = Result(record)
    stages = result.stages().set_index("stage")
    assert stages.inside_at_end["bind rate limit"] == 40
    assert stages.inside_at_end.sum() == 40
    assert "40 pods were still in ‘bind rate limit’" in result.limits()


def test_a_pod_without_room_is_in_the_scheduling_queue() -> None:
    record = walk({})
    for column in POD_TIMES[[c.name for c in POD_TIMES].index("scheduled_s") :]:
        record.pods[column.name][0] = np.nan
    record.pods["phase"][0] = Phase.PENDING
    stages = Result(record).stages().set_index("stage")
    assert stages.inside_at_end["scheduling queue"] == stages.inside_at_end.sum() == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (8.5e-5, "85.0 µs"),
        (0.00123, "1.23 ms"),
        (0.9996, "1.00 s"),
        (12.34, "12.3 s"),
        (119.0, "119 s"),
        (600.0, "10.0 min"),
        (float("nan"), "–"),
    ],
)
def test_durations_as_people_say_them(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text
