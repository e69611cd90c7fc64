"""Catalogs: registration, near misses, packages and entry points."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from sim.base import plugin
from sim.base.errors import InputError
from sim.base.plugin import Catalog


def test_names_are_found_listed_and_guessed():
    catalog: Catalog[type] = Catalog("runtimes")
    catalog.register("docker")(int)
    catalog.register("containerd")(str)
    assert catalog["docker"] is int
    assert list(catalog) == ["containerd", "docker"]
    assert len(catalog) == 2
    assert "runc" not in catalog
    with pytest.raises(InputError, match="runtimes: 'contanerd' is not known; did you mean 'containerd'"):
        catalog["contanerd"]
    with pytest.raises(InputError, match="known: containerd, docker"):
        catalog["xyz"]


def test_a_name_is_taken_once():
    catalog: Catalog[type] = Catalog("runtimes")
    catalog.register("docker")(int)
    catalog.register("docker")(int)  # the same again, as when a module is reloaded
    with pytest.raises(InputError, match="'docker' is registered twice"):
        catalog.register("docker")(str)


def test_a_new_file_in_the_package_is_all_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = tmp_path / "family_of_plugins"
    package.mkdir()
    (package / "__init__.py").write_text("from sim.base.plugin import Catalog\nC = Catalog('f', __name__)\n")
    (package / "one.py").write_text("from family_of_plugins import C\nC.register('one')(int)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    import family_of_plugins  # type: ignore[import-not-found]

    assert "family_of_plugins.one" not in sys.modules
    assert list(family_of_plugins.C) == ["one"]


def test_other_packages_add_by_entry_point(monkeypatch: pytest.MonkeyPatch):
    class Point:
        name = "theirs"

        def load(self) -> type:
            return float

    asked = []
    monkeypatch.setattr(plugin, "entry_points", lambda group: asked.append(group) or [Point()])
    catalog: Catalog[type] = Catalog("cni")
    assert catalog["theirs"] is float
    assert asked == ["kubedes.cni"]
