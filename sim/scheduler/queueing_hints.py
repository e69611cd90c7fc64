"""Which event in the cluster can help which rejected pod: events, who registers for them, and the hint functions.

A pod that some plugins rejected waits until an event arrives that one of those plugins registered for; from 1.32 the
plugin's hint function then looks at the pod and the object and says whether retrying is worth it. Hints know nothing
of the rest of the cluster: they may say yes in vain, never no to the change that helps (with the exceptions of the
real ones, kept here: an existing pod's anti-affinity is not looked at when that pod goes).

Sources: Kubernetes 1.34 source, `scheduler/framework/events.go` and EventsToRegister of each plugin; for `EVENTS`,
their values with the gate SchedulerQueueingHints off; for 1.20, its `scheduler/eventhandlers.go`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntFlag, StrEnum
from functools import cached_property

from sim.scheduler.requests import pod_requests
from sim.scheduler.tolerations import UNSCHEDULABLE_TAINT, first_blocking_taint, tolerated
from sim.state.objects import ContainerPort, NodeSpec, PodAffinityTerm, PodSpec
from sim.state.selectors import NAME_FIELD, Selector, equals, requirement_matches, selector_of, usable_term


class Resource(StrEnum):
    """What an event is about. Plugins register for POD or NODE; events of pods say which kind of pod."""

    POD = "Pod"
    ASSIGNED_POD = "AssignedPod"
    UNSCHEDULED_POD = "UnscheduledPod"
    NODE = "Node"
    WILDCARD = "*"


class Action(IntFlag):
    """What happened to it. The order of the bits is Kubernetes' own: it counts in `matches`."""

    ADD = 1 << 0
    DELETE = 1 << 1
    UPDATE_NODE_ALLOCATABLE = 1 << 2
    UPDATE_NODE_LABEL = 1 << 3
    UPDATE_NODE_TAINT = 1 << 4
    """Also: the node became schedulable."""
    UPDATE_NODE_CONDITION = 1 << 5
    UPDATE_NODE_ANNOTATION = 1 << 6
    UPDATE_POD_LABEL = 1 << 7
    UPDATE_POD_SCALE_DOWN = 1 << 8
    UPDATE_POD_TOLERATION = 1 << 9
    UPDATE_POD_GATES_ELIMINATED = 1 << 10
    UPDATE = (1 << 11) - 4
    ALL = (1 << 11) - 1


_ACTION_LABELS = {
    Action.ADD: "Add",
    Action.DELETE: "Delete",
    Action.UPDATE_NODE_ALLOCATABLE: "UpdateNodeAllocatable",
    Action.UPDATE_NODE_LABEL: "UpdateNodeLabel",
    Action.UPDATE_NODE_TAINT: "UpdateNodeTaint",
    Action.UPDATE_NODE_CONDITION: "UpdateNodeCondition",
    Action.UPDATE_NODE_ANNOTATION: "UpdateNodeAnnotation",
    Action.UPDATE_POD_LABEL: "UpdatePodLabel",
    Action.UPDATE_POD_SCALE_DOWN: "UpdatePodScaleDown",
    Action.UPDATE_POD_TOLERATION: "UpdatePodToleration",
    Action.UPDATE_POD_GATES_ELIMINATED: "UpdatePodSchedulingGatesEliminated",
    Action.UPDATE: "Update",
    Action.ALL: "All",
}


@dataclass(frozen=True, slots=True)
class PodObject:
    """A pod in an event. `holds_node`: bound to a node or nominated to one, so that its end frees something."""

    pod: int
    spec: PodSpec
    assigned: bool = True
    nominated: bool = False

    @property
    def holds_node(self) -> bool:
        return self.assigned or self.nominated


@dataclass(frozen=True, slots=True)
class ClusterEvent:
    """Something that happened. `old` is absent when a thing was added, `new` when it was deleted."""

    resource: Resource
    action: Action
    old: NodeSpec | PodObject | None = None
    new: NodeSpec | PodObject | None = None
    custom_label: str = ""

    @property
    def label(self) -> str:
        """The name that Kubernetes' metrics give it: NodeAdd, AssignedPodDelete …"""
        return self.custom_label or f"{self.resource}{_ACTION_LABELS[self.action]}"

    @property
    def is_wildcard(self) -> bool:
        """Moves pods whatever rejected them."""
        return self.resource is Resource.WILDCARD and self.action == Action.ALL


UNSCHEDULABLE_TIMEOUT = ClusterEvent(Resource.WILDCARD, Action.ALL, custom_label="UnschedulableTimeout")
FORCE_ACTIVATE = ClusterEvent(Resource.WILDCARD, Action.ALL, custom_label="ForceActivate")
UNSCHEDULED_POD_ADD = ClusterEvent(Resource.UNSCHEDULED_POD, Action.ADD)
UNSCHEDULED_POD_UPDATE = ClusterEvent(Resource.UNSCHEDULED_POD, Action.UPDATE)


def node_added(node: NodeSpec) -> ClusterEvent:
    return ClusterEvent(Resource.NODE, Action.ADD, new=node)


def node_deleted(node: NodeSpec) -> ClusterEvent:
    return ClusterEvent(Resource.NODE, Action.DELETE, old=node)


def node_updated(old: NodeSpec, new: NodeSpec) -> tuple[ClusterEvent, ...]:
    """One event for each kind of change that scheduling looks at; none when nothing of the kind changed."""
    actions = []
    if old.unschedulable and not new.unschedulable:
        actions.append(Action.UPDATE_NODE_TAINT)
    if old.allocatable != new.allocatable:
        actions.append(Action.UPDATE_NODE_ALLOCATABLE)
    if old.labels != new.labels:
        actions.append(Action.UPDATE_NODE_LABEL)
    if old.taints != new.taints:
        actions.append(Action.UPDATE_NODE_TAINT)
    if old.prefer_avoid_pods != new.prefer_avoid_pods:
        actions.append(Action.UPDATE_NODE_ANNOTATION)
    return tuple(ClusterEvent(Resource.NODE, action, old, new) for action in actions)


def assigned_pod_added(pod: int, spec: PodSpec) -> ClusterEvent:
    """A pod was bound to a node (by any scheduler)."""
    return ClusterEvent(Resource.ASSIGNED_POD, Action.ADD, new=PodObject(pod, spec))


def assigned_pod_deleted(pod: int, spec: PodSpec, assigned: bool = True, nominated: bool = False) -> ClusterEvent:
    """A pod gave up its node: it ended, was deleted, or its assumed place was given back (`assigned=False` and
    `nominated=True` for a pending pod that loses its nominated node)."""
    return ClusterEvent(Resource.ASSIGNED_POD, Action.DELETE, old=PodObject(pod, spec, assigned, nominated))


def pod_updated(pod: int, old: PodSpec, new: PodSpec, assigned: bool) -> tuple[ClusterEvent, ...]:
    """The events that a changed pod stands for; a general Update when nothing that has its own event changed."""
    actions = []
    if old.labels != new.labels:
        actions.append(Action.UPDATE_POD_LABEL)
    before, after = pod_requests(old), pod_requests(new)
    if any(name not in after or after[name] < amount for name, amount in before.items()):
        actions.append(Action.UPDATE_POD_SCALE_DOWN)
    if old.scheduling_gates and not new.scheduling_gates:
        actions.append(Action.UPDATE_POD_GATES_ELIMINATED)
    if len(old.tolerations) != len(new.tolerations):
        actions.append(Action.UPDATE_POD_TOLERATION)
    resource = Resource.ASSIGNED_POD if assigned else Resource.UNSCHEDULED_POD
    objects = (PodObject(pod, old, assigned), PodObject(pod, new, assigned))
    return tuple(ClusterEvent(resource, action, *objects) for action in actions or [Action.UPDATE])


# --- the waiting pod --------------------------------------------------------------------------------------------------


def _reaches(term: PodAffinityTerm, selector: Selector, own_namespace: str, other: PodSpec) -> bool:
    """Whether a term selects a pod. Namespace selectors see no namespace labels here, as in the real hints."""
    own = not term.namespaces and term.namespace_selector is None
    if own:
        if other.namespace != own_namespace:
            return False
    elif other.namespace not in term.namespaces and not selector_of(term.namespace_selector).matches({}):
        return False
    return selector.matches(dict(other.labels))


class Waiting:
    """A rejected pod's spec as the hints look at it; made once for all replicas that wait together."""

    def __init__(self, spec: PodSpec) -> None:
        self.spec = spec

    @cached_property
    def requests(self) -> dict[str, int]:
        return pod_requests(self.spec)

    @cached_property
    def affinity(self) -> tuple[tuple[PodAffinityTerm, Selector], ...]:
        terms = self.spec.affinity.pod_required if self.spec.affinity else ()
        return tuple((term, selector_of(term.label_selector)) for term in terms)

    @cached_property
    def anti_affinity(self) -> tuple[tuple[PodAffinityTerm, Selector], ...]:
        terms = self.spec.affinity.anti_required if self.spec.affinity else ()
        return tuple((term, selector_of(term.label_selector)) for term in terms)

    @cached_property
    def spread(self) -> tuple[tuple[str, Selector, str | None], ...]:
        """(topology key, selector, node taints policy) of the constraints that can reject."""
        labels = dict(self.spec.labels)
        found = []
        for constraint in self.spec.topology_spread_constraints:
            if constraint.when_unsatisfiable == "DoNotSchedule":
                selector = selector_of(constraint.label_selector)
                own = {key: labels[key] for key in constraint.match_label_keys if key in labels}
                if own and not selector.nothing:
                    selector = selector.plus(equals(own))
                found.append((constraint.topology_key, selector, constraint.node_taints_policy))
        return tuple(found)

    @cached_property
    def host_ports(self) -> tuple[ContainerPort, ...]:
        return host_ports(self.spec)

    def matches_all(self, terms: tuple[tuple[PodAffinityTerm, Selector], ...], other: PodSpec) -> bool:
        """Whether the one pod `other` is selected by every term; no terms select nothing."""
        return bool(terms) and all(_reaches(term, found, self.spec.namespace, other) for term, found in terms)

    def wants(self, other: PodSpec) -> bool:
        """Whether any required affinity term selects `other`."""
        return any(_reaches(term, selector, self.spec.namespace, other) for term, selector in self.affinity)


def host_ports(spec: PodSpec) -> tuple[ContainerPort, ...]:
    """The ports that a pod's containers and sidecars take on its node's addresses."""
    sidecars = tuple(each for each in spec.init_containers if each.restart_policy == "Always")
    return tuple(port for each in (*sidecars, *spec.containers) for port in each.ports if port.host_port)


def _conflict(one: ContainerPort, other: ContainerPort) -> bool:
    anywhere = ("", "0.0.0.0")
    return (one.host_port, one.protocol) == (other.host_port, other.protocol) and (
        one.host_ip == other.host_ip or one.host_ip in anywhere or other.host_ip in anywhere
    )


def _untolerated(spec: PodSpec, node: NodeSpec) -> bool:
    """Whether a taint of the node keeps the pod away."""
    return first_blocking_taint(spec.tolerations, node.taints) is not None


def _node_affinity(spec: PodSpec, node: NodeSpec) -> bool:
    """Whether the node meets the pod's nodeSelector and required node affinity."""
    labels = dict(node.labels)
    if any(labels.get(key) != value for key, value in spec.node_selector):
        return False
    if spec.affinity is None or spec.affinity.node_required is None:
        return True
    return any(
        usable_term(term)
        and all(requirement_matches(each, labels.get(each.key)) for each in term.match_expressions)
        and all(requirement_matches(each, {NAME_FIELD: node.name}.get(each.key)) for each in term.match_fields)
        for term in spec.affinity.node_required
    )


# --- the hint functions: may this event let this pod through this plugin? ---------------------------------------------

Hint = Callable[[Waiting, int, ClusterEvent], bool]
"""(the waiting pod's spec, its id, the event) → whether to try it again."""


def _old_node(event: ClusterEvent) -> NodeSpec | None:
    assert event.old is None or isinstance(event.old, NodeSpec)
    return event.old


def _new_node(event: ClusterEvent) -> NodeSpec:
    assert isinstance(event.new, NodeSpec)
    return event.new


def _pods(event: ClusterEvent) -> tuple[PodObject | None, PodObject | None]:
    assert not isinstance(event.old, NodeSpec)
    assert not isinstance(event.new, NodeSpec)
    return event.old, event.new


def unschedulable_after_node(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """NodeUnschedulable: the node came, or was given back, to scheduling."""
    old = _old_node(event)
    return not _new_node(event).unschedulable and (old is None or old.unschedulable)


def unschedulable_after_toleration(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """NodeUnschedulable: the pod itself now tolerates unschedulable nodes."""
    _, new = _pods(event)
    return new is not None and new.pod == pod and tolerated(new.spec.tolerations, UNSCHEDULABLE_TAINT)


def taints_after_node(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """TaintToleration: a node whose taints the pod tolerates, which it did not before."""
    old = _old_node(event)
    was_untolerated = old is None or _untolerated(waiting.spec, old)
    return was_untolerated and not _untolerated(waiting.spec, _new_node(event))


def own_update(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """TaintToleration, SchedulingGates: the change is the pod's own."""
    _, new = _pods(event)
    return new is not None and new.pod == pod


def affinity_after_node(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """NodeAffinity: the node matches, and did not before. A profile's addedAffinity is not looked at: a pod that only
    it keeps away is retried in vain."""
    old = _old_node(event)
    return _node_affinity(waiting.spec, _new_node(event)) and (old is None or not _node_affinity(waiting.spec, old))


def ports_after_pod(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """NodePorts: the pod that went held a port that this one wants."""
    old, _ = _pods(event)
    return (
        old is not None
        and old.holds_node
        and any(_conflict(theirs, ours) for theirs in host_ports(old.spec) for ours in waiting.host_ports)
    )


def fit_after_pod(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """NodeResourcesFit: a pod gave up its node, or its requests of something that this pod asks for."""
    old, new = _pods(event)
    if new is None:
        return old is not None and old.holds_node
    if new.pod == pod:
        return True
    if not new.assigned or old is None:
        return False
    before, after = pod_requests(old.spec), pod_requests(new.spec)
    return any(amount and before.get(name, 0) > after.get(name, 0) for name, amount in waiting.requests.items())


def fit_after_node(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """NodeResourcesFit: the node could hold the pod if it were empty, and it is new or gives more than before."""
    old, allocatable = _old_node(event), dict(_new_node(event).allocatable)
    if allocatable.get("pods", 0) < 1:
        return False
    if any(amount > allocatable.get(name, 0) for name, amount in waiting.requests.items() if amount):
        return False
    if old is None:
        return True
    before = dict(old.allocatable)
    if allocatable["pods"] > before.get("pods", 0):
        return True
    return any(amount and allocatable.get(name, 0) > before.get(name, 0) for name, amount in waiting.requests.items())


def spread_after_pod(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """PodTopologySpread: a pod that the constraints count came, went or changed its labels."""
    old, new = _pods(event)
    for each in (old, new):
        if (
            each is not None
            and each.pod != pod
            and not (each.assigned and each.spec.namespace == waiting.spec.namespace)
        ):
            return False
    if not waiting.spread:  # rejected by the profile's default constraints, which are not known here
        return True
    if old is not None and new is not None:
        tolerates_more = new.pod == pod and old.spec.tolerations != new.spec.tolerations
        if tolerates_more and any(policy == "Honor" for _, _, policy in waiting.spread):
            return True
        before, after = dict(old.spec.labels), dict(new.spec.labels)
        return any(selector.matches(before) != selector.matches(after) for _, selector, _ in waiting.spread)
    labels = dict((new or old).spec.labels)  # type: ignore[union-attr]
    return any(selector.matches(labels) for _, selector, _ in waiting.spread)


def spread_after_node(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """PodTopologySpread: a node that has all the topology keys came, went, or changed its place or taints."""
    if not waiting.spread:
        return True
    keys = [key for key, _, _ in waiting.spread]
    old, new = event.old, event.new
    assert not isinstance(old, PodObject)
    assert not isinstance(new, PodObject)
    before = {} if old is None else dict(old.labels)
    after = {} if new is None else dict(new.labels)
    counted_before = old is not None and all(key in before for key in keys)
    counted_after = new is not None and all(key in after for key in keys)
    if old is None or new is None:
        return counted_before or counted_after
    if counted_before != counted_after:
        return True
    moved = any(before.get(key) != after.get(key) for key in keys)
    return counted_after and (moved or old.taints != new.taints)


def interpod_after_pod(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """InterPodAffinity: a pod that this one seeks came, or one that it avoids went (or their labels made them so)."""
    old, new = _pods(event)
    if any(each is not None and not each.assigned for each in (old, new)):
        return False
    seeks_old = old is not None and waiting.matches_all(waiting.affinity, old.spec)
    seeks_new = new is not None and waiting.matches_all(waiting.affinity, new.spec)
    avoids_old = old is not None and waiting.matches_all(waiting.anti_affinity, old.spec)
    avoids_new = new is not None and waiting.matches_all(waiting.anti_affinity, new.spec)
    if new is None:
        return avoids_old
    return (seeks_new and not seeks_old) or (avoids_old and not avoids_new)


def interpod_after_node(waiting: Waiting, pod: int, event: ClusterEvent) -> bool:
    """InterPodAffinity: the node has a topology key that some term of the pod names."""
    labels = dict(_new_node(event).labels)
    return any(term.topology_key in labels for term, _ in waiting.affinity + waiting.anti_affinity)


# --- who registers for what -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Registration:
    """A plugin wants events of this resource whose action is among these. Without a hint every one means a retry."""

    resource: Resource
    actions: Action
    hint: Hint | None = None

    def matches(self, event: ClusterEvent) -> bool:
        """Whether the event is one of these. A general Update is not one of the specific ones."""
        if self.resource is Resource.WILDCARD:
            return True
        same = self.resource == event.resource or (
            self.resource is Resource.POD and event.resource in (Resource.ASSIGNED_POD, Resource.UNSCHEDULED_POD)
        )
        return same and bool(event.action & self.actions) and event.action <= self.actions


Registrations = Mapping[str, tuple[Registration, ...]]

_NODE, _POD = Resource.NODE, Resource.POD
_ADD, _DELETE = Action.ADD, Action.DELETE

HINTS_1_34: Registrations = {
    "SchedulingGates": (Registration(_POD, Action.UPDATE_POD_GATES_ELIMINATED, own_update),),
    "NodeUnschedulable": (
        Registration(_NODE, _ADD | Action.UPDATE_NODE_TAINT, unschedulable_after_node),
        Registration(_POD, Action.UPDATE_POD_TOLERATION, unschedulable_after_toleration),
    ),
    "NodeName": (Registration(_NODE, _ADD),),
    "TaintToleration": (
        Registration(_NODE, _ADD | Action.UPDATE_NODE_TAINT, taints_after_node),
        Registration(_POD, Action.UPDATE_POD_TOLERATION, own_update),
    ),
    "NodeAffinity": (Registration(_NODE, _ADD | Action.UPDATE_NODE_LABEL, affinity_after_node),),
    "NodePorts": (Registration(_POD, _DELETE, ports_after_pod), Registration(_NODE, _ADD)),
    "NodeResourcesFit": (
        Registration(_POD, _DELETE | Action.UPDATE_POD_SCALE_DOWN, fit_after_pod),
        Registration(_NODE, _ADD | Action.UPDATE_NODE_ALLOCATABLE, fit_after_node),
    ),
    "PodTopologySpread": (
        Registration(_POD, _ADD | _DELETE | Action.UPDATE_POD_LABEL | Action.UPDATE_POD_TOLERATION, spread_after_pod),
        Registration(_NODE, _ADD | _DELETE | Action.UPDATE_NODE_LABEL | Action.UPDATE_NODE_TAINT, spread_after_node),
    ),
    "InterPodAffinity": (
        Registration(_POD, _ADD | _DELETE | Action.UPDATE_POD_LABEL, interpod_after_pod),
        Registration(_NODE, _ADD | Action.UPDATE_NODE_LABEL, interpod_after_node),
    ),
    "DefaultPreemption": (),
}
"""The default plugins of 1.34 that reject pods; DefaultPreemption brings its pods back itself (`activate`)."""


def without_hints(registrations: Registrations) -> Registrations:
    """The same plugins with the gate off (1.22 to 1.31): no hint functions, no events of the pod's own changes, and
    whoever wants new nodes also gets changes of labels and taints, because new nodes may be looked at too early."""
    plain: dict[str, tuple[Registration, ...]] = {}
    for plugin, registered in registrations.items():
        kept = []
        for each in registered:
            actions = each.actions
            if each.resource is _NODE and actions & _ADD:
                actions |= Action.UPDATE_NODE_LABEL | Action.UPDATE_NODE_TAINT
            if each.resource is _POD:
                actions &= _ADD | _DELETE | Action.UPDATE_POD_LABEL
            if actions:
                kept.append(Registration(each.resource, actions))
        plain[plugin] = tuple(kept)
    return plain


EVENTS: Registrations = without_hints(HINTS_1_34)

_EVERYTHING = (Registration(Resource.WILDCARD, Action.ALL),)
"""A plugin that registers nothing is retried at every event."""


class Strategy(Enum):
    """What to do with a rejected pod after an event."""

    SKIP = 0
    AFTER_BACKOFF = 1
    IMMEDIATELY = 2
    """The plugin that the pod waits for said so: no back-off."""


class HintMap:
    """Registrations made ready: which hint functions an event calls for a set of rejecting plugins, remembered."""

    def __init__(self, registrations: Registrations = HINTS_1_34) -> None:
        self._registrations = registrations
        self._cached: dict[tuple[Resource, Action, frozenset[str]], tuple[tuple[str, Hint | None], ...]] = {}
        self._interest: dict[tuple[Resource, Action], bool] = {}

    def is_of_interest(self, event: ClusterEvent) -> bool:
        """Whether any plugin registers for such events."""
        key = (event.resource, event.action)
        if key not in self._interest:
            self._interest[key] = event.is_wildcard or any(
                each.matches(event) for registered in self._registrations.values() for each in registered
            )
        return self._interest[key]

    def hints(self, event: ClusterEvent, plugins: frozenset[str]) -> tuple[tuple[str, Hint | None], ...]:
        """(plugin, its hint function) for those of `plugins` that registered for such events; empty: no help."""
        key = (event.resource, event.action, plugins)
        found = self._cached.get(key)
        if found is None:
            found = tuple(
                (plugin, each.hint)
                for plugin in sorted(plugins)
                for each in self._registrations.get(plugin, _EVERYTHING)
                if each.matches(event)
            )
            self._cached[key] = found
        return found

    def strategy(
        self, event: ClusterEvent, waiting: Waiting, pod: int, rejecting: frozenset[str], pending: frozenset[str]
    ) -> Strategy:
        """What the event means for a pod rejected by `rejecting` and held by `pending` plugins."""
        plugins = rejecting | pending if pending else rejecting
        if not plugins:
            return Strategy.AFTER_BACKOFF
        if event.is_wildcard:
            only = event.new
            aimed_elsewhere = isinstance(only, PodObject) and only.pod != pod
            return Strategy.SKIP if aimed_elsewhere else Strategy.AFTER_BACKOFF
        strategy = Strategy.SKIP
        for plugin, hint in self.hints(event, plugins):
            if hint is not None and not hint(waiting, pod, event):
                continue
            if plugin in pending:
                return Strategy.IMMEDIATELY
            if not pending:
                return Strategy.AFTER_BACKOFF
            strategy = Strategy.AFTER_BACKOFF
        return strategy
