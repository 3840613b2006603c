"""ImplicitMatrixFactorization: its losses, its negatives, and what it learns."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from scipy.stats import rankdata

torch = pytest.importorskip("torch")

from sklearn_recsys import ImplicitMatrixFactorization, PopularityRecommender  # noqa: E402
from sklearn_recsys.datasets import make_interactions  # noqa: E402
from sklearn_recsys.model_selection import random_holdout  # noqa: E402
from sklearn_recsys.neural._implicit_matrix_factorization import (  # noqa: E402
    ImplicitMatrixFactorizationModule,
)
from sklearn_recsys.utils.estimator_checks import check_checkerboard  # noqa: E402

KINDS = {
    "all": {},
    "sampled": {"negatives": "sampled"},
    "bpr": {"loss": "bpr"},
    "warp": {"loss": "warp"},
}
kinds = pytest.mark.parametrize("kind", KINDS)


def interactions(n_users=80, n_items=40, density=0.15):
    X = make_interactions(n_users, n_items, density=density, random_state=0)
    return X[np.sort(np.unique(X.toarray(), axis=0, return_index=True)[1])]


def small(kind, **params):
    batch_size = "auto" if kind == "all" else 128
    defaults = {"n_factors": 6, "max_epochs": 6, "batch_size": batch_size, "random_state": 0}
    return ImplicitMatrixFactorization(**{**defaults, **KINDS[kind], **params})


@kinds
def test_learns_the_checkerboard(kind):
    check_checkerboard(small(kind, n_factors=8, max_epochs=20, batch_size=256, lr=0.03))


@kinds
def test_learns_more_than_popularity_for_known_and_new_users(kind):
    X = make_interactions(600, 80, density=0.15, random_state=0)
    X, held_out = random_holdout(X, 0.2, per_user=True, random_state=0)
    params = {"n_factors": 8, "max_epochs": 10, "lr": 0.02, "batch_size": 512, "l2": 0.03}
    params |= {
        "all": {"max_epochs": 30, "lr": 0.01, "batch_size": 50},
        "bpr": {"l2": 0.1},
        "warp": {"l2": 0.2},
    }.get(kind, {})
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
    sampled = small("sampled", max_epochs=40, batch_size=128, **params).fit(X).predict(X)
    ranks = [rankdata(scores, axis=1).ravel() for scores in (dense, sampled)]
    assert np.corrcoef(*ranks)[0, 1] > 0.95
    assert np.corrcoef(dense.ravel(), sampled.ravel())[0, 1] > 0.95


@kinds
def test_a_matrix_without_a_free_item(kind):
    X = np.ones((6, 5))
    assert np.isfinite(small(kind).fit(X).predict(X)).all()


def test_dropout_only_while_training():
    torch.manual_seed(0)
    module = ImplicitMatrixFactorizationModule(
        4, 5, n_factors=6, objective="logistic", l2=0.0, dropout=0.5, n_negatives=3
    )
    torch.nn.init.constant_(module.user_vectors, 1)
    torch.nn.init.constant_(module.item_vectors, 1)
    u = module.user_vectors[[0] * 300]
    trained = module.train().score(u, module.item_vectors[[0] * 300]).detach()
    # sums of the six products, each dropped or doubled; the biases stay
    assert set(np.unique(trained)) <= set(range(2, 16, 2))
    assert abs(trained.mean().item() - 8) < 0.5
    grid = module.score_all(u).detach()
    assert torch.equal(grid[:, :1].expand(-1, 5), grid), "a row leaves out the same factors"
    assert grid.std() > 1
    module.eval()
    assert_array_equal(module.score(u, module.item_vectors[[0] * 300]).detach(), 8)
    assert_array_equal(module.score_all(u).detach(), 8)


@kinds
def test_only_the_items_count(kind):
    X = interactions()
    weighted = X.copy()
    weighted.data = np.random.RandomState(0).randint(1, 6, size=X.nnz).astype(X.dtype)
    model = small(kind).fit(sp.csr_array(weighted))
    assert_array_equal(model.predict(X), small(kind).fit(X).predict(weighted))


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"n_factors": 0}, "The 'n_factors' parameter of ImplicitMatrixFactorization"),
        ({"loss": "mse"}, "The 'loss' parameter of ImplicitMatrixFactorization"),
        ({"negatives": "some"}, "The 'negatives' parameter of ImplicitMatrixFactorization"),
        ({"n_negatives": 0}, "The 'n_negatives' parameter of ImplicitMatrixFactorization"),
        ({"dropout": 1.0}, "The 'dropout' parameter of ImplicitMatrixFactorization"),
        ({"schedule": "cosine"}, "The 'schedule' parameter of ImplicitMatrixFactorization"),
        ({"lr": 0}, "The 'lr' parameter of ImplicitMatrixFactorization"),
        ({"l2": -1}, "The 'l2' parameter of ImplicitMatrixFactorization"),
        ({"batch_size": 0}, "The 'batch_size' parameter of ImplicitMatrixFactorization"),
        ({"optimizer": "adaam"}, "optimizer='adaam' is unknown"),
        ({"device": "gpu"}, "device='gpu' is unknown"),
    ],
)
def test_bad_parameters(params, match):
    with pytest.raises(ValueError, match=match):
        small("all", **params).fit(interactions())


# ---------------------------------------------------------------- WARP


def warp_module(n_users=7, n_items=9, l2=0.3):
    torch.manual_seed(0)
    module = ImplicitMatrixFactorizationModule(
        n_users, n_items, 4, objective="warp", l2=l2, dropout=0.0, n_negatives=4
    )
    for weight in module.parameters():
        torch.nn.init.normal_(weight, std=0.8)
    return module


def warp_loss(grid, squares, user, item, trials, l2=0.3):
    """Return the loss of an example, its trials one by one (Weston et al., algorithm 1)."""
    n_others = grid.shape[1] - 1
    harmonic = np.cumsum(1 / np.arange(1, n_others + 1))
    penalty = squares[0][user] + squares[1][item]
    for n, negative in enumerate(trials, start=1):
        violation = 1 - grid[user, item] + grid[user, negative]
        if violation > 0:
            weight = harmonic[n_others // n - 1] / harmonic[-1]
            return weight * violation + l2 / 2 * (penalty + squares[1][negative])
    return l2 / 2 * penalty


def test_warp_weights_the_first_violator_by_the_number_of_trials():
    module = warp_module()
    rng = np.random.default_rng(0)
    users, items = rng.integers(7, size=200), rng.integers(9, size=200)
    trials = rng.integers(9, size=(200, 5))
    vectors = [module.user_vectors, module.item_vectors]
    U, V = (v.detach().numpy().astype(np.float64) for v in vectors)

    def expected(U, V):
        grid = U[:, :-1] @ V[:, :-1].T + U[:, -1:] + V[:, -1]
        squares = (U**2).sum(axis=1), (V**2).sum(axis=1)
        examples = zip(users, items, trials, strict=True)
        return np.mean([warp_loss(grid, squares, *example) for example in examples])

    loss = module.loss(*(torch.from_numpy(part) for part in (users, items, trials)))
    loss.backward()
    assert loss.item() == pytest.approx(expected(U, V), rel=1e-5)
    for which, vector in enumerate(vectors):  # a derivative along a random direction
        direction = rng.normal(size=vector.shape)
        step = 1e-6 * direction
        ends = [
            expected(*(W + sign * step if i == which else W for i, W in enumerate((U, V))))
            for sign in (1, -1)
        ]
        slope = (vector.grad.numpy() * direction).sum()
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)


def test_warp_leaves_out_interactions_that_rank_first():
    module = warp_module(l2=0.0)
    torch.nn.init.zeros_(module.user_vectors)
    torch.nn.init.zeros_(module.item_vectors)
    with torch.no_grad():
        module.item_vectors[0, -1] = 1.5
    trials = torch.arange(1, 9).expand(7, -1)
    assert module.loss(torch.arange(7), torch.zeros(7, dtype=torch.int64), trials).item() == 0
    loss = module.loss(torch.arange(7), torch.full((7,), 8), trials[:, :1])
    assert loss.item() == pytest.approx(1)  # the first trial violates the margin: weight 1


def test_warp_estimates_ranks():
    """On average (n − 1) / N is near the number of violators among the other items."""
    module = warp_module(1, 500, l2=0.0)
    torch.nn.init.zeros_(module.user_vectors)
    torch.nn.init.zeros_(module.item_vectors)
    with torch.no_grad():
        module.item_vectors[1:400, -1] = -2  # 100 of the 499 others violate the margin
    trials = torch.from_numpy(np.random.default_rng(0).integers(1, 500, size=(4000, 200)))
    zeros = torch.zeros(4000, dtype=torch.int64)
    u = module.user_vectors[zeros]
    n_trials, violators = module._first_violators(u, torch.zeros(4000), trials)
    assert (violators >= 400).all()
    assert 499 / n_trials.double().mean().item() == pytest.approx(100, rel=0.05)


def test_warp_has_an_example_for_each_interaction_of_users_with_free_items():
    X = sp.csr_array(np.vstack([np.ones((1, 6)), np.eye(5, 6)]))
    data = small("warp", max_trials=3)._examples.dataset(X, "cpu")
    batches = list(small("warp")._batches(data, 4))
    assert sum(len(users) for users, _, _ in batches) == 5
    for users, items, trials in batches:
        assert trials.shape == (len(users), 3)
        assert (users > 0).all() and (trials >= 0).all()
        assert not (trials == items[:, None]).any()
