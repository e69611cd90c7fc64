"""A node's own contended things: cores, locks, client rate limit, timers' phases, images."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any

from simpy.events import Event, Timeout

from sim.base.rand import Distribution, Sampler, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.semaphore import Semaphore
from sim.engine.token_bucket import TokenBucket
from sim.engine.turnstile import Turnstile
from sim.kubelet.runtimes import RuntimeSpec
from sim.kubelet.spec import KubeletSpec

if TYPE_CHECKING:
    from sim.kubelet.pod_life import PodLife


NO_AMOUNTS: Mapping[str, int] = {}


class Node:
    """One node with its kubelet's state. Made when its first pod arrives: an idle node costs nothing."""

    __slots__ = (
        "_samplers",
        "_slots",
        "_streams",
        "admitted",
        "admitted_pods",
        "allocatable",
        "away",
        "boots",
        "cgroup_lock",
        "client_limit",
        "clock",
        "conditions",
        "containers",
        "down",
        "host_ports",
        "images",
        "index",
        "lives",
        "machine",
        "memory_bytes",
        "name",
        "network_lock",
        "ports",
        "pull_lock",
        "pulls",
        "relist_phase_s",
        "rules_lock",
        "runtime",
        "sandbox_bytes",
        "sandboxes",
        "sandboxes_of",
        "status_lock",
        "status_phase_s",
        "storage_lock",
        "warm",
    )

    def __init__(
        self,
        clock: Clock,
        index: int,
        name: str,
        cores: float,
        spec: KubeletSpec,
        streams: Streams,
        samplers: dict[str, Sampler],
        relist_phase_s: float,
        status_phase_s: float,
        hollow_on: Machine | None = None,
        runtime: RuntimeSpec | None = None,
        allocatable: Mapping[str, int] = NO_AMOUNTS,
    ) -> None:
        self.clock = clock
        self.index = index
        self.name = name
        self.machine = hollow_on or Machine(clock, name, "kubelet", cores)
        self.client_limit = TokenBucket(clock, name, "kubelet", spec.qps, spec.burst)
        self.network_lock = Semaphore(clock, name, "network", 1)
        """The kernel's rtnl lock."""
        self.rules_lock = Semaphore(clock, name, "network", 1)
        """The lock of iptables' tables."""
        self.pull_lock = Semaphore(clock, name, "images", 1)
        self.pulls: dict[str, Event] = {}
        """Begun pulls by image, where they are not made one at a time."""
        self.status_lock = Semaphore(clock, name, "kubelet", 1)
        """The status manager sends one pod's status at a time."""
        self.relist_phase_s = relist_phase_s
        self.status_phase_s = status_phase_s
        self.images: set[str] = set()
        self.ports = 0
        """Pods attached to the node's network."""
        self.runtime = runtime or RuntimeSpec()
        self.cgroup_lock = Turnstile(clock, name, "runtime")
        """The kernel's lock of the cgroup tree."""
        self.storage_lock = Turnstile(clock, name, "runtime")
        """The lock of the storage driver's mounts."""
        self.containers = 0
        """Containers that run, sandboxes' own not counted."""
        self.sandboxes = 0
        """Pods whose sandbox is on the node."""
        self.sandboxes_of: dict[int, tuple[RuntimeSpec, int]] = {}
        """The same by runtime; the key is the runtime's identity, because to hash all its parameters is slow."""
        self.warm: dict[int, int] = {}
        """Booted virtual machines that wait for a pod, by the runtime's identity."""
        self._slots: Semaphore | None = None
        self.allocatable = allocatable
        self.memory_bytes = allocatable.get("memory", math.inf)
        self.sandbox_bytes = self.runtime.memory_bytes(2) - self.runtime.memory_bytes(1)
        """Memory that one more sandbox of the node's own runtime takes."""
        self.admitted: dict[str, int] = defaultdict(int)
        """What the pods that the kubelet has taken in ask for: resource -> amount in base units."""
        self.admitted_pods = 0
        self.conditions: set[str] = set()
        """MemoryPressure, DiskPressure, where they hold."""
        self.host_ports: set[tuple[int, str, str]] = set()
        self.lives: dict[int, PodLife] = {}
        """Pods here that are more than plain ones: probes, restarts, uses that change."""
        self.away: Event | None = None
        """While nothing passes between the node and the API server: fires when it does again."""
        self.boots = 0
        """Times that its machine has stopped: what was under way before is lost."""
        self.down: Event | None = None
        """While its machine does not run: fires when it does again."""
        self._streams = streams
        self._samplers = samplers

    def add_sandbox(self, runtime: RuntimeSpec) -> None:
        """A pod's sandbox runs."""
        self.sandboxes += 1
        held = self.sandboxes_of.get(id(runtime))
        self.sandboxes_of[id(runtime)] = (runtime, held[1] + 1 if held else 1)

    def remove_sandbox(self, runtime: RuntimeSpec) -> None:
        """A pod's sandbox is gone."""
        self.sandboxes -= 1
        self.sandboxes_of[id(runtime)] = (runtime, self.sandboxes_of[id(runtime)][1] - 1)

    def runtime_memory_bytes(self) -> float:
        """What sandboxes take of the node's memory beside the containers' own."""
        return sum(runtime.memory_bytes(count) for runtime, count in self.sandboxes_of.values())

    def start_slots(self, most: int | None) -> Semaphore | None:
        """The runtime's limit on starts at a time; None: it has none."""
        if most is None:
            return None
        if self._slots is None:
            self._slots = Semaphore(self.clock, self.name, "runtime", most)
        return self._slots

    def take_warm(self, runtime: RuntimeSpec, pool: int) -> bool:
        """Take a booted virtual machine out of the pool of `pool` that was filled before the run, if one is left."""
        left = self.warm.setdefault(id(runtime), pool)
        self.warm[id(runtime)] = max(0, left - 1)
        return left > 0

    def draw(self, stream: str, dist: Distribution) -> float:
        """A value drawn from `dist`; one stream a cause, shared by all nodes."""
        sampler = self._samplers.get(stream)
        if sampler is None:
            sampler = self._samplers[stream] = Sampler(dist, self._streams(stream))
        return sampler()

    def wait(self, stream: str, dist: Distribution) -> Timeout:
        """A wait drawn from `dist`."""
        return self.clock.timeout(self.draw(stream, dist))

    def turn(self) -> Generator[Event, Any, None]:
        """Wait for a way to the API server, and for the kubelet's client rate limit."""
        while self.away is not None:
            yield self.away
        wait_s = self.client_limit.reserve()
        if wait_s > 0:
            yield self.clock.timeout(wait_s)

    def next_tick_in_s(self, phase_s: float, period_s: float) -> float:
        """Seconds until the next tick of a timer that has run since before the simulation began."""
        now = self.clock._now
        ticks = math.floor((now - phase_s) / period_s) + 1
        return max(0.0, phase_s + ticks * period_s - now)

    def next_tick(self, phase_s: float, period_s: float) -> Event:
        """Fires at the next tick of such a timer."""
        return self.clock.timeout(self.next_tick_in_s(phase_s, period_s))
