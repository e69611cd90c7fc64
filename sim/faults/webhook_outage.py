"""The server behind an admission webhook is down, or slow."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from sim.base.errors import Problems, near_miss
from sim.base.spec import param
from sim.faults.catalog import FAULTS, FaultSpec, Struck

if TYPE_CHECKING:
    from simpy.events import Event


@FAULTS.register("webhook-outage")
class WebhookOutage(FaultSpec):
    """What becomes of the requests that it is asked about is for the webhook's failurePolicy to say: Fail refuses them, Ignore
    lets them pass, if it is slow after its time-out."""

    webhook: str = param(
        ..., "an admission webhook's name, as in its configuration; or authentication.NAME, authorization.NAME"
    )
    slower: float | None = param(
        None, "null: it refuses connections; else each request takes so many times as long", gt=1, le=1e6
    )
    for_s: float = param(60.0, "how long", gt=0, le=1e9)

    def check_built(self, path: str, struck: Struck, problems: Problems) -> None:
        if self.webhook not in struck.webhooks:
            problems.add(f"{path}.webhook", self.webhook, "is no webhook", near_miss(self.webhook, struck.webhooks))

    def strike(self, struck: Struck) -> Generator[Event, Any, None]:
        remote = struck.webhooks[self.webhook]
        if self.slower is None:
            remote.down = True
        else:
            remote.slower = self.slower
        yield struck.clock.timeout(self.for_s)
        remote.down, remote.slower = False, 1.0
