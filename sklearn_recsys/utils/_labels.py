"""Checks that the row and column labels of frames that are used together agree.

String labels of columns are checked by scikit-learn, by means of `feature_names_in_`. It ignores
all other labels (numbers, dates, tuples), which are compared here in the same way.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sklearn_recsys.utils._warnings import warn


def column_labels(X):
    """Return the column labels of a frame; None for default labels 0, 1, … and other containers.

    They are an array, of dtype object unless the labels are plain numbers or times.
    """
    columns = getattr(X, "columns", None)
    if not isinstance(columns, pd.Index) or _is_default(columns):
        return None
    if isinstance(columns.dtype, np.dtype) and not isinstance(columns, pd.MultiIndex):
        return columns.to_numpy(copy=True)
    return columns.astype(object).to_numpy(copy=True)


def check_distinct_labels(X, name):
    """Refuse a frame with several columns of one label, which would be ambiguous."""
    columns = getattr(X, "columns", None)
    if isinstance(columns, pd.Index) and not columns.is_unique:
        duplicated = columns[columns.duplicated()].unique()
        raise ValueError(f"{name} has several columns of one label: {_format(duplicated)}.")


def same_labels(labels, others):
    """Return whether two lists of labels are equal, in their order."""
    return _index(labels).equals(_index(others))


def item_labels(estimator):
    """Return the item labels seen in `fit`, or None if `X` had none."""
    labels = getattr(estimator, "item_labels_", None)
    return getattr(estimator, "feature_names_in_", None) if labels is None else labels


def set_item_labels(estimator, X):
    """Store the item labels of the training matrix, if it has any."""
    labels = column_labels(X)
    if labels is not None:
        estimator.item_labels_ = labels
    elif hasattr(estimator, "item_labels_"):
        del estimator.item_labels_


def refuse_history(users, labels):
    """Refuse a Series of values by item, a history, where row numbers or ids are expected."""
    if isinstance(users, pd.Series) and not _is_default(users.index) and labels is not None:
        if same_labels(users.index, labels):
            raise ValueError(
                "users is a Series whose index is the items, the history of one user: pass it as a "
                "frame of one row, users.to_frame().T."
            )


def check_item_labels(estimator, X, name):
    """Refuse a frame whose columns are other items, or in another order, than in `fit`.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : object
        Any input; it is accepted if it has no labels.
    name : str
        The caller's argument, for messages.
    """
    columns = getattr(X, "columns", None)
    if not isinstance(columns, pd.Index) or len(columns) != estimator.n_features_in_:
        return  # scikit-learn refuses a wrong number of columns
    labels, fitted_labels = column_labels(X), item_labels(estimator)
    if fitted_labels is None and labels is not None and _is_permutation(columns):
        fitted_labels = np.arange(len(columns))
    are_histories = name in {"X", "users"}
    if fitted_labels is None or labels is None:
        unmatched = labels if fitted_labels is None else fitted_labels
        # scikit-learn warns itself if the labels are strings
        if are_histories and unmatched is not None and not _are_strings(unmatched):
            where, missing = (
                (name, "fit had none") if fitted_labels is None else ("fit", f"{name} has none")
            )
            warn(
                f"The items had labels in {where}, {_format(unmatched)}, but {missing}: the "
                f"columns of {name} are assumed to be the items of {type(estimator).__name__} in "
                "their order."
            )
        return
    if are_histories and _are_strings(fitted_labels) and _are_strings(labels):
        return  # scikit-learn compares them
    if not same_labels(labels, fitted_labels):
        how = "[model.item_labels_]" if hasattr(estimator, "item_labels_") else " in that order"
        raise ValueError(
            f"The columns of {name} must be the items seen in fit, in their order: "
            f"{_format(fitted_labels)}; got {_format(labels)}. Pass {name}{how}, or a matrix "
            "without labels."
        )


def check_same_rows(X, other, name, X_name="X"):
    """Refuse frames (or Series) whose indices differ: their rows may stand for different users."""
    index, others = getattr(X, "index", None), getattr(other, "index", None)
    if not (isinstance(index, pd.Index) and isinstance(others, pd.Index)):
        return
    if len(index) == len(others) and not same_labels(index, others):
        raise ValueError(
            f"{X_name} and {name} are frames with different indices, {_format(index)} and "
            f"{_format(others)}, so their rows may stand for different users: pass "
            f"{name}.loc[{X_name}.index], or arrays."
        )


def check_same_labels(X, other, name, X_name="X"):
    """Refuse frames of one shape whose rows or columns are labeled differently."""
    check_same_rows(X, other, name, X_name)
    check_same_columns(X, other, name, X_name)


def check_same_columns(X, other, name, X_name="X"):
    """Refuse frames of one width whose columns are labeled differently."""
    columns, others = getattr(X, "columns", None), getattr(other, "columns", None)
    if not (isinstance(columns, pd.Index) and isinstance(others, pd.Index)):
        return
    if len(columns) == len(others) and not same_labels(columns, others):
        raise ValueError(
            f"The columns of {name} must be those of {X_name}, in their order: {_format(columns)}; "
            f"got {_format(others)}. Pass {name}[{X_name}.columns], or a matrix without labels."
        )


def check_feature_rows(features, labels):
    """Refuse a frame of item features whose index differs from `labels`, the items of `X`.

    A default index 0, 1, … is not compared, and neither are default columns; but the same numbers
    in another order are deliberate. If `X` is not a frame (None), any index is accepted.
    """
    index = getattr(features, "index", None)
    if not isinstance(labels, pd.Index) or not isinstance(index, pd.Index) or _is_default(index):
        return
    if _is_default(labels) and not _is_permutation(index):
        return
    if not same_labels(labels, index):
        raise ValueError(
            "The index of item_features must be the columns of X, in their order: "
            f"{_format(labels)}; got {_format(index)}. Pass item_features.loc[X.columns] or arrays."
        )


def _index(labels):
    """Return labels as an Index whose dtype depends only on their values."""
    if isinstance(labels, pd.Index) and not isinstance(labels.dtype, np.dtype):
        labels = labels.astype(object)
    labels = np.asarray(labels)
    return pd.Index(labels, tupleize_cols=False).infer_objects()


def _is_default(index):
    """Return whether the labels are 0, 1, …, the default of frames."""
    if isinstance(index, pd.RangeIndex):
        return index.start == 0 and index.step == 1
    return index.dtype.kind in "iu" and np.array_equal(index, np.arange(len(index)))


def _is_permutation(index):
    return index.dtype.kind in "iu" and np.array_equal(np.sort(index), np.arange(len(index)))


def _are_strings(labels):
    return all(isinstance(label, str) for label in labels)


def _format(labels):
    """Return the first five labels as text."""
    labels = _index(labels).tolist()
    return f"[{', '.join(map(repr, labels[:5]))}{', …' if len(labels) > 5 else ''}]"
