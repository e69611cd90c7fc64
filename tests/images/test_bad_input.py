"""What cannot be run is found before the run where it can be; what only a pull finds out is the kubelet's reason on the pod."""

from __future__ import annotations

import pytest

from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.scenario import Scenario
from sim.simulate import Cluster
from sim.state.pods import Phase
from sim.workload import AppKind
from tests.worked.scenarios import exact, load_of


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        ({"runtime": "kata-qemuu"}, "'kata-qemuu' is none of the runtimes; did you mean 'kata-qemu'"),
        ({"nodes.pools.general.runtime": "dockr"}, "'dockr' is none of the runtimes; did you mean 'docker'"),
        ({"registry": "harber"}, "'harber' is none of the image sources; did you mean 'harbor'"),
        ({"images.base.base": "serve"}, "'serve' is no image of the scenario; did you mean 'server'"),
        ({"images.base.size_bytes": -5}, "-5 must be"),
        (
            {"workload.mix": [{"cpu": "1", "memory": "1Gi", "weight": 1, "image": "bse"}]},
            "'bse' is no image of the scenario; did you mean 'base'",
        ),
    ],
)
def test_found_before_the_run(sets: dict[str, object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Scenario.load("quick").replace(sets).check()


def test_an_image_that_no_source_holds_is_the_reason_that_the_pod_waits() -> None:
    """It is pushed after the nodes were made, with no registry behind them: the pull fails, then waits for its back-off."""
    scenario = exact(images={"app": {"size_bytes": 1000, "pushed_at_s": 1000}}, registry="pre-seeded", horizon_s=60)
    cluster = Cluster(scenario, load_of((1.0, AppKind.POD, 1)), Streams(1))
    told = set()
    for second in range(2, 60):
        cluster.clock.run_until(second)
        told.update(cluster.images.reasons.values())
    assert told == {"ErrImagePull", "ImagePullBackOff"}
    assert cluster.pods.ids["phase"][0] == Phase.SCHEDULED
    assert cluster.kubelets.nodes[0].containers == 0
