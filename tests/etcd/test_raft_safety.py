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

    @rule(rounds=st.integers(1, 12), apart=st.sets(st.integers(0, 5), max_size=3), slow=st.sets(st.integers(0, 5), max_size=3),
          proposing=st.booleans())
    def go_on(self, rounds, apart=frozenset(), slow=frozenset(), proposing=False):
        """Some rounds in which elections and appends get through, but not between `apart` and the others, and not to
        the disks of `slow`. All that lead propose, if `proposing`."""
        for _ in range(rounds):
            for member in self.members:
                member.tick()
                if proposing and member.propose([self.proposed]):
                    self.proposed += 1
            for _ in range(4):
                for name in range(len(self.members)):
                    self._ready(name)
                    if name not in slow:
                        self._saved(name)
                wire, self.wire = self.wire, []
                for message in wire:
                    if (message.source in apart) == (message.target in apart):
                        self.members[message.target].step(message)
                    else:
                        self.members[message.source].unreachable(message.target)
                    self._check()

    @rule()
    def power_cut(self):
        """All crash at once; what is under way on the wire is lost."""
        self.wire, self.saving = [], {}
        for member in self.members:
            member.restart()

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


RaftGroup.TestCase.settings = settings(max_examples=200, stateful_step_count=50, deadline=None,
                                       suppress_health_check=list(HealthCheck))
TestRaftSafety = RaftGroup.TestCase


def _settle(group: RaftGroup, rounds: int) -> None:
    RaftGroup.go_on(group, rounds)


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


def test_an_old_leaders_entry_is_not_committed_by_counting_alone():
    """The raft paper's figure 8: an entry of an earlier term on a majority may still be replaced, so it is only committed
    together with one of the leader's own term."""
    rules = RaftRules((0, 1, 2, 3, 4), pre_vote=False, check_quorum=False)
    leader = RaftMember(0, rules, lambda: 0)
    leader.term, leader.vote, leader.saved_state = 2, None, (2, None)
    leader.entries, leader.stable = [Entry(1, "a"), Entry(2, "b")], 2
    for _ in range(10):
        leader.tick()
    for voter in (1, 2):
        leader.step(Message(Kind.VOTE_ANSWER, voter, 0, 3))
    assert leader.role is Role.LEADER
    for follower in (1, 2):
        leader.step(Message(Kind.APPEND_ANSWER, follower, 0, 3, index=2))
    assert leader.commit == 0
    leader.persisted(3, 3, (3, 0))
    for follower in (1, 2):
        leader.step(Message(Kind.APPEND_ANSWER, follower, 0, 3, index=3))
    assert leader.commit == 3


def test_no_vote_for_a_log_that_lacks_entries():
    member = RaftMember(0, RaftRules((0, 1, 2), pre_vote=False), lambda: 0)
    member.entries, member.stable, member.term = [Entry(1, "a"), Entry(1, "b")], 2, 1
    member.step(Message(Kind.VOTE, 1, 0, 2, index=1, log_term=1))
    member.step(Message(Kind.VOTE, 2, 0, 2, index=1, log_term=2))
    assert [(message.target, message.refused) for message in member.outbox] == [(1, True), (2, False)]


def test_a_leader_does_not_count_its_own_entry_before_it_is_on_its_disk():
    leader = RaftMember(0, RaftRules((0, 1, 2), pre_vote=False), lambda: 0)
    for _ in range(10):
        leader.tick()
    leader.step(Message(Kind.VOTE_ANSWER, 1, 0, 1))
    leader.step(Message(Kind.APPEND_ANSWER, 1, 0, 1, index=1))
    assert leader.commit == 0
    leader.persisted(1, 1, (1, 0))
    assert leader.commit == 1


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
