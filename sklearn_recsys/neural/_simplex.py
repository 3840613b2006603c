"""SimpleX: cosines of users and items, trained by contrast with many shared negatives.

Mao, Zhu, Wang, Dai, Dong, Xiao and He, "SimpleX: A Simple and Strong Baseline for Collaborative
Filtering", CIKM 2021.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from torch import nn
from torch.nn.functional import embedding

from sklearn_recsys.neural._base.net import optimizer_class
from sklearn_recsys.neural._base.own_embeddings import OwnEmbeddingsMixin
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._data.contrast_batches import ContrastBatches, ContrastDataset
from sklearn_recsys.neural._data.pair_batches import CandidateBatches
from sklearn_recsys.neural._data.random import generator
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.neural._nn.contrast import Cosines, unit_vectors
from sklearn_recsys.neural._nn.losses import candidate_ndcg
from sklearn_recsys.neural._nn.pair import normal_vectors
from sklearn_recsys.utils._cells import cell_rows, products_at, with_values
from sklearn_recsys.utils._neighbors import unit_rows
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Array
from sklearn_recsys.utils._threads import sparse_dot


class SimpleXModule(nn.Module):
    """The embeddings of users and items.

    Parameters
    ----------
    n_users, n_items, n_factors : int
        The shapes of the embeddings. Those of the users start at zero: a user is their history.
    history_weight : float
        The weight 1 − g of the history's mean.
    loss : {"softmax", "hinge"}
        The loss.
    temperature : float
        What cosines are divided by, in the softmax.
    margin, negative_weight : float
        The cosine above which a negative counts, and the weight of the negatives, in the hinge.
    dropout : float
        Share of the items that a history loses while training.
    l2 : float
        The penalty of an update is l2/2 · ‖e‖², summed over the embeddings in it.
    sparse : bool
        Whether gradients hold the embeddings of an update alone.
    """

    def __init__(
        self,
        n_users,
        n_items,
        n_factors,
        *,
        history_weight,
        loss,
        temperature,
        margin,
        negative_weight,
        dropout,
        l2,
        sparse,
    ):
        super().__init__()
        self.user_embeddings = nn.Parameter(torch.zeros(n_users, n_factors))
        self.item_embeddings = nn.Parameter(normal_vectors(n_items, n_factors))
        self.history_weight = history_weight
        self.objective = loss
        self.temperature = temperature
        self.margin = margin
        self.negative_weight = negative_weight
        self.dropout = dropout
        self.l2 = l2
        self.sparse = sparse

    def user_vectors(self, own, means):
        """Return the unit vectors of users with these embeddings and means of histories (eq. 3)."""
        return unit_vectors((1 - self.history_weight) * own + self.history_weight * means)

    def loss(self, rows, items, negatives):
        """Return the mean loss of the interactions of some users.

        Parameters
        ----------
        rows : SparseRows of shape (n_rows, n_columns)
            The interactions. A column is one of `items`.
        items : Tensor of int64 of shape (n_columns,)
            The distinct items that these users have an interaction with or are contrasted with.
        negatives : Tensor of int64 of shape (n_negatives,)
            The distinct columns of the negatives that these users share.

        Returns
        -------
        loss : Tensor
            A number.
        """
        own = embedding(rows.training_rows, self.user_embeddings, sparse=self.sparse)
        vectors = embedding(items, self.item_embeddings, sparse=self.sparse)
        units = unit_vectors(vectors)
        users = self.user_vectors(own, self._dropped_out(rows).matmul(vectors))
        cosines = Cosines.of(rows, users, units, negatives)
        if self.objective == "softmax":
            losses = cosines.softmax(self.temperature)
        else:
            losses = cosines.hinge(self.margin, self.negative_weight)
        if not self.l2:
            return losses.mean()
        return losses.mean() + self.l2 / 2 * (own.square().sum() + vectors.square().sum())

    def _dropped_out(self, rows):
        """Return rows whose product with vectors are means, over the items that are not dropped."""
        owners = rows.rows
        kept = torch.ones_like(rows.values)
        if self.dropout:
            kept.bernoulli_(1 - self.dropout, generator=generator(kept.device))
            counts = _sums(kept, owners, len(rows))
            kept = torch.where(counts[owners] > 0, kept, 1)  # no history is dropped as a whole
        return rows.with_values(kept / _sums(kept, owners, len(rows))[owners])

    def validate(self, users, candidates, histories):
        """Return NDCG@10 of the first candidate among the others.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_users,)
            Rows of the users.
        candidates : Tensor of int64 of shape (n_users, n_candidates)
            Items to be ranked, the held-out one first; −1 in empty slots.
        histories : SparseRows of shape (n_users, n_items)
            The users' other interactions; the values of each sum to one.

        Returns
        -------
        ndcg : Tensor
            The mean over the users; ties are misses.
        """
        means = histories.matmul(self.item_embeddings)
        u = self.user_vectors(self.user_embeddings[users], means)
        v = unit_vectors(self.item_embeddings)[candidates.clamp(min=0)]
        return candidate_ndcg(torch.einsum("uf,ucf->uc", u, v), candidates)


def _sums(values, owners, n_rows):
    return values.new_zeros(n_rows).index_add_(0, owners, values)


class HistoryCandidates(CandidateBatches):
    """Candidates with the histories of their users."""

    def __iter__(self):
        start = 0
        for users, candidates in super().__iter__():
            histories = self.dataset.histories[start : start + len(users)]
            start += len(users)
            yield users, candidates, SparseRows.from_csr(histories, self.device)


def _means(X):
    """Return the weights with which rows times vectors are means."""
    lengths = np.diff(X.indptr).clip(min=1)
    return with_values(X, (1 / lengths)[cell_rows(X)].astype(np.float32))


@parameters
class SimpleX(OwnEmbeddingsMixin, NeuralRecommender):
    r"""SimpleX: cosines of user and item vectors, trained with many negatives.

    A user's vector mixes an embedding of their own with the mean of the embeddings of their items,
    and the score of an item is the cosine of the two vectors [1]_. Every interaction is contrasted
    with many sampled items, which all users of an update share.

    Parameters
    ----------
    n_factors : int, default=64
        Length of the embeddings.
    loss : {"softmax", "hinge"}, default="softmax"
        What an interaction and its negatives are compared by, see the Notes. ``"hinge"`` is the
        cosine contrastive loss of the paper.
    temperature : float, default=0.12
        Of the softmax: what cosines are divided by.
    margin : float, default=0.9
        Of the hinge: the cosine above which a negative is penalized.
    negative_weight : float, default=300.0
        Of the hinge: the weight of the negatives.
    n_negatives : int, default=2048
        Items sampled for each update, without replacement; all items, if there are fewer.
    history_weight : float, default=0.7
        The weight of the mean of the history in a user's vector, 1 − g; that of the user's own
        embedding is g. With 1 there are no own embeddings.
    dropout : float, default=0.2
        Share of the items that a history loses while training, so that a user's vector has to
        predict items that it is not made of.
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs. The latter
        takes fewer epochs on large data, without early stopping.
    lr : float, default=0.03
        Learning rate.
    max_epochs : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Users per update, with all their interactions. "auto": a fiftieth of the users, from 16 to
        128.
    optimizer : str or class, default="sparseadam"
        A name or class of :mod:`torch.optim`. The default, Adam for sparse gradients, only updates
        the embeddings of the users and items in a batch; ``"adam"`` updates all of them.
    l2 : float, default=0.0
        Penalty on the embeddings in an update: l2/2 · Σ‖e‖², added to its mean loss.
    early_stopping : bool, default=True
        Whether to stop when the NDCG of held-out interactions stops rising, and keep the best
        weights.
    validation_fraction : float, default=0.1
        The share of the interactions held out for that, at most one of a user and 10,000, which
        NDCG@10 ranks among 99 sampled items.
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
        Seed of the held-out data, the weights, the negatives and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors of the training users, of unit length.
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors of the items, of unit length.
    history_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The embeddings of the items, of which histories are means.
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve.
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
    ImplicitMatrixFactorization : Dot products and biases, trained by pairs or by all items.
    LightGCN : A user's vector from the users and items that are some steps away.
    ELSA : A linear autoencoder whose items have unit vectors; users are sums of these.

    Notes
    -----
    With :math:`N_u` the items of a user, the user's vector and the score are (eq. 2 and 3)

    .. math:: h_u = g \, e_u + (1 - g) \frac{1}{|N_u|} \sum_{i \in N_u} e_i, \qquad
              s_{ui} = \cos(h_u, e_i).

    Training minimizes the mean over the interactions of one of two losses. With
    :math:`\mathcal{N}` the sampled items that the user has no interaction with, these are the
    softmax with temperature :math:`\tau`,

    .. math:: -\ln \frac{\exp(s_{ui} / \tau)}
              {\exp(s_{ui} / \tau) + \sum_{j \in \mathcal{N}} \exp(s_{uj} / \tau)},

    and the hinge, the cosine contrastive loss of [1]_ (eq. 1) with margin m and weight w,

    .. math:: 1 - s_{ui} + \frac{w}{n} \sum_{j \in \mathcal{N}} \max(0, s_{uj} - m),

    where n is `n_negatives`.

    An update takes all interactions of some users, so that a history is summed up once, and a
    negative is compared with a user once, for all of their interactions. In the paper an update
    takes single interactions, and a history's mean is multiplied by a matrix, which is omitted
    here.

    A user's own embedding starts from zero. A new user has none, so their vector is the direction
    of the mean of their items. A row that is a training row takes that user's vector.

    `partial_fit` trains on the rows handed in alone. Rows that were in the last call keep their
    embeddings, and others start from zero, as new users.

    References
    ----------
    .. [1] K. Mao, J. Zhu, J. Wang, Q. Dai, Z. Dong, X. Xiao, X. He, "SimpleX: a simple and strong
       baseline for collaborative filtering", CIKM 2021.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import SimpleX
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = tastes * (rng.random((80, 20)) < 0.6)
    >>> params = dict(n_factors=8, lr=0.02, max_epochs=30, early_stopping=False)
    >>> model = SimpleX(**params, random_state=0).fit(R)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 64
    _: KW_ONLY
    loss: str = "softmax"
    temperature: float = 0.12
    margin: float = 0.9
    negative_weight: float = 300.0
    n_negatives: int = 2048
    history_weight: float = 0.7
    dropout: float = 0.2
    schedule: str = "constant"
    lr: float = 0.03
    max_epochs: int = 100
    batch_size: int | str = "auto"
    optimizer: str | Callable = "sparseadam"

    _parameter_constraints = {
        **NeuralRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"softmax", "hinge"})],
        "temperature": [Interval(Real, 0.01, None, closed="left")],
        "margin": [Interval(Real, -1, 1, closed="both")],
        "negative_weight": [Interval(Real, 0, None, closed="left")],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "history_weight": [Interval(Real, 0, 1, closed="right")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "schedule": [StrOptions({"constant", "one_cycle"})],
    }

    def _fitted_state(self):
        return {**super()._fitted_state(), "history_factors_": Array("n_items", "n_factors")}

    # ---------------------------------------------------------------- training

    @property
    def _batches(self):
        return ContrastBatches

    @property
    def _valid_batches(self):
        return HistoryCandidates

    def _make_datasets(self, train, valid):
        data = ContrastDataset.of_filled_rows(train)
        data.n_negatives = self._fitted_param("n_negatives")
        if valid is not None:
            valid.histories = _means(train[valid.users])
        return data, valid

    def _make_module(self, X):
        return SimpleXModule(
            *X.shape,
            self.n_factors,
            history_weight=self.history_weight,
            loss=self.loss,
            temperature=self.temperature,
            margin=self.margin,
            negative_weight=self.negative_weight,
            dropout=self.dropout,
            l2=self.l2,
            sparse=optimizer_class(self.optimizer) is torch.optim.SparseAdam,
        )

    def _update_size(self, n_examples):
        if self.batch_size == "auto":
            return min(max(n_examples // 50, 16), 128)
        return self.batch_size

    def _finish(self, X, split):
        module = self.net_.module_
        with torch.no_grad():
            own, items = (
                embeddings.cpu().numpy()
                for embeddings in (module.user_embeddings, module.item_embeddings)
            )
        self.history_factors_ = items.copy()
        self.item_factors_ = unit_rows(items)
        share = np.float32(module.history_weight)
        self.user_factors_ = unit_rows((1 - share) * own + share * self._means_of_items(X))

    # ---------------------------------------------------------------- users and scores

    def _means_of_items(self, X):
        return sparse_dot(_means(X), self.history_factors_)

    def _fold_in(self, X):
        """Return the directions of the means of histories."""
        return unit_rows(self._means_of_items(X))

    def _score_pairs(self, X, rows, items):
        return products_at(self._user_factors(X), self.item_factors_, rows, items)
