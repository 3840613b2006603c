"""Neural models fitted in parallel threads give the same result as a fit alone."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone

from sklearn_recsys import (
    NCF,
    AutoRec,
    DeepAutoencoder,
    ImplicitMatrixFactorization,
    TwoTower,
)
from sklearn_recsys.datasets import make_interactions, make_ratings
from sklearn_recsys.neural import NeuralRecommender
from sklearn_recsys.utils.discovery import all_recommenders

N_THREADS = 6
SEEDS = (0, 1, 2)
VARIANTS = {
    AutoRec: [{"kind": kind} for kind in ("item", "user")],
    DeepAutoencoder: [{"kind": kind} for kind in ("user", "item")],
    ImplicitMatrixFactorization: [{"loss": loss} for loss in ("logistic", "bpr")],
    NCF: [{"architecture": name, "early_stopping": True} for name in ("gmf", "mlp", "neumf")],
    TwoTower: [{"loss": loss} for loss in ("mse", "softmax", "logistic")],
}


def _models(max_epochs):
    """Yield a label and a model for each neural model and each of its losses or architectures."""
    for name, kind in all_recommenders():
        if issubclass(kind, NeuralRecommender):
            for params in VARIANTS.get(kind, [{}]):
                label = ", ".join([name, *(str(value) for value in params.values() if value != 1)])
                yield label, kind(max_epochs=max_epochs, **params)


def _global_state():
    """Return the global state that a fit must not change, in a comparable form."""
    return (
        torch.get_rng_state().numpy().tobytes(),
        [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()],
        np.random.get_state()[1].tobytes(),
        random.getstate(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.are_deterministic_algorithms_enabled(),
    )


def _fitted(model, X, seed, start=None):
    """Return the predictions and training curve of a fit that starts together with the others."""
    model = clone(model).set_params(random_state=seed)
    if start is not None:
        start.wait()
    model.fit(X)
    return model.predict(X), model.history_["train_loss"].to_numpy()


def _same(one, other):
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def seeds(n_threads=N_THREADS, seeds=SEEDS, max_epochs=3, n_users=120, n_items=50):
    """Fit each model in threads, several at a time for each seed, and compare with a fit alone."""
    ratings = make_ratings(n_users, n_items, density=0.1, random_state=0)
    interactions = make_interactions(n_users, n_items, random_state=0)
    rows = {}
    n_cores = torch.get_num_threads()
    torch.set_num_threads(1)  # otherwise each thread waits for its own helper threads
    try:
        for name, model in _models(max_epochs):
            rating = model.__sklearn_tags__().recommender_tags.values == "rating"
            X = ratings if rating else interactions
            before, began = _global_state(), time.perf_counter()
            alone = {seed: _fitted(model, X, seed) for seed in seeds}
            seconds_alone = (time.perf_counter() - began) / len(seeds)
            equal, began = 0, time.perf_counter()
            with ThreadPoolExecutor(n_threads) as pool:
                for round_ in range(len(seeds)):  # all seeds run in each round
                    start = Barrier(n_threads)
                    tried = [seeds[(round_ + i) % len(seeds)] for i in range(n_threads)]
                    fits = [pool.submit(_fitted, model, X, seed, start) for seed in tried]
                    equal += sum(
                        _same(fit.result(), alone[seed])
                        for fit, seed in zip(fits, tried, strict=True)
                    )
            differ = not any(
                _same(alone[one], alone[other]) for one in seeds for other in seeds if one < other
            )
            rows[name] = {
                "fits": n_threads * len(seeds),
                "equal to the fit alone": equal,
                "seeds differ": differ,
                "global state unchanged": _global_state() == before,
                "seconds alone": round(seconds_alone, 2),
                "seconds per fit in threads": round(
                    (time.perf_counter() - began) / n_threads / len(seeds), 2
                ),
            }
            print(name, rows[name], flush=True)
    finally:
        torch.set_num_threads(n_cores)
    return pd.DataFrame(rows).T
