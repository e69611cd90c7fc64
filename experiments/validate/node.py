"""Simulated against measured on the node: published starts, memory and density of runtimes, the kubelet's stages, pods' networks.

Each runtime takes its start from one published figure and its memory from another (`role` says calibrated); all else is predicted.
Rows are read from the table of published figures by what they say of system, workload and metric, so a row that was not there when
this was written is compared too. What no part of the model is about is listed with the reason.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.validate import network, node_images
from experiments.validate.node_bench import alone_s, burst, docker_run, fits, runtime_named, start_container, start_pod
from experiments.validate.truth import shared_folder
from sim.base.errors import InputError
from sim.kubelet.runtimes import RUNTIMES
from sim.kubelet.runtimes.virtual_machine import VirtualMachineSpec

if TYPE_CHECKING:
    import pandas as pd

PUBLISHED = "reference/validation_targets.csv"
HARD_DISK = 2.47
"""Factor on waiting that makes the published Docker start on a hard disk of that on an SSD; GCE's standard disks are hard disks."""
APPLICATION_S = {"empty": 0.0, "node": 1.365, "ruby": 1.337}
"""From the container's start to the application's first answer: gVisor's benchmark of 2020, the rows with runc less the empty one."""


@dataclass(frozen=True, slots=True)
class Row:
    """One compared figure."""

    name: str
    case: str
    metric: str
    unit: str
    measured: float
    simulated: float | None
    role: str = "predicted"
    """calibrated, predicted, or why it is outside the model."""
    aim_percent: float | None = 25.0

    @property
    def error_percent(self) -> float | None:
        if self.simulated is None or not self.measured:
            return None
        return 100 * (self.simulated / self.measured - 1)

    @property
    def verdict(self) -> str:
        error = self.error_percent
        if self.simulated is None:
            return "not modelled"
        if "upper_bound" in self.metric:
            return "holds" if self.simulated <= self.measured * 1.0001 else "BROKEN"
        if "lower_bound" in self.metric:
            return "holds" if self.simulated >= self.measured else "BROKEN"
        if error is None or self.aim_percent is None:
            return "shown"
        return "within" if abs(error) <= self.aim_percent else "MISSED"


Given = Mapping[str, str]
Answer = tuple[float, str]
"""(figure in seconds, bytes, 1/s or a count; role)."""


def _text(given: Given) -> str:
    return " ".join((given["system"], given["workload"], given["hardware"])).lower()


def _application(given: Given) -> str:
    found = re.search(r"\b(empty|node|ruby)\b application", given["workload"].lower())
    return found[1] if found else "empty"


def _docker_start(given: Given) -> Answer:
    """`docker run` with runc or runsc: the daemon's own part, the runtime's, and the application's."""
    text = _text(given)
    on_hard_disk = "hdd" in text or "n1-standard" in text
    docker = runtime_named("docker", disk_factor=HARD_DISK if on_hard_disk else 1.0)
    base_s = alone_s(docker, docker_run)
    if "runsc" in text or "gvisor" in text:
        base_s += alone_s(runtime_named("gvisor"), start_pod) - alone_s(runtime_named("containerd"), start_pod)
    application = _application(given)
    calibrated = application != "empty" and "runsc" not in text
    calibrated = calibrated or ("ssd" in text and "runc" not in text) or "hdd" in text
    return base_s + APPLICATION_S[application], "calibrated" if calibrated else "predicted"


def _virtual_machine(given: Given) -> VirtualMachineSpec:
    text = _text(given)
    for word, name in (
        ("cloud hypervisor", "kata-clh"),
        ("clh", "kata-clh"),
        ("firecracker", "firecracker"),
        ("rund", "rund"),
        ("hyper", "hyper"),
        ("clear containers 1", "clear-containers-1"),
        ("kvmtool", "clear-containers-1"),
        ("clear containers", "clear-containers-2"),
        ("kata", "kata-qemu"),
    ):
        if word in text:
            runtime = runtime_named(
                name, template="template" in text or name == "rund", same_page_merging="ksm" in text
            )
            assert isinstance(runtime, VirtualMachineSpec)
            return runtime
    raise KeyError(text)


def _machine_start(given: Given) -> Answer:
    """Through containerd to the workload: the sandbox and its container."""
    runtime = _virtual_machine(given)
    calibrated = runtime.label in ("kata-qemu", "kata-clh") and not runtime.template
    return alone_s(runtime, start_pod), "calibrated" if calibrated else "predicted"


def _template_speed_up(given: Given) -> Answer:
    with_s = alone_s(runtime_named("kata-qemu", template=True))
    return (1 - with_s / alone_s(runtime_named("kata-qemu"))) * 100, "calibrated"


def _guest_boot(given: Given) -> Answer:
    """From the order to start until the guest's init: Firecracker's boot without Kata's agent."""
    runtime = _virtual_machine(given)
    return runtime.boot_cpu_s + runtime.boot_wait_s.mean() - AGENT_S, "calibrated"


AGENT_S = 0.05
"""Of a guest's boot: Kata's agent after the kernel's init; our guess."""


def _monitor_start(given: Given) -> Answer:
    return _virtual_machine(given).monitor_cpu_s + MONITOR_WAIT_S, "calibrated"


MONITOR_WAIT_S = 4e-3
"""Of Firecracker's monitor start of 12 ms, what is not its 8 ms of work."""


def _memory(given: Given) -> Answer:
    """Memory a container, of as many as the row says; Kata's CI runs 20."""
    text = _text(given)
    count = int(found[1]) if (found := re.search(r"(\d+) sleeping", text)) else 20
    if "runsc" in text or "gvisor" in text:
        return runtime_named("gvisor").memory_bytes(count) / count, "calibrated"
    if "runc" in text:
        return runtime_named("containerd").memory_bytes(count) / count, "calibrated"
    runtime = _virtual_machine(given)
    calibrated = runtime.label == "kata-qemu"
    return runtime.memory_bytes(count) / count, "calibrated" if calibrated else "predicted"


def _monitor_memory(given: Given) -> Answer:
    """The monitor alone: Firecracker's without Kata's shim."""
    return _virtual_machine(given).monitor_memory_bytes - SHIM_BYTES, "calibrated"


SHIM_BYTES = 15_000_000


def _start_rate(given: Given) -> Answer:
    """Starts a second of a large node that is asked for many at once."""
    return burst(_virtual_machine(given), 1000, cores=LARGE_NODE_CORES).per_s, "predicted"


def _density(given: Given) -> Answer:
    found = re.search(r"(\d+) gb", _text(given))
    return fits(_virtual_machine(given), float(found[1] if found else 384) * 1e9, FUNCTION_BYTES), "predicted"


LARGE_NODE_CORES = 104
"""A large server of 2022."""
FUNCTION_BYTES = 100_000_000
"""What a function's container uses itself; our guess."""


def _size_variation(given: Given) -> Answer:
    return 0.0, "predicted"


def _against_docker(parameter: str) -> Callable[[Given], Answer]:
    def change(given: Given) -> Answer:
        before, after = (getattr(runtime_named(name), parameter) for name in ("docker", "containerd"))
        return (after / before - 1) * 100, "calibrated"

    return change


UNITS = {
    "ms": 1e-3,
    "s": 1.0,
    "MB": 1e6,
    "kB": 1e3,
    "KB": 1e3,
    "MiB": 2**20,
    "GB": 1e9,
    "%": 1.0,
    "1/s": 1.0,
    "count": 1.0,
    "x": 1.0,
    "min": 60.0,
}
MACHINES = r"kata|hyper|clear containers|firecracker|rund"
FIGURES: tuple[tuple[str, str, Callable[[Given], Answer]], ...] = (
    (r"kata.*templat|templat.*kata", r"speed|faster", _template_speed_up),
    (r"kata|hyper|clear containers", r"start|boot|to.workload|run_time|life", _machine_start),
    (r"firecracker", r"boot", _guest_boot),
    (r"firecracker", r"wall_time|vmm_start|start", _monitor_start),
    (r"firecracker", r"memory", _monitor_memory),
    (r"rund", r"rate", _start_rate),
    (MACHINES, r"density", _density),
    (MACHINES + r"|runc|runsc|gvisor", r"memory|footprint", _memory),
    (r"runc|runsc|gvisor", r"^start\w*_time$", _docker_start),
    (r"^docker", r"variation", _size_variation),
    (r"^docker", r"^start\w*_time$", _docker_start),
    (r"containerd.*docker", r"kubelet_cpu", _against_docker("status_cpu_s")),
    (r"containerd.*docker", r"runtime_cpu", _against_docker("list_cpu_s")),
    *node_images.FIGURES,
)
"""(what the row is about, its metric, how it is predicted), the first that fits."""
OUTSIDE: tuple[tuple[str, str, str], ...] = (
    (r"runc|runsc|gvisor", r"^time$|syscall", "what applications do inside their sandbox is not modelled"),
    (r"lightvm", r".", "Xen unikernels are no container runtime of Kubernetes"),
    (r"dirigent|knative", r".", "serverless control planes are not modelled"),
    *node_images.OUTSIDE,
)


def compare_published(path: Path | None = None) -> list[Row]:
    """Rows of the table of published figures that are about runtimes. path: another table of the same columns."""
    return [row for given in _table(path) if (row := _compared(given)) is not None]


def _table(path: Path | None) -> Iterator[Given]:
    if path is None:
        folder = shared_folder()
        path = (folder or Path("shared")) / PUBLISHED
    if not path.is_file():
        raise InputError(
            f"published figures: {path} is not there; set KUBEDES_SHARED to the folder that holds {PUBLISHED}"
        )
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        wanted = {"name", "system", "workload", "metric", "value", "unit", "hardware"}
        if lacking := wanted - set(reader.fieldnames or ()):
            raise InputError(f"{path}: has no column {', '.join(sorted(lacking))}")
        yield from reader


def _compared(given: Given) -> Row | None:
    text, metric = _text(given), given["metric"].lower()
    case = f"{given['system']}: {given['workload']}"
    for about, of_metric, reason in OUTSIDE:
        if re.search(about, given["system"].lower()) and re.search(of_metric, metric):
            return Row(given["name"], case, given["metric"], given["unit"], float(given["value"]), None, reason)
    for about, of_metric, predict in FIGURES:
        if re.search(about, text if "templat" in about else given["system"].lower()) and re.search(of_metric, metric):
            scale = UNITS.get(given["unit"])
            if scale is None:
                return Row(
                    given["name"],
                    case,
                    given["metric"],
                    given["unit"],
                    float(given["value"]),
                    None,
                    "its unit is not known here",
                )
            figure, role = predict(given)
            aim = None if given["unit"] == "%" else 25.0
            return Row(
                given["name"], case, given["metric"], given["unit"], float(given["value"]), figure / scale, role, aim
            )
    return None


def profiles(cores: float = 8, at_once: int = 30, seed: int = 1) -> list[dict[str, object]]:
    """Every runtime on one node: start alone, starts of a burst, memory of a pod, isolation. For the table and the notebook."""
    found = []
    for name in RUNTIMES:
        runtime = runtime_named(name)
        together = burst(runtime, at_once, cores, seed)
        found.append(
            {
                "runtime": name,
                "isolation": runtime.isolation.name.lower().replace("_", " "),
                "start_s": alone_s(runtime, seed=seed),
                "container_s": alone_s(runtime, start_container, seed=seed),
                f"p50_of_{at_once}_s": float(sorted(together.took_s)[at_once // 2]),
                f"last_of_{at_once}_s": together.all_s,
                "memory_mb": runtime.memory_bytes(1) / 1e6,
                "pods_in_64_gib": fits(runtime, 64 * 2**30, 100e6),
            }
        )
    return found


UNEXPLAINED = (
    "How a start divides into work, waiting and locks is our split; only its sum is published. So bursts are predictions of the split.",
    "The Docker start on a hard disk sets one factor on all waiting; gVisor's benchmark machine is taken to have such a disk.",
    "runsc starts 49 ms earlier than runc there, within the spread of that benchmark; the model has it start later.",
    "Kata's template saves 9 GB of 100 containers in its own documentation, 6.8 GB here: more of the guest is alike than merging finds.",
    "Hyper and Clear Containers: figures as remembered, no benchmark could be checked.",
    *node_images.UNEXPLAINED,
)


def frame(rows: list[Row]) -> pd.DataFrame:
    """The rows as a table."""
    import pandas as pd

    return pd.DataFrame(
        [
            {
                "row": row.name,
                "case": row.case[:60],
                "metric": row.metric,
                "unit": row.unit,
                "measured": row.measured,
                "simulated": row.simulated,
                "error_percent": row.error_percent,
                "role": row.role,
                "verdict": row.verdict,
            }
            for row in rows
        ]
    )


def stages(seed: int) -> pd.DataFrame:
    """The kubelet's stages of pods on hollow nodes, by rate; a line a figure. Empty where there are no such measurements."""
    import pandas as pd

    from experiments.validate import life_cycle
    from experiments.validate.judge import lines
    from experiments.validate.truth import SERIES, find

    of_kubelet = {name: metric for name, metric in life_cycle.METRICS.items() if name.startswith(KUBELET_STAGES)}
    found = []
    for truth in find(None, list(SERIES)):
        for row in life_cycle.rows(truth):
            if row.unusable or not row.setup.rate:
                continue
            outcome = life_cycle.replay(row.setup, truth.calibration, 0.0, seed)
            found += [
                line for line in lines(row, outcome, of_kubelet) if line["metric"].endswith((" mean", " p50", " p99"))
            ]
    return pd.DataFrame(found)


KUBELET_STAGES = (
    "bind_seen_to_first_kubelet_status",
    "first_kubelet_status_to_running_seen",
    "delete_mark_to_terminated_status",
    "delete_mark_to_gone",
)


def tables(seed: int = 1, published: Path | None = None) -> dict[str, pd.DataFrame]:
    """All tables by title."""
    import pandas as pd

    found = {
        "Published: runtimes; a figure each calibrates start and memory, the others are predicted": frame(
            compare_published(published)
        ),
        "Runtimes: one node of 8 cores, as modelled": pd.DataFrame(profiles(seed=seed)),
    }
    if shared_folder() is not None:
        found["Stages: the kubelet's, a real one of 1.20 on hollow nodes, by rate of pods"] = stages(seed)
        found["Set-up: pods' networks, by how many at a time"] = network.frame(
            list(network.set_up_rows(network.measurements(None), seed))
        )
    return found
