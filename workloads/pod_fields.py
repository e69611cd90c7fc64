"""Scheduling wishes of a stream's pods, written with the field names of a v1 PodSpec.

Shortcut for generated applications: a topology spread constraint or pod (anti-)affinity term that has no
`labelSelector` means the pods of the same application, which each application's own `app` label makes true.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from pydantic import AfterValidator, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from sim.base.errors import Problems, near_miss
from sim.state.api import pod_spec_from_fields
from sim.state.objects import Affinity, LabelSelector, PodAffinityTerm, PodSpec, pairs

FIELDS = (
    "affinity",
    "initContainers",
    "labels",
    "nodeSelector",
    "overhead",
    "preemptionPolicy",
    "priority",
    "restartPolicy",
    "runtimeClassName",
    "schedulerName",
    "schedulingGates",
    "terminationGracePeriodSeconds",
    "tolerations",
    "topologySpreadConstraints",
)
"""What may be given: the fields of a PodSpec that scheduling and the kubelet look at, and the pod's labels."""
APP = "app"
"""The label that every generated pod carries: its stream, or its own application where a selector needs that."""


def pod_base(fields: dict[str, Any]) -> PodSpec:
    """The given fields as a pod spec without containers. Raises InputError for what the API server would refuse."""
    problems = Problems("pod")
    spec = _read(fields, problems)
    problems.raise_if_any()
    return spec


def _read(fields: dict[str, Any], problems: Problems) -> PodSpec:
    spec = pod_spec_from_fields({**fields, "containers": [{"name": "main", "image": "any"}]}, "pod", problems)
    return replace(spec, containers=())


def _check(fields: dict[str, Any]) -> dict[str, Any]:
    problems = Problems("pod")
    for key in fields:
        if key not in FIELDS:
            problems.add(f"pod.{key}", fields[key], "is no field that a generated pod takes", near_miss(key, FIELDS))
    if isinstance(fields.get("labels"), dict) and APP in fields["labels"]:
        problems.add(
            f"pod.labels.{APP}", fields["labels"][APP], "is set by the workload itself", "choose another label"
        )
    if not problems:
        _read(fields, problems)
    if problems:
        raise ValidationError.from_exception_data(
            "pod",
            [
                InitErrorDetails(
                    type=PydanticCustomError(
                        "pod", "{text}", {"text": f"{fault.rule}; {fault.hint}" if fault.hint else fault.rule}
                    ),
                    loc=tuple(fault.path.removeprefix("pod.").split(".")),
                    input=fault.value,
                )
                for fault in problems.found
            ],
        )
    return fields


PodFields = Annotated[dict[str, Any], AfterValidator(_check)]


def needs_own_label(base: PodSpec) -> bool:
    """Whether a selector is left to mean the application's own pods."""
    return any(spread.label_selector is None for spread in base.topology_spread_constraints) or any(
        term.label_selector is None for term in _affinity_terms(base.affinity)
    )


def _affinity_terms(affinity: Affinity | None) -> list[PodAffinityTerm]:
    if affinity is None:
        return []
    weighted = (*affinity.pod_preferred, *affinity.anti_preferred)
    return [*affinity.pod_required, *affinity.anti_required, *(item.term for item in weighted)]


def labelled(base: PodSpec, app: str) -> PodSpec:
    """The base with its `app` label, which also fills every selector that was left out."""
    own = LabelSelector(match_labels=((APP, app),))
    spreads = tuple(
        replace(spread, label_selector=own) if spread.label_selector is None else spread
        for spread in base.topology_spread_constraints
    )

    def fill(term: PodAffinityTerm) -> PodAffinityTerm:
        return replace(term, label_selector=own) if term.label_selector is None else term

    affinity = base.affinity
    if affinity is not None:
        affinity = replace(
            affinity,
            pod_required=tuple(fill(term) for term in affinity.pod_required),
            anti_required=tuple(fill(term) for term in affinity.anti_required),
            pod_preferred=tuple(replace(item, term=fill(item.term)) for item in affinity.pod_preferred),
            anti_preferred=tuple(replace(item, term=fill(item.term)) for item in affinity.anti_preferred),
        )
    labels = pairs({**dict(base.labels), APP: app})
    return replace(base, labels=labels, topology_spread_constraints=spreads, affinity=affinity)
