"""`score` notices held-out cells that the model was fitted on, and raises no false alarm."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.preprocessing import Binarizer

from sklearn_recsys import EASE, PopularityRecommender, RecommenderPipeline, UserKNN
from sklearn_recsys.base._leaks import leaked_share
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.exceptions import LeakWarning, ValuesWarning
from sklearn_recsys.metrics import make_recommender_scorer
from sklearn_recsys.model_selection import (
    HoldoutSplit,
    cell_kfold,
    cross_validate,
    evaluate,
    random_holdout,
    user_split,
)
from sklearn_recsys.utils._cells import take_cells
from sklearn_recsys.utils._content_split import hold_out_by_content
from sklearn_recsys.utils.validation import check_csr

R = check_csr(make_ratings(120, 60, density=0.15, random_state=0), dtype=np.float32)
TRAIN, TEST = random_holdout(R, per_user=True, random_state=0)
ORDER = np.random.default_rng(0).permutation(120)
ONES = (R > 0).astype(np.float32)
SOME = take_cells(TEST, np.random.default_rng(0).random(TEST.nnz) < 0.3)
LIKES = take_cells(R, R.data >= 4)


def alike(n_users, seed):
    """Short histories of popular items: many users have equal ones."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 31)
    items = [
        rng.choice(30, size=2, replace=False, p=weights / weights.sum()) for _ in range(n_users)
    ]
    rows = np.repeat(np.arange(n_users), 2)
    X = sp.csr_array((np.ones(2 * n_users), (rows, np.concatenate(items))), shape=(n_users, 30))
    return check_csr(X, dtype=np.float32)


def share(X, y, fitted):
    return leaked_share(*(check_csr(part, dtype=np.float32) for part in (X, y, fitted)))


@pytest.mark.parametrize(
    "X, y, fitted",
    [
        (TRAIN, TEST, R),
        (TRAIN[ORDER], TEST[ORDER], R),
        (TRAIN[ORDER[:30]], TEST[ORDER[:30]], R),
        (TRAIN[[5]], TEST[[5]], R),
        (TRAIN, TEST, ONES),
        (TRAIN[ORDER], TEST[ORDER], ONES),
        (TRAIN, take_cells(TEST, TEST.data >= 4), R),
        (TRAIN, SOME, TRAIN + SOME),
        (sp.csr_array(R.shape), R, R),
    ],
)
def test_all_cells_were_fitted(X, y, fitted):
    assert share(X, y, fitted) == 1


def test_some_cells_were_fitted():
    assert share(TRAIN, TEST, TRAIN + SOME) == SOME.nnz / TEST.nnz
    assert share(TRAIN, TEST, LIKES) == np.mean(TEST.data >= 4)
    # a third of the users whole, and none in its place
    half = sp.vstack([R[:40], TRAIN[40:]], format="csr")
    assert share(TRAIN[ORDER], TEST[ORDER], half) == pytest.approx(TEST[:40].nnz / TEST.nnz)
    # what is in X, too, is no leak of fit
    repeated = TEST + take_cells(TRAIN, np.arange(TRAIN.nnz) % 5 == 0)
    assert share(TRAIN, repeated, R) == TEST.nnz / repeated.nnz


@pytest.mark.parametrize("n_splits", [2, 3, 10])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "data", [R, ONES, alike(200, 0), check_csr(make_interactions(100, 25, random_state=0))]
)
def test_new_users_are_not_accused(data, seed, n_splits):
    """Not even where train and test have as many rows, or rows are short and often equal."""
    known, held_out = random_holdout(data, per_user=True, random_state=seed)
    for train, test in KFold(n_splits, shuffle=True, random_state=seed).split(data):
        assert share(known[test], held_out[test], data[train]) == 0
        assert share(*hold_out_by_content(data[test]), data[train]) == 0


@pytest.mark.parametrize("order", [np.arange(120), ORDER, ORDER[:30], [5]])
def test_what_was_held_out_before_fit_is_no_leak(order):
    assert share(TRAIN[order], TEST[order], TRAIN) == 0
    assert share(TRAIN[order], TRAIN[order], TRAIN) == 0  # an overlap, which is said elsewhere


def test_like_minded_users_in_one_order_are_not_taken_for_each_other():
    """Two groups, one after the other or taking turns, in train and test alike."""
    rng = np.random.default_rng(0)
    groups = np.kron(np.eye(2), np.ones((20, 20)))
    for order in (np.arange(40), np.arange(40).reshape(2, 20).T.ravel()):
        train, test = (
            check_csr(groups[order] * (rng.random((40, 40)) < 0.9), dtype=np.float32)
            for _ in range(2)
        )
        assert share(*random_holdout(test, per_user=True, random_state=0), train) == 0


# ----------------------------------------------------------------------- where it is said


def leaks(function, *args, **kwargs):
    """Return the shares that the warnings name."""
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        function(*args, **kwargs)
    assert all(warning.category is LeakWarning for warning in record)
    assert all(warning.filename == __file__ for warning in record)
    return [re.search(r"on ([\d.]+%)", str(warning.message)).group(1) for warning in record]


ITEMS = TEST.indices[TEST.indptr[:-1]]  # one held-out item of each


@pytest.mark.parametrize(
    "model",
    [EASE(10), UserKNN(), RecommenderPipeline([("like", Binarizer(threshold=3)), ("m", EASE(10))])],
    ids=["EASE", "UserKNN", "pipeline"],
)
def test_score_says_the_share(model):
    leaky, clean = clone(model).fit(R), clone(model).fit(TRAIN)
    assert leaks(leaky.score, TRAIN, TEST) == ["100.0%"]
    assert leaks(leaky.score, TRAIN, ITEMS) == ["100.0%"]
    assert leaks(leaky.score, TRAIN[ORDER], TEST[ORDER]) == ["100.0%"]
    assert leaks(leaky.score, R) == ["100.0%"]
    assert leaks(leaky.score, R[:40]) == ["100.0%"]
    assert leaks(leaky.score, TRAIN, TEST, exclude_seen=False, metric="hr@3") == ["100.0%"]
    assert leaks(clean.score, TRAIN, TEST) == []
    assert leaks(clean.score, TRAIN, ITEMS) == []
    partly = clone(model).fit(TRAIN + SOME)
    assert leaks(partly.score, TRAIN, TEST) == [f"{SOME.nnz / TEST.nnz:.1%}"]


@pytest.mark.parametrize(
    "model", [EASE(), RecommenderPipeline([("like", Binarizer(threshold=3)), ("ease", EASE())])]
)
def test_a_held_out_part_is_no_set_of_new_users(model):
    model.fit(TRAIN)
    with pytest.warns(ValuesWarning, match=r"held out of these.* score\(train, test\)\.$"):
        model.score(TEST)
    others = [R[ORDER][:60], TEST[ORDER], TEST[:100], make_ratings(120, 60, random_state=1)]
    for X in others:  # new users, in any number
        model.score(X)
    model.score(TRAIN, TEST)
    for seed in range(20):  # rows with as little in common as chance would have it
        new = make_interactions(40, 60, density=0.03, random_state=seed)
        EASE().fit(new).score(make_interactions(40, 60, density=0.03, random_state=100 + seed))


def test_partial_fit_counts():
    model = EASE(10).fit(TRAIN[:60])
    assert leaks(model.score, TRAIN[60:], TEST[60:]) == []
    model.partial_fit(R[60:])
    assert leaks(model.score, TRAIN[60:], TEST[60:]) == ["100.0%"]
    assert leaks(model.score, TRAIN, TEST) == [f"{TEST[60:].nnz / TEST.nnz:.1%}"]


def test_scorers_and_evaluate_say_it():
    model = EASE(10).fit(R)
    assert leaks(make_recommender_scorer(["hr", "ndcg@5"]), model, TRAIN, TEST) == ["100.0%"]
    assert leaks(evaluate, model, TRAIN, TEST) == ["100.0%"]
    assert leaks(evaluate, {"a": model, "b": EASE(10).fit(TRAIN)}, TRAIN, TEST) == ["100.0%"]


def test_cross_validation_is_clean():
    split = user_split(R, test_size=60, random_state=0)
    assert leaks(EASE(10).fit(split.X_train).score, split.X_test, split.y_test) == []
    assert leaks(cross_validate, EASE(10), R, cv=2) == []
    assert leaks(cross_validate, EASE(10), TRAIN, TEST, cv=HoldoutSplit()) == []
    X, y, cv = cell_kfold(R, 3, random_state=0)
    assert leaks(cross_validate, PopularityRecommender(), X, y, cv=cv) == []
    search = GridSearchCV(EASE(), {"l2": [1, 10]}, cv=3)
    assert leaks(search.fit, R) == []
    assert leaks(search.fit, TRAIN, TEST) == []
    assert leaks(search.score, TRAIN, TEST) == []
    assert leaks(search.fit(R).score, TRAIN, TEST) == ["100.0%"]
