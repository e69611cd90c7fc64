"""Groups so small that every time is worked out by hand; the closed form and the messages must both hit it."""

from __future__ import annotations

import pytest

from sim.etcd.errors import LEADER_FAILED, NO_SPACE, OK, TIMED_OUT, TOO_LARGE, UNREACHABLE
from tests.etcd.groups import group, write_at

BOTH = pytest.mark.parametrize("messages", [False, True], ids=["closed form", "messages"])


@BOTH
def test_one_member_group_commit(messages):
    """fsync 4 ms. The write at 10 ms is alone in its fsync: 14 ms. Those of 11 and 13 ms come during it and share
    the next, 14 to 18 ms. The write of 17 ms waits for 18 and is done at 22 ms."""
    clock, etcd = group(1, messages=messages)
    ends = write_at(clock, etcd, [0.010, 0.011, 0.013, 0.017])
    clock.run_until(1.0)
    assert ends == [(0.014, OK), (0.018, OK), (0.018, OK), (0.022, OK)]
    assert etcd.disks[0].fsyncs == 3


@BOTH
def test_three_members_wait_for_the_faster_follower(messages):
    """Sent at 10 ms, with the followers at 11; their disks take 6 and 20 ms: 17 and 31; answers are back at 18 and 32.
    The leader's own disk is done at 14. A quorum is two of three: 18 ms."""
    clock, etcd = group(3, [0.004, 0.006, 0.020], messages=messages)
    ends = write_at(clock, etcd, [0.010])
    clock.run_until(1.0)
    assert ends == [(0.018, OK)]


@BOTH
def test_the_leaders_own_disk_may_be_the_slow_one(messages):
    """Followers have answered at 10 + 1 + 4 + 1 = 16 ms, but the leader's loop is in its own fsync until 40 ms."""
    clock, etcd = group(3, [0.030, 0.004, 0.004], messages=messages)
    ends = write_at(clock, etcd, [0.010])
    clock.run_until(1.0)
    assert ends == [(0.040, OK)]


@BOTH
def test_five_members_wait_for_the_second_fastest_follower(messages):
    """Answers at 10 + 2 + {5, 9, 7, 30} = 17, 21, 19, 42 ms; three of five with the leader's own disk (14): 19 ms."""
    clock, etcd = group(5, [0.004, 0.005, 0.009, 0.007, 0.030], messages=messages)
    ends = write_at(clock, etcd, [0.010])
    clock.run_until(1.0)
    assert ends == [(0.019, OK)]


@BOTH
def test_a_learner_is_not_waited_for(messages):
    """Two voters and a learner with a fast disk: the quorum of two voters needs the slow one: 10 + 1 + 9 + 1 = 21 ms."""
    clock, etcd = group(3, [0.004, 0.009, 0.001], learners=1, messages=messages)
    ends = write_at(clock, etcd, [0.010])
    clock.run_until(1.0)
    assert ends == [(0.021, OK)]


@BOTH
def test_appends_are_pipelined_and_share_a_followers_fsync(messages):
    """Disks: leader 2 ms, followers 8 ms. Writes at 10, 12 and 14 ms make three leader's batches: 10-12, 12-14, 14-16.
    Followers get them at 11, 13 and 15. The first is on disk at 19; the other two, waiting, share 19-27.
    Answers: 20 and 28 ms, when the leader's loop is free."""
    clock, etcd = group(3, [0.002, 0.008, 0.008], messages=messages)
    ends = write_at(clock, etcd, [0.010, 0.012, 0.014])
    clock.run_until(1.0)
    assert ends == [(0.020, OK), (0.028, OK), (0.028, OK)]


@BOTH
def test_an_answer_waits_for_the_leaders_loop(messages):
    """Disks: leader 10 ms, followers 4 ms. The write of 10 ms is on two followers at 15, known at 16, on the own disk at
    20: 20 ms. The write of 13 ms waits for the loop: 20 to 30 ms on the own disk, and the answers are long there."""
    clock, etcd = group(3, [0.010, 0.004, 0.004], messages=messages)
    ends = write_at(clock, etcd, [0.010, 0.013])
    clock.run_until(1.0)
    assert ends == [(0.020, OK), (0.030, OK)]


@BOTH
def test_a_write_through_a_follower(messages):
    """1 ms to the leader (11); own disk 15; followers get it at 12, disk 16, answers at 17: agreed. The follower hears
    of it at 18 ms and answers."""
    clock, etcd = group(3, messages=messages)
    ends = write_at(clock, etcd, [0.010], member=1)
    clock.run_until(1.0)
    assert ends == [(0.018, OK)]


@BOTH
def test_a_linearizable_read_asks_a_quorum_and_a_serializable_one_does_not(messages):
    """Linearizable at the leader: a heartbeat there and back, 2 ms. Through a follower: 1 ms more each way.
    Serializable: at once."""
    clock, etcd = group(3, messages=messages)
    ends = {}

    def read(name, **how):
        yield etcd.range(**how)
        ends[name] = round(clock.now, 9)

    def begin(_):
        clock.start(read("leader"))
        clock.start(read("serializable", serializable=True))

    clock.at(0.010, begin)
    clock.at(0.050, lambda _: clock.start(read("follower", member=2)))
    clock.run_until(1.0)
    assert ends == {"leader": 0.012, "serializable": 0.010, "follower": 0.054}


@BOTH
def test_a_linearizable_read_waits_for_the_loop_but_not_for_the_write(messages):
    """One member: its confirmation comes by when the loop, in an fsync from 10 to 14 ms, looks again."""
    clock, etcd = group(1, messages=messages)
    write_at(clock, etcd, [0.010])
    ends = []

    def read():
        yield etcd.range()
        ends.append(round(clock.now, 9))

    clock.at(0.011, lambda _: clock.start(read()))
    clock.run_until(1.0)
    assert ends == [0.014]


@BOTH
def test_a_backend_commit_holds_what_wants_to_be_applied(messages):
    """Commits every 100 ms when something was written, 30 ms each. The write of 10 ms is applied at 14. The commit of 100
    ms holds the lock until 130: the write of 105 ms is agreed at 109 and applied at 130 ms. The next commit is due at
    230 and then ends at 260: a write agreed at 234 waits for it."""
    from sim.base.rand import Constant

    clock, etcd = group(1, messages=messages, backend_commit_s=Constant(value=0.030))
    ends = write_at(clock, etcd, [0.010, 0.105, 0.230])
    clock.run_until(1.0)
    assert ends == [(0.014, OK), (0.130, OK), (0.260, OK)]


@BOTH
def test_compaction_holds_writes_a_batch_at_a_time(messages):
    """20 old revisions, 10 a batch of 1 ms each, 500 ms between. Batches hold the lock from 1.000 to 1.010 and from 1.510 to
    1.520 s: writes agreed at 1.006 and 1.518 wait for their ends, one agreed at 1.204 does not."""
    fields = {"compaction_period_s": 1.0, "compaction_batch": 10, "compact_revision_cpu_s": 0.001, "compaction_pause_s": 0.5}
    clock, etcd = group(1, messages=messages, **fields)
    write_at(clock, etcd, [0.01 * number for number in range(1, 21)])
    ends = write_at(clock, etcd, [1.002, 1.2, 1.514])
    clock.run_until(1.9)
    assert ends == [(1.010, OK), (1.204, OK), (1.520, OK)]
    assert etcd.database.history == 3


@BOTH
def test_defragmentation_stops_all_writes_for_as_long_as_the_file_is_large(messages):
    """A write just after it began, at 2 s, is answered when the file has been rewritten at 100 kB/s."""
    clock, etcd = group(1, messages=messages, defragment_period_s=2.0, defragment_bytes_per_s=1e5, usual_object_bytes=4_000)
    write_at(clock, etcd, [0.5, 0.6, 0.7], keys=1)
    ends = write_at(clock, etcd, [2.001, 2.5])
    clock.run_until(1.9)
    rewritten_s = 2.0 + etcd.database.file_bytes / 1e5
    assert rewritten_s > 2.1
    clock.run_until(3.0)
    assert ends == [(pytest.approx(rewritten_s), OK), (2.504, OK)]


def test_costs_of_one_write():
    """Wake 1 ms, taking in 2 ms, batch 0.5 ms, fsync's CPU 0.25 ms and disk 4 ms, wake 1 ms, reply 3 ms: 10 + 11.75 ms."""
    costs = {"wake_cpu_s": 0.001, "put_cpu_s": 0.002, "batch_cpu_s": 0.0005, "fsync_cpu_s": 0.00025, "reply_cpu_s": 0.003}
    for messages in (False, True):
        clock, etcd = group(1, messages=messages, **costs)
        ends = write_at(clock, etcd, [0.010])
        clock.run_until(1.0)
        assert ends == [(0.02175, OK)]
        assert etcd.programs[0].cpu_s == pytest.approx(0.00775)


def test_refusals():
    clock, etcd = group(1, quota_bytes=10_000, usual_object_bytes=4_000)
    ends = write_at(clock, etcd, [0.01, 0.02, 0.03, 0.04], keys=1)
    large = write_at(clock, etcd, [0.05], size_bytes=2e6)
    freed = write_at(clock, etcd, [0.06], keys=-1)
    clock.run_until(1.0)
    assert [answer for _, answer in ends] == [OK, OK, NO_SPACE, NO_SPACE]
    assert ends[2][0] == 0.03  # refused on arrival
    assert large == [(0.05, TOO_LARGE)]
    assert freed == [(0.064, OK)]
    assert etcd.refused == {NO_SPACE: 2, TOO_LARGE: 1}


def test_the_space_alarm_stays_until_it_is_disarmed_after_defragmentation():
    clock, etcd = group(1, quota_bytes=10_000, usual_object_bytes=4_000, compaction_period_s=5.0, defragment_period_s=9.0)
    ends = write_at(clock, etcd, [0.01, 0.02, 0.03, 6.0, 9.5])
    clock.run_until(10.0)
    # three updates of one key's size: two fit; compaction frees pages, but the file and the alarm stay until 9 s
    assert [answer for _, answer in ends] == [OK, OK, NO_SPACE, NO_SPACE, OK]


def test_a_dead_leaders_clients_are_told_and_a_followers_clients_wait_for_seven_seconds():
    """The leader dies at 1 s. Its own clients' connections break. A write that a follower sent on to it is lost: the
    answer comes from the server's own limit, 5 s and two elections of 1 s, after it was taken in."""
    clock, etcd = group(3, pre_vote=False)
    clock.at(0.5, lambda _: etcd.attend(10))
    clock.at(1.0, lambda _: etcd.crash(0))
    own = write_at(clock, etcd, [0.998], member=0)
    lost = write_at(clock, etcd, [1.01], member=1)
    clock.run_until(20.0)
    assert own == [(1.0, UNREACHABLE)]
    assert lost == [(8.01, LEADER_FAILED)]


def test_without_a_majority_writes_wait_for_the_time_out_and_come_back_with_the_members():
    clock, etcd = group(3, pre_vote=True)
    clock.at(1.0, lambda _: (etcd.crash(1), etcd.crash(2)))
    stuck = write_at(clock, etcd, [1.2], member=0)
    clock.at(20.0, lambda _: (etcd.restart(1), etcd.restart(2)))
    later = write_at(clock, etcd, [26.0], member=0)
    clock.run_until(40.0)
    assert stuck == [(8.2, TIMED_OUT)] or stuck == [(8.2, LEADER_FAILED)]
    assert later[0][1] == OK
    assert etcd.leader in (0, 1, 2)
