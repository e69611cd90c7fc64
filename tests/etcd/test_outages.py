"""What happens when members die, stall or are cut off."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.validate.beds import calibrated
from experiments.validate.control_plane import SIGNIFICANCE
from experiments.validate.outages import etcd_outages_s
from experiments.validate.truth import shared_folder, truth
from sim.etcd.errors import OK
from tests.etcd.groups import group, write_at

needs_measurements = pytest.mark.skipif(shared_folder() is None, reason="the measurements are not beside the repository")


@needs_measurements
def test_outages_after_a_leader_kill_cannot_be_told_from_the_measured_ones():
    from scipy.stats import ks_2samp

    etcd, fsync_s, _ = calibrated("measured-1.20-2core-noisy")
    rows = truth("ground_truth/etcd.json")["leader_failover"]["set1_client_timeout_1_5s"]
    measured = [row["to_first_successful_write_s"] for row in rows]
    simulated = etcd_outages_s(etcd, fsync_s, seed=3, trials=200)
    assert ks_2samp(measured, simulated).pvalue > SIGNIFICANCE


def test_the_shortest_outage_is_an_election_time_out_less_a_tick():
    """Time-outs are 10 to 19 ticks of 0.1 s after the last message; a member's tick may come at once, so no less than
    0.9 s, and (first of two draws, no split vote) seldom more than 1.9 s."""
    etcd, fsync_s, _ = calibrated("measured-1.20-2core")
    outages = etcd_outages_s(etcd, fsync_s, seed=5, trials=150)
    assert outages.min() > 0.9 - 0.012  # the last message may be as old as a probe's period
    assert np.mean(outages < 1.95) > 0.85


def test_pre_vote_keeps_a_member_that_was_cut_off_from_disturbing_the_group():
    """Cut off for 5 s, it cannot win a pre-vote, so its term has not grown and the leader stays when it is back."""
    clock, etcd = group(3, pre_vote=True)
    clock.at(1.0, lambda _: (etcd.cut(0, 2), etcd.cut(1, 2)))
    clock.at(6.0, lambda _: (etcd.heal(0, 2), etcd.heal(1, 2)))
    ends = write_at(clock, etcd, list(np.arange(0.5, 10, 0.25)), member=0)
    clock.run_until(20.0)
    assert all(answer == OK for _, answer in ends)
    assert (etcd.leader, etcd.term) == (0, 1)
    assert etcd._disturbed is None


def test_without_pre_vote_it_deposes_the_leader():
    clock, etcd = group(3, pre_vote=False)
    clock.at(1.0, lambda _: (etcd.cut(0, 2), etcd.cut(1, 2)))
    clock.at(6.0, lambda _: (etcd.heal(0, 2), etcd.heal(1, 2)))
    clock.run_until(30.0)
    assert etcd.term > 1
    assert etcd._disturbed is None


def test_a_leader_without_a_majority_steps_down_and_the_others_go_on():
    """The leader is cut off from both; within its check of the quorum (1 to 2 s) it no longer leads; the majority elects another."""
    clock, etcd = group(3, pre_vote=False)
    clock.at(1.0, lambda _: (etcd.cut(0, 1), etcd.cut(0, 2)))
    later = write_at(clock, etcd, [6.0], member=1)
    clock.run_until(5.0)
    assert etcd.leader in (1, 2)
    assert etcd._members.members[0].raft.leader is None or etcd._members.members[0].raft.role != 3
    clock.run_until(8.0)
    assert later[0][1] == OK


def test_a_stalled_leaders_disk_holds_writes_and_they_come_through_afterwards():
    clock, etcd = group(3)
    clock.at(1.0, lambda _: etcd.stall_disk(0, 0.5))
    ends = write_at(clock, etcd, [0.9, 1.1, 1.2])
    clock.run_until(5.0)
    assert [answer for _, answer in ends] == [OK] * 3
    assert ends[0][0] < 1.0
    assert ends[1][0] == pytest.approx(1.504, abs=1e-6)  # the stall ends at 1.5 s, then 4 ms; followers were long done


def test_a_stalled_followers_disk_delays_nobody():
    clock, etcd = group(3)
    clock.at(1.0, lambda _: etcd.stall_disk(2, 3.0))
    ends = write_at(clock, etcd, [1.1])
    clock.run_until(9.0)
    assert ends == [(1.106, OK)]


def test_a_member_that_missed_too_much_gets_a_snapshot():
    clock, etcd = group(3, snapshot_count=50, catch_up_entries=10)
    clock.at(1.0, lambda _: etcd.crash(2))
    ends = write_at(clock, etcd, list(np.linspace(1.1, 5.0, 200)))
    clock.at(6.0, lambda _: etcd.restart(2))
    clock.run_until(20.0)
    assert all(answer == OK for _, answer in ends)
    assert etcd._disturbed is None  # well again: all members have everything


@pytest.mark.parametrize("seed", range(6))
def test_random_faults_never_lose_an_answered_write(seed):
    """Crashes, returns, cuts and stalls at random: every write is answered exactly once, and what was answered with OK is
    in the log of a majority ever after (the raft tests) and counted in the database."""
    rng = np.random.default_rng(seed)
    clock, etcd = group(3, pre_vote=bool(seed % 2), seed=seed)
    times = list(np.sort(rng.uniform(0.5, 40, 600)))
    ends = write_at(clock, etcd, times)
    for at_s in np.sort(rng.uniform(1, 40, 12)):
        kind, one, other = int(rng.integers(4)), int(rng.integers(3)), int(rng.integers(3))
        if kind == 0:
            clock.at(at_s, lambda _, one=one: etcd.crash(one))
            clock.at(at_s + rng.uniform(0.5, 6), lambda _, one=one: etcd.restart(one))
        elif kind == 1 and one != other:
            clock.at(at_s, lambda _, one=one, other=other: etcd.cut(one, other))
            clock.at(at_s + rng.uniform(0.5, 6), lambda _, one=one, other=other: etcd.heal(one, other))
        elif kind == 2:
            clock.at(at_s, lambda _, one=one: etcd.stall_disk(one, 1.5))
        elif kind == 3 and one != other:
            clock.at(at_s, lambda _, one=one, other=other: etcd.slow_link(one, other, 0.05))
            clock.at(at_s + 2.0, lambda _, one=one, other=other: etcd.heal(one, other))
    clock.run_until(80.0)
    assert all(end > 0 for end, _ in ends), "a write was never answered"
    assert sum(answer == OK for _, answer in ends) <= etcd.puts <= len(times)
    assert etcd._disturbed is None
    assert max(end - begun for (end, _), begun in zip(ends, times, strict=True)) < 10.0
