"""What a node keeps: shared layers counted once, the kubelet's garbage collection, its limit on pulls."""

from __future__ import annotations

from sim.images.back_off import BackOff
from sim.images.layers import build_images
from sim.images.node_store import NodeStore
from sim.images.spec import ImageSpec, NodeImagesSpec

BASE = ({"digest": "base", "size_bytes": 40},)
IMAGES = build_images(
    {
        "old": ImageSpec(size_bytes=100, layers=BASE),
        "new": ImageSpec(size_bytes=70, layers=BASE),
        "big": ImageSpec(size_bytes=300),
        "on-old": ImageSpec(size_bytes=120, base="old"),
    }
)
SPEC = NodeImagesSpec(unpacked_ratio=1, disk_bytes=500, other_disk_bytes=0, gc_min_age_s=100)


def store(*names: str) -> NodeStore:
    made = NodeStore(SPEC, IMAGES, set())
    for number, name in enumerate(names):
        for layer in made.missing(IMAGES[name]):
            made.add_layer(layer)
        made.add_image(IMAGES[name], float(number))
    return made


def test_shared_layers_lie_on_the_disk_once() -> None:
    node = store("old", "new")
    assert node.used_bytes == 40 + 60 + 30
    assert [layer.digest for layer in IMAGES["on-old"].layers] == ["base", "old#own", "on-old#own"]
    assert [layer.size_bytes for layer in node.missing(IMAGES["on-old"])] == [20]
    assert node.remove_image("old") == 60
    assert node.used_bytes == 70
    assert node.remove_image("new") == 70
    assert node.held_bytes == node.began_bytes + node.added_bytes - node.removed_bytes == 0


def test_nothing_is_removed_below_the_high_mark() -> None:
    node = store("old", "new")  # 130 of 500
    assert node.collect(1000.0, (), {}) == ([], 0.0)


def test_the_image_unused_for_longest_goes_first_until_the_low_mark() -> None:
    """430 of 500 bytes are 86 %: 30 must go to come down to 80 %. `old` was used last at 50 s, `new` at 40 s.
    `new` goes, which frees 30."""
    node = store("old", "new", "big")
    assert node.collect(1000.0, {"big"}, {"old": 50.0, "new": 40.0}) == (["new"], 0.0)
    assert node.present == {"old", "big"}


def test_images_in_use_young_ones_and_those_used_now_stay() -> None:
    node = store("old", "new", "big")
    assert node.collect(50.0, (), {}) == ([], 30.0)  # all younger than 100 s
    assert node.collect(1000.0, {"old", "new", "big"}, {}) == ([], 30.0)
    assert node.collect(1000.0, {"big"}, {"old": 1000.0, "new": 1000.0}) == ([], 30.0)


def test_pulls_are_limited_by_a_bucket_of_tokens() -> None:
    node = NodeStore(NodeImagesSpec(qps=1, burst=2), IMAGES, set())
    assert [node.accepts_pull(at_s) for at_s in (0.0, 0.0, 0.0, 0.9, 1.0, 1.5, 2.0)] == [
        True,
        True,
        False,
        False,
        True,
        False,
        True,
    ]


def test_back_off_doubles_up_to_its_longest_and_begins_anew() -> None:
    """10, 20, 40, then 50 s at most; after twice the longest without a failure it begins anew."""
    rule = BackOff(10, 50)
    assert [rule.failed("x", now_s) for now_s in (0.0, 10.0, 30.0, 70.0, 120.0)] == [10, 20, 40, 50, 50]
    assert rule.waits("x", 169.9)
    assert not rule.waits("x", 170.0)
    assert not rule.waits("y", 0.0)
    assert rule.failed("x", 120.0 + 100.1) == 10
