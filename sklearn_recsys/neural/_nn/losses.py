"""Losses of several models, and what is measured on held-out users."""

from __future__ import annotations

import torch

from sklearn_recsys.neural._data.random import generator


class _MultinomialLoss(torch.autograd.Function):
    """One pass for the value, one for the gradient, no second dense matrix in between."""

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
        The cells; a value counts as often as it says.
    logits : Tensor of shape (n_rows, n_items)
        The model's outputs.

    Returns
    -------
    loss : Tensor
        A scalar, differentiable in the logits.
    """
    return _MultinomialLoss.apply(targets, logits)


def draw_codes(means, log_variances):
    """Return a draw of Gaussian codes, differentiable in both."""
    noise = torch.empty_like(means).normal_(generator=generator(means.device))
    return means + noise * (log_variances / 2).exp()


def divergence_from_normal(means, log_variances):
    """Return the Kullback-Leibler divergence of Gaussian codes from N(0, 1), summed."""
    return (means.square() + log_variances.exp() - log_variances - 1).sum() / 2


def ndcg(scores, known, held_out, k=100):
    """Return the mean NDCG at k of rows of scores, except for the known items.

    Parameters
    ----------
    scores : Tensor of shape (n_rows, n_items)
        Greater is better; overwritten.
    known, held_out : SparseRows of shape (n_rows, n_items)
        What was read, and what is to be found; every row holds something out.
    k : int, default=100
        Length of the list; the ideal gain is truncated there, too.

    Returns
    -------
    ndcg : Tensor
        A scalar.
    """
    k = min(k, scores.shape[1])
    scores[known.rows, known.indices] = -torch.inf
    wanted = torch.zeros_like(scores)
    wanted[held_out.rows, held_out.indices] = 1
    hits = wanted.gather(1, scores.topk(k).indices)  # (n_rows, k)
    discounts = torch.arange(2, k + 2, device=scores.device).log2().reciprocal()
    ideal = discounts.cumsum(0)[held_out.indptr.diff().clamp(max=k) - 1]
    return (hits @ discounts / ideal).mean()
