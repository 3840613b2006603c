"""The contract of `recommend`, `predict`, `predict_pairs`, `fit` and `score`."""

from __future__ import annotations

import math
import tracemalloc
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import mean_absolute_error, root_mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer
from sklearn.utils import get_tags

from sklearn_recsys import (
    EASE,
    ItemKNN,
    PopularityRecommender,
    RandomRecommender,
    RecommenderPipeline,
    UserKNN,
)
from sklearn_recsys.base import RecommenderMixin, RecommenderTags
from sklearn_recsys.exceptions import ValuesWarning
from sklearn_recsys.preprocessing import BM25Transformer, LogTransformer
from sklearn_recsys.utils._content_split import hold_out_by_content


class Fixed(RecommenderMixin, BaseEstimator):
    """The same given scores for everybody."""

    _parameter_constraints: dict = {}

    def __init__(self, scores=None, values="weight"):
        self.scores = scores
        self.values = values

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = self.values
        tags.recommender_tags.personalized = False
        return tags

    def _fit(self, X):
        self.read_ = X.copy()

    def _score_items(self, X):
        scores = np.zeros(X.shape[1]) if self.scores is None else np.asarray(self.scores)
        return np.tile(scores.astype(np.float32), (X.shape[0], 1))


class PairsOnly(Fixed):
    """Scoring every item is what it must not be asked for."""

    def _score_items(self, X):
        raise AssertionError("every item was scored")

    def _score_pairs(self, X, rows, items):
        return np.asarray(self.scores, dtype=np.float32)[items]


class LatestItem(RecommenderMixin, BaseEstimator):
    """An order model: the neighbors of the latest item, by index, are what comes next."""

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "order"
        return tags

    def _fit(self, X):
        return

    def _score_items(self, X):
        latest = X.toarray().argmax(axis=1)
        return -np.abs(latest[:, None] - np.arange(X.shape[1])).astype(np.float32)


def random_matrix(n_users=30, n_items=20, density=0.3, seed=0, empty=False):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < density)
    if not empty:
        X[np.arange(n_users), rng.integers(0, n_items, n_users)] = 3
        X[np.arange(n_users), np.arange(n_users) % n_items] = 4
    return sp.csr_array(X.astype(np.float32))


def random_split(seed=0, **kwargs):
    """Return disjoint matrices of training cells and held-out ones; rows of either may be empty."""
    X = random_matrix(seed=seed, **kwargs)
    held_out = np.random.default_rng(seed + 1).random(X.shape) < 0.3
    dense = X.toarray()
    return sp.csr_array(dense * ~held_out), sp.csr_array(dense * held_out)


def dcg(ranks):
    return sum(1 / math.log2(rank + 1) for rank in ranks)


# ------------------------------------------------------------------------------------ recommend


def test_ties_are_broken_by_item_index():
    X = sp.csr_array(np.array([[0, 1, 0, 0, 0], [0, 0, 0, 0, 1], [1, 1, 1, 1, 1]]))
    model = Fixed().fit(X)
    assert_array_equal(model.recommend(n=3), [[0, 2, 3], [0, 1, 2], [-1, -1, -1]])
    assert_array_equal(model.recommend(n=2, exclude_seen=False), [[0, 1]] * 3)
    model = Fixed([1, 2, 2, 1, 2]).fit(X)
    assert_array_equal(model.recommend(n=5), [[2, 4, 0, 3, -1], [1, 2, 0, 3, -1], [-1] * 5])


def test_ties_in_a_wide_matrix():
    """With thousands of equal scores a partition would pick any of them."""
    X = sp.csr_array(([1.0, 1.0], ([0, 1], [7, 2])), shape=(2, 5000))
    levels = np.random.default_rng(0).integers(0, 3, 5000)
    ids = Fixed(levels).fit(X).recommend(n=1500)
    expected = np.argsort(-levels, kind="stable")
    assert_array_equal(ids[0], expected[expected != 7][:1500])
    assert_array_equal(ids[1], expected[expected != 2][:1500])


def test_answers_are_always_n_wide_and_empty_slots_come_last():
    X = sp.csr_array(np.array([[1, 0, 1, 0]]))
    ids, scores = Fixed([4, 3, 2, 1]).fit(X).recommend(n=6, return_scores=True)
    assert ids.dtype == np.int64
    assert_array_equal(ids, [[1, 3, -1, -1, -1, -1]])
    assert_array_equal(scores, [[3, 1, -np.inf, -np.inf, -np.inf, -np.inf]])


@pytest.mark.parametrize("model", [EASE(), ItemKNN(), UserKNN(), PopularityRecommender()])
def test_forms_of_users(model):
    R = random_matrix()
    model = clone(model).fit(R)
    everyone = model.recommend(n=4)
    three = everyone[[3]]
    for users in (
        3,
        [3],
        np.array([3], dtype=np.uint8),
        pd.Series([3]),
        np.arange(30) == 3,
        (np.arange(30) == 3).tolist(),
        R[[3]],
        R[3],
        sp.coo_array(R[3]),
        R[[3]].toarray(),
        R[[3]].toarray().tolist(),
        pd.DataFrame(R[[3]].toarray()),
        sp.lil_matrix(R[[3]]),
        model.interactions_[[3]],
    ):
        assert_array_equal(model.recommend(users, n=4), three)
    assert_array_equal(model.recommend([-0, 29, 3], n=4), everyone[[0, 29, 3]])


def test_users_as_floats_is_an_error():
    model = Fixed().fit(random_matrix())
    for users in (np.ones(20), [1.0, 2.0], pd.Series([0.5]), np.zeros(3)):
        with pytest.raises(ValueError, match=r"reshape\(1, -1\)"):
            model.recommend(users)


def test_candidates_and_exclude_together_with_seen_items():
    X = sp.csr_array(np.array([[1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]))
    model = Fixed([6, 5, 4, 3, 2, 1]).fit(X)
    assert_array_equal(
        model.recommend(n=3, candidates=[0, 1, 4, 5], exclude=[1]), [[4, 5, -1], [0, 4, -1]]
    )
    assert_array_equal(
        model.recommend(n=2, candidates=[[5, 5], [-1, 2]], exclude_seen=False), [[5, -1], [2, -1]]
    )
    assert_array_equal(model.recommend(n=2, exclude=sp.csr_array(X)[:, ::-1]), [[1, 2], [1, 2]])
    with pytest.raises(ValueError, match="candidates"):
        model.recommend(candidates=np.ones((3, 6), dtype=bool))


def test_per_row_candidates_are_scored_as_pairs():
    """A model with a costly forward pass must not score the whole catalog for 100 candidates."""
    train, held_out = random_split()
    scores = np.random.default_rng(0).permutation(20)
    model, full = PairsOnly(scores), Fixed(scores)
    model.fit(train), full.fit(train)
    table = np.random.default_rng(1).integers(-1, 20, (30, 8))
    assert_array_equal(model.recommend(candidates=table), full.recommend(candidates=table))
    assert model.score(train, held_out, candidates=table) == full.score(
        train, held_out, candidates=table
    )
    model.predict_pairs(train, [0, 1], [2, 3])


def test_memory_stays_bounded():
    """Everyone's recommendations never need a dense users × items matrix."""
    n_users, n_items = 20_000, 2_000
    rng = np.random.default_rng(0)
    X = sp.csr_array(
        (
            np.ones(60_000, np.float32),
            (rng.integers(0, n_users, 60_000), rng.integers(0, n_items, 60_000)),
        ),
        shape=(n_users, n_items),
    )
    model = PopularityRecommender().fit(X)
    y = rng.integers(0, n_items, n_users)
    with sklearn.config_context(working_memory=8):
        for call in (
            lambda: model.recommend(n=5),
            lambda: model.score(X, y, exclude_seen=False),
            lambda: model.predict_pairs(X, np.arange(n_users), y),
        ):
            tracemalloc.start()
            call()
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            assert peak < 4 * n_users * n_items / 2, f"{peak / 2**20:.0f} MiB"


# ------------------------------------------------------------------------------------ fit


def test_interactions_are_the_models_own_canonical_copy():
    X = sp.coo_array(
        (np.array([1.0, 2, 0, 3]), (np.array([0, 0, 0, 1]), np.array([2, 2, 0, 1]))), shape=(2, 3)
    )
    stored = Fixed().fit(X).interactions_
    assert isinstance(stored, sp.csr_array)
    assert stored.dtype == np.float32
    assert stored.nnz == 2
    assert stored.has_canonical_format
    assert_array_equal(stored.toarray(), [[0, 0, 3], [0, 3, 0]])
    X = random_matrix()
    for part in ("data", "indices", "indptr"):
        assert not np.shares_memory(
            getattr(Fixed().fit(X).interactions_, part), getattr(X, part)
        ), part


def test_y_is_ignored_by_fit():
    train, held_out = random_split()
    with_y, without = EASE().fit(train, held_out), EASE().fit(train)
    assert_array_equal(with_y.coef_, without.coef_)


@pytest.mark.parametrize(
    ("values", "expected"),
    [("binary", [[1, 0, 1]]), ("weight", [[2, -1, 3]]), ("rating", [[2, -1, 3]])],
)
def test_what_models_read(values, expected):
    """Binary models see ones where x > 0; the stored copy keeps the values."""
    X = np.array([[2.0, -1.0, 3.0]])
    model = Fixed(values=values).fit(X)
    assert_array_equal(model.read_.toarray(), expected)
    assert_array_equal(model.interactions_.toarray(), X)


def test_negative_cells_are_seen_but_no_history_of_a_binary_model():
    X = np.array([[1.0, -1, 0, 0], [1, 1, 1, 0], [0, 0, 1, 0]])
    model = PopularityRecommender().fit(X)
    assert_array_equal(model.item_counts_, [2, 1, 2, 0])
    assert_array_equal(model.recommend(0, n=4), [[2, 3, -1, -1]])


def test_rating_model_warns_on_equal_values():
    X = np.array([[5.0, 0, 5], [0, 5, 0]])
    with pytest.warns(UserWarning, match="all of X's values are 5"):
        Fixed(values="rating").fit(X)
    for values in ("weight", "binary"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            Fixed(values=values).fit(X)


def test_failing_partial_fit_is_no_half_fit():
    """It leaves the old model or none, never a mixture of both."""

    class FailsLater(Fixed):
        def _fit(self, X):
            self.half_ = X.shape[0]
            if X.shape[0] > 30:
                raise RuntimeError("no luck")

        def _score_items(self, X):
            return np.full(X.shape, self.half_, dtype=np.float32)

    R = random_matrix()
    model = FailsLater().fit(R)
    empty = sp.csr_array((1, 20))
    before, before_empty = model.predict(R), model.predict(empty)
    with pytest.raises(RuntimeError):
        model.partial_fit(R)
    if hasattr(model, "interactions_"):
        assert_array_equal(model.predict(R), before)
        assert_array_equal(model.predict(empty), before_empty)
    else:
        assert not [name for name in vars(model) if name.endswith("_")]


def test_partial_fit_checks_the_number_of_items():
    model = Fixed().fit(random_matrix())
    with pytest.raises(ValueError, match="features"):
        model.partial_fit(random_matrix(n_items=21))
    assert model.recommend().shape == (30, 10)


def test_unfitted_models_say_so():
    R = random_matrix()
    for model in (EASE(), ItemKNN(), UserKNN(), PopularityRecommender(), RandomRecommender()):
        for call in (
            lambda model=model: model.recommend(),
            lambda model=model: model.predict(R),
            lambda model=model: model.predict_pairs(R, [0], [0]),
            lambda model=model: model.score(R),
        ):
            with pytest.raises(NotFittedError):
                call()


def test_tags():
    for model in (EASE(), ItemKNN(), UserKNN(), PopularityRecommender(), RandomRecommender()):
        tags = get_tags(model)
        assert tags.input_tags.sparse
        assert isinstance(tags.recommender_tags, RecommenderTags)
    expected = {
        EASE: "weight",
        ItemKNN: "weight",
        UserKNN: "weight",
        PopularityRecommender: "binary",
    }
    for model, values in expected.items():
        assert get_tags(model()).recommender_tags.values == values
    assert get_tags(EASE()).recommender_tags.personalized
    assert not get_tags(PopularityRecommender()).recommender_tags.personalized
    assert not get_tags(RandomRecommender()).recommender_tags.personalized


def test_similarities_only_where_there_is_a_space():
    assert hasattr(ItemKNN(), "similar_items")
    assert hasattr(UserKNN(), "similar_users")
    for model in (PopularityRecommender(), RandomRecommender()):
        assert not hasattr(model, "similar_items")
        assert not hasattr(model, "similar_users")


# ------------------------------------------------------------------------------------ predict


def test_ratings_are_clipped_and_rankings_are_not():
    X = np.array([[2.0, 4.0, 0, 0, 0], [4.0, 0, 0, 0, 2.0]])
    model = Fixed([9, 8, 7, 1, 3], values="rating").fit(X)
    assert_array_equal(model.predict(X), [[4, 4, 4, 2, 3]] * 2)
    assert_array_equal(model.predict_pairs(X, [0, 1], [2, 3]), [4, 2])
    ids, scores = model.recommend(n=3, return_scores=True)
    assert_array_equal(ids, [[2, 4, 3], [1, 2, 3]])
    assert_array_equal(scores, [[7, 3, 1], [8, 7, 1]])


def test_empty_rows_get_the_non_personalized_answer():
    R = random_matrix(seed=3)
    empty = sp.csr_array((1, 20), dtype=np.float32)
    counts = np.diff(R.tocsc().indptr)
    for model in (EASE(), ItemKNN(), UserKNN()):
        ids = model.fit(R).recommend(empty, n=20)
        assert_array_equal(ids[0], np.argsort(-counts, kind="stable"))
    # a rating model: item means, shrunk to the overall mean, so one 5 does not beat ten of them
    X = np.zeros((12, 4))
    X[0, 0], X[:11, 1], X[:, 2] = 5, 5, 1
    model = Fixed(values="rating").fit(X)
    scores = model.predict(np.zeros((1, 4)))[0]
    assert scores[1] > scores[0] > scores[3] > scores[2]
    assert 1 < scores[2] < X[X > 0].mean() < scores[1] < 5
    assert_allclose(scores[3], X[X > 0].mean(), rtol=1e-6)


def test_an_empty_row_among_others_changes_nothing():
    R = random_matrix()
    model = EASE().fit(R)
    mixed = sp.vstack([R[:2], sp.csr_array((1, 20)), R[2:4]], format="csr")
    assert_allclose(model.predict(mixed)[[0, 1, 3, 4]], model.predict(R[:4]), rtol=1e-6)
    assert_allclose(
        model.predict_pairs(mixed, [2, 3], [5, 5]), model.predict(mixed)[[2, 3], 5], rtol=1e-6
    )


# ------------------------------------------------------------------------------------ score


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_default_metric_of_rankers():
    train, held_out = random_split()
    model = EASE().fit(train)
    assert model.score(train, held_out) == model.score(train, held_out, metric="ndcg@10")
    assert model.score(train) == model.score(train, metric="ndcg", k=10)
    items = np.arange(30) % 20
    assert model.score(train, items, exclude_seen=False) == model.score(
        train, items, metric="ndcg@10", exclude_seen=False
    )
    assert type(model.score(train, held_out)) is float


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_default_metric_of_rating_models():
    train, held_out = random_split()
    model = Fixed(np.linspace(1, 5, 20), values="rating").fit(train)
    assert model.score(train, held_out) == model.score(train, held_out, metric="neg_rmse")
    assert model.score(train) == model.score(train, metric="neg_rmse")
    assert model.score(train) < 0
    items = np.arange(30) % 20
    assert model.score(train, items, exclude_seen=False) == model.score(
        train, items, metric="ndcg@10", exclude_seen=False
    )


def test_rating_metrics_are_pooled_over_cells_in_rating_units():
    train, held_out = random_split()
    model = Fixed(np.linspace(-3, 9, 20), values="rating").fit(train)
    predicted = np.clip(np.linspace(-3, 9, 20), 1, 5)[held_out.indices]
    rmse = root_mean_squared_error(held_out.data, predicted)
    mae = mean_absolute_error(held_out.data, predicted)
    assert_allclose(model.score(train, held_out), -rmse, rtol=1e-6)
    assert_allclose(model.score(train, held_out, metric="neg_mae"), -mae, rtol=1e-6)


def test_ranking_metrics_are_means_over_rows_with_something_held_out():
    X = np.array([[1.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0]])
    y = np.array([[0.0, 0, 0, 1, 1], [0, 0, 0, 0, 0], [1, 0, 0, 0, 0]])
    model = Fixed([5, 4, 3, 2, 1]).fit(X)  # rankings 1 2 3 4, 0 2 3 4, 0 1 3 4
    ideal = dcg([1, 2])
    expected = {
        "hr@3": (1 + 1) / 2,
        "hr@2": (0 + 1) / 2,
        "recall@3": (1 / 2 + 1) / 2,
        "precision@3": (1 / 3 + 1 / 3) / 2,
        "mrr@4": (1 / 3 + 1) / 2,
        "ndcg@4": (dcg([3, 4]) / ideal + 1) / 2,
        "map@4": ((1 / 3 + 2 / 4) / 2 + 1) / 2,
    }
    for metric, value in expected.items():
        assert model.score(X, y, metric=metric) == pytest.approx(value, abs=1e-12), metric


def test_one_held_out_item_per_row():
    X = np.eye(4)
    model = Fixed([4, 3, 2, 1]).fit(X)
    matrix = sp.csr_array((np.ones(4), (range(4), [1, 2, 3, 0])), shape=(4, 4))
    expected = model.score(X, matrix, metric="mrr")
    for y in (
        [1, 2, 3, 0],
        np.array([1.0, 2.0, 3.0, 0.0]),
        np.array([1, 2, 3, 0], dtype=np.int8),
        pd.Series([1, 2, 3, 0]),
    ):
        assert model.score(X, y, metric="mrr") == expected
    with pytest.raises(ValueError, match="integers"):
        model.score(X, np.array([1, 2, 3, 0.5]))


@pytest.mark.parametrize("form", ["everyone", "table", "matrix"])
def test_candidates_compete_with_the_held_out_items_each_once(form):
    train, held_out = random_split(seed=5, n_users=40)
    scores = np.random.default_rng(0).integers(0, 6, 20)
    model = Fixed(scores).fit(train)
    rng = np.random.default_rng(1)
    if form == "everyone":
        candidates = np.array([2, 3, 3, 11, 17])
        sets = [set(candidates)] * 40
    else:
        table = rng.integers(-1, 20, (40, 7))
        table[:, 6] = table[:, 0]  # an item listed twice is one item
        sets = [{*row} - {-1} for row in table.tolist()]
        mask = np.array([[item in row for item in range(20)] for row in sets])
        candidates = table if form == "table" else sp.csr_array(mask)
    values = []
    for row in range(40):
        relevant = set(held_out[[row]].indices.tolist())
        pool = sorted((sets[row] | relevant) - set(train[[row]].indices.tolist()))
        ranked = sorted(pool, key=lambda item: (-scores[item], item))
        if relevant:
            hits = [rank for rank, item in enumerate(ranked[:5], 1) if item in relevant]
            values.append(dcg(hits) / dcg(range(1, min(5, len(relevant)) + 1)))
    assert model.score(train, held_out, metric="ndcg@5", candidates=candidates) == pytest.approx(
        np.mean(values), abs=1e-12
    )


def test_a_held_out_item_among_its_candidates_does_not_compete_twice():
    X = np.array([[1.0, 0, 0, 0, 0]])
    model = Fixed([9, 1, 1, 1, 1]).fit(X)
    assert model.score(X, [2], metric="mrr", candidates=[[1, 2, 2, 3]]) == 0.5


def test_overlap_warns_with_its_share():
    X = np.array([[1.0, 1, 0, 0], [0, 1, 0, 0]])
    y = np.array([[0.0, 1, 1, 0], [1, 0, 0, 1]])
    model = Fixed().fit(X)
    with pytest.warns(UserWarning, match=r"25\.0% of the held-out interactions are in X"):
        model.score(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.score(X, y, exclude_seen=False)
        Fixed(values="rating").fit(X * [1, 2, 3, 4]).score(X, y)  # nothing is excluded


def test_exclude_seen_false_ranks_everything():
    X = np.array([[1.0, 0, 0]])
    model = Fixed([3, 2, 1]).fit(X)
    assert model.score(X, [1], metric="mrr") == 1
    assert model.score(X, [1], metric="mrr", exclude_seen=False) == 0.5


@pytest.mark.parametrize("metric", ["neg_rmse", "neg_mae"])
def test_rating_metrics_are_refused_where_they_mean_nothing(metric):
    train, held_out = random_split()
    items = np.arange(30) % 20
    ranker, rater = EASE().fit(train), Fixed(values="rating").fit(train)
    with pytest.raises(ValueError, match="rating"):
        ranker.score(train, held_out, metric=metric)
    with pytest.raises(ValueError, match="1-D"):
        rater.score(train, items, metric=metric)
    with pytest.raises(ValueError, match="candidates"):
        rater.score(train, held_out, metric=metric, candidates=[1, 2])


def test_the_length_of_the_list_is_named_once():
    train, held_out = random_split()
    model = EASE().fit(train)
    assert model.score(train, held_out, metric="ndcg@3") == model.score(
        train, held_out, metric="ndcg", k=3
    )
    assert model.score(train, held_out, k=3) == model.score(train, held_out, metric="ndcg@3")
    with pytest.raises(ValueError, match="ndcg@3"):
        model.score(train, held_out, metric="ndcg@3", k=3)
    for k in (0, -1, 2.5, "3"):
        with pytest.raises(ValueError, match="k must be"):
            model.score(train, held_out, k=k)
    # k above the number of items is no error
    assert model.score(train, held_out, metric="recall", k=1000, exclude_seen=False) == 1


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_score_holds_out_by_content():
    X = random_matrix(n_users=50)
    for model in (EASE(), UserKNN(), RandomRecommender(random_state=0), PopularityRecommender()):
        model.fit(X)
        assert model.score(X) == model.score(*hold_out_by_content(model.interactions_))
    # neither the place of a row nor the model's seed matters
    order = np.random.default_rng(0).permutation(50)
    model = EASE().fit(X)
    assert model.score(X[order]) == pytest.approx(model.score(X), abs=1e-12)
    train, held_out = hold_out_by_content(X)
    for seed in range(3):
        model = RandomRecommender(random_state=seed).fit(X)
        assert model.score(X) == model.score(train, held_out)


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_score_needs_a_row_with_two_interactions():
    X = np.eye(4)
    model = Fixed().fit(X)
    with pytest.raises(ValueError, match="two interactions"):
        model.score(X)
    X[0, 1] = 1
    assert model.score(X) == 1  # the one held-out item is first of the unseen


def test_score_needs_something_held_out():
    model = Fixed().fit(np.eye(4))
    with pytest.raises(ValueError, match="y has no held-out interaction"):
        model.score(np.eye(4), np.zeros((4, 4)))


# ------------------------------------------------------------------------------------ order


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_order_models_hold_out_the_last_fifth():
    rng = np.random.default_rng(0)
    X = rng.permuted(np.tile(np.arange(1, 21), (6, 1)), axis=1) * (np.arange(20) < 10)
    model = LatestItem().fit(X)
    train, held_out = np.zeros_like(X), np.zeros_like(X)
    for row in range(6):
        items = np.flatnonzero(X[row])
        last = items[np.argsort(X[row, items])][-2:]  # 20 % of 10
        held_out[row, last] = X[row, last]
    train = X - held_out
    for metric in ("mrr", "ndcg", "recall@3"):
        assert model.score(X, metric=metric) == model.score(train, held_out, metric=metric)


def test_times_are_ranked_before_float32_can_merge_them():
    """Unix times less than 64 s apart are equal as float32."""
    first, second = 978_300_760, 978_300_761
    X = np.array([[first, second, 0, 0, 0, 0], [0, 0, 0, 0, first, second]])
    reverse = np.array([[second, first, 0, 0, 0, 0], [0, 0, 0, 0, second, first]])
    for container in (np.asarray, sp.csr_array, lambda X: X.astype(np.float64)):
        model = LatestItem().fit(container(X))
        assert_array_equal(model.predict(container(X)).argmax(axis=1), [1, 5])
        assert_array_equal(model.predict(container(reverse)).argmax(axis=1), [0, 4])


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_order_models_read_nothing_but_the_order():
    rng = np.random.default_rng(0)
    X = rng.permuted(np.tile(np.arange(1, 21), (6, 1)), axis=1) * (rng.random((6, 20)) < 0.5)
    other = np.where(X > 0, 10**9 + 7 * X**3, 0)  # later stays later
    model = LatestItem().fit(X)
    assert_array_equal(model.predict(other), model.predict(X))
    assert_array_equal(LatestItem().fit(other).recommend(), model.recommend())
    assert model.score(other) == model.score(X)
    assert_array_equal(model.interactions_.toarray() > 0, X > 0)
    before_1970 = np.where(X > 0, X - 100, 0)
    assert_array_equal(model.predict(before_1970), model.predict(X))


# ------------------------------------------------------------------------------------ routing


def test_how_to_score_is_no_metadata():
    with sklearn.config_context(enable_metadata_routing=True):
        for model in (EASE(), UserKNN(), PopularityRecommender(), RandomRecommender()):
            requests = model.get_metadata_routing().score.requests
            assert set(requests) == {"candidates"}
            model.set_score_request(candidates=True)
            assert model.get_metadata_routing().score.requests == {"candidates": True}
            with pytest.raises(TypeError):
                model.set_score_request(metric=True)


def test_searches_run_with_routing_enabled():
    R = random_matrix(n_users=40)
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(EASE(), {"l2": [1, 100]}, cv=3, error_score="raise").fit(R)
        assert np.all(np.isfinite(search.cv_results_["mean_test_score"]))


def test_candidates_are_routed_by_row():
    R = random_matrix(n_users=40)
    table = np.random.default_rng(0).integers(0, 20, (40, 6))
    folds = [(np.arange(20), np.arange(20, 40)), (np.arange(20, 40), np.arange(20))]
    with sklearn.config_context(enable_metadata_routing=True):
        model = EASE().set_score_request(candidates=True)
        search = GridSearchCV(model, {"l2": [1.0, 100.0]}, cv=folds, error_score="raise")
        search.fit(R, candidates=table)
    for fold, (train, test) in enumerate(folds):
        expected = [
            EASE(l2=l2).fit(R[train]).score(R[test], candidates=table[test]) for l2 in (1.0, 100.0)
        ]
        assert_allclose(search.cv_results_[f"split{fold}_test_score"], expected)


# ------------------------------------------------------------------------------- counts as weights

WEIGHT_MODELS = [EASE(), ItemKNN(), UserKNN(), ItemKNN(metric="jaccard")]


def counts(values):
    """Return a matrix of such values."""
    values = np.asarray(values, dtype=np.float64)
    rng = np.random.default_rng(0)
    cells = rng.choice(60 * 40, len(values), replace=False)
    return sp.csr_array((values, np.divmod(cells, 40)), shape=(60, 40))


def plays(n=800):
    return np.ceil(np.random.default_rng(0).lognormal(5.5, 1.5, n))


@pytest.mark.parametrize("model", WEIGHT_MODELS, ids=str)
@pytest.mark.parametrize("values", [plays(), [1, 1, 2, 500], -plays(), 1e-30 * plays()])
def test_weight_models_warn_of_counts(model, values):
    with pytest.warns(ValuesWarning, match="LogTransformer.*BM25Transformer.*Binarizer"):
        clone(model).fit(counts(values))


RATINGS = np.random.default_rng(1).integers(1, 11, 800) / 2
QUIET = {
    "stars": RATINGS,
    "ones": np.ones(800),
    "ratings that float32 barely holds": RATINGS * 6e37,
    "a few tiny weights": np.append(RATINGS, [1e-9, 1e-6, 1e-3]),
    "percent": np.random.default_rng(1).integers(1, 101, 800),
    "logarithms": np.log1p(plays()),
    "small counts": np.random.default_rng(1).geometric(0.3, 800),
    "uniform": 1 - np.random.default_rng(1).random(800),
}


@pytest.mark.parametrize("values", QUIET.values(), ids=QUIET)
def test_ordinary_values_are_no_reason_to_warn(values):
    for model in WEIGHT_MODELS:
        clone(model).fit(counts(values))  # warnings are errors here


def test_transformers_end_the_warning():
    X = counts(plays())
    for step in (LogTransformer(), BM25Transformer(), Binarizer(), LogTransformer(10, clip=1000)):
        RecommenderPipeline([("weight", step), ("model", EASE())]).fit(X)
    with pytest.warns(ValuesWarning, match="EASE reads values as weights"):
        RecommenderPipeline([("weight", "passthrough"), ("model", EASE())]).fit(X)
    for model in (PopularityRecommender(), RandomRecommender(0)):  # which read no weights
        model.fit(X)
