"""EmbeddingNet: ratings by a multilayer perceptron on vectors of users and items.

The tabular approach of Guo and Berkhahn, "Entity Embeddings of Categorical Variables",
2016, with the two categories user and item.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY
from numbers import Integral, Real

from torch import nn

from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.transductive_rating import TransductiveRatingRecommender
from sklearn_recsys.neural._data.random import dropout
from sklearn_recsys.neural._nn.layers import check_layer_sizes
from sklearn_recsys.neural._nn.pair import (
    PairMLP,
    PairModule,
    exact,
    normal_vectors,
    squares,
)
from sklearn_recsys.utils._sklearn import Interval


class EmbeddingNetModule(PairModule):
    """A tower over the concatenated vectors, through a sigmoid to the range of the ratings.

    Parameters
    ----------
    n_users, n_items : int
        Rows and columns of the training matrix.
    n_factors : int
        Length of the vectors.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers.
    embedding_dropout, dropout : float
        Shares of the vectors' and of the hidden layers' units dropped while training.
    l2 : float
        The penalty.
    unit : float
        The size of one unit, in ratings.
    intercept : float
        The initial output, before the sigmoid.
    """

    def __init__(
        self,
        n_users,
        n_items,
        n_factors,
        hidden_layer_sizes,
        embedding_dropout,
        dropout,
        l2,
        unit,
        intercept,
    ):
        vectors = (normal_vectors(n, n_factors) for n in (n_users, n_items))
        super().__init__(*vectors, "mse", l2, unit)
        self.embedding_dropout = embedding_dropout
        self.tower = PairMLP(n_factors, hidden_layer_sizes, dropout)
        self.floats_per_pair = max([2 * n_factors, *hidden_layer_sizes])
        self.output = nn.Linear(self.tower.width, 1)
        nn.init.constant_(self.output.bias, intercept)

    def loss(self, users, items, targets):
        """Return the mean loss of examples; in evaluation mode without the penalty.

        Dropout of the vectors and the products of the first layer are computed once for each user
        and each item of the batch, not for each example, whose input is twice as wide.
        """
        if not self.tower.layers:
            return super().loss(users, items, targets)
        users, user_of = users.unique(return_inverse=True)
        items, item_of = items.unique(return_inverse=True)
        u, v = self.user_vectors.index_select(0, users), self.item_vectors.index_select(0, items)
        dropped = (dropout(x, self.embedding_dropout, self.training) for x in (u, v))
        hidden = self.tower.at_pairs(*dropped, user_of, item_of)
        scores = self.output(hidden).squeeze(-1).sigmoid()
        loss = (self.unit * (scores - targets)).square().mean()
        if not self.training:
            return loss
        norms = squares(u).index_select(0, user_of) + squares(v).index_select(0, item_of)
        return loss + self.l2 / 2 * norms.mean()

    def score(self, u, v):
        """Return the scaled ratings of pairs of vectors, of shape (n_pairs,)."""
        u, v = (dropout(x, self.embedding_dropout, self.training) for x in (u, v))
        return self.output(self.tower(u, v)).squeeze(-1).sigmoid()

    def score_all(self, u):
        """Return the scaled ratings of all items, of shape (n_rows, n_items)."""
        hidden = self.tower.all_pairs(u, self.item_vectors)
        logits = hidden @ exact(self.output.weight[0]) + exact(self.output.bias)
        return logits.sigmoid().float()


@parameters
class EmbeddingNet(TransductiveRatingRecommender):
    """EmbeddingNet, a multilayer perceptron on vectors of users and items, for ratings.

    The concatenated vectors of a user and an item go through hidden layers to a rating [1]_.

    Parameters
    ----------
    n_factors : int, default=32
        Length of the vectors.
    hidden_layer_sizes : sequence of int, default=(64,)
        Widths of the hidden layers, with ReLU between them.
    embedding_dropout : float, default=0.25
        Share of the vectors' entries dropped while training.
    dropout : float, default=0.2
        Share of the hidden layers' units dropped while training.
    rating_range : tuple of (float, float), default=None
        The lowest and the highest rating; None: those of the first training matrix. Ratings come
        from a sigmoid that reaches an eighth of the range beyond it on either side.
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs.
    lr : float, default=0.01
        Learning rate.
    max_epochs : int, default=36
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Ratings per update. "auto": a hundredth of them, from 32 to 8192.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.05
        Penalty on the vectors that a rating touches: l2/2 · (‖u‖² + ‖v‖²), added to its squared
        error.
    early_stopping : bool, default=True
        Whether to stop when the loss on held-out ratings stops falling, and keep the best weights.
    validation_fraction : float, default=0.1
        The share of the ratings held out for that.
    n_iter_no_change : int, default=5
        Epochs without an improvement before training stops.
    callbacks : list, default=None
        Callbacks of skorch.
    checkpoint : str or path-like, default=None
        Folder to save the progress of `fit` in: the same call goes on from there if the process was
        killed.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, which takes a GPU if there is
        one.
    random_state : int, RandomState instance or None, default=None
        Seed of the held-out ratings, the weights, the dropout and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve; losses of ratings are on the scale of training, 1 to 5.
    rating_range_ : tuple of float
        The lowest and the highest training rating.
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
    MatrixFactorization : The dot product of the vectors; usually more accurate.
    NCF : Such a perceptron on interactions.

    Notes
    -----
    The model is an average of the weights over about the latest tenth of all updates, as in
    :class:`SASRec`, with which it is validated, too.

    A row that equals a training row has that user's trained vector. Any other row is folded in by
    50 steps of Adam on the user's vector alone, in float64, on the row's ratings.

    References
    ----------
    .. [1] Cheng Guo, Felix Berkhahn. "Entity Embeddings of Categorical Variables". 2016.
       https://arxiv.org/abs/1604.06737

    Examples
    --------
    Each group of users gives five stars to one group of items, and one star to the other:

    >>> import numpy as np
    >>> from sklearn_recsys import EmbeddingNet
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = np.where(tastes, 5, 1) * (rng.random((80, 20)) < 0.6)
    >>> model = EmbeddingNet(n_factors=8, max_epochs=10, random_state=0).fit(R)
    >>> new_user = [[5, 5, 5] + [0] * 14 + [1, 1, 1]]
    >>> np.flatnonzero(model.predict(new_user) > 3).tolist()
    [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 32
    hidden_layer_sizes: Sequence[int] = (64,)
    _: KW_ONLY
    embedding_dropout: float = 0.25
    dropout: float = 0.2
    rating_range: tuple[float, float] | None = None
    lr: float = 0.01
    max_epochs: int = 36
    l2: float = 0.05

    _averages_weights = True
    _can_distribute = True
    _parameter_constraints = {
        **TransductiveRatingRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "embedding_dropout": [Interval(Real, 0, 1, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "rating_range": [tuple, list, None],
    }

    def _update_size(self, n_examples):
        if self.batch_size == "auto":  # large enough to share the tower's first layer
            return min(max(n_examples // 100, 32), 2**13)
        return self.batch_size

    def _make_module(self, X):
        return EmbeddingNetModule(
            *X.shape,
            n_factors=self.n_factors,
            hidden_layer_sizes=check_layer_sizes(self.hidden_layer_sizes),
            embedding_dropout=self.embedding_dropout,
            dropout=self.dropout,
            l2=self.l2,
            unit=self._scale_[1],
            intercept=self._intercept_,
        )

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        rating_range = self._fitted_param("rating_range")
        if rating_range is None:
            rating_range = self.rating_range_
        self._set_scale(X, rating_range, resume)
