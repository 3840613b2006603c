"""The base of the models in which each training user has an embedding."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import KW_ONLY
from numbers import Integral

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn

from sklearn_recsys.neural._base.examples import SampledNegatives
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._base.validation import hold_out_one_each
from sklearn_recsys.neural._data.pair_batches import CandidateBatches
from sklearn_recsys.utils._device import check_device
from sklearn_recsys.utils._sklearn import Interval, StrOptions

_BLOCK_FLOATS = 2**22  # scores, or hidden units, in memory at once
_BETAS = 0.9, 0.999  # of Adam, when new users are folded in


@parameters
class TransductiveRecommender(NeuralRecommender):
    """Base of the models that rank by an embedding of each training user.

    A model implements ``_make_module(X)``, which returns a :class:`PairModule`, and has a parameter
    `n_negatives`: the sampled items for each interaction.

    Early stopping holds out a share of the interactions: at most one of each user, and at most
    10,000. Training stops when NDCG@10 of these items among 99 sampled ones no longer rises
    (`valid_ndcg` in the training curve).

    A row that equals a training row has that user's embedding. The embedding of any other row is
    found by `_fold_in_steps` steps of Adam, in float64, on the loss of the row's own interactions
    and of negatives determined by the row's content; all other weights stay fixed.

    Parameters
    ----------
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs.
    lr, max_epochs, batch_size, optimizer, l2, early_stopping, validation_fraction : object
        See :class:`NeuralRecommender`.
    n_iter_no_change, callbacks, checkpoint, device, random_state, verbose, net_params : object
        See :class:`NeuralRecommender`.

    See Also
    --------
    PairModule : The module that it trains.
    NeuralRecommender : The base of all neural models: its hooks, and a model with its constructor.
    InductiveRanker : For models in which a user is a history.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_recsys.neural import PairModule, TransductiveRecommender
    >>> class DotModule(PairModule):
    ...     def __init__(self, n_users, n_items, n_factors, l2):
    ...         vectors = (0.1 * torch.randn(n, n_factors) for n in (n_users, n_items))
    ...         super().__init__(*vectors, "logistic", l2)
    ...
    ...     def score(self, u, v):
    ...         return (u * v).sum(dim=1)  # (n_pairs,)
    ...
    ...     def score_all(self, u):
    ...         return u @ self.item_vectors.T  # (n_rows, n_items)
    >>> @dataclass(eq=False, repr=False, kw_only=True)
    ... class Dot(TransductiveRecommender):
    ...     n_factors: int = 8
    ...     n_negatives: int = 4
    ...
    ...     def _make_module(self, X):
    ...         return DotModule(*X.shape, self.n_factors, self.l2)
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> model = Dot(max_epochs=20, random_state=0).fit(tastes * (rng.random((80, 20)) < 0.6))
    >>> sorted(model.recommend([[1, 1, 1] + [0] * 17], n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    _: KW_ONLY
    schedule: str = "constant"
    max_epochs: int = 100
    batch_size: int | str = "auto"

    _parameter_constraints = {
        **NeuralRecommender._parameter_constraints,
        "schedule": [StrOptions({"constant", "one_cycle"})],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
    }

    _fold_in_steps = 50
    _fold_in_lr = 0.05

    @property
    def _examples(self):
        """The examples for training and for the fold-in of new users."""
        return SampledNegatives(self._fitted_param("n_negatives"))

    @property
    def _metric(self):
        return "valid_ndcg"

    @property
    def _batches(self):
        return self._examples.batches

    @property
    def _valid_batches(self):
        return CandidateBatches

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "binary"
        return tags

    # ---------------------------------------------------------------- training

    def _decay(self, n_rows):
        return 0.0  # the module penalizes the vectors of each example

    def _update_size(self, n_examples):
        if self.batch_size == "auto":
            return self._examples.batch_size(n_examples)
        return self.batch_size

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        if resume:  # changed users start from their folded-in vectors
            self.net_.module_.user_vectors = nn.Parameter(self._vectors(X))
            self.net_.initialize_optimizer()  # the optimizer refers to the old vectors

    def _device(self):
        """Return the device for negative sampling and fold-in, which need float64: MPS lacks it."""
        device = self.net_.device if "net_" in vars(self) else check_device(self.device)
        device = torch.device(device)
        return torch.device("cpu") if device.type == "mps" else device

    def _split(self, X, rng):
        if not self.early_stopping:
            return X, None
        return hold_out_one_each(X, self.validation_fraction, rng)

    def _make_datasets(self, train, valid):
        return self._examples.dataset(train, self._device()), valid

    # ---------------------------------------------------------------- users

    def _vectors(self, X):
        """Return the vectors of the users with these histories, as a Tensor."""
        module = self.net_.module_.eval()
        training_rows = self._training_rows(X)
        rows = torch.from_numpy(training_rows.clip(0)).to(module.user_vectors.device)
        vectors = module.user_vectors.detach()[rows]
        new = np.flatnonzero(training_rows < 0)
        if len(new):
            frozen = deepcopy(module).to(self._device()).double().requires_grad_(False)
            for block in self._examples.blocks(X[new], vectors.shape[1]):
                vectors[new[block]] = self._fold_in(frozen, X[new[block]]).to(vectors)
        return vectors

    def _fold_in(self, module, X):
        """Return the vectors of new users, each from its own row alone, with all weights fixed."""
        start = module.user_vectors.mean(dim=0).expand(X.shape[0], -1)
        vectors = start.clone().requires_grad_()
        loss = self._examples.loss_of_vectors(module, X)
        # Adam written out: for few rows torch's class takes longer than the gradients
        n_steps = self._fold_in_steps
        mean, square = torch.zeros_like(start), torch.zeros_like(start)
        for step in range(n_steps):
            (gradient,) = torch.autograd.grad(loss(vectors), vectors)
            mean.lerp_(gradient, 1 - _BETAS[0])
            square.lerp_(gradient.square(), 1 - _BETAS[1])
            unbiased = [1 - beta ** (step + 1) for beta in _BETAS]
            lr = self._fold_in_lr * (1 + math.cos(math.pi * step / n_steps)) / 2
            with torch.no_grad():
                scale = (square / unbiased[1]).sqrt_().add_(1e-8)
                vectors.addcdiv_(mean, scale, value=-lr / unbiased[0])
        return vectors.detach()

    # ---------------------------------------------------------------- scores

    def _score_items(self, X):
        scores = np.empty(X.shape, dtype=np.float32)
        vectors = self._vectors(X)
        for rows in gen_batches(len(vectors), self._rows_per_block(X.shape[1])):
            scores[rows] = self._evaluated(self.net_.module_.score_all, vectors[rows])
        return scores

    def _rows_per_block(self, n_items):
        """Return the number of rows to score at once."""
        return max(1, _BLOCK_FLOATS // (n_items * self.net_.module_.floats_per_pair))

    def _score_pairs(self, X, rows, items):
        vectors = self._vectors(X)
        module, scores = self.net_.module_, np.empty(len(rows), dtype=np.float32)
        rows, items = (torch.from_numpy(index).to(vectors.device) for index in (rows, items))
        with torch.no_grad():
            for start in range(0, len(scores), 2**16):
                cells = slice(start, start + 2**16)
                pairs = vectors[rows[cells]], module.item_vectors[items[cells]]
                scores[cells] = module.score(*pairs).cpu().numpy()
        return scores
