"""Many runs: sweeps, comparisons, capacity search; validation, reports and the command line.

The names below are imported when they are first used.

    runs = experiments.run(experiments.Sweep(cluster, axes={"workload.rate_per_s": [10, 20]}, replications=5), "results/rate")
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from experiments.capacity import Capacity, find_capacity
    from experiments.compare import Comparison, compare
    from experiments.launch import run
    from experiments.sensitivity import Sensitivity, sensitivity
    from experiments.store import Runs, open
    from experiments.sweep import Design, Precision, Sweep

__all__ = [
    "Capacity",
    "Comparison",
    "Design",
    "Precision",
    "Runs",
    "Sensitivity",
    "Sweep",
    "compare",
    "find_capacity",
    "open",
    "run",
    "sensitivity",
]

_HOMES = {
    "Capacity": "capacity",
    "Comparison": "compare",
    "Design": "sweep",
    "Precision": "sweep",
    "Runs": "store",
    "Sensitivity": "sensitivity",
    "Sweep": "sweep",
    "compare": "compare",
    "find_capacity": "capacity",
    "open": "store",
    "run": "launch",
    "sensitivity": "sensitivity",
}
"""Public name → the module that has it."""


class _Package(ModuleType):
    """The package. Importing the module `experiments.compare` would put it in place of the function of the same name."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'experiments' has no attribute '{name}'")
        return getattr(importlib.import_module(f"experiments.{_HOMES[name]}"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOMES:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *__all__])


sys.modules[__name__].__class__ = _Package
