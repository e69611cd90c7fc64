"""Which methods are on, and which of them each kind of user proves itself by."""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from pydantic import model_validator

from sim.apiserver.authentication.catalog import AUTHENTICATORS, MethodSpec
from sim.apiserver.identity import MASTERS, Identity
from sim.apiserver.pki import PkiSpec
from sim.base.errors import Problems, near_miss
from sim.base.fields import Named
from sim.base.spec import Choice, Spec, param

COSTS = ("_cpu_s", "reads")
"""Ends of the names of parameters that say what something costs: presets and calibrations may set them for what is off."""
LOOPBACK = "loopback"
"""How the API server knows itself: a token of its own, without cost."""


def with_types(data: Any, default_modes: Collection[str]) -> Any:
    """The `methods` of `data`, each named after its type, and with one for each mode that has none."""
    if not isinstance(data, dict):
        return data
    methods = data.get("methods") or {}
    modes = data.get("modes", default_modes)
    if not isinstance(methods, dict) or not isinstance(modes, list | tuple):
        return data
    named = {
        name: {"type": name, **item} if isinstance(item, dict) else item
        for name, item in methods.items()
        if item is not None
    }
    return {**data, "methods": {**named, **{mode: {"type": mode} for mode in modes if mode not in named}}}


def refuse_unused(path: str, spec: Spec, modes: Collection[str], problems: Problems) -> None:
    """Add parameters, other than costs, that are given for a method that is off."""
    for name, field in type(spec).model_fields.items():
        value = getattr(spec, name)
        if not name.endswith(COSTS) and value != field.get_default(call_default_factory=True):
            problems.add(f"{path}.{name}", value, "does nothing: the method is off", f"modes: {', '.join(modes)}")


class AuthenticationSpec(Spec):
    """Proof of identity: methods, and who uses which."""

    modes: tuple[str, ...] = param(
        ("x509", "service-account", "bootstrap-token"),
        "methods that are on; they are asked in the API server's own order", source="kubeadm's defaults",
    )  # fmt: skip
    methods: Named[Annotated[MethodSpec, Choice(AUTHENTICATORS, named_by_key=True)]] = param(
        {}, "parameters of methods by name"
    )
    components: str = param(
        "x509", "how scheduler, controller manager and other components prove themselves", source="kubeadm"
    )
    controllers: str = param(
        "service-account", "how each controller proves itself", source="kubeadm: --use-service-account-credentials"
    )
    nodes: str = param("x509", "how kubelets prove themselves", source="kubeadm")
    tenants: str = param("x509", "how tenants' users prove themselves")
    users: Named[str] = param({}, "single users by name whose method differs: {tenant-3: oidc}")
    token_success_s: float = param(
        10.0, "a bearer token that was accepted is taken for good so long",
        source="Kubernetes 1.20 source, authentication options", ge=0, le=1e6,
    )  # fmt: skip
    token_failure_s: float = param(
        0.0, "and one that was refused for bad", source="Kubernetes 1.20 source, authentication options", ge=0, le=1e6
    )
    token_cache_cpu_s: float = param(
        3.0e-6, "digest a bearer token and look it up among those", source="our estimate", unverified=True, ge=0, le=0.1
    )

    @model_validator(mode="before")
    @classmethod
    def _every_mode_has_a_method(cls, data: Any) -> Any:
        return with_types(data, cls.model_fields["modes"].default)

    def method_of(self, user: Identity) -> str:
        """The method by which a user proves itself."""
        if user.credential:
            return user.credential
        if MASTERS in user.groups and user.name == "system:apiserver":
            return LOOPBACK
        if user.name in self.users:
            return self.users[user.name]
        if user.is_node:
            return self.nodes
        if user.service_account is not None:
            return self.controllers
        return self.components if user.name.startswith("system:") else self.tenants

    def by_certificate(self, user: Identity) -> bool:
        """Whether a user proves itself by a client certificate."""
        method = self.methods.get(self.method_of(user))
        return method is not None and not method.bearer

    def check(self, path: str, pki: PkiSpec, users: Collection[str], problems: Problems) -> None:
        """Add what does not go together. users: names of components and tenants."""
        if len(set(self.modes)) < len(self.modes):
            problems.add(f"{path}.modes", list(self.modes), "name a method twice")
        for field in ("components", "controllers", "nodes", "tenants"):
            self._check_use(f"{path}.{field}", getattr(self, field), problems)
        for name, method in self.users.items():
            if name not in users:
                problems.add(f"{path}.users", name, "is neither a component nor a tenant", near_miss(name, users))
            self._check_use(f"{path}.users.{name}", method, problems)
        for name, spec in self.methods.items():
            if name in self.modes:
                spec.check(f"{path}.methods.{name}", pki, problems)
            else:
                refuse_unused(f"{path}.methods.{name}", spec, self.modes, problems)
        if self.nodes in self.methods and self.methods[self.nodes].remote:
            rule = "asks a remote server for each of thousands of tokens, which is not simulated for nodes"
            problems.add(f"{path}.nodes", self.nodes, rule, "x509, as every real cluster has it")

    def _check_use(self, path: str, method: str, problems: Problems) -> None:
        if method not in self.modes:
            problems.add(path, method, "is not among the methods that are on", near_miss(method, self.modes))
