"""ImplicitMatrixFactorization: dot products that rank, by the logistic loss, BPR or WARP.

Johnson, "Logistic Matrix Factorization for Implicit Feedback Data", NIPS 2014 Workshop; Rendle,
Freudenthaler, Gantner and Schmidt-Thieme, "BPR: Bayesian Personalized Ranking from Implicit
Feedback", UAI 2009; Weston, Bengio and Usunier, "WSABIE: Scaling Up to Large Vocabulary Image
Annotation", IJCAI 2011; Rendle, Krichene, Zhang and Anderson, "Neural Collaborative Filtering vs.
Matrix Factorization Revisited", RecSys 2020.
"""

from __future__ import annotations

from dataclasses import KW_ONLY
from numbers import Integral, Real

import numpy as np
import torch
from torch.nn.functional import softplus

from sklearn_recsys.neural._base.biased_factors import BiasedFactorsMixin
from sklearn_recsys.neural._base.examples import SampledNegatives, WholeRows
from sklearn_recsys.neural._base.parameters import parameters
from sklearn_recsys.neural._base.transductive import TransductiveRecommender
from sklearn_recsys.neural._nn.pair import DotProductModule
from sklearn_recsys.utils._sklearn import Interval, StrOptions


class ImplicitMatrixFactorizationModule(DotProductModule):
    """The score b_u + b_i + p_u · q_i, with a loss over examples or over whole rows.

    Parameters
    ----------
    n_users, n_items : int
        Rows and columns of the training matrix.
    n_factors : int
        Length of p and q.
    objective : {"logistic", "bpr", "warp"}
        The loss.
    l2 : float
        The penalty.
    dropout : float
        Share of a user's factors dropped while training.
    n_negatives : int
        The weight of the items without an interaction, in the loss over whole rows.
    """

    def __init__(self, n_users, n_items, n_factors, objective, l2, dropout, n_negatives):
        super().__init__(n_users, n_items, n_factors, objective, l2, dropout)
        self.n_negatives = n_negatives

    def loss(self, *batch):
        """Return the mean loss of examples, or of all items for each of some rows."""
        if len(batch) == 3:
            return super().loss(*batch)
        rows, _ = batch
        losses, penalties, weights = self.row_losses(self.user_vectors[rows.training_rows], rows)
        return (losses + penalties).sum() / weights.sum()

    def loss_size(self, *batch):
        """Return what the loss is a mean over: the number of examples, or the sum of weights."""
        if len(batch) == 3:
            return len(batch[0])
        lengths, weights = self._row_weights(batch[0])
        return (lengths + weights * (batch[0].shape[1] - lengths)).sum()

    def losses(self, u, items, targets):
        """Return the loss and the penalty of each example; of WARP the targets are the trials."""
        if self.objective != "warp":
            return super().losses(u, items, targets)
        v = self.item_vectors.index_select(0, items)
        scores = self.score(u, v)
        n_trials, violators = self._first_violators(u.detach(), scores.detach(), targets)
        w = self.item_vectors.index_select(0, violators)
        greatest = torch.full_like(n_trials, max(len(self.item_vectors) - 1, 1))  # of the ranks
        ranks = greatest // n_trials.clamp(min=1)
        weights = _harmonic(ranks, scores.dtype) / _harmonic(greatest, scores.dtype)
        is_violated = n_trials > 0
        losses = torch.where(is_violated, weights * (1 - scores + self.score(u, w)).relu(), 0)
        squares = (is_violated[:, None] * w).square().sum(dim=1)
        squares = squares + u.square().sum(dim=1) + v.square().sum(dim=1)
        return losses, self.l2 / 2 * squares

    @torch.no_grad()
    def _first_violators(self, u, scores, trials):
        """Return the number of trials up to the first violator, 0 if there is none, and it."""
        n_trials = torch.zeros_like(trials[:, 0])
        violators = trials[:, 0].clone()
        pending = torch.arange(len(trials), device=trials.device)
        for trial, items in enumerate(trials.T, start=1):  # most examples need few
            items = items[pending]
            violates = self.score(u[pending], self.item_vectors[items]) > scores[pending] - 1
            found = pending[violates]
            n_trials[found], violators[found] = trial, items[violates]
            pending = pending[~violates]
            if not len(pending):
                break
        return n_trials, violators

    def row_losses(self, u, rows):
        """Return each row's logistic loss over all items, its penalty and its sum of weights.

        An item with an interaction has weight 1; the others of a row have together the weight of
        `n_negatives` sampled ones for each interaction.
        """
        lengths, weights = self._row_weights(rows)
        scores, owners = self.score_all(u), rows.rows
        positives = scores[owners, rows.indices]
        squares = self.item_vectors.square().sum(dim=1)

        def weighted_sums(all_items, positives, as_negatives):
            sums = weights * all_items
            changes = positives - weights[owners] * as_negatives
            return sums.index_add(0, owners, changes.to(sums.dtype))

        losses = weighted_sums(
            softplus(scores).sum(dim=1), softplus(-positives), softplus(positives)
        )
        touched = squares.index_select(0, rows.indices)  # index_select has a deterministic gradient
        item_squares = weighted_sums(squares.sum(), touched, touched)
        totals = lengths + weights * (rows.shape[1] - lengths)
        return losses, self.l2 / 2 * (totals * u.square().sum(dim=1) + item_squares), totals

    def _row_weights(self, rows):
        """Return each row's number of interactions, and the weight of each of its other items."""
        lengths = rows.indptr.diff()
        free = rows.shape[1] - lengths
        return lengths, self.n_negatives * lengths / free.clamp(min=1) * (free > 0)


def _harmonic(n, dtype):
    """Return 1 + 1/2 + … + 1/n."""
    return torch.special.digamma((n + 1).to(dtype)) + np.euler_gamma


@parameters
class ImplicitMatrixFactorization(BiasedFactorsMixin, TransductiveRecommender):
    r"""Matrix factorization for implicit feedback: logistic loss, BPR or WARP.

    Items are ranked by :math:`s_{ui} = b_u + b_i + p_u \cdot q_i`. Every interaction (``x > 0``) is
    a positive. The losses compare it with negatives, items that the user has no interaction with:

    ``"logistic"``
        Logistic matrix factorization [1]_: :math:`\sigma(s_{ui})` is the probability of an
        interaction, and :math:`-\ln \sigma(s_{ui})` for a positive and
        :math:`-\ln(1 - \sigma(s_{uj}))` for a negative are minimized, as in [2]_.
    ``"bpr"``
        Bayesian personalized ranking [3]_: :math:`-\ln \sigma(s_{ui} - s_{uj})` for an interaction
        i and a sampled negative j is minimized (BPR-Opt), which ranks i above j.
    ``"warp"``
        Weighted approximate-rank pairwise loss [5]_: negatives are sampled until one violates the
        margin, :math:`s_{uj} > s_{ui} - 1`. The fewer were needed, the lower the interaction ranks,
        and the greater is the weight of the violation; see the Notes.

    Parameters
    ----------
    n_factors : int, default=128
        Length of the vectors p and q.
    loss : {"logistic", "bpr", "warp"}, default="logistic"
        The loss.
    negatives : {"all", "sampled"}, default="all"
        With ``"logistic"``: all items that a user has no interaction with, with the total weight
        of `n_negatives` sampled ones for each interaction; or sampled ones, again in each epoch.
        The first is the expectation of the second, at the cost of users × items × factors,
        which is quick for catalogs of some ten thousand items. ``"bpr"`` and ``"warp"`` always
        sample.
    n_negatives : int, default=4
        Negatives for each interaction; ``"warp"`` has `max_trials` instead.
    max_trials : int, default=10
        With ``"warp"``: the most negatives that are sampled for an interaction to find one that
        violates the margin.
    dropout : float, default=0.0
        Share of a user's factors that are dropped from an example while training.
    schedule : {"constant", "one_cycle"}, default="constant"
        The learning rate: `lr`, or rising to it and falling to zero over all epochs.
    lr : float, default=0.01
        Learning rate.
    max_epochs : int, default=100
        Maximum number of passes over the data.
    batch_size : int or "auto", default="auto"
        Examples per update; users, where all items are negatives. "auto": a hundredth of the
        interactions, from 32 to 4096 examples; a twelfth of the users, at most 512.
    optimizer : str or class, default="adam"
        A name or class of :mod:`torch.optim`.
    l2 : float, default=0.01
        Penalty on the vectors that an example touches: l2/2 · (‖u‖² + ‖v‖²), added to its loss, so
        that frequent and rare users and items are shrunk equally.
    early_stopping : bool, default=True
        Whether to stop when the NDCG of held-out interactions stops rising, and keep the best
        weights.
    validation_fraction : float, default=0.05
        The share of the interactions held out for that, at most one of a user and 10,000, which
        NDCG@10 ranks among 99 sampled items.
    n_iter_no_change : int, default=5
        Epochs without an improvement before training stops.
    callbacks : list, default=None
        Callbacks of skorch.
    checkpoint : str or path-like, default=None
        Folder to save the progress of `fit` in: the same call goes on from there if the process was
        killed.
    device : str, default="cpu"
        ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"`` or ``"auto"``, which takes a GPU if there is
        one.
    random_state : int, RandomState instance or None, default=None
        Seed of the held-out data, the weights, the negatives and the batches.
    verbose : int, default=0
        Whether to print every epoch.
    net_params : dict, default=None
        Any other parameter of :class:`skorch.NeuralNet`, as in ``{"optimizer__eps": 1e-6}``.

    Attributes
    ----------
    user_factors_ : ndarray of float32 of shape (n_users, n_factors)
        The vectors p of the training users.
    item_factors_ : ndarray of float32 of shape (n_items, n_factors)
        The vectors q.
    user_biases_, item_biases_ : ndarray of float32 of shape (n_users,), (n_items,)
        The biases.
    net_ : skorch.NeuralNet
        The trained net.
    history_ : DataFrame
        The training curve.
    interactions_ : csr_array of shape (n_users, n_items)
        The training matrix.
    n_features_in_ : int
        Number of items.
    feature_names_in_ : ndarray of shape (n_items,)
        Names of the items, if `X` was a DataFrame with string columns.
    item_labels_ : ndarray of shape (n_items,)
        Labels of the items, of any type, if `X` was a DataFrame whose columns had some.

    See Also
    --------
    ALS : Squared loss over all items [4]_, by alternating least squares; no learning rate.
    MatrixFactorization : The same scores, trained to predict ratings.
    NCF : A multilayer perceptron in place of the dot product, or in addition to it.

    Notes
    -----
    With N the number of negatives that were sampled for an interaction until the first violator j,
    and n the number of items, WARP minimizes

    .. math:: \frac{L(\lfloor (n - 1) / N \rfloor)}{L(n - 1)} (1 - s_{ui} + s_{uj}), \qquad
              L(r) = \sum_{k=1}^{r} \frac{1}{k},

    in which the argument of the first L estimates the rank of i: if r of the n − 1 other items
    violate the margin, (n − 1) / r trials are needed on average ([5]_, eq. 3 and section 3). L puts
    the weight on the top of the list. The greatest weight is 1 here, so that `l2` does not depend
    on the number of items; the paper does not divide by it. An interaction for which none of
    `max_trials` items violates the margin has no loss. The violators of a batch are all found with
    the vectors before its update.

    Johnson weights an interaction by its count. Here all interactions have weight 1, and the
    negatives of a user together `n_negatives` times the weight of the interactions. Training is by
    minibatches and Adam, rather than alternating between users and items.

    A row that equals a training row has the user's trained vector. Any other row is folded in by 50
    steps of Adam on the user's vector alone, in float64, with negatives determined by the row's
    content.

    References
    ----------
    .. [1] Christopher C. Johnson. "Logistic Matrix Factorization for Implicit Feedback Data". NIPS
       2014 Workshop on Distributed Machine Learning and Matrix Computations.
    .. [2] Steffen Rendle, Walid Krichene, Li Zhang, John Anderson. "Neural Collaborative Filtering
       vs. Matrix Factorization Revisited". RecSys 2020, section 4.
    .. [3] Steffen Rendle, Christoph Freudenthaler, Zeno Gantner, Lars Schmidt-Thieme. "BPR:
       Bayesian Personalized Ranking from Implicit Feedback". UAI 2009, sections 4.1 and 4.3.1.
    .. [4] Yifan Hu, Yehuda Koren, Chris Volinsky. "Collaborative Filtering for Implicit Feedback
       Datasets". ICDM 2008.
    .. [5] Jason Weston, Samy Bengio, Nicolas Usunier. "WSABIE: Scaling Up to Large Vocabulary
       Image Annotation". IJCAI 2011.

    Examples
    --------
    A new user who likes items of one group gets the others of this group:

    >>> import numpy as np
    >>> from sklearn_recsys import ImplicitMatrixFactorization
    >>> rng = np.random.default_rng(0)
    >>> tastes = np.kron(np.eye(2), np.ones((40, 10)))  # two groups of users, two of items
    >>> X = tastes * (rng.random((80, 20)) < 0.6)
    >>> model = ImplicitMatrixFactorization(n_factors=8, max_epochs=20, random_state=0).fit(X)
    >>> new_user = [[1, 1, 1] + [0] * 17]
    >>> sorted(model.recommend(new_user, n=7)[0].tolist())
    [3, 4, 5, 6, 7, 8, 9]
    """

    n_factors: int = 128
    _: KW_ONLY
    loss: str = "logistic"
    negatives: str = "all"
    n_negatives: int = 4
    max_trials: int = 10
    dropout: float = 0.0
    lr: float = 0.01
    l2: float = 0.01
    validation_fraction: float = 0.05

    _can_distribute = True

    _parameter_constraints = {
        **TransductiveRecommender._parameter_constraints,
        "n_factors": [Interval(Integral, 1, None, closed="left")],
        "loss": [StrOptions({"logistic", "bpr", "warp"})],
        "negatives": [StrOptions({"all", "sampled"})],
        "n_negatives": [Interval(Integral, 1, None, closed="left")],
        "max_trials": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
    }

    @property
    def _examples(self):
        loss = self._fitted_param("loss")
        if loss == "logistic" and self._fitted_param("negatives") == "all":
            return WholeRows()
        if loss == "warp":
            return SampledNegatives(self._fitted_param("max_trials"), listwise=True)
        return SampledNegatives(self._fitted_param("n_negatives"), pairwise=loss == "bpr")

    def _make_module(self, X):
        return ImplicitMatrixFactorizationModule(
            *X.shape,
            n_factors=self.n_factors,
            objective=self.loss,
            l2=self.l2,
            dropout=self.dropout,
            n_negatives=self.n_negatives,
        )
