"""etcd: one leader, a write-ahead log with group commit, a quorum of members."""

from __future__ import annotations

from collections.abc import Generator, Sequence

from simpy.events import Event

from sim.base.rand import Distribution, Sampler, Streams
from sim.engine.batcher import Batcher
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.etcd.spec import EtcdSpec


class Etcd:
    """Serves puts and ranges. Writes that arrive while one batch is being made durable share the next fsync.

    machines: one a member, the leader's first. fsync_s: the disk of each.
    """

    def __init__(self, clock: Clock, spec: EtcdSpec, machines: Sequence[Machine], fsync_s: Sequence[Distribution], streams: Streams) -> None:
        self._clock = clock
        self._spec = spec
        self._leader, *self._followers = machines
        self._fsync = [Sampler(dist, streams(f"etcd.fsync.{member}")) for member, dist in enumerate(fsync_s)]
        self._quorum = len(machines) // 2 + 1
        self.log: Batcher[int] = Batcher(clock, "etcd log", "etcd", self._commit, spec.max_batch)
        self.puts = 0
        self.ranges = 0

    def put(self, count: int = 1) -> Event:
        """Write `count` keys, one log entry each; fires when a quorum has them on disk and they are applied."""
        return self.log.submit(count)

    def range(self, count: int = 1) -> Event:
        """Read `count` keys at the leader."""
        self.ranges += count
        return self._leader.work(count * self._spec.range_cpu_s, threads=count)

    def _commit(self, batch: list[int]) -> Generator[Event, object, list[None]]:
        spec = self._spec
        entries = sum(batch)
        yield self._leader.work(spec.batch_cpu_s + entries * spec.put_cpu_s)
        for follower in self._followers:
            follower.load(spec.follower_batch_cpu_s)
        own, *others = (draw() for draw in self._fsync)
        durable = sorted([own, *(spec.member_rtt_s + spec.follower_batch_cpu_s + disk for disk in others)])
        yield self._clock.timeout(durable[self._quorum - 1])
        self.puts += entries
        return [None] * len(batch)
