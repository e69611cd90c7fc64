"""client-go's leader election: worked examples, partitions, skewed clocks, and the measured take-overs."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.validate.outages import scheduler_outages_s
from experiments.validate.truth import shared_folder, truth
from sim.controllers.leader_election import Elector, LeaderElectionSpec
from sim.engine.clock import Clock

REQUEST_S = 0.25


class Cloud:
    """An API server with one record. A replica that is cut off gets no answer for `timeout_s`; its writes do not arrive."""

    def __init__(self, clock, timeout_s=5.0):
        self.clock, self.timeout_s = clock, timeout_s
        self.record, self.version, self.conflicts = None, 0, 0
        self.cut: set[str] = set()

    def port(self, name):
        return _Port(self, name)


class _Port:
    def __init__(self, cloud, name):
        self.cloud, self.name = cloud, name

    def get(self):
        cloud = self.cloud
        if self.name in cloud.cut:
            yield cloud.clock.timeout(cloud.timeout_s)
            return None
        yield cloud.clock.timeout(REQUEST_S)
        return cloud.record, cloud.version

    def update(self, record, version):
        cloud = self.cloud
        if self.name in cloud.cut:
            yield cloud.clock.timeout(cloud.timeout_s)
            return 0
        yield cloud.clock.timeout(REQUEST_S)
        if version != cloud.version:
            cloud.conflicts += 1
            return 0
        cloud.record, cloud.version = record, cloud.version + 1
        return cloud.version


class Watch:
    """Replicas, and the intervals in which each led."""

    def __init__(self, names="ab", spec=None, draws=lambda: 0.0, skew_s=None, timeout_s=5.0):
        self.clock = Clock()
        self.cloud = Cloud(self.clock, timeout_s)
        self.spec = spec or LeaderElectionSpec()
        self.led: list[tuple[str, float, float]] = []
        self.begun: dict[str, float] = {}
        self.electors = {
            name: Elector(self.clock, self.spec, name, self.cloud.port(name), draws, skew_s=(skew_s or {}).get(name, 0.0),
                          on_start=lambda name=name: self._start(name), on_stop=lambda name=name: self._stop(name))
            for name in names}

    def _start(self, name):
        assert not self.begun, f"{name} and {list(self.begun)} lead at once at {self.clock.now}"
        self.begun[name] = self.clock.now

    def _stop(self, name):
        self.led.append((name, self.begun.pop(name), self.clock.now))

    def start(self, name, at_s=0.0):
        self.clock.at(at_s, lambda _: self.clock.start(self.electors[name].run()))


def test_the_first_to_write_leads_and_renews_every_two_seconds():
    """Requests take 0.25 s: read, write: leads at 0.5. Renewals begin at once (0.5), then 2 s after each has ended: a
    try takes 0.5 s, so records are written at 0.5, 1.0, 3.5, 6.0, ... The standby of 0.1 s reads at 0.35 that there is
    no record, and its write of 0.6 meets a conflict."""
    watch = Watch()
    watch.start("a")
    watch.start("b", 0.1)
    watch.clock.run_until(6.5)
    assert watch.begun == {"a": 0.5}
    assert watch.cloud.conflicts == 1
    assert watch.cloud.version == 4
    assert watch.cloud.record.transitions == 0


def test_take_over_after_a_kill():
    """Without jitter (draw 0) the standby tries every 2 s after a try has ended. Leader a writes at 0.5, 1.0, 3.5, 6.0 and
    dies at 7. Standby b starts at 5: it reads at 5.25 (record of 3.5), then at 7.5 (record of 6.0: changed, its 15 s begin at
    7.5), and 9.75, 12.0, 14.25, 16.5, 18.75, 21.0. The wait begins at 7.5 and is compared with the time at which a try
    begins: 7.5 + 15 = 22.5 is later than the try that begins at 20.75; the next begins at 23.0: reads 23.25, writes 23.5."""
    watch = Watch()
    watch.start("a")
    watch.start("b", 5.0)
    watch.clock.at(7.0, lambda _: watch.electors["a"].kill())
    watch.clock.run_until(40.0)
    assert watch.led == [("a", 0.5, 7.0)]
    assert watch.begun == {"b": 23.5}
    assert watch.cloud.record.transitions == 1


def test_a_leader_that_cannot_renew_stops_before_anyone_may_take_over():
    """a's last try that succeeds ends at 6.0 and the next begins at 8.0, when it is cut off: it gives up 10 s later."""
    watch = Watch()
    watch.start("a")
    watch.start("b", 5.0)
    watch.clock.at(7.0, lambda _: watch.cloud.cut.add("a"))
    watch.clock.run_until(60.0)
    assert watch.led == [("a", 0.5, 18.0)]
    assert watch.begun == {"b": 23.5}


@pytest.mark.parametrize("release", [True, False])
def test_release_on_stop_spares_the_wait(release):
    """Stopped at 7 s, between two tries; the release is written at 7.25. The standby (tries begin at 5, 7.25, 9.5, ...) reads
    at 7.5 that it is free, and leads at 7.75; without a release it waits as after a kill."""
    watch = Watch(spec=LeaderElectionSpec(release_on_stop=release))
    watch.start("a")
    watch.start("b", 5.0)
    watch.clock.at(7.0, lambda _: watch.electors["a"].stop())
    watch.clock.run_until(60.0)
    assert watch.led == [("a", 0.5, 7.0)]
    assert watch.begun == {"b": 7.75 if release else 23.5}


def test_a_short_cut_ends_no_leadership():
    watch = Watch(timeout_s=1.0)
    watch.start("a")
    watch.start("b", 0.1)
    watch.clock.at(7.0, lambda _: watch.cloud.cut.add("a"))
    watch.clock.at(14.0, lambda _: watch.cloud.cut.discard("a"))
    watch.clock.run_until(100.0)
    assert watch.led == []
    assert "a" in watch.begun


@pytest.mark.parametrize("skew_s", [-3600.0, -20.0, 20.0, 3600.0])
def test_skewed_clocks_do_not_matter(skew_s):
    """Replicas never compare their clock with the times in the record, only with their own observations."""
    watch = Watch(skew_s={"b": skew_s})
    watch.start("a")
    watch.start("b", 5.0)
    watch.clock.at(7.0, lambda _: watch.electors["a"].kill())
    watch.clock.run_until(40.0)
    assert watch.begun == {"b": 23.5}


@pytest.mark.parametrize("seed", range(40))
def test_two_never_lead_at_once_under_partitions(seed):
    """Three replicas, cut off and joined again, killed and started, at random for half an hour: `Watch` fails as soon as one
    begins to lead before another has ceased. Someone leads most of the time."""
    rng = np.random.default_rng(seed)
    watch = Watch("abc", draws=rng.random, skew_s={"a": 5.0, "b": -7.0}, timeout_s=float(rng.uniform(0.5, 30)))
    clock, cloud = watch.clock, watch.cloud
    for name in "abc":
        watch.start(name, float(rng.uniform(0, 3)))

    def restart_ended(_):
        """A component that has lost the lease exits and is started again."""
        for name, elector in list(watch.electors.items()):
            if elector.ended:
                fresh = watch.electors[name] = Elector(
                    clock, watch.spec, name, cloud.port(name), rng.random,
                    on_start=lambda name=name: watch._start(name), on_stop=lambda name=name: watch._stop(name))
                clock.start(fresh.run())
        clock.at(7.0, restart_ended)

    clock.at(7.0, restart_ended)
    for at_s in np.cumsum(rng.exponential(25, 60)):
        name = "abc"[rng.integers(3)]
        if rng.random() < 0.7:
            clock.at(at_s, lambda _, name=name: cloud.cut.add(name))
            clock.at(at_s + rng.exponential(15), lambda _, name=name: cloud.cut.discard(name))
        else:
            clock.at(at_s, lambda _, name=name: watch.electors[name].kill())
    clock.run_until(1800.0)
    held_s = sum(end - begin for _, begin, end in watch.led) + sum(clock.now - begin for begin in watch.begun.values())
    assert held_s > 0.3 * 1800.0


@pytest.mark.skipif(shared_folder() is None, reason="the measurements are not beside the repository")
def test_take_overs_cannot_be_told_from_the_measured_ones():
    from scipy.stats import ks_2samp

    measured = [row["to_next_bind_s"] for row in truth("ground_truth/scheduler_leader_election.json")["rows"]]
    assert ks_2samp(measured, scheduler_outages_s(LeaderElectionSpec(), seed=2, trials=400)).pvalue > 0.05


def test_bad_settings_are_refused():
    with pytest.raises(ValueError, match="must be more than renew_deadline_s"):
        LeaderElectionSpec(lease_s=10, renew_deadline_s=10)
    with pytest.raises(ValueError, match="must be more than jitter x retry_s"):
        LeaderElectionSpec(retry_s=9)
