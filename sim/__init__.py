"""kubedes simulates whole Kubernetes clusters, one discrete event at a time.

    result = sim.simulate(sim.Scenario.load("public-cloud"))

The names below are imported when they are first used, so that `import sim` is quick.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.base.errors import InputError, KubedesError
    from sim.result.result import Result
    from sim.scenario import Scenario
    from sim.simulate import simulate

__all__ = ["InputError", "KubedesError", "Result", "Scenario", "simulate"]

_HOMES = {
    "InputError": "sim.base.errors",
    "KubedesError": "sim.base.errors",
    "Result": "sim.result.result",
    "Scenario": "sim.scenario",
    "simulate": "sim.simulate",
}
"""Public name → the module that has it."""


class _Package(ModuleType):
    """The package. Importing the module `sim.simulate` would put it in place of the function of the same name."""

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module 'sim' has no attribute '{name}'")
        return getattr(importlib.import_module(_HOMES[name]), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HOMES:
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *__all__])


sys.modules[__name__].__class__ = _Package
