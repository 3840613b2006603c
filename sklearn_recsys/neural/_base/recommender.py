"""The base of neural recommenders: parameters, training, divergence, resumed training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import KW_ONLY
from numbers import Integral, Real
from os import PathLike
from typing import Any, Self

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from skorch import NeuralNet
from skorch.exceptions import SkorchException

from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.base._checkpoint import CheckpointMixin
from sklearn_recsys.base._rating_units import RatingUnitsMixin
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.neural._base.net import Diverged, NetMixin, optimizer_class
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.saved_net import SavedNetMixin
from sklearn_recsys.neural._data.random import FitGenerators, seeded
from sklearn_recsys.neural._data.row_batches import RowDataset
from sklearn_recsys.utils._device import check_device
from sklearn_recsys.utils._sklearn import Interval, fit_context
from sklearn_recsys.utils._state import Instance, Number, Optional
from sklearn_recsys.utils._warnings import warn

# torch computes in float32
_GREATEST = float(torch.finfo(torch.float32).max)
LEARNING_RATES = Interval(Real, 0, _GREATEST, closed="right")
PENALTIES = Interval(Real, 0, _GREATEST, closed="both")


@parameters
class NeuralRecommender(
    NetMixin, SavedNetMixin, CheckpointMixin, RatingUnitsMixin, RecommenderMixin, BaseEstimator
):
    """Base of the recommenders whose module is trained by gradient descent.

    A model is one file: a :class:`torch.nn.Module` with a method ``loss(inputs, targets)`` over
    :class:`~sklearn_recsys.neural.SparseRows`, and a small estimator that implements
    ``_make_module(X)``, which returns the module, and ``_score_items(X)``, as every recommender
    does. The training loop, the device, seeding and early stopping are here, see the Notes.
    Parameters are fields of a dataclass: a model declares its own, and inherits those below, which
    it redeclares only to change a default. A plain ``__init__`` that sets an attribute for each
    parameter works, too.

    A model whose tag says that it reads ratings gets them on a scale on which those of the training
    matrix range from 1 to 5, and returns scores on that scale: no parameter depends on their unit.

    Parameters
    ----------
    lr : float, default=1e-3
        Learning rate.
    max_epochs : int, default=200
        Maximum number of passes over the data.
    batch_size : int, default=500
        Users per update.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.0
        Penalty on the weights: l2/2 · Σ‖W‖², added to the sum of the losses over all users.
    early_stopping : bool, default=True
        Whether to stop when the predictions of held-out data stop improving, and keep the best
        weights.
    validation_fraction : float, default=0.1
        The share held out for that.
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
        Seed of the held-out data, the weights and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    See Also
    --------
    AutoRec : A model on this base.

    Notes
    -----
    `fit` calls these hooks in this order. They pass results on as arguments and return values; on
    `self` a hook reads the parameters, and the attributes that ``_prepare`` has set. Only
    ``_make_module`` has no default.

    ``_prepare(X, resume)``
        Sets the fitted attributes that depend on the training matrix alone, such as the unit of
        ratings. In `partial_fit`, where `resume` is true, it adapts ``net_`` to the new matrix and
        keeps the attributes that the net was trained with.
    ``_split(X, rng)``
        Returns ``(train, valid)``: the data to train on, and the data held out for early stopping
        or None, both as ``_make_datasets`` takes them. The default is ``(X, None)``, and raises
        ValueError if ``early_stopping`` is true. The models of the package hold out users, ratings,
        or one interaction of each user; the functions are in ``neural/_base/validation.py``.
    ``_make_datasets(train, valid)``
        Returns a data set for each, None if `valid` is None. The defaults are a
        :class:`~sklearn_recsys.neural.RowDataset` of the rows of `train`, and one whose targets
        are the cells of `valid`.
    ``_pretrained(X, train, valid, rng, checkpoint)``
        Skipped by `partial_fit`. Takes the data sets and returns trained modules; the default is
        none. The new module copies their weights in ``start_from(*modules)``. Each training takes
        a part of the checkpoint, ``checkpoint.part(name)``, and reports its epochs as a stage of
        the fit, ``self._progress.iterations("epoch", stage=name)``.
    ``_make_module(X)``
        Skipped by `partial_fit`. Returns the module with its initial weights. It is also called to
        measure the memory of the weights, and when a saved model is loaded.
    ``_make_net(module, device, n_examples, valid, pretrained)``
        Skipped by `partial_fit`. Returns the skorch net, built from the parameters, from
        ``_learning_rate()``, ``_update_size(n_examples)``, ``_decay(n_examples)`` and
        ``_make_callbacks(valid)``, and from the properties ``_metric``, ``_batches`` and
        ``_valid_batches``.
    ``_finish(X, split)``
        Runs after training. Takes the result of ``_split``, and sets the attributes that
        predictions need, such as the vectors of the items.

    `partial_fit` first calls ``_check_resume(X)``, which raises ValueError if the module cannot be
    trained on `X`.

    A parameter that predictions read, or `partial_fit` must not change, is read by
    ``_fitted_param(name)``: its value in `fit`, even if ``set_params`` has changed it since.

    Examples
    --------
    A linear autoencoder on implicit interactions, complete:

    >>> from dataclasses import dataclass
    >>> import numpy as np
    >>> import torch
    >>> from sklearn_recsys.neural import NeuralRecommender, SparseRows
    >>> class LinearModule(torch.nn.Module):
    ...     def __init__(self, n_items, n_factors):
    ...         super().__init__()
    ...         self.encoder = torch.nn.Parameter(0.1 * torch.randn(n_items, n_factors))
    ...         self.decoder = torch.nn.Parameter(0.1 * torch.randn(n_items, n_factors))
    ...
    ...     def forward(self, rows):
    ...         return rows.matmul(self.encoder) @ self.decoder.T  # (n_rows, n_items)
    ...
    ...     def loss(self, inputs, targets):
    ...         outputs = self(inputs).log_softmax(dim=1)
    ...         rows = torch.arange(len(targets)).repeat_interleave(targets.indptr.diff())
    ...         return -outputs[rows, targets.indices].sum() / len(targets)
    >>> @dataclass(eq=False, repr=False, kw_only=True)
    ... class LinearAutoencoder(NeuralRecommender):
    ...     n_factors: int = 8
    ...     lr: float = 0.05
    ...     max_epochs: int = 30
    ...     early_stopping: bool = False
    ...
    ...     def _make_module(self, X):
    ...         return LinearModule(X.shape[1], self.n_factors)
    ...
    ...     def _score_items(self, X):
    ...         with torch.no_grad():
    ...             return self.net_.module_(SparseRows.from_csr(X, self.net_.device)).cpu().numpy()
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> model = LinearAutoencoder(random_state=0).fit(tastes * (rng.random((80, 20)) < 0.6))
    >>> sorted(model.recommend([[1, 1, 1] + [0] * 17], n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    _: KW_ONLY
    lr: float = 1e-3
    max_epochs: int = 200
    batch_size: int = 500
    optimizer: str | Callable = "adam"
    l2: float = 0.0
    early_stopping: bool = True
    validation_fraction: float = 0.1
    n_iter_no_change: int = 5
    callbacks: list | None = None
    checkpoint: str | PathLike | None = None
    device: str = "cpu"
    random_state: Any = None
    verbose: int = 0
    net_params: dict | None = None

    _parameter_constraints = {
        **CheckpointMixin._parameter_constraints,
        "lr": [LEARNING_RATES],
        "max_epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "optimizer": [str, callable],
        "l2": [PENALTIES],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left")],
        "callbacks": [list, None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
        "net_params": [dict, None],
    }

    @property
    def history_(self) -> pd.DataFrame:
        """The training curve: a frame with a row for each epoch."""
        rows = [
            {key: value for key, value in epoch.items() if np.isscalar(value)}
            for epoch in self.net_.history
        ]
        return pd.DataFrame(rows).set_index("epoch")

    # ---------------------------------------------------------------- hooks of `fit`

    def _prepare(self, X, resume):
        """Set the fitted attributes that follow from the matrix; see the protocol above."""

    def _split(self, X, rng):
        """Return the data to train on, and the data held out for early stopping or None."""
        if self.early_stopping:
            raise ValueError(
                f"{type(self).__name__} holds out no data for early stopping: use "
                "early_stopping=False, or override _split, see the docstring of NeuralRecommender."
            )
        return X, None

    def _make_datasets(self, train, valid):
        """Return the data sets to train and to validate on, the second None if `valid` is."""
        return RowDataset(train), None if valid is None else RowDataset(train, valid)

    def _pretrained(self, X, train, valid, rng, checkpoint):
        """Return pretrained modules whose weights the new one copies; by default none."""
        return ()

    def _make_module(self, X):
        """Return an untrained module for a matrix, with the weights that training starts from."""
        raise NotImplementedError(
            f"{type(self).__name__} needs a method _make_module(X), which returns the "
            "torch.nn.Module to train: one with a method loss(inputs, targets)."
        )

    def _finish(self, X, split):
        """Set the fitted attributes that predictions need, from the trained module."""

    # ---------------------------------------------------------------- training

    _has_tasks = True

    def _fit(self, X, resume=False):
        """Train a new net, or resume training."""
        self._check_net_params()
        with (
            self._together(X, resume) as end,
            self._open_checkpoint(X, not resume and self._saves_progress) as checkpoint,
        ):
            rng = checkpoint.random_state
            self._prepare(X, resume)
            split = self._split(X, rng)
            train, valid = self._make_datasets(*split)
            if valid is not None and not len(valid):
                valid = None
            pretrained = () if resume else self._pretrained(X, train, valid, rng, checkpoint)
            epochs = self._progress.iterations(
                "epoch",
                stage="training" if pretrained else None,
                finish=lambda model: model._finish(X, split),
            )
            part = checkpoint.part("training")
            self._train_net(X, train, valid, rng, part, epochs, pretrained, resume)
            with nullcontext() if self.net_.diverged is None else np.errstate(all="ignore"):
                self._finish(X, split)
            end()  # in all processes, before the checkpoint is deleted

    def _train_net(self, X, train, valid, rng, progress, epochs, pretrained=(), resume=False):
        """Train a new net on data sets, or resume training of the current one.

        `progress` is the part of the checkpoint, `epochs` are the `Iterations` of the fit.
        """
        with seeded(int(rng.randint(2**31))):
            if resume:
                self.net_.train_on(valid, self.max_epochs)
                self.net_.distributed = self._distributed
                self.net_.precision = self._precision
            else:
                self._n_trained_ = len(train)
                self._fit_params_ = self._net_params()
                self._check_module_memory(X)
                with FitGenerators():
                    module = self._make_module(X)
                    if pretrained:
                        module.start_from(*pretrained)
                    device = check_device(self.device)
                    net = self._make_net(module, device, len(train), valid, bool(pretrained))
                    self.net_ = net.initialize()
            self._train(train, valid, progress, epochs)
        self._check_convergence(resume)

    def _train(self, train, valid, progress, epochs):
        """Train the net for `max_epochs`, or those that are left."""
        ours = {"sklearn_recsys", "torch"}  # other modules use torch's global generator
        modules = self.net_.module_.modules()
        foreign = any(type(module).__module__.split(".")[0] not in ours for module in modules)
        self.net_.progress, self.net_.epochs = progress, epochs
        try:
            with FitGenerators() if foreign else nullcontext():
                self.net_.partial_fit(train)
        except (KeyError, SkorchException) as error:
            if valid is None and "valid_" in str(error):
                raise ValueError(
                    f"A callback reads a validation metric, but no data is held out: "
                    f"early_stopping is False, or there is too little data. ({error})"
                ) from error
            raise
        finally:
            epochs.close()
            del self.net_.progress, self.net_.epochs

    def _check_convergence(self, resume):
        """Warn if training diverged; in `partial_fit` raise if the weights are not usable."""
        epoch = self.net_.diverged
        if epoch is None:
            return
        usable = self.net_.is_finite()
        if resume and not usable:
            raise Diverged(epoch)
        self._warn_diverged(
            epoch,
            "The weights of an earlier epoch, or the last ones, are kept."
            if usable
            else "There are no weights to predict with, so predictions will raise an error.",
        )

    def _warn_diverged(self, epoch, outcome):
        warn(
            f"{type(self).__name__} diverged in epoch {epoch}: its loss or its weights became "
            f"too large. {outcome} Lower lr (it is {self.net_.lr:g}), or clip the gradients with "
            "skorch's GradientNormClipping in callbacks.",
            ConvergenceWarning,
        )

    def _refit(self, X, **params):
        try:
            return super()._refit(X, **params)
        except Diverged as error:
            self._warn_diverged(error.epoch, "The model stays as it was before partial_fit.")
            return self

    @fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y=None) -> Self:
        """Train for `max_epochs` more epochs on the given interactions.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_users, n_items)
            The interactions. The first call is a `fit`.
        y : Ignored
            As in `fit`.

        Returns
        -------
        self : object
            The fitted estimator. A call that raises leaves a fitted one as it was.
        """
        if not self.__sklearn_is_fitted__():
            return self._fit_matrix(X, y=y)
        return self._refit(self._checked(X, copy=True), y=y, resume=True)

    def _fit_interactions(self, X, **params):
        if params.get("resume"):  # before the net can change
            self._check_resume(X)
            optimizer_class(self.optimizer)
            self.net_ = self.net_.working_copy()
        return super()._fit_interactions(X, **params)

    def _evaluated(self, function, rows):
        """Return the output of a function of the module for rows, without dropout, as an array."""
        self.net_.module_.eval()
        with torch.no_grad():
            return function(rows).cpu().numpy()

    def _check_resume(self, X):
        """Raise ValueError if training cannot resume on `X`; by default it can."""

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "_n_trained_": Number(low=0, type=Integral),
            "_fit_params_": Optional(Instance(dict)),
            "net_": Instance(NeuralNet),
        }
