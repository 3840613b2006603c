"""Ranking metrics against their definitions, scikit-learn, and hand-computed cases."""

from __future__ import annotations

import inspect
import math

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import label_ranking_average_precision_score, ndcg_score

from sklearn_recsys.metrics import (
    hr_at_k,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    precision_at_k,
    recall_at_k,
)
from sklearn_recsys.metrics._hits import BLOCK_SLOTS, padded_hits
from sklearn_recsys.metrics._per_row import PER_ROW

METRICS = {
    "hr": hr_at_k,
    "ndcg": ndcg_at_k,
    "recall": recall_at_k,
    "precision": precision_at_k,
    "map": map_at_k,
    "mrr": mrr_at_k,
}
all_metrics = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def recall_truncated(*args, **kwargs):
    return recall_at_k(*args, truncated=True, **kwargs)


def brute_force(held_out, ranked, k):
    """Return each metric of one row by its definition; `ranked` may hold -1."""
    top = (list(ranked) + [-1] * k)[:k]
    hit = [item >= 0 and item in held_out for item in top]
    n = len(held_out)
    ideal = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, n) + 1))
    ranks = [rank for rank in range(1, k + 1) if hit[rank - 1]]
    return {
        "hr": float(any(hit)),
        "recall": sum(hit) / n,
        "recall_truncated": sum(hit) / min(k, n),
        "precision": sum(hit) / k,
        "ndcg": sum(1 / math.log2(rank + 1) for rank in ranks) / ideal,
        "map": sum(sum(hit[:rank]) / rank for rank in ranks) / min(k, n),
        "mrr": 1 / ranks[0] if ranks else 0.0,
    }


def random_case(rng):
    """Return (y_true, y_pred, k): empty rows, short lists, -1 anywhere, k beyond the width."""
    n_rows, n_items = rng.integers(1, 9), rng.integers(1, 15)
    y_true = rng.random((n_rows, n_items)) < rng.choice([0.1, 0.3, 0.8])
    y_true[rng.random(n_rows) < 0.2] = False
    y_true[0, rng.integers(n_items)] = True
    y_pred = np.argsort(rng.random((n_rows, n_items)), axis=1)[:, : rng.integers(0, n_items + 1)]
    y_pred[rng.random(y_pred.shape) < rng.choice([0.0, 0.3, 1.0], p=[0.4, 0.5, 0.1])] = -1
    return y_true, y_pred, int(rng.integers(1, 18))


@pytest.mark.parametrize("seed", range(300))
def test_equal_to_the_definitions(seed):
    rng = np.random.default_rng(seed)
    y_true, y_pred, k = random_case(rng)
    values = y_true * rng.choice([0.5, 3.0, -1.0], size=y_true.shape)  # relevance stays binary
    expected = [
        brute_force(set(np.flatnonzero(held).tolist()), ranked.tolist(), k) if held.any() else None
        for held, ranked in zip(y_true, y_pred, strict=True)
    ]
    for name, metric in (METRICS | {"recall_truncated": recall_truncated}).items():
        per_row = metric(sp.csr_array(values), y_pred, k, average=None)
        wanted = np.array([np.nan if row is None else row[name] for row in expected])
        assert per_row.dtype == np.float64
        np.testing.assert_allclose(per_row, wanted, rtol=0, atol=1e-9, err_msg=name)
        mean = metric(sp.csr_array(values), y_pred, k)
        assert type(mean) is float
        assert mean == pytest.approx(np.nanmean(wanted), abs=1e-9), name


@pytest.mark.parametrize("seed", range(100))
def test_equal_to_sklearn_on_complete_rankings(seed):
    rng = np.random.default_rng(1000 + seed)
    n_rows, n_items = rng.integers(1, 9), rng.integers(2, 15)
    y_true = rng.random((n_rows, n_items)) < 0.3
    y_true[np.arange(n_rows), rng.integers(0, n_items, n_rows)] = True
    y_pred = np.argsort(rng.random((n_rows, n_items)), axis=1)
    scores = np.empty((n_rows, n_items))
    np.put_along_axis(scores, y_pred, np.arange(n_items, 0.0, -1)[np.newaxis], axis=1)
    k = int(rng.integers(1, n_items + 3))
    expected = ndcg_score(y_true.astype(float), scores, k=k, ignore_ties=True)
    assert ndcg_at_k(y_true, y_pred, k) == pytest.approx(expected, abs=1e-9)
    expected = label_ranking_average_precision_score(y_true, scores)
    assert map_at_k(y_true, y_pred, n_items) == pytest.approx(expected, abs=1e-9)
    one = rng.integers(0, n_items, n_rows)
    expected = label_ranking_average_precision_score(np.eye(n_items)[one], scores)
    assert mrr_at_k(one, y_pred, n_items) == pytest.approx(expected, abs=1e-9)


def test_ndcg_equals_sklearn_on_truncated_lists():
    """A list of k items is a complete ranking whose tail, beyond k, does not matter."""
    rng = np.random.default_rng(0)
    y_true = rng.random((50, 30)) < 0.2
    y_true[:, 0] = True
    order = np.argsort(rng.random((50, 30)), axis=1)
    scores = np.empty((50, 30))
    np.put_along_axis(scores, order, np.arange(30, 0.0, -1)[np.newaxis], axis=1)
    expected = ndcg_score(y_true.astype(float), scores, k=10, ignore_ties=True)
    assert ndcg_at_k(y_true, order[:, :10], 10) == pytest.approx(expected, abs=1e-9)


def test_hand_computed():
    y_true = sp.csr_array([[1, 0, 1, 0, 1, 0]])  # items 0, 2 and 4
    y_pred = [[2, 1, 4, -1]]  # hits at ranks 1 and 3
    dcg = 1 + 1 / 2  # log2(2) = 1, log2(4) = 2
    assert hr_at_k(y_true, y_pred, 4) == 1.0
    assert recall_at_k(y_true, y_pred, 4) == pytest.approx(2 / 3)
    assert precision_at_k(y_true, y_pred, 4) == pytest.approx(2 / 4)
    assert ndcg_at_k(y_true, y_pred, 4) == pytest.approx(dcg / (1 + 1 / math.log2(3) + 1 / 2))
    assert map_at_k(y_true, y_pred, 4) == pytest.approx((1 + 2 / 3) / 3)
    assert mrr_at_k(y_true, y_pred, 4) == 1.0
    # k = 2 cuts the list and the ideal list, but not recall's denominator
    assert recall_at_k(y_true, y_pred, 2) == pytest.approx(1 / 3)
    assert recall_at_k(y_true, y_pred, 2, truncated=True) == pytest.approx(1 / 2)
    assert precision_at_k(y_true, y_pred, 2) == pytest.approx(1 / 2)
    assert ndcg_at_k(y_true, y_pred, 2) == pytest.approx(1 / (1 + 1 / math.log2(3)))
    assert map_at_k(y_true, y_pred, 2) == pytest.approx(1 / 2)


@all_metrics
def test_an_empty_slot_is_a_miss_and_never_item_0(metric):
    only_item_0 = sp.csr_array([[1, 0, 0]])
    assert metric(only_item_0, [[-1, -1]], 2) == 0.0
    assert metric([0], [[-1, -1]], 2) == 0.0
    assert metric(only_item_0, [[-1, 0]], 2) > 0.0
    # nor the last item of the row above
    assert metric(sp.csr_array([[0, 0, 1], [1, 0, 0]]), [[-1, 0], [-1, 1]], 2) == 0.0


def test_an_empty_slot_keeps_its_rank():
    assert mrr_at_k([4], [[-1, -1, 4]], 3) == pytest.approx(1 / 3)
    assert ndcg_at_k([4], [[-1, -1, 4]], 3) == pytest.approx(1 / 2)


@all_metrics
def test_perfect_and_hopeless_lists(metric):
    y_true = np.zeros((3, 9))
    y_true[:, :4] = 1
    best = np.tile(np.arange(4), (3, 1))
    assert metric(y_true, best, 4) == 1.0
    assert metric(y_true, best + 4, 4) == 0.0


def test_k_above_the_width_counts_empty_slots():
    y_true = sp.csr_array([[1, 0, 1, 0], [0, 1, 0, 0]])
    y_pred = np.array([[2, 3], [0, 1]])
    padded = np.pad(y_pred, ((0, 0), (0, 5)), constant_values=-1)
    for metric in (*METRICS.values(), recall_truncated):
        assert metric(y_true, y_pred, 7) == metric(y_true, padded, 7)
    assert precision_at_k(y_true, y_pred, 10**12) == pytest.approx(1e-12)
    assert recall_at_k(y_true, y_pred, 10**12) == pytest.approx(0.75)
    assert ndcg_at_k(y_true, y_pred, 10**12) == ndcg_at_k(y_true, y_pred, 4)


@all_metrics
def test_only_the_first_k_columns_are_read(metric):
    y_true = np.array([[0, 1, 0, 1]])
    assert metric(y_true, [[0, 1, 3, 2]], 2) == metric(y_true, [[0, 1, 2, 3]], 2)


@all_metrics
def test_permuting_rows_permutes_values(metric):
    rng = np.random.default_rng(3)
    y_true = sp.csr_array(rng.random((200, 40)) < 0.1)
    y_pred = np.argsort(rng.random((200, 40)), axis=1)[:, :10]
    order = rng.permutation(200)
    values = metric(y_true, y_pred, average=None)
    assert np.isnan(values).any()
    np.testing.assert_array_equal(metric(y_true[order], y_pred[order], average=None), values[order])
    assert metric(y_true[order], y_pred[order]) == pytest.approx(metric(y_true, y_pred), abs=1e-12)


@all_metrics
def test_relabelling_items_changes_nothing(metric):
    rng = np.random.default_rng(4)
    y_true = sp.csr_array(rng.random((100, 40)) < 0.1)
    y_pred = np.argsort(rng.random((100, 40)), axis=1)[:, :10]
    new_id = rng.permutation(40)
    relabeled = y_true[:, np.argsort(new_id)]
    assert metric(relabeled, new_id[y_pred]) == metric(y_true, y_pred)


@all_metrics
def test_one_item_per_row_equals_its_matrix(metric):
    rng = np.random.default_rng(5)
    y_true = rng.integers(0, 30, 80)
    y_pred = np.argsort(rng.random((80, 30)), axis=1)[:, :12]
    y_pred[rng.random(y_pred.shape) < 0.2] = -1
    as_matrix = sp.csr_array((np.ones(80), (np.arange(80), y_true)), shape=(80, 30))
    expected = metric(as_matrix, y_pred)
    assert expected > 0
    for held_out in (
        y_true,
        y_true.tolist(),
        y_true.astype(float),
        pd.Series(y_true, index=y_true),
    ):
        assert metric(held_out, y_pred) == expected


@all_metrics
def test_containers_and_dtypes_agree(metric):
    rng = np.random.default_rng(6)
    dense = (rng.random((30, 20)) < 0.2).astype(np.int64)
    y_pred = np.argsort(rng.random((30, 20)), axis=1)
    expected = metric(sp.csr_array(dense), y_pred)
    explicit_zeros = sp.csr_array(np.ones((30, 20)))
    explicit_zeros.data[:] = dense.ravel()
    wide = sp.csr_array(dense)
    wide.indices, wide.indptr = wide.indices.astype(np.int64), wide.indptr.astype(np.int64)
    unsorted = sp.csr_array(dense[:, ::-1])
    unsorted.indices = 19 - unsorted.indices
    unsorted.has_sorted_indices = False
    for y_true in (
        dense,
        dense.astype(bool),
        pd.DataFrame(dense),
        sp.csc_matrix(dense),
        sp.coo_array(dense),
        sp.lil_matrix(dense),
        sp.csr_array(dense) * 2.5,
        explicit_zeros,
        wide,
        unsorted,
    ):
        assert metric(y_true, y_pred) == expected
    for lists in (y_pred.tolist(), y_pred.astype(np.int32), y_pred.astype(float)):
        assert metric(dense, lists) == expected
    assert metric(dense, y_pred.astype(np.uint8)) == expected


def test_blocks_do_not_show():
    """More rows than a block holds, held-out items packed at both ends of the catalog."""
    n_rows, k = 3 * BLOCK_SLOTS // 50 + 7, 50
    rng = np.random.default_rng(7)
    y_true = sp.csr_array(
        (np.ones(2 * n_rows), np.tile([0, 999], n_rows), np.arange(0, 2 * n_rows + 1, 2)),
        shape=(n_rows, 1000),
    )
    y_pred = np.tile(np.arange(100, 150), (n_rows, 1))
    found = rng.random(n_rows) < 0.5
    y_pred[found, 0] = 999
    y_pred[found, 49] = 0
    np.testing.assert_array_equal(recall_at_k(y_true, y_pred, k, average=None), found)


def test_input_is_not_written_to():
    y_true = sp.csr_array([[1.0, 0, 2.0], [0, 3.0, 0]])
    y_pred = np.array([[0, 1, 2], [2, 1, 0]])
    for array in (y_true.data, y_true.indices, y_true.indptr, y_pred):
        array.flags.writeable = False
    assert ndcg_at_k(y_true, y_pred, 3) < 1.0


def test_one_pass_serves_several_cut_offs():
    rng = np.random.default_rng(8)
    y_true = sp.csr_array(rng.random((60, 30)) < 0.1)
    y_pred = np.argsort(rng.random((60, 30)), axis=1)[:, :12]
    hits, n_relevant = padded_hits(y_true, y_pred, 20)
    assert hits.shape == (60, 20) and hits.dtype == bool
    assert n_relevant.dtype == np.int64
    assert set(PER_ROW) == set(METRICS)
    for name, metric in METRICS.items():
        for k in (1, 5, 12, 20):
            expected = metric(y_true, y_pred, k, average=None)
            np.testing.assert_array_equal(PER_ROW[name](hits, n_relevant, k), expected)
        np.testing.assert_array_equal(
            PER_ROW[name](hits, n_relevant), metric(y_true, y_pred, 20, average=None)
        )


def test_shared_parameters_are_described_in_the_same_words():
    texts = [inspect.getdoc(metric) for metric in METRICS.values()]
    assert len({text[text.index("y_true : ") : text.index("k : int")] for text in texts}) == 1
    assert len({text[text.index("k : int") : text.index("value per row.")] for text in texts}) == 1


@all_metrics
@pytest.mark.parametrize("average", ["mean", None])
def test_nothing_held_out_is_an_error(metric, average):
    for y_true in (
        sp.csr_array((2, 3)),
        np.zeros((2, 3)),
        sp.csr_array(([0.0], ([0], [1])), (2, 3)),
    ):
        with pytest.raises(ValueError, match="No row of y_true has anything held out"):
            metric(y_true, [[0, 1], [2, 0]], average=average)
    with pytest.raises(ValueError, match="No row of y_true has anything held out"):
        metric(np.empty(0, dtype=int), np.empty((0, 3), dtype=int), average=average)


@all_metrics
@pytest.mark.parametrize(
    ("y_pred", "message"),
    [
        ([[0, 1], [2, 2]], "Row 1 of y_pred lists item 2 more than once"),
        ([[0, 1], [0, 3]], "item id 3, but y_true has 3 items"),
        ([[0, 1], [0, -2]], "or -1 for an empty slot; got -2"),
        ([0, 1], "y_pred.reshape"),
        ([[[0]], [[1]]], r"got shape \(2, 1, 1\)"),
        ([[0.5, 0.1], [0.3, 0.2]], "dtype float64. Rank scores first"),
        ([[0, np.nan], [0, 1]], "dtype float64"),
        ([["a", "b"], ["c", "d"]], "and encode raw ids"),
        ([[True, False], [False, True]], "dtype bool"),
        ([[0, 1]], "2 rows in y_true and 1 in y_pred"),
        ([[0, 1]] * 3, "2 rows in y_true and 3 in y_pred"),
    ],
)
def test_bad_lists(metric, y_pred, message):
    with pytest.raises(ValueError, match=message):
        metric(np.array([[0, 1, 0], [1, 0, 1]]), y_pred, k=2)


@all_metrics
def test_repeated_empty_slots_are_no_duplicates_but_a_repeat_beyond_one_is(metric):
    assert metric([1, 1], [[-1, 1, -1, -1], [-1, -1, -1, -1]], 4) > 0
    with pytest.raises(ValueError, match="Row 0 of y_pred lists item 1 more than once"):
        metric([1], [[1, -1, 0, 1]], 4)


def test_a_repeat_is_found_in_a_late_block():
    y_pred = np.tile(np.arange(50), (BLOCK_SLOTS // 25, 1))
    y_pred[-2, 30] = 7
    with pytest.raises(ValueError, match=f"Row {len(y_pred) - 2} of y_pred lists item 7 more than"):
        hr_at_k(np.zeros(len(y_pred), dtype=int), y_pred, k=50)


@all_metrics
@pytest.mark.parametrize(
    ("y_true", "message"),
    [
        ([0, -1], "y_true must hold item indices in 0"),
        ([0.5, 1.0], "y_true must hold integers"),
        ([0, 1, 2], "3 rows in y_true and 2 in y_pred"),
        ([[0.0, np.nan], [1.0, 0.0]], "y_true contains NaN"),
        (pd.DataFrame({"user": [0, 1], "item": [1, 0]}), "frame of events"),
    ],
)
def test_bad_held_out_items(metric, y_true, message):
    with pytest.raises(ValueError, match=message):
        metric(y_true, [[0, 1], [1, 0]], k=2)


@all_metrics
def test_bad_parameters(metric):
    for k in (0, -3):
        with pytest.raises(ValueError, match=f"k must be at least 1; got {k}"):
            metric([0], [[0]], k=k)
    for k in (1.5, "10", None, True):
        with pytest.raises(TypeError, match="k must be an integer"):
            metric([0], [[0]], k=k)
    for average in ("macro", False, np.array(["mean", "mean"])):
        with pytest.raises(ValueError, match="average must be 'mean' or None"):
            metric([0], [[0]], average=average)
    with pytest.raises(TypeError, match="dense array of ranked item ids"):
        metric([0], sp.csr_array([[0, 1]]))


# ------------------------------------------------------------------------------- graded gains


@pytest.mark.parametrize("k", [1, 3, 10, 40])
def test_linear_gains_are_those_of_sklearn(k):
    rng = np.random.default_rng(k)
    relevance = rng.integers(1, 6, (30, 20)) * (rng.random((30, 20)) < 0.4)
    relevance[:, 0] += relevance.sum(axis=1) == 0
    scores = rng.random((30, 20))  # no ties
    ranked = np.argsort(-scores, axis=1)
    expected = ndcg_score(relevance, scores, k=k, ignore_ties=True)
    for container in (np.asarray, sp.csr_array, sp.coo_matrix):
        values = ndcg_at_k(container(relevance), ranked, k, gains="linear")
        assert values == pytest.approx(expected, abs=1e-12)
    expected = ndcg_score(2.0**relevance - 1, scores, k=k, ignore_ties=True)
    assert ndcg_at_k(relevance, ranked, k, gains="exponential") == pytest.approx(expected)


def test_graded_gains_by_hand():
    ratings = np.array([[5.0, 1, 0, 3], [0, 2, 0, 0], [0, 0, 0, 0]])
    ranked = [[1, 2, 0], [-1, 1, -1], [0, 1, 2]]
    discounts = 1 / np.log2([2, 3, 4])
    linear = (1 * discounts[0] + 5 * discounts[2]) / ([5, 3, 1] @ discounts)
    values = ndcg_at_k(ratings, ranked, 3, gains="linear", average=None)
    np.testing.assert_allclose(values, [linear, discounts[1], np.nan])
    exponential = (1 * discounts[0] + 31 * discounts[2]) / ([31, 7, 1] @ discounts)
    values = ndcg_at_k(ratings, ranked, 3, gains="exponential", average=None)
    np.testing.assert_allclose(values, [exponential, discounts[1], np.nan])
    # the best two of three are the ideal at k = 2
    values = ndcg_at_k(ratings, ranked, 2, gains="linear", average=None)
    assert values[0] == pytest.approx(1 / ([5, 3] @ discounts[:2]))
    assert ndcg_at_k(ratings, ranked, 50, gains="linear") == pytest.approx(
        (linear + discounts[1]) / 2
    )


@pytest.mark.parametrize("gains", ["linear", "exponential"])
def test_gains_of_one_are_binary_gains(gains):
    rng = np.random.default_rng(0)
    y_true = (rng.random((50, 30)) < 0.1).astype(float)
    ranked = np.argsort(rng.random((50, 30)), axis=1)[:, :12]
    ranked[rng.random(ranked.shape) < 0.2] = -1
    for k in (1, 5, 20):
        expected = ndcg_at_k(y_true, ranked, k, average=None)
        values = ndcg_at_k(y_true, ranked, k, gains=gains, average=None)
        np.testing.assert_allclose(values, expected, atol=1e-12)
    items = rng.integers(0, 30, 50)
    assert ndcg_at_k(items, ranked, gains=gains) == pytest.approx(ndcg_at_k(items, ranked))


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1e30, 1e300])
def test_linear_gains_have_no_unit(scale):
    ratings = np.array([[5.0, 1, 0, 3], [0, 2, 4, 0]])
    ranked = [[1, 2, 0], [-1, 1, 2]]
    expected = ndcg_at_k(ratings, ranked, gains="linear", average=None)
    values = ndcg_at_k(ratings * scale, ranked, gains="linear", average=None)
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_small_and_great_exponents():
    ratings = np.array([[1000.0, 999.0, 1e-12]])
    discounts = 1 / np.log2([2, 3])
    value = ndcg_at_k(ratings, [[1, 0]], 2, gains="exponential")
    assert value == pytest.approx(([0.5, 1] @ discounts) / ([1, 0.5] @ discounts))
    value = ndcg_at_k(ratings / 1e20, [[1, 0]], 2, gains="exponential")  # 2^r − 1 is near r ln 2
    assert value == pytest.approx(([0.999, 1] @ discounts) / ([1, 0.999] @ discounts))


def test_bad_gains():
    with pytest.raises(ValueError, match="relevance of at least 0, but y_true holds -2"):
        ndcg_at_k([[1, -2]], [[0]], gains="linear")
    with pytest.raises(ValueError, match="y_true holds 1001, more than 1000"):
        ndcg_at_k([[1, 1001]], [[0]], gains="exponential")
    with pytest.raises(ValueError, match="gains must be 'binary', 'linear' or 'exponential'"):
        ndcg_at_k([[1, 2]], [[0]], gains="graded")
    with pytest.raises(ValueError, match="at least one positive cell"):
        ndcg_at_k([[0, 0]], [[0]], gains="linear")
    with pytest.raises(ValueError, match="2 rows in y_true and 1 in y_pred"):
        ndcg_at_k(np.eye(2), [[0]], gains="linear")
    with pytest.raises(ValueError, match="item id 2, but y_true has 2 items"):
        ndcg_at_k(np.eye(2), [[0], [2]], gains="linear")
    assert ndcg_at_k([[1, -2]], [[0]]) == ndcg_at_k([[1, 2]], [[0]])  # binary gains ask for no sign
