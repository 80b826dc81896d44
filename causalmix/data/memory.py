"""How much memory is free, asked before something that may not fit is begun."""

from __future__ import annotations

import math
from pathlib import Path

# Where Linux keeps what a container may take, what it takes, and its files in the cache.
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat"),
    ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat"),
)


def free_memory() -> float:
    """Return the bytes that are free on the machine, in the container and under ``ulimit -v``.

    Returns
    -------
    float
        Files in the cache count as free. Infinite where nothing tells.
    """
    machine = 1024 * _entry(Path("/proc/meminfo"), "MemAvailable:", math.inf)
    return min(
        machine, _left_of_limit(), *(_left(Path("/sys/fs/cgroup"), *names) for names in _CGROUPS)
    )


def _left_of_limit() -> float:
    """Return what the limit of this process's address space leaves it."""
    try:
        import resource  # not on Windows
    except ImportError:
        return math.inf
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return math.inf
    return limit - 1024 * _entry(Path("/proc/self/status"), "VmSize:", 0.0)


def _left(folder: Path, limit: str, used: str, stat: str) -> float:
    try:
        left = float((folder / limit).read_text()) - float((folder / used).read_text())
    except (OSError, ValueError):  # none of this kind, or "max" for no limit
        return math.inf
    return left + _entry(folder / stat, "inactive_file", 0.0)


def _entry(file: Path, name: str, default: float) -> float:
    """Return the number that follows a name at the beginning of a line."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return default
    return next((float(line.split()[1]) for line in lines if line.startswith(name)), default)
