"""During a run: when a new pod's peers have its route. One object for the whole cluster, few events a pod.

A route that everybody has already (a node's subnet, a block that the node claimed before) costs nothing and no event. A new
one joins the batch of the reflector or of Typha, which sends one batch after the other: what arrives meanwhile goes with the
next. The peers of a batch are served in order, so the time at which any share of them has the route is known when the batch
starts. In a full mesh each node sends its own; its queue is a recursion, not events.
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf
from typing import Any

import numpy as np
from simpy.events import Event

from sim.engine.clock import Alarm, Clock
from sim.engine.meter import Meter
from sim.network.cni.catalog import CniSpec, Spread
from sim.network.routes.bgp import BgpSpec, withdrawal_s
from sim.network.routes.felix import FelixSpec
from sim.network.routes.leases import LeaseSpec
from sim.state.pods import REACHABLE, PodTable


class RouteSpread:
    """Writes the `reachable_*` columns.

    nodes: of the cluster. policies: network policies whose address sets select every pod. rng: draws the timers after a node's
    death. New routes and withdrawals take the same way; both load the reflectors. Columns are written ahead of time: `close` takes
    back what had not come at the end.
    """

    def __init__(
        self,
        clock: Clock,
        cni: CniSpec,
        bgp: BgpSpec,
        felix: FelixSpec,
        nodes: int,
        policies: int,
        pods: PodTable,
        lease: LeaseSpec | None = None,
        rng: np.random.Generator | None = None,
    ) -> None:
        self._clock = clock
        self._bgp = bgp
        self._felix = felix
        self._nodes = nodes
        self._policies = policies
        self._lease = lease or LeaseSpec()
        self._rng = rng if rng is not None else np.random.default_rng(0)
        self._columns = [(share, pods.times[name]) for name, share in REACHABLE]
        self._mechanism = cni.features.spread
        self._rules_per_pod = cni.rules_per_pod
        self._has_felix = hasattr(cni, "block_prefix")
        self._unreachable = bool(cni.features.pods_reach_pods)
        self._waiting: list[tuple[int, float]] = []
        self._waiting_sets: list[tuple[int, float]] = []
        self._busy = self._sets_busy = False
        self._free_s: dict[int, float] = {}
        """Full mesh: when a node's daemon has sent what it has."""
        self.meter = Meter(clock, "route updates", "network", 1)
        self.announced = 0
        """Routes announced and withdrawn."""
        self.batches = 0
        self.deaths: list[tuple[float, float, float]] = []
        """Nodes that died: when, and when half and all of the others had dropped their routes (inf: they stay)."""
        self.dropped_s: dict[int, float] = {}
        """Node that died last at some time -> when all others had dropped its routes."""

    def pod_attached(self, pod: int, node: int, pods_on_node: int, new_route: bool) -> None:
        """A pod's network is set up on its node; new_route: its peers do not have a route that covers it."""
        if self._unreachable:
            return
        now = self._clock._now
        local_s = now + (self._felix.endpoint_s(pods_on_node, self._rules_per_pod) if self._has_felix else 0.0)
        for _, column in self._columns:
            column[pod] = local_s
        if self._nodes < 2:
            return
        if new_route:
            self._announce(pod, node, local_s)
        if self._policies and self._has_felix:
            self._waiting_sets.append((pod, local_s))
            if not self._sets_busy:
                self._sets_busy = True
                self._clock.at(self._felix.watch_s, self._send_sets)

    def route_withdrawn(self, node: int) -> None:
        """A node gave a block back, or a borrowed address: one update to everybody."""
        self._announce(-1, node, 0.0)

    def node_died(self, node: int) -> None:
        """A node is gone without a word: its peers keep its routes until their timers say so."""
        now, spread = self._clock._now, self._mechanism
        half_s = all_s = inf
        if self._nodes < 2 or spread is Spread.NONE:
            return
        if spread is Spread.BGP:
            gone_s = withdrawal_s(self._bgp, self._nodes, "silent", self._rng)
            half_s, all_s = float(np.median(gone_s)), float(gone_s[-1])
        elif spread is Spread.LEASE:
            half_s = all_s = self._lease.node_death_s()
        self.deaths.append((now, now + half_s, now + all_s))
        self.dropped_s[node] = now + all_s
        if all_s < inf:
            self._clock.at(half_s, lambda _: self._withdrawn(node))

    def _withdrawn(self, node: int) -> None:
        """Reflectors tell all others; in a mesh each has found out by itself."""
        if self._mechanism is Spread.BGP and self._bgp.topology == "reflectors":
            self.route_withdrawn(node)

    def close(self) -> None:
        """The run ends now: what was still on its way has not come."""
        now = self._clock._now
        for _, column in self._columns:
            times = np.frombuffer(column, np.float64)
            times[times > now] = np.nan

    def _announce(self, pod: int, node: int, local_s: float) -> None:
        self.announced += 1
        if self._mechanism is Spread.BGP and self._bgp.topology == "mesh":
            self._tell_all(pod, node, local_s)
        elif self._mechanism in (Spread.BGP, Spread.POLICY_AGENT):
            self._waiting.append((pod, local_s))
            self.meter.level(1, len(self._waiting))
            if not self._busy:
                self._busy = True
                self._clock.start(self._send_batches())

    def _tell_all(self, pod: int, node: int, local_s: float) -> None:
        """The node's own daemon sends to every peer in turn, after what it has still to send."""
        bgp = self._bgp
        start_s = max(self._clock._now, self._free_s.get(node, 0.0))
        sending_s = (self._nodes - 1) * bgp.send_cpu_s
        self._free_s[node] = start_s + sending_s
        self._write(pod, local_s, start_s, sending_s, bgp.receive_cpu_s)

    def _send_batches(self) -> Generator[Event, Any, None]:
        """The reflectors' (all do the same work at the same time) or Typha's loop, while there is something to send."""
        bgp, felix = self._bgp, self._felix
        by_bgp = self._mechanism is Spread.BGP
        yield self._clock.timeout(bgp.send_cpu_s if by_bgp else felix.watch_s)
        while self._waiting:
            batch, self._waiting = self._waiting, []
            self.meter.level(1, 0)
            self.batches += 1
            self.meter.served += len(batch)
            more = len(batch) - 1
            if by_bgp:
                reading_s = bgp.receive_cpu_s + more * bgp.route_cpu_s
                sending_s = (self._nodes - 1) * bgp.send_cpu_s
                receiving_s = bgp.receive_cpu_s + more * bgp.route_cpu_s
            else:
                messages = -(-len(batch) // felix.typha_batch)
                reading_s = 0.0
                sending_s = messages * felix.fan_out_s(self._nodes)
                receiving_s = felix.remote_s(0.0, self._nodes, 0, 3 * len(batch))
            start_s = self._clock._now + reading_s
            for pod, local_s in batch:
                self._write(pod, local_s, start_s, sending_s, receiving_s)
            yield self._clock.timeout(max(reading_s + sending_s, bgp.mrai_s if by_bgp else 0.0))
        self._busy = False
        self.meter.level(0, 0)

    def _send_sets(self, _: Alarm) -> None:
        """Address sets of policies: Typha's next round takes all pods that wait."""
        batch, self._waiting_sets = self._waiting_sets, []
        felix = self._felix
        sending_s = -(-len(batch) // felix.typha_batch) * felix.fan_out_s(self._nodes)
        receiving_s = felix.remote_s(
            0.0, self._nodes, self._policies, 0
        )  # one ipset program takes all members of a set
        for pod, local_s in batch:
            self._write(pod, local_s, self._clock._now, sending_s, receiving_s)
        self._sets_busy = False

    def _write(self, pod: int, local_s: float, start_s: float, sending_s: float, receiving_s: float) -> None:
        """A pod is reachable for a share of its peers when that share is served and its own node is ready."""
        if pod < 0:
            return
        for share, column in self._columns:
            at_s = max(local_s, start_s + share * sending_s + receiving_s)
            column[pod] = max(at_s, column[pod])  # it may wait for an address set too
