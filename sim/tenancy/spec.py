"""Parameters of the tenants: how many, how unequal, what each may use."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Annotated

from pydantic import AfterValidator

from sim.base.errors import Problems, near_miss
from sim.base.fields import Named, QuantityText
from sim.base.spec import Spec, param
from sim.base.units import parse_amount, parse_quantity
from sim.state.names import is_extended_resource

QUOTA_KEYS = ("pods", "count/pods", "cpu", "memory", "requests.cpu", "requests.memory")
"""What a quota may limit, besides `requests.<extended resource>`."""


def _quota_key(text: str) -> str:
    if text not in QUOTA_KEYS and not is_extended_resource(text.removeprefix("requests.")):
        raise ValueError(f"is nothing that a quota limits here; {near_miss(text, QUOTA_KEYS)}")
    return text


def _whole_counts(hard: dict[str, str]) -> dict[str, str]:
    for name, text in hard.items():
        if name not in ("cpu", "requests.cpu") and parse_quantity(text).denominator != 1:
            raise ValueError(f"'{name}' must be a whole number, not {text}")
    return hard


Hard = Annotated[dict[Annotated[str, AfterValidator(_quota_key)], QuantityText], AfterValidator(_whole_counts)]
"""Hard limits as a v1 ResourceQuota says them."""


class TenantSpec(Spec):
    """What one tenant has apart from the others."""

    weight: float | None = param(
        None, "share of arrivals relative to the other tenants, the first by Zipf having 1; null: by Zipf", ge=0
    )
    namespaces: int | None = param(None, "its namespaces; null: as every tenant", ge=1, le=10_000)
    leaves_at_s: float | None = param(
        None, "its namespaces are deleted at this time, with everything in them; null: it stays", ge=0, le=1e9
    )
    quota: Hard | None = param(None, "its quota, in place of every tenant's; {}: none; null: as every tenant")


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant as the simulation meets it."""

    name: str
    namespaces: tuple[str, ...]
    share: float
    """Of all arrivals; the tenants' shares sum to 1."""
    leaves_at_s: float
    """When its namespaces are deleted; inf: never."""
    hard: dict[str, int]
    """Hard limits of each of its namespaces in base units (cpu in millicores); empty: no quota."""


class TenantsSpec(Spec):
    """Tenants `tenant-1`, `tenant-2`, …; the first is the largest."""

    count: int = param(1, "tenants", ge=1, le=1_000_000)
    zipf_exponent: float = param(
        1.0,
        "tenant k asks for a share in proportion to 1/k^exponent; 0: all alike",
        source="our choice; public clouds have few large and very many small tenants",
        ge=0,
        le=10,
    )
    namespaces_per_tenant: int = param(1, "namespaces of each tenant", ge=1, le=10_000)
    quota: Hard = param({}, "hard limits of each namespace, as a v1 ResourceQuota says them; empty: no quota")
    overrides: Named[TenantSpec] = param({}, "tenants by name that differ from the others")

    def names(self) -> tuple[str, ...]:
        """Every tenant's name."""
        return tuple(map(self._name, range(self.count)))

    def build(self) -> tuple[Tenant, ...]:
        """Every tenant, the largest by Zipf first."""
        weights = [(rank + 1) ** -self.zipf_exponent for rank in range(self.count)]
        own = [self.overrides.get(self._name(rank), TenantSpec()) for rank in range(self.count)]
        weights = [zipf if one.weight is None else one.weight for zipf, one in zip(weights, own, strict=True)]
        total = sum(weights)
        return tuple(
            Tenant(
                self._name(rank),
                self._namespaces(rank, one.namespaces or self.namespaces_per_tenant),
                weight / total,
                inf if one.leaves_at_s is None else one.leaves_at_s,
                _amounts(self.quota if one.quota is None else one.quota),
            )
            for rank, (one, weight) in enumerate(zip(own, weights, strict=True))
        )

    def check(self, path: str, problems: Problems) -> None:
        """Add what does not go together."""
        for name in self.overrides:
            prefix, _, number = name.rpartition("-")
            if prefix != "tenant" or not (number.isdecimal() and 1 <= int(number) <= self.count):
                problems.add(
                    f"{path}.overrides", name, "is no tenant", f"tenants are named tenant-1 to tenant-{self.count}"
                )
        if not sum(tenant.weight is None or tenant.weight > 0 for tenant in self._own()):
            problems.add(f"{path}.overrides", 0, "leave no tenant with a weight above 0")

    def _own(self) -> list[TenantSpec]:
        return [self.overrides.get(self._name(rank), TenantSpec()) for rank in range(self.count)]

    @staticmethod
    def _name(rank: int) -> str:
        return f"tenant-{rank + 1}"

    def _namespaces(self, rank: int, count: int) -> tuple[str, ...]:
        name = self._name(rank)
        return (name,) if count == 1 else tuple(f"{name}-{index + 1}" for index in range(count))


def _amounts(hard: dict[str, str]) -> dict[str, int]:
    return {name: parse_amount(name.removeprefix("requests."), text) for name, text in hard.items()}
