"""What one packet costs at each hop of a data path, and what a byte costs: the calibration as data.

A data path is a sequence of hops (`sim/network/cni/`), and its cost is the sum of theirs. Each hop's figures are
differences between measured paths, from single-stream measurements only: one TCP stream with offloads off (`tx`, `rx`:
processor time in a busy stream, where work is batched) and one-byte request/response (`lone`: the time that a single
packet takes through it, caches cold, nothing batched). Everything else this package says is predicted from them.
"""

from __future__ import annotations

from sim.base.rand import Dist, Quantiles
from sim.base.spec import Spec, param

BED = "our measurement: network namespaces, kernel 6.18, 2-core AMD EPYC VM"


class HopCost(Spec):
    """One hop: kernel work a packet on the sending and on the receiving host."""

    tx_packet_s: float = param(
        0.0, "processor time a packet on the sending host, in a busy stream", source=BED, ge=0, le=1
    )
    rx_packet_s: float = param(0.0, "the same on the receiving host", source=BED, ge=0, le=1)
    lone_packet_s: float = param(
        0.0, "latency a packet adds one way, both hosts together, when it comes alone", source=BED, ge=0, le=1
    )
    tx_byte_s: float = param(0.0, "processor time a byte on the sending host, beyond copying", ge=0, le=1e-3)
    rx_byte_s: float = param(0.0, "the same on the receiving host", ge=0, le=1e-3)


def _hop(
    tx_us: float, rx_us: float, lone_us: float, source: str, unverified: bool = False, **bytes_s: float
) -> HopCost:
    return param(
        HopCost(tx_packet_s=tx_us * 1e-6, rx_packet_s=rx_us * 1e-6, lone_packet_s=lone_us * 1e-6, **bytes_s),
        source,
        source=BED if not unverified else "",
        unverified=unverified,
    )


class PathCosts(Spec):
    """Every hop that a data path may be made of."""

    stack: HopCost = _hop(0.112, 0.505, 15.57, "sockets, TCP/IP and device of both hosts: the host network alone")
    veth_route: HopCost = _hop(
        0.848, 0.748, 2.88, "a veth pair and a route look-up and forward on each host: routed less host network"
    )
    conntrack: HopCost = _hop(
        0.583, 0.856, 1.79, "connection tracking and Felix's chains: routed with tracking less routed"
    )
    bridge: HopCost = _hop(0.575, 0.311, 1.68, "a Linux bridge with bridge-nf on each host: kubenet less routed")
    nat: HopCost = _hop(0.905, 0.858, 2.21, "address translation on each host: Docker's NAT less kubenet")
    ipip: HopCost = _hop(
        0.549, 0.246, 1.46, "IPIP header put on and off: IPIP less routed (an eBPF stand-in for the device)"
    )
    vxlan: HopCost = _hop(0.865, 0.998, 2.85, "VXLAN header put on and off: VXLAN less kubenet")
    tun: HopCost = _hop(
        9.469, 11.666, 16.97, "a user-space daemon between TUN device and UDP socket: flannel UDP less kubenet"
    )
    local: HopCost = _hop(1.602, 0.0, 1.07, "pod to pod on one node, beyond the stack: a veth pair and a bridge")
    wireguard: HopCost = _hop(
        1.0,
        1.0,
        8.0,
        "encryption and hand-over to worker threads; Calico 3.16 with WireGuard held 1.8 cores of the receiver at 4.9 Gbit/s "
        "(Kubernetes CNI benchmarks of 2020), the share a packet and the latency are our guess",
        unverified=True,
        tx_byte_s=2.6e-9,
        rx_byte_s=2.6e-9,
    )
    ovs: HopCost = _hop(
        2.2,
        2.3,
        3.5,
        "Open vSwitch flow look-up and VXLAN: Antrea took about 0.16 cores more than flannel at 9.8 Gbit/s with 8950-byte packets "
        "(Kubernetes CNI benchmarks of 2020); our split",
        unverified=True,
    )

    copy_tx_byte_s: float = param(
        0.325e-9,
        "copying and checksums a byte on the sending host",
        source=BED + "; half of the byte cost of both hosts",
        ge=0,
        le=1e-3,
    )
    copy_rx_byte_s: float = param(
        0.325e-9, "the same on the receiving host", source=BED + "; half of the byte cost of both hosts", ge=0, le=1e-3
    )
    datagram_tx_s: float = param(
        2.9e-6,
        "sending one UDP datagram from an application: system call and socket, beyond the stack's packet cost",
        source=BED + "; 3.07 us for a whole 16-byte send",
        ge=0,
        le=1,
    )
    datagram_rx_s: float = param(
        0.6e-6, "receiving one", source=BED + "; 64-byte datagrams at 20,000 a second", ge=0, le=1
    )
    aggregate_packets: float = param(
        45.0,
        "packets that segmentation offload and GRO carry as one where the path keeps them",
        source=BED + "; 64 KiB over a 1,448-byte segment",
        ge=1,
        le=128,
    )
    bare_stream_fill: float = param(
        0.77,
        "share of the busier core that one un-aggregated TCP stream fills on the bare host network; "
        "with any virtual hop it is 1",
        source=BED + "; why it is not full is not known",
        gt=0,
        le=1,
    )
    rule_s: float = param(4.12e-9, "one filter rule that a packet passes, iptables-legacy", source=BED, ge=0, le=1)
    nft_rule_s: float = param(
        6.27e-9, "one filter rule that a packet passes, nftables without sets", source=BED, ge=0, le=1
    )
    service_rule_s: float = param(
        5.87e-9,
        "one service that a connection's first packet passes in kube-proxy's iptables chain",
        source=BED,
        ge=0,
        le=1,
    )
    idle_wake_s: float = param(
        0.0,
        "added a hop to an idle host when its cores sleep; 28 us in one guest, 0 while they are kept awake",
        source=BED + "; latencies were taken with cores kept awake",
        ge=0,
        le=1,
    )
    jitter_s: Dist = param(
        Quantiles(values=(0, 0, 0, 0, 0, 0, 1.0e-6, 2.5e-6, 4.5e-6, 8.14e-6, 4.68e-5)),
        "what a round trip takes beyond its undisturbed time: timers, other work, the virtual machine",
        source=BED + "; host network request/response, medians of the runs: p90 8 us and p99 43 us above p50",
    )

    def one(self, name: str) -> HopCost:
        hop: HopCost = getattr(self, name)
        return hop
