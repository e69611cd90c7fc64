"""etcd as its clients see it: writes and reads of one raft group, and the database behind them."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from functools import partial
from typing import Any

from simpy.events import Event

from sim.base.rand import Constant, Distribution, Sampler, Streams
from sim.engine.clock import Clock, fire, when
from sim.engine.machine import Machine
from sim.engine.meter import Meter
from sim.engine.program import Program
from sim.etcd.database import Database
from sim.etcd.disk import Disk
from sim.etcd.errors import NO_ANSWER, OK, TOO_LARGE
from sim.etcd.healthy import HealthyGroup
from sim.etcd.links import Links
from sim.etcd.members import MemberGroup
from sim.etcd.requests import Read, Write
from sim.etcd.spec import EtcdSpec

CALM_CHECK_S = 1.0
"""How often a group that was disturbed is asked whether it is well again; it costs nothing while it is well."""


class Etcd:
    """One raft group. `put` and `range` return events that fire with `errors.OK` ("") or with etcd's error text.

    machines: one a member, the first leads at the start. fsync_s: the disk of each. name: of the group, as in results.
    While all members are well, agreement is computed in closed form; `attend` and every fault switch to messages
    between members, and the group returns by itself when all is well again.
    """

    def __init__(self, clock: Clock, spec: EtcdSpec, machines: Sequence[Machine], fsync_s: Sequence[Distribution],
                 streams: Streams, name: str = "etcd") -> None:
        self._clock = clock
        self.spec = spec
        self.name = name
        self.programs = [Program(clock, machine, spec.wake_cpu_s, spec.spin_s, _factor(spec.cpu_factor, streams, f"{name}.cpu.{member}"))
                         for member, machine in enumerate(machines)]
        self.disks = [Disk(clock, Sampler(dist, streams(f"{name}.fsync.{member}")), spec.log_byte_s)
                      for member, dist in enumerate(fsync_s)]
        self.links = Links(clock, spec.member_rtt_s)
        self.database = Database(spec, Sampler(spec.backend_commit_s, streams(f"{name}.backend")))
        self.meter = Meter(clock, f"{name} log", "etcd", 1)
        self._ticks = streams(f"{name}.election")
        self.term = 1
        self.puts = 0
        self.ranges = 0
        self.refused: dict[str, int] = {}
        """Number of requests by error text."""
        self.on_revision: list[Callable[[int], None]] = []
        """Called with the number of keys of each write that was applied."""
        self.on_leader: list[Callable[[], None]] = []
        """Called when another member has come to lead, or the same again after a gap."""
        self._turn = 0
        self._leader = 0
        self._attended_until_s = 0.0
        self._cut_off_for_s = 0.0
        """While nothing reaches the group: how long a client waits before it gives up; 0: all is well."""
        self._unheard: dict[Event, Callable[[], Event]] = {}
        """What clients wait for who sent a request meanwhile, and how it is sent once it gets through."""
        self._disturbed: MemberGroup | None = None
        self._healthy: HealthyGroup | None = None
        if spec.messages:
            self.attend()
        else:
            self._healthy = self._make_healthy()
        clock.start(self._compact())
        if spec.defragment_period_s is not None:
            clock.start(self._defragment(spec.defragment_period_s))

    # --- clients

    def put(self, count: int = 1, keys: int = 0, size_bytes: float = 0.0, member: int | None = None) -> Event:
        """Write `count` keys in one request, or in as many alike ones.

        keys: how many of them did not exist before; negative: how many are deleted. size_bytes: of all of them; 0 means
        the usual size. member: the one the client is connected to, instead of the scenario's choice.
        """
        if self._cut_off_for_s:
            return self._keep(lambda: self.put(count, keys, size_bytes, member))
        spec = self.spec
        size = size_bytes or count * spec.usual_object_bytes
        event = Event(self._clock)
        if size > count * spec.max_request_bytes:
            return self._refuse(event, TOO_LARGE)
        write = Write(event, self._endpoint() if member is None else member, count, keys, size)
        when(self.programs[write.member].work(count * spec.put_cpu_s, threads=count), partial(self._taken_in, write))
        return event

    def range(
        self, count: int = 1, serializable: bool = False, member: int | None = None, size_bytes: float = 0.0
    ) -> Event:
        """Read `count` keys; linearizable reads first learn that the leader still leads, serializable ones do not.

        size_bytes: of a range over many keys.
        """
        if self._cut_off_for_s:
            return self._keep(lambda: self.range(count, serializable, member, size_bytes))
        self.ranges += count
        event = Event(self._clock)
        read = Read(event, self._endpoint() if member is None else member, count, size_bytes)
        if serializable:
            self._serve(read)
        elif self._healthy is not None:
            self._healthy.read(read)
        else:
            self._members.read(read)
        return event

    @property
    def batches(self) -> int:
        """Log writes of the members that led."""
        return int(self.meter.served)

    @property
    def leader(self) -> int:
        """The member that leads; -1 when none does."""
        return self._disturbed.leader if self._disturbed is not None else self._leader

    def lives(self, member: int) -> bool:
        """Whether the member's process runs."""
        return self._disturbed is None or self._disturbed.members[member].up

    # --- faults

    def cut_off(self, gives_up_s: float) -> None:
        """From now on nothing of its clients reaches the group; they give up after so long. What was under way is answered."""
        self._cut_off_for_s = gives_up_s

    def reconnect(self) -> None:
        """What its clients still wait for arrives now."""
        self._cut_off_for_s = 0.0
        unheard, self._unheard = self._unheard, {}
        for event, send in unheard.items():
            when(send(), partial(_pass_on, event))

    def _keep(self, send: Callable[[], Event]) -> Event:
        event = Event(self._clock)

        def give_up(_: object) -> None:
            if self._unheard.pop(event, None) is not None:
                self._refuse(event, NO_ANSWER)

        self._unheard[event] = send
        self._clock.at(self._cut_off_for_s, give_up)
        return event

    def attend(self, for_s: float = 0.0) -> None:
        """Simulate message by message from now on, and at least for so long."""
        self._attended_until_s = max(self._attended_until_s, self._clock._now + for_s)
        if self._disturbed is not None:
            return
        writes, reads = self._healthy.stop() if self._healthy is not None else ([], [])
        self._healthy = None
        spec, rng = self.spec, self._ticks
        self._disturbed = MemberGroup(
            self._clock, spec, self.links, self.programs, self.disks, self.meter,
            leader=self._leader, term=self.term, index=self.database.revision,
            draw_tick=lambda: int(rng.integers(spec.election_ticks)), draw_phase=rng.random,
            database_bytes=lambda: self.database.file_bytes, apply=self._apply, serve=self._serve,
            applied_elsewhere=self._count, led=self._led)
        self._pass_on(writes, reads)
        if not spec.messages:
            self._clock.at(CALM_CHECK_S, self._relax)

    def crash(self, member: int) -> None:
        """The member's process dies; what it had not written to disk is lost."""
        self.attend()
        self._members.members[member].crash()

    def restart(self, member: int) -> None:
        """The member's process starts again from its disk."""
        self.attend()
        if not self._members.members[member].up:
            self._members.members[member].restart()

    def stall_disk(self, member: int, for_s: float) -> None:
        """No fsync of this member ends before `for_s` from now."""
        self.attend(for_s)
        self.disks[member].stall(for_s)

    def slow_disk(self, member: int, factor: float) -> None:
        """Each fsync of this member takes `factor` times as long; 1 ends it."""
        self.attend()
        self.disks[member].factor = factor

    def cut(self, one: int, other: int) -> None:
        """Nothing passes between two members until `heal`."""
        self.attend()
        self.links.cut(one, other)

    def slow_link(self, one: int, other: int, extra_s: float) -> None:
        """What passes between two members takes `extra_s` longer each way until `heal`."""
        self.attend()
        self.links.slow(one, other, extra_s)

    def heal(self, one: int, other: int) -> None:
        """The link between two members is as it was."""
        self.links.heal(one, other)

    # --- a request's way

    @property
    def _members(self) -> MemberGroup:
        assert self._disturbed is not None
        return self._disturbed

    def _endpoint(self) -> int:
        """The member that the next request goes to; clients do not go to one that is down while another is up."""
        size = len(self.programs)
        if self.spec.endpoint == "all":
            self._turn += 1
        elif self._disturbed is None:
            return self._leader
        first = self._turn % size
        if self._disturbed is not None:
            for offset in range(size):
                if self._disturbed.members[(first + offset) % size].up:
                    return (first + offset) % size
        return first

    def _taken_in(self, write: Write, _: object) -> None:
        error = self.database.admit(write.size_bytes, frees=write.keys < 0)
        if error:
            self._refuse(write.event, error)
        elif self._healthy is not None:
            self._healthy.submit(write)
        else:
            self._members.submit(write)

    def _refuse(self, event: Event, error: str) -> Event:
        self.refused[error] = self.refused.get(error, 0) + 1
        fire(event, error)
        return event

    def _apply(self, writes: list[Write]) -> None:
        """Writes are agreed and the member that answers them has come to them."""
        now = self._clock._now
        count = 0
        for write in writes:
            count += write.count
        start_s = self.database.apply_s(now, count)
        if start_s > now:
            self._clock.at(start_s - now, partial(self._reply, writes))
        else:
            self._reply(writes, self._clock.happened)

    def _reply(self, writes: list[Write], _: object) -> None:
        for write in writes:
            work = self.programs[write.member].work(write.count * self.spec.reply_cpu_s, threads=write.count)
            when(work, partial(self._answer, write))

    def _answer(self, write: Write, _: object) -> None:
        self._count(write)
        fire(write.event, OK)

    def _count(self, write: Write) -> None:
        """The write is in the database."""
        if write.counted:
            return
        write.counted = True
        self.puts += write.count
        self.database.write(write.count, write.keys, write.size_bytes)
        for listen in self.on_revision:
            listen(write.count)

    def _serve(self, read: Read) -> None:
        cpu_s = read.count * self.spec.range_cpu_s + read.size_bytes * self.spec.range_byte_cpu_s
        work = self.programs[read.member].work(cpu_s, threads=read.count)
        when(work, lambda _: fire(read.event, OK))

    # --- healthy or disturbed

    def set_waiting(self, one_way_s: float) -> None:
        """What the load of the underlay adds to each message between members from now on."""
        self.links.waiting_s = one_way_s
        if self._healthy is not None:
            self._healthy.rtt_s = self.spec.member_rtt_s + 2 * one_way_s

    def _make_healthy(self) -> HealthyGroup:
        group = HealthyGroup(self._clock, self.spec, self._leader, self.programs, self.disks, self.meter, self._apply, self._serve)
        group.rtt_s += 2 * self.links.waiting_s
        return group

    def _led(self, member: int, term: int) -> None:
        self._leader, self.term = member, term
        for listen in self.on_leader:
            listen()

    def _relax(self, _: object) -> None:
        if self._clock._now < self._attended_until_s or not self._members.calm():
            self._clock.at(CALM_CHECK_S, self._relax)
            return
        writes, reads = self._members.stop()
        self._disturbed = None
        self._healthy = self._make_healthy()
        self._pass_on(writes, reads)

    def _pass_on(self, writes: list[Write], reads: list[Read]) -> None:
        group = self._healthy if self._healthy is not None else self._members
        for write in writes:
            group.submit(write)
        for read in reads:
            group.read(read)

    # --- upkeep

    def _compact(self) -> Generator[Event, Any, None]:
        """The API server asks for it every some minutes; a batch of revisions holds the database's lock."""
        spec, database = self.spec, self.database
        while True:
            yield self._clock.timeout(spec.compaction_period_s)
            left = database.history
            while left > 0:
                batch = min(left, spec.compaction_batch)
                cpu_s = batch * spec.compact_revision_cpu_s
                program = self.programs[self._leader]
                database.hold(self._clock._now + cpu_s * program.machine.stretch())
                yield program.work(cpu_s)
                database.forget(batch)
                left -= batch
                yield self._clock.timeout(spec.compaction_pause_s)

    def _defragment(self, period_s: float) -> Generator[Event, Any, None]:
        """An operator rewrites the file of one member after the other; only the one that answers is missed."""
        while True:
            yield self._clock.timeout(period_s)
            took_s = self.database.defragment()
            self.database.hold(self._clock._now + took_s)
            if self.database.file_bytes < self.spec.quota_bytes:
                self.database.disarm()




def _pass_on(waiting: Event, answered: Event) -> None:
    """A request that was sent late is answered."""
    fire(waiting, answered.value)


def _factor(dist: Distribution, streams: Streams, name: str) -> Callable[[], float] | None:
    """Draws of a factor; None when it is always 1."""
    return None if dist == Constant(value=1.0) else Sampler(dist, streams(name))
