"""Which notebooks have to run, and running them: a copy is kept while nothing behind it changes."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from difflib import get_close_matches
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import nbformat
import yaml
from joblib import cpu_count

from causalmix.errors import UnknownNameError, check_names, naming
from causalmix.manifest import git_commit
from causalmix.publishing.notebooks import (
    BUILD,
    PACKAGE,
    NotebookError,
    NotebookInputError,
    execute,
    notebook_paths,
    save_notebook,
)
from causalmix.publishing.parameters import check_parameters, data_files, read_parameters
from causalmix.publishing.record import dependency_versions, execution_record

_STRINGS = re.compile(r"""["']([^"'\n]+)["']""")
_RESULT = re.compile(r"\w+(/\w+)+")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Run:
    """One notebook with the values that replace its defaults, and where its copy is kept."""

    source: Path
    parameters: dict[str, Any]
    executed: Path


def plan(parameters: Mapping[str, Any], *, smoke: bool, root: Path) -> list[Run]:
    """Give every notebook its parameters and find its executed copy's place.

    Parameters
    ----------
    parameters : mapping of str to object
        Values by name, for every notebook that has the name.
    smoke : bool
        Start from the small values of `notebooks/smoke.yml`.
    root : pathlib.Path
        The project's root.

    Returns
    -------
    list of Run
        One per notebook. The copy's name holds the hash of all that decides its content, so it
        exists only if nothing has changed since it was made.

    Raises
    ------
    UnknownNameError
        If no notebook has one of the parameters; lists all, the nearest first.
    """
    sources = notebook_paths(root)
    valid = {source: read_parameters(source) for source in sources}
    known = {name for names in valid.values() for name in names}
    for name in set(parameters) - known:
        near = get_close_matches(name, known, n=3, cutoff=0.5)
        lines = [_where(other, valid) for other in [*near, *sorted(known - set(near))]]
        raise UnknownNameError(
            f"No notebook has a parameter {name!r}. Their parameters:\n" + "\n".join(lines)
        )
    small = _smoke_values(root) if smoke else {}
    runs = []
    for source in sources:
        given = {name: value for name, value in parameters.items() if name in valid[source]}
        checked = check_parameters(source, small.get(source.stem, {}) | given)
        key = run_hash(source, checked)
        runs.append(Run(source, checked, root / BUILD / "executed" / f"{source.stem}-{key}.ipynb"))
    return runs


def _where(name: str, valid: Mapping[Path, Mapping[str, Any]]) -> str:
    having = [source.stem for source, names in valid.items() if name in names]
    first = next(names[name] for names in valid.values() if name in names)
    return f"  {first}  ({', '.join(having)})"


def _smoke_values(root: Path) -> dict[str, dict[str, Any]]:
    path = root / "notebooks" / "smoke.yml"
    with naming(path, "small values of parameters", "Restore it from the repository."):
        values = dict(yaml.safe_load(path.read_text(encoding="utf-8")) or {})
    check_names(values, [path.stem for path in notebook_paths(root)], "notebook in smoke.yml")
    return values


def run_hash(source: Path, parameters: Mapping[str, Any]) -> str:
    """Hash what decides a notebook's result.

    Parameters
    ----------
    source : pathlib.Path
        The notebook's source.
    parameters : mapping of str to object
        Checked values that replace defaults.

    Returns
    -------
    str
        16 hexadecimal digits over the notebook, the parameters, the package with its
        checkpoints, the content of files named in parameters and of the results that it reads,
        and the versions of Python and of the packages that the project depends on.
    """
    defaults = {name: p.default for name, p in read_parameters(source).items()}
    values = defaults | dict(parameters)
    files = [*data_files(values), *result_files(source, values).values()]
    extra = [json.dumps(dict(parameters), sort_keys=True), package_hash(), *versions()]
    return hash_files([source, *files], extra=extra)[:16]


def result_files(source: Path, parameters: Mapping[str, Any]) -> dict[str, Path]:
    """Return the committed results that a notebook reads.

    Parameters
    ----------
    source : pathlib.Path
        The notebook's source; it lies in a folder beside that of the results.
    parameters : mapping of str to object
        All its values.

    Returns
    -------
    dict of str to pathlib.Path
        By their paths below the project's root: files and folders of `results/` that a string in
        the code, or a parameter, names as `causalmix.benchmarks.results` takes them.
    """
    root = source.parents[1]
    with naming(source, "a notebook", "Restore it from the repository."):
        cells = nbformat.read(source, as_version=4).cells
    names = {value for value in parameters.values() if isinstance(value, str)}
    for cell in cells:
        if cell.cell_type == "code":
            names |= set(_STRINGS.findall(cell.source))
    found: dict[str, Path] = {}
    for name in sorted(name for name in names if _RESULT.fullmatch(name)):
        place = root / "results" / name
        manifest = place.with_name(f"{place.name}_manifest.json")
        files = [*place.parent.glob(f"{place.name}.*"), *([manifest] if manifest.is_file() else [])]
        files += files_below(place) if place.is_dir() else []
        found |= {path.relative_to(root).as_posix(): path for path in sorted(files)}
    return found


def package_hash() -> str:
    """Hash the package's sources and the checkpoints shipped with it."""
    return hash_files(files_below(PACKAGE), base=PACKAGE)


def files_below(folder: Path) -> list[Path]:
    """Return all files of a folder, sorted, without Python's compiled ones."""
    return sorted(
        path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )


def hash_files(paths: list[Path], *, base: Path | None = None, extra: Iterable[str] = ()) -> str:
    """Return the SHA-256 over strings and over files' names (below `base`) and contents."""
    digest = hashlib.sha256("\0".join(extra).encode())
    for path in paths:
        digest.update(f"\0{path.relative_to(base) if base else path.name}\0".encode())
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def versions() -> Iterator[str]:
    """Yield the versions that a result depends on: Python's and the needed packages'."""
    yield sys.version
    for name, version in dependency_versions().items():
        yield f"{name}=={version}"


def run_notebooks(
    runs: list[Run], root: Path, workers: int | None, report: Callable[[str], None]
) -> None:
    """Run notebooks side by side in processes of their own; keep every copy that succeeds.

    Parameters
    ----------
    runs : list of Run
        What to run.
    root : pathlib.Path
        The project's root.
    workers : int or None
        Processes; None for 2 where there are 2 cores. The cores are shared out among them.
    report : callable
        Takes a line when a notebook is done or has failed.

    Raises
    ------
    NotebookInputError
        If notebooks failed by the user's data or parameters only.
    NotebookError
        If any notebook failed otherwise; shows its cell.
    """
    if not runs:
        return
    cores = cpu_count()
    workers = min(workers or min(2, cores), len(runs))
    report(f"running {', '.join(run.source.stem for run in runs)} ({workers} at a time)")
    context = multiprocessing.get_context("spawn")
    # Workers wait for the end of this pipe, which comes when this process closes it or dies.
    watched, alive = context.Pipe(duplex=False)
    starting = (watched, max(1, cores // workers))
    with watched, alive, ProcessPoolExecutor(workers, context, _start_worker, starting) as pool:
        try:
            done = {pool.submit(_run, run, root, row): run for row, run in enumerate(runs)}
            failures = _failures(done, report)
        except BaseException:  # an interrupt above all: no other notebook starts
            alive.close()
            raise
    if failures:
        by_input = all(isinstance(error, NotebookInputError) for error in failures)
        kind = NotebookInputError if by_input else NotebookError
        raise kind("\n\n".join(map(str, failures)))


def _failures(
    done: Mapping[Future[str], Run], report: Callable[[str], None]
) -> list[NotebookError]:
    """Report every notebook when it ends; return the errors of those that failed."""
    failures: list[NotebookError] = []
    for future in as_completed(done):
        stem = done[future].source.stem
        try:
            report(f"  {stem}: {future.result()}")
        except NotebookError as error:
            told = str(error) if isinstance(error, NotebookInputError) else f"{stem}: failed"
            report(f"  {told}")
            failures.append(error)
        except BrokenProcessPool:
            raise NotebookError(
                f"{stem}: a process that runs notebooks was killed, most often because memory ran "
                "out; use fewer rows or close other programs."
            ) from None
    return failures


def _start_worker(watched: Connection, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends this
    threading.Thread(target=_end_with_parent, args=(watched,), daemon=True).start()
    for name in _THREADS:
        os.environ.setdefault(name, str(threads))


def _end_with_parent(watched: Connection) -> None:
    """End this process when the other end of the pipe is closed; kernels end with it."""
    watched.poll(None)  # nothing is ever sent
    os._exit(1)


def _run(run: Run, root: Path, row: int) -> str:
    start, commit = time.time(), git_commit()
    bar = {"position": row, "leave": False} if sys.stderr.isatty() else None
    nb = execute(run.source, run.parameters, root=root, bar=bar)
    seconds = time.time() - start
    defaults = {name: p.default for name, p in read_parameters(run.source).items()}
    nb.metadata["causalmix"] = execution_record(
        run.source.stem, defaults | run.parameters, commit=commit, start=start, seconds=seconds
    )
    save_notebook(nb, run.executed)
    return f"{sum(cell.cell_type == 'code' for cell in nb.cells)} code cells, {seconds:.0f} s"
