"""Manifests: what produced a set of results, in one JSON file beside them."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
from collections.abc import Iterable
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from causalmix import __version__
from causalmix.atomic import replace_file
from causalmix.errors import naming

PACKAGES = ("causal-learn", "dowhy", "numpy", "pandas", "scikit-learn", "tabpfn", "torch")


def package_versions() -> dict[str, str]:
    """Versions of Python, of this package and of the libraries that results depend on.

    Returns
    -------
    dict of str to str
        By distribution name; ``"not installed"`` where one is missing.
    """
    versions = {"python": platform.python_version(), "causalmix": __version__}
    return versions | versions_of(PACKAGES, otherwise="not installed")


def versions_of(packages: Iterable[str], otherwise: str) -> dict[str, str]:
    """Return versions by distribution name, `otherwise` where one is missing."""
    installed = {name: list(distributions(name=name)) for name in packages}
    return {name: found[0].version if found else otherwise for name, found in installed.items()}


@cache
def processor_name() -> str:
    """Name of the processor, as precisely as the system tells.

    Sums are rounded differently by another kind of processor, so results that follow from many of
    them, as those of fine-tuning do, are the same to the last bit only on one kind.

    Returns
    -------
    str
        On Linux with the numbers of its family, model and stepping, which tell apart what virtual
        machines give one name.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    facts = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    numbers = "/".join(facts[name] for name in ("cpu family", "model", "stepping") if name in facts)
    return " ".join(filter(None, (facts.get("model name", platform.machine()), numbers)))


@cache
def git_commit() -> str | None:
    """Commit of the checkout that the package is imported from.

    It is as it was when the process first asked: long work asks when it begins, for the checkout
    may go on meanwhile.

    Returns
    -------
    str or None
        The hash, followed by ``+`` where tracked files differ from it; None outside a checkout.
    """
    folder = Path(__file__).resolve().parent
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        changed = _git(folder, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_manifest(
    settings: dict[str, object], data: dict[str, str], origin: dict[str, object] | None = None
) -> dict[str, object]:
    """Describe a set of results well enough to produce it again.

    Parameters
    ----------
    settings : dict
        Whatever the results depend on, JSON-serialisable: sizes, seeds, checkpoint hash.
    data : dict of str to str
        Content hash of every dataset by name.
    origin : dict, optional
        The ``versions`` and ``commit`` that made the results; by default those of this process.

    Returns
    -------
    dict
        Keys ``settings``, ``data``, ``versions`` and ``commit``.
    """
    here = {"versions": package_versions(), "commit": git_commit()}
    return {"settings": settings, "data": data, **(origin or here)}


def json_hash(content: object) -> str:
    """Return the SHA-256 of what JSON says, in hexadecimal; the order of keys counts."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def read_json(path: Path, what: str, advice: str) -> Any:
    """Read a JSON file; where that fails, the error names it.

    Parameters
    ----------
    path : Path
        The file.
    what, advice : str
        As :func:`causalmix.errors.naming` takes them.

    Returns
    -------
    object

    Raises
    ------
    CausalMixError
        If the file cannot be read, or holds something else than JSON.
    """
    with naming(path, what, advice):
        return json.loads(path.read_text(encoding="utf-8"))


def write_json(path: str | Path, content: object) -> None:
    """Write JSON so that a reader sees the whole file or none of it.

    Parameters
    ----------
    path : str or Path
        File to write; replaced if it exists.
    content : object
        Anything JSON can hold.

    Raises
    ------
    CausalMixError
        If the file cannot be written.
    """
    text = json.dumps(content, indent=1, allow_nan=True) + "\n"
    replace_file(Path(path), lambda partial: partial.write_text(text, encoding="utf-8"))
