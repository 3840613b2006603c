"""Whether `compare` keeps its promises: the coverage of intervals, and the level of tests."""

import time

import numpy as np
import pandas as pd
from scipy import optimize, stats

from benchmarks.accuracy import ratings
from sklearn_recsys import (
    ALS,
    EASE,
    BiasRecommender,
    GraphFilter,
    ItemKNN,
    ItemKNNBaseline,
    PopularityRecommender,
    RandomRecommender,
    RP3beta,
    UserKNN,
    UserKNNBaseline,
)
from sklearn_recsys.inspection import compare
from sklearn_recsys.inspection._resampling import holm, sign_flip_test
from sklearn_recsys.inspection._statistics import score_table
from sklearn_recsys.metrics._outcome import RowSums
from sklearn_recsys.model_selection import evaluate, leave_last_out, random_holdout
from sklearn_recsys.model_selection._evaluate import parse_metrics

METRICS = ["ndcg", "hr", "recall@20"]
N_USERS = 500  # of a study


def models():
    """Return ten models that are fitted in seconds."""
    quarter = {"user_normalization": 0.25, "item_normalization": 0.25}
    return {
        "popularity": PopularityRecommender(),
        "EASE": EASE(),
        "EASE, ridge": EASE(2.5, dropout=0.5, max_diagonal=0.2, **quarter),
        "ItemKNN": ItemKNN(100),
        "ItemKNN, 10 neighbors": ItemKNN(10),
        "UserKNN": UserKNN(),
        "RP3beta": RP3beta(0.75, 0.4, n_neighbors=200),
        "GraphFilter": GraphFilter(32, random_state=0),
        "ALS": ALS(32, solver="cg", max_iter=5, random_state=0),
        "random": RandomRecommender(random_state=0),
    }


def ones(**params):
    """Return the likes of ml-1m, or their positions."""
    R = ratings("1m", **params)
    if not params:
        R.data[:] = 1
    return R


def row_sums(fitted, X, y, metrics):
    """Return a dict of the `RowSums` of fitted models, by metric and model."""
    parsed = parse_metrics(metrics)
    by_model = {
        name: model._evaluate(X, y, parsed).row_sums(parsed) for name, model in fitted.items()
    }
    return {label: {name: by_model[name][label] for name in fitted} for label, *_ in parsed}


def _sample(sums, users):
    """Return the `RowSums` of a study of some users."""
    return {
        label: {
            name: RowSums(of.name, of.totals[users], of.counts[users])
            for name, of in of_models.items()
        }
        for label, of_models in sums.items()
    }


def _covered(draw, truth, baseline, n_studies, n_resamples=999):
    """Return the share of studies whose intervals hold the truth, by metric and model."""
    rng = np.random.default_rng(0)
    covered = []
    for _ in range(n_studies):
        table = score_table(draw(rng), baseline, 0.95, n_resamples, rng)
        inside = truth["score"].between(table["low"], table["high"])
        gains = truth["difference"].between(table["difference_low"], table["difference_high"])
        gains = gains.astype(float).where(truth["difference"].notna())
        covered.append(pd.DataFrame({"score": inside.astype(float), "difference": gains}))
    return sum(covered) / n_studies


def _truth(sums, baseline):
    """Return the scores of all users, and their differences from the baseline."""
    frames = {
        label: pd.DataFrame({"score": {name: of.score for name, of in of_models.items()}})
        for label, of_models in sums.items()
    }
    truth = pd.concat(frames, names=["metric", "model"])
    own = truth["score"].xs(baseline, level="model")
    truth["difference"] = truth["score"] - own.reindex(truth.index, level="metric")
    truth.loc[(slice(None), baseline), "difference"] = np.nan
    return truth


def _by_model(covered):
    return covered.unstack("metric").reindex(covered.index.unique("model")).round(3)


def coverage(n_studies=2_000, n_users=N_USERS):
    """Count how often intervals hold the mean of all users of ml-1m, in studies of some of them.

    Users are drawn with replacement. The last interaction of each user is held out; of the ratings
    a random tenth.
    """
    X, _ = leave_last_out(ones(), ones(values="position"))
    y = ones() - X
    tables = {}
    fitted = {name: model.fit(X) for name, model in models().items()}
    sums = row_sums(fitted, X, y, METRICS)
    tables["ranking"] = _coverage(sums, "EASE", n_studies, n_users)
    X, y = random_holdout(ratings("1m"), 0.1, random_state=0)
    fitted = {
        "biases": BiasRecommender().fit(X),
        "ItemKNNBaseline": ItemKNNBaseline().fit(X),
        "UserKNNBaseline": UserKNNBaseline().fit(X),
    }
    sums = row_sums(fitted, X, y, ["neg_rmse", "neg_mae"])
    tables["ratings"] = _coverage(sums, "biases", n_studies, n_users)
    return pd.concat(tables)


def _coverage(sums, baseline, n_studies, n_users):
    n_all = len(next(iter(next(iter(sums.values())).values())).totals)

    def draw(rng):
        return _sample(sums, rng.integers(n_all, size=n_users))

    return _by_model(_covered(draw, _truth(sums, baseline), baseline, n_studies))


def repeated_splits(n_splits=10, n_studies=2_000):
    """Count the same with a random split in each study; the truth is the mean of repeated splits.

    In each split a random tenth of each user's interactions is held out, and all models are fitted.
    The last rows are about intervals from all users of a split, who are the same in each.
    """
    R, of_splits = ones(), []
    names = ["EASE", "ItemKNN", "RP3beta", "popularity"]
    for split in range(n_splits):
        X, y = random_holdout(R, 0.1, per_user=True, random_state=split)
        fitted = {name: models()[name].fit(X) for name in names}
        of_splits.append(row_sums(fitted, X, y, METRICS))
        print("split", split, flush=True)
    truth = sum(_truth(sums, "EASE") for sums in of_splits) / n_splits

    def draw(rng):
        return _sample(of_splits[rng.integers(n_splits)], rng.integers(R.shape[0], size=N_USERS))

    table = _by_model(_covered(draw, truth, "EASE", n_studies))
    order = iter(of_splits)
    whole = _by_model(_covered(lambda rng: next(order), truth, "EASE", n_splits))
    return pd.concat({f"{N_USERS} users": table, "all users": whole})


def errors(n_studies=10_000, n_resamples=999, batch=200):
    """Return the share of studies in which a test rejects at 5 % where it should not.

    Swapped: each user's values of two models are swapped at random. Tilted: users are drawn with
    unequal probabilities, so that the means are equal, but not the distributions. Permuted: each
    user's values of all models are permuted, and nine are tested against the first one.
    """
    X, _ = leave_last_out(ones(), ones(values="position"))
    y = ones() - X
    fitted = {name: model.fit(X) for name, model in models().items()}
    sums = row_sums(fitted, X, y, ["ndcg", "hr"])
    rng = np.random.default_rng(0)
    rows = {}
    for n_users in (50, N_USERS):
        for label, of_models in sums.items():
            for pair in [("EASE", "ItemKNN"), ("EASE", "EASE, ridge")]:
                gains = of_models[pair[0]].totals - of_models[pair[1]].totals
                for null in ("swapped", "tilted"):
                    shares = _tilted(gains) if null == "tilted" else None
                    rejected = np.zeros(3)
                    for _ in range(n_studies // batch):
                        study = rng.choice(gains, size=(n_users, batch), p=shares)
                        if null == "swapped":
                            study *= rng.choice([-1, 1], size=study.shape)
                        p_values = [
                            sign_flip_test(study, n_resamples, rng),
                            stats.ttest_1samp(study, 0).pvalue,
                            stats.wilcoxon(study, method="asymptotic").pvalue,
                        ]
                        rejected += np.count_nonzero(np.array(p_values) <= 0.05, axis=1)
                    rows[n_users, null, label, " - ".join(pair)] = rejected / n_studies
            values = np.column_stack([of.totals for of in of_models.values()])
            single = after_holm = 0
            for _ in range(n_studies // 2):
                study = rng.permuted(values[rng.integers(len(values), size=n_users)], axis=1)
                p_values = sign_flip_test(study[:, 1:] - study[:, :1], n_resamples, rng)
                single += np.mean(p_values <= 0.05)
                after_holm += np.any(holm(p_values) <= 0.05)
            for what, count in (("single tests", single), ("any after Holm", after_holm)):
                rows[n_users, "permuted", label, what] = count / (n_studies // 2)
        print(n_users, flush=True)
    table = pd.DataFrame(dict.fromkeys(rows), index=["sign flips", "t", "Wilcoxon"]).T
    for key, value in rows.items():
        table.loc[key] = value if np.ndim(value) else [value, np.nan, np.nan]
    return table.astype(float).round(4)


def _tilted(gains):
    """Return probabilities of users under which their gains have mean zero: exp(t · gain)."""

    def shares(t):
        weights = np.exp(t * gains)
        return weights / weights.sum()

    return shares(optimize.brentq(lambda t: shares(t) @ gains, -50, 50))


def speed(repeats=3):
    """CPU seconds of `compare` for ten fitted models and all users of ml-1m, and of its parts.

    They are the rankings, as `evaluate` makes them, and the intervals and tests.
    """
    X, _ = leave_last_out(ones(), ones(values="position"))
    y = ones() - X
    fitted = {name: model.fit(X) for name, model in models().items()}
    metrics = [*METRICS, "coverage"]
    sums, rng = row_sums(fitted, X, y, METRICS), np.random.default_rng(0)
    seconds = []
    for _ in range(repeats):
        times = [time.process_time()]
        comparison = compare(fitted, X, y, metrics=metrics, baseline="popularity")
        times.append(time.process_time())
        evaluate(fitted, X, y, metrics)
        times.append(time.process_time())
        score_table(sums, "popularity", 0.95, 9999, rng)
        times.append(time.process_time())
        seconds.append(np.diff(times))
    print(comparison, flush=True)
    names = ["compare, CPU s", "evaluate, CPU s", "intervals and tests, CPU s"]
    return pd.DataFrame([np.median(seconds, axis=0)], columns=names).round(2)
