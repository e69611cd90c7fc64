"""Pods that are more than plain, every moment derived from the tiny cluster's constants."""

from __future__ import annotations

import itertools

import pytest

from sim.state.objects import Behaviour, PodSpec, Probe
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.kubelet.bed import CREATE, START, SYNC, container, next_relist, one_pod, times

CRASH = Behaviour(exits_after_s=2.0, exit_code=1)


def runs_of(cluster, container_index=0, until_s=1000.0):
    """Start times of a container's runs."""
    starts = []
    node = cluster.kubelets.node(0)
    while cluster.clock._queue and cluster.clock._queue[0][0] <= until_s:
        cluster.clock.run_until(cluster.clock._queue[0][0])
        life = node.lives.get(0)
        if life is not None:
            run = life.runs[container_index]
            if run.number > len(starts):
                starts.append(run.started_s)
    return starts


def test_a_crash_loop_backs_off():
    """It is started again at once, then 10, 20, 40, ... s after its end at the earliest, up to 300 s.

    The kubelet sees an end at the next relist, and syncs (5 ms). While the wait lasts that sync fails, and the next comes 10 s later
    at a tick of the sync loop, which here has the relist's phase. Creating and starting take 0.1 s.
    """
    cluster, node = one_pod(PodSpec(containers=(container(behaviour=CRASH),), restart_policy="Always"))
    starts = runs_of(cluster, until_s=1500)
    wait_s, at_s = 0.0, starts[0]
    for got in starts[1:]:
        ended_s = at_s + 2.0
        sync_s = next_relist(node, ended_s) + SYNC
        while sync_s < ended_s + wait_s - 1e-9:
            tick_s = sync_s + 10
            tick_s += (node.relist_phase_s - tick_s) % 1.0
            sync_s = tick_s + SYNC
        at_s = sync_s + CREATE + START
        assert got == pytest.approx(at_s, abs=1e-6)
        wait_s = 10.0 if wait_s == 0 else min(2 * wait_s, 300.0)
    assert len(starts) >= 8
    assert wait_s == 300.0
    assert cluster.pods.ids["restarts"][0] == len(starts) - 1
    assert cluster.pods.ids["phase"][0] == Phase.RUNNING  # a crash loop is Running, as in Kubernetes
    assert cluster.pods.times["ready_s"][0] > 0


def test_a_container_that_ran_for_ten_minutes_begins_anew():
    slow = Behaviour(exits_after_s=700.0, exit_code=1)
    cluster, node = one_pod(PodSpec(containers=(container(behaviour=slow),), restart_policy="Always"))
    starts = runs_of(cluster, until_s=5000)
    for before, after in itertools.pairwise(starts):
        assert after == pytest.approx(next_relist(node, before + 700) + SYNC + CREATE + START, abs=1e-6)


@pytest.mark.parametrize(
    ("policy", "code", "phase", "reason"),
    [("Never", 1, Phase.FAILED, "Error"), ("Never", 0, Phase.SUCCEEDED, None), ("OnFailure", 0, Phase.SUCCEEDED, None)],
)
def test_what_ends_for_good(policy, code, phase, reason):
    ends = Behaviour(exits_after_s=3.0, exit_code=code)
    cluster, _ = one_pod(PodSpec(containers=(container(behaviour=ends),), restart_policy=policy))
    cluster.clock.run_until(60)
    assert cluster.pods.ids["phase"][0] == phase
    assert cluster.kubelets.workers.reasons.get(0) == reason
    assert not cluster.kubelets.node(0).lives
    assert cluster.kubelets.node(0).admitted_pods == 0


def test_only_the_first_runs_fail():
    """Two failures under OnFailure, then a sound run that ends at the pod's own run time."""
    cluster, _ = one_pod(
        PodSpec(
            containers=(container(behaviour=Behaviour(exits_after_s=1, exit_code=1, faulty_runs=2)),),
            restart_policy="OnFailure",
        ),
        duration_s=20.0,
    )
    cluster.clock.run_until(120)
    assert cluster.pods.ids["restarts"][0] == 2
    assert cluster.pods.ids["phase"][0] == Phase.SUCCEEDED


def test_init_containers_one_after_the_other_then_a_sidecar_then_the_rest():
    """Each step waits for the relist that sees the one before it done."""
    work = Behaviour(exits_after_s=2.5)
    spec = PodSpec(
        init_containers=(
            container("first", work),
            container("second", work),
            container("proxy", restart_policy="Always"),
        ),
        containers=(container(),),
    )
    cluster, node = one_pod(spec)
    cluster.clock.run_until(30)
    at = times(cluster)
    begun_s = at["sandbox_ready_s"]
    for _ in range(2):
        started_s = begun_s + CREATE + START
        begun_s = next_relist(node, started_s + 2.5) + SYNC
    proxy_s = begun_s + CREATE + START
    begun_s = next_relist(node, proxy_s) + SYNC
    assert at["initialized_s"] == pytest.approx(begun_s, abs=1e-6)
    assert at["containers_started_s"] == pytest.approx(begun_s + CREATE + START, abs=1e-6)
    assert at["observed_s"] == pytest.approx(next_relist(node, at["containers_started_s"]), abs=1e-6)
    assert cluster.pods.ids["phase"][0] == Phase.RUNNING
    assert node.containers == 2


def test_without_the_gate_a_sidecar_is_an_init_container():
    spec = PodSpec(init_containers=(container("proxy", restart_policy="Always"),), containers=(container(),))
    cluster, node = one_pod(spec, **{"kubelet.sidecars": False})
    cluster.clock.run_until(30)
    assert node.containers == 1


def test_an_init_container_that_fails_ends_a_pod_that_is_never_restarted():
    spec = PodSpec(init_containers=(container("first", CRASH),), containers=(container(),), restart_policy="Never")
    cluster, _ = one_pod(spec)
    cluster.clock.run_until(30)
    assert cluster.pods.ids["phase"][0] == Phase.FAILED
    assert cluster.pods.times["containers_started_s"][0] != cluster.pods.times["containers_started_s"][0]


def test_readiness_comes_after_running():
    """It answers 7 s after its start; it is asked every 5 s since the pod came, and once when it is seen to run (1.34)."""
    probe = Probe(period_s=5)
    spec = PodSpec(containers=(container(behaviour=Behaviour(starts_in_s=7.0), readiness_probe=probe),))
    cluster, node = one_pod(spec, **{"kubelet.probe_start_jitter": False, "kubelet.probe_on_sync": True})
    cluster.clock.run_until(60)
    at = times(cluster)
    answers_s = at["containers_started_s"] + 7.0
    added_s = at["sandbox_ready_s"]
    tick_s = added_s + -(-(answers_s - added_s) // 5) * 5
    assert at["observed_s"] == pytest.approx(next_relist(node, at["containers_started_s"]), abs=1e-6)
    assert at["running_s"] < answers_s
    assert tick_s < at["ready_s"] < tick_s + 0.05  # the status update follows at once


def test_a_ready_program_is_found_at_once_where_syncs_probe():
    spec = PodSpec(containers=(container(readiness_probe=Probe(period_s=60)),))
    cluster, _ = one_pod(spec, **{"kubelet.probe_start_jitter": False, "kubelet.probe_on_sync": True})
    cluster.clock.run_until(30)
    at = times(cluster)
    assert at["ready_s"] == pytest.approx(at["running_s"], abs=0.05)


def test_a_hanging_program_is_killed_and_restarted():
    """It hangs 20 s after its start: the third look that gets no answer, plus its time-out, condemns it. SIGTERM, and SIGKILL
    when its grace period of 4 s is over, because it does not stop by itself before; then it is started at once."""
    probe = Probe(period_s=5, failure_threshold=3, timeout_s=2)
    hangs = Behaviour(hangs_after_s=20.0, stops_in_s=100.0, faulty_runs=1)
    spec = PodSpec(
        containers=(container(behaviour=hangs, liveness_probe=probe),), restart_policy="Always", termination_grace_s=4
    )
    cluster, _ = one_pod(spec, **{"kubelet.probe_start_jitter": False})
    starts = runs_of(cluster, until_s=200)
    added_s, hung_s = cluster.pods.times["sandbox_ready_s"][0], starts[0] + 20.0
    first_s = added_s + -(-(hung_s - added_s) // 5) * 5
    condemned_s = first_s + 2 * 5 + 2
    assert starts[1] == pytest.approx(condemned_s + SYNC + 4.0 + CREATE + START, abs=1e-6)
    assert len(starts) == 2


def test_a_slow_starter_is_given_time_by_its_startup_probe():
    """Liveness alone would kill it; the startup probe lets it take its time."""
    liveness = Probe(period_s=2, failure_threshold=2)
    slow = Behaviour(starts_in_s=30.0)
    bare = PodSpec(containers=(container(behaviour=slow, liveness_probe=liveness),), restart_policy="Always")
    given_time = PodSpec(
        containers=(
            container(behaviour=slow, liveness_probe=liveness, startup_probe=Probe(period_s=2, failure_threshold=30)),
        ),
        restart_policy="Always",
    )
    restarts = []
    for spec in (bare, given_time):
        cluster, _ = one_pod(spec)
        cluster.clock.run_until(100)
        restarts.append(cluster.pods.ids["restarts"][0])
    assert restarts[0] > 0
    assert restarts[1] == 0


def test_grace_period():
    """Deleted: the preStop hook (3 s) counts against the grace period of 10 s; SIGTERM; SIGKILL when what is left of it is over."""
    stubborn = Behaviour(stops_in_s=60.0)
    spec = PodSpec(containers=(container(behaviour=stubborn, pre_stop_s=3.0),), termination_grace_s=10)
    cluster, node = one_pod(spec)
    cluster.clock.run_until(20)
    cluster.clock.start(cluster.pod_control.delete(cluster._client("tenant-1"), 0))
    life = node.lives[0]
    marked_s = None
    while cluster.pods.ids["phase"][0] != Phase.DELETED:
        cluster.clock.run_until(cluster.clock._queue[0][0])
        if life.ordered and marked_s is None:
            marked_s = cluster.clock.now
    assert marked_s is not None
    assert cluster.pods.times["killed_s"][0] == pytest.approx(marked_s + 10.0, abs=1e-6)
    assert node.containers == 0
    assert node.sandboxes == 0
    assert node.admitted_pods == 0


@pytest.mark.parametrize("hook_s", [1.0, 9.5, 30.0])
def test_two_seconds_are_left_after_the_hook(hook_s):
    spec = PodSpec(
        containers=(container(behaviour=Behaviour(stops_in_s=60.0), pre_stop_s=hook_s),), termination_grace_s=10
    )
    cluster, node = one_pod(spec)
    cluster.clock.run_until(20)
    cluster.clock.start(cluster.pod_control.delete(cluster._client("tenant-1"), 0))
    life = node.lives[0]
    while not life.ordered:
        cluster.clock.run_until(cluster.clock._queue[0][0])
    marked_s = cluster.clock.now
    cluster.clock.run_until(60)
    hook = min(hook_s, 10.0)
    assert cluster.pods.times["killed_s"][0] == pytest.approx(marked_s + hook + max(10.0 - hook, 2.0), abs=1e-6)


def test_a_post_start_hook_holds_the_worker_up():
    spec = PodSpec(containers=(container("one", post_start_s=4.0), container("two")))
    cluster, node = one_pod(spec)
    cluster.clock.run_until(30)
    at = times(cluster)
    assert at["containers_started_s"] == pytest.approx(at["initialized_s"] + 2 * (CREATE + START) + 4.0, abs=1e-6)
    assert at["observed_s"] == pytest.approx(next_relist(node, at["containers_started_s"]), abs=1e-6)


@pytest.mark.parametrize("at_s", [1.2, 1.5, 1.8, 2.0, 2.4, 3.0, 5.0, 8.0, 12.0])
def test_deleted_at_any_moment(at_s):
    spec = PodSpec(
        init_containers=(container("init", Behaviour(exits_after_s=1.0)),),
        containers=(container(behaviour=CRASH, readiness_probe=Probe(period_s=1)),),
        restart_policy="Always",
    )
    cluster, node = one_pod(spec, kind=AppKind.POD, end_s=at_s)
    cluster.clock.run_until(100)
    assert cluster.pods.ids["phase"][0] == Phase.DELETED
    assert (node.containers, node.sandboxes, node.admitted_pods, len(node.lives)) == (0, 0, 0, 0)


def test_out_of_memory_kills_the_container():
    """100 MB a second from nothing under a limit of 500 MB: killed after 5 s, every time."""
    leak = Behaviour(memory_bytes=((0.0, 0.0), (100.0, 1e10)))
    spec = PodSpec(containers=(container(behaviour=leak, limits=(("memory", 500_000_000),)),), restart_policy="Always")
    cluster, node = one_pod(spec)
    starts = runs_of(cluster, until_s=20)
    assert starts[1] == pytest.approx(next_relist(node, starts[0] + 5.0) + SYNC + CREATE + START, abs=1e-6)
