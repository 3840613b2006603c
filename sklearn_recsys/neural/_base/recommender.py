"""The base of neural recommenders: parameters, training, what diverged, what resumes."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from skorch import NeuralNet
from skorch.callbacks import PassthroughScoring
from skorch.exceptions import SkorchException
from skorch.helper import predefined_split

from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.neural._base.net import OPTIMIZERS, Diverged, Net, StopEarly, silent
from sklearn_recsys.neural._base.rating_units import RatingUnitsMixin
from sklearn_recsys.neural._base.saved_net import SavedNetMixin
from sklearn_recsys.neural._data.random import OwnDraws, seeded
from sklearn_recsys.neural._data.row_batches import RowBatches
from sklearn_recsys.utils._sklearn import Interval, fit_context
from sklearn_recsys.utils._state import Instance, Number, Optional
from sklearn_recsys.utils._suggest import did_you_mean
from sklearn_recsys.utils._warnings import warn
from sklearn_recsys.utils.validation import check_device, check_memory

# torch computes in float32
_GREATEST = float(torch.finfo(torch.float32).max)
LEARNING_RATES = Interval(Real, 0, _GREATEST, closed="right")
PENALTIES = Interval(Real, 0, _GREATEST, closed="both")

_SMALLER = "Use smaller layers or fewer factors."


class NeuralRecommender(SavedNetMixin, RatingUnitsMixin, RecommenderMixin, BaseEstimator):
    """Base of the recommenders whose module is trained by gradient descent.

    A model is one file: an :class:`torch.nn.Module` with a method ``loss(inputs, targets)`` over
    :class:`~sklearn_recsys.neural._data.row_batches.SparseRows`, and a small estimator that writes

    - ``_make_module(X)``, which returns the module for a canonical matrix;
    - ``_make_datasets(X, rng)``, which returns what to train on and, for early stopping, what to
      validate on (or None);
    - ``_score_items(X)``, as every recommender does;
    - and, where something is to be done after training, ``_finish(X)``.

    The training loop, the device, seeding and early stopping are here. Parameters are spelt out in
    each model's signature; `AutoRec` documents those that all share.

    A model whose tag says that it reads ratings gets them on a scale on which those of the training
    matrix range from 1 to 5, and returns scores on that scale: no parameter depends on their unit.

    See Also
    --------
    AutoRec : A model on this base.

    Examples
    --------
    A linear autoencoder on implicit interactions, complete:

    >>> import torch
    >>> from sklearn_recsys.neural import NeuralRecommender, RowDataset, SparseRows
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
    >>> class LinearAutoencoder(NeuralRecommender):
    ...     def __init__(self, n_factors=8, *, lr=0.05, max_epochs=30, batch_size=256,
    ...                  optimizer="adam", l2=0.0, early_stopping=False, validation_fraction=0.1,
    ...                  n_iter_no_change=5, callbacks=None, device="cpu", random_state=None,
    ...                  verbose=0, net_params=None):
    ...         for name, value in locals().items():
    ...             if name not in {"self", "__class__"}:
    ...                 setattr(self, name, value)
    ...
    ...     def _make_module(self, X):
    ...         return LinearModule(X.shape[1], self.n_factors)
    ...
    ...     def _make_datasets(self, X, rng):
    ...         return RowDataset(X), None
    ...
    ...     def _score_items(self, X):
    ...         with torch.no_grad():
    ...             return self.net_.module_(SparseRows.from_csr(X, self.net_.device)).cpu().numpy()
    >>> from sklearn_recsys.datasets import make_interactions
    >>> R = make_interactions(60, 40, random_state=0)
    >>> LinearAutoencoder(random_state=0).fit(R).recommend(R[:2], n=3).shape
    (2, 3)
    """

    _parameter_constraints: dict = {
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

    _metric = None  # see `Net.metric`
    _batches = RowBatches  # how to iterate over a data set
    _valid_batches = None  # and over the one to validate on; None: likewise

    @property
    def history_(self):
        """The training curve: a frame with a row for each epoch."""
        rows = [
            {key: value for key, value in epoch.items() if np.isscalar(value)}
            for epoch in self.net_.history
        ]
        return pd.DataFrame(rows).set_index("epoch")

    def _fit(self, X, resume=False):
        """Train a new net, or go on with the one there is."""
        rng = check_random_state(self.random_state)
        device = torch.device(self.net_.device) if resume else check_device(self.device)
        train, valid = self._make_datasets(X, rng)
        if valid is not None and not len(valid):
            valid = None
        with seeded(int(rng.randint(2**31))):
            if resume:
                split = None if valid is None else predefined_split(valid)
                self.net_.set_params(train_split=split, max_epochs=self.max_epochs)
            else:
                self._n_trained_ = len(train)
                self._fit_params_ = self._net_params()
                self._check_module_memory(X)
                with OwnDraws():
                    module = self._make_module(X)
                    self.net_ = self._make_net(module, device, len(train), valid).initialize()
            self._train(train, valid)
        self._check_convergence(resume)
        with nullcontext() if self.net_.diverged is None else np.errstate(all="ignore"):
            self._finish(X)

    def _train(self, train, valid):
        """Train the net for `max_epochs`."""
        ours = {"sklearn_recsys", "torch"}  # modules of others draw as torch does
        modules = self.net_.module_.modules()
        foreign = any(type(part).__module__.split(".")[0] not in ours for part in modules)
        try:
            with OwnDraws() if foreign else nullcontext():
                self.net_.partial_fit(train)
        except (KeyError, SkorchException) as error:
            if valid is None and "valid_" in str(error):
                raise ValueError(
                    f"A callback reads what is measured on held-out data, but nothing is held out: "
                    f"early_stopping is False, or there is too little to hold out of. ({error})"
                ) from error
            raise

    def _check_module_memory(self, X):
        """Refuse a module that cannot fit, by one without storage."""
        try:
            with seeded(0), torch.device("meta"), OwnDraws():
                weights = list(self._make_module(X).parameters())
        except (RuntimeError, NotImplementedError, TypeError) as error:
            if "overflow" not in str(error).lower():  # it looks at its data when it is made
                return
            raise MemoryError(
                f"Training {type(self).__name__} needs weights of a size that no machine can "
                f"address. {_SMALLER}"
            ) from error
        n_bytes = sum(weight.numel() * weight.element_size() for weight in weights)
        check_memory(
            5 * n_bytes,  # with gradients, the two moments of Adam, and the best epoch's copy
            f"Training {type(self).__name__} with {n_bytes // 4:,} weights",
            _SMALLER,
        )

    def _check_convergence(self, resume):
        """Warn if training diverged; if that left nothing usable of a fitted model, raise."""
        epoch = self.net_.diverged
        if epoch is None:
            return
        usable = self.net_.is_finite()
        if resume and not usable:
            raise Diverged(epoch)
        self._warn_diverged(
            epoch,
            "What is kept are the weights of an epoch before, or the last ones."
            if usable
            else "There are no weights to predict with: what asks for predictions is refused.",
        )

    def _warn_diverged(self, epoch, outcome):
        warn(
            f"{type(self).__name__} diverged in epoch {epoch}: its loss or its weights grew beyond "
            f"all bounds. {outcome} Lower lr (it is {self.net_.lr:g}), or bound the gradients by "
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
    def partial_fit(self, X, y=None):
        """Train for more epochs, `max_epochs` of them, on what is handed in.

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
            return self._fit_matrix(X)
        return self._refit(self._checked(X, copy=True), resume=True)

    def _fit_interactions(self, X, **params):
        if params.get("resume"):  # what follows may change the net
            self._check_resume(X)
            self._optimizer_class()
            self.net_ = self.net_.working_copy()
        return super()._fit_interactions(X, **params)

    def _evaluated(self, function, rows):
        """Return what a function of the module makes of rows, without dropout, as an array."""
        self.net_.module_.eval()
        with torch.no_grad():
            return function(rows).cpu().numpy()

    def _check_resume(self, X):
        """Raise ValueError if the module cannot go on with `X`; most modules can."""

    def _fitted_state(self):
        return {
            **super()._fitted_state(),
            "_n_trained_": Number(low=0, type=Integral),
            "_fit_params_": Optional(Instance(dict)),
            "net_": Instance(NeuralNet),
        }

    def _make_net(self, module, device, n_rows, valid, lr=None, batch_size=None):
        """Return the skorch net that trains `module`."""
        optimizer = self._optimizer_class()
        full_batch = optimizer is torch.optim.LBFGS and isinstance(self.optimizer, str)
        decay = self._decay(n_rows)
        params = {
            "module": module,
            "criterion": torch.nn.Module,  # the module's own `loss` takes its place
            "optimizer": optimizer,
            "lr": lr or self.lr,
            "max_epochs": self.max_epochs,
            "batch_size": n_rows if full_batch else batch_size or self.batch_size,
            "iterator_train": self._batches,
            "iterator_train__shuffle": True,
            "iterator_train__device": device,
            "iterator_valid": self._valid_batches or self._batches,
            "iterator_valid__device": device,
            "train_split": None if valid is None else predefined_split(valid),
            "callbacks": self._make_callbacks(valid),
            "verbose": int(self.verbose),
            "device": str(device),
        }
        if full_batch:  # its steps are found by a line search
            params |= {"lr": 1.0, "optimizer__line_search_fn": "strong_wolfe"}
        decays = "weight_decay" in inspect.signature(optimizer).parameters
        if decay and decays:
            weights = [name for name, p in module.named_parameters() if p.ndim > 1]
            params["optimizer__param_groups"] = [
                (name, {"weight_decay": decay}) for name in weights
            ]
        net = Net(**{**params, **(self.net_params or {})})
        net.penalty = 0 if decays else decay
        net.metric = self._metric
        return net

    def _optimizer_class(self):
        """Return the class, or other callable, that `optimizer` stands for."""
        if not isinstance(self.optimizer, str):
            return self.optimizer
        optimizer = OPTIMIZERS.get(self.optimizer.lower())
        if optimizer is None:
            raise ValueError(
                f"optimizer={self.optimizer!r} is unknown; use one of "
                f"{', '.join(sorted(OPTIMIZERS))}, or a class of torch.optim."
                f"{did_you_mean(self.optimizer, OPTIMIZERS)}"
            )
        return optimizer

    def _decay(self, n_rows):
        """Return the factor of the penalty on the weights beside a mean over rows."""
        return self.l2 / n_rows  # l2 stands beside the sum over all rows

    def _make_callbacks(self, valid):
        callbacks = []
        monitor, lower, threshold = "valid_loss", True, 1e-4
        if self._metric is not None:  # of equals, as at the very top, the last one is the best
            monitor, lower, threshold = self._metric, False, -1e-6
            callbacks.append(("valid_metric", PassthroughScoring(monitor, lower_is_better=lower)))
        if self.early_stopping:
            stop = StopEarly(
                monitor,
                lower_is_better=lower,
                patience=self.n_iter_no_change,
                load_best=True,
                threshold=threshold,
                sink=print if self.verbose else silent,
            )
            callbacks.append(("early_stopping", stop))
        return [*callbacks, *(self.callbacks or [])]

    def _finish(self, X):
        """Derive what predictions need from the trained module; most models need nothing."""
