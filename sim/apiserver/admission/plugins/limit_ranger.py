"""LimitRanger: default requests and limits of a namespace's containers, and bounds on what they and their pods ask for.

Source: Kubernetes 1.20 source, plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from dataclasses import replace

from sim.apiserver.admission.catalog import ADMISSION, AdmissionPlugin, Refusal
from sim.apiserver.admission.objects import AdmissionObjects, LimitRange, LimitRangeItem
from sim.base.units import format_amount
from sim.state.objects import Container, PodSpec, Quantities, quantities

COMPUTE = ("cpu", "memory")


@ADMISSION.register("LimitRanger")
class LimitRanger(AdmissionPlugin):
    """Default requests and limits of a namespace's containers, and bounds on them."""

    def admit(self, pod: PodSpec, objects: AdmissionObjects) -> PodSpec | Refusal:
        ranges = sorted(
            (each for each in objects.limit_ranges if each.namespace == pod.namespace), key=lambda each: each.name
        )
        for limit_range in ranges:
            pod = with_defaults(pod, limit_range)
        for each in (*pod.init_containers, *pod.containers):  # a default limit may be below what a container asks for
            capped = dict(each.limits)
            for name, amount in each.requests:
                if name in COMPUTE and amount > capped.get(name, amount):
                    return Refusal(f"container {each.name} requests more {name} than its limit", 422)
        broken = [rule for limit_range in ranges for item in limit_range.items for rule in violations(pod, item)]
        return Refusal("; ".join(broken)) if broken else pod


def with_defaults(pod: PodSpec, limit_range: LimitRange) -> PodSpec:
    """The pod with the range's defaults where its containers say nothing. A container that has a limit and no request asks
    for its limit, which is so before any range is looked at; a default limit is no default request."""
    limits: dict[str, int] = {}
    requests: dict[str, int] = {}
    for item in limit_range.items:
        if item.kind == "Container":
            limits.update(item.default)
            requests.update(item.default_request)
    if not limits and not requests:
        return pod

    def fill(containers: tuple[Container, ...]) -> tuple[Container, ...]:
        return tuple(
            replace(
                each,
                limits=quantities({**limits, **dict(each.limits)}),
                requests=quantities({**requests, **dict(each.requests)}),
            )
            for each in containers
        )

    return replace(pod, containers=fill(pod.containers), init_containers=fill(pod.init_containers))


def violations(pod: PodSpec, item: LimitRangeItem) -> list[str]:
    """What in the pod breaks the bounds of one item."""
    if item.kind == "Container":
        return [
            rule
            for each in (*pod.init_containers, *pod.containers)
            for rule in _broken(each.requests, each.limits, item, f"container {each.name}")
        ]
    if item.kind == "Pod":
        requests = _of_pod([each.requests for each in pod.containers], [each.requests for each in pod.init_containers])
        limits = _of_pod([each.limits for each in pod.containers], [each.limits for each in pod.init_containers])
        return _broken(requests, limits, item, "pod")
    return []


def _of_pod(running: list[Quantities], first: list[Quantities]) -> Quantities:
    """Sums over the containers, or the largest init container where that is more."""
    total: dict[str, int] = {}
    for amounts in running:
        for name, amount in amounts:
            total[name] = total.get(name, 0) + amount
    for amounts in first:
        for name, amount in amounts:
            total[name] = max(total.get(name, 0), amount)
    return quantities(total)


def _broken(requests: Quantities, limits: Quantities, item: LimitRangeItem, who: str) -> list[str]:
    asked, capped = dict(requests), dict(limits)
    rules = []
    for name, least in item.least:
        shown = format_amount(name, least)
        if name not in asked:
            rules.append(f"minimum {name} usage per {item.kind} is {shown}, no request is specified for the {who}")
        elif asked[name] < least:
            rules.append(
                f"minimum {name} usage per {item.kind} is {shown}, but the {who} requests {format_amount(name, asked[name])}"
            )
        elif name in capped and capped[name] < least:
            rules.append(
                f"minimum {name} usage per {item.kind} is {shown}, but the limit of the {who} is {format_amount(name, capped[name])}"
            )
    for name, most in item.most:
        shown = format_amount(name, most)
        if name not in capped:
            rules.append(f"maximum {name} usage per {item.kind} is {shown}, no limit is specified for the {who}")
        elif capped[name] > most:
            rules.append(
                f"maximum {name} usage per {item.kind} is {shown}, but the limit of the {who} is {format_amount(name, capped[name])}"
            )
        elif asked.get(name, 0) > most:
            rules.append(
                f"maximum {name} usage per {item.kind} is {shown}, but the {who} requests {format_amount(name, asked[name])}"
            )
    for name, ratio in item.most_ratio:
        if not asked.get(name) or not capped.get(name):
            rules.append(
                f"{name} max limit to request ratio per {item.kind} is {ratio:g}, but no request or limit is specified for the {who}"
            )
        elif capped[name] / asked[name] > ratio:
            rules.append(
                f"{name} max limit to request ratio per {item.kind} is {ratio:g}, but that of the {who} is {capped[name] / asked[name]:g}"
            )
    return rules
