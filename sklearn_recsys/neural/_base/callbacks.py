"""Callbacks of skorch: early stopping, a schedule of the learning rate, averaged weights."""

from __future__ import annotations

import torch
from skorch.callbacks import Callback, EarlyStopping


class StopEarly(EarlyStopping):
    """skorch's early stopping, which does nothing without validation data."""

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        if dataset_valid is not None:
            super().on_epoch_end(net, **kwargs)


def stops_early(interrupt):
    """Return whether skorch's EarlyStopping raised the interrupt, rather than a Ctrl-C."""
    traceback = interrupt.__traceback__
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code is EarlyStopping.on_epoch_end.__code__


class OneCycle(Callback):
    """Raise the learning rate to the net's `lr`, and lower it to zero, over all batches."""

    def on_train_begin(self, net, X=None, **kwargs):
        steps = net.max_epochs * len(net.get_iterator(net.get_dataset(X), training=True))
        self.schedule_ = torch.optim.lr_scheduler.OneCycleLR(
            net.optimizer_,
            max_lr=net.lr,
            total_steps=steps + 1,
            # raises an error for optimizers without momentum
            cycle_momentum="betas" in net.optimizer_.defaults,
        )

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.schedule_.step()


class AveragedWeights(Callback):
    """Validate with, and end with, an average of the weights over the latest tenth of all updates.

    Polynomial-decay averaging (Shamir and Zhang, "Stochastic Gradient Descent for Non-smooth
    Optimization", ICML 2013, eq. 5, η = 8): the average moves by 9 / (t + 8) of the way to the
    weights of update t. Training itself goes on with the weights.
    """

    def on_train_begin(self, net, **kwargs):
        weights = list(net.module_.parameters())
        self.n_updates_, self.weights_ = 0, weights
        self.others_ = [weight.detach().clone() for weight in weights]
        self.averaged_ = False  # whether the module holds the average, not the weights

    def on_epoch_begin(self, net, **kwargs):
        if self.averaged_:
            self._swap()

    def on_batch_begin(self, net, training=False, **kwargs):
        if not training and not self.averaged_:
            self._swap()

    @torch.no_grad()
    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.n_updates_ += 1
            for average, weight in zip(self.others_, self.weights_, strict=True):
                average.lerp_(weight, 9 / (self.n_updates_ + 8))

    def on_epoch_end(self, net, **kwargs):
        if not self.averaged_:  # nothing was validated
            self._swap()

    def on_train_end(self, net, **kwargs):
        del self.weights_, self.others_

    @torch.no_grad()
    def _swap(self):
        for weight, other in zip(self.weights_, self.others_, strict=True):
            former = weight.clone()
            weight.copy_(other)
            other.copy_(former)
        self.averaged_ = not self.averaged_


def silent(*args, **kwargs):
    """Swallow a message."""
