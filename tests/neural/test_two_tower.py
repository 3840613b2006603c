"""TwoTower: its towers and losses against loops, cold starts, and features all the way.

Most of the data has two genres and two clubs, and a club likes one genre.
"""

from __future__ import annotations

import pickle
from copy import deepcopy
from dataclasses import replace

import joblib
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import MaxAbsScaler
from sklearn.utils import get_tags

torch = pytest.importorskip("torch")

from sklearn_recsys import (  # noqa: E402
    PopularityRecommender,
    RecommenderPipeline,
    TwoTower,
    load,
)
from sklearn_recsys.base._histories import Histories  # noqa: E402
from sklearn_recsys.datasets import make_interactions, make_ratings  # noqa: E402
from sklearn_recsys.exceptions import ConvergenceWarning  # noqa: E402
from sklearn_recsys.model_selection import cross_validate, random_holdout  # noqa: E402
from sklearn_recsys.neural import RowDataset, SparseRows  # noqa: E402
from sklearn_recsys.neural._data.row_batches import RowBatches  # noqa: E402
from sklearn_recsys.neural._nn.two_tower import Tower, TwoTowerModule  # noqa: E402
from sklearn_recsys.preprocessing import FeatureEncoder  # noqa: E402

N_USERS, N_ITEMS, N_COLD = 120, 40, 4

each = pytest.mark.parametrize("loss", ["mse", "logistic", "softmax"])


def small(item_features=None, **params):
    defaults = {"n_factors": 8, "embedding_dim": 8, "hidden_layer_sizes": (12,), "n_filters": 3}
    training = {"lr": 0.01, "max_epochs": 3, "batch_size": 40, "random_state": 0}
    if isinstance(item_features, pd.DataFrame):
        defaults["item_encoder"] = FeatureEncoder(max_length=6)
    return TwoTower(item_features, **{**defaults, **training, **params})


def learning(item_features=None, **params):
    """Return a model with enough updates to learn something from `taste`."""
    defaults = {"lr": 0.02, "max_epochs": 20, "batch_size": 60, "dropout": 0.0}
    return small(item_features, **{**defaults, "early_stopping": False, **params})


def taste(loss, n_users=N_USERS, seed=0):
    """Return interactions, items and users; the last items have no users. Even likes even."""
    rng = np.random.RandomState(seed)
    club, genre = np.arange(n_users) % 2, np.arange(N_ITEMS) % 2
    liked = club[:, None] == genre
    share = 0.3 if loss == "mse" else np.where(liked, 0.35, 0.03)
    observed = rng.rand(n_users, N_ITEMS) < share
    observed[:, -N_COLD:] = False
    values = np.where(liked, 4, 1) + rng.randint(2, size=liked.shape)
    X = sp.csr_array(np.where(observed, values, 0).astype(np.float32))
    words = np.array(["night", "of", "day", "the", "last", "man"])
    items = pd.DataFrame(
        {
            "title": [" ".join(rng.choice(words, 2)) + f" {i}" for i in range(N_ITEMS)],
            "genres": [["Noir", "Western"][g] + ["", "|Drama"][rng.randint(2)] for g in genre],
            "year": rng.normal(1980, 10, N_ITEMS),
        }
    )
    users = pd.DataFrame(
        {"club": np.array(["red", "blue"])[club], "age": rng.randint(20, 60, n_users)}
    )
    return X, items, users


def is_liked(users):
    """Return whether each user likes each item."""
    return (users["club"].to_numpy() == "blue")[:, None] == np.arange(N_ITEMS) % 2


# ---------------------------------------------------------------- the module, in loops


def array(tensor):
    return tensor.detach().numpy().astype(np.float64)


def module_and_rows(loss, n_rows=20, features=True, **params):
    """Return a module with random parameters in double precision, and some of its users."""
    X, items, users = taste(loss, 30, seed=3)
    encoders = [FeatureEncoder(max_length=6).fit(frame) for frame in (items, users)]
    codes = [encoder.encode(frame) for encoder, frame in zip(encoders, (items, users), strict=True)]
    slots = [encoder.slots_ if features else [] for encoder in encoders]
    defaults = {
        "sizes": [7, 6, 5],
        "embedding_dim": 4,
        "feature_embedding_dim": 3,
        "n_filters": 3,
        "history": True,
        "user_ids": True,
        "objective": loss,
        "n_negatives": 3,
        "history_dropout": 0.0,
        "id_dropout": 0.0,
        "text_dropout": 0.0,
        "dropout": 0.0,
        "activation": "tanh",
        "batch_norm": False,
    }
    torch.manual_seed(0)
    counts = np.bincount(X.indices, minlength=N_ITEMS)
    item_codes = codes[0] if features else None
    module = (
        TwoTowerModule(counts, 30, item_codes, *slots, **{**defaults, **params}).double().eval()
    )
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    for norm in [*module.item_tower.norms, *module.user_tower.norms]:
        if params.get("batch_norm"):
            torch.nn.init.normal_(norm.running_mean)
            torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    X.data = X.data - np.float32(2.5) if loss == "mse" else np.ones_like(X.data)
    return module, rows_of(X, codes[1] if features else None, range(n_rows))


def rows_of(X, features, chosen):
    chosen = np.array(chosen)
    rows = SparseRows.from_csr(X[chosen], features=None if features is None else features[chosen])
    rows = rows.with_values(rows.values.double())
    rows.training_rows = torch.from_numpy(chosen)
    if features is not None:
        rows.features = rows.features.double()
    return rows


def dense(rows):
    """Return the values of rows, and where they are."""
    values, observed = np.zeros(rows.shape), np.zeros(rows.shape, dtype=bool)
    values[rows.rows, rows.indices] = rows.values
    observed[rows.rows, rows.indices] = True
    return values, observed


def looped_tower(tower, inputs):
    *hidden, last = tower.layers
    for layer, norm in zip(hidden, tower.norms, strict=True):
        inputs = array(layer.weight) @ inputs + array(layer.bias)
        if isinstance(norm, torch.nn.BatchNorm1d):
            inputs = (inputs - array(norm.running_mean)) / np.sqrt(array(norm.running_var) + 1e-5)
            inputs = inputs * array(norm.weight) + array(norm.bias)
        inputs = np.tanh(inputs)
    return array(last.weight) @ inputs + array(last.bias)


def looped_items(module):
    vectors = []
    for item, own in enumerate(array(module.item_ids)):
        inputs = [own]
        if module.item_embedding.width:
            inputs.append(array(module.item_embedding(module.item_features[[item]]))[0])
        vectors.append(looped_tower(module.item_tower, np.concatenate(inputs)))
    return np.array(vectors)


def looped_users(module, rows, ids=True):
    vectors = []
    values, observed = dense(rows)
    for row in range(len(rows)):
        inputs, items = [], np.flatnonzero(observed[row])
        for bag, weighted in zip(map(array, module.bags), (False, True), strict=False):
            total = np.zeros(bag.shape[1])
            for item in items:
                total += bag[item] * (values[row, item] if weighted else 1)
            inputs.append(total / np.sqrt(max(len(items), 1)))
        if module.user_ids is not None:
            inputs.append(array(module.user_ids)[rows.training_rows[row]] * ids)
        if module.user_embedding.width:
            inputs.append(array(module.user_embedding(rows.features[[row]]))[0])
        vectors.append(looped_tower(module.user_tower, np.concatenate(inputs)))
    return np.array(vectors)


def looped_scores(module, rows):
    users, items = looped_users(module, rows), looped_items(module)
    return np.array([[u[:-1] @ v[:-1] + u[-1] + v[-1] for v in items] for u in users])


@each
@pytest.mark.parametrize(
    "params",
    [
        {},
        {"batch_norm": True},
        {"features": False},
        {"user_ids": False, "sizes": [5]},
        {"history": False, "user_ids": False},
        {"history": False, "features": False, "batch_norm": True},
    ],
)
def test_the_towers_against_loops(loss, params):
    module, rows = module_and_rows(loss, **params)
    assert_allclose(array(module.users(rows)), looped_users(module, rows), atol=1e-12)
    items = torch.tensor([3, 39, 0, 3])
    assert_allclose(array(module.items(items)), looped_items(module)[items], atol=1e-12)
    assert_allclose(array(module(rows)), looped_scores(module, rows), atol=1e-12)
    assert len(module.bags) == (0 if params.get("history") is False else 1 + (loss == "mse"))
    if module.user_ids is not None:  # without ids
        without_ids = looped_users(module, rows, ids=False)
        got = array(module.users(replace(rows, training_rows=None)))
        assert_allclose(got, without_ids, atol=1e-12)
        assert np.all(np.abs(without_ids - looped_users(module, rows)).max(axis=1) > 1e-3)


def shares(module, observed, n_users=30):
    """Return the probability that a batch of such a size has each item."""
    skipped = 1 - min(len(observed) / n_users, 1 - 1e-6)
    return np.array([1 - skipped ** int(count) for count in module.counts])


@pytest.mark.parametrize("n_rows", [1, 20, 30])
def test_the_squared_error(n_rows):
    module, rows = module_and_rows("mse", n_rows)
    (values, observed), scores = dense(rows), looped_scores(module, rows)
    expected = np.sum((values - scores)[observed] ** 2) / n_rows
    assert module.loss(rows, rows).item() == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("n_rows", [1, 20, 30])
def test_the_softmax(n_rows):
    """All 30 users: the items with an interaction; fewer: these represent the others, too."""
    module, rows = module_and_rows("softmax", n_rows)
    (_, observed), scores = dense(rows), looped_scores(module, rows)
    weights = np.where(observed.any(axis=0), 1 / shares(module, observed), 0)
    total = 0
    for row in range(n_rows):
        norm = np.log(np.sum(weights * np.exp(scores[row])))
        total += np.sum(norm - scores[row, observed[row]])
    assert module.loss(rows, rows).item() == pytest.approx(total / n_rows, rel=1e-6)
    if n_rows == 30:
        items = observed.any(axis=0)
        assert 0 < items.sum() < N_ITEMS
        plain = scores - np.log(np.exp(scores[:, items]).sum(axis=1, keepdims=True))
        assert module.loss(rows, rows).item() == pytest.approx(
            -plain[observed].sum() / 30, rel=1e-5
        )


@pytest.mark.parametrize("n_rows", [1, 20, 30])
def test_the_logistic_loss(n_rows):
    module, rows = module_and_rows("logistic", n_rows)
    (_, observed), scores = dense(rows), looped_scores(module, rows)
    present, pi = observed.any(axis=0), shares(module, observed)
    total = 0
    for row in range(n_rows):
        length, negatives = observed[row].sum(), 0
        for item in np.flatnonzero(present & ~observed[row]):
            negatives += np.log1p(np.exp(scores[row, item])) / pi[item]
        total += 3 * length * negatives / (N_ITEMS - length)
        total += np.sum(np.log1p(np.exp(-scores[row, observed[row]])))
    assert module.loss(rows, rows).item() == pytest.approx(total / n_rows, rel=1e-6)


@each
def test_losses_look_at_the_targets_alone(loss):
    """As in validation: histories are one matrix, and what to predict is another one."""
    module, rows = module_and_rows(loss)
    _, observed = dense(rows)
    in_history = np.random.RandomState(0).rand(*observed.shape) < 0.5
    values = dense(rows)[0] + 10 * observed  # no zeros
    histories, held_out = (
        sp.csr_array(np.where(observed & part, values, 0)) for part in (in_history, ~in_history)
    )
    features, numbers = rows.features, rows.training_rows
    histories, held_out = (SparseRows.from_csr(part) for part in (histories, held_out))
    histories, held_out = (
        part.with_values(part.values.double() - 10) for part in (histories, held_out)
    )
    histories = replace(histories, features=features, training_rows=numbers)
    got = module.loss(histories, held_out).item()
    scores, (targets, observed) = looped_scores(module, histories), dense(held_out)
    weights = np.where(observed.any(axis=0), 1 / shares(module, observed), 0)
    if loss == "mse":
        total = np.sum((targets - scores)[observed] ** 2)
    elif loss == "softmax":
        total = np.sum((np.log(np.exp(scores) @ weights)[:, None] - scores)[observed])
    else:
        lengths = observed.sum(axis=1)
        negatives = (np.log1p(np.exp(scores)) * weights * ~observed).sum(axis=1)
        total = np.sum(np.log1p(np.exp(-scores))[observed])
        total += np.sum(3 * lengths * negatives / (N_ITEMS - lengths))
    assert got == pytest.approx(total / 20, rel=1e-6)


def test_shares_are_how_often_batches_have_an_item():
    module, _ = module_and_rows("softmax")
    X, *_ = taste("softmax", 30, seed=3)
    torch.manual_seed(0)
    times = np.zeros(N_ITEMS)
    for _ in range(400):
        batch, _ = next(iter(RowBatches(RowDataset(X), 10, shuffle=True)))
        times += array(batch.column_indptr.diff() > 0)
    got = array(module._log_shares(torch.arange(N_ITEMS - N_COLD), 10).exp())
    assert_allclose(got, times[:-N_COLD] / 400, atol=0.1)
    assert got.min() < 0.6 and got.max() > 0.9


@pytest.mark.parametrize("features", [True, False])
def test_ids_and_histories_are_left_out_together_where_features_are(features):
    module, rows = module_and_rows("mse", 30, features=features, id_dropout=0.4)
    items = torch.arange(N_ITEMS)
    whole = array(module.users(rows)), array(module.items(items))
    nothing = SparseRows.from_csr(sp.csr_array(rows.shape))
    nothing = replace(nothing.with_values(nothing.values.double()), features=rows.features)
    with torch.no_grad():
        ids = module.item_ids.clone()
        module.item_ids.zero_()
        bare = array(module.users(nothing)), array(module.items(items))
        module.item_ids.copy_(ids)
    torch.manual_seed(0)
    module.train()
    draws = [(array(module.users(rows)), array(module.items(items))) for _ in range(20)]
    for side in (0, 1):
        values = np.array([draw[side] for draw in draws])
        is_whole = np.isclose(values, whole[side]).all(axis=2)
        if not features:
            assert is_whole.all()
            continue
        is_bare = np.isclose(values, bare[side]).all(axis=2)
        assert_array_equal(is_bare, ~is_whole)
        assert 0.3 < is_bare.mean() < 0.5


def test_history_dropout_keeps_the_expected_history():
    module, _ = module_and_rows("softmax", history_dropout=0.75)
    rows = SparseRows.from_csr(sp.csr_array(np.ones((400, N_ITEMS), dtype=np.float32)))
    with torch.no_grad():
        module.float().bags[0].zero_()
        module.bags[0][0, 0] = 1
        torch.manual_seed(0)
        first_entries = module.train()._histories(rows)[0][:, 0].numpy()
        whole = module.eval()._histories(rows)[0][:, 0].numpy()
    assert_allclose(whole, N_ITEMS**-0.5)
    assert_allclose(np.unique(first_entries.round(6)), [0, 4 * N_ITEMS**-0.5], atol=1e-5)
    assert 0.2 < (first_entries > 0).mean() < 0.3


@each
def test_a_batch_without_interactions_is_no_trouble(loss):
    module, rows = module_and_rows(loss)
    empty = SparseRows.from_csr(sp.csr_array(rows.shape))
    empty = replace(empty.with_values(empty.values.double()), features=rows.features)
    empty.training_rows = rows.training_rows
    value = module.train().loss(empty, empty)
    value.backward()
    assert value.item() == 0
    assert all(torch.all(torch.isfinite(p.grad)) for p in module.parameters() if p.grad is not None)


def test_batch_norm_takes_batches_of_any_size():
    """One row, or none, leave the statistics alone; more are normalized by their own."""
    torch.manual_seed(0)
    tower = Tower([3, 4, 2], "tanh", 0.0, True).train()
    tower.norms[0].running_mean[:] = torch.arange(4)
    before = tower.norms[0].running_mean.clone()
    X = torch.randn(6, 3)
    single = tower(X[:1]).detach()
    assert tower(X[:0]).shape == (0, 2)
    assert_array_equal(tower.norms[0].running_mean, before)
    assert_allclose(single, tower.eval()(X[:1]).detach(), atol=1e-6)
    tower.train()(X)
    codes = tower.norms[0](tower.layers[0](X)).detach()
    assert_allclose(codes.mean(dim=0), np.zeros(4), atol=1e-6)
    assert not torch.equal(tower.norms[0].running_mean, before)


# ---------------------------------------------------------------- scores and vectors


@each
@pytest.mark.parametrize("features", [True, False])
def test_scores_are_products_of_vectors(loss, features):
    X, items, users = taste(loss)
    keywords = {"user_features": users} if features else {}
    model = small(items if features else None, loss=loss, user_ids=True).fit(X, **keywords)
    for name, shape in (
        ("user_factors_", (N_USERS, 8)),
        ("item_factors_", (N_ITEMS, 8)),
        ("user_biases_", (N_USERS,)),
        ("item_biases_", (N_ITEMS,)),
    ):
        values = getattr(model, name)
        assert values.shape == shape and values.dtype == np.float32, name
    scores = model.user_factors_ @ model.item_factors_.T.astype(np.float64)
    scores += model.user_biases_[:, None] + model.item_biases_
    predicted = model.predict(X, **keywords)
    expected = scores
    if loss == "mse":
        scores += X.data.mean(dtype=np.float64)
        expected = np.clip(scores, 1, 5)
    assert_allclose(predicted, expected, atol=1e-5)
    rows, cells = np.array([7, 7, 0, 119]), np.array([39, 0, 3, 12])
    pairs = model.predict_pairs(X, rows, cells, **keywords)
    assert_allclose(pairs, predicted[rows, cells], atol=1e-6)

    ids, got = model.recommend(n=5, exclude_seen=False, return_scores=True)
    best = -np.sort(-scores, axis=1)[:, :5]
    assert_allclose(got, best, atol=1e-5)  # not clipped
    assert_allclose(np.take_along_axis(scores, ids, axis=1), best, atol=1e-5)
    unseen = np.where(X.toarray() > 0, -np.inf, scores)
    _, got = model.recommend(X, n=5, return_scores=True, **keywords)
    assert_allclose(got, -np.sort(-unseen, axis=1)[:, :5], atol=1e-5)


@each
def test_the_vectors_are_the_module_s(loss):
    """Those of the item tower, and for users without ids those of the user tower."""
    X, items, users = taste(loss)
    model = small(items, loss=loss, user_ids=True, batch_norm=True).fit(X, user_features=users)
    module = deepcopy(model.net_.module_).double().eval()
    vectors = looped_items(module)
    assert_allclose(model.item_factors_, vectors[:, :-1], atol=1e-5)
    assert_allclose(model.item_biases_, vectors[:, -1], atol=1e-5)
    values = X.copy()
    values.data = X.data - X.data.mean() if loss == "mse" else np.ones_like(X.data)
    rows = rows_of(values, model.user_encoder_.encode(users), range(N_USERS))
    assert_allclose(model.user_factors_, looped_users(module, rows)[:, :-1], atol=1e-5)
    assert np.abs(array(module.user_ids)).max() > 0.01


@pytest.mark.parametrize("user_ids", [True, False])
@each
def test_the_vectors_of_training_users(loss, user_ids):
    X, items, users = taste(loss)
    model = small(items, loss=loss, user_ids=user_ids).fit(X, user_features=users)
    assert_array_equal(model.transform(X, user_features=users), model.user_factors_)
    order = np.random.RandomState(0).permutation(N_USERS)[:50]
    part = model.transform(X[order], user_features=users.iloc[order])
    assert_array_equal(part, model.user_factors_[order])
    model = small(items, loss=loss, user_ids=user_ids)
    vectors = model.fit_transform(X, user_features=users)
    assert_array_equal(vectors, model.user_factors_)
    vectors[:] = 0
    assert model.user_factors_.any()
    names = model.get_feature_names_out()
    assert names[0] == "twotower0" and len(names) == 8


def test_a_known_history_with_other_features_is_somebody_else():
    X, items, users = taste("softmax")
    model = small(items, loss="softmax", user_ids=True).fit(X, user_features=users)
    others = users.assign(club=np.where(users["club"] == "red", "blue", "red"))
    got = model.transform(X, user_features=others)
    assert np.all(np.abs(got - model.user_factors_).max(axis=1) > 1e-3)
    rows = rows_of(model._read(X), model.user_encoder_.encode(others), range(N_USERS))
    without_ids = looped_users(deepcopy(model.net_.module_).double().eval(), rows, ids=False)
    assert_allclose(got, without_ids[:, :-1], atol=1e-5)
    mixed = pd.concat([users[:60], others[60:]])
    got = model.transform(X, user_features=mixed)
    assert_array_equal(got[:60], model.user_factors_[:60])
    assert np.all(np.abs(got - model.user_factors_).max(axis=1)[60:] > 1e-3)


def test_users_who_share_a_history_are_told_apart_by_features():
    X, items, users = taste("softmax")
    X = sp.vstack([X[:4]] * 30, format="csr")
    users["age"] = np.arange(N_USERS)
    params = {"loss": "softmax", "user_ids": True, "early_stopping": False, "max_epochs": 10}
    model = small(items, **params).fit(X, user_features=users)
    for copy in (model, pickle.loads(pickle.dumps(model))):
        assert_array_equal(copy.transform(X, user_features=users), model.user_factors_)
    ids = array(model.net_.module_.user_ids)
    assert np.all(np.abs(ids[4:] - ids[np.arange(4, N_USERS) % 4]).max(axis=1) > 1e-3)


def test_known_users_have_ids_and_others_none():
    X, *_ = taste("softmax")
    params = {"loss": "softmax", "user_ids": True, "history": False, "early_stopping": False}
    model = small(**params).fit(X[:60])
    of_training_users = model.transform(X[:60])
    assert len(np.unique(of_training_users, axis=0)) == 60
    others = model.transform(X[60:])
    assert_allclose(others, np.tile(others[:1], (60, 1)), atol=1e-6)
    assert np.abs(of_training_users - others[0]).max(axis=1).min() > 1e-3


@pytest.mark.parametrize("l2", [0.0, 10.0])
def test_users_held_out_for_early_stopping_have_no_id(l2):
    X = make_interactions(300, N_ITEMS, density=0.15, random_state=0)
    model = small(loss="softmax", user_ids=True, l2=l2).fit(X)
    train, valid = model._make_datasets(*model._split(X, np.random.RandomState(0)))
    assert len(train) == 270 and len(valid) == 30
    moved = array(model.net_.module_.user_ids).any(axis=1)
    assert_array_equal(np.flatnonzero(moved), train.training_rows)


@each
def test_equal_users_get_equal_predictions(loss):
    X, items, users = taste(loss)
    model = small(items, loss=loss).fit(X, user_features=users)
    new, _, _ = taste(loss, seed=1)
    new = sp.vstack([new[:20], new[:20]], format="csr")
    about = pd.concat([users[:20], users[:20]])
    predicted = model.predict(new, user_features=about)
    assert_allclose(predicted[:20], predicted[20:], atol=1e-6)
    older = about.assign(age=np.repeat([25, 59], 20))
    predicted = model.predict(new, user_features=older)
    assert np.all(np.abs(predicted[:20] - predicted[20:]).max(axis=1) > 1e-4)


@each
def test_only_rating_models_read_values(loss):
    X, items, users = taste(loss)
    others = X.copy()
    others.data = 6 - X.data
    params = {"loss": loss, "batch_norm": True}
    first, second = (small(items, **params).fit(Z, user_features=users) for Z in (X, others))
    one, other = (model.transform(X, user_features=users) for model in (first, second))
    assert np.array_equal(one, other) == (loss != "mse")
    values = get_tags(first).recommender_tags.values
    assert values == ("rating" if loss == "mse" else "binary")
    assert hasattr(first, "rating_range_") == (loss == "mse")


@each
@pytest.mark.parametrize("batch_norm", [True, False])
def test_rows_and_items_do_not_depend_on_their_block(loss, batch_norm):
    X, items, users = taste(loss)
    params = {"loss": loss, "batch_norm": batch_norm}
    model = small(items, **params).fit(X, user_features=users)
    new, _, _ = taste(loss, seed=1)
    whole = model.predict(new, user_features=users)
    for row in (0, 17, 119):
        one = model.predict(new[[row]], user_features=users.iloc[[row]])
        assert_allclose(one[0], whole[row], rtol=1e-5, atol=1e-6)
    vectors = np.column_stack([model.item_factors_, model.item_biases_])
    assert_allclose(model._item_vectors(X.shape[1], block_size=7), vectors, rtol=1e-5, atol=1e-6)
    vectors = np.column_stack([model.user_factors_, model.user_biases_])
    trained = Histories(model._read(X), model.user_features_, np.arange(X.shape[0]))
    in_blocks = model._compute_vectors(trained, block_size=7)
    assert_allclose(in_blocks, vectors, rtol=1e-5, atol=1e-6)
    assert_array_equal(model.transform(X, user_features=users), model.user_factors_)


def test_similar_items_and_users():
    X, items, users = taste("softmax")
    model = learning(items, loss="softmax").fit(X, user_features=users)
    ids, cosines = model.similar_items([0, 39], n=5)
    assert ids.shape == (2, 5) and 0 not in ids[0] and 39 not in ids[1]
    assert np.all(ids % 2 == [[0], [1]])
    unit = model.item_factors_ / np.linalg.norm(model.item_factors_, axis=1, keepdims=True)
    assert_allclose(cosines[1], unit[ids[1]] @ unit[39], atol=1e-5)
    ids, _ = model.similar_users(n=5)
    assert np.all(ids != np.arange(N_USERS)[:, None])
    assert (ids % 2 == np.arange(N_USERS)[:, None] % 2).mean() > 0.95
    empty = sp.csr_array((2, N_ITEMS))
    about = pd.DataFrame({"club": ["red", "blue"], "age": [40, 40]})
    ids, _ = model.similar_users(empty, n=5, user_features=about)
    assert np.all(ids % 2 == [[0], [1]])
    with pytest.raises(ValueError, match="pass those of these users"):
        model.similar_users(empty)
    with pytest.raises(ValueError, match="pass those of these users"):
        model.transform(X)


# ---------------------------------------------------------------- learning, and cold starts


@pytest.mark.parametrize("loss", ["logistic", "softmax"])
def test_ranks_better_than_popularity_for_unseen_users(loss):
    R = make_interactions(600, 80, density=0.15, random_state=0)
    params = {"n_factors": 20, "embedding_dim": 40, "hidden_layer_sizes": (40,), "dropout": 0.0}
    model = small(loss=loss, max_epochs=30, n_iter_no_change=10, batch_size=100, **params)
    popular = PopularityRecommender().fit(R[:500])
    assert model.fit(R[:500]).score(R[500:]) > popular.score(R[500:]) + 0.05


def test_predicts_ratings_better_than_item_means_for_unseen_users():
    R = make_ratings(400, 80, density=0.3, random_state=0)
    histories, held_out = random_holdout(R[300:], per_user=True, random_state=0)
    model = small(max_epochs=25, n_factors=10, embedding_dim=20, l2=10.0).fit(R[:300])
    columns = R[:300].tocsc()
    means = columns.sum(axis=0) / np.diff(columns.indptr)
    baseline = np.sqrt(np.mean((held_out.data - means[held_out.indices]) ** 2))
    assert -model.score(histories, held_out) < 0.95 * baseline


@each
@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": ()}, {"batch_norm": True}])
def test_items_without_an_interaction_are_known_by_their_features(loss, params):
    X, items, _ = taste(loss)
    model = learning(items[["title", "genres"]], loss=loss, id_dropout=0.3, **params).fit(X)
    cold = model.predict(X)[:, -N_COLD:]
    liked = (np.arange(N_USERS)[:, None] % 2) == np.arange(N_ITEMS - N_COLD, N_ITEMS) % 2
    best = np.where(liked, cold, np.inf).min(axis=1) > np.where(liked, -np.inf, cold).max(axis=1)
    assert best.mean() > 0.9
    new = taste(loss, 20, seed=1)[0]
    ids = model.recommend(new, n=2, candidates=np.arange(N_ITEMS - N_COLD, N_ITEMS))
    assert (ids % 2 == np.arange(20)[:, None] % 2).mean() > 0.9
    ids = model.recommend(new, n=N_ITEMS - 30)
    assert np.isin(np.arange(N_ITEMS - N_COLD, N_ITEMS), ids).all()


@each
@pytest.mark.parametrize("params", [{}, {"hidden_layer_sizes": ()}, {"history": False}])
def test_users_without_a_history_are_known_by_their_features(loss, params):
    X, items, users = taste(loss)
    model = learning(items, loss=loss, id_dropout=0.3, **params).fit(X, user_features=users)
    empty = sp.csr_array((10, N_ITEMS))
    about = users[:10].assign(age=33)
    predicted = model.predict(empty, user_features=about)
    liked = is_liked(about)
    for row, likes in zip(predicted, liked, strict=True):
        assert (row[likes][:, None] > row[~likes]).mean() > 0.95
    ids = model.recommend(empty, n=10, user_features=about)
    assert np.take_along_axis(liked, ids, axis=1).all()
    same = predicted[::2] - predicted[0]
    assert_allclose(same, np.zeros_like(same), atol=1e-6)


@each
def test_without_features_an_empty_history_gets_what_everyone_likes(loss):
    X, items, _ = taste(loss)
    model = small(items, loss=loss, user_ids=True).fit(X)
    empty = sp.csr_array((1, N_ITEMS))
    columns = X.tocsc()
    counts = np.diff(columns.indptr)
    expected = counts
    if loss == "mse":
        expected = (columns.sum(axis=0) + 10 * X.data.mean()) / (counts + 10)
    assert_allclose(model.predict(empty)[0], expected, rtol=1e-5)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
@each
def test_an_id_that_is_never_trained_stays_zero(loss, optimizer):
    X, items, _ = taste(loss)
    params = {"loss": loss, "optimizer": optimizer, "early_stopping": False}
    model = small(items, **params).fit(X)
    ids = array(model.net_.module_.item_ids)
    assert ids[:-N_COLD].any(axis=1).all()
    assert not ids[-N_COLD:].any()


@each
def test_what_no_training_item_has_says_nothing(loss):
    """Words and tags of cold items alone are like unknown ones, and so are these in histories."""
    X, items, _ = taste(loss)
    items["genres"] = items["genres"].str.split("|")
    items.loc[38, "genres"].append("Musical")
    items.loc[36] = items.loc[38]
    items.at[36, "genres"] = [g for g in items.loc[38, "genres"] if g != "Musical"]
    items.loc[39, "title"], items.loc[37, "title"] = "songs of the night", "dances of the night"
    items.loc[39, ["genres", "year"]] = items.loc[37, ["genres", "year"]]
    model = small(items, loss=loss, l2=0.0).fit(X)
    assert {"songs", "dances"} < set(model.item_encoder_.vocabularies_["title"])
    assert_allclose(model.item_factors_[36], model.item_factors_[38], atol=1e-6)
    assert_allclose(model.item_factors_[37], model.item_factors_[39], atol=1e-6)
    histories = np.zeros((2, N_ITEMS))
    histories[:, [0, 3]] = 4
    histories[[0, 1], [36, 37]] = 4
    first, second = model.transform(histories)
    assert_allclose(first, second, atol=1e-6)
    histories[[0, 1], [5, 6]] = 4
    first, second = model.transform(histories)
    assert np.abs(first - second).max() > 1e-3


@each
def test_rare_words_are_for_items_with_an_id(loss):
    """Of 300 items a word of two says nothing of a new item, and one of four does."""
    rng = np.random.RandomState(0)
    X = make_ratings(60, 300, density=0.2, random_state=0)
    X = sp.csr_array(X.toarray() * (np.arange(300) < 297))
    titles = np.array(["a film"] * 300, dtype=object)
    titles[[0, 1, 2, 299]] = "a noir film"
    titles[[3, 297]] = "a rare film"
    titles[[5, 298]] = "a odd film"
    items = pd.DataFrame({"title": titles, "mood": rng.choice(["light", "dark"], 300)})
    items.loc[297:, "mood"] = "dark"
    kinds = {"title": "text"}
    model = small(items, loss=loss, item_encoder=FeatureEncoder(kinds), early_stopping=False).fit(X)
    assert {"noir", "rare", "odd"} < set(model.item_encoder_.vocabularies_["title"])
    rare, odd, noir = model.item_factors_[297:]
    assert_allclose(rare, odd, atol=1e-6)
    assert np.abs(noir - odd).max() > 1e-3

    module = model.net_.module_
    with torch.no_grad():
        module.item_ids[3] = module.item_ids[5]
    pair = torch.tensor([3, 5])
    module.item_features[pair, -1] = module.item_features[297, -1]
    module.common_features[pair, -1] = module.item_features[297, -1]
    first, second = array(module.eval().items(pair))
    assert np.abs(first - second).max() > 1e-3  # known by an id: what is rare says something
    module.train().item_embedding.parts[0].dropout = 0.0
    module.id_dropout = 1.0
    first, second = array(module.items(pair))
    assert_allclose(first, second, atol=1e-6)


def test_ids_tell_items_of_equal_features_apart():
    """Ids complement the features, for preferences that these do not explain."""
    X, _, _ = taste("softmax")
    items = pd.DataFrame({"genres": ["Drama"] * N_ITEMS})
    model = learning(items, loss="softmax").fit(X)
    new = taste("softmax", 20, seed=1)[0]
    ids = model.recommend(new, n=5)
    assert (ids % 2 == np.arange(20)[:, None] % 2).mean() > 0.9
    cold = model.item_factors_[-N_COLD:]
    assert_allclose(cold, np.tile(cold[:1], (N_COLD, 1)), atol=1e-6)


def test_the_penalty_reaches_ids_and_embeddings():
    X, items, users = taste("softmax")
    norms = []
    for l2 in (0.0, 1000.0):
        params = {"loss": "softmax", "user_ids": True, "l2": l2}
        module = learning(items, **params).fit(X, user_features=users).net_.module_
        weights = [module.item_ids, module.user_ids, module.bags[0]]
        weights += [module.item_embedding.parts[-1].weight, module.user_embedding.parts[-1].weight]
        norms.append(np.array([weight.detach().norm().item() for weight in weights]))
    assert np.all(norms[1] < 0.5 * norms[0])


# ---------------------------------------------------------------- training


def test_ratings_that_equal_the_mean_are_trained_on():
    rng = np.random.RandomState(0)
    X = sp.csr_array(np.where(rng.rand(60, 20) < 0.4, 3, 0).astype(np.float32))
    X.data[: X.nnz // 3], X.data[-(X.nnz // 3) :] = 2, 4
    model = small(max_epochs=1).fit(X)
    train, valid = model._make_datasets(*model._split(X, np.random.RandomState(0)))
    assert train.X.nnz + valid.targets.nnz == X.nnz
    values = np.concatenate([train.X.data, valid.targets.data])
    assert (values == 0).sum() == (X.data == 3).sum() > 100
    assert train.X is valid.X and len(train) == 60


@each
def test_data_sets_have_the_features_of_their_rows(loss):
    X = make_ratings(300, N_ITEMS, density=0.15, random_state=0)
    ages = np.arange(300.0)[:, None]
    model = small(loss=loss, max_epochs=1).fit(X, user_features=ages)
    train, valid = model._make_datasets(*model._split(model._read(X), np.random.RandomState(0)))
    assert len(valid) == (300 if loss == "mse" else 30)
    for part in (train, valid):
        numbers = ages.std() * part.features[:, 0] + ages.mean()
        assert_allclose(numbers, part.training_rows, atol=1e-3)
        assert_array_equal(np.diff(part.X.indptr) <= np.diff(X.indptr)[part.training_rows], True)


def test_validation_measures_new_users_with_their_features():
    X, items, users = taste("softmax", 300)
    model = small(items, loss="softmax", user_ids=True, max_epochs=4).fit(X, user_features=users)
    _, valid = model._make_datasets(*model._split(model._read(X), np.random.RandomState(0)))
    about = users.iloc[valid.training_rows]
    scores = model.predict(valid.X, user_features=about)
    ranked = np.argsort(np.where(valid.X.toarray() > 0, np.inf, -scores), axis=1, kind="stable")
    hits = np.take_along_axis(valid.targets.toarray() > 0, ranked, axis=1)
    discounts = 1 / np.log2(np.arange(2, N_ITEMS + 2))
    ideal = np.cumsum(discounts)[np.diff(valid.targets.indptr) - 1]
    expected = np.mean(hits @ discounts / ideal)
    assert model.history_["valid_ndcg"].max() == pytest.approx(expected, abs=1e-5)


@each
def test_early_stopping(loss):
    X = make_ratings(300, N_ITEMS, density=0.15, random_state=0)
    params = {"loss": loss, "lr": 0.05, "l2": 0.0, "max_epochs": 200, "n_iter_no_change": 2}
    stopped = small(**params).fit(X)
    assert len(stopped.history_) < 200
    column = "valid_loss" if loss == "mse" else "valid_ndcg"
    assert column in stopped.history_
    through = small(**{**params, "max_epochs": 4}, early_stopping=False).fit(X)
    assert len(through.history_) == 4
    assert not set(through.history_) & {"valid_loss", "valid_ndcg"}


def test_batches_are_of_one_size():
    """Not a last one of a user or two, which would weigh as much as the others."""
    X = make_interactions(257, N_ITEMS, density=0.15, random_state=0)
    model = small(loss="softmax", batch_size=256, early_stopping=False, max_epochs=1).fit(X)
    assert model.net_.batch_size == 129
    assert small(loss="softmax", batch_size=300, max_epochs=1).fit(X).net_.batch_size <= 257


@each
@pytest.mark.parametrize("batch_size", [1, 4])
def test_batch_norm_with_a_batch_of_one_row(loss, batch_size):
    X, items, users = taste(loss, 41)
    dense = X.toarray()
    dense[5:15] = 0  # and some batches without an item
    params = {"batch_norm": True, "batch_size": batch_size, "early_stopping": False}
    params["max_epochs"] = 1
    model = small(items, loss=loss, **params).fit(sp.csr_array(dense), user_features=users)
    assert np.isfinite(model.predict(X, user_features=users)).all()
    model.partial_fit(X[:1], user_features=users[:1])
    assert np.isfinite(model.item_factors_).all()
    one = sp.csr_array(np.array([[1.0], [2.0], [0.0]]))
    assert np.isfinite(small(loss=loss, **params).fit(one).predict(one)).all()


@each
def test_one_seed_one_model_and_global_state_is_left_alone(loss):
    X, items, users = taste(loss)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    first, second = (small(items, loss=loss).fit(X, user_features=users) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    for name in ("user_factors_", "item_factors_", "user_biases_", "item_biases_"):
        assert_array_equal(getattr(first, name), getattr(second, name))
    other = small(items, loss=loss, random_state=1).fit(X, user_features=users)
    assert not np.array_equal(other.item_factors_, first.item_factors_)


@each
@pytest.mark.parametrize("user_ids", [True, False])
def test_partial_fit_goes_on(loss, user_ids):
    X, items, users = taste(loss)
    params = {"loss": loss, "dropout": 0.0, "history_dropout": 0.0, "early_stopping": False}
    model = small(items, user_ids=user_ids, **params)
    model.partial_fit(X, user_features=users)
    steps = model.net_.optimizer_.state_dict()["state"][0]["step"].item()
    before = model.history_["train_loss"].iloc[-1]
    vectors = model.user_factors_.copy()
    model.partial_fit(X, user_features=users)
    assert model.net_.optimizer_.state_dict()["state"][0]["step"].item() == 2 * steps
    assert len(model.history_) == 6
    assert model.history_["train_loss"].iloc[-1] < before
    assert np.abs(model.user_factors_ - vectors).max() > 1e-3
    if user_ids:
        with pytest.raises(ValueError, match=r"With user_ids, partial_fit .* 120 .* got 50"):
            model.partial_fit(X[:50], user_features=users[:50])
        return
    model.partial_fit(X[50:], user_features=users[50:])
    assert model.user_factors_.shape == (70, 8) and model.user_features_.shape[0] == 70
    assert_array_equal(model.transform(X[50:], user_features=users[50:]), model.user_factors_)
    assert_array_equal(model.recommend(3), model.recommend(X[[53]], user_features=users[53:54]))
    with pytest.raises(ValueError, match="pass those of these users"):
        model.partial_fit(X)
    with pytest.raises(ValueError, match="fitted without any"):
        small(loss=loss).fit(X).partial_fit(X, user_features=users)


def test_partial_fit_corrects_for_the_popularity_in_its_data():
    """So that a model goes on likewise, whether or not it was saved in between."""
    X, items, _ = taste("softmax")
    others = sp.csr_array(X.toarray()[:70, ::-1])
    model = small(items, loss="softmax").fit(X)
    for going_on in (model, pickle.loads(pickle.dumps(model))):
        module = going_on.partial_fit(others).net_.module_
        counts = np.bincount(others.indices, minlength=N_ITEMS)
        assert_array_equal(module.counts, np.maximum(counts, 1))
        assert module.n_users == 70


@each
def test_training_lowers_the_loss(loss):
    X, items, users = taste(loss)
    params = {"batch_size": N_USERS, "history_dropout": 0.0, "id_dropout": 0.0, "max_epochs": 20}
    model = learning(items, loss=loss, **params).fit(X, user_features=users)
    losses = model.history_["train_loss"]
    assert losses.iloc[-1] < 0.9 * losses.iloc[0]


# ---------------------------------------------------------------- scikit-learn's tools


@pytest.mark.parametrize("in_pipeline", [False, True])
def test_searches_route_the_features(in_pipeline):
    """Nothing but the attributes is known of users: ranking well proves that they arrive."""
    X, items, users = taste("softmax")
    items["title"] = [f"the number {i}" for i in range(N_ITEMS)]
    with config_context(enable_metadata_routing=True):
        encoder = FeatureEncoder({"title": "text"})
        model = learning(items, loss="softmax", history=False, item_encoder=encoder, max_epochs=12)
        model.set_fit_request(user_features=True).set_score_request(user_features=True)
        prefix = ""
        if in_pipeline:
            model = RecommenderPipeline([("scale", MaxAbsScaler()), ("model", model)])
            prefix = "model__"
        grid = {f"{prefix}item_encoder__min_count": [1, 3], f"{prefix}lr": [2e-2]}
        grid = [grid, {f"{prefix}lr": [1e-5]}]
        search = GridSearchCV(model, grid, cv=2).fit(X, user_features=users)
    assert search.best_params_[f"{prefix}lr"] == 2e-2
    popular = cross_validate(PopularityRecommender(), X, cv=2)["test_score"]
    assert search.best_score_ > popular.max() + 0.1
    best = search.best_estimator_
    best = best[-1] if in_pipeline else best
    words = best.item_encoder_.vocabularies_["title"].tolist()
    min_count = search.best_params_[f"{prefix}item_encoder__min_count"]
    assert len(words) == (42 if min_count == 1 else 2)
    assert encoder.min_count == 1 and not hasattr(encoder, "slots_")


def test_a_pipeline_hands_the_features_on():
    X, items, users = taste("softmax")
    model = small(items, loss="softmax")
    pipe = RecommenderPipeline([("scale", MaxAbsScaler()), ("model", clone(model))])
    pipe.fit(X, user_features=users)
    scaled = MaxAbsScaler().fit_transform(X)
    alone = model.fit(scaled, user_features=users)
    assert_array_equal(
        pipe.predict(X, user_features=users), alone.predict(scaled, user_features=users)
    )
    empty = sp.csr_array((1, N_ITEMS))
    assert_array_equal(
        pipe.recommend(empty, n=4, user_features=users[:1]),
        alone.recommend(empty, n=4, user_features=users[:1]),
    )
    with pytest.raises(ValueError, match="pass those of these users"):
        pipe.predict(X)


@pytest.mark.parametrize("loss", ["mse", "softmax"])
def test_cross_validation(loss):
    X, items, users = taste(loss)
    model = learning(items[["genres"]], loss=loss, history=False, max_epochs=15)
    right = cross_validate(model, X, cv=2, params={"user_features": users})["test_score"]
    wrong = users.assign(club=users["club"].to_numpy()[np.random.RandomState(0).permutation(120)])
    wrong = cross_validate(model, X, cv=2, params={"user_features": wrong})["test_score"]
    assert np.all(right > wrong + 0.05)


def test_nothing_that_is_handed_in_is_changed():
    X, items, users = taste("softmax")
    originals = X.copy(), items.copy(deep=True), users.copy(deep=True)
    encoders = FeatureEncoder(), FeatureEncoder()
    model = small(items, item_encoder=encoders[0], user_encoder=encoders[1], loss="softmax")
    copy = clone(model).fit(X, user_features=users)
    assert model.item_features is items
    pd.testing.assert_frame_equal(copy.item_features, items)
    model.fit(X, user_features=users).recommend(X, user_features=users)
    assert_array_equal(X.toarray(), originals[0].toarray())
    pd.testing.assert_frame_equal(items, originals[1])
    pd.testing.assert_frame_equal(users, originals[2])
    assert not any(hasattr(encoder, "slots_") for encoder in encoders)
    assert_array_equal(copy.item_factors_, model.item_factors_)
    expected = model.predict(X, user_features=users)
    model.user_features_.flags.writeable = False
    items.iloc[:, 0], users["age"] = "other", 1
    assert_array_equal(model.predict(X, user_features=originals[2]), expected)


def test_item_features_of_every_form():
    """Numbers are numbers, in an array or a frame; a sparse matrix is scaled, not centered."""
    X, _, _ = taste("softmax")
    numbers = np.random.RandomState(0).randn(N_ITEMS, 4) * (np.random.RandomState(1).rand(4) + 1)
    numbers[::3, 1] = 0

    def vectors(features):
        return small(features, loss="softmax").fit(X).item_factors_

    expected = vectors(numbers)
    assert_array_equal(vectors(numbers.tolist()), expected)
    assert_array_equal(vectors(pd.DataFrame(numbers, columns=list("abcd"))), expected)
    scaled = vectors(sp.csr_array(numbers))
    for make in (sp.csc_array, sp.coo_matrix):
        assert_array_equal(vectors(make(numbers)), scaled)
    assert_allclose(vectors(numbers + 100), expected, atol=1e-3)
    assert np.abs(vectors(np.roll(numbers, 1, axis=0)) - expected).max() > 1e-3
    assert np.abs(scaled - small(loss="softmax").fit(X).item_factors_).max() > 1e-3


def test_user_features_of_every_form():
    X, items, _ = taste("softmax")
    numbers = np.random.RandomState(0).randn(N_USERS, 3)
    frame = pd.DataFrame(numbers, columns=["a", "b", "c"])
    model = small(items, loss="softmax").fit(X, user_features=frame)
    expected = model.predict(X, user_features=frame)
    for other in (frame[["c", "a", "b"]], frame.assign(more="!")):
        assert_array_equal(model.predict(X, user_features=other), expected)
    by_array = small(items, loss="softmax").fit(X, user_features=numbers)
    assert_array_equal(by_array.predict(X, user_features=numbers.tolist()), expected)
    assert_array_equal(by_array.user_features_, model.user_features_)
    by_sparse = small(items, loss="softmax").fit(X, user_features=sp.csr_array(numbers))
    assert_array_equal(
        by_sparse.predict(X, user_features=numbers),
        by_sparse.predict(X, user_features=sp.coo_array(numbers)),
    )


@each
@pytest.mark.parametrize("features", [True, False])
def test_saving(loss, features, tmp_path):
    X, items, users = taste(loss)
    keywords = {"user_features": users} if features else {}
    params = {"loss": loss, "user_ids": True, "batch_norm": True}
    if features:
        params["item_encoder"] = FeatureEncoder({"year": "drop"}, min_count=2)
    model = small(items if features else None, **params).fit(X, **keywords)
    model.save(tmp_path / "model")
    new = taste(loss, seed=1)[0]
    for copy in (load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        for rows in (X, new):
            assert_array_equal(copy.predict(rows, **keywords), model.predict(rows, **keywords))
        assert_array_equal(copy.recommend(n=3), model.recommend(n=3))
        if features:
            pd.testing.assert_frame_equal(copy.item_features, items)
            assert copy.item_encoder.min_count == 2
            assert copy.item_encoder_.slots_ == model.item_encoder_.slots_
        assert clone(copy).get_params().keys() == model.get_params().keys()
        copy.partial_fit(X, **keywords)
        assert len(copy.history_) == 2 * len(model.history_)
    stored = model._save_state()
    assert "_cache_" not in stored and "weights_" in stored
    assert not {"item_features", "counts"} & set(stored["weights_"])


def test_memory_mapped_pickles_load_without_a_warning(tmp_path):
    X, items, users = taste("softmax")
    model = small(items, loss="softmax").fit(X, user_features=users)
    joblib.dump(model, tmp_path / "model.joblib")
    always = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # else it warns once in a process
    try:
        mapped = joblib.load(tmp_path / "model.joblib", mmap_mode="r")
        got = mapped.predict(X, user_features=users)
    finally:
        torch.set_warn_always(always)
    assert_array_equal(got, model.predict(X, user_features=users))


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize("history", [True, False])
def test_the_user_tower_needs_an_input(history):
    X, items, users = taste("softmax")
    model = small(items, loss="softmax", history=history)
    if history:
        assert model.fit(X).user_encoder_ is None
        return
    with pytest.raises(ValueError, match="The user tower has no input: history and user_ids"):
        model.fit(X)
    assert not hasattr(model, "interactions_")
    assert model.fit(X, user_features=users).user_encoder_ is not None
    model = small(history=False, user_ids=True, loss="softmax")
    with pytest.raises(ValueError, match="cannot be held out for early stopping: use early_s"):
        model.fit(X)
    assert model.set_params(early_stopping=False).fit(X).item_encoder_ is None


X_FRAME = pd.DataFrame(
    taste("mse")[0].toarray(), [f"u{i}" for i in range(N_USERS)], [f"i{i}" for i in range(N_ITEMS)]
)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (np.ones((N_ITEMS - 1, 2)), "one row per item.* expected 40, got 39"),
        (sp.csr_array((N_USERS, 2)), "expected 40, got 120"),
        (pd.DataFrame({"a": 1.0}, X_FRAME.columns[::-1]), "index of item_features must be the col"),
        (np.ones(N_ITEMS), "item_features: Expected 2D array"),
        (np.full((N_ITEMS, 1), np.inf), "item_features: .*infinit"),
        ([["a"]] * N_ITEMS, "item_features: .*could not convert"),
        (pd.DataFrame({"a": [1, "b"] * 20}, X_FRAME.columns), "item_features: Column 'a' holds"),
        (pd.DataFrame(np.ones((N_ITEMS, 2))), "item_features: The column names of a frame"),
    ],
)
def test_bad_item_features(features, message):
    model = small(max_epochs=1).fit(X_FRAME).set_params(item_features=features)
    with pytest.raises(TypeError if "names of a frame" in message else ValueError, match=message):
        model.fit(X_FRAME)
    assert not [name for name in vars(model) if name.endswith("_")]


ABOUT = taste("mse")[2].set_index(X_FRAME.index)


@pytest.mark.filterwarnings("ignore:100% of the rows:UserWarning")
@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
@pytest.mark.parametrize(
    ("features", "message"),
    [
        (ABOUT[:-1].reset_index(), "user_features must have a row.*: expected 120, got 119"),
        (ABOUT[::-1], "X and user_features are frames with different indices"),
        (ABOUT[["age"]], r"user_features: X lacks the column\(s\) \['club'\]"),
        (ABOUT.assign(club=1), "user_features: Column 'club' holds numbers, but it held strings"),
        (ABOUT.assign(age="old"), "user_features: Column 'age' is of the kind 'number'"),
        (ABOUT.assign(age=np.inf), "user_features: Column 'age' holds infinite values"),
        (ABOUT.to_numpy(), "user_features: FeatureEncoder was fitted on a frame"),
        (None, "was fitted with user_features: pass those of these users"),
    ],
)
def test_bad_user_features(features, message):
    X = X_FRAME if "frames" in message else X_FRAME.to_numpy()
    model = small(max_epochs=1).fit(X, user_features=ABOUT)
    for call in (
        lambda: model.predict(X, user_features=features),
        lambda: model.predict_pairs(X, [0], [0], user_features=features),
        lambda: model.recommend(X, user_features=features),
        lambda: model.transform(X, user_features=features),
        lambda: model.similar_users(X, user_features=features),
        lambda: model.score(X, exclude_seen=False, user_features=features),
        lambda: model.partial_fit(X, user_features=features),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    assert model.recommend(n=1).shape == (N_USERS, 1)  # it is still fitted


def test_bad_user_features_in_fit():
    X, items, users = taste("softmax")
    for features, message in (
        (users[:-1], "expected 120, got 119"),
        (users.assign(club=[1, "a"] * 60), "user_features: Column 'club' holds values of"),
        (users["age"].to_numpy(), "user_features: Expected 2D array"),
    ):
        model = small(items, loss="softmax", max_epochs=1).fit(X, user_features=users)
        with pytest.raises(ValueError, match=message):
            model.fit(X, user_features=features)
        assert not [name for name in vars(model) if name.endswith("_")]
    with pytest.raises(ValueError, match="frames with different indices"):
        small().fit(X_FRAME, user_features=ABOUT[::-1])
    model = small(loss="softmax").fit(X)
    with pytest.raises(ValueError, match="was fitted without any"):
        model.predict(X, user_features=users)


@each
def test_unknown_and_missing_categories_are_one(loss):
    X, items, users = taste(loss)
    model = small(items, loss=loss).fit(X, user_features=users)
    empty = sp.csr_array((5, N_ITEMS))
    clubs = ["green", None, "", np.nan, "red"]
    about = pd.DataFrame({"club": pd.Series(clubs, dtype=object), "age": 40})
    predicted = model.predict(empty, user_features=about)
    assert_allclose(predicted[:4], np.tile(predicted[:1], (4, 1)), atol=1e-6)
    assert np.abs(predicted[4] - predicted[0]).max() > 1e-4
    vector = model.net_.module_.user_embedding.parts[-1].weight[1]
    assert not vector.detach().any(), "the vector of an unseen code was trained"


@each
def test_empty_titles(loss):
    """A missing title is an empty one; a catalog without a single word is no error."""
    X, items, _ = taste(loss)
    items.loc[[3, 38], "title"] = ["", None]
    items.loc[36] = items.loc[38]
    items.loc[36, "title"] = "!?"
    model = small(items, loss=loss).fit(X)
    assert np.isfinite(model.predict(X)).all()
    assert_allclose(model.item_factors_[36], model.item_factors_[38], atol=1e-6)
    encoder = FeatureEncoder({"title": "text"})
    model = small(items[["title"]].assign(title=""), loss=loss, item_encoder=encoder).fit(X)
    assert np.isfinite(model.predict(X)).all()
    assert_allclose(model.item_factors_[-N_COLD:], model.item_factors_[-N_COLD:][::-1], atol=1e-6)


def test_a_diverged_model_says_so():
    X, items, users = taste("mse")
    params = {"optimizer": "sgd", "lr": 1e3, "early_stopping": False, "activation": "identity"}
    with pytest.warns(ConvergenceWarning, match="diverged in epoch 1"):
        model = small(items, **params).fit(X, user_features=users)
    with pytest.raises(ValueError, match="may have diverged"):
        model.predict(X, user_features=users)


def test_equal_ratings_warn():
    X, *_ = taste("mse")
    with pytest.warns(UserWarning, match="TwoTower predicts ratings, but all"):
        small(max_epochs=1).fit(X.astype(bool))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"item_features": "titles"}, "The 'item_features' parameter of TwoTower"),
        ({"loss": "bpr"}, "The 'loss' parameter of TwoTower"),
        ({"n_factors": 0}, "The 'n_factors' parameter"),
        ({"embedding_dim": 0}, "The 'embedding_dim' parameter"),
        ({"hidden_layer_sizes": 10}, "The 'hidden_layer_sizes' parameter"),
        ({"hidden_layer_sizes": (10, 0)}, r"must be positive integers.*got \[10, 0\]"),
        ({"hidden_layer_sizes": (2.5,)}, r"must be positive integers.*got \[2.5\]"),
        ({"activation": "sine"}, "The 'activation' parameter"),
        ({"history": "yes"}, "The 'history' parameter"),
        ({"user_ids": "no"}, "The 'user_ids' parameter"),
        ({"n_filters": 0}, "The 'n_filters' parameter"),
        ({"history_dropout": 1.0}, "The 'history_dropout' parameter"),
        ({"id_dropout": -0.1}, "The 'id_dropout' parameter"),
        ({"dropout": 1.0}, "The 'dropout' parameter"),
        ({"batch_norm": "yes"}, "The 'batch_norm' parameter"),
        ({"n_negatives": 0}, "The 'n_negatives' parameter"),
        ({"item_encoder": MaxAbsScaler()}, "The 'item_encoder' parameter"),
        ({"user_encoder": "codes"}, "The 'user_encoder' parameter"),
        ({"item_encoder": FeatureEncoder({"x": "text"})}, "item_features: kinds names"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    X, items, _ = taste("mse")
    with pytest.raises(ValueError, match=match):
        small(**{"item_features": items, **params}).fit(X)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@each
def test_cuda(loss):
    X, items, users = taste(loss)
    params = {"loss": loss, "user_ids": True, "batch_norm": True}
    model = small(items, device="cuda", **params).fit(X, user_features=users)
    predicted = model.predict(X, user_features=users)
    assert np.isfinite(predicted).all()
    copy = pickle.loads(pickle.dumps(model)).partial_fit(X, user_features=users)
    assert len(copy.history_) > len(model.history_)
    assert_array_equal(model.transform(X, user_features=users), model.user_factors_)


def test_similar_users_excludes_the_user_with_the_same_features():
    """Several training users have one history, here none; it is the features that differ."""
    X, items, users = taste("softmax")
    X = X.tolil()
    X[[3, 7]] = 0
    X = X.tocsr()
    users = users.copy()
    users.iloc[[3, 7]] = [users.iloc[0].tolist(), users.iloc[1].tolist()]
    assert not users.iloc[3].equals(users.iloc[7])
    model = small(items, loss="softmax", max_epochs=2).fit(X, user_features=users)
    ids, _ = model.similar_users(X[[7]], n=N_USERS - 1, user_features=users.iloc[[7]])
    assert 7 not in ids and 3 in ids
