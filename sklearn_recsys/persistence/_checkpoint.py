"""Files of checkpoints: plain values and arrays in the format of model files, without a model."""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager, suppress

from sklearn_recsys.persistence._container import ModelFileError, reading, write
from sklearn_recsys.persistence._decode import Decoder
from sklearn_recsys.persistence._encode import Encoder

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

_KEY = "checkpoint"


def write_checkpoint(path, state):
    """Write a state atomically; raise TypeError that names what cannot be saved.

    Parameters
    ----------
    path : str
        The file; an existing file is replaced.
    state : dict
        What :mod:`sklearn_recsys.persistence` lists: plain values, arrays, containers of these.
    """
    encoder = Encoder()
    tree = encoder.encode(state, _KEY)
    write(path, {_KEY: tree}, encoder.arrays)


def read_checkpoint(path):
    """Return the state in a file; raise ModelFileError if it is damaged or no checkpoint."""
    with reading(path) as reader:
        document = reader.document()
        if type(document) is not dict or set(document) != {_KEY}:
            raise ModelFileError("it is not a checkpoint.")
        state = Decoder(reader, trusted=()).decode(document[_KEY])
        reader.finish()
    return state


@contextmanager
def locked(folder):
    """Lock a folder; raise ValueError if another process or thread holds its lock.

    The system releases the lock when a process ends, however it ends. File systems without locks,
    and Windows, leave the folder unlocked.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.EACCES):
                raise ValueError(
                    f"Another fit is saving its progress in the folder {folder}: give each fit a "
                    "folder of its own."
                ) from None
        yield
    finally:
        with suppress(OSError):  # a forked process may share the descriptor, and keep the lock
            fcntl.flock(descriptor, fcntl.LOCK_UN)
        os.close(descriptor)
