"""Every row of what bad input gets: a clear error that says what came and what to do."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_recsys import (
    EASE,
    ItemKNN,
    PopularityRecommender,
    RandomRecommender,
    RecommenderPipeline,
    UserKNN,
)
from sklearn_recsys.model_selection import leave_last_out
from sklearn_recsys.preprocessing import BM25Transformer, InteractionEncoder
from sklearn_recsys.utils import _memory

MODELS = [EASE, ItemKNN, UserKNN, PopularityRecommender, RandomRecommender]
every_model = pytest.mark.parametrize("recommender", MODELS)


def ratings(n_users=12, n_items=8):
    rng = np.random.default_rng(0)
    X = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < 0.5)
    X[:, 0], X[:, 1] = 3, 0
    return X.astype(float)


def has_cuda():
    try:
        import torch
    except ImportError:
        return False
    return torch.cuda.is_available()


def refuses(model, X, match, error=ValueError):
    """Assert that fit refuses `X` and leaves nothing, and that a fitted model refuses it too."""
    with pytest.raises(error, match=match):
        model.fit(X)
    assert not [name for name in vars(model) if name.endswith("_")], "half-fitted"
    model.fit(ratings())
    for method in (model.predict, model.recommend, model.score):
        with pytest.raises(error, match=match):
            method(X)


@every_model
@pytest.mark.parametrize(("value", "match"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "inf")])
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array, pd.DataFrame])
def test_nan_and_inf(recommender, value, match, container):
    X = ratings()
    X[2, 2] = value
    refuses(recommender(), container(X), match)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
@every_model
def test_values_too_large_for_float32(recommender):
    X = ratings()
    X[2, 2] = 1e39
    refuses(recommender(), X, "inf|too large")
    refuses(recommender(), sp.csr_array(X), "inf|too large")


@every_model
@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_complex(recommender, container):
    refuses(recommender(), container(ratings() + 0j), "[Cc]omplex")


@every_model
def test_strings(recommender):
    refuses(recommender(), np.full((12, 8), "five"), "five|convert|string")
    refuses(recommender(), np.full((12, 8), "five", dtype=object), "five|convert|string")


@every_model
def test_one_dimensional_fit(recommender):
    for X in (ratings()[0], ratings()[0].tolist(), sp.coo_array(ratings()[0])):
        with pytest.raises(ValueError, match=r"(?s)Expected 2D array.*reshape\(1, -1\)"):
            recommender().fit(X)


@every_model
def test_one_dimensional_histories(recommender):
    model = recommender().fit(ratings())
    with pytest.raises(ValueError, match=r"reshape\(1, -1\)"):
        model.predict(ratings()[0])
    with pytest.raises(ValueError, match=r"reshape\(1, -1\)"):
        model.recommend(ratings()[0])


@every_model
def test_another_number_of_items(recommender):
    model = recommender().fit(ratings())
    for X in (ratings(n_items=9), sp.csr_array(ratings(n_items=7))):
        for method in (model.predict, model.recommend, model.score, model.partial_fit):
            with pytest.raises(ValueError, match="features, but .* is expecting 8 features"):
                method(X)
    with pytest.raises(ValueError, match="expecting 8 features"):
        model.recommend(sp.csr_array(ratings(n_items=9))[0])


@every_model
def test_another_order_of_items(recommender):
    frame = pd.DataFrame(ratings(), columns=[f"item {i}" for i in range(8)])
    model = recommender().fit(frame)
    for method in (model.predict, model.recommend, model.score, model.partial_fit):
        with pytest.raises(ValueError, match="feature names"):
            method(frame[frame.columns[::-1]])
        with pytest.raises(ValueError, match="feature names"):
            method(frame.rename(columns={"item 0": "other"}))


@pytest.mark.parametrize("container", [np.asarray, sp.csr_array])
def test_negatives_where_they_make_no_sense(container):
    X = ratings()
    X[2, 2] = -1
    match = r"(?s)Negative values in data passed to BM25Transformer.*-1.*Shift or binarize"
    with pytest.raises(ValueError, match=match):
        BM25Transformer().fit(container(X))
    with pytest.raises(ValueError, match=match):
        BM25Transformer().fit(container(ratings())).transform(container(X))
    pipe = RecommenderPipeline([("bm25", BM25Transformer()), ("model", EASE())])
    with pytest.raises(ValueError, match=match):
        pipe.fit(container(X))
    assert not hasattr(pipe, "interactions_")


@every_model
@pytest.mark.parametrize(
    ("y", "match"),
    [
        (ratings()[:-1], r"shape of X, \(12, 8\).*got shape \(11, 8\)"),
        (sp.csr_array(ratings())[:, :-1], r"got shape \(12, 7\)"),
        (np.zeros(11, dtype=int), r"one held-out item per row of X \(12\); got 11"),
        (np.full(12, 8), r"item indices in 0 … 7; got values from 8 to 8"),
        (np.full(12, -1), r"item indices in 0 … 7"),
        (np.full(12, 0.5), "integers"),
        (np.full(12, "a"), "integers"),
        (np.full((12, 8), np.nan), "NaN"),
        (np.zeros((12, 8)), "y has no held-out interaction"),
    ],
)
def test_y_that_does_not_fit(recommender, y, match):
    with pytest.raises(ValueError, match=match):
        recommender().fit(ratings()).score(ratings(), y)


def test_order_of_another_shape():
    with pytest.raises(ValueError, match=r"(?s)order.*\(12, 7\)|order.*shape"):
        leave_last_out(sp.csr_array(ratings()), sp.csr_array(ratings()[:, :-1]))


@every_model
@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        (
            {"users": [12]},
            "users must hold training row indices in 0 … 11; got values from 12 to 12",
        ),
        ({"users": -1}, "training row indices in 0 … 11"),
        ({"users": np.ones(11, dtype=bool)}, "n_users = 12; got 11"),
        ({"users": ["alice"]}, "RecommenderPipeline with an encoder"),
        ({"users": "alice"}, "RecommenderPipeline with an encoder"),
        ({"users": True}, "integers or a boolean mask"),
        ({"candidates": [8]}, "candidates must hold item indices in 0 … 7"),
        ({"candidates": [-1]}, "candidates must hold item indices in 0 … 7"),
        ({"candidates": [[0]] * 11}, "a row for each of the 12 users"),
        ({"exclude": [8]}, "exclude must hold item indices in 0 … 7"),
        ({"exclude": np.ones((12, 7), dtype=bool)}, r"\(12, 8\).*got shape \(12, 7\)"),
        ({"exclude": sp.csr_array((11, 8))}, r"\(12, 8\).*got shape \(11, 8\)"),
        ({"n": 0}, "n must be an integer of at least 1; got 0"),
        ({"n": 2.5}, "n must be an integer of at least 1; got 2.5"),
    ],
)
def test_recommend_out_of_range(recommender, kwargs, match):
    with pytest.raises(ValueError, match=match):
        recommender().fit(ratings()).recommend(**kwargs)


@every_model
@pytest.mark.parametrize(
    ("rows", "items", "match"),
    [
        ([12], [0], "rows must hold row indices in 0 … 11"),
        ([-1], [0], "rows must hold row indices in 0 … 11"),
        ([0], [8], "items must hold item indices in 0 … 7"),
        ([0], [-1], "items must hold item indices in 0 … 7"),
        ([0, 1], [0], "the same length; got 2 and 1"),
        ([0.5], [0], "integers"),
        ([0], [np.inf], "items must hold"),
        ([[0]], [[0]], "1-D"),
    ],
)
def test_pairs_out_of_range(recommender, rows, items, match):
    with pytest.raises(ValueError, match=match):
        recommender().fit(ratings()).predict_pairs(ratings(), rows, items)


def test_unknown_raw_ids_are_named():
    events = pd.DataFrame({"user": ["ann", "ann", "bob"], "item": [7, 8, 7], "rating": [5.0, 4, 3]})
    encoder = InteractionEncoder()
    pipe = RecommenderPipeline([("model", ItemKNN())], encoder=encoder)
    pipe.fit(encoder.fit_transform(events))
    with pytest.raises(ValueError, match="'zoe'.*known"):
        pipe.recommend(["ann", "zoe"])
    with pytest.raises(ValueError, match="99.*known"):
        pipe.recommend(["ann"], candidates=[7, 99])
    with pytest.raises(ValueError, match="99.*known"):
        pipe.similar_items([99])
    with pytest.raises(ValueError, match="99.*known"):
        encoder.transform(events.assign(item=99))


@every_model
def test_unknown_metric_with_the_known_ones(recommender):
    model = recommender().fit(ratings())
    with pytest.raises(ValueError, match="Unknown metric 'auc'") as raised:
        model.score(ratings(), metric="auc")
    for known in ("ndcg", "hr", "recall", "precision", "map", "mrr", "neg_rmse", "neg_mae"):
        assert f'"{known}"' in str(raised.value)


@pytest.mark.skipif(has_cuda(), reason="CUDA is there")
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_cuda_without_cuda(device):
    model = EASE(device=device)
    with pytest.raises(ValueError, match=rf"device='{device}' is not available.*device=\"cpu\""):
        model.fit(ratings())
    assert not hasattr(model, "interactions_")


@pytest.mark.parametrize("device", ["gpu", "CUDA", "cuda:two", "tpu", ""])
def test_unknown_device(device):
    with pytest.raises(ValueError, match=rf"device='{device}' is unknown; use \"cpu\""):
        EASE(device=device).fit(ratings())


def test_device_of_another_type():
    with pytest.raises(ValueError, match="The 'device' parameter of EASE must be"):
        EASE(device=0).fit(ratings())


@every_model
def test_empty_matrix(recommender):
    with pytest.raises(ValueError, match="X holds no interaction"):
        recommender().fit(np.zeros((3, 4)))
    with pytest.raises(ValueError, match="X holds no interaction"):
        recommender().fit(sp.csr_array((3, 4)))
    for shape, match in [((0, 4), "0 sample"), ((3, 0), "0 feature")]:
        with pytest.raises(ValueError, match=match):
            recommender().fit(np.empty(shape))
        with pytest.raises(ValueError, match=match):
            recommender().fit(sp.csr_array(shape))


@every_model
def test_events_instead_of_a_matrix(recommender):
    events = pd.DataFrame({"user": [0, 1], "item": [1, 2], "rating": [5.0, 3], "timestamp": [1, 2]})
    refuses(recommender(), events, r"looks like a frame of events .*InteractionEncoder\(\)")


def test_ease_does_not_start_what_cannot_fit(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 4 * 2**30)
    n_items = 2_000_000
    X = sp.csr_array((np.ones(3), ([0, 0, 1], [0, 5, n_items - 1])), shape=(2, n_items))
    model = EASE()
    tracemalloc.start()
    with pytest.raises(MemoryError, match=r"14901\.2 GiB, but 4\.0 GiB .*ItemKNN"):
        model.fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26  # a few numbers for each item
    assert not hasattr(model, "interactions_")
    monkeypatch.undo()
    with pytest.raises(MemoryError, match="GiB"):  # nor on this machine
        model.fit(X)


def test_a_model_that_still_fits_is_not_refused(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 10 * 2**20)
    X = sp.csr_array(np.eye(1000))
    EASE().fit(X)  # 3.8 MiB
    monkeypatch.setattr(_memory, "available_memory", lambda: 3 * 2**20)
    with pytest.raises(MemoryError):
        EASE().fit(X)
    ItemKNN().fit(X)  # the alternative that the message names


@every_model
def test_failing_fit_after_a_good_one_leaves_nothing(recommender):
    model = recommender().fit(ratings())
    wrong = ratings()
    wrong[0, 0] = np.nan
    with pytest.raises(ValueError):
        model.fit(wrong)
    assert not [name for name in vars(model) if name.endswith("_")]


def test_a_mask_of_numbers_is_no_list_of_items():
    R = ratings()
    model = EASE(l2=5).fit(R)
    mask = np.zeros(R.shape, dtype=int)
    mask[:, 3:6] = 1
    for name in ("candidates", "exclude"):
        for wrong in (mask, mask.astype(float), mask[0]):
            with pytest.raises(ValueError, match=f"{name} holds a number for each item"):
                model.recommend(**{name: wrong})
        with pytest.raises(ValueError, match=f"{name}.*pad them with -1"):
            model.recommend([0, 1], **{name: [[1, 2], [3]]})


def test_other_items_in_frames_of_held_out_cells():
    R = ratings()
    frame = pd.DataFrame(R, columns=[f"i{j}" for j in range(R.shape[1])])
    model = EASE(l2=5).fit(frame)
    turned = frame.iloc[:, ::-1]
    with pytest.raises(ValueError, match="The columns of y must be the items seen in fit"):
        model.score(frame, turned)
    with pytest.raises(ValueError, match="The columns of exclude must be the items seen in fit"):
        model.recommend(exclude=turned > 0)


@pytest.mark.parametrize(
    "columns", [("customer_no", "sku"), ("userId", "movieId"), ("u_id", "Item")]
)
def test_events_by_other_names(columns):
    events = pd.DataFrame(np.ones((5, 3)), columns=[*columns, "weight"])
    with pytest.raises(ValueError, match="InteractionEncoder"):
        EASE().fit(events)


def test_an_answer_that_cannot_fit(monkeypatch):
    R = ratings()
    model = EASE(l2=5).fit(R)
    monkeypatch.setattr("sklearn_recsys.utils._memory.available_memory", lambda: 100)
    with pytest.raises(MemoryError, match=r"GiB.*Use recommend or predict_pairs"):
        model.predict(R)
    with pytest.raises(MemoryError, match=r"GiB.*shorter lists"):
        model.recommend(n=10)


def test_nan_scores():
    class Diverged(EASE):
        def _score_items(self, X):
            return super()._score_items(X) * np.float32(np.nan)

    R = ratings()
    model = Diverged(l2=5).fit(R)
    for ask in (model.predict, model.recommend, lambda X: model.predict_pairs(X, [0], [0])):
        with pytest.raises(ValueError, match="Diverged scores items as NaN"):
            ask(R)


def test_only_negative_values():
    with pytest.raises(ValueError, match="no positive value, which PopularityRecommender reads"):
        PopularityRecommender().fit(-ratings())
