"""Displays of what models recommend, and of how well."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("matplotlib", reason="needs matplotlib")

import matplotlib

matplotlib.use("agg")

import matplotlib.pyplot as plt
from matplotlib.text import Text
from sklearn.manifold import TSNE
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    ALS,
    EASE,
    NCF,
    MultVAE,
    PopularityRecommender,
    RecommenderPipeline,
    make_recommender_pipeline,
)
from sklearn_recsys.datasets import make_interactions, make_movies
from sklearn_recsys.inspection import (
    HistoryLengthDisplay,
    ItemMapDisplay,
    LongTailDisplay,
    MetricAtKDisplay,
    TradeOffDisplay,
    TrainingHistoryDisplay,
)
from sklearn_recsys.metrics import (
    gini_at_k,
    hr_at_k,
    ndcg_at_k,
    recall_at_k,
    rmse,
)
from sklearn_recsys.model_selection import evaluate, random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

R = make_interactions(n_users=120, n_items=50, density=0.3, random_state=0)
TRAIN, TEST = random_holdout(R, random_state=0)
MODELS = {"EASE": EASE(l2=10).fit(TRAIN), "popular": PopularityRecommender().fit(TRAIN)}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def raw():
    """A pipeline of raw ids, and histories and held-out events to evaluate it on."""
    encoder = InteractionEncoder(values="one")
    X = encoder.fit_transform(make_movies(n_users=60, n_items=40, random_state=0).interactions)
    train, test = random_holdout(X, random_state=0)
    return RecommenderPipeline([("ease", EASE(l2=10))], encoder=encoder).fit(train), train, test


DISPLAYS = [MetricAtKDisplay, TradeOffDisplay, LongTailDisplay, HistoryLengthDisplay]


@pytest.mark.parametrize("display", DISPLAYS)
def test_pipelines_of_raw_ids(display, raw):
    pipe, train, test = raw
    of_pipe = display.from_estimator(pipe, train, test)
    of_model = display.from_estimator(pipe[-1], train, test)
    assert of_pipe.figure_ is of_pipe.ax_.figure
    for name, value in vars(of_model).items():
        if isinstance(value, pd.DataFrame):
            assert_array_equal(vars(of_pipe)[name], value)


@pytest.mark.parametrize("display", DISPLAYS)
def test_own_axes(display):
    _, ax = plt.subplots()
    assert display.from_estimator(MODELS, TRAIN, TEST, ax=ax).ax_ is ax


@pytest.mark.parametrize("display", DISPLAYS)
def test_without_held_out_interactions_some_are_held_out(display):
    new_users = make_interactions(n_users=40, n_items=50, density=0.3, random_state=1)
    display.from_estimator(MODELS, new_users)


@pytest.mark.parametrize("display", DISPLAYS)
def test_what_is_no_recommender(display):
    with pytest.raises(TypeError, match="not a recommender"):
        display.from_estimator(Binarizer(), TRAIN, TEST)
    with pytest.raises(TypeError, match="by name"):
        display.from_estimator(list(MODELS.values()), TRAIN, TEST)


def test_metric_at_k_is_evaluate_at_each_length():
    display = MetricAtKDisplay.from_estimator(MODELS, TRAIN, TEST, metric="recall", k=[20, 1, 5])
    expected = evaluate(MODELS, TRAIN, TEST, ["recall@1", "recall@5", "recall@20"]).T
    assert display.scores.index.tolist() == [1, 5, 20]
    assert_allclose(display.scores, expected)
    assert [line.get_label() for line in display.lines_] == list(MODELS)
    assert_allclose(display.lines_[0].get_ydata(), expected["EASE"])
    by_row = recall_at_k(TEST, MODELS["EASE"].recommend(n=5), 5, average=None)
    by_row = by_row[~np.isnan(by_row)]
    error = by_row.std(ddof=1) / np.sqrt(len(by_row))
    assert display.standard_errors.loc[5, "EASE"] == pytest.approx(error)


def test_metric_at_k_of_lists():
    lists = {name: model.recommend(n=20) for name, model in MODELS.items()}
    of_lists = MetricAtKDisplay.from_predictions(TEST, lists, metric="hr", k=[1, 20])
    of_models = MetricAtKDisplay.from_estimator(MODELS, TRAIN, TEST, metric="hr", k=[1, 20])
    assert_allclose(of_lists.scores, of_models.scores)
    assert of_lists.scores.loc[20, "EASE"] == pytest.approx(hr_at_k(TEST, lists["EASE"], 20))


def test_bad_lengths():
    options = {"estimator": MODELS, "X": TRAIN, "y": TEST}
    with pytest.raises(ValueError, match="without a length"):
        MetricAtKDisplay.from_estimator(**options, metric="ndcg@5")
    with pytest.raises(ValueError, match="ranking metric"):
        MetricAtKDisplay.from_estimator(**options, metric="neg_rmse")
    with pytest.raises(ValueError, match="at least one length"):
        MetricAtKDisplay.from_estimator(**options, k=[])
    with pytest.raises(ValueError, match="same rows; got 3 rows in y_pred, 120 in y_true"):
        MetricAtKDisplay.from_predictions(TEST, [[1], [2], [3]])


def test_trade_off_of_metrics():
    display = TradeOffDisplay.from_estimator(MODELS, TRAIN, TEST, metrics=("gini@5", "hr"))
    lists = {name: model.recommend() for name, model in MODELS.items()}
    expected_x = [gini_at_k(of_model, 50, 5) for of_model in lists.values()]
    expected_y = [hr_at_k(TEST, of_model) for of_model in lists.values()]
    assert_allclose(display.line_.get_xdata(), expected_x)
    assert_allclose(display.line_.get_ydata(), expected_y)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("gini@5", "hr@10")
    assert display.ax_.get_xscale() == "linear"
    with pytest.raises(ValueError, match="two names"):
        TradeOffDisplay.from_estimator(MODELS, TRAIN, TEST, metrics="ndcg")


def test_trade_off_of_any_table():
    table = pd.DataFrame({"seconds": [0.1, 10], "ndcg": [0.2, 0.3]}, index=["a", "b"])
    display = TradeOffDisplay(table=table, x="seconds", y="ndcg")
    display.plot(connect=True, log_x=True, label="curve")
    assert display.ax_.get_xscale() == "log"
    assert display.line_.get_linestyle() == "-"
    assert [text.get_text() for text in display.ax_.get_legend().get_texts()] == ["curve"]
    with pytest.raises(ValueError, match="no column 'secnds'; it has seconds, ndcg"):
        TradeOffDisplay(table=table, x="secnds", y="ndcg").plot()


def test_long_tail_of_popularity_and_of_equal_shares():
    popularity = np.asarray(TRAIN.astype(bool).sum(axis=0))
    order = np.argsort(-popularity, kind="stable")
    equal = np.arange(50).reshape(5, 10)  # each item once
    popular = np.tile(order[:10], (5, 1))
    display = LongTailDisplay.from_predictions({"equal": equal, "popular": popular}, TRAIN)
    curves = {line.get_label(): line.get_ydata() for line in display.lines_}
    shares = np.linspace(0, 1, 51)
    assert_allclose(curves["equal"], shares)
    assert_allclose(curves["popular"], np.minimum(shares * 5, 1))
    expected = np.append(0, popularity[order].cumsum() / popularity.sum())
    assert_allclose(curves["interactions"], expected)
    assert_array_equal(display.exposure["equal"], np.ones(50))


def test_long_tail_of_models_and_lists_with_empty_slots():
    of_models = LongTailDisplay.from_estimator(MODELS, TRAIN, TEST, k=5)
    lists = {name: model.recommend(n=5) for name, model in MODELS.items()}
    for name, counts in of_models.exposure.items():
        assert_array_equal(counts, np.bincount(lists[name].ravel(), minlength=50))
    empty = LongTailDisplay.from_predictions([[3, -1], [-1, -1]], TRAIN)
    assert empty.exposure["recommendations"].sum() == 1


def test_history_lengths_divide_the_users():
    display = HistoryLengthDisplay.from_estimator(MODELS, TRAIN, TEST, n_groups=3)
    assert display.n_users.sum() == np.count_nonzero(np.diff(TEST.indptr))
    lengths = np.diff(TRAIN.indptr)
    by_row = ndcg_at_k(TEST, MODELS["EASE"].recommend(), average=None)
    found = 0
    for label, score in display.scores["EASE"].items():
        low, high = (int(part) for part in (label.split("-") * 2)[:2])
        rows = (lengths >= low) & (lengths <= high) & ~np.isnan(by_row)
        assert display.n_users[label] == rows.sum()
        assert score == pytest.approx(by_row[rows].mean())
        found += rows.sum()
    assert found == display.n_users.sum()  # no length is in two groups
    assert display.n_users.min() > 20


def test_history_lengths_of_one_length_and_of_lists():
    X, y = np.eye(4, 6), np.eye(4, 6, k=1)
    display = HistoryLengthDisplay.from_predictions(y, [[1], [2], [0], [0]], X, metric="hr@1")
    assert display.scores.to_dict() == {"recommendations": {"1": 0.5}}
    with pytest.raises(ValueError, match="ranking metric"):
        HistoryLengthDisplay.from_predictions(y, [[1]] * 4, X, metric="neg_rmse")
    with pytest.raises(ValueError, match="n_groups"):
        HistoryLengthDisplay.from_predictions(y, [[1]] * 4, X, n_groups=0)


def test_history_lengths_of_ratings():
    from sklearn_recsys import BiasRecommender

    rng = np.random.default_rng(0)
    ratings = R.copy()
    ratings.data = rng.integers(1, 6, R.nnz).astype(float)
    train, test = random_holdout(ratings, random_state=0)
    model = BiasRecommender().fit(train)
    options = {"metric": "neg_rmse", "n_groups": 1}
    display = HistoryLengthDisplay.from_estimator(model, train, test, **options)
    rows, items = test.nonzero()
    predicted = model.predict_pairs(train, rows, items)
    assert display.scores.iloc[0, 0] == pytest.approx(-rmse(test[rows, items], predicted))


def test_training_history():
    model = MultVAE(max_epochs=3, early_stopping=False, random_state=0).fit(R)
    display = TrainingHistoryDisplay.from_estimator(make_recommender_pipeline(model).fit(R))
    assert display.valid_ax_ is None
    model = NCF(max_epochs=3, batch_size=64, early_stopping=True, random_state=0).fit(R)
    display = TrainingHistoryDisplay.from_estimator(model, name="mine")
    assert display.ax_.get_title() == "mine"
    assert display.valid_ax_.get_ylabel() == "Validation NDCG"
    loss, valid = display.lines_
    assert_allclose(loss.get_ydata(), model.history_["train_loss"])
    assert_allclose(valid.get_ydata(), model.history_["valid_ndcg"])
    best = display.valid_ax_.lines[1].get_ydata()
    assert_allclose(best, model.history_["valid_ndcg"].max())
    with pytest.raises(TypeError, match="EASE has no training history"):
        TrainingHistoryDisplay.from_estimator(MODELS["EASE"])


def test_item_map():
    model = ALS(n_factors=8, random_state=0).fit(R)
    names = np.array([f"item {i}" for i in range(50)])
    groups = np.where(np.arange(50) % 2, "odd", "even")
    options = {"names": names, "groups": groups, "n_items": 30, "n_labels": 5}
    display = ItemMapDisplay.from_estimator(model, **options)
    counts = np.diff(R.tocsc().indptr)
    popular = np.argsort(-counts, kind="stable")
    assert_array_equal(display.names, names[popular[:30]])
    assert_array_equal(display.popularity, counts[popular[:30]])
    assert [text.get_text() for text in display.text_] == names[popular[:5]].tolist()
    assert {points.get_label() for points in display.points_} == {"odd", "even"}
    assert sum(len(points.get_offsets()) for points in display.points_) == 30


def test_item_map_keeps_neighbors_together():
    model = ALS(n_factors=2, random_state=0).fit(R)
    positions = ItemMapDisplay.from_estimator(model).positions
    unit = model.item_factors_ / np.linalg.norm(model.item_factors_, axis=1, keepdims=True)
    unit = unit[np.argsort(-np.diff(R.tocsc().indptr), kind="stable")]
    gaps = [np.linalg.norm(a[:, None] - a, axis=2) for a in (positions, unit)]
    assert_allclose(*gaps, atol=1e-4)  # in two dimensions PCA only rotates


def test_item_map_by_another_reducer_and_bad_arguments():
    pipe = make_recommender_pipeline(Binarizer(), ALS(n_factors=4, random_state=0)).fit(R)
    reducer = TSNE(perplexity=5, init="random", max_iter=250, random_state=0)
    display = ItemMapDisplay.from_estimator(pipe, reducer=reducer)
    assert display.positions.shape == (50, 2)
    assert not hasattr(reducer, "embedding_")  # it was cloned
    with pytest.raises(TypeError, match="EASE has no item vectors"):
        ItemMapDisplay.from_estimator(MODELS["EASE"])
    with pytest.raises(ValueError, match="names must have a value for each of the model's 50"):
        ItemMapDisplay.from_estimator(pipe, names=["a"])


def overlaps(texts):
    boxes = [Text.get_window_extent(text) for text in texts]  # without lines to points
    return [(a, b) for a in range(len(boxes)) for b in range(a) if boxes[a].overlaps(boxes[b])]


def test_names_of_close_points_do_not_cover_each_other():
    table = pd.DataFrame({"x": [0.20, 0.21, 0.22, 1], "y": [0.4, 0.405, 0.4, 0]})
    table.index = ["EASE", "ItemKNN", "UserKNN", "random"]
    display = TradeOffDisplay(table=table, x="x", y="y").plot()
    display.figure_.draw_without_rendering()
    assert overlaps(display.text_) == []
    # on one side all of them would
    for text in display.text_:
        text.xyann = (5, 4)
        text.set(ha="left", va="bottom")
    assert overlaps(display.text_)


def test_labels_stay_in_a_map():
    positions = [[0, 0], [1, 1], [1, 0], [0, 1]]
    names = [f"a long title of a movie, {i}" for i in range(4)]
    groups = ["Action", "Drama", "Action", "Drama"]
    display = ItemMapDisplay(positions=positions, names=names, groups=groups).plot()
    display.figure_.draw_without_rendering()
    frame = display.ax_.get_window_extent()
    for text in display.text_:
        box = Text.get_window_extent(text)
        assert frame.x0 <= box.x0 and box.x1 <= frame.x1


def test_series_of_items_are_aligned_by_raw_ids():
    movies, encoder = make_movies(random_state=0), InteractionEncoder()
    X = encoder.fit_transform(movies.interactions)
    pipe = make_recommender_pipeline(ALS(n_factors=4, random_state=0), encoder=encoder).fit(X)
    titles = movies.items["title"]
    in_order = ItemMapDisplay.from_estimator(pipe, names=titles[encoder.item_ids_].to_numpy())
    more = pd.concat([titles.iloc[::-1], pd.Series({"unknown": "not in the model"})])
    for names in (titles, more, titles[encoder.item_ids_].reset_index(drop=True)):
        display = ItemMapDisplay.from_estimator(pipe, names=names)
        assert_array_equal(display.names, in_order.names)
    with pytest.raises(ValueError, match="each item of the model once; 1 of 200 items are missing"):
        ItemMapDisplay.from_estimator(pipe, groups=titles.drop(encoder.item_ids_[3]))


def test_many_models_and_groups_fit_beside_the_curves():
    lists = np.argsort(np.random.default_rng(0).random((6, 120, 50)), axis=2)[:, :, :10]
    few, many = ({f"model {i}": lists[i] for i in range(n)} for n in (2, 6))
    for models, inside in ((few, True), (many, False)):
        display = MetricAtKDisplay.from_predictions(TEST, models, k=[1, 10])
        display.figure_.draw_without_rendering()
        legend, frame = display.ax_.get_legend(), display.ax_.get_window_extent()
        assert frame.overlaps(legend.get_window_extent()) == inside
    display = HistoryLengthDisplay.from_predictions(TEST, many, TRAIN, n_groups=10)
    display.figure_.draw_without_rendering()
    assert {label.get_rotation() for label in display.ax_.get_xticklabels()} == {45}


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "sklearn_recsys\[plot\]"'):
        LongTailDisplay.from_estimator(MODELS["EASE"], TRAIN, TEST)
    with pytest.raises(ImportError, match=r"\[plot\]"):
        ItemMapDisplay(positions=[[0, 1]]).plot()
