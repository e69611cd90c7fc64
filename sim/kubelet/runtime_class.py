"""RuntimeClass: pods that name one run under another runtime, are charged for its overhead, and go where it is installed.

Source: Kubernetes 1.20 source, admission plug-in RuntimeClass: it sets the pod's overhead and merges the class's node selector.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

from sim.base.errors import InputError, near_miss
from sim.base.fields import QuantityText
from sim.base.spec import Choice, Spec, param
from sim.base.units import parse_amount
from sim.kubelet.runtimes import RUNTIMES, RuntimeSpec
from sim.state.objects import PodSpec, pairs, quantities
from sim.workload import Load


class RuntimeClassSpec(Spec):
    """One RuntimeClass."""

    runtime: Annotated[RuntimeSpec, Choice(RUNTIMES)] = param(..., "the runtime that its handler names")
    overhead: dict[str, QuantityText] = param(
        {},
        "what a pod's sandbox takes, added to what the pod asks for; kata-deploy sets cpu 250m and memory 160Mi (QEMU) or 130Mi",
        source="Kubernetes: pod overhead, 1.18 and later",
    )
    node_selector: dict[str, str] = param({}, "labels of the nodes that have the runtime")


def runtime_of(spec: PodSpec, classes: Mapping[str, RuntimeClassSpec]) -> RuntimeSpec | None:
    """The runtime of a pod's RuntimeClass; None: it names none."""
    return classes[spec.runtime_class].runtime if spec.runtime_class else None


def with_runtime_classes(load: Load, classes: Mapping[str, RuntimeClassSpec]) -> Load:
    """The load as admission lets it in: overhead and node selector of each pod's RuntimeClass. InputError for an unknown class."""
    if not any(template.runtime_class for template in load.templates):
        return load
    return replace(load, templates=tuple(_admitted(template, classes) for template in load.templates))


def _admitted(spec: PodSpec, classes: Mapping[str, RuntimeClassSpec]) -> PodSpec:
    name = spec.runtime_class
    if not name:
        return spec
    if name not in classes:
        raise InputError(
            f"runtime_classes: a pod in namespace {spec.namespace} names '{name}'; {near_miss(name, classes)}"
        )
    overhead = {key: parse_amount(key, text) for key, text in classes[name].overhead.items()}
    return replace(
        spec,
        overhead=spec.overhead or quantities(overhead),
        node_selector=pairs({**dict(spec.node_selector), **classes[name].node_selector}),
    )
