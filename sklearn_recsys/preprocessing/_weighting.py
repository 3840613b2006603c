"""Weightings of a user × item matrix that emphasize its informative interactions."""

from __future__ import annotations

from numbers import Real
from typing import Self

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.utils._cells import cell_rows, item_counts
from sklearn_recsys.utils._fit_progress import fit_progress
from sklearn_recsys.utils._html import HTMLMixin
from sklearn_recsys.utils._sklearn import CallbackSupportMixin, Interval, fit_context
from sklearn_recsys.utils._state import Array, Labels, Number, Optional, Size
from sklearn_recsys.utils.validation import check_interactions


class _WeightTransformer(
    HTMLMixin,
    OneToOneFeatureMixin,
    TransformerMixin,
    CallbackSupportMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,
):
    """Base of the weightings: validation, and weights that take the place of the values.

    A weighting writes ``_weights(X)``, which returns a float64 weight for each stored cell of a
    canonical csr_array, and, if it learns from the training matrix, ``_learn(X)``.
    """

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags

    def _fitted_state(self):
        return {
            "n_features_in_": Size("n_items"),
            "feature_names_in_": Optional(Labels("n_items", strings=True)),
            "item_labels_": Optional(Labels("n_items")),
        }

    def _check(self, X, *, reset):
        """Validate `X`: a canonical csr_array of floats without negatives."""
        X = check_interactions(self, X, reset=reset, dtype=[np.float64, np.float32])
        if X.nnz and X.data.min() < 0:
            raise ValueError(
                f"Negative values in data passed to {type(self).__name__}: the smallest is "
                f"{X.data.min():g}, but counts or weights of at least 0 were expected. Shift or "
                "binarize the values first."
            )
        return X

    def _learn(self, X):
        """Set the fitted attributes that the weights depend on."""

    @fit_context(prefer_skip_nested_validation=True)
    def fit(self, X, y=None) -> Self:
        """Check the matrix, and learn from it what the weights depend on, if anything.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_users, n_items)
            The matrix; no negative values.
        y : None
            Ignored.

        Returns
        -------
        self : object
            The fitted transformer.
        """
        X = self._check(X, reset=True)
        with fit_progress(self, X, y) as progress:
            progress.begin()
            self._learn(X)
        return self

    def transform(self, X) -> sp.csr_array:
        """Weight the rows of a matrix.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
            Rows of training users or new users; no negative values.

        Returns
        -------
        X_weighted : csr_array of shape (n_rows, n_items)
            Sparse even if `X` is dense; float32 if `X` is float32, else float64. No stored value
            becomes zero.
        """
        check_is_fitted(self)
        X = self._check(X, reset=False)
        X_weighted = X.copy()
        weights = self._weights(X).astype(X.dtype)
        X_weighted.data = np.maximum(weights, np.nextafter(0, 1, dtype=X.dtype))
        return X_weighted


class BM25Transformer(_WeightTransformer, auto_wrap_output_keys=None):
    r"""Weight a user × item matrix by Okapi BM25.

    Users are the documents and items the terms: an interaction gets a lower weight if the user has
    many others, or the item many other users.

    Parameters
    ----------
    k1 : float, default=1.2
        How slowly a weight saturates as a value grows; 0 ignores the values and lengths.
    b : float in [0, 1], default=0.75
        Strength of the normalization by a user's total: 0 disables it, 1 applies it fully.

    Attributes
    ----------
    idf_ : ndarray of float64 of shape (n_items,)
        Inverse document frequency of each item.
    mean_length_ : float
        Mean row sum of the training matrix, over all its rows.
    n_features_in_ : int
        The number of items.
    feature_names_in_ : ndarray of str of shape (n_items,)
        Names of the items, where fit was given a DataFrame whose columns are strings.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    sklearn.feature_extraction.text.TfidfTransformer : TF-IDF, which works on the same matrix.

    Notes
    -----
    A value :math:`x_{ui}` becomes

    .. math::

        \mathrm{idf}_i \,
        \frac{x_{ui}\,(k_1 + 1)}{x_{ui} + k_1\,(1 - b + b\, l_u / \bar l)}, \qquad
        \mathrm{idf}_i = \log\Bigl(1 + \frac{N - n_i + 0.5}{n_i + 0.5}\Bigr)

    with :math:`l_u` the sum of row u, :math:`\bar l` its training mean, N the number of training
    rows and :math:`n_i` the number of them with item i ([1]_, section 3.4). The 1 inside the
    logarithm keeps the weights of items that more than half of the users have above zero. Only
    ``idf_`` and ``mean_length_`` come from the training matrix, so new rows are weighted like
    training rows.

    References
    ----------
    .. [1] S. Robertson, H. Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond",
       Foundations and Trends in Information Retrieval 3(4), 2009.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.preprocessing import BM25Transformer
    >>> X = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 2]])
    >>> BM25Transformer().fit_transform(X).toarray().round(2)
    array([[0.13, 0.98, 0.  ],
           [0.17, 0.  , 0.  ],
           [0.11, 0.  , 1.18]])
    """

    _parameter_constraints: dict = {
        "k1": [Interval(Real, 0, None, closed="left")],
        "b": [Interval(Real, 0, 1, closed="both")],
    }

    def __init__(self, k1=1.2, b=0.75):
        self.k1 = k1
        self.b = b

    def _fitted_state(self):
        return {**super()._fitted_state(), "idf_": Array("n_items"), "mean_length_": Number(low=0)}

    def _learn(self, X):
        n_users, frequency = X.shape[0], item_counts(X)
        self.idf_ = np.log1p((n_users - frequency + 0.5) / (frequency + 0.5))
        self.mean_length_ = float(X.data.sum(dtype=np.float64)) / n_users

    def _weights(self, X):
        # a product or sum of large float32 values would overflow
        values, rows = X.data.astype(np.float64), cell_rows(X)
        lengths = np.bincount(rows, weights=values, minlength=X.shape[0])
        saturation = self.k1 * (1 - self.b + self.b * lengths / (self.mean_length_ or 1.0))
        return values * (self.k1 + 1.0) / (values + saturation[rows]) * self.idf_[X.indices]


class LogTransformer(_WeightTransformer, auto_wrap_output_keys=None):
    r"""Weight a user × item matrix of counts by their logarithm.

    Counts span orders of magnitude, and the thousandth play says less than the second: a model
    that reads values as weights would learn mostly from the few largest ones. The logarithm keeps
    their order but reduces their range.

    Parameters
    ----------
    base : float, default=None
        Base of the logarithm, greater than 1; None for the natural one. With base 2 a count of 1
        keeps the weight 1. Another base multiplies all weights by the same factor.
    clip : float, default=None
        Larger values are clipped to this one; None for no limit.

    Attributes
    ----------
    n_features_in_ : int
        The number of items.
    feature_names_in_ : ndarray of str of shape (n_items,)
        Names of the items, where fit was given a DataFrame whose columns are strings.

    See Also
    --------
    BM25Transformer : Also normalizes for active users and popular items.
    sklearn.preprocessing.Binarizer : Replaces all counts by ones.

    Notes
    -----
    A value :math:`x` becomes :math:`\log(1 + \min(x, \mathrm{clip})) / \log(\mathrm{base})`.
    Nothing is learned from the training matrix. A stored value stays above zero.

    The confidence :math:`1 + \alpha \log(1 + x / \epsilon)` of [1]_ gives unobserved cells the
    weight 1; in :class:`~sklearn_recsys.decomposition.ALS` their weight relative to observed ones
    is the parameter `unobserved_weight`.

    References
    ----------
    .. [1] Yifan Hu, Yehuda Koren, Chris Volinsky. "Collaborative Filtering for Implicit Feedback
       Datasets". ICDM 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.preprocessing import LogTransformer
    >>> plays = np.array([[1, 0, 3], [0, 127, 0]])
    >>> LogTransformer(base=2).fit_transform(plays).toarray()
    array([[1., 0., 2.],
           [0., 7., 0.]])
    """

    _parameter_constraints: dict = {
        "base": [Interval(Real, 1, None, closed="neither"), None],
        "clip": [Interval(Real, 0, None, closed="neither"), None],
    }

    def __init__(self, base=None, *, clip=None):
        self.base = base
        self.clip = clip

    def _weights(self, X):
        values = X.data if self.clip is None else np.minimum(X.data, self.clip)
        weights = np.log1p(values.astype(np.float64))
        return weights if self.base is None else weights / np.log(self.base)
