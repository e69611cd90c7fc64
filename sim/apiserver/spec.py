"""Parameters of the API server. Costs are CPU seconds on a core of speed 1."""

from __future__ import annotations

from typing import Annotated

from pydantic import model_validator

from sim.apiserver.admission.spec import AdmissionSpec
from sim.apiserver.authentication.spec import AuthenticationSpec
from sim.apiserver.authorization.spec import AuthorizationSpec
from sim.apiserver.connections import ConnectionsSpec
from sim.apiserver.encoding import EncodingSpec
from sim.apiserver.flow_control.catalog import FLOW_CONTROLS, FlowControlSpec
from sim.apiserver.listing import ListSpec
from sim.apiserver.load_balancing.catalog import BALANCERS, BalancerSpec
from sim.apiserver.pki import PkiSpec
from sim.apiserver.watch_cache import WatchSpec
from sim.base.spec import Choice, Spec, param

MEASURED = "our measurement of Kubernetes 1.20.2, one client, 2-core AMD EPYC VM"


class ApiServerSpec(Spec):
    """The API server: authenticate, flow control, authorize, admit, store, answer, fan out watches."""

    machine: str = param("control-plane", "the machine it runs on")
    replicas: int = param(1, "API servers behind a load balancer", ge=1, le=100)
    machines: tuple[str, ...] = param((), "a machine for each replica; none: all run on `machine`")
    load_balancer: Annotated[BalancerSpec, Choice(BALANCERS)] = param(
        "round-robin", "how new connections are spread over the replicas"
    )
    goaway_chance: float = param(
        0.0,
        "chance that an answer makes a client connect anew, which evens the replicas out",
        source="Kubernetes 1.18 to 1.34 source, API server defaults; 0.001 is usual",
        ge=0,
        le=0.02,
    )
    start_s: float = param(
        5.0, "a started process takes so long until it takes connections; its caches fill after that",
        source="our estimate: flags, etcd, post-start hooks", unverified=True, ge=0, le=600,
    )
    refused_s: float = param(
        5.0e-4, "until a client knows that nobody takes its connection", source="our estimate: a round trip", unverified=True, gt=0, le=10
    )
    get_cpu_s: float = param(
        4.6e-4, "one GET of one object, besides authentication, authorization, decoding and encoding", source=MEASURED, ge=0, le=1
    )
    create_cpu_s: float = param(
        1.42e-3, "one POST: default, validate, admit, besides decoding and encoding", source=MEASURED, ge=0, le=1
    )
    patch_cpu_s: float = param(2.25e-3, "one PATCH: read, merge, validate, besides decoding and encoding", source=MEASURED, ge=0, le=1)
    bind_cpu_s: float = param(
        1.5e-3, "one binding: read the pod, set its node, write", source="as a POST of the same size", ge=0, le=1
    )
    delete_cpu_s: float = param(1.5e-3, "one DELETE", source="as a POST of the same size", ge=0, le=1)
    lease_cpu_s: float = param(
        6.0e-4,
        "one PUT of a Lease, a small object",
        source="our measurement of idle kubelets: 50 nodes' heartbeats",
        ge=0,
        le=1,
    )
    watch_event_cpu_s: float = param(
        8.0e-5,
        "encode and send one event to one watcher",
        source="our measurement: 0.08 ms a watcher and JSON event, Kubernetes 1.20.2",
        ge=0,
        le=1,
    )
    watch_latency_s: float = param(2.0e-4, "network and client decoding of one event", unverified=True, ge=0, le=10)
    quota_cpu_s: float = param(
        2.0e-3, "one evaluation and update of a ResourceQuota, besides its etcd write", source=MEASURED, ge=0, le=1
    )
    event_ttl_s: float = param(
        3600.0, "events are kept this long", source="Kubernetes 1.20 source, API server defaults", gt=0, le=1e9
    )
    list_cpu_s: float = param(
        3.0e-3, "one LIST, besides its objects", source="our measurement: LISTs of 100 and 1,000 pods by one client, Kubernetes 1.20.2",
        ge=0, le=1
    )
    watch_cpu_s: float = param(
        5.0e-4, "open one watch", source="our estimate: as a GET", unverified=True, ge=0, le=1
    )
    watch: WatchSpec = WatchSpec()
    lists: ListSpec = ListSpec()
    encoding: EncodingSpec = EncodingSpec()
    pki: PkiSpec = PkiSpec()
    connections: ConnectionsSpec = ConnectionsSpec()
    authentication: AuthenticationSpec = AuthenticationSpec()
    authorization: AuthorizationSpec = AuthorizationSpec()
    admission: AdmissionSpec = AdmissionSpec()
    flow_control: Annotated[FlowControlSpec, Choice(FLOW_CONTROLS)] = param(
        "priority-and-fairness", "how many requests are served at a time, and who waits or is refused"
    )

    @model_validator(mode="after")
    def _a_machine_each(self) -> ApiServerSpec:
        if self.machines and len(self.machines) != self.replicas:
            raise ValueError(f"machines names {len(self.machines)} for {self.replicas} replicas; name one for each, or none")
        return self

    @property
    def machine_names(self) -> tuple[str, ...]:
        """The machine of each replica."""
        return self.machines or (self.machine,) * self.replicas
