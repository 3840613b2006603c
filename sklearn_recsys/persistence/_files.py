"""Replacing a file as a whole, so that no reader and no crash ever sees half of one."""

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
    """Yield a new file, which takes the place of `path` once the block has ended without an error.

    A link is followed: what it points to is replaced. Where Linux can do so, the new file has no
    name until it is complete, and a process that is killed leaves nothing behind.

    Parameters
    ----------
    path : str or path-like
        The file to be; one that exists keeps its mode.

    Raises
    ------
    OSError
        If `path` cannot be written to; it is the file that the error names.
    """
    asked = os.fsdecode(path)
    target = os.path.realpath(asked)
    folder = os.path.dirname(target)
    replaced = _replaced(target, asked)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "No such folder to save to", folder)
    try:
        file, temporary = _open(folder, replaced)
    except OSError as error:
        raise type(error)(error.errno, f"{error.strerror}, in the folder of", asked) from None
    with file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            if temporary is None:
                temporary = _link(file, folder)
            os.replace(temporary, target)
            temporary = None
        except OSError as error:  # names the file that was asked for, not one that is gone
            if error.errno is None:
                raise
            raise type(error)(error.errno, error.strerror, asked) from error
        finally:
            if temporary is not None:
                with suppress(OSError):
                    os.unlink(temporary)
    _sync(folder)


def _replaced(target, asked):
    """Return the status of the file to be replaced, or None; refuse what is no regular file."""
    try:
        status = os.stat(target)
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, "Cannot save to a folder; name a file in it", asked)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "Cannot save to a device, a pipe or a socket", asked)
    if not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "Cannot replace a file that is read-only", asked)
    return status


def _open(folder, replaced):
    """Return a new file in a folder, and its name if it has one."""
    _remove_abandoned(folder)
    mode = 0o666 if replaced is None else 0o600  # a new file's mode follows the umask
    if hasattr(os, "O_TMPFILE") and os.path.isdir("/proc/self/fd"):
        with suppress(OSError):  # not every file system can
            number = os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode)
            return _like(number, replaced), None
    name = _temporary_name(folder)
    flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
    flags |= getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    return _like(os.open(name, flags, mode), replaced), name


def _like(number, replaced):
    """Return the open file, with the owner and the mode of the one that it replaces."""
    if replaced is not None and hasattr(os, "fchmod"):
        with suppress(OSError):  # only root can give files away
            os.fchown(number, replaced.st_uid, replaced.st_gid)
        os.fchmod(number, stat.S_IMODE(replaced.st_mode))
    return os.fdopen(number, "w+b")


def _link(file, folder):
    """Give a file without a name one, for the moment until it is renamed; return it."""
    name = _temporary_name(folder)
    descriptors = os.open("/proc/self/fd", os.O_RDONLY)  # without it Python links the link itself
    try:
        os.link(str(file.fileno()), name, src_dir_fd=descriptors, follow_symlinks=True)
    finally:
        os.close(descriptors)
    return name


def _temporary_name(folder):
    """Return a name that says whose it is: the machine and the process."""
    return os.path.join(folder, f"{_prefix()}{os.getpid()}-{secrets.token_hex(8)}{_SUFFIX}")


def _prefix():
    return f"{_PREFIX}{re.sub('[^A-Za-z0-9]', '_', platform.node())[:64]}-"


def _remove_abandoned(folder):
    """Remove what processes of this machine that are no longer running had not finished."""
    if sys.platform == "win32":  # os.kill ends a process there
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
    """Make the new name last through a crash of the machine."""
    if hasattr(os, "O_DIRECTORY"):
        with suppress(OSError):
            number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(number)
            finally:
                os.close(number)
