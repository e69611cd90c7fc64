"""A load in plain numbers, by hand."""

import json
from collections.abc import Callable

import numpy as np
import pytest

from sim.base.rand import Streams
from sim.workload import Load, Setting
from workloads import Density, Poisson, Stream, Synthetic, describe

MakeSetting = Callable[..., Setting]


@pytest.fixture
def load(setting: MakeSetting) -> Load:
    """A service of 2 pods from 0 to 50 s, a job of 3 pods at 20 s that run 10 s."""
    return Synthetic(
        streams={
            "web": Stream(
                arrivals={"type": "listed", "times_s": [0]},
                tenants=["tenant-2"],
                application={"kind": "service", "replicas": 2, "lifetime_s": 50},
                mix=[{"cpu": "250m", "memory": "0", "image": "web"}],
            ),
            "sums": Stream(
                arrivals={"type": "listed", "times_s": [20]},
                tenants=["tenant-1"],
                application={"kind": "job", "completions": 3, "duration_s": 10},
                mix=[{"cpu": "1", "memory": "1Gi", "image": "worker"}],
            ),
        }
    ).build(setting(), Streams(1))


def test_by_hand(load: Load) -> None:
    told = describe(load, horizon_s=100.0, bins=4)
    assert (told["applications"], told["pods"], told["refused"]["rows"]) == (2, 5, 0)
    assert told["kinds"] == [
        {"kind": "service", "applications": 1, "pods": 2, "pods_largest": 2},
        {"kind": "job", "applications": 1, "pods": 3, "pods_largest": 3},
    ]
    assert told["rate"]["pods_per_s_over_time"] == [5 / 25, 0, 0, 0]
    assert told["rate"]["pods_per_s"] == pytest.approx(0.05)
    assert told["durations_s"] == {
        "until_deleted": 2,
        "finite": 3,
        "mean": 10.0,
        "p10": 10.0,
        "p50": 10.0,
        "p90": 10.0,
        "p99": 10.0,
    }
    assert told["requests"]["total"] == {"cpu": 3500, "memory": 3 * 2**30}
    assert told["requests"]["shapes"][0] == {"requests": {"cpu": "1", "memory": "1Gi"}, "pods": 3, "share": 0.6}
    assert told["demand"]["cpu"] == {"mean": (500 * 50 + 3000 * 10) / 100, "peak": 3500.0}
    assert [(row["tenant"], row["pods"], row["share"]) for row in told["tenants"][:3]] == [
        ("tenant-1", 3, 0.6),
        ("tenant-2", 2, 0.4),
        ("tenant-3", 0, 0.0),
    ]
    assert told["images"] == [{"image": "worker", "pods": 3}, {"image": "web", "pods": 2}]


def test_what_ends_makes_room_for_what_begins(setting: MakeSetting) -> None:
    back_to_back = Synthetic(
        streams={
            "a": Stream(
                arrivals={"type": "steady", "rate_per_s": 0.1},
                application={"kind": "pod", "duration_s": 10},
                mix=[{"cpu": "1", "memory": "0"}],
            )
        }
    ).build(setting(), Streams(1))
    assert describe(back_to_back, 600.0)["demand"]["cpu"] == {"mean": 1000.0, "peak": 1000.0}


def test_it_is_json_and_refusals_are_counted(setting: MakeSetting) -> None:
    load = Density().build(setting(), Streams(1))
    assert json.loads(json.dumps(describe(load, 600.0))) == describe(load, 600.0)


def test_poisson_is_not_overdispersed(setting: MakeSetting) -> None:
    """60 bins: the index of dispersion of a Poisson process is 1 with a standard error of sqrt(2 / 59) = 0.18."""
    load = Poisson(rate_per_s=20.0).build(setting(), Streams(1))
    assert describe(load, 600.0)["rate"]["index_of_dispersion"] == pytest.approx(1.0, abs=4 * np.sqrt(2 / 59))


def test_an_empty_load(setting: MakeSetting) -> None:
    empty = Synthetic(streams={"a": Stream(arrivals={"type": "listed", "times_s": []})}).build(setting(), Streams(1))
    told = describe(empty, 600.0)
    assert told["pods"] == 0
    assert told["rate"]["index_of_dispersion"] is None


@pytest.mark.parametrize(("horizon_s", "bins"), [(0.0, 10), (float("nan"), 10), (10.0, 0)])
def test_nonsense_is_refused(load: Load, horizon_s: float, bins: int) -> None:
    with pytest.raises(ValueError, match="needs a horizon above 0"):
        describe(load, horizon_s, bins)
