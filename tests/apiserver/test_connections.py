"""Handshakes by hand, streams that run out, idle connections, and the return of many clients after a drop."""

from __future__ import annotations

import pytest

from sim.apiserver.client import Client
from sim.apiserver.connections import Connections, ConnectionsSpec
from sim.apiserver.identity import ANY_NODE, identity, service_account
from sim.apiserver.pki import PkiSpec
from sim.apiserver.request import GET_POD
from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of

PKI = PkiSpec(
    keys={"server": {"sign_cpu_s": 8 * MS, "verify_cpu_s": 0.1 * MS}, "client": {"sign_cpu_s": 4 * MS, "verify_cpu_s": 0.2 * MS},
          "root": {"sign_cpu_s": 0, "verify_cpu_s": 0.3 * MS}},
    server_key="server", client_key="client", authority_key="root", server_chain=2,
)  # fmt: skip
COSTS = {"handshake_cpu_s": 1 * MS, "key_exchange_cpu_s": 0.5 * MS, "round_trip_s": 10 * MS, "open_at_start": False}


def server(cores: float = 1000, **spec) -> tuple[Clock, Connections]:
    clock = Clock()
    return clock, Connections(
        clock, ConnectionsSpec(**{**COSTS, **spec}), PKI, Machine(clock, "cores", "apiserver", cores)
    )


@pytest.mark.parametrize(
    ("tls", "resumed", "certificate", "server_ms", "client_ms"),
    [
        ("1.3", False, True, 1 + 0.5 + 8 + 0.2, 20 + 0.5 + 0.1 + 2 * 0.3 + 4),
        ("1.3", False, False, 1 + 0.5 + 8, 20 + 0.5 + 0.1 + 2 * 0.3),
        ("1.2", False, True, 1 + 0.5 + 8 + 0.2, 30 + 0.5 + 0.1 + 2 * 0.3 + 4),
        ("1.3", True, True, 1 + 0.5, 20),
        ("1.2", True, True, 1, 20),
    ],
)
def test_a_handshake_by_hand(tls, resumed, certificate, server_ms, client_ms):
    """Server: accept, key exchange, its signature, the client's checked. Client: TCP's and TLS's round trips, key exchange, the
    server's signature and chain checked, its own signature. A resumed session has neither signature nor chain."""
    clock, connections = server(tls=tls)
    spec = connections.spec
    assert spec.server_cpu_s(PKI, certificate, resumed) == pytest.approx(server_ms * MS)
    assert spec.client_s(PKI, certificate, resumed) == pytest.approx(client_ms * MS)
    clock.start(connections.handshake(certificate, resumed))
    clock.run_until(float("inf"))
    assert clock.now == pytest.approx((server_ms + client_ms) * MS)


def test_all_streams_taken_opens_another_connection():
    clock, connections = server(max_streams=10)
    connection = connections.open(identity("ann"), certificate=True)
    open_at = []

    def request():
        if connection.streams >= connection.most or clock.now > connection.expires_s:
            yield from connection.dial()
        connection.streams += 1
        open_at.append(clock.now)
        yield clock.timeout(100)
        connection.streams -= 1

    for _ in range(25):
        clock.start(request())
    clock.run_until(1)
    one_s = (9.7 + 25.2) * MS
    assert open_at == pytest.approx([one_s] * 10 + [2 * one_s] * 10 + [3 * one_s] * 5)
    assert (connections.handshakes, connection.most) == (3, 30)


def test_a_session_is_resumed_where_clients_keep_it():
    clock, connections = server(resumption=True)
    connection = connections.open(identity("ann"), certificate=True)
    for expected in ((9.7 + 25.2) * MS, (1.5 + 20) * MS):
        begun = clock.now
        clock.start(connection.dial())
        clock.run_until(float("inf"))
        assert clock.now - begun == pytest.approx(expected)
        connection.drop()


def test_controllers_share_a_connection_and_tenants_close_theirs():
    _, connections = server(open_at_start=True)
    one = connections.open(service_account("kube-system", "job-controller"), certificate=False)
    assert one is connections.open(service_account("kube-system", "replicaset-controller"), certificate=False)
    assert one.expires_s == float("inf")
    assert connections.open(identity("ann"), certificate=True).expires_s == 90


@pytest.mark.parametrize(("idle_s", "handshakes"), [(90, 1), (0, 4)])
def test_an_idle_tenant_connects_again(idle_s, handshakes):
    """GETs at 1, 2, 3 and 120 s: one new connection after 90 s without a request, or one for each command."""
    scenario = exact(horizon_s=200, apiserver__connections__tenant_idle_s=idle_s)
    cluster = Cluster(scenario, load_of((1000.0, AppKind.POD, 1)), Streams(1))
    client = Client(cluster.clock, cluster.api, "tenant-1", None)
    before = cluster.api.connections.handshakes
    for at_s in (1, 2, 3, 120):
        cluster.clock.at(at_s, lambda _: cluster.clock.start(client.send(GET_POD, "tenant-1")))
    cluster.clock.run_until(150)
    assert cluster.api.connections.handshakes - before == handshakes


def test_components_pay_for_no_handshake_in_a_cluster_that_has_run_before():
    cluster = Cluster(
        Scenario.load("quick"),
        Scenario.load("quick").checked_workload().build(Scenario.load("quick").setting(), Streams(1)),
        Streams(1),
    )
    cluster.clock.run_until(60)
    assert cluster.api.connections.handshakes == 0


def test_many_clients_return_within_the_spread():
    """1,000 kubelets lose their connections: 1,000 handshakes over 2 s, each once; a request meanwhile waits for its turn."""
    clock, connections = server(open_at_start=True)
    nodes = connections.open(identity(ANY_NODE), certificate=True, processes=1000)
    clock.run_until(10)
    connections.drop()
    assert nodes.most == 0
    ready = []

    def request():
        if nodes.streams >= nodes.most:
            yield from nodes.dial()
        ready.append(clock.now)

    clock.start(request())
    clock.run_until(float("inf"))
    assert connections.handshakes == 1000
    assert nodes.most == 1000 * 250
    one_s = (9.7 + 25.2) * MS
    assert clock.now == pytest.approx(10 + 20 * (2 / 20 + one_s))
    assert ready == pytest.approx([10 + 2 / 20 + one_s])


def test_a_storm_of_handshakes_takes_the_cores_it_takes():
    """5,000 handshakes of 9.7 ms on two cores are 24 s of work; spread over 2 s they still take that."""
    clock, connections = server(cores=2, open_at_start=True)
    connections.open(identity(ANY_NODE), certificate=True, processes=5000)
    connections.drop()
    clock.run_until(float("inf"))
    assert clock.now == pytest.approx(5000 * 9.7 * MS / 2 + 20 * (0.1 + 25.2 * MS), rel=1e-6)


def test_who_is_refused_tries_again():
    clock, connections = server()
    connections.listening = False
    clock.at(3.5, lambda _: setattr(connections, "listening", True))
    connection = connections.open(identity("ann"), certificate=True)
    clock.start(connection.dial())
    clock.run_until(float("inf"))
    assert clock.now == pytest.approx(4 + (9.7 + 25.2) * MS)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"pki.server_key": "rsa-1024"}, "apiserver.pki.server_key: 'rsa-1024' is no kind of key; did you mean 'rsa-"),
        ({"pki.keys": {"mine": {"sign_cpu_s": 1}}}, "lacks the field 'verify_cpu_s'"),
        ({"connections.tls": "1.1"}, "must be one of 1.2, 1.3"),
        ({"connections.max_streams": 0}, "must be at least 1"),
    ],
)
def test_bad_input_is_found_before_the_run(values, expected):
    with pytest.raises(InputError) as error:
        Scenario.load("quick").replace({f"apiserver.{path}": value for path, value in values.items()})
    assert expected in str(error.value)


def test_the_three_floods_of_reads_are_served():
    for requests, verb in (("list", "LIST"), ("list-cached", "LIST"), ("get", "GET")):
        fault = {"type": "request-flood", "at_s": [5.0], "for_s": 2.0, "rate_per_s": 20, "requests": requests}
        result = simulate(exact(faults=[fault], horizon_s=20), load_of((1.0, AppKind.POD, 1)), seed=1)
        flood = result.request_log.query(f"client == 'tenant-1' and verb == '{verb}' and code == 200")
        assert int(flood["count"].sum()) == 40


def test_a_flood_shows_as_the_tenants_requests():
    """50 rounds a second for 10 s: 500 objects created and as many deleted, marked in the series."""
    fault = {"type": "request-flood", "at_s": [5.0], "for_s": 10.0, "rate_per_s": 50, "requests": "create-delete"}
    result = simulate(exact(faults=[fault]), load_of((1.0, AppKind.POD, 1)), seed=1)
    flood = result.request_log[result.request_log["resource"] == "configmaps"]
    assert set(flood["client"]) == {"tenant-1"}
    assert flood.groupby("verb", observed=True)["count"].sum().to_dict() == {"DELETE": 500, "POST": 500}
    assert flood["time_s"].between(5, 16).all()
