"""Latency at a measured load: undisturbed time, queueing at each resource, and what else the machine does.

A packet waits at every core and port it uses. Each is an M/G/1 queue at its own load: the mean wait is Pollaczek and
Khinchine's; the distribution is taken as zero with probability 1 - load, else exponential with the mean that fits (exact for
exponential service). Sources: Kleinrock, Queueing Systems I; a packet-level twin tests it (`sim/network/packet_twin.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sim.network.costs import PathCosts
from sim.network.data_path import DataPath, Protocol


@dataclass(frozen=True, slots=True)
class Station:
    """One queue on the way: share of its time in use (below 1), mean service time of a packet (s), squared coefficient of variation."""

    load: float
    service_s: float
    scv: float = 1.0

    @property
    def mean_wait_s(self) -> float:
        """Pollaczek-Khinchine."""
        return self.load / (1 - self.load) * self.service_s * (1 + self.scv) / 2

    def waits(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Waits of `count` packets that come at random."""
        if self.load <= 0:
            return np.zeros(count)
        busy = rng.random(count) < self.load
        return np.where(busy, rng.exponential(self.mean_wait_s / self.load, count), 0.0)


def request_response_s(
    path: DataPath,
    costs: PathCosts,
    request_bytes: float,
    response_bytes: float,
    wire_s: float,
    wire_bytes_per_s: float,
    stations: Sequence[Station],
    rng: np.random.Generator,
    count: int,
    services: int = 0,
    protocol: Protocol = Protocol.TCP,
) -> np.ndarray:
    """Round trips of `count` requests, seconds.

    wire_s: propagation and switching one way. wire_bytes_per_s: of the interfaces; inf: an ideal wire. stations: queues passed on the
    way there; the same again on the way back. services: kube-proxy services before the one that is called, for a first packet.
    """
    base_s = 2 * wire_s
    for size in (request_bytes, response_bytes):
        base_s += path.one_way_s(size, protocol)
        if path.crosses_wire:
            base_s += path.wire_bytes(size, protocol) / wire_bytes_per_s
    base_s += services * costs.service_rule_s
    total = base_s + costs.jitter_s.sample(rng, count)
    for station in stations:
        total = total + station.waits(rng, count) + station.waits(rng, count)
    return total
