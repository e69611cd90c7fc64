"""Many images at once: what `docker images` prints, and the spread of a public registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sim.base.errors import InputError
from sim.images.layers import build_images
from sim.scenario import Scenario
from sim.simulate import simulate

PRINTED = """\
REPOSITORY          TAG       IMAGE ID       CREATED        SIZE
nginx               1.25      a6bd71f48f68   3 weeks ago    187MB
registry.example/a  latest    0123456789ab   2 days ago     1.2GB
<none>              <none>    ba9876543210   2 days ago     5MB
tiny                v1        ffffffffffff   a year ago     13.3kB
"""


def with_list(folder: Path, text: str, **mix: object) -> Scenario:
    (folder / "images.txt").write_text(text)
    sets = {"image_mix": {"type": "listed", "path": "images.txt", **mix}, "images": {"base": None, "server": None}}
    return Scenario.from_text("extends: quick", str(folder), sets)


def test_what_docker_prints(tmp_path: Path) -> None:
    scenario = with_list(tmp_path, PRINTED, unpacked_ratio=2)
    images = {name: image.size_bytes for name, image in scenario.all_images().items()}
    assert images == {"nginx:1.25": 93_500_000, "registry.example/a:latest": 600_000_000, "tiny:v1": 6_650}
    result = simulate(scenario)
    used = {name for template in result.record.templates for name in template["images"]}
    assert used <= set(images)
    assert result.record.counters["image_pulls"] > 0


def test_a_csv_with_popularity_and_bases(tmp_path: Path) -> None:
    text = "repository,size,popularity,base\nbase,40MB,0,\napp,100MB,3,base\nother,60MB,1,base\n"
    scenario = with_list(tmp_path, text, unpacked_ratio=1)
    images = build_images(scenario.all_images())
    assert [layer.size_bytes for layer in images["app"].layers] == [40_000_000, 60_000_000]
    assert images["app"].layers[0] == images["other"].layers[0]
    assert dict(scenario.setting().images) == {"base": 0, "app": 3, "other": 1}


def test_what_is_wrong_with_a_list_is_told_at_once(tmp_path: Path) -> None:
    bad = "repository,tag,size\na,1,12MB\na,1,13MB\nb,1,much\nc,1,-5MB\n"
    with pytest.raises(InputError) as caught:
        with_list(tmp_path, bad)
    told = str(caught.value)
    assert "images.txt:3: 'a:1' is listed twice" in told
    assert "images.txt:4: 'much' has no readable size" in told
    assert "images.txt:5: '-5MB' has" in told
    with pytest.raises(InputError) as caught:
        with_list(tmp_path, "repo,size\n")
    assert "has no column 'repository'" in str(caught.value)
    with pytest.raises(InputError) as caught:
        with_list(tmp_path, PRINTED, path="gone.txt")
    assert "image_mix.path: 'gone.txt' cannot be read" in str(caught.value)


def test_a_public_registrys_images() -> None:
    mix = {"type": "docker-hub", "count": 2000, "bases": 10, "median_bytes": 170_000_000, "sigma": 1.3}
    scenario = Scenario.load("quick", {"image_mix": mix, "images": {"base": None, "server": None}})
    specs = scenario.all_images()
    assert specs == scenario.all_images()
    sizes = np.array([image.size_bytes for name, image in specs.items() if name.startswith("image-")])
    assert np.median(sizes) == pytest.approx(170e6, rel=0.05)
    assert np.std(np.log(sizes)) == pytest.approx(1.3, rel=0.1)
    popularity = np.array([image.popularity for name, image in specs.items() if name.startswith("image-")])
    assert popularity[0] == pytest.approx(10 * popularity[9])
    assert abs(np.corrcoef(np.log(sizes), np.log(popularity))[0, 1]) < 0.05
    images = build_images(specs)
    assert sum(len(image.layers) == 2 for image in images.values()) > 1200
    one = simulate(scenario.replace({"horizon_s": 20}))
    assert one.record.counters["image_pulls"] > 0
