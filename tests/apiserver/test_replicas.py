"""Several API servers: where clients go, what a crash takes with it, who lists again, and the storm against its twin."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim
from sim.apiserver.client import Client
from sim.apiserver.identity import ANY_NODE, identity
from sim.apiserver.load_balancing.catalog import BALANCERS
from sim.apiserver.pipeline import ApiServer
from sim.apiserver.reflector import NODE_WATCHES, WATCHES_PER_NODE
from sim.apiserver.replicas import NO_ANSWER
from sim.apiserver.request import CREATE_POD, GET_POD, RENEW_LEASE
from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.controllers.leader_election import Record
from sim.controllers.lease_lock import LeaseLock, LeaseObject
from sim.invariants import check_invariants
from sim.simulate import Cluster
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of

ADMIN = identity("system:admin", ("system:masters",))


def cluster_of(replicas: int = 3, nodes: int = 12, pods: int = 0, **sets) -> Cluster:
    """Replicated API servers; `pods` bare pods come one a second from 1 s on."""
    apps = [(1.0 + number, AppKind.POD, 1) for number in range(pods)] or [(3000.0, AppKind.POD, 1)]
    scenario = exact(
        horizon_s=3600, apiserver__replicas=replicas, nodes__pools__general__count=nodes, apiserver__start_s=2, **sets
    )
    return Cluster(scenario, load_of(*apps), Streams(1))


def count(cluster: Cluster, **wanted: object) -> int:
    """Requests in the log by verb, resource, client and code."""
    columns, total = cluster.requests.columns(), 0
    for number, (operation, client, code) in enumerate(cluster.requests.kinds()):
        kind = {"verb": operation.verb, "resource": operation.resource, "client": client, "code": code}
        if all(kind[name] == value for name, value in wanted.items()):
            total += int(columns["count"][columns["kind"] == number].sum())
    return total


def seats_of(api: ApiServer) -> tuple[float, float]:
    """Seats that are taken at one server, and requests that wait for one."""
    meters = api.flow_control.meters
    return sum(meter.in_use for meter in meters), sum(meter.queue for meter in meters)


@pytest.mark.parametrize("name", list(BALANCERS))
class TestEveryBalancer:
    def test_chooses_one_that_runs(self, name):
        balancer = BALANCERS[name]()
        for number in range(50):
            assert balancer.choose([1, 4], [9, 3, 9, 9, 5], number, f"client-{number}") in (1, 4)

    def test_spreads(self, name):
        balancer, connections = BALANCERS[name](), [0, 0, 0]
        for number in range(600):
            connections[balancer.choose([0, 1, 2], connections, number, f"client-{number}")] += 1
        assert min(connections) > 140

    def test_scenario_may_name_it(self, name):
        assert BALANCERS[name] is type(exact(apiserver__load_balancer=name).apiserver.load_balancer)


def test_least_connections_fills_the_empty_one():
    assert BALANCERS["least-connections"]().choose([0, 1, 2], [5, 0, 5], 7, "x") == 1


def test_a_hash_moves_only_the_clients_of_the_dead():
    balancer = BALANCERS["source-hash"]()
    clients = [f"client-{number}" for number in range(300)]
    before = {client: balancer.choose([0, 1, 2], [0, 0, 0], 0, client) for client in clients}
    after = {client: balancer.choose([0, 2], [0, 0, 0], 0, client) for client in clients}
    assert all(after[client] == server for client, server in before.items() if server != 1)


class TestConnections:
    def test_they_stick_after_a_return(self):
        cluster = cluster_of(nodes=30)
        servers = cluster.servers
        assert [int((servers.nodes.server_of == server).sum()) for server in range(3)] == [10, 10, 10]
        servers.crash(1)
        cluster.clock.start(servers.start(1))
        cluster.clock.run_until(60.0)
        assert servers.up == [True] * 3
        assert [int((servers.nodes.server_of == server).sum()) for server in range(3)] == [15, 0, 15]

    def test_streams_run_out_with_several_servers_too(self):
        """25 requests of a second each at once, 10 streams a connection: two more connections, to the same server."""
        cluster = cluster_of(2, apiserver__get_cpu_s=1.0, apiserver__connections__max_streams=10)
        clock, servers = cluster.clock, cluster.servers
        client = Client(clock, servers.link("ann"), ADMIN, None)
        tasks = [clock.start(client.send(GET_POD, "")) for _ in range(25)]
        clock.run_until(5.0)
        assert [task.value for task in tasks] == [200] * 25
        home = servers.link("ann").index
        assert servers.all[home].connections.handshakes == 2
        assert servers.all[1 - home].connections.handshakes == 0

    def test_an_idle_connection_is_opened_anew_through_the_balancer(self):
        """Each of three requests, farther apart than a tenant's idle time, goes to the next of two servers."""
        cluster = cluster_of(2, nodes=1, apiserver__connections__tenant_idle_s=10)
        clock, servers = cluster.clock, cluster.servers
        link = servers.link("ann")
        client, homes, before = Client(clock, link, identity("ann"), None), [], sum(servers.connections)
        for at_s in (1.0, 31.0, 61.0):
            clock.run_until(at_s)
            clock.start(client.send(GET_POD, ""))
            clock.run_until(at_s + 5.0)
            homes.append(link.index)
        assert homes[0] == homes[2] != homes[1]
        assert sum(servers.connections) == before + 1

    def test_a_session_ends_with_the_server_that_knew_it(self):
        """The first connection was open, the second has no session yet, the third resumes; a restarted server knows of none."""
        cluster = cluster_of(
            1,
            faults=[{"type": "apiserver-crash", "at_s": [70], "down_s": 2}],
            apiserver__connections={"tenant_idle_s": 10, "resumption": True},
        )
        clock, servers = cluster.clock, cluster.servers
        client, resumed = Client(clock, servers.link("ann"), identity("ann"), None), []
        connections = servers.all[0].connections
        handshake = connections.handshake

        def heard(certificate: bool, again: bool, count: int = 1):
            resumed.append(again)
            return handshake(certificate, again, count)

        for at_s in (1.0, 31.0, 61.0, 91.0):
            clock.run_until(at_s)
            connections.handshake = heard
            clock.start(client.send(GET_POD, ""))
            clock.run_until(at_s + 5.0)
            connections.handshake = handshake
        assert resumed == [False, True, False]

    def test_goaway_evens_them_out(self):
        cluster = cluster_of(nodes=30, apiserver__goaway_chance=0.02, kubelet__lease_period_s=0.5)
        servers = cluster.servers
        servers.crash(1)
        cluster.clock.start(servers.start(1))
        cluster.clock.run_until(120.0)
        assert min(int((servers.nodes.server_of == server).sum()) for server in range(3)) >= 5
        assert sum(servers.connections) == 30 + sum(link.index >= 0 for link in servers._links.values())

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 40), st.integers(1, 5))
    def test_aggregated_requests_are_shared_out_exactly(self, counts, nodes, replicas):
        cluster = cluster_of(replicas, nodes)
        link, clock = cluster.node_link, cluster.clock
        served = [clock.start(link.serve_many(RENEW_LEASE, identity(ANY_NODE), each, 0.1)) for each in counts]
        clock.run_until(5.0)
        assert [each.value for each in served] == counts
        assert count(cluster, verb="PUT", code=200) == sum(counts)


class TestCrash:
    def test_a_request_under_way_gets_no_answer(self):
        """It ends at the crash, its work leaves the cores, and its seat is free."""
        cluster = cluster_of(1, faults=[{"type": "apiserver-crash", "at_s": [3000]}], apiserver__get_cpu_s=1.0)
        clock, servers = cluster.clock, cluster.servers
        task = clock.start(servers.link("x").serve(GET_POD, ADMIN, ""))
        clock.run_until(0.25)
        servers.crash(0)
        assert task.value == NO_ANSWER
        assert seats_of(cluster.api) == (0, 0)
        used_s, _ = cluster.machines["control-plane"].meter.read()
        clock.run_until(2.0)
        assert cluster.machines["control-plane"].meter.read()[0] == pytest.approx(used_s)
        assert used_s == pytest.approx(0.25, abs=0.01)
        assert count(cluster, verb="GET", code=NO_ANSWER) == 1

    def test_who_waits_for_a_seat_gets_none_and_leaks_none(self):
        sets = {
            "apiserver__get_cpu_s": 1.0,
            "apiserver__flow_control": {
                "type": "priority-and-fairness",
                "max_in_flight": 10,
                "max_mutating_in_flight": 10,
            },
        }
        cluster = cluster_of(2, **sets)
        clock, servers = cluster.clock, cluster.servers
        user = identity("tenant-1")
        tasks = [clock.start(servers.all[0].serve(GET_POD, user, "tenant-1")) for _ in range(30)]
        answers = [
            clock.start(servers.answer(0, servers.all[0].serve(GET_POD, user, "tenant-1"), GET_POD, user, 1))
            for _ in range(30)
        ]
        clock.run_until(0.5)
        taken, waiting = seats_of(servers.all[0])
        assert taken
        assert waiting
        for task in tasks:
            task.abandon()
        servers.crash(0)
        assert all(answer.value == NO_ANSWER for answer in answers)
        assert seats_of(servers.all[0]) == (0, 0)

    @pytest.mark.parametrize("replicas", [1, 2])
    def test_a_write_that_etcd_has_is_stored_though_nobody_is_told(self, replicas):
        """The server dies in the middle of the fsync, 0.5 s: the object is there once, a second try is answered 409 (where there
        is another server to ask), and the writer goes on as if it had been answered."""
        cluster = cluster_of(
            replicas,
            faults=[{"type": "apiserver-crash", "at_s": [3000]}],
            **{"machines__control-plane__fsync_s": 0.5},
        )
        clock, servers = cluster.clock, cluster.servers
        link, made = servers.link("x"), []
        task = clock.start(
            link.serve(CREATE_POD, ADMIN, "tenant-1", guard=lambda: not made and (made.append(clock.now) or True))
        )
        clock.run_until(0.3)
        servers.crash(link.index)
        assert task.callbacks is not None
        assert cluster.storage.objects("pods") == 0
        clock.run_until(5.0)
        assert made == [pytest.approx(0.5, abs=0.05)]
        assert task.value == 201
        assert cluster.storage.objects("pods") == 1
        codes = {code: count(cluster, verb="POST", resource="pods", code=code) for code in (NO_ANSWER, 201, 409)}
        assert codes == {NO_ANSWER: 1, 201: 0, 409: replicas - 1}

    def test_a_write_that_etcd_does_not_have_yet_is_lost(self):
        cluster = cluster_of(2, apiserver__create_cpu_s=1.0)
        clock, servers = cluster.clock, cluster.servers
        link = servers.link("x")
        task = clock.start(link.serve(CREATE_POD, ADMIN, "tenant-1"))
        clock.run_until(0.5)
        servers.crash(link.index)
        clock.run_until(5.0)
        assert task.value == NO_ANSWER
        assert cluster.storage.objects("pods") == 0

    def test_a_leader_whose_write_was_stored_leads_on(self):
        """Both replicas of the lock's record see what etcd has: the renewal that no answer came to is its own."""
        faults = [{"type": "apiserver-crash", "at_s": [3000]}]
        cluster = cluster_of(1, faults=faults, **{"machines__control-plane__fsync_s": 0.5})
        clock, servers = cluster.clock, cluster.servers
        stored = LeaseObject()
        lock = LeaseLock(stored, Client(clock, servers.link("x"), ADMIN, None))
        task = clock.start(lock.update(Record("x", 15.0, 0.0, 0.0, 0), 0))
        clock.run_until(0.3)
        servers.crash(0)
        clock.run_until(2.0)
        assert (task.value, stored.version, stored.record.holder) == (1, 1, "x")

    def test_refused_while_none_runs(self):
        cluster = cluster_of(1, faults=[{"type": "apiserver-crash", "at_s": [3000]}], apiserver__refused_s=3 * MS)
        clock, servers = cluster.clock, cluster.servers
        servers.crash(0)
        task = clock.start(servers.link("x").serve(CREATE_POD, ADMIN, "tenant-1"))
        clock.run_until(1.0)
        assert task.value == NO_ANSWER
        assert cluster.storage.objects("pods") == 0

    def test_the_others_serve_on(self):
        """Each of two: a client of the dead server moves at its next request, and pays a handshake for it."""
        cluster = cluster_of(2)
        clock, servers = cluster.clock, cluster.servers
        link = servers.link("x")
        first = clock.start(link.serve(GET_POD, ADMIN, ""))
        clock.run_until(1.0)
        home = link.index
        moving = sum(each.index == home for each in servers._links.values())
        servers.crash(home)
        assert link.index == -1
        second = clock.start(link.serve(GET_POD, ADMIN, ""))
        clock.run_until(2.0)
        assert (first.value, second.value) == (200, 200)
        assert link.index == 1 - home
        assert servers.all[1 - home].connections.handshakes == moving + 12 // 2  # and half of the nodes

    def test_every_pod_still_starts(self):
        cluster = cluster_of(
            3, nodes=6, pods=60, faults=[{"type": "apiserver-crash", "at_s": [10, 30], "server": 1, "down_s": 5}]
        )
        cluster.clock.run_until(200.0)
        cluster.network.spread.close()
        cluster.sampler.sample()
        check_invariants(cluster)
        assert cluster.servers.crashes == 2
        assert cluster.started == 60
        assert [mark.end_s - mark.begin_s for mark in cluster.faults.marks] == [
            pytest.approx(7.0)
        ] * 2  # 5 s down, 2 s start

    def test_nothing_is_stored_while_the_only_one_is_down(self):
        cluster = cluster_of(1, nodes=6, pods=60, faults=[{"type": "apiserver-crash", "at_s": [20], "down_s": 10}])
        cluster.clock.run_until(200.0)
        times = cluster.pods.columns()
        for column in ("created_s", "bound_s", "running_s"):
            assert not np.any((times[column] > 20.0) & (times[column] < 32.0)), column
        assert cluster.started == 60 - (times["phase"] == 6).sum()  # users whose POST met a dead server give up
        assert 10 <= (times["phase"] == 6).sum() <= 13

    def test_lost_renewals_are_one_a_node_at_most(self):
        """Down from 20 s to 57 s: each of 40 nodes has missed three or four renewals, and sends one when the server is back."""
        fault = {"type": "apiserver-crash", "at_s": [20], "down_s": 35}
        cluster = cluster_of(1, nodes=40, faults=[fault], kubelet__lease_period_s=10)
        cluster.clock.run_until(57.0)
        stored, lost = (count(cluster, verb="PUT", resource="leases", code=code) for code in (200, NO_ANSWER))
        assert lost > 40
        cluster.clock.run_until(59.0)
        back = count(cluster, verb="PUT", resource="leases", code=200) - stored
        assert 40 <= back <= 40 + 2 * 4 + 1  # and those that fall due in two seconds


class TestRelists:
    def test_everyone_lists_after_the_only_server_returns(self):
        cluster = cluster_of(1, nodes=40, pods=5, faults=[{"type": "apiserver-crash", "at_s": [50], "down_s": 10}])
        cluster.clock.run_until(49.0)
        single = sum(len(topic.caches[0].watches) for topic in cluster.watch._topics.values()) - 1  # one is the nodes'
        cluster.clock.run_until(120.0)
        assert cluster.reflectors.relists == single
        assert cluster.node_reflectors.relists == 40 * WATCHES_PER_NODE
        for each in {watch.resource for watch in NODE_WATCHES}:
            wanted = 40 * sum(watch.each for watch in NODE_WATCHES if watch.resource == each)
            listed = count(cluster, verb="LIST", resource=each, code=200)
            others = sum(
                count(cluster, verb="LIST", resource=each, code=200, client=f"system:{name}")
                for name in ("kube-scheduler", "kube-controller-manager")
            )
            assert listed - others == wanted, each

    def test_nobody_lists_where_another_server_lived(self):
        cluster = cluster_of(2, nodes=40, pods=20, faults=[{"type": "apiserver-crash", "at_s": [10], "down_s": 10}])
        cluster.clock.run_until(120.0)
        assert cluster.reflectors.relists == cluster.node_reflectors.relists == 0
        assert count(cluster, verb="LIST") == 0
        assert sum(nodes for _, nodes in cluster.node_reflectors.returned_s) == 20
        assert cluster.started == 20

    def test_storm_against_its_twin(self):
        """200 nodes list again, 18 watches each: batches against a process and requests of its own for every node."""
        results = []
        for one_by_one in (False, True):
            cluster = cluster_of(
                1,
                nodes=200,
                faults=[{"type": "apiserver-crash", "at_s": [10], "down_s": 5}],
                apiserver__list_cpu_s=2 * MS,
                apiserver__watch_cpu_s=0.5 * MS,
                **{"machines__control-plane__cores": 4},
            )
            cluster.storage.add("services", "", 500)
            cluster.node_reflectors._one_by_one = one_by_one
            cluster.clock.run_until(16.9)
            before_s, _ = cluster.machines["control-plane"].meter.read()
            cluster.clock.run_until(60.0)
            used_s = cluster.machines["control-plane"].meter.read()[0] - before_s
            returned = cluster.node_reflectors.returned_s
            last_s = max(at_s for at_s, _ in returned)
            mean_s = sum(at_s * nodes for at_s, nodes in returned) / 200
            results.append((used_s, last_s - 17, mean_s - 17, cluster.clock.events))
            assert sum(nodes for _, nodes in returned) == 200
        batched, single = results
        assert batched[0] == pytest.approx(single[0], rel=0.02)
        assert batched[1] == pytest.approx(single[1], rel=0.25)
        assert batched[2] == pytest.approx(single[2], rel=0.25)
        assert batched[3] < 0.5 * single[3]


class TestBadInput:
    @pytest.mark.parametrize(
        ("sets", "said"),
        [
            ({"apiserver.replicas": 3, "apiserver.machines": ["control-plane"]}, "machines names 1 for 3 replicas"),
            ({"apiserver.machines": ["control-plan"]}, "apiserver.machines[0]"),
            ({"apiserver.load_balancer": "round-robbin"}, "round-robin"),
            ({"apiserver.goaway_chance": 0.5}, "goaway_chance"),
            ({"faults": [{"type": "apiserver-crash", "at_s": [1], "server": 1}]}, "faults[0].server"),
        ],
    )
    def test_is_found_before_the_run(self, sets, said):
        with pytest.raises(InputError, match=said.replace("[", r"\[").replace("]", r"\]")):
            sim.Scenario.load("quick", sets)
