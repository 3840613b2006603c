"""ELSA: a linear autoencoder whose weights are a product of item vectors.

Vančura, Alves, Kasalický and Kordík, "Scalable Linear Shallow Autoencoder for Collaborative
Filtering", RecSys 2022.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch

from sklearn_recsys.base import ExplainMixin, FactorsMixin
from sklearn_recsys.base._onnx import OnnxMixin
from sklearn_recsys.neural._base.inductive import InductiveRanker
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._data.row_batches import RowBatches, RowDataset
from sklearn_recsys.neural._nn.ranking import RankingModule
from sklearn_recsys.utils._cells import cell_rows, item_counts, normalized, products_at
from sklearn_recsys.utils._neighbors import unit_rows
from sklearn_recsys.utils._sklearn import Interval
from sklearn_recsys.utils._threads import sparse_dot

_VALIDATION_CELLS = 2**26  # scores of held-out users that are computed at once
_ROUNDING = 1e-6  # of a dot product of unit vectors in float32
_SMALLEST = 1e-6  # squared norm of an output; below it, float32 holds nothing but rounding


class _UnitRows(torch.autograd.Function):
    """Rows scaled to unit length, with few passes over a matrix of the size of the catalog."""

    @staticmethod
    def forward(ctx, vectors):
        lengths = vectors.norm(dim=1, keepdim=True)
        unit = vectors / lengths.masked_fill(lengths.isinf(), torch.nan)  # not zero: diverged
        ctx.save_for_backward(unit, lengths)
        return unit

    @staticmethod
    def backward(ctx, grad):
        unit, lengths = ctx.saved_tensors
        along = torch.linalg.vecdot(grad, unit)[:, None]
        return torch.addcmul(grad, unit, along, value=-1).div_(lengths)


class _OutputSquares(torch.autograd.Function):
    """The squared norm of each row of h Aᵀ from AᵀA, without the rows."""

    @staticmethod
    def forward(ctx, codes, A):
        products = codes @ (A.T @ A)  # (n_rows, n_factors)
        ctx.save_for_backward(codes, A, products)
        return torch.linalg.vecdot(products, codes)

    @staticmethod
    def backward(ctx, grad):
        codes, A, products = ctx.saved_tensors
        scaled = 2 * grad[:, None]
        return scaled * products, A @ (codes.T @ (scaled * codes))


class ELSAModule(RankingModule):
    """Outputs x (A Aᵀ − I), where the rows of A are the item vectors scaled to unit length.

    Parameters
    ----------
    n_items, n_factors : int
        Shape of A.
    """

    def __init__(self, n_items, n_factors):
        super().__init__()
        self.vectors = torch.nn.Parameter(torch.randn(n_items, n_factors))

    def unit_vectors(self):
        """Return A, of shape (n_items, n_factors)."""
        return _UnitRows.apply(self.vectors)

    def forward(self, rows):
        """Return the outputs, of shape (n_rows, n_items)."""
        A = self.unit_vectors()
        outputs = rows.matmul(A) @ A.T
        outputs[rows.rows, rows.indices] -= rows.values
        return outputs

    def loss(self, inputs, targets):
        """Return the mean of ‖s/‖s‖ − x/‖x‖‖² over the rows x, which must not be empty.

        The outputs s = x (A Aᵀ − I) are never computed. With codes h = xA,

            s · x = ‖h‖² − ‖x‖²  and  ‖s‖² = h AᵀA hᵀ − 2‖h‖² + ‖x‖²

        cost one product with the cells of the batch, and one of n_factors² · n_items.
        """
        rows = targets.normalized()
        A = self.unit_vectors()
        codes = rows.matmul(A)  # (n_rows, n_factors)
        squares = codes.square().sum(dim=1)
        with torch.autocast(codes.device.type, enabled=False):  # these numbers cancel
            norms = _OutputSquares.apply(codes, A) - 2 * squares + 1
        cosines = (squares - 1) / norms.clamp(min=_SMALLEST).sqrt()
        return 2 - 2 * cosines.mean()


class _Scores(torch.nn.Module):
    """The scores of dense rows."""

    def __init__(self, item_factors):
        super().__init__()
        self.register_buffer("item_factors", torch.from_numpy(item_factors))

    def forward(self, rows):
        return rows @ self.item_factors @ self.item_factors.T - rows


class ValidationBatches(RowBatches):
    """Batches of so few rows that their scores of all items fit in little memory."""

    def __init__(self, dataset, batch_size, **params):
        n_rows = max(1, _VALIDATION_CELLS // dataset.X.shape[1])
        super().__init__(dataset, min(batch_size, n_rows), **params)


@parameters
class ELSA(OnnxMixin, ExplainMixin, FactorsMixin, InductiveRanker):
    r"""ELSA, a scalable linear shallow autoencoder.

    The weights of a linear autoencoder like :class:`~sklearn_recsys.linear_model.EASE`, factorized:
    every item has a vector of unit length, and the score of an item is the sum of its cosine
    similarities to the items of the history [1]_. Memory and the cost of an update are linear in
    the number of items, so it trains on catalogs whose items × items matrix does not fit in memory.
    The model is independent of the number of users, and a new user takes one sparse product.

    Parameters
    ----------
    n_factors : int, default=256
        Length of the item vectors. Larger values are more accurate, and slower.
    item_normalization : float, default=0.0
        The exponent b: to train, the column of each item is divided by the b-th power of the sum of
        its absolute values, so that popular items count less. 0: not at all.
    lr : float, default=0.3
        Learning rate. Elements of the vectors start with a size of about 1 and grow, which lowers
        the effective rate: a good one is far greater than those of other networks.
    max_epochs : int, default=30
        Maximum number of passes over the data.
    batch_size : int, default=512
        Users per update.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.0
        Penalty on the weights: l2/2 · Σ‖W‖², added to the sum of the losses over all users. It
        bounds the lengths of the vectors before they are scaled, on which no score depends.
    early_stopping : bool, default=True
        Whether to stop when NDCG@100 of held-out users stops rising, and keep the best weights.
    validation_fraction : float, default=0.1
        The share of the users held out for that, at most 10,000 of them. If they are fewer than 20,
        all users are trained on, for `max_epochs`.
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
        Seed of the held-out users, the weights and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The unit vectors of the items, A; zeros for items without an interaction to train on.
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors of the training users, x A for a row x.
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
    sklearn_recsys.linear_model.EASE : All weights in closed form; more accurate on catalogs whose
        items × items matrix fits in memory.
    sklearn_recsys.decomposition.ALS : Vectors of users and items, solved for in turns.

    Notes
    -----
    The outputs are :math:`s = x (A A^\top - I)`, with rows of A of unit length, so that no item
    contributes to its own output. Training minimizes the mean over the users of

    .. math:: \left\lVert \frac{s}{\lVert s \rVert} - \frac{x}{\lVert x \rVert} \right\rVert^2
              = 2 - 2 \frac{s \cdot x}{\lVert s \rVert \lVert x \rVert},

    without computing the outputs: with codes :math:`h = x A`,

    .. math:: s \cdot x = \lVert h \rVert^2 - \lVert x \rVert^2, \qquad
              \lVert s \rVert^2 = h A^\top A h^\top - 2 \lVert h \rVert^2 + \lVert x \rVert^2.

    An update thus costs n_factors for each interaction of the batch and n_factors² for each item,
    and no matrix of users × items is ever computed. The authors' code also sets negative outputs to
    zero in the loss, for which there is no such shortcut.

    The values of `X` are weights of the interactions. The loss does not depend on their scale, nor
    on that of a row: there is nothing to gain from a normalization of the users. With b the model
    is trained on the columns divided by powers of the items' degrees, and scores plain rows.

    References
    ----------
    .. [1] Vojtěch Vančura, Rodrigo Alves, Petr Kasalický, Pavel Kordík. "Scalable Linear Shallow
       Autoencoder for Collaborative Filtering". RecSys 2022.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import ELSA
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> R = tastes * (rng.random((80, 20)) < 0.6)
    >>> model = ELSA(n_factors=16, random_state=0).fit(R)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    >>> ids, cosines = model.similar_items(0, n=9)
    >>> sorted(ids[0].tolist())
    [1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 256
    _: KW_ONLY
    item_normalization: float = 0.0
    lr: float = 0.3
    max_epochs: int = 30
    batch_size: int = 512

    _can_distribute = True

    _parameter_constraints = {
        **InductiveRanker._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "item_normalization": [Interval(Real, 0, 1, closed="both")],
    }

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "weight"
        return tags

    @property
    def _valid_batches(self):
        return ValidationBatches

    def _make_datasets(self, train, valid):
        """Return data sets of rows of unit length: their scale, which may be any, is irrelevant."""
        X = normalized(train.X, 0, self.item_normalization)
        train = RowDataset.of_filled_rows(unit_rows(X))
        return train, valid and RowDataset(unit_rows(valid.X), valid.targets)

    def _make_module(self, X):
        return ELSAModule(X.shape[1], self.n_factors)

    def _finish(self, X, split):
        super()._finish(X, split)
        trained = item_counts(split[0].X) > 0
        if "item_factors_" in vars(self):  # of `partial_fit`
            trained |= self.item_factors_.any(axis=1)
        with torch.no_grad():
            vectors = self.net_.module_.unit_vectors().cpu().numpy()
        vectors[~trained] = 0
        self.item_factors_ = vectors
        self.user_factors_ = self._user_factors(X)

    # ---------------------------------------------------------------- scores, without torch

    def _user_factors(self, X):
        return sparse_dot(X, self.item_factors_)

    def _score_items(self, X):
        scores = self._user_factors(X) @ self.item_factors_.T
        cells = cell_rows(X), X.indices
        scores[cells] = _less_own(scores[cells], X.data)
        return scores

    def _onnx_module(self):
        return _Scores(self.item_factors_)

    def _score_pairs(self, X, rows, items):
        scores = products_at(self._user_factors(X), self.item_factors_, rows, items)
        return _less_own(scores, X[rows, items])


def _less_own(scores, values):
    """Subtract what items add to their own scores; a history of one item leaves exactly zero."""
    others = scores - values
    return np.where(np.abs(others) <= _ROUNDING * np.abs(values), np.float32(0), others)
