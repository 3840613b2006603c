"""Corrupt sparse matrices are refused; sums are made in wide types."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from sklearn_recsys import (
    EASE,
    ContentRecommender,
    DeepAutoencoder,
    PopularityRecommender,
    RecommenderPipeline,
    TwoTower,
    metrics,
    model_selection,
    neural,
    preprocessing,
)
from sklearn_recsys.utils._corrupt import corrupt_matrices
from sklearn_recsys.utils._sparse import as_csr, check_sparse, is_canonical
from sklearn_recsys.utils.validation import check_csr

FORMATS = ["csr", "csc", "coo", "bsr", "dia", "lil", "dok"]


def matrix(n_rows=12, n_columns=8):
    rng = np.random.default_rng(0)
    X = rng.integers(1, 6, (n_rows, n_columns)) * (rng.random((n_rows, n_columns)) < 0.5)
    X[:, :2] = 3  # every row has a history and something to hold out
    return sp.csr_array(X.astype(float))


R = matrix()
CORRUPT = corrupt_matrices(R)
every_kind = pytest.mark.parametrize("kind", CORRUPT)


@every_kind
def test_corrupt_matrices_are_refused_by_name(kind):
    with pytest.raises(ValueError, match="exclude"):
        check_csr(CORRUPT[kind], name="exclude")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("container", [sp.csr_array, sp.csr_matrix])
def test_sound_matrices_pass_as_they_are(format, container):
    for X in (R, sp.csr_array((3, 4)), R[:, :0], sp.csr_array((0, 4)), R.astype(np.int8)):
        X = container(X).asformat(format)
        assert check_sparse(X) is X
        np.testing.assert_array_equal(as_csr(X).toarray(), X.toarray())


def test_what_scipy_allows_passes():
    loose = sp.csr_array((np.ones(5), np.array([0, 1, 2, 99, 99]), np.array([0, 2, 3])), (2, 3))
    np.testing.assert_array_equal(check_csr(loose).toarray(), [[1, 1, 0], [0, 0, 1]])
    wide = R.copy()
    wide.indices = wide.indices.astype(np.int64)
    assert check_csr(wide).indices.dtype == np.int32
    blocks = sp.bsr_array(np.kron(np.eye(2), np.ones((2, 3))), blocksize=(2, 3))
    np.testing.assert_array_equal(check_csr(blocks).toarray(), blocks.toarray())
    row = sp.coo_array(np.array([0.0, 2, 0, 1]))
    np.testing.assert_array_equal(as_csr(row).toarray(), [[0, 2, 0, 1]])
    square = sp.dia_array((np.ones((2, 3)), [0, -1]), shape=(3, 3))
    np.testing.assert_array_equal(check_csr(square).toarray(), square.toarray())


@pytest.mark.parametrize("value", [-1, 4, 10**6])
def test_a_corrupt_history_of_one_user(value):
    model = EASE().fit(R[:, :4])
    for row in (R[:, :4].tocoo()[0].tocoo(), R[:, :4].tocoo()[0].tocsr()):
        if row.format == "coo":
            row.coords[0][0] = value
        else:
            row.indices[0] = value
        with pytest.raises(ValueError, match="users is a corrupt"):
            model.recommend(row)


def doors():
    """Return every function of the package that takes a matrix, with the argument's name."""
    ids = np.tile(np.arange(3), (R.shape[0], 1))
    item_features = matrix(R.shape[1], 5)
    user_features = matrix(R.shape[0], 5)
    corrupt_features = {
        "of items": corrupt_matrices(item_features),
        "of users": corrupt_matrices(user_features),
    }
    ms, known = model_selection, sp.csr_array(R.shape)
    times = R.astype(np.int64)
    encoder = preprocessing.FeatureEncoder().fit(R)
    bm25 = preprocessing.BM25Transformer().fit(R)
    ease, content = EASE().fit(R), ContentRecommender(item_features).fit(R)
    steps = [("bm25", preprocessing.BM25Transformer()), ("ease", EASE())]
    pipe = RecommenderPipeline(steps).fit(R)
    tiny = partial(DeepAutoencoder, hidden_layer_sizes=(2,), max_epochs=1, random_state=0)
    hybrid = tiny().fit(R, user_features=user_features)
    lists = [name for name in metrics.__all__ if name.endswith("_at_k")]
    of_truth = [name for name in lists if name.split("_")[0] in "hr recall precision ndcg map mrr"]
    found = [
        *((name, "y_true", partial(getattr(metrics, name), y_pred=ids)) for name in of_truth),
        ("novelty_at_k", "X", lambda X: metrics.novelty_at_k(ids, X)),
        ("popularity_bias_at_k", "X", lambda X: metrics.popularity_bias_at_k(ids, X)),
        ("popularity_bias", "X_train", lambda X: metrics.popularity_bias_at_k(ids, R, X_train=X)),
        ("scorer", "X", lambda X: metrics.make_recommender_scorer()(ease, X)),
        ("scorer", "y", lambda X: metrics.make_recommender_scorer()(ease, R, X)),
        ("leave_last_out", "X", lambda X: ms.leave_last_out(X, times)),
        ("leave_last_out", "order", lambda X: ms.leave_last_out(R, X)),
        ("random_holdout", "X", ms.random_holdout),
        ("random_holdout", "order", lambda X: ms.random_holdout(R, order=X)),
        ("temporal_split", "X", lambda X: ms.temporal_split(X, times)),
        ("temporal_split", "order", lambda X: ms.temporal_split(R, X)),
        ("user_split", "X", ms.user_split),
        ("user_split", "order", lambda X: ms.user_split(R, order=X)),
        ("cell_kfold", "X", ms.cell_kfold),
        ("cell_kfold", "order", lambda X: ms.cell_kfold(R, order=X)),
        ("HoldoutSplit", "X", lambda X: list(ms.HoldoutSplit().split(X, R))),
        ("HoldoutSplit", "y", lambda X: list(ms.HoldoutSplit().split(R, X))),
        ("sample_negatives", "X", ms.sample_negatives),
        ("sample_negatives", "exclude", lambda X: ms.sample_negatives(R, 2, exclude=X)),
        ("sample_negatives", "exclude", lambda X: ms.sample_negatives(R, 2, exclude=[R, X])),
        ("evaluate", "X", lambda X: ms.evaluate(ease, X, R)),
        ("evaluate", "y", lambda X: ms.evaluate(ease, known, X)),
        ("evaluate", "candidates", lambda X: ms.evaluate(ease, known, R, candidates=X)),
        ("cross_validate", "X", lambda X: ms.cross_validate(EASE(), X)),
        ("cross_validate", "y", lambda X: ms.cross_validate(EASE(), R, X, cv=ms.HoldoutSplit())),
        ("BM25Transformer.fit", "X", lambda X: preprocessing.BM25Transformer().fit(X)),
        ("BM25Transformer.transform", "X", bm25.transform),
        ("LogTransformer.fit", "X", lambda X: preprocessing.LogTransformer().fit(X)),
        ("LogTransformer.transform", "X", preprocessing.LogTransformer().fit(R).transform),
        ("filter_k_core", "X", preprocessing.filter_k_core),
        ("FeatureEncoder.fit", "X", lambda X: preprocessing.FeatureEncoder().fit(X)),
        ("FeatureEncoder.transform", "X", encoder.transform),
        ("FeatureEncoder.encode", "X", encoder.encode),
        ("ContentRecommender.transform", "X", content.transform),
        ("explain", "users", lambda X: ease.explain(X, 0)),
        ("pipeline fit", "X", lambda X: RecommenderPipeline([("ease", EASE())]).fit(X)),
        ("pipeline predict", "X", pipe.predict),
        ("pipeline recommend", "users", pipe.recommend),
        ("pipeline score", "y", lambda X: pipe.score(known, X)),
        ("pipeline candidates", "candidates", lambda X: pipe.recommend(candidates=X)),
        ("SparseRows", "X", neural.SparseRows.from_csr),
        ("RowDataset", "X", neural.RowDataset),
        ("RowDataset", "targets", lambda X: neural.RowDataset(R, X)),
        ("NegativeSampler", "X", neural.NegativeSampler.from_csr),
    ]
    found = [(f"{name}, {argument}", argument, door, CORRUPT) for name, argument, door in found]
    of_items = [
        ("ContentRecommender", lambda F: ContentRecommender(F).fit(R)),
        ("TwoTower", lambda F: TwoTower(F, max_epochs=1).fit(R)),
        ("intra_list_diversity_at_k", lambda F: metrics.intra_list_diversity_at_k(ids, F)),
    ]
    of_users = [
        ("fit", lambda F: tiny().fit(R, user_features=F)),
        ("partial_fit", lambda F: hybrid.partial_fit(R, user_features=F)),
        ("predict", lambda F: hybrid.predict(R, user_features=F)),
        ("predict_pairs", lambda F: hybrid.predict_pairs(R, [0], [0], user_features=F)),
        ("recommend", lambda F: hybrid.recommend(R, user_features=F)),
        ("score", lambda F: hybrid.score(known, R, user_features=F)),
        (
            "cross_validate",
            lambda F: ms.cross_validate(tiny(), R, params={"user_features": F}, cv=2),
        ),
    ]
    for kind, argument, functions in (
        ("of items", "item_features", of_items),
        ("of users", "user_features", of_users),
    ):
        found += [(name, argument, door, corrupt_features[kind]) for name, door in functions]
    return found


@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
def test_every_door_refuses_corrupt_matrices():
    for name, argument, door, corrupt in doors():
        for kind, X in corrupt.items():
            if name == "SparseRows, X" and "a value" in kind:
                continue  # values may be anything there; RowDataset looks at them
            if name.startswith(("FeatureEncoder", "TwoTower")) and "NaN" in kind:
                continue  # a missing number
            if name.startswith(("HoldoutSplit", "NegativeSampler")) and "a value" in kind:
                continue  # values are not read
            try:
                door(X)
            except ValueError as error:
                assert argument in str(error), f"{name}, {kind}: {error}"
            else:
                raise AssertionError(f"{name} accepts {kind}")


def test_negative_sampler_of_parts_that_disagree():
    for indptr, indices in [
        ([0, 2], [0, 8]),
        ([0, 2], [0, -1]),
        ([1, 2], [0, 1]),
        ([0, 3], [0, 1]),
        ([0, 2, 1, 2], [0, 1]),
    ]:
        with pytest.raises(ValueError, match="indptr must rise|indices must hold"):
            neural.NegativeSampler(torch.tensor(indptr), torch.tensor(indices), 8)


# ------------------------------------------------------------------------------ sums of duplicates

NARROW = [bool, np.int8, np.uint8, np.int16, np.uint16, np.float16]


def repeated(dtype, format):
    """Return a matrix with a one at (0, 1) 70,000 times and a two at (1, 2), and what it means."""
    n = 70_000
    rows, columns = np.zeros(n + 3, dtype=int), np.ones(n + 3, dtype=int)
    rows[n:], columns[n:] = [1, 2, 2], [2, 0, 3]
    data = np.ones(n + 3, dtype=dtype)
    X = sp.coo_array((data.astype(np.int8), (rows, columns)), shape=(3, 4))
    X.data = data  # the constructor does not take float16
    meaning = np.zeros((3, 4))
    meaning[0, 1], meaning[1, 2], meaning[2, [0, 3]] = n, 1, 1
    if format != "coo":  # scipy's own conversion would sum in the narrow type
        indptr = {"csr": [0, n, n + 1, n + 3], "csc": [0, 1, n + 1, n + 2, n + 3]}[format]
        if format == "csc":
            columns = np.concatenate([[2], np.zeros(n, dtype=int), [1, 2]])
        indices = columns.astype(np.int32)
        X = {"csr": sp.csr_array, "csc": sp.csc_array}[format](X.shape)
        X.data, X.indices, X.indptr = data, indices, np.array(indptr, dtype=np.int32)
    return X, meaning


@pytest.mark.parametrize("format", ["coo", "csr", "csc"])
@pytest.mark.parametrize("dtype", NARROW)
def test_sums_of_narrow_types(dtype, format):
    X, meaning = repeated(dtype, format)
    np.testing.assert_array_equal(check_csr(X).toarray(), meaning)
    model = PopularityRecommender().fit(X)  # to which 70,000 is no weight
    np.testing.assert_array_equal(model.interactions_.toarray(), meaning)
    bm25 = preprocessing.BM25Transformer()
    expected = bm25.fit_transform(meaning).toarray()
    np.testing.assert_allclose(bm25.fit_transform(X).toarray(), expected, rtol=1e-6)
    past, future = model_selection.leave_last_out(X, X)
    np.testing.assert_array_equal((past + future).toarray(), meaning)
    cells, _, _ = preprocessing.filter_k_core(X, min_user=1, min_item=1)
    np.testing.assert_array_equal(cells.toarray(), meaning)
    encoder = preprocessing.FeatureEncoder
    np.testing.assert_allclose(
        encoder().fit(X).transform(X).toarray(),
        encoder().fit(sp.csr_array(meaning)).transform(meaning).toarray(),
        rtol=1e-6,
    )
    lists = [[0, 1, 2]]
    np.testing.assert_allclose(
        metrics.intra_list_diversity_at_k(lists, X),
        metrics.intra_list_diversity_at_k(lists, meaning),
    )
    np.testing.assert_array_equal(
        neural.SparseRows.from_csr(X).matmul(torch.eye(4)).numpy(), meaning
    )


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.float32, np.int64, np.float64])
def test_a_type_that_holds_the_sums_is_kept(dtype):
    X = sp.coo_array((np.array([1, 2, 3], dtype=dtype), ([0, 0, 1], [1, 1, 0])), shape=(2, 2))
    for given in (X, X.tocsr(), X.tocsc(), X.toarray()):
        kept = check_csr(given)
        assert kept.dtype == dtype
        np.testing.assert_array_equal(kept.toarray(), [[0, 3], [3, 0]])


def test_a_sum_that_is_too_large_is_refused():
    huge = np.full(2, 3e38, dtype=np.float32)
    for X in (
        sp.coo_array((huge, ([0, 0], [1, 1])), shape=(1, 2)),
        sp.csr_array((huge, np.array([1, 1]), np.array([0, 2])), shape=(1, 2)),
    ):
        with pytest.raises(ValueError, match="y .*too large|y contains infinity"):
            check_csr(X, name="y")


def test_counts_beyond_what_float32_sums():
    n = 2**24 + 4
    X = sp.csr_array(
        (np.ones(n, dtype=np.float32), np.zeros(n, np.int32), np.arange(n + 1)), (n, 2)
    )
    model = PopularityRecommender()
    model._fit(X)
    np.testing.assert_array_equal(model.item_counts_, [n, 0])


def changed(**arrays):
    """Return rows of float32 values with some of their arrays replaced."""
    given = {"data": [1, 2, 3, 4], "indices": [0, 2, 1, 3], "indptr": [0, 2, 2, 4]} | arrays
    dtypes = {"data": np.float32, "indices": np.int32, "indptr": np.int32}
    data, indices, indptr = (np.array(given[name], dtype=dtypes[name]) for name in dtypes)
    X = sp.csr_array((3, 4), dtype=np.float32)
    X.data, X.indices, X.indptr = data, indices, indptr
    return X


@pytest.mark.parametrize(
    ("X", "expected"),
    [
        (changed(), True),
        (changed(indptr=[0, 2, 4, 4]), True),
        (changed(indptr=[0, 0, 0, 4], indices=[0, 1, 2, 3]), True),
        (changed(data=[], indices=[], indptr=[0, 0, 0, 0]), True),
        (changed(indptr=[0, 0, 0, 4]), False),  # unsorted
        (changed(indices=[0, 0, 1, 3]), False),  # a cell twice
        (changed(data=[1, 0, 3, 4]), False),
        (changed(data=[1, np.nan, 3, 4]), False),
        (changed(data=[1, 2, 3, np.inf]), False),
        (changed(indptr=[0, 2, 2, 3]), False),
        (changed().astype(np.float64), False),
        (changed().tocsc(), False),
        (sp.csr_matrix(changed()), False),
    ],
)
def test_what_needs_no_change(X, expected):
    """The short way of one user's history lets through what the long way would not change."""
    assert is_canonical(X, np.float32) == expected
    if expected:
        assert check_csr(X, dtype=np.float32) is X


@pytest.mark.parametrize("model", [EASE(), RecommenderPipeline([("ease", EASE())])])
def test_the_short_way_refuses_what_the_long_way_does(model):
    X = R.astype(np.float32)
    model.fit(X)
    history = X[[3]]
    expected = model.recommend(history.astype(np.float64), n=3)  # the long way
    np.testing.assert_array_equal(model.recommend(history, n=3), expected)
    for value, match in ((np.nan, "NaN"), (np.inf, "infinity")):
        history.data[0] = value
        with pytest.raises(ValueError, match=match):
            model.recommend(history)
    history.data[0] = 1
    for column in (-1, 8):
        history.indices[0] = column
        with pytest.raises(ValueError, match="corrupt"):
            model.recommend(history)
    with pytest.raises(ValueError, match="features"):
        model.recommend(X[[3], :5])
    with pytest.raises(ValueError, match="minimum of 1"):
        model.recommend(X[:0])
