"""Reads what a v1 container says of its life: probes and lifecycle hooks.

Source: Kubernetes 1.34 source, core/v1 defaulting and core validation of probes; sleep hooks since 1.29.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sim.state.objects import Probe

if TYPE_CHECKING:
    from sim.state.api import Reader

_HANDLERS = ("exec", "httpGet", "tcpSocket", "grpc")
_PROBE = frozenset(
    (
        *_HANDLERS,
        "initialDelaySeconds",
        "periodSeconds",
        "timeoutSeconds",
        "successThreshold",
        "failureThreshold",
        "terminationGracePeriodSeconds",
    )
)
_HOOK = frozenset(("exec", "httpGet", "tcpSocket", "sleep"))
_SLEEP = re.compile(r"(?:^|[\s;&'\"])sleep\s+(\d+(?:\.\d+)?)")


def probe_from(reader: Reader, value: Any, path: str, kind: str) -> Probe | None:
    """A v1 Probe; None where there is none. kind: startup, readiness or liveness."""
    if value is None:
        return None
    found = reader.fields(value, path, _PROBE)
    if reader.validate and sum(name in found for name in _HANDLERS) != 1:
        reader.fault(path, sorted(found), f"must have one of {', '.join(_HANDLERS)}")
    grace = found.get("terminationGracePeriodSeconds")
    probe = Probe(
        initial_delay_s=reader.integer(found.get("initialDelaySeconds"), f"{path}.initialDelaySeconds", 0, 0),
        period_s=reader.integer(found.get("periodSeconds"), f"{path}.periodSeconds", 10, 1),
        timeout_s=reader.integer(found.get("timeoutSeconds"), f"{path}.timeoutSeconds", 1, 1),
        success_threshold=reader.integer(found.get("successThreshold"), f"{path}.successThreshold", 1, 1),
        failure_threshold=reader.integer(found.get("failureThreshold"), f"{path}.failureThreshold", 3, 1),
        grace_s=None if grace is None else reader.integer(grace, f"{path}.terminationGracePeriodSeconds", 30, 1),
    )
    if reader.validate and kind != "readiness" and probe.success_threshold != 1:
        reader.fault(f"{path}.successThreshold", probe.success_threshold, f"must be 1 for a {kind} probe")
    if reader.validate and kind == "readiness" and grace is not None:
        reader.fault(f"{path}.terminationGracePeriodSeconds", grace, "must be absent: a readiness probe kills nothing")
    return probe


def hook_s(reader: Reader, value: Any, path: str) -> float | None:
    """How long a lifecycle hook takes: its sleep, or the longest `sleep N` in its command; any other is over at once.

    None where there is no hook.
    """
    if value is None:
        return None
    found = reader.fields(value, path, _HOOK)
    if reader.validate and len(found) != 1:
        reader.fault(path, sorted(found), f"must have one of {', '.join(sorted(_HOOK))}")
    if "sleep" in found:
        sleep = reader.fields(found["sleep"], f"{path}.sleep", frozenset({"seconds"}))
        return float(reader.integer(sleep.get("seconds"), f"{path}.sleep.seconds", 0, 0))
    if "exec" in found:
        command = reader.fields(found["exec"], f"{path}.exec", frozenset({"command"})).get("command")
        text = " ".join(reader.strings(command, f"{path}.exec.command"))
        return max((float(number) for number in _SLEEP.findall(text)), default=0.0)
    return 0.0
