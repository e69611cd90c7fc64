"""Applications of every kind from scenarios and manifests: what arrives, how it is updated, what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.scenario import Scenario
from sim.simulate import simulate
from sim.state.applications import CronJobOptions, DaemonSetOptions, DeploymentOptions, Roll, Scale, StatefulSetOptions
from sim.workload import AppKind, Load
from workloads.kinds.manifests import FromManifests
from workloads.manifests import load_manifests


def built(**streams: dict[str, object]) -> tuple[Scenario, Load]:
    workload = {"type": "synthetic", "streams": streams}
    scenario = Scenario.load("quick").replace({"workload": workload, "horizon_s": 300})
    return scenario, scenario.checked_workload().build(scenario.setting(), Streams(3))


def at(*times_s: float) -> dict[str, object]:
    return {"type": "listed", "times_s": list(times_s)}


def test_all_kinds_side_by_side():
    """A service updated every 100 s and scaled every 80 s to double, a stateful set, a daemon set on 20 nodes, a cron job."""
    scenario, load = built(
        web={
            "arrivals": at(10.0),
            "application": {
                "kind": "service",
                "replicas": 4,
                "update_every_s": 100,
                "scale_every_s": 80,
                "scale_by": 2,
                "max_surge": 1,
            },
        },
        db={"arrivals": at(5.0), "application": {"kind": "stateful-set", "replicas": 3}},
        agent={"arrivals": at(1.0), "application": {"kind": "daemon-set"}},
        report={"arrivals": at(2.0), "application": {"kind": "cron-job", "completions": 2, "duration_s": 5}},
    )
    assert load.app_kind.tolist() == [AppKind.DAEMON_SET, AppKind.CRON_JOB, AppKind.STATEFUL_SET, AppKind.SERVICE]
    assert load.app_pods.tolist() == [20, 10, 3, 4]
    assert load.app_options == {1: CronJobOptions("* * * * *", 2), 3: DeploymentOptions(max_surge=1)}
    assert [(round(change.at_s), change.app) for change in load.changes] == [
        (90, 3),
        (110, 3),
        (170, 3),
        (210, 3),
        (250, 3),
    ]
    rolls = [change.what.template for change in load.changes if isinstance(change.what, Roll)]
    assert len(set(rolls)) == 2
    assert [change.what for change in load.changes if isinstance(change.what, Scale)] == [Scale(8)] * 3
    pods = simulate(scenario, load, seed=3).pods
    alive = pods[pods["phase"] == "Running"]
    web = alive[alive["app"] == 3]
    assert len(web) == 8
    assert (web["template"] == rolls[-1]).all()
    assert len(alive[alive["app"] == 0]) == 20
    assert len(alive[alive["app"] == 2]) == 3
    assert int((pods[pods["app"] == 1]["phase"] == "Succeeded").sum()) >= 8


def test_a_stream_that_is_updated_moves_no_other():
    """Updates draw from streams of their own: arrivals, sizes and durations stay."""
    plain = built(web={"application": {"kind": "service", "replicas": {"dist": "uniform", "low": 1, "high": 9}}})[1]
    updated = built(
        web={
            "application": {
                "kind": "service",
                "replicas": {"dist": "uniform", "low": 1, "high": 9},
                "update_every_s": {"dist": "exponential", "mean": 50},
            }
        }
    )[1]
    assert updated.changes
    assert np.array_equal(plain.app_time_s, updated.app_time_s)
    assert np.array_equal(plain.app_pods, updated.app_pods)


@pytest.mark.parametrize(
    ("application", "says"),
    [
        ({"kind": "cron-job", "schedule": "61 * * * *"}, "minute 61 must be from 0 to 59"),
        ({"kind": "cron-job", "schedule": "0 0 30 2 *"}, "never comes"),
        ({"kind": "service", "max_surge": "110%"}, "a share from 0% to 100%"),
        ({"kind": "daemon-set", "replicas": 3}, "replicas"),
    ],
)
def test_bad_applications_are_refused(application, says):
    with pytest.raises(InputError, match=says):
        built(web={"application": application})


POD = "{containers: [{name: a, image: b, resources: {requests: {cpu: 10m}}}]}"
MANIFESTS = f"""
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 4
  minReadySeconds: 5
  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 2, maxUnavailable: 0%}}}}
  selector: {{matchLabels: {{app: web}}}}
  template: {{metadata: {{labels: {{app: web}}}}, spec: {POD}}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec:
  replicas: 2
  podManagementPolicy: Parallel
  updateStrategy: {{rollingUpdate: {{partition: 1}}}}
  selector: {{matchLabels: {{app: db}}}}
  template: {{metadata: {{labels: {{app: db}}}}, spec: {POD}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: agent}}
spec:
  updateStrategy: {{rollingUpdate: {{maxUnavailable: 10%}}}}
  selector: {{matchLabels: {{app: agent}}}}
  template: {{metadata: {{labels: {{app: agent}}}}, spec: {POD}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {{name: report}}
spec:
  schedule: "*/2 * * * *"
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 30
  jobTemplate:
    spec: {{completions: 3, parallelism: 2, template: {{spec: {{restartPolicy: Never, containers: [{{name: a, image: b}}]}}}}}}
"""


def test_manifests_say_how_they_are_updated(tmp_path: Path):
    (tmp_path / "all.yaml").write_text(MANIFESTS)
    manifests = load_manifests(tmp_path / "all.yaml")
    assert not manifests.refused
    assert {each.kind: each.options for each in manifests.applications} == {
        "Deployment": DeploymentOptions(max_surge=2, max_unavailable="0%", min_ready_s=5),
        "StatefulSet": StatefulSetOptions(parallel=True, partition=1),
        "DaemonSet": DaemonSetOptions(max_unavailable="10%"),
        "CronJob": CronJobOptions("*/2 * * * *", 3, "Forbid", 30),
    }
    scenario = Scenario.load("quick").replace(
        {"horizon_s": 300, "images": dict.fromkeys(Scenario.load("quick").images)}
    )
    load = FromManifests(paths=(str(tmp_path / "all.yaml"),), job_duration_s=5).build(scenario.setting(), Streams(1))
    assert dict(zip(load.app_kind.tolist(), load.app_pods.tolist(), strict=True)) == {
        AppKind.SERVICE: 4,
        AppKind.STATEFUL_SET: 2,
        AppKind.DAEMON_SET: 20,
        AppKind.CRON_JOB: 6,  # at 120 s and 240 s
    }
    pods = simulate(scenario, load, seed=1).pods
    assert pods["phase"].value_counts()[["Running", "Succeeded"]].tolist() == [26, 6]


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('"*/2 * * * *"', '"*/2 * *"', "needs five fields"),
        ("maxSurge: 2", "maxSurge: lots", "must be a number of pods or a share such as 25%"),
        ("podManagementPolicy: Parallel", "podManagementPolicy: Any", "podManagementPolicy"),
        ("restartPolicy: Never, ", "", "must be OnFailure or Never in a CronJob"),
    ],
)
def test_bad_manifests_are_refused_with_the_reason(tmp_path: Path, old: str, new: str, says: str):
    assert old in MANIFESTS
    (tmp_path / "all.yaml").write_text(MANIFESTS.replace(old, new))
    manifests = load_manifests(tmp_path / "all.yaml")
    assert len(manifests.applications) == 3
    (refused,) = manifests.refused
    assert says in refused.reason
