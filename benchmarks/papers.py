"""Published figures next to ours: ``make papers`` runs our models, and writes a page of the docs.

Run ``python -m benchmarks.papers [--all] [--model NAME] [protocol ...]``. Rows that take more than
a few minutes run with ``--all`` or if their model or protocol is named. The others keep the figures
of their last run, in ``docs/user_guide/published``, from which a page of the docs is made that says
what the protocols are.

Parameters were chosen on validation cells taken out of the training data, or are those that the
source names, as in the other files of this folder.
"""

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, clone
from sklearn.feature_extraction.text import TfidfTransformer

from benchmarks import contrastive, graphs, pairs, sequences, slim, svae, yelp2018 as on_yelp2018
from benchmarks.accuracy import ncf_split, ratings
from benchmarks.als import TUNED
from benchmarks.linear import ml_100k_ua, yelp2018
from benchmarks.ratings import folds
from sklearn_recsys import (
    ALS,
    EASE,
    SLIM,
    SVAE,
    AutoRec,
    BiasRecommender,
    EmbeddingNet,
    ItemKNN,
    ItemKNNBaseline,
    MatrixFactorization,
    PopularityRecommender,
    UserKNN,
    make_recommender_pipeline,
)
from sklearn_recsys.model_selection import evaluate, leave_last_out, random_holdout
from sklearn_recsys.preprocessing import BM25Transformer
from sklearn_recsys.utils._cells import support

TABLES = Path(__file__).parents[1] / "docs" / "user_guide" / "published"
COLUMNS = ["published", "ours", "s.e.", "verdict", "CPU s", "source"]


@dataclass
class Row:
    """A published figure of a model, and our model for the same data and protocol."""

    name: str
    model: BaseEstimator
    published: tuple  # a figure for each metric of the protocol, as printed
    source: str
    slow: bool = False  # more than about three minutes


class Protocol:
    """Data that is split and evaluated in one way.

    Parameters
    ----------
    metrics : list of str
        Metrics of `evaluate`; errors are reported without their sign.
    splits : callable
        Returns (train, given, held out, options of `evaluate`) for each split.
    rows : list of Row
        The published figures.
    """

    def __init__(self, metrics, splits, rows):
        self.metrics, self.splits, self.rows = metrics, splits, rows

    def measured(self, row):
        """Return our figures, their standard errors, and the CPU seconds of all fits."""
        values, errors, elapsed = [], [], 0.0
        for seed, (train, given, held_out, options) in enumerate(self.splits()):
            model = clone(row.model)
            if "random_state" in model.get_params():
                model.set_params(random_state=seed)
            if model.__sklearn_tags__().recommender_tags.values != "order" and options.get("order"):
                train, given = support(train), support(given)
            options = {name: value for name, value in options.items() if name != "order"}
            start = time.process_time()
            model.fit(train)
            elapsed += time.process_time() - start
            table = evaluate(model, given, held_out, self.metrics, standard_error=True, **options)
            values.append([abs(table[name].iloc[0]) for name in table if "s.e." not in name])
            errors.append([table[name].iloc[0] for name in table if "s.e." in name])
        # the cells or users of all splits together, as far as they are different ones
        return np.mean(values, axis=0), np.mean(errors, axis=0) / len(errors) ** 0.5, elapsed


def _ncf():
    X, items, negatives = ncf_split()
    return [(X, X, items, {"candidates": negatives})]


def _yelp2018():
    X, y = yelp2018()
    return [(X, X, y, {})]


def _ua():
    X, y = ml_100k_ua()
    return [(X, X, y, {})]


def _folds(name):
    return [(train, train, test, {}) for train, test in folds(name)]


def _random(name, share, seeds):
    splits = (random_holdout(ratings(name), share, random_state=seed) for seed in range(seeds))
    return [(train, train, test, {}) for train, test in splits]


def _last_item(data):
    X, held_out = leave_last_out(sequences.load(data))
    return [(X, X, held_out, {"order": True})]


def _svae():
    groups = svae.split()
    return [(groups["train"], *groups["test"], {})]


_DACREMA = "Ferrari Dacrema et al. 2021"
_SEDHAIN = "Sedhain et al. 2015"
# chosen by NDCG@10 on each user's last training item, among 99 sampled items
_USER_KNN = make_recommender_pipeline(TfidfTransformer(norm=None), UserKNN(100, shrinkage=0))
_ITEM_KNN = make_recommender_pipeline(BM25Transformer(), ItemKNN(100, shrinkage=20))
_NEUMF = pairs.RANKERS["NCF('neumf')"]
_RANKED = ["hr@10", "ndcg@10"]
_MODELS = on_yelp2018._MODELS
_GF_CF, _TURBO_CF = _MODELS["GF-CF, as published"], _MODELS["Turbo-CF, as published"]
_SIMPLEX, _LIGHTGCN = contrastive._YELP2018
PROTOCOLS = {
    "ncf": Protocol(
        _RANKED,
        _ncf,
        [
            Row("EASE", EASE(1320), (".7192", ".4494"), _DACREMA),
            Row("SLIM", SLIM(**slim._NCF), (".7162", ".4468"), _DACREMA),
            Row("ALS", ALS(**TUNED), (".7109", ".4382"), _DACREMA),
            Row("UserKNN", _USER_KNN, (".6768", ".4100"), _DACREMA),
            Row("RP3beta", graphs._NCF["RP3beta"], (".6758", ".4011"), _DACREMA),
            Row("ItemKNN", _ITEM_KNN, (".6694", ".3979"), _DACREMA),
            Row(
                "popularity",
                PopularityRecommender(),
                (".4533", ".2542"),
                _DACREMA,
            ),
            Row("NeuMF", _NEUMF, (".7093", ".4349"), _DACREMA, slow=True),
        ],
    ),
    "ml-100k-ua": Protocol(
        ["ndcg@10"],
        _ua,
        [
            Row("SLIM", SLIM(**slim._RATINGS), (".3024",), "skrecsys 0.9"),
            Row("EASE", EASE(500), (".2767",), "skrecsys 0.9"),
            Row("RP3beta", graphs._ML_100K["RP3beta"], (".2762",), "skrecsys 0.9"),
            Row("ItemKNN", ItemKNN(), (".2550",), "skrecsys 0.9"),
            Row("popularity", PopularityRecommender(), (".1331",), "skrecsys 0.9"),
        ],
    ),
    "ml-100k-folds": Protocol(
        ["neg_rmse"],
        lambda: _folds("100k"),
        [
            Row("biases", BiasRecommender(), (".944",), "Surprise, README"),
            Row("kNN with baselines", ItemKNNBaseline(), (".931",), "Surprise, README"),
            Row("matrix factorization", MatrixFactorization(), (".934",), "Surprise, README"),
            Row("SVD++", MatrixFactorization(implicit=True), (".919",), "Surprise, README"),
        ],
    ),
    "ml-1m-folds": Protocol(
        ["neg_rmse"],
        lambda: _folds("1m"),
        [
            Row("biases", BiasRecommender(), (".909",), "Surprise, README"),
            Row("matrix factorization", MatrixFactorization(), (".873",), "Surprise, README"),
            Row(
                "SVD++",
                MatrixFactorization(implicit=True),
                (".862",),
                "Surprise, README",
                slow=True,
            ),
        ],
    ),
    "ml-1m-tenth": Protocol(
        ["neg_rmse"],
        lambda: _random("1m", 0.1, 3),
        [
            Row("AutoRec, item-based", AutoRec(), (".831",), _SEDHAIN, slow=True),
            Row("AutoRec, user-based", AutoRec("user"), (".874",), _SEDHAIN, slow=True),
            Row("matrix factorization", MatrixFactorization(), (".845",), _SEDHAIN),
        ],
    ),
    "ml-small-fifth": Protocol(
        ["neg_rmse"],
        lambda: _random("latest-small-2016", 0.2, 5),
        [
            Row(
                "matrix factorization", MatrixFactorization(), (".8737",), "fast.ai 0.7, MSE .7634"
            ),
            Row("EmbeddingNet", EmbeddingNet(), (".8872",), "fast.ai 0.7, MSE .7872"),
        ],
    ),
    "yelp2018": Protocol(
        ["recall@20", "ndcg@20"],
        _yelp2018,
        [
            Row("ItemKNN", _MODELS["ItemKNN, BM25"], (".0639", ".0531"), "BARS"),
            Row("GF-CF", _GF_CF, (".0697", ".0571"), "Shen et al. 2021"),
            Row("Turbo-CF", _TURBO_CF, (".0693", ".0574"), "Park et al. 2024"),
            Row("SLIM", _MODELS["SLIM"], (".0646", ".0541"), "BARS", slow=True),
            Row("EASE", _MODELS["EASE, as published"], (".0657", ".0552"), "BARS", slow=True),
            Row("SimpleX", _SIMPLEX, (".0701", ".0575"), "Mao et al. 2021", slow=True),
            Row("LightGCN", _LIGHTGCN, (".0653", ".0532"), "BARS", slow=True),
        ],
    ),
    "ml-1m-last": Protocol(
        ["recall@10", "ndcg@10"],
        lambda: _last_item("ml-1m"),
        [
            Row(
                "SASRec",
                sequences._MODELS["ml-1m"]["SASRec"],
                (".2929", ".1684"),
                "the authors of eSASRec, 2025",
                slow=True,
            ),
        ],
    ),
    "beauty-last": Protocol(
        ["recall@10", "ndcg@10"],
        lambda: _last_item("beauty"),
        [
            Row(
                "SASRec",
                sequences._MODELS["beauty"]["SASRec"],
                (".0921", ".0531"),
                "the authors of eSASRec, 2025",
                slow=True,
            ),
        ],
    ),
    "ml-1m-new-users": Protocol(
        ["ndcg@10", "recall@10", "ndcg@100", "recall@100"],
        _svae,
        [
            Row("SVAE", SVAE(), (".1714", ".1302", ".2979", ".4992"), "Sachdeva et al. 2019"),
        ],
    ),
}


def verdict(published, ours, errors, smaller_is_better):
    """Return how our figures compare with the published ones, rounded as these are."""
    digits = [len(figure.partition(".")[2]) for figure in published]
    rounded = [round(our, n) for our, n in zip(ours, digits, strict=True)]
    gains = np.array(rounded) - np.array(published, dtype=float)
    gains = -gains if smaller_is_better else gains
    if (gains >= -1e-9).all():
        return "met"
    return "within two s.e." if (gains >= -2 * np.asarray(errors)).all() else "below"


def run(protocol, row):
    """Return the line of the table of one row."""
    ours, errors, elapsed = protocol.measured(row)
    errors_are_metrics = protocol.metrics[0].startswith("neg_")
    return {
        **_published(row),
        "ours": _figures(ours),
        "s.e.": _figures(errors),
        "CPU s": f"{float(f'{elapsed:.3g}'):g}",
        "verdict": verdict(row.published, ours, errors, errors_are_metrics),
    }


def _published(row):
    """Return the line of a row that has not been run."""
    figures = ", ".join(row.published)
    return {"published": figures, "source": row.source, "verdict": "not run yet"}


def _figures(values):
    return ", ".join(f"{value:.4f}".removeprefix("0") for value in values)


def papers(names=(), slow=False, model=None):
    """Run rows, and write the table of their protocol after each."""
    for name, protocol in PROTOCOLS.items():
        if names and name not in names:
            continue
        for row in protocol.rows:
            if row.name == model if model else slow or names or not row.slow:
                line = run(protocol, row)
                print(name, row.name, line, flush=True)
                table = _table({**_lines(name), row.name: line})
                table.to_csv(TABLES / f"{name}.csv", lineterminator="\n")
    return pd.concat({name: _table(_lines(name)) for name in PROTOCOLS})


def _lines(name):
    """Return the lines of a protocol by their models, with the figures of the last runs."""
    path = TABLES / f"{name}.csv"
    last = pd.read_csv(path, dtype=str, index_col="model").T if path.exists() else {}
    rows = PROTOCOLS[name].rows
    return {row.name: last[row.name] if row.name in last else _published(row) for row in rows}


def _table(lines):
    return pd.DataFrame(lines, COLUMNS).T.rename_axis("model").fillna("")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("protocols", nargs="*", choices=PROTOCOLS)
    parser.add_argument("--all", action="store_true", help="also the rows that take long")
    models = {row.name for of_protocol in PROTOCOLS.values() for row in of_protocol.rows}
    parser.add_argument("--model", metavar="NAME", choices=models, help="its rows alone")
    args = parser.parse_args()
    print(papers(args.protocols, args.all, args.model).to_string())
