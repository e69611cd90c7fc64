"""One node alone: how long pods take to start under a runtime, by how many start at once, and how many fit its memory."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

import numpy as np
from simpy.events import Event

from sim.base.rand import Streams
from sim.engine.clock import Clock
from sim.kubelet.node import Node
from sim.kubelet.runtimes import RUNTIMES, RuntimeSpec
from sim.kubelet.spec import KubeletSpec

Process = Generator[Event, Any, None]
Start = Callable[[RuntimeSpec, Node], Process]

CLIENT_S = 0.03
"""The command line client and its request to the daemon; our guess."""
NAMESPACES_S = 0.009
"""Of a Docker start: its network namespace (arXiv 2602.15214: 8 to 10 ms)."""


def runtime_named(name: str, **values: object) -> RuntimeSpec:
    """A runtime of the catalog with other values for some of its parameters."""
    return RUNTIMES[name].model_validate(values)


def a_node(cores: float, seed: int, runtime: RuntimeSpec) -> Node:
    """A node that nothing runs on."""
    clock = Clock()
    return Node(clock, 0, "bed", cores, KubeletSpec(), Streams(seed), {}, 0.0, 0.0, runtime=runtime)


def _no_network() -> Process:
    yield from ()


def start_pod(runtime: RuntimeSpec, node: Node) -> Process:
    """A pod of one container as the kubelet starts it, without its network."""
    yield from runtime.run_pod_sandbox(node, _no_network)
    yield from start_container(runtime, node)


def start_container(runtime: RuntimeSpec, node: Node) -> Process:
    """One container in a sandbox that is there."""
    yield from runtime.create_container(node)
    yield from runtime.start_container(node)


def docker_run(runtime: RuntimeSpec, node: Node) -> Process:
    """`docker run`: client, network namespace, one container."""
    yield node.clock.timeout(CLIENT_S + NAMESPACES_S)
    yield from start_container(runtime, node)


@dataclass(frozen=True, slots=True)
class Burst:
    """Starts that were asked for at once on one node."""

    took_s: np.ndarray
    """float64, s: each start, in the order of its end."""
    all_s: float
    """Until the last one runs."""

    @property
    def per_s(self) -> float:
        return len(self.took_s) / self.all_s if self.all_s else float("inf")


def burst(runtime: RuntimeSpec, at_once: int, cores: float = 8, seed: int = 1, start: Start = start_pod) -> Burst:
    """`at_once` pods asked for in one instant on an idle node."""
    node = a_node(cores, seed, runtime)
    took: list[float] = []

    def timed() -> Process:
        yield from start(runtime, node)
        took.append(node.clock.now)

    for _ in range(at_once):
        node.clock.start(timed())
    node.clock.run_until(1e6)
    return Burst(np.array(took), max(took))


def alone_s(
    runtime: RuntimeSpec, start: Start = start_pod, repeats: int = 200, cores: float = 8, seed: int = 1
) -> float:
    """Mean time of a start when nothing else goes on, s."""
    node = a_node(cores, seed, runtime)
    took: list[float] = []

    def one_after_the_other() -> Process:
        for _ in range(repeats):
            begun_s = node.clock.now
            yield from start(runtime, node)
            took.append(node.clock.now - begun_s)
            for held, count in list(node.sandboxes_of.values()):
                for _ in range(count):
                    held.remove_pod_sandbox(node)

    node.clock.start(one_after_the_other())
    node.clock.run_until(1e9)
    return float(np.mean(took))


def fits(runtime: RuntimeSpec, memory_bytes: float, each_bytes: float) -> int:
    """Pods that fit a node's memory when each uses `each_bytes` itself."""
    low, high = 0, 1
    while runtime.memory_bytes(high) + high * each_bytes <= memory_bytes:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if runtime.memory_bytes(middle) + middle * each_bytes <= memory_bytes:
            low = middle
        else:
            high = middle
    return low
