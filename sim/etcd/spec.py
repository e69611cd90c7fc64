"""Parameters of etcd. Costs are CPU seconds on a core of speed 1."""

from __future__ import annotations

from sim.base.spec import Spec, param

MEASURED = "our measurement of etcd 3.4.23, 2-core AMD EPYC VM"


class EtcdSpec(Spec):
    """A raft group: one leader, a write-ahead log with group commit, a quorum of members."""

    machines: tuple[str, ...] = param(("control-plane",), "one machine a member; the first leads at the start", min_length=1, max_length=9)
    put_cpu_s: float = param(6.0e-5, "leader's CPU for one put inside a batch", source=MEASURED + ", 8 clients against 1", ge=0, le=1)
    batch_cpu_s: float = param(3.0e-4, "leader's CPU for one batch, whatever its size: raft step, log write, apply, wake-ups",
                               source=MEASURED + ", 1 client", ge=0, le=1)
    follower_batch_cpu_s: float = param(2.0e-4, "a follower's CPU for one appended batch", source=MEASURED + ", 3 members", ge=0, le=1)
    range_cpu_s: float = param(3.0e-4, "one range of one key", source=MEASURED + ", through the API server", ge=0, le=1)
    member_rtt_s: float = param(2.0e-4, "round trip between members", source="etcd operations guide: same data centre", ge=0, le=10)
    max_batch: int = param(1000, "most entries in one log write", source="etcd raft: 1 MiB a message", ge=1, le=100_000)
