"""From a finished cluster to a `RunRecord`: what the run leaves behind."""

from __future__ import annotations

from collections import Counter
from math import isnan
from typing import TYPE_CHECKING, Any

import numpy as np

from sim.engine.meter import Meter
from sim.invariants import requested
from sim.network.pod_traffic import DONE
from sim.node_lifecycle.park import NodeState
from sim.result.record import RequestKind, ResourceStat, RunRecord, no_traffic
from sim.scheduler.requests import pod_requests
from sim.state.objects import PodSpec
from sim.state.pods import Column, Phase

if TYPE_CHECKING:
    from sim.simulate import Cluster


def collect(cluster: Cluster, seed: int, replication: int, complete: bool) -> RunRecord:
    """Read everything a result needs off the components."""
    scenario, load = cluster.scenario, cluster.load
    series = cluster.sampler.columns()
    reasons, text = _reasons(cluster)
    return RunRecord(
        scenario=scenario.model_dump(mode="json"),
        seed=seed,
        replication=replication,
        end_s=cluster.clock.now,
        warm_up_s=scenario.warm_up_s,
        complete=complete,
        pods=cluster.pods.columns(),
        templates=[_template(spec) for spec in load.templates],
        tenants=list(load.tenants),
        requests=cluster.requests.columns(),
        request_kinds=[
            RequestKind(op.verb, op.resource, op.scope, client, code) for op, client, code in cluster.requests.kinds()
        ],
        nodes=_nodes(cluster),
        series=series,
        series_columns=[_series_column(name) for name in series if name != "time_s"],
        resources=_resources(cluster, series),
        fsyncs=_fsyncs(cluster),
        traffic=_traffic(cluster),
        faults=_faults(cluster),
        reasons=reasons,
        unschedulable_text=text,
        counters=_counters(cluster),
        notes=_notes(cluster),
    )


def _template(spec: PodSpec) -> dict[str, Any]:
    need = pod_requests(spec)
    return {
        "namespace": spec.namespace,
        "cpu_millicores": need.get("cpu", 0),
        "memory_bytes": need.get("memory", 0),
        "images": [container.image for container in (*spec.init_containers, *spec.containers)],
        "others": {name: amount for name, amount in need.items() if name not in ("cpu", "memory")},
    }


def _nodes(cluster: Cluster) -> dict[str, Any]:
    totals, pods = requested(cluster)
    columns = cluster.pods.columns()
    begun = ~np.isnan(columns["containers_started_s"])
    table: dict[str, Any] = {
        "name": [node.spec.name for node in cluster.nodes],
        "pool": [node.pool for node in cluster.nodes],
        "zone": [node.zone for node in cluster.nodes],
        "pods": pods,
        "pods_started": np.bincount(columns["node"][begun], minlength=len(cluster.nodes)),
    }
    if cluster.park is not None:
        table["state"] = [NodeState(state).name.lower() for state in cluster.park.state.tolist()]
        table["ready_s"], table["removed_s"] = cluster.park.ready_s, cluster.park.removed_s
    given = [dict(node.spec.allocatable) for node in cluster.nodes]
    for resource in sorted({name for amounts in given for name in amounts}):
        table[f"allocatable_{resource}"] = np.array([amounts.get(resource, 0) for amounts in given], np.int64)
        table[f"requested_{resource}"] = (
            pods if resource == "pods" else totals.get(resource, np.zeros(len(given), np.int64))
        )
    return table


def _series_column(name: str) -> Column:
    subject = name.replace("_", " ")
    if name.endswith("_utilisation"):
        return Column(
            name, "share", f"{subject.removesuffix(' utilisation')}: mean share of the capacity in use over the period"
        )
    if name.endswith("_queue"):
        return Column(name, "count", f"{subject.removesuffix(' queue')}: mean number that waited over the period")
    if name.endswith("_seats_limit"):
        return Column(name, "seats", f"{subject} of the first API server at the end of the period")
    return Column(name, "nodes" if name.startswith("nodes_") else "pods", f"{subject} at the end of the period")


def _resources(cluster: Cluster, series: dict[str, np.ndarray]) -> list[ResourceStat]:
    elapsed = max(cluster.clock.now, 1e-9)
    stats = []
    for meter in cluster.sampler.meters:
        used, waited = meter.read()
        sampled = series[f"{meter.name.replace(' ', '_')}_utilisation"]
        stats.append(
            ResourceStat(
                meter.name,
                meter.room,
                float(meter.capacity),
                used / elapsed / meter.capacity,
                float(sampled.max(initial=0.0)),
                meter.served,
                waited / meter.served if meter.served else 0.0,
                int(np.ceil(meter.max_queue)),
            )
        )
    return stats + _on_nodes(cluster, elapsed)


def _on_nodes(cluster: Cluster, elapsed: float) -> list[ResourceStat]:
    """Things every node has one of, over all nodes that had work."""
    nodes = list(cluster.kubelets.nodes.values())
    kinds: dict[str, list[Meter]] = {
        "node cores": [node.machine.meter for node in nodes],
        "kubelet client": [node.client_limit.meter for node in nodes],
        "node network lock": [node.network_lock.meter for node in nodes],
        "node image pulls": [node.pull_lock.meter for node in nodes],
        "kubelet status manager": [node.status_lock.meter for node in nodes],
    }
    stats = []
    for name, meters in kinds.items():
        if not meters:
            continue
        read = [meter.read() for meter in meters]
        served = sum(meter.served for meter in meters)
        shares = [used / elapsed / meter.capacity for (used, _), meter in zip(read, meters, strict=True)]
        stats.append(
            ResourceStat(
                name,
                meters[0].room,
                float(sum(meter.capacity for meter in meters)),
                float(np.mean(shares)),
                float(max(shares)),
                served,
                sum(waited for _, waited in read) / served if served else 0.0,
                int(max(np.ceil(meter.max_queue) for meter in meters)),
            )
        )
    return stats


def _fsyncs(cluster: Cluster) -> dict[str, np.ndarray]:
    """Every fsync of etcd's log that has ended, in the order of its end."""
    disks = cluster.etcd.disks
    lasted_s = np.concatenate([np.array(disk.lasted_s, np.float32) for disk in disks])
    ended_s = np.concatenate([np.array(disk.begun_s, np.float64) for disk in disks]) + lasted_s
    member = np.repeat(np.arange(len(disks), dtype=np.int32), [len(disk.begun_s) for disk in disks])
    rows = np.argsort(ended_s, kind="stable")
    rows = rows[ended_s[rows] <= cluster.clock.now]
    return {"time_s": ended_s[rows], "latency_s": lasted_s[rows], "member": member[rows]}


def _traffic(cluster: Cluster) -> dict[str, np.ndarray]:
    """What became of each traffic between pods: its outcomes, what was done first."""
    table = no_traffic()
    rows: list[dict[str, Any]] = []
    for tally in cluster.traffic.tallies if cluster.traffic is not None else ():
        took_s = tally.durations_s()
        quantiles = np.quantile(took_s, (0.5, 0.9, 0.99)) if len(took_s) else np.full(3, np.nan)
        outcomes = {DONE: tally.count[DONE], **({"under way": tally.open} if tally.open else {})}
        for outcome, count in (outcomes | dict(tally.count.most_common())).items():
            rows.append({"traffic": tally.name, "kind": tally.kind, "outcome": outcome, "count": count})
            if outcome == DONE:
                rows[-1] |= {"bytes": tally.bytes_moved, "wire_bytes": tally.wire_bytes, "lost_bytes": tally.lost_bytes}
                rows[-1] |= {"cpu_s": tally.cpu_s, **dict(zip(("p50_s", "p90_s", "p99_s"), quantiles, strict=True))}
    return {name: np.array([row.get(name, np.nan) for row in rows], empty.dtype) for name, empty in table.items()}


def _faults(cluster: Cluster) -> dict[str, np.ndarray]:
    """Every strike of a fault."""
    marks = cluster.faults.marks
    return {
        "fault": np.array([mark.name for mark in marks], object),
        "number": np.array([mark.number for mark in marks], np.int32),
        "begin_s": np.array([mark.begin_s for mark in marks], float),
        "end_s": np.array([mark.end_s for mark in marks], float),
    }


def _reasons(cluster: Cluster) -> tuple[dict[str, int], str]:
    """Why pods that were asked for and do not run yet are where they are; and one full text of the scheduler."""
    ids, times, load = cluster.pods.ids, cluster.pods.times, cluster.load
    columns = cluster.pods.columns()
    counts: Counter[str] = Counter()
    texts: dict[int, str] = {}
    waiting = (columns["phase"] == Phase.PENDING) & (columns["node"] < 0)
    for pod in np.flatnonzero(waiting).tolist():
        named = load.templates[ids["template"][pod]].scheduler_name
        if named != cluster.scheduler.name:
            counts[f"names the scheduler '{named}', which does not run"] += 1
            continue
        if load.templates[ids["template"][pod]].scheduling_gates:
            counts["held by scheduling gates"] += 1
            continue
        if not ids["attempts"][pod]:
            counts["waiting for its first scheduling attempt"] += 1
            continue
        template = ids["template"][pod]
        if template not in texts:
            texts[template] = cluster.scheduler.why_unschedulable(pod)
        counts[_reason(texts[template])] += 1
    for reason in cluster.images.reasons.values():
        counts[f"on its node, waiting: {reason}"] += 1
    asked = (columns["phase"] == Phase.WAITING) & (columns["requested_s"] <= cluster.clock.now)
    for pod in np.flatnonzero(asked).tolist():
        counts[
            "refused by admission or its namespace's quota, its controller tries again"
            if cluster.pod_control.was_refused(pod)
            else "its controller has not created it yet"
            if isnan(times["post_sent_s"][pod])
            else "its creation is under way"
        ] += 1
    for reason, count in Counter(cluster.kubelets.workers.reasons.values()).items():
        counts[f"failed on its node: {reason}"] += count
    refused = int((columns["phase"] == Phase.REFUSED).sum())
    if refused:
        counts["refused by the API server, given up by its owner"] = refused
    return dict(counts.most_common()), next((text for text in texts.values() if text), "")


def _reason(text: str) -> str:
    """The reasons of a FitError without their counts: `Insufficient cpu, node(s) had untolerated taint`."""
    if not text:
        return "fits now, waits for its next attempt"
    _, _, found = text.partition("nodes are available: ")
    reasons = (part.strip().partition(" ")[2] for part in found.split(". ")[0].rstrip(".").split(", "))
    return ", ".join(sorted({reason for reason in reasons if reason}))


def _counters(cluster: Cluster) -> dict[str, int]:
    columns = cluster.pods.columns()
    phases = np.bincount(columns["phase"], minlength=len(Phase))
    requests = cluster.requests.columns()
    return {
        "events": cluster.clock.events,
        "pods": cluster.pods.rows,
        "pods_requested": int((columns["requested_s"] <= cluster.clock.now).sum()),
        "pods_started": cluster.started,
        **{f"pods_{phase.name.lower()}": int(phases[phase]) for phase in Phase},
        "scheduling_attempts": cluster.scheduler.attempts,
        "nodes_filtered": cluster.scheduler.nodes_filtered,
        "nodes_scored": cluster.scheduler.nodes_scored,
        "api_requests": int(requests["count"].sum()),
        "etcd_puts": cluster.etcd.puts,
        "etcd_batches": cluster.etcd.batches,
        "etcd_ranges": cluster.etcd.ranges,
        "watch_events": round(cluster.watch.events),
        "watch_bytes": round(cluster.watch.sent_bytes),
        "watches_dropped": cluster.watch.dropped,
        "relists": cluster.reflectors.relists + (cluster.node_reflectors.relists if cluster.node_reflectors else 0),
        "listed_objects": sum(api.lists.objects for api in cluster.apis),
        "listed_bytes": round(sum(api.lists.sent_bytes for api in cluster.apis)),
        "apiserver_crashes": cluster.servers.crashes if cluster.servers else 0,
        "addresses_lacking": cluster.network.exhausted,
        "address_writes_failed": cluster.network.store.failures if cluster.network.store is not None else 0,
        "routes_announced": cluster.network.spread.announced,
        "route_batches": cluster.network.spread.batches,
        "service_syncs": cluster.network.services.syncs,
        "control_bytes": int(cluster.control_network.traffic.sent_bytes),
        "image_pulls": cluster.images.pulls,
        "image_bytes": int(cluster.images.source.sent_bytes),
        "image_pull_failures": cluster.images.failures,
        "images_removed": cluster.images.removed,
        "container_restarts": int(columns["restarts"].sum()),
        "evictions": cluster.kubelets.workers.eviction.evictions,
        **_node_counters(cluster),
        "creations_refused": cluster.pod_control.refused,
        **cluster.controllers.counters(),
        "tls_handshakes": sum(api.connections.handshakes for api in cluster.apis),
        "quota_updates": sum(api.admission.evaluator.updates for api in cluster.apis),
        "quota_conflicts": sum(api.admission.evaluator.conflicts for api in cluster.apis),
        "webhooks_passed_over": sum(server.passed_over for server in cluster.admission.webhooks.servers.values()),
    }


def _node_counters(cluster: Cluster) -> dict[str, int]:
    """What became of nodes that come and go."""
    if cluster.park is None or cluster.node_faults is None:
        return {}
    ready_s = cluster.park.ready_s
    counts = {
        "nodes_joined": int(np.count_nonzero(ready_s > 0)),
        "nodes_removed": int(np.count_nonzero(~np.isnan(cluster.park.removed_s))),
        "node_crashes": cluster.node_faults.crashes,
        "drain_evictions": cluster.drains.evicted,
        "drain_evictions_refused": cluster.drains.refused,
    }
    if cluster.autoscaler is not None:
        counts |= {"autoscaler_ordered": cluster.autoscaler.ordered, "autoscaler_taken_away": cluster.autoscaler.taken_away}
    return counts


def _notes(cluster: Cluster) -> list[str]:
    notes = cluster.scenario.etcd.warnings()
    load = cluster.load
    if load.refused:
        notes.append(
            f"{len(load.refused)} of {load.rows_read} input rows were left out, "
            f"for example {load.refused[0].where}: {load.refused[0].reason}"
        )
    for died_s, half_s, all_s in cluster.network.spread.deaths:
        notes.append(
            f"after the death of a node at {died_s:g} s half of the others dropped its routes in {half_s - died_s:.4g} s, all in "
            f"{all_s - died_s:.4g} s"
        )
    if cluster.unlisted_images:
        names = sorted(cluster.unlisted_images)
        notes.append(
            f"the scenario lists no images, so the {len(names)} that pods name were taken to be on every node, "
            f"for example {names[0]}"
        )
    return notes
