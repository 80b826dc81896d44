"""Files and folders that are written in one step.

Content is made under a hidden name beside the right one. Where a kill leaves something under such
a name, the next write of the same file or folder removes it.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

_STALE_SECONDS = 600
"""Age from which hidden content counts as left by a kill, not as being written just now."""


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that a reader, or a kill, sees the old one or the new one, never half.

    Parameters
    ----------
    path : Path
        File to write or replace.
    write : callable
        Takes the path of a temporary file beside it and writes the content there.
    """
    temporary = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        write(temporary)
        os.replace(temporary, path)
        _remove_stale(path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Write a folder so that nobody ever finds half of it under its name.

    Parameters
    ----------
    path : Path
        Folder to write or replace.
    write : callable
        Takes the path of an empty temporary folder beside it and writes the content there.
    """
    temporary = path.with_name(f".{os.getpid()}-new-{path.name}")
    old = path.with_name(f".{os.getpid()}-old-{path.name}")
    try:
        temporary.mkdir()
        write(temporary)
        if path.exists():
            os.replace(path, old)  # a folder cannot take the place of a full one
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
        _remove_stale(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def hidden_content(path: Path) -> list[Path]:
    """Return what writes of a file or folder have not finished, or have not finished yet.

    Parameters
    ----------
    path : Path
        The file or folder that is written.

    Returns
    -------
    list of Path
        Hidden files and folders beside it, sorted.
    """
    name = re.compile(rf"\.\d+-((new|old)-)?{re.escape(path.name)}")
    return sorted(other for other in path.parent.iterdir() if name.fullmatch(other.name))


def _remove_stale(path: Path) -> None:
    for other in hidden_content(path):
        try:
            stale = time.time() - other.stat().st_mtime > _STALE_SECONDS
        except FileNotFoundError:  # its writer has just finished
            continue
        if stale and other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        elif stale:
            other.unlink(missing_ok=True)
