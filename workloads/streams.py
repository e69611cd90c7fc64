"""A stream of applications: arrivals of one kind of application. A load is the superposition of its streams.

Every attribute is drawn from a generator of its own, named `workload.<stream>.<attribute>`: another stream, or another
node, image or scheduler in the scenario moves none of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
from pydantic import model_validator

from sim.base.errors import InputError, Problems
from sim.base.rand import Streams
from sim.base.spec import Spec, param
from sim.state.applications import AppOptions, Change, Roll, Scale
from sim.state.objects import Container, PodSpec
from sim.workload import Load, Setting
from workloads.applications import AnyApplication, PodApplication, Update
from workloads.arrivals import ArrivalProcess
from workloads.draws import MAX_ITEMS, Drawn, in_the_middle, pick
from workloads.images import draw_images
from workloads.pod_fields import PodFields, labelled, needs_own_label, pod_base
from workloads.shapes import MIXES, MixField
from workloads.tenants import check_tenants, draw_namespaces, draw_tenants


class StreamFields(Spec):
    """What a stream says of its applications, besides when they arrive."""

    application: AnyApplication = param(
        PodApplication(), "what arrives: {kind: service | stateful-set | daemon-set | job | cron-job | pod, …}"
    )
    mix: MixField = param(MIXES["web"], "request shapes: the name of a mix, or a list of shapes with weights")
    tenants: tuple[str, ...] = param((), "tenants that take part, by their weights; none: all")
    pod: PodFields = param(
        {}, "v1 PodSpec fields of every pod: priority, nodeSelector, tolerations, affinity, labels, …"
    )
    running_at_start: int = param(
        0,
        "applications of the stream that run already when the clock starts, pods or services: in the middle of their lives, known "
        "to every component",
        ge=0,
        le=MAX_ITEMS,
    )
    start_s: float = param(0.0, "arrivals begin here", ge=0, le=1e9)
    horizon_s: float | None = param(None, "arrivals stop here; none: at the scenario's horizon", gt=0, le=1e9)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.horizon_s is not None and self.horizon_s <= self.start_s:
            raise ValueError(f"horizon_s ({self.horizon_s:g}) must be above start_s ({self.start_s:g})")
        return self

    def check_stream(self, arrivals: ArrivalProcess, setting: Setting, path: str, problems: Problems) -> None:
        """Report what is wrong with this stream in this scenario."""
        if self.running_at_start and self.application.kind not in ("service", "pod"):
            rule = f"is for pods and services: a {self.application.kind} has something under way whenever it runs"
            problems.add(f"{path}.running_at_start", self.running_at_start, rule, "let them arrive at 0 s")
        check_tenants(self.tenants, setting, f"{path}.tenants", problems)
        self.mix.check(setting, f"{path}.mix", problems)
        window_s = self.window_s(setting)
        if window_s <= 0 and not self.running_at_start:
            rule = f"must be below the scenario's horizon, {setting.horizon_s:g} s: nothing would arrive"
            problems.add(f"{path}.start_s", self.start_s, rule)
        elif (expected := arrivals.expected(window_s)) > MAX_ITEMS:
            problems.add(
                f"{path}", f"about {expected:.3g} applications", f"must be at most {MAX_ITEMS:,}", "lower the rate"
            )

    def window_s(self, setting: Setting) -> float:
        """Length of the time in which applications arrive; not positive when there is none."""
        end_s = setting.horizon_s if self.horizon_s is None else min(self.horizon_s, setting.horizon_s)
        return end_s - self.start_s


@dataclass(frozen=True)
class Part:
    """One stream's applications, in the columns of `Load`."""

    templates: list[PodSpec]
    app_time_s: np.ndarray
    app_end_s: np.ndarray
    app_kind: np.ndarray
    app_template: np.ndarray
    app_tenant: np.ndarray
    app_pods: np.ndarray
    app_parallelism: np.ndarray
    app_running: np.ndarray
    pod_duration_s: np.ndarray
    options: AppOptions | None
    """Of all its applications."""
    changes: list[Change]
    """In the part's own rows."""


def draw_stream(fields: StreamFields, arrivals: ArrivalProcess, name: str, setting: Setting, streams: Streams) -> list[Part]:
    """Draw all applications of the stream `name`: those that run at the start, if any do, then those that arrive.

    The former have draws of their own, and move none of the latter's. Raises InputError when they are too many to hold.
    """
    time_s = fields.start_s + arrivals.times(max(fields.window_s(setting), 0.0), streams, f"workload.{name}")
    parts = [_draw(fields, name, f"workload.{name}", time_s, False, setting, streams)]
    if fields.running_at_start:
        nothing_s = np.zeros(fields.running_at_start)
        parts.insert(0, _draw(fields, name, f"workload.{name}.running", nothing_s, True, setting, streams))
    return parts


def _draw(
    fields: StreamFields, name: str, source: str, time_s: np.ndarray, running: bool, setting: Setting, streams: Streams
) -> Part:
    """The applications asked for at `time_s`. source: begins the names of their draws. running: they are there already."""
    application, size = fields.application, len(time_s)
    pods = application.pods_in(setting, time_s, streams, source)
    if pods.sum() > MAX_ITEMS:
        raise InputError(
            f"workload: stream '{name}' makes {pods.sum():,} pods, more than {MAX_ITEMS:,}; lower its rate or counts"
        )
    tenant = draw_tenants(setting, fields.tenants, streams, source, size)
    templates, template = _templates(fields, name, source, tenant, setting, streams)
    lifetimes_s: Drawn = partial(application.lifetimes_s, streams)
    durations_s: Drawn = partial(application.durations_s, streams)
    if running:
        lifetimes_s, durations_s = in_the_middle(lifetimes_s, streams), in_the_middle(durations_s, streams)
    end_s = time_s + lifetimes_s(source, size)
    updates = application.updates(time_s, end_s, pods, setting.horizon_s, streams, source)
    return Part(
        templates=templates,
        app_time_s=time_s,
        app_end_s=end_s,
        app_kind=np.full(size, application.app_kind, np.int8),
        app_template=template,
        app_tenant=tenant,
        app_pods=pods.astype(np.int32),
        app_parallelism=application.parallelism_of(pods, streams, source).astype(np.int32),
        app_running=np.full(size, running),
        pod_duration_s=durations_s(source, int(pods.sum())),
        options=application.options(),
        changes=_changes(updates, template, templates),
    )


def _changes(updates: list[Update], template: np.ndarray, templates: list[PodSpec]) -> list[Change]:
    """The updates by time, with a template (appended to `templates`) for each revision of each first template."""
    revisions: dict[tuple[int, int], int] = {}
    so_far: dict[int, int] = {}
    changes = []
    for update in sorted(updates, key=lambda update: update.at_s):
        what: Scale | Roll | None = update.what
        if what is None:
            so_far[update.app] = so_far.get(update.app, 0) + 1
            first = int(template[update.app])
            key = (first, so_far[update.app])
            if key not in revisions:
                revisions[key] = len(templates)
                templates.append(templates[first])
            what = Roll(revisions[key])
        changes.append(Change(update.at_s, update.app, what))
    return changes


def _templates(
    fields: StreamFields, name: str, source: str, tenant: np.ndarray, setting: Setting, streams: Streams
) -> tuple[list[PodSpec], np.ndarray]:
    """(the distinct pod specs of a stream, the index of each application's one)."""
    size = len(tenant)
    shapes = fields.mix.shapes
    namespace, namespaces = draw_namespaces(setting, tenant, streams, source)
    shape = pick(np.array([row.weight for row in shapes]), streams(f"{source}.shape"), size)
    fixed = np.array([bool(row.image) for row in shapes])
    image, images = (np.zeros(size, np.int64), [""]) if fixed.all() else draw_images(setting, streams, source, size)
    image[fixed[shape]] = 0  # the shape names its image; the draw is made all the same, so that it moves no other

    base = pod_base(fields.pod)
    own = needs_own_label(base)
    code = (namespace * len(shapes) + shape) * len(images) + image
    if own:  # each application selects its own pods: a spec of its own
        distinct, first, template = code, np.arange(size), np.arange(size)
    else:
        distinct, first, template = np.unique(code, return_index=True, return_inverse=True)
        base = labelled(base, name)
    containers: dict[tuple[int, int], tuple[Container, ...]] = {}
    templates = []
    for row, app in zip(distinct.tolist(), first.tolist(), strict=True):
        rest, image_row = divmod(row, len(images))
        namespace_row, shape_row = divmod(rest, len(shapes))
        chosen, key = shapes[shape_row], (shape_row, image_row)
        if key not in containers:
            containers[key] = (chosen.container(chosen.image or images[image_row]),)
        spec = labelled(base, f"{source.removeprefix('workload.')}-{app}") if own else base
        templates.append(replace(spec, namespace=namespaces[namespace_row], containers=containers[key]))
    return templates, template.astype(np.int32)


def superpose(parts: list[Part], tenants: tuple[str, ...]) -> Load:
    """One load of several streams, in the order of arrival; at equal times in the order of the streams."""
    time_s = np.concatenate([part.app_time_s for part in parts])
    order = np.argsort(time_s, kind="stable")
    offsets = np.cumsum([0, *(len(part.templates) for part in parts)])
    template = np.concatenate([part.app_template + offset for part, offset in zip(parts, offsets[:-1], strict=True)])
    pods = np.concatenate([part.app_pods for part in parts])
    duration_s = np.concatenate([part.pod_duration_s for part in parts])
    if len(parts) > 1:
        duration_s = duration_s[_rows_of(pods, order)]

    place = np.empty(len(order), np.int64)
    place[order] = np.arange(len(order))
    first_app = np.cumsum([0, *(len(part.app_time_s) for part in parts)])
    options: dict[int, AppOptions] = {}
    changes: list[Change] = []
    for part, begin, offset in zip(parts, first_app.tolist(), offsets.tolist(), strict=False):
        if part.options is not None:
            options.update(dict.fromkeys(place[begin : begin + len(part.app_time_s)].tolist(), part.options))
        for change in part.changes:
            what = Roll(change.what.template + offset) if isinstance(change.what, Roll) else change.what
            changes.append(Change(change.at_s, int(place[begin + change.app]), what))
    changes.sort(key=lambda change: change.at_s)

    def sorted_column(column: str) -> np.ndarray:
        return np.concatenate([getattr(part, column) for part in parts])[order]

    return Load(
        templates=tuple(spec for part in parts for spec in part.templates),
        tenants=tenants,
        app_time_s=time_s[order],
        app_end_s=sorted_column("app_end_s"),
        app_kind=sorted_column("app_kind"),
        app_template=template[order].astype(np.int32),
        app_tenant=sorted_column("app_tenant"),
        app_pods=pods[order],
        app_parallelism=sorted_column("app_parallelism"),
        app_running=sorted_column("app_running"),
        pod_duration_s=duration_s,
        app_options=options,
        changes=tuple(changes),
    )


def _rows_of(pods: np.ndarray, order: np.ndarray) -> np.ndarray:
    """The old rows of the pods when their applications, with `pods` pods each, are taken in `order`."""
    counts = pods[order].astype(np.int64)
    old_first = (np.cumsum(pods, dtype=np.int64) - pods)[order]
    new_first = np.cumsum(counts) - counts
    return np.repeat(old_first - new_first, counts) + np.arange(counts.sum())
