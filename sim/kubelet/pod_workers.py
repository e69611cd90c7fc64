"""Pod workers: one a pod, which brings it up, watches it end, and takes it down.

A plain pod's way is written out here: nothing ever happens to its containers but that they start and end or are stopped. Any
other pod gets a `PodLife` once its sandbox is ready, and the same last steps.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import inf, isnan
from typing import Any

from simpy.events import Event

from sim.apiserver.aggregate import Aggregate
from sim.apiserver.client import Client
from sim.apiserver.request import CREATE_EVENT, GET_POD, REMOVE_POD
from sim.apiserver.watch import Handler
from sim.base.rand import Sampler, Streams
from sim.engine.clock import Clock
from sim.images.service import ImageService
from sim.kubelet.eviction import EvictionManager
from sim.kubelet.node import Node
from sim.kubelet.node_admission import admit, release
from sim.kubelet.plan import ALWAYS, NEVER, PodPlan
from sim.kubelet.pod_life import DELETED, PodLife
from sim.kubelet.spec import KubeletSpec
from sim.kubelet.status_manager import StatusManager
from sim.network.pod_network import PodNetwork
from sim.state.pods import Phase, PodTable

Process = Generator[Event, Any, None]


class PodWorkers:
    """syncPod for every pod of every node.

    plan_of: a pod's plan. on_running: called when the status Running is stored. heard_*: when the watchers know that it runs and is
    not ready (started) or ready (running), that it became ready or unready later, or that its status is final (finished). on_gone:
    when the object is removed.
    """

    def __init__(
        self,
        clock: Clock,
        spec: KubeletSpec,
        network: PodNetwork,
        images: ImageService,
        pods: PodTable,
        client: Client,
        status_manager: StatusManager,
        events: Aggregate,
        streams: Streams,
        plan_of: Callable[[int], PodPlan],
        on_running: Callable[[], None],
        heard_started: Handler,
        heard_running: Handler,
        heard_ready: Handler,
        heard_unready: Handler,
        heard_finished: Handler,
        on_gone: Callable[[int], None],
    ) -> None:
        self.clock = clock
        self.spec = spec
        self._network = network
        self._images = images
        self.pods = pods
        self._client = client
        self.status = status_manager
        self.events = events
        self._plan_of = plan_of
        self.on_running = on_running
        self.heard_started = heard_started
        self.heard_running = heard_running
        self.heard_ready = heard_ready
        self.heard_unready = heard_unready
        self._heard_finished = heard_finished
        self._on_gone = on_gone
        self.kill_s = Sampler(spec.kill_s, streams("kubelet.kill"))
        self.resync_s = Sampler(spec.resync_s, streams("kubelet.resync"))
        self.probe_jitter = streams("kubelet.probe_jitter").random
        self.eviction = EvictionManager(clock, spec.eviction, images, self)
        self.reasons: dict[int, str] = {}
        """Why pods failed on their node: OutOfcpu, NodePorts, Evicted, Error, ..."""
        self.ends_s: dict[int, float] = {}
        """When the present run of a pod ends that its node's crash had broken off; inf while it does not run."""
        self._doomed: set[int] = set()
        """Pods whose DELETE has reached the kubelet."""
        self._finishing: set[int] = set()
        """Pods that ended by themselves and whose final status is being sent."""

    def start(self, node: Node, pod: int) -> Process:
        """From the watch event to the status Running: what the pod waits for on its node."""
        clock, times, spec = self.clock, self.pods.times, self.spec
        plan = self._plan_of(pod)
        yield node.machine.work(spec.dispatch_cpu_s)
        times["worker_started_s"][pod] = clock._now
        if refused := admit(node, plan):  # its phase is Failed, and its reason says why
            yield from self._final(node, pod, refused)
            return
        clock.start(self.status.report(node, pod))
        while (lost := (yield from self._bring_up(node, pod, plan))) >= 0:
            while node.down is not None:
                yield node.down
            node.containers -= lost
            if pod in self._doomed:
                yield from self.remove(node, pod)
                return
            if lost and plan.restart_policy == NEVER:
                times["finished_s"][pod] = clock._now
                yield from self.end(node, pod, "Error")
                return
            (plan.runtime or node.runtime).remove_pod_sandbox(node)
            self.pods.ids["restarts"][pod] += lost > 0

    def _bring_up(self, node: Node, pod: int, plan: PodPlan) -> Generator[Event, Any, int]:
        """One try: sandbox, images, containers, status. Ends with -1; or, when the machine has stopped in the middle, with how many
        containers ran, and the sandbox is still counted."""
        clock, times, spec, boots = self.clock, self.pods.times, self.spec, node.boots
        yield node.machine.work(spec.sync_cpu_s)
        yield clock.timeout(spec.volume_poll_s)  # the first look finds them not yet mounted
        times["volumes_ready_s"][pod] = times["sandbox_started_s"][pod] = clock._now
        runtime = plan.runtime or node.runtime
        if isnan(times["network_ready_s"][pod]):
            yield from runtime.run_pod_sandbox(node, lambda: self._attach_network(node, pod))
        else:  # a new sandbox after a crash: its address stays
            times["network_started_s"][pod] = times["network_ready_s"][pod] = clock._now
            yield from runtime.boot_sandbox(node)
        times["sandbox_ready_s"][pod] = clock._now
        if node.boots != boots:
            return 0
        if not plan.plain or (plan.restart_policy == ALWAYS and self.pods.duration_s[pod] < inf):
            yield from self._live(PodLife(self, node, pod, plan))
            return -1
        used_bytes = node.admitted["memory"] * spec.eviction.plain_use_share + node.sandboxes * node.sandbox_bytes
        if plan.runtime is not None or used_bytes > node.memory_bytes:
            self.eviction.watch(node)
        times["initialized_s"][pod] = times["pull_started_s"][pod] = clock._now
        for image in plan.images:
            if image in node.images and spec.images.pull_policy != "Always" and not plan.pull_policies:
                continue
            while (yield from self.pull(node, pod, image)):
                if node.boots != boots:
                    break
                if pod in self._doomed:
                    yield from self.remove(node, pod)
                    return -1
                yield clock.timeout(self.resync_s())
        times["pull_ready_s"][pod] = clock._now
        if node.boots != boots:
            return 0
        for _ in range(plan.container_count):
            yield from runtime.create_container(node)
            yield from runtime.start_container(node)
        times["containers_started_s"][pod] = started_s = clock._now
        self.events.add(CREATE_EVENT, spec.events_per_start)
        yield clock.timeout(self.observed_in_s(node))
        times["observed_s"][pod] = clock._now
        if node.boots != boots:
            return plan.container_count
        yield from self.status.report(node, pod, self.heard_running)
        if node.boots != boots:
            return plan.container_count
        times["running_s"][pod] = times["ready_s"][pod] = clock._now
        self.pods.ids["phase"][pod] = Phase.RUNNING
        self.on_running()
        if pod in self._doomed:
            yield from self.stop(node, pod)
        elif (ends_s := started_s + self.pods.duration_s[pod]) < inf:
            clock.at(max(0.0, ends_s - clock._now), lambda _: self._end(node, pod))
        return -1

    def begin_with(self, node: Node, pod: int) -> str:
        """Before the run: the pod has been brought up. Returns why it cannot have been, "" where it can."""
        plan = self._plan_of(pod)
        if not plan.plain or (plan.restart_policy == ALWAYS and self.pods.duration_s[pod] < inf):
            return "they have probes, hooks, init containers or restarts, which are under way while they run"
        if refused := admit(node, plan):
            return refused
        if not self._network.begin_with(node, pod):
            return "no address is left"
        node.add_sandbox(plan.runtime or node.runtime)
        node.containers += plan.container_count
        node.images.update(plan.images)
        if (ends_s := self.pods.duration_s[pod]) < inf:
            self.clock.at(ends_s, lambda _: self._end(node, pod))
        return ""

    def delete(self, node: Node, pod: int) -> None:
        """A DELETE reached the kubelet: take the pod down, after its start if that is still under way."""
        if pod in self._finishing:
            return  # it has ended by itself; its final status is on its way
        self._doomed.add(pod)
        self._network.give_up(pod)
        if (life := node.lives.get(pod)) is not None:
            life.take_down(DELETED)
        elif self.pods.ids["phase"][pod] == Phase.RUNNING:
            self.clock.start(self.stop(node, pod))

    def stop(self, node: Node, pod: int) -> Process:
        """SIGTERM to all containers, wait at most the grace period, then as `remove`."""
        times = self.pods.times
        if not isnan(times["finished_s"][pod]):  # they have ended, and their end detaches the network
            yield from self._remove_object(node, pod)
            return
        plan = self._plan_of(pod)
        runtime = plan.runtime or node.runtime
        yield from runtime.stop_container(node, self.kill_s(), plan.spec.termination_grace_s)
        node.containers -= plan.container_count - 1
        yield from self.remove(node, pod)

    def remove(self, node: Node, pod: int) -> Process:
        """Its containers are stopped: take sandbox and network down, report, and remove the object."""
        self.pods.times["killed_s"][pod] = self.clock._now
        yield from self._take_sandbox_down(node, pod)
        yield self.clock.timeout(self.observed_in_s(node))
        yield from self._remove_object(node, pod)

    def _remove_object(self, node: Node, pod: int) -> Process:
        """The last DELETE comes from the status manager's batch, so it waits for that timer, and for a look at the pod; the
        manager sends no status meanwhile."""
        clock, spec, namespace = self.clock, self.spec, self._plan_of(pod).spec.namespace
        yield from self.status.report(node, pod)
        for _ in range(spec.looks_at_end):
            node.client_limit.reserve()
        self.events.add(GET_POD, spec.looks_at_end)
        yield clock.timeout(spec.reclaim_s)
        removed = 500
        while removed != 200:
            yield node.next_tick(node.status_phase_s, spec.status_period_s)
            if not node.status_lock.try_acquire():
                yield node.status_lock.acquire()
            yield from node.turn()
            if (yield from self._client.send(GET_POD, namespace)) == 200:
                yield from node.turn()
                removed = yield from self._client.send(REMOVE_POD, namespace)
            node.status_lock.release()
        self._doomed.discard(pod)
        self.pods.times["gone_s"][pod] = clock._now
        self.pods.ids["phase"][pod] = Phase.DELETED
        self._on_gone(pod)

    def end(self, node: Node, pod: int, reason: str) -> Process:
        """Its containers have ended, or were stopped by its node: take sandbox and network down, report the final status.

        reason: why it failed; empty: it ended well.
        """
        yield from self._take_sandbox_down(node, pod)
        if pod in self._doomed:  # deleted meanwhile: the removal of a plain one is under way
            if pod in node.lives:
                yield from self._remove_object(node, pod)
            return
        yield from self._final(node, pod, reason)

    def _final(self, node: Node, pod: int, reason: str) -> Process:
        """Store the final status; then the pod is over."""
        self._finishing.add(pod)
        yield from self.status.report(node, pod, self._heard_finished)
        self._finishing.discard(pod)
        self.pods.times["gone_s"][pod] = self.clock._now
        self.pods.ids["phase"][pod] = Phase.FAILED if reason else Phase.SUCCEEDED
        if reason:
            self.reasons[pod] = reason

    def _live(self, life: PodLife) -> Process:
        if life.pod in self._doomed:
            life.take_down(DELETED)
        self.eviction.watch(life.node)
        yield from life.run()

    def plan(self, pod: int) -> PodPlan:
        """What a kubelet must know of the pod."""
        return self._plan_of(pod)

    def is_doomed(self, pod: int) -> bool:
        """Whether its DELETE has reached the kubelet."""
        return pod in self._doomed

    def end_at(self, node: Node, pod: int, ends_s: float) -> None:
        """The pod's containers end by themselves at that time."""
        self.clock.at(max(0.0, ends_s - self.clock._now), lambda _: self._end(node, pod))

    def _end(self, node: Node, pod: int) -> None:
        ends_s = self.ends_s.get(pod) if self.ends_s else None
        if ends_s is not None and (self.clock._now < ends_s - 1e-9 or not isnan(self.pods.times["finished_s"][pod])):
            return  # only the end of its last run counts, and once
        if pod not in self._doomed and self.pods.ids["phase"][pod] != Phase.DELETED:  # a killed pod ends no more
            self.pods.times["finished_s"][pod] = self.clock._now
            self.clock.start(self._finish(node, pod))

    def _finish(self, node: Node, pod: int) -> Process:
        """The containers ended by themselves: see it at the next relist."""
        node.containers -= self._plan_of(pod).container_count
        yield self.clock.timeout(self.observed_in_s(node))
        yield from self.end(node, pod, "")

    def observed_in_s(self, node: Node) -> float:
        """Seconds until the kubelet sees a change of a container that happens now: the end of PLEG's next relist, or an event's way.

        A relist asks the runtime about every container, so it takes longer on a fuller node.
        """
        spec = self.spec
        if spec.pleg == "evented":
            return spec.event_latency_s
        runtime, period_s = node.runtime, spec.relist_period_s
        since_s = (self.clock._now - node.relist_phase_s) % period_s
        listed = node.containers + node.sandboxes
        return period_s - since_s + listed * (runtime.list_cpu_s + runtime.status_cpu_s) * node.machine.stretch()

    def pull(self, node: Node, pod: int, image: str) -> Generator[Event, Any, str]:
        """Have the image on the node: ends with "" or the reason why it is not, after which the pod is synced again later."""
        plan = self._plan_of(pod)
        policy = dict(plan.pull_policies).get(image, "") if plan.pull_policies else ""
        reason: str = yield from self._images.ensure(node, pod, image, policy, plan.spec.namespace)
        if not reason or pod in self._doomed:
            self._images.forget(pod)
        return reason

    def _attach_network(self, node: Node, pod: int) -> Process:
        self.pods.times["network_started_s"][pod] = self.clock._now
        yield from self._network.attach(node, pod)
        self.pods.times["network_ready_s"][pod] = self.clock._now

    def _take_sandbox_down(self, node: Node, pod: int) -> Process:
        plan = self._plan_of(pod)
        yield from self._network.detach(node, pod)
        (plan.runtime or node.runtime).remove_pod_sandbox(node)
        release(node, plan)
