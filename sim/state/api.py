"""Reads Kubernetes v1 objects (decoded JSON or YAML) into the frozen specs of `sim.state.objects`.

Every problem is collected with its path, and nothing is raised here: call `problems.raise_if_any()` before using what
was read; after a problem the returned spec holds defaults in the places that could not be read.

Rules and defaults are those of the API server (Kubernetes 1.34 source: core/v1 defaulting, core validation,
apimachinery label and name validation; Gt and Lt take integers as in the scheduler's own reading of node selectors):
missing requests come from limits, pod-level requests from the containers and pod-level limits, host ports from
`hostNetwork`; matchLabelKeys of pod affinity are merged into its selector; a node's allocatable defaults to its
capacity. Fields that Kubernetes knows and scheduling does not look at (env, volumes, probes, …) are accepted; any other
field is refused.

Two styles: whole documents (`pod_from_v1`, `node_from_v1`) and flat fields, with `labels`, `containers`, … side by
side (`pod_spec_from_fields`, `node_spec_from_fields`). `amounts` says how amounts are written: `parse_amount` for
quantities, `base_units` for integers in base units. `validate=False` keeps what the API server would refuse, as test
suites need it.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from sim.base.errors import Problems, near_miss
from sim.base.units import format_amount, parse_amount, parse_quantity
from sim.state.container_lives import hook_s, probe_from
from sim.state.names import (
    dns_label_fault,
    dns_subdomain_fault,
    is_extended_resource,
    is_huge_page,
    is_pod_level_resource,
    label_key_fault,
    label_value_fault,
    may_overcommit,
)
from sim.state.objects import (
    Affinity,
    Container,
    ContainerPort,
    LabelSelector,
    NodeImage,
    NodeSelectorTerm,
    NodeSpec,
    Owner,
    Pairs,
    PodAffinityTerm,
    PodSpec,
    PreferredNodeTerm,
    Requirement,
    Taint,
    Toleration,
    TopologySpreadConstraint,
    WeightedPodAffinityTerm,
    pairs,
    quantities,
)

AmountReader = Callable[[str, Any], int]
"""(resource name, what is written) → amount in base units; `ValueError` with a sentence when it cannot be read."""

INT32_MAX = 2**31 - 1
PREFER_AVOID_PODS = "scheduler.alpha.kubernetes.io/preferAvoidPods"
"""The node annotation of Kubernetes up to 1.21."""


def base_units(resource: str, value: Any) -> int:
    """Amounts that are integers in base units already (cpu in millicores)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"must be an integer in base units of {resource}")
    return value


def _sum_containers(containers: Iterable[Container], inits: Iterable[Container]) -> dict[str, int]:
    """The requests of a pod's containers together: the running ones with sidecars, or the largest start-up step."""
    running: dict[str, int] = {}
    for container in containers:
        for name, amount in container.requests:
            running[name] = running.get(name, 0) + amount
    sidecars: dict[str, int] = {}
    peak: dict[str, int] = {}
    for init in inits:
        own = dict(init.requests)
        if init.restart_policy == "Always":
            for name, amount in own.items():
                sidecars[name] = sidecars.get(name, 0) + amount
                running[name] = running.get(name, 0) + amount
            step = sidecars
        else:
            step = {name: amount + sidecars.get(name, 0) for name, amount in own.items()}
        for name, amount in step.items():
            peak[name] = max(peak.get(name, 0), amount)
    return {name: max(running.get(name, 0), peak.get(name, 0)) for name in running.keys() | peak.keys()}


# --- the fields that Kubernetes 1.34 knows ----------------------------------------------------------------------------


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_METADATA = _names(
    "annotations creationTimestamp deletionGracePeriodSeconds deletionTimestamp finalizers generateName generation "
    "labels managedFields name namespace ownerReferences resourceVersion selfLink uid"
)
_LIFECYCLE = _names("postStart preStop stopSignal")
_POD_SPEC = _names(
    "activeDeadlineSeconds affinity automountServiceAccountToken containers dnsConfig dnsPolicy enableServiceLinks "
    "ephemeralContainers hostAliases hostIPC hostNetwork hostPID hostUsers hostname hostnameOverride imagePullSecrets "
    "initContainers nodeName nodeSelector os overhead preemptionPolicy priority priorityClassName readinessGates "
    "resourceClaims resources restartPolicy runtimeClassName schedulerName schedulingGates securityContext "
    "serviceAccount serviceAccountName setHostnameAsFQDN shareProcessNamespace subdomain terminationGracePeriodSeconds "
    "tolerations topologySpreadConstraints volumes"
)
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_CONTAINER = _names(
    "args command env envFrom image imagePullPolicy lifecycle livenessProbe name ports readinessProbe resizePolicy "
    "resources restartPolicy restartPolicyRules securityContext startupProbe stdin stdinOnce terminationMessagePath "
    "terminationMessagePolicy tty volumeDevices volumeMounts workingDir"
)
_PORT = _names("containerPort hostIP hostPort name protocol")
_RESOURCES = _names("claims limits requests")
_REQUIREMENT = _names("key operator values")
_SELECTOR = _names("matchExpressions matchLabels")
_NODE_TERM = _names("matchExpressions matchFields")
_AFFINITY = _names("nodeAffinity podAffinity podAntiAffinity")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_POD_TERM = _names("labelSelector matchLabelKeys mismatchLabelKeys namespaceSelector namespaces topologyKey")
_TOLERATION = _names("effect key operator tolerationSeconds value")
_SPREAD = _names(
    "labelSelector matchLabelKeys maxSkew minDomains nodeAffinityPolicy nodeTaintsPolicy topologyKey whenUnsatisfiable"
)
_TAINT = _names("effect key timeAdded value")
_NODE_SPEC = _names("configSource externalID podCIDR podCIDRs providerID taints unschedulable")
_NODE_STATUS = _names(
    "addresses allocatable capacity conditions config daemonEndpoints features images nodeInfo phase runtimeHandlers "
    "volumesAttached volumesInUse"
)

_TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_SELECTOR_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_NODE_OPERATORS = (*_SELECTOR_OPERATORS, "Gt", "Lt")
_PROTOCOLS = ("TCP", "UDP", "SCTP")
_INTEGER = re.compile(r"[+-]?\d+", re.ASCII)


class Reader:
    """Reads pieces of v1 objects, collecting problems. `validate=False` checks types only, not the server's rules."""

    def __init__(self, problems: Problems, amounts: AmountReader = parse_amount, validate: bool = True) -> None:
        self.problems = problems
        self.amounts = amounts
        self.validate = validate

    # Types: whatever has the wrong one is reported and read as absent.

    def fields(self, value: Any, path: str, known: frozenset[str] | None = None) -> dict[str, Any]:
        """A JSON object; absent reads as empty. `known`: the fields it may have (checked when validating)."""
        if value is None:
            return {}
        if not isinstance(value, dict):
            self.problems.add(path, value, "must be an object (a map of fields)")
            return {}
        if known is not None and self.validate and not known.issuperset(value):
            for key in value:
                if key not in known:
                    where = f"{path}.{key}" if path else str(key)
                    self.problems.add(where, value[key], "is an unknown field", near_miss(str(key), known))
        return value

    def items(self, value: Any, path: str) -> list[Any]:
        if value is None:
            return []
        if not isinstance(value, list):
            self.problems.add(path, value, "must be a list")
            return []
        return value

    def text(self, value: Any, path: str, default: str = "") -> str:
        if value is None:
            return default
        if not isinstance(value, str):
            self.problems.add(path, value, "must be a string", "put it in quotes")
            return default
        return value

    def choice(self, value: Any, path: str, allowed: tuple[str, ...], default: str | None) -> str | None:
        """One of a closed set of words; absent or empty gives the default."""
        text = self.text(value, path)
        if text == "":
            return default
        if self.validate and text not in allowed:
            self.problems.add(path, text, f"must be one of {', '.join(allowed)}", _close(text, allowed))
        return text

    def integer(self, value: Any, path: str, default: int, low: int = -(2**63), high: int = 2**63 - 1) -> int:
        """A whole number between `low` and `high` (the bounds are checked when validating)."""
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int):
            self.problems.add(path, value, "must be a whole number")
            return default
        if self.validate and not low <= value <= high:
            rule = f"must be at least {low}" if value < low else f"must be at most {high}"
            self.problems.add(path, value, rule)
        return value

    def boolean(self, value: Any, path: str) -> bool:
        if value is None:
            return False
        if not isinstance(value, bool):
            self.problems.add(path, value, "must be true or false")
            return False
        return value

    def strings(self, value: Any, path: str) -> tuple[str, ...]:
        return tuple(self.text(item, f"{path}[{i}]") for i, item in enumerate(self.items(value, path)))

    def fault(self, path: str, value: object, rule: str) -> None:
        """Report a broken rule of the API server; an empty rule is none."""
        if rule and self.validate:
            self.problems.add(path, value, rule)

    def labels(self, value: Any, path: str) -> Pairs:
        """A map of labels: keys are qualified names, values at most 63 characters."""
        found = self.fields(value, path)
        labels: dict[str, str] = {}
        for key, item in found.items():
            where = f"{path}[{key}]"
            if not isinstance(key, str):
                self.problems.add(where, key, "must have a string as its key", "put it in quotes")
                continue
            labels[key] = self.text(item, where)
            if self.validate:
                self.fault(where, key, label_key_fault(key))
                self.fault(where, labels[key], label_value_fault(labels[key]))
        return pairs(labels)

    # Amounts.

    def amount(self, resource: str, value: Any, path: str) -> int | None:
        """One amount in base units; None when it cannot be read."""
        try:
            amount = self.amounts(resource, value)
        except ValueError as error:
            self.problems.add(path, value, str(error))
            return None
        if not self.validate:
            return amount
        if amount < 0:
            self.fault(path, value, "must not be negative")
        elif (resource == "pods" or is_extended_resource(resource)) and not _is_whole(value):
            self.fault(path, value, "must be a whole number")
        return amount

    def resource_amounts(self, value: Any, path: str) -> dict[str, int]:
        """A map from resource name to amount in base units."""
        amounts: dict[str, int] = {}
        for name, written in self.fields(value, path).items():
            amount = self.amount(str(name), written, f"{path}[{name}]")
            if amount is not None:
                amounts[str(name)] = amount
        return amounts

    def resource_pair(self, value: Any, path: str) -> tuple[dict[str, int], dict[str, int]]:
        """(requests, limits) of `{requests, limits}`, each request at most its limit."""
        found = self.fields(value, path, _RESOURCES)
        requests = self.resource_amounts(found.get("requests"), f"{path}.requests")
        limits = self.resource_amounts(found.get("limits"), f"{path}.limits")
        if self.validate:
            for name, amount in requests.items():
                limit = limits.get(name)
                if limit is None and not may_overcommit(name):
                    self.fault(f"{path}.limits[{name}]", None, f"must be given: {name} cannot be overcommitted")
                elif limit is not None and amount > limit:
                    rule = f"must be at most the limit of {format_amount(name, limit)}"
                    self.fault(f"{path}.requests[{name}]", format_amount(name, amount), rule)
                elif limit is not None and amount < limit and not may_overcommit(name):
                    rule = f"must equal the limit of {format_amount(name, limit)}: {name} cannot be overcommitted"
                    self.fault(f"{path}.requests[{name}]", format_amount(name, amount), rule)
        return requests, limits

    def container_resources(self, value: Any, path: str) -> tuple[dict[str, int], dict[str, int]]:
        """(requests with defaults from the limits, limits) of a container."""
        requests, limits = self.resource_pair(value, path)
        if self.validate:
            for group, amounts in (("requests", requests), ("limits", limits)):
                for name in amounts:
                    self._container_resource_name(name, f"{path}.{group}[{name}]")
            names = requests.keys() | limits.keys()
            if any(map(is_huge_page, names)) and not names & {"cpu", "memory"}:
                self.fault(path, sorted(names), "must ask for cpu or memory beside huge pages")
        for name, amount in limits.items():
            requests.setdefault(name, amount)
        return requests, limits

    def _container_resource_name(self, name: str, path: str) -> None:
        standard = ("cpu", "memory", "ephemeral-storage")
        if rule := label_key_fault(name):
            self.fault(path, name, rule)
        elif "/" not in name and name not in standard and not is_huge_page(name):
            rule = "must be a standard resource, or have a domain such as nvidia.com/gpu"
            self.problems.add(path, name, rule, near_miss(name, standard))

    # Selectors and terms.

    def requirement(self, value: Any, path: str, operators: tuple[str, ...]) -> Requirement:
        """One `{key, operator, values}`."""
        found = self.fields(value, path, _REQUIREMENT)
        key = self.text(found.get("key"), f"{path}.key")
        operator = self.text(found.get("operator"), f"{path}.operator")
        values = self.strings(found.get("values"), f"{path}.values")
        if self.validate:
            self.fault(f"{path}.key", key, label_key_fault(key))
            self._check_operator(operator, values, path, operators)
        return Requirement(key, operator, values)

    def _check_operator(self, operator: str, values: tuple[str, ...], path: str, operators: tuple[str, ...]) -> None:
        if operator not in operators:
            rule = f"must be one of {', '.join(operators)}"
            self.problems.add(f"{path}.operator", operator, rule, _close(operator, operators))
        elif operator in ("In", "NotIn"):
            if not values:
                self.fault(f"{path}.values", list(values), f"must not be empty with operator {operator}")
            for i, item in enumerate(values):
                self.fault(f"{path}.values[{i}]", item, label_value_fault(item))
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                self.fault(f"{path}.values", list(values), f"must be empty with operator {operator}")
        elif len(values) != 1 or not _INTEGER.fullmatch(values[0]) or not -(2**63) <= int(values[0]) < 2**63:
            self.fault(f"{path}.values", list(values), f"must be one integer with operator {operator}")

    def field_requirement(self, value: Any, path: str) -> Requirement:
        """A matchFields requirement: only metadata.name, In or NotIn, one value."""
        found = self.fields(value, path, _REQUIREMENT)
        key = self.text(found.get("key"), f"{path}.key")
        operator = self.text(found.get("operator"), f"{path}.operator")
        values = self.strings(found.get("values"), f"{path}.values")
        if self.validate:
            if key != "metadata.name":
                self.fault(f"{path}.key", key, "must be metadata.name, the one field that nodes are matched by")
            if operator not in ("In", "NotIn"):
                self.fault(f"{path}.operator", operator, "must be In or NotIn for a field")
            if len(values) != 1:
                self.fault(f"{path}.values", list(values), "must hold exactly one value for a field")
            for i, item in enumerate(values):
                self.fault(f"{path}.values[{i}]", item, dns_subdomain_fault(item))
        return Requirement(key, operator, values)

    def label_selector(self, value: Any, path: str) -> LabelSelector | None:
        """A label selector; None when absent (matches nothing)."""
        if value is None:
            return None
        found = self.fields(value, path, _SELECTOR)
        where = f"{path}.matchExpressions"
        return LabelSelector(
            self.labels(found.get("matchLabels"), f"{path}.matchLabels"),
            tuple(
                self.requirement(item, f"{where}[{i}]", _SELECTOR_OPERATORS)
                for i, item in enumerate(self.items(found.get("matchExpressions"), where))
            ),
        )

    def node_selector_term(self, value: Any, path: str) -> NodeSelectorTerm:
        found = self.fields(value, path, _NODE_TERM)
        expressions, fields = f"{path}.matchExpressions", f"{path}.matchFields"
        return NodeSelectorTerm(
            tuple(
                self.requirement(item, f"{expressions}[{i}]", _NODE_OPERATORS)
                for i, item in enumerate(self.items(found.get("matchExpressions"), expressions))
            ),
            tuple(
                self.field_requirement(item, f"{fields}[{i}]")
                for i, item in enumerate(self.items(found.get("matchFields"), fields))
            ),
        )

    def node_selector(self, value: Any, path: str) -> tuple[NodeSelectorTerm, ...]:
        """The terms of a required node affinity (any of them must match)."""
        where = f"{path}.nodeSelectorTerms"
        found = self.fields(value, path, frozenset({"nodeSelectorTerms"}))
        terms = self.items(found.get("nodeSelectorTerms"), where)
        if not terms:
            self.fault(where, terms, "must have at least one node selector term")
        return tuple(self.node_selector_term(item, f"{where}[{i}]") for i, item in enumerate(terms))

    def preferred_node_terms(self, value: Any, path: str) -> tuple[PreferredNodeTerm, ...]:
        terms = []
        for i, item in enumerate(self.items(value, path)):
            where = f"{path}[{i}]"
            found = self.fields(item, where, frozenset({"preference", "weight"}))
            preference = self.node_selector_term(found.get("preference"), f"{where}.preference")
            terms.append(PreferredNodeTerm(self.integer(found.get("weight"), f"{where}.weight", 0, 1, 100), preference))
            if found.get("weight") is None:
                self.fault(f"{where}.weight", None, "must be from 1 to 100")
        return tuple(terms)

    def pod_affinity_term(self, value: Any, path: str, pod_labels: dict[str, str]) -> PodAffinityTerm:
        """One term; its matchLabelKeys become requirements on the pod's own label values (the server merges them)."""
        found = self.fields(value, path, _POD_TERM)
        topology_key = self.text(found.get("topologyKey"), f"{path}.topologyKey")
        namespaces = self.strings(found.get("namespaces"), f"{path}.namespaces")
        selector = self.label_selector(found.get("labelSelector"), f"{path}.labelSelector")
        own_keys = self.strings(found.get("matchLabelKeys"), f"{path}.matchLabelKeys")
        other_keys = self.strings(found.get("mismatchLabelKeys"), f"{path}.mismatchLabelKeys")
        if self.validate:
            if not topology_key:
                self.fault(f"{path}.topologyKey", topology_key, "must be given")
            else:
                self.fault(f"{path}.topologyKey", topology_key, label_key_fault(topology_key))
            for i, namespace in enumerate(namespaces):
                self.fault(f"{path}.namespaces[{i}]", namespace, dns_label_fault(namespace))
            if (own_keys or other_keys) and selector is None:
                self.fault(f"{path}.labelSelector", None, "must be given with matchLabelKeys or mismatchLabelKeys")
            for key in sorted(set(own_keys) & set(other_keys)):
                self.fault(f"{path}.matchLabelKeys", key, "must not be in mismatchLabelKeys too")
        if selector is not None:
            merged = [Requirement(key, "In", (pod_labels[key],)) for key in own_keys if key in pod_labels]
            merged += [Requirement(key, "NotIn", (pod_labels[key],)) for key in other_keys if key in pod_labels]
            added = tuple(item for item in merged if item not in selector.match_expressions)
            if added:
                selector = LabelSelector(selector.match_labels, selector.match_expressions + added)
        namespace_selector = self.label_selector(found.get("namespaceSelector"), f"{path}.namespaceSelector")
        return PodAffinityTerm(topology_key, selector, namespaces, namespace_selector)

    def pod_affinity(
        self, value: Any, path: str, pod_labels: dict[str, str]
    ) -> tuple[tuple[PodAffinityTerm, ...], tuple[WeightedPodAffinityTerm, ...]]:
        """(required terms, preferred terms) of a podAffinity or podAntiAffinity."""
        found = self.fields(value, path, frozenset({_REQUIRED, _PREFERRED}))
        required = tuple(
            self.pod_affinity_term(item, f"{path}.{_REQUIRED}[{i}]", pod_labels)
            for i, item in enumerate(self.items(found.get(_REQUIRED), f"{path}.{_REQUIRED}"))
        )
        preferred = []
        for i, item in enumerate(self.items(found.get(_PREFERRED), f"{path}.{_PREFERRED}")):
            where = f"{path}.{_PREFERRED}[{i}]"
            weighted = self.fields(item, where, frozenset({"podAffinityTerm", "weight"}))
            term = self.pod_affinity_term(weighted.get("podAffinityTerm"), f"{where}.podAffinityTerm", pod_labels)
            weight = self.integer(weighted.get("weight"), f"{where}.weight", 0, 1, 100)
            if weighted.get("weight") is None:
                self.fault(f"{where}.weight", None, "must be from 1 to 100")
            preferred.append(WeightedPodAffinityTerm(weight, term))
        return required, tuple(preferred)

    def affinity(self, value: Any, path: str, pod_labels: dict[str, str]) -> Affinity | None:
        if value is None:
            return None
        found = self.fields(value, path, _AFFINITY)
        where = f"{path}.nodeAffinity"
        node = self.fields(found.get("nodeAffinity"), where, frozenset({_REQUIRED, _PREFERRED}))
        required = node.get(_REQUIRED)
        pod_required, pod_preferred = self.pod_affinity(found.get("podAffinity"), f"{path}.podAffinity", pod_labels)
        anti = self.pod_affinity(found.get("podAntiAffinity"), f"{path}.podAntiAffinity", pod_labels)
        return Affinity(
            node_required=None if required is None else self.node_selector(required, f"{where}.{_REQUIRED}"),
            node_preferred=self.preferred_node_terms(node.get(_PREFERRED), f"{where}.{_PREFERRED}"),
            pod_required=pod_required,
            pod_preferred=pod_preferred,
            anti_required=anti[0],
            anti_preferred=anti[1],
        )

    # Taints, tolerations, spreading.

    def taints(self, value: Any, path: str) -> tuple[Taint, ...]:
        taints = []
        seen = set()
        for i, item in enumerate(self.items(value, path)):
            where = f"{path}[{i}]"
            found = self.fields(item, where, _TAINT)
            key = self.text(found.get("key"), f"{where}.key")
            taint = Taint(
                key,
                self.text(found.get("value"), f"{where}.value"),
                self.choice(found.get("effect"), f"{where}.effect", _TAINT_EFFECTS, "") or "",
            )
            self.fault(f"{where}.key", key, label_key_fault(key))
            self.fault(f"{where}.value", taint.value, label_value_fault(taint.value))
            if not taint.effect:
                self.fault(f"{where}.effect", None, f"must be one of {', '.join(_TAINT_EFFECTS)}")
            if (key, taint.effect) in seen:
                self.fault(where, f"{key}:{taint.effect}", "must be unique by key and effect")
            seen.add((key, taint.effect))
            taints.append(taint)
        return tuple(taints)

    def tolerations(self, value: Any, path: str) -> tuple[Toleration, ...]:
        return tuple(self._toleration(item, f"{path}[{i}]") for i, item in enumerate(self.items(value, path)))

    def _toleration(self, value: Any, path: str) -> Toleration:
        found = self.fields(value, path, _TOLERATION)
        seconds = found.get("tolerationSeconds")
        toleration = Toleration(
            key=self.text(found.get("key"), f"{path}.key"),
            operator=self.choice(found.get("operator"), f"{path}.operator", ("Exists", "Equal"), "Equal") or "Equal",
            value=self.text(found.get("value"), f"{path}.value"),
            effect=self.choice(found.get("effect"), f"{path}.effect", _TAINT_EFFECTS, "") or "",
            toleration_s=None if seconds is None else self.integer(seconds, f"{path}.tolerationSeconds", 0),
        )
        if self.validate:
            if toleration.key:
                self.fault(f"{path}.key", toleration.key, label_key_fault(toleration.key))
            elif toleration.operator != "Exists":
                rule = "must be Exists when the key is empty, which means every key and value"
                self.fault(f"{path}.operator", toleration.operator, rule)
            if toleration.operator == "Exists" and toleration.value:
                self.fault(f"{path}.value", toleration.value, "must be empty when the operator is Exists")
            elif toleration.operator == "Equal":
                self.fault(f"{path}.value", toleration.value, label_value_fault(toleration.value))
            if toleration.toleration_s is not None and toleration.effect != "NoExecute":
                self.fault(f"{path}.effect", toleration.effect, "must be NoExecute when tolerationSeconds is set")
        return toleration

    def spread_constraints(self, value: Any, path: str) -> tuple[TopologySpreadConstraint, ...]:
        constraints = []
        seen = set()
        for i, item in enumerate(self.items(value, path)):
            where = f"{path}[{i}]"
            constraint = self._spread_constraint(item, where)
            pair = (constraint.topology_key, constraint.when_unsatisfiable)
            if pair in seen:
                rule = "must be unique by topologyKey and whenUnsatisfiable"
                self.fault(where, f"{{{constraint.topology_key}, {constraint.when_unsatisfiable}}}", rule)
            seen.add(pair)
            constraints.append(constraint)
        return tuple(constraints)

    def _spread_constraint(self, value: Any, path: str) -> TopologySpreadConstraint:
        found = self.fields(value, path, _SPREAD)
        actions, policies = ("DoNotSchedule", "ScheduleAnyway"), ("Honor", "Ignore")
        min_domains = found.get("minDomains")
        constraint = TopologySpreadConstraint(
            max_skew=self.integer(found.get("maxSkew"), f"{path}.maxSkew", 0, 1, INT32_MAX),
            topology_key=self.text(found.get("topologyKey"), f"{path}.topologyKey"),
            when_unsatisfiable=self.choice(found.get("whenUnsatisfiable"), f"{path}.whenUnsatisfiable", actions, "")
            or "",
            label_selector=self.label_selector(found.get("labelSelector"), f"{path}.labelSelector"),
            min_domains=None
            if min_domains is None
            else self.integer(min_domains, f"{path}.minDomains", 1, 1, INT32_MAX),
            node_affinity_policy=self.choice(
                found.get("nodeAffinityPolicy"), f"{path}.nodeAffinityPolicy", policies, None
            ),
            node_taints_policy=self.choice(found.get("nodeTaintsPolicy"), f"{path}.nodeTaintsPolicy", policies, None),
            match_label_keys=self.strings(found.get("matchLabelKeys"), f"{path}.matchLabelKeys"),
        )
        if self.validate:
            if found.get("maxSkew") is None:
                self.fault(f"{path}.maxSkew", None, "must be at least 1")
            if not constraint.when_unsatisfiable:
                self.fault(f"{path}.whenUnsatisfiable", None, f"must be one of {', '.join(actions)}")
            if not constraint.topology_key:
                self.fault(f"{path}.topologyKey", constraint.topology_key, "must be given")
            else:
                self.fault(f"{path}.topologyKey", constraint.topology_key, label_key_fault(constraint.topology_key))
            if min_domains is not None and constraint.when_unsatisfiable != "DoNotSchedule":
                self.fault(f"{path}.minDomains", min_domains, "must only be set with whenUnsatisfiable DoNotSchedule")
            if constraint.match_label_keys and constraint.label_selector is None:
                self.fault(f"{path}.labelSelector", None, "must be given with matchLabelKeys")
            for i, key in enumerate(constraint.match_label_keys):
                self.fault(f"{path}.matchLabelKeys[{i}]", key, label_key_fault(key))
        return constraint

    # Containers and the pod.

    def ports(self, value: Any, path: str, host_network: bool) -> tuple[ContainerPort, ...]:
        ports = []
        for i, item in enumerate(self.items(value, path)):
            where = f"{path}[{i}]"
            found = self.fields(item, where, _PORT)
            container_port = self.integer(found.get("containerPort"), f"{where}.containerPort", 0, 1, 65535)
            host_port = self.integer(found.get("hostPort"), f"{where}.hostPort", 0, 0, 65535)
            protocol = self.choice(found.get("protocol"), f"{where}.protocol", _PROTOCOLS, "TCP") or "TCP"
            host_ip = self.text(found.get("hostIP"), f"{where}.hostIP")
            if host_network and host_port == 0:
                host_port = container_port
            if self.validate:
                if found.get("containerPort") is None:
                    self.fault(f"{where}.containerPort", None, "must be from 1 to 65535")
                if host_network and host_port != container_port:
                    self.fault(f"{where}.hostPort", host_port, "must equal containerPort when hostNetwork is true")
                if host_ip and not _is_ip_address(host_ip):
                    self.fault(f"{where}.hostIP", host_ip, "must be an IP address")
            ports.append(ContainerPort(host_port, container_port, protocol, host_ip))
        return tuple(ports)

    def container(self, value: Any, path: str, init: bool, host_network: bool = False) -> Container:
        """One container. Its amounts stand under `resources`, or, in flat style, in `requests` and `limits` itself."""
        found = self.fields(value, path, None)
        if "requests" in found or "limits" in found:
            flat = {key: found[key] for key in ("requests", "limits") if key in found}
            requests, limits = self.container_resources(flat, path)
            self.fields({key: item for key, item in found.items() if key not in flat}, path, _CONTAINER)
        else:
            self.fields(value, path, _CONTAINER)
            requests, limits = self.container_resources(found.get("resources"), f"{path}.resources")
        restart_policy = found.get("restartPolicy")
        lifecycle = self.fields(found.get("lifecycle"), f"{path}.lifecycle", _LIFECYCLE)
        container = Container(
            name=self.text(found.get("name"), f"{path}.name"),
            image=self.text(found.get("image"), f"{path}.image"),
            requests=quantities(requests),
            limits=quantities(limits),
            ports=self.ports(found.get("ports"), f"{path}.ports", host_network),
            restart_policy=None if restart_policy is None else self.text(restart_policy, f"{path}.restartPolicy"),
            startup_probe=probe_from(self, found.get("startupProbe"), f"{path}.startupProbe", "startup"),
            readiness_probe=probe_from(self, found.get("readinessProbe"), f"{path}.readinessProbe", "readiness"),
            liveness_probe=probe_from(self, found.get("livenessProbe"), f"{path}.livenessProbe", "liveness"),
            post_start_s=hook_s(self, lifecycle.get("postStart"), f"{path}.lifecycle.postStart"),
            pre_stop_s=hook_s(self, lifecycle.get("preStop"), f"{path}.lifecycle.preStop"),
            image_pull_policy=self.choice(found.get("imagePullPolicy"), f"{path}.imagePullPolicy", PULL_POLICIES, "") or "",
        )
        if self.validate:
            self.fault(f"{path}.name", container.name, dns_label_fault(container.name))
            if not container.image.strip():
                self.fault(f"{path}.image", container.image, "must be given")
            if restart_policy is not None and (not init or restart_policy != "Always"):
                rule = "must be Always, or absent" if init else "must be absent: only init containers have one"
                self.fault(f"{path}.restartPolicy", restart_policy, rule)
        return container

    def _check_containers(self, groups: Mapping[str, tuple[Container, ...]], path: str) -> None:
        names: set[str] = set()
        for group, containers in groups.items():
            host_ports: set[tuple[int, str, str]] = set()  # init containers may reuse the ports of others
            for i, container in enumerate(containers):
                if container.name and container.name in names:
                    self.fault(f"{path}.{group}[{i}].name", container.name, "must be unique in the pod")
                names.add(container.name)
                for j, port in enumerate(container.ports):
                    taken = (port.host_port, port.protocol, port.host_ip)
                    if port.host_port and taken in host_ports:
                        where = f"{path}.{group}[{i}].ports[{j}].hostPort"
                        self.fault(where, port.host_port, "must be unique by port, protocol and address in the pod")
                    host_ports.add(taken)

    def pod_level_requests(
        self, value: Any, path: str, containers: tuple[Container, ...], inits: tuple[Container, ...]
    ) -> dict[str, int]:
        """Pod-level requests with their defaults, from `{requests, limits}`."""
        if value is None:
            return {}
        requests, limits = self.resource_pair(value, path)
        together = _sum_containers(containers, inits)
        for name, amount in together.items() if requests or limits else ():
            if is_huge_page(name) and name not in requests:
                limits.setdefault(name, amount)  # a container's huge-page request equals its limit
        if limits:
            for name, amount in together.items():
                if name not in requests and is_pod_level_resource(name) and may_overcommit(name):
                    requests[name] = amount
            for name, amount in limits.items():
                if is_pod_level_resource(name):
                    requests.setdefault(name, amount)
        if self.validate:
            for group, amounts in (("requests", requests), ("limits", limits)):
                for name in amounts:
                    if not is_pod_level_resource(name):
                        self.fault(f"{path}.{group}[{name}]", name, "must be cpu, memory or huge pages at pod level")
            for name, amount in requests.items():
                if amount < together.get(name, 0):
                    rule = f"must be at least the containers' requests together, {format_amount(name, together[name])}"
                    self.fault(f"{path}.requests[{name}]", format_amount(name, amount), rule)
            for container in (*containers, *inits):
                for name, amount in container.limits:
                    if amount > limits.get(name, amount):
                        rule = (
                            f"must be at least the limit of container {container.name}, {format_amount(name, amount)}"
                        )
                        self.fault(f"{path}.limits[{name}]", format_amount(name, limits[name]), rule)
        return requests

    def pod_spec(
        self, fields: Mapping[str, Any], path: str, namespace: str, labels: Pairs, owner: Owner | None
    ) -> PodSpec:
        """The fields of a v1 PodSpec, with what its pod's metadata says."""
        own_labels = dict(labels)
        host_network = self.boolean(fields.get("hostNetwork"), f"{path}.hostNetwork")
        groups = {
            group: tuple(
                self.container(item, f"{path}.{group}[{i}]", group == "initContainers", host_network)
                for i, item in enumerate(self.items(fields.get(group), f"{path}.{group}"))
            )
            for group in ("containers", "initContainers")
        }
        containers, inits = groups["containers"], groups["initContainers"]
        gates = tuple(
            self.text(self.fields(item, where, frozenset({"name"})).get("name"), f"{where}.name")
            for i, item in enumerate(self.items(fields.get("schedulingGates"), f"{path}.schedulingGates"))
            for where in [f"{path}.schedulingGates[{i}]"]
        )
        policies = ("Never", "PreemptLowerPriority")
        spec = PodSpec(
            namespace=namespace,
            labels=labels,
            containers=containers,
            init_containers=inits,
            overhead=quantities(self.resource_amounts(fields.get("overhead"), f"{path}.overhead")),
            pod_requests=quantities(
                self.pod_level_requests(fields.get("resources"), f"{path}.resources", containers, inits)
            ),
            node_selector=self.labels(fields.get("nodeSelector"), f"{path}.nodeSelector"),
            node_name=self.text(fields.get("nodeName"), f"{path}.nodeName"),
            affinity=self.affinity(fields.get("affinity"), f"{path}.affinity", own_labels),
            tolerations=self.tolerations(fields.get("tolerations"), f"{path}.tolerations"),
            topology_spread_constraints=self.spread_constraints(
                fields.get("topologySpreadConstraints"), f"{path}.topologySpreadConstraints"
            ),
            priority=self.integer(fields.get("priority"), f"{path}.priority", 0, -INT32_MAX - 1, INT32_MAX),
            preemption_policy=self.choice(fields.get("preemptionPolicy"), f"{path}.preemptionPolicy", policies, None),
            scheduler_name=self.text(fields.get("schedulerName"), f"{path}.schedulerName") or "default-scheduler",
            scheduling_gates=gates,
            owner=owner,
            termination_grace_s=self.integer(
                fields.get("terminationGracePeriodSeconds"), f"{path}.terminationGracePeriodSeconds", 30, 0
            ),
            restart_policy=self.text(fields.get("restartPolicy"), f"{path}.restartPolicy"),
            runtime_class=self.text(fields.get("runtimeClassName"), f"{path}.runtimeClassName"),
        )
        if self.validate:
            if not containers:
                self.fault(f"{path}.containers", [], "must have at least one container")
            self._check_containers(groups, path)
            self.choice(fields.get("restartPolicy"), f"{path}.restartPolicy", ("Always", "OnFailure", "Never"), None)
            for i, gate in enumerate(gates):
                self.fault(f"{path}.schedulingGates[{i}].name", gate, label_key_fault(gate))
                if gate in gates[:i]:
                    self.fault(f"{path}.schedulingGates[{i}].name", gate, "must be unique")
            if gates and spec.node_name:
                self.fault(f"{path}.nodeName", spec.node_name, "must be empty while the pod has scheduling gates")
            if spec.node_name:
                self.fault(f"{path}.nodeName", spec.node_name, dns_subdomain_fault(spec.node_name))
        return spec

    # Metadata and the node.

    def name(self, metadata: Mapping[str, Any], path: str) -> str:
        """The object's name, or its generateName when it has none yet."""
        name = self.text(metadata.get("name"), f"{path}.name")
        if name:
            self.fault(f"{path}.name", name, dns_subdomain_fault(name))
            return name
        prefix = self.text(metadata.get("generateName"), f"{path}.generateName")
        if prefix:
            self.fault(f"{path}.generateName", prefix, dns_subdomain_fault(prefix.removesuffix("-")))
        else:
            self.fault(f"{path}.name", None, "must be given, or generateName")
        return prefix

    def namespace(self, metadata: Mapping[str, Any], path: str) -> str:
        namespace = self.text(metadata.get("namespace"), f"{path}.namespace") or "default"
        self.fault(f"{path}.namespace", namespace, dns_label_fault(namespace))
        return namespace

    def controlling_owner(self, value: Any, path: str) -> Owner | None:
        """The owner reference with `controller: true`, if any."""
        for i, item in enumerate(self.items(value, path)):
            found = self.fields(item, f"{path}[{i}]")
            if self.boolean(found.get("controller"), f"{path}[{i}].controller"):
                return self.owner(found, f"{path}[{i}]")
        return None

    def owner(self, value: Any, path: str) -> Owner:
        found = self.fields(value, path)
        return Owner(*(self.text(found.get(key), f"{path}.{key}") for key in ("kind", "name", "uid")))

    def node_spec(self, fields: Mapping[str, Any], path: str, labels: Pairs, amounts_path: str) -> NodeSpec:
        """A node from `name`, `taints`, `unschedulable`, `allocatable`, `capacity`, `images`, `preferAvoidPods`."""
        capacity = self.resource_amounts(fields.get("capacity"), f"{amounts_path}.capacity")
        written = fields.get("allocatable")
        allocatable = self.resource_amounts(written, f"{amounts_path}.allocatable") if written is not None else capacity
        images = []
        for i, item in enumerate(self.items(fields.get("images"), f"{amounts_path}.images")):
            where = f"{amounts_path}.images[{i}]"
            found = self.fields(item, where, frozenset({"names", "sizeBytes"}))
            size_bytes = self.integer(found.get("sizeBytes"), f"{where}.sizeBytes", 0, 0)
            images.append(NodeImage(self.strings(found.get("names"), f"{where}.names"), size_bytes))
        return NodeSpec(
            name=self.text(fields.get("name"), f"{path}.name"),
            labels=labels,
            taints=self.taints(fields.get("taints"), f"{path}.taints"),
            unschedulable=self.boolean(fields.get("unschedulable"), f"{path}.unschedulable"),
            allocatable=quantities(allocatable),
            images=tuple(images),
            prefer_avoid_pods=tuple(
                self.owner(item, f"{path}.preferAvoidPods[{i}]")
                for i, item in enumerate(self.items(fields.get("preferAvoidPods"), f"{path}.preferAvoidPods"))
            ),
        )

    def avoided_controllers(self, annotation: Any, path: str) -> list[Any]:
        """The pod controllers that a node's preferAvoidPods annotation names; [] when there is none."""
        if annotation is None:
            return []
        try:
            entries = json.loads(self.text(annotation, path))["preferAvoidPods"]
            return [entry["podSignature"]["podController"] for entry in entries]
        except (ValueError, KeyError, TypeError):
            rule = "must be JSON of the form {preferAvoidPods: [{podSignature: {podController: {kind, name, uid}}}]}"
            self.problems.add(path, annotation, rule)
            return []


def _close(text: str, allowed: Iterable[str]) -> str:
    """The near miss, when there is one: the rule lists what is allowed already."""
    hint = near_miss(text, allowed)
    return hint if hint.startswith("did you mean") else ""


def _is_whole(value: Any) -> bool:
    """Whether a written amount, readable as a quantity, is a whole number."""
    return parse_quantity(value).denominator == 1


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


# --- the doors --------------------------------------------------------------------------------------------------------


def pod_from_v1(
    doc: Any, path: str, problems: Problems, amounts: AmountReader = parse_amount, validate: bool = True
) -> tuple[str, PodSpec]:
    """(name, spec) of a v1 Pod document, or of a pod template (`{metadata, spec}`). `path` begins every problem's path.

    A name that the server would generate is returned as its prefix. priorityClassName is not looked up here (that is
    admission's work: see `workloads.manifests`); spec.priority counts.
    """
    reader = Reader(problems, amounts, validate)
    metadata, spec, _ = _sections(reader, doc, path)
    labels = reader.labels(metadata.get("labels"), f"{path}.metadata.labels")
    namespace = reader.namespace(metadata, f"{path}.metadata")
    owner = reader.controlling_owner(metadata.get("ownerReferences"), f"{path}.metadata.ownerReferences")
    name = reader.name(metadata, f"{path}.metadata")
    return name, reader.pod_spec(
        reader.fields(spec, f"{path}.spec", _POD_SPEC), f"{path}.spec", namespace, labels, owner
    )


def template_from_v1(
    doc: Any, namespace: str, owner: Owner | None, path: str, problems: Problems, amounts: AmountReader = parse_amount
) -> PodSpec:
    """The spec that the pods of a template (`{metadata, spec}` without a name) get from their controller."""
    reader = Reader(problems, amounts)
    metadata, spec, _ = _sections(reader, doc, path)
    labels = reader.labels(metadata.get("labels"), f"{path}.metadata.labels")
    return reader.pod_spec(reader.fields(spec, f"{path}.spec", _POD_SPEC), f"{path}.spec", namespace, labels, owner)


def node_from_v1(
    doc: Any, path: str, problems: Problems, amounts: AmountReader = parse_amount, validate: bool = True
) -> NodeSpec:
    """A v1 Node document. Allocatable defaults to capacity; the 1.20 preferAvoidPods annotation is read."""
    reader = Reader(problems, amounts, validate)
    metadata, spec, status = _sections(reader, doc, path)
    spec = reader.fields(spec, f"{path}.spec", _NODE_SPEC)
    status = reader.fields(status, f"{path}.status", _NODE_STATUS)
    annotations_path = f"{path}.metadata.annotations"
    annotations = reader.fields(metadata.get("annotations"), annotations_path)
    avoided = reader.avoided_controllers(annotations.get(PREFER_AVOID_PODS), f"{annotations_path}[{PREFER_AVOID_PODS}]")
    fields = {
        "name": reader.name(metadata, f"{path}.metadata"),
        "taints": spec.get("taints"),
        "unschedulable": spec.get("unschedulable"),
        "preferAvoidPods": avoided,
        **{key: status.get(key) for key in ("allocatable", "capacity", "images")},
    }
    labels = reader.labels(metadata.get("labels"), f"{path}.metadata.labels")
    return reader.node_spec(fields, f"{path}.spec", labels, f"{path}.status")


def pod_spec_from_fields(
    fields: Mapping[str, Any],
    path: str,
    problems: Problems,
    amounts: AmountReader = parse_amount,
    validate: bool = True,
) -> PodSpec:
    """A pod from flat fields: those of a v1 PodSpec beside `namespace`, `labels`, `owner` ({kind, name, uid}) and
    `podRequests` (for `resources.requests`); a container's `requests` and `limits` may stand directly in it.
    Other fields are the caller's own and not looked at."""
    reader = Reader(problems, amounts, validate)
    owner = fields.get("owner")
    pod_requests = fields.get("podRequests")
    if pod_requests is not None:
        fields = {**fields, "resources": {"requests": pod_requests}}
    return reader.pod_spec(
        fields,
        path,
        reader.namespace(fields, path),
        reader.labels(fields.get("labels"), f"{path}.labels"),
        None if owner is None else reader.owner(owner, f"{path}.owner"),
    )


def node_spec_from_fields(
    fields: Mapping[str, Any],
    path: str,
    problems: Problems,
    amounts: AmountReader = parse_amount,
    validate: bool = True,
) -> NodeSpec:
    """A node from flat fields: `name`, `labels`, `taints`, `unschedulable`, `allocatable` (or `capacity`), `images`
    ([{names, sizeBytes}]) and `preferAvoidPods` ([{kind, name, uid}])."""
    reader = Reader(problems, amounts, validate)
    labels = reader.labels(fields.get("labels"), f"{path}.labels")
    node = reader.node_spec(fields, path, labels, path)
    reader.fault(f"{path}.name", node.name, dns_subdomain_fault(node.name))
    return node


def label_selector_from_v1(value: Any, path: str, problems: Problems, validate: bool = True) -> LabelSelector | None:
    """A label selector ({matchLabels, matchExpressions}); None when absent, which matches nothing."""
    return Reader(problems, validate=validate).label_selector(value, path)


def check_unique_nodes(nodes: Iterable[NodeSpec], path: str, problems: Problems) -> None:
    """Report every node whose name an earlier one has taken; `path` is that of the list."""
    first: dict[str, int] = {}
    for i, node in enumerate(nodes):
        if first.setdefault(node.name, i) != i:
            problems.add(f"{path}[{i}]", node.name, f"must be unique: {path}[{first[node.name]}] has this name")


def _sections(reader: Reader, doc: Any, path: str) -> tuple[dict[str, Any], Any, Any]:
    """(metadata, spec, status) of a document."""
    found = reader.fields(doc, path, frozenset({"apiVersion", "kind", "metadata", "spec", "status"}))
    metadata = reader.fields(found.get("metadata"), f"{path}.metadata", _METADATA)
    return metadata, found.get("spec"), found.get("status")
