"""Keys and certificates: what signing and checking cost, and how long the chains are.

Order of size of the costs: Go 1.19's crypto benchmarks on a recent x86 core, remembered; OpenSSL 3.0 on a 2-core AMD EPYC
signs RSA-2048 in 0.21 ms and checks in 13 us, RSA-4096 in 3.2 ms and 48 us, ECDSA P-256 in 15 us and 43 us (our measurement),
with vector instructions that Go does not use for RSA.
"""

from __future__ import annotations

from typing import Any

from pydantic import field_validator

from sim.base.errors import Problems, near_miss
from sim.base.fields import Named
from sim.base.spec import Spec, param

GO = "Go 1.19 crypto benchmarks, order of size; OpenSSL 3.0, our measurement, is up to six times as fast for RSA"


class KeySpec(Spec):
    """One kind of key pair."""

    sign_cpu_s: float = param(..., "one signature with the private key", source=GO, unverified=True, ge=0, le=1)
    verify_cpu_s: float = param(..., "check of one signature", source=GO, unverified=True, ge=0, le=1)


KEYS = {
    "rsa-2048": KeySpec(sign_cpu_s=1.3e-3, verify_cpu_s=3.5e-5),
    "rsa-4096": KeySpec(sign_cpu_s=7.5e-3, verify_cpu_s=1.1e-4),
    "ecdsa-p256": KeySpec(sign_cpu_s=2.0e-5, verify_cpu_s=6.0e-5),
}


class PkiSpec(Spec):
    """The cluster's public-key infrastructure."""

    keys: Named[KeySpec] = param(KEYS, "kinds of keys by name; they come beside the usual ones")
    server_key: str = param("rsa-2048", "the API server's own key", source="kubeadm's default")
    client_key: str = param("rsa-2048", "keys of client certificates", source="kubeadm's default")
    authority_key: str = param("rsa-2048", "keys of the certificate authorities", source="kubeadm's default")
    server_chain: int = param(
        1, "signatures that a client checks in the server's chain: 1 signed by the root, 2 with one intermediate, …",
        source="kubeadm: one authority, no intermediates", ge=0, le=10,
    )  # fmt: skip
    client_chain: int = param(
        1, "signatures that the server checks in a client's chain: 0 the certificate itself is trusted (self-signed), "
        "1 signed by a root it trusts, 2 with one intermediate, …", source="kubeadm: one authority, no intermediates",
        ge=0, le=10,
    )  # fmt: skip

    @field_validator("keys", mode="before")
    @classmethod
    def _beside_the_usual(cls, value: Any) -> Any:
        return {**KEYS, **value} if isinstance(value, dict) else value

    def check(self, path: str, problems: Problems) -> None:
        """Add the keys that are none of `keys`."""
        for field in ("server_key", "client_key", "authority_key"):
            name = getattr(self, field)
            if name not in self.keys:
                problems.add(f"{path}.{field}", name, "is no kind of key", near_miss(name, self.keys))

    @property
    def server(self) -> KeySpec:
        return self.keys[self.server_key]

    @property
    def client(self) -> KeySpec:
        return self.keys[self.client_key]

    @property
    def authority(self) -> KeySpec:
        return self.keys[self.authority_key]
