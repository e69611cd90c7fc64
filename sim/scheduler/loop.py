"""The scheduler process: one pod at a time, next pod → filter → score → assume, then bind beside the next cycle."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

from simpy.events import AnyOf, Event

from sim.apiserver.aggregate import Aggregate
from sim.apiserver.client import Client
from sim.apiserver.request import BIND_POD, CREATE_EVENT, PATCH_POD_STATUS
from sim.engine.clock import Clock, fire
from sim.engine.machine import Machine
from sim.engine.meter import Meter
from sim.scheduler.cluster import DisruptionBudget
from sim.scheduler.core import Core
from sim.scheduler.framework import WAIT, Status
from sim.scheduler.preemption import Preemption
from sim.scheduler.queue import SchedulingQueue
from sim.scheduler.queueing_hints import ClusterEvent, assigned_pod_added, assigned_pod_deleted
from sim.scheduler.settings import SchedulerSettings
from sim.scheduler.spec import SchedulerSpec
from sim.state.objects import LabelSelector, PodSpec
from sim.state.pods import Phase, PodTable

Process = Generator[Event, Any, None]

SPREADING_CONTROLLERS = ("ReplicaSet", "StatefulSet", "ReplicationController")
"""Kinds whose pods the default profile spreads (Kubernetes 1.20 and 1.34 source, helper.DefaultSelector)."""


@dataclass(frozen=True, slots=True)
class _Failure:
    """What a cycle without a feasible node found out."""

    rejecting: frozenset[str]
    text: str
    preemption: Preemption


class Scheduler:
    """kube-scheduler's main loop over the decision core and the scheduling queue.

    templates: the load's pod specs. replicaset_of: what an application's ReplicaSet adds to one of them (owner, hash label), so
    that its pods spread; None for pods without one. on_bound: called when a binding is stored. delete: deletes a
    preemption victim on behalf of the scheduler.
    """

    def __init__(
        self,
        clock: Clock,
        spec: SchedulerSpec,
        settings: SchedulerSettings,
        machine: Machine,
        core: Core,
        queue: SchedulingQueue,
        pods: PodTable,
        templates: Sequence[PodSpec],
        replicaset_of: Callable[[int, int], PodSpec | None],
        client: Client,
        events: Aggregate,
        on_bound: Callable[[int], None],
        delete: Callable[[Client, int], Generator[Event, Any, bool]],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._settings = settings
        self.name = settings.name
        self._machine = machine
        self._core = core
        self._queue = queue
        self._pods = pods
        self._templates = templates
        self._spec_ids = [core.intern(template) for template in templates]
        for template in templates:
            self._know_controller(template)
        self._replicaset_of = replicaset_of
        self._owned: dict[int, tuple[PodSpec, int] | None] = {}
        """Specs of applications whose ReplicaSet makes them differ from their template, and their ids in the core; the key is
        the application's row times the number of templates, plus the template's row."""
        self._told: dict[int, str] = {}
        """Why a pod could not be scheduled, as last told to the API server."""
        self._client = client
        self._events = events
        self._on_bound = on_bound
        self._delete = delete
        self._late = core.framework.late
        self.budgets: Callable[[], tuple[DisruptionBudget, ...]] | None = None
        """What the PodDisruptionBudgets allow now; None: there are none."""
        self._permit_asked: Event | None = None
        """Fires when the pods that wait at the permit point are to be asked again."""
        self._idle: Event | None = None
        self._leads = spec.replicas == 1
        self._life = 0
        """Grows when the replica that scheduled is gone, and with it all it had not sent yet."""
        self.meter = Meter(clock, "scheduler cycle", "scheduler", 1)
        self.attempts = 0
        self.nodes_filtered = 0
        self.nodes_scored = 0

    def on_created(self, pod: int) -> None:
        """The watch delivered a new pod."""
        now = self._clock._now
        if self._pods.ids["phase"][pod] != Phase.PENDING or self._spec_of(pod).scheduler_name != self.name:
            return
        self._pods.times["queued_s"][pod] = now
        self._queue.add(pod, self._spec_of(pod), now)
        self._poke()

    def on_bound(self, pod: int) -> None:
        """The watch delivered a binding: it may help pods that look for this one."""
        self._moved(assigned_pod_added(pod, self._spec_of(pod)))

    def on_deleting(self, pod: int) -> None:
        """The watch delivered a placed pod's deletion mark: it counts no more where pods spread."""
        if self._core.placements.is_placed(pod):  # it may have ended by itself meanwhile
            self._core.terminate(pod)

    def on_gone(self, pod: int) -> None:
        """The watch delivered a pod's removal or final status."""
        if self._pods.ids["node"][pod] < 0:
            self._queue.delete(pod)
            self._core.clear_nomination(pod)
            return
        self._core.remove(pod)
        self._moved(assigned_pod_deleted(pod, self._spec_of(pod)))

    def begin_with(self, pod: int) -> int:
        """Before the run: place a pod that is to run from the start, as a cycle would. Returns its node, -1 if there is none."""
        spec_id = self.spec_id(pod)
        node = self._core.schedule(spec_id, pod)
        if node >= 0:
            self._core.assume(pod, spec_id, node)
        return node

    def why_unschedulable(self, pod: int) -> str:
        """The scheduler's text about a pod if no node fits it now; "" if one does."""
        return self._core.fit_error() if self._core.schedule(self.spec_id(pod), pod) < 0 else ""

    def spec_id(self, pod: int) -> int:
        """The core's number of the pod's spec; replicas share it."""
        owned = self._owned_spec(pod)
        return owned[1] if owned is not None else self._spec_ids[self._pods.ids["template"][pod]]

    def resume(self) -> None:
        """A replica has come to lead. Its watches have told it all along of what there is, so it begins at once."""
        self._leads = True
        self._poke()

    def suspend(self) -> None:
        """The replica that led is gone: pods in its hands go back to the queue, unless their binding was sent."""
        self._leads = False
        self._life += 1

    def run(self) -> Process:
        """Process: scheduling cycles, one after the other."""
        clock, queue = self._clock, self._queue
        while True:
            if not self._leads:
                self.meter.level(0, 0)
                self._idle = Event(clock)
                yield self._idle
                continue
            queue.flush(clock._now)
            queued = queue.pop(clock._now)
            if queued is None:
                self.meter.level(0, 0)
                yield self._next_pod()
                continue
            self.meter.level(1, len(queue))
            self.meter.served += 1
            if self._pods.ids["phase"][queued.pod] == Phase.PENDING:
                yield from self._cycle(queued.pod)
            else:  # deleted while it waited
                queue.done(queued.pod)

    def _cycle(self, pod: int) -> Process:
        clock, core, ids, times, spec = self._clock, self._core, self._pods.ids, self._pods.times, self._spec
        times["popped_s"][pod] = clock._now
        ids["attempts"][pod] += 1
        self.attempts += 1
        spec_id = self.spec_id(pod)
        life = self._life
        node = core.schedule(spec_id, pod)  # on the snapshot of now; what follows from it comes when the work is done
        if node < 0 and self.budgets is not None:
            core.set_budgets(self.budgets())
        failure = _Failure(core.rejecting_plugins(), core.fit_error(), core.preempt(pod, spec_id)) if node < 0 else None
        filtered, scored = core.last.evaluated, core.last.scored
        self.nodes_filtered += filtered
        self.nodes_scored += scored
        yield self._machine.work(spec.cycle_cpu_s)
        dry_runs = failure.preemption.dry_runs if failure is not None else 0
        yield self._machine.work(
            filtered * spec.filter_cpu_s + scored * spec.score_cpu_s + dry_runs * spec.dry_run_cpu_s,
            threads=self._settings.parallelism,
        )
        if ids["phase"][pod] != Phase.PENDING:  # deleted in the meantime
            self._queue.done(pod)
            return
        if life != self._life:
            self._give_back(pod)
            return
        if failure is not None:
            self._failed(pod, spec_id, failure)
            return
        times["scheduled_s"][pod] = clock._now
        ids["node"][pod] = node
        core.clear_nomination(pod)
        core.assume(pod, spec_id, node)
        if self._late and (refusal := self._run_late("reserve", pod)) is not None:
            self._take_back(pod, refusal)
            return
        if "permit" in self._late:
            self._ask_waiting()
            clock.start(self._permit(pod))
        else:
            clock.start(self._bind(pod))

    def _run_late(self, point: str, pod: int) -> Status | None:
        core = self._core
        cycle = core.cycle(self.spec_id(pod))
        return core.framework.run_late(point, cycle, self._pods.ids["node"][pod])

    def _permit(self, pod: int) -> Process:
        """Wait while a permit plugin says so; the pod keeps its place meanwhile."""
        refusal = self._run_late("permit", pod)
        until_s = self._clock._now + (refusal.timeout_s if refusal is not None else 0.0)
        while refusal is not None and refusal.code == WAIT and self._clock._now < until_s:
            asked_again = self._permit_asked = self._permit_asked or Event(self._clock)
            yield AnyOf(self._clock, [asked_again, self._clock.timeout(until_s - self._clock._now)])
            if self._pods.ids["phase"][pod] != Phase.PENDING:
                self._queue.done(pod)
                return
            refusal = self._run_late("permit", pod)
        if refusal is not None:
            self._take_back(pod, refusal)
            return
        yield from self._bind(pod)

    def _ask_waiting(self) -> None:
        """Another pod has been given a node: pods that wait at the permit point are asked again."""
        asked, self._permit_asked = self._permit_asked, None
        if asked is not None:
            self._clock.at(0.0, lambda _: fire(asked))

    def _give_back(self, pod: int) -> None:
        """The replica died with the pod in its hands; the next one finds it unbound."""
        self._queue.done(pod)
        if self._pods.ids["phase"][pod] == Phase.PENDING:
            self._queue.add(pod, self._spec_of(pod), self._clock._now)
            self._poke()

    def _take_back(self, pod: int, refusal: Status) -> None:
        """A plugin refused the chosen node: free it, and the pod waits for an event that concerns that plugin."""
        self._core.forget(pod)
        self._pods.ids["node"][pod] = -1
        self._queue.add_unschedulable_if_not_present(pod, self._clock._now, {refusal.plugin})
        self._poke()

    def _bind(self, pod: int) -> Process:
        """The binding cycle: beside the next scheduling cycle, under the client's rate limit."""
        ids, times = self._pods.ids, self._pods.times
        for point in ("pre_bind", "bind"):
            if point in self._late and (refusal := self._run_late(point, pod)) is not None:
                self._take_back(pod, refusal)
                return
        self._machine.load(self._spec.bind_cpu_s)
        life = self._life
        yield from self._client.turn()
        if life != self._life:
            self._core.forget(pod)
            ids["node"][pod] = -1
            self._give_back(pod)
            return
        times["bind_sent_s"][pod] = self._clock._now
        code = yield from self._client.send(BIND_POD, self._spec_of(pod).namespace)
        if ids["phase"][pod] != Phase.PENDING:  # deleted meanwhile: the binding found no pod
            self._queue.done(pod)
            return
        if code != 201:
            self._core.forget(pod)
            ids["node"][pod] = -1
            self._queue.add_unschedulable_if_not_present(pod, self._clock._now)
            self._poke()
            return
        self._queue.done(pod)
        if "post_bind" in self._late:
            self._run_late("post_bind", pod)
        times["bound_s"][pod] = self._clock._now
        ids["phase"][pod] = Phase.SCHEDULED
        self._events.add(CREATE_EVENT)
        self._on_bound(pod)

    def _failed(self, pod: int, spec_id: int, failure: _Failure) -> None:
        """No node fits: preempt if that helps, tell the API server why, wait for an event that may help."""
        preemption = failure.preemption
        if preemption.node >= 0:
            self._core.nominate(pod, spec_id, preemption.node)
            for victim in preemption.victims:
                if self._core.placements.is_placed(victim):  # it may have ended by itself meanwhile
                    self._core.terminate(victim, by_preemption=True)
                    self._clock.start(self._delete(self._client, victim))
        elif preemption.clears_nomination:
            self._core.clear_nomination(pod)
        self._queue.add_unschedulable_if_not_present(pod, self._clock._now, failure.rejecting)
        self._events.add(CREATE_EVENT)
        if self._told.get(pod) != failure.text:  # the condition is patched only when it says something new
            self._told[pod] = failure.text
            self._clock.start(self._report(pod))

    def _report(self, pod: int) -> Process:
        """Patch the pod's PodScheduled condition."""
        yield from self._client.turn()
        yield from self._client.send(PATCH_POD_STATUS, self._spec_of(pod).namespace)

    def spec_of(self, pod: int) -> PodSpec:
        """The pod's spec, with what its ReplicaSet has added."""
        return self._spec_of(pod)

    def moved(self, event: ClusterEvent) -> None:
        """Something about the nodes has changed: it may help pods that wait."""
        self._moved(event)

    def _moved(self, event: ClusterEvent) -> None:
        if len(self._queue) or self.meter.in_use:
            self._queue.move_all_to_active_or_backoff(event, self._clock._now)
            self._poke()

    def _next_pod(self) -> Event:
        """Fires when a pod may have become ready."""
        self._idle = Event(self._clock)
        wakeup_s = self._queue.next_wakeup_s()
        if wakeup_s < inf:
            self._clock.at(max(0.0, wakeup_s - self._clock._now), lambda _: self._poke())
        return self._idle

    def _poke(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            fire(idle)

    def _spec_of(self, pod: int) -> PodSpec:
        owned = self._owned_spec(pod)
        return owned[0] if owned is not None else self._templates[self._pods.ids["template"][pod]]

    def _owned_spec(self, pod: int) -> tuple[PodSpec, int] | None:
        ids = self._pods.ids
        app, template = ids["app"][pod], ids["template"][pod]
        key = app * len(self._spec_ids) + template
        try:
            return self._owned[key]
        except KeyError:
            spec = self._replicaset_of(app, template)
            if spec is not None:
                self._know_controller(spec)
            owned = self._owned[key] = None if spec is None else (spec, self._core.intern(spec))
            return owned

    def _know_controller(self, spec: PodSpec) -> None:
        """The scheduler's informers hold the pod's controller, whose selector its pods spread by."""
        if spec.owner is not None and spec.owner.kind in SPREADING_CONTROLLERS:
            selector = LabelSelector(match_labels=spec.labels)
            self._core.set_controller(spec.owner.kind, spec.namespace, spec.owner.name, selector)
