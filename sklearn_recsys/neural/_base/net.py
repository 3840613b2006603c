"""The interface to skorch: the training loop, optimizers and callbacks."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from copy import deepcopy

import numpy as np
import torch
from skorch import NeuralNet
from skorch.callbacks import PassthroughScoring
from skorch.helper import predefined_split

from sklearn_recsys.neural._base.callbacks import (
    AveragedWeights,
    OneCycle,
    StopEarly,
    silent,
    stops_early,
)
from sklearn_recsys.neural._base.processes import ProcessesMixin, training_together
from sklearn_recsys.neural._base.progress import restore_training, training_state
from sklearn_recsys.neural._data.random import FitGenerators, seeded
from sklearn_recsys.neural._data.row_batches import RowBatches
from sklearn_recsys.neural._nn.layers import unrounded
from sklearn_recsys.utils._memory import check_memory
from sklearn_recsys.utils._suggest import did_you_mean
from sklearn_recsys.utils.progress import progress

OPTIMIZERS = {
    name.lower(): optimizer
    for name, optimizer in vars(torch.optim).items()
    if inspect.isclass(optimizer)
    and issubclass(optimizer, torch.optim.Optimizer)
    and optimizer is not torch.optim.Optimizer
}

PRECISIONS = ("float32", "bf16")  # of matrix products in training

_FUSED = (torch.optim.Adam, torch.optim.AdamW)

_SMALLER = "Use smaller layers or fewer factors."


class Diverged(ArithmeticError):
    """Training diverged: the loss or the weights are not finite.

    Parameters
    ----------
    epoch : int
        The epoch in which that happened.
    """

    def __init__(self, epoch):
        super().__init__(f"diverged in epoch {epoch}")
        self.epoch = epoch


class Stopped(Exception):
    """A callback of scikit-learn has ended training."""


class Net(NeuralNet):
    """skorch's training loop over our batches; the module defines the loss.

    A module may implement `begin_epoch(epoch)`, which is called before each epoch. If its training
    depends on more than its weights, buffers and the number of the epoch, it implements
    `training_state()`, which returns that as a dict of tensors and plain values between two epochs,
    and `set_training_state(state)`.
    """

    metric = None  # what the module's `validate` measures, greater is better; None: the loss
    interrupt = None  # the KeyboardInterrupt that ended training
    diverged = None  # the epoch in which the loss or the weights became infinite or too large
    progress = None  # the part of a checkpoint that training is saved in, and resumed from
    epochs = None  # the `Iterations` that report each epoch
    n_resumed = 0  # epochs that were resumed
    distributed = False  # whether the processes of torch's default group train together
    precision = "float32"  # of the matrix products in the loss
    processes = None  # these, while they train

    def partial_fit(self, X, y=None, **params):
        self.interrupt, self.diverged = None, None
        with training_together(self, X) if self.distributed else nullcontext():
            super().partial_fit(X, y, **params)
        if self.diverged is None:
            self.diverged = self._exploded()
        if self.interrupt is not None:
            raise self.interrupt
        return self

    def fit_loop(self, X, y=None, **params):
        try:
            n_epochs = self.max_epochs - self._resume()
            if self.epochs is not None:
                self.epochs.start(n_epochs)
            return super().fit_loop(X, y, epochs=n_epochs, **params)
        except Stopped:
            return self
        except Diverged as error:  # ends training: callbacks may restore earlier weights
            self.diverged = error.epoch
            return self
        except KeyboardInterrupt as interrupt:
            if not stops_early(interrupt):
                self.interrupt = interrupt
            raise  # skorch catches it and runs the callbacks of the end of training

    def _resume(self):
        """Restore the state of an interrupted training; return how many epochs not to train."""
        state = None if self.progress is None else self.progress.load()
        if self.processes is not None:
            state = self.processes.scattered(state)
        if state is None:
            return 0
        restore_training(self, state)
        self.n_resumed = len(self.history)
        return self.max_epochs if state["ended"] else self.n_resumed

    def _save_progress(self, ended):
        processes, progress = self.processes, self.progress
        if processes is not None:
            processes.agree(goes_on=not ended)
        if progress is None or len(self.history) <= self.n_resumed:
            return
        if progress.is_due if processes is None else processes.any(progress.is_due):
            state = training_state(self, ended)
            progress.save(state if processes is None else processes.gathered(state))

    def get_iterator(self, dataset, training=False):
        iterator = super().get_iterator(dataset, training=training)
        return iterator if self.processes is None else self.processes.shares(iterator)

    def on_train_end(self, net, **kwargs):
        super().on_train_end(net, **kwargs)
        if self.interrupt is None and self.diverged is None:  # else the last epoch is incomplete
            self._save_progress(ended=True)
        if self.epochs is not None and self.interrupt is None:
            if self.diverged is not None:
                self.epochs.finish = None  # the last epoch has no usable model
            self.epochs.end()

    def on_batch_end(self, net, batch=None, training=False, **kwargs):
        prefix = "train" if training else "valid"
        if self.processes is not None:  # skorch has recorded the size of this process's share
            self.history.record_batch(f"{prefix}_batch_size", self.processes.n_examples)
        super().on_batch_end(net, batch=batch, training=training, **kwargs)
        name = f"{prefix}_loss"
        loss = self.history[-1]["batches"][-1][name]
        if not np.isfinite(loss):
            self._stop_diverged(name, loss)

    def run_single_epoch(self, iterator, training, *args, **params):
        if training:
            iterator = progress(iterator, "Epoch", unit="batch")
        super().run_single_epoch(iterator, training, *args, **params)
        if training:  # the last step may diverge after a finite loss
            is_finite = self.is_finite()
            if not (is_finite if self.processes is None else self.processes.all(is_finite)):
                self._stop_diverged("train_loss", np.nan)

    def _stop_diverged(self, name, loss):
        batches = self.history[-1]["batches"]
        losses = [batch["train_loss"] for batch in batches if "train_loss" in batch]
        self.history.record("train_loss", float(np.mean(losses)))
        self.history.record(name, loss)
        raise Diverged(self.history[-1]["epoch"])

    def is_finite(self):
        """Return whether all weights are finite."""
        return all(bool(p.isfinite().all()) for p in self.module_.parameters())

    def _exploded(self):
        """Return when the loss rose above a thousand times the first one to stay, or None."""
        losses = [(row["epoch"], abs(row.get("train_loss", 0.0))) for row in self.history]
        bound = 1000 * max(losses[0][1], 1.0)
        exploded = [epoch for epoch, loss in losses if loss > bound]
        return exploded[0] if exploded and losses[-1][1] > bound else None

    def train_on(self, valid, max_epochs):
        """Set the validation data, or None, and the number of further epochs."""
        split = None if valid is None else predefined_split(valid)
        self.set_params(train_split=split, max_epochs=max_epochs)

    def working_copy(self):
        """Return a net that continues training without changing the weights of this one.

        Callbacks are shared: they belong to the user, and start over whenever training starts.
        """
        net = object.__new__(type(self))
        vars(net).update(vars(self))
        vars(net)["history_"] = deepcopy(self.history_)
        vars(net)["module_"] = deepcopy(self.module_)
        net.initialize_optimizer()
        net.optimizer_.load_state_dict(deepcopy(self.optimizer_.state_dict()))
        return net

    def on_epoch_begin(self, net, **kwargs):
        self._save_progress(ended=False)  # now, after all callbacks of the former epoch
        if self.epochs is not None and not self.epochs.next():
            raise Stopped
        super().on_epoch_begin(net, **kwargs)
        if self.processes is not None:
            self.processes.agree(goes_on=True)
        if hasattr(self.module_, "begin_epoch"):
            self.module_.begin_epoch(len(self.history))

    def train_step_single(self, batch, **fit_params):
        self._set_training(True)
        if self.processes is None:
            return {"loss": self.backward(batch), "y_pred": None}
        return {"loss": self.processes.backward(self, batch), "y_pred": None}

    def backward(self, batch, factor=1):
        """Add the gradient of the loss of a batch, times a factor; return the loss, times it."""
        with self._autocast():
            loss = self.module_.loss(*batch)
        loss = unrounded(loss)
        if self.penalty:  # for optimizers without weight decay
            weights = (p for p in self.module_.parameters() if p.ndim > 1)
            loss = loss + self.penalty / 2 * sum(w.square().sum() for w in weights)
        loss = loss * factor
        loss.backward()
        return loss.detach()

    def _autocast(self):
        """Return the context of the loss; validation and predictions are in float32."""
        if self.precision == "float32":
            return nullcontext()
        return torch.autocast(torch.device(self.device).type, torch.bfloat16)

    def validation_step(self, batch, **fit_params):
        self._set_training(False)
        n = len(batch[0])
        validate = self.module_.loss if self.metric is None else self.module_.validate
        with torch.no_grad():
            value = validate(*batch) if n else next(self.module_.parameters()).new_zeros(())
        if self.processes is not None:
            value = self.processes.mean(value, n)
        if self.metric is None:
            return {"loss": value, "y_pred": None}
        self.history.record_batch(self.metric, value.item())
        return {"loss": -value, "y_pred": None}


def optimizer_class(optimizer):
    """Return the class, or other callable, for a parameter `optimizer`."""
    if not isinstance(optimizer, str):
        return optimizer
    optimizer_type = OPTIMIZERS.get(optimizer.lower())
    if optimizer_type is None:
        raise ValueError(
            f"optimizer={optimizer!r} is unknown; use one of {', '.join(sorted(OPTIMIZERS))}, or a "
            f"class of torch.optim.{did_you_mean(optimizer, OPTIMIZERS)}"
        )
    return optimizer_type


class NetMixin(ProcessesMixin):
    """Mixin that builds the skorch net from the parameters of a neural recommender."""

    _averages_weights = False  # over about the latest tenth of all updates

    @property
    def _metric(self):
        """What the module's `validate` measures, greater is better; None: the loss."""
        return None

    @property
    def _batches(self):
        """The class that iterates over a data set to train on."""
        return RowBatches

    @property
    def _valid_batches(self):
        """The class that iterates over a data set to validate on."""
        return self._batches

    @property
    def _precision(self):
        """The precision of matrix products in training."""
        return (self.net_params or {}).get("precision", "float32")

    def _check_net_params(self):
        """Raise ValueError for values of `net_params` that would have no effect."""
        if self._precision not in PRECISIONS:
            raise ValueError(
                f"The precision in net_params must be one of {PRECISIONS}; got "
                f"{self._precision!r}. float16 would need scaled losses, and is not supported."
            )
        if (self.net_params or {}).get("compile", False):
            raise ValueError(
                "net_params={'compile': True} is not supported: skorch compiles the module's "
                "forward, and training calls its loss. Leave it out."
            )

    def _learning_rate(self):
        return self.lr

    def _update_size(self, n_examples):
        """Return the number of examples in an update."""
        return self.batch_size

    def _decay(self, n_examples):
        """Return the weight decay equivalent to `l2`, for a loss that is a mean over examples."""
        return self.l2 / n_examples  # l2 is defined for a sum over examples

    def _check_module_memory(self, X):
        """Raise MemoryError if the weights cannot fit, by making a module without storage."""
        try:
            with seeded(0), torch.device("meta"), FitGenerators():
                weights = list(self._make_module(X).parameters())
        except (RuntimeError, NotImplementedError, TypeError) as error:
            if "overflow" not in str(error).lower():  # its constructor needs real values
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

    def _make_net(self, module, device, n_examples, valid, pretrained=False):
        """Return the skorch net that trains `module`."""
        optimizer = optimizer_class(self.optimizer)
        full_batch = optimizer is torch.optim.LBFGS and isinstance(self.optimizer, str)
        decay = self._decay(n_examples)
        params = {
            "module": module,
            "criterion": torch.nn.Module,  # unused: the module has its own `loss`
            "optimizer": optimizer,
            "lr": self._learning_rate(),
            "max_epochs": self.max_epochs,
            "batch_size": n_examples if full_batch else self._update_size(n_examples),
            "iterator_train": self._batches,
            "iterator_train__shuffle": True,
            "iterator_train__device": device,
            "iterator_valid": self._valid_batches,
            "iterator_valid__device": device,
            "train_split": None if valid is None else predefined_split(valid),
            "callbacks": self._make_callbacks(valid),
            "verbose": int(self.verbose),
            "device": str(device),
        }
        if not self.verbose:  # or it formats a table in each epoch, to print none
            params["callbacks__print_log"] = None
        if full_batch:  # a line search finds the step size
            params |= {"lr": 1.0, "optimizer__line_search_fn": "strong_wolfe"}
        net_params = dict(self.net_params or {})
        net_params.pop("distributed", None)
        net_params.pop("precision", None)
        by_name = isinstance(self.optimizer, str) and "optimizer__foreach" not in net_params
        if by_name and optimizer in _FUSED and device.type in ("cpu", "cuda"):
            params["optimizer__fused"] = True  # one pass over the weights, in a tenth of the time
        decays = "weight_decay" in inspect.signature(optimizer).parameters
        if decay and decays:
            weights = [name for name, p in module.named_parameters() if p.ndim > 1]
            params["optimizer__param_groups"] = [
                (name, {"weight_decay": decay}) for name in weights
            ]
        net = Net(**{**params, **net_params})
        net.penalty = 0 if decays else decay
        net.metric = self._metric
        net.distributed = self._distributed
        net.precision = self._precision
        return net

    def _make_callbacks(self, valid):
        callbacks = []
        if getattr(self, "schedule", "constant") == "one_cycle":  # a parameter of some models
            callbacks.append(("schedule", OneCycle()))
        monitor, lower, threshold = "valid_loss", True, 1e-4
        if self._metric is not None:  # the last one of equal values counts as the best
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
        average = [("average", AveragedWeights())] if self._averages_weights else []
        return [*callbacks, *(self.callbacks or []), *average]
