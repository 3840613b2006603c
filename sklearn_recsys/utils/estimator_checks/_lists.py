"""Checks of the lists that `recommend` returns: their order, their users, their items."""

from __future__ import annotations

from functools import partial

import numpy as np
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.utils import get_tags

from sklearn_recsys.utils._cells import item_counts
from sklearn_recsys.utils.estimator_checks._tools import assert_raises, make_matrix


def _assert_ranked(ids, scores, by_score):
    """Assert the order of the lists: best first, ties by index, empty slots last."""
    filled = ids >= 0
    assert np.all(filled[:, :-1] >= filled[:, 1:]), "an empty slot comes before an item"
    assert np.all(np.isneginf(scores[~filled])), "an empty slot has a score above -inf"
    assert np.all(np.isfinite(scores[filled])), "a recommended item has no finite score"
    if not by_score:
        return
    pairs = filled[:, 1:]
    descending = scores[:, :-1] > scores[:, 1:]
    tied = (scores[:, :-1] == scores[:, 1:]) & (ids[:, :-1] < ids[:, 1:])
    assert np.all((descending | tied)[pairs]), "items are not in descending order, ties by index"


def check_recommend_shape_and_order(estimator):
    """Check that lists have width n, distinct unseen ids, and −1 in empty slots."""
    X = make_matrix(estimator)
    n_items = X.shape[1]
    by_score = get_tags(estimator).recommender_tags.ranks_by_score
    model = estimator.fit(X)
    for n in (1, 5, n_items, n_items + 7):
        ids, scores = model.recommend(n=n, return_scores=True)
        assert ids.shape == scores.shape == (X.shape[0], n)
        assert ids.dtype == np.int64
        _assert_ranked(ids, scores, by_score)
        for row, items in enumerate(ids):
            items = items[items >= 0]
            assert len(set(items)) == len(items), "an item is recommended more than once"
            assert not set(items) & set(X[[row]].indices), "a seen item is recommended"
    if not by_score:
        return
    n_unseen = n_items - np.diff(X.indptr)
    assert_array_equal((model.recommend(n=n_items) >= 0).sum(axis=1), n_unseen)
    assert np.all(model.recommend(n=n_items, exclude_seen=False) >= 0)


def check_recommend_is_top_n(estimator):
    """Check that `recommend` is the stable top-n of the scores, and `predict` has their order."""
    X = make_matrix(estimator)
    model = estimator.fit(X)
    histories = make_matrix(estimator, seed=1)
    predicted = model.predict(histories)
    assert predicted.shape == histories.shape
    assert predicted.dtype == np.float32
    if not get_tags(estimator).recommender_tags.ranks_by_score:
        return
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


def check_users_argument(estimator):
    """Check that all ways to specify training rows give the same recommendations."""
    X = make_matrix(estimator)
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
        assert_raises(ValueError, match, partial(model.recommend, invalid))
    for n in (0, -1, 2.5):
        assert_raises(ValueError, "n must be", partial(model.recommend, n=n))


def check_unseen_and_empty_rows(estimator):
    """Check that new users get finite scores, and empty histories non-personalized ones."""
    X = make_matrix(estimator)
    model = estimator.fit(X)
    assert np.all(np.isfinite(model.predict(make_matrix(estimator, seed=1))))
    empty = sp.csr_array((2, X.shape[1]), dtype=np.float32)
    ids = model.recommend(empty, X.shape[1])
    assert_array_equal(ids[0], ids[1])
    tags = get_tags(model).recommender_tags
    if not tags.ranks_by_score:
        return
    assert_array_equal(np.sort(ids[0]), np.arange(X.shape[1]))
    if tags.personalized and tags.values != "rating":
        popularity = item_counts(X)
        assert_array_equal(ids[0], np.argsort(-popularity, kind="stable"))


def check_candidates_and_exclude(estimator):
    """Check that `candidates` and `exclude`, in every format, mask the full ranking."""
    X = make_matrix(estimator)
    n_users, n_items = X.shape
    model = estimator.fit(X)
    by_score = get_tags(estimator).recommender_tags.ranks_by_score
    full = np.where(X.toarray() == 0, np.arange(n_items), -1)  # what is unseen, in any order
    if by_score:
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
                if not by_score:
                    assert np.all(np.isin(row_ids, np.append(expected, -1))), name
                    continue
                assert_array_equal(row_ids[: len(expected)], expected, err_msg=name)
                assert np.all(row_ids[len(expected) :] == -1)
    for name in ("candidates", "exclude"):
        assert_raises(ValueError, name, partial(model.recommend, **{name: [n_items]}))
        assert_raises(ValueError, name, partial(model.recommend, **{name: table[1:]}))
