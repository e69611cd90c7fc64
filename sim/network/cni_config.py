"""Reads CNI network configuration: `.conf` and `.conflist` JSON of cniVersion 0.2.0 and later, with chained plug-ins.

What is read becomes the name of a plug-in of this simulator with its parameters, so a cluster's own file can stand in a
scenario (`network.cni_conf`). All that is wrong is reported at once, each with its path in the file.

Sources: CNI specification 0.4.0 and 1.0.0; containernetworking/plugins (bridge, host-local, portmap, bandwidth,
tuning); Calico's and flannel's CNI plug-ins.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from sim.base.errors import Problems, near_miss
from sim.network.addresses import ranges_of

CHAINED = ("portmap", "bandwidth", "tuning", "firewall", "sbr", "loopback")
"""Plug-ins that stand behind a main one and change what it made."""

MAIN = ("bridge", "calico", "flannel", "ptp", "macvlan", "ipvlan", "host-device")
IPAM = ("host-local", "calico-ipam", "dhcp", "static")

SIMULATED: dict[str, str] = {"bridge": "bridge", "calico": "calico-bgp", "flannel": "flannel-vxlan"}
"""Main plug-ins of a file -> data path here. Calico and flannel say their encapsulation elsewhere: name it in the scenario."""

VERSIONS = re.compile(r"(0\.[2-9]\.\d+|1\.[0-9]+\.\d+)")


@dataclass(frozen=True)
class NetworkConfiguration:
    """One network configuration, checked."""

    name: str
    version: str
    plugin: str
    """The main plug-in's type."""
    chained: tuple[str, ...]
    """Types behind it, in order: each is one more program started for a pod."""
    mtu_bytes: int | None
    ip_masquerade: bool
    ipam: str
    subnets: tuple[IPv4Network, ...]
    ranges: tuple[tuple[int, int], ...]
    """host-local: first and last address that a pod may get, both included."""
    ingress_bit_per_s: float | None = None
    egress_bit_per_s: float | None = None
    given: dict[str, Any] = field(default_factory=dict, compare=False)


def read_configuration(path: str | Path) -> NetworkConfiguration:
    """A configuration file. InputError with everything that is wrong in it."""
    problems = Problems(str(path))
    try:
        document = json.loads(Path(path).read_text())
    except OSError as error:
        problems.add(
            "file", str(path), f"cannot be read ({error.strerror})", "relative paths start at the scenario's folder"
        )
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        problems.add("file", str(path), f"is not JSON ({error})", "CNI configuration is JSON, also in .conf files")
    problems.raise_if_any()
    return parse_configuration(document, str(path))


def parse_configuration(document: Any, subject: str = "CNI configuration") -> NetworkConfiguration:
    """The same from a parsed document."""
    problems = Problems(subject)
    if not isinstance(document, dict):
        problems.add("", document, "must be an object with cniVersion, name and type or plugins")
        problems.raise_if_any()
    version = document.get("cniVersion", "0.2.0")
    if not isinstance(version, str) or not VERSIONS.fullmatch(version):
        problems.add("cniVersion", version, "must be 0.2.0 or later, up to 1.x")
    name = document.get("name")
    if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*", name):
        problems.add("name", name, "must be given: letters, digits, '_', '.' and '-'")
    is_list = "plugins" in document
    entries: Any = document["plugins"] if is_list else [document]
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        problems.add("plugins", entries, "must be a list of objects with at least one")
        problems.raise_if_any()

    def path_of(index: int, key: str) -> str:
        return f"plugins[{index}].{key}" if is_list else key

    types = []
    for index, entry in enumerate(entries):
        kind = entry.get("type")
        known = (*MAIN, *CHAINED)
        if kind not in known:
            problems.add(path_of(index, "type"), kind, "is no known plug-in type", near_miss(str(kind), known))
        elif index == 0 and kind in CHAINED:
            problems.add(
                path_of(0, "type"),
                kind,
                "cannot stand first: it changes an interface that another made",
                "put the main plug-in, for example bridge, before it",
            )
        elif kind in MAIN and kind not in SIMULATED:
            problems.add(path_of(index, "type"), kind, "is not simulated", f"simulated: {', '.join(SIMULATED)}")
        types.append(str(kind))
    main = entries[0]
    mtu = main.get("mtu")
    if mtu is not None and (not isinstance(mtu, int) or isinstance(mtu, bool) or not 68 <= mtu <= 65535):
        problems.add(path_of(0, "mtu"), mtu, "must be a number of bytes from 68 to 65535")
    ipam, subnets, ranges = _read_ipam(main, types[0], lambda key: path_of(0, key), problems)
    limits = _bandwidth(entries)
    problems.raise_if_any()
    return NetworkConfiguration(
        str(name),
        version,
        types[0],
        tuple(types[1:]),
        mtu or None,
        bool(main.get("ipMasq", False)),
        ipam,
        subnets,
        ranges,
        limits.get("ingressRate"),
        limits.get("egressRate"),
        document,
    )


def _read_ipam(
    main: dict[str, Any], kind: str, path_of: Callable[[str], str], problems: Problems
) -> tuple[str, tuple[IPv4Network, ...], tuple[tuple[int, int], ...]]:
    ipam = main.get("ipam")
    if ipam is None and kind == "flannel":  # its own ipam section is made from the node's lease
        return "host-local", (), ()
    if not isinstance(ipam, dict) or not ipam:
        problems.add(
            path_of("ipam"),
            ipam,
            "must be given: a pod without an address cannot be reached",
            'for example {"type": "host-local", "subnet": "10.22.0.0/16"}',
        )
        return "", (), ()
    kind = str(ipam.get("type"))
    if kind not in IPAM:
        problems.add(path_of("ipam.type"), ipam.get("type"), "is no known IPAM plug-in", near_miss(kind, IPAM))
        return "", (), ()
    if kind != "host-local":
        return kind, (), ()
    sets = ipam.get("ranges")
    if sets is None:
        sets = [[{key: ipam[key] for key in ("subnet", "rangeStart", "rangeEnd") if key in ipam}]]
        place = "ipam"
    else:
        place = "ipam.ranges"
    found: list[tuple[IPv4Network, int | None, int | None]] = []
    for i, group in enumerate(sets if isinstance(sets, list) else []):
        for j, item in enumerate(group if isinstance(group, list) else []):
            here = place if place == "ipam" else f"{place}[{i}][{j}]"
            if (one := _read_range(item, path_of(here), problems)) is not None:
                found.append(one)
    if not found and not problems:
        problems.add(path_of(place), sets, "must name at least one subnet")
    for i, (first, _, _) in enumerate(found):
        for second, _, _ in found[i + 1 :]:
            if first.overlaps(second):
                problems.add(
                    path_of(place), f"{first} and {second}", "overlap; each address may be given by one range only"
                )
    return kind, tuple(item[0] for item in found), tuple(ranges_of(found))


def _read_range(item: Any, place: str, problems: Problems) -> tuple[IPv4Network, int | None, int | None] | None:
    text = item.get("subnet") if isinstance(item, dict) else None
    try:
        subnet = IPv4Network(text)
    except (AddressValueError, ValueError, TypeError):
        problems.add(f"{place}.subnet", text, "must be an IPv4 subnet such as 10.22.0.0/16, without host bits")
        return None
    bounds: dict[str, int | None] = {"rangeStart": None, "rangeEnd": None}
    for key in bounds:
        if key not in item:
            continue
        try:
            address = IPv4Address(item[key])
        except AddressValueError:
            problems.add(f"{place}.{key}", item[key], "must be an IPv4 address")
            return None
        if address not in subnet:
            problems.add(f"{place}.{key}", item[key], f"must lie in the subnet {subnet}")
            return None
        bounds[key] = int(address)
    start, end = bounds["rangeStart"], bounds["rangeEnd"]
    if start is not None and end is not None and end < start:
        problems.add(f"{place}.rangeEnd", item["rangeEnd"], f"must not be before rangeStart ({item['rangeStart']})")
        return None
    return subnet, start, end


def _bandwidth(entries: list[dict[str, Any]]) -> dict[str, float]:
    """Rates of a chained `bandwidth` plug-in, in bit/s."""
    for entry in entries:
        if entry.get("type") == "bandwidth":
            given = entry.get("runtimeConfig", {}).get("bandWidth", entry)
            return {key: float(given[key]) for key in ("ingressRate", "egressRate") if given.get(key)}
    return {}
