"""Catalogs: one family of plugins each, found by name.

A plugin is one new file whose class or function carries `@CATALOG.register("name")`. The files of a
family's folder are imported when the catalog is first read, so adding a file is all it takes; other
packages add theirs through an entry point in the group `kubedes.<family>`.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from sim.base.errors import InputError, near_miss

T = TypeVar("T")


class Catalog(Generic[T]):
    """The plugins of one family, by name.

    family: what error messages and the entry-point group (`kubedes.<family>`) call it, for example `runtimes`.
    package: the dotted package whose modules register themselves; imported on first use. Empty: no package.
    """

    def __init__(self, family: str, package: str = "") -> None:
        self.family = family
        self._package = package
        self._entries: dict[str, T] = {}
        self._loaded = False

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator: the class or function becomes the entry `name`. A name is taken once."""

        def add(entry: T) -> T:
            if name in self._entries and self._entries[name] is not entry:
                raise InputError(f"{self.family}: '{name}' is registered twice; choose another name")
            self._entries[name] = entry
            return entry

        return add

    def _load(self) -> None:
        if self._loaded:
            return
        self._loaded = True
        if self._package:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=f"kubedes.{self.family}"):
            self.register(point.name)(point.load())

    def __getitem__(self, name: str) -> T:
        self._load()
        try:
            return self._entries[name]
        except KeyError:
            hint = near_miss(name, self._entries)
            raise InputError(f"{self.family}: '{name}' is not known; {hint}") from None

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        self._load()
        return len(self._entries)
