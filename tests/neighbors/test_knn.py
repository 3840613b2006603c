"""Neighbor models against their definitions, written out in loops."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context

from sklearn_recsys.neighbors import ItemKNN, UserKNN

metrics = pytest.mark.parametrize("metric", ["cosine", "jaccard", "pearson"])


def random_matrix(n_users=40, n_items=25, density=0.3, seed=0, negative=False):
    """Return continuous values, so that no two similarities are equal but by definition."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0.5, 5, (n_users, n_items))
    if negative:
        values *= np.where(rng.random(values.shape) < 0.3, -1, 1)
    X = values * (rng.random(values.shape) < density)
    X[3], X[:, 4] = 0, 0  # an empty user, an item that nobody has
    return X.astype(np.float32)


def similarity(a, b, metric, shrinkage):
    """Return the similarity of two rows; a zero is not observed."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "jaccard":
        common = np.sum((a > 0) & (b > 0))
        value = common / max(np.sum((a > 0) | (b > 0)), 1)
    else:
        both = (a != 0) & (b != 0)
        common = both.sum()
        if metric == "pearson":
            a, b = a[both], b[both]
            a, b = (a - a.mean(), b - b.mean()) if common else (a, b)
        norms = np.sqrt(np.sum(a * a) * np.sum(b * b))
        value = np.sum(a * b) / norms if norms > 1e-9 else 0.0
    return value * common / (common + shrinkage) if shrinkage else value


def neighbors(rows, others, metric, shrinkage, k, skip):
    """Return the k most similar of `others` for each row, ties by index, only the positive ones."""
    kept = np.zeros((len(rows), len(others)))
    for i, row in enumerate(rows):
        values = np.array([similarity(row, other, metric, shrinkage) for other in others])
        values[np.abs(values) < 1e-7] = 0
        if skip[i] >= 0:
            values[skip[i]] = 0
        best = np.argsort(-values.astype(np.float32), kind="stable")[:k]
        best = best[values[best] > 0]
        kept[i, best] = values[best]
    return kept


def first_equal(rows, X):
    equal = (rows[:, None] == X[None]).all(axis=2)
    return np.where(equal.any(axis=1), equal.argmax(axis=1), -1)


@metrics
@pytest.mark.parametrize("shrinkage", [0, 7.5])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_item_knn_is_its_definition(metric, shrinkage, k):
    """The score of an item sums over the k items most similar to *it*, not to the history's."""
    X, new = random_matrix(), random_matrix(n_users=10, seed=1)
    model = ItemKNN(k, metric=metric, shrinkage=shrinkage).fit(X)
    S = neighbors(X.T, X.T, metric, shrinkage, k, skip=np.arange(25))
    assert_allclose(model.similarity_.toarray(), S, atol=1e-5)
    assert sp.issparse(model.similarity_)
    assert model.similarity_.dtype == np.float32
    kept = new.any(axis=1)  # an empty row gets popularity
    assert_allclose(model.predict(new)[kept], (new @ S.T)[kept], atol=1e-4)


@metrics
@pytest.mark.parametrize("shrinkage", [0, 7.5])
@pytest.mark.parametrize("k", [1, 4, 100])
def test_user_knn_is_its_definition(metric, shrinkage, k):
    X, new = random_matrix(), random_matrix(n_users=10, seed=1)
    model = UserKNN(k, metric=metric, shrinkage=shrinkage).fit(X)
    for rows, skip in ((X, np.arange(40)), (new, np.full(10, -1))):
        S = neighbors(rows, X, metric, shrinkage, k, skip)
        kept = rows.any(axis=1)
        assert_allclose(model.predict(rows)[kept], (S @ X)[kept], atol=1e-4)


@metrics
@pytest.mark.parametrize("negative", [False, True])
def test_explanations_of_user_knn_divide_votes_among_common_items(metric, negative):
    X = random_matrix(negative=negative)
    new = random_matrix(n_users=6, seed=1, negative=negative)
    model = UserKNN(4, metric=metric).fit(X)
    for rows, skip in ((X[:6], np.arange(6)), (new, np.full(6, -1))):
        S = neighbors(rows, X, metric, 5.0, 4, skip)
        expected = np.zeros((6, 25, 25))  # user, item, item of the history
        for user, voter in zip(*np.nonzero(S), strict=True):
            a, b = rows[user].astype(np.float64), X[voter].astype(np.float64)
            products = a * b
            if metric == "jaccard":
                products = (a > 0) & (b > 0)
            elif metric == "pearson":
                products = products != 0
            vote = S[user, voter] * b
            expected[user] += np.outer(vote, products / products.sum())
        why = model.explain(rows, np.arange(25))
        got = why["contribution"]
        cells = expected[why["user"], why["item"], why["history_item"]]
        assert_allclose(got, cells, rtol=1e-3, atol=1e-4)
        assert np.abs(cells).max() > 0.1


@pytest.mark.parametrize("shrinkage", [0, 7.5])
@pytest.mark.parametrize("value", [1, 3])
@pytest.mark.parametrize("density", [0.05, 0.5])  # stored cells are ranked, or dense rows
def test_cosine_of_implicit_feedback(density, value, shrinkage):
    """All values are equal: cosines follow from the numbers of common cells."""
    X, new = random_matrix(density=density), random_matrix(n_users=10, density=0.3, seed=1)
    X = value * (X > 0).astype(np.float32)
    model = ItemKNN(25, shrinkage=shrinkage).fit(X)
    S = neighbors(X.T, X.T, "cosine", shrinkage, 25, skip=np.arange(25))
    assert_allclose(model.similarity_.toarray(), S, atol=1e-6)
    model = UserKNN(40, shrinkage=shrinkage).fit(X)
    model = pickle.loads(pickle.dumps(model))
    for rows, skip in ((X, first_equal(X, X)), (new, np.full(10, -1))):
        S = neighbors(rows, X, "cosine", shrinkage, 40, skip)
        kept = rows.any(axis=1)
        assert_allclose(model.predict(rows)[kept], (S @ X)[kept], rtol=1e-5, atol=1e-5)


@metrics
@pytest.mark.parametrize("recommender", [ItemKNN, UserKNN])
def test_negative_values(recommender, metric):
    """Cosine and Pearson use them, Jaccard's sets are the positive cells; scores weigh them."""
    X = random_matrix(negative=True)
    if metric == "pearson":  # two common users correlate to exactly 1: keep rounding out of ties
        X = np.rint(X)
    model = recommender(6, metric=metric, shrinkage=2).fit(X)
    if recommender is ItemKNN:
        expected = X @ neighbors(X.T, X.T, metric, 2, 6, np.arange(25)).T
    else:
        expected = neighbors(X, X, metric, 2, 6, np.arange(40)) @ X
    kept = X.any(axis=1)
    assert_allclose(model.predict(X)[kept], expected[kept], atol=1e-4)


@pytest.mark.parametrize("k", [1, 3, 8])
def test_ties_among_neighbors_go_by_index(k):
    """Jaccard on few users is full of ties."""
    X = (np.random.default_rng(0).random((12, 30)) < 0.4).astype(np.float32)
    S = neighbors(X.T, X.T, "jaccard", 0, k, np.arange(30))
    model = ItemKNN(k, metric="jaccard", shrinkage=0).fit(X)
    assert_array_equal(model.similarity_.toarray() > 0, S > 0)
    ids, values = model.similar_items(np.arange(30), n=k + 2)
    for item in range(30):
        ranked = [i for i in np.argsort(-S[item].astype(np.float32), kind="stable") if S[item, i]]
        assert_array_equal(ids[item, : len(ranked)], ranked)
        assert_array_equal(ids[item, len(ranked) :], -1)
        assert_allclose(values[item, : len(ranked)], S[item, ranked], rtol=1e-6)
        assert np.all(np.isneginf(values[item, len(ranked) :]))
    X = X.T.copy()
    users = UserKNN(k, metric="jaccard", shrinkage=0).fit(X)
    skip = first_equal(X, X)
    ids, _ = users.similar_users(n=k)
    S = neighbors(X, X, "jaccard", 0, k, skip)
    for user in range(30):
        ranked = [i for i in np.argsort(-S[user].astype(np.float32), kind="stable") if S[user, i]]
        assert_array_equal(ids[user, : len(ranked)], ranked)


@pytest.mark.parametrize("start", [100, 1000])
def test_pearson_does_not_care_where_a_scale_starts(start):
    X = np.rint(2 * random_matrix(density=0.7))
    shifted = np.where(X > 0, X + start, 0)
    items = [ItemKNN(5, metric="pearson").fit(Z).similar_items(range(25), 5) for Z in (X, shifted)]
    users = [UserKNN(5, metric="pearson").fit(Z).similar_users(n=5) for Z in (X, shifted)]
    for (_, expected), (_, values) in (items, users):
        assert_allclose(np.maximum(values, 0), np.maximum(expected, 0), atol=1e-5)


def test_pearson_of_constants_warns_and_finds_nobody():
    X = np.eye(6) + np.eye(6, k=1)
    for recommender in (ItemKNN, UserKNN):
        with pytest.warns(UserWarning, match="Pearson's correlation needs different values"):
            model = recommender(metric="pearson").fit(X)
        assert_array_equal(model.predict(X), 0)


def test_cosine_of_a_scaled_row_is_one():
    X = np.array([[1.0, 2, 0], [2, 4, 0], [0, 1, 1]])
    ids, values = UserKNN(shrinkage=0).fit(X).similar_users(0, n=1)
    assert ids[0, 0] == 1
    assert values[0, 0] == pytest.approx(1, abs=1e-6)


def test_a_known_row_is_not_its_own_neighbor_but_its_duplicate_is():
    X = np.array([[1.0, 1, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [1, 1, 0, 0]])
    model = UserKNN(1, shrinkage=0).fit(X)
    ids, values = model.similar_users(n=2)
    assert_array_equal(ids, [[1, 3], [0, 3], [0, 1], [0, 1]])
    assert_allclose(values[[0, 1, 3]], 1, atol=1e-6)
    # histories are known by their content: the lowest of equal rows stands for all of them
    assert_array_equal(model.similar_users(X[[3, 0]], n=2)[0], [[1, 3], [1, 3]])
    # scaled rows are new users
    assert_array_equal(model.similar_users(2 * X[[0]], n=3)[0], [[0, 1, 3]])


def test_similar_items_are_those_kept_by_fit():
    X = random_matrix()
    model = ItemKNN(5).fit(X)
    S = model.similarity_.toarray()
    ids, values = model.similar_items([7, 7, 2], n=8)
    assert ids.shape == values.shape == (3, 8)
    assert ids.dtype == np.int64
    assert_array_equal(ids[0], ids[1])
    assert_array_equal(ids[:, 5:], -1)
    assert 7 not in ids[0]
    assert_array_equal(values[0, :5], np.sort(S[7])[::-1][:5])
    assert_array_equal(model.similar_items(7, n=8)[0], ids[[0]])
    with pytest.raises(ValueError, match="item indices"):
        model.similar_items([25])
    for n in (0, -1, 2.5):
        with pytest.raises(ValueError, match="n must be"):
            model.similar_items([0], n=n)
        with pytest.raises(ValueError, match="n must be"):
            UserKNN().fit(X).similar_users([0], n=n)


def test_similar_users_may_ask_for_more_than_n_neighbors():
    X = random_matrix(density=0.6)
    ids, values = UserKNN(2).fit(X).similar_users([0], n=20)
    wide = UserKNN(30).fit(X).similar_users([0], n=20)
    assert_array_equal(ids, wide[0])
    assert_array_equal(values, wide[1])


def test_known_users_are_recognized_in_a_pipeline_of_queries():
    """Adding users keeps the others' answers up to date with a fit on all of them."""
    X = random_matrix()
    grown = UserKNN(5).fit(X[:20]).partial_fit(X[20:])
    whole = UserKNN(5).fit(X)
    assert_array_equal(grown.recommend(), whole.recommend())


@metrics
@pytest.mark.parametrize("recommender", [ItemKNN, UserKNN])
def test_blocks_change_nothing(recommender, metric):
    X = random_matrix(n_users=60, n_items=50)
    whole = recommender(8, metric=metric).fit(X).predict(X)
    with config_context(working_memory=1e-3):
        assert_allclose(
            recommender(8, metric=metric).fit(X).predict(X), whole, rtol=1e-5, atol=1e-6
        )


@metrics
@pytest.mark.parametrize("recommender", [ItemKNN, UserKNN])
def test_nothing_is_squared(recommender, metric):
    """Neither items × items nor users × users is ever dense."""
    n = 4000
    rng = np.random.default_rng(0)
    cells = (rng.integers(0, n, 15_000), rng.integers(0, n, 15_000))
    X = sp.csr_array((rng.integers(1, 6, 15_000).astype(np.float32), cells), shape=(n, n))
    model = recommender(10, metric=metric)
    model.fit(X[:50])
    with config_context(working_memory=4):
        tracemalloc.start()
        model.fit(X)
        model.recommend(np.arange(300), n=5)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 0.75 * 4 * n**2, f"{peak / (4 * n**2):.2f} times a float32 square"


@pytest.mark.parametrize("shrinkage", [0, 5])
@metrics
@pytest.mark.parametrize("model", [ItemKNN, UserKNN])
def test_few_common_cells_are_ranked_alone(monkeypatch, model, metric, shrinkage):
    """Sparse similarities and dense ones give the same neighbors."""
    X = random_matrix()
    answers = []
    for thin in (True, False):
        monkeypatch.setattr(
            "sklearn_recsys.neighbors._similarity.is_sparse_enough", lambda X, thin=thin: thin
        )
        answers.append(model(4, metric=metric, shrinkage=shrinkage).fit(X).predict(X))
    assert_allclose(*answers, rtol=1e-5, atol=1e-6)


SCALES = (1e-37, 1e-30, 1e-25, 1e-10, 1e10, 1e20, 1e30, 5e37)


@metrics
@pytest.mark.parametrize("shrinkage", [0, 5])
def test_similarities_do_not_depend_on_the_scale(metric, shrinkage):
    """Squares of the values fit float32 for few of these scales."""
    X = random_matrix()
    items = ItemKNN(5, metric=metric, shrinkage=shrinkage)
    users = UserKNN(5, metric=metric, shrinkage=shrinkage)
    expected = [items.fit(X).similar_items(range(25), 5), users.fit(X).similar_users(n=5)]
    filled = X.any(axis=1)  # an empty row gets popularity
    predicted = [items.predict(X)[filled], users.predict(X)[filled]]
    for scale in SCALES:
        scaled = X * np.float32(scale)
        for model, (ids, values), scores in zip((items, users), expected, predicted, strict=True):
            model.fit(scaled)
            answer = (
                model.similar_items(range(25), 5) if model is items else model.similar_users(n=5)
            )
            assert_array_equal(answer[0], ids)
            assert_allclose(answer[1], values, rtol=1e-5)
            if 1e-30 <= scale <= 1e30:  # scores are in units of X, which float32 holds no further
                answer = model.predict(scaled)[filled] / np.float32(scale)
                assert_allclose(answer, scores, rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.*reads values as weights")
def test_rows_may_have_any_scale_each():
    X = random_matrix()
    scales = 10.0 ** np.random.default_rng(0).uniform(-37, 37, (40, 1))
    expected = UserKNN(5, shrinkage=0).fit(X).similar_users(n=5)
    ids, values = UserKNN(5, shrinkage=0).fit((X * scales).astype(np.float32)).similar_users(n=5)
    assert_array_equal(ids, expected[0])
    assert_allclose(values, expected[1], rtol=1e-5)


@pytest.mark.filterwarnings("ignore:.*reads values as weights")
def test_values_of_all_magnitudes_in_one_row():
    X = np.array([[1e20, 3, 1e-25], [2e20, 0, 5], [0, 6, 1e-25], [0, 1e-40, 0]], dtype=np.float32)
    ids, values = UserKNN(shrinkage=0).fit(X).similar_users(n=3)
    assert_array_equal(ids[[0, 2, 3]], [[1, 2, 3], [3, 0, -1], [2, 0, -1]])
    assert_allclose(values[0], [1, 3e-20, 3e-20], rtol=1e-6)
    assert_allclose(values[2, :2], [1, 3e-20], rtol=1e-6)
    assert_allclose(values[3, 0], 1, rtol=1e-6)


@pytest.mark.filterwarnings("ignore:.*reads values as weights")
def test_a_huge_value_elsewhere_does_not_blur_a_correlation():
    """It would take the mean of the row with it; play counts are like that."""
    X = np.array([[1, 2, 3, 1e20, 0], [2, 4, 6, 0, 1e12], [3, 2, 1, 0, 1]])
    model = UserKNN(metric="pearson", shrinkage=0).fit(X)
    ids, values = model.similar_users(0, n=2)
    assert_array_equal(ids, [[1, -1]])
    assert_allclose(values[0, 0], 1, rtol=1e-6)


@metrics
@pytest.mark.parametrize("n", [300, 40_000])
def test_neighbors_among_many_things_that_share_nothing(metric, n):
    """Most things have no cell in common: the answer is that of the ones that have."""
    X = np.rint(random_matrix())
    rows = np.sort(np.random.default_rng(0).choice(n, 25, replace=False))
    wide = sp.lil_array((40, n))
    wide[:, rows] = X
    few, many = ItemKNN(4, metric=metric).fit(X), ItemKNN(4, metric=metric).fit(wide.tocsr())
    ids, values = many.similar_items(rows, 4)
    expected, similarities = few.similar_items(range(25), 4)
    assert_array_equal(ids, np.where(expected < 0, -1, rows[expected]))
    assert_allclose(values, similarities, rtol=1e-6)
    assert many.similarity_.nnz == few.similarity_.nnz
    users = UserKNN(4, metric=metric).fit(wide.T.tocsr())
    expected = UserKNN(4, metric=metric).fit(X.T.copy())
    ids, _ = users.similar_users(rows, 4)
    expected, _ = expected.similar_users(n=4)
    assert_array_equal(ids, np.where(expected < 0, -1, rows[expected]))


@metrics
def test_a_long_tail_costs_what_it_holds(monkeypatch, metric):
    """Not a product for every few of 3 million items, of which 600 have an interaction."""
    from sklearn_recsys.neighbors import _similarity

    looked_at = []
    similarity = _similarity.RowSimilarity._similarity

    def counted(self, P):
        looked_at.append(P.shape[0])
        return similarity(self, P)

    monkeypatch.setattr(_similarity.RowSimilarity, "_similarity", counted)
    rng = np.random.default_rng(0)
    n_items = 3_000_000
    cells = rng.integers(0, 100, 600), rng.integers(0, n_items, 600)
    X = sp.csr_array((rng.uniform(1, 5, 600), cells), shape=(100, n_items))
    tracemalloc.start()
    model = ItemKNN(metric=metric).fit(X)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(looked_at) == 1
    assert looked_at[0] <= 600
    assert peak < 100 * n_items
    if metric != "pearson":  # nobody shares two users
        assert model.similarity_.nnz > 600


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("shrinkage", [0.0, 5.0])
@pytest.mark.parametrize("metric", ["cosine", "pearson"])
def test_similarities_that_are_not_finite_are_refused(value, shrinkage, metric):
    """NaN compares as less than all neighbors, so that it would go unnoticed."""
    X = sp.random_array((30, 12), density=0.4, format="csr", rng=np.random.default_rng(0))
    items = ItemKNN(metric=metric, shrinkage=shrinkage).fit(X)
    items.similarity_.data[3] = value
    with pytest.raises(ValueError, match="has similarities that are"):
        items.similar_items(np.arange(12))
    users = UserKNN(metric=metric, shrinkage=shrinkage).fit(X)
    users._similarity_.values.data[:] = value
    if metric == "pearson":
        users._similarity_.squares.data[:] = value
    with pytest.raises(ValueError, match="Similarities are"):
        users.similar_users()
