"""What a StatefulSet does next: which ordinals get a pod, which lose theirs.

Rules: Kubernetes 1.20 source, pkg/controller/statefulset/stateful_set_control.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OrdinalState:
    """The pod of one ordinal."""

    exists: bool
    ready: bool = False
    """Runs and is ready."""
    terminating: bool = False
    """Being deleted; its object is still there."""
    updated: bool = True
    """It has the newest revision."""

    @property
    def healthy(self) -> bool:
        return self.exists and self.ready and not self.terminating


def next_steps(
    ordinals: Sequence[OrdinalState], replicas: int, parallel: bool = False, on_delete: bool = False, partition: int = 0
) -> tuple[list[int], list[int]]:
    """(ordinals to create, ordinals to delete) now. Ordinals from `replicas` on are those that are too many.

    In order: an ordinal is created when all before it are ready, and goes when all after it have gone. `parallel`: creation
    and deletion wait for nobody; a rolling update still goes one by one, from the last ordinal down to the partition.
    """
    create = []
    for number in range(replicas):
        state = ordinals[number] if number < len(ordinals) else OrdinalState(False)
        if not state.exists:
            create.append(number)
        if not parallel and not state.healthy:
            return create, []
    delete = []
    unhealthy = [number for number, state in enumerate(ordinals) if state.exists and not state.healthy]
    for number in range(len(ordinals) - 1, replicas - 1, -1):
        state = ordinals[number]
        if not state.exists:
            continue
        if state.terminating:
            if not parallel:
                return create, []
            continue
        if not parallel and not state.ready and number != unhealthy[0]:
            return create, []
        delete.append(number)
        if not parallel:
            return create, delete
    if create or delete or on_delete:
        return create, delete
    for number in range(replicas - 1, partition - 1, -1):
        state = ordinals[number]
        if not state.updated and not state.terminating:
            return [], [number]
        if not state.healthy:
            break
    return [], []
