"""A group while all its members are well: agreement in closed form, a few events a batch, none while idle.

The leader's loop is etcd's: take all proposals, send them to the followers, write them to the log with one fsync,
then look again. A batch is agreed when the leader's fsync is done and the fastest followers that make up a quorum
have answered (an order statistic); it is applied when the loop comes by. Each follower's log is serial too, and appends that wait
for it share its next fsync. `members.MemberGroup` does the same message by message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from sim.engine.clock import Clock
from sim.engine.meter import Meter
from sim.engine.program import Program
from sim.etcd.disk import Disk
from sim.etcd.requests import Read, Write
from sim.etcd.spec import EtcdSpec


class _Batch:
    """Writes that share an fsync."""

    __slots__ = ("agreed", "quorum_s", "writes")

    def __init__(self, writes: list[Write]) -> None:
        self.writes = writes
        self.agreed = False
        self.quorum_s = 0.0


class _Follower:
    """A follower's log: when it will have written what arrives."""

    __slots__ = ("_begins_s", "_earlier_s", "_ends_s", "_fsync_cpu_s", "disk", "program")

    def __init__(self, program: Program, disk: Disk, fsync_cpu_s: float) -> None:
        self._fsync_cpu_s = fsync_cpu_s
        self.program = program
        self.disk = disk
        self._begins_s = -1.0
        self._ends_s = -1.0
        self._earlier_s = (-1.0, -1.0)

    def durable_s(self, arrives_s: float, size_bytes: float) -> float:
        """When an append that arrives then is on disk; later calls must not arrive earlier."""
        if arrives_s > self._begins_s:
            self._earlier_s = (self._begins_s, self._ends_s)
            program = self.program
            begins_s = self._begins_s = self._ends_s if self._ends_s > arrives_s else arrives_s
            begun_s = begins_s + program.owe(self._fsync_cpu_s, begins_s)
            done_s = begun_s + self.disk.fsync_s(size_bytes, begun_s)
            self._ends_s = done_s + program.owe(0.0, done_s)
        return self._ends_s

    def free_s(self, at_s: float) -> float:
        """When the loop around the log first looks, from `at_s` on: not during an fsync."""
        for begins_s, ends_s in (self._earlier_s, (self._begins_s, self._ends_s)):
            if begins_s < at_s < ends_s:
                return ends_s
        return at_s


class HealthyGroup:
    """Agreement among members of which none is missing, slow or cut off.

    voters: programs and disks; index `leader` leads. learners cost CPU and disk, and nobody waits for them.
    apply: called with writes that are agreed. serve: called with reads that are confirmed.
    """

    def __init__(self, clock: Clock, spec: EtcdSpec, leader: int, programs: Sequence[Program], disks: Sequence[Disk],
                 meter: Meter, apply: Callable[[list[Write]], None], serve: Callable[[Read], None]) -> None:
        self._clock = clock
        self._spec = spec
        self.rtt_s = spec.member_rtt_s
        self.leader = leader
        self._program = programs[leader]
        self._disk = disks[leader]
        voters = len(programs) - spec.learners
        self._followers = {name: _Follower(programs[name], disks[name], spec.fsync_cpu_s)
                           for name in range(len(programs)) if name != leader}
        self._others = [follower for name, follower in self._followers.items() if name < voters]
        self._learners = [follower for name, follower in self._followers.items() if name >= voters]
        self._quorum = voters // 2 + 1
        self._meter = meter
        self._apply = apply
        self._serve = serve
        self._waiting: list[Write] = []
        self._logged: deque[_Batch] = deque()
        self._saving: _Batch | None = None
        self._busy = False
        self._reads: list[Read] = []
        self._round: list[Read] = []
        self._round_confirmed = False
        self._stopped = False

    def submit(self, write: Write) -> None:
        """A write has been taken in by the member it was sent to."""
        if write.member == self.leader:
            self._propose(write)
        else:
            self._clock.at(self.rtt_s / 2, lambda _: self._propose(write))

    def read(self, read: Read) -> None:
        """A linearizable read: it waits until the leader knows that it still leads."""
        if read.member == self.leader:
            self._ask(read)
        else:
            self._clock.at(self.rtt_s / 2, lambda _: self._ask(read))

    def stop(self) -> tuple[list[Write], list[Read]]:
        """Give up; returns all that is not agreed or confirmed yet."""
        self._stopped = True
        logged = [write for batch in self._logged for write in batch.writes]
        saving = self._saving.writes if self._saving is not None and self._saving not in self._logged else []
        return [*logged, *saving, *self._waiting], [*self._round, *self._reads]

    def _propose(self, write: Write) -> None:
        self._waiting.append(write)
        if self._busy:
            self._meter.level(1, len(self._waiting))
        else:
            self._iterate()

    def _ask(self, read: Read) -> None:
        self._reads.append(read)
        if not self._busy:
            self._iterate()

    def _iterate(self) -> None:
        if self._stopped:
            return
        while self._logged and self._logged[0].agreed:
            self._agreed(self._logged.popleft().writes)
        if self._round or self._reads:
            self._confirm_reads()
        if not self._waiting:
            if self._meter.in_use:
                self._meter.level(0, 0)
            return
        most = self._spec.max_batch
        batch = _Batch(self._waiting[:most])
        del self._waiting[:most]
        self._busy = True
        self._saving = batch
        self._meter.level(1, len(self._waiting))
        self._log(batch)

    def _log(self, batch: _Batch) -> None:
        spec, way_s = self._spec, self.rtt_s / 2
        now = self._clock._now
        owe = self._program.owe
        sent_s = now + owe(spec.batch_cpu_s, now)
        size_bytes = puts = 0.0
        for write in batch.writes:
            size_bytes += write.size_bytes
            puts += write.count
        begun_s = sent_s + owe(spec.fsync_cpu_s, sent_s)
        done_s = begun_s + self._disk.fsync_s(size_bytes, begun_s)
        own_s = done_s + owe(0.0, done_s)
        self._disk.busy_s += own_s - sent_s
        batch.quorum_s = own_s
        if self._others or self._learners:
            cpu_s = spec.append_cpu_s + puts * spec.append_put_cpu_s
            arrives_s = sent_s + way_s
            answers = []
            for other in self._others:
                durable_s = other.durable_s(arrives_s + other.program.owe(cpu_s, arrives_s), size_bytes)
                answered_s = durable_s + way_s
                answers.append(answered_s + owe(spec.message_cpu_s, answered_s))
            for learner in self._learners:
                learner.durable_s(arrives_s + learner.program.owe(cpu_s, arrives_s), size_bytes)
            if self._quorum > 1:
                answers.sort()
                batch.quorum_s = max(own_s, answers[self._quorum - 2])
        self._clock.at(own_s - now, partial(self._saved, batch))

    def _answer_s(self, arrives_s: float) -> float:
        """When the leader has taken in an answer."""
        return arrives_s + self._program.owe(self._spec.message_cpu_s, arrives_s)

    def _saved(self, batch: _Batch, _: object) -> None:
        if self._stopped:
            return
        self._busy = False
        self._saving = None
        self._meter.served += 1
        self._logged.append(batch)
        left_s = batch.quorum_s - self._clock._now
        if left_s <= 0:
            batch.agreed = True
        else:
            self._clock.at(left_s, partial(self._answered, batch))
        self._iterate()

    def _answered(self, batch: _Batch, _: object) -> None:
        batch.agreed = True
        if not self._busy:
            self._iterate()

    def _agreed(self, writes: list[Write]) -> None:
        by_member: dict[int, list[Write]] = {}
        for write in writes:
            by_member.setdefault(write.member, []).append(write)
        for member, mine in by_member.items():
            if member == self.leader:
                self._apply(mine)
            else:  # the others learn of it by the next message
                follower, arrives_s = self._followers[member], self._clock._now + self.rtt_s / 2
                heard_s = follower.free_s(arrives_s + follower.program.owe(self._spec.message_cpu_s, arrives_s))
                self._clock.at(heard_s - self._clock._now, partial(self._apply_later, mine))

    def _apply_later(self, writes: list[Write], _: object) -> None:
        self._apply(writes)

    def _confirm_reads(self) -> None:
        while True:
            if self._round and self._round_confirmed:
                served, self._round = self._round, []
                for read in served:
                    self._answer_read(read)
            if self._round or not self._reads:
                return
            self._round, self._reads = self._reads, []
            self._round_confirmed = self._quorum == 1
            if not self._round_confirmed:
                self._clock.at(self._round_trip_s(), self._heard)

    def _round_trip_s(self) -> float:
        """How long a quorum takes to answer a heartbeat."""
        now, rtt_s, message_s = self._clock._now, self.rtt_s, self._spec.message_cpu_s
        heard_s = sorted(self._answer_s(now + rtt_s + other.program.owe(message_s, now + rtt_s / 2)) for other in self._others)
        return heard_s[self._quorum - 2] - now

    def _heard(self, _: object) -> None:
        self._round_confirmed = True
        if not self._busy:
            self._iterate()

    def _answer_read(self, read: Read) -> None:
        if read.member == self.leader:
            self._serve(read)
        else:
            self._clock.at(self.rtt_s / 2, lambda _: self._serve(read))
