"""The table of nodes: one row a node, columns of numbers, few mutators.

A row belongs to a node's name for good: a node that leaves keeps its row (not alive) and gets it back when it
registers again. Amounts are int64 in base units (millicores, bytes, counts). Labels are dictionary-encoded, one
int32 column for every key that some rule has asked for, -1 where the label is absent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sim.base.errors import InputError
from sim.state.objects import NodeSpec, Owner, Requirement, Taint
from sim.state.selectors import requirement_matches

CPU, MEMORY, EPHEMERAL_STORAGE, PODS = 0, 1, 2, 3
"""Resource ids that every table has; further resources get the next ids as they are met."""
NAME_COLUMN = "\0metadata.name"
"""The key of the column that holds node names (the only field matchFields can name); no label has this key."""
ZONE_COLUMN = "\0zone"
"""The key of the column that holds region and zone together, absent where a node has neither."""
STANDARD_RESOURCES = ("cpu", "memory", "ephemeral-storage", "pods")

NONZERO_CPU, NONZERO_MEMORY = 0, 1
"""Rows of `amounts` with what the placed pods count as in scores (defaults filled in for missing requests)."""


def allocatable_row(resource: int) -> int:
    """The row of `amounts` that holds the allocatable amount of a resource."""
    return 2 + 2 * resource


def requested_row(resource: int) -> int:
    """The row of `amounts` that holds what the placed pods request of a resource."""
    return 3 + 2 * resource


def zone_of(labels: Mapping[str, str]) -> str:
    """Region and zone as one text, empty where a node has neither; the old beta labels win (node.GetZoneKey)."""
    zone = labels.get("failure-domain.beta.kubernetes.io/zone", labels.get("topology.kubernetes.io/zone", ""))
    region = labels.get("failure-domain.beta.kubernetes.io/region", labels.get("topology.kubernetes.io/region", ""))
    return f"{region}:\0:{zone}" if region or zone else ""


class LabelColumn:
    """One label key over all nodes: `values` maps a text to its code, the codes are a row of `NodeTable.labels`."""

    def __init__(self, key: str, index: int) -> None:
        self.key = key
        self.index = index
        self.values: dict[str, int] = {}

    def code(self, value: str | None) -> int:
        """The code of a value, new if need be; -1 for an absent label."""
        return -1 if value is None else self.values.setdefault(value, len(self.values))

    def verdicts(self, requirement: Requirement) -> np.ndarray:
        """uint8 table over codes + 1: entry 0 is the answer for an absent label."""
        table = np.empty(len(self.values) + 1, np.uint8)
        table[0] = requirement_matches(requirement, None)
        for value, code in self.values.items():
            table[code + 1] = requirement_matches(requirement, value)
        return table


class ImageState:
    """An image name as the cluster knows it: the size its first lister gave, and the rows that hold it."""

    __slots__ = ("rows", "size_bytes", "version")

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.version = 0
        """`NodeTable.image_version` at the last change."""
        self.rows: dict[int, int] = {}
        """How many nodes held the image when the row was last written, itself included."""


class NodeTable:
    """Rows of nodes. `version` counts changes of the set of nodes or of anything static on one."""

    def __init__(self, capacity: int = 64) -> None:
        self.count = 0
        """Rows in use, dead ones included; row numbers are 0 to count - 1."""
        self.alive_count = 0
        self.names: list[str] = []
        self.specs: list[NodeSpec] = []
        self.row_of: dict[str, int] = {}
        self.resources: dict[str, int] = {name: index for index, name in enumerate(STANDARD_RESOURCES)}
        self.amounts = np.zeros((2 + 2 * len(self.resources), capacity), np.int64)
        self.alive = np.zeros(capacity, np.uint8)
        self.unschedulable = np.zeros(capacity, np.uint8)
        self.taint_class = np.zeros(capacity, np.int32)
        """Code of the node's list of taints in `taint_lists`."""
        self.taint_lists: list[tuple[Taint, ...]] = [()]
        self._taint_codes: dict[tuple[Taint, ...], int] = {(): 0}
        self.labels = np.full((4, capacity), -1, np.int32)
        self._label_columns: dict[str, LabelColumn] = {}
        self.images: dict[str, ImageState] = {}
        self.avoiding: dict[int, tuple[Owner, ...]] = {}
        """Rows that carry the preferAvoidPods annotation, and whom it names."""
        self.largest = 0
        """The largest allocatable amount of CPU or memory ever seen."""
        self.version = 0
        self.set_version = 0
        """Counts changes of the set of alive nodes or of their zones: whatever moves the scan order."""
        self.label_version = 0
        self.taint_version = 0
        self.image_version = 0

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def capacity(self) -> int:
        return int(self.alive.shape[0])

    def rows(self) -> np.ndarray:
        """The rows of alive nodes, ascending (int64)."""
        return np.flatnonzero(self.alive[: self.count])

    def allocatable(self, resource: int) -> np.ndarray:
        """Allocatable amounts of a resource, one a row (a view)."""
        return self.amounts[allocatable_row(resource), : self.count]

    def requested(self, resource: int) -> np.ndarray:
        """Amounts the placed pods request of a resource, one a row (a view)."""
        return self.amounts[requested_row(resource), : self.count]

    def label(self, key: str) -> LabelColumn:
        """The column of a label key, encoded on first use."""
        column = self._label_columns.get(key)
        if column is None:
            column = LabelColumn(key, len(self._label_columns))
            if column.index == self.labels.shape[0]:
                self.labels = np.vstack([self.labels, np.full_like(self.labels, -1)])
            codes = self.labels[column.index]
            for row, spec in enumerate(self.specs):
                codes[row] = column.code(self._label_value(spec, key))
            self._label_columns[key] = column
        return column

    def label_codes(self, key: str) -> np.ndarray:
        """The codes of a label key, one a row, -1 where absent (a view)."""
        index = self.label(key).index
        return self.labels[index, : self.count]

    def label_is(self, key: str, value: str) -> np.ndarray:
        """bool, one a row: does the node carry this label?"""
        code = self.label(key).values.get(value, -2)
        return self.label_codes(key) == code

    def satisfies(self, requirement: Requirement) -> np.ndarray:
        """bool, one a row: does the node satisfy a requirement on its labels?"""
        column = self.label(requirement.key)
        return column.verdicts(requirement)[self.label_codes(requirement.key) + 1].astype(bool)

    def by_taints(self, answer: Callable[[Sequence[Taint]], int]) -> np.ndarray:
        """int64 table: `answer` for every distinct list of taints; index it with `taint_class`."""
        return np.array([answer(taints) for taints in self.taint_lists], np.int64)

    # -- mutators ------------------------------------------------------------------------------------------------

    def resource(self, name: str) -> int:
        """The id of a resource, new if need be."""
        found = self.resources.get(name)
        if found is None:
            found = self.resources[name] = len(self.resources)
            self.amounts = np.vstack([self.amounts, np.zeros((2, self.capacity), np.int64)])
        return found

    def add(self, spec: NodeSpec) -> int:
        """Register a node; returns its row. A name that is alive already is an InputError."""
        row = self.row_of.get(spec.name)
        if row is not None and self.alive[row]:
            raise InputError(
                f"nodes[{self.alive_count}].name: '{spec.name}' is registered already (row {row}); names are unique"
            )
        if row is None:
            row = self.count
            if row == self.capacity:
                self._grow()
            self.count += 1
            self.names.append(spec.name)
            self.specs.append(spec)
            self.row_of[spec.name] = row
            for column in self._label_columns.values():
                self.labels[column.index, row] = -1
        self.alive[row] = 1
        self.alive_count += 1
        self.version += 1
        self.set_version += 1
        self.label_version += 1
        self.taint_version += 1
        self.image_version += 1
        self._write(row, spec)
        self._add_images(row, spec)
        return row

    def update(self, row: int, spec: NodeSpec) -> None:
        """Replace what an alive node is. Its name must stay."""
        self._check_alive(row)
        old = self.specs[row]
        if spec.name != old.name:
            raise InputError(
                f"nodes[{row}].name: '{spec.name}' must stay '{old.name}'; remove the node and add another"
            )
        self.version += 1
        if spec.labels != old.labels or spec.prefer_avoid_pods != old.prefer_avoid_pods:
            self.label_version += 1
        if spec.taints != old.taints or spec.unschedulable != old.unschedulable:
            self.taint_version += 1
        self._write(row, spec)
        if spec.images or old.images:
            self.image_version += 1
            self._drop_images(row, old)
            self._add_images(row, spec)

    def remove(self, row: int) -> None:
        """Take a node out. Pods still placed on it stay accounted on its row until they are removed."""
        self._check_alive(row)
        self.alive[row] = 0
        self.alive_count -= 1
        self.version += 1
        self.set_version += 1
        self.label_version += 1
        self.taint_version += 1
        self.image_version += 1
        self._drop_images(row, self.specs[row])

    # -- inside --------------------------------------------------------------------------------------------------

    def _check_alive(self, row: int) -> None:
        if not (0 <= row < self.count and self.alive[row]):
            raise InputError(f"nodes[{row}]: no such node; {self.alive_count} are registered")

    @staticmethod
    def _label_value(spec: NodeSpec, key: str) -> str | None:
        if key == NAME_COLUMN:
            return spec.name
        if key == ZONE_COLUMN:
            return zone_of(dict(spec.labels)) or None
        for name, value in spec.labels:
            if name == key:
                return value
        return None

    def _write(self, row: int, spec: NodeSpec) -> None:
        wanted = {self.resource(name): amount for name, amount in spec.allocatable}
        for resource in range(len(self.resources)):
            self.amounts[allocatable_row(resource), row] = wanted.get(resource, 0)
        self.largest = max(self.largest, wanted.get(CPU, 0), wanted.get(MEMORY, 0))
        self.specs[row] = spec
        self.unschedulable[row] = spec.unschedulable
        if spec.prefer_avoid_pods:
            self.avoiding[row] = spec.prefer_avoid_pods
        else:
            self.avoiding.pop(row, None)
        code = self._taint_codes.get(spec.taints)
        if code is None:
            code = self._taint_codes[spec.taints] = len(self.taint_lists)
            self.taint_lists.append(spec.taints)
        self.taint_class[row] = code
        if self._label_columns:
            for key, column in self._label_columns.items():
                self.labels[column.index, row] = column.code(self._label_value(spec, key))

    def _add_images(self, row: int, spec: NodeSpec) -> None:
        for image in spec.images:
            for name in image.names:
                state = self.images.get(name)
                if state is None:
                    state = self.images[name] = ImageState(image.size_bytes)
                state.rows[row] = len(state.rows) + (row not in state.rows)
                state.version = self.image_version

    def _drop_images(self, row: int, spec: NodeSpec) -> None:
        for image in spec.images:
            for name in image.names:
                state = self.images.get(name)
                if state is not None:
                    state.rows.pop(row, None)
                    state.version = self.image_version
                    if not state.rows:
                        del self.images[name]

    def _grow(self) -> None:
        def wider(array: np.ndarray, fill: int) -> np.ndarray:
            return np.concatenate([array, np.full_like(array, fill)], axis=-1)

        self.amounts = wider(self.amounts, 0)
        self.alive = wider(self.alive, 0)
        self.unschedulable = wider(self.unschedulable, 0)
        self.taint_class = wider(self.taint_class, 0)
        self.labels = wider(self.labels, -1)
