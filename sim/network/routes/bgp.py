"""BGP as Calico's BIRD speaks it: sessions, timers, updates, and what they cost the processor of each node.

Pure rules. `MeshEstimate` answers for any size in closed form; `sim/network/routes/bgp_twin.py` plays the same rules session by
session for small clusters, and a test holds the two together.

Sources: BIRD 2.0 source (connect delay, retry and hold timers are drawn from 0.75 to 1 of their value, RFC 4271 section 10;
keepalives every third of the hold time); Calico node's BIRD template (delays, graceful restart); costs: our measurement of
BIRD 2.0.12 meshes and reflectors of 5 to 40 nodes on one machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from sim.base.spec import Spec, param

BIRD = "our measurement of BIRD 2.0.12, 5 to 40 nodes on a 2-core AMD EPYC VM"
TEMPLATE = "Calico node, BIRD template"

JITTER_LOW = 0.75
"""BIRD draws its timers between this share and the whole of their value."""


class BgpSpec(Spec):
    """Who peers with whom, and the timers and costs of one session."""

    topology: Literal["mesh", "reflectors"] = param(
        "mesh", "every node with every other, or each with the reflectors", source="Calico's default is the full mesh"
    )
    reflectors: int = param(2, "route reflectors, where the topology has them", ge=1, le=64)
    connect_delay_s: float = param(2.0, "before a session is first tried", source=TEMPLATE, ge=0, le=3600)
    hold_s: float = param(
        240.0,
        "silence after which a peer is dead; keepalives come every third of it",
        source="BIRD 2.0, default hold time",
        ge=3,
        le=65535,
    )
    graceful_restart_s: float = param(
        120.0,
        "routes of a restarting peer are kept this long; 0: they go at once",
        source=TEMPLATE + ": graceful restart on; BIRD's default time",
        ge=0,
        le=4095,
    )
    mrai_s: float = param(0.0, "least time between two updates to one peer", source="BIRD 2.0 has none", ge=0, le=600)
    daemon_cpu_s: float = param(5.26e-3, "starting one daemon", source=BIRD, ge=0, le=10)
    session_cpu_s: float = param(
        0.408e-3,
        "bringing one session up and its first routes over, on each end",
        source=BIRD + ": cold starts of 5 nodes",
        ge=0,
        le=10,
    )
    send_cpu_s: float = param(
        20e-6,
        "one update message to one peer, on the sender",
        source=BIRD + "; our split of send and receive",
        unverified=True,
        ge=0,
        le=10,
    )
    receive_cpu_s: float = param(
        108.6e-6,
        "one update message: wake, read, choose, tell the kernel",
        source=BIRD + ": single routes in a mesh of 5",
        ge=0,
        le=10,
    )
    route_cpu_s: float = param(
        16.6e-6,
        "each further route of a message, on the receiver, kernel included",
        source=BIRD + ": 1,000 routes in a mesh of 5",
        ge=0,
        le=10,
    )
    duplicate_share: float = param(
        0.74,
        "share of a message's cost where its first route is known from another peer: the daemon wakes and reads all the same",
        source=BIRD + ": two reflectors, 5 nodes",
        ge=0,
        le=1,
    )
    duplicate_route_share: float = param(
        0.271,
        "share of a further route's cost where it is known from another peer: the kernel, most of that cost, is not told",
        source=BIRD + ": 1,000 routes, two reflectors, 5 nodes",
        ge=0,
        le=1,
    )
    keepalive_cpu_s: float = param(
        0.12e-3, "one keepalive, sender and receiver together", source=BIRD + ": idle meshes", ge=0, le=10
    )
    scan_cpu_per_s: float = param(
        1.0e-4,
        "an idle daemon's scans of interfaces and routes, share of a core",
        source=BIRD + ": idle, 5 nodes",
        ge=0,
        le=1,
    )
    daemon_bytes: int = param(4_900_000, "memory of a daemon without sessions", source=BIRD, ge=0, le=2**40)
    session_bytes: int = param(
        20_000, "memory of one session with its routes", source=BIRD + ": 40 nodes less 10", ge=0, le=2**40
    )
    neighbour_limit: int = param(
        1024,
        "peers on one segment that the kernel's neighbour table keeps; above it entries push each other out and sessions fail",
        source="Linux, net.ipv4.neigh.default.gc_thresh3; seen in our measurement",
        ge=1,
        le=2**31,
    )

    def sessions_of(self, nodes: int) -> int:
        """Sessions in the whole cluster. Reflectors are nodes too, and peer with each other."""
        if self.topology == "mesh":
            return nodes * (nodes - 1) // 2
        reflectors = min(self.reflectors, nodes)
        return reflectors * (nodes - reflectors) + reflectors * (reflectors - 1) // 2

    def most_sessions(self, nodes: int) -> int:
        """Sessions of the node that has most."""
        return max(0, nodes - 1)

    def keepalives_per_s(self, sessions: int) -> float:
        """Keepalives that one end of `sessions` sessions sends: every third of the hold time, times U(0.75, 1)."""
        return sessions / (self.hold_s / 3 * (1 + JITTER_LOW) / 2)


@dataclass(frozen=True, slots=True)
class MeshEstimate:
    """A BGP cluster of any size in closed form. Times in seconds, of the node that is last."""

    nodes: int
    sessions: int
    sessions_per_node: int
    """Of the busiest node."""
    cold_start_s: float
    """All daemons start at once: until the last node has every route."""
    cold_start_cpu_s: float
    """Processor time of the busiest node until then."""
    join_cpu_s: float
    """Processor time on the node that joins."""
    announce_s: float
    """One new route: until the last peer has it in its kernel, when nothing else goes on."""
    idle_cores: float
    """Of the busiest node: keepalives and scans."""
    most_announcements_per_s: float
    """New routes a second that the cluster can take: the busiest sender's core, or any receiver's, is full."""
    memory_bytes: float
    """Of the busiest node's daemon."""
    neighbour_overflow: bool
    """More peers on one segment than the kernel's neighbour table keeps: sessions flap, and the rest of these figures is too good."""


def estimate(spec: BgpSpec, nodes: int, same_segment: bool = True) -> MeshEstimate:
    """Closed form for `nodes` nodes that each announce one block. A daemon is one thread."""
    peers = max(0, nodes - 1)
    busiest = spec.most_sessions(nodes)
    learn_s = spec.session_cpu_s  # the first route comes with the session
    spread_s = (1 - JITTER_LOW) * spec.connect_delay_s
    last_timer_s = spec.connect_delay_s * (JITTER_LOW + (1 - JITTER_LOW) * busiest / (busiest + 1)) if busiest else 0.0
    work_s = busiest * learn_s + spec.daemon_cpu_s
    if spec.topology == "mesh":
        # Sessions come up evenly over the jitter; a node whose core cannot keep up is done when its work is.
        cold_s = max(last_timer_s + learn_s, spec.connect_delay_s - spread_s + work_s) if busiest else 0.0
        announce_s = peers * spec.send_cpu_s + spec.receive_cpu_s
        most_per_s = 1 / spec.receive_cpu_s if nodes > 1 else np.inf
        if nodes > 1:
            most_per_s = min(most_per_s, nodes / (peers * spec.send_cpu_s))
    else:
        # The reflector sends each node's route to every other: what waits goes in one message a peer.
        resend_s = peers * spec.send_cpu_s
        cold_s = (
            max(last_timer_s, spec.connect_delay_s - spread_s + work_s)
            + resend_s
            + spec.receive_cpu_s
            + peers * spec.route_cpu_s
        )
        announce_s = spec.send_cpu_s + spec.receive_cpu_s + resend_s + spec.receive_cpu_s
        most_per_s = 1 / spec.route_cpu_s  # many routes go in one message: receiving them is what is left
        work_s += resend_s + peers * spec.route_cpu_s
    return MeshEstimate(
        nodes,
        spec.sessions_of(nodes),
        busiest,
        cold_s,
        work_s,
        busiest * learn_s + spec.daemon_cpu_s,
        announce_s,
        spec.scan_cpu_per_s + spec.keepalives_per_s(busiest) * spec.keepalive_cpu_s,
        most_per_s,
        spec.daemon_bytes + busiest * spec.session_bytes,
        same_segment and busiest > spec.neighbour_limit,
    )


def silent_death_s(spec: BgpSpec, observers: int, rng: np.random.Generator) -> np.ndarray:
    """Seconds until each of `observers` peers gives a silent node up: its hold timer, less the age of the last keepalive."""
    hold = spec.hold_s * rng.uniform(JITTER_LOW, 1.0, observers)
    # An interval in which a random moment falls is drawn in proportion to its length.
    low, high = JITTER_LOW * spec.hold_s / 3, spec.hold_s / 3
    interval = np.sqrt(rng.uniform(low**2, high**2, observers))
    return hold - interval * rng.random(observers)


def withdrawal_s(
    spec: BgpSpec, nodes: int, cause: Literal["silent", "daemon-killed", "withdrawn"], rng: np.random.Generator
) -> np.ndarray:
    """Seconds until each of the other nodes has dropped a node's routes, sorted.

    silent: power or link lost. daemon-killed: connections are reset, and a graceful restart is waited for. withdrawn: told.
    """
    others = nodes - 1
    told_s = np.arange(1, others + 1) * spec.send_cpu_s + spec.receive_cpu_s
    if cause == "silent":
        if spec.topology == "mesh":
            return np.sort(silent_death_s(spec, others, rng)) + spec.receive_cpu_s
        return float(silent_death_s(spec, min(spec.reflectors, others), rng).max()) + told_s
    if cause == "daemon-killed" and spec.graceful_restart_s:
        return spec.graceful_restart_s + told_s
    return told_s
