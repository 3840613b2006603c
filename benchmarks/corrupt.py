"""Pass corrupt sparse input to every method of every model, each case in its own process.

``python -m benchmarks.corrupt [model ...]`` prints, for each model and method, how many cases
were refused by a ValueError that names the argument, and lists all others: accepted, refused with
another error, crashed. The exit status is 1 if there are any.
"""

import os
import sys
import warnings
from functools import partial

import numpy as np
import pandas as pd
import torch

from sklearn_recsys.datasets import make_interactions
from sklearn_recsys.utils._corrupt import corrupt_matrices
from sklearn_recsys.utils.discovery import all_recommenders

REFUSED, ACCEPTED, OTHERWISE = 0, 10, 11
SHORT = {"max_epochs": 1, "random_state": 0}


def in_child(function, argument, X):
    """Call a function in a forked process; return its exit status, negative for a signal."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            function(X)
        except ValueError as error:
            os._exit(REFUSED if argument in str(error) else OTHERWISE)
        except BaseException:
            os._exit(OTHERWISE)
        os._exit(ACCEPTED)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def inputs(recommender, R, no_history, features):
    """Yield the inputs of a model: name, argument, function of a matrix, a valid matrix."""

    def new():
        taken = recommender().get_params()
        return recommender(**{name: SHORT[name] for name in SHORT if name in taken})

    model = new().fit(R)
    yield "fit", "X", lambda X: new().fit(X), R
    yield "partial_fit", "X", model.partial_fit, R
    yield "predict", "X", model.predict, R
    yield "predict_pairs", "X", lambda X: model.predict_pairs(X, [0], [0]), R
    yield "recommend", "users", model.recommend, R
    yield "candidates", "candidates", lambda X: model.recommend(candidates=X), R
    yield "exclude", "exclude", lambda X: model.recommend(exclude=X), R
    yield "score", "X", model.score, R
    yield "score with y", "X", lambda X: model.score(X, R), R
    yield "y", "y", lambda X: model.score(no_history, X), R
    yield "score candidates", "candidates", lambda X: model.score(no_history, R, candidates=X), R
    if hasattr(model, "transform"):
        yield "transform", "X", model.transform, R
    if hasattr(model, "similar_users"):
        yield "similar_users", "users", model.similar_users, R
    if hasattr(model, "explain"):
        yield "explain", "users", lambda X: model.explain(X, 0), R
    if "item_features" in model.get_params():
        fit = lambda F: new().set_params(item_features=F).fit(R)  # noqa: E731
        yield "item_features", "item_features", fit, features
    if hasattr(model, "user_features_"):
        hybrid = new().fit(R, user_features=features.toarray())
        yield "fit features", "user_features", lambda F: new().fit(R, user_features=F), features
        for name in ("partial_fit", "predict", "recommend", "score"):
            asked = partial(getattr(hybrid, name), R)
            yield f"{name} features", "user_features", ask_with(asked), features


def ask_with(method):
    """Return a function of user features."""
    return lambda F: method(user_features=F)


def main(names):
    """Test all inputs of the named models, by default of all models; return the failures."""
    torch.set_num_threads(1)  # a forked process has only one
    warnings.simplefilter("ignore")
    R = make_interactions(40, 40, random_state=0)
    R.data += np.arange(R.nnz) % 5
    no_history = R.copy()
    no_history.data[:] = 1
    no_history = no_history - no_history
    features = make_interactions(40, 12, random_state=1)
    rows, wrong = [], []
    for name, recommender in all_recommenders():
        if names and name not in names:
            continue
        for label, argument, function, valid in inputs(recommender, R, no_history, features):
            counts = dict.fromkeys(("cases", "refused", "accepted", "otherwise", "crashed"), 0)
            matrices = corrupt_matrices(valid)
            if "features" in argument and "item_encoder" in recommender().get_params():
                # these models read NaN as a missing number
                matrices = {kind: matrices[kind] for kind in matrices if "NaN" not in kind}
            for kind, X in matrices.items():
                status = in_child(function, argument, X)
                outcome = {REFUSED: "refused", ACCEPTED: "accepted", OTHERWISE: "otherwise"}
                outcome = outcome.get(status, "crashed")
                counts["cases"] += 1
                counts[outcome] += 1
                if outcome != "refused":
                    wrong.append(f"{name}, {label}, {kind}: {outcome} ({status})")
            rows.append({"model": name, "input": label, **counts})
    table = pd.DataFrame(rows)
    print(table.to_string(index=False))
    print(table.drop(columns=["model", "input"]).sum().to_string())
    print(*wrong, sep="\n")
    return wrong


if __name__ == "__main__":
    sys.exit(bool(main(sys.argv[1:])))
