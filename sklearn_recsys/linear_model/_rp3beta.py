"""P3alpha and RP3beta: random walks of three steps on the graph of users and items.

Cooper, Lee, Radzik and Siantos, "Random walks in recommender systems: exact computation and
simulations", WWW 2014 Companion; Paudel, Christoffel, Newell and Bernstein, "Updatable, accurate,
diverse, and scalable recommendations for interactive applications", TiiS 2017.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_non_negative

from sklearn_recsys.linear_model._low_pass import LowPassMixin
from sklearn_recsys.utils._cells import cell_rows, item_counts, item_degrees, with_values
from sklearn_recsys.utils._neighbors import similar_rows
from sklearn_recsys.utils._on_disk import by_rows, transposed
from sklearn_recsys.utils._sklearn import Interval


@by_rows
def from_users(X, alpha):
    """Return the probabilities of a step from each user to each item, to the power `alpha`."""
    rows = cell_rows(X)
    return _divided(X, np.bincount(rows, X.data, X.shape[0])[rows], alpha)


@by_rows
def from_items(X, alpha, degrees):
    """Return the same of a step from each item to each user, given the sums of the columns."""
    return _divided(X, degrees[X.indices], alpha)


def _divided(X, sums, alpha):
    data = (X.data / sums) ** alpha  # in float64
    return with_values(X, data.astype(np.float32))


class RP3beta(LowPassMixin, BaseEstimator):
    r"""Random walk of three steps on the graph of users and items, with a penalty on popularity.

    A walk starts at a user, steps to an item of the history, on to another user of that item, and
    ends at an item of that user. Items are ranked by the probability that it ends there (P3alpha
    [1]_), divided by a power of their popularity (RP3beta [2]_). The fit is two sparse products,
    without any iteration, and the model is a sparse matrix of the best item-item weights.

    Parameters
    ----------
    alpha : float, default=0.75
        Exponent of the transition probabilities. Below 1, steps through users with long histories
        and from popular items weigh more.
    beta : float, default=0.3
        Exponent of the number of users of an item, by which its weights are divided: with 0 popular
        items are on top, 1 ranks down everything popular.
    n_neighbors : int or None, default=100
        Items of histories that count for each item, those with the largest weights: memory grows
        with items × neighbors. None: all of them, which may come close to a dense items × items
        matrix.
    normalize : bool, default=True
        Whether the stored weights of each item of a history are divided by their sum, so that all
        items of a history have the same influence.
    low_pass : float, default=0.0
        Weight of an ideal low-pass filter that is added to W: the projection of histories on the
        first singular vectors of the matrix of interactions, see Notes. 0: none.
    n_factors : int, default=64
        Singular vectors of the low-pass filter; unused without one.
    random_state : int, RandomState instance or None, default=None
        Seed of their randomized decomposition.

    Attributes
    ----------
    coef_ : csr_array of float32 of shape (n_items, n_items)
        The weights W: ``coef_[i, j]`` is what item i in a history adds to the score of item j. The
        diagonal is zero.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    Raises
    ------
    ValueError
        If `X` holds negative values: a step from a user to an item is as probable as the value
        is large.
    MemoryError
        In `fit`, before anything is allocated, if the weights may not fit.

    See Also
    --------
    EASE : Item weights learned jointly, dense.
    sklearn_recsys.neighbors.ItemKNN : Sparse item weights by similarity.

    Notes
    -----
    With the probabilities :math:`p_{ui} = x_{ui} / \sum_k x_{uk}` of a step from a user to an
    item and :math:`q_{iu} = x_{ui} / \sum_v x_{vi}` of one from an item to a user,

    .. math:: W_{ij} = d_j^{-\beta} \sum_u q_{iu}^{\alpha} p_{uj}^{\alpha}, \quad i \ne j,

    where :math:`d_j` is the number of users of item j. The largest weights of each column are
    stored, then each row is divided by its sum (Ferrari Dacrema et al. [3]_). Without these two
    steps, that is with ``n_neighbors=None, normalize=False``, W is that of the papers, and with
    ``beta=0`` P3alpha.

    The scores are x W: as in most implementations, the first step is weighted by the values of the
    history themselves. For histories of ones, this ranks as the walk does for every `alpha`.

    Where histories are long, as on MovieLens, the cap and the normalization make the model more
    accurate. Where they are short, as on Yelp2018, many small weights matter, and the cap costs
    accuracy.

    **Low-pass filter.** With `low_pass` α, scores are :math:`x (W + \alpha D_i^{-1/2} V V^\top
    D_i^{1/2})`, where V holds the first right singular vectors of :math:`D_u^{-1/2} X D_i^{-1/2}`
    and :math:`D_u`, :math:`D_i` the degrees: the filter of GF-CF [4]_. ``coef_`` is W alone.

    References
    ----------
    .. [1] Colin Cooper, Sang Hyuk Lee, Tomasz Radzik, Yiannis Siantos. "Random walks in recommender
       systems: exact computation and simulations". WWW 2014 Companion.
    .. [2] Bibek Paudel, Fabian Christoffel, Chris Newell, Abraham Bernstein. "Updatable, accurate,
       diverse, and scalable recommendations for interactive applications". ACM Transactions on
       Interactive Intelligent Systems 7(1), 2017.
    .. [3] Maurizio Ferrari Dacrema, Simone Boglio, Paolo Cremonesi, Dietmar Jannach. "A Troubling
       Analysis of Reproducibility and Progress in Recommender Systems Research". ACM Transactions
       on Information Systems 39(2), 2021. https://arxiv.org/abs/1911.07698
    .. [4] Yifei Shen, Yongji Wu, Yao Zhang, Caihua Shan, Jun Zhang, Khaled B. Letaief, Dongsheng
       Li. "How Powerful is Graph Convolution for Recommendation?". CIKM 2021.
       https://arxiv.org/abs/2108.07567

    Examples
    --------
    >>> from scipy.sparse import csr_array
    >>> from sklearn_recsys import RP3beta
    >>> R = csr_array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1], [0, 0, 1, 1]])
    >>> model = RP3beta().fit(R)
    >>> model.recommend(csr_array([[0, 0, 0, 1]]), n=2)  # a new user
    array([[2, 0]])
    """

    _parameter_constraints: dict = {
        **LowPassMixin._parameter_constraints,
        "alpha": [Interval(Real, 0, None, closed="neither")],
        "beta": [Interval(Real, 0, None, closed="left")],
        "n_neighbors": [Interval(Integral, 1, None, closed="left"), None],
        "normalize": ["boolean"],
    }

    _sparse_coef = True

    def __init__(
        self,
        alpha=0.75,
        beta=0.3,
        *,
        n_neighbors=100,
        normalize=True,
        low_pass=0.0,
        n_factors=64,
        random_state=None,
    ):
        self.alpha = alpha
        self.beta = beta
        self.n_neighbors = n_neighbors
        self.normalize = normalize
        self.low_pass = low_pass
        self.n_factors = n_factors
        self.random_state = random_state

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.positive_only = True
        tags.recommender_tags.exact = not self.low_pass
        return tags

    def _read(self, X):
        check_non_negative(X, type(self).__name__)
        return super()._read(X)

    def _fit(self, X):
        n_items = X.shape[1]
        q = from_items(X, self.alpha, item_degrees(X))
        weights = similar_rows(
            transposed(from_users(X, self.alpha)),
            q,
            lambda items: items @ q,
            self.n_neighbors or n_items,
            skip=np.arange(n_items),
        )
        self._set_weights(weights, item_counts(X))
        self._fit_low_pass(X)

    def _set_weights(self, weights, counts):
        """Set W, given the walks' weights, a row for each item that is scored, and the counts."""
        popularity = np.maximum(counts, 1) ** float(self.beta)
        weights.data /= popularity.astype(np.float32)[cell_rows(weights)]
        self.coef_ = weights.T.tocsr()
        if self.normalize:
            rows = cell_rows(self.coef_)
            self.coef_.data /= np.bincount(rows, self.coef_.data, len(counts))[rows]
