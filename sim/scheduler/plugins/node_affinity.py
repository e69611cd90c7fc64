"""NodeAffinity: node selectors, required terms, preferred terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from sim.base.errors import Problems
from sim.kernels import kernel
from sim.kernels.columns import default_normalize
from sim.scheduler.framework import PLUGINS, SKIP, UNRESOLVABLE, Cycle, Plugin, Status
from sim.scheduler.pod_info import PodInfo
from sim.state.api import pod_spec_from_fields
from sim.state.nodes import NAME_COLUMN, NodeTable
from sim.state.objects import Affinity, NodeSelectorTerm, Pairs, PodSpec, PreferredNodeTerm, Requirement
from sim.state.selectors import NAME_FIELD, equals, usable_term


def _narrow_twin(codes: np.ndarray, verdicts: np.ndarray, keep: np.ndarray) -> None:
    keep &= verdicts[codes + 1]


@kernel(reference=_narrow_twin)
def narrow(codes: np.ndarray, verdicts: np.ndarray, keep: np.ndarray) -> None:
    """Keep rows whose label code has a verdict of 1. codes int32[n], verdicts uint8[values + 1], keep uint8[n]."""
    for i in range(keep.shape[0]):
        keep[i] &= verdicts[codes[i] + 1]


def _narrow_by(nodes: NodeTable, requirement: Requirement, key: str, keep: np.ndarray) -> None:
    column = nodes.label(key)
    narrow(nodes.label_codes(key), column.verdicts(requirement), keep)


def term_match(nodes: NodeTable, term: NodeSelectorTerm) -> np.ndarray:
    """uint8, one a table row: does the node match a node selector term?"""
    if not usable_term(term):
        return np.zeros(nodes.count, np.uint8)
    keep = np.ones(nodes.count, np.uint8)
    for requirement in term.match_expressions:
        _narrow_by(nodes, requirement, requirement.key, keep)
    for requirement in term.match_fields:
        if requirement.key == NAME_FIELD:
            _narrow_by(nodes, requirement, NAME_COLUMN, keep)
        elif (requirement.values[0] == "") != (requirement.operator == "In"):
            keep[:] = 0  # an unknown field reads as the empty text
    return keep


def terms_match(nodes: NodeTable, terms: tuple[NodeSelectorTerm, ...]) -> np.ndarray:
    """uint8, one a table row: does the node match any of the terms?"""
    found = np.zeros(nodes.count, np.uint8)
    for term in terms:
        found |= term_match(nodes, term)
    return found


def selector_match(nodes: NodeTable, node_selector: Pairs) -> np.ndarray:
    """uint8, one a table row: does the node carry all the labels?"""
    keep = np.ones(nodes.count, np.uint8)
    for requirement in equals(dict(node_selector)):
        _narrow_by(nodes, requirement, requirement.key, keep)
    return keep


def required_match(nodes: NodeTable, spec: PodSpec) -> np.ndarray:
    """uint8, one a table row: nodeSelector and required node affinity together."""
    keep = selector_match(nodes, spec.node_selector)
    if spec.affinity is not None and spec.affinity.node_required is not None:
        keep &= terms_match(nodes, spec.affinity.node_required)
    return keep


def preferred_points(nodes: NodeTable, terms: tuple[PreferredNodeTerm, ...]) -> np.ndarray:
    """int64, one a table row: the summed weights of the preferred terms that match."""
    points = np.zeros(nodes.count, np.int64)
    for each in terms:
        if each.weight:
            points += each.weight * term_match(nodes, each.preference).astype(np.int64)
    return points


def named_nodes(terms: tuple[NodeSelectorTerm, ...] | None) -> set[str] | None:
    """Names to which matchFields narrow the nodes; None when some term names none; empty on a contradiction."""
    names: set[str] = set()
    for term in terms or ():
        of_term: set[str] | None = None
        for requirement in term.match_fields:
            if requirement.key == NAME_FIELD and requirement.operator == "In":
                values = set(requirement.values)
                of_term = values if of_term is None else of_term & values
        if of_term is None:
            return None
        names |= of_term
    return names if terms else None


@PLUGINS.register("NodeAffinity")
class NodeAffinity(Plugin):
    """Node affinity (nodeaffinity/node_affinity.go). Argument: addedAffinity, a v1 NodeAffinity ANDed to every pod's
    own."""

    node_only = True

    def __init__(self, args: Mapping[str, Any] | None = None, arithmetic: str = "1.34") -> None:
        super().__init__(args, arithmetic)
        added: Affinity | None = None
        if self.args.get("addedAffinity"):
            problems = Problems("NodeAffinityArgs")
            given = {"affinity": {"nodeAffinity": self.args["addedAffinity"]}}
            added = pod_spec_from_fields(given, "addedAffinity", problems, validate=False).affinity
            problems.raise_if_any()
        self.added_required = added.node_required if added is not None else None
        self.added_preferred = added.node_preferred if added is not None else ()

    def pre_filter(self, cycle: Cycle) -> Status | None:
        if self.arithmetic != "1.34":
            return None
        spec = cycle.pod.spec
        required = spec.affinity.node_required if spec.affinity is not None else None
        if required is None and self.added_required is None and not spec.node_selector:
            return Status(SKIP)
        names = named_nodes(required)
        if names is None:
            return None
        if not names:
            return Status(UNRESOLVABLE, "pod affinity terms conflict")
        allowed = np.zeros(cycle.nodes.count, bool)
        for name in names:
            row = cycle.nodes.row_of.get(name)
            if row is not None:
                allowed[row] = True
        cycle.allowed = allowed
        return None

    def filter(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        match = required_match(cycle.nodes, cycle.pod.spec)
        if self.added_required is not None:
            match &= terms_match(cycle.nodes, self.added_required)
        return np.where(match[rows] != 0, 0, UNRESOLVABLE).astype(np.int8)

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        if self.added_required is not None and not terms_match(cycle.nodes, self.added_required)[row]:
            return ["node(s) didn't match scheduler-enforced node affinity"]
        what = "node affinity/selector" if self.arithmetic == "1.34" else "node affinity"
        return [f"node(s) didn't match Pod's {what}"]

    def preferred(self, pod: PodInfo) -> tuple[PreferredNodeTerm, ...]:
        """The preferred terms that count for a pod: the added ones and its own."""
        affinity = pod.spec.affinity
        return (*self.added_preferred, *(affinity.node_preferred if affinity is not None else ()))

    def pre_score(self, cycle: Cycle, rows: np.ndarray) -> Status | None:
        if self.arithmetic == "1.34" and not self.preferred(cycle.pod):
            return Status(SKIP)
        return None

    def score(self, cycle: Cycle, rows: np.ndarray) -> np.ndarray:
        return preferred_points(cycle.nodes, self.preferred(cycle.pod))[rows]

    def normalize_score(self, cycle: Cycle, rows: np.ndarray, scores: np.ndarray) -> np.ndarray:
        return default_normalize(scores, self.top, False)
