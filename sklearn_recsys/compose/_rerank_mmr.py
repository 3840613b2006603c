"""Maximal marginal relevance: items that are relevant, and unlike those before them."""

from __future__ import annotations

from numbers import Real

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array

from sklearn_recsys.compose._reranker import Reranker, greedy, unit_range
from sklearn_recsys.preprocessing._feature_matrix import feature_matrix
from sklearn_recsys.utils._frames import as_pandas_frame, is_frame
from sklearn_recsys.utils._neighbors import unit_rows
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._sparse import as_csr, canonical_csr
from sklearn_recsys.utils._state import Array, Maybe, Rule, Sparse
from sklearn_recsys.utils._threads import row_blocks


class MaximalMarginalRelevance(Reranker):
    r"""Diversify lists: each item is relevant, and unlike the most similar one before it [1]_.

    Parameters
    ----------
    item_features : {DataFrame, array-like, sparse matrix}, default=None
        Of shape (n_items, n_columns): what the items are compared by, with the cosine of their
        rows: genres, or the vectors of a model. A frame is encoded by a
        :class:`~sklearn_recsys.preprocessing.FeatureEncoder`; in a pipeline with an encoder its
        rows are matched to the items by the raw item ids in its index.
    similarity : {array-like, sparse matrix} of shape (n_items, n_items), default=None
        Instead of `item_features`: the similarity of each pair of items, at most 1.
    trade_off : float, default=0.3
        From 0, which leaves the order as it is, to 1, which heeds relevance in the first slot only.

    Attributes
    ----------
    item_vectors_ : csr_array of float32 of shape (n_items, n_features) or None
        The features, of unit length.
    similarity_ : ndarray or csr_array of float32 of shape (n_items, n_items) or None
        The similarity.
    n_features_in_ : int
        Number of items.

    See Also
    --------
    RerankedRecommender : A recommender whose lists are reranked.
    sklearn_recsys.metrics.intra_list_diversity_at_k : How different the items of a list are.

    Notes
    -----
    Slot by slot, with S the items chosen so far and λ the `trade_off`,

    .. math:: \arg\max_{i \notin S}\ (1 - \lambda)\, \mathrm{rel}(i)
              - \lambda \max_{j \in S} \mathrm{sim}(i, j),

    the equation of [1]_ with λ and 1 − λ interchanged. The relevance is the score, scaled to [0, 1]
    over the user's candidates, so that its unit does not matter.

    References
    ----------
    .. [1] J. Carbonell, J. Goldstein, "The use of MMR, diversity-based reranking for reordering
       documents and producing summaries", SIGIR 1998.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.compose import MaximalMarginalRelevance
    >>> genres = [[1, 0], [1, 0], [1, 0], [0, 1]]
    >>> mmr = MaximalMarginalRelevance(genres, trade_off=0.5).fit(np.eye(4))
    >>> mmr.rerank([[0, 1, 2, 3]], [[0.9, 0.8, 0.7, 0.5]], n=2)
    array([[0, 3]])
    """

    _parameter_constraints: dict = {
        "item_features": ["array-like", "sparse matrix", None],
        "similarity": ["array-like", "sparse matrix", None],
        "trade_off": [Interval(Real, 0, 1, closed="both")],
    }

    reads_scores = True

    def __init__(self, item_features=None, *, similarity=None, trade_off=0.3):
        self.item_features = item_features
        self.similarity = similarity
        self.trade_off = trade_off

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "item_vectors_": Maybe(Sparse("n_items", "n_features")),
            "similarity_": Maybe(_Similarity()),
        }

    def _fit(self, X):
        if (self.item_features is None) == (self.similarity is None):
            raise ValueError(
                "MaximalMarginalRelevance compares items by item_features or by similarity: pass "
                "one of them."
            )
        self.item_vectors_ = self.similarity_ = None
        if self.similarity is not None:
            self.similarity_ = self._checked_similarity(X.shape[1])
            return
        features = self._of_items(self.item_features, X.shape[1], "item_features")
        self.item_vectors_ = unit_rows(feature_matrix(features, None)[0])

    def _checked_similarity(self, n_items):
        similarity = self.similarity
        if is_frame(similarity):
            frame = as_pandas_frame(similarity, "similarity")
            if not frame.columns.equals(frame.index):
                if set(frame.columns) != set(frame.index) or not frame.columns.is_unique:
                    raise ValueError(
                        "The index and the columns of similarity must be the same items."
                    )
                frame = frame[frame.index]
            frame = frame.set_axis(range(frame.shape[1]), axis=1)
            frame = self._of_items(frame.assign(_place=range(len(frame))), n_items, "similarity")
            places = frame.pop("_place").to_numpy()
            similarity = frame.to_numpy()[:, places]
        similarity = check_array(
            as_csr(similarity, "similarity"),
            accept_sparse="csr",
            dtype=np.float32,
            input_name="similarity",
        )
        if similarity.shape != (n_items, n_items):
            raise ValueError(
                f"similarity must have a row and a column for each of the {n_items} items; got "
                f"shape {similarity.shape}."
            )
        if sp.issparse(similarity):
            return canonical_csr(similarity, name="similarity")
        return similarity

    def _positions(self, ids, scores, n, histories):
        n_candidates = ids.shape[1]
        width = self.n_features_in_ if self.item_vectors_ is None else self.item_vectors_.shape[1]
        positions = np.empty((len(ids), n), dtype=np.int64)
        row_bytes = 8 * n_candidates * (1 if self.item_vectors_ is None else width)
        for rows in row_blocks(len(ids), row_bytes):
            positions[rows] = self._block(ids[rows], unit_range(scores[rows]), n)
        return positions

    def _block(self, ids, relevance, n):
        similarities = self._similarities(ids)
        nearest = np.zeros(ids.shape)  # the greatest similarity to an item chosen so far

        def values(slot):
            return (1 - self.trade_off) * relevance - self.trade_off * nearest

        def update(chosen, slot):
            to_chosen = similarities(chosen)
            nearest[:] = np.maximum(nearest, to_chosen) if slot else to_chosen

        return greedy(n, ids >= 0, values, update)

    def _similarities(self, ids):
        """Return a function from a column of each row to its similarity to all columns."""
        rows = np.arange(len(ids))
        if self.item_vectors_ is None:

            def of_pairs(chosen):
                pairs = np.broadcast_arrays(ids[rows, chosen][:, None], ids)
                found = self.similarity_[tuple(side.ravel() for side in pairs)]
                return np.asarray(found).reshape(ids.shape)

            return of_pairs
        vectors = self.item_vectors_[ids.ravel()].toarray().reshape(*ids.shape, -1)
        return lambda chosen: (vectors @ vectors[rows, chosen][:, :, None])[:, :, 0]


class _Similarity(Rule):
    """A dense or sparse matrix of a row and a column per item."""

    def check(self, value, sizes):
        rule = Sparse if sp.issparse(value) else Array
        rule("n_items", "n_items").check(value, sizes)
