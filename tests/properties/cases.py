"""What random cases are made of: matrices, containers, labels, models and their parameters.

Hypothesis draws the shape of a case (sizes, densities, kinds) and a seed; numpy fills it in. So a
failing case shrinks to a small one, and drawing stays cheap.
"""

from __future__ import annotations

import datetime
import warnings
from functools import wraps

import numpy as np
import pandas as pd
import scipy.sparse as sp
from hypothesis import HealthCheck, given, settings, strategies as st
from sklearn.preprocessing import Binarizer
from sklearn.utils import get_tags

import sklearn_recsys as recsys
from sklearn_recsys.exceptions import RecommenderWarning
from sklearn_recsys.preprocessing import BM25Transformer
from sklearn_recsys.utils._corrupt import corrupt_matrices

EXAMPLES = 12  # of a property in the test run; `make fuzz` asks for many more

PROPERTIES = {}


def holds(weight=1.0, **strategies):
    """Make a property test of a function: it must raise nothing for any case of `strategies`.

    Warnings of numpy, scipy and torch are failures. The function is registered for the fuzzer,
    which runs `weight` times as many cases of it as of the others.
    """

    def decorate(function):
        @wraps(function)
        def strict(**case):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                warnings.simplefilter("ignore", RecommenderWarning)
                function(**case)

        PROPERTIES[function.__name__.removeprefix("test_")] = (strict, strategies, weight)
        test = settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            suppress_health_check=list(HealthCheck),
        )(given(**strategies)(strict))
        return test

    return decorate


seeds = st.integers(0, 2**32 - 1)


# ---------------------------------------------------------------- matrices


@st.composite
def matrices(draw, values, *, min_users=1, min_items=1, max_users=14, max_items=12, n_items=None):
    """Draw a canonical csr_array whose values are what a model with the tag `values` reads.

    It has at least one positive cell; rows and columns may be empty.
    """
    n_users = draw(st.integers(min_users, max_users))
    if n_items is None:
        n_items = draw(st.integers(min_items, max_items))
    density = draw(st.sampled_from([0.15, 0.4, 0.7, 1.0]))
    kinds = {
        "rating": ["stars", "halves", "signed", "percent", "equal"],
        "order": ["places", "times"],
        "binary": ["ones", "stars"],
        "weight": ["ones", "stars", "counts", "reals"],
    }[values]
    kind = draw(st.sampled_from(kinds))
    rng = np.random.default_rng(draw(seeds))
    cells = rng.random((n_users, n_items)) < density
    cells[rng.integers(n_users), rng.integers(n_items)] = True
    shape = cells.shape
    dense = {
        "ones": lambda: np.ones(shape),
        "equal": lambda: np.full(shape, 3.0),
        "stars": lambda: rng.integers(1, 6, shape),
        "halves": lambda: rng.integers(1, 11, shape) / 2,
        "signed": lambda: rng.integers(-5, 5, shape) + 0.5,
        "percent": lambda: rng.integers(1, 101, shape),
        "counts": lambda: rng.zipf(1.7, shape).clip(max=10**5),
        "reals": lambda: rng.random(shape) + 1e-3,
        "places": lambda: 1 + rng.random(shape).argsort(axis=1).argsort(axis=1),
        "times": lambda: 1_600_000_000 + rng.integers(0, 10**6, shape),
    }[kind]()
    return sp.csr_array(np.where(cells, dense, 0).astype(np.float64))


CONTAINERS = {
    "csr": sp.csr_array,
    "csr_matrix": sp.csr_matrix,
    "csc": sp.csc_array,
    "coo": sp.coo_array,
    "lil": sp.lil_array,
    "dok": sp.dok_array,
    "bsr": sp.bsr_array,
    "dense": lambda X: X.toarray(),
    "fortran": lambda X: np.asfortranarray(X.toarray()),
    "frame": lambda X: pd.DataFrame(X.toarray()),
    "list": lambda X: X.toarray().tolist(),
    "int64 indices": lambda X: wide(X),
    "explicit zeros": lambda X: with_zeros(X),
    "unsorted": lambda X: unsorted(X),
    "halved duplicates": lambda X: halved(X),
    "read-only": lambda X: read_only(X),
}
containers = st.sampled_from(sorted(CONTAINERS))


def wide(X):
    X = X.copy()
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def with_zeros(X):
    X = X.tocoo()
    rows = np.arange(X.shape[0])
    cells = np.concatenate([X.coords[0], rows]), np.concatenate([X.coords[1], 0 * rows])
    return sp.coo_array((np.concatenate([X.data, 0.0 * rows]), cells), shape=X.shape)


def unsorted(X):
    X = X.copy()
    for start, stop in zip(X.indptr[:-1], X.indptr[1:], strict=True):
        X.indices[start:stop] = X.indices[start:stop][::-1].copy()
        X.data[start:stop] = X.data[start:stop][::-1].copy()
    X.has_sorted_indices = False
    return X


def halved(X):
    X = X.tocoo()
    cells = tuple(np.concatenate([part, part]) for part in X.coords)
    return sp.coo_array((np.concatenate([X.data, X.data]) / 2, cells), shape=X.shape)


def read_only(X):
    X = X.copy()
    for part in (X.data, X.indices, X.indptr):
        part.flags.writeable = False
    return X


CORRUPTIONS = sorted(corrupt_matrices(sp.csr_array(np.ones((2, 2)))))
corruptions = st.sampled_from(CORRUPTIONS)


def corrupted(shape, name):
    """Return a corrupt matrix of ones."""
    return corrupt_matrices(sp.csr_array(np.ones(shape)))[name]


# ---------------------------------------------------------------- labels

LABELS = {
    "strings": lambda n: [f"item {i}" for i in range(n)],
    "integers": lambda n: [10 * (i + 1) for i in range(n)],
    "from zero": lambda n: list(range(n)),
    "dates": lambda n: [datetime.date(2024, 1, 1) + datetime.timedelta(i) for i in range(n)],
    "tuples": lambda n: pd.MultiIndex.from_tuples([("group", i) for i in range(n)]),
    "floats": lambda n: [i + 0.5 for i in range(n)],
    "timestamps": lambda n: pd.date_range("2024-01-01", periods=n),
}
labels = st.sampled_from(sorted(LABELS))


# ---------------------------------------------------------------- models

NET = {"max_epochs": 1, "random_state": 0, "batch_size": 8}
CLOSED = {
    "EASE": st.builds(recsys.EASE, l2=st.sampled_from([1.0, 10.0, 500.0])),
    "ALS": st.builds(
        recsys.ALS,
        n_factors=st.integers(1, 4),
        max_iter=st.just(2),
        solver=st.sampled_from(["cholesky", "cg"]),
        random_state=st.just(0),
    ),
    "SLIM": st.builds(
        recsys.SLIM,
        alpha=st.sampled_from([1e-3, 0.1]),
        l1_ratio=st.sampled_from([0.1, 1.0]),
        positive=st.booleans(),
        max_neighbors=st.sampled_from([None, 5]),
    ),
    "ItemKNN": st.builds(
        recsys.ItemKNN,
        n_neighbors=st.integers(1, 20),
        metric=st.sampled_from(["cosine", "jaccard"]),
        shrinkage=st.sampled_from([0.0, 5.0]),
    ),
    "UserKNN": st.builds(
        recsys.UserKNN,
        n_neighbors=st.integers(1, 20),
        metric=st.sampled_from(["cosine", "jaccard"]),
        shrinkage=st.sampled_from([0.0, 5.0]),
    ),
    "BiasRecommender": st.builds(
        recsys.BiasRecommender,
        user_l2=st.sampled_from([0.0, 4.0]),
        item_l2=st.sampled_from([0.0, 2.0]),
    ),
    **{
        name: st.builds(
            getattr(recsys, name),
            n_neighbors=st.integers(1, 20),
            shrinkage=st.sampled_from([0.0, 100.0]),
            l2=st.sampled_from([0.0, 0.3]),
        )
        for name in ("ItemKNNBaseline", "UserKNNBaseline")
    },
    "PopularityRecommender": st.builds(recsys.PopularityRecommender),
    "RandomRecommender": st.builds(recsys.RandomRecommender, random_state=st.just(0)),
    "pipeline": st.builds(
        lambda step, l2: recsys.RecommenderPipeline([("step", step), ("model", recsys.EASE(l2))]),
        step=st.sampled_from([Binarizer(), BM25Transformer()]),
        l2=st.sampled_from([1.0, 100.0]),
    ),
}
RATERS = {
    "AutoRec": st.builds(
        recsys.AutoRec, n_factors=st.just(3), kind=st.sampled_from(["item", "user"]), **{}
    ),
    "DeepAutoencoder": st.builds(
        recsys.DeepAutoencoder,
        hidden_layer_sizes=st.just((3,)),
        kind=st.sampled_from(["item", "user"]),
    ),
    "MatrixFactorization": st.builds(recsys.MatrixFactorization, n_factors=st.just(3)),
    "EmbeddingNet": st.builds(
        recsys.EmbeddingNet, n_factors=st.just(3), hidden_layer_sizes=st.just((3,))
    ),
    "TwoTower": st.builds(
        recsys.TwoTower,
        n_factors=st.just(3),
        embedding_dim=st.just(3),
        hidden_layer_sizes=st.just((3,)),
    ),
}
RANKERS = {
    "CDAE": st.builds(recsys.CDAE, n_factors=st.just(3)),
    "ELSA": st.builds(recsys.ELSA, n_factors=st.just(3)),
    "MultDAE": st.builds(recsys.MultDAE, n_factors=st.just(3)),
    "MultVAE": st.builds(recsys.MultVAE, n_factors=st.just(3)),
    "RecVAE": st.builds(recsys.RecVAE, n_factors=st.just(3), n_hidden=st.just(4)),
    "SASRec": st.builds(
        recsys.SASRec, n_factors=st.just(3), loss=st.sampled_from(["softmax", "gbce"])
    ),
    "SVAE": st.builds(
        recsys.SVAE,
        n_factors=st.just(3),
        n_hidden=st.just(3),
        n_recurrent=st.just(3),
        embedding_dim=st.just(3),
    ),
    "NCF": st.builds(
        recsys.NCF,
        architecture=st.sampled_from(["gmf", "mlp", "neumf"]),
        pretrain=st.booleans(),
        n_factors=st.just(3),
        hidden_layer_sizes=st.just((4,)),
        n_negatives=st.just(1),
    ),
    "ImplicitMatrixFactorization": st.builds(
        recsys.ImplicitMatrixFactorization,
        n_factors=st.just(3),
        loss=st.sampled_from(["logistic", "bpr"]),
        n_negatives=st.just(1),
    ),
}


@st.composite
def models(draw, names=None, *, neural=0.35):
    """Draw an unfitted model; `neural` is the share of the slower, trained ones."""
    names = sorted(names or {*CLOSED, *RATERS, *RANKERS})
    closed = [name for name in names if name in CLOSED]
    trained = [name for name in names if name not in CLOSED]
    pick_trained = trained and (not closed or draw(st.floats(0, 1)) < neural)
    name = draw(st.sampled_from(trained if pick_trained else closed))
    model = draw({**CLOSED, **RATERS, **RANKERS}[name])
    params = {**NET, "early_stopping": draw(st.booleans())} if pick_trained else {}
    return model.set_params(**params)


def values_of(model):
    """Return the model's tag: what the values of its matrix mean."""
    return get_tags(model).recommender_tags.values


@st.composite
def problems(draw, names=None, *, neural=0.35, **sizes):
    """Draw a model and a matrix to fit it to."""
    model = draw(models(names, neural=neural))
    return model, draw(matrices(values_of(model), **sizes))


@st.composite
def problems_and_histories(draw, names=None, *, neural=0.35, **sizes):
    """Draw a model, a matrix to fit it to, and histories: rows of that matrix and new ones."""
    model, X = draw(problems(names, neural=neural, **sizes))
    new = draw(matrices(values_of(model), n_items=X.shape[1], max_users=5))
    rows = draw(st.lists(st.integers(0, X.shape[0] - 1), max_size=4))
    return model, X, sp.vstack([X[rows], new], format="csr") if rows else new
