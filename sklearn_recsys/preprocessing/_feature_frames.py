"""Reading the frames, arrays and sparse matrices of features that FeatureEncoder takes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import validate_data

from sklearn_recsys.preprocessing._feature_columns import KINDS, infer_kind
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._sparse import as_csr, canonical_csr


def frame_to_fit(encoder, X):
    """Validate the input of `fit`: return a frame of features or a sparse matrix of numbers."""
    if not isinstance(X, pd.DataFrame):
        X = check_array(
            as_csr(X),
            accept_sparse="csr",
            dtype=np.float64,
            ensure_all_finite="allow-nan",
            estimator=encoder,
            input_name="X",
        )
        return canonical_csr(X) if sp.issparse(X) else _named(X)
    if X.shape[0] == 0 or X.shape[1] == 0:
        raise ValueError(f"X has {X.shape[0]} row(s) and {X.shape[1]} column(s) to learn from.")
    non_string = [column for column in X.columns if not isinstance(column, str)]
    if non_string:
        raise TypeError(
            "The column names of a frame of features must be strings; got "
            f"{non_string[:5]}. Rename them: X.columns = X.columns.astype(str)."
        )
    if not X.columns.is_unique:
        duplicated = X.columns[X.columns.duplicated()].unique()
        raise ValueError(f"X has several columns of one name: {list(duplicated)}.")
    return X


def frame_to_encode(encoder, X):
    """Validate the input of a fitted encoder; return it in the form of `frame_to_fit`."""
    if is_frame(X):
        X = as_pandas_frame(X, "X")
    if hasattr(encoder, "feature_names_in_"):
        used = [column for column, kind in encoder.kinds_.items() if kind != "drop"]
        if not isinstance(X, pd.DataFrame):
            raise ValueError(
                f"FeatureEncoder was fitted on a frame with the columns {used}; got "
                f"{type(X).__name__} without column names."
            )
        missing = [column for column in used if column not in X.columns]
        if missing:
            raise ValueError(
                f"X lacks the column(s) {missing} that FeatureEncoder was fitted on; its "
                f"columns are {list(X.columns)}."
            )
        duplicated = [column for column in used if X[column].ndim != 1]
        if duplicated:
            raise ValueError(f"X has several columns of one name: {duplicated}.")
        return X
    X = validate_data(
        encoder,
        as_csr(X),
        accept_sparse="csr",
        dtype=np.float64,
        ensure_all_finite="allow-nan",
        reset=False,
    )
    if not sp.issparse(X):
        return _named(X)
    if encoder.scaler_ is not None and not encoder.scaler_.with_mean:
        return canonical_csr(X)
    check_memory(8 * X.shape[0] * X.shape[1], "X, as a dense array,", "Use fewer rows.")
    return _named(X.toarray())


def find_kinds(frame, declared, separator):
    """Return the kind of each column: as declared in the parameter `kinds`, or inferred."""
    if not separator:
        raise ValueError('separator must not be empty; the default is "|".')
    declared = declared or {}
    unknown_kinds = [kind for kind in declared.values() if kind not in KINDS]
    if unknown_kinds:
        raise ValueError(f"Unknown kind(s) {unknown_kinds}; use one of {list(KINDS)}.")
    if sp.issparse(frame):
        if declared:
            raise ValueError("kinds needs a frame or a dense array; X is sparse.")
        return {f"x{i}": "number" for i in range(frame.shape[1])}
    missing = [column for column in declared if column not in frame.columns]
    if missing:
        raise ValueError(
            f"kinds names {missing}, which X lacks; its columns are {list(frame.columns)}."
        )
    kinds = {
        column: declared.get(column) or infer_kind(series, separator)
        for column, series in frame.items()
    }
    if set(kinds.values()) == {"drop"}:
        raise ValueError("kinds drops every column of X.")
    return kinds


def _named(X):
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])])
