"""Pulls, timestamp by timestamp: shared layers, limits, back-off, lazy loading, and the fast path's twin."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.base.rand import Streams
from sim.images.sources import IMAGE_SOURCES
from sim.result.result import Result
from sim.scenario import Scenario
from sim.simulate import Cluster, simulate
from sim.workload import AppKind, Load
from tests.worked.scenarios import MS, exact, load_of

BASE = [{"digest": "sha256:base", "size_bytes": 20_000_000}]
LAYERED = {
    "a": {"size_bytes": 50_000_000, "layers": BASE},
    "b": {"size_bytes": 30_000_000, "layers": BASE},
}


def pods_of(*images: str) -> Load:
    """One bare pod an image, all asked for at 1 s."""
    loads = [load_of((1.0, AppKind.POD, 1), images=(image,)) for image in images]
    merged = load_of(*((1.0, AppKind.POD, 1) for _ in images))
    templates = tuple(load.templates[0] for load in loads)
    return Load(**{**vars(merged), "templates": templates, "app_template": np.arange(len(images), dtype=np.int32)})


def pull_s(result: Result) -> np.ndarray:
    return (result.pods["pull_ready_s"] - result.pods["pull_started_s"]).to_numpy()


def test_two_layers_share_the_interface_and_unpack_in_order() -> None:
    """Image a: 20 MB that others share and 30 MB of its own, over the node's 100 MB/s, unpacked at 1 GB/s.

    Manifest 50 ms. Both layers at 50 MB/s until the smaller is there after 400 ms; it unpacks (20 ms) while the larger gets its
    last 10 MB in 100 ms; that unpacks in 30 ms.
    """
    result = simulate(exact(images=LAYERED), pods_of("a"), seed=1)
    assert pull_s(result)[0] == pytest.approx((50 + 500 + 30) * MS)
    assert result.record.counters["image_bytes"] == 50_000_000


def test_a_shared_layer_is_fetched_once() -> None:
    """a and b start together on one node, whose pulls are serial: b waits for a, then fetches only its own 10 MB:
    manifest 50 ms, 100 ms, unpacking 10 ms."""
    result = simulate(exact(images=LAYERED), pods_of("a", "b"), seed=1)
    pods = result.pods.sort_values("pull_ready_s")
    first, second = pods["pull_ready_s"]
    assert second - first == pytest.approx((50 + 100 + 10) * MS)
    assert result.record.counters["image_bytes"] == 60_000_000
    assert result.record.counters["image_pulls"] == 2


def test_parallel_pulls_wait_for_each_others_layers() -> None:
    """The same with pulls side by side: b does not fetch the base, but waits until a's pull has unpacked it."""
    result = simulate(exact(images=LAYERED, kubelet__serial_image_pulls=False), pods_of("a", "b"), seed=1)
    assert result.record.counters["image_bytes"] == 60_000_000
    assert pull_s(result).max() < (50 + 600 + 30) * MS + 10 * MS
    assert (result.pods["phase"] == "Running").all()


def test_as_many_layers_at_once_as_the_runtime_takes() -> None:
    """Four layers of 10 MB one at a time: 100 ms each; the last unpacks in 10 ms. With all at once they arrive together, and unpack
    one after the other."""
    layers = [{"digest": f"l{n}", "size_bytes": 10_000_000} for n in range(4)]
    images = {"a": {"size_bytes": 40_000_000, "layers": layers}}
    one = simulate(exact(images=images, kubelet__images__layers_at_once=1), pods_of("a"), seed=1)
    assert pull_s(one)[0] == pytest.approx((50 + 400 + 10) * MS)
    four = simulate(exact(images=images, kubelet__images__layers_at_once=4), pods_of("a"), seed=1)
    assert pull_s(four)[0] == pytest.approx((50 + 400 + 40) * MS)


def test_what_memory_cannot_hold_back_waits_for_the_disk() -> None:
    """50 MB unpack to 100 MB; memory holds back 20 MB, so the rest waits for a disk of 100 MB/s: 800 ms more."""
    sets = {"unpacked_ratio": 2, "dirty_bytes": 20_000_000, "disk_write_bytes_per_s": 1e8}
    result = simulate(exact(kubelet__images=sets), load_of((1.0, AppKind.POD, 1)), seed=1)
    assert pull_s(result)[0] == pytest.approx((50 + 500 + 50 + 800) * MS)


def test_back_off_doubles_until_the_image_is_there() -> None:
    """Pushed at 100 s. A pull fails 50 ms after it began; the kubelet looks again 10.01 s after it was told, and pulls only where the
    back-off (10, 20, 40, 80 s) is over, so at every 1st, 2nd, 4th, 8th look. With f the first failure: f + 10.01 begins, f + 10.06
    fails; f + 30.08, f + 30.13; f + 70.17, f + 70.22; f + 150.30 finds it.
    """
    scenario = exact(
        images={"app": {"size_bytes": 50_000_000, "pushed_at_s": 100}}, kubelet__resync_s=10.01, horizon_s=200
    )
    result = simulate(scenario, load_of((1.0, AppKind.POD, 1)), seed=1)
    assert result.record.counters["image_pull_failures"] == 4
    failed_s = result.pods["pull_started_s"][0] + 50 * MS
    assert result.pods["pull_ready_s"][0] == pytest.approx(failed_s + 150.30 + (50 + 500 + 50) * MS)


def test_a_pod_says_why_it_waits() -> None:
    scenario = exact(images={"app": {"size_bytes": 1, "pushed_at_s": 1000}}, kubelet__resync_s=10, horizon_s=8)
    result = simulate(scenario, load_of((1.0, AppKind.POD, 3)), seed=1)
    assert result.record.reasons == {"on its node, waiting: ErrImagePull": 3}
    later = simulate(scenario.replace({"horizon_s": 30}), load_of((1.0, AppKind.POD, 3)), seed=1)
    assert later.record.reasons == {"on its node, waiting: ImagePullBackOff": 3}


def test_an_image_that_nothing_describes_is_not_found() -> None:
    result = simulate(exact(), load_of((1.0, AppKind.POD, 1), images=("ghost",)), seed=1)
    assert result.record.counters["image_pull_failures"] >= 1
    assert next(iter(result.record.reasons)).startswith("on its node, waiting: ")


def test_a_deleted_pod_stops_waiting_for_its_image() -> None:
    scenario = exact(images={"app": {"size_bytes": 1, "pushed_at_s": 1000}}, horizon_s=60)
    result = simulate(scenario, load_of((1.0, AppKind.POD, 2), end_s=10.0), seed=1)
    assert (result.pods["phase"] == "Deleted").all()
    assert not result.record.reasons


def test_pulls_beyond_the_burst_fail_at_once() -> None:
    """Twelve images at once, side by side, with a burst of 10: at least one finds no token, and comes again after its back-off."""
    images = {f"i{n}": {"size_bytes": 1000} for n in range(12)}
    sets = {"qps": 0.1, "burst": 10}
    scenario = exact(images=images, kubelet__images=sets, kubelet__serial_image_pulls=False, horizon_s=200)
    result = simulate(scenario, pods_of(*images), seed=1)
    assert 2 <= result.record.counters["image_pull_failures"] <= 6
    assert (result.pods["phase"] == "Running").all()


def test_policies() -> None:
    """Never: what is not there stays away. Always: a manifest's round trip, nothing to fetch."""
    never = exact(kubelet__images__pull_policy="Never")
    result = simulate(never, load_of((1.0, AppKind.POD, 1)), seed=1)
    assert result.record.reasons == {"on its node, waiting: ErrImageNeverPull": 1}
    here = {"app": {"size_bytes": 50_000_000, "present_share": 1}}
    result = simulate(exact(images=here), load_of((1.0, AppKind.POD, 1)), seed=1)
    assert pull_s(result)[0] == 0
    always = exact(images=here, kubelet__images__pull_policy="Always")
    result = simulate(always, load_of((1.0, AppKind.POD, 1)), seed=1)
    assert pull_s(result)[0] == pytest.approx(50 * MS)
    assert result.record.counters["image_bytes"] == 0


def test_a_container_may_say_its_own_policy() -> None:
    """Always on one container, although the kubelet's default is to look no further: 50 ms for the manifest."""
    here = exact(images={"app": {"size_bytes": 50_000_000, "present_share": 1}})
    load = load_of((1.0, AppKind.POD, 1))
    template = load.templates[0]
    container = replace(template.containers[0], image_pull_policy="Always")
    load = replace(load, templates=(replace(template, containers=(container,)),))
    assert pull_s(simulate(here, load, seed=1))[0] == pytest.approx(50 * MS)


def test_a_full_disk_is_emptied_of_what_is_unused() -> None:
    """Five images of 50 MB one after the other on a disk of 200 MB, each used for 5 s: the fourth fills it beyond 85 %, and the next look
    removes the first, which was unused for longest, to come down to 80 %; the fifth makes it 100 % again, and the second goes.
    """
    images = {f"i{n}": {"size_bytes": 50_000_000} for n in range(5)}
    sets = {"unpacked_ratio": 1, "disk_bytes": 200_000_000, "other_disk_bytes": 0, "gc_period_s": 5, "gc_min_age_s": 2}
    scenario = exact(images=images, kubelet__images=sets, horizon_s=120)
    load = pods_of(*images)
    load = replace(load, app_time_s=np.array([1.0, 16.0, 31.0, 46.0, 61.0]), pod_duration_s=np.full(5, 5.0))
    cluster = Cluster(scenario, load, Streams(1))
    cluster.clock.run_until(120)
    assert cluster.images.removed == 2
    assert cluster.images.stores[0].present == {"i2", "i3", "i4"}
    assert not cluster.images.broken_laws()


def test_a_lazy_image_starts_with_what_it_reads() -> None:
    """A tenth of 50 MB in pieces of 1 MiB, one request of 10 ms after the other, 50 ms on the wire, 5 ms to decompress; never whole."""
    source = {
        "type": "overlaybd",
        "bandwidth_bytes_per_s": 2e8,
        "request_s": 50 * MS,
        "read_share": 0.1,
        "chunk_bytes": 2**20,
        "chunk_request_s": 10 * MS,
        "unpack_bytes_per_s": 1e9,
    }
    result = simulate(exact(registry=source), load_of((1.0, AppKind.POD, 1)), seed=1)
    requests = ceil(5_000_000 / 2**20)
    assert pull_s(result)[0] == pytest.approx((50 + requests * 10 + 50 + 5) * MS)
    assert result.record.counters["image_bytes"] == 5_000_000
    rest = simulate(exact(registry={**source, "background_after_s": 2}), load_of((1.0, AppKind.POD, 1)), seed=1)
    assert rest.record.counters["image_bytes"] == 50_000_000


def test_a_slow_disk_of_the_registry_is_read_once() -> None:
    """Two nodes pull 50 MB from a disk of 50 MB/s: read once in 1 s, while 100 MB/s a node would take 0.5 s."""
    registry = {"bandwidth_bytes_per_s": 1e9, "request_s": 0, "unpack_bytes_per_s": 1e12, "disk_bytes_per_s": 5e7}
    scenario = exact(nodes__pools__general__count=2, registry=registry)
    result = simulate(scenario, load_of((1.0, AppKind.POD, 2)), seed=1)
    assert pull_s(result) == pytest.approx([1.0, 1.0], abs=0.02)


@pytest.mark.parametrize("name", list(IMAGE_SOURCES))
def test_every_source_brings_images_and_loses_no_byte(name: str) -> None:
    """The invariants of images are checked at the end of every run."""
    scenario = exact(images=LAYERED, nodes__pools__general__count=5, registry=name, horizon_s=60)
    assert Scenario.from_text(scenario.dump()) == scenario
    result = simulate(scenario, pods_of(*(["a", "b"] * 6)), seed=1)
    assert (result.pods["phase"] == "Running").all()
    assert result.record.counters["image_pull_failures"] == 0
    if name != "pre-seeded":
        assert result.record.counters["image_bytes"] > 0


def test_harbor_copies_after_a_lag_and_checks_projects() -> None:
    """Pushed at 10 s, copied to the second instance 20 s later; nodes of zone-2 pull from there. Another namespace may not pull."""
    images = {"shop/app": {"size_bytes": 1000, "pushed_at_s": 0.5}}
    registry = {
        "type": "harbor",
        "replicas": 2,
        "replication_lag_s": 20,
        "projects": {"shop": {"namespaces": ["tenant-*"]}},
    }
    sets = {"nodes__pools__general__count": 2, "nodes__pools__general__zones": ["zone-1", "zone-2"]}
    scenario = exact(images=images, registry=registry, kubelet__resync_s=10, horizon_s=60, **sets)
    result = simulate(scenario, load_of((1.0, AppKind.POD, 2), images=("shop/app",)), seed=1)
    pods = result.pods.set_index("node")
    by_zone = {row: pods["pull_ready_s"][row] for row in pods.index}
    assert min(by_zone.values()) < 3
    assert max(by_zone.values()) > 20.5
    denied = scenario.replace({"registry.projects": {"shop": {"namespaces": ["other"]}}})
    result = simulate(denied, load_of((1.0, AppKind.POD, 2), images=("shop/app",)), seed=1)
    assert result.record.counters["pods_running"] == 0


def test_bad_images_are_found_before_the_run() -> None:
    text = """
images:
  a: {size_bytes: 30, layers: [{digest: x, size_bytes: 10}]}
  b: {size_bytes: 30, layers: [{digest: x, size_bytes: 11}]}
  c: {size_bytes: -1}
  d: {size_bytes: 5, base: aa}
  e: {size_bytes: 5, layers: [{digest: y, size_bytes: 6}]}
registry: {type: harber}
"""
    with pytest.raises(InputError) as caught:
        Scenario.from_text(text)
    told = str(caught.value)
    assert "images.c.size_bytes: -1 must be" in told
    assert "registry.type: 'harber' is none of the image sources; did you mean 'harbor'?" in told
    with pytest.raises(InputError) as caught:
        Scenario.from_text(text.replace("  c: {size_bytes: -1}\n", "").replace("registry: {type: harber}\n", ""))
    told = str(caught.value)
    assert "images.b.layers[0].size_bytes: 11 is not the size of the same layer at images.a.layers[0] (10)" in told
    assert "images.d.base: 'aa' is no image of the scenario; did you mean 'a'?" in told or "images.d.base: 'aa'" in told
    assert "images.e.size_bytes: 5 is less than its layers together (6)" in told


def test_peers_and_flows_share_interfaces() -> None:
    """Twenty nodes in racks of five get 50 MB through peers; what peers send is on the links, and racks' uplinks hold them back."""
    sets = {"nodes__pools__general__count": 20, "registry": "kraken", "horizon_s": 300, "sample_period_s": 1}
    load = load_of((1.0, AppKind.POD, 20), cpu_millicores=8000)
    flat = simulate(exact(**sets), load, seed=1)
    racks = {"topology": "leaf-spine", "rack_nodes": 5, "spines": 2, "oversubscription": 20}
    narrow = simulate(exact(**sets, network__underlay=racks), load, seed=1)
    assert (narrow.pods["phase"] == "Running").all()
    assert pull_s(narrow).mean() > 1.5 * pull_s(flat).mean()


def test_what_peers_send_is_missing_to_others() -> None:
    load = load_of((1.0, AppKind.POD, 20), cpu_millicores=8000)
    cluster = Cluster(exact(nodes__pools__general__count=20, registry="kraken"), load, Streams(1))
    cluster.clock.run_until(1.5)
    source = cluster.images.source
    source.link_load()
    cluster.clock.run_until(1.9)
    on_links = source.link_load()
    hosts = len(on_links) // 2
    assert on_links[0 : 2 * hosts : 2].sum() == pytest.approx(on_links[1 : 2 * hosts : 2].sum())
    assert on_links.sum() > 0
    assert (on_links <= 1.3 * cluster.fabric.underlay.capacity).all()
