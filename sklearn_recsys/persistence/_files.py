"""Atomic replacement of a file, so that neither readers nor crashes leave a partial one."""

from __future__ import annotations

import errno
import os
import platform
import re
import secrets
import stat
import sys
from contextlib import contextmanager, suppress

_PREFIX, _SUFFIX = ".recsys-", ".tmp"


@contextmanager
def replacing(path):
    """Yield a new file, which replaces `path` when the block ends without an error.

    Links are followed: their target is replaced. If Linux supports it, the new file has no name
    until it is complete, so a killed process leaves no file behind.

    Parameters
    ----------
    path : str or path-like
        The file to write; an existing file keeps its mode.

    Raises
    ------
    OSError
        If `path` cannot be written; the error names `path`.
    """
    path = os.fsdecode(path)
    target = os.path.realpath(path)
    folder = os.path.dirname(target)
    replaced = _status_of_replaced(target, path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "No such folder to save to", folder)
    try:
        file, temporary = _open(folder, replaced)
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror}, in the folder of", path) from None
    with file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if temporary is None:
                temporary = _link(file, folder)
            os.replace(temporary, target)
            temporary = None
        except OSError as error:  # name the requested file instead of the temporary one
            if error.errno is None:
                raise
            raise type(error)(error.errno, error.strerror, path) from error
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)
    _sync(folder)


def _status_of_replaced(target, path):
    """Return the status of the file to replace, or None; refuse anything but a regular file."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Cannot save to a folder; name a file in it", path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Cannot save to a device, a pipe or a socket", path)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "Cannot replace a file that is read-only", path)
    return status


def _open(folder, replaced):
    """Return a new file in a folder, and its name if it has one."""
    remove_abandoned(folder)
    mode = 0o666 if replaced is None else 0o600  # a new file's mode follows the umask
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with suppress(OSError):  # not every file system supports O_TMPFILE
            descriptor = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
            return _with_owner_and_mode(descriptor, replaced), None
    name = _temporary_name(folder)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return _with_owner_and_mode(os.open(name, flags, mode), replaced), name


def _with_owner_and_mode(descriptor, replaced):
    """Return the open file, with the owner and the mode of the file that it replaces."""
    if replaced is not None and hasattr(os, "fchmod"):
        with suppress(OSError):  # only root can change the owner
            os.fchown(descriptor, replaced.st_uid, replaced.st_gid)
        os.fchmod(descriptor, stat.S_IMODE(replaced.st_mode))
    return os.fdopen(descriptor, "w+b")


def _link(file, folder):
    """Give an unnamed file a temporary name and return it."""
    name = _temporary_name(folder)
    # with a folder descriptor, Python follows the link in /proc instead of linking the link itself
    descriptors = os.open("/proc/self/fd", os.O_RDONLY)
    try:
        os.link(str(file.fileno()), name, src_dir_fd=descriptors, follow_symlinks=True)
    finally:
        os.close(descriptors)
    return name


def _temporary_name(folder):
    """Return a temporary name that identifies the machine and the process."""
    return os.path.join(folder, f"{_prefix()}{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}")


def _prefix():
    return f"{_PREFIX}{re.sub('[^A-Za-z0-9]', '_', platform.node())[:64]}-"


def remove_abandoned(folder):
    """Remove unfinished files of processes of this machine that are no longer running."""
    if sys.platform == "win32":  # there, os.kill would terminate the process
        return
    prefix = _prefix()
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if not (entry.name.startswith(prefix) and entry.name.endswith(_SUFFIX)):
                continue
            owner = entry.name.removeprefix(prefix).partition("-")[0]
            if owner.isdigit() and not _is_running(int(owner)):
                with suppress(OSError):
                    os.unlink(entry.path)


def _is_running(process):
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True


def _sync(folder):
    """Flush the folder, so that the new name survives a crash of the machine."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
