"""Parameters of admission."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from sim.apiserver.admission.catalog import ADMISSION
from sim.apiserver.admission.reading import read_admission_objects
from sim.apiserver.admission.resource_quota import QuotaSpec
from sim.apiserver.admission.webhooks import WebhookSpec
from sim.base.errors import InputError, Problems, near_miss
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
    objects: tuple[str, ...] = param(
        (), "files or folders with LimitRanges, ResourceQuotas, Namespaces and webhook configurations"
    )
    quota: QuotaSpec = QuotaSpec()
    webhooks: Named[WebhookSpec] = param(
        {}, "the servers behind webhooks, by the webhooks' names; the others have one of 16 workers"
    )

    def paths(self, base_dir: str) -> list[Path]:
        return [Path(base_dir) / each for each in self.objects]

    def check(self, path: str, base_dir: str, problems: Problems) -> None:
        """Add what is wrong with the files it names."""
        try:
            read_admission_objects(self.paths(base_dir))
        except InputError as error:
            for line in str(error).splitlines()[1:]:
                problems.add(f"{path}.objects", list(self.objects), line.strip())
