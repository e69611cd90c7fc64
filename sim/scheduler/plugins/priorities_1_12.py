"""The priorities of Kubernetes 1.12 under their own names, scores 0 to 10; the rules are those of the later plugins."""

from __future__ import annotations

from sim.scheduler.framework import PLUGINS, ScoreOnly
from sim.scheduler.plugins.image_locality import ImageLocality
from sim.scheduler.plugins.inter_pod_affinity import InterPodAffinity
from sim.scheduler.plugins.legacy_allocation import (
    NodeResourcesLeastAllocated,
    NodeResourcesMostAllocated,
    RequestedToCapacityRatio,
)
from sim.scheduler.plugins.node_affinity import NodeAffinity
from sim.scheduler.plugins.node_prefer_avoid_pods import NodePreferAvoidPods
from sim.scheduler.plugins.node_resources_balanced_allocation import NodeResourcesBalancedAllocation
from sim.scheduler.plugins.selector_spread import SelectorSpread
from sim.scheduler.plugins.taint_toleration import TaintToleration


@PLUGINS.register("SelectorSpreadPriority")
class SelectorSpreadPriority(ScoreOnly, SelectorSpread):
    """Spread the pods of a service or controller."""


@PLUGINS.register("InterPodAffinityPriority")
class InterPodAffinityPriority(ScoreOnly, InterPodAffinity):
    """Preferred pod affinity, both ways."""


@PLUGINS.register("LeastRequestedPriority")
class LeastRequestedPriority(ScoreOnly, NodeResourcesLeastAllocated):
    """Prefer empty nodes."""


@PLUGINS.register("MostRequestedPriority")
class MostRequestedPriority(ScoreOnly, NodeResourcesMostAllocated):
    """Prefer full nodes."""


@PLUGINS.register("RequestedToCapacityRatioPriority")
class RequestedToCapacityRatioPriority(ScoreOnly, RequestedToCapacityRatio):
    """A broken line over utilisation."""


@PLUGINS.register("BalancedResourceAllocation")
class BalancedResourceAllocation(ScoreOnly, NodeResourcesBalancedAllocation):
    """Even use of CPU and memory."""


@PLUGINS.register("NodePreferAvoidPodsPriority")
class NodePreferAvoidPodsPriority(ScoreOnly, NodePreferAvoidPods):
    """Nodes annotated to keep a controller's pods away."""


@PLUGINS.register("NodeAffinityPriority")
class NodeAffinityPriority(ScoreOnly, NodeAffinity):
    """Preferred node affinity."""


@PLUGINS.register("TaintTolerationPriority")
class TaintTolerationPriority(ScoreOnly, TaintToleration):
    """PreferNoSchedule taints."""


@PLUGINS.register("ImageLocalityPriority")
class ImageLocalityPriority(ScoreOnly, ImageLocality):
    """Images present on the node."""
