"""ContentRecommender: items whose features are like those of the user's history."""

from __future__ import annotations

import numpy as np
import pandas as pd
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    clone,
)
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.utils import check_array
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.preprocessing import FeatureEncoder
from sklearn_recsys.utils._cells import take_cells
from sklearn_recsys.utils._neighbors import is_sparse_enough, scaled_rows, similar_rows, unit_rows
from sklearn_recsys.utils._sklearn import HasMethods
from sklearn_recsys.utils._sparse import as_csr, canonical_csr
from sklearn_recsys.utils._state import Instance, Maybe, Sparse
from sklearn_recsys.utils._threads import sparse_dot
from sklearn_recsys.utils._topk import top_n_cells
from sklearn_recsys.utils.validation import check_finite, check_indices, check_length


class ContentRecommender(
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    RecommenderMixin,
    BaseEstimator,
    auto_wrap_output_keys=None,
):
    r"""Profiles of items and users in the space of the items' features.

    The profile of an item is its features, weighted by TF-IDF and scaled to length one [1]_. The
    profile of a user is the sum of those of the items in the history, weighted by its values, and
    the score of an item is the cosine of the two. Nothing is learnt from other users, so items that
    nobody has are recommended like all others.

    Parameters
    ----------
    item_features : {DataFrame, array-like, sparse matrix}, default=None
        Of shape (n_items, n_columns): a row for each item, in the order of the columns of `X`; in a
        pipeline with an encoder the rows of a frame are found by the raw item ids of its index. A
        frame is encoded by `encoder`; an array or a sparse matrix holds numbers. None: an item is
        described by its users, which says nothing about an item that has none.
    encoder : transformer, default=None
        Makes numbers of the features; a clone of it is fitted. None, for a frame: a
        :class:`~sklearn_recsys.preprocessing.FeatureEncoder` with default parameters. What columns
        it is to read, and how, is its parameter `kinds`.

    Attributes
    ----------
    item_profiles_ : csr_array of float32 of shape (n_items, n_features)
        The profiles of the items.
    encoder_ : transformer or None
        The fitted encoder, if there is one.
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
    ItemKNN : Items alike by who has them, with the few nearest kept.

    Notes
    -----
    TF-IDF weighs the columns of counts, those that hold nothing but whole numbers of at least 0:
    whether an item has a category or tag, how often it has a word. Their weights are those of
    scikit-learn's TfidfTransformer, :math:`\ln\frac{1 + n}{1 + n_f} + 1` with n the number of
    items and :math:`n_f` of those with the feature. All other columns are taken as they are, so
    they should have about unit variance, as the encoder makes them.

    What a :class:`~sklearn_recsys.preprocessing.FeatureEncoder` does not know of items, such as a
    missing category, makes them like no others: its columns for the unknown are zero here.

    A history whose profile is zero, because nothing is known of its items, gets the most popular
    ones, like an empty history.

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
    >>> R = csr_array([[1, 0, 1, 0, 0], [0, 1, 0, 0, 0]])  # nobody has the last two
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
            features = self._encoded_features()
            counts = _columns_of_counts(features)
        weights = np.ones(features.shape[1])
        weights[counts] = TfidfTransformer().fit(features).idf_[counts]
        features = features.astype(np.float64)  # a copy
        features.data *= weights[features.indices]
        self.item_profiles_ = unit_rows(features).astype(np.float32)
        self._by_feature_ = self.item_profiles_.T.tocsr()

    def _encoded_features(self):
        """Return the features as a csr_array, by the encoder if there is one."""
        features = self._ordered_item_features()
        if isinstance(features, pd.DataFrame) or self.encoder is not None:
            self.encoder_ = FeatureEncoder() if self.encoder is None else clone(self.encoder)
            features = self.encoder_.fit(features).transform(features)
        with np.errstate(over="ignore"):  # what float32 cannot hold is refused
            features = check_array(
                as_csr(features, "item_features"),
                accept_sparse="csr",
                dtype=np.float32,
                input_name="item_features",
            )
        features = canonical_csr(features, name="item_features")
        if isinstance(self.encoder_, FeatureEncoder):
            known = np.ones(features.shape[1], dtype=bool)
            known[self.encoder_._unknown_columns()] = False
            features = take_cells(features, known[features.indices])
        return features

    def _profiles(self, X):
        """Return the profiles of canonical histories, of length one or zero."""
        profiles = unit_rows(scaled_rows(X) @ self.item_profiles_)
        profiles.eliminate_zeros()
        return profiles

    def _score_items(self, X):
        profiles = self._profiles(X)
        scores = sparse_dot(profiles, self._by_feature_)
        unknown = np.diff(profiles.indptr) == 0
        if unknown.any():
            scores[unknown] = self._fallback_
        return scores

    def transform(self, X):
        """Return the profiles of users.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The histories of known or new users.

        Returns
        -------
        profiles : csr_array of float32 of shape (n_rows, n_features)
            In the features of `item_profiles_`, scaled to length one; zero for a history that
            nothing is known of.
        """
        check_is_fitted(self)
        X = self._read(self._checked(X))
        with np.errstate(invalid="ignore"):  # what comes of it is refused
            profiles = self._profiles(X)
        check_finite(profiles.data, "ContentRecommender has profiles that are")
        return profiles

    def get_feature_names_out(self, input_features=None):
        """Return the names of the features of `transform`.

        Parameters
        ----------
        input_features : Ignored
            Exists for scikit-learn's tools.

        Returns
        -------
        names : ndarray of str of shape (n_features,)
            Those of the encoder, if it has names; else numbered.
        """
        check_is_fitted(self)
        if hasattr(self.encoder_, "get_feature_names_out"):
            return self.encoder_.get_feature_names_out()
        return super().get_feature_names_out(input_features)

    @property
    def _n_features_out(self):
        return self.item_profiles_.shape[1]

    def similar_items(self, items, n=10):
        """Return the items whose profiles point most nearly the same way.

        Parameters
        ----------
        items : int or array-like of int of shape (n_asked,)
            Item indices.
        n : int, default=10
            Items per row.

        Returns
        -------
        ids : ndarray of int64 of shape (n_asked, n)
            Nearest first, the item itself and items with a cosine of 0 or less left out; −1 in
            empty slots.
        similarities : ndarray of float32 of shape (n_asked, n)
            Their cosines, −inf in empty slots.
        """
        check_is_fitted(self)
        n = check_length(n)
        items = check_indices(np.atleast_1d(items), self.n_features_in_, name="items")
        neighbors = similar_rows(
            self.item_profiles_[items], self._by_feature_, self._cosines, n, items
        )
        return top_n_cells(neighbors, neighbors.data, n)

    def _cosines(self, profiles):
        """Return the cosines of profiles and items, sparse where few are not zero."""
        cosines = profiles @ self._by_feature_
        return cosines if is_sparse_enough(cosines) else cosines.toarray()


def _columns_of_counts(features):
    """Return a mask of the columns that hold nothing but whole numbers of at least 0.

    Every float32 from 2²⁴ on is whole, which says nothing: such values are not taken for counts.
    """
    data = features.data
    odd = (data < 0) | (data != np.floor(data)) | (data >= 2**24)
    return np.bincount(features.indices[odd], minlength=features.shape[1]) == 0
