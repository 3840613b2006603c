"""Random numbers of a fit, from its own generators.

torch's global generator belongs to the user, and to all threads at once: seeding it for a fit, and
restoring it, would mix up fits that run in parallel, and disturb the random numbers of other
threads. So each fit has its own generators, one per device, which the functions here look up by the
thread that runs the fit. They return the same numbers as the global generator with that seed.
`dropout` makes cheaper use of them than torch's.
"""

from __future__ import annotations

import math
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
# functions without a generator argument; recurrent ones use random numbers only for dropout
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
    """Give this thread seeded generators, which `generator` and `dropout` use."""
    previous = getattr(_thread, "fit", None)
    _thread.fit = seed, {}
    try:
        yield
    finally:
        _thread.fit = previous


@contextmanager
def own_stream(process, generators):
    """Use other generators of this fit, those of a process, and keep their states in a dict."""
    fit = _thread.fit
    _thread.fit = fit[0] + 1 + process, generators
    try:
        yield
    finally:
        _thread.fit = fit


def generator(device="cpu"):
    """Return the generator of the fit that this thread runs; None (torch's own) outside a fit."""
    fit = getattr(_thread, "fit", None)
    if fit is None:
        return None
    seed, generators = fit
    device = torch.device(device)
    if device.type == "meta":  # no values are sampled without storage
        return None
    if device not in generators:
        generators[device] = torch.Generator(device).manual_seed(seed)
    return generators[device]


def generator_states():
    """Return the states of the generators that this thread's fit has used, by device."""
    _, generators = _thread.fit
    return {str(device): used.get_state() for device, used in generators.items()}


def set_generator_states(states):
    """Set the generators of this thread's fit to the states that `generator_states` returned."""
    for device, state in states.items():
        generator(device).set_state(state)


def dropout(values, share, training=True):
    """Set a share of the values to zero while training, and scale the others up.

    On a CPU, where `bernoulli_` is slow, 16 random bits decide about each value, or 32 if one of
    the shares is small, and the share is rounded to a multiple of 2**-16 or 2**-32.
    """
    if not training or not share:
        return values
    mask, device = torch.empty_like(values), values.device
    if device.type != "cpu":
        mask.bernoulli_(1 - share, generator=generator(device))
        return values * mask.div_(1 - share)
    dtype = torch.int16 if 2**-8 < share < 1 - 2**-8 else torch.int32
    n_states = 2 ** (8 * dtype.itemsize)  # of the bits
    n_dropped = min(round(share * n_states), n_states - 1)
    torch.ge(_random_bits(values.shape, dtype), n_dropped - n_states // 2, out=mask)
    return values * mask.mul_(1 / max(1 - share, 1 / n_states))


def _random_bits(shape, dtype):
    """Return a Tensor of integers, each of which is equally likely."""
    n = math.prod(shape)
    words = torch.empty(-(-n * dtype.itemsize // 8), dtype=torch.int64)
    words.random_(-(2**63), None, generator=generator())
    return words.view(dtype)[:n].view(shape)


class FitGenerators(TorchFunctionMode):
    """Make torch's random functions use the generators of the fit when none is passed.

    This is for code that we do not write: initialization of torch's layers, and users' modules.
    Within this mode every call of torch is a little slower.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        name = getattr(func, "__name__", None)
        if name == "dropout" and func is torch.nn.functional.dropout:
            return _dropout(*args, **kwargs)
        if name in _FACTORIES and kwargs.get("generator") is None:
            device = torch.device(kwargs.get("device") or torch.get_default_device())
            if device.type == "meta" and name in {"rand", "randn"}:
                func = torch.empty  # torch takes long to sample nothing
            else:
                kwargs = {**kwargs, "generator": generator(device)}
        elif name in _OF_TENSORS and kwargs.get("generator") is None:
            tensor = args[0] if args else kwargs.get("tensor")
            device = getattr(tensor, "device", torch.device("cpu"))
            if device.type == "meta" and name.endswith("_"):
                return tensor
            kwargs = {**kwargs, "generator": generator(device)}
        elif name in _WITHOUT_GENERATOR or (
            name in _RECURRENT and any(type(arg) is float and arg > 0 for arg in args)
        ):
            return _with_global_generator(func, args, kwargs)
        return func(*args, **kwargs)


def _dropout(input, p=0.5, training=True, inplace=False):  # argument names of torch
    dropped = dropout(input, p, training) if p < 1 else input * (0 if training else 1)
    return input.copy_(dropped) if inplace else dropped


def _with_global_generator(func, args, kwargs):
    """Call a function that uses the global generator, in the state of the fit's generator."""
    device = next((arg.device for arg in args if isinstance(arg, torch.Tensor)), None)
    own, shared = generator(device or "cpu"), torch.default_generator
    if own.device.type == "cuda":
        shared = torch.cuda.default_generators[own.device.index or 0]
    with _global_state:
        previous = shared.get_state()
        shared.set_state(own.get_state())
        try:
            return func(*args, **kwargs)
        finally:
            own.set_state(shared.get_state())
            shared.set_state(previous)
