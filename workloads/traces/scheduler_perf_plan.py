"""What a workload of scheduler_perf comes to: nodes, applications, and the steps in which they are played.

What the simulator does not do is listed in the plan's `left_out`, or refused where the workload would measure something
else without it. Source: kubernetes/kubernetes, test/integration/scheduler_perf, of 1.20 (scheduler_perf_test.go) and 1.34
(operations.go, executor.go).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, Problems, near_miss
from sim.base.units import parse_duration_s
from sim.base.yamltext import parse_kubernetes_documents
from sim.state.api import node_from_v1, pod_from_v1
from sim.state.objects import NodeSpec, Pairs, PodSpec, pairs
from sim.tenancy.script import Churn, Delete, Post, Sleep, Step, Wait
from sim.workload import Refusal
from workloads.traces.go_templates import has_actions, render
from workloads.traces.scheduler_perf import OPERATIONS, Operation, PerfCase, PerfConfig, PerfWorkload

WORKERS = 30
"""Pods that the benchmark posts at a time (testutils.NewTestPodCreator in 1.20; createPodsRapidly later)."""
CHURN_PERIOD_S = 0.5
NODE: Mapping[str, Any] = {
    "apiVersion": "v1",
    "kind": "Node",
    "metadata": {"generateName": "scheduler-perf-"},
    "status": {"capacity": {"pods": "110", "cpu": "4", "memory": "32Gi"}},
}
"""A node without a template."""
POD: Mapping[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"generateName": "pod-"},
    "spec": {
        "containers": [
            {"name": "pause", "image": "pause", "resources": {"requests": {"cpu": "100m", "memory": "500Mi"}}}
        ]
    },
}
"""A pod without a template."""
NOT_PLAYED: Mapping[str, str] = {
    "allocResourceClaims": "dynamic resources are not simulated",
    "createResourceClaims": "dynamic resources are not simulated",
    "createResourceDriver": "dynamic resources are not simulated",
    "createPodGroups": "pod groups are not simulated",
    "waitForPodGroups": "pod groups are not simulated",
    "updateAny": "objects that change are not simulated",
}
"""Operations that scheduler_perf has and a run here could only pretend."""
WITHOUT_EFFECT = ("Namespace", "PriorityClass", "Secret", "Service", "ConfigMap", "StorageClass")
"""Kinds that createAny and churn may create: they change nothing here, and are left out."""


@dataclass(frozen=True)
class Measurement:
    """A stretch of the workload that scheduler_perf measures."""

    name: str
    """What its results are called: the pods' namespace, or the name that the operation gives."""
    posted: tuple[int, ...]
    """Applications that are posted while it is measured: it begins with the first."""
    counted: tuple[int, ...]
    """Applications whose scheduled pods are counted."""
    enough: int
    """It ends when so many of those are scheduled."""


@dataclass(frozen=True)
class PlannedApp:
    """Like pods that one operation creates."""

    template: PodSpec
    pods: int
    name: str


@dataclass(frozen=True)
class Plan:
    """A workload, ready to be played."""

    case: PerfCase
    workload: PerfWorkload
    nodes: tuple[NodeSpec, ...]
    apps: tuple[PlannedApp, ...]
    namespaces: tuple[tuple[str, Pairs], ...]
    """With their labels, by name."""
    steps: tuple[Step, ...]
    measurements: tuple[Measurement, ...]
    left_out: tuple[Refusal, ...]

    @property
    def name(self) -> str:
        """`case/workload`."""
        return f"{self.case.name}/{self.workload.name}"


def make_plan(config: PerfConfig, name: str) -> Plan:
    """The plan of `case/workload` (empty: the first). Raises InputError with everything that cannot be played."""
    case, workload = config.find(name)
    problems = Problems(f"{config.path}: {case.name}/{workload.name}")
    planner = _Planner(config, case, workload, problems)
    planner.run()
    problems.raise_if_any()
    return planner.plan()


@dataclass
class _Group:
    """What one createPods operation made: its applications, and where they are."""

    apps: tuple[int, ...]
    namespace: str


@dataclass
class _Collecting:
    name: str
    namespaces: tuple[str, ...]
    selector: dict[str, str]
    posted: list[int] = field(default_factory=list)


class _Planner:
    """Plays a workload's operations on paper."""

    def __init__(self, config: PerfConfig, case: PerfCase, workload: PerfWorkload, problems: Problems) -> None:
        self._config = config
        self._case = case
        self._workload = workload
        self._problems = problems
        self._nodes: list[NodeSpec] = []
        self._apps: list[PlannedApp] = []
        self._groups: list[_Group] = []
        self._namespaces: dict[str, dict[str, str]] = {}
        self._steps: list[Step] = []
        self._measurements: list[Measurement] = []
        self._left_out: list[Refusal] = []
        self._collecting: _Collecting | None = None
        self._awaited: dict[str, int] = {}
        """Pods by namespace that were created without waiting, since the last barrier for it."""
        self._texts: dict[Path, str] = {}

    def run(self) -> None:
        case, workload = self._case, self._workload
        for gate, on in workload.feature_gates.items():
            self._leave_out(f"featureGates.{gate}", f"{str(on).lower()}: noted; the simulated version decides")
        if case.scheduler_config:
            self._leave_out(
                f"{case.name}.schedulerConfigPath", f"{case.scheduler_config}: give it as scheduler.configuration"
            )
        used = {text[1:] for op in case.operations for text in _texts(op.fields) if text.startswith("$")}
        for name in workload.params:
            if name not in used:
                self._problems.add(
                    f"params.{name}", workload.params[name], "is used by no operation", near_miss(name, used)
                )
        for index, operation in enumerate(self._unrolled()):
            self._play(operation, index)
        if self._collecting is not None:
            self._problems.add(case.name, self._collecting.name, "starts collecting metrics and never stops")
        if not self._measurements and not self._problems:
            self._problems.add(case.name, "workloadTemplate", "has no operation that collects metrics")

    def plan(self) -> Plan:
        return Plan(
            self._case,
            self._workload,
            tuple(self._nodes),
            tuple(self._apps),
            tuple((name, pairs(self._namespaces[name])) for name in sorted(self._namespaces)),
            tuple(self._steps),
            tuple(self._measurements),
            tuple(self._left_out),
        )

    def _unrolled(self) -> Iterator[Operation]:
        """createPodSets as the createPods that it stands for: they count as operations of their own."""
        for operation in self._case.operations:
            if operation.opcode != "createPodSets" or not self._known(operation):
                yield operation
                continue
            inner = operation.fields.get("createPodsOp")
            prefix = str(operation.fields.get("namespacePrefix") or "")
            if not isinstance(inner, dict):
                self._problems.add(f"{operation.path}.createPodsOp", inner, "must be a createPods operation")
                continue
            own = {key: value for key, value in inner.items() if key != "opcode"}
            for index in range(self._count(operation)):
                namespace = {"namespace": f"{prefix}-{index}"}
                yield Operation("createPods", {**own, **namespace}, f"{operation.path}.createPodsOp")

    def _play(self, operation: Operation, index: int) -> None:
        if operation.opcode in NOT_PLAYED:
            self._problems.add(
                f"{operation.path}.opcode", operation.opcode, "cannot be played", NOT_PLAYED[operation.opcode]
            )
        elif self._known(operation):
            _PLAY[operation.opcode](self, operation, index)

    def _known(self, operation: Operation) -> bool:
        fields = OPERATIONS.get(operation.opcode)
        if fields is None:
            self._problems.add(
                f"{operation.path}.opcode",
                operation.opcode,
                "is no operation of scheduler_perf",
                near_miss(operation.opcode, (*OPERATIONS, *NOT_PLAYED)),
            )
            return False
        for name in operation.fields:
            if name not in fields:
                self._problems.add(
                    f"{operation.path}.{name}",
                    operation.fields[name],
                    f"is no field of {operation.opcode}",
                    near_miss(name, fields),
                )
        return True

    # --- the operations; see _PLAY

    def _create_nodes(self, operation: Operation, index: int) -> None:
        if self._apps:
            self._problems.add(
                operation.path,
                "createNodes",
                "comes after pods were created",
                "nodes that join later are not simulated",
            )
        fields = operation.fields
        count = self._count(operation)
        documents = self._documents(operation, "nodeTemplatePath", NODE, count, "Node")
        if strategy := fields.get("nodeAllocatableStrategy"):
            for what in ("csiNodeAllocatable", "migratedPlugins"):
                if what in strategy:
                    self._leave_out(f"{operation.path}.{what}", "volumes are not simulated")
        for each in range(count):
            document = deepcopy(documents[each % len(documents)]) if documents else {}
            self._add_node(document, fields, each, operation.path)

    def _add_node(self, document: dict[str, Any], fields: Mapping[str, Any], each: int, path: str) -> None:
        metadata = document.setdefault("metadata", {})
        prefix = metadata.pop("generateName", None) or "node-"
        name = metadata.setdefault("name", f"{prefix}{len(self._nodes)}")
        labels = metadata.setdefault("labels", None) or {}
        metadata["labels"] = labels
        if self._config.hosts_are_labelled:
            labels["kubernetes.io/hostname"] = name
        if unique := fields.get("uniqueNodeLabelStrategy"):
            labels[str(unique.get("labelKey"))] = name
        if by_turns := fields.get("labelNodePrepareStrategy"):
            values = by_turns.get("labelValues") or [by_turns.get("labelValue")]
            labels[str(by_turns.get("labelKey"))] = values[each % len(values)]
        if strategy := fields.get("nodeAllocatableStrategy"):
            status = document.setdefault("status", {})
            given = status.get("allocatable") or status.get("capacity") or {}
            status["allocatable"] = {**given, **(strategy.get("nodeAllocatable") or {})}
        self._nodes.append(node_from_v1(document, f"{path}: Node", self._problems))

    def _create_namespaces(self, operation: Operation, index: int) -> None:
        count = self._count(operation)
        prefix = str(operation.fields.get("prefix") or "")
        template: dict[str, Any] = {"metadata": {}}
        documents = self._documents(operation, "namespaceTemplatePath", template, count, "Namespace")
        for each in range(count):
            labels = (documents[each % len(documents)].get("metadata") or {}).get("labels") if documents else {}
            self._namespace(f"{prefix}-{each}").update(labels or {})

    def _namespace(self, name: str) -> dict[str, str]:
        """The labels of a namespace, which is there from now on."""
        return self._namespaces.setdefault(name, {"kubernetes.io/metadata.name": name})

    def _create_pods(self, operation: Operation, index: int) -> None:
        fields, path = operation.fields, operation.path
        namespace = str(fields.get("namespace") or f"namespace-{index}")
        collect, skip = bool(fields.get("collectMetrics")), bool(fields.get("skipWaitToCompletion"))
        if self._flag(operation, "steadyState"):
            self._problems.add(f"{path}.steadyState", True, "cannot be played", "pods that are deleted once scheduled")
        if collect and skip:
            self._problems.add(path, "collectMetrics", "must not stand beside skipWaitToCompletion")
        count = self._count(operation)
        if multiplier := fields.get("countMultiplierParam"):
            count *= int(self._param(multiplier, f"{path}.countMultiplierParam", int, 1))
        for what in ("persistentVolumeTemplatePath", "persistentVolumeClaimTemplatePath"):
            if fields.get(what):
                self._leave_out(f"{path}.{what}", "volumes are not simulated: these pods have none")
        apps = self._new_apps(operation, count, namespace, index)
        if collect:
            self._start(_Collecting(namespace, (namespace,), {}), path)
        if apps:
            self._steps.append(Post(apps, WORKERS))
        if self._collecting is not None:
            self._collecting.posted += apps
        if skip:
            self._awaited[namespace] = self._awaited.get(namespace, 0) + count
        elif apps:  # as the benchmark does: so many in the namespace, whoever asked for them
            self._steps.append(Wait(self._in_namespace(namespace), count))
        if collect:
            self._stop(path, count)

    def _new_apps(self, operation: Operation, count: int, namespace: str, index: int) -> tuple[int, ...]:
        """The applications of `count` pods: one a distinct spec."""
        default = self._case.pod_template
        documents = self._documents(operation, "podTemplatePath", POD, count, "Pod", default)
        specs: dict[PodSpec, int] = {}
        for each, document in enumerate(documents):
            spec = self._pod(document, namespace, operation.path)
            specs[spec] = specs.get(spec, 0) + (count // len(documents) + (each < count % len(documents)))
        first = len(self._apps)
        self._apps += [PlannedApp(spec, pods, f"{namespace}/op-{index}") for spec, pods in specs.items() if pods]
        apps = tuple(range(first, len(self._apps)))
        self._namespace(namespace)
        self._groups.append(_Group(apps, namespace))
        return apps

    def _pod(self, document: dict[str, Any], namespace: str, path: str) -> PodSpec:
        document = deepcopy(document)
        metadata = document.setdefault("metadata", {})
        metadata["namespace"] = namespace
        spec = document.get("spec")
        if isinstance(spec, dict) and spec.get("resourceClaims"):
            self._problems.add(
                f"{path}: Pod.spec.resourceClaims",
                spec["resourceClaims"],
                "cannot be played",
                NOT_PLAYED["createResourceClaims"],
            )
        if metadata.pop("finalizers", None):
            self._leave_out(f"{path}: Pod.metadata.finalizers", "finalizers are not simulated: deleted pods go")
        return pod_from_v1(document, f"{path}: Pod", self._problems)[1]

    def _delete_pods(self, operation: Operation, index: int) -> None:
        fields = operation.fields
        apps = self._selected(operation, [str(fields.get("namespace") or "")])
        per_s = self._number(operation, "deletePodsPerSecond")
        self._steps.append(Delete(apps, float(per_s), bool(fields.get("skipWaitToCompletion"))))

    def _churn(self, operation: Operation, index: int) -> None:
        fields, path = operation.fields, operation.path
        namespace = str(fields.get("namespace") or f"namespace-{index}")
        mode = fields.get("mode")
        if mode not in ("create", "recreate"):
            self._problems.add(f"{path}.mode", mode, "must be create or recreate")
        number = self._number(operation, "number")
        if mode == "recreate" and number == 0:
            self._problems.add(f"{path}.number", number, "must be at least 1 in the mode recreate")
        templates = fields.get("templatePaths")
        if not isinstance(templates, list) or not templates:
            self._problems.add(f"{path}.templatePaths", templates, "must name at least one template")
            return
        apps = []
        for place, template in enumerate(templates):
            for document in self._read(str(template), f"{path}.templatePaths[{place}]", {}):
                if document.get("kind") == "Pod":
                    apps.append(len(self._apps))
                    self._apps.append(PlannedApp(self._pod(document, namespace, path), 1, f"{namespace}/churn-{place}"))
                elif document.get("kind") == "Node":
                    self._leave_out(f"{path}.templatePaths[{place}]", "nodes that come and go are not simulated")
                else:
                    self._other_kind(document, f"{path}.templatePaths[{place}]")
        self._namespace(namespace)
        period_s = self._number(operation, "intervalMilliseconds") / 1000 or CHURN_PERIOD_S
        if apps:
            self._groups.append(_Group(tuple(apps), namespace))
            self._steps.append(Churn(tuple(apps), period_s, int(number), mode == "recreate"))

    def _barrier(self, operation: Operation, index: int) -> None:
        fields = operation.fields
        stage = fields.get("stageRequirement") or "Scheduled"
        if stage not in ("Scheduled", "Attempted"):
            self._problems.add(f"{operation.path}.stageRequirement", stage, "must be Scheduled or Attempted")
        namespaces = [str(each) for each in fields.get("namespaces") or ()]
        for name in namespaces:
            if name not in self._namespaces:
                self._problems.add(
                    f"{operation.path}.namespaces", name, "is no namespace so far", near_miss(name, self._namespaces)
                )
        for name in namespaces or list(self._awaited):
            pods = self._awaited.get(name, 0)
            if pods:
                self._steps.append(Wait(self._selected(operation, [name]), pods, stage == "Attempted"))
            if stage == "Scheduled":
                self._awaited.pop(name, None)

    def _sleep(self, operation: Operation, index: int) -> None:
        self._steps.append(Sleep(self._duration_s(operation)))

    def _create_any(self, operation: Operation, index: int) -> None:
        numbered = "count" in operation.fields or "countParam" in operation.fields
        count = self._count(operation) if numbered else 1
        for document in self._documents(operation, "templatePath", {}, count, ""):
            self._other_kind(document, operation.path)

    def _start_collecting_metrics(self, operation: Operation, index: int) -> None:
        fields = operation.fields
        namespaces = tuple(str(each) for each in fields.get("namespaces") or ())
        if not namespaces:
            self._problems.add(
                f"{operation.path}.namespaces", fields.get("namespaces"), "must name at least one namespace"
            )
        self._start(_Collecting(str(fields.get("name") or ""), namespaces, self._selector(operation)), operation.path)

    def _stop_collecting_metrics(self, operation: Operation, index: int) -> None:
        self._stop(operation.path)

    def _start_collecting_profile(self, operation: Operation, index: int) -> None:
        self._leave_out(operation.path, "profiles of the scheduler's program are not taken")

    def _stop_collecting_profile(self, operation: Operation, index: int) -> None:
        """Left out with its beginning."""

    # --- what they share

    def _start(self, collecting: _Collecting, path: str) -> None:
        if self._collecting is not None:
            self._problems.add(path, collecting.name, "collects metrics while another collection is not stopped")
        self._collecting = collecting

    def _in_namespace(self, namespace: str) -> tuple[int, ...]:
        return tuple(app for group in self._groups if group.namespace == namespace for app in group.apps)

    def _stop(self, path: str, enough: int = 0) -> None:
        """enough: pods that end the measurement; 0: all that were posted meanwhile and are counted."""
        collecting, self._collecting = self._collecting, None
        if collecting is None:
            self._problems.add(path, "stopCollectingMetrics", "stops what was not started")
            return
        counted = [
            app
            for group in self._groups
            if group.namespace in collecting.namespaces
            for app in group.apps
            if collecting.selector.items() <= dict(self._apps[app].template.labels).items()
        ]
        posted = tuple(collecting.posted)
        pods = enough or sum(self._apps[app].pods for app in set(posted) & set(counted))
        self._measurements.append(Measurement(collecting.name, posted, tuple(counted), pods))

    def _selected(self, operation: Operation, namespaces: list[str]) -> tuple[int, ...]:
        """Applications so far in these namespaces (none named: in all) with the operation's labels."""
        wanted = self._selector(operation).items()
        return tuple(
            app
            for group in self._groups
            if not namespaces or group.namespace in namespaces
            for app in group.apps
            if wanted <= dict(self._apps[app].template.labels).items()
        )

    def _selector(self, operation: Operation) -> dict[str, str]:
        found = operation.fields.get("labelSelector") or {}
        if not isinstance(found, dict):
            self._problems.add(f"{operation.path}.labelSelector", found, "must be a map of labels")
            return {}
        return {str(key): str(value) for key, value in found.items()}

    def _leave_out(self, where: str, reason: str) -> None:
        if all(known.where != where for known in self._left_out):
            self._left_out.append(Refusal(where, reason))

    def _other_kind(self, document: dict[str, Any], path: str) -> None:
        kind = str(document.get("kind") or "?")
        if kind in WITHOUT_EFFECT:
            self._leave_out(f"{path}: {kind}", "has no effect on the simulated scheduler")
        else:
            self._problems.add(
                f"{path}: kind", kind, "cannot be created", f"known: Pod, Node, {', '.join(WITHOUT_EFFECT)}"
            )

    def _param(self, value: Any, path: str, wanted: type, default: Any) -> Any:
        """What `$name` stands for."""
        name = str(value)[1:]
        params = self._workload.params
        if not str(value).startswith("$"):
            self._problems.add(path, value, "must be a parameter's name after a $")
        elif name not in params:
            self._problems.add(path, value, f"is no parameter of {self._workload.name}", near_miss(name, params))
        elif not isinstance(params[name], wanted) or (wanted is int and isinstance(params[name], bool)):
            self._problems.add(f"params.{name}", params[name], f"must be {_TYPES[wanted]}")
        else:
            return params[name]
        return default

    def _number(self, operation: Operation, name: str, default: int = 0) -> float:
        value = operation.fields.get(name, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            self._problems.add(f"{operation.path}.{name}", value, "must be a number of at least 0")
            return default
        return value

    def _count(self, operation: Operation) -> int:
        param = operation.fields.get("countParam")
        count = (
            self._param(param, f"{operation.path}.countParam", int, 0) if param else self._number(operation, "count")
        )
        if count < 0:
            self._problems.add(f"{operation.path}.countParam", count, "must be at least 0")
        return max(0, int(count))

    def _flag(self, operation: Operation, name: str) -> bool:
        param = operation.fields.get(f"{name}Param")
        if param:
            return bool(self._param(param, f"{operation.path}.{name}Param", bool, False))
        return bool(operation.fields.get(name))

    def _duration_s(self, operation: Operation) -> float:
        param = operation.fields.get("durationParam")
        value = (
            self._param(param, f"{operation.path}.durationParam", str, "0s")
            if param
            else operation.fields.get("duration")
        )
        try:
            return float(parse_duration_s(str(value)))
        except ValueError as error:
            self._problems.add(f"{operation.path}.duration", value, str(error))
            return 0.0

    def _documents(
        self, operation: Operation, name: str, built_in: Mapping[str, Any], count: int, kind: str, default: str = ""
    ) -> list[dict[str, Any]]:
        """The objects of an operation: one for all where its template has no actions, else one for each of `count`."""
        template = operation.fields.get(name) or default
        if not template:
            return [deepcopy(dict(built_in))] if built_in else []
        path = f"{operation.path}.{name}"
        env: dict[str, Any] = {}
        for key, value in (operation.fields.get("templateParams") or {}).items():
            text = isinstance(value, str) and value.startswith("$")
            env[key] = self._param(value, f"{operation.path}.templateParams.{key}", object, "") if text else value
        if not has_actions(self._text(str(template), path)):
            return self._read(str(template), path, env, kind)
        return [
            document
            for each in range(count)
            for document in self._read(str(template), path, {**env, "Index": each, "Count": count}, kind)
        ]

    def _read(self, template: str, path: str, env: dict[str, Any], kind: str = "") -> list[dict[str, Any]]:
        text = self._text(template, path)
        try:
            documents = parse_kubernetes_documents(render(text, env), template)
        except (ValueError, InputError) as error:
            self._problems.add(path, template, "cannot be read", str(error))
            return []
        for document in documents:
            found = document.get("kind") if isinstance(document, dict) else None
            if not isinstance(document, dict) or (kind and found not in (kind, None)):
                self._problems.add(path, template, f"must hold {kind or 'an object'}, not {found or document}")
                return []
        return documents

    def _text(self, template: str, path: str) -> str:
        """A template's text; empty after a problem."""
        file = self._file(template)
        if file is None:
            self._problems.add(path, template, "is not a file", f"looked for beside {self._config.path} and above")
            return ""
        if file not in self._texts:
            try:
                self._texts[file] = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                self._problems.add(path, template, f"cannot be read: {error}")
                self._texts[file] = ""
        return self._texts[file]

    def _file(self, template: str) -> Path | None:
        """Where a template is. Up to 1.31 paths began above the folder config/, since then at the file's own folder."""
        folder = self._config.path.parent
        parts = Path(template).parts
        places = [
            folder / template,
            folder.parent / template,
            *(folder.joinpath(*parts[i:]) for i in range(1, len(parts))),
        ]
        return next((place for place in places if place.is_file()), None)


_PLAY: Mapping[str, Callable[[_Planner, Operation, int], None]] = {
    "createNodes": _Planner._create_nodes,
    "createNamespaces": _Planner._create_namespaces,
    "createPods": _Planner._create_pods,
    "deletePods": _Planner._delete_pods,
    "churn": _Planner._churn,
    "barrier": _Planner._barrier,
    "sleep": _Planner._sleep,
    "createAny": _Planner._create_any,
    "startCollectingMetrics": _Planner._start_collecting_metrics,
    "stopCollectingMetrics": _Planner._stop_collecting_metrics,
    "startCollectingProfile": _Planner._start_collecting_profile,
    "stopCollectingProfile": _Planner._stop_collecting_profile,
}
"""How each operation is planned; createPodSets is unrolled before."""

_TYPES = {int: "a whole number", str: "text", bool: "true or false", object: "given"}


def _texts(value: Any) -> Iterator[str]:
    """Every text within a value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def with_image(template: PodSpec, image: str) -> PodSpec:
    """The spec with `image` for all its containers."""
    containers = tuple(replace(each, image=image) for each in template.containers)
    return replace(
        template,
        containers=containers,
        init_containers=tuple(replace(each, image=image) for each in template.init_containers),
    )
