"""Pods that run already when the clock starts: known to everybody, without a request, an event or a random draw.

The scheduler's own core gives them their nodes, one after the other in the order of their rows; then each component is told what it
would know had they been started long ago. Their moments lie before the run and stay NaN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.base.errors import Problems
from sim.state.pods import Phase
from sim.workload import AppKind

if TYPE_CHECKING:
    from sim.simulate import Cluster

FIELD = "workload: running_at_start"
KINDS = (AppKind.POD, AppKind.SERVICE)
"""Kinds of which nothing is under way while their pods run."""


def begin_with_running(cluster: Cluster) -> None:
    """Place and start the pods of the applications that the load says run already. InputError where that cannot be."""
    load = cluster.load
    if not load.app_running.any():
        return
    problems = Problems("workload")
    first = load.app_first_pod
    lost, why = 0, ""
    refused: dict[str, int] = {}
    for app in load.app_running.nonzero()[0].tolist():
        if load.app_kind[app] not in KINDS:
            rule = "has something under way whenever it runs: only pods and services may run at the start"
            problems.add(FIELD, AppKind(load.app_kind[app]).name.lower(), rule, "let it arrive at 0 s")
            break
        pods = range(int(first[app]), int(first[app] + load.app_pods[app]))
        for pod in pods:
            node = cluster.scheduler.begin_with(pod)
            if node < 0:
                lost, why = lost + 1, why or cluster.core.fit_error()
                continue
            cluster.pods.ids["node"][pod] = node
            cluster.pods.ids["phase"][pod] = Phase.RUNNING
            if reason := cluster.kubelets.begin_with(pod):
                refused[reason] = refused.get(reason, 0) + 1
        template = int(load.app_template[app])
        namespace = load.templates[template].namespace
        if over := cluster.admission.begin_with(template, len(pods)):
            problems.add(FIELD, f"{len(pods)} pods in {namespace}", f"exceed the quota {over}", "raise it, or let fewer run")
        cluster.storage.add("pods", namespace, len(pods))
        if load.app_kind[app] == AppKind.SERVICE:
            cluster.storage.add("deployments", namespace, 1)
            cluster.storage.add("replicasets", namespace, 1)
            cluster.controllers.begin_with(app, list(pods))
            cluster.network.services.begin_with(app, frozenset(pods))
    if lost:
        problems.add(FIELD, lost, f"pods fit on no node: {why}", "let fewer run, or give the cluster more nodes")
    for reason, count in refused.items():
        problems.add(FIELD, count, f"pods cannot run on their nodes: {reason}", "let fewer run, or change what they are")
    problems.raise_if_any()
