"""Every runtime of the catalog keeps what the kubelet relies on."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from experiments.validate.node_bench import a_node, alone_s, burst, fits, start_container, start_pod
from sim.base.rand import Lognormal
from sim.engine.clock import Clock
from sim.engine.semaphore import Semaphore
from sim.engine.turnstile import Turnstile
from sim.kubelet.runtimes import RUNTIMES
from sim.kubelet.runtimes.catalog import Isolation
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

NAMES = list(RUNTIMES)


@pytest.fixture(params=NAMES)
def runtime(request):
    return RUNTIMES[request.param]()


def test_its_label_is_its_name(runtime):
    assert RUNTIMES[runtime.label] is type(runtime)


def test_it_survives_yaml(runtime):
    assert type(runtime).model_validate(runtime.model_dump()) == runtime


def test_a_start_takes_its_work_and_its_waiting(runtime):
    """Alone on a node: what the parameters say, within the error of a mean of drawn waits."""
    expected = (
        runtime.sandbox_cpu_s
        + runtime.sandbox_wait_s.mean()
        + runtime.container_cpu_s
        + runtime.container_wait_s.mean()
    )
    if isinstance(runtime, VirtualMachineSpec):
        expected += runtime.monitor_cpu_s + (
            runtime.clone_cpu_s if runtime.template else runtime.boot_cpu_s + runtime.boot_wait_s.mean()
        )
    assert alone_s(runtime, repeats=400) == pytest.approx(expected, rel=0.05, abs=1e-9)


def test_a_burst_is_slower_and_no_work_is_lost(runtime):
    together = burst(runtime, 40, cores=4)
    assert len(together.took_s) == 40
    if runtime.isolation is Isolation.NONE:
        return
    assert np.mean(together.took_s) > alone_s(runtime)
    work = runtime.sandbox_cpu_s + runtime.container_cpu_s
    if isinstance(runtime, VirtualMachineSpec):
        work += runtime.monitor_cpu_s + (runtime.clone_cpu_s if runtime.template else runtime.boot_cpu_s)
    assert together.all_s >= 40 * work / 4 - 1e-9  # four cores cannot do it faster
    assert together.all_s >= 40 * runtime.storage_hold_s() - 1e-9  # nor can one lock


def test_what_is_started_is_counted_and_given_back(runtime):
    node = a_node(4, 1, runtime)
    for _ in range(3):
        node.clock.start(start_pod(runtime, node))
    node.clock.run_until(1000)
    assert (node.sandboxes, node.containers) == (3, 3)
    assert node.runtime_memory_bytes() == runtime.memory_bytes(3)
    node.clock.start(runtime.stop_container(node, 5.0, 2.0))
    node.clock.run_until(2000)
    runtime.remove_pod_sandbox(node)
    assert (node.sandboxes, node.containers) == (2, 2)


def test_memory_grows_with_sandboxes(runtime):
    used = [runtime.memory_bytes(count) for count in range(5)]
    assert used[0] == 0
    assert all(later >= earlier for earlier, later in itertools.pairwise(used))
    assert fits(runtime, 64 * 2**30, 100e6) <= 64 * 2**30 // 100e6


def test_two_nodes_draw_alike_and_seeds_differ(runtime):
    assert burst(runtime, 5, seed=3).took_s.tolist() == burst(runtime, 5, seed=3).took_s.tolist()
    if runtime.isolation is not Isolation.NONE:
        assert burst(runtime, 5, seed=3).all_s != burst(runtime, 5, seed=4).all_s


@pytest.mark.parametrize("name", [name for name in NAMES if issubclass(RUNTIMES[name], VirtualMachineSpec)])
def test_templates_and_warm_pools_are_faster(name):
    plain = RUNTIMES[name].model_validate({"template": False})
    template = RUNTIMES[name].model_validate({"template": True})
    warm = RUNTIMES[name].model_validate({"template": False, "warm_pool": 3})
    assert alone_s(template) < alone_s(plain)
    assert template.memory_bytes(50) < plain.memory_bytes(50)
    first = burst(warm, 4, cores=100)
    assert np.sum(first.took_s < alone_s(plain) - plain.boot_cpu_s / 2) == 3  # the fourth boots its own
    assert warm.memory_bytes(1) > plain.memory_bytes(1)


def test_a_limit_on_parallel_starts_is_kept():
    limited = RUNTIMES["containerd"].model_validate({"parallel_starts": 1, "cgroup_lock_s": 0, "storage_lock_s": 0})
    free = RUNTIMES["containerd"].model_validate({"cgroup_lock_s": 0, "storage_lock_s": 0})
    one = alone_s(free)
    assert burst(limited, 20, cores=100).all_s > 15 * (one - free.container_cpu_s)
    assert burst(free, 20, cores=100).all_s < 5 * one


def test_device_mapper_holds_its_lock():
    slow = RUNTIMES["docker"].model_validate({"storage_driver": "devicemapper"})
    assert burst(slow, 50, cores=100, start=start_container).all_s > 50 * 0.1 - 1e-9
    assert burst(RUNTIMES["docker"](), 50, cores=100, start=start_container).all_s < 3


def test_a_turnstile_is_a_lock_whose_hold_is_known():
    """The same arrivals through a turnstile and through a semaphore that is taken, held and given back."""
    rng = np.random.default_rng(1)
    arrivals_s = np.cumsum(rng.exponential(1.0, 300))
    holds_s = Lognormal(median=0.7, sigma=0.8).sample(rng, 300)
    clock, done = Clock(), {"turnstile": np.zeros(300), "semaphore": np.zeros(300)}
    turnstile, lock = Turnstile(clock, "t", "runtime"), Semaphore(clock, "s", "runtime", 1)

    def through_turnstile(i):
        yield clock.timeout(arrivals_s[i])
        yield clock.timeout(turnstile.enter(holds_s[i]) + holds_s[i])
        done["turnstile"][i] = clock.now

    def through_lock(i):
        yield clock.timeout(arrivals_s[i])
        yield lock.acquire()
        yield clock.timeout(holds_s[i])
        lock.release()
        done["semaphore"][i] = clock.now

    for i in range(300):
        clock.start(through_turnstile(i))
        clock.start(through_lock(i))
    clock.run_until(5000)
    np.testing.assert_allclose(done["turnstile"], done["semaphore"], rtol=1e-9)
    (held, waited), (held_slow, waited_slow) = turnstile.meter.read(), lock.meter.read()
    assert held == pytest.approx(held_slow)
    assert waited == pytest.approx(waited_slow)
