"""Harbor: replicated registries with projects, whose permissions a token service checks before every pull."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sim.base.errors import Problems, near_miss
from sim.base.fields import Named
from sim.base.spec import Spec, param
from sim.engine.machine import Machine
from sim.images.layers import Image, Layer
from sim.images.sources.catalog import IMAGE_SOURCES, Answer, ImageSource, Process, Site, SourceSpec

if TYPE_CHECKING:
    from sim.kubelet.node import Node


class ProjectSpec(Spec):
    """A project: the part of an image's name before its first slash."""

    public: bool = param(False, "anybody may pull")
    namespaces: tuple[str, ...] = param(
        (), "namespaces whose pods may pull; a name that ends in * stands for its beginnings"
    )


@IMAGE_SOURCES.register("harbor")
class Harbor(SourceSpec):
    """A primary registry and its replicas, with projects and a token service.

    An image is pushed to the primary and copied to each replica after a lag; a node pulls from
    the instance of its zone (zones are shared out over the instances in turn).
    """

    replicas: int = param(2, "instances, the primary among them", ge=1, le=1000)
    bandwidth_bytes_per_s: float = param(1.25e9, "what the interface of each instance sends", gt=0, le=1e13)
    replication_lag_s: float = param(
        30.0, "from a push until a replica other than the primary has the image", unverified=True, ge=0, le=1e6
    )
    token_cpu_s: float = param(
        0.01, "work of checking one pull's permission and signing its token", unverified=True, ge=0, le=10
    )
    token_cores: float = param(2.0, "cores of the token service, one for all instances", gt=0, le=1024)
    projects: Named[ProjectSpec] = param(
        {}, "projects by name; images of others, and those without a slash, are public"
    )

    def servers(self, nodes: int) -> tuple[float, ...]:
        return (self.bandwidth_bytes_per_s,) * self.replicas

    def connect(self, site: Site) -> ImageSource:
        return _Harbor(site, self)

    def check(self, path: str, images: Mapping[str, Image], problems: Problems) -> None:
        known = {name.partition("/")[0] for name in images if "/" in name}
        for project in self.projects:
            if images and project not in known:
                problems.add(
                    f"{path}.projects.{project}", project, "is the project of no image", near_miss(project, known)
                )


class _Harbor(ImageSource):
    def __init__(self, site: Site, spec: Harbor) -> None:
        super().__init__(site, spec)
        self._harbor = spec
        self._links = [site.link(f"harbor uplink {i}", spec.bandwidth_bytes_per_s, i) for i in range(spec.replicas)]
        self._tokens = Machine(site.clock, "harbor token service", "images", spec.token_cores)
        order = {zone: number for number, zone in enumerate(dict.fromkeys(site.zones))}
        self._instance = [order[zone] % spec.replicas for zone in site.zones]
        self.meters = [*(link.meter for link in self._links), self._tokens.meter]

    def instance(self, node: int) -> int:
        """The instance that a node pulls from; nodes that joined later are shared out in turn."""
        return self._instance[node] if node < len(self._instance) else node % self._harbor.replicas

    def may_pull(self, name: str, namespace: str) -> bool:
        """Whether pods of a namespace may have this image."""
        project = self._harbor.projects.get(name.partition("/")[0]) if "/" in name else None
        if project is None or project.public:
            return True
        return any(
            namespace.startswith(allowed[:-1]) if allowed.endswith("*") else namespace == allowed
            for allowed in project.namespaces
        )

    def resolve(self, node: Node, name: str, namespace: str) -> Answer:
        yield self._tokens.work(self._harbor.token_cpu_s)
        if not self.may_pull(name, namespace):
            return "denied"
        yield self.clock.timeout(self.spec.request_s)
        return self.fault(name, self._harbor.replication_lag_s if self.instance(node.index) else 0.0)

    def fetch(self, node: Node, layer: Layer, size_bytes: float) -> Process:
        yield self._links[self.instance(node.index)].transfer(size_bytes, node.index)
        self.sent_bytes += size_bytes
