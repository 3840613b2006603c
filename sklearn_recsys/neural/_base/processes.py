"""Training by several processes, each on its share of every batch."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from numbers import Integral

import numpy as np
import torch
import torch.distributed as dist
from skorch.callbacks import Callback
from torch import optim

from sklearn_recsys.base._checkpoint import _differences, _digest, _identity
from sklearn_recsys.neural._base.exchange import Exchange
from sklearn_recsys.neural._data.pair_batches import ChunkBatches, PairBatches, PairDataset
from sklearn_recsys.neural._data.random import (
    generator_states,
    own_stream,
    set_generator_states,
)

# optimizers that treat each weight by itself, so that each process can update some of them
_ELEMENTWISE = {
    getattr(optim, name)
    for name in "Adadelta Adagrad Adam AdamW Adamax ASGD NAdam RAdam RMSprop Rprop SGD".split()
}


class ProcessesMixin:
    """Mixin for neural recommenders that several processes can train together."""

    # whether its loss is a mean over the examples of a batch, each of which has its own part
    _can_distribute = False

    @property
    def _distributed(self):
        """Whether the processes of torch's default group train together."""
        return bool((self.net_params or {}).get("distributed", False))

    @property
    def _n_processes(self):
        return dist.get_world_size() if self._distributed else 1

    @property
    def _saves_progress(self):
        """Whether this process saves the progress of a fit, for all of them."""
        return not self._distributed or dist.get_rank() == 0

    @contextmanager
    def _together(self, X, resume):
        """Fit in all processes, or raise an error in all; yield a function to call at the end."""
        if not self._distributed:
            yield lambda: None
            return
        self._check_distributed()
        has_ended = False

        def end():
            nonlocal has_ended
            meet()
            has_ended = True

        try:
            self._check_same_fit(X, resume)
            yield end
        except OtherProcessError:
            raise
        except BaseException as error:
            if not has_ended:  # else the others no longer wait
                with suppress(RuntimeError):  # another process was killed
                    meet(error=error)
            raise

    def _check_distributed(self):
        """Raise ValueError if several processes cannot train this model together."""
        option = "net_params={'distributed': True}"
        if not self._can_distribute:
            raise ValueError(
                f"{type(self).__name__} with these parameters cannot be trained on several "
                f"processes: leave out {option}. The section on several processes in the user "
                "guide lists the models that can."
            )
        if not (dist.is_available() and dist.is_initialized()):
            raise ValueError(
                f"{option} needs a process group: call torch.distributed.init_process_group first."
            )

    def _check_same_fit(self, X, resume):
        """Raise ValueError, in every process, if they do not call the same fit."""
        if not isinstance(self.random_state, Integral):
            raise ValueError(
                "Processes that train together need an integer as random_state, the same in each; "
                f"got {self.random_state!r}."
            )
        fit = _identity(self, X)
        fit.pop("device")
        fit["checkpoint"] = "None" if self.checkpoint is None else "a folder"
        if resume:
            weights = self.net_.module_.state_dict()
            fit["weights"] = _digest({name: w.cpu().numpy() for name, w in weights.items()})
        fits = meet(fit)
        for rank, other in enumerate(fits):
            differences = _differences(other, fits[0])
            if differences:
                raise ValueError(
                    "All processes must call fit with the same X and parameters, but they differ "
                    f"between the processes {rank} and 0: {differences}."
                )


class OtherProcessError(RuntimeError):
    """Another process has raised an error, and all others have been told."""


def meet(value=None, error=None):
    """Wait for all processes, and return their values.

    Raises
    ------
    OtherProcessError
        If another process comes here with an error; it does not come again.
    """
    text = None if error is None else f"{type(error).__name__}: {error}"
    met = [None] * dist.get_world_size()
    dist.all_gather_object(met, (value, text))
    for rank, (_, other) in enumerate(met):
        if error is None and other is not None:
            raise OtherProcessError(f"Process {rank} has ended its fit: {other}")
    return [value for value, _ in met]


@contextmanager
def training_together(net, dataset):
    """Let the processes of torch's default group train a net on a data set.

    When a process fails, the others raise RuntimeError instead of waiting for it.
    """
    meet()
    net.processes = processes = Processes(net, dataset)
    try:
        yield
        if net.interrupt is None:  # or the others are elsewhere
            processes.end(net)
    finally:
        net.processes = None
        processes.exchange.close()


class Processes:
    """The processes that train a net together, as one of them sees them.

    Each has the same weights, computes the gradients of its share of a batch, and adds up all
    gradients with the others. A model of pairs is divided further where possible: each process has
    the vectors of its own users only, its share of a batch are their examples, and the gradients
    of these vectors stay with it.

    Parameters
    ----------
    net : Net
        The net, the same in each process.
    dataset : Dataset
        The data to train on, the same in each process.
    """

    def __init__(self, net, dataset):
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.n_examples = 0  # of the latest batch, in all processes
        self._generators = {}  # of what this process samples for its share
        weights = dict(net.module_.named_parameters())
        self._bounds = None  # of the users of each process
        if _can_divide_users(net, dataset):
            self._bounds = self._user_bounds(dataset.X.indptr)
            del weights["user_vectors"]
        n_floats = sum(weight.numel() for weight in weights.values()) + 3
        self.exchange = Exchange(n_floats, next(iter(weights.values())).device)
        if self._bounds is not None:
            own = slice(*self._own_users)
            self._set_users(net, net.module_.user_vectors.detach()[own].clone())

    def __reduce__(self):  # a copy of the net, or one in a file, is trained by one process
        return type(None), ()

    @property
    def _own_users(self):
        return self._bounds[self.rank : self.rank + 2]

    def _user_bounds(self, indptr):
        """Return the first user of each process, and the end; all have about as many cells."""
        bounds = np.searchsorted(indptr, np.linspace(0, indptr[-1], self.size + 1))
        bounds[[0, -1]] = 0, len(indptr) - 1
        return bounds.tolist()

    def _set_users(self, net, vectors):
        net.module_.user_vectors = torch.nn.Parameter(vectors)
        net.initialize_optimizer()  # it refers to the former vectors

    def shares(self, batches):
        """Return an iterator over this process's shares of batches."""
        batches.process, batches.n_processes = self.rank, self.size
        if not isinstance(batches, ChunkBatches):
            return batches
        if self._bounds is None:
            return PairShares(batches)
        if isinstance(batches, PairBatches):
            batches.cells = batches.dataset.X.indptr[self._own_users]
        return PairShares(batches, *self._own_users)

    def backward(self, net, batch):
        """Set the gradient of the loss of a batch, of which this is a share; return the loss.

        The loss of a share is a mean over it, so that of the batch is the mean of all, weighted by
        their sizes. A penalty, which is the same in each process, counts once.
        """
        module = net.module_
        weights = [weight for weight in module.parameters() if weight.requires_grad]
        totals = torch.zeros(3, device=weights[0].device)
        if len(batch[0]):  # a small batch has fewer examples than there are processes
            with own_stream(self.rank, self._generators):
                size = module.loss_size(*batch) if hasattr(module, "loss_size") else len(batch[0])
                loss = net.backward(batch, size)
            totals[0], totals[1], totals[2] = loss, size, len(batch[0])
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        own = None if self._bounds is None else module.user_vectors
        shared = [weight.grad for weight in weights if weight is not own]
        self.exchange.add_up([*shared, totals])
        for weight in weights:
            weight.grad.div_(totals[1])
        self.n_examples = int(totals[2])
        return totals[0] / totals[1]

    def mean(self, value, n):
        """Return the mean of the values of all shares of a batch, weighted by their sizes."""
        totals = torch.stack([value * n, value.new_tensor(n)])
        self.exchange.add_up([totals])
        self.n_examples = int(totals[1])
        return totals[0] / totals[1]

    def all(self, flag):
        """Return whether something is true in every process."""
        return self.exchange.count(flag) == self.size

    def any(self, flag):
        """Return whether something is true in some process."""
        return self.exchange.count(flag) > 0

    def agree(self, goes_on):
        """Raise RuntimeError unless all processes begin an epoch, or all end training."""
        if self.exchange.count(goes_on) not in (0, self.size):
            raise RuntimeError(
                "The processes end training in different epochs: callbacks must decide the same "
                "in each."
            )

    def gathered(self, state):
        """Return a state that holds those of all processes; only the first one has and saves it."""
        return {"processes": self.exchange.gather(state)}

    def scattered(self, state):
        """Return this process's part of what the first process has saved; None if it has none."""
        return self.exchange.scatter([None] * self.size if state is None else state["processes"])

    def generator_states(self):
        """Return the states of the generators of this process's shares, by device."""
        with own_stream(self.rank, self._generators):
            return generator_states()

    def set_generator_states(self, states):
        """Set the generators to the states that `generator_states` returned."""
        with own_stream(self.rank, self._generators):
            set_generator_states(states)

    def end(self, net):
        """Collect the vectors of all users; raise RuntimeError unless all have ended training."""
        self.agree(goes_on=False)
        if self._bounds is None:
            return
        own = net.module_.user_vectors.detach()
        vectors = own.new_empty(self._bounds[-1], own.shape[1])
        vectors[slice(*self._own_users)] = own
        for rank, users in enumerate(map(slice, self._bounds, self._bounds[1:])):
            self.exchange.broadcast(vectors[users], rank)
        self._set_users(net, vectors)


def _can_divide_users(net, dataset):
    """Return whether each process can have the vectors of its own users only."""
    reads_gradients = any(
        type(callback).on_grad_computed is not Callback.on_grad_computed
        for _, callback in net.callbacks_
    )  # such as one that clips their norm
    return (
        isinstance(dataset, PairDataset) and net.optimizer in _ELEMENTWISE and not reads_gradients
    )


class PairShares:
    """Iterate over a process's shares of batches of pairs.

    Parameters
    ----------
    batches : ChunkBatches
        The whole batches; the first tensor of each are users.
    first, last : int, default=None
        The process's users, who are counted from the first one; None: a share has any users.
    """

    def __init__(self, batches, first=None, last=None):
        self.batches = batches
        self.first = first
        self.last = last

    def __len__(self):
        return len(self.batches)

    def __iter__(self):
        for batch in self.batches:
            users = batch[0]
            if self.first is None:
                own = self.batches.share_of(len(users))
                yield tuple(values[own] for values in batch)
                continue
            own = ((users >= self.first) & (users < self.last)).nonzero().squeeze(1)
            users, *others = (values.index_select(0, own) for values in batch)
            yield users - self.first, *others
