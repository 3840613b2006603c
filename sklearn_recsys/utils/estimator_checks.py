"""Checks that a recommender follows the contract, for the models here and for your own.

Each check takes a freshly cloned estimator and raises AssertionError (or the model's own error) if
it violates the contract.
"""

from __future__ import annotations

import os
import pickle
import tempfile
import warnings
from copy import deepcopy
from functools import partial

import joblib
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.utils import get_tags

from sklearn_recsys.exceptions import LeakWarning
from sklearn_recsys.persistence import load
from sklearn_recsys.utils._cells import item_counts, with_values
from sklearn_recsys.utils._corrupt import corrupt_matrices

_TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
_FEW = 12  # rows in checks that fit or predict many times


def expected_failed_checks(estimator):
    """Return the common checks of scikit-learn that a recommender must fail by its contract.

    Parameters
    ----------
    estimator : estimator
        A recommender.

    Returns
    -------
    checks : dict of str to str
        Names of checks and the reasons, for
        :func:`sklearn.utils.estimator_checks.parametrize_with_checks`.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.utils.estimator_checks import expected_failed_checks
    >>> sorted(expected_failed_checks(EASE()))
    ['check_estimator_sparse_array', 'check_estimator_sparse_matrix']
    """
    reason = (
        "demands a 1-D predict on sparse input; a recommender predicts every item for every row"
    )
    return {"check_estimator_sparse_array": reason, "check_estimator_sparse_matrix": reason}


def _seeded(estimator):
    estimator = clone(estimator)
    params = estimator.get_params()
    seeds = [name for name in params if name.split("__")[-1] == "random_state"]
    return estimator.set_params(**dict.fromkeys(seeds, 0))


def _matrix(estimator, n_users=40, n_items=30, seed=0):
    """Return random interactions with the values that the estimator reads and no empty row."""
    rng = np.random.RandomState(seed)
    cells = rng.uniform(size=(n_users, n_items)) < 0.25
    cells[np.arange(n_users), rng.randint(n_items, size=n_users)] = True
    cells[np.arange(n_users), np.arange(n_users) % n_items] = True
    values = get_tags(estimator).recommender_tags.values
    if values == "order":
        X = np.where(cells, rng.uniform(size=cells.shape), np.inf)
        X = cells * (1 + X.argsort(axis=1).argsort(axis=1))
    elif values == "binary":
        X = cells
    else:
        X = cells * rng.randint(1, 6, size=cells.shape)
    return sp.csr_array(X.astype(np.float32))


def _assert_ranked(ids, scores):
    """Assert the order of the lists: best first, ties by index, empty slots last."""
    filled = ids >= 0
    assert np.all(filled[:, :-1] >= filled[:, 1:]), "an empty slot comes before an item"
    assert np.all(np.isneginf(scores[~filled])), "an empty slot has a score above -inf"
    assert np.all(np.isfinite(scores[filled])), "a recommended item has no finite score"
    pairs = filled[:, 1:]
    descending = scores[:, :-1] > scores[:, 1:]
    tied = (scores[:, :-1] == scores[:, 1:]) & (ids[:, :-1] < ids[:, 1:])
    assert np.all((descending | tied)[pairs]), "items are not in descending order, ties by index"


def check_recommend_shape_and_order(estimator):
    """Check that lists have width n, distinct unseen ids, and −1 in empty slots."""
    X = _matrix(estimator)
    n_items = X.shape[1]
    model = estimator.fit(X)
    for n in (1, 5, n_items, n_items + 7):
        ids, scores = model.recommend(n=n, return_scores=True)
        assert ids.shape == scores.shape == (X.shape[0], n)
        assert ids.dtype == np.int64
        _assert_ranked(ids, scores)
        for row, items in enumerate(ids):
            items = items[items >= 0]
            assert len(set(items)) == len(items), "an item is recommended more than once"
            assert not set(items) & set(X[[row]].indices), "a seen item is recommended"
    n_unseen = n_items - np.diff(X.indptr)
    assert_array_equal((model.recommend(n=n_items) >= 0).sum(axis=1), n_unseen)
    assert np.all(model.recommend(n=n_items, exclude_seen=False) >= 0)


def check_recommend_is_top_n(estimator):
    """Check that `recommend` is the stable top-n of the scores, and `predict` has their order."""
    X = _matrix(estimator)
    model = estimator.fit(X)
    histories = _matrix(estimator, seed=1)
    predicted = model.predict(histories)
    assert predicted.shape == histories.shape
    assert predicted.dtype == np.float32
    n_items = X.shape[1]
    ids, scores = model.recommend(histories, n_items, exclude_seen=False, return_scores=True)
    ranked = np.take_along_axis(predicted, ids, axis=1)
    assert np.all(ranked[:, :-1] >= ranked[:, 1:]), "predict does not follow the ranking"
    masked = np.empty_like(scores)
    np.put_along_axis(masked, ids, scores, axis=1)
    rows = np.repeat(np.arange(histories.shape[0]), np.diff(histories.indptr))
    masked[rows, histories.indices] = -np.inf
    expected = np.argsort(-masked, axis=1, kind="stable")[:, :4]
    assert_array_equal(model.recommend(histories, 4), expected)


def check_predict_pairs(estimator):
    """Check that `predict_pairs` returns the values of `predict` at the given cells."""
    X = _matrix(estimator)
    model = estimator.fit(X)
    histories = sp.vstack([_matrix(estimator, seed=1), sp.csr_array((1, X.shape[1]))], format="csr")
    rng = np.random.RandomState(0)
    rows = rng.randint(histories.shape[0], size=200)
    items = rng.randint(X.shape[1], size=200)
    assert_allclose(
        model.predict_pairs(histories, rows, items),
        model.predict(histories)[rows, items],
        **_TOLERANCE,
    )
    assert model.predict_pairs(histories, [], []).shape == (0,)


def check_explain(estimator):
    """Check that the contributions of `explain`, if the model has it, sum to the scores."""
    X = _matrix(estimator)
    model = estimator.fit(X)
    if not hasattr(model, "explain"):
        return
    histories = sp.vstack([X[:3], _matrix(estimator, seed=1)[:5]], format="csr")
    scores = model.predict(histories)
    lists = model.recommend(histories, 3)
    why = model.explain(histories, lists)
    assert list(why.columns) == ["user", "item", "history_item", "contribution"]
    requested = [[row, item] for row, items in enumerate(lists) for item in items if item >= 0]
    assert_array_equal(why[["user", "item"]].drop_duplicates(), requested)
    for (user, item), group in why.groupby(["user", "item"]):
        seen = histories[[user]].indices
        assert_array_equal(np.sort(group["history_item"]), seen, "not one row for each item seen")
        contributions = group["contribution"].to_numpy()
        assert np.all(np.diff(contributions) <= 0), "contributions are not in descending order"
        tolerance = 1e-5 + 1e-4 * np.abs(contributions).sum()
        assert_allclose(contributions.sum(), scores[user, item], rtol=1e-4, atol=tolerance)
    same = model.explain(2, lists[2]).drop(columns="user")  # a training row, and its history
    expected = model.explain(X[[2]], lists[2]).drop(columns="user")
    assert_array_equal(same, expected)


def check_users_argument(estimator):
    """Check that all ways to specify training rows give the same recommendations."""
    X = _matrix(estimator)
    model = estimator.fit(X)
    expected = model.recommend(n=5)
    stored = model.interactions_
    assert_array_equal(model.recommend(stored, 5), expected)
    assert_array_equal(model.recommend(3, 5), expected[[3]])
    assert_array_equal(model.recommend(np.int32(3), 5), expected[[3]])
    assert_array_equal(model.recommend(stored[[3]], 5), expected[[3]])
    assert_array_equal(model.recommend(stored[3], 5), expected[[3]])  # a 1-D sparse array
    assert_array_equal(model.recommend([5, 2, 5], 5), expected[[5, 2, 5]])
    assert model.recommend([], 5).shape == (0, 5)
    mask = np.arange(X.shape[0]) % 3 == 0
    assert_array_equal(model.recommend(mask, 5), expected[mask])
    for invalid, match in [
        (np.ones(X.shape[1]), "reshape(1, -1)"),
        ([X.shape[0]], "training row"),
        ([-1], "training row"),
        (mask[:-1], "n_users"),
        (["alice"], "Raw ids"),
    ]:
        _assert_raises(ValueError, match, partial(model.recommend, invalid))
    for n in (0, -1, 2.5):
        _assert_raises(ValueError, "n must be", partial(model.recommend, n=n))


def check_unseen_and_empty_rows(estimator):
    """Check that new users get finite scores, and empty histories non-personalized ones."""
    X = _matrix(estimator)
    model = estimator.fit(X)
    assert np.all(np.isfinite(model.predict(_matrix(estimator, seed=1))))
    empty = sp.csr_array((2, X.shape[1]), dtype=np.float32)
    ids = model.recommend(empty, X.shape[1])
    assert_array_equal(ids[0], ids[1])
    assert_array_equal(np.sort(ids[0]), np.arange(X.shape[1]))
    tags = get_tags(model).recommender_tags
    if tags.personalized and tags.values != "rating":
        popularity = item_counts(X)
        assert_array_equal(ids[0], np.argsort(-popularity, kind="stable"))


def check_candidates_and_exclude(estimator):
    """Check that `candidates` and `exclude`, in every format, mask the full ranking."""
    X = _matrix(estimator)
    n_users, n_items = X.shape
    model = estimator.fit(X)
    full = model.recommend(n=n_items)
    items = np.array([1, 2, 3, 5, 8, 13, 21])
    rng = np.random.RandomState(0)
    table = rng.randint(-1, n_items, size=(n_users, 6))
    mask = np.array([np.isin(np.arange(n_items), row[row >= 0]) for row in table])
    in_items = np.isin(full, items)
    in_table = np.array(
        [np.isin(ranked, row[row >= 0]) for ranked, row in zip(full, table, strict=True)]
    )
    formats = [
        (items, in_items),
        (np.isin(np.arange(n_items), items), in_items),
        (table, in_table),
        (mask, in_table),
        (sp.csr_array(mask), in_table),
    ]
    for item_sets, selected in formats:
        for name, keep in (("candidates", selected), ("exclude", ~selected)):
            ids = model.recommend(n=n_items, **{name: item_sets})
            for row_ids, ranked, keep_row in zip(ids, full, keep, strict=True):
                expected = ranked[keep_row & (ranked >= 0)]
                assert_array_equal(row_ids[: len(expected)], expected, err_msg=name)
                assert np.all(row_ids[len(expected) :] == -1)
    for name in ("candidates", "exclude"):
        _assert_raises(ValueError, name, partial(model.recommend, **{name: [n_items]}))
        _assert_raises(ValueError, name, partial(model.recommend, **{name: table[1:]}))


def check_blocks(estimator):
    """Check that the block size does not change the scores beyond rounding."""
    X = _matrix(estimator)
    with config_context(working_memory=1e-3):
        small = clone(estimator).fit(X).predict(X)
    model = estimator.fit(X)
    whole = model.predict(X)
    assert_allclose(small, whole, **_TOLERANCE)
    with config_context(working_memory=1e-3):
        assert_allclose(model.predict(X), whole, **_TOLERANCE)
        _, scores = model.recommend(return_scores=True)
    assert_allclose(scores, model.recommend(return_scores=True)[1], **_TOLERANCE)
    each = np.vstack([model.predict(X[[row]]) for row in range(_FEW)])
    assert_allclose(each, whole[:_FEW], **_TOLERANCE)


def check_permutations(estimator):
    """Check that permuted rows permute results; if `exact`, also the training rows and items."""
    X = _matrix(estimator)
    rng = np.random.RandomState(0)
    rows, items = rng.permutation(X.shape[0]), rng.permutation(X.shape[1])
    model = estimator.fit(X)
    predicted = model.predict(X)
    assert_allclose(model.predict(X[rows]), predicted[rows], **_TOLERANCE)
    others = _matrix(estimator, seed=1)
    assert_allclose(model.score(others[rows]), model.score(others), rtol=1e-6)
    if get_tags(estimator).recommender_tags.exact:
        loose = {"rtol": 1e-4, "atol": 1e-5}
        why = "the tag `exact` says that the order of {} does not matter to `fit`"
        permuted = clone(estimator).fit(X[rows])
        assert_allclose(permuted.predict(X), predicted, **loose, err_msg=why.format("users"))
        permuted = clone(estimator).fit(X[:, items]).predict(X[:, items])
        assert_allclose(permuted, predicted[:, items], **loose, err_msg=why.format("items"))


def check_containers(estimator):
    """Check that arrays, frames and every scipy sparse format, of any index width, agree."""
    X = _matrix(estimator, n_users=_FEW)
    expected = clone(estimator).fit(X).predict(X)
    wide = X.copy()
    wide.indices, wide.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    shuffled = X.tocoo()
    order = np.random.RandomState(0).permutation(X.nnz)
    shuffled = sp.coo_array(
        (shuffled.data[order], (shuffled.coords[0][order], shuffled.coords[1][order])), X.shape
    )
    formats = ("csr", "csc", "coo", "lil", "dok", "bsr", "dia")
    matrices = [X.asformat(name) for name in formats]
    matrices += [sp.csr_matrix(X), sp.coo_matrix(X), wide, shuffled, X.toarray()]
    matrices += [X.astype(np.float64), X.astype(np.int64), np.asfortranarray(X.toarray())]
    for matrix in matrices:
        model = clone(estimator).fit(matrix)
        assert_array_equal(model.interactions_.toarray(), X.toarray())
        assert model.interactions_.indices.dtype == np.int32
        assert_allclose(model.predict(matrix), expected, **_TOLERANCE)
    frame = pd.DataFrame(X.toarray(), columns=[f"item {i}" for i in range(X.shape[1])])
    model = clone(estimator).fit(frame)
    assert_allclose(model.predict(frame), expected, **_TOLERANCE)
    assert_array_equal(model.feature_names_in_, frame.columns)
    _assert_raises(ValueError, "feature names", partial(model.predict, frame.iloc[:, ::-1]))


def check_explicit_zeros(estimator):
    """Check that an explicit zero is not observed, and that duplicates are summed."""
    X = _matrix(estimator)
    dense = X.toarray()
    stored = np.argwhere(dense == 0)[::3]
    rows, items = X.nonzero()
    zeros = sp.coo_array(
        (
            np.concatenate([X.data / 2, X.data / 2, np.zeros(len(stored), dtype=np.float32)]),
            (
                np.concatenate([rows, rows, stored[:, 0]]),
                np.concatenate([items, items, stored[:, 1]]),
            ),
        ),
        shape=X.shape,
    )
    model = clone(estimator).fit(zeros)
    assert model.interactions_.nnz == X.nnz
    assert_allclose(model.predict(zeros), estimator.fit(X).predict(X), **_TOLERANCE)


def _all_params(estimator):
    """Return all parameters as text, including those of nested estimators."""
    with config_context(print_changed_only=False):
        return BaseEstimator.__repr__(estimator, N_CHAR_MAX=10**6)


def check_persistence(estimator):
    """Check that models survive pickle, joblib and save/load bit for bit."""
    X = _matrix(estimator)
    model = estimator.fit(X)
    expected = model.predict(X)
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), expected)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.joblib")
        joblib.dump(model, path)
        assert_array_equal(joblib.load(path).predict(X), expected)

        path = os.path.join(folder, "model.recsys")
        model.save(path)
        values = [model, *model.get_params().values()]
        trusted = {type(value) for value in values if isinstance(value, BaseEstimator)}
        loaded = load(path, trusted=trusted)
    assert type(loaded) is type(model)
    assert _all_params(loaded) == _all_params(model), "loading changed a parameter"
    assert_array_equal(loaded.predict(X), expected)
    for before, after in zip(
        model.recommend(return_scores=True), loaded.recommend(return_scores=True), strict=True
    ):
        assert_array_equal(after, before)


def check_reproducible(estimator):
    """Check that `fit` is reproducible, does not depend on earlier fits, and uses no global state.

    The `random_state` of the estimator, if any, is an integer here.
    """
    X = _matrix(estimator)
    users_state = np.random.get_state()
    np.random.seed(860_241)  # an unusual seed, which no model sets itself
    state = np.random.get_state()
    try:
        first, second = clone(estimator).fit(X), clone(estimator)
        second.fit(_matrix(estimator, n_users=20, seed=1))
        second.fit(X)
        assert_array_equal(first.predict(X), second.predict(X))
        assert_array_equal(first.recommend(), second.recommend())
        for before, after in zip(state, np.random.get_state(), strict=True):
            assert_array_equal(after, before, err_msg="numpy's global random state was changed")
    finally:
        np.random.set_state(users_state)


def check_input_unmodified(estimator):
    """Check that `X` is never modified, may be read-only, and may be changed after `fit`."""
    X = _matrix(estimator, n_users=_FEW)
    names = ("data", "indices", "indptr")
    before = [getattr(X, name).copy() for name in names]
    model = clone(estimator).fit(X)
    expected = model.predict(X)
    model.recommend(X)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*rows of X were in fit")
        model.score(X)
    for name, array in zip(names, before, strict=True):
        assert_array_equal(getattr(X, name), array)
    changed = X.copy()
    model = clone(estimator).fit(changed)
    changed.data[:] = 3
    changed.indices[:] = 0
    assert_array_equal(model.predict(X), expected)
    dense = X.toarray()
    model = clone(estimator).fit(dense)
    dense[:] = 1
    assert_array_equal(model.interactions_.toarray(), X.toarray())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "X.joblib")
        joblib.dump(X, path)
        mapped = joblib.load(path, mmap_mode="r")  # as joblib passes it to its workers
        model = clone(estimator).fit(mapped)
        assert_array_equal(model.predict(mapped), expected)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*rows of X were in fit")
            model.score(mapped)
        del mapped


def check_failing_fit(estimator):
    """Check that a failing `fit` has a helpful message and leaves the estimator unfitted."""
    X = _matrix(estimator)
    with_nan = X.toarray()
    with_nan[0, 0] = np.nan
    infinite = X.toarray()
    infinite[0, 0] = np.inf
    events = pd.DataFrame({"user": [1, 2], "item": [3, 4], "rating": [5.0, 1.0]})
    fitted = clone(estimator).fit(X)
    expected = fitted.predict(X)
    for invalid, error, match in [
        (with_nan, ValueError, "NaN"),
        (infinite, ValueError, "infinity"),
        (X.toarray()[0], ValueError, "2D array"),
        (X[0], ValueError, "1-D sparse array"),
        (X.toarray() + 1j, ValueError, "Complex"),
        (np.full(X.shape, "a"), ValueError, "onvert"),
        (sp.csr_array(X.shape, dtype=np.float32), ValueError, "no interaction"),
        (np.empty((0, 5)), ValueError, "0 sample"),
        (np.empty((5, 0)), ValueError, "0 feature"),
        (events, ValueError, "InteractionEncoder"),
    ]:
        model = deepcopy(fitted)
        _assert_raises(error, match, partial(model.fit, invalid))
        assert not hasattr(model, "interactions_")
        for method in (model.predict, model.recommend, model.score):
            _assert_raises(NotFittedError, "fitted", partial(method, X))
    other = _matrix(estimator, n_items=X.shape[1] + 1)
    for method in (fitted.predict, fitted.recommend, fitted.score):
        _assert_raises(ValueError, "features", partial(method, other))
    assert_array_equal(fitted.predict(X), expected)


def check_corrupt_input(estimator):
    """Check that a corrupt sparse matrix is refused with the name of the argument."""
    X = _matrix(estimator)
    model = clone(estimator).fit(X)
    before = model.predict(X)
    for corrupt in corrupt_matrices(X).values():
        _assert_raises(ValueError, "X", partial(clone(estimator).fit, corrupt))
        _assert_raises(ValueError, "X", partial(model.partial_fit, corrupt))
        _assert_raises(ValueError, "X", partial(model.predict, corrupt))
        _assert_raises(ValueError, "X", partial(model.predict_pairs, corrupt, [0], [0]))
        _assert_raises(ValueError, "users", partial(model.recommend, corrupt))
        _assert_raises(ValueError, "X", partial(model.score, corrupt))
        _assert_raises(ValueError, "X", partial(model.score, corrupt, X))
        _assert_raises(ValueError, "y", partial(model.score, X, corrupt))
        for name in ("candidates", "exclude"):
            _assert_raises(ValueError, name, partial(model.recommend, X, **{name: corrupt}))
    assert_array_equal(model.predict(X), before)


def check_score(estimator):
    """Check that `score` is a float, accepts `y` in both formats, and refuses invalid input."""
    X = _matrix(estimator, n_users=_FEW)
    model = estimator.fit(X)
    assert type(model.score(_matrix(estimator, seed=1))) is float
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
    assert all_items == 1, "with every item in the list, the held-out one must be found"
    only_candidate = score(items, metric="hr@1", candidates=items[:, None])
    assert only_candidate == 1, "a held-out item that is the only candidate must be found"
    if get_tags(model).recommender_tags.values == "rating":
        for metric in ("neg_rmse", "neg_mae"):
            assert score(held_out, metric=metric) < 0
        _assert_raises(ValueError, "1-D", partial(score, items, metric="neg_rmse"))
    else:
        _assert_raises(ValueError, "rating", partial(score, held_out, metric="neg_rmse"))
    for kwargs, match in [
        ({"metric": "auc"}, "Unknown metric"),
        ({"metric": "ndcg@0"}, "Unknown metric"),
        ({"metric": "ndcg@20", "k": 5}, "names the length"),
        ({"metric": "ndcg", "k": 0}, "k must be"),
    ]:
        _assert_raises(ValueError, match, partial(score, items, **kwargs))
    _assert_raises(ValueError, "shape", partial(score, held_out[:, :-1]))
    _assert_raises(ValueError, "one held-out item", partial(score, items[:-1]))
    _assert_raises(ValueError, "item indices", partial(score, items + n_items))


def check_rating_units(estimator):
    """Check that a rating model fitted on ``a * ratings + b`` predicts ``a * predictions + b``."""
    if get_tags(estimator).recommender_tags.values != "rating":
        return
    X, others = _matrix(estimator), _matrix(estimator, seed=1)
    model = clone(estimator).fit(X)
    expected, score = model.predict(others), model.score(others)
    low, high = X.data.min(), X.data.max()
    for a, b in [(1e-6, 0), (0.2, 0), (20, 0), (1e4, 0), (5, -14.5), (2, 1000)]:
        in_units = partial(_with_ratings, a=a, b=b)
        model = clone(estimator).fit(in_units(X))
        predicted = (model.predict(in_units(others)).astype(np.float64) - b) / a
        unit = f"a = {a:g}, b = {b:g}"
        assert_allclose(predicted, expected, rtol=0, atol=2e-3 * (high - low), err_msg=unit)
        assert_allclose(model.score(in_units(others)) / a, score, rtol=2e-3, err_msg=unit)


def _with_ratings(X, a, b):
    """Return ``a * ratings + b``."""
    return with_values(X, a * X.data.astype(np.float64) + b)


def check_partial_fit(estimator):
    """Check that the first `partial_fit` is a fit, and that exact models then add the new rows."""
    X = _matrix(estimator)
    first = clone(estimator).partial_fit(X)
    assert_array_equal(first.predict(X), clone(estimator).fit(X).predict(X))
    if get_tags(estimator).recommender_tags.exact:
        first = clone(estimator).fit(X[:25]).partial_fit(X[25:])
        assert_allclose(first.predict(X), estimator.fit(X).predict(X), **_TOLERANCE)
        assert_array_equal(first.interactions_.toarray(), X.toarray())


def check_checkerboard(estimator):
    """Check that each user's held-out item is ranked first, on two groups of users and items."""
    tags = get_tags(estimator).recommender_tags
    if not tags.personalized:
        return
    n = 50
    same_group = np.add.outer(np.arange(n), np.arange(n)) % 2 == 0
    if tags.values == "rating":
        checkerboard = np.where(same_group, 5.0, 1.0)
    elif tags.values == "order":
        checkerboard = same_group * (
            1.0 + np.random.default_rng(0).permuted(np.tile(np.arange(n), (n, 1)), axis=1)
        )
    else:
        checkerboard = same_group.astype(np.float64)
    np.fill_diagonal(checkerboard, 0)
    if tags.values == "rating":  # the held-out item must not be the only unseen one
        checkerboard[np.arange(n), (np.arange(n) + 1) % n] = 0
    model = estimator.fit(checkerboard)
    assert_array_equal(model.recommend(n=1)[:, 0], np.arange(n))
    if tags.values == "rating":
        assert model.score(checkerboard, sp.csr_array(5.0 * np.eye(n)), metric="neg_rmse") > -1


def _assert_raises(error, match, function):
    try:
        function()
    except error as raised:
        assert match in str(raised), f"the message should contain {match!r}; got: {raised}"
    else:
        raise AssertionError(f"{error.__name__} ({match!r}) was not raised")


_CHECKS = [
    check_recommend_shape_and_order,
    check_recommend_is_top_n,
    check_predict_pairs,
    check_explain,
    check_users_argument,
    check_unseen_and_empty_rows,
    check_candidates_and_exclude,
    check_blocks,
    check_permutations,
    check_containers,
    check_explicit_zeros,
    check_persistence,
    check_reproducible,
    check_input_unmodified,
    check_failing_fit,
    check_corrupt_input,
    check_score,
    check_rating_units,
    check_partial_fit,
    check_checkerboard,
]


def recommender_checks(estimator):
    """Return the checks of `check_recommender`, to run them one by one.

    Parameters
    ----------
    estimator : estimator
        A recommender; it is cloned for each check.

    Returns
    -------
    checks : list of functools.partial
        Each runs one check when called without arguments; ``check.func.__name__`` is its name.

    See Also
    --------
    parametrize_with_checks : Make a pytest test of each check.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.utils.estimator_checks import recommender_checks
    >>> first, *others = recommender_checks(EASE())
    >>> first.func.__name__
    'check_recommend_shape_and_order'
    >>> first()
    """
    return [partial(check, _seeded(estimator)) for check in _CHECKS]


def parametrize_with_checks(estimators):
    """Parametrize a pytest test with each check of each recommender.

    Parameters
    ----------
    estimators : list of estimator
        Recommenders; they are cloned for each check, and their `random_state` is set to 0.

    Returns
    -------
    decorator : pytest.MarkDecorator
        For a test with the arguments `estimator` and `check`, which calls ``check(estimator)``.

    See Also
    --------
    sklearn.utils.estimator_checks.parametrize_with_checks : The same for scikit-learn's checks;
        pass it :func:`expected_failed_checks`.

    Examples
    --------
    >>> from sklearn_recsys import EASE, ItemKNN
    >>> from sklearn_recsys.utils.estimator_checks import parametrize_with_checks
    >>> @parametrize_with_checks([EASE(l2=10), ItemKNN()])
    ... def test_contract(estimator, check):
    ...     check(estimator)
    """
    import pytest

    return pytest.mark.parametrize(
        ("estimator", "check"),
        [
            pytest.param(estimator, partial(_run, check), id=f"{estimator!r}-{check.__name__}")
            for estimator in estimators
            for check in _CHECKS
        ],
    )


def _run(check, estimator):
    check(_seeded(estimator))


def check_recommender(estimator):
    """Check that a recommender follows the contract.

    Parameters
    ----------
    estimator : estimator
        A recommender, that is, a :class:`~sklearn_recsys.base.RecommenderMixin`; parameters called
        `random_state` are set to 0.

    Raises
    ------
    AssertionError
        At the first check that fails.

    See Also
    --------
    parametrize_with_checks : Make a pytest test of each check.
    sklearn.utils.estimator_checks.check_estimator : scikit-learn's own checks; see
        :func:`expected_failed_checks`.

    Examples
    --------
    >>> from sklearn_recsys import EASE
    >>> from sklearn_recsys.utils.estimator_checks import check_recommender
    >>> check_recommender(EASE())
    """
    for check in recommender_checks(estimator):
        check()
