"""Item-based and user-based nearest neighbors.

Sarwar, Karypis, Konstan and Riedl, "Item-based collaborative filtering recommendation algorithms",
WWW 2001; Herlocker, Konstan, Borchers and Riedl, "An algorithmic framework for performing
collaborative filtering", SIGIR 1999.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator

from sklearn_recsys.base import ExplainMixin, RecommenderMixin
from sklearn_recsys.base._explain import weights_at
from sklearn_recsys.base._onnx import LinearOnnxMixin
from sklearn_recsys.base._similar import SimilarItemsMixin, SimilarUsersMixin
from sklearn_recsys.neighbors._contributions import shared_votes, values_of_neighbors
from sklearn_recsys.neighbors._similarity import METRICS, RowSimilarity, warn_if_constant
from sklearn_recsys.utils._cells import support, with_values
from sklearn_recsys.utils._on_disk import transposed
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Instance, Sparse
from sklearn_recsys.utils._threads import sparse_dot
from sklearn_recsys.utils._topk import top_n_cells
from sklearn_recsys.utils.validation import check_finite

_CONSTRAINTS: dict = {
    "n_neighbors": [Interval(Integral, 1, None, closed="left")],
    "metric": [StrOptions(set(METRICS))],
    "shrinkage": [Interval(Real, 0, None, closed="left")],
}


class ItemKNN(LinearOnnxMixin, SimilarItemsMixin, ExplainMixin, RecommenderMixin, BaseEstimator):
    """Item-based nearest neighbors.

    The score of an item is the sum of its similarities to the items of the history, weighted by
    their values, over the `n_neighbors` items most similar to it. Only these are stored: memory
    grows with items × neighbors, never with items × items.

    Parameters
    ----------
    n_neighbors : int, default=100
        Neighbors stored for each item; only positive similarities count.
    metric : {"cosine", "jaccard", "pearson"}, default="cosine"
        Similarity of two items: cosine of their columns; Jaccard index of the users with positive
        values; Pearson's correlation over the users who rated both.
    shrinkage : float, default=5.0
        Similarities are multiplied by n / (n + shrinkage), where n is the number of common users.
        This ranks down similarities that are based on few users.

    Attributes
    ----------
    similarity_ : csr_array of float32 of shape (n_items, n_items)
        Row i holds the similarities of the neighbors of item i.
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
    UserKNN : The same method over users.
    sklearn_recsys.linear_model.EASE : Item weights learned jointly; usually more accurate, dense.

    References
    ----------
    .. [1] Badrul Sarwar, George Karypis, Joseph Konstan, John Riedl. "Item-based collaborative
       filtering recommendation algorithms". WWW 2001.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import ItemKNN
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = ItemKNN(n_neighbors=2).fit(R)
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=2)  # a new user
    array([[2, 0]])
    >>> ids, similarities = model.similar_items([0], n=1)
    >>> ids
    array([[1]])
    """

    _parameter_constraints = _CONSTRAINTS

    def __init__(self, n_neighbors=100, *, metric="cosine", shrinkage=5.0):
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.shrinkage = shrinkage

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.exact = True
        return tags

    def _fitted_state(self):
        similarities = Sparse("n_items", "n_items", sorted=False)
        return {
            **super()._fitted_state(),
            "similarity_": similarities,
            "_weights_": similarities,
        }

    def _fit(self, X):
        warn_if_constant(X, self.metric)
        items = transposed(X)
        similarity = RowSimilarity(items, self.metric, self.shrinkage)
        self.similarity_ = similarity.top(items, self.n_neighbors, skip=np.arange(X.shape[1]))
        self._weights_ = self.similarity_.T.tocsr()  # from an item of the history to its score

    def _score_items(self, X):
        return sparse_dot(X, self._weights_)

    def _contributions(self, X, rows, items):
        return weights_at(self._weights_, X, rows, items)

    def _item_neighbors(self, items, n):
        neighbors = self.similarity_[items]
        check_finite(neighbors.data, "ItemKNN has similarities that are")
        return top_n_cells(neighbors, neighbors.data, n)


class UserKNN(SimilarUsersMixin, ExplainMixin, RecommenderMixin, BaseEstimator):
    """User-based nearest neighbors.

    The score of an item is the sum of the values that the `n_neighbors` training users most similar
    to the history gave it, weighted by their similarity. A history that is a training row is not
    its own neighbor.

    Parameters
    ----------
    n_neighbors : int, default=50
        Neighbors of each history; only positive similarities count.
    metric : {"cosine", "jaccard", "pearson"}, default="cosine"
        Similarity of two users: cosine of their rows; Jaccard index of the items with positive
        values; Pearson's correlation over the items that both rated.
    shrinkage : float, default=5.0
        Similarities are multiplied by n / (n + shrinkage), where n is the number of common items.

    Attributes
    ----------
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix, which is what the model searches for neighbors.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    ItemKNN : The same method over items; recommends faster.

    Notes
    -----
    `explain` divides what each neighbor adds to a score among the items of the history that the
    neighbor has, too: in proportion to the products of their values, whose sum the cosine is, and
    in equal parts for the other metrics.

    References
    ----------
    .. [1] Jonathan Herlocker, Joseph Konstan, Al Borchers, John Riedl. "An algorithmic framework
       for performing collaborative filtering". SIGIR 1999.

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import UserKNN
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = UserKNN(n_neighbors=1).fit(R)
    >>> model.recommend(0, n=1)
    array([[2]])
    >>> ids, similarities = model.similar_users(0, n=1)
    >>> ids
    array([[1]])
    """

    _parameter_constraints = _CONSTRAINTS

    def __init__(self, n_neighbors=50, *, metric="cosine", shrinkage=5.0):
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.shrinkage = shrinkage

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.exact = True
        return tags

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "_similarity_": Instance(RowSimilarity, shared=True),
        }

    def _fit(self, X):
        warn_if_constant(X, self.metric)
        self._similarity_ = RowSimilarity(X, self.metric, self.shrinkage)

    def _score_items(self, X):
        neighbors = self._similarity_.top(X, self.n_neighbors, skip=self._training_rows(X))
        return sparse_dot(neighbors, self.interactions_)

    def _contributions(self, X, rows, items):
        distinct, owners = np.unique(rows, return_inverse=True)
        X, fitted = X[distinct], self.interactions_
        neighbors = self._similarity_.top(X, self.n_neighbors, skip=self._training_rows(X))
        similarities, values = values_of_neighbors(neighbors, owners, items, fitted)
        votes = with_values(similarities, similarities.data * values)
        return shared_votes(votes, self._compared(X), owners, self._compared(fitted))

    def _compared(self, X):
        """Return rows with the values whose products divide a vote among the common items."""
        if self.metric == "cosine":
            return X
        return with_values(X, X.data > 0) if self.metric == "jaccard" else support(X)

    def _user_neighbors(self, histories, n, skip):
        neighbors = self._similarity_.top(self._read(histories.X), n, skip)
        return top_n_cells(neighbors, neighbors.data, n)
