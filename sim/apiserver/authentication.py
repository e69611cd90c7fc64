"""Who is asking: the cost of proving it. Identities of components and tenants' users are always valid here."""

from __future__ import annotations

from sim.apiserver.spec import AuthenticationSpec


def request_cpu_s(spec: AuthenticationSpec) -> float:
    """CPU seconds to authenticate one request on an open connection."""
    return spec.token_cpu_s if spec.method == "token" else spec.certificate_cpu_s
