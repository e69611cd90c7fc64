"""PodTolerationRestriction: a namespace's annotations add tolerations to its pods, and say which they may have.

Source: Kubernetes 1.20 source, plugin/pkg/admission/podtolerationrestriction.
"""

from __future__ import annotations

import json
from dataclasses import replace

from sim.apiserver.admission.catalog import ADMISSION, AdmissionPlugin, Refusal
from sim.apiserver.admission.objects import AdmissionObjects, NamespaceObject
from sim.state.objects import PodSpec, Toleration

DEFAULTS = "scheduler.alpha.kubernetes.io/defaultTolerations"
WHITELIST = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
MEMORY_PRESSURE = Toleration("node.kubernetes.io/memory-pressure", "Exists", "", "NoSchedule")


@ADMISSION.register("PodTolerationRestriction")
class PodTolerationRestriction(AdmissionPlugin):
    """A namespace's annotations add tolerations to its pods, and say which they may have."""

    def admit(self, pod: PodSpec, objects: AdmissionObjects) -> PodSpec | Refusal:
        namespace = objects.namespace(pod.namespace)
        defaults, allowed = tolerations_of(namespace, DEFAULTS), tolerations_of(namespace, WHITELIST)
        if any(_conflict(one, other) for one in pod.tolerations for other in defaults or ()):
            return Refusal("namespace tolerations and pod tolerations conflict")
        merged = [*pod.tolerations, *(each for each in defaults or () if each not in pod.tolerations)]
        if _has_requests(pod) and MEMORY_PRESSURE not in merged:
            merged.append(MEMORY_PRESSURE)
        if allowed:
            checked = (each for each in merged if each != MEMORY_PRESSURE)
            if any(not any(_covers(other, each) for other in allowed) for each in checked):
                return Refusal(
                    "pod tolerations (possibly merged with namespace default tolerations) are not in the whitelist"
                )
        return replace(pod, tolerations=tuple(merged)) if len(merged) > len(pod.tolerations) else pod


def tolerations_of(namespace: NamespaceObject, annotation: str) -> tuple[Toleration, ...] | None:
    """The tolerations that an annotation lists as JSON; None where it is absent."""
    text = dict(namespace.annotations).get(annotation)
    if not text:
        return None
    return tuple(
        Toleration(
            each.get("key", ""),
            each.get("operator", "Equal"),
            each.get("value", ""),
            each.get("effect", ""),
            each.get("tolerationSeconds"),
        )
        for each in json.loads(text)
    )


def _has_requests(pod: PodSpec) -> bool:
    """Whether its quality of service is better than BestEffort, which memory pressure does not evict first."""
    return any(each.requests or each.limits for each in pod.containers)


def _conflict(one: Toleration, other: Toleration) -> bool:
    """Alike but for their value or duration."""
    alike = (one.key, one.operator, one.effect) == (other.key, other.operator, other.effect)
    return alike and (one.value, one.toleration_s) != (other.value, other.toleration_s)


def _covers(wide: Toleration, narrow: Toleration) -> bool:
    """Whether everything that `narrow` tolerates is tolerated by `wide`."""
    if wide.key and wide.key != narrow.key:
        return False
    if wide.effect and wide.effect != narrow.effect:
        return False
    if wide.operator != "Exists" and (narrow.operator == "Exists" or wide.value != narrow.value):
        return False
    if wide.effect == "NoExecute" and wide.toleration_s is not None:
        return narrow.toleration_s is not None and narrow.toleration_s <= wide.toleration_s
    return True
