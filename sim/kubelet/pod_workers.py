"""Pod workers: one a pod, which brings it up, watches it end, and takes it down."""

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
from sim.kubelet.node import Node
from sim.kubelet.runtimes import RuntimeSpec
from sim.kubelet.spec import KubeletSpec
from sim.kubelet.status_manager import StatusManager
from sim.network.pod_network import PodNetwork
from sim.state.pods import Phase, PodTable

Process = Generator[Event, Any, None]


class PodWorkers:
    """syncPod for every pod of every node.

    images_of: images that a pod's containers need, in order. containers_of: how many containers start.
    on_running: called when the status Running is stored. heard_running, heard_finished: when the watchers know of that or of
    a final status. on_gone: when the object is removed.
    """

    def __init__(
        self,
        clock: Clock,
        spec: KubeletSpec,
        runtime: RuntimeSpec,
        network: PodNetwork,
        images: ImageService,
        pods: PodTable,
        client: Client,
        status_manager: StatusManager,
        events: Aggregate,
        streams: Streams,
        images_of: Callable[[int], tuple[str, ...]],
        containers_of: Callable[[int], int],
        namespace_of: Callable[[int], str],
        grace_s: Callable[[int], int],
        on_running: Callable[[], None],
        heard_running: Handler,
        heard_finished: Handler,
        on_gone: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._runtime = runtime
        self._network = network
        self._images = images
        self._pods = pods
        self._client = client
        self._status = status_manager
        self._events = events
        self._images_of = images_of
        self._containers_of = containers_of
        self._namespace_of = namespace_of
        self._grace_s = grace_s
        self._on_running = on_running
        self._heard_running = heard_running
        self._heard_finished = heard_finished
        self._on_gone = on_gone
        self._kill_s = Sampler(spec.kill_s, streams("kubelet.kill"))
        self._resync_s = Sampler(spec.resync_s, streams("kubelet.resync"))
        self._doomed: set[int] = set()
        """Pods whose DELETE has reached the kubelet."""
        self._finishing: set[int] = set()
        """Pods that ended by themselves and whose final status is being sent."""

    def start(self, node: Node, pod: int) -> Process:
        """From the watch event to the status Running: what the pod waits for on its node."""
        clock, times, spec = self._clock, self._pods.times, self._spec
        yield node.machine.work(spec.dispatch_cpu_s)
        times["worker_started_s"][pod] = clock._now
        clock.start(self._status.report(node, pod))
        yield node.machine.work(spec.sync_cpu_s)
        yield clock.timeout(spec.volume_poll_s)  # the first look finds them not yet mounted
        times["volumes_ready_s"][pod] = times["sandbox_started_s"][pod] = clock._now
        yield from self._runtime.run_pod_sandbox(node, lambda: self._attach_network(node, pod))
        times["sandbox_ready_s"][pod] = clock._now
        yield from self._pull(node, pod)
        for _ in range(self._containers_of(pod)):
            yield from self._runtime.start_container(node)
        times["containers_started_s"][pod] = started_s = clock._now
        self._events.add(CREATE_EVENT, spec.events_per_start)
        yield node.next_tick(node.relist_phase_s, spec.relist_period_s)
        times["observed_s"][pod] = clock._now
        yield from self._status.report(node, pod, self._heard_running)
        times["running_s"][pod] = clock._now
        self._pods.ids["phase"][pod] = Phase.RUNNING
        self._on_running()
        if pod in self._doomed:
            yield from self.stop(node, pod)
        elif (ends_s := started_s + self._pods.duration_s[pod]) < inf:
            clock.at(max(0.0, ends_s - clock._now), lambda _: self._end(node, pod))

    def delete(self, node: Node, pod: int) -> None:
        """A DELETE reached the kubelet: take the pod down, after its start if that is still under way."""
        if pod in self._finishing:
            return  # it has ended by itself; its final status is on its way
        self._doomed.add(pod)
        if self._pods.ids["phase"][pod] == Phase.RUNNING:
            self._clock.start(self.stop(node, pod))

    def stop(self, node: Node, pod: int) -> Process:
        """SIGTERM, wait at most the grace period, detach the network, report, and remove the object.

        The last DELETE comes from the status manager's batch, so it waits for that timer, and for a look at the pod.
        """
        clock, times, spec = self._clock, self._pods.times, self._spec
        if isnan(times["finished_s"][pod]):  # else they have ended, and their end detaches the network
            yield clock.timeout(min(self._kill_s(), self._grace_s(pod)))
            times["killed_s"][pod] = clock._now
            yield from self._network.detach(node, pod)
            yield node.next_tick(node.relist_phase_s, spec.relist_period_s)
        yield from self._status.report(node, pod)
        yield clock.timeout(spec.reclaim_s)
        removed = 500
        while removed != 200:
            yield node.next_tick(node.status_phase_s, spec.status_period_s)
            yield from node.turn()
            if (yield from self._client.send(GET_POD, self._namespace_of(pod))) != 200:
                continue
            yield from node.turn()
            removed = yield from self._client.send(REMOVE_POD, self._namespace_of(pod))
        self._doomed.discard(pod)
        times["gone_s"][pod] = clock._now
        self._pods.ids["phase"][pod] = Phase.DELETED
        self._on_gone(pod)

    def _end(self, node: Node, pod: int) -> None:
        if pod not in self._doomed and self._pods.ids["phase"][pod] != Phase.DELETED:  # a killed pod ends no more
            self._pods.times["finished_s"][pod] = self._clock._now
            self._clock.start(self._finish(node, pod))

    def _finish(self, node: Node, pod: int) -> Process:
        """The containers ended by themselves: see it at the next relist, detach the network, report the final status."""
        yield node.next_tick(node.relist_phase_s, self._spec.relist_period_s)
        yield from self._network.detach(node, pod)
        if pod in self._doomed:  # deleted meanwhile: the removal that is under way is the pod's end
            return
        self._finishing.add(pod)
        yield from self._status.report(node, pod, self._heard_finished)
        self._finishing.discard(pod)
        self._pods.times["gone_s"][pod] = self._clock._now
        self._pods.ids["phase"][pod] = Phase.SUCCEEDED

    def _attach_network(self, node: Node, pod: int) -> Process:
        self._pods.times["network_started_s"][pod] = self._clock._now
        yield from self._network.attach(node, pod)
        self._pods.times["network_ready_s"][pod] = self._clock._now

    def _pull(self, node: Node, pod: int) -> Process:
        """Bring the images that are missing onto the node; what fails is tried again with a later sync of the pod."""
        times = self._pods.times
        times["pull_started_s"][pod] = self._clock._now
        for image in self._images_of(pod):
            if image in node.images and self._spec.images.pull_policy != "Always":
                continue
            while (yield from self._images.ensure(node, pod, image, namespace=self._namespace_of(pod))):
                if pod in self._doomed:
                    break
                yield self._clock.timeout(self._resync_s())
        self._images.forget(pod)
        times["pull_ready_s"][pod] = self._clock._now
