"""Loads for the controllers' tests: one application of a kind, its options, and what users do to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sim.base.rand import Streams
from sim.scenario import Scenario
from sim.simulate import Cluster
from sim.state.applications import AppOptions, Change
from sim.state.objects import PodSpec
from sim.workload import AppKind, Load
from tests.worked.scenarios import load_of


def one_app(
    kind: AppKind,
    pods: int,
    options: AppOptions | None = None,
    changes: Sequence[Change] = (),
    revisions: int = 1,
    parallelism: int | None = None,
    **fields: object,
) -> Load:
    """An application asked for at 1 s. revisions: templates, alike but for a label."""
    load = load_of((1.0, kind, pods), cpu_millicores=10, parallelism=parallelism, **fields)  # type: ignore[arg-type]
    (first,) = load.templates
    templates: tuple[PodSpec, ...] = tuple(
        replace(first, labels=(("revision", str(number)),)) for number in range(revisions)
    )
    return replace(
        load, templates=templates, app_options={0: options} if options is not None else {}, changes=tuple(changes)
    )


def run(scenario: Scenario, load: Load, until_s: float, seed: int = 1) -> Cluster:
    """A cluster at `until_s`."""
    cluster = Cluster(scenario, load, Streams(seed))
    cluster.clock.run_until(until_s)
    return cluster
