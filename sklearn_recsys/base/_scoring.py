"""Scoring of recommenders: predictions from histories against held-out interactions."""

from __future__ import annotations

import time

import numpy as np
import scipy.sparse as sp
from sklearn.utils.metadata_routing import UNUSED
from sklearn.utils.validation import check_is_fitted

from sklearn_recsys.base._histories import Histories
from sklearn_recsys.base._leaks import is_held_out_part, leaked_share
from sklearn_recsys.base._ranking import EligibleItems
from sklearn_recsys.exceptions import LeakWarning, ValuesWarning
from sklearn_recsys.metrics import _scorer
from sklearn_recsys.metrics._outcome import Outcome
from sklearn_recsys.utils._cells import cell_rows, in_cells
from sklearn_recsys.utils._content_split import hold_out_by_content
from sklearn_recsys.utils._items import check_held_out
from sklearn_recsys.utils._labels import check_item_labels, check_same_labels, check_same_rows
from sklearn_recsys.utils._warnings import warn


class ScoringMixin:
    """The part of `RecommenderMixin` that scores predictions."""

    # settings of the score, not data to be routed; candidates can be, as they may have rows
    __metadata_request__score = {"metric": UNUSED, "k": UNUSED, "exclude_seen": UNUSED}

    def score(self, X, y=None, *, metric=None, k=10, exclude_seen=True, candidates=None) -> float:
        """Score recommendations or predicted ratings against held-out interactions.

        Parameters
        ----------
        X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
            The history of each row, without its held-out interactions.
        y : {sparse matrix, sparse array, array-like}, default=None
            The held-out interactions of each row: a matrix of the shape of `X`, or a 1-D integer
            array with one held-out item per row. None: 20 % of each row with at least two
            interactions (at least one) is held out here, chosen by a hash of the row's items and of
            the order of their values; the latest ones for models that read the order. That is for
            rows which were not in `fit`, as in cross-validation.
        metric : str, default=None
            ``"ndcg"``, ``"hr"``, ``"recall"``, ``"precision"``, ``"map"`` or ``"mrr"``; with the
            held-out values as gains ``"ndcg-linear"`` or ``"ndcg-exponential"``; also with the
            length of the list, ``"ndcg@20"``. ``"neg_rmse"`` or ``"neg_mae"`` for rating models.
            None: ``"neg_rmse"`` for rating models (unless `y` is 1-D), ``"ndcg"`` for all
            others.
        k : int, default=10
            Length of the ranked list.
        exclude_seen : bool, default=True
            Whether the items of `X` are excluded from the ranking.
        candidates : array-like or sparse, default=None
            Rank only these items, together with the row's held-out ones: forms as in `recommend`.

        Returns
        -------
        score : float
            Greater is better. A mean over the rows with something held out; for ``"neg_rmse"`` and
            ``"neg_mae"`` over the held-out cells.

        Warns
        -----
        LeakWarning
            If the model was fitted on held-out cells, as far as that can be detected: see the user
            guide. Also if they are in `X`.
        ValuesWarning
            If `y` is None and `X` seems to be what was held out of the training users.
        """
        return self._score(X, y, metric, k=k, exclude_seen=exclude_seen, candidates=candidates)

    def _score(self, X, y, metric, **options):
        (score,) = self._score_metrics(X, y, [metric], **options).values()
        return score

    def _score_metrics(self, X, y, metrics, *, k=10, **options):
        """Return a dict of scores by metric name, ranking once; None is the default metric."""
        if None in metrics:
            rating = self._values == "rating" and not _is_one_each(y)
            metrics = ["neg_rmse" if rating else "ndcg"]
        parsed = [_scorer.parse_metric(metric, k) for metric in metrics]
        return self._evaluate(X, y, parsed, **options).scores(parsed)

    def _evaluate(self, X, y, parsed, *, exclude_seen=True, candidates=None, user_features=None):
        """Return the `Outcome` of predicting what the metrics need."""
        rating = any(depth is None for *_, depth in parsed)
        one_each = _is_one_each(y)
        if rating and (self._values != "rating" or one_each or candidates is not None):
            raise ValueError(
                "neg_rmse and neg_mae need a model that predicts ratings, held-out cells with "
                f"their ratings and no candidates; got {type(self).__name__}, which reads "
                f"{self._values} values, {'1-D y' if one_each else 'y as a matrix or None'} and "
                f"candidates={'None' if candidates is None else 'given'}."
            )
        depth = max((depth for *_, depth in parsed if depth is not None), default=None)
        if (
            y is None
            and self._values == "order"
            and any(name in _scorer.GRADED for _, name, _ in parsed)
        ):
            raise ValueError(
                f"The values that {type(self).__name__} reads are positions, not gains: "
                "pass held-out ratings as y, or use a metric of binary gains."
            )
        check_same_rows(X, user_features, "user_features")
        ranking = depth is not None
        X_given, held_out = self._given_and_held_out(X, y, warn_overlap=exclude_seen and ranking)
        histories = self._with_features(Histories(X_given), user_features)
        self._warn_of_leaks(X_given, held_out, given=y is not None)
        outcome = Outcome(X_given, held_out)
        start = time.perf_counter()
        if rating:
            predicted = self._scores_at(histories, cell_rows(held_out), held_out.indices)
            outcome.ratings = self._in_rating_range(predicted)
        if ranking:
            candidates = self._checked_sets(candidates, X_given.shape, "candidates", X)
            depth = min(depth, X_given.shape[1])  # longer lists would only add empty slots
            eligible = EligibleItems(exclude_seen, candidates, held_out=held_out)
            outcome.ids, _ = self._rank(histories, depth, eligible)
        outcome.seconds = time.perf_counter() - start
        if ranking and candidates is not None:
            _warn_if_all_fit(parsed, held_out, outcome.ids)
        return outcome

    def _given_and_held_out(self, X, y, *, warn_overlap):
        """Return canonical matrices of the given and the held-out interactions."""
        check_is_fitted(self)
        check_item_labels(self, y, "y")
        check_same_labels(X, y, "y")
        X = self._checked(X)
        if y is not None:
            y = check_held_out(y, X.shape)
            if not y.nnz:
                raise ValueError("y has no held-out interaction: it has no stored cell.")
        else:
            X, y = hold_out_by_content(X, latest=self._values == "order")
            if not y.nnz:
                raise ValueError(
                    "No row of X has two interactions, so none can be held out: pass the held-out "
                    "interactions as y."
                )
        overlap = in_cells(y, X).mean()
        if overlap and warn_overlap:
            warn(
                f"{overlap:.1%} of the held-out interactions are in X, too, and can't be found "
                "while seen items are excluded: hold them out of X, or pass exclude_seen=False if "
                "users come back to items.",
                LeakWarning,
            )
        elif overlap == 1:  # fewer may be repeated interactions
            warn(
                "All held-out interactions are in X, too: the model is given what it should "
                "predict. Hold them out of X.",
                LeakWarning,
            )
        return X, y

    def _warn_of_leaks(self, X, y, given):
        """Warn if the model was fitted on held-out cells; `given` is whether they came as `y`."""
        leaked = leaked_share(X, y, self.interactions_)
        if leaked:
            advice = (
                "Fit on the training part only: `train, test = random_holdout(R)`, then "
                "`model.fit(train).score(train, test)`."
                if given
                else "Score other users, as cross-validation does, or hold out interactions before "
                "fit and pass them as y."
            )
            warn(
                f"{type(self).__name__} was fitted on {leaked:.1%} of the held-out interactions: "
                f"rows of X were in fit together with them, so the score is too good. {advice}",
                LeakWarning,
            )
        elif not given and is_held_out_part(X + y, self.interactions_):
            warn(
                "X has no interaction in common with the training rows, as if it had been held out "
                "of these: score(X) takes its rows for the whole histories of new users. Pass "
                "both parts, score(train, test).",
                ValuesWarning,
            )


def _is_one_each(y):
    """Return whether `y` holds one held-out item per row."""
    return y is not None and not sp.issparse(y) and np.ndim(y) == 1


def _warn_if_all_fit(parsed, y, ids):
    """Warn of metrics that are equal for all models because the list holds all candidates."""
    scored = np.diff(y.indptr) > 0
    same = [
        label
        for label, name, depth in parsed
        if name in ("hr", "recall", "precision") and (ids[scored, depth - 1] < 0).all()
    ]
    if same:
        warn(
            f"{' and '.join(same)} can't tell models apart: no row has as many candidates, those "
            "held out included, as the list is long. Pass more candidates, or a smaller k."
        )
