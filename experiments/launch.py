"""Runs the designs of an experiment on all cores, or on a cluster: one path for every executor.

A task is one run. Whoever executes it writes the run's folder under another name and renames it when it is whole
(see `experiments.store`), so workers may be killed at any moment, and the same run may even be made twice.
"""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.progress import SweepProgress
from experiments.store import WORK as WORK_FOLDER
from experiments.store import (
    ExperimentFolder,
    Runs,
    holds,
    identity_of,
    put_in_place,
    run_folder,
    write_failure,
    write_run,
)
from experiments.store import open as open_runs
from experiments.sweep import Design, Precision, Sweep
from sim.base.errors import InputError, KubedesError, OutputError, Problems
from sim.scenario import Scenario

ATTEMPTS = 3
"""A run whose worker was lost is given to another this often, then kept as failed."""
RUNS_PER_WORKER = 200
"""A worker process is replaced after so many runs: whatever a library leaks is bounded."""
MEMORY_SHARE = 0.8
"""Of the machine's memory, shared equally by its workers: a worker that holds more is replaced after its run."""
AHEAD = 64
"""Runs handed to a cluster and not yet answered: enough to keep it busy, few enough to keep here."""
BATCH = 4
"""Replications added at once while a precision is sought; not by the number of workers, which must not change results."""


@dataclass(frozen=True, slots=True)
class Task:
    """One run, as it travels to a worker."""

    scenario: Scenario
    hash: str
    replication: int
    folder: str
    """The experiment's folder."""
    identity: str
    """Of the experiment: a folder of that path on another machine may be something else."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a worker answers. The results are in the run's folder."""

    hash: str
    replication: int
    error: str
    """Empty: it went well."""
    wall_s: float
    """Of the whole task."""
    simulate_s: float
    """Of the simulation alone."""
    resident_bytes: int
    """Memory that the worker's process holds."""
    files: dict[str, bytes] | None = None
    """The run's folder, from a machine that does not see the experiment's."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What an execution took."""

    runs: int
    failed: int
    wall_s: float
    """From the first task to the last answer."""
    simulate_s: float
    """Summed over the runs."""
    task_s: float
    """The same with writing the results."""
    worker_bytes: int
    """Most memory that a worker held after a run."""


def run(
    sweep: Sweep,
    out: str | os.PathLike[str],
    workers: int | None = None,
    on: str | Executor | None = None,
    *,
    retry_failed: bool = False,
    quiet: bool = False,
) -> Runs:
    """Run what is not yet in the folder `out`, and return all of it.

    workers: processes on this machine, default one a core; 0 runs in this process. on: a Dask cluster
    (`tcp://host:8786` or its scheduler file) or any `concurrent.futures.Executor`, in place of processes here.
    retry_failed: run again what failed before. quiet: no progress.

    A run that fails is a row of the result. `InputError` before the first run for a sweep or folder that cannot be
    used; `OutputError` when the disk is full, `KeyboardInterrupt` on Ctrl-C: both can be resumed by the same call.
    """
    designs = sweep.designs()
    about = {
        "kind": "sweep",
        "identity": identity_of("sweep", (design.hash for design in designs)),
        "name": sweep.name or sweep.cluster.name,
        "scenario": sweep.cluster.name,
        "paths": list(sweep.paths),
        "seed": designs[0].scenario.seed,
    }
    with ExperimentFolder(out, about) as folder, Launcher(folder, workers, on, quiet) as launcher:
        if retry_failed:
            folder.forget_failed()
        folder.expect(designs, sweep.replications)
        launcher.run((design, rep) for design in designs for rep in range(sweep.replications))
        if sweep.until is not None:
            _replicate_until(launcher, folder, designs, sweep.replications, sweep.until)
        folder.tidy()
    return open_runs(out)


def _replicate_until(
    launcher: Launcher, folder: ExperimentFolder, designs: Sequence[Design], replications: int, until: Precision
) -> None:
    """Add replications to each design whose metric is not known well enough."""
    from experiments.statistics import precise_enough

    count = replications
    open_designs = list(designs)
    while open_designs and count < until.at_most:
        runs = open_runs(folder.path)
        values = runs.values(until.metric, [design.hash for design in open_designs])
        known = {scenario: group.to_numpy(float) for scenario, group in values.groupby("scenario", observed=True)["value"]}
        open_designs = [
            design for design in open_designs
            if design.hash in known and not precise_enough(known[design.hash], until.within, until.confidence)
        ]
        upto = min(count + BATCH, until.at_most)
        launcher.run((design, rep) for design in open_designs for rep in range(count, upto))
        count = upto


class Launcher:
    """Runs tasks on workers; used as a context, which ends them."""

    def __init__(
        self, folder: ExperimentFolder, workers: int | None = None, on: str | Executor | None = None, quiet: bool = False
    ) -> None:
        problems = Problems("run")
        if workers is not None and (isinstance(workers, bool) or not isinstance(workers, int) or workers < 0):
            problems.add("workers", workers, "must be a whole number from 0 (in this process)")
        if on is not None and not isinstance(on, str | Executor):
            problems.add("on", type(on).__name__, "must be an address, a scheduler file or an executor")
        problems.raise_if_any()
        self._folder = folder
        self._workers = workers if workers is not None else len(os.sched_getaffinity(0)) if hasattr(
            os, "sched_getaffinity") else os.cpu_count() or 1
        self._on = on
        self._quiet = quiet
        self._executor: Executor | None = None
        self._closing = ExitStack()
        self.spent = Spent(0, 0, 0.0, 0.0, 0.0, 0)

    def __enter__(self) -> Launcher:
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def run(self, wanted: Iterable[tuple[Design, int]]) -> None:
        """Run each (design, replication) that is not there yet, and wait for all."""
        folder = self._folder
        tasks = [
            Task(design.scenario, design.hash, rep, str(folder.path), folder.identity)
            for design, rep in wanted
            if not folder.is_done(design.hash, rep)
        ]
        if not tasks:
            return
        if self._executor is None:
            self._executor = self._start()
        local = isinstance(self._executor, LocalWorkers | InThisProcess)
        ahead = min(AHEAD, max(2 * self._workers, 1)) if local else AHEAD
        with SweepProgress(len(tasks), self._quiet) as progress:
            self.spent = _drive(tasks, self._executor, ahead, folder, progress)

    def _start(self) -> Executor:
        if isinstance(self._on, Executor):
            return self._on
        if isinstance(self._on, str):
            return self._closing.enter_context(_dask(self._on))
        if self._workers == 0:
            return InThisProcess()
        _warm()
        return self._closing.enter_context(LocalWorkers(self._workers))


def _drive(
    tasks: Sequence[Task], executor: Executor, ahead: int, folder: ExperimentFolder, progress: SweepProgress
) -> Spent:
    """Keep `ahead` tasks with the executor until all are answered."""
    begun = time.perf_counter()
    waiting = deque((task, 1) for task in tasks)
    running: dict[Future[Outcome], tuple[Task, int]] = {}
    failed, simulate_s, task_s, largest = 0, 0.0, 0.0, 0
    try:
        while waiting or running:
            while waiting and len(running) < ahead:
                task, attempt = waiting.popleft()
                running[executor.submit(execute, task)] = task, attempt
            done, _ = wait(running, timeout=1.0, return_when=FIRST_COMPLETED)
            for future in done:
                task, attempt = running.pop(future)
                try:
                    outcome = future.result()
                except KubedesError:  # the disk, or something else that no other worker would do better
                    raise
                except Exception as lost:
                    if attempt < ATTEMPTS:
                        waiting.append((task, attempt + 1))
                        continue
                    folder.keep_failure(task.hash, task.replication, _lost(lost))
                    failed += 1
                else:
                    if outcome.files is not None:
                        folder.keep_files(task.hash, task.replication, outcome.files)
                    failed += bool(outcome.error)
                    simulate_s += outcome.simulate_s
                    task_s += outcome.wall_s
                    largest = max(largest, outcome.resident_bytes)
                progress.advance(failed)
            progress.tick()
    except BaseException:
        for future in running:
            future.cancel()
        if isinstance(executor, LocalWorkers):
            executor.kill()
        raise
    return Spent(len(tasks), failed, time.perf_counter() - begun, simulate_s, task_s, largest)


def _lost(error: Exception) -> str:
    what = "its process ended" if isinstance(error, BrokenProcessPool) else f"{type(error).__name__}: {error}"
    return f"the worker was lost {ATTEMPTS} times: {what}; it may have run out of memory: fewer workers leave more for each"


# --- in the worker


def execute(task: Task) -> Outcome:
    """Run one task and write its folder. What goes wrong in the run is written there; a full disk is raised."""
    begun = time.perf_counter()
    experiment = Path(task.folder)
    here = holds(experiment, task.identity)
    home = experiment / WORK_FOLDER if here else Path(tempfile.mkdtemp(prefix="kubedes-"))
    work = home / f"{task.hash}-{task.replication}-{os.getpid()}-{threading.get_ident()}"
    try:
        home.mkdir(exist_ok=True)
        error, simulate_s = _simulate_into(work, task)
        files = None
        if here:
            put_in_place(work, experiment, task.hash, task.replication)
        else:
            files = {file.name: file.read_bytes() for file in sorted(work.iterdir())}
    except OSError as full:
        raise OutputError(
            f"{experiment / run_folder(task.hash, task.replication)}: cannot be written: {full.strerror or full}; the runs "
            "that are whole are kept. Make room, then run the sweep again: it goes on from there"
        ) from None
    finally:
        shutil.rmtree(work if here else home, ignore_errors=True)
    return Outcome(task.hash, task.replication, error, time.perf_counter() - begun, simulate_s, _resident_bytes(), files)


def _simulate_into(work: Path, task: Task) -> tuple[str, float]:
    """(error or nothing, seconds of simulation)."""
    import sim

    begun = time.perf_counter()
    try:
        result = sim.simulate(task.scenario, replication=task.replication)
        ended = time.perf_counter()
        if not result.complete:
            raise KeyboardInterrupt
        write_run(result, work)
    except OutputError:
        raise
    except Exception as error:
        shutil.rmtree(work, ignore_errors=True)
        text = str(error) if isinstance(error, KubedesError) else f"{type(error).__name__}: {error}"
        write_failure(work, text, _trace(error), task.hash, task.replication)
        return text, time.perf_counter() - begun
    return "", ended - begun


def _trace(error: Exception) -> str:
    """The way to an error: the same text wherever the package is installed."""
    frames = traceback.extract_tb(error.__traceback__)
    return "\n".join(f"{Path(frame.filename).name}:{frame.lineno} in {frame.name}" for frame in frames)


def _resident_bytes() -> int:
    """Memory of this process; 0 where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


# --- executors


class InThisProcess(Executor):
    """Runs at once where it is asked: for debugging, and where processes cannot be started."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class LocalWorkers(Executor):
    """A spawned process a worker, each in a pool of its own: one that dies takes only its own run with it.

    A worker is replaced after `runs_per_worker` runs, and sooner when it holds more than its share of memory.
    """

    def __init__(self, workers: int, runs_per_worker: int = RUNS_PER_WORKER, memory_bytes: int | None = None) -> None:
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="kubedes-worker")
        self._mine = threading.local()
        self._runs_per_worker = runs_per_worker
        self._memory_bytes = memory_bytes or _memory_share(workers)
        self._pools: dict[ProcessPoolExecutor, int] = {}
        """Pool -> the process in it."""
        self._closed = False

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self._threads.submit(self._in_worker, fn, args, kwargs)

    def _in_worker(self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mine = self._mine
        if getattr(mine, "pool", None) is None:
            mine.pool, mine.runs = self._new_pool(), 0
        try:
            answer = mine.pool.submit(fn, *args, **kwargs).result()
        except BrokenProcessPool:
            self._drop(mine.pool)
            mine.pool = None
            raise
        mine.runs += 1
        if mine.runs >= self._runs_per_worker or getattr(answer, "resident_bytes", 0) > self._memory_bytes:
            self._drop(mine.pool)
            mine.pool = None
        return answer

    def _new_pool(self) -> ProcessPoolExecutor:
        import multiprocessing

        if self._closed:
            raise BrokenProcessPool("the workers are closed")
        pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=_begin_worker)
        self._pools[pool] = 0
        self._pools[pool] = pool.submit(os.getpid).result()
        return pool

    def _drop(self, pool: ProcessPoolExecutor) -> None:
        pool.shutdown(wait=True)
        self._pools.pop(pool, None)

    def kill(self) -> None:
        """End the workers now, in the middle of their runs."""
        self._closed = True
        for process in list(self._pools.values()):
            if process:
                try:
                    os.kill(process, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        self._closed = True
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for pool in list(self._pools):
            pool.shutdown(wait=wait)
        self._pools.clear()


def _memory_share(workers: int) -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 1 << 34
    return int(total * MEMORY_SHARE / max(workers, 1))


def _begin_worker() -> None:
    """A worker leaves Ctrl-C to its parent, ends when its parent does, and loads what runs need."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _warm()


def _end_with_parent() -> None:
    """A parent that was killed cannot say goodbye."""
    from multiprocessing import connection, parent_process

    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)


def _warm() -> None:
    """Compile the kernels, or load them: the parent does it before its workers start, so that they all only load."""
    import sim.simulate  # noqa: F401  the kernels of every room
    from sim import kernels

    kernels.warm()


def _dask(address: str) -> Any:
    """The executor of a Dask cluster, as a context. address: of its scheduler, or the path of a scheduler file."""
    try:
        from distributed import Client
    except ImportError:
        raise InputError(
            f"on: {address}: needs Dask, which is not installed here; install kubedes with its extra 'cluster': "
            "pip install 'kubedes[cluster]'"
        ) from None
    try:
        client = Client(address) if "://" in address else Client(scheduler_file=str(Path(address).resolve(strict=True)))
    except (OSError, ValueError) as error:
        raise InputError(f"on: {address}: no Dask scheduler answers there: {error}; start one with `dask scheduler`") from None
    stack = ExitStack()
    stack.callback(client.close)
    return _Cluster(client)


class _Cluster:
    """A Dask client's executor as a context that also closes the client."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __enter__(self) -> Executor:
        executor: Executor = self._client.get_executor(pure=False)
        return executor

    def __exit__(self, *error: object) -> None:
        self._client.close()
