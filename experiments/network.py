"""One cluster over every data path: which requirements hold, what traffic costs, when pods are reachable, what tables grow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sim.base.errors import InputError, Problems, near_miss
from sim.base.rand import Streams
from sim.network.cni import CNI
from sim.network.cni.catalog import Shape, TableSizes
from sim.network.cni_config import SIMULATED, NetworkConfiguration, read_configuration
from sim.network.requirements import Finding, check_requirements, lacking
from sim.network.routes.convergence import Convergence, convergence
from sim.network.traffic import TRAFFIC, TrafficSpec
from sim.network.traffic_run import TrafficBed, TrafficResult, default_traffic, pods_of
from sim.scenario import Scenario

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

DEFAULT_PODS_PER_NODE = 10
"""Where a scenario has no workload."""
TRAFFIC_NODES = 200
"""Most nodes that traffic is played on: a larger cluster is stood for by its first ones."""


def segments_of(scenario: Scenario) -> int:
    """Layer-2 segments of the cluster: racks; without racks zones, where the underlay says so."""
    nodes = scenario.nodes.build(())
    underlay = scenario.network.underlay
    if underlay.topology != "flat":
        return -(-len(nodes) // underlay.rack_nodes)
    return len({node.zone for node in nodes}) if underlay.zone_segments else 1


def check(scenario: Scenario, conf: Path | None = None) -> list[Finding]:
    """The three requirements on a scenario's network, and what its traffic needs of layer 2.

    conf: a CNI configuration file instead of the scenario's own plug-in. InputError with all that is wrong in it.
    """
    configuration: NetworkConfiguration | None = None
    if conf is None and scenario.network.cni_conf:
        conf = Path(scenario.base_dir) / scenario.network.cni_conf
    elif conf is not None:
        configuration = read_configuration(conf)
        mtu = configuration.mtu_bytes
        scenario = scenario.replace(
            {"network.cni": {"type": SIMULATED[configuration.plugin], **({"mtu_bytes": mtu} if mtu else {})}}
        )
    if conf is not None and configuration is None:
        configuration = read_configuration(conf)
    if configuration is not None:
        problems = Problems("network")
        scenario.network.check_configuration(str(conf), configuration, problems)
        problems.raise_if_any()
    nodes = sum(scenario.nodes.pool_counts().values())
    found = check_requirements(scenario.network, nodes, segments_of(scenario), configuration)
    for name, traffic in scenario.network.traffic.items():
        if traffic.needs:
            missing = lacking(scenario.network, traffic.needs, nodes)
            found.append(
                Finding(
                    f"layer 2 for '{name}' ({', '.join(traffic.needs)})",
                    not missing,
                    "; ".join(missing) or "the data path has it",
                )
            )
    return found


@dataclass
class Outcome:
    """One data path of a comparison."""

    cni: str
    mtu_bytes: int
    tables: TableSizes
    traffic: dict[str, TrafficResult] = field(default_factory=dict)
    set_up_p50_s: float = float("nan")
    reachable_p50_s: float = float("nan")
    """From the network's start to half of the peers having the route."""
    reachable_p99_s: float = float("nan")
    """The same for all peers, 99th percentile over pods."""
    startup_p99_s: float = float("nan")
    convergence: Convergence = field(default_factory=lambda: Convergence(float("nan"), float("nan"), 0.0))
    refused: str = ""
    """Why this data path cannot be on this cluster; empty: it can."""


def compare(
    scenario: Scenario,
    names: Sequence[str] = (),
    run: bool = True,
    seed: int | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> list[Outcome]:
    """The scenario over each data path (all by default): the same load, the same traffic, the same random numbers.

    run: also simulate the scenario's load, for set-up and reachability and for the pods' places; without it pods stand by turns.
    tell: called with the name of each data path before it is looked at.
    """
    wanted = list(names) or list(CNI)
    for name in wanted:
        if name not in CNI:
            raise InputError(f"--cni: '{name}' is no network plug-in; {near_miss(name, CNI)}")
    outcomes = []
    for name in wanted:
        tell(name)
        try:
            outcomes.append(
                _one(scenario.replace({"network.cni": name}), name, run, scenario.seed if seed is None else seed)
            )
        except InputError as error:
            outcomes.append(Outcome(name, 0, TableSizes(0, 0, 0, 0), refused=str(error).splitlines()[-1].strip()))
    return outcomes


def _one(scenario: Scenario, name: str, run: bool, seed: int) -> Outcome:
    network = scenario.network
    nodes = sum(scenario.nodes.pool_counts().values())
    outcome = Outcome(name, network.cni.mtu(network.underlay.mtu_bytes), TableSizes(0, 0, 0, 0))
    place, app = np.arange(nodes * DEFAULT_PODS_PER_NODE) % nodes, np.zeros(nodes * DEFAULT_PODS_PER_NODE, np.int64)
    if run and scenario.workload is not None:
        place, app = _simulated(scenario, seed, outcome)
    services = max(1, len(np.unique(app)))
    shape = Shape(nodes, len(place), services, network.policies)
    outcome.tables = network.cni.tables(shape)
    outcome.convergence = convergence(network, shape, Streams(seed)("network.convergence"))
    bed_nodes = min(nodes, TRAFFIC_NODES)
    inside = place < bed_nodes
    place, app = place[inside], app[inside]
    zone_names = {
        zone: index for index, zone in enumerate(dict.fromkeys(node.zone for node in scenario.nodes.build(())))
    }
    zone = np.array([zone_names[node.zone] for node in scenario.nodes.build(())[:bed_nodes]], np.int64)
    bed = TrafficBed(network, bed_nodes, place, zone)
    traffic: dict[str, TrafficSpec] = dict(network.traffic)
    if not traffic:
        traffic = {
            label: TRAFFIC[kind].model_validate({"streams": 1} if label == "stream" else {})
            for label, kind in default_traffic()
        }
    for label, spec in traffic.items():
        pods = pods_of(spec, app)
        if len(pods) >= 2:
            outcome.traffic[label] = bed.run(spec, label, pods, Streams(seed)(f"traffic.{label}"))
    return outcome


def _simulated(scenario: Scenario, seed: int, outcome: Outcome) -> tuple[np.ndarray, np.ndarray]:
    """Run the load; returns the node and the application of each pod that got a network."""
    from sim.simulate import simulate

    pods = simulate(scenario, seed=seed).record.pods
    ready = np.isfinite(pods["network_ready_s"]) & (pods["node"] >= 0)
    if ready.any():
        begun = pods["network_started_s"]
        outcome.set_up_p50_s = float(np.nanquantile((pods["network_ready_s"] - begun)[ready], 0.5))
        half, all_ = (pods["reachable_50_s"] - begun)[ready], (pods["reachable_all_s"] - begun)[ready]
        if np.isfinite(all_).any():
            outcome.reachable_p50_s, outcome.reachable_p99_s = (
                float(np.nanquantile(half, 0.5)),
                float(np.nanquantile(all_, 0.99)),
            )
        started = pods["watched_s"] - pods["created_s"]
        if np.isfinite(started).any():
            outcome.startup_p99_s = float(np.nanquantile(started, 0.99))
    return pods["node"][ready].astype(np.int64), pods["app"][ready].astype(np.int64)


def frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """A row a data path."""
    import pandas as pd

    rows = []
    for outcome in outcomes:
        row: dict[str, object] = {"cni": outcome.cni, "mtu_bytes": outcome.mtu_bytes}
        for label, result in outcome.traffic.items():
            if len(result.latency_s):
                p50, p99 = np.quantile(result.latency_s, [0.5, 0.99]) * 1e6
                row |= {f"{label}_p50_us": p50, f"{label}_p99_us": p99, f"{label}_cores": result.cpu_s}
            elif result.transfers:
                row |= {
                    f"{label}_gbit_per_s": result.throughput_bytes_per_s * 8e-9,
                    f"{label}_cpu_s_per_GB": result.cpu_s_per_gb,
                }
            if result.lost_bytes:
                row[f"{label}_lost_percent"] = 100 * result.lost_bytes / (result.bytes_moved + result.lost_bytes)
            if result.failed:
                row[f"{label}_failed"] = sum(result.failed.values())
        row |= {
            "set_up_p50_ms": outcome.set_up_p50_s * 1e3,
            "reachable_p50_ms": outcome.reachable_p50_s * 1e3,
            "reachable_p99_ms": outcome.reachable_p99_s * 1e3,
            "startup_p99_s": outcome.startup_p99_s,
            "join_s": outcome.convergence.join_s,
            "silent_death_s": outcome.convergence.silent_death_s,
            "upkeep_cores": outcome.convergence.upkeep_cores,
            "routes": outcome.tables.routes,
            "neighbours": outcome.tables.neighbours,
            "fdb": outcome.tables.forwarding,
            "rules": outcome.tables.rules,
            "note": outcome.refused
            or "; ".join(sorted({why for result in outcome.traffic.values() for why in result.failed})),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def plot(outcomes: Sequence[Outcome]) -> Figure:
    """Bars by data path: throughput and processor time of each traffic, latency of calls, time to reachable, routes."""
    from matplotlib.figure import Figure

    table = frame(outcomes)
    wanted = [
        column
        for column in table.columns
        if column.endswith(("gbit_per_s", "cpu_s_per_GB", "p50_us", "p99_us", "reachable_p99_ms", "routes"))
        and table[column].notna().any()
    ]
    columns = 3
    figure = Figure(figsize=(5 * columns, 3.2 * -(-len(wanted) // columns)), layout="constrained")
    for index, column in enumerate(wanted):
        axes = figure.add_subplot(-(-len(wanted) // columns), columns, index + 1)
        axes.barh(table["cni"], table[column].fillna(0.0))
        axes.set_title(column.replace("_", " "))
        axes.invert_yaxis()
    return figure
