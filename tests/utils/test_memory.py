"""The memory that is left, by the files of a made-up machine; requests that cannot be met."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

from sklearn_recsys import (
    ALS,
    CDAE,
    EASE,
    NCF,
    SVAE,
    AutoRec,
    ContentRecommender,
    EmbeddingNet,
    ImplicitMatrixFactorization,
    ItemKNN,
    MultVAE,
    RecVAE,
    SASRec,
    TwoTower,
    UserKNN,
)
from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.model_selection import sample_negatives
from sklearn_recsys.utils import _memory
from sklearn_recsys.utils._memory import available_memory, check_memory

GIB = 2**30
R = make_interactions(40, 20, random_state=0)


def machine(root, groups="", **files):
    """Write the files of a machine with 8 GiB; return its root."""
    files = {"proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {8 * 2**20} kB\n", **files}
    files["proc/self/cgroup"] = groups
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(str(text))
    return root


def group(path, limit, use, cache=0, version=2):
    """Return the files of a control group."""
    if version == 2:
        path = f"sys/fs/cgroup{path}"
        names = "memory.max", "memory.current", f"anon 5\ninactive_file {cache}\n"
    else:
        path = f"sys/fs/cgroup/memory{path}"
        stat = f"inactive_file 1\ntotal_inactive_file {cache}\n"
        names = "memory.limit_in_bytes", "memory.usage_in_bytes", stat
    return {
        f"{path}/{names[0]}": limit,
        f"{path}/{names[1]}": use,
        f"{path}/memory.stat": names[2],
    }


V1 = "12:cpu,cpuacct:/x\n9:memory:{}\n1:name=systemd:/\n"


@pytest.mark.parametrize(
    ("groups", "files", "free"),
    [
        ("", {}, 8 * GIB),
        ("0::/\n", group("", 4 * GIB, GIB), 3 * GIB),
        ("0::/\n", group("", "max\n", GIB), 8 * GIB),
        ("0::/\n", group("", 4 * GIB, 3 * GIB, cache=2 * GIB), 3 * GIB),
        ("0::/a/b\n", group("/a/b", 4 * GIB, GIB), 3 * GIB),
        ("0::/a/b\n", group("/a/b", "max", GIB) | group("/a", 2 * GIB, GIB), GIB),
        ("0::/a/b\n", group("/a/b", 3 * GIB, GIB) | group("/a", 5 * GIB, GIB), 2 * GIB),
        ("0::/not/mounted/here\n", group("", 2 * GIB, GIB), GIB),  # a container's own root
        ("0::/a\n", group("/b", GIB, GIB), 8 * GIB),  # another process's group
        ("0::/a\n", group("/a", GIB, 2 * GIB), 0),
        (V1.format("/"), group("", 4 * GIB, GIB, version=1), 3 * GIB),
        (V1.format("/a/b"), group("/a/b", 4 * GIB, GIB, GIB, version=1), 4 * GIB),
        (V1.format("/a/b"), group("/a", 2 * GIB, GIB, version=1), GIB),
        (V1.format("/docker/1f"), group("", 2 * GIB, GIB, version=1), GIB),
        (V1.format("/"), group("", 9223372036854771712, GIB, version=1), 8 * GIB),
        ("0::/a\n" + V1.format("/b"), group("/b", 2 * GIB, GIB, version=1), GIB),
        ("0::/a\n", {f"sys/fs/cgroup{k[13:]}": v for k, v in group("", "", 1).items()}, 8 * GIB),
        ("nonsense\n", group("", 4 * GIB, GIB), 3 * GIB),
    ],
)
def test_control_groups(tmp_path, groups, files, free):
    assert available_memory(machine(tmp_path, groups, **files)) == free


def test_a_machine_without_readable_limits(tmp_path):
    assert available_memory(tmp_path) is None


def test_the_available_memory_is_cached_except_for_large_requests(monkeypatch):
    calls = []
    monkeypatch.setattr(_memory, "_read_limits", lambda root: calls.append(root) or 8 * GIB)
    _memory.forget_available_memory()
    for _ in range(100):
        check_memory(1000, "A list", "")
    assert len(calls) == 1
    check_memory(GIB, "A matrix", "")
    assert len(calls) == 2
    monkeypatch.undo()
    _memory.forget_available_memory()


def test_available_memory_is_plausible():
    available = available_memory()
    assert available is None or 2**20 < available < 2**50


def test_check_memory_says_what_is_missing(monkeypatch):
    monkeypatch.setattr(_memory, "available_memory", lambda: 3 * 2**30)
    check_memory(3 * 2**30, "A matrix", "Take less.")
    with pytest.raises(MemoryError, match=r"A matrix needs 8\.0 GiB, but 3\.0 GiB .* Take less\."):
        check_memory(8 * 2**30, "A matrix", "Take less.")
    monkeypatch.setattr(_memory, "available_memory", lambda: None)
    check_memory(2**60, "A matrix", "Take less.")


def test_absurd_lists(monkeypatch):
    n = 10**9
    monkeypatch.setattr("sklearn_recsys.utils._memory.available_memory", lambda: 2**50)
    ease, als = EASE().fit(R), ALS(2, max_iter=1, random_state=0).fit(R)
    content = ContentRecommender(np.eye(20)).fit(R)
    for ask in (
        lambda: ease.recommend(0, n=n),
        lambda: ease.recommend(R[[0]], n=n, candidates=R[[0]]),
        lambda: ItemKNN().fit(R).similar_items(0, n=n),
        lambda: UserKNN().fit(R).similar_users(0, n=n),
        lambda: als.similar_items(0, n=n),
        lambda: als.similar_users(0, n=n),
        lambda: content.similar_items(0, n=n),
        lambda: sample_negatives(R, n),
    ):
        with pytest.raises(MemoryError, match=r"slots that stay empty: there are only"):
            ask()
    ids, scores = ease.recommend(0, n=1000, return_scores=True)  # a little more than there are
    assert ids.shape == (1, 1000)
    assert (ids[:, 20:] == -1).all() and np.isneginf(scores[:, 20:]).all()
    np.testing.assert_array_equal(ids[:, :20], ease.recommend(0, n=20))


@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.LeakWarning")
def test_a_long_list_costs_a_score_no_memory():
    model, known = EASE().fit(R), 0 * R
    for metric in ("ndcg", "recall", "map", "precision"):
        huge = model.score(known, R, metric=metric, k=10**9)
        whole = model.score(known, R, metric=metric, k=20)
        assert huge == pytest.approx(whole * 20 / 10**9 if metric == "precision" else whole)
    assert UserKNN(n_neighbors=10**9).fit(R).recommend(0).shape == (1, 10)


@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.ValuesWarning")
@pytest.mark.parametrize(
    "model",
    [
        ALS(10**9),
        MultVAE(10**9, max_epochs=1),
        EmbeddingNet(10**9, max_epochs=1),
        EmbeddingNet(hidden_layer_sizes=(10**6, 10**6), max_epochs=1),
        TwoTower(embedding_dim=10**9, max_epochs=1),
        TwoTower(np.eye(20), n_factors=10**9, max_epochs=1),
    ],
    ids=lambda model: type(model).__name__,
)
def test_absurd_parameters(model):
    with pytest.raises(MemoryError, match="needs .* GiB, but .* GiB are available.*fewer factors"):
        model.fit(R)


@pytest.mark.filterwarnings("ignore::sklearn_recsys.exceptions.ValuesWarning")
@pytest.mark.parametrize("size", [10**12, 2**62, 10**30])
def test_sizes_that_overflow_are_refused_for_their_memory(size):
    """torch has other errors for products and for integers beyond 64 bits."""
    models = [SVAE(n_recurrent=size), RecVAE(n_hidden=size), NCF(n_factors=size)]
    models += [SASRec(n_factors=size), SASRec(max_length=size)]
    for model in [*models, AutoRec(n_factors=size), MultVAE(hidden_layer_sizes=(size, size))]:
        with pytest.raises(MemoryError, match=f"{type(model).__name__} .*fewer factors"):
            model.set_params(max_epochs=1).fit(R)


@pytest.mark.parametrize("n", [10**11, 2**63, 10**30])
def test_absurd_numbers_of_negatives(n):
    """In fit, and where a loaded model asks for them to fold a new user in."""
    models = [
        NCF("gmf", n_factors=2, early_stopping=False),
        ImplicitMatrixFactorization(2, loss="bpr"),
        CDAE(2, n_negatives=1, early_stopping=False),
    ]
    for model in models:
        model.set_params(max_epochs=1, random_state=0)
        with pytest.raises(MemoryError, match="negatives at once.*smaller n_negatives"):
            clone(model).set_params(n_negatives=n).fit(R)
    new = sp.csr_array(np.eye(3, 20))
    for model in models[:2]:
        model.fit(R)._fit_params_["n_negatives"] = n
        for ask in (model.predict, model.recommend):
            with pytest.raises(MemoryError, match="negatives at once.*smaller n_negatives"):
                ask(new)


def test_the_memory_check_of_a_module_draws_nothing(monkeypatch):
    def fitted():
        return MultVAE(4, max_epochs=1, random_state=0).fit(R).predict(R)

    expected = fitted()
    monkeypatch.setattr(MultVAE, "_check_module_memory", lambda self, X: None)
    np.testing.assert_array_equal(fitted(), expected)
