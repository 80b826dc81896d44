"""Files that are written in one step."""

from __future__ import annotations

import os
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
