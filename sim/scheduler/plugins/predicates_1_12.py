"""The predicates of Kubernetes 1.12 under their own names; the rules are those of the later plugins.

Node conditions are taints in 1.12 already (TaintNodesByCondition), so CheckNodeCondition and the pressure checks have
nothing left to say. Volume predicates never reject in this model and are not listed.
"""

from __future__ import annotations

from sim.scheduler.framework import PLUGINS, Cycle, FilterOnly
from sim.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sim.scheduler.plugins.node_affinity import NodeAffinity
from sim.scheduler.plugins.node_name import NodeName
from sim.scheduler.plugins.node_ports import NodePorts
from sim.scheduler.plugins.node_resources_fit import NodeResourcesFit
from sim.scheduler.plugins.node_unschedulable import NodeUnschedulable
from sim.scheduler.plugins.taint_toleration import TaintToleration


@PLUGINS.register("CheckNodeUnschedulable")
class CheckNodeUnschedulable(FilterOnly, NodeUnschedulable):
    """Cordoned nodes (algorithm/predicates, CheckNodeUnschedulablePredicate)."""

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        return ["node(s) were unschedulable"]


@PLUGINS.register("HostName")
class HostName(FilterOnly, NodeName):
    """spec.nodeName (PodFitsHost)."""

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        return ["node(s) didn't match the requested hostname"]


@PLUGINS.register("PodFitsHostPorts")
class PodFitsHostPorts(FilterOnly, NodePorts):
    """Host ports."""

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        return ["node(s) didn't have free ports for the requested pod ports"]


@PLUGINS.register("MatchNodeSelector")
class MatchNodeSelector(FilterOnly, NodeAffinity):
    """nodeSelector and required node affinity."""

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        return ["node(s) didn't match node selector"]


@PLUGINS.register("PodFitsResources")
class PodFitsResources(FilterOnly, NodeResourcesFit):
    """Requests against what is free."""


@PLUGINS.register("PodToleratesNodeTaints")
class PodToleratesNodeTaints(FilterOnly, TaintToleration):
    """NoSchedule and NoExecute taints."""

    def reasons(self, cycle: Cycle, row: int) -> list[str]:
        return ["node(s) had taints that the pod didn't tolerate"]


@PLUGINS.register("MatchInterPodAffinity")
class MatchInterPodAffinity(FilterOnly, InterPodAffinity):
    """Required pod affinity and anti-affinity."""
