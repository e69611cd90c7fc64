"""The DaemonSet controller: one pod on each node that it may run on.

Since 1.12 the default scheduler places these pods: each carries a node affinity for its node. Rules: Kubernetes 1.20 source,
pkg/controller/daemon.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from simpy.events import AllOf, Event

from sim.apiserver.client import Client
from sim.controllers.applications import Applications
from sim.controllers.garbage_collector import GarbageCollector
from sim.controllers.operations import CREATE_REVISION, UPDATE_DAEMON_SET_STATUS
from sim.controllers.pod_control import PodControl
from sim.controllers.pod_set import PodSet, PodSetController
from sim.controllers.spec import ControllerManagerSpec
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.nodes import ClusterNode
from sim.scheduler.tolerations import first_blocking_taint
from sim.state.applications import DaemonSetOptions, Roll, pods_of_share
from sim.state.objects import Affinity, NodeSelectorTerm, NodeSpec, PodSpec, Requirement, Toleration
from sim.state.pods import PodTable
from sim.state.selectors import NAME_FIELD, requirement_matches
from sim.workload import AppKind, Load

DAEMON_TOLERATIONS = (
    Toleration("node.kubernetes.io/not-ready", "Exists", "", "NoExecute"),
    Toleration("node.kubernetes.io/unreachable", "Exists", "", "NoExecute"),
    Toleration("node.kubernetes.io/disk-pressure", "Exists", "", "NoSchedule"),
    Toleration("node.kubernetes.io/memory-pressure", "Exists", "", "NoSchedule"),
    Toleration("node.kubernetes.io/pid-pressure", "Exists", "", "NoSchedule"),
    Toleration("node.kubernetes.io/unschedulable", "Exists", "", "NoSchedule"),
)
"""What every daemon pod tolerates (Kubernetes 1.20 source, pkg/controller/daemon/util)."""


def daemon_spec(template: PodSpec, node: str) -> PodSpec:
    """The pod of one node: it tolerates the node's troubles, and only that node fits."""
    only = (Requirement(NAME_FIELD, "In", (node,)),)
    affinity = template.affinity or Affinity()
    terms = affinity.node_required or (NodeSelectorTerm(),)
    required = tuple(replace(term, match_fields=only) for term in terms)
    tolerations = (*template.tolerations, *(each for each in DAEMON_TOLERATIONS if each not in template.tolerations))
    return replace(template, affinity=replace(affinity, node_required=required), tolerations=tolerations)


def runs_on(template: PodSpec, node: NodeSpec) -> bool:
    """Whether a daemon's pod belongs on a node: its selector and affinity match, and it tolerates the node's taints."""
    labels = dict(node.labels)
    if any(labels.get(key) != value for key, value in template.node_selector):
        return False
    terms = template.affinity.node_required if template.affinity is not None else None
    if terms is not None and not any(_matches(term, labels) for term in terms):
        return False
    return first_blocking_taint((*template.tolerations, *DAEMON_TOLERATIONS), node.taints) is None


def _matches(term: NodeSelectorTerm, labels: dict[str, str]) -> bool:
    wanted = term.match_expressions
    return bool(wanted) and all(requirement_matches(each, labels.get(each.key)) for each in wanted)


def with_daemon_specs(load: Load, nodes: Sequence[ClusterNode]) -> tuple[Load, dict[int, int]]:
    """The load with a template a node for each template of its DaemonSets, and where those of each template begin."""
    daemons = [app for app, kind in enumerate(load.app_kind.tolist()) if kind == AppKind.DAEMON_SET]
    if not daemons:
        return load, {}
    used = [int(load.app_template[app]) for app in daemons]
    used += [change.what.template for change in load.changes if change.app in daemons and isinstance(change.what, Roll)]
    templates = list(load.templates)
    begins: dict[int, int] = {}
    for template in dict.fromkeys(used):
        begins[template] = len(templates)
        templates += [daemon_spec(load.templates[template], node.spec.name) for node in nodes]
    return replace(load, templates=tuple(templates)), begins


FAILED_BACKOFF_S, FAILED_BACKOFF_MOST_S = 1.0, 900.0
"""Of a node whose daemon failed (Kubernetes 1.20 source, pkg/controller/daemon): doubled each time, forgotten after twice the most."""


def next_failed_backoff_s(last_s: float, since_s: float) -> float:
    """How long a node's next failed daemon is left alone, `since_s` after the last one was deleted; 0: there was none."""
    if not last_s or since_s > 2 * FAILED_BACKOFF_MOST_S:
        return FAILED_BACKOFF_S
    return min(2 * last_s, FAILED_BACKOFF_MOST_S)


class DaemonSet(PodSet):
    """One set as the controller knows it."""

    stays_with_node = True
    __slots__ = ("backoffs", "expected", "options", "revision")

    def __init__(
        self,
        controller: DaemonSetController,
        app: int,
        namespace: str,
        template: int,
        rows: list[int],
        like: int,
        options: DaemonSetOptions,
    ) -> None:
        super().__init__(controller, app, namespace, template, rows, like)
        self.options = options
        self.revision = -1
        """The template of the last stored revision."""
        self.backoffs: dict[int, tuple[float, float]] = {}
        """Of nodes whose pod failed: (how long the next is left alone, since when)."""
        self.expected = 0
        """Pods created whose existence has not been heard of yet."""


class DaemonSetController(PodSetController[DaemonSet]):
    """`daemon_set_workers` syncs at a time. A pod's place is its node. nodes: all that exist at some time, of which the first
    `present` are there at the start. specs: where the pod specs of each template begin, one a node.
    """

    resource = "daemonsets"

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        client: Client,
        applications: Applications,
        pods: PodTable,
        pod_control: PodControl,
        garbage: GarbageCollector,
        nodes: Sequence[ClusterNode],
        present: int,
        specs: dict[int, int],
    ) -> None:
        super().__init__(
            clock, spec, machine, client, applications, pods, pod_control, garbage, "DaemonSet", spec.daemon_set_workers
        )
        self._nodes: dict[int, NodeSpec] = {number: node.spec for number, node in enumerate(nodes[:present])}
        self._specs = specs

    # --- what the informers say

    def app_created(self, app: int) -> None:
        known = self._applications
        owner = self.sets[app] = DaemonSet(
            self,
            app,
            known.namespace(app),
            known.template(app),
            known.rows(app),
            known.first_row(app),
            known.options(app, DaemonSetOptions),
        )
        self.queue.add(owner)

    def app_changed(self, number: int) -> None:
        change = self._applications.load.changes[number]
        owner = self.sets.get(change.app)
        if owner is not None and isinstance(change.what, Roll):
            owner.template = change.what.template
            self.queue.add(owner)

    def node_changed(self, node: int, spec: NodeSpec | None) -> None:
        """A node has joined or its labels or taints have changed; None: it has left."""
        if spec is None:
            self._nodes.pop(node, None)
        else:
            self._nodes[node] = spec
        self.resync()

    def pod_added(self, owner: DaemonSet, pod: int) -> None:
        owner.expected = max(0, owner.expected - 1)
        super().pod_added(owner, pod)

    def resync(self) -> None:
        for owner in self.sets.values():
            owner.expected = 0
            self.queue.add(owner)

    def as_wanted(self, owner: DaemonSet) -> bool:
        return (
            not (owner.ended or owner.terminating or owner.expected)
            and owner.revision == owner.template
            and owner.status[:3] == (len(owner.pod_at), len(owner.ready), len(owner.ready))
        )

    # --- what it does about it

    def _sync(self, owner: DaemonSet) -> Generator[Event, Any, bool]:
        yield self._machine.work(self._spec.sync_cpu_s)
        if owner.deleted:
            return True
        if owner.revision != owner.template:
            if (yield from self._client.turn()):
                return False
            if (yield from self._client.send(CREATE_REVISION, owner.namespace)) != 201:
                return False
            owner.revision = owner.template
        template = self._applications.load.templates[owner.template]
        wanted = [node for node, spec in self._nodes.items() if runs_on(template, spec)]
        done = True
        if not owner.expected:
            done = yield from self._manage(owner, wanted)
        if done and not owner.expected and not owner.options.on_delete:
            done = yield from self._roll(owner, wanted)
        return (yield from self._write_status(owner, len(wanted))) and done

    def _manage(self, owner: DaemonSet, wanted: list[int]) -> Generator[Event, Any, bool]:
        """A pod for each node without one, none for nodes where it does not belong."""
        burst = self._spec.burst_daemons
        missing = [node for node in wanted if node not in owner.pod_at][:burst]
        stays = set(wanted)
        surplus = [
            pod
            for node, pod in owner.pod_at.items()
            if node not in stays
            and node in self._nodes
            and pod in owner.pods  # those of a node that has left are collected
        ][:burst]
        owner.expected = len(missing)
        begin = self._specs[owner.template]
        done, batch = True, self._spec.slow_start_initial
        while missing and done:
            group, missing = missing[:batch], missing[batch:]
            batch *= 2
            creations = [self._clock.start(self._create_at(owner, node, begin + node)) for node in group]
            yield from self._all(creations)
            done = all(creation.value for creation in creations)
            owner.expected -= sum(not creation.value for creation in creations)
        owner.expected -= len(missing)
        return (yield from self._delete(owner, [*surplus, *self._failed(owner)])) and done

    def _failed(self, owner: DaemonSet) -> list[int]:
        """Pods that have ended and may be deleted now; a node whose pods fail again and again is left alone longer."""
        now, due = self._clock._now, []
        for pod in owner.ended:
            node = owner.place_of[pod]
            delay_s, since_s = owner.backoffs.get(node, (0.0, 0.0))
            if now - since_s < delay_s:
                self.queue.add_after(owner, delay_s)
                continue
            owner.backoffs[node] = (next_failed_backoff_s(delay_s, now - since_s), now)
            due.append(pod)
        return due

    def _roll(self, owner: DaemonSet, wanted: list[int]) -> Generator[Event, Any, bool]:
        """Old pods go: those that are not available at once, of the others as many as may be missing."""
        begin = self._specs[owner.template]
        old = [
            pod for node, pod in owner.pod_at.items() if pod in owner.pods and self._template_of[pod] != begin + node
        ]
        if not old:
            return True
        may_miss = pods_of_share(owner.options.max_unavailable, len(wanted), round_up=True)
        missing = sum(owner.pod_at.get(node) not in owner.ready for node in wanted)
        broken = [pod for pod in old if pod not in owner.ready]
        healthy = [pod for pod in old if pod in owner.ready]
        return (yield from self._delete(owner, [*broken, *healthy[: max(0, may_miss - missing)]]))

    def _delete(self, owner: DaemonSet, pods: list[int]) -> Generator[Event, Any, bool]:
        deletions = [self._clock.start(self._pod_control.delete(self._client, pod)) for pod in pods]
        yield from self._all(deletions)
        for pod, deletion in zip(pods, deletions, strict=True):
            if deletion.value and pod in owner.ended:
                owner.ended.remove(pod)
                self.pod_gone(owner, pod)
        return all(deletion.value for deletion in deletions)

    def _all(self, tasks: list[Any]) -> Generator[Event, Any, None]:
        pending = [task for task in tasks if task.callbacks is not None]
        if pending:
            yield AllOf(self._clock, pending)

    def _write_status(self, owner: DaemonSet, wanted: int) -> Generator[Event, Any, bool]:
        begin = self._specs[owner.template]
        updated = sum(self._template_of[pod] == begin + node for pod, node in owner.place_of.items())
        status = (wanted, len(owner.pods), len(owner.ready), updated, owner.template)
        return (yield from self._store_status(owner, status, UPDATE_DAEMON_SET_STATUS))
