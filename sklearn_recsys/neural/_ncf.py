"""NCF: neural collaborative filtering by a generalized dot product, a perceptron, or both.

He, Liao, Zhang, Nie, Hu and Chua, "Neural Collaborative Filtering", WWW 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import KW_ONLY
from numbers import Integral, Real

import torch
from sklearn.base import clone
from sklearn.utils import check_random_state
from torch import nn

from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.transductive import TransductiveRecommender
from sklearn_recsys.neural._nn.layers import check_layer_sizes
from sklearn_recsys.neural._nn.pair import (
    PairMLP,
    PairModule,
    exact,
    logistic_losses,
    normal_vectors,
    squares,
)
from sklearn_recsys.utils._sklearn import Interval, StrOptions

_PRETRAINED_SHARE = 0.5  # α of § 3.4.1


class NCFModule(PairModule):
    """The score hᵀ φ(u, v) of eq. 11 and 12; φ is p ∘ q, a tower over [p', q'], or both.

    With both, the branches have separate embeddings: a vector holds that of the product, then that
    of the tower.

    Parameters
    ----------
    n_users, n_items : int
        Rows and columns of the training matrix.
    architecture : {"gmf", "mlp", "neumf"}
        The branches: the product, the tower, or both.
    n_factors : int
        Length of an embedding.
    hidden_layer_sizes : sequence of int
        Widths of the tower's layers.
    dropout : float
        Share of the tower's units dropped while training.
    l2 : float
        The penalty.
    """

    def __init__(self, n_users, n_items, architecture, n_factors, hidden_layer_sizes, dropout, l2):
        branches = {"gmf": ("gmf",), "mlp": ("mlp",), "neumf": ("gmf", "mlp")}[architecture]
        size = n_factors * len(branches)
        super().__init__(
            *(normal_vectors(n, size, std=0.05) for n in (n_users, n_items)), "logistic", l2
        )
        self.branches = branches
        self.n_factors = n_factors
        width = 0
        if "gmf" in branches:
            width += n_factors
        if "mlp" in branches:
            self.tower = PairMLP(n_factors, hidden_layer_sizes, dropout)
            width += self.tower.width
            self.floats_per_pair = max([2 * n_factors, *hidden_layer_sizes])
        self.output = nn.Linear(width, 1)  # h
        if branches == ("gmf",):
            nn.init.ones_(self.output.weight)  # starts as a dot product
        nn.init.zeros_(self.output.bias)

    def score(self, u, v):
        """Return the logits of pairs of vectors, of shape (n_pairs,)."""
        hidden, n = [], self.n_factors
        if "gmf" in self.branches:
            hidden.append(u[:, :n] * v[:, :n])
        if "mlp" in self.branches:
            hidden.append(self.tower(u[:, -n:], v[:, -n:]))
        return self.output(torch.cat(hidden, dim=-1)).squeeze(-1)

    def loss(self, users, items, targets):
        """Return the mean loss of examples; in evaluation mode without the penalty.

        In a large batch, the first layer of the tower is computed once for each user and each item,
        not for each example, whose input is twice as wide.
        """
        u, v, n = self.user_vectors, self.item_vectors, self.n_factors
        if 2 * len(users) < len(u) + len(v) or not self._has_tower_layers:
            return super().loss(users, items, targets)
        hidden = [self.tower.at_pairs(u[:, -n:], v[:, -n:], users, items)]
        if "gmf" in self.branches:
            p, q = u[:, :n].index_select(0, users), v[:, :n].index_select(0, items)
            hidden.insert(0, p * q)
        scores = self.output(torch.cat(hidden, dim=-1)).squeeze(-1)
        loss = logistic_losses(scores, targets).mean()
        if not self.training:
            return loss
        penalties = squares(u).index_select(0, users) + squares(v).index_select(0, items)
        return loss + self.l2 / 2 * penalties.mean()

    @property
    def _has_tower_layers(self):
        return "mlp" in self.branches and len(self.tower.layers) > 0

    def score_all(self, u):
        """Return the logits of all items, of shape (n_rows, n_items)."""
        v, n, scores = self.item_vectors, self.n_factors, self.output.bias
        weight = exact(self.output.weight[0])  # the weights of the product come first
        u, v, scores = exact(u), exact(v), exact(scores)
        if "gmf" in self.branches:
            scores = scores + (u[:, :n] * weight[:n]) @ v[:, :n].T
        if "mlp" in self.branches:
            hidden = self.tower.all_pairs(u[:, -n:], v[:, -n:])
            scores = scores + hidden @ weight[-self.tower.width :]
        return scores.float()

    def start_from(self, gmf, mlp):
        """Copy the weights of trained branches; each output layer counts half (eq. 13)."""
        share = _PRETRAINED_SHARE
        with torch.no_grad():
            for name in ("user_vectors", "item_vectors"):
                joined = torch.cat([getattr(gmf, name), getattr(mlp, name)], dim=1)
                getattr(self, name).copy_(joined)
            self.tower.load_state_dict(mlp.tower.state_dict())
            weights = share * gmf.output.weight, (1 - share) * mlp.output.weight
            self.output.weight.copy_(torch.cat(weights, dim=1))
            self.output.bias.copy_(share * gmf.output.bias + (1 - share) * mlp.output.bias)

    def branch(self, name):
        """Return one of the two branches as a separate module, as `start_from` takes it."""
        first = name == "gmf"
        columns = slice(None, self.n_factors) if first else slice(self.n_factors, None)
        share = _PRETRAINED_SHARE if first else 1 - _PRETRAINED_SHARE
        branch = deepcopy(self)
        branch.branches = (name,)
        if first:
            del branch.tower
        branch.user_vectors = nn.Parameter(self.user_vectors[:, columns].detach().clone())
        branch.item_vectors = nn.Parameter(self.item_vectors[:, columns].detach().clone())
        branch.output.weight = nn.Parameter(self.output.weight[:, columns].detach() / share)
        return branch.requires_grad_(False)


@parameters
class NCF(TransductiveRecommender):
    """NCF, neural collaborative filtering: GMF, MLP and NeuMF.

    Whether a user interacts with an item is predicted from vectors of both: by a weighted sum over
    their elementwise product (GMF), by a multilayer perceptron on their concatenation (MLP), or
    by both together, with separate vectors (NeuMF). Negatives are sampled again in each
    epoch [1]_.

    Parameters
    ----------
    architecture : {"gmf", "mlp", "neumf"}, default="neumf"
        The model.
    n_factors : int, default=64
        Length of the vectors of each branch.
    hidden_layer_sizes : sequence of int, default=(128, 64, 32)
        Widths of the perceptron's layers, with ReLU between them.
    pretrain : bool, default=True
        With ``"neumf"``: whether GMF and MLP are trained first, and NeuMF starts from their
        weights, with the mean of their outputs (§ 3.4.1).
    n_negatives : int, default=4
        Negatives for each interaction.
    dropout : float, default=0.0
        Share of the perceptron's units dropped while training.
    schedule : {"constant", "one_cycle"}, default="one_cycle"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs.
    lr : float, default=5e-3
        Learning rate. A pre-trained NeuMF uses a third of it, and in `fit` a third of `max_epochs`.
    max_epochs : int, default=8
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Examples, interactions and negatives, per update. "auto": a fiftieth of the interactions,
        from 32 to 16,384.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.008
        Penalty on the vectors that an example touches: l2/2 · (‖u‖² + ‖v‖²), added to its loss.
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
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve; of the last stage, if there was pre-training.
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
    ImplicitMatrixFactorization : The plain dot product with biases; quicker, and at least as
        accurate.

    Notes
    -----
    A row that equals a training row has that user's trained vectors. Any other row is folded in by
    50 steps of Adam on the user's vectors alone, in float64, with negatives determined by the row's
    content. In a pre-trained NeuMF each branch's vector is fitted without the other branch, as in
    most of the training.

    References
    ----------
    .. [1] Xiangnan He, Lizi Liao, Hanwang Zhang, Liqiang Nie, Xia Hu, Tat-Seng Chua. "Neural
       Collaborative Filtering". WWW 2017.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import NCF
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> X = tastes * (rng.random((80, 20)) < 0.6)
    >>> model = NCF("mlp", n_factors=8, max_epochs=10, random_state=0).fit(X)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    architecture: str = "neumf"
    n_factors: int = 64
    hidden_layer_sizes: Sequence[int] = (128, 64, 32)
    _: KW_ONLY
    pretrain: bool = True
    n_negatives: int = 4
    dropout: float = 0.0
    schedule: str = "one_cycle"
    lr: float = 5e-3
    max_epochs: int = 8
    l2: float = 0.008

    _can_distribute = True

    _parameter_constraints = {
        **TransductiveRecommender._parameter_constraints,
        "architecture": [StrOptions({"gmf", "mlp", "neumf"})],
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like"],
        "pretrain": ["boolean"],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    def _make_module(self, X):
        return NCFModule(
            *X.shape,
            architecture=self.architecture,
            n_factors=self.n_factors,
            hidden_layer_sizes=check_layer_sizes(self.hidden_layer_sizes),
            dropout=self.dropout,
            l2=self.l2,
        )

    @property
    def _pretrains(self):
        return self._fitted_param("architecture") == "neumf" and self._fitted_param("pretrain")

    def _pretrained(self, X, train, valid, rng, checkpoint):
        """Return the modules of both branches, trained and stopped on the same interactions."""
        branches = ("gmf", "mlp") if self._pretrains else ()
        if branches:
            self._progress.begin(len(branches) + 1)
        return [self._branch(name, X, train, valid, rng, checkpoint) for name in branches]

    def _branch(self, name, X, train, valid, rng, checkpoint):
        branch = clone(self).set_params(architecture=name, random_state=int(rng.randint(2**31)))
        rng = check_random_state(branch.random_state)
        epochs = self._progress.iterations("epoch", stage=name)
        branch._train_net(X, train, valid, rng, checkpoint.part(name), epochs)
        return branch.net_.module_.cpu()

    def _learning_rate(self):
        return self.lr / (3 if self._pretrains else 1)

    def _update_size(self, n_examples):
        if self.batch_size == "auto":  # large enough to share the tower's first layer
            return min(max(n_examples // 50, 32), 2**14)
        return self.batch_size

    def _make_net(self, module, device, n_examples, valid, pretrained=False):
        net = super()._make_net(module, device, n_examples, valid, pretrained)
        if pretrained:  # each branch was trained for `max_epochs`
            net.max_epochs = -(-net.max_epochs // 3)
        return net

    def _fold_in(self, module, X):
        fold_in = super()._fold_in
        if self._pretrains:
            vectors = [fold_in(module.branch(name), X) for name in module.branches]
            return torch.cat(vectors, dim=1)
        return fold_in(module, X)
