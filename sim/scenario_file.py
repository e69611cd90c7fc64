"""Scenario files: where they are found, what they are laid over, and how single values are set.

A file may say `extends:` with the name or path of another scenario or preset, or a list of them; later ones win, and
the file itself wins over all. Mappings are merged key by key, lists and values are replaced.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from sim.base.errors import InputError, near_miss
from sim.base.paths import Path as Keys
from sim.base.paths import format_path, parse_path
from sim.base.spec import Spec
from sim.base.yamltext import parse_yaml

Values = dict[str, Any]
"""A scenario as plain nested data, possibly partial."""

SCENARIO_FOLDERS: list[tuple[str, str]] = [("experiments", "scenarios")]
"""(package, folder inside it) where scenarios are found by name. The package is not imported."""
PRESET_FOLDER = Path(__file__).parent / "presets"
VERSION_PRESET = "kubernetes-"
"""Begins the names of the presets that the field `kubernetes` picks by itself."""

_TAGS = ("type", "dist", "kind")
"""Fields that say which kind of thing a mapping describes: another kind replaces it whole."""


@dataclass(frozen=True)
class Origin:
    """Where a scenario came from. Two scenarios with the same values are equal whatever their origins."""

    given: Values = field(default_factory=dict, compare=False)
    """What was written, all layers merged, before presets and defaults filled in the rest."""
    base_dir: str = field(default=".", compare=False)
    """Folder against which the scenario's relative paths are resolved."""
    subject: str = field(default="scenario", compare=False)
    """What error messages call it."""


def scenario_files() -> dict[str, Path]:
    """The built-in scenarios by name."""
    return _yaml_files(folder for package, inner in SCENARIO_FOLDERS for folder in _package_folders(package, inner))


def preset_files() -> dict[str, Path]:
    """The presets by name."""
    return _yaml_files([PRESET_FOLDER, PRESET_FOLDER / "calibrations"])


def _package_folders(package: str, inner: str) -> list[Path]:
    spec = importlib.util.find_spec(package)
    return [Path(home) / inner for home in (spec.submodule_search_locations or [])] if spec else []


def _yaml_files(folders: Any) -> dict[str, Path]:
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.yaml"))}


def versions() -> list[str]:
    """Kubernetes versions that have a preset, oldest first."""
    names = [name.removeprefix(VERSION_PRESET) for name in preset_files() if name.startswith(VERSION_PRESET)]
    return sorted(names, key=lambda version: [int(part) for part in version.split(".")])


@cache
def _preset(path: Path) -> Values:
    return read_values(path, path.name)


def version_preset(version: str) -> Values:
    """What a Kubernetes version sets in place of the defaults; nothing for a version without a preset."""
    path = preset_files().get(VERSION_PRESET + version)
    return copy.deepcopy(_preset(path)) if path else {}


def read_values(path: Path, subject: str) -> Values:
    """The mapping in one YAML file. `InputError` names file, line and column."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{subject}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{subject}: is not UTF-8 text: {error.reason} at byte {error.start}") from None
    return as_values(parse_yaml(text, subject), subject)


def as_values(data: Any, subject: str) -> Values:
    """`data` if it is a mapping; an empty document is an empty one."""
    if not isinstance(data, dict | None):
        raise InputError(f"{subject}: must be a mapping of fields to values, not {type(data).__name__}")
    return data or {}


def load_layers(name_or_path: str | Path) -> Origin:
    """Find a scenario by name or path and merge what it extends. `InputError` when anything cannot be read."""
    path, built_in = _find(str(name_or_path), Path("."), str(name_or_path))
    values = _merged(path, str(name_or_path), ())
    values.setdefault("name", path.stem)
    return Origin(values, "." if built_in else str(path.parent), str(name_or_path))


def layers_of_text(text: str, base_dir: str = ".", subject: str = "scenario") -> Origin:
    """As `load_layers`, of a scenario in a text."""
    values = as_values(parse_yaml(text, subject), subject)
    return Origin(_over_bases(values, Path(base_dir), subject, ()), base_dir, subject)


def _find(name: str, beside: Path, asked_by: str) -> tuple[Path, bool]:
    """(file, whether it is built in) for a name, or a path relative to `beside`."""
    if "/" in name or "\\" in name or name.endswith((".yaml", ".yml")):
        path = beside / Path(name).expanduser()
        if path.is_file():
            return path, False
        beside_it = [other.name for other in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = near_miss(path.name, beside_it) if beside_it else f"there is no scenario in {path.parent}"
        raise InputError(f"{asked_by}: there is no file {path}; {hint}")
    built_in = {**preset_files(), **scenario_files()}
    if name not in built_in:
        hint = near_miss(name, built_in)
        hint += f"{'' if hint.endswith('?') else '.'} For a file, write its path"
        raise InputError(f"{asked_by}: '{name}' is not the name of a scenario or preset; {hint}")
    return built_in[name], True


def _merged(path: Path, subject: str, below: tuple[Path, ...]) -> Values:
    """The values of a file over those it extends. below: the files that led here."""
    path = path.resolve()
    if path in below:
        chain = " -> ".join(step.name for step in (*below[below.index(path) :], path))
        raise InputError(f"{subject}: extends: {chain} goes round in a circle; take one `extends` out")
    if path.stem.startswith(VERSION_PRESET) and path.parent == PRESET_FOLDER.resolve():
        return {"kubernetes": path.stem.removeprefix(VERSION_PRESET)}  # the version brings its preset by itself
    return _over_bases(read_values(path, subject), path.parent, subject, (*below, path))


def _over_bases(values: Values, folder: Path, subject: str, below: tuple[Path, ...]) -> Values:
    bases = values.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise InputError(f"{subject}: extends: {bases!r} must be the name or path of a scenario, or a list of them")
    merged: Values = {}
    for base in bases:
        path, _ = _find(base, folder, f"{subject}: extends")
        inherited = _merged(path, f"{subject}: extends {base}", below)
        merged = merge(merged, {key: item for key, item in inherited.items() if key not in ("name", "description")})
    return merge(merged, values)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """`over` laid over `base`; neither is changed. Where both name another kind of plugin, `over` replaces."""
    merged = dict(base)
    for key, item in over.items():
        merged[key] = _merge_item(base.get(key), item)
    return merged


def _merge_item(below: Any, over: Any) -> Any:
    if not isinstance(over, Mapping):
        return copy.deepcopy(over)
    if isinstance(below, str) and not any(tag in over for tag in _TAGS):
        below = {"type": below}  # parameters for a plugin that the layer below names
    if not isinstance(below, Mapping) or any(tag in over and over[tag] != below.get(tag) for tag in _TAGS):
        below = {}
    return merge(below, over)


def parse_set(text: str) -> tuple[str, Any]:
    """`a.b.c=value` as (path, value); the value is read as YAML."""
    path, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"--set {text}: must be PATH=VALUE, for example nodes.count=2000")
    return path.strip(), parse_yaml(value, f"--set {text}")


def with_values(values: Values, sets: Mapping[str, Any]) -> Values:
    """A copy of `values` with the value at each path of `sets` put in place, whatever stood there."""
    changed = copy.deepcopy(values)
    for text, value in sets.items():
        try:
            keys = parse_path(text)
        except ValueError as error:
            raise InputError(f"{text}: {error}") from None
        _put(changed, keys, value)
    return changed


def _put(values: Values, keys: Keys, value: Any) -> None:
    """Put `value` at `keys`, opening what is on the way; `InputError` where nothing can be inside."""
    here: Any = values
    for depth, key in enumerate(keys):
        path = format_path(keys[: depth + 1])
        if isinstance(here, list):
            if not str(key).isdecimal() or int(key) >= len(here):
                raise InputError(f"{path}: is not in {format_path(keys[:depth])}, a list of {len(here)} entries")
            at: Any = int(key)
        else:
            at = key
        if depth == len(keys) - 1:
            here[at] = value
            return
        below = _opened(here[at] if isinstance(here, list) else here.get(at))
        if below is None:
            raise InputError(f"{format_path(keys)}: {path} is a single value and has nothing inside")
        here[at] = below
        here = below


def _opened(item: Any) -> Any:
    """`item` as something that values can be put into: a plugin's name gets room for its parameters."""
    if item is None:
        return {}
    if isinstance(item, str):
        return {"type": item}
    if isinstance(item, Spec):
        return item.model_dump(by_alias=True)
    if isinstance(item, tuple):
        return list(item)
    return item if isinstance(item, dict | list) else None
