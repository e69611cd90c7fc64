"""Parameters of the network."""

from __future__ import annotations

from functools import cache
from ipaddress import IPv4Network
from typing import Annotated, Any

from pydantic import AfterValidator

from sim.base.errors import Problems
from sim.base.fields import Named
from sim.base.spec import Choice, Spec, param
from sim.network.addresses import overlapping, subnets_in
from sim.network.cni import CNI, CniSpec
from sim.network.cni.catalog import Addressing
from sim.network.cni_config import NetworkConfiguration
from sim.network.control_traffic_spec import ControlTrafficSpec
from sim.network.costs import PathCosts
from sim.network.routes.bgp import BgpSpec
from sim.network.routes.felix import FelixSpec
from sim.network.routes.kube_proxy import KubeProxySpec
from sim.network.routes.leases import LeaseSpec
from sim.network.topology import UnderlaySpec
from sim.network.traffic import TRAFFIC, TrafficSpec


def _ipv4_network(text: str) -> str:
    try:
        return str(IPv4Network(text))
    except ValueError:
        raise ValueError("must be an IPv4 network such as 10.0.0.0/8, without host bits") from None


NetworkText = Annotated[str, AfterValidator(_ipv4_network)]


@cache
def _network(text: str) -> IPv4Network:
    """Asked for at every pod, and the same each time."""
    return IPv4Network(text)


class NetworkSpec(Spec):
    """How nodes are connected, which plug-in connects pods to them, and how the others learn of it."""

    cni: Annotated[CniSpec, Choice(CNI)] = param(
        "bridge", "the network plug-in: how pods are attached and what their packets cost"
    )
    cni_conf: str = param(
        "",
        "a CNI configuration file (.conf, .conflist) of a node: its ranges, MTU and chained plug-ins are used; empty: none",
    )
    pod_range: NetworkText = param("10.0.0.0/8", "addresses of all pods")
    service_range: NetworkText = param("172.20.0.0/16", "virtual addresses of services")
    host_range: NetworkText = param("100.64.0.0/10", "addresses of the nodes")
    node_prefix: int = param(
        24,
        "length of a node's subnet, where each node has one",
        source="flannel and kube-controller-manager: /24 a node",
        ge=8,
        le=30,
    )
    nic_bytes_per_s: float = param(
        1.25e9,
        "what one node's interface receives or sends (10 Gbit/s)",
        source="Kubernetes CNI benchmarks of 2020 ran on 10 Gbit/s",
        gt=0,
        le=1e12,
    )
    underlay: UnderlaySpec = UnderlaySpec()
    costs: PathCosts = PathCosts()
    control_traffic: ControlTrafficSpec = ControlTrafficSpec()
    bgp: BgpSpec = BgpSpec()
    felix: FelixSpec = FelixSpec()
    lease: LeaseSpec = LeaseSpec()
    kube_proxy: KubeProxySpec = KubeProxySpec()
    traffic: Named[Annotated[TrafficSpec, Choice(TRAFFIC)]] = param(
        {}, "traffic between pods by name: played between the pods of a run, and by `kubedes network compare`"
    )
    cloud_route_period_s: float = param(
        10.0,
        "the cloud's route controller looks this often",
        source="Kubernetes 1.20, kube-controller-manager: route reconciliation period",
        gt=0,
        le=86400,
    )
    policies: int = param(0, "network policies whose address sets select every pod", ge=0, le=100_000)
    retry_s: float = param(
        10.0,
        "a pod whose sandbox failed for want of an address is tried again after this",
        source="Kubernetes 1.20 source, kubelet back-off of pod workers",
        gt=0,
        le=3600,
    )

    @property
    def pods(self) -> IPv4Network:
        return _network(self.pod_range)

    def check(self, path: str, nodes: int, problems: Problems) -> None:
        """Add what cannot be on a cluster of `nodes` nodes."""
        named = [(name, IPv4Network(getattr(self, name))) for name in ("pod_range", "service_range", "host_range")]
        for first, second in overlapping(named):
            problems.add(
                f"{path}.{first}",
                getattr(self, first),
                f"overlaps {second} ({getattr(self, second)})",
                "a packet's way would depend on who looks; give each its own range",
            )
        hosts = IPv4Network(self.host_range)
        if nodes > hosts.num_addresses - 2:
            problems.add(
                f"{path}.host_range",
                self.host_range,
                f"has {hosts.num_addresses - 2:,} addresses for {nodes:,} nodes",
                "take a shorter prefix",
            )
        addressing = self.cni.features.addressing
        if addressing is Addressing.NODE_SUBNET and not self.cni_conf:
            fitting = subnets_in(self.pods, self.node_prefix)
            if nodes > fitting:
                problems.add(
                    f"{path}.pod_range",
                    self.pod_range,
                    f"has {fitting:,} subnets of /{self.node_prefix} for {nodes:,} nodes",
                    "take a larger range or a longer node_prefix",
                )
        if addressing is Addressing.BLOCKS:
            prefix = int(getattr(self.cni, "block_prefix", 26))
            if subnets_in(self.pods, prefix) == 0:
                problems.add(
                    f"{path}.pod_range",
                    self.pod_range,
                    f"is smaller than one block of /{prefix}",
                    "take a shorter prefix",
                )
        self._check_mtu(path, problems)

    def check_configuration(self, path: str, configuration: NetworkConfiguration, problems: Problems) -> None:
        """Add what a node's CNI configuration says that cannot be on this network."""
        others = [(name, IPv4Network(getattr(self, name))) for name in ("service_range", "host_range")]
        for subnet in configuration.subnets:
            for name, other in others:
                if subnet.overlaps(other):
                    problems.add(
                        f"{path}: ipam",
                        str(subnet),
                        f"overlaps {name} ({other})",
                        "a packet's way would depend on who looks; give each its own range",
                    )
        largest = self.underlay.mtu_bytes - self.cni.features.header_bytes
        if configuration.mtu_bytes is not None and configuration.mtu_bytes > largest:
            problems.add(
                f"{path}: mtu",
                configuration.mtu_bytes,
                f"is more than the underlay's {self.underlay.mtu_bytes} less a header of {self.cni.features.header_bytes} bytes",
                f"at most {largest}; larger packets would be dropped or fragmented",
            )

    def _check_mtu(self, path: str, problems: Problems) -> None:
        header, underlay = self.cni.features.header_bytes, self.underlay.mtu_bytes
        given = self.cni.mtu_bytes
        if given is not None and given > underlay - header:
            problems.add(
                f"{path}.cni.mtu_bytes",
                given,
                f"is more than the underlay's {underlay} less a header of {header} bytes",
                f"at most {underlay - header}; larger packets would be dropped or fragmented",
            )
        if underlay - header < 576:
            problems.add(
                f"{path}.underlay.mtu_bytes",
                underlay,
                f"leaves less than 576 bytes after a header of {header}",
                "take a larger MTU",
            )

    def summary(self) -> dict[str, Any]:
        """What the plug-in makes of a packet, for tables."""
        features = self.cni.features
        return {
            "header_bytes": features.header_bytes,
            "mtu_bytes": self.cni.mtu(self.underlay.mtu_bytes),
            "hops": " > ".join(features.hops),
        }
