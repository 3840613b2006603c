"""ContentRecommender: recommends items whose features are similar to those of the history."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.base import ExplainMixin, RecommenderMixin
from sklearn_recsys.base._similar import SimilarItemsMixin
from sklearn_recsys.preprocessing._feature_matrix import feature_matrix
from sklearn_recsys.utils._cells import take_rows
from sklearn_recsys.utils._neighbors import scaled_rows, similar_rows, unit_rows
from sklearn_recsys.utils._sklearn import HasMethods
from sklearn_recsys.utils._state import Instance, Maybe, Sparse
from sklearn_recsys.utils._threads import sparse_dot
from sklearn_recsys.utils._topk import top_n_cells
from sklearn_recsys.utils.validation import check_finite


class ContentRecommender(
    SimilarItemsMixin,
    ExplainMixin,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    RecommenderMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,
):
    r"""Content-based recommender: profiles of items and users in the space of item features.

    The profile of an item is its feature vector, weighted by TF-IDF and scaled to unit length [1]_.
    The profile of a user is the sum of the profiles of the items in the history, weighted by its
    values, and the score of an item is the cosine similarity of the two profiles. Nothing is
    learned from other users, so cold-start items without interactions are recommended like all
    others.

    Parameters
    ----------
    item_features : {DataFrame, array-like, sparse matrix}, default=None
        Of shape (n_items, n_columns): a row for each item, in the order of the columns of `X`. In a
        pipeline with an encoder, the rows of a frame are matched to the items by the raw item ids
        in its index. A frame is encoded by `encoder`; an array or a sparse matrix must hold
        numbers. None: an item is described by its users, so an item without users has no features.
    encoder : transformer, default=None
        Converts the features to numbers; a clone of it is fitted. None: frames are encoded by a
        :class:`~sklearn_recsys.preprocessing.FeatureEncoder` with default parameters; its parameter
        `kinds` selects the columns and how they are read.

    Attributes
    ----------
    item_profiles_ : csr_array of float32 of shape (n_items, n_features)
        The profiles of the items.
    encoder_ : transformer or None
        The fitted encoder; None if the features were numbers already.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    ItemKNN : Compares items by their users instead of their features.

    Notes
    -----
    TF-IDF applies to the columns of counts, that is to columns that only contain nonnegative
    integers: whether an item has a category or tag, or how often it has a word. The weights are
    those of scikit-learn's TfidfTransformer, :math:`\ln\frac{1 + n}{1 + n_f} + 1`, where n is the
    number of items and :math:`n_f` the number of items with the feature. All other columns are used
    as they are and should have about unit variance, as the encoder's output does.

    Items are not similar because a :class:`~sklearn_recsys.preprocessing.FeatureEncoder` found
    their values missing or unknown: its columns for unknown values are set to zero here.

    A history whose profile is zero, because its items have no features, gets the most popular
    items, like an empty history.

    References
    ----------
    .. [1] Pasquale Lops, Marco de Gemmis, Giovanni Semeraro. "Content-based recommender systems:
       state of the art and trends". Recommender Systems Handbook, 2011.

    Examples
    --------
    >>> import pandas as pd
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import ContentRecommender
    >>> genres = ["Crime|Drama", "Comedy", "Drama", "Comedy|Drama", "Crime"]
    >>> items = pd.DataFrame({"genres": genres})
    >>> R = csr_array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0]])  # the last two items have no users
    >>> model = ContentRecommender(items).fit(R)
    >>> model.recommend(n=2)
    array([[3, 4],
           [3, 0]])
    >>> ids, cosines = model.similar_items(3, n=2)
    >>> ids
    array([[1, 2]])
    """

    _parameter_constraints: dict = {
        "item_features": ["array-like", "sparse matrix", None],
        "encoder": [HasMethods(["fit", "transform"]), None],
    }

    def __init__(self, item_features=None, *, encoder=None):
        self.item_features = item_features
        self.encoder = encoder

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        tags.recommender_tags.exact = True
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "encoder_": Maybe(Instance(BaseEstimator)),
            "item_profiles_": Sparse("n_items", "n_features"),
            "_by_feature_": Sparse("n_features", "n_items"),
        }

    def _fit(self, X):
        self.encoder_ = None
        if self.item_features is None:
            features, counts = X.T.tocsr(), slice(None)
        else:
            features, self.encoder_ = feature_matrix(self._ordered_item_features(), self.encoder)
            counts = _columns_of_counts(features)
        weights = np.ones(features.shape[1])
        weights[counts] = TfidfTransformer().fit(features).idf_[counts]
        features = features.astype(np.float64)  # a copy
        features.data *= weights[features.indices]
        self.item_profiles_ = unit_rows(features).astype(np.float32)
        self._by_feature_ = self.item_profiles_.T.tocsr()

    def _profiles(self, X):
        """Return the profiles of canonical histories, of unit length or zero."""
        profiles = unit_rows(scaled_rows(X) @ self.item_profiles_)
        profiles.eliminate_zeros()
        return profiles

    def _score_items(self, X):
        profiles = self._profiles(X)
        scores = sparse_dot(profiles, self._by_feature_)
        is_zero = np.diff(profiles.indptr) == 0
        if is_zero.any():
            scores[is_zero] = self._fallback_
        return scores

    def _contributions(self, X, rows, items):
        X = scaled_rows(X)
        sums = (X @ self.item_profiles_).power(2, dtype=np.float64).sum(axis=1)
        norms = np.sqrt(np.where(sums > 0, sums, 1))
        X, lengths = take_rows(X, rows), np.diff(X.indptr)[rows]
        profiles = self.item_profiles_[np.repeat(items, lengths)]
        cosines = self.item_profiles_[X.indices].multiply(profiles).sum(axis=1)
        return X.data * cosines / np.repeat(norms[rows], lengths)

    def transform(self, X) -> sp.csr_array:
        """Return the profiles of users.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            Histories of any users.

        Returns
        -------
        profiles : csr_array of float32 of shape (n_rows, n_features)
            In the feature space of `item_profiles_`, scaled to unit length; zero for a history
            whose items have no features.
        """
        check_is_fitted(self)
        X = self._read(self._checked(X))
        with np.errstate(invalid="ignore"):  # check_finite refuses the results
            profiles = self._profiles(X)
        check_finite(profiles.data, "ContentRecommender has profiles that are")
        return profiles

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features of `transform`.

        Parameters
        ----------
        input_features : Ignored
            For compatibility with scikit-learn.

        Returns
        -------
        names : ndarray of str of shape (n_features,)
            The encoder's feature names if it has any; else the class name and a number.
        """
        check_is_fitted(self)
        if hasattr(self.encoder_, "get_feature_names_out"):
            return self.encoder_.get_feature_names_out()
        return super().get_feature_names_out(input_features)

    @property
    def _n_features_out(self):
        return self.item_profiles_.shape[1]

    def _item_neighbors(self, items, n):
        profiles, by_feature = self.item_profiles_[items], self._by_feature_
        neighbors = similar_rows(profiles, by_feature, lambda rows: rows @ by_feature, n, items)
        return top_n_cells(neighbors, neighbors.data, n)


def _columns_of_counts(features):
    """Return a mask of the columns that contain only nonnegative integers.

    Values from 2²⁴ on are not taken for counts: every float32 of that size is an integer.
    """
    data = features.data
    not_count = (data < 0) | (data != np.floor(data)) | (data >= 2**24)
    return np.bincount(features.indices[not_count], minlength=features.shape[1]) == 0
