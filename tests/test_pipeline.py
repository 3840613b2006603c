"""RecommenderPipeline: raw X decides what is seen and held out; an encoder translates ids."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.decomposition import TruncatedSVD
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.feature_selection import VarianceThreshold
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import Binarizer, MaxAbsScaler
from sklearn.utils import get_tags

from sklearn_recsys import (
    EASE,
    ItemKNN,
    PopularityRecommender,
    RecommenderPipeline,
    UserKNN,
    make_recommender_pipeline,
)
from sklearn_recsys.base import RecommenderMixin, is_recommender
from sklearn_recsys.metrics import ndcg_at_k
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout
from sklearn_recsys.preprocessing import BM25Transformer, InteractionEncoder
from sklearn_recsys.utils._content_split import hold_out_by_content


def random_matrix(n_users=50, n_items=25, density=0.35, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.integers(1, 6, (n_users, n_items)) * (rng.random((n_users, n_items)) < density)
    X[np.arange(n_users), np.arange(n_users) % n_items] = 5
    return sp.csr_array(X.astype(np.float32))


def likes(model=None):
    return RecommenderPipeline([("like", Binarizer(threshold=3)), ("model", model or EASE(l2=5))])


class ItemMeans(RecommenderMixin, BaseEstimator):
    """The least of rating models."""

    _parameter_constraints: dict = {}

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.recommender_tags.values = "rating"
        return tags

    def _fit(self, X):
        sums = X.sum(axis=0) + 3
        self.means_ = (sums / (1 + np.bincount(X.indices, minlength=X.shape[1]))).astype(np.float32)

    def _score_items(self, X):
        return np.tile(self.means_, (X.shape[0], 1))


@pytest.fixture
def events():
    """Return events of users u00 … u39 with items 1000, 990, … (ids that are no indices)."""
    R = random_matrix(40, 20, seed=1).tocoo()
    rows, columns = R.coords
    return pd.DataFrame(
        {
            "uid": [f"u{row:02d}" for row in rows],
            "movie": 1000 - 10 * columns,
            "rating": R.data,
            "timestamp": np.arange(R.nnz),
        }
    ).sample(frac=1, random_state=0)


@pytest.fixture
def raw(events):
    """Return a fitted pipeline with an encoder, its encoder, and the training matrix."""
    encoder = InteractionEncoder(user="uid", item="movie")
    R = encoder.fit_transform(events)
    steps = [("like", Binarizer(threshold=3)), ("model", ItemKNN(10))]
    return RecommenderPipeline(steps, encoder=encoder).fit(R), encoder, R


# ------------------------------------------------------------------------- raw X


def test_predictions_are_those_of_the_steps():
    R, new = random_matrix(), random_matrix(seed=1)
    pipe = RecommenderPipeline([("tfidf", TfidfTransformer()), ("model", EASE(l2=0.5))]).fit(R)
    tfidf = TfidfTransformer().fit(sp.csr_matrix(R))
    model = EASE(l2=0.5).fit(tfidf.transform(sp.csr_matrix(R)))
    expected = model.predict(tfidf.transform(sp.csr_matrix(new)))
    assert_allclose(pipe.predict(new), expected, atol=1e-5)
    assert_allclose(pipe.predict_pairs(new, [0, 3], [4, 5]), expected[[0, 3], [4, 5]], atol=1e-5)
    assert_array_equal(pipe.interactions_.toarray(), R.toarray())


def test_what_a_step_drops_has_still_been_seen():
    R = random_matrix()
    pipe = likes().fit(R)
    model = EASE(l2=5).fit(R.toarray() > 3)
    everything = pipe.recommend(n=25)
    dropped = 0
    for row in range(50):
        seen = set(R[[row]].indices.tolist())
        assert not seen & set(everything[row].tolist())
        liked_only = model.recommend([row], n=25)
        dropped += len(seen & set(liked_only[0].tolist()))
        left = [item for item in liked_only[0] if item not in seen and item >= 0]
        assert_array_equal(everything[row, : len(left)], left)
    assert dropped > 50  # the model alone would have recommended what was disliked
    assert_array_equal(
        pipe.recommend(n=5, exclude_seen=False), model.recommend(n=5, exclude_seen=False)
    )


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_score_holds_out_raw_interactions():
    R = random_matrix()
    pipe = likes().fit(R)
    known, held_out = hold_out_by_content(R)
    assert pipe.score(R) == pipe.score(known, held_out)
    scores = EASE(l2=5).fit(R.toarray() > 3).predict(known.toarray() > 3)
    scores[known.toarray() != 0] = -np.inf
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    assert pipe.score(R) == pytest.approx(ndcg_at_k(held_out, ids), abs=1e-12)
    # splitting after the transformation is another question
    after = EASE(l2=5).fit(R.toarray() > 3).score(R.toarray() > 3)
    assert pipe.score(R) != pytest.approx(after, abs=1e-3)


def test_a_row_that_a_step_empties_gets_popularity():
    R = random_matrix()
    pipe = likes().fit(R)
    dislikes = np.zeros((1, 25))
    dislikes[0, 3] = 1
    counts = (R.toarray() > 3).sum(axis=0)
    expected = [item for item in np.argsort(-counts, kind="stable") if item != 3]
    assert_array_equal(pipe.recommend(dislikes, n=24)[0], expected)


def test_pipelines_speak_for_their_model():
    R = random_matrix()
    assert get_tags(likes()).recommender_tags.values == "weight"
    assert get_tags(likes(PopularityRecommender())).recommender_tags.values == "binary"
    assert get_tags(likes()).input_tags.sparse
    pipe = RecommenderPipeline([("model", ItemMeans())]).fit(R)
    assert get_tags(pipe).recommender_tags.values == "rating"
    train, test = random_holdout(R, random_state=0)
    pipe.fit(train)
    assert pipe.score(train, test) == ItemMeans().fit(train).score(train, test) < 0
    with pytest.raises(ValueError, match="rating"):
        likes().fit(train).score(train, test, metric="neg_rmse")


def test_ratings_are_reported_in_the_models_units():
    R = random_matrix()
    pipe = RecommenderPipeline([("scale", MaxAbsScaler()), ("model", ItemMeans())])
    with pytest.warns(UserWarning, match="not in the units of X"):
        pipe.fit(R)
    predicted = pipe.predict(R)
    low, high = pipe["model"].rating_range_
    assert (low, high) == pytest.approx((0.2, 1.0))
    assert low <= predicted.min() <= predicted.max() <= high


@pytest.mark.parametrize("step", ["passthrough", None])
def test_passthrough(step):
    R = random_matrix()
    pipe = RecommenderPipeline([("nothing", step), ("model", EASE(l2=5))]).fit(R)
    assert_array_equal(pipe.recommend(), EASE(l2=5).fit(R).recommend())


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (TruncatedSVD(n_components=5), "step 'narrow'|Step 'narrow'"),
        (VarianceThreshold(threshold=3.0), "Step 'narrow'"),
    ],
)
@pytest.mark.parametrize("model", [EASE(), ItemKNN(), PopularityRecommender()])
def test_a_step_that_changes_the_columns_is_named(step, name, model):
    steps = [("like", Binarizer()), ("narrow", clone(step)), ("model", clone(model))]
    if isinstance(step, VarianceThreshold):
        steps = steps[1:]
    pipe = RecommenderPipeline(steps)
    with pytest.raises(TypeError, match=name):
        pipe.fit(random_matrix())
    assert not hasattr(pipe, "interactions_")
    with pytest.raises(NotFittedError):
        pipe.recommend()


@pytest.mark.parametrize("last", [LogisticRegression(), TfidfTransformer(), "passthrough", None])
def test_the_last_step_must_be_a_recommender(last):
    with pytest.raises(TypeError, match="last step|recommender"):
        RecommenderPipeline([("like", Binarizer()), ("last", last)]).fit(random_matrix())


def test_failing_fit_leaves_no_fitted_pipeline():
    R = random_matrix()
    pipe = likes().fit(R)
    wrong = R.toarray()
    wrong[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        pipe.fit(wrong)
    with pytest.raises(NotFittedError):
        pipe.predict(R)
    pipe = RecommenderPipeline([("bm25", BM25Transformer()), ("model", EASE())]).fit(R)
    with pytest.raises(ValueError, match="Negative values in data passed to BM25Transformer"):
        pipe.fit(-R)
    assert not hasattr(pipe, "interactions_")


def test_events_are_refused(events):
    with pytest.raises(ValueError, match="InteractionEncoder"):
        likes().fit(events.rename(columns={"uid": "user", "movie": "item"}))


def test_feature_names_are_those_of_the_raw_matrix():
    frame = pd.DataFrame(random_matrix().toarray(), columns=[f"item {i}" for i in range(25)])
    pipe = likes().fit(frame)
    assert_array_equal(pipe.feature_names_in_, frame.columns)
    assert pipe.n_features_in_ == 25
    with pytest.raises(ValueError, match="feature names"):
        pipe.predict(frame.iloc[:, ::-1])
    pipe.fit(frame.to_numpy())
    assert not hasattr(pipe, "feature_names_in_")


def test_partial_fit_refits_the_steps_on_all_rows():
    R = random_matrix()
    pipe = RecommenderPipeline([("tfidf", TfidfTransformer()), ("model", EASE(l2=0.5))])
    grown, whole = clone(pipe).fit(R[:30]).partial_fit(R[30:]), clone(pipe).fit(R)
    assert_allclose(grown.predict(R), whole.predict(R), atol=1e-5)
    assert_array_equal(grown.interactions_.toarray(), R.toarray())


# ------------------------------------------------------------------------- scikit-learn


def test_nested_parameters():
    pipe = likes()
    assert pipe.get_params()["model__l2"] == 5
    assert pipe.get_params()["encoder"] is None
    pipe.set_params(model__l2=7, like__threshold=2)
    assert pipe["model"].l2 == 7
    assert pipe.named_steps["like"].threshold == 2
    pipe.set_params(model=ItemKNN(3))
    assert pipe.fit(random_matrix()).recommend().shape == (50, 10)


def test_a_search_over_a_transformer_and_the_model_together():
    R = random_matrix()
    grid = {"like__threshold": [0, 3], "model__l2": [1.0, 100.0]}
    search = GridSearchCV(likes(), grid, cv=[(range(25), range(25, 50))], error_score="raise")
    search.fit(R)
    for params, score in zip(
        search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
    ):
        assert score == likes().set_params(**params).fit(R[:25]).score(R[25:])
    assert len(set(search.cv_results_["mean_test_score"])) == 4
    assert search.best_estimator_.recommend(R[:2], n=3).shape == (2, 3)


def test_a_search_over_the_steps_themselves():
    train, valid = random_holdout(random_matrix(), per_user=True, random_state=0)
    pipe = RecommenderPipeline([("weight", "passthrough"), ("model", EASE())])
    grid = {
        "weight": ["passthrough", TfidfTransformer(), BM25Transformer(), Binarizer()],
        "model": [EASE(l2=5), UserKNN()],
    }
    search = GridSearchCV(pipe, grid, cv=HoldoutSplit(), error_score="raise")
    search.fit(train, valid)
    assert np.all(search.cv_results_["mean_test_score"] > 0)


def test_html_repr():
    from sklearn.utils import estimator_html_repr

    for pipe in (likes(), likes().fit(random_matrix())):
        html = estimator_html_repr(pipe)
        for word in ("RecommenderPipeline", "Binarizer", "EASE"):
            assert word in html


def test_slices_and_names():
    R = random_matrix()
    pipe = likes().fit(R)
    assert len(pipe) == 2
    assert isinstance(pipe["like"], Binarizer)
    assert pipe[-1] is pipe["model"]
    with pytest.raises(TypeError):
        RecommenderPipeline(likes().steps, None, None)  # all else by keyword


def test_pickle():
    R = random_matrix()
    pipe = likes().fit(R)
    assert_array_equal(pickle.loads(pickle.dumps(pipe)).predict(R), pipe.predict(R))


def test_routing_of_candidates():
    R = random_matrix()
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(likes(), {"model__l2": [1.0, 10.0]}, cv=2, error_score="raise")
        assert np.all(search.fit(R).cv_results_["mean_test_score"] > 0)


def test_methods_only_where_the_model_has_them():
    assert hasattr(likes(ItemKNN()), "similar_items")
    assert hasattr(likes(UserKNN()), "similar_users")
    assert not hasattr(likes(PopularityRecommender()), "similar_items")
    assert not hasattr(likes(ItemKNN()), "similar_users")
    for name in ("transform", "predict_proba", "decision_function"):
        assert not hasattr(likes().fit(random_matrix()), name)


def test_similar_things_and_explanations_are_those_of_the_model():
    R = random_matrix()
    liked = R.toarray() > 3
    items = likes(ItemKNN()).fit(R).similar_items([1, 2], n=4)
    for got, expected in zip(items, ItemKNN().fit(liked).similar_items([1, 2], n=4), strict=True):
        assert_array_equal(got, expected)
    users = likes(UserKNN()).fit(R).similar_users([1, 2], n=4)
    for got, expected in zip(users, UserKNN().fit(liked).similar_users([1, 2], n=4), strict=True):
        assert_array_equal(got, expected)
    pipe = likes(EASE(l2=5)).fit(R)
    why = pipe.explain(R[[3]], 7)
    assert set(why["history_item"]) == set(np.flatnonzero(liked[3]))
    assert why["contribution"].sum() == pytest.approx(pipe.predict_pairs(R, [3], [7])[0], abs=1e-5)


# ------------------------------------------------------------------------- raw ids


def test_raw_ids_of_known_users(raw):
    pipe, encoder, R = raw
    frame = pipe.recommend(["u07", "u00"], n=4, return_scores=True)
    assert frame.columns.tolist() == ["uid", "rank", "movie", "score"]
    assert frame["uid"].tolist() == ["u07"] * 4 + ["u00"] * 4
    assert frame["rank"].tolist() == [1, 2, 3, 4] * 2
    plain = RecommenderPipeline(pipe.steps).fit(R)
    ids, scores = plain.recommend([7, 0], n=4, return_scores=True)
    assert frame["movie"].tolist() == encoder.item_ids_[ids].ravel().tolist()
    assert_allclose(frame["score"], scores.ravel())
    assert pipe.recommend(["u07"], n=4).columns.tolist() == ["uid", "rank", "movie"]
    assert pipe.recommend("u07", n=4)["uid"].tolist() == ["u07"] * 4
    everyone = pipe.recommend(n=3)
    assert everyone["uid"].tolist() == np.repeat(encoder.user_ids_, 3).tolist()


def test_raw_ids_that_are_integers_are_no_row_numbers():
    frame = pd.DataFrame({"user": [2, 2, 1, 1, 0], "item": [30, 20, 10, 20, 30], "rating": 5.0})
    frame["user"] *= 10
    encoder = InteractionEncoder()
    pipe = RecommenderPipeline([("model", PopularityRecommender())], encoder=encoder)
    pipe.fit(encoder.fit_transform(frame))
    assert pipe.recommend([20], n=1)["item"].tolist() == [10]
    with pytest.raises(ValueError, match="unknown user"):
        pipe.recommend([2])


def test_new_users_come_as_events(raw, events):
    pipe, encoder, R = raw
    new = pd.DataFrame(
        {
            "uid": ["zoe", "zoe", "abe"],
            "movie": [1000, 900, 950],
            "rating": [5.0, 1, 4],
            "timestamp": 0,
        }
    )
    frame = pipe.recommend(new, n=3)
    assert frame["uid"].tolist() == ["abe"] * 3 + ["zoe"] * 3
    histories = np.zeros((2, 20))
    histories[0, encoder.encode_items([950])] = 4
    histories[1, encoder.encode_items([1000, 900])] = [5, 1]
    expected = RecommenderPipeline(pipe.steps).fit(R).recommend(histories, n=3)
    assert frame["movie"].tolist() == encoder.item_ids_[expected].ravel().tolist()
    zoe = frame.loc[frame["uid"] == "zoe", "movie"]
    assert not {1000, 900} & set(zoe)
    # known users through their events get what they get by name
    pd.testing.assert_frame_equal(
        pipe.recommend(events, n=3).reset_index(drop=True), pipe.recommend(n=3)
    )


def test_histories_as_a_matrix_with_an_encoder(raw):
    pipe, encoder, R = raw
    by_name = pipe.recommend(["u03"], n=4)["movie"].tolist()
    assert pipe.recommend(R[[3]], n=4)["movie"].tolist() == by_name
    assert pipe.recommend(R[[3]].toarray(), n=4)["movie"].tolist() == by_name
    assert pipe.recommend(R[3], n=4)["movie"].tolist() == by_name  # a 1-D sparse array


def test_candidates_and_exclude_by_raw_id(raw):
    pipe, encoder, R = raw
    candidates = [1000, 950, 900, 850, 820]
    frame = pipe.recommend(["u03"], n=20, candidates=candidates, exclude=[900])
    seen = set(encoder.item_ids_[R[[3]].indices])
    assert set(frame["movie"]) == set(candidates) - {900} - seen
    full = pipe.recommend(["u03"], n=20)["movie"].tolist()
    assert frame["movie"].tolist() == [item for item in full if item in set(frame["movie"])]


def test_a_mask_of_candidates_is_a_mask_with_an_encoder_too(raw):
    pipe, encoder, _ = raw
    mask = np.isin(encoder.item_ids_, [1000, 950, 900])
    frame = pipe.recommend(["u03"], n=20, candidates=mask, exclude_seen=False)
    assert set(frame["movie"]) == {1000, 950, 900}


def test_unknown_raw_ids_are_named(raw):
    pipe, *_ = raw
    with pytest.raises(ValueError, match="unknown user id.*'nobody'"):
        pipe.recommend(["u00", "nobody"])
    with pytest.raises(ValueError, match="unknown item id.*77"):
        pipe.recommend(["u00"], candidates=[1000, 77])
    with pytest.raises(ValueError, match="unknown item id.*77"):
        pipe.recommend(["u00"], exclude=[77])
    with pytest.raises(ValueError, match="unknown item id.*77"):
        pipe.similar_items([77])
    new = pd.DataFrame({"uid": ["zoe"], "movie": [77], "rating": [5.0]})
    with pytest.raises(ValueError, match="unknown item id.*77"):
        pipe.recommend(new)


def test_fewer_items_than_asked_for_leave_no_row(raw):
    pipe, encoder, R = raw
    frame = pipe.recommend(["u03"], n=50)
    assert len(frame) == 20 - R[[3]].nnz
    assert frame["rank"].tolist() == list(range(1, len(frame) + 1))


def test_similar_items_by_raw_id(raw):
    pipe, encoder, _ = raw
    frame = pipe.similar_items([950, 1000], n=3)
    ids, values = pipe["model"].similar_items(encoder.encode_items([950, 1000]), n=3)
    assert frame.columns.tolist() == ["movie", "rank", "similar_movie", "score"]
    assert frame["movie"].tolist() == [950] * 3 + [1000] * 3
    assert frame["similar_movie"].tolist() == encoder.item_ids_[ids].ravel().tolist()
    assert_allclose(frame["score"], values.ravel())
    assert pipe.similar_items(950, n=3)["movie"].tolist() == [950] * 3


def test_an_encoder_of_another_matrix_is_an_error(raw, events):
    pipe, encoder, R = raw
    other = RecommenderPipeline(pipe.steps, encoder=encoder)
    for X, shape in (
        (R[:, :-1], r"\(40, 19\).* encoder\.transform returns\.$"),
        (R.T, r".*X\.T is"),
    ):
        with pytest.raises(ValueError, match=f"knows 40 users and 20 items, .* {shape}"):
            other.fit(X)
        assert not hasattr(other, "interactions_")
    other.fit(R[:-1])  # as the folds of a search
    with pytest.raises(ValueError, match="encoder knows 40 users and 20 items"):
        other.recommend(["u00"])
    unfitted = RecommenderPipeline(pipe.steps, encoder=InteractionEncoder()).fit(R)
    with pytest.raises(NotFittedError):
        unfitted.recommend(["u00"])


def test_clones_and_searches_share_the_encoder(raw):
    pipe, encoder, R = raw
    copy = clone(pipe)
    assert copy.encoder is encoder
    assert copy["model"] is not pipe["model"]
    assert not hasattr(copy, "interactions_")
    search = GridSearchCV(pipe, {"model__n_neighbors": [1, 10]}, cv=3, error_score="raise").fit(R)
    assert search.best_estimator_.encoder is encoder
    assert len(search.best_estimator_.recommend(["u07"], n=4)) == 4


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")
def test_score_takes_matrices_whatever_the_ids(raw):
    pipe, encoder, R = raw
    plain = RecommenderPipeline(pipe.steps).fit(R)
    assert pipe.score(R) == plain.score(R)
    assert_array_equal(pipe.predict(R), plain.predict(R))


def test_a_pickled_pipeline_still_knows_the_ids(raw):
    pipe, *_ = raw
    again = pickle.loads(pickle.dumps(pipe))
    pd.testing.assert_frame_equal(again.recommend(["u07"], n=4), pipe.recommend(["u07"], n=4))


@pytest.mark.parametrize("step", [Binarizer(threshold=3, copy=False), MaxAbsScaler(copy=False)])
def test_steps_that_work_in_place_change_nothing_outside(step):
    R = random_matrix()
    pipe = RecommenderPipeline([("in_place", step), ("model", EASE(l2=5))]).fit(R)
    assert_array_equal(pipe.interactions_.toarray(), R.toarray())
    histories = R.astype(np.float32).copy()
    before = histories.toarray()
    pipe.predict_pairs(histories, [0], [1])
    pipe.recommend(histories)
    assert_array_equal(histories.toarray(), before)


def test_slices():
    R = random_matrix()
    pipe = RecommenderPipeline([("like", Binarizer(threshold=3)), ("model", EASE(l2=5))]).fit(R)
    likes = pipe[:-1].transform(R)
    assert_array_equal(likes.toarray(), R.toarray() > 3)
    assert_allclose(pipe[1:].predict(likes), pipe.predict(R))
    assert_array_equal(pipe[1:].interactions_.toarray(), R.toarray() > 3)
    assert pipe["model"] is pipe[-1]


def test_output_configuration_does_not_reach_the_steps():
    R = random_matrix()
    pipe = RecommenderPipeline([("like", Binarizer()), ("model", EASE(l2=5))])
    expected = clone(pipe).fit(R).predict(R)
    with sklearn.config_context(transform_output="pandas"):
        assert_array_equal(clone(pipe).fit(R).predict(R), expected)
    assert_array_equal(clone(pipe).set_output(transform="pandas").fit(R).predict(R), expected)


def test_the_shared_encoder_has_no_parameters_here(raw):
    pipe, encoder, _ = raw
    assert not [name for name in pipe.get_params() if name.startswith("encoder__")]
    with pytest.raises(ValueError, match="clones share"):
        clone(pipe).set_params(encoder__unknown="ignore")
    assert encoder.unknown == "error"


def test_events_are_refused_by_the_names_that_the_encoder_knows(raw):
    pipe, encoder, R = raw
    events = encoder.inverse_transform(R)
    with pytest.raises(ValueError, match=r"fit the pipeline on encoder.transform"):
        clone(pipe).fit(events)
    unfitted = RecommenderPipeline(pipe.steps, encoder=clone(encoder))
    with pytest.raises(ValueError, match=r"fit the pipeline on encoder.fit_transform"):
        unfitted.fit(events)


def test_an_encoder_is_no_step(raw):
    pipe, encoder, R = raw
    events = encoder.inverse_transform(R)
    with pytest.raises(TypeError, match="Step 'interactionencoder' .*encoder=encoder"):
        make_recommender_pipeline(encoder, *dict(pipe.steps).values()).fit(events)


def test_a_parameter_of_a_step_is_found_by_its_name(raw):
    pipe, _, R = raw
    with pytest.raises(ValueError, match="'n_neighbors' .*, as in 'model__n_neighbors'"):
        GridSearchCV(pipe, {"n_neighbors": [1, 10]}, cv=3).fit(R)
    with pytest.raises(ValueError, match="Invalid parameter 'neighbors' for estimator"):
        clone(pipe).set_params(neighbors=3)


def test_rows_of_matrices_are_no_users(raw):
    pipe, encoder, R = raw
    assert pipe.recommend(R[[3, 1]], n=2).columns[0] == "row"
    assert pipe.recommend(R[[3, 1]], n=2)["row"].tolist() == [0, 0, 1, 1]
    assert pipe.recommend(encoder.user_ids_[[3]], n=2).columns[0] == encoder.user


def test_make_recommender_pipeline():
    encoder = InteractionEncoder(values="one").fit(pd.DataFrame({"user": ["a"], "item": ["b"]}))
    pipe = make_recommender_pipeline(Binarizer(), EASE(), encoder=encoder, verbose=True)
    assert isinstance(pipe, RecommenderPipeline)
    assert [name for name, _ in pipe.steps] == ["binarizer", "ease"]
    assert pipe.encoder is encoder and pipe.verbose
    R = random_matrix()
    expected = RecommenderPipeline([("binarizer", Binarizer()), ("ease", EASE())]).fit(R)
    pipe = make_recommender_pipeline(Binarizer(), EASE()).fit(R)
    assert_array_equal(pipe.predict(R), expected.predict(R))


def test_is_recommender():
    assert is_recommender(EASE())
    assert is_recommender(make_recommender_pipeline(Binarizer(), EASE()))
    assert is_recommender(GridSearchCV(EASE(), {}))
    assert not is_recommender(Binarizer()) and not is_recommender(Pipeline([("b", Binarizer())]))


@pytest.mark.parametrize("steps", ["x", "xy", 3, [1], [("a",)], [EASE()], EASE()])
def test_steps_are_pairs(steps):
    with pytest.raises(TypeError, match="steps must be a list of"):
        RecommenderPipeline(steps).fit(random_matrix())
