"""What every object that owns pods has: which pods it has, and whom their news concerns."""

from __future__ import annotations

from typing import Any, Protocol

from sim.controllers.writes import Written


class PodController(Protocol):
    """What a controller hears of the pods of its objects, through its informer."""

    def pod_added(self, owner: Any, pod: int) -> None:
        """The pod is stored."""

    def pod_ready(self, owner: Any, pod: int) -> None:
        """It runs and is ready."""

    def pod_unready(self, owner: Any, pod: int) -> None:
        """It is ready no more."""

    def pod_finished(self, owner: Any, pod: int, failed: bool) -> None:
        """Its containers have ended by themselves, or it was evicted."""

    def pod_lost(self, owner: Any, pod: int) -> None:
        """It is being deleted, or has gone without that."""

    def pod_gone(self, owner: Any, pod: int) -> None:
        """Its object is removed."""


class PodOwner(Written):
    """One object with pods. Its fields are what the controller's informers know, not what has been asked for."""

    stays_with_node = False
    """Its pods belong to their nodes, and are not evicted from a silent one."""
    __slots__ = ("app", "controller", "deleted", "like", "namespace", "pods", "ready", "rows", "template")

    def __init__(
        self, controller: PodController, app: int, namespace: str, template: int, rows: list[int], like: int
    ) -> None:
        super().__init__()
        self.controller = controller
        self.app = app
        self.namespace = namespace
        self.template = template
        """Row of the load's templates that its pods are made from."""
        self.rows = rows
        """Rows of the pod table that it has not used yet, the last one next."""
        self.like = like
        """A row of the same application, after which further rows are made."""
        self.pods: dict[int, None] = {}
        """Pods that are there and not being deleted, in the order in which they were heard of."""
        self.ready: dict[int, float] = {}
        """Since when those of them that are ready are."""
        self.deleted = False
