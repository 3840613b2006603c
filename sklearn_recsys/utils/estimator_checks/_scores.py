"""Checks of `score`."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.utils import get_tags

from sklearn_recsys.exceptions import LeakWarning
from sklearn_recsys.utils.estimator_checks._tools import FEW, assert_raises, make_matrix


def check_score(estimator):
    """Check that `score` is a float, accepts `y` in both formats, and refuses invalid input."""
    X = make_matrix(estimator, n_users=FEW)
    model = estimator.fit(X)
    assert type(model.score(make_matrix(estimator, seed=1))) is float
    rows = np.arange(X.shape[0])
    items = X.indices[X.indptr[:-1]]
    held_out = sp.csr_array((X.data[X.indptr[:-1]], (rows, items)), shape=X.shape)
    histories = X - held_out
    for arguments in ((X,), (histories, items), (histories, held_out)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.score(*arguments)
        assert any(
            issubclass(warning.category, LeakWarning) and "in fit" in str(warning.message)
            for warning in caught
        ), "score does not warn of a leak"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LeakWarning)
        # training users, of whom a model that folds in new ones answers sooner
        _check_scores(clone(estimator).fit(histories), histories, items, held_out)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.score(X, held_out, metric="ndcg")
    assert any("100.0%" in str(warning.message) for warning in caught), (
        "score does not warn that X contains the held-out cells"
    )


def _check_scores(model, histories, items, held_out):
    """Check the metrics and the errors, with one held-out item per row in both formats of `y`."""
    n_items = histories.shape[1]
    score = partial(model.score, histories)
    for metric in ("ndcg", "hr@3", "recall", "precision", "map", "mrr"):
        value = score(items, metric=metric)
        assert 0 <= value <= 1
        assert value == score(items.astype(float), metric=metric)
        assert_allclose(score(held_out, metric=metric), value)
    assert score(items, metric="ndcg", k=3) == score(items, metric="ndcg@3")
    all_items = score(items, metric="hr", k=n_items + 5)
    only_candidate = score(items, metric="hr@1", candidates=items[:, None])
    if get_tags(model).recommender_tags.ranks_by_score:  # others may refuse to list an item
        assert all_items == 1, "with every item in the list, the held-out one must be found"
        assert only_candidate == 1, "a held-out item that is the only candidate must be found"
    if get_tags(model).recommender_tags.values == "rating":
        for metric in ("neg_rmse", "neg_mae"):
            assert score(held_out, metric=metric) < 0
        assert_raises(ValueError, "1-D", partial(score, items, metric="neg_rmse"))
    else:
        assert_raises(ValueError, "rating", partial(score, held_out, metric="neg_rmse"))
    for kwargs, match in [
        ({"metric": "auc"}, "Unknown metric"),
        ({"metric": "ndcg@0"}, "Unknown metric"),
        ({"metric": "ndcg@20", "k": 5}, "names the length"),
        ({"metric": "ndcg", "k": 0}, "k must be"),
    ]:
        assert_raises(ValueError, match, partial(score, items, **kwargs))
    assert_raises(ValueError, "shape", partial(score, held_out[:, :-1]))
    assert_raises(ValueError, "one held-out item", partial(score, items[:-1]))
    assert_raises(ValueError, "item indices", partial(score, items + n_items))
