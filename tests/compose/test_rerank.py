"""RerankedRecommender: the contract, raw ids, guarantees, searches, files."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from sklearn.base import BaseEstimator, clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer
from sklearn.utils import estimator_html_repr, get_tags
from sklearn.utils.estimator_checks import check_estimator

from sklearn_recsys import (
    ALS,
    EASE,
    BiasRecommender,
    ContentRecommender,
    ItemKNN,
    RecommenderPipeline,
    RerankedRecommender,
    VotingRecommender,
    load,
    make_recommender_pipeline,
)
from sklearn_recsys.base import UserFeaturesMixin
from sklearn_recsys.compose import (
    Calibration,
    CategoryQuota,
    ItemRules,
    MaximalMarginalRelevance,
)
from sklearn_recsys.exceptions import RecommenderWarning
from sklearn_recsys.metrics import ndcg_at_k, relevance_loss_at_k
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout
from sklearn_recsys.preprocessing import InteractionEncoder
from sklearn_recsys.utils.estimator_checks import expected_failed_checks, recommender_checks

N_ITEMS = 40
R = sp.random_array((100, N_ITEMS), density=0.2, rng=7, format="csr", dtype=np.float32)
R.data[:] = 1
GENRES = (np.random.default_rng(0).random((N_ITEMS, 6)) < 0.3).astype(float)
CATEGORIES = np.random.default_rng(1).integers(0, 5, size=N_ITEMS)

GENRES_OF_30, CATEGORIES_OF_30 = GENRES[:30], CATEGORIES[:30]
CAP = ("cap", CategoryQuota(CATEGORIES_OF_30, maximum=2))
MMR = ("mmr", MaximalMarginalRelevance(GENRES_OF_30))
CHECKED = [
    RerankedRecommender(EASE(), []),
    RerankedRecommender(EASE(), [("mmr", MaximalMarginalRelevance(GENRES_OF_30, trade_off=0))]),
    RerankedRecommender(ALS(n_factors=8), [("cal", Calibration(GENRES_OF_30))], n_candidates=12),
    RerankedRecommender(BiasRecommender(), [CAP, MMR], n_candidates=5),
    RerankedRecommender(make_recommender_pipeline(Binarizer(), ItemKNN()), [MMR, CAP]),
    RerankedRecommender(RerankedRecommender(EASE(), [MMR]), [CAP]),
    RerankedRecommender(VotingRecommender([("ease", EASE()), ("knn", ItemKNN())]), [CAP]),
    make_recommender_pipeline(Binarizer(), RerankedRecommender(EASE(), [MMR])),
]


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{number}-{check.func.__name__}")
        for number, model in enumerate(CHECKED)
        for check in recommender_checks(model)
    ],
)
def test_contract(check):
    check()


@pytest.mark.filterwarnings("ignore:.*held-out interactions are in X")
def test_sklearn_checks():
    model = RerankedRecommender(EASE(), [])
    expected = expected_failed_checks(model)
    check_estimator(model, expected_failed_checks=expected, on_skip=None)


# ------------------------------------------------------------------------------- guarantees


def test_quotas_are_never_broken_by_10_000_users_of_a_recommender():
    """Whatever the candidates: the lists are as full as the catalog allows."""
    rng = np.random.default_rng(0)
    X = sp.random_array((1000, N_ITEMS), density=0.2, rng=rng, format="csr")
    n_cases = n_unmet = 0
    for _ in range(10):
        n = int(rng.integers(3, 9))
        minimum = rng.multinomial(n // 2, np.full(5, 0.2))
        maximum = minimum + rng.integers(0, 4, size=5)
        quota = CategoryQuota(
            CATEGORIES,
            minimum=dict(enumerate(minimum.tolist())),
            maximum=dict(enumerate(maximum.tolist())),
        )
        rerankers = [("mmr", MaximalMarginalRelevance(GENRES)), ("quota", quota)]
        model = RerankedRecommender(EASE(), rerankers, n_candidates=n).fit(R)
        excluded = rng.random(X.shape) < rng.random((1000, 1))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            lists = model.recommend(X, n, exclude=excluded)
        seen = X.toarray() != 0
        assert not (seen | excluded)[np.nonzero(lists >= 0)[0], lists[lists >= 0]].any()
        one_hot = np.append(np.eye(5, dtype=int)[CATEGORIES], np.zeros((1, 5), dtype=int), axis=0)
        counts = one_hot[lists].sum(axis=1)
        eligible = (~(seen | excluded)).astype(int) @ one_hot[:-1]
        assert np.all(counts <= maximum)
        assert np.all(counts >= np.minimum(minimum, eligible))
        longest = np.minimum(n, np.minimum(eligible, maximum).sum(axis=1))
        assert_array_equal((lists >= 0).sum(axis=1), longest)
        unmet = np.any(eligible < minimum, axis=1)
        warned = [w for w in caught if "too few eligible items for" in str(w.message)]
        assert bool(warned) == unmet.any()
        n_cases += len(lists)
        n_unmet += np.count_nonzero(unmet)
    assert n_cases == 10_000
    assert 500 < n_unmet < 9_500


def test_a_warning_names_the_reranker_that_cannot_be_followed():
    quota = CategoryQuota(CATEGORIES, minimum={0: 2})
    model = RerankedRecommender(EASE(), [("quota", quota)]).fit(R)
    of_0 = np.flatnonzero(CATEGORIES == 0)
    with pytest.warns(RecommenderWarning, match="too few .* reranker 'quota' .CategoryQuota.:"):
        lists = model.recommend(exclude=of_0[1:])
    unseen = R.toarray()[:, of_0[0]] == 0
    assert_array_equal((lists == of_0[0]).any(axis=1), unseen)
    assert np.all(lists >= 0)  # filled with others
    model.recommend()  # without a warning


def test_items_that_must_be_listed_are_found_outside_of_the_candidates():
    last = EASE().fit(R).recommend(n=N_ITEMS)
    item = np.bincount(last[last >= 0], minlength=N_ITEMS).argmin()
    rules = ItemRules(pd.DataFrame({"item": [item, 3], "rule": ["must", "must_not"]}))
    model = RerankedRecommender(EASE(), [("rules", rules)], n_candidates=5).fit(R)
    lists = model.recommend(n=4)
    assert_array_equal((lists == item).any(axis=1), R.toarray()[:, item] == 0)
    assert not np.any(lists == 3)


def test_rules_for_users():
    rules = pd.DataFrame({"user": [5, None], "item": [3, 4], "rule": ["must", "must_not"]})
    model = RerankedRecommender(EASE(), [("rules", ItemRules(rules))]).fit(R)
    own = EASE().fit(R)
    item = own.recommend(5, n=N_ITEMS)[0, -15]
    rules = pd.DataFrame({"user": [5, 5], "item": [item, own.recommend(5)[0, 0]]})
    rules["rule"] = ["must", "must_not"]
    model = RerankedRecommender(EASE(), [("rules", ItemRules(rules))]).fit(R)
    best = own.recommend(5, n=10)[0]
    expected = [*best[1:], item]
    assert_array_equal(model.recommend(5)[0], expected)
    assert_array_equal(model.recommend(R[[5]])[0], expected)  # a user is their history
    others = np.arange(R.shape[0]) != 5
    assert_array_equal(model.recommend(others), own.recommend(others))
    new = sp.random_array((9, N_ITEMS), density=0.2, rng=0, format="csr")
    assert_array_equal(model.recommend(new), own.recommend(new))


def test_what_a_cap_leaves_is_what_a_later_quota_chooses_from():
    decades = np.random.default_rng(3).integers(0, 4, size=N_ITEMS)
    cap, quota = CategoryQuota(decades, maximum=3), CategoryQuota(CATEGORIES, minimum={1: 2, 2: 1})
    mmr = MaximalMarginalRelevance(GENRES, trade_off=0.6)
    rerankers = [("cap", cap), ("mmr", mmr), ("quota", quota)]
    model = RerankedRecommender(EASE(), rerankers, n_candidates=15).fit(R)
    with pytest.warns(RecommenderWarning, match="reranker 'quota'"):
        lists = model.recommend(n=8)
    assert cap.fit(R).is_met(lists).all()
    left = CATEGORIES[cap.rerank(EASE().fit(R).recommend(n=N_ITEMS), n=12)]
    feasible = ((left == 1).sum(axis=1) >= 2) & ((left == 2).sum(axis=1) >= 1)
    assert_array_equal(quota.fit(R).is_met(lists), feasible)
    assert 10 < feasible.sum() < 90


# ------------------------------------------------------------------------------- lists and scores


def test_lists_are_those_of_the_reranker():
    mmr = MaximalMarginalRelevance(GENRES, trade_off=0.5)
    model = RerankedRecommender(EASE(), [("mmr", mmr)], n_candidates=20).fit(R)
    own = EASE().fit(R)
    ids, scores = own.recommend(n=20, return_scores=True)
    lists, list_scores = model.recommend(n=6, return_scores=True)
    assert_array_equal(lists, mmr.fit(R).rerank(ids, scores, 6))
    assert_array_equal(list_scores, np.take_along_axis(own.predict(R), lists, axis=1))
    assert_array_equal(model.predict(R), own.predict(R))
    pairs = [0, 1], [2, 3]
    assert_array_equal(model.predict_pairs(R, *pairs), own.predict_pairs(R, *pairs))
    loss = relevance_loss_at_k(list_scores, scores, k=6, average=None)
    assert np.all(loss >= 0)
    assert loss.max() > 0


def test_score_is_that_of_the_reranked_lists():
    train, test = random_holdout(R, random_state=0)
    model = RerankedRecommender(EASE(), [("cal", Calibration(GENRES, trade_off=0.7))]).fit(train)
    assert model.score(train, test) == ndcg_at_k(test, model.recommend())
    assert model.score(train, test) != model.estimator_.score(train, test)


def test_ratings_are_those_of_the_model():
    ratings = R.copy()
    ratings.data = np.random.default_rng(0).integers(1, 6, size=R.nnz).astype(np.float32)
    train, test = random_holdout(ratings, random_state=0)
    cap = CategoryQuota(CATEGORIES, maximum=2)
    model = RerankedRecommender(BiasRecommender(), [("cap", cap)]).fit(train)
    assert model.score(train, test) == BiasRecommender().fit(train).score(train, test) < 0


def test_what_was_seen_is_raw_in_a_pipeline():
    """Items that a step drops from the histories are seen all the same."""
    ratings = R.copy()
    ratings.data = np.random.default_rng(0).integers(1, 6, size=R.nnz).astype(np.float32)
    inner = RerankedRecommender(EASE(), [("mmr", MaximalMarginalRelevance(GENRES, trade_off=0.4))])
    pipe = make_recommender_pipeline(Binarizer(threshold=3), inner).fit(ratings)
    outer = RerankedRecommender(
        make_recommender_pipeline(Binarizer(threshold=3), EASE()), inner.rerankers
    ).fit(ratings)
    lists = pipe.recommend()
    assert not R.toarray()[np.arange(100)[:, None], lists].any()
    assert_array_equal(lists, outer.recommend())
    candidates = sp.csr_array(np.random.default_rng(1).random(R.shape) < 0.5)
    lists = pipe.recommend(candidates=candidates, n=5)
    assert_array_equal(lists, outer.recommend(candidates=candidates, n=5))
    assert candidates.toarray()[np.arange(100)[:, None], lists][lists >= 0].all()
    assert not np.array_equal(lists, pipe.recommend(n=5, candidates=candidates, exclude_seen=False))


# ------------------------------------------------------------------------------- raw ids


def make_pipe(rerankers, estimator=None):
    users, items = R.nonzero()
    events = pd.DataFrame({"who": [f"u{user}" for user in users], "what": 1000 - items})
    encoder = InteractionEncoder("who", "what", values="one")
    X = encoder.fit_transform(events.sample(frac=1, random_state=0))
    model = RerankedRecommender(EASE() if estimator is None else estimator, rerankers)
    return make_recommender_pipeline(model, encoder=encoder), X, encoder


def test_frames_of_features_and_categories_are_matched_by_raw_id():
    raw = 1000 - np.arange(N_ITEMS)
    tags = ["|".join(np.array([*"abcdef"])[row > 0]) for row in GENRES]
    frame = pd.DataFrame({"genres": tags}, index=raw)
    cosines = pd.DataFrame(GENRES @ GENRES.T / 6, index=raw, columns=raw)
    categories = pd.Series(CATEGORIES, index=raw)
    _, X, encoder = make_pipe([])
    ids = encoder.item_ids_

    def shuffled(values):
        return values.sample(frac=1, random_state=0)

    forms = [
        (MaximalMarginalRelevance(shuffled(frame)), MaximalMarginalRelevance(frame.loc[ids])),
        (Calibration(shuffled(frame)), Calibration(frame.loc[ids])),
        (  # ids in a column are no feature
            Calibration(shuffled(frame).rename_axis("what").reset_index()),
            Calibration(frame.loc[ids]),
        ),
        (
            MaximalMarginalRelevance(similarity=shuffled(cosines)[cosines.index[::-1]]),
            MaximalMarginalRelevance(similarity=cosines.loc[ids, ids].to_numpy()),
        ),
    ]
    for reranker, aligned in forms:
        cap = CategoryQuota(shuffled(categories), maximum=2)
        pipe = make_pipe([("first", reranker), ("cap", cap)])[0].fit(X)
        cap = CategoryQuota(categories.loc[ids].to_numpy(), maximum=2)
        expected = RerankedRecommender(EASE(), [("first", aligned), ("cap", cap)]).fit(X)
        assert_array_equal(pipe.recommend(n=6)["what"], ids[expected.recommend(n=6)].ravel())
        assert not np.array_equal(expected.recommend(n=6), EASE().fit(X).recommend(n=6))


def test_features_of_the_wrapped_model_are_matched_by_raw_id():
    raw = 1000 - np.arange(N_ITEMS)
    frame = pd.DataFrame({"genres": [*"ABCD"] * 10}, index=raw)
    shuffled = frame.sample(frac=1, random_state=0)
    cap = ("cap", CategoryQuota(pd.Series(CATEGORIES, index=raw), maximum=2))
    pipe, X, encoder = make_pipe([cap], ContentRecommender(shuffled))
    expected, *_ = make_pipe([cap], ContentRecommender(frame.loc[encoder.item_ids_].to_numpy()))
    expected.set_params(rerankedrecommender__estimator=ContentRecommender(frame))
    assert pipe.fit(X).recommend().equals(expected.fit(X).recommend())


def test_rules_with_raw_ids():
    frame = pd.DataFrame(
        {
            "who": ["u3", None, "u4"],
            "what": [1000, 999, 998],
            "rule": ["must", "must_not", "must_not"],
        }
    )
    pipe, X, _ = make_pipe([("rules", ItemRules(frame))])
    lists = pipe.fit(X).recommend(n=N_ITEMS)
    lists = lists.groupby("who")["what"].agg(set)
    assert not any(999 in items for items in lists)
    assert 998 not in lists["u4"]
    assert any(998 in items for items in lists)
    top = pipe.recommend(["u3", "u5"], n=3)
    assert (1000 in set(top["what"][top["who"] == "u3"])) == (R[3, 0] == 0)
    with pytest.raises(ValueError, match="not the users of the encoder"):
        pipe.fit(X[:50])
    frame["who"] = ["u3", None, "nobody"]
    with pytest.raises(ValueError, match="users that are none of those seen in fit: 'nobody'"):
        make_pipe([("rules", ItemRules(frame))])[0].fit(X)


def test_labels_of_a_frame_decide():
    names = [f"m{item}" for item in range(N_ITEMS)]
    X = pd.DataFrame(R.toarray(), columns=names)
    rules = ItemRules(pd.DataFrame({"item": ["m3"], "rule": ["must_not"]}))
    categories = pd.Series(CATEGORIES, index=names).sample(frac=1, random_state=0)
    cap = CategoryQuota(categories, maximum=2)
    model = RerankedRecommender(EASE(), [("rules", rules), ("cap", cap)]).fit(X)
    lists = model.recommend(n=6)
    assert not np.any(lists == 3)
    assert CategoryQuota(CATEGORIES, maximum=2).fit(R).is_met(lists).all()
    with pytest.raises(ValueError, match="no row for 1 of 40 item id"):
        cap = CategoryQuota(categories.drop("m7"), maximum=2)
        RerankedRecommender(EASE(), [("cap", cap)]).fit(X)


# ------------------------------------------------------------------------------- scikit-learn


def test_parameters_are_nested_and_searched():
    model = RerankedRecommender(
        EASE(), [("mmr", MaximalMarginalRelevance(GENRES)), ("cap", CategoryQuota(CATEGORIES))]
    )
    assert {"estimator__l2", "mmr__trade_off", "cap__maximum", "mmr"} <= set(model.get_params())
    assert "mmr" in estimator_html_repr(model)
    train, valid = random_holdout(R, random_state=0)
    grid = {"mmr__trade_off": [0, 0.9], "estimator__l2": [1, 100], "cap__maximum": [2, None]}
    search = GridSearchCV(model, grid, cv=HoldoutSplit()).fit(train, valid)
    assert set(search.best_params_) == set(grid)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) > 4
    best = clone(model).set_params(**search.best_params_).fit(train)
    assert best.score(train, valid) == search.best_score_
    pipe = RecommenderPipeline([("like", Binarizer()), ("model", model)])
    pipe.set_params(model__mmr__trade_off=0.2)
    assert model.rerankers[0][1].trade_off == 0.2


def test_models_are_saved_and_loaded(tmp_path):
    rules = pd.DataFrame({"user": [5, None], "item": [3, 4], "rule": ["must_not", "must_not"]})
    rerankers = [
        ("rules", ItemRules(rules)),
        ("mmr", MaximalMarginalRelevance(similarity=GENRES @ GENRES.T / 6)),
        ("quota", CategoryQuota(pd.Series(list("ab") * 20), minimum=2)),
    ]
    model = RerankedRecommender(EASE(), rerankers, n_candidates=20).fit(R)
    cal = RerankedRecommender(ItemKNN(), [("cal", Calibration(sp.csr_array(GENRES)))]).fit(R)
    for fitted in (model, cal):
        fitted.save(tmp_path / "model.recsys")
        for copy in (load(tmp_path / "model.recsys"), pickle.loads(pickle.dumps(fitted))):
            assert_array_equal(copy.recommend(), fitted.recommend())
            assert_array_equal(copy.recommend(R[:9]), fitted.recommend(R[:9]))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda model: vars(model).update(rerankers_=3), "not a list of rerankers"),
        (lambda model: model.rerankers_.append(("x", EASE())), "not a list of pairs"),
        (lambda model: model.rerankers_.append(("x", CategoryQuota([1]))), "not fitted"),
        (
            lambda model: vars(model.rerankers_[0][1]).update(
                item_categories_=np.zeros(3, dtype=np.int64)
            ),
            "n_items is 3",
        ),
        (lambda model: vars(model).update(estimator_=EASE().fit(np.eye(3))), "n_users is 3"),
        (lambda model: model.set_params(rerankers="abc"), "not a list"),
    ],
)
def test_invalid_models_are_not_saved(change, match, tmp_path):
    model = RerankedRecommender(EASE(), [("cap", CategoryQuota(CATEGORIES))]).fit(R)
    change(model)
    with pytest.raises((ValueError, TypeError), match=match):
        model.save(tmp_path / "model.recsys")


def test_new_users_are_added():
    mmr = ("mmr", MaximalMarginalRelevance(GENRES))
    model = RerankedRecommender(EASE(), [mmr]).fit(R[:60]).partial_fit(R[60:])
    assert_array_equal(model.recommend(), RerankedRecommender(EASE(), [mmr]).fit(R).recommend())


class LikedByGroup(UserFeaturesMixin, BaseEstimator):
    """The items that a user's group likes."""

    def _fit(self, X):
        self.sums_ = self.user_features_.T @ X

    def _score_items(self, X, user_features=None):
        return user_features @ self.sums_ + 1e-3 * X.sum(axis=1)[:, None]


def test_features_of_users_are_passed_on():
    groups = np.eye(4, dtype=np.float32)[np.arange(100) % 4]
    cap = ("cap", CategoryQuota(CATEGORIES, maximum=2))
    model = RerankedRecommender(LikedByGroup(), [cap]).fit(R, user_features=groups)
    own = LikedByGroup().fit(R, user_features=groups)
    new = R[:8], groups[::-1][:8]
    ids, scores = own.recommend(new[0], N_ITEMS, user_features=new[1], return_scores=True)
    expected = CategoryQuota(CATEGORIES, maximum=2).fit(R).rerank(ids, scores, 10)
    assert_array_equal(model.recommend(new[0], user_features=new[1]), expected)
    assert_array_equal(model.recommend([1, 2]), model.recommend()[[1, 2]])
    with pytest.raises(ValueError, match="does not keep"):
        model.partial_fit(R)


def test_the_methods_of_the_model_are_there_if_it_has_them():
    model = RerankedRecommender(EASE(), []).fit(R)
    assert_array_equal(model.explain(0, 1), model.estimator_.explain(0, 1))
    knn = RerankedRecommender(ItemKNN(), []).fit(R)
    assert_array_equal(knn.similar_items(3), knn.estimator_.similar_items(3))
    assert not hasattr(model, "similar_items")
    als = RerankedRecommender(ALS(n_factors=4), []).fit(R)
    assert_array_equal(als.similar_users([3]), als.estimator_.similar_users([3]))
    assert not hasattr(model, "similar_users")


@pytest.mark.parametrize(
    ("rerankers", "match"),
    [
        ([MMR, ("cal", Calibration(GENRES))], r"\['mmr', 'cal'\] all weigh scores"),
        ([("q", CategoryQuota(CATEGORIES, minimum=1)), MMR], "'q' requires items.*put it last"),
        (
            [("r", ItemRules(pd.DataFrame({"item": [1], "rule": ["must"]}))), CAP],
            "'r' requires items",
        ),
        ([("a__b", MMR[1])], "must not contain __"),
        ([("estimator", MMR[1])], "conflict with constructor arguments"),
        ([MMR, MMR], "not unique"),
        ([MMR[1]], "pairs; got"),
        ([("ease", EASE())], "pairs; got"),
        (3, "The 'rerankers' parameter"),
    ],
)
def test_rerankers_that_make_no_sense(rerankers, match):
    with pytest.raises(ValueError, match=match):
        RerankedRecommender(EASE(), rerankers).fit(R)


def test_an_estimator_is_needed():
    with pytest.raises(ValueError, match="The 'estimator' parameter"):
        RerankedRecommender(Binarizer(), []).fit(R)


class Careless(RerankedRecommender):
    """Lists other items than those that were chosen, whatever the caller excludes."""

    def _rank_block(self, histories, n, eligible):
        ids, scores = super()._rank_block(histories, n, eligible)
        return (ids + 1) % histories.X.shape[1], scores


@pytest.mark.parametrize(
    "check", ["check_recommend_shape_and_order", "check_candidates_and_exclude"]
)
def test_the_contract_is_checked_for_reranked_lists_too(check):
    assert not get_tags(Careless(EASE(), [MMR])).recommender_tags.ranks_by_score
    (run,) = [c for c in recommender_checks(Careless(EASE(), [MMR])) if c.func.__name__ == check]
    with pytest.raises(AssertionError):
        run()
