"""ResourceQuota: what pods count, and that quotas are never exceeded and released exactly once, whoever writes meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sim.apiserver.admission.objects import ResourceQuotaObject
from sim.apiserver.admission.resource_quota import Quota, QuotaEvaluator, Quotas, QuotaSpec, charges
from sim.engine.clock import Clock, Task
from sim.engine.machine import Machine
from sim.simulate import simulate
from sim.state.objects import Container, PodSpec, quantities
from sim.workload import AppKind
from tests.worked.scenarios import exact, load_of

CPU_S = 0.002
PUT_S = 0.003


def pod(namespace: str = "ns", cpu: int = 100, limits: int = 0) -> PodSpec:
    container = Container(
        "c", "", quantities({"cpu": cpu} if cpu else {}), quantities({"cpu": limits} if limits else {})
    )
    return PodSpec(namespace=namespace, containers=(container,))


class Server:
    """An API server's evaluator on its own, with an etcd that takes `PUT_S`, or fails while `broken`."""

    def __init__(self, quotas: Quotas, clock: Clock | None = None, **values) -> None:
        self.clock = clock or Clock()
        self.quotas = quotas
        self.broken = False
        self.puts = 0
        machine = Machine(self.clock, "m", "apiserver", 64)
        self.evaluator = QuotaEvaluator(self.clock, QuotaSpec(**values), machine, self._put, CPU_S, quotas)
        self.answers: list[tuple[int, float]] = []

    def _put(self):
        self.puts += 1
        return self.clock.timeout(PUT_S, "etcd is down" if self.broken else "")

    def post(self, spec: PodSpec):
        code = yield from self.evaluator.evaluate(self.quotas.charge_of(spec))
        self.answers.append((code, self.clock.now))
        return code


def quota_of(namespace: str = "ns", name: str = "q", scopes: tuple[str, ...] = (), **hard: int) -> ResourceQuotaObject:
    return ResourceQuotaObject(namespace, name, quantities(hard), scopes)


def test_what_a_pod_counts():
    spec = PodSpec(
        containers=(
            Container("a", "", quantities({"cpu": 100, "memory": 10}), quantities({"cpu": 200})),
            Container("b", "", quantities({"cpu": 50, "example.com/gpu": 1})),
        ),
        init_containers=(Container("i", "", quantities({"cpu": 400})),),
        overhead=quantities({"cpu": 5}),
    )
    assert charges(spec) == {
        "pods": 1,
        "count/pods": 1,
        "cpu": 405,
        "requests.cpu": 405,
        "memory": 10,
        "requests.memory": 10,
        "requests.example.com/gpu": 1,
        "limits.cpu": 200,
    }


def test_scopes_choose_pods():
    """A pod without requests and limits is BestEffort; none has an active deadline here."""
    objects = [
        quota_of(name="all", pods=9),
        quota_of(name="best", scopes=("BestEffort",), pods=9),
        quota_of(name="better", scopes=("NotBestEffort", "NotTerminating"), pods=9),
        quota_of(name="ending", scopes=("Terminating",), pods=9),
    ]
    quotas = Quotas(objects)
    assert [quota.name for quota, _ in quotas.charge_of(pod())] == ["all", "better"]
    assert [quota.name for quota, _ in quotas.charge_of(pod(cpu=0))] == ["all", "best"]
    assert quotas.charge_of(pod("elsewhere")) == ()


def test_a_pod_must_name_what_is_limited():
    quotas = Quotas([quota_of(**{"requests.cpu": 1000, "limits.cpu": 1000, "requests.memory": 5})])
    assert quotas.missing(pod()) == "failed quota: q: must specify limits.cpu,requests.memory"
    assert quotas.missing(pod("elsewhere")) == ""


def test_what_arrives_together_is_written_together():
    """One is evaluated at once; the nine that come meanwhile share the second turn, and its one write."""
    quotas = Quotas([quota_of(pods=100)])
    server = Server(quotas)
    for _ in range(10):
        server.clock.start(server.post(pod()))
    server.clock.run_until(1.0)
    turn = CPU_S + PUT_S
    assert server.answers == [(0, pytest.approx(turn)), *[(0, pytest.approx(2 * turn))] * 9]
    assert server.puts == 2


def test_who_does_not_fit_is_refused_and_the_others_are_not():
    quotas = Quotas([quota_of(name="a", pods=100), quota_of(name="b", cpu=250)])
    server = Server(quotas)
    for cpu in (10, 200, 100, 40):  # 100 does not fit beside 210 of 250, 40 does
        server.clock.start(server.post(pod(cpu=cpu)))
    server.clock.run_until(1.0)
    assert [code for code, _ in server.answers] == [0, 0, 403, 0]
    assert [quota.used for quota in quotas] == [{"pods": 3}, {"cpu": 250}]


def test_five_namespaces_at_a_time():
    quotas = Quotas([quota_of(f"ns-{n}", pods=100) for n in range(11)])
    server = Server(quotas)
    for number in range(11):
        server.clock.start(server.post(pod(f"ns-{number}")))
    server.clock.run_until(1.0)
    turn = CPU_S + PUT_S
    assert [at for _, at in server.answers] == pytest.approx([turn] * 5 + [2 * turn] * 5 + [3 * turn])


def test_a_conflict_is_tried_again_and_given_up_after_the_third_time():
    """Somebody writes the status while each of the first n writes is under way."""
    for disturbed, code in ((1, 0), (3, 0), (4, 409)):
        quotas = Quotas([quota_of(pods=5)])
        (quota,) = quotas
        server = Server(quotas)
        server.clock.start(server.post(pod()))
        for turn in range(disturbed):
            at_s = turn * (CPU_S + PUT_S) + CPU_S + PUT_S / 2
            server.clock.at(at_s, lambda _, quota=quota: quota.add({}))
        server.clock.run_until(1.0)
        assert [answer for answer, _ in server.answers] == [code]
        assert quota.used == {"pods": 1 if code == 0 else 0}
        assert server.evaluator.conflicts == disturbed


def test_who_waits_longer_than_ten_seconds_is_answered_500_and_its_charge_given_back():
    quotas = Quotas([quota_of(pods=5)])
    server = Server(quotas, timeout_s=0.004)  # before the write is done
    server.clock.start(server.post(pod()))
    server.clock.run_until(1.0)
    assert server.answers == [(500, pytest.approx(0.004))]
    assert [quota.used for quota in quotas] == [{"pods": 0}]


def test_etcd_s_error_is_an_answer_and_charges_nothing():
    quotas = Quotas([quota_of(pods=5)])
    server = Server(quotas)
    server.broken = True
    server.clock.start(server.post(pod()))
    server.clock.run_until(1.0)
    assert [code for code, _ in server.answers] == [500]
    assert [quota.used for quota in quotas] == [{"pods": 0}]


def test_a_server_that_dies_between_two_quotas_leaves_no_charge():
    """Both quotas of the namespace change, one write after the other; the server dies within the second."""
    quotas = Quotas([quota_of(name="a", pods=4), quota_of(name="b", cpu=500)])
    server = Server(quotas)
    task = server.clock.start(server.post(pod()))
    server.clock.run_until(CPU_S + 1.5 * PUT_S)
    assert [quota.used for quota in quotas] == [{"pods": 1}, {"cpu": 0}]
    task.abandon()
    server.evaluator.lose()
    server.clock.run_until(1.0)
    assert [quota.used for quota in quotas] == [{"pods": 0}, {"cpu": 0}]


def test_a_count_does_not_overwrite_a_newer_status():
    quota = Quota({"pods": 5})
    quota.add({"pods": 2})
    quota.end({"pods": 1})
    count = quota.count()
    quota.add({"pods": 1})
    assert not quota.store_count(count)
    assert quota.used == {"pods": 3}
    assert quota.store_count(quota.count())
    assert quota.used == {"pods": 2}
    assert not quota.count().changes


class QuotaMachine(RuleBasedStateMachine):
    """Two API servers admit pods of one namespace with two quotas; pods end, the quota controller counts, etcd breaks, requests
    are abandoned. A pod is live from the answer until it ends."""

    @initialize(controlled=st.booleans())
    def build(self, controlled: bool) -> None:
        self.quotas = Quotas([quota_of(name="a", pods=4), quota_of(name="b", cpu=500)])
        self.clock = Clock()
        self.servers = [Server(self.quotas, self.clock), Server(self.quotas, self.clock)]
        self.live: list[PodSpec] = []
        self.under_way: list[tuple[int, Task]] = []
        self.controlled = controlled
        if controlled:
            self.quotas.on_end = lambda quota: self.clock.start(self.count(quota))

    def count(self, quota: Quota):
        """The quota controller: reads, takes its time, writes; again while somebody was faster."""
        while True:
            found = quota.count()
            if not found.changes:
                return
            yield self.clock.timeout(0.004)
            if quota.store_count(found):
                return

    def create(self, server: Server, spec: PodSpec):
        code = yield from server.post(spec)
        if not code:
            self.live.append(spec)

    @rule(server=st.integers(0, 1), cpu=st.integers(0, 3))
    def post(self, server: int, cpu: int) -> None:
        spec = pod(cpu=cpu * 100)
        self.under_way.append((server, self.clock.start(self.create(self.servers[server], spec))))

    @rule(which=st.integers(0, 100))
    def end(self, which: int) -> None:
        if self.live:
            self.quotas.release(self.quotas.charge_of(self.live.pop(which % len(self.live))))

    @rule(which=st.integers(0, 100))
    def abandon(self, which: int) -> None:
        """The server that serves it dies, for this request."""
        waiting = [task for _, task in self.under_way if task.callbacks is not None]
        if waiting:
            waiting[which % len(waiting)].abandon()

    @rule(server=st.integers(0, 1))
    def die(self, server: int) -> None:
        """A whole server dies and comes back: no request that it serves is answered."""
        for at, task in self.under_way:
            if at == server and task.callbacks is not None:
                task.abandon()
        self.servers[server].evaluator.lose()

    @rule(server=st.integers(0, 1), broken=st.booleans())
    def etcd(self, server: int, broken: bool) -> None:
        self.servers[server].broken = broken

    @rule(for_s=st.floats(0.0, 0.02))
    def wait(self, for_s: float) -> None:
        self.clock.run_until(self.clock.now + for_s)

    @invariant()
    def never_exceeded(self) -> None:
        if not hasattr(self, "quotas"):
            return
        for quota in self.quotas:
            held = sum(
                amounts[name]
                for spec in self.live
                for each, amounts in self.quotas.charge_of(spec)
                if each is quota
                for name in quota.hard
            )
            for name, hard in quota.hard.items():
                assert held <= quota.used[name] <= hard

    def teardown(self) -> None:
        """When all is over exactly what lives is charged."""
        if not hasattr(self, "quotas"):
            return
        self.clock.run_until(self.clock.now + 60.0)
        for quota in self.quotas:
            self.clock.start(self.count(quota))
        self.clock.run_until(self.clock.now + 60.0)
        for quota in self.quotas:
            held = dict.fromkeys(quota.hard, 0)
            for spec in self.live:
                for each, amounts in self.quotas.charge_of(spec):
                    if each is quota:
                        for name in held:
                            held[name] += amounts[name]
            assert quota.used == held


TestQuotaMachine = QuotaMachine.TestCase
TestQuotaMachine.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_a_tenant_s_quota_in_a_whole_run():
    """Room for 3 of 5 pods: three are stored, two are answered 403, and the Deployment's controller tries again for ever."""
    scenario = exact(tenants__quota={"pods": "3"})
    result = simulate(scenario, load_of((1.0, AppKind.POD, 5)), seed=1)
    rows = result.requests
    posts = rows[(rows["verb"] == "POST") & (rows["resource"] == "pods")]
    assert posts.groupby("code")["count"].sum().to_dict() == {201: 3, 403: 2}
    assert (result.pods["phase"] == "Refused").sum() == 2
