"""What a pod asks for: requests summed over containers, init containers, sidecars, overhead and the pod level.

Source: Kubernetes 1.34, `component-helpers/resource` (PodRequests) and the scheduler's NodeInfo; Kubernetes 1.20,
`noderesources/fit.go` and `framework/v1alpha1/types.go`.
"""

from __future__ import annotations

from sim.state.objects import PodSpec, Quantities

DEFAULT_CPU_MILLICORES = 100
"""What a container without a CPU request counts as in scores (Kubernetes 1.20 and 1.34, DefaultMilliCPURequest)."""
DEFAULT_MEMORY_BYTES = 200 * 1024 * 1024
"""What a container without a memory request counts as in scores (DefaultMemoryRequest)."""
DEFAULTS = {"cpu": DEFAULT_CPU_MILLICORES, "memory": DEFAULT_MEMORY_BYTES}

_POD_LEVEL = ("cpu", "memory")
"""Resources that a pod-level request overrides, beside hugepages (Kubernetes 1.34, SupportedPodLevelResources)."""


def _filled(requests: Quantities, defaults: dict[str, int]) -> dict[str, int]:
    return {**defaults, **dict(requests)}


def _add(total: dict[str, int], more: dict[str, int]) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, 0) + amount


def _raise_to(total: dict[str, int], least: dict[str, int]) -> None:
    for name, amount in least.items():
        if name not in total or total[name] < amount:
            total[name] = amount


def pod_requests(
    spec: PodSpec, *, defaults: dict[str, int] | None = None, pod_level: bool = True, sidecars: bool = True
) -> dict[str, int]:
    """The pod's effective requests: resource name to amount in base units.

    defaults: amounts for containers that lack the key (an explicit zero stays zero); None for none.
    pod_level: let spec.resources.requests override the containers' sum (1.34).
    sidecars: restartable init containers run beside the containers (1.28 and later); otherwise all init
    containers run one after another before them.
    """
    fill = defaults or {}
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, _filled(container.requests, fill))
    running: dict[str, int] = {}
    highest: dict[str, int] = {}
    for container in spec.init_containers:
        asked = _filled(container.requests, fill)
        if sidecars and container.restart_policy == "Always":
            _add(total, asked)
            _add(running, asked)
            _raise_to(highest, running)
        else:
            _add(asked, running)
            _raise_to(highest, asked)
    _raise_to(total, highest)
    if pod_level:
        total.update(
            {name: amount for name, amount in spec.pod_requests if name in _POD_LEVEL or name.startswith("hugepages-")}
        )
    _add(total, dict(spec.overhead))
    return total


def scored_requests_1_20(spec: PodSpec) -> dict[str, int]:
    """What 1.20's score plugins take as the new pod's requests: defaults filled in, and the CPU overhead added in whole
    cores rounded up, where the rest counts millicores (its code reads the wrong unit)."""
    total: dict[str, int] = {}
    for container in spec.containers:
        _add(total, _filled(container.requests, DEFAULTS))
    for container in spec.init_containers:
        _raise_to(total, _filled(container.requests, DEFAULTS))
    for name, amount in spec.overhead:
        total[name] = total.get(name, 0) + (-(-amount // 1000) if name == "cpu" else amount)
    return total
