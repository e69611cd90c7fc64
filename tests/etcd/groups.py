"""Small groups to test with."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from sim.base.rand import Constant, Dist, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.etcd.spec import EtcdSpec
from sim.etcd.store import Etcd

FREE = {
    "wake_cpu_s": 0.0, "put_cpu_s": 0.0, "reply_cpu_s": 0.0, "batch_cpu_s": 0.0, "fsync_cpu_s": 0.0, "message_cpu_s": 0.0,
    "append_cpu_s": 0.0, "append_put_cpu_s": 0.0, "range_cpu_s": 0.0, "log_byte_s": 0.0, "member_rtt_s": 0.002,
    "backend_commit_s": Constant(value=0.0),
}
"""No CPU anywhere and 1 ms each way between members: what is left is disks and messages."""


def group(members: int = 3, fsync_s: list[float] | Dist | None = None, seed: int = 1, **fields: Any) -> tuple[Clock, Etcd]:
    """A group on machines of its own. fsync_s: one constant a member, or one distribution for all; default 4 ms each."""
    clock = Clock()
    machines = [Machine(clock, f"machine-{number}", "etcd", 8) for number in range(members)]
    if fsync_s is None:
        fsync_s = [0.004] * members
    disks = [Constant(value=value) for value in fsync_s] if isinstance(fsync_s, list) else [fsync_s] * members
    spec = EtcdSpec(machines=tuple(f"machine-{number}" for number in range(members)), **{**FREE, **fields})
    return clock, Etcd(clock, spec, machines, disks, Streams(seed))


def write_at(clock: Clock, etcd: Etcd, times_s: list[float], **how: Any) -> list[tuple[float, str]]:
    """Start a put at each time; the list fills with (end, answer), in the order of starting."""
    ends: list[tuple[float, str]] = [(-1.0, "not answered")] * len(times_s)

    def one(number: int) -> Generator[Any, Any, None]:
        answer = yield etcd.put(**how)
        ends[number] = (round(clock.now, 9), answer)

    for number, time_s in enumerate(times_s):
        clock.at(time_s, lambda _, number=number: clock.start(one(number)))
    return ends
