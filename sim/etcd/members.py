"""A group message by message: its members as processes around the rules of raft.

Used from the moment a fault is near until all members are well again, and always when `EtcdSpec.messages` asks for
it: the slow twin of `healthy.HealthyGroup`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from sim.engine.clock import Clock, fire, when
from sim.engine.meter import Meter
from sim.engine.program import Program
from sim.etcd.disk import Disk
from sim.etcd.errors import LEADER_FAILED, TIMED_OUT, UNREACHABLE
from sim.etcd.links import Links
from sim.etcd.raft import Entry, Kind, Message, Progress, RaftMember, RaftRules, Role, latest_answers
from sim.etcd.requests import Read, Write
from sim.etcd.spec import EtcdSpec


class MemberGroup:
    """The members of one group, all of them up at the start and `leader` leading in `term`.

    draw_tick: a whole number in [0, election ticks) each, for election time-outs. draw_phase: in [0, 1), where in a
    tick a member's clock is. database_bytes: what a snapshot has to carry.
    apply, serve: as for `HealthyGroup`. applied_elsewhere: called when a member other than the one that will answer
    has applied a write. led: called with a member that has come to lead, and its term.
    """

    def __init__(
        self, clock: Clock, spec: EtcdSpec, links: Links, programs: Sequence[Program], disks: Sequence[Disk], meter: Meter, *,
        leader: int, term: int, index: int, draw_tick: Callable[[], int], draw_phase: Callable[[], float],
        database_bytes: Callable[[], float], apply: Callable[[list[Write]], None], serve: Callable[[Read], None],
        applied_elsewhere: Callable[[Write], None], led: Callable[[int, int], None],
    ) -> None:
        self.clock = clock
        self.spec = spec
        self.links = links
        self.meter = meter
        self.database_bytes = database_bytes
        self.apply = apply
        self.serve = serve
        self.applied_elsewhere = applied_elsewhere
        self._led = led
        self.stopped = False
        self.elected_s = clock._now
        """When a member last came to lead."""
        names = tuple(range(len(programs)))
        voters = len(names) - spec.learners
        rules = RaftRules(names[:voters], names[voters:], spec.election_ticks, 1, spec.pre_vote)
        self._open: dict[Write | Read, None] = {}
        self._forwarding: dict[Write | Read, None] = {}
        self.members = [Member(self, RaftMember(name, rules, draw_tick), programs[name], disks[name]) for name in names]
        for member in self.members:
            raft = member.raft
            raft.term = raft.first_term = term
            raft.vote, raft.leader = leader, leader
            raft.saved_state = (term, leader)
            raft.first = raft.commit = raft.stable = member.applied = index
            if member.name == leader:
                raft.role = Role.LEADER
                raft.progress = {other: Progress(index + 1, index, probing=False) for other in names if other != leader}
            clock.at(draw_phase() * spec.heartbeat_s, member.tick)

    @property
    def leader(self) -> int:
        """The member that leads in the highest term; -1 when none does."""
        leading = [member for member in self.members if member.up and member.raft.role is Role.LEADER]
        return max(leading, key=lambda member: member.raft.term).name if leading else -1

    def elected(self, member: int, term: int) -> None:
        """A member has come to lead."""
        self.elected_s = self.clock._now
        self._led(member, term)

    def submit(self, write: Write) -> None:
        """A write has been taken in by the member it was sent to."""
        self._open[write] = None
        self.clock.at(self.spec.timeout_s, partial(self._give_up, write, self.clock._now))
        self.members[write.member].propose(write)

    def read(self, read: Read) -> None:
        """A linearizable read."""
        self._open[read] = None
        self.clock.at(self.spec.timeout_s, partial(self._give_up, read, self.clock._now))
        self.members[read.member].read(read)

    def closed(self, request: Write | Read) -> None:
        """It is being answered."""
        del self._open[request]

    def is_open(self, request: Write | Read) -> bool:
        """Neither agreed nor given up."""
        return request in self._open

    def calm(self) -> bool:
        """Whether all members are well, follow one leader and have what it has agreed on."""
        if not self.links.healthy or not all(member.up and member.disk.healthy for member in self.members):
            return False
        leader = self.leader
        if leader < 0:
            return False
        raft = self.members[leader].raft
        return (raft.term_at(raft.commit) == raft.term or raft.commit == raft.first) and all(
            member.raft.term == raft.term and member.raft.leader == leader and raft.commit <= member.raft.last
            for member in self.members)

    def stop(self) -> tuple[list[Write], list[Read]]:
        """Give up; returns what is under way. What was lost stays here until its time-out."""
        self.stopped = True
        leader = self.members[max(self.leader, 0)]
        logged = [entry.data for entry in leader.raft.entries if entry.data is not None]
        here = [request for member in self.members for request in (*member.waiting, *member.held, *member.open_reads())]
        found = [request for request in dict.fromkeys([*logged, *here, *self._forwarding]) if request in self._open]
        for request in found:
            del self._open[request]
        return [r for r in found if isinstance(r, Write)], [r for r in found if isinstance(r, Read)]

    def forward(self, request: Write | Read, source: int, take: Callable[[], None]) -> None:
        """Pass a client's request on to the member that `source` believes to lead. If that one is dead, nobody tells:
        the request is lost and its client waits for the time-out."""
        target = self.members[source].raft.leader
        assert target is not None
        self._forwarding[request] = None
        self.links.post(source, target, partial(self._forwarded, request, source, target, take))

    def _forwarded(self, request: Write | Read, source: int, target: int, take: Callable[[], None], event: object) -> None:
        self._forwarding.pop(request, None)
        self._deliver(source, target, lambda _: take(), event)

    def post(self, source: int, target: int, action: Callable[[object], None]) -> None:
        """Call `action` at the target if nothing is in the way when it arrives."""
        self.links.post(source, target, partial(self._deliver, source, target, action))

    def _deliver(self, source: int, target: int, action: Callable[[object], None], event: object) -> None:
        if not self.stopped and self.members[target].up and self.links.passes(source, target):
            action(event)

    def _give_up(self, request: Write | Read, since_s: float, _: object) -> None:
        if request not in self._open:
            return
        del self._open[request]
        fire(request.event, LEADER_FAILED if self.elected_s > since_s or self.leader < 0 else TIMED_OUT)

    def refuse(self, request: Write | Read) -> None:
        """The member that the client was connected to is gone."""
        if request in self._open:
            del self._open[request]
            fire(request.event, UNREACHABLE)

    def refuse_all_of(self, member: int) -> None:
        """A member has died: the connections of its clients break."""
        for request in [request for request in self._open if request.member == member]:
            self.refuse(request)


class Member:
    """One member: a clock that ticks, an inbox, a log on a disk, and the clients' requests that it answers."""

    def __init__(self, group: MemberGroup, raft: RaftMember, program: Program, disk: Disk) -> None:
        self._group = group
        self._clock = group.clock
        self._spec = group.spec
        self.raft = raft
        self.name = raft.name
        self.program = program
        self.disk = disk
        self.up = True
        self.applied = 0
        self.waiting: list[Write] = []
        """Taken in, to be proposed when the loop comes by."""
        self.held: list[Write] = []
        """Taken in while no leader is known: they wait for one."""
        self._inbox: deque[Message] = deque()
        self._handling = False
        self._busy = False
        self._life = 0
        self._reads: list[tuple[Read, int]] = []
        """Linearizable reads and the members that want to serve them."""
        self._round: list[tuple[Read, int]] = []
        self._round_number = 0
        self._reads_held: list[Read] = []
        self._catching_up: list[tuple[int, Read]] = []

    # --- time, crash, return

    def tick(self, _: object) -> None:
        """A tick of the member's own clock; it goes on while the member is down, so that its phase is kept."""
        group = self._group
        if group.stopped:
            return
        self._clock.at(self._spec.heartbeat_s, self.tick)
        if self.up:
            if self._round:
                self.raft.read()  # ask again: answers may have been lost
            self._changed(self.raft.tick)

    def crash(self) -> None:
        """The process dies: what is not on its disk is lost, its clients' connections break."""
        self.up = False
        self._life += 1
        self.waiting, self.held, self._reads, self._round, self._reads_held, self._catching_up = [], [], [], [], [], []
        self._inbox.clear()
        self._handling = self._busy = False
        self._group.refuse_all_of(self.name)

    def restart(self) -> None:
        """The process starts again from its disk."""
        self.raft.restart()
        self.applied = max(self.raft.first, min(self.applied, self.raft.commit))
        self._round_number = 0
        self.up = True

    # --- clients

    def propose(self, write: Write) -> None:
        """A client's write: into the log here, to the leader, or held until there is one."""
        if not self.up:
            self._group.refuse(write)
        elif self.raft.role is Role.LEADER:
            self.waiting.append(write)
            self._kick()
        elif self.raft.leader is None:
            self.held.append(write)
        else:
            leader = self._group.members[self.raft.leader]
            self._group.forward(write, self.name, partial(leader._take_forwarded, write))

    def read(self, read: Read) -> None:
        """A client's linearizable read."""
        if not self.up:
            self._group.refuse(read)
        elif self.raft.leader is None:
            self._reads_held.append(read)
        elif self.raft.role is Role.LEADER:
            self._asked(read, self.name)
        else:
            leader = self._group.members[self.raft.leader]
            self._group.forward(read, self.name, partial(leader._asked, read, self.name))

    def open_reads(self) -> list[Read]:
        """Reads that wait here."""
        return [*(read for read, _ in self._round), *(read for read, _ in self._reads), *self._reads_held,
                *(read for _, read in self._catching_up)]

    def _take_forwarded(self, write: Write) -> None:
        if self.raft.role is Role.LEADER:
            self.propose(write)

    def _asked(self, read: Read, asker: int) -> None:
        if self.raft.role is Role.LEADER:
            self._reads.append((read, asker))
            self._kick()

    # --- messages

    def receive(self, message: Message) -> None:
        """A message has arrived; what arrives while others are taken in is taken in together next."""
        self._inbox.append(message)
        if not self._handling:
            self._handle()

    def _handle(self) -> None:
        spec = self._spec
        self._handling = True
        taken = list(self._inbox)
        self._inbox.clear()
        cpu_s = 0.0
        for message in taken:
            if message.kind is Kind.APPEND and message.entries:
                puts = sum(entry.data.count for entry in message.entries if entry.data is not None)
                cpu_s += spec.append_cpu_s + puts * spec.append_put_cpu_s
            else:
                cpu_s += spec.message_cpu_s
        when(self.program.work(cpu_s), partial(self._step, taken, self._life))

    def _step(self, messages: list[Message], life: int, _: object) -> None:
        if self._group.stopped or life != self._life:
            return
        self._handling = False
        for message in messages:
            self._changed(partial(self.raft.step, message))
        if self._inbox and not self._handling:
            self._handle()

    def _changed(self, action: Callable[[], None]) -> None:
        """Let the rules act, then see to what follows from it."""
        raft = self.raft
        led = raft.role is Role.LEADER
        action()
        if raft.role is Role.LEADER and not led:
            self._group.elected(self.name, raft.term)
        elif led and raft.role is not Role.LEADER:
            self._reads, self._round = [], []
            self.held += self.waiting
            self.waiting = []
        if raft.leader is not None and (self.held or self._reads_held):
            held, self.held = self.held, []
            reads, self._reads_held = self._reads_held, []
            for write in held:
                self.propose(write)
            for read in reads:
                self.read(read)
        self._kick()

    # --- the loop around the log

    def _kick(self) -> None:
        if self._busy or not self.up or self._group.stopped:
            return
        self._read_round()
        if self.raft.commit > self.applied:
            self._apply_committed()
        if self.waiting and self.raft.role is Role.LEADER:
            batch = self.waiting[: self._spec.max_batch]
            del self.waiting[: self._spec.max_batch]
            self._busy = True
            when(self.program.work(self._spec.batch_cpu_s), partial(self._log, batch, self._life))
        elif self.raft.outbox or self.raft.must_save():
            self._save()

    def _log(self, batch: list[Write], life: int, _: object) -> None:
        if self._group.stopped or life != self._life:
            return
        if not self.raft.propose(batch):
            self.held += batch
        self._save()

    def _save(self) -> None:
        """Send and write to disk: a leader sends first, others when the disk is done."""
        raft = self.raft
        sent, raft.outbox = raft.outbox, []
        if raft.role is Role.LEADER:
            self._send(sent)
            sent = []
        if not raft.must_save():
            self._busy = False
            self._send(latest_answers(sent))
            return
        self._busy = True
        size_bytes = sum(_size_bytes(entry) for entry in raft.slice(raft.stable, raft.last))
        if raft.role is Role.LEADER:
            self._group.meter.level(1, len(self.waiting))
        saved = partial(self._saved, raft.last, raft.term_at(raft.last), (raft.term, raft.vote), sent, self._clock._now, self._life)
        when(self.program.work(self._spec.fsync_cpu_s), partial(self._write, size_bytes, saved, self._life))

    def _write(self, size_bytes: float, saved: Callable[[object], None], life: int, _: object) -> None:
        if life == self._life:
            self._clock.at(self.disk.fsync_s(size_bytes, self._clock._now), lambda _: when(self.program.work(0.0), saved))

    def _saved(self, index: int, term: int, state: tuple[int, int | None], held: list[Message], begun_s: float, life: int,
               _: object) -> None:
        if self._group.stopped or life != self._life:
            return
        self.disk.busy_s += self._clock._now - begun_s
        self._busy = False
        if self.raft.role is Role.LEADER:
            self._group.meter.served += 1
            self._group.meter.level(0, len(self.waiting))
        self._send(latest_answers(held))
        self._changed(partial(self.raft.persisted, index, term, state))

    def _send(self, messages: Sequence[Message]) -> None:
        group = self._group
        for message in messages:
            transfer_s = group.database_bytes() / self._spec.snapshot_bytes_per_s if message.kind is Kind.SNAPSHOT else 0.0
            group.links.post(self.name, message.target, partial(self._arrive, message), transfer_s)

    def _arrive(self, message: Message, _: object) -> None:
        group = self._group
        target = group.members[message.target]
        if group.stopped:
            return
        if target.up and group.links.passes(message.source, message.target):
            target.receive(message)
        elif self.up:
            self.raft.unreachable(message.target)

    # --- what is agreed

    def _apply_committed(self) -> None:
        raft, group = self.raft, self._group
        if self.applied < raft.first:
            self.applied = raft.first
        here: list[Write] = []
        for entry in raft.slice(self.applied, raft.commit):
            write = entry.data
            if write is None:
                continue
            if write.member == self.name and group.is_open(write):
                group.closed(write)
                here.append(write)
            elif not write.counted:
                group.applied_elsewhere(write)
        self.applied = raft.commit
        if here:
            group.apply(here)
        while self._catching_up and self._catching_up[0][0] <= self.applied:
            self._serve(self._catching_up.pop(0)[1])
        if self.applied - raft.first > self._spec.snapshot_count + self._spec.catch_up_entries:
            raft.compact(min(self.applied, raft.stable) - self._spec.catch_up_entries)

    def _read_round(self) -> None:
        raft = self.raft
        while raft.role is Role.LEADER:
            if self._round and raft.reads_confirmed >= self._round_number:
                confirmed, self._round = self._round, []
                for read, asker in confirmed:
                    if asker == self.name:
                        self._serve(read)
                    else:
                        member = self._group.members[asker]
                        self._group.post(self.name, asker, partial(member._catch_up, raft.commit, read))
            if self._round or not self._reads:
                return
            number = raft.read()
            if not number:
                return  # a new leader must first agree on an entry of its own term
            self._round_number = number
            self._round, self._reads = self._reads, []

    def _catch_up(self, index: int, read: Read, _: object) -> None:
        if self.applied >= index:
            self._serve(read)
        else:
            self._catching_up.append((index, read))

    def _serve(self, read: Read) -> None:
        if self._group.is_open(read):
            self._group.closed(read)
            self._group.serve(read)


def _size_bytes(entry: Entry) -> float:
    return entry.data.size_bytes if entry.data is not None else 0.0
