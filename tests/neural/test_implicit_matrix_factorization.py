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

KINDS = {"all": {}, "sampled": {"negatives": "sampled"}, "bpr": {"loss": "bpr"}}
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
