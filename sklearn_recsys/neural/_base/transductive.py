"""The base of the models in which users have vectors of their own, trained on pairs."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from sklearn.utils import gen_batches
from torch import nn

from sklearn_recsys.neural._base.net import OneCycle
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.recommender import NeuralRecommender
from sklearn_recsys.neural._base.validation import hold_out_cells, hold_out_one_each
from sklearn_recsys.neural._data.negatives import NegativeSampler, check_negatives_memory
from sklearn_recsys.neural._data.pair_batches import (
    CandidateBatches,
    PairBatches,
    PairDataset,
)
from sklearn_recsys.utils._cells import cell_rows
from sklearn_recsys.utils._history_index import mix, row_hashes
from sklearn_recsys.utils._sklearn import Interval, StrOptions
from sklearn_recsys.utils._state import Number, Offset
from sklearn_recsys.utils.validation import check_device

_FOLD_IN_EXAMPLES = 2**16  # of new users that are folded in at once
_GRID_CELLS = 2**22  # scores, or hidden units, that are held at once


@parameters
class TransductiveRecommender(NeuralRecommender):
    """Base of the models in which each training user has an embedding, trained on single cells.

    A model implements ``_make_module(X)``, which returns a :class:`PairModule`, and, if
    it ranks, has a parameter `n_negatives`: the sampled items for each interaction.

    Early stopping holds out a share of the ratings, or of the interactions: at most one of each
    user, and at most 10,000. A ranker stops when NDCG@10 of these items among 99 sampled ones no
    longer rises (`valid_ndcg` in the training curve).

    A row that equals a training row takes that user's embedding. The embedding of any other row is
    found by `_fold_in_steps` steps of Adam, in float64, on the loss of the row's own interactions
    and of negatives that follow from the row's content; everything else stays as it was trained.

    Parameters
    ----------
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs.
    lr, max_epochs, batch_size, optimizer, l2, early_stopping, validation_fraction
        See :class:`NeuralRecommender`.
    n_iter_no_change, callbacks, device, random_state, verbose, net_params
        See :class:`NeuralRecommender`.

    See Also
    --------
    PairModule : The module that it trains.
    NeuralRecommender : The base of all neural models: its hooks, and a model with its constructor.
    InductiveRanker : For models in which a user is a history.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> import torch
    >>> from sklearn_recsys.datasets import make_interactions
    >>> from sklearn_recsys.neural import PairModule, TransductiveRecommender
    >>> class DotModule(PairModule):
    ...     def __init__(self, n_users, n_items, n_factors, l2):
    ...         vectors = (0.1 * torch.randn(n, n_factors) for n in (n_users, n_items))
    ...         super().__init__(*vectors, "logistic", l2)
    ...
    ...     def score(self, u, v):
    ...         return (u * v).sum(dim=1)  # (n_pairs,)
    ...
    ...     def grid(self, u):
    ...         return u @ self.item_vectors.T  # (n_rows, n_items)
    >>> @dataclass(eq=False, repr=False, kw_only=True)
    ... class Dot(TransductiveRecommender):
    ...     n_factors: int = 8
    ...     n_negatives: int = 4
    ...
    ...     def _make_module(self, X):
    ...         return DotModule(*X.shape, self.n_factors, self.l2)
    >>> R = make_interactions(60, 40, random_state=0)
    >>> model = Dot(max_epochs=2, random_state=0).fit(R[:50])
    >>> model.recommend(R[50:], n=3).shape  # new users
    (10, 3)
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
    def _objective(self):
        """The loss of the module: "mse", "logistic" or "bpr"."""
        return "logistic"

    @property
    def _on_ratings(self):
        return self._objective == "mse"

    @property
    def _metric(self):
        return None if self._on_ratings else "valid_ndcg"

    @property
    def _batches(self):
        return PairBatches

    @property
    def _valid_batches(self):
        return PairBatches if self._on_ratings else CandidateBatches

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating" if self._on_ratings else "binary"
        return tags

    def _fitted_state(self):
        rules = super()._fitted_state()
        if self._on_ratings:
            rules |= {"_scale_": Offset(), "_intercept_": Number()}
        return rules

    # ---------------------------------------------------------------- training

    def _decay(self, n_rows):
        return 0.0  # the module adds the penalty of what an example touches

    def _update_size(self, n_examples):
        return self._auto_batch(n_examples) if self.batch_size == "auto" else self.batch_size

    def _auto_batch(self, n_rows):
        """Return a number of examples: a hundredth of the interactions, within bounds."""
        return min(max(n_rows // 100, 32), 4096)

    def _make_callbacks(self, valid):
        callbacks = super()._make_callbacks(valid)
        if self.schedule == "one_cycle":
            callbacks.insert(0, ("schedule", OneCycle()))
        return callbacks

    def _prepare(self, X, resume):
        super()._prepare(X, resume)
        if resume:  # users whose rows changed start from what they would be answered by
            self.net_.module_.user_vectors = nn.Parameter(self._vectors(X))
            self.net_.initialize_optimizer()  # the one there was holds the former vectors

    def _device(self):
        """Return where negatives are drawn and users folded in, in float64: MPS has none."""
        device = self.net_.device if "net_" in vars(self) else check_device(self.device)
        device = torch.device(device)
        return torch.device("cpu") if device.type == "mps" else device

    def _split(self, X, rng):
        if not self.early_stopping:
            return X, None
        hold_out = hold_out_cells if self._on_ratings else hold_out_one_each
        return hold_out(X, self.validation_fraction, rng)

    def _make_datasets(self, train, valid):
        if valid is not None and self._on_ratings:
            valid = self._examples(valid)
        return self._examples(train), valid

    def _examples(self, X):
        """Return the data set of the examples that interactions, or ratings, make."""
        if self._on_ratings:
            X = X.copy()
            X.data = self._scaled(X.data)
            return PairDataset(X)
        sampler = NegativeSampler.from_csr(X, device=self._device())
        return PairDataset(X, sampler, self.n_negatives, self._objective == "bpr")

    def _set_scale(self, X, rating_range, resume):
        """Set the offset and the unit of ratings in the module, and where its outputs start.

        Without a range these are deviations from the mean rating; else they come from a sigmoid,
        which reaches an eighth of the range beyond it on either side. All stay as they are when
        training goes on.
        """
        mean = float(X.data.mean(dtype=np.float64))
        if rating_range is None:
            if not resume:
                self._scale_, self._intercept_ = (mean, 1.0), 0.0
            return
        numbers = all(isinstance(bound, Real) and np.isfinite(bound) for bound in rating_range)
        if len(rating_range) != 2 or not numbers or rating_range[0] > rating_range[1]:
            raise ValueError(
                "rating_range must be the lowest and the highest rating, such as (1, 5); got "
                f"{rating_range!r}."
            )
        lowest, highest = self.rating_range_  # of what was trained on, as float32 holds it
        if lowest < np.float32(rating_range[0]) or highest > np.float32(rating_range[1]):
            raise ValueError(
                f"X holds ratings from {lowest:g} to {highest:g}, outside of "
                f"rating_range={rating_range!r}."
            )
        if resume:
            return
        low, high = self._rating_scale.read(np.float32(rating_range)).tolist()
        margin = (high - low) / 8 or 1.0
        self._scale_ = low - margin, high - low + 2 * margin
        share = (mean - self._scale_[0]) / self._scale_[1]
        self._intercept_ = float(np.log(share / (1 - share)))

    def _scaled(self, ratings):
        offset, scale = self._scale_
        return (ratings - np.float32(offset)) / np.float32(scale)

    # ---------------------------------------------------------------- users

    def _vectors(self, X):
        """Return the vectors of the users whose rows these are, as a Tensor."""
        module = self.net_.module_.eval()
        known = self._training_rows(X)
        rows = torch.from_numpy(known.clip(0)).to(module.user_vectors.device)
        vectors = module.user_vectors.detach()[rows]
        new = np.flatnonzero(known < 0)
        if len(new):
            frozen = deepcopy(module).to(self._device()).double().requires_grad_(False)
            for block in self._fold_in_blocks(X[new]):
                vectors[new[block]] = self._fold_in(frozen, X[new[block]]).to(vectors)
        return vectors

    def _fold_in_blocks(self, X):
        """Yield slices of rows that are folded in at once."""
        n = 1
        if not self._on_ratings:
            n += self.n_negatives
            longest = int(np.diff(X.indptr).max(initial=0))  # a row is not divided
            width = 4 * self.net_.module_.user_vectors.shape[1]
            check_negatives_memory(longest * n, self.n_negatives, width)
        cells = X.indptr.astype(np.int64) * n
        start = 0
        while start < X.shape[0]:
            stop = int(np.searchsorted(cells, cells[start] + _FOLD_IN_EXAMPLES, side="right")) - 1
            stop = min(max(stop, start + 1), X.shape[0])
            yield slice(start, stop)
            start = stop

    def _fold_in(self, module, X):
        """Return new users' vectors, given everything else; each by its own row alone."""
        start = module.user_vectors.mean(dim=0).expand(X.shape[0], -1)
        vectors = start.clone().requires_grad_()
        loss = self._fold_in_loss(module, X)
        optimizer = torch.optim.Adam([vectors], lr=self._fold_in_lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._fold_in_steps)
        for _ in range(self._fold_in_steps):
            (vectors.grad,) = torch.autograd.grad(loss(vectors), vectors)
            optimizer.step()
            schedule.step()
        return vectors.detach()

    def _fold_in_loss(self, module, X):
        """Return the loss of rows as a function of their users' vectors."""
        users, items = (
            torch.from_numpy(part.astype(np.int64)).to(self._device())
            for part in (cell_rows(X), X.indices)
        )
        if self._on_ratings:
            targets = torch.from_numpy(self._scaled(X.data)).to(self._device())
        else:
            users, items, targets = self._fixed_examples(X, users, items)

        def loss(vectors):
            losses, penalties = module.losses(vectors.index_select(0, users), items, targets)
            return (losses + penalties).sum()

        return loss

    def _fixed_examples(self, X, users, items):
        """Return examples of interactions, with negatives that follow from the rows' content."""
        sampler = NegativeSampler.from_csr(X, device=self._device())
        shares = torch.from_numpy(_shares(X, self.n_negatives)).to(self._device())
        data = PairDataset(X, sampler, self.n_negatives, self._objective == "bpr")
        return data.examples(users, items, sampler.at(users, shares))

    # ---------------------------------------------------------------- scores

    def _as_ratings(self, outputs):
        """Return outputs of the module as ratings, or as scores as they are."""
        if not self._on_ratings:
            return outputs
        offset, scale = self._scale_
        return np.float32(offset) + np.float32(scale) * outputs

    def _score_items(self, X):
        scores = np.empty(X.shape, dtype=np.float32)
        vectors = self._vectors(X)
        for rows in gen_batches(len(vectors), self._grid_rows(X.shape[1])):
            scores[rows] = self._evaluated(self.net_.module_.grid, vectors[rows])
        return self._as_ratings(scores)

    def _grid_rows(self, n_items):
        """Return how many rows are scored at once."""
        return max(1, _GRID_CELLS // (n_items * self.net_.module_.grid_width))

    def _score_pairs(self, X, rows, items):
        asked, inverse = np.unique(rows, return_inverse=True)
        vectors = self._vectors(X[asked])
        module, scores = self.net_.module_, np.empty(len(rows), dtype=np.float32)
        rows, items = (torch.from_numpy(part).to(vectors.device) for part in (inverse, items))
        with torch.no_grad():
            for start in range(0, len(scores), 2**16):
                cells = slice(start, start + 2**16)
                pairs = vectors[rows[cells]], module.item_vectors[items[cells]]
                scores[cells] = module.score(*pairs).cpu().numpy()
        return self._as_ratings(scores)


def _shares(X, n):
    """Return numbers in [0, 1) for each cell, which follow from the row's content."""
    cells = row_hashes(X)[cell_rows(X)] + mix(np.arange(X.nnz) - X.indptr[cell_rows(X)])
    draws = mix(cells[:, None] + np.arange(n, dtype=np.uint64))
    return (draws >> np.uint64(11)).astype(np.float64) / 2**53
