"""The scheduler's process with its queue and core: preemption, gangs at the permit point, user plugins, configuration files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.scheduler.framework import PLUGINS, UNSCHEDULABLE, WAIT, Cycle, Plugin, Status
from sim.simulate import simulate
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of

CONFIGURATION = """
apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
profiles:
- schedulerName: default-scheduler
  plugins:
    {point}:
      enabled:
      - name: {name}
        {weight}
"""


@pytest.fixture
def plugin():
    """Registers a plugin for the length of a test."""
    names = []

    def register(name: str, kind: type[Plugin]) -> None:
        PLUGINS.register(name)(kind)
        names.append(name)

    yield register
    for name in names:
        del PLUGINS._entries[name]


def configured(tmp_path: Path, name: str, point: str, weight: str = "", **sets: object):
    path = tmp_path / "scheduler.yaml"
    path.write_text(CONFIGURATION.format(name=name, point=point, weight=weight))
    return exact(scheduler__configuration=str(path), **sets)


def test_preemption_makes_room():
    """A node of 8 CPUs full of priority 0; one pod of priority 100 evicts exactly one, which its ReplicaSet replaces in vain."""
    load = load_of((1.0, AppKind.SERVICE, 8), (10.0, AppKind.POD, 1), cpu_millicores=1000, priority=[0, 100])
    result = simulate(exact(), load, seed=1)
    pods = result.pods
    vip = pods.iloc[8]
    assert vip["phase"] == "Running"
    assert vip["attempts"] == 2  # the first attempt preempts, the second finds the room
    victims = pods[pods["delete_requested_s"].notna()]
    assert len(victims) == 1
    # Decided at the end of its first cycle: 10 s + POST + watch + cycle; the DELETE is sent at once.
    assert victims["delete_requested_s"].iloc[0] == pytest.approx(10.0 + 13.5 * MS + 1.5 * MS + 4 * MS, abs=1e-9)
    # Its room is free only when it is gone from the API server, not when it was asked to go.
    assert vip["scheduled_s"] > victims["gone_s"].iloc[0]
    assert len(pods) == 10, "one replacement row"
    assert pods.iloc[9]["phase"] == "Pending"


def test_a_gang_waits_at_permit(plugin, tmp_path):
    """Four pods of 2 CPUs want to start together: the first three wait, holding their room, until the fourth has its place."""

    class Gang(Plugin):
        def permit(self, cycle: Cycle, row: int) -> Status | None:
            return None if cycle.placements.count >= 4 else Status(WAIT, "waiting for the gang", timeout_s=30)

    plugin("Gang", Gang)
    apps = [(1.0 + i, AppKind.POD, 1) for i in range(4)]
    pods = simulate(configured(tmp_path, "Gang", "permit"), load_of(*apps, cpu_millicores=2000), seed=1).pods
    assert (pods["phase"] == "Running").all()
    assert pods["bind_sent_s"].min() >= pods["scheduled_s"].iloc[3]
    assert pods["bind_sent_s"].max() == pytest.approx(pods["scheduled_s"].iloc[3], abs=1e-9)


def test_a_gang_that_never_fills_gives_its_room_back(plugin, tmp_path):
    """With three members of four the time-out rejects them: nothing is bound, and a pod without a gang finds the room free."""

    class Gang(Plugin):
        def permit(self, cycle: Cycle, row: int) -> Status | None:
            of_gang = dict(cycle.pod.spec.containers[0].requests)["cpu"] == 2000
            return Status(WAIT, "waiting for the gang", timeout_s=5) if of_gang and cycle.placements.count < 4 else None

    plugin("Gang", Gang)
    load = load_of((1.0, AppKind.POD, 3), (20.0, AppKind.POD, 1), cpu_millicores=2000, priority=[0, 1])
    large = tuple(replace(c, requests=(("cpu", 8000),)) for c in load.templates[1].containers)
    load = replace(load, templates=(load.templates[0], replace(load.templates[1], containers=large)))
    scenario = configured(tmp_path, "Gang", "permit", horizon_s=40)
    pods = simulate(scenario, load, seed=1).pods
    assert (pods["phase"].iloc[:3] == "Pending").all()
    assert pods["bound_s"].iloc[:3].isna().all()
    assert pods.iloc[3]["phase"] == "Running"


def test_reserve_refuses_and_frees(plugin, tmp_path):
    """A reserve plugin that refuses a node leaves it free, and the pod pending with the plugin's name as the rejector."""

    class Never(Plugin):
        def reserve(self, cycle: Cycle, row: int) -> Status | None:
            return Status(UNSCHEDULABLE, "no licence left")

    plugin("Never", Never)
    result = simulate(configured(tmp_path, "Never", "reserve", horizon_s=20), load_of((1.0, AppKind.POD, 1)), seed=1)
    assert result.pods.iloc[0]["phase"] == "Pending"
    assert result.nodes["pods"].sum() == 0


def test_a_users_score_decides(plugin, tmp_path):
    """Ten lines of numpy: prefer the node with the highest row, whatever the others say."""

    class LastNode(Plugin):
        def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
            return (100 * rows // max(1, rows.max())).astype(np.int64)

    plugin("LastNode", LastNode)
    scenario = configured(tmp_path, "LastNode", "score", "weight: 1000", nodes__pools__general__count=5)
    pods = simulate(scenario, load_of((1.0, AppKind.POD, 6)), seed=1).pods
    assert set(pods["node"].astype(str)) == {"general-4"}


def test_a_users_queue_order(plugin, tmp_path):
    """A queue-sort plugin that serves the smallest request first; one serial cycle of 4 ms each makes the order visible."""

    class SmallFirst(Plugin):
        def queue_sort(self, pod, entered_s):
            return (dict(pod.spec.containers[0].requests)["cpu"], entered_s)

    plugin("SmallFirst", SmallFirst)
    path = tmp_path / "scheduler.yaml"
    path.write_text(
        CONFIGURATION.format(name="SmallFirst", point="queueSort", weight="").rstrip()
        + "\n      disabled:\n      - name: '*'\n"
    )
    load = load_of((1.0, AppKind.POD, 5), (1.0, AppKind.POD, 5), cpu_millicores=500, priority=[0, 1])
    small = tuple(replace(c, requests=(("cpu", 100),)) for c in load.templates[0].containers)
    load = replace(load, templates=(replace(load.templates[0], containers=small), load.templates[1]))
    pods = simulate(exact(scheduler__configuration=str(path)), load, seed=1).pods
    order = pods.sort_values("popped_s")["cpu_millicores"].tolist()
    # The first to arrive finds an idle scheduler; all the others are ordered, although the large ones have the priority.
    assert order[1:] == sorted(order[1:])


def test_gated_pods_never_enter():
    load = load_of((1.0, AppKind.POD, 1))
    load = replace(load, templates=(replace(load.templates[0], scheduling_gates=("example.com/wait",)),))
    result = simulate(exact(horizon_s=20), load, seed=1)
    pod = result.pods.iloc[0]
    assert pod["phase"] == "Pending"
    assert pod["attempts"] == 0
    assert result.record.reasons == {"held by scheduling gates": 1}


def test_pods_of_another_scheduler_stay():
    load = load_of((1.0, AppKind.POD, 1))
    load = replace(load, templates=(replace(load.templates[0], scheduler_name="gang-scheduler"),))
    result = simulate(exact(horizon_s=20), load, seed=1)
    assert result.record.reasons == {"names the scheduler 'gang-scheduler', which does not run": 1}


def test_an_unknown_plugin_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match="Coscheduling"):
        simulate(configured(tmp_path, "Coscheduling", "permit"), load_of((1.0, AppKind.POD, 1)), seed=1)


def test_replicas_of_a_deployment_spread():
    """One large node and two small ones, all empty. Six bare pods all go where most is left: the large node. Six replicas
    of a Deployment are spread over the hosts by the default constraints of their ReplicaSet's pods."""
    pools = {
        "large": {"count": 1, "allocatable": {"cpu": 64, "memory": "256Gi"}},
        "small": {"count": 2, "allocatable": {"cpu": 8, "memory": "32Gi"}},
    }
    scenario = exact(nodes__pools=pools)
    bare = simulate(scenario, load_of((1.0, AppKind.POD, 6), cpu_millicores=500), seed=1).nodes.set_index("name")[
        "pods"
    ]
    owned = simulate(scenario, load_of((1.0, AppKind.SERVICE, 6), cpu_millicores=500), seed=1).nodes.set_index("name")[
        "pods"
    ]
    assert bare["large-0"] == 6
    assert owned.min() >= 1
    assert owned["large-0"] < 6
