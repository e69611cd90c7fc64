"""Manifests: plain files, lists and dumps; what is read, what admission adds, and what is refused with which reason."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest

from sim.base.errors import InputError
from sim.state.objects import LabelSelector, Owner
from workloads.manifests import Manifests, Namespace, Quota, load_manifests

SHARED = Path(os.environ.get("KUBEDES_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
TEMPLATES = SHARED / "data" / "scheduler_perf_1_20"

POD = "{containers: [{name: main, image: nginx, resources: {requests: {cpu: 250m, memory: 64Mi}}}]}"
JOB_POD = "{restartPolicy: Never, containers: [{name: main, image: pi}]}"


@pytest.fixture
def read(tmp_path):
    """Reads the text of one file."""

    def read_text(text: str, **options) -> Manifests:
        file = tmp_path / "all.yaml"
        file.write_text(textwrap.dedent(text))
        return load_manifests(file, **options)

    return read_text


def reasons(manifests):
    return [(refused.kind, refused.name, refused.reason) for refused in manifests.refused]


def deployment(name="web", more="", spec=POD, labels="{app: web}"):
    return f"""
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: shop}}
spec:
  replicas: 3
  selector: {{matchLabels: {labels}}}
  template:
    metadata: {{labels: {labels}}}
    spec: {spec}
{more}"""


def job(name, more, status="{}", spec=JOB_POD):
    return f"""
---
apiVersion: batch/v1
kind: Job
metadata: {{name: {name}}}
spec:
  {more}
  template: {{spec: {spec}}}
status: {status}
"""


def test_a_file_of_several_documents(read):
    manifests = read(
        textwrap.dedent(
            """
        # an empty document and a comment are nothing
        ---
        apiVersion: v1
        kind: Node
        metadata: {name: node-1, labels: {zone: a}}
        status: {capacity: {cpu: "4", memory: 8Gi, pods: "110"}}
        ---
        apiVersion: v1
        kind: Namespace
        metadata: {name: shop, labels: {team: red}}
        ---
        apiVersion: v1
        kind: ResourceQuota
        metadata: {name: quota, namespace: shop}
        spec:
          hard: {requests.cpu: "10", cpu: 1500m, limits.memory: 1Gi, pods: "5", count/jobs.batch: 2}
          scopes: [BestEffort]
        ---
        apiVersion: v1
        kind: Service
        metadata: {name: web, namespace: shop}
        spec: {selector: {app: web}, ports: [{port: 80}]}
        ---
        apiVersion: policy/v1
        kind: PodDisruptionBudget
        metadata: {name: web, namespace: shop}
        spec: {minAvailable: 50%, selector: {matchLabels: {app: web}}}
        """
        )
        + deployment()
    )
    assert manifests.refused == ()
    assert (manifests.files, manifests.documents) == (1, 6)
    assert [node.name for node in manifests.nodes] == ["node-1"]
    assert manifests.namespaces == (Namespace("shop", (("kubernetes.io/metadata.name", "shop"), ("team", "red"))),)
    hard = (("count/jobs.batch", 2), ("cpu", 1500), ("limits.memory", 2**30), ("pods", 5), ("requests.cpu", 10_000))
    assert manifests.quotas == (Quota("shop", "quota", hard, ("BestEffort",)),)
    assert manifests.services[0].selector == (("app", "web"),)
    assert manifests.disruption_budgets[0].min_available == "50%"
    assert manifests.disruption_budgets[0].selector == LabelSelector((("app", "web"),))
    (web,) = manifests.applications
    assert (web.kind, web.name, web.namespace, web.replicas, web.parallelism) == ("Deployment", "web", "shop", 3, 3)
    assert web.template.containers[0].requests == (("cpu", 250), ("memory", 64 * 2**20))
    assert "1 nodes, 1 applications of 3 pods, 1 quotas; 0 refused" in manifests.summary()


def test_pods_of_controllers_carry_labels_and_owner(read):
    manifests = read(deployment() + job("pi", "completions: 4"))
    web, pi = manifests.applications
    digest = dict(web.template.labels)["pod-template-hash"]
    assert web.template.owner == Owner("ReplicaSet", f"web-{digest}")
    assert dict(pi.template.labels) == {"job-name": "pi", "batch.kubernetes.io/job-name": "pi"}
    assert pi.template.owner == Owner("Job", "pi")
    other = read(deployment(spec=POD.replace("250m", "300m"))).applications[0]
    assert dict(other.template.labels)["pod-template-hash"] != digest


@pytest.mark.parametrize(
    ("written", "completions", "parallelism"),
    [
        ("completions: 10\n  parallelism: 4", 10, 4),
        ("completions: 3\n  parallelism: 8", 3, 3),
        ("parallelism: 5", 5, 5),
        ("backoffLimit: 2", 1, 1),
        ("completions: 7", 7, 1),
    ],
)
def test_jobs(read, written, completions, parallelism):
    (application,) = read(job("j", written)).applications
    assert (application.replicas, application.parallelism) == (completions, parallelism)


def test_other_controllers(read):
    manifests = read(
        f"""
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: db}}
spec: {{selector: {{matchLabels: {{app: db}}}}, template: {{metadata: {{labels: {{app: db}}}}, spec: {POD}}}}}
---
apiVersion: v1
kind: ReplicationController
metadata: {{name: old}}
spec: {{replicas: 2, template: {{metadata: {{labels: {{app: old}}}}, spec: {POD}}}}}
"""
    )
    assert [(each.kind, each.replicas) for each in manifests.applications] == [
        ("StatefulSet", 1),
        ("ReplicationController", 2),
    ]


DUMP = f"""
apiVersion: v1
kind: List
metadata: {{resourceVersion: ""}}
items:
- apiVersion: apps/v1
  kind: ReplicaSet
  metadata:
    name: web-5d
    namespace: shop
    ownerReferences: [{{apiVersion: apps/v1, kind: Deployment, name: web, uid: d, controller: true}}]
  spec:
    selector: {{matchLabels: {{app: web}}}}
    template: {{metadata: {{labels: {{app: web}}}}, spec: {POD}}}
- apiVersion: v1
  kind: Pod
  metadata:
    name: web-5d-x
    namespace: shop
    creationTimestamp: 2024-05-01T12:00:00Z
    ownerReferences: [{{kind: ReplicaSet, name: web-5d, uid: r, controller: true}}]
    managedFields: []
  spec: {POD}
  status: {{phase: Running}}
- apiVersion: v1
  kind: Pod
  metadata:
    name: agent-1
    creationTimestamp: 2024-05-01T12:00:30Z
    ownerReferences: [{{kind: DaemonSet, name: agent, uid: a, controller: true}}]
  spec: {{nodeName: node-1, containers: [{{name: a, image: b}}]}}
- apiVersion: v1
  kind: Pod
  metadata: {{name: done, creationTimestamp: "2024-05-01T11:00:00Z"}}
  spec: {POD}
  status: {{phase: Succeeded}}
- apiVersion: v1
  kind: Pod
  metadata: {{name: leaving, deletionTimestamp: "2024-05-01T12:00:00Z"}}
  spec: {POD}
- apiVersion: apps/v1
  kind: DaemonSet
  metadata: {{name: agent}}
- apiVersion: apps/v1
  kind: Deployment
  metadata: {{name: web, namespace: shop, creationTimestamp: "2024-05-01T12:00:10Z"}}
  spec:
    selector: {{matchLabels: {{app: web}}}}
    template: {{metadata: {{labels: {{app: web}}}}, spec: {POD}}}
  status: {{replicas: 1}}
"""


def test_a_dump_counts_what_controllers_made_only_once(read):
    manifests = read(DUMP)
    assert manifests.documents == 7
    assert [(each.kind, each.name) for each in manifests.applications] == [("Pod", "agent-1"), ("Deployment", "web")]
    assert manifests.applications[0].template.node_name == "node-1"
    assert manifests.applications[1].source.endswith("all.yaml#1.items[6]")
    assert sorted(reasons(manifests)) == [
        ("DaemonSet", "agent", "spec.template: None must be given"),
        ("Pod", "done", "has ended: its phase is Succeeded"),
        ("Pod", "leaving", "is being deleted"),
        ("Pod", "web-5d-x", "is made by ReplicaSet web-5d, which is read too"),
        ("ReplicaSet", "web-5d", "is made by Deployment web, which is read too"),
    ]
    assert "Pod done: has ended" in manifests.summary()


def test_creation_times_count_from_the_earliest(read):
    manifests = read(DUMP, creation_times=True)
    # web at 12:00:10 is the earliest that is read, agent-1 came 20 s later.
    assert [(each.name, each.created_s) for each in manifests.applications] == [("web", 0.0), ("agent-1", 20.0)]
    broken = read(DUMP.replace("2024-05-01T12:00:10Z", "yesterday"), creation_times=True)
    assert any("creationTimestamp: 'yesterday' must be a time" in reason for _, _, reason in reasons(broken))


def test_what_a_refused_controller_made_is_kept(read):
    # The Deployment is refused, so its ReplicaSet stands for itself; that one makes the pod again.
    head, tail = DUMP.rsplit("{matchLabels: {app: web}}", 1)
    manifests = read(f"{head}{{matchLabels: {{app: other}}}}{tail}")
    assert [each.kind for each in manifests.applications] == ["ReplicaSet", "Pod"]
    assert ("Pod", "web-5d-x", "is made by ReplicaSet web-5d, which is read too") in reasons(manifests)


def test_typed_lists(read):
    manifests = read(
        """
        apiVersion: v1
        kind: NodeList
        items:
        - metadata: {name: a}
          status: {capacity: {cpu: 1}}
        - metadata: {name: a}
        - metadata: {generateName: b-}
        """
    )
    assert [node.name for node in manifests.nodes] == ["a", "b-00001"]
    ((kind, name, reason),) = reasons(manifests)
    assert (kind, name) == ("Node", "a")
    assert reason.startswith("is defined twice: first in ")
    assert reason.endswith("all.yaml#1.items[0]")


PRIORITIES = """
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
preemptionPolicy: Never
---
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: usual}
value: 10
globalDefault: true
"""


def test_priority_classes(read):
    def with_class(name, more=""):
        return POD.replace("{containers", f"{{priorityClassName: {name}{more}, containers", 1)

    manifests = read(
        PRIORITIES
        + deployment(spec=with_class("high"))
        + deployment("plain")
        + deployment("system", spec=with_class("system-node-critical"))
        + deployment("dumped", spec=with_class("high", ", priority: 1000"))
        + deployment("wrong", spec=with_class("high", ", priority: 7"))
        + deployment("unknown", spec=with_class("hihg"))
        + deployment("own", spec=POD.replace("{containers", "{priority: 3, containers", 1))
    )
    priorities = {
        each.name: (each.template.priority, each.template.preemption_policy) for each in manifests.applications
    }
    assert priorities == {
        "web": (1000, "Never"),
        "plain": (10, None),
        "system": (2_000_001_000, None),
        "dumped": (1000, "Never"),
        "own": (3, None),
    }
    wrong, unknown = (reason for _, _, reason in reasons(manifests))
    assert "must be absent or that of priority class high, 1000" in wrong
    assert "'hihg' must name a PriorityClass that is read; did you mean 'high'?" in unknown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("just: text", "is not a Kubernetes object"),
        ("- a\n- b", "is not a Kubernetes object"),
        ("kind: Deploymet\napiVersion: apps/v1", "did you mean 'Deployment'"),
        ("kind: ConfigMap\napiVersion: v1\nmetadata: {name: c}", "does not simulate the kind ConfigMap"),
        ("kind: Deployment\napiVersion: v1", "apiVersion 'v1' is not one of Deployment; write apps/v1"),
        ("kind: Node\napiVersion: v1\nmetadata: {name: A}", "metadata.name: 'A' must be"),
        ("kind: Pod\napiVersion: v1\nmetadata: {name: p}", "at least one container"),
        (
            deployment(labels="{app: web}").replace(
                "selector: {matchLabels: {app: web}}", "selector: {matchLabels: {app: x}}"
            ),
            "match the labels",
        ),
        (
            deployment().replace("selector: {matchLabels: {app: web}}", "paused: false"),
            "spec.selector: None must be given",
        ),
        (deployment().replace("replicas: 3", "replicas: -1"), "spec.replicas: -1 must be at least 0"),
        (
            deployment(spec=POD.replace("{containers", "{restartPolicy: Never, containers", 1)),
            "must be Always in a Deployment",
        ),
        (job("j", "completions: 1", spec=POD), "must be OnFailure or Never in a Job"),
        (job("j", "suspend: true"), "is suspended"),
        (
            job("j", "completions: 1", status="{completionTime: '2024-01-01T00:00:00Z'}"),
            "has ended: it has a completionTime",
        ),
        ("kind: Job\napiVersion: batch/v1\nmetadata: {name: j}\nspec: {}", "spec.template: None must be given"),
        (
            "kind: ResourceQuota\napiVersion: v1\nmetadata: {name: q}\nspec: {hard: {pods: many}}",
            "spec.hard[pods]: 'many' is not a quantity",
        ),
        ("kind: ResourceQuota\napiVersion: v1\nmetadata: {name: q}\nspec: {}", "must limit something"),
        (
            "kind: ResourceQuota\napiVersion: v1\nmetadata: {name: q}\nspec: {hard: {pods: 1}, scopes: [BestEfort]}",
            "did you mean 'BestEffort'",
        ),
        (
            "kind: PodDisruptionBudget\napiVersion: policy/v1\nmetadata: {name: b}\nspec: {minAvailable: 101%}",
            "0% to 100%",
        ),
        (
            "kind: PodDisruptionBudget\napiVersion: policy/v1\nmetadata: {name: b}\n"
            "spec: {minAvailable: 1, maxUnavailable: 1}",
            "must be absent when minAvailable is given",
        ),
        (
            "kind: PriorityClass\napiVersion: scheduling.k8s.io/v1\nmetadata: {name: p}\nvalue: 2000000000",
            "at most 1000000000",
        ),
        ("kind: PriorityClass\napiVersion: scheduling.k8s.io/v1\nmetadata: {name: system-x}\nvalue: 1", "reserved"),
    ],
)
def test_what_is_refused_and_why(read, text, reason):
    manifests = read(text)
    assert manifests.applications == ()
    assert len(manifests.refused) == 1
    assert reason in manifests.refused[0].reason


def test_one_bad_document_does_not_spoil_the_others(read):
    manifests = read(deployment() + deployment("bad", spec="{containers: [{name: X, image: y, ports: [{}]}]}"))
    assert [each.name for each in manifests.applications] == ["web"]
    (refused,) = manifests.refused
    assert (refused.document, refused.kind, refused.name) == (2, "Deployment", "bad")
    assert "template.spec.containers[0].name: 'X'" in refused.reason  # all its problems at once
    assert "template.spec.containers[0].ports[0].containerPort" in refused.reason


def test_folders_and_broken_files(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "web.yml").write_text(deployment())
    (tmp_path / "a.json").write_text('{"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "n"}}')
    (tmp_path / "notes.txt").write_text("kind: [")
    manifests = load_manifests(tmp_path)
    assert manifests.files == 2
    assert [each.name for each in manifests.namespaces] == ["n", "shop"]
    (tmp_path / "broken.yaml").write_text("kind: Pod\n  name: x\n")
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError) as caught:
        load_manifests(tmp_path, tmp_path / "absent.yaml", tmp_path / "empty")
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert any("empty: has no .yaml" in line for line in lines)
    assert any("broken.yaml:2:7: mapping values are not allowed" in line for line in lines)
    assert any("binary.yaml: is not UTF-8 text" in line for line in lines)
    assert any("absent.yaml: cannot be read: No such file" in line for line in lines)


@pytest.mark.skipif(not TEMPLATES.is_dir(), reason="the shared benchmark templates are not here (KUBEDES_SHARED)")
def test_the_templates_of_kubernetes_own_scheduler_benchmark():
    manifests = load_manifests(TEMPLATES)
    pods = list(TEMPLATES.glob("pod-*.yaml"))
    assert len(manifests.applications) == len(pods)
    assert dict(manifests.nodes[0].allocatable) == {"cpu": 4000, "memory": 32 * 2**30, "pods": 110}
    assert {refused.kind for refused in manifests.refused} == {"?", "PersistentVolume", "PersistentVolumeClaim"}


def test_yaml_is_read_as_kubectl_reads_it(read):
    node = "kind: Node\napiVersion: v1\nmetadata: {{name: a, labels: {{x: {}}}}}\nspec: {{unschedulable: {}}}\n"
    (kept,) = read(node.format("2024-05-01", "yes")).nodes  # a date is text, yes is true
    assert kept.unschedulable
    assert kept.labels == (("x", "2024-05-01"),)
    assert "must be a string" in read(node.format("on", "no")).refused[0].reason
    with pytest.raises(InputError, match=r"all\.yaml:2:1: the key 'kind' stands twice"):
        read("kind: Pod\nkind: Node\n")
    with pytest.raises(InputError, match="recursive"):
        read("&a\nkind: List\nitems: [*a]\n")


def test_json_files(tmp_path):
    file = tmp_path / "pods.json"
    file.write_text('{"kind": "NamespaceList", "apiVersion": "v1", "items": [{"metadata": {"name": "a"}}]}')
    assert [each.name for each in load_manifests(file).namespaces] == ["a"]
    file.write_text('{"kind": "Pod",\n "kind": "Node"}')
    with pytest.raises(InputError, match=r"pods\.json: the key 'kind' stands twice"):
        load_manifests(file)
    file.write_text('{"kind":\n ]}')
    with pytest.raises(InputError, match=r"pods\.json:2:2: is not JSON"):
        load_manifests(file)
