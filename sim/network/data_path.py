"""Data paths: what the way from one pod to another costs the hosts, the wire and the clock.

A `DataPath` is a list of hops with what they add to a packet. From it follow the largest segment, packets and wire bytes
of a transfer, processor seconds on either host and where they fall (the kernel's core, or a user-space daemon that is one
thread), and the latency of a message before any queueing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from math import ceil

from sim.network.costs import HopCost, PathCosts

IP_BYTES = 20
TCP_BYTES = 32
"""TCP header with time stamps, as Linux sends it."""
UDP_BYTES = 8
ETHERNET_BYTES = 38
"""Frame header, checksum, preamble and gap between frames: what the wire carries beside the packet."""


class Protocol(Enum):
    TCP = "tcp"
    UDP = "udp"


class Offload(Enum):
    """Where packets travel aggregated (GSO on the sender, GRO on the receiver)."""

    WIRE = "on"
    """Through the whole path, the wire included: an ideal NIC that also knows the tunnel's headers."""
    PODS = "nic"
    """Through the virtual devices; cut at the NIC and put together again by the receiver's driver."""
    NONE = "off"
    """Nowhere: each packet walks the whole path."""


@dataclass(frozen=True, slots=True)
class Work:
    """Processor seconds of one host for some payload."""

    kernel_s: float
    """On the core that moves the flow's packets."""
    daemon_s: float
    """In a user-space daemon that is a single thread."""
    spread_s: float = 0.0
    """In worker threads that may run on every core (WireGuard)."""

    @property
    def total_s(self) -> float:
        return self.kernel_s + self.daemon_s + self.spread_s


@dataclass(frozen=True)
class DataPath:
    """The way of packets between two places of a cluster.

    hops: names of `PathCosts`, in the order of the sending host. header_bytes: what encapsulation adds to each packet.
    mtu_bytes: of the pods' interface. aggregates: GSO and GRO work along the virtual devices. rules: filter rules that
    every packet passes on both hosts together.
    """

    hops: tuple[str, ...]
    header_bytes: int
    mtu_bytes: int
    costs: PathCosts
    aggregates: bool = True
    rules: int = 0
    crosses_wire: bool = True

    def payload_bytes(self, protocol: Protocol) -> int:
        """The largest payload of one packet: the MSS, or the largest datagram that is not fragmented."""
        return self.mtu_bytes - IP_BYTES - (TCP_BYTES if protocol is Protocol.TCP else UDP_BYTES)

    def packets(self, payload_bytes: float, protocol: Protocol, message_bytes: float | None = None) -> float:
        """Packets of a transfer. message_bytes: size of one datagram (UDP) or of one write that is pushed (TCP)."""
        largest = self.payload_bytes(protocol)
        if message_bytes is None or message_bytes >= payload_bytes:
            return max(1.0, payload_bytes / largest) if payload_bytes < 100 * largest else payload_bytes / largest
        return payload_bytes / message_bytes * ceil(message_bytes / largest)

    def wire_bytes(self, payload_bytes: float, protocol: Protocol, message_bytes: float | None = None) -> float:
        """Bytes on the underlay: payload, all headers, framing."""
        headers = IP_BYTES + (TCP_BYTES if protocol is Protocol.TCP else UDP_BYTES) + self.header_bytes + ETHERNET_BYTES
        return payload_bytes + headers * self.packets(payload_bytes, protocol, message_bytes)

    def work(
        self,
        payload_bytes: float,
        protocol: Protocol,
        offload: Offload,
        message_bytes: float | None = None,
    ) -> tuple[Work, Work]:
        """Processor time of the sending and of the receiving host for `payload_bytes` of a busy flow."""
        packets = self.packets(payload_bytes, protocol, message_bytes)
        at_once = self.aggregation(protocol, offload, message_bytes)
        sides = []
        for side in ("tx", "rx"):
            kernel_s = getattr(self.costs, f"copy_{side}_byte_s") * payload_bytes
            daemon_s = spread_s = 0.0
            for name in self.hops:
                hop: HopCost = self.costs.one(name)
                whole = offload is Offload.PODS and name == "stack"
                packet_s = getattr(hop, f"{side}_packet_s") * packets / (1 if whole else at_once)
                byte_s = getattr(hop, f"{side}_byte_s") * payload_bytes
                if name == "tun":
                    daemon_s += packet_s
                else:
                    kernel_s += packet_s
                spread_s += byte_s
            kernel_s += self.rules * self.costs.rule_s / 2 * packets / at_once
            if protocol is Protocol.UDP:
                calls = payload_bytes / (message_bytes or self.payload_bytes(protocol))
                kernel_s += calls * getattr(self.costs, f"datagram_{side}_s")
            sides.append(Work(kernel_s, daemon_s, spread_s))
        return sides[0], sides[1]

    def aggregation(self, protocol: Protocol, offload: Offload, message_bytes: float | None = None) -> float:
        """Packets carried as one through the virtual devices."""
        if offload is Offload.NONE or protocol is Protocol.UDP or not self.aggregates:
            return 1.0
        if message_bytes is None:
            return self.costs.aggregate_packets
        return min(self.costs.aggregate_packets, max(1.0, message_bytes / self.payload_bytes(protocol)))

    def stream_bytes_per_s(
        self, protocol: Protocol, offload: Offload, message_bytes: float | None = None, cores: int = 1
    ) -> float:
        """What one flow may carry while nothing else runs: bound by the busiest core, daemon thread or set of workers.

        cores: of each host. With one, kernel, daemon and workers share it; with more, the daemon has its own.
        """
        slowest = 0.0
        for side in self.work(1e6, protocol, offload, message_bytes):
            busiest_s = side.total_s if cores == 1 else max(side.kernel_s, side.daemon_s, side.total_s / cores)
            slowest = max(slowest, busiest_s)
        fill = 1.0
        if protocol is Protocol.TCP and offload is Offload.NONE and self.hops == ("stack",):
            fill = self.costs.bare_stream_fill
        return 1e6 / slowest * fill

    def one_way_s(
        self, message_bytes: float, protocol: Protocol = Protocol.TCP, first_packet_services: int = 0
    ) -> float:
        """Undisturbed time from one application to the other, without wire and queues.

        first_packet_services: kube-proxy services that a connection's first packet passes before its own.
        """
        costs = self.costs
        packets = ceil(max(1.0, message_bytes) / self.payload_bytes(protocol))
        lone_s = sum(costs.one(name).lone_packet_s for name in self.hops)
        byte_s = (
            costs.copy_tx_byte_s
            + costs.copy_rx_byte_s
            + sum(costs.one(name).tx_byte_s + costs.one(name).rx_byte_s for name in self.hops)
        )
        slowest_s = max(
            sum(getattr(costs.one(name), f"{side}_packet_s") for name in self.hops) for side in ("tx", "rx")
        )
        return (
            lone_s
            + costs.idle_wake_s
            + self.rules * costs.rule_s
            + first_packet_services * costs.service_rule_s
            + message_bytes * byte_s
            + (packets - 1) * (0 if self.aggregates else slowest_s)
        )


def with_rules(path: DataPath, rules: int) -> DataPath:
    """The same path with a number of filter rules on it."""
    return DataPath(path.hops, path.header_bytes, path.mtu_bytes, path.costs, path.aggregates, rules, path.crosses_wire)


def total_lone_s(costs: PathCosts, hops: Sequence[str]) -> float:
    """One-way latency of a lone packet over hops."""
    return sum(costs.one(name).lone_packet_s for name in hops)
