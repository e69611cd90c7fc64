"""LISTs, encodings, optimistic concurrency and the price of a request, against sums done by hand."""

from __future__ import annotations

import pytest

from sim.apiserver.encoding import EncodingSpec
from sim.apiserver.identity import SCHEDULER, identity
from sim.apiserver.pipeline import CONFLICT
from sim.apiserver.request import (
    CREATE_EVENT,
    CREATE_POD,
    GET_POD,
    PATCH_POD_STATUS,
    RENEW_LEASE,
    Operation,
    list_operation,
)
from sim.base.rand import Streams
from sim.simulate import Cluster
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of

ADMIN = identity("system:admin", ("system:masters",))
NS = 1e-9
RANGE = 3 * MS
"""One etcd range in the exact scenario."""


def idle(**sets) -> Cluster:
    """A cluster in which nothing happens for an hour."""
    return Cluster(exact(horizon_s=3600, **sets), load_of((3000.0, AppKind.POD, 1)), Streams(1))


def timed(cluster: Cluster, operation: Operation, namespace: str = "", guard=None) -> tuple[float, int, int]:
    """(seconds, status, events) of one request alone."""
    clock = cluster.clock
    begun_s, events = clock.now, clock.events
    task = clock.start(cluster.api.serve(operation, ADMIN, namespace, guard=guard))
    while task.callbacks is not None:
        clock.run_until(clock.peek())
    return clock.now - begun_s, task.value, clock.events - events


LISTING = {
    "apiserver__list_cpu_s": 4 * MS,
    "apiserver__lists__scan_cpu_s": 0.01 * MS,
    "apiserver__lists__collector_share": 0,
    "apiserver__encoding__encode_protobuf_byte_cpu_s": 2 * NS,
    "apiserver__encoding__decode_protobuf_byte_cpu_s": 5 * NS,
    "apiserver__encoding__gzip_threshold_bytes": None,
    "etcd__object_bytes": {"pods": 1000},
    "etcd__range_byte_cpu_s": 3 * NS,
    "kubernetes": "1.20",
}


class TestLists:
    def test_from_etcd(self):
        cluster = idle(**LISTING)
        cluster.storage.add("pods", "a", 200)
        cluster.storage.add("pods", "b", 800)
        took_s, code, _ = timed(cluster, list_operation("pods", "namespace"), "a")
        # 200 objects of 1,000 bytes: etcd reads them, the server decodes and encodes them
        assert (code, took_s) == (200, pytest.approx(4 * MS + RANGE + 200e3 * (3 + 5 + 2) * NS))

    def test_from_the_cache(self):
        cluster = idle(**LISTING)
        cluster.storage.add("pods", "a", 200)
        cluster.storage.add("pods", "b", 800)
        took_s, code, _ = timed(cluster, list_operation("pods", "namespace", "any"), "a")
        # no etcd, but the cache of 1.20 looks at all 1,000 objects for the namespace's 200
        assert (code, took_s) == (200, pytest.approx(4 * MS + 1000 * 0.01 * MS + 200e3 * 2 * NS))
        assert cluster.etcd.ranges == 0

    def test_an_index_looks_only_at_what_is_asked_for(self):
        cluster = idle(**{**LISTING, "apiserver__lists__indexed": True})
        cluster.storage.add("pods", "a", 200)
        cluster.storage.add("pods", "b", 800)
        took_s, _, _ = timed(cluster, list_operation("pods", "namespace", "any"), "a")
        assert took_s == pytest.approx(4 * MS + 200 * 0.01 * MS + 200e3 * 2 * NS)

    def test_garbage_collection_goes_on_beside_it(self):
        cluster = idle(**{**LISTING, "apiserver__lists__collector_share": 0.25})
        cluster.storage.add("pods", "a", 1000)
        took_s, _, _ = timed(cluster, list_operation("pods", version="any"))
        whole_s = 4 * MS + 1000 * 0.01 * MS + 1e6 * 2 * NS
        used_s, _ = cluster.machines["control-plane"].meter.read()
        sent_s = 1e6 / 1e8  # an answer of 1 MB is a flow over the server's link of 100 MB/s
        assert took_s == pytest.approx(0.75 * whole_s + sent_s)
        assert used_s == pytest.approx(whole_s)

    def test_pages_together_are_the_list(self):
        storage = idle(**LISTING).storage
        storage.add("pods", "a", 1234)
        paged = list_operation("pods", limit=500)
        assert storage.pages(paged, "") == 3
        assert 3 * storage.listed(paged, "") == pytest.approx(1234, abs=3)
        assert storage.pages(list_operation("pods", version="any", limit=500), "") == 1  # the cache ignores the limit

    def test_what_a_node_lists(self):
        cluster = idle(**LISTING, nodes__pools__general__count=10)
        cluster.storage.add("pods", "a", 250)
        assert cluster.storage.listed(list_operation("pods", selects="of-a-node"), "") == 25
        assert cluster.storage.listed(list_operation("nodes", "resource", selects="one"), "") == 1
        assert cluster.storage.listed(list_operation("nodes"), "") == 10  # there from the start

    def test_memory_is_given_back(self):
        cluster = idle(**{**LISTING, "apiserver__lists__memory_ratio": 5})
        cluster.storage.add("pods", "a", 1000)
        for _ in range(3):
            cluster.clock.start(cluster.api.serve(list_operation("pods"), ADMIN, ""))
        cluster.clock.run_until(1.0)
        assert cluster.api.lists.peak_bytes == 3 * 5e6
        assert cluster.api.lists._held_bytes == 0
        assert cluster.api.lists.objects == 3000


FRESH = {**LISTING, "apiserver__lists__consistent_from_cache": True, "apiserver__watch__progress_period_s": 0.1}


class TestConsistentReadsFromTheCache:
    def test_idle(self):
        cluster = idle(**FRESH)
        cluster.storage.add("pods", "a", 10)
        took_s, code, _ = timed(cluster, list_operation("pods"))
        # etcd says how new it is; the cache is as new; the objects come from it
        assert (code, took_s) == (200, pytest.approx(RANGE + 4 * MS + 10 * 0.01 * MS + 10e3 * 2 * NS))

    def test_another_resource_has_changed(self):
        """Nothing tells the pods' cache of a lease's revision but etcd's progress, asked for a period after the reader came."""
        cluster = idle(**FRESH)
        timed(cluster, RENEW_LEASE)
        took_s, code, _ = timed(cluster, list_operation("pods"))
        assert (code, took_s) == (200, pytest.approx(RANGE + 100 * MS + 4 * MS))
        took_s, _, _ = timed(cluster, list_operation("pods"))
        assert took_s == pytest.approx(RANGE + 4 * MS)  # known now

    def test_never_fresh(self):
        cluster = idle(**{**FRESH, "apiserver__watch__progress_period_s": 10})
        timed(cluster, RENEW_LEASE)
        took_s, code, _ = timed(cluster, list_operation("pods"))
        assert (code, took_s) == (504, pytest.approx(RANGE + 3.0))

    def test_a_change_of_the_resource_tells_it(self):
        cluster = idle(**{**FRESH, "apiserver__watch__progress_period_s": 10})
        timed(cluster, PATCH_POD_STATUS)
        cluster.watch.publish("pods", "status", 0)
        _, code, _ = timed(cluster, list_operation("pods"))
        assert code == 200


class TestEncodings:
    def test_sizes(self):
        spec = EncodingSpec()
        assert spec.size_bytes("protobuf", 1000) == 1000
        assert spec.size_bytes("json", 1000) == 1000 * spec.json_ratio
        assert spec.of(identity(SCHEDULER)) == "protobuf"
        assert spec.of(identity("tenant-1")) == "json"

    def test_large_answers_are_compressed(self):
        spec = EncodingSpec(gzip_threshold_bytes=1000, gzip_ratio=0.1, gzip_byte_cpu_s=10 * NS)
        small, large = spec.answer("protobuf", 1000), spec.answer("protobuf", 1001)
        assert (small.wire_bytes, large.wire_bytes, large.plain_bytes) == (1000, pytest.approx(100.1), 1001)
        assert large.cpu_s - small.cpu_s == pytest.approx(1001 * 10 * NS, rel=0.01)
        assert EncodingSpec(gzip_threshold_bytes=None).answer("json", 1e9).wire_bytes == 1e9 * spec.json_ratio

    def test_a_price_by_hand(self):
        cluster = idle(
            apiserver__encoding__encode_json_byte_cpu_s=3 * NS,
            apiserver__encoding__decode_json_byte_cpu_s=7 * NS,
            apiserver__encoding__encode_protobuf_byte_cpu_s=2 * NS,
            apiserver__encoding__json_ratio=2.0,
            etcd__object_bytes={"pods": 1000},
        )
        price = cluster.storage.price(CREATE_POD, identity("tenant-1"), 1 * MS)
        assert price.cpu_s == pytest.approx(1 * MS + 2000 * 7 * NS + 1000 * 2 * NS + 2000 * 3 * NS)
        assert (price.put_bytes, price.request_bytes, price.wire_bytes) == (1000, 2000, 2000)
        price = cluster.storage.price(PATCH_POD_STATUS, identity(SCHEDULER), 0)
        assert price.request_bytes == 250  # the changed part


class TestConflicts:
    def test_two_writers_meet(self):
        """Both read version 1; the second to be stored is refused, at the cost of a write."""
        cluster = idle()
        stored = {"version": 1}

        def write(known: int):
            def commit() -> bool:
                if stored["version"] != known:
                    return False
                stored["version"] += 1
                return True

            return commit

        clock, api = cluster.clock, cluster.api
        writers = [clock.start(api.serve(RENEW_LEASE, ADMIN, "", guard=write(1))) for _ in range(2)]
        clock.run_until(1.0)
        assert [writer.value for writer in writers] == [200, CONFLICT]
        assert stored["version"] == 2
        logged = dict.fromkeys((200, CONFLICT), 0)
        columns = cluster.requests.columns()
        for number, (operation, _, code) in enumerate(cluster.requests.kinds()):
            if operation is RENEW_LEASE and code in logged:
                logged[code] += int(columns["count"][columns["kind"] == number].sum())
        assert logged[CONFLICT] == 1
        assert cluster.etcd.puts >= 2  # a comparison that fails goes through the log too

    def test_objects_are_counted(self):
        cluster = idle()
        timed(cluster, CREATE_POD, "tenant-1")
        timed(cluster, CREATE_POD, "tenant-2")
        assert cluster.storage.objects("pods") == 2
        assert cluster.storage.objects("pods", "tenant-1") == 1


class TestEventsGo:
    """An event lives from its TTL to a minute longer, and its lease is one write for all events of a minute."""

    def test_after_their_time(self):
        cluster = idle(apiserver__event_ttl_s=300)
        clock, storage = cluster.clock, cluster.storage
        for at_s in (0.0, 30.0, 50.0, 100.0):
            clock.run_until(at_s)
            timed(cluster, CREATE_EVENT)
        clock.run_until(101.0)
        assert storage.objects("events") == 4
        assert cluster.etcd.puts == 4 + 2  # two leases: for the first minute, and for the event at 100 s
        clock.run_until(359.0)
        assert storage.objects("events") == 4
        clock.run_until(362.0)
        assert storage.objects("events") == 1
        assert cluster.etcd.database.keys == 1
        clock.run_until(465.0)
        assert storage.objects("events") == 0
        assert cluster.etcd.database.keys == 0

    def test_a_thousand_share_a_lease(self):
        cluster = idle(apiserver__event_ttl_s=300)
        clock = cluster.clock
        for _ in range(4):
            cluster.node_events.send(CREATE_EVENT, 500)
            clock.run_until(clock.now + 5.0)
        assert cluster.etcd.puts == 2000 + 2
        assert len(cluster.event_leases.leases) == 2
        clock.run_until(1000.0)
        assert cluster.storage.objects("events") == 0


@pytest.mark.parametrize(("operation", "most"), [(GET_POD, 4), (PATCH_POD_STATUS, 8), (CREATE_POD, 8)])
def test_events_of_a_request(operation, most):
    """A request alone costs few events: the server's work, etcd's, and what the write's log needs."""
    _, code, events = timed(idle(), operation, "tenant-1")
    assert code in (200, 201)
    assert events <= most
