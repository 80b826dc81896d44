"""Files and folders that are written in one step.

Content is made under a hidden name beside the right one, brought to the disk and then renamed.
Where a kill leaves something under such a name, the next write of the same file or folder removes
it. A link is followed: what it points to is replaced, not the link.
"""

from __future__ import annotations

import errno
import hashlib
import os
import platform
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from causalmix.errors import CausalMixError, file_problem

try:
    import fcntl
except ImportError:  # Windows, where nothing is locked
    fcntl = None

_STALE_SECONDS = 3600
"""Age from which hidden content of another machine counts as left by a kill."""

_HOST = re.sub(r"\W", "", platform.node())[:30] or "host"

_LOCKS: set[int] = set()  # file numbers of the folders that are locked

_LOCK = threading.RLock()  # of this process: its threads have the hidden names in common


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file so that a reader, or a kill, sees the old one or the new one, never half.

    Parameters
    ----------
    path : Path
        File to write or replace.
    write : callable
        Takes the path of a temporary file beside it and writes the content there.

    Raises
    ------
    CausalMixError
        If the file cannot be written; names it and the reason.
    """
    target = _real(path)
    temporary = _hidden(target, "new")
    with _LOCK, naming_output(path):
        try:
            temporary.touch()
            mode = temporary.stat().st_mode & 0o666  # as the umask says; some libraries ignore it
            write(temporary)
            temporary.chmod(mode)
            _to_disk(temporary)
            os.replace(temporary, target)
            _to_disk(target.parent)
            remove_stale(target)
        finally:
            temporary.unlink(missing_ok=True)


def replace_folder(path: Path, write: Callable[[Path], object]) -> None:
    """Write a folder so that nobody ever finds half of it under its name.

    Of several writers at a time, the last one's folder stays.

    Parameters
    ----------
    path : Path
        Folder to write or replace.
    write : callable
        Takes the path of an empty temporary folder beside it and writes the content there.

    Raises
    ------
    CausalMixError
        If the folder cannot be written; names it and the reason.
    """
    target = _real(path)
    with _LOCK, naming_output(path), stage_folder(target) as temporary:
        mode = temporary.stat().st_mode
        write(temporary)
        for folder, _, files in os.walk(temporary):
            os.chmod(folder, mode)
            for name in files:
                os.chmod(os.path.join(folder, name), mode & 0o666)
                _to_disk(Path(folder, name))
            _to_disk(Path(folder))
        with _held(target.parent):
            _swap(temporary, target)
        remove_stale(target)


def make_folder(path: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CausalMixError
        If it cannot be made; names it and the reason.
    """
    with naming_output(path):
        path.mkdir(parents=True, exist_ok=True)


@contextmanager
def stage_folder(path: Path) -> Iterator[Path]:
    """Make an empty hidden folder beside a path, which is gone afterwards.

    Parameters
    ----------
    path : Path
        What the folder is named after.

    Yields
    ------
    Path
    """
    stage = _hidden(path, "new")
    if stage.exists():  # of a killed process with this one's number
        shutil.rmtree(stage, ignore_errors=True)
    try:
        stage.mkdir()
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


@contextmanager
def sole_writer(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Keep other processes from writing into a folder.

    Parameters
    ----------
    folder : Path
        It exists.
    wait : bool, default=False
        Whether to wait until nobody else is its sole writer.

    Raises
    ------
    CausalMixError
        Without `wait`, if another process, or another caller in this one, is the sole writer.
    """
    with _held(folder, wait=wait):
        yield


def check_writable(path: Path, *, folder: bool = False) -> None:
    """Raise unless a file or folder can be written as far as can be told before.

    A file without a name is opened and closed; nothing is left, nor are folders made.

    Parameters
    ----------
    path : Path
    folder : bool, default=False
        Whether it is a folder.

    Raises
    ------
    CausalMixError
        If `path` is of the other kind, one of its parents is no folder, may not be written to, or
        lies on a disk that is full.
    """
    target = _real(path)
    with naming_output(path):
        if folder != target.is_dir() and target.exists():
            raise OSError(f"it is {'no' if folder else 'a'} folder")
        above = target if target.is_dir() else target.parent
        while not above.exists():
            above = above.parent
        if not above.is_dir():
            raise OSError(f"{above} is no folder")
        try:
            with tempfile.TemporaryFile(dir=above):  # /proc takes none, whatever its rights say
                pass
        except (FileNotFoundError, PermissionError):
            raise OSError(f"{above} may not be written to") from None
        disk = shutil.disk_usage(above)
        if disk.total and not disk.free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextmanager
def naming_output(path: Path) -> Iterator[None]:
    """Turn what the system refuses in writing a file or folder into an error that names it.

    Parameters
    ----------
    path : Path

    Raises
    ------
    CausalMixError
        In place of an error of the system, or of a library that passes one on.
    """
    try:
        yield
    except Exception as error:
        told_within = isinstance(error, CausalMixError) and error.__cause__  # under a hidden name
        if (reason := file_problem(told_within or error)) is None:
            raise
        hint = ""
        if any(os.strerror(code) in reason for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)):
            hint = f" Make room on the disk of {_real(path).parent}, or choose another path."
        raise CausalMixError(f"{path} cannot be written: {reason}.{hint}") from error


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
    target = _real(path)
    name = re.compile(rf"\.\d+-\w+-(new|old)-{re.escape(_short(target.name))}")
    return sorted(other for other in target.parent.iterdir() if name.fullmatch(other.name))


def remove_stale(path: Path) -> None:
    """Remove what killed processes have left of a file or folder.

    Parameters
    ----------
    path : Path
        The file or folder that was being written.
    """
    for other in hidden_content(path):
        if not _is_stale(other):
            continue
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
        else:
            other.unlink(missing_ok=True)


def _hidden(path: Path, kind: str) -> Path:
    return path.with_name(f".{os.getpid()}-{_HOST}-{kind}-{_short(path.name)}")


def _short(name: str) -> str:
    """Return a name that a prefix fits before: names have 255 bytes at most."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= 180 else hashlib.sha256(encoded).hexdigest()


def _real(path: Path) -> Path:
    with naming_output(path):
        return Path(os.path.realpath(path))


def _swap(new: Path, target: Path) -> None:
    """Put a folder in the place of another one, if there is one."""
    old = _hidden(target, "old")
    try:
        if target.exists():
            os.replace(target, old)  # a folder cannot take the place of a full one
        os.replace(new, target)
        _to_disk(target.parent)
    finally:
        if old.exists() and not target.exists():
            os.replace(old, target)
        shutil.rmtree(old, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, would survive a power cut."""
    if path.is_dir() and os.name == "nt":  # it opens no folders
        return
    is_folder = path.is_dir()
    number = os.open(path, os.O_RDONLY if is_folder else os.O_RDWR)
    try:
        os.fsync(number)
    except OSError:
        if not is_folder:  # those are not synced by every file system
            raise
    finally:
        os.close(number)


@contextmanager
def _held(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Lock a folder against other callers of this function; leaves no file behind."""
    if fcntl is None:
        yield
        return
    number = os.open(folder, os.O_RDONLY)
    _LOCKS.add(number)
    try:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise CausalMixError(
                f"Another process is writing into {folder}. Wait for its end, or choose another "
                "folder."
            ) from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        _LOCKS.discard(number)
        os.close(number)


def _let_go() -> None:
    """Close a parent's locks in a forked child, which would keep them beyond the parent's death."""
    for number in _LOCKS:
        os.close(number)
    _LOCKS.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _is_stale(hidden: Path) -> bool:
    """Say whether its writer is dead, as far as this machine can tell."""
    process, host, *_ = hidden.name[1:].split("-")
    if host != _HOST:
        with suppress(FileNotFoundError):  # its writer has just finished
            return time.time() - hidden.stat().st_mtime > _STALE_SECONDS
        return False
    return not _is_alive(int(process))


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # where a signal 0 would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        return True
    return True
