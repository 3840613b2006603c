"""`explain` and `why_not` beyond the contract's checks: features, pipelines, stages, raw ids."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import Binarizer

from sklearn_recsys import EASE, PopularityRecommender, RecommenderPipeline
from sklearn_recsys.base import RecommenderMixin, UserFeaturesMixin
from sklearn_recsys.base._why_not import Stage
from sklearn_recsys.preprocessing import InteractionEncoder


def histories(n_users=30, n_items=20, seed=0):
    rng = np.random.RandomState(seed)
    cells = (rng.uniform(size=(n_users, n_items)) < 0.3) * rng.randint(1, 6, (n_users, n_items))
    return sp.csr_array(cells.astype(np.float32))


def without(X, row, item):
    shorter = X[[row]].toarray()
    shorter[0, item] = 0
    return shorter


class Squares(RecommenderMixin, BaseEstimator):
    """Scores that are no sums, far outside of the range of the ratings."""

    def __init__(self, values="weight"):
        self.values = values

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = self.values
        return tags

    def _fit(self, X):
        self.counts_ = (X.T @ X).toarray().astype(np.float32)

    def _score_items(self, X):
        return (X @ self.counts_) ** 2


class ByGroup(UserFeaturesMixin, BaseEstimator):
    """A score is the history's times that of the group."""

    def _fit(self, X):
        self.counts_ = (X.T @ X).toarray().astype(np.float32)

    def _score_items(self, X, user_features=None):
        return (1 + X @ self.counts_) * user_features[:, :1]


# ------------------------------------------------------------------------- explain


def test_blocks_of_shorter_histories_change_nothing():
    X = histories()
    model = Squares().fit(X)
    items = np.column_stack([model.recommend(n=3), np.full(30, -1)])
    expected = model.explain(None, items)
    with config_context(working_memory=1e-3):
        pd.testing.assert_frame_equal(model.explain(None, items), expected)


def test_scores_are_explained_together_as_one_by_one():
    X = histories()
    model = Squares().fit(X)
    items = np.array([[4, 7, 4], [-1, 2, 19], [-1, -1, -1]])  # one of them twice
    why = model.explain([5, 5, 2], items)
    each = [model.explain([5], items[0, s]) for s in range(3)]
    each += [model.explain([5], items[1, s]) for s in (1, 2)]
    pd.testing.assert_frame_equal(why, pd.concat(each, ignore_index=True))


def test_ratings_are_not_clipped():
    X = histories()
    model = Squares("rating").fit(X)
    why = model.explain(3, 2)
    scores = Squares().fit(X).predict(X[[3]])[0, 2]
    shorter = without(X, 3, why["history_item"][0])
    expected = scores - Squares().fit(X).predict(shorter)[0, 2]
    assert expected > 5  # the highest rating
    assert why["contribution"][0] == pytest.approx(expected, rel=1e-5)


def test_what_a_model_does_not_read_is_no_reason():
    X = histories()
    X.data[::3] *= -1
    model = Squares("binary").fit(X)
    why = model.explain(X[:5], [0])
    for row in range(5):
        read = X[[row]].indices[X[[row]].data > 0]
        assert_array_equal(np.sort(why["history_item"][why["user"] == row]), read)


def test_users_keep_their_features():
    X, groups = histories(), np.arange(30.0)[:, None]
    model = ByGroup().fit(X, user_features=groups)
    why = model.explain([3, 4], [2])
    for user, group in why.groupby("user"):
        for item, contribution in zip(group["history_item"], group["contribution"], strict=True):
            shorter = without(X, user, item)
            difference = model.predict(X[[user]], user_features=groups[[user]])
            difference = difference - model.predict(shorter, user_features=groups[[user]])
            assert contribution == pytest.approx(difference[0, 2], rel=1e-5)
    one_item = sp.csr_array(([1.0], ([0], [3])), shape=(1, 20))
    why = model.explain(one_item, 2, user_features=[[2.0]])
    assert why["contribution"].item() == pytest.approx(2 * model.counts_[3, 2])  # no fallback
    with pytest.raises(ValueError, match="was fitted with user_features: pass those"):
        model.explain(one_item, 2)
    stages = model.why_not(one_item, 3, user_features=[[2.0]])
    assert stages["score"].item() == pytest.approx(2 * (1 + model.counts_[3, 3]))
    assert model.why_not(4, 3)["score"].item() == model.predict(X[[4]], user_features=[[4]])[0, 3]


def test_a_pipeline_leaves_out_raw_interactions():
    X = histories()
    pipe = RecommenderPipeline([("tfidf", TfidfTransformer()), ("knn", Squares())]).fit(X)
    why = pipe.explain([3], [2])
    assert_array_equal(np.sort(why["history_item"]), X[[3]].indices)
    for item, contribution in zip(why["history_item"], why["contribution"], strict=True):
        difference = pipe.predict(X[[3]])[0, 2] - pipe.predict(without(X, 3, item))[0, 2]
        assert contribution == pytest.approx(difference, abs=1e-5)


def test_raw_ids():
    X = histories()
    users, items = X.nonzero()
    events = pd.DataFrame({"uid": [f"u{u:02}" for u in users], "movie": [f"m{i}" for i in items]})
    encoder = InteractionEncoder(user="uid", item="movie", values="one", unknown="ignore")
    R = encoder.fit_transform(events)
    pipe = RecommenderPipeline([("knn", Squares())], encoder=encoder).fit(R)
    plain = Squares().fit(R)
    why, expected = pipe.explain("u03", "m4"), plain.explain(3, list(encoder.item_ids_).index("m4"))
    assert why.columns.tolist() == ["uid", "movie", "history_movie", "contribution"]
    assert_allclose(why["contribution"], expected["contribution"])
    assert_array_equal(why["history_movie"], encoder.item_ids_[expected["history_item"]])

    shown = pipe.recommend("u03", n=9)["movie"].tolist()
    stages = pipe.why_not("u03", shown[8], n=5)
    assert stages.columns.tolist()[:3] == ["uid", "movie", "stage"]
    assert stages.iloc[0].tolist()[:5] == ["u03", shown[8], "Squares", "ranked lower", 9]
    for sets in ({"u03": shown[2:]}, shown[2:]):
        stages = pipe.why_not("u03", shown[1], candidates=sets)
        assert stages["reason"].item() == "not a candidate"
        assert pipe.why_not("u03", shown[3], candidates=sets)["rank"].item() == 2
    assert pipe.why_not("u03", shown[0], exclude=shown[:1])["reason"].item() == "excluded"
    for unknown in (("eve", "m4"), ("u03", "m999")):
        stages = pipe.why_not(*unknown)
        assert len(stages) == 0 and stages.columns.tolist()[:2] == ["uid", "movie"]
    with pytest.raises(ValueError, match="one item at a time; got 2"):
        pipe.why_not("u03", ["m4", "m5"])
    with pytest.raises(ValueError, match="one user at a time; got 2"):
        pipe.why_not(["u03", "u04"], "m4")


# ------------------------------------------------------------------------- why_not


@pytest.mark.parametrize("sets", ["mask", "cells"])
def test_ranks_are_those_among_the_eligible_items(sets):
    X = histories()
    model = EASE(l2=5).fit(X)
    candidates = np.arange(0, 20, 2)
    candidates = candidates if sets == "mask" else candidates[None]
    for user in range(10):
        (ranked,), (scores,) = model.recommend(
            [user], 20, candidates=candidates, return_scores=True
        )
        ranked, scores = ranked[ranked >= 0], scores[ranked >= 0]
        everything = model.predict(X[[user]])[0]
        for item in range(20):
            stages = model.why_not(user, item, 2, candidates=candidates)
            above = (everything[ranked] > everything[item]) & (ranked != item)
            assert stages["rank"].item() == 1 + above.sum()
            assert stages["score"].item() == pytest.approx(everything[item], abs=1e-6)
            assert stages["last_score"].item() == scores[1]
            in_list = item in ranked[:2]
            assert (stages["reason"].item() == "recommended") == in_list
            assert stages["reason"].item() != "ranked lower" or stages["gap"].item() >= 0


def test_an_empty_list():
    model = PopularityRecommender().fit(histories())
    stages = model.why_not(0, 3, exclude=np.arange(20))
    assert stages["reason"].item() == "excluded"
    assert stages["rank"].item() == 1
    assert stages["last_score"].item() == stages["gap"].item() == -np.inf


def test_raw_interactions_are_seen_though_a_step_drops_them():
    X = histories()
    pipe = RecommenderPipeline([("like", Binarizer(threshold=3)), ("ease", EASE())]).fit(X)
    disliked = X[[0]].indices[X[[0]].data <= 3][0]
    assert pipe.why_not(0, disliked)["reason"].item() == "seen"
    assert pipe.why_not(0, disliked, exclude_seen=False)["reason"].item() != "seen"
    assert pipe.why_not(0, disliked)["stage"].item() == "EASE"


class TwoStages(Squares):
    def _why_not(self, histories, item, n, eligible):
        ranked = super()._why_not(histories, item, n, eligible)
        return [Stage("first", "passed", 7, 0.5, 0.25), *ranked]


def test_a_recommender_of_several_stages():
    X = histories()
    for model in (TwoStages(), RecommenderPipeline([("model", TwoStages())])):
        model.fit(X)
        (listed,) = model.recommend([0], n=4)
        stages = model.why_not(0, listed[3], n=3)
        assert stages["stage"].tolist() == ["first", "TwoStages"]
        assert stages["reason"].tolist() == ["passed", "ranked lower"]
        assert stages["rank"].tolist() == [7, 4]
        stages = model.why_not(0, X[[0]].indices[0], n=3)
        assert stages["reason"].tolist()[0] == "seen"


class Selective(Squares):
    """Ranks even items only."""

    def _scores(self, histories):
        scores = super()._scores(histories)
        scores[:, 1::2] = -np.inf
        return scores


def test_an_item_that_is_not_ranked():
    X = histories()
    model = Selective().fit(X)
    item = next(i for i in range(1, 20, 2) if i not in X[[0]].indices)
    row = model.why_not(0, item).iloc[0]
    assert row[["reason", "rank", "score"]].tolist() == ["not ranked", -1, -np.inf]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], 3), "one user at a time; got 2"),
        ((0, [3, 4]), "one item at a time; got 2"),
        ((0, 20), "item must hold item indices in 0 … 19"),
        ((0, "m4"), "item must hold integers"),
        ((0, 3, 0), "n must be an integer of at least 1"),
        ((99, 3), "users must hold training row indices"),
    ],
)
def test_bad_arguments(arguments, message):
    model = EASE().fit(histories())
    with pytest.raises(ValueError, match=message):
        model.why_not(*arguments)
