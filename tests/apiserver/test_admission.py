"""Admission: what each plug-in makes of a pod, what webhooks cost and refuse, and the objects that are read."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from sim.apiserver.admission.catalog import ADMISSION, Refusal, admit, in_server_order
from sim.apiserver.admission.objects import (
    AdmissionObjects,
    LimitRange,
    LimitRangeItem,
    NamespaceObject,
    Webhook,
    WebhookRule,
)
from sim.apiserver.admission.reading import read_admission_objects
from sim.apiserver.admission.webhooks import Webhooks, WebhookSpec, matches
from sim.apiserver.request import BIND_POD, CREATE_POD, GET_POD, PATCH_POD_STATUS
from sim.base.errors import InputError
from sim.base.rand import Constant, Streams
from sim.engine.clock import Clock
from sim.scenario import Scenario
from sim.scheduler.requests import pod_requests
from sim.simulate import Cluster, simulate
from sim.state.objects import Container, LabelSelector, PodSpec, Toleration, pairs, quantities
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.worked.scenarios import exact, load_of

NOT_READY = Toleration("node.kubernetes.io/not-ready", "Exists", "", "NoExecute", 300)
UNREACHABLE = Toleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute", 300)


def pod(requests: dict | None = None, limits: dict | None = None, **fields) -> PodSpec:
    container = Container("c", "", quantities(requests or {}), quantities(limits or {}))
    return PodSpec(**{"namespace": "ns", "containers": (container,), **fields})


def in_namespace(**annotations: str) -> AdmissionObjects:
    named = {f"scheduler.alpha.kubernetes.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    return AdmissionObjects(namespaces=(NamespaceObject("ns", annotations=pairs(named)),))


def test_the_server_s_order_holds_whatever_the_flag_s():
    assert in_server_order(("PodTolerationRestriction", "LimitRanger", "NamespaceLifecycle")) == [
        "NamespaceLifecycle",
        "LimitRanger",
        "PodTolerationRestriction",
    ]
    assert set(in_server_order(tuple(ADMISSION))) == set(ADMISSION)


def test_pods_tolerate_nodes_that_are_away_for_five_minutes():
    plugins = ("DefaultTolerationSeconds",)
    assert admit(pod(), AdmissionObjects(), plugins).tolerations == (NOT_READY, UNREACHABLE)
    short = Toleration("node.kubernetes.io/not-ready", "Exists", "", "NoExecute", 5)
    assert admit(pod(tolerations=(short,)), AdmissionObjects(), plugins).tolerations == (short, UNREACHABLE)
    everything = Toleration("", "Exists")
    assert admit(pod(tolerations=(everything,)), AdmissionObjects(), plugins).tolerations == (everything,)


def test_devices_are_tolerated_by_who_asks_for_them():
    made = admit(pod({"cpu": 1, "example.com/gpu": 1}), AdmissionObjects(), ("ExtendedResourceToleration",))
    assert made.tolerations == (Toleration("example.com/gpu", "Exists"),)


def test_limit_ranges_fill_in_and_bound():
    item = LimitRangeItem(
        "Container",
        default=quantities({"cpu": 500}),
        default_request=quantities({"cpu": 100, "memory": 64}),
        least=quantities({"cpu": 50}),
        most=quantities({"cpu": 1000}),
        most_ratio=(("cpu", 4.0),),
    )
    objects = AdmissionObjects(limit_ranges=(LimitRange("ns", "r", (item,)), LimitRange("other", "r", (item,))))

    def container(**given):
        return admit(pod(**given), objects, ("LimitRanger",))

    made = container(requests={"cpu": 200})
    assert (made.containers[0].requests, made.containers[0].limits) == (
        (("cpu", 200), ("memory", 64)),
        (("cpu", 500),),
    )
    assert admit(pod(namespace="third"), objects, ("LimitRanger",)) == pod(namespace="third")
    for given, reason in (
        ({"requests": {"cpu": 10}}, "minimum cpu usage per Container is 50m, but the container c requests 10m"),
        (
            {"requests": {"cpu": 400}, "limits": {"cpu": 2000}},
            "maximum cpu usage per Container is 1, but the limit of the container c is 2",
        ),
    ):
        refused = container(**given)
        assert isinstance(refused, Refusal)
        assert reason in refused.reason
        assert refused.code == 403
    assert container(requests={"cpu": 600}) == Refusal("container c requests more cpu than its limit", 422)
    steep = container(requests={"cpu": 100}, limits={"cpu": 900})
    assert isinstance(steep, Refusal)
    assert "max limit to request ratio per Container is 4, but that of the container c is 9" in steep.reason


def test_limit_ranges_bound_whole_pods():
    item = LimitRangeItem("Pod", most=quantities({"memory": 100}))
    objects = AdmissionObjects(limit_ranges=(LimitRange("ns", "r", (item,)),))
    two = pod(containers=tuple(Container(name, "", (), quantities({"memory": 60})) for name in "ab"))
    refused = admit(two, objects, ("LimitRanger",))
    assert isinstance(refused, Refusal)
    assert refused.reason == "maximum memory usage per Pod is 100, but the limit of the pod is 120"


def test_a_namespace_may_choose_its_nodes():
    objects = in_namespace(node_selector="disk=ssd, zone = a")
    plugins = ("PodNodeSelector",)
    assert dict(admit(pod(), objects, plugins).node_selector) == {"disk": "ssd", "zone": "a"}
    own = pod(node_selector=pairs({"disk": "ssd", "gpu": "yes"}))
    assert dict(admit(own, objects, plugins).node_selector) == {"disk": "ssd", "zone": "a", "gpu": "yes"}
    assert isinstance(admit(pod(node_selector=pairs({"disk": "hdd"})), objects, plugins), Refusal)


def test_a_namespace_may_restrict_tolerations():
    plugins = ("PodTolerationRestriction",)
    defaults = in_namespace(defaultTolerations='[{"key": "team", "operator": "Equal", "value": "a"}]')
    given = Toleration("team", "Equal", "a")
    assert admit(pod(), defaults, plugins).tolerations == (given,)
    assert isinstance(admit(pod(tolerations=(Toleration("team", "Equal", "b"),)), defaults, plugins), Refusal)
    allowed = in_namespace(tolerationsWhitelist='[{"key": "team", "operator": "Exists"}]')
    assert admit(pod(tolerations=(given,)), allowed, plugins).tolerations == (given,)
    assert isinstance(admit(pod(tolerations=(Toleration("other", "Exists"),)), allowed, plugins), Refusal)
    pressure = Toleration("node.kubernetes.io/memory-pressure", "Exists", "", "NoSchedule")
    assert admit(pod({"cpu": 1}), allowed, plugins).tolerations == (pressure,)


def test_nothing_new_in_a_namespace_that_goes():
    objects = AdmissionObjects(namespaces=(NamespaceObject("ns", terminating=True),))
    assert admit(pod(), objects, ("NamespaceLifecycle",)) == Refusal("namespace ns is being terminated")
    assert admit(pod(namespace="other"), objects, ("NamespaceLifecycle",)) == pod(namespace="other")


# --- webhooks

PODS = (WebhookRule(("CREATE",), ("",), ("pods",)),)


def hook(name: str, mutating: bool = False, **fields) -> Webhook:
    return Webhook(**{"name": name, "mutating": mutating, "rules": PODS, "configuration": name, **fields})


def review(hooks: list[Webhook], prepare=lambda webhooks: None, **specs: WebhookSpec) -> tuple[int, float, Webhooks]:
    """(code, how long it took, the webhooks) of one new pod."""
    clock = Clock()
    spec = WebhookSpec(workers=1, service_s=Constant(value=0.1), round_trip_s=0.01)
    servers = {each.name: specs.get(each.name, spec) for each in hooks}
    webhooks = Webhooks(clock, AdmissionObjects(webhooks=tuple(hooks)), servers, Streams(1))
    prepare(webhooks)
    answers: list[tuple[int, float]] = []

    def ask():
        code = yield from webhooks.review(webhooks.asked_about(CREATE_POD, "ns"), set())
        answers.append((code, clock.now))

    clock.start(ask())
    clock.run_until(100.0)
    return (*answers[0], webhooks)


def test_mutating_webhooks_come_one_after_another_and_validating_ones_together():
    assert review([hook("a", True), hook("b", True)])[:2] == (0, pytest.approx(0.22))
    assert review([hook("a"), hook("b")])[:2] == (0, pytest.approx(0.11))
    assert review([hook("a", True), hook("b"), hook("c")])[:2] == (0, pytest.approx(0.22))


def test_a_webhook_is_asked_again_when_a_later_one_changes_the_object():
    code, took_s, webhooks = review([hook("a", True, reinvoked=True), hook("b", True)])
    assert (code, took_s) == (0, pytest.approx(0.33))
    assert [server.remote.asked for server in webhooks.servers.values()] == [2, 1]
    idle = WebhookSpec(workers=1, service_s=Constant(value=0.1), round_trip_s=0.01, changes_objects=False)
    assert review([hook("a", True, reinvoked=True), hook("b", True)], b=idle)[1] == pytest.approx(0.22)


def test_no_answer_refuses_or_passes_as_the_policy_says():
    def down(webhooks: Webhooks) -> None:
        webhooks.servers["a"].remote.down = True

    def slow(webhooks: Webhooks) -> None:
        webhooks.servers["a"].remote.slower = 100

    assert review([hook("a")], down)[:2] == (500, pytest.approx(0.01))
    assert review([hook("a", fails_closed=False)], down)[:2] == (0, pytest.approx(0.01))
    assert review([hook("a", timeout_s=2.0)], slow)[:2] == (500, pytest.approx(2.0))
    code, took_s, webhooks = review([hook("a", True, fails_closed=False, timeout_s=2.0), hook("b")], slow)
    assert (code, took_s) == (0, pytest.approx(2.11))
    assert webhooks.servers["a"].passed_over == 1


def test_a_webhook_may_refuse():
    third = WebhookSpec(workers=1, service_s=Constant(value=0.1), round_trip_s=0.01, denied_share=1.0)
    assert review([hook("a")], a=third)[0] == 403


@pytest.mark.parametrize(
    ("rule", "operation", "asked"),
    [
        (WebhookRule(("CREATE",), ("",), ("pods",)), CREATE_POD, True),
        (WebhookRule(("UPDATE",), ("",), ("pods",)), CREATE_POD, False),
        (WebhookRule(("*",), ("*",), ("*",)), PATCH_POD_STATUS, False),
        (WebhookRule(("*",), ("*",), ("*/*",)), PATCH_POD_STATUS, True),
        (WebhookRule(("UPDATE",), ("",), ("pods/status",)), PATCH_POD_STATUS, True),
        (WebhookRule(("CREATE",), ("",), ("pods/binding",)), BIND_POD, True),
        (WebhookRule(("*",), ("apps",), ("*",)), CREATE_POD, False),
        (WebhookRule(("*",), ("",), ("pods",), "Cluster"), CREATE_POD, False),
        (WebhookRule(("*",), ("*",), ("*/*",)), GET_POD, False),
    ],
)
def test_which_requests_a_webhook_sees(rule: WebhookRule, operation, asked: bool):
    assert matches(hook("a", rules=(rule,)), operation, "ns", (), AdmissionObjects()) is asked


def test_selectors_choose_namespaces_and_objects():
    objects = AdmissionObjects(namespaces=(NamespaceObject("ns", labels=pairs({"inject": "yes"})),))
    chosen = hook("a", namespace_selector=LabelSelector(pairs({"inject": "yes"})))
    assert matches(chosen, CREATE_POD, "ns", (), objects)
    assert not matches(chosen, CREATE_POD, "other", (), objects)
    labelled = hook("a", object_selector=LabelSelector(pairs({"app": "web"})))
    assert matches(labelled, CREATE_POD, "ns", pairs({"app": "web"}), objects)
    assert not matches(labelled, CREATE_POD, "ns", (), objects)


WEBHOOK_YAML = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {{name: policy}}
webhooks:
- name: check.policy.example.com
  failurePolicy: {policy}
  timeoutSeconds: 2
  admissionReviewVersions: [v1]
  sideEffects: None
  clientConfig: {{url: "https://policy.example.com"}}
  rules:
  - {{operations: [CREATE], apiGroups: [""], apiVersions: [v1], resources: [pods]}}
"""


@pytest.mark.parametrize(("policy", "refused"), [("Fail", 3), ("Ignore", 0)])
def test_an_outage_in_a_whole_run(tmp_path: Path, policy: str, refused: int):
    """Nine pods, one a second; the webhook is down for those of 4, 5 and 6 s. The others wait for its answer."""
    (tmp_path / "hooks.yaml").write_text(WEBHOOK_YAML.format(policy=policy))
    scenario = exact(
        apiserver__admission={
            "objects": [str(tmp_path / "hooks.yaml")],
            "webhooks": {"check.policy.example.com": {"workers": 4, "service_s": 0.05, "round_trip_s": 0.01}},
        },
        faults=[{"type": "webhook-outage", "webhook": "check.policy.example.com", "at_s": [3.5], "for_s": 3.0}],
    )
    apps = tuple((float(second), AppKind.POD, 1) for second in range(1, 10))
    result = simulate(scenario, load_of(*apps), seed=1)
    rows = result.requests
    codes = rows[(rows["verb"] == "POST") & (rows["resource"] == "pods")].groupby("code")["count"].sum().to_dict()
    assert codes == {code: count for code, count in ((201, 9 - refused), (500, refused)) if count}
    plain = simulate(exact(), load_of(*apps), seed=1).pods["created_s"]
    later = result.pods["created_s"] - plain
    assert later[[0, 1, 2, 6, 7, 8]].to_numpy() == pytest.approx(0.06, abs=1e-6)
    if not refused:
        assert later[[3, 4, 5]].to_numpy() == pytest.approx(0.01, abs=1e-6)
    assert (result.record.series["faults_active"] > 0).sum() > 0


@pytest.mark.parametrize(("policy", "plain"), [("Fail", 0), ("Ignore", 1)])
def test_a_patch_is_in_the_pods_that_the_webhook_saw(tmp_path: Path, policy: str, plain: int):
    """A sidecar of 300 millicores in each of five pods, but for the one that is created while the webhook is away and may be
    passed over; a quota counts what each pod has."""
    text = WEBHOOK_YAML.format(policy=policy).replace("Validating", "Mutating")
    (tmp_path / "hooks.yaml").write_text(text)
    sidecar = {"patch": {"containers": {"proxy": {"requests": {"cpu": "300m"}}}, "labels": {"injected": "yes"}}}
    scenario = exact(
        apiserver__admission={
            "objects": [str(tmp_path / "hooks.yaml")],
            "webhooks": {"check.policy.example.com": {"workers": 4, "service_s": 0.05, **sidecar}},
        },
        faults=[{"type": "webhook-outage", "webhook": "check.policy.example.com", "at_s": [2.5], "for_s": 1.0}],
        tenants__quota={"cpu": "100"},
    )
    cluster = Cluster(scenario, load_of(*((float(second), AppKind.POD, 1) for second in range(1, 6))), Streams(1))
    own = dict(cluster.load.templates[0].containers[0].requests)["cpu"]
    cluster.clock.run_until(scenario.horizon_s)
    stored = [
        cluster.load.templates[row]
        for row in cluster.pods.columns()["template"][cluster.pods.columns()["phase"] == Phase.RUNNING]
    ]
    asked = Counter(pod_requests(template)["cpu"] for template in stored)
    assert asked == Counter({own + 300: 4, own: plain}) - Counter()
    assert all(("injected" in dict(template.labels)) == (len(template.containers) == 2) for template in stored)
    (quota,) = cluster.quotas
    assert quota.used == {"cpu": 4 * (own + 300) + plain * own}


def test_names_of_webhooks_must_be_known():
    faults = [{"type": "webhook-outage", "webhook": "nobody", "at_s": [1.0]}]
    with pytest.raises(InputError, match=r"faults\[0\].webhook: 'nobody' is no webhook"):
        simulate(exact(faults=faults), load_of((1.0, AppKind.POD, 1)), seed=1)
    servers = {"webhooks": {"nobody": {"workers": 1}}}
    with pytest.raises(InputError, match=r"apiserver.admission.webhooks: 'nobody' is no webhook"):
        simulate(exact(apiserver__admission=servers), load_of((1.0, AppKind.POD, 1)), seed=1)
    with pytest.raises(
        InputError, match="'LimitRangr' is no admission plug-in here; did you mean 'LimitRanger'"
    ) as caught:
        Scenario.load("quick", {"apiserver.admission.plugins": ["LimitRangr"]})
    assert "apiserver.admission.plugins" in str(caught.value)


def test_objects_about_namespaces_that_nobody_has(tmp_path: Path):
    (tmp_path / "q.yaml").write_text(
        "apiVersion: v1\nkind: ResourceQuota\nmetadata: {name: q, namespace: tenant-l}\nspec: {hard: {pods: 3}}\n"
    )
    scenario = exact(apiserver__admission={"objects": [str(tmp_path)]})
    with pytest.raises(
        InputError, match="'ResourceQuota tenant-l/q' is about a namespace that nobody has; did you mean 'tenant-1'"
    ):
        simulate(scenario, load_of((1.0, AppKind.POD, 1)), seed=1)


def test_what_is_always_refused_is_answered_so(tmp_path: Path):
    """A LimitRange that no pod of the load meets: every POST is answered 403, and nothing is stored."""
    (tmp_path / "range.yaml").write_text(
        "apiVersion: v1\nkind: LimitRange\nmetadata: {name: r, namespace: tenant-1}\n"
        "spec: {limits: [{type: Container, min: {cpu: '64'}}]}\n"
    )
    scenario = exact(apiserver__admission={"objects": [str(tmp_path)]})
    result = simulate(scenario, load_of((1.0, AppKind.POD, 4)), seed=1)
    assert Counter(result.pods["phase"].astype(str)) == {"Refused": 4}
    rows = result.requests
    assert rows[(rows["verb"] == "POST") & (rows["resource"] == "pods")].groupby("code")["count"].sum().to_dict() == {
        403: 4
    }


def test_bad_objects_are_refused_with_their_paths(tmp_path: Path):
    (tmp_path / "bad.yaml").write_text(
        """
kind: LimitRange
apiVersion: v1
metadata: {name: r}
spec:
  limits:
  - {type: Contaner, min: {cpu: 2}, max: {cpu: 1}}
---
kind: ResourceQuota
apiVersion: v1
metadata: {name: q}
spec: {hard: {podz: 3, cpu: 1}, scopes: [BestEffort]}
---
kind: Namespace
apiVersion: v1
metadata: {name: n, annotations: {scheduler.alpha.kubernetes.io/defaultTolerations: "[oops"}}
---
kind: MutatingWebhookConfiguration
apiVersion: admissionregistration.k8s.io/v1
metadata: {name: w}
webhooks:
- {name: short, timeoutSeconds: 99, failurePolicy: Maybe, rules: [{operations: [MAKE], apiGroups: [""], apiVersions: [v1], resources: []}]}
"""
    )
    with pytest.raises(InputError) as caught:
        read_admission_objects([tmp_path])
    text = str(caught.value)
    for line in (
        "#1.spec.limits[0].type: 'Contaner' must be one of Container, Pod",
        "#1.spec.limits[0].min[cpu]: 2000 must be at most max",
        "#2.spec.hard[podz]: 3 is nothing that a quota limits here; did you mean 'pods'?",
        "#2.spec.scopes: ['BestEffort'] may limit only pods with the scope BestEffort",
        "#3.metadata.annotations[scheduler.alpha.kubernetes.io/defaultTolerations]: '[oops' must be a JSON list",
        "#4.webhooks[0].name: 'short' must be a DNS name of at least three parts",
        "#4.webhooks[0].timeoutSeconds: 99 must be at most 30",
        "#4.webhooks[0].failurePolicy: 'Maybe' must be one of Fail, Ignore",
        "#4.webhooks[0].rules[0].operations[0]: 'MAKE' must be one of CREATE",
        "#4.webhooks[0].rules[0].resources: [] must not be empty",
    ):
        assert line in text


def test_what_admission_decides_is_what_the_scheduler_sees():
    """The namespace's nodes are those with a label that none has: its pods fit nowhere."""
    annotation = pairs({"scheduler.alpha.kubernetes.io/node-selector": "no=such"})
    objects = AdmissionObjects(namespaces=(NamespaceObject("tenant-1", annotations=annotation),))
    load = replace(load_of((1.0, AppKind.POD, 2)), admission=objects)
    assert Counter(simulate(exact(), load, seed=1).pods["phase"].astype(str)) == {"Running": 2}
    chosen = exact(apiserver__admission={"plugins": ["PodNodeSelector"]})
    assert Counter(simulate(chosen, load, seed=1).pods["phase"].astype(str)) == {"Pending": 2}
