"""The floor of the pair models: batches, scores, losses and folding in, against brute force."""

from __future__ import annotations

import pickle
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal

torch = pytest.importorskip("torch")

from sklearn_recsys import NCF, EmbeddingNet, ImplicitMatrixFactorization  # noqa: E402
from sklearn_recsys.datasets import make_interactions, make_ratings  # noqa: E402
from sklearn_recsys.neural import NegativeSampler, SparseRows  # noqa: E402
from sklearn_recsys.neural._base.callbacks import OneCycle  # noqa: E402
from sklearn_recsys.neural._data.pair_batches import (  # noqa: E402
    CandidateBatches,
    CandidateDataset,
    PairBatches,
    PairDataset,
)
from sklearn_recsys.neural._embedding_net import EmbeddingNetModule  # noqa: E402
from sklearn_recsys.neural._implicit_matrix_factorization import (  # noqa: E402
    ImplicitMatrixFactorizationModule,
)
from sklearn_recsys.neural._matrix_factorization import MatrixFactorizationModule  # noqa: E402
from sklearn_recsys.neural._ncf import NCFModule  # noqa: E402
from sklearn_recsys.neural._nn.pair import PairMLP  # noqa: E402


def interactions(n_users=60, n_items=30, density=0.2, seed=0):
    """Return distinct rows of interactions."""
    X = make_interactions(n_users, n_items, density=density, random_state=seed)
    return X[np.sort(np.unique(X.toarray(), axis=0, return_index=True)[1])]


def ratings(n_users=60, n_items=30, seed=0):
    return make_ratings(n_users, n_items, density=0.3, random_state=seed)


def factorization(**params):
    return MatrixFactorizationModule(7, 9, n_factors=4, l2=0.0, dropout=0.0, **params)


def implicit(loss="logistic", n_users=7, n_items=9, n_factors=4, l2=0.0):
    return ImplicitMatrixFactorizationModule(
        n_users, n_items, n_factors, objective=loss, l2=l2, dropout=0.0, n_negatives=3
    )


MODULES = {
    "mse": factorization,
    "mse-range": lambda: factorization(activation="sigmoid", unit=5.0, intercept=0.4),
    "logistic": implicit,
    "bpr": lambda: implicit("bpr"),
    "net": lambda: EmbeddingNetModule(7, 9, 4, [6, 5], 0.1, 0.2, 0.0, 5.0, 0.3),
    "net-flat": lambda: EmbeddingNetModule(7, 9, 4, [], 0.1, 0.2, 0.0, 5.0, 0.3),
    "gmf": lambda: NCFModule(7, 9, "gmf", 4, [6, 5], 0.2, 0.0),
    "mlp": lambda: NCFModule(7, 9, "mlp", 4, [6, 5], 0.2, 0.0),
    "mlp-flat": lambda: NCFModule(7, 9, "mlp", 4, [], 0.2, 0.0),
    "neumf": lambda: NCFModule(7, 9, "neumf", 4, [6], 0.2, 0.0),
    "neumf-flat": lambda: NCFModule(7, 9, "neumf", 4, [], 0.2, 0.0),
}


def random_module(name, **kwargs):
    """Return a module none of whose parameters is zero."""
    torch.manual_seed(0)
    module = MODULES[name](**kwargs)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


# -------------------------------------------------------------------------- batches


@pytest.mark.parametrize("batch_size", [1, 7, 64, 10_000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_of_labels(shuffle, batch_size):
    """Every interaction comes once, with its negatives, which are free to its user."""
    X, n = interactions(), 3
    data = PairDataset(X, NegativeSampler.from_csr(X), n)
    assert len(data) == X.nnz
    batches = PairBatches(data, batch_size, shuffle=shuffle)
    torch.manual_seed(0)
    parts = list(batches)
    assert len(parts) == len(batches) == -(-X.nnz * (1 + n) // batch_size)
    assert {len(part[0]) for part in parts[:-1]} <= {batch_size}
    users, items, labels = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    taken = X.toarray() > 0
    assert_array_equal(labels, taken[users, items])
    counts = np.zeros(X.shape)
    np.add.at(counts, (users, items), 1)
    assert_array_equal(counts[taken], 1)
    assert_array_equal(np.where(taken, 0, counts).sum(axis=1), n * taken.sum(axis=1))


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_of_pairs(shuffle):
    X, n = interactions(), 3
    batches = PairBatches(PairDataset(X, NegativeSampler.from_csr(X), n, True), 32, shuffle=shuffle)
    torch.manual_seed(0)
    parts = list(batches)
    assert len(parts) == len(batches) == -(-X.nnz * n // 32)
    users, positives, negatives = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    taken = X.toarray() > 0
    assert not taken[users, negatives].any()
    counts = np.zeros(X.shape)
    np.add.at(counts, (users, positives), 1)
    assert_array_equal(counts, n * taken)


@pytest.mark.parametrize("shuffle", [False, True])
def test_an_epoch_of_ratings(shuffle):
    R = ratings()
    batches = PairBatches(PairDataset(R), 32, shuffle=shuffle)
    torch.manual_seed(0)
    parts = list(batches)
    assert len(parts) == len(batches)
    users, items, values = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    assert len(users) == R.nnz and values.dtype == np.float32
    assert_array_equal(sp.csr_array((values, (users, items)), R.shape).toarray(), R.toarray())
    assert np.array_equal(users, np.sort(users)) != shuffle


def test_epochs_differ_and_a_seed_repeats_them():
    X = interactions()
    batches = PairBatches(PairDataset(X, NegativeSampler.from_csr(X), 2), 10_000, shuffle=True)
    torch.manual_seed(3)
    first, second = ([part.numpy() for batch in batches for part in batch] for _ in range(2))
    torch.manual_seed(3)
    again = [part.numpy() for batch in batches for part in batch]
    for got, expected in zip(again, first, strict=True):
        assert_array_equal(got, expected)

    def negatives(users, items, labels):
        return np.sort((users * X.shape[1] + items)[labels == 0])

    assert not np.array_equal(negatives(*first), negatives(*second)), "the negatives are the same"
    assert not np.array_equal(first[0], second[0]), "the order is the same"


@pytest.mark.parametrize("pairwise", [False, True])
def test_chunks_change_nothing_but_the_draws(pairwise):
    X, n = interactions(), 3
    dataset = PairDataset(X, NegativeSampler.from_csr(X), n, pairwise)
    batches = PairBatches(dataset, 16, chunk_size=40)
    sizes = [len(batch[0]) for batch in batches]
    assert len(sizes) == len(batches) and set(sizes[:-1]) == {16}
    assert sum(sizes) == X.nnz * (n if pairwise else 1 + n)


@pytest.mark.parametrize("pairwise", [False, True])
def test_a_user_without_a_free_item_has_no_negatives(pairwise):
    X = interactions().toarray()
    X[4] = 1
    X = sp.csr_array(X)
    batches = PairBatches(PairDataset(X, NegativeSampler.from_csr(X), 2, pairwise), 16)
    parts = list(batches)
    users, items, targets = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    assert items.min() >= 0 and targets.min() >= 0 and len(parts) <= len(batches)
    assert (users == 4).sum() == (0 if pairwise else X.shape[1])


def test_no_batch_is_empty():
    X = sp.csr_array(np.ones((6, 4), dtype=np.float32))
    assert not list(PairBatches(PairDataset(X, NegativeSampler.from_csr(X), 2, True), 16))


def test_candidates_come_in_order_and_whole():
    rng = np.random.default_rng(0)
    users, candidates = np.arange(11)[::-1].copy(), rng.integers(50, size=(11, 6))
    dataset = CandidateDataset(users, candidates)
    parts = list(CandidateBatches(dataset, 20, chunk_size=20))
    assert [len(part[0]) for part in parts] == [3, 3, 3, 2]
    assert_array_equal(torch.cat([part[0] for part in parts]), users)
    assert_array_equal(torch.cat([part[1] for part in parts]), candidates)
    batches = CandidateBatches(dataset, 20, chunk_size=2)
    assert len(list(batches)) == len(batches) == 11


# -------------------------------------------------------------------------- scores and losses


@pytest.mark.parametrize("name", MODULES)
def test_score_all_scores_all_pairs(name):
    module = random_module(name).eval()
    users, items = np.divmod(np.arange(63), 9)
    u = module.user_vectors.detach()
    scores = module.score(u[users], module.item_vectors[items])
    assert scores.shape == (63,) and scores.std() > 0.01
    assert_allclose(module.score_all(u).detach(), scores.detach().view(7, 9), atol=1e-5)


@pytest.mark.parametrize("widths", [[], [5], [6, 5, 3]])
def test_a_tower(widths):
    torch.manual_seed(0)
    tower = PairMLP(4, widths, 0.5).eval()
    for parameter in tower.parameters():
        torch.nn.init.normal_(parameter)
    u, v = torch.randn(3, 4), torch.randn(5, 4)
    grid = tower.all_pairs(u, v).detach()
    assert grid.shape == (3, 5, tower.width)
    for i in range(3):
        for j in range(5):
            hidden = np.concatenate([u[i], v[j]])
            for layer in tower.layers:
                weight, bias = layer.weight.detach().numpy(), layer.bias.detach().numpy()
                hidden = np.maximum(weight @ hidden + bias, 0)
            assert_allclose(grid[i, j], hidden, rtol=1e-4, atol=1e-5)
            assert_allclose(tower(u[[i]], v[[j]]).detach()[0], hidden, rtol=1e-4, atol=1e-5)
    if widths:
        dropped = tower.train()(u.repeat(100, 1), v[:3].repeat(100, 1))
        assert not torch.equal(dropped[:3], dropped[3:6])


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("name", ["mse", "mse-range", "logistic", "bpr", "neumf"])
def test_the_loss_of_examples(name, training):
    module = random_module(name)
    module.train(training)
    for part in module.modules():
        part.dropout = 0.0
    module.l2 = 0.3
    rng = np.random.default_rng(0)
    users, items, others = (
        rng.integers(7, size=20),
        rng.integers(9, size=20),
        rng.integers(9, size=20),
    )
    grid = module.score_all(module.user_vectors).detach().numpy().astype(np.float64)
    U, V = module.user_vectors.detach().numpy(), module.item_vectors.detach().numpy()
    squares = (U[users] ** 2).sum(axis=1) + (V[items] ** 2).sum(axis=1)
    scores = grid[users, items]
    if module.objective == "bpr":
        targets = others
        losses = -np.log(1 / (1 + np.exp(grid[users, others] - scores)))
        squares = squares + (V[others] ** 2).sum(axis=1)
    elif module.objective == "logistic":
        targets = (rng.uniform(size=20) < 0.5).astype(np.float32)
        probabilities = 1 / (1 + np.exp(-scores))
        losses = -np.log(np.where(targets == 1, probabilities, 1 - probabilities))
    else:
        targets = rng.uniform(size=20).astype(np.float32)
        losses = module.unit**2 * (scores - targets) ** 2
    expected = np.mean(losses + 0.15 * squares if training else losses)
    batch = [torch.from_numpy(part) for part in (users, items, targets)]
    assert module.loss(*batch).item() == pytest.approx(expected, rel=1e-5)


def test_the_loss_of_rows_is_the_expectation_of_the_sampled_one():
    """Value and gradients: with each free item n_negatives · length / free times."""
    X = interactions(7, 9, density=0.4).toarray()
    X[2] = 1  # no free item
    X[3] = 0  # no item
    X = sp.csr_array(X)
    module = random_module("logistic").double()
    module.l2 = 0.2
    users, items = np.divmod(np.arange(X.shape[0] * 9), 9)
    positive = X.toarray().ravel() > 0
    lengths = np.repeat((X.toarray() > 0).sum(axis=1), 9)
    weights = np.where(positive, 1.0, 3 * lengths / np.maximum(9 - lengths, 1))
    batch = [torch.from_numpy(part) for part in (users, items, positive.astype(np.float64))]
    losses, penalties = module.losses(module.user_vectors[batch[0]], *batch[1:])
    expected = (torch.from_numpy(weights) * (losses + penalties)).sum() / weights.sum()
    rows = SparseRows.from_csr(X)
    rows.training_rows = torch.arange(X.shape[0])
    got = module.loss(rows, rows)
    assert_allclose(got.item(), expected.item(), rtol=1e-6)
    for each, other in zip(
        torch.autograd.grad(got, list(module.parameters())),
        torch.autograd.grad(expected, list(module.parameters())),
        strict=True,
    ):
        assert_allclose(each, other, atol=1e-7)

    data = PairDataset(X, NegativeSampler.from_csr(X), 3)
    torch.manual_seed(0)
    module.float()
    with torch.no_grad():
        sampled = [
            module.loss(*batch).item() for _ in range(300) for batch in PairBatches(data, 999)
        ]
    assert np.mean(sampled) == pytest.approx(expected.item(), rel=0.01)


def test_validation_is_ndcg_among_the_candidates():
    module = random_module("logistic").eval()
    grid = module.score_all(module.user_vectors).detach().numpy()
    rng = np.random.default_rng(0)
    users = rng.integers(7, size=30)
    candidates = rng.permuted(np.tile(np.arange(9), (30, 1)), axis=1)
    scores = np.take_along_axis(grid[users], candidates, axis=1)
    ranks = (scores[:, 1:] > scores[:, :1]).sum(axis=1)
    got = module.validate(torch.from_numpy(users), torch.from_numpy(candidates)).item()
    assert got == pytest.approx(np.mean(1 / np.log2(ranks + 2)), rel=1e-5)


def test_ties_and_nan_are_no_hits():
    """A diverged model must not look like the best one to early stopping."""
    module = implicit(n_users=2, n_items=30, n_factors=3)
    users, candidates = torch.tensor([0, 1]), torch.arange(30).expand(2, -1)
    for value in (0.0, torch.nan):
        torch.nn.init.constant_(module.item_vectors, value)
        torch.nn.init.constant_(module.user_vectors, value)
        assert module.validate(users, candidates).item() == 0


# -------------------------------------------------------------------------- users

RANKERS = {
    "all": ImplicitMatrixFactorization(4),
    "sampled": ImplicitMatrixFactorization(4, negatives="sampled"),
    "bpr": ImplicitMatrixFactorization(4, loss="bpr"),
    "warp": ImplicitMatrixFactorization(4, loss="warp"),
    "gmf": NCF("gmf", 4),
    "neumf": NCF("neumf", 4, (6,), pretrain=False, n_negatives=8),
}
MODELS = {**RANKERS, "net": EmbeddingNet(4, (6,))}
PARAMS = {"max_epochs": 6, "batch_size": 64, "early_stopping": False, "random_state": 0}


@cache
def fitted(name, n_users=50):
    """Return a model fitted on the first users, which tests share and leave as it is, and all."""
    model = MODELS[name].__class__(**MODELS[name].get_params()).set_params(**PARAMS)
    X = ratings() if name == "net" else interactions()
    return model.fit(X[:n_users]), X


@pytest.mark.parametrize("name", MODELS)
def test_known_rows_take_their_trained_vectors(name):
    model, X = fitted(name)
    trained = model.net_.module_.user_vectors.detach()
    order = np.random.default_rng(0).permutation(50)
    assert_array_equal(model._vectors(X[order]), trained[order])
    mixed = sp.csr_array(sp.vstack([X[50:52], X[[7, 3]]]))
    vectors = model._vectors(model._read(model._checked(mixed)))
    assert_array_equal(vectors[2:], trained[[7, 3]])
    distances = torch.cdist(vectors[:2], trained)
    assert distances.min() > 1e-3, "new users have the vector of another user"


@pytest.mark.parametrize("name", MODELS)
def test_a_new_user_depends_on_the_own_row_alone(name, monkeypatch):
    model, X = fitted(name, 40)
    new = X[40:]
    together = model._vectors(new)
    assert_array_equal(model._vectors(new), together)
    order = np.random.default_rng(0).permutation(new.shape[0])
    assert_allclose(model._vectors(new[order]), together[order], atol=1e-6)
    for row in (0, new.shape[0] - 1):
        assert_allclose(model._vectors(new[[row]])[0], together[row], atol=1e-6)
    np.random.seed(3)
    torch.manual_seed(3)
    assert_array_equal(model._vectors(new), together)

    def rows_at_a_time(self, X, vector_size):
        for start in range(0, X.shape[0], 3):
            yield slice(start, start + 3)

    monkeypatch.setattr(type(model._examples), "blocks", rows_at_a_time)
    assert_allclose(model._vectors(new), together, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_folding_in_lowers_the_loss_of_every_row(name):
    model, X = fitted(name, 40)
    module = model.net_.module_.eval()
    module = pickle.loads(pickle.dumps(module)).double()
    start = module.user_vectors.detach().mean(dim=0, keepdim=True)
    for row in range(40, X.shape[0]):
        history = X[[row]]
        loss = model._examples.loss_of_vectors(module, history)
        found = model._vectors(history).double()
        assert loss(found).item() < loss(start).item()
        (gradient,) = torch.autograd.grad(loss(found.requires_grad_()), found)
        (before,) = torch.autograd.grad(loss(start.requires_grad_()), start)
        if name != "warp":  # which has a kink at its minimum
            assert gradient.norm() < 0.8 * before.norm()


@pytest.mark.parametrize("name", MODELS)
def test_folding_in_takes_the_steps_of_adam(name):
    model, X = fitted(name, 40)
    module = pickle.loads(pickle.dumps(model.net_.module_.eval())).double()
    module.requires_grad_(False)
    new = X[40:45]
    vectors = module.user_vectors.mean(dim=0).repeat(5, 1).requires_grad_()
    loss = model._examples.loss_of_vectors(module, new)
    optimizer = torch.optim.Adam([vectors], lr=model._fold_in_lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, model._fold_in_steps)
    for _ in range(model._fold_in_steps):
        optimizer.zero_grad()
        loss(vectors).backward()
        optimizer.step()
        schedule.step()
    assert_allclose(model._vectors(new), vectors.detach(), atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_blocks_of_new_users_cover_all_rows(name):
    model, X = fitted(name)
    blocks = list(model._examples.blocks(X, 5))
    assert blocks[0].start == 0
    assert [block.start for block in blocks[1:]] == [block.stop for block in blocks[:-1]]
    assert min(blocks[-1].stop, X.shape[0]) == X.shape[0]
    long = SimpleNamespace(
        shape=(5, 10), indptr=np.array([0, 2**20, 2**21, 2**21 + 1, 2**21 + 2, 2**22])
    )
    rows = [row for block in model._examples.blocks(long, 5) for row in range(5)[block]]
    assert rows == list(range(5))


@pytest.mark.parametrize("name", MODELS)
def test_scores_of_pairs_and_of_all_items_are_the_same(name):
    model, X = fitted(name)
    dense = model.predict(X)
    rows, items = np.divmod(np.random.default_rng(0).permutation(dense.size), X.shape[1])
    assert_allclose(model.predict_pairs(X, rows, items), dense[rows, items], atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_partial_fit_keeps_known_users(name):
    """Whoever was known starts from the trained vector, wherever the row stands now."""
    model, X = fitted.__wrapped__(name, 40)
    vectors = model.net_.module_.user_vectors.detach().clone()
    items = model.net_.module_.item_vectors.detach().clone()
    mixed = X[np.r_[45:50, 0:20]]
    expected = model._vectors(mixed)
    model.net_.set_params(lr=1e-12)
    model.partial_fit(mixed)
    got = model.net_.module_.user_vectors.detach()
    assert got.shape[0] == 25
    assert_allclose(got[5:], vectors[:20], atol=1e-6)
    assert_allclose(got, expected, atol=1e-6)
    assert_allclose(model.net_.module_.item_vectors.detach(), items, atol=1e-6)
    model.net_.set_params(lr=0.01)
    model.partial_fit(mixed)
    assert len(model.history_) == 18
    moved = (model.net_.module_.user_vectors.detach() - expected).abs().amax(dim=1)
    assert moved.min() > 1e-4, "the optimizer does not hold the new vectors"
    assert_array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))


def test_a_loaded_model_trains_on_like_the_one_it_was():
    X = make_interactions(200, 60, density=0.3, random_state=0)
    for model in (NCF("gmf", 4), NCF("neumf", 4, (6,)), ImplicitMatrixFactorization(4, loss="bpr")):
        model.set_params(max_epochs=1, n_negatives=1, random_state=0, early_stopping=False).fit(X)
        loaded = pickle.loads(pickle.dumps(model))
        size = X.nnz // (50 if isinstance(model, NCF) else 100)
        assert loaded.net_.batch_size == model.net_.batch_size == size
        assert loaded.net_.lr == model.net_.lr
        assert_allclose(
            loaded.partial_fit(X).predict(X), model.partial_fit(X).predict(X), atol=1e-3
        )


@pytest.mark.parametrize("loss", ["mse", "logistic", "bpr", "rows"])
def test_threads_sum_gradients_in_one_order(loss):
    """Two fits with one seed are equal, whoever of a batch's users and items comes often."""
    torch.manual_seed(0)
    if loss == "mse":
        module = MatrixFactorizationModule(300, 150, n_factors=32, l2=0.1, dropout=0.0)
    else:
        objective = "logistic" if loss == "rows" else loss
        module = implicit(objective, 300, 150, 32, l2=0.1)
    batch = [torch.randint(n, (8192,)) for n in (300, 150, 150)]
    if loss in {"mse", "logistic"}:
        batch[2] = torch.rand(8192)
    if loss == "rows":
        rows = SparseRows.from_csr(sp.csr_array(np.random.default_rng(0).random((300, 150)) < 0.9))
        rows.training_rows = torch.arange(300)
        batch = rows, rows
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        first, *others = (
            torch.autograd.grad(module.loss(*batch), [module.user_vectors, module.item_vectors])
            for _ in range(5)
        )
    finally:
        torch.set_num_threads(threads)
    for other in others:
        assert torch.equal(other[0], first[0]) and torch.equal(other[1], first[1])


@pytest.mark.parametrize("optimizer", ["sgd", "adagrad", "rmsprop", "adam"])
def test_one_cycle_takes_every_optimizer(optimizer):
    model = NCF("gmf", 4, schedule="one_cycle", optimizer=optimizer, **{**PARAMS, "max_epochs": 2})
    net = model.fit(interactions()).net_
    (schedule,) = (callback for _, callback in net.callbacks_ if isinstance(callback, OneCycle))
    dataset = model._examples.dataset(interactions(), "cpu")
    steps = 2 * len(net.get_iterator(net.get_dataset(dataset), training=True))
    assert schedule.schedule_.last_epoch == steps
    assert net.optimizer_.param_groups[0]["lr"] < 1e-2 * net.lr
    assert net.optimizer_.param_groups[0].get("momentum", 0) == 0
