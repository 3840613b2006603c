"""MatrixFactorization: its users against exact solutions, its scale, and its range."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array

torch = pytest.importorskip("torch")

from sklearn_recsys import MatrixFactorization  # noqa: E402
from sklearn_recsys.datasets import make_ratings  # noqa: E402
from sklearn_recsys.model_selection import random_holdout  # noqa: E402
from sklearn_recsys.neural import SparseRows  # noqa: E402
from sklearn_recsys.neural._data.pair_batches import HistoryPairBatches, PairDataset  # noqa: E402
from sklearn_recsys.neural._data.random import seeded  # noqa: E402
from sklearn_recsys.neural._matrix_factorization import MatrixFactorizationModule  # noqa: E402
from sklearn_recsys.utils._cells import support  # noqa: E402
from sklearn_recsys.utils._neighbors import unit_rows  # noqa: E402

KINDS = {
    "mse": {},
    "range": {"rating_range": (1, 5)},
    "implicit": {"implicit": True},
    "implicit, range": {"implicit": True, "rating_range": (1, 5)},
}
on_ratings = pytest.mark.parametrize("kind", KINDS)


def ratings(n_users=80, n_items=50, density=0.3):
    return make_ratings(n_users, n_items, density=density, random_state=0)


def small(kind, **params):
    defaults = {"n_factors": 6, "max_epochs": 6, "batch_size": 128, "random_state": 0}
    return MatrixFactorization(**{**defaults, **KINDS[kind], **params})


def unclipped(model, X):
    """Return the scores of all items, as rankings see them."""
    ids, scores = model.recommend(X, n=X.shape[1], exclude_seen=False, return_scores=True)
    dense = np.empty(X.shape)
    np.put_along_axis(dense, ids, scores, axis=1)
    return dense


@pytest.mark.parametrize("early_stopping", [True, False])
@on_ratings
def test_users_are_ridge_regressions(kind, early_stopping):
    """The exact minimiser for every row, known or new; the sigmoid as a line from the prior on."""
    R = ratings()
    model = small(kind, early_stopping=early_stopping).fit(R[:60])
    module, mean = model.net_.module_, R[:60].data.mean(dtype=np.float64)
    V = np.hstack([model.item_factors_.astype(np.float64), np.ones((50, 1))])
    prior = model.item_biases_ + V @ model._mean_row_
    if "range" in kind:  # an eighth of the range beyond it
        offset, scale = 0.5, 5.0
        assert module.intercept == pytest.approx(np.log((mean - 0.5) / (5.5 - mean)))
        base = 1 / (1 + np.exp(-prior - module.intercept))
        slopes = base * (1 - base)
    else:
        offset, scale, base, slopes = mean, 1.0, prior, np.ones(50)
    A = slopes[:, None] * V
    implicit = np.zeros((50, 7))
    if model.implicit:
        implicit[:, :6] = model.implicit_factors_
        assert np.abs(implicit).max() > 0.01
    covariance = model._root_ @ model._root_.T
    penalty = model.user_l2_ / 2 * np.linalg.inv(covariance)
    expected = np.empty(R.shape)
    for row in range(80):
        items, values = R[[row]].indices, R[[row]].data.astype(np.float64)
        shift = implicit[items].sum(axis=0) / np.sqrt(len(items))
        y = (values - offset) / scale - base[items] - A[items] @ shift
        deviation = shift + np.linalg.solve(A[items].T @ A[items] + penalty, A[items].T @ y)
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
    recorded = {}
    best = MatrixFactorization._best_penalty
    monkeypatch.setattr(
        MatrixFactorization,
        "_best_penalty",
        lambda self, train, held_out, *side: (
            recorded.update(split=(train, held_out)) or best(self, train, held_out, *side)
        ),
    )
    model = small("mse").fit(R)
    train, held_out = recorded["split"]
    assert_allclose((train + held_out).toarray(), R.toarray())
    rows, items = held_out.nonzero()
    side = model.item_factors_.astype(np.float64), model.item_biases_.astype(np.float64)
    errors = {}
    for penalty in model._penalties:
        model._set_item_side(side[0], penalty, side[1])
        errors[penalty] = np.mean((unclipped(model, train)[rows, items] - held_out.data) ** 2)
    assert model.user_l2_ == min(errors, key=errors.get)


def test_a_range_is_no_reason_to_shrink_users_more():
    """The penalty is relative to errors in ratings, whatever their scale."""
    train, test = random_holdout(ratings(200, 80), 0.1, random_state=0)
    params = {"n_factors": 16, "early_stopping": False, "max_epochs": 10, "lr": 0.02}
    plain, ranged = (
        -small(kind, **params).fit(train).score(train, test)
        for kind in KINDS
        if kind in ("mse", "range")
    )
    assert ranged < 1.03 * plain


@pytest.mark.parametrize("rating_range", [(1, 5), [0, 6]])
def test_scores_stay_inside_the_widened_range(rating_range):
    """Those of the net; the users' lines are clipped to the ratings in `predict`."""
    R = ratings()
    params = {"batch_size": 64, "max_epochs": 10, "early_stopping": False}
    model = small("mse", rating_range=rating_range, l2=0.0, lr=0.1, **params).fit(R)
    low, high = rating_range
    margin = (high - low) / 8
    with torch.no_grad():
        grid = model.net_.module_.score_all(model.net_.module_.user_vectors).numpy()
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
    train, held_out = random_holdout(R, 0.2, random_state=0)
    model = small(kind, max_epochs=15, lr=0.02).fit(train[:240])
    means = train[:240].sum(axis=0) / np.maximum(np.diff(train[:240].tocsc().indptr), 1)
    for rows in (slice(0, 240), slice(240, 300)):
        test = held_out[rows]
        baseline = np.sqrt(np.mean((test.data - means[test.indices]) ** 2))
        assert -model.score(train[rows], test) < 0.95 * baseline


def test_going_on_keeps_the_scale_and_the_intercept():
    R = ratings()
    for kind in KINDS:
        model = small(kind, early_stopping=False).fit(R)
        scale, intercept = model._scale_, model.net_.module_.intercept
        low = R.copy()
        low.data = np.minimum(low.data, 2)
        model.partial_fit(low[:50])
        loaded = pickle.loads(pickle.dumps(model))
        for one in (model, loaded):
            assert one._scale_ == scale and one.net_.module_.intercept == intercept
        assert_allclose(loaded.partial_fit(R).predict(R), model.partial_fit(R).predict(R), atol=0.2)


@on_ratings
def test_partial_fit_on_ratings_takes_other_users(kind):
    R = ratings()
    model = small(kind, early_stopping=False).fit(R[:60])
    model.partial_fit(R[40:])
    assert model.user_factors_.shape == (40, 6) and len(model.history_) == 12
    assert_array_equal(model.interactions_.toarray(), R[40:].toarray())


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_factors": 0}, "The 'n_factors' parameter of MatrixFactorization"),
        ({"dropout": 1.0}, "The 'dropout' parameter of MatrixFactorization"),
        ({"schedule": "cosine"}, "The 'schedule' parameter of MatrixFactorization"),
        ({"lr": 0}, "The 'lr' parameter of MatrixFactorization"),
        ({"l2": -1}, "The 'l2' parameter of MatrixFactorization"),
        ({"batch_size": 0}, "The 'batch_size' parameter of MatrixFactorization"),
        ({"implicit": 1}, "The 'implicit' parameter of MatrixFactorization"),
        ({"rating_range": 5}, "The 'rating_range' parameter of MatrixFactorization"),
        ({"optimizer": "adaam"}, "optimizer='adaam' is unknown"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        small("mse", **params).fit(ratings())


def test_ranking_losses_are_of_another_class():
    with pytest.raises(TypeError, match="unexpected keyword argument 'loss'"):
        MatrixFactorization(loss="bpr")


# ---------------------------------------------------------------- the implicit term


def test_the_loss_with_the_implicit_term():
    """Eq. 15 of SVD++, and the penalty of both parts of the user's vector."""
    torch.manual_seed(0)
    module = MatrixFactorizationModule(5, 8, n_factors=3, l2=0.4, dropout=0.0, implicit_step=0.3)
    with torch.no_grad():
        for vectors in module.parameters():
            vectors.normal_()
    R = ratings(5, 8, density=0.5)
    histories = SparseRows.from_csr(unit_rows(support(R))[[1, 4, 2]])
    users, items, positions = (torch.tensor(x) for x in ([4, 1, 4], [0, 3, 3], [1, 0, 1]))
    targets = torch.tensor([1.0, -2.0, 0.5])
    vectors = (module.user_vectors, module.item_vectors, module.implicit_factors)
    p, q, y = (x.detach().numpy().astype(np.float64) for x in vectors)
    errors, penalties = [], []
    for u, i, target in zip(users.tolist(), items.tolist(), targets.tolist(), strict=True):
        rated = R[[u]].indices
        z = y[rated].sum(axis=0) / np.sqrt(len(rated))
        score = p[u, 3] + q[i, 3] + (p[u, :3] + z) @ q[i, :3]
        errors.append((score - target) ** 2)
        penalties.append(0.2 * sum((x**2).sum() for x in (p[u], z, q[i])))
    batch = (users, items, targets, positions, histories)
    assert module.train().loss(*batch).item() == pytest.approx(np.mean(errors) + np.mean(penalties))
    assert module.eval().loss(*batch).item() == pytest.approx(np.mean(errors))


@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_with_histories_hold_every_rating_once(shuffle):
    R, others = ratings(300, 40), ratings(300, 40, density=0.2)
    data = PairDataset(R)
    data.histories = others
    batches = HistoryPairBatches(data, 8, shuffle=shuffle, chunk_size=130)
    with seeded(0):
        examples = list(batches)
    assert len(examples) == len(batches)
    assert max(len(histories) for *_, histories in examples) < 60  # of 300 users
    found = []
    for users, items, values, positions, histories in examples:
        found += zip(users.tolist(), items.tolist(), values.tolist(), strict=True)
        for user, position in zip(users.tolist(), positions.tolist(), strict=True):
            cells = slice(*histories.indptr[position : position + 2].tolist())
            assert_array_equal(histories.indices[cells], others[[user]].indices)
    coo = R.tocoo()
    assert sorted(found) == sorted(zip(*(x.tolist() for x in (*coo.coords, coo.data)), strict=True))
    in_order = [user for user, *_ in found]
    assert (in_order == sorted(in_order)) != shuffle


def test_held_out_ratings_are_in_no_history():
    R = ratings()
    model = small("implicit")
    model.fit(R)
    train, valid = model._split(R, np.random.RandomState(0))
    for dataset in model._make_datasets(train, valid):
        assert_array_equal(dataset.histories.toarray() > 0, train.toarray() > 0)


def test_users_go_on_from_their_own_part():
    """A resumed training with tiny steps changes next to nothing."""
    R = ratings()
    model = small("implicit", early_stopping=False, max_epochs=15).fit(R)
    before = model.predict(R)
    assert np.abs(unit_rows(support(R)) @ model.implicit_factors_).max() > 0.1
    model.net_.set_params(lr=1e-9)
    model.partial_fit(R)
    module = model.net_.module_
    user_factors = module.user_vectors.detach().numpy()[:, :-1]
    user_factors = user_factors + unit_rows(support(R)) @ model.implicit_factors_
    model._forget()
    again = small("implicit", early_stopping=False, max_epochs=15).fit(R)
    assert_allclose(user_factors, again.user_factors_, atol=1e-4)
    assert_allclose(again.predict(R), before)


def test_which_items_were_rated_tells_about_the_ratings():
    """Users of two groups rate other items, with noise, and like half of the items they share."""
    rng = np.random.default_rng(0)
    n_users, n_items, n_shared = 400, 60, 40
    same = (np.arange(n_users)[:, None] - np.arange(n_items)) % 2 == 0
    shared = np.arange(n_items) < n_shared
    chosen = rng.random(same.shape) < np.where(shared, 0.1, np.where(same, 0.6, 0.05))
    values = np.where(shared, np.where(same, 5, 1), rng.integers(1, 6, same.shape))
    histories = np.where(chosen[300:], values[300:], 0)
    new = np.where(shared & ~chosen[300:], values[300:], 0)
    R = csr_array(np.where(chosen[:300], values[:300], 0))
    params = {"n_factors": 4, "max_epochs": 20, "lr": 0.02}
    plain, implicit = (
        -small(kind, **params).fit(R).score(csr_array(histories), csr_array(new))
        for kind in ("mse", "implicit")
    )
    assert implicit < 0.9 * plain
