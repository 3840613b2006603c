"""TwoTower: histories and attributes of users, ids and features of items.

Covington, Adams and Sargin, "Deep Neural Networks for YouTube Recommendations", RecSys 2016; Yi et
al., "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item Recommendations", RecSys 2019.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import gen_batches

from sklearn_recsys.base import FactorsMixin, UserFeaturesMixin
from sklearn_recsys.base._histories import Histories
from sklearn_recsys.base._user_features import check_aligned
from sklearn_recsys.neural._base.inductive import InductiveRanker
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import PENALTIES
from sklearn_recsys.neural._base.validation import hold_out_cells
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.neural._data.sparse_rows import SparseRows
from sklearn_recsys.neural._nn.layers import (
    ACTIVATIONS,
    check_layer_sizes,
    split_biases,
)
from sklearn_recsys.neural._nn.two_tower import TwoTowerModule
from sklearn_recsys.preprocessing import FeatureEncoder
from sklearn_recsys.preprocessing._features import fit_encoder
from sklearn_recsys.utils._cells import item_counts, products_at
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Array, Instance, Maybe, Number

_BLOCK_SIZE = 4096  # users, or items, whose vectors are computed at once


@parameters
class TwoTower(FactorsMixin, UserFeaturesMixin, InductiveRanker):
    r"""Two towers: histories and attributes of users, ids and features of items.

    The user tower computes a vector from the items of the history, from attributes such as gender
    and age, and optionally from an id. The item tower computes one from an item's id and features:
    genres, the words of its title by a text-CNN [1]_, numbers. A score is the dot product of the
    two vectors, plus biases. A new user needs no id, and with features no history (cold start); an
    item with features needs no interaction.

    Parameters
    ----------
    item_features : {DataFrame, array-like, sparse matrix}, default=None
        Of shape (n_items, n_columns): a row for each item, in the order of the columns of `X`; in a
        pipeline with an encoder the rows of a frame are matched by the raw item ids in its index.
        None: items have ids only.
    loss : {"mse", "logistic", "softmax"}, default="mse"
        ``"mse"`` predicts ratings. The others rank: ``"softmax"`` predicts the user's items among
        all items of the batch, weighted to represent the whole catalog [2]_, and ``"logistic"``
        classifies them against the other items of the batch, with the same weights.
    n_factors : int, default=128
        Length of the vectors whose product is the score.
    embedding_dim : int, default=256
        Width of the vectors of ids and histories.
    feature_embedding_dim : int, default=32
        Width of the vectors of categories, tags and words.
    hidden_layer_sizes : sequence of int, default=(256,)
        Widths of the hidden layers of each tower.
    activation : str, default="tanh"
        Activation of the hidden layers: ``"tanh"``, ``"relu"``, or another one of
        `DeepAutoencoder`.
    history : bool, default=True
        Whether the user tower reads the items of the history.
    user_ids : bool, default=False
        Whether training users also have id embeddings. A row that does not equal a training row
        has none, nor do, with a ranking loss, the users held out for early stopping.
    n_filters : int, default=16
        Filters of the text-CNN for each length of window, which are 2, 3, 4 and 5 words.
    history_dropout : float, default=0.5
        Share of the items of the histories dropped while training.
    id_dropout : float, default=0.3
        Share of the items, and of the users, whose ids and histories are dropped while training,
        so that the features are trained for cold start; without features, nothing is dropped. An
        item whose id is dropped loses its rare features, too; see the Notes.
    text_dropout : float, default=0.8
        Share of the text-CNN's maxima dropped while training.
    dropout : float, default=0.0
        Share of the hidden layers' units dropped while training.
    batch_norm : bool, default=False
        Whether hidden layers are normalized over the batch.
    n_negatives : int, default=4
        With ``"logistic"``: the items without an interaction have the total weight of this number
        of sampled negatives for each interaction.
    item_encoder, user_encoder : FeatureEncoder, default=None
        Encode `item_features` and ``user_features``; clones of them are fitted. None: a
        :class:`~sklearn_recsys.preprocessing.FeatureEncoder` with default parameters.
    lr : float, default=1e-3
        Learning rate.
    max_epochs : int, default=100
        Maximum number of passes over the data.
    batch_size : int, default=256
        Users per update.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=None
        Penalty on the weights: l2/2 · Σ‖W‖², added to the sum of the losses over all users. None:
        for ratings a thousandth of their number, at most 200; 1 for rankings.
    early_stopping : bool, default=True
        Whether to stop when the error on held-out ratings, or NDCG@100 of held-out users, stops
        improving, and keep the best weights.
    validation_fraction : float, default=0.1
        The share of the ratings, or of the users, held out for that.
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
        Seed of the held-out data, the weights, the dropout, and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors of the items.
    item_biases_ : ndarray of float32 of shape (n_items,)
        Their biases.
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors of the training users, which `transform` returns for them.
    user_biases_ : ndarray of float32 of shape (n_users,)
        Their biases.
    item_encoder_, user_encoder_ : FeatureEncoder or None
        The fitted encoders; None without features.
    user_features_ : ndarray of float32 of shape (n_users, n_slots) or None
        The encoded features of the training users, if any were passed.
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve; losses of ratings are on the scale of training, 1 to 5.
    rating_range_ : tuple of float
        With ``"mse"``: the lowest and the highest training rating.
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
    sklearn_recsys.content.ContentRecommender : Item similarities by features alone.
    MatrixFactorization, ImplicitMatrixFactorization : Embeddings of ids alone.

    Notes
    -----
    The score of a user u and an item i is :math:`p_u \cdot q_i + b_u + b_i`, for ratings plus
    their mean; :math:`(p_u, b_u)` and :math:`(q_i, b_i)` are the outputs of the towers. A history
    is the sum of a vector for each of its items, over the root of their number; for ratings a
    second such sum is weighted by the ratings' deviations from the mean.

    A word that only one item has identifies it like an id, and carries no information about new
    items. Categories, tags and words of fewer than a hundredth of the items (and fewer than ten)
    are therefore replaced by unknown for items whose id is dropped and for items without an
    interaction.

    A batch holds some users with all their interactions. The vector of an item is computed once per
    batch, and once after training for all predictions. In the ranking losses an item j that is
    compared with the items of a user has the weight :math:`1 / \pi_j`, where :math:`\pi_j` is the
    probability that a user of the batch has it: this corrects for popular items being in more
    batches, see section 3 of [2]_.

    References
    ----------
    .. [1] Yoon Kim. "Convolutional Neural Networks for Sentence Classification". EMNLP 2014.
    .. [2] Xinyang Yi et al. "Sampling-Bias-Corrected Neural Modeling for Large Corpus Item
       Recommendations". RecSys 2019.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from sklearn_recsys import TwoTower
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = tastes * (rng.random((80, 20)) < 0.6)
    >>> items = pd.DataFrame({"language": ["German"] * 10 + ["French"] * 10})
    >>> users = pd.DataFrame({"country": ["Austria"] * 40 + ["France"] * 40})
    >>> model = TwoTower(items, loss="softmax", max_epochs=20, random_state=0)
    >>> model = model.fit(R, user_features=users)

    A new user without a history (cold start):

    >>> new_user = pd.DataFrame({"country": ["France"]})
    >>> lists = model.recommend([[0] * 20], n=10, user_features=new_user)
    >>> items["language"][lists[0]].unique().tolist()
    ['French']
    """

    item_features: Any = None
    _: KW_ONLY
    loss: str = "mse"
    n_factors: int = 128
    embedding_dim: int = 256
    feature_embedding_dim: int = 32
    hidden_layer_sizes: Sequence[int] = (256,)
    activation: str = "tanh"
    history: bool = True
    user_ids: bool = False
    n_filters: int = 16
    history_dropout: float = 0.5
    id_dropout: float = 0.3
    text_dropout: float = 0.8
    dropout: float = 0.0
    batch_norm: bool = False
    n_negatives: int = 4
    item_encoder: FeatureEncoder | None = None
    user_encoder: FeatureEncoder | None = None
    max_epochs: int = 100
    batch_size: int = 256
    l2: float | None = None

    _parameter_constraints = {
        **InductiveRanker._parameter_constraints,
        "l2": [PENALTIES, None],
        "item_features": ["array-like", "sparse matrix", None],
        "loss": [StrOptions({"mse", "logistic", "softmax"})],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "feature_embedding_dim": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "history": ["boolean"],
        "user_ids": ["boolean"],
        "n_filters": [Interval(Integral, 1, None, closed="left")],
        "history_dropout": [Interval(Real, 0, 1, closed="left")],
        "id_dropout": [Interval(Real, 0, 1, closed="left")],
        "text_dropout": [Interval(Real, 0, 1, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "batch_norm": ["boolean"],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "item_encoder": [FeatureEncoder, None],
        "user_encoder": [FeatureEncoder, None],
    }

    @property
    def _can_distribute(self):
        return self._on_ratings and not self.batch_norm  # else a batch is more than its rows

    @property
    def _on_ratings(self):
        return self._fitted_param("loss") == "mse"

    @property
    def _metric(self):
        return None if self._on_ratings else "valid_ndcg"

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        if self._on_ratings:
            tags.recommender_tags.values = "rating"
        return tags

    def _fitted_state(self):
        encoded = Instance(FeatureEncoder)
        rules = {
            **super()._fitted_state(),
            "item_encoder_": Maybe(encoded),
            "_item_codes_": Maybe(Array("n_items", "n_item_slots")),
            "user_encoder_": Maybe(encoded),
            "_l2_": Number(low=0),
            "item_biases_": Array("n_items"),
            "user_biases_": Array("n_users"),
        }
        if self._on_ratings:
            rules["_mean_"] = Number()
        return rules

    def _n_layers(self):
        encoders = (self.item_encoder_, self.user_encoder_)
        slots = [slot for encoder in encoders if encoder is not None for slot in encoder.slots_]
        return super()._n_layers() + sum(kind != "number" for _, kind, *_ in slots)

    # ---------------------------------------------------------------- features

    def _encode_features(self, features, reset):
        with _named("user_features"):
            if reset:
                self.user_encoder_ = fit_encoder(self.user_encoder, features)
            return self.user_encoder_.encode(features)

    def _encode_items(self):
        """Set the items' encoder and their codes."""
        self.item_encoder_, self._item_codes_ = None, None
        if self.item_features is not None:
            with _named("item_features"):
                features = self._ordered_item_features()
                self.item_encoder_ = fit_encoder(self.item_encoder, features)
                self._item_codes_ = self.item_encoder_.encode(features)

    # ---------------------------------------------------------------- training

    def _decay(self, n_rows):
        return self._l2_ / n_rows

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        if not resume:
            self._encode_items()
            if self.user_features_ is None:
                self.user_encoder_ = None
            self._l2_ = self.l2
            if self.l2 is None:
                self._l2_ = min(200.0, X.nnz / 1000) if self._on_ratings else 1.0
            if self._on_ratings:
                self._mean_ = float(X.data.mean(dtype=np.float64))
        else:
            self.net_.module_.set_counts(*_counts(X))

    def _check_resume(self, X):
        if self._fitted_param("user_ids") and X.shape[0] != self.interactions_.shape[0]:
            raise ValueError(
                f"With user_ids, partial_fit needs a row for each of the "
                f"{self.interactions_.shape[0]} training users, in their order; got {X.shape[0]}."
            )

    def _make_module(self, X):
        if not (self.history or self.user_ids or self.user_encoder_ is not None):
            raise ValueError(
                "The user tower has no input: history and user_ids are False, and fit got no "
                "user_features."
            )
        ids_alone = self.user_ids and not self.history and self.user_encoder_ is None
        if ids_alone and self.early_stopping and not self._on_ratings:
            raise ValueError(
                "Users with ids alone cannot be held out for early stopping: use "
                "early_stopping=False, or history=True."
            )
        encoders = {"item_slots": self.item_encoder_, "user_slots": self.user_encoder_}
        slots = {name: [] if e is None else e.slots_ for name, e in encoders.items()}
        return TwoTowerModule(
            *_counts(X),
            self._item_codes_,
            **slots,
            sizes=[*check_layer_sizes(self.hidden_layer_sizes), self.n_factors + 1],
            embedding_dim=self.embedding_dim,
            feature_embedding_dim=self.feature_embedding_dim,
            n_filters=self.n_filters,
            history=self.history,
            user_ids=self.user_ids,
            objective=self.loss,
            n_negatives=self.n_negatives,
            history_dropout=self.history_dropout,
            id_dropout=self.id_dropout,
            text_dropout=self.text_dropout,
            dropout=self.dropout,
            activation=self.activation,
            batch_norm=self.batch_norm,
        )

    def _update_size(self, n_examples):
        return -(-n_examples // -(-n_examples // self.batch_size))  # nearly equal sizes

    def _split(self, X, rng):
        if not self._on_ratings:
            return super()._split(X, rng)
        if not self.early_stopping:
            return X, None
        return hold_out_cells(X, self.validation_fraction, rng)

    def _make_datasets(self, train, valid):
        datasets = train, valid
        if self._on_ratings:  # centered after the split, which drops explicit zeros
            rows = self._centered(train)
            datasets = (
                RowDataset(rows),
                None if valid is None else RowDataset(rows, self._centered(valid)),
            )
        for dataset in datasets:
            if dataset is not None and self.user_features_ is not None:
                dataset.features = self.user_features_[dataset.training_rows]
        return datasets

    def _centered(self, X):
        if not self._on_ratings:
            return X
        X = X.copy()
        X.data = X.data - np.float32(self._mean_)
        return X

    def _finish(self, X, split):
        super()._finish(X, split)
        self.item_factors_, self.item_biases_ = split_biases(self._item_vectors(X.shape[1]))
        users = Histories(X, self.user_features_, training_rows=np.arange(X.shape[0]))
        vectors = self._compute_vectors(users)
        self.user_factors_, self.user_biases_ = split_biases(vectors)

    def _item_vectors(self, n_items, block_size=_BLOCK_SIZE):
        """Return the vectors of all items, computed in blocks."""
        blocks = torch.arange(n_items, device=self.net_.device).split(block_size)
        module = self.net_.module_
        return np.vstack([self._evaluated(module.items, items) for items in blocks])

    def _compute_vectors(self, histories, block_size=_BLOCK_SIZE):
        """Return the computed vectors of users; those of training rows include the id embedding."""
        vectors = np.empty((len(histories), self.item_factors_.shape[1] + 1), dtype=np.float32)
        for block in gen_batches(len(histories), block_size):
            users = histories[block]
            X = self._centered(users.X)
            rows = SparseRows.from_csr(X, self.net_.device, users.user_features)
            if users.training_rows is not None:
                rows.training_rows = torch.from_numpy(users.training_rows).to(self.net_.device)
            vectors[block] = self._evaluated(self.net_.module_.users, rows)
        return vectors

    # ---------------------------------------------------------------- users

    def _vectors(self, histories):
        """Return the factors and the biases of users."""
        training_rows = self._training_rows(histories.X, histories.user_features)
        factors, biases = self.user_factors_[training_rows], self.user_biases_[training_rows]
        new = np.flatnonzero(training_rows < 0)
        if len(new):
            factors[new], biases[new] = split_biases(self._compute_vectors(histories[new]))
        return factors, biases

    def _user_factors(self, X, user_features=None):
        return self._vectors(Histories(X, user_features))[0]

    def transform(self, X, *, user_features=None) -> NDArray[np.float32]:
        """Return the vectors of users.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The histories of known or new users.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            Their features, if the model was fitted with some.

        Returns
        -------
        vectors : ndarray of float32 of shape (n_rows, n_factors)
            The user vectors that the model scores items with, without the bias.
        """
        check_aligned(X, user_features)
        return self._factors_of(self._checked_histories(X, user_features))

    def fit_transform(self, X, y=None, *, user_features=None) -> NDArray[np.float32]:
        """Fit, and return the vectors of the training users.

        Parameters
        ----------
        X, y, user_features : object
            As in `fit`.

        Returns
        -------
        vectors : ndarray of float32 of shape (n_users, n_factors)
            A copy of `user_factors_`.
        """
        return self.fit(X, y, user_features=user_features).user_factors_.copy()

    def similar_users(
        self, users=None, n=10, *, user_features=None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the training users with the largest cosine similarity.

        Parameters
        ----------
        users : None, int, 1-D array-like of int or bool, or matrix, default=None
            As in `recommend`: training rows, or histories of any users.
        n : int, default=10
            Users per row.
        user_features : array-like of shape (n_rows, n_user_features), default=None
            The features of `users`, as in `recommend`.

        Returns
        -------
        ids : ndarray of int64 of shape (n_rows, n)
            Training rows, nearest first, except the user (a training row with the same history and
            features); −1 in empty slots.
        similarities : ndarray of float32 of shape (n_rows, n)
            Their cosines, −inf in empty slots.
        """
        check_aligned(users, user_features)
        return self._similar_users(self._histories(users, user_features), n)

    # ---------------------------------------------------------------- scores

    def _score_items(self, X, user_features=None):
        factors, biases = self._vectors(Histories(X, user_features))
        scores = factors @ self.item_factors_.T
        scores += self.item_biases_
        scores += (biases + self._offset())[:, None]
        return scores

    def _score_pairs(self, X, rows, items, user_features=None):
        factors, biases = self._vectors(Histories(X, user_features))
        products = products_at(factors, self.item_factors_, rows, items)
        return products + self.item_biases_[items] + (biases + self._offset())[rows]

    def _score_vectors(self, histories):
        factors, biases = self._vectors(histories)
        return factors, self.item_factors_, biases + self._offset(), self.item_biases_

    def _offset(self):
        return np.float32(self._mean_ if self._on_ratings else 0)


def _counts(X):
    """Return the number of users of each item, and the number of all users."""
    return item_counts(X), X.shape[0]


@contextmanager
def _named(argument):
    """Prefix an encoder's errors with the name of the argument."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{argument}: {error}") from error
