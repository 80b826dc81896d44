"""Files and folders that are written in one step."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path


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
        if not path.exists():
            os.replace(temporary, path)
            return
        os.replace(path, old)  # a folder cannot take the place of a full one
        try:
            os.replace(temporary, path)
        except OSError:
            os.replace(old, path)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
