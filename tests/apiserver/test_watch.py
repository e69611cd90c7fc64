"""Watch caches: order, cost, slow watchers, what is missed and caught up, and the ring against its slow twin."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.apiserver.ring import FRESH_S, LARGEST, SMALLEST, Ring
from sim.apiserver.watch_cache import Watch
from sim.base.rand import Streams
from sim.simulate import Cluster
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of


def idle(**sets) -> Cluster:
    """A cluster in which nothing happens for an hour; events cost 1 ms a watcher, and 0.5 ms on the way."""
    return Cluster(exact(horizon_s=3600, **sets), load_of((3000.0, AppKind.POD, 1)), Streams(1))


class Listener:
    """Writes down what it hears, and when."""

    def __init__(self, cluster: Cluster, resource: str = "things", **how) -> None:
        self._clock = cluster.clock
        self.heard: list[int] = []
        self.at_s: list[float] = []
        self.watch = cluster.watch.watch(resource, "listener", {"changed": self.hear}, **how)

    def hear(self, row: int) -> None:
        self.heard.append(row)
        self.at_s.append(self._clock.now)


class TestDelivery:
    def test_one_change(self):
        cluster = idle()
        listener = Listener(cluster)
        cluster.watch.publish("things", "changed", 7)
        cluster.clock.run_until(1.0)
        assert listener.heard == [7]
        assert listener.at_s == [pytest.approx(1.5 * MS)]

    def test_a_burst_is_two_turns(self):
        """The first change is encoded alone; those that come meanwhile go together in the next turn."""
        cluster = idle()
        listener = Listener(cluster)
        for row in range(5):
            cluster.watch.publish("things", "changed", row)
        cluster.clock.run_until(1.0)
        assert listener.heard == [0, 1, 2, 3, 4]
        assert listener.at_s == [pytest.approx(1.5 * MS), *[pytest.approx((1 + 4 + 0.5) * MS)] * 4]

    def test_watchers_are_served_side_by_side(self):
        cluster = idle()
        listeners = [Listener(cluster) for _ in range(10)]
        cluster.watch.publish("things", "changed", 0)
        cluster.clock.run_until(1.0)
        assert [listener.at_s for listener in listeners] == [[pytest.approx(1.5 * MS)]] * 10
        used_s, _ = cluster.machines["control-plane"].meter.read()
        assert used_s == pytest.approx(10 * MS)

    def test_a_change_is_decoded_and_encoded_once(self):
        """Once a server for etcd's protobuf, once an encoding that someone watches in; sending costs each watcher."""
        sets = {
            "apiserver__encoding__decode_protobuf_byte_cpu_s": 1e-6,
            "apiserver__encoding__encode_protobuf_byte_cpu_s": 2e-6,
            "apiserver__encoding__encode_json_byte_cpu_s": 3e-6,
            "apiserver__encoding__json_ratio": 2.0,
            "etcd__object_bytes": {"things": 1000},
        }
        cluster = idle(**sets)
        for encoding in ("protobuf", "protobuf", "json"):
            Listener(cluster, encoding=encoding)
        cluster.watch.publish("things", "changed", 0)
        cluster.clock.run_until(1.0)
        used_s, _ = cluster.machines["control-plane"].meter.read()
        assert used_s == pytest.approx((1 + 2 + 2 * 3 + 3 * 1) * MS)
        assert cluster.watch.sent_bytes == 1000 + 1000 + 2000

    def test_a_field_selector(self):
        """A selective watch is sent only the kinds that it names; the others all."""
        cluster = idle()
        cluster.watch.watch("things", "all", {})
        cluster.watch.watch("things", "own", {"changed": None}, selective=True)
        cluster.watch.publish("things", "changed", 0)
        cluster.watch.publish("things", "created", 0)
        cluster.clock.run_until(1.0)
        assert cluster.watch.events == 3

    def test_many_alike(self):
        cluster = idle()
        cluster.watch.watch("things", "kube-proxy", {}, count=100)
        cluster.watch.publish("things", "changed", 0)
        cluster.clock.run_until(1.0)
        assert cluster.watch.events == 100
        used_s, _ = cluster.machines["control-plane"].meter.read()
        assert used_s == pytest.approx(100 * MS)

    def test_nobody_watches(self):
        cluster = idle()
        events = cluster.clock.events
        cluster.watch.publish("unheard of", "changed", 0)
        assert cluster.clock.events == events
        assert cluster.watch.events == 0


FREE = {"apiserver__watch_event_cpu_s": 0, "apiserver__watch__channel": 10}


class TestSlowWatchers:
    def test_dropped_when_patience_ends(self):
        """15 changes at once and 50 ms each to read. Ten fit into the channel; the writer waits 50 ms with the 11th. Meanwhile
        one is read, and the other four would make it wait 200 ms more: it has 50 ms of patience left and 2.5 ms regained, then
        the watch ends. The client watches on from there, and misses nothing."""
        cluster = idle(**FREE)
        fast, slow = Listener(cluster), Listener(cluster, read_s=50 * MS)
        for row in range(15):
            cluster.watch.publish("things", "changed", row)
        cluster.clock.run_until(60.0)
        assert cluster.watch.dropped == 1
        assert fast.heard == slow.heard == list(range(15))
        assert cluster.reflectors.relists == 0  # the ring still had what it missed
        assert max(fast.at_s) == pytest.approx((50 + 52.5 + 0.5) * MS)  # the writer was held up for all

    def test_short_waits_are_borne(self):
        """12 changes: two times 20 ms are within the patience; nobody is dropped."""
        cluster = idle(**FREE)
        fast, slow = Listener(cluster), Listener(cluster, read_s=20 * MS)
        for row in range(12):
            cluster.watch.publish("things", "changed", row)
        cluster.clock.run_until(60.0)
        assert cluster.watch.dropped == 0
        assert fast.heard == slow.heard == list(range(12))
        # the first goes alone; the other eleven together, when all twelve are unread: two beyond the channel
        assert max(fast.at_s) == pytest.approx(2 * 20 * MS + 0.5 * MS)

    def test_patience_comes_back(self):
        """Half of it is used up, and comes back at 50 ms a second."""
        cluster = idle(**FREE)
        Listener(cluster, read_s=25 * MS)

        def burst() -> None:
            for row in range(13):
                cluster.watch.publish("things", "changed", row)

        for at_s in (0.0, 2.0, 4.0):  # each costs 75 ms
            cluster.clock.run_until(at_s)
            burst()
        cluster.clock.run_until(10.0)
        assert cluster.watch.dropped == 0
        burst()
        cluster.clock.run_until(10.4)  # the channel is empty again, but only 45 ms of patience are back
        burst()
        cluster.clock.run_until(20.0)
        assert cluster.watch.dropped == 1

    def test_an_index_gives_long_channels(self):
        cluster = idle(**FREE)
        Listener(cluster, resource="secrets", read_s=50 * MS)
        for row in range(500):
            cluster.watch.publish("secrets", "changed", row)
        cluster.clock.run_until(60.0)
        assert cluster.watch.dropped == 0


class TestEnds:
    def test_too_old(self):
        """A watch that missed more than the ring holds has to list first. The ring does not grow for events 80 s apart."""
        cluster = idle(apiserver__list_cpu_s=2 * MS, apiserver__watch_cpu_s=1 * MS)
        listener = Listener(cluster, client=cluster._client("system:kube-controller-manager"))
        hub = cluster.watch
        other = Listener(cluster)
        hub.end(listener.watch)
        for at_s, rows in ((80.0, range(50)), (160.0, range(50, SMALLEST)), (240.0, range(SMALLEST, SMALLEST + 1))):
            cluster.clock.run_until(at_s)
            for row in rows:
                hub.publish("things", "changed", row)
        cluster.clock.run_until(cluster.clock.now + 1)
        hub.on_end(listener.watch)
        cluster.clock.run_until(cluster.clock.now + 10)
        assert cluster.reflectors.relists == 1
        assert listener.heard == other.heard == list(range(SMALLEST + 1))

    def test_not_too_old(self):
        cluster = idle()
        listener = Listener(cluster)
        hub = cluster.watch
        hub.end(listener.watch)
        for row in range(SMALLEST):
            hub.publish("things", "changed", row)
        cluster.clock.run_until(1.0)
        hub.on_end(listener.watch)
        cluster.clock.run_until(2.0)
        assert cluster.reflectors.relists == 0
        assert listener.heard == list(range(SMALLEST))

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(
            st.sampled_from(["publish", "publish", "publish", "end 0", "end 1", "back 0", "back 1", "wait"]),
            max_size=60,
        )
    )
    def test_everyone_hears_everything_once_and_in_order(self, steps):
        cluster = idle()
        listeners = [Listener(cluster) for _ in range(2)]
        away: set[int] = set()
        row = 0
        for step in steps:
            if step == "publish":
                cluster.watch.publish("things", "changed", row)
                row += 1
            elif step == "wait":
                cluster.clock.run_until(cluster.clock.now + 2 * MS)
            else:
                what, _, number = step.partition(" ")
                listener = listeners[int(number)]
                is_open = listener.watch in cluster.watch.topic("things").caches[0].watches
                if what == "end" and is_open:
                    away.add(int(number))
                    cluster.watch.end(listener.watch)
                elif what == "back" and int(number) in away:
                    away.remove(int(number))
                    cluster.watch.on_end(listener.watch)
        for number in away:
            cluster.watch.on_end(listeners[number].watch)
        cluster.clock.run_until(cluster.clock.now + 60)
        for listener in listeners:
            assert sorted(listener.heard) == list(range(row))


class SlowRing:
    """The rule applied event by event, as it is stated."""

    def __init__(self) -> None:
        self.capacity, self.times_s, self.total = SMALLEST, [], 0

    def add(self, time_s: float, count: int) -> None:
        for _ in range(count):
            if len(self.times_s) == self.capacity:
                if self.capacity < LARGEST and time_s - self.times_s[0] < FRESH_S:
                    self.capacity = min(2 * self.capacity, LARGEST)
                elif self.capacity > SMALLEST and time_s - self.times_s[-(self.capacity // 4)] > FRESH_S:
                    self.capacity = max(self.capacity // 2, SMALLEST)
            self.times_s.append(time_s)
            self.total += 1
            self.times_s = self.times_s[-self.capacity :]


class TestRing:
    @settings(max_examples=150, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from([0, 0.1, 1, 10, 60, 80, 200]), st.integers(1, 400)), max_size=80))
    def test_equals_its_slow_twin(self, steps):
        ring, slow, now_s = Ring(), SlowRing(), 0.0
        for wait_s, count in steps:
            now_s += wait_s
            ring.add(now_s, count)
            slow.add(now_s, count)
            assert (ring.capacity, ring.size, ring.total) == (slow.capacity, len(slow.times_s), slow.total)
            assert ring.covers(slow.total - len(slow.times_s))
            assert len(slow.times_s) == slow.total or not ring.covers(slow.total - len(slow.times_s) - 1)

    def test_grows_under_load_to_its_largest(self):
        ring = Ring()
        for second in range(100):
            ring.add(float(second), 5000)
        assert ring.capacity == LARGEST
        assert ring.covers(500_000 - LARGEST)
        assert not ring.covers(500_000 - LARGEST - 1)

    def test_clear(self):
        ring = Ring()
        ring.add(1.0, 1000)
        ring.clear()
        assert ring.covers(1000)
        assert not ring.covers(999)
        assert ring.capacity == SMALLEST


def test_a_watch_catches_up_in_order():
    heard: list[tuple[str, int]] = []
    watch = Watch(
        "things", "w", {"a": lambda row: heard.append(("a", row)), "b": lambda row: heard.append(("b", row)), "c": None}
    )
    for kind, row in (("b", 1), ("c", 2), ("a", 3), ("d", 4)):
        watch.miss(kind, row)
    watch.catch_up()
    watch.catch_up()
    assert heard == [("b", 1), ("a", 3)]


class TestOtherClients:
    def test_fan_out(self):
        """40 dashboards that watch pods are 40 events more a change."""
        events = []
        for clients in ([], [{"resource": "pods", "count": 40}]):
            cluster = idle(apiserver__watch__clients=clients)
            cluster.watch.publish("pods", "status", 0)
            cluster.clock.run_until(1.0)
            events.append(cluster.watch.events)
        assert events[1] - events[0] == 40

    def test_a_slow_one_is_dropped_and_comes_back(self):
        cluster = idle(
            apiserver__watch__clients=[{"resource": "things", "read_s": 0.1}], apiserver__watch_event_cpu_s=0
        )
        for row in range(20):
            cluster.watch.publish("things", "changed", row)
        cluster.clock.run_until(10.0)
        assert cluster.watch.dropped == 1
        assert cluster.watch.topic("things").away == []
