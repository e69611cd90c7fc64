"""Wires the control plane's traffic onto the underlay: who stands where, what sends how much to whom, and who waits for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import cycle
from typing import TYPE_CHECKING

from simpy.events import Event

from sim.apiserver.identity import Identity
from sim.apiserver.wire_bytes import WireBytes
from sim.etcd.router import EtcdRouter
from sim.network import ipam_store
from sim.network.control_traffic import NODES, ControlTraffic, Way

if TYPE_CHECKING:
    from sim.simulate import Cluster


class ControlNetwork:
    """One cluster's. Machines are the underlay's last hosts, behind the nodes and the registry's servers."""

    def __init__(self, cluster: Cluster) -> None:
        scenario = cluster.scenario
        zones = [node.zone for node in cluster.nodes]
        servers = scenario.registry.servers(len(zones))
        places = {name: len(zones) + len(servers) + number for number, name in enumerate(scenario.machines)}
        spec = scenario.network.control_traffic
        self.traffic = ControlTraffic(cluster.clock, spec, cluster.fabric.underlay, len(zones), places, cluster.fabric)
        self._api, self._members = scenario.apiserver.machine, scenario.etcd.machines
        self._lists = [
            (machine, api.lists) for machine, api in zip(scenario.apiserver.machine_names, cluster.apis, strict=True)
        ]
        self._nodes = cycle(range(len(zones)))
        for machine, lists in self._lists:
            lists.transfer = partial(self._answer, machine)
        self._place_of_component = {
            "kube-scheduler": scenario.scheduler.machine,
            "kube-controller-manager": scenario.controllers.machine,
        }
        self._object_bytes = EtcdRouter(cluster.etcd_groups, scenario.etcd).object_bytes
        self._requests = WireBytes(cluster.requests, self._object_bytes, spec.headers_bytes)
        self._watch = cluster.watch
        self._watched: dict[str, int] = {}
        """Events by resource that are counted already."""
        self._clients = cluster.clients
        self._places = {place: self._at(place) for place in (NODES, *self._place_of_component.values())}
        self.traffic.count(self._sent)
        self.traffic.listen(Way(self._api, NODES), self._watch.set_network)
        for place in self._places:
            self.traffic.listen(Way(place, self._api), lambda _, place=place: self._tell_clients(place))  # type: ignore[misc]
        if len(self._members) > 1:
            replication = Way(self._members[0], self._members[1])
            idle_s = self.traffic.one_way_s(replication)  # within `etcd.member_rtt_s`
            self.traffic.listen(replication, lambda one_way_s: cluster.etcd.set_waiting(max(0.0, one_way_s - idle_s)))

    def place_of(self, user: str) -> str:
        """Where a client runs. Tenants' clients are taken to be as near as nodes."""
        if user == ipam_store.ACCOUNT.name:
            return NODES
        if user.startswith("system:serviceaccount:kube-system:"):
            return self._place_of_component["kube-controller-manager"]
        return self._place_of_component.get(user.removeprefix("system:"), NODES)

    def _at(self, place: str) -> list[int]:
        return [number for number, client in enumerate(self._clients) if self.place_of(client.user.name) == place]

    def _tell_clients(self, place: str) -> None:
        round_trip_s = self.traffic.round_trip_s(Way(place, self._api))
        for number in self._places[place]:
            self._clients[number].network_s = round_trip_s

    def _answer(self, machine: str, user: Identity, size_bytes: float) -> Event | None:
        """An answer to a LIST leaves an API server. Nodes are taken in turn."""
        place = self.place_of(user.name)
        return self.traffic.transfer(machine, next(self._nodes) if place == NODES else place, size_bytes)

    def _sent(self) -> Iterator[tuple[Way, float]]:
        by_client, stored = self._requests.new()
        for client, (up, down) in by_client.items():
            place = self.place_of(client)
            yield Way(place, self._api), up
            yield Way(self._api, place), down
        leader = self._members[0]
        yield Way(self._api, leader), stored
        for machine, lists in self._lists:
            for user, size_bytes in lists.small_bytes.items():
                yield Way(machine, self.place_of(user)), size_bytes
            lists.small_bytes.clear()
        for follower in self._members[1:]:
            yield Way(leader, follower), stored
        for resource, watchers, total in self._watch.sent():
            # Each event is taken to go to all who watch the resource; a selector spares kubelets some.
            size_bytes = (total - self._watched.get(resource, 0)) * self._object_bytes(resource)
            self._watched[resource] = total
            for watcher in watchers:
                yield Way(self._api, self.place_of(watcher)), size_bytes / len(watchers)
