"""Creating and deleting pods for their owner: what every controller and user does alike."""

from __future__ import annotations

from collections.abc import Callable, Generator
from math import isnan, nan
from typing import Any

from simpy.events import AllOf, Event

from sim.apiserver.admission.chain import Admission
from sim.apiserver.client import Client
from sim.apiserver.request import CREATE_POD, MARK_POD_DELETED
from sim.controllers.operations import DELETE_POD_AT_ONCE
from sim.controllers.owner import PodOwner
from sim.engine.clock import Clock
from sim.state.objects import PodSpec
from sim.state.pods import Phase, PodTable


class PodControl:
    """Posts and deletes pods, keeps their creation times and what they are charged for.

    on_created, on_delete_marked, on_gone: called when that is stored; `on_gone` for a pod that no kubelet holds.
    """

    def __init__(
        self,
        clock: Clock,
        pods: PodTable,
        templates: tuple[PodSpec, ...],
        admission: Admission,
        on_created: Callable[[int], None],
        on_delete_marked: Callable[[int], None],
        on_gone: Callable[[int], None],
    ) -> None:
        self._clock = clock
        self._pods = pods
        self._templates = templates
        self._new_pods = admission.new_pods(templates)
        self.quotas = admission.quotas
        self._on_created = on_created
        self._on_delete_marked = on_delete_marked
        self._on_gone = on_gone
        self.on_removed: Callable[[int], None]
        """Told when the object of a pod that had ended is removed; set by the controller manager."""
        self.refused = 0
        """Creations answered 403 or given up."""
        self._refused_last: set[int] = set()
        self.owner_of: dict[int, PodOwner] = {}
        """Owners of the pods that are stored or under way, and not removed yet."""

    def create(self, client: Client, pod: int) -> Generator[Event, Any, bool]:
        """Wait for the client's turn, post the pod; ends with whether it was stored."""
        times = self._pods.times
        if (yield from client.turn()):
            return False
        times["post_sent_s"][pod] = self._clock._now
        template = self._pods.ids["template"][pod]
        new = self._new_pods[template]
        if new is not None:
            new = new.of_one()
        code = yield from client.send(CREATE_POD, self._templates[template].namespace, new)
        if code != 201:
            self.refused += 1
            self._refused_last.add(pod)
            return False
        if new is not None and new.stored_as >= 0:
            self._pods.ids["template"][pod] = new.stored_as
        self._refused_last.discard(pod)
        times["created_s"][pod] = self._clock._now
        self._pods.ids["phase"][pod] = Phase.PENDING
        self._on_created(pod)
        return True

    def create_for(self, client: Client, owner: PodOwner, pod: int) -> Generator[Event, Any, bool]:
        """`create` on behalf of an owner, whose controller then hears of the pod."""
        self.owner_of[pod] = owner
        stored: bool = yield from self.create(client, pod)
        if not stored:
            del self.owner_of[pod]
        return stored

    def create_slowly(
        self, client: Client, owner: PodOwner, count: int, first: int, per_pod: Callable[[], None]
    ) -> Generator[Event, Any, int]:
        """Slow start: `first`, then twice as many, … creations abreast, the next batch only after the whole previous one.

        The first failure ends it after its batch; the owner keeps the rows that failed. Ends with how many pods were stored.
        per_pod: called for each creation that is begun.
        """
        stored, batch = 0, first
        while count and not owner.deleted:
            size = min(batch, count)
            group = [self.next_row(owner) for _ in range(size)]
            if size == 1:
                per_pod()
                first_stored: bool = yield from self.create_for(client, owner, group[0])
                done = [first_stored]
            else:
                creations = []
                for pod in group:
                    per_pod()
                    creations.append(self._clock.start(self.create_for(client, owner, pod)))
                pending = [creation for creation in creations if creation.callbacks is not None]
                if pending:
                    yield AllOf(self._clock, pending)
                done = [bool(creation.value) for creation in creations]
            stored += sum(done)
            failed = [pod for pod, success in zip(group, done, strict=True) if not success]
            if failed:
                owner.rows.extend(reversed(failed))
                break
            count -= size
            batch *= 2
        return stored

    def delete(self, client: Client, pod: int) -> Generator[Event, Any, bool]:
        """Delete a pod that exists: a bound one is marked and its kubelet ends it, any other is removed at once.

        Ends with false if the server could not: it may be asked again.
        """
        phase = self._pods.ids["phase"][pod]
        if phase in (Phase.WAITING, Phase.REFUSED) or not isnan(self._pods.times["delete_requested_s"][pod]):
            return True
        if (yield from client.turn()):
            return False
        if not isnan(self._pods.times["delete_requested_s"][pod]):
            return True  # somebody else, such as another preemptor, was faster
        self._pods.times["delete_requested_s"][pod] = self._clock._now
        runs = self._pods.ids["phase"][pod] in (Phase.SCHEDULED, Phase.RUNNING)
        operation = MARK_POD_DELETED if runs else DELETE_POD_AT_ONCE
        code = yield from client.send(operation, self._templates[self._pods.ids["template"][pod]].namespace)
        if code != 200:  # not stored: whoever wanted it may ask again
            self._pods.times["delete_requested_s"][pod] = nan
            return False
        if not self.deletion_stored(pod) and not runs:
            self.on_removed(pod)
        return True

    def deletion_stored(self, pod: int) -> bool:
        """A pod's deletion is stored: an unbound one is gone, a bound one has its mark. False: it has ended."""
        phase = self._pods.ids["phase"][pod]
        if phase == Phase.PENDING:
            self._pods.times["gone_s"][pod] = self._clock._now
            self._pods.ids["phase"][pod] = Phase.DELETED
            self._on_gone(pod)
        elif phase in (Phase.SCHEDULED, Phase.RUNNING):
            self._on_delete_marked(pod)
        else:
            return False
        return True

    def remove(self, client: Client, pod: int) -> Generator[Event, Any, bool]:
        """Delete a pod without grace: its object goes at once, whatever its node does. For pods whose node is gone."""
        if (yield from client.turn()):
            return False
        if not isnan(self._pods.times["gone_s"][pod]):
            return True
        if (
            yield from client.send(DELETE_POD_AT_ONCE, self._templates[self._pods.ids["template"][pod]].namespace)
        ) != 200:
            return False
        times, now = self._pods.times, self._clock._now
        if isnan(times["delete_requested_s"][pod]):
            times["delete_requested_s"][pod] = now
        times["gone_s"][pod] = now
        self._pods.ids["phase"][pod] = Phase.DELETED
        self._on_gone(pod)
        return True

    def next_row(self, owner: PodOwner) -> int:
        """A row of the pod table for one more pod of `owner`: one of those drawn with the workload, else a new one."""
        row = owner.rows.pop() if owner.rows else self._pods.add_like(owner.like)
        if isnan(self._pods.times["requested_s"][row]):
            self._pods.times["requested_s"][row] = self._clock._now
            self._pods.ids["template"][row] = owner.template
        return row

    def replace(self, pod: int) -> int:
        """A new pod, not yet created, that takes the place of `pod`; returns its row."""
        row = self._pods.add_like(pod)
        self._pods.times["requested_s"][row] = self._clock._now
        return row

    def release(self, pod: int) -> None:
        """The quota controller saw the pod's end: give back what it was charged."""
        template = self._pods.ids["template"][pod]
        new = self._new_pods[template]
        if new is not None:
            self.quotas.release(new.charge)

    def was_refused(self, pod: int) -> bool:
        """Whether its creation was tried, and refused the last time."""
        return pod in self._refused_last
