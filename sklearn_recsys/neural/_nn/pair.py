"""Modules that score pairs of a user vector and an item vector."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import softplus

from sklearn_recsys.neural._data.random import dropout
from sklearn_recsys.neural._nn.layers import dense_layers, unrounded
from sklearn_recsys.neural._nn.losses import candidate_ndcg


class PairModule(nn.Module):
    """Base of the modules that score pairs of embeddings, as `TransductiveRecommender` trains them.

    A module implements ``score(u, v)``, which returns the scores of pairs of vectors of shapes
    (n_pairs, user_size) and (n_pairs, item_size), and ``score_all(u)``, which returns the scores of
    (n_rows, user_size) vectors with all items. All parameters of a user are in their vector,
    so only this vector is fitted for a new user.

    Parameters
    ----------
    user_vectors, item_vectors : Tensor of shape (n_users, user_size), (n_items, item_size)
        The initial vectors.
    objective : {"mse", "logistic", "bpr"}
        The loss of an example.
    l2 : float
        The penalty l2/2 · (‖u‖² + ‖v‖²) is added to the loss of each example.
    unit : float, default=1.0
        The scale of the ratings: errors are multiplied by it.

    See Also
    --------
    TransductiveRecommender : The estimator of such a module.

    Examples
    --------
    >>> import torch
    >>> from sklearn_recsys.neural import PairModule
    >>> class DotModule(PairModule):
    ...     def score(self, u, v):
    ...         return (u * v).sum(dim=1)
    ...
    ...     def score_all(self, u):
    ...         return u @ self.item_vectors.T
    >>> module = DotModule(torch.eye(2), torch.eye(2), "logistic", l2=0.0)
    >>> module.score_all(module.user_vectors).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """

    def __init__(self, user_vectors, item_vectors, objective, l2, unit=1.0):
        super().__init__()
        self.user_vectors = nn.Parameter(user_vectors)
        self.item_vectors = nn.Parameter(item_vectors)
        self.objective = objective
        self.floats_per_pair = 1  # numbers per pair that `score_all` has in memory
        self.l2 = l2
        self.unit = unit

    def loss(self, users, items, targets):
        """Return the mean loss of examples; in evaluation mode without the penalty.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_examples,)
            The rows of their users.
        items : Tensor of int64 of shape (n_examples,)
            Their items.
        targets : Tensor of shape (n_examples,)
            The targets: ratings, or labels 1 and 0; with ``"bpr"`` the sampled items.

        Returns
        -------
        loss : Tensor
            A scalar.
        """
        # index_select: the backward pass of fancy indexing is non-deterministic
        u = self.user_vectors.index_select(0, users)
        losses, penalties = self.losses(u, items, targets)
        return (losses + penalties if self.training else losses).mean()

    def losses(self, u, items, targets):
        """Return the loss and the penalty of each example.

        Parameters
        ----------
        u : Tensor of shape (n_examples, user_size)
            The vectors of their users.
        items : Tensor of int64 of shape (n_examples,)
            Their items.
        targets : Tensor of shape (n_examples,)
            The targets: ratings, or labels 1 and 0; with ``"bpr"`` the sampled items.

        Returns
        -------
        losses, penalties : Tensor of shape (n_examples,)
            Training minimizes their sum.
        """
        v = self.item_vectors.index_select(0, items)
        scores, norms = unrounded(self.score(u, v)), squares(u) + squares(v)
        if self.objective == "bpr":  # the targets are the negatives
            w = self.item_vectors.index_select(0, targets)
            losses, norms = softplus(unrounded(self.score(u, w)) - scores), norms + squares(w)
        elif self.objective == "logistic":
            losses = logistic_losses(scores, targets)
        else:
            losses = (self.unit * (scores - targets)).square()
        return losses, self.l2 / 2 * norms

    def validate(self, users, candidates):
        """Return NDCG@10 of the first candidate among the others.

        Parameters
        ----------
        users : Tensor of int64 of shape (n_users,)
            Rows of the users.
        candidates : Tensor of int64 of shape (n_users, n_candidates)
            Items to be ranked, the held-out one first; −1 in empty slots.

        Returns
        -------
        ndcg : Tensor
            The mean over the users; ties are misses.
        """
        u = self.user_vectors[users].repeat_interleave(candidates.shape[1], dim=0)
        v = self.item_vectors[candidates.flatten().clamp(min=0)]
        scores = self.score(u, v).view(candidates.shape)
        return candidate_ndcg(scores, candidates)


class DotProductModule(PairModule):
    """The score b_u + b_i + p_u · q_i; a vector holds the factors, and the bias at its end.

    Parameters
    ----------
    n_users, n_items : int
        Rows and columns of the training matrix.
    n_factors : int
        Length of p and q.
    objective : {"mse", "logistic", "bpr"}
        The loss of an example.
    l2 : float
        The penalty.
    dropout : float
        Share of a user's factors dropped while training.
    unit : float, default=1.0
        The scale of the ratings.
    """

    def __init__(self, n_users, n_items, n_factors, objective, l2, dropout, unit=1.0):
        vectors = [normal_vectors(n, n_factors + 1) for n in (n_users, n_items)]
        for vector in vectors:
            vector[:, -1] = 0
        super().__init__(*vectors, objective, l2, unit)
        self.dropout = dropout

    def _factors(self, u):
        return dropout(u[:, :-1], self.dropout, self.training)

    def score(self, u, v):
        """Return the scores of pairs of vectors, of shape (n_pairs,)."""
        products = (self._factors(u) * v[:, :-1]).sum(dim=1)
        return products + u[:, -1] + v[:, -1]

    def score_all(self, u):
        """Return the scores of users' vectors with all items, of shape (n_rows, n_items)."""
        products = torch.addmm(
            self.item_vectors[:, -1], self._factors(u), self.item_vectors[:, :-1].T
        )
        return products + u[:, -1:]


def normal_vectors(n, size, std=0.1):
    """Return initial vectors from a normal distribution, of shape (n, size)."""
    return torch.randn(n, size) * std


def logistic_losses(scores, labels):
    """Return the logistic loss of each example; labels are 1 and 0."""
    return softplus(scores) - labels * scores


def squares(vectors):
    """Return the squared norm of each vector."""
    return vectors.square().sum(dim=1)


class PairMLP(nn.Module):
    """Hidden layers over the concatenated vectors of a user and an item.

    The first layer is a sum of a product with the user's vector and one with the item's; for all
    pairs of some users and items, each product is computed once.

    Parameters
    ----------
    size : int
        Length of either vector.
    widths : sequence of int
        Widths of the layers; if empty, the output is the concatenation.
    dropout : float
        Share of a layer's units dropped while training.
    """

    def __init__(self, size, widths, dropout):
        super().__init__()
        self.size = size
        self.dropout = dropout
        self.layers = dense_layers([2 * size, *widths])
        self.width = widths[-1] if widths else 2 * size

    def forward(self, u, v):
        """Return the last layer of pairs of vectors, of shape (n_pairs, width)."""
        if not self.layers:
            return torch.cat([u, v], dim=-1)
        return self._after_sums(self.layers[0](torch.cat([u, v], dim=-1)))

    def at_pairs(self, u, v, users, items):
        """Return the last layer of the pairs of the rows `users` of `u` and `items` of `v`.

        The products of the first layer, which must exist, are computed once for each row, not for
        each pair.
        """
        weight, bias = self.layers[0].weight, self.layers[0].bias
        user_terms = torch.addmm(bias, u, weight[:, : self.size].T)
        item_terms = v @ weight[:, self.size :].T
        return self._after_sums(
            user_terms.index_select(0, users) + item_terms.index_select(0, items)
        )

    def _after_sums(self, hidden):
        """Return the last layer, given what the first one activates."""
        hidden = dropout(hidden.relu(), self.dropout, self.training)
        for layer in self.layers[1:]:
            hidden = dropout(layer(hidden).relu(), self.dropout, self.training)
        return hidden

    def all_pairs(self, u, v):
        """Return the last layer of all pairs of users and items, of shape (n, m, width).

        In float64: in float32, rounding would depend on the other users in the call.
        """
        u, v = exact(u), exact(v)
        if not self.layers:
            return torch.cat([u[:, None].expand(-1, len(v), -1), v.expand(len(u), -1, -1)], dim=-1)
        (weight, bias), *further = [
            (exact(layer.weight), exact(layer.bias)) for layer in self.layers
        ]
        user_terms = u @ weight[:, : self.size].T + bias
        hidden = (user_terms[:, None] + v @ weight[:, self.size :].T).relu()
        for weight, bias in further:
            hidden = (hidden @ weight.T + bias).relu()
        return hidden


def exact(x):
    """Return a Tensor in float64, if its device supports it."""
    return x if x.device.type == "mps" else x.double()
