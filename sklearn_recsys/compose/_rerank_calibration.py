"""Calibration: lists with the genres of the user's history, in its proportions."""

from __future__ import annotations

from numbers import Real

import numpy as np

from sklearn_recsys.compose._reranker import Reranker, greedy, unit_range
from sklearn_recsys.preprocessing._feature_matrix import feature_matrix
from sklearn_recsys.utils._shares import divergence, history_shares, item_shares
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._state import Sparse
from sklearn_recsys.utils._threads import row_blocks


class Calibration(Reranker):
    r"""Calibrate lists: genres in the proportions that they have in the user's history [1]_.

    Parameters
    ----------
    item_features : {DataFrame, array-like, sparse matrix}
        Of shape (n_items, n_columns): how much each item belongs to each genre, at least 0. A frame
        is encoded by a :class:`~sklearn_recsys.preprocessing.FeatureEncoder`, so pass its columns
        of categories or tags alone; in a pipeline with an encoder its rows are matched to the items
        by the raw item ids in its index.
    trade_off : float, default=0.5
        From 0, which leaves the order as it is, to 1, which heeds the genres alone; λ in [1]_.
    alpha : float, default=0.01
        The share of the history's distribution that is mixed into that of the list, so that the
        divergence is finite.

    Attributes
    ----------
    item_shares_ : csr_array of float64 of shape (n_items, n_genres)
        p(g|i), each item's distribution over the genres.
    n_features_in_ : int
        Number of items.

    See Also
    --------
    RerankedRecommender : A recommender whose lists are reranked.
    sklearn_recsys.metrics.calibration_error_at_k : What it lowers.

    Notes
    -----
    With p the distribution of the genres in the history (eq. 2 of [1]_, all weights 1) and q(I)
    that in the list I (eq. 3), the list is to maximize (eq. 7, for a fixed length)

    .. math:: (1 - \lambda) \sum_{i \in I} s(i) - \lambda\, C_{KL}(p, q(I)), \quad
              C_{KL}(p, q) = \sum_g p(g|u) \log \frac{p(g|u)}{\tilde q(g|u)}, \quad
              \tilde q = (1 - \alpha)\, q + \alpha\, p

    (eqs. 4 and 6). As there, items are added one by one, each the best for the list so far. The
    scores s are scaled to [0, 1] over the user's candidates, so that their unit does not matter.
    Items without a genre count in neither distribution. A user without a history, or with one
    without genres, keeps the order.

    References
    ----------
    .. [1] H. Steck, "Calibrated recommendations", RecSys 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn_recsys.compose import Calibration
    >>> genres = [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]]
    >>> calibration = Calibration(genres, trade_off=0.9).fit(np.eye(5))
    >>> calibration.rerank([[0, 1, 3]], n=2, histories=[[0, 0, 1, 0, 1]])
    array([[0, 3]])
    """

    _parameter_constraints: dict = {
        "item_features": ["array-like", "sparse matrix"],
        "trade_off": [Interval(Real, 0, 1, closed="both")],
        "alpha": [Interval(Real, 0, 1, closed="neither")],
    }

    reads_scores = True

    def __init__(self, item_features, *, trade_off=0.5, alpha=0.01):
        self.item_features = item_features
        self.trade_off = trade_off
        self.alpha = alpha

    def _fitted_state(self):
        return {**super()._fitted_state(), "item_shares_": Sparse("n_items", "n_genres")}

    def _fit(self, X):
        features = self._of_items(self.item_features, X.shape[1], "item_features")
        self.item_shares_ = item_shares(feature_matrix(features, None)[0])

    def _positions(self, ids, scores, n, histories):
        positions = np.empty((len(ids), n), dtype=np.int64)
        for rows in row_blocks(len(ids), 32 * ids.shape[1] * self.item_shares_.shape[1]):
            wanted = history_shares(histories.X[rows], self.item_shares_)
            positions[rows] = self._block(ids[rows], unit_range(scores[rows]), n, wanted)
        return positions

    def _block(self, ids, relevance, n, wanted):
        rows = np.arange(len(ids))
        shares = self.item_shares_[ids.ravel()].toarray().reshape(*ids.shape, -1)
        has_genre = shares.any(axis=2)
        listed = np.zeros(wanted.shape)  # the sum of the shares of the items chosen so far
        n_listed = np.zeros(len(ids))  # of those with a genre

        def values(slot):
            n_with = np.maximum(n_listed[:, None] + has_genre, 1)
            q = (listed[:, None] + shares) / n_with[:, :, None]
            error = divergence(wanted[:, None], q, self.alpha)
            return (1 - self.trade_off) * relevance - self.trade_off * error

        def update(chosen, slot):
            listed[:] += shares[rows, chosen]
            n_listed[:] += has_genre[rows, chosen]

        return greedy(n, ids >= 0, values, update)
