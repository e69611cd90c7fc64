"""Leases: worked examples, and a state machine under random renewals, deaths of the leader and passing time."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sim.etcd.errors import NO_LEASE, OK
from sim.etcd.leases import EXPIRY_PERIOD_S, LeaseTable
from tests.etcd.groups import group


def _run(clock, process):
    ends = []

    def wrapped():
        ends.append((yield from process))

    clock.start(wrapped())
    while not ends:
        clock.run_until(clock.now + 0.001)
    return ends[0]


def test_a_lease_that_nobody_renews():
    """Granted at 4 ms (one write), TTL 5 s: due at 5.004, seen at the look of 5.004 or the next; its two keys go with it."""
    clock, etcd = group(1)
    gone = []
    leases = LeaseTable(clock, etcd, lambda lease, keys: gone.append((lease, keys, round(clock.now, 6))))
    lease, answer = _run(clock, leases.grant(5.0))
    assert (lease, answer) == (1, OK)
    etcd.put(count=2, keys=2)
    assert leases.attach(1, 2) == OK
    clock.run_until(20.0)
    assert gone == [(1, 2, 5.008)]  # found at 5.004, deleted by a write of 4 ms
    assert etcd.database.keys == 0
    assert leases.keep_alive(1) == leases.attach(1, 1) == NO_LEASE


def test_renewing_keeps_it_and_costs_no_write():
    clock, etcd = group(1)
    leases = LeaseTable(clock, etcd)
    _run(clock, leases.grant(5.0))
    puts = etcd.puts
    for _ in range(10):
        clock.run_until(clock.now + 4.0)
        assert leases.keep_alive(1) == OK
    assert etcd.puts == puts
    clock.run_until(clock.now + 4.9)
    assert 1 in leases
    clock.run_until(clock.now + 0.7)
    assert 1 not in leases


def test_the_shortest_lease():
    clock, etcd = group(1)
    leases = LeaseTable(clock, etcd)
    _run(clock, leases.grant(0.1))
    clock.run_until(1.9)
    assert 1 in leases  # one and a half elections, rounded up: 2 s
    clock.run_until(2.7)
    assert 1 not in leases


def test_a_new_leader_gives_all_their_whole_time():
    """The leader dies at 4 s, just before the lease of 5 s is due; another leads about 1.2 s later; the lease lives 5 s more."""
    clock, etcd = group(3, pre_vote=False)
    leases = LeaseTable(clock, etcd)
    _run(clock, leases.grant(5.0))
    clock.at(4.0, lambda _: etcd.crash(0))
    clock.run_until(9.8)
    assert 1 in leases
    clock.run_until(13.0)
    assert 1 not in leases


class LeaseMachine(RuleBasedStateMachine):
    """Never shorter than the TTL since the last renewal; not much longer while the group leads; gone once."""

    @initialize(size=st.sampled_from([1, 3]))
    def begin(self, size):
        self.clock, self.etcd = group(size, pre_vote=False)
        self.gone: dict[int, float] = {}
        self.leases = LeaseTable(self.clock, self.etcd, self._expired)
        self.renewed: dict[int, tuple[float, float]] = {}
        self.revoked: set[int] = set()
        self.disturbed_s = -1e9

    def _expired(self, lease, keys):
        assert lease not in self.gone, "gone twice"
        self.gone[lease] = self.clock.now
        if lease not in self.revoked:
            since_s, ttl_s = self.renewed[lease]
            assert self.clock.now >= since_s + ttl_s - 1e-9, "shorter than its TTL"

    def _grant(self, ttl_s):
        lease, answer = yield from self.leases.grant(ttl_s)
        if answer == OK:
            self.renewed[lease] = (self.clock.now, max(ttl_s, self.leases.minimum_ttl_s))

    def _revoke(self, lease):
        self.revoked.add(lease)
        yield from self.leases.revoke(lease)

    @rule(ttl_s=st.sampled_from([0.5, 3.0, 7.0, 15.0]))
    def grant(self, ttl_s):
        self.clock.start(self._grant(ttl_s))

    @rule(which=st.integers(0, 20))
    def renew(self, which):
        if self.renewed:
            lease = list(self.renewed)[which % len(self.renewed)]
            if self.leases.keep_alive(lease) == OK:
                self.renewed[lease] = (self.clock.now, self.renewed[lease][1])

    @rule(which=st.integers(0, 20))
    def revoke(self, which):
        if self.renewed:
            self.clock.start(self._revoke(list(self.renewed)[which % len(self.renewed)]))

    @rule(for_s=st.sampled_from([0.01, 0.4, 2.0, 9.0]))
    def pass_time(self, for_s):
        self.clock.run_until(self.clock.now + for_s)

    @rule(member=st.integers(0, 2), down_s=st.sampled_from([0.3, 4.0]))
    def kill(self, member, down_s):
        member %= len(self.etcd.programs)
        self.etcd.crash(member)
        self.clock.at(down_s, lambda _: self.etcd.restart(member))
        self.disturbed_s = self.clock.now + down_s

    @invariant()
    def not_much_longer(self):
        """An election, a request that times out, and a whole TTL again is all that can come on top."""
        if not hasattr(self, "clock"):
            return
        for lease, (since_s, ttl_s) in self.renewed.items():
            latest_s = max(since_s, self.disturbed_s + 14.0) + ttl_s + EXPIRY_PERIOD_S + 0.1
            assert lease in self.gone or lease not in self.leases or self.clock.now <= latest_s, f"lease {lease} outlives its TTL"


LeaseMachine.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))
TestLeases = LeaseMachine.TestCase
