"""Several schedulers under deaths, partitions and an etcd without a leader: never two lead, and only who leads binds."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from sim.workload import AppKind
from tests.controllers.loads import run
from tests.worked.scenarios import exact, load_of

KINDS = ("death", "cut", "etcd", "apiserver")


def strike(kind: str, at_s: float, lasts_s: float) -> dict[str, object]:
    """A fault as a scenario names it."""
    return {
        "death": {"type": "scheduler-death", "at_s": [at_s]},
        "cut": {"type": "partition", "component": "kube-scheduler", "at_s": [at_s], "duration_s": lasts_s},
        "etcd": {"type": "etcd-disk-stall", "at_s": [at_s], "for_s": lasts_s},
        "apiserver": {"type": "apiserver-crash", "at_s": [at_s], "down_s": lasts_s},
    }[kind]


@settings(max_examples=12, deadline=None)
@given(
    strikes=st.lists(st.tuples(st.sampled_from(KINDS), st.floats(1.5, 60.0), st.floats(0.5, 40.0)), max_size=3),
    skew_s=st.floats(0.0, 3.0),
    replicas=st.integers(2, 3),
)
def test_two_never_bind_at_once(strikes, skew_s, replicas):
    """A pod a second, bound by a client of 2 a second: bindings are sent within one leadership each, leaderships do not
    overlap, and in the end every pod that was stored is bound, once."""
    scenario = exact(
        horizon_s=400,
        scheduler__replicas=replicas,
        scheduler__qps=2,
        scheduler__burst=2,
        leader_election__clock_skew_s=skew_s,
        faults=[strike(*each) for each in strikes],
    )
    load = load_of(*((1.0 + number, AppKind.POD, 1) for number in range(60)))
    cluster = run(scenario, load, 390.0)
    schedulers = cluster.schedulers
    assert schedulers is not None
    ends = [*schedulers.ceased_s, *[(name, cluster.clock.now) for name in [schedulers.leader] if name]]
    spans = [(since_s, until_s) for (_, since_s), (_, until_s) in zip(schedulers.led_s, ends, strict=True)]
    assert all(before[1] <= after[0] for before, after in pairwise(spans))
    columns = cluster.pods.columns()
    sent_s = columns["bind_sent_s"][~np.isnan(columns["bind_sent_s"])]
    assert all(any(since_s <= each <= until_s for since_s, until_s in spans) for each in sent_s)
    stored = ~np.isnan(columns["created_s"])
    assert not np.isnan(columns["bound_s"][stored]).any()
    log, kinds = cluster.requests.columns(), cluster.requests.kinds()
    bound = [
        number
        for number, (operation, _, code) in enumerate(kinds)
        if operation.resource == "pods/binding" and code in (201, 409)  # 409: it was stored, and no answer came
    ]
    assert int(log["count"][np.isin(log["kind"], bound)].sum()) == int(stored.sum())
