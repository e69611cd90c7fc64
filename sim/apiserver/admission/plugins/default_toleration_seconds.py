"""DefaultTolerationSeconds: pods stay for a while on a node that is not ready or cannot be reached.

Source: Kubernetes 1.20 source, plugin/pkg/admission/defaulttolerationseconds.
"""

from __future__ import annotations

from dataclasses import replace

from sim.apiserver.admission.catalog import ADMISSION, AdmissionPlugin, Refusal
from sim.apiserver.admission.objects import AdmissionObjects
from sim.state.objects import PodSpec, Toleration

STAYS_S = 300
TAINTS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


@ADMISSION.register("DefaultTolerationSeconds")
class DefaultTolerationSeconds(AdmissionPlugin):
    """Pods stay five minutes on a node that is not ready or cannot be reached."""

    def admit(self, pod: PodSpec, objects: AdmissionObjects) -> PodSpec | Refusal:
        missing = [key for key in TAINTS if not any(_tolerates(each, key) for each in pod.tolerations)]
        added = tuple(Toleration(key, "Exists", "", "NoExecute", STAYS_S) for key in missing)
        return replace(pod, tolerations=(*pod.tolerations, *added)) if added else pod


def _tolerates(toleration: Toleration, key: str) -> bool:
    return toleration.key in (key, "") and toleration.effect in ("NoExecute", "")
