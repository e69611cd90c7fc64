"""Raft's rules, without a clock: what one member does on a tick, a message, a proposal, and when its disk is done.

The rules are those of the raft library of etcd 3.4 to 3.6: randomised election time-outs counted in ticks, pre-vote,
check-quorum with its leader lease, pipelined appends with probing after a loss, snapshots for members that are
too far behind, linearizable reads by a round of heartbeats, learners.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any


class Role(IntEnum):
    FOLLOWER = 0
    PRE_CANDIDATE = 1
    CANDIDATE = 2
    LEADER = 3


class Kind(IntEnum):
    """Kinds of message between members."""

    PRE_VOTE = 0
    PRE_VOTE_ANSWER = 1
    VOTE = 2
    VOTE_ANSWER = 3
    APPEND = 4
    APPEND_ANSWER = 5
    HEARTBEAT = 6
    HEARTBEAT_ANSWER = 7
    SNAPSHOT = 8


BALLOTS = {Kind.PRE_VOTE: Kind.PRE_VOTE_ANSWER, Kind.VOTE: Kind.VOTE_ANSWER}
FROM_LEADER = (Kind.APPEND, Kind.HEARTBEAT, Kind.SNAPSHOT)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of the log. `data` is None in the entry with which a new leader begins its term."""

    term: int
    data: Any = None


@dataclass(frozen=True, slots=True)
class Message:
    """One message. `index` is the last entry of a candidate's log, the entry before an append's first, the last entry
    that an answer accepts or refuses, or the last entry inside a snapshot; `log_term` is the term of that entry."""

    kind: Kind
    source: int
    target: int
    term: int
    index: int = 0
    log_term: int = 0
    entries: tuple[Entry, ...] = ()
    commit: int = 0
    refused: bool = False
    hint: int = 0
    """Of a refused append: the last entry that the follower has."""
    context: int = 0
    """Of a heartbeat: the round of reads that it confirms."""


@dataclass(slots=True)
class Progress:
    """What a leader knows of another member's log."""

    next: int
    match: int = 0
    probing: bool = True
    """One append at a time, until the follower's log is known; else appends are sent without waiting for answers."""
    paused: bool = False
    snapshot: int = 0
    """Last entry of the snapshot under way; 0: none."""


@dataclass(frozen=True, slots=True)
class RaftRules:
    """What all members of a group agree on."""

    voters: tuple[int, ...]
    learners: tuple[int, ...] = ()
    election_ticks: int = 10
    heartbeat_ticks: int = 1
    pre_vote: bool = True
    check_quorum: bool = True

    @property
    def members(self) -> tuple[int, ...]:
        return self.voters + self.learners

    @property
    def quorum(self) -> int:
        return len(self.voters) // 2 + 1


class RaftMember:
    """One member's state. After any call, `outbox` holds what it wants to send and `commit` how far the log is agreed.

    draw: returns a whole number in [0, election_ticks), evenly; the randomness of election time-outs.
    The process around it must write new entries, the term and the vote to disk, then call `persisted`, and must
    not send what a follower or candidate has in its outbox before; a leader's appends may go out at once.
    """

    def __init__(self, name: int, rules: RaftRules, draw: Callable[[], int]) -> None:
        self.name = name
        self.rules = rules
        self._draw = draw
        self.term = 0
        self.vote: int | None = None
        self.role = Role.FOLLOWER
        self.leader: int | None = None
        self.entries: list[Entry] = []
        self.first = 0
        """Index of the last entry that is only in the snapshot."""
        self.first_term = 0
        self.commit = 0
        self.stable = 0
        """Last entry that is on this member's disk."""
        self.saved_state: tuple[int, int | None] = (0, None)
        """Term and vote on disk."""
        self.outbox: list[Message] = []
        self.elapsed = 0
        self.timeout = rules.election_ticks + draw()
        self._heartbeat_elapsed = 0
        self._votes: dict[int, bool] = {}
        self._active: set[int] = set()
        self.progress: dict[int, Progress] = {}
        self._read_round = 0
        self._read_acks: dict[int, set[int]] = {}
        self.reads_confirmed = 0
        """Last round of reads whose quorum has answered."""

    # --- the log

    @property
    def last(self) -> int:
        return self.first + len(self.entries)

    def term_at(self, index: int) -> int:
        """Term of the entry at `index`; -1 when it is not known here."""
        if index == self.first:
            return self.first_term
        if self.first < index <= self.last:
            return self.entries[index - self.first - 1].term
        return -1

    def slice(self, after: int, upto: int) -> Sequence[Entry]:
        """Entries `after` + 1 to `upto`."""
        return self.entries[after - self.first : upto - self.first]

    def compact(self, index: int) -> None:
        """Forget entries up to `index`; they are in the snapshot."""
        if self.first < index <= self.commit:
            self.first_term = self.term_at(index)
            del self.entries[: index - self.first]
            self.first = index

    def must_save(self) -> bool:
        """Whether the disk lacks an entry, the term or the vote."""
        return self.stable < self.last or self.saved_state != (self.term, self.vote)

    def persisted(self, index: int, term: int, state: tuple[int, int | None]) -> None:
        """Entries up to `index`, of which the last has that `term`, and the term and vote in `state` are on disk.

        If another leader has replaced the entry at `index` meanwhile, its successors are still to be written.
        """
        self.saved_state = state
        if self.term_at(index) == term:
            self.stable = max(self.stable, index)
        if self.role is Role.LEADER:
            self._advance_commit()

    def restart(self) -> None:
        """A crash and return: what was not on disk is gone, and so is all knowledge of others."""
        del self.entries[self.stable - self.first :]
        self.term, self.vote = self.saved_state
        self.commit = min(self.commit, self.stable)
        self.outbox = []
        self._follow(self.term, None)

    # --- inputs

    def tick(self) -> None:
        """One tick of the clock has passed."""
        self.elapsed += 1
        if self.role is Role.LEADER:
            self._tick_leader()
        elif self.name in self.rules.voters and self.elapsed >= self.timeout:
            self.elapsed = 0
            self._campaign(pre=self.rules.pre_vote)

    def propose(self, data: Sequence[Any]) -> bool:
        """Append to the log if this member leads; False when it does not."""
        if self.role is not Role.LEADER:
            return False
        self.entries.extend(Entry(self.term, item) for item in data)
        self._broadcast_append()
        return True

    def read(self) -> int:
        """Ask the others whether this member still leads; returns the round to wait for in `reads_confirmed`.

        0: it does not lead, or has not committed an entry of its own term yet.
        """
        if self.role is not Role.LEADER or self.term_at(self.commit) != self.term:
            return 0
        self._read_round += 1
        if self.rules.quorum == 1:
            self.reads_confirmed = self._read_round
        else:
            self._read_acks[self._read_round] = {self.name}
            self._broadcast_heartbeat(self._read_round)
        return self._read_round

    def step(self, message: Message) -> None:
        """Take a message from another member."""
        kind = message.kind
        if message.term > self.term:
            if kind in BALLOTS and self._in_lease():
                return  # a leader was heard from within the election time-out: no vote for anyone else
            if kind is Kind.PRE_VOTE or (kind is Kind.PRE_VOTE_ANSWER and not message.refused):
                pass  # a pre-vote speaks of a term that may never be
            else:
                self._follow(message.term, message.source if kind in FROM_LEADER else None)
        elif message.term < self.term:
            if kind in FROM_LEADER:  # makes a deposed leader, or the leader of a stuck candidate, step down
                self._send(Kind.APPEND_ANSWER, message.source)
            elif kind is Kind.PRE_VOTE:
                self._send(Kind.PRE_VOTE_ANSWER, message.source, refused=True)
            return
        if kind in BALLOTS:
            self._ballot(message)
        elif kind in FROM_LEADER:
            if self.role in (Role.CANDIDATE, Role.PRE_CANDIDATE):
                self._follow(message.term, message.source)
            self.elapsed = 0
            self.leader = message.source
            self._obey(message)
        elif self.role is Role.LEADER:
            self._answered(message)
        elif kind in BALLOTS.values():
            self._counted(message)

    # --- elections

    def _in_lease(self) -> bool:
        return self.rules.check_quorum and self.leader is not None and self.elapsed < self.rules.election_ticks

    def _reset(self, term: int) -> None:
        if term != self.term:
            self.term, self.vote = term, None
        self.leader = None
        self.elapsed = self._heartbeat_elapsed = 0
        self.timeout = self.rules.election_ticks + self._draw()
        self._votes = {}
        self._read_acks = {}

    def _follow(self, term: int, leader: int | None) -> None:
        self._reset(term)
        self.role = Role.FOLLOWER
        self.leader = leader

    def _campaign(self, pre: bool) -> None:
        if pre:
            self.role = Role.PRE_CANDIDATE
            self.leader = None
            self._votes = {}
        else:
            self._reset(self.term + 1)
            self.role = Role.CANDIDATE
            self.vote = self.name
        self._votes[self.name] = True
        if self.rules.quorum == 1:
            self._won()
            return
        kind, term = (Kind.PRE_VOTE, self.term + 1) if pre else (Kind.VOTE, self.term)
        for other in self.rules.voters:
            if other != self.name:
                self.outbox.append(Message(kind, self.name, other, term, self.last, self.term_at(self.last)))

    def _ballot(self, message: Message) -> None:
        free = (self.vote == message.source or (self.vote is None and self.leader is None)
                or (message.kind is Kind.PRE_VOTE and message.term > self.term))
        answer = BALLOTS[message.kind]
        if free and (message.log_term, message.index) >= (self.term_at(self.last), self.last):
            self.outbox.append(Message(answer, self.name, message.source, message.term))
            if message.kind is Kind.VOTE:
                self.elapsed = 0
                self.vote = message.source
        else:
            self._send(answer, message.source, refused=True)

    def _counted(self, message: Message) -> None:
        wanted = {Role.PRE_CANDIDATE: Kind.PRE_VOTE_ANSWER, Role.CANDIDATE: Kind.VOTE_ANSWER}.get(self.role)
        if message.kind is not wanted:
            return
        self._votes.setdefault(message.source, not message.refused)
        granted = sum(self._votes.values())
        if granted >= self.rules.quorum:
            self._won()
        elif len(self._votes) - granted >= self.rules.quorum:
            self._follow(self.term, None)

    def _won(self) -> None:
        if self.role is Role.PRE_CANDIDATE:
            self._campaign(pre=False)
            return
        self._reset(self.term)
        self.role = Role.LEADER
        self.leader = self.name
        self._active = set()
        self.progress = {other: Progress(next=self.last + 1) for other in self.rules.members if other != self.name}
        self.entries.append(Entry(self.term))
        self._broadcast_append()

    # --- following

    def _obey(self, message: Message) -> None:
        source = message.source
        if message.kind is Kind.HEARTBEAT:
            self.commit = max(self.commit, min(message.commit, self.last))
            self._send(Kind.HEARTBEAT_ANSWER, source, context=message.context)
        elif message.kind is Kind.SNAPSHOT:
            if message.index > self.commit:
                self.entries = []
                self.first = self.commit = self.stable = message.index
                self.first_term = message.log_term
            self._send(Kind.APPEND_ANSWER, source, index=self.commit)
        elif message.index < self.commit:
            self._send(Kind.APPEND_ANSWER, source, index=self.commit)
        elif self.term_at(message.index) != message.log_term:
            hint = min(self.last, message.index)
            self._send(Kind.APPEND_ANSWER, source, index=message.index, refused=True, hint=hint)
        else:
            index = message.index
            for offset, entry in enumerate(message.entries):
                index += 1
                if self.term_at(index) != entry.term:
                    del self.entries[index - self.first - 1 :]
                    self.stable = min(self.stable, index - 1)
                    self.entries.extend(message.entries[offset:])
                    break
            accepted = message.index + len(message.entries)
            self.commit = max(self.commit, min(message.commit, accepted))
            self._send(Kind.APPEND_ANSWER, source, index=accepted)

    # --- leading

    def _tick_leader(self) -> None:
        self._heartbeat_elapsed += 1
        if self.elapsed >= self.rules.election_ticks:
            self.elapsed = 0
            heard = 1 + sum(other in self._active for other in self.rules.voters if other != self.name)
            self._active = set()
            if self.rules.check_quorum and heard < self.rules.quorum:
                self._follow(self.term, None)
                return
        if self._heartbeat_elapsed >= self.rules.heartbeat_ticks:
            self._heartbeat_elapsed = 0
            self._broadcast_heartbeat(0)

    def _broadcast_heartbeat(self, context: int) -> None:
        for other, progress in self.progress.items():
            self._send(Kind.HEARTBEAT, other, commit=min(progress.match, self.commit), context=context)

    def _broadcast_append(self) -> None:
        for other in self.progress:
            self._append_to(other)

    def _append_to(self, other: int) -> None:
        progress = self.progress[other]
        if progress.paused or progress.snapshot:
            return
        previous = progress.next - 1
        if previous < self.first:
            progress.snapshot = self.commit
            self._send(Kind.SNAPSHOT, other, index=self.commit, log_term=self.term_at(self.commit))
            return
        entries = tuple(self.entries[previous - self.first :])
        self._send(Kind.APPEND, other, index=previous, log_term=self.term_at(previous), entries=entries,
                   commit=self.commit)
        if progress.probing:
            progress.paused = bool(entries)
        else:
            progress.next = self.last + 1

    def _answered(self, message: Message) -> None:
        source = message.source
        progress = self.progress.get(source)
        if progress is None:
            return
        self._active.add(source)
        if message.kind is Kind.HEARTBEAT_ANSWER:
            progress.paused = False
            if progress.match < self.last:
                self._append_to(source)
            if message.context:
                self._read_answered(source, message.context)
        elif message.kind is Kind.APPEND_ANSWER:
            progress.paused = False
            if message.refused:
                if message.index >= progress.match:
                    progress.next = max(progress.match, min(message.index - 1, message.hint)) + 1
                    progress.probing = True
                    self._append_to(source)
                return
            if message.index >= progress.snapshot:
                progress.snapshot = 0
            if message.index > progress.match:
                progress.match = message.index
                progress.next = max(progress.next, message.index + 1)
                progress.probing = False
                if self._advance_commit():
                    return
            if progress.next <= self.last:
                self._append_to(source)

    def unreachable(self, other: int) -> None:
        """A message to `other` could not be delivered: what it has must be found out again."""
        progress = self.progress.get(other)
        if progress is not None:
            progress.next = progress.match + 1
            progress.probing, progress.paused, progress.snapshot = True, True, 0

    def _read_answered(self, source: int, context: int) -> None:
        acks = self._read_acks.get(context)
        if acks is None or source not in self.rules.voters:
            return
        acks.add(source)
        if len(acks) >= self.rules.quorum:
            self.reads_confirmed = max(self.reads_confirmed, context)
            for earlier in [number for number in self._read_acks if number <= context]:
                del self._read_acks[earlier]

    def _advance_commit(self) -> bool:
        matches = [self.stable if voter == self.name else self.progress[voter].match for voter in self.rules.voters]
        index = sorted(matches, reverse=True)[self.rules.quorum - 1]
        if index <= self.commit or self.term_at(index) != self.term:
            return False
        self.commit = index
        self._broadcast_append()
        return True

    def _send(self, kind: Kind, target: int, **fields: Any) -> None:
        self.outbox.append(Message(kind, self.name, target, self.term, **fields))


def latest_answers(messages: Sequence[Message]) -> list[Message]:
    """What a follower sends after its disk has caught up: of several accepted appends only the last is answered."""
    last_accepted: dict[int, int] = {}
    for position, message in enumerate(messages):
        if message.kind is Kind.APPEND_ANSWER and not message.refused:
            last_accepted[message.target] = position
    return [message for position, message in enumerate(messages)
            if message.kind is not Kind.APPEND_ANSWER or message.refused or last_accepted[message.target] == position]


