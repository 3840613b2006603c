"""A pipeline with an encoder speaks raw ids in every method."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import Binarizer

from sklearn_recsys import (
    ALS,
    EASE,
    ContentRecommender,
    DeepAutoencoder,
    PopularityRecommender,
    RecommenderPipeline,
    TwoTower,
    UserKNN,
    load,
)
from sklearn_recsys.model_selection import HoldoutSplit, evaluate
from sklearn_recsys.preprocessing import InteractionEncoder

N_USERS, N_ITEMS = 30, 16


def make_events(kind="str", seed=0):
    """Return events of ids that are no places: their sorted order is not that of appearance."""
    rng = np.random.default_rng(seed)
    R = rng.random((N_USERS, N_ITEMS)) < 0.35
    R[np.arange(N_USERS), np.arange(N_USERS) % N_ITEMS] = True
    users, items = np.nonzero(R)
    frame = pd.DataFrame({"user": 7 * users + 3, "item": 900 - 5 * items})
    frame["rating"] = rng.integers(1, 6, len(frame)).astype(float)
    if kind == "str":
        frame["user"] = [f"u{user}" for user in frame["user"]]
        frame["item"] = [f"m{item}" for item in frame["item"]]
    return frame.sample(frac=1, random_state=seed).reset_index(drop=True)


def make_pipe(kind="str", model=None, unknown="error", **fit):
    events = make_events(kind)
    encoder = InteractionEncoder(unknown=unknown)
    R = encoder.fit_transform(events)
    steps = [("like", Binarizer(threshold=2)), ("model", EASE(l2=3) if model is None else model)]
    return RecommenderPipeline(steps, encoder=encoder).fit(R, **fit), encoder, R, events


def lists(frame, encoder):
    """Return the items of each user, best first."""
    return {user: part[encoder.item].tolist() for user, part in frame.groupby(encoder.user)}


# ------------------------------------------------------------------------------- every method


@pytest.mark.parametrize("kind", ["str", "int"])
def test_every_method_answers_by_raw_ids(kind):
    pipe, encoder, R, _ = make_pipe(kind)
    plain = RecommenderPipeline(pipe.steps).fit(R)
    rows = [21, 4, 4]
    users, items = encoder.user_ids_[rows].tolist(), encoder.item_ids_.tolist()

    predicted = pipe.predict(users)
    assert_array_equal(predicted, plain.predict(R[rows]))
    assert predicted.index.tolist() == users
    assert predicted.columns.tolist() == items
    assert (predicted.index.name, predicted.columns.name) == ("user", "item")
    assert_array_equal(pipe.predict(users[0]), plain.predict(R[[21]]))

    asked = [items[9], items[2], items[9]]
    pairs = pipe.predict_pairs(users, asked)
    assert_array_equal(pairs, plain.predict_pairs(R, rows, [9, 2, 9]))
    assert_array_equal(pairs, [predicted.loc[users[0], asked[0]], *pairs[1:]])
    assert_array_equal(
        pipe.predict_pairs(users[0], asked), plain.predict_pairs(R, [21] * 3, [9, 2, 9])
    )
    assert_array_equal(pipe.predict_pairs(R, rows, asked), pairs)  # rows of a matrix

    why = pipe.explain(users[0], items[5])
    expected = plain.explain(21, 5)
    contributions = expected["contribution"]
    assert why.columns.tolist() == ["user", "item", "history_item", "contribution"]
    assert set(why["user"]) == {users[0]} and set(why["item"]) == {items[5]}
    assert why["history_item"].tolist() == encoder.item_ids_[expected["history_item"]].tolist()
    assert_array_equal(why["contribution"], contributions)
    assert why["contribution"].sum() == pytest.approx(predicted.loc[users[0], items[5]], abs=1e-5)
    two_users = pipe.explain(users[:2], items[5])
    assert_array_equal(two_users.loc[two_users["user"] == users[0], "contribution"], contributions)
    lists = pipe.recommend(users[:2], n=3)
    why = pipe.explain(users[:2], lists)
    asked = lists[["user", "item"]]
    assert len(why[["user", "item"]].drop_duplicates().merge(asked)) == len(asked) == 6
    by_user = {user: list(rows["item"]) for user, rows in lists.groupby("user")}
    pd.testing.assert_frame_equal(pipe.explain(users[:2], by_user), why)
    sums = why.groupby(["user", "item"], sort=False)["contribution"].sum()
    pairs = [np.array(level) for level in zip(*sums.index, strict=True)]
    assert_allclose(sums, pipe.predict_pairs(*pairs), atol=1e-5)
    two_items = pipe.explain(users[0], items[5:7])
    assert two_items["item"].unique().tolist() == list(items[5:7])


def test_a_history_as_a_series_is_not_read_as_ids():
    pipe, encoder, _, events = make_pipe("int")
    history = events.pivot(index="user", columns="item", values="rating").fillna(0).loc[3]
    with pytest.raises(ValueError, match=r"index is the items.*users\.to_frame\(\)\.T"):
        pipe.recommend(history)
    expected = pipe.recommend(3, n=4)["item"].tolist()
    assert pipe.recommend(history.to_frame().T, n=4)["item"].tolist() == expected


def test_events_of_nobody_get_no_answer():
    pipe, _, _, events = make_pipe()
    for no_users in ([], events[:0]):
        assert pipe.recommend(no_users).shape == (0, 3)
        assert pipe.predict(no_users).shape == (0, N_ITEMS)


@pytest.mark.parametrize("kind", ["str", "int"])
def test_similar_users_are_asked_for_and_named_by_raw_id(kind):
    pipe, encoder, R, events = make_pipe(kind, UserKNN(5))
    users = encoder.user_ids_[[6, 2]].tolist()
    ids, scores = RecommenderPipeline(pipe.steps).fit(R).similar_users([6, 2], n=3)
    frame = pipe.similar_users(users, n=3)
    assert frame.columns.tolist() == ["user", "rank", "similar_user", "score"]
    assert frame["user"].tolist() == np.repeat(users, 3).tolist()
    assert frame["similar_user"].tolist() == encoder.user_ids_[ids].ravel().tolist()
    assert_array_equal(frame["score"], scores.ravel())
    assert (
        pipe.similar_users(users[0], n=3)["similar_user"].tolist()
        == frame["similar_user"][:3].tolist()
    )
    with pytest.raises(ValueError, match="unknown user id"):
        pipe.similar_users([6 if kind == "int" else "6"])
    alone = events[events["user"] == users[0]].assign(user=users[0])
    assert pipe.similar_users(alone, n=3)["user"].tolist() == [users[0]] * 3


def test_a_factor_model_answers_for_raw_ids_too():
    pipe, encoder, R, _ = make_pipe(model=ALS(4, random_state=0))
    frame = pipe.similar_users("u3", n=2)
    ids, _ = pipe["model"].similar_users(int(encoder.encode_users(["u3"])[0]), n=2)
    assert frame["similar_user"].tolist() == encoder.user_ids_[ids[0]].tolist()


def test_histories_of_anyone_as_events():
    pipe, encoder, R, events = make_pipe()
    some = events[events["user"].isin(["u3", "u52"])]
    renamed = some.replace({"user": {"u3": "zoe", "u52": "abe"}})
    assert_array_equal(pipe.predict(renamed).loc["zoe"], pipe.predict("u3").loc["u3"])
    pairs = pipe.predict_pairs(renamed, ["zoe", "abe"], ["m900", "m850"])
    assert_array_equal(pairs, pipe.predict_pairs(["u3", "u52"], ["m900", "m850"]))
    why = pipe.explain(renamed, "m900")
    assert set(why["user"]) <= {"zoe", "abe"}
    assert_array_equal(
        why.loc[why["user"] == "zoe", "contribution"], pipe.explain("u3", "m900")["contribution"]
    )


@pytest.mark.parametrize("kind", ["str", "int"])
def test_histories_as_a_frame_of_items_are_matched_by_column(kind):
    pipe, encoder, R, _ = make_pipe(kind)
    wide = pd.DataFrame(R.toarray(), encoder.user_ids_, encoder.item_ids_).iloc[[5, 3]]
    expected = pipe.predict(R[[5, 3]])
    assert_array_equal(pipe.predict(wide.iloc[:, ::-1]), expected)
    assert_array_equal(pipe.predict(wide.iloc[:, ::-1]).index, wide.index)
    some = wide.loc[:, (wide != 0).any()]  # what a pivot table has
    assert some.shape[1] < N_ITEMS
    assert_array_equal(pipe.predict(some.sample(frac=1, axis=1, random_state=0)), expected)
    assert_array_equal(pipe.predict(pd.DataFrame(wide.to_numpy())), expected)  # no labels
    with pytest.raises(ValueError, match="unknown item id"):
        pipe.predict(wide.rename(columns={encoder.item_ids_[0]: 12345}))
    with pytest.raises(ValueError, match="several columns of one item"):
        pipe.predict(pd.concat([wide, wide.iloc[:, :1]], axis=1))


@pytest.mark.parametrize("kind", ["str", "int"])
def test_score_takes_events(kind):
    pipe, encoder, R, events = make_pipe(kind)
    test = events.groupby("user").tail(1)
    train = events.drop(test.index)
    X, y = encoder.transform(train), encoder.transform(test)
    pipe.fit(X)
    expected = pipe.score(X, y)
    assert pipe.score(train, test.sample(frac=1, random_state=1)) == expected
    assert pipe.score(X, test) == expected
    assert pipe.score(train, test, metric="hr@5") == pipe.score(X, y, metric="hr@5")
    assert pipe.score(X, y, candidates=encoder.item_ids_[:4].tolist()) == pipe.score(
        X, y, candidates=np.arange(N_ITEMS) < 4
    )
    last = test.set_index("user")["item"].loc[encoder.user_ids_].tolist()
    assert pipe.score(X, last) == pytest.approx(expected)
    table = evaluate({"ease": pipe}, train, test, metrics=["ndcg"])
    assert table.loc["ease", "ndcg@10"] == expected
    users = encoder.user_ids_[[4, 1]].tolist()
    new = pd.DataFrame({"user": users, "item": encoder.item_ids_[[0, 1]], "rating": 5.0})
    new = new[~new.set_index(["user", "item"]).index.isin(events.set_index(["user", "item"]).index)]
    if len(new):
        assert 0 <= pipe.score(users, new) <= 1
    with pytest.raises(ValueError, match="not in X"):
        pipe.score(train[train["user"] != users[0]], test)
    with pytest.raises(ValueError, match="have no user ids"):
        pipe.score(X[:5], test)
    with pytest.raises(ValueError, match="unknown item id"):
        pipe.score(X, [12345] * N_USERS)


def test_searches_score_matrices_as_before():
    pipe, encoder, R, events = make_pipe()
    test = events.groupby("user").tail(1)
    X, y = encoder.transform(events.drop(test.index)), encoder.transform(test)
    grid = {"model__l2": [1.0, 50.0]}
    search = GridSearchCV(pipe, grid, cv=HoldoutSplit(), error_score="raise").fit(X, y)
    assert search.best_estimator_.recommend("u3", n=1)["user"].tolist() == ["u3"]
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    folds = GridSearchCV(pipe, grid, cv=3, error_score="raise").fit(R)
    assert np.all(folds.cv_results_["mean_test_score"] > 0)


# ------------------------------------------------------------------------------- unknown ids


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda p: p.recommend(["u3", "eve"]), "eve"),
        (lambda p: p.predict(["u3", "eve"]), "eve"),
        (lambda p: p.predict_pairs(["u3", "eve"], ["m900", "m900"]), "eve"),
        (lambda p: p.predict_pairs(["u3"], ["m1"]), "m1"),
        (lambda p: p.explain("eve", "m900"), "eve"),
        (lambda p: p.explain("u3", "m1"), "m1"),
        (lambda p: p.recommend("u3", exclude={"m1"}), "m1"),
        (lambda p: p.recommend("u3", exclude="m1"), "m1"),
        (lambda p: p.recommend("u3", candidates={"u3": ["m1"]}), "m1"),
        (lambda p: p.recommend("u3", exclude={"eve": ["m900"]}), "eve"),
        (lambda p: p.recommend("u3", exclude=pd.DataFrame({"item": ["m1"]})), "m1"),
    ],
)
def test_unknown_ids_are_named_unless_they_are_ignored(call, named):
    with pytest.raises(ValueError, match=f"unknown .* id.*'{named}'"):
        call(make_pipe()[0])
    call(make_pipe(unknown="ignore")[0])


def test_known_users_of_a_mixed_batch_are_answered():
    pipe, encoder, R, _ = make_pipe(unknown="ignore")
    expected = pipe.recommend(["u3", "u52"], n=4, return_scores=True)
    mixed = ["eve", "u3", "bob", "u52", "eve"]
    pd.testing.assert_frame_equal(pipe.recommend(mixed, n=4, return_scores=True), expected)
    mask = sp.csr_array(np.arange(5)[:, None] >= 3) @ sp.csr_array(np.ones((1, N_ITEMS)))
    by_row = pipe.recommend(mixed, n=4, candidates=mask)  # a row for each of those listed
    assert by_row["user"].unique().tolist() == ["u52"]
    none = pipe.recommend(["eve"], n=4, return_scores=True)
    assert len(none) == 0
    assert none.columns.tolist() == ["user", "rank", "item", "score"]
    assert pipe.predict(mixed).index.tolist() == ["u3", "u52"]
    assert pipe.predict("eve").shape == (0, N_ITEMS)
    pairs = pipe.predict_pairs(["eve", "u3", "u52"], ["m900", "m1", "m900"])
    assert_array_equal(np.isnan(pairs), [True, True, False])
    assert pairs[2] == pipe.predict_pairs("u52", "m900")[0]
    assert len(pipe.explain("eve", "m900")) == len(pipe.explain("u3", "m1")) == 0
    knn = make_pipe(model=UserKNN(5), unknown="ignore")[0]
    assert knn.similar_users(["eve", "u3"], n=2)["user"].tolist() == ["u3"] * 2
    assert len(knn.similar_users(["eve"], n=2)) == 0


def test_unknown_ids_among_candidates_and_exclude_change_nothing_if_ignored():
    pipe, *_ = make_pipe(unknown="ignore")
    full = pipe.recommend(["u3"], n=20)["item"].tolist()
    assert pipe.recommend(["u3"], n=20, exclude=["m1"])["item"].tolist() == full
    assert pipe.recommend(["u3"], n=20, exclude=["m1", full[0]])["item"].tolist() == full[1:]
    assert pipe.recommend(["u3"], n=20, candidates=["m1", full[2]])["item"].tolist() == [full[2]]
    assert pipe.recommend(["u3"], n=20, exclude={"eve": full})["item"].tolist() == full


# ------------------------------------------------------------------------------- sets of items


@pytest.mark.parametrize("kind", ["str", "int"])
@pytest.mark.parametrize(
    "container",
    [
        list,
        tuple,
        set,
        frozenset,
        np.array,
        pd.Index,
        pd.Series,
        lambda ids: dict.fromkeys(ids).keys(),
        lambda ids: pd.Series(ids, index=range(50, 50 + len(ids))),
        lambda ids: pd.DataFrame({"item": ids}),
        lambda ids: pd.Series(ids).astype("category"),
    ],
)
def test_items_for_everyone_come_in_any_collection(container, kind):
    pipe, encoder, *_ = make_pipe(kind)
    users = encoder.user_ids_[[9, 0]].tolist()
    full = lists(pipe.recommend(users, n=N_ITEMS), encoder)
    some = encoder.item_ids_[[11, 3, 0, 7]].tolist()
    for argument in ("candidates", "exclude"):
        got = lists(pipe.recommend(users, n=N_ITEMS, **{argument: container(some)}), encoder)
        for user in users:
            expected = [i for i in full[user] if (i in some) == (argument == "candidates")]
            assert got[user] == expected


@pytest.mark.parametrize("kind", ["str", "int"])
@pytest.mark.parametrize(
    "form",
    [
        dict,
        pd.Series,
        lambda sets: {user: list(items) for user, items in sets.items()},
        lambda sets: pd.DataFrame(
            [(user, item) for user, items in sets.items() for item in items],
            columns=["user", "item"],
        ),
        lambda sets: pd.DataFrame(
            [(user, item, 1) for user, items in reversed(sets.items()) for item in items] * 2,
            columns=["user", "item", "time"],
        ),
    ],
)
def test_items_by_user_are_matched_by_user_id(form, kind):
    pipe, encoder, *_ = make_pipe(kind)
    ids, items = encoder.user_ids_.tolist(), encoder.item_ids_.tolist()
    users = [ids[20], ids[3], ids[20], ids[11]]
    sets = {ids[11]: set(items[:5]), ids[20]: set(items[4:9]), ids[0]: set(items)}
    full = lists(pipe.recommend(ids, n=N_ITEMS), encoder)
    wanted = pipe.recommend(users, n=N_ITEMS, candidates=form(sets))
    assert wanted["user"].drop_duplicates().tolist() == [ids[20], ids[11]]
    for user in (ids[20], ids[11]):
        copies = users.count(user)
        expected = [item for item in full[user] if item in sets[user]] * copies
        assert wanted.loc[wanted["user"] == user, "item"].tolist() == expected
    left = lists(pipe.recommend([ids[3], ids[11]], n=N_ITEMS, exclude=form(sets)), encoder)
    assert left[ids[3]] == full[ids[3]]
    assert left[ids[11]] == [item for item in full[ids[11]] if item not in sets[ids[11]]]
    everyone = lists(pipe.recommend(n=N_ITEMS, exclude=form(sets)), encoder)
    assert ids[0] not in everyone
    assert everyone[ids[11]] == left[ids[11]]


def test_a_frame_of_users_alone_is_a_list_of_them():
    pipe, *_ = make_pipe(unknown="ignore")
    frame = pd.DataFrame({"user": ["u52", "u3"], "age": [1, 2]})
    pd.testing.assert_frame_equal(pipe.recommend(frame, n=2), pipe.recommend(["u52", "u3"], n=2))
    with pytest.raises(ValueError, match="None of the columns of users is a known item"):
        pipe.recommend(frame.rename(columns={"user": "who"}))


def test_items_by_new_user_go_with_their_events():
    pipe, encoder, _, events = make_pipe()
    new = events[events["user"].isin(["u3", "u52"])].replace({"user": {"u3": "z", "u52": "a"}})
    full = lists(pipe.recommend(new, n=N_ITEMS), encoder)
    got = lists(pipe.recommend(new, n=N_ITEMS, exclude={"z": full["z"][:2]}), encoder)
    assert got == {"a": full["a"], "z": full["z"][2:]}


def test_frames_of_booleans_are_matched_by_their_labels():
    pipe, encoder, *_ = make_pipe("int")
    users = encoder.user_ids_[[8, 2]].tolist()
    wanted = pd.DataFrame(False, encoder.user_ids_, encoder.item_ids_)
    wanted.loc[users[0], encoder.item_ids_[[1, 5]]] = True
    wanted.loc[users[1], encoder.item_ids_[[2, 3]]] = True
    shuffled = wanted.sample(frac=1, random_state=0).sample(frac=1, axis=1, random_state=1)
    got = pipe.recommend(users, candidates=shuffled, exclude_seen=False)
    assert {u: set(i) for u, i in lists(got, encoder).items()} == {
        users[0]: set(encoder.item_ids_[[1, 5]]),
        users[1]: set(encoder.item_ids_[[2, 3]]),
    }
    mask = pd.Series(np.arange(N_ITEMS) < 2, encoder.item_ids_).sample(frac=1, random_state=0)
    got = pipe.recommend(users[0], candidates=mask, exclude_seen=False)
    assert set(got["item"]) == set(encoder.item_ids_[:2])


def test_rows_of_items_without_labels_are_refused():
    pipe, *_ = make_pipe()
    with pytest.raises(ValueError, match="is a dict {user: items}"):
        pipe.recommend(["u3", "u10"], exclude=[["m900"], ["m895"]])
    with pytest.raises(ValueError, match="row for each"):
        pipe.recommend(["u3", "u10"], exclude=sp.csr_array((3, N_ITEMS)))


def test_filters_as_a_matrix_in_the_order_asked_for():
    pipe, encoder, _, events = make_pipe()
    allowed = pd.DataFrame({"user": ["u3", "u52"], "item": ["m900", "m850"], "rating": 1.0})
    users = ["u52", "u3"]
    mask, rows = encoder.transform_histories(allowed, users=users)
    assert rows.tolist() == users
    got = pipe.recommend(users, candidates=mask, exclude_seen=False)
    assert got["item"].tolist() == ["m850", "m900"]
    got = pipe.recommend(users, candidates=allowed, exclude_seen=False)
    assert got["item"].tolist() == ["m850", "m900"]


# ------------------------------------------------------------------------------- features


def item_features(encoder, seed=0):
    rng = np.random.default_rng(seed)
    genres = rng.choice(["a", "b", "c", "d"], (N_ITEMS, 2))
    frame = pd.DataFrame({"genres": ["|".join(pair) for pair in genres]}, encoder.item_ids_)
    frame["year"] = rng.integers(1950, 2000, N_ITEMS)
    return frame


@pytest.mark.parametrize("kind", ["str", "int"])
@pytest.mark.parametrize(
    "model",
    [
        ContentRecommender(),
        TwoTower(
            n_factors=4, embedding_dim=4, hidden_layer_sizes=(4,), max_epochs=1, random_state=0
        ),
    ],
    ids=lambda model: type(model).__name__,
)
def test_item_features_are_aligned_by_label(model, kind):
    events = make_events(kind)
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events)
    features = item_features(encoder)
    expected = clone(model).set_params(item_features=features).fit(R).predict(R)

    def predictions(features):
        steps = [("model", clone(model).set_params(item_features=features))]
        return RecommenderPipeline(steps, encoder=encoder).fit(R).predict(R)

    shuffled = features.sample(frac=1, random_state=1)
    assert_array_equal(predictions(features), expected)
    assert_array_equal(predictions(shuffled), expected)
    more = pd.concat([shuffled, features.iloc[:3].set_axis([-1, -2, -3])])
    assert_array_equal(predictions(more), expected)
    assert_array_equal(predictions(features.reset_index(drop=True)), expected)  # says nothing
    column = shuffled.rename_axis("item").reset_index()
    column["item"] = column["item"].astype(str)  # a feature, but no number
    if kind == "str":
        steps = [("model", ContentRecommender(column))]
        pipe = RecommenderPipeline(steps, encoder=encoder).fit(R)
        ordered = column.set_index("item", drop=False).loc[encoder.item_ids_]
        assert_array_equal(pipe.predict(R), ContentRecommender(ordered).fit(R).predict(R))
    with pytest.raises(ValueError, match=r"no row for 1 of 16 item id"):
        predictions(shuffled.drop(index=encoder.item_ids_[4]))
    with pytest.raises(ValueError, match="several rows of one item"):
        predictions(pd.concat([shuffled, shuffled.iloc[:1]]))
    with pytest.raises(ValueError, match="no row for"):
        predictions(features.set_axis(range(5, 5 + N_ITEMS)))


def test_alignment_leaves_parameters_and_clones_alone(tmp_path):
    events = make_events()
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events)
    shuffled = item_features(encoder).sample(frac=1, random_state=1)
    before = shuffled.copy()
    pipe = RecommenderPipeline([("model", ContentRecommender(shuffled))], encoder=encoder).fit(R)
    assert pipe["model"].item_features is shuffled
    pd.testing.assert_frame_equal(shuffled, before)
    expected = pipe.predict(R)
    for copy in (clone(pipe).fit(R), pickle.loads(pickle.dumps(pipe))):
        assert_array_equal(copy.predict(R), expected)
    pipe.save(tmp_path / "pipe")
    assert_array_equal(load(tmp_path / "pipe").predict(R), expected)
    grown = clone(pipe).fit(R)["model"].partial_fit(R[:1])
    assert_allclose(grown.predict(R), expected, atol=1e-6)  # profiles are those of the items
    # outside the pipeline its ids are unknown: rows are columns again
    alone = clone(pipe["model"]).fit(R)
    assert_array_equal(alone.predict(R), ContentRecommender(shuffled).fit(R).predict(R))


def test_integer_ids_that_are_places_in_another_order_are_not_guessed():
    events = pd.DataFrame({"user": [0, 0, 1, 2], "item": [0, 1, 2, 1], "rating": 1.0})
    encoder = InteractionEncoder(values="one", items=[2, 0, 1])
    R = encoder.fit_transform(events)
    features = pd.DataFrame({"genre": ["x", "y", "z"]})
    pipe = RecommenderPipeline([("model", ContentRecommender(features))], encoder=encoder)
    with pytest.raises(ValueError, match="but in another order"):
        pipe.fit(R)
    named = features.assign(item=[0, 1, 2])
    pipe.set_params(model__item_features=named[["genre", "item"]].astype({"item": str}))
    with pytest.raises(ValueError, match="no row for"):
        pipe.fit(R)  # "0" is not 0
    pipe.set_params(model__item_features=features.set_axis(pd.Index([0, 1, 2]))).fit(R)
    assert_array_equal(
        pipe["model"].item_profiles_.toarray(),
        ContentRecommender(features.loc[[2, 0, 1]]).fit(R).item_profiles_.toarray(),
    )


def user_features(encoder, seed=0):
    rng = np.random.default_rng(seed)
    return pd.DataFrame({"a": rng.normal(size=N_USERS), "b": 1.0}, encoder.user_ids_)


@pytest.mark.parametrize("kind", ["str", "int"])
def test_user_features_are_aligned_by_label(kind):
    model = DeepAutoencoder(hidden_layer_sizes=[4], max_epochs=1, random_state=0)
    events = make_events(kind)
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events)
    features = user_features(encoder)
    expected = clone(model).fit(R, user_features=features)
    pipe = RecommenderPipeline([("model", clone(model))], encoder=encoder)
    shuffled = features.sample(frac=1, random_state=2)
    pipe.fit(R, user_features=shuffled)
    rows = [12, 5]
    users = encoder.user_ids_[rows].tolist()
    scores = expected.predict(R, user_features=features)
    assert_allclose(pipe.predict(R, user_features=shuffled), scores, rtol=1e-5)
    assert_allclose(pipe.predict(users, user_features=shuffled), scores[rows], rtol=1e-5)
    assert_allclose(pipe.predict(users), scores[rows], rtol=1e-5)  # the features of fit
    pairs = pipe.predict_pairs(users, encoder.item_ids_[[0, 1]])
    assert_allclose(pairs, scores[rows, [0, 1]], rtol=1e-5)
    some = events[events["user"].isin(users)]
    assert_allclose(pipe.predict(some, user_features=shuffled).loc[users], scores[rows], rtol=1e-5)
    ids = expected.recommend(rows, n=3, user_features=features.iloc[rows])
    frame = pipe.recommend(users, n=3, user_features=shuffled)
    assert frame["item"].tolist() == encoder.item_ids_[ids].ravel().tolist()
    by_place = pipe.recommend(users, n=3, user_features=features.iloc[rows].to_numpy())
    pd.testing.assert_frame_equal(by_place, frame)
    column = shuffled.rename_axis("user").reset_index()
    aligned = pipe.fit(R, user_features=column.assign(user=0.0).set_axis(shuffled.index))
    assert aligned.predict(users).shape == (2, N_ITEMS)
    with pytest.raises(ValueError, match=r"no row for 1 of 2 user id"):
        pipe.recommend(users, user_features=shuffled.drop(index=users[0]).assign(user=0.0))
    with pytest.raises(ValueError, match="no row for"):
        pipe.fit(R, user_features=shuffled.iloc[1:])


def test_features_by_id_fit_histories_with_a_default_index():
    """Features indexed by user id are matched once; no method compares row labels again."""
    encoder = InteractionEncoder()
    R = encoder.fit_transform(make_events())
    features = user_features(encoder)
    histories = pd.DataFrame(R.toarray(), columns=encoder.item_ids_)
    model = DeepAutoencoder(hidden_layer_sizes=[4], max_epochs=1, random_state=0)
    expected = clone(model).fit(R, user_features=features)
    pipe = RecommenderPipeline([("model", model)], encoder=encoder)
    shuffled = {"user_features": features.sample(frac=1, random_state=2)}
    pipe.fit(histories, **shuffled)
    scores = expected.predict(R, user_features=features)
    assert_allclose(pipe.predict(histories, **shuffled), scores, rtol=1e-5)
    ids = expected.recommend(R, n=3, user_features=features)
    frame = pipe.recommend(histories, n=3, **shuffled)
    assert frame["item"].tolist() == encoder.item_ids_[ids].ravel().tolist()
    other = histories.set_axis(encoder.user_ids_)
    with pytest.raises(ValueError, match="no row for 1 of"):
        pipe.recommend(other, user_features=features.iloc[1:])


def test_folds_of_misordered_features_are_refused():
    events = make_events()
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events)
    features = user_features(encoder)
    model = DeepAutoencoder(hidden_layer_sizes=[4], max_epochs=1, random_state=0)
    pipe = RecommenderPipeline([("model", model)], encoder=encoder)
    half = np.arange(0, N_USERS, 2)
    pipe.fit(R[half], user_features=features.iloc[half])
    shuffled = features.sample(frac=1, random_state=2)
    with pytest.raises(ValueError, match="not in the encoder's order"):
        pipe.fit(R[half], user_features=shuffled.iloc[half])
    with pytest.raises(ValueError, match="not in the encoder's order"):
        pipe.predict(R[half], user_features=shuffled.iloc[half])


def test_a_frame_to_fit_is_matched_by_column_and_its_rows_are_the_encoders():
    events = make_events("int")
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events)
    wide = pd.DataFrame(R.toarray(), encoder.user_ids_, encoder.item_ids_)
    pipe = RecommenderPipeline([("model", EASE(l2=3))], encoder=encoder)
    expected = clone(pipe).fit(R).recommend(n=3)
    pd.testing.assert_frame_equal(pipe.fit(wide.iloc[:, ::-1]).recommend(n=3), expected)
    with pytest.raises(ValueError, match="in their order"):
        pipe.fit(wide.iloc[::-1])


# ------------------------------------------------------------------------------- new users


def test_partial_fit_adds_users_by_their_raw_ids():
    events = make_events()
    late = events["user"].isin(["u3", "u10", "u101"])
    encoder = InteractionEncoder()
    R = encoder.fit_transform(events[~late])
    pipe = RecommenderPipeline([("model", EASE(l2=3))], encoder=encoder).fit(R)
    before = encoder.user_ids_.copy()
    added = events[late & events["item"].isin(encoder.item_ids_)]
    pipe.partial_fit(added)
    whole = InteractionEncoder(items=encoder.item_ids_)
    everything = RecommenderPipeline([("model", EASE(l2=3))], encoder=whole)
    everything.fit(whole.fit_transform(pd.concat([events[~late], added])))
    for users in (["u3", "u101"], ["u17", "u10"]):
        assert_allclose(pipe.predict(users), everything.predict(users), atol=1e-5)
        assert pipe.recommend(users, n=2)["user"].tolist() == np.repeat(users, 2).tolist()
    assert_array_equal(encoder.user_ids_, before)  # clones share it
    assert set(pipe.recommend(n=1)["user"]) <= set(events["user"])
    with pytest.raises(ValueError, match="'u3'"):
        pipe.partial_fit(added)
    with pytest.raises(ValueError, match="raw ids"):
        pipe.partial_fit(R[:2])
    assert_allclose(pipe.predict(["u3"]), everything.predict(["u3"]), atol=1e-5)
    assert pipe.fit(R).recommend(n=1)["user"].isin(before).all()


# ------------------------------------------------------------------------------- odd ids


def test_ids_that_are_tuples():
    users, items = [("a", 1), ("b", 2), ("c", 3)], [("x", 1), ("y", 2)]
    events = pd.DataFrame({"user": [users[0], users[1], users[2]], "item": [items[0], *items]})
    encoder = InteractionEncoder("user", "item", "one")
    pipe = RecommenderPipeline([("model", PopularityRecommender())], encoder=encoder)
    pipe.fit(encoder.fit_transform(events))
    assert pipe.recommend(users[0], n=1)["item"].tolist() == [items[1]]
    assert pipe.recommend([users[2], users[0]], n=1)["item"].tolist() == [items[0], items[1]]
    assert len(pipe.recommend(users[2], exclude=[items[0]])) == 0
    assert len(pipe.recommend(users[2], exclude={users[2]: {items[0]}})) == 0


def test_ids_of_other_containers():
    pipe, encoder, *_ = make_pipe("int")
    users = encoder.user_ids_[[3, 1]]
    expected = pipe.recommend(users, n=2)
    for given in (
        users.tolist(),
        tuple(users.tolist()),
        pd.Index(users),
        pd.Series(users, index=[7, 8]),
        pd.Series(users, dtype="Int64"),
        pd.Series(users).astype("category"),
        np.asarray(users, dtype=object),
        users.astype(float),
    ):
        pd.testing.assert_frame_equal(pipe.recommend(given, n=2), expected)
    assert pipe.recommend(np.int64(users[0]), n=2)["item"].tolist() == expected["item"][:2].tolist()
