"""Runs of a benchmark on Dask: on the cores of this machine, or on any cluster.

A run is a function of settings and a table. What several runs of a split share, as a discovered
graph, is prepared once and handed to them. Every finished run is a row of a
:class:`~causalmix.benchmarks.store.Store`, so a benchmark goes on where it was stopped.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import json
import logging
import os
import signal
import sys
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from joblib import cpu_count
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from causalmix.benchmarks.store import Store
from causalmix.benchmarks.timing import torch_threads
from causalmix.errors import CausalMixError, check_name, check_range, check_whole
from causalmix.manifest import git_commit, package_versions, processor_name


@dataclass(frozen=True)
class Kind:
    """A kind of run.

    Attributes
    ----------
    perform : str
        ``"module:function"``. It takes a `Run`, its table and what was prepared, and returns an
        `Outcome`.
    code : tuple of str
        Rooms and modules below ``causalmix`` that the outcome depends on.
    prepare : str, default=""
        ``"module:function"`` of what several runs share; takes a `Run` and its table.
    shared : tuple of str, default=()
        Settings that this depends on, besides the table; it is prepared once where they are equal.
    """

    perform: str
    code: tuple[str, ...]
    prepare: str = ""
    shared: tuple[str, ...] = ()


_SPLIT = ("data", "n_train", "n_val", "n_test", "split", "search")
_ROOMS = (
    "data",
    "tfm",
    "checkpoints",  # generators draw from the embedded model, whatever model is fine-tuned
    "prior",
    "discovery",
    "scm",
    "generation",
    "quality/baselines",
    "finetuning",
)
_SEARCH = (
    *("bootstrap", "citest", "edge_probabilities", "graph_comparison", "independence", "knowledge"),
    *("options", "orientation", "possible_dsep", "score_search", "search", "skeleton"),
)
_DISCOVERY = (
    *("data", "benchmarks/discovery", "benchmarks/plain_discovery"),
    *(f"discovery/{name}" for name in _SEARCH),
)
_GENERATION = ("data", "tfm", "checkpoints", "discovery", "scm", "generation")
_SCORING = ("finetuning/metrics", "benchmarks/checkpoints", "benchmarks/zero_shot")

KINDS: dict[str, Kind] = {
    "finetuning": Kind(
        "causalmix.benchmarks.arms:perform",
        (*_ROOMS, "benchmarks/arms", "benchmarks/alternatives", "benchmarks/checkpoints"),
        "causalmix.benchmarks.arms:prepare",
        _SPLIT,
    ),
    "known_models": Kind(
        "causalmix.benchmarks.known_models:perform",
        (
            *(*_ROOMS, "benchmarks/arms", "benchmarks/checkpoints"),
            *("benchmarks/csuite_data", "benchmarks/known_models"),
        ),
        "causalmix.benchmarks.arms:prepare",
        _SPLIT,
    ),
    "zero_shot": Kind(
        "causalmix.benchmarks.zero_shot:perform",
        ("data", "tfm", "finetuning/run", "finetuning/mixing", *_SCORING),
    ),
    "baseline": Kind(
        "causalmix.benchmarks.zero_shot:perform", ("data", "quality/baselines", *_SCORING)
    ),
    "discovery": Kind("causalmix.benchmarks.discovery:perform", _DISCOVERY),
    "published_discovery": Kind(
        "causalmix.benchmarks.published_discovery:perform",
        (*_DISCOVERY, "benchmarks/published_discovery"),
    ),
    "csuite": Kind(
        "causalmix.benchmarks.csuite:perform",
        (*_GENERATION, "quality/fidelity", "benchmarks/csuite", "benchmarks/csuite_data"),
    ),
    "rules": Kind(
        "causalmix.benchmarks.stopping_rules:perform",
        (
            *(*_GENERATION, "prior", "finetuning", "benchmarks/checkpoints"),
            *("benchmarks/zero_shot", "benchmarks/stopping_rules"),
        ),
        "causalmix.benchmarks.stopping_rules:prepare",
        ("data", "n_train", "n_val", "n_test", "seed"),
    ),
    "utility": Kind(
        "causalmix.benchmarks.utility:perform",
        (*_GENERATION, "finetuning/metrics", "quality", "benchmarks/utility"),
    ),
}
"""Kinds of runs by name."""


@dataclass(frozen=True)
class Outcome:
    """What a run gives.

    Attributes
    ----------
    values : mapping
        Scores and whatever else the run decides; numbers, strings, truth values.
    curves : mapping of str to list, optional
        Columns of its history.
    timings : mapping
        Seconds of its parts; they differ from one time to the next.
    device : str, default="cpu"
        What it ran on; the row of a run names the processor too.
    """

    values: Mapping[str, Any]
    curves: Mapping[str, list[Any]] | None = None
    timings: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"


@dataclass(frozen=True)
class Run:
    """Something to compute.

    Parameters
    ----------
    kind : str
        Key of `KINDS`.
    settings : mapping
        All that decides the outcome but the code, in JSON's types; the content hashes of table
        and weights are among them.
    table : str, default=""
        Name of its table among those that `compute` is given; none by default.
    places : mapping, optional
        Where to find what the settings name by hash, as the file of a checkpoint. Decides nothing.
    label : str, default=""
        What is shown while it runs.
    cost : float, default=1.0
        Expected time, in any unit that all runs share.
    """

    kind: str
    settings: Mapping[str, Any]
    table: str = ""
    places: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""
    cost: float = 1.0

    @property
    def key(self) -> str:
        """Hash of kind, settings and the code of the kind."""
        return _key(self, KINDS[check_name(self.kind, KINDS, "kind of run")])


@dataclass(frozen=True)
class Progress:
    """How far a benchmark has come.

    Attributes
    ----------
    done, failed, missing : int
        Runs that ended well, that failed, and that were not made.
    """

    done: int
    failed: int
    missing: int


def compute(
    runs: Sequence[Run],
    store: Store,
    tables: Mapping[str, Any],
    *,
    workers: int | None = 0,
    scheduler: str | None = None,
    hours: float | None = None,
    retry: bool = False,
    progress: bool = False,
) -> Progress:
    """Make the runs that a store lacks, in their order.

    Parameters
    ----------
    runs : sequence of Run
    store : Store
        Takes a row a run. A run that fails is a row too, with its traceback.
    tables : mapping of str to object
        By the names that the runs have; sent to the workers. Most kinds take a `TabularDataset`.
    workers : int or None, default=0
        Processes on this machine, one thread each; None takes one a core, 0 runs in this process,
        without Dask.
    scheduler : str, optional
        Address of a Dask scheduler whose workers are used in place of processes here. Where
        workers have the resource ``GPU``, only those are.
    hours : float, optional
        No run is begun that is likely to end later than this.
    retry : bool, default=False
        Whether runs that failed before are made again.
    progress : bool, default=False
        Whether to show a progress bar, with the time left, on standard error.

    Returns
    -------
    Progress

    Raises
    ------
    CausalMixError
        If the scheduler does not answer, or goes away. What is done is in the store.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM; what is done is in the store then, and no worker is left.
    """
    workers = cpu_count() if workers is None else check_whole(workers, 0, "workers")
    if hours is not None:
        check_range(hours, "[0, inf)", "hours")
    wanted = {run.key: run for run in runs}
    missing = [run for key, run in wanted.items() if is_missing(store, key, retry)]
    if missing:
        clock = _Clock(missing, workers, hours)
        bar = tqdm(
            total=len(wanted), initial=len(wanted) - len(missing), unit="run", disable=not progress
        )
        with _stopping_cleanly(store, progress), bar:
            rows = (
                _here(missing, tables, clock)
                if not workers and scheduler is None
                else _on_dask(missing, tables, clock, workers, scheduler)
            )
            for run, row in rows:
                store.add(row)
                clock.finished(run)
                bar.set_postfix_str(f"{clock.left()}{run.label}", refresh=False)
                bar.update()
    states = [store[key]["status"] if key in store else "missing" for key in wanted]
    return Progress(*(states.count(name) for name in ("ok", "failed", "missing")))


def is_missing(store: Store, key: str, retry: bool = False) -> bool:
    """Say whether a run is to be made; with `retry`, one that failed is."""
    return key not in store or (retry and store[key]["status"] == "failed")


@contextmanager
def _stopping_cleanly(store: Store, progress: bool) -> Iterator[None]:
    """Write what is finished, however the ``with`` statement ends; SIGTERM ends it as Ctrl-C."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGTERM, stop) if main else None
    try:
        yield
    except KeyboardInterrupt:
        store.flush()
        if progress and store.folder is not None:
            print(f"Stopped. What is done is kept in {store.folder}.", file=sys.stderr)
        raise
    finally:
        if main:
            signal.signal(signal.SIGTERM, before)
        store.flush()


class _Clock:
    """Knows how fast the runs go, and when to begin none any more."""

    def __init__(self, runs: Sequence[Run], workers: int, hours: float | None) -> None:
        self._start = time.monotonic()
        self._end = float("inf") if hours is None else self._start + 3600 * hours
        self._cost, self._done = sum(run.cost for run in runs), 0.0
        self.workers = max(workers, 1)

    def finished(self, run: Run) -> None:
        self._done += run.cost

    def allows(self, run: Run) -> bool:
        """Say whether a run that begins now is likely to end in time."""
        now = time.monotonic()
        pace = self.workers * (now - self._start) / self._done if self._done else 0.0
        return now + pace * run.cost < self._end

    def left(self) -> str:
        if not self._done:
            return ""
        pace = (time.monotonic() - self._start) / self._done
        minutes = pace * (self._cost - self._done) / 60
        return f"about {minutes:.0f} min left, " if minutes >= 1 else "under a minute left, "


# ---- one run -------------------------------------------------------------------------------------


def perform(run: Run, kind: Kind, key: str, table: Any, prepared: object = None) -> dict[str, Any]:
    """Make one run; an error becomes a failed row.

    Parameters
    ----------
    run : Run
    kind : Kind
        What its name stands for where the benchmark was started.
    key : str
        Its key there, which holds a hash of the code.
    table : object
    prepared : object
        What `Kind.prepare` gave, or the exception that it raised.

    Returns
    -------
    dict
        A row of a store.
    """
    start, outcome, error = time.perf_counter(), None, ""
    try:
        if isinstance(prepared, Exception):
            raise prepared
        if _key(run, kind) != key:
            raise CausalMixError(
                "This worker has another version of causalmix than the one that the benchmark was "
                "started with. Install the same one everywhere."
            )
        # Hushed: solvers that do not converge, discovery in few rows.
        with threadpool_limits(1), torch_threads(1), warnings.catch_warnings(action="ignore"):
            outcome = _function(kind.perform)(run, table, prepared)
    except Exception:
        error = _without_folders(traceback.format_exc())
    return _row(run, key, outcome, error, time.perf_counter() - start)


def _without_folders(trace: str) -> str:
    """Cut the places of this machine from a traceback, which may be published with a store."""
    own = str(Path(__file__).parents[2])
    for folder in (own, sysconfig.get_path("purelib"), sysconfig.get_path("stdlib")):
        trace = trace.replace(f'"{folder}{os.sep}', '"')
    return trace


def prepare(run: Run, kind: Kind, table: Any) -> object:
    """Make what runs share; an error is returned, for all that need it."""
    try:
        with threadpool_limits(1), torch_threads(1), warnings.catch_warnings(action="ignore"):
            return _function(kind.prepare)(run, table)
    except Exception as error:
        return error


def _row(run: Run, key: str, outcome: Outcome | None, error: str, seconds: float) -> dict[str, Any]:
    found = outcome or Outcome({})
    return {
        "key": key,
        "kind": run.kind,
        "settings": _json(run.settings),
        "status": "failed" if error else "ok",
        "outcome": _json(found.values),
        "curves": None if found.curves is None else _json(found.curves),
        "error": error or None,
        "device": f"cpu, {processor_name()}" if found.device == "cpu" else found.device,
        "seconds": round(seconds, 3),
        "timings": _json(found.timings),
        "versions": _json(_versions()),
        "commit": git_commit(),
        "finished": time.time(),
    }


def _key(run: Run, kind: Kind) -> str:
    return _hash([run.kind, run.settings, code_hash(kind.code)])


@lru_cache
def code_hash(parts: tuple[str, ...]) -> str:
    """Hash code, but for comments, docstrings and layout, and embedded weights.

    Parameters
    ----------
    parts : tuple of str
        Rooms and modules below ``causalmix``.

    Returns
    -------
    str
        Hexadecimal.
    """
    root, digest = Path(__file__).parents[1], hashlib.sha256()
    for part in parts:
        room = root / part
        for path in sorted(room.glob("*.safetensors")):
            digest.update(path.read_bytes())
        for path in sorted(room.glob("*.py")) if room.is_dir() else [root / f"{part}.py"]:
            tree = ast.parse(path.read_text(encoding="utf-8"))
            for node in ast.walk(tree):
                body = getattr(node, "body", None)
                if isinstance(body, list):
                    node.body = [each for each in body if not _is_text(each)]
            digest.update(ast.dump(tree).encode())
    return digest.hexdigest()[:12]


def _is_text(node: ast.AST) -> bool:
    is_constant = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_constant and isinstance(node.value.value, str)


_versions = lru_cache(maxsize=1)(package_versions)


def _function(name: str) -> Callable[..., Any]:
    module, _, function = name.partition(":")
    return getattr(importlib.import_module(module), function)


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_of_numpy)


def _of_numpy(value: object) -> object:
    """Return a NumPy number as Python has it."""
    if hasattr(value, "item"):
        return value.item()
    raise TypeError(f"{value!r} is no value of a run's settings")


def _hash(value: object) -> str:
    return hashlib.sha256(_json(value).encode()).hexdigest()[:32]


# ---- where they run ------------------------------------------------------------------------------


_ANSWERS_WITHIN = "20s"

# Of a worker's process. Dask's own default gives every freed array back to the system at once,
# which took more than half of the time of fine-tuning; so it keeps up to a gigabyte for the next.
_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1),
    "MALLOC_TRIM_THRESHOLD_": 2**30,
    "MALLOC_MMAP_THRESHOLD_": 2**25,  # the C library takes no more
}


def _here(
    runs: Sequence[Run], tables: Mapping[str, Any], clock: _Clock
) -> Iterator[tuple[Run, dict[str, Any]]]:
    shared: dict[str, object] = {}
    for run in runs:
        if not clock.allows(run):
            return
        table, need = tables.get(run.table), _need(run)
        if need and need not in shared:
            shared = _latest(shared, need, prepare(run, KINDS[run.kind], table))
        yield run, perform(run, KINDS[run.kind], run.key, table, shared.get(need))


def _latest(kept: Mapping[str, Any], name: str, value: object) -> dict[str, Any]:
    """Add a value to the latest few: what is shared is used by runs that stand together."""
    return {**dict(list(kept.items())[-2:]), name: value}


def _need(run: Run) -> str:
    """Name what has to be prepared for a run; empty for nothing."""
    kind = KINDS[run.kind]
    if not kind.prepare:
        return ""
    return _hash([run.kind, run.table, [run.settings.get(name) for name in kind.shared]])


def _on_dask(
    runs: Sequence[Run],
    tables: Mapping[str, Any],
    clock: _Clock,
    workers: int,
    scheduler: str | None,
) -> Iterator[tuple[Run, dict[str, Any]]]:
    import dask
    from distributed import Client, LocalCluster, as_completed
    from distributed.comm import get_address_host_port

    quiet = {
        "distributed.scheduler.allowed-failures": 2,
        "distributed.worker.daemon": True,
        "distributed.admin.large-graph-warning-threshold": "1GB",
        "logging.distributed": "error",
        "distributed.nanny.pre-spawn-environ": _ENVIRONMENT,
    }
    with dask.config.set(quiet):
        if scheduler is None:
            # Any free port: another benchmark may have the usual one.
            cluster = LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=":0")
        else:
            cluster = scheduler
        try:
            if scheduler is not None:  # a client of one that cannot be read would be left half-made
                get_address_host_port(scheduler, strict=True)
            client = Client(cluster, set_as_default=False, timeout=_ANSWERS_WITHIN)
        except (OSError, TimeoutError, ValueError) as error:  # of an address without a port, say
            raise CausalMixError(
                f"No Dask scheduler answers at {scheduler}: {error}. Start one with 'dask "
                "scheduler' and workers with 'dask worker ADDRESS', or leave --scheduler out."
            ) from None
        try:
            if scheduler is None:
                client.register_plugin(_undisturbed())
            yield from _Session(client, tables, clock).compute(runs, as_completed)
        except Exception as error:
            if client.status == "running" and not isinstance(error, CancelledError):
                raise
            raise CausalMixError(
                f"The Dask scheduler at {client.scheduler.address} went away. What is done is "
                "kept; start the benchmark again."
            ) from None
        finally:
            logger = logging.getLogger("distributed")
            level = logger.level
            logger.setLevel(logging.CRITICAL)  # workers in the middle of a run are ended
            try:
                client.close()
                if scheduler is None:
                    cluster.close()
            finally:
                logger.setLevel(level)


def _undisturbed() -> Any:
    """Return a plugin of workers that leaves Ctrl-C, which all processes get, to this one."""
    from distributed import WorkerPlugin

    class Undisturbed(WorkerPlugin):
        def setup(self, worker: object) -> None:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            logging.getLogger("distributed").setLevel(logging.ERROR)

    return Undisturbed()


def _as_it_is(value: Any) -> Any:
    return value


class _Session:
    """Hands runs to a Dask client, a few at a time."""

    def __init__(self, client: Any, tables: Mapping[str, Any], clock: _Clock) -> None:
        self._client, self._tables, self._clock = client, tables, clock
        self._sent: dict[str, Any] = {}
        self._prepared: dict[str, Any] = {}
        known = client.scheduler_info(n_workers=-1)["workers"].values()
        self._threads = sum(each["nthreads"] for each in known)
        clock.workers = max(self._threads, 1)
        with_gpu = any("GPU" in (each.get("resources") or {}) for each in known)
        self._resources = {"GPU": 1} if with_gpu else None

    def compute(
        self, runs: Sequence[Run], as_completed: Callable[..., Any]
    ) -> Iterator[tuple[Run, dict[str, Any]]]:
        waiting, at_work = iter(runs), {}
        # One run more than can be computed, so that no worker waits for the next.
        for run in self._next(waiting, self._threads + 1):
            at_work[self._submit(run)] = run
        finished = as_completed(list(at_work), loop=self._client.loop)
        for future in finished:
            run = at_work.pop(future)
            yield run, self._collect(future, run)
            for following in self._next(waiting, 1):
                submitted = self._submit(following)
                at_work[submitted] = following
                finished.add(submitted)

    def _next(self, waiting: Iterator[Run], n: int) -> list[Run]:
        found = []
        for run in waiting:
            if not self._clock.allows(run):
                break
            found.append(run)
            if len(found) == n:
                break
        return found

    def _submit(self, run: Run) -> Any:
        table, need = self._table(run.table), _need(run)
        if need and need not in self._prepared:
            shared = self._client.submit(
                prepare, run, KINDS[run.kind], table, key=f"prepare-{need}"
            )
            self._prepared = _latest(self._prepared, need, shared)
        return self._client.submit(
            perform,
            run,
            KINDS[run.kind],
            run.key,
            table,
            self._prepared.get(need),
            key=f"run-{run.key}-{os.getpid()}",
            resources=self._resources,
        )

    def _table(self, name: str) -> Any:
        if name and name not in self._sent:
            # A task, not scattered data: it is made again where all workers that had it died.
            # A single one at a time: tables come one after the other, and are let go.
            key = f"table-{name}-{uuid4().hex}"
            sent = self._client.submit(_as_it_is, self._tables[name], key=key)
            self._sent = _latest(self._sent, name, sent)
        return self._sent.get(name)

    def _collect(self, future: Any, run: Run) -> dict[str, Any]:
        try:
            return future.result()
        except Exception as error:
            if self._client.status != "running" or isinstance(error, CancelledError):
                raise  # there is no scheduler any more
            # Its workers died, each time.
            text = f"{type(error).__name__}: {error}"
            return _row(run, run.key, None, text, 0.0)
