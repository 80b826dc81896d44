"""The execution record: what ran, on what, when, for the reader who checks a result."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from causalmix.manifest import file_hash, versions_of
from causalmix.publishing.markdown import code_span, markdown_table


@cache
def requirements() -> dict[str, Requirement]:
    """Return what the package needs, by name, without its extras."""
    needed = map(Requirement, metadata.requires("causalmix") or [])
    return {need.name: need for need in needed if not need.marker or need.marker.evaluate()}


def dependency_versions() -> dict[str, str]:
    """Return the installed version of everything the package needs, "missing" where it is not."""
    return versions_of(sorted(requirements(), key=str.lower), otherwise="missing")


def execution_record(
    notebook: str,
    parameters: Mapping[str, Any],
    *,
    commit: str | None,
    start: float,
    seconds: float,
) -> dict[str, Any]:
    """Describe one run of a notebook.

    Parameters
    ----------
    notebook : str
        The notebook's stem.
    parameters : mapping of str to object
        All its values, defaults included.
    commit : str or None
        Of the code that it ran, as `git_commit` returns it.
    start : float
        When it started, in seconds since the epoch.
    seconds : float
        How long it took.

    Returns
    -------
    dict
        Ready for JSON; file names without folders.
    """
    return {
        "notebook": notebook,
        "started": datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": round(seconds, 1),
        "commit": commit or "not in a git repository",
        "parameters": dict(parameters),
        "data": _data_hashes(parameters),
        "checkpoint": _checkpoint_hashes(str(parameters.get("tfm", "embedded"))),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "packages": dependency_versions(),
    }


def _data_hashes(parameters: Mapping[str, Any]) -> dict[str, str]:
    from causalmix.data.dataset import load_dataset

    names = parameters.get("dataset", [])
    hashes = {}
    for name in [names] if isinstance(names, str) else names:
        path = Path(name).expanduser()
        if path.is_file():
            hashes[path.name] = file_hash(path)
            continue
        # Hushed: the notebook has shown them.
        with warnings.catch_warnings(action="ignore"):
            # In a list, `target` is that of the files; see
            # `causalmix.benchmarks.arms.run_benchmark`.
            target = parameters.get("target") if isinstance(names, str) else None
            hashes[name] = load_dataset(name, target=target or None).content_hash
    return hashes


@cache
def _checkpoint_hashes(tfm: str) -> dict[str, tuple[str, str]]:
    """Return file hash and content hash of the foundation model that a notebook loads."""
    from causalmix.tfm.model import load_tfm

    model = load_tfm(tfm)
    return {model.source: (model.file_hash, model.content_hash)}


def record_page(
    records: list[dict[str, Any]], others: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """Write the execution record as a page of the book.

    Parameters
    ----------
    records : list of dict
        What `execution_record` returned, one per notebook, with the hashes of the ``results`` that
        it read.
    others : mapping of str to mapping, optional
        Hashes of the results that other pages read, by page.

    Returns
    -------
    str
        The page in MyST Markdown.
    """
    runs = [
        [r["notebook"], r["started"], f"{r['seconds']:.0f} s", _short(r["commit"]), r["machine"]]
        for r in records
    ]
    values = [
        [record["notebook"], code_span(name), code_span(repr(value))]
        for record in records
        for name, value in record["parameters"].items()
    ]
    data = sorted(
        {(code_span(name), code[:16]) for r in records for name, code in r["data"].items()}
    )
    models = sorted(
        {
            (code_span(name), *(code[:16] for code in codes))
            for r in records
            for name, codes in r["checkpoint"].items()
        }
    )
    pages = {r["notebook"]: r.get("results", {}) for r in records} | dict(others or {})
    read = [
        (page, code_span(name), code[:16])
        for page, files in pages.items()
        for name, code in files.items()
    ]
    versions = {("Python", record["python"]) for record in records}
    versions |= {pair for record in records for pair in record["packages"].items()}
    by_name = sorted(versions, key=lambda pair: pair[0].lower())
    sections = [
        "# Execution record\n\nWhat this copy of the book was computed with. The same as data: "
        "{download}`record.json`.",
        "## Runs\n\n" + markdown_table(["Notebook", "Started", "Took", "Commit", "Machine"], runs),
        "## Parameters\n\nEvery value of every notebook, its seeds among them.\n\n"
        + markdown_table(["Notebook", "Parameter", "Value"], values),
        "## Data\n\n" + markdown_table(["Dataset", "SHA-256 of the content, first digits"], data),
        "## Committed results\n\nWhat the pages read of `results/`.\n\n"
        + markdown_table(["Page", "File", "SHA-256 of the file, first digits"], read),
        "## Checkpoint\n\nFirst digits of the SHA-256 of the file, byte by byte, and of its "
        "content: architecture and weights, however a file stores them.\n\n"
        + markdown_table(["File", "File hash", "Content hash"], models),
        "## Versions\n\n" + markdown_table(["Package", "Version"], by_name),
    ]
    return "\n\n".join(sections) + "\n"


def _short(commit: str) -> str:
    """Return a commit's first 12 digits, and the + of a changed checkout."""
    return commit if " " in commit else commit[:12] + commit[40:]
