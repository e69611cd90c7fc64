"""The Deployment controller: a ReplicaSet for each revision, and how many replicas each has now.

Rules: `deployment_rules`; the process: Kubernetes 1.20 source, pkg/controller/deployment.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from simpy.events import Event

from sim.apiserver.client import Client
from sim.controllers.applications import Applications
from sim.controllers.deployment_rules import SetSize, fence_posts, new_set_replicas, old_sets_replicas, proportional
from sim.controllers.garbage_collector import GarbageCollector, Owned
from sim.controllers.operations import (
    CREATE_REPLICASET,
    DELETE_REPLICASET,
    GET,
    MARK_REPLICASET_DELETED,
    UPDATE_DEPLOYMENT_STATUS,
    UPDATE_REPLICASET,
)
from sim.controllers.replicaset import ReplicaSet, ReplicaSetController
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.controllers.writes import EventRecorder, StatusWrites, Written
from sim.engine.clock import Clock
from sim.engine.machine import Machine
from sim.state.applications import DeploymentOptions, Scale


@dataclass(slots=True)
class Rollout:
    """One revision on its way to all pods."""

    app: int
    begun_s: float
    """When the controller first saw the new template."""
    ended_s: float = float("nan")
    """When all pods were new and available; NaN: not yet."""
    stalled: bool = False
    """No progress for the Deployment's progress deadline."""


class Deployment(Written):
    """One Deployment as the controller knows it. Its sets stand in the order of their creation."""

    __slots__ = (
        "app",
        "creating",
        "deleted",
        "like",
        "namespace",
        "options",
        "progress",
        "progress_s",
        "replicas",
        "rollout",
        "rows",
        "scaled",
        "sets",
        "status",
        "template",
    )

    def __init__(
        self,
        app: int,
        namespace: str,
        template: int,
        replicas: int,
        rows: list[int],
        like: int,
        options: DeploymentOptions,
    ) -> None:
        super().__init__()
        self.app = app
        self.namespace = namespace
        self.template = template
        self.replicas = replicas
        self.rows = rows
        """Rows of the pod table that were drawn for its first revision."""
        self.like = like
        self.options = options
        self.sets: list[ReplicaSet] = []
        self.rollout: Rollout | None = None
        self.scaled = False
        """Its size changed, and its sets do not say so yet."""
        self.status: tuple[int, ...] = ()
        self.progress: tuple[int, ...] = ()
        self.progress_s = 0.0
        self.deleted = False


class DeploymentController:
    """`deployment_workers` syncs at a time. tell: publishes a change of a ReplicaSet (kind, number)."""

    def __init__(
        self,
        clock: Clock,
        spec: ControllerManagerSpec,
        machine: Machine,
        client: Client,
        applications: Applications,
        replicasets: ReplicaSetController,
        garbage: GarbageCollector,
        statuses: StatusWrites,
        events: EventRecorder,
        tell: Callable[[str, int], None],
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._applications = applications
        self._replicasets = replicasets
        self._garbage = garbage
        replicasets.on_status, replicasets.on_gone = self._set_status_written, self._set_emptied
        self._statuses = statuses
        self._events = events
        self._tell = tell
        self._numbers = 0
        self.deployments: dict[int, Deployment] = {}
        """Those that exist, by application."""
        self.rollouts: list[Rollout] = []
        self.queue: WorkQueue[Deployment] = WorkQueue(
            clock,
            "Deployment",
            spec.deployment_workers,
            self._sync,
            spec.retry_base_s,
            spec.retry_max_s,
            quick=self._write_quickly,
        )

    # --- what the informers say

    def app_created(self, app: int) -> None:
        """A new Deployment reached the controller."""
        self.deployments[app] = self._stored(app)
        self.queue.add(self.deployments[app])

    def begin_with(self, app: int, pods: list[int]) -> ReplicaSet:
        """Before the run: all pods of a Deployment run, and nothing is left to do for it. Returns its one set."""
        deployment = self.deployments[app] = self._stored(app)
        deployment.rows = []
        replicas, options = deployment.replicas, deployment.options
        self._numbers += 1
        owned = ReplicaSet(
            self._replicasets, app, deployment.namespace, deployment.template, [], deployment.like, self._numbers, replicas,
            options.min_ready_s,
        )  # fmt: skip
        surge, _ = fence_posts(options.max_surge, options.max_unavailable, replicas)
        owned.sized_for = replicas + (0 if options.recreate else surge)
        owned.pods, owned.ready = dict.fromkeys(pods), dict.fromkeys(pods, 0.0)
        owned.available, owned.status = replicas, (replicas, replicas, replicas)
        deployment.sets.append(owned)
        self._replicasets.sets[owned.number] = owned
        deployment.progress = (replicas, 0, replicas)
        deployment.status = (deployment.template, replicas, replicas, *deployment.progress, False)
        return owned

    def _stored(self, app: int) -> Deployment:
        """The Deployment as its user asked for it."""
        known = self._applications
        return Deployment(
            app,
            known.namespace(app),
            known.template(app),
            known.pods(app),
            known.rows(app),
            known.first_row(app),
            known.options(app, DeploymentOptions),
        )

    def app_changed(self, number: int) -> None:
        """A user changed one. number: row of the load's changes."""
        change = self._applications.load.changes[number]
        deployment = self.deployments.get(change.app)
        if deployment is None:
            return
        if isinstance(change.what, Scale):
            deployment.scaled = deployment.scaled or change.what.replicas != deployment.replicas
            deployment.replicas = change.what.replicas
        elif change.what.template != deployment.template:
            deployment.template = change.what.template
            self._begin_rollout(deployment)
        self.queue.add(deployment)

    def app_deleted(self, app: int) -> None:
        """It was deleted: its sets stay until they are collected."""
        deployment = self.deployments.pop(app, None)
        if deployment is None:
            return
        deployment.deleted = True
        if deployment.options.foreground:
            self._mark(deployment)
            return
        for each in deployment.sets:
            self._leave(each)

    def set_status(self, number: int) -> None:
        """The status of one of its sets was written."""
        replicaset = self._replicasets.sets.get(number)
        if replicaset is not None and replicaset.app in self.deployments:
            self.queue.add(self.deployments[replicaset.app])

    def resync(self) -> None:
        """A new process has listed everything."""
        for deployment in self.deployments.values():
            self.queue.add(deployment)

    def objects(self) -> Iterable[Deployment]:
        return self.deployments.values()

    def as_wanted(self, deployment: Deployment) -> bool:
        return deployment.rollout is None and not deployment.scaled

    # --- what it does about it

    def _mark(self, deployment: Deployment) -> None:
        """It goes after its sets, and each of them after its pods."""
        sets = []
        for each in deployment.sets:
            going = partial(self._tell, "deleting", each.number)
            owned = Owned(GET["replicasets"], MARK_REPLICASET_DELETED, each.namespace, going)
            sets.append(self._garbage.wait_for("replicasets", each.number, owned))
        self._garbage.owner_marked("deployments", deployment.app, deployment.namespace, sets)

    def _leave(self, replicaset: ReplicaSet) -> None:
        """A set's Deployment is gone: the garbage collector takes the set."""
        gone = partial(self._tell, "deleted", replicaset.number)
        left = Owned(GET["replicasets"], DELETE_REPLICASET, replicaset.namespace, gone)
        self._garbage.object_left("replicasets", replicaset.number, left, GET["deployments"])

    def _set_status_written(self, replicaset: ReplicaSet) -> None:
        """Of a set that is looked at closely it hears through its watch; else its own status is all that follows."""
        if replicaset.closely:
            self._tell("status", replicaset.number)
            return
        deployment = self.deployments.get(replicaset.app)
        if deployment is None:
            return
        if not (self.queue.has_time_for(deployment) and self._write_quickly(deployment)):
            self.queue.add(deployment)

    def _write_quickly(self, deployment: Deployment) -> bool:
        """Between updates nothing but its status can differ: count the write."""
        return deployment.rollout is None and not deployment.scaled and self._statuses.write(deployment)

    def _set_emptied(self, replicaset: ReplicaSet) -> None:
        """Recreate waits for the last object of an old pod to go."""
        deployment = self.deployments.get(replicaset.app)
        if deployment is not None and deployment.options.recreate and not replicaset.terminating:
            self.queue.add(deployment)

    def _begin_rollout(self, deployment: Deployment) -> None:
        deployment.rollout = Rollout(deployment.app, self._clock._now)
        self.rollouts.append(deployment.rollout)
        for each in deployment.sets:
            each.closely = True
        deployment.progress, deployment.progress_s = (), self._clock._now
        self._watch_progress(deployment, deployment.rollout, deployment.options.progress_deadline_s)

    def _watch_progress(self, deployment: Deployment, rollout: Rollout, in_s: float) -> None:
        def look(_: object) -> None:
            if deployment.rollout is not rollout or deployment.deleted:
                return
            left_s = deployment.progress_s + deployment.options.progress_deadline_s - self._clock._now
            if left_s > 0:
                self._watch_progress(deployment, rollout, left_s)
            else:
                rollout.stalled = True
                self.queue.add(deployment)

        self._clock.at(in_s, look)

    def _sync(self, deployment: Deployment) -> Generator[Event, Any, bool]:
        yield self._machine.work(self._spec.sync_cpu_s)
        if deployment.deleted:
            return True
        options = deployment.options
        new = next((each for each in deployment.sets if each.template == deployment.template), None)
        olds = [each for each in deployment.sets if each is not new]
        surge, unavailable = fence_posts(options.max_surge, options.max_unavailable, deployment.replicas)
        if options.recreate:
            surge = 0
            changed = yield from self._resize(deployment, [(old, 0) for old in olds])
            if changed is None:
                return False
            if changed or any(old.pods or old.terminating for old in olds):
                return (yield from self._write_status(deployment, new))
        if new is None:
            room = new_set_replicas(deployment.replicas, surge, 0, [_size(old) for old in olds])
            new = yield from self._create_set(deployment, room, deployment.replicas + surge)
            if new is None:
                return False
            yield from self._write_status(deployment, new)
        sets = [new, *reversed(olds)]
        if deployment.scaled:
            deployment.scaled = False
            active = [each for each in sets if each.wanted]
            if len(active) <= 1:
                sizes = [(active[0] if active else new, deployment.replicas)]
            elif new.wanted == deployment.replicas and new.available == deployment.replicas:
                sizes = [(old, 0) for old in olds]
            else:
                shares = proportional(deployment.replicas, surge, [_size(each) for each in sets])
                sizes = list(zip(sets, shares, strict=True))
            if (yield from self._resize(deployment, sizes, deployment.replicas + surge)) is None:
                deployment.scaled = True
                return False
            return (yield from self._write_status(deployment, new))
        grown = new_set_replicas(deployment.replicas, surge, new.wanted, [_size(old) for old in olds])
        if new.wanted > deployment.replicas:
            grown = deployment.replicas
        changed = yield from self._resize(deployment, [(new, grown)], deployment.replicas + surge)
        if changed is None:
            return False
        if not changed and olds:
            shrunk = old_sets_replicas(deployment.replicas, unavailable, _size(new), [_size(old) for old in olds])
            changed = yield from self._resize(deployment, list(zip(olds, shrunk, strict=True)))
            if changed is None:
                return False
        if not changed and deployment.rollout is not None and self._is_complete(deployment, new, olds):
            yield from self._end_rollout(deployment, new, olds)
        return (yield from self._write_status(deployment, new))

    @staticmethod
    def _is_complete(deployment: Deployment, new: ReplicaSet, olds: list[ReplicaSet]) -> bool:
        wanted = deployment.replicas
        return (
            new.wanted == wanted and new.status[0] == new.available == wanted and not any(old.status[0] for old in olds)
        )

    def _end_rollout(
        self, deployment: Deployment, new: ReplicaSet, olds: list[ReplicaSet]
    ) -> Generator[Event, Any, None]:
        """All pods are new: forget the oldest revisions beyond the limit."""
        assert deployment.rollout is not None
        deployment.rollout.ended_s = self._clock._now
        deployment.rollout = None
        new.closely = new.min_ready_s > 0
        surplus = len(olds) - deployment.options.revision_history_limit
        for old in olds[: max(0, surplus)]:
            if (yield from self._client.turn()):
                return
            if (yield from self._client.send(DELETE_REPLICASET, deployment.namespace)) == 200:
                deployment.sets.remove(old)
                self._tell("deleted", old.number)

    def _create_set(
        self, deployment: Deployment, replicas: int, sized_for: int
    ) -> Generator[Event, Any, ReplicaSet | None]:
        if (yield from self._client.turn()):
            return None
        if (yield from self._client.send(CREATE_REPLICASET, deployment.namespace)) != 201:
            return None
        self._numbers += 1
        first = not deployment.sets
        new = ReplicaSet(
            self._replicasets,
            deployment.app,
            deployment.namespace,
            deployment.template,
            deployment.rows if first else [],
            deployment.like,
            self._numbers,
            replicas,
            deployment.options.min_ready_s,
        )
        new.sized_for = sized_for
        if deployment.rollout is not None:
            new.closely = True
        deployment.sets.append(new)
        self._replicasets.sets[new.number] = new
        self._tell("created", new.number)
        if deployment.deleted:  # while this was under way
            self._leave(new)
        self._events.record(deployment)
        return new

    def _resize(
        self, deployment: Deployment, sizes: list[tuple[ReplicaSet, int]], sized_for: int = 0
    ) -> Generator[Event, Any, bool | None]:
        """Write new sizes where they differ. Ends with whether any did; None when a write failed."""
        changed = False
        for replicaset, replicas in sizes:
            if sized_for:
                replicaset.sized_for = sized_for
            if replicas == replicaset.wanted:
                continue
            if (yield from self._client.turn()):
                return None
            if (yield from self._client.send(UPDATE_REPLICASET, deployment.namespace)) != 200:
                return None
            replicaset.wanted = replicas
            self._tell("changed", replicaset.number)
            self._events.record(deployment)
            changed = True
        return changed

    def _write_status(self, deployment: Deployment, new: ReplicaSet | None) -> Generator[Event, Any, bool]:
        sets = deployment.sets
        updated = new.status[0] if new is not None else 0
        progress = (updated, sum(each.wanted for each in sets if each is not new), sum(each.available for each in sets))
        if progress != deployment.progress:
            deployment.progress, deployment.progress_s = progress, self._clock._now
        stalled = deployment.rollout is not None and deployment.rollout.stalled
        status = (deployment.template, deployment.replicas, sum(each.status[0] for each in sets), *progress, stalled)
        if status == deployment.status:
            return True
        if deployment.rollout is None and self._statuses.write(deployment):
            deployment.status = status
            return True
        if (yield from self._client.turn()):
            return False
        if (yield from self._client.send(UPDATE_DEPLOYMENT_STATUS, deployment.namespace)) != 200:
            return False
        deployment.status = status
        return True


def _size(replicaset: ReplicaSet) -> SetSize:
    return SetSize(replicaset.wanted, replicaset.available, replicaset.sized_for)
