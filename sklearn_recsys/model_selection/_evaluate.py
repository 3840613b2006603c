"""Cross-validation with held-out cells, and tables of metrics."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import indexable
from sklearn.utils.parallel import Parallel, delayed

from sklearn_recsys.metrics import (
    _scorer,
    coverage_at_k,
    gini_at_k,
    novelty_at_k,
    popularity_bias_at_k,
)
from sklearn_recsys.utils._labels import check_same_labels, check_same_rows
from sklearn_recsys.utils._sklearn import safe_indexing
from sklearn_recsys.utils._sparse import as_csr

_BEYOND_ACCURACY = {
    "coverage": lambda ids, X, model, k: coverage_at_k(ids, X.shape[1], k),
    "gini": lambda ids, X, model, k: gini_at_k(ids, X.shape[1], k),
    "novelty": lambda ids, X, model, k: novelty_at_k(ids, model.interactions_, k),
    "popularity_bias": lambda ids, X, model, k: popularity_bias_at_k(
        ids, X, k, X_train=model.interactions_
    ),
}


def cross_validate(
    estimator,
    X,
    y=None,
    *,
    cv=None,
    scoring=None,
    n_jobs=None,
    params=None,
    return_estimator=False,
) -> dict[str, Any]:
    """Evaluate by cross-validation; `y` may be a sparse matrix of held-out cells.

    The counterpart of :func:`sklearn.model_selection.cross_validate`, which does not accept a
    sparse `y`.

    Parameters
    ----------
    estimator : estimator
        A recommender; it is cloned for each split.
    X : {array-like, sparse matrix, sparse array} of shape (n_rows, n_items)
        The input cells of each row.
    y : {sparse matrix, sparse array, array-like}, default=None
        The held-out cells of each row. None: `score` holds out 20 % of each test row.
    cv : int, cross-validator or iterable of (train, test), default=None
        Splits of the rows. An integer, or None for 5: that many folds over users. With held-out
        cells as `y`: :class:`HoldoutSplit`, or the `cv` of :func:`cell_kfold`.
    scoring : str, list of str or callable, default=None
        Metrics, or a scorer from :func:`sklearn_recsys.metrics.make_recommender_scorer`; None: the
        estimator's `score`.
    n_jobs : int, default=None
        Number of splits to run in parallel.
    params : dict, default=None
        Arguments for `fit` and the scorer with one row per row of `X`, which are split in the same
        way: ``{"user_features": features}``.
    return_estimator : bool, default=False
        Whether to return the fitted estimators.

    Returns
    -------
    results : dict
        Arrays with a value for each split: ``fit_time`` and ``score_time`` in seconds,
        ``test_score`` (or ``test_<name>`` for each name if the scorer returns a dict), and, with
        `return_estimator`, the list ``estimator``.

    See Also
    --------
    evaluate : Scores several models on one split, as a table.
    cell_kfold : Folds over ratings instead of users.
    HoldoutSplit : One split of the interactions of the same users.
    sklearn.model_selection.GridSearchCV : Takes these splits as they are.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.datasets import make_interactions
    >>> from sklearn_recsys.model_selection import cross_validate
    >>> R = make_interactions(n_users=200, n_items=50, density=0.2, random_state=0)
    >>> cross_validate(EASE(l2=10), R, cv=3)["test_score"].round(1).tolist()  # NDCG@10
    [0.4, 0.3, 0.4]
    """
    params = {name: as_csr(values, name) for name, values in (params or {}).items()}
    check_same_labels(X, y, "y")
    for name, values in params.items():
        check_same_rows(X, values, name)
    X, y, *_ = indexable(as_csr(X), as_csr(y, "y"), *params.values())
    if scoring is not None and not callable(scoring):
        scoring = _scorer.make_recommender_scorer(scoring)

    # X, y and params are arguments of each task by themselves, not in a closure or a dict, so that
    # joblib's backends recognize them, and send them once
    tasks = (
        delayed(_fit_and_score)(estimator, X, y, train, test, scoring, return_estimator, **params)
        for train, test in check_cv(cv).split(X, y)
    )
    outcomes = Parallel(n_jobs=n_jobs)(tasks)
    models, scores, fit_times, score_times = zip(*outcomes, strict=True)
    results = {"fit_time": np.array(fit_times), "score_time": np.array(score_times)}
    if isinstance(scores[0], dict):
        for name in scores[0]:
            results[f"test_{name}"] = np.array([score[name] for score in scores])
    else:
        results["test_score"] = np.array(scores)
    if return_estimator:
        results["estimator"] = list(models)
    return results


def _fit_and_score(estimator, X, y, train, test, scoring, return_estimator, /, **params):
    """Return a clone fitted on the rows `train`, its score on `test`, and the seconds of both.

    The clone is None unless it is asked for: a worker would send it back in full.
    """
    model = clone(estimator)
    fit_params, score_params = (
        {name: safe_indexing(values, rows) for name, values in params.items()}
        for rows in (train, test)
    )
    X_train, X_test = safe_indexing(X, train), safe_indexing(X, test)
    y_train = None if y is None else safe_indexing(y, train)
    y_test = None if y is None else safe_indexing(y, test)
    scorer = model.score if scoring is None else partial(scoring, model)
    start = time.perf_counter()
    model.fit(X_train, y_train, **fit_params)
    fit_time = time.perf_counter() - start
    start = time.perf_counter()
    score = scorer(X_test, y_test, **score_params)
    score_time = time.perf_counter() - start
    return model if return_estimator else None, score, fit_time, score_time


def evaluate(
    model,
    X,
    y=None,
    metrics=("hr", "ndcg", "recall", "precision", "coverage"),
    k=10,
    *,
    exclude_seen=True,
    candidates=None,
    user_features=None,
    standard_error=False,
) -> pd.DataFrame:
    """Evaluate fitted models on held-out interactions; return a frame with a row for each model.

    Parameters
    ----------
    model : estimator or dict of str to estimator
        A fitted recommender, or several by name.
    X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
        The input cells of each row.
    y : {sparse matrix, sparse array, array-like}, default=None
        The held-out cells of each row, as in `score`.
    metrics : sequence of str, default=("hr", "ndcg", "recall", "precision", "coverage")
        The metrics of `score`, and the beyond-accuracy metrics ``"coverage"``, ``"gini"``,
        ``"novelty"`` and ``"popularity_bias"``; each may include the length of the list, as in
        ``"coverage@20"``.
    k : int, default=10
        Length of the list for metrics that do not include one.
    exclude_seen : bool, default=True
        Whether to exclude the items of `X` from the ranking.
    candidates : array-like or sparse, default=None
        Rank only these items, together with the row's held-out ones, as in `score`.
    user_features : array-like of shape (n_rows, n_user_features), default=None
        The features of the rows of `X`, for models that were fitted with user features.
    standard_error : bool, default=False
        Whether to add the column ``"<metric> s.e."`` after each metric of `score`: the standard
        error over the users, for ratings by the delta method. Beyond-accuracy metrics have
        none.

    Returns
    -------
    table : DataFrame
        A row for each model, a column for each metric.

    See Also
    --------
    cross_validate : One model on several splits.
    sklearn_recsys.metrics.make_recommender_scorer : Several metrics in one pass of a search.
    sklearn_recsys.inspection.compare : Differences of models, with intervals and tests.

    Examples
    --------
    >>> from sklearn_recsys import EASE, PopularityRecommender
    >>> from sklearn_recsys.datasets import make_interactions
    >>> from sklearn_recsys.model_selection import evaluate, random_holdout
    >>> R = make_interactions(n_users=60, n_items=40, random_state=0)
    >>> train, test = random_holdout(R, per_user=True, random_state=0)
    >>> models = {"EASE": EASE(l2=10).fit(train), "popular": PopularityRecommender().fit(train)}
    >>> evaluate(models, train, test, metrics=["ndcg", "coverage@5"]).columns.tolist()
    ['ndcg@10', 'coverage@5']
    >>> evaluate(models, train, test, "ndcg", standard_error=True).round(2)
             ndcg@10  ndcg@10 s.e.
    EASE        0.09          0.03
    popular     0.23          0.04
    """
    models = named_models(model)
    parsed = parse_metrics(metrics, k)
    options = {"exclude_seen": exclude_seen, "candidates": candidates}
    found = outcomes(models, X, y, parsed, user_features=user_features, **options)
    rows = {}
    for label, outcome in found.items():
        values = {**outcome.scores(parsed), **beyond_accuracy(parsed, outcome, models[label])}
        if standard_error:
            sums = outcome.row_sums(parsed)
            values = {
                column: value
                for name, score in values.items()
                for column, value in _with_standard_error(name, score, sums)
            }
        rows[label] = values
    return pd.DataFrame.from_dict(rows, orient="index")


def named_models(model):
    """Return fitted recommenders by name: those of a dict, or one by the name of its class."""
    if isinstance(model, (list, tuple)):
        raise TypeError("Pass several models by name: a dict of str to estimator.")
    models = model if isinstance(model, dict) else {type(model).__name__: model}
    for fitted in models.values():
        _scorer.check_is_recommender(fitted)
    return models


def outcomes(models, X, y, parsed, *, user_features=None, **options):
    """Return the `Outcome` of each model by its name."""
    found = {}
    for name, model in models.items():
        features = user_features if model._has_features else None
        found[name] = model._evaluate(X, y, parsed, user_features=features, **options)
    return found


def parse_metrics(metrics, k=10):
    """Return the label, the name and the length of each metric of `evaluate` once."""
    metrics = [metrics] if isinstance(metrics, str) else metrics
    parsed = [
        _scorer.parse_metric(metric, 10 if "@" in str(metric) else k, also=_BEYOND_ACCURACY)
        for metric in metrics
    ]
    if not parsed:
        raise ValueError("metrics must name at least one metric; got none.")
    return parsed


def is_beyond_accuracy(name):
    """Return whether a metric is one of the beyond-accuracy metrics."""
    return name in _BEYOND_ACCURACY


def beyond_accuracy(parsed, outcome, model):
    """Return a dict of the beyond-accuracy metrics in `parsed` of a model's `Outcome`."""
    return {
        label: _BEYOND_ACCURACY[name](outcome.ids, outcome.X, model, depth)
        for label, name, depth in parsed
        if name in _BEYOND_ACCURACY
    }


def _with_standard_error(name, score, sums):
    """Yield the columns of a metric."""
    yield name, score
    if name in sums:
        yield f"{name} s.e.", sums[name].standard_error
