"""The contract of recommenders, on random models, matrices, containers and labels."""

from __future__ import annotations

import os
import pickle
import tempfile
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases import (
    CLOSED,
    CONTAINERS,
    LABELS,
    RATERS,
    containers,
    corrupted,
    corruptions,
    holds,
    labels,
    models,
    problems,
    problems_and_histories,
    seeds,
    values_of,
)
from hypothesis import assume, note, strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

from sklearn_recsys import load
from sklearn_recsys.exceptions import LeakWarning


def assert_close(actual, expected, tolerance=1e-4):
    """Assert that scores agree to float32 accuracy of their spread."""
    spread = np.abs(expected).max(initial=0)
    assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * max(spread, 1e-30))


def all_scores(model, histories):
    """Return every item's unclipped score for every row, by way of a full ranking."""
    n_items = histories.shape[1]
    ids, ranked = model.recommend(histories, n_items, exclude_seen=False, return_scores=True)
    assert_array_equal(np.sort(ids, axis=1), np.tile(np.arange(n_items), (len(ids), 1)))
    scores = np.empty_like(ranked)
    np.put_along_axis(scores, ids, ranked, axis=1)
    assert np.isfinite(scores).all()
    return scores


# ---------------------------------------------------------------- lists


@holds(
    weight=3,
    case=problems_and_histories(),
    n=st.integers(1, 15),
    exclude_seen=st.booleans(),
    sets=st.sampled_from(["none", "everyone", "table", "mask", "sparse"]),
    name=st.sampled_from(["candidates", "exclude"]),
    seed=seeds,
)
def test_lists_are_the_masked_ranking(case, n, exclude_seen, sets, name, seed):
    model, X, histories = case
    model.fit(X)
    n_rows, n_items = histories.shape
    scores = all_scores(model, histories)
    rng = np.random.default_rng(seed)
    chosen = rng.random((n_rows, n_items)) < 0.5
    if sets == "everyone":
        chosen[:] = chosen[0]
    form = {
        "none": lambda: None,
        "everyone": lambda: np.flatnonzero(chosen[0]),
        "table": lambda: np.where(chosen, np.arange(n_items), -1),
        "mask": lambda: chosen,
        "sparse": lambda: sp.csr_array(chosen),
    }[sets]()
    if form is None:
        chosen[:] = name == "candidates"
    allowed = chosen if name == "candidates" else ~chosen
    if exclude_seen:
        allowed = allowed & (histories.toarray() == 0)
    options = {name: form, "exclude_seen": exclude_seen}
    ids, got = model.recommend(histories, n, return_scores=True, **options)
    assert ids.shape == got.shape == (n_rows, n)
    ranked = np.sort(np.where(allowed, -scores, np.inf), axis=1, kind="stable")
    for row in range(n_rows):
        length = min(n, allowed[row].sum())
        items = ids[row, :length]
        assert len(set(items)) == length
        assert allowed[row, items].all()
        assert (ids[row, length:] == -1).all()
        assert np.isneginf(got[row, length:]).all()
        assert_close(got[row, :length], -ranked[row, :length])
        assert_close(got[row, :length], scores[row, items])


@holds(case=problems(), seed=seeds)
def test_training_rows_are_asked_for_by_number_mask_or_history(case, seed):
    model, X = case
    model.fit(X)
    everyone = model.recommend(n=4)
    rows = np.random.default_rng(seed).integers(X.shape[0], size=3)
    assert_array_equal(model.recommend(rows, 4), everyone[rows])
    assert_array_equal(model.recommend(int(rows[0]), 4), everyone[rows[:1]])
    mask = np.isin(np.arange(X.shape[0]), rows)
    assert_array_equal(model.recommend(mask, 4), everyone[mask])
    assert_array_equal(model.recommend(model.interactions_[rows], 4), everyone[rows])


@holds(case=problems_and_histories(), seed=seeds)
def test_rows_are_answered_one_by_one(case, seed):
    """A user is their history: neither the order of the rows nor the others matter."""
    model, X, histories = case
    model.fit(X)
    predicted = model.predict(histories)
    order = np.random.default_rng(seed).permutation(histories.shape[0])
    assert_close(model.predict(histories[order]), predicted[order])
    row = order[0]
    assert_close(model.predict(histories[[row]]), predicted[[row]])


@holds(case=problems_and_histories(), seed=seeds)
def test_pairs_are_cells_of_predict(case, seed):
    model, X, histories = case
    model.fit(X)
    rng = np.random.default_rng(seed)
    rows = rng.integers(histories.shape[0], size=7)
    items = rng.integers(histories.shape[1], size=7)
    assert_close(model.predict_pairs(histories, rows, items), model.predict(histories)[rows, items])


# ---------------------------------------------------------------- what comes in


@holds(weight=2, case=problems(), first=containers, second=containers)
def test_containers_agree(case, first, second):
    model, X = case
    if values_of(model) == "order":
        assume("halved duplicates" not in (first, second))  # halves of times: another float64 sum
    expected = clone(model).fit(X).predict(X)
    assert_close(model.fit(CONTAINERS[first](X)).predict(CONTAINERS[second](X)), expected)


@holds(case=problems(neural=0.2), container=containers)
def test_input_is_not_written_to(case, container):
    model, X = case
    given = CONTAINERS[container](X)
    before = pickle.dumps(given)
    model.fit(given)
    model.predict(given)
    model.recommend(given, 3)
    assert pickle.dumps(given) == before


DOORS = {
    "fit": lambda model, X, bad: clone(model).fit(bad),
    "partial_fit": lambda model, X, bad: model.partial_fit(bad),
    "predict": lambda model, X, bad: model.predict(bad),
    "predict_pairs": lambda model, X, bad: model.predict_pairs(bad, [0], [0]),
    "recommend": lambda model, X, bad: model.recommend(bad),
    "score": lambda model, X, bad: model.score(bad),
    "score, y": lambda model, X, bad: model.score(X, bad),
    "candidates": lambda model, X, bad: model.recommend(X, candidates=bad),
    "exclude": lambda model, X, bad: model.recommend(X, exclude=bad),
    "score, candidates": lambda model, X, bad: model.score(X, X, candidates=bad),
}


@holds(
    weight=3,
    case=problems(neural=0.2, min_users=2, min_items=2),
    door=st.sampled_from(sorted(DOORS)),
    corruption=corruptions,
)
def test_corrupt_matrices_are_refused(case, door, corruption):
    model, X = case
    model.fit(X)
    before = model.predict(X)
    with pytest.raises(ValueError):
        DOORS[door](model, X, corrupted(X.shape, corruption))
    assert_array_equal(model.predict(X), before)


@holds(case=problems(neural=0.1, min_items=2), kind=labels, seed=seeds)
def test_labels_of_items_decide(case, kind, seed):
    model, X = case
    names = LABELS[kind](X.shape[1])
    frame = pd.DataFrame(X.toarray(), columns=names)
    expected = clone(model).fit(X).predict(X)
    model.fit(frame)
    assert_close(model.predict(frame), expected)
    order = np.random.default_rng(seed).permutation(X.shape[1])
    assume((order != np.arange(X.shape[1])).any())
    moved = frame.iloc[:, order]
    for ask in (model.predict, model.recommend, model.score, model.partial_fit):
        with pytest.raises(ValueError):
            ask(moved)
    with pytest.raises(ValueError):
        model.recommend(frame, exclude=moved.astype(bool))
    with pytest.raises(ValueError):
        model.score(frame, moved, exclude_seen=False)
    assert_close(model.predict(frame), expected)


# ---------------------------------------------------------------- values


@holds(case=problems(["ItemKNN", "UserKNN"], max_items=8), exponent=st.integers(-30, 30))
def test_a_cosine_does_not_depend_on_scale(case, exponent):
    model, X = case
    model.set_params(metric="cosine", shrinkage=0.0)
    scale = 10.0**exponent
    assume(1e-37 < X.data.min() * scale and X.data.max() * scale < 1e37)
    expected = clone(model).fit(X).predict(X)
    got = model.fit(X * scale).predict(X * scale) / scale  # sums of cosines times values
    rows = np.diff(X.indptr) > 0  # the others are answered by popularity, a count
    assert_close(got[rows], expected[rows], 1e-3)


@holds(
    case=problems(RATERS, min_users=2, min_items=2),
    unit=st.sampled_from([(1e-6, 0), (0.2, 0), (20, 0), (1e4, 0), (5, -14.5), (2, 1000)]),
)
def test_ratings_have_no_unit(case, unit):
    a, b = unit
    model, X = case
    X.data = np.round(np.abs(X.data)) + 1.0  # 1, 2, …: no value of a·r + b is zero
    assume(X.data.min() < X.data.max())
    moved = X.copy()
    moved.data = a * X.data + b
    expected = clone(model).fit(X).predict(X)
    got = (model.fit(moved).predict(moved).astype(np.float64) - b) / a
    assert_allclose(got, expected, atol=2e-3 * (X.data.max() - X.data.min()))


@holds(
    case=problems(neural=0.25),
    exponent=st.sampled_from([-40, -30, -20, -10, 10, 20, 30, 37]),
)
def test_values_of_any_size_are_answered_or_refused(case, exponent):
    """A finite answer or a sentence; never NaN, a warning of numpy, or another exception."""
    model, X = case
    X.data = X.data * 10.0**exponent
    try:
        model.fit(X)
        predicted = model.predict(X)
        ids = model.recommend(n=3)
    except ValueError as error:
        assert len(str(error)) > 20
    else:
        assert np.isfinite(predicted).all()
        assert ids.shape == (X.shape[0], 3)


# how long to train, and whether to print: extreme values are no errors, but take forever, or print
HARMLESS = {"max_epochs", "max_iter", "n_refeeds", "encoder_epochs", "cg_steps", "verbose"}
EXTREMES = [
    0,
    1,
    -1,
    2.5,
    1e-12,
    1e12,
    1e300,
    np.nan,
    np.inf,
    10**12,
    True,
    "x",
    None,
    (),
    (10**12,),
]


@holds(weight=2, case=problems(neural=0.7), seed=seeds)
def test_parameters_are_refused_or_work(case, seed):
    """A finite answer or a sentence, and no allocation that cannot be meant."""
    model, X = case
    names = sorted(model.get_params(deep=False))
    assume(names)
    rng = np.random.default_rng(seed)
    name, value = names[rng.integers(len(names))], EXTREMES[rng.integers(len(EXTREMES))]
    note(f"{name}={value!r}")
    assume(name not in HARMLESS)
    try:
        model.set_params(**{name: value})
        predicted = model.fit(X).predict(X)
    except (ValueError, MemoryError) as error:
        assert len(str(error)) > 20
    except TypeError as error:  # an invalid step of a pipeline
        assert name in {"steps", "encoder", "memory"}, error
    else:
        assert np.isfinite(predicted).all()


# ---------------------------------------------------------------- fitted state


@holds(case=problems(min_users=2), wrong=st.integers(0, 6))
def test_a_refused_partial_fit_changes_nothing(case, wrong):
    model, X = case
    model.fit(X)
    n_items = X.shape[1]
    holes = X.toarray()
    holes[0, 0] = np.nan
    bad = [
        sp.csr_array((1, n_items + 1)),
        sp.csr_array((0, n_items)),
        holes,
        np.full((2, n_items), "a"),
        X.toarray()[0],
        pd.DataFrame({"user": [1], "item": [2]}),
        X.toarray() + 1j,
    ][wrong]
    predicted, ids = model.predict(X), model.recommend(n=3)
    with pytest.raises((ValueError, TypeError)):
        model.partial_fit(bad)
    assert_array_equal(model.predict(X), predicted)
    assert_array_equal(model.recommend(n=3), ids)


@holds(case=problems(set(CLOSED) - {"RandomRecommender"}, min_users=3), share=st.floats(0, 1))
def test_partial_fit_of_closed_forms_adds_rows(case, share):
    model, X = case
    cut = 1 + round(share * (X.shape[0] - 2))
    assume(X[:cut].nnz)
    grown = clone(model).fit(X[:cut]).partial_fit(X[cut:])
    assert_close(grown.predict(X), model.fit(X).predict(X))


@holds(case=problems_and_histories())
def test_saving_changes_nothing(case):
    model, X, histories = case
    model.fit(X)
    predicted, ids = model.predict(histories), model.recommend(n=3)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "model.recsys")
        model.save(path)
        for copy in (load(path), pickle.loads(pickle.dumps(model))):
            assert_array_equal(copy.predict(histories), predicted)
            assert_array_equal(copy.recommend(n=3), ids)


@holds(case=problems_and_histories())
def test_a_second_fit_forgets_the_first(case):
    model, X, other = case
    again = clone(model).fit(other).fit(X)
    assert_array_equal(again.predict(X), model.fit(X).predict(X))


# ---------------------------------------------------------------- scores


@holds(
    case=problems(min_items=2),
    metric=st.sampled_from(["ndcg", "hr", "recall", "precision", "map", "mrr"]),
    k=st.integers(1, 15),
    exclude_seen=st.booleans(),
    seed=seeds,
)
def test_score_is_the_metric_of_the_lists(case, metric, k, exclude_seen, seed):
    import sklearn_recsys.metrics as metrics

    model, X = case
    model.fit(X)
    dense = X.toarray()
    held_out = dense * (np.random.default_rng(seed).random(dense.shape) < 0.4)
    assume(held_out.any())
    known = sp.csr_array(dense - held_out)
    held_out = sp.csr_array(held_out)
    score = model.score(known, held_out, metric=metric, k=k, exclude_seen=exclude_seen)
    lists = model.recommend(known, k, exclude_seen=exclude_seen)
    expected = getattr(metrics, f"{metric}_at_k")(held_out, lists, k)
    assert type(score) is float
    assert 0 <= score <= 1
    assert_allclose(score, expected, rtol=1e-12)


@holds(
    model=models({*CLOSED, *RATERS} - {"RandomRecommender"}, neural=0.1),
    n_users=st.integers(8, 20),
    share=st.floats(0.3, 0.7),
    fitted_share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=seeds,
)
def test_scores_of_what_was_fitted_are_called_a_leak(model, n_users, share, fitted_share, seed):
    rng = np.random.default_rng(seed)
    dense = rng.integers(1, 6, (n_users, 16)) * (rng.random((n_users, 16)) < 0.5)
    dense[:, 0] = 3  # each row keeps something
    held_out = dense * (rng.random(dense.shape) < share)
    held_out[:, 0] = 0
    leaked = held_out * (rng.random(dense.shape) < fitted_share)
    known = dense - held_out
    model.fit(known + leaked)
    assume(held_out.any() and leaked.any() == bool(fitted_share))
    with warnings.catch_warnings(record=True) as record:
        warnings.simplefilter("always")
        model.score(known, sp.csr_array(held_out), metric="hr")
    warned = any(issubclass(warning.category, LeakWarning) for warning in record)
    assert warned == bool(fitted_share)
