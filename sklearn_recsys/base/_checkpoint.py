"""Checkpoints: the progress of a `fit` in a folder, from which the same `fit` goes on."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import contextmanager
from importlib.metadata import version

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.utils import check_random_state

from sklearn_recsys import __version__
from sklearn_recsys.persistence._checkpoint import locked, read_checkpoint, write_checkpoint
from sklearn_recsys.persistence._encode import Encoder
from sklearn_recsys.persistence._files import remove_abandoned
from sklearn_recsys.persistence._frames import portable
from sklearn_recsys.utils._device import check_device

_SUFFIX = ".checkpoint"
_NOT_COMPARED = {"checkpoint", "verbose"}
_SHARE = 0.1  # of the time since the last checkpoint that writing one may take
_SHORT = 100  # characters of a value, and items of an array, that are compared as they are


class CheckpointMixin:
    """Mixin for iterative recommenders, whose `fit` can go on after the process was killed.

    A model has the parameters `checkpoint` and `random_state`. Its `_fit` works, and draws random
    numbers, inside of ``_open_checkpoint(X)``.
    """

    _parameter_constraints: dict = {"checkpoint": [str, os.PathLike, None]}
    _unsaved_params = ("checkpoint",)  # a model file must not choose a folder to write to
    _n_processes = 1  # that fit the model together

    @contextmanager
    def _open_checkpoint(self, X, enabled=True):
        """Yield the `Checkpoint` of a fit to `X`, and delete its files if the fit succeeds.

        Raises
        ------
        ValueError
            If the folder is in use, or holds a checkpoint of another fit or an unreadable file.
        """
        if self.checkpoint is None or not enabled:
            yield Checkpoint(None, None, self.random_state)
            return
        folder = os.path.abspath(os.fsdecode(self.checkpoint))
        os.makedirs(folder, exist_ok=True)
        with locked(folder):
            checkpoint = Checkpoint(folder, _identity(self, X), self.random_state)
            yield checkpoint
            checkpoint.clear()


class Checkpoint:
    """The progress of a fit: files in a folder, one for each part of the fit.

    A file holds the state of its part, what identifies the fit, and the state of the random numbers
    from which the fit started: a resumed fit starts from it, too.

    Parameters
    ----------
    folder : str or None
        The folder, which exists and is locked; None: nothing is saved.
    identity : dict of str or None
        What the fit depends on, by name.
    random_state : int, RandomState instance or None
        The parameter of the model.

    Attributes
    ----------
    random_state : RandomState
        The random numbers of the fit.
    """

    def __init__(self, folder, identity, random_state):
        self.folder = folder
        self.identity = identity
        self.random_state = check_random_state(random_state)
        self._saved = {}
        if folder is None:
            return
        start = self._read()
        if start is not None:
            if not isinstance(random_state, np.random.RandomState):
                self.random_state = np.random.RandomState()  # None: the global one is not ours
            self.random_state.set_state(start)
        self._start = self.random_state.get_state(legacy=False)

    def part(self, name):
        """Return the `Part` of the fit with a name."""
        return Part(self, name)

    def clear(self):
        """Delete all files."""
        if self.folder is not None:
            for name in self._names():
                os.unlink(self._path(name))
            remove_abandoned(self.folder)

    def _read(self):
        """Read all files; return the random state that the fit started from, None without files."""
        start = None
        for name in self._names():
            path = self._path(name)
            try:
                file = read_checkpoint(path)
                identity, start, self._saved[name] = file["fit"], file["start"], file["state"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(
                    f"{path} is damaged or not a checkpoint ({error}). Delete it to begin from the "
                    "start, or use another folder."
                ) from error
            differences = _differences(identity, self.identity)
            if differences:
                raise ValueError(
                    f"The checkpoint in {self.folder} is of another fit: {differences}. To resume "
                    "that fit, pass its data and parameters; to begin a new one, delete the folder "
                    "or use another one."
                )
        return start

    def _names(self):
        return sorted(
            name.removesuffix(_SUFFIX) for name in os.listdir(self.folder) if name.endswith(_SUFFIX)
        )

    def _path(self, name):
        return os.path.join(self.folder, name + _SUFFIX)


class Part:
    """A part of a fit, with its own file.

    Parameters
    ----------
    checkpoint : Checkpoint
        The checkpoint of the fit.
    name : str
        The name, unique in the fit.
    """

    def __init__(self, checkpoint, name):
        self.checkpoint = checkpoint
        self.name = name
        self._last, self._cost = time.perf_counter(), 0.0

    def load(self):
        """Return the saved state, once; None if there is none."""
        return self.checkpoint._saved.pop(self.name, None)

    @property
    def is_due(self):
        """Whether to save now: so rarely that it takes a small share of the time."""
        if self.checkpoint.folder is None:
            return False
        return self._cost <= _SHARE * (time.perf_counter() - self._last)

    def save(self, state):
        """Write a dict of plain values and arrays; it replaces the former one atomically."""
        checkpoint, start = self.checkpoint, time.perf_counter()
        if checkpoint.folder is None:
            return
        file = {"fit": checkpoint.identity, "start": checkpoint._start, "state": state}
        write_checkpoint(checkpoint._path(self.name), file)
        self._last = time.perf_counter()
        self._cost = self._last - start


# ------------------------------------------------------------------------ what a fit depends on


def _identity(model, X):
    """Return texts of all that a fit depends on, by name: equal texts mean the same fit."""
    cls = type(model)
    params = {
        name: _text(portable(value, name))
        for name, value in model.get_params(deep=False).items()
        if name not in _NOT_COMPARED
    }
    if params.get("device", "'cpu'") != "'cpu'":  # the same numbers are not drawn elsewhere
        params["device"] = repr(str(check_device(model.device)))
    features = getattr(model, "user_features_", None)
    packages = ("numpy", "scipy", "skorch", "torch")
    return {
        "model": f"{cls.__module__}.{cls.__qualname__}",
        **params,
        "X": f"{X.shape[0]} × {X.shape[1]} with {X.nnz} interactions ({_digest(X)})",
        "user_features": "None" if features is None else f"{features.shape} ({_digest(features)})",
        "the number of processes": str(model._n_processes),
        "the order of item_features": _text(getattr(model, "_item_order_", None)),
        "sklearn_recsys": __version__,
        **{package: version(package) for package in packages},
    }


def _differences(former, current):
    """Return a text of what differs between two identities; an empty one if nothing does."""
    if former.get("model") != current["model"]:
        return f"its model is {former.get('model')} instead of {current['model']}"
    return "; ".join(
        f"{name} is {former.get(name, 'missing')} there and {current.get(name, 'missing')} here"
        for name in dict.fromkeys([*current, *former])
        if former.get(name) != current.get(name)
    )


def _text(value):
    """Return a text that is equal for equal values: the value if it is short, else a digest."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.random.RandomState):  # its state is in the checkpoint
        return f"a RandomState of {value.get_state(legacy=False)['bit_generator']}"
    if isinstance(value, (range, np.ndarray, pd.Index, pd.Series)) and np.ndim(value) == 1:
        value = list(value) if len(value) <= _SHORT else value
    if isinstance(value, (list, tuple)) and len(value) <= _SHORT:
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_text(key)}: {_text(item)}' for key, item in value.items())}}}"
    if value is None or isinstance(value, (str, int, float)) and len(repr(value)) <= _SHORT:
        return repr(value)
    if hasattr(value, "__qualname__"):  # a class or a function
        return f"{value.__module__}.{value.__qualname__}"
    name = type(value).__name__
    try:
        return f"{name} ({_digest(value)})"
    except (TypeError, ValueError):  # such as a callback: its parameters, not its state
        params = {k: v for k, v in getattr(value, "__dict__", {}).items() if not k.endswith("_")}
        plain = {k: v for k, v in params.items() if v is None or isinstance(v, (str, int, float))}
        return f"{name}({_text(plain)})"


def _digest(value):
    """Return a digest of a value that can be saved; raise TypeError for any other one."""
    value = sp.csr_array(value) if sp.issparse(value) else value
    encoder = Encoder()
    digest = hashlib.sha256(json.dumps(encoder.encode(value, "")).encode())
    for array in encoder.arrays:
        digest.update(repr((array.dtype.str, array.shape)).encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
    return digest.hexdigest()[:16]
