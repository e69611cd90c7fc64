"""A tiny cluster whose every duration is a round constant, so that timestamps can be derived by hand."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from sim.scenario import Scenario
from sim.state.objects import Container, PodSpec
from sim.workload import AppKind, Load

MS = 0.001

EXACT = {
    "name": "exact",
    "kubernetes": "1.34",
    "horizon_s": 60,
    "warm_up_s": 0,
    "nodes": {"pools": {"general": {"count": 1, "cores": 1000}}},
    "machines": {"control-plane": {"cores": 1000, "fsync_s": 2 * MS}},
    "apiserver": {
        "create_cpu_s": 10 * MS,
        "get_cpu_s": 2 * MS,
        "patch_cpu_s": 5 * MS,
        "bind_cpu_s": 8 * MS,
        "delete_cpu_s": 6 * MS,
        "lease_cpu_s": 0,
        "watch_event_cpu_s": 1 * MS,
        "watch_latency_s": 0.5 * MS,
        "watch": {"bookmark_period_s": 3600, "timeout_least_s": 86400},
        "encoding": {
            "encode_json_byte_cpu_s": 0,
            "encode_protobuf_byte_cpu_s": 0,
            "decode_json_byte_cpu_s": 0,
            "decode_protobuf_byte_cpu_s": 0,
        },
        "pki": {"keys": {"free": {"sign_cpu_s": 0, "verify_cpu_s": 0}}, "authority_key": "free"},
        "authentication": {
            "token_cache_cpu_s": 0,
            "methods": {
                "x509": {"chain_cpu_s": 0},
                "service-account": {"key": "free", "decode_cpu_s": 0, "refuse_cpu_s": 0, "lookup_cpu_s": 0},
            },
        },
        "authorization": {"methods": {"node": {"rule_cpu_s": 0}, "rbac": {"binding_cpu_s": 0, "subject_cpu_s": 0, "rule_cpu_s": 0}}},
    },
    "etcd": {
        "batch_cpu_s": 1 * MS,
        "put_cpu_s": 0.5 * MS,
        "range_cpu_s": 3 * MS,
        "wake_cpu_s": 0,
        "spin_s": 0,
        "reply_cpu_s": 0,
        "fsync_cpu_s": 0,
        "log_byte_s": 0,
        "backend_commit_s": 0,
    },
    "scheduler": {
        "cycle_cpu_s": 4 * MS,
        "filter_cpu_s": 0,
        "score_cpu_s": 0,
        "dry_run_cpu_s": 0,
        "bind_cpu_s": 0,
        "qps": 1000,
        "burst": 1000,
    },
    "kubelet": {
        "qps": 1000,
        "burst": 1000,
        "events_per_start": 0,
        "dispatch_cpu_s": 1 * MS,
        "sync_cpu_s": 5 * MS,
        "volume_poll_s": 300 * MS,
        "lease_period_s": 3600,
        "node_status_period_s": 3600,
        "node_status_report_s": 3600,
        "kill_s": 400 * MS,
    },
    "runtime": {
        "type": "containerd",
        "sandbox_cpu_s": 20 * MS,
        "sandbox_wait_s": 80 * MS,
        "container_cpu_s": 30 * MS,
        "container_wait_s": 70 * MS,
        "list_cpu_s": 0,
        "status_cpu_s": 0,
    },
    "network": {"cni": {"type": "bridge"}, "nic_bytes_per_s": 1e8},
    "images": {"app": {"size_bytes": 50_000_000}},
    "registry": {"bandwidth_bytes_per_s": 2e8, "request_s": 50 * MS, "unpack_bytes_per_s": 1e9},
    "tenants": {"count": 1},
    "workload": {"type": "poisson", "rate_per_s": 1},
}
"""The workload here is only a stand-in: every test brings its own load."""


def exact(**sets: object) -> Scenario:
    """The tiny cluster; `sets` are dotted paths with `__` for the dots."""
    return Scenario.model_validate(EXACT).replace({path.replace("__", "."): value for path, value in sets.items()})


def load_of(
    *apps: tuple[float, AppKind, int],
    duration_s: float = inf,
    end_s: float = inf,
    cpu_millicores: int = 100,
    images: Sequence[str] = ("app",),
    parallelism: int | None = None,
    priority: Sequence[int] = (),
) -> Load:
    """A load of applications (time_s, kind, pods); one container an image."""
    priorities = list(priority) or [0] * len(apps)
    distinct = sorted(set(priorities))
    specs = tuple(
        PodSpec(
            namespace="tenant-1",
            priority=level,
            containers=tuple(
                Container(name=f"c{i}", image=image, requests=(("cpu", cpu_millicores),))
                for i, image in enumerate(images)
            ),
        )
        for level in distinct
    )
    pods = np.array([count for _, _, count in apps], np.int32)
    return Load(
        templates=specs,
        tenants=("tenant-1",),
        app_time_s=np.array([time for time, _, _ in apps], float),
        app_end_s=np.full(len(apps), end_s),
        app_kind=np.array([kind for _, kind, _ in apps], np.int8),
        app_template=np.array([distinct.index(level) for level in priorities], np.int32),
        app_tenant=np.zeros(len(apps), np.int32),
        app_pods=pods,
        app_parallelism=pods if parallelism is None else np.full(len(apps), parallelism, np.int32),
        pod_duration_s=np.full(int(pods.sum()), duration_s),
    )
