"""The engine against queueing theory, with stated power.

Each case runs 30 independent replications, drops the start of each, and forms a 99.99 % t interval of the mean.
The interval must contain the theory and have a half-width of at most 3 % of it. That half-width is 4.5 standard
errors, so a defect that moves the mean by 5 % stays inside only if the sample mean errs by 2 % = 3 standard errors
towards the theory: it is noticed with more than 99 %.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from sim.base.rand import Constant, Dist, Exponential, Gamma, Lognormal, Mixture, Streams
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.engine.semaphore import Semaphore

HALF_WIDTH = 0.03
REPLICATIONS = 30


def first_come_first_served(arrivals: np.ndarray, services: np.ndarray, servers: int) -> tuple[np.ndarray, Semaphore]:
    clock = Clock()
    seats = Semaphore(clock, "servers", "room", servers)
    sojourn = np.empty(len(arrivals))

    def customer(index: int, service_s: float):
        yield seats.acquire()
        yield clock.timeout(service_s)
        seats.release()
        sojourn[index] = clock.now - arrivals[index]

    drive(clock, arrivals, services, customer)
    return sojourn, seats


def processor_sharing(arrivals: np.ndarray, services: np.ndarray, servers: int) -> tuple[np.ndarray, Machine]:
    clock = Clock()
    machine = Machine(clock, "machine", "room", servers)
    sojourn = np.empty(len(arrivals))

    def customer(index: int, service_s: float):
        yield machine.work(service_s)
        sojourn[index] = clock.now - arrivals[index]

    drive(clock, arrivals, services, customer)
    return sojourn, machine


def drive(clock: Clock, arrivals: np.ndarray, services: np.ndarray, customer) -> None:
    def source():
        for index, (at_s, service_s) in enumerate(zip(arrivals.tolist(), services.tolist(), strict=True)):
            yield clock.timeout(at_s - clock.now)
            clock.start(customer(index, service_s))

    clock.start(source())
    clock.run_until(math.inf)


def check(discipline, name: str, load: float, servers: int, service: Dist, theory_s: float, customers: int) -> None:
    """Mean sojourn against theory; Little's law within each replication, exactly."""
    means = []
    for replication in range(REPLICATIONS):
        streams = Streams(2024, replication)
        rate = load * servers / service.mean()
        arrivals = np.cumsum(streams(f"{name}.arrivals").exponential(1 / rate, customers))
        services = service.sample(streams(f"{name}.services"), customers)
        sojourn, resource = discipline(arrivals, services, servers)
        means.append(sojourn[customers // 20 :].mean())
        # Little's law as an identity of areas: everybody's sojourn = integral of the number present
        assert sum(resource.meter.read()) == pytest.approx(sojourn.sum(), rel=1e-6)
    half = stats.t.ppf(1 - 0.0001 / 2, REPLICATIONS - 1) * np.std(means, ddof=1) / math.sqrt(REPLICATIONS)
    mean = np.mean(means)
    assert half < HALF_WIDTH * theory_s, f"{name}: too few customers to notice anything: +-{half / theory_s:.1%}"
    assert abs(mean - theory_s) < half, f"{name}: {mean:.5g} s, theory {theory_s:.5g} s +-{half:.2g}"


def erlang_c(servers: int, offered: float) -> float:
    """Probability of waiting in M/M/c, by the stable recursion of Erlang B."""
    blocking = 1.0
    for count in range(1, servers + 1):
        blocking = offered * blocking / (count + offered * blocking)
    return blocking / (1 - offered / servers * (1 - blocking))


def test_erlang_c_of_one_server_is_its_load():
    assert erlang_c(1, 0.6) == pytest.approx(0.6)
    assert erlang_c(2, 1.0) == pytest.approx(1 / 3)  # rho = 1/2: 2 rho^2 / (1 + rho)


def test_mm1():
    check(first_come_first_served, "mm1", 0.5, 1, Exponential(mean=1), 1 / (1 - 0.5), 20_000)


@pytest.mark.slow
def test_mm1_at_high_load():
    check(first_come_first_served, "mm1 busy", 0.8, 1, Exponential(mean=1), 1 / (1 - 0.8), 160_000)


def test_mmc():
    wait_s = erlang_c(4, 4 * 0.7) / (4 * (1 - 0.7))
    check(first_come_first_served, "mmc", 0.7, 4, Exponential(mean=1), 1 + wait_s, 20_000)


def test_md1():
    check(first_come_first_served, "md1", 0.5, 1, Constant(value=1), 1 + 0.5 / (2 * (1 - 0.5)), 12_000)


SHAPES = {
    "constant": Constant(value=1),
    "exponential": Exponential(mean=1),
    "gamma": Gamma(mean=1, scv=3),
    "lognormal": Lognormal(median=math.exp(-0.5), sigma=1),
    "two kinds": Mixture(weights=(0.9, 0.1), parts=(Exponential(mean=0.5), Exponential(mean=5.5))),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_processor_sharing_does_not_care_for_the_shape_of_the_work(shape: str):
    """M/G/1-PS: mean sojourn = E[S] / (1 - rho) whatever the distribution (insensitivity)."""
    assert SHAPES[shape].mean() == pytest.approx(1)
    check(processor_sharing, f"ps {shape}", 0.5, 1, SHAPES[shape], 1 / (1 - 0.5), 24_000)


def test_processor_sharing_on_four_cores():
    """M/M/c-PS has the number present of M/M/c, so by Little's law the same mean sojourn."""
    wait_s = erlang_c(4, 4 * 0.7) / (4 * (1 - 0.7))
    check(processor_sharing, "ps four", 0.7, 4, Exponential(mean=1), 1 + wait_s, 20_000)
