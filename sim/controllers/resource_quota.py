"""The quota controller: counts anew what a namespace holds when one of its pods has ended, and now and then anyway.

It writes the status that admission writes too, and counts again where admission was faster.
Rules: Kubernetes 1.20 source, pkg/controller/resourcequota.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from simpy.events import Event

from sim.apiserver.admission.resource_quota import Quota, Quotas
from sim.apiserver.client import Client
from sim.controllers.operations import UPDATE_QUOTA_STATUS
from sim.controllers.spec import ControllerManagerSpec
from sim.controllers.work_queue import WorkQueue
from sim.engine.clock import Alarm, Clock
from sim.engine.machine import Machine


class ResourceQuotaController:
    """Syncs a quota at a time per worker. Where there is no quota it does nothing."""

    def __init__(
        self, clock: Clock, spec: ControllerManagerSpec, machine: Machine, client: Client, quotas: Quotas
    ) -> None:
        self._clock = clock
        self._spec = spec
        self._machine = machine
        self._client = client
        self._quotas = list(quotas)
        self.queue: WorkQueue[Quota] = WorkQueue(
            clock, "ResourceQuota", spec.quota_workers, self._sync, spec.retry_base_s, spec.retry_max_s
        )
        if self._quotas:
            quotas.on_end = self.queue.add
            clock.at(spec.quota_resync_s, self._look_at_all)

    @property
    def counts(self) -> bool:
        """Whether there is anything to count."""
        return bool(self._quotas)

    def resync(self) -> None:
        """A new process has listed everything: count all quotas."""
        for quota in self._quotas:
            self.queue.add(quota)

    def _look_at_all(self, _: Alarm) -> None:
        self.resync()
        self._clock.at(self._spec.quota_resync_s, self._look_at_all)

    def _sync(self, quota: Quota) -> Generator[Event, Any, bool]:
        life = self.queue.life
        self._machine.load(self._spec.sync_cpu_s)
        if not quota.count().changes:
            return True
        if (yield from self._client.turn()) or life != self.queue.life:
            return False
        count = quota.count()  # of what the informer shows when the request is sent
        code = yield from self._client.send(
            UPDATE_QUOTA_STATUS, quota.namespace, guard=lambda: quota.store_count(count)
        )
        return code == 200
