"""Random numbers of a fit, from generators of its own.

torch's global generator belongs to the user, and to all threads at once: seeding it for a fit, and
restoring it, would mix up fits that run side by side and move what other threads draw from. So a
fit has generators of its own, one for each device, which the functions here find by the thread that
runs it. They draw the same numbers as the global generator would with that seed.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager

import torch
from torch.overrides import TorchFunctionMode

_thread = threading.local()
_global_state = threading.Lock()

# functions of torch that take a generator, by name: factories, and those of a tensor
_FACTORIES = {"rand", "randn", "randint", "randperm"}
_OF_TENSORS = {
    "bernoulli",
    "bernoulli_",
    "cauchy_",
    "exponential_",
    "geometric_",
    "kaiming_normal_",
    "kaiming_uniform_",
    "log_normal_",
    "multinomial",
    "normal",
    "normal_",
    "poisson",
    "random_",
    "uniform_",
}
# and those that take none, but draw if a share to drop out is above zero
_RECURRENT = {"gru", "lstm", "rnn_relu", "rnn_tanh"}
_WITHOUT_GENERATOR = {
    "alpha_dropout",
    "dropout1d",
    "dropout2d",
    "dropout3d",
    "feature_alpha_dropout",
    "feature_dropout",
    "gumbel_softmax",
    "multi_head_attention_forward",
    "rand_like",
    "randint_like",
    "randn_like",
    "rrelu",
    "scaled_dot_product_attention",
}


@contextmanager
def seeded(seed):
    """Let this thread draw from generators with a seed, by `generator` and `dropout`."""
    former = getattr(_thread, "fit", None)
    _thread.fit = seed, {}
    try:
        yield
    finally:
        _thread.fit = former


def generator(device="cpu"):
    """Return the generator of the fit that this thread runs; None, for torch's own, without one."""
    fit = getattr(_thread, "fit", None)
    if fit is None:
        return None
    seed, generators = fit
    device = torch.device(device)
    if device.type == "meta":  # nothing is drawn without storage
        return None
    if device not in generators:
        generators[device] = torch.Generator(device).manual_seed(seed)
    return generators[device]


def dropout(values, share, training=True):
    """Set a share of the values to zero while training, and scale the others up."""
    if not training or not share:
        return values
    kept = torch.empty_like(values).bernoulli_(1 - share, generator=generator(values.device))
    return values * kept.div_(1 - share)


class OwnDraws(TorchFunctionMode):
    """Let torch's functions draw from the generators of the fit, in code that does not ask for one.

    That is how torch's layers start, and the modules of users. Each call of torch takes a little
    longer inside.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", None)
        if name == "dropout" and func is torch.nn.functional.dropout:
            return _dropout(*args, **kwargs)
        if name in _FACTORIES and kwargs.get("generator") is None:
            device = kwargs.get("device") or torch.get_default_device()
            kwargs = {**kwargs, "generator": generator(device)}
        elif name in _OF_TENSORS and kwargs.get("generator") is None:
            device = getattr(args[0] if args else kwargs.get("tensor"), "device", "cpu")
            kwargs = {**kwargs, "generator": generator(device)}
        elif name in _WITHOUT_GENERATOR or (
            name in _RECURRENT and any(type(arg) is float and arg > 0 for arg in args)
        ):
            return _lend(func, args, kwargs)
        return func(*args, **kwargs)


def _dropout(input, p=0.5, training=True, inplace=False):  # named as torch's
    dropped = dropout(input, p, training) if p < 1 else input * (0 if training else 1)
    return input.copy_(dropped) if inplace else dropped


def _lend(func, args, kwargs):
    """Call a function that draws from the global generator, with the state of the fit's own."""
    device = next((arg.device for arg in args if isinstance(arg, torch.Tensor)), None)
    own, shared = generator(device or "cpu"), torch.default_generator
    if own.device.type == "cuda":
        shared = torch.cuda.default_generators[own.device.index or 0]
    with _global_state:
        former = shared.get_state()
        shared.set_state(own.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            own.set_state(shared.get_state())
            shared.set_state(former)
