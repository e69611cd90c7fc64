"""What is stored: how many objects of each resource there are and how large they are; one for all API servers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from math import ceil

from sim.apiserver.encoding import EncodingSpec
from sim.apiserver.identity import Identity
from sim.apiserver.request import ListOperation, Operation
from sim.etcd.router import EtcdRouter
from sim.etcd.store import Etcd


class Price:
    """What a request of one kind and user costs, apart from its way through authentication, seats and authorization."""

    __slots__ = ("cpu_s", "etcd", "put_bytes", "request_bytes", "wire_bytes")

    def __init__(self, cpu_s: float, etcd: Etcd, put_bytes: float, request_bytes: float, wire_bytes: float) -> None:
        self.cpu_s = cpu_s
        """Core seconds of the API server for one request, with decoding and encoding."""
        self.etcd = etcd
        """The group that stores the resource."""
        self.put_bytes = put_bytes
        """What one request writes."""
        self.request_bytes = request_bytes
        """Its body on the wire."""
        self.wire_bytes = wire_bytes
        """Its answer on the wire."""


class Storage:
    """The objects behind all API servers, counted by resource and namespace.

    nodes: number of nodes, which have an object and a lease each from the start.
    """

    def __init__(self, etcd: EtcdRouter, encoding: EncodingSpec, nodes: int = 0) -> None:
        self._etcd = etcd
        self.encoding = encoding
        self.nodes = nodes
        self._objects: dict[str, int] = defaultdict(int, {"nodes": nodes, "leases": nodes})
        self.on_added: dict[str, Callable[[int], None]] = {}
        """By resource, called with how many objects more there are."""
        self._in_namespace: dict[tuple[str, str], int] = defaultdict(int)

    def of(self, resource: str) -> Etcd:
        """The etcd group of a resource."""
        return self._etcd.of(resource)

    def object_bytes(self, resource: str) -> int:
        """Size of an object as stored."""
        return self._etcd.object_bytes(resource)

    def add(self, resource: str, namespace: str, count: int) -> None:
        """`count` objects more are stored than before; negative: fewer."""
        self._objects[resource] += count
        if resource in self.on_added:
            self.on_added[resource](count)
        if namespace:
            self._in_namespace[resource, namespace] += count

    def objects(self, resource: str, namespace: str = "") -> int:
        """How many objects there are, in a namespace or in all."""
        return max(0, self._in_namespace[resource, namespace] if namespace else self._objects[resource])

    def listed(self, operation: ListOperation, namespace: str) -> int:
        """How many objects one request of a LIST returns; pages are alike, so that all together are exact on average."""
        if operation.selects == "one":
            return 1
        found = self.objects(operation.resource, namespace if operation.scope == "namespace" else "")
        if operation.selects == "of-a-node":
            return ceil(found / self.nodes) if self.nodes else found
        return ceil(found / self.pages(operation, namespace))

    def pages(self, operation: ListOperation, namespace: str) -> int:
        """How many requests a LIST takes."""
        if not operation.limit or operation.version != "newest":
            return 1  # the cache gives all at once, whatever the limit
        found = self.objects(operation.resource, namespace if operation.scope == "namespace" else "")
        return max(1, ceil(found / operation.limit))

    def price(self, operation: Operation, user: Identity, own_cpu_s: float) -> Price:
        """own_cpu_s: what the request costs besides decoding and encoding."""
        encoding, stored = self.encoding, self.object_bytes(operation.resource)
        spoken = encoding.of(user)
        body = encoding.size_bytes(spoken, operation.body * stored)
        answer = encoding.answer(spoken, 0.0 if operation.verb == "LIST" else operation.share * stored)
        cpu_s = (
            own_cpu_s
            + encoding.decode_cpu_s(spoken, body)
            + encoding.decode_cpu_s("protobuf", operation.reads * stored)
            + encoding.encode_cpu_s("protobuf", operation.writes * stored)
            + answer.cpu_s
        )
        return Price(cpu_s, self.of(operation.resource), operation.writes * stored, body, answer.wire_bytes)
