"""What arrives: applications of services, jobs and pods over time, drawn or read from recordings.

The names below are imported when they are first used.

    workloads.Poisson(rate_per_s=50, mix="web", horizon_s=600)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workloads.applications import JobApplication, PodApplication, ServiceApplication
    from workloads.arrivals import ARRIVALS, ArrivalProcess
    from workloads.kinds.batches import Batches
    from workloads.kinds.bursts import Bursts
    from workloads.kinds.density import Density
    from workloads.kinds.diurnal import Diurnal
    from workloads.kinds.manifests import FromManifests
    from workloads.kinds.openb import Openb
    from workloads.kinds.poisson import Poisson
    from workloads.kinds.scheduler_perf import SchedulerPerf
    from workloads.kinds.steady import Steady
    from workloads.kinds.storm import Storm
    from workloads.kinds.synthetic import Stream, Synthetic
    from workloads.shapes import MIXES, Mix, Shape
    from workloads.summary import describe
    from workloads.tenants import zipf_weights

_HOMES = {
    "ARRIVALS": "arrivals",
    "ArrivalProcess": "arrivals",
    "JobApplication": "applications",
    "PodApplication": "applications",
    "ServiceApplication": "applications",
    "MIXES": "shapes",
    "Mix": "shapes",
    "Shape": "shapes",
    "Batches": "kinds.batches",
    "Bursts": "kinds.bursts",
    "Density": "kinds.density",
    "Diurnal": "kinds.diurnal",
    "FromManifests": "kinds.manifests",
    "Openb": "kinds.openb",
    "Poisson": "kinds.poisson",
    "SchedulerPerf": "kinds.scheduler_perf",
    "Steady": "kinds.steady",
    "Storm": "kinds.storm",
    "Stream": "kinds.synthetic",
    "Synthetic": "kinds.synthetic",
    "describe": "summary",
    "zipf_weights": "tenants",
}
"""Public name → the module that has it."""

__all__ = [
    "ARRIVALS",
    "MIXES",
    "ArrivalProcess",
    "Batches",
    "Bursts",
    "Density",
    "Diurnal",
    "FromManifests",
    "JobApplication",
    "Mix",
    "Openb",
    "PodApplication",
    "Poisson",
    "SchedulerPerf",
    "ServiceApplication",
    "Shape",
    "Steady",
    "Storm",
    "Stream",
    "Synthetic",
    "describe",
    "zipf_weights",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'workloads' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"workloads.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
