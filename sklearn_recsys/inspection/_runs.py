"""One fit and evaluation of a model for a comparison, with what it costs."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from warnings import catch_warnings, simplefilter

import numpy as np
import scipy.sparse as sp
from joblib import hash as content_hash
from joblib.externals.loky import ProcessPoolExecutor
from sklearn.base import clone

from sklearn_recsys.base import UserFeaturesMixin
from sklearn_recsys.exceptions import LeakWarning
from sklearn_recsys.model_selection._evaluate import beyond_accuracy
from sklearn_recsys.utils._sklearn import safe_indexing


@dataclass(eq=False)
class Protocol:
    """What all models of a comparison are evaluated on.

    Parameters
    ----------
    X, y : object
        The input and the held-out interactions of each row, as in `score`.
    parsed : list of tuple
        The label, the name and the length of each metric.
    exclude_seen : bool
        As in `score`.
    candidates, user_features : object
        As in `score`, for the rows of `X`.
    """

    X: object
    y: object
    parsed: list
    exclude_seen: bool = True
    candidates: object = None
    user_features: object = None

    def at(self, rows):
        """Return the protocol for some rows; None: for all of them."""
        if rows is None:
            return self
        per_row = sp.issparse(self.candidates) or np.ndim(self.candidates) == 2
        X, y, candidates, features = (
            values if values is None else safe_indexing(values, rows)
            for values in (
                self.X,
                self.y,
                self.candidates if per_row else None,
                self.user_features,
            )
        )
        candidates = candidates if per_row else self.candidates
        return Protocol(X, y, self.parsed, self.exclude_seen, candidates, features)


@dataclass(eq=False)
class Run:
    """The result of one fit and evaluation.

    Parameters
    ----------
    sums : dict of str to RowSums
        The accuracy metrics.
    others : dict of str to float
        The beyond-accuracy metrics.
    costs : dict of str to float
        Seconds, and peak memory in MiB if it was measured.
    shape : tuple of int
        The number of rows that the model was evaluated on, and of items.
    key : str
        What identifies the given and the held-out cells.
    """

    sums: dict
    others: dict
    costs: dict
    shape: tuple
    key: str


def run(name, model, fit, train, test, memory):
    """Fit a clone of a model to the rows of `train` if it is to be fitted, and evaluate it.

    Parameters
    ----------
    name : str
        What messages call the model.
    model : estimator
        A recommender.
    fit : bool
        Whether to fit a clone; False: the model is fitted.
    train, test : Protocol
        What to fit to, and what to evaluate on.
    memory : bool
        Whether to measure peak memory, in a child process of its own.

    Returns
    -------
    run : Run
    """
    try:
        if not memory:
            return _run(name, model, fit, train, test, memory)
        with ProcessPoolExecutor(max_workers=1) as executor:
            return executor.submit(_run, name, model, fit, train, test, memory).result()
    except Exception as error:
        error.add_note(f"The model is {name!r}.")
        raise


def _run(name, model, fit, train, test, memory):
    costs = dict.fromkeys(["fit_seconds", "predict_seconds", "fit_mib", "predict_mib"], np.nan)
    if fit:
        model, params = clone(model), {}
        if train.user_features is not None and _reads_features(model):
            params["user_features"] = train.user_features
        with _measured(memory) as spent:
            model.fit(train.X, **params)
        costs["fit_seconds"], costs["fit_mib"] = spent.seconds, spent.mib
    with catch_warnings(), _measured(memory) as spent:
        simplefilter("error", LeakWarning)
        try:
            outcome = model._evaluate(
                test.X,
                test.y,
                test.parsed,
                exclude_seen=test.exclude_seen,
                candidates=test.candidates,
                user_features=test.user_features if model._has_features else None,
            )
        except LeakWarning as leak:
            raise ValueError(f"{name!r} can't be compared. {leak}") from None
    costs["predict_seconds"], costs["predict_mib"] = outcome.seconds, spent.mib
    cells = [outcome.X.indptr, outcome.X.indices, outcome.y.indptr, outcome.y.indices]
    key = content_hash([array.astype(np.int64) for array in cells] + [outcome.y.data])
    others = beyond_accuracy(test.parsed, outcome, model)
    return Run(outcome.row_sums(test.parsed), others, costs, outcome.y.shape, key)


def _reads_features(model):
    """Return whether a recommender, or the one at the end of a pipeline, reads user features."""
    model = getattr(model, "_model", model)
    of_members = getattr(model, "_reads_user_features", None)  # of composites
    return isinstance(model, UserFeaturesMixin) and (of_members is None or of_members())


@contextmanager
def _measured(memory):
    """Measure the seconds of a block, and the MiB by which its peak exceeds what is held before."""
    spent = SimpleNamespace(seconds=np.nan, mib=np.nan)
    if memory:
        before = _status("VmRSS")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets the peak
    start = time.perf_counter()
    yield spent
    spent.seconds = time.perf_counter() - start
    if memory:
        spent.mib = max(0.0, _status("VmHWM") - before)


def _status(field):
    """Return a figure of this process in MiB."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**10
