"""A sweep: one cluster in several designs, each run several times with the same random streams.

    sweep = experiments.Sweep(cluster, replications=10, axes={
        "scheduler.percentage_of_nodes_to_score": [0, 50, 100], "nodes.pools.general.count": [100, 500]})

The same as a file:

    scenario: public-cloud          # a name, or a path that starts at this file
    set: {horizon_s: 120}           # over the scenario, in every design
    replications: 10
    mode: grid                      # grid: every combination; zip: values side by side; list: axes is a list of designs
    axes:
      scheduler.percentage_of_nodes_to_score: [0, 50, 100]
      workload.rate_per_s: {from: 10, to: 50, step: 10}
    until: {metric: pod_startup_p99, within: 0.05}      # optional: more replications where it is not known so well
    metrics: [pod_startup_p99, image_pull_mean]         # optional: what the command line prints of each design

Standing experiments have a name: `from_file("etcd-disk")`. Each is a sweep in experiments/scenarios/standing with a page
beside it on what it asks and what came out.

Common random numbers: replication i of every design draws from `Streams(seed, i)`, so two designs meet the same pods
and their difference is known better than either of them.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from experiments.metrics import read_metric
from sim.base.errors import InputError, Problems, near_miss
from sim.base.paths import format_path, parse_path
from sim.base.spec import Choice
from sim.base.yamltext import parse_yaml
from sim.scenario import Scenario
from sim.scenario_file import as_values, parse_set
from sim.workload import WORKLOADS, WorkloadSpec

Mode = Literal["grid", "zip", "list"]
Values = Mapping[str, Any]
"""Path in the scenario -> the value there."""

HASH_DIGITS = 12
"""Of the SHA-256 that names a design's folder: a collision among a million designs has odds of one in 500."""
MOST_DESIGNS = 100_000
"""A larger grid is a slip of the pen."""
MOST_REPLICATIONS = 100_000

STANDING = Path(__file__).parent / "scenarios" / "standing"
"""Folder of the sweeps that have a name."""

_FILE_KEYS = ("name", "scenario", "set", "seed", "replications", "mode", "axes", "until", "metrics")
_RANGE_KEYS = ("from", "to", "step", "count", "spacing")
_NOT_AN_AXIS = {
    "seed": "replications vary the random numbers, the same way in every design: set `replications`",
    "description": "it changes no run",
}


@dataclass(frozen=True)
class Precision:
    """When a design has been replicated enough: the interval of a metric's mean is narrow."""

    metric: str
    """As in `pod_startup_p99`: a row of the summary and a column of it."""
    within: float = 0.05
    """Half the interval, as a share of the mean."""
    confidence: float = 0.95
    at_most: int = 100
    """Replications after which a design is left as it is."""


@dataclass(frozen=True)
class Design:
    """One fully resolved scenario of an experiment."""

    name: str
    """Says what is special about it: `scheduler.percentage_of_nodes_to_score=50`."""
    values: Values
    """What was put over the sweep's scenario."""
    scenario: Scenario
    hash: str
    """Names its folder: equal for equal scenarios, whatever they are called."""


@dataclass(frozen=True)
class Sweep:
    """A set of designs of one cluster. Making one checks nothing; `designs()` does, and `run` calls it first.

    cluster: the scenario that all designs start from. load: a workload in place of the scenario's own; its fields are
    then found under `workload`. axes: path -> values; with mode `list` a list of designs, each path -> value, and
    `name` if it should have one. A range is `{from, to, step}` or `{from, to, count, spacing: linear|log}`.
    replications: of every design. seed: in place of the scenario's. until: go on replicating until a metric is known. metrics: what
    is printed of each design.
    """

    cluster: Scenario
    load: WorkloadSpec | None = None
    axes: Mapping[str, Any] | Sequence[Values] = field(default_factory=dict)
    replications: int = 1
    mode: Mode = "grid"
    seed: int | None = None
    until: Precision | None = None
    name: str = ""
    metrics: Sequence[str] = ("pod_startup_p99",)

    @classmethod
    def from_file(cls, path: str | Path, sets: Mapping[str, Any] | Iterable[str] = ()) -> Sweep:
        """Read a sweep file, or the standing experiment of that name. sets: values over its scenario and its `set`.

        `InputError` lists what is wrong.
        """
        place = Path(path)
        if str(path) in standing():
            place = standing()[str(path)]
        elif place.suffix not in (".yaml", ".yml") and not place.exists():
            raise InputError(f"{path}: is neither a sweep file nor a standing experiment; {near_miss(str(path), standing())}")
        try:
            text = place.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: cannot be read: {error}") from None
        return cls.from_text(text, place.parent, sets, str(path), place.stem)

    @classmethod
    def from_text(
        cls,
        text: str,
        base_dir: str | Path = ".",
        sets: Mapping[str, Any] | Iterable[str] = (),
        subject: str = "sweep",
        name: str = "",
    ) -> Sweep:
        """As `from_file`, of a text; paths in it start at `base_dir`."""
        data = as_values(parse_yaml(text, subject), subject)
        problems = Problems(subject)
        for key in data.keys() - set(_FILE_KEYS):
            problems.add(str(key), data[key], "is no field of a sweep", near_miss(str(key), _FILE_KEYS))
        asked = data.get("scenario")
        if not isinstance(asked, str):
            problems.add("scenario", asked, "must be the name or path of a scenario")
        if not isinstance(data.get("set", {}), dict):
            problems.add("set", data["set"], "must map paths to values", "such as {nodes.count: 2000}")
        until = _precision(data.get("until"), problems)
        problems.raise_if_any()
        path = str(asked)
        if "/" in path or path.endswith((".yaml", ".yml")):
            path = str(Path(base_dir) / path)
        cluster = Scenario.load(path, data.get("set", {}))
        if sets:
            cluster = cluster.replace(sets if isinstance(sets, Mapping) else dict(map(parse_set, sets)))
        return cls(
            cluster,
            axes=data.get("axes") or {},
            replications=data.get("replications", 1),
            mode=data.get("mode", "grid"),
            seed=data.get("seed"),
            until=until,
            name=str(data.get("name", name)),
            metrics=data.get("metrics", cls.metrics),
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths that differ between designs, in the order they were given."""
        if isinstance(self.axes, Mapping):
            return tuple(self.axes)
        return tuple(dict.fromkeys(path for design in self.axes for path in design if path != "name"))

    def designs(self) -> list[Design]:
        """Every design, fully resolved and checked; `InputError` lists everything that would keep one from running."""
        problems = Problems(f"sweep {self.name}".strip())
        self._check_settings(problems)
        combinations = self._combinations(problems)
        problems.raise_if_any()
        base = self._base()
        names = _names(combinations, self.paths)
        designs: list[Design] = []
        wrong: dict[str, list[str]] = {}
        for values, name in zip(combinations, names, strict=True):
            try:
                scenario = base.replace(values) if values else base
                scenario.check()
            except InputError as error:
                lines = str(error).splitlines()
                for line in lines[1:] if len(lines) > 1 else lines:
                    wrong.setdefault(line.strip(), []).append(name)
            else:
                plain = {path: value for path, value in values.items() if path != "name"}
                designs.append(Design(name, plain, scenario, scenario_hash(scenario)))
        if wrong:
            raise InputError(_listing(problems.subject, wrong, len(combinations)))
        _refuse_twins(designs, problems)
        return designs

    def _base(self) -> Scenario:
        over: dict[str, Any] = {}
        if self.load is not None:
            over["workload"] = {"type": Choice(WORKLOADS).name_of(self.load), **self.load.model_dump(by_alias=True)}
        if self.seed is not None:
            over["seed"] = self.seed
        return self.cluster.replace(over) if over else self.cluster

    def _check_settings(self, problems: Problems) -> None:
        if self.load is not None and not isinstance(self.load, WorkloadSpec):
            problems.add(
                "load", type(self.load).__name__, "must be a workload, such as workloads.Poisson(rate_per_s=50)",
                "a load that is drawn already would be the same in every replication",
            )
        if self.mode not in get_args(Mode):
            problems.add("mode", self.mode, "is no way to combine axes", near_miss(str(self.mode), get_args(Mode)))
        if not _is_whole(self.replications) or not 1 <= self.replications <= MOST_REPLICATIONS:
            problems.add("replications", self.replications, f"must be a whole number from 1 to {MOST_REPLICATIONS:,}")
        if self.seed is not None and (not _is_whole(self.seed) or self.seed < 0):
            problems.add("seed", self.seed, "must be a whole number from 0")
        if isinstance(self.metrics, str) or not isinstance(self.metrics, Sequence):
            problems.add("metrics", self.metrics, "must be a list of metrics", "[pod_startup_p99]")
        else:
            for number, name in enumerate(self.metrics):
                read_metric(name, f"metrics[{number}]", problems, statistic=True)
        if self.until is not None:
            read_metric(self.until.metric, "until.metric", problems, statistic=True)
            _check_between(problems, "until.within", self.until.within, 0, 1)
            _check_between(problems, "until.confidence", self.until.confidence, 0, 1)
            if not _is_whole(self.until.at_most) or self.until.at_most < 2:
                problems.add("until.at_most", self.until.at_most, "must be a whole number from 2")

    def _combinations(self, problems: Problems) -> list[dict[str, Any]]:
        """The values of each design; `problems` gets what is wrong with the axes."""
        if self.mode == "list":
            return self._listed(problems)
        if not isinstance(self.axes, Mapping):
            problems.add("axes", type(self.axes).__name__, f"must map paths to values in mode '{self.mode}'",
                         "a list of designs needs mode: list")
            return []
        axes: dict[str, list[Any]] = {}
        for path, given in self.axes.items():
            _check_path(str(path), f"axes.{path}", problems)
            axes[str(path)] = _axis_values(given, f"axes.{path}", problems)
        if problems:
            return []
        if self.mode == "zip":
            lengths = {path: len(values) for path, values in axes.items()}
            if len(set(lengths.values())) > 1:
                problems.add("axes", lengths, "must all have the same number of values in mode 'zip'")
                return []
            return [dict(zip(axes, row, strict=True)) for row in zip(*axes.values(), strict=True)] or [{}]
        count = math.prod(map(len, axes.values()))
        if count > MOST_DESIGNS:
            problems.add("axes", count, f"designs are more than {MOST_DESIGNS:,}", "take values or axes out")
            return []
        return [dict(zip(axes, row, strict=True)) for row in itertools.product(*axes.values())]

    def _listed(self, problems: Problems) -> list[dict[str, Any]]:
        if isinstance(self.axes, Mapping | str) or not all(
            isinstance(design, Mapping) for design in self.axes
        ):
            problems.add("axes", self.axes, "must be a list of designs in mode 'list'", "each a mapping of paths to values")
            return []
        if not self.axes:
            problems.add("axes", [], "has no designs")
        for number, design in enumerate(self.axes):
            for path in design:
                _check_path(str(path), f"axes[{number}].{path}", problems)
        return [{str(path): _plain(value) for path, value in design.items()} for design in self.axes]


def standing() -> dict[str, Path]:
    """The standing experiments' files by name."""
    return {path.stem: path for path in sorted(STANDING.glob("*.yaml"))}


def scenario_hash(scenario: Scenario) -> str:
    """Equal for scenarios whose runs are equal: everything but the name and the description."""
    values = scenario.model_dump(by_alias=True, exclude={"name", "description"})
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_DIGITS]


def _precision(given: Any, problems: Problems) -> Precision | None:
    if given is None:
        return None
    known = ("metric", "within", "confidence", "at_most")
    if not isinstance(given, dict) or "metric" not in given:
        problems.add("until", given, "must be a mapping with `metric`", "such as {metric: pod_startup_p99, within: 0.05}")
        return None
    for key in given.keys() - set(known):
        problems.add(f"until.{key}", given[key], "is not known here", near_miss(str(key), known))
    return Precision(**{key: given[key] for key in known if key in given})


def _check_between(problems: Problems, path: str, value: Any, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low < value < high:
        problems.add(path, value, f"must be between {low} and {high}")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_path(path: str, where: str, problems: Problems) -> None:
    if path in _NOT_AN_AXIS:
        problems.add(where, path, "cannot be an axis", _NOT_AN_AXIS[path])
        return
    try:
        parse_path(path)
    except ValueError as error:
        problems.add(where, path, str(error))


def _axis_values(given: Any, where: str, problems: Problems) -> list[Any]:
    """The values of one axis: a list, or a range."""
    if isinstance(given, Mapping):
        return _range(given, where, problems)
    if isinstance(given, str) or not isinstance(given, Iterable):
        problems.add(where, given, "must be a list of values, or a range", f"[{given}], or {{from: 1, to: 9, step: 2}}")
        return []
    values = [_plain(value) for value in given]
    if not values:
        problems.add(where, [], "has no values")
    return values


def _range(given: Mapping[str, Any], where: str, problems: Problems) -> list[Any]:
    for key in given.keys() - set(_RANGE_KEYS):
        problems.add(f"{where}.{key}", given[key], "is no part of a range", near_miss(str(key), _RANGE_KEYS))
    numbers = {key: given[key] for key in _RANGE_KEYS[:-1] if key in given}
    bad = {key: value for key, value in numbers.items() if isinstance(value, bool) or not isinstance(value, int | float)
           or not math.isfinite(value)}
    for key, value in bad.items():
        problems.add(f"{where}.{key}", value, "must be a number")
    if not {"from", "to"} <= numbers.keys() or ("step" in numbers) == ("count" in numbers):
        problems.add(where, dict(given), "is no range", "write {from: 10, to: 50, step: 10} or {from: 1, to: 100, count: 5, spacing: log}")
        return []
    if bad or problems:
        return []
    first, last = numbers["from"], numbers["to"]
    whole = _is_whole(first) and _is_whole(last)
    if "step" in numbers:
        return _steps(first, last, numbers["step"], whole and _is_whole(numbers["step"]), where, problems)
    count, spacing = numbers["count"], given.get("spacing", "linear")
    if not _is_whole(count) or not 1 <= count <= MOST_DESIGNS:
        problems.add(f"{where}.count", count, f"must be a whole number from 1 to {MOST_DESIGNS:,}: the range has no values")
    elif spacing not in ("linear", "log"):
        problems.add(f"{where}.spacing", spacing, "must be linear or log")
    elif spacing == "log" and min(first, last) <= 0:
        problems.add(where, dict(given), "must have both ends above 0 for spacing: log")
    else:
        points = (np.geomspace if spacing == "log" else np.linspace)(first, last, count).tolist()
        return list(dict.fromkeys(round(point) for point in points)) if whole else points
    return []


def _steps(first: float, last: float, step: float, whole: bool, where: str, problems: Problems) -> list[Any]:
    """From `first` to `last` inclusive; the last value counts when it is met within rounding."""
    if step == 0:
        problems.add(f"{where}.step", step, "must not be 0")
        return []
    count = math.floor((last - first) / step + 1e-9) + 1
    if count < 1:
        problems.add(where, {"from": first, "to": last, "step": step}, "has no values", "the step leads away from `to`")
        return []
    if count > MOST_DESIGNS:
        problems.add(where, count, f"values are more than {MOST_DESIGNS:,}", "take a larger step")
        return []
    return [first + step * i for i in range(count)] if whole else [float(f"{first + step * i:.12g}") for i in range(count)]


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's."""
    return value.item() if isinstance(value, np.generic) else value


def _names(combinations: Sequence[Values], paths: Sequence[str]) -> list[str]:
    """A readable name a design: its own, or its values by the shortest paths that tell them apart."""
    labels = _labels(paths)
    names = []
    for values in combinations:
        parts = [f"{labels[path]}={_text(value)}" for path, value in values.items() if path != "name"]
        names.append(str(values["name"]) if "name" in values else ", ".join(parts) or "as given")
    times = Counter(names)
    return [f"{name} #{number}" if times[name] > 1 else name for number, name in enumerate(names, 1)]


def _labels(paths: Sequence[str]) -> dict[str, str]:
    """Path -> its last two parts, or more where two would be called the same."""
    keys = {path: parse_path(path) for path in paths}
    labels = {}
    for path, mine in keys.items():
        others = [other for name, other in keys.items() if name != path]
        parts = min(2, len(mine))
        while parts < len(mine) and any(other[-parts:] == mine[-parts:] for other in others):
            parts += 1
        labels[path] = format_path(mine[-parts:])
    return labels


def _text(value: Any) -> str:
    if isinstance(value, Mapping):
        kind = value.get("type", value.get("dist"))
        inner = [f"{key}={_text(item)}" for key, item in value.items() if key not in ("type", "dist")]
        return f"{kind or ''}({' '.join(inner)})" if inner else str(kind)
    if isinstance(value, list | tuple):
        return "[" + " ".join(map(_text, value)) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _listing(subject: str, wrong: Mapping[str, Sequence[str]], designs: int) -> str:
    """All problems, each once, with the designs that have it."""
    lines = [f"{subject}: {len(wrong)} problem{'s' if len(wrong) > 1 else ''}"]
    for line, names in wrong.items():
        where = "" if len(names) == designs else f" (in {names[0]}{f' and {len(names) - 1} more' if len(names) > 1 else ''})"
        lines.append(f"  {line}{where}")
    return "\n".join(lines)


def _refuse_twins(designs: Sequence[Design], problems: Problems) -> None:
    first: dict[str, Design] = {}
    for design in designs:
        other = first.setdefault(design.hash, design)
        if other is not design:
            problems.add("axes", design.name, f"is the same scenario as {other.name}", "give each design once")
    problems.raise_if_any()
