"""Reads the configuration of Kubernetes' scheduler benchmark, scheduler_perf: performance-config.yaml of any version.

A file holds test cases, a case a list of operations and several workloads, which fill in the operations' parameters.
Operations are kept as written here; `scheduler_perf_plan` says what a workload of them comes to.

Source: kubernetes/kubernetes, test/integration/scheduler_perf, of 1.20 (scheduler_perf_test.go) and 1.34
(scheduler_perf.go, operations.go).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, Problems, near_miss
from sim.base.yamltext import parse_kubernetes_documents


def _names(text: str) -> tuple[str, ...]:
    return tuple(text.split())


OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "createNodes": _names(
        "count countParam nodeTemplatePath nodeAllocatableStrategy labelNodePrepareStrategy uniqueNodeLabelStrategy "
        "templateParams"
    ),
    "createNamespaces": _names("prefix count countParam namespaceTemplatePath"),
    "createPods": _names(
        "count countParam countMultiplierParam steadyState steadyStateParam duration durationParam collectMetrics "
        "namespace podTemplatePath skipWaitToCompletion persistentVolumeTemplatePath persistentVolumeClaimTemplatePath "
        "templateParams signatureBatchSize signatureBatchSizeParam"
    ),
    "createPodSets": _names("count countParam namespacePrefix createPodsOp"),
    "deletePods": _names("namespace labelSelector skipWaitToCompletion deletePodsPerSecond"),
    "churn": _names("mode number intervalMilliseconds namespace templatePaths"),
    "barrier": _names("namespaces labelSelector stageRequirement"),
    "sleep": _names("duration durationParam"),
    "createAny": _names("namespace templatePath count countParam templateParams"),
    "startCollectingMetrics": _names("name namespaces labelSelector"),
    "stopCollectingMetrics": (),
    "startCollectingProfile": _names("name"),
    "stopCollectingProfile": (),
}
"""Operations that are played, and their fields."""


@dataclass(frozen=True)
class Operation:
    """One operation of a test case, as written."""

    opcode: str
    fields: Mapping[str, Any]
    path: str
    """Where it stands: `SchedulingBasic.workloadTemplate[2]`."""


@dataclass(frozen=True)
class PerfWorkload:
    """One workload of a test case."""

    name: str
    params: Mapping[str, Any]
    labels: tuple[str, ...]
    """The case's and its own."""
    threshold: float
    """What `threshold_metric` must reach on the benchmark's own machines; 0: nothing."""
    threshold_metric: Mapping[str, Any]
    feature_gates: Mapping[str, bool]


@dataclass(frozen=True)
class PerfCase:
    """One test case."""

    name: str
    operations: tuple[Operation, ...]
    workloads: tuple[PerfWorkload, ...]
    scheduler_config: str
    """Path of the scheduler's configuration; empty: the default one."""
    pod_template: str
    """Path of the pods' template where an operation names none; empty: the built-in one."""


@dataclass(frozen=True)
class PerfConfig:
    """A file of test cases."""

    path: Path
    cases: tuple[PerfCase, ...]

    def names(self) -> list[str]:
        """`case/workload` of each workload, in the file's order."""
        return [f"{case.name}/{workload.name}" for case in self.cases for workload in case.workloads]

    def find(self, name: str) -> tuple[PerfCase, PerfWorkload]:
        """A workload by `case/workload`; empty: the first. Raises InputError with a near miss."""
        for case in self.cases:
            for workload in case.workloads:
                if name in ("", f"{case.name}/{workload.name}"):
                    return case, workload
        raise InputError(f"{self.path}: '{name}' is none of its workloads; {near_miss(name, self.names())}")

    @property
    def hosts_are_labelled(self) -> bool:
        """Since 1.21 nodes carry kubernetes.io/hostname by themselves; before, operations gave it by a strategy."""
        return not any("uniqueNodeLabelStrategy" in op.fields for case in self.cases for op in case.operations)


# --- reading the file


def read_config(path: Path | str) -> PerfConfig:
    """Read a performance-config.yaml of any version. Raises InputError with all that is no configuration at all.

    Operations are kept as they are written: whether one can be played is asked when its workload is (`make_plan`).
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is not UTF-8 text: {error.reason} at byte {error.start}") from None
    documents = parse_kubernetes_documents(text, str(path))
    problems = Problems(str(path))
    if len(documents) != 1 or not isinstance(documents[0], list):
        problems.add("", documents[0] if documents else None, "must be one list of test cases")
        problems.raise_if_any()
    reader = _ConfigReader(problems)
    cases = [reader.case(item, f"[{index}]") for index, item in enumerate(documents[0])]
    for twice in _repeated(case.name for case in cases):
        problems.add("name", twice, "is the name of two test cases")
    problems.raise_if_any()
    return PerfConfig(path, tuple(cases))


def _repeated(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return [name for name in names if name in seen or seen.add(name)]  # type: ignore[func-returns-value]


class _ConfigReader:
    """Reads the parts of a configuration, collecting problems."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems

    def case(self, item: Any, path: str) -> PerfCase:
        content = self.fields(item, path)
        name = self.name(content, path)
        path = name or path
        labels = self.strings(content.get("labels"), f"{path}.labels")
        gates = self.gates(content.get("featureGates"), f"{path}.featureGates")
        metric = self.fields(content.get("defaultThresholdMetricSelector"), f"{path}.defaultThresholdMetricSelector")
        operations = [
            self.operation(each, f"{path}.workloadTemplate[{index}]")
            for index, each in enumerate(self.items(content.get("workloadTemplate"), f"{path}.workloadTemplate"))
        ]
        workloads = [
            self.workload(each, f"{path}.workloads[{index}]", labels, gates, metric)
            for index, each in enumerate(self.items(content.get("workloads"), f"{path}.workloads"))
        ]
        for what, found in (("workloadTemplate", operations), ("workloads", workloads)):
            if not found:
                self._problems.add(f"{path}.{what}", content.get(what), "must have at least one entry")
        for twice in _repeated(workload.name for workload in workloads):
            self._problems.add(f"{path}.workloads", twice, "is the name of two workloads")
        config = self.text(content.get("schedulerConfigPath"), f"{path}.schedulerConfigPath")
        template = self.text(content.get("defaultPodTemplatePath"), f"{path}.defaultPodTemplatePath")
        return PerfCase(name, tuple(operations), tuple(workloads), config, template)

    def workload(
        self, item: Any, path: str, labels: tuple[str, ...], gates: dict[str, bool], metric: dict[str, Any]
    ) -> PerfWorkload:
        content = self.fields(item, path)
        threshold = content.get("threshold", 0)
        if isinstance(threshold, dict):  # one a topic: they differ by the benchmark's machines
            threshold = max((each for each in threshold.values() if isinstance(each, int | float)), default=0)
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or threshold < 0:
            self._problems.add(f"{path}.threshold", threshold, "must be a number of at least 0")
            threshold = 0
        own = self.fields(content.get("thresholdMetricSelector"), f"{path}.thresholdMetricSelector")
        return PerfWorkload(
            self.name(content, path),
            self.fields(content.get("params"), f"{path}.params"),
            (*labels, *self.strings(content.get("labels"), f"{path}.labels")),
            float(threshold),
            own or metric or {"name": "SchedulingThroughput", "dataBucket": "Average"},
            {**gates, **self.gates(content.get("featureGates"), f"{path}.featureGates")},
        )

    def operation(self, item: Any, path: str) -> Operation:
        content = self.fields(item, path)
        opcode = content.get("opcode")
        if not isinstance(opcode, str):
            self._problems.add(f"{path}.opcode", opcode, "must name an operation", near_miss("", OPERATIONS))
        return Operation(str(opcode), {key: value for key, value in content.items() if key != "opcode"}, path)

    def name(self, content: Mapping[str, Any], path: str) -> str:
        name = content.get("name")
        if not isinstance(name, str) or not name:
            self._problems.add(f"{path}.name", name, "must be given")
            return ""
        return name

    def fields(self, value: Any, path: str) -> dict[str, Any]:
        if value is not None and not isinstance(value, dict):
            self._problems.add(path, value, "must be a mapping")
        return value if isinstance(value, dict) else {}

    def items(self, value: Any, path: str) -> list[Any]:
        if value is not None and not isinstance(value, list):
            self._problems.add(path, value, "must be a list")
        return value if isinstance(value, list) else []

    def text(self, value: Any, path: str) -> str:
        if value is not None and not isinstance(value, str):
            self._problems.add(path, value, "must be text")
        return value if isinstance(value, str) else ""

    def strings(self, value: Any, path: str) -> tuple[str, ...]:
        return tuple(self.text(each, f"{path}[{index}]") for index, each in enumerate(self.items(value, path)))

    def gates(self, value: Any, path: str) -> dict[str, bool]:
        found = self.fields(value, path)
        for gate, on in found.items():
            if not isinstance(on, bool):
                self._problems.add(f"{path}.{gate}", on, "must be true or false")
        return {str(gate): bool(on) for gate, on in found.items()}
