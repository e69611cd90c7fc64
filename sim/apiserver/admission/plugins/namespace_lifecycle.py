"""NamespaceLifecycle: nothing new in a namespace that is being deleted.

Source: Kubernetes 1.20 source, apiserver admission/plugin/namespace/lifecycle.
"""

from __future__ import annotations

from sim.apiserver.admission.catalog import ADMISSION, AdmissionPlugin, Refusal
from sim.apiserver.admission.objects import AdmissionObjects
from sim.state.objects import PodSpec


@ADMISSION.register("NamespaceLifecycle")
class NamespaceLifecycle(AdmissionPlugin):
    """Nothing new in a namespace that is being deleted."""

    def admit(self, pod: PodSpec, objects: AdmissionObjects) -> PodSpec | Refusal:
        if objects.namespace(pod.namespace).terminating:
            return Refusal(f"namespace {pod.namespace} is being terminated")
        return pod
