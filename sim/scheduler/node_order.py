"""The order in which the scheduler walks the nodes, and how many it needs.

Nodes are kept by zone, zones in the order they first appeared; the walk takes one node of each zone in turn until all
are exhausted (Kubernetes 1.20 and 1.34, internal/cache/node_tree.go).
"""

from __future__ import annotations

import numpy as np

from sim.state.nodes import NodeTable, zone_of

MIN_FEASIBLE_NODES_TO_FIND = 100
"""Below this many nodes all are evaluated, and sampling never finds fewer (minFeasibleNodesToFind)."""
MIN_PERCENTAGE_OF_NODES_TO_FIND = 5
"""Least share under the adaptive rule, percent (minFeasibleNodesPercentageToFind)."""
BASE_PERCENTAGE_OF_NODES_TO_FIND = 50
"""Share under the adaptive rule for small clusters, percent; one less for every 125 nodes."""


def nodes_to_find(nodes: int, percentage: int) -> int:
    """How many feasible nodes end the search among `nodes`; percentage 0 is adaptive (numFeasibleNodesToFind)."""
    if nodes < MIN_FEASIBLE_NODES_TO_FIND or percentage >= 100:
        return nodes
    if percentage == 0:
        percentage = max(BASE_PERCENTAGE_OF_NODES_TO_FIND - nodes // 125, MIN_PERCENTAGE_OF_NODES_TO_FIND)
    return max(nodes * percentage // 100, MIN_FEASIBLE_NODES_TO_FIND)


class NodeOrder:
    """The walk over alive nodes, rebuilt when the set of nodes or a zone changes."""

    def __init__(self) -> None:
        self._zones: dict[str, dict[int, None]] = {}
        self._zone_of: dict[int, str] = {}
        self._rows: np.ndarray | None = np.zeros(0, np.int64)

    def add(self, row: int, nodes: NodeTable) -> None:
        """A node came: it goes to the end of its zone."""
        zone = zone_of(dict(nodes.specs[row].labels))
        self._zones.setdefault(zone, {})[row] = None
        self._zone_of[row] = zone
        self._rows = None

    def update(self, row: int, nodes: NodeTable) -> bool:
        """A node changed: when its zone did, it moves to the end of the new one. Returns whether it moved."""
        if self._zone_of[row] == zone_of(dict(nodes.specs[row].labels)):
            return False
        self.remove(row)
        self.add(row, nodes)
        return True

    def remove(self, row: int) -> None:
        """A node left; an empty zone loses its place among the zones."""
        zone = self._zone_of.pop(row)
        members = self._zones[zone]
        del members[row]
        if not members:
            del self._zones[zone]
        self._rows = None

    def rows(self) -> np.ndarray:
        """int64 rows of all alive nodes in walking order."""
        if self._rows is None:
            members = [np.fromiter(zone, np.int64, len(zone)) for zone in self._zones.values()]
            rank = [np.arange(len(zone)) for zone in members]
            zone_index = [np.full(len(zone), index) for index, zone in enumerate(members)]
            if members:
                order = np.lexsort((np.concatenate(zone_index), np.concatenate(rank)))
                self._rows = np.concatenate(members)[order]
            else:
                self._rows = np.zeros(0, np.int64)
        return self._rows
