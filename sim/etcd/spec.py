"""Parameters of etcd. Costs are CPU seconds on a core of speed 1."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from sim.base.rand import Constant, Dist, Lognormal
from sim.base.spec import Spec, param

MAIN = "main"
"""Name of the group that stores what no other group does."""
MEASURED = "our measurement of etcd 3.4.23, 2-core AMD EPYC VM"
CONFIG = "etcd 3.4 to 3.6 source, server configuration defaults"
SERVER = "etcd 3.4 to 3.6 source, server"


class EtcdGroupSpec(Spec):
    """A raft group of its own for some resources, as `--etcd-servers-overrides` gives events theirs."""

    resources: tuple[str, ...] = param((), "resources that it stores, as in `events` or `coordination.k8s.io/leases`",
                                       min_length=1)
    machines: tuple[str, ...] = param((), "one machine a member; the first leads at the start", min_length=1, max_length=9)


class EtcdSpec(Spec):
    """A raft group: one leader, a write-ahead log with group commit, a quorum of members, a database.

    All groups of a cluster share these parameters; `groups` names those beside the main one.
    """

    machines: tuple[str, ...] = param(("control-plane",), "one machine a member; the first leads at the start",
                                      min_length=1, max_length=9)
    groups: dict[str, EtcdGroupSpec] = param({}, "groups beside the main one, by name")
    learners: int = param(0, "how many of the last members are learners: they store all and have no vote", ge=0, le=8)
    endpoint: Literal["leader", "all"] = param(
        "leader", "where clients connect: to the member that leads at the start, or to all in turn")
    messages: bool = param(
        False, "simulate each message between members also while all are healthy; needed where members share a "
        "machine, since the closed form knows of no contention between them")

    heartbeat_s: float = param(0.1, "a tick: the leader's heartbeat period", source=CONFIG, gt=0, le=60)
    election_s: float = param(1.0, "silence after which a member may stand for election; time-outs are drawn evenly "
                              "from one to two times this, in whole ticks", source=CONFIG, gt=0, le=50)
    pre_vote: bool = param(True, "a candidate asks whether it could win before it starts a term", source=CONFIG + "; off before 3.5")
    request_timeout_s: float = param(5.0, "the server gives a request up after this and two elections", source=SERVER, gt=0, le=3600)
    member_rtt_s: float = param(2.0e-4, "round trip between members", source="etcd operations guide: same data centre", ge=0, le=10)
    max_batch: int = param(1000, "most writes in one log write", source="etcd raft: 1 MiB a message", ge=1, le=100_000)
    snapshot_count: int = param(10_000, "entries after which the log is cut", source=CONFIG + "; 100,000 before 3.6", ge=1, le=10**8)
    catch_up_entries: int = param(5_000, "entries kept behind the cut for slow members", source=SERVER, ge=0, le=10**8)
    snapshot_bytes_per_s: float = param(1.25e8, "how fast a snapshot of the database is sent and loaded",
                                        source="our estimate: 1 Gbit/s", unverified=True, gt=0, le=1e12)

    object_bytes: dict[str, int] = param({"leases": 300, "pods": 4_000, "nodes": 15_000, "events": 800},
                                         "size of an object as stored, by resource",
                                         source="Kubernetes SIG Scalability: Leases 300 B, nodes 15 to 20 kB; pods 4 kB in a 2025 test; "
                                         "events: our estimate")
    usual_object_bytes: int = param(1_500, "size of an object of any other resource", source="our estimate", unverified=True,
                                    ge=0, le=1_500_000)
    max_request_bytes: int = param(1_572_864, "larger requests are refused", source=CONFIG, ge=1, le=10**9)
    quota_bytes: int = param(8 * 1024**3, "database size at which writes are refused until space is freed",
                             source="etcd operations guide: suggested maximum, usual in production; etcd's own default is 2 GiB",
                             ge=1, le=10**13)
    backend_period_s: float = param(0.1, "the database is committed to disk this often", source=SERVER, gt=0, le=60)
    backend_writes: int = param(10_000, "or after this many writes", source=SERVER, ge=1, le=10**8)
    backend_commit_s: Dist = param(Lognormal(median=0.0008, sigma=0.4, maximum=1.0), "time of one commit; nothing is applied meanwhile",
                                   source=MEASURED + ": mean 0.9 ms, one client")
    compaction_period_s: float = param(300.0, "the API server has old revisions removed this often",
                                       source="Kubernetes 1.20 to 1.34 source, API server defaults", gt=0, le=86400)
    compaction_batch: int = param(1000, "revisions removed at a time", source=SERVER, ge=1, le=10**6)
    compaction_pause_s: float = param(0.01, "pause between two batches", source=SERVER, ge=0, le=10)
    compact_revision_cpu_s: float = param(2.0e-6, "look at one old revision, under the database's lock",
                                          source="our estimate: a B+tree step", unverified=True, ge=0, le=0.1)
    defragment_period_s: float | None = param(None, "an operator has the database file rewritten this often; None: never", gt=0)
    defragment_bytes_per_s: float = param(1.0e8, "how fast the file is rewritten; the member serves nothing meanwhile",
                                          source="our estimate: sequential disk speed", unverified=True, gt=0, le=1e12)

    wake_cpu_s: float = param(6.4e-5, "wake a thread for a piece of work that none is free for: interrupt, scheduler",
                              source=MEASURED + ": system time, 1 client", ge=0, le=1)
    spin_s: float = param(0.0, "a thread without work looks for some this long before it sleeps; on few cores it is in others' way "
                          "(costs an event each time)", ge=0, le=1)
    cpu_factor: Dist = param(Constant(value=1.0), "factor on each piece of work, mean 1: garbage collection, caches, interrupts")
    put_cpu_s: float = param(3.4e-5, "take in one put: decode, check, propose", source=MEASURED + ", 1 client", ge=0, le=1)
    reply_cpu_s: float = param(3.4e-5, "apply one put and answer", source=MEASURED + ", 1 client", ge=0, le=1)
    batch_cpu_s: float = param(8.3e-5, "one log write, whatever its size: raft step, encode, system calls",
                               source=MEASURED + ", 1 client", ge=0, le=1)
    fsync_cpu_s: float = param(7.6e-5, "the CPU part of one fsync: system call, file system, block layer",
                               source=MEASURED + ", 1 client", ge=0, le=1)
    message_cpu_s: float = param(1.0e-5, "take in one small message of another member", source="our estimate", unverified=True, ge=0, le=1)
    append_cpu_s: float = param(8.1e-5, "a follower's CPU for one append: decode, log, apply, answer",
                                source=MEASURED + ", 3 members against 1", ge=0, le=1)
    append_put_cpu_s: float = param(1.0e-5, "and for each put in it", source="our estimate", unverified=True, ge=0, le=1)
    log_byte_s: float = param(8.0e-9, "longer fsync for each byte", source=MEASURED + ": bare fdatasync of 0.5 to 8 kB", ge=0, le=1e-3)
    range_cpu_s: float = param(6.7e-5, "one range of one key", source=MEASURED + ", 1 client: as a put's own work", ge=0, le=1)

    range_byte_cpu_s: float = param(4.5e-9, "and for each byte of a range over many keys",
                                    source="our measurement: LISTs of 100 and 1,000 pods by one client, Kubernetes 1.20.2", ge=0, le=1e-6)

    @model_validator(mode="after")
    def _consistent(self) -> EtcdSpec:
        for resource, size_bytes in self.object_bytes.items():
            if not 0 <= size_bytes <= self.max_request_bytes:
                raise ValueError(f"object_bytes of '{resource}' ({size_bytes}) must be from 0 to max_request_bytes "
                                 f"({self.max_request_bytes})")
        for size in (len(self.machines), *(len(group.machines) for group in self.groups.values())):
            if self.learners >= size:
                raise ValueError(f"a group of {size} members cannot have {self.learners} learners; at least one must vote")
        if self.election_s < 5 * self.heartbeat_s:
            raise ValueError(f"election_s ({self.election_s:g}) must be at least five heartbeats of "
                             f"{self.heartbeat_s:g} s, as etcd demands")
        taken: dict[str, str] = {}
        for name, group in self.groups.items():
            for resource in group.resources:
                if resource in taken:
                    raise ValueError(f"the resource '{resource}' is given to two groups, '{taken[resource]}' and '{name}'")
                taken[resource] = name
        return self

    @property
    def all_machines(self) -> tuple[str, ...]:
        """Machines of all groups."""
        return (*self.machines, *(machine for group in self.groups.values() for machine in group.machines))

    @property
    def election_ticks(self) -> int:
        """Election time-out in whole ticks."""
        return max(1, round(self.election_s / self.heartbeat_s))

    @property
    def timeout_s(self) -> float:
        """After this the server gives a request up."""
        return self.request_timeout_s + 2 * self.election_s

    def warnings(self) -> list[str]:
        """What is allowed but seldom meant, a sentence each."""
        found = []
        for name, machines in (("etcd", self.machines), *((f"etcd.groups.{key}", group.machines) for key, group in self.groups.items())):
            voters = len(machines) - self.learners
            if voters % 2 == 0:
                found.append(f"{name}.machines: {voters} voting members survive no more failures than {voters - 1} and make every "
                             f"write wait for one member more; use an odd number")
        return found
