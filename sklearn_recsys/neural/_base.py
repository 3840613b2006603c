"""The base of neural recommenders: the one place where skorch is spoken to."""

from __future__ import annotations

import inspect
import re
from contextlib import nullcontext
from copy import deepcopy
from numbers import Integral, Real

import numpy as np
import pandas as pd
import torch
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, PassthroughScoring
from skorch.exceptions import SkorchException
from skorch.helper import predefined_split

from sklearn_recsys.base import RecommenderMixin
from sklearn_recsys.exceptions import ConvergenceWarning
from sklearn_recsys.neural._batches import RowBatches
from sklearn_recsys.neural._random import OwnDraws, seeded
from sklearn_recsys.neural._rating_units import RatingUnitsMixin
from sklearn_recsys.utils._state import Instance, Number, check_state
from sklearn_recsys.utils._suggest import did_you_mean
from sklearn_recsys.utils._warnings import warn
from sklearn_recsys.utils.validation import check_device, check_memory

_OPTIMIZERS = {
    name.lower(): optimizer
    for name, optimizer in vars(torch.optim).items()
    if inspect.isclass(optimizer)
    and issubclass(optimizer, torch.optim.Optimizer)
    and optimizer is not torch.optim.Optimizer
}


# torch computes in float32
_GREATEST = float(torch.finfo(torch.float32).max)
LEARNING_RATES = Interval(Real, 0, _GREATEST, closed="right")
PENALTIES = Interval(Real, 0, _GREATEST, closed="both")

_SMALLER = "Use smaller layers or fewer factors."


class _EarlyStopping(EarlyStopping):
    """skorch's early stopping, which lets training go on where there is nothing to validate on."""

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        if dataset_valid is not None:
            super().on_epoch_end(net, **kwargs)


class _Diverged(ArithmeticError):
    """Training left nothing finite.

    Parameters
    ----------
    epoch : int
        When.
    """

    def __init__(self, epoch):
        super().__init__(f"diverged in epoch {epoch}")
        self.epoch = epoch


class _Net(NeuralNet):
    """skorch's training loop over our batches; the module says what its loss is.

    A module may write `begin_epoch(epoch)`, which is called before each epoch.
    """

    metric = None  # what the module's `validate` measures, greater is better; None: the loss
    interrupt = None  # the KeyboardInterrupt that ended training
    diverged = None  # the epoch in which training left what is finite, or grew out of proportion

    def partial_fit(self, X, y=None, **params):
        self.interrupt, self.diverged = None, None
        super().partial_fit(X, y, **params)
        if self.diverged is None:
            self.diverged = self._exploded()
        if self.interrupt is not None:
            raise self.interrupt
        return self

    def fit_loop(self, X, y=None, **params):
        try:
            return super().fit_loop(X, y, **params)
        except _Diverged as error:  # the end of training: callbacks may restore earlier weights
            self.diverged = error.epoch
            return self
        except KeyboardInterrupt as interrupt:
            if not _stops_early(interrupt):
                self.interrupt = interrupt
            raise  # skorch swallows it, and lets the callbacks end what they began

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        super().on_batch_end(net, batch=batch, training=training, **kwargs)
        name = "train_loss" if training else "valid_loss"
        loss = self.history[-1]["batches"][-1][name]
        if not np.isfinite(loss):
            self._stop_diverged(name, loss)

    def run_single_epoch(self, iterator, training, *args, **params):
        super().run_single_epoch(iterator, training, *args, **params)
        if training and not self.is_finite():  # by the last batch: its loss was before the step
            self._stop_diverged("train_loss", np.nan)

    def _stop_diverged(self, name, loss):
        batches = self.history[-1]["batches"]
        losses = [batch["train_loss"] for batch in batches if "train_loss" in batch]
        self.history.record("train_loss", float(np.mean(losses)))
        self.history.record(name, loss)
        raise _Diverged(self.history[-1]["epoch"])

    def is_finite(self):
        """Return whether all weights are."""
        return all(bool(p.isfinite().all()) for p in self.module_.parameters())

    def _exploded(self):
        """Return the epoch in which the loss became a thousand times the first one for good."""
        losses = [(row["epoch"], abs(row.get("train_loss", 0.0))) for row in self.history]
        bound = 1000 * max(losses[0][1], 1.0)
        exploded = [epoch for epoch, loss in losses if loss > bound]
        return exploded[0] if exploded and losses[-1][1] > bound else None

    def working_copy(self):
        """Return a net that trains on from here, and leaves the weights of this one alone.

        Callbacks are shared: they belong to the user, and begin afresh whenever training begins.
        """
        net = object.__new__(type(self))
        vars(net).update(vars(self))
        vars(net)["history_"] = deepcopy(self.history_)
        vars(net)["module_"] = deepcopy(self.module_)
        net.initialize_optimizer()
        net.optimizer_.load_state_dict(deepcopy(self.optimizer_.state_dict()))
        return net

    def on_epoch_begin(self, net, **kwargs):
        super().on_epoch_begin(net, **kwargs)
        if hasattr(self.module_, "begin_epoch"):
            self.module_.begin_epoch(len(self.history))

    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        loss = self.module_.loss(*batch)
        if self.penalty:  # of optimizers that have no weight decay of their own
            weights = (p for p in self.module_.parameters() if p.ndim > 1)
            loss = loss + self.penalty / 2 * sum(w.square().sum() for w in weights)
        loss.backward()
        return {"loss": loss.detach(), "y_pred": None}

    def validation_step(self, batch, **fit_params):
        self._set_training(False)
        with torch.no_grad():
            if self.metric is None:
                return {"loss": self.module_.loss(*batch), "y_pred": None}
            value = self.module_.validate(*batch)
            self.history.record_batch(self.metric, value.item())
            return {"loss": -value, "y_pred": None}


class NeuralRecommender(RatingUnitsMixin, RecommenderMixin, BaseEstimator):
    """Base of the recommenders whose module is trained by gradient descent.

    A model is one file: an :class:`torch.nn.Module` with a method ``loss(inputs, targets)`` over
    :class:`~sklearn_recsys.neural._batches.SparseRows`, and a small estimator that writes

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

    _metric = None  # see `_Net.metric`
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
            raise _Diverged(epoch)
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
        except _Diverged as error:
            self._warn_diverged(error.epoch, "The model stays as it was before partial_fit.")
            return self

    @_fit_context(prefer_skip_nested_validation=True)
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
        net = _Net(**{**params, **(self.net_params or {})})
        net.penalty = 0 if decays else decay
        net.metric = self._metric
        return net

    def _optimizer_class(self):
        """Return the class, or other callable, that `optimizer` stands for."""
        if not isinstance(self.optimizer, str):
            return self.optimizer
        optimizer = _OPTIMIZERS.get(self.optimizer.lower())
        if optimizer is None:
            raise ValueError(
                f"optimizer={self.optimizer!r} is unknown; use one of "
                f"{', '.join(sorted(_OPTIMIZERS))}, or a class of torch.optim."
                f"{did_you_mean(self.optimizer, _OPTIMIZERS)}"
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
            stop = _EarlyStopping(
                monitor,
                lower_is_better=lower,
                patience=self.n_iter_no_change,
                load_best=True,
                threshold=threshold,
                sink=print if self.verbose else _silent,
            )
            callbacks.append(("early_stopping", stop))
        return [*callbacks, *(self.callbacks or [])]

    # The net is stored as its weights and its curve: plain arrays that load on any machine and with
    # any version of torch and skorch, by pickle and by `save` alike. The state of the optimiser is
    # left out: `partial_fit` starts it anew.

    def _save_state(self):
        """Return the attributes, the net as arrays; see `sklearn_recsys.persistence`."""
        state = {name: value for name, value in vars(self).items() if name != "net_"}
        if "net_" in vars(self):
            weights = self.net_.module_.state_dict()
            state["weights_"] = {name: weight.cpu().numpy() for name, weight in weights.items()}
            state["epochs_"] = self.history_.reset_index().to_dict("list")
        return state

    def _load_state(self, state):
        """Set what a file holds; what does not fit raises ValueError before it takes memory."""
        self._set_state(state, checked=True)

    def _set_state(self, state, checked=False):
        """Set what `_save_state` returned."""
        state = dict(state)
        weights, epochs = state.pop("weights_", None), state.pop("epochs_", None)
        vars(self).update(state)
        if weights is None:
            return
        try:
            device = check_device(self.device)
        except ValueError:  # trained on a device that is not here
            device = check_device("cpu")
        if checked:
            rules = {name: rule for name, rule in self._fitted_state().items() if name != "net_"}
            check_state(self, rules=rules)
            _check_curve(epochs)
        try:
            net = self._make_net(self._loaded_module(weights), device, self._n_trained_, None)
            net.initialize()
            for values in zip(*epochs.values(), strict=True):
                net.history.append(dict(zip(epochs, values, strict=True)))
        except (RuntimeError, AttributeError, TypeError, KeyError) as error:
            raise ValueError(f"the weights of {type(self).__name__} do not fit: {error}") from error
        self.net_ = net

    def _loaded_module(self, weights):
        """Return the module with these weights; their shapes are compared before it is made."""
        X = self._read(self.interactions_)
        weights = {name: torch.from_numpy(weight) for name, weight in weights.items()}
        if not type(self).__module__.startswith("sklearn_recsys."):
            # a module of the user's may hold more than weights, which has to be made
            with seeded(0), OwnDraws():  # a module draws weights when it is made
                module = self._make_module(X)
            module.load_state_dict(weights)
            return module
        if self._n_layers() > len(weights):
            raise ValueError("its parameters ask for more layers than it has weights")
        with torch.device("meta"):  # shapes alone
            module = self._make_module(X)
        for name, wanted in module.state_dict().items():
            given = weights.get(name)
            if given is None or given.shape != wanted.shape or given.dtype != wanted.dtype:
                found = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise ValueError(
                    f"the weights {name} of {type(self).__name__} are {found}, and its parameters "
                    f"ask for {tuple(wanted.shape)}"
                )
            if not given.isfinite().all():
                raise ValueError(f"the weights {name} of {type(self).__name__} are not finite")
        # the weights of a file are read for this model alone: it trains on in them
        module.load_state_dict(weights, assign=True)
        return module

    def _n_layers(self):
        """Return the number of layers that the parameters ask for, at least."""
        return len(getattr(self, "hidden_layer_sizes", ()))

    def _check_portable(self):
        """Raise ValueError for parameters that a file must not set; see `net_params_problem`."""
        problem = net_params_problem(self.net_params)
        if problem:
            raise ValueError(problem)
        for item in self.callbacks or []:
            callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
            if not isinstance(callback, Callback):
                raise ValueError(f"callbacks holds {item!r:.50}, which is no callback of skorch")
        if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d{1,4})?", str(self.device)):
            raise ValueError(f"device is {self.device!r:.50}")

    def __getstate__(self):
        return self._save_state()

    def __setstate__(self, state):
        state = dict(state)
        if "weights_" in state:  # copy.copy hands over the arrays of the other model
            state["weights_"] = {name: weight.copy() for name, weight in state["weights_"].items()}
        self._set_state(state)

    def _finish(self, X):
        """Derive what predictions need from the trained module; most models need nothing."""


def _stops_early(interrupt):
    """Return whether skorch's EarlyStopping raised it, which ends training by one; not a Ctrl-C."""
    traceback = interrupt.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code is EarlyStopping.on_epoch_end.__code__


def _silent(*args, **kwargs):
    """Swallow a message."""


# what a file may say in net_params, beside numbers for the optimizer: nothing that names code
_NET_PARAMS = {
    "batch_size": Integral,
    "iterator_train__drop_last": bool,
    "iterator_train__shuffle": bool,
    "lr": Real,
    "max_epochs": Integral,
    "verbose": Integral,
    "warm_start": bool,
}


def net_params_problem(params):
    """Return why `net_params` cannot be saved or loaded, None if it can.

    skorch gives some of them to ``torch.compile``, ``torch.load`` or a class of the caller's, so
    only those that are known to be harmless may come from a file.
    """
    if params is None:
        return None
    if not isinstance(params, dict):
        return f"net_params is {params!r:.50}, not a dict"
    for name, value in params.items():
        known = isinstance(name, str) and name in _NET_PARAMS
        if known and isinstance(value, _NET_PARAMS[name]):
            continue
        if isinstance(name, str) and name.startswith("optimizer__") and _is_numeric(value):
            if name != "optimizer__param_groups":
                continue
        return (
            f"net_params holds {name!r:.50}: {value!r:.50}, and a model file may only hold "
            f"{', '.join(_NET_PARAMS)} and numbers for the optimizer, such as optimizer__eps. Set "
            "it again after loading"
        )
    return None


def _is_numeric(value):
    """Return whether a value is a number, a truth value or None, or a few of them."""
    values = value if isinstance(value, (tuple, list)) else [value]
    return len(values) <= 8 and all(item is None or isinstance(item, Real) for item in values)


def _check_curve(epochs):
    """Raise ValueError unless these are the columns of a training curve."""
    if not isinstance(epochs, dict) or "epoch" not in epochs:
        raise ValueError("the training curve has no epochs")
    columns = list(epochs.values())
    if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        raise ValueError("the columns of the training curve have different lengths")
    if not all(isinstance(name, str) for name in epochs) or not all(
        isinstance(value, (Real, np.bool_)) for column in columns for value in column
    ):
        raise ValueError("the training curve holds something that is no number")
