"""Informers' resync: what it costs, and that doing idle objects together changes nothing."""

from __future__ import annotations

import pytest

from sim.workload import AppKind
from tests.controllers.loads import one_app, run
from tests.worked.scenarios import exact

FAST = {"controllers__qps": 1000, "controllers__burst": 1000}


def test_an_idle_stateful_set_is_looked_at_every_30_seconds():
    """As in 1.12. Looks at 30 and 60 s, of one set: 0.2 ms of CPU each, and no request."""
    load = one_app(AppKind.STATEFUL_SET, 2)
    quiet = run(exact(horizon_s=70, **FAST), load, 70.0)
    looked = run(exact(horizon_s=70, controllers__stateful_set_resync_s=30, **FAST), load, 70.0)
    kind = AppKind.STATEFUL_SET
    before, after = (each.controllers.by_kind[kind].queue.meter for each in (quiet, looked))
    assert after.served == before.served + 2
    assert sent(quiet) == sent(looked)


def test_the_period_of_all_informers_is_drawn_once():
    """Least period 20 s: the first look is between 20 and 40 s, the next as long after it."""
    cluster = run(exact(horizon_s=100, controllers__resync_s=20, **FAST), one_app(AppKind.SERVICE, 1), 19.9)
    queue = cluster.controllers.replicasets.queue
    served, at_s = queue.meter.served, []
    for step in range(200, 990):
        cluster.clock.run_until(step / 10)
        if queue.meter.served > served:
            served = queue.meter.served
            at_s.append(step / 10)
    assert 20 <= at_s[0] <= 40
    assert at_s[1] == pytest.approx(2 * at_s[0], abs=0.2)


@pytest.mark.parametrize("syncs", [1, 5, 7, 40])
def test_together_takes_as_long_as_one_by_one(syncs):
    """5 workers, `syncs` idle objects, and one more key added behind them: with either way it is done at the same time, to the
    length of one sync, and as many syncs are counted."""
    done: list[tuple[float, int]] = []
    for together in (True, False):
        cluster = run(exact(horizon_s=60, **FAST), one_app(AppKind.STATEFUL_SET, 1), 10.0)
        controller = cluster.controllers.by_kind[AppKind.STATEFUL_SET]
        queue, machine, clock = controller.queue, cluster.machines["control-plane"], cluster.clock
        served = queue.meter.served
        if together:
            queue.add_idle(syncs, lambda count, machine=machine: machine.work(count * 0.2))
        else:
            controller.queue._sync = lambda key, machine=machine: one_sync(machine)
            for number in range(syncs):
                queue.add(("idle", number))
        while queue._busy:
            clock.run_until(clock.now + 0.01)
        done.append((clock.now, queue.meter.served - served))
    assert done[0][0] == pytest.approx(done[1][0], abs=0.011)
    assert done[0][1] == done[1][1] == syncs


def sent(cluster):
    return sum(cluster.requests.columns()["count"].tolist())


def one_sync(machine):
    yield machine.work(0.2)
    return True
