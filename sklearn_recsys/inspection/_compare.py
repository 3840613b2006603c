"""Comparison of recommenders, user by user."""

from __future__ import annotations

import sys
from dataclasses import replace
from numbers import Integral, Real

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.model_selection import check_cv
from sklearn.utils import check_random_state, check_scalar, get_tags, indexable

from sklearn_recsys.inspection._comparison import Comparison
from sklearn_recsys.inspection._runs import Protocol, run
from sklearn_recsys.inspection._statistics import COLUMNS, score_table
from sklearn_recsys.metrics._outcome import RowSums
from sklearn_recsys.metrics._scorer import check_is_recommender
from sklearn_recsys.model_selection._evaluate import is_beyond_accuracy, parse_metrics
from sklearn_recsys.utils._labels import (
    check_same_labels,
    check_same_rows,
    item_labels,
    same_labels,
)
from sklearn_recsys.utils._sparse import as_csr


def compare(
    models,
    X,
    y=None,
    *,
    cv=None,
    metrics=("ndcg", "hr", "recall", "coverage"),
    k=10,
    baseline=None,
    exclude_seen=True,
    candidates=None,
    user_features=None,
    groups=None,
    n_repeats=1,
    memory=False,
    confidence_level=0.95,
    n_resamples=9999,
    random_state=0,
) -> Comparison:
    """Compare recommenders on the same held-out interactions, user by user.

    Every model is evaluated on the same rows, held-out cells and candidates. The differences from a
    baseline are tested user by user, and each score gets a bootstrap interval over the users.

    Parameters
    ----------
    models : dict of str to estimator
        Recommenders by name, fitted or not. Without `cv`, fitted ones are evaluated as they are,
        and clones of the others are fitted to `X`. With `cv`, clones of all of them are fitted to
        the training rows of each split.
    X : {array-like, sparse matrix, sparse array, DataFrame} of shape (n_rows, n_items)
        The input cells of each row. For fitted pipelines with an encoder also what their `score`
        takes.
    y : {sparse matrix, sparse array, array-like}, default=None
        The held-out cells of each row, as in `score`. None: 20 % of each row are held out, which
        needs models that were not fitted on these rows, as with `cv`.
    cv : int, cross-validator or iterable of (train, test), default=None
        Splits of the rows, as in :func:`~sklearn_recsys.model_selection.cross_validate`; an integer
        is that many folds over users. A row's values in several splits count as one user's.
    metrics : sequence of str, default=("ndcg", "hr", "recall", "coverage")
        Metrics as in :func:`~sklearn_recsys.model_selection.evaluate`. Beyond-accuracy
        metrics have neither intervals nor tests. The first metric orders the models.
    k : int, default=10
        Length of the list for metrics that do not include one.
    baseline : str, default=None
        The name of the model that the others are tested against; None: the first one.
    exclude_seen : bool, default=True
        Whether to exclude the items of `X` from the ranking.
    candidates : array-like or sparse, default=None
        Rank only these items, together with the row's held-out ones, as in `score`.
    user_features : array-like of shape (n_rows, n_user_features), default=None
        The features of the rows of `X`, for the models that read some.
    groups : array-like of shape (n_rows,), default=None
        The user of each row, where users have several rows; also passed to ``cv.split``. None:
        each row is a user. With :func:`~sklearn_recsys.model_selection.cell_kfold` it is
        ``np.tile(np.arange(n_users), n_splits)``.
    n_repeats : int, default=1
        How often to fit each model that draws, with different values of its `random_state`, and
        those of its parts. A user's value is then the mean over the repetitions.
    memory : bool, default=False
        Whether to measure peak memory: each fit, with its evaluation, then runs in a child process
        of its own, to which the model and the data are sent. Linux only.
    confidence_level : float, default=0.95
        The confidence level of the intervals.
    n_resamples : int, default=9999
        The number of bootstrap samples, and of random sign flips.
    random_state : int, RandomState instance or None, default=0
        Seed of the resampling, and of the repetitions.

    Returns
    -------
    comparison : Comparison
        The table of scores, with what it is made of.

    Raises
    ------
    ValueError
        If the models can't be compared: one was fitted on held-out cells or on other items, or was
        evaluated on other held-out cells than the first one.

    See Also
    --------
    Comparison : What is returned, and how it is computed.
    sklearn_recsys.model_selection.evaluate : Scores alone.

    Examples
    --------
    >>> from sklearn_recsys import EASE, ItemKNN, PopularityRecommender
    >>> from sklearn_recsys.datasets import make_movies
    >>> from sklearn_recsys.inspection import compare
    >>> from sklearn_recsys.preprocessing import InteractionEncoder
    >>> R = InteractionEncoder().fit_transform(make_movies(random_state=0).interactions)
    >>> models = {"popular": PopularityRecommender(), "knn": ItemKNN(), "EASE": EASE(l2=50)}
    >>> comparison = compare(models, R, cv=3, metrics=["ndcg", "recall"])
    >>> comparison.to_frame("ndcg@10").iloc[:, :3].round(3)
             score    low   high
    model
    knn      0.390  0.354  0.427
    EASE     0.303  0.271  0.337
    popular  0.144  0.122  0.169
    """
    _check_models(models, baseline)
    baseline = next(iter(models)) if baseline is None else baseline
    parsed = _parsed(metrics, k)
    for name, value in (("n_repeats", n_repeats), ("n_resamples", n_resamples)):
        check_scalar(value, name, Integral, min_val=1)
    bounds = {"min_val": 0, "max_val": 1, "include_boundaries": "neither"}
    check_scalar(confidence_level, "confidence_level", Real, **bounds)
    if memory and not sys.platform.startswith("linux"):
        raise ValueError("memory=True needs Linux, where a process can read its peak memory.")
    fitted = {name for name, model in models.items() if model.__sklearn_is_fitted__()}
    if cv is None:
        _check_fitted(models, fitted, y, n_repeats)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    seeds = rng.integers(2**31 - 1, size=n_repeats).tolist()

    protocol = Protocol(X, y, parsed, exclude_seen, candidates, user_features)
    splits = [(None, None)]
    if cv is not None:
        protocol = _as_matrices(protocol)
        splits = list(check_cv(cv).split(protocol.X, protocol.y, groups))
    runs = {}
    for name, model in models.items():
        fit = cv is not None or name not in fitted
        runs[name] = [
            [
                run(name, version, fit, protocol.at(train), protocol.at(test), memory)
                for train, test in splits
            ]
            for version in _versions(model, seeds)
        ]
        _check_same_cells(runs, name)

    first = runs[baseline][0][0]
    users, labels = _users(X, groups, first.shape if cv is None else protocol.X.shape)
    tests = [slice(None) if test is None else test for _, test in splits]
    sums = {
        name: [_user_sums(of_splits, tests, users, len(labels)) for of_splits in repeats]
        for name, repeats in runs.items()
    }
    return _comparison(runs, sums, parsed, labels, baseline, confidence_level, n_resamples, rng)


def _comparison(runs, sums, parsed, labels, baseline, confidence_level, n_resamples, rng):
    """Return the `Comparison` of runs by model, repetition and split."""
    per_metric = {
        label: {name: _mean_sums([of[label] for of in repeats]) for name, repeats in sums.items()}
        for label in next(iter(sums.values()))[0]
    }
    repeats = pd.concat(
        {
            name: pd.DataFrame(
                [
                    {label: of[label].score for label in of}
                    | pd.DataFrame([result.others for result in of_splits]).mean().to_dict()
                    for of, of_splits in zip(sums[name], runs[name], strict=True)
                ]
            )
            for name in runs
        },
        names=["model", "repeat"],
    )[[label for label, *_ in parsed]]
    by_model = repeats.groupby(level="model", sort=False)
    scores = by_model.mean().unstack().to_frame("score").rename_axis(["metric", "model"])
    n_users = np.count_nonzero(next(iter(per_metric.values()))[baseline].counts)
    if n_users < 2:
        raise ValueError(
            f"Intervals need held-out interactions of at least two users; got {n_users}."
        )
    table = score_table(per_metric, baseline, confidence_level, n_resamples, rng)
    scores = table.reindex(index=scores.index, columns=COLUMNS).fillna({"score": scores["score"]})
    scores["repeat_sd"] = by_model.std(ddof=1).unstack()
    per_user = pd.concat(
        {
            label: pd.DataFrame({name: of.by_row for name, of in of_models.items()}, index=labels)
            for label, of_models in per_metric.items()
        },
        axis=1,
        names=["metric", "model"],
    )
    costs = pd.DataFrame(
        {
            name: pd.DataFrame([result.costs for of in repeats_ for result in of]).mean()
            for name, repeats_ in runs.items()
        }
    ).T.rename_axis("model")
    options = {"confidence_level": confidence_level}
    return Comparison(scores, per_user, costs, repeats, baseline, **options)


def _parsed(metrics, k):
    """Return the parsed metrics; raise unless one of them is of accuracy."""
    parsed = parse_metrics(metrics, k)
    if all(is_beyond_accuracy(name) for _, name, _ in parsed):
        raise ValueError(
            "Models are compared by the accuracy for each user, but metrics are beyond accuracy: "
            f'{", ".join(label for label, *_ in parsed)}. Add one such as "ndcg", or use '
            "sklearn_recsys.model_selection.evaluate."
        )
    return parsed


def _check_models(models, baseline):
    """Raise unless `models` is a dict of recommenders, and `baseline` names one of them."""
    if not isinstance(models, dict) or not models:
        raise TypeError(
            "models must be a dict of str to estimator, with at least one model; got "
            f"{models!r:.100}."
        )
    for model in models.values():
        check_is_recommender(model)
    if baseline is not None and baseline not in models:
        raise ValueError(f"baseline must be one of {', '.join(models)}; got {baseline!r}.")


def _check_fitted(models, fitted, y, n_repeats):
    """Raise unless models that are not cloned and fitted for each split can be compared."""
    if y is None and len(fitted) < len(models):
        name = next(name for name in models if name not in fitted)
        raise ValueError(
            f"{name!r} isn't fitted, and would be fitted to the cells that are held out of X then: "
            "pass held-out cells as y, or cv=5 to compare models on new users."
        )
    first = None
    for name in models:
        if name not in fitted:
            continue
        if n_repeats > 1 and _random_states(models[name]):
            raise ValueError(
                f"n_repeats={n_repeats} fits models with other random states, but {name!r} is "
                "fitted: pass a clone of it."
            )
        first = name if first is None else first
        if not _same_items(models[first], models[name]):
            raise ValueError(
                f"{name!r} can't be compared with {first!r}: they were fitted on different items, "
                "or on items in another order."
            )


def _same_items(model, other):
    """Return whether two fitted models have the same items, as far as they know them."""
    if model.n_features_in_ != other.n_features_in_:
        return False
    labels, others = (_item_ids(fitted) for fitted in (model, other))
    return labels is None or others is None or same_labels(labels, others)


def _item_ids(model):
    encoder = getattr(model, "encoder", None)
    return item_labels(model) if encoder is None else encoder.item_ids_


def _check_same_cells(runs, name):
    """Raise unless a model was evaluated on the same cells as the first one."""
    first = next(iter(runs))
    for of_splits in runs[name]:
        for result, expected in zip(of_splits, runs[first][0], strict=True):
            if result.key != expected.key:
                raise ValueError(
                    f"{name!r} can't be compared with {first!r}: other rows, or other held-out "
                    "cells of them, were evaluated. Without y, models that read the order of "
                    "interactions hold out the latest ones: pass y to all. Pipelines must encode "
                    "the same users."
                )


def _random_states(model):
    """Return the parameters that are random states, also of nested estimators, if it draws."""
    if get_tags(model).recommender_tags.exact:
        return []
    names = model.get_params()
    return [name for name in names if name.rpartition("__")[2] == "random_state"]


def _versions(model, seeds):
    """Return the model, or, for several `seeds`, a clone with each of them if the model draws."""
    draws = _random_states(model)
    if len(seeds) == 1 or not draws:
        return [model]
    return [clone(model).set_params(**dict.fromkeys(draws, seed)) for seed in seeds]


def _as_matrices(protocol):
    """Return a protocol whose rows can be indexed."""
    X, y, features = protocol.X, protocol.y, protocol.user_features
    check_same_labels(X, y, "y")
    check_same_rows(X, features, "user_features")
    X, y, features = indexable(as_csr(X), as_csr(y, "y"), as_csr(features, "user_features"))
    return replace(protocol, X=X, y=y, user_features=features)


def _users(X, groups, shape):
    """Return the number of each row's user, and the users' labels."""
    n_rows = shape[0]
    if groups is not None:
        if len(groups) != n_rows:
            raise ValueError(
                f"groups must name the user of each of {n_rows} rows; got {len(groups)} labels."
            )
        labels, users = np.unique(groups, return_inverse=True)
        return users, pd.Index(labels, name="user")
    labeled = hasattr(X, "columns") and hasattr(X, "index") and X.shape == shape
    return np.arange(n_rows), X.index if labeled else pd.RangeIndex(n_rows, name="user")


def _user_sums(of_splits, tests, users, n_users):
    """Return a dict of the `RowSums` of users, added up over splits."""
    sums = {}
    for label, first in of_splits[0].sums.items():
        totals, counts = np.zeros((2, n_users))
        for result, test in zip(of_splits, tests, strict=True):
            own = result.sums[label]
            totals += np.bincount(users[test], weights=own.totals, minlength=n_users)
            counts += np.bincount(users[test], weights=own.counts, minlength=n_users)
        sums[label] = RowSums(first.name, totals, counts)
    return sums


def _mean_sums(repeats):
    """Return the `RowSums` of several fits to the same rows as one, their mean."""
    totals = np.mean([of.totals for of in repeats], axis=0)
    return RowSums(repeats[0].name, totals, repeats[0].counts)
