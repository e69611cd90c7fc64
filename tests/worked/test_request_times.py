"""A user's request is asked when the clock says so: the sum of its waits may be a rounding below the drawn moment."""

from __future__ import annotations

import numpy as np
import pytest

import sim
from sim.base.rand import Streams


@pytest.mark.parametrize("replication", [6, 13])  # with these the third pod's moment is one rounding apart
def test_requested_is_never_after_what_follows_from_it(replication):
    cluster = sim.Scenario.load("quick", {"horizon_s": 5, "warm_up_s": 0, "workload.rate_per_s": 3.36})
    load = cluster.workload.build(cluster.setting(), Streams(cluster.seed, replication))
    pods = sim.simulate(cluster, load, replication=replication).pods
    asked = pods["requested_s"].dropna().to_numpy()
    assert asked == pytest.approx(np.repeat(load.app_time_s, load.app_pods)[: len(asked)], rel=1e-12)
    assert len(asked) > 3
    assert (pods["post_sent_s"].dropna().to_numpy()[: len(asked)] >= asked).all()
