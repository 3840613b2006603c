"""How much memory is left, of the machine and of the control groups (containers) around us."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_SECONDS = 1.0  # for which an answer is good enough; the files take a fraction of a millisecond

# files of a group in version 2 and 1: the limit, the use, the key of the page cache that can go
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")

_told = None  # the last answer, and when it was given


def available_memory(root=None):
    """Return the bytes that an allocation may take now, or None where it cannot be told.

    Parameters
    ----------
    root : path-like, default=None
        Where ``/proc`` and ``/sys`` are. None: the machine's own, asked once a second at most.
    """
    global _told
    if root is not None:
        return _ask(Path(root))
    now = time.monotonic()
    if _told is None or now - _told[1] > _SECONDS:
        _told = _ask(Path("/")), now
    return _told[0]


def ask_again():
    """Make the next answer a new one."""
    global _told
    _told = None


def _ask(root):
    found = [_of_machine(root), *_of_groups(root)]
    return min((free for free in found if free is not None), default=None)


def _of_machine(root):
    """Return what the machine has left."""
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
    """Yield what is left to our control groups and each of their ancestors."""
    try:
        groups = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        groups = []
    mounts = root / "sys/fs/cgroup"
    ours = {mounts: "/", mounts / "unified": "/", mounts / "memory": "/"}
    for line in groups:
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "", "/")
        if not controllers:
            ours[mounts] = ours[mounts / "unified"] = path
        elif "memory" in controllers.split(","):
            ours[mounts / "memory"] = path
    for mount, path in ours.items():
        files = _V1 if mount.name == "memory" else _V2
        # in a container the path may be that of the host, of which only the end, or nothing, is
        # mounted: folders that are not there are passed over
        steps = [step for step in path.split("/") if step not in ("", ".", "..")]
        for depth in range(len(steps), -1, -1):
            yield _of_group(mount.joinpath(*steps[:depth]), *files)


def _of_group(folder, limit, use, cache):
    """Return what is left to one control group; None if it has no limit."""
    try:
        most, used = (int((folder / name).read_text()) for name in (limit, use))
    except (OSError, ValueError):  # the limit may be "max"
        return None
    try:
        lines = (folder / "memory.stat").read_text().splitlines()
        used -= next((int(line.split()[1]) for line in lines if line.split()[:1] == [cache]), 0)
    except (OSError, ValueError, IndexError):
        pass
    return max(0, most - max(0, used))
