"""Parameters of admission."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from sim.apiserver.admission.catalog import ADMISSION
from sim.apiserver.admission.resource_quota import QuotaSpec
from sim.apiserver.admission.webhooks import WebhookSpec
from sim.base.errors import near_miss
from sim.base.fields import Named
from sim.base.spec import Spec, param


def _plugin(name: str) -> str:
    if name not in ADMISSION:
        raise ValueError(f"is no admission plug-in here; {near_miss(name, ADMISSION)}")
    return name


class AdmissionSpec(Spec):
    """What new objects meet before they are stored."""

    plugins: tuple[Annotated[str, AfterValidator(_plugin)], ...] = param(
        ("NamespaceLifecycle", "LimitRanger", "DefaultTolerationSeconds"),
        "plug-ins that look at a new pod alone, asked in the server's order; webhooks and quotas always come after them",
        source="Kubernetes 1.20 and 1.34 source, plug-ins on by default",
    )
    quota: QuotaSpec = QuotaSpec()
    webhooks: Named[WebhookSpec] = param(
        {}, "the servers behind webhooks, by the webhooks' names; the others have one of 16 workers"
    )
