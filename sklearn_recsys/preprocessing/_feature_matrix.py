"""Features of items as one matrix of numbers, for models that weight its columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.utils import check_array

from sklearn_recsys.preprocessing._features import FeatureEncoder, fit_encoder
from sklearn_recsys.utils._cells import take_cells
from sklearn_recsys.utils._sparse import as_csr, canonical_csr


def feature_matrix(features, encoder):
    """Return features as numbers, and what encoded them.

    Items are not similar because a FeatureEncoder found their values missing or unknown: its
    columns for unknown values are set to zero.

    Parameters
    ----------
    features : {DataFrame, array-like, sparse matrix} of shape (n_items, n_columns)
        The parameter `item_features` of a model, in the order of the items.
    encoder : transformer or None
        Converts them to numbers; None: frames are encoded by a FeatureEncoder with default
        parameters, and anything else must hold numbers.

    Returns
    -------
    matrix : csr_array of float32 of shape (n_items, n_features)
        A canonical matrix.
    encoder : transformer or None
        A fitted clone of the encoder; None if the features were numbers already.
    """
    fitted = None
    if isinstance(features, pd.DataFrame) or encoder is not None:
        fitted = fit_encoder(encoder, features)
        features = fitted.transform(features)
    with np.errstate(over="ignore"):  # check_array refuses values too large for float32
        matrix = check_array(
            as_csr(features, "item_features"),
            accept_sparse="csr",
            dtype=np.float32,
            input_name="item_features",
        )
    matrix = canonical_csr(matrix, name="item_features")
    if isinstance(fitted, FeatureEncoder):
        informative = np.ones(matrix.shape[1], dtype=bool)
        informative[fitted.unknown_columns_] = False
        matrix = take_cells(matrix, informative[matrix.indices])
    return matrix, fitted
