"""Losses, and metrics on held-out interactions."""

from __future__ import annotations

from functools import partial
from math import log

import torch
from torch.nn.functional import embedding, softplus

from sklearn_recsys.neural._data.random import generator
from sklearn_recsys.neural._nn.layers import unrounded

_LOGITS = 2**20  # per block of steps: they fit in the cache, and bound the memory


class _MultinomialLoss(torch.autograd.Function):
    """One pass for the value, one for the gradient, without a dense intermediate result."""

    @staticmethod
    def forward(ctx, targets, logits):
        rows = targets.rows
        norms = logits.logsumexp(dim=1)  # (n_rows,)
        log_likelihoods = logits[rows, targets.indices] - norms[rows]
        ctx.targets, ctx.rows = targets, rows
        ctx.save_for_backward(logits, norms)
        return -(targets.values * log_likelihoods).sum() / len(targets)

    @staticmethod
    def backward(ctx, grad):
        logits, norms = ctx.saved_tensors
        targets, rows = ctx.targets, ctx.rows
        values = targets.values * (grad / len(targets))
        totals = values.new_zeros(len(targets)).index_add_(0, rows, values)
        gradient = (logits - norms[:, None]).exp_().mul_(totals[:, None])
        gradient[rows, targets.indices] -= values
        return None, gradient


def multinomial_loss(targets, logits):
    """Return the negative log-likelihood of the target cells under a softmax, per row.

    Parameters
    ----------
    targets : SparseRows of shape (n_rows, n_items)
        The target cells; a value is the number of times that its cell counts.
    logits : Tensor of shape (n_rows, n_items)
        The model's outputs.

    Returns
    -------
    loss : Tensor
        A scalar, differentiable in the logits.
    """
    return _MultinomialLoss.apply(targets, unrounded(logits))


def sample_codes(means, log_variances):
    """Sample Gaussian codes, differentiable in means and log-variances."""
    noise = torch.empty_like(means).normal_(generator=generator(means.device))
    return means + noise * (log_variances / 2).exp()


def divergence_from_normal(means, log_variances):
    """Return the Kullback-Leibler divergence of Gaussian codes from N(0, 1), summed."""
    return (means.square() + log_variances.exp() - log_variances - 1).sum() / 2


def ndcg(scores, inputs, held_out, k=100):
    """Return the mean NDCG at k of rows of scores, excluding the items of the inputs.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_items)
        Greater is better; overwritten.
    inputs, held_out : SparseRows of shape (n_rows, n_items)
        The interactions that the model reads, and those that it should rank high; each row has
        some of the latter.
    k : int, default=100
        Length of the list; the ideal gain is truncated there, too.

    Returns
    -------
    ndcg : Tensor
        A scalar.
    """
    k = min(k, scores.shape[1])
    scores[inputs.rows, inputs.indices] = -torch.inf
    relevant = torch.zeros_like(scores)
    relevant[held_out.rows, held_out.indices] = 1
    hits = relevant.gather(1, scores.topk(k).indices)  # (n_rows, k)
    discounts = torch.arange(2, k + 2, device=scores.device).log2().reciprocal()
    ideal = discounts.cumsum(0)[held_out.indptr.diff().clamp(max=k) - 1]
    return (hits @ discounts / ideal).mean()


class _NextItemsLoss(torch.autograd.Function):
    """The last layer, a softmax and its likelihood, in blocks of steps.

    The logits of a whole batch, steps × items, would be too large. The gradients of each block are
    computed in the forward pass, from its probabilities.
    """

    @staticmethod
    def forward(ctx, targets, codes, weight, bias, n_logits):
        gradients = [torch.zeros_like(tensor) for tensor in (codes, weight, bias)]
        loss = codes.new_zeros(())
        size = max(1, n_logits // len(weight))
        for start in range(0, len(codes), size):
            steps = slice(start, start + size)
            loss += _add_gradients(targets[steps], codes[steps], weight, bias, steps, gradients)
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    def backward(ctx, grad):
        return None, *(grad * gradient for gradient in ctx.saved_tensors), None


def _add_gradients(targets, codes, weight, bias, steps, gradients):
    """Return the loss of a block of steps, and add its gradients."""
    valid = (targets >= 0).float()  # (n_steps, k)
    targets = targets.clamp(min=0)
    logits = unrounded(torch.addmm(bias, codes, weight.T))  # (n_steps, n_items)
    largest = logits.amax(dim=1)
    target_logits = logits.gather(1, targets)
    probabilities = logits.softmax(dim=1)
    norms = largest - probabilities.amax(dim=1).log()  # log-sum-exp
    counts = valid.sum(dim=1)
    loss = (counts * norms).sum() - (valid * target_logits).sum()
    gradient = probabilities.mul_(counts[:, None]).scatter_add_(1, targets, -valid)
    gradients[0][steps] = gradient @ weight
    gradients[1] += gradient.T @ codes
    gradients[2] += gradient.sum(dim=0)
    return loss


def next_items_loss(targets, codes, layer, n_logits=_LOGITS):
    """Return the negative log-likelihood of items under a softmax, summed.

    Parameters
    ----------
    targets : Tensor of int64 of shape (n_steps, k)
        The items that follow each step; −1 where there are fewer than k.
    codes : Tensor of shape (n_steps, n_factors)
        The inputs of the last layer.
    layer : nn.Linear
        The last layer, from codes to logits of the items.
    n_logits : int, default=2**20
        Logits that are computed at once, at least those of one step.

    Returns
    -------
    loss : Tensor
        A scalar, differentiable in the codes and the layer.
    """
    codes = unrounded(codes)
    return _NextItemsLoss.apply(targets, codes, layer.weight, layer.bias, n_logits)


class _SampledItemsLoss(torch.autograd.Function):
    """The loss of one positive and shared negatives for each step, in blocks of steps.

    The logits of a whole batch, steps × negatives, would be too large for the cache. The gradients
    of each block are computed in the forward pass.
    """

    @staticmethod
    def forward(ctx, codes, positives, negatives, own, block_loss, n_logits):
        gradients = [torch.zeros_like(tensor) for tensor in (codes, positives, negatives)]
        loss = codes.new_zeros(())
        size = max(1, n_logits // len(negatives))
        for start in range(0, len(codes), size):
            steps = slice(start, start + size)
            code, positive = codes[steps], positives[steps]
            logits = unrounded(code @ negatives.T)  # (n_steps, n_negatives)
            rows = (own[steps] >= 0).nonzero()[:, 0]
            logits[rows, own[steps][rows]] = -torch.inf  # the positive itself is no negative
            value, pull, push = block_loss(torch.linalg.vecdot(code, positive), logits)
            loss += value
            gradients[0][steps] = pull[:, None] * positive + push @ negatives
            torch.mul(pull[:, None], code, out=gradients[1][steps])
            gradients[2] += push.T @ code
        ctx.save_for_backward(*gradients)
        return loss

    @staticmethod
    def backward(ctx, grad):
        return *(grad * gradient for gradient in ctx.saved_tensors), None, None, None


def _sampled_softmax(positive, negatives):
    """Return the loss of a softmax over each positive and its negatives, and the gradients.

    Parameters
    ----------
    positive : Tensor of shape (n_steps,)
        Logits of the positives.
    negatives : Tensor of shape (n_steps, n_negatives)
        Logits of the negatives; overwritten.

    Returns
    -------
    loss : Tensor
        A scalar, the sum over the steps.
    positive_gradient, negative_gradient : Tensor
        In the logits.
    """
    largest = torch.maximum(positive, negatives.amax(dim=1))
    shares = negatives.sub_(largest[:, None]).exp_()
    others = shares.sum(dim=1)
    own = (positive - largest).exp()
    loss = ((own + others).log() + largest - positive).sum()
    return loss, -others / (own + others), shares.div_((own + others)[:, None])


def _logistic(positive, negatives, weight):
    """Return the logistic loss, with a weight of the positives; see `_sampled_softmax`.

    The logits are shifted to the odds of an item before training. Otherwise the first updates lower
    all of them at once, along one direction that all states and items then share, and the model
    learns nothing else. The loss is a sum, as the gradients of a mean are too small for Adam's eps.
    """
    shift = log(weight / negatives.shape[1])
    positive, negatives = positive + shift, negatives.add_(shift)
    loss = weight * softplus(-positive).sum() + softplus(negatives).sum()
    return loss, -weight * torch.sigmoid(-positive), negatives.sigmoid_()


def sampled_items_loss(
    codes, targets, weight, negatives, loss="softmax", calibration=0.0, n_logits=_LOGITS
):
    """Return the loss of the items that follow each step, against sampled items, summed.

    Parameters
    ----------
    codes : Tensor of shape (n_steps, n_factors)
        The states.
    targets : Tensor of int64 of shape (n_steps,)
        The item that follows each step.
    weight : Tensor of shape (n_items, n_factors)
        The vectors of the items; a logit is a dot product.
    negatives : Tensor of int64 of shape (n_negatives,)
        Distinct items, which all steps share; a step whose target is among them skips it.
    loss : {"softmax", "gbce"}, default="softmax"
        A softmax over the target and the negatives, or the generalized binary cross-entropy.
    calibration : float, default=0.0
        How much the generalized binary cross-entropy corrects the sampling.
    n_logits : int, default=2**20
        Logits that are computed at once, at least those of one step.

    Returns
    -------
    loss : Tensor
        A scalar, differentiable in the codes and the weight.
    """
    block_loss = _sampled_softmax
    if loss == "gbce":  # Petrov and Macdonald (2023), eq. 14 and 20
        share = len(negatives) / len(weight)
        block_loss = partial(_logistic, weight=1 - calibration * (1 - share))
    slots = targets.new_full((len(weight),), -1)
    slots[negatives] = torch.arange(len(negatives), device=slots.device)
    vectors = embedding(torch.cat([targets, negatives]), weight)
    positives, vectors = vectors[: len(targets)], vectors[len(targets) :]
    codes = unrounded(codes)
    return _SampledItemsLoss.apply(codes, positives, vectors, slots[targets], block_loss, n_logits)


def candidate_ndcg(scores, candidates, k=10):
    """Return the mean NDCG at k of lists of candidates, of which the first is the held-out item.

    Parameters
    ----------
    scores : Tensor of shape (n_users, n_candidates)
        Greater is better; candidates that tie with the held-out item rank before it.
    candidates : Tensor of int64 of shape (n_users, n_candidates)
        Item indices, −1 in empty slots.
    k : int, default=10
        Length of the list.

    Returns
    -------
    ndcg : Tensor
        A scalar.
    """
    before = ~(scores[:, 1:] < scores[:, :1])  # ties and NaN are misses
    ranks = (before & (candidates[:, 1:] >= 0)).sum(dim=1)
    return torch.where(ranks < k, 1 / (ranks + 2.0).log2(), 0.0).mean()
