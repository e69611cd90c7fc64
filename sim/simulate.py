"""`simulate(scenario, load) -> Result`: the only place that wires specs into processes."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import inf, isnan
from typing import Any

import numpy as np
from simpy.events import Event

from sim import kernels
from sim.apiserver.admission.chain import Admission, admitted_load
from sim.apiserver.admission.objects import ResourceQuotaObject
from sim.apiserver.admission.resource_quota import Quotas
from sim.apiserver.admission.webhooks import Webhooks
from sim.apiserver.aggregate import Aggregate, renew_leases
from sim.apiserver.authentication.catalog import Place
from sim.apiserver.authentication.union import Authentication, Credentials
from sim.apiserver.authorization.catalog import Bench
from sim.apiserver.authorization.union import Authorization
from sim.apiserver.client import Client
from sim.apiserver.event_leases import EventLeases
from sim.apiserver.identity import ANY_NODE, CONTROLLER_MANAGER, MASTERS, SCHEDULER, Identity, as_identity, identity
from sim.apiserver.pipeline import ApiServer
from sim.apiserver.population import Population
from sim.apiserver.reflector import NodeReflectors, Reflectors, renew_watches
from sim.apiserver.remote import Remotes
from sim.apiserver.replicas import ApiServers, Link, NodeLinks
from sim.apiserver.request import CREATE_POD, PATCH_POD_STATUS
from sim.apiserver.request_log import RequestLog
from sim.apiserver.storage import Storage
from sim.apiserver.watch import Handler, Watch, WatchHub
from sim.base.rand import Constant, Sampler, Streams
from sim.control_network import ControlNetwork
from sim.controllers.applications import kept_running_templates
from sim.controllers.daemon_set import with_daemon_specs
from sim.controllers.informers import CutInformers
from sim.controllers.lease_lock import LeaseLock, LeaseObject
from sim.controllers.manager import ControllerManager
from sim.controllers.mortal_client import MortalClient
from sim.controllers.node_lifecycle import NodeLifecycle
from sim.controllers.pod_control import PodControl
from sim.controllers.replicas import Replicas
from sim.engine.clock import Clock
from sim.engine.cores import MortalCores
from sim.engine.interrupt import deferred_interrupt
from sim.engine.machine import Machine
from sim.engine.meter import Meter
from sim.engine.program import Program
from sim.engine.sampler import MeterSampler
from sim.engine.token_bucket import TokenBucket
from sim.etcd.router import MAIN, EtcdRouter, etcd_groups
from sim.faults.apiserver_crash import ApiServerCrash
from sim.faults.catalog import Struck
from sim.faults.controller_manager_death import ControllerManagerDeath
from sim.faults.expired_certificate import ExpiredCertificate
from sim.faults.node_crash import NodeFaultSpec
from sim.faults.partition import Partition
from sim.faults.schedule import Faults
from sim.images.layers import build_images
from sim.images.service import ImageService
from sim.images.sources import Site
from sim.images.use import ImageUse
from sim.invariants import check_invariants
from sim.kubelet.node_conditions import NodeConditions
from sim.kubelet.node_status import TICK_S, report_nodes
from sim.kubelet.plan import plan_of
from sim.kubelet.pod_workers import PodWorkers
from sim.kubelet.reboot import Reboots
from sim.kubelet.runtime_class import runtime_of, with_runtime_classes
from sim.kubelet.static_pods import of_node, with_static_pods
from sim.kubelet.status_manager import StatusManager
from sim.kubelet.sync_loop import Kubelets
from sim.network import ipam_store
from sim.network.fabric import build_fabric
from sim.network.pod_network import PodNetwork, keeps_addresses
from sim.network.pod_traffic import PodTraffic
from sim.node_lifecycle.autoscaler import Autoscaler
from sim.node_lifecycle.budgets import Budgets
from sim.node_lifecycle.drain import Drains
from sim.node_lifecycle.faults import NodeFaults
from sim.node_lifecycle.join import Joining
from sim.node_lifecycle.park import NodePark
from sim.nodes import ClusterNode
from sim.result.collect import collect
from sim.result.result import Result
from sim.running_at_start import begin_with_running
from sim.scenario import Scenario
from sim.scheduler.core import Core
from sim.scheduler.loop import Scheduler
from sim.scheduler.queueing_hints import node_updated
from sim.scheduler.settings import queue_of, scheduler_settings
from sim.state.objects import Owner, PodSpec, Taint, pairs, quantities
from sim.state.pods import Phase, PodTable
from sim.tenancy.leaving import leave
from sim.tenancy.spec import Tenant
from sim.tenancy.users import Users
from sim.workload import AppKind, Load, WorkloadSpec


@dataclass(frozen=True, slots=True)
class Progress:
    """What a progress callback is told."""

    sim_time_s: float
    horizon_s: float
    pods_done: int
    """Pods that run or have ended."""
    pods_total: int
    events: int
    wall_s: float


def simulate(
    scenario: Scenario,
    load: Load | WorkloadSpec | None = None,
    seed: int | None = None,
    replication: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> Result:
    """Run `scenario` to its horizon and return what happened.

    load: what arrives; default: the scenario's own workload. seed: default: the scenario's. replication: another
    independent run of the same seed. progress: called now and then. Ctrl-C (KeyboardInterrupt) ends the run early;
    the result then says `complete` is false. Same scenario, load, seed and replication give the same result.
    """
    begun = time.perf_counter()
    seed = scenario.seed if seed is None else seed
    streams = Streams(seed, replication)
    if not isinstance(load, Load):
        workload = load or scenario.checked_workload()
        load = workload.build(scenario.setting(), streams)
    load = with_runtime_classes(load, scenario.runtime_classes)
    kernels.warm()
    warmed = time.perf_counter()
    cluster = Cluster(scenario, load, streams)
    built = time.perf_counter()

    def tell() -> None:
        look_for_interrupt()
        if progress is not None:
            progress(
                Progress(
                    cluster.clock.now,
                    scenario.horizon_s,
                    cluster.started,
                    cluster.pods.rows,
                    cluster.clock.events,
                    time.perf_counter() - built,
                )
            )

    complete = True
    with deferred_interrupt() as look_for_interrupt, no_garbage_collection():
        try:
            cluster.clock.run_until(scenario.horizon_s, tell)
            tell()
        except KeyboardInterrupt:
            complete = False
    cluster.network.spread.close()
    cluster.network.services.close()
    if cluster.traffic is not None:
        cluster.traffic.close()
    cluster.sampler.sample()
    check_invariants(cluster)
    record = collect(cluster, seed, replication, complete)
    record.wall = {
        "prepare_s": warmed - begun,
        "build_s": built - warmed,
        "simulate_s": time.perf_counter() - built,
    }
    return Result(record)


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """The loop makes no reference cycles: what it drops is freed at once, and the collector would only walk what lives."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class Cluster:
    """Every component of one run, made and connected. Reading it top down follows a pod's way."""

    def __init__(self, scenario: Scenario, load: Load, streams: Streams) -> None:
        self.scenario = scenario
        load, self._admitted = admitted_load(load, scenario.apiserver.admission, scenario.base_dir)
        static_pods = scenario.kubelet.static_pods
        nodes = with_static_pods(scenario.nodes.build(load.nodes), static_pods)
        load, daemon_specs = with_daemon_specs(load, nodes)
        self.load, self.daemon_specs = load, daemon_specs
        self.clock = clock = Clock()
        self.started = 0
        """Pods that reached Running."""
        self.clients: list[Client] = []
        self.limits: list[TokenBucket] = []
        """Clients' rate limits."""
        self.nodes: tuple[ClusterNode, ...] = (*nodes, *with_static_pods(scenario.nodes.later(), static_pods))
        """Every node that there may be; those that join later come last."""
        self._present = len(nodes)
        self.tenants: tuple[Tenant, ...] = scenario.tenants.build()
        self.pods = pods = PodTable()
        app_of_pod = np.repeat(np.arange(len(load.app_pods)), load.app_pods)
        pods.add(app_of_pod, load.app_template[app_of_pod], load.app_tenant[app_of_pod], load.pod_duration_s)

        self.machines = {
            name: Machine(clock, f"{name} cores", self._room_of(name), spec.cores, spec.speed)
            for name, spec in scenario.machines.items()
        }
        self._streams = streams
        self.programs: dict[str, Program] = {}
        """Components that pay for wake-ups, by name; see `ProgramSpec`."""
        self.etcd_groups = etcd_groups(
            clock,
            scenario.etcd,
            self.machines,
            {name: machine.fsync_s for name, machine in scenario.machines.items()},
            streams,
        )
        self.etcd = self.etcd_groups[MAIN]
        self._wire_api_server()
        self._wire_controllers()
        self._wire_kubelets(streams)
        self._wire_scheduler(streams)
        self._wire_node_lifecycle(streams)
        self._wire_node_conditions()
        self._wire_watches()
        self._watch_of_others()
        self._wire_faults(streams)
        users = [self._client(tenant) for tenant in load.tenants]
        self.users = Users(clock, load, pods, users, self.pod_control, self.controllers)
        begin_with_running(self)
        self._wire_leaving()
        self.control_network = ControlNetwork(self)
        self._wire_traffic(streams)
        self.control_network.traffic.stream(self.images.source.link_load)
        self.sampler = MeterSampler(clock, scenario.sample_period_s, self._meters(), self._levels())
        kubelet = scenario.kubelet
        if load.nodes_run and kubelet.node_leases:
            if self.park is not None:
                renewals = Aggregate(clock, self.node_link, ANY_NODE, at_once=len(self.nodes))
                clock.start(self.park.renew_leases(renewals, kubelet.lease_period_s))
            else:
                clock.start(renew_leases(clock, self.node_link, len(self.nodes), kubelet.lease_period_s))
        if load.nodes_run:
            mirrors = sum(len(of_node(node, kubelet.static_pods)) for node in self.nodes) if kubelet.static_pods else 0
            self.node_events.add(CREATE_POD, mirrors)
            self.node_events.add(PATCH_POD_STATUS, mirrors)
            looks = Aggregate(clock, self.node_link, ANY_NODE, TICK_S)
            park, count = self.park, len(self.nodes)
            report_s = kubelet.node_status_report_s if kubelet.node_leases else kubelet.node_status_period_s
            heard = (lambda: park.heard) if park is not None else (lambda: count)
            clock.start(report_nodes(clock, looks, heard, kubelet.node_status_period_s, report_s))
            clock.start(renew_watches(clock, scenario.apiserver, self.node_link, len(self.nodes)))
        clock.start(self.scheduler.run())
        clock.start(self.users.play())
        clock.start(self.sampler.run())
        clock.start(self.control_network.traffic.run())

    # --- the components, in the order of a pod's way

    def _wire_api_server(self) -> None:
        scenario, clock = self.scenario, self.clock
        spec = scenario.apiserver
        names = ["kube-apiserver", *(f"kube-apiserver-{number}" for number in range(2, spec.replicas + 1))]
        cores = [self._program(name, machine) for name, machine in zip(names, spec.machine_names, strict=True)]
        mortal = None
        if spec.replicas > 1 or any(isinstance(fault, ApiServerCrash) for fault in scenario.faults):
            cores = mortal = [MortalCores(each) for each in cores]
        self.owners = {namespace: tenant.name for tenant in self.tenants for namespace in tenant.namespaces}
        self.owners.update(self.load.owners())
        etcd = EtcdRouter(self.etcd_groups, scenario.etcd)
        self.credentials = Credentials()
        self.remotes = Remotes(clock, self._streams)
        self.requests = RequestLog(clock)
        self.storage = Storage(etcd, spec.encoding, len(self.nodes))
        self.event_leases = EventLeases(clock, self.storage, spec.event_ttl_s)
        self.watch = WatchHub(clock, spec, self.storage, cores)
        self.quotas = Quotas(self._quota_objects())
        self._admitted.check_namespaces({*self.owners, *(name for name, _ in self.load.namespaces)})
        webhooks = Webhooks(clock, self.load.admission, spec.admission.webhooks, self._streams)
        self.admission = Admission(self.quotas, webhooks, self._admitted)
        add_ons = ((ipam_store.ROLE, ipam_store.BINDING),) if keeps_addresses(scenario.network) else ()
        self.apis = [
            ApiServer(
                clock,
                spec,
                own,
                self.storage,
                self.watch,
                Authentication(Place(clock, own, etcd, spec.pki, self.remotes), spec.authentication, self.credentials),
                Authorization(
                    Bench(clock, own, self.remotes, scenario.kubernetes, self.owners, scenario.base_dir, add_ons), spec.authorization
                ),
                self.admission,
                self.requests,
                scenario.base_dir,
                index,
            )
            for index, own in enumerate(cores)
        ]
        self.api = self.apis[0]
        draw = self._streams("apiserver.clients").random
        self.servers: ApiServers | None = None
        """None: one API server that never dies."""
        self.node_link: ApiServer | NodeLinks = self.api
        """What all nodes' requests go to."""
        self.node_reflectors: NodeReflectors | None = None
        """None: nodes' watches never end together."""
        if mortal is not None:
            self.servers = ApiServers(
                clock, spec, self.apis, mortal, self.storage, self.watch, self.requests, spec.load_balancer, draw
            )
            self.node_link = self.servers.link_nodes(len(self.nodes))
        self.reflectors = Reflectors(clock, spec, self.watch, self._server_of, draw)
        self.node_events = Aggregate(clock, self.node_link, "system:node")

    def _link(self, user: Identity | str) -> ApiServer | Link | NodeLinks:
        """What a client's requests go to."""
        if self.servers is None:
            return self.api
        return self.node_link if user == ANY_NODE else self.servers.link(as_identity(user).name)

    def _server_of(self, watch: Watch) -> int:
        """The API server that a watch's client is connected to; -1 when none runs."""
        link = self.api if watch.client is None else watch.client.server
        if isinstance(link, Link):
            return link.open()
        return next((server for server, up in enumerate(self.servers.up) if up), -1) if self.servers is not None else 0

    def _quota_objects(self) -> list[ResourceQuotaObject]:
        """Every ResourceQuota: the tenants', and those that came with the load."""
        return [
            *(
                ResourceQuotaObject(namespace, "tenant", quantities(tenant.hard))
                for tenant in self.tenants
                if tenant.hard
                for namespace in tenant.namespaces
            ),
            *(ResourceQuotaObject(namespace, "quota", hard) for namespace, hard in self.load.quotas),
            *self.load.admission.quotas,
        ]

    def _program(self, component: str, machine: str) -> Any:
        """The cores of `machine` as one component has them: a program of its own where programs cost something."""
        spec, cores = self.scenario.machines[machine].programs, self.machines[machine]
        if spec.free:
            return cores
        draw = None if spec.cpu_factor == Constant(value=1.0) else Sampler(spec.cpu_factor, self._streams(f"{component}.cpu"))
        program = self.programs[component] = Program(self.clock, cores, spec.wake_cpu_s, spec.spin_s, draw)
        return program

    def _room_of(self, machine: str) -> str:
        """The room that a machine's cores count for: the one it serves alone, else the API server's."""
        scenario = self.scenario
        shared = {scenario.apiserver.machine, scenario.scheduler.machine, scenario.controllers.machine}
        return "etcd" if machine in scenario.etcd.all_machines and machine not in shared else "apiserver"

    def _wire_controllers(self) -> None:
        spec, clock = self.scenario.controllers, self.clock
        machine = self._program("kube-controller-manager", spec.machine)

        self.managers: Replicas | None = None
        """None: one controller manager that never dies."""
        mortal = spec.replicas > 1 or any(
            isinstance(fault, ControllerManagerDeath)
            or (isinstance(fault, Partition) and fault.component == CONTROLLER_MANAGER.removeprefix("system:"))
            for fault in self.scenario.faults
        )

        def mortal_client(user: str, name: str, qps_factor: float = 1.0, burst_factor: int = 1) -> Client:
            qps, burst = spec.qps * qps_factor, spec.burst * burst_factor
            own = self._client(user, qps, burst, f"{name} client", "controllers")
            if not mortal:
                return own
            return MortalClient(
                clock, own, lambda: self.controllers.life, lambda: self.managers.cut() if self.managers else None
            )

        def client(name: str, qps_factor: float = 1.0, burst_factor: int = 1) -> Client:
            return mortal_client(f"system:serviceaccount:kube-system:{name}", name, qps_factor, burst_factor)

        self._controller_client = client
        self.pod_control = PodControl(
            clock,
            self.pods,
            self.load.templates,
            self.admission,
            self._pod_created,
            self._pod_delete_marked,
            self._pod_gone,
        )
        self.controllers = ControllerManager(
            clock,
            spec,
            machine,
            self._link(CONTROLLER_MANAGER),
            client,
            mortal_client(CONTROLLER_MANAGER, "informers"),
            self.pods,
            self.load,
            self.pod_control,
            self.watch,
            self.nodes,
            self._present,
            self.daemon_specs,
            leads=not mortal,
            informers=CutInformers(lambda: self.managers.cut() if self.managers else None) if self._cuts else None,
            draw=self._streams("controllers.resync").random,
        )
        if mortal:
            stored, rng = LeaseObject(), self._streams("controllers.leader_election")
            managers = self.managers = Replicas(
                clock,
                self.scenario.leader_election,
                CONTROLLER_MANAGER.removeprefix("system:"),
                spec.replicas,
                lambda name: LeaseLock(stored, self._cuttable(self._client(CONTROLLER_MANAGER), lambda: managers.cut(name))),
                rng.random,
                self.controllers.resume,
                self.controllers.suspend,
            )

    def _cuttable(self, client: Client, cut: Callable[[], Event | None]) -> Client:
        """A client whose way to the API server may be cut; only where the scenario has such a fault does that cost anything."""
        return MortalClient(self.clock, client, lambda: 0, cut) if self._cuts else client

    @property
    def _cuts(self) -> bool:
        """Whether a component may be cut off from the API server."""
        return any(isinstance(fault, Partition) for fault in self.scenario.faults)

    def _wire_scheduler(self, streams: Streams) -> None:
        spec = self.scenario.scheduler
        settings = scheduler_settings(
            spec,
            self.scenario.kubernetes,
            self.scenario.setting().base_dir,
            {template.scheduler_name for template in self.load.templates},
        )
        self.core = Core(
            settings.profile,
            percentage_of_nodes_to_score=settings.percentage_of_nodes_to_score,
            rng=streams("scheduler.ties"),
        )
        for node in self.nodes:
            self.core.add_node(node.spec)
        self.core.set_namespaces({name: dict(labels) for name, labels in self.load.namespaces})
        self.queue = queue_of(self.core, settings)
        client = self._client("system:kube-scheduler", settings.qps, settings.burst, "scheduler client", "scheduler")
        client = self._cuttable(client, lambda: self.schedulers.cut() if self.schedulers else None)
        self.scheduler = Scheduler(
            self.clock,
            spec,
            settings,
            self._program("kube-scheduler", spec.machine),
            self.core,
            self.queue,
            self.pods,
            self.load.templates,
            self._replicaset_of,
            client,
            Aggregate(self.clock, self._link(SCHEDULER), SCHEDULER),
            self._pod_bound,
            self.pod_control.delete,
        )
        load = self.load
        self.budgets: Budgets | None = None
        """PodDisruptionBudgets; None: there are none."""
        if load.budgets:
            self.budgets = Budgets(load.budgets, self.pods, load.templates, load.app_template, load.app_pods)
            self.scheduler.budgets = self.budgets.now
        self.schedulers: Replicas | None = None
        if spec.replicas > 1:
            stored, rng = LeaseObject(), streams("scheduler.leader_election")
            self.schedulers = Replicas(
                self.clock,
                self.scenario.leader_election,
                "kube-scheduler",
                spec.replicas,
                lambda name: LeaseLock(
                    stored, self._cuttable(self._client(SCHEDULER), lambda: self.schedulers.cut(name) if self.schedulers else None)
                ),
                rng.random,
                self.scheduler.resume,
                self.scheduler.suspend,
            )

    def _replicaset_of(self, app: int, row: int) -> PodSpec | None:
        """The spec that a Deployment's ReplicaSet, one a template, gives its pods; None where there is none, or one pod has
        nobody to spread from."""
        load = self.load
        template = load.templates[row]
        if load.app_kind[app] != AppKind.SERVICE or load.app_pods[app] < 2 or template.owner is not None:
            return None
        name = f"app-{app}" if row == load.app_template[app] else f"app-{app}-{row}"
        labels = pairs({**dict(template.labels), "pod-template-hash": name})
        return replace(template, labels=labels, owner=Owner("ReplicaSet", name))

    def _wire_node_lifecycle(self, streams: Streams) -> None:
        """Nodes that join, leave or fail; nothing of it where all nodes are there for ever."""
        scenario, clock, spec = self.scenario, self.clock, self.scenario.nodes
        self.park: NodePark | None = None
        self.node_faults: NodeFaults | None = None
        self.autoscaler: Autoscaler | None = None
        node_faults = any(isinstance(fault, NodeFaultSpec) for fault in scenario.faults)
        expiries_s = self._kubelet_expiries_s()
        refusals = bool(expiries_s) or any(
            isinstance(fault, ExpiredCertificate) and fault.user == ANY_NODE for fault in scenario.faults
        )
        if len(self.nodes) == self._present and scenario.autoscaler is None and not node_faults and not refusals:
            return
        park = self.park = NodePark(clock, self.nodes, self._present, self.core, self.scheduler, self.watch)

        def heard(node: int) -> None:
            self.kubelets.set_away(node, None)

        def silent(node: int) -> None:
            self.kubelets.set_away(node, park.away(node))

        park.on_lost += [silent, self.images.source.node_lost]
        park.on_regained += [heard, self.images.source.node_back]
        manager = "system:serviceaccount:kube-system:"
        self.joining = Joining(
            clock,
            spec.join,
            park,
            self._client(ANY_NODE),
            self._client("system:kube-proxy"),
            self._client(manager + "certificate-controller"),
            self._client(manager + "node-controller", spec.join.cidr_qps, spec.join.cidr_burst, "node IPAM client", "controllers"),
            streams,
        )
        later: dict[str, list[int]] = {}
        for row in range(self._present, len(self.nodes)):
            later.setdefault(self.nodes[row].pool, []).append(row)
        for name, pool in spec.all_pools.items():
            if pool.join_at_s is not None:
                joining = later[name][: spec.pool_counts()[name]]
                clock.start(self.joining.wave(joining, pool.join_at_s, pool.join_over_s))
        self.drains = Drains(
            clock,
            spec.drain,
            park,
            self.pods,
            self.pod_control,
            self._client(identity("kubernetes-admin", (MASTERS,))),
            self.load.app_pods,
            lambda pod: self.load.app_kind[self.pods.ids["app"][pod]] == AppKind.DAEMON_SET,
            *([self.budgets.allows] if self.budgets is not None else []),
        )
        self.reboots = Reboots(self.kubelets)
        self.node_faults = NodeFaults(clock, park, self.drains, self._machine_stops, self._machine_starts, streams("faults.nodes"))
        self._wire_node_lifecycle_controller(park, streams)
        if refusals:
            self.credentials.listen(lambda _: park.accept(self.api.authentication.valid(identity(ANY_NODE))))
            for at_s in expiries_s:
                clock.at(at_s, lambda _: park.accept(self.api.authentication.valid(identity(ANY_NODE))))
        if scenario.autoscaler is not None:
            pools = {
                name: np.array([row for row, node in enumerate(self.nodes) if node.pool == name])
                for name, pool in spec.all_pools.items()
                if pool.maximum is not None
            }
            self.autoscaler = Autoscaler(
                clock,
                scenario.autoscaler,
                self.core.profile,
                park,
                self.joining,
                self.drains,
                self.pods,
                self.scheduler.spec_of,
                self._client(manager + "node-controller"),
                self.machines[scenario.controllers.machine],
                pools,
                {name: spec.all_pools[name].minimum for name in pools},
                streams("autoscaler.expander"),
            )
            clock.start(self.autoscaler.run())

    def _kubelet_expiries_s(self) -> list[float]:
        """When the kubelets' certificates begin or cease to be valid during the run."""
        spec = self.scenario.apiserver.authentication
        method = spec.methods.get(spec.method_of(identity(ANY_NODE)))
        return [at_s for at_s in method.validity_s if 0 < at_s < self.scenario.horizon_s] if method is not None else []

    def _wire_node_lifecycle_controller(self, park: NodePark, streams: Streams) -> None:
        spec, load, template_of = self.scenario.controllers, self.load, self.pods.ids["template"]
        client = self._client(
            "system:serviceaccount:kube-system:node-controller", spec.qps, spec.burst, "node-controller client", "controllers"
        )
        controller = NodeLifecycle(
            self.clock,
            spec.node_lifecycle,
            park,
            client,
            self.pods,
            self.pod_control,
            lambda pod: load.templates[template_of[pod]],
            self.scenario.kubelet.lease_period_s,
            streams("controllers.node_lifecycle"),
            [node.zone for node in self.nodes],
            partial(self.watch.publish, "pods", "unready"),
            partial(self.watch.publish, "pods", "ready"),
        )
        self.controllers.watch_nodes(controller, park.spec)

    def _wire_leaving(self) -> None:
        """Tenants that leave, and the controller that empties their namespaces."""
        leaving = [tenant for tenant in self.tenants if tenant.leaves_at_s < inf]
        if not leaving:
            return
        spec = self.scenario.controllers
        name = "namespace-controller"
        client = self._controller_client(name, spec.namespaces.qps_factor, spec.namespaces.burst_factor)
        names = [namespace for tenant in leaving for namespace in tenant.namespaces]
        self.controllers.watch_namespaces(names, client, self.storage.objects)

        def marked(namespace: str) -> None:
            if "NamespaceLifecycle" in self.scenario.apiserver.admission.plugins:
                self.admission.namespace_ends(namespace, self.load.templates)
            self.controllers.namespace_marked(namespace)

        operator = self._client(identity("kubernetes-admin", (MASTERS,)))
        for tenant in leaving:
            self.clock.start(leave(self.clock, tenant, operator, marked))

    def _tenant_client(self, tenant: str) -> tuple[Client, str]:
        """Another program of a tenant, and the namespace that it is at home in."""
        namespace = next((name for name, user in self.owners.items() if user == tenant), "")
        return self._client(tenant), namespace

    def _wire_node_conditions(self) -> None:
        """A node short of memory or disk is tainted; its clients are made when the first one is."""
        conditions: list[NodeConditions] = []

        def set_taints(node: int, taints: tuple[Taint, ...]) -> None:
            if self.park is not None:
                self.park.press(node, taints)
                return
            old, own = self.core.nodes.specs[node], self.nodes[node].spec
            new = replace(own, taints=(*own.taints, *taints))
            self.core.update_node(node, new)
            for event in node_updated(old, new):
                self.scheduler.moved(event)

        def changed(node: int, condition: str, holds: bool) -> None:
            if not conditions:
                controller = self._client("system:serviceaccount:kube-system:node-controller")
                conditions.append(NodeConditions(self.clock, self._client(ANY_NODE), controller, set_taints))
            conditions[0].changed(node, condition, holds)

        self.kubelets.workers.eviction.on_condition.append(changed)

    def _wire_faults(self, streams: Streams) -> None:
        struck = Struck(
            self.clock,
            self.etcd_groups,
            self.schedulers,
            self.node_faults,
            self.credentials,
            self._tenant_client,
            {**self.remotes.by_name, **{name: hook.remote for name, hook in self.admission.webhooks.servers.items()}},
            self.servers,
            self.managers,
        )
        self.faults = Faults(struck, self.scenario.faults, self.scenario.horizon_s, streams)

    def _wire_kubelets(self, streams: Streams) -> None:
        scenario, clock, load, pods = self.scenario, self.clock, self.load, self.pods
        spec = scenario.kubelet
        image_specs = scenario.all_images()
        images, zones, nic = build_images(image_specs), [node.zone for node in self.nodes], scenario.network.nic_bytes_per_s
        self.fabric = build_fabric(
            clock,
            scenario.network,
            zones,
            *scenario.registry.servers(len(zones)),
            *(machine.nic_bytes_per_s for machine in scenario.machines.values()),
            cores=max(1, int(np.median([node.cores for node in self.nodes]))) if scenario.network.traffic else 0,
        )
        containers = [(*template.init_containers, *template.containers) for template in load.templates]
        self.unlisted_images = {c.image for of_pod in containers for c in of_pod if c.image} if not images else set()
        """Images that pods name where the scenario lists none: nothing is pulled."""
        wanted = [tuple(c.image for c in of_pod if c.image and images) for of_pod in containers]
        site = Site(clock, images, nic, len(zones), self.fabric, len(zones), tuple(zones), streams)
        self.images = ImageService(
            clock,
            spec.images,
            spec.serial_image_pulls,
            images,
            scenario.registry.connect(site),
            streams,
            len(zones),
            ImageUse(pods, wanted, spec.images.gc_period_s).of_node,
        )
        ipam = self._client(ipam_store.ACCOUNT) if keeps_addresses(scenario.network) else None
        self.network = PodNetwork(
            clock, scenario.network, len(self.nodes), pods, scenario.base_dir,
            None if ipam is None else lambda operation: ipam.send(operation, ""),
            streams("network.routes"), self._proxy_works,
        )
        self.controllers.on_endpoints = self.network.services.slices_heard
        pool_runtimes = {name: pool.runtime for name, pool in scenario.nodes.all_pools.items() if pool.runtime is not None}
        self.kubelets = Kubelets(
            clock,
            spec,
            self.nodes,
            [pool_runtimes.get(node.pool, scenario.runtime) for node in self.nodes],
            pods,
            streams,
            {
                name: 1.0 if scenario.registry.on_every_node and not image.pushed_at_s else image.present_share
                for name, image in image_specs.items()
            },
            self._program("hollow kubelets", spec.hollow_on) if spec.hollow_on else None,
        )
        template_of = pods.ids["template"]
        kept_running = kept_running_templates(load, self.daemon_specs.values(), len(self.nodes))
        plans = [
            plan_of(template, row in kept_running, bool(images), runtime_of(template, scenario.runtime_classes))
            for row, template in enumerate(load.templates)
        ]
        client = self._client("system:node")

        def namespace_of(pod: int) -> str:
            return load.templates[template_of[pod]].namespace

        self.kubelets.workers = PodWorkers(
            clock,
            spec,
            self.network,
            self.images,
            pods,
            client,
            StatusManager(spec.status_period_s, client, namespace_of, self._status_stored),
            self.node_events,
            streams,
            plan_of=lambda pod: plans[template_of[pod]],
            on_running=self._pod_running,
            heard_started=partial(self.watch.publish, "pods", "started"),
            heard_running=partial(self.watch.publish, "pods", "running"),
            heard_ready=partial(self.watch.publish, "pods", "ready"),
            heard_unready=partial(self.watch.publish, "pods", "unready"),
            heard_finished=partial(self.watch.publish, "pods", "finished"),
            on_gone=self._pod_gone,
        )

    def _wire_traffic(self, streams: Streams) -> None:
        """Traffic between the pods that run, where the scenario names some."""
        self.traffic: PodTraffic | None = None
        traffic = self.scenario.network.traffic
        if not traffic:
            return
        self.traffic = PodTraffic(
            self.clock,
            traffic,
            self.fabric,
            self.control_network.traffic,
            self.pods,
            self.network.spread,
            len(self.nodes),
            lambda name: streams(f"network.traffic.{name}"),
        )
        self.network.on_detach = self.traffic.pod_detached

    def _client(self, user: Identity | str, qps: float = inf, burst: int = 0, name: str = "", room: str = "") -> Client:
        """A client of the API server; without `name` it has no rate limit of its own."""
        limit = TokenBucket(self.clock, name, room, qps, burst) if name else None
        if limit is not None:
            self.limits.append(limit)
        processes = max(1, len(self.nodes)) if user == ANY_NODE else 1
        client = Client(self.clock, self._link(user), user, limit, processes)
        self.clients.append(client)
        return client

    # --- what is stored, and who hears of it

    def _wire_watches(self) -> None:
        """Who watches pods: the informers of the components, and the users' side, which measures the start-up."""
        scheduler, kubelets = self.scheduler, self.kubelets
        on_scheduler = {
            "created": scheduler.on_created,
            "bound": scheduler.on_bound,
            "finished": scheduler.on_gone,
            "deleting": scheduler.on_deleting,
            "gone": scheduler.on_gone,
        }
        self.watch.watch("pods", "kube-scheduler", on_scheduler, client=self._client(SCHEDULER))
        if self.load.nodes_run:
            on_kubelet: dict[str, Handler] = {"bound": kubelets.on_bound, "deleting": kubelets.on_deleted}
            if self.park is not None:
                node_of = self.pods.ids["node"].__getitem__
                on_kubelet = {kind: self.park.held_while_away(on, node_of) for kind, on in on_kubelet.items()}
            self._watch_on_nodes({**dict.fromkeys(ON_NODE), **on_kubelet})
        on_controllers = {
            "created": self.controllers.pod_added,
            "running": self.controllers.pod_ready,
            "ready": self.controllers.pod_ready,
            "unready": self.controllers.pod_unready,
            "finished": self._controllers_hear_finished,
            "deleting": self.controllers.pod_lost,
            "gone": self._controllers_hear_gone,
        }
        self.watch.watch(
            "pods", "kube-controller-manager", self.controllers.informed(on_controllers), client=self._client(CONTROLLER_MANAGER)
        )
        self.watch.watch("pods", "tenant", {"started": self._tenant_hears_running, "running": self._tenant_hears_running})

    def _watch_of_others(self) -> None:
        """Clients that are no component, and act on nothing that is simulated."""
        for number, spec in enumerate(self.scenario.apiserver.watch.clients):
            self.watch.watch(
                spec.resource,
                f"client {number}",
                {},
                client=self._client(identity(f"watcher-{number}", (MASTERS,))),
                encoding=spec.encoding,
                count=spec.count,
                read_s=spec.read_s,
            )

    def _watch_on_nodes(self, on: Mapping[str, Handler | None]) -> None:
        """Every kubelet watches its own pods."""
        if self.servers is None or self.servers.nodes is None:
            self.watch.watch("pods", "kubelet", on, selective=True)
            return
        node_of = self.pods.ids["node"]
        kubelets = Population(self.watch, "pods", "kubelet", on, self.servers.nodes.server_of, lambda pod: node_of[pod])
        self.node_reflectors = NodeReflectors(
            self.clock,
            self.scenario.apiserver,
            self.watch,
            self.servers,
            [kubelets],
            self._streams("apiserver.reflectors"),
        )

    def _pod_created(self, pod: int) -> None:
        self.watch.publish("pods", "created", pod)

    def _pod_bound(self, pod: int) -> None:
        self.watch.publish("pods", "bound", pod)

    def _status_stored(self, pod: int, publish: Handler | None, _: int) -> None:
        """A kubelet has patched a pod's status. publish: tells of one that others act on."""
        if publish is None:
            self.watch.publish("pods", "status", pod)
        else:
            publish(pod)

    def _pod_running(self) -> None:
        self.started += 1

    def _machine_stops(self, node: int) -> None:
        self.reboots.stop(node)
        self.network.spread.node_died(node)
        if self.traffic is not None:
            self.traffic.node_died(node)

    def _proxy_works(self, node: int, cpu_s: float) -> None:
        """A node's kube-proxy writes its rules."""
        if (found := self.kubelets.nodes.get(node)) is not None:
            found.machine.load(cpu_s)

    def _machine_starts(self, node: int) -> None:
        self.reboots.start(node)
        if self.traffic is not None:
            self.traffic.node_back(node)

    def _tenant_hears_running(self, pod: int) -> None:
        self.pods.times["watched_s"][pod] = self.clock.now
        app = self.pods.ids["app"][pod]
        if self.controllers.endpoints is None and int(self.load.app_kind[app]) == AppKind.SERVICE:
            self.network.services.endpoint_changed(app, pod, added=True)

    def _controllers_hear_finished(self, pod: int) -> None:
        self.pod_control.release(pod)
        self.controllers.pod_finished(pod)

    def _pod_delete_marked(self, pod: int) -> None:
        if not self.load.nodes_run and not self.load.templates[self.pods.ids["template"][pod]].termination_grace_s:
            self.pods.times["gone_s"][pod] = self.clock.now
            self.pods.ids["phase"][pod] = Phase.DELETED
            self._pod_gone(pod)
            return
        self.watch.publish("pods", "deleting", pod)

    def _pod_gone(self, pod: int) -> None:
        app = self.pods.ids["app"][pod]
        times, slices = self.pods.times, self.controllers.endpoints
        served = not isnan(times["watched_s"][pod]) or isnan(times["requested_s"][pod])  # the latter ran from the start
        if slices is None and served and int(self.load.app_kind[app]) == AppKind.SERVICE:
            self.network.services.endpoint_changed(app, pod, added=False)
        self.watch.publish("pods", "gone", pod)

    def _controllers_hear_gone(self, pod: int) -> None:
        self.pod_control.release(pod)
        self.controllers.pod_gone(pod)

    # --- what is watched

    def _meters(self) -> list[Meter]:
        return [
            *(machine.meter for machine in self.machines.values()),
            *(meter for api in self.apis for meter in api.flow_control.meters),
            *self.admission.meters(self.apis),
            *self.remotes.meters(),
            *self.watch.meters,
            *(group.meter for group in self.etcd_groups.values()),
            self.scheduler.meter,
            *(limit.meter for limit in self.limits),
            *self.controllers.meters(),
            *self.images.source.meters,
            self.network.spread.meter,
            *self.control_network.traffic.meters.values(),
        ]

    def _levels(self) -> dict[str, Callable[[], float]]:
        phase = self.pods.ids["phase"]

        def in_phase(wanted: Phase) -> Callable[[], float]:
            return lambda: float(np.count_nonzero(np.frombuffer(phase, np.int32) == wanted))

        return {
            "pods_pending": in_phase(Phase.PENDING),
            "pods_starting": in_phase(Phase.SCHEDULED),
            "pods_running": in_phase(Phase.RUNNING),
            "unschedulable_waiting": lambda: float(self.queue.lengths["unschedulable"]),
            **self.apis[0].flow_control.limits(),
            **({"faults_active": lambda: float(self.faults.active)} if self.scenario.faults else {}),
            **({"nodes_ready": self.park.level_ready} if self.park is not None else {}),
        }


ON_NODE = ("bound", "status", "started", "running", "ready", "unready", "finished", "deleting", "gone")
"""Changes of pods that have a node, of which its kubelet hears."""
