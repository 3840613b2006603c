"""Metric names, and scorers that compute several metrics from one ranking."""

from __future__ import annotations

from collections.abc import Callable
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils.metadata_routing import MetadataRequest

from sklearn_recsys.metrics._hits import average_rows, find_gains, padded_hits
from sklearn_recsys.metrics._per_row import GRADED, NO_GAIN, PER_ROW, graded_ndcg
from sklearn_recsys.metrics._rating import mae, rmse
from sklearn_recsys.utils._suggest import did_you_mean

_RATING = {"neg_rmse": rmse, "neg_mae": mae}
CELL_ERRORS = {"neg_rmse": np.square, "neg_mae": np.abs}  # of which they are means


def parse_metric(metric, k=10, *, also=()):
    """Return the label, the name and the list length (None for rating metrics) of a metric.

    Parameters
    ----------
    metric : str
        For example ``"ndcg"``, ``"ndcg@20"`` or ``"neg_rmse"``.
    k : int, default=10
        The list length if the metric does not name one.
    also : iterable of str, default=()
        Names of additional list metrics.
    """
    if not isinstance(k, Integral) or isinstance(k, bool) or k < 1:
        raise ValueError(f"k must be an integer of at least 1; got {k!r}.")
    if isinstance(metric, str) and metric in _RATING:
        return metric, metric, None
    name, at, depth = metric.partition("@") if isinstance(metric, str) else (metric, "", "")
    ranking = [*PER_ROW, *GRADED, *also]
    if name not in ranking or (at and not (depth.isdecimal() and int(depth))):
        names = ", ".join([f'"{name}"' for name in (*ranking, *_RATING)])
        raise ValueError(
            f"Unknown metric {metric!r}; use one of {names}. A ranking metric may include the "
            f'length of the list, as in "ndcg@20".{did_you_mean(name, [*ranking, *_RATING])}'
        )
    if at and k != 10:
        raise ValueError(f"The metric {metric!r} names the length of the list; drop k={k}.")
    depth = int(depth) if at else int(k)
    return f"{name}@{depth}", name, depth


def check_is_recommender(estimator):
    """Raise TypeError if an estimator is not a recommender."""
    if isinstance(estimator, type):
        raise TypeError(
            f"Pass a model, not its class: {estimator.__name__}() instead of {estimator.__name__}."
        )
    if not hasattr(estimator, "_score_metrics"):
        advice = (
            "Pass its best_estimator_."
            if hasattr(estimator, "best_estimator_")
            else "Use a RecommenderPipeline to put transformers before a model."
        )
        raise TypeError(
            f"{type(estimator).__name__} is not a recommender: it does not inherit from "
            f"sklearn_recsys.base.RecommenderMixin. {advice}"
        )


def ranking_values(parsed, y, ids):
    """Return a dict of the ranking metrics in `parsed`, a value per row, NaN if none is defined."""
    hits, n_relevant = padded_hits(y, ids, ids.shape[1])
    values = {
        label: PER_ROW[name](hits, n_relevant, depth)
        for label, name, depth in parsed
        if name in PER_ROW
    }
    for label, name, depth in parsed:
        if name in GRADED:
            values[label] = graded_ndcg(*find_gains(y, ids, depth, GRADED[name]))
    return values


def ranking_scores(parsed, y, ids):
    """Return a dict of the ranking metrics in `parsed`, averaged over rows with held-out cells."""
    return {
        label: average_rows(values, "mean", NO_GAIN)
        for label, values in ranking_values(parsed, y, ids).items()
    }


def rating_scores(parsed, y_true, y_pred):
    """Return a dict of the rating metrics in `parsed`, pooled over cells."""
    return {label: -_RATING[name](y_true, y_pred) for label, name, depth in parsed if depth is None}


def make_recommender_scorer(
    metrics="ndcg@10", *, exclude_seen=True, candidates=None
) -> Callable[..., Any]:
    """Make a scorer for scikit-learn's searches and cross-validation.

    Parameters
    ----------
    metrics : str or list of str, default="ndcg@10"
        Metric names of `score`, such as ``"hr@10"``, ``"ndcg"`` (of the first 10),
        ``"ndcg-linear"`` (with the held-out values as gains) or ``"neg_rmse"``. All metrics of a
        list are computed from one ranking.
    exclude_seen : bool, default=True
        Whether to exclude the items of `X` from the ranking.
    candidates : array-like of int of shape (n_candidates,), default=None
        Rank only these items, together with each row's held-out ones.

    Returns
    -------
    scorer : callable
        ``scorer(estimator, X, y=None)`` returns a float for one metric, or a dict for a list (in a
        search, name the metric to refit on: ``GridSearchCV(..., refit="ndcg@10")``). For models
        with user features it takes ``user_features``, which searches pass on after
        ``scorer.set_score_request(user_features=True)``.

    See Also
    --------
    sklearn_recsys.model_selection.evaluate : The metrics of several fitted models, as a table.
    sklearn_recsys.base.RecommenderMixin.score : One metric of one model.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.datasets import make_interactions
    >>> from sklearn_recsys.metrics import make_recommender_scorer
    >>> R = make_interactions(n_users=60, n_items=40, random_state=0)
    >>> scorer = make_recommender_scorer(["ndcg@10", "hr@10"])
    >>> search = GridSearchCV(EASE(), {"l2": [1, 100]}, scoring=scorer, refit="ndcg@10", cv=2)
    >>> sorted(name for name in search.fit(R).cv_results_ if name.startswith("mean_test"))
    ['mean_test_hr@10', 'mean_test_ndcg@10']
    """
    return RecommenderScorer(metrics, exclude_seen, candidates)


class RecommenderScorer:
    def __init__(self, metrics, exclude_seen, candidates):
        if not metrics:
            raise ValueError("metrics must name at least one metric; got none.")
        self.metrics = metrics
        self.exclude_seen = exclude_seen
        self.candidates = candidates
        self._requests = MetadataRequest(owner=self)
        for metric in self._names:
            parse_metric(metric)

    @property
    def _names(self):
        return [self.metrics] if isinstance(self.metrics, str) else list(self.metrics)

    def set_score_request(self, **requests):
        """Request metadata from scikit-learn's searches, such as ``user_features=True``."""
        for name, alias in requests.items():
            self._requests.score.add_request(param=name, alias=alias)
        return self

    def get_metadata_routing(self):
        """Return the metadata requests."""
        return self._requests

    def _save_state(self):
        """Return the state from which to rebuild the scorer; see `sklearn_recsys.persistence`."""
        names = ("metrics", "exclude_seen", "candidates")
        requests = self._requests._serialize().get("score", {})
        return {**{name: getattr(self, name) for name in names}, "requests": requests}

    def _load_state(self, state):
        """Restore the state that `_save_state` returned."""
        metrics, exclude_seen = state["metrics"], state["exclude_seen"]
        names = [metrics] if isinstance(metrics, str) else metrics
        if not isinstance(names, (list, tuple)) or not all(isinstance(n, str) for n in names):
            raise ValueError(f"metrics is {metrics!r:.50}")
        if not isinstance(exclude_seen, (bool, np.bool_)) or set(state["requests"]) - {
            "user_features"
        }:
            raise ValueError("exclude_seen or the metadata requests are invalid")
        self.__init__(metrics, exclude_seen, state["candidates"])
        self.set_score_request(**state["requests"])

    def __call__(self, estimator, X, y=None, *, user_features=None):
        check_is_recommender(estimator)
        scores = estimator._score_metrics(
            X,
            y,
            self._names,
            exclude_seen=self.exclude_seen,
            candidates=self.candidates,
            user_features=user_features,
        )
        return next(iter(scores.values())) if isinstance(self.metrics, str) else scores

    def __repr__(self):
        return f"make_recommender_scorer({self.metrics!r})"
