"""Labels decide, whatever their type, at every door where frames meet."""

from __future__ import annotations

import datetime
import warnings
from functools import partial

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_recsys import (
    EASE,
    ContentRecommender,
    DeepAutoencoder,
    PopularityRecommender,
    RecommenderPipeline,
    load,
    metrics,
    model_selection,
    preprocessing,
)
from sklearn_recsys.exceptions import RecommenderWarning
from sklearn_recsys.utils._labels import column_labels, same_labels

N_USERS, N_ITEMS = 12, 5
RNG = np.random.default_rng(0)
R = RNG.integers(1, 6, (N_USERS, N_ITEMS)) * (RNG.random((N_USERS, N_ITEMS)) < 0.6)
R[:, 0], R[0] = 3, [1, 0, 2, 0, 0]
TRAIN, HELD_OUT = R * (np.arange(N_ITEMS) > 0), R * (np.arange(N_ITEMS) == 0)
DAYS = pd.date_range("2026-01-01", periods=N_ITEMS)
LABELS = {
    "integers": pd.Index([10, 20, 30, 40, 50]),
    "permuted positions": pd.Index([2, 0, 1, 4, 3]),
    "floats": pd.Index([0.5, 1.5, 2.5, 3.5, 4.5]),
    "times": DAYS,
    "times in a zone": DAYS.tz_localize("UTC"),
    "dates": pd.Index([day.date() for day in DAYS]),
    "tuples": pd.MultiIndex.from_product([["a"], range(N_ITEMS)]),
    "categories": pd.CategoricalIndex(list("edcba")),
    "categories of numbers": pd.CategoricalIndex([5, 4, 3, 2, 1]),
    "mixed": pd.Index([1, (2, 3), 4.5, 7, datetime.date(2026, 1, 1)], tupleize_cols=False),
    "strings": pd.Index(list("vwxyz")),
    "nullable": pd.Index([7, 8, 9, 11, 12], dtype="Int64"),
}
USERS = pd.Index([f"u{i}" for i in range(N_USERS)])
every_kind = pytest.mark.parametrize("labels", LABELS.values(), ids=LABELS)


def frame(values, labels, index=None):
    return pd.DataFrame(np.asarray(values), index=index, columns=labels)


def turned(X):
    """Return a frame with its columns in another order, and one with other labels."""
    other = X.copy()
    other.columns = [f"other {i}" for i in range(X.shape[1])]
    return X.iloc[:, ::-1], other


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
@every_kind
def test_columns_are_compared_wherever_they_come_in(labels):
    X, train, y = (frame(values, labels) for values in (R, TRAIN, HELD_OUT))
    model = EASE(l2=5).fit(X)
    plain = EASE(l2=5).fit(R)
    np.testing.assert_array_equal(model.predict(X), plain.predict(R))
    assert model.score(train, y) == plain.score(TRAIN, HELD_OUT)
    for wrong in turned(X):
        for door in (
            model.predict,
            model.recommend,
            model.partial_fit,
            lambda X: model.predict_pairs(X, [0], [0]),
            lambda X: model.score(X, HELD_OUT),
            lambda X: model.explain(X, 0),
            lambda X: model_selection.evaluate(model, X, HELD_OUT),
        ):
            with pytest.raises(ValueError, match="(?s)feature names should match|columns of .* in"):
                door(wrong)
        for door in (
            partial(model.score, TRAIN),
            lambda y: model_selection.evaluate(model, TRAIN, y),
            lambda y: metrics.make_recommender_scorer()(model, TRAIN, y),
            lambda sets: model.recommend(candidates=sets > 0),
            lambda sets: model.recommend(exclude=sets > 0),
            lambda sets: model.score(TRAIN, HELD_OUT, candidates=sets > 0),
        ):
            with pytest.raises(ValueError, match=r"columns of \w+ must be the items seen in fit"):
                door(wrong)


@every_kind
def test_the_message_leads_back_to_the_order_of_fit(labels):
    X = frame(R, labels)
    model = EASE(l2=5).fit(X)
    assert same_labels(model.item_labels_, labels)
    shuffled = X.iloc[:, ::-1]
    back = shuffled[list(model.item_labels_)]
    np.testing.assert_array_equal(model.predict(back), model.predict(X))
    if not hasattr(model, "feature_names_in_"):
        with pytest.raises(ValueError, match=r"X\[model\.item_labels_\]"):
            model.predict(shuffled)


@every_kind
def test_labels_are_saved(labels, tmp_path):
    model = PopularityRecommender().fit(frame(R, labels))
    model.save(tmp_path / "model")
    again = load(tmp_path / "model")
    assert same_labels(again.item_labels_, labels)
    with pytest.raises(ValueError, match="feature names should match|columns of X must be"):
        again.predict(frame(R, labels).iloc[:, ::-1])


def test_a_new_fit_forgets_labels():
    for estimator in (EASE(), preprocessing.BM25Transformer()):
        estimator.fit(frame(R, LABELS["integers"]))
        assert estimator.item_labels_.tolist() == [10, 20, 30, 40, 50]
        estimator.fit(R)
        assert not hasattr(estimator, "item_labels_")
        assert not hasattr(estimator.fit(pd.DataFrame(R)), "item_labels_")


def test_what_says_nothing():
    labeled, plain = frame(R, LABELS["integers"]), pd.DataFrame(R)
    expected = EASE().fit(R).predict(R)
    model = EASE().fit(plain)
    for X in (R, plain, sp.csr_array(R), frame(R, pd.Index(range(N_ITEMS), dtype="Int64"))):
        np.testing.assert_array_equal(model.predict(X), expected)
    with pytest.raises(ValueError, match=r"columns of X must be.*\[0, 1, 2, 3, 4\]; got \[4, 3"):
        model.predict(plain.iloc[:, ::-1])
    with pytest.raises(ValueError, match="columns of users must be"):
        EASE().fit(R).recommend(plain.iloc[:, ::-1])
    with pytest.warns(RecommenderWarning, match=r"labels in X, \[10, .*fit had none"):
        model.predict(labeled)
    model = EASE().fit(labeled)
    np.testing.assert_array_equal(model.predict(sp.csr_array(R)), expected)
    with pytest.warns(RecommenderWarning, match=r"labels in fit, \[10, .*users has none"):
        model.recommend(plain)
    with pytest.raises(ValueError, match="expecting 5 features"):
        model.predict(labeled.iloc[:, 1:])


def test_sparse_frames_have_labels_too():
    X = pd.DataFrame.sparse.from_spmatrix(sp.csr_array(R), columns=LABELS["integers"])
    model = EASE().fit(X)
    np.testing.assert_array_equal(model.predict(X), EASE().fit(R).predict(R))
    with pytest.raises(ValueError, match="columns of users must be"):
        model.recommend(X.iloc[:, ::-1])


def test_a_mask_over_items_has_labels_too():
    model = EASE().fit(frame(R, LABELS["integers"]))
    mask = pd.Series([True, False, True, True, False], index=LABELS["integers"])
    np.testing.assert_array_equal(
        model.recommend(exclude=mask), model.recommend(exclude=mask.to_numpy())
    )
    with pytest.raises(ValueError, match="columns of exclude must be"):
        model.recommend(exclude=mask.iloc[::-1])
    items = pd.Series([0, 2], index=["any", "thing"])  # indices of items, whatever their index
    np.testing.assert_array_equal(
        model.recommend(candidates=items), model.recommend(candidates=[0, 2])
    )


@pytest.mark.parametrize("index", [USERS, USERS.astype(object), pd.RangeIndex(N_USERS)])
def test_rows_are_compared_wherever_two_frames_meet(index):
    labels = LABELS["integers"]
    X, train, y = (frame(values, labels, index) for values in (R, TRAIN, HELD_OUT))
    times = frame(R * 100, labels, index)
    model = EASE().fit(X)
    lists = pd.DataFrame(model.recommend(n=3), index=index)
    cells = pd.Series(np.arange(1.0, N_USERS + 1), index=index)
    features = pd.DataFrame({"age": range(N_USERS), "weight": 1.0}, index=index)
    ms, hybrid = model_selection, DeepAutoencoder(hidden_layer_sizes=(2,), max_epochs=1)
    hybrid.fit(X, user_features=features)
    doors = [
        (partial(model.score, train), y),
        (partial(model.score, train), pd.Series(0, index=index)),
        (lambda sets: model.recommend(X, candidates=sets), X > 0),
        (lambda sets: model.recommend(X, exclude=sets), X > 0),
        (lambda sets: model.score(train, HELD_OUT, candidates=sets), X > 0),
        (lambda order: ms.leave_last_out(X, order), times),
        (lambda order: ms.random_holdout(X, order=order, random_state=0), times),
        (lambda order: ms.temporal_split(X, order), times),
        (lambda order: ms.user_split(X, order=order, random_state=0), times),
        (lambda order: ms.cell_kfold(X, order=order, random_state=0), times),
        (lambda cells: ms.sample_negatives(train, 1, exclude=cells), y),
        (lambda cells: ms.sample_negatives(train, 1, exclude=[HELD_OUT, cells]), y),
        (lambda y: list(ms.HoldoutSplit().split(train, y)), y),
        (lambda y: ms.cross_validate(EASE(), train, y, cv=ms.HoldoutSplit()), y),
        (lambda y: ms.evaluate(model, train, y), y),
        (partial(metrics.ndcg_at_k, y), lists),
        (lambda lists: metrics.popularity_bias_at_k(lists, X), lists),
        (partial(metrics.rmse, cells), cells),
        (lambda weight: metrics.mae(cells, cells, sample_weight=weight), cells),
        (lambda F: hybrid.predict(X, user_features=F), features),
        (lambda F: hybrid.recommend(X, user_features=F), features),
        (lambda F: ms.evaluate(hybrid, X, R, user_features=F, exclude_seen=False), features),
        (lambda F: ms.cross_validate(hybrid, X, params={"user_features": F}, cv=2), features),
    ]
    for door, other in doors:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of training on the future and leaks
            door(other)
            with pytest.raises(ValueError, match="frames with different indices"):
                door(other.iloc[::-1])
            renamed = other.copy()
            renamed.index = [f"other {i}" for i in range(N_USERS)]
            with pytest.raises(ValueError, match="frames with different indices"):
                door(renamed)


@every_kind
def test_columns_of_two_matrices(labels):
    X, times, train, y = (frame(values, labels) for values in (R, R * 100, TRAIN, HELD_OUT))
    ms = model_selection
    for door, other in [
        (lambda order: ms.leave_last_out(X, order), times),
        (lambda order: ms.temporal_split(X, order), times),
        (lambda cells: ms.sample_negatives(train, 1, exclude=cells), y),
        (lambda y: list(ms.HoldoutSplit().split(train, y)), y),
        (lambda y: ms.cross_validate(EASE(), train, y, cv=ms.HoldoutSplit()), y),
        (lambda X_train: metrics.popularity_bias_at_k([[0]] * N_USERS, X, X_train=X_train), X),
    ]:
        door(other)
        with pytest.raises(ValueError, match=r"The columns of \w+ must be those of \w+, in their"):
            door(other.iloc[:, ::-1])


@every_kind
def test_features_of_items(labels):
    features = pd.DataFrame({"genres": list("abcde")}, index=labels)
    X = frame(R, labels)
    model = ContentRecommender(features).fit(X)
    np.testing.assert_array_equal(
        model.recommend(X), ContentRecommender(features.reset_index(drop=True)).fit(R).recommend(R)
    )
    with pytest.raises(ValueError, match="index of item_features must be the columns of X"):
        ContentRecommender(features.iloc[::-1]).fit(X)


def test_shuffled_features_of_items_without_labels():
    features = pd.DataFrame({"genres": list("abcde")})
    ContentRecommender(features).fit(R)
    shuffled = features.iloc[::-1]
    with pytest.raises(ValueError, match="index of item_features must be the columns of X"):
        ContentRecommender(shuffled).fit(pd.DataFrame(R))
    ContentRecommender(shuffled).fit(R)  # whose columns may be in any order


@every_kind
def test_columns_of_features_of_users(labels, tmp_path):
    features = frame(RNG.random((N_USERS, N_ITEMS)), labels)
    model = DeepAutoencoder(hidden_layer_sizes=(2,), max_epochs=1).fit(R, user_features=features)
    model.predict(R, user_features=features)
    model.save(tmp_path / "model")
    for fitted in (model, load(tmp_path / "model")):
        for wrong in turned(features):
            with pytest.raises(ValueError, match="columns of user_features must be those seen in"):
                fitted.predict(R, user_features=wrong)


@every_kind
def test_transformers_and_pipelines_compare_labels(labels):
    X = frame(R, labels)
    bm25 = preprocessing.BM25Transformer().fit(X)
    pipe = RecommenderPipeline([("bm25", preprocessing.BM25Transformer()), ("m", EASE())]).fit(X)
    for door in (bm25.transform, pipe.predict, pipe.recommend, pipe.partial_fit):
        for wrong in turned(X):
            with pytest.raises(ValueError, match="(?s)feature names should match|columns of .* in"):
                door(wrong)
    assert same_labels(pipe.item_labels_, labels)


def test_labels_of_columns():
    assert column_labels(R) is None
    assert column_labels(pd.DataFrame(R)) is None
    assert column_labels(frame(R, pd.Index(range(5)))) is None
    assert column_labels(frame(R, range(1, 6))).tolist() == [1, 2, 3, 4, 5]
    tuples = column_labels(frame(R, LABELS["tuples"]))
    assert tuples.dtype == object and tuples[0] == ("a", 0)
    X = frame(R, LABELS["integers"])
    labels = column_labels(X)
    labels[0] = 0
    assert X.columns[0] == 10


@pytest.mark.parametrize("twice", [[1, 2, 3, 3, 4], list("abbcd")])
def test_a_label_that_comes_twice(twice):
    with pytest.raises(ValueError, match="X has several columns of one label: .(3|'b')"):
        EASE().fit(frame(R, twice))
