"""SASRec: causal self-attention over histories, trained with sampled items."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from histories import N_ITEMS, affine, cycles, matrix, module_of, random_histories, rows
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import erf, expit, log_softmax, softmax
from skorch.callbacks import Callback

from sklearn_recsys import SASRec, load
from sklearn_recsys.neural import SparseRows
from sklearn_recsys.neural._base.validation import hold_out_latest
from sklearn_recsys.neural._data.sparse_rows import newest_items
from sklearn_recsys.neural._nn.losses import sampled_items_loss


def small(**params):
    sizes = {"n_factors": 8, "n_blocks": 2, "n_heads": 2, "max_epochs": 3, "random_state": 0}
    return SASRec(**{**sizes, "lr": 0.01, "dropout": 0.1, **params})


def module(**params):
    return module_of(small(**params))


# ---------------------------------------------------------------- the module


def normalized(layer, x):
    x = (x - x.mean(axis=-1, keepdims=True)) / np.sqrt(x.var(axis=-1, keepdims=True) + layer.eps)
    return x * layer.weight.detach().numpy() + layer.bias.detach().numpy()


def states(made, items):
    """Return the states after each item, by their equations, step by step."""
    items = list(items)[-made.max_length :]
    n_steps, width = len(items), made.items.shape[1]
    positions = made.positions.detach().numpy()[:n_steps][::-1]
    x = made.items.detach().numpy()[items] * np.sqrt(width) + positions
    for block in made.blocks:
        inputs = affine(block.attention_input, normalized(block.attention_norm, x))
        q, k, v = np.split(inputs.reshape(n_steps, -1, width // block.n_heads), 3, axis=1)
        attended = np.zeros_like(q)
        for step in range(n_steps):
            for head in range(block.n_heads):
                logits = k[: step + 1, head] @ q[step, head] / np.sqrt(width / block.n_heads)
                attended[step, head] = softmax(logits) @ v[: step + 1, head]
        x = x + affine(block.attention_output, attended.reshape(n_steps, width))
        hidden = affine(block.hidden, normalized(block.norm, x))
        x = x + affine(block.output, hidden * (1 + erf(hidden / np.sqrt(2))) / 2)
    return normalized(made.norm, x)


@pytest.mark.parametrize("params", [{}, {"n_heads": 1, "n_blocks": 1}, {"max_length": 5}])
def test_the_states_are_the_formula(params):
    """Padding, other rows and truncation included."""
    made = module(**params)
    histories = random_histories(20)
    items, lengths = newest_items(rows(histories), made.max_length)
    ours = made.states(items.T, lengths).detach().numpy()
    for row, history in enumerate(histories):
        assert_allclose(ours[row, : lengths[row]], states(made, history), rtol=1e-4, atol=1e-4)


def test_scores_are_products_with_the_newest_state():
    made = module()
    histories = [*random_histories(10), []]
    scores = made(rows(histories)).detach().numpy()
    vectors = made.items.detach().numpy()
    for history, row in zip(histories[:-1], scores, strict=False):
        assert_allclose(row, vectors @ states(made, history)[-1], rtol=1e-4, atol=1e-4)
    assert not scores[-1].any()


@pytest.mark.parametrize("max_length", [3, 200])
def test_the_exact_loss_is_the_cross_entropy_of_the_next_items(max_length):
    made = module(n_negatives=10**20, max_length=max_length)
    histories = [*random_histories(9), [], [4]]
    vectors, losses = made.items.detach().numpy(), []
    for items in histories:
        items = list(items)[-max_length - 1 :]
        for step, state in enumerate(states(made, items[:-1]) if len(items) > 1 else []):
            losses.append(-log_softmax(vectors @ state)[items[step + 1]])
    batch = rows(histories)
    assert made.loss(batch, batch).item() == pytest.approx(np.mean(losses), rel=1e-4)


@pytest.mark.parametrize("n_logits", [1, 8, 10**6])  # of a block: one step, two, all
@pytest.mark.parametrize("loss", ["softmax", "gbce"])
def test_a_sampled_loss_and_its_gradients(loss, n_logits):
    torch.manual_seed(0)
    codes, weight = torch.randn(7, 5), torch.randn(9, 5)
    inputs = codes.requires_grad_(), weight.requires_grad_()
    targets, negatives = torch.tensor([0, 3, 8, 2, 3, 5, 7]), torch.tensor([3, 1, 8, 6])
    logits = codes @ weight.T
    expected = 0
    beta = 4 / 9 * (0.6 * (1 - 9 / 4) + 9 / 4)  # eq. 20 of gSASRec
    for row, target in zip(logits, targets.tolist(), strict=True):
        others = [item for item in negatives.tolist() if item != target]
        if loss == "softmax":
            expected -= row[[target, *others]].log_softmax(dim=0)[0]
        else:
            row = row + np.log(beta / 4)
            likelihood = row[target].sigmoid() ** beta
            expected -= likelihood.log() + (1 - row[others].sigmoid()).log().sum()
    ours = sampled_items_loss(codes, targets, weight, negatives, loss, 0.6, n_logits)
    assert ours.item() == pytest.approx(expected.item(), rel=1e-5)
    gradients = torch.autograd.grad(2 * ours, inputs), torch.autograd.grad(2 * expected, inputs)
    for own, other in zip(*gradients, strict=True):
        assert_allclose(own, other, atol=1e-5)


def test_without_calibration_gbce_is_the_binary_cross_entropy():
    torch.manual_seed(0)
    codes, weight = torch.randn(1, 5), torch.randn(9, 5)
    positive, negative = expit((codes @ weight.T).numpy())[0, [4, 2]]
    loss = sampled_items_loss(codes, torch.tensor([4]), weight, torch.tensor([2]), "gbce", 0.0)
    assert loss.item() == pytest.approx(-(np.log(positive) + np.log(1 - negative)), rel=1e-5)


def test_unlikely_items_have_a_finite_loss():
    codes, weight = torch.ones(1, 1), torch.tensor([[0.0], [1000.0]])
    for loss, expected in (("softmax", 1000), ("gbce", np.log(2) + 1000)):
        value = sampled_items_loss(codes, torch.tensor([0]), weight, torch.tensor([1]), loss)
        assert value.item() == pytest.approx(expected)


# ---------------------------------------------------------------- the estimator


@pytest.mark.parametrize("loss", ["softmax", "gbce"])
def test_learns_what_follows_and_reads_new_events(loss):
    model = small(max_epochs=25, early_stopping=False, loss=loss, batch_size=16).fit(
        matrix(cycles(150))
    )
    new = cycles(40, seed=1)
    for n_events in range(2):  # one event later the row has one more item
        histories = [[*items, *(items[-1] + np.arange(1, n_events + 1)) % N_ITEMS] for items in new]
        found = model.recommend(matrix(histories), n=1)[:, 0]
        assert np.mean(found == [(items[-1] + 1) % N_ITEMS for items in histories]) > 0.9


class Weights(Callback):
    """The vectors of the items before and after every update, and at the end of every epoch."""

    def on_train_begin(self, net, **kwargs):
        self.before, self.after = [], []

    def on_batch_begin(self, net, training=False, **kwargs):
        if training:
            self.before.append(net.module_.items.detach().numpy().copy())

    def on_batch_end(self, net, training=False, **kwargs):
        if training:
            self.after.append(net.module_.items.detach().numpy().copy())


@pytest.mark.parametrize("early_stopping", [False, True])
def test_the_model_is_an_average_and_training_goes_on_without_it(early_stopping):
    seen = Weights()
    params = {"early_stopping": early_stopping, "validation_fraction": 0.4, "batch_size": 20}
    model = small(callbacks=[seen], n_iter_no_change=10, **params).fit(matrix(random_histories()))
    assert_array_equal(seen.before[1:], seen.after[:-1])
    averages, average = [], 0
    for t, weights in enumerate(seen.after, 1):  # eq. 5 of Shamir and Zhang, with η = 8
        average = (1 - 9 / (t + 8)) * average + 9 / (t + 8) * weights
        averages.append(average)
    best = model.history_["valid_ndcg"].argmax() if early_stopping else 2
    expected = averages[len(averages) // 3 * (best + 1) - 1]
    assert_allclose(model.item_factors_, expected, rtol=1e-4, atol=1e-6)


def test_vectors_are_those_of_the_module():
    histories = random_histories()
    model = small().fit(matrix(histories))
    made = model.net_.module_
    assert_array_equal(model.item_factors_, made.items.detach().numpy())
    for history, vector in zip(histories, model.user_factors_, strict=True):
        assert_allclose(vector, states(made, history)[-1], rtol=1e-4, atol=1e-4)
    new = matrix([[3, 1, 7]])
    assert_allclose(model.predict(new), model.transform(new) @ model.item_factors_.T, rtol=1e-5)


def test_times_are_as_good_as_positions():
    X = matrix(random_histories())
    model = small().fit(X)
    times = X.astype(np.float64)
    times.data = 978_300_000 + 3 * times.data  # which float32 would merge
    assert_array_equal(model.predict(times), model.predict(X))
    assert_array_equal(small().fit(times).predict(X), model.predict(X))


def test_dropout_and_negatives_are_for_training_alone():
    model = small(dropout=0.5, n_negatives=3).fit(matrix(random_histories()))
    X = matrix(random_histories(5, seed=1))
    assert_array_equal(model.predict(X), model.predict(X))
    made, batch = model.net_.module_, SparseRows.from_csr(X)
    items, lengths = newest_items(batch, 20)
    with torch.no_grad():
        first, second = (made.train().states(items.T, lengths) for _ in range(2))
        assert not torch.equal(first, second)
        first, second = (made.eval().states(items.T, lengths) for _ in range(2))
        assert torch.equal(first, second)


@pytest.mark.parametrize("histories", [[[3], [5]], [[], []]])
def test_histories_without_a_next_item_have_no_loss(histories):
    made = module().train()
    batch = rows(histories)
    loss = made.loss(batch, batch)
    loss.backward()
    assert loss.item() == 0
    model = small(batch_size=2).fit(matrix([*histories, *histories, [1, 2, 3]]))
    assert np.all(np.isfinite(model.predict(matrix([[], [3], [1, 2]]))))


# ---------------------------------------------------------------- early stopping


def test_the_latest_items_of_a_share_of_the_users_are_held_out():
    histories = [*random_histories(100), [1], []]
    X = matrix(histories)
    train, valid = hold_out_latest(X, 0.4, np.random.RandomState(0))
    assert len(valid) == 41 and len(train) == 102
    ends = np.full(102, -1)
    ends[valid.training_rows] = valid.targets.indices
    for row, items in enumerate(histories):
        known = items if ends[row] < 0 else items[:-1]
        assert ends[row] in (-1, *items[-1:])
        assert_array_equal(train.X[[row]].toarray(), matrix([known]).toarray())
    assert_array_equal(valid.X.toarray(), train.X[valid.training_rows].toarray())


def test_too_few_users_to_hold_out_items():
    X = matrix(random_histories(30))
    train, valid = hold_out_latest(X, 0.5, np.random.RandomState(0))
    assert valid is None and (train.X != X).nnz == 0


@pytest.mark.filterwarnings("ignore:.*rows of X were in fit")  # as those it stops by
def test_early_stopping_by_held_out_items():
    X = matrix(random_histories(200, 30), 30)
    model = small(max_epochs=40, n_iter_no_change=2, validation_fraction=0.4).fit(X)
    assert len(model.history_) < 40
    _, valid = model._split(X, np.random.RandomState(0))
    value = model.score(valid.X, valid.targets, metric="ndcg@100")
    assert value == pytest.approx(model.history_["valid_ndcg"].max(), rel=1e-4)


# ---------------------------------------------------------------- parameters


def test_saving(tmp_path):
    X = matrix(random_histories())
    model = small().fit(X)
    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")
    assert_array_equal(loaded.predict(X), model.predict(X))
    assert_array_equal(loaded.recommend([3, 5]), model.recommend([3, 5]))


def test_heads_divide_the_factors():
    with pytest.raises(ValueError, match="n_factors=8 is not a multiple of n_heads=3"):
        small(n_heads=3).fit(matrix(random_histories()))


@pytest.mark.parametrize(
    "params",
    [
        {"n_factors": 0},
        {"n_blocks": 0},
        {"n_heads": 1.5},
        {"max_length": 0},
        {"dropout": 1.0},
        {"loss": "bpr"},
        {"n_negatives": 0},
        {"calibration": 1.1},
    ],
)
def test_bad_parameters(params):
    with pytest.raises(ValueError, match=f"The '{next(iter(params))}' parameter of SASRec"):
        SASRec(**params).fit(matrix(random_histories()))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda():
    X = matrix(random_histories())
    model = small(device="cuda").fit(X)
    cpu = small(device="cuda").set_params(device="cpu").fit(X)
    assert model.predict(X).shape == cpu.predict(X).shape


def test_few_users_are_trained_on_in_small_batches():
    assert [SASRec()._update_size(n) for n in (1, 2000, 10**6)] == [16, 40, 256]
    assert SASRec(batch_size=7)._update_size(10**6) == 7
