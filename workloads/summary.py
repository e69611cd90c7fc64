"""What a load contains, in plain numbers: what `kubedes workload` prints before anything runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from sim.base.units import format_amount
from sim.scheduler.requests import pod_requests
from sim.workload import AppKind, Load

QUANTILES = (0.1, 0.5, 0.9, 0.99)
REASONS_WHERE = 5
"""Places shown for each reason of refusal."""


def describe(load: Load, horizon_s: float, bins: int = 60, shapes: int = 20) -> dict[str, Any]:
    """A load in numbers; only str, int, float, None, lists and dicts, so that it can be written as JSON.

    horizon_s: end of the time over which rates are counted. bins: how many equal stretches the rate over time has.
    shapes: how many of the most frequent request shapes are listed. Amounts are in base units (cpu in millicores,
    memory in bytes), shares between 0 and 1.
    """
    if not horizon_s > 0 or bins < 1:
        raise ValueError(f"needs a horizon above 0 and at least one bin, not {horizon_s} and {bins}")
    return {
        "applications": len(load.app_time_s),
        "pods": load.pods,
        "templates": len(load.templates),
        "nodes": len(load.nodes),
        "quotas": len(load.quotas),
        "rows_read": load.rows_read,
        "refused": _refused(load),
        "kinds": _kinds(load),
        "rate": _rate(load, horizon_s, bins),
        "durations_s": _durations(load),
        "requests": _requests(load, shapes),
        "demand": _demand(load, horizon_s),
        "tenants": _tenants(load),
        "images": _images(load),
    }


def _weights(load: Load) -> np.ndarray:
    """Pods of each template."""
    return np.bincount(load.app_template, weights=load.app_pods, minlength=len(load.templates)).astype(np.int64)


def _refused(load: Load) -> dict[str, Any]:
    where: dict[str, list[str]] = {}
    for refusal in load.refused:
        where.setdefault(refusal.reason, []).append(refusal.where)
    return {
        "rows": len(load.refused),
        "reasons": [
            {"reason": reason, "rows": len(rows), "first": rows[:REASONS_WHERE]}
            for reason, rows in sorted(where.items(), key=lambda item: -len(item[1]))
        ],
    }


def _kinds(load: Load) -> list[dict[str, Any]]:
    found = []
    for kind in AppKind:
        chosen = load.app_kind == kind
        if chosen.any():
            pods = load.app_pods[chosen]
            found.append(
                {
                    "kind": kind.name.lower(),
                    "applications": int(chosen.sum()),
                    "pods": int(pods.sum()),
                    "pods_largest": int(pods.max()),
                }
            )
    return found


def _rate(load: Load, horizon_s: float, bins: int) -> dict[str, Any]:
    """Pods asked for over time.

    The index of dispersion is the variance over the mean of the applications in a bin: 1 for a Poisson process, more
    when arrivals cluster.
    """
    edges = np.linspace(0.0, horizon_s, bins + 1)
    applications = np.histogram(load.app_time_s, edges)[0]
    pods = np.histogram(load.app_time_s, edges, weights=load.app_pods)[0]
    width_s = horizon_s / bins
    mean = applications.mean()
    return {
        "bin_s": width_s,
        "applications_per_s": float(mean / width_s),
        "pods_per_s": float(pods.mean() / width_s),
        "pods_per_s_peak": float(pods.max() / width_s),
        "index_of_dispersion": float(applications.var(ddof=1) / mean) if mean > 0 and bins > 1 else None,
        "pods_per_s_over_time": (pods / width_s).tolist(),
    }


def _durations(load: Load) -> dict[str, Any]:
    finite = load.pod_duration_s[np.isfinite(load.pod_duration_s)]
    found: dict[str, Any] = {"until_deleted": int(load.pods - len(finite)), "finite": len(finite)}
    if len(finite):
        found["mean"] = float(finite.mean())
        for quantile, value in zip(QUANTILES, np.quantile(finite, QUANTILES).tolist(), strict=True):
            found[f"p{quantile * 100:g}"] = value
    return found


def _requests(load: Load, shapes: int) -> dict[str, Any]:
    """Total requests, and the most frequent shapes."""
    total: Counter[str] = Counter()
    by_shape: Counter[tuple[tuple[str, int], ...]] = Counter()
    for spec, pods in zip(load.templates, _weights(load).tolist(), strict=True):
        asked = pod_requests(spec)
        by_shape[tuple(sorted(asked.items()))] += pods
        for name, amount in asked.items():
            total[name] += amount * pods
    listed = by_shape.most_common(shapes)
    return {
        "total": dict(sorted(total.items())),
        "shapes": [
            {
                "requests": {name: format_amount(name, amount) for name, amount in shape},
                "pods": pods,
                "share": pods / load.pods if load.pods else 0.0,
            }
            for shape, pods in listed
        ],
        "shapes_more": len(by_shape) - len(listed),
    }


def _demand(load: Load, horizon_s: float) -> dict[str, Any]:
    """How much would be requested at once if every pod ran from the moment it is asked for, a job's all at a time."""
    app = np.repeat(np.arange(len(load.app_pods)), load.app_pods)
    start_s = load.app_time_s[app]
    end_s = np.minimum(start_s + load.pod_duration_s, load.app_end_s[app])
    template = load.app_template[app]
    asked = [pod_requests(spec) for spec in load.templates]
    found = {}
    for name in sorted({name for requests in asked for name in requests}):
        amount = np.array([requests.get(name, 0) for requests in asked], np.float64)[template]
        seconds = np.clip(np.minimum(end_s, horizon_s) - np.minimum(start_s, horizon_s), 0.0, None)
        found[name] = {"mean": float(amount @ seconds / horizon_s), "peak": _peak(start_s, end_s, amount, horizon_s)}
    return found


def _peak(start_s: np.ndarray, end_s: np.ndarray, amount: np.ndarray, horizon_s: float) -> float:
    """The largest sum of amounts at one moment before the horizon; what ends at a moment makes room for what begins."""
    times = np.concatenate([end_s, start_s])
    steps = np.concatenate([-amount, amount])
    order = np.argsort(times, kind="stable")
    level = np.cumsum(steps[order])[times[order] < horizon_s]
    return float(level.max()) if len(level) else 0.0


def _tenants(load: Load) -> list[dict[str, Any]]:
    """Largest first."""
    size = len(load.tenants)
    applications = np.bincount(load.app_tenant, minlength=size)
    pods = np.bincount(load.app_tenant, weights=load.app_pods, minlength=size)
    order = np.argsort(-pods, kind="stable")
    return [
        {
            "tenant": load.tenants[row],
            "applications": int(applications[row]),
            "pods": int(pods[row]),
            "share": float(pods[row] / load.pods) if load.pods else 0.0,
        }
        for row in order.tolist()
    ]


def _images(load: Load) -> list[dict[str, Any]]:
    """Most asked for first."""
    pods_of: Counter[str] = Counter()
    for spec, pods in zip(load.templates, _weights(load).tolist(), strict=True):
        for image in {container.image for container in (*spec.containers, *spec.init_containers)}:
            pods_of[image] += pods
    return [{"image": image, "pods": pods} for image, pods in pods_of.most_common()]
