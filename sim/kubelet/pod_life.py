"""The life of a pod that is more than plain: init containers, sidecars, hooks, probes, restarts, changing use.

Its worker is the kubelet's: it looks at what it has seen of the containers, does what the rules say, and sleeps until there is
something new: a container seen to have started or ended (PLEG), a probe's result, a wait that is over, an order to take it down.
"""

from __future__ import annotations

from collections.abc import Generator
from math import inf, isnan
from typing import TYPE_CHECKING, Any

from simpy.events import Event

from sim.apiserver.request import CREATE_EVENT
from sim.engine.clock import fire
from sim.kubelet.crash_back_off import CrashBackOff
from sim.kubelet.plan import PodPlan
from sim.kubelet.probes import Answering, Ticks, first_failure_s, first_success_s
from sim.kubelet.restart_rules import Role, Run, Seen, has_failed, is_over, is_ready, is_running, startable
from sim.kubelet.usage import amount_at, first_above
from sim.state.objects import Behaviour, Probe
from sim.state.pods import Phase

if TYPE_CHECKING:
    from sim.kubelet.node import Node
    from sim.kubelet.pod_workers import PodWorkers

Process = Generator[Event, Any, None]

DELETED = "Deleted"
SOUND = Behaviour()
KILLED = 137
"""Exit code of a process that was killed, by the kubelet or by the kernel for want of memory: 128 + SIGKILL."""
EVENTS_PER_CONTAINER = 3
"""Pulled, Created, Started."""


class PodLife:
    """One pod on its node, from the sandbox to its end. `workers` holds what all pods of all nodes share."""

    def __init__(self, workers: PodWorkers, node: Node, pod: int, plan: PodPlan) -> None:
        spec = workers.spec
        self._workers = workers
        self._clock = workers.clock
        self.node = node
        self.pod = pod
        self.plan = plan
        inits = plan.spec.init_containers
        roles = [Role.SIDECAR if spec.sidecars and each.restart_policy == "Always" else Role.INIT for each in inits]
        roles += [Role.MAIN] * len(plan.spec.containers)

        def back_off() -> CrashBackOff:
            return CrashBackOff(spec.crash_back_off_s, spec.crash_back_off_max_s, spec.crash_back_off_reset_s)

        self.runs = [
            Run(container, role, back_off())
            for container, role in zip((*inits, *plan.spec.containers), roles, strict=True)
        ]
        self.ordered = ""
        """Why it is to be taken down: "", `DELETED`, or the reason of its eviction."""
        self._grace_s: float | None = None
        """Grace period that replaces the pod's own."""
        self.over = False
        """Its containers have ended, or are being stopped for good."""
        self._added_s = self._clock.now
        self._wake: Event | None = None
        self._syncing = False
        self._late: list[tuple[Run, int, bool]] = []
        """What PLEG saw during a sync: the worker comes to it afterwards."""
        self._news = False
        self._telling = False
        self._status_new = False
        self._told_running = self._told_ready = False

    # --- orders and news from outside

    def take_down(self, reason: str, grace_s: float | None = None) -> None:
        """End it: `DELETED`, or an eviction's reason. grace_s: replaces its own grace period."""
        if not self.ordered:
            self.ordered, self._grace_s = reason, grace_s
            self._notify()

    def crash(self) -> None:
        """The node's machine stops: no process is left, and nobody sees it."""
        for run in self.runs:
            if run.running:
                self.node.containers -= 1
                run.epoch += 1
                run.running, run.finished_s, run.exit_code = False, self._clock.now, KILLED

    def notice_crash(self) -> None:
        """The kubelet is back and looks at its containers."""
        for run in self.runs:
            if run.number and not run.running and run.seen is not Seen.ENDED:
                self._see(run, run.epoch, True)

    def memory_bytes(self, now_s: float) -> float:
        """What its containers use of the node's memory now."""
        return sum(self._uses(run, now_s, "memory") for run in self.runs if run.running)

    def disk_bytes(self, now_s: float) -> float:
        """What its containers have written on the node's disk."""
        return sum(self._uses(run, now_s, "ephemeral-storage") for run in self.runs if run.running)

    def _uses(self, run: Run, now_s: float, resource: str) -> float:
        behaviour = run.container.behaviour or SOUND
        course = behaviour.memory_bytes if resource == "memory" else behaviour.disk_bytes
        if course:
            return amount_at(course, now_s - run.started_s)
        return dict(run.container.requests).get(resource, 0) if resource == "memory" else 0.0

    # --- the worker

    def run(self) -> Process:
        """From a sandbox that is ready to the pod's end."""
        node, pod, times = self.node, self.pod, self._workers.pods.times
        policy = self.plan.restart_policy
        node.lives[pod] = self
        while not self.ordered and not is_over(self.runs, policy):
            self._news, self._syncing = False, True
            yield from self._sync()
            self._syncing = False
            late, self._late = self._late, []
            for run, epoch, ended in late:
                self._see(run, epoch, ended)
            if not self._news and not self.ordered and not is_over(self.runs, policy):
                self._wake = Event(self._clock)
                yield self._wake
                self._wake = None
                if not self.ordered:
                    yield node.machine.work(self._workers.spec.sync_cpu_s)
        self.over = True
        order, failed = self.ordered, has_failed(self.runs)
        if not order:
            times["finished_s"][pod] = max(run.finished_s for run in self.runs if not isnan(run.finished_s))
        yield from self._stop_all(self.plan.spec.termination_grace_s if self._grace_s is None else self._grace_s)
        if order == DELETED:
            yield from self._workers.remove(node, pod)
        else:
            yield from self._workers.end(node, pod, order or ("Error" if failed else ""))
        del node.lives[pod]

    def _notify(self) -> None:
        """There is something new for the worker."""
        self._news = True
        if self._wake is not None:
            fire(self._wake)

    def _sync(self) -> Process:
        """One syncPod: kill what probes condemned, start what may be started."""
        policy = self.plan.restart_policy
        for run in self.runs:
            if run.condemned is not None and run.running:
                yield from self._stop(run, run.condemned)
                run.exit_code = KILLED
        for run in startable(self.runs, policy):
            if self.ordered:
                return
            wait_s = run.back_off.until_s(run.finished_s) - self._clock.now if run.seen is Seen.ENDED else 0.0
            if wait_s > 1e-9:  # CrashLoopBackOff: this sync fails, the next comes later
                self._workers.events.add(CREATE_EVENT)
                self._retry()
                continue
            if run.container.image and (yield from self._workers.pull(self.node, self.pod, run.container.image)):
                self._retry()
                continue
            yield from self._start(run)
        times, pod = self._workers.pods.times, self.pod
        if isnan(times["containers_started_s"][pod]) and all(run.number for run in self.runs):
            times["containers_started_s"][pod] = self._clock.now

    def _retry(self) -> None:
        """The sync failed: sync again after the worker's back-off, at a tick of the sync loop."""
        node, workers = self.node, self._workers
        delay_s = workers.resync_s()
        tick_s = workers.spec.sync_tick_s
        ready_s = self._clock.now + delay_s
        ticks = -(-(ready_s - node.relist_phase_s) // tick_s)
        self._clock.at(max(0.0, node.relist_phase_s + ticks * tick_s - self._clock.now), lambda _: self._notify())

    def _start(self, run: Run) -> Process:
        """Create and start one container, then its postStart hook, which holds the worker up."""
        node, pod, workers = self.node, self.pod, self._workers
        times = workers.pods.times
        if run.role is Role.MAIN and isnan(times["initialized_s"][pod]):
            times["initialized_s"][pod] = times["pull_started_s"][pod] = times["pull_ready_s"][pod] = self._clock.now
        runtime = self.plan.runtime or node.runtime
        again = run.number > 0
        if again:
            run.back_off.restarted(run.finished_s, self._clock.now)
        boots = node.boots - 1
        while boots != node.boots:  # anew where the machine stops in the middle
            while node.down is not None:
                yield node.down
            boots = node.boots
            yield from runtime.create_container(node)
            yield from runtime.start_container(node)
            node.containers -= boots != node.boots
        if again:
            workers.pods.ids["restarts"][pod] += 1
        workers.events.add(CREATE_EVENT, EVENTS_PER_CONTAINER)
        self._begin(run)
        if run.container.post_start_s is not None:
            yield self._clock.timeout(run.container.post_start_s)

    def _begin(self, run: Run) -> None:
        """The container's process runs: arrange for its end and for the kubelet to see that it runs."""
        now = self._clock.now
        run.seen, run.running, run.started_s, run.condemned = Seen.STARTING, True, now, None
        run.started = run.ready = run.oom = False
        run.number += 1
        run.epoch = epoch = run.epoch + 1
        ends_in_s, code = self._ends(run)
        if ends_in_s < inf:
            self._clock.at(ends_in_s, lambda _: self._exit(run, epoch, code))
        self._clock.at(self._workers.observed_in_s(self.node), lambda _: self._see(run, epoch, False))

    def _ends(self, run: Run) -> tuple[float, int]:
        """How long this run lasts and its exit code."""
        behaviour, faulty = run.container.behaviour or SOUND, self._is_faulty(run)
        own_s, code = inf, 0
        if run.role is Role.INIT:  # its work takes as long in a run that fails as in one that does not
            own_s, code = behaviour.exits_after_s or 0.0, behaviour.exit_code if faulty else 0
        elif faulty and behaviour.exits_after_s is not None:
            own_s, code = behaviour.exits_after_s, behaviour.exit_code
        if run.role is Role.MAIN and (duration_s := self._workers.pods.duration_s[self.pod]) < own_s:
            own_s, code = duration_s, 0
        limit = dict(run.container.limits).get("memory")
        if limit and behaviour.memory_bytes and (oom_s := first_above(behaviour.memory_bytes, limit)) < own_s:
            own_s, code = oom_s, KILLED
        return own_s, code

    @staticmethod
    def _is_faulty(run: Run) -> bool:
        faulty = (run.container.behaviour or SOUND).faulty_runs
        return faulty is None or run.number <= faulty

    def _exit(self, run: Run, epoch: int, code: int) -> None:
        """The container's process has ended by itself."""
        if run.epoch != epoch:
            return
        self.node.containers -= 1
        run.epoch = epoch = epoch + 1
        run.running, run.finished_s, run.exit_code = False, self._clock.now, code
        self._clock.at(self._workers.observed_in_s(self.node), lambda _: self._see(run, epoch, True))

    # --- what the kubelet sees

    def _see(self, run: Run, epoch: int, ended: bool) -> None:
        """PLEG has seen that a container runs or has ended."""
        if run.epoch != epoch:
            return
        if self._syncing:
            self._late.append((run, epoch, ended))
            return
        run.seen = Seen.ENDED if ended else Seen.RUNNING
        times, pod = self._workers.pods.times, self.pod
        if isnan(times["observed_s"][pod]) and is_running(self.runs):
            times["observed_s"][pod] = self._clock.now
        if ended:
            run.ready = run.started = False
            self._notify()
        else:
            self._arrange_probes(run, epoch)
            if run.role is Role.SIDECAR:
                self._notify()
        self._status_changed()

    def _arrange_probes(self, run: Run, epoch: int) -> None:
        """Work out when each probe has its first result of this run, and what follows."""
        container, now = run.container, self._clock.now
        answering = self._answering(run)
        if container.startup_probe is None:
            self._has_started(run, epoch, answering)
            return
        probe = container.startup_probe
        begin_s = max(now, run.started_s + probe.initial_delay_s)
        ticks = self._ticks(probe)
        good_s = first_success_s(probe, ticks, begin_s, answering)
        bad_s = first_failure_s(probe, ticks, begin_s, answering)
        if bad_s < good_s:
            self._clock.at(bad_s - now, lambda _: self._condemn(run, epoch, probe))
        elif good_s < inf:
            self._clock.at(good_s - now, lambda _: self._has_started(run, epoch, answering))

    def _has_started(self, run: Run, epoch: int, answering: Answering) -> None:
        """The startup probe has succeeded, or there is none: the other probes count from now on."""
        if run.epoch != epoch:
            return
        container, now = run.container, self._clock.now
        run.started = True
        extra_s = now if self._workers.spec.probe_on_sync else inf
        if (probe := container.readiness_probe) is None:
            run.ready = True
        else:
            ticks = self._ticks(probe, extra_s)
            begin_s = max(now, run.started_s + probe.initial_delay_s)
            good_s = first_success_s(probe, ticks, begin_s, answering)
            if good_s < inf:
                self._clock.at(good_s - now, lambda _: self._set_ready(run, epoch, True))
            if answering.until_s < inf:
                bad_s = first_failure_s(probe, ticks, max(begin_s, answering.until_s), answering)
                self._clock.at(bad_s - now, lambda _: self._set_ready(run, epoch, False))
        if (liveness := container.liveness_probe) is not None:
            begin_s = max(now, run.started_s + liveness.initial_delay_s)
            bad_s = first_failure_s(liveness, self._ticks(liveness), begin_s, answering)
            if bad_s < inf:
                self._clock.at(bad_s - now, lambda _: self._condemn(run, epoch, liveness))
        self._status_changed()
        if container.startup_probe is not None:
            self._notify()

    def _answering(self, run: Run) -> Answering:
        behaviour = run.container.behaviour or SOUND
        hangs = behaviour.hangs_after_s if self._is_faulty(run) else None
        return Answering(run.started_s + behaviour.starts_in_s, inf if hangs is None else run.started_s + hangs)

    def _ticks(self, probe: Probe, extra_s: float = inf) -> Ticks:
        """A probe worker's ticks: it was made when the pod came to the node."""
        jitter = self._workers.probe_jitter() if self._workers.spec.probe_start_jitter else 0.0
        return Ticks(self._added_s + jitter * probe.period_s, probe.period_s, extra_s)

    def _set_ready(self, run: Run, epoch: int, ready: bool) -> None:
        if run.epoch == epoch and run.ready != ready:
            run.ready = ready
            self._status_changed()

    def _condemn(self, run: Run, epoch: int, probe: Probe) -> None:
        """A startup or liveness probe has failed for good: the container is killed at the next sync, which is now."""
        if run.epoch == epoch:
            run.condemned = probe.grace_s if probe.grace_s is not None else self.plan.spec.termination_grace_s
            self._workers.events.add(CREATE_EVENT)
            self._notify()

    # --- stopping

    def _stop_all(self, grace_s: float) -> Process:
        """Stop all containers side by side, then the sidecars in reverse order with what is left of the grace period."""
        begun_s = self._clock.now
        mains = [run for run in self.runs if run.running and run.role is not Role.SIDECAR]
        stops = [self._clock.start(self._stop(run, grace_s)) for run in mains]
        for stop in stops:
            if stop.callbacks is not None:
                yield stop
        for run in reversed(self.runs):
            if run.running:
                yield from self._stop(run, max(0.0, grace_s - (self._clock.now - begun_s)))

    def _stop(self, run: Run, grace_s: float) -> Process:
        """preStop hook, SIGTERM, wait, SIGKILL. The hook's time is taken off the grace period, of which two seconds are always left
        unless it was overridden."""
        spec, clock = self._workers.spec, self._clock
        run.ready = False
        if run.container.pre_stop_s is not None and grace_s > 0:
            hook_s = min(run.container.pre_stop_s, grace_s)
            yield clock.timeout(hook_s)
            grace_s -= hook_s
        if self._grace_s is None:
            grace_s = max(grace_s, spec.minimum_grace_s)
        if not run.running:
            return
        stops_in_s = (run.container.behaviour or SOUND).stops_in_s
        run.epoch += 1  # its own end comes no more
        yield from (self.plan.runtime or self.node.runtime).stop_container(
            self.node, self._workers.kill_s() if stops_in_s is None else stops_in_s, grace_s
        )
        run.running, run.seen, run.finished_s = False, Seen.ENDED, clock.now

    # --- the status

    def _status_changed(self) -> None:
        """The status manager is told; it sends one status at a time, the newest."""
        self._status_new = True
        if not self._telling:
            self._telling = True
            self._clock.start(self._tell())

    def _tell(self) -> Process:
        workers, pod, times = self._workers, self.pod, self._workers.pods.times
        while self._status_new and not self.over:
            self._status_new = False
            running, ready = is_running(self.runs), is_ready(self.runs)
            heard = None
            if running and not self._told_running:
                heard = workers.heard_running if ready else workers.heard_started
            elif running and ready != self._told_ready:
                heard = workers.heard_ready if ready else workers.heard_unready
            yield from workers.status.report(self.node, pod, heard)
            if self.over:
                break
            if running and not self._told_running:
                self._told_running = True
                times["running_s"][pod] = self._clock.now
                workers.pods.ids["phase"][pod] = Phase.RUNNING
                workers.on_running()
            if running:
                self._told_ready = ready
                if ready and isnan(times["ready_s"][pod]):
                    times["ready_s"][pod] = self._clock.now
        self._telling = False
