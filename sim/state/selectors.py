"""Label selectors and node selector terms, as the API server's machinery evaluates them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from sim.state.objects import LabelSelector, NodeSelectorTerm, Requirement

NAME_FIELD = "metadata.name"
"""The only node field that matchFields can name."""

_INTEGER = re.compile(r"[+-]?[0-9]+\Z")


def parse_int64(text: str) -> int | None:
    """The integer a label value stands for, or None: base 10, optional sign, within 64 bits."""
    if not _INTEGER.match(text):
        return None
    number = int(text)
    return number if -(2**63) <= number < 2**63 else None


def requirement_matches(requirement: Requirement, value: str | None) -> bool:
    """Does a label value (None: the label is absent) satisfy one requirement?"""
    operator = requirement.operator
    if operator == "In":
        return value is not None and value in requirement.values
    if operator == "NotIn":
        return value is None or value not in requirement.values
    if operator == "Exists":
        return value is not None
    if operator == "DoesNotExist":
        return value is None
    if operator in ("Gt", "Lt"):
        left = None if value is None else parse_int64(value)
        right = parse_int64(requirement.values[0]) if len(requirement.values) == 1 else None
        if left is None or right is None:
            return False
        return left > right if operator == "Gt" else left < right
    return False


CONTROLLERS_OWN = ("pod-template-hash", "controller-revision-hash", "batch.kubernetes.io/job-name", "job-name")
"""Labels by which ReplicaSets, StatefulSets and Jobs tell their pods from all others."""


@dataclass(frozen=True)
class Selector:
    """A label selector made ready: all requirements must hold; `nothing` matches no labels at all.

    Upstream tells an *empty* selector (matches every set of labels) from *nothing* (an absent selector): some
    counts treat the empty one as matching no pod.
    """

    requirements: tuple[Requirement, ...] = ()
    nothing: bool = False

    @property
    def empty(self) -> bool:
        return not self.nothing and not self.requirements

    @cached_property
    def equality(self) -> tuple[str, str] | None:
        """A (key, value) pair that every matching set of labels must hold, if there is one: for indexes.

        A label that a controller gives its own pods alone narrows most.
        """
        pairs = [(each.key, each.values[0]) for each in self.requirements if each.operator == "In" and len(each.values) == 1]
        return next((pair for pair in pairs if pair[0] in CONTROLLERS_OWN), pairs[0] if pairs else None)

    def matches(self, labels: Mapping[str, str]) -> bool:
        if self.nothing:
            return False
        return all(requirement_matches(each, labels.get(each.key)) for each in self.requirements)

    def plus(self, requirements: tuple[Requirement, ...]) -> Selector:
        """This selector with more requirements."""
        merged = {*self.requirements, *requirements}
        return Selector(tuple(sorted(merged, key=lambda each: (each.key, each.operator, each.values))))


NOTHING = Selector(nothing=True)
EVERYTHING = Selector()


def equals(labels: Mapping[str, str]) -> tuple[Requirement, ...]:
    """The requirements that a map of labels stands for."""
    return tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items()))


def selector_of(label_selector: LabelSelector | None) -> Selector:
    """The v1 selector made ready; an absent one (None) matches nothing."""
    if label_selector is None:
        return NOTHING
    expressions = tuple(
        Requirement(each.key, each.operator, tuple(sorted(set(each.values))))
        for each in label_selector.match_expressions
    )
    return EVERYTHING.plus(equals(dict(label_selector.match_labels)) + expressions)


def usable_term(term: NodeSelectorTerm) -> bool:
    """False for a term that matches no node whatever its labels: an empty one, or one that upstream cannot parse.

    A field requirement must be In or NotIn with exactly one value; Gt and Lt need one integer; In and NotIn need
    values; Exists and DoesNotExist must have none.
    """
    if not term.match_expressions and not term.match_fields:
        return False
    for requirement in term.match_expressions:
        count = len(requirement.values)
        if requirement.operator in ("In", "NotIn"):
            if count == 0:
                return False
        elif requirement.operator in ("Exists", "DoesNotExist"):
            if count:
                return False
        elif requirement.operator in ("Gt", "Lt"):
            if count != 1 or parse_int64(requirement.values[0]) is None:
                return False
        else:
            return False
    return all(each.operator in ("In", "NotIn") and len(each.values) == 1 for each in term.match_fields)
