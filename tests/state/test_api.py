"""v1 objects: defaults as the API server fills them in, and its rules, each with the path of what breaks it."""

from __future__ import annotations

import copy

import pytest

from sim.base.errors import Problems
from sim.state.api import (
    base_units,
    check_unique_nodes,
    label_selector_from_v1,
    node_from_v1,
    node_spec_from_fields,
    pod_from_v1,
    pod_spec_from_fields,
    template_from_v1,
)
from sim.state.objects import (
    Affinity,
    ContainerPort,
    LabelSelector,
    NodeImage,
    NodeSelectorTerm,
    NodeSpec,
    Owner,
    PodAffinityTerm,
    PodSpec,
    Requirement,
    Taint,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
)

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def pod(**spec):
    """A minimal v1 Pod with more fields in its spec."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"containers": [{"name": "main", "image": "nginx"}], **spec},
    }


def container(**fields):
    return {"name": "main", "image": "nginx", **fields}


def read(doc, **options):
    """(spec, problems as text) of a pod."""
    problems = Problems("test")
    _, spec = pod_from_v1(doc, "pod", problems, **options)
    return spec, [str(problem) for problem in problems.found]


def read_well(doc):
    spec, problems = read(doc)
    assert problems == []
    return spec


def test_a_minimal_pod_gets_the_servers_defaults():
    problems = Problems("test")
    name, spec = pod_from_v1(pod(), "pod", problems)
    assert not problems
    assert name == "web"
    assert (spec.namespace, spec.scheduler_name, spec.termination_grace_s, spec.priority) == (
        "default",
        "default-scheduler",
        30,
        0,
    )
    assert spec.affinity is None
    assert spec.labels == (("app", "web"),)


def test_missing_requests_come_from_limits_and_given_ones_stay():
    resources = {"limits": {"cpu": "2", "memory": "1Gi"}, "requests": {"cpu": "500m"}}
    spec = read_well(pod(containers=[container(resources=resources)]))
    assert spec.containers[0].requests == (("cpu", 500), ("memory", 2**30))
    assert spec.containers[0].limits == (("cpu", 2000), ("memory", 2**30))


def test_an_explicit_zero_request_is_not_replaced():
    spec = read_well(pod(containers=[container(resources={"limits": {"cpu": 1}, "requests": {"cpu": 0}})]))
    assert dict(spec.containers[0].requests) == {"cpu": 0}


def test_pod_level_requests_default_from_containers_then_from_limits():
    # cpu: the containers ask for 300m together, so the pod does; memory: nobody asks, so the pod's own limit counts.
    containers = [
        container(resources={"requests": {"cpu": "100m"}}),
        container(name="b", resources={"requests": {"cpu": "200m"}}),
    ]
    limits = {"cpu": "1", "memory": "1Gi"}
    spec = read_well(pod(containers=containers, resources={"limits": limits}))
    assert spec.pod_requests == (("cpu", 300), ("memory", 2**30))


def test_without_pod_level_limits_nothing_is_added_to_pod_level_requests():
    containers = [container(resources={"requests": {"cpu": "100m", "memory": "1Mi"}})]
    spec = read_well(pod(containers=containers, resources={"requests": {"cpu": "1"}}))
    assert spec.pod_requests == (("cpu", 1000),)


def test_pod_level_requests_count_sidecars_and_the_largest_init_step():
    # Start: the sidecar's 100m runs beside init's 500m = 600m. Running: 100m + 200m = 300m. The larger is 600m.
    inits = [
        container(name="proxy", restartPolicy="Always", resources={"requests": {"cpu": "100m"}}),
        container(name="setup", resources={"requests": {"cpu": "500m"}}),
    ]
    containers = [container(resources={"requests": {"cpu": "200m"}})]
    spec = read_well(pod(containers=containers, initContainers=inits, resources={"limits": {"cpu": "1"}}))
    assert spec.pod_requests == (("cpu", 600),)
    assert spec.init_containers[0].restart_policy == "Always"


def test_ports():
    ports = [{"containerPort": 80}, {"containerPort": 53, "hostPort": 5353, "protocol": "UDP", "hostIP": "10.0.0.1"}]
    assert read_well(pod(containers=[container(ports=ports)])).containers[0].ports == (
        ContainerPort(0, 80, "TCP", ""),
        ContainerPort(5353, 53, "UDP", "10.0.0.1"),
    )
    on_host = read_well(pod(hostNetwork=True, containers=[container(ports=[{"containerPort": 80}])]))
    assert on_host.containers[0].ports == (ContainerPort(80, 80, "TCP", ""),)


def test_an_absent_selector_is_not_an_empty_one():
    terms = [{"topologyKey": "zone"}, {"topologyKey": "zone", "labelSelector": {}, "namespaceSelector": {}}]
    spec = read_well(pod(affinity={"podAffinity": {REQUIRED: terms}}))
    assert spec.affinity == Affinity(
        pod_required=(
            PodAffinityTerm("zone", None, (), None),
            PodAffinityTerm("zone", LabelSelector(), (), LabelSelector()),
        )
    )
    assert label_selector_from_v1(None, "s", Problems("s")) is None


def test_node_affinity_keeps_absent_apart_from_empty():
    assert read_well(pod(affinity={})).affinity == Affinity()
    term = {
        "matchExpressions": [
            {"key": "zone", "operator": "In", "values": ["a", "b"]},
            {"key": "ssd", "operator": "Exists"},
        ]
    }
    fields = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    node_affinity = {
        REQUIRED: {"nodeSelectorTerms": [term, fields]},
        PREFERRED: [
            {"weight": 5, "preference": {"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["-3"]}]}}
        ],
    }
    spec = read_well(pod(affinity={"nodeAffinity": node_affinity}))
    assert spec.affinity.node_required == (
        NodeSelectorTerm((Requirement("zone", "In", ("a", "b")), Requirement("ssd", "Exists", ()))),
        NodeSelectorTerm((), (Requirement("metadata.name", "In", ("node-1",)),)),
    )
    assert spec.affinity.node_preferred[0].weight == 5


def test_match_label_keys_of_pod_affinity_are_merged_once():
    term = {
        "topologyKey": "zone",
        "labelSelector": {"matchLabels": {"app": "web"}},
        "matchLabelKeys": ["app", "absent"],
        "mismatchLabelKeys": ["tenant"],
    }
    doc = pod(affinity={"podAntiAffinity": {PREFERRED: [{"weight": 100, "podAffinityTerm": term}]}})
    doc["metadata"]["labels"]["tenant"] = "t1"
    selector = LabelSelector(
        (("app", "web"),), (Requirement("app", "In", ("web",)), Requirement("tenant", "NotIn", ("t1",)))
    )
    expected = (WeightedPodAffinityTerm(100, PodAffinityTerm("zone", selector)),)
    assert read_well(doc).affinity.anti_preferred == expected
    # As a dump of the server's answer holds it: already merged, so nothing is added.
    term["labelSelector"]["matchExpressions"] = [{"key": "app", "operator": "In", "values": ["web"]}]
    term["labelSelector"]["matchExpressions"] += [{"key": "tenant", "operator": "NotIn", "values": ["t1"]}]
    assert read_well(doc).affinity.anti_preferred == expected


def test_tolerations_and_spread_constraints():
    spec = read_well(
        pod(
            tolerations=[
                {"operator": "Exists"},
                {"key": "gpu", "value": "yes", "effect": "NoSchedule"},
                {
                    "key": "node.kubernetes.io/not-ready",
                    "operator": "Exists",
                    "effect": "NoExecute",
                    "tolerationSeconds": 300,
                },
            ],
            topologySpreadConstraints=[
                {"maxSkew": 2, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "minDomains": 3},
                {
                    "maxSkew": 1,
                    "topologyKey": "zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "nodeTaintsPolicy": "Honor",
                },
            ],
        )
    )
    assert spec.tolerations == (
        Toleration("", "Exists"),
        Toleration("gpu", "Equal", "yes", "NoSchedule"),
        Toleration("node.kubernetes.io/not-ready", "Exists", "", "NoExecute", 300),
    )
    assert spec.topology_spread_constraints == (
        TopologySpreadConstraint(2, "zone", "DoNotSchedule", None, 3),
        TopologySpreadConstraint(1, "zone", "ScheduleAnyway", node_taints_policy="Honor"),
    )


def test_owner_gates_and_overhead():
    doc = pod(schedulingGates=[{"name": "example.com/wait"}], overhead={"cpu": "50m"})
    doc["metadata"]["ownerReferences"] = [
        {"kind": "Node", "name": "n", "uid": "1"},
        {"kind": "ReplicaSet", "name": "web-1", "uid": "2", "controller": True},
    ]
    spec = read_well(doc)
    assert spec.owner == Owner("ReplicaSet", "web-1", "2")
    assert spec.scheduling_gates == ("example.com/wait",)
    assert spec.overhead == (("cpu", 50),)


def test_fields_that_scheduling_does_not_look_at_are_accepted():
    doc = pod(volumes=[{"name": "data", "emptyDir": {}}], serviceAccountName="robot")
    doc["spec"]["containers"][0] |= {"env": [{"name": "A", "value": "b"}]}
    doc["status"] = {"phase": "Pending"}
    assert read_well(doc) == read_well(pod())


def requests(**amounts):
    return {"containers": [container(resources={"requests": amounts})]}


BAD_PODS = {
    # what is wrong: (spec fields, path, rule)
    "negative request": (requests(cpu="-1"), "spec.containers[0].resources.requests[cpu]", "negative"),
    "unreadable amount": (requests(memory="1 Gi"), "spec.containers[0].resources.requests[memory]", "not a quantity"),
    "request over limit": (
        {"containers": [container(resources={"requests": {"cpu": 2}, "limits": {"cpu": "1500m"}})]},
        "spec.containers[0].resources.requests[cpu]",
        "at most the limit of 1500m",
    ),
    "fraction of a GPU": (
        {"containers": [container(resources={"limits": {"nvidia.com/gpu": "500m"}})]},
        "spec.containers[0].resources.limits[nvidia.com/gpu]",
        "whole number",
    ),
    "GPU request without limit": (
        requests(**{"nvidia.com/gpu": 1}),
        "spec.containers[0].resources.limits[nvidia.com/gpu]",
        "must be given",
    ),
    "GPU request below limit": (
        {"containers": [container(resources={"requests": {"a.b/c": 1}, "limits": {"a.b/c": 2}})]},
        "spec.containers[0].resources.requests[a.b/c]",
        "must equal the limit",
    ),
    "unknown resource": (
        requests(memroy="1Gi"),
        "spec.containers[0].resources.requests[memroy]",
        "did you mean 'memory'",
    ),
    "huge pages alone": (
        {"containers": [container(resources={"limits": {"hugepages-2Mi": "4Mi"}})]},
        "spec.containers[0].resources",
        "cpu or memory",
    ),
    "no containers": ({"containers": []}, "spec.containers", "at least one container"),
    "no image": ({"containers": [{"name": "a"}]}, "spec.containers[0].image", "must be given"),
    "bad container name": ({"containers": [container(name="A_b")]}, "spec.containers[0].name", "lower-case"),
    "same name twice": (
        {"containers": [container()], "initContainers": [container()]},
        "spec.initContainers[0].name",
        "unique",
    ),
    "sidecar policy": (
        {"initContainers": [container(name="i", restartPolicy="Never")]},
        "spec.initContainers[0].restartPolicy",
        "must be Always",
    ),
    "host port range": (
        {"containers": [container(ports=[{"containerPort": 80, "hostPort": 65536}])]},
        "spec.containers[0].ports[0].hostPort",
        "at most 65535",
    ),
    "container port missing": (
        {"containers": [container(ports=[{}])]},
        "spec.containers[0].ports[0].containerPort",
        "1 to 65535",
    ),
    "bad protocol": (
        {"containers": [container(ports=[{"containerPort": 80, "protocol": "tcp"}])]},
        "spec.containers[0].ports[0].protocol",
        "did you mean 'TCP'",
    ),
    "host port taken twice": (
        {"containers": [container(ports=[{"containerPort": 1, "hostPort": 9}, {"containerPort": 2, "hostPort": 9}])]},
        "spec.containers[0].ports[1].hostPort",
        "unique",
    ),
    "bad host address": (
        {"containers": [container(ports=[{"containerPort": 80, "hostPort": 80, "hostIP": "10.0.0.300"}])]},
        "spec.containers[0].ports[0].hostIP",
        "IP address",
    ),
    "toleration operator": (
        {"tolerations": [{"key": "a", "operator": "Equals"}]},
        "spec.tolerations[0].operator",
        "did you mean 'Equal'",
    ),
    "toleration effect": (
        {"tolerations": [{"key": "a", "effect": "NoSchedul"}]},
        "spec.tolerations[0].effect",
        "did you mean 'NoSchedule'",
    ),
    "toleration without key": ({"tolerations": [{"value": "x"}]}, "spec.tolerations[0].operator", "Exists"),
    "toleration value with Exists": (
        {"tolerations": [{"key": "a", "operator": "Exists", "value": "x"}]},
        "spec.tolerations[0].value",
        "must be empty",
    ),
    "toleration seconds": (
        {"tolerations": [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 5}]},
        "spec.tolerations[0].effect",
        "NoExecute",
    ),
    "label value": ({"nodeSelector": {"zone": "a b"}}, "spec.nodeSelector[zone]", "at most 63"),
    "label value that is no text": ({"nodeSelector": {"zone": 1}}, "spec.nodeSelector[zone]", "quotes"),
    "label key": ({"nodeSelector": {"-zone": "a"}}, "spec.nodeSelector[-zone]", "name of 1 to 63"),
    "skew": (
        {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]},
        "spec.topologySpreadConstraints[0].maxSkew",
        "at least 1",
    ),
    "same constraint twice": (
        {
            "topologySpreadConstraints": [
                {"maxSkew": n, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"} for n in (1, 2)
            ]
        },
        "spec.topologySpreadConstraints[1]",
        "unique",
    ),
    "minDomains without DoNotSchedule": (
        {
            "topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2}
            ]
        },
        "spec.topologySpreadConstraints[0].minDomains",
        "DoNotSchedule",
    ),
    "no node selector terms": (
        {"affinity": {"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": []}}}},
        f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms",
        "at least one",
    ),
    "Gt of no integer": (
        {
            "affinity": {
                "nodeAffinity": {
                    REQUIRED: {
                        "nodeSelectorTerms": [{"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["3.5"]}]}]
                    }
                }
            }
        },
        f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].values",
        "one integer",
    ),
    "operator": (
        {
            "affinity": {
                "nodeAffinity": {
                    REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [{"key": "n", "operator": "Exist"}]}]}
                }
            }
        },
        f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].operator",
        "did you mean 'Exists'",
    ),
    "field": (
        {
            "affinity": {
                "nodeAffinity": {
                    REQUIRED: {
                        "nodeSelectorTerms": [{"matchFields": [{"key": "spec.x", "operator": "In", "values": ["a"]}]}]
                    }
                }
            }
        },
        f"spec.affinity.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchFields[0].key",
        "metadata.name",
    ),
    "weight": (
        {"affinity": {"podAffinity": {PREFERRED: [{"weight": 101, "podAffinityTerm": {"topologyKey": "z"}}]}}},
        f"spec.affinity.podAffinity.{PREFERRED}[0].weight",
        "at most 100",
    ),
    "no weight": (
        {"affinity": {"podAffinity": {PREFERRED: [{"podAffinityTerm": {"topologyKey": "z"}}]}}},
        f"spec.affinity.podAffinity.{PREFERRED}[0].weight",
        "1 to 100",
    ),
    "no topology key": (
        {"affinity": {"podAntiAffinity": {REQUIRED: [{"labelSelector": {}}]}}},
        f"spec.affinity.podAntiAffinity.{REQUIRED}[0].topologyKey",
        "must be given",
    ),
    "Gt in a label selector": (
        {
            "affinity": {
                "podAffinity": {
                    REQUIRED: [
                        {
                            "topologyKey": "z",
                            "labelSelector": {"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["1"]}]},
                        }
                    ]
                }
            }
        },
        f"spec.affinity.podAffinity.{REQUIRED}[0].labelSelector.matchExpressions[0].operator",
        "must be one of In",
    ),
    "gates on a placed pod": (
        {"schedulingGates": [{"name": "a"}], "nodeName": "n"},
        "spec.nodeName",
        "scheduling gates",
    ),
    "priority too large": ({"priority": 2**31}, "spec.priority", "at most"),
    "preemption policy": ({"preemptionPolicy": "never"}, "spec.preemptionPolicy", "did you mean 'Never'"),
    "misspelt field": ({"affinty": {}}, "spec.affinty", "did you mean 'affinity'"),
    "pod-level request below its containers": (
        {**requests(cpu=2), "resources": {"requests": {"cpu": 1}}},
        "spec.resources.requests[cpu]",
        "at least the containers' requests together, 2",
    ),
    "pod-level limit below a container's": (
        {"containers": [container(resources={"limits": {"cpu": 2}})], "resources": {"limits": {"cpu": 1}}},
        "spec.resources.limits[cpu]",
        "at least the limit of container main",
    ),
    "pod-level GPU": (
        {"resources": {"limits": {"nvidia.com/gpu": 1}}},
        "spec.resources.limits[nvidia.com/gpu]",
        "must be cpu, memory or huge pages",
    ),
    "a list where an object belongs": ({"affinity": []}, "spec.affinity", "must be an object"),
}


@pytest.mark.parametrize("case", BAD_PODS)
def test_what_the_api_server_refuses(case):
    fields, path, rule = BAD_PODS[case]
    _, problems = read(pod(**fields))
    assert [text for text in problems if text.startswith(f"pod.{path}: ") and rule in text], problems


def test_all_problems_come_at_once_and_the_rest_is_still_read():
    doc = pod(priority="high", tolerations=[{"effect": "Never"}], nodeSelector={"zone": "a"})
    doc["metadata"]["name"] = "Web"
    spec, problems = read(doc)
    assert len(problems) == 4  # name, priority, the toleration's effect and its missing key
    assert spec.node_selector == (("zone", "a"),)


def test_documents_are_not_changed():
    doc = pod(containers=[container(resources={"limits": {"cpu": 1}})], resources={"limits": {"cpu": 1}})
    before = copy.deepcopy(doc)
    read(doc)
    assert doc == before


def test_what_is_no_pod_at_all():
    for doc in (None, [], "pod", {"spec": 3}, {"metadata": []}):
        _, problems = read(doc)
        assert problems


def test_flat_fields_with_integers_and_without_validation():
    # -5 millicores and Gt on text would both be refused; here they are kept as they stand.
    fields = {
        "name": "p",
        "labels": {"app": "x"},
        "node": 3,
        "containers": [{"requests": {"cpu": -5}, "ports": [{"hostPort": 80}]}],
        "podRequests": {"cpu": 250},
        "owner": {"kind": "ReplicaSet", "name": "rs"},
        "affinity": {
            "nodeAffinity": {
                REQUIRED: {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "n", "operator": "Gt", "values": ["a"]}]}]
                }
            }
        },
    }
    problems = Problems("test")
    spec = pod_spec_from_fields(fields, "p", problems, amounts=base_units, validate=False)
    assert not problems
    assert isinstance(spec, PodSpec)
    assert spec.containers[0].requests == (("cpu", -5),)
    assert spec.containers[0].ports == (ContainerPort(80, 0, "TCP", ""),)
    assert spec.pod_requests == (("cpu", 250),)
    assert spec.owner == Owner("ReplicaSet", "rs")
    assert spec.affinity.node_required[0].match_expressions[0].values == ("a",)
    pod_spec_from_fields(
        {"containers": [{"requests": {"cpu": "1"}}]}, "p", problems, amounts=base_units, validate=False
    )
    assert [str(problem) for problem in problems.found] == [
        "p.containers[0].requests[cpu]: '1' must be an integer in base units of cpu"
    ]


def test_a_template_takes_its_namespace_and_owner_from_the_controller():
    problems = Problems("test")
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod()["spec"]}
    spec = template_from_v1(template, "shop", Owner("Job", "pi"), "job.spec.template", problems)
    assert not problems
    assert (spec.namespace, spec.owner, spec.labels) == ("shop", Owner("Job", "pi"), (("a", "b"),))


NODE = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"name": "node-1", "labels": {"topology.kubernetes.io/zone": "a"}},
    "spec": {"taints": [{"key": "gpu", "value": "yes", "effect": "NoSchedule"}], "podCIDR": "10.0.0.0/24"},
    "status": {
        "capacity": {"cpu": "8", "memory": "16Gi", "pods": "110", "nvidia.com/gpu": "2"},
        "images": [{"names": ["nginx:1"], "sizeBytes": 1000}],
        "conditions": [{"type": "Ready", "status": "True"}],
    },
}


def read_node(**changes):
    doc = copy.deepcopy(NODE)
    for path, value in changes.items():
        part, key = path.split("__", 1)
        doc[part][key] = value
    problems = Problems("test")
    return node_from_v1(doc, "node", problems), [str(problem) for problem in problems.found]


def test_a_node():
    node, problems = read_node()
    assert problems == []
    assert node == NodeSpec(
        "node-1",
        (("topology.kubernetes.io/zone", "a"),),
        (Taint("gpu", "yes", "NoSchedule"),),
        allocatable=(("cpu", 8000), ("memory", 2**34), ("nvidia.com/gpu", 2), ("pods", 110)),
        images=(NodeImage(("nginx:1",), 1000),),
    )
    assert read_node(status__allocatable={"cpu": "7900m"})[0].allocatable == (("cpu", 7900),)
    assert read_node(spec__unschedulable=True)[0].unschedulable


def test_the_annotation_of_pods_to_avoid():
    key = "scheduler.alpha.kubernetes.io/preferAvoidPods"
    text = '{"preferAvoidPods":[{"podSignature":{"podController":{"kind":"ReplicaSet","name":"rs","uid":"u"}}}]}'
    assert read_node(metadata__annotations={key: text})[0].prefer_avoid_pods == (Owner("ReplicaSet", "rs", "u"),)
    assert "must be JSON" in read_node(metadata__annotations={key: "{"})[1][0]


@pytest.mark.parametrize(
    ("changes", "path", "rule"),
    [
        ({"spec__taints": [{"key": "a", "effect": "NoSched"}]}, "spec.taints[0].effect", "did you mean 'NoSchedule'"),
        ({"spec__taints": [{"key": "a"}]}, "spec.taints[0].effect", "must be one of"),
        ({"spec__taints": [{"key": "", "effect": "NoExecute"}]}, "spec.taints[0].key", "name of 1 to 63"),
        (
            {"spec__taints": [{"key": "a", "effect": "NoExecute", "value": str(i)} for i in range(2)]},
            "spec.taints[1]",
            "unique",
        ),
        ({"status__capacity": {"pods": "1.5"}}, "status.capacity[pods]", "whole number"),
        ({"status__capacity": {"cpu": "-1"}}, "status.capacity[cpu]", "negative"),
        ({"metadata__name": "Node_1"}, "metadata.name", "lower-case"),
        ({"metadata__labels": {"a/b/c": "x"}}, "metadata.labels[a/b/c]", "DNS subdomain"),
        ({"spec__unschedulable": "yes"}, "spec.unschedulable", "true or false"),
        ({"spec__taint": []}, "spec.taint", "did you mean 'taints'"),
    ],
)
def test_nodes_that_the_api_server_refuses(changes, path, rule):
    _, problems = read_node(**changes)
    assert [text for text in problems if text.startswith(f"node.{path}: ") and rule in text], problems


def test_flat_nodes_and_duplicate_names():
    problems = Problems("test")
    fields = {
        "name": "a",
        "allocatable": {"cpu": 4000, "pods": 10},
        "preferAvoidPods": [{"kind": "ReplicaSet", "uid": "1"}],
    }
    node = node_spec_from_fields(fields, "nodes[0]", problems, amounts=base_units, validate=False)
    assert node.allocatable == (("cpu", 4000), ("pods", 10))
    assert node.prefer_avoid_pods == (Owner("ReplicaSet", "", "1"),)
    check_unique_nodes([node, NodeSpec("b"), node], "nodes", problems)
    assert [str(problem) for problem in problems.found] == ["nodes[2]: 'a' must be unique: nodes[0] has this name"]
