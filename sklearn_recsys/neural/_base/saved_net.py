"""A trained net as plain arrays, and back."""

from __future__ import annotations

import re
from numbers import Integral, Number, Real

import numpy as np
import pandas as pd
import torch
from skorch.callbacks import Callback

from sklearn_recsys.neural._data.random import OwnDraws, seeded
from sklearn_recsys.utils._state import check_state
from sklearn_recsys.utils.validation import check_device


class SavedNetMixin:
    """Mixin of the recommenders that hold a skorch net: it is saved as plain arrays.

    They load on any machine and with any version of torch and skorch, by pickle and by `save`
    alike. The state of the optimizer is not saved: `partial_fit` starts with a new one.

    The net is that of the parameters that `fit` found, whatever they are set to afterwards:
    `_fit_params_` holds them, and a file those of them that have changed.
    """

    def _net_params(self):
        """Return the parameters that a net is made of; those of a run or a machine are not."""
        params = self.get_params(deep=False).items()
        plain = {name: _plain(value) for name, value in params if name not in _OF_A_RUN}
        return {name: value for name, value in plain.items() if value is not _NOT_PLAIN}

    def _fitted_param(self, name):
        """Return a parameter as `fit` found it; if the model is not fitted, as it is set.

        Whatever a fitted model reads of its parameters to predict, to train on or to be saved, it
        reads here: `set_params` takes effect in the next `fit`.
        """
        return vars(self).get("_fit_params_", {}).get(name, getattr(self, name))

    def _as_fitted(self):
        """Return a model with the attributes of this one and the parameters that `fit` found."""
        model = self._working_copy()
        vars(model).update(self._fit_params_)
        return model

    def _save_state(self):
        """Return the attributes, the net as arrays; see `sklearn_recsys.persistence`."""
        not_saved = {"net_", *self._derived}
        state = {name: value for name, value in vars(self).items() if name not in not_saved}
        if "net_" in vars(self):
            now, missing = self._net_params(), object()
            changed = {
                name: value
                for name, value in state.pop("_fit_params_").items()
                if now.get(name, missing) != value
            }
            if changed:
                state["_fit_params_"] = changed
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
        changed = state.pop("_fit_params_", {})
        vars(self).update(state)
        self._set_derived()
        if weights is None:
            return
        try:
            device = check_device(self.device)
        except ValueError:  # trained on a device that is not here
            device = check_device("cpu")
        if checked:
            self._check_fit_params(changed)
        self._fit_params_ = {**self._net_params(), **changed}
        made = self._as_fitted()
        if checked:
            made._validate_params()
            rules = {name: rule for name, rule in self._fitted_state().items() if name != "net_"}
            check_state(self, rules=rules)
            _check_curve(epochs)
        try:
            net = made._make_net(made._loaded_module(weights), device, self._n_trained_, None)
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

    def _check_fit_params(self, changed):
        """Raise ValueError unless a file holds plain values of parameters of the net."""
        names = set(self._get_param_names()) - _OF_A_RUN
        right = isinstance(changed, dict) and set(changed) <= names
        if not right or any(_plain(value) is _NOT_PLAIN for value in changed.values()):
            raise ValueError(f"the parameters that {type(self).__name__} was fitted with are none")

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


# parameters that may change from run to run, and between machines
_OF_A_RUN = {"callbacks", "device", "net_params", "random_state", "verbose"}
_NOT_PLAIN = object()


def _plain(value):
    """Return a number, a text or None as it is, a few numbers as a list, else `_NOT_PLAIN`."""
    if value is None or isinstance(value, (str, Number, np.generic)):
        return value
    sequence = isinstance(value, (list, tuple, range, np.ndarray, pd.Index, pd.Series))
    if sequence and len(value) <= 1000 and all(isinstance(item, Number) for item in value):
        return list(value)
    return _NOT_PLAIN


# what net_params of a file may hold, except for numbers for the optimizer: nothing names code
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
