"""Admission plug-ins that look at a new pod alone: what they decide is the same for all pods of a template.

They are applied to templates before the run, so that a pod costs nothing more for them; what their work costs the
server is in the measured cost of a POST. Webhooks and quotas, which take time and depend on others, are asked during the
run.
"""

from __future__ import annotations

from dataclasses import dataclass

from sim.apiserver.admission.objects import AdmissionObjects
from sim.base.plugin import Catalog
from sim.state.objects import PodSpec

ORDER = (
    "NamespaceLifecycle",
    "LimitRanger",
    "PodNodeSelector",
    "DefaultTolerationSeconds",
    "PodTolerationRestriction",
    "ExtendedResourceToleration",
)
"""In which the server asks its plug-ins, whatever the order of its flags; others come after (Kubernetes 1.20 and 1.34
source, kubeapiserver options)."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A new object is not admitted. code: HTTP status."""

    reason: str
    code: int = 403


class AdmissionPlugin:
    """Base of every entry."""

    def admit(self, pod: PodSpec, objects: AdmissionObjects) -> PodSpec | Refusal:
        """The pod as it is stored, or why it is not."""
        raise NotImplementedError


ADMISSION: Catalog[type[AdmissionPlugin]] = Catalog("admission plug-ins", package="sim.apiserver.admission.plugins")


def in_server_order(names: tuple[str, ...]) -> list[str]:
    """The plug-ins of these names as the server asks them."""
    return sorted(set(names), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def admit(pod: PodSpec, objects: AdmissionObjects, names: tuple[str, ...]) -> PodSpec | Refusal:
    """A new pod on its way through these plug-ins; the first that refuses it ends the way."""
    for name in in_server_order(names):
        answer = ADMISSION[name]().admit(pod, objects)
        if isinstance(answer, Refusal):
            return answer
        pod = answer
    return pod
