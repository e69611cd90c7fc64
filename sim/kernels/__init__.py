"""Compiled loops and their slow twins.

A kernel is a plain loop over columns, compiled by numba, standing beside a numpy or plain Python twin that
says the same in the clearest way. The decorator puts both into `KERNELS`: one table drives the equality tests
and the benchmarks. Kernels draw no random numbers, allocate little, and are compiled serially with an on-disk
cache, so a parent process warms them once before its workers start.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numba


@dataclass(frozen=True, slots=True)
class Kernel:
    """One compiled function with its twin. Calling it calls the compiled one."""

    name: str
    fast: Callable[..., Any]
    """The numba dispatcher; other kernels and rules call it directly."""
    reference: Callable[..., Any]
    """The slow twin: same arguments, same result, same effect on the output arrays."""

    def __call__(self, *args: Any) -> Any:
        return self.fast(*args)


KERNELS: dict[str, Kernel] = {}
"""Every kernel by name (`module.function`, without the package)."""

_WARMERS: list[Callable[[], None]] = []
_DISPATCHERS: list[Any] = []


@dataclass(frozen=True, slots=True)
class Warmed:
    """What `warm` did."""

    ready: int
    """Kernels that are compiled now."""
    compiled: int
    """Functions that had to be compiled because no cache held them."""
    seconds: float


def _njit(function: Callable[..., Any]) -> Any:
    options: dict[str, Any] = {"cache": True, "error_model": "numpy", "no_cfunc_wrapper": True}
    dispatcher = numba.njit(**options)(function)
    _DISPATCHERS.append(dispatcher)
    return dispatcher


def rule(function: Callable[..., Any]) -> Any:
    """Compile a part of kernels: a few lines of integer or float arithmetic, called from other compiled code."""
    return _njit(function)


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a loop whose slow twin is a whole path rather than one function; the path's tests hold the two equal."""
    return _njit(function)


def kernel(reference: Callable[..., Any]) -> Callable[[Callable[..., Any]], Kernel]:
    """Decorator: compile a loop and register it with its twin."""

    def add(function: Callable[..., Any]) -> Kernel:
        name = f"{function.__module__.rsplit('.', 1)[-1]}.{function.__name__}"
        entry = Kernel(name, _njit(function), reference)
        KERNELS[name] = entry
        return entry

    return add


def warmer(function: Callable[[], None]) -> Callable[[], None]:
    """Decorator: `function` calls the kernels of a room once with small arrays; `warm` runs it."""
    _WARMERS.append(function)
    return function


def warm() -> Warmed:
    """Compile, or load from the cache, what the imported rooms need in a run."""
    start_s = time.perf_counter()
    before = _cache_misses()
    for call in _WARMERS:
        call()
    ready = sum(1 for entry in KERNELS.values() if getattr(entry.fast, "signatures", None))
    return Warmed(ready, _cache_misses() - before, time.perf_counter() - start_s)


def _cache_misses() -> int:
    """Compilations so far; 0 where numba is switched off."""
    return sum(sum(dispatcher.stats.cache_misses.values()) for dispatcher in _DISPATCHERS if hasattr(dispatcher, "stats"))
