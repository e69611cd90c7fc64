"""How objects are written down: JSON for users, protobuf for components and for etcd; what that costs, and gzip."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sim.apiserver.identity import Identity
from sim.base.spec import Spec, param

Encoding = Literal["json", "protobuf"]
LISTS = "our measurement: LISTs of 100 and 1,000 pods by one client, Kubernetes 1.20.2, 2-core AMD EPYC VM"


class EncodingSpec(Spec):
    """CPU seconds a byte on a core of speed 1. Sizes of objects as stored (protobuf) are `etcd.object_bytes`."""

    users: Encoding = param(
        "json", "what tenants' clients ask for and send", source="kubectl and dynamic clients: JSON"
    )
    components: Encoding = param(
        "protobuf",
        "what the control plane's and the nodes' clients ask for and send",
        source="Kubernetes 1.12 to 1.34 source, component defaults: application/vnd.kubernetes.protobuf",
    )
    json_ratio: float = param(1.62, "size of an object in JSON over that in protobuf", source=LISTS, ge=1, le=10)
    encode_json_byte_cpu_s: float = param(
        1.28e-8, "convert and write a byte of JSON", source=LISTS + "; less our estimate of gzip", ge=0, le=1e-5
    )
    encode_protobuf_byte_cpu_s: float = param(
        7.6e-9, "convert and write a byte of protobuf", source=LISTS + "; less our estimate of gzip", ge=0, le=1e-5
    )
    decode_json_byte_cpu_s: float = param(
        2.5e-8,
        "read and convert a byte of JSON",
        source="our estimate: twice as long as writing it",
        unverified=True,
        ge=0,
        le=1e-5,
    )
    decode_protobuf_byte_cpu_s: float = param(
        1.4e-8,
        "read and convert a byte of protobuf, from etcd or a client",
        source=LISTS + ", from etcd less from the cache",
        ge=0,
        le=1e-5,
    )
    gzip_threshold_bytes: int | None = param(
        131_072,
        "larger answers are compressed; null: none",
        source="Kubernetes 1.16 to 1.34 source: 128 KiB",
        ge=0,
        le=10**9,
    )
    gzip_byte_cpu_s: float = param(
        8.0e-9,
        "compress a byte",
        source="our estimate: 125 MB/s, Go's compress/gzip at level 4",
        unverified=True,
        ge=0,
        le=1e-5,
    )
    gzip_ratio: float = param(
        0.15,
        "size of a compressed answer over the plain one",
        source="our estimate: objects that are much alike",
        unverified=True,
        gt=0,
        le=1,
    )

    def of(self, user: Identity) -> Encoding:
        """What a user's client speaks."""
        return self.components if user.name.startswith("system:") else self.users

    def size_bytes(self, encoding: Encoding, stored_bytes: float) -> float:
        """Size in an encoding of what takes `stored_bytes` in etcd."""
        return stored_bytes * self.json_ratio if encoding == "json" else stored_bytes

    def decode_cpu_s(self, encoding: Encoding, size_bytes: float) -> float:
        """Read `size_bytes` that are written in an encoding."""
        return size_bytes * (self.decode_json_byte_cpu_s if encoding == "json" else self.decode_protobuf_byte_cpu_s)

    def encode_cpu_s(self, encoding: Encoding, size_bytes: float) -> float:
        """Write `size_bytes` in an encoding."""
        return size_bytes * (self.encode_json_byte_cpu_s if encoding == "json" else self.encode_protobuf_byte_cpu_s)

    def answer(self, encoding: Encoding, stored_bytes: float) -> Answer:
        """The body that carries objects of `stored_bytes`."""
        size = self.size_bytes(encoding, stored_bytes)
        cpu_s = self.encode_cpu_s(encoding, size)
        if self.gzip_threshold_bytes is not None and size > self.gzip_threshold_bytes:
            return Answer(cpu_s + size * self.gzip_byte_cpu_s, size * self.gzip_ratio, size)
        return Answer(cpu_s, size, size)


@dataclass(frozen=True, slots=True)
class Answer:
    """The body of an answer."""

    cpu_s: float
    """Core seconds to write it."""
    wire_bytes: float
    """What goes over the network."""
    plain_bytes: float
    """Before compression."""
