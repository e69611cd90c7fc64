"""kube-proxies in a run: changes wait for the least period, go together, and take as long as their table."""

from __future__ import annotations

from array import array

import numpy as np
import pytest

from sim.engine.clock import Clock
from sim.network.routes.kube_proxy import KubeProxySpec, programming_latency_s
from sim.network.routes.service_rules import ServiceRules
from sim.scenario import Scenario
from sim.simulate import simulate

COSTS = {"program_s": 0.5, "restore_rule_s": 0.0, "table_rule_s": 0.0, "endpoint_slice_s": 1.0}


class Bed:
    def __init__(self, nodes: int = 1, pods: int = 100, **spec: object) -> None:
        self.clock = Clock()
        self.half_s, self.all_s = array("d", [np.nan] * pods), array("d", [np.nan] * pods)
        self.spec = KubeProxySpec.model_validate({**COSTS, **spec})
        self.rules = ServiceRules(self.clock, self.spec, nodes, self.half_s, self.all_s, np.random.default_rng(1))

    def change(self, at_s: float, pod: int, added: bool = True, service: int = 0) -> None:
        self.clock.at(at_s, lambda _: self.rules.endpoint_changed(service, pod, added))


def test_worked_example():
    """Least period 10 s, a sync of 0.5 s. Heard at 101: at once, done at 101.5. Heard at 104 and 107: both with the next, 111 to 111.5."""
    bed = Bed(min_sync_period_s=10)
    for pod, at_s in enumerate((100.0, 103.0, 106.0)):
        bed.change(at_s, pod)
    bed.clock.run_until(200)
    assert list(bed.all_s[:3]) == pytest.approx([101.5, 111.5, 111.5])
    assert bed.rules.syncs == 2


def test_slices_say_what_changed_and_syncs_cost_their_nodes():
    """Heard at 10 and 12 with nothing before; the second adds pod 2 and takes pod 0 away. Each sync's 0.5 s is put on the node."""
    worked: list[tuple[int, float]] = []
    bed = Bed(min_sync_period_s=0)
    bed.rules._load = lambda node, cpu_s: worked.append((node, cpu_s))
    bed.clock.at(10.0, lambda _: bed.rules.slices_heard(0, frozenset({0, 1})))
    bed.clock.at(12.0, lambda _: bed.rules.slices_heard(0, frozenset({1, 2})))
    bed.clock.run_until(50)
    assert list(bed.all_s[:3]) == pytest.approx([10.5, 10.5, 12.5])
    assert bed.rules.endpoints == 2
    assert worked == [(0, 0.5), (0, 0.5)]
    assert bed.rules.sync_cpu_s == 1.0


def test_endpoints_of_a_run_come_from_the_controller():
    """With the EndpointSlice controller a pod is served once its slice is written and heard of: its batch of 1 s after ready."""
    scenario = Scenario.load(
        "quick",
        {
            "nodes.count": 20,
            "horizon_s": 40,
            "workload.application": {"kind": "service", "replicas": 3},
            "controllers.endpoints.services": True,
        },
    )
    result = simulate(scenario)
    pods = result.record.pods
    served = ~np.isnan(pods["serving_all_s"])
    assert served.sum() > 20
    waited_s = (pods["serving_50_s"] - pods["ready_s"])[served]
    assert waited_s.min() > 0
    assert 0.9 < np.median(waited_s) < 3
    assert result.record.counters["endpoint_slice_writes"] > 0
    assert result.record.counters["service_syncs"] > 0


def test_what_comes_during_a_sync_goes_with_the_next():
    bed = Bed(min_sync_period_s=0, program_s=2.0)
    bed.change(10.0, 0), bed.change(11.0, 1)
    bed.clock.run_until(50)
    assert list(bed.all_s[:2]) == pytest.approx([13.0, 15.0])


def test_a_full_restore_writes_all_and_a_partial_one_what_changed():
    took = {}
    for partial in (True, False):
        bed = Bed(min_sync_period_s=0, partial_restore=partial, restore_rule_s=0.01, program_s=0)
        for service in range(10):
            bed.change(service * 5.0, service, service=service)
        bed.clock.run_until(100)
        took[partial] = bed.all_s[9] - 46.0
    rules = 10 * 4
    assert took == pytest.approx({True: rules / 10 * 0.01, False: rules * 0.01})


def test_the_run_agrees_with_the_loop_of_one_node():
    """Poisson changes at 2 a second, period 5 s: the median over pods is that of the analytical loop."""
    rng = np.random.default_rng(3)
    at_s = np.cumsum(rng.exponential(0.5, 2000))
    bed = Bed(nodes=20, pods=2000, min_sync_period_s=5)
    for pod, when in enumerate(at_s):
        bed.change(float(when), pod)
    bed.clock.run_until(1200)
    played = np.frombuffer(bed.half_s) - at_s
    alone = programming_latency_s(bed.spec, 1, 1000, 2.0, 1000.0, np.random.default_rng(5))
    assert np.nanmedian(played) == pytest.approx(np.median(alone), rel=0.05)


def test_none_writes_nothing_and_an_endpoint_that_leaves_has_no_time():
    bed = Bed(mode="none")
    bed.change(1.0, 0)
    gone = Bed()
    gone.change(1.0, 0, added=False)
    for each in (bed, gone):
        each.clock.run_until(30)
        assert np.isnan(each.all_s[0])


def test_columns_of_a_run():
    """Pods of services are served after they run; a longer least period makes it later."""
    small = {"nodes.count": 20, "horizon_s": 40, "workload.application": {"kind": "service", "replicas": 3}}
    delay_s = {}
    for period in (1, 10):
        pods = simulate(Scenario.load("quick", {**small, "network.kube_proxy.min_sync_period_s": period})).record.pods
        served = np.isfinite(pods["serving_all_s"])
        assert served.any()
        assert np.all(pods["serving_all_s"][served] >= pods["watched_s"][served] + 1.0)
        assert np.all(pods["serving_50_s"][served] <= pods["serving_all_s"][served])
        delay_s[period] = np.median((pods["serving_all_s"] - pods["watched_s"])[served])
    assert delay_s[10] > delay_s[1] + 2
