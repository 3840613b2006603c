"""Models whose fit is a sum over users: on a cluster they are those of one machine."""

from __future__ import annotations

import os
import pickle
import signal

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import sklearn_recsys
from sklearn_recsys import EASE, ItemKNN
from sklearn_recsys.dask import DaskEASE, DaskItemKNN, DaskRP3beta, DaskSLIM, _blocks
from sklearn_recsys.linear_model import _gram
from sklearn_recsys.utils._memory import forget_available_memory

dask = pytest.importorskip("dask", reason="needs Dask: make test-dask")
pytest.importorskip("distributed", reason="needs Dask: make test-dask")

N_ITEMS = 30


def ratings(n_users=90, seed=0, negative=False):
    rng = np.random.default_rng(seed)
    X = rng.uniform(0.5, 5, (n_users, N_ITEMS)) * (rng.random((n_users, N_ITEMS)) < 0.2)
    if negative:
        X *= np.where(rng.random(X.shape) < 0.3, -1, 1)
    X[7], X[:, 4] = 0, 0  # an empty user, an item that nobody has
    return sp.csr_array(X, dtype=np.float32)


def ones(**kwargs):
    X = ratings(**kwargs)
    return sp.csr_array((np.ones_like(X.data), X.indices, X.indptr), shape=X.shape)


def blocks_of(X, size=25):
    return [X[start : start + size] for start in range(0, X.shape[0], size)]


def dask_array(X, size=25, as_block=sp.csr_array):
    """Return a dask array of CSR blocks, of unknown numbers of rows."""
    import dask.array as da

    blocks = [
        da.from_delayed(dask.delayed(as_block)(block), (np.nan, X.shape[1]), dtype=X.dtype)
        for block in blocks_of(X, size)
    ]
    return da.concatenate(blocks, allow_unknown_chunksizes=True)


def weights(model):
    W = model.similarity_ if hasattr(model, "similarity_") else model.coef_
    return W.toarray() if sp.issparse(W) else W


FEATURES = np.random.default_rng(3).random((N_ITEMS, 4)).round(1)
CASES = [
    (DaskEASE, {"l2": 5.0}, ratings),
    (DaskEASE, {"l2": 5.0, "dropout": 0.3, "max_diagonal": 0.2}, ones),
    (DaskEASE, {"l2": 0.5, "user_normalization": 0.5, "item_normalization": 0.3}, ratings),
    (DaskEASE, {"l2": 5.0, "item_features": FEATURES, "feature_weight": 2.0}, ones),
    (DaskEASE, {"l2": 5.0, "item_features": sp.csr_array(FEATURES * (FEATURES > 0.9))}, ones),
    (DaskRP3beta, {"n_neighbors": 5}, ratings),
    (DaskRP3beta, {"n_neighbors": None, "normalize": False, "alpha": 1.3}, ones),
    (DaskItemKNN, {"n_neighbors": 6}, ones),
    (DaskItemKNN, {"n_neighbors": 6, "shrinkage": 0}, ones),
    (DaskItemKNN, {"n_neighbors": 6}, ratings),
    (DaskItemKNN, {"n_neighbors": 6, "shrinkage": 0}, ratings),
    (DaskItemKNN, {"n_neighbors": 6, "metric": "jaccard"}, ratings),
]


@pytest.fixture
def tiny(monkeypatch):
    """Make several panels of the items and groups of the blocks, and a tree of several levels."""
    monkeypatch.setattr(_blocks, "_WIDTH", 2)
    monkeypatch.setattr(_blocks, "_GROUP_BYTES", 2000)
    monkeypatch.setattr(_gram, "_STACKED", 200)
    monkeypatch.setattr(_blocks, "_TILE_BYTES", 4 * N_ITEMS * 12)
    monkeypatch.setattr(_blocks, "_TILE_CELLS", 300)


@pytest.mark.parametrize(("cls", "params", "data"), CASES)
def test_the_weights_are_those_of_one_machine(client, tiny, cls, params, data):
    X = data()
    local = cls._local(**params).fit(X)
    model = cls(**params, client=client).fit(dask_array(X, size=20))
    assert_allclose(weights(model), weights(local), rtol=1e-5, atol=1e-7)
    assert weights(model).dtype == np.float32
    assert_array_equal(model.to_local().predict(ones(seed=1)), model.predict(ones(seed=1)))


@pytest.mark.parametrize("cls", [DaskEASE, DaskItemKNN])
def test_negative_values_count(client, cls):
    X = ratings(negative=True)
    model = cls().fit(dask_array(X))
    assert_allclose(weights(model), weights(cls._local().fit(X)), rtol=1e-5, atol=1e-7)


def test_a_block_of_empty_users_may_come_first(client):
    X = ratings()
    X = sp.vstack([sp.csr_array((25, N_ITEMS), dtype=np.float32), X], format="csr")
    for params in ({"dropout": 0.3}, {"item_normalization": 0.3, "l2": 0.5}):
        model, local = DaskEASE(**params).fit(dask_array(X)), EASE(**params).fit(X)
        assert_allclose(model.coef_, local.coef_, rtol=1e-5, atol=1e-7)


def test_jaccard_ignores_what_is_not_positive(client):
    X = ratings(negative=True)
    model = DaskItemKNN(metric="jaccard").fit(dask_array(X))
    assert_allclose(weights(model), weights(ItemKNN(metric="jaccard").fit(X)), rtol=1e-6)


def test_a_penalty_that_is_too_small_for_float32(client):
    X = ones(n_users=20)
    for l2 in (1e-6, 1e-4):
        expected, model = EASE(l2=l2).fit(X), DaskEASE(l2=l2).fit(dask_array(X, size=6))
        assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="l2=1e-18 is too small"):
        DaskEASE(l2=1e-18).fit(dask_array(X))


def test_what_stands_for_a_distributed_matrix(client):
    X = ones()
    expected = EASE().fit(X).coef_
    blocks = blocks_of(X)
    delayed = [dask.delayed(block) for block in blocks]
    for parts in (
        delayed,
        client.scatter(blocks),
        dask_array(X, as_block=sp.csr_matrix),
        dask_array(X, as_block=sp.csr_array.toarray),
        dask_array(X.astype(np.float64)),
        dask_array(X, size=1000),
    ):
        assert_allclose(DaskEASE().fit(parts).coef_, expected, rtol=1e-5, atol=1e-7)


def test_what_is_refused(client):
    import dask.array as da

    X = ones()
    with pytest.raises(TypeError, match="fitted by the local model"):
        DaskEASE().fit(X)
    with pytest.raises(TypeError, match="got DataFrame"):
        import dask.dataframe as dd
        import pandas as pd

        DaskEASE().fit(dd.from_pandas(pd.DataFrame({"user": [1], "item": [1]}), npartitions=1))
    with pytest.raises(ValueError, match="its columns are in 2 chunks"):
        DaskEASE().fit(da.ones((4, 4), chunks=(2, 2)))
    with pytest.raises(ValueError, match="must be 2-D"):
        DaskEASE().fit(da.ones(4))
    with pytest.raises(ValueError, match=r"got \[29, 30\] columns"):
        DaskEASE().fit([dask.delayed(X), dask.delayed(X[:, 1:])])
    with pytest.raises(ValueError, match="no interaction"):
        DaskEASE().fit(dask_array(sp.csr_array((20, 3), dtype=np.float32)))
    with pytest.raises(ValueError, match="Negative values"):
        DaskRP3beta().fit(dask_array(ratings(negative=True)))
    with pytest.raises(ValueError, match="'l2' parameter"):
        DaskEASE(l2=-1.0).fit(dask_array(X))
    for model in (
        DaskEASE(low_pass=0.1),
        DaskEASE(density=0.5),
        DaskRP3beta(low_pass=0.1),
        DaskSLIM(low_pass=0.1),
        DaskItemKNN(metric="pearson"),
    ):
        with pytest.raises(ValueError, match="needs the whole matrix at once: fit"):
            model.fit(dask_array(X))
        assert not model.__sklearn_is_fitted__()


def test_a_fit_that_fails_leaves_nothing(client):
    model = DaskEASE().fit(dask_array(ones()))
    with pytest.raises(ValueError, match="no interaction"):
        model.fit(dask_array(sp.csr_array((20, 3), dtype=np.float32)))
    assert not [name for name in vars(model) if name.endswith("_") and name[0] != "_"]


def test_memory_is_checked_before_anything_is_summed_up(client, monkeypatch):
    monkeypatch.setattr("sklearn_recsys.utils._memory.available_memory", lambda: 1000)
    with pytest.raises(MemoryError, match="30 × 30 items needs"):
        DaskEASE().fit(dask_array(ones()))
    forget_available_memory()


# ------------------------------------------------------------------------------- the fitted model


@pytest.mark.parametrize("cls", [DaskEASE, DaskItemKNN, DaskRP3beta, DaskSLIM])
def test_predictions_of_dask_arrays_are_lazy(client, cls):
    X, new = ones(), ratings(n_users=40, seed=1)
    local, model = cls._local().fit(X), cls().fit(dask_array(X))
    lazy = dask_array(new, size=15)
    lists = model.recommend(lazy, n=4)
    assert (lists.dtype, lists.numblocks, lists.shape[1]) == (np.int64, (3, 1), 4)
    assert_array_equal(lists.compute(), local.recommend(new, n=4))
    scores = model.predict(lazy)
    assert (scores.dtype, scores.numblocks, scores.shape[1]) == (np.float32, (3, 1), N_ITEMS)
    assert_allclose(scores.compute(), local.predict(new), rtol=1e-4, atol=1e-6)
    options = {"exclude_seen": False, "candidates": [1, 2, 3, 5], "exclude": [2]}
    ids, scores = model.recommend(lazy, n=5, **options, return_scores=True)
    expected = local.recommend(new, n=5, **options, return_scores=True)
    assert ids.shape[1] == scores.shape[1] == 5
    assert scores.dtype == np.float32
    ids, scores = dask.compute(ids, scores)
    assert_array_equal(ids, expected[0])
    assert_allclose(scores, expected[1], rtol=1e-4, atol=1e-6)
    assert_array_equal(model.recommend(new), local.recommend(new))  # in memory: not lazy


def test_what_predictions_refuse(client):
    X = ones()
    model = DaskEASE().fit(dask_array(X))
    with pytest.raises(ValueError, match="candidates must be 1-D"):
        model.recommend(dask_array(X), candidates=X)
    with pytest.raises(TypeError, match="must be a dask array"):
        model.recommend([dask.delayed(X)])
    with pytest.raises(TypeError, match=r"only fit, predict and recommend .* to_local\(\)"):
        model.score(dask_array(X))
    with pytest.raises(NotImplementedError, match="Fit it to all rows again"):
        model.partial_fit(X)


@pytest.mark.parametrize("cls", [DaskEASE, DaskItemKNN, DaskRP3beta, DaskSLIM])
def test_a_local_model_without_training_rows(client, cls, tmp_path):
    X, new = ones(), ones(seed=1)
    local = cls().fit(dask_array(X)).to_local()
    expected = cls._local().fit(X)
    assert type(local) is cls._local
    assert local.get_params() == expected.get_params()
    assert local.interactions_.shape == (0, N_ITEMS)
    assert local.score(new) == expected.score(new)
    assert_array_equal(
        local.recommend(sp.csr_array((1, N_ITEMS)), n=3)[0],
        np.argsort(-np.bincount(X.indices, minlength=N_ITEMS), kind="stable")[:3],
    )
    for call in (
        local.recommend,
        lambda: local.recommend(0),
        lambda: local.recommend([True]),
        lambda: local.partial_fit(new),
    ):
        with pytest.raises(ValueError, match="no training rows, as it was fitted on a cluster"):
            call()
    local.save(tmp_path / "model")
    loaded = sklearn_recsys.load(tmp_path / "model")
    assert_array_equal(loaded.predict(new), local.predict(new))


def test_copies(client, tmp_path):
    model = DaskEASE(l2=3.0, client=client).fit(dask_array(ones()))
    copy = clone(model)
    assert copy.client is client
    assert copy.l2 == 3.0
    assert not copy.__sklearn_is_fitted__()
    pickled = pickle.loads(pickle.dumps(model))
    assert pickled.client is None
    assert_array_equal(pickled.coef_, model.coef_)
    model.save(tmp_path / "model")
    assert type(sklearn_recsys.load(tmp_path / "model")) is EASE


def test_parameters_are_those_of_the_local_model_and_the_client():
    for cls in (DaskEASE, DaskItemKNN, DaskRP3beta, DaskSLIM):
        params = cls().get_params()
        assert params.pop("client") is None
        assert params == cls._local().get_params()
    assert DaskRP3beta(0.9, 0.1).get_params()["beta"] == 0.1
    with pytest.raises(TypeError, match="nothing"):
        DaskEASE(nothing=1)


def test_without_a_client(monkeypatch):
    import distributed

    def no_client():
        raise ValueError

    monkeypatch.setattr(distributed, "default_client", no_client)
    with pytest.raises(ValueError, match="found no Dask client"):
        DaskEASE().fit(dask_array(ones()))


# ------------------------------------------------------------------------------- processes


def _die_once(path):
    """Kill this worker, the first time."""
    if not os.path.exists(path):
        open(path, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)


def _read(block, path=None):
    if path is not None:
        _die_once(path)
    return block


def test_dask_knows_the_size_of_the_blocks(client):
    """By which it decides what to spill to disk."""
    X = ratings(n_users=400)
    blocks, _ = _blocks.read_blocks(
        [dask.delayed(part) for part in blocks_of(X, 200)], client, EASE()
    )
    sizes = client.nbytes(summary=False)
    for future, block in zip(blocks.futures, blocks_of(X, 200), strict=True):
        arrays = block.data, block.indices, block.indptr
        assert sizes[future.key] >= sum(array.nbytes for array in arrays)


def test_groups_hold_each_block_once_and_are_bounded(client, monkeypatch):
    """A task needs all blocks of its group in the memory of its worker."""
    X = ratings(n_users=400)
    parts = [dask.delayed(part) for part in blocks_of(X, 20)]
    blocks, _ = _blocks.read_blocks(parts, client, EASE())
    sizes, holders = client.nbytes(summary=False), client.who_has(blocks.futures)
    for limit, least in ((10**9, 1), (4000, 6)):
        monkeypatch.setattr(_blocks, "_GROUP_BYTES", limit)
        groups = _blocks.Blocks(client, blocks.futures, blocks.shape).groups
        assert sorted(f.key for group in groups for f in group) == sorted(
            f.key for f in blocks.futures
        )
        assert len(groups) >= least
        for group in groups:
            assert len({min(holders[future.key]) for future in group}) == 1
            assert sum(sizes[future.key] for future in group[1:]) <= limit


def test_few_users_are_sent_to_all_workers_and_many_are_summed_up_where_they_are(client):
    for n_users, n_groups in ((50, 1), (1000, 2)):
        X = ratings(n_users=n_users)
        parts = [dask.delayed(part) for part in blocks_of(X, n_users // 10)]
        blocks, counts = _blocks.read_blocks(parts, client, EASE())
        gram = _blocks.BlockGram(blocks, counts)
        if n_groups == 1:
            gram.n_items = 100  # a triangle of 20 kB
        assert len(gram._groups) == n_groups
        assert sum(map(len, gram._groups)) == len(blocks.futures)


def test_panels_of_the_gram_matrix_take_the_same_time_and_fit(client, monkeypatch):
    n_items = 1000
    shares = np.arange(1.0, n_items + 1) ** -0.8  # of users, the most popular item first
    rng = np.random.default_rng(0)
    X = sp.csr_array((rng.random((500, n_items)) < shares).astype(np.float32))
    blocks, counts = _blocks.read_blocks([dask.delayed(X)], client, EASE())
    gram = _blocks.BlockGram(blocks, counts)
    panels = list(gram._panels(4))
    assert [panel.start for panel in panels] == [0, *(panel.stop for panel in panels[:-1])]
    assert panels[-1].stop == n_items
    products = [(X[:, panel].T @ X[:, : panel.stop]).sum() for panel in panels]
    assert len(panels) >= 8
    assert max(products) < 0.25 * sum(products)
    monkeypatch.setattr(_blocks, "_TILE_BYTES", 10_000)  # 2.5 rows of all items
    assert max((panel.stop - panel.start) * panel.stop * 4 for panel in gram._panels(4)) <= 20_000
    assert_allclose(np.tril(gram.lower(np.float32)), np.tril((X.T @ X).toarray()))


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs SIGKILL")
@pytest.mark.filterwarnings("ignore")  # of the killed process
def test_a_worker_that_is_killed_in_the_middle(tmp_path):
    distributed = pytest.importorskip("distributed")
    X = ratings(n_users=400)
    blocks = [dask.delayed(_read)(block) for block in blocks_of(X, 20)]
    blocks[11] = dask.delayed(_read)(X[220:240], str(tmp_path / "killed"))
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.Client(processes=True, **options):
        model = DaskEASE().fit(blocks)
        lists = model.recommend(dask_array(X, size=50), n=3).compute()
    assert (tmp_path / "killed").exists()
    expected = EASE().fit(X)
    assert_allclose(model.coef_, expected.coef_, rtol=1e-5, atol=1e-7)
    assert_array_equal(lists, expected.recommend(X, n=3))
