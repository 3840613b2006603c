"""The state of training between two epochs, as plain values and arrays."""

from __future__ import annotations

import numpy as np
import torch

from sklearn_recsys.neural._data.random import generator_states, set_generator_states

_PLAIN = (str, int, float, bool, type(None), np.generic, np.ndarray)
_TENSOR, _STATE = "tensor of", "state dict"  # keys that stand for an object


def training_state(net, ended):
    """Return all that the next epochs, and the end of training, depend on.

    Parameters
    ----------
    net : Net
        The net, after an epoch.
    ended : bool
        Whether no epoch is left.

    Returns
    -------
    state : dict
        Plain values and arrays; the arrays are those of the net, not copies.
    """
    module = net.module_
    return {
        "ended": ended,
        "epochs": [
            {name: value for name, value in epoch.items() if name != "batches"}
            for epoch in net.history
        ],
        "weights": _encoded(module.state_dict(), "module"),
        "module": _encoded(module.training_state(), "module")
        if hasattr(module, "training_state")
        else None,
        "optimizer": _encoded(net.optimizer_.state_dict(), "optimizer"),
        "callbacks": {name: _callback_state(callback, name) for name, callback in net.callbacks_},
        "generators": _encoded(generator_states(), "generators"),
        "own generators": None
        if net.processes is None
        else _encoded(net.processes.generator_states(), "generators"),
    }


def restore_training(net, state):
    """Set the state of a net that has just begun to train, and of the fit's random numbers.

    Parameters
    ----------
    net : Net
        A net with the parameters, data and callbacks of the one that `training_state` was given,
        whose callbacks have been told that training begins.
    state : dict
        The result of `training_state`.
    """
    for epoch in state["epochs"]:
        net.history.append({**epoch, "batches": []})
    net.module_.load_state_dict(_decoded(state["weights"]))
    if state["module"] is not None:
        net.module_.set_training_state(_decoded(state["module"]))
    net.optimizer_.load_state_dict(_decoded(state["optimizer"]))
    for name, callback in net.callbacks_:
        for attribute, value in state["callbacks"].get(name, {}).items():
            if isinstance(value, dict) and _STATE in value:
                getattr(callback, attribute).load_state_dict(_decoded(value[_STATE]))
            else:
                setattr(callback, attribute, _decoded(value))
    set_generator_states(_decoded(state["generators"]))
    if net.processes is not None:
        net.processes.set_generator_states(_decoded(state["own generators"]))


def _callback_state(callback, name):
    """Return the state of a callback: attributes that end in an underscore, skorch's convention.

    Functions and other objects are left out, as are the weights of the net: the callback sets them
    when training begins.
    """
    state = {}
    for attribute, value in vars(callback).items():
        where = f"the attribute {attribute} of the callback {name}"
        if not attribute.endswith("_") or attribute.startswith("_"):
            continue
        if hasattr(value, "load_state_dict") and not isinstance(value, type):  # a schedule
            state[attribute] = {_STATE: _encoded(value.state_dict(), where)}
        elif _is_state(value):
            state[attribute] = _encoded(value, where)
    return state


def _is_state(value):
    """Return whether a value consists of plain values and tensors, but not of weights."""
    if isinstance(value, dict):
        return all(isinstance(key, (str, int)) and _is_state(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_state, value))
    is_tensor = isinstance(value, torch.Tensor) and not isinstance(value, torch.nn.Parameter)
    return is_tensor or isinstance(value, _PLAIN)


def _encoded(value, where):
    """Return a value with arrays in place of tensors; raise TypeError for other objects."""
    if isinstance(value, torch.Tensor):
        return {_TENSOR: value.detach().cpu().numpy(), "device": str(value.device)}
    if isinstance(value, dict):
        return {key: _encoded(item, where) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_encoded(item, where) for item in value)
    if not isinstance(value, _PLAIN):
        raise TypeError(
            f"checkpoint: {where} holds a {type(value).__name__}, which cannot be saved: use "
            "another one, or checkpoint=None."
        )
    return value


def _decoded(value):
    """Return a value with tensors of their own memory in place of arrays."""
    if isinstance(value, dict):
        if _TENSOR in value:
            return torch.from_numpy(value[_TENSOR]).to(value["device"], copy=True)
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_decoded, value))
    return value
