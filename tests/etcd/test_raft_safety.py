"""Raft's safety under random faults: at most one leader a term, and what is committed survives any minority loss."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sim.etcd.raft import Entry, Kind, Message, RaftMember, RaftRules, Role, latest_answers


class RaftGroup(RuleBasedStateMachine):
    """Members whose messages are delayed, lost, doubled and reordered, whose disks lag, and that crash and return."""

    @initialize(size=st.sampled_from([1, 3, 4, 5]), learners=st.integers(0, 1), pre_vote=st.booleans(),
                check_quorum=st.booleans(), seed=st.integers(0, 2**16))
    def begin(self, size, learners, pre_vote, check_quorum, seed):
        rng = np.random.default_rng(seed)
        self.rules = RaftRules(tuple(range(size)), tuple(range(size, size + learners)), 3, 1, pre_vote, check_quorum)
        self.members = [RaftMember(name, self.rules, lambda: int(rng.integers(3))) for name in self.rules.members]
        self.saving = {}
        self.wire: list[Message] = []
        self.leaders: dict[int, int] = {}
        self.committed: list[Entry] = []
        self.proposed = 0

    def _ready(self, name):
        """Begin a save: what must not be sent before is held back until it ends."""
        member = self.members[name]
        if name in self.saving:
            return
        sent, member.outbox = member.outbox, []
        if member.role is Role.LEADER:
            self.wire += sent
            sent = []
        self.saving[name] = (member.last, member.term_at(member.last), (member.term, member.vote), latest_answers(sent))

    def _saved(self, name):
        if name in self.saving:
            index, term, state, held = self.saving.pop(name)
            self.members[name].persisted(index, term, state)
            self.wire += held

    @rule(name=st.integers(0, 5))
    def tick(self, name):
        self.members[name % len(self.members)].tick()

    @rule(name=st.integers(0, 5))
    def ready(self, name):
        self._ready(name % len(self.members))

    @rule(name=st.integers(0, 5))
    def saved(self, name):
        self._saved(name % len(self.members))

    @precondition(lambda self: self.wire)
    @rule(which=st.integers(0, 2**16), keep=st.booleans())
    def deliver(self, which, keep):
        message = self.wire[which % len(self.wire)]
        if not keep:
            self.wire.remove(message)
        self.members[message.target].step(message)

    @precondition(lambda self: self.wire)
    @rule(which=st.integers(0, 2**16))
    def lose(self, which):
        message = self.wire.pop(which % len(self.wire))
        self.members[message.source].unreachable(message.target)

    @rule(name=st.integers(0, 5), count=st.integers(1, 3))
    def propose(self, name, count):
        member = self.members[name % len(self.members)]
        if member.propose([self.proposed + offset for offset in range(count)]):
            self.proposed += count

    @rule(name=st.integers(0, 5))
    def crash(self, name):
        name %= len(self.members)
        self.saving.pop(name, None)
        self.members[name].restart()

    @rule(name=st.integers(0, 5), behind=st.integers(0, 2))
    def compact(self, name, behind):
        member = self.members[name % len(self.members)]
        member.compact(min(member.commit, member.stable) - behind)

    @rule(rounds=st.integers(1, 12))
    def calm(self, rounds):
        """Some rounds without faults, so that elections and appends get through."""
        for _ in range(rounds):
            for member in self.members:
                member.tick()
            for _ in range(4):
                for name in range(len(self.members)):
                    self._ready(name)
                    self._saved(name)
                wire, self.wire = self.wire, []
                for message in wire:
                    self.members[message.target].step(message)
                    self._check()

    @invariant()
    def safe(self):
        if hasattr(self, "members"):
            self._check()

    def _check(self):
        for member in self.members:
            if member.role is Role.LEADER:
                assert self.leaders.setdefault(member.term, member.name) == member.name, "two leaders in one term"
            for index in range(member.first + 1, member.commit + 1):
                entry = member.entries[index - member.first - 1]
                if index <= len(self.committed):
                    assert self.committed[index - 1] == entry, f"committed entry {index} changed"
                else:
                    assert index == len(self.committed) + 1
                    self.committed.append(entry)
            assert member.stable <= member.last
            assert member.commit <= member.last
        durable = sorted((m.stable for m in self.members if m.name in self.rules.voters), reverse=True)
        assert durable[self.rules.quorum - 1] >= len(self.committed), "committed without a quorum of disks"


RaftGroup.TestCase.settings = settings(max_examples=150, stateful_step_count=60, deadline=None,
                                       suppress_health_check=list(HealthCheck))
TestRaftSafety = RaftGroup.TestCase


def _settle(group: RaftGroup, rounds: int) -> None:
    RaftGroup.calm(group, rounds)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_a_calm_group_elects_a_leader_and_commits(size):
    group = RaftGroup()
    RaftGroup.begin(group, size, 1, True, True, 7)
    _settle(group, 40)
    leader = next(member for member in group.members if member.role is Role.LEADER)
    assert leader.propose([1, 2])
    _settle(group, 4)
    assert [[entry.data for entry in member.entries] for member in group.members] == [[None, 1, 2]] * (size + 1)
    assert {member.commit for member in group.members} == {3}


def test_a_learner_neither_votes_nor_counts():
    rules = RaftRules((0, 1, 2), (3,), pre_vote=False)
    leader = RaftMember(0, rules, lambda: 0)
    for _ in range(10):
        leader.tick()
    assert {message.target for message in leader.outbox} == {1, 2}
    leader.step(Message(Kind.VOTE_ANSWER, 1, 0, 1))
    leader.persisted(1, 1, (1, 0))
    leader.step(Message(Kind.APPEND_ANSWER, 3, 0, 1, index=1))
    assert leader.commit == 0
    leader.step(Message(Kind.APPEND_ANSWER, 2, 0, 1, index=1))
    assert leader.commit == 1


def test_no_vote_within_the_lease_of_a_leader():
    """Check-quorum: a member that heard a leader within the election time-out ignores other candidates."""
    member = RaftMember(0, RaftRules((0, 1, 2), pre_vote=False), lambda: 5)
    member.step(Message(Kind.HEARTBEAT, 1, 0, 1))
    member.outbox.clear()
    for _ in range(9):
        member.tick()
    member.step(Message(Kind.VOTE, 2, 0, 2))
    assert member.outbox == []
    assert member.term == 1
    member.tick()
    member.step(Message(Kind.VOTE, 2, 0, 2))
    assert [(message.kind, message.refused) for message in member.outbox] == [(Kind.VOTE_ANSWER, False)]


def test_a_follower_too_far_behind_gets_a_snapshot():
    group = RaftGroup()
    RaftGroup.begin(group, 3, 0, False, True, 3)
    _settle(group, 30)
    leader = next(member for member in group.members if member.role is Role.LEADER)
    lagging = next(member for member in group.members if member.role is Role.FOLLOWER)
    for number in range(8):
        leader.propose([number])
        leader.outbox = [message for message in leader.outbox if message.target != lagging.name]
        _settle(group, 0)
        for _ in range(3):
            for name in range(3):
                group._ready(name)
                group._saved(name)
            wire, group.wire = group.wire, []
            for message in wire:
                if lagging.name not in (message.source, message.target):
                    group.members[message.target].step(message)
    leader.compact(leader.commit)
    leader.unreachable(lagging.name)
    _settle(group, 6)
    assert lagging.first >= 8
    assert lagging.commit == leader.commit == leader.last
