"""PodNodeSelector: a namespace's annotation names the nodes that its pods may run on.

Source: Kubernetes 1.20 source, plugin/pkg/admission/podnodeselector.
"""

from __future__ import annotations

from dataclasses import replace

from sim.apiserver.admission.catalog import ADMISSION, AdmissionPlugin, Refusal
from sim.apiserver.admission.objects import AdmissionObjects
from sim.state.objects import PodSpec, pairs

ANNOTATION = "scheduler.alpha.kubernetes.io/node-selector"


@ADMISSION.register("PodNodeSelector")
class PodNodeSelector(AdmissionPlugin):
    """A namespace's annotation names the nodes that its pods may run on."""

    def admit(self, pod: PodSpec, objects: AdmissionObjects) -> PodSpec | Refusal:
        text = dict(objects.namespace(pod.namespace).annotations).get(ANNOTATION, "")
        wanted = dict(_pair(part) for part in text.split(",") if part.strip())
        own = dict(pod.node_selector)
        if any(own.get(key, value) != value for key, value in wanted.items()):
            return Refusal("pod node label selector conflicts with its namespace node label selector")
        return replace(pod, node_selector=pairs({**wanted, **own})) if wanted else pod


def _pair(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.strip(), value.strip().lstrip("=")
