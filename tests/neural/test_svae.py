"""SVAE: a recurrent net over histories, in batches of similar lengths."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from histories import N_ITEMS, affine, cycles, matrix, module_of, random_histories, rows
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.model_selection import GridSearchCV

import sklearn_recsys
from sklearn_recsys import SVAE
from sklearn_recsys.neural import RowDataset, SparseRows
from sklearn_recsys.neural._data.row_batches import HistoryBatches
from sklearn_recsys.neural._data.sparse_rows import newest_items
from sklearn_recsys.neural._nn import losses
from sklearn_recsys.neural._nn.losses import next_items_loss


def small(**params):
    sizes = {"n_factors": 8, "embedding_dim": 10, "n_recurrent": 12, "n_hidden": 9}
    sizes["batch_size"] = 64  # the default would be four
    return SVAE(**{**sizes, "lr": 0.01, "max_epochs": 3, "random_state": 0, **params})


def module(**params):
    return module_of(small(**params))


def states(model, items):
    """Return the states of a GRU after each item, by its equations."""
    weights = {name: weight.detach().numpy() for name, weight in model.gru.named_parameters()}
    state, out = np.zeros(12, dtype=np.float32), []
    for item in items:
        inputs = weights["weight_ih_l0"] @ model.embedding.weight.detach().numpy()[item]
        inputs, own = inputs + weights["bias_ih_l0"], weights["weight_hh_l0"] @ state
        own += weights["bias_hh_l0"]
        reset, update = 1 / (1 + np.exp(-(inputs + own)[:24].reshape(2, 12)))
        candidate = np.tanh(inputs[24:] + reset * own[24:])
        state = (1 - update) * candidate + update * state
        out.append(state)
    return np.array(out)


def codes_and_logits(model, items):
    """Return means, log-variances and the logits of the means, after each item."""
    hidden = np.tanh(affine(model.encoder[0], states(model, items)))
    means, log_variances = np.split(affine(model.encoder[1], hidden), 2, axis=1)
    logits = affine(model.decoder[1], np.tanh(affine(model.decoder[0], means)))
    return means, log_variances, logits


def test_the_loss_of_a_block_of_steps_and_its_gradients():
    torch.manual_seed(0)
    last = torch.nn.Linear(5, 9)
    codes = (3 * torch.randn(7, 5)).requires_grad_()
    targets = torch.tensor([[0, 3], [8, -1], [2, 1], [5, 4], [7, -1], [1, 2], [-1, -1]])
    dense = torch.zeros(7, 10).scatter_(1, targets % 10, 1)[:, :9]
    expected = -(dense * last(codes).log_softmax(dim=1)).sum()
    inputs = (codes, last.weight, last.bias)
    gradients = torch.autograd.grad(2 * expected, inputs)
    for n_logits in (1, 20, 10**6):  # of a block: one step, two, all
        loss = next_items_loss(targets, codes, last, n_logits)
        assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
        for own, other in zip(torch.autograd.grad(2 * loss, inputs), gradients, strict=True):
            assert_allclose(own, other, atol=1e-5)


def test_the_loss_of_unlikely_items_is_finite():
    last = torch.nn.Linear(1, 2)
    with torch.no_grad():
        last.weight.copy_(torch.tensor([[0.0], [1000.0]]))
        last.bias.zero_()
    loss = next_items_loss(torch.tensor([[0]]), torch.ones(1, 1), last)
    assert loss.item() == pytest.approx(1000)


@pytest.mark.parametrize("next_k", [1, 2, 4])
def test_the_loss_is_the_formula(next_k):
    model = module(next_k=next_k)
    model.beta = 0.3
    histories = [[3, 1, 7, 5, 0], [2, 4], [6], [8, 2, 11]]
    total = 0
    for items in histories:
        means, log_variances, logits = codes_and_logits(model, items[:-1] or items)
        for step in range(len(items) - 1):
            norm = np.log(np.exp(logits[step]).sum())
            for item in items[step + 1 : step + 1 + next_k]:
                total += (norm - logits[step, item]) / next_k
            divergence = torch.distributions.kl_divergence(
                torch.distributions.Normal(
                    torch.tensor(means[step]), torch.tensor(np.exp(log_variances[step] / 2))
                ),
                torch.distributions.Normal(0.0, 1.0),
            )
            total += 0.3 * divergence.sum().item()
    batch = rows(histories)
    assert model.loss(batch, batch).item() == pytest.approx(total / 4, rel=1e-4)


def test_the_loss_of_a_batch_is_the_mean_over_its_users():
    model = module()
    histories = random_histories()
    batch = rows(histories)
    single = [model.loss(rows([items]), rows([items])).item() for items in histories]
    assert model.loss(batch, batch).item() == pytest.approx(np.mean(single), rel=1e-4)


def test_training_takes_every_kth_step_and_the_same_loss_in_the_mean():
    """A pass looks at every k-th step of a user; over the first steps the losses sum to k times."""
    model = module(next_k=3, anneal_cap=0.0)
    with torch.no_grad():  # no noise, so that only the steps are sampled
        model.encoder[-1].weight[8:] = 0
        model.encoder[-1].bias[8:] = -100
    batch = rows([[3, 1, 7, 5, 0, 9, 2]])
    model.beta = 0
    expected = model.loss(batch, batch).item()
    model.train()
    losses = {round(model.loss(batch, batch).item(), 4) for _ in range(60)}
    assert len(losses) == 3
    assert np.mean(list(losses)) == pytest.approx(expected, rel=1e-4)
    model.stride = 1
    assert model.loss(batch, batch).item() == pytest.approx(expected, rel=1e-4)


def test_training_starts_from_popularity():
    made = small()._make_module(matrix([[3, 1], [3, 2], [3]]))
    counts = np.zeros(N_ITEMS)
    counts[[1, 2, 3]] = 1, 1, 3
    assert_allclose(made.decoder[-1].bias.detach().numpy(), np.log1p(counts), rtol=1e-6)


@pytest.mark.parametrize("histories", [[[3], [5]], [[], []]])
def test_histories_without_a_next_item_have_no_loss(histories):
    model = module().train()
    batch = rows(histories)
    loss = model.loss(batch, batch)
    loss.backward()
    assert loss.item() == 0
    model = small(batch_size=2).fit(matrix([*histories, *histories, [1, 2, 3]]))
    assert np.all(np.isfinite(model.predict(matrix([[], [3], [1, 2]]))))


def test_a_draw_of_steps_may_be_empty():
    model = module(next_k=50).train()
    batch = rows([[3, 5]])
    torch.manual_seed(0)
    losses = [model.loss(batch, batch) for _ in range(5)]
    assert min(loss.item() for loss in losses) == 0
    sum(losses).backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters())


def test_the_newest_state_scores():
    model = small().fit(matrix(random_histories()))
    items = [4, 7, 1, 9]
    logits = codes_and_logits(model.net_.module_, items)[2]
    assert_allclose(model.predict(matrix([items]))[0], logits[-1], atol=1e-5)


def test_the_order_matters():
    model = small(max_epochs=20).fit(matrix(random_histories()))
    items = [4, 7, 1, 9, 0]
    scores = model.predict(matrix([items, items[::-1], [7, 4, 1, 9, 0]]))
    assert np.ptp(scores, axis=0).max() > 1e-3
    assert np.abs(scores[0] - scores[2]).max() > 1e-5


def test_times_are_as_good_as_positions():
    X = matrix(random_histories())
    model = small().fit(X)
    times = X.astype(np.float64)
    times.data = 978_300_000 + 3 * times.data  # which float32 would merge
    assert_array_equal(model.predict(times), model.predict(X))
    assert_array_equal(small().fit(times).predict(X), model.predict(X))


def test_neither_padding_nor_company_changes_a_score():
    histories = random_histories(150)
    X = matrix(histories)
    model = small().fit(X)
    together = model.predict(X)
    alone = np.vstack([model.predict(X[[row]]) for row in range(150)])
    assert_allclose(together, alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_users", [1, 7, 8, 50])
def test_the_rows_that_have_ended_are_not_read_on(n_users):
    """A batch read in stretches has the states of histories read alone, and their gradients."""
    made = module()
    histories = random_histories(n_users) + [[]]
    items, lengths = newest_items(rows(histories), made.max_length)
    together = made.read(items)
    assert len(together) == lengths.max()
    kept = torch.cat([together[:length, row] for row, length in enumerate(lengths)])
    alone = torch.cat([made.gru(made.embedding(torch.tensor(h)))[0] for h in histories[:-1]])
    assert_allclose(kept.detach(), alone.detach(), rtol=1e-5, atol=1e-6)
    weights = torch.randn(alone.shape, generator=torch.Generator().manual_seed(1))
    parameters = [made.embedding.weight, *made.gru.parameters()]
    gradients = (torch.autograd.grad((s * weights).sum(), parameters) for s in (kept, alone))
    for ours, expected in zip(*gradients, strict=True):
        assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("max_length", [1, 3])
def test_truncation_keeps_the_newest(max_length):
    histories = [items for items in random_histories() if len(items) > max_length]
    model = small(max_length=max_length).fit(matrix(histories))
    newest = [items[-max_length:] for items in histories]
    assert_allclose(model.predict(matrix(histories)), model.predict(matrix(newest)), atol=1e-6)
    made = module(max_length=max_length)
    losses = [made.loss(rows(part), rows(part)).item() for part in (histories, newest)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_batches_of_histories_hold_similar_lengths():
    X = matrix(random_histories(500, 40), 40)
    lengths = np.diff(X.indptr)
    torch.manual_seed(0)
    passes = []
    for shuffle in (False, True, True):
        batches = HistoryBatches(RowDataset(X), 16, shuffle=shuffle)
        numbers = [inputs.training_rows.numpy() for inputs, _ in batches]
        assert len(numbers) == len(batches) == 32
        assert_array_equal(np.sort(np.concatenate(numbers)), np.arange(500))
        padded = sum(len(batch) * lengths[batch].max() for batch in numbers)
        assert padded < 1.1 * lengths.sum()
        passes.append(numbers)
    assert_array_equal(np.diff(lengths[np.concatenate(passes[0])]) >= 0, True)
    assert {tuple(b) for b in map(sorted, passes[1])} != {tuple(b) for b in map(sorted, passes[2])}
    first = [lengths[batch].mean() for batch in passes[1]]
    assert abs(np.corrcoef(first, np.arange(32))[0, 1]) < 0.6  # in no order of lengths


@pytest.mark.parametrize("batch_size", [1, 8, 1000])
def test_learns_what_follows(batch_size):
    epochs, lr = {1: (3, 0.01), 8: (10, 0.02), 1000: (60, 0.05)}[batch_size]
    model = small(next_k=1, max_epochs=epochs, lr=lr, batch_size=batch_size)
    model.fit(matrix(cycles(150)))
    new = cycles(40, seed=1)
    found = model.recommend(matrix(new), n=1)[:, 0]
    assert np.mean(found == [(items[-1] + 1) % N_ITEMS for items in new]) > 0.95


def test_the_next_k_come_first():
    model = small(next_k=3, max_epochs=30, lr=0.03).fit(matrix(cycles(150)))
    new = cycles(40, seed=1)
    found = model.recommend(matrix(new), n=3)
    expected = [(items[-1] + np.arange(1, 4)) % N_ITEMS for items in new]
    assert np.mean(np.sort(found) == np.sort(expected)) > 0.95


def test_dropout_and_noise_are_for_training_alone():
    model = small(dropout=0.5).fit(matrix(random_histories()))
    X = matrix(random_histories(5, seed=1))
    assert_array_equal(model.predict(X), model.predict(X))
    trained = model.net_.module_
    batch = SparseRows.from_csr(X)
    with torch.no_grad():
        assert trained.eval().loss(batch, batch) == trained.loss(batch, batch)
        assert trained.train().loss(batch, batch) != trained.loss(batch, batch)
        items, _ = newest_items(batch, trained.max_length)
        assert not torch.equal(trained.read(items), trained.read(items))


def test_annealing():
    made = small(anneal_cap=0.5, anneal_epochs=10)._make_module(matrix(random_histories()))
    betas = []
    for epoch in (1, 5, 10, 30):
        made.begin_epoch(epoch)
        betas.append(made.beta)
    assert betas == [0.05, 0.25, 0.5, 0.5]


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")  # as those it stops by
def test_early_stopping_by_the_latest_items_of_held_out_users():
    X = matrix(random_histories(400, 30), 30)
    model = small(max_epochs=60, n_iter_no_change=3).fit(X)
    history = model.history_
    assert len(history) < 60
    train, valid = model._make_datasets(*model._split(X, np.random.RandomState(0)))
    assert len(train) == 360 and len(valid) == 40
    known = [valid.X[[row]].data.max() for row in range(40)]
    assert np.all([valid.targets[[row]].data.min() for row in range(40)] > np.array(known))
    value = model.score(valid.X, valid.targets, metric="ndcg@100")
    assert value == pytest.approx(history["valid_ndcg"].max(), rel=1e-4)


def test_one_seed_one_model():
    X = matrix(random_histories())
    first, second = (small().fit(X) for _ in range(2))
    assert_array_equal(first.predict(X), second.predict(X))
    assert not np.array_equal(first.predict(X), small(random_state=1).fit(X).predict(X))


def test_saving(tmp_path):
    X = matrix(random_histories())
    model = small().fit(X)
    model.save(tmp_path / "model")
    loaded = sklearn_recsys.load(tmp_path / "model")
    for copy in (loaded, pickle.loads(pickle.dumps(model))):
        assert_array_equal(copy.predict(X), model.predict(X))
        assert_allclose(copy.history_["train_loss"], model.history_["train_loss"])
    loaded.partial_fit(X)
    assert len(loaded.history_) == 6


def test_the_size_of_batches():
    assert [SVAE()._update_size(n) for n in (1, 1000, 10**6)] == [4, 10, 64]
    assert SVAE(batch_size=7)._update_size(10**6) == 7


def test_searches():
    X = matrix(cycles(120, 40, 20), 40)
    search = GridSearchCV(small(next_k=1, max_epochs=8), {"lr": [1e-6, 0.03]}, cv=2)
    assert search.fit(X).best_params_ == {"lr": 0.03}


def test_memory_follows_a_block_of_logits(monkeypatch):
    """The logits of all steps are never there together."""
    sizes = []
    add_gradients = losses._add_gradients

    def watched(targets, codes, weight, *args):
        sizes.append(len(codes) * len(weight))
        return add_gradients(targets, codes, weight, *args)

    monkeypatch.setattr(losses, "_add_gradients", watched)
    X = matrix([np.arange(50) + 100 * user for user in range(20)], 10_000)
    small(next_k=1, max_epochs=1).fit(X)
    assert max(sizes) <= 2**20 and sum(sizes) == 20 * 49 * 10_000


@pytest.mark.parametrize(
    "params",
    [
        {"n_factors": 0},
        {"embedding_dim": 0},
        {"n_recurrent": 1.5},
        {"n_hidden": -1},
        {"next_k": 0},
        {"max_length": 0},
        {"dropout": 1.0},
        {"anneal_cap": -0.1},
        {"anneal_epochs": 0},
        {"l2": -1},
    ],
)
def test_bad_parameters(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of SVAE"):
        SVAE(**params).fit(matrix(random_histories()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    X = matrix(random_histories())
    model = small(device="cuda").fit(X)
    assert_allclose(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X), atol=1e-4)
