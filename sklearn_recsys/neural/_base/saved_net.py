"""Saving of a trained net as plain arrays, and loading."""

from __future__ import annotations

import re
from numbers import Integral, Number, Real

import numpy as np
import pandas as pd
import torch
from skorch.callbacks import Callback

from sklearn_recsys.neural._data.random import FitGenerators, seeded
from sklearn_recsys.utils._device import check_device
from sklearn_recsys.utils._state import check_state


class SavedNetMixin:
    """Mixin for recommenders with a skorch net, which is saved as plain arrays.

    They load on any machine and with any version of torch and skorch, by pickle and by `save`
    alike. The state of the optimizer is not saved: `partial_fit` starts with a new one.

    The net depends on the parameters at the time of `fit`, even if they are set later:
    `_fit_params_` holds them, and a file holds those that have changed since.
    """

    def _net_params(self):
        """Return the parameters that define a net, without those of a run or a machine."""
        params = self.get_params(deep=False).items()
        plain = {name: _plain(value) for name, value in params if name not in _RUN_PARAMS}
        return {name: value for name, value in plain.items() if value is not _NOT_PLAIN}

    def _fitted_param(self, name):
        """Return the value of a parameter in `fit`; if the model is not fitted, its current value.

        A fitted model reads its parameters through this method, to predict, to resume training and
        to be saved, so that `set_params` takes effect in the next `fit`.
        """
        return vars(self).get("_fit_params_", {}).get(name, getattr(self, name))

    def _as_fitted(self):
        """Return a model with the attributes of this one and the parameters of its `fit`."""
        model = self._working_copy()
        vars(model).update(self._fit_params_)
        return model

    def _save_state(self):
        """Return the attributes, with the net as arrays; see `sklearn_recsys.persistence`."""
        not_saved = {"net_", *self._derived}
        state = {name: value for name, value in vars(self).items() if name not in not_saved}
        if "net_" in vars(self):
            current, missing = self._net_params(), object()
            changed = {
                name: value
                for name, value in state.pop("_fit_params_").items()
                if current.get(name, missing) != value
            }
            if changed:
                state["_fit_params_"] = changed
            weights = self.net_.module_.state_dict()
            state["weights_"] = {name: weight.cpu().numpy() for name, weight in weights.items()}
            state["epochs_"] = self.history_.reset_index().to_dict("list")
        return state

    def _load_state(self, state):
        """Set the state of a file; raise ValueError if it is invalid, before it takes memory."""
        self._set_state(state, checked=True)

    def _set_state(self, state, checked=False):
        """Set the state that `_save_state` returned; check it if it is from a file."""
        state = dict(state)
        weights, epochs = state.pop("weights_", None), state.pop("epochs_", None)
        changed = state.pop("_fit_params_", {})
        vars(self).update(state)
        self._set_derived()
        if weights is None:
            return
        try:
            device = check_device(self.device)
        except ValueError:  # trained on a device that this machine lacks
            device = check_device("cpu")
        if checked:
            self._check_fit_params(changed)
        self._fit_params_ = {**self._net_params(), **changed}
        fitted = self._as_fitted()
        if checked:
            fitted._validate_params()
            rules = {name: rule for name, rule in self._fitted_state().items() if name != "net_"}
            check_state(self, rules=rules)
            _check_curve(epochs)
        try:
            net = fitted._make_net(fitted._loaded_module(weights), device, self._n_trained_, None)
            net.initialize()
            for values in zip(*epochs.values(), strict=True):
                net.history.append(dict(zip(epochs, values, strict=True)))
        except (RuntimeError, AttributeError, TypeError, KeyError) as error:
            raise ValueError(f"the weights of {type(self).__name__} do not fit: {error}") from error
        self.net_ = net

    def _loaded_module(self, weights):
        """Return the module with these weights, after a check of their shapes."""
        X = self._read(self.interactions_)
        weights = {name: torch.from_numpy(weight) for name, weight in weights.items()}
        if not type(self).__module__.startswith("sklearn_recsys."):
            # a user's module may hold more than weights, so it must be constructed
            with seeded(0), FitGenerators():  # the constructor samples initial weights
                module = self._make_module(X)
            module.load_state_dict(weights)
            return module
        if self._n_layers() > len(weights):
            raise ValueError("its parameters require more layers than it has weights")
        with torch.device("meta"):  # shapes without storage
            module = self._make_module(X)
        for name, expected in module.state_dict().items():
            given = weights.get(name)
            if given is None or given.shape != expected.shape or given.dtype != expected.dtype:
                actual = "missing" if given is None else f"of shape {tuple(given.shape)}"
                raise ValueError(
                    f"the weights {name} of {type(self).__name__} are {actual}, and its parameters "
                    f"require {tuple(expected.shape)}"
                )
            if not given.isfinite().all():
                raise ValueError(f"the weights {name} of {type(self).__name__} are not finite")
        # assigned, not copied: the arrays were read from the file for this model alone
        module.load_state_dict(weights, assign=True)
        return module

    def _check_fit_params(self, changed):
        """Raise ValueError unless the parameters of a file are plain values for this net."""
        names = set(self._get_param_names()) - _RUN_PARAMS
        valid = isinstance(changed, dict) and set(changed) <= names
        if not valid or any(_plain(value) is _NOT_PLAIN for value in changed.values()):
            raise ValueError(f"the fitted parameters of {type(self).__name__} are invalid")

    def _n_layers(self):
        """Return a lower bound of the number of layers that the parameters require."""
        return len(getattr(self, "hidden_layer_sizes", ()))

    def _check_portable(self):
        """Raise ValueError for parameters that a file must not set; see `net_params_problem`."""
        problem = net_params_problem(self.net_params)
        if problem:
            raise ValueError(problem)
        for item in self.callbacks or []:
            callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
            if not isinstance(callback, Callback):
                raise ValueError(f"callbacks holds {item!r:.50}, which is not a skorch callback")
        if not re.fullmatch(r"auto|(cpu|cuda|mps)(:\d{1,4})?", str(self.device)):
            raise ValueError(f"device is {self.device!r:.50}")

    def __copy__(self):  # also in the midst of a fit, whose state cannot be saved
        new = self._working_copy()
        for name in vars(new).keys() & set(self._derived):
            delattr(new, name)
        new._set_derived()
        if "net_" in vars(new):
            new.net_ = self.net_.working_copy()
        return new

    def __getstate__(self):
        return self._save_state()

    def __setstate__(self, state):
        state = dict(state)
        if "weights_" in state:  # copy.copy passes the other model's arrays
            state["weights_"] = {name: weight.copy() for name, weight in state["weights_"].items()}
        self._set_state(state)


# parameters that may differ between runs and machines
_RUN_PARAMS = {"callbacks", "checkpoint", "device", "net_params", "random_state", "verbose"}
_NOT_PLAIN = object()


def _plain(value):
    """Return a number, string or None unchanged, a few numbers as a list, else `_NOT_PLAIN`."""
    if value is None or isinstance(value, (str, Number, np.generic)):
        return value
    sequence = isinstance(value, (list, tuple, range, np.ndarray, pd.Index, pd.Series))
    if sequence and len(value) <= 1000 and all(isinstance(item, Number) for item in value):
        return list(value)
    return _NOT_PLAIN


# allowed in the net_params of a file, besides numbers for the optimizer: nothing that names code
_NET_PARAMS = {
    "batch_size": Integral,
    "distributed": bool,
    "iterator_train__drop_last": bool,
    "iterator_train__shuffle": bool,
    "lr": Real,
    "max_epochs": Integral,
    "precision": str,
    "verbose": Integral,
    "warm_start": bool,
}


def net_params_problem(params):
    """Return why `net_params` cannot be saved or loaded, None if it can.

    skorch passes some of them to ``torch.compile``, ``torch.load`` or arbitrary classes, so a file
    may only hold harmless ones.
    """
    if params is None:
        return None
    if not isinstance(params, dict):
        return f"net_params is {params!r:.50}, not a dict"
    for name, value in params.items():
        allowed = isinstance(name, str) and name in _NET_PARAMS
        if allowed and isinstance(value, _NET_PARAMS[name]):
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
    """Return whether a value is a number, a bool or None, or a few of them."""
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
        raise ValueError("the training curve holds a value that is not a number")
