"""The base of inductive models: one forward pass over a user's history scores every item."""

from __future__ import annotations

from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._base.validation import hold_out_users
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows


class InductiveRanker(NeuralRecommender):
    """Base of the models that rank items by one forward pass over a user's history.

    A model implements ``_make_module(X)``, which returns a :class:`RankingModule`, and nothing
    else. Training users and new users are treated alike.

    Early stopping holds out a share of the *users*, `validation_fraction`, at most 10,000: 20 % of
    their interactions are held out, and training stops when NDCG@100 on these no longer rises
    (`valid_ndcg` in the training curve), as Liang et al. (2018) do. If that is fewer than 20 users,
    training runs on all rows for `max_epochs`.

    Parameters
    ----------
    lr, max_epochs, batch_size, optimizer, l2, early_stopping, validation_fraction : object
        See :class:`NeuralRecommender`.
    n_iter_no_change, callbacks, checkpoint, device, random_state, verbose, net_params : object
        See :class:`NeuralRecommender`.

    See Also
    --------
    RankingModule : The module that it trains.
    NeuralRecommender : The base of all neural models: its hooks, and a model with its constructor.
    TransductiveRecommender : For models in which each user has an embedding.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_recsys.neural import InductiveRanker, RankingModule
    >>> class LinearModule(RankingModule):
    ...     def __init__(self, n_items):
    ...         super().__init__()
    ...         self.weight = torch.nn.Parameter(torch.zeros(n_items, n_items))
    ...
    ...     def forward(self, rows):
    ...         return rows.matmul(self.weight)
    ...
    ...     def loss(self, inputs, targets):
    ...         log_shares = self(inputs).log_softmax(dim=1)
    ...         return -log_shares[targets.rows, targets.indices].sum() / len(targets)
    >>> @dataclass(eq=False, repr=False, kw_only=True)
    ... class Linear(InductiveRanker):
    ...     lr: float = 0.01
    ...
    ...     def _make_module(self, X):
    ...         return LinearModule(X.shape[1])
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> model = Linear(max_epochs=20, random_state=0)
    >>> model = model.fit(tastes * (rng.random((80, 20)) < 0.6))
    >>> sorted(model.recommend([[1, 1, 1] + [0] * 17], n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    @property
    def _metric(self):
        return "valid_ndcg"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "binary"
        return tags

    def _split(self, X, rng):
        """Return data sets of the training users and of those held out for early stopping."""
        if not self.early_stopping:
            return RowDataset(X), None
        latest = self._values == "order"
        return hold_out_users(X, self.validation_fraction, rng, latest=latest)

    def _make_datasets(self, train, valid):
        return train, valid

    def _score_items(self, X):
        return self._evaluated(self.net_.module_, self._sparse_rows(X))

    def _sparse_rows(self, X):
        """Return histories in the form that the module reads."""
        return SparseRows.from_csr(X, self.net_.device)
