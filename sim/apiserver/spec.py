"""Parameters of the API server. Costs are CPU seconds on a core of speed 1."""

from __future__ import annotations

from typing import Annotated, Literal

from sim.apiserver.encoding import EncodingSpec
from sim.apiserver.flow_control.catalog import FLOW_CONTROLS, FlowControlSpec
from sim.apiserver.listing import ListSpec
from sim.apiserver.watch_cache import WatchSpec
from sim.base.spec import Choice, Spec, param

MEASURED = "our measurement of Kubernetes 1.20.2, one client, 2-core AMD EPYC VM"


class AuthenticationSpec(Spec):
    """Who is asking: how the components and users prove their identity."""

    method: Literal["client-certificate", "token"] = param(
        "client-certificate",
        "client certificates, verified once a connection, or a static token file, looked up per request",
    )
    certificate_cpu_s: float = param(
        1.0e-5,
        "per request on an open TLS connection: read the verified chain's subject",
        source="our estimate; the verification itself falls on the connection",
        unverified=True,
        ge=0,
        le=0.1,
    )
    token_cpu_s: float = param(
        1.5e-5,
        "per request: hash and look up the bearer token",
        source="our estimate: token GETs cost no more than certificate GETs within noise",
        unverified=True,
        ge=0,
        le=0.1,
    )


class AuthorizationSpec(Spec):
    """RBAC: the walk over the bindings that apply."""

    binding_cpu_s: float = param(
        6.0e-7, "per binding walked: 500 bindings add 0.26 to 0.43 ms to a GET", source=MEASURED, ge=0, le=0.01
    )
    cluster_role_bindings: int = param(
        60,
        "cluster role bindings, all walked for each request",
        source="Kubernetes 1.20 bootstrap policy, order of size",
        unverified=True,
        ge=0,
        le=1_000_000,
    )
    role_bindings_per_namespace: int = param(2, "role bindings of the request's namespace", ge=0, le=1_000_000)


class ApiServerSpec(Spec):
    """The API server: authenticate, flow control, authorize, admit, store, answer, fan out watches."""

    machine: str = param("control-plane", "the machine it runs on")
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
    authentication: AuthenticationSpec = AuthenticationSpec()
    authorization: AuthorizationSpec = AuthorizationSpec()
    flow_control: Annotated[FlowControlSpec, Choice(FLOW_CONTROLS)] = param(
        "priority-and-fairness", "how many requests are served at a time, and who waits or is refused"
    )
