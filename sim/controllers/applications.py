"""What controllers read off an application's object: its pods' template and rows, and what stands beside them."""

from __future__ import annotations

from typing import TypeVar

from sim.state.applications import AppOptions
from sim.workload import Load

Options = TypeVar("Options", bound=AppOptions)


class Applications:
    """The applications of a load, by row."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self._first: list[int] = load.app_first_pod.tolist()

    def template(self, app: int) -> int:
        """Row of the load's templates."""
        return int(self.load.app_template[app])

    def namespace(self, app: int) -> str:
        return self.load.templates[self.template(app)].namespace

    def pods(self, app: int) -> int:
        """How many pods were drawn for it."""
        return int(self.load.app_pods[app])

    def first_row(self, app: int) -> int:
        """Its first row of the pod table; without pods, some row."""
        return self._first[app]

    def rows(self, app: int) -> list[int]:
        """Its rows of the pod table, the first one last."""
        first = self._first[app]
        return list(range(first + self.pods(app) - 1, first - 1, -1))

    def parallelism(self, app: int) -> int:
        return int(self.load.app_parallelism[app])

    def options(self, app: int, kind: type[Options]) -> Options:
        """What its object says beside its pods, or the defaults of its kind."""
        found = self.load.app_options.get(app)
        return found if isinstance(found, kind) else kind()
