"""Labels decide: what the rows and columns of frames are called, compared where frames meet.

Names that are strings are scikit-learn's business, `feature_names_in_` and its messages. It ignores
all other labels (numbers, dates, tuples), which are compared here in the same way.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from sklearn_recsys.utils._warnings import warn


def column_labels(X):
    """Return what the columns of a frame are called; None for anything else, or 0, 1, ….

    That is an array, of objects unless the labels are plain numbers or times.
    """
    columns = getattr(X, "columns", None)
    if not isinstance(columns, pd.Index) or _is_default(columns):
        return None
    if isinstance(columns.dtype, np.dtype) and not isinstance(columns, pd.MultiIndex):
        return columns.to_numpy(copy=True)
    return columns.astype(object).to_numpy(copy=True)


def check_distinct_labels(X, name):
    """Refuse a frame with two columns of one label, of which one would be taken for the other."""
    columns = getattr(X, "columns", None)
    if isinstance(columns, pd.Index) and not columns.is_unique:
        twice = columns[columns.duplicated()].unique()
        raise ValueError(f"{name} has several columns of one label: {_some(twice)}.")


def same_labels(labels, others):
    """Return whether two lists of labels are equal, in their order."""
    return _index(labels).equals(_index(others))


def item_labels(estimator):
    """Return what the items were called in `fit`, None if nothing is known."""
    labels = getattr(estimator, "item_labels_", None)
    return getattr(estimator, "feature_names_in_", None) if labels is None else labels


def set_item_labels(estimator, X):
    """Remember what the items of the training matrix are called, if it says so."""
    labels = column_labels(X)
    if labels is not None:
        estimator.item_labels_ = labels
    elif hasattr(estimator, "item_labels_"):
        del estimator.item_labels_


def check_item_labels(estimator, X, name):
    """Refuse a frame whose columns are other items, or in another order, than in `fit`.

    Parameters
    ----------
    estimator : estimator
        Fitted.
    X : object
        Anything; what has no labels passes.
    name : str
        The caller's argument, for messages.
    """
    columns = getattr(X, "columns", None)
    if not isinstance(columns, pd.Index) or len(columns) != estimator.n_features_in_:
        return  # a wrong number of columns is refused for that
    labels, known = column_labels(X), item_labels(estimator)
    if known is None and labels is not None and _is_permutation(columns):
        known = np.arange(len(columns))
    histories = name in {"X", "users"}
    if known is None or labels is None:
        lone = labels if known is None else known
        # it is scikit-learn that warns where the lone labels are strings
        if histories and lone is not None and not _are_strings(lone):
            has, lacks = (name, "fit had none") if known is None else ("fit", f"{name} has none")
            warn(
                f"The items had labels in {has}, {_some(lone)}, but {lacks}: the columns of {name} "
                f"are taken as the items of {type(estimator).__name__} in their order."
            )
        return
    if histories and _are_strings(known) and _are_strings(labels):
        return  # scikit-learn compares them
    if not same_labels(labels, known):
        how = "[model.item_labels_]" if hasattr(estimator, "item_labels_") else " in that order"
        raise ValueError(
            f"The columns of {name} must be the items seen in fit, in their order: {_some(known)}; "
            f"got {_some(labels)}. Pass {name}{how}, or a matrix without labels."
        )


def check_same_rows(X, other, name, X_name="X"):
    """Refuse frames (or Series) whose indices differ: their rows may stand for different users."""
    index, others = getattr(X, "index", None), getattr(other, "index", None)
    if not (isinstance(index, pd.Index) and isinstance(others, pd.Index)):
        return
    if len(index) == len(others) and not same_labels(index, others):
        raise ValueError(
            f"{X_name} and {name} are frames with different indices, {_some(index)} and "
            f"{_some(others)}, so their rows may stand for different users: pass "
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
            f"The columns of {name} must be those of {X_name}, in their order: {_some(columns)}; "
            f"got {_some(others)}. Pass {name}[{X_name}.columns], or a matrix without labels."
        )


def check_feature_rows(features, labels):
    """Refuse a frame of items' features whose index is not `labels`, the items of `X`.

    An index of 0, 1, … says nothing, and neither do such columns; but the same numbers in another
    order are no accident. Without a frame `X` (None) any index may be in the order of its columns.
    """
    index = getattr(features, "index", None)
    if not isinstance(labels, pd.Index) or not isinstance(index, pd.Index) or _is_default(index):
        return
    if _is_default(labels) and not _is_permutation(index):
        return
    if not same_labels(labels, index):
        raise ValueError(
            "The index of item_features must be the columns of X, in their order: "
            f"{_some(labels)}; got {_some(index)}. Pass item_features.loc[X.columns], or arrays."
        )


def _index(labels):
    """Return labels as an Index whose type depends on what they are, not on what held them."""
    if isinstance(labels, pd.Index) and not isinstance(labels.dtype, np.dtype):
        labels = labels.astype(object)
    labels = np.asarray(labels)
    return pd.Index(labels, tupleize_cols=False).infer_objects()


def _is_default(index):
    """Return whether the labels are 0, 1, …, as frames have by default."""
    if isinstance(index, pd.RangeIndex):
        return index.start == 0 and index.step == 1
    return index.dtype.kind in "iu" and np.array_equal(index, np.arange(len(index)))


def _is_permutation(index):
    return index.dtype.kind in "iu" and np.array_equal(np.sort(index), np.arange(len(index)))


def _are_strings(labels):
    return all(isinstance(label, str) for label in labels)


def _some(labels):
    """Return the first labels as text, in full if they are few."""
    labels = _index(labels).tolist()
    return f"[{', '.join(map(repr, labels[:5]))}{', …' if len(labels) > 5 else ''}]"
