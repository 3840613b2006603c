"""Available memory of the machine and of the enclosing control groups (containers), and checks."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_LARGE = 2**26  # bytes; for larger allocations the cached available memory is too imprecise
_SECONDS = 1.0  # for which a result is cached, because reading the files takes time

# cgroup files in version 2 and 1: the limit, the usage, and the key of the reclaimable page cache
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")

_cached = None  # the last result and its time


def available_memory(root=None):
    """Return the number of bytes that can be allocated now, or None if it is unknown.

    Parameters
    ----------
    root : path-like, default=None
        The folder with ``/proc`` and ``/sys``. None: the machine's own, read at most once a second.
    """
    global _cached
    if root is not None:
        return _read_limits(Path(root))
    now = time.monotonic()
    if _cached is None or now - _cached[1] > _SECONDS:
        _cached = _read_limits(Path("/")), now
    return _cached[0]


def forget_available_memory():
    """Discard the cached result."""
    global _cached
    _cached = None


def check_memory(n_bytes, what, alternative):
    """Raise MemoryError before an allocation of `n_bytes` that cannot fit.

    Parameters
    ----------
    n_bytes : int
        Bytes about to be allocated.
    what : str
        What needs the memory, for the message.
    alternative : str
        What to do instead, for the message.
    """
    if n_bytes >= _LARGE:
        forget_available_memory()
    available = available_memory()
    if available is not None and n_bytes > available:
        raise MemoryError(
            f"{what} needs {n_bytes / 2**30:.1f} GiB, but {available / 2**30:.1f} GiB are "
            f"available. {alternative}"
        )


def check_list_memory(n_rows, n, n_columns, slot_bytes=12):
    """Raise MemoryError before allocating lists of `n` slots that cannot fit.

    Lists may be longer than the number of columns, as long as their empty slots take at most one
    gibibyte.

    Parameters
    ----------
    n_rows, n : int
        Number of lists, and of slots per list.
    n_columns : int
        Maximum number of slots that can be filled.
    slot_bytes : int, default=12
        Bytes per slot, by default for an id and a score.
    """
    what = f"A list of {n:,} items for {n_rows:,} rows"
    check_memory(slot_bytes * n * n_rows, what, "Request shorter lists, or fewer rows at once.")
    empty = slot_bytes * max(0, n - n_columns) * n_rows
    if empty > 2**30:
        raise MemoryError(
            f"{what} needs {slot_bytes * n * n_rows / 2**30:.1f} GiB, of which "
            f"{empty / 2**30:.1f} GiB are for slots that stay empty: there are only "
            f"{n_columns:,} to fill. Request lists of at most this length."
        )


def _read_limits(root):
    limits = [_of_machine(root), *_of_groups(root)]
    return min((free for free in limits if free is not None), default=None)


def _of_machine(root):
    """Return the available memory of the machine."""
    try:
        lines = (root / "proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvail"))
    except (OSError, ValueError, IndexError, StopIteration):
        pass
    if root != Path("/"):
        return None
    try:
        import psutil

        return psutil.virtual_memory().available
    except ImportError:
        pass
    if sys.platform != "win32" and "SC_PHYS_PAGES" in os.sysconf_names:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return None


def _of_groups(root):
    """Yield the available memory of our control groups and each of their ancestors."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    mounts = root / "sys/fs/cgroup"
    own_groups = {mounts: "/", mounts / "unified": "/", mounts / "memory": "/"}
    for line in groups:
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "", "/")
        if not controllers:
            own_groups[mounts] = own_groups[mounts / "unified"] = path
        elif "memory" in controllers.split(","):
            own_groups[mounts / "memory"] = path
    for mount, path in own_groups.items():
        files = _V1 if mount.name == "memory" else _V2
        # in a container the path may be that of the host, of which only the end, or nothing, is
        # mounted: folders that do not exist are skipped
        steps = [step for step in path.split("/") if step not in ("", ".", "..")]
        for depth in range(len(steps), -1, -1):
            yield _of_group(mount.joinpath(*steps[:depth]), *files)


def _of_group(folder, limit, use, cache):
    """Return the available memory of one control group; None if it has no limit."""
    try:
        n_limit, n_used = (int((folder / name).read_text()) for name in (limit, use))
    except (OSError, ValueError):  # the limit may be "max"
        return None
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        n_used -= next((int(line.split()[1]) for line in lines if line.split()[:1] == [cache]), 0)
    except (OSError, ValueError, IndexError):
        pass
    return max(0, n_limit - max(0, n_used))
