"""Metrics beyond accuracy against their definitions, by brute force and by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.sparse as sp

from sklearn_recsys.metrics import (
    coverage_at_k,
    gini_at_k,
    intra_list_diversity_at_k,
    novelty_at_k,
    popularity_bias_at_k,
)
from sklearn_recsys.metrics._beyond_accuracy import _squared_sums

CATALOG_METRICS = {"coverage": coverage_at_k, "gini": gini_at_k}
PER_ROW = {
    "novelty": novelty_at_k,
    "bias": popularity_bias_at_k,
    "diversity": intra_list_diversity_at_k,
}
catalog_metrics = pytest.mark.parametrize("metric", CATALOG_METRICS.values(), ids=CATALOG_METRICS)
per_row_metrics = pytest.mark.parametrize("metric", PER_ROW.values(), ids=PER_ROW)


def mean(values):
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def cosine(a, b):
    norms = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return sum(x * y for x, y in zip(a, b, strict=True)) / norms if norms else 0.0


def random_case(rng):
    """Return (X, y_pred, features, k): empty rows, empty lists, -1 anywhere, k beyond the width."""
    n_users, n_items, n_features = rng.integers(2, 9), rng.integers(2, 15), rng.integers(1, 6)
    X = (rng.random((n_users, n_items)) < 0.3) * rng.integers(1, 6, (n_users, n_items))
    X[rng.random(n_users) < 0.2] = 0
    y_pred = np.argsort(rng.random((n_users, n_items)), axis=1)
    y_pred = y_pred[:, : rng.integers(2, n_items + 1)]
    y_pred[rng.random(y_pred.shape) < rng.choice([0.0, 0.4])] = -1
    y_pred[0, :2], X[0, 0] = [0, 1], 1  # one row that every metric can value
    features = rng.normal(size=(n_items, n_features)) * (rng.random((n_items, n_features)) < 0.6)
    return X, y_pred, features, int(rng.integers(2, 18))


def without_repeats(y_pred):
    """Replace the repeats of an item in its row by empty slots."""
    for row in y_pred:
        seen = set()
        for slot, item in enumerate(row):
            if item in seen:
                row[slot] = -1
            seen.add(item)
    return y_pred


@pytest.mark.parametrize("seed", range(200))
def test_equal_to_the_definitions(seed):
    X, y_pred, features, k = random_case(np.random.default_rng(seed))
    y_pred = without_repeats(y_pred)
    n_users, n_items = X.shape
    lists = [[item for item in row[:k] if item >= 0] for row in y_pred.tolist()]
    popularity = [sum(X[user, item] != 0 for user in range(n_users)) for item in range(n_items)]
    exposure = [sum(item in items for items in lists) for item in range(n_items)]

    assert coverage_at_k(y_pred, n_items, k) == pytest.approx(mean(c > 0 for c in exposure))
    # the other definition of Gini: half the relative mean absolute difference
    differences = mean(abs(a - b) for a in exposure for b in exposure)
    expected = differences / (2 * mean(exposure))
    assert gini_at_k(y_pred, n_items, k) == pytest.approx(expected, abs=1e-9)

    information = [-math.log2((c + 1) / (n_users + 1)) for c in popularity]
    histories = [np.flatnonzero(row).tolist() for row in X]
    expected = {
        "novelty": [mean(information[i] for i in items) for items in lists],
        "bias": [
            mean(popularity[i] for i in items) / mean(popularity[i] for i in history)
            for items, history in zip(lists, histories, strict=True)
        ],
        "diversity": [
            mean(1 - cosine(features[i], features[j]) for i, j in itertools.combinations(items, 2))
            for items in lists
        ],
    }
    for name, metric in PER_ROW.items():
        side = features if name == "diversity" else X
        for container in (np.asarray, sp.csr_array, sp.csc_matrix):
            values = metric(y_pred, container(side), k, average=None)
            assert values.dtype == np.float64
            np.testing.assert_allclose(values, expected[name], rtol=0, atol=1e-9, err_msg=name)
            average = metric(y_pred, container(side), k)
            assert type(average) is float
            assert average == pytest.approx(np.nanmean(expected[name]), abs=1e-9)


def test_coverage_by_hand():
    assert coverage_at_k([[0, 1], [2, 3]], n_items=4) == 1.0
    assert coverage_at_k([[0, 1], [2, 3]], n_items=4, k=1) == 0.5
    assert coverage_at_k([[3, -1], [3, -1]], n_items=4) == 0.25
    assert coverage_at_k([[-1], [-1]], n_items=4) == 0.0  # an empty slot is not item 0


def test_gini_extremes():
    assert gini_at_k(np.arange(12).reshape(6, 2), n_items=12) == 0.0
    assert gini_at_k([[7]] * 30, n_items=10) == pytest.approx(1 - 1 / 10)
    assert gini_at_k([[0]] * 30, n_items=10**6) == pytest.approx(1 - 1e-6)
    assert gini_at_k([[0], [0]], n_items=1) == 0.0
    # exposures 0, 1, 3: (-2 * 0 + 0 * 1 + 2 * 3) / (3 * 4)
    assert gini_at_k([[0, 1], [0, -1], [0, -1]], n_items=3) == pytest.approx(0.5)


def test_gini_of_nothing_is_an_error():
    with pytest.raises(ValueError, match="recommends nothing"):
        gini_at_k([[-1, -1]], n_items=3)


def test_novelty_by_hand():
    X = sp.csr_array([[1, 5, 0], [2, 0, 0], [9, 0, 0]])  # 3, 1 and 0 of 3 users
    np.testing.assert_allclose(
        novelty_at_k([[0], [1], [2], [-1]], X, average=None), [0.0, 1.0, 2.0, np.nan]
    )
    assert novelty_at_k([[2, 0], [1, -1]], X) == pytest.approx(1.0)
    assert novelty_at_k([[-1, 2]], X) == 2.0  # an empty slot has no novelty of its own


def test_popularity_bias_by_hand():
    X = sp.csr_array([[7, 1, 0], [7, 0, 0], [7, 0, 1], [0, 0, 0]])  # popularity 3, 1, 1
    y_pred = [[2, -1], [1, 2], [0, -1], [0, 1]]
    values = popularity_bias_at_k(y_pred, X, average=None)
    np.testing.assert_allclose(values, [1 / 2, 1 / 3, 3 / 2, np.nan])
    assert popularity_bias_at_k(y_pred, X) == pytest.approx(np.mean([1 / 2, 1 / 3, 3 / 2]))


def test_a_history_without_popularity_has_no_bias():
    """Items that no training user has make a ratio with a zero below: it is not defined."""
    X = np.array([[0, 1, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]])
    train = [[1, 0, 0], [1, 0, 0]]
    y_pred = [[0], [1], [0], [0]]
    values = popularity_bias_at_k(y_pred, X, 1, X_train=train, average=None)
    np.testing.assert_array_equal(values, [np.nan, np.nan, 2, np.nan])
    assert popularity_bias_at_k(y_pred, X, 1, X_train=train) == 2
    with pytest.raises(ValueError, match="a history of items with training users"):
        popularity_bias_at_k([[0], [1]], [[0, 1], [0, 1]], 1, X_train=[[1, 0]])
    assert popularity_bias_at_k([[1]], [[1, 0]], 1, X_train=[[1, 0]]) == 0


@pytest.mark.parametrize("average", ["mean", None])
def test_nothing_to_divide_by(average):
    """No metric divides by zero in public: it has a value, NaN for a row, or a clear error."""
    empty = np.zeros((2, 3))
    np.testing.assert_allclose(novelty_at_k([[0], [2]], empty, average=average), np.log2(3))
    assert novelty_at_k([[0]], np.zeros((0, 3))) == 0
    for call in (
        lambda: novelty_at_k(np.empty((0, 2), dtype=int), empty, average=average),
        lambda: novelty_at_k(np.empty((2, 0), dtype=int), empty, average=average),
        lambda: popularity_bias_at_k([[0], [1]], empty, average=average),
        lambda: popularity_bias_at_k(np.empty((0, 2), dtype=int), empty[:0], average=average),
        lambda: intra_list_diversity_at_k(np.empty((0, 2), dtype=int), empty, average=average),
        lambda: intra_list_diversity_at_k(np.empty((2, 0), dtype=int), empty, average=average),
        lambda: gini_at_k(np.empty((0, 2), dtype=int), 3),
    ):
        with pytest.raises(ValueError, match="y_pred"):
            call()
    assert coverage_at_k(np.empty((0, 2), dtype=int), 3) == 0
    assert intra_list_diversity_at_k([[0, 1]], empty) == 1  # items without features
    assert intra_list_diversity_at_k([[0, 1]], sp.csr_array(empty)) == 1


def test_recommending_the_own_history_is_no_bias():
    X = np.random.default_rng(0).random((50, 8)) < 0.4
    y_pred = np.where(X, np.arange(8), -1)
    values = popularity_bias_at_k(y_pred, X, average=None)
    np.testing.assert_allclose(values[X.any(axis=1)], 1.0, rtol=0, atol=1e-12)


def test_diversity_by_hand():
    features = np.array([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [0.0, 0.0]])
    y_pred = [[0, 1], [0, 2], [0, 3], [0, 4], [4, -1], [-1, -1], [0, -1]]
    expected = [0.0, 1.0, 2.0, 1.0, np.nan, np.nan, np.nan]
    for item_features in (features, features.tolist(), sp.csr_array(features)):
        values = intra_list_diversity_at_k(y_pred, item_features, average=None)
        np.testing.assert_allclose(values, expected, atol=1e-15)
    assert intra_list_diversity_at_k(y_pred, features) == pytest.approx(1.0)
    # three pairs: (0, 1) the same, the two others orthogonal
    assert intra_list_diversity_at_k([[0, 1, 2]], features) == pytest.approx(2 / 3)
    # a slot beyond k does not count
    assert intra_list_diversity_at_k([[0, 1, 2]], features, k=2) == pytest.approx(0.0)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_diversity_does_not_depend_on_the_scale(container):
    rng = np.random.default_rng(3)
    features = rng.normal(size=(20, 5)) * (rng.random((20, 5)) < 0.7)
    y_pred = np.argsort(rng.random((10, 20)), axis=1)[:, :6]
    expected = intra_list_diversity_at_k(y_pred, container(features), average=None)
    for scale in (1e-300, 1e-170, 1e-25, 1e20, 1e200, 10.0 ** rng.uniform(-300, 300, (20, 1))):
        values = intra_list_diversity_at_k(y_pred, container(features * scale), average=None)
        np.testing.assert_allclose(values, expected, rtol=1e-9)


def test_identical_items_have_a_diversity_of_zero_and_not_less():
    rng = np.random.default_rng(1)
    features = np.tile(rng.normal(size=7), (40, 1)) * rng.random((40, 1))
    values = intra_list_diversity_at_k(np.arange(40).reshape(4, 10), features, average=None)
    assert (values >= 0).all()
    np.testing.assert_allclose(values, 0, atol=1e-12)


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_diversity_does_not_depend_on_the_blocks(container):
    rng = np.random.default_rng(2)
    features = container(rng.random((60, 12)) * (rng.random((60, 12)) < 0.4))
    y_pred = np.argsort(rng.random((90, 60)), axis=1)[:, :8]
    y_pred[rng.random(y_pred.shape) < 0.5] = -1
    y_pred[[0, 40, 89]] = -1
    dense = sp.csr_array(features).toarray()
    n_values = np.count_nonzero(dense, axis=1)
    expected = [np.sum(dense[items[items >= 0]].sum(axis=0) ** 2) for items in y_pred]
    for budget in (1, 7, 100, 10**6):
        squares = _squared_sums(y_pred, features, n_values, budget)
        np.testing.assert_allclose(squares, expected, rtol=1e-12, atol=1e-12)


def test_diversity_of_features_with_duplicate_entries():
    """scipy reads duplicates as their sum; so does the cosine."""
    rows, columns, values = np.array([0, 0, 1, 1]), np.array([0, 0, 0, 1]), np.array([1.0, 2, 1, 1])
    coo = sp.coo_array((values, (rows, columns)), shape=(2, 2))  # [[3, 0], [1, 1]]
    csr = sp.csr_array((values, columns, np.array([0, 2, 4])), shape=(2, 2))
    for item_features in (coo, csr):
        diversity = intra_list_diversity_at_k([[0, 1]], item_features)
        assert diversity == pytest.approx(1 - math.sqrt(0.5))


def test_permuting_rows_changes_no_value():
    rng = np.random.default_rng(5)
    X = sp.csr_array(rng.random((120, 30)) < 0.1)
    y_pred = np.argsort(rng.random((120, 30)), axis=1)[:, :6]
    y_pred[rng.random(y_pred.shape) < 0.5] = -1
    features = rng.normal(size=(30, 4))
    order = rng.permutation(120)
    for metric in CATALOG_METRICS.values():
        assert metric(y_pred[order], 30) == metric(y_pred, 30)
    for metric, side, permuted in (
        (novelty_at_k, X, X),
        (popularity_bias_at_k, X, X[order]),
        (intra_list_diversity_at_k, features, features),
    ):
        values = metric(y_pred, side, average=None)
        np.testing.assert_allclose(
            metric(y_pred[order], permuted, average=None), values[order], rtol=0, atol=1e-12
        )


def test_order_within_the_list_does_not_matter():
    rng = np.random.default_rng(6)
    X = sp.csr_array(rng.random((40, 30)) < 0.2)
    y_pred = np.argsort(rng.random((40, 30)), axis=1)[:, :6]
    for metric in (novelty_at_k, popularity_bias_at_k):
        assert metric(y_pred[:, ::-1], X) == pytest.approx(metric(y_pred, X), abs=1e-12)
    features = rng.random((30, 4))
    assert intra_list_diversity_at_k(y_pred[:, ::-1], features) == pytest.approx(
        intra_list_diversity_at_k(y_pred, features), abs=1e-12
    )


@catalog_metrics
def test_bad_catalog(metric):
    with pytest.raises(ValueError, match="item id 4, but the catalog has 4 items"):
        metric([[4, 0]], 4)
    with pytest.raises(ValueError, match="n_items must be at least 1"):
        metric([[0]], 0)
    for n_items in (4.0, None, True):
        with pytest.raises(TypeError, match="n_items must be an integer"):
            metric([[0]], n_items)


@per_row_metrics
def test_bad_input(metric):
    side = np.eye(3)
    y_pred = np.array([[0, 1], [1, 2], [2, 0]])
    assert metric(y_pred, side) >= 0
    with pytest.raises(ValueError, match="item id 3, but (X|item_features) has 3 items"):
        metric(y_pred + 1, side)
    with pytest.raises(ValueError, match="average must be 'mean' or None"):
        metric(y_pred, side, average="macro")
    with pytest.raises(ValueError, match="k must be at least 1"):
        metric(y_pred, side, k=0)
    with pytest.raises(ValueError, match="Row 2 of y_pred lists item 1 more than once"):
        metric([[0, 1], [-1, -1], [1, 1]], side)
    with pytest.raises(ValueError, match="contains NaN"):
        metric(y_pred, np.where(side, np.nan, 0))
    for average in ("mean", None):
        with pytest.raises(ValueError, match="y_pred"):
            metric(np.full((3, 2), -1), side, average=average)


def test_rows_of_bias_are_the_rows_of_the_history():
    with pytest.raises(ValueError, match="2 rows in y_pred and 3 in X"):
        popularity_bias_at_k([[0], [1]], np.eye(3))
    with pytest.raises(ValueError, match="No row has both a history of items with training users"):
        popularity_bias_at_k([[0], [-1]], np.array([[0, 0], [1, 0]]))
    assert novelty_at_k([[0], [1]], np.eye(3)) == pytest.approx(1.0)  # any rows will do


def test_input_is_not_written_to():
    X = sp.csr_array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0]])
    y_pred = np.array([[0, 1], [2, 1]])
    for array in (X.data, X.indices, X.indptr, y_pred):
        array.flags.writeable = False
    assert novelty_at_k(y_pred, X) > 0
    assert popularity_bias_at_k(y_pred, X) > 0
    assert intra_list_diversity_at_k(y_pred, sp.csr_array(X.T)) > 0
