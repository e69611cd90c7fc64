"""ExtendedResourceToleration: who asks for a device tolerates the taint that keeps others off the nodes that have it.

Source: Kubernetes 1.20 source, plugin/pkg/admission/extendedresourcetoleration.
"""

from __future__ import annotations

from dataclasses import replace

from sim.apiserver.admission.catalog import ADMISSION, AdmissionPlugin, Refusal
from sim.apiserver.admission.objects import AdmissionObjects
from sim.state.names import is_extended_resource
from sim.state.objects import PodSpec, Toleration


@ADMISSION.register("ExtendedResourceToleration")
class ExtendedResourceToleration(AdmissionPlugin):
    """Who asks for a device tolerates the taint that keeps others off its nodes."""

    def admit(self, pod: PodSpec, objects: AdmissionObjects) -> PodSpec | Refusal:
        asked = {name for each in (*pod.init_containers, *pod.containers) for name, _ in each.requests}
        added = tuple(Toleration(name, "Exists") for name in sorted(filter(is_extended_resource, asked)))
        added = tuple(each for each in added if each not in pod.tolerations)
        return replace(pod, tolerations=(*pod.tolerations, *added)) if added else pod
