"""Tallies: how many placed pods of a kind each node holds, kept up to date as pods come and go.

Every rule that looks at other pods (spreading, pod affinity, host ports) asks, node by node, for a sum over the
pods there of a small weight that depends only on their specs: "pods this selector matches", "anti-affinity terms
that repel me". Each such question is a key below; its column of int32 sums is counted once over all placed pods
and then maintained. The slow twin is `Tallies.recount`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from sim.scheduler.cluster import ClusterObjects
from sim.scheduler.pod_info import HostPort, PodInfo, Term, WeightedTerm
from sim.state.selectors import Selector

if TYPE_CHECKING:
    from sim.state.placements import Placements

COLUMN_BYTES_LIMIT = 512 * 2**20
"""Memory that tally columns may take; beyond it the ones longest unused are dropped and counted again on demand."""


def own_term_matches(term: Term, pod: PodInfo, cluster: ClusterObjects) -> bool:
    """Does a term of the pod to schedule match a placed pod? Namespaces are found among those listed."""
    if pod.namespace not in term.namespaces and not term.namespace_selector.empty:
        labels = cluster.namespaces.get(pod.namespace)
        if labels is None or not term.namespace_selector.matches(labels):
            return False
    return term.selector.matches(pod.labels)


def placed_term_matches(term: Term, pod: PodInfo, cluster: ClusterObjects) -> bool:
    """Does a term of a placed pod match the pod to schedule? A namespace that is not listed has no labels."""
    if pod.namespace not in term.namespaces:
        labels = cluster.namespaces.get(pod.namespace, {})
        if not term.namespace_selector.matches(labels):
            return False
    return term.selector.matches(pod.labels)


Audience = tuple[Hashable, ...]
"""Which specs a tally can weigh other than 0: an index entry. ("all",), ("namespace", ns), ("pair", ns, key, value),
("anti",), ("terms",), ("ports",)."""


class TallyKey(Protocol):
    """A question about the pods of a node; frozen and hashable."""

    counts_terminating: bool

    def weight(self, pod: PodInfo, cluster: ClusterObjects) -> int:
        """What one placed pod of this spec adds."""

    def audience(self) -> tuple[Audience, ...]:
        """Index entries under which specs with a weight are found."""


def _selector_audience(namespaces: frozenset[str], selector: Selector) -> tuple[Audience, ...]:
    if selector.equality is not None:
        return tuple(("pair", namespace, *selector.equality) for namespace in sorted(namespaces))
    return tuple(("namespace", namespace) for namespace in sorted(namespaces))


def _term_audience(term: Term) -> tuple[Audience, ...]:
    if not term.namespace_selector.nothing:
        return (("all",),)
    return _selector_audience(term.namespaces, term.selector)


@dataclass(frozen=True)
class MatchingPods:
    """Pods of a namespace that a selector matches, terminating ones left out; an empty selector counts none, unless
    asked to count all."""

    namespace: str
    selector: Selector
    empty_counts: bool = False
    counts_terminating = False

    def weight(self, pod: PodInfo, cluster: ClusterObjects) -> int:
        if (self.selector.empty and not self.empty_counts) or pod.namespace != self.namespace:
            return 0
        return int(self.selector.matches(pod.labels))

    def audience(self) -> tuple[Audience, ...]:
        return _selector_audience(frozenset([self.namespace]), self.selector)


@dataclass(frozen=True)
class MatchingAllTerms:
    """Pods that match every required affinity term of the pod to schedule."""

    terms: tuple[Term, ...]
    counts_terminating = True

    def weight(self, pod: PodInfo, cluster: ClusterObjects) -> int:
        return int(bool(self.terms) and all(own_term_matches(term, pod, cluster) for term in self.terms))

    def audience(self) -> tuple[Audience, ...]:
        return _term_audience(self.terms[0])


@dataclass(frozen=True)
class RepellingTerms:
    """Required anti-affinity terms, with one topology key, of placed pods that match a namespace and labels."""

    group: int
    """The id of the namespace and labels (`PodInfo.group`)."""
    pod: PodInfo
    key: str
    counts_terminating = True

    def __hash__(self) -> int:
        return hash((self.group, self.key))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RepellingTerms) and (self.group, self.key) == (other.group, other.key)

    def weight(self, pod: PodInfo, cluster: ClusterObjects) -> int:
        return sum(
            term.key == self.key and placed_term_matches(term, self.pod, cluster) for term in pod.required_anti
        )

    def audience(self) -> tuple[Audience, ...]:
        return (("anti",),)


@dataclass(frozen=True)
class AffinityPoints:
    """Preference points, over one topology key, between the pod to schedule and placed ones, both ways."""

    group: int
    """The id of the namespace and labels of the pod to schedule (`PodInfo.group`)."""
    pod: PodInfo
    preferred: tuple[WeightedTerm, ...]
    """The pod's own preferred terms with this key; anti-affinity has negative weights."""
    key: str
    hard_weight: int
    """What a placed pod's required affinity towards the pod counts (hardPodAffinityWeight)."""
    counts_terminating = True

    def __hash__(self) -> int:
        return hash((self.group, self.key, self.hard_weight, len(self.preferred)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AffinityPoints) and (self.group, self.preferred, self.key, self.hard_weight) == (
            other.group,
            other.preferred,
            other.key,
            other.hard_weight,
        )

    def touches(self, pod: PodInfo, cluster: ClusterObjects) -> list[int]:
        """The points of every matching pair of term and pod; they may add up to nothing."""
        found = [each.weight for each in self.preferred if own_term_matches(each.term, pod, cluster)]
        if self.hard_weight > 0:
            found += [
                self.hard_weight
                for term in pod.required_affinity
                if term.key == self.key and placed_term_matches(term, self.pod, cluster)
            ]
        for terms, sign in ((pod.preferred_affinity, 1), (pod.preferred_anti, -1)):
            found += [
                sign * each.weight
                for each in terms
                if each.term.key == self.key and placed_term_matches(each.term, self.pod, cluster)
            ]
        return found

    def weight(self, pod: PodInfo, cluster: ClusterObjects) -> int:
        return sum(self.touches(pod, cluster))

    def audience(self) -> tuple[Audience, ...]:
        own = {entry for each in self.preferred for entry in _term_audience(each.term)}
        return (("terms",), *sorted(own, key=str))


@dataclass(frozen=True)
class ConflictingPorts:
    """Pods that hold a host port the pod to schedule wants."""

    ports: tuple[HostPort, ...]
    counts_terminating = True

    def weight(self, pod: PodInfo, cluster: ClusterObjects) -> int:
        return int(any(mine.conflicts(theirs) for mine in self.ports for theirs in pod.host_ports))

    def audience(self) -> tuple[Audience, ...]:
        return (("ports",),)


def _columns(weighed: list[tuple[int, int]]) -> np.ndarray:
    return np.ascontiguousarray(np.array(weighed, np.int32).reshape(-1, 2).T)


class Tallies:
    """The columns: `counts[slot, row]`, one slot a key."""

    def __init__(self, cluster: ClusterObjects, placements: Placements, node_capacity: int) -> None:
        self._cluster = cluster
        self._placements = placements
        self._infos: list[PodInfo] = []
        self.counts = np.zeros((4, node_capacity), np.int32)
        self._keys: list[TallyKey] = []
        self._slots: dict[TallyKey, int] = {}
        self._used: list[int] = []
        self._clock = 0
        self._by_audience: dict[Audience, list[int]] = {}
        self._effects: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._specs_under: dict[Audience, list[int]] = {}
        """Ids of the specs under each index entry: those that a key of that audience may weigh."""
        self._repelling: list[PodInfo] = []
        self._attracting: list[PodInfo] = []
        self._keys_of: dict[tuple[str, int], tuple[int, frozenset[str]]] = {}
        self.epoch = 0
        """Counts the times that all columns were dropped."""
        self.version = 0
        """Counts what may make remembered slots and keys stale: slots that changed hands, new specs with terms."""

    def __len__(self) -> int:
        return len(self._keys)

    def register(self, info: PodInfo) -> None:
        """Tell of a new spec; ids are given in order."""
        for entry in self._entries_of(info):
            self._specs_under.setdefault(entry, []).append(len(self._infos))
        self._infos.append(info)
        if info.required_anti:
            self._repelling.append(info)
            self.version += 1
        if info.has_terms:
            self._attracting.append(info)
            self.version += 1

    def repelling_keys(self, pod: PodInfo) -> list[str]:
        """Topology keys of required anti-affinity terms, of any known spec, that match a pod."""
        return self._matching_keys("repel", pod, self._repelling)

    def attracting_keys(self, pod: PodInfo) -> list[str]:
        """Topology keys of other affinity terms, of any known spec, that match a pod."""
        return self._matching_keys("attract", pod, self._attracting)

    def slot(self, key: TallyKey) -> int:
        """The slot of a key, counted now if it is new."""
        self._clock += 1
        found = self._slots.get(key)
        if found is None:
            found = self._create(key)
        self._used[found] = self._clock
        return found

    def hold(self, slots: tuple[tuple[TallyKey, int], ...]) -> bool:
        """Are all these keys still in these slots? If so they count as used now."""
        if any(self._slots.get(key) != slot for key, slot in slots):
            return False
        self._clock += 1
        for _, slot in slots:
            self._used[slot] = self._clock
        return True

    def column(self, key: TallyKey) -> np.ndarray:
        """int32 sums of a key, one a node row (a view that the next new key may detach)."""
        slot = self.slot(key)
        return self.counts[slot]

    def effects(self, spec: int, terminating: bool = False) -> np.ndarray:
        """What one pod of a spec adds: int32[2, k], slots and weights. A terminating pod adds less."""
        found = self._effects.get(spec)
        if found is None:
            info = self._infos[spec]
            slots: set[int] = set()
            for entry in self._entries_of(info):
                slots.update(self._by_audience.get(entry, ()))
            weighed = [(slot, self._keys[slot].weight(info, self._cluster)) for slot in sorted(slots)]
            weighed = [(slot, weight) for slot, weight in weighed if weight]
            lasting = [(slot, weight) for slot, weight in weighed if self._keys[slot].counts_terminating]
            found = self._effects[spec] = (_columns(weighed), _columns(lasting))
        return found[terminating]

    def recount(self, key: TallyKey) -> np.ndarray:
        """The slow twin: the sums of a key counted afresh over all placed pods."""
        return self._sums(key, range(len(self._infos)))

    def _sums(self, key: TallyKey, specs: Iterable[int]) -> np.ndarray:
        """The sums of a key over the placed pods of these specs."""
        places = self._placements
        weights = np.zeros(len(self._infos) + 1, np.int32)
        for spec in specs:
            if places.of_spec[spec]:
                weights[spec] = key.weight(self._infos[spec], self._cluster)
        sums = np.zeros(self.counts.shape[1], np.int32)
        if weights.any():
            # a pod that is not placed has spec -1, the last weight, which stays 0
            counted = weights[places.spec]
            if not key.counts_terminating:
                counted[places.terminating > 0] = 0
            pods = np.flatnonzero(counted)
            np.add.at(sums, places.node[pods], counted[pods])
        return sums

    def known(self) -> list[TallyKey]:
        """The keys that have a column."""
        return list(self._keys)

    def forget_all(self) -> None:
        """Drop every column: namespaces changed, and with them what terms match."""
        self._keys.clear()
        self._slots.clear()
        self._used.clear()
        self._by_audience.clear()
        self._effects.clear()
        self._keys_of.clear()
        self.epoch += 1
        self.version += 1

    def reserve_nodes(self, capacity: int) -> None:
        """Make room for more node rows."""
        missing = capacity - self.counts.shape[1]
        if missing > 0:
            self.counts = np.concatenate(
                [self.counts, np.zeros((self.counts.shape[0], missing), np.int32)], axis=1
            )

    # -- inside --------------------------------------------------------------------------------------------------

    def _matching_keys(self, what: str, pod: PodInfo, specs: list[PodInfo]) -> list[str]:
        seen, keys = self._keys_of.get((what, pod.group), (0, frozenset()))
        if seen < len(specs):
            found = set(keys)
            for each in specs[seen:]:
                terms = each.required_anti
                if what == "attract":
                    weighted = (*each.preferred_affinity, *each.preferred_anti)
                    terms = (*each.required_affinity, *(one.term for one in weighted))
                found.update(term.key for term in terms if placed_term_matches(term, pod, self._cluster))
            keys = frozenset(found)
            self._keys_of[(what, pod.group)] = (len(specs), keys)
        return sorted(keys)

    def _entries_of(self, info: PodInfo) -> list[Audience]:
        entries: list[Audience] = [("all",), ("namespace", info.namespace)]
        entries += [("pair", info.namespace, key, value) for key, value in info.labels.items()]
        if info.required_anti:
            entries.append(("anti",))
        if info.has_terms:
            entries.append(("terms",))
        if info.host_ports:
            entries.append(("ports",))
        return entries

    def _create(self, key: TallyKey) -> int:
        limit = max(16, COLUMN_BYTES_LIMIT // (4 * self.counts.shape[1]))
        if len(self._keys) < limit:
            slot = len(self._keys)
            if slot == self.counts.shape[0]:
                self.counts = np.concatenate([self.counts, np.zeros_like(self.counts)])
            self._keys.append(key)
            self._used.append(self._clock)
        else:
            slot = self._used.index(min(self._used))
            self._give_up(slot)
            self._keys[slot] = key
        weighed = self._may_weigh(key)
        self.counts[slot] = self._sums(key, weighed)
        self._slots[key] = slot
        for entry in key.audience():
            self._by_audience.setdefault(entry, []).append(slot)
        for spec in weighed:
            self._effects.pop(spec, None)
        return slot

    def _may_weigh(self, key: TallyKey) -> set[int]:
        """Ids of the specs that a key can weigh other than 0."""
        return {spec for entry in key.audience() for spec in self._specs_under.get(entry, ())}

    def _give_up(self, slot: int) -> None:
        """Take a slot from its key, which will be counted again when it is asked for."""
        key = self._keys[slot]
        del self._slots[key]
        for entry in key.audience():
            self._by_audience[entry].remove(slot)
        for spec in self._may_weigh(key):
            self._effects.pop(spec, None)
        self.version += 1
