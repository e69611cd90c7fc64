"""Who is asking: what each method costs, what is remembered for how long, and what a bad credential gets."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.apiserver.authentication.catalog import AUTHENTICATORS, Place
from sim.apiserver.authentication.spec import AuthenticationSpec
from sim.apiserver.authentication.union import Authentication, Credentials
from sim.apiserver.identity import identity, service_account
from sim.apiserver.pki import PkiSpec
from sim.apiserver.remote import Remotes
from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate
from sim.workload import AppKind
from tests.worked.scenarios import MS, exact, load_of

US = 1e-6
CONTROLLER = service_account("kube-system", "job-controller")
TENANT = identity("tenant-1")
ALL = {
    "x509": {"chain_cpu_s": 10 * US},
    "static-token": {"lookup_cpu_s": 1 * US},
    "service-account": {"decode_cpu_s": 40 * US, "lookup_cpu_s": 5 * US, "refuse_cpu_s": 2 * US},
    "bootstrap-token": {"lookup_cpu_s": 20 * US, "refuse_cpu_s": 3 * US},
    "oidc": {"provider": {"workers": 1, "service_s": 0.1, "round_trip_s": 0}, "decode_cpu_s": 50 * US, "refuse_cpu_s": 4 * US},
    "webhook": {"server": {"workers": 1, "service_s": 0.2, "round_trip_s": 0}, "review_cpu_s": 300 * US},
}  # fmt: skip
PKI = PkiSpec(keys={"rsa-2048": {"sign_cpu_s": 1000 * US, "verify_cpu_s": 30 * US}})
DIGEST_S = 3 * US


class _Reads:
    """Stands for etcd: each read takes 7 ms."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.reads = 0

    def of(self, resource: str) -> _Reads:
        return self

    def range(self, reads: int) -> object:
        self.reads += reads
        return self._clock.timeout(reads * 7 * MS)


class Server:
    """One API server's authentication on a machine of one core."""

    def __init__(
        self, modes: tuple[str, ...] = tuple(ALL), pki: PkiSpec = PKI, methods: dict | None = None, **spec
    ) -> None:
        self.clock = Clock()
        self.cores = Machine(self.clock, "cores", "apiserver", 1)
        self.etcd = _Reads(self.clock)
        self.credentials = Credentials()
        self.remotes = Remotes(self.clock, Streams(1))
        place = Place(self.clock, self.cores, self.etcd, pki, self.remotes)
        given = AuthenticationSpec(
            modes=modes, methods={name: {**ALL[name], **(methods or {}).get(name, {})} for name in modes},
            token_cache_cpu_s=DIGEST_S, **spec,
        )  # fmt: skip
        self.union = Authentication(place, given, self.credentials)

    def remote_of(self, method: str):
        return self.remotes.by_name[f"authentication.{method}"]

    def request(self, user) -> tuple[bool, float]:
        """One request as the pipeline does it: (accepted, seconds it takes)."""
        begun = self.clock.now
        task = self.clock.start(self._request(user))
        while task.callbacks is not None:
            self.clock.step()
        self.clock.events += 1
        return task.value, self.clock.now - begun

    def _request(self, user):
        cost_s = self.union.known_cpu_s[user]
        if cost_s < 0:
            cost_s = self.union.cost_s(user)
            if cost_s < 0:
                return (yield from self.union.prove(user))
        yield self.cores.work(cost_s)
        return True


# --- what each method costs


@pytest.mark.parametrize(
    ("method", "seconds"),
    [
        ("x509", (10 + 30) * US),
        ("static-token", DIGEST_S + 1 * US),
        ("service-account", DIGEST_S + (1 + 40 + 30 + 5) * US),
        ("bootstrap-token", DIGEST_S + (1 + 2 + 20) * US),
        ("oidc", DIGEST_S + (1 + 2 + 3 + 50 + 30) * US + 0.1),
        ("webhook", DIGEST_S + (1 + 2 + 3 + 4 + 300) * US + 0.2),
    ],
)
def test_a_credential_costs_its_way_through_the_union(method, seconds):
    """Every method asked before the one that accepts takes its look; a certificate is asked for first, and alone."""
    server = Server(tenants=method)
    accepted, took_s = server.request(TENANT)
    assert accepted
    assert took_s == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    ("chain", "key", "seconds"), [(0, "rsa-2048", 10 * US), (3, "rsa-2048", 100 * US), (2, "ecdsa-p256", 130 * US)]
)
def test_a_certificate_costs_its_chain_at_each_request(chain, key, seconds):
    pki = PkiSpec(keys={"rsa-2048": {"sign_cpu_s": 0, "verify_cpu_s": 30 * US}}, client_chain=chain, authority_key=key)
    server = Server(pki=pki)
    for _ in range(3):
        assert server.request(TENANT)[1] == pytest.approx(seconds, abs=1e-9)


def test_a_legacy_token_reads_account_and_secret():
    server = Server(methods={"service-account": {"reads": 2}})
    accepted, took_s = server.request(CONTROLLER)
    assert (accepted, server.etcd.reads) == (True, 2)
    assert took_s == pytest.approx(DIGEST_S + 76 * US + 14 * MS)


def test_the_order_is_the_servers_own():
    given = tuple(reversed(ALL))
    assert Server(modes=given, tenants="webhook").request(TENANT) == pytest.approx(
        Server(tenants="webhook").request(TENANT)
    )


# --- memory


@given(st.lists(st.floats(0, 60), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_an_accepted_token_is_remembered_ten_seconds_and_no_longer(times):
    server = Server(modes=("x509", "service-account"))
    verified_s = -1e9
    for at_s in sorted(times):
        server.clock.run_until(max(at_s, server.clock.now))
        now = server.clock.now
        kept = now < verified_s + 10
        accepted, took_s = server.request(CONTROLLER)
        assert accepted
        assert took_s == pytest.approx(DIGEST_S + (0 if kept else 75 * US), abs=1e-9)
        if not kept:
            verified_s = now


def test_requests_with_one_token_ask_once():
    server = Server(tenants="webhook")
    tasks = [server.clock.start(server._request(TENANT)) for _ in range(5)]
    server.clock.run_until(1)
    assert [task.value for task in tasks] == [True] * 5
    assert server.remote_of("webhook").asked == 1


def test_the_webhooks_own_memory_outlives_the_unions():
    """10 s: no method is asked; 2 min: the webhook has its answer at hand, which then counts 10 s more; then it is asked again."""
    server = Server(tenants="webhook")
    asked = []
    for at_s in (0, 5, 60, 119, 125, 130):
        server.clock.run_until(at_s)
        assert server.request(TENANT)[0]
        asked.append(server.remote_of("webhook").asked)
    assert asked == [1, 1, 1, 1, 1, 2]


def test_oidc_fetches_keys_when_they_are_old():
    server = Server(tenants="oidc", methods={"oidc": {"keys_s": 100}})
    for at_s, fetched in ((0, 1), (20, 1), (90, 1), (130, 2)):
        server.clock.run_until(at_s)
        assert server.request(TENANT)[0]
        assert server.remote_of("oidc").asked == fetched


# --- refusals


def test_a_token_that_nobody_knows_walks_all_and_is_asked_about_once():
    """401 costs: every method's look and the webhook's review; the webhook keeps its no for 2 min, the union does not."""
    server = Server(tenants="static-token")
    server.credentials.spoil(TENANT)
    accepted, took_s = server.request(TENANT)
    assert not accepted
    assert took_s == pytest.approx(DIGEST_S + (1 + 2 + 3 + 4 + 300) * US + 0.2)
    accepted, took_s = server.request(TENANT)
    assert not accepted
    assert took_s == pytest.approx(DIGEST_S + (1 + 2 + 3 + 4) * US)
    assert server.union.refused == 2


def test_a_remembered_token_outlives_its_end_by_ten_seconds_at_most():
    server = Server()
    assert server.request(CONTROLLER)[0]
    server.clock.run_until(5)
    server.credentials.spoil(CONTROLLER)
    assert server.request(CONTROLLER)[0]
    server.clock.run_until(10.1)
    assert not server.request(CONTROLLER)[0]
    server.credentials.renew(CONTROLLER)
    assert server.request(CONTROLLER)[0]


def test_a_certificate_is_refused_from_its_last_second_on_and_taken_when_rotated():
    server = Server(methods={"x509": {"valid_from_s": 2, "valid_until_s": 10}})
    for at_s, accepted in ((0, False), (2, True), (9, True), (10, False)):
        server.clock.run_until(at_s)
        assert server.request(TENANT)[0] == accepted
    server = Server()
    assert server.request(TENANT)[0]
    server.credentials.spoil(TENANT)
    assert server.request(TENANT) == (False, pytest.approx(40 * US))
    server.credentials.renew(TENANT)
    assert server.request(TENANT)[0]


def test_a_webhook_that_is_down_or_slow_is_401():
    server = Server(tenants="webhook", methods={"webhook": {"server": {"workers": 1, "service_s": 5, "timeout_s": 3}}})
    accepted, took_s = server.request(TENANT)
    assert (accepted, took_s) == (False, pytest.approx(3, abs=0.01))
    server.remote_of("webhook").down = True
    server.clock.run_until(20)
    assert not server.request(TENANT)[0]
    server.remote_of("webhook").down, server.remote_of("webhook").slower = False, 0.1
    assert server.request(TENANT)[0]


# --- in a run


@pytest.mark.parametrize("method", list(AUTHENTICATORS))
def test_pods_start_whatever_the_tenants_prove_themselves_by(method):
    remote = {"oidc": {"oidc": {"provider": {"workers": 5}}}, "webhook": {"webhook": {"server": {"workers": 5}}}}
    modes = list(dict.fromkeys(["x509", "service-account", method]))
    scenario = exact(
        apiserver__authentication__modes=modes, apiserver__authentication__tenants=method,
        apiserver__authentication__methods=remote.get(method, {}),
    )  # fmt: skip
    result = simulate(scenario, load_of((1.0, AppKind.POD, 2)), seed=1)
    assert (result.pods["phase"] == "Running").all()
    assert AUTHENTICATORS[method].__doc__


def test_a_token_webhook_that_is_out_refuses_tenants_and_lets_them_in_again():
    """Out from 5 s to 15 s: pods asked for meanwhile are refused with 401, those before and after are stored."""
    scenario = exact(
        apiserver__authentication__modes=["x509", "service-account", "webhook"],
        apiserver__authentication__tenants="webhook",
        apiserver__authentication__methods={"webhook": {"server": {"workers": 5}, "cache_s": 1}},
        apiserver__authentication__token_success_s=1,
        faults=[{"type": "webhook-outage", "webhook": "authentication.webhook", "at_s": [5.0], "for_s": 10.0}],
    )
    result = simulate(scenario, load_of((1.0, AppKind.POD, 1), (8.0, AppKind.POD, 2), (20.0, AppKind.POD, 1)), seed=1)
    assert result.pods["phase"].tolist() == ["Running", "Refused", "Refused", "Running"]
    assert int(result.request_log.query("code == 401")["count"].sum()) == 2


@pytest.mark.parametrize("how", ["fault", "valid_until_s"])
def test_kubelets_with_expired_certificates_make_their_nodes_silent(how: str):
    """Expired at 20 s: heartbeats are answered 401, and after the grace of 40 s all nodes are tainted against new pods. Nobody is
    evicted, for every zone is silent. Rotated at 120 s: the taints go, and the pod asked for at 90 s starts."""
    fault = {"type": "expired-certificate", "user": "system:node", "at_s": [20.0], "for_s": 100.0}
    sets: dict[str, object] = {"faults": [fault]}
    if how == "valid_until_s":
        sets = {"apiserver__authentication__methods": {"x509": {"valid_until_s": 20.0}}}
    scenario = exact(horizon_s=300, nodes__pools__general__count=4, kubelet__lease_period_s=10, **sets)
    cluster = Cluster(scenario, load_of((1.0, AppKind.POD, 2), (90.0, AppKind.POD, 1)), Streams(1))
    park = cluster.park
    assert park is not None

    def tainted() -> int:
        return sum(any("unreachable" in taint.key for taint in park.spec(node).taints) for node in range(4))

    cluster.clock.run_until(19.0)
    assert park.level_ready() == 4
    cluster.clock.run_until(21.0)
    assert park.level_ready() == 0
    assert tainted() == 0
    cluster.clock.run_until(20 + 40 + 10 + 1)
    assert tainted() == 4
    cluster.clock.run_until(119.0)
    assert np.isnan(cluster.pods.times["delete_requested_s"]).all()
    assert np.isnan(cluster.pods.times["bound_s"][2])
    cluster.clock.run_until(290.0)
    if how == "fault":
        assert park.level_ready() == 4
        assert tainted() == 0
        assert cluster.started == 3
    else:
        assert park.level_ready() == 0
        assert cluster.started == 2


def test_an_expired_certificate_shows_as_401_until_it_is_rotated():
    """The scheduler's certificate expires for 10 s: bindings tried in that time are refused and the pods start afterwards."""
    fault = {"type": "expired-certificate", "user": "system:kube-scheduler", "at_s": [5.0], "for_s": 10.0}
    result = simulate(exact(faults=[fault]), load_of((6.0, AppKind.POD, 3)), seed=1)
    requests = result.request_log
    refused = requests[requests["code"] == 401]
    assert set(refused["client"]) == {"system:kube-scheduler"}
    assert refused["time_s"].between(5, 15).all()
    assert (result.pods["phase"] == "Running").all()
    assert (result.pods["bound_s"] > 15).all()
    active = result.series.set_index("time_s")["faults_active"]
    assert (active.loc[5.5:14.5] == 1).all()


def test_kubelets_without_a_good_certificate_renew_no_lease():
    fault = {"type": "expired-certificate", "user": "system:node", "at_s": [20.0], "for_s": 20.0}
    result = simulate(
        exact(faults=[fault], nodes__pools__general__count=50, kubelet__lease_period_s=10),
        load_of((1.0, AppKind.POD, 1)),
        seed=1,
    )
    leases = result.request_log[result.request_log["resource"] == "leases"]
    during = leases[leases["time_s"].between(20.5, 39.5)]
    assert set(during["code"]) == {401}
    assert during["count"].sum() == pytest.approx(50 * 19 / 10, abs=3)  # each node tries once a period
    assert set(leases[~leases["time_s"].between(19.9, 40.6)]["code"]) == {200}


# --- bad input


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"modes": ["x590"]}, "did you mean 'x509'?"),
        ({"tenants": "oidc"}, "apiserver.authentication.tenants: 'oidc' is not among the methods that are on"),
        ({"modes": ["x509", "service-account", "webhook"]}, "methods.webhook.server: None must be given"),
        ({"modes": ["x509", "service-account", "oidc"]}, "methods.oidc.provider: None must be given"),
        ({"modes": ["x509", "x509", "service-account"]}, "name a method twice"),
        ({"methods": {"x509": {"valid_from_s": 10, "valid_until_s": 5}}}, "expires before it begins"),
        ({"methods": {"oidc": {"keys_s": 5}}}, "methods.oidc.keys_s: 5.0 does nothing: the method is off"),
        ({"users": {"tenant-99": "x509"}}, "is neither a component nor a tenant"),
        ({"methods": {"service-account": {"key": "rsa-1024"}}}, "is no kind of key"),
        ({"methods": {"x509": {"chain_cpu": 1}}}, "did you mean 'chain_cpu_s'?"),
        ({"modes": ["x509", "service-account", "webhook"], "nodes": "webhook", "methods": {"webhook": {"server": {"workers": 1}}}},
         "not simulated for nodes"),
        ({"modes": ["x509", "service-account", "webhook"], "methods": {"webhook": {"server": {"workers": 0}}}}, "must be at least 1"),
    ],
)  # fmt: skip
def test_bad_input_is_found_before_the_run(values, expected):
    with pytest.raises(InputError) as error:
        Scenario.load("quick").replace({f"apiserver.authentication.{key}": value for key, value in values.items()})
    assert expected in str(error.value)


@pytest.mark.parametrize("version", ["1.12", "1.20", "1.34"])
def test_what_a_preset_says_of_a_method_may_stand_where_it_is_off(version):
    values = {
        "modes": ["static-token"],
        **dict.fromkeys(("components", "controllers", "nodes", "tenants"), "static-token"),
    }
    scenario = Scenario.load("quick").replace(
        {"kubernetes": version, **{f"apiserver.authentication.{key}": value for key, value in values.items()}}
    )
    assert scenario.apiserver.authentication.modes == ("static-token",)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (
            {"type": "expired-certificate", "user": "system:kube-schedular", "at_s": [1]},
            "did you mean 'system:kube-scheduler'?",
        ),
        ({"type": "request-flood", "tenant": "tenant-2", "at_s": [1]}, "is no tenant; did you mean 'tenant-1'?"),
    ],
)
def test_faults_name_users_that_exist(fault, expected):
    with pytest.raises(InputError) as error:
        Scenario.load("quick").replace({"faults": [fault]})
    assert expected in str(error.value)


def test_a_certificate_cannot_expire_where_there_is_none():
    values = {"apiserver.authentication.modes": ["x509", "service-account", "static-token"],
              "apiserver.authentication.tenants": "static-token",
              "faults": [{"type": "expired-certificate", "user": "tenant-1", "at_s": [1]}]}  # fmt: skip
    with pytest.raises(InputError, match="without a client certificate"):
        Scenario.load("quick").replace(values)
