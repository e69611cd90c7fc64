"""Reads plain Kubernetes manifests: files and folders of YAML or JSON, several documents, lists, `kubectl get` dumps.

What is read: Node, Pod, Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job, CronJob, Namespace, ResourceQuota,
PriorityClass, Service, PodDisruptionBudget, LimitRange, MutatingWebhookConfiguration, ValidatingWebhookConfiguration. A
document that Kubernetes would refuse, or that kubedes has no use for, is left out and listed in `refused` with the
reason; a file that is no YAML at all is an error.

A dump holds objects and what controllers made of them: a ReplicaSet or Pod whose controller is read too is left out,
because the simulated controller makes it again. Pods that have ended or are being deleted are left out as well.

Admission is applied as in Kubernetes 1.34: priorityClassName becomes the priority, and the pods of a controller carry
its labels (pod-template-hash, job-name) and owner.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from sim.apiserver.admission.objects import AdmissionObjects
from sim.apiserver.admission.reading import READERS, WEBHOOK_GROUP, WEBHOOK_KINDS, collected
from sim.base.documents import read_documents
from sim.base.errors import InputError, Problems, near_miss
from sim.base.units import parse_amount
from sim.controllers.cron_schedule import parse_schedule
from sim.state.api import INT32_MAX, Reader, node_from_v1, pod_from_v1, template_from_v1
from sim.state.applications import (
    AppOptions,
    CronJobOptions,
    DaemonSetOptions,
    DeploymentOptions,
    JobOptions,
    Share,
    StatefulSetOptions,
)
from sim.state.budgets import PodDisruptionBudget
from sim.state.objects import LabelSelector, NodeSpec, Owner, Pairs, PodSpec, Quantities, pairs, quantities
from sim.state.selectors import selector_of
from workloads.lives import with_behaviours


@dataclass(frozen=True)
class Application:
    """A Pod, or a controller with the pods it asks for."""

    kind: str
    """Pod, Deployment, ReplicaSet, StatefulSet, DaemonSet, ReplicationController, Job or CronJob."""
    name: str
    replicas: int
    """Pods wanted: replicas, or the completions of a Job, of a CronJob at each of its times; of a DaemonSet one a node."""
    parallelism: int
    """Pods at a time: a Job's parallelism, otherwise `replicas`."""
    template: PodSpec
    """What its pods look like; holds the namespace."""
    created_s: float
    """When the user asks for it, seconds from the start."""
    source: str
    """Where it stands: `file.yaml#2`, in a list `file.yaml#2.items[0]`."""
    options: AppOptions | None = None
    """What it says beside its pods, where it differs from its kind's defaults."""

    @property
    def namespace(self) -> str:
        return self.template.namespace


@dataclass(frozen=True)
class Namespace:
    name: str
    labels: Pairs = ()


@dataclass(frozen=True)
class Quota:
    """A ResourceQuota."""

    namespace: str
    name: str
    hard: Quantities
    """Limits by resource as written (`pods`, `cpu`, `requests.cpu`, `limits.memory`, `count/jobs.batch` …), in base
    units: CPU in millicores."""
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Service:
    namespace: str
    name: str
    selector: Pairs
    """Empty: it selects no pods."""


@dataclass(frozen=True)
class PriorityClass:
    name: str
    value: int
    global_default: bool = False
    preemption_policy: str | None = None


@dataclass(frozen=True)
class Refused:
    """A document that was left out."""

    file: str
    document: int
    """Its number in the file, from 1; all items of a list share their list's number."""
    kind: str
    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.file}#{self.document}: {self.kind} {self.name}: {self.reason}"


@dataclass(frozen=True)
class Manifests:
    """What the files hold."""

    nodes: tuple[NodeSpec, ...] = ()
    applications: tuple[Application, ...] = ()
    """In the order of creation, then of the files."""
    namespaces: tuple[Namespace, ...] = ()
    """Declared or used, by name."""
    quotas: tuple[Quota, ...] = ()
    services: tuple[Service, ...] = ()
    disruption_budgets: tuple[PodDisruptionBudget, ...] = ()
    priority_classes: tuple[PriorityClass, ...] = ()
    admission: AdmissionObjects = field(default_factory=AdmissionObjects)
    """Limit ranges, namespaces with their annotations, webhook configurations."""
    refused: tuple[Refused, ...] = ()
    files: int = 0
    documents: int = 0
    """Documents looked at; an item of a list counts as one."""

    def summary(self) -> str:
        """What was read and what was refused, one line each."""
        head = (
            f"{self.documents} documents in {self.files} files: {len(self.nodes)} nodes, "
            f"{len(self.applications)} applications of {sum(each.replicas for each in self.applications)} pods, "
            f"{len(self.quotas)} quotas; {len(self.refused)} refused"
        )
        return "\n".join([head, *(f"  {refused}" for refused in self.refused)])


SYSTEM_PRIORITY_CLASSES = (
    PriorityClass("system-node-critical", 2_000_001_000),
    PriorityClass("system-cluster-critical", 2_000_000_000),
)
"""The two that every cluster has (Kubernetes 1.34 source, apis/scheduling)."""

HIGHEST_USER_PRIORITY = 1_000_000_000


def load_manifests(*paths: Path | str, creation_times: bool = False) -> Manifests:
    """The objects in files and folders (searched through for .yaml, .yml and .json, by name).

    creation_times: applications start at their metadata.creationTimestamp, counted from the earliest; otherwise all
    start at 0. Raises `InputError` for files that are missing or no YAML, all of them at once.
    """
    files: list[Path] = []
    faults: list[str] = []
    for path in map(Path, paths):
        if path.is_dir():
            found = sorted(each for each in path.rglob("*") if each.suffix in (".yaml", ".yml", ".json"))
            if not found:
                faults.append(f"{path}: has no .yaml, .yml or .json files")
            files += found
        else:
            files.append(path)
    contents: list[tuple[str, list[Any]]] = []
    for file in files:
        try:
            contents.append((str(file), read_documents(file)))
        except InputError as error:
            faults.append(str(error))
    if faults:
        raise InputError("\n".join(faults))
    return read_manifests(contents, creation_times)


def read_manifests(contents: Iterable[tuple[str, list[Any]]], creation_times: bool = False) -> Manifests:
    """The objects in decoded documents, given by file name; see `load_manifests`."""
    reading = _Reading(creation_times)
    files = 0
    for file, documents in contents:
        files += 1
        for number, document in enumerate(documents, 1):
            for item, place in _items(document, ""):
                reading.collect(_Document(file, number, place, item))
    return reading.finish(files)


@dataclass(frozen=True, eq=False)
class _Document:
    """One object and where it stands."""

    file: str
    number: int
    place: str
    """In a list: `.items[3]`; otherwise empty."""
    content: Any

    @property
    def kind(self) -> str:
        return str(self.content.get("kind") or "?") if isinstance(self.content, dict) else "?"

    @property
    def metadata(self) -> dict[str, Any]:
        metadata = self.content.get("metadata") if isinstance(self.content, dict) else None
        return metadata if isinstance(metadata, dict) else {}

    @property
    def name(self) -> str:
        return str(self.metadata.get("name") or self.metadata.get("generateName") or "?")

    @property
    def key(self) -> tuple[str, str, str]:
        namespace = "" if self.kind in _CLUSTER_WIDE else str(self.metadata.get("namespace") or "default")
        return self.kind, namespace, self.name

    @property
    def path(self) -> str:
        return f"{self.file}#{self.number}{self.place}"


def _items(document: Any, place: str) -> Iterator[tuple[Any, str]]:
    """The objects in a document and their places: itself, or a list's items (`List`, `PodList` …)."""
    if isinstance(document, dict) and str(document.get("kind", "")).endswith("List") and "items" in document:
        item_kind = document["kind"].removesuffix("List")
        for i, item in enumerate(document["items"] or []):
            if isinstance(item, dict) and item_kind:  # items of typed lists name neither kind nor version
                item = {"kind": item_kind, "apiVersion": document.get("apiVersion"), **item}
            yield from _items(item, f"{place}.items[{i}]")
    else:
        yield document, place


_CLUSTER_WIDE = ("Node", "Namespace", "PriorityClass", *WEBHOOK_KINDS)
_GROUPS: Mapping[str, tuple[str, ...]] = {
    "Node": ("",),
    "Pod": ("",),
    "Namespace": ("",),
    "ResourceQuota": ("",),
    "Service": ("",),
    "ReplicationController": ("",),
    "Deployment": ("apps", "extensions"),
    "ReplicaSet": ("apps", "extensions"),
    "StatefulSet": ("apps",),
    "DaemonSet": ("apps", "extensions"),
    "Job": ("batch",),
    "CronJob": ("batch",),
    "PriorityClass": ("scheduling.k8s.io",),
    "PodDisruptionBudget": ("policy",),
    "LimitRange": ("",),
    **dict.fromkeys(WEBHOOK_KINDS, (WEBHOOK_GROUP,)),
}
"""The kinds that are read, and their API groups."""

_ADMISSION_KINDS = ("LimitRange", "Namespace", *WEBHOOK_KINDS)
_OWNERS_FIRST = ("Deployment", "StatefulSet", "DaemonSet", "ReplicationController", "CronJob", "Job", "ReplicaSet", "Pod")


class _Reading:
    """Documents on their way to `Manifests`."""

    def __init__(self, creation_times: bool) -> None:
        self.creation_times = creation_times
        self.documents: list[_Document] = []
        self.refused: list[Refused] = []
        self.seen: dict[tuple[str, str, str], str] = {}
        self.looked_at = 0
        self.generated = 0
        self.controlled: set[tuple[str, str, str]] = set()
        """Controllers that are read, or that one which is read will make again."""
        self.priority_classes: dict[str, PriorityClass] = {each.name: each for each in SYSTEM_PRIORITY_CLASSES}

    def refuse(self, document: _Document, reason: str) -> None:
        self.refused.append(Refused(document.file, document.number, document.kind, document.name, reason))

    def collect(self, document: _Document) -> None:
        """Take a document in if it is one that kubedes reads."""
        self.looked_at += 1
        if not isinstance(document.content, dict) or not isinstance(document.content.get("kind"), str):
            self.refuse(document, "is not a Kubernetes object: it has no kind")
            return
        groups = _GROUPS.get(document.kind)
        group = str(document.content.get("apiVersion") or "").rpartition("/")[0]
        if groups is None:
            hint = near_miss(document.kind, _GROUPS)
            close = f"; {hint}" if hint.startswith("did you mean") and not document.kind.endswith("Set") else ""
            self.refuse(document, f"kubedes does not simulate the kind {document.kind}{close}")
        elif group not in groups:
            version = document.content.get("apiVersion")
            self.refuse(document, f"apiVersion {version!r} is not one of {document.kind}; write {_version(groups[0])}")
        elif document.metadata.get("name") and document.key in self.seen:
            self.refuse(document, f"is defined twice: first in {self.seen[document.key]}")
        else:
            self.seen[document.key] = document.path
            self.documents.append(document)

    def read(self, kinds: tuple[str, ...], read: Callable[[_Document, Problems], Any]) -> list[Any]:
        """What `read` makes of the documents of these kinds; those with problems are refused."""
        found = []
        for document in self.documents:
            if document.kind in kinds:
                problems = Problems(document.path)
                thing = read(document, problems)
                if problems:
                    inside = (str(problem).removeprefix(f"{document.path}.") for problem in problems.found)
                    self.refuse(document, "; ".join(inside))
                elif thing is not None:
                    found.append(thing)
        return found

    def finish(self, files: int) -> Manifests:
        for each in self.read(("PriorityClass",), _priority_class):
            self.priority_classes[each.name] = each
        nodes = self.read(("Node",), self.node)
        # Owners before what they own: what a refused controller made is kept.
        applications = [each for kind in _OWNERS_FIRST for each in self.read((kind,), self.application)]
        quotas = self.read(("ResourceQuota",), _quota)
        services = self.read(("Service",), _service)
        budgets = self.read(("PodDisruptionBudget",), _disruption_budget)
        namespaces = {each.name: each for each in self.read(("Namespace",), _namespace)}
        for thing in (*applications, *quotas, *services, *budgets):
            namespaces.setdefault(thing.namespace, _named_namespace(thing.namespace, {}))
        if applications and self.creation_times:
            start_s = min(each.created_s for each in applications)
            applications = [replace(each, created_s=each.created_s - start_s) for each in applications]
        order = {document.path: place for place, document in enumerate(self.documents)}
        applications.sort(key=lambda each: (each.created_s, order[each.source]))
        return Manifests(
            nodes=tuple(nodes),
            applications=tuple(applications),
            namespaces=tuple(namespaces[name] for name in sorted(namespaces)),
            quotas=tuple(quotas),
            services=tuple(services),
            disruption_budgets=tuple(budgets),
            priority_classes=tuple(self.priority_classes.values()),
            admission=collected({kind: self.read((kind,), _admission) for kind in _ADMISSION_KINDS}),
            refused=tuple(self.refused),
            files=files,
            documents=self.looked_at,
        )

    def generated_name(self, name: str) -> str:
        """A unique name from a generateName prefix, as the server would complete it (with a count, not at random)."""
        self.generated += 1
        return f"{name}{self.generated:05d}"

    def node(self, document: _Document, problems: Problems) -> NodeSpec:
        node = node_from_v1(document.content, document.path, problems)
        return node if document.metadata.get("name") else replace(node, name=self.generated_name(node.name))

    def application(self, document: _Document, problems: Problems) -> Application | None:
        reader = Reader(problems)
        path = document.path
        metadata = reader.fields(document.content.get("metadata"), f"{path}.metadata")
        if metadata.get("deletionTimestamp") is not None:
            self.refuse(document, "is being deleted")
            return None
        owner = reader.controlling_owner(metadata.get("ownerReferences"), f"{path}.metadata.ownerReferences")
        namespace = reader.namespace(metadata, f"{path}.metadata")
        if owner is not None and (owner.kind, namespace, owner.name) in self.controlled:
            self.controlled.add(document.key)
            self.refuse(document, f"is made by {owner.kind} {owner.name}, which is read too")
            return None
        created_s = self.created_s(metadata.get("creationTimestamp"), f"{path}.metadata", problems)
        if document.kind == "Pod":
            return self.bare_pod(document, created_s, reader)
        application = self.controller(document, namespace, created_s, reader)
        if application is not None and not problems:
            self.controlled.add(document.key)
        return application

    def bare_pod(self, document: _Document, created_s: float, reader: Reader) -> Application | None:
        path = document.path
        status = reader.fields(document.content.get("status"), f"{path}.status")
        if status.get("phase") in ("Succeeded", "Failed"):
            self.refuse(document, f"has ended: its phase is {status['phase']}")
            return None
        spec = self.with_priority(document.content.get("spec"), f"{path}.spec", reader)
        content = {**document.content, "spec": spec}
        name, pod = pod_from_v1(content, path, reader.problems)
        pod = with_behaviours(pod, document.metadata.get("annotations"), path, reader.problems)
        if not document.metadata.get("name"):
            name = self.generated_name(name)
        return Application("Pod", name, 1, 1, pod, created_s, path)

    def controller(self, document: _Document, namespace: str, created_s: float, reader: Reader) -> Application | None:
        path, kind = f"{document.path}.spec", document.kind
        name = reader.name(document.metadata, f"{document.path}.metadata")
        if not document.metadata.get("name"):
            name = self.generated_name(name)
        spec = reader.fields(document.content.get("spec"), path)
        cron, own_path = spec, path
        if kind == "CronJob":
            path = f"{path}.jobTemplate.spec"
            spec = reader.fields(reader.fields(cron.get("jobTemplate"), f"{own_path}.jobTemplate").get("spec"), path)
        template = reader.fields(spec.get("template"), f"{path}.template")
        if not template:
            reader.fault(f"{path}.template", None, "must be given")
            return None
        template = {**template, "spec": self.with_priority(template.get("spec"), f"{path}.template.spec", reader)}
        pods = template_from_v1(template, namespace, Owner(kind, name), f"{path}.template", reader.problems)
        annotations = (template.get("metadata") or {}).get("annotations")
        pods = with_behaviours(pods, annotations, f"{path}.template", reader.problems)
        self.check_restart_policy(kind, template["spec"], f"{path}.template.spec", reader)
        if kind == "Job":
            return self.job(document, name, spec, pods, created_s, reader)
        if kind == "CronJob":
            return self.cron_job(document, name, cron, spec, pods, created_s, reader)
        _check_selector(kind, spec.get("selector"), pods, f"{path}.selector", reader)
        replicas = reader.integer(spec.get("replicas"), f"{path}.replicas", 1, 0, INT32_MAX)
        if kind == "Deployment":  # its pods belong to a ReplicaSet named after the template
            digest = hashlib.sha256(repr(pods).encode()).hexdigest()[:10]
            labels = pairs({**dict(pods.labels), "pod-template-hash": digest})
            pods = replace(pods, labels=labels, owner=Owner("ReplicaSet", f"{name}-{digest}"))
        options = _update_options(kind, spec, path, reader)
        if kind == "DaemonSet":
            replicas = 1
        return Application(kind, name, replicas, replicas, pods, created_s, document.path, options)

    def cron_job(
        self,
        document: _Document,
        name: str,
        cron: dict[str, Any],
        spec: dict[str, Any],
        pods: PodSpec,
        created_s: float,
        reader: Reader,
    ) -> Application | None:
        path = f"{document.path}.spec"
        if reader.boolean(cron.get("suspend"), f"{path}.suspend"):
            self.refuse(document, "is suspended")
            return None
        schedule = str(cron.get("schedule") or "")
        try:
            parse_schedule(schedule)
        except ValueError as error:
            reader.problems.add(f"{path}.schedule", cron.get("schedule"), str(error))
        policy = reader.choice(
            cron.get("concurrencyPolicy"), f"{path}.concurrencyPolicy", ("Allow", "Forbid", "Replace"), "Allow"
        )
        deadline_s = cron.get("startingDeadlineSeconds")
        if deadline_s is not None:
            deadline_s = reader.integer(deadline_s, f"{path}.startingDeadlineSeconds", 0, 0, INT32_MAX)
        within = f"{path}.jobTemplate.spec"
        parallelism = reader.integer(spec.get("parallelism"), f"{within}.parallelism", 1, 0, INT32_MAX)
        completions = reader.integer(spec.get("completions"), f"{within}.completions", parallelism, 0, INT32_MAX)
        options = CronJobOptions(schedule, completions, policy or "Allow", deadline_s)
        return Application(
            "CronJob", name, completions, min(parallelism, completions), pods, created_s, document.path, options
        )

    def job(
        self, document: _Document, name: str, spec: dict[str, Any], pods: PodSpec, created_s: float, reader: Reader
    ) -> Application | None:
        path = f"{document.path}.spec"
        status = reader.fields(document.content.get("status"), f"{document.path}.status")
        if status.get("completionTime") is not None:
            self.refuse(document, "has ended: it has a completionTime")
            return None
        if reader.boolean(spec.get("suspend"), f"{path}.suspend"):
            self.refuse(document, "is suspended")
            return None
        parallelism = reader.integer(spec.get("parallelism"), f"{path}.parallelism", 1, 0, INT32_MAX)
        # Without completions the pods share a work queue: as many as run at a time.
        completions = reader.integer(spec.get("completions"), f"{path}.completions", parallelism, 0, INT32_MAX)
        labels = {**dict(pods.labels), "job-name": name, "batch.kubernetes.io/job-name": name}
        pods = replace(pods, labels=pairs(labels))
        limit = reader.integer(spec.get("backoffLimit"), f"{path}.backoffLimit", 6, 0, INT32_MAX)
        options = JobOptions(limit) if limit != 6 else None
        return Application(
            "Job", name, completions, min(parallelism, completions), pods, created_s, document.path, options
        )

    @staticmethod
    def check_restart_policy(kind: str, spec: Any, path: str, reader: Reader) -> None:
        policy = spec.get("restartPolicy") if isinstance(spec, dict) else None
        if kind in ("Job", "CronJob") and policy not in ("OnFailure", "Never"):
            reader.fault(f"{path}.restartPolicy", policy, f"must be OnFailure or Never in a {kind}")
        elif kind not in ("Job", "CronJob") and policy not in (None, "Always"):
            reader.fault(f"{path}.restartPolicy", policy, f"must be Always in a {kind}")

    def with_priority(self, spec: Any, path: str, reader: Reader) -> Any:
        """The pod's spec with the priority that the admission plugin Priority gives it."""
        if not isinstance(spec, dict):
            return spec
        name = reader.text(spec.get("priorityClassName"), f"{path}.priorityClassName")
        if name and name not in self.priority_classes:
            if spec.get("priority") is None:
                hint = near_miss(name, self.priority_classes)
                reader.problems.add(f"{path}.priorityClassName", name, "must name a PriorityClass that is read", hint)
            return spec
        if name:
            chosen: PriorityClass | None = self.priority_classes[name]
        else:
            defaults = [each for each in self.priority_classes.values() if each.global_default]
            chosen = max(defaults, key=lambda each: each.value, default=None)
        if chosen is None or (not name and spec.get("priority") is not None):
            return spec
        written = spec.get("priority")
        if written is not None and written != chosen.value:
            rule = f"must be absent or that of priority class {chosen.name}, {chosen.value}"
            reader.fault(f"{path}.priority", written, rule)
        return {"preemptionPolicy": chosen.preemption_policy, **spec, "priority": chosen.value}

    def created_s(self, value: Any, path: str, problems: Problems) -> float:
        """A creation timestamp in seconds since 1970; 0 when they do not count."""
        if not self.creation_times:
            return 0.0
        try:
            return datetime.fromisoformat(value.replace("Z", "+00:00")).timestamp()
        except (AttributeError, ValueError):
            problems.add(f"{path}.creationTimestamp", value, "must be a time such as 2024-05-01T12:00:00Z")
            return 0.0


def _update_options(kind: str, spec: dict[str, Any], path: str, reader: Reader) -> AppOptions | None:
    """What a Deployment, StatefulSet or DaemonSet says of its updates; None where nothing but the defaults."""
    where = f"{path}.strategy" if kind == "Deployment" else f"{path}.updateStrategy"
    strategy = reader.fields(spec.get(where.rpartition(".")[2]), where)
    rolling = reader.fields(strategy.get("rollingUpdate"), f"{where}.rollingUpdate")

    def share(name: str, default: Share) -> Share:
        value = rolling.get(name, default)
        is_share = isinstance(value, str) and value[:-1].isdecimal() and value.endswith("%")
        if not is_share and not (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
            reader.fault(f"{where}.rollingUpdate.{name}", value, "must be a number of pods or a share such as 25%")
            return default
        return value

    options: AppOptions | None = None
    if kind == "Deployment":
        kinds = ("RollingUpdate", "Recreate")
        chosen = reader.choice(strategy.get("type"), f"{where}.type", kinds, "RollingUpdate")
        options = DeploymentOptions(
            chosen == "Recreate",
            share("maxSurge", "25%"),
            share("maxUnavailable", "25%"),
            reader.integer(spec.get("minReadySeconds"), f"{path}.minReadySeconds", 0, 0, INT32_MAX),
            reader.integer(spec.get("progressDeadlineSeconds"), f"{path}.progressDeadlineSeconds", 600, 1, INT32_MAX),
            reader.integer(spec.get("revisionHistoryLimit"), f"{path}.revisionHistoryLimit", 10, 0, INT32_MAX),
        )
    elif kind in ("StatefulSet", "DaemonSet"):
        chosen = reader.choice(strategy.get("type"), f"{where}.type", ("RollingUpdate", "OnDelete"), "RollingUpdate")
        if kind == "DaemonSet":
            options = DaemonSetOptions(chosen == "OnDelete", share("maxUnavailable", 1))
        else:
            policies = ("OrderedReady", "Parallel")
            policy = reader.choice(
                spec.get("podManagementPolicy"), f"{path}.podManagementPolicy", policies, "OrderedReady"
            )
            partition = reader.integer(rolling.get("partition"), f"{where}.rollingUpdate.partition", 0, 0, INT32_MAX)
            options = StatefulSetOptions(policy == "Parallel", chosen == "OnDelete", partition)
    return None if options is None or options == type(options)() else options


def _version(group: str) -> str:
    return f"{group}/v1" if group else "v1"


def _check_selector(kind: str, value: Any, pods: PodSpec, path: str, reader: Reader) -> None:
    """A controller's selector must select the pods of its own template."""
    labels = dict(pods.labels)
    if kind == "ReplicationController":
        selector = dict(reader.labels(value, path)) or labels
        matches = bool(selector) and all(labels.get(key) == wanted for key, wanted in selector.items())
    else:
        found = reader.label_selector(value, path)
        matches = found is not None and found != LabelSelector() and selector_of(found).matches(labels)
    if not matches:
        reader.fault(path, value, "must be given and match the labels of the template")


def _spec_of(document: _Document, problems: Problems) -> tuple[Reader, dict[str, Any], str, str]:
    """(reader, spec, namespace, name) of a namespaced document."""
    reader = Reader(problems)
    path = f"{document.path}.metadata"
    metadata = reader.fields(document.content.get("metadata"), path)
    spec = reader.fields(document.content.get("spec"), f"{document.path}.spec")
    return reader, spec, reader.namespace(metadata, path), reader.name(metadata, path)


def _named_namespace(name: str, labels: dict[str, str]) -> Namespace:
    return Namespace(name, pairs({**labels, "kubernetes.io/metadata.name": name}))


def _namespace(document: _Document, problems: Problems) -> Namespace:
    reader = Reader(problems)
    path = f"{document.path}.metadata"
    labels = reader.labels(document.metadata.get("labels"), f"{path}.labels")
    return _named_namespace(reader.name(document.metadata, path), dict(labels))


def _admission(document: _Document, problems: Problems) -> Any:
    return READERS[document.kind](document.content, document.path, problems)


def _priority_class(document: _Document, problems: Problems) -> PriorityClass:
    reader = Reader(problems)
    content, path = document.content, document.path
    name = reader.name(document.metadata, f"{path}.metadata")
    value = reader.integer(content.get("value"), f"{path}.value", 0, -(2**31))
    system = {each.name: each.value for each in SYSTEM_PRIORITY_CLASSES}
    if name in system:
        if value != system[name]:
            reader.fault(f"{path}.value", value, f"must be {system[name]}: the class is Kubernetes' own")
    elif name.startswith("system-"):
        reader.fault(f"{path}.metadata.name", name, "must not begin with system-, which is reserved")
    elif value > HIGHEST_USER_PRIORITY:
        reader.fault(f"{path}.value", value, f"must be at most {HIGHEST_USER_PRIORITY}")
    policies = ("Never", "PreemptLowerPriority")
    return PriorityClass(
        name,
        value,
        reader.boolean(content.get("globalDefault"), f"{path}.globalDefault"),
        reader.choice(content.get("preemptionPolicy"), f"{path}.preemptionPolicy", policies, None),
    )


def _quota(document: _Document, problems: Problems) -> Quota:
    reader, spec, namespace, name = _spec_of(document, problems)
    path = f"{document.path}.spec"
    if spec.get("scopeSelector") is not None:
        reader.fault(f"{path}.scopeSelector", spec["scopeSelector"], "is not supported; use scopes")
    hard: dict[str, int] = {}
    for resource, written in reader.fields(spec.get("hard"), f"{path}.hard").items():
        where = f"{path}.hard[{resource}]"
        try:
            base = str(resource).removeprefix("requests.").removeprefix("limits.")
            hard[str(resource)] = parse_amount(base, written)
        except ValueError as error:
            problems.add(where, written, str(error))
            continue
        if hard[str(resource)] < 0:
            reader.fault(where, written, "must not be negative")
    if not hard:
        reader.fault(f"{path}.hard", None, "must limit something")
    scopes = reader.strings(spec.get("scopes"), f"{path}.scopes")
    known = ("Terminating", "NotTerminating", "BestEffort", "NotBestEffort")
    for i, scope in enumerate(scopes):
        reader.choice(scope, f"{path}.scopes[{i}]", known, None)
    return Quota(namespace, name, quantities(hard), scopes)


def _service(document: _Document, problems: Problems) -> Service:
    reader, spec, namespace, name = _spec_of(document, problems)
    return Service(namespace, name, reader.labels(spec.get("selector"), f"{document.path}.spec.selector"))


def _disruption_budget(document: _Document, problems: Problems) -> PodDisruptionBudget:
    reader, spec, namespace, name = _spec_of(document, problems)
    path = f"{document.path}.spec"

    def budget(key: str) -> int | str | None:
        value = spec.get(key)
        share = isinstance(value, str) and value.endswith("%") and value[:-1].isdigit() and int(value[:-1]) <= 100
        count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
        if value is not None and not share and not count:
            reader.fault(f"{path}.{key}", value, "must be a count or a share from 0% to 100%")
        return value if share or count else None

    minimum, maximum = budget("minAvailable"), budget("maxUnavailable")
    if minimum is not None and maximum is not None:
        reader.fault(f"{path}.maxUnavailable", maximum, "must be absent when minAvailable is given")
    selector = reader.label_selector(spec.get("selector"), f"{path}.selector")
    return PodDisruptionBudget(namespace, name, selector, minimum, maximum)
