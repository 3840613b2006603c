"""Metrics on tidy frames of raw ids are those on arrays."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from sklearn_recsys import EASE, RecommenderPipeline
from sklearn_recsys.datasets import make_movies
from sklearn_recsys.metrics import (
    coverage_at_k,
    gini_at_k,
    hr_at_k,
    intra_list_diversity_at_k,
    mae,
    map_at_k,
    mrr_at_k,
    ndcg_at_k,
    novelty_at_k,
    popularity_bias_at_k,
    precision_at_k,
    recall_at_k,
    rmse,
)
from sklearn_recsys.model_selection import random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder

RANKING = [hr_at_k, map_at_k, mrr_at_k, ndcg_at_k, precision_at_k, recall_at_k]
ranking_metrics = pytest.mark.parametrize("metric", RANKING, ids=lambda metric: metric.__name__)


@pytest.fixture(scope="module")
def case():
    """Return a fitted pipeline, its lists, and the matrices and frames of train and test."""
    events = make_movies(n_users=40, n_items=30, random_state=0).interactions
    events["user"] = [f"u{user}" for user in events["user"]]
    encoder = InteractionEncoder(user="user", item="item")
    train, test = random_holdout(encoder.fit_transform(events), per_user=True, random_state=0)
    pipe = RecommenderPipeline([("ease", EASE(l2=10))], encoder=encoder).fit(train)
    frames = [encoder.inverse_transform(X) for X in (train, test)]
    ids = pipe.steps[-1][1].recommend(n=10)
    return pipe, pipe.recommend(n=10), ids, train, test, *frames


def shuffled(frame):
    return frame.sample(frac=1, random_state=0)


@ranking_metrics
@pytest.mark.parametrize("k", [3, 10, 15])
def test_ranking_metrics(case, metric, k):
    pipe, lists, ids, _, test, _, held_out = case
    expected = metric(test, ids, k)
    assert 0 < expected < 1
    assert metric(held_out, lists, k) == pytest.approx(expected)
    assert metric(shuffled(held_out), shuffled(lists), k) == pytest.approx(expected)
    values = metric(shuffled(held_out), shuffled(lists), k, average=None)
    assert isinstance(values, pd.Series)
    assert values.index.name == "user"
    expected = metric(test, ids, k, average=None)
    np.testing.assert_allclose(values[pipe.encoder.user_ids_], expected)


def test_graded_gains(case):
    pipe, lists, ids, _, test, _, held_out = case
    for gains in ("linear", "exponential"):
        expected = ndcg_at_k(test, ids, gains=gains)
        assert ndcg_at_k(shuffled(held_out), lists, gains=gains) == pytest.approx(expected)
    with pytest.raises(ValueError, match="y_true must have a column 'rating'"):
        ndcg_at_k(held_out[["user", "item"]], lists, gains="linear")


def test_beyond_accuracy(case):
    pipe, lists, ids, train, _, known, _ = case
    lists = shuffled(lists)
    for k in (4, 10):
        assert coverage_at_k(lists, 30, k) == coverage_at_k(ids, 30, k)
        assert gini_at_k(lists, 30, k) == pytest.approx(gini_at_k(ids, 30, k))
        expected = novelty_at_k(ids, train, k)
        assert novelty_at_k(lists, shuffled(known), k) == pytest.approx(expected)
        expected = popularity_bias_at_k(ids, train, k)
        assert popularity_bias_at_k(lists, known, k) == pytest.approx(expected)
        popular = sp.csr_array(train[:20])
        expected = popularity_bias_at_k(ids, train, k, X_train=popular)
        some = known[known["user"].isin(pipe.encoder.user_ids_[:20])]
        value = popularity_bias_at_k(lists, known, k, X_train=some)
        assert value == pytest.approx(expected)
    features = pd.DataFrame(np.random.default_rng(0).random((30, 4)), index=pipe.encoder.item_ids_)
    expected = intra_list_diversity_at_k(ids, features.to_numpy(), average=None)
    values = intra_list_diversity_at_k(lists, shuffled(features), average=None)
    np.testing.assert_allclose(values[pipe.encoder.user_ids_], expected)


def test_novelty_counts_the_training_users():
    """A user with a list but without training events has no part in the popularity."""
    lists = pd.DataFrame({"user": ["new"], "rank": [1], "item": ["a"]})
    train = pd.DataFrame({"user": [1, 2, 3], "item": ["b", "a", "b"]}).astype({"user": str})
    assert novelty_at_k(lists, train) == pytest.approx(-np.log2(2 / 4))


def test_users_are_matched_by_id():
    """Without recommendations: a miss; without held-out events: ignored."""
    lists = pd.DataFrame({"user": [7, 7, 9], "rank": [1, 2, 1], "item": ["a", "b", "a"]})
    held_out = pd.DataFrame({"user": [8, 7, 7], "item": ["a", "b", "b"], "day": [1, 2, 3]})
    assert hr_at_k(held_out, lists) == 0.5
    assert recall_at_k(held_out, lists) == 0.5  # the repeated event is one item
    values = mrr_at_k(held_out, lists, average=None)
    assert values.loc[[7, 8]].tolist() == [0.5, 0]
    assert np.isnan(values.loc[9])
    assert hr_at_k(held_out, lists, k=1) == 0


def test_other_names_and_orders_of_the_columns():
    lists = pd.DataFrame({"score": [2.0, 1], "rank": [1, 2], "who": [1, 1], "what": [5, 4]})
    held_out = pd.DataFrame({"what": [4], "when": [0], "who": [1]})
    assert mrr_at_k(held_out, lists) == 0.5
    plain = pd.DataFrame({"item": [5, 4], "rank": [1, 2], "user": [1, 1]})
    assert mrr_at_k(pd.DataFrame({"user": [1], "item": [4]}), plain) == 0.5


def test_gaps_in_the_ranks_are_empty_slots():
    lists = pd.DataFrame({"user": [1, 1], "rank": [3, 1], "item": [5, 4]})
    assert mrr_at_k(pd.DataFrame({"user": [1], "item": [5]}), lists) == pytest.approx(1 / 3)


def test_no_recommendations_at_all():
    lists = pd.DataFrame({"user": [], "rank": [], "item": []})
    assert hr_at_k(pd.DataFrame({"user": [1], "item": [5]}), lists) == 0


def test_rating_errors():
    truth = pd.DataFrame({"user": [1, 2, 1], "item": ["a", "a", "b"], "rating": [3, 5, 1]})
    scores = pd.DataFrame(
        {"user": [2, 1, 1, 3], "item": ["a", "b", "a", "a"], "score": [4.0, 2, 5, 9]}
    )
    assert mae(truth, scores) == pytest.approx(4 / 3)
    assert rmse(truth, scores) == pytest.approx(2**0.5)
    ranked = scores.assign(rank=1)
    assert mae(truth, ranked) == pytest.approx(4 / 3)
    with pytest.raises(ValueError, match=r"no score for 1 of the 3 pairs of y_true.*\(1, 'b'\)"):
        rmse(truth, scores[scores["item"] == "a"])
    with pytest.raises(ValueError, match="several scores for one pair"):
        rmse(truth, pd.concat([scores, scores]))
    with pytest.raises(ValueError, match="y_true must have a column 'rating'"):
        rmse(truth[["user", "item"]], scores)
    with pytest.raises(ValueError, match="y_pred must have a column 'score'"):
        rmse(truth, scores[["user", "item"]])


def test_bad_frames():
    lists = pd.DataFrame({"user": [1, 1], "rank": [1, 2], "item": [5, 4]})
    held_out = pd.DataFrame({"user": [1], "item": [4]})
    with pytest.raises(TypeError, match="so y_true must also be a frame"):
        hr_at_k(np.eye(2), lists)
    with pytest.raises(TypeError, match="so X must also be a frame"):
        novelty_at_k(lists, np.eye(6))
    with pytest.raises(TypeError, match="item_features must be a DataFrame"):
        intra_list_diversity_at_k(lists, np.eye(6))
    with pytest.raises(ValueError, match="lacks 1 of the recommended items: 5"):
        intra_list_diversity_at_k(lists, pd.DataFrame({"x": [1.0]}, index=[4]))
    with pytest.raises(ValueError, match="y_true must have one column 'item', like y_pred"):
        hr_at_k(held_out.rename(columns={"item": "movie"}), lists)
    with pytest.raises(ValueError, match="columns for a user, the rank from 1, an item"):
        hr_at_k(held_out, lists.assign(other=1))
    with pytest.raises(ValueError, match="of different types.*number in y_pred, string in y_true"):
        hr_at_k(held_out.astype({"user": str}), lists)
    with pytest.raises(ValueError, match="No user of y_true is in y_pred"):
        hr_at_k(held_out.assign(user=2), lists)
    with pytest.raises(ValueError, match="two items of rank 1 for user 1"):
        hr_at_k(held_out, lists.assign(rank=1))
    with pytest.raises(ValueError, match="item 5 twice for user 1"):
        hr_at_k(held_out, lists.assign(item=5))
    for ranks in ([0, 1], [1.5, 2], [np.nan, 1], ["1", "2"]):
        with pytest.raises(ValueError, match="whole numbers from 1"):
            hr_at_k(held_out, lists.assign(rank=ranks))
    with pytest.raises(ValueError, match="Column 'user' of y_true holds NaN"):
        hr_at_k(held_out.assign(user=np.nan), lists)
    with pytest.raises(ValueError, match="2 items, but|the catalog has 1 items"):
        coverage_at_k(lists, 1)
