"""What controllers read off an application's object: its pods' template and rows, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

import numpy as np

from sim.state.applications import AppOptions, Roll
from sim.workload import AppKind, Load

KEPT_RUNNING = (AppKind.SERVICE, AppKind.STATEFUL_SET, AppKind.DAEMON_SET)
"""Kinds whose containers are started again whenever they end."""


def kept_running_templates(load: Load, daemon_specs: Iterable[int], nodes: int) -> set[int]:
    """Rows of the templates whose pods' containers are started again whenever they end.

    daemon_specs: where the templates that DaemonSets have for each of `nodes` nodes begin.
    """
    rows = set(load.app_template[np.isin(load.app_kind, KEPT_RUNNING)].tolist())
    rows.update(change.what.template for change in load.changes if isinstance(change.what, Roll))
    return rows.union(*(range(begin, begin + nodes) for begin in daemon_specs))


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
