"""Input becomes one canonical csr_array, once, and is never written to."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator

from sklearn_recsys import EASE
from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils._items import check_held_out, check_item_features, check_item_sets
from sklearn_recsys.utils.validation import check_csr, check_indices, check_interactions

DENSE = np.array([[0.0, 2, 0, 1], [0, 0, 0, 0], [3, 0, 4, 0]])

FORMATS = ["csr", "csc", "coo", "lil", "dok", "bsr", "dia"]
CONTAINERS = [
    *[pytest.param(getattr(sp, f"{name}_array"), id=f"{name}_array") for name in FORMATS],
    *[pytest.param(getattr(sp, f"{name}_matrix"), id=f"{name}_matrix") for name in FORMATS],
    pytest.param(np.asarray, id="array"),
    pytest.param(np.asfortranarray, id="fortran"),
    pytest.param(pd.DataFrame, id="frame"),
    pytest.param(lambda X: X.tolist(), id="list"),
]


def checks():
    yield "csr", lambda X, **kwargs: check_csr(X, **kwargs)
    yield "interactions", lambda X, **kw: check_interactions(BaseEstimator(), X, reset=True, **kw)


both = pytest.mark.parametrize("check", [pytest.param(c, id=name) for name, c in checks()])


def assert_canonical(X, dense=DENSE):
    assert isinstance(X, sp.csr_array)
    assert X.indices.dtype == X.indptr.dtype == np.int32
    assert X.has_sorted_indices
    assert X.has_canonical_format
    assert X.nnz == np.count_nonzero(dense)
    assert_array_equal(X.toarray(), dense)


@both
@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64, np.uint8])
def test_every_container_becomes_one(check, container, dtype):
    X = container(DENSE.astype(dtype))
    assert_canonical(check(X))


@pytest.mark.parametrize("container", CONTAINERS)
def test_interactions_are_float32(container):
    assert check_interactions(BaseEstimator(), container(DENSE), reset=True).dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int64, np.float64, np.float32, np.int32])
def test_check_csr_keeps_the_dtype(dtype):
    big = np.array([[2**33, 0], [0, 7]]) if np.dtype(dtype).itemsize == 8 else np.eye(2)
    for X in (big.astype(dtype), sp.csr_array(big.astype(dtype))):
        checked = check_csr(X)
        assert checked.dtype == dtype
        assert_array_equal(checked.toarray(), big)
    assert check_csr(np.eye(2), dtype=np.float32).dtype == np.float32


def messy(index_dtype=np.int32):
    """Return DENSE as a CSR of unsorted, doubled and zero cells."""
    indices = np.array([3, 1, 0, 1, 2, 2, 0, 2], dtype=index_dtype)
    data = np.array([1.0, 1, 0, 1, 0, 1, 3, 3], dtype=np.float32)
    return sp.csr_array((data, indices, np.array([0, 4, 5, 8], dtype=index_dtype)), shape=(3, 4))


@both
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
def test_messy_matrices_are_tidied_and_left_as_they_were(check, index_dtype):
    X = messy(index_dtype)
    before = [X.data.copy(), X.indices.copy(), X.indptr.copy()]
    assert_canonical(check(X))
    for part, old in zip((X.data, X.indices, X.indptr), before, strict=True):
        assert_array_equal(part, old)
        assert part.dtype == old.dtype


@both
@pytest.mark.parametrize("index_dtype", [np.int32, np.int64])
@pytest.mark.parametrize("make", [lambda: sp.csr_array(DENSE.astype(np.float32)), messy])
def test_read_only_input(check, make, index_dtype):
    X = make()
    X = sp.csr_array(
        (X.data, X.indices.astype(index_dtype), X.indptr.astype(index_dtype)), shape=X.shape
    )
    for part in (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    assert_canonical(check(X))


@both
def test_cells_that_cancel_are_gone(check):
    X = sp.coo_array(([2.0, -2.0, 5.0], ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    assert_canonical(check(X), np.array([[0, 0], [5, 0]]))


@both
def test_copies_share_nothing(check):
    for X in (
        sp.csr_array(DENSE.astype(np.float32)),
        sp.csr_matrix(DENSE.astype(np.float32)),
        sp.csc_array(DENSE.astype(np.float32)),
        sp.coo_array(DENSE.astype(np.float32)),
        sp.bsr_array(DENSE.astype(np.float32), blocksize=(1, 1)),
        sp.dia_array(DENSE.astype(np.float32)),
    ):
        checked = check(X, copy=True)
        names = ("data", "indices", "indptr", "row", "col")
        theirs = [part for name in names if isinstance(part := getattr(X, name, None), np.ndarray)]
        for part in (checked.data, checked.indices, checked.indptr):
            assert not any(np.shares_memory(part, other) for other in theirs), X.format


def test_an_array_in_float32_csr_form_is_not_copied_for_nothing():
    X = sp.csr_array(DENSE.astype(np.float32))
    assert np.shares_memory(check_interactions(BaseEstimator(), X, reset=True).data, X.data)


@both
@pytest.mark.parametrize(
    ("columns", "advice"),
    [
        (["user", "item", "rating"], "InteractionEncoder().fit_transform(events)"),
        (["rating", "item_id", "user_id", "items"], "InteractionEncoder('user_id', 'item_id')"),
        (["userId", "movieId", "timestamp"], "Encoder('userId', 'movieId', values=\"one\")"),
        (["user", "rating"], None),
        (["item 1", "item 2"], None),
    ],
)
def test_frames_of_events_are_told_from_matrices(check, columns, advice):
    frame = pd.DataFrame(np.ones((2, len(columns))), columns=columns)
    if advice:
        with pytest.raises(ValueError, match=re.escape(advice)) as caught:
            check(frame)
        call = re.search(r"InteractionEncoder\(.*\)\.fit_transform\(events\)", str(caught.value))
        encoded = eval(call[0], {"InteractionEncoder": InteractionEncoder, "events": frame})
        assert encoded.toarray().tolist() == [[1]]  # the advice runs as it is
    else:
        assert check(frame).shape == frame.shape


@both
@pytest.mark.parametrize(
    "X",
    [
        [[1, 5, 7], [2, 3]],
        {"ann": ["tea", "milk"], "bob": ["tea"]},
        [("ann", "tea"), ("bob", "milk")],
        pd.DataFrame({"who": ["ann", "bob"], "what": ["tea", "milk"]}),
    ],
)
def test_what_holds_no_numbers_is_to_be_encoded(check, X):
    with pytest.raises((TypeError, ValueError), match=r"one column per item\. Events, such as"):
        check(X)


@both
def test_the_remedy_for_nan_is_that_of_the_container(check):
    X = np.array([[np.nan, 1.0]])
    for container, remedy in (
        (np.asarray, r"numpy\.nan_to_num\(X\)"),
        (pd.DataFrame, r"X\.fillna\(0\)"),
        (sp.csr_array, "a sparse matrix without these cells"),
    ):
        with pytest.raises(ValueError, match=f"Input X contains NaN.*use {remedy}"):
            check(container(X))


def test_events_in_an_array():
    rng = np.random.default_rng(0)
    events = np.c_[rng.integers(0, 40, (200, 2)), rng.integers(1, 6, 200)]
    for array in (events, np.c_[events, 1e9 + np.arange(200)]):
        with pytest.warns(ValuesWarning, match="with InteractionEncoder; a matrix has a row per"):
            check_interactions(BaseEstimator(), array, reset=True)
    matrices = [events[:, 2:] * [[1, 0, 2]], rng.random((200, 3)), rng.integers(0, 40, (200, 5))]
    for array in (*matrices, events[:12]):
        check_interactions(BaseEstimator(), array, reset=True)


def test_values_that_are_no_order():
    ratings = np.random.default_rng(0).integers(1, 6, (100, 12))
    for X in (ratings, np.ones((100, 12))):
        with pytest.warns(ValuesWarning, match=r'X has [15] different .*\(values="position"\)'):
            check_interactions(BaseEstimator(), X, reset=True, order=True)
    days = ratings.copy()
    days[:, :6] += 10 * np.arange(6)  # with ties
    for order in (days, np.arange(1, 13) * np.ones((100, 1)), ratings[:, :4], ratings[:20]):
        check_interactions(BaseEstimator(), order, reset=True, order=True)
    estimator = BaseEstimator()
    check_interactions(estimator, days, reset=True, order=True)
    check_interactions(estimator, np.ones((100, 12)), reset=False, order=True)  # of new users


@pytest.mark.parametrize("labels", [[101, 102, 103], ["a", "b", "c"]])
def test_a_history_as_a_series_is_not_read_as_rows(labels):
    frame = pd.DataFrame(np.eye(3, dtype=int) + 1, columns=labels)
    model = EASE().fit(frame)
    with pytest.raises(ValueError, match=r"users\.to_frame\(\)\.T"):
        model.recommend(frame.loc[1])
    assert model.recommend(frame.loc[1].to_frame().T, n=1).shape == (1, 1)
    assert model.recommend(pd.Series([0, 1, 2], index=labels[::-1]), n=1).shape == (3, 1)


@pytest.mark.parametrize("rows", [0, [0, 1]])
def test_numbers_of_rows_are_no_histories(rows):
    model = EASE().fit(np.eye(3, 4))
    with pytest.raises(ValueError, match=r"(?s)2D array.*model\.interactions_\[\[0, 1\]\]"):
        model.predict(rows)
    assert model.predict(model.interactions_[[0, 1]]).shape == (2, 4)


def test_a_transposed_matrix_is_recognized_by_its_shape():
    model = EASE().fit(np.eye(3, 4))
    with pytest.raises(ValueError, match=r"the 4 items of fit\. .* is it transposed\?$"):
        model.recommend(np.ones((4, 3)))
    with pytest.raises(
        ValueError, match=r"a user, with one column for each of the 4 items of fit\.$"
    ):
        model.recommend([[1, 2]])


def test_feature_names_are_compared():
    frame = pd.DataFrame(DENSE, columns=list("abcd"))
    estimator = BaseEstimator()
    check_interactions(estimator, frame, reset=True)
    check_interactions(estimator, frame, reset=False)
    with pytest.raises(ValueError, match="feature names"):
        check_interactions(estimator, frame[list("abdc")], reset=False)
    estimator = BaseEstimator()
    check_interactions(estimator, DENSE, reset=True)
    with pytest.raises(ValueError, match="3 features, but BaseEstimator is expecting 4"):
        check_interactions(estimator, DENSE[:, :3], reset=False)


# ------------------------------------------------------------------------------------ indices


def test_check_indices():
    for indices in ([0, 3], (0, 3), np.array([0.0, 3.0]), pd.Series([0, 3]), np.uint8([0, 3])):
        checked = check_indices(indices, 4, name="items")
        assert checked.dtype == np.int64
        assert_array_equal(checked, [0, 3])
    assert check_indices([], 0, name="items").dtype == np.int64


@pytest.mark.parametrize(
    ("indices", "match"),
    [
        ([4], "items must hold item indices in 0 … 3; got values from 4 to 4"),
        ([-1, 2], "in 0 … 3; got values from -1 to 2"),
        (np.array([2**63], dtype=np.uint64), "in 0 … 3"),
        ([0.5], "items must hold integers"),
        ([np.nan], "items must hold integers"),
        ([np.inf], "items must hold"),
        ([-np.inf], "items must hold"),
        ([1e300], "items must hold"),
        (["a"], "items must hold integers"),
        ([True, False], "items must hold integers"),
        ([None], "items must hold integers"),
        ([[1, 2]], r"items must be 1-D; got an array of shape \(1, 2\)"),
        (1, "items must be 1-D"),
    ],
)
def test_wrong_indices(indices, match):
    with pytest.raises(ValueError, match=match):
        check_indices(indices, 4, name="items")


# ------------------------------------------------------------------------------------ held out


def test_check_held_out():
    y = check_held_out([2, 0, 2], (3, 4))
    assert isinstance(y, sp.csr_array)
    assert_array_equal(y.toarray(), [[0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 1, 0]])
    assert_array_equal(check_held_out(np.array([2.0, 0, 2]), (3, 4)).toarray(), y.toarray())
    for container in (np.asarray, sp.csr_array, sp.coo_matrix, pd.DataFrame):
        assert_canonical(check_held_out(container(DENSE), (3, 4)))


@pytest.mark.parametrize(
    ("y", "match"),
    [
        ([0, 1], r"one held-out item per row of X \(3\); got 2"),
        ([0, 1, 4], "item indices in 0 … 3"),
        ([0, 1, 0.5], "integers"),
        (DENSE[:, :3], r"the shape of X, \(3, 4\).*got shape \(3, 3\)"),
        (DENSE[:2], r"got shape \(2, 4\)"),
        (sp.csr_array(DENSE.T), r"got shape \(4, 3\)"),
        (np.full((3, 4), np.nan), "NaN"),
    ],
)
def test_wrong_held_out_cells(y, match):
    with pytest.raises(ValueError, match=match):
        check_held_out(y, (3, 4))


# ------------------------------------------------------------------------------------ item sets


@pytest.mark.parametrize(
    ("columns", "index", "refused"),
    [
        (["a", "b"], ["a", "b"], False),
        (["a", "b"], ["b", "a"], True),
        ([7, 3], [7, 3], False),
        ([7, 3], [3, 7], True),  # raw ids that are numbers
        ([7, 3], [0, 1], False),  # an index that says nothing
        ([0, 1], [7, 3], False),
    ],
)
def test_item_features_are_in_the_order_of_the_items(columns, index, refused):
    features = pd.DataFrame({"year": [1.0, 2.0]}, index)
    if not refused:
        check_item_features(features, 2, pd.Index(columns))
        return
    with pytest.raises(ValueError, match="must be the columns of X, in their order"):
        check_item_features(features, 2, pd.Index(columns))
    check_item_features(features.to_numpy(), 2, pd.Index(columns))


def test_check_item_sets():
    everyone = np.array([True, False, True, False])
    for items in ([0, 2], [2, 0, 2], everyone, everyone.tolist(), pd.Series([0, 2])):
        assert_array_equal(check_item_sets(items, (3, 4), name="candidates"), everyone)
    each = np.array([[0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]], dtype=bool)
    for items in (
        each,
        sp.csr_array(each),
        sp.coo_matrix(each.astype(float)),
        [[1, 1, -1], [-1, -1, -1], [3, 0, 3]],
        np.array([[1.0, -1.0], [-1.0, -1.0], [0.0, 3.0]]),
    ):
        sets = check_item_sets(items, (3, 4), name="candidates")
        assert sp.issparse(sets)
        assert_array_equal(sets.toarray().astype(bool), each)
    assert not check_item_sets([], (3, 4), name="candidates").any()


@pytest.mark.parametrize(
    ("items", "match"),
    [
        ([4], "candidates must hold item indices in 0 … 3"),
        ([[0], [1], [4]], "item indices in 0 … 3"),
        ([[0], [1], [-2]], "item indices in 0 … 3"),
        ([[0], [1]], r"a row for each of the 3 users; got shape \(2, 1\)"),
        ([True, False], "length n_items = 4; got 2"),
        (np.ones((3, 5), dtype=bool), r"\(3, 4\).*got shape \(3, 5\)"),
        (sp.csr_array((2, 4)), r"\(3, 4\).*got shape \(2, 4\)"),
        (["a", "b"], "integers"),
        (np.ones((3, 4, 1)), "got shape"),
    ],
)
def test_wrong_item_sets(items, match):
    with pytest.raises(ValueError, match=match):
        check_item_sets(items, (3, 4), name="candidates")
