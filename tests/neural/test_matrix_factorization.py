"""MatrixFactorization: its users against exact solutions, its losses, and what a user sees."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import rankdata
from sklearn.model_selection import GridSearchCV

torch = pytest.importorskip("torch")

from skorch.callbacks import Callback  # noqa: E402

import sklearn_recsys  # noqa: E402
from sklearn_recsys import MatrixFactorization, PopularityRecommender  # noqa: E402
from sklearn_recsys.datasets import make_interactions, make_ratings  # noqa: E402
from sklearn_recsys.model_selection import HoldoutSplit, random_holdout  # noqa: E402
from sklearn_recsys.neural._matrix_factorization import MatrixFactorizationModule  # noqa: E402
from sklearn_recsys.utils.estimator_checks import check_checkerboard  # noqa: E402

RANKERS = {
    "all": {"loss": "logistic"},
    "sampled": {"loss": "logistic", "negatives": "sampled"},
    "bpr": {"loss": "bpr"},
}
KINDS = {"mse": {}, "range": {"rating_range": (1, 5)}, **RANKERS}
kinds = pytest.mark.parametrize("kind", KINDS)
rankers = pytest.mark.parametrize("kind", RANKERS)
on_ratings = pytest.mark.parametrize("kind", ["mse", "range"])


def ratings(n_users=80, n_items=50, density=0.3):
    return make_ratings(n_users, n_items, density=density, random_state=0)


def interactions(n_users=80, n_items=40, density=0.15):
    X = make_interactions(n_users, n_items, density=density, random_state=0)
    return X[np.sort(np.unique(X.toarray(), axis=0, return_index=True)[1])]


def data(kind):
    return interactions() if kind in RANKERS else ratings()


def small(kind, **params):
    batch_size = "auto" if kind == "all" else 128
    defaults = {"n_factors": 6, "max_epochs": 6, "batch_size": batch_size, "random_state": 0}
    params = {**defaults, **KINDS[kind], **params}
    return MatrixFactorization(**params)


def unclipped(model, X):
    """Return the scores of all items, as rankings see them."""
    ids, scores = model.recommend(X, n=X.shape[1], exclude_seen=False, return_scores=True)
    dense = np.empty(X.shape)
    np.put_along_axis(dense, ids, scores, axis=1)
    return dense


# -------------------------------------------------------------------------- ratings


@pytest.mark.parametrize("early_stopping", [True, False])
@on_ratings
def test_users_are_ridge_regressions(kind, early_stopping):
    """The exact minimiser for every row, known or new; the sigmoid as a line from the prior on."""
    R = ratings()
    model = small(kind, early_stopping=early_stopping).fit(R[:60])
    module, mean = model.net_.module_, R[:60].data.mean(dtype=np.float64)
    V = np.hstack([model.item_factors_.astype(np.float64), np.ones((50, 1))])
    prior = model.item_biases_ + V @ model._mean_row_
    if kind == "range":  # an eighth of the range beyond it
        offset, scale = 0.5, 5.0
        assert module.intercept == pytest.approx(np.log((mean - 0.5) / (5.5 - mean)))
        base = 1 / (1 + np.exp(-prior - module.intercept))
        slopes = base * (1 - base)
    else:
        offset, scale, base, slopes = mean, 1.0, prior, np.ones(50)
    A = slopes[:, None] * V
    covariance = model._root_ @ model._root_.T
    penalty = model.user_l2_ / 2 * np.linalg.inv(covariance)
    expected = np.empty(R.shape)
    for row in range(80):
        items, values = R[[row]].indices, R[[row]].data.astype(np.float64)
        y = (values - offset) / scale - base[items]
        deviation = np.linalg.solve(A[items].T @ A[items] + penalty, A[items].T @ y)
        expected[row] = offset + scale * (base + A @ deviation)
    assert_allclose(unclipped(model, R), expected, atol=1e-4)
    assert_allclose(model.predict(R), np.clip(expected, *model.rating_range_), atol=1e-4)


def test_the_prior_is_of_the_trained_users():
    R = ratings()
    model = small("mse").fit(R)
    users = model.net_.module_.user_vectors.detach().numpy().astype(np.float64)
    covariance = np.cov(users.T, bias=True)
    assert_allclose(
        model._root_ @ model._root_.T,
        0.5 * covariance / np.diag(covariance).mean() + 0.5 * np.eye(7),
        atol=1e-10,
    )
    # partial_fit, and a second fit, put new ones in their place
    assert_allclose(model._mean_row_, users.mean(axis=0))


def test_the_penalty_is_the_best_on_the_held_out_ratings(monkeypatch):
    R = ratings()
    kept = {}
    best = MatrixFactorization._best_penalty
    monkeypatch.setattr(
        MatrixFactorization,
        "_best_penalty",
        lambda self, known, held_out, *side: (
            kept.update(split=(known, held_out)) or best(self, known, held_out, *side)
        ),
    )
    model = small("mse").fit(R)
    known, held_out = kept["split"]
    assert_allclose((known + held_out).toarray(), R.toarray())
    rows, items = held_out.nonzero()
    side = model.item_factors_.astype(np.float64), model.item_biases_.astype(np.float64)
    errors = {}
    for penalty in model._penalties:
        model._set_item_side(side[0], penalty, side[1])
        errors[penalty] = np.mean((unclipped(model, known)[rows, items] - held_out.data) ** 2)
    assert model.user_l2_ == min(errors, key=errors.get)


def test_a_range_is_no_reason_to_shrink_users_more():
    """The penalty stands beside errors in ratings, however these are scaled."""
    train, test = random_holdout(ratings(200, 80), 0.1, random_state=0)
    params = {"n_factors": 16, "early_stopping": False, "max_epochs": 10, "lr": 0.02}
    plain, ranged = (
        -small(kind, **params).fit(train).score(train, test)
        for kind in KINDS
        if kind in ("mse", "range")
    )
    assert ranged < 1.03 * plain


@pytest.mark.parametrize("kind", ["mse", *RANKERS])
def test_factors_and_biases_make_the_scores(kind):
    X = data(kind)
    model = small(kind).fit(X)
    constant = X.data.mean(dtype=np.float64) if kind == "mse" else 0.0
    scores = model.user_factors_ @ model.item_factors_.T + constant
    scores += model.user_biases_[:, None] + model.item_biases_
    assert model.user_factors_.shape == (X.shape[0], 6)
    assert model.item_factors_.shape == (X.shape[1], 6)
    assert model.user_factors_.dtype == model.item_biases_.dtype == np.float32
    assert_allclose(unclipped(model, X), scores, atol=1e-4)


@pytest.mark.parametrize("rating_range", [(1, 5), [0, 6]])
def test_scores_stay_inside_the_widened_range(rating_range):
    """Those of the net; the users' lines are clipped to the ratings in `predict`."""
    R = ratings()
    params = {"batch_size": 64, "max_epochs": 10, "early_stopping": False}
    model = small("mse", rating_range=rating_range, l2=0.0, lr=0.1, **params).fit(R)
    low, high = rating_range
    margin = (high - low) / 8
    with torch.no_grad():
        grid = model.net_.module_.grid(model.net_.module_.user_vectors).numpy()
    outputs = model._as_ratings(grid)
    assert outputs.min() >= low - margin - 1e-5 and outputs.max() <= high + margin + 1e-5
    assert outputs.max() > 5
    predicted = model.predict(R)
    assert predicted.min() >= 1 and predicted.max() <= 5


@pytest.mark.parametrize(
    ("rating_range", "match"),
    [
        ((5, 1), r"the lowest and the highest rating, such as \(1, 5\); got \(5, 1\)"),
        ((1, 2, 5), r"got \(1, 2, 5\)"),
        ((1,), r"got \(1,\)"),
        ((1, np.inf), r"got \(1, inf\)"),
        ((np.nan, 5), r"got \(nan, 5\)"),
        (("1", "5"), r"got \('1', '5'\)"),
        ((1, None), r"got \(1, None\)"),
        ((2, 5), r"X holds ratings from 1 to 5, outside of rating_range=\(2, 5\)"),
        ((1, 4.5), r"outside of rating_range=\(1, 4.5\)"),
    ],
)
def test_wrong_ranges(rating_range, match):
    model = small("mse", rating_range=rating_range)
    with pytest.raises(ValueError, match=match):
        model.fit(ratings())
    assert not hasattr(model, "interactions_")


@on_ratings
def test_learns_more_than_item_means_for_known_and_new_users(kind):
    R = ratings(300, 60)
    known, held_out = random_holdout(R, 0.2, random_state=0)
    model = small(kind, max_epochs=15, lr=0.02).fit(known[:240])
    means = known[:240].sum(axis=0) / np.maximum(np.diff(known[:240].tocsc().indptr), 1)
    for rows in (slice(0, 240), slice(240, 300)):
        test = held_out[rows]
        baseline = np.sqrt(np.mean((test.data - means[test.indices]) ** 2))
        assert -model.score(known[rows], test) < 0.95 * baseline


def test_going_on_keeps_the_scale_and_the_intercept():
    R = ratings()
    for kind in ("mse", "range"):
        model = small(kind, early_stopping=False).fit(R)
        scale, intercept = model._scale_, model.net_.module_.intercept
        low = R.copy()
        low.data = np.minimum(low.data, 2)
        model.partial_fit(low[:50])
        loaded = pickle.loads(pickle.dumps(model))
        for one in (model, loaded):
            assert one._scale_ == scale and one.net_.module_.intercept == intercept
        assert_allclose(loaded.partial_fit(R).predict(R), model.partial_fit(R).predict(R), atol=0.2)


# -------------------------------------------------------------------------- interactions


@rankers
def test_learns_the_checkerboard(kind):
    check_checkerboard(small(kind, n_factors=8, max_epochs=20, batch_size=256, lr=0.03))


@rankers
def test_learns_more_than_popularity_for_known_and_new_users(kind):
    X = make_interactions(600, 80, density=0.15, random_state=0)
    X, held_out = random_holdout(X, 0.2, per_user=True, random_state=0)
    params = {"n_factors": 8, "max_epochs": 10, "lr": 0.02, "batch_size": 512, "l2": 0.03}
    params |= {"all": {"max_epochs": 30, "lr": 0.01, "batch_size": 50}, "bpr": {"l2": 0.1}}.get(
        kind, {}
    )
    model = small(kind, early_stopping=False, **params).fit(X[:480])
    popular = PopularityRecommender().fit(X[:480])
    scores = []
    for rows in (slice(0, 480), slice(480, 600)):
        scores.append(model.score(X[rows], held_out[rows]))
        assert scores[-1] > popular.score(X[rows], held_out[rows]) + 0.005
    assert scores[1] > 0.9 * scores[0]


def test_all_negatives_are_the_expectation_of_sampled_ones():
    """Trained long enough, both rank alike."""
    X = interactions(60, 20, density=0.3)
    params = {"early_stopping": False, "l2": 0.1, "n_factors": 3, "lr": 0.02, "n_negatives": 4}
    params["schedule"] = "one_cycle"
    dense = small("all", max_epochs=150, batch_size=20, **params).fit(X).predict(X)
    drawn = small("sampled", max_epochs=40, batch_size=128, **params).fit(X).predict(X)
    ranks = [rankdata(scores, axis=1).ravel() for scores in (dense, drawn)]
    assert np.corrcoef(*ranks)[0, 1] > 0.95
    assert np.corrcoef(dense.ravel(), drawn.ravel())[0, 1] > 0.95


@rankers
def test_a_matrix_without_a_free_item(kind):
    X = np.ones((6, 5))
    assert np.isfinite(small(kind).fit(X).predict(X)).all()


# -------------------------------------------------------------------------- training


@kinds
def test_early_stopping(kind):
    X = data(kind)
    model = small(kind, max_epochs=60, lr=0.05, n_iter_no_change=2).fit(X)
    column = "valid_loss" if kind in ("mse", "range") else "valid_ndcg"
    history = model.history_[column]
    assert ("valid_ndcg" in model.history_) == (kind in RANKERS)
    best = history.min() if column == "valid_loss" else history.max()
    assert len(history) < 60, "it should have stopped"
    _, valid = model.net_.train_split(None)
    net, module = model.net_, model.net_.module_.eval()
    measure = module.loss if column == "valid_loss" else module.validate
    with torch.no_grad():
        parts = [(measure(*batch).item(), len(batch[0])) for batch in net.get_iterator(valid)]
    values, sizes = zip(*parts, strict=True)
    assert np.average(values, weights=sizes) == pytest.approx(best, rel=1e-3)
    without = small(kind, early_stopping=False).fit(X).history_
    assert column not in without and len(without) == 6


class RecordedRates(Callback):
    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            rates.append(net.optimizer_.param_groups[0]["lr"])


rates = []


@pytest.mark.parametrize("kind", ["mse", "all", "bpr"])
def test_one_cycle(kind):
    params = {"max_epochs": 5, "early_stopping": False, "lr": 0.02}
    params["batch_size"] = 8 if kind == "all" else 80  # rows, or pairs
    callbacks = [RecordedRates()]
    rates.clear()
    small(kind, schedule="one_cycle", callbacks=callbacks, **params).fit(data(kind))
    top = int(np.argmax(rates))
    assert max(rates) == pytest.approx(0.02, rel=0.02)
    assert 0.1 < top / len(rates) < 0.5
    assert np.all(np.diff(rates[: top + 1]) > 0) and np.all(np.diff(rates[top:]) < 0)
    assert rates[0] < 0.1 * 0.02 and rates[-1] < 0.05 * 0.02
    rates.clear()
    small(kind, callbacks=callbacks, **params).fit(data(kind))
    assert set(rates) == {0.02}


@kinds
def test_sgd(kind):
    X = data(kind)
    params = {"early_stopping": False, "batch_size": 32, "l2": 0.0, "max_epochs": 6}
    lr = 0.1 if kind in ("mse", "range") else 1.0
    losses = small(kind, optimizer="sgd", lr=lr, **params).fit(X).history_["train_loss"]
    assert losses.iloc[-1] < 0.97 * losses.iloc[0]


def test_default_rates_and_penalties():
    for kind, lr, l2 in (("mse", 0.003, 0.22), ("all", 0.01, 0.01), ("bpr", 0.01, 0.01)):
        net = small(kind, max_epochs=1).fit(data(kind)).net_
        assert net.lr == lr and net.module_.l2 == l2


def test_dropout_only_while_training():
    torch.manual_seed(0)
    module = MatrixFactorizationModule(4, 5, 6, "logistic", 0.0, 0.5, 3)
    torch.nn.init.constant_(module.user_vectors, 1)
    torch.nn.init.constant_(module.item_vectors, 1)
    u = module.user_vectors[[0] * 300]
    trained = module.train().score(u, module.item_vectors[[0] * 300]).detach()
    # sums of the six products, each left out or doubled; the biases stay
    assert set(np.unique(trained)) <= set(range(2, 16, 2))
    assert abs(trained.mean().item() - 8) < 0.5
    grid = module.grid(u).detach()
    assert torch.equal(grid[:, :1].expand(-1, 5), grid), "a row leaves out the same factors"
    assert grid.std() > 1
    module.eval()
    assert_array_equal(module.score(u, module.item_vectors[[0] * 300]).detach(), 8)
    assert_array_equal(module.grid(u).detach(), 8)


@kinds
def test_the_penalty_shrinks_the_vectors(kind):
    X = data(kind)
    params = {"early_stopping": False, "max_epochs": 15, "lr": 0.05, "batch_size": 256}
    free, held = (small(kind, l2=l2, **params).fit(X).net_.module_ for l2 in (0.0, 2.0))
    for name in ("user_vectors", "item_vectors"):
        norms = [getattr(module, name).detach().norm().item() for module in (free, held)]
        assert norms[1] < 0.7 * norms[0]


# -------------------------------------------------------------------------- as an estimator


@kinds
def test_one_seed_one_model_and_global_state_is_left_alone(kind):
    X = data(kind)
    torch.manual_seed(7)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()
    first, second = (small(kind).fit(X) for _ in range(2))
    new = small(kind).fit(X[:60])
    new.predict(X)
    other = small(kind, random_state=1).fit(X)
    assert_array_equal(first.predict(X), second.predict(X))
    assert not np.array_equal(first.predict(X), other.predict(X))
    assert torch.equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], numpy_state[1])
    assert np.random.get_state()[2] == numpy_state[2]


@kinds
def test_saving(kind, tmp_path):
    X = data(kind)
    model = small(kind).fit(X[:60])
    model.save(tmp_path / "model")
    for loaded in (sklearn_recsys.load(tmp_path / "model"), pickle.loads(pickle.dumps(model))):
        assert_array_equal(loaded.predict(X), model.predict(X))  # known and new users
        assert_array_equal(loaded.user_factors_, model.user_factors_)
        n = len(model.history_)
        assert len(loaded.partial_fit(X).history_) > n
    stored = set(model._save_state())
    assert not {"_cache_", "_split_", "net_"} & stored


@on_ratings
def test_partial_fit_on_ratings_takes_other_users(kind):
    R = ratings()
    model = small(kind, early_stopping=False).fit(R[:60])
    model.partial_fit(R[40:])
    assert model.user_factors_.shape == (40, 6) and len(model.history_) == 12
    assert_array_equal(model.interactions_.toarray(), R[40:].toarray())


@pytest.mark.parametrize("kind", ["mse", "all"])
def test_search(kind):
    fit, valid = random_holdout(data(kind), 0.1, random_state=0)
    grid = {"lr": [1e-7, 2e-2], "n_factors": [2, 4]}
    model = small(kind, max_epochs=8, batch_size=64, early_stopping=False)
    search = GridSearchCV(model, grid, cv=HoldoutSplit()).fit(fit, valid)
    assert search.best_params_["lr"] == 2e-2
    search = GridSearchCV(small(kind), {"l2": [0.01, 0.1]}, cv=2).fit(data(kind))
    assert np.isfinite(search.best_score_)


@kinds
def test_the_tag_follows_the_loss(kind):
    tags = small(kind).__sklearn_tags__().recommender_tags
    assert tags.values == ("rating" if kind in ("mse", "range") else "binary")


@rankers
def test_only_the_items_count(kind):
    X = interactions()
    weighted = X.copy()
    weighted.data = np.random.RandomState(0).randint(1, 6, size=X.nnz).astype(X.dtype)
    model = small(kind).fit(sp.csr_array(weighted))
    assert_array_equal(model.predict(X), small(kind).fit(X).predict(weighted))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_factors": 0}, "The 'n_factors' parameter of MatrixFactorization"),
        ({"loss": "hinge"}, "The 'loss' parameter of MatrixFactorization"),
        ({"negatives": "some"}, "The 'negatives' parameter of MatrixFactorization"),
        ({"n_negatives": 0}, "The 'n_negatives' parameter of MatrixFactorization"),
        ({"dropout": 1.0}, "The 'dropout' parameter of MatrixFactorization"),
        ({"schedule": "cosine"}, "The 'schedule' parameter of MatrixFactorization"),
        ({"lr": 0}, "The 'lr' parameter of MatrixFactorization"),
        ({"l2": -1}, "The 'l2' parameter of MatrixFactorization"),
        ({"batch_size": 0}, "The 'batch_size' parameter of MatrixFactorization"),
        ({"rating_range": 5}, "The 'rating_range' parameter of MatrixFactorization"),
        ({"optimizer": "adaam"}, "optimizer='adaam' is unknown"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        small("mse", **params).fit(ratings())


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_is_refused_where_there_is_none():
    for kind in KINDS:
        with pytest.raises(ValueError, match="device='cuda' is not available"):
            small(kind, device="cuda").fit(data(kind))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@kinds
def test_cuda(kind):
    X = data(kind)
    model = small(kind, device="cuda").fit(X[:60])
    assert np.isfinite(model.predict(X)).all()
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X), atol=1e-4)
