"""A node's own contended things: cores, locks, client rate limit, timers' phases, images."""

from __future__ import annotations

import math
from collections.abc import Generator
from typing import Any

from simpy.events import Event, Timeout

from sim.base.rand import Distribution, Sampler, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.semaphore import Semaphore
from sim.engine.token_bucket import TokenBucket
from sim.kubelet.spec import KubeletSpec


class Node:
    """One node with its kubelet's state. Made when its first pod arrives: an idle node costs nothing."""

    __slots__ = (
        "_samplers",
        "_streams",
        "client_limit",
        "clock",
        "images",
        "index",
        "machine",
        "name",
        "network_lock",
        "ports",
        "pull_lock",
        "pulls",
        "relist_phase_s",
        "rules_lock",
        "status_lock",
        "status_phase_s",
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
        self._streams = streams
        self._samplers = samplers

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
        """Wait for the kubelet's client rate limit."""
        wait_s = self.client_limit.reserve()
        if wait_s > 0:
            yield self.clock.timeout(wait_s)

    def next_tick(self, phase_s: float, period_s: float) -> Event:
        """Fires at the next tick of a timer that has run since before the simulation began."""
        now = self.clock._now
        ticks = math.floor((now - phase_s) / period_s) + 1
        return self.clock.timeout(max(0.0, phase_s + ticks * period_s - now))
