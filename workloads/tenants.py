"""Who asks: tenants of very different sizes, and the namespaces they own."""

from __future__ import annotations

import numpy as np

from sim.base.errors import Problems, near_miss
from sim.base.rand import Streams
from sim.workload import Setting
from workloads.draws import pick


def zipf_weights(count: int, exponent: float) -> np.ndarray:
    """Shares (float64, sum 1) of `count` tenants by Zipf's law: the k-th largest has k ** -exponent of the first.

    exponent 0 makes all alike; about 1 is a few large tenants and thousands of small ones. Raises ValueError for a
    count below 1 or a negative exponent.
    """
    if count < 1 or not exponent >= 0:
        raise ValueError(f"needs at least one tenant and an exponent of 0 or more, not {count} and {exponent}")
    weights = np.arange(1, count + 1, dtype=np.float64) ** -exponent
    return weights / weights.sum()


def draw_tenants(setting: Setting, only: tuple[str, ...], streams: Streams, name: str, size: int) -> np.ndarray:
    """The tenant (int32 index into `setting.tenants`) of each of `size` applications, by the tenants' weights.

    only: names of the tenants that take part; empty = all.
    """
    weights = np.asarray(setting.tenant_weight, np.float64)
    if only:
        weights = np.where(np.isin(np.array(setting.tenants), only), weights, 0.0)
    return pick(weights, streams(f"{name}.tenant"), size).astype(np.int32)


def draw_namespaces(setting: Setting, tenant: np.ndarray, streams: Streams, name: str) -> tuple[np.ndarray, list[str]]:
    """(index of each application's namespace, all namespaces): evenly among those its tenant owns."""
    owned = np.array([len(names) for names in setting.namespaces], np.int64)
    first = np.concatenate([[0], np.cumsum(owned)[:-1]])
    chance = streams(f"{name}.namespace").random(len(tenant))
    index = first[tenant] + (chance * owned[tenant]).astype(np.int64)
    return index, [namespace for names in setting.namespaces for namespace in names]


def check_tenants(only: tuple[str, ...], setting: Setting, path: str, problems: Problems) -> None:
    """Report tenants that the scenario does not have, or that have no weight all together."""
    unknown = [(i, tenant) for i, tenant in enumerate(only) if tenant not in setting.tenants]
    for i, tenant in unknown:
        problems.add(f"{path}[{i}]", tenant, "is no tenant of the scenario", near_miss(tenant, setting.tenants))
    chosen = np.isin(np.array(setting.tenants), only or setting.tenants)
    if not unknown and not np.asarray(setting.tenant_weight)[chosen].sum() > 0:
        problems.add(path, list(only or setting.tenants), "have no weight: nothing would arrive for them")
